"""The run-length code, feature maps of a stated sparsity, gated MACs, and what a feature map takes
on the link.
"""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nests import random_nest

from accelsim.engines import analytic
from accelsim.engines.analytic import link_coding
from accelsim.engines.event.movement import movement
from accelsim.engines.event.transfers import Drain, Fill
from accelsim.workload.arithmetic import Number
from accelsim.workload.coding import Coded, RunLength, entropy_bits
from accelsim.workload.problem import Problem
from accelsim.workload.sparsity import feature_map, macs_gated, rectified, zero_share

CODE = RunLength()
INT16, UINT16 = Number(16), Number(16, signed=False)


def decode_slowly(words: list[int], code: RunLength) -> list[int]:
    """All values the words stand for, pair by pair, zeros of unused pairs included."""
    values: list[int] = []
    width = code.run_bits + code.level_bits
    for word in words:
        pairs = word >> 1
        for i in reversed(range(code.pairs_per_word)):
            pair = pairs >> (width * i) & ((1 << width) - 1)
            values += [0] * (pair >> code.level_bits) + [pair & ((1 << code.level_bits) - 1)]
    return values


def test_one_word_by_hand():
    """Three pairs and the end bit."""
    values = np.array([0, 0, 12, 0, 0, 0, 0, 53, 0, 0, 22])
    (word,) = CODE.encode(values)
    assert int(word) == 2 << 59 | 12 << 43 | 4 << 38 | 53 << 22 | 2 << 17 | 22 << 1 | 1


@given(
    st.integers(0, 200).flatmap(
        lambda n: hnp.arrays(
            np.int16, n, elements=st.sampled_from([0, 0, 0, 1, -1, -(2**15), 2**15 - 1])
        )
    ),
    st.sampled_from([CODE, RunLength(1, 16, 64), RunLength(3, 16, 32), RunLength(4, 16, 21)]),
)
def test_round_trip_of_any_values(values, code):
    words = code.encode(values)
    assert np.array_equal(code.decode(words, values.shape, INT16), values)
    assert code.bits(values) == code.word_bits * len(words)
    slow = decode_slowly([int(w) for w in words], code)
    assert slow[: values.size] == [int(v) & 0xFFFF for v in values]
    assert not any(slow[values.size :])


@given(
    st.floats(0, 1),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([INT16, UINT16, Number(8)]),
)
@settings(max_examples=40, deadline=None)
def test_round_trip_of_feature_maps(zeros, blur, seed, number):
    values = feature_map((2, 3, 13, 17), number, zeros, np.random.default_rng(seed), blur=blur)
    assert zero_share(values) == round(zeros * values.size) / values.size
    words = CODE.encode(values)
    assert np.array_equal(CODE.decode(words, values.shape, number), values)
    assert CODE.bits(values) == 64 * len(words) >= entropy_bits(values)


@pytest.mark.parametrize("zeros", [0.0, 32 / 33, 1.0])
def test_long_runs(zeros):
    values = np.zeros(33 * 64, np.int16)
    values[32::33] = 7 if zeros < 1 else 0
    values = values if zeros else values + 1
    assert np.array_equal(CODE.decode(CODE.encode(values), values.shape, INT16), values)


def test_damaged_streams_are_refused():
    values = np.arange(8, dtype=np.int16)
    words = CODE.encode(values)
    with pytest.raises(ValueError, match="end bit"):
        CODE.decode(words[:-1], (6,), INT16)
    with pytest.raises(ValueError, match="30 are wanted"):
        CODE.decode(words, (30,), INT16)
    with pytest.raises(ValueError, match="2 values end before the last of 3 words"):
        CODE.decode(words, (2,), INT16)
    with pytest.raises(ValueError, match="levels have 16 bits"):
        CODE.encode(np.array([70000]))
    with pytest.raises(ValueError, match="at least one pair"):
        RunLength(word_bits=20)


@pytest.mark.parametrize(
    ("zeros", "over"),
    [(0.0, 0.34), (0.25, 0.25), (0.5, 0.20), (0.6, 0.16), (0.75, 0.11), (0.8, 0.09), (0.9, 0.16)],
)
def test_size_against_the_entropy_bound(zeros, over):
    """JSSC 2017 finds the code 5 to 10 % above the entropy on its sparse layers; at 75 to 80 %
    zeros we do too.
    """
    values = feature_map((64, 55, 55), INT16, zeros, np.random.default_rng(1))
    bits = CODE.bits(values)
    assert 1 <= bits / entropy_bits(values) < 1 + over
    assert bits == pytest.approx(CODE.expected_bits(values.size, zeros), rel=0.01)


@pytest.mark.parametrize("blur", [0, 2])
def test_below_a_quarter_zeros_data_grow_and_say_so(blur):
    assert CODE.break_even == 0.25
    for zeros in (0.0, 0.1, 0.24, 0.27, 0.5):
        values = feature_map((16, 32, 32), INT16, zeros, np.random.default_rng(2), blur=blur)
        size = Coded(values.size * 16, CODE.bits(values), zero_share(values))
        note = size.note("dram ifmap", CODE)
        if zeros < 0.25:
            assert (
                size.grew
                and size.ratio > 1
                and "larger" in note
                and "above 25 %" in note.replace("25%", "25 %")
            )
        else:
            assert not size.grew and note is None
    assert CODE.bits(np.ones(3000, np.int16)) == 64000  # a third more than 48000


def test_rectified_sums_have_the_stated_share():
    sums = np.random.default_rng(0).integers(-(2**30), 2**30, (4, 2, 8, 9, 9))
    for zeros in (0.387, 0.793):
        assert zero_share(rectified(sums, INT16, zeros)) == pytest.approx(
            zeros, abs=1 / sums.size + 1e-9
        )


# -- gated MACs ------------------------------------------------------------------------------------


@st.composite
def problems(draw):
    size = {d: draw(st.integers(1, 2)) for d in "NGMC"}
    E, F, R, S = (draw(st.integers(1, 3)) for _ in range(4))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    H = max((E - 1) * stride + dilation * (R - 1) + 1 - pads[0] - pads[1], 1)
    W = max((F - 1) * stride + dilation * (S - 1) + 1 - pads[2] - pads[3], 1)
    E, F = (
        (H + pads[0] + pads[1] - dilation * (R - 1) - 1) // stride + 1,
        (W + pads[2] + pads[3] - dilation * (S - 1) - 1) // stride + 1,
    )
    return Problem(
        **size,
        E=E,
        F=F,
        R=R,
        S=S,
        H=H,
        W=W,
        stride=(stride,) * 2,
        dilation=(dilation,) * 2,
        padding=pads,
    )


@given(problems(), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_gated_macs_against_eight_loops(p, stored, seed):
    ifmap = feature_map(p.shape("ifmap"), INT16, 0.5, np.random.default_rng(seed))
    slow = 0
    for n, g, _, c, e, f, r, s in product(*(range(p.size[d]) for d in "NGMCEFRS")):
        h, w = (
            p.stride[0] * e + p.dilation[0] * r - p.padding[0],
            p.stride[1] * f + p.dilation[1] * s - p.padding[2],
        )
        slow += bool(ifmap[n, g, c, h, w] == 0) if 0 <= h < p.H and 0 <= w < p.W else stored
    assert macs_gated(p, ifmap, stored) == slow


def test_no_operand_no_gating():
    p = Problem(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, direction="grad_input")
    with pytest.raises(ValueError, match="accumulated"):
        macs_gated(p, np.zeros((1, 1, 1, 1, 1)), False)


# -- on the link -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_link_coding_follows_the_transfers(seed):
    """The same words, transfer by transfer, as the event engine moves over the outermost link, and
    the words analytic counts.
    """
    nest = random_nest(random.Random(seed), most=300, fuse=0.1, spatial=0.2)
    for tensor in ("ifmap", "ofmap"):
        values = feature_map(nest.problem.shape(tensor), INT16, 0.6, np.random.default_rng(seed))
        coded = link_coding.coded(nest, tensor, values)
        if coded is None:
            continue
        b = next(b for b in nest.boundaries if b.tensor == tensor)
        moved = analytic.moves(nest)[b]
        words = moved.arrived if tensor == nest.problem.accumulated else moved.read
        assert coded.raw_bits == getattr(nest.arch.bits, tensor) * words
        if (
            b.child < nest.levels - 1 and nest.arch.padding is None
        ):  # the transfers inside a pass are not listed one by one
            events = [e for e in movement(nest) if isinstance(e, (Fill, Drain)) and e.boundary == b]
            at = []
            for e in events:
                parts = e.takes if isinstance(e, Fill) else e.children
                words = np.sort(np.concatenate([x[1].flat for x in parts]))
                if isinstance(e, Drain) and words.size > sum(n for _, n in e.arrivals):
                    words = np.unique(words)  # added up on the way
                    assert words.size == sum(n for _, n in e.arrivals)
                at.append(words)
            assert coded.raw_bits == sum(x.size for x in at) * getattr(nest.arch.bits, tensor)
            assert coded.coded_bits == sum(CODE.bits(values.reshape(-1)[x]) for x in at)
