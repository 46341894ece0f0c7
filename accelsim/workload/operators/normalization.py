"""Normalization: local response, local contrast, batch, layer, group.

Maps are [batch, C, H, W], or any shape with channels first after the batch.  Batch normalization is
two constants a channel when a network runs; the others measure what they divide by.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from accelsim.workload.arithmetic import Array
from accelsim.workload.operators.fields import Axes, Real, Size
from accelsim.workload.operators.operator import Operator, Shape, Weights, Work, as_float, axes_of
from accelsim.workload.scaling import Scales, divide

FRACTION_BITS = 20
Epsilon = Annotated[float, Field(strict=False, gt=0, lt=1)]


class LocalResponse(Operator):
    """x / (``k`` + alpha * sum of x^2 over ``size`` neighbouring channels)^``beta`` (Krizhevsky
    2012, section 3.3).

    ``alpha`` multiplies the sum, as in the paper; Caffe and ONNX write alpha for size times that.
    The window is size//2 channels before (one less for an even size) and size//2 after, as far as
    there are any.
    """

    type: Literal["local_response_norm"]
    size: Size = 5
    alpha: Real = 1e-4
    beta: Real = 0.75
    k: Real = 2.0

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def work(self, *shapes: Shape) -> Work:
        n, c = prod(shapes[0]), shapes[0][0]
        # A window lacks a channel for each that it is too near to an end: before, before - 1, ...
        # of them, as far as there are windows.
        lacking = sum(
            min(side, c) * side - min(side, c) * (min(side, c) - 1) // 2
            for side in ((self.size - 1) // 2, self.size // 2)
        )
        taps = (c * self.size - lacking) * (n // c)
        return Work({"multiply": taps + n, "add": taps, "power": n, "divide": n}, taps + n, n)

    def summed(self, maps: Array, backwards: bool = False) -> Array:
        """Sums [batch, C, ...] over each channel's window, or ``backwards`` over the windows that a
        channel is in.
        """
        window = ((self.size - 1) // 2, self.size // 2)
        edges = [(0, 0), window[::-1] if backwards else window] + [(0, 0)] * (maps.ndim - 2)
        return np.asarray(sliding_window_view(np.pad(maps, edges), self.size, axis=1).sum(axis=-1))

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        x = as_float(xs[0])
        return np.asarray(x / (self.k + self.alpha * self.summed(x * x)) ** self.beta)


class LocalContrast(Operator):
    """Each word less the Gaussian mean of its neighbourhood over all channels, over that
    neighbourhood's deviation.

    Jarrett, Kavukcuoglu, Ranzato, LeCun, "What is the best multi-stage architecture for object
    recognition?", ICCV 2009, section 2.1: v = x - sum w x; y = v / max(c, sigma), sigma = sqrt(sum
    w v^2), c the mean of sigma over the image.  ``w`` is a Gaussian of ``size`` x ``size`` (odd)
    and deviation ``sigma``, the same for every channel and 1 in all. Outside the maps are zeros.
    """

    type: Literal["local_contrast_norm"]
    size: Size = 9
    sigma: Annotated[float, Field(strict=False, gt=0)] = 1.591

    def infer(self, *shapes: Shape) -> Shape:
        self.require(shapes, 3, "maps (channels, height, width)")
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd, got {self.size}")
        return shapes[0]

    def work(self, *shapes: Shape) -> Work:
        (_, h, w), n = shapes[0], prod(shapes[0])
        taps = n * self.size**2
        operations = {
            "multiply": 2 * taps + n,
            "add": 2 * (taps - h * w) + n,
            "sqrt": h * w,
            "compare": h * w,
            "divide": n,
        }
        return Work(operations, 2 * taps + 2 * n, 2 * n)

    def gaussian(self) -> Array:
        """The window of one channel, [size, size], adding up to 1."""
        at = np.arange(self.size) - self.size // 2
        line = np.exp(-(at**2) / (2 * self.sigma**2))
        return np.asarray(np.outer(line, line) / line.sum() ** 2)

    def blurred(self, map_: Array) -> Array:
        """One map an image, [batch, H, W], under the window, as [batch, 1, H, W]."""
        w, half = self.gaussian(), self.size // 2
        framed = np.pad(map_, ((0, 0), (half, half), (half, half)))
        around = sliding_window_view(framed, w.shape, axis=(1, 2))
        return np.asarray(np.einsum("nefrs,rs->nef", around, w)[:, None])

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        x = as_float(xs[0])
        v = x - self.blurred(x.mean(axis=1))
        sigma = np.sqrt(self.blurred((v * v).mean(axis=1)))
        floor = np.maximum(sigma, sigma.mean(axis=(2, 3), keepdims=True))
        return np.asarray(np.divide(v, floor, out=np.zeros_like(v), where=floor > 0))


class BatchNorm(Operator):
    """(x - mean) / sqrt(variance + ``epsilon``) * scale + shift with one of each per channel, as
    it runs after training.

    The vector unit does one multiplication and one addition a word: scale and shift are folded
    beforehand. The integer form has both, for each channel, as fixed-point numbers of
    ``FRACTION_BITS`` fractional bits, and rounds once.
    """

    type: Literal["batch_norm"]
    epsilon: Epsilon = 1e-5

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        c = (shapes[0][0],)
        return {"scale": c, "shift": c, "mean": c, "variance": c}

    def work(self, *shapes: Shape) -> Work:
        n = prod(shapes[0])
        return Work({"multiply": n, "add": n}, n + 2 * shapes[0][0], n, 2 * shapes[0][0])

    def folded(self, weights: Weights) -> tuple[Array, Array]:
        """What a word is multiplied by, and what is added: both [channels], float64."""
        factor = as_float(weights["scale"]) / np.sqrt(as_float(weights["variance"]) + self.epsilon)
        return factor, as_float(weights["shift"]) - as_float(weights["mean"]) * factor

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        factor, shift = (v.reshape(-1, *[1] * (xs[0].ndim - 2)) for v in self.folded(weights))
        return as_float(xs[0]) * factor + shift

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        factor, shift = self.folded(weights)
        wide = (-1, *[1] * (xs[0].ndim - 2))
        multiplier = (
            np.rint(factor * scales.inputs[0] / scales.output * (1 << FRACTION_BITS))
            .astype(np.int64)
            .reshape(wide)
        )
        offset = (
            np.rint(shift / scales.output * (1 << FRACTION_BITS)).astype(np.int64).reshape(wide)
        )
        return scales.saturate(
            divide(
                xs[0].astype(np.int64) * multiplier + offset, 1 << FRACTION_BITS, scales.rounding
            )
        )


def standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array]:
    """(x - mean) / sqrt(variance + epsilon) over ``axes``, in the shape of ``x``, and that root, in
    which the axes are 1.
    """
    centred = x - x.mean(axis=axes, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + epsilon)
    return np.asarray(centred / deviation), np.asarray(deviation)


def _standardizing(words: int, rows: int, own: int) -> Work:
    """The work of standardizing ``words`` in ``rows`` of one mean and variance each, and of one of
    ``own`` scales and shifts a word: three passes (mean, variance, result).
    """
    operations = {
        "add": 2 * (words - rows) + 2 * words + rows,
        "multiply": 3 * words + 2 * rows,
        "sqrt": rows,
        "divide": rows,
    }
    return Work(operations, 3 * words + 2 * own, words, 2 * own)


class LayerNorm(Operator):
    """(x - mean) / sqrt(variance + ``epsilon``) * scale + shift over the last axis, or ``axes``;
    scale and shift for each word there.
    """

    type: Literal["layer_norm"]
    axes: Axes = (-1,)
    epsilon: Epsilon = 1e-5

    def infer(self, *shapes: Shape) -> Shape:
        axes_of(self.axes, len(shapes[0]))
        return shapes[0]

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        shape = tuple(shapes[0][a] for a in axes_of(self.axes, len(shapes[0])))
        return {"scale": shape, "shift": shape}

    def work(self, *shapes: Shape) -> Work:
        each = prod(self.parameters(*shapes)["scale"])
        return _standardizing(prod(shapes[0]), prod(shapes[0]) // each, each)

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        x = as_float(xs[0])
        axes = tuple(a + 1 for a in axes_of(self.axes, x.ndim - 1))
        unit, _ = standardized(x, axes, self.epsilon)
        wide = [n if i in axes else 1 for i, n in enumerate(x.shape)]
        return np.asarray(
            unit * as_float(weights["scale"]).reshape(wide)
            + as_float(weights["shift"]).reshape(wide)
        )


class GroupNorm(Operator):
    """(x - mean) / sqrt(variance + ``epsilon``) over each of ``groups`` sets of channels; scale
    and shift for each channel.

    As many groups as channels is instance normalization.
    """

    type: Literal["group_norm"]
    groups: Size
    epsilon: Epsilon = 1e-5

    def infer(self, *shapes: Shape) -> Shape:
        if shapes[0][0] % self.groups:
            raise ValueError(f"groups must divide the {shapes[0][0]} channels, got {self.groups}")
        return shapes[0]

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        return {"scale": (shapes[0][0],), "shift": (shapes[0][0],)}

    def work(self, *shapes: Shape) -> Work:
        return _standardizing(prod(shapes[0]), self.groups, shapes[0][0])

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        x = as_float(xs[0])
        unit, _ = standardized(x.reshape(x.shape[0], self.groups, -1), (2,), self.epsilon)
        wide = (-1, *[1] * (x.ndim - 2))
        return np.asarray(
            unit.reshape(x.shape) * as_float(weights["scale"]).reshape(wide)
            + as_float(weights["shift"]).reshape(wide)
        )
