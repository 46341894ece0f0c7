"""ONNX: what the file says of batch, weights and dimensions is kept or named; random models against
ONNX's own shape inference; everything that is exported is imported as it was.
"""

from __future__ import annotations

import importlib.util
import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_importers import accelsim, refused
from test_importers_kept import NETWORKS

from accelsim.base.yaml_writing import to_yaml
from accelsim.engines.golden import golden_network
from accelsim.importers.network_builder import UnsupportedError
from accelsim.importers.onnx_export import export_onnx
from accelsim.importers.onnx_import import import_onnx
from accelsim.workload.graph.weights import random_images, random_weights
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.profile import profile

onnx = pytest.importorskip("onnx")
ReferenceEvaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
FLOAT = 1


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def model(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: list[str],
    weights: dict[str, Any] | None = None,
    opset: int = 17,
) -> Any:
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def read(tmp_path: Path, proto: Any, **options: Any) -> Any:
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    return import_onnx(tmp_path / "m.onnx", **options)


def words(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


# Batch and dimensions -----------------------------------------------------------------------------


def test_the_batch_of_the_file_is_the_workloads(tmp_path: Path) -> None:
    """[64, 32] x [32, 16] was 512 MACs and is 32 768."""
    proto = model([node("MatMul", "x w", "y")], {"x": [64, 32]}, ["y"], {"w": words(32, 16)})
    workload = read(tmp_path, proto).workload
    assert workload.batch == 64 and workload.macs == profile(workload).total.macs == 32768
    assert profile(workload, batch=1).total.macs == 512
    (tmp_path / "w.yaml").write_text(to_yaml(workload))
    assert load_workload(tmp_path / "w.yaml") == workload
    out, _ = accelsim("profile", tmp_path / "m.onnx", "--total", "--format", "csv")
    assert ",32768," in out
    out, _ = accelsim("profile", tmp_path / "m.onnx", "--batch", 2, "--total", "--format", "csv")
    assert ",1024," in out


def test_inputs_have_one_batch(tmp_path: Path) -> None:
    nodes = [node("Add", "x y", "z"), node("MatMul", "z w", "o")]
    weights = {"w": words(4, 2)}
    said = refused(read, tmp_path, model(nodes, {"x": [8, 4], "y": [1, 4]}, ["o"], weights))
    assert "inputs must have one batch, their first dimension, got 8 (x) and 1 (y)" in said
    workload = read(tmp_path, model(nodes, {"x": ["n", 4], "y": [8, 4]}, ["o"], weights)).workload
    assert workload.batch == 8


def test_named_dimensions(tmp_path: Path) -> None:
    proto = model([node("MatMul", "x w", "y")], {"x": ["n", "seq", 8]}, ["y"], {"w": words(8, 2)})
    assert "got nxseqx8 (--dim seq=N says one)" in refused(read, tmp_path, proto)
    read_it = read(tmp_path, proto, dims={"seq": 5, "n": 3}).workload
    assert read_it.macs == 3 * 5 * 8 * 2
    assert "no input has a dimension of this name, got sek; nearest: seq" in refused(
        import_onnx, tmp_path / "m.onnx", False, {"seq": 2, "sek": 5}
    )
    file = tmp_path / "m.onnx"
    accelsim("import", file, "--dim", "seq=5", "-o", tmp_path / "w.yaml")
    assert load_workload(tmp_path / "w.yaml").macs == 80
    for text in ("seq", "seq=0", "=4", "seq=-1"):
        _, said = accelsim("import", file, "--dim", text, code=2)
        assert f"--dim wants NAME=N, got {text}" in said


def test_named_dimensions_are_parameters(tmp_path: Path) -> None:
    """Read at one size, the workload is the model at any other: shapes, layers and words."""
    nodes = [
        node("MatMul", "x w", "q"),
        *(node("Shape", "x", "sh"), node("Gather", "sh one", "sq", axis=0)),
        *(node("Concat", "zero sq two four", "rs", axis=0), node("Reshape", "q rs", "r")),
        *(node("Reshape", "r back", "q2"), node("Concat", "mem q2", "keys", axis=1)),
        *(node("Transpose", "keys", "kt", perm=[0, 2, 1]), node("MatMul", "x kt", "scores")),
    ]
    constants = {name: np.array([n]) for name, n in (("one", 1), ("zero", 0), ("two", 2))}
    constants |= {"four": np.array([4]), "back": np.array([0, 0, 8]), "w": words(8, 8)}
    proto = model(nodes, {"x": ["n", "seq", 8], "mem": ["n", "past", 8]}, ["scores"], constants)
    imported = read(tmp_path, proto, dims={"seq": 5, "past": 3, "n": 2})
    workload = imported.workload
    assert dict(workload.parameter_values) == {"seq": 5, "past": 3} and workload.batch == 2
    assert "dimensions" not in " ".join(imported.notes)
    (tmp_path / "w.yaml").write_text(to_yaml(workload))
    for seq, past in ((5, 3), (1, 9), (12, 2)):
        params = {"seq": seq, "past": past}
        graph = load_workload(tmp_path / "w.yaml", params).network
        want = import_onnx(tmp_path / "m.onnx", dims=params | {"n": 2}).workload.network
        assert graph is not None and want is not None
        assert graph.shapes == want.shapes and graph.shapes["scores"] == (seq, past + seq)
        assert [x for _, x in graph.layers] == [x for _, x in want.layers]
        images = {"x": words(2, seq, 8), "mem": words(2, past, 8)}
        got = golden_network.run(graph, images, imported.weights)["scores"]
        (told,) = ReferenceEvaluator(proto).run(None, images)
        np.testing.assert_allclose(got, told, rtol=1e-4, atol=1e-4)
    out, _ = accelsim(
        *("profile", tmp_path / "m.onnx", "--param", "seq=12", "--param", "past=2"),
        *("--total", "--format", "csv"),
    )
    assert f",{12 * 8 * 8 + 12 * 14 * 8}," in out


def test_a_dimension_that_is_no_shape_alone_stays_a_number(tmp_path: Path) -> None:
    nodes = [
        *(node("Shape", "x", "sh"), node("Gather", "sh one", "sq", axis=0)),
        *(node("Cast", "sq", "f", to=1), node("Div", "x f", "d"), node("MatMul", "d w", "y")),
    ]
    constants = {"one": np.array([1]), "w": words(8, 2)}
    proto = model(nodes, {"x": ["n", "seq", 8]}, ["y"], constants)
    imported = read(tmp_path, proto, dims={"seq": 4})
    assert not imported.workload.parameter_values and imported.workload.macs == 4 * 8 * 2
    assert "dimensions stay as given (seq): " in imported.notes[-1]


# Weights ------------------------------------------------------------------------------------------


def test_a_shared_weight_is_one(tmp_path: Path) -> None:
    """Two convolutions of one initializer were 162 parameters and are 81."""
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [node("Conv", "x w", "a", **pads), node("Conv", "a w", "y", **pads)]
    imported = read(tmp_path, model(nodes, {"x": [1, 3, 6, 6]}, ["y"], {"w": words(3, 3, 3, 3)}))
    assert profile(imported.workload).total.parameters == 81 and [*imported.weights] == ["a.weight"]
    graph, x = imported.workload.network, words(1, 3, 6, 6)
    got = golden_network.run(graph, x, imported.weights)["y"]
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(got, session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-4)
    raw = export_onnx(imported.workload, imported.weights)
    (tmp_path / "again.onnx").write_bytes(raw)
    again = import_onnx(tmp_path / "again.onnx")
    assert (
        again.workload.parameters == 81
        and len(onnx.load(tmp_path / "again.onnx").graph.initializer) == 1
    )


def test_a_constant_that_two_nodes_add_is_one(tmp_path: Path) -> None:
    nodes = [node("Add", "x p", "a"), node("Relu", "a", "b"), node("Mul", "b p", "c")]
    nodes.append(node("MatMul", "c w", "y"))
    weights = {"p": words(1, 5, 4), "w": words(4, 2)}
    imported = read(tmp_path, model(nodes, {"x": [1, 5, 4]}, ["y"], weights))
    assert profile(imported.workload).total.parameters == 20 + 8


def test_a_weight_that_is_turned_is_named(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w", "a", transB=1), node("Gemm", "a w", "y")]
    imported = read(tmp_path, model(nodes, {"x": [1, 4]}, ["y"], {"w": words(4, 4)}))
    assert imported.notes == ("y.weight is a.weight (w) laid out otherwise: counted twice",)


def test_weights_that_are_elsewhere(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w b", "a"), node("Gemm", "f v", "y", transB=1)]
    nodes.insert(1, node("Flatten", "a", "f"))
    weights = {"w": words(2, 3, 3, 3), "b": words(2), "v": words(5, 32)}
    proto = model(nodes, {"x": [1, 3, 6, 6]}, ["y"], weights)
    inside = read(tmp_path, proto)
    external = {"all_tensors_to_one_file": True, "location": "w.bin", "size_threshold": 0}
    onnx.save_model(proto, str(tmp_path / "m.onnx"), save_as_external_data=True, **external)
    beside = import_onnx(tmp_path / "m.onnx")
    assert beside.workload == inside.workload and not beside.notes
    for key, value in inside.weights.items():
        np.testing.assert_array_equal(beside.weights[key], value)
    (tmp_path / "w.bin").rename(tmp_path / "gone.bin")
    gone = import_onnx(tmp_path / "m.onnx")
    assert gone.workload == inside.workload and not gone.weights
    assert "the words of 3 arrays (w, b, v) are not there" in gone.notes[0]
    _, said = accelsim("import", tmp_path / "m.onnx", "--weights", tmp_path / "w.npz", code=2)
    assert "has no words for 3 arrays of weights" in said and not (tmp_path / "w.npz").exists()
    (tmp_path / "w.bin").write_bytes(b"short")
    assert "weights w should be 216 bytes from 0 on in w.bin, of 5" in refused(
        import_onnx, tmp_path / "m.onnx"
    )


@pytest.mark.parametrize("where", ["../secret.bin", "/etc/passwd", "link.bin", "."])
def test_weights_are_not_read_outside_the_folder(tmp_path: Path, where: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(400))
    (tmp_path / "in").mkdir()
    os.symlink("../secret.bin", tmp_path / "in" / "link.bin")
    proto = model([node("MatMul", "x w", "y")], {"x": [1, 4]}, ["y"], {"w": words(4, 2)})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value=where)
    assert "in another file, outside the model's folder" in refused(read, tmp_path / "in", proto)


def test_weights_that_were_stripped(tmp_path: Path) -> None:
    """Without its words, or as inputs: shapes are enough to count with."""
    weights = {"w": words(4, 3, 3, 3), "b": words(4), "g": words(4), "m": words(1, 4, 4, 4)}
    nodes = [node("Conv", "x w b", "a"), node("Mul", "a m", "c"), node("Add", "c m", "d")]
    nodes += [node("BatchNormalization", "d g g b g", "y")]
    whole = read(tmp_path, model(nodes, {"x": [1, 3, 6, 6]}, ["y"], weights)).workload
    empty = model(nodes, {"x": [1, 3, 6, 6]}, ["y"], weights)
    for tensor in empty.graph.initializer:
        tensor.ClearField("raw_data")
    bare = read(tmp_path, empty)
    assert bare.workload == whole and not bare.weights
    named = {name: list(v.shape) for name, v in weights.items() if name != "m"}
    shapes = {"x": [1, 3, 6, 6]} | named
    asked = read(tmp_path, model(nodes, shapes, ["y"], {"m": weights["m"]}))
    assert asked.workload == whole and [*asked.weights] == ["c_constant.value"]
    nodes = [node("Reshape", "x s", "y"), node("MatMul", "y w", "z")]
    proto = model(nodes, {"x": [1, 8]}, ["z"], {"s": np.array([1, 2, 4]), "w": words(4, 2)})
    proto.graph.initializer[0].ClearField("raw_data")
    assert "the shape must be known, and is not in the file" in refused(read, tmp_path, proto)


LIGHT = {"bvlc_alexnet": None, "vgg19": "vgg19", "resnet50": None, "densenet121": None}


@pytest.mark.parametrize("name", LIGHT)
def test_networks_of_the_onnx_package(tmp_path: Path, name: str) -> None:
    """Published networks without their words, as the package has them for its own tests: MACs and
    parameters are those of ours, or what ONNX's shapes and the initializers say.
    """
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    if not (folder / f"light_{name}.onnx").exists():
        pytest.skip("this onnx package has no light models")
    imported = import_onnx(folder / f"light_{name}.onnx").workload
    ours = LIGHT[name]
    if ours is not None:
        assert imported.macs == load_workload(ours).macs
        assert imported.parameters == load_workload(ours).parameters
        return
    # ConstantOfShape makes the weights of these, so their shapes are among the inferred.
    proto = onnx.shape_inference.infer_shapes(onnx.load(folder / f"light_{name}.onnx"))
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*proto.graph.value_info, *proto.graph.output)
    }
    shapes |= {t.name: list(t.dims) for t in proto.graph.initializer}
    macs = sum(
        prod(shapes[n.output[0]]) * prod(shapes[n.input[1]][1:])
        for n in proto.graph.node
        if n.op_type in ("Conv", "Gemm")
    )
    assert imported.macs == macs


@pytest.mark.parametrize("name", NETWORKS)
def test_export_is_a_fixed_point(tmp_path: Path, name: str) -> None:
    """Without weights: written, read and written again the same bytes, and the same profile."""
    workload = load_workload(name)
    raw = export_onnx(workload)
    (tmp_path / f"{name}.onnx").write_bytes(raw)
    again = import_onnx(tmp_path / f"{name}.onnx").workload
    assert export_onnx(again) == raw
    ours, theirs = profile(workload).total, profile(again).total
    for key in ("macs", "parameters", "operations"):
        assert getattr(ours, key) == getattr(theirs, key)


def test_shared_weights_and_a_batch_there_and_back(tmp_path: Path) -> None:
    data = {
        "name": "n",
        "batch": 3,
        "input": [4, 6, 6],
        "graph": [
            {"name": "a", "M": 4, "R": 3, "padding": 1, "bias": True},
            {"name": "b", "M": 4, "R": 3, "padding": 1, "bias": True, "share": {"weight": "a"}},
            {"name": "p", "type": "global_average_pool"},
            {"name": "f", "type": "flatten"},
            {"name": "d", "type": "dense", "M": 4, "bias": True},
            {"name": "l", "type": "linear", "M": 4, "share": {"weight": "d"}},
        ],
    }
    workload = Workload.model_validate(data)
    graph = workload.network
    assert graph is not None
    weights, images = random_weights(graph), random_images(graph, 3)
    for given in (weights, None):
        (tmp_path / "n.onnx").write_bytes(export_onnx(workload, given))
        again = import_onnx(tmp_path / "n.onnx")
        assert again.workload.batch == 3 and again.workload.macs == workload.macs
        assert again.workload.parameters == workload.parameters
        if given:
            other = again.workload.network
            assert other is not None
            want = golden_network.run(graph, images, weights)["l"]
            got = golden_network.run(other, images, again.weights)[other.outputs[0]]
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


# Nodes --------------------------------------------------------------------------------------------


def test_maps_of_one_dimension(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    nodes = [
        node("Conv", "x w b", "a", pads=[1, 2], strides=[2], dilations=[2]),
        node("Relu", "a", "r"),
        node("Conv", "r d", "c", group=4),
        node("MaxPool", "c", "p", kernel_shape=[3], strides=[1], pads=[1, 1]),
        node("AveragePool", "p", "q", kernel_shape=[2]),
        node("ConvTranspose", "q t", "u", strides=[2], output_padding=[1]),
        node("GlobalAveragePool", "u", "y"),
    ]
    weights = {"w": words(4, 3, 3), "b": words(4), "d": words(4, 1, 2), "t": words(4, 2, 3)}
    imported = read(tmp_path, model(nodes, {"x": [2, 3, 30]}, ["y"], weights))
    x = words(2, 3, 30)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    graph = imported.workload.network
    got = golden_network.run(graph, x, imported.weights)[graph.outputs[0]]
    np.testing.assert_allclose(got, session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)
    assert imported.workload.layers[0].problem().macs == 2 * 4 * 3 * 3 * 15


def test_a_second_output_is_no_circle(tmp_path: Path) -> None:
    nodes = [node("Dropout", "x", "d mask"), node("Mul", "d mask", "m"), node("MatMul", "m w", "y")]
    with pytest.raises(UnsupportedError) as caught:
        read(tmp_path, model(nodes, {"x": [1, 4]}, ["y"], {"w": words(4, 2)}))
    assert caught.value.nodes == (
        (
            "m (Mul, makes m)",
            "mask, what d (Dropout) makes besides its first output, cannot be imported",
        ),
    )


def test_nodes_left_out(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Acos", "a", "b"),
        node("Conv", "b w", "c", pads=[1, 1, 1, 1]),
        node("TopK", "c k", "v i"),
        node("Relu", "v", "z"),
    ]
    proto = model(
        nodes, {"x": [1, 3, 6, 6]}, ["c", "z"], {"w": words(3, 3, 3, 3), "k": np.array([2])}
    )
    proto.opset_import[0].version = 18
    imported = read(tmp_path, proto, skip={"Acos", "TopK"})
    assert [n.name for n in imported.workload.network.nodes] == ["a", "c"]
    assert imported.notes == (
        "b (Acos, makes b) skipped: what it reads goes on in its place, its work is not in the"
        " result",
        "v (TopK, makes v, i) skipped: what it makes, and 1 nodes that read it, is not in the"
        " result",
    )
    _, said = accelsim("import", tmp_path / "m.onnx", code=2)
    assert "b (Acos, makes b): there is no operator for it" in said
    assert "import --skip Acos --skip TopK leaves every such node out" in said.splitlines()[0]
    _, said = accelsim("run", tmp_path / "m.onnx", "--arch", "systolic", "--dataflow", "ws", code=2)
    assert "b (Acos, makes b): there is no operator for it" in said
    accelsim("import", tmp_path / "m.onnx", "--skip", "Acos", "--skip", "TopK")


def test_a_model_runs_as_it_is_imported(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "y")]
    proto = model(nodes, {"x": [2, 3, 6, 6]}, ["y"], {"w": words(4, 3, 3, 3)})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    chip = ("--arch", "systolic", "--dataflow", "ws", "--format", "csv")
    out, _ = accelsim("run", tmp_path / "m.onnx", *chip)
    accelsim("import", tmp_path / "m.onnx", "-o", tmp_path / "m.yaml")
    assert accelsim("run", tmp_path / "m.yaml", *chip)[0] == out
    whole = (*chip, "--end-to-end", "--check")
    accelsim("import", tmp_path / "m.onnx", "--weights", tmp_path / "w.npz")
    given = accelsim("run", tmp_path / "m.yaml", *whole, "--weights", tmp_path / "w.npz")[0]
    assert accelsim("run", tmp_path / "m.onnx", *whole)[0] == given


def test_every_operator_of_the_newest_opset_is_told() -> None:
    """docs/onnx_operators.md is what the script makes of the importer's tables, for the opset it
    was made of; with another onnx package, in each row that both have.
    """
    path = Path(__file__).parents[1] / "docs" / "onnx_operators.py"
    spec = importlib.util.spec_from_file_location("onnx_operators_page", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made, written = script.page(), script.PAGE.read_text()
    known = {x.name for x in onnx.defs.get_all_schemas() if x.domain == "" and not x.deprecated}
    rows = [
        {line.split(" | ")[0]: line.split(" | ")[2:] for line in text.split("\n| ")}
        for text in (made, written)
    ]
    assert known <= rows[0].keys()
    assert all(rows[1].get(name, told) == told for name, told in rows[0].items() if name in known)
    if f"opset {onnx.defs.onnx_opset_version()} " in written:
        assert made == written
    # Nothing is said of an operator that there is not, or refused that there is.
    told = {*script.REMARKS, *script.REFUSED}
    newest = onnx.defs.onnx_opset_version() >= 28
    every = {x.name for x in onnx.defs.get_all_schemas() if x.domain == ""}
    assert not newest or told <= every, told - every
    assert not {*script.REFUSED} & {*script.CONVERT, *script.COMPOSED, *script.FOLDED}


@pytest.mark.parametrize(
    ("operator", "why"),
    [("NonZero", ": its shape depends on words"), ("Shrink", ""), ("STFT", ": signals")],
)
def test_refusals_say_why(tmp_path: Path, operator: str, why: str) -> None:
    nodes = [node("Conv", "x w", "a"), node(operator, "a", "y")]
    proto = model(nodes, {"x": [1, 3, 6, 6]}, ["y"], {"w": words(4, 3, 3, 3)})
    said = refused(read, tmp_path, proto)
    assert f"y ({operator}, makes y): there is no operator for it{why}; import --skip" in said


# Random models ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_models_as_onnx_infers_them(tmp_path: Path, seed: int) -> None:
    """Shapes of every convolution and product as ONNX's own inference has them, MACs and words of
    weights from those; initializers that are used twice counted once.
    """
    rng = np.random.default_rng(seed)
    flat, batch = bool(rng.random() < 0.3), int(rng.integers(1, 4))
    sides = [int(n) for n in rng.integers(8, 20, 1 if flat else 2)]
    channels, nodes, weights, last = int(rng.integers(1, 5)), [], {}, "x"
    shape = [batch, channels, *sides]
    sides = sides.copy()
    for i in range(int(rng.integers(1, 6))):
        taps = [int(n) for n in rng.integers(1, 4, len(sides))]
        if min(sides) < 4:
            break
        groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        name = f"t{i}"
        match int(rng.integers(4)):
            case 0 | 1:
                m = groups * int(rng.integers(1, 4))
                size = (m, channels // groups, *taps)
                same = [k for k, v in weights.items() if v.shape == size]
                key = same[0] if same and rng.random() < 0.7 else f"w{i}"
                weights.setdefault(key, words(*size))
                pads = [int(n) for n in rng.integers(0, 2, 2 * len(sides))]
                strides = [int(n) for n in rng.integers(1, 3, len(sides))]
                nodes.append(
                    node("Conv", f"{last} {key}", name, group=groups, pads=pads, strides=strides)
                )
                ends = zip(sides, pads, pads[len(sides) :], taps, strides, strict=False)
                sides = [(n + a + b - r) // u + 1 for n, a, b, r, u in ends]
                channels = m
            case 2:
                nodes.append(node("Relu", last, name))
            case _:
                nodes.append(node("MaxPool", last, name, kernel_shape=[2] * len(sides)))
                sides = [n - 1 for n in sides]
        last = name
    nodes += [node("Flatten", last, "flat"), node("Gemm", "flat g", "y", transB=1)]
    proto = model(nodes, {"x": shape}, ["y"], weights)
    told = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in onnx.shape_inference.infer_shapes(proto).graph.value_info
    }
    weights["g"] = words(5, told["flat"][1])
    proto = model(nodes, {"x": shape}, ["y"], weights)
    workload = read(tmp_path, proto).workload
    macs = sum(
        prod(told[n.output[0]]) * prod(weights[n.input[1]].shape[1:])
        for n in nodes
        if n.op_type == "Conv"
    )
    assert workload.macs == macs + batch * weights["g"].size
    used = {n.input[1] for n in nodes if n.op_type in ("Conv", "Gemm")}
    assert profile(workload).total.parameters == sum(weights[name].size for name in used)


def test_inputs_that_are_no_tensors(tmp_path: Path) -> None:
    """A state that is only passed on is left out and named; what the array needs is refused."""
    nodes = [node("MatMul", "x w", "y"), node("Identity", "state", "next")]
    proto = model(nodes, {"x": [1, 4], "state": [1]}, ["y", "next"], {"w": words(4, 2)})
    imported = read(tmp_path, proto)
    assert imported.workload.macs == 8 and imported.workload.network.outputs == ("y",)
    assert imported.notes == (
        "input state of 1 axes left out: it, and 1 nodes that read it, is not in the result",
    )
    nodes = [node("Mul", "x state", "m"), node("MatMul", "m w", "y")]
    proto = model(nodes, {"x": [1, 4], "state": [1]}, ["y"], {"w": words(4, 2)})
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_param = "n"
    assert "it depends on input state of 1 axes" in refused(read, tmp_path, proto)
