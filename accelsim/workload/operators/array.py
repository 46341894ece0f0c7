"""Operators that run on the array: each is one layer, that is one Problem, and a way to lay tensors
out for it.

``engines/golden/golden_network`` packs tensors into a layer's operands, has any engine accumulate,
and unpacks: the network sees operators, the engines see problems.  ``multiply`` is the float64
accumulation for ``run``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from accelsim.workload.arithmetic import Array
from accelsim.workload.layers import Conv2d, ConvTranspose2d, Gemm, Layer, Linear, MatMul
from accelsim.workload.operators.fields import LeastPair, OptionalSize, Padding, Pair, Size
from accelsim.workload.operators.matrix_places import Layout, Places, layouts, meet
from accelsim.workload.operators.operator import Operator, Shape, Weights, Work, as_float, text
from accelsim.workload.problem import Problem

Data = Mapping[str, Array]
AnyModel = TypeVar("AnyModel", bound=Layer)


class ArrayOperator(Operator):
    """Multiplications and additions on the array; the vector unit has nothing to do.

    ``R, S``                       height and width of a filter; ``S`` is ``R`` unless given
    ``stride, padding, dilation``  as of the layer ``Conv2d``
    ``groups``                     channels in so many sets, each with filters of its own
    ``bias``                       a number for each output channel is added to its sums
    """

    @abstractmethod
    def layer(self, *shapes: Shape) -> Layer:
        """The layer it is.  Raises ValueError if the shapes make none."""

    @abstractmethod
    def pack(self, xs: Sequence[Array], weights: Weights) -> dict[str, Array]:
        """The problem's two operands by tensor name, in the problem's shapes and the arrays' own
        type; bias apart.
        """

    @abstractmethod
    def unpack(self, out: Array, *shapes: Shape) -> Array:
        """The accumulated tensor as (batch, *shape)."""

    def problem(self, batch: int, *shapes: Shape) -> Problem:
        """The loops, for a batch."""
        return self.layer(*shapes).problem(batch)

    def channel_axis(self) -> int:
        """The output's axis that a bias or a scale per output channel belongs to, counted after the
        batch.
        """
        return 0

    def work(self, *shapes: Shape) -> Work:
        return Work()

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        shapes = [x.shape[1:] for x in xs]
        data = self.pack([as_float(x) for x in xs], {k: as_float(v) for k, v in weights.items()})
        out = self.unpack(multiply(self.problem(xs[0].shape[0], *shapes), data), *shapes)
        if "bias" in weights:
            out = out + as_float(weights["bias"]).reshape(wide(self, out))
        return out


def wide(op: ArrayOperator, out: Array) -> list[int]:
    """The shape a vector per output channel takes to broadcast over ``out``."""
    axis = op.channel_axis() % (out.ndim - 1) + 1
    return [-1 if i == axis else 1 for i in range(out.ndim)]


def _arrays(weight: Shape, channels: int, bias: bool) -> dict[str, Shape]:
    """Shapes of an operator's weight and, if it has one, its bias."""
    return {"weight": weight} | ({"bias": (channels,)} if bias else {})


class Convolution(ArrayOperator):
    """What convolutions have in common.

    ``flip``  the filter is turned by half a turn: convolution as mathematics has it
    """

    R: Size
    S: OptionalSize = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    bias: bool = False
    flip: bool = False

    def filters(self, weight: Array, p: Problem) -> Array:
        """Weights of shape (G*M, C, R, S) as the problem's, turned if ``flip``."""
        return weight.reshape(p.shape("weight"))[
            ..., :: -1 if self.flip else 1, :: -1 if self.flip else 1
        ]

    def pack(self, xs: Sequence[Array], weights: Weights) -> dict[str, Array]:
        p = self.problem(xs[0].shape[0], xs[0].shape[1:])
        return {
            "weight": self.filters(weights["weight"], p),
            "ifmap": xs[0].reshape(p.shape("ifmap")),
        }

    def unpack(self, out: Array, *shapes: Shape) -> Array:
        return out.reshape(out.shape[0], *self.infer(*shapes))

    def infer(self, *shapes: Shape) -> Shape:
        p = self.problem(1, *shapes)
        return p.G * p.M, p.E, p.F

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        p = self.problem(1, *shapes)
        return _arrays((p.G * p.M, p.C, p.R, p.S), p.G * p.M, self.bias)

    def convolution(self, shape: Shape, m: int, groups: int) -> Conv2d:
        """``m`` filters a group over maps of ``shape``."""
        channels, height, width = shape
        if channels % groups:
            raise ValueError(f"groups must divide the {channels} channels, got {groups}")
        return layer(
            Conv2d,
            name=self.name, M=m, C=channels // groups, H=height, W=width,
            R=self.R, S=self.S or self.R, groups=groups, stride=self.stride,
            padding=self.padding, dilation=self.dilation, bias=self.bias,
        )  # fmt: skip


class Conv(Convolution):
    """A convolution of ``M`` filters a group.  The ifmap's channels and size follow from the
    graph.
    """

    type: Literal["conv2d"] = "conv2d"
    M: Size
    groups: Size = 1

    def layer(self, *shapes: Shape) -> Layer:
        self.require(shapes, 3, "maps (channels, height, width)")
        return self.convolution(shapes[0], self.M, self.groups)


class Depthwise(Convolution):
    """``M`` filters for each channel of its own: as many groups as channels."""

    type: Literal["depthwise"]
    M: Size = 1

    def layer(self, *shapes: Shape) -> Layer:
        self.require(shapes, 3, "maps (channels, height, width)")
        return self.convolution(shapes[0], self.M, shapes[0][0])


class ConvTranspose(ArrayOperator):
    """A transposed convolution ("deconvolution") to ``M`` channels a group: the input gradient of a
    convolution.

    Output side: (H - 1) stride - pads + dilation (R - 1) + 1 + ``extra``.  ``extra`` (0 to stride -
    1), [vertical, horizontal], is the rows and columns a stride would drop the other way.
    """

    type: Literal["conv_transpose"]
    M: Size
    R: Size
    S: OptionalSize = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    extra: LeastPair = (0, 0)
    groups: Size = 1
    bias: bool = False

    def layer(self, *shapes: Shape) -> Layer:
        self.require(shapes, 3, "maps (channels, height, width)")
        channels, height, width = shapes[0]
        if channels % self.groups:
            raise ValueError(f"groups must divide the {channels} channels, got {self.groups}")
        if self.padding == "same":
            raise ValueError("padding of a transposed convolution must be numbers")
        return layer(
            ConvTranspose2d,
            name=self.name, M=self.M, C=channels // self.groups, H=height, W=width,
            R=self.R, S=self.S or self.R, groups=self.groups, stride=self.stride,
            padding=self.padding, dilation=self.dilation, extra=self.extra, bias=self.bias,
        )  # fmt: skip

    def infer(self, *shapes: Shape) -> Shape:
        p = self.problem(1, *shapes)
        return p.G * p.C, p.H, p.W

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        p = self.problem(1, *shapes)
        return _arrays((p.G * p.M, p.C, p.R, p.S), p.G * p.C, self.bias)

    def pack(self, xs: Sequence[Array], weights: Weights) -> dict[str, Array]:
        p = self.problem(xs[0].shape[0], xs[0].shape[1:])
        return {
            "weight": weights["weight"].reshape(p.shape("weight")),
            "ofmap": xs[0].reshape(p.shape("ofmap")),
        }

    def unpack(self, out: Array, *shapes: Shape) -> Array:
        return out.reshape(out.shape[0], *self.infer(*shapes))


class FullyConnected(ArrayOperator):
    """``M`` sums over all words of the input, whatever its shape."""

    type: Literal["linear"]
    M: Size
    bias: bool = False

    def layer(self, *shapes: Shape) -> Layer:
        shape = shapes[0]
        c, h, w = shape if len(shape) == 3 else (prod(shape), 1, 1)
        return layer(Linear, name=self.name, M=self.M, C=c, H=h, W=w, bias=self.bias)

    def infer(self, *shapes: Shape) -> Shape:
        return (self.M,)

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        return _arrays((self.M, prod(shapes[0])), self.M, self.bias)

    def pack(self, xs: Sequence[Array], weights: Weights) -> dict[str, Array]:
        p = self.problem(xs[0].shape[0], xs[0].shape[1:])
        return {
            "weight": weights["weight"].reshape(p.shape("weight")),
            "ifmap": xs[0].reshape(p.shape("ifmap")),
        }

    def unpack(self, out: Array, *shapes: Shape) -> Array:
        return out.reshape(out.shape[0], self.M)


class Dense(ArrayOperator):
    """``M`` sums over the last axis, the same for every place of the others: a projection of each
    token.
    """

    type: Literal["dense"]
    M: Size
    bias: bool = False

    def layer(self, *shapes: Shape) -> Layer:
        *rows, features = shapes[0]
        return layer(Gemm, name=self.name, m=self.M, k=features, n=prod(rows), bias=self.bias)

    def channel_axis(self) -> int:
        return -1

    def infer(self, *shapes: Shape) -> Shape:
        return (*shapes[0][:-1], self.M)

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        return _arrays((self.M, shapes[0][-1]), self.M, self.bias)

    def pack(self, xs: Sequence[Array], weights: Weights) -> dict[str, Array]:
        x = xs[0]
        p = self.problem(x.shape[0], x.shape[1:])
        tokens = x.reshape(x.shape[0], -1, x.shape[-1]).transpose(0, 2, 1)
        return {
            "weight": weights["weight"].reshape(p.shape("weight")),
            "ifmap": np.ascontiguousarray(tokens).reshape(p.shape("ifmap")),
        }

    def unpack(self, out: Array, *shapes: Shape) -> Array:
        n = out.shape[0]
        return np.ascontiguousarray(out.reshape(n, self.M, -1).transpose(0, 2, 1)).reshape(
            n, *self.infer(*shapes)
        )


class Product(ArrayOperator):
    """The matrix product of two tensors over their last two axes, one for each place of the axes
    before: attention's two.

    Sizes of an axis before agree, or one is a multiple of the other: 32 heads of queries on 8 of
    keys are 8 groups, of 4 heads in a row on the same keys.  1 and an axis that is missing are
    shared by all.  ``transpose_a`` and ``transpose_b`` swap the last two axes first.  On the array
    the first is the weight; with a batch, and with heads, each product is a group of its own, and
    heads that share a matrix are rows (or columns) of one product.
    """

    type: Literal["matmul"]
    transpose_a: bool = False
    transpose_b: bool = False
    arity = (2, 2)

    def places(self, a: Shape, b: Shape) -> Places:
        """How the matrices of two factors meet.  Raises ValueError if they do not."""
        places = meet(a[:-2], b[:-2]) if min(len(a), len(b)) > 1 else None
        if places is None:
            raise ValueError(
                "matmul needs two tensors of matrices, equal in all but the last two axes or one"
                f" a multiple of the other there, got {text(a)} and {text(b)}"
            )
        return places

    def matrices(self, a: Shape, b: Shape) -> tuple[int, int, int]:
        """m, k and n of two matrices that are multiplied, as (m x k) times (k x n).  Raises
        ValueError if the two are not of one k.
        """
        m, k = a[-2:][::-1] if self.transpose_a else a[-2:]
        k_too, n = b[-2:][::-1] if self.transpose_b else b[-2:]
        if k != k_too:
            raise ValueError(
                f"matmul needs as many columns of the first as rows of the second, got {m}x{k} and"
                f" {k_too}x{n}"
            )
        return m, k, n

    def layer(self, *shapes: Shape) -> Layer:
        (groups, rows, columns), (m, k, n) = self.places(*shapes), self.matrices(*shapes)
        return layer(
            MatMul,
            name=self.name, m=m * prod(rows), k=k, n=n * prod(columns), products=prod(groups),
        )  # fmt: skip

    def infer(self, *shapes: Shape) -> Shape:
        places, (m, _, n) = self.places(*shapes), self.matrices(*shapes)
        return (*places.whole, m, n)

    def layouts(self, batch: int, *shapes: Shape) -> tuple[Layout, Layout, Layout]:
        """Of the two factors and the product, each as (batch, *shape)."""
        a, b = shapes
        turned = self.transpose_a, self.transpose_b
        return layouts(batch, self.places(a, b), a[-2:], b[-2:], turned)

    def pack(self, xs: Sequence[Array], weights: Weights) -> dict[str, Array]:
        shapes = [x.shape[1:] for x in xs]
        p = self.problem(len(xs[0]), *shapes)
        first, second, _ = self.layouts(len(xs[0]), *shapes)
        return {
            "weight": first.there(xs[0]).reshape(p.shape("weight")),
            "ifmap": second.there(xs[1]).reshape(p.shape("ifmap")),
        }

    def unpack(self, out: Array, *shapes: Shape) -> Array:
        shape = self.infer(*shapes)
        batch = out.size // prod(shape)
        return self.layouts(batch, *shapes)[2].back(out).reshape(batch, *shape)


def layer(model: type[AnyModel], **sizes: Any) -> AnyModel:
    """A layer, or ValueError with the first thing wrong with its sizes in one line."""
    from pydantic import ValidationError

    try:
        return model.model_validate(sizes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"{first['loc'][0]} " if first["loc"] else ""
        raise ValueError(where + str(first["msg"]).removeprefix("Value error, ")) from None


# The golden product in float64 --------------------------------------------------------------------


def multiply(p: Problem, data: Data) -> Array:
    """What ``engines.golden`` accumulates in integers, in float64, in any direction.  Bias
    apart.
    """
    if p.direction == "grad_weight":
        sums = np.zeros((p.G, p.M, p.C * p.R * p.S))
        ifmap, upstream = as_float(data["ifmap"]), as_float(data["ofmap"])
        for n in range(p.N):
            pixels = _windows(p, ifmap[n]).transpose(0, 2, 3, 1, 4, 5).reshape(p.G, p.E * p.F, -1)
            sums += upstream[n].reshape(p.G, p.M, -1) @ pixels
        return sums.reshape(p.shape("weight"))
    weight = as_float(data["weight"]).reshape(p.G, p.M, -1)
    if p.direction == "forward":
        out = np.empty(p.shape("ofmap"))
        ifmap = as_float(data["ifmap"])
        for n in range(p.N):
            columns = (
                _windows(p, ifmap[n])
                .transpose(0, 1, 4, 5, 2, 3)
                .reshape(p.G, p.C * p.R * p.S, p.E * p.F)
            )
            out[n] = (weight @ columns).reshape(out.shape[1:])
        return out
    (u, v), (d, e), (top, bottom, left, right) = p.stride, p.dilation, p.padding
    framed = np.zeros((p.N, p.G, p.C, p.H + top + bottom, p.W + left + right))
    for n in range(p.N):
        columns = (
            weight.transpose(0, 2, 1) @ as_float(data["ofmap"])[n].reshape(p.G, p.M, -1)
        ).reshape(p.G, p.C, p.R, p.S, p.E, p.F)
        for r in range(p.R):
            for s in range(p.S):
                rows, cols = (
                    slice(d * r, d * r + u * (p.E - 1) + 1, u),
                    slice(e * s, e * s + v * (p.F - 1) + 1, v),
                )
                framed[n, :, :, rows, cols] += columns[:, :, r, s]
    return framed[..., top : top + p.H, left : left + p.W]


def _windows(p: Problem, ifmap: Array) -> Array:
    """All windows of one image (G, C, H, W): (G, C, E, F, R, S)."""
    top, bottom, left, right = p.padding
    framed = np.pad(ifmap, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (u, v), (d, e) = p.stride, p.dilation
    view = sliding_window_view(framed, (d * (p.R - 1) + 1, e * (p.S - 1) + 1), axis=(2, 3))
    return view[:, :, ::u, ::v, ::d, ::e][:, :, : p.E, : p.F]
