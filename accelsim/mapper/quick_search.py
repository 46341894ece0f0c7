"""The best mapping of a layer in milliseconds: what ``simulate`` and sweeps give unless told else.

``quick_mapping`` takes a problem, an architecture, a dataflow and an objective.  In order:

1. ``quick_tables`` counts every choice of every family's tiles, once a layer for all machines of a
   structure; ``quick_weights`` says what one machine makes of the counts.
2. ``_Blocks`` values combinations of choices as arrays: energy and DRAM traffic are exact, cycles
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
from accelsim.hardware.architecture import Architecture, remembered
from accelsim.hardware.ports import limited, structure
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_tables import Joint, LayerTables
from accelsim.mapper.quick_weights import MachineWeights, Weights, outermost_bits
from accelsim.mapper.space import under
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import check_work
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.mapping.skeleton import Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
EXHAUSTIVE = 1 << 19  # combinations that are valued one and all
PAIR = 1 << 15  # combinations of two families' choices that a step of a descent values
STARTS = 3
KEPT = 64  # of the best, how many are looked at more closely
TIMED = 12  # and of these timed in full
AT_ONCE = 1 << 16  # combinations that lie in memory together
TABLES = 128  # layers whose tables are kept
EQUAL = 1e-9  # relative; what float64 sums of products may be off by, with room


@dataclass(frozen=True)
class Quick:
    """The chosen mapping and what is known of it.

    ``measures``  energy, cycles and dram of the mapping, by the analytic engine
    ``value``     the objective of these; no mapping of the space is below ``bound``
    ``space``     combinations of choices; ``valued`` of them by bounds, ``timed`` in full
    ``rule``      whether it is the fixed rule's
    """

    mapping: Mapping
    measures: dict[str, float]
    value: float
    bound: float
    space: int
    valued: int
    timed: int
    rule: bool

    @property
    def gap(self) -> float:
        """(value - bound) / value, 0 where the best is proved."""
        proved = self.bound >= self.value * (1 - EQUAL)
        return 0.0 if proved else (self.value - self.bound) / self.value


def quick_mapping(
    problem: Problem,
    arch: Architecture,
    flow: Dataflow,
    goal: Objective,
    tick: Callable[[], None] = lambda: None,
) -> Quick:
    """The best mapping found, see the head of this page; ``tick`` is called now and then, and may
    raise.

    Raises MappingError naming the constraint where no mapping is legal.
    """
    tables = layer_tables(problem, arch, flow)
    tick()
    search = _QuickSearch(tables, MachineWeights(tables, arch), goal, tick)
    ruled = _rule(problem, arch, flow)
    search.value(ruled)
    return search.chosen(ruled)


# -- tables that machines share --------------------------------------------------------------------

_tables: OrderedDict[Any, LayerTables] = OrderedDict()
_lock = Lock()
_structure = remembered(structure)


def layer_tables(problem: Problem, arch: Architecture, flow: Dataflow) -> LayerTables:
    """The tables of a layer; kept, as the next machine will ask for them."""
    key = (problem, flow, _structure(arch), arch.array.rows, arch.array.cols)
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


# -- valuing combinations --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """Combinations of some families' choices, as they enter products.

    ``rows`` [combinations, families], ``terms`` [combinations, terms], ``use`` [combinations,
    usage columns], ``bits`` and ``kind`` [combinations]; ``tied`` [combinations, joints] is which
    tiles a factor of two families finds on this side, where the other family is on the other.
    """

    rows: Ints
    terms: Floats
    use: Floats
    bits: Ints
    kind: Ints
    tied: Ints


class _Blocks:
    """Values all combinations of some choices of every family, a block at a time.

    Families are on two ``sides``: left those that decide where sums are final, and filters, on
    whose tiles the factors of outputs depend; right all others.  What is left then picks weights
    and tables, and a block is one matrix product.
    """

    def __init__(self, tables: LayerTables, weights: MachineWeights, goal: Objective) -> None:
        self.tables, self.weights, self.goal = tables, weights, goal
        self.joints = [*tables.slides, *tables.usage_slides]
        filters = {j.filter for j in self.joints}
        many = len(tables.families)
        left = [f for f in range(many) if f in filters or tables.unfinished[f].any()]
        self.sides = (left, [f for f in range(many) if f not in left])
        self.order = [*left, *self.sides[1]]
        shape = tables.covered.shape
        self.covered = tables.covered.transpose(self.order).reshape(
            prod(shape[f] for f in left), -1
        )

    def of(self, picks: Sequence[Ints]) -> Any:
        """For every block of the combinations of ``picks`` [choices] of each family: values, with
        inf where one is not legal [left, right], and the choices of either side."""
        left, right = (self._side(s, picks) for s in self.sides)
        kinds, which = _alike(np.column_stack([left.bits, left.tied]))
        for k in range(len(kinds)):
            own = np.flatnonzero(which == k)
            weights = self.weights.of(int(left.bits[own[0]]))
            terms, use = self._joined(right, left.tied[own[0]])
            wide = max(min(len(terms), AT_ONCE // 8), 1)
            for b in range(0, len(terms), wide):
                high = max(AT_ONCE // wide, 1)
                for a in range(0, len(own), high):
                    rows, columns = own[a : a + high], slice(b, b + wide)
                    value = self._block(weights, left, rows, terms[columns], use[columns],
                                        right.kind[columns])  # fmt: skip
                    yield value, left.rows[rows], right.rows[columns]

    def _block(
        self, weights: Weights, left: _Side, rows: Ints, terms: Floats, use: Floats, kind: Ints
    ) -> Floats:
        legal = self.covered[left.kind[rows][:, None], kind[None, :]]
        own = left.use[rows]
        for limit in weights.limits:
            used = {c: own[:, c, None] * use[None, :, c] for c, *_ in limit.parts}
            legal = legal & (limit.used(used) <= limit.most)
        value = np.full(legal.shape, np.inf)
        keep, there = np.flatnonzero(legal.any(axis=1)), np.flatnonzero(legal.any(axis=0))
        if not len(keep):
            return value
        right = terms[there].T
        forms = [
            (left.terms[rows[keep]] * w) @ right + c
            for w, c in zip(weights.forms, weights.constant, strict=True)
        ]
        values = self.goal.of(self.measures(forms))
        at = np.ix_(keep, there)
        value[at] = np.where(legal[at], values, np.inf)
        return value

    def measures(self, forms: Sequence[Any]) -> dict[str, Any]:
        """Energy, cycles and dram of the forms' values."""
        cycles = forms[2]
        for more in forms[3:]:
            cycles = np.maximum(cycles, more)
        energy = forms[0] + self.weights.static * cycles if self.weights.static else forms[0]
        return {"energy": energy, "cycles": cycles, "dram": forms[1]}

    def few(self, choices: Ints) -> dict[str, Floats]:
        """Measures [combinations] of some combinations [combinations, families], with the closer
        forms of the cycles."""
        t = self.tables
        terms = np.repeat(t.constant[None, :], len(choices), axis=0)
        bits = np.zeros(len(choices), np.int64)
        for f, own in enumerate(t.own):
            terms *= own[choices[:, f]]
            bits |= t.unfinished[f][choices[:, f]]
        for j in t.slides:
            _times(terms, j, j.outer_rows[choices[:, j.outer]], j.filter_rows[choices[:, j.filter]])
        forms = np.zeros((3, len(choices)))
        for b in np.unique(bits):
            at, weights = np.flatnonzero(bits == b), self.weights.of(int(b))
            each = weights.forms @ terms[at].T + weights.constant[:, None]
            closer = weights.closer @ terms[at].T + weights.closer_constant[:, None]
            forms[:2, at], forms[2, at] = each[:2], np.vstack([each[2:], closer]).max(axis=0)
        return self.measures(forms)

    def _side(self, families: list[int], picks: Sequence[Ints]) -> _Side:
        """All combinations of the choices of families on one side."""
        t = self.tables
        grid = [x.ravel() for x in np.meshgrid(*[picks[f] for f in families], indexing="ij")]
        many = len(grid[0]) if grid else 1
        lead = self.sides[0] is families  # the constants are the left side's
        terms = np.repeat((t.constant if lead else np.ones_like(t.constant))[None, :], many, axis=0)
        use = np.repeat((t.whole if lead else np.ones_like(t.whole))[None, :], many, axis=0)
        bits, kind = np.zeros(many, np.int64), np.zeros(many, np.int64)
        for f, rows in zip(families, grid, strict=True):
            terms *= t.own[f][rows]
            use *= t.usage[f][rows]
            bits |= t.unfinished[f][rows]
            kind = kind * t.covered.shape[f] + t.kinds[f][rows]
        place = {f: rows for f, rows in zip(families, grid, strict=True)}
        tied = np.zeros((many, len(self.joints)), np.int64)
        for n, j in enumerate(self.joints):
            outer = place.get(j.outer)
            taps = place.get(j.filter)
            into = terms if n < len(t.slides) else use
            if outer is not None and taps is not None:
                _times(into, j, j.outer_rows[outer], j.filter_rows[taps])
            elif taps is not None:
                tied[:, n] = j.filter_rows[taps]
        rows = np.stack(grid, axis=1) if grid else np.zeros((1, 0), np.int64)
        return _Side(rows, terms, use, bits, kind, tied)

    def _joined(self, right: _Side, tied: Ints) -> tuple[Floats, Floats]:
        """Terms and usage of the right side, with the factors it shares with these tiles of the
        left."""
        terms, use, copied = right.terms, right.use, [False, False]
        for n, j in enumerate(self.joints):
            if j.outer not in self.sides[1]:
                continue
            outs = j.outer_rows[right.rows[:, self.sides[1].index(j.outer)]]
            late = n >= len(self.tables.slides)
            if not copied[late]:
                terms, use = (terms, use.copy()) if late else (terms.copy(), use)
                copied[late] = True
            _times(use if late else terms, j, outs, np.full(len(outs), tied[n]))
        return terms, use


def _times(into: Floats, joint: Joint, outs: Ints, taps: Ints) -> None:
    """Multiply a factor of two families into the columns it belongs to."""
    into[:, joint.terms] *= joint.table[outs, taps][:, joint.columns]


def _alike(table: Ints) -> tuple[Ints, Ints]:
    """Different rows of a table, and which of them each row is."""
    kinds, which = np.unique(table, axis=0, return_inverse=True)
    return kinds, which.reshape(-1)


# -- the search ------------------------------------------------------------------------------------


class _QuickSearch:
    """One layer on one machine.

    ``pool``  [combinations, families] the best so far, with their ``values``, least first
    """

    def __init__(
        self,
        tables: LayerTables,
        weights: MachineWeights,
        goal: Objective,
        tick: Callable[[], None],
    ) -> None:
        self.tables, self.weights, self.goal, self.tick = tables, weights, goal, tick
        self.blocks = _Blocks(tables, weights, goal)
        self.places = np.argsort(self.blocks.order)
        self.pool = np.zeros((0, len(tables.families)), np.int64)
        self.values = np.zeros(0)
        self.valued = 0
        self.whole = tables.space <= EXHAUSTIVE

    def value(self, ruled: Mapping | None) -> None:
        """Value the whole space, or descend into it."""
        every = [np.arange(len(t)) for t in self.tables.tiles]
        if self.whole:
            self._visit(every)
            return
        for start in self._starts(ruled):
            self._descend(start, every)

    def _visit(self, picks: Sequence[Ints]) -> tuple[float, Ints]:
        """Value all combinations of these choices and keep the best; the least value, and its
        choices."""
        best, at = np.inf, self.pool[:0]
        for value, left, right in self.blocks.of(picks):
            self.tick()
            self.valued += value.size
            row, column = divmod(int(value.argmin()), value.shape[1])
            least = float(value[row, column])
            if least < best:
                best, at = least, np.append(left[row], right[column])[self.places]
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
            self._keep(np.hstack([left[rows[0]], right[rows[1]]])[:, self.places], got)
        return best, at

    def _keep(self, rows: Ints, values: Floats) -> None:
        """Put combinations into the pool: those of least value, of equal ones the first choices."""
        rows, values = np.vstack([self.pool, rows]), np.concatenate([self.values, values])
        by = np.lexsort((*rows.T[::-1], values))
        rows, values = rows[by], values[by]
        new = np.append(True, (np.diff(rows, axis=0) != 0).any(axis=1))
        self.pool, self.values = rows[new][:KEPT], values[new][:KEPT]

    # -- descent -----------------------------------------------------------------------------------

    def _starts(self, ruled: Mapping | None) -> list[list[int]]:
        """Choices to begin with: those nearest to the fixed rule's, the least, and some in
        between; always the same."""
        rng = np.random.default_rng(0)
        starts = []
        tables = self.tables
        least = [int(u.prod(axis=1).argmin()) for u in tables.usage]
        rule = list(least)
        if ruled is not None:
            wanted = self._tiles_of(ruled)
            for f, (family, tiles) in enumerate(zip(tables.families, tables.tiles, strict=True)):
                own = np.array([wanted[i] for i in family.loops], float)
                rule[f] = int(np.abs(np.log(tiles / own)).sum(axis=1).argmin())
        starts += [rule, least]
        while len(starts) < STARTS:
            starts.append([int(rng.integers(len(t))) for t in tables.tiles])
        return starts

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
        """The best choices of two families at a time, or of one that has too many, the others
        fixed, until none is better."""
        sizes = [len(x) for x in every]
        many = range(len(sizes))
        steps = [(f,) for f in many if all(sizes[f] * sizes[g] > PAIR for g in many if g != f)]
        steps += [p for p in combinations(many, 2) if sizes[p[0]] * sizes[p[1]] <= PAIR]
        best, idle = np.inf, 0
        while idle < len(steps):
            for step in steps:
                picks = [every[f] if f in step else np.array([now[f]]) for f in many]
                value, at = self._visit(picks)
                if value < best * (1 - EQUAL):
                    best, now, idle = value, at.tolist(), 0
                idle += 1
                if idle >= len(steps):
                    break

    # -- the end -----------------------------------------------------------------------------------

    def chosen(self, ruled: Mapping | None) -> Quick:
        """Time the best few in full, and the fixed rule's mapping beside them."""
        tables, nest = self.tables, self.tables.skeleton
        machine = Skeleton(nest.problem, self.weights.arch, nest.keep, nest.loops, nest.fused)
        low = self.blocks.few(self.pool)
        bounds = np.asarray(self.goal.of(low), np.float64)
        by = np.lexsort((low["dram"], low["energy"], low["cycles"], bounds))
        best: _Timed | None = None
        timed, waiting = 0, list(by)
        while waiting:
            self.tick()
            i = waiting[0]
            tiles = tables.tile_row(self.pool[i])
            mapping = machine.mapping_with(tiles)
            values = {m: float(v[i]) for m, v in low.items()}
            if best is None or _Timed.of(self.goal, values, mapping, tiles).better(best):
                if timed == TIMED:
                    break
                timed += 1
                measures = self._in_full(machine, mapping, values)
                if measures is not None:
                    one = _Timed.of(self.goal, measures, mapping, tiles)
                    best = one if best is None or one.better(best) else best
            elif bounds[i] > best.value * (1 + EQUAL):
                break
            waiting.pop(0)
        best, rule, more = self._beside_rule(ruled, best)
        rest = [float(bounds[i]) for i in waiting]
        rest += [float(self.values[-1])] if len(self.values) == KEPT else []
        bound = min([best.value, *rest])
        if not self.whole or not tables.covered.all():
            bound = min(bound, self._floor(machine))
        return Quick(
            best.mapping, best.measures, best.value, bound, tables.space, self.valued,
            timed + more, rule,
        )  # fmt: skip

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

    def _beside_rule(
        self, ruled: Mapping | None, best: _Timed | None
    ) -> tuple[_Timed, bool, int]:
        """The better of the best and the fixed rule's mapping, whether that is the rule's, and how
        many were timed for it.  Raises MappingError where there is neither."""
        problem, arch = self.tables.skeleton.problem, self.weights.arch
        if ruled is None:
            if best is None:
                raise MappingError(f"no mapping of this layer is legal on {arch.name}")
            return best, False, 0
        nest = Nest(problem, arch, ruled)
        if best is not None:
            low = full_measures(nest, alone=True)
            if not _Timed.of(self.goal, low, ruled, ()).better(best):
                return best, False, 0
        try:
            one = _Timed.of(self.goal, full_measures(nest), ruled, ())
        except MappingError:
            if best is None:
                raise
            return best, False, 0
        return (one, True, 1) if best is None or one.better(best) else (best, False, 1)

    def _floor(self, machine: Skeleton) -> float:
        """What no mapping is below: every word crosses each boundary once, and no step does more
        MACs than there are PEs."""
        nest = Skeleton(
            machine.problem, machine.arch, machine.keep, machine.loops, machine.fused,
            self.tables.final(0),
        )  # fmt: skip
        once = {b: words_used(nest.problem, b.tensor) for b in nest.boundaries}
        moves = {b: moved.Moved(n, n, n, n, 0) for b, n in once.items()}
        array = machine.arch.array
        cycles = -(-nest.problem.macs // (array.rows * array.cols))
        energy = _energy(nest, moves, cycles)
        low = {"energy": energy, "cycles": cycles, "dram": outermost_bits(nest, moves)}
        return float(self.goal.of(low))


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
        return cls(
            float(goal.of(measures)), measures, mapping, (*ties, len(mapping.loops), tiles)
        )

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
    energy = _energy(nest, moves, cycles)
    return {"energy": energy, "cycles": cycles, "dram": float(outermost_bits(nest, moves))}


def _energy(nest: Skeleton, moves: moved.Moves, cycles: int) -> float:
    time_s = cycles / (nest.arch.clock_mhz * 1e6)
    priced = moved.energy(nest, moves, nest.problem.macs, time_s)
    return float(priced[f"energy_{nest.arch.energy.unit}"])


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
