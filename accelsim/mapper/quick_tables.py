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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import on_lines
from accelsim.engines.analytic.closed_form import (
    EXACT,
    BoundarySums,
    Evaluated,
    TermList,
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
    different_rows,
    slide_largest,
    slide_table,
)
from accelsim.engines.moved import Moved, Moves
from accelsim.hardware.architecture import structure
from accelsim.mapper.cell import Limit
from accelsim.mapper.lower_cycles import Column
from accelsim.mapper.quick_rows import quick_rows
from accelsim.mapper.time_columns import extra_columns, fold_columns, ramp_columns, signed
from accelsim.mapping.mapping import FUSED, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Boundary, Kept, Skeleton, SlidingRank
from accelsim.workload.problem import TENSORS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
PASSES, STEPS = -2, -1  # usage columns


@dataclass
class Tie:
    """What two families decide together: outputs and the filter that slides over them.

    ``outer, filter``  the families
    ``which``  [choices of ``filter``]: which of its different filter tiles each has
    ``terms``  [choices of ``outer``, filter tiles, terms] and
    ``use``    [choices of ``outer``, filter tiles, usage columns]: factors
    """

    outer: int
    filter: int
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
        listed = [quick_rows(skeleton, f, (more or {}).get(f.name)) for f in self.families]
        self.tiles, self.trips = [x[0] for x in listed], [x[1] for x in listed]
        self.exact = True
        self.timed: dict[Any, float | None] = {}
        self.forms: Kept[tuple[Floats, ...]] = Kept(1 << 8)
        self.joined: Kept[Any] = Kept(4)
        self.likely: Kept[Ints] = Kept(1 << 4)
        self._nests: dict[int, Skeleton] = {}
        self._used: Kept[Floats] = Kept(1 << 6)
        self._first: dict[Any, tuple[Ints, Ints]] = {}
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
        tied = self.whole.copy()
        for tie in self.ties.values():
            tied *= tie.use.min(axis=(0, 1))
        return np.asarray(prod([tied, *[v for g, v in enumerate(least) if g != family]]))

    def least_used(self, family: int, limit: Limit) -> Floats:
        """What each choice of a family uses of a limit beside the least of all others [choices]:
        the same on machines that differ in how much there is.
        """

        def used() -> Floats:
            each = (self.usage[family] * self.beside(family, self.least_use)).T
            return np.asarray(limit.used(each))

        return self._used.of((family, limit.parts), used)

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
            own = self.skeleton
            nest = self._nests[bits] = Skeleton(
                own.problem, own.arch, own.keep, own.loops, own.fused, self.final(bits)
            )
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
        terms = self.constant.copy()
        for own, at in zip(self.own, choice, strict=True):
            terms *= own[at]
        for tie in self.ties.values():
            terms *= tie.terms[choice[tie.outer], tie.which[choice[tie.filter]]]
        counts = np.rint(terms @ self.signs[:, : len(self.moving)])[None, :]
        known = moves_of(self.skeleton, Evaluated(counts, self.moving)).values()
        moves = {
            b: Moved(**{k: int(np.ravel(v)[0]) for k, v in vars(m).items()})
            for b, m in zip(nest.boundaries, known, strict=True)
        }
        if terms.max() < EXACT:
            remember_moves(nest, moves)
        return moves

    def tile_row(self, choice: Sequence[int] | Ints) -> tuple[int, ...]:
        """The tile of each loop of the skeleton, by a choice for each family."""
        tiles = [1] * len(self.skeleton.loops)
        for family, rows, at in zip(self.families, self.tiles, choice, strict=True):
            for loop, tile in zip(family.loops, rows[at].tolist(), strict=True):
                tiles[loop] = tile
        return tuple(tiles)

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
            first, which = different_rows(self.tiles[taps][:, reads])
            shape = len(self.tiles[outer]), len(first)
            self.ties[outer, taps] = Tie(
                outer, taps, which, np.ones((*shape, 0)), np.ones((*shape, 4 + len(self.stores)))
            )

    # -- counts ------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Every column as signed products, and the factors of every choice."""
        terms = terms_of(self.skeleton, ("quick", self._structure), write_columns)
        self.columns, self.signs = terms.columns, terms.signs
        many = len(terms.factors)
        self.constant = np.ones(many)
        self.own = [np.ones((len(t), many)) for t in self.tiles]
        for tie in self.ties.values():
            tie.terms = np.ones((*tie.terms.shape[:2], many))
        for use in terms.uses:
            self._multiply(use.table, use.terms, use.columns)

    def _multiply(self, table: Any, terms: Ints, columns: list[int]) -> None:
        """Let a table of sums into the products that have it as a factor."""
        if isinstance(table, SlideSums):
            self._slide(table, terms, columns)
        elif isinstance(table, ChainSums) and table.chain in self.home:
            at = self.home[table.chain]
            first, rows = self._different(at, table.reads)
            tiles = np.ascontiguousarray(self.tiles[at][first][:, table.reads])
            sums = chain_table(table.cuts, tiles, np.full_like(tiles, -1))
            self._into(table.chain, sums[:, columns][rows], terms)
        elif isinstance(table, FormulaSums) and table.name[0] == "pairs":
            self._pairs(table, terms)
        else:
            (name,) = table.chains
            self._into(name, table.of({name: self._rows(name)})[:, columns], terms)

    def _different(self, family: int, reads: tuple[int, ...]) -> tuple[Ints, Ints]:
        """The choices of a family that differ in the tiles of some of its loops, and which of them
        each choice is; told once for all tables that read these loops.
        """
        known = self._first.get((family, reads))
        if known is None:
            known = self._first[family, reads] = different_rows(self.tiles[family][:, reads])
        return known

    def _rows(self, chain: str) -> Ints:
        """Tiles of a chain's choices; of one without loops the only choice."""
        at = self.home.get(chain)
        return np.ones((1, 0), np.int64) if at is None else self.tiles[at]

    def _into(self, chain: str, values: Any, terms: Ints) -> None:
        """Factors of one chain's choices [choices, columns]."""
        at = self.home.get(chain)
        if at is None:
            np.multiply.at(self.constant, terms, np.asarray(values, np.float64)[0])
        else:
            for i, t in enumerate(terms):
                self.own[at][:, t] *= values[:, i]

    def _slide(self, table: SlideSums, terms: Ints, columns: list[int]) -> None:
        (e, r), (e_reads, r_reads) = table.chains, table.reads

        def sums(e_tiles: Ints, r_tiles: Ints) -> Ints:
            return slide_table(table.slide, table.e, table.r, e_tiles, r_tiles)[:, columns]

        outs, taps = self._rows(e)[:, e_reads], self._rows(r)[:, r_reads]
        if (self.home.get(e), self.home.get(r)) in self.ties:
            tie = self.ties[self.home[e], self.home[r]]
            tie.terms[:, :, terms] *= _met(sums, outs, taps, tie.which)
        else:
            one = e if e in self.home else r
            self._into(one, np.concatenate(_met(sums, outs, taps, np.arange(len(taps)))), terms)

    def _pairs(self, table: FormulaSums, terms: Ints) -> None:
        """(k, x) pairs: all there are, or what chains hold together as though nothing were
        padding.
        """
        _, slides, way, parts = table.name
        assert isinstance(slides, tuple) and isinstance(parts, tuple)
        if way == "all":
            one = {name: self._rows(name)[:1] for name in table.chains}
            self.constant[terms] *= float(table.of(one)[0, 0])
            return
        self.exact = self.exact and all(x.pad == 0 for x in slides)
        for part in parts:
            assert isinstance(part, ChainSums)
            if way == "same" and ADVANCES in part.cuts.modes:
                self.constant[terms] = 0.0
                return
            sums = chain_table(part.cuts, self._rows(part.chain)[:, part.reads])
            column = {"same": KEPT, "before": LEFT, "now": HELD}[str(way)]
            self._into(part.chain, np.repeat(sums[:, [column]], len(terms), axis=1), terms)

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

        homes = [self.home.get(self.skeleton.chain_of[d].name) for d in rank.dims]
        outs, taps = (
            np.ones((1, 0), np.int64)
            if home is None
            else self.tiles[home][:, [place[i][1] for i in loops]]
            for home, loops in zip(homes, rank.cuts, strict=True)
        )
        tie = self.ties.get((homes[0], homes[1]))  # type: ignore[arg-type]
        if tie is not None:
            tie.use[:, :, [column]] *= _met(longest, outs, taps, tie.which)
            return
        words = np.concatenate(_met(longest, outs, taps, np.arange(len(taps))))[:, 0]
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
        for family, trips in zip(self.families, self.trips, strict=True):
            bits = np.zeros(len(trips), np.int64)
            for level, loops in enumerate(nest.unfinished):
                here = [n for n, i in enumerate(family.loops) if i in loops]
                bits |= (trips[:, here] > 1).any(axis=1).astype(np.int64) << level
            self.unfinished.append(bits)

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
        for family, trips in zip(self.families, self.trips, strict=True):
            away_of = _absent([nest.loops[i] for i in family.loops], trips, lines)
            code = away_of @ (1 << np.arange(away_of.shape[1]))
            _, first, rows = np.unique(code, return_index=True, return_inverse=True)
            self.kinds.append(rows.reshape(-1))
            absents.append([frozenset(np.array(family.loops)[away_of[i]].tolist()) for i in first])
        self.covered = np.zeros([len(a) for a in absents], bool)
        self.others: dict[frozenset[int], tuple[float, float]] = {}
        for combo in product(*[range(len(a)) for a in absents]):
            away = [a[k] for a, k in zip(absents, combo, strict=True)]
            absent = frozenset[int]().union(*away)
            self.covered[combo] = _as_whole(self.skeleton, self._structure, absent)
            if not self.covered[combo]:
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


_whole: Kept[bool] = Kept(1 << 14)  # of structures, by what is absent


def _as_whole(nest: Skeleton, kind: str, absent: frozenset[int]) -> bool:
    """Whether words take the same ways without these loops as with all of them: told once of all
    layers of a structure that have the same dimensions once, as these cut nothing on a line.
    """
    once = tuple([n == 1 for n in nest.problem.size.values()])
    key = kind, nest.problem.direction, nest.loops, nest.chains, nest.keep, once, absent
    return _whole.of(key, lambda: not absent or _same_ways(nest, absent))


def _same_ways(nest: Skeleton, absent: frozenset[int]) -> bool:
    """``_as_whole``, worked out."""
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


def _met(work: Any, outs: Ints, taps: Ints, which: Ints) -> Floats:
    """``work`` of every output chain [choices, loops] with every filter chain of a kind ``which``
    [choices], each different pair once; [choices of outputs, kinds, columns].
    """
    first = np.unique(which, return_index=True)[1]
    (o_first, o_rows), (t_first, t_rows) = different_rows(outs), different_rows(taps[first])
    grid = np.indices((len(o_first), len(t_first))).reshape(2, -1)
    sums = work(outs[o_first][grid[0]], taps[first][t_first][grid[1]])
    each = sums.reshape(len(o_first), len(t_first), -1).astype(np.float64)
    return np.asarray(each[o_rows[:, None], t_rows[None, :]])


def classes(table: Floats) -> tuple[int, ...]:
    """A number for each column of a table, the same for equal ones."""
    known: dict[bytes, int] = {}
    return tuple([known.setdefault(c.tobytes(), len(known)) for c in np.ascontiguousarray(table.T)])


def _absent(loops: Sequence[Any], trips: Ints, lines: bool) -> Bools:
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
