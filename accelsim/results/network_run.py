"""A whole network, end to end: layers on the array, the rest on the vector unit beside it, a row
each.

Where an engine computes, the network is quantized (docs/networks.md) and every node reads the words the nodes before it made;
a row's ``bit_exact`` compares them, and a layer's accumulators, with the golden network's, and ``snr_db`` is the distance of
those words from the float network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_NUMBER
from accelsim.engines import analytic
from accelsim.engines.analytic import vector_unit as vector
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.vector_energy import vector_prices
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.residency import ResidencyPlan, plan
from accelsim.mapping.source import MappingSource
from accelsim.results.layer_row import Given, How, layer_row, leading, provenance
from accelsim.results.result import Row, efficiency, override_text
from accelsim.workload.arithmetic import Number
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.network import Workload
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.operators.operator import kind
from accelsim.workload.problem import Problem

if TYPE_CHECKING:
    from accelsim.workload.quantize import QuantizedNetwork

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
MOST = 1e30
FOR_TRAINING = ("labels", "targets")  # what else a file of images has for ``train``
WORD_BITS = 8  # of weights and activations, unless the architecture's are narrower


class NetworkRun:
    """A network on an architecture; ``rows`` runs it under one dataflow after another on the same
    images and weights.
    """

    def __init__(
        self,
        network: Workload,
        arch: Architecture,
        how: How,
        overrides: dict[str, Any],
        batch: int | None,
        data: tuple[Any, Any],
        fuse: bool,
    ) -> None:
        if network.network is None:
            raise InputError(
                f"{network.name} is a list of layers; end to end wants a whole graph",
                key="workload",
            )
        self.name, self.graph, self.arch, self.how, self.overrides, self.fuse = (
            network.name,
            network.network,
            arch,
            how,
            overrides,
            fuse,
        )
        if how.sample_folds:
            raise ValueError(
                "end_to_end: every node reads what the one before it computed, and sample_folds computes nothing"
            )
        self.computes = how.check or how.engine != "analytic"
        for option, given in zip(("data", "weights"), data, strict=True):
            if given is not None and not self.computes:
                raise ValueError(
                    f"{option}: wants an engine that computes (event or cycle, or check), got engine analytic"
                )
        self.given = _images(self.graph, data[0]), None if data[1] is None else _arrays(data[1])
        self.batch = self._batch(batch)

    def rows(
        self, source: MappingSource, progress: Callable[[str], None] | None = None
    ) -> list[Row]:
        """A row for every node that does something, in order.

        Raises InputError where images or weights do not fit, or where buffers are to be fused under
        a mapping file.
        """
        if self.fuse and source.flow is None:
            raise InputError(
                "buffers are fused by the fixed rule; a mapping file says what each level keeps",
                key="mapping",
            )
        staying = None
        if source.flow is not None and self.fuse:
            staying = plan(self.graph, self.arch, source.flow, self._bits_outside, self.batch)

        def report(name: str) -> None:
            if progress is not None:
                progress(f"{source.dataflow} {name}")

        found: dict[str, Row] = {}
        made: Tensors = {}
        if self.computes:
            made = self._compute(source, staying, found, report)
        for node in self.graph.nodes:
            if not self.computes:
                if isinstance(node.op, ArrayOperator):
                    found[node.name] = self._on_array(node, source, staying)[0]
                report(node.name)
            if (
                not isinstance(node.op, ArrayOperator)
                and (row := self._beside(node, source, staying)) is not None
            ):
                found[node.name] = row
            if self.computes and node.name in found:
                found[node.name] = self._compared(node, found[node.name], made[node.name])
        return [
            self._with_columns(n, found[n.name], staying)
            for n in self.graph.nodes
            if n.name in found
        ]

    def _bits_outside(self, problem: Problem, mapping: LoopMapping) -> int:
        """Bits a layer moves over the outermost level."""
        nest = Nest(problem, self.arch, mapping)
        words = {
            b: m.read + m.arrived + m.updated
            for b, m in analytic.moves(nest).items()
            if not b.parent
        }
        return sum(n * nest.footprint.word_bits(0, b.tensor) for b, n in words.items())

    def _compute(
        self,
        source: MappingSource,
        staying: ResidencyPlan | None,
        found: dict[str, Row],
        report: Callable[[str], None],
    ) -> Tensors:
        """Every tensor, the layers' by the engine; their rows go into ``found``."""
        from accelsim.engines.golden.golden_network import run_network

        layers = iter([n for n in self.graph.nodes if isinstance(n.op, ArrayOperator)])

        def run_layer(problem: Problem, data: Mapping[str, Array]) -> Array:
            node = next(layers)
            golden = self.golden_sums[node.name]
            found[node.name], sums = self._on_array(
                node, source, staying, problem, Given(data, golden)
            )
            return (
                golden if sums is None else sums
            )  # a layer that cannot be mapped: the nodes after it read golden's

        return run_network(self.quantized, self._images, run_layer, progress=report)

    def _with_columns(self, node: Node, row: Row, staying: ResidencyPlan | None) -> Row:
        """The row with the operator, and with fused buffers which of its tensors stay on the
        chip.
        """
        extra: dict[str, Any] = {"operator": kind(node.op)}
        if staying is not None:
            extra["resident"] = " ".join(n for n in (*node.inputs, node.name) if n in staying.stays)
            extra["resident_bytes"] = staying.held_bytes[node.name]
        return replace(row, columns=dict(row.columns) | extra)

    # -- a node ------------------------------------------------------------------------------------

    def _on_array(
        self,
        node: Node,
        source: MappingSource,
        staying: ResidencyPlan | None,
        problem: Problem | None = None,
        given: Given | None = None,
    ) -> tuple[Row, Array | None]:
        assert isinstance(node.op, ArrayOperator)
        problem = problem or node.op.problem(self.batch, *self.graph.input_shapes(node))
        if problem.macs > MAX_NUMBER:
            raise InputError(
                f"{node.name} may have at most 2^53 MACs", key="batch", got=str(self.batch)
            )
        if staying is not None:
            source = replace(source, mapping_of=partial(_planned, staying))
        return layer_row(
            self.name, node.name, problem, self.arch, source, self.how, self.overrides, given
        )

    def _beside(
        self, node: Node, source: MappingSource, staying: ResidencyPlan | None
    ) -> Row | None:
        """A node on the vector unit; None for one that only renames words."""
        work, shapes = self.graph.work(node), self.graph.shapes
        if work.nothing:
            return None
        stays: frozenset[str] = frozenset() if staying is None else staying.stays
        inputs = [
            (prod(shapes[name]) * self.batch, name in stays) for name in dict.fromkeys(node.inputs)
        ]
        done = vector.run(
            self.arch,
            work,
            inputs,
            (prod(shapes[node.name]) * self.batch, node.name in stays),
            self.batch,
        )
        time_s = done.cycles / (self.arch.clock_mhz * 1e6)
        lead = leading(
            self.name, node.name, self.arch, source, self.how, "forward", self.batch, 0
        ) | {"mapping": "vector unit"}
        last = self.arch.level_names[-1]
        waited = [
            n
            for n in (*self.arch.levels, *self.arch.networks)
            if self.arch.level_in_pe is None or n != last
        ]
        spent: dict[str, Any] = {
            "cycles": done.cycles,
            "compute_cycles": done.cost.computing,
            "fill_drain_cycles": 0,
            "stall_cycles": sum(done.stalls.values()),
            **{f"stall_{name}_cycles": done.stalls.get(name, 0) for name in (*waited, "vector")},
            "utilization": 0.0,
            "mapping_efficiency": None,
            "active_pes": 0,
            "mean_active_pes": None,
            "time_s": time_s,
            "gmacs_per_s": 0.0,
        }
        energy = vector.energy(self.arch, done, time_s)
        columns = lead | spent | efficiency(lead | spent | energy) | energy
        columns |= {
            "bit_exact": None,
            "error": None,
            "set": override_text(self.overrides),
        } | vector.columns(self.arch, done)
        known = provenance(self.arch, None, self.how.seed, self.overrides)
        known["energy_notes"] = (*known["energy_notes"], *vector_prices(self.arch).notes)
        return Row(columns, None, None, known)

    def _compared(self, node: Node, row: Row, made: Array) -> Row:
        """The row with what its words say: whether they are golden's, and how far from the float
        network.
        """
        if row.error is not None and row.columns.get("cycles") is None:
            return row
        want = self.golden[node.name]
        wrong = np.flatnonzero(made.ravel() != want.ravel())
        exact = row.columns["bit_exact"] is not False and not len(wrong)
        columns = dict(row.columns) | {"bit_exact": exact, "snr_db": self.snr_db[node.name]}
        if not len(wrong) or row.error is not None:
            return replace(row, columns=columns)
        at = np.unravel_index(int(wrong[0]), want.shape)
        where = ",".join(str(int(i)) for i in at)
        why = f"word [{where}]: expected {int(want[at])}, got {int(made[at])}; {len(wrong)} of {want.size} words differ"
        return replace(
            row, columns=columns | {"error": why}, error=f"{node.name} {columns['dataflow']}: {why}"
        )

    # -- images, weights, and golden's answer ------------------------------------------------------

    def _batch(self, batch: int | None) -> int:
        """The images' if they are given; else what was asked for, or one."""
        given = {len(array) for array in self.given[0].values()}
        if given and batch is not None and given != {batch}:
            raise InputError("must be the batch of the data's images", key="batch", got=str(batch))
        return given.pop() if given else batch or 1

    @cached_property
    def _images(self) -> Tensors:
        from accelsim.workload.graph.weights import random_images

        return self.given[0] or random_images(self.graph, self.batch, self.how.seed)

    @cached_property
    def _network(self) -> tuple[QuantizedNetwork, Tensors, Tensors, dict[str, float]]:
        """The quantized network, golden's tensors and accumulators, and each tensor's distance from
        the float network.
        """
        from accelsim.engines import golden
        from accelsim.engines.golden import golden_network
        from accelsim.workload.graph.float_run import evaluate
        from accelsim.workload.graph.weights import random_weights
        from accelsim.workload.quantize import quantize, ranges_of

        graph, psum = self.graph, self.arch.number("psum")
        weights = random_weights(graph, self.how.seed) if self.given[1] is None else self.given[1]
        with np.errstate(all="ignore"):
            reference = evaluate(graph, self._images, weights)
            ranges = ranges_of(reference)
        for name, largest in ranges.items():
            if not largest < MOST:
                raise InputError(
                    f"real values must stay below {MOST:g} in every tensor",
                    key=name,
                    got=f"{largest:.3g}",
                )
        network = quantize(graph, weights, ranges, number=_number(self.arch), psum=psum)
        sums: list[Array] = []

        def run_layer(problem: Problem, data: Mapping[str, Array]) -> Array:
            sums.append(golden.accumulate(problem, data, psum))
            return sums[-1]

        tensors = golden_network.run_network(network, self._images, run_layer)
        names = [n.name for n in graph.nodes if isinstance(n.op, ArrayOperator)]
        snr = {a.node: a.snr_db for a in golden_network.accuracy_of(network, tensors, reference)}
        return network, tensors, dict(zip(names, sums, strict=True)), snr

    @property
    def quantized(self) -> QuantizedNetwork:
        """The network in words."""
        return self._network[0]

    @property
    def golden(self) -> Tensors:
        """Golden's words, by node."""
        return self._network[1]

    @property
    def golden_sums(self) -> Tensors:
        """Golden's accumulators, by node that runs on the array."""
        return self._network[2]

    @property
    def snr_db(self) -> dict[str, float]:
        """Signal over the distance from the float network, by node; what the words, their scales
        and wrapped sums cost.
        """
        return self._network[3]


def _planned(
    staying: ResidencyPlan, layer: str, problem: Problem, arch: Architecture
) -> LoopMapping:
    if layer in staying.errors:
        raise MappingError(staying.errors[layer])
    return staying.mappings[layer]


def _number(arch: Architecture) -> Number:
    """Of weights and activations: eight bits, or what the architecture's narrowest word has."""
    return Number(min(WORD_BITS, arch.bits.weight, arch.bits.ifmap, arch.bits.ofmap))


def _images(graph: Graph, data: Any) -> Tensors:
    from accelsim.workload.graph.weights import check_images

    if data is None:
        return {}
    given = (
        data
        if isinstance(data, np.ndarray)
        else {k: v for k, v in _arrays(data).items() if k not in FOR_TRAINING}
    )
    return {
        name: np.asarray(x, np.float64) for name, x in check_images(graph, given).items()
    }  # integers are numbers like others


def _arrays(data: Any) -> Tensors:
    if isinstance(data, Mapping):
        return {str(name): np.asarray(array) for name, array in data.items()}
    from accelsim.workload.graph.weights import load_arrays

    return load_arrays(data)
