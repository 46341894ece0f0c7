"""A systolic array and the folds that go through it.

``issue`` asks the controller when a fold may start, puts its words before the ports and clocks the
array as far as no later fold can matter.  What registers do at an edge is in ``line_pes``.  The
cycle engine issues the folds of a nest; tests issue plain matrices, to compare them with hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
BLOCK = 1536  # steps of a fold that are fed at a time
ROOM = 1 << 15  # results that are latched before they are looked at


@dataclass(frozen=True, eq=False)
class Stream:
    """A matrix of words: values, words (addresses; negative: padding), and which of them the level
    outside reads (None: all).
    """

    values: Ints
    words: Ints
    read: npt.NDArray[np.bool_] | None = None

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
    """Results of a fold: ``words`` and ``values``, [T, c] of sums that moved, [r, c] of held ones;
    of a fully clocked array with bubbles below and to the right.  ``missing``: how many are not
    there yet.
    """

    number: int
    words: Ints
    values: Ints
    missing: int


class Port:
    """What one side of the array is still to be given, in a ring of so many edges; ``end`` is an
    edge after the last word.  ``named``: its registers keep what they hold.
    """

    def __init__(self, lines: int, edges: int, dtype: Any, *, named: bool = False) -> None:
        values, tags = np.zeros((edges, lines), dtype), np.zeros((edges, lines), np.int32)
        names, read = np.zeros((edges, lines * named), np.int64), np.zeros(edges, np.int64)
        self.feed, self.end = pe.Feed(values, tags, names, read), 0

    def put(
        self, now: int, start: int, stream: Stream, name: int, tag: int, grow: int, *flags: int
    ) -> None:
        """Give a fold's words [steps, lines], the first at edge ``start``; raises HazardError where
        two words want one port.
        """
        words, read = np.ascontiguousarray(stream.words), stream.read
        values = np.ascontiguousarray(stream.values, self.feed.values.dtype)
        read = np.ones(words.shape, bool) if read is None else np.ascontiguousarray(read)
        end = start + sum(words.shape)
        if not now < start <= end <= now + len(self.feed.read) or pe.put(
            self.feed, start, values, words, read, name, tag, grow, *flags
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
    controller: HeldOperandController | HeldOutputsController

    def __init__(self, rows: int, cols: int, *, overlap: bool, full: bool, narrow: bool) -> None:
        self.rows, self.cols, self.overlap, self.full = rows, cols, overlap, full
        self.dtype: Any = np.int32 if narrow else np.int64
        self.tally = np.zeros(16, np.int64)
        self.issued = self.slot = self.residency = self.expected = 0
        # what results are awaited, by what they are called for (see ``_expect``)
        self.awaited: dict[int, Landing] = {}
        self.words: dict[int, Ints] = {}  # and of which words they are
        self.watch: Callable[[], None] | None = None
        self.ready: Callable[[Landing], None] | None = None
        self.edges = 1 << (BLOCK + 4 * (rows + cols)).bit_length()
        self.rows_port = Port(rows, self.edges, self.dtype)
        room = ROOM + 2 * rows * (1 + cols)
        edge, name = np.zeros((2, room), np.int64)
        self.latched = pe.Latched(edge, name, np.zeros(room, self.dtype))
        self.latest = self._latest(0)
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
        for landing in self.awaited.values():
            raise HazardError(f"edge {self.edge}: results of fold {landing.number} are missing")

    def _complain(self) -> None:
        row, col = divmod(int(self.tally[pe.ROW]), 1 + self.cols)
        what = {
            pe.MISMATCH: "words that do not belong together, a sum not added to by all",
            pe.UNEXPECTED: f"a result comes out of column {col - 1} that no fold gives",
            pe.IN_USE: f"PE {row, col - 1}: a sum begins, or is shifted in, where another is",
        }[int(self.tally[pe.HAZARD])]
        raise HazardError(f"edge {self.edge}: {what}")

    def _name(self, key: int, words: Ints) -> int:
        """What the first of a fold's sums is called on its way: they are called for their fold,
        held ones for their residency.
        """
        self.words = {k: x for k, x in self.words.items() if k in self.awaited} | {key: words}
        return key << pe.FOLD_BITS

    def _expect(self, key: int) -> None:
        """The results of sums so called are awaited."""
        words = self.words[key]
        values = np.zeros(words.shape, self.dtype)
        self.awaited[key] = Landing(self.issued, words, values, words.size)
        self.expected += words.size

    def words_of(self, names: Ints) -> Ints:
        """The words of sums by what they are called; BUBBLE of those that are gone."""
        words = np.full(names.shape, BUBBLE)
        for key, matrix in self.words.items():
            mine = names >> pe.FOLD_BITS == key
            words[mine] = matrix.ravel()[names[mine] >> 1 & pe.PLACE]
        return words

    def _collect(self) -> None:
        """Put results where they belong; hand on the folds whose results are all there."""
        many, self.tally[pe.NEWS] = int(self.tally[pe.NEWS]), 0
        self.latest = self._latest(many)
        for key, landing in list(self.awaited.items()) if many else ():
            landing.missing -= pe.deliver(self.latched, many, key, landing.values.ravel())
            if not landing.missing:
                del self.awaited[key]
                if self.ready is not None:
                    self.ready(landing)

    def _latest(self, many: int) -> pe.Latched:
        return pe.Latched(*(x[:many] for x in self.latched))

    def _tag(self) -> int:
        return self.residency << 6 & pe.RESIDENCY

    def _placed(self, words: Ints) -> Ints:
        """Tags of held words that are in their places."""
        kind = np.where(words == BUBBLE, 0, pe.USED) | np.where(words >= 0, pe.WORD, 0)
        return kind | pe.PRESENT | self._tag()

    def _feed(
        self, task: FoldTask, side: Port, other: Stream, name: int, start: Start, *flags: int
    ) -> None:
        """Give a fold's moving words to the ports, some at a time so that they are at hand, and
        clock as far as no further fold matters.
        """
        if self.watch is not None:
            gone = self.edge - self.rows - self.cols
            self.flight = [x for x in self.flight if x[1].operand + len(x[2].rows.words) > gone]
            self.flight.append((self.issued, start, task))
        steps = len(task.rows.words)
        rows = task.rows.padded(steps, self.rows) if self.full else task.rows
        self.issued += 1
        for first in range(0, steps, BLOCK):
            part, end = slice(first, first + BLOCK), first + BLOCK >= steps
            tag = (self.slot + first) * pe.ONE & 0xFFFF | self._tag()
            mine = 0 if first else flags[0], flags[1] if end else 0
            for port, x in ((self.rows_port, rows), (side, other)):
                read = None if x.read is None else x.read[part]
                words = Stream(x.values[part], x.words[part], read)
                called = name + 2 * first * words.words.shape[1]
                port.put(self.edge, start.operand + first, words, called, tag, pe.ONE, *mine)
            at_most = self.controller.quiet()
            self.run_to(at_most if end else min(at_most, start.operand + first + BLOCK - 1))
        self.slot += steps

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
        super().__init__(rows, cols, overlap=overlap, full=full, narrow=narrow)
        self.two = weight_registers == 2
        self.controller: HeldOperandController = HeldOperandController(rows, weight_registers)
        held, tag, word = self._planes(None, np.int16, np.int64)
        shadow, shadow_tag, shadow_word = self._planes(None, np.int32, np.int64, extra=1)
        word[:] = shadow_word[:] = BUBBLE
        (moving, moving_tag), (sums, sums_tag) = self._moving(), self._moving(1)
        names = np.zeros((1 << (rows + 1).bit_length(), 1 + cols), np.int64)
        entered, left = np.zeros((2, 1 + cols), np.int64)
        self.pes = pe.HeldOperandPes(
            moving, moving_tag, sums, sums_tag, held, tag, word, shadow, shadow_tag, shadow_word,
            names, entered, left,
        )  # fmt: skip
        self.held_port = Port(cols, self.edges, self.dtype, named=True)
        self.sums_port = Port(cols, self.edges, self.dtype, named=True)
        self.size = 0, 0

    def issue(self, task: FoldTask) -> Start:
        (t, r), held, new = task.rows.words.shape, task.held, task.held is not None
        self.size = self.size if held is None else held.words.shape
        if r != self.size[0]:
            raise ValueError(f"a fold feeds {r} rows, held are {self.size[0]}")
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        self.residency += new
        if held is not None:
            whole = held.padded(self.rows, self.cols) if self.full else held
            read = None if whole.read is None else whole.read[::-1]
            upwards = Stream(whole.values[::-1], whole.words[::-1], read)
            tag = len(whole.words) << pe.HOPS | self._tag()
            self.held_port.put(self.edge, start.preload, upwards, -1, tag, -1 << pe.HOPS, 0, 0)
            self.tally[pe.SHIFTING] = self.held_port.end
        nothing = np.zeros(task.sums.shape, bool)
        sums = Stream(nothing, task.sums, nothing)
        sums = sums.padded(t, self.cols) if self.full else sums
        name = self._name(self.issued, sums.words)
        self._expect(self.issued)
        self._feed(task, self.sums_port, sums, name, start, pe.FIRST if new else 0, 0)
        return start

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.words.shape
        return self.controller.start(self.rows if self.full else r, t, new=new, after=after)

    def place_held(self, held: Stream) -> None:
        self.size = held.words.shape
        self.residency += 1
        words = (held.padded(self.rows, self.cols) if self.full else held).words
        n, m = words.shape
        self.pes.held_tag.reshape(self.rows, -1)[:n, 1 : 1 + m] = self._placed(words)

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_operand(
            last, goal, self.pes, self.rows_port.feed, self.sums_port.feed, self.held_port.feed,
            self.latched, self.tally, self.two,
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
        super().__init__(rows, cols, overlap=overlap, full=full, narrow=narrow)
        self.outputs: Outputs = outputs
        self.way_out = ("in_place", "accumulators", "register").index(outputs)
        self.controller: HeldOutputsController = HeldOutputsController(rows, outputs)
        sums, sums_tag, second, out_tag, out_name, begun, names = self._planes(
            None, np.int16, None, np.int16, np.int64, np.int64, np.int64
        )
        out = second if outputs == "register" else sums
        (moving, moving_tag), (falling, falling_tag) = self._moving(), self._moving(1)
        self.pes = pe.HeldOutputPes(
            moving, moving_tag, falling, falling_tag, sums, sums_tag, out, out_tag, out_name, begun,
            names[None],
        )  # fmt: skip
        self.planned = np.zeros_like(begun)  # sums each PE is to begin
        self.cols_port = Port(cols, self.edges, self.dtype)
        self.open = False  # the next fold adds to the sums that are there

    def issue(self, task: FoldTask) -> Start:
        if task.cols is None:
            raise ValueError("a fold of held outputs needs operands for the columns")
        new, cols = not self.open, task.cols
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        if new:
            self._hold(self._whole(task.sums))
        self.open = task.stays
        if not task.stays:
            self._expect(self.residency)
        cols = cols.padded(len(cols.words), self.cols) if self.full else cols
        first, last = pe.FIRST if new else 0, 0 if task.stays else pe.LAST
        self._feed(task, self.cols_port, cols, -1, start, first, last)
        return start

    def _whole(self, words: Ints) -> Ints:
        return Stream(words, words).padded(self.rows, self.cols).words if self.full else words

    def _hold(self, words: Ints) -> Ints:
        """Name the sums that a residency begins; returns their PEs."""
        self.residency += 1
        before, every = self.pes.names, np.arange(self.planned.size)
        grid = every.reshape(self.rows, -1)
        k = grid[: words.shape[0], 1 : 1 + words.shape[1]].ravel()
        if (self.planned - self.pes.begun).max() + 2 > len(before):
            deeper: Ints = np.zeros((2 * len(before), len(every)), np.int64)
            for back in range(1, len(before) + 1):
                n = self.planned - back
                deeper[n % len(deeper), every] = before[n % len(before), every]
            self.pes = self.pes._replace(names=deeper)
        names = self._name(self.residency, words) + 2 * np.arange(len(k)) + (words.ravel() >= 0)
        self.pes.names[self.planned[k] % len(self.pes.names), k] = names
        self.planned[k] += 1
        return k

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.words.shape
        r = self.rows if self.full else r
        return self.controller.start(r, t, leaves=not task.stays, after=after)

    def place_held(self, held: Stream) -> None:
        """Unfinished sums, at zero: only the words count."""
        words = self._whole(held.words)
        k = self._hold(words)
        self.open = self.controller.open = True
        self.pes.begun[k] = 1
        self.pes.sums_tag[k] = self._placed(words).ravel()

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_outputs(
            last, goal, self.pes, self.rows_port.feed, self.cols_port.feed, self.latched,
            self.tally, self.way_out,
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
