"""Layers and the shipped networks.  Numbers: the course facts and the papers named beside each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.base.errors import InputError
from accelsim.base.shipped import shipped_folder, shipped_names
from accelsim.workload.layers import Conv2d, Gemm, Linear
from accelsim.workload.network import Workload, load_workload

ALEXNET = {  # Krizhevsky 2012, two groups in conv2, conv4, conv5: MACs, parameters with bias
    "conv1": (105_415_200, 34_944),
    "conv2": (223_948_800, 307_456),
    "conv3": (149_520_384, 885_120),
    "conv4": (112_140_288, 663_936),
    "conv5": (74_760_192, 442_624),
    "fc6": (37_748_736, 37_752_832),
    "fc7": (16_777_216, 16_781_312),
    "fc8": (4_096_000, 4_097_000),
}
LENET = {  # LeCun 1998 with a dense C3
    "conv1": (117_600, 156),
    "conv2": (240_000, 2_416),
    "fc1": (48_000, 48_120),
    "fc2": (10_080, 10_164),
    "fc3": (840, 850),
}
VGG_WEIGHTS = [  # Simonyan 2015, configuration D, without bias
    *(1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 1_179_648, 2_359_296, 2_359_296),
    *(2_359_296, 2_359_296, 2_359_296, 102_760_448, 16_777_216, 4_096_000),
]


def conv(**changes: Any) -> Conv2d:
    return Conv2d(**({"M": 1, "C": 1, "H": 7, "W": 7, "R": 3, "S": 3} | changes))


def out(layer: Conv2d) -> tuple[int, int]:
    p = layer.problem()
    return p.E, p.F


# The networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "table"), [("alexnet", ALEXNET), ("lenet5", LENET)])
def test_counts_by_layer(name: str, table: dict[str, tuple[int, int]]) -> None:
    assert {x.name: (x.macs, x.parameters) for x in load_workload(name).layers} == table


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("lenet5", 416_520, 61_706),
        ("alexnet", 724_406_816, 60_965_224),
        ("vgg16", 15_470_264_320, 138_357_544),
        # torchvision's resnet50 has 25 557 032 parameters, of which 53 120 are batch
        # normalization's.
        ("resnet50", 4_089_184_256, 25_557_032 - 53_120),
    ],
)
def test_totals(name: str, macs: int, parameters: int) -> None:
    workload = load_workload(name)
    assert (workload.macs, workload.parameters) == (macs, parameters)


def test_alexnet_shapes() -> None:
    shapes = {x.name: x.problem().shape("ofmap") for x in load_workload("alexnet").layers}
    assert shapes["conv1"] == (1, 1, 96, 55, 55)
    assert shapes["conv2"] == (1, 2, 128, 27, 27)
    assert shapes["conv5"] == (1, 2, 128, 13, 13)
    assert shapes["fc6"] == (1, 1, 4096, 1, 1)
    conv1 = load_workload("alexnet").layers[0]
    assert conv1.parameters * 55 * 55 == 105_705_600  # the bias counted as an operation


def test_vgg16_by_layer() -> None:
    layers = load_workload("vgg16").layers
    assert [x.problem().words("weight") for x in layers] == VGG_WEIGHTS
    assert sum(isinstance(x, Conv2d) for x in layers) == 13
    assert layers[0].problem().words("ofmap") == 224 * 224 * 64
    assert sum(x.macs for x in layers if isinstance(x, Conv2d)) == 15_346_630_656


def test_resnet50_structure() -> None:
    layers = load_workload("resnet50").layers
    convs = [x for x in layers if isinstance(x, Conv2d)]
    assert (len(convs), len(layers)) == (53, 54)
    assert sum(x.name.endswith("_shortcut") for x in convs) == 4
    halving = [x for x in convs if x.stride == (2, 2)]
    assert [x.name for x in halving if not x.name.endswith("_shortcut")] == [
        "conv1",
        "conv3_1_conv",
        "conv4_1_conv",
        "conv5_1_conv",
    ]
    assert convs[-1].problem().shape("ofmap") == (1, 1, 2048, 7, 7)
    assert [x.name for x in layers if x.parameters != x.problem().words("weight")] == ["fc"]


def test_resnet50_blocks_fit_together() -> None:
    """Inside a block every layer reads what the one before it wrote."""
    layers = load_workload("resnet50").layers
    for a, b in pairwise(layers):
        if a.name.rsplit("_", 1)[0] == b.name.rsplit("_", 1)[0] and not b.name.endswith(
            "_shortcut"
        ):
            assert a.problem().shape("ofmap") == b.problem().shape("ifmap"), b.name


@pytest.mark.parametrize("name", shipped_names("workloads"))
def test_shipped_files(name: str) -> None:
    workload = load_workload(name)
    assert workload.name == name
    assert workload.description
    assert (shipped_folder("workloads") / f"{name}.yaml").read_text().startswith("# "), (
        "every file names its source"
    )


# Shapes -------------------------------------------------------------------------------------------


def test_course_shapes() -> None:
    assert out(conv()) == (5, 5)
    assert out(conv(stride=2)) == (3, 3)
    assert out(conv(H=5, W=5, stride=3)) == (1, 1)  # does not fit; the tail is dropped
    ten = Conv2d(M=10, C=3, H=32, W=32, R=5, S=5, bias=True)
    assert (ten.problem().shape("ofmap"), ten.parameters) == ((1, 1, 10, 28, 28), 760)
    assert Conv2d(M=6, C=3, H=32, W=32, R=5, S=5).problem().shape("ofmap") == (1, 1, 6, 28, 28)
    assert Conv2d(M=4, C=3, H=8, W=8, R=3, S=3, bias=True).parameters == 112


@pytest.mark.parametrize(
    ("padding", "sides"),
    [
        (0, (0, 0, 0, 0)),
        (2, (2, 2, 2, 2)),
        ((1, 2), (1, 1, 2, 2)),
        ([1, 2], (1, 1, 2, 2)),
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        ("valid", (0, 0, 0, 0)),
        ("same", (1, 1, 1, 1)),
    ],
)
def test_padding(padding: Any, sides: tuple[int, ...]) -> None:
    assert conv(padding=padding).problem().padding == sides


def test_same_puts_the_odd_zero_last() -> None:
    assert conv(H=8, W=8, R=4, S=2, padding="same").problem().padding == (1, 2, 0, 1)
    assert conv(H=224, W=224, R=7, S=7, stride=2, padding="same").problem().padding == (2, 3, 2, 3)


sizes, small = st.integers(1, 40), st.integers(1, 5)


@given(sizes, sizes, small, small, st.tuples(small, small), st.tuples(small, small))
def test_same_gives_ceil(
    h: int, w: int, r: int, s: int, stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    layer = conv(H=h, W=w, R=r, S=s, stride=stride, dilation=dilation, padding="same")
    assert out(layer) == (-(-h // stride[0]), -(-w // stride[1]))
    top, bottom, left, right = layer.problem().padding
    assert bottom - top in (0, 1)
    assert right - left in (0, 1)


def test_stride_and_dilation_by_axis() -> None:
    p = conv(H=9, W=9, stride=(2, 3), dilation=[3, 1]).problem()
    assert (p.stride, p.dilation, p.E, p.F) == ((2, 3), (3, 1), 2, 3)


def test_groups_are_per_group() -> None:
    depthwise = conv(groups=32)
    assert depthwise.problem().shape("weight") == (32, 1, 1, 3, 3)
    assert depthwise.macs == 32 * 5 * 5 * 9


def test_linear_is_a_filter_as_large_as_the_ifmap() -> None:
    p = Linear(M=10, C=16, H=5, W=4).problem()
    assert (p.E, p.F, p.R, p.S, p.macs) == (1, 1, 5, 4, 3200)
    assert Linear(M=10, C=84, bias=True).parameters == 850


def test_gemm() -> None:
    p = Gemm(m=64, k=147, n=12544).problem()
    assert (p.M, p.C, p.F, p.W, p.H, p.E, p.R, p.S, p.N) == (64, 147, 12544, 12544, 1, 1, 1, 1, 1)
    assert p.macs == 64 * 147 * 12544


@pytest.mark.parametrize("layer", [conv(N=3), Linear(M=2, C=2, N=3), Gemm(m=2, k=2, n=2)])
def test_batch(layer: Any) -> None:
    assert layer.problem().N == getattr(layer, "N", 1)
    assert layer.problem(batch=8) == layer.problem().with_batch(8)


# Layers as objects --------------------------------------------------------------------------------


def test_equal_layers() -> None:
    assert conv(stride=2, padding=1) == conv(stride=(2, 2), padding=(1, 1, 1, 1))
    assert conv(padding="valid") == conv(padding=0)
    assert conv() != conv(bias=True)
    assert len({Linear(M=1, C=1), Gemm(m=1, k=1, n=1)}) == 2
    assert len({conv(), conv(), conv(M=2)}) == 2


def test_repr_is_what_was_written() -> None:
    assert (
        repr(conv(stride=2, padding=1, name="a"))
        == "Conv2d(name='a', M=1, C=1, H=7, W=7, R=3, S=3, stride=2, padding=1)"
    )
    assert (
        repr(conv(padding=(1, 2))) == "Conv2d(M=1, C=1, H=7, W=7, R=3, S=3, padding=(1, 1, 2, 2))"
    )
    layer = conv(padding="same", groups=4, N=2, bias=True)
    assert eval(repr(layer)) == layer


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        conv().M = 2


def test_numpy_integers_are_numbers() -> None:
    assert conv(H=np.int64(9), stride=np.int32(2)) == conv(H=9, stride=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"R": 8}, "filter .* larger than the padded ifmap"),
        ({"dilation": 4}, "filter .* larger than the padded ifmap"),
        ({"M": 0}, "greater than 0"),
        ({"M": 1.5}, "must be a whole number, got 1.5"),
        ({"M": "4"}, "must be a whole number"),
        ({"M": True}, "must be a whole number"),
        ({"stride": 0}, "at least 1, or .vertical, horizontal"),
        ({"stride": (1, 2, 3)}, "at least 1, or .vertical, horizontal"),
        ({"stride": [1]}, "at least 1, or .vertical, horizontal"),
        ({"padding": -1}, "at least 0"),
        ({"padding": "full"}, "valid or same"),
        ({"padding": (1, 1, 1)}, "top, bottom, left, right"),
        ({"padding": None}, "at least 0"),
        ({"M": 2**31 - 1, "C": 2**31 - 1}, "at most 2.53 MACs"),
        ({"name": "conv 1"}, "no spaces"),
        ({"filters": 3}, "no such key, got filters"),
    ],
)
def test_impossible_layers(changes: dict[str, Any], message: str) -> None:
    """One line each, though pydantic would write a page."""
    with pytest.raises(InputError, match=message) as refused:
        conv(**changes)
    assert "\n" not in str(refused.value)


# Workloads ----------------------------------------------------------------------------------------


def test_from_layers() -> None:
    one = load_workload(conv(name="mine"))
    assert (one.name, one.names) == ("mine", ("mine",))
    several = load_workload([conv(), Gemm(m=1, k=1, n=1, name="product"), Linear(M=1, C=1)])
    assert several.names == ("layer1", "product", "layer3")
    assert load_workload(several) is several


@pytest.mark.parametrize("source", [[], [1], 7, None, {"M": 1}, [conv(name="a"), conv(name="a")]])
def test_what_is_not_a_workload(source: Any) -> None:
    with pytest.raises(InputError, match=r"list of layers|must not be empty|a name of its own"):
        load_workload(source)


def test_select() -> None:
    alexnet = load_workload("alexnet")
    chosen = alexnet.select(["conv3", "conv1"])
    assert chosen.names == ("conv1", "conv3")
    assert (chosen.name, chosen.description) == (alexnet.name, alexnet.description)
    with pytest.raises(InputError, match=r"no such layer, got covn1; nearest: conv1"):
        alexnet.select(["conv1", "covn1"])
    with pytest.raises(InputError, match="at least one"):
        alexnet.select([])


def test_yaml_layer_types(tmp_path: Any) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "name: w\nlayers:\n"
        "  - {M: 1, C: 1, H: 3, W: 3, R: 2, S: 2, padding: same, stride: [1, 2]}\n"
        "  - {type: linear, M: 2, C: 3}\n"
        "  - {type: gemm, m: 2, k: 3, n: 4, name: product}\n"
    )
    layers = load_workload(file).layers
    assert [type(x) for x in layers] == [Conv2d, Linear, Gemm]
    assert [x.name for x in layers] == ["layer1", "layer2", "product"]
    assert Workload.model_validate(load_workload(file).model_dump(mode="json")) == load_workload(
        file
    )
