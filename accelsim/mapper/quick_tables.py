"""What one layer's choices of tiles count, as tables that every machine of one structure shares.

Counts are signed products of one factor a chain (``engines/analytic/closed_form.py``); where a
filter slides a factor depends on two.  ``LayerTables`` works the factors out for every choice of
every family (``quick_rows``): ``own`` holds what one family decides, ``ties`` what two do together.
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

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import on_lines
from accelsim.engines.analytic.closed_form import (
    EXACT,
    BoundarySums,
    Evaluated,
    Table,
    TermList,
    all_pairs,
    moves_of,
    remember_moves,
    terms_of,
    words_used,
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
    chain_table,
    slide_largest,
    slide_table,
)
from accelsim.engines.moved import Moved, Moves
from accelsim.hardware.architecture import structure
from accelsim.mapper.cell import Limit
from accelsim.mapper.lower_cycles import Column
from accelsim.mapper.quick_rows import DifferentRows, quick_rows, shared
from accelsim.mapper.time_columns import extra_columns, fold_columns, ramp_columns, signed
from accelsim.mapping.mapping import FUSED, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Boundary, Kept, OpenLoop, Skeleton, SlidingRank
from accelsim.workload.problem import TENSORS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
PASSES, STEPS = -2, -1  # usage columns


NOTHING = DifferentRows(np.ones((1, 0), np.int64), np.zeros(1, np.int64))
Home = int | tuple[int, int]  # a family, or two that are tied


class FactorUse(NamedTuple):
    """Where a table of sums is a factor: ``columns[i]`` of the term ``terms[i]``."""

    table: Table
    terms: Ints
    columns: tuple[int, ...]


@dataclass
class Tie:
    """What two families decide together: outputs and the filter that slides over them.

    ``outer, filter``  the families
    ``kinds``  [filter tiles, loops over the filter]: the different ones there are, and which of
    ``first``  the choices of ``filter`` have them first
    ``which``  [choices of ``filter``]: which of its different filter tiles each has
    ``terms``  [choices of ``outer``, filter tiles, terms] and
    ``use``    [choices of ``outer``, filter tiles, usage columns]: factors
    """

    outer: int
    filter: int
    kinds: Ints
    first: Ints
    which: Ints
    terms: Floats
    use: Floats


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
    ``timed``         cycles of the mappings that were timed in full, by how fast the machine's
                      memory is and by tiles; None: more steps than the engines time
    ``forms``         what ``quick_weights`` made of the cycles' forms, by how fast the memory is
    ``joined``        what ``joining`` laid out of them, by the terms that machines weigh
    ``likely``        combinations that were best on the last machines, by objective
    """

    def __init__(self, skeleton: Skeleton, more: Mapping[str, Ints] | None = None) -> None:
        """``more`` has tiles [choices, loops] of families besides those that are listed anyway."""
        self.skeleton, self._structure = skeleton, structure(skeleton.arch)
        self.families = skeleton.families
        self.home = {f.name: i for i, f in enumerate(self.families)}
        self.choices = [quick_rows(skeleton, f, (more or {}).get(f.name)) for f in self.families]
        self.tiles, self.trips = [x.tiles for x in self.choices], [x.trips for x in self.choices]
        self.exact = True
        self.timed: dict[Any, float | None] = {}
        self.forms: Kept[tuple[Floats, ...]] = Kept(1 << 8)
        self.joined: Kept[Any] = Kept(4)
        self.likely: Kept[Ints] = Kept(1 << 4)
        self._nests: dict[int, Skeleton] = {}
        self._used: Kept[Floats] = Kept(1 << 6)
        self._without: dict[frozenset[int], LayerTables] = {}
        self.stores = [
            (i, t) for i in range(1, skeleton.levels) for t in TENSORS if t in skeleton.keep[i]
        ]
        self._tie()
        self._count()
        self._use()
        self._bits()
        self._cover()

    @property
    def space(self) -> int:
        """Combinations of choices."""
        return prod(len(t) for t in self.tiles)

    @cached_property
    def of_macs(self) -> dict[Boundary, float]:
        """Words that the MACs take or let go over each boundary to them: the same whatever the
        tiles, as a MAC has no history.
        """
        terms = self.constant.copy()
        for own in self.own:
            terms *= own[0]
        for tie in self.ties.values():
            terms *= tie.terms[0, tie.which[0]]
        counts = dict(zip(self.columns, (terms @ self.signs).tolist(), strict=True))
        acc, last = self.skeleton.problem.accumulated, self.skeleton.levels
        return {
            b: counts[b, "drained" if b.tensor == acc else "taken"]
            for b in self.skeleton.boundaries
            if b.child == last
        }

    @cached_property
    def most_steps(self) -> dict[int, float]:
        """The most passes and steps that some combination may have, by usage column."""
        return {
            column: prod(float(use[:, column].max(initial=1)) for use in self.usage)
            for column in (PASSES, STEPS)
        }

    @cached_property
    def least_use(self) -> list[Floats]:
        """What the least of each family's choices uses [usage columns]."""
        return [use.min(axis=0) for use in self.usage]

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
            tied *= tie.use.min(axis=(0, 1))
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

    @cached_property
    def once(self) -> Moves:
        """What crosses each boundary at least: every word once, and what MACs take."""
        nest, moves = self.nest(0), {}
        for b in nest.boundaries:
            once: float = words_used(nest.problem, b.tensor)
            macs = self.of_macs.get(b, once)
            read = macs if b.parent == nest.levels - 1 else once
            moves[b] = Moved(taken=macs, read=read, drained=macs, arrived=read)
        return moves

    def nest(self, bits: int) -> Skeleton:
        """The skeleton with sums final as ``bits`` say; its numbers are those of the machine the
        tables were made for, so it is for what hangs on the structure alone.
        """
        nest = self._nests.get(bits)
        if nest is None:
            nest = self._nests[bits] = self.skeleton.on(self.skeleton.arch, self.final(bits))
        return nest

    @cached_property
    def moving(self) -> tuple[Column, ...]:
        """The first of all columns: what crosses boundaries, and MAC steps and PEs."""
        return self.columns[: 2 * len(self.skeleton.boundaries) + 2]

    @cached_property
    def unit(self) -> Moves:
        """What moves where nothing is counted, and where one of a column is: [1 + columns]."""
        n = len(self.moving)
        each = np.vstack([np.zeros(n), np.eye(n)])
        return moves_of(self.skeleton, Evaluated(each, self.moving))

    def moves_of(self, choice: Sequence[int] | Ints, nest: Nest) -> Moves:
        """What moves over the boundaries of a nest with the tiles of a choice for each family, as
        whole numbers; where counts are exact.  Whoever asks for this nest's afterwards finds them.
        """
        terms = self._terms_of(choice)
        counts = np.rint(terms @ self.signs[:, : len(self.moving)])[None, :]
        known = moves_of(self.skeleton, Evaluated(counts, self.moving)).values()
        moves = {
            b: Moved(**{k: int(np.ravel(v)[0]) for k, v in vars(m).items()})
            for b, m in zip(nest.boundaries, known, strict=True)
        }
        if terms.max() < EXACT:
            remember_moves(nest, moves)
        return moves

    def _terms_of(self, choice: Sequence[int] | Ints) -> Floats:
        """Every product of factors, by a choice for each family [terms]."""
        terms = self.constant.copy()
        for own, at in zip(self.own, choice, strict=True):
            terms *= own[at]
        for tie in self.ties.values():
            terms *= tie.terms[choice[tie.outer], tie.which[choice[tie.filter]]]
        return terms

    def words_of(self, choice: Sequence[int] | Ints) -> Ints:
        """The counts ``moving``, by a choice for each family [columns]; where they are exact."""
        counts = np.rint(self._terms_of(choice) @ self.signs[:, : len(self.moving)])
        return counts.astype(np.int64)

    def tile_row(self, choice: Sequence[int] | Ints) -> tuple[int, ...]:
        """The tile of each loop of the skeleton, by a choice for each family."""
        return self._by_loop(self.tiles, choice)

    def trip_row(self, choice: Sequence[int] | Ints) -> tuple[int, ...]:
        """The most trips of each loop likewise."""
        return self._by_loop(self.trips, choice)

    def _by_loop(self, table: Sequence[Ints], choice: Sequence[int] | Ints) -> tuple[int, ...]:
        """Numbers of families' choices [choices, its loops], loop by loop."""
        each = [1] * len(self.skeleton.loops)
        for family, rows, at in zip(self.families, table, choice, strict=True):
            for loop, number in zip(family.loops, rows[at].tolist(), strict=True):
                each[loop] = number
        return tuple(each)

    def bits_of(self, choice: Sequence[int] | Ints) -> int:
        """At which levels sums are unfinished, by a choice for each family."""
        bits = 0
        for unfinished, at in zip(self.unfinished, choice, strict=True):
            bits |= int(unfinished[at])
        return bits

    def loops_of(self, choice: Sequence[int] | Ints) -> int:
        """How many loops make more than one trip, by a choice for each family."""
        return sum(int((t[at] > 1).sum()) for t, at in zip(self.trips, choice, strict=True))

    def _tie(self) -> None:
        """Outputs and filters of two families, and the different filter tiles there are."""
        nest = self.skeleton
        self.ties: dict[tuple[int, int], Tie] = {}
        for e, r in (("E", "R"), ("F", "S")):
            chains = [nest.chain_of[d] for d in (e, r)]
            if not all(c.name in self.home for c in chains):
                continue
            outer, taps = (self.home[c.name] for c in chains)
            if (outer, taps) in self.ties:
                continue
            own = {"R", "S"} & set(chains[1].parts)
            reads = [n for n, i in enumerate(chains[1].loops) if nest.loops[i].dim in own]
            kinds, which = self.choices[taps].different(tuple(reads))
            shape = len(self.tiles[outer]), len(kinds)
            self.ties[outer, taps] = Tie(
                outer, taps, kinds, np.unique(which, return_index=True)[1], which,
                np.ones((*shape, 0)), np.ones((*shape, 4 + len(self.stores))),
            )  # fmt: skip

    # -- counts ------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Every column as signed products, and the factors of every choice."""
        terms = terms_of(self.skeleton, ("quick", self._structure), write_columns)
        self.columns, self.signs = terms.columns, terms.signs
        self.constant = np.ones(len(self.signs))
        homes: defaultdict[Home, list[FactorUse]] = defaultdict(list)
        for use in terms.uses:
            for home, one in self._homes(use.table, use.terms, use.columns):
                if home is None:
                    values = np.asarray(self._values(one)[0], np.float64)
                    np.multiply.at(self.constant, one.terms, values)
                else:
                    homes[home].append(one)
        self.own = [self._factors(f, homes[f]) for f in range(len(self.families))]
        for at, tie in self.ties.items():
            tie.terms = self._factors(at, homes[at])

    def _homes(
        self, table: Table, terms: Ints, columns: Sequence[int]
    ) -> Iterator[tuple[Home | None, FactorUse]]:
        """Whose choices decide a table of sums, and where it is a factor; None: nobody's."""
        if isinstance(table, SlideSums):
            e, r = (self.home.get(name) for name in table.chains)
            tied: Any = (e, r) if (e, r) in self.ties else None
            yield tied or (r if e is None else e), FactorUse(table, terms, tuple(columns))
        elif isinstance(table, FormulaSums) and table.name[0] == "pairs":
            yield from self._pairs(table, terms)
        else:
            (name,) = table.chains
            yield self.home.get(name), FactorUse(table, terms, tuple(columns))

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

    def _factors(self, home: Home, uses: Sequence[FactorUse]) -> Floats:
        """The products of all factors that some choices decide, for each term: of a family's
        [choices, terms], of a tie's [choices of outputs, filter tiles, terms].  Layers in which
        these are alike have the same array.
        """
        tie = self.ties[home] if isinstance(home, tuple) else None
        own = self.choices[home[0] if isinstance(home, tuple) else home]
        met = None if tie is None else tie.kinds.tobytes()
        asked = tuple([(use.table, use.terms.tobytes(), use.columns) for use in uses])

        def made() -> Floats:
            shape = (len(own.tiles),) if tie is None else tie.use.shape[:2]
            product = np.ones((*shape, len(self.signs)))
            for use in uses:
                values = self._values(use, tie)
                for i, term in enumerate(use.terms.tolist()):
                    product[..., term] *= values[..., i]
            return product

        return shared((own, met, len(self.signs), asked), made)

    def _values(self, use: FactorUse, tie: Tie | None = None) -> Any:
        """The columns of a table of sums that are factors, for every choice: whole numbers shaped
        as ``_factors``.
        """
        table, columns = use.table, list(use.columns)
        if isinstance(table, SlideSums):
            (e, r), (e_reads, r_reads) = table.chains, table.reads

            def sums(e_tiles: Ints, r_tiles: Ints) -> Ints:
                return slide_table(table.slide, table.e, table.r, e_tiles, r_tiles)[:, columns]

            met = _met(sums, self._different(e, e_reads), self._taps(r, r_reads, tie))
            return np.concatenate(met) if tie is None else met
        if isinstance(table, ChainSums) and table.chain in self.home:
            own = self._different(table.chain, table.reads)
            every = np.full_like(own.tiles, -1)
            return chain_table(table.cuts, own.tiles, every)[:, columns][own.rows]
        return table.of({name: self._rows(name) for name in table.chains})[:, columns]

    def _different(self, chain: str | None, reads: tuple[int, ...]) -> DifferentRows:
        """The different tiles that some loops of a chain have; of one without loops, nothing."""
        at = None if chain is None else self.home.get(chain)
        return NOTHING if at is None else self.choices[at].different(reads)

    def _taps(self, chain: str | None, reads: tuple[int, ...], tie: Tie | None) -> DifferentRows:
        """The same of a filter's chain: of its different tiles, where it is tied."""
        own = self._different(chain, reads)
        return own if tie is None else DifferentRows(own.tiles, own.rows[tie.first])

    def _rows(self, chain: str) -> Ints:
        """Tiles of a chain's choices; of one without loops the only choice."""
        at = self.home.get(chain)
        return np.ones((1, 0), np.int64) if at is None else self.tiles[at]

    # -- what the levels hold ----------------------------------------------------------------------

    def _use(self) -> None:
        """Rows, columns and words of every level, passes and steps."""
        nest = self.skeleton
        self.usage = [np.ones((len(t), 4 + len(self.stores))) for t in self.tiles]
        self.whole = np.ones(4 + len(self.stores))
        for family, trips, use in zip(self.families, self.trips, self.usage, strict=True):
            for column, axis in enumerate(("row", "col")):
                on = [nest.loops[i].axis == axis for i in family.loops]
                use[:, column] = np.prod(trips[:, on], axis=1)
            loops = [nest.loops[i] for i in family.loops]
            for column, levels in ((PASSES, nest.levels - 2), (STEPS, nest.levels - 1)):
                outside = [not x.spatial and x.level < levels for x in loops]
                use[:, column] = np.prod(trips[:, outside], axis=1)
        place = {i: (f, n) for f, x in enumerate(self.families) for n, i in enumerate(x.loops)}
        for column, (level, tensor) in enumerate(self.stores, 2):
            largest = nest.largest_tile(level, tensor)
            if largest.pairs:
                continue
            self.whole[column] *= largest.whole
            for i in largest.innermost:
                f, n = place[i]
                self.usage[f][:, column] *= self.tiles[f][:, n]
            for rank in largest.sliding:
                self._slid(rank, column, place)

    def _slid(self, rank: SlidingRank, column: int, place: dict[int, tuple[int, int]]) -> None:
        """Words of a sliding rank's longest piece, by the choices of one family or two."""
        cuts = [
            Cuts((size,), (0,) * len(loops), (GROUPS,) * len(loops))
            for size, loops in zip(rank.sizes, rank.cuts, strict=True)
        ]

        def longest(e_tiles: Ints, r_tiles: Ints) -> Ints:
            return slide_largest(rank.slide, cuts[0], cuts[1], e_tiles, r_tiles)[:, None]

        chains = [self.skeleton.chain_of[d].name for d in rank.dims]
        homes = [self.home.get(name) for name in chains]
        e_reads, r_reads = (tuple([place[i][1] for i in loops]) for loops in rank.cuts)
        tie = self.ties.get((homes[0], homes[1]))  # type: ignore[arg-type]
        outs, taps = self._different(chains[0], e_reads), self._taps(chains[1], r_reads, tie)
        if tie is not None:
            key, own = (rank, e_reads, r_reads, tie.kinds.tobytes()), self.choices[tie.outer]
            tie.use[:, :, [column]] *= own.known.of(key, lambda: _met(longest, outs, taps))
            return
        words = np.concatenate(_met(longest, outs, taps))[:, 0]
        home = homes[0] if homes[1] is None else homes[1]
        if home is None:
            self.whole[column] *= words[0]
        else:
            self.usage[home][:, column] *= words

    # -- what hangs on trips of one ----------------------------------------------------------------

    def _bits(self) -> None:
        """At which levels each choice leaves sums unfinished."""
        nest = self.skeleton
        self.unfinished = []
        for family, own in zip(self.families, self.choices, strict=True):
            here = tuple(
                [
                    tuple([n for n, i in enumerate(family.loops) if i in loops])
                    for loops in nest.unfinished
                ]
            )
            self.unfinished.append(own.known.of(("bits", here), partial(_bits_of, own.trips, here)))

    @cached_property
    def patterns(self) -> list[int]:
        """Every combination of levels that some mapping leaves sums unfinished at."""
        seen = {0}
        for bits in self.unfinished:
            seen = {a | int(b) for a in seen for b in np.unique(bits)}
        return sorted(seen)

    def final(self, bits: int) -> tuple[bool, ...]:
        """By level, whether sums are final, of combinations with these bits."""
        return tuple([not bits >> i & 1 for i in range(self.skeleton.levels)])

    def _cover(self) -> None:
        """Which kinds of choices go together in the skeleton's own model."""
        nest = self.skeleton
        lines = any(
            "systolic" in (n.streamed, n.held, n.accumulated) for n in nest.arch.networks.values()
        )
        self.kinds, absents = [], []
        for family, own in zip(self.families, self.choices, strict=True):
            loops = [nest.loops[i] for i in family.loops]
            kinds, away = own.known.of(
                ("kinds", lines), partial(_kinds_of, own.trips, loops, lines)
            )
            self.kinds.append(kinds)
            absents.append([frozenset([family.loops[n] for n in x]) for x in away])
        self.covered = np.zeros([len(a) for a in absents], bool)
        self.others: dict[frozenset[int], tuple[float, float]] = {}
        whole = _known_ways(nest, self._structure)
        for combo in product(*[range(len(a)) for a in absents]):
            away = [a[k] for a, k in zip(absents, combo, strict=True)]
            absent = frozenset[int]().union(*away)
            if absent not in whole:
                whole[absent] = not absent or _same_ways(nest, absent)
            self.covered[combo] = whole[absent]
            if not whole[absent]:
                before = self.others.get(absent, (0.0, 0.0))
                most = [
                    prod(float(u[kind == k, axis].max()) for u, kind, k in zip(
                        self.usage, self.kinds, combo, strict=True))
                    for axis in (0, 1)
                ]  # fmt: skip
                self.others[absent] = max(before[0], most[0]), max(before[1], most[1])

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


_ways: Kept[dict[frozenset[int], bool]] = Kept(1 << 9)


def _known_ways(nest: Skeleton, kind: str) -> dict[frozenset[int], bool]:
    """What is known of ``_same_ways`` by what is absent: one for all layers of a structure that
    have the same dimensions once, as these cut nothing on a line.
    """
    once = tuple([n == 1 for n in nest.problem.size.values()])
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
) -> tuple[Ints, list[tuple[int, ...]]]:
    """Which kind each choice is [choices], and of each kind the places of the loops it has not."""
    away = _absent(loops, trips, lines)
    code = away @ (1 << np.arange(away.shape[1]))
    _, first, rows = np.unique(code, return_index=True, return_inverse=True)
    return rows.reshape(-1), [tuple(np.flatnonzero(away[i]).tolist()) for i in first]


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
