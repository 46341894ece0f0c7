"""A graph run in float64, node by node: every tensor of the network.

The golden network in float64: calibration (``quantize``) reads ranges off it, and networks in words
are compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.graph.weights import check_images, check_weights
from accelsim.workload.operators.operator import Weights

PARAMETERS = (
    "weight",
    "bias",
    "scale",
    "shift",
    "mean",
    "variance",
    "value",
)  # every name an operator gives its arrays


def evaluate(
    graph: Graph, images: Array | Mapping[str, Array], weights: Mapping[str, Array]
) -> dict[str, Array]:
    """Every tensor by name, the inputs too, each (batch, *shape) in float64.  Raises InputError for
    wrong arrays.
    """
    check_weights(graph, weights)
    given = check_images(graph, images)
    return walk(
        graph,
        {k: np.asarray(v, np.float64) for k, v in given.items()},
        lambda node, xs: node.op.run(xs, own(node, weights)),
    )


def walk(
    graph: Graph, given: Mapping[str, Array], step: Callable[[Node, list[Array]], Array]
) -> dict[str, Array]:
    """``step`` on every node in order, with the tensors it reads; what does not depend on the
    images is repeated for each.
    """
    tensors = dict(given)
    batch = len(next(iter(given.values())))
    for node in graph.nodes:
        tensor = step(node, [tensors[name] for name in node.inputs])
        tensors[node.name] = (
            np.broadcast_to(tensor, (batch, *tensor.shape[1:])) if len(tensor) != batch else tensor
        )
    return tensors


def own(node: Node, weights: Mapping[str, Array]) -> Weights:
    """A node's arrays by their names in it, also those that it shares."""
    return {key: weights[node.array(key)] for key in PARAMETERS if node.array(key) in weights}


def in_words(node: Node, words: Mapping[str, Array]) -> Weights:
    """The same of a quantized network, in which every node has words of its own: a shared bias is
    other words where what is added to has another scale.
    """
    return {key: words[f"{node.name}.{key}"] for key in PARAMETERS if f"{node.name}.{key}" in words}
