"""Pareto fronts: the rows that no other row beats in every column.

``acc.pareto``, ``accelsim results --pareto``, the stars of ``accelsim sweep`` and the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from accelsim.base.limits import MAX_NUMBER
from accelsim.base.validation import checked
from accelsim.explore.row_names import check_columns, numbers

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@checked
def pareto(
    frame: pd.DataFrame, columns: Sequence[str], maximize: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of ``frame`` on the front over ``columns``, each as small as can be; those in
    ``maximize`` as large.

    A row is on the front if no other is at least as good in every column and better in one.  Rows
    that are equal in all columns are on it together; a row without a value in one of them is not.
    Order and index are the frame's. Raises ValueError for a column that is not there or holds no
    numbers.
    """
    return frame[on_front(frame, columns, maximize)]


def on_front(frame: pd.DataFrame, columns: Sequence[str], maximize: Sequence[str] = ()) -> Mask:
    """The same as a mask [rows]."""
    names = [columns] if isinstance(columns, str) else list(dict.fromkeys(columns))
    largest = [maximize] if isinstance(maximize, str) else list(maximize)
    if not names:
        raise ValueError("pareto wants at least one column")
    check_columns(frame, (*names, *largest))
    if extra := [name for name in largest if name not in names]:
        raise ValueError(
            f"maximize names {', '.join(extra)}, not among the columns ({', '.join(names)})"
        )

    signs = [-1.0 if name in largest else 1.0 for name in names]
    return front(np.column_stack([_floats(frame, name) for name in names]) * signs)


def _floats(frame: pd.DataFrame, name: str) -> Floats:
    """[rows] The numbers of a column, NaN where there is none; whole numbers that float64 would
    round by their rank, which is all a front asks for.
    """
    try:
        values = numbers(frame[name], strict=True)
    except (ValueError, TypeError):
        raise ValueError(f"column {name} holds no numbers") from None
    there = ~np.isnan(values)
    if str(frame[name].dtype).lower() == "int64" and (np.abs(values[there]) > MAX_NUMBER).any():
        exact = frame[name][there].to_numpy(np.int64)
        values[there] = np.unique(exact, return_inverse=True)[1].reshape(-1)
    return values


def front(values: Floats) -> Mask:
    """[rows] Which rows of ``values`` [rows, columns] are minimal; equal rows together, rows with
    NaN never.
    """
    mask = np.zeros(len(values), dtype=np.bool_)
    there = np.flatnonzero(~np.isnan(values).any(axis=1))
    if not len(there):
        return mask
    # Different rows, sorted by the first column, then the next.
    different, inverse = np.unique(values[there], axis=0, return_inverse=True)
    best = _of_two(different) if values.shape[1] <= 2 else _of_many(different)
    mask[there] = best[inverse.reshape(-1)]
    return mask


def _of_two(sorted_rows: Floats) -> Mask:
    """[rows] Of different rows in order: those whose last column is below that of all before."""
    last = sorted_rows[:, -1]
    least = np.concatenate([[np.inf], np.minimum.accumulate(last)[:-1]])
    mask: Mask = last < least
    mask[0] = True
    if sorted_rows.shape[1] == 1:
        mask[1:] = False
    return mask


def _of_many(rows: Floats) -> Mask:
    """[rows] Of different rows: each one left strikes out those it beats, likely winners first."""
    ranks = np.empty(rows.shape)
    for c in range(rows.shape[1]):
        ranks[:, c] = np.unique(rows[:, c], return_inverse=True)[1].reshape(-1)
    order = np.argsort(ranks.sum(axis=1), kind="stable")
    left, values, at = order, rows[order], 0
    while at < len(left):
        better = (values < values[at]).any(axis=1)
        better[at] = True
        left, values = left[better], values[better]
        at = int(better[:at].sum()) + 1
    mask = np.zeros(len(rows), dtype=np.bool_)
    mask[left] = True
    return mask
