"""Tiles of a buffer and what changes between two of them, as boxes of words.

A tile is a product of ranks (rule 2).  Of two tiles of one instance most ranks are the same object,
since the loops that cut them have not moved, so a difference is found rank by rank:

    A x B x C  minus  A' x B' x C   =   (A \\ A') x B x C   and   (A & A') x (B \\ B') x C

disjoint boxes, one for each rank that moved; what is new in an earlier rank is taken with all of
the later ones.  ``movement`` asks for both directions: what comes, and what goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from accelsim.engines.event.ranks import NOWHERE, Rank, coordinates, ranks_of
from accelsim.engines.event.transfers import Ints
from accelsim.engines.event.word_sets import (
    NONE,
    Index,
    WordSet,
    box_of,
    chunk_boxes,
    index_of,
    outer_sum,
)
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
from accelsim.workload.problem import RANKS


@dataclass(frozen=True, eq=False)
class _Factor:
    """One rank of a tile.

    ``axes``    which axes of the tensor it covers
    ``boxes``   alternatives, each an index per axis; together they are the rank's words
    ``values``  [coordinates], sorted, where the rank is one axis; None of a fused chunk
    """

    axes: tuple[int, ...]
    boxes: tuple[tuple[Index, ...], ...]
    values: Ints | None


Tile = tuple[_Factor, ...] | Ints  # factors, or the (k, x) pair of a one-word register


class TileBoxes:
    """Tiles of one boundary's child and the differences between them, made once for each position
    of their ranks.

    ``shape``    of the tensor
    ``pairs``    whether words are (k, x) pairs: then a tile is one register's list of words
    ``ranks``    the factors of a tile, each with the loops outside the child that move it
    ``others``   chains the tensor does not depend on, through which an instance may be idle, with
                 theirs

    Equal factors and tiles are the same object, so that comparing them is comparing identities.
    """

    def __init__(self, nest: Nest, b: Boundary) -> None:
        self.nest, self.level, self.shape = nest, b.child, nest.problem.shape(b.tensor)
        self.pairs = nest.projection(b.tensor, b.child).pairs
        own = {c.name: [i for i in c.loops if nest.loops[i].level < b.child] for c in nest.chains}
        self.ranks = [
            (rank, [i for c in rank.chains for i in own[c.name]])
            for rank in ranks_of(nest, b.tensor, b.child)
        ]
        self.others = [
            (c, own[c.name]) for c in nest.chains if own[c.name] and not c.depends(b.tensor)
        ]
        self._axes = {r: i for i, r in enumerate(RANKS[b.tensor])}
        self._made: dict[Any, Any] = {}
        self._last: dict[tuple[_Factor, ...], WordSet] = {}

    def _once(self, key: Any, make: Callable[..., Any], *of: Any) -> Any:
        """What is made, remembered."""
        if key not in self._made:
            self._made[key] = make(*of)
        return self._made[key]

    def _pieces(self, chains: Iterable[Chain], at: dict[int, int]) -> tuple[Piece, ...]:
        """What an instance has of some chains at a position of the loops outside it."""
        return tuple(self.nest.pieces(c, {i: at[i] for i in c.loops if i in at}) for c in chains)

    def tile(self, at: dict[int, int]) -> tuple[bool, Tile]:
        """Whether the instance is idle through a dimension the tensor does not depend on, and its
        tile.
        """
        for c, loops in self.others:
            key = (c.name, *[at[i] for i in loops])
            (piece,) = self._once(key, self._pieces, (c,), at)
            if not piece.exists:
                return True, ()
        if self.pairs:
            lists = [r.offsets(self.nest, self._pieces(r.chains, at)) for r, _ in self.ranks]
            words = outer_sum([x[x != NOWHERE] for x in lists])
            return False, words[coordinates(self.nest, words, self.level)[1]]
        factors = tuple(
            [
                self._once((k, *[at[i] for i in loops]), self._factor, rank, at)
                for k, (rank, loops) in enumerate(self.ranks)
            ]
        )
        return False, self._made.setdefault(factors, factors)

    def _factor(self, rank: Rank, at: dict[int, int]) -> _Factor:
        """A rank of one axis is its list of coordinates; a fused chunk is a few boxes."""
        pieces = self._pieces(rank.chains, at)
        if len(rank.rank) == 1 or rank.sliding:
            offsets = rank.offsets(self.nest, pieces)
            return _line((self._axes[rank.rank],), offsets[offsets != NOWHERE] // rank.strides[0])
        (piece,) = pieces
        lo = [int(piece.lo[p]) for p in rank.rank]
        extents = [int(piece.hi[p]) - a for p, a in zip(rank.rank, lo, strict=True)]
        first, last = (0, prod(extents)) if piece.chunk is None else map(int, piece.chunk)
        boxes = [
            tuple(slice(a + x, a + y) for a, (x, y) in zip(lo, box, strict=True))
            for box in (chunk_boxes(extents, first, last) if piece.exists else ())
        ]
        return _Factor(tuple(self._axes[p,] for p in rank.rank), tuple(boxes), None)

    def minus(self, tile: Tile | None, other: Tile | None) -> WordSet:
        """The words of one tile that the other has not."""
        if tile is None or tile is other:
            return NONE
        if isinstance(tile, np.ndarray):
            same = isinstance(other, np.ndarray) and np.array_equal(tile, other)
            return NONE if same else WordSet(listed=tile)
        if other is None:
            return self._whole(tile)
        assert not isinstance(other, np.ndarray)
        parts = {
            r: self._once(("parted", now, before), _parted, now, before)
            for r, (now, before) in enumerate(zip(tile, other, strict=True))
            if now is not before
        }
        if any(not kept.boxes for kept, _ in parts.values()):
            return self._whole(tile)
        return self._words(
            [
                tuple(
                    parts[q][0] if q in parts and q < r else new if q == r else factor
                    for q, factor in enumerate(tile)
                )
                for r, (_, new) in parts.items()
            ]
        )

    def _whole(self, tile: tuple[_Factor, ...]) -> WordSet:
        """All words of a tile; the last few are remembered, since instances often share one."""
        if tile not in self._last:
            if len(self._last) > 8:
                self._last.clear()
            self._last[tile] = self._words([tile])
        return self._last[tile]

    def _words(self, products: list[tuple[_Factor, ...]]) -> WordSet:
        """Products of factors as disjoint boxes of the tensor."""
        boxes = []
        for factors in products:
            axes = [axis for f in factors for axis in f.axes]
            for choice in product(*(f.boxes for f in factors)):
                indices = [index for part in choice for index in part]
                boxes.append(box_of([indices[axes.index(k)] for k in range(len(axes))]))
        return WordSet(tuple(boxes)) if boxes else NONE

    def join(self, lists: list[WordSet]) -> WordSet:
        """The union of what several children move."""
        lists = [w for w in lists if len(w)]
        if len(lists) < 2:
            return lists[0] if lists else NONE
        return WordSet(listed=np.unique(np.concatenate([w.flat(self.shape) for w in lists])))


def _line(axes: tuple[int, ...], values: Ints) -> _Factor:
    """A rank of one axis."""
    return _Factor(axes, ((index_of(values),),) if len(values) else (), values)


def _parted(now: _Factor, before: _Factor) -> tuple[_Factor, _Factor]:
    """What a rank keeps of an earlier one, and what it has that the earlier one had not."""
    if now.values is None or before.values is None:  # chunks of one grid are equal or disjoint
        none = _Factor(now.axes, (), None)
        return (now, none) if now.boxes == before.boxes else (none, now)
    same = np.isin(now.values, before.values, assume_unique=True)
    return _line(now.axes, now.values[same]), _line(now.axes, now.values[~same])
