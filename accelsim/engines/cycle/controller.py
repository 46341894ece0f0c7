"""When folds start on systolic lines: register reservations, as a controller keeps them.

All columns do what the first one does, a fixed number of edges later each, so the first column's
registers say it all.  For every kind of register, row by row, the board knows the first edge at
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


class Board:
    """For each kind of register and row of the first column: the first edge that may latch a new
    word.
    """

    def __init__(self, rows: int, kinds: tuple[str, ...]) -> None:
        self.rows = np.arange(rows)
        self.free: dict[str, Ints] = {kind: np.ones(rows, np.int64) for kind in kinds}

    def earliest(self, comes: dict[str, Ints]) -> int:
        """The least delay after which words that would come at these edges (row by row from the
        first) find all registers free.
        """
        return max(
            int((self.free[kind][: len(edges)] - edges).max()) for kind, edges in comes.items()
        )

    def take(self, kind: str, until: Ints) -> None:
        """The registers hold words that are needed; new ones may be latched from edge ``until``
        on.
        """
        held = self.free[kind]
        held[: len(until)] = np.maximum(held[: len(until)], until)


class HeldOperandController:
    """An operand held, the other streamed along the rows, sums down the columns.

    Weights shift in from the top of a column, each to its row.  One register: the first shifted
    weight may enter PE (0, 0) on the edge that latches the last operand multiplied with the weight
    there.  Two: the shadow register fills while the fold before streams, from the edge on that
    swaps its own weight in; the swap travels with the first operand.
    """

    def __init__(self, rows: int, registers: int) -> None:
        self.rows, self.two = rows, registers == 2
        self.board = Board(rows, ("operand", "psum", "weight", "shadow"))

    def start(self, r: int, t: int, *, new: bool, after: int) -> Start:
        """Reserve a fold of ``r`` rows and ``t`` operands, with new weights or those that are
        there; nothing before edge ``after``.
        """
        board, used, every = self.board, self.board.rows[:r], self.board.rows
        preload = 0
        comes = {
            "operand": used,
            "psum": every,
        }  # the operand wave goes down a row an edge, and the sums with it
        first = board.earliest(comes)
        if new:
            shift = "shadow" if self.two else "weight"
            preload = max(
                after, board.earliest({shift: used})
            )  # a shifted weight goes down a row an edge, too
            home = (
                preload + used[::-1] + used
            )  # the lowest row's enters first; each stops in its row
            first = max(first, int((home + 1 - used).max()))
            if self.two:
                first = max(first, board.earliest({"weight": used}))
        first = max(first, after)
        if new and self.two:
            board.take("shadow", first + used)  # swapped in by the first operand
        last = first + t - 1
        board.take("weight", last + used)  # needed until the last operand
        board.take("operand", first + t + used)
        board.take("psum", first + t + every)
        return Start(preload, first)

    def quiet(self) -> int:
        """The last edge before anything of a further fold could usefully happen: its operands or,
        in time for them, its weights.
        """
        operand = int(self.board.free["operand"][0])
        if self.two:
            return max(int(self.board.free["shadow"][0]), operand - self.rows) - 1
        return min(int(self.board.free["weight"][0]), operand) - 1


class HeldOutputsController:
    """Outputs held, one operand streamed along the rows, the other down the columns.

    In place: a result is read on the edge after the one that completes it.  Otherwise a column
    shifts down, a row an edge, as soon as its last row in use has its result: through the
    accumulators, or through registers of their own, to which a result is copied on the edge that
    completes it.
    """

    def __init__(self, rows: int, outputs: Outputs) -> None:
        self.outputs: Outputs = outputs
        self.board = Board(rows, ("operand", "accumulator", "shift"))
        self.open = False  # the accumulators hold unfinished sums

    def start(self, r: int, t: int, *, leaves: bool, after: int) -> Start:
        """Reserve a fold of ``r`` rows and ``t`` operand pairs; ``leaves``: its results are
        complete and go.
        """
        board, used, every = self.board, self.board.rows[:r], self.board.rows
        done = (
            t - 1 + used
        )  # the edge of each row's last product, after the first product's at PE (0, 0)
        comes = {"operand": used}
        if not self.open:
            comes["accumulator"] = used
        if leaves and self.outputs == "register":
            comes["shift"] = done
        first = max(after, board.earliest(comes))
        board.take("operand", first + t + used)
        self.open = not leaves
        if leaves:
            shifts = first + int(done.max()) + 1  # the edge of the column's first shift
            passed = shifts + every  # the word of the topmost row comes through last
            if self.outputs == "in_place":
                board.take("accumulator", first + done + 1)
            elif self.outputs == "accumulators":
                board.take("accumulator", passed)
            else:
                board.take("accumulator", first + done)
                board.take("shift", passed)
        return Start(0, first)

    def quiet(self) -> int:
        """The last edge before a further fold's operands could come."""
        return int(self.board.free["operand"][0]) - 1
