"""Importers: what other tools' files become, and what is wrong with a file in one line."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from accelsim.base.errors import InputError
from accelsim.base.yaml_writing import to_yaml
from accelsim.cli.main import main
from accelsim.importers.caffe import import_caffe
from accelsim.importers.network_builder import UnsupportedError
from accelsim.importers.scalesim import export_scalesim, import_scalesim
from accelsim.importers.text_format import Message, parse
from accelsim.importers.timeloop import import_timeloop
from accelsim.workload.layers import Conv2d, Gemm, MatMul
from accelsim.workload.network import load_workload

Array = NDArray[Any]
REFERENCE = Path(__file__).parent / "reference"


def accelsim(*args: Any, code: int = 0) -> tuple[str, str]:
    """The command in this process: what it prints and says."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["accelsim", *map(str, args)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            main()
    finally:
        sys.argv = before
    assert left.value.code == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def refused(call: Any, *args: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Protobuf text ------------------------------------------------------------------------------------


def test_text_format() -> None:
    text = """# a comment
    name: "a" 'b\\n\\x41\\101' ; count: [1, -2, 0x1F, 017, 1.5e2f] , flag: true kind: MAX
    inner < x: 1 > inner { x: -.5 deeper: { y: "}" } }
    """
    message = parse(text, "f")
    assert message.all("name") == ["ab\nAA"]
    assert message.all("count") == [1, -2, 31, 15, 150.0]
    assert message.all("flag") == [True] and message.all("kind") == ["MAX"]
    assert [m.all("x") for m in message.messages("inner")] == [[1], [-0.5]]
    assert message.message("inner").message("deeper").all("y") == ["}"]
    assert (message.message("inner").line, message.names) == (
        3,
        ["name", "count", "flag", "kind", "inner"],
    )
    assert isinstance(message.message("nothing"), Message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {", "f:1:1: a message must be closed, got the end of the file"),
        ("a: 1 }", "f:1:6: must be a field's name, got }"),
        ("a: {\n b: }", "f:2:5: must be a value, got }"),
        ("a 1", "f:1:3: field a must have : and a value, or a message, got 1"),
        ("a: [1 2]", "f:1:7: must be , or ]"),
        ('a: "x', "f:1:4: is not protobuf text"),
        ("a: 1e999", "f:1:4: must be a finite number"),
        ("a: " + "1" * 50, "at most 40 digits"),
        ("a {" * 60, "not be nested more than 50 deep"),
        ("\x01", "f:1:1: is not protobuf text"),
        ("a: 08", "f:1:4: "),
    ],
)
def test_what_is_not_text_format(text: str, message: str) -> None:
    if text == "a: 08":
        assert parse(text, "f").all("a") == [8.0]
        return
    assert message in refused(parse, text, "f")


# Caffe --------------------------------------------------------------------------------------------

NEW = """
name: "Small Net"
input: "data"
input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 }
  convolution_param { num_output: 8 kernel_size: 5 pad: 2 stride: 1 \
weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" \
lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }
layer { name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1" \
pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 8 kernel_h: 3 kernel_w: 1 pad_h: 1 group: 2 bias_term: false } }
layer { name: "bn2" type: "BatchNorm" bottom: "conv2" top: "conv2" \
batch_norm_param { use_global_stats: true } }
layer { name: "scale2" type: "Scale" bottom: "conv2" top: "conv2" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "conv2" bottom: "pool1" top: "sum" }
layer { name: "cat" type: "Concat" bottom: "sum" bottom: "pool1" top: "cat" }
layer { name: "ave" type: "Pooling" bottom: "cat" top: "ave" \
pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "dw" type: "Convolution" bottom: "ave" top: "dw" \
convolution_param { num_output: 16 kernel_size: 3 group: 16 } }
layer { name: "drop" type: "Dropout" bottom: "dw" top: "dw" dropout_param { dropout_ratio: 0.4 } }
layer { name: "fc" type: "InnerProduct" bottom: "dw" top: "fc" \
inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
V1 = """
name: "AlexNet"
input: "data" input_dim: 10 input_dim: 3 input_dim: 227 input_dim: 227
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1
  convolution_param { num_output: 96 kernel_size: 11 stride: 4 } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "norm1" type: LRN bottom: "conv1" top: "norm1" \
lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }
layers { name: "pool1" type: POOLING bottom: "norm1" top: "pool1" \
pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "conv2" type: CONVOLUTION bottom: "pool1" top: "conv2" \
convolution_param { num_output: 256 pad: 2 kernel_size: 5 group: 2 } }
layers { name: "pool2" type: POOLING bottom: "conv2" top: "pool2" \
pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "conv3" type: CONVOLUTION bottom: "pool2" top: "conv3" \
convolution_param { num_output: 384 pad: 1 kernel_size: 3 } }
layers { name: "conv4" type: CONVOLUTION bottom: "conv3" top: "conv4" \
convolution_param { num_output: 384 pad: 1 kernel_size: 3 group: 2 } }
layers { name: "conv5" type: CONVOLUTION bottom: "conv4" top: "conv5" \
convolution_param { num_output: 256 pad: 1 kernel_size: 3 group: 2 } }
layers { name: "pool5" type: POOLING bottom: "conv5" top: "pool5" \
pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "fc6" type: INNER_PRODUCT bottom: "pool5" top: "fc6" \
inner_product_param { num_output: 4096 } }
layers { name: "fc7" type: INNER_PRODUCT bottom: "fc6" top: "fc7" \
inner_product_param { num_output: 4096 } }
layers { name: "fc8" type: INNER_PRODUCT bottom: "fc7" top: "fc8" \
inner_product_param { num_output: 1000 } }
layers { name: "prob" type: SOFTMAX_LOSS bottom: "fc8" bottom: "label" top: "prob" }
layers { name: "accuracy" type: ACCURACY bottom: "fc8" bottom: "label" top: "accuracy" }
"""
V0 = """
name: "first"
input: "data" input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 20
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 5 stride: 2 biasterm: false
  weight_filler { type: "gaussian" } } bottom: "data" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 2 stride: 2 } \
bottom: "conv1" top: "pool1" }
layers { layer { name: "ip" type: "innerproduct" num_output: 10 } bottom: "pool1" top: "ip" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net.prototxt"


def caffe(file: Path, text: str, shape: Any = None) -> Any:
    file.write_text(text)
    return import_caffe(file, shape)


def test_caffe(file: Path, tmp_path: Path) -> None:
    imported = caffe(file, NEW)
    graph = imported.workload.network
    assert imported.workload.name == "Small_Net" and graph.inputs == {"data": (3, 32, 32)}
    names = [
        "conv1",
        "relu1",
        "norm1",
        "pool1",
        "conv2",
        "bn2",
        "sum",
        "cat",
        "ave",
        "dw",
        "drop",
        "fc",
        "prob",
    ]
    assert [n.name for n in graph.nodes] == names
    assert graph.shapes["pool1"] == (8, 16, 16), "pooling keeps the tail: ceil((32 - 3) / 2) + 1"
    assert graph.shapes["ave"] == (16, 9, 9), "ceil((16 + 2 - 3) / 2) + 1"
    assert graph.by_name["sum"].inputs == ("bn2", "pool1"), (
        "in place: the blob conv2 is the normalization's by then"
    )
    assert (
        graph.by_name["norm1"].op.alpha == pytest.approx(2e-5) and graph.by_name["norm1"].op.k == 1
    )
    assert graph.by_name["ave"].op.count_padding and graph.by_name["dw"].op.type == "depthwise"
    assert imported.workload.layers[1] == Conv2d(
        M=4, C=4, H=16, W=16, R=3, S=1, padding=(1, 0), groups=2, name="conv2"
    )
    assert any("scale2" in note for note in imported.notes)
    (tmp_path / "w.yaml").write_text(to_yaml(imported.workload))
    assert load_workload(tmp_path / "w.yaml") == imported.workload


def test_caffe_of_2014_is_alexnet(file: Path) -> None:
    imported = caffe(file, V1)
    alexnet = load_workload("alexnet")
    assert [x.model_copy(update={"name": ""}) for x in imported.workload.layers] == [
        x.model_copy(update={"name": ""}) for x in alexnet.layers
    ]
    assert (
        "softmax without the loss" in imported.notes[0]
        and "accuracy (ACCURACY)".lower() in imported.notes[1].lower()
    )


def test_caffe_of_the_first_syntax(file: Path) -> None:
    imported = caffe(file, V0)
    assert [type(n.op).__name__ for n in imported.workload.network.nodes] == [
        "Conv",
        "AveragePool",
        "FullyConnected",
    ]
    assert imported.workload.layers[0] == Conv2d(
        M=4, C=3, H=20, W=20, R=5, S=5, stride=2, name="conv1"
    )


def test_caffe_training_files(file: Path) -> None:
    text = """layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } \
transform_param { crop_size: 99 } }
    layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST } \
transform_param { crop_size: 24 } }
    layer { name: "c" type: "Convolution" bottom: "data" top: "c" \
convolution_param { num_output: 2 kernel_size: 3 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }"""
    imported = caffe(file, text)
    assert next(iter(imported.workload.network.inputs.values())) == (3, 24, 24)
    assert len(imported.notes) == 3 and "only training" in imported.notes[0]
    assert caffe(file, text, (1, 30, 30)).workload.network.shapes["c"] == (2, 28, 28)
    assert "has no shape here; give one (--input 3x227x227)" in refused(
        caffe, file, text.replace("crop_size: 24", "mirror: false")
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'type: "Eltwise"',
            'type: "Filter"',
            "1 node cannot be imported: sum (Filter, line 14): there is no operator for Filter",
        ),
        (
            "pool: MAX",
            "pool: MEDIAN",
            "pool1 (Pooling, line 9): there is no operator for pool MEDIAN",
        ),
        (
            "num_output: 8 kernel_size",
            "num_output: 8.5 kernel_size",
            ":5:1: num_output must be a whole number, got 8.5",
        ),
        (
            "group: 2",
            "group: 3",
            "conv2 (Convolution, line 10): group must divide num_output, got 3 and 8",
        ),
        ('bottom: "cat"', 'bottom: "catt"', ":16:1: ave: no layer makes catt"),
        (
            'bottom: "data" top: "conv1" param',
            'bottom: "fc" top: "conv1" param',
            "conv1 reads fc before any layer makes it (a circle",
        ),
        ("dim: 3 dim: 32", "dim: 0 dim: 32", "input data has no shape here"),
        (
            "stride: 1 weight",
            "strde: 1 weight",
            "conv1 (Convolution, line 5): there is no counterpart for strde",
        ),
        (
            "local_size: 5",
            "local_size: 4 norm_region: WITHIN_CHANNEL",
            "there is no operator for norm_region WITHIN_CHANNEL",
        ),
        ("kernel_size: 5 pad", "kernel_size: 50 pad", "conv1 (Convolution, line 5): "),
        ('type: "Softmax" }', 'type: "Softmax"', "a message must be closed"),
    ],
)
def test_caffe_refuses(file: Path, old: str, new: str, message: str) -> None:
    text = NEW.replace(old, new, 1) if old in NEW else NEW.rstrip()[:-1]
    assert message in refused(caffe, file, text)


def test_caffe_lists_every_layer_it_cannot_import(file: Path) -> None:
    text = NEW.replace('"LRN"', '"Foo"').replace('"Dropout"', '"Bar"')
    with pytest.raises(UnsupportedError) as caught:
        caffe(file, text)
    assert [name.split()[0] for name, _ in caught.value.nodes] == ["norm1"], (
        "what reads a lost layer is not judged"
    )
    assert "must have layers" in refused(caffe, file, "name: 'x'")


# SCALE-Sim ----------------------------------------------------------------------------------------

TOPOLOGY = """L\
ayer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 227, 227, 11, 11, 3, 96, 4,
Conv 2,\t31, 31, 5, 5, 96, 256, 1,

FC6, 6, 6, 6, 6, 256, 4096, 1,
odd, 8, 8, 3, 3, 1, 1, 2,
"""


def test_scalesim(tmp_path: Path) -> None:
    file = tmp_path / "alex net.csv"
    file.write_text(TOPOLOGY)
    imported = import_scalesim(file)
    assert (
        imported.workload.names == ("Conv1", "Conv_2", "FC6", "odd")
        and imported.workload.name == "alex_net"
    )
    assert imported.workload.layers[0] == Conv2d(
        M=96, C=3, H=227, W=227, R=11, S=11, stride=4, name="Conv1"
    )
    odd = imported.workload.layers[3].problem()
    assert (odd.E, odd.F) == (4, 4), "the tool rounds up: ceil((8 - 3 + 2) / 2)"
    assert "the stride does not fit" in imported.notes[0]
    file.write_text("Layer,M,N,K,\nqkt, 128, 256, 64,\nb,1,2,3,1:2\n")
    imported = import_scalesim(file)
    assert imported.workload.layers[0] == Gemm(m=256, k=64, n=128, name="qkt")
    assert "sparsity" in imported.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a header"),
        ("Layer name,H\n", "must have rows below the header"),
        (
            TOPOLOGY.replace("227, 227", "227, x"),
            ":2: ifmap width (column 3) must be a whole number of at least 1, got x",
        ),
        (
            TOPOLOGY.replace("FC6, 6", "FC6, 5"),
            ":5: the filter must not be larger than the ifmap, got 6x6 on 5x6",
        ),
        (
            TOPOLOGY.replace("256, 1,", "256", 1),
            ":3: strides (column 8) must be a whole number of at least 1, got nothing",
        ),
        ("Layer,M,N,K\na,1,-2,3", ":2: N (column 3) must be a whole number"),
        ("Layer,M,N,K\na,1,99999999999999999999,3", "must be a whole number of at least 1"),
    ],
)
def test_scalesim_refuses(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text)
    assert message in refused(import_scalesim, file)


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "vgg16"])
def test_scalesim_and_back(tmp_path: Path, name: str) -> None:
    workload = load_workload(name)
    for form in ("conv", "gemm"):
        file = tmp_path / f"{form}.csv"
        file.write_text(export_scalesim(workload, form))  # type: ignore[arg-type]
        again = import_scalesim(file).workload
        assert again.macs == workload.macs
        assert len(again.layers) == sum(x.problem().G for x in workload.layers)
    for ours, theirs in zip(
        workload.layers, import_scalesim(tmp_path / "conv.csv").workload.layers, strict=False
    ):
        if ours.problem().G > 1:
            break
        p, q = ours.problem(), theirs.problem()
        assert (p.M, p.C, p.E, p.F, p.R, p.S) == (q.M, q.C, q.E, q.F, q.R, q.S)


def test_scalesim_cannot_state_everything(tmp_path: Path) -> None:
    dilated = load_workload(Conv2d(M=1, C=1, H=9, W=9, R=3, S=3, dilation=2, name="a"))
    assert "a: a convolution's row has no dilation; write the products (gemm)" in refused(
        export_scalesim, dilated
    )
    assert "a,25,1,9," in export_scalesim(dilated, "gemm")
    many = load_workload(MatMul(m=1, k=1, n=1, products=20_000, name="a"))
    assert "at most 10000 rows" in refused(export_scalesim, many)


# Timeloop -----------------------------------------------------------------------------------------

CONV = """
problem:
  version: 0.4
  shape:
    name: CNN_Layer
    dimensions: [C, M, R, S, N, P, Q, G]
    coefficients:
      - {name: Wstride, default: 1}
      - {name: Hstride, default: 1}
      - {name: Wdilation, default: 1}
      - {name: Hdilation, default: 1}
    data_spaces:
      - name: Weights
        projection: [[[G]], [[C]], [[M]], [[R]], [[S]]]
      - name: Inputs
        projection: [[[N]], [[G]], [[C]], [[R, Wdilation], [P, Wstride]], \
[[S, Hdilation], [Q, Hstride]]]
      - name: Outputs
        projection: [[[N]], [[G]], [[M]], [[Q]], [[P]]]
        read_write: true
  instance: {C: 3, M: 8, R: 3, S: 5, N: 2, P: 7, Q: 6, G: 4, Wstride: 2, Hdilation: 3}
"""
GEMM = """
problem:
  shape:
    name: gemm
    dimensions: [M, N, K]
    data-spaces:
      - {name: A, projection: [[[M]], [[K]]]}
      - {name: B, projection: [[[K]], [[N]]]}
      - {name: Z, projection: [[[M]], [[N]]], read-write: true}
  instance: {M: 10, N: 20, K: 30}
"""


def timeloop(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "problem.yaml"
    file.write_text(text)
    return import_timeloop(file).workload.layers[0]


def test_timeloop(tmp_path: Path) -> None:
    layer = timeloop(tmp_path, CONV)
    p = layer.problem()
    assert (p.N, p.G, p.M, p.C, p.E, p.F, p.R, p.S) == (2, 4, 8, 3, 6, 7, 5, 3), (
        "P and R along the width"
    )
    assert (p.stride, p.dilation, p.H, p.W) == ((1, 2), (3, 1), 5 + 12 + 1, 12 + 2 + 1)
    assert timeloop(tmp_path, GEMM) == Gemm(m=10, k=30, n=20, name="problem")
    old = "problem: {shape: cnn-layer, C: 1, M: 2, R: 3, S: 3, N: 1, P: 4, Q: 5, Wstride: 2}\n"
    layer = timeloop(tmp_path, old)
    assert (layer.H, layer.W, layer.stride) == (7, 9, (1, 2))
    batched = (
        GEMM.replace("[M, N, K]", "[M, N, K, B]")
        .replace("[[[M]]", "[[[B]], [[M]]")
        .replace("[[[K]]", "[[[B]], [[K]]")
    )
    assert timeloop(tmp_path, batched.replace("{M: 10", "{B: 6, M: 10")) == MatMul(
        m=10, k=30, n=20, products=6, name="problem"
    )


def test_timeloop_problems_of_the_reference_cases(tmp_path: Path) -> None:
    for i, case in enumerate(
        json.loads((REFERENCE / "timeloop_cases.json").read_text())["cases"][:20]
    ):
        sizes = ", ".join(
            f"{k}: {v}" for k, v in case["inputs"]["problem"].items() if isinstance(v, int)
        )
        layer = timeloop(tmp_path, f"problem:\n  shape: cnn-layer\n  instance: {{{sizes}}}\n")
        p, q = layer.problem(), case["inputs"]["problem"]
        assert (p.N, p.M, p.C, p.F, p.E, p.S, p.R) == tuple(q[k] for k in "NMCPQRS"), i


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("C: 3, M", "M", "must be a whole number of at least 1, got nothing"),
        ("C: 3", "C: 0", "problem.instance.C: must be a whole number of at least 1, got 0"),
        ("[[[G]], [[C]], [[M]]", "[[[G]], [[X]], [[M]]", "names what is no dimension, got X"),
        (
            "read_write: true",
            "read_write: false",
            "there must be two operands and one data space that is read-write",
        ),
        (
            "[R, Wdilation], [P, Wstride]",
            "[R, Wdilation], [P, Wide]",
            "there is no coefficient Wide",
        ),
        (
            "[R, Wdilation], [P, Wstride]",
            "[R], [P], [Q]",
            "a rank must be a sum of at most two terms",
        ),
        ("problem:", "problm:", "must have a problem: with a shape and an instance"),
    ],
)
def test_timeloop_refuses(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in refused(timeloop, tmp_path, CONV.replace(old, new, 1))


# The command --------------------------------------------------------------------------------------


def test_import_and_export_commands(tmp_path: Path) -> None:
    (tmp_path / "a.prototxt").write_text(NEW)
    _, said = accelsim("import", tmp_path / "a.prototxt", "-o", tmp_path / "a.yaml")
    assert "scale2 (Scale) is the scale and shift of bn2" in said
    out, _ = accelsim(
        "run", tmp_path / "a.yaml", "--arch", "systolic", "--dataflow", "ws", "--format", "csv"
    )
    assert [line.split(",")[1] for line in out.splitlines()[1:]] == ["conv1", "conv2", "dw", "fc"]
    out, _ = accelsim("import", tmp_path / "a.prototxt")
    assert out == (tmp_path / "a.yaml").read_text()
    (tmp_path / "t.csv").write_text(TOPOLOGY)
    accelsim("import", tmp_path / "t.csv", "-o", tmp_path / "t.yaml")
    accelsim("export", "alexnet", "-o", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().count("\n") == 1 + 8 + 3
    (tmp_path / "b.prototxt").write_text(NEW.replace('"LRN"', '"Foo"'))
    _, said = accelsim("import", tmp_path / "b.prototxt", "-o", tmp_path / "b.yaml", code=2)
    assert (
        said.splitlines()[1] == "  norm1 (Foo, line 8): there is no operator for Foo"
        and not (tmp_path / "b.yaml").exists()
    )
    for args, message in (
        (("import", tmp_path / "no.onnx"), "no such file"),
        (("import", tmp_path / "x.txt"), "must end in .onnx, .prototxt, .csv or .yaml"),
        (("import", tmp_path / "t.csv", "--fold"), "--fold goes with onnx files"),
        (("import", tmp_path / "a.prototxt", "--input", "3x"), "--input must be like 3x227x227"),
        (("export", "alexnet", "-o", tmp_path / "x.txt"), "must end in .onnx or .csv"),
        (("export", "alexnet", "-o", tmp_path / "x.onnx", "--gemm"), "--gemm goes with .csv"),
    ):
        _, said = accelsim(*args, code=2)
        assert message in said and said.count("\n") == 1, said
