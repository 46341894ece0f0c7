"""Pieces of a chain laid out position by position.

For what needs the words of each setting apart (``settings``), and for real (k, x) pairs
(``closed_form``).  Sums over all positions need none of this: ``rank_sums``.

A position has three axes everywhere on this page,

    [position, grouped, merged]

the setting of the temporal loops, the instances that share nothing, the instances of one group that
share words.  Two chains that meet in a sliding rank have three axes each, side by side, and a last
one for the coordinate:  [pe, pr, ge, gr, me, mr, h].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.workload.problem import Slide

Ints = npt.NDArray[np.int64]
CELLS = 1 << 24  # set elements laid out at once


@dataclass(frozen=True)
class TileChain:
    """A chain above a boundary, as plain numbers: what a table depends on.

    ``sizes``     of each part, uncut
    ``loops``     (part, or -1 for the fused whole; tile; kind), outermost first; the kind is ``t``
                  temporal, ``g`` grouped, ``m`` merged
    ``temporal``  which loops are temporal
    ``trips``     the most trips each loop makes
    """

    sizes: tuple[int, ...]
    loops: tuple[tuple[int, int, str], ...]

    @cached_property
    def _hash(self) -> int:
        return hash((self.sizes, self.loops))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def temporal(self) -> tuple[int, ...]:
        return tuple(i for i, x in enumerate(self.loops) if x[2] == "t")

    @cached_property
    def trips(self) -> tuple[int, ...]:
        current = list(self.sizes)
        chunk: int | None = None
        trips = []
        for part, tile, _ in self.loops:
            if part >= 0:
                trips.append(-(-current[part] // tile))
                current[part] = min(tile, current[part])
            else:
                whole = prod(current) if chunk is None else chunk
                trips.append(-(-whole // tile))
                chunk = min(tile, whole)
        return tuple(trips)

    def at(self, index: Sequence[Any]) -> ChainRange:
        """Ranges at one index a loop: ints, or arrays [position, grouped, merged] that broadcast
        together.  An index past the end of its range gives an empty piece, never a wrapped one.
        """
        lo: list[Any] = [0] * len(self.sizes)
        hi: list[Any] = list(self.sizes)
        chunk: tuple[Any, Any] | None = None
        for (part, tile, _), i in zip(self.loops, index, strict=True):
            if part >= 0:
                lo[part] = lo[part] + i * tile
                hi[part] = np.minimum(hi[part], lo[part] + tile)
            else:
                first, last = (
                    (0, prod(np.maximum(h - low, 0) for low, h in zip(lo, hi, strict=True)))
                    if chunk is None
                    else chunk
                )
                chunk = (first + i * tile, np.minimum(last, first + (i + 1) * tile))
        return ChainRange(lo, hi, chunk)

    def last(self, index: list[Any], inner: Sequence[int]) -> None:
        """Set the temporal loops ``inner`` to the last trip some instance takes, outermost first.

        The first instance has the largest pieces, so its last trip is the last of any.  Which trip
        that is depends on the loops outside: a short piece has fewer.
        """
        for i in inner:
            probe = [0 if self.loops[n][2] != "t" else index[n] for n in range(i)]
            size = TileChain(self.sizes, self.loops[:i]).at(probe).extent(self.loops[i][0])
            index[i] = np.maximum(-(-size // self.loops[i][1]) - 1, 0)


@dataclass(frozen=True)
class ChainRange:
    """Pieces of a chain at some positions: of each part the range [lo, hi), and under a fused loop
    the ``chunk`` [first, last) of the box's points, numbered first part slowest.  Entries are ints,
    or arrays of the positions' shape.
    """

    lo: list[Any]
    hi: list[Any]
    chunk: tuple[Any, Any] | None

    def extent(self, part: int) -> Any:
        """The length the next loop cuts: of a part, or (-1) of the fused whole."""
        if part >= 0:
            return self.hi[part] - self.lo[part]
        if self.chunk is not None:
            return self.chunk[1] - self.chunk[0]
        return prod(np.maximum(h - low, 0) for low, h in zip(self.lo, self.hi, strict=True))

    def size(self) -> Any:
        """Words of a plain rank: the chunk, or the whole box; 0 where the piece does not exist."""
        box = prod(np.maximum(h - low, 0) for low, h in zip(self.lo, self.hi, strict=True))
        if self.chunk is None:
            return np.asarray(box)
        return np.where(box > 0, np.maximum(self.chunk[1] - self.chunk[0], 0), 0)

    def common(self, other: ChainRange) -> Any:
        """Words two pieces of one chain share: pieces of one grid are equal or disjoint, chunks of
        one box are compared as ranges of its points.
        """
        both = prod(
            np.maximum(np.minimum(a, b) - np.maximum(c, d), 0)
            for a, b, c, d in zip(self.hi, other.hi, self.lo, other.lo, strict=True)
        )
        if self.chunk is None or other.chunk is None:
            return np.asarray(both)
        same = np.minimum(self.chunk[1], other.chunk[1]) - np.maximum(self.chunk[0], other.chunk[0])
        return np.where(both > 0, np.maximum(same, 0), 0)

    def one(self, part: int) -> Any:
        """Coordinate of a part where the piece is a single position."""
        if self.chunk is None:
            return self.lo[part]
        inner = prod(np.maximum(self.hi[q] - self.lo[q], 1) for q in range(part + 1, len(self.lo)))
        return self.lo[part] + (self.chunk[0] // inner) % np.maximum(
            self.hi[part] - self.lo[part], 1
        )


def positions(
    line: TileChain, outside: int, own: bool, *, merged: bool
) -> tuple[list[Any], list[Any]]:
    """Index arrays now and one step before, one a loop, each [position, grouped, merged] with
    length 1 along the axes it does not move on.

    The first ``outside`` temporal loops stand still; if ``own``, the next one advances from i-1 to
    i; the rest go from their last trip to their first.
    """
    fixed = line.temporal[: outside + own]
    kinds = (
        list(fixed),
        [i for i, x in enumerate(line.loops) if x[2] == "g"],
        [i for i, x in enumerate(line.loops) if x[2] == "m"],
    )
    now: list[Any] = [0] * len(line.loops)
    for axis, members in enumerate(kinds):
        if axis == 2 and not merged:
            continue
        shape = [1, 1, 1]
        grid = np.indices(
            [line.trips[i] - (own and i == fixed[-1]) for i in members], np.int64
        ).reshape(len(members), prod(line.trips[i] - (own and i == fixed[-1]) for i in members))
        shape[axis] = grid.shape[1]
        for i, g in zip(members, grid, strict=True):
            now[i] = (g + (own and i == fixed[-1])).reshape(shape)
    before = list(now)
    if own:
        before[fixed[-1]] = now[fixed[-1]] - 1
    line.last(before, line.temporal[outside + own :])
    return now, before


def step_exists(line: TileChain, now: list[Any]) -> npt.NDArray[np.bool_]:
    """Whether a step exists, ``[position, 1, 1]``: some instance takes it, and if any does the
    first one, whose pieces are the largest.
    """
    first = [i if kind == "t" else 0 for i, (_, _, kind) in zip(now, line.loops, strict=True)]
    return np.asarray(line.at(first).size()) > 0


@lru_cache(maxsize=1 << 14)
def coordinate_readers(slide: Slide, out: int, filt: int) -> Ints:
    """The output that reads coordinate h through tap r, or -1: ``[coordinates, taps]``."""
    e = np.arange(slide.size)[:, None] + slide.pad - slide.dilation * np.arange(filt)
    real = (e >= 0) & (e % slide.stride == 0) & (e < out * slide.stride)
    return np.where(real, e // slide.stride, -1)


def coordinates(readers: Ints, e: ChainRange, r: ChainRange) -> npt.NDArray[np.bool_]:
    """Which coordinates pieces of (E, R) touch: the pieces' broadcast shape, then h.

    One tap after the other; a piece has at most R of them, while it may have thousands of outputs.
    """
    e_lo, e_hi, r_lo, r_hi = (
        np.asarray(x)[..., None] for x in (e.lo[0], e.hi[0], r.lo[0], r.hi[0])
    )
    shape = np.broadcast_shapes(e_lo.shape, e_hi.shape, r_lo.shape, r_hi.shape)[:-1]
    touched = np.zeros((*shape, len(readers)), bool)
    for step in range(int((r_hi - r_lo).max())):
        at = np.minimum(r_lo + step, readers.shape[1] - 1)
        reader = readers[np.arange(len(readers)), at]
        touched |= (reader >= e_lo) & (reader < e_hi) & (r_lo + step < r_hi)
    return touched


def flag(taken: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """A flag a position, laid on one of the seven axes of a sliding rank."""
    shape = [1] * 7
    shape[axis] = taken.size
    return taken.reshape(shape)


def lift(at: ChainRange, axes: tuple[int, int, int]) -> ChainRange:
    """Give a chain's three axes their places among the six of a sliding rank, before h."""

    def place(x: Any) -> Any:
        x = np.asarray(x)
        shape = [1] * 6
        for axis, n in zip(axes, np.broadcast_shapes(x.shape, (1, 1, 1)), strict=True):
            shape[axis] = n
        return x.reshape(shape)

    return ChainRange([place(x) for x in at.lo], [place(x) for x in at.hi], None)
