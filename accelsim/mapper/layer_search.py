"""The best mapping of one problem, and how it was proved: the mapper's front door.

``best_mapping`` takes a problem, an architecture, a dataflow (None: everything open) and an
objective, and gives the chosen mapping with its certificate; of names, files and rows it knows
nothing (``results.best_mapping`` and ``explore.map_network`` do).

The life of a search under a dataflow:

1. ``space.under`` makes the skeleton, ``space.rows`` lists the tiles of each family of loops that
   fit by themselves.  Finer tiles begin with the best of coarser ones.
2. ``cell.blocks`` splits the space into cells in which the closed form is one sum of products, and
   ``preparing.prepare`` tabulates its factors by choices (``BoundTable``), without the choices that
   overflow alone or that another is never worse than.
3. ``search.Search`` cuts the choices into clusters, bounds what they can reach, prunes, and
   evaluates what is left in blocks.  Where the tables' cycles are lower bounds it asks the closed
   form for the few mappings that may still be the best.
4. The winner is measured by the analytic engine, as the fixed rule's mapping is; the better is
   chosen, and the ``Certificate`` says what no mapping is below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from time import monotonic
from typing import Any

import numpy as np

from accelsim.hardware.architecture import Architecture
from accelsim.hardware.energy import prices
from accelsim.mapper import any_dataflow
from accelsim.mapper.bound_table import BoundTable, Candidate, SearchTally
from accelsim.mapper.certificate import EQUAL, Certificate
from accelsim.mapper.closed_cycles import closed_cycles, forms_are_exact, measured
from accelsim.mapper.deadline import in_time
from accelsim.mapper.objective import Objective
from accelsim.mapper.preparing import least, prepare
from accelsim.mapper.quick_search import full_measures, quick_mapping
from accelsim.mapper.search import Search, State
from accelsim.mapper.space import TileChoice, rows, size_of, under
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.mapping.skeleton import Skeleton
from accelsim.workload.problem import Problem

FRONT = "front"
# of the closed form against the event engine, where they differ; runners-up within it are carried
# out too
ERROR = 0.02
# without a limit, seconds of closed forms before the gap that is left is given instead
PATIENCE = 60.0
# tiles searched first, for so many seconds at most
COARSER: dict[TileChoice, tuple[TileChoice, float]] = {
    "even": ("divisors", 10.0),
    "all": ("even", 60.0),
}
Progress = Callable[[str], None]
Report = Callable[[State, SearchTally], None]
Outcome = tuple[State, SearchTally, int, list[BoundTable]]  # and the size of the space


@dataclass(frozen=True)
class _Budget:
    """When a search ends before it is through: ``most`` mappings evaluated and timed, or
    ``patience`` seconds of closed forms.
    """

    most: tuple[int, int] | None
    patience: float | None


@dataclass(frozen=True)
class FrontPoint:
    """A mapping and its measures."""

    mapping: Mapping
    energy: float
    cycles: float


@dataclass(frozen=True)
class Chosen:
    """The chosen ``mapping`` and its proof; ``near`` are others that were measured within ERROR of
    it, best first, and ``front`` all of the front, cycles rising, if that was the objective.
    """

    mapping: Mapping
    certificate: Certificate
    near: tuple[Mapping, ...]
    front: tuple[FrontPoint, ...]


def best_mapping(
    problem: Problem,
    arch: Architecture,
    flow: Dataflow | None,
    *,
    objective: str,
    tiles: TileChoice,
    limit: float | None = None,
    most: tuple[int, int] | None = None,
    patience: bool = True,
    progress: Progress | None = None,
) -> Chosen:
    """The mapping of least ``objective``, or with ``front`` the one of least energy x cycles.

    ``limit`` in seconds, or an interrupt, ends the search early; so do more than ``most`` mappings
    evaluated, or timed.  Without ``patience`` nothing else does.  Raises InputError for an
    objective that is none, or that does not go with the dataflow; MappingError naming the
    constraint where no mapping is legal, or saying that none was found in time; KeyboardInterrupt
    if it was interrupted before any was.
    """
    goal = None if objective == FRONT else Objective.parse(objective)
    start = monotonic()
    deadline = None if limit is None else start + limit
    report = _report(progress, goal)
    if flow is None:
        outcome = any_dataflow.search(problem, arch, goal, deadline, report)
    else:
        budget = _Budget(most, PATIENCE if patience and deadline is None and most is None else None)
        outcome = _under(problem, arch, flow, goal, tiles, deadline, report, budget)
    state, tally, space, _ = outcome
    winner, late = _winner(state, goal), False
    if winner is None and state.stopped == "limit" and flow is not None:
        winner = _ruled(problem, arch, flow, state, goal)
        late = winner is not None
    if winner is None:
        if state.stopped == "interrupted":
            raise KeyboardInterrupt
        if state.stopped:
            raise MappingError(f"no mapping was found within the limit of {limit} s")
        raise MappingError(_why_empty(problem, arch, flow))
    mapping = winner.skeleton.mapping_with(winner.tiles)
    measures = winner.values | measured(Nest(problem, arch, mapping))
    value, bound = _proof(state, goal, measures)
    ruled = _better_rule(problem, arch, flow, goal, value)
    if ruled is not None:
        mapping, measures, value = ruled
    elif flow is not None and goal is not None and state.stopped in (None, "effort"):
        mapping, measures = _settled(problem, arch, flow, goal, mapping, measures, value)
    certificate = Certificate(
        objective,
        tiles,
        space,
        tally.evaluated,
        tally.timed,
        tally.pruned(),
        value,
        min(value, bound),
        monotonic() - start,
        state.stopped,
        {"closed form": measures["cycles"]},
        rule=late or ruled is not None,
        exact=bool(measures["exact"]),
    )
    timed = [c.skeleton.mapping_with(c.tiles) for v, c in state.timed if v <= value * (1 + ERROR)]
    front = tuple(
        FrontPoint(c.skeleton.mapping_with(c.tiles), c.values["energy"], c.values["cycles"])
        for c in state.front
    )
    return Chosen(mapping, certificate, tuple(m for m in timed if m != mapping), front)


def _winner(state: State, goal: Objective | None) -> Candidate | None:
    """The best of a search; where none could be timed the one with the least bound, for the
    engine's refusal says why.
    """
    if goal is None:
        best = min(state.front, key=lambda c: c.values["energy"] * c.values["cycles"], default=None)
    else:
        best = state.best
    return state.untimed[1] if best is None and state.untimed is not None else best


def _ruled(
    problem: Problem, arch: Architecture, flow: Dataflow, state: State, goal: Objective | None
) -> Candidate | None:
    """The fixed rule's mapping, where the limit ended a search before it had any; it is then all of
    the front.
    """
    nest = rule_nest(problem, arch, flow)
    if nest is None:
        return None
    try:
        values = full_measures(nest)
    except MappingError:
        return None
    one = Candidate(values, nest, tuple([x.tile for x in nest.loops]))
    if goal is None:
        state.front = [one]
    return one


def _settled(
    problem: Problem, arch: Architecture, flow: Dataflow, goal: Objective,
    mapping: Mapping, measures: dict[str, float], value: float,
) -> tuple[Mapping, dict[str, float]]:  # fmt: skip
    """The mapping, or another of the same objective that has fewer cycles, of equally many less
    energy, then less DRAM traffic, then fewer loops.  The search keeps the first of equal ones;
    where the objective does not weigh all of these there are many, and the quick search tells them
    apart.
    """
    if {"energy", "cycles"} <= set(goal.measures):
        return mapping, measures
    other = quick_mapping(problem, arch, flow, goal)
    if abs(other.value - value) > EQUAL * value:
        return mapping, measures
    own = full_measures(Nest(problem, arch, mapping))
    mine, theirs = (
        [*(m[name] for name in ("cycles", "energy", "dram")), len(loops.loops)]
        for m, loops in ((own, mapping), (other.measures, other.mapping))
    )
    for a, b in zip(mine, theirs, strict=True):
        if abs(a - b) > EQUAL * max(a, b):
            if a < b:
                break
            return other.mapping, measures | measured(Nest(problem, arch, other.mapping))
    return mapping, measures


def _better_rule(
    problem: Problem,
    arch: Architecture,
    flow: Dataflow | None,
    goal: Objective | None,
    value: float,
) -> tuple[Mapping, dict[str, float], float] | None:
    """The fixed rule's mapping, its measures and its objective, where that is below ``value``: its
    tiles need not divide.
    """
    if goal is None or flow is None or "dram" in goal.measures:
        return None
    nest = rule_nest(problem, arch, flow)
    if nest is None:
        return None
    try:
        measures = measured(nest)
    except MappingError:
        return None
    of_rule = float(goal.of(measures))
    return (nest.mapping, measures, of_rule) if of_rule < value * (1 - 1e-9) else None


def _proof(state: State, goal: Objective | None, measures: dict[str, float]) -> tuple[float, float]:
    """The objective of the winner as it was measured, and what no mapping is below; of a front, 1
    and what share of the least energy x cycles of the front nothing left is below.
    """
    if goal is not None:
        value = float(goal.of(measures))
        return value, min(value, state.value, state.rest)
    least = min(c.values["energy"] * c.values["cycles"] for c in state.front)
    return 1.0, min(1.0, state.rest / least)


def _under(
    problem: Problem,
    arch: Architecture,
    flow: Dataflow,
    goal: Objective | None,
    tiles: TileChoice,
    deadline: float | None,
    progress: Report | None,
    budget: _Budget,
) -> Outcome:
    """The search under a dataflow; it begins with the best of coarser tiles, which are of the space
    and quickly found.
    """
    skeleton = under(problem, arch, flow)
    space = size_of(skeleton, tiles)
    if tiles == "divisors" or (tiles == "even" and goal is None):
        try:
            return search_tiles(skeleton, tiles, goal, deadline, progress, None, budget)
        except TimeoutError:  # the tables were not ready
            return State(stopped="limit", rest=0.0), SearchTally(), space, []
    start = monotonic()
    coarser, part = COARSER[tiles]
    part = part if deadline is None else min(part, (deadline - start) / 4)
    first = _under(problem, arch, flow, goal, coarser, start + part, progress, budget)
    before = replace(first[0], rest=0.0)
    if before.stopped != "interrupted":
        try:
            return search_tiles(skeleton, tiles, goal, deadline, progress, before, budget)
        except TimeoutError:
            before.stopped = "limit"
        except KeyboardInterrupt:
            before.stopped = "interrupted"
    before.rest = min(
        (_value(goal, m) for m in least(skeleton, _measures(goal))), default=0.0
    )  # what every mapping must do
    return before, SearchTally(first[1].evaluated), space, first[3]


def _value(goal: Objective | None, measures: dict[str, Any]) -> float:
    """What the search's ``rest`` is in: the objective, for a front energy x cycles."""
    return float(measures["energy"] * measures["cycles"] if goal is None else goal.of(measures))


def search_tiles(
    skeleton: Skeleton,
    tiles: TileChoice,
    goal: Objective | None,
    deadline: float | None,
    progress: Report | None,
    known: State | None,
    budget: _Budget | None = None,
) -> Outcome:
    """The search of one skeleton, from what is ``known``.  Raises TimeoutError if the tables are
    not ready by the deadline.
    """
    measures = _measures(goal)
    lower = not forms_are_exact(skeleton.arch) and (
        "cycles" in measures or bool(prices(skeleton.arch).static_mw)
    )
    dominance = not lower or tiles == "all"  # it compares lower bounds
    tally, tables, space = spread(skeleton, tiles, measures, dominance=dominance, deadline=deadline)
    search = Search(
        tables,
        goal,
        tally,
        deadline=deadline,
        closed=closed_cycles if lower else None,
        patience=(PATIENCE if deadline is None else None) if budget is None else budget.patience,
        most=None if budget is None else budget.most,
        progress=progress,
    )
    if known is not None and known.best is not None:
        search.start_from(known)
    state = search.run()
    if lower and dominance:  # what is dominated is not below what dominates it
        state.rest = min(state.rest, state.least)
    return state, tally, space, tables


def spread(
    skeleton: Skeleton,
    tiles: TileChoice,
    measures: Sequence[str],
    *,
    dominance: bool = True,
    deadline: float | None = None,
) -> tuple[SearchTally, list[BoundTable], int]:
    """The tables of a skeleton and the size of its space.  Raises TimeoutError if they are not
    ready by the deadline.
    """
    listed = [rows(skeleton, f, tiles, lambda: in_time(deadline)) for f in skeleton.families]
    space = size_of(skeleton, tiles)
    tally = SearchTally(refused=space - prod(len(r.tiles) for r in listed))
    tables = (
        list(prepare(skeleton, listed, measures, tally, dominance=dominance, deadline=deadline))
        if all(len(r.tiles) for r in listed)
        else []
    )
    return tally, tables, space


def _measures(goal: Objective | None) -> tuple[str, ...]:
    return ("energy", "cycles") if goal is None else goal.measures


def _why_empty(problem: Problem, arch: Architecture, flow: Dataflow | None) -> str:
    """The mapping of tiles of one word uses least of everything: what it breaks empties the
    space.
    """
    if flow is None:
        return f"no mapping of this layer is legal on {arch.name}"
    try:
        choose(problem, arch, flow)
    except MappingError as error:
        return str(error)
    return f"no mapping under {flow.name} is legal on {arch.name}"


def _report(progress: Progress | None, goal: Objective | None) -> Report | None:
    """What a search says of itself now and then, as a line of text."""
    if progress is None:
        return None

    def report(state: State, tally: SearchTally) -> None:
        if goal is None:
            progress(f"front of {len(state.front)}, {tally.evaluated:.3g} evaluated")
        elif state.value < float("inf"):
            gap = max(0.0, 1 - state.rest / state.value) if np.isfinite(state.rest) else 0.0
            progress(
                f"{goal.text} {state.value:.6g}, gap {gap:.2%}, {tally.evaluated:.3g} evaluated"
            )

    return report


def rule_nest(problem: Problem, arch: Architecture, flow: Dataflow) -> Nest | None:
    """What the fixed rule maps, or None."""
    try:
        return Nest(problem, arch, choose(problem, arch, flow))
    except MappingError:
        return None
