"""Combinations of all families' choices, joined one family after another, in compiled loops.

Where few combinations are legal a block of all of them would be mostly waste.  ``join`` goes
through them as an odometer does: the first family turns slowest, a place holds the product of all
families up to it, and what is too large even with the least of those after it is passed over with
all that would follow.  ``quick_search`` asks ``Joiner`` for spaces that are too large to be valued
whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapper.quick_weights import MachineWeights

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BITS, KIND = range(2)  # columns of ``Choices.codes``
COLUMN, TIMES, ROUND = range(3)  # columns of ``Measures.parts``
ENOUGH = 1.1  # what is above the best by more is not looked for
MOST_JOINED = 1 << 16  # combinations that are listed at most


class Choices(NamedTuple):
    """Choices of all families, one family after the other.

    ``begins`` [families + 1]  where a family's begin
    ``terms``  [choices, terms] and ``use`` [choices, usage columns]: factors
    ``codes``  [choices, 2]    at which levels sums are unfinished; the kind
    ``ties``   [ties, 2]       families whose factors are one: outputs and filters, places
    ``which``  [ties, choices] of a filter's which tiles; of outputs which row of the tables
    ``tied``   [ties, rows, filter tiles, terms], ``tied_use`` [..., usage columns]
    ``least``  [families + 1, usage columns]  of all families from one on
    ``most``   [families + 1, 2]              rows and columns of these
    """

    begins: Ints
    terms: Floats
    use: Floats
    codes: Ints
    ties: Ints
    which: Ints
    tied: Floats
    tied_use: Floats
    least: Floats
    most: Floats


class Measures(NamedTuple):
    """What is made of products, for each combination of levels that sums are unfinished at.

    ``forms``   [patterns, terms, forms], ``constant`` [patterns, forms]: energy, dram, then those
                of the cycles
    ``static``  [1]  energy a cycle;  ``powers`` [3] of energy, cycles and dram in the objective
    ``parts``   [patterns, limits, parts, 3]  usage column, words to the limit's unit, and whether
                what is used is rounded up to whole units, unit by unit
    ``most``    [patterns, limits]
    ``covered`` [kinds]
    ``least``   [3]  energy without leakage and dram that no combination is below, and MACs
    ``array``   [2]  rows and columns
    """

    forms: Floats
    constant: Floats
    static: Floats
    powers: Floats
    parts: Floats
    most: Floats
    covered: npt.NDArray[np.bool_]
    least: Floats
    array: Floats


@kernel
def fits(use: Floats, rest: Floats, parts: Floats, most: Floats) -> bool:
    """Whether usage [columns], times that of the ``rest``, keeps all limits."""
    for limit in range(len(most)):
        total = 0.0
        for part in range(parts.shape[1]):
            column = int(parts[limit, part, COLUMN])
            if column < 0:
                break
            need = use[column] * rest[column] * parts[limit, part, TIMES]
            total += np.ceil(need - 1e-9) if parts[limit, part, ROUND] > 0 else need
        if total > most[limit]:
            return False
    return True


@kernel
def product(energy: float, cycles: float, dram: float, powers: Floats) -> float:
    """The objective of these measures."""
    result = 1.0
    if powers[0] != 0.0:
        result *= energy if powers[0] == 1.0 else energy ** powers[0]
    if powers[1] != 0.0:
        result *= cycles if powers[1] == 1.0 else cycles ** powers[1]
    if powers[2] != 0.0:
        result *= dram if powers[2] == 1.0 else dram ** powers[2]
    return result


@kernel
def least_of(use: Floats, most: Floats, m: Measures) -> float:
    """What no combination is below that has these rows and columns so far, and at most so many
    more.
    """
    pes = min(use[0] * most[0], m.array[0]) * min(use[1] * most[1], m.array[1])
    cycles = m.least[2] / pes
    return product(m.least[0] + m.static[0] * cycles, cycles, m.least[1], m.powers)


@kernel
def objective(terms: Floats, own: Floats, bits: int, m: Measures, sums: Floats) -> float:
    """The objective of the product of two rows of terms; ``sums`` [forms] is room."""
    many = len(sums)
    for form in range(many):
        sums[form] = m.constant[bits, form]
    for term in range(len(terms)):
        value = terms[term] * own[term]
        if value != 0.0:
            for form in range(many):
                sums[form] += value * m.forms[bits, term, form]
    cycles = sums[2]
    for form in range(3, many):
        cycles = max(cycles, sums[form])
    return product(sums[0] + m.static[0] * cycles, cycles, sums[1], m.powers)


@kernel
def multiply(
    own: Floats, ties: Ints, which: Ints, tied: npt.NDArray[np.float64], at: Ints, depth: int,
    alone: bool, products: Floats,
) -> None:  # fmt: skip
    """Multiply the choice at a depth into the products up to it: row ``depth + 1`` [families + 1,
    columns]; ``alone`` leaves out those of the families before.
    """
    row = at[depth]
    for column in range(products.shape[1]):
        before = 1.0 if alone else products[depth, column]
        products[depth + 1, column] = before * own[row, column]
    for tie in range(len(ties)):
        outer, filt = ties[tie, 0], ties[tie, 1]
        if max(outer, filt) == depth:
            o, f = which[tie, at[outer]], which[tie, at[filt]]
            for column in range(products.shape[1]):
                products[depth + 1, column] *= tied[tie, o, f, column]


@kernel
def join(
    c: Choices, m: Measures, at: Ints, terms: Floats, use: Floats, codes: Ints, sums: Floats,
    known: float, values: Floats, rows: Ints,
) -> int:  # fmt: skip
    """List legal combinations with their objective, until all are or there is no more room; none
    that is above the best, or the best ``known``, by more than ENOUGH.

    at      [families]           room for the choice of each family
    terms   [families + 1, terms], use [families + 1, usage columns]: products so far; the first
                                 row has the constants
    codes   [families + 1, 2]    what combinations so far leave unfinished, and their kind
    sums    [forms]              room
    values  [room], rows [room, families]  written; how many
    """
    many, count, depth = len(at), 0, 0
    at[0] = c.begins[0] - 1
    while depth >= 0:
        at[depth] += 1
        if at[depth] == c.begins[depth + 1]:
            depth -= 1
            continue
        last, row = depth == many - 1, at[depth]
        bits = codes[depth, BITS] | c.codes[row, BITS]
        kind = codes[depth, KIND] + c.codes[row, KIND]
        multiply(c.use, c.ties, c.which, c.tied_use, at, depth, False, use)
        if not fits(use[depth + 1], c.least[depth + 1], m.parts[0], m.most[0]):
            continue
        if least_of(use[depth + 1], c.most[depth + 1], m) > known * ENOUGH:
            continue
        if not last:
            multiply(c.terms, c.ties, c.which, c.tied, at, depth, False, terms)
            codes[depth + 1, BITS], codes[depth + 1, KIND] = bits, kind
            depth += 1
            at[depth] = c.begins[depth] - 1
            continue
        if not m.covered[kind] or not fits(use[many], c.least[many], m.parts[bits], m.most[bits]):
            continue
        multiply(c.terms, c.ties, c.which, c.tied, at, depth, True, terms)
        values[count] = objective(terms[depth], terms[many], bits, m, sums)
        if values[count] > known * ENOUGH:
            continue
        known = min(known, values[count])
        for family in range(many):
            rows[count, family] = at[family]
        count += 1
        if count == len(values):
            return count
    return count


class Joiner:
    """Values combinations of which few are legal, by ``joining.join``."""

    def __init__(
        self,
        tables: LayerTables,
        weights: MachineWeights,
        goal: Objective,
        least: Mapping[str, float],
    ) -> None:
        """``least`` are measures that no mapping on one PE is below."""
        self.tables, self.patterns = tables, tables.patterns
        each = [weights.of(bits) for bits in self.patterns]
        most = max(self.patterns) + 1
        limits = [w.limits for w in each]
        many, parts = len(limits[0]), max(len(x.parts) for of in limits for x in of)
        self.used = np.flatnonzero(np.any([w.forms.any(axis=0) for w in each], axis=0))
        terms, forms = len(self.used), len(each[0].forms)
        powers = dict(goal.powers)
        self.measures = Measures(
            np.zeros((most, terms, forms)),
            np.zeros((most, forms)),
            np.array([weights.static]),
            np.array([powers.get(m, 0.0) for m in ("energy", "cycles", "dram")]),
            np.full((most, many, parts, 3), -1.0),
            np.zeros((most, many)),
            tables.covered.ravel(),
            np.array(
                [least["energy"] - weights.static * least["cycles"], least["dram"], least["cycles"]]
            ),
            np.array([weights.arch.array.rows, weights.arch.array.cols], np.float64),
        )
        for bits, w in zip(self.patterns, each, strict=True):
            self.measures.forms[bits] = w.forms[:, self.used].T
            self.measures.constant[bits] = w.constant
            for i, limit in enumerate(w.limits):
                self.measures.most[bits, i] = limit.most
                for n, (column, word, unit, times) in enumerate(limit.parts):
                    whole = unit != 1 or not float(word).is_integer()
                    self.measures.parts[bits, i, n] = column, word * times / unit, whole

    def join(self, picks: Sequence[Ints], known: float) -> tuple[Ints, Floats]:
        """Legal combinations of these choices [combinations, families], at most MOST_JOINED, and
        their values; those above the best, or the best ``known``, by more than ENOUGH are left out.
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
        tied = np.ones((len(ties), *shape, len(self.used)))
        tied_use = np.ones((len(ties), *shape, len(t.whole)))
        least, most = np.ones((len(picks) + 1, len(t.whole))), np.ones((len(picks) + 1, 2))
        for n in range(len(picks) - 1, -1, -1):
            least[n] = least[n + 1] * use[n].min(axis=0)
            most[n] = most[n + 1] * use[n][:, :2].max(axis=0)
        for n, tie in enumerate(ties):
            o, f = place[tie.outer], place[tie.filter]
            which[n, begins[o] : begins[o + 1]] = own[o]
            which[n, begins[f] : begins[f + 1]] = tie.which[own[f]]
            some = slice(tie.terms.shape[0]), slice(tie.terms.shape[1])
            tied[n][some], tied_use[n][some] = tie.terms[:, :, self.used], tie.use
            least[: max(o, f) + 1] *= tie.use[own[o]].min(axis=(0, 1))
        choices = Choices(
            begins,
            np.vstack([t.own[f][np.ix_(x, self.used)] for f, x in zip(order, own, strict=True)]),
            np.vstack(use),
            np.vstack(codes),
            np.array([[place[tie.outer], place[tie.filter]] for tie in ties], np.int64).reshape(
                -1, 2
            ),
            which,
            tied,
            tied_use,
            least,
            most,
        )
        deep = len(picks) + 1
        terms, usage = np.empty((deep, len(self.used))), np.empty((deep, len(t.whole)))
        terms[0], usage[0] = t.constant[self.used], t.whole
        values, rows = np.empty(MOST_JOINED), np.empty((MOST_JOINED, len(picks)), np.int64)
        count = join(
            choices, self.measures, np.zeros(len(picks), np.int64), terms, usage,
            np.zeros((deep, 2), np.int64), np.empty(self.measures.constant.shape[1]),
            known, values, rows,
        )  # fmt: skip
        listed = np.empty((count, len(picks)), np.int64)
        for n, f in enumerate(order):
            listed[:, f] = own[n][rows[:count, n] - begins[n]]
        return listed, values[:count]


__all__ = ["Joiner", "join"]
