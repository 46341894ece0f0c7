"""Quantized models, as onnxruntime's quantizer writes them, against onnxruntime: every tensor of
words is equal.

What the session has for a tensor is what it computes with integer kernels, the default on x86 for
unsigned words and asked for here for signed ones.  Weights have seven bits, as machines without
VNNI saturate sums of pairs otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_importers import accelsim as shell
from test_importers_onnx_kept import model, node

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.engines.golden import golden_network
from accelsim.importers.network_builder import clean
from accelsim.importers.onnx_import import import_onnx
from accelsim.workload.arithmetic import Number
from accelsim.workload.profile import profile
from accelsim.workload.stated_network import has_scales, stated_network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
quantization = pytest.importorskip("onnxruntime.quantization")
onnxruntime.set_default_logger_severity(4)
FORMS = [
    (form, per_channel, kind, symmetric)
    for form in ("QDQ", "QOperator")
    for per_channel in (False, True)
    for kind, symmetric in (("QInt8", False), ("QInt8", True), ("QUInt8", False))
]
FORM_NAMES = ["-".join(str(part) for part in form) for form in FORMS]


def drawn(rng: Any, *shape: int) -> Any:
    """Weights that keep activations at their size."""
    size = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
    return (rng.normal(size=shape) * size).astype(np.float32)


def named(nodes: list[Any]) -> None:
    """The quantizer keeps biases apart by the names of nodes."""
    for one in nodes:
        one.name = f"{one.output[0]}_node"


def convolutions() -> tuple[Any, list[int]]:
    """A network with what the quantizer knows of such networks: groups, padding on some sides,
    sums, products, pools, concatenation, tables, a shared bias.
    """
    rng = np.random.default_rng(5)
    nodes = [
        node("Conv", "x w1 b8", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "r"),
        node("Conv", "r w2 c8", "c", pads=[1, 1, 1, 1], group=4),
        node("Conv", "c w3 c8", "d"),
        node("Add", "r d", "s"),
        node("Relu", "s", "t"),
        node("MaxPool", "t", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "t", "o", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0]),
        node("Concat", "p o", "k", axis=1),
        node("Sigmoid", "k", "g"),
        node("Mul", "k g", "m"),
        node("Conv", "m w4 b8", "e", strides=[2, 2], pads=[0, 1, 1, 0]),
        node("LeakyRelu", "e", "l", alpha=0.1),
        node("GlobalAveragePool", "l", "v"),
        node("Flatten", "v", "f"),
        node("Gemm", "f w5 b6", "y", transB=1),
        node("MatMul", "y w6", "z"),
        node("Add", "z b5", "last"),
    ]
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 2, 3, 3), "w3": (8, 8, 1, 1), "w4": (8, 16, 3, 3)}
    shapes |= {"w5": (6, 8), "w6": (6, 5), "b8": (8,), "c8": (8,), "b6": (6,), "b5": (5,)}
    consts = {name: drawn(rng, *shape) for name, shape in shapes.items()}
    named(nodes)
    return model(nodes, {"x": ["n", 3, 10, 10]}, ["last"], consts), [3, 10, 10]


def attention() -> tuple[Any, list[int]]:
    """Products of two activations, softmax, a residual sum."""
    rng = np.random.default_rng(6)
    nodes = [
        *(node("MatMul", f"x w{name}", name) for name in "qkv"),
        node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "q kt", "scores"),
        node("Softmax", "scores", "shares", axis=-1),
        node("MatMul", "shares v", "mixed"),
        node("Add", "mixed x", "sum"),
        node("MatMul", "sum wo", "y"),
        node("Add", "y bo", "last"),
    ]
    named(nodes)
    consts = {f"w{name}": drawn(rng, 8, 8) for name in "qkvo"} | {"bo": drawn(rng, 8)}
    return model(nodes, {"x": ["n", 6, 8]}, ["last"], consts), [6, 8]


def quantized(folder: Path, proto: Any, shape: list[int], form: Any) -> Path:
    """The model as onnxruntime's quantizer writes it."""
    style, per_channel, kind, symmetric = form

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(1)
            self.left = [{"x": rng.normal(size=(4, *shape)).astype(np.float32)}]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    (folder / "f.onnx").write_bytes(proto.SerializeToString())
    quantization.quantize_static(
        str(folder / "f.onnx"),
        str(folder / "q.onnx"),
        Images(),
        quant_format=getattr(quantization.QuantFormat, style),
        per_channel=per_channel,
        reduce_range=True,
        activation_type=getattr(quantization.QuantType, kind),
        weight_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": symmetric},
    )
    return folder / "q.onnx"


def theirs(path: Path, x: Any) -> dict[str, Any]:
    """Every tensor of words in onnxruntime, by our name for it, its words signed."""
    proto = onnx.load(path)
    made = [
        n for n in proto.graph.node if n.op_type.startswith(("QuantizeLinear", "QLinear", "QG"))
    ]
    for one in made:
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(one.output[0]))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.intra_op_num_threads = 1
    cpu = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=cpu)
    results = session.run([one.output[0] for one in made], {"x": x})
    # A quantizer's tensor goes by the name of what it reads, unless a rectifier has its own.
    names = [(clean(one.output[0]), clean(one.input[0])) for one in made]
    return {
        name: (of, words.astype(int) - (128 if words.dtype == np.uint8 else 0))
        for (name, of), words in zip(names, results, strict=True)
    }


def compared(path: Path, shape: list[int], batch: int = 3) -> tuple[Any, dict[str, Any], int]:
    """The imported model, our tensors, and of how many onnxruntime's were equal."""
    imported = import_onnx(path)
    assert has_scales(imported.weights), imported.notes
    assert "kept beside the weights" in imported.notes[-1]
    network = stated_network(imported.workload.network, imported.weights, Number(32))
    x = np.random.default_rng(2).normal(size=(batch, *shape)).astype(np.float32)
    ours, equal = golden_network.run_network(network, x), 0
    for name, (of, words) in theirs(path, x).items():
        mine = ours.get(name, ours.get(of))
        if mine is None:  # a flatten that is part of the layer behind it
            continue
        np.testing.assert_array_equal(mine.reshape(words.shape), words, err_msg=name)
        equal += 1
    return imported, ours, equal


@pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
def test_every_tensor_is_onnxruntimes(tmp_path: Path, form: Any) -> None:
    proto, shape = convolutions()
    path = quantized(tmp_path, proto, shape, form)
    imported, _, equal = compared(path, shape)
    assert equal >= 14
    before = import_onnx(tmp_path / "f.onnx")
    # A bias that is added to words is a sum of its own.
    layers, others = (
        [replace(x.problem(), bias=False) for x in one.workload.layers]
        for one in (imported, before)
    )
    assert layers == others
    assert profile(imported.workload).total.macs == profile(before.workload).total.macs


@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_attention_in_words(tmp_path: Path, kind: str) -> None:
    proto, shape = attention()
    for style in ("QDQ", "QOperator"):
        path = quantized(tmp_path, proto, shape, (style, True, kind, False))
        assert compared(path, shape)[2] >= 10


@pytest.mark.parametrize("arch", ["systolic", "tpu_v1"])
def test_end_to_end_on_the_event_engine(tmp_path: Path, arch: str) -> None:
    """The array's words are golden's in every node, which are onnxruntime's."""
    proto, shape = convolutions()
    path = quantized(tmp_path, proto, shape, ("QDQ", True, "QInt8", False))
    imported, _, equal = compared(path, shape, batch=1)
    assert equal >= 14
    x = np.random.default_rng(2).normal(size=(1, *shape)).astype(np.float32)
    chip: dict[str, Any] = {"tiles": "rule", "engine": "event", "end_to_end": True, "data": x}
    result = acc.simulate(imported.workload, arch, "ws", weights=imported.weights, **chip)
    assert len(result.rows) >= 17 and all(row.columns["bit_exact"] for row in result.rows)
    assert all(row.columns["snr_db"] > 15 for row in result.rows)


def test_from_the_shell(tmp_path: Path) -> None:
    """Scales lie beside the weights in one file; a model that is run has them by itself."""
    proto, shape = attention()
    path = quantized(tmp_path, proto, shape, ("QDQ", False, "QUInt8", False))
    files = tmp_path / "m.yaml", tmp_path / "w.npz"
    _, said = shell("import", path, "-o", files[0], "--weights", files[1])
    assert "kept beside the weights: words are rounded by them, as onnxruntime does" in said
    chip = ("--arch", "systolic", "--dataflow", "ws", "--tiles", "rule", "--check")
    whole = (*chip, "--end-to-end", "--format", "csv")
    given, _ = shell("run", files[0], *whole, "--weights", files[1])
    assert shell("run", path, *whole)[0].replace("q,", "m,") == given.replace("q,", "m,")
    assert shell("run", files[0], *whole)[0] != given  # without its scales, calibrated
    _, said = shell("run", path, *whole, "--set", "bits.ifmap=4", code=2)
    assert "the network came with words of 8 bits" in said
    _, said = shell("export", path, "-o", tmp_path / "again.onnx")
    assert "written in real numbers" in said


def test_scales_that_are_none(tmp_path: Path) -> None:
    """Every scale and zero point is needed, each of one form; a wrong one is named."""
    proto, shape = attention()
    path = quantized(tmp_path, proto, shape, ("QDQ", True, "QInt8", False))
    imported = import_onnx(path)
    graph, weights = imported.workload.network, imported.weights
    names = [name for name in weights if name.endswith((":scale", ":zero"))]
    assert len(names) > 20
    rng = np.random.default_rng(0)
    bad = [np.float32(0), np.float32(-1), np.float32(np.nan), np.ones((3, 2), np.float32), "a"]
    for name in names:
        for value in (None, bad[int(rng.integers(len(bad)))]):
            changed = {k: v for k, v in weights.items() if k != name}
            changed |= {} if value is None else {name: np.asarray(value)}
            with pytest.raises(InputError) as error:
                stated_network(graph, changed, Number(32))
            assert name in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError, match="no such parameter"):
        stated_network(graph, weights | {"nobody:scale": np.float32(1)}, Number(32))


@pytest.mark.parametrize(
    "changed",
    [
        {"s": np.array([np.nan, 1], np.float32)},
        {"s": np.array([1, np.inf], np.float32)},
        {"w": np.full((2, 2, 1, 1), np.nan, np.float32)},
        {"w": np.full((2, 2, 1, 1), 1 << 30, np.int32), "s": np.array([1, 3e38], np.float32)},
    ],
    ids=["scale is no number", "scale without end", "words are no numbers", "still numbers"],
)
def test_words_that_are_no_numbers(tmp_path: Path, changed: Any) -> None:
    """What a constant becomes must be a number: the file and its node are named at the import,
    not a weight when the network runs.
    """
    nodes = [node("DequantizeLinear", "w s", "wd", axis=0), node("Conv", "x wd", "y")]
    words = {"w": np.ones((2, 2, 1, 1), np.int8), "s": np.ones(2, np.float32)} | changed
    path = tmp_path / "m.onnx"
    onnx.save(model(nodes, {"x": [1, 2, 4, 4]}, ["y"], words), path)
    if words["w"].dtype == np.int32:
        assert np.isfinite(import_onnx(path).weights["y.weight"]).all()
        return
    with pytest.raises(InputError, match=r"wd.*must be finite numbers") as error:
        import_onnx(path)
    assert str(error.value).startswith(str(path))


def test_a_refused_reader_of_words_is_named(tmp_path: Path) -> None:
    """Whether the rest can be taken is tried before it is said: the node left out has no result."""
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("Conv", "xd w", "y"),
        node("NonMaxSuppression", "x", "boxes"),
    ]
    words = {"s": np.float32(0.02), "z": np.int8(3), "w": np.ones((2, 2, 1, 1), np.float32)}
    path = tmp_path / "m.onnx"
    onnx.save(model(nodes, {"x": [1, 2, 4, 4]}, ["y", "boxes"], words), path)
    with pytest.raises(InputError, match="NonMaxSuppression") as error:
        import_onnx(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def words_and_numbers() -> Any:
    """A convolution whose result one node reads quantized and another as it is."""
    scale = {"s": np.float32(0.02), "z": np.int8(3)}
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("DequantizeLinear", "w s", "wd"),
        node("Conv", "xd wd", "a"),
        node("QuantizeLinear", "a s z", "aq"),
        node("DequantizeLinear", "aq s z", "ad"),
        node("Add", "ad a", "y"),
    ]
    weight = np.random.default_rng(0).integers(-60, 60, (2, 2, 1, 1)).astype(np.int8)
    return model(nodes, {"x": [1, 2, 4, 4]}, ["y"], scale | {"w": weight})


def test_what_is_not_in_words_is_said(tmp_path: Path) -> None:
    """Then the float network is imported as before, and a run calibrates."""
    (tmp_path / "m.onnx").write_bytes(words_and_numbers().SerializeToString())
    imported = import_onnx(tmp_path / "m.onnx")
    assert not has_scales(imported.weights) and imported.workload.macs == 64
    assert imported.notes == (
        "the float network of a quantized one: the scales of 4 nodes are left out (a is read in"
        " words and in real numbers); a run calibrates its own",
    )


def random_network(rng: Any) -> tuple[Any, list[int]]:
    """A chain of layers and what stands between them, with a sum over some of it."""
    channels, side, last = int(rng.integers(2, 5)), int(rng.integers(6, 10)), "x"
    shape, nodes, consts, wide = [channels, side, side], [], {}, {}
    for i in range(int(rng.integers(3, 7))):
        name, kind = f"t{i}", int(rng.integers(6)) if i else 0
        if kind < 3:
            groups = int(rng.choice([g for g in (1, 2, channels) if channels % g == 0]))
            m, taps = groups * int(rng.integers(1, 4)), int(rng.choice([1, 3]))
            consts[f"w{i}"] = drawn(rng, m, channels // groups, taps, taps)
            consts[f"b{i}"] = drawn(rng, m)
            pads = [taps // 2] * 4
            nodes.append(node("Conv", f"{last} w{i} b{i}", name, group=groups, pads=pads))
            channels = m
        elif kind == 3:
            nodes.append(node("Relu", last, name))
        elif kind == 4 and wide.get(channels, last) != last:
            nodes.append(node(str(rng.choice(["Add", "Mul"])), f"{last} {wide[channels]}", name))
        else:
            op = str(rng.choice(["MaxPool", "AveragePool"]))
            nodes.append(node(op, last, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        wide[channels] = last = name
    consts["last"] = drawn(rng, 4, channels)
    nodes += [
        node("GlobalAveragePool", last, "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat last", "y", transB=1),
    ]
    named(nodes)
    return model(nodes, {"x": ["n", *shape]}, ["y"], consts), shape


def random_case(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    proto, shape = random_network(rng)
    form = FORMS[int(rng.integers(6))]  # in the other form some are quantized only in part
    compared(quantized(folder, proto, shape, form), shape)


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(tmp_path: Path, seed: int) -> None:
    random_case(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 150))
def test_many_random_networks(tmp_path: Path, seed: int) -> None:
    random_case(tmp_path, seed)


# Models that are not as they must be --------------------------------------------------------------


def changed(proto: Any, rng: Any) -> None:
    """One to three changes: inputs swapped, taken from elsewhere or left out, another operator,
    arrays of another type, shape or value, a node gone.
    """
    graph, array = proto.graph, onnx.numpy_helper
    for _ in range(int(rng.integers(1, 4))):
        one, other = (graph.node[int(rng.integers(len(graph.node)))] for _ in "12")
        tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
        words, name = array.to_array(tensor), tensor.name
        at = int(rng.integers(max(len(one.input), 1)))
        kind = int(rng.integers(8))
        if kind < 4 and not (len(one.input) and len(other.input)):
            continue
        if kind == 0:
            one.input[0], one.input[at] = one.input[at], one.input[0]
        elif kind == 1:
            one.input[at] = other.input[int(rng.integers(len(other.input)))]
        elif kind == 2:
            one.input[at] = ""
        elif kind == 3:
            del one.input[at]
        elif kind == 4:
            one.op_type, one.domain = other.op_type, other.domain
        elif kind == 5:
            types = (np.float32, np.int8, np.uint8, np.int32, np.float64, np.bool_)
            tensor.CopyFrom(array.from_array(words.astype(types[int(rng.integers(6))]), name))
        elif kind == 6:
            flat = words.reshape(-1)
            nan = np.full(words.shape, np.nan, np.float32)
            forms = (words * 0, flat, np.repeat(flat, 2), words[None], flat[:0], nan)
            tensor.CopyFrom(array.from_array(forms[int(rng.integers(6))], name))
        elif len(graph.node) > 1:
            graph.node.remove(one)


def hold_changed(folder: Path, protos: list[Any], seed: int, many: int) -> None:
    """A changed model is imported, and runs if it is in words, or one line says why not."""
    rng, good = np.random.default_rng(seed), 0
    for i in range(many):
        proto = onnx.ModelProto()
        proto.CopyFrom(protos[i % len(protos)])
        changed(proto, rng)
        (folder / "m.onnx").write_bytes(proto.SerializeToString())
        try:
            imported = import_onnx(folder / "m.onnx")
            graph = imported.workload.network
            good += 1
            if has_scales(imported.weights):
                network = stated_network(graph, imported.weights, Number(32))
                images = {name: np.ones((1, *shape)) for name, shape in graph.inputs.items()}
                golden_network.run_network(network, images)
        except InputError as error:
            assert "\n" not in str(error) and str(error).startswith(str(folder))
    assert 0 < good < many


def all_forms(folder: Path) -> list[Any]:
    protos = []
    for make in (convolutions, attention):
        for style in ("QDQ", "QOperator"):
            protos.append(onnx.load(quantized(folder, *make(), (style, True, "QInt8", False))))
    return protos


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_changed_models_are_one_line(tmp_path: Path) -> None:
    hold_changed(tmp_path, all_forms(tmp_path), 0, 60)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_changed_models(tmp_path: Path, seed: int) -> None:
    hold_changed(tmp_path, all_forms(tmp_path), seed, 500)
