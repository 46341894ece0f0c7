"""A systolic array and the folds that go through it.

``issue`` asks the controller when a fold may start, puts its words before the ports and clocks the
array as far as no later fold can matter.  What registers do at an edge is in ``line_pes``.  The
cycle engine issues the folds of a nest; tests issue plain matrices, to compare them with hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle import line_pes as pe
from accelsim.engines.cycle.addresses import NOTHING, Where
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


class FoldTask(NamedTuple):
    """What the array does in one fold: ``rows`` [T, r] moves along the rows, ``falling`` [T, c]
    down the columns, ``held`` [r, c] is held; it is two operands and the sums.

    ``opens``: the held words are others than those of the fold before.  ``stays``: the held sums
    are not complete, the next fold adds to them.  Of a nest's folds also ``number``, ``at``: where
    the loops outside stand, ``slots``: which settings of those inside its steps are, and ``names``
    of the held words.
    """

    rows: Stream
    falling: Stream
    held: Stream
    opens: bool = True
    stays: bool = False
    number: int = 0
    at: Where = MappingProxyType({})
    slots: Ints = NOTHING
    names: Ints = NOTHING

    @property
    def size(self) -> tuple[int, int, int]:
        """T, r and c."""
        return *self.rows.words.shape, self.falling.words.shape[1]

    def padded(self, rows: int, cols: int) -> FoldTask:
        """With bubbles in the rows and columns of an array that are not used."""
        moving = [x.padded(self.size[0], n) for x, n in ((self.rows, rows), (self.falling, cols))]
        return self._replace(rows=moving[0], falling=moving[1], held=self.held.padded(rows, cols))

    def shown(self, shows: Callable[[Stream, int], Stream]) -> FoldTask:
        """With other values in the place of all its own."""
        rows, falling, held = (shows(x, self.number) for x in (self.rows, self.falling, self.held))
        return self._replace(rows=rows, falling=falling, held=held)


class Landing(NamedTuple):
    """Results of a fold, as its sums are shaped (there are none if it stays), of a fully clocked
    array with bubbles; ``first``: the number of the first at each of the ``places``.
    """

    task: FoldTask
    values: Ints
    places: Ints = NOTHING
    first: Ints = NOTHING


@dataclass(frozen=True)
class Build:
    """An array of ``rows`` x ``cols`` PEs of a kind with the options of ``array`` in an
    architecture.

    ``narrow``: 16 bits do for operands and 32 for sums.  ``multiplies``: if not, words move as they
    do, and sums stay what they begin with.
    """

    kind: Kind
    rows: int
    cols: int
    overlap: bool = False
    weight_registers: int = 1
    outputs: Outputs = "in_place"
    partial_folds: PartialFolds = "exact"
    narrow: bool = False
    multiplies: bool = True

    def pes(self) -> tuple[Any, Any]:
        """All registers, and the ports of rows, of what falls and of what is held."""
        operand: Any = np.int16 if self.narrow else np.int64
        kind: Any = np.int32 if self.narrow else np.int64
        width = 1 + self.cols
        moving = self._plane(operand, np.int16, more=1)
        begin = np.zeros(2, np.int64)
        if self.kind == "held_operand":
            falling, held = self._plane(kind, np.int16, more=width), self._plane(operand, np.int16)
            shadow = [np.zeros((1 + self.rows) * width, x) for x in (operand, np.int64)]
            ports = Port(self.rows, operand), Port(self.cols, kind), Port(self.cols, operand, True)
            return pe.HeldOperandPes._make((*moving, *falling, begin, *held, *shadow)), ports
        falling = self._plane(operand, np.int16, more=width)
        sums, out = self._plane(kind, np.int16), self._plane(kind, np.int64)
        if self.outputs != "register":
            out[0] = sums[0]
        ports = Port(self.rows, operand), Port(self.cols, operand), Port(0, operand, True)
        return pe.HeldOutputPes._make((*moving, *falling, begin, *sums, *out)), ports

    def _plane(self, kind: Any, tag: Any, more: int = 0) -> Any:
        """A flat plane of values and one of tags; with ``more`` places, to go back as many an
        edge.
        """
        many = self.rows * (1 + self.cols)
        return [np.zeros(many + (max(many, 64 * more) if more else 0), x) for x in (kind, tag)]


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

    def __init__(self, lines: int, kind: Any, shifted: bool = False) -> None:
        tags = np.zeros((2, lines), np.int64 if shifted else np.int16)
        self.end, self.free, self.side = 0, 1, pe.Side(np.zeros((2, lines), kind), tags)

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
        pe.put(self.side, start, values, stream.kinds, marks)


class SystolicArray:
    """PEs on lines with their ports, and the clock.

    ``edge`` is the last edge clocked, 1 is the first; ``tally`` counts words and MACs as they are
    latched (places in ``line_pes``).  ``ready`` gets the Landing of every fold in their order,
    ``watch`` is called after every edge.  ``twins`` are given other values and do all else alike.

    With an operand held, sums move down and are latched below their column; held sums are read in
    place or shifted down and out.
    """

    def __init__(self, build: Build) -> None:
        self.build, self.rows, self.cols = build, build.rows, build.cols
        self.outputs_held, full = build.kind == "held_outputs", build.partial_folds == "full"
        self.least = (self.rows, self.cols) if full else (0, 0)  # what every fold uses
        self.pes, self.ports = build.pes()
        self.controller: HeldOutputsController | HeldOperandController
        if self.outputs_held:
            self.controller = HeldOutputsController(self.rows, build.outputs)
            self.option = ("in_place", "accumulators", "register").index(build.outputs)
        else:
            self.controller = HeldOperandController(self.rows, build.weight_registers)
            self.option = build.weight_registers
        self.tally = np.zeros(15, np.int64)
        self.slot = self.residency = self.expected = self.due = 0
        self.watch: Callable[[], None] | None = None
        self.ready: Callable[[Landing], None] | None = None
        self.twins: list[tuple[SystolicArray, Callable[[Stream, int], Stream]]] = []
        self.reach = 2 * (self.rows + self.cols)
        ring = 1 << (2 * self.reach).bit_length()
        self.folds = pe.UnderWay(np.zeros((ring, 7), np.int64), np.zeros(2, np.int64))
        # where results are latched: PEs, or the columns
        self.places = np.arange(self.cols * (self.rows if self.outputs_held else 1))
        self.picked, *counts = np.zeros((4, len(self.places)), np.int64)
        kind = np.int32 if build.narrow else np.int64
        room = [np.zeros((4, len(self.places)), x) for x in (kind, np.int16)]
        self.sums = pe.Latches(*room, *counts)
        self.awaited: deque[Landing] = deque()

    @property
    def edge(self) -> int:
        return int(self.tally[pe.EDGE])

    @property
    def last_result(self) -> int:
        """The last edge that latched a result."""
        return int(self.tally[pe.LAST_RESULT])

    # -- folds -------------------------------------------------------------------------------------

    def issue(self, task: FoldTask) -> Start:
        """Reserve and feed a fold.  Clocks the array as far as no further fold can matter."""
        if self.least[0]:
            task = task.padded(*self.least)
        if task.opens and not self.build.overlap:
            self.drain()
        start = self.reserve(task, self.edge + 1)
        self._enlist(start.preload, start.operand, *task.size, task.opens, not task.stays)
        self.feed(task, start)
        for twin, shows in self.twins:
            twin.feed(task.shown(shows), start)
        self.run_to(self.controller.quiet())
        return start

    def reserve(self, task: FoldTask, after: int) -> Start:
        """When a fold starts, nothing of it before edge ``after``; the registers it needs are taken
        for it.
        """
        steps, r, _ = task.size
        r = max(r, self.least[0])
        return self.controller.start(r, steps, opens=task.opens, leaves=not task.stays, after=after)

    def _enlist(self, *fold: int) -> None:
        """A fold is under way, as others are that are not yet through."""
        numbers, (oldest, new) = self.folds.numbers, self.folds.span.tolist()
        through = self.edge - self.reach
        while (
            oldest < new
            and sum(numbers[oldest % len(numbers), pe.START : pe.STEPS + 1].tolist()) < through
        ):
            oldest += 1
        if new - oldest == len(numbers):
            raise HazardError(f"edge {self.edge}: more folds are under way than an array takes")
        numbers[new % len(numbers)] = fold
        self.folds.span[:] = oldest, new + 1

    def feed(self, task: FoldTask, start: Start) -> None:
        """Give a fold's words to the ports, and its results room."""
        steps, r, _ = task.size
        self.residency += task.opens
        residency = np.int64(self.residency << 6 & pe.RESIDENCY)
        self._expect(task)
        if task.opens and not self.outputs_held:  # the lowest row's words first
            upwards = Stream(*(np.ascontiguousarray(x[::-1]) for x in task.held))
            hops = np.arange(r, 0, -1) << pe.ROW
            self.ports[2].put(self.edge, start.preload, upwards, hops | residency)
            self.tally[pe.SHIFTING] = self.ports[2].end
        marks = (self.slot + np.arange(steps) << pe.STEP | residency).astype(np.int16)
        marks[0] |= pe.FIRST * task.opens
        marks[-1] |= pe.LAST * (not task.stays)
        for port, words in zip(self.ports, (task.rows, task.falling), strict=False):
            port.put(self.edge, start.operand, words, marks)
        self.slot += steps

    def _expect(self, task: FoldTask) -> None:
        """A fold's sums begin, and its results are to come to their places."""
        steps, r, c = task.size
        sums, places, many = self.sums, self.places[:c], steps
        if self.outputs_held:
            places, many = self.places.reshape(self.rows, -1)[:r, :c].ravel(), int(task.opens)
        self.due += many
        while self.due > len(sums.values):
            values, kinds = (longer(x, self.picked) for x in (sums.values, sums.kinds))
            sums = self.sums = sums._replace(values=values, kinds=kinds)
        first, sums.given[places] = sums.given[places], sums.given[places] + many
        if self.outputs_held:
            if task.opens:
                at = first % len(sums.values), places
                sums.values[at], sums.kinds[at] = task.held.values.ravel(), task.held.kinds.ravel()
            first, many = sums.given[places] - 1, int(not task.stays)
        values = np.empty((many, len(places)), sums.values.dtype)
        self.awaited.append(Landing(task, values, places, first))
        self.expected += values.size

    # -- the clock ---------------------------------------------------------------------------------

    def run_to(self, edge: int, goal: int = FAR) -> None:
        """Clock up to an edge, or until so many results have been latched."""
        clock = pe.clock_held_outputs if self.outputs_held else pe.clock_held_operand
        while self.edge < edge and self.tally[pe.LANDED] < goal:
            last = min(edge, self.edge + (AT_ONCE if self.watch is None else 1))
            landed = int(self.tally[pe.LANDED])
            rows, falling, held = (port.side for port in self.ports)
            clock(
                last, goal, self.pes, rows, falling, held, self.folds, self.sums, self.tally,
                self.option, self.build.multiplies,
            )  # fmt: skip
            for twin, _ in self.twins:
                twin.run_to(self.edge)
            if self.tally[pe.HAZARD]:
                self._complain()
            if self.tally[pe.LANDED] > landed:
                self._collect()
            if self.watch is not None:
                self.watch()

    def drain(self) -> None:
        """Clock until every result of the folds issued is there; raises HazardError if one never
        comes.
        """
        last = max(self.ports[0].end, self.edge) + 4 * (self.rows + self.cols)
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
                self.due -= len(one.values)
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

    # -- to be looked at ---------------------------------------------------------------------------

    def shown(self, plane: Ints, which: int) -> Ints:
        """What the PEs have of a sliding plane after an edge, [rows, columns]: one that moves right
        is which 0, one that moves down 1.
        """
        begin, many = self.pes.begin[which], self.rows * (1 + self.cols)
        places = plane[begin : begin + many].reshape(self.rows, -1)
        return places[:, 1:] if which else places[:, :-1]

    def twin(self, shows: Callable[[Stream, int], Stream]) -> SystolicArray:
        """An array in which other values go the ways of this one's, without being multiplied."""
        twin = SystolicArray(replace(self.build, multiplies=False))
        twin.folds = self.folds
        self.twins.append((twin, shows))
        return twin
