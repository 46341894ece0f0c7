"""The sums of ``rank_sums`` for one chain with its tiles, written as one would ask on paper.

``docs/counting.md`` works its examples with these, and the tests hold them to Python sets.  A nest
and the mapper ask the tables of ``rank_sums`` themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.rank_sums import (
    LETTERS,
    WORKS,
    Cuts,
    chain_table,
    modes,
    plain_column,
    slide_table,
)
from accelsim.workload.problem import Slide

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sums:
    """The seven sums of this page: S, O over instances; U, K, X, Y, L over sharing groups."""

    S: int
    O: int  # noqa: E741
    U: int
    K: int
    X: int
    Y: int
    L: int


@dataclass(frozen=True)
class TileChain:
    """A chain with its tiles, as plain numbers.

    ``sizes``  of each part, uncut
    ``loops``  (part, or -1 for the fused whole; tile; kind), outermost first; the kind is ``t``
               temporal, ``g`` grouped, ``m`` merged
    """

    sizes: tuple[int, ...]
    loops: tuple[tuple[int, int, str], ...]

    def cuts(self, outside: int, own: bool, *, merged: bool = True) -> Cuts:
        """How its loops are looked at, as ``modes`` has it."""
        ways = modes([kind for _, _, kind in self.loops], outside, own, merged=merged)
        return Cuts(self.sizes, tuple([part for part, _, _ in self.loops]), ways)

    @property
    def tiles(self) -> Ints:
        """``[1, loops]``."""
        return np.array([[tile for _, tile, _ in self.loops]], np.int64)


def plain(line: TileChain, outside: int, own: bool) -> Sums:
    """A rank of one chain the tensor depends on.  Where k is the chain's own, nothing is kept."""
    sums = chain_table(line.cuts(outside, own), line.tiles)[0].tolist()
    return Sums(*[sums[plain_column(which)] for which in LETTERS])


def irrelevant(line: TileChain, outside: int, own: bool) -> Sums:
    """A chain the tensor does not depend on: active (position, instance) pairs for S and O, active
    (position, group) pairs for the rest.  An idle instance skips the step (rule 3).
    """
    pairs, groups = (
        int(chain_table(line.cuts(outside, own, merged=merged), line.tiles)[0, WORKS])
        for merged in (True, False)
    )
    return Sums(pairs, pairs, groups, groups, groups, groups, groups)


def sliding(slide: Slide, e: TileChain, r: TileChain, outside: tuple[int, int], own: str) -> Sums:
    """A rank of two chains that slides; ``own`` is ``e``, ``r`` or nothing."""
    outs, taps = e.cuts(outside[0], own == "e"), r.cuts(outside[1], own == "r")
    return Sums(*slide_table(slide, outs, taps, e.tiles, r.tiles)[0].tolist())
