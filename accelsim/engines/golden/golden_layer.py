"""The golden answer of one layer, twice: the obvious nest and a fast exact one.  Neither knows a
mapping (docs/design.md, section 1).

``loops`` is the definition, read against section 2: eight loops over Python integers.  The tests
hold ``accumulate`` to it; everything else uses ``accumulate``, which is the same sum as a matrix
product, and exact by a proof in its docstring and not by luck.  What an engine computed is compared
with it word for word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from accelsim.workload.arithmetic import Number, Requantize, wrap_in_place
from accelsim.workload.arithmetic import requantize as requantized
from accelsim.workload.problem import DIMS, Problem, Slide

Array = NDArray[Any]
Data = Mapping[str, Array]

EXACT = 2**53  # float64 holds every integer of at most this magnitude
BLOCK_WORDS = 2**23  # the most weights held as float64 at a time: 64 MB
# The most ifmap, im2col and product words at a time if rows allow: 16 MB stay in the caches.
CACHE_WORDS = 2**21


def loops(problem: Problem, data: Data, psum: Number) -> NDArray[np.int64]:
    """The definition: eight nested loops over Python integers, wrapped to ``psum`` at the end.

    Arguments, result and errors are those of ``accumulate``; for small problems only.
    """
    _check(problem, data, psum)
    a, b = (data[name].astype(object) for name in problem.operands)
    acc = np.zeros(problem.shape(problem.accumulated), object)
    for n, g, m, c, e, f, r, s in product(*(range(problem.size[d]) for d in DIMS)):
        h = problem.stride[0] * e + problem.dilation[0] * r - problem.padding[0]
        w = problem.stride[1] * f + problem.dilation[1] * s - problem.padding[2]
        if not (0 <= h < problem.H and 0 <= w < problem.W):
            continue
        tap = (problem.R - 1 - r, problem.S - 1 - s) if problem.flip else (r, s)
        weight, ifmap, ofmap = (g, m, c, *tap), (n, g, c, h, w), (n, g, m, e, f)
        if problem.direction == "forward":
            acc[ofmap] += a[weight] * b[ifmap]
        elif problem.direction == "grad_weight":
            acc[weight] += a[ifmap] * b[ofmap]
        else:
            acc[ifmap] += a[weight] * b[ofmap]
    if _has_bias(problem):
        acc += data["bias"].astype(object)[:, :, None, None]
    wrapped: Array = (acc - psum.low) % 2**psum.bits + psum.low
    return wrapped.astype(np.int64)


def accumulate(
    problem: Problem, data: Data, psum: Number, out: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The tensor ``problem.direction`` accumulates, exact, wrapped to ``psum``; equal to ``loops``
    and fast.

    ``data``: integer arrays of the two operands by tensor name, shaped ``problem.shape(name)``, and
    in a forward problem with bias ``bias`` of shape (G, M).  Returns int64 of
    ``problem.shape(problem.accumulated)``, in ``out`` if given.  Raises ValueError for a missing
    array, a wrong shape or type, or products over 2^53.

    Sums are float64 matrix products, and exact.  Let a and b be the operands' largest magnitudes,
    measured, and let a product sum at most floor(2^53 / (a*b)) terms.  Whatever order BLAS adds in,
    fused or not, each intermediate value is a sum of some of these terms, hence an integer of
    magnitude at most 2^53, which float64 represents: no operation rounds.  Longer sums are split,
    and the parts added in int64, whose wrapping at 2^64 is harmless because psum's modulus divides
    it.
    """
    _check(problem, data, psum)
    shape = problem.shape(problem.accumulated)
    acc = np.empty(shape, np.int64) if out is None else out
    if acc.shape != shape or acc.dtype != np.int64:
        raise ValueError(
            f"out must be int64 of shape {shape}, got {acc.dtype} of shape {acc.shape}"
        )
    acc[...] = data["bias"][:, :, None, None] if _has_bias(problem) else 0
    a, b = (data[name] for name in problem.operands)
    into = acc
    if problem.flip:  # the same sums, read from or added to the filter from its other end
        a = a[..., ::-1, ::-1] if problem.operands[0] == "weight" else a
        into = acc[..., ::-1, ::-1] if problem.accumulated == "weight" else acc
    step = {"forward": _forward, "grad_weight": _grad_weight, "grad_input": _grad_input}[
        problem.direction
    ]
    step(problem, a, b, into, _exact_terms(a, b))
    return wrap_in_place(acc, psum)


def run(
    problem: Problem,
    data: Data,
    psum: Number,
    requantize: Requantize | None = None,
    out: Number | None = None,
) -> tuple[NDArray[np.int64], Array | None]:
    """The accumulators and, given ``requantize`` and the type ``out``, the same words requantized
    to ``out.dtype``.

    Raises ValueError as ``accumulate`` and ``arithmetic.requantize`` do, or if only one of the two
    is given.
    """
    if (requantize is None) != (out is None):
        raise ValueError(
            f"requantization needs a rule and an output type, got {requantize} and {out}"
        )
    acc = accumulate(problem, data, psum)
    return acc, None if requantize is None or out is None else requantized(acc, requantize, out)


def _has_bias(problem: Problem) -> bool:
    return problem.bias and problem.direction == "forward"


def _check(problem: Problem, data: Data, psum: Number) -> None:
    psum.as_accumulator()
    shapes = {name: problem.shape(name) for name in problem.operands}
    if _has_bias(problem):
        shapes["bias"] = (problem.G, problem.M)
    for name, shape in shapes.items():
        if name not in data:
            raise ValueError(f"{problem.direction} needs {' and '.join(shapes)}, got no {name}")
        array = data[name]
        if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"{name} must be integers of shape {shape}, "
                f"got {array.dtype} of shape {array.shape}"
            )


def _exact_terms(a: Array, b: Array) -> int:
    """How many products of a word of ``a`` and a word of ``b`` float64 adds exactly; see
    ``accumulate``.
    """
    largest = prod(max(-int(x.min()), int(x.max()), 1) for x in (a, b))
    if largest > EXACT:
        raise ValueError(f"products must be at most {EXACT} in magnitude, got up to {largest}")
    return EXACT // largest


# One layer is the matrix product  ofmap[M, X] = weight[M, K] @ columns[K, X]  per group, with K =
# (C,R,S), X = (N,E,F) and columns the im2col of the ifmap.  The gradients are its transposes:
# weight = ofmap @ columns.T,  columns = weight.T @ ofmap  followed by col2im. numpy.matmul takes
# groups as its batch, so depthwise layers need no path of their own.


def _forward(p: Problem, weight: Array, ifmap: Array, acc: Array, terms: int) -> None:
    for g, m, c in _channel_blocks(p):
        matrix = _weight_matrix(weight[g, m, c])
        for n, e in _pixel_blocks(p, g, m, c):
            pixels = _dot(matrix, _im2col(p, ifmap[n, g, c], e), terms)
            block = acc[n, g, m, e].transpose(1, 2, 0, 3, 4)
            block += pixels.astype(np.int64, copy=False).reshape(block.shape)


def _grad_weight(p: Problem, ifmap: Array, grad: Array, acc: Array, terms: int) -> None:
    for g, m, c in _channel_blocks(p):
        block = acc[g, m, c]
        for n, e in _pixel_blocks(p, g, m, c):
            columns = _im2col(p, ifmap[n, g, c], e)
            matrix = _dot(_pixel_matrix(grad[n, g, m, e]), columns.swapaxes(1, 2), terms)
            block += matrix.astype(np.int64, copy=False).reshape(block.shape)


def _grad_input(p: Problem, weight: Array, grad: Array, acc: Array, terms: int) -> None:
    for g, m, c in _channel_blocks(p):
        matrix = _weight_matrix(weight[g, m, c]).swapaxes(1, 2)
        for n, e in _pixel_blocks(p, g, m, c):
            # col2im adds up to R*S columns in one word, each a sum over M
            columns = _dot(matrix, _pixel_matrix(grad[n, g, m, e]), terms // (p.R * p.S))
            _col2im(p, columns, acc[n, g, c], e)


def _dot(a: Array, b: Array, terms: int) -> Array:
    """``a[g, i, k] @ b[g, k, j]``: float64, or int64 if more than ``terms`` terms have to be
    split.
    """
    length, step = a.shape[2], max(terms, 1)
    if length <= terms:
        return a @ b
    total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.int64)
    for k in range(0, length, step):
        total += (a[:, :, k : k + step] @ b[:, k : k + step]).astype(np.int64)
    return total


def _weight_matrix(weight: Array) -> Array:
    """[g, m, c, R, S] to float64 [g, m, (c, R, S)]."""
    return weight.astype(np.float64).reshape(*weight.shape[:2], -1)


def _pixel_matrix(ofmap: Array) -> Array:
    """[n, g, m, e, F] to float64 [g, m, (n, e, F)]."""
    pixels = ofmap.transpose(1, 2, 0, 3, 4)
    return pixels.astype(np.float64, order="C").reshape(*pixels.shape[:2], -1)


def _im2col(p: Problem, ifmap: Array, e: slice) -> Array:
    """[n, g, c, H, W] to the float64 columns [g, (c, R, S), (n, e, F)] of the output rows ``e``."""
    n, g, c = ifmap.shape[:3]
    (height, real_h, at_h), (width, real_w, at_w) = _windows(p, e)
    padded = np.zeros((g, c, n, height, width))
    padded[..., at_h, at_w] = ifmap[..., real_h, real_w].transpose(1, 2, 0, 3, 4)
    (uh, uw), (dh, dw) = p.stride, p.dilation
    taps = sliding_window_view(padded, (dh * (p.R - 1) + 1, dw * (p.S - 1) + 1), axis=(3, 4))
    taps = taps[:, :, :, ::uh, ::uw, ::dh, ::dw]
    return taps.transpose(0, 1, 5, 6, 2, 3, 4).reshape(
        g, c * p.R * p.S, -1
    )  # a view if 1x1, else a copy


def _col2im(p: Problem, columns: Array, acc: Array, e: slice) -> None:
    """Adds ``columns``, as im2col lays them out, to the words of ``acc`` [n, g, c, H, W] they
    belong to.
    """
    n, g, c = acc.shape[:3]
    (height, real_h, at_h), (width, real_w, at_w) = _windows(p, e)
    padded = np.zeros((g, c, n, height, width), columns.dtype)
    (uh, uw), (dh, dw), rows = p.stride, p.dilation, e.stop - e.start
    taps = columns.reshape(g, c, p.R, p.S, n, rows, p.F)
    if (
        rows * p.F < p.R * p.S
    ):  # the same sum by whole filters or by whole output planes: the shorter loop
        for y, x in np.ndindex(rows, p.F):
            pixel = taps[..., y, x].transpose(0, 1, 4, 2, 3)
            padded[..., _every(dh, uh * y, p.R), _every(dw, uw * x, p.S)] += pixel
    else:
        for r, s in np.ndindex(p.R, p.S):
            padded[..., _every(uh, dh * r, rows), _every(uw, dw * s, p.F)] += taps[:, :, r, s]
    acc[..., real_h, real_w] += (
        padded[..., at_h, at_w].transpose(2, 0, 1, 3, 4).astype(np.int64, copy=False)
    )


def _every(step: int, first: int, count: int) -> slice:
    return slice(first, first + step * (count - 1) + 1, step)


def _windows(p: Problem, e: slice) -> tuple[tuple[int, slice, slice], tuple[int, slice, slice]]:
    """What the output rows ``e``, all columns, see of the ifmap in height and in width; see
    ``_window``.
    """
    return _window(p.slide_h, e.start, e.stop - e.start, p.R), _window(p.slide_w, 0, p.F, p.S)


def _window(slide: Slide, first: int, outputs: int, taps: int) -> tuple[int, slice, slice]:
    """Extent seen by ``outputs`` outputs from ``first``, its part inside the ifmap, and where in
    the extent that is.
    """
    start = slide.stride * first - slide.pad
    length = slide.stride * (outputs - 1) + slide.dilation * (taps - 1) + 1
    low = min(max(start, 0), slide.size)
    high = max(min(start + length, slide.size), low)
    return length, slice(low, high), slice(low - start, high - start)


def _channel_blocks(p: Problem) -> Iterator[tuple[slice, slice, slice]]:
    """Cuts (G, M, C) into blocks whose weights, and whose columns of one output row, are at most
    BLOCK_WORDS.
    """
    taps = p.R * p.S
    m = _fit(BLOCK_WORDS, max(taps, p.F), p.M)
    c = _fit(BLOCK_WORDS, taps * max(m, p.F), p.C)
    g = _fit(BLOCK_WORDS, taps * max(m, p.F) * c, p.G)
    yield from product(_slices(p.G, g), _slices(p.M, m), _slices(p.C, c))


def _pixel_blocks(p: Problem, g: slice, m: slice, c: slice) -> Iterator[tuple[slice, slice]]:
    """Cuts (N, E) into blocks of at most CACHE_WORDS of ifmap, columns and products, but at least
    one row.
    """
    groups, outputs, inputs = (block.stop - block.start for block in (g, m, c))
    row = groups * p.F * (inputs * (prod(p.stride) + p.R * p.S) + outputs)
    yield from product(
        _slices(p.N, _fit(CACHE_WORDS, row * p.E, p.N)), _slices(p.E, _fit(CACHE_WORDS, row, p.E))
    )


def _fit(budget: int, each: int, most: int) -> int:
    return min(max(budget // each, 1), most)


def _slices(total: int, step: int) -> Iterator[slice]:
    return (slice(i, min(i + step, total)) for i in range(0, total, step))
