"""Gradients of operators: in float64 against differences of the operator itself, in words against
float64 and whole numbers.

Along a random direction the change of a sum of outputs is the gradient's product with that
direction.  Where an operator is piecewise linear, on numbers that float64 adds exactly, the
difference equals it to the last bit; elsewhere central differences agree to about 1e-6.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.workload import loss as losses
from accelsim.workload.arithmetic import Number
from accelsim.workload.block_float import BlockFloat, added, exponent_of, narrowed, rounded
from accelsim.workload.graph.entries import OPERATORS
from accelsim.workload.operators.activation import Elementwise
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.operators.gradients import gradient, gradient_words, refusal
from accelsim.workload.operators.gradients.activation_gradients import _PLAIN, derivative
from accelsim.workload.operators.operator import Operator, Shape, Work
from accelsim.workload.scaling import Scales

Array = NDArray[Any]
TRIALS = 8


def op(kind: str, **fields: Any) -> Any:
    return OPERATORS[kind](**({"type": kind, "name": "op"} | fields))


class Draw:
    """Random sizes, windows and arrays."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def int(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def normal(self, *shape: int) -> Array:
        return np.asarray(self.rng.normal(size=shape))

    def dyadic(self, *shape: int) -> Array:
        """Different multiples of 1/64, none of them 0: no step of 2^-10 crosses a kink."""
        n = math.prod(shape)
        values = self.rng.permutation(np.arange(1, n + 1)) * self.rng.choice([-1, 1], n)
        return np.asarray(values.reshape(shape) / 64)

    def maps(self, least: int = 5, most: int = 9) -> tuple[int, ...]:
        return self.int(1, 2), self.int(1, 4), self.int(least, most), self.int(least, most)

    def window(self) -> dict[str, Any]:
        """Windows that overlap, leave gaps, reach into padding and over the end."""
        r, s = self.int(1, 3), self.int(1, 3)
        padding = (self.int(0, r - 1), self.int(0, r - 1), self.int(0, s - 1), self.int(0, s - 1))
        dilation = 1 if any(padding) else self.int(1, 2)
        return {
            "R": r,
            "S": s,
            "stride": (self.int(1, 3), self.int(1, 3)),
            "padding": padding,
            "dilation": dilation,
            "ceil": bool(self.int(0, 1)),
        }


def check(
    node: Operator,
    xs: list[Array],
    weights: dict[str, Array],
    rng: np.random.Generator,
    exact: bool = False,
) -> None:
    """The gradients of every input and parameter against the difference along a random
    direction.
    """
    out = node.run(xs, weights)
    # With one input of one batch element the operator may give one of a batch.
    g = rng.integers(-8, 9, out.shape) / 4 if exact else rng.normal(size=out.shape)
    inputs, own = gradient(node, xs, g, weights)
    assert [x.shape for x in inputs] == [x.shape for x in xs]
    h = 2.0**-10 if exact else 1e-5
    for i, x in enumerate(xs):
        d = rng.integers(-2, 3, x.shape) / 8 if exact else rng.normal(size=x.shape)
        up, down = ([*xs[:i], x + sign * h * d, *xs[i + 1 :]] for sign in (1, -1))
        agree(inputs[i], d, g, node.run(up, weights), node.run(down, weights), h, exact)
    for key, value in weights.items():
        if key in ("mean", "variance"):
            assert key not in own, "measured, not trained"
            continue
        assert own[key].shape == value.shape
        d = rng.integers(-2, 3, value.shape) / 8 if exact else rng.normal(size=value.shape)
        high, low = (weights | {key: value + sign * h * d} for sign in (1, -1))
        agree(own[key], d, g, node.run(xs, high), node.run(xs, low), h, exact)


def agree(
    at_input: Array, direction: Array, g: Array, up: Array, down: Array, h: float, exact: bool
) -> None:
    want = float((g * (up - down)).sum() / (2 * h))
    got = float((at_input * direction).sum())
    if exact:
        assert got == want
    else:
        assert got == pytest.approx(
            want, rel=2e-6, abs=2e-6 * max(1.0, float(np.abs(at_input).sum()))
        )


# In float64 ---------------------------------------------------------------------------------------

POSITIVE = ("log", "sqrt", "reciprocal")


@pytest.mark.parametrize("kind", sorted(_PLAIN))
def test_plain_activations(kind: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0.2, 4, (2, 60)) if kind in POSITIVE else rng.normal(size=(2, 60)) * 2.5
    x = np.where(np.abs(np.abs(x) - 3) < 1e-3, 1.0, x)  # off the hard functions' kinks
    check(op(kind), [x], {}, rng)


@pytest.mark.parametrize("seed", range(TRIALS))
def test_activations_with_parameters(seed: int) -> None:
    d = Draw(seed)
    x, size = d.normal(2, 3, 4, 5) * 2, float(d.rng.uniform(0.1, 2))
    for node in (
        op("leaky_relu", alpha=size / 10),
        op("elu", alpha=size),
        op("clip", low=-size, high=size + 0.5),
        op("affine", scale=-size, shift=2.0),
        op("dropout"),
        op("softmax", axis=d.int(0, 2)),
    ):
        check(node, [x], {}, d.rng)
    check(op("power", exponent=float(d.rng.uniform(-2, 3))), [np.abs(x) + 0.2], {}, d.rng)
    check(op("power", exponent=0.0), [x], {}, d.rng)


@pytest.mark.parametrize("seed", range(TRIALS))
def test_piecewise_linear_exactly(seed: int) -> None:
    d = Draw(seed)
    shape = d.maps()
    x = d.dyadic(*shape)
    down, across, left, right = (d.int(0, 3) for _ in range(4))
    for node in (
        op("relu"),
        op("leaky_relu", alpha=0.25),
        op("abs"),
        op("negate"),
        op("clip", low=-1.0 / 128, high=1.0 + 1 / 128),
        op("max_pool", **d.window()),
        op("global_max_pool"),
        op("sum", axes=(d.int(0, 1), 2), keep=bool(d.int(0, 1))),
        op("flatten"),
        op("reshape", shape=(-1, shape[3])),
        op("transpose", order=tuple(int(a) for a in d.rng.permutation(3))),
        op("slice", axis=d.int(1, 2), start=d.int(-3, 2), step=d.int(1, 3)),
        *(
            op("pad", padding=(down, across, left, right), mode=mode)
            for mode in ("zeros", "reflect", "replicate", "circular")
        ),
        op("pad", padding=(1, 0, 2, 1), value=2.5),
        op("upsample", scale=(d.int(1, 3), d.int(1, 3))),
        op("upsample", scale=(d.int(1, 2) * 2, 2), mode="bilinear"),
    ):
        check(node, [x], {}, d.rng, exact=True)
    for corners in (False, True):
        size = d.int(1, 7), d.int(1, 7)
        check(op("upsample", size=size, mode="bilinear", corners=corners), [x], {}, d.rng)
    tokens = d.dyadic(2, 5, 12)
    check(op("split_heads", heads=3), [tokens], {}, d.rng, exact=True)
    check(op("merge_heads"), [d.dyadic(2, 3, 5, 4)], {}, d.rng, exact=True)
    check(op("parameter", shape=(3, 4)), [], {"value": d.dyadic(3, 4)}, d.rng, exact=True)
    table, tokens = op("embedding", rows=5, M=3), d.rng.integers(0, 5, (2, 4)).astype(float)
    check(table, [tokens], {"weight": d.dyadic(5, 3)}, d.rng, exact=True)


@pytest.mark.parametrize("seed", range(TRIALS))
def test_several_tensors(seed: int) -> None:
    d = Draw(seed)
    n, c, h, w = d.maps()
    xs = [d.dyadic(n, c, h, w), d.dyadic(n, c, 1, w), d.dyadic(n, h, 1)]
    check(op("add"), xs, {}, d.rng, exact=True)
    check(op("subtract"), xs, {}, d.rng, exact=True)
    check(
        op("concat", axis=1),
        [d.dyadic(n, c, d.int(1, 4), w) for _ in range(3)],
        {},
        d.rng,
        exact=True,
    )
    for a, b in ((xs[0], xs[1]), (xs[2], xs[0]), (xs[0], xs[0] + 1 / 128)):
        check(op("multiply"), [a, b], {}, d.rng)
        check(op("divide"), [a, np.abs(b) + 0.3], {}, d.rng)


@pytest.mark.parametrize("seed", range(2 * TRIALS))
def test_pooling(seed: int) -> None:
    d = Draw(seed)
    x = d.normal(*d.maps())
    window = d.window()
    for node in (
        op("average_pool", count_padding=bool(d.int(0, 1)), **window),
        op("centre_weighted_pool", **window),
        op("l2_pool", **window),
        op("lp_pool", p=float(d.rng.choice([2, 3, 4.5])), **window),
        op("global_average_pool"),
        op("mean", axes=(0, 2), keep=bool(d.int(0, 1))),
    ):
        check(node, [x], {}, d.rng)


def test_stochastic_pool_passes_to_the_word_it_drew() -> None:
    rng = np.random.default_rng(3)
    node, x = op("stochastic_pool", R=2, seed=5), rng.normal(size=(2, 3, 6, 6))
    y, g = node.run([x], {}), rng.normal(size=(2, 3, 3, 3))
    (at_input,), _ = gradient(node, [x], g, {})
    blocks, gathered = (a.reshape(2, 3, 3, 2, 3, 2).swapaxes(3, 4) for a in (x, at_input))
    assert np.array_equal((gathered != 0).sum(axis=(4, 5)), y > 0)
    assert np.array_equal(blocks[gathered != 0], y[y > 0]) and np.array_equal(
        gathered.sum(axis=(4, 5)), np.where(y > 0, g, 0)
    )
    words, block = (
        rng.integers(-128, 128, x.shape),
        BlockFloat(rng.integers(-128, 128, g.shape), -3),
    )
    scales = Scales((0.25,), 0.25)
    (part,), _ = gradient_words(node, [words], block, {}, scales)
    drawn = node.words([words], {}, scales)
    routed = part.words.reshape(2, 3, 3, 2, 3, 2).swapaxes(3, 4)
    assert np.array_equal(routed.sum(axis=(4, 5)), np.where(drawn > 0, block.words, 0))
    assert (
        words.reshape(2, 3, 3, 2, 3, 2).swapaxes(3, 4)[routed != 0]
        == drawn[(drawn > 0) & (block.words != 0)]
    ).all()


@pytest.mark.parametrize("seed", range(TRIALS))
def test_normalization(seed: int) -> None:
    d = Draw(seed)
    n, c, h, w = d.int(1, 2), 2 * d.int(1, 3), d.int(3, 6), d.int(3, 6)
    x = d.normal(n, c, h, w)
    channel = {"scale": d.normal(c), "shift": d.normal(c)}
    check(
        op("batch_norm"),
        [x],
        channel | {"mean": d.normal(c), "variance": np.abs(d.normal(c)) + 0.1},
        d.rng,
    )
    check(op("group_norm", groups=d.int(1, 2)), [x], channel, d.rng)
    check(op("layer_norm"), [x], {"scale": d.normal(w), "shift": d.normal(w)}, d.rng)
    check(
        op("layer_norm", axes=(0, 2)),
        [x],
        {"scale": d.normal(c, w), "shift": d.normal(c, w)},
        d.rng,
    )
    check(op("local_response_norm", size=d.int(1, 6), alpha=0.3, beta=0.6, k=1.5), [x], {}, d.rng)
    check(op("local_contrast_norm", size=2 * d.int(0, 2) + 3, sigma=1.2), [x], {}, d.rng)


@pytest.mark.parametrize("seed", range(2 * TRIALS))
def test_layers(seed: int) -> None:
    d = Draw(seed)
    groups, m, c, r, s, n = (
        d.int(1, 3),
        d.int(1, 3),
        d.int(1, 3),
        d.int(1, 3),
        d.int(1, 3),
        d.int(1, 3),
    )
    stride, dilation, pads = (
        (d.int(1, 3), d.int(1, 2)),
        (d.int(1, 2), d.int(1, 2)),
        tuple(d.int(0, 2) for _ in range(4)),
    )
    common = {"M": m, "R": r, "S": s, "stride": stride, "dilation": dilation, "bias": True}
    x = d.dyadic(n, groups * c, d.int(5, 9), d.int(5, 9)) / 8

    def run(node: Any, *xs: Array) -> None:
        check(
            node,
            list(xs),
            {
                k: d.dyadic(*shape)
                for k, shape in node.parameters(*(x.shape[1:] for x in xs)).items()
            },
            d.rng,
            exact=True,
        )

    run(op("conv2d", groups=groups, padding=pads, flip=bool(d.int(0, 1)), **common), x)
    run(op("depthwise", padding=pads, **common), x)
    extra = (d.int(0, stride[0] - 1), d.int(0, stride[1] - 1))
    run(op("conv_transpose", groups=groups, padding=(0, 0, 0, 0), extra=extra, **common), x)
    run(op("linear", M=d.int(1, 5), bias=True), x)
    run(op("dense", M=d.int(1, 5), bias=True), d.dyadic(n, d.int(1, 5), d.int(1, 5)))
    run(op("dense", M=d.int(1, 5)), d.dyadic(n, 3))
    turned = bool(d.int(0, 1)), bool(d.int(0, 1))
    rows, inner, cols = d.int(1, 4), d.int(1, 4), d.int(1, 4)
    for places in (((2,), (2,)), ((d.int(1, 3), 4), (2,)), ((2,), (1, 2 * d.int(1, 3)))):
        a, b = (
            d.dyadic(n, *places[0], *((inner, rows) if turned[0] else (rows, inner))),
            d.dyadic(n, *places[1], *((cols, inner) if turned[1] else (inner, cols))),
        )
        run(op("matmul", transpose_a=turned[0], transpose_b=turned[1]), a, b)


def test_every_operator_has_a_gradient_or_a_reason() -> None:
    needs: dict[str, dict[str, Any]] = {
        "power": {"exponent": 2.0},
        "lp_pool": {"p": 2.0},
        "group_norm": {"groups": 1},
        "split_heads": {"heads": 1},
        "transpose": {"order": (0,)},
        "parameter": {"shape": (1,)},
        "reshape": {"shape": (1,)},
        "pad": {"padding": 1},
        "upsample": {"scale": 2},
        "mean": {"axes": (0,)},
        "sum": {"axes": (0,)},
        "embedding": {"rows": 2},
    }
    for kind, model in OPERATORS.items():
        fields = needs.get(kind, {}) | {
            k: 1
            for k in ("M", "R")
            if k in model.model_fields and model.model_fields[k].is_required()
        }
        assert refusal(op(kind, **fields)) is None, kind
    assert "has no gradient; leave expected out" in str(
        refusal(op("stochastic_pool", R=2, expected=True))
    )

    class Unknown(Operator):
        type: str = "unknown"

        def infer(self, *shapes: Shape) -> Shape:
            return shapes[0]

        def work(self, *shapes: Shape) -> Work:
            return Work()

        def run(self, xs: Any, weights: Any) -> Array:
            return np.asarray(xs[0])

    assert refusal(Unknown()) == "unknown has no gradient"
    with pytest.raises(ValueError, match="unknown has no gradient"):
        gradient(Unknown(), [np.zeros((1, 2))], np.zeros((1, 2)), {})


# In words -----------------------------------------------------------------------------------------

EXACT = [
    *(
        "relu",
        "max_pool",
        "average_pool",
        "centre_weighted_pool",
        "global_average_pool",
        "global_max_pool",
    ),
    *("mean", "sum", "flatten", "pad", "upsample"),
]
DIVISORS = {
    "average_pool": 36,
    "centre_weighted_pool": 144,
    "global_average_pool": 56,
    "mean": 21,
    "upsample": 36,
}
TABLES = [
    "tanh",
    "sigmoid",
    "gelu",
    "softplus",
    "leaky_relu",
    "elu",
    "square",
    "reciprocal",
    "sqrt",
]
FLOATS = ["l2_pool", "lp_pool", "local_response_norm", "local_contrast_norm"]
FIELDS: dict[str, dict[str, Any]] = {
    "max_pool": {"R": 3, "stride": 2, "padding": 1},
    "average_pool": {"R": 3, "stride": 2, "padding": 1},
    "centre_weighted_pool": {"R": 3, "padding": 1},
    "mean": {"axes": (0, 1)},
    "sum": {"axes": (2,)},
    "pad": {"padding": 2, "mode": "reflect"},
    "upsample": {"scale": 3, "mode": "bilinear"},
    "l2_pool": {"R": 2},
    "lp_pool": {"R": 2, "p": 3.0},
}


@pytest.mark.parametrize("kind", EXACT + TABLES + FLOATS)
@pytest.mark.parametrize("bits", [8, 16])
def test_words_are_the_float_gradient(kind: str, bits: int) -> None:
    """Exactly where the derivative is a whole number over a divisor, to 2^-22 through a table or
    float64.
    """
    rng = np.random.default_rng(bits)
    node, number = op(kind, **FIELDS.get(kind, {})), Number(bits)
    x = rng.integers(number.low, number.high + 1, (2, 3, 7, 8))
    scale = 2.0 ** (2 - bits)
    g = BlockFloat(rng.integers(number.low, number.high + 1, (2, *node.infer(x.shape[1:]))), -9)
    (at_input,), own = gradient_words(node, [x], g, {}, Scales((scale,), scale, number))
    assert not own
    with np.errstate(divide="ignore"):
        (want,), _ = gradient(node, [x * scale], g.values, {})
    want = np.where(np.isfinite(want), want, 0)
    if kind in EXACT:
        np.testing.assert_allclose(
            at_input.values, want, rtol=1e-14, atol=1e-15 * np.abs(want).max()
        )
        assert at_input.divisor == DIVISORS.get(kind, 1)
    else:
        # A table's error is half a unit of its largest entry, times the word it is multiplied by.
        steepest = 1.0
        if kind in TABLES:
            with np.errstate(divide="ignore"):
                slopes = np.abs(derivative(node, np.unique(x) * scale))
            steepest = slopes[np.isfinite(slopes)].max()
        slack = 2.0**-23 * steepest * np.abs(g.values).max()
        np.testing.assert_allclose(at_input.values, want, rtol=0, atol=slack)


def test_words_of_softmax_products_and_batch_norm() -> None:
    rng = np.random.default_rng(0)
    number = Number(8)

    def words(*shape: int) -> Array:
        return rng.integers(-128, 128, shape)

    # p (g - sum p g), with the softmax's own words as p.
    node, x, g = op("softmax"), words(2, 3, 6), BlockFloat(words(2, 3, 6), -4)
    scales = Scales((2.0**-4,), 2.0**-7, number)
    p = node.words([x], {}, scales)
    (at_input,), _ = gradient_words(node, [x], g, {}, scales)
    for i in np.ndindex(2, 3):
        share = [Fraction(int(v), 128) for v in p[i]]
        up = [Fraction(int(v), 16) for v in g.words[i]]
        inner = sum(a * b for a, b in zip(share, up, strict=True))
        assert [a * (b - inner) for a, b in zip(share, up, strict=True)] == [
            Fraction(float(v)) for v in at_input.values[i]
        ]
    # Products exactly, broadcasting.
    a, b, g = words(2, 3, 4, 5), words(2, 4, 1), BlockFloat(words(2, 3, 4, 5), -3)
    found_a, found_b = gradient_words(
        op("multiply"), [a, b], g, {}, Scales((0.5, 0.25), 1.0, number)
    )[0]
    floats = gradient(op("multiply"), [a * 0.5, b * 0.25], g.values, {})[0]
    assert np.array_equal(found_a.values, floats[0]) and np.array_equal(found_b.values, floats[1])
    # Batch normalization: sums exact, the rest to a table's 24 bits.
    weights = {
        "scale": rng.normal(size=3),
        "shift": rng.normal(size=3),
        "mean": rng.normal(size=3),
        "variance": rng.uniform(0.5, 2, 3),
    }
    g = BlockFloat(words(2, 3, 4, 5), -3)
    (at_input,), own = gradient_words(
        op("batch_norm"), [a], g, weights, Scales((0.5,), 1.0, number)
    )
    (want,), floats_own = gradient(op("batch_norm"), [a * 0.5], g.values, weights)
    np.testing.assert_allclose(at_input.values, want, atol=2.0**-22 * np.abs(want).max())
    assert np.array_equal(own["shift"].values, floats_own["shift"])
    np.testing.assert_allclose(own["scale"].values, floats_own["scale"], rtol=1e-10)


def test_a_window_without_a_common_divisor_goes_through_float64() -> None:
    rng = np.random.default_rng(0)
    node, x = (
        op("average_pool", R=13, stride=1, padding=12),
        rng.integers(-128, 128, (1, 1, 20, 20)),
    )
    g = BlockFloat(rng.integers(-128, 128, (1, *node.infer((1, 20, 20)))), 0)
    (at_input,), _ = gradient_words(node, [x], g, {}, Scales((1.0,), 1.0))
    (want,), _ = gradient(node, [x * 1.0], g.values, {})
    assert at_input.divisor == 1 and np.allclose(
        at_input.values, want, rtol=0, atol=1e-12 * np.abs(want).max()
    )


# Block floating point -----------------------------------------------------------------------------

blocks = st.builds(
    lambda words, exponent, divisor: BlockFloat(np.array(words, np.int64), exponent, divisor),
    st.lists(st.integers(-(2**50), 2**50) | st.integers(-300, 300), min_size=1, max_size=6),
    st.integers(-60, 60),
    st.sampled_from([1, 2, 3, 9, 25, 49, 1000]),
)


def exactly(block: BlockFloat) -> list[Fraction]:
    return [Fraction(int(w)) * Fraction(2) ** block.exponent / block.divisor for w in block.words]


def slow(values: list[Fraction], number: Number) -> list[Fraction]:
    """The smallest exponent that holds every word, tried one after the other; halves to even as
    Python's round does.
    """
    if not any(values):
        return values
    exponent = math.floor(math.log2(max(abs(v) for v in values))) - number.bits - 2
    while max(abs(round(v / Fraction(2) ** exponent)) for v in values) > number.high:
        exponent += 1
    return [round(v / Fraction(2) ** exponent) * Fraction(2) ** exponent for v in values]


@settings(max_examples=300, deadline=None)
@given(blocks, st.sampled_from([2, 8, 12, 16]))
def test_narrowing(block: BlockFloat, bits: int) -> None:
    number = Number(bits)
    narrow = narrowed(block, number)
    assert narrow.divisor == 1 and np.abs(narrow.words).max() <= number.high
    assert exactly(narrow) == slow(exactly(block), number)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=6),
    st.sampled_from([4, 24, 48]),
)
def test_rounding_real_numbers(values: list[float], bits: int) -> None:
    values = [v if abs(v) > 1e-9 else 0.0 for v in values]
    block = rounded(np.array(values), Number(bits))
    assert exactly(block) == slow([Fraction(v) for v in values], Number(bits))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(-127, 127), min_size=3, max_size=3), st.integers(-12, 12)),
        min_size=2,
        max_size=5,
    )
)
def test_gradients_that_meet_are_added_exactly(parts: list[tuple[list[int], int]]) -> None:
    total = added(
        [BlockFloat(np.array(words, np.int64), exponent) for words, exponent in parts], Number(8)
    )
    sums = [
        sum(
            (Fraction(words[i]) * Fraction(2) ** exponent for words, exponent in parts), Fraction(0)
        )
        for i in range(3)
    ]
    assert exactly(total) == slow(sums, Number(8))


def test_blocks() -> None:
    block = BlockFloat(np.array([1, -3]), -1, 3)
    assert (
        block.same(BlockFloat(np.array([1, -3]), -1, 3))
        and not block.same(BlockFloat(np.array([1, -3]), 0, 3))
        and not block.same(BlockFloat(np.array([1, 3]), -1, 3))
    )
    assert list(rounded(np.array([np.nan, np.inf, 1.0]), Number(8)).values) == [0, 0, 1]
    assert (exponent_of(0.25), exponent_of(8.0)) == (-2, 3)
    with pytest.raises(ValueError, match="power of two"):
        exponent_of(0.3)
    far = added([BlockFloat(np.array([1]), 100), BlockFloat(np.array([1]), -100)], Number(8))
    assert far.values[0] == 2.0**100, "the small one is below the large one's last bit"


# Losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3, 2)])
def test_losses(loss: losses.Loss, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    words, scale = rng.integers(-128, 128, shape), 2.0**-5
    targets = (
        rng.integers(0, shape[1], (shape[0], *shape[2:]))
        if loss == "cross_entropy"
        else rng.integers(-99, 99, shape) * scale
    )
    output = words * scale
    g, d, h = losses.start(loss, output, targets), rng.normal(size=shape), 1e-5
    difference = losses.value(loss, output + h * d, targets) - losses.value(
        loss, output - h * d, targets
    )
    assert float((g * d).sum()) == pytest.approx(difference / (2 * h), rel=1e-6, abs=1e-9)
    first = losses.start_words(loss, words, scale, targets)
    np.testing.assert_allclose(
        first.values,
        g,
        rtol=0,
        atol=0 if loss == "squared_error" and shape[0] == 2 else 2.0**-14 / first.divisor,
    )


def test_array_operators_are_the_ones_the_engines_run() -> None:
    """No layer has words' gradients of its own here: they are the array's."""
    for model in OPERATORS.values():
        if issubclass(model, ArrayOperator):
            assert gradient_words.dispatch(model) is gradient_words.dispatch(object)


def test_every_operator_is_tried() -> None:
    """By name in this file, or among the activations that are drawn from ``_PLAIN``."""
    text = Path(__file__).read_text("utf-8")
    drawn = {*_PLAIN, "identity"}
    assert {kind for kind in OPERATORS if f'"{kind}"' not in text} <= drawn


def test_an_activation_without_a_derivative_is_refused() -> None:
    class Unheard(Elementwise):
        type: str = "unheard"

        def apply(self, x: Any) -> Any:
            return x

    Unheard.model_rebuild()
    assert "registers no derivative" in str(refusal(Unheard()))
