"""Compiled lists of passes beside what NumPy tells of them."""

from __future__ import annotations

import numpy as np

from accelsim.engines.analytic.pass_lists import first_and_last
from accelsim.engines.analytic.pipeline import _different


def test_rows_are_told_apart_however_many_there_are() -> None:
    """Few different ones of many, all different, one column or several, and numbers of any size."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        many, columns = int(rng.integers(1, 3000)), int(rng.integers(1, 7))
        most = int(rng.choice([1, 3, 50, 1 << 40]))
        table = rng.integers(-most, most + 1, (many, columns))
        first, ids = _different(table)
        assert np.array_equal(table[first][ids], table), seed
        assert len(first) == len(np.unique(table, axis=0)), seed
        assert np.array_equal(ids[first], np.arange(len(first))), seed
        assert (np.diff(first) > 0).all(), seed  # each where it first is


def test_steps_have_the_passes_that_are_there() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        there = rng.random((int(rng.integers(1, 9)), int(rng.integers(1, 9)))) < 0.5
        number = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
        ends = np.empty((2, len(there)), np.int64)
        many = first_and_last(number, ends[0], ends[1])
        rows = [row[row >= 0] for row in number if (row >= 0).any()]
        assert ends[:, :many].T.tolist() == [[row.min(), row.max()] for row in rows], seed
