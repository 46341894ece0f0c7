"""Tiles of a buffer and what changes between two of them, as boxes of words.

A tile is a product of ranks (rule 2).  Of two tiles of one instance most ranks are the same object,
since the loops that cut them have not moved, so a difference is found rank by rank:

    A x B x C  minus  A' x B' x C   =   (A \\ A') x B x C   and   (A & A') x (B \\ B') x C

disjoint boxes, one for each rank that moved; what is new in an earlier rank is taken with all of
the later ones.  ``movement`` asks for both directions: what comes, and what goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from accelsim.engines.event.ranks import NOWHERE, Rank, coordinates, outer_sum, ranks_of
from accelsim.engines.event.transfers import Ints
from accelsim.engines.event.word_sets import NONE, Index, WordSet, box_of, chunk_boxes, index_of
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

    ``tensor``, ``level``, ``shape``  whose tiles they are
    ``pairs``     whether words are (k, x) pairs: then a tile is one register's list of words
    ``ranks``     the factors of a tile
    ``others``    chains the tensor does not depend on, through which an instance may be idle

    Equal factors and tiles are the same object, so that comparing them is comparing identities.
    """

    def __init__(self, nest: Nest, b: Boundary) -> None:
        self.nest, self.tensor, self.level = nest, b.tensor, b.child
        self.shape = nest.problem.shape(b.tensor)
        self.pairs = nest.projection(b.tensor, b.child).pairs
        self.ranks = ranks_of(nest, b.tensor, b.child)
        self.others = [
            c
            for c in nest.chains
            if not c.depends(b.tensor) and any(nest.loops[i].level < b.child for i in c.loops)
        ]
        self._factors: dict[Any, _Factor] = {}
        self._exist: dict[Any, bool] = {}
        self._tiles: dict[tuple[_Factor, ...], Tile] = {}
        self._last: dict[tuple[_Factor, ...], WordSet] = {}
        self._steps: dict[tuple[_Factor, _Factor], tuple[_Factor, _Factor]] = {}
        self._axes = {r: i for i, r in enumerate(RANKS[b.tensor])}

    def tile(self, at: dict[int, int]) -> tuple[bool, Tile]:
        """Whether the instance is idle through a dimension the tensor does not depend on, and its
        tile.
        """
        if not all(self._exists(c, at) for c in self.others):
            return True, ()
        if self.pairs:
            pieces = [self.nest.pieces(r.chains[0], only(r.chains[0], at)) for r in self.ranks]
            words = outer_sum(
                [
                    x[x != NOWHERE]
                    for x in (
                        r.offsets(self.nest, (p,)) for r, p in zip(self.ranks, pieces, strict=True)
                    )
                ]
            )
            return False, words[coordinates(self.nest, words, self.level)[1]]
        factors = tuple(self._factor(r, at) for r in self.ranks)
        return False, self._tiles.setdefault(factors, factors)

    def _exists(self, chain: Chain, at: dict[int, int]) -> bool:
        """Whether an instance has a piece of a chain at a position."""
        key = (chain.name, *(at[i] for i in chain.loops if i in at))
        if key not in self._exist:
            self._exist[key] = bool(self.nest.pieces(chain, only(chain, at)).exists)
        return self._exist[key]

    def _factor(self, rank: Rank, at: dict[int, int]) -> _Factor:
        """A rank's factor at a position, made when first met."""
        key = (rank, *(at[i] for c in rank.chains for i in c.loops if i in at))
        if key not in self._factors:
            pieces = tuple(self.nest.pieces(c, only(c, at)) for c in rank.chains)
            self._factors[key] = self._make(rank, pieces)
        return self._factors[key]

    def _make(self, rank: Rank, pieces: tuple[Piece, ...]) -> _Factor:
        """A rank of one axis is its list of coordinates; a fused chunk is a few boxes."""
        if len(rank.rank) == 1 or rank.sliding:
            axis = self._axes[rank.rank]
            offsets = rank.offsets(self.nest, pieces)
            values = offsets[offsets != NOWHERE] // rank.strides[0]
            return _Factor((axis,), ((index_of(values),),) if len(values) else (), values)
        (piece,) = pieces
        lo = [int(piece.lo[p]) for p in rank.rank]
        extents = [int(piece.hi[p]) - a for p, a in zip(rank.rank, lo, strict=True)]
        if not piece.exists:
            boxes: list[tuple[Index, ...]] = []
        else:
            start, stop = (
                (0, prod(extents))
                if piece.chunk is None
                else (int(piece.chunk[0]), int(piece.chunk[1]))
            )
            boxes = [
                tuple(slice(a + x, a + y) for a, (x, y) in zip(lo, box, strict=True))
                for box in chunk_boxes(extents, start, stop)
            ]
        return _Factor(tuple(self._axes[p,] for p in rank.rank), tuple(boxes), None)

    def minus(self, tile: Tile | None, other: Tile | None) -> WordSet:
        """The words of one tile that the other has not."""
        if tile is None or tile is other:
            return NONE
        if isinstance(tile, np.ndarray):
            return (
                NONE
                if isinstance(other, np.ndarray) and np.array_equal(tile, other)
                else WordSet(listed=tile)
            )
        if other is None:
            return self._whole(tile)
        assert not isinstance(other, np.ndarray)
        moved = [r for r in range(len(tile)) if tile[r] is not other[r]]
        steps = {r: self._step(tile[r], other[r]) for r in moved}
        if any(not kept.boxes for kept, _ in steps.values()):
            return self._whole(tile)
        products = []
        for r in moved:
            products.append(
                tuple(
                    steps[q][0] if q in steps and q < r else steps[r][1] if q == r else tile[q]
                    for q in range(len(tile))
                )
            )
        return self._words(products)

    def _whole(self, tile: tuple[_Factor, ...]) -> WordSet:
        """All words of a tile; the last few are remembered, since instances often share one."""
        if self._last.get(tile) is None:
            if len(self._last) > 8:
                self._last.clear()
            self._last[tile] = self._words([tile])
        return self._last[tile]

    def _step(self, now: _Factor, before: _Factor) -> tuple[_Factor, _Factor]:
        """What a rank keeps of an earlier one, and what it has that the earlier one had not."""
        key = (now, before)
        if key not in self._steps:
            if now is before:
                parted = now, _Factor(now.axes, (), now.values)
            elif (
                now.values is None or before.values is None
            ):  # chunks of one grid are equal or disjoint
                empty = _Factor(now.axes, (), None)
                parted = (now, empty) if now.boxes == before.boxes else (empty, now)
            else:
                same = np.isin(now.values, before.values, assume_unique=True)
                parted = tuple(
                    _Factor(now.axes, ((index_of(v),),) if len(v) else (), v)
                    for v in (now.values[same], now.values[~same])
                )  # type: ignore[assignment]
            self._steps[key] = parted
        return self._steps[key]

    def _words(self, products: list[tuple[_Factor, ...]]) -> WordSet:
        """Products of factors as disjoint boxes of the tensor."""
        boxes = []
        for factors in products:
            for choice in product(*(f.boxes for f in factors)):
                box: list[Any] = [None] * len(self.shape)
                for f, part in zip(factors, choice, strict=True):
                    for axis, index in zip(f.axes, part, strict=True):
                        box[axis] = index
                boxes.append(box_of(box))
        return WordSet(tuple(boxes)) if boxes else NONE

    def join(self, lists: list[WordSet]) -> WordSet:
        """The union of what several children move."""
        lists = [w for w in lists if len(w)]
        if len(lists) < 2:
            return lists[0] if lists else NONE
        return WordSet(listed=np.unique(np.concatenate([w.flat(self.shape) for w in lists])))


def only(chain: Chain, at: dict[int, int]) -> dict[int, int]:
    """The positions of a chain's own loops."""
    return {i: at[i] for i in chain.loops if i in at}
