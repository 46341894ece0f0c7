"""Factors of sliding ranks for many chains against the engine's table of one pair, and tiles
against the nest's own footprint.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engines.analytic.rank_sums import Sums, TileChain, sliding
from accelsim.mapper import slides
from accelsim.mapper.slides import Cuts, pair_table
from accelsim.mapping.footprint import sliding_words
from accelsim.workload.problem import Slide

SUMS = "SOUKXYL"


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
    cuts = Cuts(out, e_kinds, outside[0], own == "e"), Cuts(filt, r_kinds, outside[1], own == "r")
    found = {which: pair_table(slide, *cuts, which, e_tiles, r_tiles) for which in SUMS}
    most = pair_table(slide, *cuts, "most", e_tiles, r_tiles)
    for i, e in enumerate(e_tiles.tolist()):
        for j, r in enumerate(r_tiles.tolist()):
            lines = (
                TileChain((n,), tuple((0, t, k) for t, k in zip(x, kinds, strict=True)))
                for n, x, kinds in ((out, e, e_kinds), (filt, r, r_kinds))
            )
            want = _engines(slide, *lines, (outside[0], outside[1]), own)
            assert {which: found[which][i, j] for which in SUMS} == vars(want), (slide, e, r)
            assert most[i, j] == sliding_words(slide, out, tuple(e), filt, tuple(r)), (slide, e, r)


def _engines(slide: Slide, e: TileChain, r: TileChain, outside: tuple[int, int], own: str) -> Sums:
    """The engine leaves out loops of one trip before it asks its table: they never advance."""
    line, at = (e, outside[0]) if own == "e" else (r, outside[1])
    if own and line.trips[line.temporal[at]] == 1:
        return Sums(0, 0, 0, 0, 0, 0, 0)
    return sliding(slide, e, r, outside, own)


def test_blocks_of_chains_make_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laid out a few chains and arrangements at a time it is the same."""
    slide = Slide(2, 1, 1, 21)
    e = np.array(
        [(a, b, c) for a in range(1, 12) for b in range(1, a + 1) for c in range(1, b + 1)],
        np.int64,
    )
    r = np.array([(a, b) for a in range(1, 4) for b in range(1, a + 1)], np.int64)
    for which in (*SUMS, "most"):
        whole = pair_table(slide, Cuts(11, "ttm", 1), Cuts(3, "tm", 0, True), which, e, r)
        with monkeypatch.context() as small:
            small.setattr(slides, "SMALL", 0)
            small.setattr(slides, "ROOM", 300)
            small.setattr(slides, "ROWS", 30)
            assert (
                pair_table(slide, Cuts(11, "ttm", 1), Cuts(3, "tm", 0, True), which, e, r) == whole
            ).all()


def test_bits_are_counted_alike_before_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 63, (5, 4, 3), np.uint64)
    want = [[sum(int(x).bit_count() for x in b) for b in a] for a in bits]
    assert (slides._count(bits) == want).all()
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert (slides._count(bits) == want).all()
