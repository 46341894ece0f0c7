"""What a sweep answers: which point is best, and which are on the front.

``accelsim sweep`` ends with ``answers``; ``fronts`` marks its rows with stars.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from accelsim.explore.columns import Table, text_column
from accelsim.explore.pareto import front
from accelsim.results.layer_row import ENERGIES

Floats = npt.NDArray[np.float64]
LEAST = ("energy", "cycles", "edp", "area")


def answers(totals: Table) -> Table:
    """Of each workload the rows on its front of energy and cycles, cycles rising, and any further
    one that has the least of something: of ``LEAST``, where that is known and differs; ``best``,
    the first column, says of what.  Rows without a result are left out.
    """
    on_front, values = fronts(totals), _values(totals)
    workloads = np.array(totals.columns["workload"].plain(), dtype=object)
    best: dict[int, list[str]] = {}
    chosen: list[int] = []
    for name in dict.fromkeys(workloads.tolist()):
        own = np.flatnonzero((workloads == name) & ~np.isnan(values["cycles"]))
        picked = set() if on_front is None else set(own[on_front[own]].tolist())
        for what, place in _least(values, own).items():
            best.setdefault(place, []).append(what)
            picked.add(place)
        chosen += sorted(picked, key=lambda i: (values["cycles"][i], i))
    texts = np.array([", ".join(best.get(i, [])) for i in chosen], dtype=object)
    return totals.take(np.array(chosen, dtype=np.int64)).with_columns(
        {"best": text_column(texts)}, first=True
    )


def fronts(totals: Table) -> npt.NDArray[np.bool_] | None:
    """[rows] Which no other of their workload beats in both energy and cycles; None where there is
    no energy, or energy in two units.
    """
    values = _values(totals)
    if "energy" not in values:
        return None
    mask = np.zeros(len(totals), dtype=np.bool_)
    names = np.array(totals.columns["workload"].plain(), dtype=object)
    both = np.column_stack([values["energy"], values["cycles"]])
    for name in set(names.tolist()):
        rows = np.flatnonzero(names == name)
        mask[rows[front(both[rows])]] = True
    return mask


def _values(totals: Table) -> dict[str, Floats]:
    """What rows are compared by, [rows] each, NaN where a row has none."""
    columns = totals.columns
    empty = np.full(len(totals), np.nan)
    values = {"cycles": columns["cycles"].floats() if "cycles" in columns else empty}
    energies = [n for n in ENERGIES if n in columns and columns[n].kind != "none"]
    if len(energies) == 1:
        values["energy"] = columns[energies[0]].floats()
        if "time_s" in columns:
            values["edp"] = values["energy"] * columns["time_s"].floats()
    if "area_um2" in columns and columns["area_um2"].kind == "float":
        values["area"] = columns["area_um2"].floats()
    return values


def _least(values: Mapping[str, Floats], own: npt.NDArray[np.int64]) -> dict[str, int]:
    """The row of a workload with the least of each; of equals the one with the least energy x
    time, or cycles.  What is the same for all rows is nobody's.
    """
    told = {}
    for what in LEAST:
        if what not in values or not len(own):
            continue
        mine = values[what][own]
        ties = values.get("edp", values["cycles"])[own]
        if np.isnan(mine).all() or (len(own) > 1 and np.nanmin(mine) == np.nanmax(mine)):
            continue
        told[what] = int(own[np.lexsort((ties, mine))[0]])
    return told
