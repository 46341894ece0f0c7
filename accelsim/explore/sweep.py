"""The two calls of a user: ``sweep``, every point of a space, and ``search``, some of them chosen.

Both only build a ``Study`` from their keywords and run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelsim.explore.execution import OnError
from accelsim.explore.study import Study
from accelsim.results.simulate import Engine
from accelsim.workload.problem import Direction

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import pandas as pd

    from accelsim.explore.mapper_request import AnyTiles
    from accelsim.explore.pools import DaskClient
    from accelsim.explore.progress import Report
    from accelsim.explore.study import Axes, Flows, Named, Networks, Points
    from accelsim.hardware.architecture import Architecture
    from accelsim.mapper.effort import Effort
    from accelsim.mapping.files import MappingFile
    from accelsim.mapping.mapping import Mapping as LoopNest


def sweep(
    workload: Networks,
    arch: Named | Architecture,
    grid: Axes | None = None,
    *,
    points: Points | None = None,
    zipped: Axes | Sequence[Axes] | None = None,
    sample: int | None = None,
    constraints: Sequence[str] = (),
    dataflows: Flows | None = None,
    best_of: Flows | None = None,
    mapping: Named | LoopNest | MappingFile | None = None,
    mapper: str | bool | None = None,
    objective: str | None = None,
    tiles: AnyTiles | None = Study.tiles,
    effort: Effort | None = None,
    limit: float | None = None,
    engine: Engine = Study.engine,
    direction: Direction = Study.direction,
    batch: int | None = None,
    total: bool = False,
    store: Named | None = None,
    jobs: int | None = None,
    pool: Executor | DaskClient | None = None,
    on_error: OnError = "record",
    seed: int = Study.seed,
    name: str = Study.name,
    progress: bool | Report | None = None,
) -> pd.DataFrame:
    """Every layer of ``workload`` under every dataflow on every architecture of a space; a row for
    each, in that order.

    ``workload`` is what ``simulate`` takes, or a list of names, files and workloads.  Keys of
    ``grid`` are dotted keys of the architecture, or ``params.NAME`` for a parameter of the
    workload, crossed with each other and with those of ``zipped``, which move together; ``points``
    lists overrides instead (a list of mappings or a DataFrame).  ``constraints`` are expressions
    over keys (``base/expression.py``): ``"array.rows * array.cols <= 1024"``, ``"area_um2 < 2e6"``.
    ``sample`` draws so many points by ``seed``.

    Tiles are the best found for an ``effort``, of least ``objective`` (edp if not given), as in
    ``simulate``; with ``tiles="rule"`` those of the fixed rule, as where the architecture file says
    so; or with ``mapper`` those ``map_layer`` chooses: ``mapper`` is its objective, or True with
    ``objective``; ``tiles`` and ``limit`` (seconds a layer) are then its own, a dataflow may be
    ``any``.  Rows of a search have a column ``gap``.

    With ``best_of`` in place of ``dataflows`` each layer's best of them comes once more under the
    name ``best``, so that totals have it beside one dataflow for all; ``dataflows="best"`` is the
    best of all that are shipped.

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
    study = Study(
        workload, arch, grid, points=points, zipped=zipped, sample=sample,
        constraints=constraints, dataflows=dataflows, best_of=best_of, mapping=mapping,
        mapper=mapper, objective=objective, tiles=tiles, effort=effort, limit=limit, engine=engine,
        direction=direction, batch=batch, total=total, store=store, seed=seed, name=name,
    )  # fmt: skip
    return study.run(jobs=jobs, pool=pool, on_error=on_error, progress=progress)


def search(
    workload: Networks,
    arch: Named | Architecture,
    grid: Axes | None = None,
    *,
    points: Points | None = None,
    zipped: Axes | Sequence[Axes] | None = None,
    constraints: Sequence[str] = (),
    dataflows: Flows | None = None,
    mapping: Named | LoopNest | MappingFile | None = None,
    mapper: str | bool | None = None,
    tiles: AnyTiles | None = Study.tiles,
    effort: Effort | None = None,
    limit: float | None = None,
    layers: Sequence[str] = (),
    objective: str = "edp",
    trials: int = 100,
    engine: Engine = Study.engine,
    direction: Direction = Study.direction,
    batch: int | None = None,
    store: Named | None = None,
    jobs: int | None = None,
    pool: Executor | DaskClient | None = None,
    seed: int = Study.seed,
    name: str = "search",
    progress: bool | Report | None = None,
) -> pd.DataFrame:
    """``trials`` points of a space (an architecture and a dataflow each), chosen to make
    ``objective`` small.

    The space is given as for ``sweep`` and may be of any size.  ``objective`` is an expression over
    the columns of a network's total, ``edp`` (energy x time), ``energy``, ``latency``, ``area``;
    with several workloads the sum over them. Optuna's TPE sampler, seeded by ``seed``, asks for
    points; those a constraint excludes cost nothing.  With ``store`` the same call goes on where it
    was interrupted.  ``mapper`` (what each layer's mapping makes small; True: edp) and other
    arguments are those of ``sweep``.

    One row per point and workload in the order they were tried, as ``sweep(total=True)`` gives
    them, with ``trial`` and ``objective`` (NaN where a layer has no result) in front.  Raises
    InputError, also where Optuna is missing.
    """
    study = Study(
        workload, arch, grid, points=points, zipped=zipped, constraints=constraints,
        dataflows=dataflows, mapping=mapping, mapper=mapper, tiles=tiles, effort=effort,
        limit=limit, layers=layers, engine=engine, direction=direction, batch=batch, store=store,
        seed=seed, name=name,
    )  # fmt: skip
    return study.search(objective, trials, jobs=jobs, pool=pool, progress=progress).to_frame()
