"""Operators of several tensors: sums, products, concatenation; and reductions and shapes of one.

Shapes of several tensors agree from the last axis on, as NumPy broadcasts, the batch apart; what
only moves words (``Moving``) is exact for integers of any type.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod
from typing import Literal

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.layers import Sides
from accelsim.workload.operators.fields import (
    Axes,
    Axis,
    Integer,
    NewShape,
    OptionalPair,
    Padding,
    Real,
    Size,
    TensorShape,
)
from accelsim.workload.operators.operator import (
    Operator,
    Shape,
    Weights,
    Work,
    as_float,
    axes_of,
    text,
)
from accelsim.workload.operators.windows import PaddingMode, pad
from accelsim.workload.scaling import Scales, divide, fixed_point

MANY = 1000
MAX_SIDE = 2**14  # of maps of a given size: products of words and shares fit int64


def _broadcast(op: str, shapes: Sequence[Shape]) -> Shape:
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        got = " and ".join(text(s) for s in shapes)
        raise ValueError(
            f"{op} needs shapes that agree or are 1 (counted from the last axis), got {got}"
        ) from None


def aligned(xs: Sequence[Array]) -> list[Array]:
    """Arrays [batch, *shape] with axes of 1 put in after the batch, so that all have as many."""
    rank = max(x.ndim for x in xs)
    return [x.reshape(x.shape[0], *[1] * (rank - x.ndim), *x.shape[1:]) for x in xs]


class Add(Operator):
    """The sum of two tensors or more, word by word; ``subtract`` takes the second and later ones
    from the first.

    Shapes agree, or an axis is 1 and repeats.  Integer form: each tensor's words times its scale
    over the output's, as fixed-point numbers of one common shift, added, and rounded once.
    """

    type: Literal["add", "subtract"]
    arity = (2, MANY)

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(self.type, shapes)

    def work(self, *shapes: Shape) -> Work:
        n = prod(self.infer(*shapes))
        return Work({"add": n * (len(shapes) - 1)}, n * len(shapes), n)

    def signs(self, count: int) -> list[int]:
        """What each of ``count`` tensors is multiplied by: 1 or -1."""
        return [1] + [-1 if self.type == "subtract" else 1] * (count - 1)

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        first, *others = aligned([as_float(x) for x in xs])
        for x in others:
            first = first - x if self.type == "subtract" else first + x
        return first

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        table = [fixed_point(s / scales.output) for s in scales.inputs]
        shift = max(0, min(max(s for _, s in table), 24 + min(s for _, s in table)))
        total: Array | int = 0
        for x, (multiplier, own), sign in zip(aligned(xs), table, self.signs(len(xs)), strict=True):
            factor = (
                multiplier << (shift - own)
                if own <= shift
                else int(divide(np.array(multiplier), 1 << (own - shift)))
            )
            total = total + sign * factor * x.astype(np.int64)
        return scales.saturate(divide(np.asarray(total), 1 << shift, scales.rounding))


class Multiply(Operator):
    """The product of two tensors, word by word, or their quotient.  Shapes agree, or an axis is 1
    and repeats.

    Integer form of the product: exact, then rescaled once.
    """

    type: Literal["multiply", "divide"]
    arity = (2, 2)

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(self.type, shapes)

    def work(self, *shapes: Shape) -> Work:
        n = prod(self.infer(*shapes))
        return Work({self.type: n}, 2 * n, n)

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        a, b = aligned([as_float(x) for x in xs])
        return a * b if self.type == "multiply" else a / b

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        if self.type == "divide":
            return super().words(xs, weights, scales)
        a, b = aligned([x.astype(np.int64) for x in xs])
        return scales.rescale(a * b, scales.inputs[0] * scales.inputs[1])


class Concat(Operator):
    """Tensors one after the other along ``axis``, 0 (channels) unless given.  Integer form: each
    rescaled to the output.
    """

    type: Literal["concat"]
    axis: Axis = 0
    arity = (1, MANY)

    def infer(self, *shapes: Shape) -> Shape:
        (axis,) = axes_of([self.axis], len(shapes[0]))
        rest = {s[:axis] + s[axis + 1 :] if len(s) == len(shapes[0]) else None for s in shapes}
        if len(rest) > 1:
            raise ValueError(
                f"concat needs shapes that agree except along axis {axis}, got"
                f" {', '.join(text(s) for s in shapes)}"
            )
        return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])

    def work(self, *shapes: Shape) -> Work:
        n = prod(self.infer(*shapes))
        return Work({}, n, n)

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        return np.concatenate(
            [as_float(x) for x in xs], axis=axes_of([self.axis], xs[0].ndim - 1)[0] + 1
        )

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        ready = [scales.rescale(x, s) for x, s in zip(xs, scales.inputs, strict=True)]
        return np.concatenate(ready, axis=axes_of([self.axis], xs[0].ndim - 1)[0] + 1)


class Mean(Operator):
    """The mean over ``axes``, which stay with size 1 if ``keep`` and vanish otherwise.  Integers
    exactly, rounded once.
    """

    type: Literal["mean", "sum"]
    axes: Axes
    keep: bool = True

    def infer(self, *shapes: Shape) -> Shape:
        axes = axes_of(self.axes, len(shapes[0]))
        left = tuple(
            1 if i in axes else n for i, n in enumerate(shapes[0]) if self.keep or i not in axes
        )
        return left or (1,)

    def work(self, *shapes: Shape) -> Work:
        n, out = prod(shapes[0]), prod(self.infer(*shapes))
        return Work({"add": n - out} | ({"multiply": out} if self.type == "mean" else {}), n, out)

    def _sums(self, x: Array) -> tuple[Array, int]:
        axes = tuple(a + 1 for a in axes_of(self.axes, x.ndim - 1))
        sums = x.sum(axis=axes, keepdims=self.keep)
        return sums.reshape(x.shape[0], -1) if sums.ndim == 1 else sums, prod(
            x.shape[a] for a in axes
        ) if self.type == "mean" else 1

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        sums, count = self._sums(as_float(xs[0]))
        return sums / count

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        sums, count = self._sums(xs[0].astype(np.int64))
        return scales.rescale(sums, scales.inputs[0], count)


# Words moved, none changed ------------------------------------------------------------------------


class Moving(Operator):
    """An operator whose output is words of its input in another order or place; integers are
    exactly those words.
    """

    keeps_scale = True

    def moved(self, x: Array) -> Array:
        """The output's words, of whatever type they are."""
        raise NotImplementedError

    def work(self, *shapes: Shape) -> Work:
        return Work({}, prod(shapes[0]), prod(self.infer(*shapes)))

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        return self.moved(as_float(xs[0]))

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        return self.moved(xs[0].astype(np.int64))


class Reshape(Moving):
    """The same words, in order, under another ``shape``; one size may be -1, the rest.  Costs
    nothing.
    """

    type: Literal["reshape"]
    shape: NewShape

    def infer(self, *shapes: Shape) -> Shape:
        words, known = prod(shapes[0]), prod(n for n in self.shape if n != -1)
        if words % known or (-1 not in self.shape and words != known):
            raise ValueError(
                f"shape must have the {words} words of {text(shapes[0])}, got {text(self.shape)}"
            )
        return tuple(words // known if n == -1 else n for n in self.shape)

    def work(self, *shapes: Shape) -> Work:
        return Work()

    def moved(self, x: Array) -> Array:
        return x.reshape(x.shape[0], *self.infer(x.shape[1:]))


class Flatten(Moving):
    """The same words in a row.  Costs nothing."""

    type: Literal["flatten"]

    def infer(self, *shapes: Shape) -> Shape:
        return (prod(shapes[0]),)

    def work(self, *shapes: Shape) -> Work:
        return Work()

    def moved(self, x: Array) -> Array:
        return x.reshape(x.shape[0], -1)


class SplitHeads(Moving):
    """Tokens x features as ``heads`` x tokens x features of a head: what attention works on.  Costs
    nothing but its accesses.
    """

    type: Literal["split_heads"]
    heads: Size

    def infer(self, *shapes: Shape) -> Shape:
        self.require(shapes, 2, "tokens x features")
        tokens, features = shapes[0]
        if features % self.heads:
            raise ValueError(f"heads must divide the {features} features, got {self.heads}")
        return self.heads, tokens, features // self.heads

    def moved(self, x: Array) -> Array:
        n, tokens, features = x.shape
        return x.reshape(n, tokens, self.heads, features // self.heads).transpose(0, 2, 1, 3)


class MergeHeads(Moving):
    """Heads x tokens x features back to tokens x features."""

    type: Literal["merge_heads"]

    def infer(self, *shapes: Shape) -> Shape:
        self.require(shapes, 3, "heads x tokens x features")
        heads, tokens, features = shapes[0]
        return tokens, heads * features

    def moved(self, x: Array) -> Array:
        n, heads, tokens, features = x.shape
        return x.transpose(0, 2, 1, 3).reshape(n, tokens, heads * features)


class Transpose(Moving):
    """The axes in another ``order``: [1, 0] swaps two.  Axes are counted after the batch."""

    type: Literal["transpose"]
    order: Axes

    def infer(self, *shapes: Shape) -> Shape:
        if sorted(self.order) != list(range(len(shapes[0]))):
            raise ValueError(
                f"order must name each of the axes 0 to {len(shapes[0]) - 1} once, got"
                f" {list(self.order)}"
            )
        return tuple(shapes[0][a] for a in self.order)

    def moved(self, x: Array) -> Array:
        return x.transpose(0, *(a + 1 for a in self.order))


class Slice(Moving):
    """Words ``start`` to before ``stop`` along ``axis``, every ``step``-th; a negative number
    counts from the end.
    """

    type: Literal["slice"]
    axis: Axis = 0
    start: Integer = 0
    stop: Integer | None = None
    step: Size = 1

    def piece(self, shape: Shape) -> tuple[int, slice, int]:
        """The axis, counted after the batch; what is taken of it; and how many words that is."""
        (axis,) = axes_of([self.axis], len(shape))
        piece = slice(self.start, self.stop, self.step)
        return axis, piece, len(range(*piece.indices(shape[axis])))

    def infer(self, *shapes: Shape) -> Shape:
        axis, _, length = self.piece(shapes[0])
        if length < 1:
            raise ValueError(
                f"start and stop must leave words of the {shapes[0][axis]} along axis {axis}, got"
                f" {self.start} to {self.stop}"
            )
        return (*shapes[0][:axis], length, *shapes[0][axis + 1 :])

    def work(self, *shapes: Shape) -> Work:
        n = prod(self.infer(*shapes))
        return Work({}, n, n)

    def moved(self, x: Array) -> Array:
        axis, piece, _ = self.piece(x.shape[1:])
        return x[(slice(None),) * (axis + 1) + (piece,)]


class Pad(Moving):
    """Words around every map, as many as ``padding`` says: by ``mode`` zeros (or ``value``),
    reflect, replicate or circular.

    Padding with zeros inside a convolution costs no words; any other is this operator, before it.
    The integer form puts ``value`` rounded to a word.
    """

    type: Literal["pad"]
    padding: Padding
    mode: PaddingMode = "zeros"
    value: Real = 0.0

    def sides(self) -> Sides:
        """(top, bottom, left, right) in words.  Raises ValueError for "same"."""
        if self.padding == "same":
            raise ValueError(
                "padding must be numbers here: without a window nothing tells what same is"
            )
        top, bottom, left, right = self.padding
        return int(top), int(bottom), int(left), int(right)

    def infer(self, *shapes: Shape) -> Shape:
        self.require(shapes, 3, "maps (channels, height, width)")
        c, h, w = shapes[0]
        top, bottom, left, right = sides = self.sides()
        if self.mode in ("reflect", "circular"):
            for size, most in ((h, max(top, bottom)), (w, max(left, right))):
                if most > size - (self.mode == "reflect"):
                    raise ValueError(
                        f"{self.mode} padding must be at most {size - (self.mode == 'reflect')} on"
                        f" {size} words, got {most}"
                    )
        if self.value and self.mode != "zeros":
            raise ValueError(f"value goes with mode zeros, got {self.mode}")
        return c, h + sides[0] + sides[1], w + left + right

    def moved(self, x: Array) -> Array:
        return pad(x, self.sides(), self.mode, self.value)

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        value = int(scales.round(np.array(self.value)))
        return pad(xs[0].astype(np.int64), self.sides(), self.mode, value)


class Upsample(Moving):
    """Maps ``scale`` times as high and wide, or of ``size``: ``nearest`` repeats words (``scale``
    only), ``bilinear`` mixes the four around.

    Bilinear places pixels by their centres and repeats the edge; with ``corners`` the first and
    last pixels of both maps lie on each other (``align_corners``, Caffe's Interp).  Integers:
    nearest is exactly the words; bilinear's weights are whole numbers over twice the scale, or
    over the pixels between two corners, in both directions, and the sum is rounded once.
    """

    type: Literal["upsample"]
    scale: OptionalPair = None
    size: OptionalPair = None
    mode: Literal["nearest", "bilinear"] = "nearest"
    corners: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        self.require(shapes, 3, "maps (channels, height, width)")
        if (self.scale is None) == (self.size is None):
            raise ValueError("upsample needs scale or size, one of them")
        if self.mode == "nearest" and (self.size is not None or self.corners):
            raise ValueError("size and corners of upsample go with mode bilinear")
        if self.size is not None and max(self.size) > MAX_SIDE:
            raise ValueError(f"size must be at most {MAX_SIDE}, got {text(self.size)}")
        return shapes[0][0], *self.sides(shapes[0][1:])

    def sides(self, old: Sequence[int]) -> tuple[int, int]:
        """Height and width of what is made of maps of ``old`` height and width."""
        if self.scale is None:
            assert self.size is not None
            return self.size
        return old[0] * self.scale[0], old[1] * self.scale[1]

    def work(self, *shapes: Shape) -> Work:
        n = prod(self.infer(*shapes))
        if self.mode == "nearest":
            return Work({}, n, n)
        return Work({"multiply": 4 * n, "add": 3 * n}, 4 * n, n)

    def taps(self, old: int, new: int) -> tuple[Array, Array, Array, int]:
        """Of ``old`` words in a row for each of ``new``: the word before, the word after, the
        latter's share, and in how many parts shares are counted.
        """
        i = np.arange(new)
        if self.corners:  # i (old - 1) / (new - 1), the first word's place for a single one
            common = gcd(old - 1, new - 1) or 1
            parts = (new - 1) // common or 1
            at = i * ((old - 1) // common) if new > 1 else i
        else:  # (i + 1/2) old / new - 1/2
            common = gcd(old, new)
            parts = 2 * new // common
            at = (2 * i + 1) * (old // common) - new // common
        low = at // parts
        return np.clip(low, 0, old - 1), np.clip(low + 1, 0, old - 1), at - low * parts, parts

    def _sums(self, x: Array) -> tuple[Array, int]:
        """The mixed words times the parts in which shares are counted, and these."""
        total, over = x, 1
        for axis, made in zip((2, 3), self.sides(x.shape[2:]), strict=True):
            low, high, share, parts = self.taps(x.shape[axis], made)
            share = share.reshape([-1 if i == axis else 1 for i in range(4)])
            total = np.take(total, low, axis) * (parts - share) + np.take(total, high, axis) * share
            over *= parts
        return total, over

    def moved(self, x: Array) -> Array:
        if self.mode == "nearest":
            assert self.scale is not None
            return x.repeat(self.scale[0], axis=2).repeat(self.scale[1], axis=3)
        sums, parts = self._sums(x)
        return np.asarray(sums / parts)

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        if self.mode == "nearest":
            return self.moved(xs[0].astype(np.int64))
        sums, parts = self._sums(xs[0].astype(np.int64))
        return divide(sums, parts, scales.rounding)


class Embedding(Operator):
    """A row of ``M`` learned words for each number it reads: of the ``rows`` there are, the nearest
    to the number.  Tokens are numbers from 0.

    Integer form: the row nearest to what the word stands for, rounded to the output's scale.
    """

    type: Literal["embedding"]
    rows: Size
    M: Size

    def infer(self, *shapes: Shape) -> Shape:
        return (*shapes[0], self.M)

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        return {"weight": (self.rows, self.M)}

    def work(self, *shapes: Shape) -> Work:
        n, words = prod(shapes[0]), prod(shapes[0]) * self.M
        return Work({}, n + words, words, words)

    def places(self, x: Array) -> Array:
        """The row of each number, in the shape of ``x``."""
        return np.clip(np.rint(as_float(x)), 0, self.rows - 1).astype(np.int64)

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        return np.asarray(as_float(weights["weight"])[self.places(xs[0])])


class Parameter(Operator):
    """Words of a ``shape`` that come with the network's weights, not from a layer: a position
    embedding, a class token.  Reads nothing.
    """

    type: Literal["parameter"]
    shape: TensorShape
    arity = (0, 0)

    def infer(self, *shapes: Shape) -> Shape:
        return self.shape

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        return {"value": self.shape}

    def work(self, *shapes: Shape) -> Work:
        return Work({}, prod(self.shape), 0, prod(self.shape))

    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        return as_float(weights["value"])[None]

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        return scales.round(self.run(xs, weights))
