"""Activations, word by word, and softmax.

Every one is a function of a word, ``Elementwise.of``, in any shape; softmax takes a whole axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from accelsim.workload.arithmetic import Array
from accelsim.workload.operators.fields import Axis, Real
from accelsim.workload.operators.operator import Operator, Shape, Weights, Work, as_float, axes_of
from accelsim.workload.scaling import Scales, fixed_point

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23, 1969:
# relative error below 1e-15.
_ERF_P = (
    3.1611237438705656,
    113.864154151050156,
    377.485237685302021,
    3209.37758913846947,
    0.185777706184603153,
)
_ERF_Q = (23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062)
_ERFC_P = (
    *(
        0.564188496988670089,
        8.88314979438837594,
        66.1191906371416295,
        298.635138197400131,
        881.95222124176909,
    ),
    *(1712.04761263407058, 2051.07837782607147, 1230.33935479799725, 2.15311535474403846e-8),
)
_ERFC_Q = (
    *(
        15.7449261107098347,
        117.693950891312499,
        537.181101862009858,
        1621.38957456669019,
        3290.79923573345963,
    ),
    *(4362.61909014324716, 3439.36767414372164, 1230.33935480374942),
)


def erf(x: Array) -> Array:
    """The error function of every word, in the shape of ``x``, to about 1e-15.

    Beyond 4 in magnitude its complement is below 2e-8, and what is left is exact to 1e-15.
    """
    x = as_float(x)
    y = np.abs(x)
    z = np.where(y <= 0.5, y * y, 0)
    top, below = _ERF_P[4] * z, z
    for p, q in zip(_ERF_P[:3], _ERF_Q[:3], strict=True):
        top, below = (top + p) * z, (below + q) * z
    small = x * (top + _ERF_P[3]) / (below + _ERF_Q[3])
    t = np.clip(y, 0.46875, 6)
    top, below = _ERFC_P[8] * t, t
    for p, q in zip(_ERFC_P[:7], _ERFC_Q[:7], strict=True):
        top, below = (top + p) * t, (below + q) * t
    large = 1 - np.exp(-t * t) * (top + _ERFC_P[7]) / (below + _ERFC_Q[7])
    return np.asarray(np.where(y <= 0.5, small, np.sign(x) * large))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x) of every word, in the shape of ``x``, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * as_float(x))))


# Each one with the operations of a word.
_PLAIN: dict[str, tuple[Callable[[Array], Array], dict[str, int]]] = {
    "relu": (lambda x: np.maximum(x, 0), {"compare": 1}),
    "sigmoid": (sigmoid, {"exp": 1, "add": 1, "divide": 1}),
    "tanh": (np.tanh, {"exp": 1, "add": 2, "divide": 1}),
    "gelu": (lambda x: 0.5 * x * (1 + erf(x / sqrt(2))), {"exp": 1, "multiply": 2, "add": 1}),
    "silu": (lambda x: x * sigmoid(x), {"exp": 1, "add": 1, "divide": 1, "multiply": 1}),
    "hard_sigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), {"multiply": 1, "add": 1, "compare": 2}),
    "hard_swish": (
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        {"multiply": 2, "add": 1, "compare": 2},
    ),
    "abs": (np.abs, {"compare": 1}),
    "negate": (lambda x: -x, {"add": 1}),
    "exp": (np.exp, {"exp": 1}),
    "log": (lambda x: np.log(np.maximum(x, np.finfo(np.float64).tiny)), {"exp": 1}),
    "sqrt": (lambda x: np.sqrt(np.maximum(x, 0)), {"sqrt": 1}),
    "reciprocal": (lambda x: 1 / x, {"divide": 1}),
    "erf": (erf, {"exp": 1}),
    "softplus": (lambda x: np.logaddexp(x, 0), {"exp": 2, "add": 1}),
    "square": (np.square, {"multiply": 1}),
    "identity": (lambda x: x, {}),
}


class Elementwise(Operator):
    """A function of each word alone.

    The integer form is a table of the function at every word of the input's type: exact in the
    sense that each entry is the function of the word's value, rounded half to even.  Raises
    nothing: any shape will do.
    """

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def each(self) -> dict[str, int]:
        """Operations of a word, by kind."""
        raise NotImplementedError

    def of(self, x: Array) -> Array:
        """The function of every word, in the shape of ``x``, float64."""
        raise NotImplementedError

    def work(self, *shapes: Shape) -> Work:
        n = prod(shapes[0])
        return Work({k: v * n for k, v in self.each().items()}, n, n)

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        return np.asarray(self.of(as_float(xs[0])))

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        x = xs[0].astype(np.int64)
        low, high = int(x.min()), int(x.max())
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            table = scales.round(self.of(np.arange(low, high + 1) * scales.inputs[0]))
        return table[x - low]


class Activation(Elementwise):
    """sigmoid, tanh, relu, gelu (with the error function), silu (x times sigmoid), their hard
    forms, and plain functions.
    """

    type: Literal[
        "sigmoid", "tanh", "relu", "gelu", "silu", "hard_sigmoid", "hard_swish", "abs", "negate",
        "exp", "log", "sqrt", "reciprocal", "erf", "softplus", "square", "identity",
    ]  # fmt: skip

    def each(self) -> dict[str, int]:
        return _PLAIN[self.type][1]

    def of(self, x: Array) -> Array:
        return _PLAIN[self.type][0](x)

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        if self.type == "relu" and scales.inputs[0] == scales.output:
            return scales.saturate(np.maximum(xs[0].astype(np.int64), 0))
        return super().words(xs, weights, scales)


class LeakyRelu(Elementwise):
    """x where it is positive, else ``alpha`` times x."""

    type: Literal["leaky_relu"]
    alpha: Real = 0.01

    def each(self) -> dict[str, int]:
        return {"compare": 1, "multiply": 1}

    def of(self, x: Array) -> Array:
        return np.asarray(np.where(x > 0, x, self.alpha * x))


class Elu(Elementwise):
    """x where it is positive, else ``alpha`` (e^x - 1)."""

    type: Literal["elu"]
    alpha: Real = 1.0

    def each(self) -> dict[str, int]:
        return {"compare": 1, "exp": 1, "add": 1, "multiply": 1}

    def of(self, x: Array) -> Array:
        return np.asarray(np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0))))


class Clip(Elementwise):
    """x held between ``low`` and ``high``: ReLU6 is 0 and 6."""

    type: Literal["clip"]
    low: Real = 0.0
    high: Real = 6.0

    def each(self) -> dict[str, int]:
        return {"compare": 2}

    def of(self, x: Array) -> Array:
        return np.asarray(np.clip(x, self.low, self.high))


class Power(Elementwise):
    """x to the power ``exponent``."""

    type: Literal["power"]
    exponent: Real

    def each(self) -> dict[str, int]:
        return {"power": 1}

    def of(self, x: Array) -> Array:
        return np.asarray(np.power(x, self.exponent))


class Affine(Elementwise):
    """x times ``scale`` plus ``shift``, two numbers for the whole tensor."""

    type: Literal["affine"]
    scale: Real = 1.0
    shift: Real = 0.0

    def each(self) -> dict[str, int]:
        return {
            k: 1 for k, used in (("multiply", self.scale != 1), ("add", self.shift != 0)) if used
        }

    def of(self, x: Array) -> Array:
        return x * self.scale + self.shift


class Dropout(Elementwise):
    """Nothing when a network runs; ``rate`` is the share of words that training leaves out."""

    type: Literal["dropout"]
    rate: Annotated[float, Field(strict=False, ge=0, lt=1)] = 0.5
    keeps_scale = True

    def each(self) -> dict[str, int]:
        return {}

    def work(self, *shapes: Shape) -> Work:
        return Work()

    def of(self, x: Array) -> Array:
        return x

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        return xs[0].astype(np.int64)


EXP_BITS = 24


class Softmax(Operator):
    """e^x over its sum along ``axis`` (the last unless given; 0 is channels); the largest is taken
    off first.

    Integer form: e^-d of every distance d from the largest word comes from a table of 24-bit
    fractions, rounded half to even; their sum is exact, and each word is its fraction over the sum
    in the output's scale, rounded once.
    """

    type: Literal["softmax"]
    axis: Axis = -1

    def infer(self, *shapes: Shape) -> Shape:
        axes_of([self.axis], len(shapes[0]))
        return shapes[0]

    def work(self, *shapes: Shape) -> Work:
        n = prod(shapes[0])
        rows = n // shapes[0][axes_of([self.axis], len(shapes[0]))[0]]
        return Work({"compare": n - rows, "add": 2 * n - rows, "exp": n, "divide": n}, 3 * n, 2 * n)

    def _axis(self, x: Array) -> int:
        return axes_of([self.axis], x.ndim - 1)[0] + 1

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        x, axis = as_float(xs[0]), self._axis(xs[0])
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return np.asarray(e / e.sum(axis=axis, keepdims=True))

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        x, axis = xs[0].astype(np.int64), self._axis(xs[0])
        distance = x.max(axis=axis, keepdims=True) - x
        table = np.rint(
            np.exp(-np.arange(int(distance.max()) + 1) * scales.inputs[0]) * 2**EXP_BITS
        ).astype(np.int64)
        e = table[distance]
        multiplier, shift = fixed_point(1 / scales.output)
        return scales.saturate(_quotients(e * multiplier, e.sum(axis=axis, keepdims=True), shift))


def _quotients(top: Array, below: Array, shift: int) -> Array:
    """``top / (below * 2^shift)``, nearest, ties up, in whole numbers: the shapes broadcast."""
    return np.asarray((2 * top + (below << shift)) // (below << (shift + 1)))
