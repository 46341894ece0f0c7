"""Combinations of all families' choices, joined one family after another, in compiled loops.

``join`` goes through them as an odometer does: the first family turns slowest, a place holds the
product of all families up to it, and what is too large even with the least of those after it, or
cannot be among the best, is passed over with all that would follow.  The last family, the one with
the most choices, is not multiplied in: once all others have their choices the measures are linear
in what it decides, so its choices are scanned with folded weights, a few numbers each (``scan``).
The best are kept in a ``BestPool``; ``quick_search`` asks ``Joiner``.

    family 0     choices |  |  |  |                    products of terms and usage so far,
    family 1              \\ | / ...                    cut off where too large or too slow
    ...
    last family  groups of choices alike in what picks weights:   terms x weights folded once,
                 [ . . . . ] [ . . . ] [ . . ]                    then a scan of the group
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.mapper.kept_arrays import KeptArrays, shared
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_tables import LayerTables, Tie, classes
from accelsim.mapper.quick_weights import MachineWeights

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Key = tuple[Any, ...]  # of ``shared``
BITS, KIND = range(2)  # columns of ``Choices.codes``, and of ``LastFamily.groups`` after these:
FROM, TO, BLOCKS, FIRST_TIE = range(2, 6)
AXES = 2  # the first usage columns: rows and columns
COLUMN, EACH, TIMES, UNIT = range(4)  # columns of ``Measures.parts``
ALIKE = 1 + 1e-12  # values within so much are equal
AT_ONCE = 1 << 20  # choices looked at before the clock is
BLOCK = 16  # choices of the last family that are told together to be too much
MOST_LAID = 1 << 22  # numbers kept of picked choices laid out
ROUNDED = 1e-13  # of its terms, what a sum may be off by, with room


class Choices(NamedTuple):
    """Choices of all families but the last, one family after the other.

    ``begins`` [families]       where a family's begin
    ``ids``    [choices]        their numbers in the tables;  ``home`` [families] the family's
    ``terms``  [choices, terms] and ``use`` [choices, usage columns]: factors
    ``codes``  [choices, 2]     at which levels sums are unfinished; the kind
    ``ties``   [ties, 2]        families whose factors are one: outputs and filters, places
    ``which``  [ties, choices]  of a filter's which tiles; of outputs which row of the tables
    ``tied``   [ties, rows, filter tiles, terms], ``tied_use`` [..., usage columns]
    ``least``  [families, usage columns]  of all families from one on, the last included
    ``most``   [families, 2]              rows and columns of these
    ``low``, ``high``  [families, terms]  the least and the most of their factors
    """

    begins: Ints
    ids: Ints
    home: Ints
    terms: Floats
    use: Floats
    codes: Ints
    ties: Ints
    which: Ints
    tied: Floats
    tied_use: Floats
    least: Floats
    most: Floats
    low: Floats
    high: Floats


class LastFamily(NamedTuple):
    """Choices of the last family, those together that pick the same weights.

    ``ids``     [choices]  their numbers in the tables;  ``home`` [1] the family's
    ``groups``  [groups, 5 + ties]  what they leave unfinished, their kind, where they begin and
                                    end, where their blocks do, and of each of ``ties`` the filter's
                                    tiles
    ``lead``    [choices of the others]  what each adds to the number of those filter tiles there
                                    are, ``leads``, that outputs of this family meet
    ``fold``    [terms]             which of the different columns a term has
    ``columns`` [leads, blocks, columns, BLOCK]: factors of each BLOCK choices in a row of a group,
                                    the last one's again where it has fewer
    ``use``     [leads, choices, usage columns]: factors
    ``share``   [choices]           one over the rows times the columns of each
    ``low``, ``high``  [leads, blocks + groups, columns], ``shares`` [blocks + groups]: the least
                                    and the most of each block, then of each whole group
    ``ties``    [ties]              the places of outputs that filters of this family meet
    ``which``   [ties, choices of the others], ``tied``, ``tied_use``: as in ``Choices``
    ``least``   [leads, groups, usage columns] and ``most`` [groups, 2]
    """

    ids: Ints
    home: Ints
    groups: Ints
    lead: Ints
    fold: Ints
    columns: Floats
    use: Floats
    share: Floats
    low: Floats
    high: Floats
    shares: Floats
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
    ``least_forms``  [patterns, terms, forms], ``lowest`` [patterns, forms]: weights and constants
                at least, whatever more is left unfinished
    ``static``  [1]  energy a cycle;  ``powers`` [3] of energy, cycles and dram in the objective
    ``parts``   [patterns, limits, parts, 4]  usage column, bytes a word, how often, bytes of a unit
    ``most``    [patterns, limits]
    ``covered`` [kinds]
    ``least``   [4]  energy without leakage and dram that no combination is below; MACs; and cycles
                that no combination's bound is below
    ``array``   [2]  rows and columns
    ``first``   [usage columns]  cycles that each word there should add to the bound
    """

    forms: Floats
    constant: Floats
    least_forms: Floats
    lowest: Floats
    static: Floats
    powers: Floats
    parts: Floats
    most: Floats
    covered: npt.NDArray[np.bool_]
    least: Floats
    array: Floats
    first: Floats


class Room(NamedTuple):
    """Where ``join`` keeps its place and works.

    ``place``  [2]  the family it is at, negative at the end; choices looked at
    ``at``     [families]            the choice of each family but the last
    ``terms``  [families + 1, terms], ``use`` [families + 1, usage columns]: products so far; the
                                         first row has the constants
    ``codes``  [families + 1, 2]     what combinations so far leave unfinished, and their kind
    ``base``   [usage columns]       products of all but the last family
    ``sums``   [forms, columns]      folded weights
    ``energies`` [BLOCK]             of choices of the last family
    """

    place: Ints
    at: Ints
    terms: Floats
    use: Floats
    codes: Ints
    base: Floats
    sums: Floats
    energies: Floats


class BestPool(NamedTuple):
    """The best so far, by what they should come to: least first, of equal ``values`` those with
    fewer ``cycles``.

    ``bounds``  what the objective of each is not below;  ``rows`` [kept, families] its choices
    ``lost``    [1]  what nothing is below that was looked at and is not kept, beside ``values[-1]``

    Places that are still free have the value inf.
    """

    values: Floats
    cycles: Floats
    bounds: Floats
    rows: Ints
    lost: Floats

    @classmethod
    def empty(cls, kept: int, families: int) -> BestPool:
        values, cycles, bounds = (np.full(kept, np.inf) for _ in range(3))
        rows = np.full((kept, families), -1, np.int64)
        return cls(values, cycles, bounds, rows, np.full(1, np.inf))

    def add(self, other: BestPool) -> None:
        """Take in what another has."""
        for value, cycles, bound, row in zip(*other[:4], strict=True):
            if value < np.inf:
                enter(self, value, cycles, bound, row)
        self.lost[0] = min(self.lost[0], other.lost[0], other.values[-1])


@kernel
def fits(use: Floats, rest: Floats, parts: Floats, most: Floats) -> bool:
    """Whether usage [columns], times that of the ``rest``, keeps all limits."""
    for limit in range(len(most)):
        total = 0.0
        for part in range(parts.shape[1]):
            column = int(parts[limit, part, COLUMN])
            if column < 0:
                break
            need = np.ceil(use[column] * rest[column] * parts[limit, part, EACH])
            need *= parts[limit, part, TIMES]
            if parts[limit, part, UNIT] != 1.0:
                need = np.ceil(need / parts[limit, part, UNIT])
            total += need
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
def least_product(
    terms: Floats, low: Floats, high: Floats, weights: Floats, form: int, constant: float
) -> float:
    """What a form is not below with these products so far, whatever is still to be multiplied in:
    each term at its ``low``, or its ``high``.
    """
    total = size = constant
    for term in range(len(terms)):
        weight = weights[term, form]
        least = weight * terms[term] * (low[term] if weight > 0.0 else high[term])
        total += least
        size += abs(least)
    below: float = total - ROUNDED * size
    return below


@kernel
def costs_too_much(
    terms: Floats, low: Floats, high: Floats, use: Floats, most: Floats, bits: int, m: Measures,
    worst: float,
) -> bool:  # fmt: skip
    """Whether no combination with these products so far is among the best: by its energy, then by
    all forms.
    """
    weights, constant, dram = m.least_forms[bits], m.lowest[bits], m.least[1]
    energy = max(least_product(terms, low, high, weights, 0, constant[0]), m.least[0])
    pes = min(use[0] * most[0], m.array[0]) * min(use[1] * most[1], m.array[1])
    cycles = max(m.least[2] / pes, m.least[3])
    if product(energy + m.static[0] * cycles, cycles, dram, m.powers) > worst:
        return True
    for form in range(1, weights.shape[1]):
        least = least_product(terms, low, high, weights, form, constant[form])
        if form == 1:
            dram = max(dram, least)
        else:
            cycles = max(cycles, least)
    beyond: bool = product(energy + m.static[0] * cycles, cycles, dram, m.powers) > worst
    return beyond


@kernel
def multiply(
    own: Floats, ties: Ints, which: Ints, tied: npt.NDArray[np.float64], at: Ints, depth: int,
    products: Floats,
) -> None:  # fmt: skip
    """Multiply the choice at a depth into the products up to it: row ``depth + 1`` [families + 1,
    columns].
    """
    row = at[depth]
    for column in range(products.shape[1]):
        products[depth + 1, column] = products[depth, column] * own[row, column]
    for tie in range(len(ties)):
        outer, filt = ties[tie, 0], ties[tie, 1]
        if max(outer, filt) == depth:
            o, f = which[tie, at[outer]], which[tie, at[filt]]
            for column in range(products.shape[1]):
                products[depth + 1, column] *= tied[tie, o, f, column]


@kernel
def fold(
    e: LastFamily, m: Measures, room: Room, group: int, bits: int, begin: int, end: int
) -> None:
    """The weights that the different columns of the last family's choices have now, for some forms:
    ``room.sums``.
    """
    terms = room.terms[len(room.at)]
    forms, sums = m.forms[bits], room.sums
    for form in range(begin, end):
        for column in range(sums.shape[1]):
            sums[form, column] = 0.0
    for term in range(len(terms)):
        value = terms[term]
        for tie in range(len(e.ties)):
            o = e.which[tie, room.at[e.ties[tie]]]
            value *= e.tied[tie, o, e.groups[group, FIRST_TIE + tie], term]
        if value != 0.0:
            for form in range(begin, end):
                sums[form, e.fold[term]] += value * forms[term, form]


@kernel
def enter(pool: BestPool, value: float, cycles: float, bound: float, row: Ints) -> None:
    """Put a combination where it belongs, unless it is there already; the last one drops out."""
    values, last = pool.values, len(pool.values) - 1
    at = last
    while at >= 0 and (
        value * ALIKE < values[at]
        or (value < values[at] * ALIKE and cycles * ALIKE < pool.cycles[at])
    ):
        at -= 1
    near = at
    while near >= 0 and value < values[near] * ALIKE:
        same = True
        for family in range(len(row)):
            same = same and row[family] == pool.rows[near, family]
        if same:
            return
        near -= 1
    if at == last:
        pool.lost[0] = min(pool.lost[0], bound)
        return
    pool.lost[0] = min(pool.lost[0], pool.bounds[last])
    for below in range(last, at + 1, -1):
        values[below], pool.cycles[below] = values[below - 1], pool.cycles[below - 1]
        pool.bounds[below] = pool.bounds[below - 1]
        for family in range(len(row)):
            pool.rows[below, family] = pool.rows[below - 1, family]
    values[at + 1], pool.cycles[at + 1], pool.bounds[at + 1] = value, cycles, bound
    for family in range(len(row)):
        pool.rows[at + 1, family] = row[family]


@kernel
def least_sum(
    e: LastFamily, room: Room, lead: int, block: int, form: int, constant: float
) -> float:
    """What a form is not below of any choice of a block: as if each column had the least it has of
    any.
    """
    total, size = constant, constant
    for column in range(room.sums.shape[1]):
        weight = room.sums[form, column]
        least = e.low[lead, block, column] if weight > 0.0 else e.high[lead, block, column]
        total += weight * least
        size += abs(weight * least)
    return total - ROUNDED * size


@kernel
def too_much(
    e: LastFamily, m: Measures, room: Room, lead: int, block: int, bits: int, forms: int,
    worst: float,
) -> bool:  # fmt: skip
    """Whether no choice of a block is among the best, by the first so many forms: its energy at
    least, with each PE or the outermost port busy all the time; then what other forms say.
    """
    constant, dram = m.constant[bits], m.least[1]
    energy = max(least_sum(e, room, lead, block, 0, constant[0]), m.least[0])
    cycles = max(m.least[2] / (room.base[0] * room.base[1]) * e.shares[block], m.least[3])
    if product(energy + m.static[0] * cycles, cycles, dram, m.powers) > worst:
        return True
    for form in range(1, forms):
        least = least_sum(e, room, lead, block, form, constant[form])
        if form == 1:
            dram = max(dram, least)
        else:
            cycles = max(cycles, least)
    beyond: bool = product(energy + m.static[0] * cycles, cycles, dram, m.powers) > worst
    return beyond


@kernel
def weigh_block(e: LastFamily, room: Room, lead: int, block: int, constant: float) -> None:
    """The energies of a block's choices without leakage: ``room.energies``.  Padded blocks of one
    size are four times as fast as choices in a row.
    """
    energies = room.energies
    for at in range(BLOCK):
        energies[at] = constant
    for column in range(room.sums.shape[1]):
        weight = room.sums[0, column]
        if weight != 0.0:
            for at in range(BLOCK):
                energies[at] += weight * e.columns[lead, block, column, at]


@kernel
def scan(
    c: Choices, e: LastFamily, m: Measures, room: Room, pool: BestPool, lead: int, group: int,
    bits: int, row: Ints,
) -> int:  # fmt: skip
    """Value the choices of a group of the last family with all others' as they are, a block at a
    time; how many blocks and choices were looked at.

    What cannot be better than the pool's last is told by its energy, of the group, of each block
    and of each choice; by all forms once a choice was good enough so far, first of the group.  What
    can is valued in full.  ``row`` [families] is room.
    """
    worst, forms, whole = pool.values[-1] * ALIKE, 1, len(e.shares) - len(e.groups) + group
    fold(e, m, room, group, bits, 0, 1)
    if too_much(e, m, room, lead, whole, bits, 1, worst):
        return 1
    busy = m.least[2] / (room.base[0] * room.base[1])
    block, looked = e.groups[group, BLOCKS] - 1, 1
    for begin in range(e.groups[group, FROM], e.groups[group, TO], BLOCK):
        block += 1
        looked += 1
        if too_much(e, m, room, lead, block, bits, forms, worst):
            continue
        looked += BLOCK
        weigh_block(e, room, lead, block, m.constant[bits, 0])
        for choice in range(begin, min(begin + BLOCK, e.groups[group, TO])):
            cycles = max(busy * e.share[choice], m.least[3])
            energy = room.energies[choice - begin] + m.static[0] * cycles
            if product(energy, cycles, m.least[1], m.powers) > worst:
                continue
            if forms == 1:
                forms = len(room.sums)
                fold(e, m, room, group, bits, 1, forms)
                if too_much(e, m, room, lead, whole, bits, forms, worst):
                    return looked
            if fits(room.base, e.use[lead, choice], m.parts[bits], m.most[bits]):
                value(c, e, m, room, pool, lead, block, choice, choice - begin, bits, row)
                worst = pool.values[-1] * ALIKE
    return looked


@kernel
def value(
    c: Choices, e: LastFamily, m: Measures, room: Room, pool: BestPool, lead: int, block: int,
    choice: int, at: int, bits: int, row: Ints,
) -> None:  # fmt: skip
    """Put a choice of the last family, which is the block's ``at``, into the pool if it is among
    the best: by its bound and what comes on top of that (``Measures.first``).
    """
    sums, constant, columns = room.sums, m.constant[bits], e.columns[lead, block]
    worst, energy = pool.values[-1] * ALIKE, room.energies[at]
    cycles = m.least[2] / (room.base[0] * room.base[1]) * e.share[choice]
    for form in range(2, len(constant)):
        total = constant[form]
        for column in range(len(columns)):
            total += sums[form, column] * columns[column, at]
        cycles = max(cycles, total)
    dram = constant[1]
    for column in range(len(columns)):
        dram += sums[1, column] * columns[column, at]
    bound = product(energy + m.static[0] * cycles, cycles, dram, m.powers)
    if bound > worst:
        return
    for column in range(len(room.base)):
        cycles += room.base[column] * e.use[lead, choice, column] * m.first[column]
    worth = product(energy + m.static[0] * cycles, cycles, dram, m.powers)
    if worth > worst:
        pool.lost[0] = min(pool.lost[0], bound)
        return
    for depth in range(len(room.at)):
        row[c.home[depth]] = c.ids[room.at[depth]]
    row[e.home[0]] = e.ids[choice]
    enter(pool, worth, cycles, bound, row)


@kernel
def spread(e: LastFamily, room: Room, group: int, begin: int, end: int) -> None:
    """What all families but the last use with a group of that: ``room.base``, some columns."""
    many = len(room.at)
    for column in range(begin, end):
        room.base[column] = room.use[many, column]
        for tie in range(len(e.ties)):
            o = e.which[tie, room.at[e.ties[tie]]]
            room.base[column] *= e.tied_use[tie, o, e.groups[group, FIRST_TIE + tie], column]


@kernel
def finish(c: Choices, e: LastFamily, m: Measures, room: Room, pool: BestPool, row: Ints) -> int:
    """Value every choice of the last family that may be among the best; how many were looked at."""
    many, looked, lead = len(room.at), 0, 0
    for depth in range(many):
        lead += e.lead[room.at[depth]]
    for group in range(len(e.groups)):
        bits = room.codes[many, BITS] | e.groups[group, BITS]
        if not m.covered[room.codes[many, KIND] + e.groups[group, KIND]]:
            continue
        looked += 1
        spread(e, room, group, 0, AXES)
        if least_of(room.base, e.most[group], m) > pool.values[-1] * ALIKE:
            continue
        spread(e, room, group, AXES, len(room.base))
        if not fits(room.base, e.least[lead, group], m.parts[bits], m.most[bits]):
            continue
        looked += scan(c, e, m, room, pool, lead, group, bits, row)
    return looked


@kernel
def join(
    c: Choices, e: LastFamily, m: Measures, room: Room, pool: BestPool, row: Ints, most: int
) -> bool:
    """Value all legal combinations and keep the best in the pool; whether all are done, or
    ``most`` choices were looked at and the next call goes on from there.
    """
    many, depth, looked = len(room.at), room.place[0], 0
    while depth >= 0 and looked < most:
        if depth == many:
            looked += finish(c, e, m, room, pool, row)
            depth -= 1
            continue
        room.at[depth] += 1
        if room.at[depth] == c.begins[depth + 1]:
            depth -= 1
            continue
        looked += 1
        multiply(c.use, c.ties, c.which, c.tied_use, room.at, depth, room.use)
        if least_of(room.use[depth + 1], c.most[depth + 1], m) > pool.values[-1] * ALIKE:
            continue
        if not fits(room.use[depth + 1], c.least[depth + 1], m.parts[0], m.most[0]):
            continue
        multiply(c.terms, c.ties, c.which, c.tied, room.at, depth, room.terms)
        for code in range(2):
            before, own = room.codes[depth, code], c.codes[room.at[depth], code]
            room.codes[depth + 1, code] = before | own if code == BITS else before + own
        if costs_too_much(
            room.terms[depth + 1], c.low[depth + 1], c.high[depth + 1], room.use[depth + 1],
            c.most[depth + 1], room.codes[depth + 1, BITS], m, pool.values[-1] * ALIKE,
        ):  # fmt: skip
            continue
        depth += 1
        if depth < many:
            room.at[depth] = c.begins[depth] - 1
    room.place[0] = depth
    room.place[1] += looked
    return bool(depth < 0)


class Block(NamedTuple):
    """Choices of a family that is not the last, as ``Choices`` has them of all such families: large
    tiles first, as what is good early cuts off more.
    """

    ids: Ints
    terms: Floats
    use: Floats
    codes: Ints


def _own_size(laid: tuple[Choices, LastFamily]) -> int:
    """How many numbers choices that are laid out have, but for what others have too."""
    choices, last = laid
    return sum([x.size for x in (choices.terms, choices.use, last.columns, last.use, last.low)])


_laid = KeptArrays(MOST_LAID, _own_size)


class LaidOut:
    """A layer's tables as ``join`` reads them, for all machines that weigh the same terms.

    ``used``   the terms that some form weighs
    ``keys``   of what is laid out of each family alone: the same where that is (``shared``)
    ``tied``   of each tie [outer choices, filter tiles, used] the factors of these
    ``alike``  of each family, which terms have the same factors whatever its choice, by number
               [used], and the first of each number
    """

    def __init__(self, tables: LayerTables, used: Ints) -> None:
        self.tables, self.used, ties = tables, used, tables.ties.values()
        self._token = object()  # equal to none but itself
        weighed = used.tobytes()
        self.tied = {
            at: shared.of(("tied", weighed, tie.key), partial(np.take, tie.terms, used, 2))
            for at, tie in tables.ties.items()
        }
        self.keys = [
            (weighed, key, *[tie.key for tie in ties if tie.outer == f])
            for f, key in enumerate(tables.keys)
        ]
        self.alike = [
            shared.of(("alike", key), partial(self._alike, f)) for f, key in enumerate(self.keys)
        ]

    @classmethod
    def of(cls, tables: LayerTables, used: Ints) -> LaidOut:
        """Kept with the tables."""
        known: LaidOut = tables.joined.of(used.tobytes(), lambda: cls(tables, used))
        return known

    def _alike(self, f: int) -> tuple[Ints, Ints]:
        """``alike`` of a family, by its own factors and those of its ties."""
        ties = [x.reshape(-1, len(self.used)) for (o, _), x in self.tied.items() if o == f]
        kinds = np.array(classes(np.vstack([self.tables.own[f][:, self.used], *ties])), np.int64)
        return kinds, np.unique(kinds, return_index=True)[1]

    def laid(self, order: Sequence[int], picks: Sequence[Ints]) -> tuple[Choices, LastFamily]:
        """The picked choices as ``join`` takes them; the next machine may well ask for the same."""

        def made() -> tuple[Choices, LastFamily]:
            keys = [(*key, own) for key, own in zip(self.keys, known, strict=True)]
            return self._choices(order, picks, keys), self._last(order, picks, keys)

        known = [own.tobytes() for own in picks]
        return _laid.of((self._token, *known), made)

    def _choices(self, order: Sequence[int], picks: Sequence[Ints], keys: Sequence[Key]) -> Choices:
        """All families but the last of the ``order``."""
        t, first = self.tables, order[:-1]
        place = {f: n for n, f in enumerate(order)}
        begins = np.cumsum([0, *[len(picks[f]) for f in first]])
        ties = [tie for tie in t.ties.values() if order[-1] not in (tie.outer, tie.filter)]
        which = np.zeros((len(ties), begins[-1]), np.int64)
        for n, tie in enumerate(ties):
            o, f = place[tie.outer], place[tie.filter]
            which[n, begins[o] : begins[o + 1]] = picks[tie.outer][::-1]
            which[n, begins[f] : begins[f + 1]] = tie.which[picks[tie.filter]][::-1]
        blocks = [
            shared.of(("block", self._stride(f), keys[f]), partial(self._block, f, picks[f]))
            for f in first
        ]
        ids, terms, use, codes = map(np.concatenate, zip(self._none(), *blocks, strict=True))
        return Choices(
            begins,
            ids,
            np.array(first, np.int64),
            terms,
            use,
            codes,
            np.array([[place[x.outer], place[x.filter]] for x in ties], np.int64).reshape(-1, 2),
            which,
            *self._tied(ties),
            *self._ends(order, picks, keys),
        )

    def _block(self, f: int, own: Ints) -> Block:
        t, ids = self.tables, own[::-1]
        return Block(ids, t.own[f][ids][:, self.used], t.usage[f][ids], self._codes(f, ids))

    def _none(self) -> Block:
        """Of no family."""
        none, usage = np.zeros(0, np.int64), len(self.tables.whole)
        terms, use = np.zeros((0, len(self.used))), np.zeros((0, usage))
        return Block(none, terms, use, np.zeros((0, 2), np.int64))

    def _ends(
        self, order: Sequence[int], picks: Sequence[Ints], keys: Sequence[Key]
    ) -> tuple[Floats, ...]:
        """What all families from one of the ``order`` on use at least, their most rows and columns,
        and their factors: ``Choices.least``, ``most``, ``low``, ``high``.
        """
        t, place = self.tables, {f: n for n, f in enumerate(order)}
        ends = [np.ones((len(order) + 1, n)) for n in (len(t.whole), AXES, *[len(self.used)] * 2)]
        for n in range(len(order) - 1, -1, -1):
            f = order[n]
            for of, own in zip(
                ends, shared.of(("ends", keys[f]), partial(self._ends_of, f, picks[f])), strict=True
            ):
                of[n] = of[n + 1] * own
        least, _, low, high = ends
        for tie in t.ties.values():
            both = max(place[tie.outer], place[tie.filter]) + 1
            key = "ends", tie.key, keys[tie.outer], keys[tie.filter]
            for of, own in zip(
                (least, low, high),
                shared.of(key, partial(self._tied_ends, tie, picks)),
                strict=True,
            ):
                of[:both] *= own
        return tuple(ends)

    def _ends_of(self, f: int, own: Ints) -> tuple[Floats, ...]:
        """The least that some choices use [usage columns], the most rows and columns [2], the least
        and the most of their factors [used].
        """
        use, terms = self.tables.usage[f][own], self.tables.own[f][own][:, self.used]
        return use.min(axis=0), use[:, :AXES].max(axis=0), terms.min(axis=0), terms.max(axis=0)

    def _tied_ends(self, tie: Tie, picks: Sequence[Ints]) -> tuple[Floats, ...]:
        """The least that two families use together, the least and the most of their factors."""
        at = np.ix_(picks[tie.outer], np.unique(tie.which[picks[tie.filter]]))
        terms = self.tied[tie.outer, tie.filter][at]
        return tie.use[at].min(axis=(0, 1)), terms.min(axis=(0, 1)), terms.max(axis=(0, 1))

    def _last(self, order: Sequence[int], picks: Sequence[Ints], keys: Sequence[Key]) -> LastFamily:
        """The last family of the ``order``, its choices grouped, beside those of all others."""
        ties, f = self.tables.ties.values(), order[-1]
        first, place = order[:-1], {g: n for n, g in enumerate(order[:-1])}
        begins = np.cumsum([0, *[len(picks[g]) for g in first]])
        filters = [tie for tie in ties if tie.filter == f]
        outers = [tie for tie in ties if tie.outer == f]
        of_filters = [keys[tie.filter] for tie in outers]
        key = "last", self._stride(f), keys[f], *of_filters, *[tie.key[1] for tie in filters]
        last, leads = shared.of(key, lambda: self._alone(f, picks, filters, outers))
        which = np.zeros((len(filters), begins[-1]), np.int64)
        for n, tie in enumerate(filters):
            at = place[tie.outer]
            which[n, begins[at] : begins[at + 1]] = picks[tie.outer][::-1]
        lead = np.zeros(begins[-1], np.int64)
        for tie, own in zip(outers, leads, strict=True):
            at = place[tie.filter]
            lead[begins[at] : begins[at + 1]] += own
        met = np.array([place[tie.outer] for tie in filters], np.int64)
        tied, tied_use = self._tied(filters)
        return last._replace(
            home=np.array([f], np.int64), lead=lead, ties=met, which=which, tied=tied,
            tied_use=tied_use,
        )  # fmt: skip

    def _alone(
        self, f: int, picks: Sequence[Ints], filters: Sequence[Tie], outers: Sequence[Tie]
    ) -> tuple[LastFamily, tuple[Ints, ...]]:
        """A last family without what hangs on the choices of others; and what each of these adds to
        ``lead`` for each tie of ``outers``.
        """
        alike = np.column_stack(
            [self._codes(f, picks[f]), *[tie.which[picks[f]] for tie in filters]]
        )
        by = np.lexsort(alike.T[::-1])
        ids, alike = picks[f][by], alike[by]
        starts = np.flatnonzero(np.append(True, (np.diff(alike, axis=0) != 0).any(axis=1)))
        ends = np.append(starts[1:], len(ids))
        blocks = [np.arange(*x, BLOCK) for x in zip(starts, ends, strict=True)]
        first_block = np.cumsum([0, *map(len, blocks)])[:-1]
        block, last_of = np.concatenate(blocks), np.repeat(ends - 1, [len(x) for x in blocks])
        padded = np.minimum(block[:, None] + np.arange(BLOCK), last_of[:, None])
        groups = np.column_stack([alike[starts, :2], starts, ends, first_block, alike[starts, 2:]])
        kinds, apart = self.alike[f]
        terms = self.tables.own[f][ids[:, None], self.used[apart]][None]
        use = self.tables.usage[f][ids][None]
        leads: list[Ints] = []
        for tie in outers:
            met, which = np.unique(tie.which[picks[tie.filter][::-1]], return_inverse=True)
            leads.append(len(terms) * which)
            at = np.ix_(ids, met)
            own = self.tied[tie.outer, tie.filter][at][:, :, apart].swapaxes(0, 1)
            terms = (own[:, None] * terms[None]).reshape(-1, *terms.shape[1:])
            use = (np.swapaxes(tie.use[at], 0, 1)[:, None] * use[None]).reshape(-1, *use.shape[1:])
        of = np.array(classes(terms.reshape(-1, len(apart))), np.int64)
        columns = terms[:, :, np.unique(of, return_index=True)[1]]
        share = 1.0 / (use[0, :, 0] * use[0, :, 1])

        def of_all(least: np.ufunc, x: Floats, axis: int) -> Floats:
            """Of each block, then of each group."""
            each = [least.reduceat(x, begins, axis=axis) for begins in (block, starts)]
            return np.ascontiguousarray(np.concatenate(each, axis=axis))

        none, nothing = np.zeros(0, np.int64), np.zeros(0)
        last = LastFamily(
            ids,
            none,
            groups.astype(np.int64),
            none,
            of[kinds],
            np.ascontiguousarray(np.swapaxes(columns[:, padded], 2, 3)),
            np.ascontiguousarray(use),
            share,
            of_all(np.minimum, columns, 1),
            of_all(np.maximum, columns, 1),
            of_all(np.minimum, share, 0),
            none, none, nothing, nothing,
            np.minimum.reduceat(use, starts, axis=1),
            np.maximum.reduceat(use[0, :, :2], starts, axis=0),
        )  # fmt: skip
        return last, tuple(leads)

    def _stride(self, f: int) -> int:
        """What a kind more of a family adds to the number of a combination's kinds."""
        return prod(self.tables.covered.shape[f + 1 :])

    def _codes(self, f: int, own: Ints) -> Ints:
        """What choices of a family leave unfinished, and what they add to the kind [choices, 2]."""
        t = self.tables
        return np.column_stack([t.unfinished[f][own], t.kinds[f][own] * self._stride(f)])

    def _tied(self, ties: Sequence[Tie]) -> tuple[Floats, Floats]:
        """Tables of ties as one, terms and usage."""
        key = "together", self.used.tobytes(), *[tie.key for tie in ties]
        return shared.of(key, partial(self._together, ties))

    def _together(self, ties: Sequence[Tie]) -> tuple[Floats, Floats]:
        shape = [max([tie.terms.shape[n] for tie in ties], default=1) for n in (0, 1)]
        terms = np.ones((len(ties), *shape, len(self.used)))
        use = np.ones((len(ties), *shape, len(self.tables.whole)))
        for n, tie in enumerate(ties):
            some = slice(tie.terms.shape[0]), slice(tie.terms.shape[1])
            terms[n][some], use[n][some] = self.tied[tie.outer, tie.filter], tie.use
        return terms, use


class Joiner:
    """Values combinations of choices by ``joining.join``, for one machine and objective."""

    def __init__(
        self,
        tables: LayerTables,
        weights: MachineWeights,
        goal: Objective,
    ) -> None:
        self.tables, least = tables, weights.least(1)
        limits = {bits: weights.limits_of(bits) for bits in tables.patterns}
        many = max(map(len, limits.values()))
        parts = max(len(x.parts) for of in limits.values() for x in of)
        self.used, forms, constant, least_forms, lowest = weights.together()
        self.laid, most = LaidOut.of(tables, self.used), len(forms)
        powers = dict(goal.powers)
        self.measures = Measures(
            forms,
            constant,
            least_forms,
            lowest,
            np.array([weights.static]),
            np.array([powers.get(m, 0.0) for m in ("energy", "cycles", "dram")]),
            np.full((most, many, parts, 4), -1.0),
            np.zeros((most, many)),
            tables.covered.ravel(),
            np.array(
                [
                    least["energy"] - weights.static * least["cycles"],
                    least["dram"],
                    least["cycles"],
                    weights.port_cycles,
                ]
            ),
            np.array([weights.arch.array.rows, weights.arch.array.cols], np.float64),
            weights.first,
        )
        for bits, own in limits.items():
            for i, limit in enumerate(own):
                self.measures.most[bits, i] = limit.most
                for n, (column, word, unit, times) in enumerate(limit.parts):
                    self.measures.parts[bits, i, n] = column, word, times, unit

    def join(
        self, picks: Sequence[Ints], pool: BestPool, most: int | None, tick: Callable[[], None]
    ) -> int:
        """Value all legal combinations of these choices, or until ``most`` were looked at, and put
        the best into the ``pool``; how many were looked at.
        """
        order = sorted(range(len(picks)), key=lambda f: (len(picks[f]), f))
        choices, last = self.laid.laid(order, picks)
        families, terms, usage = len(order), len(self.used), len(self.tables.whole)
        room = Room(
            np.zeros(2, np.int64),
            choices.begins[:-1] - 1,
            np.empty((families, terms)),
            np.empty((families, usage)),
            np.zeros((families, 2), np.int64),
            np.empty(usage),
            np.empty((self.measures.constant.shape[1], last.columns.shape[2])),
            np.empty(BLOCK),
        )
        room.terms[0], room.use[0] = self.tables.constant[self.used], self.tables.whole
        row, done = np.zeros(families, np.int64), False
        while not done and (most is None or room.place[1] < most):
            tick()
            left = AT_ONCE if most is None else min(AT_ONCE, most - int(room.place[1]))
            done = join(choices, last, self.measures, room, pool, row, left)
        return int(room.place[1])


__all__ = ["BestPool", "Joiner", "join"]
