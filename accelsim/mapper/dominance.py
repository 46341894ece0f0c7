"""Which choices can never be part of a best mapping, whatever the others are.

A choice is a row of costs, none of which a measure falls with.  Where another row is at most as
large in every column, the choice can be replaced by that one in any mapping, and no measure grows.
``preparing`` asks once for each few thousand choices of a group, so all pairs are compared, in
blocks that fit the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.signedinteger[Any]]
BLOCK = 512
AT_ONCE = 6  # columns compared for all pairs of a block; after them, few pairs are left


def undominated(costs: Floats, tick: Callable[[], None] = lambda: None) -> Ints:
    """Rows no other row is at most as large as in every column; of equal rows the first.  Every
    column is a cost.

    ``tick`` is called now and then, and may raise.
    """
    # only the order of values in a column matters, and ranks of 16 bits are compared fastest
    ranks = _ranks(costs)
    if not ranks.shape[1]:
        return np.arange(min(1, len(costs)))
    most = ranks.max(axis=0).astype(np.float64)
    ranks = ranks[
        :, np.argsort(-most, kind="stable")
    ]  # columns of many values tell most pairs apart
    weight = (ranks / np.sort(most)[::-1]).sum(axis=1)
    by = np.argsort(
        weight, kind="stable"
    )  # who covers another comes before it, equal rows in their order
    kept = np.empty((0, ranks.shape[1]), ranks.dtype)
    blocks: list[Ints] = []
    for at in range(0, len(by), BLOCK):
        tick()
        block = by[at : at + BLOCK]
        for base in range(0, len(kept), BLOCK):
            block = block[~_covered(kept[base : base + BLOCK], ranks[block])]
            if not len(block):
                break
        block = block[~_covered(ranks[block], ranks[block], earlier=True)]
        kept = np.vstack([kept, ranks[block]])
        blocks.append(block)
    return np.sort(np.concatenate(blocks)) if blocks else np.zeros(0, np.int64)


def _ranks(costs: Floats) -> Ranks:
    """Columns as ranks of their values; those that do not differ and copies of others are left
    out.
    """
    known: dict[bytes, Ranks] = {}
    for column in costs.T:
        if len(column) and column.max() > column.min():
            rank = np.unique(column, return_inverse=True)[1].reshape(-1)
            rank = rank.astype(np.int16 if rank.max() < 1 << 15 else np.int32)
            known.setdefault(rank.tobytes(), rank)
    return np.stack(list(known.values()), axis=1) if known else np.zeros((len(costs), 0), np.int32)


def _covered(by: Ranks, rows: Ranks, *, earlier: bool = False) -> npt.NDArray[np.bool_]:
    """Rows that some row of ``by`` (of those before it, if ``earlier``) is at most as large as,
    column by column.
    """
    open_ = np.tri(len(rows), len(by), -1, bool) if earlier else np.ones((len(rows), len(by)), bool)
    for column in range(min(AT_ONCE, rows.shape[1])):
        open_ &= by[None, :, column] <= rows[:, column, None]
    row, other = np.nonzero(open_)
    for column in range(AT_ONCE, rows.shape[1]):
        still = by[other, column] <= rows[row, column]
        row, other = row[still], other[still]
    covered = np.zeros(len(rows), bool)
    covered[row] = True
    return covered
