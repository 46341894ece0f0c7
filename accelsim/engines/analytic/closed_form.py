"""Section 4's counts in closed form, for one mapping or a million at once (docs/counting.md derives
every term).

How a sum over steps becomes a product.  A tile is a box: the product of one interval (or one set of
coordinates, where a filter slides) a rank, and ranks share no dimension.  The words of a step are a
product over ranks; so the words of all steps are a sum over all positions of all loops of a
product whose factors each depend on the loops of one chain, and that is the product of the sums:

    sum over steps of |tile|  =  prod over ranks ( sum over the rank's own loops of |piece| )

What a step keeps of the step before is a product too, once one knows which loop moved.  Each step
has exactly one advancing temporal loop k: loops outside k stand still, k goes from i-1 to i, loops
inside jump from their last trip to their first.  So the kept words are a sum over k of products.
With the sums S O U K X Y L of ``rank_sums`` (rules 3 to 6):

    child takes   = prod S(all) - sum_k prod O_k         parent reads = prod U(all) - sum_k prod K_k
    psum arrivals = prod X(final) + sum_k (prod X_k - prod Y_k)

The MAC, which has no history, is the first product alone (rule 7).  What a sum adds to at its
parent without reading is what entered the parent's own tile: the drained words one boundary further
out.

A ``ClosedForm`` writes all counts of a loop skeleton as signed products.  Each factor depends on
one group of chains only, so a table a group holds its factors for every choice of that group's
tiles:

    mapping = one row number a group;   counts = (rows gathered and multiplied) @ signs

Callers: ``moves`` for one nest, the mapper and the sweeps for many.  Nothing is shared with the
event engine but the problem, its projections and the nest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, reduce
from math import prod
from threading import Lock, RLock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.rank_sums import (
    ADVANCES,
    FIRST,
    GROUPS,
    LETTERS,
    STANDS,
    WORKS,
    ChainRows,
    ChainSums,
    Cuts,
    FormulaSums,
    SlideSums,
    different_rows,
    modes,
    plain_column,
    point_table,
    slide_table,
)
from accelsim.engines.moved import Moved
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.mapping.skeleton import Skeleton
from accelsim.workload.problem import DIMS, RANKS, Direction, Problem, Slide

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
ChainTiles = dict[str, tuple[int, ...]]  # chain -> the tiles of its loops, nest order
EXACT = float(1 << 53)
MOST_LISTED = 1 << 24  # outputs of a row by taps
MANY_CHOICES = 1 << 12  # multiplied at once: what they take stays small


def moves(nest: Nest) -> dict[Boundary, Moved]:
    """What crosses each boundary of a nest, exactly, in words, as ints.

    Raises OverflowError where a product passes 2^53.
    """
    key = nest.form.token, nest.row[0]
    with _models_lock:
        known = _moves.get(key)
        if known is not None:
            _moves.move_to_end(key)
            return dict(known)
        tiles, model = tiles_of(nest), _model_of(nest)
        counts = model.evaluate([np.array([model.row(group, tiles)]) for group in model.groups])
    made = as_moved(nest, [int(count) for count in counts.counts[0].tolist()])
    remember_moves(nest, made)
    return made


def remember_moves(nest: Nest, moved: dict[Boundary, Moved]) -> None:
    """Let ``moves`` of a nest give these, which its caller, or tables over many nests, counted.  No
    product that they are sums of may pass 2^53.
    """
    with _models_lock:
        _moves[nest.form.token, nest.row[0]] = dict(moved)
        while len(_moves) > NESTS:
            _moves.popitem(last=False)


def tiles_of(nest: Nest) -> ChainTiles:
    """The tiles of a nest, chain by chain, as the tables are asked for them."""
    return {c.name: tuple([nest.loops[i].tile for i in c.loops]) for c in nest.chains}


# Nests and models kept, and rows of tables in each.  A layer run twice, or a sweep over what does
# not change its mapping, finds its counts.  A model serves every nest of its form, whatever the
# tiles, so a sweep over tiles finds its tables made; there are as many as a network's layers have
# under a few dataflows.  Tables grow when they are asked: whoever uses a kept model has the lock
# until the counts are worked out.
NESTS, MODELS, ROWS = 1 << 11, 1 << 9, 1 << 9
_moves: OrderedDict[tuple[Any, ...], dict[Boundary, Moved]] = OrderedDict()
_models: OrderedDict[object, ClosedForm] = OrderedDict()
_models_lock = RLock()


def _model_of(nest: Nest) -> ClosedForm:
    """The model of a nest's form.  Called with the lock."""
    token = nest.form.token
    model = _models.get(token)
    if model is None or model.size > ROWS:
        model = ClosedForm(nest)
    _models[token] = model
    _models.move_to_end(token)  # the last used
    if len(_models) > MODELS:
        _models.popitem(last=False)
    return model


@dataclass(frozen=True)
class Evaluated:
    """Counts of some mappings: ``counts`` [mappings, columns], whole numbers below 2^53 in float64;
    ``columns`` says of which boundary (None: the array) and what.
    """

    counts: Floats
    columns: tuple[tuple[Boundary | None, str], ...]

    def of(self, boundary: Boundary | None, name: str) -> Floats:
        """One column, ``[mappings]``."""
        return np.asarray(self.counts[:, self.columns.index((boundary, name))])


class ClosedForm:
    """All counts of a skeleton (a nest's loops, whatever their tiles) as signed products of table
    entries.

    The skeleton fixes loop order, levels, axes and what is kept; tiles of one trip are welcome.
    Its tables grow as it is asked, so it is for one thread at a time.

    ``nest``     any nest of the skeleton
    ``terms``    what counts are made of; and of these
    ``columns``  (boundary, name) of every count; None is the array
    ``matrix``   [terms, columns]: the sign a term has in a column
    ``groups``   chains that share a table, since some factor depends on all of them

    and for each group, by rows that are added as tiles are asked for:

    ``_rows``    tiles of the group's chains -> row
    ``_tables``  [rows, terms]: the product of a term's factors that belong to the group
    ``_most``    [terms]: the largest entry so far, to know that no product passes 2^53
    """

    def __init__(self, nest: Skeleton) -> None:
        arch = nest.arch
        self.nest = nest
        self.terms = terms_of(
            nest, ("counts", arch.level_names, arch.first_read, arch.padding), write_counts
        )
        self.columns, self.matrix = self.terms.columns, self.terms.signs
        self.groups = self._grouped()
        self._rows: list[dict[tuple[tuple[int, ...], ...], int]] = [{} for _ in self.groups]
        self._tables: list[Floats] = [np.ones((0, len(self.matrix))) for _ in self.groups]
        self._most: list[Floats] = [np.zeros(len(self.matrix)) for _ in self.groups]

    def _grouped(self) -> tuple[tuple[str, ...], ...]:
        """Chains that meet in one factor share a table."""
        of = {c.name: {c.name} for c in self.nest.chains}
        for use in self.terms.uses:
            joined = set().union(*(of[name] for name in use.table.chains))
            for name in joined:
                of[name] = joined
        groups = dict.fromkeys(tuple(sorted(of[c.name])) for c in self.nest.chains)
        return tuple(groups)

    @property
    def size(self) -> int:
        """Rows of the longest table."""
        return max(len(known) for known in self._rows)

    # -- tables and mappings -----------------------------------------------------------------------

    def row(self, group: tuple[str, ...], tiles: ChainTiles) -> int:
        """The table row of a group for some tiles; worked out when first asked for."""
        return int(self.rows(group, [tiles])[0])

    def rows(self, group: tuple[str, ...], many: Sequence[ChainTiles]) -> Ints:
        """Table rows of a group for many tiles, ``[tiles]``; new ones are worked out together."""
        at = self.groups.index(group)
        known = self._rows[at]
        keys = [tuple(tiles[name] for name in group) for tiles in many]
        new = {key: tiles for key, tiles in zip(keys, many, strict=True) if key not in known}
        if new:
            table = self._values(group, list(new.values()))
            known |= {key: len(known) + i for i, key in enumerate(new)}
            self._tables[at] = np.vstack([self._tables[at], table])
            self._most[at] = np.maximum(self._most[at], table.max(axis=0))
        return np.array([known[key] for key in keys], np.int64)

    def rows_of(self, tiles: Ints) -> list[Ints]:
        """Table rows of every group for many mappings, whose tiles are ``[loops, mappings]``; equal
        ones are asked for once.
        """
        return [self._rows_of(group, tiles) for group in self.groups]

    def _rows_of(self, group: tuple[str, ...], tiles: Ints) -> Ints:
        chains = [c for c in self.nest.chains if c.name in group]
        loops = [i for c in chains for i in c.loops]
        if not loops:
            return self.rows(group, [{c.name: () for c in self.nest.chains}])
        distinct, which = np.unique(tiles[loops], axis=1, return_inverse=True)
        many = []
        for column in distinct.T.tolist():
            at = iter(column)
            many.append({c.name: tuple(next(at) for _ in c.loops) for c in chains})
        return self.rows(group, many)[which.ravel()]

    def _values(self, group: tuple[str, ...], many: list[ChainTiles]) -> Floats:
        """The product of a term's factors that belong to a group, ``[tiles, terms]``; each table
        of sums is worked out once.
        """
        table = np.ones((len(many), len(self.matrix)))
        tiles = {
            name: np.array([one[name] for one in many], np.int64).reshape(len(many), -1)
            for name in group
        }
        for use in self.terms.uses:
            if use.table.chains[0] in group:
                values = use.table.of(tiles)[:, use.columns]
                if use.once:
                    table[:, use.terms] *= values
                else:
                    np.multiply.at(table.T, use.terms, values.T.astype(np.float64))
        return table

    def evaluate(self, rows: Sequence[Ints]) -> Evaluated:
        """Counts of mappings given as one row number a group; arrays of one length, or of length
        one for what is fixed.

        Groups that are fixed are multiplied once, as ``[terms]``; the others are gathered and
        multiplied in place, ``[mappings, terms]``.  float64 is exact because each term is a product
        of whole numbers whose bound, the product of the groups' largest entries, stays below 2^53.
        Raises OverflowError where it does not.
        """
        fixed = np.ones(len(self.matrix))
        bound = np.ones(len(self.matrix))
        product: Floats | None = None
        for table, most, at in zip(self._tables, self._most, rows, strict=True):
            if len(at) == 1:
                fixed *= table[at[0]]
                bound *= table[at[0]]
                continue
            bound *= most
            product = (
                np.take(table, at, axis=0)
                if product is None
                else np.multiply(product, np.take(table, at, axis=0), out=product)
            )
        if bound.max() >= EXACT:
            raise OverflowError("a count may pass 2^53 words; float64 would not be exact")
        if product is None:
            return Evaluated(fixed[None, :] @ self.matrix, self.columns)
        return Evaluated(product @ (fixed[:, None] * self.matrix), self.columns)

    def moves(self, counts: Evaluated) -> dict[Boundary, Moved]:
        """The columns as primitives of each boundary, arrays over mappings."""
        return moves_of(self.nest, counts)


def moves_of(
    nest: Skeleton, counts: Evaluated, entries: int | None = None
) -> dict[Boundary, Moved]:
    """Counts of a skeleton's mappings as primitives of each boundary, arrays over mappings."""
    return as_moved(nest, counts.counts.T, entries)


def as_moved(
    nest: Skeleton, counts: Sequence[Any] | Floats, entries: Any = None
) -> dict[Boundary, Moved]:
    """Counts as primitives of each boundary: the columns of ``write_counts``, of which each
    boundary has two, as numbers or arrays.  ``entries`` of sums into the outermost level need not
    be read there: the layer's, unless given.
    """
    acc, moves = nest.problem.accumulated, dict[Boundary, Moved]()
    if entries is None:
        entries = words_used(nest.problem, acc)
    for b, of_child, of_parent in zip(nest.boundaries, counts[::2], counts[1::2], strict=False):
        if b.tensor != acc:
            moves[b] = Moved(taken=of_child, read=of_parent)
            continue
        drained, arrived = of_child, of_parent
        free = 0 if nest.arch.first_read == nest.arch.level_names[b.parent] else entries
        moves[b] = Moved(drained=drained, arrived=arrived, updated=arrived - free)
        entries = drained
    return moves


def write_counts(nest: Skeleton) -> TermList:
    """Every count of a skeleton.  Where nobody shares a word, parents read what children take and
    receive what they drain: the same terms.
    """
    terms, acc = TermList(), nest.problem.accumulated
    for b in nest.boundaries:  # two columns each: see ``as_moved``
        side = BoundarySums(nest, b)
        own = side.terms("S", "O")
        terms.add((b, "drained" if b.tensor == acc else "taken"), own)
        if b.tensor == acc:
            terms.add((b, "arrived"), side.arrivals() if side.shares else own)
        else:
            kept = "L" if b.kind == "neighbour" else "K"
            terms.add((b, "read"), side.terms("U", kept) if side.shares else own)
    terms.add((None, "compute_cycles"), [(1.0, [_steps(nest, c) for c in nest.chains])])
    terms.add((None, "active_pes"), [(1.0, [_width(nest, c) for c in nest.chains])])
    return terms


def words_used(problem: Problem, tensor: str) -> int:
    """Distinct real words of a tensor that some MAC touches.

    Each crosses every boundary of its tensor at least once; of the accumulated tensor they are the
    words that enter the outermost level.
    """
    return prod(rank_words_used(problem, rank) for rank in RANKS[tensor])


def rank_words_used(problem: Problem, rank: tuple[str, ...]) -> int:
    """Real coordinates of one rank that some MAC touches: a stride may leave some out."""
    size = [problem.size[d] for d in rank]
    if len(rank) == 1:
        return size[0]
    return _touched(problem.slide(rank), *size)


@lru_cache(maxsize=256)
def _touched(slide: Slide, out: int, filt: int) -> int:
    """Real coordinates that all outputs touch through all taps."""
    no_tiles = np.zeros((1, 0), np.int64)
    sums = slide_table(slide, Cuts((out,), (), ()), Cuts((filt,), (), ()), no_tiles, no_tiles)
    return int(sums[0, LETTERS.index("S")])


# -- terms -----------------------------------------------------------------------------------------
#
# Which products make a count hangs on loops, levels and networks, not on how long a dimension is.
# So the terms of a structure are written down once, for a layer whose numbers are all different,
# the *stand-in*; those of another layer are the same with its own numbers in the places of the
# stand-in's.  Where two of its numbers are equal (a square image), two tables may become one, and
# terms that then have the same factors do too: exactly what writing them down for it would give.

Table = ChainSums | SlideSums | FormulaSums
STRUCTURES = 1 << 9  # structures whose terms are kept


@dataclass(frozen=True)
class Factor:
    """One factor of a term: a column of a table of sums, whole numbers.

    Two equal factors have one value for any tiles; what shares a table is worked out at once.

    ``table``   what is summed, for whatever tiles
    ``column``  where in the table
    ``which``   the sum's name: S O U K X Y L, or another word
    """

    table: Table
    column: int
    which: str

    @property
    def chains(self) -> tuple[str, ...]:
        """The chains whose tiles it depends on: one, two where a filter slides, or more."""
        return self.table.chains


class TableUse(NamedTuple):
    """Where a table's columns are factors: ``columns[i]`` of the term ``terms[i]``.  ``once`` where
    no term has two.
    """

    table: Table
    terms: Ints
    columns: list[int]
    once: bool


class TermList:
    """Columns of signed products while they are written down.

    Terms with the same factors are one, whatever column they come from.
    """

    def __init__(self) -> None:
        self.factors: dict[Factor, int] = {}
        self.terms: dict[frozenset[int], int] = {}
        self.listed: list[tuple[int, ...]] = []
        self.columns: dict[Any, dict[int, float]] = {}

    def add(self, column: Any, terms: Iterable[tuple[float, Sequence[Factor]]]) -> None:
        """Add signed terms to a column, which may be new."""
        signs = self.columns.setdefault(column, {})
        for sign, factors in terms:
            term = tuple([self.factors.setdefault(f, len(self.factors)) for f in factors])
            # a set: only the two sliding ranks of a tensor may have equal factors, and each of its
            # terms has both
            at = self.terms.setdefault(frozenset(term), len(self.listed))
            if at == len(self.listed):
                self.listed.append(term)
            signs[at] = signs.get(at, 0.0) + sign

    def done(self) -> Terms:
        """All of them, as they are from now on."""
        signs = np.zeros((len(self.listed), len(self.columns)))
        for column, of in enumerate(self.columns.values()):
            for term, sign in of.items():
                signs[term, column] = sign
        tables: dict[Table, int] = {}
        factors = [
            (tables.setdefault(f.table, len(tables)), f.column, f.which) for f in self.factors
        ]
        return Terms(tuple(tables), _Products(factors, self.listed, signs), tuple(self.columns))


class _Products:
    """Terms by the numbers of their tables.

    ``factors``  every different one: its table, its column, its name
    ``terms``    which factors each has
    ``signs``    [terms, columns]
    ``uses``     of each table: its number, then as in ``TableUse``
    """

    def __init__(
        self,
        factors: list[tuple[int, int, str]],
        terms: list[tuple[int, ...]],
        signs: Floats,
    ) -> None:
        self.factors, self.terms, self.signs = factors, terms, signs
        signs.flags.writeable = False
        places: dict[int, tuple[list[int], list[int]]] = {}
        for term, own in enumerate(terms):
            for at in own:
                table, column, _ = factors[at]
                listed = places.setdefault(table, ([], []))
                listed[0].append(term)
                listed[1].append(column)
        self.uses = [
            (table, np.array(own, np.int64), columns, len(set(own)) == len(own))
            for table, (own, columns) in places.items()
        ]

    def merged(self, same: tuple[int, ...]) -> _Products:
        """What is left where tables are equal: ``same`` [tables] has the first of each."""
        known: dict[tuple[int, int, str], int] = {}
        alike = [
            known.setdefault((same[table], column, which), len(known))
            for table, column, which in self.factors
        ]
        place: dict[frozenset[int], int] = {}
        terms: list[tuple[int, ...]] = []
        home = []
        for term in self.terms:
            own = tuple([alike[at] for at in term])
            home.append(place.setdefault(frozenset(own), len(terms)))
            if home[-1] == len(terms):
                terms.append(own)
        signs = np.zeros((len(terms), self.signs.shape[1]))
        np.add.at(signs, np.array(home, np.int64), self.signs)
        return _Products(list(known), terms, signs)


class Terms:
    """Signed products that make columns of counts; nothing in it changes.

    ``columns``  what is counted
    ``signs``    [terms, columns]: the sign a term has in a column
    ``uses``     every table of sums, with the terms it is in
    """

    def __init__(
        self, tables: Sequence[Table], products: _Products, columns: tuple[Any, ...]
    ) -> None:
        self.columns, self.signs = columns, products.signs
        self.uses = [TableUse(tables[at], terms, of, once) for at, terms, of, once in products.uses]
        self._tables, self._products = tables, products
        self._merged: dict[tuple[int, ...], _Products] = {}

    @cached_property
    def factors(self) -> tuple[tuple[Factor, ...], ...]:
        """The factors of every term; a term is their product."""
        every = [Factor(self._tables[at], column, w) for at, column, w in self._products.factors]
        return tuple([tuple([every[at] for at in term]) for term in self._products.terms])

    def of(self, nest: Skeleton) -> Terms:
        """The same terms of another layer: these are the stand-in's, ``nest`` has its structure."""
        own = _Numbers(nest)
        tables = [own.table(table) for table in self._tables]
        first: dict[Table, int] = {}
        same = tuple([first.setdefault(table, at) for at, table in enumerate(tables)])
        products = self._merged.get(same)
        if products is None:
            whole = len(first) == len(tables)
            products = self._products if whole else self._products.merged(same)
            self._merged[same] = products
        return Terms(tables, products, self.columns)


class _Numbers:
    """A layer's numbers by the stand-in's: sizes of dimensions, and slides with their padding or
    as words.
    """

    def __init__(self, nest: Skeleton) -> None:
        self.nest, own = nest, nest.problem
        other = stand_in(own.direction)
        self.sizes = {other.size[d]: own.size[d] for d in DIMS}
        self.slides: dict[Slide, Slide] = {}
        for rank in [rank for rank in RANKS["ifmap"] if len(rank) == 2]:
            self.slides[other.slide(rank)] = own.slide(rank)
            self.slides[other.padded_slide(rank)] = own.padded_slide(rank)

    def table(self, table: Table) -> Table:
        """A table of sums with the layer's own numbers."""
        if isinstance(table, ChainSums):
            return ChainSums(table.chain, table.reads, self._cuts(table))
        if isinstance(table, SlideSums):
            e, r = (
                cuts._replace(sizes=tuple([self.sizes[n] for n in cuts.sizes]))
                for cuts in (table.e, table.r)
            )
            return SlideSums(table.chains, table.reads, self.slides[table.slide], e, r)
        return replace(table, name=self._name(table.name), nest=self.nest)

    def _cuts(self, table: ChainSums) -> Any:
        return table.cuts._replace(sizes=tuple([self.sizes[n] for n in table.cuts.sizes]))

    def _name(self, x: Any) -> Any:
        """A formula's name, with what in it is a table or a slide."""
        if isinstance(x, Slide):
            return self.slides[x]
        if isinstance(x, ChainSums | SlideSums | FormulaSums):
            return self.table(x)
        return tuple([self._name(y) for y in x]) if type(x) is tuple else x


@cache
def stand_in(direction: Direction) -> Problem:
    """A layer no two of whose numbers are equal, nor two of its slides."""
    return Problem(
        2, 3, 5, 7, 18, 27, 11, 13, 43, 97,
        stride=(2, 3), dilation=(1, 2), padding=(1, 2, 3, 4), direction=direction,
    )  # fmt: skip


_structures: OrderedDict[Hashable, Terms] = OrderedDict()
_structures_lock = Lock()


def terms_of(nest: Skeleton, kind: Hashable, write: Callable[[Skeleton], TermList]) -> Terms:
    """The terms that ``write`` writes down for a skeleton.  ``kind`` is all it reads of a skeleton
    beside its loops, its boundaries and its problem's direction; it reads sizes and slides only
    into tables of sums.
    """
    loops = tuple([(x.dim, x.level, x.axis) for x in nest.loops])
    key = kind, nest.problem.direction, loops, nest.chains, nest.boundaries, nest.keep
    with _structures_lock:
        known = _structures.get(key)
        if known is not None:
            _structures.move_to_end(key)
    if known is None:
        other = _other(nest)
        if other is None:
            return write(nest).done()
        known = write(other).done()
        with _structures_lock:
            _structures[key] = known
            while len(_structures) > STRUCTURES:
                _structures.popitem(last=False)
    return known.of(nest)


def _other(nest: Skeleton) -> Skeleton | None:
    """The skeleton of the stand-in; None where it has other boundaries, as a dimension that the
    layer has once cuts nothing on systolic lines.
    """
    other = Skeleton(stand_in(nest.problem.direction), nest.arch, nest.keep, nest.loops, nest.fused)
    try:
        return other if other.boundaries == nest.boundaries else None
    except MappingError:
        return None


# -- the array -------------------------------------------------------------------------------------


def whole_chain(nest: Skeleton, chain: Chain, ways: Sequence[int]) -> ChainSums:
    """All loops of a chain, down to the MAC, each looked at in one of the ways of ``rank_sums``."""
    dims = [nest.loops[i].dim for i in chain.loops]
    cuts = Cuts(
        tuple(nest.problem.size[p] for p in chain.parts),
        tuple(chain.parts.index(d) if d in chain.parts else -1 for d in dims),
        tuple(ways),
    )
    return ChainSums(chain.name, tuple(range(len(dims))), cuts)


def _steps(nest: Skeleton, chain: Chain) -> Factor:
    """Positions of a chain's temporal loops that some instance takes."""
    ways = [FIRST if nest.loops[i].spatial else STANDS for i in chain.loops]
    return Factor(whole_chain(nest, chain, ways), WORKS, "steps")


def _width(nest: Skeleton, chain: Chain) -> Factor:
    """Instances at a chain's first position, where its pieces are largest."""
    ways = [GROUPS if nest.loops[i].spatial else FIRST for i in chain.loops]
    return Factor(whole_chain(nest, chain, ways), WORKS, "width")


# -- one side of a boundary ------------------------------------------------------------------------


class BoundarySums:
    """The terms of one boundary: which sums of ``rank_sums`` make which count.

    ``b``         the boundary; its child is the MAC if ``mac``
    ``pairs``     whether the child's words are (k, x) pairs, each its own word
    ``loops``     the loops above the child: positions in ``nest.loops``
    ``temporal``  those that make its steps, outermost first
    ``own``       the same by chain
    ``shares``    whether what parents read differs from what children take: children that merge
                  equal words, neighbour links, or padding made on the way
    """

    def __init__(self, nest: Skeleton, b: Boundary) -> None:
        self.nest, self.b = nest, b
        self.mac = b.child == nest.levels
        self.pairs = nest.projection(b.tensor, b.child).pairs
        above = [i for i, x in enumerate(nest.loops) if x.level < b.child]
        self.loops = set(above)
        self._sums: dict[tuple[str, tuple[int, bool], str | None, bool], ChainSums] = {}
        self.temporal = [i for i in above if not nest.loops[i].spatial]
        self.own = {c.name: [i for i in self.temporal if i in c.loops] for c in nest.chains}
        self.shares = (
            any(self._kind(i) == "m" for i in above) or b.kind == "neighbour" or b.adds_padding
        )

    def terms(self, every: str, kept: str) -> list[tuple[float, list[Factor]]]:
        """prod ``every`` over all positions, less prod ``kept`` wherever a loop advances."""
        terms = [(1.0, self._factors(every, None))]
        if not self.mac:
            terms += [(-1.0, self._factors(kept, k)) for k in self.temporal if not self.replaces(k)]
        return terms

    def arrivals(self) -> list[tuple[float, list[Factor]]]:
        """What arrives at parents that add on the way (rule 5): the last tile at the end, and
        wherever a loop advances the tile before, less what some holder still holds.
        """
        if self.mac:
            return [(1.0, self._factors("U", None))]
        terms = [(1.0, self._factors("X", None, final=True))]
        for k in self.temporal:
            terms.append((1.0, self._factors("X", k)))
            if not self.replaces(k):
                terms.append((-1.0, self._factors("Y", k)))
        return terms

    def brackets(self, column: str) -> list[tuple[list[Factor], list[Factor] | None]]:
        """The same column as a sum of differences of products, none of them negative: the first
        step (or the last drain), then what each advancing loop brings.  A difference is ``prod
        first - prod second``, 0 for None.  The mapper bounds each difference by itself: of a sum
        with mixed signs, bounds of the terms would say little.
        """
        own = column in ("taken", "drained") or not self.shares
        every, kept = (
            ("S", "O")
            if own
            else ("X", "Y")
            if column == "arrived"
            else ("U", "L" if self.b.kind == "neighbour" else "K")
        )
        if self.mac:
            return [(self._factors("U" if column == "arrived" and not own else every, None), None)]
        differences: list[tuple[list[Factor], list[Factor] | None]] = [
            (self._factors(every, None, final=True), None)
        ]
        return differences + [
            (self._factors(every, k), None if self.replaces(k) else self._factors(kept, k))
            for k in self.temporal
        ]

    def replaces(self, k: int) -> bool:
        """Whether advancing k leaves nothing of the tile: k cuts a plain dimension of the tensor.
        A sliding rank may keep its halo; a dimension the tensor does not have keeps all.
        """
        chain = next(c for c in self.nest.chains if k in self.own[c.name])
        if not chain.depends(self.b.tensor):
            return False
        if self.pairs:
            return True
        dims = (self.nest.loops[k].dim,) if self.nest.loops[k].dim in chain.parts else chain.parts
        return not any(len(rank) == 2 and d in rank for rank in RANKS[self.b.tensor] for d in dims)

    def _kind(self, i: int) -> str:
        """What a loop counts as: ``t`` temporal, ``m`` merged (its children share words), ``g``
        grouped: other parents, or children of one parent that share nothing.
        """
        x = self.nest.loops[i]
        if not x.spatial:
            return "t"
        return "g" if x.level < self.b.parent or x.axis not in self.b.merged else "m"

    def _where(
        self, chain: Chain, k: int | None, final: bool, part: str | None = None
    ) -> tuple[int, bool]:
        """How many of the (part's) own temporal loops stand outside k, and whether k is the
        next.
        """
        own = [i for i in self.own[chain.name] if part in (None, self.nest.loops[i].dim)]
        if final:
            return 0, False
        return (len(own), False) if k is None else (sum(i < k for i in own), k in own)

    def _factors(self, which: str, k: int | None, *, final: bool = False) -> list[Factor]:
        """One factor a rank and irrelevant chain: at every position (k None), where k advances, or
        at the very end.
        """
        nest, tensor = self.nest, self.b.tensor
        factors = [self._active(c, which, k, final) for c in nest.chains if not c.depends(tensor)]
        if self.pairs:
            return [*factors, self._pairs(which, k, final)]
        done: set[str] = set()
        for rank in RANKS[tensor]:
            chain = nest.chain_of[rank[0]]
            if len(rank) == 2:
                factors.append(self._slide(rank, which, k, final))
            elif (
                chain.fused and tensor == "ifmap"
            ):  # above a fused loop its parts are plain dimensions
                factors.append(self._plain(chain, which, k, final, rank[0]))
            elif chain.name not in done:
                done.add(chain.name)
                factors.append(self._plain(chain, which, k, final))
        return factors

    def sums(
        self, chain: Chain, where: tuple[int, bool], part: str | None, *, merged: bool = True
    ) -> ChainSums:
        """Sums over a chain's loops above the boundary, or over those of one part; ``where``: how
        many of its temporal loops stand still, and whether the next advances.
        """
        known = self._sums.get((chain.name, where, part, merged))
        if known is not None:
            return known
        loops = [(at, i) for at, i in enumerate(chain.loops) if i in self.loops]
        if part:
            loops = [(at, i) for at, i in loops if self.nest.loops[i].dim == part]
        parts = (part,) if part else chain.parts
        dims = [self.nest.loops[i].dim for _, i in loops]
        kinds = [self._kind(i) for _, i in loops]
        cuts = Cuts(
            tuple(self.nest.problem.size[p] for p in parts),
            tuple(parts.index(d) if d in parts else -1 for d in dims),
            modes(kinds, *where, merged=merged),
        )
        reads = tuple([at for at, _ in loops])
        known = self._sums[chain.name, where, part, merged] = ChainSums(chain.name, reads, cuts)
        return known

    def _plain(
        self, chain: Chain, which: str, k: int | None, final: bool, part: str | None = None
    ) -> Factor:
        """The factor of a rank of one chain, or of one part of it."""
        where = self._where(chain, k, final, part)
        return Factor(self.sums(chain, where, part), plain_column(which), which)

    def _active(self, chain: Chain, which: str, k: int | None, final: bool) -> Factor:
        """The factor of a chain the tensor does not depend on: who is active, instance by instance
        for S and O, group by group for the rest.
        """
        merged = which in ("S", "O")
        where = self._where(chain, k, final)
        return Factor(self.sums(chain, where, None, merged=merged), WORKS, which)

    def _slide(self, rank: tuple[str, ...], which: str, k: int | None, final: bool) -> Factor:
        """The factor of a rank over which a filter slides: two chains, E with R or F with S."""
        chains = [self.nest.chain_of[d] for d in rank]
        parts = [d if c.fused else None for d, c in zip(rank, chains, strict=True)]
        e, r = (
            self.sums(c, self._where(c, k, final, part), part)
            for c, part in zip(chains, parts, strict=True)
        )
        slide = self.projection(rank, which)
        table = SlideSums((e.chain, r.chain), (e.reads, r.reads), slide, e.cuts, r.cuts)
        return Factor(table, LETTERS.index(which), which)

    def projection(self, rank: tuple[str, ...], which: str) -> Slide:
        """Onto what the child holds, or the parent gives: with the padding where it is stored."""
        level = self.b.child if which in ("S", "O") else self.b.parent
        return self.nest.projection(self.b.tensor, level).slide(rank)

    def _pairs(self, which: str, k: int | None, final: bool) -> Factor:
        """An ifmap under a fused loop: real (k, x) pairs over all positions and instances."""
        nest = self.nest
        chains = [c for c in nest.chains if c.depends("ifmap")]
        when = {"S": "now", "U": "now", "X": "before"}.get(which, "same")
        slides = self.projection(("E", "R"), which), self.projection(("F", "S"), which)
        tables = tuple(self.sums(c, self._where(c, k, final), None) for c in chains)
        every = self.mac or (k is None and not final and when == "now")
        way = "all" if every else when

        names = tuple(x.chain for x in tables)
        return Factor(FormulaSums(names, ("pairs", slides, way, tables), _pairs, nest), 0, when)


# -- (k, x) pairs ----------------------------------------------------------------------------------


def _pairs(nest: Skeleton, name: tuple[Any, ...], tiles: ChainRows) -> Ints:
    """Real (k, x) pairs held now, before, or both (``same``), of every choice of tiles
    ``[choices, loops]`` of each chain; or ``all`` there are, each of which is held once.

    A pair is real if its output and tap read no padding, in height and in width apart.  So the
    number of held pairs is a bilinear form: how often each (R, S) and each (E, F) are held, with
    the two tables of validity between them.  Choices are many and those of one chain few: what a
    chain holds is counted once for each of its own.
    """
    _, slides, way, tables = name
    choices = len(tiles[tables[0].chain])
    if way == "all":
        return np.full(choices, all_pairs(nest.problem, slides), np.int64)
    if not choices or (way == "same" and any(ADVANCES in x.cuts.modes for x in tables)):
        return np.zeros(choices, np.int64)
    size = nest.problem.size
    h, w = validity(slides[0], size["E"], size["R"]), validity(slides[1], size["F"], size["S"])
    held, rows = [], []  # of each chain: over the taps, of every different choice; which it is
    for x in tables:
        own = tiles[x.chain][:, x.reads]
        first, row = different_rows(own)
        parts = next(c.parts for c in nest.chains if c.name == x.chain)
        held.append(np.stack([_over_taps(x, parts, i, (h, w), way == "same") for i in own[first]]))
        rows.append(row)
    return _summed_products(held, rows)


def _over_taps(
    x: ChainSums, parts: tuple[str, ...], tiles: Ints, valid: tuple[Ints, Ints], kept: bool
) -> Ints:
    """How often a chain holds each tap, or how many real outputs it holds for each: ``[R, S]``,
    with a length of 1 where it says nothing of them.
    """
    sliding = [p for p in "RSEF" if p in parts]
    wanted = [parts.index(p) for p in sliding] + [-1, -1]
    counts = point_table(x.cuts, tiles, (wanted[0], wanted[1]), kept=kept)
    if len(sliding) == 1 and sliding[0] in "SF":  # one part's table is a column
        counts = counts.T
    if "E" in sliding:
        counts = valid[0].T @ counts
    return counts @ valid[1] if "F" in sliding else counts


def _summed_products(tables: Sequence[Ints], rows: Sequence[Ints]) -> Ints:
    """The sum over all taps of the product of one entry a table ``[entries, R, S]``, where ``rows``
    says which, ``[choices]`` of each: ``[choices]``.

    Raises OverflowError where a sum passes 2^63.
    """
    if prod(int(x.sum(axis=(1, 2)).max()) for x in tables) >= 1 << 63:
        tables = [x.astype(object) for x in tables]  # Python's own numbers, which have no end
    sums = np.empty(len(rows[0]), np.int64)
    for at in range(0, len(sums), MANY_CHOICES):
        some = slice(at, at + MANY_CHOICES)
        together = reduce(np.multiply, (x[row[some]] for x, row in zip(tables, rows, strict=True)))
        sums[some] = together.sum(axis=(1, 2))
    return sums


def all_pairs(problem: Problem, slides: tuple[Slide, Slide]) -> int:
    """Real (k, x) pairs of a layer."""
    size, (h, w) = problem.size, slides
    valid = _valid(h, size["E"], size["R"]) * _valid(w, size["F"], size["S"])
    return size["N"] * size["G"] * size["C"] * valid


@lru_cache(maxsize=256)
def _valid(slide: Slide, out: int, filt: int) -> int:
    shift = slide.dilation * np.arange(filt) - slide.pad
    first = np.maximum(0, -(shift // slide.stride))
    last = np.minimum(out - 1, (slide.size - 1 - shift) // slide.stride)
    return int(np.maximum(0, last - first + 1).sum())


@lru_cache(maxsize=256)
def validity(slide: Slide, out: int, filt: int) -> Ints:
    """Whether an output reads a real coordinate through a tap, 0 or 1: ``[outputs, taps]``.  Raises
    MappingError where there are more than 2^24.
    """
    if out * filt > MOST_LISTED:
        raise MappingError(
            f"of a chunk of fused dimensions {out} outputs by {filt} taps are listed, at most "
            f"{MOST_LISTED} can be; a dataflow that fuses none needs no list"
        )
    where = slide.stride * np.arange(out)[:, None] + slide.dilation * np.arange(filt) - slide.pad
    valid = np.asarray((where >= 0) & (where < slide.size), np.int64)
    valid.flags.writeable = False  # handed out to many
    return valid
