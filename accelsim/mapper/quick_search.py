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
from collections.abc import Callable, Iterator, Sequence
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
from accelsim.mapper.joining import Choices, Measures, join
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_tables import LayerTables
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
Bools = npt.NDArray[np.bool_]
EXHAUSTIVE = 1 << 19  # combinations that are valued one and all
PAIR = 1 << 12  # combinations of two families' choices that a step of a descent values
MOST_JOINED = 1 << 16  # combinations of all families' that are listed
STARTS = 2
KEPT = 64  # of the best, how many are looked at more closely
TIMED = 12  # and of these timed in full
AT_ONCE = 1 << 16  # combinations that lie in memory together
TABLES = 128  # layers whose tables are kept
LAST = (1 << 62,)  # tiles that come after all others
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
    usage columns], ``bits`` and ``kind`` [combinations]; ``tied`` [combinations] is a number for
    the filter tiles that the other side's outputs meet.
    """

    rows: Ints
    terms: Floats
    use: Floats
    bits: Ints
    kind: Ints
    tied: Ints


class _Blocks:
    """Values all combinations of some choices of every family, a block at a time.

    Families are on two sides: left those that decide where sums are final, and filters, on whose
    tiles the factors of outputs depend; the others where it costs least.  What is left then picks
    weights and tables, and a block is one matrix product, over the different columns that the right
    side has.
    """

    def __init__(self, tables: LayerTables, weights: MachineWeights, goal: Objective) -> None:
        self.tables, self.weights, self.goal = tables, weights, goal
        filters = {tie.filter for tie in tables.ties.values()}
        self.many = len(tables.families)
        self.decide = [f for f in range(self.many) if f in filters or tables.unfinished[f].any()]
        self.free = [f for f in range(self.many) if f not in self.decide]
        self.every = bool(tables.covered.all())
        asked = set(goal.measures)
        if "energy" in asked and weights.static:
            asked.add("cycles")
        self.asked = [m in asked for m in ("energy", "dram", "cycles")]
        self._layouts: dict[tuple[int, ...], _Layout] = {}

    def of(self, picks: Sequence[Ints]) -> Iterator[tuple[Floats, Ints, Ints, Ints]]:
        """For every block of the combinations of ``picks`` [choices] of each family: values, with
        inf where one is not legal [left, right]; the choices of either side; and where each family
        is in a row of left, then right.
        """
        layout = self._layout([len(x) for x in picks])
        left, right = self._side(layout.left, picks, lead=True), self._side(layout.right, picks)
        code = left.tied << self.tables.skeleton.levels | left.bits
        for k in np.unique(code):
            own = np.flatnonzero(code == k)
            weights = self.weights.of(int(left.bits[own[0]]))
            terms, use = self._joined(layout, right, left.rows[own[0]])
            forms = self._forms(weights)
            wide = max(min(len(terms), AT_ONCE // 8), 1)
            high = max(AT_ONCE // wide, 1)
            for a in range(0, len(own), high):
                rows = own[a : a + high]
                each = [(left.terms[rows] * w) @ layout.fold for w, _ in forms]
                for b in range(0, len(terms), wide):
                    there = slice(b, b + wide)
                    legal = self._legal(weights, left.use[rows], use[there])
                    if not self.every:
                        kind = left.kind[rows][:, None] + right.kind[None, there]
                        legal &= self.tables.covered.ravel()[kind]
                    value = self._block(each, forms, terms[there], legal)
                    yield value, left.rows[rows], right.rows[there], layout.places

    def _forms(self, weights: Weights) -> list[tuple[Floats, float]]:
        """The forms the objective asks for: energy, dram, and those of the cycles."""
        energy, dram, cycles = self.asked
        used = [energy, dram, *[cycles] * (len(weights.forms) - 2)]
        return [
            (w, float(c)) for w, c, u in zip(weights.forms, weights.constant, used, strict=True) if u
        ]

    def _legal(self, weights: Weights, left: Floats, right: Floats) -> Bools:
        """Which combinations of rows of either side's usage keep all limits [left, right]."""
        legal = np.ones((len(left), len(right)), bool)
        for limit in weights.limits:
            columns = [c for c, *_ in limit.parts]
            if all(unit == 1 and float(each).is_integer() for _, each, unit, _ in limit.parts):
                scale = np.array([each * times for _, each, _, times in limit.parts])
                legal &= (left[:, columns] * scale) @ right[:, columns].T <= limit.most
            else:
                used = {c: left[:, c, None] * right[None, :, c] for c in columns}
                legal &= limit.used(used) <= limit.most
        return legal

    def _block(
        self, each: list[Floats], forms: list[tuple[Floats, float]], right: Floats, legal: Bools
    ) -> Floats:
        """Values [left, right] of the legal ones, inf of the others."""
        value = np.full(legal.shape, np.inf)
        if 8 * np.count_nonzero(legal) < legal.size:
            row, column = np.nonzero(legal)
            there = right[column]
            value[row, column] = self._value(
                [np.einsum("ij,ij->i", x[row], there) + c for x, (_, c) in zip(each, forms, strict=True)]
            )
            return value
        got = self._value([x @ right.T + c for x, (_, c) in zip(each, forms, strict=True)])
        return np.where(legal, got, value)

    def _value(self, forms: list[Floats]) -> Floats:
        """The objective of the forms asked for."""
        energy, dram, cycles = self.asked
        at = iter(forms)
        none = np.zeros(1)
        first = [next(at) if energy else none, next(at) if dram else none]
        return np.asarray(self.goal.of(self.measures([*first, *(at if cycles else [none])])))

    def _layout(self, sizes: list[int]) -> _Layout:
        """The sides that cost least for so many choices of each family."""
        best = min(
            (frozenset(x) for n in range(len(self.free) + 1) for x in combinations(self.free, n)),
            key=lambda more: self._cost(more, sizes),
        )
        key = tuple(sorted(best))
        if key not in self._layouts:
            self._layouts[key] = self._make(key)
        return self._layouts[key]

    def _cost(self, more: frozenset[int], sizes: list[int]) -> float:
        """Numbers that are worked on, about, with these families on the left beside those that must
        be."""
        t = self.tables
        left = prod(sizes[f] for f in range(self.many) if f in more or f in self.decide)
        right = prod(sizes[f] for f in self.free if f not in more)
        across = [tie for tie in t.ties.values() if tie.outer not in self.decide]
        blocks = prod(
            min(tie.terms.shape[1], sizes[tie.filter]) for tie in across if tie.outer not in more
        )
        terms = len(t.constant)
        kinds = len(set(self._classes([f for f in self.free if f not in more])))
        return left * terms * 8.0 + right * terms * 3.0 * blocks + left * right * (kinds / 4 + 8)

    def _classes(self, right: list[int]) -> list[tuple[int, ...]]:
        """Of each term which column every family on the right has for it."""
        t = self.tables
        columns = [t.classes[f] for f in right]
        columns += [tie.classes for tie in t.ties.values() if tie.outer in right]
        return list(zip(*columns, strict=True)) if columns else [()] * len(t.constant)

    def _make(self, more: tuple[int, ...]) -> _Layout:
        left = sorted([*self.decide, *more])
        right = [f for f in self.free if f not in more]
        known: dict[tuple[int, ...], int] = {}
        which = [known.setdefault(c, len(known)) for c in self._classes(right)]
        fold = np.zeros((len(which), len(known)))
        fold[np.arange(len(which)), which] = 1.0
        kinds = np.array([which.index(k) for k in range(len(known))])
        return _Layout(left, right, np.argsort([*left, *right]), fold, kinds)

    def measures(self, forms: Sequence[Any]) -> dict[str, Any]:
        """Energy, cycles and dram of the forms' values."""
        cycles = forms[2]
        for more in forms[3:]:
            cycles = np.maximum(cycles, more)
        energy = forms[0] + self.weights.static * cycles if self.weights.static else forms[0]
        return {"energy": energy, "cycles": cycles, "dram": forms[1]}

    def few(self, choices: Ints, *, closer: bool = True) -> dict[str, Floats]:
        """Measures [combinations] of some combinations [combinations, families]; with the
        ``closer`` forms of the cycles.
        """
        t = self.tables
        terms = np.repeat(t.constant[None, :], len(choices), axis=0)
        bits = np.zeros(len(choices), np.int64)
        for f, own in enumerate(t.own):
            terms *= own[choices[:, f]]
            bits |= t.unfinished[f][choices[:, f]]
        for tie in t.ties.values():
            terms *= tie.terms[choices[:, tie.outer], tie.which[choices[:, tie.filter]]]
        forms = np.zeros((3, len(choices)))
        for b in np.unique(bits):
            at, weights = np.flatnonzero(bits == b), self.weights.of(int(b))
            each = weights.forms @ terms[at].T + weights.constant[:, None]
            forms[:2, at], forms[2, at] = each[:2], each[2:].max(axis=0)
            if closer and len(weights.closer):
                more = weights.closer @ terms[at].T + weights.closer_constant[:, None]
                forms[2, at] = np.maximum(forms[2, at], more.max(axis=0))
        return self.measures(forms)

    def _side(self, families: list[int], picks: Sequence[Ints], *, lead: bool = False) -> _Side:
        """All combinations of the choices of families on one side; the constants are the ``lead``
        side's.
        """
        t = self.tables
        grid = [x.ravel() for x in np.meshgrid(*[picks[f] for f in families], indexing="ij")]
        many = len(grid[0]) if grid else 1
        terms, use = np.empty((many, len(t.constant))), np.empty((many, len(t.whole)))
        terms[:], use[:] = (t.constant, t.whole) if lead else (1.0, 1.0)
        bits, kind = np.zeros(many, np.int64), np.zeros(many, np.int64)
        for f, rows in zip(families, grid, strict=True):
            terms *= t.own[f][rows]
            use *= t.usage[f][rows]
            bits |= t.unfinished[f][rows]
            kind += t.kinds[f][rows] * prod(t.covered.shape[f + 1 :])
        place = dict(zip(families, grid, strict=True))
        tied = np.zeros(many, np.int64)
        for tie in t.ties.values():
            taps, outs = place.get(tie.filter), place.get(tie.outer)
            if taps is not None and outs is not None:
                terms *= tie.terms[outs, tie.which[taps]]
                use *= tie.use[outs, tie.which[taps]]
            elif taps is not None:
                tied = tied * tie.terms.shape[1] + tie.which[taps]
        rows = np.stack(grid, axis=1) if grid else np.zeros((1, 0), np.int64)
        return _Side(rows, terms, use, bits, kind, tied)

    def _joined(self, layout: _Layout, right: _Side, left: Ints) -> tuple[Floats, Floats]:
        """The different columns of the right side's terms, and its usage, with what it shares with
        these choices on the left.
        """
        terms, use = right.terms[:, layout.kinds], right.use
        for tie in self.tables.ties.values():
            if tie.outer in layout.right:
                outs = right.rows[:, layout.right.index(tie.outer)]
                taps = tie.which[left[layout.left.index(tie.filter)]]
                terms = terms * tie.terms[outs, taps][:, layout.kinds]
                use = use * tie.use[outs, taps]
        return terms, use


class _Joiner:
    """Values combinations of which few are legal, by ``joining.join``."""

    def __init__(self, tables: LayerTables, weights: MachineWeights, goal: Objective) -> None:
        self.tables, self.patterns = tables, tables.patterns
        each = [weights.of(bits) for bits in self.patterns]
        most = max(self.patterns) + 1
        limits = [w.limits for w in each]
        many, parts = len(limits[0]), max(len(x.parts) for of in limits for x in of)
        terms, forms = len(tables.constant), len(each[0].forms)
        powers = dict(goal.powers)
        self.measures = Measures(
            np.zeros((most, terms, forms)),
            np.zeros((most, forms)),
            np.array([weights.static]),
            np.array([powers.get(m, 0.0) for m in ("energy", "cycles", "dram")]),
            np.full((most, many, parts, 3), -1.0),
            np.zeros((most, many)),
            tables.covered.ravel(),
        )
        for bits, w in zip(self.patterns, each, strict=True):
            self.measures.forms[bits], self.measures.constant[bits] = w.forms.T, w.constant
            for i, limit in enumerate(w.limits):
                self.measures.most[bits, i] = limit.most
                for n, (column, word, unit, times) in enumerate(limit.parts):
                    whole = unit != 1 or not float(word).is_integer()
                    self.measures.parts[bits, i, n] = column, word * times / unit, whole

    def join(self, picks: Sequence[Ints]) -> tuple[Ints, Floats]:
        """Legal combinations of these choices [combinations, families], at most MOST_JOINED, and
        their values.
        """
        t = self.tables
        order = sorted(range(len(picks)), key=lambda f: (len(picks[f]), f))
        own = [picks[f] for f in order]
        place = {f: n for n, f in enumerate(order)}
        begins = np.cumsum([0, *map(len, own)])
        stride = [prod(t.covered.shape[f + 1 :]) for f in order]
        codes = [
            np.column_stack([t.unfinished[f][x], t.kinds[f][x] * n])
            for f, x, n in zip(order, own, stride, strict=True)
        ]
        use = [t.usage[f][x] for f, x in zip(order, own, strict=True)]
        ties = list(t.ties.values())
        shape = [max([tie.terms.shape[n] for tie in ties], default=1) for n in (0, 1)]
        which = np.zeros((len(ties), begins[-1]), np.int64)
        tied = np.ones((len(ties), *shape, len(t.constant)))
        tied_use = np.ones((len(ties), *shape, len(t.whole)))
        least = np.ones((len(picks) + 1, len(t.whole)))
        for n in range(len(picks) - 1, -1, -1):
            least[n] = least[n + 1] * use[n].min(axis=0)
        for n, tie in enumerate(ties):
            o, f = place[tie.outer], place[tie.filter]
            which[n, begins[o] : begins[o + 1]] = own[o]
            which[n, begins[f] : begins[f + 1]] = tie.which[own[f]]
            some = slice(tie.terms.shape[0]), slice(tie.terms.shape[1])
            tied[n][some], tied_use[n][some] = tie.terms, tie.use
            least[: max(o, f) + 1] *= tie.use[own[o]].min(axis=(0, 1))
        choices = Choices(
            begins,
            np.vstack([t.own[f][x] for f, x in zip(order, own, strict=True)]),
            np.vstack(use),
            np.vstack(codes),
            np.array(
                [[place[tie.outer], place[tie.filter]] for tie in ties], np.int64
            ).reshape(-1, 2),
            which,
            tied,
            tied_use,
            least,
        )
        deep = len(picks) + 1
        terms, usage = np.empty((deep, len(t.constant))), np.empty((deep, len(t.whole)))
        terms[0], usage[0] = t.constant, t.whole
        values, rows = np.empty(MOST_JOINED), np.empty((MOST_JOINED, len(picks)), np.int64)
        count = join(
            choices, self.measures, np.zeros(len(picks), np.int64), terms, usage,
            np.zeros((deep, 2), np.int64), np.empty(self.measures.constant.shape[1]), values, rows,
        )  # fmt: skip
        listed = np.empty((count, len(picks)), np.int64)
        for n, f in enumerate(order):
            listed[:, f] = own[n][rows[:count, n] - begins[n]]
        return listed, values[:count]


@dataclass(frozen=True)
class _Layout:
    """Families on two sides; ``places`` is where each is in a row of left, then right.  ``fold``
    [terms, kinds] sums terms whose column on the right is one, ``kinds`` says which.
    """

    left: list[int]
    right: list[int]
    places: Ints
    fold: Floats
    kinds: Ints


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
        self.joiner: _Joiner | None = None
        self.pool = np.zeros((0, len(tables.families)), np.int64)
        self.values = np.zeros(0)
        self.valued = 0
        self.every = self._fitting([np.arange(len(t)) for t in tables.tiles])
        self.whole = prod(len(x) for x in self.every) <= EXHAUSTIVE

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

    def value(self, ruled: Mapping | None) -> None:
        """Value the whole space, or descend into it."""
        if not all(len(x) for x in self.every):
            return
        if self.whole:
            self._visit(self.every)
            return
        for start in self._starts(ruled):
            self._descend(start, self.every)

    def _visit(self, picks: Sequence[Ints]) -> tuple[float, Ints]:
        """Value all combinations of these choices and keep the best; the least value, and its
        choices."""
        best, at = np.inf, self.pool[:0]
        for value, left, right, places in self.blocks.of(picks):
            self.tick()
            self.valued += value.size
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

    def _starts(self, ruled: Mapping | None) -> list[list[int]]:
        """Choices to begin with: those nearest to the fixed rule's, the least, and some in
        between; always the same."""
        rng = np.random.default_rng(0)
        starts = []
        tables = self.tables
        every = self.every
        least = [
            int(x[u[x].prod(axis=1).argmin()]) for u, x in zip(tables.usage, every, strict=True)
        ]
        rule = list(least)
        if ruled is not None:
            wanted = self._tiles_of(ruled)
            for f, (family, tiles) in enumerate(zip(tables.families, tables.tiles, strict=True)):
                own = np.array([wanted[i] for i in family.loops], float)
                away = np.abs(np.log(tiles[every[f]] / own)).sum(axis=1)
                rule[f] = int(every[f][away.argmin()])
        starts += [rule, least]
        while len(starts) < STARTS:
            starts.append([int(rng.choice(x)) for x in every])
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
        return own[(tiles[own][:, same] == tiles[now[f]][same]).all(axis=1)]

    def _visit_joined(self, picks: Sequence[Ints]) -> tuple[float, Ints]:
        """As ``_visit``, where few combinations are legal (``joining``)."""
        self.tick()
        if self.joiner is None:
            self.joiner = _Joiner(self.tables, self.weights, self.goal)
        choices, value = self.joiner.join(picks)
        self.valued += len(value)
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
            if not _Timed.of(self.goal, low, ruled, LAST).better(best):
                return best, False, 0
        try:
            one = _Timed.of(self.goal, full_measures(nest), ruled, LAST)
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
