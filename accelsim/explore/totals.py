"""Sums over the layers of a network: one row per architecture, workload and recipe.

For ``total`` of a sweep or of a store that is read, for figures, and for the guided search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.base.limits import MAX_COUNT, too_large
from accelsim.explore.columns import Column, Ids, Table, column, text_column
from accelsim.explore.points import ERROR, OK, STATUSES
from accelsim.explore.row_names import IDENTITY, axes

if TYPE_CHECKING:
    import pandas as pd

# What names a row besides its layer, and is the same for all layers of a network.
NAMES = (
    *(name for name in IDENTITY if name != "layer"),
    *("set", "model_version", "arch_hash", "accelsim_version"),
)
SAME = ("area_",)  # columns that begin so are the architecture's
LEFT_OUT = ("mapping_hash", "loops", "key", "finished", "best_dataflow")  # a layer's own
SUMMED = ("macs", "cycles", "compute_cycles", "time_s", "energy_pj")  # that ratios are made of
SURE = float(1 << 62)  # a sum whose sizes stay below it in float64 fits in 64 bits
Floats = npt.NDArray[np.float64]


def totals(table: Table, keys: tuple[str, ...] = ()) -> Table:
    """A row ``total`` for each set of rows that differ in their layer only, in order of appearance;
    ``keys`` are the axes.

    Counts, cycles and energies are summed, areas are the architecture's, ratios are worked out anew
    as in ``Result.totals``.  Where a layer has no result there is no total: ``status`` is the worst
    of the layers' and ``error`` says which layer, and how many.  Where a sum of whole numbers is
    beyond 2^63 - 1 there is none either, and ``error`` says which column's.
    """
    groups = _groups(table, keys)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    firsts = order[starts] if len(order) else order
    firsts = firsts[np.argsort(groups[firsts])]
    whole, worst, reasons = _status(table, groups, len(firsts))
    sums, large = _sums(table, groups, whole, keys)
    for group, why in large.items():
        whole[group], worst[group], reasons[group] = False, STATUSES.index(ERROR), f"total: {why}"
    status = text_column(np.array([STATUSES[w] for w in worst], dtype=object))
    error = text_column(reasons)
    layer = text_column(np.full(len(firsts), "total", dtype=object))
    columns: dict[str, Column] = {}
    for name, first in table.take(firsts).columns.items():
        if name in (own := {"layer": layer, "status": status, "error": error}):
            columns[name] = own[name]
        elif name in NAMES or name in keys:
            columns[name] = first
        elif name == "bit_exact":
            columns[name] = _all(table.columns[name], groups, whole)
        elif name in LEFT_OUT or first.kind == "text":
            continue
        else:
            columns[name] = _masked(first if name.startswith(SAME) else sums[name], whole)
    return Table(columns | _ratios(table, columns, groups, firsts, whole), len(firsts))


def frame_totals(frame: pd.DataFrame) -> pd.DataFrame:
    """The same of a frame of ``sweep``; one of totals is given back as it is."""
    if len(frame) and (frame["layer"] == "total").all():
        return frame
    return totals(Table.of(frame), axes(frame.columns)).to_frame()


def _groups(table: Table, keys: tuple[str, ...]) -> Ids:
    """[rows] The number of each row's set, in order of appearance."""
    codes = np.zeros(len(table), dtype=np.int64)
    for name in (*NAMES, *keys):
        if name in table.columns:
            values = np.array([str(v) for v in table.columns[name].plain()])
            _, inverse = np.unique(values, return_inverse=True)
            joined = codes * (int(inverse.max(initial=0)) + 1) + inverse.reshape(-1)
            codes = np.unique(joined, return_inverse=True)[1].reshape(-1)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    numbers: Ids = rank[inverse.reshape(-1)]
    return numbers


def _status(
    table: Table, groups: Ids, count: int
) -> tuple[npt.NDArray[np.bool_], Ids, npt.NDArray[np.object_]]:
    """For each set whether it is whole, the worst status as its place in ``STATUSES``, and the
    first reason.
    """
    rank = {status: i for i, status in enumerate(STATUSES)}
    statuses = table.columns["status"].plain()
    codes = np.array([rank.get(s, len(STATUSES) - 1) for s in statuses], dtype=np.int64)
    worst = np.zeros(count, dtype=np.int64)
    np.maximum.at(worst, groups, codes)
    whole = np.ones(count, dtype=np.bool_)
    if "cycles" in table.columns:
        whole[groups[np.isnan(table.columns["cycles"].floats())]] = False
    else:
        whole[:] = False
    reasons: dict[int, list[str]] = {}
    errors = table.columns["error"].plain() if "error" in table.columns else [None] * len(table)
    layers = table.columns["layer"].plain()
    for i in np.flatnonzero(codes != rank[OK]).tolist():
        reasons.setdefault(int(groups[i]), []).append(f"{layers[i]}: {errors[i] or statuses[i]}")
    texts = np.full(count, None, dtype=object)
    for group, lines in reasons.items():
        more = f" (and {len(lines) - 1} more layers)" if len(lines) > 1 else ""
        texts[group] = lines[0] + more
    return whole, worst, texts


def _sums(
    table: Table, groups: Ids, whole: npt.NDArray[np.bool_], keys: tuple[str, ...]
) -> tuple[dict[str, Column], dict[int, str]]:
    """Every column's sums, of those that have any, and of which sets one is too large, and why."""
    sums: dict[str, Column] = {}
    large: dict[int, str] = {}
    named = {"layer", "status", "error", "bit_exact", *NAMES, *keys, *LEFT_OUT}
    for name, c in table.columns.items():
        if name in named or c.kind == "text" or name.startswith(SAME):
            continue
        if c.kind != "int":
            sums[name] = _sum(c, groups, whole)
            continue
        sums[name], most = _whole_sum(c, groups, len(whole))
        for group, value in most.items():
            if whole[group]:
                large.setdefault(group, too_large(name, value))
    return sums, large


def _whole_sum(c: Column, groups: Ids, count: int) -> tuple[Column, dict[int, int]]:
    """Exact sums of whole numbers, and those that 64 bits do not hold by their set; none where no
    layer has a value.
    """
    values = c.values if c.there is None else np.where(c.there, c.values, 0)
    there = np.zeros(count, dtype=np.bool_)
    there[groups if c.there is None else groups[c.there]] = True
    sums: npt.NDArray[Any] = np.zeros(count, dtype=np.int64)
    np.add.at(sums, groups, values)  # wraps where a set's sum does not fit
    sizes = np.bincount(groups, weights=np.abs(values.astype(np.float64)), minlength=count)
    large: dict[int, int] = {}
    for group in np.flatnonzero(sizes >= SURE).tolist():
        exact = sum(values[groups == group].tolist())
        if abs(exact) > MAX_COUNT:
            large[group], sums[group] = exact, 0
    return Column("int", sums, None if there.all() else there), large


def _sum(c: Column, groups: Ids, whole: npt.NDArray[np.bool_]) -> Column:
    """Sums over the layers that have a value; none where no layer has one."""
    any_there = np.zeros(len(whole), dtype=np.bool_)
    if c.kind == "none":
        return column([None] * len(whole))
    any_there[groups if c.there is None else groups[c.there]] = True
    values = np.nan_to_num(c.floats())
    return _masked(
        Column("float", np.bincount(groups, weights=values, minlength=len(whole))),
        whole & any_there,
    )


def _all(c: Column, groups: Ids, whole: npt.NDArray[np.bool_]) -> Column:
    if c.kind == "none":
        return column([None] * len(whole))
    result: list[bool | None] = [None] * len(whole)
    for group, value in zip(groups.tolist(), c.plain(), strict=True):
        if value is not None:
            result[group] = bool(value) and result[group] is not False
    return _masked(column(result), whole)


def _masked(c: Column, there: npt.NDArray[np.bool_]) -> Column:
    """The column with values only where they are wanted."""
    both = there if c.there is None else there & c.there
    if not both.any():
        return Column("none", np.full(len(c), np.nan))
    values = np.where(both, c.values, np.nan) if c.kind == "float" else c.values
    return Column(c.kind, values, None if both.all() else both)


def _ratios(
    table: Table, sums: Mapping[str, Column], groups: Ids, firsts: Ids, whole: npt.NDArray[np.bool_]
) -> dict[str, Column]:
    """What is no sum, as far as there is a column for it: utilization, efficiencies, power, the
    most PEs at once, and the worst of the mapper's gaps.
    """
    ratios = {
        name: _float(values, whole)
        for name, values in _quotients(table, sums, firsts).items()
        if name in sums
    }
    if "active_pes" in sums:
        most = np.zeros(len(whole), dtype=np.int64)
        active = np.nan_to_num(table.columns["active_pes"].floats()).astype(np.int64)
        np.maximum.at(most, groups, active)
        ratios["active_pes"] = _masked(Column("int", most), whole)
    if "gap" in sums:
        worst = np.full(len(whole), -np.inf)
        np.fmax.at(worst, groups, table.columns["gap"].floats())
        ratios["gap"] = _float(worst, whole)
    return ratios


def _quotients(table: Table, sums: Mapping[str, Column], firsts: Ids) -> dict[str, Floats]:
    """Quotients of sums, [sets] each, that can be had of the columns there are.

    How many PEs the array has is worked back from the first row of each set.
    """
    if not all(name in sums for name in ("macs", "cycles", "utilization")):
        return {}
    sum_of = {name: sums[name].floats() for name in SUMMED if name in sums}
    first = {n: table.columns[n].floats()[firsts] for n in ("macs", "cycles", "utilization")}
    macs, energy, time = sum_of["macs"], sum_of.get("energy_pj"), sum_of.get("time_s")
    quotients: dict[str, Floats] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        pes = first["macs"] / first["utilization"] / first["cycles"]
        quotients["utilization"] = macs / (pes * sum_of["cycles"])
        if (compute := sum_of.get("compute_cycles")) is not None:
            quotients["mapping_efficiency"] = macs / (pes * compute)
            quotients["mean_active_pes"] = macs / compute
        if time is not None:
            quotients["gmacs_per_s"] = macs / time / 1e9
        if energy is not None:
            quotients["gmacs_per_w"] = macs / energy * 1e3
            if time is not None:
                quotients["power_mw"] = energy / time / 1e9
    return quotients


def _float(values: Floats, whole: npt.NDArray[np.bool_]) -> Column:
    there = whole & np.isfinite(values)
    return _masked(Column("float", np.where(there, values, np.nan)), there)
