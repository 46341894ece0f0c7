"""Arithmetic and golden: the fast exact engine against the obvious nest, and both against
independent definitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import correlate  # type: ignore[import-untyped]

from accelsim.engines.golden import golden_layer as golden
from accelsim.workload.arithmetic import (
    Number,
    Requantize,
    Rounding,
    random_data,
    random_operand,
    requantize,
    wrap,
)
from accelsim.workload.problem import Direction, Problem

INT8, INT16, INT32, WIDE = Number(8), Number(16), Number(32), Number(48)
DIRECTIONS = get_args(Direction)

operands = st.builds(Number, st.integers(1, 16), st.booleans())
accumulators = st.builds(Number, st.integers(2, 48), st.booleans())
seeds = st.integers(0, 2**32)


def conv(size: int = 6, taps: int = 3, **changes: Any) -> Problem:
    """A square layer of one word in every other dimension; its output size follows from
    ``changes``.
    """
    p: dict[str, Any] = {"stride": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}
    p |= dict.fromkeys("NGMC", 1) | dict.fromkeys("RS", taps) | dict.fromkeys("HW", size) | changes
    e, f = (
        (p[size] + sum(p["padding"][2 * i : 2 * i + 2]) - p["dilation"][i] * (p[taps] - 1) - 1)
        // p["stride"][i]
        + 1
        for i, (size, taps) in enumerate((("H", "R"), ("W", "S")))
    )
    return Problem(E=e, F=f, **p)


@st.composite
def problems(draw: st.DrawFn, directions: tuple[Direction, ...] = DIRECTIONS) -> Problem:
    """Small layers with everything odd: stride beyond the filter, padding beyond it, depthwise,
    one-word dimensions.
    """

    def side() -> tuple[int, int, int, int, int, int]:
        u, d, taps, low, high = (
            draw(st.integers(a, b)) for a, b in ((1, 4), (1, 3), (1, 4), (0, 4), (0, 4))
        )
        least = max(d * (taps - 1) + 1 - low - high, 1)
        return taps, least + draw(st.integers(0, 9)), u, d, low, high

    (r, h, uh, dh, top, bottom), (s, w, uw, dw, left, right) = side(), side()
    depthwise = draw(st.booleans())
    limits = {"N": 2, "G": 5, "M": 1, "C": 1} if depthwise else {"N": 2, "G": 2, "M": 3, "C": 3}
    sizes = {d: draw(st.integers(1, limit)) for d, limit in limits.items()}
    return conv(
        **sizes | {"R": r, "S": s, "H": h, "W": w},
        stride=(uh, uw),
        dilation=(dh, dw),
        padding=(top, bottom, left, right),
        bias=draw(st.booleans()),
        direction=draw(st.sampled_from(directions)),
    )


@settings(max_examples=700, deadline=None)
@given(problems(), operands, operands, operands, accumulators, seeds)
def test_fast_equals_loops(
    p: Problem, weight: Number, ifmap: Number, ofmap: Number, psum: Number, seed: int
) -> None:
    data = random_data(p, weight, ifmap, ofmap, psum, seed)
    fast = golden.accumulate(p, data, psum)
    assert fast.dtype == np.int64 and fast.shape == p.shape(p.accumulated)
    assert psum.low <= fast.min() and fast.max() <= psum.high
    np.testing.assert_array_equal(fast, golden.loops(p, data, psum))


@settings(max_examples=400, deadline=None)
@given(
    problems(),
    operands,
    accumulators,
    seeds,
    st.integers(1, 40),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_splitting_changes_nothing(
    p: Problem,
    number: Number,
    psum: Number,
    seed: int,
    terms: int,
    block_words: int,
    cache_words: int,
) -> None:
    data = random_data(p, number, number, number, psum, seed)
    a, b = (int(np.abs(data[name].astype(int)).max()) for name in p.operands)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(golden, "EXACT", terms * max(a, 1) * max(b, 1))
        patch.setattr(golden, "BLOCK_WORDS", block_words)
        patch.setattr(golden, "CACHE_WORDS", cache_words)
        split = golden.accumulate(p, data, psum)
    np.testing.assert_array_equal(split, golden.loops(p, data, psum))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_sums_beyond_float64_are_split(
    direction: Direction, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = conv(C=channels, M=channels, direction=direction)
    rng = np.random.default_rng(1)
    data = {name: rng.integers(2**26 - 9, 2**26, p.shape(name)) for name in p.operands}
    expected = golden.loops(p, data, WIDE)
    np.testing.assert_array_equal(golden.accumulate(p, data, WIDE), expected)
    monkeypatch.setattr(golden, "EXACT", 2**62)
    assert (golden.accumulate(p, data, WIDE) != expected).any(), (
        "the data does not exercise the bound"
    )


@settings(max_examples=150, deadline=None)
@given(problems(("forward",)), seeds)
def test_forward_is_scipys_correlation(p: Problem, seed: int) -> None:
    p = replace(p, bias=False)
    data = random_data(p, INT8, INT8, INT8, INT32, seed)
    ifmap = np.pad(
        data["ifmap"].astype(int), ((0, 0), (0, 0), (0, 0), p.padding[:2], p.padding[2:])
    )
    dilated = np.zeros(
        (*p.shape("weight")[:3], p.dilation[0] * (p.R - 1) + 1, p.dilation[1] * (p.S - 1) + 1), int
    )
    dilated[..., :: p.dilation[0], :: p.dilation[1]] = data["weight"]
    actual = golden.accumulate(p, data, INT32)
    for n, g, m in np.ndindex(p.N, p.G, p.M):
        full = correlate(ifmap[n, g], dilated[g, m], mode="valid", method="direct")[0]
        np.testing.assert_array_equal(actual[n, g, m], full[:: p.stride[0], :: p.stride[1]])


@settings(max_examples=150, deadline=None)
@given(problems(("forward",)), seeds)
def test_gradients_are_the_adjoints(p: Problem, seed: int) -> None:
    """<g, conv(x, dw)> = <grad_weight(x, g), dw> and <g, conv(dx, w)> = <grad_input(w, g), dx>, in
    exact integers.
    """
    p, rng = replace(p, bias=False), np.random.default_rng(seed)
    dw, dx, g = (random_operand(p.shape(name), INT8, rng) for name in ("weight", "ifmap", "ofmap"))

    def inner(a: NDArray[Any], b: NDArray[Any]) -> int:
        return int((a.astype(object) * b.astype(object)).sum())

    def run(direction: Direction, **data: NDArray[Any]) -> NDArray[np.int64]:
        return golden.accumulate(p.with_direction(direction), data, WIDE)

    forward = inner(g, run("forward", weight=dw, ifmap=dx))
    assert forward == inner(run("grad_weight", ifmap=dx, ofmap=g), dw)
    assert forward == inner(run("grad_input", weight=dw, ofmap=g), dx)


def test_a_layer_of_real_size() -> None:
    p = conv(28, 5, M=6, padding=(2, 2, 2, 2), bias=True)  # LeNet-5's first
    data = random_data(p, INT8, INT8, INT8, INT32, 0)
    np.testing.assert_array_equal(golden.accumulate(p, data, INT32), golden.loops(p, data, INT32))


def test_out_is_filled_and_returned() -> None:
    p = conv(bias=True)
    data = random_data(p, INT8, INT8, INT8, INT32, 0)
    out = np.full(p.shape("ofmap"), 7)
    assert golden.accumulate(p, data, INT32, out) is out
    np.testing.assert_array_equal(out, golden.loops(p, data, INT32))
    with pytest.raises(ValueError, match="out must be int64 of shape"):
        golden.accumulate(p, data, INT32, out[0])


def test_run() -> None:
    p = conv()
    data = random_data(p, INT8, INT8, INT8, INT32, 0)
    acc, words = golden.run(p, data, INT32)
    assert words is None
    spec = Requantize(7, relu=True)
    acc, words = golden.run(p, data, INT32, requantize=spec, out=INT8)
    np.testing.assert_array_equal(words, requantize(acc, spec, INT8))
    with pytest.raises(ValueError, match="a rule and an output type"):
        golden.run(p, data, INT32, requantize=spec)


@pytest.mark.parametrize("engine", [golden.loops, golden.accumulate])
def test_bad_data_is_named(engine: Any) -> None:
    p = conv(bias=True)
    good = random_data(p, INT8, INT8, INT8, INT32, 0)
    cases: list[tuple[dict[str, Any], Number, str]] = [
        ({"ifmap": good["ifmap"], "weight": good["weight"]}, INT32, "got no bias"),
        (
            good | {"ifmap": good["ifmap"][0]},
            INT32,
            r"ifmap must be integers of shape \(1, 1, 1, 6, 6\)",
        ),
        (good | {"weight": good["weight"] * 1.0}, INT32, "weight must be integers .* got float64"),
        (good, Number(1), "accumulator psum must have 2 to 48 bits, got 1"),
    ]
    for data, psum, message in cases:
        with pytest.raises(ValueError, match=message):
            engine(p, data, psum)


def test_products_beyond_float64_are_refused() -> None:
    p = conv(1, 1)
    with pytest.raises(ValueError, match="products must be at most"):
        golden.accumulate(
            p, {"weight": np.full((1,) * 5, 2**27), "ifmap": np.full((1,) * 5, -(2**27))}, WIDE
        )


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.builds(Number, st.integers(1, 48), st.booleans()),
)
def test_wrap_is_the_register(values: list[int], number: Number) -> None:
    expected = [(v - number.low) % 2**number.bits + number.low for v in values]
    words = np.array(values, np.int64)
    assert wrap(words, number).tolist() == expected
    assert words.tolist() == values
    if all(abs(v) <= 2**53 for v in values):
        assert wrap(words.astype(np.float64), number).tolist() == expected


def test_wrap_takes_what_it_can_keep_exactly() -> None:
    assert wrap(np.array([-(2.0**62), 2.0**53, -3.0]), INT8).tolist() == [0, 0, -3]
    assert wrap(np.array(200, np.uint8), INT8) == -56
    assert wrap(np.array([2**64 - 1], np.uint64), INT8).tolist() == [-1]
    for bad in (0.5, np.nan, np.inf, 2.0**63):
        with pytest.raises(ValueError, match="only integers in the int64 range wrap"):
            wrap(np.array([bad]), INT8)
    with pytest.raises(TypeError, match="only integers wrap"):
        wrap(np.array([1j]), INT8)


def test_number() -> None:
    assert [(n.low, n.high) for n in (Number(1), Number(1, False), INT8, Number(48))] == [
        *((-1, 0), (0, 1), (-128, 127)),
        (-(2**47), 2**47 - 1),
    ]
    for bits in range(1, 49):
        size = next(b for b in (8, 16, 32, 64) if b >= bits)
        assert (Number(bits).dtype, Number(bits, False).dtype) == (
            np.dtype(f"int{size}"),
            np.dtype(f"uint{size}"),
        )
    for bits in (0, 49):
        with pytest.raises(ValueError, match=f"1 to 48 bits, got {bits}"):
            Number(bits)
    with pytest.raises(ValueError, match="operand ifmap must have 1 to 16 bits, got 17"):
        random_data(conv(), INT8, Number(17), INT8, INT32, 0)


ROUND: dict[Rounding, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "half_up": lambda x: math.floor(x + Fraction(1, 2)),
    "half_even": round,
    "toward_zero": math.trunc,
}


@pytest.mark.parametrize("rounding", get_args(Rounding))
@given(
    st.lists(st.one_of(st.integers(-40, 40), st.integers(-(2**47), 2**47 - 1)), min_size=1),
    *(st.integers(0, 62) | st.integers(0, 4), st.booleans(), operands),
)
def test_requantize_is_the_fraction_rounded(
    rounding: Rounding, acc: list[int], shift: int, relu: bool, out: Number
) -> None:
    rounded = [ROUND[rounding](Fraction(v, 2**shift)) for v in acc]
    expected = [min(max(v, 0 if relu else v, out.low), out.high) for v in rounded]
    words = requantize(np.array(acc, np.int64), Requantize(shift, rounding, relu), out)
    assert words.dtype == out.dtype and words.tolist() == expected


def test_requantize_ties_and_saturation() -> None:
    acc = np.array([-6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6])
    expected = {
        "floor": [-3, -3, -2, -1, -1, 0, 0, 1, 1, 2, 3],
        "half_up": [-3, -2, -1, -1, 0, 0, 1, 1, 2, 3, 3],
        "half_even": [-3, -2, -2, -1, 0, 0, 0, 1, 2, 2, 3],
        "toward_zero": [-3, -2, -1, -1, 0, 0, 0, 1, 1, 2, 3],
    }
    for rounding in get_args(Rounding):
        assert requantize(acc, Requantize(1, rounding), INT8).tolist() == expected[rounding]
    ends = np.array([-(2**47), -129, -128, 127, 128, 2**47 - 1])
    assert requantize(ends, Requantize(0), INT8).tolist() == [-128, -128, -128, 127, 127, 127]
    assert requantize(ends, Requantize(0, relu=True), INT8).tolist() == [0, 0, 0, 127, 127, 127]
    assert requantize(ends, Requantize(0), Number(8, False)).tolist() == [0, 0, 0, 127, 128, 255]


def test_requantize_refuses() -> None:
    for shift in (-1, 63):
        with pytest.raises(ValueError, match=f"shift must be 0 to 62 bits, got {shift}"):
            Requantize(shift)
    with pytest.raises(ValueError, match=r"rounding must be one of floor, .*, got 'nearest'"):
        Requantize(1, "nearest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="operand ofmap must have 1 to 16 bits, got 17"):
        requantize(np.zeros(1, np.int64), Requantize(1), Number(17))


@given(
    st.builds(Number, st.integers(1, 48), st.booleans()),
    st.sampled_from([(), (1,), (2,), (3, 5)]),
    seeds,
)
def test_random_operand_covers_the_type(number: Number, shape: tuple[int, ...], seed: int) -> None:
    values = random_operand(shape, number, np.random.default_rng(seed))
    assert values.shape == shape and values.dtype == number.dtype
    assert number.low <= values.min() and values.max() <= number.high
    if values.size >= 2:
        assert (values.min(), values.max()) == (number.low, number.high)


def test_random_operand_is_uniform() -> None:
    _, counts = np.unique(
        random_operand((4000,), Number(2), np.random.default_rng(0)), return_counts=True
    )
    assert len(counts) == 4 and counts.min() > 900


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_random_data(direction: Direction) -> None:
    p = conv(M=2, C=3, G=2, bias=True, direction=direction)
    numbers = {"weight": Number(4), "ifmap": Number(8, False), "ofmap": Number(12)}
    data, again, other = (
        random_data(p, **numbers, psum=Number(20), seed=seed) for seed in (5, 5, 6)
    )
    assert data.keys() == {*p.operands, *(["bias"] if direction == "forward" else [])}
    for name in p.operands:
        assert data[name].shape == p.shape(name)
        assert (data[name].min(), data[name].max()) == (numbers[name].low, numbers[name].high)
        np.testing.assert_array_equal(data[name], again[name])
    assert any((data[name] != other[name]).any() for name in p.operands)
    if direction == "forward":
        assert data["bias"].shape == (2, 2) and data["bias"].min() == Number(20).low
