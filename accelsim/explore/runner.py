"""Runs the points of a plan that are still to do: batches of a size that fits, whoever works,
results as they come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from typing import Any

import numpy as np

from accelsim.explore.columns import Ids
from accelsim.explore.mapper_request import Request
from accelsim.explore.plan import SweepPlan
from accelsim.explore.pools import (
    AHEAD,
    Crew,
    DaskClient,
    Processes,
    WorkerError,
    cores,
    crew,
)
from accelsim.explore.worker import TaskOutcome, VersionError, WorkTask, died, ping, run
from accelsim.results.tiles import TilesRequest
from accelsim.version import MODEL_VERSION

BATCH_S = 0.5  # aimed at; no finished point is older than about this before it is given on
MOST = 8192  # points of a batch
TOGETHER = 1024  # architectures that are gone through layer by layer
ALONE_S = 1.0  # work done in this process before processes are thought of
WORTH_S = 3.0  # what must be left to do for them to be started


Recall = Callable[[Ids], Ids]  # which of some points are still to do


def _long(mapper: Request | TilesRequest | None) -> bool:
    """Whether a search may take seconds."""
    return mapper is not None and not (
        isinstance(mapper, TilesRequest) and mapper.effort == "quick"
    )


class Feeder:
    """Cuts the points to do into tasks of a size that takes about ``BATCH_S``.

    ``order`` [points] has those of one item and many architectures together, since they are
    evaluated together; ``seams`` are the places in it where another item begins, ``at`` is the
    place of the next task.
    """

    def __init__(self, plan: SweepPlan, todo: Ids, recall: Recall) -> None:
        width = len(plan.first_items)
        machine, item = np.divmod(plan.codes[todo], width)
        by = np.lexsort((machine, item, machine // TOGETHER))
        self.order = todo[by]
        self.seams = np.flatnonzero(np.diff(item[by])) + 1
        self.plan, self.recall, self.workers = plan, recall, 1
        # Searches of the mapper take long, and unequally so: one at a time.
        searched = any(_long(item.recipe.mapper) for item in plan.items)
        self.most = 1 if searched else MOST
        self.base = plan.machines.digest
        self.at, self.size, self.per_point = 0, 1, 0.0

    @property
    def left(self) -> int:
        """How many points have not been handed out."""
        return len(self.order) - self.at

    def next(self) -> WorkTask | None:
        """The next task; None if nothing is left to do."""
        while self.left:
            ids = self.order[self.at : self._end()]
            self.at += len(ids)
            if len(ids := self.recall(ids)):
                return self.task(ids)
        return None

    def _end(self) -> int:
        """Where the next task ends: with an item, if one ends in its second half."""
        size = max(1, min(self.size, self.most, -(-self.left // (2 * self.workers))))
        end = self.at + size
        before = int(np.searchsorted(self.seams, end, side="right")) - 1
        seam = int(self.seams[before]) if before >= 0 else 0
        return seam if seam > self.at + size // 2 else end

    def task(self, ids: Ids) -> WorkTask:
        """The task of these points."""
        plan, width = self.plan, len(self.plan.first_items)
        machine, item = np.divmod(plan.codes[ids], width)
        machines, at_machine = np.unique(machine, return_inverse=True)
        parts, at_item = np.unique(item, return_inverse=True)
        firsts = [plan.first_machines[m] for m in machines.tolist()]
        return WorkTask(
            ids=ids,
            machines=plan.machines,
            base=self.base,
            overrides=tuple((plan.digests[m], plan.overrides(m)) for m in firsts),
            items=tuple(plan.items[plan.first_items[i]] for i in parts.tolist()),
            pairs=np.column_stack([at_machine.reshape(-1), at_item.reshape(-1)]).astype(np.int64),
            model_version=MODEL_VERSION,
        )

    def learn(self, points: int, seconds: float) -> None:
        """How long a task took: the next ones take about ``BATCH_S``, at most four times as many
        points as this one had.
        """
        if points:
            per = seconds / points
            self.per_point = per if not self.per_point else 0.5 * self.per_point + 0.5 * per
            fitting = int(BATCH_S / max(self.per_point, 1e-9))
            self.size = max(1, min(fitting, 4 * max(points, self.size if seconds < BATCH_S else 1)))

    @property
    def seconds_left(self) -> float:
        """How long one worker would take for them."""
        return self.left * self.per_point


class Runner:
    """``outcomes(plan, todo)`` gives the points' records, batch by batch, in whatever order they
    finish.

    With ``jobs=1`` this process works; with more, that many processes; with neither ``jobs`` nor a
    crew this process begins, and processes join if much is left to do.  A context manager: leaving
    it by an exception ends all work at once.
    """

    def __init__(self, crew: Crew | None = None, jobs: int | None = None) -> None:
        self.crew, self.jobs = crew, jobs
        self._flying: dict[Future[TaskOutcome], WorkTask] = {}
        self._alone: Crew | None = None
        self._able = False
        if crew is None and jobs is not None and jobs > 1:
            self.crew = Processes(jobs)

    @classmethod
    def of(cls, jobs: int | None, pool: Executor | DaskClient | None) -> Runner:
        """One for the arguments of ``sweep``.  Raises InputError for a pool that is none."""
        return cls(crew(pool) if pool is not None else None, jobs)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        for workers in (self.crew, self._alone):
            if workers is not None:
                workers.close(now=kind is not None)

    def outcomes(
        self, plan: SweepPlan, todo: Ids, recall: Recall = lambda ids: ids
    ) -> Iterator[TaskOutcome]:
        """``recall`` is asked, just before points are handed out, which of them are still to do.

        Raises WorkerError where workers cannot be started or reached, or have another model
        version.
        """
        feeder = Feeder(plan, todo, recall)
        if self.crew is None:
            yield from self._here(feeder)
        if feeder.left:
            assert self.crew is not None
            feeder.workers = self.crew.size
            yield from self._there(feeder)

    def _here(self, feeder: Feeder) -> Iterator[TaskOutcome]:
        """This process works, until processes are worth their start."""
        start, able = time.perf_counter(), cores()
        while feeder.left:
            task = feeder.next()
            if task is None:
                return
            outcome = run(task)
            feeder.learn(len(task), outcome.seconds)
            yield outcome
            enough = time.perf_counter() - start > ALONE_S and feeder.seconds_left > WORTH_S
            if self.jobs is None and able > 1 and enough:
                self.crew = Processes(able)
                return

    def _there(self, feeder: Feeder) -> Iterator[TaskOutcome]:
        """The crew works.  A task whose worker is lost is a suspect; once all others are back a new
        crew is found, and suspects go to a crew of one, which they can only harm alone.
        """
        flying = self._flying = {}
        suspects: list[WorkTask] = []
        try:
            while feeder.left or flying or suspects:
                self._hand_out(feeder, suspects)
                done = wait(flying, return_when=FIRST_COMPLETED).done if flying else set()
                for future in done:
                    task = flying.pop(future)
                    outcome = self._result(future)
                    if outcome is None:
                        suspects.append(task)
                    else:
                        feeder.learn(len(task), outcome.seconds)
                        yield outcome
                if suspects and not flying:
                    self.crew = self._crew.replaced()
                    while suspects:
                        yield from self._one_by_one(suspects.pop())
                    if self._alone is not None:
                        self._alone.close()
                        self._alone = None
        finally:
            for future in flying:
                future.cancel()

    def _hand_out(self, feeder: Feeder, suspects: list[WorkTask]) -> None:
        """Give the crew as many tasks as it may have, unless some are suspect."""
        workers = self._crew
        while not suspects and len(self._flying) < AHEAD * workers.size:
            task = feeder.next()
            if task is None:
                return
            try:
                self._flying[workers.submit(run, task)] = task
            except BrokenExecutor:
                suspects.append(task)

    def finished(self) -> list[TaskOutcome]:
        """Of work that was interrupted, what was done but not yet given."""
        done = [f for f in self._flying if f.done() and not f.cancelled() and f.exception() is None]
        return [f.result() for f in done]

    @property
    def _crew(self) -> Crew:
        assert self.crew is not None
        return self.crew

    def _result(self, future: Future[TaskOutcome]) -> TaskOutcome | None:
        """The outcome, or None if its worker was lost."""
        try:
            return future.result()
        except VersionError as error:
            raise WorkerError(str(error)) from None
        except CancelledError:
            lost = "the connection to the workers was lost"
            kept = "what was finished before is in the store, if there is one"
            raise WorkerError(f"{lost}; {kept}") from None
        except Exception as error:
            if self._crew.crashed(error):
                return None
            raise WorkerError(f"a worker failed: {type(error).__name__}: {error}") from None

    def _one_by_one(self, task: WorkTask) -> Iterator[TaskOutcome]:
        """A task whose worker was lost: again on a crew of one, in halves, down to the point that
        kills its worker.
        """
        outcome = self._try(task)
        if outcome is not None:
            yield outcome
        elif len(task) == 1:
            yield died(task)
        else:
            for half in task.halves():
                yield from self._one_by_one(half)

    def _try(self, task: WorkTask) -> TaskOutcome | None:
        """The outcome of a task on the crew of one, or None if that was lost."""
        self._alone = self._alone or self._crew.alone()
        try:
            if not self._able:  # the first time: workers can be started at all
                self._able = self._alone.submit(ping).result() is not None
            outcome = self._result(self._alone.submit(run, task))
        except BrokenExecutor:
            outcome = None
        if not self._able:
            raise WorkerError("worker processes cannot be started here; jobs=1 works without")
        if outcome is None:
            self._alone.close(now=True)
            self._alone = None
        return outcome
