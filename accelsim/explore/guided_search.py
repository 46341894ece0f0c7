"""Guided search: Optuna asks for the next architectures, the sweep's machinery evaluates them into
the same store.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from accelsim.base.errors import InputError
from accelsim.base.expression import ExpressionError
from accelsim.explore.columns import Column, Table, column
from accelsim.explore.constraints import Constraints
from accelsim.explore.grid import Axis, Listed, Space, canonical, space
from accelsim.explore.machines import Machines
from accelsim.explore.mapper_request import Request
from accelsim.explore.plan import Item, PlanSettings, build, check_keys, items, workloads
from accelsim.explore.points import recipes
from accelsim.explore.pools import crew
from accelsim.explore.progress import Progress
from accelsim.explore.read import expression
from accelsim.explore.runner import Runner
from accelsim.explore.store import Store
from accelsim.explore.sweep import work
from accelsim.results.simulate import Engine
from accelsim.workload.problem import Direction

if TYPE_CHECKING:
    import pandas as pd

TOGETHER = (
    4  # points asked for at a time, whoever works: the search is the same on one core and on many
)
PATIENCE = 20  # times the points wanted that are asked for before a search ends without them

# Names an objective may use besides the columns of a total.
ALIASES = {"energy": ("energy_pj", "energy_mac"), "latency": ("time_s",), "area": ("area_um2",)}


def search(
    workload: Any,
    arch: Any,
    grid: Mapping[str, Any] | None = None,
    *,
    points: Any = None,
    zipped: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    constraints: Sequence[str] = (),
    dataflows: Any = None,
    mapping: Any = None,
    mapper: str | bool | None = None,
    tiles: str = "divisors",
    limit: float | None = None,
    layers: Sequence[str] = (),
    objective: str = "edp",
    trials: int = 100,
    engine: Engine = "analytic",
    direction: Direction = "forward",
    batch: int | None = None,
    store: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    pool: Any = None,
    seed: int = 0,
    name: str = "search",
    progress: bool | Callable[[int, int], None] | None = None,
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
    return search_table(
        workload, arch, grid, points=points, zipped=zipped, constraints=constraints, dataflows=dataflows, mapping=mapping,
        mapper=mapper, tiles=tiles, limit=limit, layers=layers, objective=objective, trials=trials, engine=engine, direction=direction,
        batch=batch, store=store, jobs=jobs, pool=pool, seed=seed, name=name, progress=progress,
    ).to_frame()  # fmt: skip


def search_table(
    workload: Any,
    arch: Any,
    grid: Mapping[str, Any] | None = None,
    *,
    points: Any = None,
    zipped: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    constraints: Sequence[str] = (),
    dataflows: Any = None,
    mapping: Any = None,
    mapper: str | bool | None = None,
    tiles: str = "divisors",
    limit: float | None = None,
    layers: Sequence[str] = (),
    objective: str = "edp",
    trials: int = 100,
    engine: Engine = "analytic",
    direction: Direction = "forward",
    batch: int | None = None,
    store: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    pool: Any = None,
    runner: Runner | None = None,
    seed: int = 0,
    name: str = "search",
    progress: bool | Callable[[int, int], None] | None = None,
) -> Table:
    """``search``, as a table."""
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError("must be a whole number of at least 1", key="trials", got=str(trials))
    settings = PlanSettings(engine, direction, batch, seed)
    networks = workloads(workload)
    if layers:
        networks = [network.select(layers) for network in networks]
    found = space(grid, zipped, points)
    machines = Machines.load(arch)
    check_keys(machines, found)
    parts = [
        items(networks, [recipe], settings)
        for recipe in recipes(dataflows, mapping, Request.of(mapper, None, tiles, limit))
    ]
    accept = Constraints(constraints, machines, found.keys) if constraints else None
    guide = _Guide(found, len(parts), seed)
    aim = SearchGoal(objective)
    whole = _digest(machines, found, parts, objective, constraints, seed)
    result = _Trials(found.keys)
    shown = Progress.of(progress)
    shown.begin(trials)
    opened = Store(store) if store is not None else nullcontext(None)
    working = runner or Runner(crew(pool) if pool is not None else None, jobs)
    try:
        with opened as file, working:
            seen: dict[tuple[int, int], float | None] = {}
            asked = position = 0
            most = min(trials, found.size * len(parts))
            while len(seen) < most and asked < PATIENCE * trials + 100:
                wanted = [guide.ask() for _ in range(TOGETHER)]
                asked += len(wanted)
                kept = [
                    (n, part) for _, n, part in wanted if accept is None or accept(found.point(n))
                ]
                new = [pair for pair in dict.fromkeys(kept) if pair not in seen][: most - len(seen)]
                sums: dict[tuple[int, int], Table] = {}
                for part in dict.fromkeys(part for _, part in new):
                    numbers = [n for n, p in new if p == part]
                    plan = build(machines, found, parts[part], settings, numbers)
                    if file is not None:
                        file.begin(
                            plan,
                            name,
                            digest=whole,
                            position=position,
                            definition={"objective": objective},
                        )
                    position += plan.rows
                    totals = work(plan, file, working).totals()
                    for k, number in enumerate(numbers):
                        sums[number, part] = totals.take(
                            slice(k * len(networks), (k + 1) * len(networks))
                        )
                for pair in new:
                    seen[pair] = aim(sums[pair])
                    result.add(sums[pair], len(seen) - 1, seen[pair])
                    shown.add(1)
                for trial, number, part in wanted:
                    guide.tell(trial, seen.get((number, part)))
    finally:
        shown.close()
    if not seen:
        raise InputError("leave no point", key="constraints")
    return result.table()


class SearchGoal:
    """What is made small, worked out from the totals of a point.  Raises InputError for what cannot
    be read.
    """

    def __init__(self, text: str) -> None:
        self.expression = expression(text, "objective")

    def __call__(self, totals: Table) -> float | None:
        """The sum over the rows, None where a row has no value."""
        sums = 0.0
        for row in totals.rows():
            try:
                value = self.expression.value(
                    self._values(dict(zip(totals.columns, row, strict=True)))
                )
            except ExpressionError as error:
                raise InputError(str(error), key="objective", got=self.expression.text) from None
            if value is None or isinstance(value, str):
                return None
            sums += float(value)
        return sums

    def _values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(row)
        for alias, names in ALIASES.items():
            values[alias] = next((row[n] for n in names if row.get(n) is not None), None)
        values["edp"] = (
            None
            if values["energy"] is None or values["latency"] is None
            else values["energy"] * values["latency"]
        )
        failed = row.get("cycles") is None
        for name in self.expression.names:
            if name not in values:
                if not failed:
                    raise InputError(
                        "a total has no such column", key="objective", got=name, choices=values
                    )
                values[name] = None
        return values


class _Guide:
    """Optuna's study: numbers of points and of parts, asked for and told about in order, the same
    for the same seed.
    """

    def __init__(self, found: Space, parts: int, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise InputError("guided search needs Optuna: pip install 'accelsim[optuna]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # options of the sampler that Optuna calls experimental
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self.optuna, self.space, self.parts = optuna, found, parts
        self.study = optuna.create_study(direction="minimize", sampler=sampler)
        self.choices = {str(i): self._distribution(axis) for i, axis in enumerate(found.axes)}
        if parts > 1:
            self.choices["part"] = optuna.distributions.CategoricalDistribution(list(range(parts)))

    def _distribution(self, axis: Axis | Listed) -> Any:
        """Positions on an axis: in order if its values are numbers in order, else each for
        itself.
        """
        ordered = isinstance(axis, Axis) and (
            isinstance(axis.columns[0][1], range) or _ascending(axis.columns[0][1])
        )
        if ordered or len(axis) > 1000:
            return self.optuna.distributions.IntDistribution(0, len(axis) - 1)
        return self.optuna.distributions.CategoricalDistribution(list(range(len(axis))))

    def ask(self) -> tuple[Any, int, int]:
        """A trial, the number of its point, and its part."""
        trial = self.study.ask(self.choices)
        number = 0
        for i, axis in enumerate(self.space.axes):
            number = number * len(axis) + int(trial.params[str(i)])
        return trial, number, int(trial.params.get("part", 0))

    def tell(self, trial: Any, value: float | None) -> None:
        """What came of it; None: it is worse than any."""
        if value is None:
            self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, value)


@dataclass
class _Trials:
    """The totals of all trials, row by row."""

    axes: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, totals: Table, trial: int, value: float | None) -> None:
        for row in totals.rows():
            self.rows.append(
                {"trial": trial, "objective": value, **dict(zip(totals.columns, row, strict=True))}
            )

    def table(self) -> Table:
        names: dict[str, None] = {}
        for row in sorted(self.rows, key=lambda r: -len(r)):
            names |= dict.fromkeys(row)
        columns: dict[str, Column] = {
            name: column([row.get(name) for row in self.rows]) for name in names
        }
        return Table(columns, len(self.rows))


def _ascending(values: Sequence[Any]) -> bool:
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return len(numbers) == len(values) and all(a < b for a, b in pairwise(numbers))


def _digest(machines: Machines, found: Space, parts: Sequence[Sequence[Item]], *rest: Any) -> str:
    def told(axis: Axis | Listed) -> Any:
        return (
            axis.points
            if isinstance(axis, Listed)
            else [[k, str(v) if isinstance(v, range) else list(v)] for k, v in axis.columns]
        )

    axes = [told(axis) for axis in found.axes]
    text = canonical(
        [machines.data, axes, [[i.digest.hex() for i in part] for part in parts], rest]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]
