"""Guided search: Optuna asks for the next architectures, the sweep's machinery evaluates them into
the same store.

``Study.search`` calls ``guided``.  A candidate is an architecture under a recipe; Optuna's TPE
sampler proposes some, those a constraint excludes cost nothing, new ones are planned and carried
out as a small sweep, and the sums over their layers are what Optuna is told.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from accelsim.base.errors import InputError
from accelsim.base.expression import ExpressionError
from accelsim.explore.columns import Table, column
from accelsim.explore.constraints import Constraints
from accelsim.explore.content import canonical, content_hash
from accelsim.explore.execution import work
from accelsim.explore.grid import Axis, Listed, space
from accelsim.explore.machines import Machines
from accelsim.explore.plan import (
    build,
    check_keys,
    items_of,
    networks,
    study_recipes,
)
from accelsim.explore.progress import Progress, Watched
from accelsim.explore.read import expression
from accelsim.explore.runner import Runner
from accelsim.explore.store import Store
from accelsim.results.layer_row import ENERGIES

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from accelsim.explore.pools import DaskClient
    from accelsim.explore.study import Study

# Candidates asked for at a time, whoever works: the search is the same on one core and on many.
TOGETHER = 4
PATIENCE = 20  # times the points wanted that are asked for before a search ends without them

# Names an objective may use besides the columns of a total.
ALIASES = {"energy": ENERGIES, "latency": ("time_s",), "area": ("area_um2",)}


def guided(
    study: Study,
    objective: str,
    trials: int,
    *,
    jobs: int | None = None,
    pool: Executor | DaskClient | None = None,
    runner: Runner | None = None,
    progress: Watched = None,
) -> Table:
    """``trials`` points of a study's space, in the order they were tried; arguments and rows as
    ``search`` has them.
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError("must be a whole number of at least 1", key="trials", got=str(trials))
    candidates = Candidates(study)
    guide = _Guide(candidates, study.seed)
    goal = SearchGoal(objective)
    shown = Progress.of(progress)
    shown.begin(trials)
    try:
        with (
            Store(study.store) if study.store is not None else nullcontext() as store,
            runner or Runner.of(jobs, pool) as working,
        ):
            evaluation = _Evaluation(study, candidates, goal, store, working)
            most = min(trials, candidates.size)
            asked = 0
            while len(evaluation.values) < most and asked < PATIENCE * trials + 100:
                wanted = [guide.ask() for _ in range(TOGETHER)]
                asked += len(wanted)
                allowed = [pair for _, pair in wanted if candidates.allowed(pair)]
                evaluation.run(allowed, most, shown)
                for trial, pair in wanted:
                    guide.tell(trial, evaluation.values.get(pair))
    finally:
        shown.close()
    if not evaluation.values:
        raise InputError("leave no point", key="constraints")
    return evaluation.table()


Candidate = tuple[int, int]  # the number of an architecture in the space, and of a recipe


class Candidates:
    """What a search may try: each architecture of the space under each recipe, a network at a time.

    ``items`` [recipes] are the layers of all networks under a recipe, ``items_of`` [recipes] those
    by the parameters that a point gives the networks.
    """

    def __init__(self, study: Study) -> None:
        self.space = space(study.grid, study.zipped, study.points)
        self.machines = Machines.load(study.arch)
        check_keys(self.machines, self.space)
        self.networks = len(networks(study))
        made = study_recipes(study, self.machines)
        self.items_of = [items_of(study, [recipe]) for recipe in made]
        self.items = [of({}) for of in self.items_of]
        self.accept = (
            Constraints(study.constraints, self.machines, self.space.keys)
            if study.constraints
            else None
        )

    @property
    def size(self) -> int:
        """How many there are, however many."""
        return self.space.size * len(self.items)

    def allowed(self, candidate: Candidate) -> bool:
        """Whether the constraints hold for it."""
        return self.accept is None or self.accept(self.space.point(candidate[0]))

    def digest(self, *rest: Any) -> str:
        """What they and the rest of a search are known by in a store."""
        axes = [_axis_content(axis) for axis in self.space.axes]
        parts = [[item.digest.hex() for item in part] for part in self.items]
        return content_hash(canonical([self.machines.data, axes, parts, rest])).hex()


class _Evaluation:
    """Evaluates candidates as they are asked for, each once, and keeps what came of them.

    ``values`` are of the goal, None where a layer has no result; ``rows`` are the totals.
    """

    def __init__(
        self,
        study: Study,
        candidates: Candidates,
        goal: SearchGoal,
        store: Store | None,
        runner: Runner,
    ) -> None:
        self.candidates, self.goal, self.store, self.runner = candidates, goal, store, runner
        self.name = study.name
        self.digest = candidates.digest(goal.text, study.constraints, study.seed)
        self.position = 0  # in the study's rows in the store
        self.values: dict[Candidate, float | None] = {}
        self.rows: list[dict[str, Any]] = []

    def run(self, wanted: Sequence[Candidate], most: int, shown: Progress) -> None:
        """Evaluate those of ``wanted`` that are new, until there are ``most`` in all.

        Architectures under one recipe go to the workers together.
        """
        new = [pair for pair in dict.fromkeys(wanted) if pair not in self.values]
        new = new[: most - len(self.values)]
        sums: dict[Candidate, Table] = {}
        for recipe in dict.fromkeys(recipe for _, recipe in new):
            numbers = [number for number, r in new if r == recipe]
            totals = self._totals(numbers, recipe)
            width = self.candidates.networks
            for k, number in enumerate(numbers):
                sums[number, recipe] = totals.take(slice(k * width, (k + 1) * width))
        for pair in new:
            value = self.values[pair] = self.goal(sums[pair])
            lead = {"trial": len(self.values) - 1, "objective": value}
            for row in sums[pair].rows():
                self.rows.append(lead | dict(zip(sums[pair].columns, row, strict=True)))
            shown.add(1)

    def _totals(self, numbers: list[int], recipe: int) -> Table:
        """A row per architecture and network."""
        of = self.candidates
        plan = build(of.machines, of.space, of.items_of[recipe], numbers)
        if self.store is not None:
            self.store.begin(
                plan,
                self.name,
                digest=self.digest,
                position=self.position,
                definition={"objective": self.goal.text},
            )
        self.position += plan.rows
        return work(plan, self.store, self.runner).totals()

    def table(self) -> Table:
        """All totals in the order they were tried, the longest rows saying how columns stand."""
        names: dict[str, None] = {}
        for row in sorted(self.rows, key=lambda r: -len(r)):
            names |= dict.fromkeys(row)
        columns = {name: column([row.get(name) for row in self.rows]) for name in names}
        return Table(columns, len(self.rows))


class SearchGoal:
    """What is made small, worked out from the totals of a point.  Raises InputError for what cannot
    be read.
    """

    def __init__(self, text: str) -> None:
        self.text, self.expression = text, expression(text, "objective")

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
    """Optuna's study, which asks for candidates and is told of them in order; the same for the same
    seed.

    Its parameters are positions, one per axis under the axis' number, and ``part``, the recipe.
    """

    def __init__(self, candidates: Candidates, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise InputError("guided search needs Optuna: pip install optuna") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # options of the sampler that Optuna calls experimental
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self.optuna, self.space = optuna, candidates.space
        self.study = optuna.create_study(direction="minimize", sampler=sampler)
        self.choices = {str(i): self._distribution(axis) for i, axis in enumerate(self.space.axes)}
        parts = len(candidates.items)
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

    def ask(self) -> tuple[Any, Candidate]:
        """A trial of Optuna's, and the candidate it stands for."""
        trial = self.study.ask(self.choices)
        number = 0
        for i, axis in enumerate(self.space.axes):
            number = number * len(axis) + int(trial.params[str(i)])
        return trial, (number, int(trial.params.get("part", 0)))

    def tell(self, trial: Any, value: float | None) -> None:
        """What came of it; None: it is worse than any."""
        if value is None:
            self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, value)


def _ascending(values: Sequence[Any]) -> bool:
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return len(numbers) == len(values) and all(a < b for a, b in pairwise(numbers))


def _axis_content(axis: Axis | Listed) -> Any:
    """An axis as plain data, ranges unlisted."""
    if isinstance(axis, Listed):
        return axis.points
    return [
        [key, str(values) if isinstance(values, range) else list(values)]
        for key, values in axis.columns
    ]
