"""A systolic array that holds an operand: the other one moves right, sums enter as zeros at the top
and move down.

    held words   shift in from the top, each to its row, in the order of the lowest row first
    operand      ->  one column an edge
    sum          v   one row an edge, and picks up a product in every row; latched below the last

With two weight registers the next words shift into the shadow while these work; the first operand
of a fold carries the swap with it, so each PE swaps on the edge it starts (TPU).  Weight- and
input-stationary are this array with roles swapped (section 5).
"""

from __future__ import annotations

import numpy as np

from accelsim.engines.cycle.controller import HeldOperandController, Start
from accelsim.engines.cycle.levels import HazardError
from accelsim.engines.cycle.registers import (  # fmt: skip
    ADDS,
    BUBBLE,
    EMPTY,
    FIRST,
    GEN,
    HOPS,
    MARK,
    NAME,
    SLOT,
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


class HeldOperandArray(SystolicArray):
    """An operand held, the other moving right, sums moving down and latched in the bottom psum
    registers.

    ``held``, ``shadow``  [VALUE NAME HOPS GEN MARK, rows, cols]; with one register a PE, words pass
                          through ``held`` on their way to rows further down
    ``moving``            [VALUE NAME SLOT GEN MARK, rows, cols]
    ``sums``              [VALUE NAME SLOT ADDS, rows, cols]
    ``row_feed``, ``sum_feed``, ``held_feed``   what the ports are given
    ``gen``               the residency of the words that shifted in last
    ``size``              rows and columns of it
    """

    def __init__(
        self, rows: int, cols: int, *, overlap: bool, weight_registers: int = 1, full: bool = False
    ) -> None:
        super().__init__(rows, cols, overlap=overlap, full=full)
        self.two = weight_registers == 2
        self.controller = HeldOperandController(rows, weight_registers)
        self.held = empty_plane(5, rows, cols)
        self.shadow = empty_plane(5, rows, cols)
        self.moving = empty_plane(5, rows, cols)
        self.sums = empty_plane(4, rows, cols)
        self.row_feed, self.sum_feed, self.held_feed = (
            PortFeed(5, rows),
            PortFeed(4, cols),
            PortFeed(5, cols),
        )
        self.gen = 0
        self.size = (0, 0)

    def issue(self, task: FoldTask) -> Start:
        """Feed a fold: its held words if they are new, its operands and, beside them, its zeros."""
        (t, r), held = task.rows.values.shape, task.held
        if held is not None:
            self.size = held.values.shape[0], held.values.shape[1]
        if r != self.size[0]:
            raise ValueError(f"a fold feeds {r} rows, held are {self.size[0]}")
        c = self.size[1]
        height, width = (self.rows, self.cols) if self.full else (r, c)
        new = held is not None
        if not self.overlap and new:
            self.drain()
        start = self.reserve(task, new=new, after=self.edge + 1)
        number, self.issued = self.issued, self.issued + 1
        values, edges = np.zeros((2, t, width), np.int64)
        self.landings[number] = Landing(number, values, edges, (t, c), t * width, task, start)
        self.gen += new
        if held is not None:
            self.held_feed.put(start.preload, self._home(held, height, width)[::-1])
        self.row_feed.put(
            start.operand,
            self._operands(task.rows, self.rows, number, self.gen, first=new, last=False),
        )
        sums = np.zeros((t, 4, width), np.int64)
        sums[:, NAME] = padded(task.sums, (t, width), BUBBLE)
        sums[:, SLOT] = ((number << 32) + np.arange(t))[:, None]
        self.sum_feed.put(start.operand, sums)
        self.run_to(self.controller.quiet())
        return start

    def reserve(self, task: FoldTask, *, new: bool, after: int) -> Start:
        t, r = task.rows.values.shape
        return self.controller.start(self.rows if self.full else r, t, new=new, after=after)

    def _home(self, held: Stream, height: int, width: int) -> Ints:
        """Held words, [rows, layers, columns], each with the way to its row before it."""
        words = np.zeros((height, 5, width), np.int64)
        words[:, VALUE] = padded(held.values, (height, width), 0)
        words[:, NAME] = padded(held.names, (height, width), BUBBLE)
        words[:, HOPS] = np.arange(1, height + 1)[:, None]
        words[:, GEN] = self.gen
        words[: held.values.shape[0], MARK, : held.values.shape[1]] = held.marks
        return words

    def place(self, held: Stream) -> None:
        """Held words as an earlier fold would have left them, all at home."""
        self.size = held.values.shape[0], held.values.shape[1]
        height, width = (self.rows, self.cols) if self.full else self.size
        self.gen += 1
        self.held[:, :height, :width] = self._home(held, height, width).transpose(1, 0, 2)
        self.held[HOPS, :height, :width] = 0

    def under_way(self) -> bool:
        return self.row_feed.pending or bool((self.moving[SLOT] != EMPTY).any())

    def planes(self) -> Planes:
        operands = {
            name: shown(x, x[HOPS] != EMPTY)
            for name, x in (("held", self.held), ("shadow", self.shadow))
        }
        return operands | {
            name: shown(x, x[SLOT] != EMPTY)
            for name, x in (("rows", self.moving), ("sums", self.sums))
        }

    def clock(self) -> None:
        """One edge: words move, meet, and are multiplied where they land.  A PE works where an
        operand and a sum are; that both are of one step, and of the residency it holds, is checked.
        """
        moving = right(self.moving, self.row_feed.at(self.edge))
        sums = down(self.sums, self.sum_feed.at(self.edge))
        held, tally = self.held, self.tally
        work = (moving[SLOT] != EMPTY) & (sums[SLOT] != EMPTY)
        if self.two:
            swap = work & (moving[MARK] & FIRST > 0)
            if swap.any():
                held = np.where(swap, self.shadow, held)
        wrong = work & (
            (moving[SLOT] != sums[SLOT]) | (moving[GEN] != held[GEN]) | (held[HOPS] != 0)
        )
        if wrong.any():
            i, j = (int(x[0]) for x in np.nonzero(wrong))
            raise HazardError(
                f"edge {self.edge}: PE ({i}, {j}) has an operand of slot {moving[SLOT, i, j]} "
                f"and residency {moving[GEN, i, j]}, a sum of slot {sums[SLOT, i, j]} and a held "
                f"word of residency {held[GEN, i, j]} with {held[HOPS, i, j]} rows to go"
            )
        sums[VALUE] += np.where(work, held[VALUE] * moving[VALUE], 0)
        sums[ADDS] += work
        self.active = work & (moving[NAME] != BUBBLE) & (held[NAME] != BUBBLE)
        self.slots = np.where(self.active, moving[SLOT], EMPTY)
        tally.macs += int(np.count_nonzero(self.active))
        tally.rows_taken += int(np.count_nonzero(self.active & (moving[NAME] >= 0)))
        tally.held_taken += int(np.count_nonzero(self.active & (held[NAME] >= 0)))
        tally.sums_made += int(np.count_nonzero(self.active & (sums[NAME] >= 0)))
        tally.rows_fed += self._fed(moving[:, :, 0])
        self.moving, self.sums, self.held = moving, sums, held
        self._shift()
        self._bottom()

    def _shift(self) -> None:
        """Held words go down to their rows, by the shadow registers where there are two."""
        if not self.held_feed.pending:
            return
        plane = self.shadow if self.two else self.held
        port = self.held_feed.at(self.edge)
        come = down(plane, port)
        arrives = come[HOPS] > 0
        come[HOPS] -= arrives
        plane = np.where(arrives, come, plane)
        latched = arrives & (plane[NAME] >= 0)
        self.tally.held_fed += self._fed(port)
        self.tally.held_latched += int(np.count_nonzero(latched & (plane[HOPS] == 0)))
        if self.two:
            self.shadow = plane
        else:
            self.held = plane

    def _bottom(self) -> None:
        """Results are latched in the bottom psum registers."""
        bottom = self.sums[:, -1]
        (j,) = np.nonzero(bottom[SLOT] != EMPTY)
        if not len(j):
            return
        self.tally.left += int(np.count_nonzero(bottom[NAME] >= 0))
        self.out.append((j, bottom[NAME, j], bottom[VALUE, j]))
        slots = bottom[SLOT, j]
        numbers = slots >> 32
        for number in dict.fromkeys(numbers.tolist()):
            mine = numbers == number
            rows = self.rows if self.full else self.landings[number].task.rows.values.shape[1]
            if (bottom[ADDS, j[mine]] != rows).any():
                raise HazardError(
                    f"edge {self.edge}: a sum of fold {number} was not added to by all of its "
                    f"{rows} rows"
                )
            self._land(number, slots[mine] & 0xFFFFFFFF, j[mine], bottom[VALUE, j[mine]])
