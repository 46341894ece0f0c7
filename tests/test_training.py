"""A training step of a whole network on the engines: gradients to the last bit, near float64's, and
a loss that falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from quick import slow_but
from scipy import signal

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.base.yaml_writing import to_yaml
from accelsim.engines.event import machine
from accelsim.engines.event.movement import movement
from accelsim.engines.event.transfers import Fill
from accelsim.engines.golden import training
from accelsim.mapping.nest import Nest
from accelsim.results import execute as executing
from accelsim.results.train import Training, train_step, training_data
from accelsim.workload import loss as losses
from accelsim.workload.arithmetic import Number
from accelsim.workload.graph.backward import gradients
from accelsim.workload.graph.float_run import evaluate
from accelsim.workload.graph.graph import Graph
from accelsim.workload.graph.weights import random_weights
from accelsim.workload.network import load_workload
from tests.test_cli import accelsim

Array = NDArray[Any]
WIDE = {"bits.psum": 32}  # the chip's own 16 bits hold no gradient's sums
MACHINES = [
    *(("eyeriss", d, WIDE) for d in ("ws", "os", "is", "rs")),
    *(("systolic", d, {}) for d in ("ws", "os")),
]

BRANCHES = """\
name: branches
input: [4, 8, 8]
graph:
  - {name: stem, M: 6, R: 3, padding: 1}
  - {name: bn, type: batch_norm}
  - {name: relu, type: relu}
  - {name: dw, type: depthwise, R: 3, padding: 1, bias: true}
  - {name: bn2, type: batch_norm}
  - {name: act, type: leaky_relu, alpha: 0.1}
  - {name: res, type: add, inputs: [act, relu]}
  - {name: down, M: 4, R: 3, stride: 2, padding: [0, 1, 0, 1], groups: 2}
  - {name: left, type: max_pool, R: 3, stride: 2, padding: 1, inputs: res}
  - {name: up, type: conv_transpose, M: 3, R: 2, stride: 2, inputs: left, bias: true}
  - {name: short, type: average_pool, R: 2, inputs: up}
  - {name: mix, type: concat, inputs: [down, left, short]}
  - {name: gate, type: sigmoid}
  - {name: gated, type: multiply, inputs: [gate, mix]}
  - {name: twice, type: add, inputs: [gated, gated]}
  - {name: lrn, type: local_response_norm}
  - {name: pool, type: global_average_pool}
  - {name: fc, type: linear, M: 5, bias: true}
"""

ATTENTION = """\
name: attention
input: [6, 8]
graph:
  - {name: position, type: parameter, shape: [6, 8]}
  - {name: x, type: add, inputs: [input, position]}
  - {name: norm, type: layer_norm}
  - {name: q, type: dense, M: 8, bias: true, inputs: norm}
  - {name: k, type: dense, M: 8, inputs: norm}
  - {name: qh, type: split_heads, heads: 2, inputs: q}
  - {name: kh, type: split_heads, heads: 2, inputs: k}
  - {name: scores, type: matmul, transpose_b: true, inputs: [qh, kh]}
  - {name: scaled, type: affine, scale: 0.5}
  - {name: p, type: softmax}
  - {name: mixed, type: matmul, inputs: [p, kh]}
  - {name: merged, type: merge_heads}
  - {name: sum, type: add, inputs: [merged, x]}
  - {name: mean, type: mean, axes: [0], keep: false}
  - {name: out, type: dense, M: 4}
"""


TOY: dict[str, Any] = {
    "name": "toy",
    "input": [1, 8, 8],
    "graph": [
        {"name": "conv", "M": 4, "R": 3, "bias": True},
        {"name": "relu", "type": "relu"},
        {"name": "pool", "type": "max_pool", "R": 2},
        {"name": "fc", "type": "linear", "M": 2, "bias": True},
    ],
}


def workload_of(network: dict[str, Any]) -> acc.Workload:
    return acc.Workload.model_validate(network)


def graph_of(text: str, tmp_path: Path) -> Graph:
    file = tmp_path / "net.yaml"
    file.write_text(text)
    graph = load_workload(file).network
    assert graph is not None
    return graph


def lenet() -> Graph:
    graph = load_workload("lenet5").network
    assert graph is not None
    return graph


# To the last bit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "dataflow", "overrides"), MACHINES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_lenet5_on_the_event_engine(arch: str, dataflow: str, overrides: dict[str, Any]) -> None:
    """Every gradient of every layer, pooling and activation is golden's; rows are those of a run in
    each direction.
    """
    done = train_step("lenet5", arch=arch, dataflow=dataflow, overrides=overrides, batch=2)
    graph = lenet()
    nodes = [node.name for node in graph.nodes if node.name != "softmax"]  # it is in the loss
    tensors = ["input", *nodes, "softmax"]
    assert set(done.bit_exact) == {
        *tensors,
        *(f"grad {name}" for name in (*nodes, *graph.all_parameters)),
    }
    assert all(done.bit_exact.values()) and not done.failures
    assert all(np.any(block.words) for block in done.step.gradients.values())
    layers = [node.name for node, _ in graph.layers]
    rows = {(row.columns["layer"], row.columns["direction"]): row for row in done.rows.rows}
    both = {
        (name, direction)
        for name in layers
        for direction in ("forward", "grad_input", "grad_weight")
    }
    assert rows.keys() == both - {("conv1", "grad_input")} and len(rows) == len(done.rows.rows)
    assert done.rows.bit_exact
    for direction in ("forward", "grad_input", "grad_weight"):
        event, analytic = (
            acc.simulate(
                "lenet5",
                arch,
                dataflow,
                overrides=overrides,
                batch=2,
                direction=direction,
                engine=engine,
                tiles="rule",  # a training step's
            )
            for engine in ("event", "analytic")
        )
        for row, predicted in zip(event.rows, analytic.rows, strict=True):
            if (name := row.columns["layer"], direction) in rows:
                mine = rows[name, direction].columns
                assert mine == row.columns, "the row of a run in this direction on random words"
                counted = [
                    k
                    for k in mine
                    if k.endswith(("_reads", "_writes", "_deliveries", "_additions"))
                    or k == "compute_cycles"
                ]
                assert len(counted) > 10 and all(mine[k] == predicted.columns[k] for k in counted)


@pytest.mark.parametrize(
    ("arch", "dataflow", "overrides"),
    [("eyeriss", "rs", WIDE), ("systolic", "os", {}), ("systolic", "ws", {})],
)
@pytest.mark.parametrize("text", [BRANCHES, ATTENTION], ids=["branches", "attention"])
def test_branches(
    text: str, arch: str, dataflow: str, overrides: dict[str, Any], tmp_path: Path
) -> None:
    """Residual, concatenation, gate, groups, depthwise, transposed convolution, batch norm;
    attention.
    """
    graph = graph_of(text, tmp_path)
    loss: losses.Loss = "squared_error" if text == ATTENTION else "cross_entropy"
    done = train_step(graph, arch=arch, dataflow=dataflow, overrides=overrides, batch=2, loss=loss)
    assert not done.failures and all(done.bit_exact.values())
    measured = [name for name in graph.all_parameters if name.endswith((".mean", ".variance"))]
    assert {
        name for name in graph.all_parameters if f"grad {name}" in done.bit_exact
    } == graph.all_parameters.keys() - set(measured)
    assert all(np.array_equal(done.weights[name], random_weights(graph)[name]) for name in measured)
    wide = train_step(
        graph,
        arch="eyeriss",
        engine="analytic",
        dataflow="ws",
        overrides={"bits.psum": 48},
        bits=16,
        batch=2,
        loss=loss,
    )
    near(wide, graph, loss, 0.003)


BESIDE: list[dict[str, Any]] = [
    *({"type": kind} for kind in ("relu", "tanh", "gelu", "batch_norm", "local_contrast_norm")),
    {"type": "max_pool", "R": 2},
    {"type": "average_pool", "R": 3, "stride": 1, "padding": 1},
    {"type": "l2_pool", "R": 2, "stride": 1},
    {"type": "group_norm", "groups": 1},
    {"type": "pad", "padding": 1, "mode": "replicate"},
    {"type": "upsample", "scale": 2, "mode": "bilinear"},
]


@pytest.mark.parametrize("seed", slow_but(range(12), range(300)))
def test_random_networks(seed: int) -> None:
    """Chains of random layers and operators and a square, on a random machine, with a random loss,
    width and batch.
    """
    rng = np.random.default_rng(seed)

    def one(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    def layer() -> dict[str, Any]:
        bias, r, stride = one(True, False), one(1, 2, 3), one(1, 2)
        shape = {"R": r, "stride": stride, "bias": bias}
        return one(
            shape
            | {
                "M": one(2, 4),
                "padding": one(0, r - 1),
                "groups": one(1, 2),
                "flip": one(True, False),
            },
            shape | {"type": "depthwise", "padding": r // 2},
            shape | {"type": "conv_transpose", "M": 2},
        )

    nodes: list[dict[str, Any]] = [{"name": "first", "M": 2, "R": 3, "padding": 1}]
    nodes += [layer() if rng.random() < 0.5 else one(*BESIDE) for _ in range(3)]
    nodes += [
        {"name": "last", "type": one("sigmoid", "leaky_relu")},
        {"type": "multiply", "inputs": ["last", "last"]},
    ]
    nodes += [{"type": "linear", "M": 3, "bias": True}, *one([], [{"type": "softmax"}])]
    workload = workload_of({"name": "random", "input": [2, 17, 16], "graph": nodes})
    arch, dataflow, overrides = MACHINES[int(rng.integers(len(MACHINES)))]
    loss: losses.Loss = one("cross_entropy", "squared_error")
    done = train_step(
        workload,
        arch=arch,
        dataflow=dataflow,
        overrides=overrides,
        loss=loss,
        bits=one(5, 8),
        batch=one(1, 3),
        seed=seed,
    )
    assert not done.failures and all(done.bit_exact.values()) and workload.network is not None
    trained = {
        name
        for name in workload.network.all_parameters
        if not name.endswith((".mean", ".variance"))
    }
    assert trained <= done.gradients.keys() and all(
        np.isfinite(value).all() for value in done.gradients.values()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "arch", "dataflow", "overrides", "rows"),
    [
        ("alexnet", "eyeriss", "rs", WIDE, 23),
        ("resnet18", "systolic", "os", {}, 62),
        ("mobilenet_v1", "systolic", "ws", {}, 83),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_whole_networks(
    network: str, arch: str, dataflow: str, overrides: dict[str, Any], rows: int
) -> None:
    """Max pooling, local response normalization, residuals, depthwise layers at full size: half a
    minute and 3.4 GB for AlexNet.
    """
    done = train_step(network, arch=arch, dataflow=dataflow, overrides=overrides)
    assert not done.failures and all(done.bit_exact.values()) and len(done.rows.rows) == rows
    graph = load_workload(network).network
    assert graph is not None
    tensors = [
        node.name
        for node in graph.nodes
        if node.name != graph.outputs[0] or node.op.type != "softmax"
    ]  # type: ignore[attr-defined]
    measured = (".mean", ".variance")
    assert done.gradients.keys() == {
        *tensors,
        *(name for name in graph.all_parameters if not name.endswith(measured)),
    }


def test_on_the_cycle_engine() -> None:
    """The clocked array, register by register, on a network small enough to wait for."""
    done = train_step(
        workload_of(TOY),
        arch="systolic",
        dataflow="ws",
        engine="cycle",
        overrides={"array.rows": 4, "array.cols": 4},
    )
    assert (
        not done.failures
        and all(done.bit_exact.values())
        and {row.columns["engine"] for row in done.rows.rows} == {"cycle"}
    )


def test_whole_numbers_are_images_too() -> None:
    """Pixels of 0 to 255 are real numbers like any other, not words."""
    images, labels = (
        np.random.default_rng(0).integers(0, 256, (2, 1, 28, 28), np.uint8),
        np.array([3, 7]),
    )
    whole, real = (
        train_step("lenet5", x, labels, arch="systolic", dataflow="ws", engine="analytic")
        for x in (images, images * 1.0)
    )
    assert whole.loss == real.loss and whole.network.scales["input"] == 4.0
    assert all(
        block.same(real.step.gradients[name]) for name, block in whole.step.gradients.items()
    )


def test_analytic_rows_have_no_values() -> None:
    done = train_step("lenet5", arch="systolic", dataflow="ws", engine="analytic")
    event = train_step("lenet5", arch="systolic", dataflow="ws")
    assert not done.bit_exact and {row.columns["bit_exact"] for row in done.rows.rows} == {None}
    assert all(
        block.same(event.step.gradients[name]) for name, block in done.step.gradients.items()
    )


# Against a step written for LeNet-5 alone ---------------------------------------------------------


def narrow(values: Array, bits: int = 8) -> tuple[Array, int]:
    """Fractions as words, by trying exponents; halves to even."""
    largest, high = max(abs(v) for v in values.flat), 2 ** (bits - 1) - 1
    if not largest:
        return np.zeros(values.shape, np.int64), 0
    exponent = math.floor(math.log2(largest)) - bits - 1
    while round(largest / Fraction(2) ** exponent) > high:
        exponent += 1
    unit = Fraction(2) ** exponent
    return np.array([round(v / unit) for v in values.flat], np.int64).reshape(
        values.shape
    ), exponent


def fractions(words: Array, exponent: int, divisor: int = 1) -> Array:
    unit = Fraction(2) ** exponent / divisor
    return np.array([int(w) * unit for w in words.flat], object).reshape(words.shape)


def by_hand(done: Training, labels: Array) -> dict[str, Array]:
    """Every gradient of LeNet-5 as fractions: SciPy's correlations, Python's fractions, nothing of
    the package.
    """
    tensors = {name: t.astype(np.int64) for name, t in done.step.tensors.items()}
    weights = {name: w.astype(np.int64) for name, w in done.network.words.items()}
    unit = {name: round(math.log2(s)) for name, s in done.network.scales.items()}
    filters = {name: round(math.log2(float(s))) for name, s in done.network.weight_scales.items()}
    gradients: dict[str, Array] = {}

    logits, scale = tensors["fc3"], 2.0 ** unit["fc3"]
    start = np.empty(logits.shape, object)
    for n, row in enumerate(logits):
        e = [round(math.exp(-int(row.max() - v) * scale) * 2**24) for v in row]
        for i, share in enumerate(e):
            p = math.floor(Fraction(share * 2**14, sum(e)) + Fraction(1, 2))
            start[n, i] = Fraction(p - 2**14 * (labels[n] == i), 2**14 * len(labels))
    words, exponent = narrow(start)

    def keep(name: str, values: Array) -> None:
        nonlocal words, exponent
        words, exponent = narrow(values)
        gradients[name] = fractions(words, exponent)

    gradients["fc3"] = fractions(words, exponent)
    for name, source, tanh in (
        ("fc3", "tanh4", "tanh4"),
        ("fc2", "tanh3", "tanh3"),
        ("fc1", "pool2", None),
    ):
        x = tensors[source].reshape(len(labels), -1)
        gradients[f"{name}.weight"] = fractions(words.T @ x, exponent + unit[source])
        gradients[f"{name}.bias"] = fractions(words.sum(axis=0), exponent)
        keep(
            source,
            fractions(
                (words @ weights[f"{name}.weight"]).reshape(tensors[source].shape),
                exponent + filters[name],
            ),
        )
        if tanh:
            before = {"tanh4": "fc2", "tanh3": "fc1"}[tanh]
            keep(before, fractions(words, exponent) * slopes(tensors[before], unit[before]))
    for tanh, name, source in (("tanh2", "conv2", "pool1"), ("tanh1", "conv1", "input")):
        keep(tanh, fractions(words.repeat(2, axis=2).repeat(2, axis=3), exponent, 4))
        keep(name, fractions(words, exponent) * slopes(tensors[name], unit[name]))
        x, w, pad = tensors[source], weights[f"{name}.weight"], 2 if name == "conv1" else 0
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        of_filter = np.zeros(w.shape, np.int64)
        of_map = np.zeros(x.shape, np.int64)
        for m in range(w.shape[0]):
            for c in range(w.shape[1]):
                for n in range(len(x)):
                    of_filter[m, c] += signal.correlate(x[n, c], words[n, m], "valid", "direct")
                    of_map[n, c] += signal.convolve(words[n, m], w[m, c], "full", "direct")
        gradients[f"{name}.weight"] = fractions(of_filter, exponent + unit[source])
        gradients[f"{name}.bias"] = fractions(words.sum(axis=(0, 2, 3)), exponent)
        if name == "conv2":
            keep("pool1", fractions(of_map, exponent + filters[name]))
    return gradients


def slopes(words: Array, unit: int) -> Array:
    """1 - tanh^2 of every word, from a table of 24 bits."""
    seen = np.unique(words)
    table, exponent = narrow(
        np.array([Fraction(1 - math.tanh(int(w) * 2.0**unit) ** 2) for w in seen], object), 24
    )
    return fractions(table[np.searchsorted(seen, words)], exponent)


def test_lenet5_by_hand() -> None:
    _, labels = training_data(lenet(), "cross_entropy", 2, 0)
    done = train_step("lenet5", arch="systolic", dataflow="ws", batch=2)
    want = by_hand(done, labels)
    assert want.keys() == done.step.gradients.keys()
    for name, values in want.items():
        got = done.step.gradients[name]
        assert np.array_equal(fractions(got.words, got.exponent), values), name


# Against float64 ----------------------------------------------------------------------------------


def float_gradients(graph: Graph, loss: losses.Loss, batch: int = 2) -> dict[str, Array]:
    weights = random_weights(graph)
    images, targets = training_data(graph, loss, batch, 0)
    tensors, end = evaluate(graph, images, weights), losses.loss_at(graph, loss)
    nodes, parameters = gradients(
        graph, tensors, weights, (end, losses.start(loss, tensors[end], targets))
    )
    return nodes | parameters


def near(done: Training, graph: Graph, loss: losses.Loss, error: float) -> None:
    want = float_gradients(graph, loss)
    assert want.keys() == done.gradients.keys()
    for name, got in done.gradients.items():
        assert np.linalg.norm(got - want[name]) <= error * np.linalg.norm(want[name]), name


@pytest.mark.parametrize(
    ("bits", "psum", "error"), [(8, 32, 0.07), (12, 40, 0.006), (16, 48, 0.0004)]
)
def test_words_are_near_float64(bits: int, psum: int, error: float) -> None:
    """LeNet-5, random weights and images: the error of every gradient over its size (root of the
    sum of squares).
    """
    near(
        train_step(
            "lenet5",
            arch="eyeriss",
            dataflow="rs",
            overrides={"bits.psum": psum},
            bits=bits,
            batch=2,
        ),
        lenet(),
        "cross_entropy",
        error,
    )


def test_float64_gradients_of_a_whole_network(tmp_path: Path) -> None:
    """The loss's change along a random direction of all parameters at once."""
    for text, loss in ((BRANCHES, "cross_entropy"), (ATTENTION, "squared_error")):
        graph = graph_of(text, tmp_path)
        rng, weights = np.random.default_rng(5), random_weights(graph)
        images, targets = training_data(graph, loss, 2, 0)  # type: ignore[arg-type]
        at_weights = float_gradients(graph, loss)  # type: ignore[arg-type]
        along = {
            name: rng.normal(size=value.shape) * (name in at_weights)
            for name, value in weights.items()
        }
        end, h = losses.loss_at(graph, loss), 1e-6  # type: ignore[arg-type]
        ends = []
        for sign in (1, -1):
            moved = {name: value + sign * h * along[name] for name, value in weights.items()}
            ends.append(losses.value(loss, evaluate(graph, images, moved)[end], targets))
        want = sum(
            float((at_weights[name] * along[name]).sum()) for name in weights if name in at_weights
        )
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(want, rel=1e-5)


# Learning -----------------------------------------------------------------------------------------


def test_a_few_steps_learn() -> None:
    """Horizontal against vertical stripes with noise, on the event engine, float64 master
    weights.
    """
    rng, workload = np.random.default_rng(0), workload_of(TOY)
    labels = np.arange(8) % 2
    stripes = np.where(np.arange(8) % 2, 1.0, -1.0)
    images = np.stack(
        [np.broadcast_to(stripes[:, None] if label else stripes, (8, 8)) for label in labels]
    )[:, None]
    images = images + rng.normal(size=images.shape) * 0.3
    assert workload.network is not None
    weights, seen = random_weights(workload.network), []
    for _ in range(6):
        done = train_step(
            workload, images, labels, arch="systolic", dataflow="ws", weights=weights, rate=0.05
        )
        assert not done.failures
        weights = done.weights
        seen.append(done.loss)
    assert seen == sorted(seen, reverse=True) and seen[-1] < 0.3 * seen[0], seen


def test_new_weights() -> None:
    workload, rate = workload_of(TOY), 0.5
    graph = workload.network
    assert graph is not None
    done = train_step(workload, arch="systolic", dataflow="ws", rate=rate)
    old = random_weights(graph)
    for name, value in done.weights.items():
        assert np.array_equal(value, old[name] - rate * done.gradients[name])
    scales = {
        "conv.weight": float(done.network.weight_scales["conv"]),
        "fc.weight": float(done.network.weight_scales["fc"]),
    }
    for name, words in done.words.items():
        node = graph.by_name[name.split(".")[0]]
        scale = scales.get(name, float(done.network.accumulator_scale(node)))
        number = Number(8) if name in scales else Number(32)
        block, before = done.step.gradients[name], done.network.words[name]
        for at in np.ndindex(words.shape):
            change = round(
                int(block.words[at])
                * Fraction(2) ** block.exponent
                * Fraction(rate)
                / Fraction(scale)
            )
            assert words[at] == min(max(int(before[at]) - change, number.low), number.high)
    assert done.words.keys() == {"conv.weight", "conv.bias", "fc.weight", "fc.bias"}


# The check can fail -------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``broken(k)``: the k-th layer the engine runs has one bit of one accumulator wrong, its
    highest word's lowest.
    """

    def put(which: int) -> None:
        execute, ran = executing.execute, iter(range(1000))

        def wrong(*args: Any, **options: Any) -> Any:
            run = execute(*args, **options)
            if next(ran) == which:
                run.outputs.reshape(-1)[np.abs(run.outputs).argmax()] ^= 1
            return run

        monkeypatch.setattr(executing, "execute", wrong)

    return put


def test_one_wrong_bit_of_a_weight_gradient(broken: Callable[[int], None]) -> None:
    """fc1's weight gradient, the 11th to run: that gradient and its row, and nothing else."""
    broken(10)
    done = train_step("lenet5", arch="systolic", dataflow="os")
    wrong = [name for name, exact in done.bit_exact.items() if not exact]
    assert wrong == ["grad fc1.weight"]
    rows = [
        (r.columns["layer"], r.columns["direction"])
        for r in done.rows.rows
        if not r.columns["bit_exact"]
    ]
    assert rows == [("fc1", "grad_weight")] and len(done.failures) == 2
    assert "1 of 48000 words differ" in done.failures[0]


def test_one_wrong_bit_of_an_input_gradient_goes_on(broken: Callable[[int], None]) -> None:
    """fc3's gradient at its input: words behind it may round the same, its row says no all the
    same.
    """
    broken(5)
    done = train_step("lenet5", arch="systolic", dataflow="os", bits=8)
    assert [
        (r.columns["layer"], r.columns["direction"])
        for r in done.rows.rows
        if not r.columns["bit_exact"]
    ] == [("fc3", "grad_input")]
    assert done.failures


@pytest.mark.parametrize("direction", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize(
    ("arch", "dataflow", "overrides"), [("eyeriss", "os", WIDE), ("systolic", "ws", {})]
)
def test_a_transfer_that_does_not_happen(
    arch: str,
    dataflow: str,
    overrides: dict[str, Any],
    direction: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every layer's first fill is left out in one direction: what is read instead is poison, and
    the step says so to its end.
    """

    def without(nest: Nest, **options: Any) -> Iterator[Any]:
        left = nest.problem.direction != direction
        for transfer in movement(nest, **options):
            if isinstance(transfer, Fill) and not left:
                left = True
                continue
            yield transfer

    monkeypatch.setattr(machine, "movement", without)
    done = train_step("lenet5", arch=arch, dataflow=dataflow, overrides=overrides)
    for row in done.rows.rows:
        assert row.columns["bit_exact"] is (row.columns["direction"] != direction)
    wrong = {name for name, exact in done.bit_exact.items() if not exact}
    expected = {
        "forward": "conv1",
        "grad_input": "grad conv1.weight",
        "grad_weight": "grad fc3.weight",
    }[direction]
    assert expected in wrong and (direction == "forward" or not wrong & {"conv1", "fc3", "softmax"})


def test_a_wrong_vector_gradient_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What both steps share is proved by hand above: a wrong rule there is seen."""
    _, labels = training_data(lenet(), "cross_entropy", 2, 0)
    real = training.gradient_words

    def doubled(op: Any, xs: Any, g: Any, weights: Any, scales: Any) -> Any:
        inputs, own = real(op, xs, g, weights, scales)
        return [type(b)(b.words + 1, b.exponent, b.divisor) for b in inputs], own

    monkeypatch.setattr(training, "gradient_words", doubled)
    done = train_step("lenet5", arch="systolic", dataflow="ws", batch=2)
    want = by_hand(done, labels)
    assert not all(
        np.array_equal(fractions(b.words, b.exponent), want[name])
        for name, b in done.step.gradients.items()
    )


# What is refused ----------------------------------------------------------------------------------


FAINT = {
    name: value * (1e-9 if name.endswith("bias") else 0)
    for name, value in random_weights(lenet()).items()
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"arch": "eyeriss", "dataflow": "rs"},
            "bits.psum: must hold the step's sums: conv2 forward needs 17 bits",
        ),
        (
            {"bits": 9},
            "words of a step must have 2 to 8 bits, the width of systolic's operands, got 9",
        ),
        ({"loss": "crossentropy"}, "loss: no such loss, got crossentropy; nearest: cross_entropy"),
        ({"rate": math.inf}, "rate: must be a number below 2^64, got inf"),
        ({"rate": math.nan}, "rate: must be a number below 2^64, got nan"),
        (
            {
                "loss": "squared_error",
                "images": np.zeros((1, 1, 28, 28)),
                "targets": np.full((1, 10), 1e300),
            },
            "must be numbers below 2^200",
        ),
        ({"weights": FAINT}, "conv1: its output is too small beside its weights and input"),
        ({"dataflow": "ws,os"}, "dataflow: a step runs under one dataflow, got ws, os"),
        ({"engine": "events"}, "engine: no such engine, got events; nearest: event"),
        ({"batch": 0}, "batch: must be at least 1, got 0"),
        (
            {"network": acc.Conv2d(M=1, C=1, H=4, W=4, R=3, S=3)},
            "workload: layer is a list of layers: a training step needs a graph",
        ),
        ({"images": np.zeros((1, 1, 28, 28))}, "targets: must be given beside images"),
        (
            {"images": np.zeros((1, 1, 28, 28)), "targets": np.array([1]), "batch": 1},
            "batch: is of random images",
        ),
        (
            {"images": np.zeros((1, 1, 27, 28)), "targets": np.array([1])},
            "input: one of the batch must have shape 1x28x28",
        ),
        (
            {"images": np.zeros((1, 1, 28, 28)), "targets": np.array([10])},
            "labels: must be classes 0 to 9, got 10 to 10",
        ),
        (
            {"images": np.zeros((1, 1, 28, 28)), "targets": np.array([1.0])},
            "labels: must be whole numbers of shape 1, got 1 of float64",
        ),
        (
            {"loss": "squared_error", "images": np.zeros((1, 1, 28, 28)), "targets": np.zeros(3)},
            "must be numbers of shape 1x10, got 3",
        ),
        ({"weights": {}}, "weights.conv1.weight: must be given"),
        (
            {"images": np.full((1, 1, 28, 28), 1e300), "targets": np.array([1])},
            "input reaches 1e+300: the step's numbers stay below 2^200",
        ),
    ],
)
def test_one_line(options: dict[str, Any], message: str) -> None:
    given = {"network": "lenet5", "arch": "systolic", "dataflow": "ws"} | options
    with pytest.raises(InputError) as caught:
        train_step(
            given.pop("network"), given.pop("images", None), given.pop("targets", None), **given
        )
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_sums_beyond_the_widest_psum_are_refused_too() -> None:
    """Golden's widest accumulator is 48 bits: what would wrap there is seen, and what nearly would
    passes.
    """
    problem = acc.Gemm(m=1, k=2**17 + 2, n=1).problem(1)
    layer = training.golden_layer(Number(48))
    for word, fits in ((2**15 - 1, True), (-(2**15), False)):
        data = {t: np.full(problem.shape(t), word, np.int64) for t in problem.operands}
        want = word * word * (2**17 + 2)
        if fits:
            assert want < 2**47 and layer("x", problem, data).item() == want
            continue
        with pytest.raises(
            InputError,
            match=r"x forward needs 49 bits, or the step's words must be narrower, got 48",
        ):
            layer("x", problem, data)


def test_an_operator_without_gradient_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "name: n\ninput: [1, 8, 8]\ngraph:\n  - {name: c, M: 2, R: 3}\n"
        "  - {name: drawn, type: stochastic_pool, R: 2, expected: true}\n"
    )
    graph = graph_of(text + "  - {name: f, type: linear, M: 3}\n", tmp_path)
    monkeypatch.setattr(training, "step", None)
    with pytest.raises(
        InputError,
        match=(
            r"^graph.1: drawn: stochastic_pool with expected .* has no gradient; leave expected"
            r" out$"
        ),
    ):
        train_step(graph, arch="systolic", dataflow="ws")
    # Before the first weight nothing needs one.
    head = "name: n\ninput: [1, 8, 8]\ngraph:\n"
    first = head + (
        "  - {name: drawn, type: stochastic_pool, R: 2, expected: true}\n"
        "  - {name: f, type: linear, M: 3}\n"
    )
    monkeypatch.undo()
    done = train_step(graph_of(first, tmp_path), arch="systolic", dataflow="ws")
    assert not done.failures and set(done.gradients) == {"f", "f.weight"}


def test_unfit_losses(tmp_path: Path) -> None:
    two = (
        "name: n\ninput: [2, 4, 4]\ngraph:\n  - {name: a, M: 2, R: 3}\n"
        "  - {name: b, M: 2, R: 3, inputs: input}\n"
    )
    with pytest.raises(InputError, match="a loss needs a network of one output, got a, b"):
        losses.loss_at(graph_of(two, tmp_path), "cross_entropy")
    across = (
        "name: n\ninput: [2, 4, 4]\ngraph:\n  - {name: a, M: 2, R: 3}\n"
        "  - {name: p, type: softmax}\n"
    )
    with pytest.raises(
        InputError, match="p: cross_entropy needs its softmax along axis 0, the classes"
    ):
        losses.loss_at(graph_of(across, tmp_path), "cross_entropy")
    assert losses.loss_at(graph_of(across, tmp_path), "squared_error") == "p"


# The shell ----------------------------------------------------------------------------------------


def test_the_shell(tmp_path: Path) -> None:
    file, data, saved, grads = (
        tmp_path / name for name in ("toy.yaml", "data.npz", "w.npz", "g.npz")
    )
    file.write_text(to_yaml(workload_of(TOY)))
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(2, 1, 8, 8)), np.array([0, 1])
    np.savez(data, input=images, labels=labels)
    args = (
        "train",
        file,
        "--arch",
        "systolic",
        "--dataflow",
        "ws",
        "--data",
        data,
        "--rate",
        "0.05",
        "--format",
        "csv",
    )
    done = accelsim(*args, "--save", saved, "--gradients", grads)
    assert done.code == 0, done.err
    rows = done.out.splitlines()
    assert [r.split(",")[5] for r in rows[1:]] == [
        "forward",
        "forward",
        "grad_input",
        "grad_weight",
        "grad_weight",
    ]
    assert "tensors and gradients bit-exact" in done.err
    want = train_step(
        acc.load_workload(file), images, labels, arch="systolic", dataflow="ws", rate=0.05
    )
    assert f"loss {want.loss:.6g}; {len(want.bit_exact)} of {len(want.bit_exact)} " in done.err
    for path, arrays in ((saved, want.weights), (grads, want.gradients)):
        with np.load(path) as archive:
            assert set(archive.files) == set(arrays) and all(
                np.array_equal(archive[name], arrays[name]) for name in arrays
            )
    again = accelsim(*args, "--weights", saved, "--total")
    assert (
        again.code == 0
        and float(again.err.split()[1].rstrip(";")) < want.loss
        and "total" in again.out
    )
    table = accelsim(*args[:-2])
    assert "conv grad_weight" in table.out and "direction:" not in table.out


def test_the_shell_refuses(tmp_path: Path, broken: Callable[[int], None]) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, input=np.zeros((1, 1, 28, 28)))
    args = ("train", "lenet5", "--arch", "systolic")
    for more, message in (
        ((), "Missing option '--dataflow' or '--mapping'"),
        (
            ("--dataflow", "ws", "--data", data),
            "must have labels or targets, one of them, got input",
        ),
        (("--dataflow", "ws", "--data", tmp_path / "no.npz"), "no such file"),
        (("--dataflow", "ws", "--save", tmp_path / "no" / "w.npz"), "cannot be written"),
    ):
        done = accelsim(*args, *more)
        assert done.code == 2 and message in done.err and done.err.count("\n") <= 2, done.err
    unmapped = accelsim(
        *args[:2], "--arch", "systolic", "--dataflow", "ws", "--set", "levels.sram.capacity_bytes=1"
    )
    assert (
        unmapped.code == 1
        and unmapped.err.startswith("conv1 forward ws: ")
        and unmapped.err.count("\n") == 1
    )
    broken(0)
    wrong = accelsim(*args, "--dataflow", "ws")
    assert wrong.code == 1 and "conv1 ws: ofmap[" in wrong.err
