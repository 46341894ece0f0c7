"""Time of all folds of a systolic array, in closed form over the loops, for one mapping or many at
once (DESIGN section 5).

A run of folds is summed up by a few numbers; two runs in a row, or a run repeated n times, again give one.  A loop is its
full pieces, repeated, and its last one, so nested loops need two runs each and no list of folds.
Numbers may be ints or int arrays over mappings that have the same loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from accelsim.hardware.architecture import Array


@dataclass(frozen=True)
class FoldLoop:
    """One loop as plain numbers: dimension, tile, and where it is: ``outside`` the PEs in time,
    ``row``, ``col`` or ``inside`` them.
    """

    dim: str
    tile: Any
    where: str
    # whether it cuts the tensor that is held; where it does not, the words stay and the stream goes
    # on
    held: bool = True


@dataclass(frozen=True)
class _Run:
    """Folds in a row, seen from the first one's start: T and r of the first, T, r and length of the
    last, its start, and the end of all.
    """

    t: Any
    r: Any
    last_t: Any
    last_r: Any
    length: Any
    start: Any
    end: Any


@dataclass(frozen=True)
class _FoldPart:
    """Folds of some loops, and whether they are a single one: of T words through r rows and c
    columns.
    """

    run: _Run
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
    merge: bool = True,
) -> Any:
    """The number of the edge that latches the last result.

    ``sizes`` are the layer's dimensions, ``fused`` the parts of each fused dimension the loops
    name, ``rows`` and ``cols`` the array's, sums travelling down its columns; ``turned`` where the
    loops' rows are its columns; ``holds_sums`` tells output-stationary arrays from those that hold
    an operand.  Settings in a row in which the held words stay are one fold, since nothing is
    loaded or let go between them; with ``merge`` off each is one of its own.
    """
    many = any(isinstance(x, np.ndarray) for x in (rows, cols, *(loop.tile for loop in loops)))
    least: Callable[..., Any] = np.minimum if many else min
    most: Callable[..., Any] = np.maximum if many else max
    of_part = {
        p: name for name, parts in fused.items() for p in parts if any(x.dim == name for x in loops)
    }
    chains: dict[str, list[FoldLoop]] = {}
    for x in loops:
        if x.where != "outside":
            chains.setdefault(of_part.get(x.dim, x.dim), []).append(x)
    outside = [x for x in loops if x.where == "outside"]
    along = ("col", "row") if turned else ("row", "col")

    def extent(dim: str, now: Mapping[str, Any]) -> Any:
        if dim in now:
            return now[dim]
        found: Any = 1
        for p in fused[dim]:
            found = found * now[p]
        return found

    def count(chain: Sequence[FoldLoop], now: Mapping[str, Any], where: str) -> Any:
        """Positions of the loops at ``where``, the chain's others at their first."""
        if not chain:
            return 1
        loop, inner = chain[0], chain[1:]
        whole = extent(loop.dim, now)
        full = least(loop.tile, whole)
        if loop.where != where:
            return count(inner, {**now, loop.dim: full}, where) if inner else 1
        trips = -(-whole // loop.tile)
        if not inner:
            return trips
        rest = count(inner, {**now, loop.dim: whole - (trips - 1) * loop.tile}, where)
        return (trips - 1) * count(inner, {**now, loop.dim: full}, where) + rest

    def fold(now: Mapping[str, Any]) -> _FoldPart:
        t, r, c = 1, 1, 1
        for chain in chains.values():
            t, r, c = (
                x * count(chain, now, where)
                for x, where in ((t, "inside"), (r, along[0]), (c, along[1]))
            )
        return _FoldPart(sealed(t, r, c), True, t, r, c)

    def sealed(t: Any, r: Any, c: Any) -> _Run:
        """One fold of T words through r rows and c columns."""
        if array.partial_folds == "full":
            r, c = rows, cols
        if holds_sums:
            length = t + r + c - 2 + (0 if array.outputs == "in_place" else rows)
        else:
            length = t + rows + c - 2 + (0 if array.overlap else r)
        return _Run(t, r, t, r, length, 0 * t, length)

    def gap(a: _Run, b: _Run) -> Any:
        """From the start of the last fold of one run to that of the first of the next."""
        t = a.last_t
        if not array.overlap:
            return a.length
        if holds_sums and array.outputs == "in_place":
            return t
        if holds_sums:
            return (
                t + a.last_r - 1 if array.outputs == "accumulators" else most(t, t + a.last_r - b.t)
            )
        return most(t, b.r) if array.weight_registers == 2 else t + b.r - 1

    def then(a: _Run, b: _Run) -> _Run:
        shift = a.start + gap(a, b)
        return _Run(
            a.t, a.r, b.last_t, b.last_r, b.length, shift + b.start, most(a.end, shift + b.end)
        )

    def repeat(a: _Run, n: Any) -> _Run:
        before = (n - 1) * (a.start + gap(a, a))
        return _Run(a.t, a.r, a.last_t, a.last_r, a.length, before + a.start, before + a.end)

    def either(first: Any, a: Any, b: Any) -> Any:
        return np.where(first, a, b) if many else a if first else b

    def chosen(first: Any, a: _Run, b: _Run) -> _Run:
        return _Run(*(either(first, getattr(a, f.name), getattr(b, f.name)) for f in fields(_Run)))

    def run(at: int, now: Mapping[str, Any]) -> _FoldPart:
        if at == len(outside):
            return fold(now)
        loop = outside[at]
        whole = extent(loop.dim, now)
        trips = -(-whole // loop.tile)
        tail = whole - (trips - 1) * loop.tile
        last = run(at + 1, {**now, loop.dim: tail})
        alone = trips == 1
        if np.all(alone):
            return last
        full = (
            last
            if not many and tail == loop.tile
            else run(at + 1, {**now, loop.dim: least(loop.tile, whole)})
        )
        before = most(trips - 1, 1)
        many_full = repeat(full.run, before)
        if merge and not loop.held and np.any(full.single):
            many_full = chosen(full.single, sealed(before * full.t, full.r, full.c), many_full)
        found = then(many_full, last.run)
        # folds in a row that hold the same words are one
        joined = (
            merge
            and not loop.held
            and full.single & last.single & (full.r == last.r) & (full.c == last.c)
        )
        t = before * full.t + last.t
        if np.any(joined):
            found = chosen(joined, sealed(t, last.r, last.c), found)
        if many:
            found, t = chosen(alone, last.run, found), either(alone, last.t, t)
        return _FoldPart(found, (alone & last.single) | joined, t, last.r, last.c)

    every = run(0, dict(sizes)).run
    return every.end + (every.r if array.overlap and not holds_sums else 0)
