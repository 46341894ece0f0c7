"""The memory-time recurrence, pass by pass; compiled loops (``base/compiled.py``).

``pipeline`` says what a nest's passes do and what they move, in bits; this page says when.  It is
called by ``pipeline``, once for a nest on any number of machines that differ in widths only.

A pass is the array's work while all levels outside the PEs' parent stand still.  In ``one_pass``:

    it starts   when the array is free, its fills are there, and its tile of sums has room
    it lasts    as long as its slowest resource; a port that transfers use too it has to ask for,
                eight times a pass (``share``)
    it ends     at its last result; the array is free earlier, when the next pass may follow
    its end     sets drains and fills going (``ask``)

A transfer, or what a pass asks of a shared port, is a *job*: it waits for the job before it, then
asks for the resources on its way one after the other, the outermost first, and holds all of them
until it is complete.  A resource goes to who asked first; of one cycle drains go first, then what
is earlier in the nest.  ``give`` hands out one resource, always the one that is free next, so
resources are given in the order of time; and it is called only as long as somebody's end is not
known, when whatever the array does next comes later (``end_of``).

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
SUMS, BEFORE, PARENT, WAY = range(4)  # columns of ``PassTable.boundaries``
AT, BEHIND, AHEAD, BITS = range(4)  # columns of ``PassTable.transfers``
WORK, AFTER, SENDS = range(3)  # columns of ``PassTable.passes``
PLAIN_WAY, FULL_WAY = 3, 5  # resources on the way of a transfer; of one that reads to add to
FREE, LAST, HELD = range(3)  # columns of ``Clock.times``
# Columns of ``Clock.jobs``, and how many they are.
STAGE, WHEN, LASTS, DRAIN, TURN, TRANSFER, AFTER_JOB, JOB = range(8)
COMPLETE, WAITING, ASKING = range(3)  # stages of a job; it asks for its way's first from here on
KEPT = 4  # the last jobs of a boundary that are remembered
CHUNKS = 8  # requests that a pass makes of a resource that transfers use too
NEVER = 1 << 62  # no time reaches it: such nests are refused
PLACES = 1 << 10  # more than boundaries: of what belongs to one pass the earlier in the nest
INSIDE = PLACES - 1  # and the pass itself after all of them


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

    ``boundaries``  [boundaries, 8]  whether it takes sums out; the boundary whose transfers come
                    before: of fills the one that brings the parent's words, of sums the one further
                    in; its parent level; resources on its way from parent to child, and of sums
                    that are read back
    ``order``       [boundaries]  in which the end of a pass sets transfers going
    ``transfers``   [transfers, 6]  its boundary; how many fills back its parent's words came; how
                    many passes later those that it is for; bits over the first three of its way
    ``ways``        [transfers, 5]  the resources it holds, outermost first
    ``shared``      [shared]  resources that passes and transfers both use
    ``before``      transfers that wait for no pass, in order
    ``passes``      [kinds, 2 + 3 x boundaries]  its work; cycles from when the array is free to its
                    last result; by boundary two transfers its end sets going, and whether it needs
                    the next fill (of sums: the drain that makes room, 1 the latest)
    ``kind``        [settings]  of each setting of the loops outside, in order; -1 where it is empty
    ``loops``       [loops, 2]  of those loops, innermost first: settings in one turn; turns
    """

    boundaries: Ints
    order: Ints
    transfers: Ints
    ways: Ints
    shared: Ints
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

    ``times``   [rows, 2 + resources]  from when on the array is free; its latest result; until when
                each resource is held
    ``jobs``    [rows, 4 x boundaries + resources, 7]  each boundary's last transfers, one after the
                other and round again, then what a pass asks of each resource: the stage it is at;
                when it came there, or is complete; how long it lasts; whether it is a drain; its
                place in the nest; which transfer it is; the job it waits for
    ``asked``   [rows, boundaries]  transfers asked for so far
    ``unused``  [rows, boundaries]  fills that no pass has used
    ``waits``   [rows, names]  what passes waited for
    ``place``   [rows, 2]  settings gone through; passes

    and of the machine at hand:

    ``phases``     [phases]  cycles of every kind of phase
    ``works``      [works]  of every pass's phases together
    ``parts``      [phases, columns]  cycles of what loads a phase
    ``carried``    [works, resources]  cycles that passes take of each resource
    ``transfers``  [transfers, 2]  of every transfer, and its slowest resource; -1 if there is none
    """

    times: Ints
    jobs: Ints
    asked: Ints
    unused: Ints
    waits: Ints
    place: Ints
    phases: Ints
    works: Ints
    parts: Ints
    carried: Ints
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
    """The cycles of every kind of phase: its parts follow each other, each as long as its slowest
    resource, and the body at least as long as the MAC steps.  Waits are charged.

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
                clock.parts[p, c] = busy(rates, machine, r, work.phases[p, 2 + c])
                load[r] += clock.parts[p, c]
            for c in range(first, end):
                if load[work.loads[c, 1]] > most:
                    most, name = load[work.loads[c, 1]], work.owners[work.loads[c, 1]]
            if name >= 0:
                wait = most - steps if part == BODY else most
                clock.phases[p] += wait
                clock.waits[0, name] += wait * work.phases[p, 1]
            first = end


@kernel
def time_works(work: PhaseWork, clock: Clock) -> None:
    """The cycles of the phases of a pass together, and what they take of each resource."""
    for w in range(len(work.works)):
        clock.works[w] = 0
        for r in range(clock.carried.shape[1]):
            clock.carried[w, r] = 0
        for at in range(work.works.shape[1]):
            p = work.works[w, at]
            clock.works[w] += clock.phases[p]
            for c in range(len(work.loads)):
                clock.carried[w, work.loads[c, 1]] += clock.parts[p, c]


@kernel
def time_transfers(plan: PassTable, rates: Rates, machine: int, times: Ints) -> None:
    """The cycles of every kind of transfer: those of the slowest resource on its way, and the
    latency of its parent; with the slowest, of equals the outermost, [transfers, 2].
    """
    for t in range(len(plan.transfers)):
        k = plan.transfers[t, AT]
        most, slowest = 0, -1
        for at in range(PLAIN_WAY):
            r = plan.boundaries[k, WAY + at]
            if r >= 0:
                cycles = busy(rates, machine, r, plan.transfers[t, BITS + at])
                if cycles > most or (cycles == most > 0 and r < slowest):
                    most, slowest = cycles, r
        if plan.transfers[t, BITS]:  # a tile of padding alone is made where it goes
            most += rates.latency[machine, plan.boundaries[k, PARENT]]
        times[t, 0], times[t, 1] = most, slowest


# -- jobs ------------------------------------------------------------------------------------------


@kernel
def newest(asked: int, k: int, age: int) -> int:
    """The job of a boundary's transfer so many before its latest, of so many asked for; -1 if there
    was none.
    """
    n = asked - 1 - age
    return KEPT * k + n % KEPT if n >= 0 else -1


@kernel
def ask(plan: PassTable, clock: Clock, t: int, now: int) -> None:
    """A transfer may be asked for from now on, or when the one before it is complete.  One that
    takes no time passes on what it waits for, and nobody waits for it.
    """
    jobs = clock.jobs[0]
    k = plan.transfers[t, AT]
    before = plan.boundaries[k, BEFORE]
    after = -1
    if before >= 0:
        after = newest(clock.asked[0, before], before, plan.transfers[t, BEHIND])
    if plan.boundaries[k, SUMS]:
        if after >= 0 and jobs[after, LASTS] == 0:
            after = -1
    else:
        clock.unused[0, k] += 1
    clock.asked[0, k] += 1
    j, lasts = newest(clock.asked[0, k], k, 0), clock.transfers[t, 0]
    jobs[j, STAGE], jobs[j, LASTS], jobs[j, DRAIN] = WAITING, lasts, plan.boundaries[k, SUMS]
    jobs[j, WHEN] = now if lasts else 0
    jobs[j, TURN] = (clock.place[0, 1] + plan.transfers[t, AHEAD]) * PLACES + k
    jobs[j, TRANSFER], jobs[j, AFTER_JOB] = t, after


@kernel
def go_on(jobs: Ints, ways: Ints, kept: int) -> None:
    """Transfers whose job before is complete go on: to the first resource, or where there is none
    to their end.
    """
    again = True
    while again:
        again = False
        for j in range(kept):
            if jobs[j, STAGE] != WAITING:
                continue
            before = jobs[j, AFTER_JOB]
            if before >= 0:
                if jobs[before, STAGE] != COMPLETE:
                    continue
                jobs[j, WHEN] = max(jobs[j, WHEN], jobs[before, WHEN])
            jobs[j, STAGE] = ASKING
            if jobs[j, LASTS] == 0 or ways[jobs[j, TRANSFER], 0] < 0:
                jobs[j, STAGE] = COMPLETE
                jobs[j, WHEN] += jobs[j, LASTS]
                again = True


@kernel
def comes_first(jobs: Ints, one: int, other: int) -> bool:
    """Of two jobs that ask for a resource which gets it: who asked first, then drains, then what is
    earlier in the nest.
    """
    if jobs[one, WHEN] != jobs[other, WHEN]:
        earlier: bool = jobs[one, WHEN] < jobs[other, WHEN]
        return earlier
    if jobs[one, DRAIN] != jobs[other, DRAIN]:
        drain: bool = jobs[one, DRAIN] > 0
        return drain
    sooner: bool = jobs[one, TURN] < jobs[other, TURN]
    return sooner


@kernel
def give(jobs: Ints, held: Ints, ways: Ints, kept: int) -> None:
    """The resource that can be given next, the outermost of one cycle, goes to the first of those
    that ask for it.  Who has all of its way holds it until it is complete.

    held  [resources]  until when
    """
    first, when, least = -1, NEVER, 0
    for j in range(len(jobs)):
        stage = jobs[j, STAGE]
        if stage >= ASKING:
            r = j - kept if j >= kept else ways[jobs[j, TRANSFER], stage - ASKING]
            at = max(jobs[j, WHEN], held[r])
            if at > when or (at == when and r > least):
                continue
            if at < when or r < least or comes_first(jobs, j, first):
                first, when, least = j, at, r
    on = jobs[first, STAGE] - ASKING + 1
    t = jobs[first, TRANSFER]
    if first < kept and on < FULL_WAY and ways[t, on] >= 0:
        held[least] = NEVER
        jobs[first, STAGE] += 1
        jobs[first, WHEN] = when
        return
    end = when + jobs[first, LASTS]
    jobs[first, STAGE], jobs[first, WHEN] = COMPLETE, end
    held[least] = end
    for one in range(on - 1):
        held[ways[t, one]] = end


@kernel
def end_of(jobs: Ints, held: Ints, ways: Ints, kept: int, j: int) -> int:
    """When a job is complete.  Nothing that is asked for later comes before that."""
    while jobs[j, STAGE] != COMPLETE:
        go_on(jobs, ways, kept)
        if jobs[j, STAGE] != COMPLETE:
            give(jobs, held, ways, kept)
    end: int = jobs[j, WHEN]
    return end


# -- one pass --------------------------------------------------------------------------------------


@kernel
def charge(plan: PassTable, owners: Ints, clock: Clock, t: int, cycles: int) -> None:
    """A wait for a transfer goes to its slowest resource, or if it is all latency to the parent;
    levels are the first names.
    """
    slowest = clock.transfers[t, 1]
    if slowest >= 0:
        clock.waits[0, owners[slowest]] += cycles
    else:
        clock.waits[0, plan.boundaries[plan.transfers[t, AT], PARENT]] += cycles


@kernel
def start(plan: PassTable, owners: Ints, clock: Clock, kind: int) -> int:
    """When a pass starts; the wait is charged to what came last, the outermost of equals."""
    latest: int = clock.times[0, FREE]
    jobs, held, kept = clock.jobs[0], clock.times[0, HELD:], KEPT * len(plan.boundaries)
    last, outermost = -1, 0
    for k in range(len(plan.boundaries)):
        needs = plan.passes[kind, SENDS + 3 * k + 2]
        if needs:
            age = needs - 1  # the drain that makes room
            if not plan.boundaries[k, SUMS]:
                age = clock.unused[0, k] - 1  # the oldest fill that no pass has used
                clock.unused[0, k] = age
            j = newest(clock.asked[0, k], k, age)
            if j < 0 or jobs[j, LASTS] == 0:
                continue
            when, t = end_of(jobs, held, plan.ways, kept, j), jobs[j, TRANSFER]
            place = clock.transfers[t, 1]
            if when > latest or (when == latest and last >= 0 and place < outermost):
                latest, last, outermost = when, t, place
    if last >= 0:
        charge(plan, owners, clock, last, latest - clock.times[0, FREE])
    return latest


@kernel
def all_complete(jobs: Ints, kept: int) -> bool:
    """Whether the end of every transfer is known."""
    waiting = 0
    for j in range(kept):
        waiting += jobs[j, STAGE] != COMPLETE
    return waiting == 0


@kernel
def take(jobs: Ints, held: Ints, kept: int, r: int, now: int, turn: int, quiet: bool) -> None:
    """A pass asks for a resource that transfers use too; where none of them does, it has it."""
    j = kept + r
    if quiet:
        jobs[j, WHEN] = max(now, held[r]) + jobs[j, LASTS]
        jobs[j, STAGE], held[r] = COMPLETE, jobs[j, WHEN]
    else:
        jobs[j, STAGE], jobs[j, WHEN] = ASKING, now
        jobs[j, TURN] = turn * PLACES + INSIDE


@kernel
def share(plan: PassTable, owners: Ints, clock: Clock, w: int, begin: int) -> int:
    """The phases of a pass: what they take of resources that transfers use too is asked for in
    equal requests, the next when the last is over.  Returns when the array is free.
    """
    jobs, held, kept = clock.jobs[0], clock.times[0, HELD:], KEPT * len(plan.boundaries)
    lasts, carried, turn = clock.works[w], clock.carried[w], clock.place[0, 1]
    now, late, quiet = begin, 0, False
    for chunk in range(CHUNKS if len(plan.shared) and lasts else 0):
        at, until = lasts * chunk // CHUNKS, lasts * (chunk + 1) // CHUNKS
        now = max(now, begin + at + late)
        quiet = quiet or all_complete(jobs, kept)
        for r in plan.shared:
            jobs[kept + r, LASTS] = carried[r] * until // lasts - carried[r] * at // lasts
            if jobs[kept + r, LASTS]:
                take(jobs, held, kept, r, now, turn, quiet)
        asked, waited, slowest = now, 0, -1
        for r in plan.shared:
            if jobs[kept + r, LASTS]:
                end = end_of(jobs, held, plan.ways, kept, kept + r)
                now = max(now, end)
                wait = end - jobs[kept + r, LASTS] - asked
                if wait > waited:
                    waited, slowest = wait, r
        if slowest >= 0:
            late += waited
            clock.waits[0, owners[slowest]] += waited
    free: int = max(now, begin + lasts + late)
    return free


@kernel
def one_pass(plan: PassTable, owners: Ints, clock: Clock, kind: int) -> None:
    """One pass, and what its end sets going."""
    free = share(plan, owners, clock, plan.passes[kind, WORK], start(plan, owners, clock, kind))
    end = free + plan.passes[kind, AFTER]
    clock.times[0, FREE] = free
    clock.times[0, LAST] = max(clock.times[0, LAST], end)
    for k in plan.order:
        for one in range(2):
            t = plan.passes[kind, SENDS + 3 * k + one]
            if t >= 0:
                ask(plan, clock, t, end)
    clock.place[0, 1] += 1


# -- all passes ------------------------------------------------------------------------------------


@kernel
def copy(rows: Ints, source: int, to: int) -> None:
    """One row over another."""
    for c in range(rows.shape[1]):
        rows[to, c] = rows[source, c]


@kernel
def keep(clock: Clock, source: int, to: int) -> None:
    """One state over another.  What a pass asks for is over when it ends."""
    copy(clock.times, source, to)
    copy(clock.asked, source, to)
    copy(clock.unused, source, to)
    copy(clock.waits, source, to)
    copy(clock.place, source, to)
    for j in range(KEPT * clock.asked.shape[1]):
        for c in range(JOB):
            clock.jobs[to, j, c] = clock.jobs[source, j, c]


@kernel
def same_job(now: Ints, then: Ints, one: int, other: int, moved: int, turned: int) -> bool:
    """Whether a transfer is what another was in an earlier state, so many cycles and places before;
    what is over when the array is free can no longer matter, and is 0 in both.
    """
    if now[one, STAGE] != then[other, STAGE] or now[one, LASTS] != then[other, LASTS]:
        return False
    if now[one, TRANSFER] != then[other, TRANSFER]:
        return False
    if now[one, LASTS] and now[one, WHEN] - then[other, WHEN] != moved:
        return False
    equal: bool = now[one, STAGE] == COMPLETE or now[one, TURN] - then[other, TURN] == turned
    return equal


@kernel
def same_jobs(clock: Clock, row: int) -> bool:
    """Whether all boundaries' last transfers are what they were."""
    now, then = clock.jobs[0], clock.jobs[row]
    free, was_free = clock.times[0, FREE], clock.times[row, FREE]
    turned = (clock.place[0, 1] - clock.place[row, 1]) * PLACES
    for k in range(clock.asked.shape[1]):
        for age in range(KEPT):
            one = newest(clock.asked[0, k], k, age)
            other = newest(clock.asked[row, k], k, age)
            if one < 0 or other < 0:
                if one != other:
                    return False
                continue
            over = now[one, STAGE] == COMPLETE and now[one, WHEN] <= free
            if then[other, STAGE] == COMPLETE and then[other, WHEN] <= was_free:
                if not over:
                    return False
            elif over or not same_job(now, then, one, other, free - was_free, turned):
                return False
            elif now[one, STAGE] == WAITING:
                a, b = now[one, AFTER_JOB], then[other, AFTER_JOB]
                before = a // KEPT  # how many before its latest each waits for
                if a < 0 or b < 0:
                    if a != b:
                        return False
                elif (clock.asked[0, before] - a - clock.asked[row, before] + b) % KEPT:
                    return False
    return True


@kernel
def same(clock: Clock, row: int) -> bool:
    """Whether the state is one that is remembered, both seen from when the array is free: what is
    over by then can no longer matter, unless somebody who asked before still waits for it.
    """
    times = clock.times
    now, then = times[0, FREE], times[row, FREE]
    asked = now
    for job in clock.jobs[0]:
        if job[STAGE] != COMPLETE:
            asked = min(asked, job[WHEN])
    for k in range(clock.unused.shape[1]):
        if clock.unused[0, k] != clock.unused[row, k]:
            return False
    for c in range(LAST, times.shape[1]):
        never = times[0, c] == times[row, c] == NEVER
        mine, other = times[0, c] - now, times[row, c] - then
        if not never and max(mine, asked - now) != max(other, asked - now):
            return False
    return same_jobs(clock, row)


@kernel
def forward(clock: Clock, row: int, turns: int) -> None:
    """What happened since a state was remembered, so many times more."""
    moved = turns * (clock.times[0, FREE] - clock.times[row, FREE])
    passes = turns * (clock.place[0, 1] - clock.place[row, 1])
    for c in range(clock.times.shape[1]):
        if clock.times[0, c] < NEVER:
            clock.times[0, c] += moved
    for j in range(KEPT * clock.asked.shape[1]):
        clock.jobs[0, j, WHEN] += moved
        clock.jobs[0, j, TURN] += passes * PLACES
    for n in range(clock.waits.shape[1]):
        clock.waits[0, n] += turns * (clock.waits[0, n] - clock.waits[row, n])
    clock.place[0, 1] += passes


@kernel
def all_passes(plan: PassTable, owners: Ints, clock: Clock) -> None:
    """All passes.  At the end of a loop's turn the state may be that of an earlier turn: then the
    turns since repeat, as often as the kinds of passes do.  Turns 1, 2, 4, 8 ... are remembered.
    """
    kind, settings = plan.kind, len(plan.kind)
    at = 0
    while at < settings:
        if kind[at] >= 0:
            one_pass(plan, owners, clock, kind[at])
        at += 1
        for row in range(1, len(plan.loops) + 1):
            inside, turns = plan.loops[row - 1, 0], plan.loops[row - 1, 1]
            if at % inside:
                break
            turn = at // inside % turns
            before = clock.place[row, 0]
            if before and same(clock, row):
                end = at
                while end < settings and kind[end] == kind[end - at + before]:
                    end += 1
                more = (end - at) // (at - before)
                forward(clock, row, more)
                at += more * (at - before)
            if turn & (turn - 1) == 0:
                clock.place[0, 0] = at
                keep(clock, 0, row)


@kernel
def last_drains(plan: PassTable, owners: Ints, clock: Clock) -> int:
    """The end of the run.  Drains that are complete after the last result are waited for one after
    the other; of equals the outermost is charged.
    """
    end: int = clock.times[0, LAST]
    kept = KEPT * len(plan.boundaries)
    for j in range(kept):
        end_of(clock.jobs[0], clock.times[0, HELD:], plan.ways, kept, j)
    while True:
        first = -1
        for j in range(kept):
            job = clock.jobs[0, j]
            if not plan.boundaries[j // KEPT, SUMS] or not job[LASTS] or job[WHEN] <= end:
                continue
            if first < 0:
                first = j
                continue
            before = clock.jobs[0, first]
            place, least = clock.transfers[job[TRANSFER], 1], clock.transfers[before[TRANSFER], 1]
            if job[WHEN] < before[WHEN] or (job[WHEN] == before[WHEN] and place < least):
                first = j
        if first < 0:
            return end
        job = clock.jobs[0, first]
        charge(plan, owners, clock, job[TRANSFER], job[WHEN] - end)
        end = job[WHEN]


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
            clock.place[row, 0] = 0
        time_phases(work, rates, machine, clock, load)
        time_works(work, clock)
        time_transfers(plan, rates, machine, clock.transfers)
        for t in plan.before:
            ask(plan, clock, t, 0)
        all_passes(plan, work.owners, clock)
        ends[machine] = last_drains(plan, work.owners, clock)
        for name in range(waits.shape[1]):
            waits[machine, name] = clock.waits[0, name]
