"""The memory-time recurrence, pass by pass; compiled loops (``base/compiled.py``).

``pass_plan`` says what a nest's passes do and what they move, in bits; this page says when.  It is
called by ``pipeline``, once for a nest on any number of machines that differ in widths only.

A pass is the array's work while all levels outside the PEs' parent stand still.  In ``one_pass``:

    it starts   when the array is free, its fills are there, and its tile of sums has room
    it ends     at its last result; the array is free earlier, when the next pass may follow
    its end     sets drains and fills going, each as soon as all ports and channels on its way are
                free; it holds them until it is complete (``transfer``)

``all_passes`` is the loop over all of them.  Where the state of the run, seen from the moment the array
is free, is what it was some turns of a loop ago, and what comes is what came then, those turns
repeat: they are added up, not gone through.  So a long loop costs its first few turns.

All times are cycles of the core clock since the layer's begin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[np.int64]

PARTS = EXPOSED, RAMP, BODY, TAIL = range(4)  # of a phase, in their order (docs/time.md)
SUMS, SLOTS, OUTSIDE, PARENT = range(4)  # columns of ``Plan.boundaries``
AT, BEHIND, BITS = range(3)  # columns of ``Plan.transfers``
WORK, AFTER, SENDS = range(3)  # columns of ``Plan.passes``
PLAIN_WAY, FULL_WAY = 3, 5  # resources on the way of a transfer; of one that reads to add to
KEPT = 3  # the last transfers of a boundary that are remembered


class Plan(NamedTuple):
    """What the passes of a nest do.  Places are numbers: of resources, boundaries, names (levels,
    then networks), transfers, and kinds of phases and passes; -1 is none.

    ``owners``      [resources]  the name that waits for it are charged to
    ``boundaries``  [boundaries, 4]  whether it takes sums out; slots of its child; the boundary
                    that brings its parent's words; its parent level
    ``ways``        [boundaries, 5]  resources from parent to child, then of sums that are read back
    ``order``       [boundaries]  in which requests of one moment are made
    ``transfers``   [transfers, 5]  its boundary; how many fills back its parent's words came, or of
                    sums whether the parent reads to add to; bits over the first three of its way
    ``before``      transfers that wait for no pass, in order
    ``loads``       [columns, 2]  part of a phase and resource of the bits in ``phases``, by part
    ``phases``      [phases, 1 + columns]  MAC steps; bits
    ``often``       [phases]  how many phases of the nest are of this kind
    ``work``        [works, phases a pass]  the phases of a pass
    ``passes``      [kinds, 2 + 3 x boundaries]  its work; cycles from when the array is free to its
                    last result; by boundary two transfers its end sets going, and whether it needs
                    the next fill (of sums: room)
    ``kind``        [settings]  of each setting of the loops outside, in order; -1 where it is empty
    ``loops``       [loops, 2]  of those loops, innermost first: settings in one turn; turns
    """

    owners: Ints
    boundaries: Ints
    ways: Ints
    order: Ints
    transfers: Ints
    before: Ints
    loads: Ints
    phases: Ints
    often: Ints
    work: Ints
    passes: Ints
    kind: Ints
    loops: Ints


class Rates(NamedTuple):
    """How fast machines are.

    ``bits, cycles``  [machines, resources]  so many bits in so many cycles
    ``burst``         [machines, resources]  bits are rounded up to whole ones
    ``latency``       [machines, levels]  cycles of a transfer beyond its bits
    """

    bits: Ints
    cycles: Ints
    burst: Ints
    latency: Ints


class Clock(NamedTuple):
    """The state of a run in row 0; in the others what it was, for each loop outside.

    ``free``     [rows]  from when on the array is free
    ``last``     [rows]  the latest completion of anything
    ``held``     [rows, resources]  until when a resource is held
    ``done``     [rows, boundaries, 3]  completions of the last transfers, the newest first
    ``slowest``  [rows, boundaries, 3]  the name a wait for each is charged to
    ``unused``   [rows, boundaries]  fills that no pass has used
    ``waits``    [rows, names]  what passes waited for
    ``place``    [rows]  settings gone through

    and of the machine at hand:

    ``phases``   [phases]  cycles of every kind of phase
    ``works``    [works]  of every pass's phases together
    ``lasts``    [transfers]  of every transfer
    ``names``    [transfers]  the slowest resource's name
    """

    free: Ints
    last: Ints
    held: Ints
    done: Ints
    slowest: Ints
    unused: Ints
    waits: Ints
    place: Ints
    phases: Ints
    works: Ints
    lasts: Ints
    names: Ints


# -- how long things take --------------------------------------------------------------------------


@kernel
def busy(rates: Rates, machine: int, resource: int, bits: int) -> int:
    """Cycles of a resource for so many bits, rounded up; no product passes int64."""
    burst, fast = rates.burst[machine, resource], rates.bits[machine, resource]
    slow = rates.cycles[machine, resource]
    whole = -(-bits // burst) * burst
    return whole // fast * slow - (-(whole % fast) * slow) // fast


@kernel
def time_phases(plan: Plan, rates: Rates, machine: int, clock: Clock, load: Ints) -> None:
    """The cycles of every kind of phase, and of those of a pass: its parts follow each other, each
    as long as its slowest resource, and the body at least as long as the MAC steps.  Waits are
    charged.

    load  [resources]  overwritten
    """
    for p in range(len(plan.phases)):
        steps = plan.phases[p, 0]
        clock.phases[p] = steps
        first = 0
        for part in range(EXPOSED, TAIL + 1):
            end = first
            while end < len(plan.loads) and plan.loads[end, 0] == part:
                load[plan.loads[end, 1]] = 0
                end += 1
            for c in range(first, end):
                r = plan.loads[c, 1]
                load[r] += busy(rates, machine, r, plan.phases[p, 1 + c])
            most, name = steps if part == BODY else 0, -1
            for c in range(first, end):
                if load[plan.loads[c, 1]] > most:
                    most, name = load[plan.loads[c, 1]], plan.owners[plan.loads[c, 1]]
            if name >= 0:
                wait = most - steps if part == BODY else most
                clock.phases[p] += wait
                clock.waits[0, name] += wait * plan.often[p]
            first = end
    for work in range(len(plan.work)):
        clock.works[work] = 0
        for at in range(plan.work.shape[1]):
            clock.works[work] += clock.phases[plan.work[work, at]]


@kernel
def time_transfers(plan: Plan, rates: Rates, machine: int, clock: Clock) -> None:
    """The cycles of every kind of transfer: those of the slowest resource on its way, and the
    latency of its parent.
    """
    for t in range(len(plan.transfers)):
        k = plan.transfers[t, AT]
        parent = plan.boundaries[k, PARENT]
        most, name = -1, parent  # levels are the first names
        for at in range(PLAIN_WAY):
            r = plan.ways[k, at]
            if r >= 0:
                cycles = busy(rates, machine, r, plan.transfers[t, BITS + at])
                if cycles > most:
                    most, name = cycles, plan.owners[r]
        clock.lasts[t] = max(most, 0) + rates.latency[machine, parent]
        clock.names[t] = name


# -- one pass --------------------------------------------------------------------------------------


@kernel
def transfer(plan: Plan, clock: Clock, t: int, asked: int) -> int:
    """A transfer, asked for at a moment; returns when it is complete."""
    k = plan.transfers[t, AT]
    back = plan.boundaries[k, SUMS] and plan.transfers[t, BEHIND]
    way = FULL_WAY if back else PLAIN_WAY
    start = asked
    for at in range(way):
        if plan.ways[k, at] >= 0:
            start = max(start, clock.held[0, plan.ways[k, at]])
    end = start + clock.lasts[t]
    for at in range(way):
        if plan.ways[k, at] >= 0:
            clock.held[0, plan.ways[k, at]] = end
    for older in range(KEPT - 1, 0, -1):
        clock.done[0, k, older] = clock.done[0, k, older - 1]
        clock.slowest[0, k, older] = clock.slowest[0, k, older - 1]
    clock.done[0, k, 0], clock.slowest[0, k, 0] = end, clock.names[t]
    clock.last[0] = max(clock.last[0], end)
    return end


@kernel
def fill(plan: Plan, clock: Clock, t: int, now: int) -> None:
    """A fill, asked for now, or when the fill that brings its parent the words is complete."""
    k = plan.transfers[t, AT]
    outside = plan.boundaries[k, OUTSIDE]
    there = clock.done[0, outside, plan.transfers[t, BEHIND]] if outside >= 0 else now
    transfer(plan, clock, t, max(now, there))
    clock.unused[0, k] += 1


@kernel
def one_pass(plan: Plan, clock: Clock, kind: int) -> None:
    """One pass, and what its end sets going; the wait before it is charged to what came last, the
    outermost of equals.
    """
    start, name, outermost = clock.free[0], -1, 0
    for k in range(len(plan.boundaries)):
        if plan.passes[kind, SENDS + 3 * k + 2]:
            if plan.boundaries[k, SUMS]:  # the drain that makes room
                at = plan.boundaries[k, SLOTS] - 1
            else:  # the oldest fill that no pass has used
                at = clock.unused[0, k] - 1
                clock.unused[0, k] = at
            when, by = clock.done[0, k, at], clock.slowest[0, k, at]
            parent = plan.boundaries[k, PARENT]
            outer = parent < outermost or (parent == outermost and by > name)
            if when > start or (when == start and name >= 0 and outer):
                start, name, outermost = when, by, parent
    if name >= 0:
        clock.waits[0, name] += start - clock.free[0]
    clock.free[0] = start + clock.works[plan.passes[kind, WORK]]
    end = clock.free[0] + plan.passes[kind, AFTER]
    clock.last[0] = max(clock.last[0], end)
    inside = end  # when the drain further in is complete
    for at in range(len(plan.order)):
        k = plan.order[at]
        for one in range(2):
            t = plan.passes[kind, SENDS + 3 * k + one]
            if t >= 0 and plan.boundaries[k, SUMS]:
                inside = transfer(plan, clock, t, inside)
            elif t >= 0:
                fill(plan, clock, t, end)


# -- all passes ------------------------------------------------------------------------------------


@kernel
def restart(clock: Clock) -> None:
    """The state before the first pass, nothing remembered."""
    clock.free[0], clock.last[0] = 0, 0
    for row in range(len(clock.place)):
        clock.place[row] = 0
    for r in range(clock.held.shape[1]):
        clock.held[0, r] = 0
    for k in range(clock.done.shape[1]):
        clock.unused[0, k] = 0
        for n in range(KEPT):
            clock.done[0, k, n], clock.slowest[0, k, n] = 0, 0
    for n in range(clock.waits.shape[1]):
        clock.waits[0, n] = 0


@kernel
def keep(clock: Clock, row: int) -> None:
    """Remember the state."""
    clock.free[row], clock.last[row] = clock.free[0], clock.last[0]
    clock.place[row] = clock.place[0]
    for r in range(clock.held.shape[1]):
        clock.held[row, r] = clock.held[0, r]
    for k in range(clock.done.shape[1]):
        clock.unused[row, k] = clock.unused[0, k]
        for n in range(KEPT):
            clock.done[row, k, n] = clock.done[0, k, n]
            clock.slowest[row, k, n] = clock.slowest[0, k, n]
    for n in range(clock.waits.shape[1]):
        clock.waits[row, n] = clock.waits[0, n]


@kernel
def same(clock: Clock, row: int) -> bool:
    """Whether the state is one that is remembered, both seen from when the array is free: what is
    over by then can no longer matter.
    """
    now, then = clock.free[0], clock.free[row]
    if clock.last[0] - now != clock.last[row] - then:
        return False
    for r in range(clock.held.shape[1]):
        if max(clock.held[0, r] - now, 0) != max(clock.held[row, r] - then, 0):
            return False
    for k in range(clock.done.shape[1]):
        if clock.unused[0, k] != clock.unused[row, k]:
            return False
        for n in range(KEPT):
            left = max(clock.done[0, k, n] - now, 0)
            if left != max(clock.done[row, k, n] - then, 0):
                return False
            if left and clock.slowest[0, k, n] != clock.slowest[row, k, n]:
                return False
    return True


@kernel
def forward(clock: Clock, row: int, times: int) -> None:
    """What happened since a state was remembered, so many times more."""
    moved = times * (clock.free[0] - clock.free[row])
    clock.free[0] += moved
    clock.last[0] += moved
    for r in range(clock.held.shape[1]):
        clock.held[0, r] += moved
    for k in range(clock.done.shape[1]):
        for n in range(KEPT):
            clock.done[0, k, n] += moved
    for n in range(clock.waits.shape[1]):
        clock.waits[0, n] += times * (clock.waits[0, n] - clock.waits[row, n])
    clock.place[0] += times * (clock.place[0] - clock.place[row])


@kernel
def all_passes(plan: Plan, clock: Clock) -> None:
    """All passes.  At the end of a loop's turn the state may be that of an earlier turn: then the
    turns since repeat, as often as the kinds of passes do.  Turns 1, 2, 4, 8 ... are remembered.
    """
    settings = len(plan.kind)
    while clock.place[0] < settings:
        if plan.kind[clock.place[0]] >= 0:
            one_pass(plan, clock, plan.kind[clock.place[0]])
        clock.place[0] += 1
        for row in range(1, len(plan.loops) + 1):
            inside, turns = plan.loops[row - 1, 0], plan.loops[row - 1, 1]
            if clock.place[0] % inside:
                break
            turn = clock.place[0] // inside % turns
            if clock.place[row] and same(clock, row):
                period = clock.place[0] - clock.place[row]
                end = clock.place[0]
                while end < settings and plan.kind[end] == plan.kind[end - period]:
                    end += 1
                forward(clock, row, (end - clock.place[0]) // period)
            if turn & (turn - 1) == 0:
                keep(clock, row)


@kernel
def run_passes(plan: Plan, rates: Rates, clock: Clock, load: Ints, ends: Ints, waits: Ints) -> None:
    """Every machine's run, one after the other.

    clock, load  [resources]  overwritten
    ends         [machines]  the last completion; written here
    waits        [machines, names]  what was waited for, within passes and between; written here
    """
    for machine in range(len(ends)):
        restart(clock)
        time_phases(plan, rates, machine, clock, load)
        time_transfers(plan, rates, machine, clock)
        for at in range(len(plan.before)):
            fill(plan, clock, plan.before[at], 0)
        all_passes(plan, clock)
        ends[machine] = clock.last[0]
        for name in range(waits.shape[1]):
            waits[machine, name] = clock.waits[0, name]


# -- kinds -----------------------------------------------------------------------------------------


@kernel
def number_rows(rows: Ints, kinds: Ints, first: Ints, table: Ints) -> int:
    """Equal rows get equal numbers, in the order they are met; how many there are.

    rows   [rows, columns]
    kinds  [rows]   each row's number; written here
    first  [rows]   of each number, the first row that has it; written here
    table  [a power of two, more than rows]  -1 everywhere; overwritten
    """
    count = 0
    for n in range(len(rows)):
        place = 0
        for c in range(rows.shape[1]):
            place = ((place ^ rows[n, c]) * 1000003 + c) & 0x3FFFFFFFFF
        place = (place ^ (place >> 16)) & (len(table) - 1)
        while table[place] >= 0:
            other, c = first[table[place]], 0
            while c < rows.shape[1] and rows[n, c] == rows[other, c]:
                c += 1
            if c == rows.shape[1]:
                break
            place = (place + 1) & (len(table) - 1)
        if table[place] < 0:
            table[place], first[count] = count, n
            count += 1
        kinds[n] = table[place]
    return count
