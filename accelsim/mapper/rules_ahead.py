"""The fixed rule's mappings that stand beside the best ones, for all machines of a task at once.

A sweep of best tiles searches one machine after the other, and the rule's mapping is always among
those that are looked at, though it wins on few.  So before the first search of a layer
``walk_ahead`` (called by ``explore.evaluate``) walks the rule on all of its machines in step, by
``choose_many``, and says of each what its mapping's energy, cycles and DRAM traffic are not below:
counts over arrays as in ``results.batch``, cycles by ports and first fills.  ``rule_of`` is what
``quick_search`` asks.  Where nothing was walked ahead it walks, and the answer is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import moved
from accelsim.engines.analytic.array_time import array_times
from accelsim.engines.analytic.closed_form import ClosedForm
from accelsim.engines.analytic.pipeline import least_cycles_of, surely_short
from accelsim.engines.analytic.rank_sums import different_rows
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.energy import prices
from accelsim.hardware.ports import late_levels
from accelsim.mapper.quick_weights import outermost_bits
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import ruled
from accelsim.mapping.rule_many import RuleTiles, choose_many
from accelsim.mapping.skeleton import Kept, Skeleton
from accelsim.workload.problem import Problem

Ints = npt.NDArray[np.int64]
WORTH = 24  # machines from which walking together pays
AHEAD = 1 << 14  # walked and not yet searched: more than a task has
Measures = dict[str, float]


@dataclass(frozen=True)
class RuleMapping:
    """The fixed rule's mapping of a layer, before one is made of it.

    ``tiles, trips``  of each loop of the ``skeleton``
    ``least``         energy, cycles and dram that it does not come below, where they are known
    """

    skeleton: Skeleton
    tiles: tuple[int, ...]
    trips: tuple[int, ...]
    least: Measures | None = None


# What was walked ahead, by layer, dataflow and machine.  That is known by identity, as its hash
# would cost more than the walk; so it stands here, too, and no other has its number.
_walked: Kept[tuple[Architecture, RuleMapping | None]] = Kept(AHEAD)


def rule_of(problem: Problem, arch: Architecture, flow: Dataflow) -> RuleMapping | None:
    """What the fixed rule maps, or None.  Whatever was walked ahead is asked for once, and then
    forgotten.
    """
    known = _walked.pop((problem, flow, id(arch)), None)
    if known is not None:
        return known[1]
    try:
        rule = ruled(problem, arch, flow)
    except MappingError:
        return None
    return RuleMapping(rule.skeleton, tuple(rule.tiles), tuple(rule.trips))


def walk_ahead(problem: Problem, archs: Sequence[Architecture], flow: Dataflow) -> None:
    """Walk the rule on machines of one structure that are about to be searched, if they are
    many.
    """
    if len(archs) < WORTH:
        return
    try:
        chosen = choose_many(problem, archs, flow)
    except MappingError:
        return  # each search finds out for itself
    least = _least(problem, archs, chosen)
    skeleton, rows = chosen.tiles.skeleton, chosen.tiles.rows.tolist()
    each = zip(archs, rows, chosen.tiles.trips.tolist(), chosen.fits, least, strict=True)
    for arch, tiles, trips, fits, low in each:
        rule = RuleMapping(skeleton, tuple(tiles), tuple(trips), low) if fits else None
        _walked.keep((problem, flow, id(arch)), (arch, rule))


def _least(
    problem: Problem, archs: Sequence[Architecture], chosen: RuleTiles
) -> list[Measures | None]:
    """``RuleMapping.least`` on each machine: of those together whose mappings have the same
    loops.
    """
    least: list[Measures | None] = [None] * len(archs)
    late = np.array([late_levels(arch) for arch in archs], np.int64).reshape(len(archs), -1)
    alike, which = different_rows(np.hstack([chosen.tiles.trips > 1, late]).astype(np.int64))
    for k in range(len(alike)):
        at = np.flatnonzero((which == k) & chosen.fits)
        members: list[int] = at.tolist()
        here = [archs[i] for i in members]
        if not here or not all(surely_short(problem, arch) for arch in here):
            continue
        try:
            low = _least_together(problem, here, chosen, at)
        except (MappingError, OverflowError):
            continue  # one by one they are counted in whole numbers
        for n, i in enumerate(members):
            least[i] = {name: float(values[n]) for name, values in low.items()}
    return least


def _least_together(
    problem: Problem, archs: Sequence[Architecture], chosen: RuleTiles, at: Ints
) -> dict[str, npt.NDArray[Any]]:
    """The same of mappings with the same loops [machines].  Raises MappingError and OverflowError
    where arrays are no way to count them.
    """
    nest = Nest(problem, archs[0], chosen.tiles.mapping(int(at[0])))
    loops = np.flatnonzero(chosen.tiles.trips[at[0]] > 1)
    tiles, trips = (x[np.ix_(at, loops)].T for x in (chosen.tiles.rows, chosen.tiles.trips))
    model = ClosedForm(nest)
    counts = model.evaluate(model.rows_of(tiles))
    moves = model.moves(counts)
    sides = {side: np.array([getattr(a.array, side) for a in archs]) for side in ("rows", "cols")}
    alone = array_times(nest, tiles, trips, sides, counts.of(None, "compute_cycles"))
    cycles = least_cycles_of(nest, moves, alone, tiles, trips, archs)
    time_s = cycles / np.array([a.clock_mhz * 1e6 for a in archs])
    price = moved.stacked([prices(a) for a in archs])
    energy = moved.energy(nest, moves, problem.macs, time_s, price)[f"energy_{price.unit}"]
    low = {"energy": energy, "cycles": cycles, "dram": outermost_bits(nest, moves)}
    return {name: np.broadcast_to(values, len(archs)) for name, values in low.items()}


__all__ = ["RuleMapping", "rule_of", "walk_ahead"]
