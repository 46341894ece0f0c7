"""One clock: what physics says of a run, whoever computes it (docs/time.md).

On random nests with ports, clocks, bursts, latencies, widths, slots, chains and folds that go on
over passes, and on what presets make of random layers:

    cycles  are the end of the timeline, and what the array does, is delayed by and waits for
            add up to them
    busy    no port, channel or array is busy for longer than the run lasts, or twice at a time
    bound   no run is shorter than the bound
    exact   where the closed form says it is the timed event engine's, it is: cycles, and stalls by
            who was waited for
    array   the array alone takes as long in all three engines
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from math import prod

import numpy as np
import pytest
import test_pipeline
from nests import DIRECTIONS, drawn_nest, random_nest
from test_timed import limited

from accelsim.engines import analytic, cycle
from accelsim.engines.analytic.array_time import fold_starts, folds, held_words, on_lines
from accelsim.engines.event import timed
from accelsim.engines.event.timed.inside import Inside
from accelsim.engines.event.timed.resources import Limits
from accelsim.engines.event.timed.transfer import Routes
from accelsim.mapping.mapping import MappingError
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
    rows = run.timeline.to_frame()
    for name, cycles, array, compute, stalls in (
        ("analytic", closed.cycles, closed.array, closed.compute, closed.stalls),
        ("event", run.cycles, run.array_cycles, run.compute_cycles, run.stalls),
    ):
        if cycles != array + sum(stalls.values()) or compute > array or min(stalls.values()) < 0:
            yield f"{name}: {cycles} cycles are not {compute} of {array} of the array and {stalls}"
        if cycles < closed.bound:
            yield f"{name}: {cycles} cycles, at least {closed.bound} are needed"
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
    yield from disagreements(nest, seed, closed, run)


def disagreements(nest, seed, closed, run) -> Iterator[str]:
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


def check(seeds: range) -> Counter:
    """The sizes of the strata of the nests of these seeds, each of which keeps every invariant."""
    sizes: Counter = Counter()
    for seed in seeds:
        nest = clocked_nest(seed)
        sizes.update(strata(nest))
        found = list(wrong(nest, seed))
        assert not found, "\n  ".join([f"seed {seed}: {nest.problem} {nest.mapping}", *found])
    return sizes


QUICK, MANY, CHUNK = 1_000, 20_000, 125


@pytest.mark.parametrize("start", range(0, QUICK, CHUNK))
def test_invariants(start: int) -> None:
    check(range(start, start + CHUNK))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(QUICK, QUICK + MANY, 1_000))
def test_invariants_of_many(start: int) -> None:
    sizes = check(range(start, start + 1_000))
    assert all(sizes[name] >= 50 for name in STRATA), sizes


def test_strata(record_property) -> None:
    """At least one nest in twenty is in each stratum; sizes are shown with pytest -rP."""
    sizes = Counter(s for seed in range(QUICK) for s in strata(clocked_nest(seed)))
    for name in STRATA:
        print(f"{sizes[name]:5d} of {QUICK}  {name}")
        record_property(name, sizes[name])
    assert all(sizes[name] >= QUICK / 20 for name in STRATA), sizes
