"""Pages of a workload, a layer, a problem and a graph: sizes, and how much work they are."""

from __future__ import annotations

from accelsim.base.text_table import Block, Facts, TextTable
from accelsim.view.pages.words import number
from accelsim.workload.graph.graph import Graph
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload
from accelsim.workload.operators.operator import kind, text
from accelsim.workload.problem import DIMS, TENSORS, Problem

HEAD = ("layer", "type", "ifmap", "filters", "", "ofmap", "MACs", "parameters")
NUMBERS = (6, 7)


def workload_blocks(network: Workload, batch: int | None = None) -> tuple[Block, ...]:
    """A line a layer: what goes in, the filters, what comes out, MACs and parameters; a total."""
    problems = [layer.problem(batch) for layer in network.layers]
    rows = [_layer_row(layer, p) for layer, p in zip(network.layers, problems, strict=True)]
    totals = []
    if len(rows) > 1:
        macs = sum(p.macs for p in problems)
        totals = [len(rows)]
        rows.append(["total", "", "", "", "", "", number(macs), number(network.parameters)])
    return (TextTable.of(HEAD, rows, NUMBERS, totals).without_empty_columns(),)


def layer_blocks(layer: Layer) -> tuple[Block, ...]:
    """The line that the layer has in a workload."""
    rows = [_layer_row(layer, layer.problem())]
    return (TextTable.of(HEAD, rows, NUMBERS).without_empty_columns(),)


def _layer_row(layer: Layer, p: Problem) -> list[str]:
    batch = f"{p.N} of " if p.N > 1 else ""
    return [
        layer.name,
        str(getattr(layer, "type", "")),
        f"{batch}{p.G * p.C}x{p.H}x{p.W}",
        f"{p.G * p.M} of {p.C}x{p.R}x{p.S}",
        ", ".join(_options(p)),
        f"{batch}{p.G * p.M}x{p.E}x{p.F}",
        number(p.macs),
        number(layer.parameters),
    ]


def _options(p: Problem) -> list[str]:
    """What is not as in a plain layer; values that are all alike are told once."""
    options = []
    for word, values in (("stride", p.stride), ("padding", p.padding), ("dilation", p.dilation)):
        if set(values) != {0 if word == "padding" else 1}:
            told = values[:1] if len(set(values)) == 1 else values
            options.append(f"{word} {','.join(str(v) for v in told)}")
    options += [f"{p.G} groups"] if p.G > 1 else []
    options += ["bias"] if p.bias else []
    return options


def problem_blocks(problem: Problem) -> tuple[Block, ...]:
    """The box, the tensors in words, and how the ifmap is walked."""
    tensors = [
        [t, "x".join(map(str, problem.shape(t))), number(problem.words(t)), _part(problem, t)]
        for t in TENSORS
    ]
    loops = ", ".join(f"{dim} {number(extent)}" for dim, extent in problem.size.items())
    options = ", ".join(_options(problem)) or "none"
    return (
        Facts((("loops", loops), ("MACs", number(problem.macs)), ("options", options))),
        TextTable.of(["tensor", "shape", "words", ""], tensors, (2,)),
    )


def problem_title(problem: Problem) -> str:
    """Which of the three readings of the box this is."""
    return f"problem over {', '.join(DIMS)}, {problem.direction}"


def _part(problem: Problem, tensor: str) -> str:
    return "accumulated" if tensor == problem.accumulated else "read"


def graph_blocks(graph: Graph) -> tuple[Block, ...]:
    """A line a node, in the order they run: what it reads and makes, for one input."""
    inputs = ", ".join(f"{name} {text(shape)}" for name, shape in graph.inputs.items())
    macs = {node.name: layer.problem(1).macs for node, layer in graph.layers}
    rows = [
        [
            node.name,
            kind(node.op),
            ", ".join(node.inputs),
            text(graph.shapes[node.name]),
            number(macs[node.name]) if node.name in macs else "",
            number(graph.parameter_count(node)),
        ]
        for node in graph.nodes
    ]
    head = ["node", "operator", "reads", "output", "MACs", "parameters"]
    return (
        Facts((("inputs", inputs), ("outputs", ", ".join(graph.outputs)))),
        TextTable.of(head, rows, (4, 5)).without_empty_columns(),
    )
