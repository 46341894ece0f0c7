"""The best mapping of one layer, and how it was proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from time import monotonic
from typing import Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.hardware.energy import prices
from accelsim.mapper import any_dataflow
from accelsim.mapper.certificate import Certificate
from accelsim.mapper.closed_cycles import closed_cycles, forms_are_exact
from accelsim.mapper.objective import Objective
from accelsim.mapper.search import (
    RUNNERS_UP,
    BoundTable,
    Search,
    SearchTally,
    State,
    in_time,
    least,
    prepare,
)
from accelsim.mapper.space import TILES, TileChoice, count, rows, under
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import MappingFile, load_dataflow
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.mapping.skeleton import Skeleton
from accelsim.results.result import Result
from accelsim.results.simulate import simulate
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Direction, Problem

FRONT = "front"
# of the closed form against the event engine, where they differ; runners-up within it are carried
# out too
ERROR = 0.02
PATIENCE = (
    60.0  # without a limit, seconds of closed forms before the gap that is left is given instead
)
COARSER: dict[TileChoice, tuple[TileChoice, float]] = {
    "even": ("divisors", 10.0),
    "all": ("even", 60.0),
}  # first, for so many seconds at most
Progress = Callable[[str], None]


@dataclass(frozen=True)
class FrontPoint:
    """A mapping and its measures."""

    mapping: LoopMapping
    energy: float
    cycles: float


@dataclass(frozen=True)
class Best:
    """The chosen ``mapping``, its row of results, the proof, and for ``objective="front"`` all of
    the front, cycles rising.
    """

    mapping: LoopMapping
    result: Result
    certificate: Certificate
    front: tuple[FrontPoint, ...] = ()


def map_layer(
    layer: Any,
    arch: Any,
    dataflow: Any,
    *,
    objective: str = "edp",
    tiles: TileChoice = "divisors",
    limit: float | None = None,
    batch: int | None = None,
    direction: Direction = "forward",
    overrides: Mapping[str, Any] | None = None,
    check: bool = False,
    progress: Progress | None = None,
) -> Best:
    """The mapping of a layer with the least objective among all its dataflow leaves open, and the
    proof.

    ``layer`` is a layer, or a workload of one; ``dataflow`` a name, a file or an object, or
    ``any``: all loop orders, choices of what lies over rows and columns, and of what each level
    keeps.  ``objective`` is ``energy``, ``cycles``, ``edp``, ``dram`` (bits over the outermost
    level's port), a product such as ``energy*cycles^2``, or ``front`` for all mappings no other is
    better than in both energy and cycles (the chosen one is then that of least energy x cycles).
    ``tiles`` are ``divisors`` of the range they cut, ``even`` (the least for so many pieces), or
    ``all`` whole numbers.  ``limit`` in seconds, or an interrupt, ends the search early: the best
    so far with what is proved of the rest.  Where the fixed rule's mapping is better than all that
    was found, as its tiles need not divide, it is the one given (``certificate.rule``).  ``check``
    also carries the winner and its runners-up out on the event engine.

    Raises InputError for names and files that are wrong, MappingError naming the constraint where
    no mapping is legal.
    """
    network = load_workload(layer)
    if len(network.layers) != 1:
        raise InputError(
            "map_layer takes one layer; map_network takes several",
            key="layer",
            got=f"{len(network.layers)} layers",
        )
    machine = load_architecture(arch, overrides or {})
    if tiles not in TILES:
        raise InputError(
            f"must be one of {', '.join(TILES)}", key="tiles", got=str(tiles), choices=TILES
        )
    if limit is not None and not limit > 0:
        raise InputError("must be above 0 seconds", key="limit", got=str(limit))
    problem = network.layers[0].directed(batch, direction)
    goal = None if objective == FRONT else Objective.parse(objective)
    start = monotonic()
    deadline = None if limit is None else start + limit
    if any_dataflow.is_any(dataflow):
        if tiles != "divisors":
            raise InputError("dataflow any goes with divisors", key="tiles", got=tiles)
        found = any_dataflow.search(problem, machine, goal, deadline, _report(progress, goal))
        flow = None
    else:
        flow = load_dataflow(dataflow)
        found = _under(problem, machine, flow, goal, tiles, deadline, _report(progress, goal))
    state, tally, space, _ = found
    winner = (
        state.best
        if goal is not None
        else min(state.front, key=lambda f: f.values["energy"] * f.values["cycles"], default=None)
    )
    if winner is None and state.untimed is not None:
        winner = state.untimed[1]  # its row says why it is refused
    if winner is None:
        if state.stopped == "interrupted":
            raise KeyboardInterrupt
        if state.stopped:
            raise MappingError(f"no mapping was found within the limit of {limit} s")
        raise MappingError(_why_empty(problem, machine, flow))

    def row(m: LoopMapping, engine: str = "analytic") -> Result:
        mapping = MappingFile(name="mapper", loops=m.loops, keep=m.keep, fused=m.fused)
        return simulate(
            network,
            machine,
            flow,
            mapping=mapping,
            batch=batch,
            direction=direction,
            engine=engine,  # type: ignore[arg-type]
        )

    unit = f"energy_{machine.energy.unit}"

    def measured(result: Result) -> dict[str, float]:
        columns = result.rows[0].columns
        return {
            "energy": columns[unit],
            "cycles": columns["cycles"],
            "dram": winner.values.get("dram", 0.0),
        }

    best = winner.skeleton.mapping_with(winner.tiles)
    result = row(best)
    if result.rows[0].columns.get("cycles") is None:
        raise MappingError(str(result.rows[0].columns.get("error")))
    value, bound = _proof(state, goal, measured(result))
    ruled = False
    if (
        goal is not None
        and "dram" not in goal.measures
        and flow is not None
        and (nest := rule_nest(problem, machine, flow)) is not None
    ):
        known = row(nest.mapping)
        if known.rows[0].columns.get("cycles") is not None and float(
            goal.of(measured(known))
        ) < value * (1 - 1e-9):
            best, result, value, ruled = nest.mapping, known, float(goal.of(measured(known))), True
    cycles: dict[str, float] = {"closed form": result.rows[0].columns["cycles"]}
    runners: list[dict[str, Any]] = []
    near = [f.skeleton.mapping_with(f.tiles) for v, f in state.timed if v <= value * (1 + ERROR)]
    others = [m for m in near if m != best]
    for m in [best, *others[: RUNNERS_UP - 1]] if check else []:
        ours, event = (result if m is best else row(m)).rows[0], row(m, "event").rows[0].columns
        one = {
            "mapping": str(ours.nest.mapping) if ours.nest else "",
            "cycles": ours.columns["cycles"],
            "event_cycles": event["cycles"],
            unit: ours.columns[unit],
            f"event_{unit}": event[unit],
            "bit_exact": event["bit_exact"],
        }
        runners.append(one)
    if runners:
        cycles["event engine"] = runners[0]["event_cycles"]
    certificate = Certificate(
        objective, tiles, space, tally.evaluated, tally.timed, tally.pruned(), value, min(value, bound), monotonic() - start,
        state.stopped, cycles, tuple(runners), ruled,
    )  # fmt: skip
    front = tuple(
        FrontPoint(f.skeleton.mapping_with(f.tiles), f.values["energy"], f.values["cycles"])
        for f in state.front
    )
    return Best(best, result, certificate, front)


def _proof(state: State, goal: Objective | None, measured: dict[str, float]) -> tuple[float, float]:
    """The objective of the winner as it was ``measured``, and what no mapping is below; of a front,
    1 and what share of the least energy x cycles of the front nothing left is below.
    """
    if goal is not None:
        value = float(goal.of(measured))
        return value, min(value, state.value, state.rest)
    least = min(f.values["energy"] * f.values["cycles"] for f in state.front)
    return 1.0, min(1.0, state.rest / least)


def _under(
    problem: Problem,
    arch: Architecture,
    flow: Dataflow,
    goal: Objective | None,
    tiles: TileChoice,
    deadline: float | None,
    progress: Any,
) -> tuple[State, SearchTally, int, list[BoundTable]]:
    """The search under a dataflow; it begins with the best of coarser tiles, which are of the space
    and quickly found.
    """
    skeleton = under(problem, arch, flow)
    if tiles == "divisors" or (tiles == "even" and goal is None):
        return search_tiles(skeleton, tiles, goal, deadline, progress, None)
    start = monotonic()
    coarser, part = COARSER[tiles]
    part = part if deadline is None else min(part, (deadline - start) / 4)
    first = _under(problem, arch, flow, goal, coarser, start + part, progress)
    space = prod(count(skeleton, f, tiles) for f in skeleton.families)
    before = replace(first[0], rest=0.0)
    if before.stopped != "interrupted":
        try:
            return search_tiles(skeleton, tiles, goal, deadline, progress, before)
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
    progress: Any,
    known: State | None,
) -> tuple[State, SearchTally, int, list[BoundTable]]:
    measures = _measures(goal)
    lower = not forms_are_exact(skeleton.arch) and (
        "cycles" in measures or bool(prices(skeleton.arch).static_mw)
    )
    dominance = not lower or tiles == "all"  # it compares lower bounds
    tally, tables, space = spread(
        skeleton, tiles, measures, dominance=dominance, deadline=None if known is None else deadline
    )
    search = Search(
        tables, goal, tally, deadline=deadline, closed=closed_cycles if lower else None, patience=PATIENCE if deadline is None else None,
        progress=progress,
    )  # fmt: skip
    if known is not None and known.best is not None:
        search.start_from(known)
    state = search.run()
    if lower and dominance:
        state.rest = min(
            state.rest, state.least
        )  # what is dominated is not below what dominates it
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
    space = prod(count(skeleton, f, tiles) for f in skeleton.families)
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


def _report(progress: Progress | None, goal: Objective | None) -> Any:
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
