"""Every number the courses' slides show, reproduced: the shared page ``lectures.md`` line by line.

Where sources disagree, the test has both numbers and says what each counts.
"""

from __future__ import annotations

from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np
import pytest

from accelsim.base.shipped import resolve_file
from accelsim.base.validation import validate
from accelsim.base.yaml_reading import read_yaml
from accelsim.engines.golden import golden_layer as golden
from accelsim.workload.arithmetic import Number
from accelsim.workload.graph.entries import OPERATORS
from accelsim.workload.graph.graph import Graph
from accelsim.workload.layers import Conv2d, Layer, Linear, Padding
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.operators.windows import pad
from accelsim.workload.scaling import Scales

INT32 = Number(32)


def network(name: str) -> Graph:
    graph = load_workload(name).network
    assert graph is not None
    return graph


def layers(name: str) -> dict[str, Layer]:
    return {x.name: x for x in load_workload(name).layers}


def out(layer: Layer) -> tuple[int, int, int]:
    p = layer.problem()
    return p.E, p.F, p.G * p.M


def op(kind: str, **fields: Any) -> Any:
    return OPERATORS[kind](**({"type": kind} | fields))


# Shapes and counts --------------------------------------------------------------------------------


def test_output_side_is_the_floor_formula() -> None:
    for h, r, u, d, pads in product((5, 8, 13), (1, 2, 3), (1, 2, 3), (1, 2), (0, 1, 2)):
        layer = Conv2d(M=1, C=1, H=h, W=h, R=r, S=r, stride=u, dilation=d, padding=pads)
        assert out(layer)[0] == (h + 2 * pads - d * (r - 1) - 1) // u + 1


def test_stride_3_on_a_5x5_input_with_a_3x3_filter_drops_the_tail() -> None:
    layer = Conv2d(M=1, C=1, H=5, W=5, R=3, S=3, stride=3)
    assert out(layer)[:2] == (1, 1)
    assert layer.unread == (2, 2), "rows and columns no window reads, said when asked"
    assert Conv2d(M=1, C=1, H=5, W=5, R=3, S=3, stride=2).unread == (0, 0)


def test_padding_modes_zeros_reflect_replicate_circular() -> None:
    row = np.array([[[1, 2, 3]]])
    want = {
        "zeros": [0, 0, 1, 2, 3, 0, 0],
        "reflect": [3, 2, 1, 2, 3, 2, 1],
        "replicate": [1, 1, 1, 2, 3, 3, 3],
        "circular": [2, 3, 1, 2, 3, 1, 2],
    }
    for mode, words in want.items():
        assert pad(row, (0, 0, 2, 2), mode)[0, 0].tolist() == words  # type: ignore[arg-type]


@pytest.mark.parametrize(("padding", "side"), [("valid", 5), ("same", 7)])
def test_valid_and_same_as_words(padding: Padding, side: int) -> None:
    assert out(Conv2d(M=1, C=1, H=7, W=7, R=3, S=3, padding=padding))[:2] == (side, side)


def test_7x7x1_with_a_3x3_filter_is_5x5_and_3x3_with_stride_2() -> None:
    assert out(Conv2d(M=1, C=1, H=7, W=7, R=3, S=3)) == (5, 5, 1)
    assert out(Conv2d(M=1, C=1, H=7, W=7, R=3, S=3, stride=2)) == (3, 3, 1)


def test_32x32x3_with_ten_5x5_filters_is_28x28x10_with_760_parameters() -> None:
    ten = Conv2d(M=10, C=3, H=32, W=32, R=5, S=5, bias=True)
    assert (out(ten), ten.parameters) == ((28, 28, 10), 760)
    assert out(Conv2d(M=6, C=3, H=32, W=32, R=5, S=5)) == (28, 28, 6)


def test_four_3x3x3_filters_have_112_parameters() -> None:
    assert Conv2d(M=4, C=3, H=8, W=8, R=3, S=3, bias=True).parameters == 112


def test_alexnet_conv1_34_944_parameters_105_705_600_with_bias_105_415_200_macs() -> None:
    conv1 = layers("alexnet")["conv1"]
    assert conv1.parameters == (11 * 11 * 3 + 1) * 96 == 34_944
    assert conv1.parameters * 55 * 55 == 105_705_600  # the slides count the bias as an operation
    assert conv1.macs == 105_415_200


def test_naive_loop_and_lowering_are_the_golden_answer() -> None:
    """The slides' loop n, m, x, y, i, j, k, bias first, activation last; and patches as rows times
    kernels as columns.
    """
    rng = np.random.default_rng(0)
    layer = Conv2d(M=4, C=3, H=7, W=6, R=3, S=2, stride=2, N=2, bias=True)
    p = layer.problem()
    x, w, b = (
        rng.integers(-9, 9, (2, 3, 7, 6)),
        rng.integers(-9, 9, (4, 3, 3, 2)),
        rng.integers(-9, 9, 4),
    )
    want = np.zeros((2, 4, p.E, p.F), np.int64)
    for n, m, f, e in product(range(2), range(4), range(p.F), range(p.E)):
        want[n, m, e, f] = b[m]
        for i, j, k in product(range(3), range(2), range(3)):
            want[n, m, e, f] += x[n, k, 2 * e + i, 2 * f + j] * w[m, k, i, j]
        want[n, m, e, f] = max(want[n, m, e, f], 0)
    patches = [
        x[n, :, 2 * e : 2 * e + 3, 2 * f : 2 * f + 2].ravel()
        for n, e, f in product(range(2), range(p.E), range(p.F))
    ]
    lowered = np.array(patches) @ w.reshape(4, -1).T + b
    np.testing.assert_array_equal(
        np.maximum(lowered, 0).reshape(2, p.E, p.F, 4).transpose(0, 3, 1, 2), want
    )
    data = {"weight": w[None], "ifmap": x[:, None], "bias": b[None]}
    np.testing.assert_array_equal(np.maximum(golden.accumulate(p, data, INT32)[:, 0], 0), want)


def test_yardstick_31_7_m_macs_14_ms() -> None:
    """3 to 6 to 6 maps of 5x5 on 256x256 with 2x2 pooling, at one MAC a cycle of 2.2 GHz.

    The slide's 31.7 M follow if the maps shrink fourfold between the two convolutions (2x2 pooling
    twice): 252x252, 63x63, 59x59.  With one 2x2 pooling, as the words say, it is 42.0 M and 19 ms.
    """

    def macs(side: int) -> int:
        return sum(Conv2d(M=6, C=c, H=h, W=h, R=5, S=5).macs for c, h in ((3, 256), (6, side)))

    assert (macs(252 // 4), macs(252 // 2)) == (31_709_700, 41_972_400)
    assert round(macs(63) / 1e6, 1) == 31.7
    assert round(macs(63) / 2.2e9 * 1e3) == 14 and round(macs(126) / 2.2e9 * 1e3) == 19


def test_yardstick_fully_connected_390_g_macs_3_minutes() -> None:
    """Fully connected on the same input: 3, 6, 6 and again 6 maps of 256x256, each word with each
    word.

    Three such layers are 386.5 G ("about 390 G"); the two that 3 to 6 to 6 names are 231.9 G, 105
    seconds.
    """
    words = [maps * 256 * 256 for maps in (3, 6, 6, 6)]
    steps = [Linear(M=b, C=a).macs for a, b in pairwise(words)]
    assert (round(sum(steps) / 1e9, 1), round(sum(steps[:2]) / 1e9, 1)) == (386.5, 231.9)
    assert round(sum(steps) / 2.2e9 / 60) == 3 and round(sum(steps[:2]) / 2.2e9) == 105


# Worked values ------------------------------------------------------------------------------------

X = np.array([[200, 150, 150], [100, 50, 100], [25, 25, 10]])


def test_worked_convolution_is_65_max_200_mean_90() -> None:
    k = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    p = Conv2d(M=1, C=1, H=3, W=3, R=3, S=3).problem()
    assert (
        golden.accumulate(
            p, {"weight": k[None, None, None], "ifmap": X[None, None, None]}, INT32
        ).item()
        == 65
    )
    assert op("max_pool", R=3).run([X[None, None]], {}).item() == 200
    assert op("average_pool", R=3).run([X[None, None]], {}).item() == 90


def test_worked_pooling() -> None:
    x = np.array([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])[None, None]
    assert op("max_pool", R=2).run([x], {})[0, 0].tolist() == [[6, 8], [3, 4]]
    mean = op("average_pool", R=2)
    assert mean.run([x], {})[0, 0].tolist() == [[3.25, 5.25], [2, 2]]
    floored = Scales((1.0,), 1.0, rounding="floor")  # as the slides show it
    assert mean.words([x], {}, floored)[0, 0].tolist() == [[3, 5], [2, 2]]


def test_worked_gradients_of_1_to_9_and_9_to_1() -> None:
    """Forward is cross-correlation, the weight's gradient that of input and upstream, the input's
    gradient the convolution.
    """
    from scipy.signal import convolve2d, correlate2d  # type: ignore[import-untyped,unused-ignore]

    x, k, g = np.arange(1, 10).reshape(3, 3), np.arange(9, 0, -1).reshape(3, 3), np.array([[1]])
    p = Conv2d(M=1, C=1, H=3, W=3, R=3, S=3).problem()
    data = {name: a[None, None, None] for name, a in (("weight", k), ("ifmap", x), ("ofmap", g))}
    assert golden.accumulate(p, data, INT32).item() == correlate2d(x, k, "valid").item() == 165
    weight = golden.accumulate(p.with_direction("grad_weight"), data, INT32)
    np.testing.assert_array_equal(weight[0, 0, 0], correlate2d(x, g, "valid"))
    ifmap = golden.accumulate(p.with_direction("grad_input"), data, INT32)
    np.testing.assert_array_equal(ifmap[0, 0, 0], convolve2d(g, k, "full"))


# Networks -----------------------------------------------------------------------------------------


def test_lenet5() -> None:
    """Dense C3.  The slides' 122 K and 151 K count the bias, and LeCun's sparse C3 of 60
    connections.
    """
    by_name = layers("lenet5")
    assert [x.parameters for x in by_name.values()] == [156, 2_416, 48_120, 10_164, 850]
    assert sum(x.parameters for x in by_name.values()) == 61_706
    assert (by_name["conv1"].macs, by_name["conv2"].macs) == (117_600, 240_000)
    assert 156 * 28 * 28 == 122_304 and (60 * 25 + 16) * 10 * 10 == 151_600


def test_alexnet() -> None:
    by_name = layers("alexnet")
    parameters = [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
    assert [x.parameters for x in by_name.values()] == parameters
    assert round(sum(parameters) / 1e6, 2) == 60.97
    weights = [x.problem().words("weight") for x in by_name.values()]
    macs = [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192, *weights[5:]]
    assert [x.macs for x in by_name.values()] == macs
    assert sum(macs) == 724_406_816
    assert (
        by_name["conv2"].problem().G
        == by_name["conv4"].problem().G
        == by_name["conv5"].problem().G
        == 2
    )
    assert network("alexnet").inputs == {"input": (3, 227, 227)}


def test_overfeat() -> None:
    by_name = layers("overfeat")
    shapes = [
        (p.M, p.R, p.stride[0])
        for p in (x.problem() for x in by_name.values())
        if p.R > 1 and p.E > 1
    ]
    assert shapes == [(96, 7, 2), (256, 7, 1), (512, 3, 1), (512, 3, 1), (1024, 3, 1), (1024, 3, 1)]
    assert [x.problem().M for x in by_name.values()][6:] == [4096, 4096, 1000]
    assert [x.problem().H for x in by_name.values()] == [221, 36, 15, 15, 15, 15, 5, 1, 1]


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("vgg11", 133),
        ("vgg11_lrn", 133),
        ("vgg13", 133),
        ("vgg16_c", 134),
        ("vgg16", 138),
        ("vgg19", 144),
    ],
)
def test_vgg_a_a_lrn_b_c_d_e(name: str, millions: int) -> None:
    assert round(load_workload(name).parameters / 1e6) == millions


def test_vgg_d() -> None:
    vgg = load_workload("vgg16")
    assert (vgg.parameters, round(vgg.macs / 1e9, 2)) == (138_357_544, 15.47)
    first = network("vgg16").shapes["conv1_1"]
    assert prod(first) == 224 * 224 * 64 and round(prod(first) / 1e6, 1) == 3.2
    weights = list(dict.fromkeys(x.problem().words("weight") for x in vgg.layers))
    convolutions = [1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 1_179_648, 2_359_296]
    assert weights == [*convolutions, 102_760_448, 16_777_216, 4_096_000]


# Szegedy 2015, table 1: output, parameters in K = 1024 as printed, operations in M as printed.
GOOGLENET = {
    "conv1": ((64, 112, 112), 2.7, 34),
    "conv2": ((192, 56, 56), 112, 360),
    "3a": ((256, 28, 28), 159, 128),
    "3b": ((480, 28, 28), 380, 304),
    "4a": ((512, 14, 14), 364, 73),
    "4b": ((512, 14, 14), 437, 88),
    "4c": ((512, 14, 14), 463, 100),
    "4d": ((528, 14, 14), 580, 119),
    "4e": ((832, 14, 14), 840, 170),
    "5a": ((832, 7, 7), 1072, 54),
    "5b": ((1024, 7, 7), 1388, 71),
    "fc": ((1000,), 1000, 1),
}
# What the filters printed in the same rows give, K and M, where the printed sums are not within 1 K
# and 1 M of it. conv1: the printed pair is that of a 7x1 and a 1x7 of 64 filters (2 688 weights, 34
# M); the row says 7x7 (9 408, 118 M). 4a, 4c, 4d, 4e, 5b: the printed parameters do not follow from
# the printed filters; the printed operations do, and are ours. 5a: the printed parameters and
# operations agree with each other (1072 K x 49 pixels = 54 M), not with the filters.
FILTERS_GIVE = {
    "conv1": (9.2, 118),
    "4a": (366.8, 73.6),
    "4c": (497.5, 99.9),
    "4d": (590.5, 118.5),
    "4e": (847.0, 170.0),
    "5a": (1018.0, 51.1),
    "5b": (1409.0, 70.7),
}


def googlenet_rows() -> dict[str, tuple[int, int]]:
    rows: dict[str, tuple[int, int]] = {}
    for name, layer in layers("googlenet").items():
        key = name.split("_")[0]
        weights, macs = rows.get(key, (0, 0))
        rows[key] = weights + layer.problem().words("weight"), macs + layer.macs
    return rows


@pytest.mark.parametrize("row", GOOGLENET)
def test_googlenet_table_1(row: str) -> None:
    graph = network("googlenet")
    shape, thousands, millions = GOOGLENET[row]
    last = {"3": "_concat", "4": "_concat", "5": "_concat"}.get(row[0], "")
    assert graph.shapes[row + last] == shape
    weights, macs = googlenet_rows()[row]
    if row in FILTERS_GIVE:
        assert (round(weights / 1024, 1), pytest.approx(macs / 1e6, abs=0.5)) == FILTERS_GIVE[row]
    else:
        assert abs(weights / 1024 - thousands) <= 1
    if row not in ("conv1", "5a"):
        assert abs(macs / 1e6 - millions) <= 1
    if row == "5a":
        assert round(thousands * 1024 * 49 / 1e6) == millions
    if row == "conv1":
        assert (round(2 * 7 * 3 * 64 / 1e3, 1), round(2 * 7 * 3 * 64 * 112 * 112 / 1e6)) == (
            thousands,
            millions,
        )


def test_googlenet_pools_and_totals() -> None:
    """1.58 G MACs, which "1.6 G" rounds, with pooling that keeps the tail (112 to 56); 1.43 G where
    pooling drops it (112 to 55).
    """
    graph = network("googlenet")
    assert [graph.shapes[f"pool{i}"] for i in (1, 2, 3, 4, 5)] == [
        (64, 56, 56),
        (192, 28, 28),
        (480, 14, 14),
        (832, 7, 7),
        (1024, 1, 1),
    ]
    assert graph.by_name["drop"].op.rate == 0.4  # type: ignore[attr-defined]
    assert round(load_workload("googlenet").parameters / 1e6) == 7
    macs = load_workload("googlenet").macs
    assert round(macs / 1e9, 2) == 1.58 and round(macs / 1e9, 1) == 1.6
    data = read_yaml(resolve_file("workloads", "googlenet")).data
    for node in data["graph"]:
        node.pop("ceil", None)
    dropped = validate(data, Workload, "workloads")
    assert dropped.network is not None and dropped.network.shapes["pool1"] == (64, 55, 55)
    assert round(dropped.macs / 1e9, 2) == 1.43


def test_resnets() -> None:
    """50: 25.5 M; 3.9 G with the stride in the 1x1, 4.1 G with the stride in the 3x3.  The paper's
    table says 3.8 (it floors).
    """
    assert round(load_workload("resnet50").parameters / 1e6, 1) == 25.5
    assert round(load_workload("resnet50_v1").macs / 1e9, 1) == 3.9
    assert round(load_workload("resnet50").macs / 1e9, 1) == 4.1
    for name, billions in (
        ("resnet18", 1.8),
        ("resnet34", 3.6),
        ("plain34", 3.6),
    ):  # He 2016, table 1 and fig. 3
        assert int(load_workload(name).macs / 1e8) / 10 == billions
    for name, billions in (
        ("resnet101", 7.6),
        ("resnet152", 11.3),
    ):  # the paper's; the stride in the 3x3 adds 0.2
        assert load_workload(name).macs / 1e9 == pytest.approx(billions + 0.22, abs=0.03)
