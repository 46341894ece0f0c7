"""Words that always go together are followed as one: blocks lose no word, join none that part."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.engines.event.pes import _apart, _numbered, _OffsetRows
from accelsim.engines.event.word_sets import BlockWords, runs_of


def _rows(rng: np.random.Generator, stride: int) -> list[np.ndarray]:
    """Some sorted lists of offsets of one rank: whole, parts, gaps, none."""
    n = int(rng.integers(1, 7))
    whole = np.arange(n) * stride
    parts = [whole[slice(*np.sort(rng.integers(0, n + 1, 2)))] for _ in range(int(rng.integers(3)))]
    gaps = [whole[rng.random(n) < 0.6] for _ in range(int(rng.integers(2)))]
    return [whole, *parts, *gaps, whole[:0]]


@pytest.mark.parametrize("seed", range(150))
def test_blocks_stand_for_their_words(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists, stride = [], int(rng.integers(1, 3))
    for _ in range(int(rng.integers(1, 4))):
        lists.insert(0, _rows(rng, stride))
        stride *= 6 + int(rng.integers(2)) if seed % 2 else len(lists[0][0])
    rows = [_OffsetRows(np.concatenate(x), np.array([len(y) for y in x], np.int64)) for x in lists]
    values = [np.unique(x.flat) for x in rows]
    told = [(rng.random(len(x)) < 0.9).astype(np.uint8) for x in values]
    words = BlockWords(values, [_apart(*x) for x in zip(rows, values, told, strict=True)])
    codes, begin = _numbered(rows, words)

    # every row has the words of its codes, no others, and a block is told one thing
    k = 0
    for rank, some in enumerate(lists):
        of_code = words.codes[rank]
        assert all(len(set(told[rank][of_code == c].tolist())) == 1 for c in of_code)
        for row in some:
            mine = codes[begin[k] : begin[k + 1]]
            np.testing.assert_array_equal(values[rank][np.isin(of_code, mine)], row)
            k += 1

    # words of some codes, as runs, are those words
    blocks = int(np.prod([len(x) for x in words.sizes]))
    flags = (rng.random(blocks) < 0.7).astype(np.uint8) * 2
    wanted = words.listed()[words.of_words(flags) == 2] + 5
    np.testing.assert_array_equal(np.sort(words.flagged(5, flags, 2).flat), np.sort(wanted))
    assert words.flagged(5, flags, 2).count == len(wanted)


def test_a_whole_tensor_is_one_run() -> None:
    whole = [np.arange(4) * 6, np.arange(3) * 2, np.arange(2)]
    rows = [_OffsetRows(x, np.array([len(x)])) for x in whole]
    apart = [_apart(x, v, np.ones(len(v), np.uint8)) for x, v in zip(rows, whole, strict=True)]
    words = BlockWords(whole, apart)
    assert [len(x) for x in words.sizes] == [1, 1, 1]
    assert words.flagged(7, np.ones(1, np.uint8), 1).runs.tolist() == [[7, 24]]
    assert runs_of(np.array([1, 2, 4, 5, 6])).runs.tolist() == [[1, 2], [4, 3]]
