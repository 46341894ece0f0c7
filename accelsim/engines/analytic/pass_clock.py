"""The memory-time recurrence, pass by pass; compiled loops (``base/compiled.py``).

``pipeline`` says what a nest's passes do and what they move, in bits; this page says when.  It is
called by ``pipeline``, once for a nest on any number of machines that differ in widths only.

A pass is the array's work while all levels outside the PEs' parent stand still.  In ``one_pass``:

    it starts   when the array is free, its fills are there, and its tile of sums has room
    it ends     at its last result; the array is free earlier, when the next pass may follow
    its end     sets drains and fills going, each as soon as all ports and channels on its way are
                free; it holds them until it is complete (``transfer``)

``all_passes`` is the loop over all of them.  Where the state of the run, seen from the moment the
array is free, is what it was some turns of a loop ago, and what comes is what came then, those
turns repeat: they are added up, not gone through.  So a long loop costs its first few turns.

All times are cycles of the core clock since the layer's begin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[np.int64]

PARTS = EXPOSED, RAMP, BODY, TAIL = range(4)  # of a phase, in their order (docs/time.md)
SUMS, SLOTS, OUTSIDE, PARENT, WAY = range(5)  # columns of ``PassTable.boundaries``
AT, BEHIND, BITS = range(3)  # columns of ``PassTable.transfers``
WORK, AFTER, SENDS = range(3)  # columns of ``PassTable.passes``
PLAIN_WAY, FULL_WAY = 3, 5  # resources on the way of a transfer; of one that reads to add to
FREE, LAST, HELD = range(3)  # columns of ``Clock.times``
KEPT = 3  # the last transfers of a boundary that are remembered


class PhaseWork(NamedTuple):
    """What the phases of passes load.  Places are numbers everywhere on this page: of resources,
    names (levels, then networks), boundaries, transfers, and kinds of phases and passes; -1 is
    none.

    ``owners``  [resources]  the name that waits for it are charged to
    ``loads``   [columns, 2]  part of a phase and resource of the bits in ``phases``, by part
    ``phases``  [phases, 2 + columns]  MAC steps; how many phases of the nest are alike; bits
    ``works``   [works, phases a pass]  the phases of a pass
    """

    owners: Ints
    loads: Ints
    phases: Ints
    works: Ints


class PassTable(NamedTuple):
    """What passes do between the levels.

    ``boundaries``  [boundaries, 9]  whether it takes sums out; slots of its child; the boundary
                    that brings its parent's words; its parent level; resources on its way from
                    parent to child, and of sums that are read back
    ``order``       [boundaries]  in which requests of one moment are made
    ``transfers``   [transfers, 5]  its boundary; how many fills back its parent's words came, or of
                    sums whether the parent reads to add to; bits over the first three of its way
    ``before``      transfers that wait for no pass, in order
    ``passes``      [kinds, 2 + 3 x boundaries]  its work; cycles from when the array is free to its
                    last result; by boundary two transfers its end sets going, and whether it needs
                    the next fill (of sums: room)
    ``kind``        [settings]  of each setting of the loops outside, in order; -1 where it is empty
    ``loops``       [loops, 2]  of those loops, innermost first: settings in one turn; turns
    """

    boundaries: Ints
    order: Ints
    transfers: Ints
    before: Ints
    passes: Ints
    kind: Ints
    loops: Ints


class Rates(NamedTuple):
    """How fast machines are.

    ``resources``  [machines, resources, 3]  bits that take some cycles; those cycles; bits of a
                   burst, to whole ones of which all is rounded up
    ``latency``    [machines, levels]  cycles of a transfer beyond its bits
    """

    resources: Ints
    latency: Ints


class Clock(NamedTuple):
    """The state of a run in row 0; in the others what it was, one for each loop outside; the last
    is the beginning, all 0.

    ``times``    [rows, 2 + resources + 3 x boundaries]  from when on the array is free; its latest
                 result; until when each resource is held; completions of each
                 boundary's last three transfers, the newest first
    ``slowest``  [rows, 3 x boundaries]  the names that waits for those transfers are charged to
    ``unused``   [rows, boundaries]  fills that no pass has used
    ``waits``    [rows, names]  what passes waited for
    ``place``    [rows]  settings gone through

    and of the machine at hand:

    ``phases``     [phases]  cycles of every kind of phase
    ``works``      [works]  of every pass's phases together
    ``transfers``  [transfers, 2]  of every transfer, and the slowest resource's name
    """

    times: Ints
    slowest: Ints
    unused: Ints
    waits: Ints
    place: Ints
    phases: Ints
    works: Ints
    transfers: Ints


# -- how long things take --------------------------------------------------------------------------


@kernel
def busy(rates: Rates, machine: int, resource: int, bits: int) -> int:
    """Cycles of a resource for so many bits, rounded up; no product passes int64."""
    fast, slow = rates.resources[machine, resource, 0], rates.resources[machine, resource, 1]
    burst = rates.resources[machine, resource, 2]
    whole = -(-bits // burst) * burst
    cycles: int = whole // fast * slow - (-(whole % fast) * slow) // fast
    return cycles


@kernel
def time_phases(work: PhaseWork, rates: Rates, machine: int, clock: Clock, load: Ints) -> None:
    """The cycles of every kind of phase, and of those of a pass: its parts follow each other, each
    as long as its slowest resource, and the body at least as long as the MAC steps.  Waits are
    charged.

    load  [resources]  overwritten
    """
    for p in range(len(work.phases)):
        steps, first = work.phases[p, 0], 0
        clock.phases[p] = steps
        for part in range(EXPOSED, TAIL + 1):
            end = first
            while end < len(work.loads) and work.loads[end, 0] == part:
                load[work.loads[end, 1]] = 0
                end += 1
            most, name = steps if part == BODY else 0, -1
            for c in range(first, end):
                r = work.loads[c, 1]
                load[r] += busy(rates, machine, r, work.phases[p, 2 + c])
            for c in range(first, end):
                if load[work.loads[c, 1]] > most:
                    most, name = load[work.loads[c, 1]], work.owners[work.loads[c, 1]]
            if name >= 0:
                wait = most - steps if part == BODY else most
                clock.phases[p] += wait
                clock.waits[0, name] += wait * work.phases[p, 1]
            first = end
    for w in range(len(work.works)):
        clock.works[w] = 0
        for at in range(work.works.shape[1]):
            clock.works[w] += clock.phases[work.works[w, at]]


@kernel
def time_transfers(plan: PassTable, owners: Ints, rates: Rates, machine: int, times: Ints) -> None:
    """The cycles of every kind of transfer: those of the slowest resource on its way, and the
    latency of its parent; with the name of the slowest, [transfers, 2].
    """
    for t in range(len(plan.transfers)):
        k = plan.transfers[t, AT]
        parent = plan.boundaries[k, PARENT]
        most, name = -1, parent  # levels are the first names
        for at in range(PLAIN_WAY):
            r = plan.boundaries[k, WAY + at]
            if r >= 0:
                cycles = busy(rates, machine, r, plan.transfers[t, BITS + at])
                if cycles > most:
                    most, name = cycles, owners[r]
        times[t, 0], times[t, 1] = max(most, 0) + rates.latency[machine, parent], name


# -- one pass --------------------------------------------------------------------------------------


@kernel
def transfer(plan: PassTable, clock: Clock, t: int, asked: int) -> int:
    """A transfer, asked for at a moment, a fill when its parent has the words; returns when it is
    complete.  It holds what it has bits for.  One that takes no time is not waited for and holds
    nothing up: what it waits for is passed on.
    """
    times, slowest = clock.times, clock.slowest
    newest = times.shape[1] - slowest.shape[1]  # the column that goes with the first of ``slowest``
    k = plan.transfers[t, AT]
    sums, outside = plan.boundaries[k, SUMS], plan.boundaries[k, OUTSIDE]
    lasts = clock.transfers[t, 0]
    end: int = asked if lasts else 0
    if outside >= 0:
        end = max(end, times[0, newest + KEPT * outside + plan.transfers[t, BEHIND]])
    way = FULL_WAY if sums and plan.transfers[t, BEHIND] else PLAIN_WAY
    for at in range(way if lasts else 0):
        r = plan.boundaries[k, WAY + at]
        if r >= 0 and (at >= PLAIN_WAY or plan.transfers[t, BITS + at]):
            end = max(end, times[0, HELD + r])
    end += lasts
    for at in range(way if lasts else 0):
        r = plan.boundaries[k, WAY + at]
        if r >= 0 and (at >= PLAIN_WAY or plan.transfers[t, BITS + at]):
            times[0, HELD + r] = end
    n = KEPT * k
    times[0, newest + n + 2], slowest[0, n + 2] = times[0, newest + n + 1], slowest[0, n + 1]
    times[0, newest + n + 1], slowest[0, n + 1] = times[0, newest + n], slowest[0, n]
    times[0, newest + n], slowest[0, n] = end, clock.transfers[t, 1]
    if not sums:
        clock.unused[0, k] += 1
    return end if lasts else asked


@kernel
def start(plan: PassTable, clock: Clock, kind: int) -> int:
    """When a pass starts; the wait is charged to what came last, the outermost of equals."""
    latest: int = clock.times[0, FREE]
    name, outermost = -1, 0
    newest = clock.times.shape[1] - clock.slowest.shape[1]
    for k in range(len(plan.boundaries)):
        if plan.passes[kind, SENDS + 3 * k + 2]:
            if plan.boundaries[k, SUMS]:  # the drain that makes room
                at = plan.boundaries[k, SLOTS] - 1
            else:  # the oldest fill that no pass has used
                at = clock.unused[0, k] - 1
                clock.unused[0, k] = at
            when, by = clock.times[0, newest + KEPT * k + at], clock.slowest[0, KEPT * k + at]
            parent = plan.boundaries[k, PARENT]
            outer = parent < outermost or (parent == outermost and by > name)
            if when > latest or (when == latest and name >= 0 and outer):
                latest, name, outermost = when, by, parent
    if name >= 0:
        clock.waits[0, name] += latest - clock.times[0, FREE]
    return latest


@kernel
def one_pass(plan: PassTable, clock: Clock, kind: int) -> None:
    """One pass, and what its end sets going."""
    free = start(plan, clock, kind) + clock.works[plan.passes[kind, WORK]]
    end = free + plan.passes[kind, AFTER]
    clock.times[0, FREE] = free
    clock.times[0, LAST] = max(clock.times[0, LAST], end)
    inside = end  # when the drain further in is complete
    for at in range(len(plan.order)):
        k = plan.order[at]
        for one in range(2):
            t = plan.passes[kind, SENDS + 3 * k + one]
            if t >= 0 and plan.boundaries[k, SUMS]:
                inside = transfer(plan, clock, t, inside)
            elif t >= 0:
                transfer(plan, clock, t, end)


# -- all passes ------------------------------------------------------------------------------------


@kernel
def copy(rows: Ints, source: int, to: int) -> None:
    """One row over another."""
    for c in range(rows.shape[1]):
        rows[to, c] = rows[source, c]


@kernel
def keep(clock: Clock, source: int, to: int) -> None:
    """One state over another."""
    copy(clock.times, source, to)
    copy(clock.slowest, source, to)
    copy(clock.unused, source, to)
    copy(clock.waits, source, to)
    clock.place[to] = clock.place[source]


@kernel
def same(times: Ints, slowest: Ints, unused: Ints, row: int) -> bool:
    """Whether the state is one that is remembered, both seen from when the array is free: what is
    over by then can no longer matter.
    """
    now, then = times[0, FREE], times[row, FREE]
    for k in range(unused.shape[1]):
        if unused[0, k] != unused[row, k]:
            return False
    first = times.shape[1] - slowest.shape[1]
    for c in range(LAST, times.shape[1]):
        left = max(times[0, c] - now, 0)
        if left != max(times[row, c] - then, 0):
            return False
        if left and c >= first and slowest[0, c - first] != slowest[row, c - first]:
            return False
    return True


@kernel
def forward(times: Ints, waits: Ints, row: int, turns: int) -> None:
    """What happened since a state was remembered, so many times more."""
    moved = turns * (times[0, FREE] - times[row, FREE])
    for c in range(times.shape[1]):
        times[0, c] += moved
    for n in range(waits.shape[1]):
        waits[0, n] += turns * (waits[0, n] - waits[row, n])


@kernel
def all_passes(plan: PassTable, clock: Clock) -> None:
    """All passes.  At the end of a loop's turn the state may be that of an earlier turn: then the
    turns since repeat, as often as the kinds of passes do.  Turns 1, 2, 4, 8 ... are remembered.
    """
    kind, settings = plan.kind, len(plan.kind)
    at = 0
    while at < settings:
        if kind[at] >= 0:
            one_pass(plan, clock, kind[at])
        at += 1
        for row in range(1, len(plan.loops) + 1):
            inside, turns = plan.loops[row - 1, 0], plan.loops[row - 1, 1]
            if at % inside:
                break
            turn = at // inside % turns
            before = clock.place[row]
            if before and same(clock.times, clock.slowest, clock.unused, row):
                end = at
                while end < settings and kind[end] == kind[end - at + before]:
                    end += 1
                more = (end - at) // (at - before)
                forward(clock.times, clock.waits, row, more)
                at += more * (at - before)
            if turn & (turn - 1) == 0:
                clock.place[0] = at
                keep(clock, 0, row)


@kernel
def last_drains(plan: PassTable, clock: Clock) -> int:
    """The end of the run.  Drains that are complete after the last result are waited for one after
    the other; of equals the outermost is charged.
    """
    end: int = clock.times[0, LAST]
    newest = clock.times.shape[1] - clock.slowest.shape[1]
    while True:
        first, name, outermost = -1, -1, 0
        for n in range(clock.slowest.shape[1]):
            k, when = n // KEPT, clock.times[0, newest + n]
            if not plan.boundaries[k, SUMS] or when <= end:
                continue
            parent = plan.boundaries[k, PARENT]
            if first < 0 or when < first or (when == first and parent < outermost):
                first, name, outermost = when, clock.slowest[0, n], parent
        if first < 0:
            return end
        clock.waits[0, name] += first - end
        end = first


@kernel
def run_passes(
    work: PhaseWork,
    plan: PassTable,
    rates: Rates,
    clock: Clock,
    load: Ints,
    ends: Ints,
    waits: Ints,
) -> None:
    """Every machine's run, one after the other.

    clock, load  [resources]  overwritten
    ends         [machines]  the last completion; written here
    waits        [machines, names]  what was waited for, within passes and between; written here
    """
    for machine in range(len(ends)):
        keep(clock, len(clock.place) - 1, 0)
        for row in range(len(clock.place)):
            clock.place[row] = 0
        time_phases(work, rates, machine, clock, load)
        time_transfers(plan, work.owners, rates, machine, clock.transfers)
        for at in range(len(plan.before)):
            transfer(plan, clock, plan.before[at], 0)
        all_passes(plan, clock)
        ends[machine] = last_drains(plan, clock)
        for name in range(waits.shape[1]):
            waits[machine, name] = clock.waits[0, name]
