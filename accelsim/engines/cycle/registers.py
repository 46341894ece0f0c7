"""Registers of systolic lines: planes of tagged words, the ports that feed them, and the clock.

Every register carries tags beside its value: the word's name, the fold and step it belongs to, the
residency of held words.  A plane is an array (layers, rows, columns); at an edge a word moves to
its neighbour's register, and nowhere else. Row i is fed i edges after row 0, column j j edges after
column 0.
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
ADDED, STATE, ORIGIN = (
    2,
    4,
    5,
)  # of an accumulator's: products it has got, what it holds, the row it was made in
FIRST, LAST, GO, MADE = (
    1,
    2,
    4,
    8,
)  # marks: first, last of its fold, last of the lowest row in use; a zero no level gave


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
    """Words that crossed the array's borders and MACs, counted edge by edge as they are latched."""

    macs: int = 0
    rows_fed: int = (
        0  # words through the ports of the rows; ``_given``: those the level outside read
    )
    cols_fed: int = 0
    rows_taken: int = 0  # words of MACs
    cols_taken: int = 0
    held_taken: int = 0
    sums_made: int = 0
    held_fed: int = 0  # words through the ports of the shift lines
    held_latched: int = 0  # words that came to their PE
    opened: int = 0  # accumulators that began a sum
    left: int = 0  # results that left, words only

    def add(self, other: FoldTally, times: int) -> None:
        """Another tally's counts, so many times."""
        for x in fields(self):
            setattr(self, x.name, getattr(self, x.name) + times * getattr(other, x.name))


@dataclass(eq=False)
class Landing:
    """The results of one fold: values and edges, (T, c) of sums that moved, (r, c) of sums that
    were held.
    """

    number: int
    values: Ints
    edges: Ints
    used: tuple[int, int]  # the part of them that is no bubbles'
    expected: int
    task: FoldTask
    start: Start


class PortFeed:
    """What the ports of one side are given, edge by edge: blocks of (edges, layers, lines), line k
    so many edges late.
    """

    def __init__(self, layers: int, lines: int) -> None:
        self.quiet = np.full((layers, lines), BUBBLE, np.int64)
        self.quiet[VALUE] = 0
        self.quiet[2:] = EMPTY
        self.blocks: list[tuple[int, Ints]] = []

    def put(self, edge: int, words: Ints) -> None:
        """``words`` (T, layers, n): the first of line 0 enters at ``edge``."""
        t, _, n = words.shape
        block = np.broadcast_to(self.quiet, (t + n - 1, *self.quiet.shape)).copy()
        lines = np.arange(n)
        block[np.arange(t)[:, None] + lines, :, lines] = words.transpose(0, 2, 1)
        self.blocks.append((edge, block))

    def at(self, edge: int) -> Ints:
        """What the ports show at an edge; (layers, lines)."""
        found = None
        while self.blocks and self.blocks[0][0] + len(self.blocks[0][1]) <= edge:
            self.blocks.pop(0)
        for first, block in self.blocks:
            if first <= edge < first + len(block):
                words = block[edge - first]
                if found is None:
                    found = words
                else:
                    both = (found[2] != EMPTY) & (words[2] != EMPTY)
                    if both.any():
                        raise HazardError(
                            f"edge {edge}: two words want the port of line {int(np.flatnonzero(both)[0])}"
                        )
                    found = np.where(words[2] != EMPTY, words, found)
        return self.quiet if found is None else found

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
    plane = np.full((layers, rows, cols), EMPTY, np.int64)
    plane[VALUE], plane[NAME] = 0, BUBBLE
    return plane


def padded(matrix: Any, shape: tuple[int, int], fill: int) -> Ints:
    wide = np.full(shape, fill, np.int64)
    wide[: matrix.shape[0], : matrix.shape[1]] = matrix
    return wide


class SystolicArray:
    """``rows`` x ``cols`` PEs with their ports, and the clock.  ``edge`` is the last edge clocked;
    edge 1 is the first.
    """

    def __init__(self, rows: int, cols: int, *, overlap: bool, full: bool) -> None:
        self.rows, self.cols, self.overlap, self.full = rows, cols, overlap, full
        self.edge = self.issued = self.last_result = 0
        self.tally = FoldTally()
        self.active = np.zeros((rows, cols), bool)  # PEs that multiplied at this edge
        self.slots = np.full(
            (rows, cols), EMPTY, np.int64
        )  # fold and step each of them worked on, as fold << 32 | step
        self.landings: dict[int, Landing] = {}
        self.watch: Callable[[], None] | None = None  # called after every edge
        self.out: list[
            tuple[Ints, Ints, Ints]
        ] = []  # results that left at this edge: columns, names, values
        self.ready: Callable[[Landing], None] | None = (
            None  # called with every fold whose results are all there
        )

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
                    f"edge {self.edge}: results of fold {min(self.landings)} are missing and nothing moves any more"
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
        """(T, layers, lines) of operands with their tags; a fully clocked array gets bubbles in the
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
