"""The best mapping of a layer in milliseconds: what ``simulate`` and sweeps give unless told else.

``quick_mapping`` takes a problem, an architecture, a dataflow and an objective.  In order:

1. ``quick_tables`` counts every choice of every family's tiles, once a layer for all machines of a
   structure; ``quick_weights`` says what one machine makes of the counts.
2. ``Blocks`` values combinations of choices as arrays: energy and DRAM traffic are exact, cycles
   a lower bound (``lower_cycles``).  A space of at most EXHAUSTIVE combinations is valued whole; a
   larger one by descent: the best choices of two families at a time, the others fixed, from the
   fixed rule's choices and a few more, until no pair improves.
3. The best few are timed in full, the least bound first, until nothing left has a lower one.  Where
   the whole space was valued that is a proof; else the bound is what every mapping must do.

The fixed rule's mapping is always among those timed, so nothing is worse than it.  Effort is
counted in candidates: the same call gives the same mapping wherever and however often it is made.
Of equal values the one with fewer cycles is chosen, then less energy, less DRAM traffic, fewer
loops, and last by its tiles.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import analytic, moved
from accelsim.engines.analytic.array_time import array_time
from accelsim.engines.analytic.closed_form import words_used
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.ports import limited, structure
from accelsim.mapper.certificate import EQUAL, gap_of
from accelsim.mapper.closed_cycles import priced
from accelsim.mapper.joining import Joiner
from accelsim.mapper.objective import Objective
from accelsim.mapper.preparing import in_time
from accelsim.mapper.quick_blocks import Blocks
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapper.quick_weights import MachineWeights, outermost_bits
from accelsim.mapper.space import under
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import check_work
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.mapping.skeleton import Skeleton
from accelsim.workload.problem import Problem

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
EXHAUSTIVE = 1 << 19  # combinations that are valued one and all
PAIR = 1 << 12  # combinations of two families' choices that a step of a descent values
KEPT = 64  # of the best, how many are looked at more closely
TIMED = 8  # and of these timed in full;
SOME, NEAR = 4, 1.01  # after so many only those that should come within so much of the best
TABLES = 128  # layers whose tables are kept
LAST = (1 << 62,)  # tiles that come after all others


@dataclass(frozen=True)
class Quick:
    """The chosen mapping and what is known of it.

    ``measures``  energy, cycles and dram of the mapping, by the analytic engine
    ``value``     the objective of these; no mapping of the space is below ``bound``
    ``space``     combinations of choices; ``valued`` of them by bounds, ``timed`` in full
    ``rule``      whether it is the fixed rule's
    ``stopped``   limit, if a deadline ended the search
    """

    mapping: Mapping
    measures: dict[str, float]
    value: float
    bound: float
    space: int
    valued: int
    timed: int
    rule: bool
    stopped: str | None = None

    @property
    def gap(self) -> float:
        """(value - bound) / value, 0 where the best is proved."""
        return gap_of(self.value, self.bound)


def quick_mapping(
    problem: Problem,
    arch: Architecture,
    flow: Dataflow,
    goal: Objective,
    deadline: float | None = None,
) -> Quick:
    """The best mapping found, see the head of this page.  What is found by the ``deadline``
    (``monotonic``), if there is one, is given then, and the fixed rule's mapping at least.

    Raises MappingError naming the constraint where no mapping is legal.
    """

    def tick() -> None:
        in_time(deadline)

    ruled, state, stopped = _rule(problem, arch, flow), _State(), None
    try:
        _search(layer_tables(problem, arch, flow), arch, goal, tick, state, ruled)
    except TimeoutError:
        stopped, state.rest = "limit", 0.0
    rule = _with_rule(problem, arch, ruled, goal, state)
    if state.best is None:
        full_measures(Nest(problem, arch, choose(problem, arch, flow)))  # says why
        raise MappingError(
            "no mapping was found within the limit" if stopped
            else f"no mapping under {flow.name} is legal on {arch.name}"
        )  # fmt: skip
    best = state.best
    return Quick(
        best.mapping, best.measures, best.value, min(best.value, state.rest),
        state.space, state.valued, state.timed, rule, stopped,
    )  # fmt: skip


def _search(
    tables: LayerTables,
    arch: Architecture,
    goal: Objective,
    tick: Callable[[], None],
    state: _State,
    ruled: Mapping | None,
) -> None:
    """The search of a layer's tables; and of those of skeletons without some of its loops, where
    these may have something better.
    """
    tick()
    search = _QuickSearch(tables, arch, goal, tick, state)
    search.run(ruled)
    for absent, (rows, cols) in tables.others.items():
        most = min(rows, arch.array.rows) * min(cols, arch.array.cols)
        if state.best is None or search.floor(most) < state.best.value:
            _QuickSearch(tables.without(absent), arch, goal, tick, state).run(None)


# -- tables that machines share --------------------------------------------------------------------

_tables: OrderedDict[Any, LayerTables] = OrderedDict()
_lock = Lock()


def layer_tables(problem: Problem, arch: Architecture, flow: Dataflow) -> LayerTables:
    """The tables of a layer; kept, as the next machine will ask for them."""
    key = (problem, flow, structure(arch), arch.array.rows, arch.array.cols)
    with _lock:
        known = _tables.get(key)
        if known is not None:
            _tables.move_to_end(key)
            return known
    known = LayerTables(under(problem, arch, flow))
    with _lock:
        _tables[key] = known
        while len(_tables) > TABLES:
            _tables.popitem(last=False)
    return known


# -- the search ------------------------------------------------------------------------------------


@dataclass
class _State:
    """What is known so far: the best, and what no mapping that was not timed is below, ``rest``."""

    best: _Timed | None = None
    rest: float = np.inf
    space: int = 0
    valued: int = 0
    timed: int = 0


class _QuickSearch:
    """One layer on one machine, over the tiles of some tables.

    ``pool``  [combinations, families] the best so far, with their ``values``, least first
    """

    def __init__(
        self,
        tables: LayerTables,
        arch: Architecture,
        goal: Objective,
        tick: Callable[[], None],
        state: _State,
    ) -> None:
        self.tables, self.goal, self.tick, self.state = tables, goal, tick, state
        self.weights = MachineWeights(tables, arch)
        self.blocks = Blocks(tables, self.weights, goal)
        self.joiner: Joiner | None = None
        self.pool = np.zeros((0, len(tables.families)), np.int64)
        self.values = np.zeros(0)
        self.every = self._fitting([np.arange(len(t)) for t in tables.tiles])
        self.whole = prod(len(x) for x in self.every) <= EXHAUSTIVE

    def run(self, ruled: Mapping | None) -> None:
        """Value the whole space, or descend into it from the rule's choices; then time the best."""
        self.state.space += self.tables.space
        if all(len(x) for x in self.every):
            if self.whole:
                self._visit(self.every)
            else:
                start = self._start(ruled)
                value, _ = self._visit([np.array([i]) for i in start])
                self._descend(start if np.isfinite(value) else self._start(None), self.every)
        self._time()

    def _fitting(self, every: list[Ints]) -> list[Ints]:
        """Without the choices that overflow with the least of all other families; until none does,
        for what is left out may have been another's least.
        """
        tables, limits = self.tables, self.weights.of(0).limits  # sums are narrowest where final
        tied = tables.whole.copy()
        for tie in tables.ties.values():
            tied *= tie.use.min(axis=(0, 1))
        while all(len(x) for x in every):
            least = [u[x].min(axis=0) for u, x in zip(tables.usage, every, strict=True)]
            kept = []
            for f, x in enumerate(every):
                others = prod([tied, *[v for g, v in enumerate(least) if g != f]])
                used = (tables.usage[f][x] * others).T
                fits = np.ones(len(x), bool)
                for limit in limits:
                    fits &= limit.used(used) <= limit.most
                kept.append(x[fits])
            if [len(x) for x in kept] == [len(x) for x in every]:
                break
            every = kept
        return every

    def _visit(self, picks: Sequence[Ints]) -> tuple[float, Ints]:
        """Value all combinations of these choices and keep the best; the least value, and its
        choices."""
        best, at = np.inf, self.pool[:0]
        for value, left, right, places in self.blocks.of(picks):
            self.tick()
            self.state.valued += value.size
            row, column = divmod(int(value.argmin()), value.shape[1])
            least = float(value[row, column])
            if least < best:
                best, at = least, np.append(left[row], right[column])[places]
            worst = self.values[-1] if len(self.values) == KEPT else np.inf
            if least >= worst:
                continue
            flat = np.flatnonzero(value.ravel() < worst)
            got = value.ravel()[flat]
            if len(flat) > KEPT:
                first = np.argpartition(got, KEPT - 1)
                first = np.flatnonzero(got <= got[first[KEPT - 1]])
                first = first[np.argsort(got[first], kind="stable")][:KEPT]
                flat, got = flat[first], got[first]
            rows = np.divmod(flat, value.shape[1])
            self._keep(np.hstack([left[rows[0]], right[rows[1]]])[:, places], got)
        return best, at

    def _keep(self, rows: Ints, values: Floats) -> None:
        """Put combinations into the pool: those of least value, of equal ones the first choices."""
        rows, values = np.vstack([self.pool, rows]), np.concatenate([self.values, values])
        by = np.lexsort((*rows.T[::-1], values))
        rows, values = rows[by], values[by]
        new = np.append(True, (np.diff(rows, axis=0) != 0).any(axis=1))
        self.pool, self.values = rows[new][:KEPT], values[new][:KEPT]

    # -- descent -----------------------------------------------------------------------------------

    def _start(self, ruled: Mapping | None) -> list[int]:
        """Choices to begin with: those nearest to the fixed rule's, or the least."""
        tables, every = self.tables, self.every
        if ruled is None:
            each = zip(tables.usage, every, strict=True)
            return [int(x[u[x].prod(axis=1).argmin()]) for u, x in each]
        wanted, start = self._tiles_of(ruled), []
        for family, tiles, x in zip(tables.families, tables.tiles, every, strict=True):
            own = np.array([wanted[i] for i in family.loops], float)
            away = np.abs(np.log(tiles[x] / own)).sum(axis=1)
            start.append(int(x[away.argmin()]))
        return start

    def _tiles_of(self, mapping: Mapping) -> list[int]:
        """The tile of every loop of the skeleton under a mapping of the same loops; loops it has
        not make one trip."""
        nest, names = self.tables.skeleton, self.weights.arch.level_names
        tile = {(x.dim, names.index(x.level), x.axis): x.tile for x in mapping.loops}
        tiles = []
        for family in nest.families:
            for n, i in enumerate(family.loops):
                x = nest.loops[i]
                entering = [
                    tile[key]
                    for k in family.loops[:n]
                    if (y := nest.loops[k]).dim == x.dim
                    and (key := (y.dim, y.level, y.axis)) in tile
                ]
                whole = nest.problem.size.get(x.dim, 1)
                tiles.append((i, tile.get((x.dim, x.level, x.axis), (entering or [whole])[-1])))
        return [t for _, t in sorted(tiles)]

    def _descend(self, now: list[int], every: list[Ints]) -> None:
        """The best of what is near, until nothing near is better.

        Near are all tiles that leave the outermost level's as they are; all that leave those inside
        the buffers as they are; and the choices of two families, or of one that has too many, the
        others fixed.
        """
        many = range(len(every))
        sizes = [len(x) for x in every]
        steps: list[Any] = ["inside", "outside"]
        steps += [(f,) for f in many if all(sizes[f] * sizes[g] > PAIR for g in many if g != f)]
        steps += [p for p in combinations(many, 2) if sizes[p[0]] * sizes[p[1]] <= PAIR]
        best, idle = np.inf, 0
        while idle < len(steps):
            for step in steps:
                if isinstance(step, str):
                    value, at = self._visit_joined([self._alike(f, now, step) for f in many])
                else:
                    picks = [every[f] if f in step else np.array([now[f]]) for f in many]
                    value, at = self._visit(picks)
                if value < best * (1 - EQUAL):
                    best, now, idle = value, at.tolist(), 0
                idle += 1
                if idle >= len(steps):
                    break

    def _alike(self, f: int, now: list[int], step: str) -> Ints:
        """Choices of a family with the tiles of the outermost level's loops as now, or with those
        from the array inwards.
        """
        nest, family, tiles = self.tables.skeleton, self.tables.families[f], self.tables.tiles[f]
        loops = [nest.loops[i] for i in family.loops]
        if step == "inside":
            same = [n for n, x in enumerate(loops) if x.level == 0]
        else:
            first = min([n for n, x in enumerate(loops) if x.spatial], default=len(loops))
            same = list(range(max(first - 1, 0), len(loops))) if first < len(loops) else []
            same = same or [n for n, x in enumerate(loops) if x.level == nest.levels - 1]
        own = self.every[f]
        alike = (tiles[own][:, same] == tiles[now[f]][same]).all(axis=1)
        return np.asarray(own[alike])

    def _visit_joined(self, picks: Sequence[Ints]) -> tuple[float, Ints]:
        """As ``_visit``, where few combinations are legal (``joining``)."""
        self.tick()
        if self.joiner is None:
            self.joiner = Joiner(self.tables, self.weights, self.goal, self.least(1))
        known = self.values[0] if len(self.values) else np.inf
        choices, value = self.joiner.join(picks, known)
        self.state.valued += len(value)
        if not len(value):
            return np.inf, self.pool[:0]
        best = int(value.argmin())
        worst = self.values[-1] if len(self.values) == KEPT else np.inf
        flat = np.flatnonzero(value < worst)
        if len(flat):
            flat = flat[np.argsort(value[flat], kind="stable")][:KEPT]
            self._keep(choices[flat], value[flat])
        return float(value[best]), choices[best]

    # -- the end -----------------------------------------------------------------------------------

    def _time(self) -> None:
        """Time the best few in full: those first that come out best where the first words are
        waited for, of which the bounds know nothing.
        """
        tables, nest, state = self.tables, self.tables.skeleton, self.state
        machine = Skeleton(nest.problem, self.weights.arch, nest.keep, nest.loops, nest.fused)
        low = self.blocks.few(self.pool)
        bounds = np.asarray(self.goal.of(low), np.float64)
        late = low | {"cycles": low["cycles"] + self._first_words()}
        guess = np.asarray(self.goal.of(late), np.float64)
        waiting = list(np.lexsort((low["dram"], low["energy"], late["cycles"], guess)))
        timed = 0
        while waiting:
            self.tick()
            i = waiting[0]
            tiles = tables.tile_row(self.pool[i])
            mapping = machine.mapping_with(tiles)
            values = {m: float(v[i]) for m, v in low.items()}
            one = _Timed.of(self.goal, values, mapping, tiles)
            if state.best is None or one.better(state.best):
                if timed == TIMED or (
                    timed >= SOME and state.best is not None and guess[i] > state.best.value * NEAR
                ):
                    break
                timed += 1
                measures = self._in_full(machine, mapping, values)
                if measures is None:  # it has no time, and keeps its bound
                    state.rest = min(state.rest, float(bounds[i]))
                else:
                    one = _Timed.of(self.goal, measures, mapping, tiles)
                    state.best = one if state.best is None or one.better(state.best) else state.best
            waiting.pop(0)
        state.timed += timed
        state.rest = min([state.rest, *[float(bounds[i]) for i in waiting]])
        if len(self.values) == KEPT:
            state.rest = min(state.rest, float(self.values[-1]))
        if not self.whole:
            array = machine.arch.array
            state.rest = min(state.rest, self.floor(array.rows * array.cols))

    def _first_words(self) -> Floats:
        """Cycles that the first tile of every operand and the last of sums take over the ports
        outside the PEs, of the pool's mappings.
        """
        tables, arch = self.tables, self.weights.arch
        nest, use = tables.skeleton, self.blocks.usage(self.pool)
        cycles = np.zeros(len(self.pool))
        for column, (level, tensor) in enumerate(tables.stores, 2):
            above = [i for i in nest.keepers(tensor) if i < level]
            outside = arch.levels[arch.level_names[above[-1]]] if above else None
            if outside is None or not outside.port_bits or level == arch.level_in_pe:
                continue
            clock = arch.clock_mhz / (outside.port_clock_mhz or arch.clock_mhz)
            bits = getattr(arch.bits, tensor)
            cycles += use[:, column] * bits / outside.port_bits * clock
        return cycles

    def _in_full(
        self, machine: Skeleton, mapping: Mapping, low: dict[str, float]
    ) -> dict[str, float] | None:
        """The measures of a mapping whose bounds are ``low``; None where it has more steps than the
        engines time."""
        nest = Nest(machine.problem, machine.arch, mapping)
        try:
            if not self.tables.exact:
                return full_measures(nest)
            check_work(nest)
            cycles = _cycles(nest)
        except MappingError:
            return None
        return low | {
            "cycles": cycles,
            "energy": low["energy"] + self.weights.static * (cycles - low["cycles"]),
        }

    def floor(self, pes: float) -> float:
        """What no mapping is below that has work for so many PEs at most: every word crosses each
        boundary once, and every MAC has its operands.
        """
        low = self.least(pes)
        return float(self.goal.of(low)) * (1 - EQUAL)

    def least(self, pes: float) -> dict[str, float]:
        """The measures of ``floor``."""
        whole, arch = self.tables.skeleton, self.weights.arch
        nest = Skeleton(
            whole.problem, arch, whole.keep, whole.loops, whole.fused, self.tables.final(0)
        )
        moves = {}
        for b in nest.boundaries:
            once: float = words_used(nest.problem, b.tensor)
            macs = self.tables.of_macs.get(b, once)
            read = macs if b.parent == nest.levels - 1 else once
            moves[b] = moved.Moved(taken=macs, read=read, drained=macs, arrived=read)
        cycles = int(-(-nest.problem.macs // max(pes, 1)))
        return {
            "energy": priced(nest, moves, cycles),
            "cycles": cycles,
            "dram": outermost_bits(nest, moves),
        }


def _with_rule(
    problem: Problem, arch: Architecture, ruled: Mapping | None, goal: Objective, state: _State
) -> bool:
    """Let the fixed rule's mapping be the best where it is; whether it is."""
    if ruled is None:
        return False
    nest = Nest(problem, arch, ruled)
    if state.best is not None:
        low = full_measures(nest, alone=True)
        if not _Timed.of(goal, low, ruled, LAST).better(state.best):
            return False
    try:
        one = _Timed.of(goal, full_measures(nest), ruled, LAST)
    except MappingError:
        return False
    state.timed += 1
    if state.best is not None and not one.better(state.best):
        return False
    state.best = one
    return True


@dataclass(frozen=True)
class _Timed:
    """A mapping with its measures, and what decides between equal ones."""

    value: float
    measures: dict[str, float]
    mapping: Mapping
    ties: tuple[Any, ...]

    @classmethod
    def of(
        cls, goal: Objective, measures: dict[str, float], mapping: Mapping, tiles: tuple[int, ...]
    ) -> _Timed:
        ties = [measures[m] for m in ("cycles", "energy", "dram")]
        return cls(float(goal.of(measures)), measures, mapping, (*ties, len(mapping.loops), tiles))

    def better(self, other: _Timed) -> bool:
        """Whether its objective is less; of equal ones whether it has fewer cycles, then less
        energy, fewer bits, fewer loops, smaller tiles."""
        if abs(self.value - other.value) > EQUAL * max(self.value, other.value):
            return self.value < other.value
        for a, b in zip(self.ties[:3], other.ties[:3], strict=True):
            if abs(a - b) > EQUAL * max(a, b):
                return bool(a < b)
        return bool(self.ties[3:] < other.ties[3:])


def full_measures(nest: Nest, *, alone: bool = False) -> dict[str, float]:
    """Energy, cycles and dram of a nest by the analytic engine; ``alone``: with memory never waited
    for, which is no more.  Raises MappingError where the engine refuses the nest.
    """
    if not alone:
        check_work(nest)
    moves = analytic.moves(nest)
    cycles = array_time(nest).cycles if alone else analytic.time(nest, moves).cycles
    energy = priced(nest, moves, cycles)
    return {"energy": energy, "cycles": cycles, "dram": float(outermost_bits(nest, moves))}


def _cycles(nest: Nest) -> float:
    """Cycles of a nest in full."""
    if not limited(nest.arch):
        return float(array_time(nest).cycles)
    return float(analytic.time(nest, analytic.moves(nest)).cycles)


def _rule(problem: Problem, arch: Architecture, flow: Dataflow) -> Mapping | None:
    """What the fixed rule maps, or None."""
    try:
        return choose(problem, arch, flow)
    except MappingError:
        return None


__all__ = ["Quick", "full_measures", "layer_tables", "quick_mapping"]
