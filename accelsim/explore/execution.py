"""Carries out the plan of a sweep: what the store has is taken from there, the rest is evaluated.

``Study.run`` and ``accelsim sweep`` call ``carry_out``, once for a whole plan; the guided search
calls ``work``, plan after plan on one store and one runner.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.explore.best_rows import with_best
from accelsim.explore.columns import ColumnBlock, Gathered, Ids, Table, pack
from accelsim.explore.evaluate import failure
from accelsim.explore.plan import SweepPlan
from accelsim.explore.points import ERROR, FAILED
from accelsim.explore.progress import Progress, Watched
from accelsim.explore.runner import Runner
from accelsim.explore.store import Store
from accelsim.explore.totals import totals
from accelsim.explore.worker import TaskOutcome

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from accelsim.explore.pools import DaskClient

OnError = Literal["record", "raise"]


class SweepError(RuntimeError):
    """A point crashed or failed its check, and ``on_error="raise"`` was asked for."""


@dataclass
class Swept:
    """What a plan gave: a row per architecture, workload, recipe and layer."""

    plan: SweepPlan
    gathered: Gathered
    stored: int  # points that were in the store already
    seconds: float  # that evaluating the others took

    def table(self) -> Table:
        """The rows."""
        values = self.gathered.table(self.plan.row_points)
        table = values.with_columns(self.plan.identity(), first=True)
        return table if self.plan.goal is None else with_best(table, self.plan, self.plan.goal)

    def totals(self) -> Table:
        """A row per network."""
        return totals(self.table(), self.plan.space.keys)


def carry_out(
    planned: SweepPlan,
    *,
    store: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    pool: Executor | DaskClient | None = None,
    runner: Runner | None = None,
    on_error: OnError = "record",
    name: str = "sweep",
    progress: Watched = None,
) -> Swept:
    """Evaluate the points of a plan that the store does not have; ``name`` is the study's there.

    ``runner`` works instead of ``jobs`` and ``pool``.  Arguments and errors as for ``sweep``.
    """
    if on_error not in ("record", "raise"):
        raise InputError("must be record or raise", key="on_error", got=str(on_error))
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise InputError("must be a whole number of at least 1", key="jobs", got=str(jobs))
    with Store(store) if store is not None else nullcontext() as opened:
        if opened is not None:
            opened.begin(planned, name, definition=definition(planned))
        with runner or Runner.of(jobs, pool) as working:
            return work(planned, opened, working, on_error, progress)


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
    """The same with a store that is open and knows of the plan, and a runner that stays open.

    Interrupted by Ctrl-C it keeps what was finished, and passes the interruption on.
    """
    shown = Progress.of(progress)
    points = _Points(planned, store, shown)
    given: TaskOutcome | None = None  # by the runner, not yet kept
    start = time.perf_counter()
    try:
        points.recall(np.arange(planned.points, dtype=np.int64))
        stored = points.count
        points.keep(_impossible(planned, points.done))
        points.begin()
        if on_error == "raise":
            _raise(planned, points.gathered.blocks)
        for outcome in runner.outcomes(planned, points.left, points.recall):
            given = outcome
            points.keep(outcome.blocks)
            given = None
            shown.add(len(outcome))
            if on_error == "raise":
                _raise(planned, outcome.blocks)
    except KeyboardInterrupt:
        for outcome in [*([given] if given else []), *runner.finished()]:
            points.keep(outcome.blocks)
            shown.done += len(outcome)
        raise
    finally:
        shown.close()
    return Swept(planned, points.gathered, stored, time.perf_counter() - start)


class _Points:
    """The points of a plan, and which of them are done.

    ``done`` [points] is true where there is a record, in ``gathered`` and, if there is a store,
    in it.
    """

    def __init__(self, planned: SweepPlan, store: Store | None, shown: Progress) -> None:
        self.store, self.shown, self.begun = store, shown, False
        self.gathered = Gathered(planned.points)
        self.done = np.zeros(planned.points, dtype=np.bool_)
        self.keys = planned.keys() if store is not None else []

    @property
    def count(self) -> int:
        """How many are done."""
        return int(self.done.sum())

    @property
    def left(self) -> Ids:
        """Those still to do."""
        return np.flatnonzero(~self.done).astype(np.int64)

    def begin(self) -> None:
        """From here on what is done is shown; what was done before does not count as progress."""
        self.shown.begin(len(self.done), self.count)
        self.begun = True

    def recall(self, ids: Ids) -> Ids:
        """Those of ``ids`` that are still to do; what others have stored meanwhile is taken from
        the store.
        """
        if self.store is None:
            return ids
        numbers = self.store.stored([self.keys[i] for i in ids.tolist()])
        here = {int(ids[place]): number for place, number in numbers.items()}
        for block in self.store.fetch(here) if here else []:
            self._take(block)
            if self.begun:
                self.shown.add(len(block))
        return ids[~self.done[ids]]

    def keep(self, blocks: list[ColumnBlock]) -> None:
        """Records that are new, for the table and for the store."""
        for block in blocks:
            self._take(block)
        if self.store is not None:
            self.store.add(blocks, self.keys.__getitem__)

    def _take(self, block: ColumnBlock) -> None:
        self.gathered.add(block)
        self.done[block.ids] = True


def _impossible(planned: SweepPlan, done: npt.NDArray[np.bool_]) -> list[ColumnBlock]:
    """The records of points not yet done on architectures that cannot be built; they say why."""
    if not planned.errors:
        return []
    width = len(planned.first_items)
    reasons = {int(planned.machine_point[m]): error for m, error in planned.errors.items()}
    machines = planned.codes // width
    ids = np.flatnonzero(np.isin(machines, list(reasons)) & ~done).astype(np.int64)
    return pack(ids, [failure(reasons[m]) for m in machines[ids].tolist()])


def _raise(planned: SweepPlan, blocks: list[ColumnBlock]) -> None:
    """Raises SweepError for the first point that crashed or failed its check."""
    for block in blocks:
        for point, status, error in zip(block.ids.tolist(), block.status, block.error, strict=True):
            if status in (ERROR, FAILED):
                machine, item = planned.parts(point)
                where = planned.overrides(machine)
                raise SweepError(
                    f"{item.layer.name} {item.recipe.short} {where}: {error or status}"
                )
