"""Gradients of normalizations.  Batch normalization is frozen: its mean and variance are constants,
as when it runs.

In words batch normalization's is exact but for a table of 24 bits, one entry a channel; the others'
go through float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.block_float import FRACTION, PARAMETER, BlockFloat, rounded
from accelsim.workload.operators.gradients.gradient import Blocks, Floats, gradient, gradient_words
from accelsim.workload.operators.normalization import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    LocalContrast,
    LocalResponse,
    standardized,
)
from accelsim.workload.operators.operator import Weights, as_float, axes_of
from accelsim.workload.scaling import Scales


@gradient.register
def _batch_norm_gradient(op: BatchNorm, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    x, wide = as_float(xs[0]), (-1, *[1] * (xs[0].ndim - 2))
    factor, _ = op.folded(weights)
    others = (0, *range(2, x.ndim))
    unit = (x - as_float(weights["mean"]).reshape(wide)) / np.sqrt(
        as_float(weights["variance"]) + op.epsilon
    ).reshape(wide)
    return [g * factor.reshape(wide)], {
        "scale": (g * unit).sum(axis=others),
        "shift": g.sum(axis=others),
    }


@gradient_words.register
def _batch_norm_gradient_words(
    op: BatchNorm, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
) -> Blocks:
    """Sums are exact; the scale's gradient is (sum of g x - mean times sum of g) over the
    deviation, in float64.
    """
    factor, _ = op.folded(weights)
    table = rounded(factor, FRACTION)
    others = (0, *range(2, xs[0].ndim))
    shift = BlockFloat(g.words.sum(axis=others), g.exponent, g.divisor)
    moment = (
        BlockFloat(
            (g.words * xs[0].astype(np.int64)).sum(axis=others), g.exponent, g.divisor
        ).values
        * scales.inputs[0]
    )
    deviation = np.sqrt(as_float(weights["variance"]) + op.epsilon)
    scale = (moment - as_float(weights["mean"]) * shift.values) / deviation
    wide = BlockFloat(table.words.reshape(-1, *[1] * (xs[0].ndim - 2)), table.exponent)
    return [g.times(wide)], {"scale": rounded(scale, PARAMETER), "shift": shift}


def _standardized(x: Array, g: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array]:
    """``standardized`` over ``axes``, and from the gradient at that the gradient at x, both in the
    shape of ``x``.
    """
    unit, deviation = standardized(x, axes, epsilon)
    inner = g - g.mean(axis=axes, keepdims=True) - unit * (g * unit).mean(axis=axes, keepdims=True)
    return unit, inner / deviation


@gradient.register
def _layer_norm_gradient(op: LayerNorm, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    x = as_float(xs[0])
    axes = tuple(a + 1 for a in axes_of(op.axes, x.ndim - 1))
    wide = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    unit, at_input = _standardized(
        x, g * as_float(weights["scale"]).reshape(wide), axes, op.epsilon
    )
    others = tuple(i for i in range(x.ndim) if i not in axes)
    return [at_input], {"scale": (g * unit).sum(axis=others), "shift": g.sum(axis=others)}


@gradient.register
def _group_norm_gradient(op: GroupNorm, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    x = as_float(xs[0])
    wide, flat = (-1, *[1] * (x.ndim - 2)), (len(x), op.groups, -1)
    scaled = g * as_float(weights["scale"]).reshape(wide)
    unit, at_input = _standardized(x.reshape(flat), scaled.reshape(flat), (2,), op.epsilon)
    others = (0, *range(2, x.ndim))
    return [at_input.reshape(x.shape)], {
        "scale": (g * unit.reshape(x.shape)).sum(axis=others),
        "shift": g.sum(axis=others),
    }


@gradient.register
def _local_response_gradient(
    op: LocalResponse, xs: Sequence[Array], g: Array, weights: Weights
) -> Floats:
    """g / d^beta - 2 alpha beta x times the sum of g x / d^(beta + 1) over the windows a word is
    in.
    """
    x = as_float(xs[0])
    d = op.k + op.alpha * op.summed(x * x)
    back = op.summed(g * x * d ** (-op.beta - 1), backwards=True)
    return [g * d**-op.beta - 2 * op.alpha * op.beta * x * back], {}


@gradient.register
def _local_contrast_gradient(
    op: LocalContrast, xs: Sequence[Array], g: Array, weights: Weights
) -> Floats:
    """The definition backwards; the window is symmetric, so that a mean's gradient is a mean."""
    x = as_float(xs[0])
    channels = x.shape[1]
    v = x - op.blurred(x.mean(axis=1))
    sigma = np.sqrt(op.blurred((v * v).mean(axis=1)))
    average = sigma.mean(axis=(2, 3), keepdims=True)
    floor = np.maximum(sigma, average)
    safe = np.where(floor > 0, floor, 1.0)
    at_floor = -(np.where(floor > 0, g * v, 0.0) / safe**2).sum(axis=1, keepdims=True)
    own = sigma >= average
    at_sigma = np.where(own, at_floor, 0.0) + np.where(own, 0.0, at_floor).mean(
        axis=(2, 3), keepdims=True
    )
    at_square = np.divide(at_sigma, 2 * sigma, out=np.zeros_like(sigma), where=sigma > 0)
    at_v = np.where(floor > 0, g, 0.0) / safe + 2 * v * op.blurred(at_square[:, 0]) / channels
    return [at_v - op.blurred(at_v.sum(axis=1)) / channels], {}
