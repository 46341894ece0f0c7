"""Two sets of results side by side: rows of the same point, and the second over the first.

``acc.compare`` and ``accelsim compare``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.base.errors import InputError
from accelsim.base.validation import checked
from accelsim.explore.row_names import IDENTITY, axes
from accelsim.results.layer_row import ENERGIES
from accelsim.results.waterfall import STALL, CyclePart, added, parts_of, why_faster

if TYPE_CHECKING:
    import pandas as pd

PARTED = ("macs", "cycles", "compute_cycles", "fill_drain_cycles", "active_pes", "utilization")
COLUMNS = ("cycles", *ENERGIES, "area_um2")


@checked
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
    wanted = list(columns) if columns is not None else _in_both(a, b)
    if not wanted:
        rule = "the two have none of these in common"
        raise InputError(rule, key="columns", got=", ".join(COLUMNS))
    sides = (("first", a), ("second", b))
    for name in (*keys, *wanted):
        for side, frame in sides:
            if name not in frame.columns:
                rule, key = f"the {side} has no such column", "on" if name in keys else "columns"
                raise InputError(rule, key=key, got=name, choices=map(str, frame.columns))
    for side, frame in sides:
        _check_single(frame, side, keys)
    if how != "inner":  # a row that one of them lacks would make whole numbers floats
        a, b = _nullable(a), _nullable(b)
    merged = a[[*keys, *wanted]].merge(
        b[[*keys, *wanted]], on=keys, how=how, suffixes=("_a", "_b"), sort=False
    )
    if not len(merged) or (how == "outer" and not len(a.merge(b, on=keys)[keys])):
        differ = [k for k in keys if not set(a[k].dropna().map(str)) & set(b[k].dropna().map(str))]
        why = f" (nothing equal in {', '.join(differ)})" if differ else ""
        raise InputError(f"the two have no point in common{why}", key="on", got=", ".join(keys))
    compared = merged[keys].copy()
    for name in wanted:
        first, second = merged[f"{name}_a"], merged[f"{name}_b"]
        compared[f"{name}_a"], compared[f"{name}_b"] = first, second
        compared[f"{name}_ratio"] = second.astype("float64") / first.astype("float64")
    return compared


def why(
    a: pd.DataFrame, b: pd.DataFrame, on: Sequence[str] | None, names: tuple[str, str]
) -> str | None:
    """One sentence on where the second's cycles differ from the first's, by the parts of
    ``results.waterfall``, over the points that are in both and have a result; None where frames do
    not have what parts are made of.

    ``names`` are what the two are called, ``on`` is as for ``compare``.
    """
    keys = list(on) if on is not None else identity(a, b)
    sides = [_parts(frame, keys) for frame in (a, b)]
    if sides[0] is None or sides[1] is None:
        return None
    both = [key for key in sides[0] if key in sides[1]]
    if not both:
        return None
    first, second = (added([side[key] for key in both]) for side in sides if side is not None)
    return why_faster(first, second, names)


def _parts(
    frame: pd.DataFrame, keys: Sequence[str]
) -> dict[tuple[str, ...], tuple[CyclePart, ...]] | None:
    """The parts of each row that has cycles, by what names its point; PEs are worked back from the
    utilization.  None where a column is missing.
    """
    import pandas as pd

    if not {*keys, *PARTED} <= set(frame.columns):
        return None
    waits = [name for name in frame.columns if STALL.fullmatch(str(name))]
    mapping = ["mapping"] if "mapping" in frame.columns else []
    parts = {}
    rows = frame[frame["cycles"].notna() & frame["utilization"].notna()]
    for record in rows[list(dict.fromkeys([*keys, *PARTED, *waits, *mapping]))].to_dict("records"):
        slots = record["utilization"] * record["cycles"]
        pes = round(record["macs"] / slots) if slots else 1
        told = {name: None if pd.isna(record[name]) else record[name] for name in waits}
        own = {name: record[name] for name in (*PARTED, *mapping)} | told
        parts[tuple(str(record[key]) for key in keys)] = parts_of(own, pes)
    return parts


def _nullable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with whole numbers that may be missing."""
    whole = [name for name in frame.columns if str(frame[name].dtype) == "int64"]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def identity(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """The columns both have that name a point."""
    names = (*IDENTITY, *axes(a.columns))
    return [name for name in names if name in a.columns and name in b.columns]


def _in_both(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """The usual columns that both have values in."""
    return [c for c in COLUMNS if all(c in f.columns and f[c].notna().any() for f in (a, b))]


def _check_single(frame: pd.DataFrame, side: str, keys: list[str]) -> None:
    """Raises InputError where two rows have the same keys."""
    twice = frame.duplicated(keys)
    if twice.any():
        row = frame[twice].iloc[0]
        which = ", ".join(f"{k}={row[k]}" for k in keys)
        rule = f"the {side} has several rows of one point ({which}); name more columns"
        raise InputError(rule, key="on")
