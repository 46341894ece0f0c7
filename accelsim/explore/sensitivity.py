"""Which key moves a result most: shares of variance and one-at-a-time ratios, from the frame of a
sweep.  ``acc.sensitivity`` and ``accelsim results --sensitivity``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base.validation import checked
from accelsim.explore.row_names import (
    IDENTITY,
    check_columns,
    energy_column,
    numbers,
    varied_axes,
)

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "key",
    "values",
    "share",
    "median_ratio",
    "largest_ratio",
    "pairs",
    "least_at",
    "most_at",
]


@checked
def sensitivity(
    frame: pd.DataFrame, column: str | None = None, keys: Sequence[str] | None = None
) -> pd.DataFrame:
    """How much each key moves ``column`` (the energy if not given), the strongest first.

    ``keys`` are the axes of the sweep that have more than one value if not given; any columns may
    be named (``dataflow``).  Rows are compared only within equal workload, layer, dataflow and so
    on, and equal axes, as far as these are no keys.

    - ``values``: how many the key has
    - ``share``: of the variance of log(column), what the means over each value of the key explain
      (the first-order index of a full grid; on other samples an estimate that other keys may
      share in).  1 is all of it
    - ``median_ratio``, ``largest_ratio``: largest over smallest value of the column while the key
      alone changes, over ``pairs`` sets of rows that are equal in all other keys; NaN where there
      are none
    - ``least_at``, ``most_at``: the key's values with the smallest and the largest mean

    Only rows with a positive value count.  Raises ValueError for columns that are not there.
    """
    import pandas as pd

    column = column or energy_column(frame)
    names = varied_axes(frame) if keys is None else list(keys)
    check_columns(frame, (column, *names))
    values = numbers(frame[column], strict=False)
    counts = np.isfinite(values) & (values > 0)
    used = frame[counts]
    identity = (*IDENTITY, *varied_axes(frame))
    context = [name for name in identity if name in frame.columns and name not in names]
    table = pd.DataFrame({name: _codes(used[name]) for name in (*context, *names)})
    table["log"] = np.log(values[counts])
    means = table.groupby(context)["log"].transform("mean") if context else table["log"].mean()
    table["log"] -= means
    whole = float((table["log"] ** 2).sum())
    rows = [
        _row(table, used, context, names, name, whole)
        for name in names
        if used[name].nunique(dropna=False) > 1
    ]
    moved = pd.DataFrame(rows, columns=COLUMNS)
    return moved.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def _row(
    table: Any, used: Any, context: list[str], names: list[str], key: str, whole: float
) -> tuple[Any, ...]:
    """The row of ``key``: ``table`` has codes of all columns and ``log``, the logarithm of the
    column less its mean over the context; ``used`` has the values the codes stand for.
    """
    means = table.groupby([*context, key])["log"].transform("mean")
    share = float((means**2).sum()) / whole if whole else 0.0
    others = [*context, *(n for n in names if n != key)]
    told = ["min", "max", "size"]
    groups = table.groupby(others)["log"].agg(told) if others else _one_group(table, told)
    ratios = np.exp((groups["max"] - groups["min"])[groups["size"] > 1].to_numpy(float))
    median, largest = np.nan, np.nan
    if len(ratios):
        median, largest = float(np.median(ratios)), float(ratios.max())
    by_value = table.groupby(key)["log"].mean()
    label = dict(zip(table[key].to_numpy(), used[key].to_numpy(), strict=True))
    least, most = label[by_value.idxmin()], label[by_value.idxmax()]
    return key, len(by_value), share, median, largest, len(ratios), least, most


def _one_group(table: Any, told: list[str]) -> Any:
    return table["log"].agg(told).to_frame().T


def _codes(values: Any) -> Any:
    """[rows] Values as numbers, missing ones as a value of their own."""
    return values.astype(object).where(values.notna(), "").astype(str).factorize()[0]
