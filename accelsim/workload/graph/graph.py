"""A network as a graph whose shapes are known: nodes in an order that runs, what lives when, how
much work each is.

A ``Graph`` is what every engine, importer and run sees of a network.  ``unroll`` makes one of a
file, ``build`` of nodes in Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from accelsim.base.display import Displayed
from accelsim.base.errors import or_nearest
from accelsim.base.limits import MAX_NUMBER
from accelsim.workload.layers import Layer
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.operators.operator import EVERY, Operator, Shape, Work, kind, text

MAX_GRAPH_NODES = 10_000
MEASURED = ("mean", "variance")


@dataclass(frozen=True)
class Node:
    """An operator with its name and what it reads, names of nodes or of the graph's inputs;
    ``place`` is where its file states it.  ``share`` is the operator's, with whole names of nodes;
    ``owners`` follows it to the arrays of weights that are another node's, by their names here.
    """

    name: str
    op: Operator
    inputs: tuple[str, ...]
    place: str = ""
    share: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)

    def array(self, key: str) -> str:
        """The whole name of an array of weights that the node calls ``key``."""
        return self.owners.get(key, f"{self.name}.{key}")


@dataclass(frozen=True)
class Graph(Displayed):
    """Nodes in an order in which each comes after what it reads; ``shapes`` of every tensor, the
    batch left out.

    A node's output tensor goes by the node's name.  ``outputs`` are the tensors that leave the
    network.
    """

    name: str
    inputs: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    outputs: tuple[str, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of what a node reads."""
        return tuple(self.shapes[name] for name in node.inputs)

    def parameters(self, node: Node) -> dict[str, Shape]:
        """Shapes of a node's own arrays, by the node's name, a dot and theirs; those that it shares
        are another node's.
        """
        return {
            f"{node.name}.{key}": shape
            for key, shape in node.op.parameters(*self.input_shapes(node)).items()
            if key not in node.owners
        }

    def arrays(self, node: Node) -> tuple[str, ...]:
        """Whole names of all arrays that a node reads, its own and shared ones."""
        return tuple(map(node.array, node.op.parameters(*self.input_shapes(node))))

    @cached_property
    def all_parameters(self) -> Mapping[str, Shape]:
        """Shapes of every array of weights the network has."""
        return {key: shape for node in self.nodes for key, shape in self.parameters(node).items()}

    def parameter_count(self, node: Node) -> int:
        """Words that training sets: weights, biases, scales and shifts, without the means and
        variances that are measured, and without what is another node's.
        """
        return sum(
            prod(shape)
            for name, shape in self.parameters(node).items()
            if name.rsplit(".", 1)[1] not in MEASURED
        )

    def work(self, node: Node) -> Work:
        """What a node does on the vector unit, for one input."""
        return node.op.work(*self.input_shapes(node))

    @cached_property
    def layers(self) -> tuple[tuple[Node, Layer], ...]:
        """The nodes that run on the array, with their layers, in order."""
        return tuple(
            (n, n.op.layer(*self.input_shapes(n)))
            for n in self.nodes
            if isinstance(n.op, ArrayOperator)
        )

    def users(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read a tensor."""
        return self._users.get(tensor, ())

    @cached_property
    def _users(self) -> Mapping[str, tuple[Node, ...]]:
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @cached_property
    def _last_use(self) -> Mapping[str, int]:
        """The number of the last node that reads a tensor; an output is read after them all."""
        last = {name: at for at, node in enumerate(self.nodes) for name in node.inputs}
        return last | dict.fromkeys(self.outputs, len(self.nodes))

    def live(self) -> Iterator[tuple[Node, tuple[str, ...]]]:
        """Each node with the tensors that exist while it runs: its inputs, its output, and those
        that wait for a later node.

        Tensors that only rename words (reshape, flatten, dropout) are counted like any other.
        Parameters are not activations.
        """
        last = self._last_use
        alive = [name for name in self.inputs if name in last]
        for at, node in enumerate(self.nodes):
            alive.append(node.name)
            yield node, tuple(alive)
            alive = [name for name in alive if last.get(name, -1) > at]

    @cached_property
    def live_words(self) -> Mapping[str, int]:
        """Words of the tensors of ``live`` while each node runs, by the node's name, for one
        input.
        """
        last = self._last_use
        ends: dict[int, list[str]] = {}
        for name, at in last.items():
            ends.setdefault(at, []).append(name)
        alive, words = {}, sum(prod(shape) for name, shape in self.inputs.items() if name in last)
        for at, node in enumerate(self.nodes):
            words += prod(self.shapes[node.name])
            alive[node.name] = words
            words -= sum(prod(self.shapes[name]) for name in ends.get(at, ()))
            words -= prod(self.shapes[node.name]) if node.name not in last else 0
        return alive

    @cached_property
    def peak_words(self) -> int:
        """The most words of activations that exist at a time, for one input."""
        return max(self.live_words.values())


def build(
    name: str,
    inputs: Mapping[str, Shape],
    nodes: Sequence[Node],
    outputs: Sequence[str] = (),
    place: str = "graph",
) -> Graph:
    """A graph of nodes in any order: sorted, its shapes inferred.  Outputs are what no node reads
    unless given.

    Raises ValueError, its text beginning with the ``place`` it is about: an unknown or ambiguous
    name, a cycle, or shapes that an operator cannot take.
    """
    known: dict[str, Node | None] = dict.fromkeys(inputs)
    if len(nodes) > MAX_GRAPH_NODES:
        raise ValueError(f"{place}: must have at most {MAX_GRAPH_NODES} nodes, got {len(nodes)}")
    for node in nodes:
        if node.name in known:
            raise ValueError(
                f"{node.place}: every node needs a name of its own, got {node.name} twice"
            )
        known[node.name] = node
    for node in nodes:
        for source in node.inputs:
            if source not in known:
                raise ValueError(f"{node.place}.inputs: {_unknown(source, known)}")
    ordered = _sorted(nodes, inputs)
    shapes = dict(inputs)
    for node in ordered:
        shapes[node.name] = _output_shape(node, [shapes[source] for source in node.inputs])
    for source in outputs:
        if source not in known:
            raise ValueError(f"outputs: {_unknown(source, known)}")
    ordered = _with_owners(ordered, shapes)
    read = {source for node in nodes for source in node.inputs}
    return Graph(
        name,
        dict(inputs),
        tuple(ordered),
        shapes,
        tuple(outputs) or tuple(n.name for n in ordered if n.name not in read),
    )


def _with_owners(nodes: Sequence[Node], shapes: Mapping[str, Shape]) -> list[Node]:
    """The nodes with the owner of every array that they share.  Raises ValueError for a node that
    has no such array, or one of another shape.
    """
    if not any(node.share for node in nodes):
        return list(nodes)
    by_name = {node.name: node for node in nodes}
    arrays = {
        node.name: node.op.parameters(*(shapes[source] for source in node.inputs)) for node in nodes
    }

    def owner(node: Node, key: str) -> str:
        at, passed = node, [node.name]
        while (source := at.share.get(key, at.share.get(EVERY))) is not None:
            place = f"{node.place}.share"
            if source in passed:
                raise ValueError(f"{place}: nodes must not share in a circle, got {source}")
            if source not in by_name or key not in arrays[source]:
                raise ValueError(f"{place}: {source} has no {key}")
            if arrays[source][key] != arrays[node.name][key]:
                here, there = text(arrays[node.name][key]), text(arrays[source][key])
                raise ValueError(f"{place}: {key} must have shape {here}, {source} has {there}")
            at = by_name[source]
            passed.append(source)
        return f"{at.name}.{key}"

    for node in nodes:
        for key in node.share:
            if key != EVERY and key not in arrays[node.name]:
                names = ", ".join(arrays[node.name]) or "none"
                raise ValueError(f"{node.place}.share: there are {names}, got {key}")
    owners = {
        node.name: {
            key: name
            for key in arrays[node.name]
            if (name := owner(node, key)) != f"{node.name}.{key}"
        }
        for node in nodes
        if node.share
    }
    return [replace(n, owners=owners[n.name]) if n.name in owners else n for n in nodes]


def _output_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """What a node makes of its inputs' shapes.  Raises ValueError that begins with its place."""
    least, most = node.op.arity
    if not least <= len(shapes) <= most:
        count = str(least) if least == most else f"at least {least}"
        raise ValueError(
            f"{node.place}: {kind(node.op)} reads {count} tensor{'s' * (count != '1')}, got"
            f" {len(shapes)}"
        )
    try:
        shape = node.op.infer(*shapes)
        if isinstance(node.op, ArrayOperator):
            node.op.layer(*shapes)
    except ValueError as error:
        where = f"{node.place}: {node.name}" if node.name else node.place
        raise ValueError(f"{where}: {error}") from None
    if prod(shape) > MAX_NUMBER:
        raise ValueError(f"{node.place}: a tensor may have at most 2^53 words, got {prod(shape)}")
    return shape


def _unknown(name: str, known: Mapping[str, Node | None]) -> str:
    return f"no such node, got {name}{or_nearest(name, known)}"


def _sorted(nodes: Sequence[Node], inputs: Mapping[str, Shape]) -> list[Node]:
    """The nodes as they stand, each put off until what it reads is there.  Raises ValueError naming
    a cycle.
    """
    done, waiting, ordered = set(inputs), {n.name: n for n in nodes}, []
    users: dict[str, list[str]] = {}
    missing = {}
    for node in nodes:
        sources = {s for s in node.inputs if s not in done}
        missing[node.name] = len(sources)
        for source in sources:
            users.setdefault(source, []).append(node.name)
    ready = [n.name for n in reversed(nodes) if not missing[n.name]]
    while ready:
        name = ready.pop()
        ordered.append(waiting.pop(name))
        freed = []
        for user in users.get(name, ()):
            missing[user] -= 1
            if not missing[user]:
                freed.append(user)
        ready.extend(reversed(freed))
    if waiting:
        name = next(iter(waiting))
        path: list[str] = []
        while name not in path:
            path.append(name)
            name = next(s for s in waiting[name].inputs if s in waiting)
        loop = path[path.index(name) :]
        raise ValueError(
            f"{waiting[name].place}.inputs: nodes must not read themselves in a circle:"
            f" {' reads '.join([*loop, name])}"
        )
    position = {n.name: i for i, n in enumerate(nodes)}
    if all(position[s] < position[n.name] for n in nodes for s in n.inputs if s in position):
        return list(nodes)
    return ordered
