"""When folds start on systolic lines: register reservations, as a controller keeps them.

All columns do what the first one does, a fixed number of edges later each, so the first column's
registers say it all. For every kind of register, row by row, the board knows the first edge at
which a new word may be latched there.  A fold is walked through the registers of the column at a
start of edge 0; it may start as soon as none of its words comes to a register that is still needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Outputs = Literal["in_place", "accumulators", "register"]


@dataclass(frozen=True)
class Start:
    """Edges at PE (0, 0): its first shifted weight (0: none comes) and its first operand."""

    preload: int
    operand: int


class Board(dict[str, Ints]):
    """For each kind of register and row of the first column: the first edge that may latch a new
    word, told by the wave that goes down a row an edge: row k's is k edges later.
    """

    def __init__(self, rows: int, *kinds: str) -> None:
        super().__init__({kind: 1 - np.arange(rows) for kind in kinds})

    def earliest(self, kind: str, rows: int) -> int:
        """The first edge at which a wave may enter that finds so many rows of registers free."""
        return int(self[kind][:rows].max())

    def take(self, kind: str, rows: int, until: int) -> None:
        """The registers hold words that are needed; new ones may be latched by a wave from edge
        ``until`` on.
        """
        held = self[kind][:rows]
        np.maximum(held, until, out=held)


class HeldOperandController:
    """An operand held, the other streamed along the rows, sums down the columns.

    Weights shift in from the top of a column, each to its row.  One register: the first shifted
    weight may enter PE (0, 0) on the edge that latches the last operand multiplied with the weight
    there.  Two: the shadow register fills while the fold before streams, from the edge on that
    swaps its own weight in; the swap travels with the first operand.
    """

    def __init__(self, rows: int, registers: int) -> None:
        self.rows, self.two = rows, registers == 2
        self.board = Board(rows, "operand", "psum", "weight", "shadow")

    def start(self, r: int, t: int, *, opens: bool, leaves: bool, after: int) -> Start:
        """Reserve a fold of ``r`` rows and ``t`` operands, with new weights or those that are
        there; nothing before edge ``after``.
        """
        board, preload = self.board, 0
        # the operand wave goes down a row an edge, and the sums with it, through every row
        first = max(after, board.earliest("operand", r), board.earliest("psum", self.rows))
        if opens:  # a shifted weight goes down a row an edge, too
            preload = max(after, board.earliest("shadow" if self.two else "weight", r))
            first = max(first, preload + r)  # the lowest row's enters first; each stops in its row
            if self.two:
                first = max(first, board.earliest("weight", r))
                board.take("shadow", r, first)  # swapped in by the first operand
        board.take("weight", r, first + t - 1)  # needed until the last operand
        board.take("operand", r, first + t)
        board.take("psum", self.rows, first + t)
        return Start(preload, first)

    def quiet(self) -> int:
        """The last edge before anything of a further fold could usefully happen: its operands or,
        in time for them, its weights.
        """
        operand = int(self.board["operand"][0])
        if self.two:
            return max(int(self.board["shadow"][0]), operand - self.rows) - 1
        return min(int(self.board["weight"][0]), operand) - 1


class HeldOutputsController:
    """Outputs held, one operand streamed along the rows, the other down the columns.

    In place: a result is read on the edge after the one that completes it.  Otherwise a column
    shifts down, a row an edge, as soon as its last row in use has its result: through the
    accumulators, or through registers of their own, to which a result is copied on the edge that
    completes it.
    """

    def __init__(self, rows: int, outputs: Outputs) -> None:
        self.outputs: Outputs = outputs
        self.board, self.rows = Board(rows, "operand", "accumulator", "shift"), rows

    def start(self, r: int, t: int, *, opens: bool, leaves: bool, after: int) -> Start:
        """Reserve a fold of ``r`` rows and ``t`` operand pairs; ``leaves``: its results are
        complete and go.
        """
        board, done = self.board, t - 1  # of each row, after the first product in it
        first = max(after, board.earliest("operand", r))
        if opens:
            first = max(first, board.earliest("accumulator", r))
        if leaves and self.outputs == "register":
            first = max(first, board.earliest("shift", r) - done)
        board.take("operand", r, first + t)
        if leaves:
            # the edge of the column's first shift, when its lowest row in use is done; the word of
            # the topmost row comes through last
            shifts = first + done + (r - 1) + 1
            if self.outputs == "in_place":
                board.take("accumulator", r, first + done + 1)
            elif self.outputs == "accumulators":
                board.take("accumulator", self.rows, shifts)
            else:
                board.take("accumulator", r, first + done)
                board.take("shift", self.rows, shifts)
        return Start(0, first)

    def quiet(self) -> int:
        """The last edge before a further fold's operands could come."""
        return int(self.board["operand"][0]) - 1
