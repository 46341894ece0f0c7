"""Which words the PEs hold, and when an ifmap that they hold slides back onto the same ones.

Of every other tensor other positions of the loops that cut it are other words.  The ifmap's
coordinates are sums, ``h = U*e + D*r - pad``: where E and R (or F and S) are both loops outside the
PEs, (r, e+1) and (r+1, e) may be the same word, and padding may cut tiles of several words short to
the same ones.  There the words themselves are compared.  Under a fused loop words are (k, x) pairs,
each a word of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapping.nest import Nest
from accelsim.workload.problem import RANKS

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Dims = tuple[str, ...]
SLIDING: list[Dims] = [dims for dims in RANKS["ifmap"] if len(dims) == 2]
NO_WORD = np.iinfo(np.int64).max


def pair_words(nest: Nest, dims: Dims) -> tuple[Ints, Bools]:
    """Of a sliding pair: a number for the coordinates that all PEs hold, and whether they hold
    none, at every position of its outside loops in nest order, ``[trips, ...]``.
    """
    (e_pieces, e_which, e_loops), (r_pieces, r_which, r_loops) = (_pieces(nest, d) for d in dims)
    word, none = _coordinates(nest, dims, e_pieces, r_pieces)
    held = word[e_which][:, :, r_which].transpose(0, 2, 1, 3)  # [of E, of R, PEs of E, PEs of R]
    held = held.reshape(e_which.shape[0] * r_which.shape[0], -1)
    number = np.unique(held, axis=0, return_inverse=True)[1]
    loops = [*e_loops, *r_loops]
    shape, order = [nest.loops[i].trips for i in loops], [loops.index(i) for i in sorted(loops)]
    return (
        number.reshape(shape).transpose(order),
        (held == none).all(axis=1).reshape(shape).transpose(order),
    )


def _pieces(nest: Nest, dim: str) -> tuple[Ints, Ints, list[int]]:
    """The different ranges of a dimension that a PE has, ``[ranges, 2]``, empty where it has
    nothing; which of them at every position of its outside loops, ``[positions, PEs]``; those
    loops.
    """
    last, chain = nest.levels - 1, nest.chain_of[dim]
    own = [i for i in chain.loops if nest.loops[i].dim == dim and nest.loops[i].level < last]
    outside = [i for i in own if not nest.loops[i].spatial]
    every = [*outside, *(i for i in own if nest.loops[i].spatial)]
    grid = np.indices([nest.loops[i].trips for i in every])
    piece = nest.pieces(chain, dict(zip(every, grid, strict=True)))
    low = np.where(piece.exists, piece.lo[dim], 0)
    high = np.where(piece.exists, piece.hi[dim], 0)
    ends = np.stack([np.broadcast_to(x, grid.shape[1:]) for x in (low, high)], -1).reshape(-1, 2)
    ranges, which = np.unique(ends, axis=0, return_inverse=True)
    positions = int(np.prod(grid.shape[1 : 1 + len(outside)]))
    return ranges, which.reshape(positions, -1), outside


def _coordinates(nest: Nest, dims: Dims, e: Ints, r: Ints) -> tuple[Ints, Any]:
    """A number for the real coordinates of a sliding pair that ranges of its dimensions reach
    together, ``[ranges of the one, of the other]``, and that of none.
    """
    kept = nest.projection("ifmap", nest.levels - 1)
    slide, real = kept.slide(dims), kept.window
    low, high = (0, slide.size) if real is None else real[SLIDING.index(dims)]
    (es, e_there), (rs, r_there) = (_positions(x) for x in (e, r))
    at = slide.stride * es[:, None, :, None] + slide.dilation * rs[:, None, :] - slide.pad
    there = e_there[:, None, :, None] & r_there[:, None, :] & (at >= low) & (at < high)
    words = np.sort(np.where(there, at, NO_WORD).reshape(len(e) * len(r), -1))
    words[:, 1:][words[:, 1:] == words[:, :-1]] = NO_WORD  # windows of neighbours overlap
    words = np.vstack([np.sort(words), np.full_like(words[:1], NO_WORD)])
    number = np.unique(words, axis=0, return_inverse=True)[1].ravel()
    return number[:-1].reshape(len(e), len(r)), number[-1]


def _positions(ranges: Ints) -> tuple[Ints, Bools]:
    """Positions of ranges, ``[ranges, positions]``, and which of them are."""
    at = ranges[:, :1] + np.arange(max(int((ranges[:, 1] - ranges[:, 0]).max()), 1))
    return at, at < ranges[:, 1:]


__all__ = ["SLIDING", "pair_words"]
