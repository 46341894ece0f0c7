"""The timed event engine: SimPy processes around the events of a nest (docs/time.md).

One process is the array (``_passes``), one each transfer (``_transfer``), one each end of a pass
(``_end``); ports and channels are what they contend for.  The whole of time is here: everything
else on these pages says how long something takes or what it comes after.

The clock drives the reading of events, not the other way round: the feed reads on only as far as a
transfer could be requested now, since an event that is read is carried out at once.

Stalls are charged as they happen: a pass that starts late charges its delay to the slowest resource
of the transfer that came last, a pass that lasts longer to its longest port or channel.  On
systolic lines a wait may hide behind the skew of an earlier fold; ``_settled`` takes those back at
the end, so that array time and stalls add up to the end of the timeline.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Literal

import numpy as np
import simpy

from accelsim.engines.event.timed.arrivals import Values
from accelsim.engines.event.timed.channels import Channel, wait_for
from accelsim.engines.event.timed.feed import Job, PassRecord, TransferFeed
from accelsim.engines.event.timed.inside import Inside
from accelsim.engines.event.timed.recorder import Recorder
from accelsim.engines.event.transfers import Event, Ints
from accelsim.engines.timeline import LevelHeld, Timing

CHUNKS = 8  # requests that what moves inside a pass makes of a port others use too
Waits = Generator[simpy.Event, Any, None]


class Engine:
    """One run.  ``timing()`` runs it.

    ``env``         SimPy's clock, in core cycles
    ``limits``      all resources; ``channels`` the same as SimPy sees them, in the same order
    ``feed``        passes and transfers, from the events
    ``machine``     carries the events out as they are read
    ``array``       its time, as it is and as it were alone
    ``ended``       by level: how many of its steps have ended
    ``stalls``      cycles waited, by level and network
    ``busy``        [resources]: cycles each was taken
    ``under_way``   transfers started, not complete
    ``last``        drains complete after the array's last result: when, place, owner
    ``contended``   resources that both passes and transfers use
    ``recorder``    if a timeline was asked for
    """

    def __init__(
        self, inside: Inside, machine: Values, events: Iterable[Event], *, timeline: bool
    ) -> None:
        self.env, self.limits, arch = simpy.Environment(), inside.limits, inside.nest.arch
        self.recorder = (
            Recorder([*self.limits.labels, "array"], arch.level_names) if timeline else None
        )
        self.channels = [Channel(self.env, place) for place in range(len(self.limits.resources))]
        self.feed = TransferFeed(inside, self.env, machine, events, self._start, self.recorder)
        self.machine = machine
        self.array = _Array(self.feed.rules.systolic)
        self.ended = dict.fromkeys(self.feed.above, 0)  # steps of each level
        self.stalls = dict.fromkeys((*arch.levels, *arch.networks), 0)
        self.busy = [0] * len(self.limits.resources)
        self.under_way = 0
        self.last: list[tuple[int, int, str]] = []
        outside = {r for b in self.feed.timed for r in self.feed.routes.may_use(b)}
        self.contended = sorted(outside & {*inside.resources})

    def timing(self) -> Timing:
        """Carry out all events; what drains after the last result is charged as it ends.

        Raises RuntimeError if transfers wait for each other in a circle, which would be the
        engine's own fault.
        """
        self._read()
        self.env.process(self._passes())
        self.env.run()
        if self.under_way or self.feed.ready or not self.feed.exhausted:
            raise RuntimeError(
                f"the timed engine stands still at cycle {self.env.now}: {self.under_way} "
                "transfers wait in a circle"
            )
        end = self.array.end
        for finished, _, owner in sorted(self.last):
            if finished > end:
                self.stalls[owner] += finished - end
                end = finished
        stalls = _settled(self.stalls, end - self.array.alone)
        busy = dict(zip(self.limits.labels, self.busy, strict=True))
        timeline, occupancy = (
            (self.recorder.timeline, self.recorder.occupancy) if self.recorder else (None, None)
        )
        return Timing(
            end, self.array.alone, self.machine.compute_cycles, stalls, busy, timeline, occupancy
        )

    def _read(self) -> None:
        """Have the feed read as far as anything can be requested now."""
        feed = self.feed
        while not feed.exhausted and (
            not feed.ready
            or any(feed.step[x] < self.ended[x] - 1 + n for x, n in feed.ahead.items())
        ):
            feed.more()

    # transfers

    def _start(self, job: Job) -> None:
        """A transfer may be requested as soon as what it waits for has happened."""
        self.under_way += 1
        self.env.process(self._transfer(job))

    def _transfer(self, job: Job) -> Waits:
        """One transfer: wait, take every resource on the way, hold all of them for as long as the
        slowest takes.
        """
        transfer = job.transfer
        yield from wait_for(job.waits_for)
        for resource in transfer.resources:
            yield self.channels[resource].request(transfer.what == "drain", job.place)
        begin, labels = int(self.env.now), [self.limits.labels[r] for r in transfer.resources]
        if self.recorder and not labels:
            labels = [self.recorder.take_lane(transfer.owner)]
        self._hold(job.come)
        yield self.env.timeout(transfer.cycles)
        job.finished = int(self.env.now)
        for resource in transfer.resources:
            self.channels[resource].release()
            self.busy[resource] += transfer.cycles
        if self.recorder:
            self.recorder.lanes -= {*labels}
            for name in labels:
                b, words = transfer.boundary, transfer.words
                self.recorder.timeline.add(
                    name, transfer.what, b.tensor, begin, job.finished, words, job.step
                )
        self._hold(job.gone)
        if transfer.what == "drain":
            self.last = [x for x in self.last if x[0] > self.array.end]
            self.last.append((job.finished, transfer.place, transfer.owner))
        self.under_way -= 1
        job.done.succeed()

    def _hold(self, changes: list[LevelHeld]) -> None:
        """Tell the recorder what levels hold from now on."""
        if self.recorder and changes:
            self.recorder.occupancy.change(int(self.env.now), changes)

    # the array

    def _passes(self) -> Waits:
        """The array: one pass after the other, each as soon as it has its words and its room."""
        ready, leaves, step = self.feed.ready, 0, 0
        while True:
            if not ready:
                self._read()
            if not ready:
                self._tell_leaving(int(self.env.now), leaves, step)
                return
            record = ready.popleft()
            free = int(self.env.now)
            yield from wait_for([job.done for job in record.needs])
            begin = int(self.env.now)
            if begin > free:
                last = min(record.needs, key=lambda job: (-job.finished, job.transfer.place))
                self.stalls[last.transfer.owner] += begin - free
            self._tell_leaving(free, min(leaves, begin), step)
            self._hold(record.come)
            for resource, cycles in record.work.charges.items():
                self.stalls[self.limits.resources[resource].name] += cycles
            ports = [r for r in self.contended if record.work.busy.get(r)]
            shifts = yield from self._share(record, begin, ports)
            if not ports:
                yield self.env.timeout(record.work.duration)
            end = begin + record.folds.end + int(self.env.now) - begin - record.gaps
            self.array.add(record.folds.end, record.gaps, end)
            leaves, step = max(leaves, end), record.step
            self._tell(record, begin, shifts, set(ports))
            if self.feed.ahead or self.recorder:
                self.env.process(self._end(record, end - int(self.env.now)))

    def _end(self, record: PassRecord, after: int) -> Waits:
        """The edge that latches a pass's last result."""
        yield self.env.timeout(after)
        record.ended.succeed()
        self._hold(record.gone)
        for level, step in record.closes:
            self.ended[level] = max(self.ended[level], step + 1)
        self._read()

    def _share(
        self, record: PassRecord, begin: int, ports: list[int]
    ) -> Generator[simpy.Event, Any, list[tuple[int, int]]]:
        """What moves in a pass over ports that others use too, in equal requests; (from which cycle
        of it, delay from then on).
        """
        duration, shifts, shift = record.work.duration, [(0, 0)], 0
        for k in range(CHUNKS if ports else 0):
            start, until = duration * k // CHUNKS, duration * (k + 1) // CHUNKS
            if begin + start + shift > self.env.now:
                yield self.env.timeout(begin + start + shift - int(self.env.now))
            sizes = {
                r: record.work.busy[r] * until // duration - record.work.busy[r] * start // duration
                for r in ports
            }
            chunks = {
                r: self.env.process(self._chunk(record, r, size))
                for r, size in sizes.items()
                if size
            }
            yield from wait_for(chunks.values())
            waited, outermost = max(
                ((chunk.value, -r) for r, chunk in chunks.items()), default=(0, 0)
            )
            if waited:
                shift += waited
                shifts.append((start, shift))
                self.stalls[self.limits.resources[-outermost].name] += waited
        if ports and begin + duration + shift > self.env.now:
            yield self.env.timeout(begin + duration + shift - int(self.env.now))
        return shifts

    def _chunk(
        self, record: PassRecord, resource: int, cycles: int
    ) -> Generator[simpy.Event, Any, int]:
        """One request of a pass; returns how long it waited."""
        asked = int(self.env.now)
        yield self.channels[resource].request(False, record.place)
        begin = int(self.env.now)
        yield self.env.timeout(cycles)
        self.channels[resource].release()
        self.busy[resource] += cycles
        if self.recorder:
            self.recorder.timeline.add(
                self.limits.labels[resource], "pass", "", begin, int(self.env.now), 0, record.step
            )
        return begin - asked

    def _tell(
        self, record: PassRecord, begin: int, shifts: list[tuple[int, int]], told: set[int]
    ) -> None:
        """What a pass did, but for the resources already told."""
        for resource, cycles in record.work.busy.items():
            if resource not in told:
                self.busy[resource] += cycles
        if self.recorder is None:
            return
        from_, by = (np.array(x, np.int64) for x in zip(*shifts, strict=True))

        def when(cycles: Ints, side: Literal["left", "right"]) -> Ints:
            return begin + cycles + by[np.maximum(np.searchsorted(from_, cycles, side) - 1, 0)]

        timeline = self.recorder.timeline
        done = begin
        for start, end, words in record.folds.told or ():  # between them the array loads or shifts
            start, end = when(start, "right"), when(end, "left")
            timeline.extend("array", "pass", "", start, end, words, record.step)
            free = np.concatenate([[done], end[:-1]])
            timeline.extend("array", "between", "", free, start, 0 * words, record.step)
            done = int(end[-1])
        if record.folds.told:
            until = np.minimum(when(np.array([record.gaps]), "left"), int(self.env.now))
            one = np.array([done])
            timeline.extend("array", "between", "", one, until, 0 * one, record.step)
        elif not record.work.rows or all(rows.resource >= 0 for rows in record.work.rows):
            timeline.add(
                "array", "pass", "", begin, int(self.env.now), record.folds.macs, record.step
            )
        for rows in record.work.rows:
            if rows.resource not in told:
                name = self.limits.labels[rows.resource] if rows.resource >= 0 else "array"
                timeline.extend(
                    name,
                    rows.what,
                    rows.tensor,
                    when(rows.start, "right"),
                    when(rows.end, "left"),
                    rows.words,
                    record.step,
                )

    def _tell_leaving(self, free: int, until: int, step: int) -> None:
        """The array from when it is free until its last result is there or the next pass begins."""
        if self.recorder and until > free:
            self.recorder.timeline.add("array", "leave", "", free, until, 0, step)


class _Array:
    """The array's time: as it is (``end``), and as it were if nothing were waited for (``alone``);
    cycles so far.
    """

    def __init__(self, systolic: bool) -> None:
        self.systolic = systolic
        self.end = self.alone = self.start = 0

    def add(self, length: int, gaps: int, end: int) -> None:
        """A pass whose last result is latched ``length`` edges after its start, ``gaps`` before the
        next; it is at ``end``.
        """
        alone = self.start + length
        self.alone = max(self.alone, alone) if self.systolic else alone
        self.end = max(self.end, end) if self.systolic else end
        self.start += gaps


def _settled(stalls: dict[str, int], cycles: int) -> dict[str, int]:
    """Stalls less waits beyond ``cycles`` in all, for which no result came later: taken back from
    what was waited for most, then from the next; of equals from the first.
    """
    over = sum(stalls.values()) - cycles
    while over > 0:
        owner = max(stalls, key=stalls.__getitem__)
        back = min(stalls[owner], over)
        stalls, over = stalls | {owner: stalls[owner] - back}, over - back
    return stalls
