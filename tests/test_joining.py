"""The compiled scan of combinations beside all of them valued one by one, and layers it was too
narrow for.
"""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from quick import slow_but
from test_quick import GOALS, drawn, larger, searched

import accelsim as acc
from accelsim.hardware.architecture import load_architecture
from accelsim.mapper import quick_search
from accelsim.mapper.joining import BestPool, Joiner
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import layer_tables, quick_mapping
from accelsim.mapper.quick_weights import MachineWeights
from accelsim.mapping.files import load_dataflow

KEPT = 16


def one_by_one(
    weights: MachineWeights, goal: Objective
) -> dict[tuple[int, ...], tuple[float, float]]:
    """What every legal combination should come to, and its bound, by plain products."""
    t = weights.tables
    known = {}
    for choice in product(*[range(len(x)) for x in t.tiles]):
        kinds = tuple([k[at] for k, at in zip(t.kinds, choice, strict=True)])
        bits, terms, use = 0, t.constant.copy(), t.whole.copy()
        for f, at in enumerate(choice):
            bits |= int(t.unfinished[f][at])
            terms, use = terms * t.own[f][at], use * t.usage[f][at]
        for tie in t.ties.values():
            met = choice[tie.outer], tie.which[choice[tie.filter]]
            terms, use = terms * tie.terms[met], use * tie.use[met]
        w = weights.of(bits)
        if not t.covered[kinds] or any(x.used(use) > x.most for x in w.limits):
            continue
        energy, dram, *cycles = w.forms @ terms + w.constant
        values = []
        for late in (float(use @ weights.first), 0.0):
            took = max(cycles) + late
            spent = {"energy": energy + weights.static * took, "cycles": took, "dram": dram}
            values.append(float(goal.of(spent)))
        known[choice] = values[0], values[1]
    return known


@pytest.mark.parametrize("chunk", range(3))
def test_the_best_are_kept_and_what_is_lost_is_no_better(chunk: int) -> None:
    """Whatever is cut off on the way, in one go or stopped after every few choices."""
    for seed in range(chunk * 12, chunk * 12 + 12):
        case, goal = drawn(seed), GOALS[seed % len(GOALS)]
        tables = layer_tables(*case)
        if tables.space > 1500 or not tables.families:
            continue
        weights = MachineWeights(tables, case[1])
        known = one_by_one(weights, goal)
        pool = BestPool.empty(KEPT, len(tables.families))
        every = [np.arange(len(x)) for x in tables.tiles]
        Joiner(tables, weights, goal).join(every, pool, None, lambda: None)
        there = np.isfinite(pool.values)
        best = sorted(value for value, _ in known.values())[:KEPT]
        assert pool.values[there] == pytest.approx(best, rel=1e-9), seed
        kept = {tuple(row) for row in pool.rows[there].tolist()}
        assert len(kept) == there.sum() and kept <= known.keys(), seed
        rest = min([b for c, (_, b) in known.items() if c not in kept], default=np.inf)
        assert min(pool.lost[0], pool.values[-1]) <= rest * (1 + 1e-9), seed
        for row, value, bound in zip(pool.rows, pool.values, pool.bounds, strict=True):
            if value < np.inf:
                assert (value, bound) == pytest.approx(known[tuple(row.tolist())], rel=1e-9), seed


def test_a_search_that_looks_at_few_keeps_the_best_of_what_it_saw() -> None:
    case, goal = drawn(3), GOALS[0]
    tables = layer_tables(*case)
    weights = MachineWeights(tables, case[1])
    joiner, known = Joiner(tables, weights, goal), one_by_one(weights, goal)
    every = [np.arange(len(x)) for x in tables.tiles]
    before = np.inf
    for most in (1, 10, 100, 1000):
        pool = BestPool.empty(KEPT, len(tables.families))
        looked = joiner.join(every, pool, most, lambda: None)
        assert looked <= most + max(map(len, every)) * 32
        assert pool.values[0] <= before
        before = pool.values[0]
        for row, value in zip(pool.rows.tolist(), pool.values, strict=True):
            assert value == np.inf or tuple(row) in known


@pytest.mark.parametrize("seed", slow_but(range(2), range(12)))
def test_what_a_machine_finds_does_not_hang_on_what_others_found_before(seed: int) -> None:
    """Neither where the space is valued whole, from what was best on the machines before, nor by
    descent; nor do the bounds.
    """
    problem, _, flow = larger(seed)
    rng, goal = random.Random(seed), GOALS[seed % len(GOALS)]
    name, level = ("eyeriss", "glb") if flow.short == "rs" else ("systolic", "sram")
    machines = [
        load_architecture(name, {"array.rows": 4, f"levels.{level}.capacity_bytes": size})
        for size in rng.choices((200, 300, 700, 1000, 4000, 16000), k=4)
    ]
    alone = []
    for arch in machines:
        quick_search._tables.clear()
        alone.append(searched((problem, arch, flow), goal))
    quick_search._tables.clear()
    assert [searched((problem, arch, flow), goal) for arch in machines] == alone


PORT = {"levels.dram.port_bits": 128, "levels.sram.double_buffered": True}


@pytest.mark.parametrize(
    ("layer", "dataflow", "size", "edp"),
    [  # by the exact search; a descent came to 1.180e14 and 2.725e14
        ("resnet50 conv3_2_conv", "ws", (32, 32, 64), 8.84909e13),
        ("resnet50 conv3_2_conv", "ws", (16, 64, 64), 1.11143e14),
        # many bounds are equal, and what comes on top of them is not
        ("mobilenet_v1 conv8_1_dw", "is", (32, 32, 512), 2.07522e12),
    ],
)
def test_what_was_missed_is_found(
    layer: str, dataflow: str, size: tuple[int, int, int], edp: float
) -> None:
    workload, name = layer.split()
    problem = acc.load_workload(workload).select([name]).layers[0].directed(None, "forward")
    rows, cols, kb = size
    array = {"array.rows": rows, "array.cols": cols, "levels.sram.capacity_bytes": kb * 1024}
    arch = load_architecture("systolic", array | PORT)
    chosen = quick_mapping(problem, arch, load_dataflow(dataflow), Objective.parse("edp"))
    assert chosen.value <= edp * 1.01
