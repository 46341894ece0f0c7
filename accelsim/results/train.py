"""A training step of a whole network on an engine: ``accelsim train`` and ``acc.train_step``.

The step is executed twice: by the golden model, and with every layer and gradient that is a
convolution on the engine.  A row for each layer and direction tells what that cost, ``bit_exact``
whether every tensor and gradient is the golden step's.

==================  ====================================================
``accelsim train``  Python
==================  ====================================================
``--data FILE``     ``images=FILE``, or arrays and ``targets``
``--set KEY=VALUE`` ``overrides={"KEY": VALUE}``
``--save FILE``     ``done.save_weights(FILE)``
``--gradients``     ``done.save_gradients(FILE)``
``--format``, -o    ``print(done.rows)``, ``done.rows.to_csv(path)``, ...
``--total``         ``done.rows.to_csv(path, total=True)``
==================  ====================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import InputError
from accelsim.base.limits import plain_value
from accelsim.base.text_table import Page, Sentences
from accelsim.base.validation import checked
from accelsim.base.whole_files import whole_file
from accelsim.engines.golden import training
from accelsim.engines.golden.golden_network import Data
from accelsim.engines.golden.training import TrainingStep
from accelsim.hardware.architecture import Architecture, ArchitectureLike, load_architecture
from accelsim.mapping.files import DataflowLike, MappingLike, MappingSource, sources
from accelsim.mapping.mapping import MappingError
from accelsim.results.layer_row import ENGINES, Engine, Given, How, Row, layer_row
from accelsim.results.result import Result
from accelsim.results.table import result_blocks
from accelsim.workload.arithmetic import Number, wrap
from accelsim.workload.graph.backward import wanted
from accelsim.workload.graph.graph import Graph
from accelsim.workload.graph.weights import (
    TARGETS,
    ArraysLike,
    ImagesLike,
    check_images,
    check_weights,
    load_arrays,
    random_images,
    random_weights,
    without_scales,
)
from accelsim.workload.loss import Loss, loss_at
from accelsim.workload.network import Workload, WorkloadLike, load_workload
from accelsim.workload.problem import Problem
from accelsim.workload.quantize import QuantizedNetwork

Array = NDArray[Any]
MAX_RATE = 2.0**64


@dataclass(frozen=True, repr=False)
class Training:
    """A step: what it computed and what it cost.

    ``rows``       a row for each layer and direction, as ``simulate`` gives them, on the step's own
                   words
    ``network``    the network in words, before the step
    ``step``       tensors in words, gradients as ``block_float.Block``
    ``bit_exact``  for every tensor (``NAME``) and gradient (``grad NAME``) whether it is the golden
                   step's to the last bit; empty with engine ``analytic``, which computes no values:
                   the step is then golden's
    ``weights``    the master weights after the step, float64, each in its parameter's shape
    ``words``      the array's weights and biases after it in their own formats
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
        told = f"loss {self.loss:.6g}"
        if not self.bit_exact:
            return told
        exact, of = sum(self.bit_exact.values()), len(self.bit_exact)
        return f"{told}; {exact} of {of} tensors and gradients bit-exact"

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

    def save_weights(self, path: str | Path) -> Path:
        """Write the weights after the step as .npz, which ``train_step`` takes as ``weights``.
        Raises OSError.
        """
        return _save(Path(path), self.weights)

    def save_gradients(self, path: str | Path) -> Path:
        """Write every gradient as .npz, by node and by parameter, in real units.  Raises
        OSError.
        """
        return _save(Path(path), self.gradients)


@checked
def train_step(
    network: WorkloadLike | Graph,
    images: ImagesLike | None = None,
    targets: Array | None = None,
    *,
    arch: ArchitectureLike,
    dataflow: DataflowLike | None = None,
    mapping: MappingLike | None = None,
    engine: Engine = "event",
    weights: ArraysLike | None = None,
    loss: Loss = "cross_entropy",
    rate: float = 2.0**-6,
    bits: int = 8,
    params: Mapping[str, int] | None = None,
    batch: int | None = None,
    seed: int = 0,
    overrides: Mapping[str, object] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Training:
    """One step of training: forward, both gradients of every layer and the new weights, layers on
    ``engine``.

    ``network`` is a workload with a graph, a name or a file; ``arch``, ``dataflow`` (one),
    ``mapping`` and ``params`` as in ``simulate``; without ``mapping`` tiles are the fixed rule's.

    ``images`` are real numbers, [batch, ...]: one array, arrays by input name, or an .npz file that
    has ``labels`` or ``targets`` too.  ``targets`` are labels for ``cross_entropy``, of the
    output's shape for ``squared_error``.  ``weights`` are master weights by parameter, or an .npz
    file of them.  Images (``batch`` of them, one unless given), targets for them and weights are
    drawn with ``seed`` if they are not given.

    ``bits`` is the width of the step's words, at most the architecture's operands'; new weights are
    old ones less ``rate`` times the gradient.  The gradient of the network's inputs is not
    computed: nothing uses it.

    Raises InputError for names, files and arrays that are wrong, an operator without gradient, or
    sums that the architecture's psums do not hold; MappingError for a layer that cannot be mapped
    or run.
    """
    machine = load_architecture(arch, overrides or {})
    source = _one_source(dataflow, mapping)
    if engine not in ENGINES:
        raise InputError("no such engine", key="engine", got=str(engine), choices=ENGINES)
    if not isinstance(rate, (int, float)) or not abs(rate) < MAX_RATE:
        raise InputError("must be a number below 2^64", key="rate", got=str(rate))
    if not isinstance(network, Graph):
        network = load_workload(network, params)
    graph = _graph(network)
    wanted(graph, loss_at(graph, loss))  # refuses an operator without gradient before anything runs
    if batch is None and images is None and not isinstance(network, Graph):
        batch = network.batch
    given, targets = _examples(graph, loss, images, targets, batch, seed)
    if weights is None:
        masters = random_weights(graph, seed)
    else:
        # Training chooses scales of its own.
        masters = without_scales(load_arrays(weights, partial(check_weights, graph)))
    check_weights(graph, masters)
    words = training.as_words(graph, masters, given, _number(machine, bits), machine.number("psum"))
    golden = training.golden_layer(words.psum)
    golden_step = training.step(words, given, targets, loss, golden)
    rows: list[Row] = []
    how = How(engine, check=False, seed=seed)
    changed = {key: plain_value(value) for key, value in (overrides or {}).items()}

    def run_layer(name: str, problem: Problem, data: Data) -> Array:
        row, sums = layer_row(graph.name, name, problem, machine, source, how, changed, Given(data))
        if row.nest is None:
            why = row.columns["error"]
            raise MappingError(f"{name} {problem.direction} {source.dataflow}: {why}")
        rows.append(row)
        if progress is not None:
            progress(f"{name} {problem.direction}")
        # Poison wraps as a sum does: it is no longer poison then, but not golden's either.
        return golden(name, problem, data) if sums is None else wrap(sums, words.psum)

    here = training.step(words, given, targets, loss, run_layer)
    exact = {} if engine == "analytic" else _compared(golden_step, here)
    after = training.updated(words, masters, here, rate), training.updated_words(words, here, rate)
    return Training(Result(tuple(rows)), words, here, exact, *after)


def training_data(
    graph: Graph, loss: Loss, batch: int, seed: int
) -> tuple[dict[str, Array], Array]:
    """Random images [batch, ...] by input name, and labels or targets of a batch; the same for a
    seed.
    """
    if batch < 1:
        raise InputError("must be at least 1", key="batch", got=str(batch))
    images, rng = random_images(graph, batch, seed), np.random.default_rng(seed)
    shape = graph.shapes[loss_at(graph, loss)]
    if loss == "squared_error":
        return images, rng.standard_normal((batch, *shape))
    return images, rng.integers(0, shape[0], (batch, *shape[1:]))


def _one_source(dataflow: DataflowLike | None, mapping: MappingLike | None) -> MappingSource:
    chosen = sources(dataflow, mapping)
    if len(chosen) != 1:
        named = ", ".join(source.dataflow for source in chosen)
        raise InputError("a step runs under one dataflow", key="dataflow", got=named)
    return chosen[0]


def _examples(
    graph: Graph,
    loss: Loss,
    images: ImagesLike | None,
    targets: Array | None,
    batch: int | None,
    seed: int,
) -> tuple[dict[str, Array], Array]:
    """Images [batch, ...] by input name, float64, and what they should give.  Raises InputError for
    images without targets, and the other way round in a file.
    """
    if isinstance(images, (str, os.PathLike)):
        if targets is not None:
            raise InputError("must not be given beside a file, which has them", key="targets")
        images, targets = _file_of_examples(Path(images), graph)
    if images is None:
        images, drawn = training_data(graph, loss, 1 if batch is None else batch, seed)
        targets = drawn if targets is None else targets
    elif targets is None:
        raise InputError("must be given beside images", key="targets")
    elif batch is not None:
        raise InputError(
            "is of random images and not given beside others", key="batch", got=str(batch)
        )
    checked = check_images(graph, images)
    return {name: np.asarray(x, np.float64) for name, x in checked.items()}, targets


def _file_of_examples(path: Path, graph: Graph) -> tuple[dict[str, Array], Array]:
    """Inputs by name, and ``labels`` or ``targets``, of an .npz file.  Raises InputError if it has
    neither or both.
    """

    def check(told: dict[str, Array]) -> None:
        check_images(graph, {name: x for name, x in told.items() if name not in TARGETS})

    arrays = load_arrays(path, check)
    given = [name for name in TARGETS if name in arrays]
    if len(given) != 1:
        raise InputError(
            "must have labels or targets, one of them",
            file=path,
            got=", ".join(arrays) or "nothing",
        )
    targets = arrays.pop(given[0])
    return arrays, targets


def _graph(workload: Workload | Graph) -> Graph:
    if isinstance(workload, Graph):
        return workload
    if workload.network is None:
        raise InputError(
            f"{workload.name} is a list of layers: a training step needs a graph", key="workload"
        )
    return workload.network


def _number(arch: Architecture, bits: int) -> Number:
    """The step's words, signed.  Raises InputError for what the operands do not hold."""
    most = min(arch.number(name).bits for name in ("weight", "ifmap", "ofmap"))
    unsigned = [name for name in ("weight", "ifmap", "ofmap") if not arch.number(name).signed]
    if unsigned:
        raise InputError(
            f"a training step needs signed operands, and {arch.name} has unsigned "
            f"{' and '.join(unsigned)}",
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
    """Whether it is golden's: tensors by name, gradients by ``grad NAME``."""
    tensors = {
        name: np.array_equal(tensor, here.tensors[name]) for name, tensor in golden.tensors.items()
    }
    gradients = {
        f"grad {name}": block.same(here.gradients[name]) for name, block in golden.gradients.items()
    }
    return tensors | gradients


def _save(path: Path, arrays: Mapping[str, Any]) -> Path:
    with whole_file(path) as stream:
        np.savez(stream, **arrays)
    return path
