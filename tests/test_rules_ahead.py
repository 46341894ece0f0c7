"""The fixed rule walked for many machines before they are searched: the same tiles, bounds that
hold, and the same choices.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from quick import slow_but
from test_batch import case, machines

import accelsim as acc
from accelsim.explore import runner
from accelsim.hardware.architecture import Architecture
from accelsim.mapper import rules_ahead
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import Quick, full_measures, quick_mapping
from accelsim.mapper.rules_ahead import rule_of, walk_ahead
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Problem

GOALS = ("edp", "energy", "cycles", "dram", "energy*cycles^2")
Case = tuple[Problem, list[Architecture], Dataflow]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few machines are worth it, too; and nothing is left over, in front or behind."""
    monkeypatch.setattr(rules_ahead, "WORTH", 2)
    rules_ahead._walked.clear()
    yield
    rules_ahead._walked.clear()


def drawn(seed: int, many: int) -> Case:
    """A layer on many machines of one structure, that wait or do not."""
    waits = seed % 3 > 0
    _, layer, n, direction, name = case(seed, waits=waits)
    archs = machines(random.Random(seed + 10_000), many, waits=waits)
    problem = layer.problem(n).with_direction(direction)
    return problem, archs, load_dataflow(name)


def bounded(problem: Problem, archs: Sequence[Architecture], flow: Dataflow) -> tuple[int, int]:
    """Compare what is told ahead with each machine's own; of how many rules a bound is told, and
    how many of these are the cycles themselves.
    """
    bounds = exact = 0
    for arch in archs:
        ahead = rule_of(problem, arch, flow)
        own = rule_of(problem, arch, flow)  # what is told ahead is told once
        if ahead is None or own is None:
            assert ahead is own
            continue
        assert (ahead.tiles, ahead.trips, ahead.skeleton.loops) == (
            own.tiles, own.trips, own.skeleton.loops,
        )  # fmt: skip
        assert own.least is None
        if ahead.least is None:
            continue
        mapping = own.skeleton.mapping_with_trips(own.tiles, own.trips)
        full = full_measures(Nest(problem, arch, mapping))
        for name, least in ahead.least.items():
            assert least <= full[name] * (1 + 1e-12), name
        assert ahead.least["dram"] == full["dram"]
        bounds += 1
        exact += ahead.least["cycles"] == full["cycles"]
    return bounds, exact


@pytest.mark.parametrize("chunk", slow_but([0], range(6)))
def test_the_rule_of_many_is_that_of_each_and_its_bounds_hold(chunk: int) -> None:
    bounds = exact = 0
    for seed in range(chunk * 18, chunk * 18 + 18):
        problem, archs, flow = drawn(seed, 6)
        walk_ahead(problem, archs, flow)
        more = bounded(problem, archs, flow)
        bounds, exact = bounds + more[0], exact + more[1]
    assert bounds > 20 and exact > 5


def chosen(of: Case, goal: str) -> list[Quick | str]:
    """What is found on each machine, or why nothing is."""
    problem, archs, flow = of
    told: list[Quick | str] = []
    for arch in archs:
        try:
            told.append(quick_mapping(problem, arch, flow, Objective.parse(goal)))
        except MappingError as error:
            told.append(str(error))
    return told


@pytest.mark.parametrize("chunk", slow_but([0], range(6)))
def test_searches_choose_the_same_after_a_walk_ahead(chunk: int) -> None:
    for seed in range(500 + chunk * 6, 506 + chunk * 6):
        of, goal = drawn(seed, 4), GOALS[seed % len(GOALS)]
        compared(of, goal)


def test_where_the_rule_is_best_it_is_chosen_after_a_walk_ahead() -> None:
    layer = acc.Conv2d(M=512, C=512, H=7, W=7, R=3, S=3, padding=1).directed(None, "forward")
    sizes = {"array.rows": 40, "array.cols": 16}
    archs = [
        acc.load_architecture("systolic", sizes | {"levels.sram.capacity_bytes": 1024 * n})
        for n in (64, 224, 240)
    ]
    assert compared((layer, archs, load_dataflow("os")), "edp") == [False, True, True]


def compared(of: Case, goal: str) -> list[bool]:
    """Search every machine alone, and again after a walk ahead; on which the rule's is the best."""
    alone = chosen(of, goal)
    walk_ahead(*of)
    ahead = chosen(of, goal)
    assert not rules_ahead._walked
    for a, b in zip(alone, ahead, strict=True):
        if isinstance(a, str) or isinstance(b, str):
            assert a == b
            continue
        assert (a.mapping, a.measures, a.value, a.bound, a.rule, a.space, a.valued) == (
            b.mapping, b.measures, b.value, b.bound, b.rule, b.space, b.valued,
        )  # fmt: skip
    return [not isinstance(a, str) and a.rule for a in alone]


def test_what_is_too_long_for_arrays_has_no_bound() -> None:
    """Its cycles might not fit in them."""
    layer = acc.Conv2d(M=1 << 22, C=1 << 22, H=8, W=8, R=1, S=1).directed(None, "forward")
    archs = [
        acc.load_architecture("systolic", {"array.rows": n, "array.cols": 1 << 20}) for n in (4, 8)
    ]
    flow = load_dataflow("ws")
    walk_ahead(layer, archs, flow)
    for arch in archs:
        rule = rule_of(layer, arch, flow)
        assert rule is not None and rule.least is None


def test_a_sweep_walks_ahead_and_has_the_rows_it_has_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One machine among them is refused, another has no room for a word."""
    layer = acc.Conv2d(name="a", M=24, C=12, H=9, W=9, R=3, S=3, padding=1)
    sizes = [2, 700, 900, 4096, 16384, 65536]
    grid = {"array.rows": [8, 3], "levels.sram.capacity_bytes": sizes}
    bounds: list[float] = []

    def told(*asked: object) -> rules_ahead.RuleMapping | None:
        rule = rule_of(*asked)  # type: ignore[arg-type]
        bounds.extend([] if rule is None or rule.least is None else rule.least.values())
        return rule

    monkeypatch.setattr("accelsim.mapper.quick_search.rule_of", told)
    monkeypatch.setattr(runner, "BATCH_S", 1e6)  # tasks grow however slow they are
    ahead = acc.sweep(layer, "systolic", grid, dataflows=["ws", "os"], tiles="best", jobs=1)
    assert bounds and not rules_ahead._walked
    monkeypatch.setattr(rules_ahead, "WORTH", 1 << 30)
    bounds.clear()
    alone = acc.sweep(layer, "systolic", grid, dataflows=["ws", "os"], tiles="best", jobs=1)
    assert not bounds
    assert ahead.equals(alone)
    assert set(ahead["status"]) == {"ok", "unmappable"}
