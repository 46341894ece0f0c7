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


BLOCK = 1024  # places whose words stream by at once; they fit the processor's cache
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
def bring(words: Floats, step: int, place: Sums) -> int:
    """Words so far from each other, side by side; how many are poison."""
    lost = 0
    for i in range(len(place)):
        value = words[i * step]
        there = value == value
        place[i] = value if there else 0
        lost += not there
    return lost


@kernel
def lay_out(
    base: int, planes: Ints, width: int, top: int, bottom: int, left: int, right: int, step: int,
    data: Floats, frame: Sums,
) -> int:  # fmt: skip
    """Words of an ifmap so wide into a ``frame`` [planes, rows, phases, columns], those in a row
    side by side that are a ``step`` apart: those from ``top`` to ``bottom`` and ``left`` to
    ``right``, and padding around them; how many are poison.
    """
    lost = 0
    for p in range(len(planes)):
        for h in range(frame.shape[1]):
            for phase in range(step):
                place = frame[p, h, phase]
                place[:] = 0
                first, end = -((phase - left) // step), -((phase - right) // step)
                if top <= h < bottom and first < end:
                    words = data[base + planes[p] + h * width + phase + first * step :]
                    there = place[first:end]
                    lost += bring(words, 1, there) if step == 1 else bring(words, step, there)
    return lost


# -- MACs ------------------------------------------------------------------------------------------


@kernel
def add_products(held: Sums, row: int, x0: Sums, x1: Sums, x2: Sums, x3: Sums, sums: Sums) -> None:
    """Every MAC by itself, in one row of PEs: a word that is held meets each word of its stream,
    and every product is added to a sum of its own.
    """
    w0, w1, w2, w3 = held[0, row], held[1, row], held[2, row], held[3, row]
    for i in range(len(sums)):
        sums[i] += w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i]


@kernel
def add_products_twice(
    held: Sums, row: int, x0: Sums, x1: Sums, x2: Sums, x3: Sums, sums: Sums, others: Sums
) -> None:
    """The same in this row and the next, which take a word of the stream together."""
    v0, v1, v2, v3 = held[0, row], held[1, row], held[2, row], held[3, row]
    w0, w1, w2, w3 = held[0, row + 1], held[1, row + 1], held[2, row + 1], held[3, row + 1]
    for i in range(len(sums)):
        a, b, c, d = x0[i], x1[i], x2[i], x3[i]
        sums[i] += v0 * a + v1 * b + v2 * c + v3 * d
        others[i] += w0 * a + w1 * b + w2 * c + w3 * d


@kernel
def multiply_add(held: Sums, words: Sums, at: Ints, runs: Ints, sums: Sums) -> None:
    """All MACs: words that are held meet their streams, four streams at a time.

    held    [groups, streams, rows]  streams rounded up to fours
    words   [groups, words]          where streams come from: of stream k
    at      [streams]                its first word lies so far from where a run begins
    runs    [runs, 3]                where a run begins, the place of its first sum, and how long
    sums    [groups, rows, places]   added to
    """
    groups, streams, rows = held.shape
    for g in range(groups):
        for begin, first, n in runs:
            for k in range(0, streams, 4):
                four = held[g, k : k + 4]
                x0, x1 = words[g, begin + at[k] :], words[g, begin + at[k + 1] :]
                x2, x3 = words[g, begin + at[k + 2] :], words[g, begin + at[k + 3] :]
                for row in range(0, rows - 1, 2):
                    one, other = (
                        sums[g, row, first : first + n],
                        sums[g, row + 1, first : first + n],
                    )
                    add_products_twice(four, row, x0, x1, x2, x3, one, other)
                if rows % 2:
                    one = sums[g, rows - 1, first : first + n]
                    add_products(four, rows - 1, x0, x1, x2, x3, one)


@kernel
def pick(sums: Sums, places: Ints, picked: Sums) -> None:
    """Of sums [groups, rows, places] those of pixels: where pixels in a row begin, the first of
    them, and how many, are told by ``places`` [runs, 3].
    """
    for g in range(len(sums)):
        for row in range(sums.shape[1]):
            for begin, first, n in places:
                there, here = sums[g, row, begin:], picked[g, row, first : first + n]
                for i in range(n):
                    here[i] = there[i]


def _multiplied(held: Sums, words: Sums) -> Sums:
    """Sums [groups, rows, places] of ``held`` [groups, streams, rows] and streams that lie side by
    side, ``words`` [groups, streams, places].
    """
    groups, streams, places = words.shape
    sums = np.zeros((groups, held.shape[2], places), words.dtype)
    held = np.pad(held, ((0, 0), (0, -held.shape[1] % 4), (0, 0)))
    at, runs = _side_by_side(held.shape[1], streams, places)
    multiply_add(held, words.reshape(groups, -1), at, runs, sums)
    return sums


@lru_cache(maxsize=64)
def _side_by_side(held: int, streams: int, places: int) -> tuple[Ints, Ints]:
    """Where streams are that lie one after another: ``at`` and ``runs`` of ``multiply_add``."""
    return np.minimum(np.arange(held), streams - 1) * places, np.array([[0, 0, places]])


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
    ``frame``    of a group's ifmap, as windows see it, padding included: [planes, rows, columns
                 that are equal modulo the stride, of each of those]: words that neighbouring
                 windows want are neighbours
    ``tap``      [taps]: how far a tap's word lies from the first of its window, in the frame
    ``window``   [pixels]: where that first one lies
    ``runs``     [runs, 3]: where windows in a row begin, the place of the first one's sum, and how
                 many places; some lie between pixels, and their sums belong to none
    ``places``   [runs, 3]: where pixels in a row stand among the places, the first of them, and how
                 many
    """

    first: dict[str, int]
    size: dict[str, int]
    weight: tuple[Ints, Ints]
    ofmap: Ints
    pixels: Ints
    planes: Ints
    frame: tuple[int, int, int, int]
    tap: Ints
    window: Ints
    runs: Ints
    places: Ints

    @cached_property
    def fours(self) -> Ints:
        """Taps rounded up to fours."""
        return np.pad(self.tap, (0, -len(self.tap) % 4))

    def blocks(self, groups: int) -> Iterator[slice]:
        """Pixels, so many that their words may be laid out by tap and pixel."""
        n = max(1, COLUMN_WORDS // (groups * len(self.tap)))
        return (slice(i, i + n) for i in range(0, len(self.window), n))


class MacBoxes:
    """The boxes of a nest.

    ``chains``  name and parts of each
    ``dtype``   of the sums
    ``steps``   of boxes so far, by their shape
    ``rooms``   for words and sums of a box, by what they are and their shape: the next such box has
                them again
    """

    def __init__(self, nest: Nest) -> None:
        self.problem, self.chains = nest.problem, [(c.name, c.parts) for c in nest.chains]
        self.dtype = np.dtype(np.int32 if nest.arch.bits.psum <= 32 else np.int64)
        self.steps: dict[Any, _MacSteps] = {}
        self.rooms: dict[tuple[str, tuple[int, ...]], Sums] = {}

    def products(self, spans: dict[str, Span], read: Read) -> tuple[WordSet, Sums]:
        """Words of the accumulated tensor and what one box of the iteration space adds to them,
        [rows, words of a row], as long as no other box is asked for; operands are ``read``.
        """
        shape = tuple([x.shape for x in spans.values()])
        if shape not in self.steps:
            self.steps[shape] = self._steps(spans)
        box = _MacBox(self, spans, self.steps[shape], read)
        direction = self.problem.direction
        if direction == "forward":
            return box.forward()
        return box.grad_weight() if direction == "grad_weight" else box.grad_input()

    def room(self, what: str, *shape: int) -> Sums:
        """Room for words or sums, with whatever was there before."""
        room = self.rooms.get((what, shape))
        if room is None:
            room = self.rooms[what, shape] = np.empty(shape, self.dtype)
        return room

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
        frame = size["N"] * size["C"], rows, right, -(-columns // right)
        apart, phase = np.divmod(at["S"] * p.dilation[1], right)
        tap = (
            (at["C"] * rows + at["R"] * p.dilation[0]) * prod(frame[2:]) + phase * frame[3] + apart
        )
        window = (at["N"] * size["C"] * rows + at["E"] * down) * prod(frame[2:]) + at["F"]
        order = np.argsort(window, kind="stable")
        runs, places = _runs(window[order], size["F"] // 4)
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
            frame=frame,
            tap=tap,
            window=window[order],
            runs=runs,
            places=places,
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


def _runs(window: Ints, gap: int) -> tuple[Ints, Ints]:
    """``runs`` and ``places`` of windows, sorted, if gaps of so many are no end of a run."""
    step = np.diff(window, prepend=window[0] - gap - 2)
    place = np.cumsum(np.where(step > gap + 1, 1, step)) - 1
    begin = np.flatnonzero((step > gap + 1) | (np.diff(place // BLOCK, prepend=-1) > 0))
    many = np.diff(place[begin], append=place[-1] + 1)
    first = np.flatnonzero(np.diff(place, prepend=-2) > 1)
    n = np.diff(first, append=len(window))
    runs = np.stack([window[begin], place[begin], many], axis=1)
    return runs, np.stack([place[first], first, n], axis=1)


class _MacBox:
    """One box, and the words its MACs read.

    ``at``      by dimension: its first coordinate
    ``groups``, ``filters``   how many of them
    """

    def __init__(
        self, boxes: MacBoxes, spans: dict[str, Span], steps: _MacSteps, read: Read
    ) -> None:
        self.problem, self.dtype, self.steps, self.read = boxes.problem, boxes.dtype, steps, read
        self.room = boxes.room
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
        p, at, (_, rows, phases, columns), first, sides = (
            self.problem, self.at, self.steps.frame, [], [],
        )  # fmt: skip
        for out, filt, size, ends in zip(
            "EF", "RS", (rows, phases * columns), real or ((0, p.H), (0, p.W)), strict=True
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
        words = self.room("weight", self.groups, taps, self.filters)
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
        frame = self.room("ifmap", len(planes), *self.steps.frame[1:])
        top, bottom, left, right = sides
        step = self.steps.frame[2]
        lost = lay_out(base, planes, self.problem.W, top, bottom, left, right, step, data, frame)
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
            sums = np.array(sums, np.float64)
            sums[multiply(flags[0], np.ones_like(b)) > 0] = np.nan
            sums[multiply(np.ones_like(a), flags[1]) > 0] = np.nan
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
        weight[:, len(steps.tap) :] = 0
        _, place, n = steps.runs[-1]
        ofmap = self.room("sums", self.groups, self.filters, int(place + n))
        ofmap[:] = 0
        multiply_add(weight, ifmap, steps.fours, steps.runs, ofmap)
        picked = self.room("ofmap", self.groups, self.filters, pixels)
        pick(ofmap, steps.places, picked)
        return picked

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
        planes, (_, _, phases, columns) = self.steps.planes, self.steps.frame
        pixels = len(self.steps.window)
        tap, pixel = (
            np.ones((self.groups, *x), self.dtype) for x in ((len(self.steps.tap), 1), (1, pixels))
        )
        there = self._windows(tap, pixel) > 0
        at = np.arange(columns) * phases + np.arange(phases)[:, None]
        there[:, :top] = there[:, bottom:] = False
        there[:, :, (at < left) | (at >= right)] = False
        plane, h, phase, column = np.nonzero(there)
        words = base + planes[plane] + h * self.problem.W + at[phase, column]
        order = np.argsort(words)
        return runs_of(words[order]), self._sums(self._windows)[there][order][None]

    def _windows(self, weight: Sums, ofmap: Sums) -> Sums:
        """Sums in the frame: weights are held, and words of the ofmap
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
