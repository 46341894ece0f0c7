"""Which key moves a result most: shares of variance and one-at-a-time ratios, from the frame of a
sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.hardware.architecture import Architecture

if TYPE_CHECKING:
    import pandas as pd

OTHERS = (
    "workload",
    "layer",
    "arch",
    "dataflow",
    "engine",
    "direction",
    "mapping",
    "batch",
    "seed",
)
COLUMNS = (
    "key",
    "values",
    "share",
    "median_ratio",
    "largest_ratio",
    "pairs",
    "least_at",
    "most_at",
)


def sensitivity(
    frame: pd.DataFrame, column: str | None = None, keys: Sequence[str] | None = None
) -> pd.DataFrame:
    """How much each key moves ``column`` (the energy if not given), the strongest first.

    ``keys`` are the axes of the sweep that have more than one value if not given; any columns may
    be named (``dataflow``).  Rows are compared only within equal workload, layer, dataflow and so
    on, and equal axes, as far as these are no keys.

    - ``values``: how many the key has
    - ``share``: of the variance of log(column), what the means over each value of the key explain
      (the first-order index of a
      full grid; on other samples an estimate that other keys may share in).  1 is all of it
    - ``median_ratio``, ``largest_ratio``: largest over smallest value of the column while the key
      alone changes, over
      ``pairs`` sets of rows that are equal in all other keys; NaN where there are none
    - ``least_at``, ``most_at``: the key's values with the smallest and the largest mean

    Only rows with a positive value count.  Raises ValueError for columns that are not there.
    """
    import pandas as pd

    column = column or energy_column(frame)
    names = axes(frame) if keys is None else list(keys)
    for name in (column, *names):
        if name not in frame.columns:
            raise ValueError(f"the frame has no column {name}")
    values = (
        pd.to_numeric(frame[column], errors="coerce")
        .astype("Float64")
        .to_numpy(float, na_value=np.nan)
    )
    used = frame[np.isfinite(values) & (values > 0)]
    context = [c for c in (*OTHERS, *axes(frame)) if c in frame.columns and c not in names]
    table = pd.DataFrame({name: _codes(used[name]) for name in (*context, *names)})
    table["log"] = np.log(values[np.isfinite(values) & (values > 0)])
    table["log"] -= (
        table.groupby(context)["log"].transform("mean") if context else table["log"].mean()
    )
    whole = float((table["log"] ** 2).sum())
    rows = [
        _row(table, used, context, names, name, whole)
        for name in names
        if used[name].nunique(dropna=False) > 1
    ]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def _row(
    table: Any, used: Any, context: list[str], names: list[str], key: str, whole: float
) -> tuple[Any, ...]:
    means = table.groupby([*context, key])["log"].transform("mean")
    share = float((means**2).sum()) / whole if whole else 0.0
    others = [*context, *(n for n in names if n != key)]
    groups = (
        table.groupby(others)["log"].agg(["min", "max", "size"])
        if others
        else table["log"].agg(["min", "max", "size"]).to_frame().T
    )
    ratios = np.exp((groups["max"] - groups["min"])[groups["size"] > 1].to_numpy(float))
    by_value = table.groupby(key)["log"].mean()
    label = dict(zip(table[key].to_numpy(), used[key].to_numpy(), strict=True))
    least, most = label[by_value.idxmin()], label[by_value.idxmax()]
    median, largest = (
        (float(np.median(ratios)), float(ratios.max())) if len(ratios) else (np.nan, np.nan)
    )
    return key, len(by_value), share, median, largest, len(ratios), least, most


def _codes(values: Any) -> Any:
    """Values as numbers, missing ones as a value of their own."""
    return values.astype(object).where(values.notna(), "").astype(str).factorize()[0]


def axes(frame: pd.DataFrame) -> list[str]:
    """The columns that are keys of the architecture and have more than one value."""
    own = [
        str(c)
        for c in frame.columns
        if str(c).split(".")[0] in Architecture.model_fields and str(c) != "name"
    ]
    return [c for c in own if frame[c].nunique(dropna=False) > 1]


def energy_column(frame: pd.DataFrame) -> str:
    """The column of the total energy, in its unit.  Raises ValueError if there is none, or one in
    each of two units.
    """
    found = [
        c for c in ("energy_pj", "energy_mac") if c in frame.columns and frame[c].notna().any()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError("the frame has energy in two units, energy_mac and energy_pj: name one")
    raise ValueError("the frame has no column energy_pj or energy_mac with values")
