"""What each level holds under a set of loops: largest tiles, word widths, bytes, and whether they
fit.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from accelsim.hardware.architecture import Architecture, Level
from accelsim.mapping.mapping import Axis
from accelsim.workload.problem import DEPENDS, DIMS, RANKS, TENSORS, Problem, Slide


class Trip(NamedTuple):
    """One loop that exists: ``trips`` is the most it runs at any outer position."""

    dim: str
    tile: int
    level: int
    axis: Axis
    trips: int

    @property
    def spatial(self) -> bool:
        return self.axis != "none"


def depends(dim: str, tensor: str, fused: Map[str, tuple[str, ...]]) -> bool:
    """Whether a tensor depends on a dimension, or on any part of a fused one."""
    of = DEPENDS[tensor]
    return dim in of if dim in DIMS else any(p in of for p in fused[dim])


def pair_words(loops: Sequence[Trip], tensor: str, child: int) -> bool:
    """Whether a tensor's words at a child are (k, x) pairs: an ifmap under a fused loop."""
    return tensor == "ifmap" and any(x.dim not in DIMS and x.level < child for x in loops)


@dataclass(frozen=True)
class Footprint:
    """Occupancy of every level by the largest tile of every tensor it keeps."""

    problem: Problem
    arch: Architecture
    keep: tuple[frozenset[str], ...]
    loops: Sequence[Trip]
    fused: Map[str, tuple[str, ...]]

    def under(self, loops: Sequence[Trip]) -> Footprint:
        """The same levels under other loops; what hangs on no loop is not worked out again."""
        other = object.__new__(Footprint)
        other.__dict__.update(
            self.__dict__,
            loops=loops,
            _tiled={},
            _slides=self._slides,
            bounded=self.bounded,
            homes=self.homes,
        )
        return other

    def tile_words(self, level: int, tensor: str) -> int:
        """Most real words of a tensor's tile at a level over all positions; of its home's, all of
        them.
        """
        tiles, cut = self._above(0 if self.homes[tensor] == level else level)
        size, words = self.problem.size, 1
        done: tuple[str, ...] = ()
        if cut:
            if tensor == "ifmap":
                return 1  # a (k, x) pair
            for name in cut:
                done += self.fused[name]
                if depends(name, tensor, self.fused):
                    box = prod(self._extent(p, level) for p in self.fused[name])
                    words *= min(box, *tiles[name])
        for rank in RANKS[tensor]:
            d = rank[0]
            if d in done:
                continue
            if len(rank) == 1:
                words *= min(size[d], *tiles[d]) if d in tiles else size[d]
            else:
                r = rank[1]
                words *= sliding_words(
                    self.slide(rank, level), size[d], tiles.get(d, ()), size[r], tiles.get(r, ())
                )
        return words

    def slide(self, rank: tuple[str, ...], level: int) -> Slide:
        """The ifmap's projection at a level: with its padding where that is stored."""
        found = self._slides.get((rank, level))
        if found is None:
            stored = self.problem.accumulated != "ifmap" and self.arch.stores_padding(level)
            found = self._slides[rank, level] = (
                self.problem.padded_slide(rank) if stored else self.problem.slide(rank)
            )
        return found

    def tile_extents(self, level: int, tensor: str) -> tuple[int, ...]:
        """Length of the tensor's longest tile along each of its axes, gaps included; of no home."""
        if pair_words(self.loops, tensor, level):
            return (1,) * len(RANKS[tensor])
        cut = [
            n
            for n in {x.dim for x in self.loops if x.level < level} - set(DIMS)
            if depends(n, tensor, self.fused)
        ]
        spans = {}
        for name in cut:
            parts = self.fused[name]
            chunk = min((prod(self._extent(p, level) for p in parts), *self._tiles(name, level)))
            for i, p in enumerate(parts):
                inner = prod(
                    self._shortest(q, level) for q in parts[i + 1 :]
                )  # a short piece makes a chunk reach further
                spans[p] = min(self._extent(p, level), (chunk - 1) // inner + 2)
        found = []
        for rank in RANKS[tensor]:
            if len(rank) == 1:
                found.append(spans.get(rank[0], self._extent(rank[0], level)))
            else:
                slide = self.slide(rank, level)
                e, r = (self._extent(d, level) for d in rank)
                found.append(min(slide.size, (e - 1) * slide.stride + (r - 1) * slide.dilation + 1))
        return tuple(found)

    @cached_property
    def homes(self) -> dict[str, int]:
        """The outermost level that keeps each tensor, and all of it."""
        return {t: next((i for i, kept in enumerate(self.keep) if t in kept), 0) for t in TENSORS}

    def _shortest(self, dim: str, level: int) -> int:
        lo, hi = _piece_ends(self.problem.size[dim], self._tiles(dim, level))
        return int((hi - lo).min())

    @cached_property
    def _slides(self) -> dict[tuple[tuple[str, ...], int], Slide]:
        return {}

    @cached_property
    def _tiled(self) -> dict[int, tuple[dict[str, tuple[int, ...]], tuple[str, ...]]]:
        return {}

    def _above(self, level: int) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
        """Tiles of the loops outside a level, by dimension, and which of the dimensions are
        fused.
        """
        found = self._tiled.get(level)
        if found is None:
            tiles: dict[str, tuple[int, ...]] = {}
            for x in self.loops:
                if x.level < level:
                    tiles[x.dim] = (*tiles[x.dim], x.tile) if x.dim in tiles else (x.tile,)
            found = self._tiled[level] = tiles, tuple(d for d in tiles if d not in DIMS)
        return found

    def _tiles(self, dim: str, level: int) -> tuple[int, ...]:
        return self._above(level)[0].get(dim, ())

    def _extent(self, dim: str, level: int) -> int:
        return min((self.problem.size[dim], *self._tiles(dim, level)))

    def final(self, level: int) -> bool:
        """Whether sums arriving at a level need no further addition: they have ofmap width from
        there on.

        They do if every loop that reduces stands inside the next keeper, or is spatial and added on
        the way.
        """
        acc = self.problem.accumulated
        child = next(
            (i for i in range(level + 1, len(self.keep)) if acc in self.keep[i]), len(self.keep)
        )
        added = False
        for x in self.loops:
            if x.level < child and not depends(x.dim, acc, self.fused):
                if not x.spatial or x.level < level:
                    return False
                added = True
        last = len(self.keep) - 1
        below = child - 1 if child <= last else last if level == last else max(last - 1, 0)
        return not added or self.arch.network_below(below)[1].accumulated != "unicast"

    def word_bits(self, level: int, tensor: str) -> int:
        """Width of a tensor's words at a level, in bits."""
        bits = self.arch.bits
        if tensor == self.problem.accumulated:
            return getattr(bits, tensor) if self.final(level) else bits.psum
        return int(getattr(bits, tensor))

    def tile_bytes(self, level: int, tensor: str) -> int:
        """Bytes a tensor's largest tile occupies at a level, twice where the level is
        double-buffered.
        """
        return self._bytes(level, tensor, self.arch.levels[self.arch.level_names[level]])

    def _bytes(self, at: int, tensor: str, level: Level) -> int:
        once = ceil(self.tile_words(at, tensor) * self.word_bits(at, tensor) / 8)
        return once * (2 if level.double_buffered and self.homes[tensor] != at else 1)

    @cached_property
    def bounded(self) -> list[tuple[int, str, Level, list[str]]]:
        """Levels that can overflow: number, name and the tensors they keep."""
        return [
            (i, name, level, [t for t in TENSORS if t in self.keep[i]])
            for i, (name, level) in enumerate(self.arch.levels.items())
            if level.capacity_bytes is not None or level.partitions
        ]

    def overflow(self) -> str | None:
        """Which tensor overflows which level by how much, or None."""
        for i, name, level, kept in self.bounded:
            shared = {}
            for t in kept:
                if t in level.partitions:
                    need = self._bytes(i, t, level)
                    if need > level.partitions[t]:
                        over = need - level.partitions[t]
                        return f"{name}: the {t} tile needs {need} bytes, its partition has {level.partitions[t]}: {over} too many"
                elif level.capacity_bytes is not None:
                    shared[t] = self._bytes(i, t, level)
            if level.capacity_bytes is None:
                continue
            if level.banks:
                size = level.capacity_bytes // level.banks
                need = sum([ceil(b / size) for b in shared.values()])
                if need > level.banks:
                    return f"{name}: {_listed(shared)} bytes need {need} whole banks of {size} bytes, it has {level.banks}"
            elif (over := sum(shared.values()) - level.capacity_bytes) > 0:
                return (
                    f"{name}: {_listed(shared)} bytes exceed its {level.capacity_bytes} by {over}"
                )
        return None


def _listed(bytes_of: Map[str, int]) -> str:
    return " + ".join(f"{t} {b}" for t, b in bytes_of.items())


@lru_cache(maxsize=65536)
def sliding_words(
    slide: Slide, out: int, out_tiles: tuple[int, ...], filt: int, filt_tiles: tuple[int, ...]
) -> int:
    """Most real coordinates any (output piece, filter piece) touches on a sliding rank."""
    e_lo, e_hi = _piece_ends(out, out_tiles)
    r_lo, r_hi = _piece_ends(filt, filt_tiles)
    lengths = {(int(a), int(b)) for a in (e_hi - e_lo) for b in (r_hi - r_lo)}
    best = 0
    for e_len, r_len in lengths:
        steps = np.zeros((e_len - 1) * slide.stride + (r_len - 1) * slide.dilation + 1, bool)
        for r in range(r_len):
            steps[r * slide.dilation :: slide.stride][:e_len] = True
        before = np.concatenate([[0], np.cumsum(steps)])
        first = (
            slide.stride * e_lo[e_hi - e_lo == e_len][:, None]
            + slide.dilation * r_lo[r_hi - r_lo == r_len]
            - slide.pad
        )
        a = np.clip(-first, 0, len(steps))
        b = np.clip(slide.size - first, 0, len(steps))
        best = max(best, int((before[b] - before[a]).max()))
    return best


def _piece_ends(total: int, tiles: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    lo, hi = np.array([0]), np.array([total])
    for tile in tiles:
        n = -(-int((hi - lo).max()) // tile)
        new = lo[:, None] + np.arange(n) * tile
        end = np.minimum(new + tile, hi[:, None])
        lo, hi = new[new < end], end[new < end]
    return lo, hi
