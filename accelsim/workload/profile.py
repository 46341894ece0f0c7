"""What a network is, layer by layer, before any accelerator: shapes, parameters, MACs, other
operations, memory, intensity.

``accelsim profile`` prints it, ``view/profile_page`` draws it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.operators.operator import kind, text

YARDSTICK_MHZ = 2200.0  # a scalar core of the courses, one MAC a cycle


@dataclass(frozen=True)
class ProfileRow:
    """One layer or operator, for a batch.

    ``parameters`` are words training sets; ``operations`` what is done outside the array;
    ``activation_bytes`` every tensor that exists while it runs (with a graph: also those that wait
    for a later layer), ``parameter_bytes`` its own weights. ``intensity`` is MACs and operations
    over the bytes of its inputs, parameters and output, each once. ``time_s`` is MACs over the
    yardstick's clock.  ``note`` says what the sizes alone do not.
    """

    workload: str
    layer: str
    type: str
    inputs: str
    output: str
    parameters: int
    macs: int
    operations: int
    activation_bytes: float
    parameter_bytes: float
    intensity: float
    time_s: float
    note: str = ""

    def columns(self) -> dict[str, Any]:
        """The row by column name."""
        return asdict(self)


@dataclass(frozen=True)
class Profile(Displayed):
    """A network's rows, and its totals: sums, and the largest ``activation_bytes`` for the peak.
    ``batch`` is the one asked for; without one every layer has its own, and it is None if those
    are not one.
    """

    workload: str
    batch: int | None
    bits: int
    rows: tuple[ProfileRow, ...]

    @property
    def total(self) -> ProfileRow:
        """The sums; activation memory is the peak, and intensity that of all the bytes the rows
        move.
        """
        moved = sum((r.macs + r.operations) / r.intensity for r in self.rows if r.intensity)
        work = sum(r.macs + r.operations for r in self.rows)
        return ProfileRow(
            self.workload,
            "total",
            "",
            "",
            "",
            sum(r.parameters for r in self.rows),
            sum(r.macs for r in self.rows),
            sum(r.operations for r in self.rows),
            max(r.activation_bytes for r in self.rows),
            sum(r.parameter_bytes for r in self.rows),
            work / moved if moved else 0.0,
            sum(r.time_s for r in self.rows),
        )


def profile(
    workload: Workload,
    batch: int | None = None,
    bits: int = 8,
    clock_mhz: float = YARDSTICK_MHZ,
    layers_only: bool = False,
) -> Profile:
    """A row for every node of a graph, or every layer of a list, or with ``layers_only`` for what
    runs on the array.

    ``batch`` stands in place of the workload's own.  ``bits``: of every word, activations and
    parameters.  A list of layers has no tensors that wait.
    Raises InputError for a batch or bits below 1, or a clock that is not positive.
    """
    for key, value in (("batch", batch), ("bits", bits), ("clock", clock_mhz)):
        if value is not None and (value < 1 if key != "clock" else value <= 0):
            raise InputError(
                "must be at least 1" if key != "clock" else "must be positive",
                key=key,
                got=str(value),
            )
    graph = workload.network
    if graph is None:
        rows = [
            _layer_row(workload.name, layer, batch, bits, clock_mhz) for layer in workload.layers
        ]
    else:
        alive = graph.live_words
        batch = workload.batch if batch is None else batch
        nodes = [n for n in graph.nodes if isinstance(n.op, ArrayOperator) or not layers_only]
        rows = [_node_row(graph, node, alive[node.name], batch, bits, clock_mhz) for node in nodes]
    if batch is None:
        batches = {getattr(layer, "N", 1) for layer in workload.layers}
        batch = batches.pop() if len(batches) == 1 else None
    return Profile(workload.name, batch, bits, tuple(rows))


def _node_row(
    graph: Graph, node: Node, alive: int, batch: int, bits: int, clock_mhz: float
) -> ProfileRow:
    shapes = graph.input_shapes(node)
    layer = node.op.layer(*shapes) if isinstance(node.op, ArrayOperator) else None
    macs = layer.problem(batch).macs if layer is not None else 0
    operations = graph.work(node).total * batch
    parameters = graph.parameter_count(node)
    words = batch * (sum(map(prod, shapes)) + prod(graph.shapes[node.name])) + parameters
    moves = macs + operations
    return ProfileRow(
        graph.name,
        node.name,
        kind(node.op),
        " ".join(text(s) for s in shapes),
        text(graph.shapes[node.name]),
        parameters,
        macs,
        operations,
        alive * batch * bits / 8,
        parameters * bits / 8,
        moves / (words * bits / 8) if moves else 0.0,
        macs / (clock_mhz * 1e6),
        _note(layer),
    )


def _layer_row(
    name: str, layer: Layer, batch: int | None, bits: int, clock_mhz: float
) -> ProfileRow:
    p = layer.problem(batch)
    inward, outward = ("ofmap", "ifmap") if p.direction == "grad_input" else ("ifmap", "ofmap")
    activations = (
        p.words(inward) + p.words(outward) + (p.words("weight") if not layer.parameters else 0)
    )

    def shape(tensor: str) -> str:
        _, g, c, h, w = p.shape(tensor)
        return text((g * c, h, w))

    return ProfileRow(
        name,
        layer.name,
        str(getattr(layer, "type", "")),
        shape(inward),
        shape(outward),
        layer.parameters,
        p.macs,
        0,
        activations * bits / 8,
        layer.parameters * bits / 8,
        p.macs / ((activations + layer.parameters) * bits / 8),
        p.macs / (clock_mhz * 1e6),
        _note(layer),
    )


def _note(layer: Layer | None) -> str:
    """That the stride does not fit, if the rest is more than the padding at the end."""
    if layer is None or getattr(layer, "type", "") != "conv2d":
        return ""
    p = layer.problem()
    rows, cols = (
        max(n - pad, 0) for n, pad in zip(layer.unread, (p.padding[1], p.padding[3]), strict=True)
    )
    lost = [f"{n} {word}{'s' * (n > 1)}" for n, word in ((rows, "row"), (cols, "column")) if n]
    return f"the stride drops {' and '.join(lost)}" if lost else ""
