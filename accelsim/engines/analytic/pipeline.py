"""Closed-form time of array and memory together: the recurrence of docs/time.md over passes.

``run`` is the analytic engine's door, ``time`` its second half, ``times`` the same for a nest on
many machines at once, as sweeps ask for.  In order:

1. ``pass_plan``   what each pass takes of the array, what it moves meanwhile, and which transfers
                   between the levels its end sets going: in steps and bits, as classes of passes
                   that are alike;
2. ``pass_clock``  when all of that happens at given widths.  For pass i of a level with two slots
                   (section 5, "Memory"):

    C_i = max(L_i, free_{i-1}, D_{i-2})      its fills, the array, and the drain that makes it room

3. here            stalls and cycles made to add up, and never below what no schedule can beat.

Exact where only the outermost boundary is limited and the buffer next to the PEs is the only one
between; elsewhere transfers of different levels may meet in another order than the timed event
engine has them (docs/time.md, "Small print").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import ArrayTime, array_time
from accelsim.engines.analytic.closed_form import moves
from accelsim.engines.analytic.pass_plan import PassPlan, pass_plan
from accelsim.engines.moved import Moved
from accelsim.engines.run import Run
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.ports import limited
from accelsim.hardware.structure import structure
from accelsim.mapping.nest import Boundary, Nest

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Time:
    """Cycles of the core clock and where they went.

    ``cycles``      the end of the layer
    ``compute``     MAC steps
    ``fill_drain``  skew, preload and shifting of the array
    ``stalls``      what was waited for, by level and network; with the two above it adds up
    ``active_pes``  the most PEs that work at once
    ``exact``       whether the recurrence is the event engine's time to the cycle
    ``bound``       cycles that no schedule can beat
    """

    cycles: int
    compute: int
    fill_drain: int
    stalls: dict[str, int]
    active_pes: int
    exact: bool
    bound: int

    @property
    def array(self) -> int:
        """Cycles of the array alone."""
        return self.compute + self.fill_drain


def run(nest: Nest) -> Run:
    """Counts and time of a nest: all that the analytic engine says of a layer.

    Raises MappingError as ``time`` does.
    """
    crossing = moves(nest)
    spent = time(nest, crossing)
    return Run(
        None,
        crossing,
        nest.problem.macs,
        spent.compute,
        spent.active_pes,
        spent.array,
        spent.cycles,
        spent.stalls,
        exact=spent.exact,
        bound=spent.bound,
    )


def time(nest: Nest, moves: Mapping[Boundary, Moved]) -> Time:
    """Time of a nest of which ``moves`` cross its boundaries (``analytic.moves``).

    Raises MappingError where there are more than 2^20 passes, or phases inside them, to list.
    """
    alone = array_time(nest)
    cycles, stalls, exact, bound = times(nest, moves, alone, [nest.arch])
    names = [*nest.arch.level_names, *nest.arch.networks]
    return Time(
        int(cycles[0]),
        alone.compute,
        alone.fill_drain,
        dict(zip(names, stalls[0].tolist(), strict=True)),
        alone.active_pes,
        exact,
        int(bound[0]),
    )


def times(
    nest: Nest, moves: Mapping[Boundary, Moved], alone: ArrayTime, archs: Sequence[Architecture]
) -> tuple[Ints, Ints, bool, Ints]:
    """The same on machines that differ from the nest's in widths, clocks, bursts and latencies
    only, whose array alone takes ``alone``: cycles ``[machines]``; stalls ``[machines, names]``,
    levels then networks; whether they are the event engine's; and what no schedule can beat.
    """
    names = len(nest.arch.level_names) + len(nest.arch.networks)
    if not limited(nest.arch):
        cycles = np.full(len(archs), alone.cycles)
        return cycles, np.zeros((len(archs), names), np.int64), True, cycles
    plan = _plan_of(nest, alone, moves)
    ends, stalls, bound, slowest = plan.run(archs)
    # what moves inside passes and between them may meet on one port: there the bound may be later
    ends = np.maximum(ends, bound)
    # the layer's last result need not be its last pass's: some waits were in vain
    over = ends - alone.cycles - stalls.sum(axis=1)
    to = np.where(over > 0, slowest, stalls.argmax(axis=1))
    stalls[np.arange(len(archs)), to] += over
    return ends, stalls, plan.exact, bound


# Plans kept, and settings in each.  A plan serves its nest at all widths, so a layer run twice, or
# a sweep over ports, finds it made.
PLANS, SETTINGS = 64, 1 << 16
_plans: dict[tuple[Any, ...], PassPlan] = {}


def _plan_of(nest: Nest, alone: ArrayTime, moves: Mapping[Boundary, Moved]) -> PassPlan:
    """The plan of a nest: what it hangs on is all of the nest but the numbers of its architecture,
    and the array's sizes.
    """
    array = nest.arch.array
    kind = structure(nest.arch), array.rows, array.cols
    key = nest.problem, tuple(nest.loops), nest.chains, nest.boundaries, nest.keep, *kind
    plan = _plans.pop(key, None) or pass_plan(nest, alone, moves)
    if len(plan.plan.kind) <= SETTINGS:
        _plans[key] = plan  # the last used
    if len(_plans) > PLANS:
        del _plans[next(iter(_plans))]
    return plan
