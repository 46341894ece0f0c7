"""Combinations of all families' choices, joined one family after another, in compiled loops.

Where few combinations are legal a block of all of them would be mostly waste.  ``join`` goes
through them as an odometer does: the first family turns slowest, a place holds the product of all
families up to it, and what is too large even with the least of the families after it is passed over
with all that would follow.  ``quick_search`` asks it for spaces that are too large to be valued
whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BITS, KIND = range(2)  # columns of ``Choices.codes``
COLUMN, TIMES, ROUND = range(3)  # columns of ``Measures.parts``


class Choices(NamedTuple):
    """Choices of all families, one family after the other.

    ``begins`` [families + 1]  where a family's begin
    ``terms``  [choices, terms] and ``use`` [choices, usage columns]: factors
    ``codes``  [choices, 2]    at which levels sums are unfinished; the kind
    ``ties``   [ties, 2]       families whose factors are one: outputs and filters, places
    ``which``  [ties, choices] of a filter's which tiles; of outputs which row of the tables
    ``tied``   [ties, rows, filter tiles, terms], ``tied_use`` [..., usage columns]
    ``least``  [families + 1, usage columns]  of all families from one on
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


class Measures(NamedTuple):
    """What is made of products, for each combination of levels that sums are unfinished at.

    ``forms``   [patterns, terms, forms], ``constant`` [patterns, forms]: energy, dram, cycles' forms
    ``static``  [1]  energy a cycle;  ``powers`` [3] of energy, cycles and dram in the objective
    ``parts``   [patterns, limits, parts, 3]  usage column, words to the limit's unit, and whether
                what is used is rounded up to whole units, unit by unit
    ``most``    [patterns, limits]
    ``covered`` [kinds]
    """

    forms: Floats
    constant: Floats
    static: Floats
    powers: Floats
    parts: Floats
    most: Floats
    covered: npt.NDArray[np.bool_]


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
    result = 1.0
    if m.powers[0] != 0.0:
        energy = sums[0] + m.static[0] * cycles
        result *= energy if m.powers[0] == 1.0 else energy ** m.powers[0]
    if m.powers[1] != 0.0:
        result *= cycles if m.powers[1] == 1.0 else cycles ** m.powers[1]
    if m.powers[2] != 0.0:
        result *= sums[1] if m.powers[2] == 1.0 else sums[1] ** m.powers[2]
    return result


@kernel
def place(c: Choices, depth: int, at: Ints, terms: Floats, use: Floats, last: bool) -> None:
    """Multiply the choice at a depth into the products after it; of the ``last`` family the terms
    are left to ``objective``, as row ``depth + 1`` without the others.
    """
    row = at[depth]
    for term in range(terms.shape[1]):
        terms[depth + 1, term] = c.terms[row, term] if last else (
            terms[depth, term] * c.terms[row, term]
        )
    for column in range(use.shape[1]):
        use[depth + 1, column] = use[depth, column] * c.use[row, column]
    for tie in range(len(c.ties)):
        outer, filt = c.ties[tie, 0], c.ties[tie, 1]
        if max(outer, filt) != depth:
            continue
        o, f = c.which[tie, at[outer]], c.which[tie, at[filt]]
        for term in range(terms.shape[1]):
            terms[depth + 1, term] *= c.tied[tie, o, f, term]
        for column in range(use.shape[1]):
            use[depth + 1, column] *= c.tied_use[tie, o, f, column]


@kernel
def join(
    c: Choices, m: Measures, at: Ints, terms: Floats, use: Floats, codes: Ints, sums: Floats,
    values: Floats, rows: Ints,
) -> int:  # fmt: skip
    """List legal combinations with their objective, until all are or there is no more room.

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
        place(c, depth, at, terms, use, last)
        if not fits(use[depth + 1], c.least[depth + 1], m.parts[0], m.most[0]):
            continue
        if not last:
            codes[depth + 1, BITS], codes[depth + 1, KIND] = bits, kind
            depth += 1
            at[depth] = c.begins[depth] - 1
            continue
        if not m.covered[kind] or not fits(use[many], c.least[many], m.parts[bits], m.most[bits]):
            continue
        values[count] = objective(terms[depth], terms[many], bits, m, sums)
        for family in range(many):
            rows[count, family] = at[family]
        count += 1
        if count == len(values):
            return count
    return count


__all__ = ["Choices", "Measures", "join"]
