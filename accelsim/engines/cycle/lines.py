"""A nest on systolic lines: which fold holds, streams and adds which words, and what has no lines
to run on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.engines.cycle.addresses import NO_WORD, Macs, Where, digits
from accelsim.engines.cycle.line_pes import READ
from accelsim.engines.cycle.systolic import FoldTask, Stream
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest

MOST_PES = 1 << 20


class Lines:
    """How a nest lies on the lines.  Raises MappingError for what has no honest way through a
    systolic array.

    ``outer`` are tensors' boundaries between the levels outside and the PEs, ``inner`` that of the
    held one between the PEs and their MACs.

    Natural: the streamed operand (with outputs held, the one that depends on the rows) moves along
    the rows and sums move down the columns.  Where the sums depend on the rows' loops the whole
    array is turned: ``turned`` then says that rows below are the architecture's columns.
    """

    def __init__(self, nest: Nest) -> None:
        self.nest, self.pe = nest, nest.levels - 1
        array = nest.arch.array
        self.held = self._held()
        self.acc = nest.problem.accumulated
        self.outputs_held = self.held == self.acc
        self._check_loops()
        self._check_networks()
        loops = {
            axis: [i for i, x in enumerate(nest.loops) if x.axis == axis] for axis in ("row", "col")
        }
        self.along_rows, self.along_cols, self.turned = self._streams(loops)
        sides = (array.rows, array.cols, loops["row"], loops["col"])
        if self.turned:
            sides = (array.cols, array.rows, loops["col"], loops["row"])
        self.rows, self.cols, row_loops, col_loops = sides
        if self.rows * self.cols > MOST_PES:
            raise MappingError(
                f"array: {self.rows} x {self.cols} PEs are more than the {MOST_PES} "
                f"the cycle engine clocks"
            )
        self.outer = {b.tensor: b for b in nest.boundaries if b.parent < self.pe <= b.child}
        self.inner = next(b for b in nest.boundaries if b.parent == self.pe)
        within = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level == self.pe]
        rows, cols, inside = (digits(nest, x) for x in (row_loops, col_loops, within))
        self.macs = {
            self.along_rows: Macs(nest, inside, rows),
            self.along_cols: Macs(nest, inside, cols),
            self.held: Macs(nest, rows, cols),
        }
        outside = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < self.pe]
        self.relevant = [i for i in outside if nest.loop_depends(nest.loops[i], self.held)]

    # -- what runs ---------------------------------------------------------------------------------

    def _held(self) -> str:
        name, kept = self.nest.arch.level_names[self.pe], self.nest.keep[self.pe]
        if len(kept) != 1:
            has = "nothing" if not kept else " and ".join(sorted(kept))
            raise MappingError(
                f"{name} keeps {has}; on systolic lines every PE holds one tensor, "
                f"and the others pass by"
            )
        (held,) = kept
        words = self.nest.footprint.tile_words(self.pe, held)
        if words > 1:
            raise MappingError(
                f"{name} holds {words} words of {held} in a PE; "
                f"on systolic lines a PE has one register"
            )
        return held

    def _check_loops(self) -> None:
        nest, names = self.nest, self.nest.arch.level_names
        for loop in nest.loops:
            if loop.spatial and loop.level != self.pe - 1:
                where = "several arrays" if loop.level < self.pe - 1 else "several MACs in a PE"
                text = f"{loop.dim}:{loop.tile}:{names[loop.level]}:{loop.axis}"
                raise MappingError(
                    f"loop {text} makes {where}; systolic lines have one array and one MAC a PE"
                )
            if not loop.spatial and loop.level == self.pe and nest.loop_depends(loop, self.held):
                raise MappingError(
                    f"loop {loop.dim} inside the PE changes the {self.held} word that is held there"
                )

    def _check_networks(self) -> None:
        name, net = self.nest.arch.network_below(self.pe - 1)
        if not self.outputs_held and net.held not in ("preload", "unicast"):
            raise MappingError(
                f"network {name} brings held operands by {net.held}; "
                f"the cycle engine shifts them in (held: preload)"
            )
        if not self.outputs_held and net.accumulated != "systolic":
            raise MappingError(
                f"network {name} adds by {net.accumulated}; "
                f"where an operand is held, lines add (accumulated: systolic)"
            )

    def _streams(self, loops: dict[str, list[int]]) -> tuple[str, str, bool]:
        """Which tensor moves along the rows, which along the columns, and whether the array is
        turned.
        """

        def free(tensor: str, axis: str) -> bool:
            return not any(self.nest.loop_depends(self.nest.loops[i], tensor) for i in loops[axis])

        one, two = (t for t in ("weight", "ifmap", "ofmap") if t != self.held)
        if not self.outputs_held and one == self.acc:
            one, two = two, one
        if free(one, "col") and free(two, "row"):
            return one, two, False
        if free(one, "row") and free(two, "col"):
            return (two, one, False) if self.outputs_held else (one, two, True)
        if self.outputs_held:
            raise MappingError(
                f"{one} and {two} do not stream one along the rows and one along the columns"
            )
        raise MappingError(
            f"{one} streams and {two} adds up on systolic lines "
            f"only along different axes of the array"
        )

    # -- folds -------------------------------------------------------------------------------------

    def fold(self, at: Where) -> FoldTask:
        """The fold of a step, its words' values still to be read."""
        held, moving = self.macs[self.held], self.macs[self.along_rows]
        row, column, inside = held.used(at, 0), held.used(at, 1), moving.used(at, 0)
        for used, what in ((row, "rows"), (column, "columns")):
            if used[-1] >= len(used):
                raise MappingError(
                    f"a fold uses {what} {used.tolist()} of the array, "
                    f"which leaves gaps between them; words travel on lines from neighbour "
                    f"to neighbour, and no PE passes one on unused"
                )
        r, c = slice(len(row)), slice(len(column))
        steps: Any = slice(None) if len(inside) == moving.shape[0] else inside
        cuts = {self.along_rows: (steps, r), self.along_cols: (steps, c), self.held: (r, c)}
        touched = {
            t: self.macs[t].touched(t, at, self.outer[t].parent).cut(*cut)
            for t, cut in cuts.items()
        }
        streams = {t: Stream(x.addresses, x.addresses, x.kinds) for t, x in touched.items()}
        sums = streams[self.acc]
        streams[self.acc] = sums._replace(kinds=sums.kinds & ~READ)  # none is read from outside
        rows, falling, words = streams.values()
        return FoldTask(rows, falling, words, at=at, slots=inside, names=touched[self.held].names)

    def changes(self, fold: FoldTask, following: FoldTask) -> bool:
        """Whether the next fold holds other words; if some PEs keep theirs while others change, the
        lines cannot do it.
        """
        before, after = fold.names, following.names
        if np.array_equal(before, after):
            moved = any(fold.at[i] != following.at[i] for i in self.relevant)
            return moved and not (before != NO_WORD).any()
        r, c = (min(x) for x in zip(before.shape, after.shape, strict=True))
        if ((before[:r, :c] == after[:r, :c]) & (after[:r, :c] != NO_WORD)).any():
            raise MappingError(
                f"{self.held}: some PEs keep their word from one fold to the next "
                f"while others change theirs; systolic lines shift whole columns"
            )
        return True
