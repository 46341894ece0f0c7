"""Words over a boundary, setting by setting: the analytic engine's sums before they are summed.

``closed_form`` says how many words cross a boundary in all.  Time needs to know when.  So an
outermost part of the temporal loops is *listed*, and the sums of ``rank_sums`` are kept apart over
the listed loops and added up over the others (``chain_positions`` lays them out).  By section 4's
closed form a setting moves

    prod S(all inside) - sum over k inside of prod O_k - prod O of the change into the setting

Still nothing but products: a factor depends on its own chain's listed loops, so it is a small
array, and the product is a broadcast.  Every array of this page has one axis a listed loop, in nest
order:

    [trips of outer[0], trips of outer[1], ...]          called [settings] below

``pipeline`` lists the loops outside the PEs' parent for passes, and more of them for phases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.chain_positions import (
    CELLS,
    TileChain,
    coordinate_readers,
    coordinates,
    flag,
    lift,
    positions,
    step_exists,
)
from accelsim.engines.analytic.closed_form import BoundarySums, moves
from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.workload.problem import RANKS, Slide

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Moves:
    """Words of one boundary in each setting, over all instances; each ``[settings]``.

    ``first``  of an operand, what the parents read at the setting's first step
    ``rest``   the same in its other steps; of sums, what arrives while the setting lasts
    ``last``   of sums, what arrives when it ends
    ``taken``  of an operand, all the children take
    """

    first: Ints
    rest: Ints
    last: Ints
    taken: Ints


class StepSettings:
    """All settings of the listed loops ``outer``: positions in ``nest.loops``, an outermost part of
    the temporal loops.  ``shape`` is [settings]: their trips.
    """

    def __init__(self, nest: Nest, outer: list[int]) -> None:
        self.nest, self.outer = nest, outer
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
        if self.nest.projection(b.tensor, b.child).pairs:
            return self._of_pairs(b)
        side = BoundarySums(self.nest, b)
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
            return Moves(zero, rest, self._leaving(side), zero)
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
        """(k, x) pairs: all that move, shared out by how many pairs, padding included, each setting
        works on.

        The one place where words of a setting are an estimate: how much padding a setting has is
        no product.  The total is exact, since the shares are rounded as a running sum.
        """
        moved = moves(self.nest)[b]
        total = moved.arrived if b.tensor == self.nest.problem.accumulated else moved.read
        side = BoundarySums(self.nest, b)
        share, start = (
            np.where(self.exists, self._pair_count(side, first), 0) for first in (False, True)
        )
        part = np.concatenate([[0.0], np.cumsum(share.ravel(), dtype=float)]) / share.sum()
        words = np.diff(np.floor(part * total + 0.5)).astype(np.int64).reshape(self.shape)
        first = (
            words
            if side.mac
            else np.floor(words * (start / np.maximum(share, 1)) + 0.5).astype(np.int64)
        )
        zero = np.zeros(self.shape, np.int64)
        if side.mac:
            return Moves(zero, words, zero, words)
        if b.tensor == self.nest.problem.accumulated:
            return Moves(zero, words - first, first, zero)
        return Moves(first, words - first, zero, words)

    def _pair_count(self, side: BoundarySums, start: bool) -> Ints:
        """Pairs each setting works on, padding included: in all its steps, or in the first."""
        pairs = np.ones(self.shape, np.int64)
        for chain in self.nest.chains:
            if chain.depends(side.b.tensor):
                values, own = self._one(side, chain, _plain, "S", None, None, start=start)
                pairs = pairs * self._spread(values, own)
        return pairs

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
            self._one(side, c, _irrelevant, which, k, None, start, final)
            for c in nest.chains
            if not c.depends(tensor)
        ]
        done: set[str] = set()
        for rank in RANKS[tensor]:
            chain = nest.chain_of[rank[0]]
            if len(rank) == 2:
                factors.append(self._slide(side, rank, which, k, start, final))
            elif (
                chain.fused and tensor == "ifmap"
            ):  # above a fused loop its parts are plain dimensions
                factors.append(self._one(side, chain, _plain, which, k, rank[0], start, final))
            elif chain.name not in done:
                done.add(chain.name)
                factors.append(self._one(side, chain, _plain, which, k, None, start, final))
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

    def _line(self, side: BoundarySums, chain: Chain, part: str | None) -> TileChain:
        return side.line(chain, tuple(self.nest.loops[i].tile for i in chain.loops), part)

    def _one(
        self,
        side: BoundarySums,
        chain: Chain,
        table: Callable[[TileChain, int, bool, int, str], Ints],
        which: str,
        k: int | None,
        part: str | None,
        start: bool = False,
        final: bool = False,
    ) -> tuple[Ints, list[int]]:
        """A factor of one chain, by the table for its kind."""
        outside, own, listed = self._at(side, chain, k, part, start, final)
        return table(self._line(side, chain, part), outside, own, len(listed), which), listed

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
        (e, own_e, of_e), (r, own_r, of_r) = (
            self._at(side, c, k, p, start, final) for c, p in zip(chains, parts, strict=True)
        )
        lines = [self._line(side, c, p) for c, p in zip(chains, parts, strict=True)]
        own = "e" if own_e else "r" if own_r else ""
        values = _sliding(
            side.projection(rank, which),
            lines[0],
            lines[1],
            (e, r),
            own,
            (len(of_e), len(of_r)),
            which,
        )
        return values, [*of_e, *of_r]

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
        shape = [self.nest.loops[i].trips for i in own]
        trips = [self.nest.loops[i].trips for i in free]
        index: dict[int, Any] = dict.fromkeys(chain.loops, 0)
        index |= {i: g[..., None] for i, g in zip(own, np.indices(shape, np.int64), strict=True)}
        index |= dict(
            zip(free, np.indices(trips, np.int64).reshape(len(trips), prod(trips)), strict=True)
        )
        return np.asarray(
            np.broadcast_to(self.nest.pieces(chain, index).exists, (*shape, prod(trips))).sum(
                axis=-1
            )
        )


# -- tables by position ----------------------------------------------------------------------------


def _fixed_trips(line: TileChain, outside: int, own: bool) -> list[int]:
    """Trips of the loops that stand still and of the one that advances, from its second position
    on.
    """
    fixed = line.temporal[: outside + own]
    return [line.trips[i] - (own and i == fixed[-1]) for i in fixed]


def _summed(values: Any, trips: list[int], listed: int) -> Ints:
    """[position, grouped, merged] summed over all but the first ``listed`` loops of the position.
    What is cached is handed out to many: it is made read-only.
    """
    values = np.asarray(values)
    if values.ndim != 3:
        values = values.reshape((1, 1, 1))
    wide = np.broadcast_to(values, (prod(trips), *values.shape[1:]))
    summed = np.asarray(wide.reshape(*trips[:listed], -1).sum(axis=-1, dtype=np.int64))
    summed.flags.writeable = False
    return summed


@lru_cache(maxsize=1 << 12)
def _plain(line: TileChain, outside: int, own: bool, listed: int, which: str) -> Ints:
    """A rank of one chain the tensor depends on, over the listed loops."""
    index = positions(line, outside, own, merged=True)
    trips = _fixed_trips(line, outside, own)
    now, before = (line.at(x) for x in index)
    if which in ("S", "U"):
        return _summed(now.size(), trips, listed)
    if which == "X":
        return _summed(before.size() * step_exists(line, index[0]), trips, listed)
    return _summed(0 if own else now.common(before), trips, listed)


@lru_cache(maxsize=1 << 12)
def _irrelevant(line: TileChain, outside: int, own: bool, listed: int, which: str) -> Ints:
    """A chain the tensor does not depend on, over the listed loops: who is active."""
    now = positions(line, outside, own, merged=which in ("S", "O"))[0]
    return _summed(np.asarray(line.at(now).size()) > 0, _fixed_trips(line, outside, own), listed)


@lru_cache(maxsize=1 << 10)
def _sliding(
    slide: Slide,
    e: TileChain,
    r: TileChain,
    outside: tuple[int, int],
    own: str,
    listed: tuple[int, int],
    which: str,
) -> Ints:
    """A rank of two chains that slides, over the listed loops of the first and then of the second;
    sets are laid out as masks over the coordinate, blocks of the first chain's positions at a time.
    """
    readers = coordinate_readers(slide, e.sizes[0], r.sizes[0])
    both = [
        positions(e, outside[0], own == "e", merged=True),
        positions(r, outside[1], own == "r", merged=True),
    ]
    trips = [_fixed_trips(e, outside[0], own == "e"), _fixed_trips(r, outside[1], own == "r")]
    shapes = [
        np.broadcast_shapes((prod(t), 1, 1), *(np.shape(x) for x in now))
        for (now, _), t in zip(both, trips, strict=True)
    ]
    words = np.zeros((shapes[0][0], shapes[1][0]), np.int64)
    block = max(1, CELLS // max(1, shapes[0][1] * shapes[0][2] * prod(shapes[1]) * len(readers)))
    for start in range(0, shapes[0][0], block):
        sets = []
        for when in (0, 1):
            index = [
                x[start : start + block] if np.ndim(x) and np.shape(x)[0] > 1 else x
                for x in both[0][when]
            ]
            part = coordinates(
                readers, lift(e.at(index), (0, 2, 4)), lift(r.at(both[1][when]), (1, 3, 5))
            )
            if when == 0:
                steps = flag(step_exists(e, index), 0) & flag(step_exists(r, both[1][0]), 1)
            sets.append(part & steps)
        n = min(block, shapes[0][0] - start)
        full = (
            n,
            shapes[1][0],
            shapes[0][1],
            shapes[1][1],
            shapes[0][2],
            shapes[1][2],
            len(readers),
        )
        words[start : start + n] = _words(which, *(np.broadcast_to(x, full) for x in sets))
    wide = words.reshape(
        *trips[0][: listed[0]], -1, *trips[1][: listed[1]], prod(trips[1][listed[1] :])
    )
    total = np.asarray(wide.sum(axis=(listed[0], -1)))
    total.flags.writeable = False
    return total


def _words(which: str, now: Bools, before: Bools) -> Ints:
    """One of S O U K X Y L of sets [pe, pr, ge, gr, me, mr, h], as [pe, pr]."""
    inside, merged = (2, 3, 4, 5, 6), (4, 5)
    if which in ("S", "O"):
        return np.asarray((now if which == "S" else now & before).sum(axis=inside))
    u, x = now.any(axis=merged), before.any(axis=merged)
    chosen = {
        "U": lambda: u,
        "X": lambda: x,
        "L": lambda: u & x,
        "K": lambda: u & ~(now & ~before).any(axis=merged),
        "Y": lambda: x & ~(before & ~now).any(axis=merged),
    }[which]()
    return np.asarray(chosen.sum(axis=(2, 3, 4)))
