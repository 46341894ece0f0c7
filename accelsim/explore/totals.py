"""Sums over the layers of a network: one row per architecture, workload and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.explore.columns import Column, Ids, Table, column, text_column
from accelsim.explore.points import OK, STATUSES
from accelsim.hardware.architecture import Architecture

if TYPE_CHECKING:
    import pandas as pd

# What names a row besides its layer, and is the same for all layers of a network.
NAMES = (
    *("workload", "arch", "set", "dataflow", "engine", "direction", "mapping", "batch", "seed"),
    *("model_version", "arch_hash", "accelsim_version"),
)
SAME = ("area_",)  # columns that begin so are the architecture's
LEFT_OUT = ("mapping_hash", "loops", "key", "finished", "layer")
Floats = npt.NDArray[np.float64]


def totals(table: Table, axes: tuple[str, ...] = ()) -> Table:
    """A row ``total`` for each set of rows that differ in their layer only, in order of appearance.

    Counts, cycles and energies are summed, areas are the architecture's, ratios are worked out anew
    as in ``Result.totals``.  Where a layer has no result there is no total: ``status`` is the worst
    of the layers' and ``error`` says which layer, and how many.
    """
    groups = _groups(table, axes)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    firsts = order[starts] if len(order) else order
    firsts = firsts[np.argsort(groups[firsts])]
    found = table.take(firsts)
    columns: dict[str, Column] = {}
    whole, status, error = _status(table, groups, len(firsts))
    for name, c in found.columns.items():
        if name == "layer":
            columns[name] = text_column(np.full(len(firsts), "total", dtype=object))
        elif name in NAMES or name in axes:
            columns[name] = c
        elif name in LEFT_OUT:
            continue
        elif name == "status":
            columns[name] = status
        elif name == "error":
            columns[name] = error
        elif name == "bit_exact":
            columns[name] = _all(table.columns[name], groups, whole)
        elif c.kind == "text":
            continue
        elif name.startswith(SAME):
            columns[name] = _masked(c, whole)
        else:
            columns[name] = _sum(table.columns[name], groups, whole)
    return Table(columns | _ratios(table, columns, groups, firsts, whole), len(firsts))


def frame_totals(frame: pd.DataFrame) -> pd.DataFrame:
    """The same of a frame of ``sweep``; one of totals is given back as it is."""
    if len(frame) and (frame["layer"] == "total").all():
        return frame
    return totals(
        Table.of(frame),
        tuple(str(c) for c in frame.columns if str(c).split(".")[0] in Architecture.model_fields),
    ).to_frame()


def _groups(table: Table, axes: tuple[str, ...]) -> Ids:
    """The number of each row's set, in order of appearance."""
    codes = np.zeros(len(table), dtype=np.int64)
    for name in (*NAMES, *axes):
        if name in table.columns:
            values = np.array([str(v) for v in table.columns[name].plain()])
            _, inverse = np.unique(values, return_inverse=True)
            joined = codes * (int(inverse.max(initial=0)) + 1) + inverse.reshape(-1)
            codes = np.unique(joined, return_inverse=True)[1].reshape(-1)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    numbers: Ids = rank[inverse.reshape(-1)]
    return numbers


def _status(table: Table, groups: Ids, count: int) -> tuple[npt.NDArray[np.bool_], Column, Column]:
    """Which sets are whole, the worst status of each, and the first reason."""
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
    for group, found in reasons.items():
        texts[group] = found[0] + (f" (and {len(found) - 1} more layers)" if len(found) > 1 else "")
    return (
        whole,
        text_column(np.array([STATUSES[w] for w in worst], dtype=object)),
        text_column(texts),
    )


def _sum(c: Column, groups: Ids, whole: npt.NDArray[np.bool_]) -> Column:
    """Sums over the layers that have a value; none where no layer has one."""
    any_there = np.zeros(len(whole), dtype=np.bool_)
    if c.kind == "none":
        return column([None] * len(whole))
    any_there[groups if c.there is None else groups[c.there]] = True
    if c.kind == "int":
        sums: npt.NDArray[Any] = np.zeros(len(whole), dtype=np.int64)
        np.add.at(sums, groups, c.values if c.there is None else np.where(c.there, c.values, 0))
        return _masked(Column("int", sums), whole & any_there)
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
    """What is no sum: utilization, efficiencies, PEs at once, power, and the mapper's gap, of which
    the worst stands.
    """

    def have(*names: str) -> bool:
        return all(n in sums for n in names)

    found: dict[str, Floats] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        if have("macs", "cycles", "utilization"):
            rows = {n: table.columns[n].floats()[firsts] for n in ("macs", "cycles", "utilization")}
            pes = rows["macs"] / rows["utilization"] / rows["cycles"]
            macs, cycles = sums["macs"].floats(), sums["cycles"].floats()
            found["utilization"] = macs / (pes * cycles)
            if have("compute_cycles"):
                compute = sums["compute_cycles"].floats()
                found["mapping_efficiency"] = macs / (pes * compute)
                found["mean_active_pes"] = macs / compute
            if have("time_s"):
                found["gmacs_per_s"] = macs / sums["time_s"].floats() / 1e9
            if have("energy_pj"):
                energy = sums["energy_pj"].floats()
                found["gmacs_per_w"] = macs / energy * 1e3
                if have("time_s"):
                    found["power_mw"] = energy / sums["time_s"].floats() / 1e9
    result = {name: _float(values, whole) for name, values in found.items() if name in sums}
    if "active_pes" in sums:
        most = np.zeros(len(whole), dtype=np.int64)
        np.maximum.at(
            most, groups, np.nan_to_num(table.columns["active_pes"].floats()).astype(np.int64)
        )
        result["active_pes"] = _masked(Column("int", most), whole)
    if "gap" in sums:
        gaps = table.columns["gap"].floats()
        worst = np.full(len(whole), -np.inf)
        np.fmax.at(worst, groups, gaps)
        result["gap"] = _float(worst, whole)
    return result


def _float(values: Floats, whole: npt.NDArray[np.bool_]) -> Column:
    there = whole & np.isfinite(values)
    return _masked(Column("float", np.where(there, values, np.nan)), there)
