"""A nest on systolic lines: which fold holds, streams and adds which words, and what has no lines
to run on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from accelsim.engines.cycle.addresses import NO_WORD, Bools, Ints, Macs, Touched, Where, digits
from accelsim.engines.cycle.levels import Traffic
from accelsim.engines.cycle.systolic import Stream
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Chain, Nest

MOST_PES = 1 << 20


@dataclass(frozen=True, eq=False)
class Shape:
    """One fold: rows and columns in use, and which settings of the loops inside the PEs it
    streams.
    """

    r: int
    c: int
    inside: Ints

    @property
    def t(self) -> int:
        return len(self.inside)


@dataclass(frozen=True, eq=False)
class Matrix:
    """Words of one tensor in a fold: names and addresses, ``NO_WORD`` where padding is; ``given``
    by the level outside.
    """

    names: Ints
    addresses: Ints
    given: Bools

    def stream(self, traffic: Traffic) -> Stream:
        """The same with the values the level outside holds; what it has not is zero."""
        values = np.zeros(self.names.shape, np.int64)
        there = (self.names != NO_WORD) & self.given
        values[there] = traffic.read(0, self.addresses[there])
        return Stream(values, self.addresses, self.given)


class Lines:
    """How a nest lies on the lines.  Raises MappingError for what has no honest way through a
    systolic array.

    Natural: the streamed operand (with outputs held, the one that depends on the rows) moves along
    the rows and sums move down the columns.  Where the sums depend on the rows' loops the whole
    array is turned: ``turned`` then says that rows below are the architecture's columns.
    """

    def __init__(self, nest: Nest) -> None:
        self.nest, self.pe = nest, nest.levels - 1
        array, problem = nest.arch.array, nest.problem
        self.held = self._held()
        self.acc = problem.accumulated
        self.outputs_held = self.held == self.acc
        self._check_loops()
        self._check_networks()
        loops = {
            axis: [i for i, x in enumerate(nest.loops) if x.axis == axis] for axis in ("row", "col")
        }
        self.turned = False
        self.along_rows, self.along_cols = self._streams(loops)
        row_axis, col_axis = ("col", "row") if self.turned else ("row", "col")
        self.rows, self.cols = (array.cols, array.rows) if self.turned else (array.rows, array.cols)
        if self.rows * self.cols > MOST_PES:
            raise MappingError(
                f"array: {self.rows} x {self.cols} PEs are more than the {MOST_PES} the cycle engine clocks"
            )
        self.row_loops, self.col_loops = loops[row_axis], loops[col_axis]
        self.inside = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level == self.pe]
        self.outside = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < self.pe]
        rows, cols, within = (
            digits(nest, x) for x in (self.row_loops, self.col_loops, self.inside)
        )
        self.sizes = tuple(
            prod(nest.loops[i].trips for i in x)
            for x in (self.row_loops, self.col_loops, self.inside)
        )
        still = {i: np.zeros((), np.int64) for i in (*rows, *cols, *within)}
        by_row, by_col = (
            {i: v[None, :] for i, v in rows.items()},
            {i: v[None, :] for i, v in cols.items()},
        )
        in_turn = {i: v[:, None] for i, v in within.items()}
        self._row_stream = Macs(nest, still | by_row | in_turn)  # (inside, row)
        self._col_stream = Macs(nest, still | by_col | in_turn)  # (inside, column)
        self._still = Macs(
            nest, still | {i: v[:, None] for i, v in rows.items()} | by_col
        )  # (row, column)
        self._exist = _Existence(nest, rows, cols, within, self.sizes)
        self.relevant = [i for i in self.outside if nest.loop_depends(nest.loops[i], self.held)]

    # -- what runs ---------------------------------------------------------------------------------

    def _held(self) -> str:
        name, kept = self.nest.arch.level_names[self.pe], self.nest.keep[self.pe]
        if len(kept) != 1:
            has = "nothing" if not kept else " and ".join(sorted(kept))
            raise MappingError(
                f"{name} keeps {has}; on systolic lines every PE holds one tensor, and the others pass by"
            )
        (held,) = kept
        if self.nest.footprint.tile_words(self.pe, held) > 1:
            words = self.nest.footprint.tile_words(self.pe, held)
            raise MappingError(
                f"{name} holds {words} words of {held} in a PE; on systolic lines a PE has one register"
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
                f"network {name} brings held operands by {net.held}; the cycle engine shifts them in (held: preload)"
            )
        if not self.outputs_held and net.accumulated != "systolic":
            raise MappingError(
                f"network {name} adds by {net.accumulated}; where an operand is held, lines add (accumulated: systolic)"
            )

    def _streams(self, loops: dict[str, list[int]]) -> tuple[str, str]:
        """Which tensor moves along the rows and which along the columns."""

        def free(tensor: str, axis: str) -> bool:
            return not any(self.nest.loop_depends(self.nest.loops[i], tensor) for i in loops[axis])

        one, two = (t for t in ("weight", "ifmap", "ofmap") if t != self.held)
        if self.outputs_held:
            for a, b in ((one, two), (two, one)):
                if free(a, "col") and free(b, "row"):
                    return a, b
            raise MappingError(
                f"{one} and {two} do not stream one along the rows and one along the columns"
            )
        streamed = two if one == self.acc else one
        if free(streamed, "col") and free(self.acc, "row"):
            return streamed, self.acc
        if free(streamed, "row") and free(self.acc, "col"):
            self.turned = True
            return streamed, self.acc
        raise MappingError(
            f"{streamed} streams and {self.acc} adds up on systolic lines only along different axes of the array"
        )

    # -- folds -------------------------------------------------------------------------------------

    def shape(self, at: Where) -> Shape:
        """Rows, columns and steps of a fold."""
        rows, cols, within = self._exist.at(at)
        for mask, what in ((rows, "rows"), (cols, "columns")):
            if not mask[: int(mask.sum())].all():
                raise MappingError(
                    f"a fold uses {what} {np.flatnonzero(mask).tolist()} of the array, which leaves gaps between them"
                )
        return Shape(int(rows.sum()), int(cols.sum()), np.flatnonzero(within))

    def row_words(self, at: Where, shape: Shape) -> Matrix:
        """(T, r) words that move along the rows."""
        return self._matrix(
            self._row_stream.touched(self.along_rows, at, self.feeder(self.along_rows)),
            shape.inside,
            shape.r,
            "rows",
        )

    def col_words(self, at: Where, shape: Shape) -> Matrix:
        """(T, c) words that move along the columns: an operand, or the sums."""
        return self._matrix(
            self._col_stream.touched(self.along_cols, at, self.feeder(self.along_cols)),
            shape.inside,
            shape.c,
            "cols",
        )

    def held_words(self, at: Where, shape: Shape) -> Matrix:
        """(r, c) words that are held."""
        return self._matrix(
            self._still.touched(self.held, at, self.feeder(self.held)),
            np.arange(shape.r),
            shape.c,
            "held",
        )

    def _matrix(self, words: Touched, first: Ints, n: int, which: str) -> Matrix:
        rows, cols, within = self.sizes
        full = {"rows": (within, rows), "cols": (within, cols), "held": (rows, cols)}[which]
        names, addresses = (
            np.broadcast_to(words.names, full),
            np.broadcast_to(words.addresses, full),
        )
        return Matrix(
            names[first, :n], addresses[first, :n], np.broadcast_to(words.given, full)[first, :n]
        )

    def feeder(self, tensor: str) -> int:
        """The innermost level outside the PEs that keeps a tensor."""
        return self.boundary(tensor, outside=True).parent

    def boundary(self, tensor: str, *, outside: bool) -> Boundary:
        """A tensor's boundary between the levels outside and the PEs, or (of the held one) between
        the PEs and their MACs.
        """
        mine = [b for b in self.nest.boundaries if b.tensor == tensor]
        return next(
            b for b in mine if (b.parent < self.pe <= b.child if outside else b.parent == self.pe)
        )


class _Existence:
    """Which rows, columns and steps inside the PEs have MACs, worked out chain by chain."""

    def __init__(
        self,
        nest: Nest,
        rows: dict[int, Ints],
        cols: dict[int, Ints],
        within: dict[int, Ints],
        sizes: tuple[int, ...],
    ) -> None:
        self.nest, self.kinds, self.sizes = nest, (rows, cols, within), sizes
        self.chains = [
            (c, [[i for i in c.loops if i in kind] for kind in self.kinds])
            for c in nest.chains
            if c.loops
        ]
        self._known: dict[Any, tuple[Bools, ...]] = {}

    def at(self, at: Where) -> tuple[Bools, Bools, Bools]:
        found = [np.ones(n, bool) for n in self.sizes]
        for chain, own in self.chains:
            for k, mask in enumerate(self._chain(chain, own, at)):
                found[k] &= mask
        return found[0], found[1], found[2]

    def _chain(self, chain: Chain, own: list[list[int]], at: Where) -> tuple[Bools, ...]:
        inside = {i for loops in own for i in loops}
        fixed = {i: at[i] for i in chain.loops if i not in inside}
        key = (chain.name, *fixed.values())
        if key not in self._known:
            grids = [digits(self.nest, loops) for loops in own]
            sizes = tuple(prod(self.nest.loops[i].trips for i in loops) for loops in own)
            index: dict[int, Any] = dict(fixed)
            for axis, grid in enumerate(grids):
                index |= {
                    i: v.reshape([-1 if k == axis else 1 for k in range(3)])
                    for i, v in grid.items()
                }
            exists = np.broadcast_to(self.nest.pieces(chain, index).exists, sizes)
            sides: list[Bools] = [
                np.asarray(exists.any(axis=tuple(k for k in range(3) if k != axis)))
                for axis in range(3)
            ]
            if not np.array_equal(exists, sides[0][:, None, None] & sides[1][:, None] & sides[2]):
                raise MappingError(
                    f"the pieces of {chain.name} are ragged over the array: some PEs of a fold have fewer steps than others"
                )
            masks = []
            for axis, side in enumerate(sides):
                flat = np.zeros(self.sizes[axis], np.int64)
                for i in own[axis]:
                    flat = flat * self.nest.loops[i].trips + self.kinds[axis][i]
                masks.append(side[flat])
            self._known[key] = tuple(masks)
        return self._known[key]
