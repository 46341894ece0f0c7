"""The exact search: best first over clusters of choices, bounded from below, blocks evaluated as
matrix products.

A node is one cluster of choices for each group.  What its mappings move is bounded bracket by bracket: what an advancing
loop brings is ``prod first x (1 - prod ratio)``, never negative, and no less than with every ``first`` at its cluster's least
and every ``ratio`` (the part that was there already) at its most.  A node whose bound is not below the best known is
pruned, as is one whose least usage overflows a level or the array; the others are cut in two, or, once small, evaluated:
every mapping of a block is a sum of products of a row for one half of the groups and a row for the other.

Where these measures are no more than lower bounds (``cycles``), a mapping that is below the best known waits on a heap of
its own until nothing left has a lower bound; then its cycles are worked out in full (``closed``), and only that value
can be the best.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import log, prod
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.closed_form import words_used
from accelsim.mapper import lower_cycles as time
from accelsim.mapper.cell import Cell, ChoiceGroup, Limit, blocks, every_block
from accelsim.mapper.clusters import Clusters, build
from accelsim.mapper.dominance import undominated
from accelsim.mapper.objective import Objective
from accelsim.mapper.packed import Packed
from accelsim.mapper.space import TileRows
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.skeleton import Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LEAF, FINE_LEAF = (
    1 << 15,
    1 << 11,
)  # mappings evaluated as one block; in a large space bounds leave out more than small blocks cost
LARGE = 1 << 40  # mappings of a table that make it large
CHUNK = 2048  # nodes bounded at once
MANY = 8192  # choices compared at once for dominance
CLUSTER = 4  # choices that are not told apart further
RUNNERS_UP = 16
TIED = 1e-7  # relative; no less than float32 rounds up by
ROUNDING = 1e-9  # relative; what float64 sums of signed products may be off by, with room


@dataclass
class SearchTally:
    """Mappings of the space by what became of them."""

    evaluated: int = 0
    timed: int = 0  # of these, worked out by the closed form
    tried: int = (
        0  # beside these, on the way to a first good mapping; they are evaluated or pruned again
    )
    bound: int = 0
    capacity: int = 0
    dominated: int = 0
    refused: int = 0

    def pruned(self) -> dict[str, int]:
        return {
            "bound": self.bound,
            "capacity": self.capacity,
            "dominance": self.dominated,
            "one dimension alone": self.refused,
        }


@dataclass(frozen=True)
class Found:
    """A mapping of the space: its measures, and a tile for each slot of its skeleton."""

    values: dict[str, float]
    skeleton: Skeleton
    tiles: tuple[int, ...]


class BoundTable:
    """A cell ready to be searched: groups without what can never be best, and the weights of the
    measures.
    """

    def __init__(self, cell: Cell, groups: list[ChoiceGroup], measures: Sequence[str]) -> None:
        self.cell, self.groups, self.measures = cell, groups, measures
        self.forms = [m for m in measures if m != "cycles"] + (
            cell.forms if "cycles" in measures or cell.static else []
        )
        terms, brackets = cell.used_terms(self.forms), cell.used_brackets(self.forms)
        self.constant = np.array([cell.constants[f] for f in self.forms])
        self.by_term = np.stack([cell.by_term[f][terms] for f in self.forms])
        self.by_bracket = np.stack([cell.by_bracket[f][brackets] for f in self.forms])
        self.limits: tuple[Limit, ...] = cell.limits
        self._columns(terms, brackets)
        if groups:  # without, for ``least`` alone
            self._sides()

    def least(self) -> dict[str, Any]:
        """Lower bounds of the measures, whatever the tiles, from the words that must move at all
        and the PEs there are; 0 where a count lowers a measure.
        """
        forms = self.constant + np.maximum(self.by_column, 0.0) @ self.floor
        forms = np.where((self.by_column < 0).any(axis=1), 0.0, forms)
        return {m: np.asarray(v) for m, v in self.measure(list(np.maximum(forms, 0.0))).items()}

    @property
    def volume(self) -> int:
        return prod(len(g.tiles) for g in self.groups)

    @property
    def leaf(self) -> int:
        """How many mappings are few enough to be evaluated as one block."""
        return LEAF if self.volume < LARGE else FINE_LEAF

    def _columns(self, terms: list[int], brackets: list[int]) -> None:
        """Each column twice: as brackets, and as its product over all positions less the parts
        kept.
        """
        cell = self.cell
        at_term, at_bracket = ({t: i for i, t in enumerate(x)} for x in (terms, brackets))
        columns = cell.used_columns(self.forms)
        self.by_column = np.array(
            [[cell.weights[f].get(c, 0.0) for c in columns] for f in self.forms]
        )
        self.gains = np.flatnonzero((self.by_column < 0).any(axis=0))
        self.holds = np.zeros((len(brackets), len(columns)))
        wholes: list[int] = []
        kept: list[tuple[int, int]] = []
        less: list[tuple[int, float]] = []
        for i, c in enumerate(columns):
            for b in cell.in_brackets[c]:
                self.holds[at_bracket[b], i] += 1.0
            up = [t for t, sign in cell.in_terms[c].items() if sign > 0]
            down = [(t, -sign) for t, sign in cell.in_terms[c].items() if sign < 0]
            plain = len(up) == 1 and cell.in_terms[c][up[0]] == 1.0
            wholes.append(at_term[up[0]] if plain else -1)
            for t, n in down if plain else []:
                kept.append((at_term[t], at_term[up[0]]))
                less.append((i, n))
        problem, array = cell.part.problem, cell.skeleton.arch.array
        self.floor = np.array(
            [0 if c[0] is None else words_used(problem, c[0].tensor) for c in columns], np.float64
        )
        self.floor[[i for i, c in enumerate(columns) if c == time.STEPS]] = problem.macs / (
            array.rows * array.cols
        )
        self.less = np.zeros((len(kept), len(columns)))
        for row, (i, n) in enumerate(less):
            self.less[row, i] = n
        self.plain = np.array(wholes) >= 0
        self.steps = columns.index(time.STEPS) if time.STEPS in columns else None
        for g in self.groups:
            data, index = g.terms.data, g.terms.index
            if self.steps is not None:
                g.work = data[:, index[wholes[self.steps]]] * g.usage[:, 0] * g.usage[:, 1]
            g.whole = Packed.of(
                np.stack(
                    [data[:, index[w]] if w >= 0 else np.zeros(len(data)) for w in wholes], axis=1
                )
            )
            pairs = dict.fromkeys((int(index[a]), int(index[b])) for a, b in kept)
            parts = (
                np.stack([data[:, a] / np.maximum(data[:, b], 1e-300) for a, b in pairs], axis=1)
                if pairs
                else np.zeros((len(data), 0))
            )
            at = {pair: i for i, pair in enumerate(pairs)}
            g.kept = Packed(
                parts, np.array([at[int(index[a]), int(index[b])] for a, b in kept], np.int64)
            )

    def _sides(self) -> None:
        """Two sides of the groups such that a block costs least; terms with equal entries on the
        right side are one.
        """
        every = range(len(self.groups))
        sides = [
            frozenset(x) for n in range(len(self.groups)) for x in combinations(every, n)
        ]  # the left one is never empty
        right = min(sides, key=self._cost_of)
        self.left, self.right = (
            [g for g in every if g not in right],
            [g for g in every if g in right],
        )
        _, self.kinds, back = np.unique(
            self._classes(self.right), return_index=True, return_inverse=True
        )
        # of each measure: its columns of ``fold``, and the terms of the right half they go with
        self.merge = []
        folds, at = [], 0
        for weights in self.by_term:
            used = np.flatnonzero(weights)
            kinds = np.unique(back[used])
            fold = np.zeros((len(weights), len(kinds)))
            fold[used, np.searchsorted(kinds, back[used])] = weights[used]
            folds.append(fold)
            self.merge.append((slice(at, at + len(kinds)), kinds))
            at += len(kinds)
        self.fold = np.hstack(folds)

    def _classes(self, right: Iterable[int]) -> Ints:
        """Of each term a number for its entries on that side."""
        found = np.zeros(self.by_term.shape[1], np.int64)
        for g in right:
            found = np.unique(
                found * self.by_term.shape[1] + self.groups[g].terms.index, return_inverse=True
            )[1].reshape(-1)
        return found

    def _cost_of(self, right: frozenset[int]) -> float:
        """Nanoseconds a value, about: a matrix product of 0.08 a term, and rows of either side at
        1.5 an entry.
        """
        classes, terms = self._classes(right), self.by_term.shape[1]
        products = sum(len(np.unique(classes[np.flatnonzero(w)])) for w in self.by_term)
        share = min(
            1.0, log(self.leaf) / log(max(self.volume, 2))
        )  # a block is about so much of either side, by logarithm
        row, col = (
            prod(len(g.tiles) for i, g in enumerate(self.groups) if (i in right) == side) ** share
            for side in (False, True)
        )
        cost = 0.08 * products * (1 + terms / col) + 1.5 * (terms / col + (classes.max() + 1) / row)
        return float(cost)

    def measure(self, forms: Sequence[Any]) -> dict[str, Any]:
        """Measures of the forms' values, or lower bounds of lower bounds."""
        found = {
            name: forms[i] for i, name in enumerate(self.forms) if not name.startswith("cycles")
        }
        cycles = [forms[i] for i, name in enumerate(self.forms) if name.startswith("cycles")]
        if cycles:
            found["cycles"] = _largest(cycles)
        if "energy" in found and self.cell.static:
            found["energy"] = found["energy"] + self.cell.static * found["cycles"]
        return found

    # -- exact -------------------------------------------------------------------------------------

    def block(self, picks: Sequence[Ints]) -> tuple[dict[str, Floats], tuple[int, ...]]:
        """Measures of all combinations of choices, legal or not, [left, right]; and the shape over
        groups.
        """
        left = _outer([self.groups[g].terms[picks[g]] for g in self.left], self.by_term.shape[1])
        right = _outer(
            [
                self.groups[g].terms.data[picks[g][:, None], self.groups[g].terms.index[self.kinds]]
                for g in self.right
            ],
            len(self.kinds),
        )
        left = left @ self.fold
        forms = []
        for constant, (own, kinds) in zip(self.constant, self.merge, strict=True):
            value = left[:, own] @ right[:, kinds].T
            if constant:
                value += constant
            forms.append(value)
        return self.measure(forms), tuple(len(picks[g]) for g in self.left + self.right)

    def legal(
        self, picks: Sequence[Ints], limits: Sequence[Limit], flat: Ints
    ) -> npt.NDArray[np.bool_]:
        """Whether the combinations at these positions of a block keep these limits."""
        columns = sorted({c for limit in limits for c, *_ in limit.parts})
        sides = (
            _outer([self.groups[g].usage[picks[g]][:, columns] for g in side], len(columns))
            for side in (self.left, self.right)
        )
        left, right = sides
        few = 4 * len(flat) < len(left) * len(right)
        if few:
            row, col = np.divmod(flat, len(right))
            used = {c: left[row, i] * right[col, i] for i, c in enumerate(columns)}
        else:
            used = {c: left[:, i, None] * right[None, :, i] for i, c in enumerate(columns)}
        legal = np.ones(1, bool)
        for limit in limits:
            legal = legal & (limit.used(used) <= limit.most)
        return legal if few else legal.reshape(-1)[flat]

    def forms_of(self, rows: Sequence[Ints]) -> Floats:
        """The forms [forms, mappings] of mappings given as one row a group."""
        terms = _product([g.terms[i] for g, i in zip(self.groups, rows, strict=True)])
        return np.asarray(self.by_term @ terms.T + self.constant[:, None])

    def closer(self, rows: Sequence[Ints]) -> dict[str, Floats]:
        """Lower bounds of the measures of mappings given as one row a group, higher than
        ``measure`` has them.
        """
        forms = self.forms_of(rows)
        if any(g.closer is None for g in self.groups):
            return self.measure(list(forms))
        cell = self.cell
        used = cell.used_terms(cell.closer)
        terms = _product(
            [g.closer[i] for g, i in zip(self.groups, rows, strict=True) if g.closer is not None]
        )
        more = [terms @ cell.by_term[name][used] + cell.constants[name] for name in cell.closer]
        at = [i for i, name in enumerate(self.forms) if name.startswith("cycles")]
        forms[at[0]] = np.maximum.reduce([forms[at[0]], *more])
        return self.measure(list(forms))

    def sample(self, picks: Sequence[Ints]) -> Floats:
        """Cycles and energy [legal ones of the sample, 2] of mappings given as one row a group."""
        usage = _product([g.usage[i] for g, i in zip(self.groups, picks, strict=True)]).T
        legal = np.ones(usage.shape[1], bool)
        for limit in self.limits:
            legal &= limit.used(usage) <= limit.most
        found = self.measure(list(self.forms_of([i[legal] for i in picks])))
        return np.stack([found["cycles"], found["energy"]], axis=1)

    def rows(self, picks: Sequence[Ints], flat: Any, shape: tuple[int, ...]) -> list[Any]:
        """The row of each group of the mappings (one, or an array) at flat positions of a block."""
        index = dict(zip(self.left + self.right, np.unravel_index(flat, shape), strict=True))
        return [picks[g][index[g]] for g in range(len(self.groups))]

    def tiles(self, choice: Sequence[int]) -> tuple[int, ...]:
        found = [1] * len(self.cell.skeleton.loops)
        for group, i in zip(self.groups, choice, strict=True):
            for slot, tile in zip(group.slots, group.tiles[i], strict=True):
                found[slot] = int(tile)
        return tuple(found)

    # -- bounds ------------------------------------------------------------------------------------

    def bounds(
        self, trees: Sequence[Clusters], nodes: Ints
    ) -> tuple[dict[str, Floats], npt.NDArray[np.bool_]]:
        """Lower bounds of the measures of nodes [nodes, groups], and whether their least usage
        fits.
        """
        first = _product([t.least[nodes[:, g]] for g, t in enumerate(trees)])
        ratio = _product([t.ratio_most[nodes[:, g]] for g, t in enumerate(trees)])
        first *= 1.0 - ratio
        columns = first @ self.holds
        whole = _product([t.whole_least[nodes[:, g]] for g, t in enumerate(trees)])
        kept = _product([t.kept_most[nodes[:, g]] for g, t in enumerate(trees)])
        columns = np.maximum(np.maximum(columns, whole * (1.0 - kept @ self.less)), self.floor)
        if self.steps is not None:
            columns[:, self.steps] = np.maximum(
                columns[:, self.steps], self._fewest_steps(trees, nodes)
            )
        forms = np.maximum(self.by_column, 0.0) @ columns.T
        if len(self.gains):
            most = _product([t.most[nodes[:, g]] for g, t in enumerate(trees)])
            still = _product([t.ratio_least[nodes[:, g]] for g, t in enumerate(trees)])
            forms += np.minimum(self.by_column, 0.0) @ ((most * (1.0 - still)) @ self.holds).T
        forms += self.constant[:, None]
        forms = np.maximum(forms, 0.0)
        usage = _product([t.used_least[nodes[:, g]] for g, t in enumerate(trees)]).T
        fits = np.ones(len(nodes), bool)
        for limit in self.limits:
            fits &= limit.used(usage) <= limit.most
        return self.measure(forms), fits

    def _fewest_steps(self, trees: Sequence[Clusters], nodes: Ints) -> Floats:
        """Steps of a group x the rows x the columns it lies over is work that more PEs do not make
        less; all groups share one array.
        """
        work = np.prod([t.work_least[nodes[:, g]] for g, t in enumerate(trees)], axis=0)
        most = np.prod([t.used_most[nodes[:, g], :2] for g, t in enumerate(trees)], axis=0)
        array = self.cell.skeleton.arch.array
        return np.asarray(
            work / (np.minimum(most[:, 0], array.rows) * np.minimum(most[:, 1], array.cols))
        )


def _one(measures: Mapping[str, Floats], at: int) -> dict[str, float]:
    return {m: float(v[at]) for m, v in measures.items()}


def _product(factors: list[Floats]) -> Floats:
    total = factors[0]
    for f in factors[1:]:
        total = total * f
    return np.array(total) if len(factors) == 1 else total


def _largest(forms: list[Any]) -> Any:
    """Element by element."""
    if len(forms) < 3:
        return forms[0] if len(forms) == 1 else np.maximum(*forms)
    total = np.asarray(np.maximum(forms[0], forms[1]))
    for x in forms[2:]:
        np.maximum(total, x, out=total)
    return total


def _outer(tables: list[Floats], columns: int) -> Floats:
    """Rows of all combinations, products column by column."""
    if not tables:
        return np.ones((1, columns))
    total = tables[0]
    for t in tables[1:]:
        total = (total[:, None, :] * t[None, :, :]).reshape(-1, t.shape[1])
    return total


# -- preparing cells -------------------------------------------------------------------------------


def prepare(
    skeleton: Skeleton,
    listed: Sequence[TileRows],
    measures: Sequence[str],
    tally: SearchTally,
    *,
    dominance: bool = True,
    deadline: float | None = None,
) -> Iterator[BoundTable]:
    """Tables of a skeleton's cells; what is left out on the way is tallied.  Raises TimeoutError
    past the deadline.
    """
    for block in blocks(skeleton, listed):
        whole = prod(len(p) for p in block.picks)
        try:
            cell = Cell(skeleton, block.there, block.final, listed)
        except MappingError:
            tally.capacity += whole
            continue
        table, alone, dominated = group_tables(
            cell, listed, block.picks, measures, dominance, deadline
        )
        tally.capacity += alone
        tally.dominated += dominated
        if table is not None:
            yield table


def least(skeleton: Skeleton, measures: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Lower bounds of the measures in each cell a skeleton can have, whatever its tiles."""
    for block in every_block(skeleton):
        try:
            cell = Cell(skeleton, block.there, block.final, ())
        except MappingError:
            continue
        yield BoundTable(cell, [], measures).least()


def group_tables(
    cell: Cell,
    listed: Sequence[TileRows],
    picks: Sequence[Ints],
    measures: Sequence[str],
    dominance: bool,
    deadline: float | None = None,
) -> tuple[BoundTable | None, int, int]:
    whole = prod(len(p) for p in picks)
    forms = [m for m in measures if m != "cycles"] + (
        cell.forms if "cycles" in measures or cell.static else []
    )
    grouped = cell.grouped()
    raw = []
    for families in grouped:
        lead = families is grouped[0]
        grids = np.meshgrid(*[picks[f] for f in families], indexing="ij")
        tiles = np.hstack(
            [listed[f].tiles[g.ravel()] for f, g in zip(families, grids, strict=True)]
        )
        trips = np.hstack(
            [listed[f].trips[g.ravel()] for f, g in zip(families, grids, strict=True)]
        )
        parts = [np.zeros((0, cell.usage(families, tiles[:1], trips[:1], lead=lead).shape[1]))]
        for at in range(0, len(tiles), 8 * MANY):
            in_time(deadline)
            parts.append(
                cell.usage(
                    families, tiles[at : at + 8 * MANY], trips[at : at + 8 * MANY], lead=lead
                )
            )
        raw.append((tiles, np.concatenate(parts)))
    while True:
        least = [u.min(axis=0) if len(u) else np.ones(u.shape[1]) for _, u in raw]
        kept = []
        for at, (tiles, usage) in enumerate(raw):
            others = _product(
                [np.ones_like(least[0]), *[x for i, x in enumerate(least) if i != at]]
            )
            fits = np.ones(len(tiles), bool)
            for limit in cell.limits:
                fits &= limit.used((usage * others).T) <= limit.most
            kept.append((tiles[fits], usage[fits]))
        if all(len(a[0]) == len(b[0]) for a, b in zip(raw, kept, strict=True)):
            break
        raw = kept
    fitting = prod(len(t) for t, _ in raw)
    if not fitting:
        return None, whole, 0
    groups = []
    for at, (families, (tiles, usage)) in enumerate(zip(grouped, raw, strict=True)):
        left: list[Ints] = []
        tables: list[tuple[Floats, Floats, Floats]] = []
        closer: list[Floats] = []
        for base in range(
            0, len(tiles), MANY
        ):  # in the order they are listed neighbours are alike, and cover each other most
            in_time(deadline)
            part = np.arange(base, min(base + MANY, len(tiles)))
            terms, first, ratio = cell.tables(families, tiles[part], forms, lead=at == 0)
            best = np.arange(len(part))
            if dominance:
                costs = np.hstack([cell.costs(families, forms, terms, first, ratio), usage[part]])
                best = undominated(costs, lambda: in_time(deadline))
            left.append(part[best])
            tables.append((terms[best], first[best], ratio[best]))
            if cell.closer and any(f.startswith("cycles") for f in forms):
                closer.append(
                    cell.tables(families, tiles[part[best]], cell.closer, lead=at == 0)[0]
                )
        rows = np.concatenate(left)
        packed = (Packed.of(np.concatenate(x)) for x in zip(*tables, strict=True))
        group = ChoiceGroup(
            families,
            tiles[rows],
            cell.columns_of(families),
            next(packed),
            next(packed),
            next(packed),
            usage[rows],
        )
        if closer:
            group.closer = Packed.of(np.concatenate(closer))
        groups.append(group)
    in_time(deadline)
    table = BoundTable(cell, groups, measures)
    return table, whole - fitting, fitting - table.volume


def in_time(deadline: float | None) -> None:
    """Raises TimeoutError past the deadline."""
    if deadline is not None and monotonic() > deadline:
        raise TimeoutError


# -- the search ------------------------------------------------------------------------------------


@dataclass
class State:
    """What is known so far; ``rest`` is a lower bound of every mapping not yet looked at (inf: none
    left).

    ``least`` is the least lower bound of any mapping looked at; ``timed`` the best that the closed
    form was asked for, best first; ``untimed`` the one with the least lower bound that has more
    steps than the closed form takes.
    """

    best: Found | None = None
    value: float = float("inf")
    rest: float = 0.0
    least: float = float("inf")
    front: list[Found] = field(default_factory=list)
    timed: list[tuple[float, Found]] = field(default_factory=list)
    untimed: tuple[float, Found] | None = None
    stopped: str | None = None


Progress = Callable[[State, SearchTally], None]
Closed = Callable[[Skeleton, Sequence[int]], float]


@dataclass
class _Waiting:
    """Mappings of a block whose cycles are still to be worked out, the least lower bound first."""

    at: int
    rows: list[Ints]  # of each group
    keys: (
        Floats  # a little below the lower bounds: what float64 tells apart by chance alone is equal
    )
    ties: Floats  # of equal ones that in which least moves comes first
    measures: dict[str, Floats]
    next: int = 0


class Search:
    """Searches tables of one skeleton for the least of an objective, or for the front of energy and
    cycles (``objective`` None).

    ``closed`` gives a mapping's cycles where those of the tables are lower bounds; more than
    ``patience`` seconds of it end the search.
    """

    def __init__(
        self,
        tables: list[BoundTable],
        objective: Objective | None,
        tally: SearchTally,
        *,
        deadline: float | None = None,
        closed: Closed | None = None,
        patience: float | None = None,
        progress: Progress | None = None,
        starts: int = 8,
        seed: int = 0,
    ) -> None:
        self.tables, self.objective, self.tally = tables, objective, tally
        self.deadline, self.closed, self.progress, self.starts = deadline, closed, progress, starts
        self.patience, self.spent = patience, 0.0
        self.state = State()
        self.rng = np.random.default_rng(seed)
        self.heap: list[tuple[float, int, int, Ints, Floats]] = []
        self.waiting: list[tuple[float, float, int, _Waiting]] = []
        self.seen: set[tuple[int, ...]] = (
            set()
        )  # tiles of mappings whose cycles have been worked out
        self.trees: list[list[Clusters]] = []
        self.working = 0.0  # bound of what has left the heap and is being worked on
        self.order = itertools.count()
        self.hull = np.zeros((2, 0))  # the front: cycles rising, energy falling

    def run(self) -> State:
        """Until nothing is left, the deadline, or an interrupt; the state is then what was
        reached.
        """
        try:
            self._run()
        except KeyboardInterrupt:
            self.state.stopped = "interrupted"
        except TimeoutError:
            self.state.stopped = "limit"
        self.state.rest = self._rest()
        if self.state.stopped:
            self.state.rest = max(
                self.state.rest,
                min((float(self._key(t.least())) for t in self.tables), default=0.0),
            )
        self.tally.evaluated -= sum(len(w.keys) - w.next for *_, w in self.waiting)
        return self.state

    def _rest(self) -> float:
        left = [x[0][0] for x in (self.heap, self.waiting) if x]
        if self.state.untimed is not None:
            left.append(self.state.untimed[0])
        return min([self.working, *left])

    def start_from(self, known: State) -> None:
        """Mappings known already: nothing worse is looked for."""
        self.state.best, self.state.value, self.state.timed = known.best, known.value, known.timed

    def _run(self) -> None:
        known = self.state.best is not None
        for at in range(len(self.tables)):
            self._descend(at, self.deadline if known else None)
        for table in self.tables:
            cost = self._cost(table)
            self.trees.append(
                [build(g, cost, CLUSTER, lambda: in_time(self.deadline)) for g in table.groups]
            )
        for at, trees in enumerate(self.trees):
            self._push(at, np.zeros((1, len(trees)), np.int64))
        self.working = float("inf")
        while self.heap or self.waiting:
            if self.deadline is not None and monotonic() > self.deadline:
                self.state.stopped = "limit"
                return
            if self.patience is not None and self.spent > self.patience:
                self.state.stopped = f"{self.patience:.0f} s of closed forms"
                return
            if self.waiting and (not self.heap or self.waiting[0][0] <= self.heap[0][0]):
                self._time()
            else:
                self.working, _, at, nodes, lower = heapq.heappop(self.heap)
                self._expand(at, nodes, lower)
            self.working = float("inf")
            if self.progress is not None:
                self.state.rest = self._rest()
                self.progress(self.state, self.tally)

    # -- nodes -------------------------------------------------------------------------------------

    def _sizes(self, at: int, nodes: Ints) -> Floats:
        sizes = [t.size[nodes[:, g]].astype(np.float64) for g, t in enumerate(self.trees[at])]
        return np.asarray(np.prod(sizes, axis=0))

    def _push(self, at: int, nodes: Ints) -> None:
        """Bound nodes, prune, and put the rest on the heap in chunks of like bounds."""
        for base in range(0, len(nodes), 4 * CHUNK):
            part = nodes[base : base + 4 * CHUNK]
            measures, fits = self.tables[at].bounds(self.trees[at], part)
            sizes = self._sizes(at, part)
            self.tally.capacity += int(sizes[~fits].sum())
            hopeless = fits & self._hopeless(measures)
            self.tally.bound += int(sizes[hopeless].sum())
            lower = self._key(measures)
            live = np.flatnonzero(fits & ~hopeless)
            live = live[np.argsort(lower[live], kind="stable")]
            for chunk in np.split(live, range(CHUNK, len(live), CHUNK)):
                if len(chunk):
                    bounds = np.stack([measures[m][chunk] for m in self._axes])
                    heapq.heappush(
                        self.heap,
                        (float(lower[chunk[0]]), next(self.order), at, part[chunk], bounds),
                    )

    @property
    def _axes(self) -> tuple[str, ...]:
        return ("energy", "cycles") if self.objective is None else self.objective.measures

    def _key(self, measures: dict[str, Any]) -> Floats:
        of = (
            measures["energy"] * measures["cycles"]
            if self.objective is None
            else self.objective.of(measures)
        )
        return np.asarray(of, np.float64)

    def _hopeless(self, measures: dict[str, Any]) -> npt.NDArray[np.bool_]:
        """Whether nothing better than what is known can be at these measures."""
        if self.objective is not None:
            return np.asarray(self._key(measures) >= self.state.value * (1 - ROUNDING))
        cycles, energy = self.hull
        if not len(cycles):
            return np.zeros(np.shape(measures["energy"]), bool)
        index = np.searchsorted(cycles, measures["cycles"] * (1 + ROUNDING), side="right") - 1
        return np.asarray(
            (index >= 0) & (energy[np.maximum(index, 0)] * (1 - ROUNDING) <= measures["energy"])
        )

    def _expand(self, at: int, nodes: Ints, lower: Floats) -> None:
        trees = self.trees[at]
        hopeless = self._hopeless(dict(zip(self._axes, lower, strict=True)))
        sizes = self._sizes(at, nodes)
        self.tally.bound += int(sizes[hopeless].sum())
        nodes, sizes, lower = nodes[~hopeless], sizes[~hopeless], lower[:, ~hopeless]
        if not len(nodes):
            return
        spread = np.stack(
            [
                np.where(t.left[nodes[:, g]] >= 0, t.spread[nodes[:, g]] + 1e-12, -1.0)
                for g, t in enumerate(trees)
            ]
        )
        final = (sizes <= self.tables[at].leaf) | (spread.max(axis=0) < 0)
        for i in np.flatnonzero(final):
            if self._hopeless({m: lower[k, i] for k, m in enumerate(self._axes)}):
                self.tally.bound += int(sizes[i])
            else:
                self._leaf(at, nodes[i])
        nodes, spread = nodes[~final], spread[:, ~final]
        if not len(nodes):
            return
        cut = spread.argmax(axis=0)
        children = np.concatenate([nodes, nodes])
        for g, t in enumerate(trees):
            rows = np.flatnonzero(cut == g)
            children[rows, g] = t.left[nodes[rows, g]]
            children[rows + len(nodes), g] = t.right[nodes[rows, g]]
        self._push(at, children)

    # -- blocks ------------------------------------------------------------------------------------

    def _leaf(self, at: int, node: Ints) -> None:
        trees = self.trees[at]
        picks = [t.order[t.start[i] : t.stop[i]] for t, i in zip(trees, node, strict=True)]
        most = np.prod([t.used_most[i] for t, i in zip(trees, node, strict=True)], axis=0)
        limits = [x for x in self.tables[at].limits if float(np.ravel(x.used(most))[0]) > x.most]
        self._evaluate(at, picks, limits)

    def _evaluate(self, at: int, picks: list[Ints], limits: Sequence[Limit]) -> None:
        table = self.tables[at]
        measures, shape = table.block(picks)
        self.tally.evaluated += prod(shape)
        if self.objective is None:
            if self._hopeless({m: np.asarray(v.min()) for m, v in measures.items()}):
                return
            better = ~self._hopeless(measures)
        else:
            value = self._key(measures)
            if value.min() >= self.state.value:
                return
            better = value < self.state.value
        flat = np.flatnonzero(better)
        if limits and len(flat):
            flat = flat[table.legal(picks, limits, flat)]
        if not len(flat):
            return
        chosen = {m: v.reshape(-1)[flat] for m, v in measures.items()}
        if self.closed is not None:
            self._wait(at, picks, shape, flat, chosen)
        elif self.objective is None:
            self._to_front(at, picks, shape, flat, chosen)
        else:
            self._to_best(at, picks, shape, flat, chosen)

    def _found(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: int,
        values: dict[str, float],
    ) -> Found:
        table = self.tables[at]
        return Found(values, table.cell.skeleton, table.tiles(table.rows(picks, flat, shape)))

    def _to_best(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: Ints,
        measures: dict[str, Floats],
    ) -> None:
        value = self._key(measures)
        first = int(value.argmin())
        if value[first] < self.state.value:
            self.state.value = float(value[first])
            self.state.best = self._found(at, picks, shape, int(flat[first]), _one(measures, first))

    def _to_front(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: Ints,
        measures: dict[str, Floats],
    ) -> None:
        for i in np.lexsort((measures["energy"], measures["cycles"])):
            values = _one(measures, i)
            if not self._hopeless(values):
                self._add_to_front(self._found(at, picks, shape, int(flat[i]), values))

    def _add_to_front(self, found: Found) -> None:
        energy, cycles = found.values["energy"], found.values["cycles"]
        kept = [
            f
            for f in self.state.front
            if not (f.values["energy"] >= energy and f.values["cycles"] >= cycles)
        ]
        self.state.front = sorted([*kept, found], key=lambda f: f.values["cycles"])
        self.hull = np.array(
            [
                [f.values["cycles"] for f in self.state.front],
                [f.values["energy"] for f in self.state.front],
            ]
        )

    # -- cycles in full ----------------------------------------------------------------------------

    def _wait(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: Ints,
        measures: dict[str, Floats],
    ) -> None:
        """Mappings of a block that may still be the best."""
        table = self.tables[at]
        rows = table.rows(picks, flat, shape)
        self.state.least = min(self.state.least, float(self._key(measures).min()))
        measures = {m: v for m, v in table.closer(rows).items() if m in measures}
        keys = (self._key(measures) * (1 - TIED)).astype(np.float32).astype(np.float64)
        ties = table.forms_of(rows).sum(axis=0)
        by = np.lexsort((ties, keys))
        entry = _Waiting(
            at, [r[by] for r in rows], keys[by], ties[by], {m: v[by] for m, v in measures.items()}
        )
        heapq.heappush(
            self.waiting, (float(entry.keys[0]), float(entry.ties[0]), next(self.order), entry)
        )

    def _time(self) -> None:
        """The waiting mapping with the least lower bound."""
        w = self.waiting[0][-1]
        i, lower = w.next, _one(w.measures, w.next)
        if not self._hopeless(lower):
            table = self.tables[w.at]
            self._try(lower, table, table.tiles([rows[i] for rows in w.rows]))
        w.next += 1
        if self.objective is not None and w.keys[i] >= self.state.value * (1 - ROUNDING):
            w.next = len(w.keys)  # those behind it are no better
        if w.next < len(w.keys):
            heapq.heapreplace(
                self.waiting, (float(w.keys[w.next]), float(w.ties[w.next]), next(self.order), w)
            )
        else:
            heapq.heappop(self.waiting)

    def _try(self, lower: dict[str, float], table: BoundTable, tiles: tuple[int, ...]) -> None:
        """A mapping by the closed form: it may be the best."""
        assert self.closed is not None
        if tiles in self.seen:
            return
        start = monotonic()
        cycles = self.closed(table.cell.skeleton, tiles)
        self.spent += monotonic() - start
        self.seen.add(tiles)
        self.tally.timed += 1
        if cycles == float("inf"):
            low = float(self._key(lower))
            if self.state.untimed is None or low < self.state.untimed[0]:
                self.state.untimed = low, Found(lower, table.cell.skeleton, tiles)
            return
        values = lower | {"cycles": cycles}
        if "energy" in lower:
            values["energy"] += table.cell.static * (cycles - lower["cycles"])
        found, value = Found(values, table.cell.skeleton, tiles), float(self._key(values))
        if self.objective is None:
            if not self._hopeless(values):
                self._add_to_front(found)
            return
        self.state.timed = sorted([*self.state.timed, (value, found)], key=lambda x: x[0])[
            :RUNNERS_UP
        ]
        if value < self.state.value:
            self.state.value, self.state.best = value, found

    # -- good mappings to begin with ---------------------------------------------------------------

    def _descend(self, at: int, deadline: float | None) -> None:
        """From a few starts, the best choice of one group after another, the others fixed, until
        none improves.
        """
        table = self.tables[at]
        groups = table.groups
        for start in range(self.starts):
            if start == 0:
                now = [int(g.usage.prod(axis=1).argmin()) for g in groups]
            else:
                now = [int(self.rng.integers(len(g.tiles))) for g in groups]
            last = float("inf")
            found: Found | None = None
            while True:
                for g in self.rng.permutation(len(groups)):
                    in_time(deadline)
                    picks = [np.array([i]) for i in now]
                    picks[g] = np.arange(len(groups[g].tiles))
                    measures, shape = table.block(picks)
                    self.tally.tried += prod(shape)
                    flat = np.arange(prod(shape))
                    legal = table.legal(picks, table.limits, flat)
                    each = {m: v.reshape(-1) for m, v in measures.items()}
                    value = np.where(legal, self._key(each), np.inf)
                    best = int(value.argmin())
                    if not legal[best]:
                        continue
                    now[g] = best
                    if self.closed is not None:
                        found = self._found(at, picks, shape, best, _one(each, best))
                    elif self.objective is None:
                        better = np.flatnonzero(legal & ~self._hopeless(each))
                        self._to_front(
                            at, picks, shape, better, {m: v[better] for m, v in each.items()}
                        )
                    elif value[best] < self.state.value:
                        self.state.value = float(value[best])
                        self.state.best = self._found(at, picks, shape, best, _one(each, best))
                if not value[best] < last * (1 - ROUNDING):
                    break
                last = float(value[best])
            if self.closed is not None and found is not None and not self._hopeless(found.values):
                self._try(found.values, table, found.tiles)

    def _cost(self, table: BoundTable) -> Floats:
        """What each bracket contributes at the best mapping known, as a share of each measure's
        whole; averaged.
        """
        total = np.zeros(table.by_bracket.shape[1])
        rows = [g.first[len(g.first) // 2] for g in table.groups]
        best = self.state.best or (
            self.state.front[len(self.state.front) // 2] if self.state.front else None
        )
        if best is not None and best.skeleton is table.cell.skeleton:
            for i, g in enumerate(table.groups):
                match = np.flatnonzero(
                    (g.tiles == np.array([best.tiles[s] for s in g.slots])).all(axis=1)
                )
                if len(match):
                    rows[i] = g.first[match[0]]
        size = _product(rows)
        for form in range(len(table.by_bracket)):
            share = np.abs(table.by_bracket[form]) * size
            whole = share.sum()
            total += share / whole if whole else 0.0
        return np.asarray(np.sqrt(total / len(table.by_bracket)) + 1e-4)
