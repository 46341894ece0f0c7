"""A systolic array and the folds that go through it.

``issue`` asks the controller when a fold may start, puts its words before the ports and clocks the
array as far as no later fold can matter.  What registers do at an edge is in ``line_pes``.  The
cycle engine issues the folds of a nest; tests issue plain matrices, to compare them with hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    """A matrix of words [steps, lines]: values (of size 0: they are all zero), words (addresses;
    negative: padding, or none) and kinds, the bits of a tag that tell what a word is (0: none).

    Those that move are laid out by edge, [steps + lines - 1, lines]: line k is k edges late.  Their
    kinds grow from step to step as tags do.
    """

    values: Ints
    words: Ints
    kinds: Ints

    def by_edge(self, grow: int = pe.ONE) -> Stream:
        """Of a matrix."""
        kinds = self.kinds + (np.arange(len(self.kinds)) * grow).astype(self.kinds.dtype)[:, None]
        return Stream(by_edge(self.values), by_edge(self.words, BUBBLE), by_edge(kinds))

    def padded(self, *shape: int) -> Stream:
        """A matrix with bubbles below and to the right of it."""
        if shape == self.words.shape:
            return self
        n, m = self.words.shape
        values, words = np.zeros(shape, self.values.dtype), np.full(shape, BUBBLE)
        kinds = np.full(shape, pe.PRESENT, np.int16)
        values[:n, :m] = self.values if self.values.size else 0
        words[:n, :m], kinds[:n, :m] = self.words, self.kinds
        return Stream(values, words, kinds)

    def widened(self, lines: int) -> Stream:
        """By edge, with further lines of bubbles."""
        if lines == self.words.shape[1]:
            return self
        words = by_step(self.words)
        whole = Stream(by_step(self.values), words, by_step(self.kinds) & np.int16(pe.ONE - 1))
        return whole.padded(len(words), lines).by_edge()


def by_edge(matrix: Ints, empty: int = 0) -> Ints:
    """A matrix [steps, lines] by edge, ``empty`` where a line has no step."""
    if not matrix.size:
        return matrix
    steps, lines = matrix.shape
    laid = np.full((steps + lines - 1, lines), empty, matrix.dtype)
    by_step(laid)[...] = matrix
    return laid


def by_step(laid: Ints) -> Ints:
    """The matrix again that was laid out by edge, as a view of it."""
    if not laid.size:
        return laid
    (edges, lines), (down, right) = laid.shape, laid.strides
    shape = edges - lines + 1, lines
    return np.ndarray(shape, laid.dtype, laid, 0, (down, down + right))


def pieces(first: int, many: int, ring: int) -> Iterator[tuple[slice, slice]]:
    """Rows of a ring from one on, ``many`` at most once around: where they lie, and which of the
    many they are.
    """
    at, whole = first % ring, min(many, ring - first % ring)
    yield slice(at, at + whole), slice(0, whole)
    if many > whole:
        yield slice(many - whole), slice(whole, many)


@dataclass(frozen=True, eq=False)
class FoldTask:
    """What the array does in one fold.

    ``rows`` [T, r] moves along the rows, ``cols`` [T, c] down the columns, with outputs held.
    ``held`` [r, c]: the operand that is held; None: the one that is there stays.  ``sums``: [T, c],
    or with outputs held [r, c].  ``stays``: the outputs are not complete, the next fold adds to
    them.  What moves is laid out by edge.
    """

    rows: Stream
    sums: Stream
    held: Stream | None = None
    cols: Stream | None = None
    stays: bool = False

    @property
    def steps(self) -> int:
        """T."""
        edges, lines = self.rows.words.shape
        return int(edges - lines + 1)


@dataclass(eq=False)
class Landing:
    """Results of a fold: ``words`` and ``values``, [T, c] by edge of sums that moved, [r, c] of
    held ones; of a fully clocked array with bubbles below and to the right.
    """

    number: int
    words: Ints
    values: Ints


class Port:
    """What one side of the array is still to be given.  ``end`` is an edge after the last word,
    ``free`` the first at which line 0 may be given another; a wave is through ``reach`` edges after
    its last step.
    """

    def __init__(self, lines: int, dtype: Any, reach: int, tag: Any = np.int16) -> None:
        self.reach, self.end, self.free = reach, 0, 1
        values, tags = np.zeros((2, lines), dtype), np.zeros((2, lines), tag)
        waves = np.zeros((1 << (2 * reach).bit_length(), 7), np.int64)
        self.side = pe.Side(values, tags, waves, np.zeros(2, np.int64))

    def put(
        self, edge: int, start: int, stream: Stream, tag: int, flags: tuple[int, int] = (0, 0),
        across: int = 0, result: int = 0,
    ) -> Ints:  # fmt: skip
        """Give a fold's words, by edge, the first at edge ``start``, to an array that is at
        ``edge``; returns their tags, ``tag`` added.  Raises HazardError where two words want one
        port.
        """
        edges, lines = stream.words.shape
        steps = edges - lines + 1
        if start <= edge or start < self.free:
            raise HazardError(f"edge {start}: two words want the port of one line")
        self.free, self.end = start + steps, max(self.end, start + steps + lines)
        while self.end - edge > len(self.side.tags):
            self.side = self._longer(edge)
        side = self.side
        tags = stream.kinds & pe.PRESENT
        tags *= np.int64(tag).astype(tags.dtype)
        tags += stream.kinds
        flat = tags.ravel()  # of a step, every line's place is one more than a row on
        flat[: lines * lines : lines + 1] |= flags[0]
        flat[(steps - 1) * lines :: lines + 1] |= flags[1]
        for there, mine in pieces(start, edges, len(side.tags)):
            side.tags[there, :lines] |= tags[mine]
            if stream.values.size:
                side.values[there, :lines] |= stream.values[mine]
        ring, (first, after) = side.waves, side.span.tolist()
        while first < after and self._through(first) < edge:
            first += 1
        if after - first == len(ring):
            raise HazardError(f"edge {start}: more folds are under way than an array takes")
        ring[after % len(ring)] = start, steps, lines, across, *flags, result
        side.span[:] = first, after + 1
        return tags

    def _through(self, n: int) -> int:
        """The edge at which a wave is through."""
        wave = self.side.waves[n % len(self.side.waves)]
        return int(wave[pe.START]) + int(wave[pe.STEPS]) + self.reach

    def _longer(self, edge: int) -> pe.Side:
        """With a ring twice as long."""
        old = self.side
        edges = np.arange(edge + 1, edge + 1 + len(old.tags))
        values, tags = (np.zeros((2 * len(x), x.shape[1]), x.dtype) for x in old[:2])
        for ring, was in ((values, old.values), (tags, old.tags)):
            ring[edges % len(ring)] = was[edges % len(was)]
        return old._replace(values=values, tags=tags)


class SystolicArray:
    """``rows`` x ``cols`` PEs with their ports, and the clock.

    ``edge`` is the last edge clocked, 1 is the first; ``tally`` counts words and MACs as they are
    latched (places in ``line_pes``).  ``ready`` gets the Landing of every fold whose results are
    all there, ``watch`` is called after every edge.  ``narrow``: 16 bits do for operands and 32
    for sums.
    """

    pes: pe.HeldOperandPes | pe.HeldOutputPes
    controller: HeldOperandController | HeldOutputsController
    awaited: Any  # folds whose results are not all there
    cols_tag: Any = np.int16  # what tags have that enter at the columns

    def __init__(self, rows: int, cols: int, *, overlap: bool, full: bool, narrow: bool) -> None:
        self.rows, self.cols, self.overlap, self.full = rows, cols, overlap, full
        self.operand: Any = np.int16 if narrow else np.int64
        self.sum: Any = np.int32 if narrow else np.int64
        self.tally = np.zeros(16, np.int64)
        self.issued = self.slot = self.residency = self.expected = 0
        self.watch: Callable[[], None] | None = None
        self.ready: Callable[[Landing], None] | None = None
        self.reach = 2 * (rows + cols)
        self.rows_port = Port(rows, self.operand, self.reach)
        self.cols_port = Port(cols, self.operand, self.reach, self.cols_tag)
        # results of the last edge, if it is watched: what they are of, row and column there, value
        self.latest: list[tuple[int, ...]] = []
        # folds on their way, if they are watched: number, start, task
        self.flight: list[tuple[int, Start, FoldTask]] = []
        self.words: dict[int, Ints] = {}  # and the words of sums, by what they are of

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

    def _collect(self) -> None:
        """Hand on the folds whose results are all there."""
        raise NotImplementedError

    # the clock

    def run_to(self, edge: int, goal: int = FAR) -> None:
        """Clock up to an edge, or until so many results have been latched."""
        while self.edge < edge and self.tally[pe.LANDED] < goal:
            self._clock(min(edge, self.edge + (AT_ONCE if self.watch is None else 1)), goal)
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
        if self.awaited:
            raise HazardError(f"edge {self.edge}: results of a fold are missing")

    def _complain(self) -> None:
        row, col = divmod(int(self.tally[pe.ROW]), 1 + self.cols)
        what = {
            pe.MISMATCH: "words that do not belong together, a sum not added to by all",
            pe.UNEXPECTED: "a result has come out that no fold gives",
            pe.IN_USE: f"PE {row, col - 1}: a sum begins, or is shifted in, where another is",
        }[int(self.tally[pe.HAZARD])]
        raise HazardError(f"edge {self.edge}: {what}")

    def _tag(self) -> int:
        return self.residency << 6 & pe.RESIDENCY

    def _placed(self, words: Ints) -> Ints:
        """Tags of held words that are in their places."""
        kind = np.where(words == BUBBLE, 0, pe.USED) | np.where(words >= 0, pe.WORD, 0)
        return kind | pe.PRESENT | self._tag()

    def _whole(self, matrix: Stream) -> Stream:
        """Held words; of a fully clocked array with bubbles where it is not used."""
        return matrix.padded(self.rows, self.cols) if self.full else matrix

    def _wide(self, moving: Stream, lines: int) -> Stream:
        """Moving words; of a fully clocked array with bubbles in lines that are not used."""
        return moving.widened(lines) if self.full else moving

    def _feed(
        self, task: FoldTask, side: Port, other: Stream, start: Start, flags: tuple[int, int]
    ) -> Ints:
        """Give a fold's moving words to the ports; the tags of the other side's."""
        if self.watch is not None:
            gone = self.edge - self.rows - self.cols
            self.flight = [x for x in self.flight if x[1].operand + x[2].steps > gone]
            self.flight.append((self.issued, start, task))
        tag, lines = self.slot * pe.ONE & 0xFFFF | self._tag(), other.words.shape[1]
        rows, tags = self._wide(task.rows, self.rows), other.kinds
        for port, words in ((self.rows_port, rows), (side, other)):
            tags = port.put(self.edge, start.operand, words, tag, flags, lines, self.residency)
        self.slot += task.steps
        return tags

    def _go_on(self) -> None:
        """Clock as far as no further fold matters."""
        self.issued += 1
        self.run_to(self.controller.quiet())

    def _planes(self, *kinds: Any) -> Any:
        """A flat plane of each type."""
        return [np.zeros(self.rows * (1 + self.cols), x) for x in kinds]

    def _sliding(self, *kinds: Any, by: int) -> Any:
        """Planes in longer arrays, to go back ``by`` places an edge."""
        many = self.rows * (1 + self.cols)
        return [np.zeros(many + max(many, 64 * by), x) for x in kinds]

    def shown(self, plane: Ints, which: int) -> Ints:
        """What the PEs have of a sliding plane after an edge, [rows, columns]: one that moves right
        is which 0, one that moves down 1.
        """
        begin, many = self.pes.begin[which], self.rows * (1 + self.cols)
        places = plane[begin : begin + many].reshape(self.rows, -1)
        return places[:, 1:] if which else places[:, :-1]


@dataclass(eq=False)
class _Awaited:
    """Sums of a fold that move: its number, their tags, words and values by edge, the edge of the
    first result (0: not yet there), and how many edges of them are taken up.
    """

    number: int
    tags: Ints
    words: Ints
    values: Ints
    first: int = 0
    taken: int = 0


class HeldOperandArray(SystolicArray):
    """An operand held, the other moving right, sums moving down and latched in the bottom psum
    registers.
    """

    pes: pe.HeldOperandPes
    cols_tag = np.int64

    def __init__(
        self, rows: int, cols: int, *, overlap: bool, weight_registers: int = 1, full: bool = False,
        narrow: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(rows, cols, overlap=overlap, full=full, narrow=narrow)
        self.two = weight_registers == 2
        self.controller: HeldOperandController = HeldOperandController(rows, weight_registers)
        moving, moving_tag = self._sliding(self.operand, np.int16, by=1)
        sums, sums_tag = self._sliding(self.sum, np.int16, by=1 + cols)
        held, held_tag, load = self._planes(self.operand, np.int16, np.int64)
        shadow, shadow_tag = (
            np.zeros((1 + rows) * (1 + cols), x) for x in (self.operand, np.int64)
        )
        begin = np.zeros(2, np.int64)
        self.pes = pe.HeldOperandPes(
            moving, moving_tag, sums, sums_tag, begin, held, held_tag, load, shadow, shadow_tag
        )
        self.sums_port = Port(cols, self.sum, self.reach)
        self.out = self.sums_port.side._replace(
            values=np.zeros((AT_ONCE, cols), self.sum), tags=np.zeros((AT_ONCE, cols), np.int16)
        )
        self.looked = 0  # the edge up to which the first column's results are some fold's
        self.awaited: deque[_Awaited] = deque()
        self.held_words: dict[int, Ints] = {}  # by load, if they are watched
        self.size = 0, 0

    def issue(self, task: FoldTask) -> Start:
        r, held, new = task.rows.words.shape[1], task.held, task.held is not None
        self.size = self.size if held is None else held.words.shape
        if r != self.size[0]:
            raise ValueError(f"a fold feeds {r} rows, held are {self.size[0]}")
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        self.residency += new
        if held is not None:
            self._shift_in(self._whole(held), start)
        sums = self._wide(task.sums, self.cols)
        tags = self._feed(task, self.sums_port, sums, start, (pe.FIRST if new else 0, 0))
        values = np.empty(tags.shape, self.sum)
        self.awaited.append(_Awaited(self.issued, tags, sums.words, values))
        self.expected += task.steps * tags.shape[1]
        self._go_on()
        return start

    def _shift_in(self, held: Stream, start: Start) -> None:
        """The lowest row's words first."""
        kinds = held.kinds[::-1].astype(np.int64)
        upwards = Stream(held.values[::-1], held.words[::-1], kinds).by_edge(-1 << pe.HOPS)
        load = int(self.cols_port.side.span[pe.NEXT]) + 1
        tag = load << pe.LOAD | len(held.words) << pe.HOPS | self._tag()
        self.cols_port.put(self.edge, start.preload, upwards, tag)
        self.tally[pe.SHIFTING] = self.cols_port.end
        if self.watch is not None:
            there = {*self.pes.held_load.tolist(), *(self.pes.shadow_tag >> pe.LOAD).tolist()}
            self.held_words = {k: x for k, x in self.held_words.items() if k in there}
            self.held_words[load] = held.words

    def _collect(self) -> None:
        edge, self.latest = self.edge, []
        for one in self.awaited:
            one.first = one.first or self._first_result(edge)
            if not one.first:
                break
            lines = one.words.shape[1]
            self.looked = max(self.looked, one.first + len(one.words) - lines)
            self._take_up(one, min(edge + 1 - one.first, len(one.words)))
            if self.watch is not None and edge - one.first < len(one.words):
                self.words[one.number], k = by_step(one.words), edge - one.first
                self.latest += [
                    (one.number, k - j, j, int(one.values[k, j]))
                    for j in range(lines) if one.tags[k, j]
                ]  # fmt: skip
        while self.awaited and self.awaited[0].taken == len(self.awaited[0].words):
            one = self.awaited.popleft()
            if self.ready is not None:
                self.ready(Landing(one.number, one.words, one.values))

    def _first_result(self, edge: int) -> int:
        """Folds come out of the first column in the order they entered; 0: none has come."""
        first = max(self.looked, edge - AT_ONCE) + 1
        for there, mine in pieces(first, edge + 1 - first, AT_ONCE):
            came = np.flatnonzero(self.out.tags[there, 0])
            if len(came):
                return int(first + mine.start + came[0])
        return 0

    def _take_up(self, one: _Awaited, until: int) -> None:
        """Take what came out of a fold's sums up to an edge of it; they have the tags they entered
        with.
        """
        lines, done = one.words.shape[1], one.taken
        for there, mine in pieces(one.first + done, until - done, AT_ONCE):
            tags, k = self.out.tags[there, :lines], slice(done + mine.start, done + mine.stop)
            own = one.tags[k]
            tags ^= own  # they are gone
            if (tags & -(own & pe.PRESENT)).any():
                raise HazardError(f"edge {self.edge}: a result is another's than it should be")
            one.values[k] = self.out.values[there, :lines]
        one.taken = max(done, until)

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        r = self.rows if self.full else task.rows.words.shape[1]
        return self.controller.start(r, task.steps, new=new, after=after)

    def place_held(self, held: Stream) -> None:
        self.size = held.words.shape
        self.residency += 1
        words = self._whole(held).words
        n, m = words.shape
        self.pes.held_tag.reshape(self.rows, -1)[:n, 1 : 1 + m] = self._placed(words)

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_operand(
            last, goal, self.pes, self.rows_port.side, self.sums_port.side, self.cols_port.side,
            self.out, self.tally, self.two,
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
        moving, moving_tag = self._sliding(self.operand, np.int16, by=1)
        falling, falling_tag = self._sliding(self.operand, np.int16, by=1 + cols)
        sums, sums_tag, name, second, out_tag, out_name = self._planes(
            self.sum, np.int16, np.int64, self.sum, np.int16, np.int64
        )
        out = second if outputs == "register" else sums
        self.pes = pe.HeldOutputPes(
            moving, moving_tag, falling, falling_tag, np.zeros(2, np.int64), sums, sums_tag, name,
            out, out_tag, out_name,
        )  # fmt: skip
        self.results = self._room(4)
        self.news = np.zeros((rows * cols, 4), np.int64)
        self.awaited: dict[int, tuple[int, Ints]] = {}  # by residency: fold, words
        self.open = False  # the next fold adds to the sums that are there

    def _room(self, depth: int) -> pe.Results:
        """For results of so many residencies."""
        shape = depth, self.rows, self.cols
        values, words = np.zeros(shape, self.sum), np.zeros(shape, np.bool_)
        return pe.Results(values, words, np.zeros(depth, np.int64))

    def issue(self, task: FoldTask) -> Start:
        if task.cols is None:
            raise ValueError("a fold of held outputs needs operands for the columns")
        new, cols = not self.open, self._wide(task.cols, self.cols)
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        words = self._whole(task.sums).words
        if new:
            self._hold(words)
        self.open = task.stays
        if not task.stays:
            self.awaited[self.residency] = self.issued, words
            self.expected += words.size
        flags = pe.FIRST if new else 0, 0 if task.stays else pe.LAST
        self._feed(task, self.cols_port, cols, start, flags)
        self._go_on()
        return start

    def _hold(self, words: Ints) -> None:
        """Sums of a new residency begin."""
        self.residency += 1
        depth, (r, c) = len(self.results.missing), words.shape
        if self.residency - min(self.awaited, default=self.residency) >= depth:
            before, n = self.results, np.arange(self.residency - depth, self.residency)
            self.results = self._room(2 * depth)
            for larger, old in zip(self.results, before, strict=True):
                larger[n % len(larger)] = old[n % depth]
        at = self.residency % len(self.results.missing)
        self.results.words[at, :r, :c], self.results.missing[at] = words >= 0, words.size
        if self.watch is not None:
            gone = self.residency - self.reach
            self.words = {k: x for k, x in self.words.items() if k >= gone}
            self.words[self.residency] = words

    def _collect(self) -> None:
        self.latest = [tuple(x) for x in self.news[: self.tally[pe.NEWS]].tolist()]
        for n, (number, words) in list(self.awaited.items()):
            at, (r, c) = n % len(self.results.missing), words.shape
            if not self.results.missing[at]:
                del self.awaited[n]
                if self.ready is not None:
                    self.ready(Landing(number, words, self.results.values[at, :r, :c].copy()))

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        r = self.rows if self.full else task.rows.words.shape[1]
        return self.controller.start(r, task.steps, leaves=not task.stays, after=after)

    def place_held(self, held: Stream) -> None:
        """Unfinished sums, at zero: only the words count."""
        words = self._whole(held).words
        self._hold(words)
        self.open = self.controller.open = True
        grid = np.arange(len(self.pes.sums)).reshape(self.rows, -1)
        grid = grid[: words.shape[0], 1 : 1 + words.shape[1]]
        self.pes.sums_tag[grid] = self._placed(words)
        self.pes.name[grid] = (self.residency << 32) + np.arange(len(words))[:, None]

    def _clock(self, last: int, goal: int) -> None:
        news = self.news if self.watch is not None else self.news[:0]
        pe.clock_held_outputs(
            last, goal, self.pes, self.rows_port.side, self.cols_port.side, self.results, news,
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
