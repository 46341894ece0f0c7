"""The best dataflow of each layer in a sweep: rows called ``best`` beside those of each dataflow.

``sweep(..., best_of=["ws", "os"])``, or ``dataflows="best"`` for all that are shipped and that the
machine can run, evaluates every layer under each; of every architecture and layer the row of least
objective comes once more under the dataflow ``best``, its own in the column ``best_dataflow``, as
``simulate`` has it (``results/best_dataflow.py``).  So totals compare one dataflow for all layers
with the best for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.base.shipped import shipped_names
from accelsim.explore.columns import Ids, Table, text_column
from accelsim.mapper.objective import Objective
from accelsim.mapping.files import load_dataflow, several
from accelsim.mapping.rule import refuse_unkept
from accelsim.results.best_dataflow import BEST
from accelsim.results.layer_row import ENERGIES

if TYPE_CHECKING:
    from accelsim.explore.machines import Machines
    from accelsim.explore.plan import SweepPlan
    from accelsim.explore.study import Study
    from accelsim.explore.study_file import StudyFile


def chooses(study: Study | StudyFile) -> bool:
    """Whether a study asks for the best dataflow of each layer."""
    return study.best_of is not None or study.dataflows in (BEST, [BEST], (BEST,))


def candidates(study: Study, machines: Machines) -> Any:
    """The dataflows a study runs: those it names, or all that are shipped and can keep in the PEs
    what they want to on its base machine.  Raises InputError.
    """
    if not chooses(study):
        return study.dataflows
    if study.best_of is not None:
        return several(study.best_of)
    kept = []
    for name in shipped_names("dataflows"):
        try:
            refuse_unkept(load_dataflow(name), machines.base, "dataflows")
        except InputError:
            continue
        kept.append(name)
    return kept


def with_best(table: Table, plan: SweepPlan, goal: Objective) -> Table:
    """The rows of a plan, and after those of each architecture the best of each of its layers.
    Dataflows that nobody named have rows of their own only where they map the whole network.
    """
    machines, width = len(plan.numbers), plan.width
    networks = _networks(plan)
    values = _values(table, goal).reshape(machines, width)
    first = np.arange(machines)[:, None] * width
    # [dataflows] of each layer the places of its rows
    layers = [
        np.array(places)
        for flows in networks.values()
        for places in zip(*flows.values(), strict=True)
    ]
    best = np.stack([first[:, 0] + x[values[:, x].argmin(axis=1)] for x in layers], axis=1)
    shown = np.ones((machines, width + best.shape[1]), dtype=np.bool_)
    for own in (places for flows in networks.values() for places in flows.values()):
        if not plan.named:
            shown[:, own] = np.isfinite(values[:, own]).all(axis=1, keepdims=True)
    index: Ids = np.concatenate([first + np.arange(width), best], axis=1)[shown]
    flows = np.array(table.columns["dataflow"].plain(), dtype=object)[index]
    chosen = np.broadcast_to(np.arange(shown.shape[1]) >= width, shown.shape)[shown]
    told = chosen & np.isfinite(values.reshape(-1)[index])
    columns = {
        "dataflow": text_column(np.where(chosen, BEST, flows)),
        "best_dataflow": text_column(
            np.array([f if t else None for f, t in zip(flows, told, strict=True)], object)
        ),
    }
    taken = table.take(index)
    return Table(
        {name: columns.get(name, c) for name, c in taken.columns.items()} | columns, len(index)
    )


def _networks(plan: SweepPlan) -> dict[str, dict[str, list[int]]]:
    """Of each workload under each dataflow the places of its layers among an architecture's
    items.
    """
    networks: dict[str, dict[str, list[int]]] = {}
    for place, item in enumerate(plan.items[: plan.width]):
        flows = networks.setdefault(item.workload, {})
        flows.setdefault(item.recipe.short, []).append(place)
    return networks


def goal_of(study: Study) -> Objective:
    """What the best dataflow makes small.  Raises InputError."""
    goal = Objective.parse("edp" if study.objective is None else study.objective)
    if "dram" in goal.measures:
        rule = "of a best dataflow is made of energy and cycles"
        raise InputError(rule, key="objective", got=goal.text)
    return goal


def _values(table: Table, goal: Objective) -> npt.NDArray[np.float64]:
    """[rows] What the objective makes of each row; infinite where there is no result."""
    energy = next((name for name in ENERGIES if name in table.columns), "")
    sources = {"cycles": "cycles", "energy": energy}
    if any(sources[measure] not in table.columns for measure in goal.measures):
        return np.full(len(table), np.inf)
    measures = {m: table.columns[sources[m]].floats() for m in goal.measures}
    values = np.asarray(goal.of(measures), dtype=np.float64)
    failed = np.array([error is not None for error in table.columns["error"].plain()])
    values[np.isnan(values) | failed] = np.inf
    return values


__all__ = ["candidates", "chooses", "goal_of", "with_best"]
