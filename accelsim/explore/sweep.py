"""A sweep: every point of a space of architectures, every layer, every dataflow; a row for each,
resumed from a store.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from accelsim.base.errors import InputError
from accelsim.explore.columns import ColumnBlock, Gathered, Ids, Table, pack
from accelsim.explore.evaluate import failure
from accelsim.explore.grid import space
from accelsim.explore.mapper_request import Request
from accelsim.explore.plan import PlanSettings, SweepPlan, items, plan, workloads
from accelsim.explore.points import ERROR, FAILED, recipes
from accelsim.explore.pools import crew
from accelsim.explore.progress import Progress
from accelsim.explore.runner import Runner
from accelsim.explore.store import Store
from accelsim.explore.totals import totals
from accelsim.explore.worker import TaskOutcome
from accelsim.results.simulate import Engine
from accelsim.workload.problem import Direction

if TYPE_CHECKING:
    import pandas as pd

OnError = Literal["record", "raise"]
Watched = bool | Callable[[int, int], None] | Progress | None


class SweepError(RuntimeError):
    """A point crashed or failed its check, and ``on_error="raise"`` was asked for."""


def sweep(
    workload: Any,
    arch: Any,
    grid: Mapping[str, Any] | None = None,
    *,
    points: Any = None,
    zipped: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    sample: int | None = None,
    constraints: Sequence[str] = (),
    dataflows: Any = None,
    mapping: Any = None,
    mapper: str | bool | None = None,
    objective: str | None = None,
    tiles: str = "divisors",
    limit: float | None = None,
    engine: Engine = "analytic",
    direction: Direction = "forward",
    batch: int | None = None,
    total: bool = False,
    store: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    pool: Executor | Any = None,
    on_error: OnError = "record",
    seed: int = 0,
    name: str = "sweep",
    progress: bool | Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Every layer of ``workload`` under every dataflow on every architecture of a space; a row for
    each, in that order.

    ``workload`` is what ``simulate`` takes, or a list of names, files and workloads.  Keys of
    ``grid`` are dotted keys of the architecture, crossed with each other and with those of
    ``zipped``, which move together; ``points`` lists overrides instead (a list of mappings or a
    DataFrame).  ``constraints`` are expressions over keys (``explore/expression.py``):
    ``"array.rows * array.cols <= 1024"``, ``"area_um2 < 2e6"``.  ``sample`` draws so many points by
    ``seed``.

    Tiles are those of the fixed rule, or with ``mapper`` those ``map_layer`` chooses: ``mapper`` is
    its objective, or True with ``objective`` (edp if not given); ``tiles`` and ``limit`` (seconds a
    layer) are its own, a dataflow may be ``any``. Its rows have a column ``gap``.

    ``store`` is an SQLite file: points in it are not evaluated again, finished ones are added about
    every half second. ``jobs`` processes work (1: this one alone; by default as many as there are
    cores, if there is enough to do); or ``pool``, any ``concurrent.futures`` executor or a Dask
    client.

    Columns: workload, layer, arch, the axes, set, dataflow, engine, direction, mapping, batch,
    seed, then ``status`` (ok, unmappable, failed check, error) and ``error``, then those of
    ``simulate``.  With ``total`` a row is a whole network. ``on_error="raise"`` raises SweepError
    at the first point that crashed or failed its check.  ``progress``: True shows it, a callable
    gets (points done, points), None shows it on a terminal.

    Raises InputError for names, files, keys and expressions that are wrong and for more than ten
    million points, StoreError where the store cannot be used; what was finished before stays in it.
    """
    planned = prepare(
        workload, arch, grid, points=points, zipped=zipped, sample=sample, constraints=constraints, dataflows=dataflows,
        mapping=mapping, mapper=mapper, objective=objective, tiles=tiles, limit=limit, engine=engine, direction=direction, batch=batch,
        seed=seed,
    )  # fmt: skip
    found = carry_out(
        planned, store=store, jobs=jobs, pool=pool, on_error=on_error, name=name, progress=progress
    )
    return (found.totals() if total else found.table()).to_frame()


def prepare(
    workload: Any,
    arch: Any,
    grid: Mapping[str, Any] | None = None,
    *,
    points: Any = None,
    zipped: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    sample: int | None = None,
    constraints: Sequence[str] = (),
    dataflows: Any = None,
    mapping: Any = None,
    mapper: str | bool | None = None,
    objective: str | None = None,
    tiles: str = "divisors",
    limit: float | None = None,
    layers: Sequence[str] = (),
    engine: Engine = "analytic",
    direction: Direction = "forward",
    batch: int | None = None,
    seed: int = 0,
) -> SweepPlan:
    """The plan of a sweep; arguments as for ``sweep``, ``layers`` chooses some by name.  Raises
    InputError.
    """
    settings = PlanSettings(engine, direction, batch, seed)
    networks = workloads(workload)
    if layers:
        networks = [network.select(layers) for network in networks]
    parts = items(
        networks, recipes(dataflows, mapping, Request.of(mapper, objective, tiles, limit)), settings
    )
    return plan(
        arch, space(grid, zipped, points), parts, settings, draw=sample, constraints=constraints
    )


@dataclass
class Swept:
    """What a sweep found: a row per architecture, workload, recipe and layer.  ``seconds`` is what
    evaluating took.
    """

    plan: SweepPlan
    gathered: Gathered
    stored: int  # points that were in the store already
    seconds: float

    def table(self) -> Table:
        """The rows."""
        values = self.gathered.table(self.plan.row_points)
        return values.with_columns(self.plan.identity(), first=True)

    def totals(self) -> Table:
        """A row per network."""
        return totals(self.table(), self.plan.space.keys)


def carry_out(
    planned: SweepPlan,
    *,
    store: str | os.PathLike[str] | Store | None = None,
    jobs: int | None = None,
    pool: Any = None,
    runner: Runner | None = None,
    on_error: OnError = "record",
    name: str = "sweep",
    progress: Watched = None,
) -> Swept:
    """Evaluate the points of a plan that the store does not have.  Arguments and errors as for
    ``sweep``.
    """
    if on_error not in ("record", "raise"):
        raise InputError("must be record or raise", key="on_error", got=str(on_error))
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise InputError("must be a whole number of at least 1", key="jobs", got=str(jobs))
    if store is not None and not isinstance(store, Store):
        with Store(store) as opened:
            opened.begin(planned, name, definition=definition(planned))
            return carry_out(
                planned,
                store=opened,
                jobs=jobs,
                pool=pool,
                runner=runner,
                on_error=on_error,
                name=name,
                progress=progress,
            )
    with runner or Runner(crew(pool) if pool is not None else None, jobs) as working:
        return work(planned, store, working, on_error, progress)


def definition(planned: SweepPlan) -> dict[str, Any]:
    """What it takes to ask for the same again, for whoever reads the store."""
    return {
        "base": dict(planned.machines.data),
        "keys": list(planned.space.keys),
        "architectures": len(planned.numbers),
    }


def work(
    planned: SweepPlan,
    store: Store | None,
    runner: Runner,
    on_error: OnError = "record",
    progress: Watched = False,
) -> Swept:
    """The same with a store that is open and knows of the plan, and with a runner that stays
    open.
    """
    gathered = Gathered(planned.points)
    done = np.zeros(planned.points, dtype=np.bool_)
    keys = planned.keys() if store is not None else []

    def recall(ids: Ids) -> Ids:
        """The points that are still to do; those that have been stored meanwhile are taken from
        there.
        """
        if store is None:
            return ids
        found = store.stored([keys[i] for i in ids.tolist()])
        for block in (
            store.fetch({int(ids[place]): number for place, number in found.items()})
            if found
            else []
        ):
            gathered.add(block)
            done[block.ids] = True
            if begun:
                shown.add(len(block))
        return ids[~done[ids]]

    def keep(blocks: list[ColumnBlock]) -> None:
        for block in blocks:
            gathered.add(block)
            done[block.ids] = True
        if store is not None:
            store.add(blocks, keys.__getitem__)

    shown, begun = Progress.of(progress), False
    given: TaskOutcome | None = None
    start = time.perf_counter()
    try:
        recall(np.arange(planned.points, dtype=np.int64))
        stored = int(done.sum())
        keep(_impossible(planned, done))
        shown.begin(planned.points, int(done.sum()))
        begun = True
        if on_error == "raise":
            _raise(planned, gathered.blocks)
        for outcome in runner.outcomes(planned, np.flatnonzero(~done).astype(np.int64), recall):
            given = outcome
            keep(outcome.blocks)
            given = None
            shown.add(len(outcome))
            if on_error == "raise":
                _raise(planned, outcome.blocks)
    except KeyboardInterrupt:
        for outcome in [*([given] if given else []), *runner.finished()]:
            keep(outcome.blocks)
            shown.done += len(outcome)
        raise
    finally:
        shown.close()
    return Swept(planned, gathered, stored, time.perf_counter() - start)


def _impossible(planned: SweepPlan, done: Any) -> list[ColumnBlock]:
    """Points on architectures that cannot be built: their records say why."""
    width = len(planned.first_items)
    wrong = {planned.machine_point[m]: error for m, error in planned.errors.items()}
    ids = [
        int(m) * width + i
        for m in sorted(wrong)
        for i in range(width)
        if not done[int(m) * width + i]
    ]
    return pack(ids, [failure(wrong[i // width]) for i in ids]) if ids else []


def _raise(planned: SweepPlan, blocks: list[ColumnBlock]) -> None:
    for block in blocks:
        for point, status, error in zip(block.ids.tolist(), block.status, block.error, strict=True):
            if status in (ERROR, FAILED):
                m, i = divmod(point, len(planned.first_items))
                item = planned.items[planned.first_items[i]]
                where = planned.overrides(planned.first_machines[m])
                raise SweepError(
                    f"{item.layer.name} {item.recipe.short} {where}: {error or status}"
                )
