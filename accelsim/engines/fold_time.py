"""Time of all folds of a systolic array, in closed form over the loops, for one mapping or many at once (DESIGN section 5).

A run of folds is summed up by five numbers; two runs in a row, or a run repeated n times, again give one.  A loop is its
full pieces, repeated, and its last one, so nested loops need two runs each and no list of folds.
Numbers may be ints or int arrays over mappings that have the same loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.hardware.architecture import Array


@dataclass(frozen=True)
class FoldLoop:
    """One loop as plain numbers: dimension, tile, and where it is: ``outside`` the PEs in time, ``row``, ``col`` or ``inside`` them."""

    dim: str
    tile: Any
    where: str


@dataclass(frozen=True)
class _Run:
    """Folds in a row, seen from the first one's start: its rows, the last one's start, the end, and what the last leaves to wait for."""

    rows: Any
    last: Any
    end: Any
    carry: Any


def fold_time(
    loops: Sequence[FoldLoop],
    sizes: Mapping[str, Any],
    fused: Mapping[str, tuple[str, ...]],
    array: Array,
    rows: Any,
    cols: Any,
    *,
    holds_sums: bool,
) -> Any:
    """The number of the edge that latches the last result.

    ``sizes`` are the layer's dimensions, ``fused`` the parts of each fused dimension the loops name, ``rows`` and ``cols``
    the array's; ``holds_sums`` tells output-stationary arrays from those that hold an operand.
    """
    many = any(isinstance(x, np.ndarray) for x in (rows, cols, *(loop.tile for loop in loops)))
    least: Callable[..., Any] = np.minimum if many else min
    most: Callable[..., Any] = np.maximum if many else max
    of_part = {p: name for name, parts in fused.items() for p in parts if any(x.dim == name for x in loops)}
    chains: dict[str, list[FoldLoop]] = {}
    for x in loops:
        if x.where != "outside":
            chains.setdefault(of_part.get(x.dim, x.dim), []).append(x)
    outside = [x for x in loops if x.where == "outside"]

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

    def fold(now: Mapping[str, Any]) -> _Run:
        t, r, c = 1, 1, 1
        for chain in chains.values():
            t, r, c = (x * count(chain, now, where) for x, where in ((t, "inside"), (r, "row"), (c, "col")))
        if array.partial_folds == "full":
            r, c = rows, cols
        if holds_sums:
            length = t + r + c - 2 + (0 if array.outputs == "in_place" else rows)
            carry = {"in_place": t, "accumulators": t + rows - 1, "register": most(t, rows)}[array.outputs]
        else:
            length = t + rows + c - 2 + (0 if array.overlap else r)
            carry = t
        return _Run(r, 0 * t, length, carry if array.overlap else length)

    def gap(carry: Any, following: Any) -> Any:
        if not array.overlap or holds_sums:
            return carry
        return most(carry, following) if array.weight_registers == 2 else carry + following - 1

    def then(a: _Run, b: _Run) -> _Run:
        shift = a.last + gap(a.carry, b.rows)
        return _Run(a.rows, shift + b.last, most(a.end, shift + b.end), b.carry)

    def repeat(a: _Run, n: Any) -> _Run:
        period = a.last + gap(a.carry, a.rows)
        return _Run(a.rows, (n - 1) * period + a.last, (n - 1) * period + a.end, a.carry)

    def either(first: Any, a: _Run, b: _Run) -> _Run:
        pairs = ((a.rows, b.rows), (a.last, b.last), (a.end, b.end), (a.carry, b.carry))
        return _Run(*(np.where(first, x, y) for x, y in pairs))

    def run(at: int, now: Mapping[str, Any]) -> _Run:
        if at == len(outside):
            return fold(now)
        loop = outside[at]
        whole = extent(loop.dim, now)
        trips = -(-whole // loop.tile)
        tail = whole - (trips - 1) * loop.tile
        last = run(at + 1, {**now, loop.dim: tail})
        if not many:
            if trips == 1:
                return last
            full = last if tail == loop.tile else run(at + 1, {**now, loop.dim: loop.tile})
            return then(repeat(full, trips - 1), last)
        single = trips == 1
        if np.all(single):
            return last
        full = run(at + 1, {**now, loop.dim: least(loop.tile, whole)})
        return either(single, last, then(repeat(full, most(trips - 1, 1)), last))

    every = run(0, dict(sizes))
    return every.end + (every.rows if array.overlap and not holds_sums else 0)
