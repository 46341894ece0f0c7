"""Gradients of pooling: words of a window get their share, windows that overlap add up.

Exact in whole numbers: max (to the window's first largest word), average and centre-weighted
(shares as whole numbers over a common divisor), stochastic (to the word that was drawn), global.
L2 and Lp go through float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.block_float import BlockFloat
from accelsim.workload.operators.gradients.gradient import (
    Blocks,
    Floats,
    gradient,
    gradient_words,
    linear,
    refusal,
)
from accelsim.workload.operators.operator import Operator, Weights, as_float
from accelsim.workload.operators.pooling import (
    AveragePool,
    CentreWeightedPool,
    GlobalPool,
    L2Pool,
    LpPool,
    MaxPool,
    Pool,
    StochasticPool,
    centre_weights,
)
from accelsim.workload.operators.windows import WindowSide
from accelsim.workload.scaling import Scales

MAX_DIVISOR = 2**24


def gathered(parts: Array, rows: WindowSide, cols: WindowSide) -> Array:
    """Windows' words (N, C, E, F, R, S) added up where they came from: maps (N, C, H, W), the
    opposite of ``windows``.
    """
    n, c = parts.shape[:2]
    framed = np.zeros(
        (n, c, rows.before + rows.size + rows.after, cols.before + cols.size + cols.after),
        parts.dtype,
    )
    for r in range(rows.taps):
        for s in range(cols.taps):
            framed[:, :, _places(rows, r), _places(cols, s)] += parts[..., r, s]
    return framed[
        :, :, rows.before : rows.before + rows.size, cols.before : cols.before + cols.size
    ]


def _places(side: WindowSide, tap: int) -> slice:
    first = side.dilation * tap
    return slice(first, first + side.stride * (side.out - 1) + 1, side.stride)


def _routed(op: Pool, x: Array, g: Array, chosen: Array) -> Array:
    """Each window's gradient to its ``chosen`` word, numbered through the window; (N, C, E, F)."""
    rows, cols = op.sides(x.shape[1:])
    taps = np.arange(rows.taps * cols.taps).reshape(rows.taps, cols.taps)
    return gathered((chosen[..., None, None] == taps) * g[..., None, None], rows, cols)


@linear(MaxPool)
def _max(op: MaxPool, xs: Sequence[Array], g: Array) -> tuple[list[Array], int]:
    least = np.iinfo(np.int64).min if np.issubdtype(xs[0].dtype, np.integer) else -np.inf
    view = op.view(xs[0], least)
    chosen = view.reshape(*view.shape[:4], -1).argmax(axis=-1)
    return [_routed(op, xs[0], g, chosen)], 1


def _shares(op: AveragePool | CentreWeightedPool, x: Array) -> tuple[Array, Array]:
    """What each window divides by, (E, F), and each tap's weight, (R, S); whole numbers."""
    rows, cols = op.sides(x.shape[1:])
    if isinstance(op, AveragePool):
        return op.counts(x.shape[1:]), np.ones((rows.taps, cols.taps), np.int64)
    weights = np.outer(centre_weights(rows.taps), centre_weights(cols.taps))
    return (op.view(np.ones((1, 1, *x.shape[2:]), np.int64)) * weights).sum(axis=(4, 5))[
        0, 0
    ], weights


@gradient.register(AveragePool)
@gradient.register(CentreWeightedPool)
def _mean(
    op: AveragePool | CentreWeightedPool, xs: Sequence[Array], g: Array, weights: Weights
) -> Floats:
    below, taps = _shares(op, xs[0])
    return [gathered((as_float(g) / below)[..., None, None] * taps, *op.sides(xs[0].shape[1:]))], {}


@gradient_words.register(AveragePool)
@gradient_words.register(CentreWeightedPool)
def _mean_words(
    op: AveragePool | CentreWeightedPool,
    xs: Sequence[Array],
    g: BlockFloat,
    weights: Weights,
    scales: Scales,
) -> Blocks:
    """Exact if windows have a common divisor of at most ``MAX_DIVISOR``: all but odd borders do."""
    below, taps = _shares(op, xs[0])
    divisor = lcm(*(int(n) for n in np.unique(below)))
    if divisor > MAX_DIVISOR:
        return gradient_words.dispatch(Operator)(op, xs, g, weights, scales)
    parts = (g.words * (divisor // below))[..., None, None] * taps
    return [
        BlockFloat(gathered(parts, *op.sides(xs[0].shape[1:])), g.exponent, g.divisor * divisor)
    ], {}


@linear(GlobalPool)
def _global(op: GlobalPool, xs: Sequence[Array], g: Array) -> tuple[list[Array], int]:
    x = xs[0]
    if op.type == "global_average_pool":
        return [np.broadcast_to(g, x.shape).copy()], x.shape[2] * x.shape[3]
    flat = x.reshape(*x.shape[:2], -1)
    chosen = np.arange(flat.shape[-1]) == flat.argmax(axis=-1)[..., None]
    return [(chosen * g.reshape(*g.shape[:2], 1)).reshape(x.shape)], 1


@gradient.register
def _l2_pool_gradient(op: L2Pool, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    """g x / y; 0 where the window is all zeros."""
    y = op.run(xs, weights)
    share = np.divide(g, y, out=np.zeros_like(y), where=y > 0)
    return [
        gathered(op.view(as_float(xs[0])) * share[..., None, None], *op.sides(xs[0].shape[1:]))
    ], {}


@gradient.register
def _lp_pool_gradient(op: LpPool, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    """g sign(x) (|x| / y)^(p - 1); 0 where the window is all zeros."""
    view, y = op.view(as_float(xs[0])), op.run(xs, weights)[..., None, None]
    ratio = np.divide(np.abs(view), y, out=np.zeros(view.shape), where=y > 0)
    parts = np.sign(view) * ratio ** (op.p - 1) * g[..., None, None]
    return [gathered(parts, *op.sides(xs[0].shape[1:]))], {}


@refusal.register
def _stochastic_pool_refusal(op: StochasticPool) -> str | None:
    return (
        "stochastic_pool with expected is what a trained network does and has no gradient; leave"
        " expected out"
        if op.expected
        else None
    )


@gradient.register
def _stochastic_pool_gradient(
    op: StochasticPool, xs: Sequence[Array], g: Array, weights: Weights
) -> Floats:
    flat = op.flat(as_float(xs[0]))
    draw = np.random.default_rng(op.seed).random(g.shape) * flat.sum(axis=-1)
    return [_drawn(op, xs[0], as_float(g), flat, draw)], {}


@gradient_words.register
def _stochastic_pool_gradient_words(
    op: StochasticPool, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
) -> Blocks:
    flat = op.flat(xs[0].astype(np.int64))
    draw = np.random.default_rng(op.seed).integers(0, np.maximum(flat.sum(axis=-1), 1))
    return [BlockFloat(_drawn(op, xs[0], g.words, flat, draw), g.exponent, g.divisor)], {}


def _drawn(op: StochasticPool, x: Array, g: Array, flat: Array, draw: Array) -> Array:
    """Maps (N, C, H, W): each window's gradient at the word the forward pass drew, with its own
    draw again.  A window without a positive word passes nothing.
    """
    return _routed(op, x, np.where(flat.sum(axis=-1) > 0, g, 0), op.chosen(flat, draw))
