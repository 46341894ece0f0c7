"""Closed-form time of the array: DESIGN section 5's fold lengths and how folds follow each other.

A fold is one setting of the temporal loops outside the PEs; it streams T words through r rows and c columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.fold_time import FoldLoop, fold_time
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Chain, Nest
from accelsim.mapping.skeleton import OpenLoop, Skeleton, depends

Ints = npt.NDArray[np.int64]
MOST_FOLDS = 1 << 24


@dataclass(frozen=True)
class ArrayTime:
    """Cycles of the array alone; ``fill_drain`` is skew, preload and shifting."""

    cycles: int
    compute: int
    active_pes: int

    @property
    def fill_drain(self) -> int:
        return self.cycles - self.compute


def array_time(nest: Nest) -> ArrayTime:
    """Time of all passes with memory never waited for; cycles of the core clock."""
    compute, active = (
        prod(_count(nest, c, spatial) for c in nest.chains) for spatial in (False, True)
    )
    if not on_lines(nest):
        return ArrayTime(
            compute + nest.arch.array.pipeline_stages - 1 + chain_way(nest), compute, active
        )
    return ArrayTime(lines_time(nest), compute, active)


def lines_time(nest: Nest, *, merge: bool = True) -> int:
    """Section 5's time of all folds; they are listed only where a fold's rows depend on more than
    ranges: time inside space.

    Settings of the loops that hold the same words are one fold, or with ``merge`` off each its own.
    """
    last = nest.levels - 1
    for chain in nest.chains:
        space = [i for i in chain.loops if nest.loops[i].spatial]
        if space and any(
            i > space[0] and not nest.loops[i].spatial and nest.loops[i].level < last
            for i in chain.loops
        ):
            t, r, c = folds(nest)
            there = t > 0
            listed = t[there], r[there], c[there]
            return schedule(
                nest, *(merged(*listed, held_words(nest)[there]) if merge else listed)
            ).end
    loops = fold_loops(nest, [x.tile for x in nest.loops])
    array, holds_sums = nest.arch.array, nest.problem.accumulated in nest.keep[last]
    rows, cols = sides(nest)
    fused, turned = nest.mapping.fused, nest.turned
    return int(
        fold_time(
            loops,
            nest.problem.size,
            fused,
            array,
            rows,
            cols,
            holds_sums=holds_sums,
            turned=turned,
            merge=merge,
        )
    )


def fold_loops(nest: Nest, tiles: Sequence[Any]) -> list[FoldLoop]:
    """A nest's loops as ``fold_time`` takes them, with tiles that may be arrays over mappings."""
    last = nest.levels - 1
    where = [x.axis if x.spatial else "outside" if x.level < last else "inside" for x in nest.loops]
    return [
        FoldLoop(x.dim, tile, at, holds(nest, x))
        for x, tile, at in zip(nest.loops, tiles, where, strict=True)
    ]


def holds(nest: Skeleton, loop: OpenLoop) -> bool:
    """Whether a loop cuts a tensor that the PEs hold."""
    return any(nest.loop_depends(loop, t) for t in nest.keep[nest.levels - 1])


def held_words(nest: Nest) -> Ints:
    """A number for what the PEs hold in every fold that ``folds`` lists."""
    outside = [x for x in nest.loops if not x.spatial and x.level < nest.levels - 1]
    shape = [x.trips for x in outside]
    found = np.zeros(shape, np.int64)
    for x, index in zip(outside, np.indices(shape, np.int64), strict=True):
        if holds(nest, x):
            found = found * x.trips + index
    return found.ravel()


def merged(t: Ints, r: Ints, c: Ints, words: Ints) -> tuple[Ints, Ints, Ints]:
    """Folds in a row of one size that hold the same words, as one."""
    new = np.append(True, (np.diff(words) != 0) | (np.diff(r) != 0) | (np.diff(c) != 0))
    starts = np.flatnonzero(new)
    return np.add.reduceat(t, starts), r[starts], c[starts]


def sides(nest: Skeleton) -> tuple[int, int]:
    """Rows and columns of a systolic array as section 5 counts them: sums travel down its
    columns.
    """
    array = nest.arch.array
    return (array.cols, array.rows) if nest.turned else (array.rows, array.cols)


def on_lines(nest: Skeleton) -> bool:
    """Whether section 5's folds are the array's time: operands travel and each PE holds
    something.
    """
    return nest.arch.systolic and bool(nest.keep[nest.levels - 1])


def chain_way(nest: Nest) -> int:
    """Links from the first PE to the last of the chain that adds up a sum, where there is one:
    along the rows, then the columns.
    """
    b = next(
        b
        for b in reversed(nest.boundaries)
        if b.tensor == nest.problem.accumulated and b.parent < nest.levels - 1
    )
    if b.kind != "chain":
        return 0
    sizes = dict.fromkeys(("row", "col"), 1)
    for x in nest.loops:
        if x.spatial and x.level >= b.parent and not depends(x.dim, b.tensor, nest.mapping.fused):
            sizes[x.axis] *= x.trips
    return sizes["row"] + sizes["col"] - 2


def folds(nest: Nest) -> tuple[Ints, Ints, Ints]:
    """T, r and c of every fold, in order; T is 0 where a setting of the loops has none.

    Raises MappingError where there are more than 2^24.
    """
    many = prod(x.trips for x in nest.loops if not x.spatial and x.level < nest.levels - 1)
    if many > MOST_FOLDS:
        raise MappingError(
            f"the array would take {many} folds, more than the {MOST_FOLDS} that are timed against a memory one by one"
        )
    loops = nest.loops
    outside = [i for i, x in enumerate(loops) if not x.spatial and x.level < nest.levels - 1]
    shape = [loops[i].trips for i in outside]
    place = dict(
        zip(outside, np.indices(shape, np.int64).reshape(len(shape), prod(shape)), strict=True)
    )
    total = [np.ones(prod(shape), np.int64) for _ in range(3)]
    for chain in nest.chains:
        own = [i for i in outside if i in chain.loops]
        grid = np.indices([loops[i].trips for i in own], np.int64).reshape(
            len(own), prod(loops[i].trips for i in own)
        )
        fixed = {i: g[:, None] for i, g in zip(own, grid, strict=True)}
        inside = [i for i in chain.loops if not loops[i].spatial and i not in own]
        flat = np.zeros(prod(shape), np.int64)
        for i in own:
            flat = flat * loops[i].trips + place[i]
        for k, free in enumerate(
            (
                inside,
                *([i for i in chain.loops if loops[i].axis == axis] for axis in ("row", "col")),
            )
        ):
            total[k] *= np.atleast_1d(_per_fold(nest, chain, free, fixed, grid.shape[1]))[flat]
    return total[0], total[1], total[2]


def _per_fold(nest: Nest, chain: Chain, free: list[int], fixed: dict[int, Ints], n: int) -> Ints:
    """Positions of some loops that exist in each fold, the other loops inside at their first."""
    trips = [nest.loops[i].trips for i in free]
    grid = np.indices(trips, np.int64).reshape(len(trips), prod(trips))
    index: dict[int, Ints | int] = dict.fromkeys(chain.loops, 0)
    index |= fixed | {i: g[None, :] for i, g in zip(free, grid, strict=True)}
    exists = np.broadcast_to(nest.pieces(chain, index).exists, (n, prod(trips)))
    return np.asarray(exists.sum(axis=1))


def _count(nest: Nest, chain: Chain, spatial: bool) -> int:
    """Positions of a chain's spatial loops, or of its temporal ones, the others at their first."""
    if not chain.loops:
        return 1
    where = {p: n for n, p in enumerate(chain.parts)}
    loops = [nest.loops[i] for i in chain.loops]
    cuts = tuple([(where.get(x.dim, -1), x.tile, x.spatial == spatial) for x in loops])
    return _existing(tuple([nest.problem.size[p] for p in chain.parts]), cuts)


@lru_cache(maxsize=1 << 14)
def _existing(sizes: tuple[int, ...], cuts: tuple[tuple[int, int, bool], ...]) -> int:
    """Positions of the counted loops (part or -1 for the fused whole, tile, counted) that exist in
    a box.
    """
    if not cuts:
        return 1
    (part, tile, counted), inner = cuts[0], cuts[1:]
    if part < 0:  # from here on the chunk is all there is
        sizes, part = (prod(sizes),), 0
        inner = tuple([(0, t, n) for _, t, n in inner])

    def within(length: int) -> int:
        return _existing((*sizes[:part], length, *sizes[part + 1 :]), inner)

    full, rest = divmod(sizes[part], tile)
    if not counted:
        return within(tile if full else rest)
    return (full * within(tile) if full else 0) + (within(rest) if rest else 0)


@dataclass(frozen=True)
class Schedule:
    """How folds follow each other: edges from each fold's start to the next one's, from its start
    to its end, and before the first.
    """

    gap: Ints
    tail: Ints
    first: int

    @property
    def start(self) -> Ints:
        return np.asarray(self.first + np.concatenate([[0], np.cumsum(self.gap)[:-1]]))

    @property
    def end(self) -> int:
        """The number of the edge that latches the last result."""
        return int((self.start + self.tail).max())


def schedule(nest: Nest, t: Ints, r: Ints, c: Ints) -> Schedule:
    """DESIGN section 5 for folds that exist, in order."""
    array = nest.arch.array
    held = nest.keep[nest.levels - 1]
    rows, cols = sides(nest)
    if nest.turned:
        r, c = c, r
    if array.partial_folds == "full":
        r, c = np.full_like(r, rows), np.full_like(c, cols)
    if nest.problem.accumulated in held:
        shift = 0 if array.outputs == "in_place" else rows
        tail, first = t + r + shift + c - 2, 0
        leaving = np.maximum(t, t + r - np.append(t[1:], t[-1:]))
        gap = {"in_place": t, "accumulators": t + r - 1, "register": leaving}[array.outputs]
    else:
        tail, first = t + rows + c - 2, int(r[0])
        following = np.append(r[1:], 1)
        gap = np.maximum(t, following) if array.weight_registers == 2 else t + following - 1
        if not array.overlap:
            tail, first = tail + r, 0
    return Schedule(gap if array.overlap else tail, tail, first)
