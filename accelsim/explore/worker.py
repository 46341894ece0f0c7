"""What a worker does, in whatever process: builds the points of a task, evaluates them, packs the
records.  ``Runner`` cuts the tasks and has ``run`` called.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from accelsim.explore import evaluate as evaluation
from accelsim.explore.columns import ColumnBlock, Ids, pack
from accelsim.explore.machines import Machines, rebuild
from accelsim.explore.points import Item, SweepPoint
from accelsim.version import MODEL_VERSION

SELDOM = 100_000  # objects made and not let go since garbage was last looked for


@dataclass(frozen=True)
class WorkTask:
    """Points by number.  Architectures travel as overrides of one base and are built where they are
    used.
    """

    ids: Ids  # [points]
    machines: Machines
    base: bytes  # what the base architecture is known by
    overrides: tuple[tuple[bytes, Mapping[str, Any]], ...]  # digest and keys of each one used
    items: tuple[Item, ...]  # used
    pairs: Ids  # [points, 2] the architecture and the item, as places in the two above
    model_version: int  # of the process that asks

    def __len__(self) -> int:
        return len(self.ids)

    def halves(self) -> tuple[WorkTask, WorkTask]:
        """The same in two."""
        middle = len(self) // 2
        return self._part(slice(middle)), self._part(slice(middle, None))

    def _part(self, which: slice) -> WorkTask:
        return replace(self, ids=self.ids[which], pairs=self.pairs[which])

    def points(self) -> list[SweepPoint]:
        """The points, built."""
        archs = {
            int(m): rebuild(self.machines, self.base, *self.overrides[int(m)])
            for m in set(self.pairs[:, 0].tolist())
        }
        return [SweepPoint(archs[m], self.items[i]) for m, i in self.pairs.tolist()]


@dataclass(frozen=True)
class TaskOutcome:
    """The blocks of a task and how long it took, in seconds."""

    blocks: list[ColumnBlock]
    seconds: float

    def __len__(self) -> int:
        return sum(len(b) for b in self.blocks)


class VersionError(RuntimeError):
    """A worker has another model version than the process that asked it."""


def run(task: WorkTask) -> TaskOutcome:
    """Evaluate a task.  A point whose evaluation fails is a record saying so; raises VersionError
    only.
    """
    if task.model_version != MODEL_VERSION:
        both = f"a worker has model version {MODEL_VERSION}, this process {task.model_version}"
        raise VersionError(f"{both}: install the same accelsim on both")
    start = time.perf_counter()
    with _collected_seldom():
        blocks = evaluation.evaluate(task.ids, task.points())
    return TaskOutcome(blocks, time.perf_counter() - start)


@contextmanager
def _collected_seldom() -> Iterator[None]:
    """Hardly look for garbage in cycles: a look goes through all that searches keep for the next
    machine, and finds nothing.
    """
    young, *older = gc.get_threshold()
    if not 0 < young < SELDOM:  # whoever said so may have a reason
        yield
        return
    gc.set_threshold(SELDOM, *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)


def died(task: WorkTask) -> TaskOutcome:
    """The outcome of a task of one point that took its worker with it."""
    reason = "the worker process died (killed, crashed or out of memory)"
    return TaskOutcome(pack(task.ids, [evaluation.failure(reason) for _ in task.ids]), 0.0)


def ping() -> int:
    """Nothing, to see whether workers can be started at all."""
    return MODEL_VERSION
