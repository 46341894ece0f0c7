"""Pooling over windows of each map: max, average, L2, Lp, centre-weighted, stochastic; and over the
whole map.

A pool states its windows (``sides``), its golden model and its integer form; windows themselves are
``windows``'.  Maps are [N, C, H, W], windows [N, C, E, F, R, S].
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from accelsim.workload.arithmetic import Array
from accelsim.workload.layers import same_padding
from accelsim.workload.operators.fields import OptionalPair, OptionalSize, Padding, Pair, Size
from accelsim.workload.operators.operator import Operator, Shape, Weights, Work, as_float
from accelsim.workload.operators.windows import WindowSide, side, windows
from accelsim.workload.scaling import Scales


class Pool(Operator):
    """Windows over each map.

    ``R, S``      height and width of a window; ``S`` is ``R`` unless given
    ``stride``    from window to window; the window's size unless given
    ``padding``   places without words around the map
    ``dilation``  from one word of a window to the next
    ``ceil``      a window over the tail a stride leaves, too, as Caffe has it
    """

    R: Size
    S: OptionalSize = None
    stride: OptionalPair = None
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    ceil: bool = False

    def sides(self, shape: Shape) -> tuple[WindowSide, WindowSide]:
        """The windows down and across maps of ``shape``.  Raises ValueError."""
        self.require([shape], 3, "maps (channels, height, width)")
        taps = (self.R, self.S or self.R)
        stride = self.stride or taps
        pads = self.padding
        both = []
        for i in (0, 1):
            size = shape[1 + i]
            pair = (
                same_padding(size, taps[i], stride[i], self.dilation[i])
                if pads == "same"
                else (int(pads[2 * i]), int(pads[2 * i + 1]))
            )
            both.append(side(size, taps[i], stride[i], self.dilation[i], pair, self.ceil))
        return both[0], both[1]

    def infer(self, *shapes: Shape) -> Shape:
        rows, cols = self.sides(shapes[0])
        return shapes[0][0], rows.out, cols.out

    def _taps(self, shape: Shape) -> tuple[int, int]:
        """Words read and windows, over all channels."""
        rows, cols = self.sides(shape)
        return shape[0] * int(rows.real().sum()) * int(cols.real().sum()), shape[
            0
        ] * rows.out * cols.out

    def work(self, *shapes: Shape) -> Work:
        taps, out = self._taps(shapes[0])
        return Work(self.operations(taps, out), taps, out)

    @abstractmethod
    def operations(self, taps: int, out: int) -> dict[str, int]:
        """Operations by kind for ``out`` windows that have ``taps`` words together."""

    def view(self, x: Array, fill: float | int = 0) -> Array:
        """The windows of (N, C, H, W) as (N, C, E, F, R, S)."""
        return windows(x, *self.sides(x.shape[1:]), fill)


class MaxPool(Pool):
    """The largest word of each window.  Integers exactly."""

    type: Literal["max_pool"]
    keeps_scale = True

    def operations(self, taps: int, out: int) -> dict[str, int]:
        return {"compare": taps - out}

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        return np.asarray(self.view(as_float(xs[0]), -np.inf).max(axis=(4, 5)))

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        return np.asarray(
            self.view(xs[0].astype(np.int64), np.iinfo(np.int64).min).max(axis=(4, 5))
        )


class AveragePool(Pool):
    """The mean of each window: of its words, or of words and padding if ``count_padding``.

    Integers exactly: the sum divided by the number, rounded once, together with the change of
    scale.
    """

    type: Literal["average_pool"]
    count_padding: bool = False

    def operations(self, taps: int, out: int) -> dict[str, int]:
        return {"add": taps - out, "multiply": out}

    def counts(self, shape: Shape) -> Array:
        """How many places each window divides by, (E, F)."""
        rows, cols = self.sides(shape)
        return np.asarray(
            rows.real(self.count_padding)[:, None] * cols.real(self.count_padding)[None, :]
        )

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        return np.asarray(
            self.view(as_float(xs[0])).sum(axis=(4, 5)) / self.counts(xs[0].shape[1:])
        )

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        sums = self.view(xs[0].astype(np.int64)).sum(axis=(4, 5))
        return scales.rescale(sums, scales.inputs[0], self.counts(xs[0].shape[1:]))


class L2Pool(Pool):
    """The square root of each window's sum of squares.

    Integers exactly: the squares' sum is exact in int64, and its root in float64 rounds as the root
    itself does.
    """

    type: Literal["l2_pool"]
    keeps_scale = True

    def operations(self, taps: int, out: int) -> dict[str, int]:
        return {"multiply": taps, "add": taps - out, "sqrt": out}

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        view = self.view(as_float(xs[0]))
        return np.asarray(np.sqrt((view * view).sum(axis=(4, 5))))

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        view = self.view(xs[0].astype(np.int64))
        return scales.saturate(np.rint(np.sqrt((view * view).sum(axis=(4, 5)))).astype(np.int64))


class LpPool(Pool):
    """The p-th root of each window's sum of p-th powers of magnitudes; p without bound is max (of
    magnitudes).

    Powers are taken of magnitudes over the window's largest, so that a large ``p`` does not
    overflow.
    """

    type: Literal["lp_pool"]
    p: Annotated[float, Field(strict=False, ge=1, le=10_000)]

    def operations(self, taps: int, out: int) -> dict[str, int]:
        return {"power": taps + out, "add": taps - out}

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        view = np.abs(self.view(as_float(xs[0])))
        largest = view.max(axis=(4, 5), keepdims=True)
        unit = np.divide(view, largest, out=np.zeros_like(view), where=largest > 0)
        return np.asarray((unit**self.p).sum(axis=(4, 5)) ** (1 / self.p) * largest[..., 0, 0])


def centre_weights(taps: int) -> Array:
    """Weights [taps] that rise to the middle and fall again: 1 2 1, 1 2 2 1, 1 2 3 2 1."""
    at = np.arange(taps)
    return np.asarray(np.minimum(at, at[::-1]) + 1)


class CentreWeightedPool(Pool):
    """A mean whose weights rise to the window's centre: 1 2 1 across times 1 2 1 down, over the sum
    of the weights on words.

    Integers exactly: the weights are whole numbers.
    """

    type: Literal["centre_weighted_pool"]

    def operations(self, taps: int, out: int) -> dict[str, int]:
        return {"multiply": taps + out, "add": taps - out}

    def _sums(self, x: Array) -> tuple[Array, Array]:
        w = np.outer(centre_weights(self.R), centre_weights(self.S or self.R))
        ones = np.ones((1, 1, *x.shape[2:]), np.int64)
        return (self.view(x) * w).sum(axis=(4, 5)), (self.view(ones) * w).sum(axis=(4, 5))

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        sums, of = self._sums(as_float(xs[0]))
        return np.asarray(sums / of)

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        sums, of = self._sums(xs[0].astype(np.int64))
        return scales.rescale(sums, scales.inputs[0], of)


class StochasticPool(Pool):
    """One word of each window, drawn with a probability of its share of the window's sum (Zeiler,
    Fergus, ICLR 2013).

    Negative words have no chance; a window without a positive word gives 0.  The draw is numpy's
    for ``seed``, the same on every run.  With ``expected`` it is the mean weighted by those shares,
    which the paper uses when testing. Integers exactly: the draw is a whole number below the
    window's sum.
    """

    type: Literal["stochastic_pool"]
    seed: Annotated[int, Field(ge=0)] = 0
    expected: bool = False

    def operations(self, taps: int, out: int) -> dict[str, int]:
        if self.expected:
            return {"compare": taps, "multiply": taps, "add": 2 * (taps - out), "divide": out}
        return {"compare": 2 * taps, "add": 2 * (taps - out), "multiply": out}

    def flat(self, x: Array) -> Array:
        """The windows' positive words, 0 for the others, [N, C, E, F, R*S]."""
        view = np.maximum(self.view(x), 0)
        return np.ascontiguousarray(view).reshape(*view.shape[:4], -1)

    @staticmethod
    def chosen(flat: Array, draw: Array) -> Array:
        """The number within its window, [N, C, E, F], of the first word at which the running sum
        exceeds the draw.
        """
        sums = np.cumsum(flat, axis=-1)
        return np.asarray(np.minimum((sums <= draw[..., None]).sum(axis=-1), flat.shape[-1] - 1))

    def _pick(self, flat: Array, draw: Array) -> Array:
        chosen = self.chosen(flat, draw)[..., None]
        return np.asarray(np.take_along_axis(flat, chosen, axis=-1)[..., 0])

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        flat = self.flat(as_float(xs[0]))
        sums = flat.sum(axis=-1)
        if self.expected:
            return np.asarray(
                np.divide((flat * flat).sum(axis=-1), sums, out=np.zeros_like(sums), where=sums > 0)
            )
        return self._pick(flat, np.random.default_rng(self.seed).random(sums.shape) * sums)

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        flat = self.flat(xs[0].astype(np.int64))
        sums = flat.sum(axis=-1)
        if self.expected:
            return scales.rescale((flat * flat).sum(axis=-1), scales.inputs[0], np.maximum(sums, 1))
        draw = np.random.default_rng(self.seed).integers(0, np.maximum(sums, 1))
        return scales.rescale(self._pick(flat, draw), scales.inputs[0])


class GlobalPool(Operator):
    """One word of each map: its mean (``global_average_pool``) or its largest
    (``global_max_pool``), as 1 x 1 maps.

    Integers exactly, as the pooling of the same name.
    """

    type: Literal["global_average_pool", "global_max_pool"]

    def infer(self, *shapes: Shape) -> Shape:
        self.require(shapes, 3, "maps (channels, height, width)")
        return shapes[0][0], 1, 1

    def work(self, *shapes: Shape) -> Work:
        n, c = prod(shapes[0]), shapes[0][0]
        counts = (
            {"compare": n - c} if self.type == "global_max_pool" else {"add": n - c, "multiply": c}
        )
        return Work(counts, n, c)

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        x = as_float(xs[0])
        return np.asarray(
            x.max(axis=(2, 3), keepdims=True)
            if self.type == "global_max_pool"
            else x.mean(axis=(2, 3), keepdims=True)
        )

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        x = xs[0].astype(np.int64)
        if self.type == "global_max_pool":
            return scales.rescale(x.max(axis=(2, 3), keepdims=True), scales.inputs[0])
        return scales.rescale(
            x.sum(axis=(2, 3), keepdims=True), scales.inputs[0], x.shape[2] * x.shape[3]
        )
