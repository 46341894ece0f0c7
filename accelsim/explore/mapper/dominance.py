"""Which choices can never be part of a best mapping, whatever the others are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BLOCK = 512


def undominated(costs: Floats) -> npt.NDArray[np.int64]:
    """Rows no other row is at most as large as in every column; of equal rows the first.  Every column is a cost."""
    _, first = np.unique(costs, axis=0, return_index=True)
    first = np.sort(first)
    rows = costs[first]
    differ = rows.max(axis=0) > rows.min(axis=0)
    if not differ.any():
        return first[:1]
    rows = rows[:, differ]
    _, columns = np.unique(rows, axis=1, return_index=True)
    rows = rows[:, np.sort(columns)]
    span = rows.max(axis=0) - rows.min(axis=0)
    by = np.argsort(((rows - rows.min(axis=0)) / span).sum(axis=1), kind="stable")  # who covers another comes before it
    kept = np.empty((0, rows.shape[1]))
    found: list[int] = []
    for at in range(0, len(rows), BLOCK):
        block = by[at : at + BLOCK]
        part = rows[block]
        alive = np.ones(len(block), bool)
        for base in range(0, len(kept), BLOCK):
            left = np.flatnonzero(alive)
            if not len(left):
                break
            alive[left] &= ~_covered(kept[base : base + BLOCK], part[left])
        block, part = block[alive], part[alive]
        inside = np.asarray((part[:, None, :] <= part[None, :, :]).all(axis=2)) & ~np.eye(len(part), dtype=bool)
        good = ~inside.any(axis=0)
        kept = np.vstack([kept, part[good]])
        found += block[good].tolist()
    return first[np.sort(np.array(found, np.int64))]


def _covered(by: Floats, rows: Floats) -> npt.NDArray[np.bool_]:
    """Rows that some row of ``by`` is at most as large as, column by column."""
    open_ = np.ones((len(rows), len(by)), bool)
    for column in range(rows.shape[1]):
        open_ &= by[None, :, column] <= rows[:, column, None]
    return np.asarray(open_.any(axis=1))
