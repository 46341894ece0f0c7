"""A cell ready to be searched: tables of its choices, weights of the measures, exact values and
bounds from both.

Every form of a measure is a constant and a weighted sum of products, one entry a group of choices.
``block`` evaluates all combinations of some choices exactly: a matrix product of rows for one half
of the groups with rows for the other.  ``bounds`` says what the mappings of a node (a cluster of
choices for each group) cannot be below, bracket by bracket: what an advancing loop brings is ``prod
first x (1 - prod ratio)``, never negative, and no less than with every ``first`` at its cluster's
least and every ``ratio`` (the part that was there already) at its most.  ``least`` holds whatever
the tiles.  ``preparing`` makes the tables; ``search.Search`` asks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.closed_form import words_used
from accelsim.mapper import lower_cycles as time
from accelsim.mapper.cell import Cell, ChoiceGroup, Limit
from accelsim.mapper.clusters import Clusters
from accelsim.mapper.packed import Packed
from accelsim.mapping.skeleton import Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# mappings evaluated as one block; in a large space bounds leave out more than small blocks cost
LEAF, FINE_LEAF = 1 << 15, 1 << 11
LARGE = 1 << 40  # mappings of a table that make it large


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
class Candidate:
    """A mapping of the space: its measures, and a tile for each loop of its skeleton."""

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
        """Mappings of the table."""
        return prod(len(g.tiles) for g in self.groups)

    @property
    def leaf(self) -> int:
        """How many mappings are few enough to be evaluated as one block."""
        return LEAF if self.volume < LARGE else FINE_LEAF

    def _columns(self, terms: list[int], brackets: list[int]) -> None:
        """Each column twice: as brackets, and as its product over all positions less the parts
        kept.

        ``by_column`` [forms, columns] weighs columns, ``holds`` [brackets, columns] says which
        brackets a column is a sum of, ``floor`` [columns] is what it is never below.
        """
        cell = self.cell
        at_term, at_bracket = ({t: i for i, t in enumerate(x)} for x in (terms, brackets))
        columns = cell.used_columns(self.forms)
        self.by_column = np.array(
            [[cell.weights[f].get(c, 0.0) for c in columns] for f in self.forms]
        )
        self.gains = np.flatnonzero((self.by_column < 0).any(axis=0))
        self.holds = np.zeros((len(brackets), len(columns)))
        wholes: list[int] = []  # of each column its product over all positions, or -1
        kept: list[tuple[int, int]] = []  # a term that is taken off, and the one it is part of
        less: list[tuple[int, float]] = []  # the column it is taken off, and how often
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
        self.floor = np.array([self._least_of(c) for c in columns], np.float64)
        self.less = np.zeros((len(kept), len(columns)))
        for row, (i, n) in enumerate(less):
            self.less[row, i] = n
        self.plain = np.array(wholes) >= 0
        self.steps = columns.index(time.STEPS) if time.STEPS in columns else None
        for g in self.groups:
            self._add_columns(g, wholes, kept)

    def _least_of(self, column: time.Column) -> float:
        """What a column is never below: every word crosses a boundary once, and no step does more
        MACs than there are PEs.
        """
        problem, array = self.cell.part.problem, self.cell.skeleton.arch.array
        if column == time.STEPS:
            return problem.macs / (array.rows * array.cols)
        return 0 if column[0] is None else words_used(problem, column[0].tensor)

    def _add_columns(
        self, g: ChoiceGroup, wholes: Sequence[int], kept: Sequence[tuple[int, int]]
    ) -> None:
        """A group's share of the columns' products [choices, columns], and of what is kept of them
        [choices, kept terms].
        """
        data, index = g.terms.data, g.terms.index
        if self.steps is not None:
            g.work = data[:, index[wholes[self.steps]]] * g.usage[:, 0] * g.usage[:, 1]
        none = np.zeros(len(data))
        g.whole = Packed.of(
            np.stack([data[:, index[w]] if w >= 0 else none for w in wholes], axis=1)
        )
        pairs = dict.fromkeys((int(index[a]), int(index[b])) for a, b in kept)
        parts = [data[:, a] / np.maximum(data[:, b], 1e-300) for a, b in pairs]
        at = {pair: i for i, pair in enumerate(pairs)}
        g.kept = Packed(
            np.stack(parts, axis=1) if parts else np.zeros((len(data), 0)),
            np.array([at[int(index[a]), int(index[b])] for a, b in kept], np.int64),
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
        classes = np.zeros(self.by_term.shape[1], np.int64)
        for g in right:
            classes = np.unique(
                classes * self.by_term.shape[1] + self.groups[g].terms.index, return_inverse=True
            )[1].reshape(-1)
        return classes

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
        measures = {
            name: forms[i] for i, name in enumerate(self.forms) if not name.startswith("cycles")
        }
        cycles = [forms[i] for i, name in enumerate(self.forms) if name.startswith("cycles")]
        if cycles:
            measures["cycles"] = _largest(cycles)
        if "energy" in measures and self.cell.static:
            measures["energy"] = measures["energy"] + self.cell.static * measures["cycles"]
        return measures

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
        terms = product_of([g.terms[i] for g, i in zip(self.groups, rows, strict=True)])
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
        terms = product_of(
            [g.closer[i] for g, i in zip(self.groups, rows, strict=True) if g.closer is not None]
        )
        more = [terms @ cell.by_term[name][used] + cell.constants[name] for name in cell.closer]
        at = [i for i, name in enumerate(self.forms) if name.startswith("cycles")]
        forms[at[0]] = np.maximum.reduce([forms[at[0]], *more])
        return self.measure(list(forms))

    def sample(self, picks: Sequence[Ints]) -> Floats:
        """Cycles and energy [legal ones of the sample, 2] of mappings given as one row a group."""
        usage = product_of([g.usage[i] for g, i in zip(self.groups, picks, strict=True)]).T
        legal = np.ones(usage.shape[1], bool)
        for limit in self.limits:
            legal &= limit.used(usage) <= limit.most
        measures = self.measure(list(self.forms_of([i[legal] for i in picks])))
        return np.stack([measures["cycles"], measures["energy"]], axis=1)

    def rows(self, picks: Sequence[Ints], flat: Any, shape: tuple[int, ...]) -> list[Any]:
        """The row of each group of the mappings (one, or an array) at flat positions of a block."""
        index = dict(zip(self.left + self.right, np.unravel_index(flat, shape), strict=True))
        return [picks[g][index[g]] for g in range(len(self.groups))]

    def tiles(self, choice: Sequence[int]) -> tuple[int, ...]:
        """The tile of each loop of the skeleton, by a row for each group; a loop that no group has
        is over a dimension of one.
        """
        tiles = [1] * len(self.cell.skeleton.loops)
        for group, i in zip(self.groups, choice, strict=True):
            for loop, tile in zip(group.loops, group.tiles[i], strict=True):
                tiles[loop] = int(tile)
        return tuple(tiles)

    # -- bounds ------------------------------------------------------------------------------------

    def bounds(
        self, trees: Sequence[Clusters], nodes: Ints
    ) -> tuple[dict[str, Floats], npt.NDArray[np.bool_]]:
        """Lower bounds of the measures of nodes [nodes, groups], and whether their least usage
        fits.
        """
        # of every bracket the least that comes: what was there already at its most
        first = product_of([t.least[nodes[:, g]] for g, t in enumerate(trees)])
        ratio = product_of([t.ratio_most[nodes[:, g]] for g, t in enumerate(trees)])
        first *= 1.0 - ratio
        columns = first @ self.holds
        # and the same column as a whole less what is kept, for families that count in many brackets
        whole = product_of([t.whole_least[nodes[:, g]] for g, t in enumerate(trees)])
        kept = product_of([t.kept_most[nodes[:, g]] for g, t in enumerate(trees)])
        columns = np.maximum(np.maximum(columns, whole * (1.0 - kept @ self.less)), self.floor)
        if self.steps is not None:
            columns[:, self.steps] = np.maximum(
                columns[:, self.steps], self._fewest_steps(trees, nodes)
            )
        forms = np.maximum(self.by_column, 0.0) @ columns.T
        # a column that lowers a measure must not be more than it can be
        if len(self.gains):
            most = product_of([t.most[nodes[:, g]] for g, t in enumerate(trees)])
            still = product_of([t.ratio_least[nodes[:, g]] for g, t in enumerate(trees)])
            forms += np.minimum(self.by_column, 0.0) @ ((most * (1.0 - still)) @ self.holds).T
        forms += self.constant[:, None]
        forms = np.maximum(forms, 0.0)
        usage = product_of([t.used_least[nodes[:, g]] for g, t in enumerate(trees)]).T
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


def one_of(measures: Mapping[str, Floats], at: int) -> dict[str, float]:
    return {m: float(v[at]) for m, v in measures.items()}


def product_of(factors: list[Floats]) -> Floats:
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


__all__ = ["BoundTable", "Candidate", "SearchTally", "one_of", "product_of"]
