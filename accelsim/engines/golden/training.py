"""A training step in words: forward, both gradients of every layer, and the new weights; it knows
no mapping.

Layers run wherever ``run_layer`` runs them, in all three directions; everything else is the golden
vector unit.  The scheme (docs/networks.md, "Training step"): scales are powers of two, one for each
tensor; the loss's gradient is exact; at every tensor the gradient is rounded once, half to even, to
words of the operands' width with an exponent of its own (``workload.block_float``); products and
sums between are exact.  Saturated words pass their gradient on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import InputError
from accelsim.engines import golden
from accelsim.engines.golden import golden_network
from accelsim.engines.golden.golden_network import Data
from accelsim.workload import loss as losses
from accelsim.workload.arithmetic import Number
from accelsim.workload.block_float import BlockFloat, added, exponent_of
from accelsim.workload.graph.backward import backward, trained
from accelsim.workload.graph.float_run import in_words, own
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.operators.array import ArrayOperator, multiply
from accelsim.workload.operators.gradients import gradient_words
from accelsim.workload.operators.gradients.array_gradients import layer_blocks
from accelsim.workload.problem import Problem
from accelsim.workload.quantize import QuantizedNetwork, calibrate, quantize
from accelsim.workload.scaling import MULTIPLIER_BITS

Array = NDArray[Any]
# A layer's name, a problem and its operands to the accumulators, int64 of
# problem.shape(problem.accumulated), wrapped.
RunLayer = Callable[[str, Problem, Data], Array]
WIDEST = Number(48)


@dataclass(frozen=True)
class TrainingStep:
    """What a step computes: ``tensors`` in words, the ``loss`` of the output, ``gradients`` of
    tensors and parameters by name.

    A gradient of a node's output is called by the node, of a parameter ``NODE.weight`` and so on:
    exact accumulators for what the array sums, without rounding.
    """

    tensors: Mapping[str, Array]
    loss: float
    gradients: Mapping[str, BlockFloat]


def as_words(
    graph: Graph,
    weights: Mapping[str, Array],
    images: Array | Mapping[str, Array],
    number: Number,
    psum: Number,
) -> QuantizedNetwork:
    """The network in words for a step: scales are powers of two, one a tensor, from what these
    images reach.

    Raises InputError for weights and images that do not fit, or lead to numbers beyond
    ``loss.LARGEST``.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        ranges = calibrate(graph, images, weights)
    reach = ranges | {name: float(np.abs(value).max(initial=0)) for name, value in weights.items()}
    for name, largest in reach.items():
        if not largest < losses.LARGEST:
            raise InputError(f"{name} reaches {largest:g}: the step's numbers stay below 2^200")
    network = quantize(
        graph, weights, ranges, per="tensor", step="power_of_two", number=number, psum=psum
    )
    for node, _ in graph.layers:
        if network.accumulator_scale(node) >= network.scales[node.name] * 2.0**MULTIPLIER_BITS:
            rule = (
                f"{node.name}: its output is too small beside its weights and input: "
                f"below 2^-{MULTIPLIER_BITS} of one word's product"
            )
            raise InputError(rule)
    return network


def golden_layer(psum: Number) -> RunLayer:
    """Layers by the golden model.  Sums that ``psum`` does not hold raise InputError: a wrapped
    gradient means nothing.
    """

    def run(name: str, problem: Problem, data: Data) -> Array:
        sums = golden.accumulate(problem, data, WIDEST)
        low, high = int(sums.min(initial=0)), int(sums.max(initial=0))
        if (
            _reach(problem, data) > WIDEST.high
        ):  # then WIDEST may itself have wrapped; float64 tells, to its 53 bits
            sizes = multiply(problem, data) + (
                data["bias"][:, :, None, None] if "bias" in data else 0
            )
            low, high = min(low, int(sizes.min())), max(high, int(sizes.max()))
        if not psum.low <= low <= high <= psum.high:
            need = max(high.bit_length(), (-low - 1).bit_length() if low else 0) + 1
            rule = (
                f"must hold the step's sums: {name} {problem.direction} needs {need} bits, "
                "or the step's words must be narrower"
            )
            raise InputError(rule, key="bits.psum", got=str(psum.bits))
        return sums

    return run


def _reach(problem: Problem, data: Data) -> int:
    """More than the largest magnitude a sum of these operands can have."""
    bias = int(np.abs(data["bias"].astype(np.int64)).max()) if "bias" in data else 0
    filters = problem.R * problem.S
    terms = {
        "forward": problem.C * filters,
        "grad_input": problem.M * filters,
        "grad_weight": problem.N * problem.E * problem.F,
    }
    return (
        terms[problem.direction]
        * prod(int(np.abs(data[t].astype(np.int64)).max(initial=0)) for t in problem.operands)
        + bias
    )


def step(
    network: QuantizedNetwork,
    images: Array | Mapping[str, Array],
    targets: Array,
    loss: losses.Loss,
    run_layer: RunLayer,
) -> TrainingStep:
    """Forward and backward on words.  ``network`` as ``as_words`` gives it, ``targets`` as
    ``loss.check_targets``.

    Raises InputError for images or targets that do not fit, or a node that needs a gradient and has
    none.
    """
    graph = network.graph
    end = losses.loss_at(graph, loss)
    names = iter(
        [node.name for node, _ in graph.layers]
    )  # run_network does the layers in this order
    tensors = golden_network.run_network(
        network, images, lambda problem, data: run_layer(next(names), problem, data)
    )
    output, scale = tensors[end], network.scales[end]
    checked = losses.check_targets(loss, targets, output.shape)

    def back(
        node: Node, g: BlockFloat, want: Sequence[bool]
    ) -> tuple[Sequence[BlockFloat | None], Mapping[str, BlockFloat]]:
        xs = [tensors[name] for name in node.inputs]
        if not isinstance(node.op, ArrayOperator):
            return gradient_words(node.op, xs, g, own(node, network.floats), network.of(node))
        units = [exponent_of(network.scales[name]) for name in node.inputs]
        unit = (
            exponent_of(float(network.weight_scales[node.name]))
            if node.name in network.weight_scales
            else 0
        )
        words = BlockFloat(g.words.astype(network.number.dtype), g.exponent)

        def multiplied(problem: Problem, data: Data) -> Array:
            return run_layer(node.name, problem, data)

        return layer_blocks(
            node.op, xs, in_words(node, network.words), words, multiplied, want, units, unit
        )

    start = losses.start_words(loss, output, scale, checked)
    gradients, parameters = backward(
        graph, (end, start), back, lambda parts: added(parts, network.number)
    )
    return TrainingStep(
        tensors, losses.value(loss, output * scale, checked), gradients | parameters
    )


def updated(
    network: QuantizedNetwork, weights: Mapping[str, Array], step: TrainingStep, rate: float
) -> dict[str, Array]:
    """``weights - rate * gradient`` in float64: master weights, which the next step rounds to words
    anew.
    """
    weights_after = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    for name in trained(network.graph):
        if name in step.gradients:
            weights_after[name] = weights_after[name] - rate * step.gradients[name].values
    return weights_after


def updated_words(network: QuantizedNetwork, step: TrainingStep, rate: float) -> dict[str, Array]:
    """The array's weights and biases as words after the step, in the formats they had: word - rate
    * gradient / scale.

    The change is one product in float64, rounded half to even to a word; the difference saturates.
    """
    words_after = {}
    for node, _ in network.graph.layers:
        for key in ("weight", "bias"):
            name = f"{node.name}.{key}"
            if name not in network.words:
                continue
            number = network.number if key == "weight" else network.psum
            words = network.words[name]
            if node.array(key) in step.gradients:
                scale = (
                    network.weight_scales[node.name]
                    if key == "weight"
                    else network.accumulator_scale(node)
                )
                change = step.gradients[node.array(key)].values * (rate / float(scale))
                words = np.clip(
                    words - np.rint(np.clip(change, -(2.0**60), 2.0**60)).astype(np.int64),
                    number.low,
                    number.high,
                )
            words_after[name] = words
    return words_after
