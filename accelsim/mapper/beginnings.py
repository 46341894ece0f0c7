"""Good mappings to begin a search of everything with: the best under each shipped dataflow that has
no fused dimensions.

A good mapping known early lets the search over all orders leave out most choices by their bounds
alone.  How many loops go round how often is all that is taken from a dataflow's best; the tiles of
the same trips in the open space's skeleton follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from time import monotonic

from accelsim.base.shipped import shipped_names
from accelsim.hardware.architecture import Architecture
from accelsim.mapper.bound_table import Candidate, SearchTally
from accelsim.mapper.objective import Objective
from accelsim.mapper.preparing import prepare
from accelsim.mapper.search import Search
from accelsim.mapper.space import rows, under
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import Axis, MappingError
from accelsim.workload.problem import DIMS, Problem

Place = tuple[str, int, Axis]  # a dimension, its level, its axis


@dataclass(frozen=True)
class Beginning:
    """What each level keeps, the order of its loops, outermost first, and how often each loop goes
    round.
    """

    keep: tuple[frozenset[str], ...]
    orders: tuple[tuple[str, ...], ...]
    trips: dict[Place, int]

    def tiles(self, size: dict[str, int], places: Sequence[Place]) -> list[int] | None:
        """The tile of every place, in nest order; None if some loop of the mapping has none."""
        if not {place for place, n in self.trips.items() if n > 1} <= set(places):
            return None
        left, tiles = dict(size), []
        for place in places:
            left[place[0]] //= self.trips.get(place, 1)
            tiles.append(left[place[0]])
        return tiles


def beginnings(
    problem: Problem, arch: Architecture, goal: Objective, seconds: float
) -> Iterator[Beginning]:
    """The best mapping of divisors under each dataflow, each searched for at most so long."""
    for name in shipped_names("dataflows"):
        try:
            skeleton = under(problem, arch, load_dataflow(name))
        except MappingError:
            continue
        if any(s.dim not in DIMS for s in skeleton.loops):
            continue
        listed = [rows(skeleton, f, "divisors") for f in skeleton.families]
        if not prod(len(r.tiles) for r in listed):
            continue
        until = monotonic() + seconds
        try:
            tables = list(prepare(skeleton, listed, goal.measures, SearchTally(), deadline=until))
        except TimeoutError:
            continue
        state = Search(tables, goal, SearchTally(), deadline=until, starts=4).run()
        if state.best is not None:
            yield _beginning(state.best)
        if state.stopped == "interrupted":
            raise KeyboardInterrupt


def _beginning(best: Candidate) -> Beginning:
    """What the best mapping under a dataflow keeps and how often its loops go round."""
    skeleton = best.skeleton
    left, trips = dict(skeleton.problem.size), dict[Place, int]()
    orders: list[list[str]] = [[] for _ in skeleton.keep]
    for loop, tile in zip(skeleton.loops, best.tiles, strict=True):
        place, n = (loop.dim, loop.level, loop.axis), -(-left[loop.dim] // int(tile))
        trips[place] = trips.get(place, 1) * n
        left[loop.dim] = min(left[loop.dim], int(tile))
        if n > 1 and not loop.spatial:
            orders[loop.level].append(loop.dim)
    return Beginning(
        skeleton.keep, tuple(tuple(dict.fromkeys((*order, *DIMS))) for order in orders), trips
    )
