"""The golden network in words: whole networks bit by bit with another engine's layers, scales,
folding, .npz files, the vector unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from accelsim.base.errors import InputError
from accelsim.engines import event, golden
from accelsim.engines.analytic import vector_unit as vector
from accelsim.engines.golden import golden_network
from accelsim.hardware.architecture import VectorUnit, load_architecture
from accelsim.mapping.files import sources
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import Number, Requantize, requantize, wrap
from accelsim.workload.graph.fold import fold_batch_norm
from accelsim.workload.graph.graph import Graph
from accelsim.workload.graph.weights import load_arrays, random_images, random_weights
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.operators.operator import Work
from accelsim.workload.problem import Problem
from accelsim.workload.quantize import QuantizedNetwork, calibrate, quantize

Array = NDArray[Any]

# Every operator that has an integer form of its own, and some that have none, with branches.
MIXED: dict[str, Any] = {
    "name": "mixed",
    "input": [4, 12, 12],
    "graph": [
        {"name": "conv", "M": 8, "R": 3, "padding": 1, "bias": True},
        {"name": "bn", "type": "batch_norm"},
        {"name": "relu", "type": "relu"},
        {"name": "dw", "type": "depthwise", "R": 3, "padding": 1, "inputs": "relu"},
        {"name": "grouped", "M": 2, "groups": 4, "R": 1, "flip": True, "inputs": "relu"},
        {"name": "sum", "type": "add", "inputs": ["dw", "grouped"]},
        {"name": "product", "type": "multiply", "inputs": ["sum", "relu"]},
        {"name": "cat", "type": "concat", "inputs": ["product", "relu", "bn"]},
        {"name": "lrn", "type": "local_response_norm"},
        {"name": "avg", "type": "average_pool", "R": 3, "stride": 2, "padding": 1},
        {"name": "max", "type": "max_pool", "R": 3, "stride": 2, "inputs": "lrn"},
        {
            "name": "up",
            "type": "conv_transpose",
            "M": 3,
            "R": 3,
            "stride": 2,
            "bias": True,
            "inputs": "max",
        },
        {"name": "mean", "type": "mean", "axes": [1, 2], "inputs": "up"},
        {"name": "tanh", "type": "tanh", "inputs": "avg"},
        {"name": "tokens", "type": "reshape", "shape": [24, -1]},
        {"name": "dense", "type": "dense", "M": 6, "bias": True},
        {"name": "self", "type": "matmul", "inputs": ["dense", "dense"], "transpose_b": True},
        {"name": "soft", "type": "softmax"},
        {"name": "mixed", "type": "matmul", "inputs": ["soft", "dense"]},
        {"name": "norm", "type": "layer_norm"},
        {"name": "fc", "type": "linear", "M": 5, "bias": True},
    ],
}


def mixed() -> Graph:
    graph = Workload.model_validate(MIXED).network
    assert graph is not None
    return graph


def network(name: str) -> Graph:
    graph = load_workload(name).network
    assert graph is not None
    return graph


def quantized(
    graph: Graph, batch: int = 2, seed: int = 0, **options: Any
) -> tuple[QuantizedNetwork, dict[str, Array], dict[str, Array]]:
    weights, images = random_weights(graph, seed), random_images(graph, batch, seed)
    return quantize(graph, weights, calibrate(graph, images, weights), **options), images, weights


def plain(problem: Any, data: Any) -> Array:
    """Layers by the eight obvious loops."""
    return golden.loops(problem, data, Number(32))


def test_a_small_network_with_other_layers_is_bit_exact() -> None:
    graph = Workload.model_validate(
        {
            "name": "n",
            "input": [2, 6, 6],
            "graph": [
                {"name": "a", "M": 3, "R": 3, "bias": True},
                {"name": "r", "type": "relu"},
                {"name": "b", "type": "conv_transpose", "M": 2, "R": 2, "bias": True},
                {"name": "d", "type": "dense", "M": 3, "bias": True},
                {"name": "m", "type": "matmul", "inputs": ["d", "d"], "transpose_b": True},
                {"name": "f", "type": "linear", "M": 3},
            ],
        }
    ).network
    assert graph is not None
    net, images, _ = quantized(graph)
    a, b = (
        golden_network.run_network(net, images, psums=True),
        golden_network.run_network(net, images, plain, psums=True),
    )
    assert set(a) == {*graph.shapes, "a.psum", "b.psum", "d.psum", "m.psum", "f.psum"}
    for name, tensor in a.items():
        np.testing.assert_array_equal(tensor, b[name])
        assert name.endswith(".psum") or (
            tensor.dtype == np.int8 and tensor.shape == (2, *graph.shapes[name])
        )


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("step", ["any", "power_of_two"])
def test_words_follow_the_float_network(per: Any, step: Any) -> None:
    graph = mixed()
    net, images, weights = quantized(graph, per=per, step=step)
    nodes = golden_network.accuracy(net, images, golden_network.run(graph, images, weights))
    assert [a.node for a in nodes] == [n.name for n in graph.nodes]
    assert min(a.snr_db for a in nodes) > 10, [(a.node, round(a.snr_db)) for a in nodes]
    assert nodes[0].snr_db > (34 if per == "channel" and step == "any" else 26)
    wide, images, weights = quantized(graph, per=per, step=step, number=Number(16), psum=Number(36))
    better = golden_network.accuracy(wide, images, golden_network.run(graph, images, weights))
    assert min(a.snr_db for a in better) > 55, [(a.node, round(a.snr_db)) for a in better]


def test_powers_of_two_are_the_shift_of_requantize() -> None:
    graph = mixed()
    net, images, _ = quantized(graph, per="tensor", step="power_of_two")
    tensors = golden_network.run_network(net, images, psums=True)
    for name in ("conv", "dw", "grouped", "dense", "self", "fc"):
        shift = int(np.log2(net.scales[name] / float(net.accumulator_scale(graph.by_name[name]))))
        want = requantize(tensors[f"{name}.psum"], Requantize(shift), Number(8))
        np.testing.assert_array_equal(tensors[name], want)


def test_scales_are_kept_where_words_are() -> None:
    net, _, _ = quantized(mixed())
    assert net.scales["max"] == net.scales["lrn"] and net.scales["tokens"] == net.scales["tanh"]
    graph = Workload.model_validate(
        {
            "name": "n",
            "input": [1, 4, 4],
            "graph": [{"name": "c", "M": 2, "R": 1}, {"name": "r", "type": "relu"}],
        }
    ).network
    assert graph is not None
    net, images, weights = quantized(graph)
    top = golden_network.run(graph, images, weights)["r"].max()
    assert net.scales["c"] == net.scales["r"] == top / 127, "what a rectifier clips takes no range"


def test_images_in_words_and_wrong_images() -> None:
    net, images, _ = quantized(mixed())
    words = golden_network.as_words(net, images)["input"]
    assert words.dtype == np.int8 and np.abs(words.astype(int)).max() == 127
    a, b = golden_network.run_network(net, images), golden_network.run_network(net, words)
    np.testing.assert_array_equal(a["fc"], b["fc"])
    with pytest.raises(InputError, match="one of the batch must have shape 4x12x12, got 4x12x11"):
        golden_network.run_network(net, np.zeros((1, 4, 12, 11)))
    with pytest.raises(InputError, match="words must be -128 to 127"):
        golden_network.run_network(net, np.full((1, 4, 12, 12), 300))
    with pytest.raises(InputError, match="has no such input, got inptu; nearest: input"):
        golden_network.run_network(net, {"inptu": words})
    with pytest.raises(ValueError, match="weights of its own"):
        golden_network.run(net, words, {})
    with pytest.raises(ValueError, match="needs weights"):
        golden_network.run(mixed(), words)


def test_narrow_accumulators_wrap() -> None:
    net, images, _ = quantized(mixed(), psum=Number(12))
    wide, _, _ = quantized(mixed(), psum=Number(32))
    tensors = golden_network.run_network(net, images, psums=True)
    reference = golden_network.run_network(wide, images, psums=True)
    np.testing.assert_array_equal(tensors["dw.psum"].shape, reference["dw.psum"].shape)
    np.testing.assert_array_equal(tensors["conv.psum"], wrap(reference["conv.psum"], Number(12)))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1"])
def test_batch_normalization_folds(name: str) -> None:
    graph = network(name)
    weights, images = random_weights(graph), random_images(graph)
    small, folded = fold_batch_norm(graph, weights)
    assert not [n for n in small.nodes if "_bn" in n.name or n.name.startswith("bn")]
    before, after = (
        golden_network.run(graph, images, weights),
        golden_network.run(small, images, folded),
    )
    np.testing.assert_allclose(after["fc"], before["fc"], atol=1e-9)
    np.testing.assert_allclose(after["conv1"], before["bn1"], atol=1e-9)


def test_a_batch_normalization_that_others_read_stays() -> None:
    graph = Workload.model_validate(
        {
            "name": "n",
            "input": [2, 4, 4],
            "graph": [
                {"name": "c", "M": 2, "R": 1},
                {"name": "bn", "type": "batch_norm"},
                {"name": "s", "type": "add", "inputs": ["c", "bn"]},
                {"name": "t", "type": "conv_transpose", "M": 3, "R": 2, "groups": 2},
                {"name": "bn2", "type": "batch_norm"},
                {"name": "bn3", "type": "batch_norm"},
            ],
        }
    ).network
    assert graph is not None
    weights, images = random_weights(graph), random_images(graph)
    small, folded = fold_batch_norm(graph, weights)
    assert [n.name for n in small.nodes] == ["c", "bn", "s", "t", "bn3"]
    np.testing.assert_allclose(
        golden_network.run(small, images, folded)["bn3"],
        golden_network.run(graph, images, weights)["bn3"],
        atol=1e-9,
    )


# Files --------------------------------------------------------------------------------------------


def test_weights_and_images_from_npz(tmp_path: Path) -> None:
    graph = network("lenet5")
    weights, images = random_weights(graph), random_images(graph)
    np.savez(tmp_path / "weights.npz", **weights)
    np.savez_compressed(tmp_path / "images.npz", **images)
    again = load_arrays(tmp_path / "weights.npz")
    np.testing.assert_array_equal(
        golden_network.run(graph, load_arrays(tmp_path / "images.npz"), again)["fc3"],
        golden_network.run(graph, images, weights)["fc3"],
    )
    for change, message in (
        (
            {"conv1.wieght": weights["conv1.weight"]},
            "has no such parameter, got conv1.wieght; nearest: conv1.weight",
        ),
        (
            {"conv1.weight": weights["conv1.weight"][:2]},
            "weights.conv1.weight: must have shape 6x1x5x5, got 2x1x5x5",
        ),
        ({"conv1.bias": np.full(6, np.nan)}, "weights.conv1.bias: must be finite numbers"),
        ({"conv1.bias": np.array(["a"] * 6)}, "weights.conv1.bias: must be numbers"),
    ):
        with pytest.raises(InputError, match=message):
            golden_network.run(graph, images, {**weights, **change})
    with pytest.raises(InputError, match=r"weights.fc1.bias: must be given"):
        golden_network.run(graph, images, {k: v for k, v in weights.items() if k != "fc1.bias"})


def test_what_is_not_an_npz_file(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    with pytest.raises(InputError, match="no such file"):
        load_arrays(file)
    np.savez(file, a=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(InputError, match=r"must be an \.npz file"):
        load_arrays(file)
    raw = file.read_bytes()
    rng = np.random.default_rng(0)
    for i in range(60):
        broken = bytearray(raw[: rng.integers(1, len(raw))] if i % 2 else raw)
        broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        with pytest.raises(InputError):
            load_arrays(file)


# The vector unit ----------------------------------------------------------------------------------


def test_vector_unit() -> None:
    unit = VectorUnit(lanes=4, rates={"exp": 0.25}, read_words=8, write_words=8)
    work = Work({"add": 10, "exp": 10}, 30, 20)
    cost = vector.cost(work, unit)
    assert (cost.cycles, cost.bound) == (3 + 10, "operations")
    assert vector.cost(Work({"add": 4}, 80, 4), unit, batch=2).bound == "reads"
    assert vector.cost(Work({"add": 4}, 80, 4), unit, batch=2).cycles == 20
    assert vector.cost(Work({}, 0, 0), unit).bound == ""
    for wrong, key in (
        ({"lanes": 0}, "lanes"),
        ({"rates": {"sin": 1.0}}, "rates.sin"),
        ({"rates": {"add": 0.0}}, "rates.add"),
    ):
        with pytest.raises(InputError, match=f"^{key}"):
            VectorUnit(**wrong)


# At full size -------------------------------------------------------------------------------------

FULL = [
    "lenet5",
    "alexnet",
    "googlenet",
    "resnet18",
    "mobilenet_v1",
    "mobilenet_v2",
    "vit_s_block",
    "bert_base_layer",
]


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "vit_s_block"])
def test_full_size(name: str) -> None:
    full_size(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [*FULL, "overfeat", "vgg16", "resnet34", "resnet50", "resnet101", "resnet152", "inception_v3"],
)
def test_full_size_all(name: str) -> None:
    full_size(name)


def full_size(name: str) -> None:
    graph = network(name)
    images = random_images(graph)
    graph, weights = fold_batch_norm(graph, random_weights(graph))
    reference = golden_network.run(graph, images, weights)
    number, psum = (
        (Number(12), Number(36)) if name == "mobilenet_v2" else (Number(8), Number(32))
    )  # 50 layers without a trained margin
    net = quantize(
        graph,
        weights,
        {k: float(np.abs(v).max()) for k, v in reference.items()},
        number=number,
        psum=psum,
    )
    nodes = golden_network.accuracy(net, images, reference)
    assert [a.node for a in nodes if a.snr_db < 9] == [], "words stay above 9 dB on random weights"


# On the event engine ------------------------------------------------------------------------------

WORDS = {"bits.weight": 8, "bits.ifmap": 8, "bits.psum": 32, "bits.ofmap": 8}


def on_the_array(graph: Graph, arch: str, flow: str, batch: int = 1) -> None:
    """Every layer of a network in int8 through the event engine's buffers: every tensor and
    accumulator is the golden network's.
    """
    machine = load_architecture(arch, WORDS)
    (source,) = sources(flow, None)

    def layer(problem: Problem, data: Mapping[str, Array]) -> Array:
        nest = Nest(problem, machine, source.mapping_of("layer", problem, machine))
        return np.asarray(event.run(nest, data).outputs)

    images = random_images(graph, batch)
    graph, weights = fold_batch_norm(graph, random_weights(graph))
    net = quantize(graph, weights, calibrate(graph, images, weights))
    want = golden_network.run_network(net, images, psums=True)
    got = golden_network.run_network(net, images, layer, psums=True)
    assert set(got) == set(want) and len(want) == len(graph.nodes) + len(graph.layers) + len(
        graph.inputs
    )
    for name, tensor in want.items():
        np.testing.assert_array_equal(got[name], tensor, err_msg=name)


@pytest.mark.parametrize("flow", ["ws", "os", "rs"])
def test_lenet5_on_eyeriss(flow: str) -> None:
    on_the_array(network("lenet5"), "eyeriss", flow, batch=2)


@pytest.mark.parametrize("flow", ["ws", "os", "is"])
def test_every_kind_of_layer_on_a_systolic_array(flow: str) -> None:
    on_the_array(mixed(), "systolic", flow, batch=2)


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["ws", "os", "rs"])
@pytest.mark.parametrize(
    "name", ["alexnet", "googlenet", "resnet18", "mobilenet_v1", "vit_s_block"]
)
def test_networks_at_full_size_on_eyeriss(name: str, flow: str) -> None:
    on_the_array(network(name), "eyeriss", flow)
