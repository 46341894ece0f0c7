"""Factors of sliding ranks for many choices of tiles against Python sets, one choice at a time, and
tiles against the nest's own footprint.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_sums import SlowChain, sliding_sums

from accelsim.engines.analytic import rank_sums
from accelsim.engines.analytic.rank_sums import GROUPS, Cuts, modes, slide_largest, slide_table
from accelsim.mapping.footprint import sliding_words
from accelsim.workload.problem import Slide


@st.composite
def projections(draw: st.DrawFn) -> tuple[Slide, int, int]:
    """Strides, dilations, padding on either side or none (then also stored), rows no window reads
    at the end.
    """
    u, d, out, filt = (draw(st.integers(1, n)) for n in (4, 3, 12, 6))
    before, after = draw(st.sampled_from(((0, 0), (1, 1), (0, 2), (3, 0), (2, 3))))
    span = u * (out - 1) + d * (filt - 1) + 1 + draw(st.integers(0, u - 1))
    return Slide(u, d, before, max(1, span - before - after)), out, filt


@st.composite
def chains(draw: st.DrawFn, size: int, loops: int) -> tuple[str, npt.NDArray[np.int64]]:
    kinds = draw(st.text("ttgm", min_size=loops, max_size=loops))
    tiles = []
    for _ in range(draw(st.integers(1, 4))):
        tile, one = size, []
        for _ in range(loops):
            tile = draw(st.integers(1, tile))
            one.append(tile)
        tiles.append(one)
    return kinds, np.array(tiles, np.int64).reshape(len(tiles), loops)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_sum_of_every_pair_is_the_engines(data: st.DataObject) -> None:
    slide, out, filt = data.draw(projections())
    e_kinds, e_tiles = data.draw(chains(out, data.draw(st.integers(0, 4))))
    r_kinds, r_tiles = data.draw(chains(filt, data.draw(st.integers(0, 3))))
    outside = [data.draw(st.integers(0, kinds.count("t"))) for kinds in (e_kinds, r_kinds)]
    can = [
        own
        for own, kinds, n in (("e", e_kinds, outside[0]), ("r", r_kinds, outside[1]))
        if n < kinds.count("t")
    ]
    own = data.draw(st.sampled_from(["", *can]))
    tables = [
        cuts(n, kinds, stand, own == letter)
        for n, kinds, stand, letter in zip(
            (out, filt), (e_kinds, r_kinds), outside, "er", strict=True
        )
    ]
    each, most = (
        table(slide, *tables, *every_pair(e_tiles, r_tiles)) for table in (slide_table, largest)
    )
    pairs = [(e, r) for e in e_tiles.tolist() for r in r_tiles.tolist()]
    for (e, r), sums, words in zip(pairs, each.tolist(), most.tolist(), strict=True):
        lines = (
            SlowChain((n,), tuple((0, t, k) for t, k in zip(x, kinds, strict=True)))
            for n, x, kinds in ((out, e, e_kinds), (filt, r, r_kinds))
        )
        numbers = (slide.stride, slide.dilation, slide.pad, slide.size)
        want = sliding_sums(numbers, *lines, (outside[0], outside[1]), own)
        assert sums == list(want.values()), (slide, e, r)
        assert words == sliding_words(slide, out, tuple(e), filt, tuple(r)), (slide, e, r)


def cuts(size: int, kinds: str, outside: int = 0, own: bool = False) -> Cuts:
    return Cuts((size,), (0,) * len(kinds), modes(kinds, outside, own))


def largest(slide: Slide, e: Cuts, r: Cuts, *tiles: npt.NDArray[np.int64]) -> Any:
    """Every loop is one over instances that share nothing."""
    e, r = (Cuts(x.sizes, x.parts, (GROUPS,) * len(x.parts)) for x in (e, r))
    return slide_largest(slide, e, r, *tiles)


def every_pair(
    e: npt.NDArray[np.int64], r: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every output chain with every filter chain, as choices."""
    return np.repeat(e, len(r), axis=0), np.tile(r, (len(e), 1))


def test_blocks_of_chains_make_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few chains at a time, equal choices apart or together, it is the same."""
    slide = Slide(2, 1, 1, 21)
    e = np.array(
        [(a, b, c) for a in range(1, 12) for b in range(1, a + 1) for c in range(1, b + 1)],
        np.int64,
    )
    r = np.array([(a, b) for a in range(1, 4) for b in range(1, a + 1)], np.int64)
    for table in (slide_table, largest):
        whole = table(slide, cuts(11, "ttm", 1), cuts(3, "tm", 0, True), *every_pair(e, r))
        with monkeypatch.context() as small:
            small.setattr(rank_sums, "BLOCK", 7)
            small.setattr(rank_sums, "FEW", 10_000)
            apart = table(slide, cuts(11, "ttm", 1), cuts(3, "tm", 0, True), *every_pair(e, r))
        assert (apart == whole).all()
