"""How much is done to find a layer's mapping, counted in candidates: ``quick``, ``thorough`` or
``proved``.

``quick``     ``quick_search``: milliseconds, over divisors and tiles that fill the array
``thorough``  that, and the exact search over divisors until it has looked at THOROUGH candidates
``proved``    that, and the exact search to its end, however long that takes

The same call gives the same mapping on any machine under any load.  Only a limit in seconds, where
one is given, does not; what it ended is told.  ``results.tiles`` and sweeps ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Literal

from accelsim.hardware.architecture import Architecture
from accelsim.mapper.certificate import EQUAL, gap_of
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import full_measures, quick_mapping
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Problem

Effort = Literal["quick", "thorough", "proved"]
EFFORTS: tuple[Effort, ...] = ("quick", "thorough", "proved")
THOROUGH = 1 << 24, 1 << 9  # mappings evaluated, and timed in full


@dataclass(frozen=True)
class BestTiles:
    """A layer's mapping; ``value`` is its objective, no other of the space searched is below
    ``bound``.

    ``source``   quick, thorough, proved: which search it is from; or rule, where the fixed rule's
                 is the best
    ``stopped``  what ended the search before its end: limit, effort
    """

    mapping: Mapping
    value: float
    bound: float
    source: str
    stopped: str | None

    @property
    def gap(self) -> float:
        """(value - bound) / value, 0 where the best is proved."""
        return gap_of(self.value, self.bound)


def best_tiles(
    problem: Problem,
    arch: Architecture,
    flow: Dataflow,
    objective: str,
    effort: Effort,
    limit: float | None = None,
) -> BestTiles:
    """The mapping of a layer under a dataflow with the least objective that this effort finds, in
    at most ``limit`` seconds.

    Raises InputError for an objective that is none, MappingError where no mapping is legal,
    KeyboardInterrupt where the search was interrupted: what asked for it ends, too.
    """
    start, goal = monotonic(), Objective.parse(objective)
    quick = quick_mapping(problem, arch, flow, goal, None if limit is None else start + limit)
    best = BestTiles(
        quick.mapping, quick.value, quick.bound, "rule" if quick.rule else "quick", quick.stopped
    )
    left = None if limit is None else start + limit - monotonic()
    if effort == "quick" or best.gap == 0 or (left is not None and left <= 0):
        return best
    from accelsim.mapper.layer_search import best_mapping  # a shell that asks for less waits less

    try:
        more = best_mapping(
            problem, arch, flow, objective=objective, tiles="divisors", limit=left,
            most=THOROUGH if effort == "thorough" else None, patience=False,
        )  # fmt: skip
    except MappingError:
        return best
    proof = more.certificate
    if proof.stopped == "interrupted":
        raise KeyboardInterrupt
    bound = min(best.value, proof.value, proof.bound)
    if not proof.value < best.value * (1 - EQUAL):
        return BestTiles(best.mapping, best.value, bound, best.source, proof.stopped)
    value = float(goal.of(full_measures(Nest(problem, arch, more.mapping))))
    return BestTiles(more.mapping, value, bound, effort, proof.stopped)


__all__ = ["EFFORTS", "BestTiles", "Effort", "best_tiles"]
