"""A whole network, end to end: layers on the array, the rest on the vector unit beside it, a row
each.  ``simulate`` with ``end_to_end`` calls it.

Where an engine computes, the network is quantized (docs/networks.md) and every node reads the words
that the nodes before it made; a row's ``bit_exact`` compares them, and a layer's accumulators, with
the golden network's, and ``snr_db`` is the distance of those words from the float network.

``NetworkRun`` holds what all dataflows share: images, weights and golden's answer.
``_UnderOneDataflow`` is the way through the graph under one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.engines import analytic
from accelsim.engines.analytic import vector_unit as vector
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.vector_energy import vector_prices
from accelsim.mapping.files import MappingSource
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.residency import ResidencyPlan, never_stays, plan
from accelsim.results.layer_row import (
    Given,
    How,
    Row,
    beyond,
    check_macs,
    efficiency,
    layer_row,
    leading,
    override_text,
    provenance,
    refused,
)
from accelsim.workload.arithmetic import Number
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.network import Workload
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.operators.operator import kind
from accelsim.workload.problem import Problem

if TYPE_CHECKING:
    from accelsim.workload.graph.weights import ArraysLike, ImagesLike
    from accelsim.workload.quantize import QuantizedNetwork

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
MOST = 1e30  # a network whose real values reach it has run away
WORD_BITS = 8  # of weights and activations, unless the architecture's are narrower


@dataclass(frozen=True)
class GoldenAnswer:
    """What the quantized network computes, in the golden model.

    ``network``  the network in words
    ``tensors``  words by node, [batch, ...]
    ``sums``     accumulators of the nodes that run on the array, axes as in ``check.AXES``
    ``snr_db``   each node's signal over its distance from the float network: what the words, their
                 scales and wrapped sums cost
    """

    network: QuantizedNetwork
    tensors: Tensors
    sums: Tensors
    snr_db: Mapping[str, float]


class NetworkRun:
    """A network on an architecture; ``rows`` runs it under one dataflow after another on the same
    images and weights.

    ``data`` is images and weights, each None where they are drawn at random; ``batch`` is the
    images' if they are given, else 1 unless given.  Raises InputError for a workload without a
    graph and for arrays that do not fit it, ValueError for options that do not go together.
    """

    def __init__(
        self,
        network: Workload,
        arch: Architecture,
        how: How,
        overrides: Mapping[str, object],
        batch: int | None,
        data: tuple[ImagesLike | None, ArraysLike | None],
        fuse: bool,
    ) -> None:
        if network.network is None:
            raise InputError(
                f"{network.name} is a list of layers; end to end wants a whole graph",
                key="workload",
            )
        if how.sample_folds:
            raise ValueError(
                "end_to_end: every node reads what the one before it computed, "
                "and sample_folds computes nothing"
            )
        self.name, self.graph, self.arch = network.name, network.network, arch
        self.own_batch = network.batch
        self.how, self.overrides, self.fuse = how, overrides, fuse
        self.computes = how.check or how.engine != "analytic"
        for option, given in zip(("data", "weights"), data, strict=True):
            if given is not None and not self.computes:
                raise ValueError(
                    f"{option}: wants an engine that computes (event or cycle, or check), "
                    "got engine analytic"
                )
        self.given_images = _images(self.graph, data[0])
        self.given_weights = _weights(self.graph, data[1])
        self.batch = self._batch(batch)

    def rows(
        self, source: MappingSource, progress: Callable[[str], None] | None = None
    ) -> list[Row]:
        """A row for every node that does something, in order; ``progress`` is called with dataflow
        and node after each.

        Raises InputError where images or weights do not fit, or where buffers are to be fused under
        a mapping file or on a machine where nothing can stay.
        """
        if self.fuse and source.flow is None:
            raise InputError(
                "buffers are fused under a dataflow; a mapping file says what each level keeps",
                key="mapping",
            )
        staying = None
        if source.flow is not None and self.fuse:
            if (why := never_stays(self.arch, source.flow)) is not None:
                raise InputError(f"nothing can stay on the chip: {why}", key="fuse_buffers")
            best = partial(source.mapping_of, "") if source.told is not None else None
            staying = plan(self.graph, self.arch, source.flow, self._bits_outside, self.batch, best)
        return _UnderOneDataflow(self, source, staying, progress).walk()

    def _bits_outside(self, problem: Problem, mapping: LoopMapping) -> int:
        """Bits a layer moves over the outermost level."""
        nest = Nest(problem, self.arch, mapping)
        return sum(
            (moved.read + moved.arrived + moved.updated)
            * nest.footprint.word_bits(0, boundary.tensor)
            for boundary, moved in analytic.moves(nest).items()
            if boundary.parent == 0
        )

    # -- images, weights, and golden's answer ------------------------------------------------------

    def _batch(self, batch: int | None) -> int:
        """The images' if they are given; else what was asked for, or the workload's own."""
        given = {len(array) for array in self.given_images.values()}
        if given and batch is not None and given != {batch}:
            raise InputError("must be the batch of the data's images", key="batch", got=str(batch))
        return given.pop() if given else batch or self.own_batch

    @cached_property
    def images(self) -> Tensors:
        """Real numbers [batch, ...] by input name."""
        from accelsim.workload.graph.weights import random_images

        return self.given_images or random_images(self.graph, self.batch, self.how.seed)

    @cached_property
    def golden(self) -> GoldenAnswer:
        """Golden's answer, worked out when it is first asked for.

        Raises InputError for weights that do not fit the graph, and for real values too large.
        """
        from accelsim.engines.golden import golden_layer, golden_network
        from accelsim.workload.graph.float_run import evaluate
        from accelsim.workload.graph.weights import random_weights
        from accelsim.workload.quantize import quantize, ranges_of
        from accelsim.workload.stated_network import has_scales, stated_network

        graph, psum, weights = self.graph, self.arch.number("psum"), self.given_weights
        weights = random_weights(graph, self.how.seed) if weights is None else weights
        with np.errstate(all="ignore"):  # what overflows is refused below
            reference = evaluate(graph, self.images, weights)
            ranges = ranges_of(reference)
        for name, largest in ranges.items():
            if not largest < MOST:
                raise InputError(
                    f"real values must stay below {MOST:g} in every tensor",
                    key=name,
                    got=f"{largest:.3g}",
                )
        if has_scales(weights):
            _check_eight_bits(self.arch)
            network: QuantizedNetwork = stated_network(graph, weights, psum)
        else:
            network = quantize(graph, weights, ranges, number=_number(self.arch), psum=psum)
        sums: list[Array] = []

        def run_layer(problem: Problem, data: Mapping[str, Array]) -> Array:
            sums.append(golden_layer.accumulate(problem, data, psum))
            return sums[-1]

        tensors = golden_network.run_network(network, self.images, run_layer)
        names = [n.name for n in graph.nodes if isinstance(n.op, ArrayOperator)]
        accuracy = golden_network.accuracy_of(network, tensors, reference)
        return GoldenAnswer(
            network,
            tensors,
            dict(zip(names, sums, strict=True)),
            {a.node: a.snr_db for a in accuracy},
        )


@dataclass
class _UnderOneDataflow:
    """The way of a network through its nodes under one dataflow or mapping.

    ``staying`` says which tensors stay on the chip, and how layers are mapped then; None where
    buffers are not fused.  ``rows_by_node`` is filled on the way.
    """

    whole: NetworkRun
    source: MappingSource
    staying: ResidencyPlan | None
    progress: Callable[[str], None] | None
    rows_by_node: dict[str, Row] = field(default_factory=dict)
    rows_by_problem: dict[Problem, Row] = field(default_factory=dict)

    def walk(self) -> list[Row]:
        """Every node's row, in the graph's order.

        With an engine that computes, the layers run first, as the words of the network flow; what
        other nodes cost does not depend on words.
        """
        computes, nodes, rows = self.whole.computes, self.whole.graph.nodes, self.rows_by_node
        made = self._computed() if computes else {}
        for node in nodes:
            on_array = isinstance(node.op, ArrayOperator)
            if on_array and not computes:
                rows[node.name] = self._counted(node)
            if not computes:
                self._report(node.name)
            if not on_array and not self.whole.graph.work(node).nothing:
                rows[node.name] = self._beside(node)
            if computes and node.name in rows:
                rows[node.name] = self._compared(node, rows[node.name], made[node.name])
        return [self._with_columns(n, rows[n.name]) for n in nodes if n.name in rows]

    def _report(self, node: str) -> None:
        if self.progress is not None:
            self.progress(f"{self.source.dataflow} {node}")

    def _computed(self) -> Tensors:
        """Every tensor in words [batch, ...], the layers' by the engine; their rows are kept."""
        from accelsim.engines.golden.golden_network import run_network

        whole, golden = self.whole, self.whole.golden
        layers = iter([n for n in whole.graph.nodes if isinstance(n.op, ArrayOperator)])

        def run_layer(problem: Problem, data: Mapping[str, Array]) -> Array:
            node = next(layers)
            expected = golden.sums[node.name]
            self.rows_by_node[node.name], sums = self._on_array(
                node, problem, Given(data, expected)
            )
            # Of a layer that cannot be mapped, the nodes after it read golden's words.
            return expected if sums is None else sums

        return run_network(golden.network, whole.images, run_layer, progress=self._report)

    def _counted(self, node: Node) -> Row:
        """A layer's row, of equal layers worked out for the first: where no words are made, and a
        dataflow maps a layer by its problem, equal problems have equal rows.
        """
        assert isinstance(node.op, ArrayOperator)
        problem = node.op.problem(self.whole.batch, *self.whole.graph.input_shapes(node))
        row = self.rows_by_problem.get(problem)
        if row is not None:
            return replace(row, columns={**row.columns, "layer": node.name})
        row = self._on_array(node, problem)[0]
        if row.error is None and self.staying is None and self.source.flow is not None:
            self.rows_by_problem[problem] = row
        return row

    def _on_array(
        self, node: Node, problem: Problem, given: Given | None = None
    ) -> tuple[Row, Array | None]:
        """A layer's row, and its accumulators where the engine made them."""
        assert isinstance(node.op, ArrayOperator)
        whole, source = self.whole, self.source
        check_macs(node.name, problem, whole.batch)
        if self.staying is not None:
            source = replace(source, mapping_of=partial(_planned, self.staying), told=None)
        return layer_row(
            whole.name, node.name, problem, whole.arch, source, whole.how, whole.overrides, given
        )

    def _beside(self, node: Node) -> Row:
        """The row of a node on the vector unit."""
        whole, arch, shapes = self.whole, self.whole.arch, self.whole.graph.shapes
        stays: frozenset[str] = frozenset() if self.staying is None else self.staying.stays

        def words(tensor: str) -> tuple[int, bool]:
            return prod(shapes[tensor]) * whole.batch, tensor in stays

        inputs = [words(name) for name in dict.fromkeys(node.inputs)]
        run = vector.run(arch, whole.graph.work(node), inputs, words(node.name), whole.batch)
        lead = leading(
            whole.name, node.name, arch, self.source, whole.how, "forward", whole.batch, 0
        )
        lead |= {"mapping": "vector unit"}
        spent = _vector_performance(arch, run)
        energy = vector.energy(arch, run, spent["time_s"])
        columns = lead | spent | efficiency(lead | spent | energy) | energy
        columns |= {"bit_exact": None, "error": None, "set": override_text(whole.overrides)}
        columns |= vector.columns(arch, run)
        if (large := beyond(columns)) is not None:
            return refused(lead, arch, self.source, whole.how, whole.overrides, large)
        told = provenance(arch, None, whole.how.seed, whole.overrides)
        told["energy_notes"] = (*told["energy_notes"], *vector_prices(arch).notes)
        return Row(columns, provenance=told)

    def _compared(self, node: Node, row: Row, made: Array) -> Row:
        """The row with what its words say: whether they are golden's, and how far from the float
        network.
        """
        if row.error is not None and row.columns.get("cycles") is None:
            return row
        golden = self.whole.golden
        expected = golden.tensors[node.name]
        wrong = np.flatnonzero(made.ravel() != expected.ravel())
        exact = row.columns["bit_exact"] is not False and not len(wrong)
        columns = {**row.columns, "bit_exact": exact, "snr_db": golden.snr_db[node.name]}
        if not len(wrong) or row.error is not None:
            return replace(row, columns=columns)
        at = np.unravel_index(int(wrong[0]), expected.shape)
        where = ",".join(str(int(i)) for i in at)
        why = (
            f"word [{where}]: expected {int(expected[at])}, got {int(made[at])}; "
            f"{len(wrong)} of {expected.size} words differ"
        )
        columns["error"] = why
        return replace(row, columns=columns, error=f"{node.name} {columns['dataflow']}: {why}")

    def _with_columns(self, node: Node, row: Row) -> Row:
        """The row with the operator, and with fused buffers which of its tensors stay on the
        chip.
        """
        extra: dict[str, Any] = {"operator": kind(node.op)}
        if self.staying is not None:
            tensors = (*node.inputs, node.name)
            extra["resident"] = " ".join(t for t in tensors if t in self.staying.stays)
            extra["resident_bytes"] = self.staying.held_bytes[node.name]
        return replace(row, columns={**row.columns, **extra})


def _vector_performance(arch: Architecture, run: vector.VectorRun) -> dict[str, Any]:
    """Cycles of the core clock and where they went, in the columns that layers have; the array does
    nothing.
    """
    in_pe = None if arch.level_in_pe is None else arch.level_names[-1]
    waited = [name for name in (*arch.levels, *arch.networks) if name != in_pe]
    return {
        "cycles": run.cycles,
        "compute_cycles": run.cost.computing,
        "fill_drain_cycles": 0,
        "stall_cycles": sum(run.stalls.values()),
        **{f"stall_{name}_cycles": run.stalls.get(name, 0) for name in (*waited, "vector")},
        "utilization": 0.0,
        "mapping_efficiency": None,
        "active_pes": 0,
        "mean_active_pes": None,
        "time_s": run.cycles / (arch.clock_mhz * 1e6),
        "gmacs_per_s": 0.0,
    }


def _planned(
    staying: ResidencyPlan, layer: str, problem: Problem, arch: Architecture
) -> LoopMapping:
    """The plan's mapping of a layer, in the shape of ``MappingSource.mapping_of``."""
    if layer in staying.errors:
        raise MappingError(staying.errors[layer])
    return staying.mappings[layer]


def _number(arch: Architecture) -> Number:
    """Of weights and activations: eight bits, or what the architecture's narrowest word has."""
    return Number(min(WORD_BITS, arch.bits.weight, arch.bits.ifmap, arch.bits.ofmap))


def _check_eight_bits(arch: Architecture) -> None:
    """Raises InputError for a machine whose words are too narrow for those of a quantized model."""
    if _number(arch).bits < WORD_BITS:
        raise InputError(
            f"the network came with words of {WORD_BITS} bits, the machine's must hold them",
            key="bits",
            got=str(_number(arch).bits),
        )


def _images(graph: Graph, data: ImagesLike | None) -> Tensors:
    """Images [batch, ...] by input name, float64, without what a file has for training beside them;
    empty if there are none.
    """
    from accelsim.workload.graph.weights import TARGETS, check_images

    if data is None:
        return {}
    if isinstance(data, np.ndarray):
        checked = check_images(graph, data)
    else:

        def inputs(arrays: Tensors) -> Tensors:
            return {name: x for name, x in arrays.items() if name not in TARGETS}

        arrays = _arrays(data, lambda told: check_images(graph, inputs(told)))
        checked = check_images(graph, inputs(arrays))
    return {name: np.asarray(x, np.float64) for name, x in checked.items()}


def _weights(graph: Graph, weights: ArraysLike | None) -> Tensors | None:
    """Weights by parameter, if any are given; those of a file are what the graph has."""
    from accelsim.workload.graph.weights import check_weights

    return None if weights is None else _arrays(weights, partial(check_weights, graph))


def _arrays(data: ArraysLike, check: Callable[[dict[str, Array]], object]) -> Tensors:
    from accelsim.workload.graph.weights import load_arrays

    return load_arrays(data, check)
