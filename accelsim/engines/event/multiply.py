"""The arithmetic of one pass: the products of a box of the iteration space, as matrix products on
held words.

A box is what one cluster of PEs works through while the buffers stand still: ranges of plain
dimensions, chunks of fused ones.  The three directions are one triple (section 2):

    weight [g, M, K]    columns [g, K, X] (the im2col of the ifmap)    ofmap [g, M, X]
    forward: ofmap = weight @ columns       grad_weight: weight = ofmap @ columns^T
    grad_input: columns = weight^T @ ofmap, then added up into the ifmap words they stand for

with K = (c, r, s) and X = (n, e, f).  A fused dimension of other parts, or in another order, is a
selection of K's or X's positions.  The machine says where words are read from (``get``) and adds
the sums where they belong; this page only multiplies, in float64, block by block so that the im2col
stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from accelsim.engines.event.word_sets import WordSet, box_of, chunk_boxes, index_of
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Problem, Slide

Floats = npt.NDArray[Any]
Where = tuple[slice, ...]
Get = Callable[[str, Where], Floats]
Chunk = tuple[tuple[str, ...], int, int]  # parts of a fused dimension, first and last point
COLUMN_WORDS = 1 << 20  # im2col words held at once


@dataclass(frozen=True)
class Span:
    """Ranges [lo, hi) of a chain's parts in a pass, the chunk [first, last) of their points where
    they are fused, and whether there is anything at all.
    """

    lo: dict[str, int]
    hi: dict[str, int]
    chunk: tuple[int, int] | None
    exists: bool


def products(nest: Nest, pieces: dict[str, Span], get: Get) -> Iterator[tuple[WordSet, Floats]]:
    """(words, sums) of the accumulated tensor over one box of the iteration space; operands are
    read through ``get``.

    The words of a yield lie in one place: a box, or a list of points.
    """
    return _Work(nest, pieces).products(get)


class _Work:
    """Ranges of the eight dimensions that cover a pass, and which part of the fused ranges it
    really works on.

    ``lo, hi``   by dimension
    ``chunks``   of K and X: every fused dimension of theirs, parts slowest first, and its points
                 [first, last) within the ranges
    ``k, x``     which positions of K and X the pass works on: a slice, or indices [positions]
    """

    def __init__(self, nest: Nest, pieces: dict[str, Span]) -> None:
        self.problem: Problem = nest.problem
        self.lo: dict[str, int] = {}
        self.hi: dict[str, int] = {}
        self.chunks: dict[str, list[Chunk]] = {}
        for chain in nest.chains:
            piece = pieces[chain.name]
            lo, hi = piece.lo, piece.hi
            if piece.chunk is not None:
                lo, hi = dict(lo), dict(hi)
                start, stop = _cover(chain.parts, lo, hi, *piece.chunk)
                name = "K" if chain.parts[0] in "CRS" else "X"
                self.chunks.setdefault(name, []).append((chain.parts, start, stop))
            self.lo |= lo
            self.hi |= hi
        self.k = self._part("K", "CRS")
        self.x = self._part("X", "NEF")

    def _part(self, name: str, dims: str) -> npt.NDArray[np.int64] | slice:
        """Which of the box's K (or X) positions the pass works on, in the order of ``dims``."""
        chunks = self.chunks.get(name, [])
        if len(chunks) == 1 and "".join(chunks[0][0]) == dims:
            return slice(*chunks[0][1:])
        short = [c for c in chunks if c[2] - c[1] < prod(self.size(p) for p in c[0])]
        if not short:
            return slice(None)
        # fused dimensions of other parts or in another order: find their positions one by one
        there = np.ones([self.size(d) for d in dims], bool)
        for parts, start, stop in short:
            rest = [d for d in dims if d not in parts]
            line = there.transpose([dims.index(d) for d in (*parts, *rest)])
            inside = np.zeros(prod(line.shape[: len(parts)]), bool)
            inside[start:stop] = True
            line &= inside.reshape(*line.shape[: len(parts)], *[1] * len(rest))
        return np.flatnonzero(there)

    def size(self, dim: str) -> int:
        return self.hi[dim] - self.lo[dim]

    def range(self, dim: str) -> slice:
        return slice(self.lo[dim], self.hi[dim])

    # the three directions

    def products(self, get: Get) -> Iterator[tuple[WordSet, Floats]]:
        """(words, sums) of the accumulated tensor."""
        yield from {
            "forward": self._forward,
            "grad_weight": self._grad_weight,
            "grad_input": self._grad_input,
        }[self.problem.direction](get)

    def _forward(self, get: Get) -> Iterator[tuple[WordSet, Floats]]:
        """Pixels that are not worked on get zeros, and are cut away by ``_exact``."""
        weight = self._weight(get)[:, :, self.k].astype(np.float64)
        for n, e, x in self._blocks():
            columns = self._columns(get, n, e)[:, self.k]
            if isinstance(x, slice) and x.start is None:
                sums = weight @ columns
            else:
                sums = np.zeros((*weight.shape[:2], columns.shape[2]))
                sums[:, :, x] = weight @ columns[:, :, x]
            yield from self._exact("X", self._ofmap_box(n, e), self._as_ofmap(sums, n, e))

    def _grad_weight(self, get: Get) -> Iterator[tuple[WordSet, Floats]]:
        total: Floats | None = None
        for n, e, x in self._blocks():
            columns = self._columns(get, n, e)[:, self.k][:, :, x]
            ofmap = self._ofmap(get, n, e)[:, :, x].astype(np.float64)
            part = ofmap @ columns.transpose(0, 2, 1)
            total = part if total is None else total + part
        assert total is not None
        sums = np.zeros((self.size("G"), self.size("M"), prod(self.size(d) for d in "CRS")))
        sums[:, :, self.k] = total
        where = tuple(self.range(d) for d in "GMCRS")
        yield from self._exact("K", where, sums.reshape([self.size(d) for d in "GMCRS"]))

    def _grad_input(self, get: Get) -> Iterator[tuple[WordSet, Floats]]:
        """Where a chunk is worked on, what it touches has to be told apart from zeros: a column of
        ones goes the same way.
        """
        weight = self._weight(get)[:, :, self.k].astype(np.float64).transpose(0, 2, 1)
        for n, e, x in self._blocks():
            ofmap = self._ofmap(get, n, e)[:, :, x].astype(np.float64)
            shape = (self.size("G"), prod(self.size(d) for d in "CRS"), self._pixels(n, e))
            columns = np.zeros(shape)
            there = np.ix_(np.arange(shape[0]), np.arange(shape[1])[self.k], np.arange(shape[2])[x])
            columns[there] = weight @ ofmap
            touched = None
            if self.chunks:
                touched = np.zeros(shape, bool)
                touched[there] = True
            yield self._scatter(columns, touched, n, e)

    def _blocks(self) -> Iterator[tuple[slice, slice, Any]]:
        """Ranges of n and e whose im2col stays small, and which of their pixels the pass works
        on.
        """
        row = prod(self.size(d) for d in "GCRSF")
        whole = row * self.size("E")
        n_step = max(1, COLUMN_WORDS // whole)
        e_step = (
            self.size("E") if n_step > 1 or whole <= COLUMN_WORDS else max(1, COLUMN_WORDS // row)
        )
        done = 0
        for n in range(self.lo["N"], self.hi["N"], n_step):
            ns = slice(n, min(n + n_step, self.hi["N"]))
            for e in range(self.lo["E"], self.hi["E"], e_step):
                es = slice(e, min(e + e_step, self.hi["E"]))
                pixels = self._pixels(ns, es)
                if isinstance(self.x, slice) and self.x.start is None:
                    yield ns, es, slice(None)
                elif isinstance(self.x, slice):
                    start, stop = max(self.x.start - done, 0), min(self.x.stop - done, pixels)
                    if start < stop:
                        yield ns, es, slice(start, stop)
                else:
                    mine = self.x[(self.x >= done) & (self.x < done + pixels)] - done
                    if len(mine):
                        yield ns, es, mine
                done += pixels

    def _pixels(self, n: slice, e: slice) -> int:
        return int((n.stop - n.start) * (e.stop - e.start) * self.size("F"))

    # tensors as matrices

    def _weight(self, get: Get) -> Floats:
        """[g, m, (c, r, s)]"""
        words = get("weight", tuple(self.range(d) for d in "GMCRS"))
        return words.reshape(self.size("G"), self.size("M"), -1)

    def _ofmap(self, get: Get, n: slice, e: slice) -> Floats:
        """[g, m, (n, e, f)]"""
        words = get("ofmap", (n, self.range("G"), self.range("M"), e, self.range("F")))
        return words.transpose(1, 2, 0, 3, 4).reshape(self.size("G"), self.size("M"), -1)

    def _ofmap_box(self, n: slice, e: slice) -> Where:
        return (n, self.range("G"), self.range("M"), e, self.range("F"))

    def _as_ofmap(self, sums: Floats, n: slice, e: slice) -> Floats:
        """[g, m, x] as [n, g, m, e, f]."""
        return sums.reshape(
            self.size("G"), self.size("M"), n.stop - n.start, e.stop - e.start, -1
        ).transpose(2, 0, 1, 3, 4)

    def _exact(self, name: str, where: Where, sums: Floats) -> Iterator[tuple[WordSet, Floats]]:
        """Only the part of a box that the fused chunks work on."""
        axes = {d: i for i, d in enumerate("GMCRS" if name == "K" else "NGMEF")}
        boxes = [
            chunk_boxes([self.size(p) for p in parts], start, stop)
            for parts, start, stop in self.chunks.get(name, [])
        ]
        for choice in product(*boxes):
            cut = list(where)
            for (parts, _, _), box in zip(self.chunks.get(name, []), choice, strict=True):
                for p, (a, b) in zip(parts, box, strict=True):
                    full = where[axes[p]]
                    low, high = max(full.start, self.lo[p] + a), min(full.stop, self.lo[p] + b)
                    cut[axes[p]] = slice(low, max(low, high))
            if all(c.stop > c.start for c in cut):
                inside = tuple(
                    slice(c.start - w.start, c.stop - w.start)
                    for c, w in zip(cut, where, strict=True)
                )
                yield WordSet((tuple(cut),)), sums[inside]

    def _span(self, slide: Slide, out: slice, filt: str) -> tuple[int, int]:
        """First coordinate and number of coordinates from the first tap of the first window to the
        last of the last.
        """
        first = slide.stride * out.start + slide.dilation * self.lo[filt] - slide.pad
        return first, slide.stride * (out.stop - out.start - 1) + slide.dilation * (
            self.size(filt) - 1
        ) + 1

    def _frame(self, n: slice, e: slice) -> tuple[tuple[int, int], tuple[int, int], Where, Where]:
        """Spans of h and w, the real part of them in the ifmap, and where that lies in the
        frame.
        """
        p = self.problem
        h, w = self._span(p.slide_h, e, "R"), self._span(p.slide_w, self.range("F"), "S")
        real, inside = [], []
        for (first, span), size in ((h, p.H), (w, p.W)):
            low, high = min(max(first, 0), size), max(min(first + span, size), 0)
            high = max(low, high)
            real.append(slice(low, high))
            inside.append(slice(low - first, high - first) if high > low else slice(0, 0))
        return (
            h,
            w,
            (n, self.range("G"), self.range("C"), *real),
            (slice(None), slice(None), slice(None), *inside),
        )

    def _windows(self, frame: Floats, n: slice, e: slice) -> Floats:
        """A view [g, c, r, s, n, e, f] of a frame [n, g, c, h, w]."""
        p = self.problem
        sn, sg, sc, sh, sw = frame.strides
        shape = (
            self.size("G"),
            self.size("C"),
            self.size("R"),
            self.size("S"),
            n.stop - n.start,
            e.stop - e.start,
            self.size("F"),
        )
        strides = (
            sg,
            sc,
            sh * p.dilation[0],
            sw * p.dilation[1],
            sn,
            sh * p.stride[0],
            sw * p.stride[1],
        )
        return as_strided(frame, shape, strides)

    def _columns(self, get: Get, n: slice, e: slice) -> Floats:
        """[g, (c, r, s), (n, e, f)]: the ifmap's words in a frame with its padding, seen through
        the windows.
        """
        h, w, real, inside = self._frame(n, e)
        shape = (n.stop - n.start, self.size("G"), self.size("C"), h[1], w[1])
        words = get("ifmap", real)
        if words.shape == shape:
            frame = np.asarray(words, np.float64)
        else:
            frame = np.zeros(shape)
            frame[inside] = words
        return self._windows(frame, n, e).reshape(
            self.size("G"), prod(self.size(d) for d in "CRS"), -1
        )

    def _scatter(
        self, columns: Floats, touched: Floats | None, n: slice, e: slice
    ) -> tuple[WordSet, Floats]:
        """Add columns up into the ifmap words they stand for; only those some window touches."""
        h, w, real, inside = self._frame(n, e)
        frame = self._fold(columns, h[1], w[1], n, e)[inside]
        if touched is None:
            p = self.problem
            ends = ((p.slide_h, e, "R", real[3]), (p.slide_w, self.range("F"), "S", real[4]))
            axes = [self._touched(slide, out, filt, where) for slide, out, filt, where in ends]
            words = WordSet((box_of([*real[:3], *(index_of(a) for a in axes)]),))
            return words, frame[
                :, :, :, (axes[0] - real[3].start)[:, None], axes[1] - real[4].start
            ]
        mask = self._fold(touched, h[1], w[1], n, e)[inside] > 0
        at = np.nonzero(mask)
        flat = np.ravel_multi_index(
            [a + r.start for a, r in zip(at, real, strict=True)], self.problem.shape("ifmap")
        )
        return WordSet(listed=flat), frame[at]

    def _fold(self, columns: Floats, height: int, width: int, n: slice, e: slice) -> Floats:
        """Columns [g, k, x] summed into a frame [n, g, c, h, w]."""
        frame = np.zeros((n.stop - n.start, self.size("G"), self.size("C"), height, width))
        p = self.problem
        parts = columns.reshape(
            self.size("G"),
            self.size("C"),
            self.size("R"),
            self.size("S"),
            n.stop - n.start,
            e.stop - e.start,
            -1,
        )
        for r in range(self.size("R")):
            for s in range(self.size("S")):
                hs = slice(
                    r * p.dilation[0],
                    r * p.dilation[0] + p.stride[0] * (e.stop - e.start - 1) + 1,
                    p.stride[0],
                )
                ws = slice(
                    s * p.dilation[1],
                    s * p.dilation[1] + p.stride[1] * (self.size("F") - 1) + 1,
                    p.stride[1],
                )
                frame[:, :, :, hs, ws] += parts[:, :, r, s].transpose(2, 0, 1, 3, 4)
        return frame

    def _touched(self, slide: Slide, out: slice, filt: str, real: slice) -> npt.NDArray[np.int64]:
        """Real coordinates some window reads, sorted, ``[coordinates]``."""
        taps = slide.dilation * np.arange(self.lo[filt], self.hi[filt]) - slide.pad
        at = np.unique(slide.stride * np.arange(out.start, out.stop)[:, None] + taps)
        return np.asarray(at[(at >= real.start) & (at < real.stop)])


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
