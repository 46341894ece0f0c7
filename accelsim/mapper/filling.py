"""Tiles that fill the array: of ranges that divisors cut badly.

What a level holds of a dimension is laid over rows or columns in folds, the last of which may be
short.  14 x 14 outputs over 20 columns: a tile of 7 x 7 takes three folds, 49 of 60 places; one of
5 x 4 fills one fold.  Among 256 channels over 24 rows, 128 leave a ninth of the array idle and 144
nothing.  So outside the loop that feeds the array ``quick_rows`` takes these, too:

- of one dimension, as much as whole folds have, or an even share of as few;
- of fused ones, every even tile (the least that cuts a range into so many pieces).

Of the choices of a family, divisors stay, and of others those that leave clearly less idle than
divisors' of their size do (``filling``): few where divisors fit the array, as on 32 x 32.  Between
divisors that are far apart, as 13 has them, there are even tiles in any case (``spread``).

A layer of one tap on a square is the same with rows for columns (``twins``): one of the two is
enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, product
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.mapper.space import divisors, even_tiles
from accelsim.mapping.skeleton import Chain, OpenLoop, Skeleton

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
BETTER = 1.03  # times what divisors of its size use of the array, for a tile to be worth a look
FULLY = 0.995  # of what any of its size use
FOLDS = 34  # whole folds of a tile at most: with more the short one is less than BETTER
EVEN = 256  # the longest range of which every even tile is taken


class Filled:
    """The loops of a family outside the one that feeds its loop over the array.

    ``side``   rows or columns that loop lies over
    ``outer``  places of those loops, one a dimension; none where that is not so, and nothing is to
               be filled
    """

    def __init__(self, skeleton: Skeleton, family: Chain, loops: Sequence[OpenLoop]) -> None:
        self.family, self.size = family, skeleton.problem.size
        array, axes = skeleton.arch.array, [x.axis for x in loops if x.spatial]
        self.side = array.rows if axes == ["row"] else array.cols
        first = next((n for n, x in enumerate(loops) if x.spatial), 0)
        own = loops[first].dim if loops else ""
        feeding = first - 1 if first and loops[first - 1].dim == own else first
        outer = [loops[n].dim for n in range(feeding)]
        fills = len(axes) == 1 and len({*outer} & {*family.parts}) == len(outer)
        self.outer = list(range(feeding)) if fills else []

    def options(self, dim: str, entering: int) -> tuple[int, ...]:
        """Tiles of one of these loops, rising."""
        if dim in "RS":  # a filter's few taps
            return tuple(divisors(entering))
        every = self.family.fused and dim != "N" and entering <= EVEN
        return _options(entering, self.side, every)

    def good(self, loops: Sequence[OpenLoop], tiles: Sequence[Ints]) -> tuple[Bools, Bools]:
        """Which choices of tiles of these loops [loops, choices] are worth looking at, and which
        of them are plain: divisors and their like.
        """
        return filling([self.size[loops[n].dim] for n in self.outer], tiles, self.side)


@lru_cache(maxsize=1 << 14)
def spread(entering: int) -> tuple[int, ...]:
    """Divisors of a range, rising, and between two that are further than a factor of three apart
    even tiles: halves of the larger, rounded up.
    """
    tiles = list(divisors(entering))
    for low, high in pairwise(tuple(tiles)):
        while high > 3 * low:
            high = -(-high // 2)
            tiles.append(high)
    return tuple(sorted(set(tiles)))


@lru_cache(maxsize=1 << 14)
def _options(entering: int, side: int, every: bool) -> tuple[int, ...]:
    """Divisors of a range, and ``every`` even tile or those of whole folds."""
    tiles = set(spread(entering))
    if every:
        tiles |= {*even_tiles(entering)}
    else:
        folds = -(-entering // side)
        for n in range(1, FOLDS + 1):
            trips = -(-folds // n)
            if n == -(-folds // trips):  # as much as n folds have, or an even share of as few
                tiles |= {min(entering, side * n), -(-entering // trips)}
    return tuple(sorted(tiles))


def whole_folds(entering: int, side: int) -> tuple[int, ...]:
    """Tiles of a range that fills so many rows or columns, where the loop over them is fed: all of
    it, one fold, or the even share of as few.
    """
    fold = min(entering, side)
    return tuple(sorted({entering, fold, -(-entering // -(-entering // fold))}))


def filling(sizes: Sequence[int], tiles: Sequence[Ints], side: int) -> tuple[Bools, Bools]:
    """Which choices of tiles of some dimensions [choices] to keep: divisors (``spread``), and of
    others those whose pieces, laid over so many rows or columns, use more of them than divisors do
    that are no larger and at least half as large, and no less than any others like that.  And which
    are divisors.
    """
    folds, words = np.zeros((2, len(tiles[0])), np.int64)
    even, words = np.ones(len(words), bool), words + 1
    for tile, size in zip(tiles, sizes, strict=True):
        words, even = words * tile, even & np.isin(tile, spread(size))
    pieces = [
        ((n // t, t), (np.minimum(n % t, 1), n % t)) for n, t in zip(sizes, tiles, strict=True)
    ]
    for each in product(*pieces):  # whole pieces or short ones, of every dimension
        folds += prod([many for many, _ in each]) * -(-prod([size for _, size in each]) // side)
    order = np.argsort(words, kind="stable")
    words, used, even = words[order], (prod(sizes) / folds)[order], even[order]
    begin = np.searchsorted(words, (words + 1) // 2)  # of those at least half as large, to here
    span = np.stack([begin, np.searchsorted(words, words, "right")], axis=1).ravel()
    most, most_even = (
        np.maximum.reduceat(np.append(x, 0.0), span)[::2] for x in (used, np.where(even, used, 0.0))
    )
    good, plain = np.empty((2, len(words)), bool)
    plain[order] = even
    good[order] = even | ((used >= FULLY * most) & (used > BETTER * most_even))
    return good, plain


def twins(skeleton: Skeleton, loops: Sequence[OpenLoop], trips: Ints) -> Bools:
    """Which choices [choices] are others with rows for columns, where these are the same: those
    that cut columns alone where rows could be cut instead.
    """
    pairs = [
        n
        for n, (x, y) in enumerate(pairwise(loops))
        if (x.dim, y.dim) == ("E", "F") and (x.level, x.axis) == (y.level, y.axis)
    ]
    if not skeleton.problem.rows_are_columns or len(pairs) != 1:
        return np.zeros(len(trips), bool)
    return np.asarray((trips[:, pairs[0]] == 1) & (trips[:, pairs[0] + 1] > 1))


__all__ = ["Filled", "filling", "spread", "twins", "whole_folds"]
