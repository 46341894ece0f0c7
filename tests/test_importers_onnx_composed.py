"""Operators of ONNX that are several of ours, against ONNX's own reference evaluator; attention
with grouped heads; quantized models of onnxruntime's quantizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_importers import refused
from test_importers_onnx_kept import model, node, read, words

from accelsim.base.yaml_writing import to_yaml
from accelsim.engines.golden import golden_network
from accelsim.importers.onnx_export import export_onnx
from accelsim.importers.onnx_import import import_onnx
from accelsim.workload.network import load_workload
from accelsim.workload.profile import profile

onnx = pytest.importorskip("onnx")
ReferenceEvaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
LAST = node("Conv", "x one", "last")  # a network must have something for the array


def compared(
    tmp_path: Path, nodes: list[Any], shapes: dict[str, Any], consts: dict[str, Any], opset: int
) -> Any:
    """The imported network's output beside the reference's; the workload."""
    out = nodes[-1].output[0]
    first, shape = next(iter(shapes.items()))
    last = node("Reshape", f"{first} flat", "row"), node("MatMul", "row one", "last")
    size = int(np.prod(shape[1:]))
    consts = consts | {"flat": np.array([shape[0], size]), "one": np.ones((size, 1), np.float32)}
    proto = model([*last, *nodes], shapes, [out], consts, opset)
    imported = read(tmp_path, proto)
    graph = imported.workload.network
    rng = np.random.default_rng(1)
    xs = {name: rng.normal(size=size).astype(np.float32) for name, size in shapes.items()}
    got = golden_network.run(graph, xs, imported.weights)
    (tmp_path / "w.yaml").write_text(to_yaml(imported.workload))
    assert load_workload(tmp_path / "w.yaml") == imported.workload
    if opset > onnx.defs.onnx_opset_version():  # files are read without onnx's list of operators
        pytest.skip(f"read and run; onnx {onnx.__version__} has no reference of opset {opset}")
    want = ReferenceEvaluator(proto).run([out], xs)[0]
    np.testing.assert_allclose(got[graph.outputs[-1]], want, rtol=2e-4, atol=2e-5)
    return imported


MASK = np.array([[[True, False, True, True, False]]])
X = [2, 4, 6, 5]
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], int]] = {
    "PRelu": ("x a", {}, {"a": words(4, 1, 1)}, 17),
    "Selu": ("x", {}, {}, 17),
    "Celu": ("x", {"alpha": 1.5}, {}, 17),
    "Mish": ("x", {}, {}, 18),
    "Softsign": ("x", {}, {}, 17),
    "LogSoftmax": ("x", {"axis": 1}, {}, 17),
    "Max": ("x a", {}, {"a": words(4, 6, 5)}, 17),
    "Min": ("x a b", {}, {"a": words(4, 6, 5), "b": words(5)}, 17),
    "Max of one": ("x a", {}, {"a": np.float32(0.25)}, 17),
    "Mean": ("x a", {}, {"a": words(4, 6, 5)}, 17),
    "ReduceL1": ("x", {"axes": [1, 3]}, {}, 17),
    "ReduceL2": ("x", {"axes": [-1], "keepdims": 0}, {}, 17),
    "ReduceSumSquare": ("x", {"axes": [2]}, {}, 17),
    "ReduceLogSumExp": ("x", {"axes": [2]}, {}, 17),
    "Tile": ("x a", {}, {"a": np.array([1, 2, 1, 3])}, 17),
    "Expand": ("r a", {}, {"a": np.array([2, 4, 6, 5])}, 17),
    "Where": ("a x b", {}, {"a": MASK, "b": np.float32(-3)}, 17),
    "Where of two": ("a b x", {}, {"a": MASK, "b": words(6, 5)}, 17),
    "Gather": ("x a", {"axis": 2}, {"a": np.array([[0, 4], [3, -1]])}, 17),
    "Gather in steps": ("x a", {"axis": 3}, {"a": np.array([0, 2, 4])}, 17),
    "Gather one": ("x a", {"axis": 1}, {"a": np.array(2)}, 17),
    "DepthToSpace": ("x", {"blocksize": 2}, {}, 17),
    "DepthToSpace CRD": ("x", {"blocksize": 2, "mode": "CRD"}, {}, 17),
    "RMSNormalization": ("x a", {"axis": 2, "epsilon": 1e-3}, {"a": words(6, 5)}, 23),
    "Swish": ("x", {"alpha": 1.5}, {}, 24),
}


@pytest.mark.parametrize("name", CASES)
def test_composed(tmp_path: Path, name: str) -> None:
    inputs, attributes, consts, opset = CASES[name]
    nodes = [node(name.split()[0], inputs, "y", **attributes)]
    if "r" in inputs.split():
        consts, axes = consts | {"s": np.array([3])}, node("ReduceSum", "x s", "r")
        nodes.insert(0, axes)
    compared(tmp_path, nodes, {"x": X}, consts, opset)


def test_space_to_depth(tmp_path: Path) -> None:
    compared(tmp_path, [node("SpaceToDepth", "x", "y", blocksize=2)], {"x": [1, 3, 6, 4]}, {}, 17)


@pytest.mark.parametrize("kv", [4, 2, 1])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("masked", ["", "causal", "mask"])
def test_attention(tmp_path: Path, kv: int, flat: bool, masked: str) -> None:
    """Grouped queries: the products are those of all heads of the queries."""
    heads, rows, columns, width = 4, 3, 3 if masked == "causal" else 5, 2
    form = (lambda h, n: [2, n, h * width]) if flat else (lambda h, n: [2, h, n, width])
    shapes = {"q": form(heads, rows), "k": form(kv, columns), "v": form(kv, columns)}
    attributes = {"q_num_heads": heads, "kv_num_heads": kv} if flat else {}
    attributes |= {"is_causal": 1} if masked == "causal" else {}
    consts = {"m": words(rows, columns)} if masked == "mask" else {}
    nodes = [node("Attention", "q k v" + " m" * (masked == "mask"), "y", **attributes)]
    imported = compared(tmp_path, nodes, shapes, consts, 23)
    macs = 2 * 2 * heads * rows * columns * width
    assert imported.workload.macs == macs + 2 * int(np.prod(shapes["q"][1:]))


def test_attention_with_a_past(tmp_path: Path) -> None:
    shapes = {"q": [1, 4, 1, 2], "k": [1, 2, 1, 2], "v": [1, 2, 1, 2]}
    shapes |= {"pk": [1, 2, 6, 2], "pv": [1, 2, 6, 2]}
    nodes = [node("Attention", "q k v  pk pv".replace("  ", " none "), "y newk newv")]
    nodes[0].input[3] = ""
    imported = compared(tmp_path, nodes, shapes, {}, 23)
    assert imported.workload.macs == 2 * 4 * 7 * 2 + 8


def test_a_language_model(tmp_path: Path) -> None:
    """Token and position tables, the first tied to the last product: it counts once, turned."""
    nodes = [
        node("Gather", "e tokens", "t"),
        node("Add", "t p", "x"),
        node("Transpose", "e", "et", perm=[1, 0]),
        node("MatMul", "x et", "y"),
    ]
    proto = model(nodes, {"tokens": [2, "seq"]}, ["y"], {"e": words(50, 8), "p": words(6, 8)})
    proto.graph.input[0].type.tensor_type.elem_type = 7
    imported = read(tmp_path, proto, dims={"seq": 6})
    assert imported.workload.macs == 2 * 6 * 8 * 50
    assert profile(imported.workload).total.parameters == 50 * 8 + 6 * 8
    tokens = np.random.default_rng(0).integers(0, 50, (2, 6))
    want = ReferenceEvaluator(proto).run(None, {"tokens": tokens})[0]
    got = golden_network.run(imported.workload.network, tokens.astype(float), imported.weights)
    np.testing.assert_allclose(got["y"], want, rtol=1e-4, atol=1e-5)
    (tmp_path / "again.onnx").write_bytes(export_onnx(imported.workload, imported.weights))
    again = import_onnx(tmp_path / "again.onnx")
    assert profile(again.workload).total.parameters == 448
    assert again.workload.macs == imported.workload.macs


def test_refusals(tmp_path: Path) -> None:
    shapes = {"q": [1, 4, 1, 2], "k": [1, 3, 1, 2], "v": [1, 3, 1, 2]}
    proto = model([node("Attention", "q k v", "y")], shapes, ["y"], {}, 23)
    assert "3 heads of keys must divide 4 heads of queries" in refused(read, tmp_path, proto)
    proto = model(
        [node("MatMul", "q k", "y")], {"q": [1, 4, 1, 2], "k": [1, 2, 2, 3]}, ["y"], {}, 23
    )
    assert "axes before the last two must agree or be 1" in refused(read, tmp_path, proto)
    proto = model([node("Tile", "x r", "y")], {"x": [2, 3]}, ["y"], {"r": np.array([2, 1])})
    assert "1 for the batch" in refused(read, tmp_path, proto)
