"""A systolic array and the folds that go through it.

``issue`` asks the controller when a fold may start, puts its words before the ports and clocks the
array as far as no later fold can matter.  The registers and what they do are in ``line_pes``.  The
cycle engine issues the folds of a nest; ``run_folds`` plain matrices, for comparison with hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from accelsim.engines.cycle.line_pes import FLAGS, USED, WORD

Ints = npt.NDArray[Any]
Kind = Literal["held_operand", "held_outputs"]
PartialFolds = Literal["exact", "full"]
BUBBLE = -2  # the word of a register that holds nothing, or nothing of a MAC's
EMPTY = -1  # the slot of a PE that rests
FAR = 1 << 62


@dataclass(frozen=True, eq=False)
class Stream:
    """A matrix of words: values, words (addresses; negative: padding), and which of them the level
    outside reads (None: all).
    """

    values: Ints
    words: Ints
    read: npt.NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Stream:
        """A plain matrix; its words are called 0, 1, ..."""
        return cls(values.astype(np.int64), np.arange(values.size).reshape(values.shape))


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
    """The results of a fold: values and edges, [T, c] of sums that moved, [r, c] of held ones."""

    number: int
    used: tuple[int, int]  # the part of them that is no bubbles'
    first: int  # where they are latched: so many places of the window from this one on,
    places: int
    shape: tuple[int, int]  # and this many rows and columns in each
    values: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    edges: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))


class Port:
    """What one side of the array is still to be given."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.blocks: list[tuple[int, int, Ints, Ints]] = []  # first edge, end, values, tags
        self._feed: pe.Feed | None = None

    def put(self, edge: int, values: Ints, tags: Ints) -> None:
        """The first word of line 0 enters at ``edge``; tags [steps, lines] may have more lines than
        values.
        """
        whole = np.zeros(tags.shape, self.dtype)
        whole[:, : values.shape[1]] = values
        self.blocks.append((edge, edge + tags.shape[0] + tags.shape[1], whole, tags))
        self._feed = None

    def drop(self, edge: int) -> None:
        """Forget what has entered."""
        if self.blocks and self.blocks[0][1] <= edge:
            self.blocks = [x for x in self.blocks if x[1] > edge]
            self._feed = None

    def end(self) -> int:
        """An edge after the last word has entered."""
        return max((x[1] for x in self.blocks), default=0)

    @property
    def feed(self) -> pe.Feed:
        if self._feed is None:
            shapes = [tags.shape for _, _, _, tags in self.blocks]
            steps, lines = np.array(shapes, np.int64).reshape(-1, 2).T.copy()
            start = np.array([x[0] for x in self.blocks], np.int64)
            none = [np.zeros(0, self.dtype)]
            values = np.concatenate([*(x.ravel() for _, _, x, _ in self.blocks), *none])
            tags = np.concatenate([*(x.ravel() for _, _, _, x in self.blocks), *none])
            offset = np.cumsum(steps * lines) - steps * lines
            self._feed = pe.Feed(start, steps, lines, offset, values, tags)
        return self._feed


class SystolicArray:
    """``rows`` x ``cols`` PEs with their ports, and the clock.

    ``edge`` is the last edge clocked, 1 is the first; ``tally`` counts words and MACs as they are
    latched (places in ``line_pes``).  ``ready`` gets the Landing of every fold whose results are
    all there, ``watch`` is called after every edge.  ``places``: how many places a tag must tell
    apart for values and tags of 32 bits to do; None: they have 64.
    """

    def __init__(
        self, rows: int, cols: int, *, overlap: bool, full: bool, places: int | None
    ) -> None:
        self.rows, self.cols, self.overlap, self.full = rows, cols, overlap, full
        spare = 0 if places is None else 31 - FLAGS - places.bit_length()
        narrow = places is not None and 1 << spare > 4 * (rows + cols)
        self.dtype: Any = np.int32 if narrow and spare > 0 else np.int64
        self.place = 1 << (places.bit_length() if narrow and places is not None else 28)
        self.residencies = 1 << (spare if narrow else 27)
        self.tally = np.zeros(18, np.int64)
        self.issued = self.slot = self.residency = self.wave = self.expected = 0
        self.landings: dict[int, Landing] = {}
        self.watch: Callable[[], None] | None = None
        self.ready: Callable[[Landing], None] | None = None
        self.rows_port, self.cols_port = Port(self.dtype), Port(self.dtype)
        self.results = self._window(1)
        self.folds: list[
            tuple[int, int, int, int, FoldTask]
        ] = []  # watched only, see ``_remember``
        self.held_words: dict[int, Ints] = {}

    @property
    def edge(self) -> int:
        return int(self.tally[pe.EDGE])

    @property
    def last_result(self) -> int:
        """The last edge that latched a result."""
        return int(self.tally[pe.LAST_RESULT])

    # to be had from the two kinds of array

    lines_held = 1  # rows of a place of the window

    def issue(self, task: FoldTask) -> Start:
        """Reserve and feed a fold.  Clocks the array as far as no further fold can matter."""
        raise NotImplementedError

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        """When a fold starts, nothing of it before edge ``after``; the registers it needs are taken
        for it.
        """
        raise NotImplementedError

    def _clock(self, last: int, goal: int) -> None:
        raise NotImplementedError

    def planes(self) -> dict[str, tuple[Ints, Ints]]:
        """What the registers hold after an edge, [rows, columns]: values and words (``BUBBLE``:
        nothing).
        """
        raise NotImplementedError

    # the clock

    def run_to(self, edge: int, goal: int = FAR) -> None:
        """Clock up to an edge, or until so many results have been latched."""
        while self.edge < edge and self.tally[pe.LANDED] < goal:
            self._clock(edge if self.watch is None else self.edge + 1, goal)
            self._check()
            out = self._left() if self.watch is not None else []
            self._collect()
            if self.watch is not None:
                self.out = out
                self.watch()
        self.rows_port.drop(self.edge)
        self.cols_port.drop(self.edge)

    def drain(self) -> None:
        """Clock until every result of the folds issued is there; raises HazardError if one never
        comes.
        """
        last = max(self.rows_port.end(), self.edge) + 4 * (self.rows + self.cols)
        self.run_to(last, self.expected)
        if self.landings:
            raise HazardError(f"edge {self.edge}: results of fold {min(self.landings)} are missing")

    def _check(self) -> None:
        hazard, row, col = (int(x) for x in self.tally[[pe.HAZARD, pe.ROW, pe.COL]])
        if hazard:
            what = {
                pe.PORT_TAKEN: f"two words want the port of line {row}",
                pe.MISMATCH: "words that do not belong together, a sum not added to by all",
                pe.TWICE: f"a result of row {row}, column {col} comes twice",
                pe.IN_USE: f"PE ({row}, {col}): a sum begins, or is shifted in, where another is",
            }[hazard]
            raise HazardError(f"edge {self.edge}: {what}")

    def _window(self, places: int) -> pe.Results:
        shape = (places, self.lines_held, self.cols)
        return pe.Results(
            np.zeros(shape, self.dtype), np.zeros(shape, np.int64), np.zeros(places, np.int64)
        )

    def _expect(self, landing: Landing) -> None:
        """Make room for the results of a fold."""
        before = self.results
        oldest = min((x.first for x in self.landings.values()), default=landing.first)
        need = landing.first + landing.places - oldest
        if need > len(before.landed):
            self.results = self._window(1 << need.bit_length())
            for x in self.landings.values():
                for was, now in zip(before, self.results, strict=True):
                    places = np.arange(x.first, x.first + x.places)
                    now[places % len(now)] = was[places % len(was)]
        self.landings[landing.number] = landing
        self.expected += landing.places * landing.shape[0] * landing.shape[1]

    def _collect(self) -> None:
        """Hand on the folds whose results are all there."""
        values, edges, count = self.results
        for landing in list(self.landings.values()):
            height, width = landing.shape
            first = landing.first % len(count)
            places: Any = slice(first, first + landing.places)
            if first + landing.places > len(count):
                places = np.arange(first, first + landing.places) % len(count)
            if (count[places] < height * width).any():
                continue
            landing.values = values[places, :height, :width].copy().reshape(-1, width)
            landing.edges = edges[places, :height, :width].copy().reshape(-1, width)
            edges[places] = count[places] = 0
            del self.landings[landing.number]
            if self.ready is not None:
                self.ready(landing)

    def _tags(self, words: Ints, read: Any, shape: tuple[int, int], first: int) -> Ints:
        """Tags of words of the residency of now, step by step of the places from ``first`` on, all
        or some of them ``read``; what the shape has more are bubbles.
        """
        tags = np.empty(shape, self.dtype)
        read = np.broadcast_to(read, words.shape).copy() if isinstance(read, bool) else read
        residency = self.residency % self.residencies
        pe.tag(words, read, tags, residency, first, self.place)
        return tags

    def _operands(self, stream: Stream, lines: int, *, first: bool, last: bool) -> Ints:
        """Tags of the words of a fold, [T, lines]; a fully clocked array gets bubbles in the lines
        not used.
        """
        t, n = stream.words.shape
        read = True if stream.read is None else stream.read
        tags = self._tags(stream.words, read, (t, lines if self.full else n), self.slot)
        tags[0] |= pe.FIRST if first else 0
        tags[-1] |= pe.LAST if last else 0
        tags[-1, -1] |= pe.GO if last else 0
        return tags

    def _plane(self, *shape: int) -> tuple[Ints, Ints]:
        return np.zeros(shape, self.dtype), np.zeros(shape, self.dtype)

    # what a trace is told

    def _remember(self, task: FoldTask, start: Start, number: int) -> None:
        """Keep a fold's words for as long as tags may tell of them."""
        if self.watch is not None:
            t = len(task.rows.values)
            self.folds = [x for x in self.folds if x[3] + self.rows + self.cols >= self.edge]
            self.folds.append((self.slot, t, number, start.operand + t, task))

    def _streamed(self, tags: Ints, words: Callable[[FoldTask], Ints], line: Ints) -> Ints:
        """The words of moving registers: each by its tag's place, and the line it is in."""
        names = np.full(tags.shape, BUBBLE, np.int64)
        for first, t, _, _, task in self.folds:
            step, whole = ((tags >> FLAGS) - first) % self.place, words(task)
            mine = (tags & pe.PRESENT > 0) & (step < t) & (line < whole.shape[1])
            names[mine] = whole[step[mine], line[mine]]
        return names

    def _resident(self, tags: Ints, row: Ints, column: Ints) -> Ints:
        """The words of registers that hold: each by its tag's residency, and where it belongs."""
        names = np.full(tags.shape, BUBBLE, np.int64)
        ago = (self.residency - (tags >> FLAGS) // self.place) % self.residencies
        for back in np.unique(ago[tags & pe.PRESENT > 0]).tolist():
            whole = self.held_words[self.residency - back]
            mine = (tags & pe.PRESENT > 0) & (ago == back)
            mine &= (row < whole.shape[0]) & (column < whole.shape[1])
            names[mine] = whole[row[mine], column[mine]]
        return names

    def frame(self) -> tuple[npt.NDArray[np.bool_], Ints]:
        """PEs that multiplied at this edge, and what they worked on, as fold << 32 | step."""
        tags, both = self._met()
        active = both & (pe.PRESENT | USED) == pe.PRESENT | USED
        slots = np.full(tags.shape, EMPTY, np.int64)
        for first, t, number, _, _ in self.folds:
            step = ((tags.astype(np.int64) >> FLAGS) - first) % self.place
            mine = active & (step < t)
            slots[mine] = (number << 32) + step[mine]
        return active, slots

    def _places(self) -> tuple[Ints, Ints]:
        """The row and the column of every PE."""
        where = np.indices((self.rows, self.cols))
        return where[0], where[1]

    def _met(self) -> tuple[Ints, Ints]:
        """Tags of the operands that moved along the rows; flags they share with what they met."""
        raise NotImplementedError

    def _left(self) -> list[tuple[int, int, int]]:
        """Column, word and value of every result latched at this edge."""
        raise NotImplementedError


class HeldOperandArray(SystolicArray):
    """An operand held, the other moving right, sums moving down and latched in the bottom psum
    registers.
    """

    def __init__(
        self, rows: int, cols: int, *, overlap: bool, weight_registers: int = 1, full: bool = False,
        places: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(rows, cols, overlap=overlap, full=full, places=places)
        self.two = weight_registers == 2
        self.controller = HeldOperandController(rows, weight_registers)
        held = self._plane(rows, 1 + cols)
        self.pes = pe.HeldOperandPes(
            *self._plane(2, rows, 1 + cols), *self._plane(2, 1 + rows, 1 + cols), *held,
            *(self._plane(rows, 1 + cols) if self.two else held), *self._plane(1 + cols),
        )  # fmt: skip
        self.held_port = Port(self.dtype)
        self.size, self.shifting = (0, 0), 0

    def issue(self, task: FoldTask) -> Start:
        (t, r), held, new = task.rows.values.shape, task.held, task.held is not None
        if held is not None:
            self.size = held.values.shape[0], held.values.shape[1]
        if r != self.size[0]:
            raise ValueError(f"a fold feeds {r} rows, held are {self.size[0]}")
        c = self.size[1]
        width = self.cols if self.full else c
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        number, self.issued = self.issued, self.issued + 1
        self.residency += new
        self._expect(Landing(number, (t, c), self.slot, t, (1, width)))
        if held is not None:
            values, tags = self._home(held)
            self.held_port.drop(self.edge)
            self.held_port.put(start.preload, values[::-1], tags[::-1])
            self.shifting = self.held_port.end()
            self.wave = start.operand + self.rows + self.cols
            if self.watch is not None:
                self.held_words[self.residency] = held.words
        self._remember(task, start, number)
        self.rows_port.put(
            start.operand,
            task.rows.values,
            self._operands(task.rows, self.rows, first=new, last=False),
        )
        tags = self._tags(task.sums, False, (t, width), self.slot)
        self.cols_port.put(start.operand, np.zeros(tags.shape, self.dtype), tags)
        self.slot += t
        self.run_to(self.controller.quiet())
        return start

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.values.shape
        return self.controller.start(self.rows if self.full else r, t, new=new, after=after)

    def _home(self, held: Stream) -> tuple[Ints, Ints]:
        """Values and tags of held words, [rows, columns], each its way to its row before it."""
        (r, c), full = held.values.shape, (self.rows, self.cols)
        values = np.zeros(full if self.full else (r, c), self.dtype)
        values[:r, :c] = held.values
        read = True if held.read is None else held.read
        return values, self._tags(held.words, read, (values.shape[0], values.shape[1]), 1)

    def place_held(self, held: Stream) -> None:
        """Held words as an earlier fold would have left them, all at home."""
        self.size = held.values.shape[0], held.values.shape[1]
        self.residency += 1
        values, tags = self._home(held)
        height, width = tags.shape
        self.pes.held[:height, 1 : 1 + width] = values
        home = tags - (np.arange(1, height + 1) << FLAGS)[:, None].astype(self.dtype)
        self.pes.held_tag[:height, 1 : 1 + width] = home

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_operand(
            last, goal, self.pes, self.rows_port.feed, self.cols_port.feed, self.held_port.feed,
            self.results, self.tally, self.place, self.two, self.wave, self.shifting,
        )  # fmt: skip

    def _now(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Registers and tags of what moves right and what moves down, after the edge."""
        k, p = self.edge & 1, self.pes
        return p.moving[k, :, 1:], p.moving_tag[k, :, 1:], p.sums[k, 1:, 1:], p.sums_tag[k, 1:, 1:]

    def _met(self) -> tuple[Ints, Ints]:
        _, tags, _, sums = self._now()
        return tags, tags & sums

    def planes(self) -> dict[str, tuple[Ints, Ints]]:
        moving, moving_tag, sums, sums_tag = self._now()
        row, column = self._places()
        shown = {
            "rows": (moving, self._streamed(moving_tag, lambda x: x.rows.words, row)),
            "sums": (sums, self._streamed(sums_tag, lambda x: x.sums, column)),
        }
        for name, values, tags in (
            ("held", self.pes.held[:, 1:], self.pes.held_tag[:, 1:]),
            ("shadow", self.pes.shadow[:, 1:], self.pes.shadow_tag[:, 1:]),
        ):
            home = row + (tags >> FLAGS) % self.place
            shown[name] = values, self._resident(tags, home, column)
        all_tags = {"rows": moving_tag, "sums": sums_tag}
        all_tags |= {"held": self.pes.held_tag[:, 1:], "shadow": self.pes.shadow_tag[:, 1:]}
        return {k: (np.where(all_tags[k] != 0, v, np.int64(0)), w) for k, (v, w) in shown.items()}

    def ports(self) -> dict[str, tuple[Ints, Ints]]:
        """Values and words that entered at this edge, by side."""
        planes = self.planes()
        column = np.arange(self.cols)
        tags = (
            self.pes.shift_tag[1:] if self.edge <= self.shifting else np.zeros(self.cols, np.int64)
        )
        words = self._resident(tags, (tags >> FLAGS) % self.place - 1, column)
        rows = planes["rows"][0][:, 0], planes["rows"][1][:, 0]
        return {"rows": rows, "held": (self.pes.shift[1:], words)}

    def _left(self) -> list[tuple[int, int, int]]:
        """Column, word and value of every result latched at this edge."""
        values, words = (x[-1] for x in self.planes()["sums"])
        there = np.flatnonzero(self._now()[3][-1]).tolist()
        return [(j, int(words[j]), int(values[j])) for j in there]


class HeldOutputsArray(SystolicArray):
    """Sums held, one operand moving right, the other down; results read in place or shifted down
    and out.
    """

    def __init__(
        self, rows: int, cols: int, *, overlap: bool, outputs: Outputs = "in_place",
        full: bool = False, places: int | None = None,
    ) -> None:  # fmt: skip
        self.lines_held = rows
        super().__init__(rows, cols, overlap=overlap, full=full, places=places)
        self.outputs: Outputs = outputs
        self.way_out = ("in_place", "accumulators", "register").index(outputs)
        self.controller = HeldOutputsController(rows, outputs)
        sums = self._plane(rows, 1 + cols)
        self.pes = pe.HeldOutputPes(
            *self._plane(2, rows, 1 + cols), *self._plane(2, 1 + rows, 1 + cols), *sums,
            *(self._plane(rows, 1 + cols) if outputs == "register" else sums),
        )  # fmt: skip
        self.flags = np.zeros((1, rows, cols), np.int64)
        self.open = False  # the next fold adds to the sums that are there

    def issue(self, task: FoldTask) -> Start:
        if task.cols is None:
            raise ValueError("a fold of held outputs needs operands for the columns")
        (t, r), c = task.rows.values.shape, task.cols.values.shape[1]
        new, leaves = not self.open, not task.stays
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        number, self.issued = self.issued, self.issued + 1
        if new:
            self._hold(task.sums)
        self.open = task.stays
        if leaves:
            shape = (self.rows, self.cols) if self.full else (r, c)
            self._expect(Landing(number, (r, c), self.residency, 1, shape))
        if new or leaves:
            self.wave = start.operand + t + self.rows + self.cols
        self._remember(task, start, number)
        for side, stream, lines in (
            (self.rows_port, task.rows, self.rows), (self.cols_port, task.cols, self.cols)
        ):  # fmt: skip
            side.put(
                start.operand, stream.values, self._operands(stream, lines, first=new, last=leaves)
            )
        self.slot += t
        self.run_to(self.controller.quiet())
        return start

    def _hold(self, words: Ints) -> None:
        """Begin a residency: the words its sums are of."""
        self.residency += 1
        oldest = min((x.first for x in self.landings.values()), default=self.residency)
        need = self.residency - oldest + 1
        if need > len(self.flags):
            flags = np.zeros((1 << need.bit_length(), self.rows, self.cols), np.int64)
            for back in range(min(len(self.flags), self.residency)):
                number = self.residency - 1 - back
                flags[number % len(flags)] = self.flags[number % len(self.flags)]
            self.flags = flags
        mine = self.flags[self.residency % len(self.flags)]
        mine[:] = 0
        mine[: words.shape[0], : words.shape[1]] = np.where(words >= 0, WORD, 0)
        if self.watch is not None:
            self.held_words[self.residency] = words

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.values.shape
        return self.controller.start(
            self.rows if self.full else r, t, leaves=not task.stays, after=after
        )

    def place_held(self, held: Stream) -> None:
        """Unfinished sums as earlier folds would have left them; at zero, only the words count."""
        self._hold(held.words)
        self.open = self.controller.open = True
        r, c = (self.rows, self.cols) if self.full else held.words.shape
        before = self._tags(held.words, False, (r, c), 0)
        place = (self.residency % self.residencies * self.place + self.place - 1) << FLAGS
        self.pes.sums_tag[:r, 1 : 1 + c] = before & pe.OWN_FLAGS | place

    def _clock(self, last: int, goal: int) -> None:
        pe.clock_held_outputs(
            last, goal, self.pes, self.rows_port.feed, self.cols_port.feed, self.flags,
            self.results, self.tally, self.place, self.way_out, self.wave,
        )  # fmt: skip

    def _now(self) -> tuple[Ints, Ints, Ints, Ints]:
        k, p = self.edge & 1, self.pes
        return (
            p.moving[k, :, 1:],
            p.moving_tag[k, :, 1:],
            p.falling[k, 1:, 1:],
            p.falling_tag[k, 1:, 1:],
        )

    def _met(self) -> tuple[Ints, Ints]:
        _, tags, _, falling = self._now()
        return tags, tags & falling

    def planes(self) -> dict[str, tuple[Ints, Ints]]:
        moving, moving_tag, falling, falling_tag = self._now()
        row, column = self._places()
        active, _ = self.frame()
        sums, sums_tag, out, out_tag = (x[:, 1:] for x in self.pes[4:])
        added = np.where(active & (sums_tag == 0), moving_tag, sums_tag)
        shown = {
            "rows": (moving, moving_tag, self._streamed(moving_tag, lambda x: x.rows.words, row)),
            "cols": (falling, falling_tag, self._streamed(falling_tag, _cols, column)),
        }
        for name, values, tags in (("sums", sums, added), ("shift", out, out_tag)):
            made = np.where(tags & pe.DONE > 0, (tags >> FLAGS) % self.place, row)
            made = np.where(active & (sums_tag == 0), row, made) if name == "sums" else made
            shown[name] = values, tags, self._resident(tags, made, column)
        return {k: (np.where(t != 0, v, np.int64(0)), w) for k, (v, t, w) in shown.items()}

    def ports(self) -> dict[str, tuple[Ints, Ints]]:
        planes = self.planes()
        (rows, row_words), (cols, col_words) = planes["rows"], planes["cols"]
        return {"rows": (rows[:, 0], row_words[:, 0]), "cols": (cols[0], col_words[0])}

    def _left(self) -> list[tuple[int, int, int]]:
        results = []
        for landing in self.landings.values():
            window = landing.first % len(self.results.landed)
            words = self.held_words[landing.first]
            for i, j in np.argwhere(self.results.edges[window] == self.edge).tolist():
                inside = i < words.shape[0] and j < words.shape[1]
                word = int(words[i, j]) if inside else BUBBLE
                results.append((i, j, word, int(self.results.values[window, i, j])))
        key = (lambda x: x[:2]) if self.outputs == "in_place" else (lambda x: x[1:2])
        return [x[1:] for x in sorted(results, key=key)]


def _cols(task: FoldTask) -> Ints:
    assert task.cols is not None
    return task.cols.words


class MatrixResult(NamedTuple):
    """One result: fold, (word, column) or with outputs held (row, column), the edge that latched
    it, its value.
    """

    fold: int
    i: int
    j: int
    edge: int
    value: int


@dataclass(frozen=True, eq=False)
class Fold:
    """Plain matrices of one fold: ``rows`` (T, r), ``held`` (r, c) or None, ``cols`` (T, c) or
    None.

    ``held`` None of a held operand: the words of the fold before stay.  ``stays``, of held outputs:
    the next fold adds on.
    """

    rows: npt.NDArray[Any]
    held: npt.NDArray[Any] | None = None
    cols: npt.NDArray[Any] | None = None
    stays: bool = False


def run_folds(
    kind: Kind, R: int, C: int, folds: Sequence[Fold], *, overlap: bool = False,
    weight_registers: int = 1, outputs: Outputs = "in_place", partial_folds: PartialFolds = "exact",
) -> list[MatrixResult]:  # fmt: skip
    """Clock plain matrices through an array of R x C; every result with the number of the edge that
    latched it.

    ``held_operand``: sums over the rows of ``held`` times ``rows``; i is the streamed word, the
    edge is the bottom psum register's.  ``held_outputs``: sums over T of ``rows`` times ``cols``;
    (i, j) is the PE, the edge that of its last product (read in place) or of the register beyond
    the array.  Results are sorted by fold, i and j; a fully clocked array also has those of its
    bubbles, which are zero.  Values are int64 and wrap there.  Raises ValueError for matrices that
    do not fit, HazardError if two words collide.
    """
    array = make_array(
        kind, R, C, overlap=overlap, weight_registers=weight_registers, outputs=outputs,
        partial_folds=partial_folds,
    )  # fmt: skip
    results: list[MatrixResult] = []

    def take(x: Landing) -> None:
        for i, j in np.ndindex(x.values.shape):
            results.append(MatrixResult(x.number, i, j, int(x.edges[i, j]), int(x.values[i, j])))

    array.ready = take
    width = 0
    for fold in folds:
        _check(kind, R, C, fold, width)
        rows, held, cols = (
            None if x is None else Stream.of(x) for x in (fold.rows, fold.held, fold.cols)
        )
        assert rows is not None
        wide = held or cols
        width = wide.values.shape[1] if wide is not None else width
        lines = len(fold.rows) if kind == "held_operand" else fold.rows.shape[1]
        array.issue(FoldTask(rows, np.zeros((lines, width), np.int64), held, cols, fold.stays))
    array.drain()
    return sorted(results)


def _check(kind: Kind, R: int, C: int, fold: Fold, width: int) -> None:
    """Refuse matrices that do not fit each other or the array."""
    if fold.rows.ndim != 2 or not 0 < fold.rows.shape[1] <= R or not len(fold.rows):
        raise ValueError(f"rows must be (T, r) with 1 <= r <= {R}, got {fold.rows.shape}")
    name, side, lines = (
        ("held", fold.held, fold.rows.shape[1])
        if kind == "held_operand"
        else ("cols", fold.cols, len(fold.rows))
    )
    if side is None:
        if kind == "held_outputs" or not width:
            raise ValueError(f"{name} is missing")
    elif side.ndim != 2 or side.shape[0] != lines or not 0 < side.shape[1] <= C:
        raise ValueError(f"{name} must be ({lines}, c) with 1 <= c <= {C}, got {side.shape}")


def make_array(
    kind: Kind, R: int, C: int, *, overlap: bool, weight_registers: int, outputs: Outputs,
    partial_folds: PartialFolds, places: int | None = None,
) -> HeldOperandArray | HeldOutputsArray:  # fmt: skip
    """An array of R x C PEs with the options of ``array`` in an architecture."""
    full = partial_folds == "full"
    if kind == "held_operand":
        return HeldOperandArray(
            R, C, overlap=overlap, weight_registers=weight_registers, full=full, places=places
        )
    return HeldOutputsArray(R, C, overlap=overlap, outputs=outputs, full=full, places=places)
