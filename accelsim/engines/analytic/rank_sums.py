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

This page says which sums are wanted; ``piece_classes`` adds them up, in a time that does not grow
with the ranges.  A table is a description without tiles (``ChainSums``, ``SlideSums``,
``FormulaSums``): what is summed and how each loop is looked at.  ``of`` works it out for one choice
of tiles or for many: ``closed_form`` asks for one nest's, the mapper for a whole space's.  For one
chain with its tiles there are ``plain``, ``irrelevant`` and ``sliding``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic import piece_classes
from accelsim.engines.analytic.chain_positions import TileChain
from accelsim.engines.analytic.piece_classes import (
    ADVANCES,
    FIRST,
    GROUPS,
    HELD,
    KEPT,
    LEFT,
    RESTARTS,
    SHARES,
    STANDS,
    WORKS,
)
from accelsim.workload.problem import Slide

Ints = npt.NDArray[np.int64]
ChainRows = Mapping[str, Ints]  # chain -> tiles [choices, loops of the chain], nest order
LETTERS = "SOUKXYL"
BLOCK = 128  # output chains whose arrangements meet those of taps at once
FEW = 8  # choices of which it does not pay to look for equal ones
EXACT = 1 << 53


# What is summed -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cuts:
    """A chain's loops above a boundary, without their tiles.

    ``sizes``  of each part of the chain, uncut
    ``parts``  which part each loop cuts, outermost first; -1: the fused whole
    ``modes``  how each loop is looked at: ``piece_classes`` lists the ways
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
        """``[choices, 4]``: HELD, KEPT, LEFT and WORKS of ``piece_classes.chain_sums``."""
        return chain_table(self.cuts, tiles[self.chain][:, self.reads])


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
        return slide_table(self.slide, self.e, self.r, e, r)


@dataclass(frozen=True)
class FormulaSums:
    """A column worked out by a formula of its own; ``name`` is what makes it equal to another."""

    chains: tuple[str, ...]
    name: tuple[object, ...]
    formula: Callable[[ChainRows], Ints] = field(compare=False, repr=False)

    def of(self, tiles: ChainRows) -> Ints:
        """``[choices, 1]``."""
        return self.formula(tiles)[:, None]


def plain_column(which: str) -> int:
    """Where a plain rank has a sum: pieces of different instances are disjoint, so a group's union
    is its sum (U = S, K = L = Y = O).
    """
    return {"S": HELD, "U": HELD, "X": LEFT}.get(which, KEPT)


# Tables -------------------------------------------------------------------------------------------


def chain_table(cuts: Cuts, tiles: Ints) -> Ints:
    """A chain's sums for many choices ``[choices, loops]`` of tiles; ``[choices, 4]``.

    Raises OverflowError where the chain itself has 2^53 positions: no sum is larger.
    """
    if prod(cuts.sizes) >= EXACT:
        raise OverflowError("a count may pass 2^53 words; float64 would not be exact")
    different, rows = _different(tiles)
    sums = piece_classes.chain_sums(
        np.array(cuts.sizes, np.int64),
        np.array(cuts.parts, np.int64),
        different,
        np.array(cuts.modes, np.int64),
    )
    return np.asarray(sums[rows])


def slide_table(slide: Slide, e: Cuts, r: Cuts, e_tiles: Ints, r_tiles: Ints) -> Ints:
    """A sliding rank's seven sums for many choices of both chains' tiles, ``[choices, loops]``
    each; ``[choices, 7]``.
    """
    if _one_tap(slide, e, r):
        return _as_plain(r, chain_table(e, e_tiles))
    return _met(slide, e, r, e_tiles, r_tiles, largest=False)


def slide_largest(slide: Slide, e: Cuts, r: Cuts, e_tiles: Ints, r_tiles: Ints) -> Ints:
    """Most words any piece of a sliding rank touches, ``[choices]``: ``footprint.sliding_words``
    for many choices.  Every loop is looked at as one over instances that share nothing.
    """
    return np.asarray(_met(slide, e, r, e_tiles, r_tiles, largest=True)[:, 0])


def _different(tiles: Ints) -> tuple[Ints, Ints]:
    """Different rows of tiles, and which of them each row is."""
    if len(tiles) <= FEW:
        return np.ascontiguousarray(tiles), np.arange(len(tiles))
    code = np.zeros(len(tiles), np.int64)
    for column in tiles.T:  # a row as one number, made small again before it overflows
        radix = int(column.max()) + 1
        if int(code.max()) >= (1 << 62) // radix:
            code = np.unique(code, return_inverse=True)[1].reshape(-1)
        code = code * radix + column
    _, first, rows = np.unique(code, return_index=True, return_inverse=True)
    return np.ascontiguousarray(tiles[first]), rows.reshape(-1)


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


def _arrangements(cuts: Cuts, tiles: Ints, free: tuple[int, int]) -> Arrangements:
    """The arrangements of chains; ``tiles`` [chains, loops].  Those within the coordinates ``free``
    [from, to) may be moved to its beginning: nothing there tells one place from another.
    """
    ways = np.array(cuts.modes, np.int64)
    known: dict[bytes, int] = {}
    kinds: list[Ints] = []
    begins, entries = [0], []
    for row in tiles:
        ranges, heads = piece_classes.arrangements(cuts.sizes[0], row, ways, *free)
        for members, (count, *_, often) in zip(ranges, heads.tolist(), strict=True):
            kind = known.setdefault(members[:count].tobytes(), len(kinds))
            if kind == len(kinds):
                kinds.append(members[:count])
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


def _out_of_reach(slide: Slide, out: int, filt: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Outputs [from, to) whose windows meet no padding; and taps, all or none of them."""
    first = max(-(-slide.pad // slide.stride), 0)
    last = (slide.size + slide.pad - slide.dilation * (filt - 1) - 1) // slide.stride
    reach = slide.stride * (out - 1) + slide.dilation * (filt - 1) - slide.pad
    return (first, last + 1), (0, filt) if slide.pad <= 0 and reach < slide.size else (1, 0)


def _met(slide: Slide, e: Cuts, r: Cuts, e_tiles: Ints, r_tiles: Ints, *, largest: bool) -> Ints:
    """What the arrangements of outputs and of taps sum when they meet, by choice ``[choices, 7]``:
    added up over all of a choice's, or the largest.  Some output chains at a time.
    """
    (e_tiles, e_rows), (r_tiles, r_rows) = _different(e_tiles), _different(r_tiles)
    numbers = np.array([slide.stride, slide.dilation, slide.pad, slide.size], np.int64)
    free = _out_of_reach(slide, e.sizes[0], r.sizes[0])
    taps = _arrangements(r, r_tiles, free[1])
    sums = np.zeros((len(e_rows), len(LETTERS)), np.int64)
    for start in range(0, len(e_tiles), BLOCK):
        outs = _arrangements(e, e_tiles[start : start + BLOCK], free[0])
        words = piece_classes.slide_sums(
            numbers, outs.ranges, outs.members, taps.ranges, taps.members
        )
        chosen = np.flatnonzero((e_rows >= start) & (e_rows < start + BLOCK))
        sums[chosen] = piece_classes.met(
            words,
            outs.begins,
            outs.entries,
            taps.begins,
            taps.entries,
            e_rows[chosen] - start,
            r_rows[chosen],
            largest,
        )
    return sums


# One chain with its tiles -------------------------------------------------------------------------


@dataclass(frozen=True)
class Sums:
    """The seven sums of this page: S, O over instances; U, K, X, Y, L over sharing groups."""

    S: int
    O: int  # noqa: E741
    U: int
    K: int
    X: int
    Y: int
    L: int


def plain(line: TileChain, outside: int, own: bool) -> Sums:
    """A rank of one chain the tensor depends on.  Where k is the chain's own, nothing is kept."""
    sums = chain_table(*_tables_words(line, outside, own))[0].tolist()
    return Sums(*[sums[plain_column(which)] for which in LETTERS])


def irrelevant(line: TileChain, outside: int, own: bool) -> Sums:
    """A chain the tensor does not depend on: active (position, instance) pairs for S and O, active
    (position, group) pairs for the rest.  An idle instance skips the step (rule 3).
    """
    pairs, groups = (
        int(chain_table(*_tables_words(line, outside, own, merged=merged))[0, WORKS])
        for merged in (True, False)
    )
    return Sums(pairs, pairs, groups, groups, groups, groups, groups)


def sliding(slide: Slide, e: TileChain, r: TileChain, outside: tuple[int, int], own: str) -> Sums:
    """A rank of two chains that slides; ``own`` is ``e``, ``r`` or nothing."""
    (outs, e_tiles), (taps, r_tiles) = (
        _tables_words(line, stand, own == letter)
        for line, stand, letter in zip((e, r), outside, "er", strict=True)
    )
    return Sums(*slide_table(slide, outs, taps, e_tiles, r_tiles)[0].tolist())


def _tables_words(
    line: TileChain, outside: int, own: bool, *, merged: bool = True
) -> tuple[Cuts, Ints]:
    """A chain as tables have it: its loops, and one row of tiles."""
    parts, tiles, kinds = zip(*line.loops, strict=True) if line.loops else ((), (), ())
    ways = modes(kinds, outside, own, merged=merged)
    return Cuts(line.sizes, tuple(parts), ways), np.array([tiles], np.int64)


__all__ = [
    "ChainRows",
    "ChainSums",
    "Cuts",
    "FormulaSums",
    "SlideSums",
    "Sums",
    "TileChain",
    "chain_table",
    "irrelevant",
    "modes",
    "plain",
    "plain_column",
    "slide_largest",
    "slide_table",
    "sliding",
]
