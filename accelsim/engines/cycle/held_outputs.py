"""A systolic array that holds the sums: one operand moves right, the other down, results are read
in place or shifted out.

An accumulator is empty, ADDING, DONE or LEAVING.  It begins with the first operand of a residency
and is complete with the last; then, as ``array.outputs`` says,

    in_place      the result is read where it is, and the accumulator is free on the next edge
    accumulators  a column shifts down, a row an edge, once its lowest row in use is done; until a
                  word has gone by, the accumulators it passes are not free
    register      the same through a plane of its own, to which results are copied: the next fold
                  may begin at once

A residency may take several folds (``stays``): the sums then wait in their accumulators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.engines.cycle.addresses import Bools
from accelsim.engines.cycle.controller import HeldOutputsController, Outputs, Start
from accelsim.engines.cycle.levels import HazardError
from accelsim.engines.cycle.registers import (  # fmt: skip
    ADDED,
    BUBBLE,
    EMPTY,
    FIRST,
    GEN,
    GO,
    LAST,
    MARK,
    NAME,
    ORIGIN,
    SLOT,
    STATE,
    VALUE,
    FoldTask,
    Ints,
    Landing,
    Planes,
    PortFeed,
    Stream,
    SystolicArray,
    down,
    empty_plane,
    padded,
    right,
    shown,
)

# States of an accumulator, or of a register of the shift plane; 0 is empty.
ADDING, DONE, LEAVING = 1, 2, 3


@dataclass
class _Residency:
    """Outputs from their first product to their last.

    ``names``  [height, width] of the outputs
    ``adds``   products each is to get
    ``fold``   the fold that ends it; -1 while it is open
    """

    names: Ints
    adds: int = 0
    fold: int = -1


class HeldOutputsArray(SystolicArray):
    """Sums held, one operand moving right, the other down; results read in place or shifted down
    and out.

    ``moving``, ``falling``  [VALUE NAME SLOT GEN MARK, rows, cols]
    ``sums``, ``shift``      [VALUE NAME ADDED GEN STATE ORIGIN, rows, cols]
    ``row_feed``, ``col_feed``   what the ports are given
    ``gen``                  the residency of the outputs that began last
    ``open``                 whether it goes on with the next fold
    ``begun``                by residency: those whose results have not all left
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        *,
        overlap: bool,
        outputs: Outputs = "in_place",
        full: bool = False,
    ) -> None:
        super().__init__(rows, cols, overlap=overlap, full=full)
        self.outputs: Outputs = outputs
        self.controller = HeldOutputsController(rows, outputs)
        self.moving = empty_plane(5, rows, cols)
        self.falling = empty_plane(5, rows, cols)
        self.sums = empty_plane(6, rows, cols)
        self.sums[STATE] = 0
        self.shift = self.sums.copy()
        self.row_feed, self.col_feed = PortFeed(5, rows), PortFeed(5, cols)
        self.gen = 0
        self.open = False
        self.begun: dict[int, _Residency] = {}

    def issue(self, task: FoldTask) -> Start:
        """Feed a fold's operands, and begin a residency unless one goes on."""
        if task.cols is None:
            raise ValueError("a fold of held outputs needs operands for the columns")
        (t, r), c = task.rows.values.shape, task.cols.values.shape[1]
        height, width = (self.rows, self.cols) if self.full else (r, c)
        new, leaves = not self.open, not task.stays
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        number, self.issued = self.issued, self.issued + 1
        if new:
            self.gen += 1
            self.begun[self.gen] = _Residency(padded(task.sums, (height, width), BUBBLE))
        begun = self.begun[self.gen]
        begun.adds += t
        self.open = task.stays
        if leaves:
            begun.fold = number
            values, edges = np.zeros((2, height, width), np.int64)
            self.landings[number] = Landing(
                number, values, edges, (r, c), height * width, task, start
            )
        self.row_feed.put(
            start.operand,
            self._operands(task.rows, self.rows, number, self.gen, first=new, last=leaves),
        )
        self.col_feed.put(
            start.operand,
            self._operands(task.cols, self.cols, number, self.gen, first=new, last=leaves),
        )
        self.run_to(self.controller.quiet())
        return start

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.values.shape
        return self.controller.start(
            self.rows if self.full else r, t, leaves=not task.stays, after=after
        )

    def under_way(self) -> bool:
        return (
            self.row_feed.pending
            or self.col_feed.pending
            or bool((self.moving[SLOT] != EMPTY).any())
        )

    def planes(self) -> Planes:
        operands = {
            name: shown(x, x[SLOT] != EMPTY)
            for name, x in (("rows", self.moving), ("cols", self.falling))
        }
        return operands | {
            "sums": shown(self.sums, (self.sums[STATE] != 0) | self.active),
            "shift": shown(self.shift, self.shift[STATE] != 0),
        }

    def clock(self) -> None:
        """One edge: operands move, results go a row further out, and a PE whose two operands are
        there adds their product; that both are of one step and its accumulator free or theirs is
        checked.
        """
        moving = right(self.moving, self.row_feed.at(self.edge))
        falling = down(self.falling, self.col_feed.at(self.edge))
        tally = self.tally
        work = (moving[SLOT] != EMPTY) & (falling[SLOT] != EMPTY)
        if self.outputs == "accumulators":
            self.sums = self._shift_down(self.sums)
        elif self.outputs == "register":
            self.shift = self._shift_down(self.shift)
        sums = self.sums.copy()
        first, last = work & (moving[MARK] & FIRST > 0), work & (moving[MARK] & LAST > 0)
        wrong = work & (moving[SLOT] != falling[SLOT])
        wrong |= first & (sums[STATE] != 0)
        wrong |= work & ~first & ((sums[STATE] != ADDING) | (sums[GEN] != moving[GEN]))
        if wrong.any():
            i, j = (int(x[0]) for x in np.nonzero(wrong))
            raise HazardError(
                f"edge {self.edge}: PE ({i}, {j}) has operands of slots {moving[SLOT, i, j]} and "
                f"{falling[SLOT, i, j]}, residency {moving[GEN, i, j]}, and an accumulator in "
                f"state {sums[STATE, i, j]} of residency {sums[GEN, i, j]}"
            )
        if first.any():
            self._begin(sums, first, moving[GEN])
        sums[VALUE] += np.where(work, moving[VALUE] * falling[VALUE], 0)
        sums[ADDED] += work
        self.active = work & (moving[NAME] != BUBBLE) & (falling[NAME] != BUBBLE)
        self.slots = np.where(self.active, moving[SLOT], EMPTY)
        tally.macs += int(np.count_nonzero(self.active))
        tally.rows_taken += int(np.count_nonzero(self.active & (moving[NAME] >= 0)))
        tally.cols_taken += int(np.count_nonzero(self.active & (falling[NAME] >= 0)))
        tally.sums_made += int(np.count_nonzero(self.active & (sums[NAME] >= 0)))
        tally.opened += int(np.count_nonzero(first & (sums[NAME] >= 0)))
        tally.rows_fed += self._fed(moving[:, :, 0])
        tally.cols_fed += self._fed(falling[:, 0])
        self.moving, self.falling, self.sums = moving, falling, sums
        if last.any():
            self._complete(last)

    def _begin(self, sums: Ints, first: Bools, gens: Ints) -> None:
        """Accumulators start at zero, for the outputs of the residency that reaches them."""
        i, j = np.nonzero(first)
        sums[VALUE, i, j] = sums[ADDED, i, j] = 0
        sums[STATE, i, j], sums[GEN, i, j], sums[ORIGIN, i, j] = ADDING, gens[i, j], i
        for gen in dict.fromkeys(gens[i, j].tolist()):
            mine = gens[i, j] == gen
            sums[NAME, i[mine], j[mine]] = self.begun[gen].names[i[mine], j[mine]]

    def _complete(self, last: Bools) -> None:
        """Results are there: read in place, or kept (copied to the shift plane) until their column
        shifts.
        """
        i, j = np.nonzero(last)
        for gen in dict.fromkeys(self.sums[GEN, i, j].tolist()):
            adds = self.begun[gen].adds
            if (self.sums[ADDED, i, j][self.sums[GEN, i, j] == gen] != adds).any():
                raise HazardError(
                    f"edge {self.edge}: an output of residency {gen} was not added to {adds} times"
                )
        if self.outputs == "in_place":
            self._leave(self.sums[:, i, j], i, j)
            self.sums[STATE, i, j] = 0
            return
        if self.outputs == "register":
            if (self.shift[STATE, i, j] != 0).any():
                raise HazardError(
                    f"edge {self.edge}: a result is complete while its shift register holds another"
                )
            self.shift[:, i, j] = self.sums[:, i, j]
            self.sums[STATE, i, j] = 0
        plane = self.sums if self.outputs == "accumulators" else self.shift
        plane[STATE, i, j] = DONE
        goes = (self.moving[MARK, i, j] & GO) > 0
        for col, gen in zip(j[goes].tolist(), plane[GEN, i[goes], j[goes]].tolist(), strict=True):
            column = plane[:, :, col]
            column[STATE][(column[STATE] == DONE) & (column[GEN] == gen)] = LEAVING

    def _shift_down(self, plane: Ints) -> Ints:
        """Words on their way out go down a row; from the last row to the register beyond the
        array.
        """
        leaving = plane[STATE] == LEAVING
        if not leaving.any():
            return plane
        moved = plane.copy()
        moved[STATE][leaving] = 0
        come = np.zeros_like(leaving)
        come[1:] = leaving[:-1]
        if (moved[STATE][come] != 0).any():
            raise HazardError(
                f"edge {self.edge}: a result is shifted into a register that is in use"
            )
        moved[:, 1:] = np.where(come[1:], plane[:, :-1], moved[:, 1:])
        (j,) = np.nonzero(leaving[-1])
        if len(j):
            self._leave(plane[:, -1, j], plane[ORIGIN, -1, j], j)
        return moved

    def _leave(self, words: Ints, i: Ints, j: Ints) -> None:
        """Results leave; ``words`` (layers, results) of the PEs (i, j) that made them."""
        self.tally.left += int(np.count_nonzero(words[NAME] >= 0))
        self.out.append((j, words[NAME], words[VALUE]))
        for gen in dict.fromkeys(words[GEN].tolist()):
            mine = words[GEN] == gen
            self._land(self.begun[gen].fold, i[mine], j[mine], words[VALUE, mine])
            if self.begun[gen].fold not in self.landings:
                del self.begun[gen]

    def place(self, held: Stream) -> None:
        """Unfinished sums as earlier folds would have left them; at zero, only the names count."""
        names = held.names
        height, width = (self.rows, self.cols) if self.full else names.shape
        self.gen, self.open, self.controller.open = self.gen + 1, True, True
        self.begun[self.gen] = _Residency(padded(names, (height, width), BUBBLE))
        i, j = (x.ravel() for x in np.indices((height, width)))
        self.sums[VALUE, i, j] = self.sums[ADDED, i, j] = 0
        self.sums[STATE, i, j], self.sums[GEN, i, j], self.sums[ORIGIN, i, j] = ADDING, self.gen, i
        self.sums[NAME, i, j] = self.begun[self.gen].names[i, j]
