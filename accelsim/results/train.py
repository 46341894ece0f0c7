"""A training step of a whole network on an engine: gradients compared with golden's, a row for each
layer and direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import InputError
from accelsim.base.overrides import plain_value as plain
from accelsim.base.text_table import Page, Sentences
from accelsim.engines.golden import training
from accelsim.engines.golden.golden_network import Data
from accelsim.engines.golden.training import TrainingStep
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.source import sources
from accelsim.results.layer_row import ENGINES, Engine, Given, How, layer_row
from accelsim.results.result import Result, Row
from accelsim.results.table import result_blocks
from accelsim.workload.arithmetic import Number, wrap
from accelsim.workload.graph.backward import wanted
from accelsim.workload.graph.graph import Graph
from accelsim.workload.graph.weights import (
    check_images,
    check_weights,
    random_images,
    random_weights,
)
from accelsim.workload.loss import Loss, loss_at
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Problem
from accelsim.workload.quantize import QuantizedNetwork

Array = NDArray[Any]
MAX_RATE = 2.0**64


@dataclass(frozen=True, repr=False)
class Training:
    """A step: what it computed and what it cost.

    ``rows``: a row for each layer and direction, as ``simulate`` gives them, on the step's own
    words.  ``step``: tensors in words, gradients as ``block_float.Block``.  ``bit_exact``: for
    every tensor (``NAME``) and gradient (``grad NAME``) whether it is the golden step's to the last
    bit; empty with engine ``analytic``, which computes no values: the step is then golden's.
    ``weights``: the master weights after the step, float64; ``words``: the array's weights and
    biases after it in their own formats.
    """

    rows: Result
    network: QuantizedNetwork
    step: TrainingStep
    bit_exact: Mapping[str, bool]
    weights: Mapping[str, Array]
    words: Mapping[str, Array]

    @property
    def loss(self) -> float:
        """The loss before the step, of the output in words."""
        return self.step.loss

    @property
    def gradients(self) -> dict[str, NDArray[np.float64]]:
        """The gradient of every node's output and every parameter, by name, in real units: what
        ``step.gradients`` stand for.
        """
        return {name: block.values for name, block in self.step.gradients.items()}

    @property
    def summary(self) -> str:
        """The loss, and how many tensors and gradients are golden's, in a line."""
        exact = (
            f"; {sum(self.bit_exact.values())} of {len(self.bit_exact)} tensors and gradients bit-exact"
            if self.bit_exact
            else ""
        )
        return f"loss {self.loss:.6g}{exact}"

    def __repr__(self) -> str:
        return self._page.text()

    def _repr_html_(self) -> str:
        return self._page.html(styled=False)

    @property
    def _page(self) -> Page:
        return Page(blocks=(*result_blocks(self.rows), Sentences((self.summary,))))

    @property
    def failures(self) -> tuple[str, ...]:
        """Rows that failed and tensors or gradients that are not golden's, one line each."""
        wrong = [
            f"{name}: not the golden step's" for name, exact in self.bit_exact.items() if not exact
        ]
        return (*self.rows.failures, *wrong)


def train_step(
    network: Any,
    images: Array | Mapping[str, Array] | None = None,
    targets: Array | None = None,
    *,
    arch: Any,
    dataflow: Any = None,
    mapping: Any = None,
    engine: Engine = "event",
    weights: Mapping[str, Array] | None = None,
    loss: Loss = "cross_entropy",
    rate: float = 2.0**-6,
    bits: int = 8,
    batch: int | None = None,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Training:
    """One step of training: forward, both gradients of every layer and the new weights, layers on
    ``engine``.

    ``network`` is a workload with a graph, a name or a file; ``arch``, ``dataflow`` (one) and
    ``mapping`` as in ``simulate``.  ``images``: real numbers, one array or arrays by input name.
    ``targets``: labels for ``cross_entropy``, of the output's shape for ``squared_error``.  Images
    (``batch`` of them, one unless given), targets for them and weights are drawn with ``seed`` if
    they are not given.  ``bits``: of the step's words, at most the architecture's operands'.  The
    gradient of the network's inputs is not computed: nothing uses it.

    Raises InputError for names, files and arrays that are wrong, an operator without gradient, or
    sums that the architecture's psums do not hold; MappingError for a layer that cannot be mapped
    or run.
    """
    machine = load_architecture(arch, overrides or {})
    found = sources(dataflow, mapping)
    if len(found) != 1:
        raise InputError(
            "a step runs under one dataflow",
            key="dataflow",
            got=", ".join(s.dataflow for s in found),
        )
    if engine not in ENGINES:
        raise InputError("no such engine", key="engine", got=str(engine), choices=ENGINES)
    if not isinstance(rate, (int, float)) or not abs(rate) < MAX_RATE:
        raise InputError("must be a number below 2^64", key="rate", got=str(rate))
    graph = _graph(network)
    wanted(graph, loss_at(graph, loss))  # refuses an operator without gradient before anything runs
    if images is None:
        images, drawn = training_data(graph, loss, 1 if batch is None else batch, seed)
        targets = drawn if targets is None else targets
    elif targets is None:
        raise InputError("must be given beside images", key="targets")
    elif batch is not None:
        raise InputError(
            "is of random images and not given beside others", key="batch", got=str(batch)
        )
    given = {name: np.asarray(x, np.float64) for name, x in check_images(graph, images).items()}
    masters = random_weights(graph, seed) if weights is None else dict(weights)
    check_weights(graph, masters)
    words = training.as_words(graph, masters, given, _number(machine, bits), machine.number("psum"))
    golden = training.golden_layer(words.psum)
    golden_step = training.step(words, given, targets, loss, golden)
    rows: list[Row] = []
    changed = {key: plain(value) for key, value in (overrides or {}).items()}

    def run(name: str, problem: Problem, data: Data) -> Array:
        row, sums = layer_row(
            graph.name,
            name,
            problem,
            machine,
            found[0],
            How(engine, False, seed),
            changed,
            Given(data),
        )
        if row.nest is None:
            raise MappingError(
                f"{name} {problem.direction} {found[0].dataflow}: {row.columns['error']}"
            )
        rows.append(row)
        if progress is not None:
            progress(f"{name} {problem.direction}")
        # Poison wraps as a sum does: it is no longer poison then, but not golden's either.
        return golden(name, problem, data) if sums is None else wrap(sums, words.psum)

    here = training.step(words, given, targets, loss, run)
    exact = {} if engine == "analytic" else _compared(golden_step, here)
    after = training.updated(words, masters, here, rate), training.updated_words(words, here, rate)
    return Training(Result(tuple(rows)), words, here, exact, *after)


def training_data(
    graph: Graph, loss: Loss, batch: int, seed: int
) -> tuple[dict[str, Array], Array]:
    """Random images and labels or targets of a batch, the same for a seed."""
    if batch < 1:
        raise InputError("must be at least 1", key="batch", got=str(batch))
    images, rng = random_images(graph, batch, seed), np.random.default_rng(seed)
    shape = graph.shapes[loss_at(graph, loss)]
    return images, rng.standard_normal(
        (batch, *shape)
    ) if loss == "squared_error" else rng.integers(0, shape[0], (batch, *shape[1:]))


def _graph(network: Any) -> Graph:
    if isinstance(network, Graph):
        return network
    workload = load_workload(network)
    if workload.network is None:
        raise InputError(
            f"{workload.name} is a list of layers: a training step needs a graph", key="workload"
        )
    return workload.network


def _number(arch: Architecture, bits: int) -> Number:
    most = min(arch.number(name).bits for name in ("weight", "ifmap", "ofmap"))
    unsigned = [name for name in ("weight", "ifmap", "ofmap") if not arch.number(name).signed]
    if unsigned:
        raise InputError(
            f"a training step needs signed operands, and {arch.name} has unsigned {' and '.join(unsigned)}",
            key="bits",
        )
    if not 2 <= bits <= most:
        raise InputError(
            f"words of a step must have 2 to {most} bits, the width of {arch.name}'s operands",
            key="bits",
            got=str(bits),
        )
    return Number(bits)


def _compared(golden: TrainingStep, here: TrainingStep) -> dict[str, bool]:
    """Tensors by name, gradients by ``grad NAME``."""
    found = {
        name: np.array_equal(tensor, here.tensors[name]) for name, tensor in golden.tensors.items()
    }
    return found | {
        f"grad {name}": block.same(here.gradients[name]) for name, block in golden.gradients.items()
    }
