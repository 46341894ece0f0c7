"""The space the mapper searches: a skeleton, and of each of its chains every choice of tiles.

A skeleton (``mapping.skeleton``) leaves the tiles open.  A *family* is a chain that has loops: one
dimension, or a fused one with its parts; the tiles of its loops are chosen together, apart from all
others.  Under a named dataflow there is one skeleton: the loops are the fixed rule's, whatever
their tiles.  Its space is every choice of tiles in which each tile divides the range it cuts
(``divisors``), or is the least that cuts it into so many pieces (``even``: 27 into 14 and 13, not
into 20 and 7), or is any whole number up to it (``all``).

``under`` gives the skeleton, ``count`` how many choices a family has, ``size_of`` how many all have
together, ``rows`` lists those of a family that fit by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import comb, isqrt, prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import FUSED, MappingError
from accelsim.mapping.rule import rule_skeleton
from accelsim.mapping.skeleton import Chain, OpenLoop, Skeleton, most_trips
from accelsim.workload.problem import RANKS, Problem

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
TileChoice = Literal["divisors", "even", "all"]
TILES: tuple[TileChoice, ...] = ("divisors", "even", "all")
MOST_ROWS = 4_000_000
LONG_RANGE = 1 << 16  # whose even tiles are at most 511


def under(problem: Problem, arch: Architecture, dataflow: Dataflow) -> Skeleton:
    """The skeleton of a dataflow: its loops at every level, rows, columns and PE, as the fixed rule
    has them, without those over a dimension of one.  Raises MappingError as the rule does.
    """
    whole = rule_skeleton(problem, arch, dataflow)
    size = dict(problem.size) | {
        f: prod(problem.size[p] for p in parts) for f, parts in FUSED.items()
    }
    side = {"none": 2, "row": arch.array.rows, "col": arch.array.cols}
    skeleton = whole.part(
        [i for i, x in enumerate(whole.loops) if size[x.dim] > 1 and side[x.axis] > 1]
    )
    skeleton.check()
    return skeleton


# -- choices of one tile ---------------------------------------------------------------------------


def divisors(n: int) -> list[int]:
    """Divisors of n in rising order."""
    of = [1]
    for prime, power in _primes(n):
        of = [d * prime**k for d in of for k in range(power + 1)]
    return sorted(of)


@lru_cache(maxsize=1 << 12)
def _primes(n: int) -> tuple[tuple[int, int], ...]:
    """Prime factors of n, rising, and their powers.  Of a layer's largest, 2^53, those beyond 2^26
    are tried, too: many at a time, so that a prime batch costs a second and not minutes.
    """
    powers, first, block = [], 2, 64
    while first * first <= n:
        tried = np.arange(first, min(first + block, isqrt(n) + 1))
        for p in tried[n % tried == 0].tolist():
            power = 0
            while n % p == 0:
                n, power = n // p, power + 1
            if power:
                powers.append((p, power))
        first, block = first + block, min(2 * block, 1 << 20)
    return (*powers, (n, 1)) if n > 1 else tuple(powers)


def options(whole: int, tiles: TileChoice) -> Sequence[int]:
    """Tiles a range may be cut into, in rising order."""
    if tiles == "divisors":
        return divisors(whole)
    return range(1, whole + 1) if tiles == "all" else even_tiles(whole)


def even_tiles(whole: int) -> tuple[int, ...]:
    """The least tiles that cut a range into 1, 2, ... pieces, rising: the large ones from few
    pieces, and small ones that are least for some.  Short lists are kept, and the last long ones.
    """
    return (_even_few if whole <= LONG_RANGE else _even_many)(whole)


def _even_listed(whole: int) -> tuple[int, ...]:
    root = isqrt(whole)
    small = [t for t in range(1, root + 1) if t == -(-whole // -(-whole // t))]
    return tuple(sorted({*small, *(-(-whole // n) for n in range(1, root + 2) if n <= whole)}))


_even_few = lru_cache(maxsize=1 << 12)(_even_listed)
_even_many = lru_cache(maxsize=16)(_even_listed)


def _how_many_even(whole: int) -> int:
    """How many those are, without a list: as many as floor((whole - 1) / n) takes values."""
    root = isqrt(whole - 1)
    return 2 * root + (root * (root + 1) <= whole - 1) if whole > 1 else 1


# -- how many choices a family has -----------------------------------------------------------------


def count(skeleton: Skeleton, family: Chain, tiles: TileChoice) -> int:
    """How many choices of tiles a family has, before any is refused.

    The last tile of a chain is one; a fused dimension begins with what its parts leave.
    """
    size = skeleton.problem.size
    if not family.fused:
        return _ways(size[family.name], len(family.loops) - 1, tiles)
    loops = [skeleton.loops[i] for i in family.loops]
    chunks = sum(x.dim == family.name for x in loops) - 1
    ends = [_ends(size[p], sum(x.dim == p for x in loops), tiles) for p in family.parts]
    total = 0
    for combo in product(*ends):
        whole, ways = prod(t for t, _ in combo), prod(w for _, w in combo)
        total += ways * _ways(whole, chunks, tiles)
    return total


def size_of(skeleton: Skeleton, tiles: TileChoice) -> int:
    """How many choices all families have together.  Raises MappingError where ``rows`` would list
    too many of one: before the search of anything else begins.
    """
    for family in skeleton.families:
        if tiles == "all" and not family.fused:
            _check_range(family.name, skeleton.problem.size[family.name])
    return prod(count(skeleton, f, tiles) for f in skeleton.families)


def _ways(whole: int, free: int, tiles: TileChoice) -> int:
    """Ways to cut a range, and each of its tiles again, ``free`` times in all.

    Divisors: every prime factor goes to one of the ``free + 1`` cuts.  All: rising sequences.
    """
    if tiles == "even":
        return _even_ways(whole, free)
    if tiles == "all":
        return comb(whole + free - 1, free)
    return prod(comb(power + free, free) for _, power in _primes(whole))


@lru_cache(maxsize=1 << 16)
def _even_ways(whole: int, free: int) -> int:
    """Raises MappingError beyond MOST_ROWS."""
    if free == 0:
        return 1
    ways = _how_many_even(whole)
    if free > 1 and ways <= MOST_ROWS:
        ways = 0
        for t in reversed(even_tiles(whole)):  # the largest, which have most ways, first
            ways += _even_ways(t, free - 1)
            if ways > MOST_ROWS:
                break
    if ways > MOST_ROWS:
        raise _too_many(f"a range of {whole}")
    return ways


def _too_many(of: str) -> MappingError:
    return MappingError(
        f"{of}: more than {MOST_ROWS} choices of tiles are not listed; use tiles=divisors"
    )


def _check_range(dim: str, size: int) -> None:
    """Raises MappingError for a range of which every whole number is too much to list."""
    if size > MOST_ROWS:
        raise _too_many(f"{dim}: a range of {size}")


def _ends(size: int, loops: int, tiles: TileChoice) -> list[tuple[int, int]]:
    """The tiles that so many loops can end with, each with the ways to get there."""
    if loops == 0:
        return [(size, 1)]
    if tiles == "even":
        _even_ways(size, loops)  # refuses too many
        return list(_even_ends(size, loops))
    if tiles == "all":
        if size > MOST_ROWS:
            raise _too_many(f"a range of {size}")
        return [(t, comb(size - t + loops - 1, loops - 1)) for t in range(1, size + 1)]
    return [(t, _ways(size // t, loops - 1, "divisors")) for t in divisors(size)]


@lru_cache(maxsize=1 << 8)
def _even_ends(whole: int, loops: int) -> tuple[tuple[int, int], ...]:
    if loops == 0:
        return ((whole, 1),)
    ends: dict[int, int] = {}
    for t in even_tiles(whole):
        for end, ways in _even_ends(t, loops - 1):
            ends[end] = ends.get(end, 0) + ways
    return tuple(ends.items())


# -- the choices of a family -----------------------------------------------------------------------


@dataclass(frozen=True)
class TileRows:
    """Choices of a family's tiles: ``tiles`` and ``trips`` [choices, loops of the family];
    ``dropped`` were left out as never better than one listed, ``refused`` as more than the array or
    a memory holds.
    """

    tiles: Ints
    trips: Ints
    dropped: int
    refused: int


def rows(
    skeleton: Skeleton, family: Chain, tiles: TileChoice, tick: Callable[[], None] = lambda: None
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
    loops = [skeleton.loops[i] for i in family.loops]
    total = count(skeleton, family, tiles)
    if tiles == "even" or family.fused:
        listed, unfit = _listed(skeleton, family, loops, tiles), True
    else:
        plain = _PlainRows(skeleton, family.name, loops, tiles, tick)
        listed, unfit = plain.listed(), not plain.only_best
    trips = np.stack(most_trips(skeleton, family, list(listed.T), np.minimum), axis=1)
    fits = fits_array(skeleton, loops, trips)
    fitting, trips = listed[fits], trips[fits]
    if unfit or tiles != "all":
        return TileRows(fitting, trips, 0, total - len(fitting))
    return TileRows(fitting, trips, total - len(listed), len(listed) - len(fitting))


def fits_array(skeleton: Skeleton, loops: Sequence[OpenLoop], trips: Ints) -> Bools:
    """Which choices find room on the array [choices]; ``trips`` [choices, loops]."""
    array = skeleton.arch.array
    fits = np.ones(len(trips), bool)
    for axis, have in (("row", array.rows), ("col", array.cols)):
        fits &= np.prod(trips[:, [x.axis == axis for x in loops]], axis=1) <= have
    over = [i for i, x in enumerate(loops) if x.dim == "R" and x.spatial]
    if not over or array.fold_filter:
        return fits
    for i, x in enumerate(loops):
        if x.dim == "R" and not x.spatial and x.level <= loops[over[0]].level:
            fits &= ~((trips[:, i] > 1) & (trips[:, over] > 1).any(axis=1))
    return fits


def _listed(skeleton: Skeleton, family: Chain, loops: list[OpenLoop], tiles: TileChoice) -> Ints:
    """Every choice, from the outside in [choices, loops]."""
    listed: list[tuple[int, ...]] = []

    def extend(at: int, current: dict[str, int], chunk: int | None, sofar: tuple[int, ...]) -> None:
        if at == len(loops):
            listed.append(sofar)
            if len(listed) > MOST_ROWS:
                raise _too_many(family.name)
            return
        x = loops[at]
        if x.dim == family.name and family.fused:
            whole = prod(current[p] for p in family.parts) if chunk is None else chunk
            last = not any(y.dim == x.dim for y in loops[at + 1 :])
            for t in (1,) if last else options(whole, tiles):
                extend(at + 1, current, t, (*sofar, t))
        else:
            last = not family.fused and at == len(loops) - 1
            for t in (1,) if last else options(current[x.dim], tiles):
                extend(at + 1, current | {x.dim: t}, chunk, (*sofar, t))

    extend(0, {p: skeleton.problem.size[p] for p in family.parts}, None, ())
    return np.array(listed, np.int64).reshape(len(listed), len(loops))


class _PlainRows:
    """Lists the choices of a plain dimension from the inside out: the tile of the last loop is one,
    each further out at least as large.

    On the way ``rows`` [choices, loops so far] are those of the inner loops, outermost first;
    ``base`` [choices] is the tile inside the loops over the array, and ``odd`` [choices] says where
    the last range chosen is no whole multiple of it: then no further loop may cut it off.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        dim: str,
        loops: list[OpenLoop],
        tiles: TileChoice,
        tick: Callable[[], None],
    ) -> None:
        self.skeleton, self.dim, self.loops, self.tick = skeleton, dim, loops, tick
        self.size = size = skeleton.problem.size[dim]
        networks = skeleton.arch.networks.values()
        kinds = {k for n in networks for k in (n.held, n.streamed, n.accumulated)}
        self.by_divisors = tiles == "divisors"
        if not self.by_divisors:
            _check_range(dim, size)
        self.only_best = tiles == "all" and not kinds & {"systolic", "neighbour"}
        self.steps = np.array(divisors(size) if self.by_divisors else range(1, size + 1), np.int64)
        self.rows = np.ones((1, 1), np.int64)
        self.base = np.ones(1, np.int64)
        self.odd = np.zeros(1, bool)

    def listed(self) -> Ints:
        """All choices [choices, loops]."""
        for at in range(len(self.loops) - 2, -1, -1):
            self._further_out(at)
        if self.odd.any():
            return np.asarray(self.rows[~self.odd | (self.rows[:, 0] == self.size)])
        return self.rows

    def _further_out(self, at: int) -> None:
        """The tile of loop ``at``: it is the range that enters loop ``at + 1``."""
        inner, outer = self.loops[at + 1], self.loops[at]
        beside = at + 2 < len(self.loops) and self.loops[at + 2].spatial
        if not (inner.spatial and beside):
            self.base = self.rows[:, 0]
        multiples = self.only_best and inner.spatial and outer.level == inner.level
        backs, ranges, total = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for back, entering in self._ranges(inner, outer):
            good = self._good(back, entering, fewest=multiples and beside)
            backs.append(back[good])
            ranges.append(entering[good])
            total += len(backs[-1])
            if total > MOST_ROWS:
                raise _too_many(self.dim)
        back, entering = np.concatenate(backs), np.concatenate(ranges)
        self.base = self.base[back]
        self.odd = (entering % self.base > 0) if multiples else np.zeros(len(entering), bool)
        self.rows = np.hstack([entering[:, None], self.rows[back]])

    def _ranges(self, inner: OpenLoop, outer: OpenLoop) -> Iterator[tuple[Ints, Ints]]:
        """Which choice so far [choices], and a range that may enter ``inner`` before it
        [choices].
        """
        head, array = self.rows[:, 0], self.skeleton.arch.array
        levels = range(outer.level + 1, inner.level + 1)
        most = min([self.size, *(_most(self.skeleton, self.dim, level) for level in levels)])
        if inner.spatial:
            top = np.minimum(most, head * (array.rows if inner.axis == "row" else array.cols))
        else:
            top = np.full(len(head), most)
        low, high = np.searchsorted(self.steps, head), np.searchsorted(self.steps, top, "right")
        many = np.maximum(high - low, 0)
        for part in _parts(many):
            self.tick()
            own = many[part]
            back = np.repeat(np.arange(part.start, part.stop), own)
            nth = np.arange(len(back)) - np.repeat(np.cumsum(own) - own, own)
            yield back, self.steps[low[back] + nth]

    def _good(self, back: Ints, entering: Ints, *, fewest: bool) -> Bools:
        """Which of these ranges are choices [choices]; see ``rows`` for what is left out."""
        head, base = self.rows[back, 0], self.base[back]
        if self.by_divisors:
            return np.asarray(entering % head == 0)
        good = ~self.odd[back] | (entering == head)
        if fewest:
            pieces, trips = -(-entering // base), -(-entering // head)
            good &= (head == base * -(-pieces // trips)) | (entering == head)
        return np.asarray(good)


def _parts(many: Ints) -> list[slice]:
    """Slices that cover an array of counts, each of MOST_ROWS in sum or one entry."""
    ends = np.cumsum(many)
    parts, at = [], 0
    while at < len(many):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + MOST_ROWS, "right")))
        parts.append(slice(at, stop))
        at = stop
    return parts


def _most(skeleton: Skeleton, dim: str, level: int) -> int:
    """Longest range of a dimension a level could hold, were all else one word."""
    bits, size = skeleton.arch.bits, skeleton.problem.size[dim]
    have = skeleton.arch.levels[skeleton.arch.level_names[level]]
    for t in skeleton.keep[level]:
        room = {**have.partitions}.get(t, have.capacity_bytes)  # type: ignore[call-overload]
        if room is None or (dim,) not in RANKS[t]:
            continue
        width = getattr(bits, t)
        if t == skeleton.problem.accumulated:
            width = min(bits.psum, width)
        size = min(size, room * 8 // width)
    return int(size)


__all__ = [
    "TILES",
    "TileChoice",
    "TileRows",
    "count",
    "divisors",
    "fits_array",
    "options",
    "rows",
    "size_of",
    "under",
]
