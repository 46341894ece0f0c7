"""What films are made of before they are filmed: layers with mappings and data, operators with
their words, and a whole network node by node.

``animation`` asks for one of them; ``filming`` and ``vector_film`` take them down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.engines.analytic.array_time import array_time
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.files import MappingSource
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.results.execute import laid_out
from accelsim.view.player.film import TENSORS, Film
from accelsim.view.player.filming import record
from accelsim.view.player.small_numbers import ACTIVATIONS, small_data
from accelsim.view.player.vector_film import Operated, vector_film
from accelsim.workload.arithmetic import Number, random_data, random_operand
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.problem import Direction, Problem
from accelsim.workload.scaling import Scales

Numbers = Literal["small", "full"]
Data = Mapping[str, npt.NDArray[Any]]
Sources = tuple[MappingSource, ...]

MOST_MACS = 2**33
MOST_NODES, MOST_NETWORK_MACS = 40, 2**27
NODE_CYCLES = 500  # of a network's node
SMALL_BITS, FULL_BITS = 4, 8  # of a network's words


@dataclass(frozen=True)
class Scene:
    """What all films of an animation have in common: machine, data and window."""

    arch: Architecture
    overrides: str  # as text, for the facts
    batch: int | None
    direction: Direction
    seed: int
    first: int
    most: int
    numbers: Numbers

    # -- on the array ------------------------------------------------------------------------------

    def layer(
        self,
        name: str,
        node: str,
        problem: Problem,
        source: MappingSource,
        data: Data | None = None,
    ) -> Film:
        """A layer under one dataflow or mapping, on data of its own unless given.  Raises
        InputError where it cannot be run.
        """
        title = f"{name} on {self.arch.name}, {source.dataflow}"
        try:
            nest = Nest(problem, self.arch, source.mapping_of(node, problem, self.arch))
            return record(
                nest,
                laid_out(problem, self._data(problem) if data is None else data),
                title=title,
                facts=self._facts(name, source, nest),
                cycles=array_time(nest).cycles,
                first=self.first,
                most=self.most,
                node=node,
            )
        except (MappingError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{title}: {error}") from error

    def _data(self, problem: Problem) -> Data:
        number = self.arch.number
        types = {t: number(t) for t in TENSORS} | {"psum": number("psum")}
        if self.numbers == "small":
            return small_data(problem, types, self.seed)
        return random_data(problem, **types, seed=self.seed)

    def _facts(self, name: str, source: MappingSource, nest: Nest) -> tuple[tuple[str, str], ...]:
        return (
            *self._lead(name),
            ("dataflow", source.name),
            *((("direction", self.direction),) if self.direction != "forward" else ()),
            ("loops", str(nest.mapping)),
        )

    def _lead(self, name: str) -> tuple[tuple[str, str], ...]:
        array = self.arch.array
        changed = f" with {self.overrides}" if self.overrides else ""
        return (
            ("layer", name),
            ("architecture", f"{self.arch.name}, {array.rows} x {array.cols} PEs{changed}"),
            ("random data", f"{self.numbers} numbers, seed {self.seed}"),
        )

    # -- beside it ---------------------------------------------------------------------------------

    def operator(self, name: str, graph: Graph, node: Node) -> Film:
        """An operator of a graph on the vector unit, on random words."""
        from accelsim.workload.graph.float_run import own
        from accelsim.workload.graph.weights import random_weights

        if self.direction != "forward":
            raise InputError(
                "what runs beside the array is animated forward only",
                key="direction",
                got=self.direction,
            )
        rng = np.random.default_rng(self.seed)
        shapes = [(self.batch or 1, *s) for s in graph.input_shapes(node)]
        xs = [self._words(shape, rng) for shape in shapes]
        weights = own(node, random_weights(graph, self.seed)) if graph.parameters(node) else {}
        ones = (1.0,) * len(xs)
        real = node.op.run([x.astype(np.float64) for x in xs], weights)
        largest = float(np.abs(real).max(initial=0))
        unit = 1.0 if node.op.keeps_scale or not largest else largest / Number(FULL_BITS).high
        out = node.op.words(xs, weights, Scales(ones, unit))
        return self._beside(name, graph, node, tuple(xs), out)

    def _words(self, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        if self.numbers == "small":
            return rng.choice(np.array(ACTIVATIONS), shape)
        return random_operand(shape, Number(FULL_BITS), rng).astype(np.int64)

    def _beside(
        self,
        name: str,
        graph: Graph,
        node: Node,
        xs: tuple[npt.NDArray[Any], ...],
        out: npt.NDArray[Any],
    ) -> Film:
        return vector_film(
            self.arch,
            Operated(node.op, xs, out, graph.work(node)),
            title=f"{name} on {self.arch.name}, vector unit",
            facts=self._lead(name),
            node=node.name,
            most=self.most,
        )

    # -- a whole network ---------------------------------------------------------------------------

    def network(self, name: str, graph: Graph, sources: Sources) -> list[Film]:
        """Every node that does something, in order: the words that one makes are the next one's.

        Raises InputError for a network that is too large, or a layer that cannot be run.
        """
        from accelsim.engines import golden
        from accelsim.engines.golden.golden_network import run_network

        self._check_size(name, graph)
        part = replace(self, most=min(self.most, NODE_CYCLES))
        quantized, images = self._in_words(graph)
        problems: dict[str, tuple[Problem, Data]] = {}
        layers = iter([n for n in graph.nodes if isinstance(n.op, ArrayOperator)])

        def remembered(problem: Problem, data: Data) -> npt.NDArray[Any]:
            problems[next(layers).name] = problem, data
            return golden.accumulate(problem, data, quantized.psum)

        tensors = run_network(quantized, images, remembered)
        films: list[Film] = []
        for node in graph.nodes:
            whole = f"{name} {node.name}"
            if node.name in problems:
                problem, data = problems[node.name]
                films += [part.layer(whole, node.name, problem, s, data) for s in sources]
            elif not graph.work(node).nothing:
                xs = tuple(tensors[x] for x in node.inputs)
                films.append(part._beside(whole, graph, node, xs, tensors[node.name]))
        return films

    def _check_size(self, name: str, graph: Graph) -> None:
        if self.first != 1:
            raise InputError(
                "nodes of a network are shown from their first cycle; name a layer to begin later",
                key="first",
                got=str(self.first),
            )
        if self.direction != "forward":
            raise InputError(
                "a whole network is animated forward only", key="direction", got=self.direction
            )
        macs = sum(
            node.op.problem(self.batch or 1, *graph.input_shapes(node)).macs
            for node in graph.nodes
            if isinstance(node.op, ArrayOperator)
        )
        if len(graph.nodes) > MOST_NODES or macs > MOST_NETWORK_MACS:
            raise InputError(
                f"a network of at most {MOST_NODES} nodes and 2^27 MACs is animated whole; "
                f"{name} has {len(graph.nodes)} and {macs}, so one of its nodes must be named",
                key="layer",
                got="none",
                choices=tuple(n.name for n in graph.nodes),
            )

    def _in_words(self, graph: Graph) -> tuple[Any, Mapping[str, npt.NDArray[Any]]]:
        """The network quantized, with random weights and images."""
        from accelsim.workload.graph.float_run import evaluate
        from accelsim.workload.graph.weights import random_images, random_weights
        from accelsim.workload.quantize import quantize, ranges_of

        images = random_images(graph, self.batch or 1, self.seed)
        weights = random_weights(graph, self.seed)
        bits = self.arch.bits
        wanted = SMALL_BITS if self.numbers == "small" else FULL_BITS
        number = Number(min(wanted, bits.weight, bits.ifmap, bits.ofmap))
        ranges = ranges_of(evaluate(graph, images, weights))
        psum = self.arch.number("psum")
        return quantize(graph, weights, ranges, number=number, psum=psum), images
