"""Losses: one number from a network's output and what it should be, and the gradient the backward
pass starts from.

Both are means over the batch.  The gradient is that of the mean, in float64 or exactly in words.

``engines/golden/training`` and ``results/train`` call in the order of a step: ``loss_at`` (which
tensor), ``check_targets``, ``value``, and ``start`` or ``start_words``.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from accelsim.base.errors import InputError
from accelsim.workload.arithmetic import Array, Number
from accelsim.workload.block_float import BlockFloat, exponent_of
from accelsim.workload.graph.graph import Graph
from accelsim.workload.operators.activation import Softmax
from accelsim.workload.operators.operator import axes_of, text
from accelsim.workload.scaling import Scales

Loss = Literal["cross_entropy", "squared_error"]
LARGEST = 2.0**200  # of a step's numbers, so that no product of a few leaves float64's range
PROBABILITY = (
    -14,
    Number(16),
)  # exponent and type of the words the cross-entropy's own softmax gives


def loss_at(graph: Graph, loss: Loss) -> str:
    """The tensor a loss reads: the network's output, or what its softmax reads, as cross-entropy
    has that softmax in it.

    Raises InputError for an unknown loss, several outputs, or a softmax along another axis than the
    classes'.
    """
    if loss not in get_args(Loss):
        raise InputError("no such loss", key="loss", got=str(loss), choices=get_args(Loss))
    if len(graph.outputs) != 1:
        raise InputError(
            f"a loss needs a network of one output, got {', '.join(graph.outputs)}", key="outputs"
        )
    node = graph.by_name.get(graph.outputs[0])
    if node is None:
        raise InputError(
            "a loss needs an output that is not an input", key="outputs", got=graph.outputs[0]
        )
    if loss == "cross_entropy" and isinstance(node.op, Softmax):
        if axes_of([node.op.axis], len(graph.shapes[node.name])) != (0,):
            raise InputError(
                f"{node.name}: cross_entropy needs its softmax along axis 0, the classes",
                key="loss",
            )
        return node.inputs[0]
    return node.name


def check_targets(loss: Loss, targets: Array, shape: tuple[int, ...]) -> Array:
    """Labels (batch, *rest of the shape without classes), or targets in the output's shape.
    ``shape``: (batch, *output).

    Raises InputError for another shape, a label that is no class, or targets that are not finite
    numbers.
    """
    targets = np.asarray(targets)
    if loss == "squared_error":
        if (
            targets.shape != shape
            or not np.issubdtype(targets.dtype, np.number)
            or np.issubdtype(targets.dtype, np.complexfloating)
        ):
            raise InputError(
                f"must be numbers of shape {text(shape)}",
                key="targets",
                got=text(targets.shape) or "one number",
            )
        if not np.abs(targets).max(initial=0) < LARGEST:
            raise InputError("must be numbers below 2^200", key="targets")
        return targets.astype(np.float64)
    wide = (shape[0], *shape[2:])
    if targets.shape != wide or not np.issubdtype(targets.dtype, np.integer):
        got = f"{text(targets.shape) or 'one number'} of {targets.dtype}"
        raise InputError(f"must be whole numbers of shape {text(wide)}", key="labels", got=got)
    if targets.size and not 0 <= int(targets.min()) <= int(targets.max()) < shape[1]:
        raise InputError(
            f"must be classes 0 to {shape[1] - 1}",
            key="labels",
            got=f"{targets.min()} to {targets.max()}",
        )
    return targets.astype(np.int64)


def value(loss: Loss, output: Array, targets: Array) -> float:
    """The loss in float64.  ``output`` (batch, *shape): logits for cross-entropy, mean of -log
    softmax at the label; for squared error half the sum of squares, a mean over the batch.
    """
    if loss == "squared_error":
        return float(0.5 * np.square(output - targets).sum() / len(output))
    shifted = output - output.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-np.take_along_axis(logs, targets[:, None], axis=1).mean())


def start(loss: Loss, output: Array, targets: Array) -> Array:
    """The loss's gradient at ``output``, (batch, *shape) as that is, in float64."""
    if loss == "squared_error":
        return np.asarray((output - targets) / len(output))
    e = np.exp(output - output.max(axis=1, keepdims=True))
    return np.asarray(
        (e / e.sum(axis=1, keepdims=True) - _one_hot(targets, output.shape)) / targets.size
    )


def start_words(loss: Loss, words: Array, scale: float, targets: Array) -> BlockFloat:
    """The same of words, exact: the divisor is the number of means.

    Cross-entropy's probabilities are the softmax operator's integer form, in words of
    ``PROBABILITY``; squared error's targets are rounded to the output's scale, half to even.
    ``scale`` is a power of two.
    """
    if loss == "squared_error":
        wanted = np.clip(np.rint(targets / scale), -(2.0**30), 2.0**30).astype(np.int64)
        return BlockFloat(words.astype(np.int64) - wanted, exponent_of(scale), len(words))
    exponent, number = PROBABILITY
    share = Softmax(type="softmax", axis=0).words(
        [words], {}, Scales((scale,), 2.0**exponent, number)
    )
    return BlockFloat(share - (_one_hot(targets, words.shape) << -exponent), exponent, targets.size)


def _one_hot(labels: Array, shape: tuple[int, ...]) -> Array:
    classes = np.arange(shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
    return np.asarray(labels[:, None] == classes, np.int64)
