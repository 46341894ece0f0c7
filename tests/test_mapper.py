"""The mapper against brute force: every mapping of small random spaces, one by one, through the nest and the analytic engine."""

from __future__ import annotations

import random
from math import prod
from typing import Any

import numpy as np
import pytest
from nests import random_problem

from accelsim.engines import analytic, counts
from accelsim.engines.array_time import folds, on_lines
from accelsim.explore.mapper.dominance import undominated
from accelsim.explore.mapper.layer import spread
from accelsim.explore.mapper.objective import Objective
from accelsim.explore.mapper.search import Search, least
from accelsim.explore.mapper.space import Skeleton, count, under
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.footprint import depends
from accelsim.mapping.mapping import FUSED, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.presets import load_dataflow
from accelsim.workload.problem import Problem

OBJECTIVES = ("energy", "cycles", "edp", "dram", "energy*cycles^2")
FLOWS = ("rs", "ws", "os", "is", "nlr", "osp")
QUICK, MANY, SMALL, SLIDING = 18, 330, 700, 6


def machine(rng: random.Random) -> Architecture:
    """Three levels, small memories of every kind, networks, prices and word widths at random."""
    lines = rng.random() < 0.3
    capacity = rng.choice(
        ({}, {"capacity_bytes": 2 * rng.choice((16, 40, 100))}, {"capacity_bytes": 64, "banks": 8}, {"partitions": {"weight": 24}})
    )
    buffer = capacity | {"double_buffered": rng.random() < 0.3}
    names = ("dram", "buf", "pe")
    networks = {
        "link": {"below": "dram", "held": rng.choice(("multicast", "unicast")), "accumulated": rng.choice(("reduce", "unicast"))},
        "noc": {
            "below": "buf",
            "held": rng.choice(("preload", "multicast")) if lines else rng.choice(("multicast", "unicast", "neighbour")),
            "streamed": "systolic" if lines else "multicast",
            "accumulated": "systolic" if lines else rng.choice(("reduce", "unicast", "chain")),
        },
    }
    overlap = rng.random() < 0.6
    array = {
        "rows": rng.choice((2, 3, 4)),
        "cols": rng.choice((2, 3, 5)),
        "overlap": overlap,
        "weight_registers": rng.choice((1, 2)) if overlap else 1,
        "outputs": rng.choice(("in_place", "accumulators", "register")),
        "partial_folds": rng.choice(("exact", "full")),
        "fold_filter": rng.random() < 0.8,
    }
    price = {n: rng.choice((0.0, 1.0, 3.0, 50.0)) for n in names}
    unit = rng.choice(("mac", "pj"))
    return Architecture.model_validate(
        {
            "name": "random",
            "clock_mhz": 100.0,
            "array": array,
            "levels": {"dram": {}, "buf": buffer, "pe": rng.choice(({}, {"partitions": {"ofmap": 8}}, {"capacity_bytes": 16}))},
            "networks": networks,
            **({"padding": {"stored_from": "buf"}} if rng.random() < 0.3 else {}),
            "accumulate": rng.choice(("at_level", "in_array")),
            "bits": {"weight": 8, "ifmap": 8, "psum": rng.choice((16, 32)), "ofmap": rng.choice((8, 16))},
            "energy": rng.choice(
                (
                    {
                        "mac": 1.0,
                        "unit": unit,
                        "charge": rng.choice(("reads", "reads_and_writes")),
                        "levels": price,
                        "networks": {"link": rng.choice((0.0, 1.0)), "noc": rng.choice((0.0, 2.0))},
                        "static_mw": 0.5 if unit == "pj" else 0.0,
                    },
                    {"table": "eyeriss"},
                    {"table": "horowitz45"},
                )
            ),
        }
    )


def choices(skeleton: Skeleton, tiles: str) -> list[tuple[int, ...]]:
    """A tile for every slot, every way there is: the slots taken in nest order, nothing shared with the mapper's lists."""
    found: list[tuple[int, ...]] = []

    def extend(at: int, current: dict[str, int], chunk: dict[str, int], sofar: tuple[int, ...]) -> None:
        if at == len(skeleton.slots):
            found.append(sofar)
            return
        dim = skeleton.slots[at].dim
        whole = current[dim] if dim in current else chunk.get(dim, prod(current[p] for p in FUSED[dim]))
        later = [s.dim for s in skeleton.slots[at + 1 :]]
        goes_on = dim in later or any(dim in FUSED.get(d, ()) for d in later)
        for t in range(1, whole + 1) if goes_on else (1,):
            if tiles == "all" or whole % t == 0 or (tiles == "even" and t == -(-whole // -(-whole // t))):
                if dim in current:
                    extend(at + 1, current | {dim: t}, chunk, (*sofar, t))
                else:
                    extend(at + 1, current, chunk | {dim: t}, (*sofar, t))

    extend(0, dict(skeleton.problem.size), {}, ())
    return found


def slow_cycles(nest: Nest) -> float:
    """The search's cycles from folds listed one by one (docs/mapper.md); MAC steps where the array has no lines."""
    steps = prod(_positions(nest, c) for c in nest.chains)
    array = nest.arch.array
    if not on_lines(nest):
        b = next(b for b in reversed(nest.boundaries) if b.tensor == nest.problem.accumulated and b.parent < nest.levels - 1)
        return float(steps + (sum(_free(nest, b.tensor)) - 2 if b.kind == "chain" else 0))
    t, r, c = (x.astype(float) for x in folds(nest))
    t, r, c = t[t > 0], r[t > 0], c[t > 0]
    R, C = array.rows, array.cols
    if nest.turned:
        r, c, R, C = c, r, C, R
    full = array.partial_folds == "full"
    if full:
        r, c = np.full_like(r, R), np.full_like(c, C)
    low = (R, C) if full else (1, 1)
    held = nest.problem.accumulated in nest.keep[-1]
    shift = 0 if array.outputs == "in_place" else R
    if not array.overlap:
        return float((t + r + (shift if held else R) + c - 2).sum())
    if held:
        if array.outputs == "accumulators":
            return float((t + r - 1).sum() + R + low[1] - 1)
        steps = t.sum() + shift + sum(low) - 2
        return float(steps if array.outputs == "in_place" else max(steps, r.sum() + R + low[1] - 1))
    if array.weight_registers == 1:
        return float((t + r - 1).sum() + R + low[1] - 1)
    return float(max(t.sum() + R + low[1] - 2 + low[0], r.sum() + R + low[1] - 1))


def _free(nest: Nest, tensor: str) -> list[int]:
    """Rows and columns over which a tensor is added."""
    loops = [x for x in nest.loops if x.spatial and not depends(x.dim, tensor, nest.mapping.fused)]
    return [prod(x.trips for x in loops if x.axis == axis) for axis in ("row", "col")]


def _positions(nest: Nest, chain: Any) -> int:
    free = [i for i in chain.loops if not nest.loops[i].spatial]
    trips = [nest.loops[i].trips for i in free]
    grid = np.indices(trips).reshape(len(trips), prod(trips))
    index = dict.fromkeys(chain.loops, 0) | dict(zip(free, grid, strict=True))
    return int(np.broadcast_to(nest.pieces(chain, index).exists, (prod(trips),)).sum())


def brute(skeleton: Skeleton, tiles: str) -> list[dict[str, float]]:
    """Energy, cycles and DRAM bits of every legal mapping."""
    arch, problem = skeleton.arch, skeleton.problem
    found = []
    for one in choices(skeleton, tiles):
        try:
            nest = Nest(problem, arch, skeleton.mapping(one))
        except MappingError:
            continue
        moves = analytic.run(nest)
        cycles = slow_cycles(nest)
        energy = counts.energy(nest, moves, problem.macs, cycles / (arch.clock_mhz * 1e6))[f"energy_{arch.energy.unit}"]
        dram = 0
        for b, m in moves.items():
            if b.parent == 0:
                words = m.arrived + m.updated if b.tensor == problem.accumulated else m.read
                dram += words * nest.footprint.word_bits(0, b.tensor)
        found.append({"energy": float(energy), "cycles": cycles, "dram": float(dram)})
    return found


def front(points: list[dict[str, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for c, e in sorted({(p["cycles"], p["energy"]) for p in points}):
        if not kept or e < kept[-1][1] * (1 - 1e-9):
            kept.append((c, e))
    return kept


def case(seed: int) -> tuple[Skeleton, str]:
    """A small problem under a dataflow on a machine that has at least one mapping of it."""
    rng = random.Random(seed)
    while True:
        problem: Problem = random_problem(rng, 200)
        arch, flow, tiles = machine(rng), load_dataflow(rng.choice(FLOWS)), rng.choice(("divisors", "even", "all"))
        try:
            skeleton = under(problem, arch, flow)
        except MappingError:
            continue
        if 1 < len(_bounded(skeleton, tiles)) <= SMALL:
            return skeleton, tiles


def _bounded(skeleton: Skeleton, tiles: str) -> range:
    return range(prod(count(skeleton, f, tiles) for f in skeleton.families))  # type: ignore[arg-type]


def sliding_case(seed: int) -> tuple[Skeleton, str]:
    """All integers of a problem in which both dimensions of a sliding rank are cut: strides, dilation, padding (uneven, stored)."""
    rng = random.Random(seed)
    while True:
        problem: Problem = random_problem(rng, 300)
        if not any(problem.size[e] > 2 and problem.size[r] > 1 for e, r in ("ER", "FS")):
            continue
        arch, flow = machine(rng), load_dataflow(rng.choice(("rs", "rs", "osp", "nlr")))
        try:
            skeleton = under(problem, arch, flow)
        except MappingError:
            continue
        if 20 < len(_bounded(skeleton, "all")) <= SMALL:
            return skeleton, "all"


def differences(skeleton: Skeleton, tiles: str) -> list[str]:
    """What the search and brute force do not agree on."""
    truth, wrong = brute(skeleton, tiles), []
    if len(choices(skeleton, tiles)) != len(_bounded(skeleton, tiles)):
        wrong.append(f"space of {len(_bounded(skeleton, tiles))}, brute force lists {len(choices(skeleton, tiles))}")
    for text in OBJECTIVES:
        goal = Objective.parse(text)
        tally, tables, space = spread(skeleton, tiles, goal.measures)  # type: ignore[arg-type]
        state = Search(tables, goal, tally).run()
        best = min((float(goal.of(p)) for p in truth), default=float("inf"))
        if min(float(goal.of(m)) for m in least(skeleton, goal.measures)) > best * (1 + 1e-9):
            wrong.append(f"{text}: what every mapping must do is above the best {best}")
        if not (state.value == best or abs(state.value - best) <= 1e-9 * abs(best)):
            wrong.append(f"{text}: search {state.value}, brute force {best}")
        total = tally.evaluated + sum(tally.pruned().values())
        if total != space:
            wrong.append(f"{text}: {total} mappings accounted for of {space}")
        if state.best is not None:
            Nest(skeleton.problem, skeleton.arch, skeleton.mapping(state.best.tiles))
    tally, tables, _ = spread(skeleton, tiles, ("energy", "cycles"))  # type: ignore[arg-type]
    state = Search(tables, None, tally).run()
    got, want = [(f.values["cycles"], f.values["energy"]) for f in state.front], front(truth)
    if len(got) != len(want) or not np.allclose(got, want, rtol=1e-8):
        wrong.append(f"front {got}, brute force {want}")
    return wrong


@pytest.mark.parametrize("chunk", range(6))
def test_search_is_brute_force(chunk: int) -> None:
    for seed in range(chunk, QUICK, 6):
        assert not (wrong := differences(*case(seed))), f"seed {seed}: {wrong}"


@pytest.mark.parametrize("seed", range(SLIDING))
def test_all_integers_of_sliding_ranks_are_brute_force(seed: int) -> None:
    assert not (wrong := differences(*sliding_case(seed))), f"seed {seed}: {wrong}"


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(10))
def test_all_integers_of_many_sliding_ranks_are_brute_force(chunk: int) -> None:
    for seed in range(2000 + chunk, 2120, 10):
        assert not (wrong := differences(*sliding_case(seed))), f"seed {seed}: {wrong}"


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(10))
def test_search_is_brute_force_on_many(chunk: int) -> None:
    for seed in range(1000 + chunk, 1000 + MANY, 10):
        assert not (wrong := differences(*case(seed))), f"seed {seed}: {wrong}"


def test_every_choice_of_a_space_is_listed_once() -> None:
    for seed in range(40):
        skeleton, tiles = case(seed)
        assert len(set(found := choices(skeleton, tiles))) == len(found)


@pytest.mark.parametrize("seed", range(20))
def test_undominated_rows_are_those_no_other_covers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 2 + seed, (int(rng.integers(0, 1200)), int(rng.integers(0, 10)))).astype(float)
    rows = costs.tolist()
    want = []
    for i, a in enumerate(rows):
        covers = (all(y <= x for x, y in zip(a, b, strict=True)) and (b != a or j < i) for j, b in enumerate(rows) if j != i)
        if not any(covers):
            want.append(i)
    assert undominated(costs).tolist() == want
