"""Two sets of results side by side: rows of the same point, and the second over the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.base.errors import InputError
from accelsim.explore.sensitivity import OTHERS
from accelsim.hardware.architecture import Architecture

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("cycles", "energy_pj", "energy_mac", "area_um2")


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    columns: Sequence[str] | None = None,
    on: Sequence[str] | None = None,
    how: str = "inner",
) -> pd.DataFrame:
    """Rows of ``a`` and ``b`` that name the same point: what names it, then ``{column}_a``,
    ``{column}_b``, ``{column}_ratio`` (b / a).

    ``on`` are the columns that name a point: workload, layer, arch, dataflow, engine, direction,
    mapping, batch, seed and the axes, as far as both have them, if not given.  ``columns`` are
    cycles, energy and area if not given.  ``how="outer"`` keeps the rows only one of them has.
    Raises InputError for columns that are not there, where a point stands twice, and where no point
    is in both.
    """
    keys = list(on) if on is not None else identity(a, b)
    wanted = (
        list(columns)
        if columns is not None
        else [c for c in COLUMNS if all(c in f.columns and f[c].notna().any() for f in (a, b))]
    )
    if not wanted:
        raise InputError(
            "the two have none of these in common", key="columns", got=", ".join(COLUMNS)
        )
    for name in (*keys, *wanted):
        for side, frame in (("first", a), ("second", b)):
            if name not in frame.columns:
                key = "on" if name in keys else "columns"
                raise InputError(
                    f"the {side} has no such column",
                    key=key,
                    got=name,
                    choices=map(str, frame.columns),
                )
    for side, frame in (("first", a), ("second", b)):
        twice = frame.duplicated(keys)
        if twice.any():
            row = frame[twice].iloc[0]
            which = ", ".join(f"{k}={row[k]}" for k in keys)
            raise InputError(
                f"the {side} has several rows of one point ({which}); name more columns", key="on"
            )
    merged = a[[*keys, *wanted]].merge(
        b[[*keys, *wanted]], on=keys, how=how, suffixes=("_a", "_b"), sort=False
    )
    if not len(merged) or (how == "outer" and not len(a.merge(b, on=keys)[keys])):
        differ = [k for k in keys if not set(a[k].dropna().map(str)) & set(b[k].dropna().map(str))]
        why = f" (nothing equal in {', '.join(differ)})" if differ else ""
        raise InputError(f"the two have no point in common{why}", key="on", got=", ".join(keys))
    found = merged[keys].copy()
    for name in wanted:
        found[f"{name}_a"], found[f"{name}_b"] = merged[f"{name}_a"], merged[f"{name}_b"]
        found[f"{name}_ratio"] = merged[f"{name}_b"].astype("float64") / merged[f"{name}_a"].astype(
            "float64"
        )
    return found


def identity(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """The columns both have that name a point."""
    axes = [str(c) for c in a.columns if str(c).split(".")[0] in Architecture.model_fields]
    return [c for c in (*OTHERS, *axes) if c in a.columns and c in b.columns]
