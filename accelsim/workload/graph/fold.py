"""Batch normalization folded into the layer before it: one convolution with other weights and a
bias.

The ONNX importer asks for it (``accelsim import --fold``).  With y = w*x + b and a
normalization factor*y + shift (``BatchNorm.folded``), the new weight is factor*w and the new bias
factor*b + shift, channel by channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.float_run import own
from accelsim.workload.graph.graph import Graph, Node, build
from accelsim.workload.operators.array import Conv, ConvTranspose, Depthwise, FullyConnected
from accelsim.workload.operators.normalization import BatchNorm


def fold_batch_norm(graph: Graph, weights: Mapping[str, Array]) -> tuple[Graph, dict[str, Array]]:
    """The graph without the batch normalizations that directly follow a convolution or linear layer
    only they read.

    The layer keeps its name and gets a bias; who read the normalization reads the layer.  Others
    stay, and those whose weights or scales more than one node has.
    """
    folded: dict[str, str] = {}
    values = dict(weights)
    changed: dict[str, Node] = {}
    shared = {name for node in graph.nodes for name in node.owners.values()}
    for node in graph.nodes:
        source = graph.by_name.get(node.inputs[0]) if node.inputs else None
        if (
            not isinstance(node.op, BatchNorm)
            or source is None
            or len(graph.users(source.name)) != 1
            or source.name in graph.outputs
        ):
            continue
        if not isinstance(source.op, (Conv, Depthwise, FullyConnected, ConvTranspose)):
            continue
        both = {*graph.arrays(node), *graph.arrays(source)}
        if node.owners or source.owners or both & shared:
            continue
        factor, shift = node.op.folded(own(node, weights))
        weight = np.asarray(weights[f"{source.name}.weight"], np.float64)
        if isinstance(source.op, ConvTranspose):
            groups = source.op.groups
            wide = weight.reshape(groups, -1, *weight.shape[1:]) * factor.reshape(
                groups, 1, -1, 1, 1
            )
            values[f"{source.name}.weight"] = wide.reshape(weight.shape)
        else:
            values[f"{source.name}.weight"] = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        bias = np.asarray(weights.get(f"{source.name}.bias", 0.0), np.float64)
        values[f"{source.name}.bias"] = bias * factor + shift
        changed[source.name] = replace(source, op=source.op.model_copy(update={"bias": True}))
        folded[node.name] = source.name
        for key in ("scale", "shift", "mean", "variance"):
            del values[f"{node.name}.{key}"]
    nodes = [
        replace(
            changed.get(node.name, node),
            inputs=tuple(folded.get(name, name) for name in node.inputs),
        )
        for node in graph.nodes
        if node.name not in folded
    ]
    outputs = [folded.get(name, name) for name in graph.outputs]
    return build(graph.name, graph.inputs, nodes, outputs), values
