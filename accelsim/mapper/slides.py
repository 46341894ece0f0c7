"""Factors of a sliding rank for every pair of many output chains and many filter chains: what
``engines.analytic.rank_sums.sliding`` sums for one pair.

Chains meet only in which coordinates two pieces touch.  So each chain alone is turned into
*arrangements*: the pieces of the instances that share, in this step and in the one before, moved to
zero where the padding is out of reach; there are few, as most steps look alike.  Words are counted
once for every two arrangements, on sets of coordinates as bits, and a factor is how often each
occurs: ``N_e @ words @ N_r.T``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.rank_sums import coordinate_readers
from accelsim.workload.problem import Slide

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint64]
ROOM = 1 << 22  # words of 64 bits laid out at once
ROWS = 1 << 19  # pieces of chains laid out at once
KNOWN = 256  # pair tables remembered, of at most so many entries each:
SMALL = 1 << 12


@dataclass(frozen=True)
class Cuts:
    """One dimension of a sliding rank: its size, loops (``t`` temporal, ``g`` or ``m`` spatial),
    how many temporal ones stand outside the one that advances, and whether that one is its own.
    """

    size: int
    kinds: str
    outside: int = 0
    own: bool = False


def pair_table(slide: Slide, e: Cuts, r: Cuts, which: str, e_tiles: Ints, r_tiles: Ints) -> Floats:
    """The sum ``which`` (S O U K X Y L of ``rank_sums``; ``most``: the largest tile, as
    ``footprint.sliding_words``) for each output chain [chains, loops] with each filter chain; shape
    [output chains, filter chains].
    """
    if len(e_tiles) * len(r_tiles) <= SMALL:
        return _known(
            slide, e, r, which, e_tiles.shape, e_tiles.tobytes(), r_tiles.shape, r_tiles.tobytes()
        )
    return _pair_table(slide, e, r, which, e_tiles, r_tiles)


@lru_cache(maxsize=KNOWN)
def _known(
    slide: Slide,
    e: Cuts,
    r: Cuts,
    which: str,
    e_shape: tuple[int, ...],
    e_tiles: bytes,
    r_shape: tuple[int, ...],
    r_tiles: bytes,
) -> Floats:
    tiles = (
        np.frombuffer(x, np.int64).reshape(shape)
        for x, shape in ((e_tiles, e_shape), (r_tiles, r_shape))
    )
    return _pair_table(slide, e, r, which, *tiles)


def _pair_table(slide: Slide, e: Cuts, r: Cuts, which: str, e_tiles: Ints, r_tiles: Ints) -> Floats:
    table = np.empty((len(e_tiles), len(r_tiles)))
    r_step = max(1, ROWS // r.size)
    e_step = max(1, min(ROWS // e.size, ROOM * 4 // (e.size * min(r_step, len(r_tiles)))))
    reach = slide.stride * (e.size - 1) + slide.dilation * (r.size - 1) - slide.pad
    for at_r in range(0, len(r_tiles), r_step):
        free = (
            (0, r.size) if slide.pad <= 0 and reach < slide.size else (1, 0)
        )  # pieces within may be moved
        filt = arrangements(r, r_tiles[at_r : at_r + r_step], which, free)
        low = -(-slide.pad // slide.stride)
        free = (
            max(low, 0),
            (slide.size + slide.pad - slide.dilation * (r.size - 1) - 1) // slide.stride + 1,
        )
        for at_e in range(0, len(e_tiles), e_step):
            out = arrangements(e, e_tiles[at_e : at_e + e_step], which, free)
            words = _words(slide, (e.size, r.size), which, out, filt)
            part = table[at_e : at_e + e_step, at_r : at_r + r_step]
            part[:] = _largest(words, out, filt) if which == "most" else _summed(words, out, filt)
    return table


# -- one chain -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrangements:
    """What instances that share hold: ``pieces`` [pieces, 4] are ranges now and one step before
    (lo, hi, lo, hi), ``members`` [arrangements, most instances] pieces (-1: none).  ``chain`` and
    ``kind`` [rows] say which chain has which arrangement, ``count`` how often; rows are in order of
    chains.
    """

    chains: int
    pieces: Ints
    members: Ints
    chain: Ints
    kind: Ints
    count: Floats


def arrangements(cuts: Cuts, tiles: Ints, which: str, free: tuple[int, int]) -> Arrangements:
    """The arrangements of chains' steps; ``tiles`` [chains, loops].

    Those wholly within the coordinates ``free`` [first, end) are moved so that they begin at its
    first: nothing there tells one place from another.  ``most`` looks at every piece alone, as if
    all loops were grouped ones.
    """
    if which == "most":
        chain, group, now, before = laid_out(Cuts(cuts.size, "g" * len(cuts.kinds)), tiles)
    else:
        chain, group, now, before = laid_out(cuts, tiles)
    if which in "XY":
        now, before = before, now
    # sums of what is held now need no step before; sums over instances alone share nothing
    if which in ("S", "U", "X", "most"):
        before = np.zeros_like(before)
    if which in ("S", "O", "most"):
        group = np.arange(len(chain))
    ranges = np.hstack([now, before])
    for a in (0, 2):
        ranges[ranges[:, a + 1] <= ranges[:, a], a : a + 2] = 0
    # from here on rows [pieces] lie group by group, and ``start`` is where each begins
    there = (ranges[:, 1] > 0) | (ranges[:, 3] > 0)
    chain, group, ranges = chain[there], group[there], ranges[there]
    by = np.argsort(group, kind="stable")
    chain, group, ranges = chain[by], group[by], ranges[by]
    start = np.flatnonzero(
        np.concatenate([np.ones(min(1, len(group)), bool), group[1:] != group[:-1]])
    )
    if not len(start):
        none = np.zeros(0, np.int64)
        return Arrangements(
            len(tiles),
            np.zeros((0, 4), np.int64),
            np.zeros((0, 1), np.int64),
            none,
            none,
            none.astype(float),
        )
    lows = np.where(ranges[:, 1::2] > 0, ranges[:, ::2], cuts.size).min(axis=1)
    low, high = (
        np.minimum.reduceat(lows, start),
        np.maximum.reduceat(ranges[:, 1::2].max(axis=1), start),
    )
    if which in "UX":  # pieces of one grid side by side are as good as one
        whole = np.add.reduceat(ranges[:, 1] - ranges[:, 0], start) == high - low
        first = start[whole]
        ranges[first, 0], ranges[first, 1] = low[whole], high[whole]
        stays = ~np.repeat(whole, np.diff(start, append=len(group)))
        stays[first] = True
        chain, group, ranges = chain[stays], group[stays], ranges[stays]
        start = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    many = np.diff(start, append=len(group))
    move = np.where((low >= free[0]) & (high <= free[1]), low - free[0], 0)
    ranges = np.where(
        np.repeat(ranges[:, 1::2] > 0, 2, axis=1), ranges - np.repeat(move, many)[:, None], 0
    )
    # a piece's four ends as one number, so that equal pieces are found by sorting
    radix = cuts.size + 1
    code, piece = np.unique(
        ((ranges[:, 0] * radix + ranges[:, 1]) * radix + ranges[:, 2]) * radix + ranges[:, 3],
        return_inverse=True,
    )
    pieces = np.stack(
        [code // radix**3, code // radix**2 % radix, code // radix % radix, code % radix], axis=1
    )
    members = np.full((len(start), int(many.max())), -1, np.int64)
    at = np.arange(len(group)) - np.repeat(start, many)
    members[np.repeat(np.arange(len(start)), many), at] = piece.reshape(-1)
    members, kind = _different(members)
    both, count = np.unique(chain[start] * len(members) + kind, return_counts=True)
    return Arrangements(
        len(tiles),
        pieces,
        members,
        both // len(members),
        both % len(members),
        count.astype(np.float64),
    )


def _different(rows: Ints) -> tuple[Ints, Ints]:
    """Different rows, and which of them each row is."""
    code = rows[:, 0]
    for column in rows.T[1:]:
        _, code = np.unique(code * (int(column.max()) + 2) + column, return_inverse=True)
        code = code.reshape(-1)
    _, first, back = np.unique(code, return_index=True, return_inverse=True)
    return rows[first], back.reshape(-1)


def laid_out(cuts: Cuts, tiles: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Pieces of every step and instance of chains [chains, loops]: their chain, a number for each
    (chain, step, grouped instance), their range (lo, hi) and the one they had a step before.

    The first ``outside`` temporal loops stand at every trip, the next one, if ``own``, at every
    trip but its first (a step before: at the one before it), those inside at their first (a step
    before: at their last).
    """
    n = len(tiles)
    chain, group = np.arange(n), np.arange(n)
    # [rows, 8] ends now and a step before, then the same of the first instance: how many trips a
    # loop makes is told by the first, whose pieces are the longest
    ranges = np.tile(np.array([0, cuts.size], np.int64), (n, 4))
    whole = np.full(n, cuts.size, np.int64)
    seen = 0
    for kind, column in zip(cuts.kinds, tiles.T, strict=True):
        t = column[chain]
        inner = kind == "t" and seen >= cuts.outside + cuts.own
        advances = 1 if kind == "t" and cuts.own and seen == cuts.outside else 0
        seen += kind == "t"
        if inner:
            last = np.maximum(-(-(ranges[:, 7] - ranges[:, 6]) // t) - 1, 0)
            index = [np.zeros_like(t), last, np.zeros_like(t), last]
        else:
            trips = -(-(ranges[:, 5] - ranges[:, 4]) // t) if kind == "t" else -(-whole[chain] // t)
            trips = np.maximum(trips - advances, 0)
            back = np.repeat(np.arange(len(chain)), trips)
            i = np.arange(len(back)) - np.repeat(np.cumsum(trips) - trips, trips) + advances
            chain, ranges, t = chain[back], ranges[back], t[back]
            group = group[back]
            if kind != "m":
                most = int(trips.max(initial=0)) + 2
                # numbers of groups are only told apart: made small again before they overflow
                if group.max(initial=0) > (1 << 62) // most:
                    group = np.unique(group, return_inverse=True)[1].reshape(-1)
                group = group * most + i
            index = (
                [i, i - advances, i, i - advances]
                if kind == "t"
                else [i, i, np.zeros_like(i), np.zeros_like(i)]
            )
        for a, at in enumerate(index):
            ranges[:, 2 * a] += at * t
            ranges[:, 2 * a + 1] = np.minimum(ranges[:, 2 * a + 1], ranges[:, 2 * a] + t)
        whole = np.minimum(whole, column)
        if not inner:
            there = (ranges[:, 1] > ranges[:, 0]) | (ranges[:, 3] > ranges[:, 2])
            if not there.all():
                chain, group, ranges = chain[there], group[there], ranges[there]
    return chain, group, ranges[:, :2], ranges[:, 2:4]


# -- two chains ------------------------------------------------------------------------------------


def _words(
    slide: Slide, sizes: tuple[int, int], which: str, e: Arrangements, r: Arrangements
) -> Floats:
    """Words two arrangements count; shape [arrangements of e, of r]."""
    if not len(e.members) or not len(r.members):
        return np.zeros((len(e.members), len(r.members)))
    (e_ranges, e_now, e_before), (r_ranges, r_now, r_before) = _ranges(e.pieces), _ranges(r.pieces)
    bits = _touched(slide, sizes, e_ranges, r_ranges)
    counts = np.empty((len(e.members), len(r.members)))
    step = max(1, ROOM // ((len(r.members) + len(r.pieces)) * bits.shape[2]))
    for at in range(0, len(e.members), step):
        members = e.members[at : at + step]
        used, members = np.unique(members, return_inverse=True)  # -1, none, is among them or not
        members = members.reshape(-1, e.members.shape[1])
        now = _at(bits, e_now, r_now, used)
        if which in ("S", "most"):
            words = _count(now[members[:, 0]][:, r.members[:, 0]])
        elif which == "O":
            words = _count(
                (now & _at(bits, e_before, r_before, used))[members[:, 0]][:, r.members[:, 0]]
            )
        else:
            union = _union(now, members, r.members)
            words = _count(union)
            if which in "KY":
                words -= _count(
                    _union(now & ~_at(bits, e_before, r_before, used), members, r.members)
                )
            elif which == "L":
                words = _count(
                    union & _union(_at(bits, e_before, r_before, used), members, r.members)
                )
        counts[at : at + step] = words
    return counts


def _ranges(pieces: Ints) -> tuple[Ints, Ints, Ints]:
    """Different ranges [ranges, 2], and which of them each piece is now and was before."""
    different, back = _different(np.vstack([pieces[:, :2], pieces[:, 2:]]))
    return different, back[: len(pieces)], back[len(pieces) :]


def _touched(slide: Slide, sizes: tuple[int, int], e: Ints, r: Ints) -> Bits:
    """Coordinates that ranges of outputs touch through ranges of taps, as bits [ranges of e, ranges
    of r, words of 64].
    """
    readers = coordinate_readers(slide, *sizes)
    wide = np.zeros((len(e), -(-slide.size // 64) * 64), bool)
    taps = []
    for tap in range(sizes[1]):
        wide[:, : slide.size] = (readers[:, tap] >= e[:, :1]) & (readers[:, tap] < e[:, 1:])
        taps.append(np.packbits(wide, axis=1).view(np.uint64))
    bits = np.zeros((len(e), len(r), taps[0].shape[1]), np.uint64)
    at = {(int(lo), int(hi)): i for i, (lo, hi) in enumerate(r)}
    for lo in {lo for lo, hi in at if hi > lo}:
        sofar = np.zeros_like(taps[0])
        for hi in range(lo + 1, max(b for a, b in at if a == lo) + 1):
            sofar = sofar | taps[hi - 1]
            if (lo, hi) in at:
                bits[:, at[lo, hi]] = sofar
    return bits


def _at(bits: Bits, e: Ints, r: Ints, used: Ints) -> Bits:
    """Of the pieces ``used`` (-1: nothing), with every piece of r."""
    return np.where((used >= 0)[:, None, None], bits[e[used][:, None], r[None, :]], np.uint64(0))


def _union(bits: Bits, e: Ints, r: Ints) -> Bits:
    """Over the members of every two arrangements."""
    some = bits[e[:, 0]]
    for column in e.T[1:]:
        some |= bits[column]
    both = some[:, r[:, 0]]
    for column in r.T[1:]:
        there = np.flatnonzero(column >= 0)
        both[:, there] |= some[:, column[there]]
    return both


def _count(bits: Bits) -> Floats:
    """Bits set, summed over the last axis."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(bits).sum(axis=-1), np.float64)
    return np.asarray(_ONES[np.ascontiguousarray(bits).view(np.uint16)].sum(axis=-1), np.float64)


_ONES = np.array([i.bit_count() for i in range(1 << 16)], np.uint8)


def _summed(words: Floats, e: Arrangements, r: Arrangements) -> Floats:
    often = np.zeros((len(r.members), r.chains))
    often[r.kind, r.chain] = r.count
    each = words @ often
    sums = np.zeros((e.chains, r.chains))
    chains, start = np.unique(e.chain, return_index=True)
    if len(chains):
        sums[chains] = np.add.reduceat(each[e.kind] * e.count[:, None], start, axis=0)
    return sums


def _largest(words: Floats, e: Arrangements, r: Arrangements) -> Floats:
    """Every chain has a piece, so none is left out."""
    each = np.maximum.reduceat(words[:, r.kind], np.unique(r.chain, return_index=True)[1], axis=1)
    return np.asarray(
        np.maximum.reduceat(each[e.kind], np.unique(e.chain, return_index=True)[1], axis=0)
    )
