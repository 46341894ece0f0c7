"""Post-training quantization: symmetric scales from what a float network's tensors reach, and
weights as words.

Weights have one scale, or one for each output channel; every other tensor has one.  A scale is the
largest magnitude seen over the number type's high, or the next power of two above that, so that
requantization is a shift.  Biases are words of the accumulator's scale.  See Jacob et al.,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
2018, for the arithmetic.

Ranges come from ``calibrate`` (images through the float network) or ``ranges_of`` (tensors at
hand), ``quantize`` makes words of them; ``results/network_run`` and ``engines/golden/training``
call both, and the golden network runs what comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Literal

import numpy as np

from accelsim.workload.arithmetic import Array, Number, Rounding
from accelsim.workload.graph.float_run import evaluate, own
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.graph.weights import check_weights
from accelsim.workload.operators.activation import Activation, Clip
from accelsim.workload.operators.array import ArrayOperator, ConvTranspose, Product, wide
from accelsim.workload.operators.operator import Operator
from accelsim.workload.scaling import Scales

Per = Literal["tensor", "channel"]
Step = Literal["any", "power_of_two"]
INT8, INT32 = Number(8), Number(32)


@dataclass(frozen=True)
class QuantizedNetwork:
    """A graph with words for weights and a scale for every tensor.

    ``scales``: of tensors by name.  ``words``: integer weights and accumulator-wide biases by
    parameter name. ``weight_scales``: of array nodes by name, one number or one for each output
    channel.  ``floats``: parameters of other operators, as they were.  ``number`` is the type of
    activations and weights, ``psum`` of accumulators.
    """

    graph: Graph
    scales: Mapping[str, float]
    words: Mapping[str, Array]
    weight_scales: Mapping[str, Array]
    floats: Mapping[str, Array]
    number: Number = INT8
    psum: Number = INT32
    rounding: Rounding = "half_even"

    def of(self, node: Node) -> Scales:
        """The scales around a node."""
        return Scales(
            tuple(self.scales[name] for name in node.inputs),
            self.scales[node.name],
            self.number,
            self.rounding,
        )

    def accumulator_scale(self, node: Node) -> Array:
        """What one unit of a node's accumulators stands for: one number, or [channels], one for
        each output channel.
        """
        if isinstance(node.op, Product):
            return np.asarray(self.scales[node.inputs[0]] * self.scales[node.inputs[1]])
        return self.weight_scales[node.name] * self.scales[node.inputs[0]]

    def real(self, name: str, words: Array) -> Array:
        """The real numbers that a tensor's words stand for, float64."""
        return np.asarray(words, np.float64) * self.scales[name]

    def words_of_reals(self, name: str, reals: Array) -> Array:
        """Real numbers as a tensor's words, half to even, saturated."""
        words = np.rint(np.asarray(reals, np.float64) / self.scales[name])
        return np.clip(words, self.number.low, self.number.high)

    def words_of_sums(self, node: Node, xs: list[Array], sums: Array) -> Array:
        """What a layer makes of its accumulators, (batch, *shape), and the words it read."""
        assert isinstance(node.op, ArrayOperator)
        unit = self.accumulator_scale(node)
        unit = unit if unit.ndim == 0 else unit.reshape(wide(node.op, sums))
        return self.of(node).rescale(sums, unit)

    def words_of_node(self, node: Node, xs: list[Array]) -> Array:
        """What an operator beside the array makes of the words it reads."""
        return node.op.words(xs, own(node, self.floats), self.of(node))


def calibrate(
    graph: Graph, images: Array | Mapping[str, Array], weights: Mapping[str, Array]
) -> dict[str, float]:
    """The largest magnitude of every tensor of the float network on these images."""
    return ranges_of(evaluate(graph, images, weights))


def ranges_of(tensors: Mapping[str, Array]) -> dict[str, float]:
    """The largest magnitude of every tensor."""
    return {name: float(np.abs(tensor).max(initial=0)) for name, tensor in tensors.items()}


def quantize(
    graph: Graph,
    weights: Mapping[str, Array],
    ranges: Mapping[str, float],
    per: Per = "channel",
    step: Step = "any",
    number: Number = INT8,
    psum: Number = INT32,
    rounding: Rounding = "half_even",
) -> QuantizedNetwork:
    """The network in words.  ``ranges`` as ``calibrate`` gives them.

    A tensor that a rectifier alone reads gets the rectifier's range, as what it clips would be
    clipped anyway. Raises ValueError for an unsigned number, InputError for weights that do not fit
    the graph.
    """
    if not number.signed:
        raise ValueError("symmetric quantization needs a signed number")
    number.as_operand("ifmap")
    psum.as_accumulator()
    check_weights(graph, weights)
    scales = _tensor_scales(graph, ranges, number, step)
    words: dict[str, Array] = {}
    floats: dict[str, Array] = {}
    weight_scales: dict[str, Array] = {}
    for node in graph.nodes:
        arrays = own(node, weights)
        if not isinstance(node.op, ArrayOperator):
            floats |= {key: np.asarray(weights[key], np.float64) for key in graph.arrays(node)}
            continue
        if "weight" not in arrays:
            continue
        weight = np.asarray(arrays["weight"], np.float64)
        channels = by_channel(node.op, weight)
        largest = (
            np.abs(channels).max(axis=1)
            if per == "channel"
            else np.abs(channels).max(keepdims=True)[:1, 0]
        )
        scale = np.array([_scale(float(v), number, step) for v in largest])
        rows = np.clip(np.rint(channels / scale[:, None]), number.low, number.high).astype(np.int64)
        words[f"{node.name}.weight"] = from_channels(node.op, rows, weight.shape)
        weight_scales[node.name] = scale if per == "channel" else scale[0]
        if "bias" in arrays:
            unit = weight_scales[node.name] * scales[node.inputs[0]]
            words[f"{node.name}.bias"] = bias_words(arrays["bias"], unit, psum)
    return QuantizedNetwork(graph, scales, words, weight_scales, floats, number, psum, rounding)


def _tensor_scales(
    graph: Graph, ranges: Mapping[str, float], number: Number, step: Step
) -> dict[str, float]:
    reach = dict(ranges)
    for node in reversed(graph.nodes):
        if node.inputs and rectified(graph, node.inputs[0]):
            reach[node.inputs[0]] = reach[node.name]
    scales = {name: _scale(reach[name], number, step) for name in graph.inputs}
    for node in graph.nodes:
        keeps = node.op.keeps_scale or _rectifies(node.op)
        scales[node.name] = (
            scales[node.inputs[0]] if keeps else _scale(reach[node.name], number, step)
        )
    return scales


def rectified(graph: Graph, tensor: str) -> bool:
    """Whether a tensor goes nowhere but into a rectifier, so that its words need not reach beyond
    the rectifier's range.
    """
    users = graph.users(tensor)
    return len(users) == 1 and _rectifies(users[0].op) and tensor not in graph.outputs


def _rectifies(op: Operator) -> bool:
    return (isinstance(op, Activation) and op.type == "relu") or (
        isinstance(op, Clip) and op.low == 0
    )


def _scale(largest: float, number: Number, step: Step) -> float:
    """The scale at which ``largest`` is the number's high.  Nothing but zeros has scale 1."""
    if not largest > 0:
        return 1.0
    scale = largest / max(number.high, 1)
    return float(2.0 ** ceil(log2(scale))) if step == "power_of_two" else scale


def bias_words(bias: Array, unit: Array, psum: Number) -> Array:
    """A bias as words of the accumulator, whose ``unit`` is one number or one a channel."""
    sums = np.rint(np.asarray(bias, np.float64) / unit)
    return np.clip(sums, psum.low, psum.high).astype(np.int64)


def by_channel(op: ArrayOperator, weight: Array) -> Array:
    """A layer's weights as one row for each output channel: [channels, weights]."""
    if isinstance(op, ConvTranspose):
        return (
            weight.reshape(op.groups, -1, *weight.shape[1:])
            .swapaxes(1, 2)
            .reshape(op.groups * weight.shape[1], -1)
        )
    return weight.reshape(weight.shape[0], -1)


def from_channels(op: ArrayOperator, rows: Array, shape: tuple[int, ...]) -> Array:
    """``by_channel`` backwards: rows as weights of ``shape``."""
    if isinstance(op, ConvTranspose):
        return np.ascontiguousarray(
            rows.reshape(op.groups, shape[1], -1, *shape[2:]).swapaxes(1, 2)
        ).reshape(shape)
    return rows.reshape(shape)
