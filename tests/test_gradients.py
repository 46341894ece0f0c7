"""Both gradients: golden against its own forward and against SciPy, the engines against golden at
full size.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import accelsim as acc
from accelsim.engines import golden
from accelsim.workload.arithmetic import Number, random_data
from accelsim.workload.problem import Problem

WIDE = Number(48)
CONVOLUTIONS = {
    "lenet5": ("conv1", "conv2"),
    "alexnet": tuple(f"conv{i}" for i in range(1, 6)),
}


@pytest.mark.parametrize("direction", ["grad_weight", "grad_input"])
@pytest.mark.parametrize(
    ("network", "layers", "dataflow"),
    [
        pytest.param(network, layers, flow, marks=[pytest.mark.slow] if long else [])
        for network, layers in CONVOLUTIONS.items()
        for flow in ("ws", "os", "rs")
        for long in [network == "alexnet"]
    ],
)
def test_conv_layers_bit_exact(
    network: str, layers: tuple[str, ...], dataflow: str, direction: str
) -> None:
    result = acc.simulate(
        network, "eyeriss", dataflow, layers=layers, direction=direction, check=True
    )
    assert not result.failures
    assert [row.columns["bit_exact"] for row in result.rows] == [True] * len(layers)
    assert all(row.columns["direction"] == direction for row in result.rows)


def problems() -> st.SearchStrategy[Problem]:
    """One channel and filter, as SciPy convolves: stride 1, any padding."""

    def make(e: int, f: int, r: int, s: int, pads: tuple[int, int, int, int]) -> Problem:
        h, w = e + r - 1 - pads[0] - pads[1], f + s - 1 - pads[2] - pads[3]
        return (
            Problem(N=1, G=1, M=1, C=1, E=e, F=f, R=r, S=s, H=max(h, 1), W=max(w, 1), padding=pads)
            if min(h, w) > 0
            else make(e, f, r, s, (0,) * 4)
        )

    small = st.integers(1, 6)
    return st.builds(make, small, small, small, small, st.tuples(*[st.integers(0, 2)] * 4))


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 2**16))
def test_against_scipy(problem: Problem, seed: int) -> None:
    """forward and grad_weight are cross-correlations, grad_input is the full convolution (DESIGN
    section 2).
    """
    data = {}
    for direction in ("grad_weight", "grad_input"):
        data |= random_data(
            problem.with_direction(direction), Number(16), Number(16), Number(16), WIDE, seed
        )  # type: ignore[arg-type]
    image, kernel, upstream = (
        data[t][0, 0, 0].astype(np.int64) for t in ("ifmap", "weight", "ofmap")
    )
    top, bottom, left, right = problem.padding
    padded = np.pad(image, ((top, bottom), (left, right)))
    forward = golden.accumulate(problem, data, WIDE)[0, 0, 0]
    assert np.array_equal(forward, signal.correlate(padded, kernel, mode="valid", method="direct"))
    weight = golden.accumulate(problem.with_direction("grad_weight"), data, WIDE)[0, 0, 0]
    assert np.array_equal(weight, signal.correlate(padded, upstream, mode="valid", method="direct"))
    whole = signal.convolve(upstream, kernel, mode="full", method="direct")
    ifmap = golden.accumulate(problem.with_direction("grad_input"), data, WIDE)[0, 0, 0]
    assert np.array_equal(ifmap, whole[top : top + problem.H, left : left + problem.W])
