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
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.event.word_sets import Place, digits
from accelsim.mapping.nest import Nest

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[Any]  # int32 or int64; float64 where some are poison
Flags = npt.NDArray[np.bool_]
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


BLOCK = 2048  # pixels whose words stream by at once; they fit the processor's cache
COLUMN_WORDS = 1 << 20  # words that are laid out by tap and pixel at once

# -- words as the MACs want them -------------------------------------------------------------------


@kernel
def gather(data: Floats, rows: Ints, columns: Ints, words: Sums, lost: Flags) -> int:
    """Words [rows, columns] from where they lie; poison is marked as ``lost``, and counted."""
    n = 0
    for i in range(len(rows)):
        for j in range(len(columns)):
            value = data[rows[i] + columns[j]]
            if value == value:
                words[i, j] = value
            else:
                words[i, j], lost[i, j] = 0, True
                n += 1
    return n


@kernel
def lay_out(
    data: Floats, planes: Ints, rows: Ints, columns: Ints, place: Ints, frame: Sums, lost: Flags
) -> int:
    """Words of an ifmap, [planes, rows, columns] and at those addresses if not below zero, which is
    padding, into a ``frame`` [planes, rows, places]; poison as in ``gather``.
    """
    n = 0
    for p in range(len(planes)):
        for h in range(len(rows)):
            for w in range(len(columns)):
                if rows[h] >= 0 and columns[w] >= 0:
                    value = data[planes[p] + rows[h] + columns[w]]
                    if value == value:
                        frame[p, h, place[w]] = value
                    else:
                        lost[p, h, place[w]] = True
                        n += 1
    return n


# -- MACs ------------------------------------------------------------------------------------------


@kernel
def bring(words: Sums, at: int, run: Ints, stream: Sums) -> None:
    """The words of a stream, from where they lie."""
    for begin, first, n in run:
        place, word = stream[first - run[0, 1] :], words[begin + at :]
        for i in range(n):
            place[i] = word[i]


@kernel
def multiply_add(held: Sums, words: Sums, at: Ints, run: Ints, stream: Sums, sums: Sums) -> None:
    """Every MAC by itself: a word that is held meets each word of its stream, and every product is
    added to a sum of its own; four streams at a time.

    held    [groups, streams, rows]
    words   [groups, words]          where streams come from: of stream k
    at      [streams]                its first word lies so far from where a run begins
    run     [runs, 3]                where a run begins, its place in the stream, how many words
    stream  [4, words]               room for four streams
    sums    [groups, rows, places]   added to
    """
    groups, streams, rows = held.shape
    first, last = run[0, 1], run[len(run) - 1, 1] + run[len(run) - 1, 2]
    x0, x1, x2, x3 = stream[0], stream[1], stream[2], stream[3]
    for g in range(groups):
        for k in range(0, streams, 4):
            some = min(4, streams - k)
            for j in range(some):
                bring(words[g], at[k + j], run, stream[j])
            for row in range(rows):
                out = sums[g, row, first:last]
                if some == 4:
                    w0, w1 = held[g, k, row], held[g, k + 1, row]
                    w2, w3 = held[g, k + 2, row], held[g, k + 3, row]
                    for i in range(len(out)):
                        out[i] += w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i]
                else:
                    for j in range(some):
                        w, x = held[g, k + j, row], stream[j]
                        for i in range(len(out)):
                            out[i] += w * x[i]


def _multiplied(held: Sums, words: Sums) -> Sums:
    """Sums [groups, rows, places] of ``held`` [groups, streams, rows] and streams that lie side by
    side, ``words`` [groups, streams, places].
    """
    groups, streams, places = words.shape
    sums = np.zeros((groups, held.shape[2], places), words.dtype)
    room = np.empty((4, places), words.dtype)
    multiply_add(held, words.reshape(groups, -1), *_side_by_side(streams, places), room, sums)
    return sums


@lru_cache(maxsize=64)
def _side_by_side(streams: int, places: int) -> tuple[Ints, Ints]:
    """Where streams are that lie one after another: ``at`` and ``run`` of ``multiply_add``."""
    return np.arange(streams) * places, np.array([[0, 0, places]])


# -- a box -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MacSteps:
    """Taps and pixels of a box, the same for boxes of one shape.

    ``first``    by dimension: its first coordinate, less ``lo`` of its span
    ``size``     by dimension: how many coordinates from there
    ``weight``   [taps]: address of each tap's weight, less the first one's
    ``ofmap``    [pixels]: of each pixel's word
    ``frame``    of a group's ifmap, as windows see it, padding included: [n, c, h, columns that are
                 equal modulo the stride, of each of those]: words that neighbouring windows want
                 are neighbours
    ``tap``      [taps]: how far a tap's word lies from the first of its window, in the frame
    ``window``   [pixels]: where that first one lies
    ``runs``     pixels whose windows are neighbours, block by block: where the first window lies,
                 the first pixel, and how many pixels there are
    ``room``     pixels of the largest block
    """

    first: dict[str, int]
    size: dict[str, int]
    weight: Ints
    ofmap: Ints
    frame: tuple[int, int, int, int, int]
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

    def products(self, spans: dict[str, Span], read: Read) -> tuple[Place, Sums]:
        """Sums of the accumulated tensor over one box of the iteration space, [rows, columns] of
        where they belong; operands are ``read``.
        """
        shape = tuple([(tuple(x.hi[p] - x.lo[p] for p in x.lo), x.chunk) for x in spans.values()])
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
        frame = size["N"], size["C"], rows, right, -(-columns // right)
        width = prod(frame[3:])
        apart, phase = np.divmod(at["S"] * p.dilation[1], right)
        tap = (at["C"] * rows + at["R"] * p.dilation[0]) * width + phase * frame[4] + apart
        window = (at["N"] * size["C"] * rows + at["E"] * down) * width + at["F"]
        order = np.argsort(window, kind="stable")
        window = window[order]
        begin = np.flatnonzero(np.diff(window, prepend=-2) != 1)
        run = np.stack([window[begin], begin, np.diff(begin, append=len(window))], axis=1)
        runs = tuple(np.split(run, np.flatnonzero(np.diff(begin // BLOCK)) + 1))
        weight = (at["C"] * p.R + at["R"]) * p.S + at["S"]
        ofmap = (at["N"] * p.G * p.M * p.E + at["E"]) * p.F + at["F"]
        room = max(int(x[:, 2].sum()) for x in runs)
        return _MacSteps(first, size, weight, ofmap[order], frame, tap, window, runs, room)

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
    ``planes``, ``rows``, ``columns``, ``place``   the ifmap in the frame: see ``lay_out``
    """

    def __init__(
        self, boxes: MacBoxes, spans: dict[str, Span], steps: _MacSteps, read: Read
    ) -> None:
        self.problem, self.dtype, self.steps, self.read = boxes.problem, boxes.dtype, steps, read
        lo = {d: n for x in spans.values() for d, n in x.lo.items()}
        self.at = {d: n + steps.first[d] for d, n in lo.items()}
        self.groups, self.filters = steps.size["G"], steps.size["M"]

    def _range(self, d: str) -> Ints:
        return self.at[d] + np.arange(self.steps.size[d])

    # where words lie

    def _weights(self) -> Place:
        """Rows [groups, taps], columns [m]."""
        p, at = self.problem, self.at
        filter_words = p.C * p.R * p.S
        first = (at["C"] * p.R + at["R"]) * p.S + at["S"]
        rows = self._range("G")[:, None] * p.M * filter_words + first + self.steps.weight
        return Place(rows.ravel(), self._range("M") * filter_words)

    def _ofmaps(self) -> Place:
        """Rows [groups, m], columns [pixels]."""
        p, at = self.problem, self.at
        first = (at["N"] * p.G * p.M * p.E + at["E"]) * p.F + at["F"]
        rows = (self._range("G")[:, None] * p.M + self._range("M")) * p.E * p.F
        return Place(rows.ravel(), first + self.steps.ofmap)

    def _frame(self, real: Window | None) -> tuple[Ints, Ints, Ints, Ints]:
        """Of the ifmap in the frame: planes [groups, n, c], rows, columns, and the place of each
        column in its row.
        """
        p, (_, _, rows, phases, apart) = self.problem, self.steps.frame
        planes = self._range("N")[:, None] * p.G + self._range("G")[:, None, None]
        planes = (planes[..., None] * p.C + self._range("C")).ravel() * p.H * p.W
        lines = []
        for slide, out, filt, n, (low, high) in zip(
            (p.slide_h, p.slide_w), "EF", "RS", (rows, phases * apart),
            real or ((0, p.H), (0, p.W)), strict=True,
        ):  # fmt: skip
            first = slide.stride * self.at[out] + slide.dilation * self.at[filt] - slide.pad
            line = first + np.arange(n)
            lines.append(np.where((line >= low) & (line < high), line, -1))
        column = np.arange(phases * apart)
        return (
            planes,
            np.where(lines[0] < 0, -1, lines[0] * p.W),
            lines[1],
            (column % phases * apart + column // phases),
        )

    # words, and which of them are poison, if any are

    def _words(self, tensor: str, place: Place, *shape: int) -> tuple[Sums, Flags | None]:
        words = np.empty((len(place.rows), len(place.columns)), self.dtype)
        lost = np.zeros(words.shape, bool)
        some = gather(self.read(tensor)[0], *place, words, lost)
        return words.reshape(shape), lost.reshape(shape) if some else None

    def _weight(self) -> tuple[Sums, Flags | None]:
        return self._words("weight", self._weights(), self.groups, -1, self.filters)

    def _ofmap(self) -> tuple[Sums, Flags | None]:
        return self._words("ofmap", self._ofmaps(), self.groups, self.filters, -1)

    def _ifmap(self) -> tuple[Sums, Flags | None]:
        """[groups, words]: in a frame with its padding as zeros."""
        data, real = self.read("ifmap")
        n, c, *line = self.steps.frame
        shape = self.groups * n * c, line[0], prod(line[1:])
        frame, lost = np.zeros(shape, self.dtype), np.zeros(shape, bool)
        some = lay_out(data, *self._frame(real), frame, lost)
        groups = self.groups, -1
        return frame.reshape(groups), lost.reshape(groups) if some else None

    # the three directions

    def forward(self) -> tuple[Place, Sums]:
        """A sum takes in all taps of its filter, and its pixel's word of each."""
        (weight, no_weight), (ifmap, no_ifmap) = self._weight(), self._ifmap()
        ofmap = self._rows(weight, ifmap)
        if no_weight is not None or no_ifmap is not None:
            lost = self._rows(np.ones_like(weight[:, :, :1]), _flags(no_ifmap, ifmap)) > 0
            ofmap = np.where(lost | _some(no_weight, weight, 1).swapaxes(1, 2), np.nan, ofmap)
        return self._ofmaps(), ofmap.reshape(-1, ofmap.shape[-1])

    def _rows(self, weight: Sums, ifmap: Sums) -> Sums:
        """Sums [groups, m, pixels]: weights are held, and words of the ifmap stream by; or where
        filters are more than pixels, the other way round.
        """
        groups, _, filters = weight.shape
        steps, pixels = self.steps, len(self.steps.window)
        if filters > pixels:
            columns = np.take(ifmap, steps.tap[:, None] + steps.window, axis=1)
            return _multiplied(columns, weight).swapaxes(1, 2)
        ofmap = np.zeros((groups, filters, pixels), self.dtype)
        stream = np.empty((4, steps.room), self.dtype)
        for run in steps.runs:
            multiply_add(weight, ifmap, steps.tap, run, stream, ofmap)
        return ofmap

    def grad_weight(self) -> tuple[Place, Sums]:
        """A sum takes in all pixels of its filter, and its tap's word of each."""
        (ofmap, no_ofmap), (ifmap, no_ifmap) = self._ofmap(), self._ifmap()
        weight = self._taps(ofmap, ifmap)
        if no_ofmap is not None or no_ifmap is not None:
            lost = self._taps(np.ones_like(ofmap[:, :1]), _flags(no_ifmap, ifmap)) > 0
            lost = lost | _some(no_ofmap, ofmap, 2).swapaxes(1, 2)
            weight = np.where(lost, np.nan, weight)
        return self._weights(), weight.reshape(-1, self.filters)

    def _taps(self, ofmap: Sums, ifmap: Sums) -> Sums:
        """Sums [groups, taps, m]: words of the ifmap are held, and those of the ofmap stream by."""
        groups, filters, _ = ofmap.shape
        steps, weight = self.steps, np.zeros((groups, len(self.steps.tap), filters), self.dtype)
        for some in steps.blocks(groups):
            columns = np.take(ifmap, steps.window[some, None] + steps.tap, axis=1)
            weight += _multiplied(columns, np.ascontiguousarray(ofmap[:, :, some].swapaxes(1, 2)))
        return weight

    def grad_input(self) -> tuple[Place, Sums]:
        """A sum takes in all filters of some taps and pixels.  Of words that no window touches
        there is none: ones go the same way to tell.
        """
        (weight, no_weight), (ofmap, no_ofmap) = self._weight(), self._ofmap()
        sums = self._windows(weight, ofmap)
        tap, pixel = np.ones_like(weight[:, :, :1]), np.ones_like(ofmap[:, :1])
        touched = self._windows(tap, pixel) > 0
        if no_weight is not None or no_ofmap is not None:
            taps = np.concatenate([tap, _some(no_weight, weight, 2)], axis=2, dtype=self.dtype)
            pixels = np.concatenate([_some(no_ofmap, ofmap, 1), pixel], axis=1, dtype=self.dtype)
            sums = np.where(self._windows(taps, pixels) > 0, np.nan, sums)
        planes, rows, columns, place = self._frame(None)
        there = touched[..., place] & (rows >= 0)[:, None] & (columns >= 0)
        words = (planes[:, None, None] + rows[:, None] + columns)[there]
        return Place(np.zeros(1, np.int64), words), sums[..., place][there][None]

    def _windows(self, weight: Sums, ofmap: Sums) -> Sums:
        """Sums in the frame, [groups and planes, h, places]: weights are held, and words of the
        ofmap stream by; where windows overlap, their sums are added up.
        """
        steps = self.steps
        words = np.zeros((self.groups, prod(steps.frame)), self.dtype)
        held = np.ascontiguousarray(weight.swapaxes(1, 2))
        for some in steps.blocks(self.groups):
            columns = _multiplied(held, np.ascontiguousarray(ofmap[:, :, some]))
            for k, tap in enumerate(steps.tap):
                words[:, steps.window[some] + tap] += columns[:, k]
        return words.reshape(-1, steps.frame[2], prod(steps.frame[3:]))


def _flags(poison: Sums | None, words: Sums) -> Sums:
    """Which of some words are poison."""
    return np.zeros_like(words) if poison is None else poison.astype(words.dtype)


def _some(poison: Sums | None, words: Sums, axis: int) -> Flags:
    """Whether any along an axis, which stays, are."""
    return np.asarray(_flags(poison, words).any(axis=axis, keepdims=True))
