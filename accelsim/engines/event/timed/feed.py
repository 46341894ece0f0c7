"""From the events in order to passes and transfers that know what they wait for (docs/time.md,
"Steps, slots and the pipeline").

Events are carried out as they are read; only numbers are kept ahead of time.  The rules, with
``slots`` 2 where a level overlaps a tensor and 1 where it does not:

    fill for step k     after the parent's fill of the step around it, and the last pass of step
                        k - slots, whose place it takes
    drain of step k     after the last pass of step k, and the drain of the level inside into it
    pass                after the fills of its steps, and the drain of the tile of sums ``slots``
                        tiles earlier

A pass is complete only when the next one is known: its last gap depends on the next one's first
fold, and which steps it ends on what moves then.  So the feed is always one pass behind the events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import simpy

from accelsim.engines.event.folds import ArrayRules, PassFolds
from accelsim.engines.event.timed.arrivals import Values
from accelsim.engines.event.timed.inside import Inside, PassWords, PassWork
from accelsim.engines.event.timed.recorder import Recorder, held_changes
from accelsim.engines.event.timed.transfer import Routes, Transfer
from accelsim.engines.event.transfers import Drain, Event, Fill, Pass, PeDrain
from accelsim.engines.timeline import LevelHeld
from accelsim.mapping.nest import Boundary


@dataclass(eq=False)
class Job:
    """A transfer under way.

    ``transfer``   what it holds, and for how long
    ``place``      in the nest: of two requests in one cycle the earlier goes first
    ``step``       of the child level: the one it is filled for, or drained after
    ``waits_for``  transfers and ends of passes that come before its request
    ``done``       happens when it is complete, at cycle ``finished``
    ``come``       what levels hold more from its start on
    ``gone``       what levels hold less from its end on
    """

    transfer: Transfer
    place: int
    step: int
    waits_for: list[simpy.Event]
    done: simpy.Event
    come: list[LevelHeld]
    gone: list[LevelHeld]
    finished: int = -1


@dataclass(eq=False)
class PassRecord:
    """One pass.  Complete, with ``gaps`` and ``work``, once the next pass is known.

    ``place``, ``step``  in the nest; its number
    ``ended``   happens at the edge that latches its last result
    ``folds``   the array's own time for it
    ``words``   what moves inside it, while it is open; None where nothing can be waited for
    ``needs``   transfers it waits for
    ``closes``  (level, step) it is the last pass of
    ``gaps``    edges until the array is free, memory aside
    ``work``    how long it lasts, and why
    ``come``, ``gone``   what levels hold more or less from its start or end on, without a transfer
    """

    place: int
    step: int
    ended: simpy.Event
    folds: PassFolds
    words: PassWords | None
    needs: list[Job] = field(default_factory=list)
    closes: list[tuple[int, int]] = field(default_factory=list)
    gaps: int = 0
    work: PassWork = field(default_factory=lambda: PassWork(0))
    come: list[LevelHeld] = field(default_factory=list)
    gone: list[LevelHeld] = field(default_factory=list)


@dataclass(frozen=True)
class _Carried:
    """A fill, a drain or an opening between two passes, and what it changes in the level inside."""

    what: str
    boundary: Boundary
    transfer: Transfer | None
    come: list[LevelHeld]
    gone: list[LevelHeld]


class TransferFeed:
    """Reads events, has them carried out, starts transfers (``start``) and hands out passes
    (``ready``).

    ``step`` is the step of each level that the latest pass read belongs to; ``ahead`` how many
    steps beyond those that ended must be read so that no transfer can be requested too late, for
    each level whose transfers take time.

    ``inside``, ``routes``, ``rules``  what moves in a pass, what a transfer holds, the array's time
    ``between``    boundaries with transfers; those that can take time are ``timed``
    ``slots``      by boundary: how many tiles there is room for
    ``above``      by level: the temporal loops that make its steps
    ``inner``      by boundary of sums: the one further in, whose drain comes first
    ``opens``      by level: the boundary of sums it is the child of
    ``exhausted``  whether all events are read
    """

    def __init__(
        self,
        inside: Inside,
        env: simpy.Environment,
        machine: Values,
        events: Iterable[Event],
        start: Callable[[Job], None],
        recorder: Recorder | None,
    ) -> None:
        self.env, self.machine, self.start, self.recorder = env, machine, start, recorder
        self.events: Iterator[Event] = iter(events)
        nest, self.inside = inside.nest, inside
        self.routes, self.rules = Routes(nest, inside.limits), ArrayRules(nest)
        pe, levels = nest.levels - 1, list(nest.arch.levels.values())
        self.between = [b for b in nest.boundaries if b.child < pe]
        self.slots = {
            b: 2 if levels[b.child].double_buffered or b.tensor in levels[b.child].queued else 1
            for b in self.between
        }
        self.above = {
            level: [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < level]
            for level in range(1, pe)
        }
        self.timed = [b for b in self.between if self.routes.takes_time(b)]
        self.ahead = {
            level: max(self.slots[b] for b in self.timed if b.child == level)
            for level in {b.child for b in self.timed}
        }
        sums = [b for b in self.between if b.tensor == nest.problem.accumulated]
        self.inner = {b: x for b in sums for x in sums if x.parent == b.child}
        self.opens = {b.child: b for b in sums}
        self.step = dict.fromkeys(self.above, -1)
        self.exhausted = False
        self.ready: deque[PassRecord] = deque()
        self._open: PassRecord | None = None
        self._setting: dict[int, tuple[int, ...]] = {}
        self._passes = self._places = 0
        self._moved: list[_Carried] = []
        # By level, the ends of its last two steps; by boundary of sums, what drained the last two
        # tiles; the latest fills that take time, by tensor and level; the latest drains.
        self._ends: dict[int, deque[simpy.Event]] = {level: deque(maxlen=2) for level in self.above}
        self._tiles: dict[Boundary, deque[Job | None]] = {b: deque(maxlen=2) for b in sums}
        self._fills: dict[tuple[str, int], list[Job]] = {}
        self._drains: dict[Boundary, Job] = {}

    def more(self) -> None:
        """Read on until one more pass is complete, or all is."""
        for event in self.events:
            self.machine.carry_out(event)
            if not isinstance(event, Pass):
                self._between(event)
            elif self._take(event):
                return
        if not self.exhausted:
            self.exhausted = True
            self._close(None)
            self._schedule(None)

    def _between(self, event: Event) -> None:
        """What happens between two passes; what leaves the PEs still belongs to the first of
        them.
        """
        if isinstance(event, PeDrain):
            if self._open is not None and self._open.words is not None:
                self._open.words.after(event, self.machine.first)
            return
        assert not isinstance(event, Pass)
        come, gone = held_changes(event) if self.recorder else ([], [])
        if isinstance(event, Fill):
            b, transfer = event.boundary, self.routes.fill(event)
            self._moved.append(_Carried("fill", b, transfer, come, gone))
        elif isinstance(event, Drain):
            b, transfer = event.boundary, self.routes.drain(event, self.machine.first)
            self._moved.append(_Carried("drain", b, transfer, come, gone))
        elif any(words.count for _, words in event.children):
            self._moved.append(_Carried("open", self.opens[event.level], None, come, gone))

    def _take(self, p: Pass) -> bool:
        """A pass, or a part of one; whether the pass before it is complete now."""
        setting = {level: tuple([p.at[i] for i in loops]) for level, loops in self.above.items()}
        record = self._open
        if record is None or setting != self._setting:
            before, telling = record.folds if record is not None else None, bool(self.recorder)
            words = PassWords(self.inside, told=telling) if self.inside.flows else None
            folds = PassFolds(self.rules, before, telling=telling)
            record = PassRecord(0, self._passes, self.env.event(), folds, words)
        record.folds.add(p.folds)
        if record.words is not None:
            record.words.add(p, self.machine.first)
        if record is self._open:
            return False
        complete = self._open is not None
        changed = [level for level in self.above if setting[level] != self._setting.get(level)]
        self._close(record, changed)
        for level in changed:
            self.step[level] += 1
        self._schedule(record)
        record.place = self._place()
        self._open, self._setting = record, setting
        self._passes += 1
        return complete

    def _close(self, following: PassRecord | None, changed: Iterable[int] | None = None) -> None:
        """The open pass is whole: how long it lasts, and what it is the last pass of."""
        record = self._open
        if record is None:
            return
        record.gaps = record.folds.close(following.folds.first if following is not None else None)
        words, record.words = record.words, None
        record.work = words.close(record.gaps) if words is not None else PassWork(record.gaps)
        for level in self.above if changed is None else changed:
            record.closes.append((level, self.step[level]))
            self._ends[level].append(record.ended)
        self.ready.append(record)

    def _schedule(self, following: PassRecord | None) -> None:
        """Start what moved between the pass before and the one that follows."""
        before = self._open
        tiles: dict[Boundary, Job | None] = {}
        for moved in self._moved:
            b, job = moved.boundary, None
            if moved.transfer is not None:
                job = self._job(moved, moved.transfer, last=following is None)
            else:  # takes no time: it is not waited for
                if following is not None:
                    following.come += moved.come
                if before is not None:
                    before.gone += moved.gone
            if moved.what == "fill":
                parents = self._fills.get((b.tensor, b.parent), [])
                mine = [*self._fills.get((b.tensor, b.child), []), *parents]
                mine = [j for j in mine if j.finished < 0] if job is None else [job]
                self._fills[b.tensor, b.child] = mine
                if job is not None and following is not None:
                    following.needs.append(job)
            else:
                tiles[b] = job or tiles.get(b)
                if job is not None:
                    self._drains[b] = job
        for b, job in tiles.items():
            history = self._tiles[b]
            history.append(job)
            earlier = history[-self.slots[b]] if len(history) >= self.slots[b] else None
            if earlier is not None and following is not None:
                following.needs.append(earlier)
        self._moved = []

    def _job(self, moved: _Carried, transfer: Transfer, *, last: bool) -> Job:
        """A transfer with what it waits for: the words and the room for them.  ``last`` if no pass
        follows.
        """
        b = moved.boundary
        ends, step, gone = self._ends[b.child], self.step[b.child], moved.gone
        if moved.what == "fill":
            waits = [ends[-self.slots[b]]] if len(ends) >= self.slots[b] else []
            waits += [j.done for j in self._fills.get((b.tensor, b.parent), [])]
            if self._open is not None:  # what it takes the place of goes with the pass before
                self._open.gone += gone
            gone = []
        else:
            waits = [ends[-1]]
            if b in self.inner and self.inner[b] in self._drains:
                waits.append(self._drains[self.inner[b]].done)
            step -= 0 if last else 1
        job = Job(transfer, self._place(), step, waits, self.env.event(), moved.come, gone)
        self.start(job)
        return job

    def _place(self) -> int:
        """The next place in the nest."""
        self._places += 1
        return self._places
