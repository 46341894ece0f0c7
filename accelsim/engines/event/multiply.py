"""The arithmetic of one pass: every MAC of a box of the iteration space by itself, on held words.

A box is what one cluster of PEs works through while the buffers stand still: ranges of plain
dimensions, chunks of fused ones.  A *tap* is one (c, r, s) of it, a *pixel* one (n, e, f); pixels
that follow each other in f are a *run*.  A tap and a pixel meet at one word of the ifmap, so the
three directions are one triple of arrays (section 2), and one product a MAC:

    weight [g, tap, m]    ifmap [g, pixel and tap]    ofmap [g, m, pixel]
    forward: ofmap += weight * ifmap       grad_weight: weight += ofmap * ifmap
    grad_input: ifmap += weight * ofmap

The machine says where words are read from (``Read``) and adds the sums where they belong.  Sums
have the accumulator's own width, int32 or int64, and wrap as it does; poison (NaN) is no such
number, so where a box has some, which sums it spreads to is worked out beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.event.word_sets import WordSet, digits, runs_of
from accelsim.mapping.nest import Nest

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[Any]  # int32 or int64; float64 where some are poison
Window = tuple[tuple[int, int], tuple[int, int]]  # rows and columns of the ifmap
# The words of a tensor as the MACs find them, [words], and which of an ifmap's they may read: all,
# or those in a window; padding zeros around it are made at the MAC.
Read = Callable[[str], tuple[Floats, Window | None]]


@dataclass(frozen=True)
class Span:
    """Ranges [lo, hi) of a chain's parts in a pass, the chunk [first, last) of their points where
    they are fused, and whether there is anything at all.
    """

    lo: dict[str, int]
    hi: dict[str, int]
    chunk: tuple[int, int] | None
    exists: bool

    @cached_property
    def shape(self) -> tuple[Any, ...]:
        """Equal where ranges are as long, and chunks the same."""
        return *(self.hi[p] - n for p, n in self.lo.items()), self.chunk


BLOCK = 2048  # pixels whose words stream by at once; they fit the processor's cache
COLUMN_WORDS = 1 << 20  # words that are laid out by tap and pixel at once

# -- words as the MACs want them -------------------------------------------------------------------


@kernel
def gather(base: int, rows: Ints, columns: Ints, data: Floats, words: Sums) -> int:
    """Words [groups, rows, columns] from where they lie; how many of them are poison."""
    lost = 0
    for g in range(len(rows)):
        for i in range(rows.shape[1]):
            for j in range(len(columns)):
                value = data[base + rows[g, i] + columns[j]]
                there = value == value
                words[g, i, j] = value if there else 0
                lost += not there
    return lost


@kernel
def lay_out(
    base: int, planes: Ints, width: int, top: int, bottom: int, left: int, right: int,
    data: Floats, frame: Sums,
) -> int:  # fmt: skip
    """Words of an ifmap so wide into a ``frame`` [planes, rows, columns]: those from ``top`` to
    ``bottom`` and ``left`` to ``right``, and padding around them; how many are poison.
    """
    lost = 0
    for p in range(len(planes)):
        for h in range(frame.shape[1]):
            line = frame[p, h]
            line[:] = 0
            if top <= h < bottom:
                place = line[left:right]
                words = data[base + planes[p] + h * width + left :]
                for w in range(len(place)):
                    value = words[w]
                    there = value == value
                    place[w] = value if there else 0
                    lost += not there
    return lost


# -- MACs ------------------------------------------------------------------------------------------


@kernel
def bring(words: Sums, run: Ints, step: int, stream: Sums) -> None:
    """The words of a stream, from where they lie."""
    for begin, first, n in run:
        place, word = stream[first - run[0, 1] :], words[begin:]
        for i in range(n):
            place[i] = word[i * step]


@kernel
def add_products(held: Sums, row: int, stream: Sums, sums: Sums) -> None:
    """Every MAC by itself, in one row of PEs: a word that is held meets each word of its stream,
    and every product is added to a sum of its own.
    """
    w0, w1, w2, w3 = held[0, row], held[1, row], held[2, row], held[3, row]
    x0, x1, x2, x3 = stream[0], stream[1], stream[2], stream[3]
    for i in range(len(sums)):
        sums[i] += w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i]


@kernel
def add_products_twice(held: Sums, row: int, stream: Sums, sums: Sums, others: Sums) -> None:
    """The same in this row and the next, which take a word of the stream together."""
    v0, v1, v2, v3 = held[0, row], held[1, row], held[2, row], held[3, row]
    w0, w1, w2, w3 = held[0, row + 1], held[1, row + 1], held[2, row + 1], held[3, row + 1]
    x0, x1, x2, x3 = stream[0], stream[1], stream[2], stream[3]
    for i in range(len(sums)):
        x, y, z, last = x0[i], x1[i], x2[i], x3[i]
        sums[i] += v0 * x + v1 * y + v2 * z + v3 * last
        others[i] += w0 * x + w1 * y + w2 * z + w3 * last


@kernel
def multiply_add(
    held: Sums, words: Sums, at: Ints, run: Ints, step: int, stream: Sums, sums: Sums
) -> None:
    """All MACs: words that are held meet their streams, four streams at a time.

    held    [groups, streams, rows]  streams rounded up to fours
    words   [groups, words]          where streams come from: of stream k
    at      [streams]                its first word lies so far from where a run begins
    run     [runs, 3]                where a run begins, its place in the stream, how many words
    step                             how far from each other words of a run lie
    stream  [4, words]               room for four streams
    sums    [groups, rows, places]   added to
    """
    groups, _, rows = held.shape
    first, last = run[0, 1], run[len(run) - 1, 1] + run[len(run) - 1, 2]
    for g in range(groups):
        for k in range(0, len(at), 4):
            for j in range(4):
                if k + j < len(at):
                    bring(words[g, at[k + j] :], run, step, stream[j])
                else:
                    stream[j, :] = 0
            four = held[g, k : k + 4]
            for row in range(0, rows - 1, 2):
                one, other = sums[g, row, first:last], sums[g, row + 1, first:last]
                add_products_twice(four, row, stream, one, other)
            if rows % 2:
                add_products(four, rows - 1, stream, sums[g, rows - 1, first:last])


def _fours(words: Sums) -> Sums:
    """Words held [groups, streams, rows], streams rounded up to fours."""
    return np.pad(words, ((0, 0), (0, -words.shape[1] % 4), (0, 0)))


def _multiplied(held: Sums, words: Sums) -> Sums:
    """Sums [groups, rows, places] of ``held`` [groups, streams, rows] and streams that lie side by
    side, ``words`` [groups, streams, places].
    """
    groups, streams, places = words.shape
    sums = np.zeros((groups, held.shape[2], places), words.dtype)
    room = np.empty((4, places), words.dtype)
    at, run = _side_by_side(min(streams, held.shape[1]), places)
    multiply_add(_fours(held), words.reshape(groups, -1), at, run, 1, room, sums)
    return sums


@lru_cache(maxsize=64)
def _side_by_side(streams: int, places: int) -> tuple[Ints, Ints]:
    """Where streams are that lie one after another: ``at`` and ``run`` of ``multiply_add``."""
    return np.arange(streams) * places, np.array([[0, 0, places]])


# -- a box -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MacSteps:
    """Taps and pixels of a box, the same for boxes of one shape; addresses are less that of the
    first tap, filter and pixel.

    ``first``    by dimension: its first coordinate, less ``lo`` of its span
    ``size``     by dimension: how many coordinates from there
    ``weight``   [groups, taps] and [m]: weights
    ``ofmap``    [groups, m]: rows of the ofmap;  ``pixels`` [runs, 2] of it: where pixels in a
                 row begin, and how many
    ``planes``   [groups x n x c]: planes of the ifmap
    ``frame``    of a group's ifmap, as windows see it, padding included: [planes, rows, columns]
    ``tap``      [taps]: how far a tap's word lies from the first of its window, in the frame
    ``window``   [pixels]: where that first one lies
    ``runs``     pixels that follow each other, block by block: where the first window lies, the
                 first pixel, and how many pixels there are
    ``room``     pixels of the largest block
    """

    first: dict[str, int]
    size: dict[str, int]
    weight: tuple[Ints, Ints]
    ofmap: Ints
    pixels: Ints
    planes: Ints
    frame: tuple[int, int, int]
    tap: Ints
    window: Ints
    runs: tuple[Ints, ...]
    room: int

    def blocks(self, groups: int) -> Iterator[slice]:
        """Pixels, so many that their words may be laid out by tap and pixel."""
        n = max(1, COLUMN_WORDS // (groups * len(self.tap)))
        return (slice(i, i + n) for i in range(0, len(self.window), n))


class MacBoxes:
    """The boxes of a nest.

    ``chains``  name and parts of each
    ``dtype``   of the sums
    ``steps``   of boxes so far, by their shape
    """

    def __init__(self, nest: Nest) -> None:
        self.problem, self.chains = nest.problem, [(c.name, c.parts) for c in nest.chains]
        self.dtype = np.dtype(np.int32 if nest.arch.bits.psum <= 32 else np.int64)
        self.steps: dict[Any, _MacSteps] = {}

    def products(self, spans: dict[str, Span], read: Read) -> tuple[WordSet, Sums]:
        """Words of the accumulated tensor and what one box of the iteration space adds to them,
        [rows, words of a row]; operands are ``read``.
        """
        shape = tuple([x.shape for x in spans.values()])
        if shape not in self.steps:
            self.steps[shape] = self._steps(spans)
        box = _MacBox(self, spans, self.steps[shape], read)
        direction = self.problem.direction
        if direction == "forward":
            return box.forward()
        return box.grad_weight() if direction == "grad_weight" else box.grad_input()

    def _steps(self, spans: dict[str, Span]) -> _MacSteps:
        p, (down, right) = self.problem, self.problem.stride
        at = self._points(spans, "CRS") | self._points(spans, "NEF") | self._points(spans, "GM")
        first = {d: int(x.min()) for d, x in at.items()}
        at = {d: x - first[d] for d, x in at.items()}
        size = {d: int(x.max()) + 1 for d, x in at.items()}
        rows, columns = (
            u * (size[out] - 1) + dilation * (size[filt] - 1) + 1
            for u, dilation, out, filt in zip(p.stride, p.dilation, "EF", "RS", strict=True)
        )
        n, g, m, c = (np.arange(size[d]) for d in "NGMC")
        tap = (at["C"] * rows + at["R"] * p.dilation[0]) * columns + at["S"] * p.dilation[1]
        window = (at["N"] * size["C"] * rows + at["E"] * down) * columns + at["F"] * right
        order = np.argsort(window, kind="stable")
        window = window[order]
        begin = np.flatnonzero(np.diff(window, prepend=-1 - right) != right)
        run = np.stack([window[begin], begin, np.diff(begin, append=len(window))], axis=1)
        runs = tuple(np.split(run, np.flatnonzero(np.diff(begin // BLOCK)) + 1))
        weight = (at["C"] * p.R + at["R"]) * p.S + at["S"]
        ofmap = (at["N"] * p.G * p.M * p.E + at["E"]) * p.F + at["F"]
        return _MacSteps(
            first=first,
            size=size,
            weight=(g[:, None] * p.M * p.C * p.R * p.S + weight, m * p.C * p.R * p.S),
            ofmap=((g[:, None] * p.M + m) * p.E * p.F).ravel(),
            pixels=runs_of(ofmap[order]).runs,
            planes=(
                ((n[:, None] * p.G + g[:, None, None])[..., None] * p.C + c) * p.H * p.W
            ).ravel(),
            frame=(size["N"] * size["C"], rows, columns),
            tap=tap,
            window=window,
            runs=runs,
            room=max(int(x[:, 2].sum()) for x in runs),
        )

    def _points(self, spans: dict[str, Span], dims: str) -> dict[str, Ints]:
        """Coordinates of the points of a box in some dimensions, less ``lo``: [points] each."""
        at: dict[str, Ints] = {}
        n = 1
        for name, parts in self.chains:
            if parts[0] in dims:
                x = spans[name]
                sizes = [x.hi[p] - x.lo[p] for p in parts]
                own = np.arange(*(x.chunk or (0, prod(sizes))))
                at = {d: np.repeat(old, len(own)) for d, old in at.items()}
                new = dict(zip(parts, digits(own, sizes), strict=True))
                at |= {d: np.tile(x, n) for d, x in new.items()}
                n *= len(own)
        return at


class _MacBox:
    """One box, and the words its MACs read.

    ``at``      by dimension: its first coordinate
    ``groups``, ``filters``   how many of them
    """

    def __init__(
        self, boxes: MacBoxes, spans: dict[str, Span], steps: _MacSteps, read: Read
    ) -> None:
        self.problem, self.dtype, self.steps, self.read = boxes.problem, boxes.dtype, steps, read
        first = steps.first
        self.at = {d: n + first[d] for x in spans.values() for d, n in x.lo.items()}
        self.groups, self.filters = steps.size["G"], steps.size["M"]

    # where words lie

    def _weights(self) -> int:
        """The address of the first weight."""
        p, at = self.problem, self.at
        first = (at["G"] * p.M + at["M"]) * p.C + at["C"]
        return (first * p.R + at["R"]) * p.S + at["S"]

    def _ofmaps(self) -> WordSet:
        """Words of the ofmap: rows [groups, m], in a row pixels."""
        p, at = self.problem, self.at
        first = (at["N"] * p.G + at["G"]) * p.M + at["M"]
        first = (first * p.E + at["E"]) * p.F + at["F"]
        return WordSet(self.steps.pixels, first, self.steps.ofmap)

    def _frame(self, real: Window | None) -> tuple[int, list[int]]:
        """The address of the word that the frame begins with; and which of its rows and columns
        are ``real``: top, bottom, left, right.
        """
        p, at, first, sides = self.problem, self.at, [], []
        for out, filt, size, ends in zip(
            "EF", "RS", self.steps.frame[1:], real or ((0, p.H), (0, p.W)), strict=True
        ):
            slide = p.slide((out, filt))
            first.append(slide.stride * at[out] + slide.dilation * at[filt] - slide.pad)
            sides += [min(max(end - first[-1], 0), size) for end in ends]
        plane = (at["N"] * p.G + at["G"]) * p.C + at["C"]
        return (plane * p.H + first[0]) * p.W + first[1], sides

    # words as integers, and how many of them are poison

    def _weight(self, data: Floats, _: Window | None) -> tuple[Sums, int]:
        """[groups, taps, m], taps rounded up to fours."""
        rows, columns = self.steps.weight
        taps = rows.shape[1] + -rows.shape[1] % 4
        words = np.zeros((self.groups, taps, self.filters), self.dtype)
        return words, gather(self._weights(), rows, columns, data, words)

    def _ofmap(self, data: Floats, _: Window | None) -> tuple[Sums, int]:
        """[groups, m, pixels]."""
        place = self._ofmaps()
        columns = WordSet(place.runs).flat
        words = np.empty((self.groups, self.filters, len(columns)), self.dtype)
        rows = place.rows.reshape(words.shape[:2])
        return words, gather(place.by, rows, columns, data, words)

    def _ifmap(self, data: Floats, window: Window | None) -> tuple[Sums, int]:
        """[groups, words]: in a frame with its padding as zeros."""
        planes, (base, sides) = self.steps.planes, self._frame(window)
        frame = np.empty((len(planes), *self.steps.frame[1:]), self.dtype)
        top, bottom, left, right = sides
        lost = lay_out(base, planes, self.problem.W, top, bottom, left, right, data, frame)
        return frame.reshape(self.groups, -1), lost

    def _sums(self, multiply: Callable[[Sums, Sums], Sums]) -> Sums:
        """The sums of both operands; NaN where a word that is poison has a part, which is told by
        ones that go the same way.
        """
        own = {"weight": self._weight, "ifmap": self._ifmap, "ofmap": self._ofmap}
        (a, no_a), (b, no_b) = (own[t](*self.read(t)) for t in self.problem.operands)
        sums = multiply(a, b)
        if no_a or no_b:
            flags = []
            for t in self.problem.operands:
                data, window = self.read(t)
                flags.append(own[t](np.isnan(data).astype(np.float32), window)[0])
            spread = multiply(flags[0], np.ones_like(b)) + multiply(np.ones_like(a), flags[1])
            sums = np.where(spread > 0, np.nan, sums)
        return sums

    # the three directions

    def forward(self) -> tuple[WordSet, Sums]:
        """A sum takes in all taps of its filter, and its pixel's word of each."""
        ofmap = self._sums(self._rows)
        return self._ofmaps(), ofmap.reshape(-1, ofmap.shape[-1])

    def _rows(self, weight: Sums, ifmap: Sums) -> Sums:
        """Sums [groups, m, pixels]: weights are held, and words of the ifmap stream by; or where
        filters are more than pixels, the other way round.
        """
        steps, pixels = self.steps, len(self.steps.window)
        if self.filters > pixels:
            columns = np.take(ifmap, steps.tap[:, None] + steps.window, axis=1)
            return np.ascontiguousarray(_multiplied(columns, weight).swapaxes(1, 2))
        ofmap = np.zeros((self.groups, self.filters, pixels), self.dtype)
        stream = np.empty((4, steps.room), self.dtype)
        for run in steps.runs:
            step = self.problem.stride[1]
            multiply_add(weight, ifmap, steps.tap, run, step, stream, ofmap)
        return ofmap

    def grad_weight(self) -> tuple[WordSet, Sums]:
        """A sum takes in all pixels of its filter, and its tap's word of each."""
        weight = self._sums(self._taps)
        rows, columns = self.steps.weight
        runs = np.stack([columns, np.ones_like(columns)], axis=1)
        words = WordSet(runs, self._weights(), rows.ravel())
        return words, weight.reshape(-1, self.filters)

    def _taps(self, ifmap: Sums, ofmap: Sums) -> Sums:
        """Sums [groups, taps, m]: words of the ifmap are held, and those of the ofmap stream by."""
        steps = self.steps
        weight = np.zeros((self.groups, len(steps.tap), self.filters), self.dtype)
        for some in steps.blocks(self.groups):
            columns = np.take(ifmap, steps.window[some, None] + steps.tap, axis=1)
            weight += _multiplied(columns, np.ascontiguousarray(ofmap[:, :, some].swapaxes(1, 2)))
        return weight

    def grad_input(self) -> tuple[WordSet, Sums]:
        """A sum takes in all filters of some taps and pixels.  Of words that no window touches
        there is none: ones go the same way to tell.
        """
        base, (top, bottom, left, right) = self._frame(None)
        planes, pixels = self.steps.planes, len(self.steps.window)
        tap, pixel = (
            np.ones((self.groups, *x), self.dtype) for x in ((len(self.steps.tap), 1), (1, pixels))
        )
        there = self._windows(tap, pixel) > 0
        there[:, :top] = there[:, bottom:] = there[:, :, :left] = there[:, :, right:] = False
        plane, h, w = np.nonzero(there)
        words = base + planes[plane] + h * self.problem.W + w
        order = np.argsort(words)
        return runs_of(words[order]), self._sums(self._windows)[there][order][None]

    def _windows(self, weight: Sums, ofmap: Sums) -> Sums:
        """Sums in the frame, [planes, rows, columns]: weights are held, and words of the ofmap
        stream by; where windows overlap, their sums are added up.
        """
        steps = self.steps
        words = np.zeros((self.groups, prod(steps.frame)), self.dtype)
        held = np.ascontiguousarray(weight[:, : len(steps.tap)].swapaxes(1, 2))
        for some in steps.blocks(self.groups):
            columns = _multiplied(held, np.ascontiguousarray(ofmap[:, :, some]))
            for k, tap in enumerate(steps.tap):
                words[:, steps.window[some] + tap] += columns[:, k]
        return words.reshape(-1, *steps.frame[1:])
