"""The mapper against brute force: every mapping of small random spaces, one by one, through the
nest and the analytic engine.

The cycles are the closed form's (docs/time.md), with ports, widths, latencies and lines.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import pytest
from nests import random_problem
from quick import slow_but

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.engines import analytic, moved
from accelsim.engines.analytic import pipeline
from accelsim.hardware.architecture import Architecture
from accelsim.mapper import layer_search, space
from accelsim.mapper.bound_table import BoundTable
from accelsim.mapper.closed_cycles import forms_are_exact
from accelsim.mapper.dominance import undominated
from accelsim.mapper.layer_search import search_tiles, spread
from accelsim.mapper.objective import Objective
from accelsim.mapper.preparing import least
from accelsim.mapper.search import State
from accelsim.mapper.space import count, under
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import FUSED, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Skeleton
from accelsim.workload.problem import Problem

OBJECTIVES = ("energy", "cycles", "edp", "dram", "energy*cycles^2", "front")
FLOWS = ("rs", "ws", "os", "is", "nlr", "osp")
FEW, MANY, SMALL, SLIDING = 30, 330, 300, 6


def machine(rng: random.Random) -> Architecture:
    """Three levels, small memories of every kind, networks, prices and word widths at random."""
    lines = rng.random() < 0.3
    capacity = rng.choice(
        (
            {},
            {"capacity_bytes": 2 * rng.choice((16, 40, 100))},
            {"capacity_bytes": 64, "banks": 8},
            {"partitions": {"weight": 24}},
        )
    )
    buffer = capacity | {"double_buffered": rng.random() < 0.3}
    names = ("dram", "buf", "pe")
    networks = {
        "link": {
            "below": "dram",
            "held": rng.choice(("multicast", "unicast")),
            "accumulated": rng.choice(("reduce", "unicast")),
        },
        "noc": {
            "below": "buf",
            "held": rng.choice(("preload", "multicast"))
            if lines
            else rng.choice(("multicast", "unicast", "neighbour")),
            "streamed": "systolic" if lines else "multicast",
            "accumulated": "systolic" if lines else rng.choice(("reduce", "unicast", "chain")),
        },
    }
    levels = {
        "dram": {},
        "buf": buffer,
        "pe": rng.choice(({}, {"partitions": {"ofmap": 8}}, {"capacity_bytes": 16})),
    }
    if rng.random() < 0.7:
        _slow(rng, levels, networks)
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
            "levels": levels,
            "networks": networks,
            **({"padding": {"stored_from": "buf"}} if rng.random() < 0.3 else {}),
            "accumulate": rng.choice(("at_level", "in_array")),
            "bits": {
                "weight": 8,
                "ifmap": 8,
                "psum": rng.choice((16, 32)),
                "ofmap": rng.choice((8, 16)),
            },
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


def _slow(rng: random.Random, levels: dict[str, Any], networks: dict[str, Any]) -> None:
    """Ports, widths, latencies, bursts and queues at random."""
    for name, level in levels.items():
        if rng.random() < 0.5 and name != "pe":  # nothing in the PEs has a rate
            level |= {
                "port_bits": rng.choice((4, 8, 24, 64)),
                "ports": rng.choice(("shared", "separate")),
            }
            if rng.random() < 0.3:
                level |= {"port_clock_mhz": rng.choice((30.0, 60.0, 250.0))}
            if rng.random() < 0.2 and name != "pe":
                level |= {"burst_bits": rng.choice((16, 64))}
        if rng.random() < 0.2 and name != "pe":
            level |= {"latency_cycles": rng.choice((1, 5))}
        if rng.random() < 0.4 and name != "dram" and not level.get("double_buffered"):
            level |= {"queued": rng.sample(("weight", "ifmap", "ofmap"), rng.randint(1, 2))}
    for network in networks.values():
        if rng.random() < 0.5:
            wide = {
                t: rng.choice((8, 16, 64))
                for t in ("weight", "ifmap", "ofmap")
                if rng.random() < 0.7
            }
            network |= {"width_bits": rng.choice((8, 32, wide)) if wide else 16}


def choices(skeleton: Skeleton, tiles: str) -> list[tuple[int, ...]]:
    """A tile for every slot, every way there is: the slots taken in nest order, nothing shared with
    the mapper's lists.
    """
    found: list[tuple[int, ...]] = []

    def extend(
        at: int, current: dict[str, int], chunk: dict[str, int], sofar: tuple[int, ...]
    ) -> None:
        if at == len(skeleton.loops):
            found.append(sofar)
            return
        dim = skeleton.loops[at].dim
        whole = (
            current[dim] if dim in current else chunk.get(dim, prod(current[p] for p in FUSED[dim]))
        )
        later = [s.dim for s in skeleton.loops[at + 1 :]]
        goes_on = dim in later or any(dim in FUSED.get(d, ()) for d in later)
        for t in range(1, whole + 1) if goes_on else (1,):
            if (
                tiles == "all"
                or whole % t == 0
                or (tiles == "even" and t == -(-whole // -(-whole // t)))
            ):
                if dim in current:
                    extend(at + 1, current | {dim: t}, chunk, (*sofar, t))
                else:
                    extend(at + 1, current, chunk | {dim: t}, (*sofar, t))

    extend(0, dict(skeleton.problem.size), {}, ())
    return found


def measured(skeleton: Skeleton, tiles: tuple[int, ...]) -> dict[str, float] | None:
    """Energy, cycles and DRAM bits of a mapping; None if it is not legal."""
    arch, problem = skeleton.arch, skeleton.problem
    try:
        nest = Nest(problem, arch, skeleton.mapping_with(tiles))
    except MappingError:
        return None
    moves = analytic.moves(nest)
    cycles = pipeline.time(nest, moves).cycles
    energy = moved.energy(nest, moves, problem.macs, cycles / (arch.clock_mhz * 1e6))[
        f"energy_{arch.energy.unit}"
    ]
    dram = 0
    for b, m in moves.items():
        if b.parent == 0:
            words = m.arrived + m.updated if b.tensor == problem.accumulated else m.read
            dram += words * nest.footprint.word_bits(0, b.tensor)
    return {"energy": float(energy), "cycles": float(cycles), "dram": float(dram)}


def brute(skeleton: Skeleton, tiles: str) -> dict[tuple[int, ...], dict[str, float]]:
    """Measures of every legal mapping by its tiles."""
    every = {one: measured(skeleton, one) for one in choices(skeleton, tiles)}
    return {one: values for one, values in every.items() if values is not None}


def lower(table: BoundTable) -> dict[tuple[int, ...], dict[str, float]]:
    """The highest lower bounds the tables give of all their mappings, legal or not."""
    picks = [np.arange(len(g.tiles)) for g in table.groups]
    measures, shape = table.block(picks)
    rows = table.rows(picks, np.arange(prod(shape)), shape)
    closer = table.closer(rows)
    assert all((closer[m] >= np.ravel(v) * (1 - 1e-12)).all() for m, v in measures.items())
    return {
        table.tiles([r[i] for r in rows]): {m: float(v[i]) for m, v in closer.items()}
        for i in range(prod(shape))
    }


def front(points: Iterable[dict[str, float]]) -> list[tuple[float, float]]:
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
        arch, flow, tiles = (
            machine(rng),
            load_dataflow(rng.choice(FLOWS)),
            rng.choice(("divisors", "even", "all")),
        )
        try:
            skeleton = under(problem, arch, flow)
        except MappingError:
            continue
        if 1 < len(_bounded(skeleton, tiles)) <= SMALL:
            return skeleton, tiles


def _bounded(skeleton: Skeleton, tiles: str) -> range:
    return range(prod(count(skeleton, f, tiles) for f in skeleton.families))


def sliding_case(seed: int) -> tuple[Skeleton, str]:
    """All integers of a problem in which both dimensions of a sliding rank are cut: strides,
    dilation, padding (uneven, stored).
    """
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
        if 20 < len(_bounded(skeleton, "all")) <= 700:
            return skeleton, "all"


def differences(
    skeleton: Skeleton, tiles: str, objectives: Sequence[str] = OBJECTIVES
) -> list[str]:
    """What the search and brute force do not agree on."""
    truth, wrong = brute(skeleton, tiles), []
    exact = forms_are_exact(skeleton.arch)
    if len(choices(skeleton, tiles)) != len(_bounded(skeleton, tiles)):
        wrong.append(
            f"space of {len(_bounded(skeleton, tiles))}, "
            f"brute force lists {len(choices(skeleton, tiles))}"
        )
    for table in spread(skeleton, tiles, ("energy", "cycles", "dram"), dominance=False)[1]:
        for one, low in lower(table).items():
            for m, value in low.items():
                true = truth.get(one, low)[m]
                if value > true * (1 + 1e-9) or (
                    value < true * (1 - 1e-9)
                    and (exact or (m != "cycles" and not table.cell.static))
                ):
                    wrong.append(f"{one}: {m} {true}, its lower bound {value}")
    for text in objectives:
        goal = None if text == "front" else Objective.parse(text)
        state, tally, space, _ = search_tiles(skeleton, tiles, goal, None, None, None)
        every = [] if goal is None else [float(goal.of(m)) for m in least(skeleton, goal.measures)]
        if (
            goal is not None
            and truth
            and min(every) > min(float(goal.of(p)) for p in truth.values()) * (1 + 1e-9)
        ):
            wrong.append(f"{text}: what every mapping must do is above the best")
        total = tally.evaluated + sum(tally.pruned().values())
        if total != space:
            wrong.append(f"{text}: {total} mappings accounted for of {space}")
        for f in [*state.front, *([state.best] if state.best else [])]:
            if not all(_is(v, truth[f.tiles][m]) for m, v in f.values.items()):
                wrong.append(f"{text}: {f.values}, in truth {truth[f.tiles]}")
        wrong += _front_of(state, truth) if goal is None else _best_of(state, goal, truth)
    return (
        wrong if exact or tiles != "all" else [w for w in wrong if not w.startswith("not the best")]
    )  # dominance leaves a gap


def _best_of(
    state: State, goal: Objective, truth: dict[tuple[int, ...], dict[str, float]]
) -> list[str]:
    best = min((float(goal.of(p)) for p in truth.values()), default=float("inf"))
    bound = min(state.value, state.rest)
    wrong = [f"{goal.text}: bound {bound}, brute force {best}"] if bound > best * (1 + 1e-9) else []
    if state.value < best * (1 - 1e-9):
        wrong.append(f"{goal.text}: search {state.value} is below brute force {best}")
    elif not _is(state.value, best):
        wrong.append(f"not the best {goal.text}: search {state.value}, brute force {best}")
    return wrong


def _front_of(state: State, truth: dict[tuple[int, ...], dict[str, float]]) -> list[str]:
    got, want = (
        [(f.values["cycles"], f.values["energy"]) for f in state.front],
        front(truth.values()),
    )
    if len(got) != len(want) or not np.allclose(got, want, rtol=1e-8):
        return [f"not the best front {got}, brute force {want}"]
    return []


def _is(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= 1e-9 * abs(b)


@pytest.mark.parametrize("chunk", slow_but([0], range(12)))
def test_search_is_brute_force(chunk: int) -> None:
    for seed in range(chunk, FEW, 12):
        asked = [OBJECTIVES[(seed + i) % len(OBJECTIVES)] for i in (0, 1)]
        assert not (wrong := differences(*case(seed), asked)), f"seed {seed}: {wrong}"


@pytest.mark.parametrize("seed", slow_but(range(2), range(SLIDING)))
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
    costs = rng.integers(
        0, 2 + seed, (int(rng.integers(0, 1200)), int(rng.integers(0, 10)))
    ).astype(float)
    rows = costs.tolist()
    want = []
    for i, a in enumerate(rows):
        covers = (
            all(y <= x for x, y in zip(a, b, strict=True)) and (b != a or j < i)
            for j, b in enumerate(rows)
            if j != i
        )
        if not any(covers):
            want.append(i)
    assert undominated(costs).tolist() == want


# -- large ranges ----------------------------------------------------------------------------------


def test_ways_to_cut_a_range_are_those_of_a_list() -> None:
    """Divisors, and least tiles for so many pieces, without going through the whole range."""
    for n in range(1, 600):
        assert space.divisors(n) == [d for d in range(1, n + 1) if n % d == 0]
        even = sorted({-(-n // k) for k in range(1, n + 1)})
        assert list(space.options(n, "even")) == even
        assert space._how_many_even(n) == len(even)


def test_a_large_prime_batch_is_searched_or_refused() -> None:
    """A search once went through every number up to a batch, or to its root: minutes and memory for
    a prime of a thousand million, without an end for one beyond what can be counted.
    """
    layer = acc.Conv2d(M=2, C=2, H=4, W=4, R=3, S=3)
    assert space.divisors((1 << 53) - 111) == [1, (1 << 53) - 111]
    with pytest.raises(
        InputError, match=r"at most 2\^53 MACs, got 1267650600228229401496703205376"
    ):
        acc.map_layer(layer, "systolic", "ws", batch=1 << 100)
    with pytest.raises(MappingError, match="make 2000000014 steps"):
        acc.map_layer(layer, "systolic", "ws", batch=10**9 + 7)
    with pytest.raises(MappingError, match="use tiles=divisors"):
        space._ways(1 << 40, 2, "even")
    with pytest.raises(MappingError, match="use tiles=divisors"):
        space._ends(10**9, 1, "all")


def test_long_lists_of_tiles_are_not_kept_for_ever() -> None:
    """Of sixty ranges of ten million, each with 6 000 even tiles, the last few are kept."""
    tracemalloc.start()
    try:
        for whole in range(10**7, 10**7 + 60):
            assert len(space.options(whole, "even")) == space._how_many_even(whole)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 8_000_000


@pytest.mark.parametrize(("arch", "flow"), [("eyeriss", "rs"), ("systolic", "ws")])
@pytest.mark.parametrize("limit", [None, 5.0])
def test_what_is_too_much_to_list_is_refused_before_anything_is_searched(
    arch: str, flow: str, limit: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search of all tiles began with that of even ones, and said after half a minute that there
    are too many.
    """
    monkeypatch.setattr(layer_search, "search_tiles", None)
    layer = acc.Conv2d(M=2, C=1, H=4, W=4, R=3, S=3)
    most = r"a range of \d+: more than 4000000 choices of tiles are not listed; use tiles=divisors"
    with pytest.raises(MappingError, match=most):
        acc.map_layer(layer, arch, flow, batch=1 << 40, tiles="all", limit=limit)
