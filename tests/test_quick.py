"""The quick search against brute force, the fixed rule and itself."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from nests import random_problem
from test_mapper import machine, measured

from accelsim.hardware.architecture import Architecture
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import Quick, full_measures, layer_tables, quick_mapping
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Problem

GOALS = [Objective.parse(x) for x in ("energy", "cycles", "edp", "dram", "energy*cycles^2")]
FLOWS = ("rs", "ws", "os", "is", "nlr", "osp")
Case = tuple[Problem, Architecture, Dataflow]


def drawn(seed: int, most: int = 400) -> Case:
    """A small layer on a small machine of any kind that the dataflow has tiles for."""
    rng = random.Random(seed)
    while True:
        problem, arch = random_problem(rng, most), machine(rng)
        flow = load_dataflow(rng.choice(FLOWS))
        try:
            if layer_tables(problem, arch, flow).space:
                return problem, arch, flow
        except MappingError:
            continue


def searched(case: Case, goal: Objective) -> Quick | None:
    try:
        return quick_mapping(*case, goal)
    except MappingError:
        return None


def wrong(case: Case, goal: Objective) -> list[str]:
    """What brute force over the same tiles, one nest at a time, says against the search."""
    problem, arch, _ = case
    tables = layer_tables(*case)
    if tables.space > 600:
        return []
    every = [
        (tiles, measures)
        for choice in product(*[range(len(t)) for t in tables.tiles])
        if (measures := measured(tables.skeleton, tiles := tables.tile_row(choice))) is not None
    ]
    chosen = searched(case, goal)
    if chosen is None:
        return ["nothing found, and there are mappings"] if every else []
    own = measured_of(Nest(problem, arch, chosen.mapping))
    told = [f"{k}: {chosen.measures[k]} not {v}" for k, v in own.items()
            if not np.isclose(chosen.measures[k], v, rtol=1e-9)]  # fmt: skip
    least = min([float(goal.of(m)) for _, m in every], default=np.inf)
    if chosen.bound > min(least, chosen.value) * (1 + 1e-9):
        told.append(f"bound {chosen.bound} above {least}")
    if chosen.gap == 0 and chosen.value > least * (1 + 1e-9):
        told.append(f"{chosen.value} is called the best, {least} is better")
    if chosen.value > least * 1.1:
        told.append(f"{chosen.value}, and there is {least}")
    return told


def measured_of(nest: Nest) -> dict[str, float]:
    return full_measures(nest)


@pytest.mark.parametrize("chunk", range(6))
def test_what_is_called_the_best_is(chunk: int) -> None:
    for seed in range(chunk * 25, chunk * 25 + 25):
        case, goal = drawn(seed), GOALS[seed % len(GOALS)]
        assert not wrong(case, goal), (seed, goal.text, wrong(case, goal))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(10))
def test_what_is_called_the_best_is_on_many(chunk: int) -> None:
    for seed in range(1000 + chunk * 150, 1150 + chunk * 150):
        case, goal = drawn(seed), GOALS[seed % len(GOALS)]
        assert not wrong(case, goal), (seed, goal.text, wrong(case, goal))
