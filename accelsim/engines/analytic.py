"""The analytic engine: section 4's counts in closed form.

Ranks of a tensor share no dimension, so every sum over steps and instances factors over ranks.  Each step
has exactly one advancing temporal loop k: loops outside k stand still, k goes from i-1 to i, loops inside
jump from their last trip to their first.  Per rank and k, over the rank's own outer positions,

    S = sum_j |C_j|      O = sum_j |C_j & Q_j|        over instances j, C now and Q one step before
    U = sum_P |C_P|      K = words of C_P that every holder j held before     over sharing groups P
    X = sum_P |Q_P|      Y = words of Q_P that every holder j holds now

    child takes   = prod S(all) - sum_k prod O_k         parent reads = prod U(all) - sum_k prod K_k
    psum arrivals = prod X(final) + sum_k (prod X_k - prod Y_k)

The MAC, which has no history, is the first product alone.  A rank is tabulated once per chain of tiles; what
a mapping costs is gathered from tables and multiplied.  Nothing is shared with the event engine but the
problem, its projections and the nest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.counts import Moved
from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.workload.problem import RANKS, Slide

Ints = npt.NDArray[np.int64]
CELLS = 1 << 24  # set elements laid out at once


def run(nest: Nest) -> dict[Boundary, Moved]:
    """What crosses each boundary of a nest, exactly, in words."""
    arrived = {}
    moves = {}
    for b in reversed(nest.boundaries):
        terms = _Terms(nest, b)
        if b.tensor != nest.problem.accumulated:
            moves[b] = Moved(taken=terms.taken(), read=terms.read())
        else:
            arrived[b] = terms.arrived()
            moves[b] = Moved(drained=terms.taken(), arrived=arrived[b])
    for b in nest.boundaries:
        if b.tensor == nest.problem.accumulated:
            moves[b].updated = arrived[b] - _entries(nest, b, moves)
    return {b: moves[b] for b in nest.boundaries}


def _entries(nest: Nest, b: Boundary, moves: dict[Boundary, Moved]) -> int:
    """Words that entered the parent's own tile: what it will let go again; at the outermost, the distinct words."""
    above = [x for x in nest.boundaries if x.tensor == b.tensor and x.child == b.parent]
    if above:
        return int(moves[above[0]].drained)
    return _touched(nest, b.tensor)


def _touched(nest: Nest, tensor: str) -> int:
    """Distinct real words of a tensor."""
    words = 1
    for rank in RANKS[tensor]:
        if len(rank) == 1:
            words *= nest.problem.size[rank[0]]
        else:
            e, r = rank
            masks = _coordinate_sets(nest.problem.slide(rank), nest.problem.size[e], nest.problem.size[r])
            words *= int((masks >= 0).any(axis=1).sum())
    return words


# -- positions of a chain -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A chain above a boundary, as plain numbers: what a table depends on."""

    sizes: tuple[int, ...]  # of each part
    loops: tuple[tuple[int, int, str], ...]  # (part, or -1 for the fused whole; tile; "t" | "g" | "m": temporal, grouped, merged)

    @cached_property
    def temporal(self) -> tuple[int, ...]:
        return tuple(i for i, x in enumerate(self.loops) if x[2] == "t")

    @cached_property
    def trips(self) -> tuple[int, ...]:
        current = list(self.sizes)
        chunk: int | None = None
        found = []
        for part, tile, _ in self.loops:
            if part >= 0:
                found.append(-(-current[part] // tile))
                current[part] = min(tile, current[part])
            else:
                whole = prod(current) if chunk is None else chunk
                found.append(-(-whole // tile))
                chunk = min(tile, whole)
        return tuple(found)

    def at(self, index: Sequence[Any]) -> _Range:
        """Ranges at one index a loop (broadcast): the parts' box and the chunk in it."""
        lo: list[Any] = [0] * len(self.sizes)
        hi: list[Any] = list(self.sizes)
        chunk: tuple[Any, Any] | None = None
        for (part, tile, _), i in zip(self.loops, index, strict=True):
            if part >= 0:
                lo[part] = lo[part] + i * tile
                hi[part] = np.minimum(hi[part], lo[part] + tile)
            else:
                first, last = (0, prod(np.maximum(h - low, 0) for low, h in zip(lo, hi, strict=True))) if chunk is None else chunk
                chunk = (first + i * tile, np.minimum(last, first + (i + 1) * tile))
        return _Range(lo, hi, chunk)

    def last(self, index: list[Any], inner: Sequence[int]) -> None:
        """Set the temporal loops ``inner`` to the last trip some instance takes, outermost first."""
        for i in inner:
            probe = [0 if self.loops[n][2] != "t" else index[n] for n in range(i)]
            size = _Line(self.sizes, self.loops[:i]).at(probe).extent(self.loops[i][0])
            index[i] = np.maximum(-(-size // self.loops[i][1]) - 1, 0)


@dataclass(frozen=True)
class _Range:
    lo: list[Any]
    hi: list[Any]
    chunk: tuple[Any, Any] | None

    def extent(self, part: int) -> Any:
        if part >= 0:
            return self.hi[part] - self.lo[part]
        if self.chunk is not None:
            return self.chunk[1] - self.chunk[0]
        return prod(np.maximum(h - low, 0) for low, h in zip(self.lo, self.hi, strict=True))

    def size(self) -> Any:
        """Words of a plain rank: the chunk, or the whole box; 0 where the piece does not exist."""
        box = prod(np.maximum(h - low, 0) for low, h in zip(self.lo, self.hi, strict=True))
        if self.chunk is None:
            return np.asarray(box)
        return np.where(box > 0, np.maximum(self.chunk[1] - self.chunk[0], 0), 0)

    def common(self, other: _Range) -> Any:
        """Words two pieces of one chain share: pieces of one grid are equal or disjoint, chunks may overlap."""
        both = prod(
            np.maximum(np.minimum(a, b) - np.maximum(c, d), 0) for a, b, c, d in zip(self.hi, other.hi, self.lo, other.lo, strict=True)
        )
        if self.chunk is None or other.chunk is None:
            return np.asarray(both)
        same = np.minimum(self.chunk[1], other.chunk[1]) - np.maximum(self.chunk[0], other.chunk[0])
        return np.where(both > 0, np.maximum(same, 0), 0)

    def one(self, part: int) -> Any:
        """Coordinate of a part where the piece is a single position."""
        if self.chunk is None:
            return self.lo[part]
        inner = prod(np.maximum(self.hi[q] - self.lo[q], 1) for q in range(part + 1, len(self.lo)))
        return self.lo[part] + (self.chunk[0] // inner) % np.maximum(self.hi[part] - self.lo[part], 1)


def _positions(line: _Line, outside: int, own: bool, *, merged: bool) -> tuple[list[Any], list[Any]]:
    """Index arrays now and one step before: (position, grouped instance, merged instance).

    The first ``outside`` temporal loops stand still; if ``own``, the next one advances from i-1 to i; the
    rest go from their last trip to their first.
    """
    fixed = line.temporal[: outside + own]
    kinds = (list(fixed), [i for i, x in enumerate(line.loops) if x[2] == "g"], [i for i, x in enumerate(line.loops) if x[2] == "m"])
    now: list[Any] = [0] * len(line.loops)
    for axis, members in enumerate(kinds):
        if axis == 2 and not merged:
            continue
        shape = [1, 1, 1]
        grid = np.indices([line.trips[i] - (own and i == fixed[-1]) for i in members], np.int64).reshape(
            len(members), prod(line.trips[i] - (own and i == fixed[-1]) for i in members)
        )
        shape[axis] = grid.shape[1]
        for i, g in zip(members, grid, strict=True):
            now[i] = (g + (own and i == fixed[-1])).reshape(shape)
    before = list(now)
    if own:
        before[fixed[-1]] = now[fixed[-1]] - 1
    line.last(before, line.temporal[outside + own :])
    return now, before


def _taken(line: _Line, now: list[Any]) -> npt.NDArray[np.bool_]:
    """Whether a step exists: some instance takes it, and if any the first one does."""
    first = [i if kind == "t" else 0 for i, (_, _, kind) in zip(now, line.loops, strict=True)]
    return np.asarray(line.at(first).size()) > 0


# -- tables -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sums:
    """S, O over instances; U, K, X, Y over sharing groups."""

    S: int
    O: int  # noqa: E741
    U: int
    K: int
    X: int
    Y: int
    L: int  # neighbour links: words of C_P that Q_P holds


@lru_cache(maxsize=1 << 16)
def _plain(line: _Line, outside: int, own: bool) -> _Sums:
    """A rank of one chain the tensor depends on: pieces of different instances are disjoint."""
    index = _positions(line, outside, own, merged=True)
    now, before = (line.at(x) for x in index)
    s = int(np.asarray(now.size()).sum())
    x = int((before.size() * _taken(line, index[0])).sum())
    o = 0 if own else int(np.asarray(now.common(before)).sum())
    return _Sums(s, o, s, o, x, o, o)


@lru_cache(maxsize=1 << 16)
def _irrelevant(line: _Line, outside: int, own: bool) -> _Sums:
    """A chain the tensor does not depend on: active (position, instance) and (position, group) pairs."""
    s, u = (int((np.asarray(line.at(_positions(line, outside, own, merged=m)[0]).size()) > 0).sum()) for m in (True, False))
    return _Sums(s, s, u, u, u, u, u)


@lru_cache(maxsize=1 << 14)
def _coordinate_sets(slide: Slide, out: int, filt: int) -> Ints:
    """e[h, r]: the output that reads coordinate h through tap r, or -1."""
    e = np.arange(slide.size)[:, None] + slide.pad - slide.dilation * np.arange(filt)
    real = (e >= 0) & (e % slide.stride == 0) & (e < out * slide.stride)
    return np.where(real, e // slide.stride, -1)


def _coordinates(readers: Ints, e: _Range, r: _Range) -> npt.NDArray[np.bool_]:
    """Which coordinates pieces of (E, R) touch: broadcast shape of the pieces, then h."""
    e_lo, e_hi, r_lo, r_hi = (np.asarray(x)[..., None] for x in (e.lo[0], e.hi[0], r.lo[0], r.hi[0]))
    shape = np.broadcast_shapes(e_lo.shape, e_hi.shape, r_lo.shape, r_hi.shape)[:-1]
    found = np.zeros((*shape, len(readers)), bool)
    for step in range(int((r_hi - r_lo).max())):
        at = np.minimum(r_lo + step, readers.shape[1] - 1)
        reader = readers[np.arange(len(readers)), at]
        found |= (reader >= e_lo) & (reader < e_hi) & (r_lo + step < r_hi)
    return found


@lru_cache(maxsize=1 << 16)
def _sliding(slide: Slide, e: _Line, r: _Line, outside: tuple[int, int], own: str) -> _Sums:
    """A rank of two chains that slides: sets laid out as masks over the coordinate, blocks of positions at a time."""
    readers = _coordinate_sets(slide, e.sizes[0], r.sizes[0])
    both = [_positions(e, outside[0], own == "e", merged=True), _positions(r, outside[1], own == "r", merged=True)]
    shapes = [np.broadcast_shapes((1, 1, 1), *(np.shape(x) for x in now)) for now, _ in both]
    total = np.zeros(7, np.int64)
    others = shapes[0][1] * shapes[0][2] * prod(shapes[1]) * len(readers)
    block = max(1, CELLS // max(others, 1))
    for start in range(0, shapes[0][0], block):
        sets = []
        for when in (0, 1):
            index = [x[start : start + block] if np.ndim(x) and np.shape(x)[0] > 1 else x for x in both[0][when]]
            at_e, at_r = e.at(index), r.at(both[1][when])
            part = _coordinates(readers, _lift(at_e, (0, 2, 4)), _lift(at_r, (1, 3, 5)))
            if when == 0:
                steps = _flag(_taken(e, index), 0) & _flag(_taken(r, both[1][0]), 1)
            sets.append(part & steps)
        n = min(block, shapes[0][0] - start)
        full = (n, shapes[1][0], shapes[0][1], shapes[1][1], shapes[0][2], shapes[1][2], len(readers))
        now, before = (np.broadcast_to(x, full) for x in sets)
        total += _six(now, before)
    return _Sums(*(int(x) for x in total))


def _flag(taken: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    shape = [1] * 7
    shape[axis] = taken.size
    return taken.reshape(shape)


def _lift(at: _Range, axes: tuple[int, int, int]) -> _Range:
    """Give a chain's three axes their places among six."""

    def place(x: Any) -> Any:
        x = np.asarray(x)
        shape = [1] * 6
        for axis, n in zip(axes, np.broadcast_shapes(x.shape, (1, 1, 1)), strict=True):
            shape[axis] = n
        return x.reshape(shape)

    return _Range([place(x) for x in at.lo], [place(x) for x in at.hi], None)


def _six(now: npt.NDArray[np.bool_], before: npt.NDArray[np.bool_]) -> Ints:
    """S O U K X Y L of sets shaped (pe, pr, ge, gr, me, mr, h)."""
    merged = (4, 5)
    u, x = now.any(axis=merged), before.any(axis=merged)
    came, went = (now & ~before).any(axis=merged), (before & ~now).any(axis=merged)
    return np.array([now.sum(), (now & before).sum(), u.sum(), (u & ~came).sum(), x.sum(), (x & ~went).sum(), (u & x).sum()])


# -- a boundary -----------------------------------------------------------------------------------------------


class _Terms:
    """All factors of one boundary."""

    def __init__(self, nest: Nest, b: Boundary) -> None:
        self.nest, self.b = nest, b
        self.mac = b.child == nest.levels
        self.pairs = nest.pairs(b.tensor, b.child)
        above = [i for i, x in enumerate(nest.loops) if x.level < b.child]
        self.loops = set(above)
        self.temporal = [i for i in above if not nest.loops[i].spatial]
        self.lines = {c.name: self._line(c) for c in nest.chains}
        self.own = {c.name: [i for i in c.loops if i in self.loops and not nest.loops[i].spatial] for c in nest.chains}

    def _line(self, chain: Chain) -> _Line:
        loops = []
        for i in chain.loops:
            if i in self.loops:
                x = self.nest.loops[i]
                grouped = x.spatial and (x.level < self.b.parent or x.axis not in self.b.merged)
                kind = "t" if not x.spatial else "g" if grouped else "m"
                loops.append((chain.parts.index(x.dim) if x.dim in chain.parts else -1, x.tile, kind))
        return _Line(tuple(self.nest.problem.size[p] for p in chain.parts), tuple(loops))

    def _outside(self, name: str, k: int | None) -> int:
        """How many of a chain's temporal loops stand outside k; all of them where every position is summed."""
        return len(self.own[name]) if k is None else sum(i < k for i in self.own[name])

    def _factors(self, k: int | None, *, final: bool = False) -> list[_Sums]:
        """One factor a rank and irrelevant chain: at every position (k None), where k advances, or at the very end."""
        found = []
        done: set[str] = set()
        advancing = k if k is not None else -1
        for rank in [] if self.pairs else RANKS[self.b.tensor]:
            chains = [self.nest.chain_of[d] for d in rank]
            names = [c.name for c in chains]
            if names[0] in done and len(rank) == 1:
                continue
            outside = [0 if final else self._outside(n, k) for n in names]
            if len(rank) == 2 and not any(c.fused for c in chains):
                own = "e" if advancing in self.own[names[0]] else "r" if advancing in self.own[names[1]] else ""
                e, r = (self.lines[n] for n in names)
                found.append(_sliding(self.nest.problem.slide(rank), e, r, (outside[0], outside[1]), own))
            elif len(rank) == 2:
                found.append(self._sliding_parts(rank, k, final))
            elif chains[0].fused and self.b.tensor == "ifmap":
                found.append(_plain(self._part(rank[0]), *self._part_outside(rank[0], k, final)))
                continue
            else:
                found.append(_plain(self.lines[names[0]], outside[0], advancing in self.own[names[0]]))
            done |= set(names)
        for c in self.nest.chains:
            if not c.depends(self.b.tensor):
                found.append(_irrelevant(self.lines[c.name], 0 if final else self._outside(c.name, k), advancing in self.own[c.name]))
        if self.pairs:
            found.append(self._pair_factor(k, final))
        return found

    # an ifmap above a fused loop: the parts' own loops are plain dimensions there

    def _part(self, dim: str) -> _Line:
        line, chain = self.lines[self.nest.chain_of[dim].name], self.nest.chain_of[dim]
        own = chain.parts.index(dim)
        return _Line((self.nest.problem.size[dim],), tuple((0, t, kind) for part, t, kind in line.loops if part == own))

    def _part_outside(self, dim: str, k: int | None, final: bool) -> tuple[int, bool]:
        own = [i for i in self.own[self.nest.chain_of[dim].name] if self.nest.loops[i].dim == dim]
        if final:
            return 0, False
        return (len(own), False) if k is None else (sum(i < k for i in own), k in own)

    def _sliding_parts(self, rank: tuple[str, ...], k: int | None, final: bool) -> _Sums:
        (e, own_e), (r, own_r) = (self._part_outside(d, k, final) for d in rank)
        own = "e" if own_e else "r" if own_r else ""
        return _sliding(self.nest.problem.slide(rank), self._part(rank[0]), self._part(rank[1]), (e, r), own)

    # an ifmap under a fused loop: one word a (k, x) pair, real where the padding is not

    def _pair_factor(self, k: int | None, final: bool) -> _Sums:
        every, same, old = (self._real_pairs(k, final, which) for which in ("now", "same", "before"))
        return _Sums(every, same, every, same, old, same, same)

    def _real_pairs(self, k: int | None, final: bool, which: str) -> int:
        """Real pairs over all positions and instances: held now, held now and before, or held before."""
        if self.mac or (k is None and which == "now" and not final):
            return self._all_pairs()
        times = 1
        where: dict[str, Ints] = {}
        for c in self.nest.chains:
            if not c.depends("ifmap"):
                continue
            outside = 0 if final else self._outside(c.name, k)
            own = k is not None and k in self.own[c.name]
            line = self.lines[c.name]
            index = _positions(line, outside, own, merged=True)
            now, before = (line.at(x) for x in index)
            held = now.common(before) if which == "same" else now.size() if which == "now" else before.size()
            at = before if which == "before" else now
            mask = (np.asarray(held) > 0) & _taken(line, index[0])
            if own and which == "same":
                mask = np.zeros_like(mask)
            slides = [p for p in c.parts if p in "ERFS"]
            shape = np.broadcast_shapes(mask.shape, *(np.shape(at.one(c.parts.index(p))) for p in slides))
            mask = np.broadcast_to(mask, shape)
            if not slides:
                times *= int(mask.sum())
            for p in slides:
                where[p] = np.broadcast_to(at.one(c.parts.index(p)), shape)[mask]
        return times * self._meet(where)

    def _meet(self, where: dict[str, Ints]) -> int:
        """Sum over (r,s) and (e,f) positions of whether both coordinates are real."""
        size = self.nest.problem.size
        counts = []
        for a, b in (("R", "S"), ("E", "F")):
            if self.nest.chain_of[a] is self.nest.chain_of[b]:
                flat = np.bincount(where[a] * size[b] + where[b], minlength=size[a] * size[b])
                counts.append(flat.reshape(size[a], size[b]))
            else:
                counts.append(np.outer(np.bincount(where[a], minlength=size[a]), np.bincount(where[b], minlength=size[b])))
        h, w = self._validity(("E", "R")), self._validity(("F", "S"))
        return int((counts[0] * (h.T @ counts[1] @ w)).sum())

    def _validity(self, rank: tuple[str, str]) -> Ints:
        slide, size = self.nest.problem.slide(rank), self.nest.problem.size
        at = slide.stride * np.arange(size[rank[0]])[:, None] + slide.dilation * np.arange(size[rank[1]]) - slide.pad
        return ((at >= 0) & (at < slide.size)).astype(np.int64)

    def _all_pairs(self) -> int:
        size = self.nest.problem.size
        return size["N"] * size["G"] * size["C"] * int(self._validity(("E", "R")).sum()) * int(self._validity(("F", "S")).sum())

    # the counts

    def taken(self) -> int:
        """Words the children take in all; equal to what they drain of an accumulated tensor."""
        return self._product("S", None) - sum(self._product("O", k) for k in self._history())

    def read(self) -> int:
        """Words the parents read for their children, shared where the network shares."""
        kept = "L" if self.b.kind == "neighbour" else "K"
        return self._product("U", None) - sum(self._product(kept, k) for k in self._history())

    def arrived(self) -> int:
        """Words that arrive at the parents, added on the way where the network adds."""
        if self.mac:
            return self._product("U", None)
        steps = sum(self._product("X", k) - self._product("Y", k) for k in self._history())
        return prod(f.X for f in self._factors(None, final=True)) + steps

    def _history(self) -> list[int]:
        return [] if self.mac else self.temporal

    def _product(self, which: str, k: int | None) -> int:
        return prod(getattr(f, which) for f in self._factors(k))


__all__ = ["run"]
