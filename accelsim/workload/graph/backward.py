"""A graph walked backwards: which tensors need a gradient, and gradients from the loss to every
parameter.

``backward`` is the walk, for any kind of gradient: ``gradients`` fills it with float64, and
``engines/golden/training`` with words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import TypeVar

from accelsim.base.errors import InputError
from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.float_run import own
from accelsim.workload.graph.graph import MEASURED, Graph, Node
from accelsim.workload.operators.gradients import gradient, refusal

G = TypeVar("G")


def trained(graph: Graph) -> tuple[str, ...]:
    """The parameters a step changes, by name: all but means and variances, which are measured."""
    return tuple(name for name in graph.all_parameters if name.rsplit(".", 1)[1] not in MEASURED)


def wanted(graph: Graph, end: str) -> frozenset[str]:
    """The tensors that depend on a trained parameter and that the tensor ``end`` depends on: the
    others need no gradient.

    The network's inputs are never among them.  Raises InputError naming a node that would need a
    gradient and has none.
    """
    ahead: set[str] = set()
    parameters = set(trained(graph))
    for node in graph.nodes:
        if parameters.intersection(graph.arrays(node)) or ahead.intersection(node.inputs):
            ahead.add(node.name)
    behind = {end}
    for node in reversed(graph.nodes):
        if node.name in behind:
            behind.update(node.inputs)
    needed = frozenset(ahead & behind)
    for node in graph.nodes:
        if node.name in needed and (why := refusal(node.op)):
            raise InputError(f"{node.name}: {why}", key=node.place or None)
    return needed


def backward(
    graph: Graph,
    start: tuple[str, G],
    step: Callable[[Node, G, Sequence[bool]], tuple[Sequence[G | None], Mapping[str, G]]],
    total: Callable[[list[G]], G],
) -> tuple[dict[str, G], dict[str, G]]:
    """Gradients of tensors and of parameters, by name.

    ``start``: a tensor and the loss's gradient there.  ``step`` gives a node's gradients at its
    inputs (those it is told are wanted) and at its parameters, by their names in it, from the one
    at its output; ``total`` adds up those that reach one tensor, at least one, in the order of the
    nodes that read it, and those of an array that several nodes share.
    """
    end, seed = start
    needed = wanted(graph, end)
    parts: dict[str, list[G]] = {end: [seed]}
    tensors: dict[str, G] = {}
    parameters: dict[str, list[G]] = {}
    for node in reversed(graph.nodes):
        if node.name not in needed or node.name not in parts:
            continue
        here = tensors[node.name] = total(parts.pop(node.name)[::-1])
        want = [name in needed for name in node.inputs]
        inputs, mine = step(node, here, want)
        for name, part, use in reversed(list(zip(node.inputs, inputs, want, strict=True))):
            if use and part is not None:
                parts.setdefault(name, []).append(part)
        for key, value in mine.items():
            parameters.setdefault(node.array(key), []).append(value)
    return tensors, {
        name: total(several[::-1]) if len(several) > 1 else several[0]
        for name, several in parameters.items()
    }


def gradients(
    graph: Graph,
    tensors: Mapping[str, Array],
    weights: Mapping[str, Array],
    start: tuple[str, Array],
) -> tuple[dict[str, Array], dict[str, Array]]:
    """``backward`` in float64.  ``tensors``: all of a forward pass, as ``evaluate`` gives them."""

    def step(
        node: Node, g: Array, want: Sequence[bool]
    ) -> tuple[Sequence[Array | None], dict[str, Array]]:
        return gradient(node.op, [tensors[name] for name in node.inputs], g, own(node, weights))

    def total(parts: list[Array]) -> Array:
        return reduce(add, parts)

    return backward(graph, start, step, total)
