"""Gemmini's own tiler, as a layer's program runs it on the core before the first instruction: which
tile it finds, and how many tiles it tries until then.

gemmini.h, ``tiled_conv_auto``: from the whole layer, the largest dimension is cut until a tile
fits half of the scratchpad and of the accumulators; then every dimension grows by one as long as it
fits.
``gemmini_rows.py`` asks for the tries; the tests hold the tile to the one that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

DIM = 16  # of the mesh: DIM in gemmini_params.h
SPAD_ROWS = 256 * 1024 // DIM  # of 16 bytes; gemmini Configs.scala: sp_capacity
ACC_ROWS = 64 * 1024 // (4 * DIM)  # of 16 sums; acc_capacity
ORDER = "NQPKSRC"  # the tiler's: images, output rows and columns, filters, filter rows, ...
CHANNELS = ("K", "C")


def own_tile(size: Mapping[str, int], stride: int) -> tuple[dict[str, int], int]:
    """The tile of a convolution, and the tiles tried."""
    search = _Search(size, stride)
    search.shrink()
    while search.grow("P"):
        pass
    while sum(search.grow(d) for d in ORDER):  # each in turn
        pass
    return search.tile, search.tries


class _Search:
    """The tile so far, and how many were tried."""

    def __init__(self, size: Mapping[str, int], stride: int) -> None:
        self.size, self.stride = dict(size), stride
        self.tile, self.tries = dict(size), 0

    def fits(self, tile: Mapping[str, int]) -> bool:
        """A try: rows of scratchpad and accumulators (``tiled_conv_total_spad_rows``)."""
        self.tries += 1
        t, blocks = tile, {d: ceil(tile[d] / DIM) for d in CHANNELS}
        rows = t["Q"] * self.stride + t["S"] - 1
        columns = t["P"] * self.stride + t["R"] - 1
        operands = blocks["C"] * t["N"] * rows * columns + blocks["K"] * t["R"] * t["S"] * t["C"]
        sums = blocks["K"] * t["N"] * t["Q"] * t["P"]
        return operands <= SPAD_ROWS // 2 and sums <= ACC_ROWS // 2

    def shrink(self) -> None:
        """Cut the largest until it fits; channels by blocks, and not a row of outputs of 16 pixels
        or less while there are several.
        """
        t = self.tile
        while not self.fits(t):
            open_ = [d for d in ORDER if not (d == "P" and t["P"] <= DIM and t["Q"] > 1)]
            largest = max(open_, key=lambda d: t[d])
            by = 1 if largest not in CHANNELS else t[largest] % DIM or DIM
            t[largest] = max(t[largest] - by, 1)

    def grow(self, d: str) -> bool:
        """One more of a dimension, if there is one and it fits."""
        larger = self.tile | {d: self.tile[d] + 1}
        if larger[d] > self.size[d] or not self.fits(larger):
            return False
        self.tile = larger
        return True
