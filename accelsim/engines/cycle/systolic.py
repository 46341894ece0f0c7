"""A systolic array and the folds that go through it.

``issue`` asks the controller when a fold may start, puts its words before the ports and clocks the
array as far as no later fold can matter.  What registers do at an edge is in ``line_pes``.  The
cycle engine issues the folds of a nest; tests issue plain matrices, to compare them with hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle import line_pes as pe
from accelsim.engines.cycle.controller import (
    HeldOperandController,
    HeldOutputsController,
    Outputs,
    Start,
)
from accelsim.engines.cycle.levels import HazardError
from accelsim.engines.cycle.line_pes import BUBBLE

Ints = npt.NDArray[Any]
Kind = Literal["held_operand", "held_outputs"]
PartialFolds = Literal["exact", "full"]
FAR = 1 << 62
AT_ONCE = 1024  # edges that are clocked before results are looked at


class Stream(NamedTuple):
    """A matrix of words [steps, lines]: values, words (addresses; negative: padding, or none) and
    kinds, the bits of a tag that tell what a word is.
    """

    values: Ints
    words: Ints
    kinds: Ints

    def padded(self, *shape: int) -> Stream:
        """With bubbles below and to the right of it."""
        if shape == self.words.shape:
            return self
        n, m = self.words.shape
        values, words = np.zeros(shape, self.values.dtype), np.full(shape, BUBBLE)
        kinds = np.full(shape, pe.PRESENT, np.int16)
        values[:n, :m], words[:n, :m], kinds[:n, :m] = self
        return Stream(values, words, kinds)


@dataclass(frozen=True, eq=False)
class FoldTask:
    """What the array does in one fold.

    ``rows`` [T, r] moves along the rows, ``cols`` [T, c] down the columns, with outputs held.
    ``held`` [r, c]: the operand that is held; None: the one that is there stays.  ``sums``: [T, c],
    or with outputs held [r, c].  ``stays``: the outputs are not complete, the next fold adds to
    them.
    """

    rows: Stream
    sums: Stream
    held: Stream | None = None
    cols: Stream | None = None
    stays: bool = False

    @property
    def size(self) -> tuple[int, int, int]:
        """T, r and c."""
        return *self.rows.words.shape, self.sums.words.shape[1]

    def shown(self, shows: Callable[[Stream, int], Stream], number: int) -> FoldTask:
        """The fold of a number with other values in the place of all its own."""
        held, cols = (None if x is None else shows(x, number) for x in (self.held, self.cols))
        return FoldTask(shows(self.rows, number), shows(self.sums, number), held, cols, self.stays)


@dataclass(eq=False)
class Landing:
    """Results of a fold, ``values`` as its ``words`` are shaped (there are none if it stays), of a
    fully clocked array with bubbles; ``first``: the number of the first at each of the ``places``.
    """

    number: int
    words: Ints
    places: Ints
    first: Ints
    values: Ints


@dataclass(frozen=True)
class Build:
    """An array of ``rows`` x ``cols`` PEs with the options of ``array`` in an architecture.

    ``narrow``: 16 bits do for operands and 32 for sums.  ``multiplies``: if not, words move as they
    do, and sums stay what they begin with.
    """

    rows: int
    cols: int
    overlap: bool = False
    weight_registers: int = 1
    outputs: Outputs = "in_place"
    partial_folds: PartialFolds = "exact"
    narrow: bool = False
    multiplies: bool = True

    @property
    def kinds(self) -> tuple[Any, Any]:
        """Of operands and of sums."""
        return (np.int16, np.int32) if self.narrow else (np.int64, np.int64)

    def planes(self, *kinds: Any, more: int = 0) -> Any:
        """A flat plane of each type; with ``more`` places, to go back as many an edge."""
        many = self.rows * (1 + self.cols)
        return [np.zeros(many + (max(many, 64 * more) if more else 0), x) for x in kinds]


def longer(ring: Ints, low: Any) -> Ints:
    """A ring [numbers, lines] twice as long, with what it has from number ``low`` of each line
    on.
    """
    twice = np.zeros((2 * len(ring), ring.shape[1]), ring.dtype)
    n, line = low + np.arange(len(ring))[:, None], np.arange(ring.shape[1])
    twice[n % len(twice), line] = ring[n % len(ring), line]
    return twice


class Port:
    """What one side of the array is still to be given.  ``end`` is an edge after the last word,
    ``free`` the first at which line 0 may be given another.
    """

    def __init__(self, lines: int, kind: Any, tag: Any = np.int16) -> None:
        self.end, self.free = 0, 1
        self.side = pe.Side(np.zeros((2, lines), kind), np.zeros((2, lines), tag))

    def put(self, edge: int, start: int, stream: Stream, marks: Ints) -> None:
        """Give words, the first at edge ``start``, to an array that is at ``edge``.  Raises
        HazardError where two words want one port.
        """
        steps, lines = stream.words.shape
        if start <= edge or start < self.free:
            raise HazardError(f"edge {start}: two words want the port of one line")
        self.free, self.end = start + steps, max(self.end, start + steps + lines)
        while self.end - edge > len(self.side.tags):
            self.side = pe.Side(*(longer(ring, edge + 1) for ring in self.side))
        values = stream.values.astype(self.side.values.dtype, copy=False)
        pe.put(self.side, start, values, stream.kinds, marks.astype(self.side.tags.dtype))


class SystolicArray:
    """PEs on lines with their ports, and the clock.

    ``edge`` is the last edge clocked, 1 is the first; ``tally`` counts words and MACs as they are
    latched (places in ``line_pes``).  ``ready`` gets the Landing of every fold in their order,
    ``watch`` is called after every edge.  ``twins`` are given other values and do all else alike.
    """

    pes: pe.HeldOperandPes | pe.HeldOutputPes
    controller: HeldOperandController | HeldOutputsController

    def __init__(self, build: Build, places: int) -> None:
        self.build, self.rows, self.cols = build, build.rows, build.cols
        self.full = build.partial_folds == "full"
        self.tally = np.zeros(15, np.int64)
        self.issued = self.slot = self.residency = self.expected = 0
        self.watch: Callable[[], None] | None = None
        self.ready: Callable[[Landing], None] | None = None
        self.twins: list[tuple[SystolicArray, Callable[[Stream, int], Stream]]] = []
        self.reach = 2 * (self.rows + self.cols)
        ring = 1 << (2 * self.reach).bit_length()
        self.folds = pe.Folds(np.zeros((ring, 7), np.int64), np.zeros(2, np.int64))
        operand, kind = build.kinds
        self.rows_port = Port(self.rows, operand)
        rings, counts = np.zeros((2, 4, places), kind), np.zeros((3, places), np.int64)
        self.sums = pe.Sums(rings[0], rings[1].astype(np.int16), *counts)
        self.picked = np.zeros(places, np.int64)  # of every place
        self.awaited: deque[Landing] = deque()

    @property
    def edge(self) -> int:
        return int(self.tally[pe.EDGE])

    @property
    def last_result(self) -> int:
        """The last edge that latched a result."""
        return int(self.tally[pe.LAST_RESULT])

    # to be had from the two kinds of array

    def opens(self, task: FoldTask) -> bool:
        """Whether it does not go on with the held words that are there."""
        raise NotImplementedError

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        """When a fold starts, nothing of it before edge ``after``; the registers it needs are taken
        for it.
        """
        raise NotImplementedError

    def feed(self, task: FoldTask, start: Start, new: bool) -> None:
        """Give a fold's words to the ports."""
        raise NotImplementedError

    def _clock(self, last: int, goal: int) -> None:
        raise NotImplementedError

    # folds

    def issue(self, task: FoldTask) -> Start:
        """Reserve and feed a fold.  Clocks the array as far as no further fold can matter."""
        task, new = self._whole(task), self.opens(task)
        if new and not self.build.overlap:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        self._enlist(start.preload, start.operand, *task.size, new, not task.stays)
        self.feed(task, start, new)
        for twin, shows in self.twins:
            twin.feed(task.shown(shows, self.issued), start, new)
        self.issued += 1
        self.run_to(self.controller.quiet())
        return start

    def _whole(self, task: FoldTask) -> FoldTask:
        """With bubbles wherever a fully clocked array is not used."""
        (steps, _, _), rows, cols = task.size, self.rows, self.cols
        if not self.full:
            return task
        return replace(
            task,
            rows=task.rows.padded(steps, rows),
            sums=task.sums.padded(steps if task.cols is None else rows, cols),
            held=None if task.held is None else task.held.padded(rows, cols),
            cols=None if task.cols is None else task.cols.padded(steps, cols),
        )

    def _enlist(self, *fold: int) -> None:
        """A fold is under way, as others are that are not yet through."""
        (numbers, span), many = self.folds, len(self.folds.numbers)
        through = self.edge - self.reach
        while span[0] < span[1] and numbers[span[0] % many, [pe.START, pe.STEPS]].sum() < through:
            span[0] += 1
        if span[1] - span[0] == many:
            raise HazardError(f"edge {self.edge}: more folds are under way than an array takes")
        numbers[span[1] % many] = fold
        span[1] += 1

    def _marks(self, task: FoldTask, new: bool) -> Ints:
        """What tags of moving words have of their step."""
        steps = self.slot + np.arange(task.size[0])
        self.slot += len(steps)
        marks = (steps * pe.ONE).astype(np.int16) | np.int16(self._residency())
        marks[0] |= pe.FIRST * new
        marks[-1] |= pe.LAST * (not task.stays)
        return marks

    def _residency(self) -> int:
        return self.residency << 6 & pe.RESIDENCY

    def _expect(self, words: Ints, places: Ints, first: Ints, many: int) -> None:
        """So many results are to come to each of some places."""
        values = np.empty((many, len(places)), self.sums.values.dtype)
        self.awaited.append(Landing(self.issued, words, places, first, values))
        self.expected += values.size

    def _make_room(self, places: Ints, many: int) -> None:
        """For so many more sums at each of some places."""
        need = int((self.sums.given - self.picked)[places].max()) + many
        while need > len(self.sums.values):
            values, kinds, *counts = self.sums
            self.sums = pe.Sums(*(longer(x, self.picked) for x in (values, kinds)), *counts)

    # the clock

    def run_to(self, edge: int, goal: int = FAR) -> None:
        """Clock up to an edge, or until so many results have been latched."""
        while self.edge < edge and self.tally[pe.LANDED] < goal:
            self._clock(min(edge, self.edge + (AT_ONCE if self.watch is None else 1)), goal)
            for twin, _ in self.twins:
                twin.run_to(self.edge)
            if self.tally[pe.HAZARD]:
                self._complain()
            self._collect()
            if self.watch is not None:
                self.watch()

    def drain(self) -> None:
        """Clock until every result of the folds issued is there; raises HazardError if one never
        comes.
        """
        last = max(self.rows_port.end, self.edge) + 4 * (self.rows + self.cols)
        self.run_to(last, self.expected)
        self._collect()
        if self.awaited:
            raise HazardError(f"edge {self.edge}: results of a fold are missing")

    def _collect(self) -> None:
        """Hand on the folds whose results are all there."""
        while self.awaited:
            one = self.awaited[0]
            until = one.first + len(one.values)
            if (self.sums.landed[one.places] < until).any():
                return
            pe.pick(self.sums, one.places, one.first, one.values)
            if one.values.size:
                self.picked[one.places] = until
            self.awaited.popleft()
            if self.ready is not None:
                self.ready(one)

    def _complain(self) -> None:
        row, col = divmod(int(self.tally[pe.PLACE]), 1 + self.cols)
        what = {
            pe.MISMATCH: "words that do not belong together, a sum not added to by all",
            pe.UNEXPECTED: "a result has come out that no fold gives",
            pe.IN_USE: f"PE {row, col - 1}: a sum begins, or is shifted in, where another is",
        }[int(self.tally[pe.HAZARD])]
        raise HazardError(f"edge {self.edge}: {what}")

    def shown(self, plane: Ints, which: int) -> Ints:
        """What the PEs have of a sliding plane after an edge, [rows, columns]: one that moves right
        is which 0, one that moves down 1.
        """
        begin, many = self.pes.begin[which], self.rows * (1 + self.cols)
        places = plane[begin : begin + many].reshape(self.rows, -1)
        return places[:, 1:] if which else places[:, :-1]

    def twin(self, shows: Callable[[Stream, int], Stream]) -> SystolicArray:
        """An array in which other values go the ways of this one's, without being multiplied."""
        twin = type(self)(replace(self.build, multiplies=False))  # type: ignore[call-arg,arg-type]
        twin.folds = self.folds
        self.twins.append((twin, shows))
        return twin


class HeldOperandArray(SystolicArray):
    """An operand held, the other moving right, sums moving down and latched in the bottom psum
    registers.
    """

    pes: pe.HeldOperandPes

    def __init__(self, build: Build) -> None:
        super().__init__(build, build.cols)
        self.two = build.weight_registers == 2
        self.controller: HeldOperandController = HeldOperandController(
            self.rows, build.weight_registers
        )
        (operand, kind), width = build.kinds, 1 + self.cols
        shadow = [np.zeros((1 + self.rows) * width, x) for x in (operand, np.int64)]
        self.pes = pe.HeldOperandPes(
            *build.planes(operand, np.int16, more=1),
            *build.planes(kind, np.int16, more=width),
            np.zeros(2, np.int64),
            *build.planes(operand, np.int16),
            *shadow,
        )
        self.sums_port = Port(self.cols, kind)
        self.held_port = Port(self.cols, operand, np.int64)
        self.held_rows = 0

    def opens(self, task: FoldTask) -> bool:
        r = task.size[1] if task.held is None else len(task.held.words)
        self.held_rows = self.held_rows if task.held is None else r
        if task.size[1] != self.held_rows:
            raise ValueError(f"a fold feeds {task.size[1]} rows, held are {self.held_rows}")
        return task.held is not None

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        steps, r, _ = task.size
        return self.controller.start(self.rows if self.full else r, steps, new=new, after=after)

    def feed(self, task: FoldTask, start: Start, new: bool) -> None:
        steps, _, c = task.size
        places = np.arange(c)
        self.residency += new
        if task.held is not None:  # the lowest row's words first
            upwards = Stream(*(np.ascontiguousarray(x[::-1]) for x in task.held))
            hops = np.arange(len(upwards.words), 0, -1) << pe.ROW
            self.held_port.put(self.edge, start.preload, upwards, hops | self._residency())
            self.tally[pe.SHIFTING] = self.held_port.end
        marks = self._marks(task, new)
        self.rows_port.put(self.edge, start.operand, task.rows, marks)
        self.sums_port.put(self.edge, start.operand, task.sums, marks)
        self._make_room(places, steps)
        self._expect(task.sums.words, places, self.sums.given[places], steps)
        self.sums.given[places] += steps

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_operand(
            last, goal, self.pes, self.rows_port.side, self.sums_port.side, self.held_port.side,
            self.folds, self.sums, self.tally, self.two, self.build.multiplies,
        )  # fmt: skip


class HeldOutputsArray(SystolicArray):
    """Sums held, one operand moving right, the other down; results read in place or shifted down
    and out.
    """

    pes: pe.HeldOutputPes

    def __init__(self, build: Build) -> None:
        super().__init__(build, build.rows * build.cols)
        self.controller: HeldOutputsController = HeldOutputsController(self.rows, build.outputs)
        self.way_out = ("in_place", "accumulators", "register").index(build.outputs)
        operand, kind = build.kinds
        sums, sums_tag, second, out_tag = build.planes(kind, np.int16, kind, np.int64)
        self.pes = pe.HeldOutputPes(
            *build.planes(operand, np.int16, more=1),
            *build.planes(operand, np.int16, more=1 + self.cols),
            np.zeros(2, np.int64),
            sums,
            sums_tag,
            second if self.way_out == pe.REGISTER else sums,
            out_tag,
        )
        self.cols_port = Port(self.cols, operand)
        self.open = False  # the next fold adds to the sums that are there

    def opens(self, task: FoldTask) -> bool:
        new, self.open = not self.open, task.stays
        return new

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        steps, r, _ = task.size
        r = self.rows if self.full else r
        return self.controller.start(r, steps, leaves=not task.stays, after=after)

    def feed(self, task: FoldTask, start: Start, new: bool) -> None:
        if task.cols is None:
            raise ValueError("a fold of held outputs needs operands for the columns")
        _, r, c = task.size
        places = np.arange(self.rows * self.cols).reshape(self.rows, -1)[:r, :c].ravel()
        if new:
            self.residency += 1
            self._make_room(places, 1)
            at = self.sums.given[places] % len(self.sums.values)
            self.sums.values[at, places] = task.sums.values.ravel()
            self.sums.kinds[at, places] = task.sums.kinds.ravel()
            self.sums.given[places] += 1
        first = self.sums.given[places] - 1
        self._expect(task.sums.words, places, first, 0 if task.stays else 1)
        marks = self._marks(task, new)
        self.rows_port.put(self.edge, start.operand, task.rows, marks)
        self.cols_port.put(self.edge, start.operand, task.cols, marks)

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_outputs(
            last, goal, self.pes, self.rows_port.side, self.cols_port.side, self.folds, self.sums,
            self.tally, self.way_out, self.build.multiplies,
        )  # fmt: skip


def make_array(kind: Kind, R: int, C: int, **options: Any) -> SystolicArray:
    """An array of R x C PEs with the options of ``Build``."""
    return (HeldOperandArray if kind == "held_operand" else HeldOutputsArray)(
        Build(R, C, **options)
    )
