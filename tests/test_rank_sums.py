"""The sums of the closed form by classes of equal pieces, against Python sets that hold every word
of every instance at every step (``slow_sums``); and that their cost does not grow with a range.
"""

from __future__ import annotations

import random
import time
from math import prod
from typing import Any

import numpy as np
import pytest
from slow_sums import SlowChain, active, plain_sums, sliding_sums

from accelsim.base import compiled
from accelsim.engines.analytic import closed_form, rank_sums
from accelsim.engines.analytic.one_chain import TileChain, irrelevant, plain, sliding
from accelsim.workload.problem import Slide

SEEDS = range(600)


def drawn_chain(rng: random.Random, sizes: tuple[int, ...], loops: int) -> TileChain:
    """Loops over parts, and from some place on over the fused whole where there are several."""
    current, chunk, drawn = list(sizes), None, []
    for _ in range(loops):
        kind = rng.choice("ttgm")
        if len(sizes) > 1 and (chunk is not None or rng.random() < 0.5):
            chunk = rng.randint(1, prod(current) if chunk is None else chunk)
            drawn.append((-1, chunk, kind))
        else:
            part = rng.randrange(len(sizes))
            current[part] = rng.randint(1, current[part])
            drawn.append((part, current[part], kind))
    return TileChain(sizes, tuple(drawn))


def temporal(line: TileChain) -> int:
    """How many temporal loops it has."""
    return sum(kind == "t" for _, _, kind in line.loops)


def drawn_place(rng: random.Random, line: TileChain) -> tuple[int, bool]:
    """How many temporal loops stand outside, and whether the next advances."""
    outside = rng.randint(0, temporal(line))
    return outside, outside < temporal(line) and rng.random() < 0.5


def one_chain(seed: int) -> None:
    rng = random.Random(seed)
    sizes = (rng.randint(1, 30),)
    if rng.random() < 0.5:
        sizes = tuple(rng.randint(1, 4) for _ in range(rng.randint(2, 3)))
    line = drawn_chain(rng, sizes, rng.randint(0, 5))
    outside, own = drawn_place(rng, line)
    slow = SlowChain(line.sizes, line.loops)
    assert vars(plain(line, outside, own)) == plain_sums(slow, outside, own)
    pairs, groups = active(slow, outside, own)
    sums = irrelevant(line, outside, own)
    assert (sums.S, sums.O) == (pairs, pairs)
    assert {sums.U, sums.K, sums.X, sums.Y, sums.L} == {groups}


def one_slide(seed: int) -> None:
    rng = random.Random(seed)
    out, filt = rng.randint(1, 20), rng.choice((1, rng.randint(1, 6)))
    stride, dilation, pad = rng.randint(1, 4), rng.randint(1, 3), rng.choice((0, rng.randint(0, 5)))
    span = stride * (out - 1) + dilation * (filt - 1) + 1 - pad
    slide = Slide(stride, dilation, pad, max(1, span - rng.choice((0, 0, rng.randint(-3, 4)))))
    e, r = (drawn_chain(rng, (n,), rng.randint(0, 4)) for n in (out, filt))
    (e_outside, e_own), (r_outside, r_own) = drawn_place(rng, e), drawn_place(rng, r)
    own = "e" if e_own else "r" if r_own else ""
    slow = [SlowChain(line.sizes, line.loops) for line in (e, r)]
    want = sliding_sums(
        (slide.stride, slide.dilation, slide.pad, slide.size), *slow, (e_outside, r_outside), own
    )
    assert vars(sliding(slide, e, r, (e_outside, r_outside), own)) == want


@pytest.mark.parametrize("check", [one_chain, one_slide])
def test_sums_are_those_of_sets(check: Any) -> None:
    for seed in SEEDS:
        check(seed)


@pytest.mark.parametrize("check", [one_chain, one_slide])
def test_the_same_without_a_compiler(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions as they stand, run by Python."""
    for name, kernel in list(vars(rank_sums).items()):
        if isinstance(kernel, compiled._Kernel):
            monkeypatch.setattr(rank_sums, name, kernel.function)
    for seed in range(60):
        check(seed)


BIG = [
    ((65_536,), ((0, 1000, "t"), (0, 77, "t"), (0, 32, "m"), (0, 1, "t"))),
    (((1 << 23) * 1000,), ((0, 4097, "t"), (0, 128, "g"), (0, 3, "t"), (0, 1, "m"))),
    ((100_000, 28, 28), ((0, 999, "t"), (-1, 1234, "t"), (-1, 100, "m"), (-1, 1, "t"))),
]


@pytest.mark.parametrize(("sizes", "loops"), BIG)
def test_a_long_chain_takes_no_longer(sizes: Any, loops: Any) -> None:
    """At all positions every word is held once by somebody, however the chain is cut."""
    line = TileChain(sizes, loops)
    plain(line, temporal(line), False)
    start = time.process_time()
    sums = plain(line, temporal(line), False)
    assert time.process_time() - start < 0.05
    assert sums.S == prod(sizes)
    # all but those of the first piece are new where the outermost loop advances
    first = loops[0][1] * prod(sizes[1:])
    inside = plain(TileChain(sizes, loops[:1]), 0, True)
    assert inside.S == prod(sizes) - first


@pytest.mark.parametrize("padding", [0, 8])
def test_a_large_image_takes_no_longer(padding: int) -> None:
    """16 taps over rows of 8192: the words of all pieces are the sum of each piece's own."""
    size, filt = 8192, 16
    out = size + 2 * padding - filt + 1
    slide, whole = Slide(1, 1, padding, size), TileChain((filt,), ())
    for loops in (((0, 100, "t"), (0, 7, "t"), (0, 1, "t")), ((0, 14, "t"), (0, 1, "m"))):
        line = TileChain((out,), loops)
        at = temporal(line)
        sliding(slide, line, whole, (at, 0), "")
        start = time.process_time()
        sums = sliding(slide, line, whole, (at, 0), "")
        assert time.process_time() - start < 0.05
        held = [max(0, min(h + filt, size + padding) - max(h, padding)) for h in range(out)]
        assert sums.S == sum(held)


def test_many_choices_are_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    tiles = np.sort(rng.integers(1, 51, (300, 3)), axis=1)[:, ::-1]
    cuts = rank_sums.Cuts((50,), (0, 0, 0), rank_sums.modes("tmt", 0, True))
    together = rank_sums.chain_table(cuts, tiles)
    for row, sums in zip(tiles, together, strict=True):
        assert (rank_sums.chain_table(cuts, row[None])[0] == sums).all()


def test_outputs_that_repeat_are_added_up_at_once() -> None:
    """However long a range of outputs is, with padding at either end, holes that a stride leaves
    and taps far apart: as if every coordinate were looked at.
    """
    rng = np.random.default_rng(5)
    shorter = 0
    for _ in range(300):
        stride, dilation, taps = (int(rng.integers(1, n)) for n in (5, 4, 7))
        outputs, pad = int(rng.integers(1, 120)), int(rng.integers(0, 6))
        size = stride * (outputs - 1) + dilation * (taps - 1) + 1 - pad - int(rng.integers(0, 6))
        slide = Slide(stride, dilation, pad, max(size, 1))
        e, r = (_some_ranges(rng, n) for n in (outputs, taps))
        free = np.array(slide.free(outputs, taps)[0], np.int64)
        reach = -(-dilation * (taps - 1) // stride)
        sums = []
        for every in (reach, 1 << 40):  # with the latter nothing is taken out
            ranges, room = e.copy(), 4 * e.shape[1] + 2
            sums.append(np.zeros((len(e), len(r), len(rank_sums.LETTERS)), np.int64))
            rank_sums.slide_sums(
                np.array([stride, dilation, pad, slide.size], np.int64), free, every,
                ranges, np.full(len(e), e.shape[1]), r, np.full(len(r), r.shape[1]),
                np.empty(room, np.int64), np.empty((room, 2), np.int64), np.empty(7, np.int64),
                np.zeros((5, slide.size), np.int64), sums[-1],
            )  # fmt: skip
            shorter += every == reach and not np.array_equal(ranges, e)
        assert np.array_equal(*sums), (slide, e, r)
    assert shorter > 100


def _some_ranges(rng: np.random.Generator, size: int) -> np.ndarray:
    """Ranges [2, 3, 4] of instances within so many, now and before; some hold nothing."""
    ranges = np.sort(rng.integers(0, size + 1, (2, 3, 2, 2)), axis=-1)
    ranges[rng.random((2, 3, 2)) < 0.2] = -1
    return ranges.reshape(2, 3, 4)


def test_sums_of_products_are_exact_or_refused() -> None:
    """More pairs than an int64 holds on the way, but not in the end, are counted; more in the end
    are an error.
    """
    rows = [np.array([0, 1, 0])] * 2
    big = np.array([[[1 << 40, 0]], [[3, 4]]])
    other = np.array([[[0, 1 << 40]], [[1 << 40, 5]]])
    assert closed_form._summed_products([big, other], rows).tolist() == [0, (3 << 40) + 20, 0]
    with pytest.raises(OverflowError):
        closed_form._summed_products([big, big], rows)
