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

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

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

    @cached_property
    def exists(self) -> Bools:
        """Which settings have work for some instance, ``[settings]``."""
        return np.asarray(np.broadcast_to(self.steps([]), self.shape) > 0)

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
        if self.nest.projection(b.tensor, b.child).pairs and any(self.nest.problem.padding):
            return self._of_pairs(b)
        side = self.sides.get(b)
        if side is None:
            side = self.sides[b] = BoundarySums(self.nest, b)
        inner = [k for k in side.temporal if k not in self.outer]
        zero = np.zeros(self.shape, np.int64)
        if b.tensor == self.nest.problem.accumulated:
            if side.mac:
                return Moves(zero, self._inside(side, "U"), zero, zero)
            rest = zero
            for k in inner:
                rest = (
                    rest
                    + self._inside(side, "X", k)
                    - (0 if side.replaces(k) else self._inside(side, "Y", k))
                )
            begun = self._inside(side, "S", start=True) - self._entering(side, "O")
            return Moves(zero, rest, self._leaving(side), begun)
        came, kept = ("U", "L" if b.kind == "neighbour" else "K") if side.shares else ("S", "O")
        every = self._inside(side, came)
        if side.mac:
            return Moves(zero, every, zero, self._inside(side, "S"))
        first = self._inside(side, came, start=True)
        taken = self._inside(side, "S")
        rest = every - first
        for k in inner:
            if not side.replaces(k):
                rest, taken = rest - self._inside(side, kept, k), taken - self._inside(side, "O", k)
        return Moves(
            first - self._entering(side, kept), rest, zero, taken - self._entering(side, "O")
        )

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
        for chain in self.nest.chains:
            if chain.depends(side.b.tensor):
                values, own = self._one(side, chain, "S", None, None, start=start)
                pairs = pairs * self._spread(values, own)
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
        for chain in self.nest.chains:
            if not chain.depends(side.b.tensor):
                values, own = self._one(side, chain, which, None, None)
                total = total * self._spread(values, own)
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
                kept[self._where(k)] = self._change(side, which, k)
        return kept

    def _leaving(self, side: BoundarySums) -> Ints:
        """Sums that arrive when a setting ends: at the change into the next that exists, or at the
        end of all.
        """
        into = np.zeros(self.shape, np.int64)
        for k in self.outer:
            lost = self._change(side, "X", k)
            into[self._where(k)] = lost if side.replaces(k) else lost - self._change(side, "Y", k)
        order = np.flatnonzero(self.exists.ravel())
        leaving = np.zeros(into.size, np.int64)
        leaving[order[:-1]] = into.ravel()[order[1:]]
        leaving[order[-1]] = prod(
            int(values.sum()) for values, _ in self._factors(side, "X", None, final=True)
        )
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

    def _change(self, side: BoundarySums, which: str, k: int) -> Ints:
        """The sum ``which`` at every change of loop k, shaped as the settings of ``_where(k)``."""
        there = self.exists[self._where(k)]
        return np.where(
            there, np.broadcast_to(self._product(self._factors(side, which, k)), there.shape), 0
        )

    # -- products of factors -----------------------------------------------------------------------

    def _inside(
        self, side: BoundarySums, which: str, k: int | None = None, *, start: bool = False
    ) -> Ints:
        """Sums over the steps inside each setting, ``[settings]``: all, those into which the inner
        loop k advances, or the first alone.
        """
        return np.where(
            self.exists,
            np.broadcast_to(self._product(self._factors(side, which, k, start=start)), self.shape),
            0,
        )

    def _product(self, factors: list[tuple[Ints, list[int]]]) -> Ints:
        """The factors multiplied, each on the axes of its own loops; broadcasts to [settings]."""
        total: Any = np.ones((1,) * len(self.outer), np.int64)
        for values, own in factors:
            total = total * self._spread(values, own)
        return np.asarray(total)

    def _factors(
        self,
        side: BoundarySums,
        which: str,
        k: int | None,
        *,
        start: bool = False,
        final: bool = False,
    ) -> list[tuple[Ints, list[int]]]:
        """(values over a chain's own listed loops, those loops), one a rank and irrelevant chain:
        ``BoundarySums``' factors, kept apart.
        """
        nest, tensor = self.nest, side.b.tensor
        factors = [
            self._one(side, c, which, k, None, start, final)
            for c in self.chains
            if not c.depends(tensor)
        ]
        if side.pairs:  # each its own word
            related = [c for c in self.chains if c.depends(tensor)]
            return factors + [self._one(side, c, which, k, None, start, final) for c in related]
        done: set[str] = set()
        for rank in RANKS[tensor]:
            chain = nest.chain_of[rank[0]]
            if len(rank) == 2:
                factors.append(self._slide(side, rank, which, k, start, final))
            elif (
                chain.fused and tensor == "ifmap"
            ):  # above a fused loop its parts are plain dimensions
                factors.append(self._one(side, chain, which, k, rank[0], start, final))
            elif chain.name not in done and chain in self.chains:
                done.add(chain.name)
                factors.append(self._one(side, chain, which, k, None, start, final))
        return factors

    def _at(
        self,
        side: BoundarySums,
        chain: Chain,
        k: int | None,
        part: str | None,
        start: bool,
        final: bool,
    ) -> tuple[int, bool, list[int]]:
        """Of a chain's temporal loops: how many stand still, whether k is the next, and which of
        them are listed.
        """
        own = [i for i in side.own[chain.name] if part in (None, self.nest.loops[i].dim)]
        listed = [i for i in own if i in self.outer]
        if final:
            return 0, False, []
        if k is None:
            return len(listed if start else own), False, listed
        return sum(i < k for i in own), k in own, [i for i in listed if i <= k]

    def _one(
        self,
        side: BoundarySums,
        chain: Chain,
        which: str,
        k: int | None,
        part: str | None,
        start: bool = False,
        final: bool = False,
    ) -> tuple[Ints, list[int]]:
        """A factor of one chain: of the words of its pieces, or, where the tensor does not depend
        on it, of who is active.
        """
        place, listed = self._place(side, chain, k, part, start, final, which)
        column = plain_column(which) if chain.depends(side.b.tensor) else WORKS
        return _kept(_chain_values, place)[..., column], listed

    def _slide(
        self,
        side: BoundarySums,
        rank: tuple[str, ...],
        which: str,
        k: int | None,
        start: bool,
        final: bool,
    ) -> tuple[Ints, list[int]]:
        """A factor of two chains, where a filter slides: over the listed loops of E (or F), then of
        R (or S).
        """
        chains = [self.nest.chain_of[d] for d in rank]
        parts = [d if c.fused else None for d, c in zip(rank, chains, strict=True)]
        (e, of_e), (r, of_r) = (
            self._place(side, c, k, p, start, final, which)
            for c, p in zip(chains, parts, strict=True)
        )
        values = _kept(_slide_values, e, r, side.projection(rank, which))
        return values[..., LETTERS.index(which)], [*of_e, *of_r]

    def _place(
        self,
        side: BoundarySums,
        chain: Chain,
        k: int | None,
        part: str | None,
        start: bool,
        final: bool,
        which: str,
    ) -> tuple[_ListedChain, list[int]]:
        """A chain above the boundary at every position of its listed loops; and those loops."""
        outside, own, listed = self._at(side, chain, k, part, start, final)
        merged = chain.depends(side.b.tensor) or which in ("S", "O")
        table = side.sums(chain, (outside, own), part, merged=merged)
        return self._listed(chain, table, listed, k), listed

    def _listed(
        self, chain: Chain, table: ChainSums, listed: list[int], k: int | None
    ) -> _ListedChain:
        """Sums over a chain, kept apart over the listed loops; k stands at its second and on."""
        loops = [chain.loops[at] for at in table.reads]
        return _ListedChain(
            table.cuts,
            tuple([self.nest.loops[i].tile for i in loops]),
            tuple([(loops.index(i), int(i == k), self.nest.loops[i].trips) for i in listed]),
        )

    def _spread(self, values: Ints, own: list[int]) -> Ints:
        """Values over the loops ``own``, in that order, laid on the axes of all listed loops: of
        length 1 along those that are not its own.
        """
        values = np.transpose(values, sorted(range(len(own)), key=lambda a: own[a]))
        length = dict(zip(sorted(own), values.shape, strict=True))
        return np.asarray(values.reshape([length.get(i, 1) for i in self.outer]))

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
