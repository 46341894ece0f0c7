"""Gradients of operators of several tensors, of reductions and of moving words.

All but division and bilinear's shares are sums of the words that came: exact in whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.block_float import BlockFloat, exponent_of
from accelsim.workload.operators.combine import (
    Add,
    Concat,
    Embedding,
    Flatten,
    Mean,
    MergeHeads,
    Moving,
    Multiply,
    Pad,
    Parameter,
    Reshape,
    Slice,
    SplitHeads,
    Transpose,
    Upsample,
    aligned,
)
from accelsim.workload.operators.gradients.gradient import (
    Blocks,
    Floats,
    gradient,
    gradient_words,
    linear,
    unbroadcast,
)
from accelsim.workload.operators.operator import Operator, Weights, as_float, axes_of
from accelsim.workload.scaling import Scales

Parts = tuple[list[Array], int]


@linear(Add)
def _add(op: Add, xs: Sequence[Array], g: Array) -> Parts:
    signs = op.signs(len(xs))
    return [sign * unbroadcast(g, x.shape) for x, sign in zip(xs, signs, strict=True)], 1


@linear(Concat)
def _concat(op: Concat, xs: Sequence[Array], g: Array) -> Parts:
    axis = axes_of([op.axis], g.ndim - 1)[0] + 1
    return list(np.split(g, np.cumsum([x.shape[axis] for x in xs])[:-1], axis=axis)), 1


@linear(Mean)
def _mean(op: Mean, xs: Sequence[Array], g: Array) -> Parts:
    x = xs[0]
    axes = tuple(a + 1 for a in axes_of(op.axes, x.ndim - 1))
    kept = g.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64)) if op.type == "mean" else 1
    return [np.broadcast_to(kept, x.shape).copy()], count


@linear(Flatten, Reshape, SplitHeads, MergeHeads, Transpose, Slice, Pad)
def _moved(op: Moving, xs: Sequence[Array], g: Array) -> Parts:
    """Every word back to where it was read; one that was read several times (padding) gets the
    sum.
    """
    x = xs[0]
    places = np.arange(1, x[0].size + 1).reshape(
        1, *x.shape[1:]
    )  # 0 is a word of nobody's: padding with a value
    read = (
        (op.model_copy(update={"value": 0.0}) if isinstance(op, Pad) else op).moved(places).ravel()
    )
    words = np.zeros((x[0].size + 1, len(x)), g.dtype)
    np.add.at(words, read, g.reshape(len(x), -1).T)
    return [np.ascontiguousarray(words[1:].T).reshape(x.shape)], 1


@linear(Upsample)
def _upsample(op: Upsample, xs: Sequence[Array], g: Array) -> Parts:
    """Nearest: the sum of a word's copies.  Bilinear: whole-number shares over their parts."""
    n, c, h, w = xs[0].shape
    down, across = op.sides((h, w))
    if op.mode == "nearest":
        return [g.reshape(n, c, h, down // h, w, across // w).sum(axis=(3, 5))], 1
    over = 1
    for axis, made in ((3, across), (2, down)):
        size = xs[0].shape[axis]
        low, high, share, parts = op.taps(size, made)
        matrix = np.zeros((made, size), g.dtype)
        np.add.at(matrix, (np.arange(made), low), (parts - share).astype(g.dtype))
        np.add.at(matrix, (np.arange(made), high), share.astype(g.dtype))
        g = np.moveaxis(np.moveaxis(g, axis, -1) @ matrix, -1, axis)
        over *= parts
    return [g], over


@gradient.register
def _multiply_gradient(op: Multiply, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    a, b = aligned([as_float(x) for x in xs])
    parts = (g * b, g * a) if op.type == "multiply" else (g / b, -g * a / (b * b))
    return [unbroadcast(part, x.shape) for part, x in zip(parts, xs, strict=True)], {}


@gradient_words.register
def _multiply_gradient_words(
    op: Multiply, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
) -> Blocks:
    """Products exactly; a quotient's through float64."""
    if op.type == "divide":
        return gradient_words.dispatch(Operator)(op, xs, g, weights, scales)
    blocks = []
    others = aligned([x.astype(np.int64) for x in xs])[::-1]
    for x, other, scale in zip(xs, others, scales.inputs[::-1], strict=True):
        part = g.words * other
        blocks.append(
            BlockFloat(unbroadcast(part, x.shape), g.exponent + exponent_of(scale), g.divisor)
        )
    return blocks, {}


@gradient.register
def _embedding_gradient(op: Embedding, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    """Of a row: the sum where it was read.  Numbers have none: the row does not follow them."""
    own = np.zeros((op.rows, op.M))
    np.add.at(own, op.places(xs[0]), as_float(g))
    return [np.zeros(xs[0].shape)], {"weight": own}


@gradient.register
def _parameter_gradient(op: Parameter, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    return [], {"value": g.sum(axis=0)}


@gradient_words.register
def _parameter_gradient_words(
    op: Parameter, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
) -> Blocks:
    return [], {"value": BlockFloat(g.words.sum(axis=0), g.exponent, g.divisor)}
