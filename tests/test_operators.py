"""Golden operators against onnxruntime and SciPy on random shapes and parameters; integer forms
exactly.

onnxruntime computes in float32: its answers are compared to 1e-5 of the largest magnitude unless a
test says otherwise.  Integer forms are compared with the same operation in Python's whole numbers
and fractions.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, signal, special, stats  # type: ignore[import-untyped,unused-ignore]

from accelsim.workload.graph.entries import OPERATORS
from accelsim.workload.operators.activation import erf
from accelsim.workload.operators.operator import Operator
from accelsim.workload.operators.windows import pad
from accelsim.workload.scaling import Scales, divide, fixed_point, rescale

Array = NDArray[Any]
TRIALS = 25


def op(kind: str, **fields: Any) -> Any:
    return OPERATORS[kind](**({"type": kind, "name": "op"} | fields))


def rounded(value: Fraction) -> int:
    """Half to even."""
    return round(value)


class Draw:
    """Random sizes and arrays."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def int(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def maps(self, least: int = 1, most: int = 9) -> Array:
        return self.array(
            self.int(1, 2), self.int(1, 4), self.int(least, most), self.int(least, most)
        )

    def array(self, *shape: int) -> Array:
        return np.asarray(self.rng.normal(size=shape).astype(np.float32), np.float64)

    def words(self, *shape: int) -> Array:
        return self.rng.integers(-128, 128, shape)


def ort(kind: str, given: list[Array | None], opset: int = 21, **attributes: Any) -> Array:
    """One node of ONNX, run by onnxruntime in float32; an input that is None is left out."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    inputs = {f"x{i}": x for i, x in enumerate(given) if x is not None}
    names = [*inputs]
    typed = [
        x.astype(np.int64) if x.dtype == np.int64 else x.astype(np.float32) for x in inputs.values()
    ]
    reads = [f"x{i}" if x is not None else "" for i, x in enumerate(given)]
    node = onnx.helper.make_node(kind, reads, ["y"], **attributes)
    kinds = [
        onnx.TensorProto.INT64 if x.dtype == np.int64 else onnx.TensorProto.FLOAT for x in typed
    ]
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [
            onnx.helper.make_tensor_value_info(n, k, x.shape)
            for n, k, x in zip(names, kinds, typed, strict=True)
        ],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10
    )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, dict(zip(names, typed, strict=True)))[0], np.float64)


def close(got: Array, want: Array, to: float = 1e-5) -> None:
    assert got.shape == want.shape
    np.testing.assert_allclose(
        got, want, rtol=0, atol=to * max(1.0, float(np.abs(want).max(initial=0)))
    )


def run(node: Operator, *xs: Array, **weights: Array) -> Array:
    out = node.run(list(xs), weights)
    assert out.shape[1:] == node.infer(*(x.shape[1:] for x in xs)), (
        "the shape rule is what comes out"
    )
    return out


# Arrays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(TRIALS))
def test_convolution(seed: int) -> None:
    d = Draw(seed)
    groups, m, c, r, s = d.int(1, 3), d.int(1, 3), d.int(1, 3), d.int(1, 4), d.int(1, 4)
    stride, dilation, pads = (
        (d.int(1, 3), d.int(1, 3)),
        (d.int(1, 2), d.int(1, 2)),
        tuple(d.int(0, 3) for _ in range(4)),
    )
    x = d.array(d.int(1, 2), groups * c, d.int(7, 11), d.int(7, 11))
    w, b = d.array(groups * m, c, r, s), d.array(groups * m)
    fields = {
        "M": m,
        "R": r,
        "S": s,
        "groups": groups,
        "stride": stride,
        "dilation": dilation,
        "padding": pads,
        "bias": True,
    }
    top, bottom, left, right = pads
    want = ort(
        "Conv",
        [x, w, b],
        strides=stride,
        dilations=dilation,
        pads=[top, left, bottom, right],
        group=groups,
    )
    close(run(op("conv2d", **fields), x, weight=w, bias=b), want)
    turned = w[..., ::-1, ::-1]
    close(run(op("conv2d", flip=True, **fields), x, weight=turned, bias=b), want)


@pytest.mark.parametrize("seed", range(5))
def test_both_senses_of_convolution_against_scipy(seed: int) -> None:
    d = Draw(seed)
    x, w = d.array(1, 1, 8, 9), d.array(1, 1, 3, 4)
    close(
        run(op("conv2d", M=1, R=3, S=4), x, weight=w)[0, 0],
        signal.correlate(x[0, 0], w[0, 0], "valid"),
        1e-12,
    )
    close(
        run(op("conv2d", M=1, R=3, S=4, flip=True), x, weight=w)[0, 0],
        signal.convolve(x[0, 0], w[0, 0], "valid"),
        1e-12,
    )


@pytest.mark.parametrize("seed", range(5))
def test_depthwise(seed: int) -> None:
    d = Draw(seed)
    x, m = d.array(2, 4, 8, 7), d.int(1, 2)
    w = d.array(4 * m, 1, 3, 3)
    close(
        run(op("depthwise", M=m, R=3, padding=1), x, weight=w),
        ort("Conv", [x, w], group=4, pads=[1, 1, 1, 1]),
    )


@pytest.mark.parametrize("seed", range(TRIALS))
def test_transposed_convolution(seed: int) -> None:
    d = Draw(seed)
    groups, m, c, r, s = d.int(1, 2), d.int(1, 3), d.int(1, 3), d.int(2, 4), d.int(2, 4)
    stride, dilation, pads = (
        (d.int(1, 3), d.int(1, 3)),
        (d.int(1, 2), d.int(1, 2)),
        tuple(d.int(0, 1) for _ in range(4)),
    )
    extra = (d.int(0, stride[0] - 1), d.int(0, stride[1] - 1))
    x = d.array(d.int(1, 2), groups * c, d.int(2, 6), d.int(2, 6))
    w, b = d.array(groups * c, m, r, s), d.array(groups * m)
    node = op(
        "conv_transpose",
        M=m,
        R=r,
        S=s,
        groups=groups,
        stride=stride,
        dilation=dilation,
        padding=pads,
        extra=extra,
        bias=True,
    )
    top, bottom, left, right = pads
    attributes = {
        "strides": stride,
        "dilations": dilation,
        "pads": [top, left, bottom, right],
        "output_padding": extra,
        "group": groups,
    }
    close(run(node, x, weight=w, bias=b), ort("ConvTranspose", [x, w, b], **attributes))


@pytest.mark.parametrize("seed", range(8))
def test_linear_dense_and_matmul(seed: int) -> None:
    d = Draw(seed)
    x, m = d.maps(), d.int(1, 6)
    w, b = d.array(m, math.prod(x.shape[1:])), d.array(m)
    close(
        run(op("linear", M=m, bias=True), x, weight=w, bias=b),
        ort("Gemm", [x.reshape(len(x), -1), w, b], transB=1),
    )
    w, b = d.array(m, x.shape[-1]), d.array(m)
    close(run(op("dense", M=m, bias=True), x, weight=w, bias=b), ort("MatMul", [x, w.T]) + b)
    heads, rows, k, cols = d.int(1, 3), d.int(1, 5), d.int(1, 5), d.int(1, 5)
    a, other = d.array(2, heads, rows, k), d.array(2, heads, k, cols)
    want = ort("MatMul", [a, other])
    close(run(op("matmul"), a, other), want)
    close(run(op("matmul", transpose_b=True), a, other.swapaxes(-1, -2)), want)
    close(run(op("matmul", transpose_a=True), a.swapaxes(-1, -2), other), want)


@pytest.mark.parametrize("seed", range(40))
def test_the_matrices_of_a_product_meet(seed: int) -> None:
    """Any axes before the matrices: as NumPy broadcasts, after each matrix of the factor that has
    fewer is repeated for those in a row that share it.  What is shared is an operand once.
    """
    d = Draw(seed)
    n, rank, m, k, cols = d.int(1, 2), d.int(0, 3), d.int(1, 3), d.int(1, 3), d.int(1, 3)
    turned = bool(d.int(0, 1)), bool(d.int(0, 1))
    shared = [d.int(1, 3) for _ in range(rank)]
    more = [(d.int(1, 3), 1)[:: d.int(0, 1) * 2 - 1] for _ in range(rank)]
    places = [[g * pair[i] for g, pair in zip(shared, more, strict=True)] for i in (0, 1)]
    for i in (0, 1):
        while places[i] and places[i][0] == 1 and d.int(0, 1):
            places[i].pop(0)  # an axis that is missing is 1
    a = d.array(n, *places[0], m, k)
    b = d.array(n, *places[1], k, cols)
    want = [x.reshape(n, *[1] * (rank + 3 - x.ndim), *x.shape[1:]) for x in (a, b)]
    for axis in range(rank):
        for i in (0, 1):
            want[i] = want[i].repeat(more[axis][1 - i], axis=axis + 1)
    given = [x.swapaxes(-1, -2) if t else x for x, t in zip((a, b), turned, strict=True)]
    product = op("matmul", transpose_a=turned[0], transpose_b=turned[1])
    exact = want[0] @ want[1]
    rank_left = max(len(p) for p in places)
    exact = exact.reshape(n, *exact.shape[1 + rank - rank_left :])
    close(run(product, *given), exact)
    problem = product.problem(n, *(x.shape[1:] for x in given))
    assert (problem.words("weight"), problem.words("ifmap")) == (a.size, b.size)
    assert problem.words("ofmap") == exact.size and problem.macs == exact.size * k


# Pooling ------------------------------------------------------------------------------------------


def pool_case(d: Draw, dilated: bool = True) -> tuple[Array, dict[str, Any], dict[str, Any]]:
    """Maps, our fields and ONNX's attributes.  ``ceil`` only without padding, where every tool
    agrees on it.
    """
    r, s = d.int(1, 4), d.int(1, 4)
    stride, dilation = (d.int(1, 3), d.int(1, 3)), (d.int(1, 2), d.int(1, 2)) if dilated else (1, 1)
    ceil = bool(d.int(0, 1))
    pads = (
        (0, 0, 0, 0)
        if ceil
        else (d.int(0, r - 1), d.int(0, r - 1), d.int(0, s - 1), d.int(0, s - 1))
    )
    x = d.maps(8, 11)
    top, bottom, left, right = pads
    ours = {"R": r, "S": s, "stride": stride, "dilation": dilation, "padding": pads, "ceil": ceil}
    theirs = {
        "kernel_shape": [r, s],
        "strides": stride,
        "pads": [top, left, bottom, right],
        "ceil_mode": int(ceil),
    }
    return x, ours, theirs | ({"dilations": dilation} if dilated else {})


def wordless(case: tuple[Array, dict[str, Any], dict[str, Any]]) -> bool:
    """Windows of padding alone, which dilation makes possible: refused here, garbage there."""
    try:
        op("max_pool", **case[1]).infer(case[0].shape[1:])
    except ValueError as error:
        assert "without a word" in str(error)
        return True
    return False


@pytest.mark.parametrize("seed", range(TRIALS))
def test_max_pool(seed: int) -> None:
    case = pool_case(Draw(seed))
    if wordless(case):
        return
    x, ours, theirs = case
    close(run(op("max_pool", **ours), x), ort("MaxPool", [x], **theirs), 0)
    words = Draw(seed).words(*x.shape)
    got = op("max_pool", **ours).words([words], {}, Scales((1.0,), 1.0))
    np.testing.assert_array_equal(got, ort("MaxPool", [words.astype(np.float64)], **theirs))


@pytest.mark.parametrize("seed", range(TRIALS))
def test_average_pool(seed: int) -> None:
    x, ours, theirs = pool_case(Draw(seed), dilated=False)
    count = bool(seed % 2) and not ours["ceil"]
    node = op("average_pool", count_padding=count, **ours)
    close(run(node, x), ort("AveragePool", [x], count_include_pad=int(count), **theirs))
    words = Draw(seed).words(*x.shape)
    rows, cols = node.sides(x.shape[1:])
    got = node.words([words], {}, Scales((1.0,), 1.0))
    sums, of = (
        np.rint(run(node, words) * node.counts(x.shape[1:])).astype(int),
        node.counts(x.shape[1:]),
    )
    want = [
        [rounded(Fraction(int(v), int(n))) for v, n in zip(a.ravel(), of.ravel(), strict=True)]
        for a in sums.reshape(-1, *of.shape)
    ]
    np.testing.assert_array_equal(got.reshape(-1, rows.out * cols.out), want)


@pytest.mark.parametrize("seed", range(TRIALS))
def test_l2_and_lp_pool(seed: int) -> None:
    x, ours, theirs = pool_case(Draw(seed), dilated=False)
    theirs.pop("ceil_mode")
    if ours.pop("ceil"):
        ours["stride"] = theirs["strides"] = (1, 1)
    close(run(op("l2_pool", **ours), x), ort("LpPool", [x], p=2, **theirs))
    p = 1 + seed % 5
    close(run(op("lp_pool", p=p, **ours), x), ort("LpPool", [x], p=p, **theirs))
    most = op("max_pool", **ours)
    close(
        run(op("lp_pool", p=5000, **ours), x), run(most, np.abs(x)), 1e-3
    )  # p without bound is max
    words = Draw(seed).words(*x.shape)
    got = op("l2_pool", **ours).words([words], {}, Scales((1.0,), 1.0))
    squares = np.rint(
        run(op("average_pool", count_padding=True, **ours), words**2) * ours["R"] * ours["S"]
    ).astype(int)
    root = np.vectorize(lambda v: min(127, (math.isqrt(4 * int(v)) + 1) // 2))
    np.testing.assert_array_equal(got, root(squares))


@pytest.mark.parametrize("seed", range(8))
def test_centre_weighted_pool(seed: int) -> None:
    d = Draw(seed)
    x, r, s = d.maps(6, 9), d.int(1, 4), d.int(1, 5)
    x = x[:1, :1]
    line = {1: [1], 2: [1, 1], 3: [1, 2, 1], 4: [1, 2, 2, 1], 5: [1, 2, 3, 2, 1]}
    kernel = np.outer(line[r], line[s])
    want = signal.correlate(x[0, 0], kernel / kernel.sum(), "valid")
    close(run(op("centre_weighted_pool", R=r, S=s, stride=1), x)[0, 0], want, 1e-12)
    words = d.words(*x.shape)
    sums = signal.correlate(words[0, 0], kernel, "valid")
    got = op("centre_weighted_pool", R=r, S=s, stride=1).words([words], {}, Scales((1.0,), 1.0))
    np.testing.assert_array_equal(
        got[0, 0], np.vectorize(lambda v: rounded(Fraction(int(v), int(kernel.sum()))))(sums)
    )


def test_stochastic_pool_draws_in_proportion() -> None:
    window = np.array([[1.0, 2.0], [0.0, 5.0]])
    x = np.tile(window, (1, 1, 60, 60))
    for numbers in (
        run(op("stochastic_pool", R=2, seed=3), x),
        op("stochastic_pool", R=2, seed=3).words([x], {}, Scales((1.0,), 1.0)),
    ):
        seen = [int((numbers == v).sum()) for v in (1, 2, 5)]
        assert sum(seen) == numbers.size == 3600
        assert stats.chisquare(seen, np.array([1, 2, 5]) / 8 * 3600).pvalue > 1e-3
    again = run(op("stochastic_pool", R=2, seed=3), x)
    np.testing.assert_array_equal(again, run(op("stochastic_pool", R=2, seed=3), x))
    assert (again != run(op("stochastic_pool", R=2, seed=4), x)).any()
    assert run(op("stochastic_pool", R=2, expected=True), x)[0, 0, 0, 0] == (1 + 4 + 25) / 8
    np.testing.assert_array_equal(run(op("stochastic_pool", R=2), -x), 0)


@pytest.mark.parametrize("seed", range(5))
def test_global_pools(seed: int) -> None:
    x = Draw(seed).maps()
    close(run(op("global_average_pool"), x), ort("GlobalAveragePool", [x]))
    close(run(op("global_max_pool"), x), ort("GlobalMaxPool", [x]), 0)


# Activations --------------------------------------------------------------------------------------

ONNX_ACTIVATIONS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("relu", "Relu", {}, {}),
    ("sigmoid", "Sigmoid", {}, {}),
    ("tanh", "Tanh", {}, {}),
    ("gelu", "Gelu", {}, {}),
    ("hard_sigmoid", "HardSigmoid", {}, {"alpha": 1 / 6, "beta": 0.5}),
    ("hard_swish", "HardSwish", {}, {}),
    ("leaky_relu", "LeakyRelu", {"alpha": 0.2}, {"alpha": 0.2}),
    ("elu", "Elu", {"alpha": 1.7}, {"alpha": 1.7}),
    ("abs", "Abs", {}, {}),
    ("negate", "Neg", {}, {}),
    ("exp", "Exp", {}, {}),
    ("erf", "Erf", {}, {}),
    ("softplus", "Softplus", {}, {}),
    ("identity", "Identity", {}, {}),
    ("reciprocal", "Reciprocal", {}, {}),
]


@pytest.mark.parametrize(("ours", "theirs", "fields", "attributes"), ONNX_ACTIVATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_activation(
    ours: str, theirs: str, fields: dict[str, Any], attributes: dict[str, Any], seed: int
) -> None:
    d = Draw(seed)
    x = 3 * d.maps()
    close(run(op(ours, **fields), x), ort(theirs, [x], **attributes))


def test_functions_against_numpy_and_scipy() -> None:
    x = np.concatenate([np.linspace(-9, 9, 20001), [0.5, 0.46875, -0.5, 100.0, -100.0]])
    np.testing.assert_allclose(erf(x), special.erf(x), rtol=4e-15, atol=0)
    np.testing.assert_allclose(op("sigmoid").of(x), special.expit(x), atol=1e-15)
    np.testing.assert_allclose(op("silu").of(x), x * special.expit(x), atol=1e-14)
    np.testing.assert_allclose(op("clip").of(x), np.clip(x, 0, 6))
    np.testing.assert_allclose(op("square").of(x), x * x)
    np.testing.assert_allclose(op("power", exponent=3).of(x), x**3)
    np.testing.assert_allclose(op("affine", scale=2, shift=-1).of(x), 2 * x - 1)
    np.testing.assert_allclose(op("sqrt").of(np.abs(x)), np.abs(x) ** 0.5)
    np.testing.assert_allclose(op("log").of(np.exp(x / 4)), x / 4, atol=1e-12)
    np.testing.assert_array_equal(run(op("dropout", rate=0.5), x[None]), x[None])


@pytest.mark.parametrize(
    "kind", ["relu", "sigmoid", "tanh", "gelu", "leaky_relu", "elu", "clip", "silu"]
)
def test_a_table_has_every_word(kind: str) -> None:
    words = np.arange(-128, 128)[None]
    scales = Scales((0.05,), 0.03)
    got = op(kind).words([words], {}, scales)
    want = [
        min(127, max(-128, round(float(op(kind).of(np.array(w * 0.05))) / 0.03)))
        for w in range(-128, 128)
    ]
    np.testing.assert_array_equal(got[0], want)


@pytest.mark.parametrize("seed", range(8))
def test_softmax(seed: int) -> None:
    d = Draw(seed)
    x, axis = 4 * d.maps(), d.int(0, 2)
    close(run(op("softmax", axis=axis), x), ort("Softmax", [x], axis=axis + 1))
    words = d.words(2, 3, 10)
    got = op("softmax").words([words], {}, Scales((0.1,), 1 / 127))
    assert np.abs(got / 127 - run(op("softmax"), words * 0.1)).max() < 0.5 / 127 + 1e-6, (
        "nearest word, but for ties"
    )


# Normalization ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_local_response_norm(seed: int) -> None:
    d = Draw(seed)
    size, x = 2 * d.int(0, 3) + 1, 5 * d.array(2, 7, 4, 3)
    want = ort("LRN", [x], size=size, alpha=0.5 * size, beta=0.75, bias=2.0)
    close(run(op("local_response_norm", size=size, alpha=0.5), x), want)


def test_local_response_norm_as_the_paper_defines_it() -> None:
    x = Draw(0).array(1, 9, 1, 1)
    sums = [(x[0, max(i - 2, 0) : i + 3] ** 2).sum() for i in range(9)]
    want = x[0, :, 0, 0] / (2 + 1e-4 * np.array(sums)) ** 0.75
    close(run(op("local_response_norm"), x)[0, :, 0, 0], want, 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_local_contrast_norm(seed: int) -> None:
    x = Draw(seed).array(1, 3, 12, 10)
    node = op("local_contrast_norm", size=9, sigma=1.591)

    def smooth(maps: Array) -> Array:
        return np.asarray(ndimage.gaussian_filter(maps, 1.591, mode="constant", radius=4))

    v = x[0] - smooth(x[0].mean(axis=0))
    sigma = np.sqrt(smooth((v * v).mean(axis=0)))
    close(run(node, x)[0], v / np.maximum(sigma, sigma.mean()), 1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_batch_layer_and_group_norm(seed: int) -> None:
    d = Draw(seed)
    x = d.array(2, 6, 4, 5)
    scale, shift, mean, variance = d.array(6), d.array(6), d.array(6), np.abs(d.array(6)) + 0.1
    weights = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
    want = ort("BatchNormalization", [x, scale, shift, mean, variance], opset=15, epsilon=1e-3)
    close(run(op("batch_norm", epsilon=1e-3), x, **weights), want)
    axis = d.int(0, 2)
    shape = x.shape[axis + 1 :]
    scale, shift = d.array(*shape), d.array(*shape)
    want = ort("LayerNormalization", [x, scale, shift], axis=axis + 1, epsilon=1e-4)
    close(
        run(op("layer_norm", axes=list(range(axis, 3)), epsilon=1e-4), x, scale=scale, shift=shift),
        want,
    )
    groups, scale, shift = d.int(1, 3), d.array(6), d.array(6)
    want = ort("GroupNormalization", [x, scale, shift], num_groups=groups, epsilon=1e-4)
    close(run(op("group_norm", groups=groups, epsilon=1e-4), x, scale=scale, shift=shift), want)


@pytest.mark.parametrize("seed", range(5))
def test_batch_norm_in_words(seed: int) -> None:
    d = Draw(seed)
    x, node = d.words(2, 6, 4, 5), op("batch_norm")
    weights = {
        "scale": d.array(6),
        "shift": d.array(6),
        "mean": d.array(6),
        "variance": np.abs(d.array(6)) + 0.1,
    }
    scales = Scales((0.05,), 0.07)
    factor, shift = node.folded(weights)
    got = node.words([x], weights, scales)
    for c in range(6):
        f, b = (round(float(v) * 2**20) for v in (factor[c] * 0.05 / 0.07, shift[c] / 0.07))
        want = [
            min(127, max(-128, rounded(Fraction(int(w) * f + b, 2**20)))) for w in x[:, c].ravel()
        ]
        np.testing.assert_array_equal(got[:, c].ravel(), want)
    real = run(node, x * 0.05, **weights)
    assert np.abs(np.clip(real / 0.07, -128, 127) - got).max() < 0.5 + 1e-3


# Several tensors, and shapes ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_sums_products_and_concatenation(seed: int) -> None:
    d = Draw(seed)
    a, b, wide = d.array(2, 3, 4, 5), d.array(2, 3, 4, 5), d.array(2, 3, 1, 1)
    for ours, theirs in (("add", "Add"), ("subtract", "Sub"), ("multiply", "Mul")):
        close(run(op(ours), a, b), ort(theirs, [a, b]))
        close(run(op(ours), a, wide), ort(theirs, [a, wide]))
    close(run(op("divide"), a, np.abs(b) + 0.5), ort("Div", [a, np.abs(b) + 0.5]))
    close(run(op("add"), a, b, a), ort("Sum", [a, b, a]))
    close(run(op("concat", axis=seed % 3), a, b, a), ort("Concat", [a, b, a], axis=seed % 3 + 1), 0)
    axes = sorted({0, seed % 3})
    axis_words = np.array([x + 1 for x in axes], np.int64)
    close(
        run(op("mean", axes=axes, keep=bool(seed % 2)), a),
        ort("ReduceMean", [a, axis_words], keepdims=seed % 2),
    )
    close(run(op("sum", axes=axes), a), ort("ReduceSum", [a, axis_words], keepdims=1))


@pytest.mark.parametrize("seed", range(8))
def test_sums_and_products_in_words(seed: int) -> None:
    d = Draw(seed)
    a, b = d.words(2, 30), d.words(2, 30)
    scales = Scales((0.5, 0.125), 0.25)  # powers of two: the multipliers are exact
    want = [
        min(127, max(-128, rounded(2 * int(x) + Fraction(int(y), 2))))
        for x, y in zip(a.ravel(), b.ravel(), strict=True)
    ]
    np.testing.assert_array_equal(op("add").words([a, b], {}, scales).ravel(), want)
    want = [
        min(127, max(-128, rounded(Fraction(int(x) * int(y), 4))))
        for x, y in zip(a.ravel(), b.ravel(), strict=True)
    ]
    np.testing.assert_array_equal(op("multiply").words([a, b], {}, scales).ravel(), want)
    joined = op("concat").words([a, b], {}, scales)
    np.testing.assert_array_equal(joined[:, :30], np.clip(2 * a, -128, 127))
    np.testing.assert_array_equal(
        joined[:, 30:].ravel(), [rounded(Fraction(int(y), 2)) for y in b.ravel()]
    )
    odd = Scales((0.031, 0.047), 0.059)
    real = a * 0.031 + b * 0.047
    assert (
        np.abs(np.clip(real / 0.059, -128, 127) - op("add").words([a, b], {}, odd)).max()
        <= 0.5 + 1e-4
    )


@pytest.mark.parametrize("seed", range(8))
def test_moving_words(seed: int) -> None:
    d = Draw(seed)
    x = d.array(2, 6, 4, 5)
    same = {"x": x, "words": d.words(*x.shape)}
    order = list(d.rng.permutation(3))
    cases: list[tuple[Any, Any]] = [
        (
            op("transpose", order=[int(i) for i in order]),
            lambda v: ort("Transpose", [v], perm=[0, *(int(i) + 1 for i in order)]),
        ),
        (op("flatten"), lambda v: ort("Flatten", [v])),
        (op("reshape", shape=[4, -1]), lambda v: ort("Reshape", [v, np.array([2, 4, -1])])),
        (
            op("slice", axis=1, start=1, stop=-1, step=2),
            lambda v: ort(
                "Slice", [v, np.array([1]), np.array([-1]), np.array([2]), np.array([2])]
            ),
        ),
        (
            op("upsample", scale=[2, 3]),
            lambda v: ort(
                "Resize",
                [v, np.array([], np.float64), np.array([1.0, 1, 2, 3])],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
        ),
    ]
    for node, reference in cases:
        close(run(node, same["x"]), reference(same["x"]), 0)
        got = node.words([same["words"]], {}, Scales((1.0,), 1.0))
        np.testing.assert_array_equal(got, reference(same["words"].astype(np.float64)))


def test_heads() -> None:
    x = Draw(0).array(2, 5, 6)
    heads = run(op("split_heads", heads=3), x)
    assert heads.shape == (2, 3, 5, 2)
    np.testing.assert_array_equal(heads[:, 1], x[:, :, 2:4])
    np.testing.assert_array_equal(run(op("merge_heads"), heads), x)


@pytest.mark.parametrize("seed", range(8))
def test_bilinear_upsampling(seed: int) -> None:
    d = Draw(seed)
    x, scale = d.maps(), (d.int(1, 3), d.int(1, 4))
    node = op("upsample", scale=scale, mode="bilinear")
    want = ort(
        "Resize",
        [x, np.array([], np.float64), np.array([1.0, 1, *scale])],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    close(run(node, x), want)
    words = d.words(*x.shape)
    sums, parts = node._sums(words)
    got = node.words([words], {}, Scales((1.0,), 1.0))
    np.testing.assert_array_equal(
        got.ravel(), [rounded(Fraction(int(v), parts)) for v in sums.ravel()]
    )


@pytest.mark.parametrize("seed", range(12))
def test_bilinear_to_a_size(seed: int) -> None:
    """Any size, smaller ones too, by centres and by corners."""
    d = Draw(seed)
    x, corners = d.maps(), bool(seed % 2)
    size = (d.int(1, 9), d.int(1, 9))
    node = op("upsample", size=size, mode="bilinear", corners=corners)
    want = ort(
        "Resize",
        [x, None, None, np.array([*x.shape[:2], *size])],
        mode="linear",
        coordinate_transformation_mode="align_corners" if corners else "half_pixel",
    )
    close(run(node, x), want)
    words = d.words(*x.shape)
    sums, parts = node._sums(words)
    np.testing.assert_array_equal(
        node.words([words], {}, Scales((1.0,), 1.0)).ravel(),
        [rounded(Fraction(int(v), parts)) for v in sums.ravel()],
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "scale or size, one of them"),
        ({"scale": 2, "size": 4, "mode": "bilinear"}, "scale or size, one of them"),
        ({"size": 4}, "go with mode bilinear"),
        ({"scale": 2, "corners": True}, "go with mode bilinear"),
        ({"size": 2**14 + 1, "mode": "bilinear"}, "at most 16384"),
    ],
)
def test_sizes_that_are_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        op("upsample", **fields).infer((1, 2, 3))


@pytest.mark.parametrize(
    ("ours", "theirs", "numpys"),
    [
        ("zeros", "constant", None),
        ("reflect", "reflect", None),
        ("replicate", "edge", None),
        ("circular", "wrap", None),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_padding_modes(ours: str, theirs: str, numpys: None, seed: int) -> None:
    d = Draw(seed)
    x, sides = d.maps(4, 7), [d.int(0, 3) for _ in range(4)]
    top, bottom, left, right = sides
    want = ort("Pad", [x, np.array([0, 0, top, left, 0, 0, bottom, right])], mode=theirs)
    node = op("pad", padding=sides, mode=ours)
    close(run(node, x), want, 0)
    words = d.words(*x.shape)
    np.testing.assert_array_equal(
        node.words([words], {}, Scales((1.0,), 1.0)), pad(words, (top, bottom, left, right), ours)
    )  # type: ignore[arg-type]


# Scales -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ["floor", "half_up", "half_even", "toward_zero"])
def test_division_rounds_as_stated(rounding: Any) -> None:
    top, below = np.arange(-60, 61), np.arange(1, 9)
    got = divide(top[:, None], below[None, :], rounding)
    rule = {
        "floor": math.floor,
        "half_up": lambda v: math.floor(v + Fraction(1, 2)),
        "half_even": round,
        "toward_zero": math.trunc,
    }[rounding]
    np.testing.assert_array_equal(
        got, [[rule(Fraction(int(a), int(b))) for b in below] for a in top]
    )


@pytest.mark.parametrize("seed", range(TRIALS))
def test_rescaling_is_one_rounding(seed: int) -> None:
    d = Draw(seed)
    words = d.rng.integers(-(2**31), 2**31, 50)
    ratio = float(2.0 ** d.rng.uniform(-24, 2))
    divisor = d.int(1, 60)
    multiplier, shift = fixed_point(ratio)
    assert abs(multiplier / 2**shift / ratio - 1) < 2**-23
    for by in (1, divisor):
        want = [round(Fraction(int(w) * multiplier, 2**shift * by)) for w in words]
        np.testing.assert_array_equal(rescale(words, ratio, by), want)
    ratios = np.array([ratio, ratio / 3])[:, None]
    np.testing.assert_array_equal(rescale(words, ratios)[1], rescale(words, ratio / 3))


def test_a_power_of_two_is_a_shift() -> None:
    assert [fixed_point(2.0**-k) for k in (0, 1, 9, 30)] == [(1, 0), (1, 1), (1, 9), (1, 30)]
    assert fixed_point(8.0) == (8, 0)
    with pytest.raises(ValueError, match="positive and below"):
        fixed_point(0.0)
    with pytest.raises(ValueError, match="at most 37 bits"):
        rescale(np.array([2**40]), 1.0)


# Work ---------------------------------------------------------------------------------------------


def test_work_is_counted() -> None:
    pool = op("max_pool", R=2).work((6, 28, 28))
    assert (dict(pool.operations), pool.reads, pool.writes) == (
        {"compare": 3 * 6 * 14 * 14},
        6 * 28 * 28,
        6 * 14 * 14,
    )
    edge = op("average_pool", R=3, stride=1, padding=1).work((1, 3, 3))
    assert (edge.reads, dict(edge.operations)) == (
        49,
        {"add": 40, "multiply": 9},
    )  # (2+3+2)^2 words in nine windows
    assert dict(op("relu").work((2, 3)).operations) == {"compare": 6}
    assert dict(op("add").work((2, 3), (2, 3), (2, 3)).operations) == {"add": 12}
    soft = op("softmax").work((10,))
    assert (dict(soft.operations), soft.reads, soft.writes) == (
        {"compare": 9, "add": 19, "exp": 10, "divide": 10},
        30,
        20,
    )
    assert op("reshape", shape=[-1]).work((2, 3)).total == op("dropout").work((3,)).total == 0
    lrn = op("local_response_norm").work((4, 1, 1))
    assert dict(lrn.operations) == {
        "multiply": 3 + 4 + 4 + 3 + 4,
        "add": 14,
        "power": 4,
        "divide": 4,
    }


@pytest.mark.parametrize("seed", range(TRIALS))
def test_embedding(seed: int) -> None:
    """Rows of a table, as ONNX gathers them; numbers outside take the nearest row."""
    d = Draw(seed)
    rows, m = d.int(1, 9), d.int(1, 5)
    node, table = op("embedding", rows=rows, M=m), d.array(rows, m)
    tokens = d.rng.integers(0, rows, (d.int(1, 3), d.int(1, 6)))
    got = node.run([tokens.astype(float)], {"weight": table})
    np.testing.assert_allclose(got, ort("Gather", [table, tokens]), rtol=1e-6)
    beyond = node.run([np.array([[-3.0, rows + 3.0]])], {"weight": table})
    np.testing.assert_array_equal(beyond[0], table[[0, -1]])
    work, n = node.work((6,)), 6 * m
    assert (dict(work.operations), work.reads, work.writes, work.parameters) == ({}, 6 + n, n, n)
    scales = Scales((0.5,), 1 / 64)
    words = node.words([2 * tokens], {"weight": table}, scales)
    np.testing.assert_array_equal(words, scales.round(table[tokens]))


@pytest.mark.parametrize("kind", sorted(OPERATORS))
def test_every_operator_says_what_it_is(kind: str) -> None:
    assert (OPERATORS[kind].__doc__ or "").strip()


@pytest.mark.parametrize(
    ("kind", "fields", "shapes", "message"),
    [
        ("max_pool", {"R": 5}, [(1, 3, 3)], "larger than the padded input"),
        ("max_pool", {"R": 2, "padding": 2}, [(1, 3, 3)], "smaller than the window"),
        ("max_pool", {"R": 2}, [(9,)], "needs maps"),
        ("add", {}, [(2, 3), (2, 4)], "shapes that agree"),
        ("concat", {}, [(2, 3), (2, 4)], "agree except along axis 0"),
        ("concat", {"axis": 3}, [(2, 3), (2, 3)], "there are 2 axes"),
        ("matmul", {}, [(2, 3, 4), (2, 5, 4)], "as many columns"),
        ("matmul", {}, [(2, 3, 4), (3, 4, 5)], "equal in all but the last two"),
        ("reshape", {"shape": [4, -1]}, [(2, 3)], "must have the 6 words"),
        ("split_heads", {"heads": 4}, [(5, 6)], "must divide the 6 features"),
        ("transpose", {"order": [0, 0]}, [(5, 6)], "each of the axes"),
        ("slice", {"start": 9}, [(5, 6)], "must leave words"),
        ("pad", {"padding": 3, "mode": "reflect"}, [(1, 3, 3)], "at most 2 on 3 words"),
        ("pad", {"padding": "same"}, [(1, 3, 3)], "must be numbers"),
        ("conv2d", {"M": 2, "R": 3, "groups": 2}, [(3, 8, 8)], "groups must divide the 3 channels"),
        ("conv2d", {"M": 2, "R": 9}, [(3, 8, 8)], "filter .* larger"),
        ("group_norm", {"groups": 4}, [(6, 2, 2)], "must divide the 6 channels"),
        ("local_contrast_norm", {"size": 4}, [(6, 2, 2)], "must be odd"),
        (
            "conv_transpose",
            {"M": 1, "R": 3, "extra": (1, 0)},
            [(3, 8, 8)],
            "smaller than the stride",
        ),
        ("softmax", {"axis": 2}, [(3, 8)], "there are 2 axes"),
    ],
)
def test_shapes_that_cannot_be(
    kind: str, fields: dict[str, Any], shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        op(kind, **fields).infer(*shapes)


def test_every_operator_is_tried() -> None:
    """A type that is in ``OPERATORS`` and nowhere in this file has no reference here.  A parameter
    computes nothing: it is one of the network's own arrays.
    """
    text = Path(__file__).read_text("utf-8")
    assert {kind for kind in OPERATORS if f'"{kind}"' not in text} <= {"parameter"}
