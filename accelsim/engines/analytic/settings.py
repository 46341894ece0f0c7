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

Which factors a product has hangs on a nest's form, not on its tiles: ``SettingsFrame`` says it once
for all nests of the form, and a factor (``ListedFactor``) keeps its values by the tiles of its own
chain, as a search times many nests that differ in a few.

``pipeline`` lists the loops outside the PEs' parent for passes, and more of them for phases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from math import prod
from operator import itemgetter
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.alike_turns import AlikeTurns, Span, UnlikeError
from accelsim.engines.analytic.closed_form import BoundarySums, moves, validity, whole_chain
from accelsim.engines.analytic.rank_sums import (
    FIRST,
    LETTERS,
    STANDS,
    WORKS,
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


class ListedFactor:
    """A factor whatever the tiles: one column of the sums over a chain, or over two where a filter
    slides, kept apart over some of the listed loops.

    ``places``  of each chain: how it is cut; its loops; and which of these are kept apart: their
                place among them, their first index, the loop
    ``slide``   how the second slides over the first
    ``order``   the axes of the values in nest order, None where they are
    ``axes``    of each listed loop its axis, -1 where it has none
    ``pick``    the tiles it depends on from those of all loops
    ``known``   values as they are multiplied, by these
    """

    __slots__ = ("__weakref__", "axes", "column", "known", "order", "pick", "places", "slide")

    def __init__(
        self,
        outer: Sequence[int],
        places: Sequence[tuple[Cuts, Sequence[int], Sequence[tuple[int, int, int]]]],
        column: int,
        slide: Slide | None = None,
    ) -> None:
        self.places, self.column, self.slide = tuple(places), column, slide
        own = [i for *_, listed in places for *_, i in listed]
        ordered = sorted(own)
        self.order = None if own == ordered else [own.index(i) for i in ordered]
        self.axes = [ordered.index(i) if i in own else -1 for i in outer]
        reads = [i for _, loops, _ in places for i in loops]
        self.pick: Callable[[Any], Any] = itemgetter(*reads) if reads else _nothing
        self.known: dict[Any, Any] = {}

    def of(self, tiles: Sequence[int], trips: Sequence[int]) -> Any:
        """Values on the axes of all listed loops, of length 1 along those that are not its own; a
        number where none is.  ``tiles`` and ``trips`` are of all loops.
        """
        places = [
            _ListedChain(
                cuts,
                tuple([tiles[i] for i in loops]),
                tuple([(at, first, trips[i]) for at, first, i in listed]),
            )
            for cuts, loops, listed in self.places
        ]
        few = prod([n for place in places for *_, n in place.listed]) <= KEPT
        table: Any = _chain_values if self.slide is None else _slide_values
        slide = () if self.slide is None else (self.slide,)
        # from memory if they are few; many are not kept
        values = (table if few else table.__wrapped__)(*places, *slide)[..., self.column]
        if not values.ndim:
            return int(values)
        if self.order is not None:
            values = np.transpose(values, self.order)
        shape = [1 if at < 0 else values.shape[at] for at in self.axes]
        made = np.ascontiguousarray(values.reshape(shape))
        made.flags.writeable = False  # handed out to many
        return made

    def keep(self, key: Any, values: Any) -> None:
        """Keep values for the next who asks; all factors forget theirs when they are too many."""
        global _positions
        with _keeping_lock:
            _positions += np.size(values) + 64  # and as much for the rest of it
            if _positions > MOST_POSITIONS:
                for factor in list(_keeping):
                    factor.known.clear()
                _keeping.clear()
                _positions = 0
            _keeping.add(self)
        self.known[key] = values


def _nothing(_: Any) -> None:
    """Of no loops there are no tiles."""


MOST_POSITIONS = 1 << 22  # values kept of all factors together
_keeping: WeakSet[ListedFactor] = WeakSet()  # those that have some
_keeping_lock = Lock()
_positions = 0


class SettingsFrame:
    """What settings of the loops ``outer`` have in common, whatever the tiles: which factors make
    which product.  ``nest`` is any of its form.

    ``chains``  those that have factors: a dimension of one that nothing loops over is one word, one
                active PE
    ``where``   by listed loop, the settings into which it advances, as an index of [settings]:
                loops outside it at any position, it from its second on, those inside at their first
    """

    def __init__(self, nest: Nest, outer: Sequence[int]) -> None:
        self.nest, self.outer = nest, tuple(outer)
        size = nest.problem.size
        self.chains = [c for c in nest.chains if c.loops or prod(size[p] for p in c.parts) > 1]
        every, later, first = slice(None), slice(1, None), slice(0, 1)
        self.where = {
            k: tuple([every if i < k else later if i == k else first for i in self.outer])
            for k in self.outer
        }
        self._sides: dict[Boundary, BoundaryFrame] = {}
        self._steps: dict[tuple[int, ...], tuple[ListedFactor, ...]] = {}

    @classmethod
    def of(cls, nest: Nest, outer: Sequence[int]) -> SettingsFrame:
        """The frame of a nest's form, made once."""
        return nest.form.once(("settings", tuple(outer)), partial(cls, nest, outer))

    def side(self, b: Boundary) -> BoundaryFrame:
        """The factors of one boundary."""
        known = self._sides.get(b)
        if known is None:
            known = self._sides[b] = BoundaryFrame(self, b)
        return known

    def steps(self, inside: tuple[int, ...]) -> tuple[ListedFactor, ...]:
        """How many positions of the loops ``inside`` there are at each position of the listed ones,
        a factor a chain that has either.
        """
        known = self._steps.get(inside)
        if known is None:
            factors = []
            for chain in self.nest.chains:
                own = [i for i in self.outer if i in chain.loops]
                free = [i for i in inside if i in chain.loops]
                if own or free:
                    factors.append(self._existing(chain, own, free))
            known = self._steps[inside] = tuple(factors)
        return known

    def _existing(self, chain: Chain, own: list[int], free: list[int]) -> ListedFactor:
        ways = [STANDS if i in own or i in free else FIRST for i in chain.loops]
        cuts = whole_chain(self.nest, chain, ways).cuts
        listed = [(chain.loops.index(i), 0, i) for i in own]
        return ListedFactor(self.outer, [(cuts, chain.loops, listed)], WORKS)


class BoundaryFrame:
    """The products of one boundary, whatever the tiles: ``BoundarySums``' factors, kept apart over
    the listed loops.

    ``inner``     loops that make steps inside a setting
    ``replaced``  of all loops that make steps, those whose advance leaves nothing of the tile
    ``padded``    whether words are (k, x) pairs of which some are padding
    ``ranks``     what there is a factor of: each chain the tensor does not depend on, and each
                  rank.  Where words are pairs, each chain
    """

    def __init__(self, frame: SettingsFrame, b: Boundary) -> None:
        nest = frame.nest
        self.frame, self.b, self.side = frame, b, BoundarySums(nest, b)
        self.inner = [k for k in self.side.temporal if k not in frame.outer]
        self.replaced = {k for k in self.side.temporal if self.side.replaces(k)}
        self.padded = nest.projection(b.tensor, b.child).pairs and any(nest.problem.padding)
        self.ranks = self._ranks()
        self._factors: dict[Any, ListedFactor] = {}
        self._products: dict[tuple[str, int | None, bool, bool], tuple[ListedFactor, ...]] = {}

    def product(
        self, which: str, k: int | None, start: bool, final: bool
    ) -> tuple[ListedFactor, ...]:
        """The factors of the sum ``which``: over the steps inside each setting, all, or the first
        alone (``start``), or those into which the inner loop k advances.  Of a listed loop k: at
        every change of it, in the settings of ``where[k]``.  Or at the very end (``final``).
        """
        known = self._products.get((which, k, start, final))
        if known is None:
            factors = []
            for n, rank in enumerate(self.ranks):
                # most loops k leave most chains as they are
                at = tuple([self._at(c, part, k, start, final) for c, part in rank.chains])
                factor = self._factors.get((n, which, at))
                if factor is None:
                    factor = self._factors[n, which, at] = self._factor(rank, which, at, k)
                factors.append(factor)
            known = self._products[which, k, start, final] = tuple(factors)
        return known

    def _ranks(self) -> list[RankFactor]:
        nest, tensor = self.frame.nest, self.b.tensor
        chains = self.frame.chains
        related = [c for c in chains if c.depends(tensor)]
        ranks = [RankFactor(((c, None),), (), False) for c in chains if c not in related]
        if self.side.pairs:  # each its own word
            return ranks + [RankFactor(((c, None),), (), True) for c in related]
        done: set[str] = set()
        for dims in RANKS[tensor]:
            of = [nest.chain_of[d] for d in dims]
            if len(dims) == 2 or (of[0].fused and tensor == "ifmap"):
                # above a fused loop its parts are plain dimensions
                each = [(c, d if c.fused else None) for c, d in zip(of, dims, strict=True)]
                ranks.append(RankFactor(tuple(each), dims, True))
            elif of[0] in related and of[0].name not in done:
                done.add(of[0].name)
                ranks.append(RankFactor(((of[0], None),), dims, True))
        return ranks

    def _factor(
        self,
        rank: RankFactor,
        which: str,
        at: tuple[tuple[int, bool, tuple[int, ...]], ...],
        k: int | None,
    ) -> ListedFactor:
        """A factor of one chain: of the words of its pieces, or, where the tensor does not depend
        on it, of who is active.  Or of two, where a filter slides: over the listed loops of E (or
        F), then of R (or S).
        """
        merged = rank.depends or which in ("S", "O")
        places = []
        for (chain, part), (outside, own, listed) in zip(rank.chains, at, strict=True):
            table = self.side.sums(chain, (outside, own), part, merged=merged)
            loops = [chain.loops[n] for n in table.reads]
            # k stands at its second index and on
            kept_apart = [(loops.index(i), int(i == k), i) for i in listed]
            places.append((table.cuts, loops, kept_apart))
        if len(places) == 2:
            slide = self.side.projection(rank.dims, which)
            return ListedFactor(self.frame.outer, places, LETTERS.index(which), slide)
        column = plain_column(which) if rank.depends else WORKS
        return ListedFactor(self.frame.outer, places, column)

    def _at(
        self, chain: Chain, part: str | None, k: int | None, start: bool, final: bool
    ) -> tuple[int, bool, tuple[int, ...]]:
        """Of a chain's temporal loops: how many stand still, whether k is the next, and which of
        them are listed.
        """
        if final:
            return 0, False, ()
        loops = self.frame.nest.loops
        own = [i for i in self.side.own[chain.name] if part in (None, loops[i].dim)]
        listed = tuple([i for i in own if i in self.frame.outer])
        if k is None:
            return len(listed if start else own), False, listed
        return sum([i < k for i in own]), k in own, tuple([i for i in listed if i <= k])


class StepSettings:
    """All settings of the listed loops ``outer``: positions in ``nest.loops``, an outermost part of
    the temporal loops.  ``shape`` is [settings]: their trips; where ``runs`` of alike turns of some
    loops are cut short, fewer, as ``turns`` says.  What moves raises UnlikeError where they differ.
    """

    def __init__(
        self, nest: Nest, outer: list[int], runs: Mapping[int, Span] | None = None
    ) -> None:
        self.nest, self.outer = nest, outer
        self.frame = SettingsFrame.of(nest, outer)
        self.turns = AlikeTurns(nest, outer, runs) if runs else None
        self.shape = self.turns.shape if self.turns else tuple(nest.loops[i].trips for i in outer)
        self._cut: dict[ListedFactor, Any] = {}
        self._moved: dict[Boundary, Moves] = {}
        self._long: dict[ListedFactor, Any] = {}  # what would be too much to keep with the factor

    @cached_property
    def exists(self) -> Bools:
        """Which settings have work for some instance, ``[settings]``."""
        return self.steps([]) > 0

    @cached_property
    def full(self) -> bool:
        """Whether every setting has work."""
        return bool(self.exists.all())

    def steps(self, inside: list[int]) -> Ints:
        """How many settings of the loops ``inside`` each setting has, ``[settings]``."""
        return self._everywhere(self._times(self.frame.steps(tuple(inside))))

    def moves(self, b: Boundary) -> Moves:
        """Words of a boundary whose child lies inside all listed loops.

        An operand: what comes at all, less what each inner loop's advance keeps, less what the
        change into the setting keeps.  Sums: what each inner loop's advance lets go, and what goes
        at the change out of the setting.
        """
        moved = self._moved.get(b)
        if moved is None:
            side = self.frame.side(b)
            if side.padded and self.turns:
                raise UnlikeError  # pairs are shared out over all settings
            moved = self._of_pairs(side) if side.padded else self._of(side)
            if prod(self.shape) <= MOVES:
                self._moved[b] = moved
        return moved

    def _of(self, of: BoundaryFrame) -> Moves:
        """Words that no padding makes an estimate of."""
        side, b = of.side, of.b
        zero = np.zeros(self.shape, np.int64)
        if b.tensor == self.nest.problem.accumulated:
            if side.mac:
                return Moves(zero, self._whole(self._product(of, "U")), zero, zero)
            rest: Any = 0
            for k in of.inner:
                rest = rest + self._product(of, "X", k)
                if k not in of.replaced:
                    rest = rest - self._product(of, "Y", k)
            begun = self._whole(self._product(of, "S", start=True)) - self._entering(of, "O")
            return Moves(zero, self._whole(rest), self._leaving(of), begun)
        came, kept = ("U", "L" if b.kind == "neighbour" else "K") if side.shares else ("S", "O")
        if side.mac:
            every = self._whole(self._product(of, came))
            taken = self._whole(self._product(of, "S")) if side.shares else every
            return Moves(zero, every, zero, taken)
        start = self._product(of, came, start=True)
        first = self._whole(start) - self._entering(of, kept)
        rest = self._whole(self._less(of, came, kept) - start)
        if not side.shares:  # children take what their parents read
            return Moves(first, rest, zero, first + rest)
        taken = self._whole(self._less(of, "S", "O")) - self._entering(of, "O")
        return Moves(first, rest, zero, taken)

    def _less(self, of: BoundaryFrame, every: str, kept: str) -> Any:
        """All words of the steps inside a setting, less what each inner loop's advance keeps;
        broadcasts to [settings].
        """
        total = self._product(of, every)
        for k in of.inner:
            if k not in of.replaced:
                total = total - self._product(of, kept, k)
        return total

    def _of_pairs(self, of: BoundaryFrame) -> Moves:
        """(k, x) pairs where some are padding.  MACs take every pair of their step, so those are
        counted.  Of pairs that a level holds on to, all that move are shared out by how many,
        padding included, each setting works on.

        The latter is the one place where words of a setting are an estimate: how much padding a
        setting meets for the first time is no product.  The total is exact, since the shares are
        rounded as a running sum.
        """
        b = of.b
        zero = np.zeros(self.shape, np.int64)
        if of.side.mac:
            words = np.where(self.exists, self._real_pairs(of), 0)
            return Moves(zero, words, zero, words)
        moved = moves(self.nest)[b]
        total = moved.arrived if b.tensor == self.nest.problem.accumulated else moved.read
        share, start = (
            np.where(self.exists, self._pair_count(of, first), 0) for first in (False, True)
        )
        part = np.concatenate([[0.0], np.cumsum(share.ravel(), dtype=float)]) / share.sum()
        words = np.diff(np.floor(part * total + 0.5)).astype(np.int64).reshape(self.shape)
        first = np.floor(words * (start / np.maximum(share, 1)) + 0.5).astype(np.int64)
        if b.tensor == self.nest.problem.accumulated:
            return Moves(zero, words - first, first, words)
        return Moves(first, words - first, zero, words)

    def _pair_count(self, of: BoundaryFrame, start: bool) -> Ints:
        """Pairs each setting works on, padding included: in all its steps, or in the first."""
        factors = of.product("S", None, start, False)
        depends = [f for f, rank in zip(factors, of.ranks, strict=True) if rank.depends]
        return np.asarray(np.ones(self.shape, np.int64) * self._times(depends))

    def _real_pairs(self, of: BoundaryFrame) -> Ints:
        """Pairs that MACs take in each setting and that read no padding, those of one group
        together, ``[settings]``.

        A pair is real if its output and tap are valid in height and in width apart: a bilinear
        form, how often a setting has each tap (r, s), times in how many of its outputs that tap
        reads no padding, the sum over all taps.
        """
        side, which = of.side, "U" if of.side.shares else "S"
        pairs: Any = np.ones((1,) * (len(self.outer) + 2), np.int64)  # [settings, R, S]
        for chain in self.nest.chains:
            if chain.depends(side.b.tensor):
                taps, own = self._taps(side, chain, which)
                axes = [self.nest.loops[i].trips if i in own else 1 for i in self.outer]
                pairs = pairs * taps.reshape(*axes, *taps.shape[-2:])
        factors = of.product(which, None, False, False)
        others = [f for f, rank in zip(factors, of.ranks, strict=True) if not rank.depends]
        return np.asarray(pairs.sum(axis=(-2, -1)) * self._times(others))

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

    def _entering(self, of: BoundaryFrame, which: str) -> Ints:
        """Words kept from the setting before, ``[settings]``: in each, of the listed loop that
        advances into it.
        """
        kept = np.zeros(self.shape, np.int64)
        for k in self.outer:
            if k not in of.replaced:
                kept[self.frame.where[k]] = self._product(of, which, k)
        return kept if self.full else self._whole(kept)

    def _leaving(self, of: BoundaryFrame) -> Ints:
        """Sums that arrive when a setting ends: at the change into the next that exists, or at the
        end of all.
        """
        into = np.zeros(self.shape, np.int64)
        for k in self.outer:
            lost = self._product(of, "X", k)
            if k not in of.replaced:
                lost = lost - self._product(of, "Y", k)
            into[self.frame.where[k]] = lost
        order = slice(None) if self.full else np.flatnonzero(self.exists.ravel())
        changes, last = into.ravel()[order], self._product(of, "X", final=True)
        leaving = np.zeros(into.size, np.int64)
        leaving[order] = np.append(changes[1:], last)
        return leaving.reshape(self.shape)

    def _whole(self, words: Any) -> Ints:
        """Words in every setting, ``[settings]``: none where there is no work."""
        if self.full:
            return self._everywhere(words)
        return np.where(self.exists, words, np.int64(0))

    def _everywhere(self, words: Any) -> Ints:
        """A number, or an array that broadcasts to [settings], as one of that shape; not to be
        written to.
        """
        if isinstance(words, int):
            return np.full(self.shape, words, np.int64)
        return words if words.shape == self.shape else np.broadcast_to(words, self.shape)

    # -- products of factors -----------------------------------------------------------------------

    def _product(
        self,
        of: BoundaryFrame,
        which: str,
        k: int | None = None,
        *,
        start: bool = False,
        final: bool = False,
    ) -> Any:
        """The sum ``which`` of ``BoundaryFrame.product``; broadcasts to [settings]."""
        return self._times(of.product(which, k, start, final))

    def _short(self, x: ListedFactor, factor: Ints) -> Any:
        """A factor over the settings that are laid out, see ``AlikeTurns.short``."""
        cut = self._cut.get(x)
        if cut is None:
            cut = self._cut[x] = self.short(factor)
        return cut

    def short(self, values: Any) -> Any:
        """Values of all settings, of those that are laid out (``AlikeTurns.short``)."""
        return self.turns.short(values) if self.turns else values

    def summed(self, values: Ints) -> int:
        """The sum over all settings of values of those that are laid out."""
        return self.turns.summed(values) if self.turns else int(values.sum())

    def _times(self, factors: Sequence[ListedFactor]) -> Any:
        """The product of factors, a number or an array that broadcasts to [settings]; not to be
        written to.
        """
        many, arrays = 1, []
        tiles, trips = self.nest.row
        for x in factors:
            key = x.pick(tiles)
            factor = x.known.get(key)
            if factor is None:
                factor = self._long.get(x)
            if factor is None:
                factor = x.of(tiles, trips)
                if np.size(factor) <= KEPT:
                    x.keep(key, factor)
                else:
                    self._long[x] = factor
            if isinstance(factor, int):
                many *= factor
            else:
                arrays.append(self._short(x, factor) if self.turns else factor)
        if not arrays:
            return many
        arrays.sort(key=np.size)  # small ones first: few products are of all settings
        total = arrays[0] if many == 1 else arrays[0] * many
        for factor in arrays[1:]:
            total = total * factor
        return total


# -- sums at every position of the listed loops ----------------------------------------------------


class _ListedChain(NamedTuple):
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
