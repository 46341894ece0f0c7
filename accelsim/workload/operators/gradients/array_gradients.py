"""Gradients of what runs on the array: the same loops in the two other directions, tensors laid out
for them.

A layer reads two tensors and accumulates the third.  Given the third's gradient, the gradient of
either operand is the direction that accumulates it, from the other operand: nothing new to compute,
so any engine can do it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.block_float import BlockFloat
from accelsim.workload.operators.array import (
    ArrayOperator,
    Convolution,
    Data,
    Dense,
    Product,
    multiply,
)
from accelsim.workload.operators.gradients.gradient import Floats, gradient
from accelsim.workload.operators.operator import Shape, Weights, as_float
from accelsim.workload.problem import ACCUMULATED, Direction, Problem

DIRECTION_OF: dict[str, Direction] = {
    "ofmap": "forward",
    "weight": "grad_weight",
    "ifmap": "grad_input",
}
assert {d: t for t, d in DIRECTION_OF.items()} == ACCUMULATED
Multiplied = Callable[[Problem, Data], Array]


@singledispatch
def packed(op: ArrayOperator, g: Array, problem: Problem, shapes: Sequence[Shape]) -> Array:
    """The gradient at the output, (batch, *out), in the shape of the problem's accumulated tensor:
    ``unpack`` backwards.  ``shapes`` are those of the inputs, without the batch.
    """
    return g.reshape(problem.shape(problem.accumulated))


@packed.register
def _dense_packed(op: Dense, g: Array, problem: Problem, shapes: Sequence[Shape]) -> Array:
    tokens = g.reshape(len(g), -1, op.M).transpose(0, 2, 1)
    return np.ascontiguousarray(tokens).reshape(problem.shape("ofmap"))


@packed.register
def _product_packed(op: Product, g: Array, problem: Problem, shapes: Sequence[Shape]) -> Array:
    return op.layouts(len(g), *shapes)[2].there(g).reshape(problem.shape("ofmap"))


@singledispatch
def unpacked(
    op: ArrayOperator, tensor: str, sums: Array, shape: Shape, shapes: Sequence[Shape]
) -> Array:
    """An operand's gradient from the problem's shape to ``shape``, the input's (batch first) or the
    weight's: ``pack`` backwards.  ``shapes`` are those of the inputs, without the batch.
    """
    return sums.reshape(shape)


@unpacked.register
def _convolution_unpacked(
    op: Convolution, tensor: str, sums: Array, shape: Shape, shapes: Sequence[Shape]
) -> Array:
    return (sums[..., ::-1, ::-1] if op.flip and tensor == "weight" else sums).reshape(shape)


@unpacked.register
def _dense_unpacked(
    op: Dense, tensor: str, sums: Array, shape: Shape, shapes: Sequence[Shape]
) -> Array:
    if tensor == "weight":
        return sums.reshape(shape)
    return np.ascontiguousarray(sums.reshape(shape[0], shape[-1], -1).transpose(0, 2, 1)).reshape(
        shape
    )


@unpacked.register
def _product_unpacked(
    op: Product, tensor: str, sums: Array, shape: Shape, shapes: Sequence[Shape]
) -> Array:
    first, second, _ = op.layouts(shape[0], *shapes)
    return (first if tensor == "weight" else second).back(sums).reshape(shape)


def layer_gradients(
    op: ArrayOperator,
    xs: Sequence[Array],
    weights: Weights,
    g: Array,
    multiplied: Multiplied,
    wanted: Sequence[bool],
) -> tuple[list[Array | None], dict[str, Array]]:
    """Gradients at the inputs that are ``wanted`` and at the weight, by ``multiplied(problem,
    data)``, in its results' type.

    Bias apart: it is the sum of ``g``, and not the array's.
    """
    shapes = [x.shape[1:] for x in xs]
    p = op.problem(len(xs[0]), *shapes)
    data = op.pack(xs, {"weight": weights["weight"]} if "weight" in weights else {}) | {
        p.accumulated: packed(op, g, p, shapes)
    }

    def of(tensor: str, shape: Shape) -> Array:
        turned = p.with_direction(DIRECTION_OF[tensor])
        sums = multiplied(turned, {name: data[name] for name in turned.operands})
        return unpacked(op, tensor, sums, shape, shapes)

    operands = (
        ["weight", "ifmap"] if isinstance(op, Product) else [t for t in p.operands if t != "weight"]
    )
    inputs = [
        of(tensor, x.shape) if want else None
        for tensor, x, want in zip(operands, xs, wanted, strict=True)
    ]
    return inputs, {"weight": of("weight", weights["weight"].shape)} if "weight" in weights else {}


def bias_gradient(op: ArrayOperator, g: Array) -> Array:
    """The gradient at the output, (batch, *out), added up for each output channel: [channels]."""
    axis = op.channel_axis() % (g.ndim - 1) + 1
    return np.asarray(g.sum(axis=tuple(i for i in range(g.ndim) if i != axis)))


@gradient.register
def _array_operator_gradient(
    op: ArrayOperator, xs: Sequence[Array], g: Array, weights: Weights
) -> Floats:
    floats = {key: as_float(v) for key, v in weights.items()}
    inputs, own = layer_gradients(
        op, [as_float(x) for x in xs], floats, as_float(g), multiply, [True] * len(xs)
    )
    return [x for x in inputs if x is not None], own | (
        {"bias": bias_gradient(op, g)} if "bias" in weights else {}
    )


def layer_blocks(
    op: ArrayOperator,
    xs: Sequence[Array],
    weights: Weights,
    g: BlockFloat,
    multiplied: Multiplied,
    wanted: Sequence[bool],
    units: Sequence[int],
    unit: int,
) -> tuple[list[BlockFloat | None], dict[str, BlockFloat]]:
    """The same in words: exact accumulators.  ``units``: exponents of the inputs' scales; ``unit``:
    the weight's.
    """
    inputs, own = layer_gradients(op, xs, weights, g.words, multiplied, wanted)
    other = units[::-1] if isinstance(op, Product) else [unit]
    at_inputs = [
        None if x is None else BlockFloat(x, g.exponent + e)
        for x, e in zip(inputs, other, strict=True)
    ]
    blocks = {key: BlockFloat(v, g.exponent + units[0]) for key, v in own.items()}
    return at_inputs, blocks | (
        {"bias": BlockFloat(bias_gradient(op, g.words), g.exponent)} if "bias" in weights else {}
    )
