"""Tiles as products of ranks: how positions of chains become lists of word offsets.

A rank is one factor of a tile: an interval of a plain dimension, a chunk of a fused one, or the
coordinates a window slides over.  An *offset* is what a rank adds to a word's flat address, so a
word is one offset from each rank, added up.  The event engine's own projection, from
``Nest.pieces`` alone; the analytic engine counts the same ranks without ever listing a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.transfers import Ints
from accelsim.engines.event.word_sets import digits
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
from accelsim.workload.problem import RANKS

NOWHERE = np.iinfo(np.int64).min // 4  # pads lists of offsets


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


@dataclass(frozen=True)
class Rank:
    """One factor of a tile.

    ``chains``   the chains it ranges over: one, or the two of a sliding pair
    ``strides``  of each part of a single chain, or of the sliding coordinate
    ``rank``     the parts of a single chain it ranges over, or the sliding pair
    ``sliding``  whether it is such a pair
    ``window``   the real coordinates [low, high), where stored padding is not held
    """

    chains: tuple[Chain, ...]
    strides: tuple[int, ...]
    rank: tuple[str, ...]
    sliding: bool = False
    window: tuple[int, int] | None = None

    def offsets(self, nest: Nest, pieces: tuple[Piece, ...]) -> Ints:
        """Word offsets, sorted, padded with NOWHERE: shape of the pieces plus one axis."""
        if self.sliding:
            return self._sliding(nest, *pieces)
        (piece,) = pieces
        lo = [np.asarray(piece.lo[p]) for p in self.rank]
        extent = [np.maximum(piece.hi[p] - piece.lo[p], 0) for p in self.rank]
        first, last = (0, prod(extent)) if piece.chunk is None else piece.chunk
        first, last = np.broadcast_arrays(np.asarray(first), np.asarray(last))
        width = max(int((last - first).max()), 0)
        at = first[..., None] + np.arange(width)
        real = (at < last[..., None]) & piece.exists[..., None]
        total = np.zeros(at.shape, np.int64)
        places = digits(at, [np.maximum(n, 1)[..., None] for n in extent])
        for low, place, stride in zip(lo, places, self.strides, strict=True):
            total += (low[..., None] + place) * stride
        if len(self.rank) > 1:  # the first part is the slowest, whatever its stride
            last = np.iinfo(np.int64).max
            total = np.sort(np.where(real, total, last), axis=-1)
            return np.where(total < last, total, NOWHERE)
        return np.where(real, total, NOWHERE)

    def _sliding(self, nest: Nest, out: Piece, filt: Piece) -> Ints:
        """All coordinates outputs x taps read, each once and sorted: duplicates are moved behind
        the end, since windows of neighbouring outputs overlap.
        """
        slide = nest.problem.slide(self.rank)
        e, r = self.rank
        e_lo, e_hi, r_lo, r_hi = np.broadcast_arrays(out.lo[e], out.hi[e], filt.lo[r], filt.hi[r])
        es = e_lo[..., None] + np.arange(max(int((e_hi - e_lo).max()), 0))
        rs = r_lo[..., None] + np.arange(max(int((r_hi - r_lo).max()), 0))
        at = slide.stride * es[..., :, None] + slide.dilation * rs[..., None, :] - slide.pad
        real = (es < e_hi[..., None])[..., :, None] & (rs < r_hi[..., None])[..., None, :]
        low, high = self.window or (0, slide.size)
        real &= (at >= low) & (at < high) & (out.exists & filt.exists)[..., None, None]
        flat = np.sort(np.where(real, at, slide.size).reshape(*e_lo.shape, -1), axis=-1)
        if flat.shape[-1] == 0:
            return np.full((*e_lo.shape, 1), NOWHERE)
        flat[..., 1:][flat[..., 1:] == flat[..., :-1]] = slide.size
        flat.sort(axis=-1)
        width = max(int((flat < slide.size).sum(axis=-1).max()), 1)
        flat = flat[..., :width]
        return np.where(flat < slide.size, flat * self.strides[0], NOWHERE)


def ranks_of(nest: Nest, tensor: str, child: int) -> tuple[Rank, ...]:
    """The factors of a tensor's tile.  Under a fused loop an ifmap word is its (k, x) pair: every
    chain counts for itself.
    """
    ranks: list[Rank] = []
    if nest.projection(tensor, child).pairs:
        span = 1
        for chain in (c for c in nest.chains if c.depends(tensor)):
            sizes = tuple(nest.problem.size[p] for p in chain.parts)
            ranks.append(Rank((chain,), tuple(s * span for s in _strides(sizes)), chain.parts))
            span *= prod(sizes)
        return tuple(ranks)
    strides = dict(zip(RANKS[tensor], _strides(nest.problem.shape(tensor)), strict=True))
    for rank in RANKS[tensor]:
        chain = nest.chain_of[rank[0]]
        if len(rank) == 2:
            chains, real = (chain, nest.chain_of[rank[1]]), window(nest, rank, tensor, child)
            ranks.append(Rank(chains, (strides[rank],), rank, True, real))
        elif not chain.fused or tensor == "ifmap":
            ranks.append(Rank((chain,), (strides[rank],), rank))
        elif all(chain not in r.chains for r in ranks):
            ranks.append(Rank((chain,), tuple(strides[p,] for p in chain.parts), chain.parts))
    return tuple(ranks)


def window(nest: Nest, rank: tuple[str, ...], tensor: str, level: int) -> tuple[int, int] | None:
    """The real coordinates of a sliding rank at a level of a framed nest that does not hold
    padding; else None.
    """
    real = nest.projection(tensor, level).window
    return None if real is None else real[0] if rank[0] == "E" else real[1]


def coordinates(
    nest: Nest, pairs: Ints, level: int
) -> tuple[dict[str, Ints], npt.NDArray[np.bool_]]:
    """Each (k, x) pair's coordinates by dimension, H and W included, and whether its ifmap word is
    real; all in the shape of ``pairs``.
    """
    parts = [p for c in reversed(nest.chains) if c.depends("ifmap") for p in c.parts]
    at = dict(zip(parts, digits(pairs, [nest.problem.size[p] for p in parts]), strict=True))
    real = np.ones(pairs.shape, bool)
    for name, rank in (("H", ("E", "R")), ("W", ("F", "S"))):
        slide = nest.problem.slide(rank)
        at[name] = slide.stride * at[rank[0]] + slide.dilation * at[rank[1]] - slide.pad
        low, high = window(nest, rank, "ifmap", level) or (0, slide.size)
        real &= (at[name] >= low) & (at[name] < high)
    return at, real


def address(nest: Nest, pairs: Ints) -> Ints:
    """The ifmap word each real pair stands for."""
    at, _ = coordinates(nest, pairs, 0)
    shape = nest.problem.shape("ifmap")
    return np.ravel_multi_index(tuple(at[d] for d in ("N", "G", "C", "H", "W")), shape).astype(
        np.int64
    )


def not_padding(nest: Nest, words: Ints) -> npt.NDArray[np.bool_]:
    """Which ifmap words of a framed nest are no stored zeros."""
    assert nest.window is not None
    (top, bottom), (left, right) = nest.window
    width = nest.problem.W
    h, w = words // width % nest.problem.H, words % width
    return (h >= top) & (h < bottom) & (w >= left) & (w < right)


def pieces_at(
    nest: Nest, chain: Chain, fixed: Mapping[int, int], free: Sequence[int]
) -> tuple[Piece, dict[int, Ints]]:
    """A chain's pieces at every position of its loops ``free``, the last of them fastest, while its
    other loops stand as ``fixed`` says, or are left whole; and the position of each free loop.  All
    arrays are [positions].
    """
    at = grid(nest.loops[i].trips for i in free)
    index = dict(zip(free, at, strict=True))
    piece = nest.pieces(chain, {i: fixed[i] for i in chain.loops if i in fixed} | index)
    lo, hi = (
        {p: np.broadcast_to(v, at.shape[1]) for p, v in x.items()} for x in (piece.lo, piece.hi)
    )
    first, last = piece.chunk or (np.int64(0), np.int64(0))
    chunk = np.broadcast_to(first, at.shape[1]), np.broadcast_to(last, at.shape[1])
    exists = np.broadcast_to(piece.exists, at.shape[1])
    return Piece(lo, hi, chunk if piece.chunk else None, exists), index


def reshaped(piece: Piece, shape: tuple[int, ...]) -> Piece:
    """The same pieces, plain ones, with axes of another shape."""
    lo, hi = ({p: v.reshape(shape) for p, v in x.items()} for x in (piece.lo, piece.hi))
    return Piece(lo, hi, None, piece.exists.reshape(shape))


def grid(trips: Iterable[int]) -> Ints:
    """All positions of some loops in nest order: ``[loops, positions]``."""
    shape = tuple(trips)
    return np.indices(shape, np.int64).reshape(len(shape), prod(shape))


def first_of(words: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Every word once, sorted, with the least of its places."""
    order = np.lexsort((places, words))
    once, first = np.unique(words[order], return_index=True)
    return once, places[order][first]


def grouped(nest: Nest, boundary: Boundary, spatial: list[int]) -> list[int]:
    """The spatial loops that tell sharers apart: those of the parent's instances and those along no
    shared axis.
    """
    return [
        i
        for i in spatial
        if nest.loops[i].level < boundary.parent or nest.loops[i].axis not in boundary.merged
    ]
