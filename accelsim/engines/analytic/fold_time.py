"""Time of all folds of a systolic array, in closed form over the loops (docs/design.md, section 5).

``FoldRules`` is the analytic engine's only copy of section 5: the length of one fold, and the gap
from its start to the next one's.  ``array_time`` lays them over a list of folds; ``fold_time``, the
story here, needs no list.  Both take ints or int arrays over mappings that have the same loops.

A stretch of folds is summed up by seven numbers (``_FoldStretch``): seen from outside, only its
first and its last fold can touch a neighbour.  Two stretches in a row make one, and so does a
stretch repeated n times.  A loop is its full pieces, repeated, and its last one, which may be
short:

    M:16 of 40     | 16 | 16 | 8 |   =   then(repeat(full, 2), last)

so a nest of temporal loops costs two stretches a loop, however many folds it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from accelsim.hardware.architecture import Array


@dataclass(frozen=True)
class FoldLoop:
    """One loop as plain numbers.

    ``dim``    what it cuts: a dimension, or the name of a fused one
    ``tile``   its tile: an int, or ``[mappings]``
    ``where``  ``outside`` the PEs in time, over ``row`` or ``col``, or ``inside`` the PEs in time
    ``held``   whether it cuts the tensor that is held; where it does not, the words stay and the
               stream goes on
    """

    dim: str
    tile: Any
    where: str
    held: bool = True


@dataclass(frozen=True)
class FoldRules:
    """Section 5 of one array, for T words through r rows and c columns.  Sums travel down its
    columns; whoever holds a nest where they do not (``nest.turned``) swaps r and c before.

    ``array``       the architecture's
    ``rows, cols``  its size: ints, or ``[mappings]``
    ``holds_sums``  whether PEs hold sums (output-stationary), or an operand
    ``most``        ``max``, or its form for arrays
    """

    array: Array
    rows: Any
    cols: Any
    holds_sums: bool
    most: Callable[..., Any] = np.maximum

    @property
    def told(self) -> tuple[Any, Any]:
        """The array's rows and columns, 0 where no time hangs on them: sums cross rows that are not
        used, columns that are not used nobody waits for.
        """
        rows, cols = self.used(0, 0)
        crossed = not (self.holds_sums and self.array.outputs == "in_place")
        return (self.rows if crossed else rows), cols

    def used(self, r: Any, c: Any) -> tuple[Any, Any]:
        """Rows and columns that are clocked: a simple controller always clocks them all."""
        return (self.rows, self.cols) if self.array.partial_folds == "full" else (r, c)

    def length(self, t: Any, r: Any, c: Any) -> Any:
        """Edges from a fold's first streamed word to the one that latches its last result; without
        overlap from the first word of its preload, which nothing hides.
        """
        if self.holds_sums:
            return t + r + c - 2 + (0 if self.array.outputs == "in_place" else self.rows)
        return t + self.rows + c - 2 + (0 if self.array.overlap else r)

    def gap(self, t: Any, r: Any, length: Any, next_t: Any, next_r: Any) -> Any:
        """Edges from the start of a fold (T, r, length) to that of the next (T, r)."""
        if not self.array.overlap:
            return length
        if self.holds_sums:
            if self.array.outputs == "in_place":
                return t
            if self.array.outputs == "accumulators":
                return t + r - 1
            return self.most(t, t + r - next_t)
        return self.most(t, next_r) if self.array.weight_registers == 2 else t + next_r - 1

    def exposed(self, r: Any) -> Any:
        """Edges before the first fold: its preload, where later ones hide theirs."""
        return r if self.array.overlap and not self.holds_sums else 0 * r


@dataclass(frozen=True)
class _FoldStretch:
    """Folds in a row, seen from the first one's start.

    ``t, r``            of the first fold
    ``last_t, last_r``  of the last fold, and its ``length``
    ``start``           of the last fold
    ``end``             of all of them, which need not be the last one's
    """

    t: Any
    r: Any
    last_t: Any
    last_r: Any
    length: Any
    start: Any
    end: Any


@dataclass(frozen=True)
class _LoopFolds:
    """The folds of some loops, and whether they are a single one (``single``): then of T words
    through r rows and c columns.
    """

    folds: _FoldStretch
    single: Any
    t: Any
    r: Any
    c: Any


def fold_time(
    loops: Sequence[FoldLoop],
    sizes: Mapping[str, Any],
    fused: Mapping[str, tuple[str, ...]],
    array: Array,
    rows: Any,
    cols: Any,
    *,
    holds_sums: bool,
    turned: bool = False,
) -> Any:
    """The number of the edge that latches the last result: an int, or ``[mappings]``.

    ``sizes`` are the layer's dimensions, ``fused`` the parts of each fused dimension the loops
    name, ``rows`` and ``cols`` the array's, sums travelling down its columns; ``turned`` where the
    loops' rows are its columns; ``holds_sums`` tells output-stationary arrays from those that hold
    an operand.  Settings in a row in which the held words stay are one fold, since nothing is
    loaded or let go between them.
    """
    many = any(isinstance(x, np.ndarray) for x in (rows, cols, *(loop.tile for loop in loops)))
    rules = FoldRules(array, rows, cols, holds_sums, np.maximum if many else max)
    walk = _FoldLoops(loops, fused, rules, many=many, turned=turned)
    every = walk.run(0, dict(sizes)).folds
    return every.end + rules.exposed(every.r)


class _FoldLoops:
    """The loops of ``fold_time``, worked through from the outermost in.

    ``outside``  the temporal loops outside the PEs: each setting of them is a fold
    ``chains``   the other loops, by the dimension (or fused dimension) they cut
    ``along``    which axis of the loops is the array's rows, and which its columns
    ``now``      (an argument) the current range of every dimension, as the loops so far have cut it
    """

    def __init__(
        self,
        loops: Sequence[FoldLoop],
        fused: Mapping[str, tuple[str, ...]],
        rules: FoldRules,
        *,
        many: bool,
        turned: bool,
    ) -> None:
        self.fused, self.rules, self.many = fused, rules, many
        self.least: Callable[..., Any] = np.minimum if many else min
        self.most = rules.most
        self.every: Callable[[Any], Any] = np.all if many else bool
        self.some: Callable[[Any], Any] = np.any if many else bool
        looped = {x.dim for x in loops}
        of_part = {p: name for name, parts in fused.items() if name in looped for p in parts}
        self.chains: dict[str, list[FoldLoop]] = {}
        for x in loops:
            if x.where != "outside":
                self.chains.setdefault(of_part.get(x.dim, x.dim), []).append(x)
        self.outside = [x for x in loops if x.where == "outside"]
        self.along = ("col", "row") if turned else ("row", "col")

    # -- one fold ----------------------------------------------------------------------------------

    def extent(self, dim: str, now: Mapping[str, Any]) -> Any:
        """The current range of a dimension; of a fused one not cut yet, all of its parts'."""
        if dim in now:
            return now[dim]
        whole: Any = 1
        for p in self.fused[dim]:
            whole = whole * now[p]
        return whole

    def count(self, chain: Sequence[FoldLoop], now: Mapping[str, Any], where: str) -> Any:
        """Positions of the loops at ``where``, the chain's others at their first."""
        if not chain:
            return 1
        loop, inner = chain[0], chain[1:]
        whole = self.extent(loop.dim, now)
        full = self.least(loop.tile, whole)
        if loop.where != where:
            return self.count(inner, {**now, loop.dim: full}, where) if inner else 1
        trips = -(-whole // loop.tile)
        if not inner:
            return trips
        rest = self.count(inner, {**now, loop.dim: whole - (trips - 1) * loop.tile}, where)
        return (trips - 1) * self.count(inner, {**now, loop.dim: full}, where) + rest

    def fold(self, now: Mapping[str, Any]) -> _LoopFolds:
        """The fold of one setting: T, r and c are products over the chains."""
        t, r, c = 1, 1, 1
        for chain in self.chains.values():
            t = t * self.count(chain, now, "inside")
            r = r * self.count(chain, now, self.along[0])
            c = c * self.count(chain, now, self.along[1])
        return _LoopFolds(self.sealed(t, r, c), True, t, r, c)

    def sealed(self, t: Any, r: Any, c: Any) -> _FoldStretch:
        """A stretch of one fold, of T words through r rows and c columns."""
        r, c = self.rules.used(r, c)
        length = self.rules.length(t, r, c)
        return _FoldStretch(t, r, t, r, length, 0 * t, length)

    # -- folds in a row ----------------------------------------------------------------------------

    def gap(self, a: _FoldStretch, b: _FoldStretch) -> Any:
        """From the start of the last fold of one stretch to that of the first of the next."""
        return self.rules.gap(a.last_t, a.last_r, a.length, b.t, b.r)

    def then(self, a: _FoldStretch, b: _FoldStretch) -> _FoldStretch:
        shift = a.start + self.gap(a, b)
        end = self.most(a.end, shift + b.end)
        return _FoldStretch(a.t, a.r, b.last_t, b.last_r, b.length, shift + b.start, end)

    def repeat(self, a: _FoldStretch, n: Any) -> _FoldStretch:
        before = (n - 1) * (a.start + self.gap(a, a))
        return _FoldStretch(
            a.t, a.r, a.last_t, a.last_r, a.length, before + a.start, before + a.end
        )

    def either(self, first: Any, a: Any, b: Any) -> Any:
        return np.where(first, a, b) if self.many else a if first else b

    def chosen(self, first: Any, a: _FoldStretch, b: _FoldStretch) -> _FoldStretch:
        return _FoldStretch(
            *(
                self.either(first, getattr(a, f.name), getattr(b, f.name))
                for f in fields(_FoldStretch)
            )
        )

    def run(self, at: int, now: Mapping[str, Any]) -> _LoopFolds:
        """The folds of the outside loops from ``at`` on: those of the full pieces, then the last
        piece's.
        """
        if at == len(self.outside):
            return self.fold(now)
        loop = self.outside[at]
        whole = self.extent(loop.dim, now)
        trips = -(-whole // loop.tile)
        tail = whole - (trips - 1) * loop.tile
        last = self.run(at + 1, {**now, loop.dim: tail})
        alone = trips == 1
        if self.every(alone):
            return last
        full = (
            last
            if not self.many and tail == loop.tile
            else self.run(at + 1, {**now, loop.dim: self.least(loop.tile, whole)})
        )
        return self.pieces(loop, self.most(trips - 1, 1), full, last, alone)

    def pieces(
        self, loop: FoldLoop, before: Any, full: _LoopFolds, last: _LoopFolds, alone: Any
    ) -> _LoopFolds:
        """A loop of ``before`` full pieces and a last one; ``alone`` where the last one is all."""
        stays = not loop.held  # the same words: one fold of all their T
        first = self.repeat(full.folds, before)
        if stays and self.some(full.single):
            first = self.chosen(full.single, self.sealed(before * full.t, full.r, full.c), first)
        folds = self.then(first, last.folds)
        joined = stays and full.single & last.single & (full.r == last.r) & (full.c == last.c)
        t = before * full.t + last.t
        if self.some(joined):
            folds = self.chosen(joined, self.sealed(t, last.r, last.c), folds)
        if self.many:
            folds, t = self.chosen(alone, last.folds, folds), self.either(alone, last.t, t)
        return _LoopFolds(folds, (alone & last.single) | joined, t, last.r, last.c)
