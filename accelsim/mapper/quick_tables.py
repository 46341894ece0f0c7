"""What one layer's choices of tiles count, as tables that every machine of one structure shares.

Counts are signed products of one factor a chain (``engines/analytic/closed_form.py``); where a
filter slides a factor depends on two.  Which there are is told once a layer (``layer_counts``);
``LayerTables`` works them out for every choice of every family (``quick_rows``): ``own`` holds what
one family decides, ``ties`` what two do together.
Nothing in it depends on capacities, widths, prices or clocks.  So a sweep over machines makes it
once a layer and asks ``MachineWeights`` (``quick_weights``) what each count costs.

Three things hang on which loops make more than one trip.  Whether a sum is final at a level is a
number for each choice (``unfinished``).  The lines of a systolic array, and (k, x) pairs, are those
of the skeleton with all its loops; combinations of choices for which they would differ are not
``covered``: they are choices of a skeleton ``without`` the loops that are none.

(k, x) pairs that a chunk keeps are counted as though no padding cut them: where there is padding
that is at most too many, so reads are never more than they will be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.closed_form import (
    EXACT,
    as_moved,
    remember_moves,
    words_used,
)
from accelsim.engines.analytic.rank_sums import ChainSums, SlideSums, chain_table, slide_table
from accelsim.engines.moved import Moved, Moves
from accelsim.hardware.architecture import structure
from accelsim.mapper.cell import Limit
from accelsim.mapper.kept_arrays import shared
from accelsim.mapper.layer_counts import (
    NO_LOOPS,
    PASSES,
    STEPS,
    FactorUse,
    FamilyUse,
    LayerCounts,
    SlidUse,
    Tied,
    longest_pieces,
)
from accelsim.mapper.quick_rows import DifferentRows, FamilyChoices, quick_rows
from accelsim.mapping.mapping import FUSED, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Boundary, Kept, OpenLoop, Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NOTHING = DifferentRows(NO_LOOPS, np.zeros(1, np.int64), np.zeros(1, np.int64))


class Tie(NamedTuple):
    """What two families decide together: outputs and the filter that slides over them.

    ``outer, filter``  the families
    ``which``  [choices of ``filter``]: which of its different filter tiles each has
    ``terms``  [choices of ``outer``, filter tiles, terms] and
    ``use``    [choices of ``outer``, filter tiles, usage columns]: factors
    ``least``  [usage columns] of the last;  ``key`` of all three
    """

    outer: int
    filter: int
    which: Ints
    terms: Floats
    use: Floats
    least: Floats
    key: tuple[Any, ...]


class FamilyTable(NamedTuple):
    """What a family decides by itself.

    ``terms``       [choices, terms] and
    ``use``         [choices, usage columns]: factors;  ``least`` [usage columns] of these
    ``unfinished``  [choices]: a bit for each level at which sums are left unfinished;  ``patterns``
                    the different ones
    ``kinds``       [choices]: which kind each is
    ``away``        of each kind, the places of the loops it has not
    ``most``        [kinds, 2]: the most rows and columns
    """

    terms: Floats
    use: Floats
    least: Floats
    unfinished: Ints
    patterns: tuple[int, ...]
    kinds: Ints
    away: tuple[tuple[int, ...], ...]
    most: Floats


class LayerTables:
    """Tables of a layer under a dataflow, on machines of one structure whose array has the same
    sides.

    ``tiles, trips``  of each family [choices, its loops]
    ``own``           of each family [choices, terms]
    ``ties``          factors of two families
    ``signs``         [terms, columns]: how terms make ``columns``
    ``usage``         of each family [choices, 4 + stores]: rows, columns, words of each of
                      ``stores`` (level, tensor), and settings of the loops outside the PEs' parent
                      (PASSES) and outside the PEs (STEPS)
    ``unfinished``    of each family [choices]: a bit for each level at which it leaves sums
                      unfinished
    ``covered``       [kinds of each family...]; ``kinds`` say which kind each choice is
    ``others``        loops that uncovered combinations have not, with the most rows and columns
                      these use
    ``exact``         whether every count is exact, or reads may be too few
    ``keys``          of what each family decides by itself: the same where that is
    ``joined``        what ``joining`` laid out of them, by the terms that machines weigh
    ``likely``        combinations that were best on the last machines, by objective
    """

    def __init__(self, skeleton: Skeleton, more: Mapping[str, Ints] | None = None) -> None:
        """``more`` has tiles [choices, loops] of families besides those that are listed anyway."""
        layer = self.layer = LayerCounts.of(skeleton)
        self.skeleton = layer.skeleton.on(skeleton.arch)
        self.families, self.home, self.stores = layer.families, layer.home, layer.stores
        self.columns, self.signs, self.exact = layer.columns, layer.signs, layer.exact
        self.constant, self.whole, self.moving = layer.constant, layer.whole, layer.moving
        self.choices = [quick_rows(skeleton, f, (more or {}).get(f.name)) for f in self.families]
        self.tiles, self.trips = [x.tiles for x in self.choices], [x.trips for x in self.choices]
        self.joined: Kept[Any] = Kept(4)
        self.likely: Kept[Ints] = Kept(1 << 4)
        self._used: Kept[Floats] = Kept(1 << 6)
        self._without: dict[frozenset[int], LayerTables] = {}
        self.ties = {(of.outer, of.filter): self._tie(of) for of in layer.ties}
        self.keys = [(x, of.key) for x, of in zip(self.choices, layer.decided, strict=True)]
        each = [shared.of(key, partial(self._family, f)) for f, key in enumerate(self.keys)]
        self.own, self.usage = [x.terms for x in each], [x.use for x in each]
        self.least_use, self.unfinished = [x.least for x in each], [x.unfinished for x in each]
        self.kinds = [x.kinds for x in each]
        self._patterns = [x.patterns for x in each]
        self._cover(each)

    @property
    def space(self) -> int:
        """Combinations of choices."""
        return prod(len(t) for t in self.tiles)

    @cached_property
    def most_steps(self) -> dict[int, float]:
        """The most passes and steps that some combination may have, by usage column."""
        return {
            column: prod(float(use[:, column].max(initial=1)) for use in self.usage)
            for column in (PASSES, STEPS)
        }

    def beside(self, family: int, least: Sequence[Floats]) -> Floats:
        """What goes beside a family's choices at least [usage columns]: the ``least`` of all
        others, and of ties.
        """
        return np.asarray(
            prod([self._least_tied, *[v for g, v in enumerate(least) if g != family]])
        )

    @cached_property
    def _least_tied(self) -> Floats:
        """What the layer and the least of all ties use [usage columns]."""
        tied = self.whole.copy()
        for tie in self.ties.values():
            tied *= tie.least
        return tied

    def least_used(self, family: int, limits: Sequence[Limit]) -> list[Floats]:
        """What each choice of a family uses of each limit beside the least of all others [choices]:
        the same on machines that differ in how much there is.
        """
        known = [self._used.get((family, limit.parts)) for limit in limits]
        if any(used is None for used in known):
            each = (self.usage[family] * self.beside(family, self.least_use)).T
            for i, limit in enumerate(limits):
                if known[i] is None:
                    known[i] = self._used.keep((family, limit.parts), np.asarray(limit.used(each)))
        return [used for used in known if used is not None]

    @property
    def once(self) -> Moves:
        """What crosses each boundary at least: every word once, and what MACs take."""
        once: Moves = self.layer.known.of("once", self._once)
        return once

    def _once(self) -> Moves:
        """Of any choice: what MACs take or let go is the same whatever the tiles, as a MAC has no
        history.
        """
        nest, moves = self.layer.skeleton, dict[Boundary, Moved]()
        counts = self.terms_of(np.zeros((1, len(self.families)), np.int64))[0] @ self.signs
        of = dict(zip(self.columns, counts.tolist(), strict=True))
        for b in nest.boundaries:
            once: float = words_used(nest.problem, b.tensor)
            if b.child == nest.levels:
                macs = of[b, "drained" if b.tensor == nest.problem.accumulated else "taken"]
            else:
                macs = once
            read = macs if b.parent == nest.levels - 1 else once
            moves[b] = Moved(taken=macs, read=read, drained=macs, arrived=read)
        return moves

    def moves_of(self, choice: Sequence[int] | Ints, nest: Nest) -> Moves:
        """What moves over the boundaries of a nest with the tiles of a choice for each family, as
        whole numbers; where counts are exact.  Whoever asks for this nest's afterwards finds them.
        """
        terms = self.terms_of(np.asarray(choice)[None])[0]
        counts = np.rint(terms @ self.signs[:, : len(self.moving)])
        moves = as_moved(nest, [int(count) for count in counts.tolist()])
        if terms.max() < EXACT:
            remember_moves(nest, moves)
        return moves

    def terms_of(self, choices: Ints) -> Floats:
        """Every product of factors, of combinations [combinations, families] of choices:
        [combinations, terms].
        """
        terms = np.repeat(self.constant[None, :], len(choices), axis=0)
        for f, own in enumerate(self.own):
            terms *= own[choices[:, f]]
        for tie in self.ties.values():
            terms *= tie.terms[choices[:, tie.outer], tie.which[choices[:, tie.filter]]]
        return terms

    def trips_of(self, choices: Ints) -> Floats:
        """Trips of every loop, of combinations [combinations, families] of choices: [combinations,
        loops].
        """
        each = np.ones((len(choices), len(self.skeleton.loops)))
        for family, trips, at in zip(self.families, self.trips, choices.T, strict=True):
            each[:, family.loops] = trips[at]
        return each

    def tile_row(self, choice: Sequence[int] | Ints) -> tuple[int, ...]:
        """The tile of each loop of the skeleton, by a choice for each family."""
        each = [1] * len(self.skeleton.loops)
        for family, rows, at in zip(self.families, self.tiles, choice, strict=True):
            for loop, tile in zip(family.loops, rows[at].tolist(), strict=True):
                each[loop] = tile
        return tuple(each)

    def loops_of(self, choice: Sequence[int] | Ints) -> int:
        """How many loops make more than one trip, by a choice for each family."""
        return sum(int((t[at] > 1).sum()) for t, at in zip(self.trips, choice, strict=True))

    # -- factors -----------------------------------------------------------------------------------

    def _tie(self, of: Tied) -> Tie:
        """Outputs and filters of two families, by the different filter tiles there are."""
        own, filters = self.choices[of.outer], self.choices[of.filter].different(of.reads)

        def made() -> tuple[Floats, Floats, Floats]:
            use = np.ones((len(own.tiles), len(filters.tiles), len(self.whole)))
            for slide in of.slides:
                outs = own.different(slide.outer)
                taps = self._taps(of.filter, slide.filter, filters)
                use[:, :, [slide.column]] *= _met(partial(_longest, slide), outs, taps)
            terms = self._factors(use.shape[:2], of.factors, filters)
            return terms, use, use.min(axis=(0, 1), initial=np.inf)

        key = own, of.key, filters.tiles.tobytes()
        return Tie(of.outer, of.filter, filters.rows, *shared.of(key, made), key)

    def _family(self, f: int) -> FamilyTable:
        """What a family decides by itself."""
        own, of, nest = self.choices[f], self.layer.decided[f], self.skeleton
        use = _usage(own, of.use)
        loops = [nest.loops[i] for i in self.families[f].loops]
        unfinished = _bits_of(own.trips, of.unfinished)
        kinds, away = _kinds_of(own.trips, loops, self.layer.lines)
        most = np.array([use[kinds == k, :2].max(axis=0) for k in range(len(away))])
        return FamilyTable(
            self._factors(use.shape[:1], of.factors, None), use, use.min(axis=0, initial=np.inf),
            unfinished, tuple(set(unfinished.tolist())), kinds, away, most.reshape(-1, 2),
        )  # fmt: skip

    def _factors(
        self, shape: Sequence[int], uses: Sequence[FactorUse], filters: DifferentRows | None
    ) -> Floats:
        """The products of all factors that some choices decide, for each term: of a family's
        [choices, terms], of a tie's [choices of outputs, ``filters``, terms].
        """
        product = np.ones((*shape, len(self.signs)))
        for use in uses:
            values = self._values(use, filters)
            for i, term in enumerate(use.terms.tolist()):
                product[..., term] *= values[..., i]
        return product

    def _values(self, use: FactorUse, filters: DifferentRows | None) -> Any:
        """The columns of a table of sums that are factors, for every choice: whole numbers shaped
        as ``_factors``.
        """
        table, columns = use.table, list(use.columns)
        if isinstance(table, SlideSums):
            (e, r), (e_reads, r_reads) = table.chains, table.reads

            def sums(e_tiles: Ints, r_tiles: Ints) -> Ints:
                return slide_table(table.slide, table.e, table.r, e_tiles, r_tiles)[:, columns]

            outs = self._different(self.home.get(e), e_reads)
            met = _met(sums, outs, self._taps(self.home.get(r), r_reads, filters))
            return np.concatenate(met) if filters is None else met
        if isinstance(table, ChainSums):
            own = self._different(self.home[table.chain], table.reads)
            every = np.full_like(own.tiles, -1)
            return chain_table(table.cuts, own.tiles, every)[:, columns][own.rows]
        return table.of({name: self.tiles[self.home[name]] for name in table.chains})[:, columns]

    def _different(self, family: int | None, reads: tuple[int, ...]) -> DifferentRows:
        """The different tiles that some loops of a chain have; of one without loops, nothing."""
        return NOTHING if family is None else self.choices[family].different(reads)

    def _taps(
        self, family: int | None, reads: tuple[int, ...], filters: DifferentRows | None
    ) -> DifferentRows:
        """The same of a filter's chain: of its different tiles, where it is tied."""
        own = self._different(family, reads)
        return own if filters is None else own._replace(rows=own.rows[filters.first])

    # -- what hangs on trips of one ----------------------------------------------------------------

    @cached_property
    def patterns(self) -> list[int]:
        """Every combination of levels that some mapping leaves sums unfinished at."""
        seen = {0}
        for patterns in self._patterns:
            seen = {a | b for a in seen for b in patterns}
        return sorted(seen)

    def _cover(self, each: Sequence[FamilyTable]) -> None:
        """Which kinds of choices go together in the skeleton's own model."""
        absents = [
            [frozenset([family.loops[n] for n in x]) for x in own.away]
            for family, own in zip(self.families, each, strict=True)
        ]
        self.covered = np.zeros([len(a) for a in absents], bool)
        self.others: dict[frozenset[int], tuple[float, float]] = {}
        whole = self.layer.known.of("ways", partial(_known_ways, self.layer.skeleton))
        for combo in product(*[range(len(a)) for a in absents]):
            away = [a[k] for a, k in zip(absents, combo, strict=True)]
            absent = frozenset[int]().union(*away)
            if absent not in whole:
                whole[absent] = not absent or _same_ways(self.layer.skeleton, absent)
            self.covered[combo] = whole[absent]
            if not whole[absent]:
                before = self.others.get(absent, (0.0, 0.0))
                rows, cols = prod([own.most[k] for own, k in zip(each, combo, strict=True)])
                self.others[absent] = max(before[0], float(rows)), max(before[1], float(cols))

    def without(self, absent: frozenset[int]) -> LayerTables:
        """The tables of the skeleton without some of its loops, with all choices from here in which
        these loops are none; kept.
        """
        known = self._without.get(absent)
        if known is None:
            loops = [i for i in range(len(self.skeleton.loops)) if i not in absent]
            more = {}
            for family, tiles, trips in zip(self.families, self.tiles, self.trips, strict=True):
                away = np.array([i in absent for i in family.loops])
                more[family.name] = tiles[(trips[:, away] == 1).all(axis=1)][:, ~away]
            known = self._without[absent] = LayerTables(self.skeleton.part(loops), more)
        return known


def _usage(own: FamilyChoices, of: FamilyUse) -> Floats:
    """What each choice of a family uses [choices, usage columns]."""
    use = np.ones((len(own.tiles), of.columns))
    for column, loops in of.trips:
        use[:, column] = np.prod(own.trips[:, loops], axis=1)
    for column, loop in of.tiles:
        use[:, column] *= own.tiles[:, loop]
    for slide in of.slides:  # the loops of one of the two are none
        outs, taps = (own.different(x) if x else NOTHING for x in (slide.outer, slide.filter))
        use[:, slide.column] *= np.concatenate(_met(partial(_longest, slide), outs, taps))[:, 0]
    return use


def _longest(slide: SlidUse, e_tiles: Ints, r_tiles: Ints) -> Ints:
    """Words of a sliding rank's longest piece [choices, 1]."""
    return longest_pieces(slide, e_tiles, r_tiles)[:, None]


_ways: Kept[dict[frozenset[int], bool]] = Kept(1 << 9)


def _known_ways(nest: Skeleton) -> dict[frozenset[int], bool]:
    """What is known of ``_same_ways`` by what is absent: one for all layers of a structure that
    have the same dimensions once, as these cut nothing on a line.
    """
    once = tuple([n == 1 for n in nest.problem.size.values()])
    kind = structure(nest.arch)
    key = kind, nest.problem.direction, nest.loops, nest.chains, nest.keep, once
    return _ways.of(key, dict)


def _same_ways(nest: Skeleton, absent: frozenset[int]) -> bool:
    """Whether words take the same ways without these loops as with all of them."""
    part = nest.part([i for i in range(len(nest.loops)) if i not in absent])
    try:
        pairs = list(zip(part.boundaries, nest.boundaries, strict=True))
    except MappingError:
        return False
    for a, b in pairs:
        if (a.kind, a.network, a.adds_padding) != (b.kind, b.network, b.adds_padding):
            return False
        for x in part.loops:
            crossed = x.spatial and b.parent <= x.level < b.child
            if crossed and (x.axis in a.merged) != (x.axis in b.merged):
                return False
        if b.child < nest.levels and (
            nest.projection(b.tensor, b.child).pairs != part.projection(b.tensor, b.child).pairs
        ):
            return False
    return part.turned == nest.turned


def _met(work: Callable[[Ints, Ints], Ints], outs: DifferentRows, taps: DifferentRows) -> Floats:
    """``work`` of every output chain with every filter chain, each different pair once; [output
    chains, filter chains, columns].
    """
    grid = np.indices((len(outs.tiles), len(taps.tiles))).reshape(2, -1)
    sums = work(outs.tiles[grid[0]], taps.tiles[grid[1]])
    each = sums.reshape(len(outs.tiles), len(taps.tiles), -1).astype(np.float64)
    return np.asarray(each[outs.rows[:, None], taps.rows[None, :]])


def classes(table: Floats) -> tuple[int, ...]:
    """A number for each column of a table, the same for equal ones."""
    known: dict[bytes, int] = {}
    return tuple([known.setdefault(c.tobytes(), len(known)) for c in np.ascontiguousarray(table.T)])


def _bits_of(trips: Ints, here: Sequence[tuple[int, ...]]) -> Ints:
    """A bit for each level at which choices of these trips leave sums unfinished, which they do
    where one of its loops ``here`` makes more than one [choices].
    """
    bits = np.zeros(len(trips), np.int64)
    for level, loops in enumerate(here):
        bits |= (trips[:, loops] > 1).any(axis=1).astype(np.int64) << level
    return bits


def _kinds_of(
    trips: Ints, loops: Sequence[OpenLoop], lines: bool
) -> tuple[Ints, tuple[tuple[int, ...], ...]]:
    """Which kind each choice is [choices], and of each kind the places of the loops it has not."""
    away = _absent(loops, trips, lines)
    code = away @ (1 << np.arange(away.shape[1]))
    _, first, rows = np.unique(code, return_index=True, return_inverse=True)
    return rows.reshape(-1), tuple([tuple(np.flatnonzero(away[i]).tolist()) for i in first])


def _absent(loops: Sequence[OpenLoop], trips: Ints, lines: bool) -> Bools:
    """Of which choices a loop of one trip would tell what it should not [choices, loops]; see
    ``cell_blocks``.
    """
    absent = np.zeros(trips.shape, bool)
    fused = [i for i, x in enumerate(loops) if x.dim in FUSED]
    for i, x in enumerate(loops):
        if x.spatial and lines:
            absent[:, i] = trips[:, i] == 1
        elif i in fused:
            absent[:, i] = (trips[:, fused] == 1).all(axis=1)
    return absent


__all__ = ["PASSES", "STEPS", "LayerTables", "Tie", "classes"]
