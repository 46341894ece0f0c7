"""Registers of systolic lines: planes of tagged words, the ports that feed them, and the clock.

The rule of the clock: at an edge every register takes what its neighbour had before the edge, and
nothing else.  A *plane* is one kind of register of all PEs, an array [layers, rows, cols]; ``down``
and ``right`` make the plane after an edge from the one before and what the ports show.  Row i is
fed i edges after row 0, column j j edges after column 0, so that partners meet.

The layers are a word and its tags: value, name, the fold and step it belongs to, the residency of
held words, marks.  Tags cost no hardware; they are how the engine notices two words that should not
have met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle.controller import Start
from accelsim.engines.cycle.levels import HazardError

Ints = npt.NDArray[np.int64]
Planes = dict[str, tuple[Ints, Ints]]  # values and names by what the registers hold
BUBBLE = -2  # the name of what is no MAC's: an unused row or column of a fully clocked array
EMPTY = -1  # the slot of a register that holds no word of a fold

VALUE, NAME, SLOT, GEN, MARK = range(5)  # layers of an operand's registers
HOPS = 2  # of a held word's, in place of SLOT: rows it has still to go, 0 at home, -1 empty
ADDS = 3  # of a sum's that moves, in place of GEN: how many PEs have added to it
# Of an accumulator's: products it has got, what it holds, the row it was made in.
ADDED, STATE, ORIGIN = 2, 4, 5
# Marks: first and last of its fold, last of the lowest row in use, a zero no level gave.
FIRST, LAST, GO, MADE = 1, 2, 4, 8


@dataclass(frozen=True, eq=False)
class Stream:
    """A matrix of words: values (int64), names (``NO_WORD``: padding), and which of them the level
    outside reads (None: all).
    """

    values: Ints
    names: Ints
    given: npt.NDArray[np.bool_] | None = None

    @property
    def marks(self) -> Any:
        """MADE where the level outside does not read the word, in the matrix' shape."""
        return 0 if self.given is None else np.where(self.given, 0, MADE)

    def real(self) -> tuple[int, int]:
        """How many are words, and how many of them the level outside reads."""
        there = self.names >= 0
        return int(np.count_nonzero(there)), int(
            np.count_nonzero(there if self.given is None else there & self.given)
        )

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Stream:
        """A plain matrix; its words are called 0, 1, ..."""
        return cls(values.astype(np.int64), np.arange(values.size).reshape(values.shape))


@dataclass(frozen=True, eq=False)
class FoldTask:
    """What the array does in one fold.

    ``rows`` (T, r) moves along the rows, ``cols`` (T, c) down the columns, with outputs held.
    ``held`` (r, c): the operand that is held; None: the one that is there stays.  ``sums``: their
    names, (T, c), or with outputs held (r, c). ``stays``: the outputs are not complete, the next
    fold adds to them.
    """

    rows: Stream
    sums: Ints
    held: Stream | None = None
    cols: Stream | None = None
    stays: bool = False


@dataclass
class FoldTally:
    """Words that crossed the array's borders and MACs, counted edge by edge as they are latched.

    ``macs``                     PEs that worked, added up over edges
    ``rows_fed``, ``cols_fed``   words through the ports that the level outside read
    ``rows_taken``, ``cols_taken``, ``held_taken``   words MACs took
    ``sums_made``                words MACs added to
    ``held_fed``                 words through the ports of the shift lines
    ``held_latched``             words that came to their PE
    ``opened``                   accumulators that began a sum
    ``left``                     results that left, words only
    """

    macs: int = 0
    rows_fed: int = 0
    cols_fed: int = 0
    rows_taken: int = 0
    cols_taken: int = 0
    held_taken: int = 0
    sums_made: int = 0
    held_fed: int = 0
    held_latched: int = 0
    opened: int = 0
    left: int = 0

    def add(self, other: FoldTally, times: int) -> None:
        """Another tally's counts, so many times."""
        for x in fields(self):
            setattr(self, x.name, getattr(self, x.name) + times * getattr(other, x.name))


@dataclass(eq=False)
class Landing:
    """The results of one fold, as they are latched.

    ``number``         of the fold, in order of issue
    ``values, edges``  [T, c] of sums that moved, [r, c] of sums that were held; edge 0: not yet
    ``used``           the part of them that is no bubbles'
    ``expected``       results still to come
    ``task, start``    what the fold was, and when it started
    """

    number: int
    values: Ints
    edges: Ints
    used: tuple[int, int]
    expected: int
    task: FoldTask
    start: Start


class PortFeed:
    """What the ports of one side are given, edge by edge.

    ``quiet``   [layers, lines]: what they show when nothing comes
    ``blocks``  (first edge, words [edges, layers, lines]), line k so many edges late
    """

    def __init__(self, layers: int, lines: int) -> None:
        self.quiet = np.full((layers, lines), BUBBLE, np.int64)
        self.quiet[VALUE] = 0
        self.quiet[2:] = EMPTY
        self.blocks: list[tuple[int, Ints]] = []

    def put(self, edge: int, words: Ints) -> None:
        """``words`` [T, layers, n]: the first of line 0 enters at ``edge``, of line k k later."""
        t, _, n = words.shape
        block = np.broadcast_to(self.quiet, (t + n - 1, *self.quiet.shape)).copy()
        lines = np.arange(n)
        block[np.arange(t)[:, None] + lines, :, lines] = words.transpose(0, 2, 1)
        self.blocks.append((edge, block))

    def at(self, edge: int) -> Ints:
        """What the ports show at an edge, [layers, lines]; two folds may overlap there, on
        different lines.
        """
        now = None
        while self.blocks and self.blocks[0][0] + len(self.blocks[0][1]) <= edge:
            self.blocks.pop(0)
        for first, block in self.blocks:
            if first <= edge < first + len(block):
                words = block[edge - first]
                if now is None:
                    now = words
                else:
                    both = (now[2] != EMPTY) & (words[2] != EMPTY)
                    if both.any():
                        raise HazardError(
                            f"edge {edge}: two words want the port of line "
                            f"{int(np.flatnonzero(both)[0])}"
                        )
                    now = np.where(words[2] != EMPTY, words, now)
        return self.quiet if now is None else now

    @property
    def pending(self) -> bool:
        return bool(self.blocks)


def down(plane: Ints, port: Ints) -> Ints:
    """Every word a row further, the port's into the first."""
    moved = np.empty_like(plane)
    moved[:, 1:] = plane[:, :-1]
    moved[:, 0] = port
    return moved


def right(plane: Ints, port: Ints) -> Ints:
    """Every word a column further, the port's into the first."""
    moved = np.empty_like(plane)
    moved[:, :, 1:] = plane[:, :, :-1]
    moved[:, :, 0] = port
    return moved


def shown(plane: Ints, there: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Values and names of a plane's registers, nothing where none is there."""
    return np.where(there, plane[VALUE], 0), np.where(there, plane[NAME], BUBBLE)


def empty_plane(layers: int, rows: int, cols: int) -> Ints:
    """Registers that hold nothing, [layers, rows, cols]."""
    plane = np.full((layers, rows, cols), EMPTY, np.int64)
    plane[VALUE], plane[NAME] = 0, BUBBLE
    return plane


def padded(matrix: Any, shape: tuple[int, int], fill: int) -> Ints:
    """A matrix in the corner of a larger one."""
    wide = np.full(shape, fill, np.int64)
    wide[: matrix.shape[0], : matrix.shape[1]] = matrix
    return wide


class SystolicArray:
    """``rows`` x ``cols`` PEs with their ports, and the clock.

    ``edge``         the last edge clocked; edge 1 is the first
    ``issued``       folds so far
    ``last_result``  the last edge that latched a result
    ``tally``        what was counted
    ``active``       [rows, cols]: PEs that multiplied at this edge
    ``slots``        [rows, cols]: fold and step each of them worked on, as fold << 32 | step
    ``landings``     results of folds that are not all there, by number
    ``out``          results that left at this edge: columns, names and values [results]
    ``watch``        called after every edge
    ``ready``        called with every fold whose results are all there
    """

    def __init__(self, rows: int, cols: int, *, overlap: bool, full: bool) -> None:
        self.rows, self.cols, self.overlap, self.full = rows, cols, overlap, full
        self.edge = self.issued = self.last_result = 0
        self.tally = FoldTally()
        self.active = np.zeros((rows, cols), bool)
        self.slots = np.full((rows, cols), EMPTY, np.int64)
        self.landings: dict[int, Landing] = {}
        self.watch: Callable[[], None] | None = None
        self.out: list[tuple[Ints, Ints, Ints]] = []
        self.ready: Callable[[Landing], None] | None = None

    # to be had from the two kinds of array

    def issue(self, task: FoldTask) -> Start:
        """Reserve and feed a fold.  Clocks the array as far as no further fold can matter."""
        raise NotImplementedError

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        """When a fold starts, nothing of it before edge ``after``; the registers it needs are taken
        for it.
        """
        raise NotImplementedError

    def clock(self) -> None:
        """What every register does at one edge."""
        raise NotImplementedError

    def under_way(self) -> bool:
        """Whether operands still move or are still to be fed."""
        raise NotImplementedError

    def planes(self) -> Planes:
        """What the registers hold after an edge: values and names (``BUBBLE``: nothing)."""
        raise NotImplementedError

    # the clock

    def run_to(self, edge: int) -> None:
        """Clock up to an edge."""
        while self.edge < edge:
            self.tick()

    def tick(self) -> None:
        """One edge."""
        self.edge += 1
        self.out.clear()
        self.clock()
        if self.watch is not None:
            self.watch()

    def drain(self) -> None:
        """Clock until every result of the folds issued is there; raises HazardError if one never
        comes.
        """
        idle = 0
        while self.landings:
            self.tick()
            idle = 0 if self.under_way() or self.last_result == self.edge else idle + 1
            if idle > self.rows + self.cols:
                raise HazardError(
                    f"edge {self.edge}: results of fold {min(self.landings)} are missing and "
                    "nothing moves any more"
                )

    def flush(self) -> None:
        """Clock until every result is there and no operand moves any more."""
        while self.landings or self.under_way():
            self.tick()

    def _fed(self, port: Ints) -> int:
        """Words that entered at this edge and were read outside."""
        return int(np.count_nonzero((port[NAME] >= 0) & (port[MARK] & MADE == 0)))

    def _land(self, number: int, i: Any, j: Any, values: Ints) -> None:
        """Results latched at this edge."""
        landing = self.landings[number]
        if landing.edges[i, j].any():
            raise HazardError(f"edge {self.edge}: a result of fold {number} comes twice")
        landing.values[i, j], landing.edges[i, j] = values, self.edge
        self.last_result = self.edge
        landing.expected -= len(values)
        if not landing.expected:
            del self.landings[number]
            if self.ready is not None:
                self.ready(landing)

    def _operands(
        self, stream: Stream, lines: int, number: int, gen: int, *, first: bool, last: bool
    ) -> Ints:
        """Operands with their tags, [T, layers, lines]; a fully clocked array gets bubbles in the
        lines not used.
        """
        t, n = stream.values.shape
        width = lines if self.full else n
        words = np.zeros((t, 5, width), np.int64)
        words[:, NAME] = BUBBLE
        words[:, VALUE, :n] = stream.values
        words[:, NAME, :n] = stream.names
        words[:, MARK, :n] = stream.marks
        words[:, SLOT] = ((number << 32) + np.arange(t))[:, None]
        words[:, GEN] = gen
        words[0, MARK] |= FIRST if first else 0
        words[-1, MARK] |= LAST if last else 0
        words[-1, MARK, -1] |= GO if last else 0
        return words
