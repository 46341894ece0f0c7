"""The arithmetic of one pass: every MAC of a box of the iteration space by itself, on held words.

A box is what one cluster of PEs works through while the buffers stand still: ranges of plain
dimensions, chunks of fused ones.  A *tap* is one (c, r, s) of it, a *pixel* one (n, e, f); pixels
that follow each other in f are a *run*.  A tap and a pixel meet at one word of the ifmap, so the
three directions are one triple of arrays (section 2), and one product a MAC:

    weight [g, tap, m]    ifmap [g, pixel and tap]    ofmap [g, m, pixel]
    forward: ofmap += weight * ifmap       grad_weight: weight += ofmap * ifmap
    grad_input: ifmap += weight * ofmap

The machine says where words are read from (``get``) and adds the sums where they belong.  Sums have
the accumulator's own width, int32 or int64, and wrap as it does; poison (NaN) is no such number, so
where a box has some, which sums it spreads to is worked out beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import isnan, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.event.word_sets import WordSet, chunk_boxes
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Slide

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[Any]  # int32 or int64; float64 where some are poison
Flags = npt.NDArray[np.bool_]
Where = tuple[slice, ...]
Get = Callable[[str, Where], Floats]


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


def products(nest: Nest, pieces: dict[str, Span], get: Get) -> Iterator[tuple[WordSet, Sums]]:
    """(words, sums) of the accumulated tensor over one box of the iteration space; operands are
    read through ``get``.

    The words of a yield lie in one place: a box, or a list of points.
    """
    box = _MacBox(nest, pieces)
    direction = nest.problem.direction
    if direction == "forward":
        return box.forward(get)
    return box.grad_weight(get) if direction == "grad_weight" else box.grad_input(get)


Chunks = tuple[tuple[tuple[str, ...], int, int], ...]


@dataclass(frozen=True)
class _MacSteps:
    """Taps and pixels of a box, the same for boxes of one shape.

    ``taps``    c, r, s of each tap, less ``lo``: an index of a box of K
    ``pixels``  n, e, f of each pixel: an index of a box of X
    ``tap``     [taps]: how far a tap's word lies from the first of its window, in the frame
    ``window``  [pixels]: where that first one lies
    ``runs``    pixels whose windows are neighbours, block by block: where the first window lies,
                the first pixel, and how many pixels there are
    ``room``    pixels of the largest block
    """

    taps: tuple[Any, ...]
    pixels: tuple[Any, ...]
    tap: Ints
    window: Ints
    runs: tuple[Ints, ...]
    room: int

    def blocks(self, groups: int) -> Iterator[slice]:
        """Pixels, so many that their words may be laid out by tap and pixel."""
        n = max(1, COLUMN_WORDS // (groups * len(self.tap)))
        return (slice(i, i + n) for i in range(0, len(self.window), n))


@lru_cache(maxsize=256)
def _mac_steps(
    sizes: tuple[int, ...],
    chunks: Chunks,
    frame: tuple[int, ...],
    stride: int,
    dilation: tuple[int, int],
) -> _MacSteps:
    """``sizes`` of N, E, F, C, R, S; fused ``chunks`` of them; of the ifmap's ``frame`` see
    ``_MacBox``.
    """
    size = dict(zip("NEFCRS", sizes, strict=True))
    width = frame[4] * frame[5]
    taps = np.nonzero(_worked_on("CRS", size, chunks))
    c, r, s = taps
    column, apart = np.divmod(s * dilation[1], frame[4])
    tap = (c * frame[3] + r * dilation[0]) * width + apart * frame[5] + column
    there = _worked_on("NEF", size, chunks)
    edges = np.diff(there.astype(np.int8), axis=2, prepend=0, append=0)
    n, e, f = np.nonzero(edges > 0)
    pixels = np.nonzero(edges < 0)[2] - f
    window = (n * size["C"] * frame[3] + e * stride) * width + f
    first = np.cumsum(pixels) - pixels
    run = np.stack([window, first, pixels], axis=1)
    cuts = np.flatnonzero(np.diff(first // BLOCK)) + 1
    runs = tuple(np.split(run, cuts))
    room = max(int(x[:, 2].sum()) for x in runs)
    inside = np.arange(int(pixels.sum())) - np.repeat(first, pixels)
    return _MacSteps(taps, np.nonzero(there), tap, np.repeat(window, pixels) + inside, runs, room)


def _worked_on(dims: str, size: dict[str, int], chunks: Chunks) -> npt.NDArray[np.bool_]:
    """Which positions of a box the pass works on, an axis for each of ``dims``."""
    there = np.ones([size[d] for d in dims], bool)
    for parts, start, stop in chunks:
        if parts[0] in dims:
            rest = [d for d in dims if d not in parts]
            line = there.transpose([dims.index(d) for d in (*parts, *rest)])
            inside = np.zeros(prod(line.shape[: len(parts)]), bool)
            inside[start:stop] = True
            line &= inside.reshape(*line.shape[: len(parts)], *[1] * len(rest))
    return there


class _MacBox:
    """Ranges of the eight dimensions that cover a pass, and which part of the fused ranges it
    really works on.

    ``lo, hi``   by dimension, ``size`` of each
    ``chunks``   every fused dimension: its parts, slowest first, and its points [first, last)
                 within the ranges
    ``ends``     of H and W: first coordinate of the windows, and how many coordinates
    ``frame``    shape of the ifmap as windows see it, padding included: [g, n, c, h, columns that
                 are equal modulo the stride, of each of those]: words that neighbouring windows
                 want are neighbours
    ``real, inside``   the box of the ifmap that the windows cover, and where it lies in the frame
                       with its columns in order, padding apart
    ``steps``    taps and pixels
    ``dtype``    of the sums
    """

    def __init__(self, nest: Nest, pieces: dict[str, Span]) -> None:
        self.problem = p = nest.problem
        self.dtype = np.dtype(np.int32 if nest.arch.bits.psum <= 32 else np.int64)
        self.lo: dict[str, int] = {}
        self.hi: dict[str, int] = {}
        chunks = []
        for chain in nest.chains:
            piece = pieces[chain.name]
            lo, hi = dict(piece.lo), dict(piece.hi)
            if piece.chunk is not None:
                chunks.append((chain.parts, *_cover(chain.parts, lo, hi, *piece.chunk)))
            self.lo |= lo
            self.hi |= hi
        self.chunks = tuple(chunks)
        self.size = {d: self.hi[d] - self.lo[d] for d in self.lo}
        self.ends = (self._span(p.slide_h, "E", "R"), self._span(p.slide_w, "F", "S"))
        columns = -(-self.ends[1][1] // p.stride[1])
        self.frame = (*self._sizes("GNC"), self.ends[0][1], p.stride[1], columns)
        self.real, self.inside = self._real()
        self.steps = _mac_steps(
            self._sizes("NEFCRS"), self.chunks, self.frame, p.stride[0], p.dilation
        )

    def _sizes(self, dims: str) -> tuple[int, ...]:
        return tuple([self.size[d] for d in dims])

    def _span(self, slide: Slide, out: str, filt: str) -> tuple[int, int]:
        """First coordinate and number of coordinates from the first tap of the first window to the
        last of the last.
        """
        first = slide.stride * self.lo[out] + slide.dilation * self.lo[filt] - slide.pad
        outs, taps = self.size[out] - 1, self.size[filt] - 1
        return first, slide.stride * outs + slide.dilation * taps + 1

    def range(self, dims: str) -> Where:
        return tuple([slice(self.lo[d], self.hi[d]) for d in dims])

    # the three directions

    def forward(self, get: Get) -> Iterator[tuple[WordSet, Sums]]:
        """A sum takes in all taps of its filter, and its pixel's word of each."""
        (weight, no_weight), (ifmap, no_ifmap) = self._weight(get), self._ifmap(get)
        ofmap = self._rows(weight, ifmap)
        if no_weight is not None or no_ifmap is not None:
            lost = self._rows(np.ones_like(weight[:, :, :1]), _flags(no_ifmap, ifmap)) > 0
            ofmap = np.where(lost | _some(no_weight, weight, 1).swapaxes(1, 2), np.nan, ofmap)
        return self._cut("NGMEF", "GMNEF", self.steps.pixels, ofmap)

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

    def grad_weight(self, get: Get) -> Iterator[tuple[WordSet, Sums]]:
        """A sum takes in all pixels of its filter, and its tap's word of each."""
        (ofmap, no_ofmap), (ifmap, no_ifmap) = self._ofmap(get), self._ifmap(get)
        weight = self._taps(ofmap, ifmap)
        if no_ofmap is not None or no_ifmap is not None:
            lost = self._taps(np.ones_like(ofmap[:, :1]), _flags(no_ifmap, ifmap)) > 0
            lost = lost | _some(no_ofmap, ofmap, 2).swapaxes(1, 2)
            weight = np.where(lost, np.nan, weight)
        return self._cut("GMCRS", "GMCRS", self.steps.taps, weight.transpose(0, 2, 1))

    def _taps(self, ofmap: Sums, ifmap: Sums) -> Sums:
        """Sums [groups, taps, m]: words of the ifmap are held, and those of the ofmap stream by."""
        groups, filters, _ = ofmap.shape
        steps, weight = self.steps, np.zeros((groups, len(self.steps.tap), filters), self.dtype)
        for some in steps.blocks(groups):
            columns = np.take(ifmap, steps.window[some, None] + steps.tap, axis=1)
            weight += _multiplied(columns, np.ascontiguousarray(ofmap[:, :, some].swapaxes(1, 2)))
        return weight

    def grad_input(self, get: Get) -> Iterator[tuple[WordSet, Sums]]:
        """A sum takes in all filters of some taps and pixels.  Of words that no window touches
        there is none: ones go the same way to tell.
        """
        (weight, no_weight), (ofmap, no_ofmap) = self._weight(get), self._ofmap(get)
        sums, real = self._windows(weight, ofmap), self.real
        tap, pixel = np.ones_like(weight[:, :, :1]), np.ones_like(ofmap[:, :1])
        touched = self._windows(tap, pixel) > 0
        if no_weight is not None or no_ofmap is not None:
            taps = np.concatenate([tap, _some(no_weight, weight, 2)], axis=2, dtype=self.dtype)
            pixels = np.concatenate([_some(no_ofmap, ofmap, 1), pixel], axis=1, dtype=self.dtype)
            lost = self._windows(taps, pixels) > 0
            sums = np.where(lost, np.nan, sums)
        if touched.all():
            yield WordSet((real,)), sums
            return
        at = np.nonzero(touched)
        places = [a + r.start for a, r in zip(at, real, strict=True)]
        flat = np.ravel_multi_index(places, self.problem.shape("ifmap"))
        yield WordSet(listed=np.asarray(flat, np.int64)), sums[at]

    def _windows(self, weight: Sums, ofmap: Sums) -> Sums:
        """Sums of the box of the ifmap that the windows cover, [n, g, c, h, w]: weights are held,
        and words of the ofmap stream by; where windows overlap, their sums are added up.
        """
        groups, steps, frame = self.size["G"], self.steps, np.zeros(self.frame, self.dtype)
        held, words = np.ascontiguousarray(weight.swapaxes(1, 2)), frame.reshape(groups, -1)
        for some in steps.blocks(groups):
            columns = _multiplied(held, np.ascontiguousarray(ofmap[:, :, some]))
            for k, tap in enumerate(steps.tap):
                words[:, steps.window[some] + tap] += columns[:, k]
        in_order = frame.swapaxes(4, 5).reshape(*self.frame[:4], -1)
        return in_order.transpose(1, 0, 2, 3, 4)[self.inside]

    # tensors as the MACs want them: words, and which of them are poison, if any are

    def _words(self, words: Floats) -> tuple[Sums, Flags | None]:
        if words.dtype.kind == "f" and isnan(words.sum()):
            poison = np.isnan(words)
            words = np.where(poison, 0, words)
            return np.ascontiguousarray(words, self.dtype), np.ascontiguousarray(poison)
        return np.ascontiguousarray(words, self.dtype), None

    def _weight(self, get: Get) -> tuple[Sums, Flags | None]:
        """[groups, taps, m]"""
        words = get("weight", self.range("GMCRS"))
        return self._words(self._picked(words, self.steps.taps).swapaxes(1, 2))

    def _ofmap(self, get: Get) -> tuple[Sums, Flags | None]:
        """[groups, m, pixels]"""
        words = get("ofmap", self.range("NGMEF")).transpose(1, 2, 0, 3, 4)
        return self._words(self._picked(words, self.steps.pixels))

    def _picked(self, words: Floats, at: tuple[Any, ...]) -> Floats:
        """Words [g, m, positions ``at``] of a box [g, m, and three axes]."""
        if words.size == self.size["G"] * self.size["M"] * len(at[0]):
            return words.reshape(*words.shape[:2], -1)
        return words[(slice(None), slice(None), *at)]

    def _ifmap(self, get: Get) -> tuple[Sums, Flags | None]:
        """[groups, words]: in a frame with its padding as zeros."""
        words, poison = self._words(get("ifmap", self.real))
        return self._framed(words), None if poison is None else self._framed(poison)

    def _framed(self, words: Sums) -> Sums:
        frame = np.zeros((*self.frame[:4], prod(self.frame[4:])), self.dtype)
        frame.transpose(1, 0, 2, 3, 4)[self.inside] = words
        columns = frame.reshape(*self.frame[:4], self.frame[5], self.frame[4]).swapaxes(4, 5)
        return columns.reshape(self.size["G"], -1)

    def _real(self) -> tuple[Where, Where]:
        """``real`` and ``inside``."""
        real, inside = list(self.range("NGC")), [slice(0, self.size[d]) for d in "NGC"]
        for (first, n), size in zip(self.ends, self.problem.shape("ifmap")[3:], strict=True):
            low = min(max(first, 0), size)
            high = max(low, min(max(first + n, 0), size))
            real.append(slice(low, high))
            inside.append(slice(low - first, high - first) if high > low else slice(0, 0))
        return tuple(real), tuple(inside)

    def _cut(
        self, dims: str, order: str, at: tuple[Any, ...], sums: Sums
    ) -> Iterator[tuple[WordSet, Sums]]:
        """Only the part of a box that the fused chunks work on; ``sums`` [g, m, positions ``at``]
        become boxes of ``dims``.
        """
        whole = sums
        if sums.size < prod(self._sizes(order)):
            whole = np.zeros(self._sizes(order), sums.dtype)
            whole[(slice(None), slice(None), *at)] = sums
        whole = whole.reshape(self._sizes(order)).transpose([order.index(d) for d in dims])
        chunks = [x for x in self.chunks if x[0][0] in order]
        boxes = [chunk_boxes(self._sizes("".join(parts)), *ends) for parts, *ends in chunks]
        for choice in product(*boxes):
            cut = {d: (0, self.size[d]) for d in dims}
            for (parts, _, _), box in zip(chunks, choice, strict=True):
                cut |= dict(zip(parts, box, strict=True))
            where = tuple([slice(self.lo[d] + a, self.lo[d] + b) for d, (a, b) in cut.items()])
            yield WordSet((where,)), whole[tuple([slice(a, b) for a, b in cut.values()])]


def _flags(poison: Sums | None, words: Sums) -> Sums:
    """Which of some words are poison."""
    return np.zeros_like(words) if poison is None else poison


def _some(poison: Sums | None, words: Sums, axis: int) -> Flags:
    """Whether any along an axis, which stays, are."""
    return np.asarray(_flags(poison, words).any(axis=axis, keepdims=True))


def _cover(
    parts: tuple[str, ...], lo: dict[str, int], hi: dict[str, int], start: int, stop: int
) -> tuple[int, int]:
    """Narrow the parts' ranges, slowest first, to those the chunk touches; returns the chunk within
    them.
    """
    for i, p in enumerate(parts):
        inner = prod(hi[q] - lo[q] for q in parts[i + 1 :])
        first, last = start // inner, (stop - 1) // inner
        hi[p] = lo[p] + last + 1
        lo[p] += first
        start, stop = start - first * inner, stop - first * inner
        if last > first:
            break
    return start, stop
