"""What one layer's loops count and use, whatever their tiles and the machine's numbers: what the
``LayerTables`` of all machines of one structure have in common.

Counts are signed products of one factor a chain (``engines/analytic/closed_form.py``).  Here stands
whose choices decide each factor, and what of tiles and trips makes what a level holds; it is kept
with the skeleton's form.  ``quick_tables`` puts the choices in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import on_lines
from accelsim.engines.analytic.closed_form import (
    BoundarySums,
    Evaluated,
    Table,
    TermList,
    all_pairs,
    moves_of,
    terms_of,
    write_counts,
)
from accelsim.engines.analytic.rank_sums import (
    ADVANCES,
    GROUPS,
    HELD,
    KEPT,
    LEFT,
    ChainSums,
    Cuts,
    FormulaSums,
    SlideSums,
    slide_largest,
)
from accelsim.engines.moved import Moves
from accelsim.hardware.architecture import structure
from accelsim.mapper.lower_cycles import Column
from accelsim.mapper.time_columns import extra_columns, fold_columns, ramp_columns, signed
from accelsim.mapping.skeleton import Kept, Skeleton, SlidingRank
from accelsim.workload.problem import TENSORS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
PASSES, STEPS = -2, -1  # usage columns
NO_LOOPS = np.ones((1, 0), np.int64)  # the one choice of tiles of a chain without loops
Home = int | tuple[int, int]  # a family, or two that are tied
Reads = tuple[int, ...]  # places of loops in a family


class FactorUse(NamedTuple):
    """Where a table of sums is a factor: ``columns[i]`` of the term ``terms[i]``."""

    table: Table
    terms: Ints
    columns: tuple[int, ...]


class SlidUse(NamedTuple):
    """A usage column of a sliding rank's words, and which of two families' loops cut it."""

    column: int
    rank: SlidingRank
    outer: Reads
    filter: Reads


class FamilyUse(NamedTuple):
    """What of a family's choices makes so many usage ``columns``.

    ``trips``   columns that are trips of some loops together
    ``tiles``   columns of which a loop's tile is a factor
    ``slides``  columns of which a sliding rank's words are, where no other family cuts it
    """

    columns: int
    trips: tuple[tuple[int, Reads], ...]
    tiles: tuple[tuple[int, int], ...]
    slides: tuple[SlidUse, ...]


class FamilyCounts(NamedTuple):
    """What a family's choices decide.

    ``factors``     of the counts, and what they ``use``
    ``unfinished``  by level, its loops that leave sums unfinished there
    ``key``         the same where all this is alike, as it is in many layers
    """

    factors: tuple[FactorUse, ...]
    use: FamilyUse
    unfinished: tuple[Reads, ...]
    key: object


class Tied(NamedTuple):
    """What outputs and the filter that slides over them decide together, where both are families.

    ``outer, filter``  the families;  ``reads`` which of the latter's loops cut the filter
    ``slides``         usage columns of which both make a factor
    """

    outer: int
    filter: int
    reads: Reads
    factors: tuple[FactorUse, ...]
    slides: tuple[SlidUse, ...]
    key: object


class LayerCounts:
    """
    ``skeleton``  with the numbers of the machine that asked first
    ``home``      chain -> its family;  ``place`` loop -> its family, and which of its loops it is
    ``stores``    (level, tensor) of the usage columns from 2 on
    ``signs``     [terms, columns]: how terms make ``columns``
    ``decided``   by each family;  ``ties`` by two
    ``constant``  [terms], ``whole`` [4 + stores]: factors and usage that no choice decides
    ``lines``     whether words travel along systolic lines
    ``exact``     whether every count is exact, or reads may be too few
    ``kind``      the same for layers of a structure with the same ``columns`` and ``signs``
    ``known``     what is the same for all tables of the layer
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton, self.families = skeleton, skeleton.families
        self.home = {f.name: i for i, f in enumerate(self.families)}
        self.place = {i: (f, n) for f, x in enumerate(self.families) for n, i in enumerate(x.loops)}
        self.stores = [
            (i, t) for i in range(1, skeleton.levels) for t in TENSORS if t in skeleton.keep[i]
        ]
        self.lines = any(
            "systolic" in (n.streamed, n.held, n.accumulated)
            for n in skeleton.arch.networks.values()
        )
        self.exact = True
        self.known: Kept[Any] = Kept(1 << 6)
        factors = self._count()
        tiles, slides = self._use()
        self.decided = [
            self._family(f, tuple(factors[f]), tuple(tiles[f]), tuple(slides[f]))
            for f in range(len(self.families))
        ]
        self.ties = self._tied(factors, slides)
        loops = tuple([(x.dim, x.level, x.axis) for x in skeleton.loops])
        self.kind = _key(
            [], structure(skeleton.arch), skeleton.problem.direction, loops, skeleton.keep,
            self.columns, self.signs.tobytes(),
        )  # fmt: skip
        self.constant.flags.writeable = self.whole.flags.writeable = False

    @classmethod
    def of(cls, skeleton: Skeleton) -> LayerCounts:
        """Those of the skeleton's form, kept with it."""
        return skeleton.form.once("counts", partial(cls, skeleton))

    def nest(self, bits: int) -> Skeleton:
        """The skeleton with sums final as ``bits`` say; its numbers are those of the machine that
        asked first, so it is for what hangs on the structure alone.
        """
        nest: Skeleton = self.known.of(
            bits, lambda: self.skeleton.on(self.skeleton.arch, self.final(bits))
        )
        return nest

    def final(self, bits: int) -> tuple[bool, ...]:
        """By level, whether sums are final, of combinations with these bits."""
        return tuple([not bits >> i & 1 for i in range(self.skeleton.levels)])

    @cached_property
    def moving(self) -> tuple[Column, ...]:
        """The first of all columns: what crosses boundaries, and MAC steps and PEs."""
        return self.columns[: 2 * len(self.skeleton.boundaries) + 2]

    @cached_property
    def unit(self) -> Moves:
        """What one word of each column moves [columns]: the same for all layers of the kind."""
        return moves_of(self.skeleton, Evaluated(np.eye(len(self.moving)), self.moving), 0)

    @cached_property
    def still(self) -> Moves:
        """What moves where nothing is counted [1]: sums that are there for the first time are not
        read."""
        return moves_of(self.skeleton, Evaluated(np.zeros((1, len(self.moving))), self.moving))

    # -- counts ------------------------------------------------------------------------------------

    def _count(self) -> dict[Home, list[FactorUse]]:
        """Every column as signed products; the factors of each home."""
        terms = terms_of(self.skeleton, ("quick", structure(self.skeleton.arch)), write_columns)
        self.columns, self.signs = terms.columns, terms.signs
        self.constant = np.ones(len(self.signs))
        homes: defaultdict[Home, list[FactorUse]] = defaultdict(list)
        for use in terms.uses:
            for home, one in self._homes(FactorUse(use.table, use.terms, tuple(use.columns))):
                if home is None:
                    np.multiply.at(self.constant, one.terms, _without_loops(one))
                else:
                    homes[home].append(one)
        return homes

    def _homes(self, use: FactorUse) -> Iterator[tuple[Home | None, FactorUse]]:
        """Whose choices decide a table of sums, and where it is a factor; None: nobody's."""
        table = use.table
        if isinstance(table, SlideSums):
            e, r = (self.home.get(name) for name in table.chains)
            yield (r if e is None else e) if e is None or r is None else (e, r), use
        elif isinstance(table, FormulaSums) and table.name[0] == "pairs":
            yield from self._pairs(table, use.terms)
        else:
            (name,) = table.chains
            yield self.home.get(name), use

    def _pairs(self, table: FormulaSums, terms: Ints) -> Iterator[tuple[Home | None, FactorUse]]:
        """(k, x) pairs: all there are, or what chains hold together as though nothing were
        padding.
        """
        _, slides, way, parts = table.name
        assert isinstance(slides, tuple) and isinstance(parts, tuple)
        if way == "all":
            self.constant[terms] *= float(all_pairs(self.skeleton.problem, slides))
            return
        self.exact = self.exact and all(x.pad == 0 for x in slides)
        column = {"same": KEPT, "before": LEFT, "now": HELD}[str(way)]
        for part in parts:
            assert isinstance(part, ChainSums)
            if way == "same" and ADVANCES in part.cuts.modes:
                self.constant[terms] = 0.0
                return
            yield self.home.get(part.chain), FactorUse(part, terms, (column,) * len(terms))

    # -- what the levels hold ----------------------------------------------------------------------

    def _use(self) -> tuple[list[list[tuple[int, int]]], dict[Home, list[SlidUse]]]:
        """Words of every level: the tiles of each family and the slides of each home that make
        them.
        """
        nest = self.skeleton
        self.whole = np.ones(4 + len(self.stores))
        tiles: list[list[tuple[int, int]]] = [[] for _ in self.families]
        slides: defaultdict[Home, list[SlidUse]] = defaultdict(list)
        for column, (level, tensor) in enumerate(self.stores, 2):
            largest = nest.largest_tile(level, tensor)
            if largest.pairs:
                continue
            self.whole[column] *= largest.whole
            for i in largest.innermost:
                f, n = self.place[i]
                tiles[f].append((column, n))
            for rank in largest.sliding:
                self._slid(rank, column, slides)
        return tiles, slides

    def _family(
        self,
        f: int,
        factors: tuple[FactorUse, ...],
        tiles: tuple[tuple[int, int], ...],
        slides: tuple[SlidUse, ...],
    ) -> FamilyCounts:
        use = FamilyUse(len(self.whole), self._trips(f), tiles, slides)
        loops = self.families[f].loops
        unfinished = tuple(
            [
                tuple([n for n, i in enumerate(loops) if i in level])
                for level in self.skeleton.unfinished
            ]
        )
        key = _key(factors, use, unfinished, self.lines, len(self.signs))
        return FamilyCounts(factors, use, unfinished, key)

    def _trips(self, family: int) -> tuple[tuple[int, Reads], ...]:
        """Rows, columns, passes and steps of a family."""
        nest = self.skeleton
        loops = list(enumerate([nest.loops[i] for i in self.families[family].loops]))

        def outside(level: int) -> Reads:
            return tuple([n for n, x in loops if not x.spatial and x.level < level])

        return (
            (0, tuple([n for n, x in loops if x.axis == "row"])),
            (1, tuple([n for n, x in loops if x.axis == "col"])),
            (PASSES, outside(nest.levels - 2)),
            (STEPS, outside(nest.levels - 1)),
        )

    def _slid(self, rank: SlidingRank, column: int, slides: dict[Home, list[SlidUse]]) -> None:
        """Words of a sliding rank's longest piece: of whose ``slides`` they are."""
        outer, taps = (self.home.get(self.skeleton.chain_of[d].name) for d in rank.dims)
        e_reads, r_reads = (tuple([self.place[i][1] for i in loops]) for loops in rank.cuts)
        use = SlidUse(column, rank, e_reads, r_reads)
        if outer is not None and taps is not None:
            slides[outer, taps].append(use)
        elif outer is not None or taps is not None:
            slides[outer if taps is None else taps].append(use)  # type: ignore[index]
        else:
            self.whole[column] *= longest_pieces(use, NO_LOOPS, NO_LOOPS)[0]

    def _tied(
        self, factors: dict[Home, list[FactorUse]], slides: dict[Home, list[SlidUse]]
    ) -> list[Tied]:
        """Outputs and filters of two families."""
        nest, ties = self.skeleton, dict[Home, Tied]()
        for e, r in (("E", "R"), ("F", "S")):
            outer, taps = (nest.chain_of[d] for d in (e, r))
            if outer.name in self.home and taps.name in self.home:
                at = self.home[outer.name], self.home[taps.name]
                reads = tuple([n for n, i in enumerate(taps.loops) if nest.loops[i].dim in "RS"])
                of, words = tuple(factors[at]), tuple(slides[at])
                key = _key(of, words, reads, len(self.whole), len(self.signs))
                ties[at] = Tied(*at, reads, of, words, key)
        return list(ties.values())


def write_columns(nest: Skeleton) -> TermList:
    """All that is counted: what crosses boundaries, and what only the cycles need."""
    terms = write_counts(nest)
    for column, factors in extra_columns(nest):
        terms.add(column, [(1.0, factors)])
    if on_lines(nest):
        for column, brackets in fold_columns(nest):
            terms.add(column, signed(brackets))
    for column, of in ramp_columns(
        nest, {b: BoundarySums(nest, b) for b in nest.boundaries}
    ).items():
        terms.add(column, of)
    return terms


def longest_pieces(use: SlidUse, e_tiles: Ints, r_tiles: Ints) -> Ints:
    """Words of a sliding rank's longest piece, for many tiles of both [choices, loops]."""
    outs, taps = [
        Cuts((size,), (0,) * len(loops), (GROUPS,) * len(loops))
        for size, loops in zip(use.rank.sizes, use.rank.cuts, strict=True)
    ]
    return slide_largest(use.rank.slide, outs, taps, e_tiles, r_tiles)


def _without_loops(use: FactorUse) -> Floats:
    """Factors that no choice decides, as no loop cuts their chains [terms]."""
    sums = use.table.of(dict.fromkeys(use.table.chains, NO_LOOPS))
    return np.asarray(sums[0, list(use.columns)], np.float64)


_keys: Kept[object] = Kept(1 << 12)


def _key(factors: Sequence[FactorUse], *others: Hashable) -> object:
    """What stands for all of this, and is looked up faster."""
    asked = tuple([(use.table, use.terms.tobytes(), use.columns) for use in factors])
    return _keys.of((asked, *others), object)


__all__ = [
    "NO_LOOPS", "PASSES", "STEPS", "FactorUse", "FamilyCounts", "FamilyUse", "LayerCounts",
    "SlidUse", "Tied", "longest_pieces", "write_columns",
]  # fmt: skip
