"""A systolic array and the folds that go through it.

``issue`` asks the controller when a fold may start, puts its words before the ports and clocks the
array as far as no later fold can matter.  What registers do at an edge is in ``line_pes``.  The
cycle engine issues the folds of a nest; tests issue plain matrices, to compare them with hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

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
BLOCK = 2048  # steps of a fold that are fed at a time


@dataclass(frozen=True, eq=False)
class Stream:
    """A matrix of words: values, words (addresses; negative: padding), and which of them the level
    outside reads (None: all).
    """

    values: Ints
    words: Ints
    read: npt.NDArray[np.bool_] | None = None

    def __getitem__(self, steps: slice) -> Stream:
        """Some of its lines."""
        read = None if self.read is None else self.read[steps]
        return Stream(self.values[steps], self.words[steps], read)

    def padded(self, *shape: int) -> Stream:
        """With bubbles below and to the right of it."""
        if shape == self.words.shape:
            return self
        n, m = self.words.shape
        values, words = np.zeros(shape, self.values.dtype), np.full(shape, BUBBLE)
        read = np.zeros(shape, bool)
        values[:n, :m], words[:n, :m] = self.values, self.words
        read[:n, :m] = True if self.read is None else self.read
        return Stream(values, words, read)


@dataclass(frozen=True, eq=False)
class FoldTask:
    """What the array does in one fold.

    ``rows`` [T, r] moves along the rows, ``cols`` [T, c] down the columns, with outputs held.
    ``held`` [r, c]: the operand that is held; None: the one that is there stays.  ``sums``: their
    words, [T, c], or with outputs held [r, c].  ``stays``: the outputs are not complete, the next
    fold adds to them.
    """

    rows: Stream
    sums: Ints
    held: Stream | None = None
    cols: Stream | None = None
    stays: bool = False


@dataclass(eq=False)
class Landing:
    """Results of a fold: [T, c] of sums that moved, [r, c] of held ones.

    ``number`` of the fold; ``start`` the first step whose sums they are, ``whole`` whether no
    further ones come.  ``used`` is the part of them that is no bubbles'.  In the order they are
    latched they are ``words`` [each, lanes], the n-th to n + each-th of the lanes ``lanes``; in a
    matrix of ``height`` rows, from the lowest on if ``upwards``.
    """

    number: int
    start: int
    whole: bool
    used: tuple[int, int]
    lanes: Ints
    n: Ints
    words: Ints
    height: int
    upwards: bool
    values: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def take(self, results: pe.Results) -> bool:
        """Whether all results are there; they are then taken."""
        if (results.arrived[self.lanes] < self.n + len(self.words)).any():
            return False
        values = np.empty(self.words.shape, results.values.dtype)
        pe.take(results, self.lanes, self.n, values)
        self.values = self.matrix(values)
        return True

    def matrix(self, latched: Ints) -> Ints:
        """What comes in the order of latching, as it lies in the fold."""
        lies = latched.reshape(self.height, -1)
        return lies[::-1] if self.upwards else lies


class Port:
    """What one side of the array is still to be given; ``end`` is an edge after the last word.
    ``named``: its registers keep which word they hold.
    """

    def __init__(self, lines: int, dtype: Any, *, named: bool = False) -> None:
        self.lines, self.dtype, self.named, self.end = lines, dtype, named, 0
        self.feed = self._ring(1)

    def _ring(self, edges: int) -> pe.Feed:
        shape = edges, self.lines
        values, tags = np.zeros(shape, self.dtype), np.zeros(shape, np.int32)
        words = np.zeros((edges, self.lines * self.named), np.int64)
        return pe.Feed(values, tags, words, np.zeros(edges, np.int64))

    def put(
        self, now: int, start: int, stream: Stream, tag: int, grow: int, *, first: bool, last: bool
    ) -> None:
        """Give a fold's words [steps, lines], the first at edge ``start``; raises HazardError where
        two words want one port.
        """
        steps, lines = stream.words.shape
        end, before = start + steps + lines, self.feed
        if end - now > len(before.read):
            self.feed = self._ring(1 << (end - now).bit_length())
            edges = np.arange(now + 1, self.end)
            for was, ring in zip(before, self.feed, strict=True):
                ring[edges % len(ring)] = was[edges % len(was)]
        read = np.ones((steps, lines), bool) if stream.read is None else stream.read
        values = np.ascontiguousarray(stream.values, self.dtype)
        words = np.ascontiguousarray(stream.words)
        flags = pe.FIRST if first else 0, pe.LAST if last else 0
        if start <= now or pe.put(
            self.feed, start, values, words, np.ascontiguousarray(read), tag, grow, *flags
        ):
            raise HazardError(f"edge {start}: two words want the port of one line")
        self.end = max(self.end, end)


class SystolicArray:
    """``rows`` x ``cols`` PEs with their ports, and the clock.

    ``edge`` is the last edge clocked, 1 is the first; ``tally`` counts words and MACs as they are
    latched (places in ``line_pes``).  ``ready`` gets the Landing of every fold whose results are
    all there, ``watch`` is called after every edge.  ``narrow``: 32 bits do for sums.
    """

    pes: pe.HeldOperandPes | pe.HeldOutputPes
    side: Port  # of what does not move along the rows: sums or the falling operand
    controller: HeldOperandController | HeldOutputsController

    def __init__(
        self, rows: int, cols: int, lanes: int, *, overlap: bool, full: bool, narrow: bool
    ) -> None:
        self.rows, self.cols, self.overlap, self.full = rows, cols, overlap, full
        self.dtype: Any = np.int32 if narrow else np.int64
        self.tally = np.zeros(16, np.int64)
        self.issued = self.slot = self.residency = self.expected = 0
        # results that are awaited; the same before the last edge
        self.landings: list[Landing] = []
        self.latest = self.landings
        self.watch: Callable[[], None] | None = None
        self.ready: Callable[[Landing], None] | None = None
        self.rows_port = Port(rows, self.dtype)
        self.results = self._lanes(1, lanes)
        # folds on their way, if they are watched: number, start, task
        self.flight: list[tuple[int, Start, FoldTask]] = []

    @property
    def edge(self) -> int:
        return int(self.tally[pe.EDGE])

    @property
    def last_result(self) -> int:
        """The last edge that latched a result."""
        return int(self.tally[pe.LAST_RESULT])

    # to be had from the two kinds of array

    def issue(self, task: FoldTask) -> Start:
        """Reserve and feed a fold.  Clocks the array as far as no further fold can matter."""
        raise NotImplementedError

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        """When a fold starts, nothing of it before edge ``after``; the registers it needs are taken
        for it.
        """
        raise NotImplementedError

    def place_held(self, held: Stream) -> None:
        """Held words as an earlier fold would have left them."""
        raise NotImplementedError

    def _clock(self, last: int, goal: int) -> None:
        raise NotImplementedError

    # the clock

    def run_to(self, edge: int, goal: int = FAR) -> None:
        """Clock up to an edge, or until so many results have been latched."""
        while self.edge < edge and self.tally[pe.LANDED] < goal:
            self._clock(edge if self.watch is None else self.edge + 1, goal)
            self._check()
            self.latest = self.landings
            self._collect()
            if self.watch is not None:
                self.watch()

    def drain(self) -> None:
        """Clock until every result of the folds issued is there; raises HazardError if one never
        comes.
        """
        last = max(self.rows_port.end, self.edge) + 4 * (self.rows + self.cols)
        self.run_to(last, self.expected)
        if self.landings:
            raise HazardError(
                f"edge {self.edge}: results of fold {self.landings[0].number} are missing"
            )

    def _check(self) -> None:
        hazard, row, col = (int(x) for x in self.tally[[pe.HAZARD, pe.ROW, pe.COL]])
        if hazard:
            at = row // (1 + self.cols), row % (1 + self.cols) - 1
            what = {
                pe.MISMATCH: "words that do not belong together, a sum not added to by all",
                pe.UNEXPECTED: f"a result comes out of lane {col} that no fold gives",
                pe.IN_USE: f"PE {at}: a sum begins, or is shifted in, where another is",
            }[hazard]
            raise HazardError(f"edge {self.edge}: {what}")

    def _lanes(self, depth: int, lanes: int) -> pe.Results:
        return pe.Results(np.zeros((depth, lanes), self.dtype), *np.zeros((3, lanes), np.int64))

    def _expect(
        self, lanes: Ints, words: Ints, used: tuple[int, int], *, start: int = 0,
        whole: bool = True, height: int, upwards: bool = False,
    ) -> None:  # fmt: skip
        """Make room for results of a fold, of which ``words`` [each, lanes] are the words."""
        results, each = self.results, len(words)
        n = results.expected[lanes]
        oldest = min(int(x.n.min()) for x in self.landings) if self.landings else int(n.min())
        need = int(n.max()) + each - min(oldest, int(n.min()))
        if need > len(results.values):
            deeper = self._lanes(1 << need.bit_length(), results.values.shape[1])
            for x in self.landings:
                at = x.n + np.arange(len(x.words))[:, None]
                was, now = results.values, deeper.values
                now[at % len(now), x.lanes] = was[at % len(was), x.lanes]
            self.results = results = results._replace(values=deeper.values)
        results.expected[lanes] += each
        self.expected += each * len(lanes)
        self.landings.append(
            Landing(self.issued, start, whole, used, lanes, n, words, height, upwards)
        )

    def latched(self) -> Iterator[tuple[Landing, Ints]]:
        """What was latched at this edge: of a landing, which of its ``words`` [each, lanes]."""
        for x in self.latest:
            each = self.results.arrived[x.lanes] - 1 - x.n
            now = self.results.edge[x.lanes] == self.edge
            lanes = np.flatnonzero(now & (each >= 0) & (each < len(x.words)))
            yield x, each[lanes] * len(x.lanes) + lanes

    def _collect(self) -> None:
        """Hand on the folds whose results are all there."""
        done = [x for x in self.landings if x.take(self.results)]
        self.landings = [x for x in self.landings if x not in done]
        for landing in done:
            if self.ready is not None:
                self.ready(landing)

    def _feed(
        self, task: FoldTask, other: Stream, start: Start, *, new: bool, leaves: bool
    ) -> None:
        """Give a fold's moving words to the ports, some at a time so that they are at hand, and
        clock as far as no further fold matters.
        """
        if self.watch is not None:
            gone = self.edge - self.rows - self.cols
            self.flight = [x for x in self.flight if x[1].operand + len(x[2].rows.words) > gone]
            self.flight.append((self.issued, start, task))
        rows = task.rows.padded(len(task.rows.words), self.rows) if self.full else task.rows
        tag, steps = self.residency << 6 & pe.RESIDENCY, len(rows.words)
        for first in range(0, steps, BLOCK):
            part, end = slice(first, first + BLOCK), first + BLOCK >= steps
            self._feeds(other.words[part], first, end)
            for port, stream in ((self.rows_port, rows), (self.side, other)):
                port.put(
                    self.edge,
                    start.operand + first,
                    stream[part],
                    (self.slot + first) * pe.ONE & 0xFFFF | tag,
                    pe.ONE,
                    first=new and not first,
                    last=leaves and end,
                )
            at_most = self.controller.quiet()
            self.run_to(at_most if end else min(at_most, start.operand + first))
        self.issued += 1
        self.slot += steps

    def _feeds(self, words: Ints, start: int, end: bool) -> None:
        """Some steps of a fold are fed."""

    def _planes(self, *kinds: Any, extra: int = 0) -> Any:
        """A flat plane of each type; None is that of values."""
        places = (self.rows + extra) * (1 + self.cols)
        return [np.zeros(places, self.dtype if x is None else x) for x in kinds]

    def _moving(self, extra: int = 0) -> Any:
        """Planes of values and tags that move, before and after an edge."""
        return [np.stack([x, x]) for x in self._planes(None, np.int16, extra=extra)]


class HeldOperandArray(SystolicArray):
    """An operand held, the other moving right, sums moving down and latched in the bottom psum
    registers.
    """

    pes: pe.HeldOperandPes

    def __init__(
        self, rows: int, cols: int, *, overlap: bool, weight_registers: int = 1, full: bool = False,
        narrow: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(rows, cols, cols, overlap=overlap, full=full, narrow=narrow)
        self.two = weight_registers == 2
        self.controller: HeldOperandController = HeldOperandController(rows, weight_registers)
        held, tag, word, shadow, shadow_tag, shadow_word = self._planes(
            None, np.int16, np.int64, None, np.int32, np.int64
        )
        word[:] = shadow_word[:] = BUBBLE
        if not self.two:
            shadow, shadow_word = held, word
        (moving, moving_tag), (sums, sums_tag) = self._moving(), self._moving(1)
        self.pes = pe.HeldOperandPes(
            moving, moving_tag, sums, sums_tag, held, tag, word, shadow, shadow_tag, shadow_word
        )
        self.held_port, self.side = Port(cols, self.dtype, named=True), Port(cols, self.dtype)
        self.size = 0, 0

    def issue(self, task: FoldTask) -> Start:
        (t, r), held, new = task.rows.values.shape, task.held, task.held is not None
        if held is not None:
            self.size = held.values.shape[0], held.values.shape[1]
        if r != self.size[0]:
            raise ValueError(f"a fold feeds {r} rows, held are {self.size[0]}")
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        self.residency += new
        if held is not None:
            stream = held.padded(self.rows, self.cols) if self.full else held
            ones = np.ones(stream.words.shape, bool) if stream.read is None else stream.read
            upwards = Stream(stream.values[::-1], stream.words[::-1], ones[::-1])
            tag = len(ones) << pe.HOPS | self.residency << 6 & pe.RESIDENCY
            self.held_port.put(
                self.edge, start.preload, upwards, tag, -1 << pe.HOPS, first=False, last=False
            )
            self.tally[pe.SHIFTING] = self.held_port.end
        words, nothing = task.sums, np.zeros(task.sums.shape, self.dtype)
        sums = Stream(nothing, words, nothing > 0)
        if self.full:
            sums = sums.padded(t, self.cols)
        self._feed(task, sums, start, new=new, leaves=False)
        return start

    def _feeds(self, words: Ints, start: int, end: bool) -> None:
        lanes, used = np.arange(words.shape[1]), (len(words), self.size[1])
        self._expect(lanes, words, used, start=start, whole=end, height=len(words))

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.values.shape
        return self.controller.start(self.rows if self.full else r, t, new=new, after=after)

    def place_held(self, held: Stream) -> None:
        self.size = held.values.shape[0], held.values.shape[1]
        self.residency += 1
        stream = held.padded(self.rows, self.cols) if self.full else held
        n, m = stream.words.shape
        flags = np.where(stream.words == BUBBLE, 0, pe.USED) | np.where(
            stream.words >= 0, pe.WORD, 0
        )
        plane = self.pes.held_tag.reshape(self.rows, -1)
        plane[:n, 1 : 1 + m] = flags | pe.PRESENT | self.residency << 6 & pe.RESIDENCY

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_operand(
            last, goal, self.pes, self.rows_port.feed, self.side.feed, self.held_port.feed,
            self.results, self.tally, self.two,
        )  # fmt: skip


class HeldOutputsArray(SystolicArray):
    """Sums held, one operand moving right, the other down; results read in place or shifted down
    and out.
    """

    pes: pe.HeldOutputPes

    def __init__(
        self, rows: int, cols: int, *, overlap: bool, outputs: Outputs = "in_place",
        full: bool = False, narrow: bool = False,
    ) -> None:  # fmt: skip
        lanes = rows * cols if outputs == "in_place" else cols
        super().__init__(rows, cols, lanes, overlap=overlap, full=full, narrow=narrow)
        self.outputs: Outputs = outputs
        self.way_out = ("in_place", "accumulators", "register").index(outputs)
        self.controller: HeldOutputsController = HeldOutputsController(rows, outputs)
        sums, sums_tag, second, out_tag, out_word, begun, words = self._planes(
            None, np.int16, None, np.int16, np.int64, np.int64, np.int64
        )
        out = second if outputs == "register" else sums
        (moving, moving_tag), (falling, falling_tag) = self._moving(), self._moving(1)
        self.pes = pe.HeldOutputPes(
            moving, moving_tag, falling, falling_tag, sums, sums_tag, out, out_tag, out_word,
            begun, words[None],
        )  # fmt: skip
        self.planned = np.zeros_like(begun)  # sums each PE is to begin
        self.side = Port(cols, self.dtype)
        self.open = False  # the next fold adds to the sums that are there

    def issue(self, task: FoldTask) -> Start:
        if task.cols is None:
            raise ValueError("a fold of held outputs needs operands for the columns")
        (t, r), c = task.rows.values.shape, task.cols.values.shape[1]
        new, leaves = not self.open, not task.stays
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        if new:
            self._hold(task.sums)
        self.open = task.stays
        cols, words, height = task.cols, task.sums, r
        if self.full:
            cols = cols.padded(t, self.cols)
            nothing = np.zeros(words.shape, bool)
            words, height = Stream(nothing, words).padded(self.rows, self.cols).words, self.rows
        width = words.shape[1]
        if leaves and self.outputs == "in_place":
            lanes = (np.arange(height)[:, None] * self.cols + np.arange(width)).ravel()
            self._expect(lanes, words.reshape(1, -1), (r, c), height=height)
        elif leaves:
            self._expect(np.arange(width), words[::-1], (r, c), upwards=True, height=height)
        self._feed(task, cols, start, new=new, leaves=leaves)
        return start

    def _hold(self, words: Ints) -> None:
        """The words of the sums that a residency begins."""
        self.residency += 1
        whole = np.full((self.rows, 1 + self.cols), BUBBLE)
        whole[: words.shape[0], 1 : 1 + words.shape[1]] = words
        r, c = (self.rows, self.cols) if self.full else words.shape
        mine = np.zeros(whole.shape, bool)
        mine[:r, 1 : 1 + c] = True
        k, before = np.flatnonzero(mine), self.pes.words
        need = 1 + int((self.planned - self.pes.begun).max()) + 1
        if need > len(before):
            deeper = np.zeros((1 << need.bit_length(), before.shape[1]), np.int64)
            for back in range(1, len(before) + 1):
                n = self.planned - back
                at = np.arange(before.shape[1])
                deeper[n % len(deeper), at] = before[n % len(before), at]
            self.pes = self.pes._replace(words=deeper)
        self.pes.words[self.planned[k] & (len(self.pes.words) - 1), k] = whole.ravel()[k]
        self.planned[k] += 1

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.values.shape
        return self.controller.start(
            self.rows if self.full else r, t, leaves=not task.stays, after=after
        )

    def place_held(self, held: Stream) -> None:
        """Unfinished sums, at zero: only the words count."""
        self._hold(held.words)
        self.open = self.controller.open = True
        mine = self.planned > 0
        self.pes.begun[mine] = 1
        words = self.pes.words[0]
        flags = np.where(words == BUBBLE, 0, pe.USED) | np.where(words >= 0, pe.WORD, 0)
        tag = flags | pe.PRESENT | self.residency << 6 & pe.RESIDENCY
        self.pes.sums_tag[mine] = tag[mine]

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_outputs(
            last, goal, self.pes, self.rows_port.feed, self.side.feed, self.results, self.tally,
            self.way_out,
        )  # fmt: skip


def make_array(
    kind: Kind, R: int, C: int, *, overlap: bool, weight_registers: int, outputs: Outputs,
    partial_folds: PartialFolds, narrow: bool = False,
) -> HeldOperandArray | HeldOutputsArray:  # fmt: skip
    """An array of R x C PEs with the options of ``array`` in an architecture."""
    full = partial_folds == "full"
    if kind == "held_operand":
        return HeldOperandArray(
            R, C, overlap=overlap, weight_registers=weight_registers, full=full, narrow=narrow
        )
    return HeldOutputsArray(R, C, overlap=overlap, outputs=outputs, full=full, narrow=narrow)
