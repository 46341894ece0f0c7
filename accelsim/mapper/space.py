"""The space the mapper searches: what a dataflow leaves open, as skeletons and lists of tiles.

A *skeleton* fixes loops (dimension, level, axis) and their order, and what each level keeps; open are the tiles.  A
*family* is one dimension, or a fused one with its parts: its loops' tiles are chosen together,
apart from all others. Under a named dataflow there is one skeleton: the loops are the fixed rule's,
whatever their tiles.  Its space is every choice of tiles in which each tile divides the range it
cuts (``divisors``), or is the least that cuts it into so many pieces (``even``: 27 into 14 and 13,
not into 20 and 7), or is any whole number up to it (``all``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import comb, prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.footprint import Trip
from accelsim.mapping.mapping import FUSED, Axis, Loop, Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import kept, slots_of
from accelsim.workload.problem import DIMS, RANKS, TENSORS, Problem

Ints = npt.NDArray[np.int64]
TileChoice = Literal["divisors", "even", "all"]
TILES: tuple[TileChoice, ...] = ("divisors", "even", "all")
MOST_ROWS = 4_000_000


@dataclass(frozen=True)
class OpenLoop:
    """A loop whose tile is open."""

    dim: str
    level: int
    axis: Axis = "none"

    @property
    def spatial(self) -> bool:
        return self.axis != "none"


@dataclass(frozen=True)
class Family:
    """Loops whose tiles are chosen together: those of one dimension, or of a fused one and its
    parts.
    """

    name: str
    parts: tuple[str, ...]
    slots: tuple[int, ...]  # positions in Skeleton.slots


@dataclass(frozen=True)
class Skeleton:
    """Loops in nest order and what each level keeps."""

    problem: Problem
    arch: Architecture
    keep: tuple[frozenset[str], ...]
    slots: tuple[OpenLoop, ...]

    @cached_property
    def families(self) -> tuple[Family, ...]:
        used = [f for f in FUSED if any(s.dim == f for s in self.slots)]
        inside = {p for f in used for p in FUSED[f]}
        found = [Family(d, (d,), self._of(d)) for d in DIMS if d not in inside and self._of(d)]
        return tuple(found + [Family(f, FUSED[f], self._of(*FUSED[f], f)) for f in used])

    def _of(self, *dims: str) -> tuple[int, ...]:
        return tuple(i for i, s in enumerate(self.slots) if s.dim in dims)

    def check(self) -> None:
        """Raises MappingError where a dimension longer than one is looped nowhere."""
        for d, n in self.problem.size.items():
            if n > 1 and not any(d in f.parts for f in self.families):
                raise MappingError(f"{d} is looped nowhere, and the layer has {d}={n}")

    def nest(self, there: Sequence[int]) -> Nest:
        """A nest of the slots ``there``, whatever their tiles: each is a loop, even if of one
        trip.
        """
        twin = object.__new__(Nest)
        twin.problem, twin.arch, twin.levels, twin.keep = (
            self.problem,
            self.arch,
            len(self.keep),
            self.keep,
        )
        twin.mapping = Mapping(
            loops=(),
            keep={n: tuple(self.keep[i]) for i, n in enumerate(self.arch.level_names)},
            fused=FUSED,
        )
        twin.loops = tuple(
            Trip(self.slots[i].dim, 1, self.slots[i].level, self.slots[i].axis, 2) for i in there
        )
        members: dict[str, list[int]] = {}
        for at, i in enumerate(there):
            members.setdefault(self.slots[i].dim, []).append(at)
        twin._chain_loops = members
        return twin

    def mapping(self, tiles: Sequence[int]) -> Mapping:
        """The mapping of a tile for each slot; loops of one trip are left out."""
        current = dict(self.problem.size)
        chunk: dict[str, int] = {}
        loops = []
        for slot, tile in zip(self.slots, tiles, strict=True):
            whole = (
                current[slot.dim]
                if slot.dim in current
                else chunk.get(slot.dim, prod(current[p] for p in FUSED[slot.dim]))
            )
            if slot.dim in current:
                current[slot.dim] = min(tile, whole)
            else:
                chunk[slot.dim] = tile
            if whole > tile:
                loops.append(
                    Loop(
                        dim=slot.dim,
                        tile=int(tile),
                        level=self.arch.level_names[slot.level],
                        axis=slot.axis,
                    )
                )
        keep = {
            n: tuple(t for t in TENSORS if t in self.keep[i])
            for i, n in enumerate(self.arch.level_names)
        }
        used = {x.dim for x in loops} - set(DIMS)
        return Mapping(
            loops=tuple(loops), keep=keep, fused={f: FUSED[f] for f in FUSED if f in used}
        )


def under(problem: Problem, arch: Architecture, dataflow: Dataflow) -> Skeleton:
    """The skeleton of a dataflow: its loops at every level, rows, columns and PE, as the fixed rule
    has them.
    """
    keep = kept(arch, dataflow)
    slots = tuple(OpenLoop(s.dim, s.level, s.axis) for s in slots_of(arch, dataflow, keep))
    size = dict(problem.size) | {
        f: prod(problem.size[p] for p in parts) for f, parts in FUSED.items()
    }
    found = Skeleton(problem, arch, keep, tuple(s for s in slots if size[s.dim] > 1))
    found.check()
    return found


# -- choices of tiles ------------------------------------------------------------------------------


def divisors(n: int) -> list[int]:
    """Divisors of n in rising order."""
    return [d for d in range(1, n + 1) if n % d == 0]


def options(whole: int, tiles: TileChoice) -> list[int]:
    """Tiles a range may be cut into, in rising order."""
    if tiles == "divisors":
        return divisors(whole)
    return list(range(1, whole + 1)) if tiles == "all" else _even(whole)


@cache
def _even(whole: int) -> list[int]:
    return sorted({-(-whole // n) for n in range(1, whole + 1)})


@cache
def _ways(whole: int, free: int) -> int:
    """Ways to cut a range evenly, and each of its tiles again, ``free`` times in all."""
    return 1 if free == 0 else sum(_ways(t, free - 1) for t in _even(whole))


@cache
def _ways_to(whole: int, loops: int) -> dict[int, int]:
    """The same by the tile it ends with."""
    if loops == 0:
        return {whole: 1}
    found: dict[int, int] = {}
    for t in _even(whole):
        for end, ways in _ways_to(t, loops - 1).items():
            found[end] = found.get(end, 0) + ways
    return found


def count(skeleton: Skeleton, family: Family, tiles: TileChoice) -> int:
    """How many choices of tiles a family has, before any is refused."""
    if len(family.parts) == 1:
        size, free = skeleton.problem.size[family.name], len(family.slots) - 1
        if tiles == "even":
            return _ways(size, free)
        if tiles == "all":
            return comb(size + free - 1, free)
        found = 1
        for _, power in _factored(size):
            found *= comb(power + free, free)
        return found
    slots = [skeleton.slots[i] for i in family.slots]
    loops = [sum(s.dim == p for s in slots) for p in family.parts]
    chunks = sum(s.dim == family.name for s in slots) - 1
    total = 0
    ends = []
    for p, n in zip(family.parts, loops, strict=True):
        size = skeleton.problem.size[p]
        if n == 0:
            ends.append([(size, 1)])
        elif tiles == "even":
            ends.append(list(_ways_to(size, n).items()))
        elif tiles == "all":
            ends.append([(t, comb(size - t + n - 1, n - 1)) for t in range(1, size + 1)])
        else:
            ends.append(
                [
                    (t, prod(comb(a + n - 1, n - 1) for _, a in _factored(size // t)))
                    for t in divisors(size)
                ]
            )
    for combo in product(*ends):
        whole, ways = prod(t for t, _ in combo), prod(w for _, w in combo)
        if tiles == "even":
            total += ways * _ways(whole, chunks)
            continue
        inner = (
            comb(whole + chunks - 1, chunks)
            if tiles == "all"
            else prod(comb(a + chunks, chunks) for _, a in _factored(whole))
        )
        total += ways * inner
    return total


def _factored(n: int) -> list[tuple[int, int]]:
    found, p = [], 2
    while n > 1:
        power = 0
        while n % p == 0:
            n, power = n // p, power + 1
        if power:
            found.append((p, power))
        p += 1
    return found


@dataclass(frozen=True)
class TileRows:
    """Choices of a family's tiles: ``tiles`` and ``trips`` [choices, slots of the family];
    ``dropped`` were left out as never better than one listed, ``refused`` as more than the array or
    a memory holds.
    """

    tiles: Ints
    trips: Ints
    dropped: int
    refused: int


def rows(
    skeleton: Skeleton, family: Family, tiles: TileChoice, tick: Callable[[], None] = lambda: None
) -> TileRows:
    """Every choice of a family's tiles that fits by itself; ``tick`` is called now and then, and
    may raise.

    With ``tiles="all"`` of a plain dimension, and no systolic or neighbour links, two kinds of
    choices are left out that another is never worse than (docs/mapper.md): loops over the array cut
    whole multiples of the tile inside them, for the range that enters them is no level's tile, and
    rounded up to whole multiples it makes as many pieces on as many rows and columns and never more
    trips, steps or active PEs; and where a dimension lies over both rows and columns, only splits
    that need the fewest columns for their rows (or the other way round).
    """
    slots = [skeleton.slots[i] for i in family.slots]
    total = count(skeleton, family, tiles)
    if tiles == "even" or len(family.parts) > 1:
        found, unfit = _listed(skeleton, family, slots, tiles), True
    else:
        found, unfit = _plain_rows(skeleton, family.name, slots, tiles, tick)
    listed = len(found)
    trips = _trips(skeleton, family, slots, found)
    fits = np.ones(len(found), bool)
    array = skeleton.arch.array
    for axis, have in (("row", array.rows), ("col", array.cols)):
        fits &= np.prod(trips[:, [s.axis == axis for s in slots]], axis=1) <= have
    if not array.fold_filter:
        over = [i for i, s in enumerate(slots) if s.dim == "R" and s.spatial]
        for i, s in enumerate(slots):
            if over and s.dim == "R" and not s.spatial and s.level <= slots[over[0]].level:
                fits &= ~((trips[:, i] > 1) & (trips[:, over] > 1).any(axis=1))
    found, trips = found[fits], trips[fits]
    if unfit or tiles != "all":
        return TileRows(found, trips, 0, total - len(found))
    return TileRows(found, trips, total - listed, listed - len(found))


def _plain_rows(
    skeleton: Skeleton, dim: str, slots: list[OpenLoop], tiles: TileChoice, tick: Callable[[], None]
) -> tuple[Ints, bool]:
    """From the inside out: the tile of the last loop is one, each further out at least as large.

    Also whether those left out are so for what the array or a level can take (else for being never
    better).
    """
    arch, size = skeleton.arch, skeleton.problem.size[dim]
    axes = {"row": arch.array.rows, "col": arch.array.cols}
    kinds = {k for n in arch.networks.values() for k in (n.held, n.streamed, n.accumulated)}
    whole = tiles == "all" and not kinds & {"systolic", "neighbour"}
    found = np.ones((1, 1), np.int64)
    base = np.ones(1, np.int64)  # the tile inside the loops over the array
    steps = np.array(divisors(size) if tiles == "divisors" else range(1, size + 1), np.int64)
    odd = np.zeros(
        1, bool
    )  # the last range chosen is no whole multiple: then no further loop may cut it off
    for at in range(
        len(slots) - 2, -1, -1
    ):  # the tile of slot ``at`` is the range that enters slot ``at + 1``
        inner, outer = slots[at + 1], slots[at]
        most = min(
            [
                size,
                *(_most(skeleton, dim, level) for level in range(outer.level + 1, inner.level + 1)),
            ]
        )
        head = found[:, 0]
        if (
            not inner.spatial
            or (at + 2 < len(slots) and not slots[at + 2].spatial)
            or at + 2 == len(slots)
        ):
            base = head
        multiples = whole and inner.spatial and outer.level == inner.level
        split = multiples and at + 2 < len(slots) and slots[at + 2].spatial
        top = (
            np.minimum(most, head * axes[inner.axis]) if inner.spatial else np.full(len(head), most)
        )
        low, high = np.searchsorted(steps, head), np.searchsorted(steps, top, "right")
        backs, columns, total = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for part in _parts(np.maximum(high - low, 0)):
            tick()
            many = np.maximum(high - low, 0)[part]
            back = np.repeat(np.arange(part.start, part.stop), many)
            column = steps[
                low[back] + np.arange(len(back)) - np.repeat(np.cumsum(many) - many, many)
            ]
            good = (
                column % head[back] == 0
                if tiles == "divisors"
                else ~odd[back] | (column == head[back])
            )
            if split:
                pieces, trips = -(-column // base[back]), -(-column // head[back])
                fewest = base[back] * -(-pieces // trips)
                good &= (head[back] == fewest) | (column == head[back])
            backs.append(back[good])
            columns.append(column[good])
            total += len(columns[-1])
            if total > MOST_ROWS:
                raise MappingError(
                    f"{dim}: {total} choices of tiles and more, at most {MOST_ROWS} are listed; use tiles=divisors"
                )
        back, column = np.concatenate(backs), np.concatenate(columns)
        base = base[back]
        odd = (column % base > 0) if multiples else np.zeros(len(column), bool)
        found = np.hstack([column[:, None], found[back]])
    if odd.any():
        found = found[~odd | (found[:, 0] == size)]
    return found, not whole


def _parts(many: Ints) -> list[slice]:
    """Slices that cover an array of counts, each of MOST_ROWS in sum or one entry."""
    ends = np.cumsum(many)
    found, at = [], 0
    while at < len(many):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + MOST_ROWS, "right")))
        found.append(slice(at, stop))
        at = stop
    return found


def _most(skeleton: Skeleton, dim: str, level: int) -> int:
    """Longest range of a dimension a level could hold, were all else one word."""
    arch = skeleton.arch
    have = arch.levels[arch.level_names[level]]
    found = skeleton.problem.size[dim]
    for t in skeleton.keep[level]:
        if any(rank == (dim,) for rank in RANKS[t]):
            size = {**have.partitions}.get(t, have.capacity_bytes)  # type: ignore[call-overload]
            bits = (
                min(arch.bits.psum, getattr(arch.bits, t))
                if t == skeleton.problem.accumulated
                else getattr(arch.bits, t)
            )
            if size is not None:
                found = min(found, size * 8 // bits)
    return found


def _listed(skeleton: Skeleton, family: Family, slots: list[OpenLoop], tiles: TileChoice) -> Ints:
    listed: list[tuple[int, ...]] = []

    def extend(at: int, current: dict[str, int], chunk: int | None, sofar: tuple[int, ...]) -> None:
        if at == len(slots):
            listed.append(sofar)
            if len(listed) > MOST_ROWS:
                raise MappingError(
                    f"{family.name}: more than {MOST_ROWS} choices of tiles are not listed; use tiles=divisors"
                )
            return
        s = slots[at]
        if s.dim == family.name:
            whole = prod(current[p] for p in family.parts) if chunk is None else chunk
            last = not any(x.dim == s.dim for x in slots[at + 1 :])
            for t in (1,) if last else options(whole, tiles):
                extend(at + 1, current, t, (*sofar, t))
        else:
            last = len(family.parts) == 1 and at == len(slots) - 1
            for t in (1,) if last else options(current[s.dim], tiles):
                extend(at + 1, current | {s.dim: t}, chunk, (*sofar, t))

    extend(0, {p: skeleton.problem.size[p] for p in family.parts}, None, ())
    return np.array(listed, np.int64).reshape(len(listed), len(slots))


def _trips(skeleton: Skeleton, family: Family, slots: list[OpenLoop], found: Ints) -> Ints:
    """Most trips of each loop."""
    n = len(found)
    current = {p: np.full(n, skeleton.problem.size[p], np.int64) for p in family.parts}
    chunk: Ints | None = None
    trips = np.ones_like(found)
    for i, s in enumerate(slots):
        tile = found[:, i]
        if s.dim in current:
            whole = current[s.dim]
            current[s.dim] = np.minimum(whole, tile)
        else:
            whole = np.prod(list(current.values()), axis=0) if chunk is None else chunk
            chunk = np.minimum(whole, tile)
        trips[:, i] = -(-whole // tile)
    return trips


__all__ = [
    "TILES",
    "Family",
    "OpenLoop",
    "Skeleton",
    "TileChoice",
    "TileRows",
    "count",
    "divisors",
    "options",
    "rows",
    "under",
]
