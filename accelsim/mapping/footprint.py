"""What each level holds under a row of tiles: largest tiles, word widths, bytes, and whether they
fit.

A level holds of each tensor it keeps a tile, as large as the tensor's tile ever gets there.  What
that is made of hangs on loops alone (``Skeleton.largest_tile``); here the sizes are put in.  Three
ask: a nest and the fixed rule with one row of whole numbers (``Footprint``), the rule for many
architectures with arrays over them (``rule_many``), and the mapper with arrays over the choices of
some chains (``mapper.cell``).
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import ceil, prod

import numpy as np

from accelsim.hardware.architecture import Level
from accelsim.mapping.skeleton import Skeleton
from accelsim.workload.problem import DIMS, RANKS, Slide


class Footprint:
    """Occupancy of every level by the largest tile of every tensor it keeps.

    ``tiles`` and ``trips`` [loops] are of the skeleton's loops.
    """

    __slots__ = ("skeleton", "tiles", "trips")

    def __init__(self, skeleton: Skeleton, tiles: Sequence[int], trips: Sequence[int]) -> None:
        self.skeleton, self.tiles, self.trips = skeleton, tiles, trips

    def tile_words(self, level: int, tensor: str) -> int:
        """Most real words of a tensor's tile at a level over all positions; of its home's, all of
        them.
        """
        largest, tiles = self.skeleton.largest_tile(level, tensor), self.tiles
        for i in largest.pairs:
            if self.trips[i] > 1:
                return 1
        words = largest.whole
        for i in largest.innermost:
            words *= tiles[i]
        for _, (out, filt), slide, cuts in largest.sliding:
            e, r = (tuple([tiles[i] for i in loops]) for loops in cuts)
            words *= sliding_words(slide, out, e, filt, r)
        return words

    def tile_extents(self, level: int, tensor: str) -> tuple[int, ...]:
        """Length of the tensor's longest tile along each of its ranks, gaps included; of no home.

        What a register file or a box of memory that holds the tile must span.
        """
        above = {x.dim for x in self.skeleton.loops if x.level < level}
        if tensor == "ifmap" and above - set(DIMS):
            return (1,) * len(RANKS[tensor])
        spans = {}
        for name in above - set(DIMS):
            spans.update(self._chunk_spans(name, level))
        extents = []
        for dims, slide in self.skeleton.projection(tensor, level).ranks:
            if slide is None:
                extents.append(spans.get(dims[0], self._extent(dims[0], level)))
            else:
                e, r = (self._extent(d, level) for d in dims)
                reach = (e - 1) * slide.stride + (r - 1) * slide.dilation + 1
                extents.append(min(slide.size, reach))
        return tuple(extents)

    def _chunk_spans(self, name: str, level: int) -> dict[str, int]:
        """How far the longest chunk of a fused dimension reaches along each of its parts."""
        parts = self.skeleton.fused[name]
        extents = [self._extent(p, level) for p in parts]
        chunk = min((prod(extents), *self._above(name, level)))
        spans = {}
        for i, p in enumerate(parts):
            # a short piece of the parts inside makes a chunk reach further along this one
            inner = prod([self._shortest(q, level) for q in parts[i + 1 :]])
            spans[p] = min(extents[i], (chunk - 1) // inner + 2)
        return spans

    def _above(self, dim: str, level: int) -> tuple[int, ...]:
        """Tiles of the loops over a dimension outside a level."""
        pairs = zip(self.skeleton.loops, self.tiles, strict=True)
        return tuple([tile for x, tile in pairs if x.level < level and x.dim == dim])

    def _extent(self, dim: str, level: int) -> int:
        return min((self.skeleton.problem.size[dim], *self._above(dim, level)))

    def _shortest(self, dim: str, level: int) -> int:
        size = self.skeleton.problem.size[dim]
        return min(hi - lo for lo, hi in _pieces(size, self._above(dim, level), (0, size)))

    def word_bits(self, level: int, tensor: str) -> int:
        """Width of a tensor's words at a level, in bits."""
        skeleton = self.skeleton
        if tensor == skeleton.problem.accumulated:
            for i in skeleton.unfinished[level]:
                if self.trips[i] > 1:
                    return skeleton.arch.bits.psum
        return int(getattr(skeleton.arch.bits, tensor))

    def tile_bytes(self, level: int, tensor: str) -> int:
        """Bytes a tensor's largest tile occupies at a level, twice where the level is
        double-buffered.
        """
        arch = self.skeleton.arch
        return self._bytes(level, tensor, arch.levels[arch.level_names[level]])

    def _bytes(self, at: int, tensor: str, level: Level) -> int:
        once = -(-self.tile_words(at, tensor) * self.word_bits(at, tensor) // 8)
        return once * copies(self.skeleton, at, tensor, level)

    def overflow(self) -> str | None:
        """Which tensor overflows which level by how much, or None."""
        for i, name, level, kept in self.skeleton.bounded:
            shared = {}
            for t in kept:
                if t in level.partitions:
                    need = self._bytes(i, t, level)
                    if need > level.partitions[t]:
                        return (
                            f"{name}: the {t} tile needs {need} bytes, its partition has "
                            f"{level.partitions[t]}: {need - level.partitions[t]} too many"
                        )
                elif level.capacity_bytes is not None:
                    shared[t] = self._bytes(i, t, level)
            if level.capacity_bytes is not None and (over := _too_many(name, level, shared)):
                return over
        return None


def _too_many(name: str, level: Level, shared: Map[str, int]) -> str | None:
    """How tensors that share a level overflow it."""
    assert level.capacity_bytes is not None
    if level.banks:
        size = level.capacity_bytes // level.banks
        need = sum([ceil(b / size) for b in shared.values()])
        if need > level.banks:
            return (
                f"{name}: {_listed(shared)} bytes need {need} whole banks of {size} bytes, "
                f"it has {level.banks}"
            )
    elif (over := sum(shared.values()) - level.capacity_bytes) > 0:
        return f"{name}: {_listed(shared)} bytes exceed its {level.capacity_bytes} by {over}"
    return None


def _listed(bytes_of: Map[str, int]) -> str:
    return " + ".join(f"{t} {b}" for t, b in bytes_of.items())


def copies(skeleton: Skeleton, at: int, tensor: str, level: Level) -> int:
    """How many tiles of a tensor a level has room for: two where it is double-buffered, and one of
    what never leaves it.
    """
    return 2 if level.double_buffered and skeleton.homes[tensor] != at else 1


@lru_cache(maxsize=65536)
def sliding_words(
    slide: Slide, out: int, out_tiles: tuple[int, ...], filt: int, filt_tiles: tuple[int, ...]
) -> int:
    """Most real coordinates any (output piece, filter piece) touches on a sliding rank.

    Not simply the first piece's: with padding it is the first that is short, and with a stride or
    a dilation above 1 pieces leave gaps.
    """
    if filt == 1 and slide.pad == 0 and slide.stride * (out - 1) < slide.size:
        return min((out, *out_tiles))  # each output has a word of its own
    free_out, free_filt = slide.free(out, filt)
    of_length: list[dict[int, list[int]]] = []  # where the pieces of each length begin
    for pieces in (_pieces(out, out_tiles, free_out), _pieces(filt, filt_tiles, free_filt)):
        of_length.append({})
        for lo, hi in pieces:
            of_length[-1].setdefault(hi - lo, []).append(lo)
    best = 0
    for (e_len, e_lo), (r_len, r_lo) in product(*[x.items() for x in of_length]):
        # [coordinates from the piece's first on] whether a window touches it, and how many before
        steps = np.zeros((e_len - 1) * slide.stride + (r_len - 1) * slide.dilation + 1, bool)
        for r in range(r_len):
            steps[r * slide.dilation :: slide.stride][:e_len] = True
        before = np.concatenate([[0], np.cumsum(steps)])
        first = (  # [output pieces, filter pieces]
            slide.stride * np.array(e_lo)[:, None] + slide.dilation * np.array(r_lo) - slide.pad
        )
        a = np.clip(-first, 0, len(steps))
        b = np.clip(slide.size - first, 0, len(steps))
        best = max(best, int((before[b] - before[a]).max()))
    return best


def _pieces(total: int, tiles: tuple[int, ...], free: tuple[int, int]) -> list[tuple[int, int]]:
    """Pieces [from, to) that a range is cut to, one tile after the other: all of them, but where a
    piece is ``free`` [from, to), no matter where it lies, only one of each length.
    """
    pieces = [(0, total)]
    for tile in tiles:
        cut: dict[tuple[int, int], tuple[int, int]] = {}
        for lo, hi in pieces:
            n = -(-(hi - lo) // tile)
            # from the second free one to the last: whole pieces that lie in ``free``
            second = max(-(-(free[0] - lo) // tile), 0) + 1
            last = max(min((free[1] - lo) // tile, (hi - lo) // tile), second)
            for i in (*range(min(second, n)), *range(last, n)):
                piece = (lo + i * tile, min(lo + (i + 1) * tile, hi))
                apart = piece[0] < free[0] or piece[1] > free[1]
                cut[piece if apart else (-1, piece[1] - piece[0])] = piece
        pieces = list(cut.values())
    return pieces


__all__ = ["Footprint", "copies", "sliding_words"]
