"""Words over a boundary, setting by setting: the analytic engine's sums before they are summed.

``closed_form`` says how many words cross a boundary in all.  Time needs to know when.  So an
outermost part of the temporal loops is *listed*, and the sums of ``rank_sums`` are kept apart over
the listed loops, at one position of them at a time, and added up over the others.  By section 4's
closed form a setting moves

    prod S(all inside) - sum over k inside of prod O_k - prod O of the change into the setting

Still nothing but products: a factor depends on its own chain's listed loops, so it is a small
array, and the product is a broadcast.  Every array of this page has one axis a listed loop, in nest
order:

    [trips of outer[0], trips of outer[1], ...]          called [settings] below

``pipeline`` lists the loops outside the PEs' parent for passes, and more of them for phases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.closed_form import BoundarySums, moves, validity, whole_chain
from accelsim.engines.analytic.rank_sums import (
    FIRST,
    LETTERS,
    STANDS,
    WORKS,
    ChainSums,
    Cuts,
    chain_table,
    plain_column,
    slide_table,
)
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
from accelsim.workload.problem import RANKS, Slide

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
KEPT = 1 << 10  # positions up to which values are kept for the next who asks
MOVES = 1 << 16  # settings up to which the words of a boundary are kept


@dataclass(frozen=True)
class Moves:
    """Words of one boundary in each setting, over all instances; each ``[settings]``.

    ``first``  of an operand, what the parents read at the setting's first step
    ``rest``   the same in its other steps; of sums, what arrives while the setting lasts
    ``last``   of sums, what arrives when it ends
    ``taken``  of an operand, all the children take; of sums, those that they begin with
    """

    first: Ints
    rest: Ints
    last: Ints
    taken: Ints


class RankFactor(NamedTuple):
    """What a factor is of: the chains, each whole or one part of it; the rank's dimensions; and
    whether the tensor depends on them.
    """

    chains: tuple[tuple[Chain, str | None], ...]
    dims: tuple[str, ...]
    depends: bool


class StepSettings:
    """All settings of the listed loops ``outer``: positions in ``nest.loops``, an outermost part of
    the temporal loops.  ``shape`` is [settings]: their trips.
    """

    def __init__(
        self, nest: Nest, outer: list[int], sides: dict[Boundary, BoundarySums] | None = None
    ) -> None:
        """``sides`` are kept of one nest for all its settings."""
        self.nest, self.outer = nest, outer
        self.sides = {} if sides is None else sides
        # a dimension of one that nothing loops over is one word, one active PE: no factor
        self.chains = [
            c for c in nest.chains if c.loops or prod(nest.problem.size[p] for p in c.parts) > 1
        ]
        self.shape = tuple(nest.loops[i].trips for i in outer)
        self._moved: dict[Boundary, Moves] = {}
        self._ranks_of: dict[Boundary, list[RankFactor]] = {}
        self._factors: dict[Boundary, dict[Any, Any]] = {}
        self._own: dict[Any, tuple[list[int], tuple[int, ...]]] = {}

    @cached_property
    def exists(self) -> Bools:
        """Which settings have work for some instance, ``[settings]``."""
        return self.steps([]) > 0

    @cached_property
    def _full(self) -> bool:
        """Whether every setting has work."""
        return bool(self.exists.all())

    def steps(self, inside: list[int]) -> Ints:
        """How many settings of the loops ``inside`` each setting has, ``[settings]``."""
        count: Any = np.ones((1,) * len(self.outer), np.int64)
        for chain in self.nest.chains:
            own, free = ([i for i in some if i in chain.loops] for some in (self.outer, inside))
            if own or free:
                count = count * self._spread(self._pieces(chain, own, free), own)
        return np.asarray(np.broadcast_to(count, self.shape))

    def moves(self, b: Boundary) -> Moves:
        """Words of a boundary whose child lies inside all listed loops.

        An operand: what comes at all, less what each inner loop's advance keeps, less what the
        change into the setting keeps.  Sums: what each inner loop's advance lets go, and what goes
        at the change out of the setting.
        """
        moved = self._moved.get(b)
        if moved is None:
            pairs = self.nest.projection(b.tensor, b.child).pairs and any(self.nest.problem.padding)
            moved = self._of_pairs(b) if pairs else self._of(b)
            if prod(self.shape) <= MOVES:
                self._moved[b] = moved
        return moved

    def _of(self, b: Boundary) -> Moves:
        """Words that no padding makes an estimate of."""
        side = self.sides.get(b)
        if side is None:
            side = self.sides[b] = BoundarySums(self.nest, b)
        zero = np.zeros(self.shape, np.int64)
        if b.tensor == self.nest.problem.accumulated:
            if side.mac:
                return Moves(zero, self._whole(self._product(side, "U")), zero, zero)
            rest: Any = 0
            for k in self._inner(side):
                rest = rest + self._product(side, "X", k)
                if not side.replaces(k):
                    rest = rest - self._product(side, "Y", k)
            begun = self._whole(self._product(side, "S", start=True)) - self._entering(side, "O")
            return Moves(zero, self._whole(rest), self._leaving(side), begun)
        came, kept = ("U", "L" if b.kind == "neighbour" else "K") if side.shares else ("S", "O")
        if side.mac:
            every = self._whole(self._product(side, came))
            taken = self._whole(self._product(side, "S")) if side.shares else every
            return Moves(zero, every, zero, taken)
        start = self._product(side, came, start=True)
        first = self._whole(start) - self._entering(side, kept)
        rest = self._whole(self._less(side, came, kept) - start)
        if not side.shares:  # children take what their parents read
            return Moves(first, rest, zero, first + rest)
        taken = self._whole(self._less(side, "S", "O")) - self._entering(side, "O")
        return Moves(first, rest, zero, taken)

    def _inner(self, side: BoundarySums) -> list[int]:
        """The loops that make steps inside a setting."""
        return [k for k in side.temporal if k not in self.outer]

    def _less(self, side: BoundarySums, every: str, kept: str) -> Any:
        """All words of the steps inside a setting, less what each inner loop's advance keeps;
        broadcasts to [settings].
        """
        total = self._product(side, every)
        for k in self._inner(side):
            if not side.replaces(k):
                total = total - self._product(side, kept, k)
        return total

    def _of_pairs(self, b: Boundary) -> Moves:
        """(k, x) pairs where some are padding.  MACs take every pair of their step, so those are
        counted.  Of pairs that a level holds on to, all that move are shared out by how many,
        padding included, each setting works on.

        The latter is the one place where words of a setting are an estimate: how much padding a
        setting meets for the first time is no product.  The total is exact, since the shares are
        rounded as a running sum.
        """
        side = BoundarySums(self.nest, b)
        zero = np.zeros(self.shape, np.int64)
        if side.mac:
            words = np.where(self.exists, self._real_pairs(side), 0)
            return Moves(zero, words, zero, words)
        moved = moves(self.nest)[b]
        total = moved.arrived if b.tensor == self.nest.problem.accumulated else moved.read
        share, start = (
            np.where(self.exists, self._pair_count(side, first), 0) for first in (False, True)
        )
        part = np.concatenate([[0.0], np.cumsum(share.ravel(), dtype=float)]) / share.sum()
        words = np.diff(np.floor(part * total + 0.5)).astype(np.int64).reshape(self.shape)
        first = np.floor(words * (start / np.maximum(share, 1)) + 0.5).astype(np.int64)
        if b.tensor == self.nest.problem.accumulated:
            return Moves(zero, words - first, first, words)
        return Moves(first, words - first, zero, words)

    def _pair_count(self, side: BoundarySums, start: bool) -> Ints:
        """Pairs each setting works on, padding included: in all its steps, or in the first."""
        pairs = np.ones(self.shape, np.int64)
        for n, rank in enumerate(self._ranks(side)):
            if rank.depends:
                pairs = pairs * self._factor(side, n, rank, "S", start=start)
        return pairs

    def _real_pairs(self, side: BoundarySums) -> Ints:
        """Pairs that MACs take in each setting and that read no padding, those of one group
        together, ``[settings]``.

        A pair is real if its output and tap are valid in height and in width apart: a bilinear
        form, how often a setting has each tap (r, s), times in how many of its outputs that tap
        reads no padding, the sum over all taps.
        """
        which = "U" if side.shares else "S"
        pairs: Any = np.ones((1,) * (len(self.outer) + 2), np.int64)  # [settings, R, S]
        for chain in self.nest.chains:
            if chain.depends(side.b.tensor):
                taps, own = self._taps(side, chain, which)
                axes = [self.nest.loops[i].trips if i in own else 1 for i in self.outer]
                pairs = pairs * taps.reshape(*axes, *taps.shape[-2:])
        total = np.asarray(pairs.sum(axis=(-2, -1)))
        for n, rank in enumerate(self._ranks(side)):
            if not rank.depends:
                total = total * self._factor(side, n, rank, which)
        return total

    def pieces(self, chain: Chain) -> tuple[Piece, tuple[int, ...], list[int]]:
        """The pieces of a chain at every position of its listed loops and of the spatial ones
        between them, whose instances have pieces of their own; their axes in nest order, [trips,
        ...], and of these axes those that are spatial; and the listed loops.
        """
        own = [i for i in self.outer if i in chain.loops]
        loops = self.nest.loops
        every = [i for i in chain.loops if i in own or (own and loops[i].spatial and i < own[-1])]
        grid = np.indices([loops[i].trips for i in every])
        piece = self.nest.pieces(chain, dict(zip(every, grid, strict=True)))
        shape = grid.shape[1:]
        flat = {
            side: {p: np.broadcast_to(v, shape) for p, v in ends.items()}
            for side, ends in (("lo", piece.lo), ("hi", piece.hi))
        }
        chunk = None
        if piece.chunk is not None:
            first, end = piece.chunk
            chunk = np.broadcast_to(first, shape), np.broadcast_to(end, shape)
        whole = Piece(flat["lo"], flat["hi"], chunk, np.broadcast_to(piece.exists, shape))
        return whole, tuple([at for at, i in enumerate(every) if i not in own]), own

    def _taps(self, side: BoundarySums, chain: Chain, which: str) -> tuple[Ints, list[int]]:
        """How many of a chain's points, at every position of its listed loops, each tap meets
        without reading padding: [trips of each, ..., R or 1, S or 1]; and those loops.

        Points of a fused chain stand in a row, the last part fastest, and a piece is a stretch of
        it: all points before its end less all before its beginning.  Those before a point are, for
        each part, the ones that agree with it in all slower parts and come earlier in this one.
        """
        piece, spatial, own = self.pieces(chain)
        shape, size = piece.exists.shape, self.nest.problem.size
        lows, highs = (  # pieces that are not there may lie beyond
            {p: np.minimum(ends[p], size[p]) for p in chain.parts} for ends in (piece.lo, piece.hi)
        )
        sums = {p: self._valid_before(side, p, which) for p in chain.parts}
        whole = {p: sums[p][highs[p]] - sums[p][lows[p]] for p in chain.parts}
        there = piece.exists[..., None, None]
        if piece.chunk is None:
            every = np.where(there, prod(whole.values(), start=np.int64(1)), 0)
            return every.sum(axis=spatial), own

        def before(point: Ints) -> Ints:
            """Of all points before one of the piece's own box."""
            count, agree = np.zeros((*shape, 1, 1), np.int64), np.ones((*shape, 1, 1), np.int64)
            for at, p in enumerate(chain.parts):
                later = chain.parts[at + 1 :]
                inner = prod([highs[q] - lows[q] for q in later], start=np.int64(1))
                digit = point // np.maximum(inner, 1)
                point = point - digit * inner
                here = np.minimum(lows[p] + digit, size[p])
                earlier = sums[p][here] - sums[p][lows[p]]
                count = count + agree * earlier * prod([whole[q] for q in later], start=np.int64(1))
                agree = agree * (sums[p][np.minimum(here + 1, size[p])] - sums[p][here])
            return count

        first, end = piece.chunk
        return np.where(there, before(end) - before(first), 0).sum(axis=spatial), own

    def _valid_before(self, side: BoundarySums, part: str, which: str) -> Ints:
        """For every coordinate of a dimension, of those before it: of a filter's, which they are;
        of an output's, how many each tap meets without padding: [coordinates + 1, R or 1, S or 1].
        """
        size = self.nest.problem.size
        if part in "RS":
            valid = np.eye(size[part], dtype=np.int64)
        elif part in "EF":
            tap = "R" if part == "E" else "S"
            slide = side.projection((part, tap), which)
            valid = validity(slide, size[part], size[tap]).astype(np.int64)
        else:
            valid = np.ones((size[part], 1), np.int64)
        sums = np.concatenate([np.zeros((1, valid.shape[1]), np.int64), np.cumsum(valid, axis=0)])
        return sums[:, :, None] if part in "ER" else sums[:, None, :]

    # -- the change into a setting, and out of it --------------------------------------------------

    def _entering(self, side: BoundarySums, which: str) -> Ints:
        """Words kept from the setting before, ``[settings]``: in each, of the listed loop that
        advances into it.
        """
        kept = np.zeros(self.shape, np.int64)
        for k in self.outer:
            if not side.replaces(k):
                kept[self._where(k)] = self._product(side, which, k)
        return self._whole(kept)

    def _leaving(self, side: BoundarySums) -> Ints:
        """Sums that arrive when a setting ends: at the change into the next that exists, or at the
        end of all.
        """
        into = np.zeros(self.shape, np.int64)
        for k in self.outer:
            lost = self._product(side, "X", k)
            into[self._where(k)] = lost if side.replaces(k) else lost - self._product(side, "Y", k)
        order = np.flatnonzero(self.exists.ravel())
        leaving = np.zeros(into.size, np.int64)
        leaving[order[:-1]] = into.ravel()[order[1:]]
        leaving[order[-1]] = self._product(side, "X", final=True)
        return leaving.reshape(self.shape)

    def _where(self, k: int) -> tuple[slice, ...]:
        """Settings into which loop k advances, as an index of [settings]: loops outside k at any
        position, k from its second on, those inside at their first.
        """
        return tuple(
            [
                slice(None) if i < k else slice(1, None) if i == k else slice(0, 1)
                for i in self.outer
            ]
        )

    def _whole(self, words: Any) -> Ints:
        """Words in every setting, ``[settings]``: none where there is no work."""
        if self._full:
            return np.broadcast_to(np.asarray(words, np.int64), self.shape)
        return np.where(self.exists, words, np.int64(0))

    # -- products of factors -----------------------------------------------------------------------

    def _product(
        self,
        side: BoundarySums,
        which: str,
        k: int | None = None,
        *,
        start: bool = False,
        final: bool = False,
    ) -> Any:
        """The sum ``which``, one factor a rank and irrelevant chain: ``BoundarySums``' factors,
        kept apart over the listed loops; broadcasts to [settings].

        Over the steps inside each setting: all, or the first alone (``start``), or those into which
        the inner loop k advances.  Of a listed loop k: at every change of it, shaped as the
        settings of ``_where(k)``.  Or at the very end (``final``).
        """
        many, total = 1, None
        for n, rank in enumerate(self._ranks(side)):
            factor = self._factor(side, n, rank, which, k, start=start, final=final)
            if isinstance(factor, int):
                many *= factor
            else:
                total = factor if total is None else total * factor
        return many if total is None else total * many

    def _ranks(self, side: BoundarySums) -> list[RankFactor]:
        """What there is a factor of: each chain the tensor does not depend on, and each rank.
        Where words are pairs, each chain.
        """
        known = self._ranks_of.get(side.b)
        if known is not None:
            return known
        nest, tensor = self.nest, side.b.tensor
        related = [c for c in self.chains if c.depends(tensor)]
        ranks = [RankFactor(((c, None),), (), False) for c in self.chains if c not in related]
        if side.pairs:  # each its own word
            ranks += [RankFactor(((c, None),), (), True) for c in related]
        done: set[str] = set()
        for dims in () if side.pairs else RANKS[tensor]:
            chains = [nest.chain_of[d] for d in dims]
            if len(dims) == 2 or (chains[0].fused and tensor == "ifmap"):
                # above a fused loop its parts are plain dimensions
                each = [(c, d if c.fused else None) for c, d in zip(chains, dims, strict=True)]
                ranks.append(RankFactor(tuple(each), dims, True))
            elif chains[0] in related and chains[0].name not in done:
                done.add(chains[0].name)
                ranks.append(RankFactor(((chains[0], None),), dims, True))
        self._ranks_of[side.b] = ranks
        return ranks

    def _factor(
        self,
        side: BoundarySums,
        n: int,
        rank: RankFactor,
        which: str,
        k: int | None = None,
        *,
        start: bool = False,
        final: bool = False,
    ) -> Any:
        """The n-th factor on the axes of all listed loops, of length 1 along those that are not
        its chains'; a number where none is.  Most loops k leave most chains as they are, so each
        is worked out once.
        """
        at = tuple([self._at(side, c, part, k, start, final) for c, part in rank.chains])
        known = self._factors.setdefault(side.b, {})
        factor = known.get((n, which, at))
        if factor is None:
            factor = known[n, which, at] = self._worked_out(side, rank, which, at, k)
        return factor

    def _at(
        self,
        side: BoundarySums,
        chain: Chain,
        part: str | None,
        k: int | None,
        start: bool,
        final: bool,
    ) -> tuple[int, bool, tuple[int, ...]]:
        """Of a chain's temporal loops: how many stand still, whether k is the next, and which of
        them are listed.
        """
        if final:
            return 0, False, ()
        key = chain.name, part, side.b.child
        if key not in self._own:
            own = [i for i in side.own[chain.name] if part in (None, self.nest.loops[i].dim)]
            self._own[key] = own, tuple([i for i in own if i in self.outer])
        own, listed = self._own[key]
        if k is None:
            return len(listed if start else own), False, listed
        return sum([i < k for i in own]), k in own, tuple([i for i in listed if i <= k])

    def _worked_out(
        self,
        side: BoundarySums,
        rank: RankFactor,
        which: str,
        at: tuple[tuple[int, bool, tuple[int, ...]], ...],
        k: int | None,
    ) -> Any:
        """A factor of one chain: of the words of its pieces, or, where the tensor does not depend
        on it, of who is active.  Or of two, where a filter slides: over the listed loops of E (or
        F), then of R (or S).
        """
        places = []
        merged = rank.depends or which in ("S", "O")
        for (chain, part), (outside, own, listed) in zip(rank.chains, at, strict=True):
            table = side.sums(chain, (outside, own), part, merged=merged)
            places.append(self._listed(chain, table, listed, k))
        if len(places) == 2:
            values = _kept(_slide_values, *places, side.projection(rank.dims, which))
            column = LETTERS.index(which)
        else:
            values = _kept(_chain_values, *places)
            column = plain_column(which) if rank.depends else WORKS
        return self._spread(values[..., column], [i for *_, listed in at for i in listed])

    def _listed(
        self, chain: Chain, table: ChainSums, listed: Sequence[int], k: int | None
    ) -> _ListedChain:
        """Sums over a chain, kept apart over the listed loops; k stands at its second and on."""
        loops = [chain.loops[at] for at in table.reads]
        return _ListedChain(
            table.cuts,
            tuple([self.nest.loops[i].tile for i in loops]),
            tuple([(loops.index(i), int(i == k), self.nest.loops[i].trips) for i in listed]),
        )

    def _spread(self, values: Ints, own: list[int]) -> Any:
        """Values over the loops ``own``, in that order, laid on the axes of all listed loops: of
        length 1 along those that are not its own.  A number where there are none.
        """
        if not own:
            return int(values)
        if len(own) > 1:
            values = np.transpose(values, sorted(range(len(own)), key=lambda a: own[a]))
        length = dict(zip(sorted(own), values.shape, strict=True))
        return values.reshape([length.get(i, 1) for i in self.outer])

    def _pieces(self, chain: Chain, own: list[int], free: list[int]) -> Ints:
        """How many positions of the loops ``free`` exist at each position of the chain's listed
        loops, ``[trips of own[0], ...]``.
        """
        ways = [STANDS if i in own or i in free else FIRST for i in chain.loops]
        place = self._listed(chain, whole_chain(self.nest, chain, ways), own, None)
        return _kept(_chain_values, place)[..., WORKS]


# -- sums at every position of the listed loops ----------------------------------------------------


@dataclass(frozen=True)
class _ListedChain:
    """A chain whose sums are kept apart over some of its loops.

    ``tiles``   of its loops
    ``listed``  (which loop, first index, trips) of those kept apart
    """

    cuts: Cuts
    tiles: tuple[int, ...]
    listed: tuple[tuple[int, int, int], ...]

    def positions(self, free: tuple[int, int]) -> tuple[Ints, Ints, Ints]:
        """Where sums may differ, as ``chain_table`` is asked for it: tiles and indices
        ``[positions, loops]``; and which of those each position is, an axis a listed loop.  What
        lies within coordinates ``free`` [from, to) looks alike.
        """
        indices = [np.arange(first, trips) for _, first, trips in self.listed]
        which = np.arange(prod([len(index) for index in indices]))
        which = which.reshape([len(index) for index in indices])
        if self.listed and self.listed[0][0] == 0:
            # a whole piece of the outermost loop that comes after one is like the next
            alike = (indices[0] > -(-free[0] // self.tiles[0])) & (
                indices[0] < free[1] // self.tiles[0]
            )
            kept = ~alike | (np.cumsum(alike) == 1)
            indices[0] = indices[0][kept]
            which = which[: len(indices[0])][np.cumsum(kept) - 1]
        only = np.full((prod([len(index) for index in indices]), len(self.tiles)), -1)
        grid = np.meshgrid(*indices, indexing="ij") if len(indices) > 1 else indices
        for (loop, _, _), index in zip(self.listed, grid, strict=True):
            only[:, loop] = index.ravel()
        tiles = np.array([self.tiles], np.int64)
        return np.repeat(tiles, len(only), axis=0), only, which


def _kept(table: Any, *arguments: Any) -> Ints:
    """A table's values, from memory if they are few; many are not kept."""
    places = [x for x in arguments if isinstance(x, _ListedChain)]
    many = prod([trips for x in places for _, _, trips in x.listed])
    return np.asarray((table if many <= KEPT else table.__wrapped__)(*arguments))


@lru_cache(maxsize=1 << 12)
def _chain_values(place: _ListedChain) -> Ints:
    """``chain_table`` at every position: [trips of each listed loop, 4].  Read-only, as it is
    handed out to many.
    """
    part, sizes = place.cuts.parts[:1], place.cuts.sizes
    size = sizes[part[0]] if part and part[0] >= 0 else prod(sizes)
    tiles, only, which = place.positions((0, size))
    values = chain_table(place.cuts, tiles, only)[which]
    values.flags.writeable = False
    return values


@lru_cache(maxsize=1 << 10)
def _slide_values(e: _ListedChain, r: _ListedChain, slide: Slide) -> Ints:
    """``slide_table`` at every position of both: [trips of e's, trips of r's, 7]; read-only."""
    sizes = e.cuts.sizes[0], r.cuts.sizes[0]
    free = [(low, min(high, n)) for (low, high), n in zip(slide.free(*sizes), sizes, strict=True)]
    (e_tiles, e_only, e_which), (r_tiles, r_only, r_which) = (
        x.positions(alike) for x, alike in zip((e, r), free, strict=True)
    )
    at = np.repeat(np.arange(len(e_only)), len(r_only))  # every position of E with each of R
    other = np.tile(np.arange(len(r_only)), len(e_only))
    sums = slide_table(
        slide, e.cuts, r.cuts, e_tiles[at], r_tiles[other], e_only[at], r_only[other]
    )
    sums = sums.reshape(len(e_only), len(r_only), len(LETTERS))
    values = sums[e_which.ravel()][:, r_which.ravel()]
    values = values.reshape(*e_which.shape, *r_which.shape, len(LETTERS))
    values.flags.writeable = False
    return values
