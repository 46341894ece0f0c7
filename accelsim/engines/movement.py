"""What moves, in order: the index sets of every transfer and pass of a nest (DESIGN sections 1 and 4).

``movement(nest)`` yields ``Drain``, ``Open``, ``Fill`` and ``Pass``.  Levels outside the innermost two
are walked step by step; a ``Pass`` is everything that happens while they stand still: the steps of the
level next to the array, with its PEs in lockstep, and the MACs.  Nothing here knows a value.

A PE's tile is a product of index lists, one a rank, tabulated over (step, instance).  Tables and the
plans made from them depend on positions only through a base, so equal passes share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.multiply import Span
from accelsim.engines.words import NONE, Index, Pattern, Words, box_of, chunk_boxes, index_of, pattern, product_pattern
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
from accelsim.workload.problem import RANKS

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Instance = tuple[int, ...]  # one index per spatial loop outside the level
NOWHERE = np.iinfo(np.int64).min // 4
ROWS_LIMIT = 8_000_000  # words times steps times instances planned at once


# -- events ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drain:
    """Accumulated words leave child instances and arrive at their parents, added on the way where the network adds."""

    boundary: Boundary
    children: tuple[tuple[Instance, Words], ...]
    arrivals: tuple[tuple[Instance, Words], ...]


@dataclass(frozen=True)
class Open:
    """Accumulated words start a residency, from zero."""

    level: int
    tensor: str
    children: tuple[tuple[Instance, Words], ...]


@dataclass(frozen=True)
class Fill:
    """Operand words: what each child instance takes and lets go, and what each parent instance reads for it."""

    boundary: Boundary
    takes: tuple[tuple[Instance, Words, Words], ...]
    reads: tuple[tuple[Instance, int], ...]


@dataclass(frozen=True)
class PeDrain:
    """Accumulated words leave PEs: how many were drained, how many arrive, and which they are, by cluster."""

    boundary: Boundary
    drained: int
    arrived: int
    words: tuple[tuple[Instance, Words], ...]


@dataclass(frozen=True)
class PeLoad:
    """Operand words enter PEs: how many they take, how many parents read, which words, and which stay at the end."""

    boundary: Boundary
    taken: int
    read: int
    words: tuple[tuple[Instance, Words], ...]
    resident: tuple[tuple[Instance, Words], ...]


@dataclass(frozen=True)
class Take:
    """What the MACs of a pass take (or, accumulated, make): by themselves, and after sharing on the network."""

    boundary: Boundary
    taken: int
    shared: int


@dataclass(frozen=True)
class Folds:
    """Per step of a pass: temporal length, rows and columns used; and the largest number of PEs at once."""

    length: Ints
    rows: Ints
    cols: Ints
    active: int
    cycles: int  # all lengths together


@dataclass(frozen=True)
class Pass:
    """All steps of the level next to the array while the levels outside stand still."""

    loads: tuple[PeLoad, ...]
    opened: int  # accumulated words that started a residency in a PE
    takes: tuple[Take, ...]
    drain: PeDrain | None
    stay: tuple[tuple[Instance, Words], ...]  # accumulated words still in a PE at the end
    macs: int
    folds: Folds
    boxes: tuple[tuple[Instance, dict[str, Span]], ...]  # by cluster: the ranges its MACs work through


Event = Drain | Open | Fill | PeDrain | Pass


def movement(nest: Nest) -> Iterator[Event]:
    """All events of a nest in order."""
    return _Walk(nest).events()


# -- index lists ------------------------------------------------------------------------------------------


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


@dataclass(frozen=True)
class _Rank:
    """One factor of a tile: the chains it ranges over and how their positions become word offsets."""

    chains: tuple[Chain, ...]
    strides: tuple[int, ...]  # of each part of a single chain, or of the sliding coordinate
    rank: tuple[str, ...]  # the parts of a single chain it ranges over, or the sliding pair
    sliding: bool = False

    def offsets(self, nest: Nest, pieces: tuple[Piece, ...]) -> Ints:
        """Word offsets, sorted, padded with NOWHERE: shape of the pieces plus one axis."""
        if self.sliding:
            return self._sliding(nest, *pieces)
        (piece,) = pieces
        lo = [np.asarray(piece.lo[p]) for p in self.rank]
        extent = [np.maximum(piece.hi[p] - piece.lo[p], 0) for p in self.rank]
        first, last = (0, prod(extent)) if piece.chunk is None else piece.chunk
        first, last = np.broadcast_arrays(np.asarray(first), np.asarray(last))
        width = max(int((last - first).max()), 0)
        at = first[..., None] + np.arange(width)
        real = (at < last[..., None]) & piece.exists[..., None]
        total = np.zeros(at.shape, np.int64)
        rest = at
        for low, n, stride in reversed(list(zip(lo, extent, self.strides, strict=True))):
            n = np.maximum(n, 1)[..., None]
            total += (low[..., None] + rest % n) * stride
            rest = rest // n
        return np.where(real, total, NOWHERE)

    def _sliding(self, nest: Nest, out: Piece, filt: Piece) -> Ints:
        slide = nest.problem.slide(self.rank)
        e, r = self.rank
        e_lo, e_hi, r_lo, r_hi = np.broadcast_arrays(out.lo[e], out.hi[e], filt.lo[r], filt.hi[r])
        es = e_lo[..., None] + np.arange(max(int((e_hi - e_lo).max()), 0))
        rs = r_lo[..., None] + np.arange(max(int((r_hi - r_lo).max()), 0))
        at = slide.stride * es[..., :, None] + slide.dilation * rs[..., None, :] - slide.pad
        real = (es < e_hi[..., None])[..., :, None] & (rs < r_hi[..., None])[..., None, :]
        real &= (at >= 0) & (at < slide.size) & (out.exists & filt.exists)[..., None, None]
        flat = np.sort(np.where(real, at, slide.size).reshape(*e_lo.shape, -1), axis=-1)
        if flat.shape[-1] == 0:
            return np.full((*e_lo.shape, 1), NOWHERE)
        flat[..., 1:][flat[..., 1:] == flat[..., :-1]] = slide.size
        flat.sort(axis=-1)
        width = max(int((flat < slide.size).sum(axis=-1).max()), 1)
        flat = flat[..., :width]
        return np.where(flat < slide.size, flat * self.strides[0], NOWHERE)


def _ranks(nest: Nest, tensor: str, pairs: bool) -> tuple[_Rank, ...]:
    """The factors of a tensor's tile.  Under a fused loop an ifmap word is its (k, x) pair: every chain counts for itself."""
    if pairs:
        ids = []
        span = 1
        for chain in nest.chains:
            if chain.depends(tensor):
                sizes = tuple(nest.problem.size[p] for p in chain.parts)
                ids.append(_Rank((chain,), tuple(s * span for s in _strides(sizes)), chain.parts))
                span *= prod(sizes)
        return tuple(ids)
    strides = dict(zip(RANKS[tensor], _strides(nest.problem.shape(tensor)), strict=True))
    found = []
    done: set[str] = set()
    for rank in RANKS[tensor]:
        chain = nest.chain_of[rank[0]]
        if chain.name in done:
            continue
        if len(rank) == 2:
            found.append(_Rank((chain, nest.chain_of[rank[1]]), (strides[rank],), rank, sliding=True))
        elif chain.fused and tensor != "ifmap":
            done.add(chain.name)
            found.append(_Rank((chain,), tuple(strides[p,] for p in chain.parts), chain.parts))
        else:
            found.append(_Rank((chain,), (strides[rank],), rank))
    return tuple(found)


def _coordinates(nest: Nest, pairs: Ints) -> tuple[dict[str, Ints], npt.NDArray[np.bool_]]:
    """Each (k, x) pair's coordinates, and whether its ifmap word is real."""
    at: dict[str, Ints] = {}
    rest = pairs
    for chain in nest.chains:
        if chain.depends("ifmap"):
            for p in reversed(chain.parts):
                at[p], rest = rest % nest.problem.size[p], rest // nest.problem.size[p]
    real = np.ones(pairs.shape, bool)
    for name, rank in (("H", ("E", "R")), ("W", ("F", "S"))):
        slide = nest.problem.slide(rank)
        at[name] = slide.stride * at[rank[0]] + slide.dilation * at[rank[1]] - slide.pad
        real &= (at[name] >= 0) & (at[name] < slide.size)
    return at, real


def _address(nest: Nest, pairs: Ints) -> Ints:
    """The ifmap word each real pair stands for."""
    at, _ = _coordinates(nest, pairs)
    shape = nest.problem.shape("ifmap")
    return np.ravel_multi_index(tuple(at[d] for d in ("N", "G", "C", "H", "W")), shape).astype(np.int64)


def _grid(trips: Iterable[int]) -> Ints:
    """All positions of some loops in nest order: (loops, positions)."""
    shape = tuple(trips)
    return np.indices(shape, np.int64).reshape(len(shape), prod(shape))


def _outer_sum(lists: list[Ints]) -> Ints:
    total = np.zeros(1, np.int64)
    for x in lists:
        total = (total[:, None] + x[None, :]).ravel()
    return total


def _grouped(nest: Nest, boundary: Boundary, spatial: list[int]) -> list[int]:
    """The spatial loops that tell sharers apart: those of the parent's instances and those along no shared axis."""
    return [i for i in spatial if nest.loops[i].level < boundary.parent or nest.loops[i].axis not in boundary.merged]


# -- the walk ---------------------------------------------------------------------------------------------


class _Walk:
    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.pe = nest.levels - 1
        loops = nest.loops
        self.spatial = [i for i, x in enumerate(loops) if x.spatial and x.level < self.pe]
        self.clusters = [i for i in self.spatial if loops[i].level < self.pe - 1]
        temporal = [i for i, x in enumerate(loops) if not x.spatial and x.level < self.pe]
        self.outer = [i for i in temporal if loops[i].level < self.pe - 1]
        self.steps = temporal[len(self.outer) :]
        widest = max([nest.footprint.tile_words(self.pe, t) for t in nest.keep[self.pe]] or [1])
        per_step = widest * prod(loops[i].trips for i in self.spatial)
        while self.steps and prod(loops[i].trips for i in self.steps) * per_step > ROWS_LIMIT:
            self.outer.append(self.steps.pop(0))
        self.acc = nest.problem.accumulated
        self._exist: dict[Any, bool] = {}
        self.array = _Array(nest, self.outer, self.steps, self.spatial, self.clusters)
        self.between = [b for b in nest.boundaries if b.child < self.pe]
        self.tiles = {b: _Tiles(nest, b) for b in self.between}
        self.above = {b: [i for i in self.outer if loops[i].level < b.child] for b in self.between}
        self.held: dict[tuple[Boundary, Instance], Tile | None] = {(b, i): None for b in self.between for i in self._instances(b.child)}

    def _instances(self, level: int) -> list[Instance]:
        return [tuple(x) for x in product(*(range(self.nest.loops[i].trips) for i in self.spatial if self.nest.loops[i].level < level))]

    def events(self) -> Iterator[Event]:
        previous: dict[int, int] | None = None
        for at in self._outer_steps():
            before, this = self.array.step(at)
            if before is not None:
                yield before
            changes = [self._change(b, at) for b in self.between if self._moved(b, previous, at)]
            for boundary, news in reversed(changes):
                if boundary.tensor == self.acc:
                    yield from self._drain(boundary, {i: self.tiles[boundary].minus(old, new) for i, (old, new) in news.items()})
            for boundary, news in changes:
                come = {i: self.tiles[boundary].minus(new, old) for i, (old, new) in news.items()}
                if boundary.tensor == self.acc:
                    yield Open(boundary.child, boundary.tensor, self._real(boundary, ((i, w) for i, w in come.items() if len(w))))
                else:
                    yield from self._fill(boundary, come, {i: self.tiles[boundary].minus(old, new) for i, (old, new) in news.items()})
            yield this
            previous = at
        last = self.array.finish()
        if last is not None:
            yield last
        for boundary in reversed(self.between):
            if boundary.tensor == self.acc:
                held = {i: t for (b, i), t in self.held.items() if b is boundary}
                yield from self._drain(boundary, {i: self.tiles[boundary].minus(t, None) for i, t in held.items()})

    def _outer_steps(self) -> Iterator[dict[int, int]]:
        """Settings of the loops outside the pass that exist for some instance, in nest order."""
        loops = self.nest.loops
        cut = [c for c in self.nest.chains if sum(i in self.outer for i in c.loops) > 1]
        for setting in product(*(range(loops[i].trips) for i in self.outer)):
            at = dict(zip(self.outer, setting, strict=True))
            if all([self._exists(c, at) for c in cut]):
                yield at

    def _exists(self, chain: Chain, at: dict[int, int]) -> bool:
        """Whether some instance has work there; if any, the first one has."""
        key = (chain.name, *(at[i] for i in chain.loops if i in at))
        if key not in self._exist:
            index = {i: at.get(i, 0) for i in chain.loops if i in at or self.nest.loops[i].spatial}
            self._exist[key] = bool(self.nest.pieces(chain, index).exists)
        return self._exist[key]

    def _moved(self, boundary: Boundary, previous: dict[int, int] | None, at: dict[int, int]) -> bool:
        if previous is None:
            return True
        return any([previous[i] != at[i] for i in self.above[boundary]])

    def _change(self, boundary: Boundary, at: dict[int, int]) -> tuple[Boundary, dict[Instance, tuple[Tile | None, Tile | None]]]:
        """For every instance that takes the step: its tile before and now."""
        loops, level = self.nest.loops, boundary.child
        spatial = [i for i in self.spatial if loops[i].level < level]
        above = {i: v for i, v in at.items() if loops[i].level < level}
        news = {}
        for instance in self._instances(level):
            idle, tile = self.tiles[boundary].tile(above | dict(zip(spatial, instance, strict=True)))
            if idle:
                continue
            old = self.held[boundary, instance]
            self.held[boundary, instance] = tile
            if tile is not old:
                news[instance] = (old, tile)
        return boundary, news

    def _share(self, boundary: Boundary, words: dict[Instance, Words]) -> tuple[tuple[Instance, Words], ...]:
        """Join what the children of each sharing group move; one entry a group, named by the parent's instance."""
        spatial = [i for i in self.spatial if self.nest.loops[i].level < boundary.child]
        if not spatial:
            return tuple((i, w) for i, w in words.items() if len(w))
        grouped = _grouped(self.nest, boundary, spatial)
        parents = [i for i in spatial if self.nest.loops[i].level < boundary.parent]
        groups: dict[tuple[Instance, Instance], list[Words]] = {}
        for instance, w in words.items():
            where = dict(zip(spatial, instance, strict=True))
            groups.setdefault((tuple(where[i] for i in grouped), tuple(where[i] for i in parents)), []).append(w)
        joined = ((parent, self.tiles[boundary].join(lists)) for (_, parent), lists in groups.items())
        return tuple((parent, w) for parent, w in joined if len(w))

    def _drain(self, boundary: Boundary, words: dict[Instance, Words]) -> Iterator[Drain]:
        words = {i: w for i, w in words.items() if len(w)}
        if words:
            yield Drain(boundary, self._real(boundary, words.items()), self._real(boundary, self._share(boundary, words)))

    def _fill(self, boundary: Boundary, come: dict[Instance, Words], gone: dict[Instance, Words]) -> Iterator[Fill]:
        if any(len(w) for w in (*come.values(), *gone.values())):
            reads = tuple((i, len(w)) for i, w in self._share(boundary, come))
            come, gone = dict(self._real(boundary, come.items())), dict(self._real(boundary, gone.items()))
            yield Fill(boundary, tuple((i, come[i], gone[i]) for i in come), reads)

    def _real(self, boundary: Boundary, words: Iterable[tuple[Instance, Words]]) -> tuple[tuple[Instance, Words], ...]:
        """(k, x) pairs become the ifmap words they stand for; other words are themselves."""
        if not self.nest.pairs(boundary.tensor, boundary.child):
            return tuple(words)
        return tuple((i, Words(listed=_address(self.nest, w.flat(())))) for i, w in words)


@dataclass(frozen=True, eq=False)
class _Factor:
    """One rank of a tile: alternatives, each an index per axis of the rank; ``values`` where the rank is one axis."""

    axes: tuple[int, ...]
    boxes: tuple[tuple[Index, ...], ...]
    values: Ints | None


Tile = tuple[_Factor, ...] | Ints  # factors, or the (k, x) pair of a one-word register


class _Tiles:
    """Tiles of one boundary's child and the differences between them, made once for each position of their ranks."""

    def __init__(self, nest: Nest, b: Boundary) -> None:
        self.nest, self.tensor = nest, b.tensor
        self.shape = nest.problem.shape(b.tensor)
        self.pairs = nest.pairs(b.tensor, b.child)
        self.ranks = _ranks(nest, b.tensor, self.pairs)
        self.others = [c for c in nest.chains if not c.depends(b.tensor) and any(nest.loops[i].level < b.child for i in c.loops)]
        self._factors: dict[Any, _Factor] = {}
        self._exist: dict[Any, bool] = {}
        self._tiles: dict[tuple[_Factor, ...], Tile] = {}
        self._last: dict[tuple[_Factor, ...], Words] = {}
        self._steps: dict[tuple[_Factor, _Factor], tuple[_Factor, _Factor]] = {}
        self._axes = {r: i for i, r in enumerate(RANKS[b.tensor])}

    def tile(self, at: dict[int, int]) -> tuple[bool, Tile]:
        """Whether the instance is idle through a dimension the tensor does not depend on, and its tile."""
        if not all(self._exists(c, at) for c in self.others):
            return True, ()
        if self.pairs:
            pieces = [self.nest.pieces(r.chains[0], _only(r.chains[0], at)) for r in self.ranks]
            words = _outer_sum([x[x != NOWHERE] for x in (r.offsets(self.nest, (p,)) for r, p in zip(self.ranks, pieces, strict=True))])
            return False, words[_coordinates(self.nest, words)[1]]
        factors = tuple(self._factor(r, at) for r in self.ranks)
        return False, self._tiles.setdefault(factors, factors)

    def _exists(self, chain: Chain, at: dict[int, int]) -> bool:
        key = (chain.name, *(at[i] for i in chain.loops if i in at))
        if key not in self._exist:
            self._exist[key] = bool(self.nest.pieces(chain, _only(chain, at)).exists)
        return self._exist[key]

    def _factor(self, rank: _Rank, at: dict[int, int]) -> _Factor:
        key = (rank, *(at[i] for c in rank.chains for i in c.loops if i in at))
        if key not in self._factors:
            pieces = tuple(self.nest.pieces(c, _only(c, at)) for c in rank.chains)
            self._factors[key] = self._make(rank, pieces)
        return self._factors[key]

    def _make(self, rank: _Rank, pieces: tuple[Piece, ...]) -> _Factor:
        if len(rank.rank) == 1 or rank.sliding:
            axis = self._axes[rank.rank]
            found = rank.offsets(self.nest, pieces)
            values = found[found != NOWHERE] // rank.strides[0]
            return _Factor((axis,), ((index_of(values),),) if len(values) else (), values)
        (piece,) = pieces
        lo = [int(piece.lo[p]) for p in rank.rank]
        extents = [int(piece.hi[p]) - a for p, a in zip(rank.rank, lo, strict=True)]
        if not piece.exists:
            boxes: list[tuple[Index, ...]] = []
        else:
            start, stop = (0, prod(extents)) if piece.chunk is None else (int(piece.chunk[0]), int(piece.chunk[1]))
            boxes = [tuple(slice(a + x, a + y) for a, (x, y) in zip(lo, box, strict=True)) for box in chunk_boxes(extents, start, stop)]
        return _Factor(tuple(self._axes[p,] for p in rank.rank), tuple(boxes), None)

    def minus(self, tile: Tile | None, other: Tile | None) -> Words:
        """The words of one tile that the other has not."""
        if tile is None or tile is other:
            return NONE
        if isinstance(tile, np.ndarray):
            return NONE if isinstance(other, np.ndarray) and np.array_equal(tile, other) else Words(listed=tile)
        if other is None:
            return self._whole(tile)
        assert not isinstance(other, np.ndarray)
        moved = [r for r in range(len(tile)) if tile[r] is not other[r]]
        steps = {r: self._step(tile[r], other[r]) for r in moved}
        if any(not kept.boxes for kept, _ in steps.values()):
            return self._whole(tile)
        products = []
        for r in moved:
            products.append(tuple(steps[q][0] if q in steps and q < r else steps[r][1] if q == r else tile[q] for q in range(len(tile))))
        return self._words(products)

    def _whole(self, tile: tuple[_Factor, ...]) -> Words:
        if self._last.get(tile) is None:
            if len(self._last) > 8:
                self._last.clear()
            self._last[tile] = self._words([tile])
        return self._last[tile]

    def _step(self, now: _Factor, before: _Factor) -> tuple[_Factor, _Factor]:
        """What a rank keeps of an earlier one, and what it has that the earlier one had not."""
        key = (now, before)
        if key not in self._steps:
            if now is before:
                found = now, _Factor(now.axes, (), now.values)
            elif now.values is None or before.values is None:  # chunks of one grid are equal or disjoint
                empty = _Factor(now.axes, (), None)
                found = (now, empty) if now.boxes == before.boxes else (empty, now)
            else:
                same = np.isin(now.values, before.values, assume_unique=True)
                found = tuple(_Factor(now.axes, ((index_of(v),),) if len(v) else (), v) for v in (now.values[same], now.values[~same]))  # type: ignore[assignment]
            self._steps[key] = found
        return self._steps[key]

    def _words(self, products: list[tuple[_Factor, ...]]) -> Words:
        boxes = []
        for factors in products:
            for choice in product(*(f.boxes for f in factors)):
                box: list[Any] = [None] * len(self.shape)
                for f, part in zip(factors, choice, strict=True):
                    for axis, index in zip(f.axes, part, strict=True):
                        box[axis] = index
                boxes.append(box_of(box))
        return Words(tuple(boxes)) if boxes else NONE

    def join(self, lists: list[Words]) -> Words:
        """The union of what several children move."""
        lists = [w for w in lists if len(w)]
        if len(lists) < 2:
            return lists[0] if lists else NONE
        return Words(listed=np.unique(np.concatenate([w.flat(self.shape) for w in lists])))


def _only(chain: Chain, at: dict[int, int]) -> dict[int, int]:
    return {i: at[i] for i in chain.loops if i in at}


# -- the array: one pass at a time ------------------------------------------------------------------------


@dataclass(frozen=True)
class _ChainTable:
    """A chain's pieces over (own step, own instance), and the same as numbers for an identity."""

    piece: Piece
    exists: npt.NDArray[np.bool_]
    identity: int


@dataclass(frozen=True)
class _RankTable:
    """Offsets over (own step, own instance, word), less ``base``."""

    offsets: Ints
    base: int
    span: int
    identity: int


@dataclass(frozen=True)
class _State:
    """What each PE held when it last took a step, rank by rank, less ``bases``."""

    tiles: tuple[Ints, ...]
    held: npt.NDArray[np.bool_]
    identity: int


@dataclass(frozen=True)
class _Leaving:
    """Accumulated words that leave PEs: how many, how many arrive, and which, by cluster."""

    drained: int
    arrived: int
    words: list[Pattern]


@dataclass(frozen=True)
class _Plan:
    """Counts and words of one tensor's PE boundary in one pass; words less the base of the pass."""

    entered: int
    shared: int
    load: list[Pattern]
    resident: list[Pattern]
    before: _Leaving
    during: _Leaving
    state: _State


@dataclass(frozen=True)
class _Change:
    """Tiles now and before, rank by rank, shaped (step, PE, word); ``stay`` and ``lost`` say which words both have.

    ``spread`` gives each PE its row of a rank's table; None where rows are (step, PE) already.
    """

    now: list[Ints]
    before: list[Ints]
    stay: list[Bools]
    lost: list[Bools]
    spread: list[Ints] | None
    inst: Ints  # which PE: (1, PE) or (step, 1)
    step: Ints  # which step: (step, 1)
    times: Ints  # how often each step occurs, by its number
    first: bool  # the change from what was held when the pass began

    def reversed(self) -> _Change:
        return _Change(self.before, self.now, self.lost, self.stay, self.spread, self.inst, self.step, self.times, self.first)

    def wide(self, k: int, table: Any) -> Any:
        return table if self.spread is None else table[:, self.spread[k]]

    @property
    def replaces(self) -> bool:
        """Whether no word is kept."""
        return not all(k.any() for k in self.stay)


@lru_cache(maxsize=4)
def _known(key: Any) -> tuple[dict[Any, Any], ...]:
    """Tables and plans of a nest, kept for the next layer that is equal."""
    return {}, {}, {}, {}, {}, {}


class _Array:
    """The PEs and MACs in lockstep."""

    def __init__(self, nest: Nest, outer: list[int], steps: list[int], spatial: list[int], clusters: list[int]) -> None:
        self.nest, self.outer, self.spatial, self.clusters = nest, outer, spatial, clusters
        self.pe = nest.levels - 1
        loops = nest.loops
        self.inside = [i for i, x in enumerate(loops) if x.level == self.pe]
        self.own_steps = {c.name: [i for i in steps if i in c.loops] for c in nest.chains}
        self.own_space = {c.name: [i for i in spatial if i in c.loops] for c in nest.chains}
        self.n_steps = prod(loops[i].trips for i in steps)
        self.n_instances = prod(loops[i].trips for i in spatial)
        step_at = dict(zip(steps, _grid(loops[i].trips for i in steps), strict=True))
        inst_at = dict(zip(spatial, _grid(loops[i].trips for i in spatial), strict=True))
        self.step_of = {c.name: self._flat(self.own_steps[c.name], step_at, self.n_steps) for c in nest.chains}
        self.inst_of = {c.name: self._flat(self.own_space[c.name], inst_at, self.n_instances) for c in nest.chains}
        self.cluster_of = self._flat(clusters, inst_at, self.n_instances)
        self.cluster_names: list[Instance] = [tuple(x) for x in product(*(range(loops[i].trips) for i in clusters))]
        self.boundaries = [b for b in nest.boundaries if b.child == self.pe]
        self.mac_boundaries = [b for b in nest.boundaries if b.child == nest.levels]
        self.group_of = {b: self._flat(_grouped(nest, b, spatial), inst_at, self.n_instances) for b in self.boundaries}
        self.ranks = {b: _ranks(nest, b.tensor, nest.pairs(b.tensor, self.pe)) for b in self.boundaries}
        axes = {b: {d: i for i, rank in enumerate(RANKS[b.tensor]) for d in rank} for b in self.boundaries}
        self.fixed = {b: tuple(axes[b][p] for c in nest.chains if c.fused and c.depends(b.tensor) for p in c.parts) for b in self.boundaries}
        self.pairs = {b: nest.pairs(b.tensor, self.pe) for b in self.boundaries}
        self.outer_of = [(c, [i for i in outer if i in c.loops]) for c in nest.chains]
        self.where: dict[str, tuple[int, ...]] = {}
        self.tables: dict[str, _ChainTable] = {}
        self.rank_tables: dict[Boundary, list[_RankTable]] = {b: [None] * len(self.ranks[b]) for b in self.boundaries}  # type: ignore[list-item]
        self.active: tuple[int, ...] = ()
        self.sliding = sorted({nest.chain_of[d].name for d in "ERFS"})
        self.states: dict[Boundary, tuple[_State, tuple[int, ...]] | None] = dict.fromkeys(self.boundaries)
        known = _known((nest.problem, nest.loops, nest.keep, nest.boundaries, tuple(nest.mapping.fused.items())))
        self._ids, self._chain_tables, self._rank_tables, self._plans, self._works, self._boxes = known

    def _flat(self, own: list[int], at: dict[int, Ints], n: int) -> Ints:
        flat = np.zeros(n, np.int64)
        for i in own:
            flat = flat * self.nest.loops[i].trips + at[i]
        return flat

    def _identity(self, *things: Any) -> int:
        return self._ids.setdefault(tuple(x.tobytes() + str(x.shape).encode() if isinstance(x, np.ndarray) else x for x in things), len(self._ids))

    # tables

    def _chain(self, chain: Chain, at: dict[int, int]) -> _ChainTable:
        key = (chain.name, tuple(at[i] for i in chain.loops if i in at))
        table = self._chain_tables.get(key)
        if table is None:
            loops = self.nest.loops
            index: dict[int, Any] = {i: at[i] for i in chain.loops if i in at}
            for own, shape in ((self.own_steps[chain.name], (-1, 1)), (self.own_space[chain.name], (1, -1))):
                grids = _grid(loops[i].trips for i in own)
                index |= {i: g.reshape(shape) for i, g in zip(own, grids, strict=True)}
            piece = self.nest.pieces(chain, index)
            shape2 = (prod(loops[i].trips for i in self.own_steps[chain.name]), prod(loops[i].trips for i in self.own_space[chain.name]))
            spread = {p: np.broadcast_to(piece.lo[p], shape2) for p in chain.parts}, {p: np.broadcast_to(piece.hi[p], shape2) for p in chain.parts}
            chunk = None if piece.chunk is None else tuple(np.broadcast_to(x, shape2) for x in piece.chunk)
            exists = np.broadcast_to(piece.exists, shape2)
            piece = Piece(spread[0], spread[1], chunk, exists)  # type: ignore[arg-type]
            least = [int(v.min()) for v in piece.lo.values()]
            numbers = [v - b for v, b in zip((*piece.lo.values(), *piece.hi.values()), least * 2, strict=True)]
            table = _ChainTable(piece, exists, self._identity(chain.name, *numbers, *(chunk or ())))
            self._chain_tables[key] = table
        return table

    def _rank(self, rank: _Rank, at: dict[int, int]) -> _RankTable:
        key = (rank, tuple(at[i] for c in rank.chains for i in c.loops if i in at))
        table = self._rank_tables.get(key)
        if table is None:
            pieces = tuple(self._chain(c, at).piece for c in rank.chains)
            if len(pieces) == 2:
                pieces = (_spread(pieces[0], (slice(None), None, slice(None), None)), _spread(pieces[1], (None, slice(None), None, slice(None))))
            offsets = rank.offsets(self.nest, pieces)
            if len(pieces) == 2:
                offsets = offsets.reshape(offsets.shape[0] * offsets.shape[1], offsets.shape[2] * offsets.shape[3], -1)
            real = offsets != NOWHERE
            base = int(offsets[real].min()) if real.any() else 0
            offsets = np.where(real, offsets - base, NOWHERE)
            span = int(offsets.max()) + 1 if real.any() else 0
            table = _RankTable(offsets, base, span, self._identity(rank.rank, offsets))
            self._rank_tables[key] = table
        return table

    def _rank_step(self, rank: _Rank) -> Ints:
        flat = self.step_of[rank.chains[0].name]
        for c in rank.chains[1:]:
            flat = flat * prod(self.nest.loops[i].trips for i in self.own_steps[c.name]) + self.step_of[c.name]
        return flat

    def _rank_inst(self, rank: _Rank) -> Ints:
        flat = self.inst_of[rank.chains[0].name]
        for c in rank.chains[1:]:
            flat = flat * prod(self.nest.loops[i].trips for i in self.own_space[c.name]) + self.inst_of[c.name]
        return flat

    # one pass

    def step(self, at: dict[int, int]) -> tuple[PeDrain | None, Pass]:
        """What leaves the PEs before the buffers move on, and the pass itself."""
        self._move_to(at)
        before = during = None
        loads = []
        opened = 0
        stay: tuple[tuple[Instance, Words], ...] = ()
        for b in self.boundaries:
            plan, base = self._planned(b, at)
            if b.tensor == self.nest.problem.accumulated:
                opened += plan.entered
                before, during = (self._pe_drain(b, x, base) for x in (plan.before, plan.during))
                stay = self._named(b, plan.resident, base)
            else:
                loads.append(PeLoad(b, plan.entered, plan.shared, self._named(b, plan.load, base), self._named(b, plan.resident, base)))
        boxes = tuple((name, self._box(name, at)) for name in self.cluster_names)
        takes, macs, folds = self._work(at)
        return before, Pass(tuple(loads), opened, takes, during, stay, macs, folds, boxes)

    def _move_to(self, at: dict[int, int]) -> None:
        """Look up the tables of the chains whose outer loops moved."""
        moved = set()
        for chain, outer in self.outer_of:
            where = tuple([at[i] for i in outer])
            if self.where.get(chain.name) != where:
                self.where[chain.name] = where
                self.tables[chain.name] = self._chain(chain, at)
                moved.add(chain.name)
        if moved:
            self.active = tuple([t.identity for t in self.tables.values()])
            for b in self.boundaries:
                for i, r in enumerate(self.ranks[b]):
                    if any(c.name in moved for c in r.chains):
                        self.rank_tables[b][i] = self._rank(r, at)

    def _work(self, at: dict[int, int]) -> tuple[tuple[Take, ...], int, Folds]:
        """What the MACs of a pass take and how long it lasts; equal wherever tables are, and padding is."""
        key = ("work", self.active, *(self.where[name] for name in self.sliding))
        if key not in self._works:
            self._works[key] = self._takes(at), self._macs(at), self._folds(at)
        found: tuple[tuple[Take, ...], int, Folds] = self._works[key]
        return found

    def finish(self) -> PeDrain | None:
        """The last drain: every PE's whole tile."""
        for b in self.boundaries:
            if b.tensor == self.nest.problem.accumulated and (held := self.states[b]) is not None:
                state, bases = held
                who = np.flatnonzero(state.held)
                who, found = self._members(b, list(state.tiles), who, sum(bases))
                arrived = _distinct(self.group_of[b][who], found) if b.merged else len(found)
                return self._pe_drain(b, _Leaving(len(found), arrived, self._by_cluster(b, who, found, sum(bases))), sum(bases))
        return None

    def _pe_drain(self, b: Boundary, leaving: _Leaving, base: int) -> PeDrain | None:
        return PeDrain(b, leaving.drained, leaving.arrived, self._named(b, leaving.words, base)) if leaving.drained else None

    def _named(self, b: Boundary, words: list[Pattern], base: int) -> tuple[tuple[Instance, Words], ...]:
        """Words by cluster, from this pass's base; those of (k, x) pairs are absolute already."""
        shape = self.nest.problem.shape(b.tensor)
        return tuple((name, x.at(0 if self.pairs[b] else base, shape)) for name, x in zip(self.cluster_names, words, strict=True))

    def _by_cluster(self, b: Boundary, insts: Ints, words: Ints, base: int) -> list[Pattern]:
        """Distinct words by cluster; (k, x) pairs become the ifmap words they stand for."""
        shape = self.nest.problem.shape(b.tensor)
        if self.pairs[b]:
            words, base = _address(self.nest, words + base), 0
        if len(self.cluster_names) == 1:
            return [pattern(_sorted_set(words), base, shape, self.fixed[b])]
        return [pattern(_sorted_set(words[self.cluster_of[insts] == k]), base, shape, self.fixed[b]) for k in range(len(self.cluster_names))]

    def _box(self, cluster: Instance, at: dict[int, int]) -> dict[str, Span]:
        index = at | dict(zip(self.clusters, cluster, strict=True)) if cluster else at
        found = {}
        for c, outer in self.outer_of:
            key = (c.name, *[index[i] for i in outer], *[index[i] for i in self.clusters if i in c.loops])
            if key not in self._boxes:
                piece = self.nest.pieces(c, {i: index[i] for i in c.loops if i in index})
                chunk = None if piece.chunk is None else (int(piece.chunk[0]), int(piece.chunk[1]))
                ends = ({p: int(v) for p, v in side.items()} for side in (piece.lo, piece.hi))
                self._boxes[key] = Span(*ends, chunk, bool(piece.exists))
            found[c.name] = self._boxes[key]
        return found

    # what PEs keep

    def _planned(self, b: Boundary, at: dict[int, int]) -> tuple[_Plan, int]:
        tables = self.rank_tables[b]
        bases = tuple([t.base for t in tables])
        held = self.states[b]
        state, old = held if held is not None else (None, bases)
        shifts = tuple([o - n for o, n in zip(old, bases, strict=True)])
        key = (b.child, b.tensor, tuple([t.identity for t in tables]), self.active, state.identity if state else -1, shifts, bases if self.pairs[b] else 0)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._make_plan(b, at, tables, state, shifts, sum(bases))
        self.states[b] = (plan.state, bases)
        return plan, sum(bases)

    def _make_plan(self, b: Boundary, at: dict[int, int], tables: list[_RankTable], state: _State | None, shifts: tuple[int, ...], base: int) -> _Plan:
        step_ok, active = self._active(b, at)
        steps_of = [self._rank_step(r) for r in self.ranks[b]]
        insts_of = [self._rank_inst(r) for r in self.ranks[b]]
        tile_id = np.zeros(self.n_steps, np.int64)
        for t, of in zip(tables, steps_of, strict=True):
            tile_id = tile_id * len(t.offsets) + of
        before = None if state is None else [_shift(x, by) for x, by in zip(state.tiles, shifts, strict=True)]
        if active is None:
            last = np.full(self.n_instances, np.flatnonzero(step_ok)[-1], np.int64)
            changes = self._regular(tables, np.flatnonzero(step_ok), tile_id, steps_of, insts_of, before)
        else:
            latest = np.maximum.accumulate(np.where(active, np.arange(self.n_steps, dtype=np.int32)[:, None], np.int32(-1)), axis=0)
            last = latest[-1]
            changes = self._ragged(tables, active, latest, tile_id, steps_of, insts_of, before, int(np.argmax(step_ok)))
        # where nothing was kept from before and every combination of rank positions occurs, the words are a product
        whole = active is None and self._plain(b) and changes[0].replaces and self._covers(tables, tile_id[step_ok])
        counted = [self._count(b, c, base, listed=not whole) for c in changes]
        taken, shared = (sum(c[i] for c in counted) for i in (0, 1))
        if whole:
            load = [self._product(b, [t.offsets for t in tables], base)]
        else:
            load = self._by_cluster(b, np.concatenate([c[2] for c in counted]), np.concatenate([c[3] for c in counted]), base)
        leaving = [_Leaving(0, 0, []), _Leaving(0, 0, [])]
        if b.tensor == self.nest.problem.accumulated:
            outs = [self._count(b, c.reversed(), base, listed=True) for c in changes]
            for k in (0, 1):
                mine = [o for o, c in zip(outs, changes, strict=True) if c.first == (k == 0)]
                if mine:
                    insts, words = (np.concatenate([o[i] for o in mine]) for i in (2, 3))
                    leaving[k] = _Leaving(sum(o[0] for o in mine), sum(o[1] for o in mine), self._by_cluster(b, insts, words, base))
        after, resident = self._final(b, tables, state, before, last, (steps_of, insts_of), base, regular=active is None)
        return _Plan(taken, shared, load, resident, leaving[0], leaving[1], after)

    def _covers(self, tables: list[_RankTable], tile_ids: Ints) -> bool:
        """Whether the steps run through every combination of the ranks' own positions."""
        return len(np.unique(tile_ids)) == prod(int((t.offsets != NOWHERE).any(axis=(1, 2)).sum()) for t in tables)

    def _regular(self, tables: list[_RankTable], steps: Ints, tile_id: Ints, steps_of: list[Ints], insts_of: list[Ints], before: list[Ints] | None) -> list[_Change]:
        """Every PE takes every step: what changes depends on the tiles of two steps in a row, so each pair is worked out once."""
        every = np.arange(self.n_instances)[None, :]
        start = [t.offsets[of[steps[0]]][inst] for t, of, inst in zip(tables, steps_of, insts_of, strict=True)]
        changes = [_change(start, before, every[0], np.zeros(self.n_instances, np.int64), np.ones(1, np.int64), first=True)]
        now, then = tile_id[steps[1:]], tile_id[steps[:-1]]
        moves = np.flatnonzero(now != then)
        if len(moves):
            pair = now[moves] * (int(tile_id.max()) + 1) + then[moves]
            _, once, times = np.unique(pair, return_index=True, return_counts=True)
            at = moves[once]
            cur = [t.offsets[of[steps[at + 1]]] for t, of in zip(tables, steps_of, strict=True)]
            was = [t.offsets[of[steps[at]]] for t, of in zip(tables, steps_of, strict=True)]
            stay, lost = ([_kept_in(x, y) for x, y in zip(a, z, strict=True)] for a, z in ((cur, was), (was, cur)))
            changes.append(_Change(cur, was, stay, lost, insts_of, every, np.arange(len(at))[:, None], times, False))
        return changes

    def _ragged(
        self,
        tables: list[_RankTable],
        active: Bools,
        latest: npt.NDArray[np.int32],
        tile_id: Ints,
        steps_of: list[Ints],
        insts_of: list[Ints],
        before: list[Ints] | None,
        start: int,
    ) -> list[_Change]:
        """Some PEs skip steps: each compares with the last step it took itself, or with what it had."""
        earlier = np.vstack([np.full((1, self.n_instances), -1, np.int32), latest[:-1]])
        rows, insts = np.nonzero(active & ((earlier < 0) | (tile_id[earlier] != tile_id[:, None])))
        origin = earlier[rows, insts]
        changes = []
        for pick, opening in ((rows == start) & (origin < 0), True), (~((rows == start) & (origin < 0)), False):
            r, i, o = rows[pick], insts[pick], origin[pick]
            if not len(r):
                continue
            cur, old = [], []
            for k, (t, of, inst) in enumerate(zip(tables, steps_of, insts_of, strict=True)):
                cur.append(t.offsets[of[r], inst[i]])
                back = t.offsets[of[o], inst[i]]
                old.append(_paste(back, o < 0, None if before is None else before[k][i[o < 0]]) if (o < 0).any() else back)
            changes.append(_change(cur, old, i, r, np.ones(self.n_steps, np.int64), first=opening))
        return changes

    def _count(self, b: Boundary, change: _Change, base: int, *, listed: bool) -> tuple[int, int, Ints, Ints]:
        """Words that came and, after sharing, were moved; and which, with the PE each came to."""
        shape = (len(change.step), change.inst.shape[1])
        there = self._present(change)
        step, inst = np.broadcast_to(change.step, shape), np.broadcast_to(change.inst, shape)
        if self.pairs[b]:
            words = _sums([change.wide(k, x) for k, x in enumerate(change.now)])
            there = there & _coordinates(self.nest, np.where(there, words + base, 0))[1]
            codes, values = np.unique(words[there], return_inverse=True)[::-1]
        elif listed or b.merged:
            tables, values = _encode(change.now)
            codes = _sums([change.wide(k, x) for k, x in enumerate(tables)])[there]
        else:
            codes, values = inst[:0, 0], inst[:0, 0]
        times = change.times[change.step[:, 0]]
        taken = shared = _weighed(there, times)
        if b.merged and taken:
            groups = int(self.group_of[b].max(initial=0)) + 1
            group = np.broadcast_to((step * groups + self.group_of[b][inst])[:, :, None], there.shape)[there]
            shared = _distinct(group, codes, np.repeat(change.times, groups))
        if not listed:
            return taken, shared, inst[:0, 0], inst[:0, 0]
        if len(self.cluster_names) == 1:
            seen = np.zeros(len(values), bool)
            seen[codes] = True
            return taken, shared, inst[:0, 0], values[seen]
        return taken, shared, _pick(inst, there.shape, there), values[codes]

    def _active(self, b: Boundary, at: dict[int, int]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_] | None]:
        """Which steps exist, and which (step, instance) are not idle through a dimension the tensor does not depend on; None if all."""
        step_ok = np.ones(self.n_steps, bool)
        active: npt.NDArray[np.bool_] | None = None
        for c in self.nest.chains:
            exists = self._chain(c, at).exists
            if exists.all():
                continue
            step_ok &= exists.any(axis=1)[self.step_of[c.name]]
            if not c.depends(b.tensor):
                mine = exists[self.step_of[c.name][:, None], self.inst_of[c.name]]
                active = mine if active is None else active & mine
        if active is None or active[step_ok].all():
            return step_ok, None
        return step_ok, active & step_ok[:, None]

    def _final(
        self,
        b: Boundary,
        tables: list[_RankTable],
        state: _State | None,
        before: list[Ints] | None,
        last: npt.NDArray[Any],
        of: tuple[list[Ints], list[Ints]],
        base: int,
        *,
        regular: bool,
    ) -> tuple[_State, list[Ints]]:
        """What every PE holds after its last step of the pass; a PE idle throughout keeps what it had."""
        idle = last < 0
        tiles = []
        for k, t in enumerate(tables):
            tile = t.offsets[of[0][k][last], of[1][k]]
            if idle.any():
                tile = _paste(tile, idle, None if before is None else before[k][idle])
            tiles.append(tile)
        held = ~idle if state is None else ~idle | state.held
        after = _State(tuple(tiles), held, self._identity(held, *tiles))
        if regular and self._plain(b):
            return after, [self._product(b, tiles, base)]
        return after, self._by_cluster(b, *self._members(b, tiles, np.arange(self.n_instances), base), base)

    def _plain(self, b: Boundary) -> bool:
        """Whether all PEs' words together are a product of their ranks."""
        return len(self.cluster_names) == 1 and not self.pairs[b]

    def _product(self, b: Boundary, ranks: Sequence[Ints], base: int) -> Pattern:
        factors = [_values(x) for x in ranks]
        return product_pattern(factors, base, self.nest.problem.shape(b.tensor), self.fixed[b])

    def _present(self, change: _Change) -> Bools:
        """Which words of the tiles are real and not kept in every rank."""
        real = _cross([change.wide(k, x != NOWHERE) for k, x in enumerate(change.now)])
        if change.replaces:
            return real
        return real & ~_cross([change.wide(k, x) for k, x in enumerate(change.stay)])

    def _members(self, b: Boundary, tiles: list[Ints], who: Ints, base: int) -> tuple[Ints, Ints]:
        """(PE, word) of every real word of some PEs' tiles."""
        words = _sums([t[None, who] for t in tiles])
        real = _cross([(t != NOWHERE)[None, who] for t in tiles])
        if self.pairs[b]:
            real = real & _coordinates(self.nest, np.where(real, words + base, 0))[1]
        return _pick(who[None, :], words.shape, real), words[real]

    # what MACs take

    def _takes(self, at: dict[int, int]) -> tuple[Take, ...]:
        found = []
        for b in self.mac_boundaries:
            taken = shared = 1
            pairs = self.nest.pairs(b.tensor, b.child)
            factors = [(c,) for c in self.nest.chains if pairs and not c.depends(b.tensor)]
            if pairs:
                taken = shared = self._cached(("pairs",), tuple(c for c in self.nest.chains if c.depends(b.tensor)), at, self._real_pairs)
            else:
                sliding = [tuple(self.nest.chain_of[d] for d in rank) for rank in RANKS[b.tensor] if len(rank) == 2]
                inside = {c for pair in sliding for c in pair}
                factors = [*sliding, *((c,) for c in self.nest.chains if c not in inside)]
            for chains in factors:
                t, s = self._cached(("take", b), chains, at, self._take)
                taken, shared = taken * t, shared * s
            found.append(Take(b, taken, shared))
        return tuple(found)

    def _cached(self, key: tuple[Any, ...], chains: tuple[Chain, ...], at: dict[int, int], make: Any) -> Any:
        full = (*key, tuple(c.name for c in chains), tuple(at[i] for c in chains for i in c.loops if i in at))
        if full not in self._works:
            self._works[full] = make(*key[1:], chains, at)
        return self._works[full]

    def _all_positions(self, chain: Chain, at: dict[int, int]) -> tuple[Piece, dict[int, Ints]]:
        """Every position of a chain's loops in a pass, those of the MACs included, as flat lists."""
        free = [i for i in chain.loops if i not in at]
        grids = _grid(self.nest.loops[i].trips for i in free)
        index = dict(zip(free, grids, strict=True))
        piece = self.nest.pieces(chain, {i: at[i] for i in chain.loops if i in at} | index)
        n = grids.shape[1]
        flat = {p: np.broadcast_to(piece.lo[p], n) for p in chain.parts}
        ok = np.broadcast_to(piece.exists, n)
        return Piece({p: v[ok] for p, v in flat.items()}, {}, None, ok), {i: g[ok] for i, g in index.items()}

    def _take(self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]) -> tuple[int, int]:
        """Words (or, of dimensions the tensor does not depend on, positions) taken, and after sharing."""
        found = [self._all_positions(c, at) for c in chains]
        keys = []
        for _, index in found:
            grouped = set(_grouped(self.nest, b, [i for i in index if self.nest.loops[i].spatial]))
            key = np.zeros(len(next(iter(index.values()))) if index else 1, np.int64)
            for i, v in index.items():
                if i in grouped or not self.nest.loops[i].spatial:
                    key = key * self.nest.loops[i].trips + v
            keys.append(key)
        if len(chains) == 1:
            taken = len(keys[0])
            return taken, taken if chains[0].depends(b.tensor) else len(np.unique(keys[0]))
        out, filt = (name.parts[0] for name in chains)
        slide = self.nest.problem.slide((out, filt))
        where = slide.stride * found[0][0].lo[out][:, None] + slide.dilation * found[1][0].lo[filt] - slide.pad
        real = (where >= 0) & (where < slide.size)
        who = keys[0][:, None] * (int(keys[1].max()) + 1) + keys[1]
        return int(real.sum()), len(np.unique((who * slide.size + where)[real]))

    def _real_pairs(self, chains: tuple[Chain, ...], at: dict[int, int]) -> int:
        """(k, x) pairs of a pass whose ifmap word is real: by how often each (r, s) and each (e, f) occurs."""
        size = self.nest.problem.size
        often = {"RS": np.ones((1, 1), np.int64), "EF": np.ones((1, 1), np.int64)}
        times = 1
        done: set[str] = set()
        for a, bb in (("R", "S"), ("E", "F")):
            count = np.zeros((size[a], size[bb]), np.int64)
            owners = [self.nest.chain_of[a], self.nest.chain_of[bb]]
            if owners[0] is owners[1]:
                piece = self._lists(owners[0], at)
                np.add.at(count, (piece[a], piece[bb]), 1)
            else:
                first, second = self._lists(owners[0], at), self._lists(owners[1], at)
                count += np.bincount(first[a], minlength=size[a])[:, None] * np.bincount(second[bb], minlength=size[bb])
            done |= {c.name for c in owners}
            often[a + bb] = count
        for c in chains:
            if c.name not in done:
                times *= len(self._lists(c, at)[c.parts[0]])
        masks = []
        for rank in (("E", "R"), ("F", "S")):
            slide = self.nest.problem.slide(rank)
            where = slide.stride * np.arange(size[rank[0]])[:, None] + slide.dilation * np.arange(size[rank[1]]) - slide.pad
            masks.append(((where >= 0) & (where < slide.size)).astype(np.int64))
        return times * int((often["RS"] * (masks[0].T @ often["EF"] @ masks[1])).sum())

    def _lists(self, chain: Chain, at: dict[int, int]) -> dict[str, Ints]:
        """The coordinates of every position of a chain in a pass, each once."""
        free = [i for i in chain.loops if i not in at]
        grids = _grid(self.nest.loops[i].trips for i in free)
        piece = self.nest.pieces(chain, {i: at[i] for i in chain.loops if i in at} | dict(zip(free, grids, strict=True)))
        shape = (grids.shape[1],)
        ok = np.broadcast_to(piece.exists, shape)
        lo = {p: np.broadcast_to(piece.lo[p], shape)[ok] for p in chain.parts}
        if piece.chunk is None:
            return lo
        rest = np.broadcast_to(piece.chunk[0], shape)[ok]
        found = {}
        for p in reversed(chain.parts):
            extent = np.broadcast_to(piece.hi[p] - piece.lo[p], shape)[ok]
            found[p], rest = lo[p] + rest % extent, rest // extent
        return found

    def _macs(self, at: dict[int, int]) -> int:
        return prod(self._cached(("macs",), (c,), at, lambda cs, a: len(next(iter(self._lists(cs[0], a).values())))) for c in self.nest.chains)

    def _folds(self, at: dict[int, int]) -> Folds:
        key = ("folds", tuple(self._chain(c, at).identity for c in self.nest.chains))
        if key not in self._works:
            ok = np.ones(self.n_steps, bool)
            used = np.ones((3, self.n_steps), np.int64)
            active = np.ones(self.n_steps, np.int64)
            for c in self.nest.chains:
                per = self._cached(("use",), (c,), at, self._use)
                of = self.step_of[c.name]
                ok &= per[0][of] > 0
                used *= per[:3, of]
                active *= per[3, of]
            self._works[key] = Folds(used[0][ok], used[1][ok], used[2][ok], int(active[ok].max()), int(used[0][ok].sum()))
        return self._works[key]

    def _use(self, chains: tuple[Chain, ...], at: dict[int, int]) -> Ints:
        """Per own step of a chain: positions inside the PE, rows used, columns used, most PEs at once."""
        (chain,) = chains
        loops = self.nest.loops
        steps = self.own_steps[chain.name]
        _, index = self._all_positions(chain, at)
        n = prod(loops[i].trips for i in steps)
        length = len(next(iter(index.values()))) if index else 1

        def code(which: list[int]) -> Ints:
            flat = np.zeros(length, np.int64)
            for i in which:
                flat = flat * loops[i].trips + index[i]
            return flat

        step = code(steps)
        inside = code([i for i in index if not loops[i].spatial and i not in steps])
        rows, cols = (code([i for i in index if loops[i].axis == axis]) for axis in ("row", "col"))

        def seen(what: Ints) -> npt.NDArray[np.int64]:
            """How often each value occurs in each step."""
            width = int(what.max(initial=0)) + 1
            return np.bincount(step * width + what, minlength=n * width).reshape(n, width)

        used = [np.count_nonzero(seen(what), axis=1) for what in (inside, rows, cols)]
        return np.stack([*used, seen(inside).max(axis=1)])


def _cross(masks: list[Bools]) -> Bools:
    """Masks rank by rank, shaped (step, PE, word of the rank), to one over words."""
    total = masks[0]
    for x in masks[1:]:
        total = (total[:, :, :, None] & x[:, :, None, :]).reshape(*x.shape[:2], -1)
    return total


def _sums(lists: list[Ints]) -> Ints:
    """The words of tiles given rank by rank."""
    words = lists[0]
    for x in lists[1:]:
        words = (words[:, :, :, None] + x[:, :, None, :]).reshape(*x.shape[:2], -1)
    return words


def _values(offsets: Ints) -> Ints:
    """The different offsets of a table, sorted."""
    return _sorted_set(offsets[offsets != NOWHERE])


def _encode(tables: list[Ints]) -> tuple[list[Ints], Ints]:
    """Tables of small numbers whose sums number the words without gaps, and the word of each number."""
    values = [_values(t) for t in tables]
    codes = []
    radix = 1
    for t, v in zip(reversed(tables), reversed(values), strict=True):
        codes.append(np.searchsorted(v, t) * radix)
        radix *= len(v)
    return codes[::-1], _outer_sum(values)


def _kept_in(tiles: Ints, other: Ints) -> Bools:
    """``_kept`` on tables shaped (step, row, word)."""
    wide = (tiles.shape[0] * tiles.shape[1], tiles.shape[2])
    return _kept(tiles.reshape(wide), other.reshape(-1, other.shape[2])).reshape(tiles.shape)


def _change(now: list[Ints], before: list[Ints] | None, inst: Ints, step: Ints, times: Ints, *, first: bool) -> _Change:
    """A change given one row a (step, PE)."""
    old = before if before is not None else [np.full((len(inst), 1), NOWHERE)] * len(now)
    stay = [_kept(x, y)[:, None] for x, y in zip(now, old, strict=True)]
    lost = [_kept(y, x)[:, None] for x, y in zip(now, old, strict=True)]
    return _Change([x[:, None] for x in now], [x[:, None] for x in old], stay, lost, None, inst[:, None], step[:, None], times, first)


def _pick(values: Ints, shape: tuple[int, ...], there: Bools) -> Ints:
    """A value per (step, PE), repeated for each of its words that is there."""
    return np.broadcast_to(values[:, :, None], shape)[there]


def _spread(piece: Piece, where: tuple[Any, ...]) -> Piece:
    return Piece({p: v[where] for p, v in piece.lo.items()}, {p: v[where] for p, v in piece.hi.items()}, None, piece.exists[where])


def _shift(tile: Ints, by: int) -> Ints:
    return np.where(tile == NOWHERE, NOWHERE, tile + by)


def _paste(tiles: Ints, where: npt.NDArray[np.bool_], other: Ints | None) -> Ints:
    """Replace some rows by other lists, or by none; widen as needed."""
    width = max(tiles.shape[1], 0 if other is None else other.shape[1])
    wide = np.full((len(tiles), width), NOWHERE)
    wide[:, : tiles.shape[1]] = tiles
    wide[where] = NOWHERE
    if other is not None:
        wide[where, : other.shape[1]] = other
    return wide


def _kept(words: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """Which words of each row stand in the same row of the other."""
    if words.shape[1] * other.shape[1] <= 64 or len(words) < 2:
        return (words[:, :, None] == other[:, None, :]).any(axis=2) & (words != NOWHERE)
    real, there = words != NOWHERE, other != NOWHERE
    low = min(int(words[real].min(initial=0)), int(other[there].min(initial=0)))
    span = max(int(words[real].max(initial=0)), int(other[there].max(initial=0))) - low + 1
    row = np.arange(len(words))[:, None] * span - low
    keys = np.sort((row + other)[there])
    mine = (row + words)[real]
    found = np.zeros(words.shape, bool)
    if len(keys):
        found[real] = keys[np.minimum(np.searchsorted(keys, mine), len(keys) - 1)] == mine
    return found


def _distinct(groups: Ints, words: Ints, times: Ints | None = None) -> int:
    """How many different (group, word) there are, each as often as its group occurs."""
    if not len(words):
        return 0
    low = int(words.min())
    span = int(words.max()) - low + 1
    size = (int(groups.max()) + 1) * span
    if size > 1 << 27 or size > 256 * len(words) + 1024:
        found = np.unique(groups * span + (words - low)) // span
        return len(found) if times is None else int(times[found].sum())
    seen = np.zeros(size, bool)
    seen[groups * span + (words - low)] = True
    if times is None:
        return int(np.count_nonzero(seen))
    return _weighed(seen.reshape(-1, span), times[: size // span])


def _weighed(rows: Bools, times: Ints) -> int:
    """How many are set, each row as often as it occurs."""
    return sum(n * int(np.count_nonzero(rows if (times == n).all() else rows[times == n])) for n in set(times.tolist()))


def _sorted_set(words: Ints) -> Ints:
    if not len(words):
        return words
    low = int(words.min())
    span = int(words.max()) - low + 1
    if span > 256 * len(words) + 1024:
        return np.unique(words)
    seen = np.zeros(span, bool)
    seen[words - low] = True
    return np.flatnonzero(seen) + low
