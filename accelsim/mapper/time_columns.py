"""Columns that only the cycles need: folds of systolic lines, ways of sums, words of first steps.

``closed_form`` counts what crosses boundaries and the MAC steps.  The forms of ``lower_cycles``
also weigh three kinds of things that are sums of products of one factor a chain, too; their factors
are made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import on_lines, surely_changes
from accelsim.engines.analytic.closed_form import BoundarySums, Factor, whole_chain
from accelsim.engines.analytic.pipeline import overlaps
from accelsim.engines.analytic.rank_sums import WORKS, ChainRows, FormulaSums, modes
from accelsim.mapper import lower_cycles as time
from accelsim.mapper.lower_cycles import Column
from accelsim.mapping.skeleton import Boundary, Chain, Skeleton, depends, most_trips

Ints = npt.NDArray[np.int64]
Bracket = tuple[Sequence[Factor], Sequence[Factor] | None]  # prod first - prod kept
SignedTerm = tuple[float, Sequence[Factor]]


def signed(brackets: Sequence[Bracket]) -> list[SignedTerm]:
    """Brackets as signed products."""
    return [
        (sign, factors)
        for first, kept in brackets
        for sign, factors in ((1.0, first), (-1.0, kept))
        if factors is not None
    ]


def extra_columns(nest: Skeleton) -> Iterator[tuple[Column, tuple[Factor, ...]]]:
    """The ways of sums that are added from PE to PE: columns only the cycles need."""
    if not on_lines(nest) and time.adds_in_a_chain(nest):
        for column, axis in ((time.ROW_WAY, "row"), (time.COL_WAY, "col")):
            yield column, tuple(_way(nest, c, axis) for c in nest.chains)


def fold_columns(nest: Skeleton) -> Iterator[tuple[Column, list[Bracket]]]:
    """Folds of an array with lines, and their rows and columns summed over them, as brackets
    (first, what is the same fold).

    A fold begins where a loop that cuts the held words advances, those inside it at their first;
    where the words stay but the size of the fold changes another one begins, which is not counted,
    nor is one where a held ifmap may slide back onto the same words.
    """
    outside = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < nest.levels - 1]
    runs: list[
        tuple[int, int]
    ] = []  # [from, to) of ``outside``: neighbouring loops that change the held words
    for n, i in enumerate(outside):
        if surely_changes(nest, i):
            runs = (
                [*runs[:-1], (runs[-1][0], n + 1)]
                if runs and runs[-1][1] == n
                else [*runs, (n, n + 1)]
            )
    for column, axis in ((time.FOLDS, ""), (time.FOLD_ROWS, "row"), (time.FOLD_COLS, "col")):

        def upto(n: int, axis: str = axis) -> list[Factor]:
            return [
                _fold(nest, c, axis, sum(i in c.loops for i in outside[:n])) for c in nest.chains
            ]

        first: list[Bracket] = [] if runs and runs[0][0] == 0 else [(upto(0), None)]
        yield column, first + [(upto(to), upto(start) if start else None) for start, to in runs]


def _fold(nest: Skeleton, chain: Chain, axis: str, outside: int) -> Factor:
    """Settings of a chain's first ``outside`` temporal loops; or over them, the rows (columns) of
    PEs its loops use.
    """
    loops = [nest.loops[i] for i in chain.loops]
    kinds = [("g" if x.axis == axis else "m") if x.spatial else "t" for x in loops]
    ways = modes(kinds, outside, False, merged=False)
    return Factor(whole_chain(nest, chain, ways), WORKS, "fold")


def ramp_columns(
    nest: Skeleton, sides: dict[Boundary, BoundarySums]
) -> dict[Column, list[SignedTerm]]:
    """Words of the first step of every phase, as signed products: what comes where a loop advances
    with which a phase begins.

    Phases begin with passes, and inside them where a loop advances that cuts a tensor the PEs do
    not take in ahead, or one outside such a loop.
    """
    last = nest.levels - 1
    waited = [
        t for t in nest.problem.operands if t in nest.keep[last] and not overlaps(nest, last, t)
    ]
    cuts = [
        i
        for i, x in enumerate(nest.loops)
        if not x.spatial and x.level < last and any(nest.loop_depends(x, t) for t in waited)
    ]
    return {
        column: _ramp(nest, sides[b], cuts)
        for column, b in time.ramp_boundaries(nest).items()
        if b in sides and not sides[b].mac
    }


def _ramp(nest: Skeleton, side: BoundarySums, cuts: Sequence[int]) -> list[SignedTerm]:
    """The words over one boundary; phases begin where a loop of ``cuts`` advances, or one outside
    of it.
    """
    last = nest.levels - 1
    first, *others = side.brackets("read")
    terms: list[SignedTerm] = [(1.0, first[0])]
    for k, bracket in zip(side.temporal, others, strict=True):
        inside = [j for j in cuts if j > k]
        begins = nest.loops[k].level < last - 1 or k in cuts
        if not begins and not inside:
            continue
        each = signed([bracket])
        terms += each
        if not begins:  # unless none of the loops inside advances
            still = [_still(nest, c, tuple(i in inside for i in c.loops)) for c in nest.chains]
            terms += [(-sign, [*factors, *still]) for sign, factors in each]
    return terms


def _still(nest: Skeleton, chain: Chain, which: tuple[bool, ...]) -> Factor:
    """1 where these loops of a chain have one trip, else 0."""

    name = "still", chain, which
    return Factor(FormulaSums((chain.name,), name, _stands_still, nest), 0, "still")


def _stands_still(nest: Skeleton, name: tuple[Any, ...], tiles: ChainRows) -> Ints:
    """``_still`` of every choice."""
    _, chain, which = name
    trips = most_trips(nest, chain, list(tiles[chain.name].T), np.minimum)
    moves = np.zeros(len(tiles[chain.name]), bool)
    for n, take in zip(trips, which, strict=True):
        if take:
            moves |= n > 1
    return np.where(moves, 0, 1)


def _way(nest: Skeleton, chain: Chain, axis: str) -> Factor:
    """Most pieces of a chain along an axis, if sums are added over them."""
    b = next(
        b
        for b in reversed(nest.boundaries)
        if b.tensor == nest.problem.accumulated and b.parent < nest.levels - 1
    )
    loops = [nest.loops[i] for i in chain.loops]
    free = not any(depends(x.dim, b.tensor, nest.fused) for x in loops)
    counted = tuple(free and x.axis == axis and x.level >= b.parent for x in loops)

    return Factor(FormulaSums((chain.name,), ("way", chain, counted), _pieces, nest), 0, "way")


def _pieces(nest: Skeleton, name: tuple[Any, ...], tiles: ChainRows) -> Ints:
    """``_way`` of every choice."""
    _, chain, counted = name
    trips = most_trips(nest, chain, list(tiles[chain.name].T), np.minimum)
    pieces = np.ones(len(tiles[chain.name]), np.int64)
    for n, take in zip(trips, counted, strict=True):
        if take:
            pieces *= n
    return pieces


__all__ = [
    "Bracket",
    "SignedTerm",
    "extra_columns",
    "fold_columns",
    "ramp_columns",
    "signed",
]
