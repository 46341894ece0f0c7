"""The arithmetic of one pass: the products of a box of the iteration space, as matrix products on held words.

A box is what one cluster of PEs works through while the buffers stand still: ranges of plain dimensions,
chunks of fused ones.  The three directions are one triple (weight [M,K], im2col ifmap [K,X], ofmap [M,X]).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from accelsim.mapping.nest import Nest, Piece
from accelsim.workload.problem import Problem, Slide

Floats = npt.NDArray[Any]
Where = tuple[slice, ...]
Get = Callable[[str, Where], Floats]
COLUMN_WORDS = 1 << 21  # im2col words held at once


class Box:
    """Ranges of the eight dimensions that cover a pass, and which part of the fused ranges it really works on."""

    def __init__(self, nest: Nest, pieces: dict[str, Piece]) -> None:
        self.problem: Problem = nest.problem
        self.lo: dict[str, int] = {}
        self.hi: dict[str, int] = {}
        chunks: dict[str, tuple[int, int]] = {}
        order: dict[str, tuple[str, ...]] = {}
        for chain in nest.chains:
            piece = pieces[chain.name]
            lo, hi = ({p: int(side[p]) for p in chain.parts} for side in (piece.lo, piece.hi))
            if piece.chunk is not None:
                start, stop = _cover(chain.parts, lo, hi, int(piece.chunk[0]), int(piece.chunk[1]))
                chunks["K" if chain.parts[0] in "CRS" else "X"] = (start, stop)
                order["K" if chain.parts[0] in "CRS" else "X"] = chain.parts
            self.lo |= lo
            self.hi |= hi
        self.order = order
        self.k = self._part("K", "CRS", chunks)
        self.x = self._part("X", "NEF", chunks)

    def _part(self, name: str, dims: str, chunks: dict[str, tuple[int, int]]) -> npt.NDArray[np.int64] | slice:
        """Which of the box's K (or X) positions the pass works on, in the order of ``dims``."""
        if name not in chunks:
            return slice(None)
        start, stop = chunks[name]
        parts = self.order[name]
        if "".join(parts) == dims:
            return slice(start, stop)
        if stop - start == prod(self.size(p) for p in parts):
            return slice(None)
        # a fused dimension of other parts or in another order: find its positions one by one
        grid = np.arange(prod(self.size(d) for d in dims)).reshape([self.size(d) for d in dims])
        rest = [d for d in dims if d not in parts]
        line = grid.transpose([dims.index(d) for d in (*parts, *rest)]).reshape(prod(self.size(p) for p in parts), -1)
        return np.sort(line[start:stop].ravel())

    def size(self, dim: str) -> int:
        return self.hi[dim] - self.lo[dim]

    def range(self, dim: str) -> slice:
        return slice(self.lo[dim], self.hi[dim])

    # the three directions

    def products(self, get: Get) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        """(words, sums) of the accumulated tensor, each word once in a yield."""
        yield from {"forward": self._forward, "grad_weight": self._grad_weight, "grad_input": self._grad_input}[self.problem.direction](get)

    def _forward(self, get: Get) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        weight = self._weight(get)[:, :, self.k].astype(np.float64)
        for n, e, x in self._blocks():
            columns = self._columns(get, n, e)[:, self.k]
            yield self._ofmap_words(n, e)[:, :, x], weight @ columns[:, :, x]

    def _grad_weight(self, get: Get) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        total: Floats | None = None
        for n, e, x in self._blocks():
            columns = self._columns(get, n, e)[:, self.k][:, :, x]
            ofmap = self._ofmap(get, n, e)[:, :, x].astype(np.float64)
            part = ofmap @ columns.transpose(0, 2, 1)
            total = part if total is None else total + part
        assert total is not None
        words = self._words("weight", ("G", "M", "C", "R", "S"), {}).reshape(self.size("G"), self.size("M"), -1)
        yield words[:, :, self.k], total

    def _grad_input(self, get: Get) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        weight = self._weight(get)[:, :, self.k].astype(np.float64).transpose(0, 2, 1)
        for n, e, x in self._blocks():
            ofmap = self._ofmap(get, n, e)[:, :, x].astype(np.float64)
            shape = (self.size("G"), prod(self.size(d) for d in "CRS"), self._pixels(n, e))
            columns = np.zeros(shape)
            k = np.arange(shape[1])[self.k]
            columns[:, k[:, None], np.arange(shape[2])[x]] = weight @ ofmap
            yield self._scatter(columns, n, e)

    def _blocks(self) -> Iterator[tuple[slice, slice, Any]]:
        """Ranges of n and e whose im2col stays small, and which of their pixels the pass works on."""
        row = prod(self.size(d) for d in "GCRSF")
        whole = row * self.size("E")
        n_step = max(1, COLUMN_WORDS // whole)
        e_step = self.size("E") if n_step > 1 or whole <= COLUMN_WORDS else max(1, COLUMN_WORDS // row)
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
        words = get("weight", tuple(self.range(d) for d in "GMCRS"))
        return words.reshape(self.size("G"), self.size("M"), -1)

    def _ofmap(self, get: Get, n: slice, e: slice) -> Floats:
        words = get("ofmap", (n, self.range("G"), self.range("M"), e, self.range("F")))
        return words.transpose(1, 2, 0, 3, 4).reshape(self.size("G"), self.size("M"), -1)

    def _ofmap_words(self, n: slice, e: slice) -> npt.NDArray[np.int64]:
        words = self._words("ofmap", ("N", "G", "M", "E", "F"), {"N": n, "E": e})
        return words.transpose(1, 2, 0, 3, 4).reshape(self.size("G"), self.size("M"), -1)

    def _words(self, tensor: str, dims: tuple[str, ...], cut: dict[str, slice]) -> npt.NDArray[np.int64]:
        shape = self.problem.shape(tensor)
        total = np.zeros((), np.int64)
        for d, n in zip(dims, shape, strict=True):
            where = cut[d] if d in cut else self.range(d)
            total = total[..., None] * n + np.arange(where.start, where.stop)
        return total

    def _span(self, slide: Slide, out: slice, filt: str) -> tuple[int, int]:
        """First coordinate and number of coordinates from the first tap of the first window to the last of the last."""
        first = slide.stride * out.start + slide.dilation * self.lo[filt] - slide.pad
        return first, slide.stride * (out.stop - out.start - 1) + slide.dilation * (self.size(filt) - 1) + 1

    def _frame(self, n: slice, e: slice) -> tuple[tuple[int, int], tuple[int, int], Where, Where]:
        """Spans of h and w, the real part of them in the ifmap, and where that lies in the frame."""
        p = self.problem
        h, w = self._span(p.slide_h, e, "R"), self._span(p.slide_w, self.range("F"), "S")
        real, inside = [], []
        for (first, span), size in ((h, p.H), (w, p.W)):
            low, high = min(max(first, 0), size), max(min(first + span, size), 0)
            high = max(low, high)
            real.append(slice(low, high))
            inside.append(slice(low - first, high - first) if high > low else slice(0, 0))
        return h, w, (n, self.range("G"), self.range("C"), *real), (slice(None), slice(None), slice(None), *inside)

    def _windows(self, frame: Floats, n: slice, e: slice) -> Floats:
        """A view [g, c, r, s, n, e, f] of a frame [n, g, c, h, w]."""
        p = self.problem
        sn, sg, sc, sh, sw = frame.strides
        shape = (self.size("G"), self.size("C"), self.size("R"), self.size("S"), n.stop - n.start, e.stop - e.start, self.size("F"))
        strides = (sg, sc, sh * p.dilation[0], sw * p.dilation[1], sn, sh * p.stride[0], sw * p.stride[1])
        return as_strided(frame, shape, strides)

    def _columns(self, get: Get, n: slice, e: slice) -> Floats:
        h, w, real, inside = self._frame(n, e)
        shape = (n.stop - n.start, self.size("G"), self.size("C"), h[1], w[1])
        words = get("ifmap", real)
        if words.shape == shape:
            frame = np.asarray(words, np.float64)
        else:
            frame = np.zeros(shape)
            frame[inside] = words
        return self._windows(frame, n, e).reshape(self.size("G"), prod(self.size(d) for d in "CRS"), -1)

    def _scatter(self, columns: Floats, n: slice, e: slice) -> tuple[npt.NDArray[np.int64], Floats]:
        """Add columns up into the ifmap words they stand for; only words some window touches."""
        h, w, real, inside = self._frame(n, e)
        frame = np.zeros((n.stop - n.start, self.size("G"), self.size("C"), h[1], w[1]))
        touched = np.zeros((h[1], w[1]), bool)
        p = self.problem
        parts = columns.reshape(self.size("G"), self.size("C"), self.size("R"), self.size("S"), n.stop - n.start, e.stop - e.start, -1)
        for r in range(self.size("R")):
            for s in range(self.size("S")):
                hs = slice(r * p.dilation[0], r * p.dilation[0] + p.stride[0] * (e.stop - e.start - 1) + 1, p.stride[0])
                ws = slice(s * p.dilation[1], s * p.dilation[1] + p.stride[1] * (self.size("F") - 1) + 1, p.stride[1])
                frame[:, :, :, hs, ws] += parts[:, :, r, s].transpose(2, 0, 1, 3, 4)
                touched[hs, ws] = True
        mask = touched[inside[3], inside[4]]
        words = self._words("ifmap", ("N", "G", "C", "H", "W"), dict(zip(("N", "G", "C", "H", "W"), real, strict=True)))
        return words[:, :, :, mask].ravel(), frame[inside][:, :, :, mask].ravel()


def _cover(parts: tuple[str, ...], lo: dict[str, int], hi: dict[str, int], start: int, stop: int) -> tuple[int, int]:
    """Narrow the parts' ranges, slowest first, to those the chunk touches; returns the chunk within them."""
    for i, p in enumerate(parts):
        inner = prod(hi[q] - lo[q] for q in parts[i + 1 :])
        first, last = start // inner, (stop - 1) // inner
        hi[p] = lo[p] + last + 1
        lo[p] += first
        start, stop = start - first * inner, stop - first * inner
        if last > first:
            break
    return start, stop
