"""Gradients of activations, word by word, and of softmax.

In words a derivative is a table with an entry of 24 bits for every word that occurs, rounded half
to even, and a product: exact but for the table.  A kink's derivative (relu at 0) is that of the
constant side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from math import pi, sqrt

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.block_float import FRACTION, BlockFloat, exponent_of, rounded
from accelsim.workload.operators.activation import (
    Activation,
    Affine,
    Clip,
    Dropout,
    Elementwise,
    Elu,
    LeakyRelu,
    Power,
    Softmax,
    erf,
    sigmoid,
)
from accelsim.workload.operators.gradients.gradient import (
    Blocks,
    Floats,
    gradient,
    gradient_words,
    refusal,
)
from accelsim.workload.operators.operator import Weights, as_float, axes_of, kind
from accelsim.workload.scaling import Scales


def _positive(x: Array, of: Callable[[Array], Array]) -> Array:
    """``of(x)`` where x is positive, else 0."""
    return np.asarray(np.where(x > 0, of(np.where(x > 0, x, 1.0)), 0.0))


def _silu(x: Array) -> Array:
    s = sigmoid(x)
    return np.asarray(s + x * s * (1 - s))


_PLAIN: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: (x > 0) * 1.0,
    "sigmoid": lambda x: sigmoid(x) * sigmoid(-x),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "gelu": lambda x: 0.5 * (1 + erf(x / sqrt(2))) + x * np.exp(-0.5 * x * x) / sqrt(2 * pi),
    "silu": _silu,
    "hard_sigmoid": lambda x: (np.abs(x) < 3) / 6,
    "hard_swish": lambda x: np.where(np.abs(x) < 3, x / 3 + 0.5, (x >= 3) * 1.0),
    "abs": np.sign,
    "negate": lambda x: np.full_like(x, -1.0),
    "exp": np.exp,
    "log": lambda x: _positive(x, lambda v: 1 / v),
    "sqrt": lambda x: _positive(x, lambda v: 0.5 / np.sqrt(v)),
    "reciprocal": lambda x: -1 / (x * x),
    "erf": lambda x: 2 / sqrt(pi) * np.exp(-x * x),
    "softplus": sigmoid,
    "square": lambda x: 2 * x,
    "identity": np.ones_like,
}


@singledispatch
def derivative(op: Elementwise, x: Array) -> Array:
    """The function's derivative at every word, in the shape of ``x``, float64."""
    raise NotImplementedError(type(op).__name__)


@refusal.register
def _elementwise_refusal(op: Elementwise) -> str | None:
    """Every such operator has the same gradient, made of its derivative, if it has one."""
    missing = derivative.dispatch(type(op)) is derivative.dispatch(object)
    return f"{kind(op)} has no gradient: it registers no derivative" if missing else None


@derivative.register
def _activation_derivative(op: Activation, x: Array) -> Array:
    return np.asarray(_PLAIN[op.type](x))


@derivative.register
def _leaky_relu_derivative(op: LeakyRelu, x: Array) -> Array:
    return np.asarray(np.where(x > 0, 1.0, op.alpha))


@derivative.register
def _elu_derivative(op: Elu, x: Array) -> Array:
    return np.asarray(np.where(x > 0, 1.0, op.alpha * np.exp(np.minimum(x, 0))))


@derivative.register
def _clip_derivative(op: Clip, x: Array) -> Array:
    return ((x > op.low) & (x < op.high)) * 1.0


@derivative.register
def _power_derivative(op: Power, x: Array) -> Array:
    return (
        np.asarray(op.exponent * np.power(x, op.exponent - 1)) if op.exponent else np.zeros_like(x)
    )


@derivative.register
def _affine_derivative(op: Affine, x: Array) -> Array:
    return np.full_like(x, op.scale)


@derivative.register
def _dropout_derivative(op: Dropout, x: Array) -> Array:
    """A step leaves nothing out: its forward pass is the network's own, so that it repeats."""
    return np.ones_like(x)


@gradient.register
def _elementwise_gradient(
    op: Elementwise, xs: Sequence[Array], g: Array, weights: Weights
) -> Floats:
    return [as_float(g) * derivative(op, as_float(xs[0]))], {}


@gradient_words.register
def _elementwise_gradient_words(
    op: Elementwise, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
) -> Blocks:
    seen, at = np.unique(xs[0], return_inverse=True)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        table = rounded(derivative(op, seen.astype(np.float64) * scales.inputs[0]), FRACTION)
    return [g.times(BlockFloat(table.words[at.reshape(xs[0].shape)], table.exponent))], {}


@gradient.register
def _softmax_gradient(op: Softmax, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    p, axis = op.run(xs, weights), axes_of([op.axis], xs[0].ndim - 1)[0] + 1
    return [p * (g - (p * g).sum(axis=axis, keepdims=True))], {}


@gradient_words.register
def _softmax_gradient_words(
    op: Softmax, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
) -> Blocks:
    """Exact in the output's words: p (g - sum of p g)."""
    p, axis = op.words(xs, weights, scales), axes_of([op.axis], xs[0].ndim - 1)[0] + 1
    unit = exponent_of(scales.output)
    sums = (p * g.words).sum(axis=axis, keepdims=True)
    # Both parts in the finer unit: a scale of 1 or less makes it that of the sum.
    inner = (g.words << max(-unit, 0)) - (sums << max(unit, 0))
    return [BlockFloat(p * inner, g.exponent + unit + min(unit, 0), g.divisor)], {}
