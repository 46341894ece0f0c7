"""One clock: what physics says of a run, whoever computes it (docs/time.md).

On random nests with ports, clocks, bursts, latencies, widths, slots, chains and folds that go on
over passes, and on what presets make of random layers:

    cycles  are the end of the timeline, and what the array does, is delayed by and waits for
            add up to them
    busy    no port, channel or array is busy for longer than the run lasts, or twice at a time
    bound   no run is shorter than the bound, nor than the first words and the array after them
    exact   where the closed form says it is the timed event engine's, it is: cycles, and stalls by
            who was waited for
    array   the array alone takes as long in all three engines
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import slow_time
import test_pipeline
from nests import DIRECTIONS, drawn_nest, random_nest, slid_nest
from quick import slow_but
from test_timed import differs, limited

import accelsim as acc
from accelsim.engines import analytic, cycle
from accelsim.engines.analytic.array_time import (
    FoldFrame,
    array_time,
    fold_starts,
    folds,
    held_words,
    on_lines,
)
from accelsim.engines.analytic.pipeline import Time, first_fills, least_cycles
from accelsim.engines.event import folds as event_folds
from accelsim.engines.event import timed
from accelsim.engines.event.timed.inside import Inside
from accelsim.engines.event.timed.resources import Limits
from accelsim.engines.event.timed.transfer import Routes
from accelsim.engines.run import Run
from accelsim.engines.timeline import Timing
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data

STRATA = (
    "folds that go on", "two slots", "sums come down", "ports passes and transfers share", "chains",
    "steps of padding alone", "presets", *DIRECTIONS,
)  # fmt: skip


def clocked_nest(seed: int) -> Nest:
    """The nest of a seed: random machines, half of them of lines, and presets."""
    rng = random.Random(f"one clock {seed}")
    kind = rng.random()
    if kind < 0.07:  # one in seventy of those on lines goes on
        nest = random_nest(rng, 300, systolic=1.0, spatial=0.5)
        while not goes_on(nest):
            nest = random_nest(rng, 300, systolic=1.0, spatial=0.5)
        return limited(nest, rng)
    if kind < 0.27:
        nest = None
        while nest is None:
            nest = test_pipeline.nests(rng.randrange(10**9), inside=rng.random() < 0.5)
        return nest
    if kind < 0.5:
        return limited(random_nest(rng, 300, systolic=0.9, resident=rng.choice((0.0, 0.7))), rng)
    return limited(drawn_nest(rng.randrange(10**9)), rng)


# -- strata ----------------------------------------------------------------------------------------


def strata(nest: Nest) -> set[str]:
    """Which of the strata a nest belongs to."""
    limits, pe = Limits(nest), nest.levels - 1
    routes, inside = Routes(nest, limits), Inside(nest, limits)
    between = [b for b in nest.boundaries if b.child < pe]
    levels = list(nest.arch.levels.values())
    kinds = {nest.problem.direction}
    if nest.arch.name != "random":
        kinds.add("presets")
    if goes_on(nest):
        kinds.add("folds that go on")
    if any(levels[b.child].double_buffered or b.tensor in levels[b.child].queued for b in between):
        kinds.add("two slots")
    if nest.arch.accumulate == "in_array":
        kinds.add("sums come down")
    if set(inside.resources) & {r for b in between for r in routes.may_use(b)}:
        kinds.add("ports passes and transfers share")
    if nest.arch.network_below(pe - 1)[1].accumulated == "chain":
        kinds.add("chains")
    if padding_alone(nest):
        kinds.add("steps of padding alone")
    return kinds


def goes_on(nest: Nest) -> bool:
    """Whether a pass begins with the words that the PEs hold already."""
    if not on_lines(nest):
        return False
    t, r, c = folds(nest)
    there = t > 0
    many = prod(
        x.trips for x in nest.loops if not x.spatial and x.level < nest.levels - 2
    )  # passes
    owner = np.repeat(np.arange(many), len(t) // many)[there]
    starts = fold_starts(r[there], c[there], held_words(nest)[there])
    return len(set(np.flatnonzero(np.append(True, np.diff(owner) > 0))) - {*starts.tolist()}) > 0


def padding_alone(nest: Nest) -> bool:
    """Whether in some setting of the loops a tile's rows or columns are all padding."""
    p = nest.problem
    if not any(p.padding):
        return False
    for out, filt, at, size in (("E", "R", 0, p.H), ("F", "S", 1, p.W)):
        first = p.padding[2 * at]
        pieces = []
        for dim in (out, filt):
            chain = nest.chain_of[dim]
            if chain.fused:
                return False
            trips = [nest.loops[i].trips for i in chain.loops]
            grid = np.indices(trips).reshape(len(trips), prod(trips))
            piece = nest.pieces(chain, dict(zip(chain.loops, grid, strict=True)))
            ends = np.broadcast_arrays(piece.lo[dim], piece.hi[dim], piece.exists)
            pieces.append(
                {(int(a), int(b)) for a, b, ok in zip(*map(np.ravel, ends), strict=True) if ok}
            )
        for a, b in pieces[0]:
            for c, d in pieces[1]:
                rows = {
                    p.stride[at] * e + p.dilation[at] * f for e in range(a, b) for f in range(c, d)
                }
                if all(not first <= row < first + size for row in rows):
                    return True
    return False


# -- invariants ------------------------------------------------------------------------------------


def wrong(nest: Nest, seed: int) -> Iterator[str]:
    """Everything that cannot be, a line each."""
    closed = analytic.time(nest, analytic.moves(nest))
    run = timed.simulate(nest, timeline=True)
    yield from impossible(nest, closed, run)
    yield from disagreements(nest, seed, closed, run)


def impossible(nest: Nest, closed: Time, run: Timing) -> Iterator[str]:
    """What cannot be of a run, whatever the others say."""
    rows = run.timeline.to_frame()
    alone = array_time(nest)
    least = max(least_cycles(nest, analytic.moves(nest), alone), first_fills(nest) + alone.cycles)
    for name, cycles, array, compute, stalls in (
        ("analytic", closed.cycles, closed.array, closed.compute, closed.stalls),
        ("event", run.cycles, run.array_cycles, run.compute_cycles, run.stalls),
    ):
        if cycles != array + sum(stalls.values()) or compute > array or min(stalls.values()) < 0:
            yield f"{name}: {cycles} cycles are not {compute} of {array} of the array and {stalls}"
        if cycles < closed.bound:
            yield f"{name}: {cycles} cycles, at least {closed.bound} are needed"
        if cycles < least:
            yield f"{name}: {cycles} cycles, at least {least} with the first fills"
    if rows["end"].max() != run.cycles:
        yield f"the timeline ends at {rows['end'].max()}, the run at {run.cycles}"
    for name, own in rows.groupby("resource"):
        own = own.sort_values(["start", "end"])
        if (
            name in (*run.busy, "array")
            and (own["start"][1:].values < own["end"][:-1].values).any()
        ):
            yield f"{name} does two things at a time"
        if run.busy.get(name, 0) > (own["end"] - own["start"]).sum():
            yield f"{name} is busy for {run.busy[name]} cycles, not all in the timeline"
    for name, resource in zip(Limits(nest).labels, Limits(nest).resources, strict=True):
        if run.busy[name] > run.cycles:
            yield f"{name} is busy for {run.busy[name]} of {run.cycles} cycles"
        if run.stalls[resource.name] and not any(
            run.busy[label]
            for label, r in zip(Limits(nest).labels, Limits(nest).resources, strict=True)
            if r.name == resource.name
        ):
            yield f"{name} is waited for and does nothing"


def disagreements(nest: Nest, seed: int, closed: Time, run: Timing) -> Iterator[str]:
    """What the engines say of the same thing."""
    if closed.exact and (closed.cycles, closed.stalls) != (run.cycles, run.stalls):
        yield f"exact: {closed.cycles} {closed.stalls}; event {run.cycles} {run.stalls}"
    if closed.array != run.array_cycles:
        yield f"array: analytic {closed.array}, event {run.array_cycles}"
    formats = (nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum"))
    try:
        clocked = cycle.run(nest, random_data(nest.problem, *formats, seed))
    except MappingError:
        return
    if clocked.array_cycles != closed.array:
        yield f"array: analytic {closed.array}, cycle {clocked.array_cycles}"


def check(seeds: range, wanted: Callable[[Nest], bool] = lambda nest: True) -> Counter:
    """The sizes of the strata of the nests of these seeds, each of which keeps every invariant."""
    sizes: Counter = Counter()
    for seed in seeds:
        nest = clocked_nest(seed)
        if not wanted(nest):
            continue
        sizes.update([*strata(nest), "nests"])
        faults = list(wrong(nest, seed))
        assert not faults, "\n  ".join([f"seed {seed}: {nest.problem} {nest.mapping}", *faults])
    return sizes


FEW, MANY, CHUNK, ENOUGH = 1_136, 20_000, 142, 115  # of the few a thousand are small
LARGE = 4_000  # MACs; one nest in nine has more, and these take as long as all others


def small(nest: Nest) -> bool:
    return nest.problem.macs <= LARGE


@pytest.mark.parametrize("start", slow_but(range(0, FEW // 4, CHUNK), range(0, FEW, CHUNK)))
def test_invariants(start: int) -> None:
    """A thousand nests in all chunks, a quarter of them in those that are quick."""
    assert check(range(start, start + CHUNK), small)["nests"] >= ENOUGH


@pytest.mark.slow
def test_invariants_of_large_nests() -> None:
    check(range(FEW), lambda nest: not small(nest))


# Nests whose closed form was called exact and was not, each the sign of a kind.
ONCE_WRONG = {
    309: "words of a sliding sum counted as if none overlapped",
    261: "an operand past a level with two slots, which queues nothing, is loaded in the ramp",
    642: "a fill that waits for the second of two fills asked for at the very beginning",
    2350: "a fill waits for the latest fill of its parent, not for a step that brings nothing",
    2759: "a fill that takes no time is nobody's to wait for, nor what its room waits for",
    4480: "waits in vain are taken back when all waits are known",
    20264: "a step that brings no exposed word begins no phase",
    20868: "a step that begins sums and lets none go counts as one that needs room",
    22490: "instances that stand before a listed loop have pieces of their own",
    6205: "exposed pairs on padding say where phases begin, and which are padding is shared out",
    19781: "a resource's past matters to whoever asked before the array was free and still waits",
    236: "waits in vain are taken back by one rule",
    669: "no first pass waits for padding, which a level stores and nobody reads",
    2019: "nor does one wait for padding around the first words",
}


@pytest.mark.parametrize("seed", ONCE_WRONG, ids=str)
def test_what_was_once_wrong(seed: int) -> None:
    check(range(seed, seed + 1))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1_000, 1_000 + MANY, 1_000))
def test_invariants_of_many(start: int) -> None:
    sizes = check(range(start, start + 1_000))
    assert all(sizes[name] >= 50 for name in STRATA), sizes


@pytest.mark.parametrize("seed", slow_but(range(6), range(200)))
def test_what_the_mapper_chooses(seed: int) -> None:
    """On small buffers with a narrow DRAM, where folds go on over passes; proved, and the quick
    search's.
    """
    draw = random.Random(seed)
    arch = acc.load_architecture(
        "systolic",
        {
            "array.rows": draw.choice([2, 4, 8]),
            "array.cols": draw.choice([2, 4]),
            "levels.sram.capacity_bytes": draw.choice([200, 500, 1000]),
            "levels.sram.double_buffered": draw.random() < 0.7,
            "levels.dram.port_bits": draw.choice([8, 32, 64]),
            "levels.sram.port_bits": draw.choice([None, 64]),
        },
    )
    side = draw.randint(1, 8)
    layer = acc.Conv2d(M=draw.randint(1, 9), C=draw.randint(1, 9), H=side, W=side, R=1, S=1)
    flow, objective = draw.choice(["ws", "os", "is"]), draw.choice(["cycles", "edp"])
    best = acc.map_layer(layer, arch, flow, objective=objective)
    quick = acc.simulate(layer, arch, flow, tiles="best", objective=objective)
    for nest in (Nest(layer.problem(), arch, best.mapping), quick.rows[0].nest):
        assert not list(wrong(nest, seed)), nest.mapping
    assert best.certificate.proved and best.certificate.exact


def test_waits_by_resource_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles that are right with a wait charged to another are said by ``check``."""
    layer = acc.Conv2d(M=8, C=6, H=9, W=9, R=3, S=3, padding=1)
    run = analytic.run

    def charged_elsewhere(nest: Nest) -> Run:
        closed = run(nest)
        waits = dict(closed.stalls)
        waits["dram"], waits["noc"] = waits["dram"] - 1, waits["noc"] + 1
        return replace(closed, stalls=waits)

    assert acc.simulate(layer, "eyeriss", "rs", check=True).rows[0].columns["error"] is None
    monkeypatch.setattr(analytic, "run", charged_elsewhere)
    row = acc.simulate(layer, "eyeriss", "rs", check=True).rows[0]
    assert "stall_dram_cycles: analytic" in row.columns["error"]


@pytest.mark.parametrize("many", slow_but([FEW // 4], [FEW // 4, FEW // 2]))
def test_strata(record_property, many: int) -> None:
    """At least one nest in twenty is in each stratum; sizes are shown with pytest -rP."""
    nests = list(filter(small, map(clocked_nest, range(many))))
    sizes = Counter(s for nest in nests for s in strata(nest))
    for name in STRATA:
        print(f"{sizes[name]:5d} of {len(nests)}  {name}")
        record_property(name, sizes[name])
    assert all(sizes[name] >= len(nests) / 20 for name in STRATA), sizes


def slides_back(nest: Nest) -> bool:
    """Whether settings in a row hold the same words at other positions of the loops that cut
    them.
    """
    frame, there = FoldFrame.of(nest), folds(nest)[0] > 0
    grid = np.indices([nest.loops[i].trips for i in frame.listed]).reshape(len(frame.listed), -1)
    at = grid[[frame.holds[i] for i in frame.listed]][:, there]
    same = np.diff(held_words(nest)[there]) == 0
    return bool((same & (np.diff(at) != 0).any(axis=0)).any())


@pytest.mark.parametrize("start", slow_but([0], range(0, 800, 100)))
def test_ifmaps_that_slide_back(start: int) -> None:
    """Held ifmaps under loops of an output and of its filter, and docs/time.md by hand."""
    back = 0
    for seed in range(start, start + 100):
        rng = random.Random(f"slid {seed}")
        nest = limited(slid_nest(rng), rng)
        faults = [*wrong(nest, seed), *filter(None, [differs(nest)])]
        assert not faults, f"seed {seed}: {nest.problem} {nest.mapping} {faults}"
        back += slides_back(nest)
    assert back >= 3


# -- cases, each the sign of a kind ----------------------------------------------------------------

ALL = ("weight", "ifmap", "ofmap")


@pytest.mark.parametrize(
    ("layer", "loops"),
    [
        # rows 0, 1, 1, 2 of two channels: three folds, the second of two words
        (acc.Conv2d(M=1, C=2, H=3, W=1, R=2, S=1), "R:1:sram E:1:sram"),
        (acc.Conv2d(M=1, C=2, H=3, W=1, R=2, S=1), "E:1:sram R:1:sram"),
        # every other row and taps two apart; columns
        (acc.Conv2d(M=1, C=2, H=5, W=1, R=2, S=1, stride=2, dilation=2), "R:1:sram E:1:sram"),
        (acc.Conv2d(M=1, C=2, H=1, W=3, R=1, S=2), "S:1:sram F:1:sram"),
    ],
)
@pytest.mark.parametrize(
    ("direction", "overlap", "cycles"),
    [
        ("forward", True, 2 + 2 + 2 + 4),
        ("forward", False, (2 + 1 + 3) + (2 + 2 + 3) + (2 + 1 + 3)),
        ("grad_weight", True, 1 + 1 + 2 + 3),
        ("grad_weight", False, (1 + 1 + 2) + (1 + 2 + 2) + (1 + 1 + 2)),
    ],
)
def test_an_ifmap_that_slides_onto_itself(layer, loops, direction, overlap, cycles):
    """Between (r=0, e=1) and (r=1, e=0) no word moves, in any engine."""
    keys = {"array.rows": 4, "array.cols": 2, "dram": "unlimited", "array.overlap": overlap}
    keys |= {} if overlap else {"array.weight_registers": 1}
    keep = {"dram": ALL, "sram": ALL, "reg": ("ifmap",)}
    nest = a_nest(layer, "systolic", keys, f"{loops} C:1:sram:row", keep, direction=direction)
    assert slides_back(nest) and not list(wrong(nest, 0))
    sampled = cycle.run(nest, {}, sample_folds=True)
    assert array_time(nest).cycles == sampled.array_cycles == slow_time.time_of(nest)[1] == cycles


def a_nest(layer, arch: str, keys: dict, loops: str, keep: dict, **options) -> Nest:
    problem = layer.problem(options.get("batch", 1)).with_direction(
        options.get("direction", "forward")
    )
    mapping = Mapping(loops=tuple(loops.split()), keep=keep)
    return Nest(problem, acc.load_architecture(arch, keys), mapping)


def late_words() -> Nest:
    """Thirty-two passes of one word each that go on with the weights, the words late."""
    keys = {
        "array.rows": 8,
        "array.cols": 4,
        "levels.sram.capacity_bytes": 200,
        "levels.sram.double_buffered": True,
        "levels.dram.port_bits": 64,
    }
    loops = "E:1:dram F:1:dram K:1:sram:row M:1:sram:col"
    keep = {"dram": ALL, "sram": ALL, "reg": ("weight",)}
    return a_nest(acc.Conv2d(M=2, C=7, H=8, W=4, R=1, S=1), "systolic", keys, loops, keep)


def test_one_schedule_of_array_and_memory():
    nest = late_words()
    closed, run = analytic.time(nest, analytic.moves(nest)), timed.simulate(nest)
    # the array alone: 7 rows of weights, 32 words, 8 + 2 - 2 edges to the last result
    assert closed.array == run.array_cycles == 7 + 32 + 8
    assert closed.cycles == run.cycles == 187 and run.busy == {"dram": 66}
    assert closed.stalls == run.stalls == {**dict.fromkeys(run.stalls, 0), "dram": 140}
    assert first_fills(nest) == 2 + 1  # 14 weights, then 7 words, 64 bits a cycle
    assert not list(wrong(nest, 0))


def test_the_old_sum_is_caught(monkeypatch: pytest.MonkeyPatch):
    """The array's time with folds joined and waiting with folds apart, added up."""
    nest = late_words()
    closed = analytic.time(nest, analytic.moves(nest))
    monkeypatch.setattr(event_folds.OpenFold, "goes_on", lambda *_: False)
    apart = timed.simulate(nest, timeline=True)
    assert "array: analytic 47, event" in " ".join(disagreements(nest, 0, closed, apart))
    added = replace(
        apart, cycles=closed.array + sum(apart.stalls.values()), array_cycles=closed.array
    )
    assert any("the timeline ends at" in line for line in impossible(nest, closed, added))


def test_a_held_operand_of_grad_input():
    keys = {
        "array.rows": 4,
        "array.cols": 4,
        "levels.sram.capacity_bytes": 32,
        "levels.sram.double_buffered": True,
        "levels.dram.port_bits": 8,
    }
    problem = acc.Conv2d(M=4, C=1, H=3, W=3, R=1, S=1).problem(1).with_direction("grad_input")
    arch = acc.load_architecture("systolic", keys)
    nest = Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow("ws")))
    closed, run = analytic.time(nest, analytic.moves(nest)), timed.simulate(nest)
    assert closed.exact and closed.cycles == run.cycles == 56 and closed.stalls == run.stalls
    assert not list(wrong(nest, 0))


def test_the_last_drain_is_charged_to_who_carries_it():
    keys = {
        "array.rows": 3,
        "array.cols": 1,
        "networks.link.width_bits": 32,
        "levels.nb.double_buffered": True,
    }
    layer = acc.Conv2d(M=10, C=10, H=4, W=5, R=3, S=5, padding=3, groups=2)
    arch, problem = acc.load_architecture("shidiannao", keys), layer.problem(2)
    nest = Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow("osp")))
    closed, run = analytic.time(nest, analytic.moves(nest)), timed.simulate(nest)
    assert closed.stalls == run.stalls and {k for k, n in run.stalls.items() if n} == {"link"}


def test_links_of_a_chain_are_those_its_sums_take():
    """A loop over columns outside the level that adds makes chains of their own."""
    layer = acc.Conv2d(M=2, C=4, H=6, W=6, R=3, S=3)
    keys = {"networks.noc.accumulated": "chain"}
    loops = "C:2:dram:col M:1:glb E:1:glb F:1:glb C:1:glb:row S:1:spad R:1:spad"
    keep = {"dram": ALL, "glb": ALL, "spad": ALL}
    nest = a_nest(layer, "eyeriss", keys, loops, keep)
    formats = (nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum"))
    clocked = cycle.run(nest, random_data(nest.problem, *formats, 0))
    closed, run = analytic.time(nest, analytic.moves(nest)), timed.simulate(nest)
    assert clocked.array_cycles == closed.array == run.array_cycles


@pytest.mark.parametrize(
    "keys",
    [
        {"levels.spad.port_bits": 16},
        {"levels.spad.latency_cycles": 1},
    ],
)
def test_what_lies_in_the_pes_has_no_limits(keys: dict):
    with pytest.raises(acc.InputError, match="lies in the PEs"):
        acc.load_architecture("eyeriss", keys)


def faster(nest: Nest, what: str) -> Nest:
    """The same nest with ports or networks twice as wide."""
    arch = nest.arch.model_dump()
    for one in arch["levels" if what == "ports" else "networks"].values():
        key = "port_bits" if what == "ports" else "width_bits"
        if isinstance(one[key], dict):
            one[key] = {tensor: 2 * bits for tensor, bits in one[key].items()}
        elif one[key]:
            one[key] *= 2
    return Nest(nest.problem, type(nest.arch).model_validate(arch), nest.mapping)


@pytest.mark.parametrize(
    ("what", "apart"),
    slow_but(
        [("ports", 20), ("networks", 20)],
        [(what, apart) for what in ("ports", "networks") for apart in (20, 10)],
    ),
)
def test_wider_never_costs_a_cycle(what: str, apart: int):
    for seed in range(0, 1_000, apart):
        nest = clocked_nest(seed)
        if apart > 10 and not small(nest):
            continue
        wide = faster(nest, what)
        slow, fast = (analytic.time(n, analytic.moves(n)).cycles for n in (nest, wide))
        assert fast <= slow, f"seed {seed}: analytic {slow}, {fast} with wider {what}"
        slow, fast = (timed.simulate(n).cycles for n in (nest, wide))
        assert fast <= slow, f"seed {seed}: event {slow}, {fast} with wider {what}"


def test_padding_takes_its_slot():
    """Seeds that were found: steps of padding alone at the end of a chain, and between drains."""
    for seed in (1460, 2426):
        assert not list(wrong(clocked_nest(seed), seed))
