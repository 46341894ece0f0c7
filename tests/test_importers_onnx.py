"""ONNX: models of the onnx package's helpers against onnxruntime's float output, there and back,
and broken files.

What an imported network computes in float64 is compared with onnxruntime's float32: the largest
difference is at most TOLERANCE of the largest magnitude.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_importers import accelsim, refused

from accelsim.base.yaml_writing import to_yaml
from accelsim.engines.golden import golden_network
from accelsim.importers.network_builder import UnsupportedError
from accelsim.importers.onnx_export import export_onnx
from accelsim.importers.onnx_import import import_onnx
from accelsim.workload.graph.weights import random_images, random_weights
from accelsim.workload.layers import Conv2d
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.quantize import calibrate, quantize

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
Array = NDArray[Any]
TOLERANCE = 2e-5


class Model:
    """Nodes in order with random weights, by the onnx package's helpers; tensors are called t1, t2,
    ...
    """

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.shape, self.rng = shape, np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}
        self.count = 0
        self.last = "x"

    def w(self, *shape: int, scale: float | None = None, low: float | None = None) -> str:
        """Random weights, small enough that activations keep their size."""
        size = scale if scale is not None else (2 / max(int(np.prod(shape[1:])), 1)) ** 0.5
        value = (
            self.rng.normal(size=shape) * size
            if low is None
            else self.rng.uniform(low, low + 1, shape)
        )
        return self.c(value.astype(np.float32))

    def c(self, value: Any) -> str:
        """A constant."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = []
        for _ in range(outputs):
            self.count += 1
            names.append(f"t{self.count}")
        self.nodes.append(
            onnx.helper.make_node(op, list(inputs), names, name=f"{op}_{names[0]}", **attributes)
        )
        self.last = names[-1]
        return names[0] if outputs == 1 else names

    def conv(
        self, x: str, m: int, c: int, r: int, group: int = 1, bias: bool = True, **attributes: Any
    ) -> str:
        inputs = [x, self.w(m, c // group, r, r)] + ([self.w(m, scale=0.1)] if bias else [])
        return str(self.add("Conv", *inputs, group=group, **({"pads": [r // 2] * 4} | attributes)))

    def bn(self, x: str, c: int) -> str:
        low, spread = self.w(c, low=0.5), self.w(c, low=0.5)
        return str(
            self.add(
                "BatchNormalization",
                x,
                low,
                self.w(c, scale=0.1),
                self.w(c, scale=0.1),
                spread,
                epsilon=1e-3,
            )
        )

    def dense(self, x: str, d: int, m: int) -> str:
        return str(
            self.add(
                "Add",
                self.add(
                    "MatMul",
                    x,
                    self.c((self.rng.normal(size=(d, m)) * (1 / d) ** 0.5).astype(np.float32)),
                ),
                self.w(m, scale=0.1),
            )
        )

    def proto(self, opset: int = 17, outputs: list[str] | None = None, batch: Any = 1) -> Any:
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", 1, [batch, *self.shape[1:]])],
            [helper.make_tensor_value_info(n, 1, None) for n in outputs or [self.last]],
            [numpy_helper.from_array(v, n) for n, v in self.weights.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )
        return model


def plain_cnn() -> Model:
    m = Model(2, 3, 20, 20)
    x = m.add("Relu", m.conv("x", 8, 3, 5))
    x = m.add("LRN", x, size=5, alpha=1e-2, beta=0.75, bias=2.0)
    x = m.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = m.add(
        "Sigmoid", m.conv(x, 8, 8, 3, group=2, strides=[2, 1], dilations=[1, 2], pads=[1, 2, 1, 2])
    )
    x = m.add(
        "AveragePool",
        x,
        kernel_shape=[2, 2],
        strides=[2, 2],
        pads=[0, 0, 1, 1],
        count_include_pad=1,
    )
    x = m.add("Dropout", m.add("Flatten", x))
    m.add(
        "Softmax",
        m.add("Gemm", x, m.w(5, 8 * 3 * 5), m.w(5), transB=1, alpha=0.5, beta=2.0),
        axis=1,
    )
    return m


def residual() -> Model:
    m = Model(1, 4, 12, 12)
    x = m.add("Relu", m.bn(m.conv("x", 8, 4, 3, bias=False), 8))
    y = m.bn(m.conv(m.add("Relu", m.bn(m.conv(x, 8, 8, 3, bias=False), 8)), 8, 8, 3, bias=False), 8)
    x = m.add("Relu", m.add("Add", y, x))
    y = m.bn(
        m.conv(
            m.add("Relu", m.bn(m.conv(x, 16, 8, 3, bias=False, strides=[2, 2]), 16)),
            16,
            16,
            3,
            bias=False,
        ),
        16,
    )
    x = m.add("Relu", m.add("Add", y, m.bn(m.conv(x, 16, 8, 1, bias=False, strides=[2, 2]), 16)))
    m.add("Gemm", m.add("Flatten", m.add("GlobalAveragePool", x)), m.w(10, 16), m.w(10), transB=1)
    return m


def inception() -> Model:
    m = Model(1, 6, 11, 11)
    branches = [
        m.add("Relu", m.conv("x", 4, 6, 1)),
        m.add("Relu", m.conv(m.add("Relu", m.conv("x", 3, 6, 1)), 5, 3, 3)),
        m.add("Relu", m.conv(m.add("Relu", m.conv("x", 2, 6, 1)), 3, 2, 5)),
        m.conv(
            m.add("MaxPool", "x", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]), 2, 6, 1
        ),
    ]
    x = m.add("Concat", *branches, axis=1)
    x = m.add("GlobalMaxPool", x)
    m.add("Softmax", m.add("Squeeze", x, m.c(np.array([2, 3]))), axis=-1)
    return m


def depthwise() -> Model:
    m = Model(2, 6, 10, 10)
    x = m.add(
        "Clip",
        m.bn(m.conv("x", 6, 6, 3, group=6, bias=False), 6),
        m.c(np.float32(0)),
        m.c(np.float32(6)),
    )
    x = m.bn(m.conv(x, 12, 6, 1, bias=False), 12)
    x = m.add("HardSwish", m.conv(x, 24, 12, 3, group=12, strides=[2, 2]))
    squeezed = m.add(
        "HardSigmoid",
        m.conv(m.add("ReduceMean", x, axes=[2, 3], keepdims=1), 24, 24, 1),
        alpha=1 / 6,
        beta=0.5,
    )
    x = m.add("Mul", x, squeezed)
    m.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    return m


def unet() -> Model:
    m = Model(1, 3, 16, 12)
    a = m.add("LeakyRelu", m.conv("x", 6, 3, 3), alpha=0.1)
    b = m.add("Elu", m.conv(m.add("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]), 8, 6, 3))
    up = m.add("ConvTranspose", b, m.w(8, 6, 2, 2), m.w(6), strides=[2, 2])
    x = m.conv(m.add("Concat", up, a, axis=1), 4, 12, 3)
    x = m.add(
        "Resize",
        x,
        "",
        m.c(np.array([1, 1, 2, 2], np.float32)),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    m.add(
        "Tanh",
        m.conv(
            m.add("Pad", x, m.c(np.array([0, 0, 1, 2, 0, 0, 1, 2])), mode="reflect"),
            2,
            4,
            3,
            pads=[0, 0, 0, 0],
        ),
    )
    return m


def attention() -> Model:
    """One encoder layer as exporters write it: reshapes by constants of Shape, GELU by Erf, layer
    normalization taken apart.
    """
    t, d, heads = 7, 12, 3
    m = Model(1, t, d)
    shape = m.add("Shape", "x")
    length = m.add("Gather", shape, m.c(np.array(1)), axis=0)
    parts = []
    for _ in range(3):
        target = m.add(
            "Concat",
            m.c(np.array([0])),
            m.add("Unsqueeze", length, m.c(np.array([0]))),
            m.c(np.array([heads, d // heads])),
            axis=0,
        )
        parts.append(
            m.add("Transpose", m.add("Reshape", m.dense("x", d, d), target), perm=[0, 2, 1, 3])
        )
    q, k, v = parts
    scores = m.add(
        "Div", m.add("MatMul", q, m.add("Transpose", k, perm=[0, 1, 3, 2])), m.c(np.float32(2.0))
    )
    context = m.add(
        "Transpose", m.add("MatMul", m.add("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3]
    )
    x = m.add("Add", m.dense(m.add("Reshape", context, m.c(np.array([1, -1, d]))), d, d), "x")
    mean = m.add("ReduceMean", x, axes=[-1])
    centred = m.add("Sub", x, mean)
    variance = m.add("ReduceMean", m.add("Pow", centred, m.c(np.float32(2))), axes=[-1])
    x = m.add("Div", centred, m.add("Sqrt", m.add("Add", variance, m.c(np.float32(1e-5)))))
    x = m.add("Add", m.add("Mul", x, m.w(d, low=0.5)), m.w(d, scale=0.1))
    h = m.dense(x, d, 4 * d)
    g = m.add(
        "Mul",
        m.add(
            "Mul",
            h,
            m.add(
                "Add", m.add("Erf", m.add("Div", h, m.c(np.float32(2**0.5)))), m.c(np.float32(1))
            ),
        ),
        m.c(np.float32(0.5)),
    )
    m.add(
        "LayerNormalization",
        m.add("Add", m.dense(g, 4 * d, d), x),
        m.w(d, low=0.5),
        m.w(d, scale=0.1),
        axis=-1,
        epsilon=1e-6,
    )
    return m


def vision_transformer() -> Model:
    """Patches by convolution, a class token and a position embedding, one product for q, k and v,
    split.
    """
    d, heads = 16, 4
    m = Model(1, 3, 16, 16)
    x = m.add("Conv", "x", m.w(d, 3, 4, 4), m.w(d), strides=[4, 4])
    x = m.add("Transpose", m.add("Reshape", x, m.c(np.array([0, d, -1]))), perm=[0, 2, 1])
    x = m.add("Concat", m.w(1, 1, d), x, axis=1)
    x = m.add("Add", x, m.w(1, 17, d, scale=0.1))
    y = m.add("LayerNormalization", x, m.w(d, low=0.5), m.w(d, scale=0.1), axis=-1)
    qkv = m.add(
        "Transpose",
        m.add("Reshape", m.dense(y, d, 3 * d), m.c(np.array([1, 17, 3, heads, d // heads]))),
        perm=[0, 2, 3, 1, 4],
    )
    parts = [m.add("Gather", qkv, m.c(np.array(i)), axis=1) for i in range(3)]
    scores = m.add(
        "Mul",
        m.add("MatMul", parts[0], m.add("Transpose", parts[1], perm=[0, 1, 3, 2])),
        m.c(np.float32(0.5)),
    )
    y = m.add(
        "Transpose", m.add("MatMul", m.add("Softmax", scores, axis=3), parts[2]), perm=[0, 2, 1, 3]
    )
    x = m.add("Add", x, m.dense(m.add("Reshape", y, m.c(np.array([0, 0, -1]))), d, d))
    m.dense(m.add("Gather", x, m.c(np.array(0)), axis=1), d, 10)
    return m


def shuffle() -> Model:
    """Split, channels shuffled by reshapes, instance normalization, Lp pooling, slices."""
    m = Model(1, 8, 9, 9)
    a, b = m.add("Split", "x", outputs=2, axis=1)
    y = m.add("InstanceNormalization", m.conv(b, 4, 4, 3), m.w(4, low=0.5), m.w(4, scale=0.1))
    x = m.add("Concat", a, y, axis=1)
    x = m.add(
        "Reshape",
        m.add(
            "Transpose", m.add("Reshape", x, m.c(np.array([1, 2, 4, 9, 9]))), perm=[0, 2, 1, 3, 4]
        ),
        m.c(np.array([1, 8, 9, 9])),
    )
    x = m.add("LpPool", x, kernel_shape=[2, 3], strides=[2, 2], p=3)
    x = m.add(
        "Slice",
        x,
        m.c(np.array([1, 0])),
        m.c(np.array([7, 4])),
        m.c(np.array([1, 3])),
        m.c(np.array([2, 1])),
    )
    x = m.add("Sub", m.add("Softplus", x), m.add("Exp", m.add("Neg", m.add("Abs", x))))
    m.add("ReduceSum", x, m.c(np.array([1])), keepdims=1)
    return m


def densenet() -> Model:
    m = Model(1, 4, 8, 8)
    x = "x"
    for i in range(3):
        y = m.conv(m.add("Relu", m.bn(x, 4 + 3 * i)), 3, 4 + 3 * i, 3)
        x = m.add("Concat", x, y, axis=1)
    x = m.add("AveragePool", m.conv(x, 6, 13, 1), kernel_shape=[2, 2], strides=[2, 2])
    m.add("Gemm", m.add("Flatten", x), m.c(m.rng.normal(size=(96, 4)).astype(np.float32)), m.w(4))
    return m


ARCHITECTURES: dict[str, Callable[[], Model]] = {
    f.__name__: f
    for f in (
        plain_cnn,
        residual,
        inception,
        depthwise,
        unet,
        attention,
        vision_transformer,
        shuffle,
        densenet,
    )
}


def answers(model: Any, x: Array) -> list[Array]:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(y, np.float64) for y in session.run(None, {"x": x.astype(np.float32)})]


def imported(path: Path, model: Any, fold: bool = False) -> Any:
    path.write_bytes(model.SerializeToString())
    return import_onnx(path, fold)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture(tmp_path: Path, name: str) -> None:
    built = ARCHITECTURES[name]()
    batch = built.shape[0]
    model = built.proto(batch="N" if batch == 2 else 1)
    x = np.random.default_rng(1).normal(size=built.shape).astype(np.float32)
    (want,) = answers(model, x)
    for fold in (False, True):
        network = imported(tmp_path / f"{name}.onnx", model, fold)
        graph = network.workload.network
        got = golden_network.run(graph, x, network.weights)[graph.outputs[0]]
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= TOLERANCE * max(1.0, np.abs(want).max())
        if fold:
            assert not [n for n in graph.nodes if n.op.type == "batch_norm"] or name == "densenet"
    # The workload's file says the same, and it runs in words.
    file = tmp_path / "w.yaml"
    file.write_text(to_yaml(network.workload))
    assert load_workload(file) == network.workload
    net = quantize(graph, network.weights, calibrate(graph, x, network.weights))
    (last,) = golden_network.accuracy(net, x, golden_network.run(graph, x, network.weights))[-1:]
    assert last.snr_db > 8, f"{name}: {last}"


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "mobilenet_v2", "vit_s_block"])
def test_there_and_back(tmp_path: Path, name: str) -> None:
    """A shipped network to ONNX: onnxruntime computes what the golden network does, and the import
    is that network.
    """
    workload = load_workload(name)
    graph = workload.network
    assert graph is not None
    weights, images = random_weights(graph), random_images(graph)
    raw = export_onnx(workload, weights)
    onnx.checker.check_model(onnx.load_model_from_string(raw))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    x = images["input"].astype(np.float32)
    (theirs,) = session.run(None, {"input": x})
    ours = golden_network.run(graph, x, weights)
    want = ours[graph.outputs[0]]
    assert np.abs(theirs - want).max() <= 1e-4 * max(1.0, np.abs(want).max())
    (tmp_path / "m.onnx").write_bytes(raw)
    back = import_onnx(tmp_path / "m.onnx")
    layers = [x.model_copy(update={"name": ""}) for x in back.workload.layers]
    assert layers == [x.model_copy(update={"name": ""}) for x in workload.layers]
    again = golden_network.run(back.workload.network, x, back.weights)  # type: ignore[arg-type]
    np.testing.assert_allclose(
        again[back.workload.network.outputs[0]], want, atol=1e-4 * np.abs(want).max()
    )  # type: ignore[union-attr]


def test_every_operator_that_onnx_has_is_written(tmp_path: Path) -> None:
    data = {
        "name": "n",
        "input": [4, 9, 9],
        "graph": [
            {"name": "pad", "type": "pad", "padding": [1, 2, 0, 1], "mode": "circular"},
            {"name": "conv", "M": 4, "R": 3, "flip": True, "padding": "same"},
            {"name": "gn", "type": "group_norm", "groups": 2},
            {"name": "silu", "type": "silu"},
            {
                "name": "up",
                "type": "conv_transpose",
                "M": 2,
                "R": 3,
                "stride": 2,
                "extra": [1, 0],
                "groups": 2,
                "bias": True,
            },
            {"name": "pool", "type": "max_pool", "R": 3, "padding": "same", "stride": 2},
            {"name": "l2", "type": "l2_pool", "R": 2},
            {"name": "lp", "type": "lp_pool", "R": 2, "p": 3, "inputs": "pool"},
            {"name": "cat", "type": "concat", "inputs": ["l2", "lp"], "axis": 1},
            {"name": "big", "type": "upsample", "scale": [2, 1]},
            {"name": "cut", "type": "slice", "axis": 1, "start": 1, "stop": -1, "step": 3},
            {"name": "turn", "type": "transpose", "order": [1, 0, 2]},
            {"name": "affine", "type": "affine", "scale": 2.0, "shift": -0.5},
            {"name": "square", "type": "square"},
            {"name": "power", "type": "power", "exponent": 1.5},
            {"name": "hard", "type": "hard_sigmoid", "inputs": "affine"},
            {"name": "three", "type": "subtract", "inputs": ["power", "hard", "affine"]},
            {"name": "mean", "type": "mean", "axes": [0], "keep": False},
            {"name": "token", "type": "parameter", "shape": [1, 5]},
            {"name": "same", "type": "multiply", "inputs": ["mean", "token"]},
            {"name": "ln", "type": "layer_norm", "axes": [0, 1]},
            {"name": "wide", "type": "add", "inputs": ["ln", "three"]},
            {"name": "re", "type": "reshape", "shape": [-1, 2]},
            {"name": "d", "type": "dense", "M": 3, "bias": True},
            {"name": "mm", "type": "matmul", "inputs": ["d", "d"], "transpose_a": True},
        ],
    }
    workload = Workload.model_validate(data)
    graph = workload.network
    assert graph is not None
    weights, images = random_weights(graph), random_images(graph)
    raw = export_onnx(workload, weights)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    x = images["input"].astype(np.float32)
    (theirs,) = session.run(None, {"input": x})
    want = golden_network.run(graph, x, weights)["mm"]
    assert np.abs(theirs - want).max() <= 1e-4 * np.abs(want).max()


SIZES = np.array([1, 6, 7, 3])
LARGER = np.array([1, 1, 2, 1.5], np.float32)
RESIZED: list[tuple[dict[str, Any], Any, Any]] = [
    ({"coordinate_transformation_mode": "align_corners"}, None, SIZES),
    ({"coordinate_transformation_mode": "half_pixel"}, None, SIZES),
    ({"coordinate_transformation_mode": "pytorch_half_pixel"}, None, SIZES),
    ({"coordinate_transformation_mode": "half_pixel"}, LARGER, None),
    ({"coordinate_transformation_mode": "align_corners"}, LARGER[:3].repeat([1, 1, 2]), None),
    ({"coordinate_transformation_mode": "align_corners", "axes": [3, 2]}, None, SIZES[:1:-1]),
    ({"coordinate_transformation_mode": "half_pixel", "axes": [-1]}, LARGER[3:], None),
]


@pytest.mark.parametrize(("given", "scales", "sizes"), RESIZED)
def test_maps_of_another_size(tmp_path: Path, given: Any, scales: Any, sizes: Any) -> None:
    """Bilinear to any size, by centres and by corners; written as it was read."""
    m = Model(1, 3, 5, 8)
    x = m.conv("x", 6, 3, 1)
    by = ["", "" if scales is None else m.c(scales)]
    m.add("Resize", x, *by, *([] if sizes is None else [m.c(sizes)]), mode="linear", **given)
    proto = m.proto(opset=18)
    x = np.random.default_rng(1).normal(size=m.shape)
    (want,) = answers(proto, x)
    network = imported(tmp_path / "m.onnx", proto)
    graph = network.workload.network
    got = golden_network.run(graph, x, network.weights)[graph.outputs[0]]
    assert got.shape == want.shape and np.abs(got - want).max() <= TOLERANCE * np.abs(want).max()
    again = onnx.load_model_from_string(export_onnx(network.workload, network.weights))
    options = runtime.SessionOptions()
    session = runtime.InferenceSession(
        again.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (theirs,) = session.run(None, {"x": x.astype(np.float32)})
    assert np.abs(theirs - want).max() <= TOLERANCE * np.abs(want).max()
    assert imported(tmp_path / "again.onnx", again).workload.layers == network.workload.layers


@pytest.mark.parametrize(
    ("given", "sizes", "why"),
    [
        ({"mode": "nearest"}, [1, 6, 7, 8], "a whole number of times as large"),
        ({"mode": "cubic"}, [1, 6, 7, 9], "mode cubic with half_pixel"),
        ({"mode": "linear", "antialias": 1}, [1, 6, 3, 9], "antialias of smaller maps"),
        ({"mode": "linear"}, [1, 5, 5, 8], "only the height and the width"),
        ({"mode": "linear", "axes": [2, 2]}, [5, 5], "each once"),
        ({"mode": "linear", "axes": [2, 3]}, [5], "for each of 2 axes"),
        (
            {"mode": "linear", "keep_aspect_ratio_policy": "not_larger"},
            [1, 6, 7, 7],
            "keep_aspect_ratio_policy not_larger",
        ),
    ],
)
def test_sizes_that_are_refused(tmp_path: Path, given: Any, sizes: list[int], why: str) -> None:
    m = Model(1, 3, 5, 8)
    m.add("Resize", m.conv("x", 6, 3, 1), "", "", m.c(np.array(sizes)), **given)
    assert why in refused(imported, tmp_path / "m.onnx", m.proto(opset=18))


def test_heads_that_share_a_matrix_there_and_back(tmp_path: Path) -> None:
    """6 heads on 2, and on none: ONNX has no such sharing, so what is written has axes for it; the
    layers are the same.
    """
    data = {
        "name": "shared",
        "input": {"q": [6, 3, 4], "k": [2, 5, 4], "v": [5, 7]},
        "graph": [
            {"name": "scores", "type": "matmul", "inputs": ["q", "k"], "transpose_b": True},
            {"name": "mixed", "type": "matmul", "inputs": ["scores", "v"]},
        ],
    }
    workload = Workload.model_validate(data)
    graph = workload.network
    assert graph is not None
    raw = export_onnx(workload)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    images = {k: x.astype(np.float32) for k, x in random_images(graph).items()}
    (theirs,) = session.run(None, images)
    want = golden_network.run(graph, images, {})["mixed"]
    assert theirs.shape == want.shape and np.abs(theirs - want).max() <= 1e-4 * np.abs(want).max()
    (tmp_path / "shared.onnx").write_bytes(raw)
    again = import_onnx(tmp_path / "shared.onnx").workload
    assert [x.problem() for x in again.layers] == [x.problem() for x in workload.layers]
    problems = [(p.G, p.M, p.C, p.F) for p in (x.problem() for x in workload.layers)]
    assert problems == [(2, 9, 4, 5), (1, 18, 5, 7)]
    assert export_onnx(again) == raw


def test_what_cannot_be_written() -> None:
    assert "only a graph can be written as ONNX" in refused(
        export_onnx, load_workload(Conv2d(M=1, C=1, H=3, W=3, R=1, S=1))
    )
    data = {
        "name": "n",
        "input": [2, 8, 8],
        "graph": [{"name": "c", "M": 1, "R": 1}, {"name": "s", "type": "stochastic_pool", "R": 2}],
    }
    assert "ONNX has no counterpart of s (stochastic_pool)" in refused(
        export_onnx, Workload.model_validate(data)
    )
    assert len(onnx.load_model_from_string(export_onnx(load_workload("lenet5"))).graph.input) == 11


def test_commands(tmp_path: Path) -> None:
    built = residual()
    (tmp_path / "r.onnx").write_bytes(built.proto().SerializeToString())
    accelsim(
        "import",
        tmp_path / "r.onnx",
        "--fold",
        "-o",
        tmp_path / "r.yaml",
        "--weights",
        tmp_path / "r.npz",
    )
    graph = load_workload(tmp_path / "r.yaml").network
    assert graph is not None
    with np.load(tmp_path / "r.npz") as arrays:
        assert set(arrays.files) == set(graph.all_parameters)
    accelsim(
        "export",
        tmp_path / "r.yaml",
        "-o",
        tmp_path / "again.onnx",
        "--weights",
        tmp_path / "r.npz",
    )
    x = np.random.default_rng(0).normal(size=(1, 4, 12, 12)).astype(np.float32)
    theirs = runtime.InferenceSession(
        str(tmp_path / "again.onnx"), providers=["CPUExecutionProvider"]
    ).run(None, {"x": x})[0]
    np.testing.assert_allclose(theirs, answers(built.proto(), x)[0], atol=1e-4)


# What is wrong ------------------------------------------------------------------------------------


def test_unsupported_nodes_are_all_named(tmp_path: Path) -> None:
    m = Model(1, 4, 8, 8)
    a = m.add("Acos", "x")
    b = m.add("Relu", m.add("Conv", "x", m.w(4, 4, 3, 3)))
    m.add("TopK", "x", m.c(np.array([2])), outputs=2)
    m.add("NonZero", a)
    m.add("Conv", b, m.add("Relu", "x"))
    model = m.proto(opset=18, outputs=["t2"])
    with pytest.raises(UnsupportedError) as caught:
        imported(tmp_path / "m.onnx", model)
    assert [n for n, _ in caught.value.nodes] == [
        "Acos_t1 (Acos, makes t1)",
        "TopK_t4 (TopK, makes t4, t5)",
        "NonZero_t6 (NonZero, makes t6)",
        "Conv_t8 (Conv, makes t8)",
    ]
    assert caught.value.nodes[3][1] == "weights must be a constant, not an activation"


def broken(change: Callable[[Any], None]) -> Any:
    model = residual().proto()
    change(model)
    return model


def _cycle(model: Any) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


def _huge(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def _external(model: Any) -> None:
    model.graph.initializer[0].data_location = 1


def _endless(model: Any) -> None:
    shape = onnx.numpy_helper.from_array(np.array([2**20, 2**20]), "huge")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, onnx.helper.make_node("ConstantOfShape", ["huge"], ["filled"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_cycle, "before any node makes it (a circle, or a wrong order)"),
        (_huge, "weights w0 "),
        (_external, "weights w0 lie in another file"),
        (_endless, "a constant may have at most"),
        (lambda m: m.graph.ClearField("node"), "has no nodes"),
        (
            lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].ClearField("value"),
            "must have known sizes besides the batch, got 1x?x12x12",
        ),
        (
            lambda m: m.graph.node[0].input.__setitem__(0, "nowhere"),
            "reads nowhere, which nothing makes",
        ),
        (
            lambda m: m.graph.output[0].__setattr__("name", "nothing"),
            "no node makes the output nothing",
        ),
        (lambda m: m.graph.node[1].output.__setitem__(0, "t1"), "makes t1 a second time"),
        (
            lambda m: m.graph.initializer[0].__setattr__("data_type", 99),
            "weights w0 cannot be read",
        ),
    ],
)
def test_broken_models(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    assert message in refused(imported, tmp_path / "m.onnx", broken(change))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    for raw in (b"", b"hello", os.urandom(5000), b"\x08" * 100_000):
        file.write_bytes(raw)
        assert "ONNX model" in refused(import_onnx, file)
    assert "no such file" in refused(import_onnx, tmp_path / "no.onnx")
    deep = b""
    for _ in range(
        3000
    ):  # a graph in an attribute of a node of a graph in an attribute of a node ...
        for field in (6, 5, 1):
            deep = bytes([field << 3 | 2, *_varint(len(deep))]) + deep
    file.write_bytes(bytes([7 << 3 | 2, *_varint(len(deep))]) + deep)
    assert "is not an ONNX model" in refused(import_onnx, file)


def _varint(n: int) -> list[int]:
    return [n] if n < 128 else [n & 127 | 128, *_varint(n >> 7)]
