"""The best dataflow of each layer, beside one for all: the rows called ``best``.

``simulate(..., best_of=["ws", "os"])``, or ``dataflow="best"`` for every shipped one, runs all
layers under each; of every layer the row of least objective comes once more, under the dataflow
``best``, its own in the column ``best_dataflow``.  So the totals have one of ``best`` beside one of
each dataflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from accelsim.base.shipped import shipped_names
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import full_measures
from accelsim.mapping.files import DataflowsLike, load_dataflow, several
from accelsim.results.layer_row import Row

BEST = "best"


def candidates(best_of: DataflowsLike | None) -> list[Any]:
    """The dataflows to choose among: those given, or all that are shipped.  Raises InputError."""
    named = several(best_of) if best_of is not None else shipped_names("dataflows")
    return [load_dataflow(name) for name in named]


def with_best(rows: Sequence[Row], objective: str | None, *, named: bool) -> list[Row]:
    """The rows, and then of every layer its best row, of equal ones the first; a layer that none
    maps has its first row.  Dataflows that nobody ``named`` have rows of their own only if they map
    all layers.
    """
    goal = Objective.parse("edp" if objective is None else objective)
    failed = {row.columns["dataflow"] for row in rows if row.nest is None}
    kept = [row for row in rows if named or row.columns["dataflow"] not in failed]
    layers: dict[str, list[Row]] = {}
    for row in rows:
        layers.setdefault(row.columns["layer"], []).append(row)
    told = [replace(row, columns={**row.columns, "best_dataflow": None}) for row in kept]
    return told + [_best_of(goal, each) for each in layers.values()]


def _best_of(goal: Objective, rows: Iterable[Row]) -> Row:
    """A layer's best row under the name ``best``."""
    every = list(rows)
    ran = [row for row in every if row.nest is not None and row.error is None]
    best = min(ran, key=lambda row: _value(goal, row), default=every[0])
    own = best.columns["dataflow"] if ran else None
    columns = {**best.columns, "dataflow": BEST, "best_dataflow": own}
    return replace(best, columns=columns)


def _value(goal: Objective, row: Row) -> float:
    assert row.nest is not None
    if "dram" in goal.measures:
        return float(goal.of(full_measures(row.nest)))
    energy = f"energy_{row.nest.arch.energy.unit}"
    return float(goal.of({"energy": row.columns[energy], "cycles": float(row.columns["cycles"])}))


__all__ = ["BEST", "candidates", "with_best"]
