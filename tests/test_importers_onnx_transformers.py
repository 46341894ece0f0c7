"""Operators of language models against ONNX's reference evaluator, and those of onnxruntime's own
domain against onnxruntime.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_importers import refused
from test_importers_onnx_composed import compared
from test_importers_onnx_kept import FLOAT, model, node, read, words
from test_quantized_models import hold_changed

from accelsim.engines.golden import golden_network
from accelsim.workload.profile import profile

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")
onnxruntime.set_default_logger_severity(4)


def angles(rows: int, width: int) -> dict[str, Any]:
    angle = np.arange(rows)[:, None] * 0.3 ** np.arange(width)[None, :]
    return {"cos": np.cos(angle).astype(np.float32), "sin": np.sin(angle).astype(np.float32)}


# The form, whether pairs lie side by side, how many features are turned (0: all).
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("pairs", [0, 1])
@pytest.mark.parametrize("turned", [0, 4])
@pytest.mark.parametrize("places", [True, False])
def test_rotary(tmp_path: Path, flat: bool, pairs: int, turned: int, places: bool) -> None:
    heads, tokens, width = 3, 5, 6
    shape = [2, tokens, heads * width] if flat else [2, heads, tokens, width]
    tables = angles(9, (turned or width) // 2)
    consts = dict(tables)
    if places:
        consts["p"] = np.array([[4, 0, 8, 1, 2]] * 2)
    else:
        consts = {name: np.stack([table[:tokens]] * 2) for name, table in tables.items()}
    attributes = {"interleaved": pairs, "rotary_embedding_dim": turned}
    attributes |= {"num_heads": heads} if flat else {}
    nodes = [node("RotaryEmbedding", "x cos sin" + " p" * places, "y", **attributes)]
    imported = compared(tmp_path, nodes, {"x": shape}, consts, 23)
    assert imported.workload.macs == 2 * tokens * heads * width  # of the layer beside it


def run(proto: Any, feeds: dict[str, Any]) -> list[Any]:
    cpu = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=cpu)
    return list(session.run(None, feeds))


def theirs(
    nodes: list[Any], inputs: dict[str, list[int]], outputs: list[str], consts: dict[str, Any]
) -> Any:
    """A model with operators of onnxruntime's domain."""
    proto = model(nodes, inputs, outputs, consts)
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    for one in proto.graph.node:
        if one.op_type not in ("MatMul", "Gather", "SimplifiedLayerNormalization"):
            one.domain = "com.microsoft"
    for value in proto.graph.output:
        value.type.tensor_type.elem_type = FLOAT
    return proto


def held(tmp_path: Path, proto: Any, shapes: dict[str, list[int]], rtol: float = 2e-4) -> Any:
    """The imported model, whose outputs are onnxruntime's."""
    rng = np.random.default_rng(1)
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    imported = read(tmp_path, proto)
    graph = imported.workload.network
    got = golden_network.run(graph, feeds, imported.weights)
    known = {v.name for v in proto.graph.input}
    lengths = {"lengths": np.array([7], np.int32), "total": np.array(8, np.int32)}
    results = run(proto, feeds | {k: v for k, v in lengths.items() if k in known})
    for output, want in zip(graph.outputs, results, strict=True):
        np.testing.assert_allclose(got[output], want, rtol=rtol, atol=1e-5)
    return imported


@pytest.mark.parametrize("rotary", [0, 1])
@pytest.mark.parametrize("packed", [True, False])
def test_grouped_query_attention(tmp_path: Path, rotary: int, packed: bool) -> None:
    """Three tokens behind five, four heads over two, features turned or not; MACs by the formula,
    the lengths of sequences no tensors.
    """
    heads, shared, width, new, past = 4, 2, 16, 3, 5
    shapes = {"q": [1, new, heads * width]}
    if packed:
        shapes = {"q": [1, new, (heads + 2 * shared) * width]}
    else:
        shapes |= {"k": [1, new, shared * width], "v": [1, new, shared * width]}
    cache = {"pk": [1, shared, past, width], "pv": [1, shared, past, width]}
    names = ["q", "", ""] if packed else ["q", "k", "v"]
    names += ["pk", "pv", "lengths", "total", *(["cos", "sin"] if rotary else [])]
    attention = node("GroupQueryAttention", "", "mixed nk nv", num_heads=heads)
    attention.attribute.extend(
        [
            onnx.helper.make_attribute("kv_num_heads", shared),
            onnx.helper.make_attribute("do_rotary", rotary),
        ]
    )
    attention.input.extend(names)
    consts = {"w": words(heads * width, 4)} | (angles(16, width // 2) if rotary else {})
    outputs = ["y", "nk", "nv"]
    proto = theirs([attention, node("MatMul", "mixed w", "y")], shapes | cache, outputs, consts)
    value = onnx.helper.make_tensor_value_info
    proto.graph.input.extend([value("lengths", 6, [1]), value("total", 6, [])])
    imported = held(tmp_path, proto, shapes | cache)
    products = 2 * heads * new * (past + new) * width
    assert imported.workload.macs == products + new * heads * width * 4


@pytest.mark.parametrize("kind", ["SkipSimplifiedLayerNormalization", "SkipLayerNormalization"])
def test_normalized_sums(tmp_path: Path, kind: str) -> None:
    simple = kind == "SkipSimplifiedLayerNormalization"
    consts = {"g": words(6), "b": words(6) / 2, "w": words(6, 3)}
    one = node(kind, "x s g" if simple else "x s g b", "n none none sum", epsilon=1e-3)
    one.output[1] = one.output[2] = ""
    proto = theirs(
        [one, node("MatMul", "n w", "y")], {"x": [2, 4, 6], "s": [2, 4, 6]}, ["y", "sum"], consts
    )
    imported = held(tmp_path, proto, {"x": [2, 4, 6], "s": [2, 4, 6]})
    assert imported.workload.macs == 2 * 4 * 6 * 3


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [True, False])
def test_weights_of_few_bits(tmp_path: Path, bits: int, zeros: bool) -> None:
    k, n, size = 40, 3, 16
    blocks, rng = 3, np.random.default_rng(0)
    whole = rng.integers(0, 256, (n, blocks, size * bits // 8)).astype(np.uint8)
    consts = {"w": whole, "s": rng.uniform(0.01, 0.1, n * blocks).astype(np.float32)}
    if zeros:
        wide = -(-blocks * bits // 8)
        consts["z"] = rng.integers(0, 256, n * wide).astype(np.uint8)
    one = node("MatMulNBits", "x w s" + " z" * zeros, "y", K=k, N=n, bits=bits, block_size=size)
    proto = theirs([one], {"x": [2, 5, k]}, ["y"], consts)
    imported = held(tmp_path, proto, {"x": [2, 5, k]}, rtol=1e-3)
    assert imported.workload.macs == 2 * 5 * k * n
    assert profile(imported.workload).total.parameters == k * n


def test_what_cannot_be(tmp_path: Path) -> None:
    shapes = {"q": [1, 3, 16], "k": [1, 3, 8], "v": [1, 3, 8]}
    one = node("GroupQueryAttention", "q k v", "y", num_heads=2, kv_num_heads=1, softcap=2.0)
    assert "softcap" in refused(read, tmp_path, theirs([one], shapes, ["y"], {}))
    one = node("GroupQueryAttention", "q k v", "y", num_heads=2)
    assert "kv_num_heads must be given" in refused(read, tmp_path, theirs([one], shapes, ["y"], {}))
    tables = angles(9, 4)
    one = node("RotaryEmbedding", "q cos sin", "y", num_heads=4)
    told = refused(read, tmp_path, model([one], {"q": [1, 3, 16]}, ["y"], tables, 23))
    assert "places of tokens must be" in told or "too wide" in told


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_changed_models_are_one_line(tmp_path: Path) -> None:
    shapes = {"q": [1, 3, 32], "k": [1, 3, 16], "v": [1, 3, 16]}
    attention = node("GroupQueryAttention", "q k v", "a", num_heads=4, kv_num_heads=2)
    consts = {"g": words(32), "w": words(32, 4), "s": words(12), "d": words(32, 16)} | angles(9, 4)
    consts["b"] = np.arange(96).reshape(12, 1, 8).astype(np.uint8)
    nodes = [
        attention,
        node("RotaryEmbedding", "a p cos sin", "t", num_heads=4),
        node("SkipSimplifiedLayerNormalization", "t q g", "n"),
        node("MatMul", "n w", "m"),
        node("MatMul", "n d", "h"),
        node("MatMulNBits", "h b s", "y", K=16, N=12, bits=4, block_size=16),
    ]
    consts["p"] = np.array([0])
    proto = theirs(nodes, shapes, ["y", "m"], consts)
    hold_changed(tmp_path, [proto], 0, 150)
