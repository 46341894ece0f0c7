"""The best mapping of a layer in milliseconds: what ``simulate`` and sweeps give unless told else.

``quick_mapping`` takes a problem, an architecture, a dataflow and an objective.  In order:

1. ``quick_tables`` counts every choice of every family's tiles, once a layer for all machines of a
   structure; ``quick_weights`` says what one machine makes of the counts.
2. ``joining`` values combinations of choices in compiled loops: energy and DRAM traffic are exact,
   cycles a lower bound (``lower_cycles``).  A space of at most EXHAUSTIVE combinations is valued
   whole, one of at most TRIED where that takes few looks; a larger one by descent from the fixed
   rule's choices and from the least, until nothing near is better.
3. The best few are timed in full: first those that should come to least, by their bounds and what
   they wait for (``quick_measures.Waits``), and as many times that as timing told of their like
   (``_Told``).  Where the whole space was valued and nothing left has a lower bound, that is a
   proof; else the bound is what every mapping must do.

The fixed rule's mapping is always among those timed, so nothing is worse than it.  Effort is
counted in candidates: the same call gives the same mapping wherever and however often it is made.
Of equal values the one with fewer cycles is chosen, then less energy, less DRAM traffic, fewer
loops, and last by its tiles.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from math import prod
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import analytic, moved
from accelsim.engines.analytic.array_time import array_time, sides_told
from accelsim.engines.analytic.pipeline import first_fills, least_cycles
from accelsim.hardware.architecture import Architecture, limited, structure
from accelsim.hardware.ports import rates
from accelsim.mapper.certificate import EQUAL, gap_of
from accelsim.mapper.closed_cycles import priced
from accelsim.mapper.deadline import in_time
from accelsim.mapper.joining import BestPool, Joiner
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_measures import ChoiceMeasures
from accelsim.mapper.quick_tables import PASSES, STEPS, LayerTables
from accelsim.mapper.quick_weights import MachineWeights, outermost_bits
from accelsim.mapper.rules_ahead import RuleMapping, rule_of
from accelsim.mapper.space import under
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import check_work
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.mapping.skeleton import Kept, Skeleton
from accelsim.workload.problem import Problem

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
EXHAUSTIVE = 1 << 23  # combinations that are valued one and all
PAIR = 1 << 16  # combinations of two families' choices that a step of a descent values
LOOKED = 1 << 18  # blocks and choices that a descent looks at
TRIED = 1 << 25  # combinations that are valued one and all if
SOON = 1 << 17  # so many looks do, as most can be passed over unseen
LONG = 1 << 14, 1 << 18  # passes and steps of a mapping that is timed only if no shorter one is
KEPT = 64  # of the best, how many are looked at more closely
TIMED = 8  # and of these timed in full,
SMALL = 1 << 13  # MACs of a layer that is timed in no time: all that are kept
LIKELY = 192  # combinations remembered for the next machine besides those
NEAR = 0.99  # after the first only those that should come to so much of the best or less
FAR = 1.5  # how far tiles are apart that say nothing of each other: the sum of log ratios
MOST_TIMED = 1 << 16  # mappings whose cycles are kept
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

    rule, state, stopped = rule_of(problem, arch, flow), _State(), None
    if rule is not None and rule.least is not None:
        state.rule = float(goal.of(rule.least))
    try:
        _search(layer_tables(problem, arch, flow), arch, goal, tick, state, rule)
    except TimeoutError:
        stopped, state.rest = "limit", 0.0
    except MappingError:  # no line if all loops make trips; the rule's may leave some out
        if rule is None:
            raise
        state.rest = 0.0
    of_rule = rule is not None and _with_rule(problem, arch, rule, goal, state)
    if state.best is None:
        full_measures(Nest(problem, arch, choose(problem, arch, flow)))  # says why
        raise MappingError(
            "no mapping was found within the limit" if stopped
            else f"no mapping under {flow.name} is legal on {arch.name}"
        )  # fmt: skip
    best = state.best
    assert best.mapping is not None
    return Quick(
        best.mapping(), best.measures, best.value, min(best.value, state.rest),
        state.space, state.valued, state.timed, of_rule, stopped,
    )  # fmt: skip


def _search(
    tables: LayerTables,
    arch: Architecture,
    goal: Objective,
    tick: Callable[[], None],
    state: _State,
    rule: RuleMapping | None,
) -> None:
    """The search of a layer's tables; and of those of skeletons without some of its loops, where
    these may have something better.
    """
    tick()
    search = _QuickSearch(tables, arch, goal, tick, state)
    state.weights = search.weights
    search.run(rule)
    if state.best is None and search.too_small():
        return
    for absent, (rows, cols) in tables.others.items():
        most = min(rows, arch.array.rows) * min(cols, arch.array.cols)
        if state.best is None or search.floor(most) < state.best.value:
            _QuickSearch(tables.without(absent), arch, goal, tick, state).run(None)


# -- tables that machines share --------------------------------------------------------------------

_tables: OrderedDict[Any, LayerTables] = OrderedDict()
_lock = Lock()
# by the form of loops, how fast memory is, the array's sides where time hangs on them, and tiles
_timed: Kept[float] = Kept(MOST_TIMED)


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
    """What is known so far: the best; what no mapping that was not timed is below, ``rest``; what
    the rule's is not below, if that was walked ahead or its tiles are among the choices; and the
    machine's ``weights``.
    """

    best: _Timed | None = None
    rest: float = np.inf
    rule: float = 0.0
    weights: MachineWeights | None = None
    space: int = 0
    valued: int = 0
    timed: int = 0


class _QuickSearch:
    """One layer on one machine, over the tiles of some tables.

    ``pool``   the best combinations of choices so far, by their bounds
    ``every``  of each family the choices that may fit;  ``whole`` whether all combinations of
               them were valued
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
        self.closely = ChoiceMeasures(tables, self.weights)
        self.pool = BestPool.empty(KEPT, len(tables.families))
        self.every = self._fitting()
        self.whole = True

    def run(self, rule: RuleMapping | None) -> None:
        """Value the whole space, or descend into it from the rule's choices and from the least;
        then time the best.
        """
        self.state.space += self.tables.space
        if not self.every:  # a layer of one MAC
            self.pool.values[0] = 0.0
        elif all(len(x) for x in self.every):
            self.joiner = Joiner(self.tables, self.weights, self.goal)
            self.whole = self._every_combination()
            ahead = self.state.rule > 0
            near = [] if rule is None or (ahead and self.whole) else [self._near(rule)]
            if not self.whole:
                for start in (*near, self._least()):
                    self._descend(start)
            for choices in near:
                if not ahead and self.tables.exact and self._is(choices, rule):
                    self.state.rule = float(self.goal.of(self.closely.of(choices[None, :]))[0])
        self._time()

    def _every_combination(self) -> bool:
        """Value the whole space, unless it is too large; whether that was done.

        What was best on the last machines that asked these tables is a good beginning on this one:
        as many as are kept are known not to come to more than some value, and no choice that does
        need be looked at.  What is kept is the same without; but not how soon all is done, so a
        space that is only tried begins with nothing.
        """
        families, key = len(self.every), self.goal.powers
        space = prod(len(x) for x in self.every)
        if space > EXHAUSTIVE:
            return space <= TRIED and self._tried(space)
        before = self.tables.likely.get(key, np.zeros((0, families), np.int64))
        most = self._enough(before)
        self.pool.values[:] = most
        self.joiner.join(self.every, self.pool, None, self.tick)
        if most < np.inf and self.pool.rows[-1, 0] < 0:  # something was off by more than EQUAL
            self.pool = BestPool.empty(KEPT, families)
            self.joiner.join(self.every, self.pool, None, self.tick)
        self.state.valued += space
        rows = self.pool.rows[np.isfinite(self.pool.values)]
        mine = {row.tobytes() for row in rows}
        others = [row.tobytes() not in mine for row in before[:LIKELY]]
        self.tables.likely.keep(key, np.vstack([rows, before[:LIKELY][others]]))
        return True

    def _tried(self, space: int) -> bool:
        """Value a space of so many combinations if few looks do; whether they did."""
        looked = self.joiner.join(self.every, self.pool, SOON, self.tick)
        done = looked < SOON
        self.state.valued += space if done else looked
        if not done:
            self.pool = BestPool.empty(KEPT, len(self.every))
        return done

    def _enough(self, rows: Ints) -> float:
        """What at least KEPT of these combinations do not come to more than, by the bounds they are
        ranked by, and a little for how those are summed; inf if fewer of them fit.
        """
        if len(rows) < KEPT:
            return np.inf
        usage = self.closely.usage(rows)
        fits = self.closely.fits(rows, usage)
        if np.count_nonzero(fits) < KEPT:
            return np.inf
        low, more = self.closely.of(rows[fits]), usage[fits] @ self.weights.first
        late = low | {
            "cycles": low["cycles"] + more, "energy": low["energy"] + self.weights.static * more
        }  # fmt: skip
        return float(np.sort(self.goal.of(late))[KEPT - 1]) * (1 + EQUAL)

    def too_small(self) -> bool:
        """Whether some level has no room even for a word of each tensor it keeps, whatever the
        tiles: sums as wide as they are under the choices that leave fewest unfinished.
        """
        least = 0
        for bits in self.tables.unfinished:
            least |= int(np.bitwise_and.reduce(bits)) if len(bits) else 0
        words = np.ones(len(self.tables.whole))
        return any(limit.used(words) > limit.most for limit in self.weights.limits_of(least))

    def _fitting(self) -> list[Ints]:
        """Without the choices that overflow with the least of all other families; until none does,
        for what is left out may have been another's least.
        """
        tables, limits = self.tables, self.weights.limits_of(0)  # sums are narrowest where final
        every = [np.arange(len(t)) for t in tables.tiles]
        if not all(len(x) for x in every):
            return every
        kept = []
        for f in range(len(every)):
            fits = np.ones(len(every[f]), bool)
            for limit, used in zip(limits, tables.least_used(f, limits), strict=True):
                fits &= used <= limit.most
            kept.append(np.flatnonzero(fits))
        while [len(x) for x in kept] != [len(x) for x in every]:
            every, kept = kept, []
            if not all(len(x) for x in every):
                break
            least = [u[x].min(axis=0) for u, x in zip(tables.usage, every, strict=True)]
            for f, x in enumerate(every):
                used = (tables.usage[f][x] * tables.beside(f, least)).T
                fits = np.ones(len(x), bool)
                for limit in limits:
                    fits &= limit.used(used) <= limit.most
                kept.append(x[fits])
        return every

    def _visit(self, pool: BestPool, picks: Sequence[Ints], most: int | None) -> None:
        """Value combinations of these choices, at most so many, and keep the best in a pool."""
        if most is None or most > 0:
            self.state.valued += self.joiner.join(picks, pool, most, self.tick)

    # -- descent -----------------------------------------------------------------------------------

    def _least(self) -> Ints:
        """The choices that use least."""
        each = zip(self.tables.usage, self.every, strict=True)
        return np.array([x[u[x].prod(axis=1).argmin()] for u, x in each])

    def _near(self, rule: RuleMapping) -> Ints:
        """The choices nearest to the fixed rule's."""
        wanted, start = self._tiles_of(rule), []
        for own, tiles, x in zip(wanted, self.tables.tiles, self.every, strict=True):
            start.append(x[np.abs(np.log(tiles[x] / own)).sum(axis=1).argmin()])
        return np.array(start)

    def _is(self, choices: Ints, rule: RuleMapping | None) -> bool:
        """Whether these choices are the rule's tiles."""
        kinds = tuple([k[at] for k, at in zip(self.tables.kinds, choices, strict=True)])
        return (
            rule is not None
            and bool(self.tables.covered[kinds])
            and all(
                np.array_equal(tiles[at], own)
                for tiles, at, own in zip(
                    self.tables.tiles, choices, self._tiles_of(rule), strict=True
                )
            )
        )

    def _tiles_of(self, rule: RuleMapping) -> list[Ints]:
        """The rule's tiles, family by family."""
        nest = self.tables.skeleton
        tile = dict(zip(rule.skeleton.loops, rule.tiles, strict=True))
        return [np.array([tile[nest.loops[i]] for i in f.loops]) for f in nest.families]

    def _descend(self, now: Ints) -> None:
        """The best of what is near, until nothing near is better.

        Near are all tiles that leave the outermost level's as they are; all that leave those inside
        the buffers as they are; and the choices of two families, or of one that has too many, the
        others fixed.
        """
        pool, many = BestPool.empty(KEPT, len(now)), range(len(now))
        sizes = [len(x) for x in self.every]
        steps: list[Any] = ["inside", "outside"]
        steps += [(f,) for f in many if all(sizes[f] * sizes[g] > PAIR for g in many if g != f)]
        steps += [p for p in combinations(many, 2) if sizes[p[0]] * sizes[p[1]] <= PAIR]
        idle, most = 0, self.state.valued + LOOKED
        while idle < len(steps):
            for step in steps:
                if isinstance(step, str):
                    picks = [self._alike(f, now, step) for f in many]
                else:
                    picks = [self.every[f] if f in step else now[f : f + 1] for f in many]
                before = pool.values[0]
                self._visit(pool, picks, most - self.state.valued)
                if pool.values[0] < before * (1 - EQUAL):
                    now, idle = pool.rows[0].copy(), 0
                idle += 1
                if idle >= len(steps):
                    break
        self.pool.add(pool)

    def _alike(self, f: int, now: Ints, step: str) -> Ints:
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

    # -- the end -----------------------------------------------------------------------------------

    def _time(self) -> None:
        """Time the best few in full: those first that should come to least, and after these what
        should come to clearly less.
        """
        nest, state = self.tables.skeleton, self.state
        machine = nest.on(self.weights.arch)
        there = int(np.isfinite(self.pool.values).sum())
        rows = self.pool.rows[:there]
        usage = self.closely.usage(rows)
        low, late = self.closely.expected(rows, usage)
        bounds = np.asarray(self.goal.of(low), np.float64)
        guess = np.asarray(self.goal.of(late), np.float64)
        long = np.asarray(np.any(usage[:, [PASSES, STEPS]] > np.array(LONG), axis=1))
        long &= limited(machine.arch)
        loops = np.zeros(len(rows), np.int64)
        for t, at in zip(self.tables.trips, rows.T, strict=True):
            loops += (t[at] > 1).sum(axis=1)
        near_equal = map(_rounded, (low["dram"], low["energy"], late["cycles"], guess))
        order = np.lexsort((*rows.T[::-1], loops, *near_equal, long))
        small = nest.problem.macs <= SMALL
        # of an ifmap that is summed up, pairs on padding are counted that never arrive
        sure = self.tables.exact or nest.problem.accumulated != "ifmap"
        timed, most = 0, KEPT if small else TIMED
        first = usage @ self.weights.first
        alike = np.unique(_rounded(guess * (low["cycles"] + first)), return_inverse=True)[1]
        each = zip(self.tables.tiles, rows.T, strict=True)
        told = _Told(np.hstack([tiles[at] for tiles, at in each]), alike)
        for i in order.tolist():
            self.tick()
            rival = state.best if sure else None
            if rival is not None and bounds[i] * (1 - 2 * EQUAL) > rival.value:  # most end here
                continue
            measures = {m: float(v[i]) for m, v in low.items()}
            if rival is not None and not self._may_be_better(
                rival, float(bounds[i]), rows[i], measures
            ):
                continue
            value = np.inf if state.best is None else state.best.value
            near = small or guess[i] * told.expected(i) <= value * NEAR
            one = None
            if (near or not timed) and timed < most and (state.best is None or not long[i]):
                timed += 1
                one = self._in_full(machine, rows[i], measures)
            if one is None:  # it has no time, or was not timed, and keeps its bound
                state.rest = min(state.rest, float(bounds[i]))
                continue
            told.tell(i, one.value / float(guess[i]))
            if state.best is None or one.better(state.best):
                state.best = one
        state.timed += timed
        state.rest = min([state.rest, float(self.pool.lost[0]), float(self.pool.values[-1])])
        if not (self.whole and sure):
            array = machine.arch.array
            state.rest = min(state.rest, self.floor(array.rows * array.cols))

    def _may_be_better(
        self, best: _Timed, value: float, choices: Ints, low: dict[str, float]
    ) -> bool:
        """Whether a combination would be chosen, did it come to its bounds: ``low``, whose
        objective is ``value``.
        """
        if abs(value - best.value) > EQUAL * max(value, best.value):
            return value < best.value
        tiles, loops = self.tables.tile_row(choices), self.tables.loops_of(choices)
        return _Timed.of(self.goal, low, None, loops, tiles).better(best)

    def _in_full(self, machine: Skeleton, choices: Ints, low: dict[str, float]) -> _Timed | None:
        """A mapping with its measures, whose bounds are ``low``; None where it has more steps than
        the engines time.
        """
        tables = self.tables
        tiles, loops = tables.tile_row(choices), tables.loops_of(choices)
        mapping = cache(partial(machine.mapping_with, tiles))  # made where it is wanted

        key = machine.form.token, rates(machine.arch), sides_told(machine), tiles
        try:
            cycles = _timed.of(key, lambda: self._cycles(machine, mapping(), choices))
        except MappingError:
            return None
        if not tables.exact:
            nest = Nest(machine.problem, machine.arch, mapping())
            measures = _measures(nest, analytic.moves(nest), int(cycles))
            return _Timed.of(self.goal, measures, mapping, loops, tiles)
        energy = low["energy"] + self.weights.static * (cycles - low["cycles"])
        measures = low | {"cycles": cycles, "energy": energy}
        return _Timed.of(self.goal, measures, mapping, loops, tiles)

    def _cycles(self, machine: Skeleton, mapping: Mapping, choices: Ints) -> float:
        """Cycles of a mapping with the tiles of these choices, in full."""
        nest = Nest(machine.problem, machine.arch, mapping)
        check_work(nest)
        if not limited(nest.arch):
            return float(array_time(nest).cycles)
        exact = self.tables.exact
        moves = self.tables.moves_of(choices, nest) if exact else analytic.moves(nest)
        return float(analytic.time(nest, moves).cycles)

    def floor(self, pes: float) -> float:
        """What no mapping is below that has work for so many PEs at most."""
        return float(self.goal.of(self.weights.least(pes))) * (1 - EQUAL)


def _with_rule(
    problem: Problem, arch: Architecture, rule: RuleMapping, goal: Objective, state: _State
) -> bool:
    """Let the fixed rule's mapping be the best where it is; whether it is."""
    if state.best is not None and state.rule > state.best.value * (1 + 2 * EQUAL):
        return False
    mapping = rule.skeleton.mapping_with_trips(rule.tiles, rule.trips)

    def timed(cycles: int) -> _Timed:
        loops = len(mapping.loops)
        return _Timed.of(goal, _measures(nest, moves, cycles), lambda: mapping, loops, LAST)

    try:
        nest = Nest(problem, arch, mapping)  # as large as it may be: so it would run by itself
        alone, pes = array_time(nest), arch.array.rows * arch.array.cols
        rival = state.best if rule.least is None else None  # told ahead, its bounds did not lose
        if rival is not None and state.weights is not None:  # what words cost at the least
            value = float(goal.of(state.weights.least(pes, alone.cycles)))
            if value * (1 - EQUAL) > rival.value * (1 + 2 * EQUAL):
                return False
        moves = analytic.moves(nest)
        if rival is not None:
            least = least_cycles(nest, moves, alone)
            late = max(least, first_fills(nest) + alone.cycles)
            if not timed(least).better(rival) or not timed(late).better(rival):
                return False
        one = timed(analytic.time(nest, moves).cycles)
    except MappingError:
        return False
    state.timed += 1
    if state.best is not None and not one.better(state.best):
        return False
    state.best = one
    return True


class _Told:
    """What timing tells of a guess: how many times its guess each mapping came to.  The same is
    expected of mappings with nearly the same tiles, which wait for the same.

    ``tiles``  of all [mappings, loops], their logarithms;  ``alike`` [mappings] a number, the same
               where guesses are
    """

    def __init__(self, tiles: Ints, alike: Ints) -> None:
        self.tiles, self.alike = np.log(tiles), alike
        self.timed: list[int] = []
        self.times: list[float] = []

    def tell(self, i: int, times: float) -> None:
        """A mapping came to so many times its guess."""
        self.timed.append(i)
        self.times.append(times)

    def expected(self, i: int) -> float:
        """How many times its guess a mapping should come to: what the one with the nearest tiles
        did, the less so the further off these are.
        """
        if not self.timed:
            return 1.0
        apart = np.abs(self.tiles[self.timed] - self.tiles[i]).sum(axis=1)
        apart[self.alike[self.timed] == self.alike[i]] = 0.0
        at = int(apart.argmin())
        return float(self.times[at] ** max(0.0, 1.0 - float(apart[at]) / FAR))


@dataclass(frozen=True)
class _Timed:
    """A mapping with its measures, and what decides between equal ones."""

    value: float
    measures: dict[str, float]
    mapping: Callable[[], Mapping] | None
    ties: tuple[Any, ...]

    @classmethod
    def of(
        cls,
        goal: Objective,
        measures: dict[str, float],
        mapping: Callable[[], Mapping] | None,
        loops: int,
        tiles: tuple[int, ...],
    ) -> _Timed:
        """``loops`` make more than one trip; without a ``mapping`` it only stands beside others."""
        ties = [measures[m] for m in ("cycles", "energy", "dram")]
        return cls(float(goal.of(measures)), measures, mapping, (*ties, loops, tiles))

    def better(self, other: _Timed) -> bool:
        """Whether its objective is less; of equal ones whether it has fewer cycles, then less
        energy, fewer bits, fewer loops, smaller tiles."""
        if abs(self.value - other.value) > EQUAL * max(self.value, other.value):
            return self.value < other.value
        for a, b in zip(self.ties[:3], other.ties[:3], strict=True):
            if abs(a - b) > EQUAL * max(a, b):
                return bool(a < b)
        return bool(self.ties[3:] < other.ties[3:])


def full_measures(nest: Nest) -> dict[str, float]:
    """Energy, cycles and dram of a nest by the analytic engine.  Raises MappingError where the
    engine refuses the nest.
    """
    check_work(nest)
    moves = analytic.moves(nest)
    return _measures(nest, moves, analytic.time(nest, moves).cycles)


def _rounded(values: Floats) -> Floats:
    """Values to nine digits or ten: what sums tell apart by chance alone is equal."""
    part, power = np.frexp(values)
    return np.asarray(np.ldexp(np.round(part, 10), power))


def _measures(nest: Nest, moves: moved.Moves, cycles: int) -> dict[str, float]:
    """Energy, cycles and dram of what moves in so many cycles."""
    energy = priced(nest, moves, cycles)
    return {"energy": energy, "cycles": cycles, "dram": float(outermost_bits(nest, moves))}


__all__ = ["Quick", "full_measures", "layer_tables", "quick_mapping"]
