"""From points to records.

``evaluate`` is what a worker does with the points of its task.  A record has ``status`` (ok,
unmappable, failed check, error), ``error`` (why, or None) and the columns of a row of ``simulate``
that depend on the point, with ``mapping_hash`` and ``loops``.  What merely names a point is not in
it.  Analytic points of one layer and dataflow, on architectures that differ in numbers only, are
evaluated together (``batch``); all others, and those it leaves over, one by one (``one``).  Both
give the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from accelsim.explore.columns import Column, ColumnBlock, Ids, Record, column, float_column, pack
from accelsim.explore.points import ERROR, FAILED, OK, UNMAPPABLE, SweepPoint
from accelsim.hardware.architecture import Architecture, structure
from accelsim.mapper.rules_ahead import walk_ahead
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.results import batch
from accelsim.results.result import LEAD
from accelsim.results.simulate import simulate
from accelsim.results.tiles import TilesRequest
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.problem import Problem

NAMED = frozenset((*LEAD, "error"))  # of a row, what is no result of the point
KEPT = ("mapping_hash", "loops")  # of a row's provenance
WORTH = 2  # points from which evaluating together pays


def evaluate(ids: Ids, points: Sequence[SweepPoint]) -> list[ColumnBlock]:
    """The records of points, whose numbers are ``ids``, in whatever order.  What goes wrong with a
    point is in its record.
    """
    groups: dict[Any, list[int]] = {}  # what may be evaluated together, by what it shares
    alone: list[int] = []
    _walk_ahead(points)
    for i, point in enumerate(points):
        shared = _shared(point)
        (alone if shared is None else groups.setdefault(shared, [])).append(i)
    blocks: list[ColumnBlock] = []
    for members in groups.values():
        if len(members) < WORTH:
            alone += members
            continue
        item = points[members[0]].item
        archs = [points[i].arch for i in members]
        assert item.recipe.dataflow is not None
        together, left = _together(ids[members], item.problem, archs, item.recipe.dataflow)
        blocks += together
        alone += [members[i] for i in left]
    alone.sort()
    return blocks + (pack(ids[alone], [one(points[i]) for i in alone]) if alone else [])


def _shared(point: SweepPoint) -> tuple[Problem, str, str] | None:
    """What points share that are evaluated together; None for one that is evaluated by itself."""
    item = point.item
    recipe = item.recipe
    if recipe.file is not None or recipe.mapper is not None or recipe.dataflow is None:
        return None
    if item.engine != "analytic":
        return None
    return item.problem, recipe.short, structure(point.arch)


def _walk_ahead(points: Sequence[SweepPoint]) -> None:
    """The fixed rule, beside which best tiles are searched, for all machines of a layer at once."""
    searched: dict[Any, list[SweepPoint]] = {}
    for point in points:
        recipe, problem = point.item.recipe, point.item.problem
        if isinstance(recipe.mapper, TilesRequest) and recipe.dataflow is not None:
            shared = problem, recipe.dataflow, structure(point.arch)
            searched.setdefault(shared, []).append(point)
    for (problem, flow, _), alike in searched.items():
        with suppress(Exception):  # a point is at fault: by itself it is a row that says so
            walk_ahead(problem, [point.arch for point in alike], flow)


def _together(
    ids: Ids, problem: Problem, archs: Sequence[Architecture], flow: Dataflow
) -> tuple[list[ColumnBlock], list[int]]:
    """Blocks, and the places of points that are left to be evaluated one by one."""
    try:
        groups, left = batch.columns(problem, archs, flow)
    except Exception:  # a point of the group is at fault: by itself it is a row that says so
        return [], list(range(len(archs)))
    return [_block(ids[group.at], group) for group in groups], left.tolist()


def _block(ids: Ids, group: batch.PointGroup) -> ColumnBlock:
    n = len(ids)
    columns = {name: _column(values, n) for name, values in group.columns.items()}
    columns |= {"mapping_hash": column(group.mapping_hash), "loops": column(group.loops)}
    return ColumnBlock(ids, tuple(columns), tuple(columns.values()), (OK,) * n, (None,) * n)


def _column(values: Any, n: int) -> Column:
    """An array [points] or None as a column; NaN is none."""
    array = None if values is None else np.asarray(values)
    if array is None or array.dtype == object:
        return column([None] * n if array is None else array.tolist())
    if array.dtype.kind in "iu":
        return Column("int", array.astype(np.int64))
    if array.dtype.kind == "b":
        return Column("bool", array.astype(np.bool_))
    return float_column(array.astype(np.float64))


def one(point: SweepPoint) -> Record:
    """The record of a single point, by ``simulate``, where the mapper is asked for with the ``gap``
    it leaves.
    """
    item, recipe = point.item, point.item.recipe
    gap: dict[str, Any] = {}
    images, direction = item.problem.N, item.problem.direction
    try:
        how: dict[str, Any] = {"tiles": "rule"} if recipe.file is None else {"mapping": recipe.file}
        if isinstance(recipe.mapper, TilesRequest):
            how = recipe.mapper.options
        elif recipe.mapper is not None:
            chosen, gap = recipe.mapper.best(
                item.layer, point.arch, recipe.dataflow, images, direction
            )
            how = {"mapping": chosen}
        row = simulate(
            _network(item.layer),
            point.arch,
            recipe.dataflow,
            engine=item.engine,
            batch=images,
            direction=direction,
            seed=item.seed,
            **how,
        ).rows[0]
    except MappingError as error:
        return {
            "status": UNMAPPABLE,
            "error": str(error),
            "macs": item.problem.macs,
            "bit_exact": None,
        }
    except Exception as error:
        return failure(f"{type(error).__name__}: {error}")
    why: Any = row.columns.get("error")
    record: Record = {
        "status": UNMAPPABLE if row.nest is None else FAILED if why else OK,
        "error": why,
    }
    record |= {k: v for k, v in row.columns.items() if k not in NAMED}
    return record | gap | {k: row.provenance.get(k) for k in KEPT}


@lru_cache(maxsize=1 << 8)
def _network(layer: Layer) -> Workload:
    """A layer as the workload ``simulate`` makes of it: the same for all machines of a sweep."""
    return load_workload(layer)


def failure(reason: str) -> Record:
    """The record of a point that gave no result."""
    return {"status": ERROR, "error": " ".join(reason.split())[:2000]}
