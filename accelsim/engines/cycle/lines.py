"""A nest on systolic lines: which fold holds, streams and adds which words, and what has no lines
to run on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from accelsim.engines.cycle.addresses import (
    MOST_KNOWN,
    MOST_WORDS,
    NO_WORD,
    Ints,
    Macs,
    Touched,
    Where,
    digits,
)
from accelsim.engines.cycle.levels import Traffic
from accelsim.engines.cycle.line_pes import READ
from accelsim.engines.cycle.systolic import Stream
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Kept

MOST_PES = 1 << 20


@dataclass(frozen=True, eq=False)
class FoldWork:
    """One fold: where the outer loops stand, rows and columns in use, which settings of the loops
    inside the PEs it streams, and what it holds, [r, c].
    """

    at: Where
    r: int
    c: int
    inside: Ints
    held: Touched

    @property
    def holds(self) -> Stream:
        """What it holds, the values still to be read."""
        held = self.held
        return Stream(held.addresses, held.addresses, held.kinds)


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
        self.axes = tuple(digits(nest, x) for x in (row_loops, col_loops, within))
        rows, cols, inside = self.axes
        self.macs = {
            self.along_rows: Macs(nest, inside, rows),
            self.along_cols: Macs(nest, inside, cols),
            self.held: Macs(nest, rows, cols),
        }
        self.outside = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < self.pe]
        self.chains = [
            [c for c in nest.chains if any(i in places for i in c.loops)] for places in self.axes
        ]
        self.outside_of = [
            [i for c in chains for i in c.loops if i in self.outside] for chains in self.chains
        ]
        self.relevant = [i for i in self.outside if nest.loop_depends(nest.loops[i], self.held)]
        self._known: Kept[Ints] = Kept(MOST_KNOWN)
        most = max(prod(self.macs[t].shape) for t in (self.along_rows, self.along_cols))
        self._moving: Kept[Stream] = Kept(max(2, 2 * MOST_WORDS // most))

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

    def fold(self, at: Where) -> FoldWork:
        """The fold of a step."""
        rows, cols, within = (self._used(axis, at) for axis in range(3))
        for used, what in ((rows, "rows"), (cols, "columns")):
            if used[-1] >= len(used):
                raise MappingError(
                    f"a fold uses {what} {used.tolist()} of the array, "
                    f"which leaves gaps between them; words travel on lines from neighbour "
                    f"to neighbour, and no PE passes one on unused"
                )
        r, c = len(rows), len(cols)
        held = self.macs[self.held].touched(self.held, at, self.outer[self.held].parent)
        held = held.cut(slice(r), slice(c))
        if self.outputs_held:
            held = held._replace(kinds=held.kinds & ~READ)
        return FoldWork(at, r, c, within, held)

    def _used(self, axis: int, at: Where) -> Ints:
        """Which rows, columns or steps inside the PEs have MACs.

        Loops of one axis are over dimensions of M, K = C,R,S or X = N,E,F alone, or the two tensors
        that are not held could not move apart; so a chain has loops on one axis only.
        """
        places, chains, outside = self.axes[axis], self.chains[axis], self.outside_of[axis]
        key = (axis, *[at[i] for i in outside])

        def used() -> Ints:
            there = np.ones(max((len(v) for v in places.values()), default=1), bool)
            for c in chains:
                index: dict[int, Any] = {i: places.get(i, at.get(i)) for i in c.loops}
                there &= self.nest.pieces(c, index).exists
            return np.flatnonzero(there)

        return self._known.of(key, used)

    def streamed(self, tensor: str, fold: FoldWork) -> Stream:
        """Words that move along the rows, [T, r], or along the columns, [T, c]: an operand, whose
        values are still to be read, or the sums, which begin at zero.
        """
        lines = fold.r if tensor == self.along_rows else fold.c
        macs, inside = self.macs[tensor], fold.inside
        every = len(inside) == macs.shape[0]
        key = tensor, lines, b"" if every else inside.tobytes(), *macs.key(tensor, fold.at)

        def lay_out() -> Stream:
            whole = macs.located(tensor, fold.at, self.outer[tensor].parent)
            mine = whole.cut(slice(None) if every else inside, slice(lines))
            words: Any = mine.addresses.astype(np.int32)
            return Stream(words, words, mine.kinds & ~READ if tensor == self.acc else mine.kinds)

        return self._moving.of(key, lay_out)

    def changes(self, fold: FoldWork, following: FoldWork) -> bool:
        """Whether the next fold holds other words; if some PEs keep theirs while others change, the
        lines cannot do it.
        """
        before, after = fold.held.names, following.held.names
        if np.array_equal(before, after):
            moved = any(fold.at[i] != following.at[i] for i in self.relevant)
            return moved and not (before != NO_WORD).any()
        r, c = min(fold.r, following.r), min(fold.c, following.c)
        if ((before[:r, :c] == after[:r, :c]) & (after[:r, :c] != NO_WORD)).any():
            raise MappingError(
                f"{self.held}: some PEs keep their word from one fold to the next "
                f"while others change theirs; systolic lines shift whole columns"
            )
        return True


def stream(words: Stream, traffic: Traffic) -> Stream:
    """Words with the values the level outside holds; what it has not is zero, and so sums begin."""
    row = traffic.first_row[traffic.innermost]
    return words._replace(values=traffic.read(row, words.words, words.kinds))
