"""The golden network: every tensor of a whole network, in float64 or in words; it knows no mapping.

In words, layers are exact accumulations requantized once (``workload.scaling.rescale``); every
other operator has the integer form its docstring states.  ``run_network`` does the layers with
whatever engine it is given, so that an engine's network and the golden one differ in nothing but
who multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines import golden
from accelsim.workload.arithmetic import wrap
from accelsim.workload.graph.float_run import evaluate, in_words, walk
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.graph.weights import check_images
from accelsim.workload.operators.array import ArrayOperator, wide
from accelsim.workload.problem import Problem
from accelsim.workload.quantize import QuantizedNetwork, rectified

Array = NDArray[Any]
Data = Mapping[str, Array]
# A problem and its operands (and bias, forward) to the accumulators, int64 of
# problem.shape(problem.accumulated), wrapped.
RunLayer = Callable[[Problem, Data], Array]


def run(
    network: Graph | QuantizedNetwork,
    images: Array | Mapping[str, Array],
    weights: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Every tensor by name, each (batch, *shape): of a graph with float ``weights`` in float64, of
    a quantized network in words.

    ``images``: an array, or arrays by input name.  Raises InputError for arrays that do not fit,
    ValueError if weights are given beside a quantized network, which has its own.
    """
    if isinstance(network, QuantizedNetwork):
        if weights is not None:
            raise ValueError("a quantized network has weights of its own")
        return run_network(network, images)
    if weights is None:
        raise ValueError("a graph needs weights")
    return evaluate(network, images, weights)


def run_network(
    network: QuantizedNetwork,
    images: Array | Mapping[str, Array],
    run_layer: RunLayer | None = None,
    psums: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Array]:
    """Every tensor of a quantized network in words, of ``network.number``'s type.

    ``images``: integers are words, floats are quantized to the input's scale.  ``run_layer`` does
    the layers, the golden model unless given.  With ``psums`` the accumulators are there too, as
    ``NODE.psum``, in the shape of NODE. ``progress`` is told each node's name when it is done.
    """
    layer = run_layer or (lambda problem, data: golden.accumulate(problem, data, network.psum))
    accumulators: dict[str, Array] = {}

    def step(node: Node, xs: list[Array]) -> Array:
        if isinstance(node.op, ArrayOperator):
            acc = accumulate(network, node, node.op, xs, layer)
            if psums:
                accumulators[f"{node.name}.psum"] = acc
            out = network.words_of_sums(node, xs, acc)
        else:
            out = network.words_of_node(node, xs)
        if progress is not None:
            progress(node.name)
        return out.astype(network.number.dtype)

    return walk(network.graph, as_words(network, images), step) | accumulators


def as_words(network: QuantizedNetwork, images: Array | Mapping[str, Array]) -> dict[str, Array]:
    """Images in words: integers are taken as they are, floats quantized.  Raises InputError for
    wrong shapes or words out of range.
    """
    from accelsim.base.errors import InputError

    words = {}
    for name, array in check_images(network.graph, images).items():
        if np.issubdtype(array.dtype, np.integer):
            if (
                array.size
                and not network.number.low
                <= int(array.min())
                <= int(array.max())
                <= network.number.high
            ):
                raise InputError(
                    f"words must be {network.number.low} to {network.number.high}",
                    key=f"images.{name}",
                )
            words[name] = array.astype(network.number.dtype)
        else:
            words[name] = network.words_of_reals(name, array).astype(network.number.dtype)
    return words


def layer_data(
    network: QuantizedNetwork, node: Node, op: ArrayOperator, xs: list[Array]
) -> tuple[Problem, dict[str, Array]]:
    """A node's problem for this batch and its operands in words; with the bias, of shape (G, M), if
    it is added on the array.
    """
    shapes = [x.shape[1:] for x in xs]
    problem = op.problem(len(xs[0]), *shapes)
    parameters = in_words(node, network.words)
    data = op.pack(xs, {k: v for k, v in parameters.items() if k != "bias"})
    if "bias" in parameters and problem.direction == "forward":
        return replace(problem, bias=True), data | {
            "bias": parameters["bias"].reshape(problem.G, problem.M)
        }
    return replace(problem, bias=False), data


def accumulate(
    network: QuantizedNetwork, node: Node, op: ArrayOperator, xs: list[Array], layer: RunLayer
) -> Array:
    """A node's accumulators, (batch, *shape); a transposed convolution's bias is added behind the
    array.
    """
    problem, data = layer_data(network, node, op, xs)
    acc = op.unpack(layer(problem, data), *(x.shape[1:] for x in xs))
    bias = in_words(node, network.words).get("bias")
    if bias is not None and problem.direction != "forward":
        acc = wrap(acc + bias.reshape(wide(op, acc)), network.psum)
    return acc


@dataclass(frozen=True)
class Accuracy:
    """A tensor in words against the float network's: the largest error and the ratio of signal to
    noise, in dB.

    ``largest`` is the float tensor's largest magnitude, in the same unit as ``error``.
    """

    node: str
    largest: float
    error: float
    snr_db: float


def accuracy(
    network: QuantizedNetwork, images: Array | Mapping[str, Array], reference: Mapping[str, Array]
) -> list[Accuracy]:
    """Every node's accuracy on these images.  ``reference``: the float network's tensors, as
    ``run`` gives them.

    A tensor that goes into a rectifier alone saturates at the rectifier's range, and so does what
    it is compared with.
    """
    return accuracy_of(network, run_network(network, images), reference)


def accuracy_of(
    network: QuantizedNetwork, tensors: Mapping[str, Array], reference: Mapping[str, Array]
) -> list[Accuracy]:
    """``accuracy`` of tensors in words that are there already."""
    accuracies = []
    for node in network.graph.nodes:
        want = np.asarray(reference[node.name], np.float64)
        if rectified(network.graph, node.name):
            ends = np.array([network.number.low, network.number.high])
            want = np.clip(want, *network.real(node.name, ends))
        error = network.real(node.name, tensors[node.name]) - want
        noise, signal = float((error * error).mean()), float((want * want).mean())
        snr = (
            float("inf")
            if noise == 0
            else float("-inf")
            if signal == 0
            else 10 * float(np.log10(signal / noise))
        )
        accuracies.append(
            Accuracy(
                node.name,
                float(np.abs(want).max(initial=0)),
                float(np.abs(error).max(initial=0)),
                snr,
            )
        )
    return accuracies
