"""Sums over one rank of a tensor: the factors of section 4's closed form.

Per rank and advancing loop k, over the rank's own outer positions,

    S = sum_j |C_j|      O = sum_j |C_j & Q_j|        over instances j, C now and Q one step before
    U = sum_P |C_P|      K = words of C_P that every holder j held before     over sharing groups P
    X = sum_P |Q_P|      Y = words of Q_P that every holder j holds now
    L = sum_P |C_P & Q_P|                              over neighbour links

S and O make what children take, U and K what parents read, X and Y what sums arrive, L what
neighbours pass on (docs/counting.md).  "Every holder": a word that one child of a group lacks must
be read for it, though others keep it.

A rank is one of three kinds:

    plain        pieces are intervals of a grid: two are equal or disjoint
    irrelevant   the tensor does not depend on the chain: what counts is who is active
    sliding      two chains whose windows overlap: words are coordinates that their pieces touch

The page has three parts.  First which sums are wanted: a table is a description without tiles
(``ChainSums``, ``SlideSums``, ``FormulaSums``); ``of`` works it out for one choice of tiles or for
many: ``closed_form`` asks for one nest's, the mapper for a whole space's, ``settings`` for one
position of some loops at a time.  Then the tables, and last the loops that add up, compiled
(``base/compiled.py``).

They add up by classes of equal pieces.  Cutting a range of x words into pieces of t leaves x // t
whole pieces, one short one, and nothing.  So what a chain does over all positions falls into few
classes, however long the range: a class is a piece and how often it occurs.  Every loop cuts each
class again, and equal classes are joined.  The cost grows with the loops of a chain, not with a
row's length, a batch or an image.  A loop is looked at in one of these ways, outermost first:

    STANDS    temporal, outside the loop that advances: every index, the same one a step before
    ADVANCES  temporal: every index but the first; one less a step before
    RESTARTS  temporal, inside the loop that advances: at its first index; at its last a step before
    GROUPS    spatial: every index, instances that share no word
    SHARES    spatial: every index, instances that share words
    FIRST     the first index stands for all

Steps are taken in lockstep: where a loop has its last index, and whether a step exists at all, is
told by the first instance, whose piece is the largest.  All sums are exact whole numbers < 2^63.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.skeleton import Kept, Skeleton
from accelsim.workload.problem import Slide

Ints = npt.NDArray[np.int64]
ChainRows = Mapping[str, Ints]  # chain -> tiles [choices, loops of the chain], nest order
LETTERS = "SOUKXYL"
STANDS, ADVANCES, RESTARTS, GROUPS, SHARES, FIRST = range(6)
HELD, KEPT, LEFT, WORKS = range(4)  # columns of a chain's sums
BLOCK = 128  # output chains whose arrangements meet those of taps at once
MANY = 1 << 10  # rows from which it pays not to sort them
FEW = 8  # choices of which it does not pay to look for equal ones
MOST_POINTS = 1 << 22
ROOM = 32  # classes there is room for at first
EXACT = 1 << 53
ENDLESS = 1 << 60


# What is summed -----------------------------------------------------------------------------------


class Cuts(NamedTuple):
    """A chain's loops above a boundary, without their tiles.

    ``sizes``  of each part of the chain, uncut
    ``parts``  which part each loop cuts, outermost first; -1: the fused whole
    ``modes``  how each loop is looked at: the page's text lists the ways
    """

    sizes: tuple[int, ...]
    parts: tuple[int, ...]
    modes: tuple[int, ...]


def modes(kinds: Sequence[str], outside: int, own: bool, *, merged: bool = True) -> tuple[int, ...]:
    """How loops are looked at, by their kinds: ``t`` temporal, ``g`` grouped, ``m`` merged.

    The first ``outside`` temporal loops stand still; if ``own``, the next one advances; the rest
    go from their last trip to their first.  Without ``merged`` one instance stands for its group.
    """
    ways, seen = [], 0
    for kind in kinds:
        if kind == "t":
            advances = own and seen == outside
            ways.append(STANDS if seen < outside else ADVANCES if advances else RESTARTS)
            seen += 1
        else:
            ways.append(GROUPS if kind == "g" else SHARES if merged else FIRST)
    return tuple(ways)


@dataclass(frozen=True)
class ChainSums:
    """Sums of a rank of one chain, or of a chain that a tensor does not depend on.

    ``reads``  which of the chain's loops are cut with: columns of its tiles
    """

    chain: str
    reads: tuple[int, ...]
    cuts: Cuts

    @property
    def chains(self) -> tuple[str, ...]:
        """Whose tiles are read."""
        return (self.chain,)

    def of(self, tiles: ChainRows) -> Ints:
        """``[choices, 4]``: HELD, KEPT, LEFT and WORKS of ``chain_sums``."""
        own = tiles[self.chain][:, self.reads]
        return _known(lambda: chain_table(self.cuts, own), own, self.cuts)


@dataclass(frozen=True)
class SlideSums:
    """Sums of a rank of two chains that slides, outputs ``e`` and taps ``r``; ``reads`` of each."""

    chains: tuple[str, ...]
    reads: tuple[tuple[int, ...], tuple[int, ...]]
    slide: Slide
    e: Cuts
    r: Cuts

    def of(self, tiles: ChainRows) -> Ints:
        """``[choices, 7]``: S O U K X Y L."""
        e, r = (tiles[name][:, reads] for name, reads in zip(self.chains, self.reads, strict=True))
        of = self.slide, self.e, self.r
        return _known(lambda: slide_table(*of, e, r), e, *of, r.tobytes())


@dataclass(frozen=True)
class FormulaSums:
    """A column worked out by a formula of its own, of a skeleton, the ``name`` and tiles; ``name``
    is what makes it equal to another of the same layer.
    """

    chains: tuple[str, ...]
    name: tuple[Any, ...]
    formula: Callable[[Skeleton, tuple[Any, ...], ChainRows], Ints] = field(
        compare=False, repr=False
    )
    nest: Skeleton = field(compare=False, repr=False)

    def of(self, tiles: ChainRows) -> Ints:
        """``[choices, 1]``."""
        return self.formula(self.nest, self.name, tiles)[:, None]


_of_one: Kept[Ints] = Kept(1 << 14)


def _known(sums: Callable[[], Ints], tiles: Ints, *others: Hashable) -> Ints:
    """Sums of ``tiles`` and ``others``.  Those of one choice are kept, as mappings of a layer on
    machines that are alike have the tiles of most loops in common; nobody writes to them.
    """
    return _of_one.of((tiles.tobytes(), *others), sums) if len(tiles) == 1 else sums()


def plain_column(which: str) -> int:
    """Where a plain rank has a sum: pieces of different instances are disjoint, so a group's union
    is its sum (U = S, K = L = Y = O).
    """
    return {"S": HELD, "U": HELD, "X": LEFT}.get(which, KEPT)


# Tables -------------------------------------------------------------------------------------------


def chain_table(cuts: Cuts, tiles: Ints, only: Ints | None = None) -> Ints:
    """A chain's sums for many choices ``[choices, loops]`` of tiles, HELD KEPT LEFT WORKS:
    ``[choices, 4]``.  ``only`` [choices, loops] is the index at which a loop stands, -1 for all.

    Raises OverflowError where the chain itself has 2^53 positions: no sum is larger.
    """
    if prod(cuts.sizes) >= EXACT:
        raise OverflowError("a count may pass 2^53 words; float64 would not be exact")
    tiles, only, rows = _different(tiles, only)
    whole, cut, ways = _as_arrays(cuts)
    sums, room = np.empty((len(tiles), 4), np.int64), ROOM
    columns = 4 * len(whole) + 2
    while True:
        old, new = np.empty((2, room, columns), np.int64)
        if chain_sums(whole, cut, ways, tiles, only, old, new, sums):
            return sums if rows is None else sums[rows]
        room *= 2


def point_table(cuts: Cuts, tiles: Ints, wanted: tuple[int, int], *, kept: bool) -> Ints:
    """How often each place is held one step before (``kept``: and still is), where the tiles
    ``[loops]`` cut a chain into points.  A place is two coordinates, along the parts ``wanted``
    (-1: none); ``[sizes of the two]``.

    Raises MappingError above 2^22 positions: they are visited one by one.
    """
    loops, width = len(cuts.parts), len(cuts.sizes) + 1
    many = prod(_most_trips(cuts, tiles.tolist()))
    counts = np.zeros([cuts.sizes[part] if part >= 0 else 1 for part in wanted], np.int64)
    if max(many, counts.size) > MOST_POINTS:
        raise MappingError(
            f"there are {max(many, counts.size)} places of (k, x) pairs to visit, more than the "
            f"{MOST_POINTS} that are visited one by one"
        )
    whole, cut, ways = _as_arrays(cuts)
    stack = np.empty((loops + 1, 1, 4 * width + 2), np.int64)
    low, index = np.empty((loops + 1, width), np.int64), np.empty(loops + 1, np.int64)
    count_points(
        whole, cut, ways, tiles, kept, np.array(wanted, np.int64), index, stack, low, counts
    )
    return counts


@lru_cache(maxsize=1 << 12)
def _as_arrays(cuts: Cuts) -> tuple[Ints, Ints, Ints]:
    """Sizes, parts and modes as the kernels have them, which only read them: no chunk yet, and the
    fused whole is one past the last part.
    """
    parts = [part if part >= 0 else len(cuts.sizes) for part in cuts.parts]
    sizes, cut, ways = (np.array(x, np.int64) for x in ((*cuts.sizes, -1), parts, cuts.modes))
    return sizes, cut, ways


def _most_trips(cuts: Cuts, tiles: Sequence[int]) -> list[int]:
    """The most trips each loop makes; one where it is not looked at everywhere."""
    extents, trips = [*cuts.sizes, prod(cuts.sizes)], []
    for part, tile, mode in zip(cuts.parts, tiles, cuts.modes, strict=True):
        trips.append(-(-extents[part] // tile) if mode not in (RESTARTS, FIRST) else 1)
        extents[part] = min(tile, extents[part])
        if part >= 0:
            extents[-1] = prod(extents[:-1])
    return trips


def slide_table(
    slide: Slide, e: Cuts, r: Cuts, e_tiles: Ints, r_tiles: Ints,
    e_only: Ints | None = None, r_only: Ints | None = None,
) -> Ints:  # fmt: skip
    """A sliding rank's sums S O U K X Y L for many choices of both chains' tiles, ``[choices,
    loops]`` each, and of where loops stand, as ``chain_table``; ``[choices, 7]``.
    """
    if _one_tap(slide, e, r):
        return _as_plain(r, chain_table(e, e_tiles, e_only))
    return _met(slide, (e, e_tiles, e_only), (r, r_tiles, r_only), largest=False)


def slide_largest(slide: Slide, e: Cuts, r: Cuts, e_tiles: Ints, r_tiles: Ints) -> Ints:
    """Most words any piece of a sliding rank touches, ``[choices]``: ``footprint.sliding_words``
    for many choices.  Every loop is looked at as one over instances that share nothing.
    """
    return np.asarray(_met(slide, (e, e_tiles, None), (r, r_tiles, None), largest=True)[:, 0])


def _different(tiles: Ints, only: Ints | None) -> tuple[Ints, Ints, Ints | None]:
    """Different rows of tiles, with where their loops stand; and which of them each row is, None
    if they are left as they are.
    """
    if only is not None or len(tiles) <= FEW:
        tiles = np.ascontiguousarray(tiles)
        return tiles, np.full_like(tiles, -1) if only is None else only, None
    first, rows = different_rows(tiles)
    tiles = np.ascontiguousarray(tiles[first])
    return tiles, np.full_like(tiles, -1), rows


def different_rows(table: Ints) -> tuple[Ints, Ints]:
    """Where each different row of a table occurs, and which of them each row is."""
    if table.shape[1] > len(table):  # few long ones
        known: dict[bytes, int] = {}
        ids = np.array([known.setdefault(row.tobytes(), len(known)) for row in table], np.int64)
        return np.unique(ids, return_index=True)[1], ids
    code = np.zeros(len(table), np.int64)
    most = 0
    low, high = (x.tolist() for x in (table.min(axis=0, initial=0), table.max(axis=0, initial=0)))
    for column, least, largest in zip(table.T, low, high, strict=True):
        if least == largest:  # tells none from another
            continue
        # a row as one number, made small again before it overflows
        radix = largest - least + 1
        if most >= (1 << 62) // radix - 1:
            code = np.unique(code, return_inverse=True)[1].reshape(-1)
            most = len(table)
        code = code * radix + (column - least)
        most = (most + 1) * radix
    if len(table) < MANY or most > 4 * len(table):
        _, first, rows = np.unique(code, return_index=True, return_inverse=True)
        return first, rows.reshape(-1)
    there = np.zeros(most + 1, bool)  # the same without sorting
    there[code] = True
    rows = (np.cumsum(there) - 1)[code]
    first = np.empty(np.count_nonzero(there), np.int64)
    first[rows[::-1]] = np.arange(len(code) - 1, -1, -1)  # what is written last stays
    return first, rows


def _one_tap(slide: Slide, e: Cuts, r: Cuts) -> bool:
    """Whether a window is one tap without padding: then each output has a word of its own, and the
    rank is as plain as its outputs.
    """
    reach = slide.stride * (e.sizes[0] - 1)
    return r.sizes == (1,) and slide.pad == 0 and reach < slide.size


def _as_plain(r: Cuts, outputs: Ints) -> Ints:
    """S O U K X Y L ``[choices, 7]`` of outputs' sums ``[choices, 4]``; nothing where a loop over
    the only tap should advance.
    """
    sums = outputs[:, [plain_column(which) for which in LETTERS]]
    return np.zeros_like(sums) if ADVANCES in r.modes else sums


# Two chains that meet -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrangements:
    """What instances that share words hold, over the positions of some chains.

    ``ranges``   [kinds, most, 4] of every instance, now and one step before
    ``members``  [kinds] how many instances there are
    ``begins``   [chains + 1] where each chain's entries begin
    ``entries``  [entries, 2] of the chains, one after the other: a kind, and how often it occurs
    """

    ranges: Ints
    members: Ints
    begins: Ints
    entries: Ints


def _arrangements(cuts: Cuts, tiles: Ints, only: Ints, free: Ints) -> Arrangements:
    """The arrangements of chains; ``tiles`` and ``only`` [chains, loops].  Those within the
    coordinates ``free`` [from, to) may be moved to its beginning: nothing there tells one place
    from another.  One chain meets several others, so they are kept.
    """
    key = cuts, len(tiles), tiles.tobytes(), only.tobytes(), free.tobytes()
    with _kept_lock:
        known = _kept.get(key)
        if known is not None:
            _kept.move_to_end(key)
            return known
    made = _arranged(cuts, tiles, only, free)
    if made.ranges.size <= MOST_RANGES:
        with _kept_lock:
            _kept[key] = made
            while len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)
    return made


_kept: OrderedDict[tuple[Any, ...], Arrangements] = OrderedDict()
_kept_lock = Lock()
MOST_KEPT, MOST_RANGES = 1 << 7, 1 << 16  # arrangements kept, and numbers in the ranges of each


def _arranged(cuts: Cuts, tiles: Ints, only: Ints, free: Ints) -> Arrangements:
    """``_arrangements``, worked out."""
    ways = np.array(cuts.modes, np.int64)
    known: dict[bytes, int] = {}
    kinds: list[Ints] = []
    begins, entries = [0], []
    room = ROOM
    for row, where in zip(tiles, only, strict=True):
        most, count = (
            prod(
                t
                for t, way in zip(_most_trips(cuts, row.tolist()), cuts.modes, strict=True)
                if way == SHARES
            ),
            -1,
        )
        while count < 0:
            ranges = np.empty((2, room, most, 4), np.int64)
            heads = np.empty((2, room, 4), np.int64)
            count = arrangements(cuts.sizes[0], row, ways, where, free, ranges, heads)
            room *= 2 if count < 0 else 1
        half = len(ways) % 2
        for members, (many, *_, often) in zip(
            ranges[half, :count], heads[half, :count].tolist(), strict=True
        ):
            kind = known.setdefault(members[:many].tobytes(), len(kinds))
            if kind == len(kinds):
                kinds.append(members[:many])
            entries.append((kind, often))
        begins.append(len(entries))
    laid = np.zeros((len(kinds), max(map(len, kinds), default=1), 4), np.int64)
    for kind, members in enumerate(kinds):
        laid[kind, : len(members)] = members
    return Arrangements(
        laid,
        np.array([len(members) for members in kinds], np.int64),
        np.array(begins, np.int64),
        np.array(entries, np.int64).reshape(-1, 2),
    )


Chains = tuple[Cuts, Ints, Ints | None]  # with tiles, and where loops stand, [choices, loops]


def _met(slide: Slide, e: Chains, r: Chains, *, largest: bool) -> Ints:
    """What the arrangements of outputs and of taps sum when they meet, by choice ``[choices, 7]``:
    added up over all of a choice's, or the largest.  Some output chains at a time.
    """
    (e_tiles, e_only, e_rows), (r_tiles, r_only, r_rows) = (_different(*x[1:]) for x in (e, r))
    e_rows = np.arange(len(e_tiles)) if e_rows is None else e_rows
    r_rows = np.arange(len(r_tiles)) if r_rows is None else r_rows
    numbers = np.array([slide.stride, slide.dilation, slide.pad, slide.size], np.int64)
    free = [np.array(x, np.int64) for x in slide.free(e[0].sizes[0], r[0].sizes[0])]
    taps = _arrangements(r[0], r_tiles, r_only, free[1])
    reach = -(-slide.dilation * (r[0].sizes[0] - 1) // slide.stride)
    sums = np.zeros((len(e_rows), len(LETTERS)), np.int64)
    for start in range(0, len(e_tiles), BLOCK):
        some = slice(start, start + BLOCK)
        outs = _arrangements(e[0], e_tiles[some], e_only[some], free[0])
        words = np.zeros((len(outs.ranges), len(taps.ranges), len(LETTERS)), np.int64)
        room = 4 * outs.ranges.shape[1] + 2
        most = (room - 1) * (reach + 1)  # outputs free of padding that ``shorten`` leaves
        left = slide.size - slide.stride * max(0, int(free[0][1] - free[0][0]) - most)
        slide_sums(
            numbers, free[0], reach, outs.ranges.copy(), outs.members, taps.ranges, taps.members,
            np.empty(room, np.int64), np.empty((room, 2), np.int64),
            np.empty(len(LETTERS), np.int64), np.zeros((5, left), np.int64), words,
        )  # fmt: skip
        chosen = np.flatnonzero((e_rows >= start) & (e_rows < start + BLOCK))
        added = np.zeros((len(chosen), len(LETTERS)), np.int64)
        met(
            words, outs.begins, outs.entries, taps.begins, taps.entries,
            e_rows[chosen] - start, r_rows[chosen], largest, added,
        )  # fmt: skip
        sums[chosen] = added
    return sums


# One loop -----------------------------------------------------------------------------------------


@kernel
def trips(extent: int, tile: int) -> int:
    """Pieces a range is cut into."""
    return -(-extent // tile)


@kernel
def piece(extent: int, index: int, tile: int) -> int:
    """Length of one piece of a range; 0 beyond its end."""
    left = extent - index * tile
    return tile if left > tile else left if left > 0 else 0


@kernel
def pieces_alike(extent: int, index: int, tile: int) -> int:
    """How many pieces from this one on are as long: whole ones, the short one, or none at all."""
    whole = extent // tile
    return whole - index if index < whole else 1 if index == whole else ENDLESS


@kernel
def indices(mode: int, only: int, first_now: int, longest: int, tile: int) -> tuple[int, int]:
    """The indices [from, to) of a loop at which its pieces are looked at: ``only`` this one, or all
    (-1).

    ``first_now`` is the first instance's range, ``longest`` the longest range of this one.
    """
    start, stop = 0, 1
    if mode == STANDS or mode == ADVANCES:  # noqa: SIM109 - tuples of numbers are slow in a kernel
        start, stop = 1 if mode == ADVANCES else 0, trips(first_now, tile)
    elif mode == GROUPS or mode == SHARES:  # noqa: SIM109
        stop = trips(longest, tile)
    if only >= 0:
        start, stop = only, min(only + 1, stop)
    return start, stop


@kernel
def index_before(mode: int, index: int, first_before: int, tile: int) -> int:
    """Where the loop stood one step before."""
    if mode == ADVANCES:
        return index - 1
    if mode == RESTARTS:
        return max(trips(first_before, tile) - 1, 0)
    return index


# A chain alone ------------------------------------------------------------------------------------
#
# A class is a row of numbers: four ranges (below), each the extents of the chain's parts and, under
# a fused loop, of the chunk (-1 where there is none); then whether the piece is still the one of
# the step before, and how often the class occurs.

FIRST_NOW, NOW, BEFORE, FIRST_BEFORE = range(4)
MOST_RUNS = 9  # of equal pieces: four ranges change twice each


@kernel
def words(classes: Ints, at: int, which: int) -> int:
    """Words of a piece, one of a class's four ranges: the chunk of a fused dimension, or the box of
    its parts.
    """
    width = (classes.shape[1] - 2) // 4
    box = 1
    for part in range(which * width, which * width + width - 1):
        box *= classes[at, part]
    chunk = classes[at, which * width + width - 1]
    return box if chunk < 0 or box == 0 else chunk


@kernel
def length(classes: Ints, at: int, which: int, part: int) -> int:
    """What a loop over a part, or over the fused whole (one past the last part), cuts."""
    width = (classes.shape[1] - 2) // 4
    return words(classes, at, which) if part == width - 1 else classes[at, which * width + part]


@kernel
def join(classes: Ints, new: int) -> int:
    """Keep the class at row ``new``, or add only its number to an equal one before it; how many
    classes there are then.
    """
    last = classes.shape[1] - 1
    for at in range(new):
        column = 0
        while column < last and classes[at, column] == classes[new, column]:
            column += 1
        if column == last:
            classes[at, last] += classes[new, last]
            return new
    return new + 1


@kernel
def cut_class(
    old: Ints, row: int, part: int, tile: int, mode: int, only: int, new: Ints, count: int
) -> int:
    """Cut one class by one loop into ``new``, which has ``count`` already; how many then.

    ``part`` is the part the loop cuts, or one past the last for the chunk.
    """
    width = (old.shape[1] - 2) // 4
    first_now, now = length(old, row, FIRST_NOW, part), length(old, row, NOW, part)
    first_before = length(old, row, FIRST_BEFORE, part)
    before = length(old, row, BEFORE, part)
    index, stop = indices(mode, only, first_now, max(now, before), tile)
    while index < stop:
        earlier = index_before(mode, index, first_before, tile)
        run = min(stop - index, pieces_alike(now, index, tile), pieces_alike(before, earlier, tile))
        first, first_earlier = 0, 0  # of instances the first stands for the step
        if mode < GROUPS:
            first, first_earlier = index, earlier
            run = min(run, pieces_alike(first_now, index, tile))
            run = min(run, pieces_alike(first_before, earlier, tile))
        if only >= 0 or mode == RESTARTS:
            run = 1
        for column in range(old.shape[1]):
            new[count, column] = old[row, column]
        new[count, part] = piece(first_now, first, tile)
        new[count, width + part] = piece(now, index, tile)
        new[count, 2 * width + part] = piece(before, earlier, tile)
        new[count, 3 * width + part] = piece(first_before, first_earlier, tile)
        new[count, 4 * width] *= index == earlier
        new[count, 4 * width + 1] *= run
        count = join(new, count)
        index += run
    return count


@kernel
def chain_sums(
    sizes: Ints, parts: Ints, modes: Ints, tiles: Ints, only: Ints, old: Ints, new: Ints, sums: Ints
) -> bool:
    """Add up a chain over all positions and instances of its loops, for many choices of tiles.

    sizes        [parts + 1]       of each part of the chain; -1, as there is no chunk yet
    parts        [loops]           which each loop cuts; one past the last: the fused whole
    modes        [loops]           how each is looked at
    tiles        [choices, loops]  of the loops, outermost first
    only         [choices, loops]  the index at which a loop stands; -1: all
    old, new     [room, columns]   for the classes; False if the room is too small
    sums         [choices, 4]      written: HELD words now; KEPT of them from the step before; LEFT,
                                   words one step before; WORKS, positions and instances with any
    """
    width = len(sizes)
    for choice in range(len(tiles)):
        for column in range(4 * width):
            old[0, column] = sizes[column % width]
        old[0, 4 * width] = old[0, 4 * width + 1] = count = 1
        for loop in range(len(modes)):
            more = 0
            for row in range(count):
                if more + MOST_RUNS >= len(new):
                    return False
                more = cut_class(
                    old, row, parts[loop], tiles[choice, loop], modes[loop], only[choice, loop],
                    new, more,
                )  # fmt: skip
            old, new, count = new, old, more
        for column in range(4):
            sums[choice, column] = 0
        for row in range(count):
            often, now = old[row, 4 * width + 1], words(old, row, NOW)
            sums[choice, HELD] += often * now
            sums[choice, KEPT] += often * now * old[row, 4 * width]
            sums[choice, LEFT] += often * words(old, row, BEFORE)
            sums[choice, WORKS] += often * (now > 0)
    return True


@kernel
def add_point(held: Ints, low: Ints, kept: bool, wanted: Ints, counts: Ints) -> None:
    """Count the point that a class [1, columns] held one step before, by its coordinates along two
    parts; ``low`` [parts + 1] is where its ranges begin.
    """
    width, place = len(low), 0
    if words(held, 0, BEFORE) == 0 or (kept and not held[0, 4 * width]):
        return
    for which in range(2):
        part, at = wanted[which], 0
        if part >= 0:
            at, inner = low[part], 1
            if held[0, 3 * width - 1] >= 0:  # a chunk: its first point, counted last part fastest
                for later in range(part + 1, width - 1):
                    inner *= max(held[0, 2 * width + later], 1)
                at += low[width - 1] // inner % max(held[0, 2 * width + part], 1)
        place = place * counts.shape[which] + at
    counts[place // counts.shape[1], place % counts.shape[1]] += 1


@kernel
def count_points(
    sizes: Ints,
    parts: Ints,
    modes: Ints,
    tiles: Ints,
    kept: bool,
    wanted: Ints,
    index: Ints,
    stack: Ints,
    low: Ints,
    counts: Ints,
) -> None:
    """How often each place is held one step before, where pieces are single points; one position
    after the other, as no class has a place.

    sizes, parts, modes, tiles  of one choice, as in ``chain_sums``
    kept    only what is held now too
    wanted  [2]                       the parts whose coordinates tell the place; -1: none
    index   [loops + 1]               room for the loops' indices,
    stack   [loops + 1, 1, columns]   for the class that is left after so many loops,
    low     [loops + 1, parts + 1]    and for where its ranges begin
    counts  [sizes of the two parts]  added to
    """
    width, depth = len(sizes), 0
    for column in range(4 * width):
        stack[0, 0, column] = sizes[column % width]
    stack[0, 0, 4 * width] = stack[0, 0, 4 * width + 1] = 1
    for part in range(width):
        low[0, part] = 0
    index[0] = -1
    while depth >= 0:
        if depth == len(modes):
            add_point(stack[depth], low[depth], kept, wanted, counts)
            depth -= 1
            continue
        index[depth] += 1 if index[depth] >= 0 or modes[depth] != ADVANCES else 2
        part, tile, mode = parts[depth], tiles[depth], modes[depth]
        if cut_class(stack[depth], 0, part, tile, mode, index[depth], stack[depth + 1], 0) == 0:
            depth -= 1
            continue
        first_before = length(stack[depth], 0, FIRST_BEFORE, part)
        for other in range(width):
            low[depth + 1, other] = low[depth, other]
        low[depth + 1, part] += index_before(mode, index[depth], first_before, tile) * tile
        depth += 1
        index[depth] = -1


# A rank that slides -------------------------------------------------------------------------------
#
# Words of a sliding rank are coordinates  h = stride e + dilation r - pad  within [0, size), and
# its two chains meet only in which coordinates their pieces touch.  So each chain alone is turned
# into classes of arrangements: what the instances that share words hold, now and one step before.
# What lies within coordinates that no padding reaches is moved to their beginning, so that most
# positions look alike; only those at the clipped edges keep their place.
#
# An arrangement is its members' ranges [members, 4] and a head [4]: how many members, what the
# first instance holds now and one step before (its length), and how often the arrangement occurs.

LOW, HIGH, LOW_BEFORE, HIGH_BEFORE = range(4)
MEMBERS, PROBE, PROBE_BEFORE, OFTEN = range(4)


@kernel
def cut_member(old: Ints, index: int, before: int, tile: int, new: Ints) -> None:
    """The ranges [4] of one instance, cut at an index now and another one before."""
    new[LOW] = min(old[LOW] + index * tile, old[HIGH])
    new[HIGH] = min(new[LOW] + tile, old[HIGH])
    new[LOW_BEFORE] = min(old[LOW_BEFORE] + before * tile, old[HIGH_BEFORE])
    new[HIGH_BEFORE] = min(new[LOW_BEFORE] + tile, old[HIGH_BEFORE])


@kernel
def settle(members: Ints, count: int, free: Ints) -> int:
    """Drop the members that hold nothing; move the rest, where it is ``free`` [from, to), to the
    beginning of that.

    members  [members, 4]  ranges; changed in place.  How many are left.
    """
    left, low, high = 0, ENDLESS, -1
    for at in range(count):
        empty = True
        for side in range(LOW, 4, 2):
            if members[at, side + 1] > members[at, side]:
                low, high = min(low, members[at, side]), max(high, members[at, side + 1])
                empty = False
            else:
                members[at, side] = members[at, side + 1] = -1
        if not empty:
            for side in range(4):
                members[left, side] = members[at, side]
            left += 1
    if left and free[0] <= low and high <= free[1]:
        for at in range(left):
            for side in range(4):
                if members[at, side] >= 0:
                    members[at, side] -= low - free[0]
    return left


@kernel
def alike(
    members: Ints, head: Ints, index: int, stop: int, mode: int, tile: int, free: Ints
) -> int:
    """How many indices from this one on cut all members alike: whole pieces, where they are free.

    members  [members, 4]  ranges that are cut
    head     [4]           of their class
    free     [2]           coordinates within which a piece may be moved
    """
    run = stop - index
    for at in range(head[MEMBERS]):
        for side in range(2):
            begin, end = members[at, 2 * side], members[at, 2 * side + 1]
            here = index - (mode == ADVANCES) * side
            if begin + here * tile >= end:
                continue  # nothing now, and nothing later
            if begin + here * tile < free[0]:
                return 1
            run = min(run, (min(end, free[1]) - begin) // tile - here)
    if mode == STANDS or mode == ADVANCES:  # noqa: SIM109
        for side in range(2):
            here = index - (mode == ADVANCES) * side
            run = min(run, pieces_alike(head[PROBE + side], here, tile))
    return max(run, 1)


@kernel
def join_arrangement(ranges: Ints, heads: Ints, new: int) -> int:
    """Keep the arrangement at ``new``, or add only its number to an equal one before it; how many
    arrangements there are then.
    """
    for at in range(new):
        equal = True
        for column in range(OFTEN):
            equal = equal and heads[at, column] == heads[new, column]
        member = 0
        while equal and member < heads[new, MEMBERS]:
            for side in range(4):
                equal = equal and ranges[at, member, side] == ranges[new, member, side]
            member += 1
        if equal:
            heads[at, OFTEN] += heads[new, OFTEN]
            return new
    return new + 1


@kernel
def cut_at(
    old: Ints, head: Ints, index: int, mode: int, tile: int, members: Ints, new: Ints
) -> None:
    """Cut an arrangement at one index of a loop, or, of instances that share, at all of them."""
    before = index_before(mode, index, head[PROBE_BEFORE], tile)
    many = 0
    for at in range(head[MEMBERS]):
        sides = 1
        if mode == SHARES:
            sides = max(old[at, HIGH] - old[at, LOW], old[at, HIGH_BEFORE] - old[at, LOW_BEFORE])
            sides = trips(sides, tile)
        for beside in range(sides):
            cut_member(old[at], index + beside, before + beside, tile, members[many])
            many += 1
    first, first_before = (0, 0) if mode >= GROUPS else (index, before)
    new[MEMBERS] = many
    new[PROBE] = piece(head[PROBE], first, tile)
    new[PROBE_BEFORE] = piece(head[PROBE_BEFORE], first_before, tile)


@kernel
def cut_arrangement(
    old: Ints, head: Ints, tile: int, mode: int, only: int, free: Ints,
    ranges: Ints, heads: Ints, count: int,
) -> int:  # fmt: skip
    """Cut one arrangement by one loop into ``ranges`` and ``heads``, which have ``count`` already;
    how many then, or -1 if there is no room for more.
    """
    longest = 0
    for at in range(head[MEMBERS]):
        for side in range(LOW, 4, 2):
            longest = max(longest, old[at, side + 1] - old[at, side])
    index, stop = indices(mode, only, head[PROBE], longest, tile)
    if mode == SHARES:
        stop = 1
    while index < stop:
        if count == len(heads):
            return -1
        new = heads[count]
        cut_at(old, head, index, mode, tile, ranges[count], new)
        run = 1
        if mode != RESTARTS and mode != SHARES and only < 0:
            run = alike(old, head, index, stop, mode, tile, free)
        new[MEMBERS] = settle(ranges[count], new[MEMBERS], free)
        new[OFTEN] = head[OFTEN] * run
        index += run
        if new[MEMBERS] > 0:
            count = join_arrangement(ranges, heads, count)
    return count


@kernel
def arrangements(
    size: int, tiles: Ints, modes: Ints, only: Ints, free: Ints, ranges: Ints, heads: Ints
) -> int:
    """Classes of what instances that share hold of one chain, over its positions and groups.

    tiles, modes, only  [loops]  as in ``chain_sums``
    free    [2]                    coordinates of the chain within which pieces may be moved
    ranges  [2, room, members, 4]  written, as ``heads`` [2, room, 4]: a loop reads one half and
                                   writes the other, so the last lie in half ``loops % 2``

    How many there are; -1 if the room is too small.
    """
    for side in range(4):
        ranges[0, 0, 0, side] = size * (side % 2)
        heads[0, 0, side] = size if side == PROBE or side == PROBE_BEFORE else 1  # noqa: SIM109
    count = 1
    for loop in range(len(modes)):
        old, new, more = loop % 2, (loop + 1) % 2, 0
        for at in range(count):
            more = cut_arrangement(
                ranges[old, at], heads[old, at], tiles[loop], modes[loop], only[loop], free,
                ranges[new], heads[new], more,
            )  # fmt: skip
            if more < 0:
                return -1
        count = more
    return count


@kernel
def lay(mark: Ints, stamp: int, slide: Ints, e: Ints, r: Ints, side: int) -> tuple[int, int]:
    """Stamp the real coordinates that an instance's outputs touch through its taps, now (``side``
    0) or one step before (1); the coordinates [from, to) among which they lie.

    mark   [size]  the stamp each coordinate had last
    slide  [4]     stride, dilation, padding before, size
    e, r   [4]     ranges of outputs and of taps
    """
    e_low, e_high, r_low, r_high = e[2 * side], e[2 * side + 1], r[2 * side], r[2 * side + 1]
    if e_low >= e_high or r_low >= r_high:
        return slide[3], 0
    for tap in range(r_low, r_high):
        at = slide[0] * e_low + slide[1] * tap - slide[2]
        for _ in range(e_low, e_high):
            if 0 <= at < slide[3]:
                mark[at] = stamp
            at += slide[0]
    low = slide[0] * e_low + slide[1] * r_low - slide[2]
    high = slide[0] * (e_high - 1) + slide[1] * (r_high - 1) - slide[2] + 1
    return max(low, 0), min(high, slide[3])


@kernel
def shorten(members: Ints, count: int, free: Ints, reach: int, places: Ints, repeated: Ints) -> int:
    """Take out outputs that repeat what the one before them does; how many were taken out.

    Among outputs that are ``free`` [from, to) of padding, between two places where the range of
    some member begins or ends, the same members hold each output.  What is touched of a coordinate
    hangs on ``reach`` outputs before it, so past the first ``reach`` of such a stretch every output
    touches ``stride`` coordinates just as the next one does: one of them stands for all.

    members   [members, 4]  ranges; changed in place, as those after a stretch move forward
    places    [room]        room for twice as many places as there are ranges, and two more
    repeated  [room, 2]     written: an output, and how often it was taken out; 0 ends the list
    """
    repeated[0, 1] = 0
    if free[1] - free[0] <= reach + 1:
        return 0
    places[0], places[1], many = free[0], free[1], 2
    for at in range(count):
        for side in range(4):
            place, behind = members[at, side], many
            if place <= free[0] or place >= free[1]:
                continue
            while places[behind - 1] > place:
                places[behind] = places[behind - 1]
                behind -= 1
            places[behind] = place
            many += 1
    taken, listed = 0, 0
    for stretch in range(many - 2, -1, -1):  # the last first: the places before it stand yet
        more = places[stretch + 1] - places[stretch] - reach - 1
        if more <= 0:
            continue
        for at in range(count):
            for side in range(4):
                members[at, side] -= more * (members[at, side] >= places[stretch + 1])
        for later in range(listed):
            repeated[later, 0] -= more
        repeated[listed, 0], repeated[listed, 1] = places[stretch] + reach, more
        taken, listed = taken + more, listed + 1
    repeated[listed, 1] = 0
    return taken


@kernel
def slide_sums(
    slide: Ints, free: Ints, reach: int, e: Ints, e_members: Ints, r: Ints, r_members: Ints,
    places: Ints, repeated: Ints, turn: Ints, marks: Ints, sums: Ints,
) -> None:  # fmt: skip
    """S O U K X Y L of every arrangement of outputs with every arrangement of taps.

    slide      [4]                       stride, dilation, padding before, size
    free       [2], ``reach``            as in ``shorten``, which changes ``e``; and its room,
    places     [room], ``repeated`` [room, 2], ``turn`` [7]
    e, r       [arrangements, most, 4]   ranges of their members
    *_members  [arrangements]            how many of the rows are instances
    marks      [5, size when shortened]  zeros: for each coordinate the pair of instances that
                                         touched it last, now and before; and how many of a group
                                         hold it now, before, and both
    sums       [arrangements of e, arrangements of r, 7]  zeros; added to
    """
    pair, size = 0, slide[3]
    for a in range(len(e)):
        slide[3] = size - slide[0] * shorten(e[a], e_members[a], free, reach, places, repeated)
        for b in range(len(r)):
            low, high = slide[3], 0
            for member in range(e_members[a] * r_members[b]):
                pair += 1
                one, other = e[a, member // r_members[b]], r[b, member % r_members[b]]
                start, stop = lay(marks[0], pair, slide, one, other, 0)
                start_before, stop_before = lay(marks[1], pair, slide, one, other, 1)
                start, stop = min(start, start_before), max(stop, stop_before)
                for at in range(start, stop):
                    now, before = marks[0, at] == pair, marks[1, at] == pair
                    marks[2, at] += now
                    marks[3, at] += before
                    marks[4, at] += now and before
                low, high = min(low, start), max(high, stop)
            add_group(marks, low, high, slide, repeated, turn, sums[a, b])
    slide[3] = size


@kernel
def add_group(
    marks: Ints, low: int, high: int, slide: Ints, repeated: Ints, turn: Ints, sums: Ints
) -> None:
    """Add S O U K X Y L of a group [7] from how many hold each coordinate, and clear that.  What an
    output of ``repeated`` touches counts as often again as outputs like it were taken out; ``turn``
    [7] is room.
    """
    at = 0
    while repeated[at, 1]:
        begin = slide[0] * repeated[at, 0] - slide[2]
        for column in range(len(turn)):
            turn[column] = 0
        for coordinate in range(max(begin, low), min(begin + slide[0], high)):
            add_coordinate(marks, coordinate, turn)
        for column in range(len(turn)):
            sums[column] += repeated[at, 1] * turn[column]
        at += 1
    for coordinate in range(low, high):
        add_coordinate(marks, coordinate, sums)
        marks[2, coordinate] = marks[3, coordinate] = marks[4, coordinate] = 0


@kernel
def add_coordinate(marks: Ints, at: int, sums: Ints) -> None:
    """Add S O U K X Y L of one coordinate."""
    now, before, both = marks[2, at], marks[3, at], marks[4, at]
    sums[0] += now
    sums[1] += both
    sums[2] += now > 0
    sums[3] += now > 0 and both == now
    sums[4] += before > 0
    sums[5] += before > 0 and both == before
    sums[6] += now > 0 and before > 0


@kernel
def met(
    words: Ints, e_begins: Ints, e_entries: Ints, r_begins: Ints, r_entries: Ints,
    e_rows: Ints, r_rows: Ints, largest: bool, sums: Ints,
) -> None:  # fmt: skip
    """What arrangements sum when they meet, for choices of an output chain and a filter chain.

    words      [kinds of e, kinds of r, 7]  as ``slide_sums`` gives them
    *_begins   [chains + 1]                 where a chain's entries begin
    *_entries  [entries, 2]                 a kind, and how often the chain has it
    *_rows     [choices]                    the chains chosen
    sums       [choices, 7]                 zeros; added up over all a choice's arrangements, or
                                            only the ``largest``
    """
    for choice in range(len(e_rows)):
        for i in range(e_begins[e_rows[choice]], e_begins[e_rows[choice] + 1]):
            for j in range(r_begins[r_rows[choice]], r_begins[r_rows[choice] + 1]):
                often = e_entries[i, 1] * r_entries[j, 1]
                for at in range(words.shape[2]):
                    each = words[e_entries[i, 0], r_entries[j, 0], at]
                    if largest:
                        sums[choice, at] = max(sums[choice, at], each)
                    else:
                        sums[choice, at] += often * each
