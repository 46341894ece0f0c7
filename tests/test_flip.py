"""``Conv2d(flip=True)``: convolution as mathematics has it, through golden and both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import convolve2d

import accelsim as acc
from accelsim.engines import golden
from accelsim.engines.golden import golden_layer
from accelsim.results import execute as executing
from accelsim.workload.arithmetic import Number, random_data

INT32 = Number(32)


def drawn(problem: acc.Problem, seed: int) -> dict[str, Any]:
    """Small operands of a problem."""
    return random_data(problem, Number(6), Number(6), Number(6), INT32, seed)


@pytest.mark.parametrize("direction", ["forward", "grad_weight", "grad_input"])
def test_golden_is_the_eight_loops_with_the_filter_turned(direction: Any) -> None:
    draw = np.random.default_rng(3)
    for seed in range(12):
        r, s, u, d = (int(n) for n in draw.integers((1, 1, 1, 1), (4, 4, 3, 3)))
        layer = acc.Conv2d(
            M=2, C=2, H=7, W=6, R=r, S=s, stride=u, dilation=d, padding=1, groups=2,
            bias=bool(seed % 2), flip=True,
        )  # fmt: skip
        p = layer.directed(1, direction)
        data = drawn(p, seed)
        got = golden.accumulate(p, data, INT32)
        assert (got == golden_layer.loops(p, data, INT32)).all()
        plain = acc.Problem(**{k: getattr(p, k) for k in p.__dataclass_fields__ if k != "flip"})
        turned = {k: v[..., ::-1, ::-1] if k == "weight" else v for k, v in data.items()}
        same = golden.accumulate(plain, turned, INT32)
        assert (got == (same[..., ::-1, ::-1] if direction == "grad_weight" else same)).all()


def test_it_is_what_scipy_calls_convolution() -> None:
    p = acc.Conv2d(M=1, C=1, H=6, W=7, R=3, S=2, flip=True).problem()
    data = drawn(p, 0)
    ifmap, weight = data["ifmap"][0, 0, 0], data["weight"][0, 0, 0]
    want = convolve2d(ifmap.astype(int), weight.astype(int), "valid")
    assert (golden.accumulate(p, data, INT32)[0, 0, 0] == want).all()


LAYER = {"M": 3, "C": 2, "H": 6, "W": 6, "R": 3, "S": 2, "padding": 1, "name": "conv"}
ARRAY = {"array.rows": 3, "array.cols": 3}


@pytest.mark.parametrize("direction", ["forward", "grad_weight", "grad_input"])
@pytest.mark.parametrize("engine", ["event", "cycle"])
def test_engines_run_it_and_no_count_differs(engine: Any, direction: Any) -> None:
    rows = [
        acc.simulate(
            acc.Conv2d(**LAYER, flip=flip), "systolic", "ws", overrides=ARRAY, tiles="rule",
            engine=engine, check=True, direction=direction,
        ).rows[0]
        for flip in (False, True)
    ]  # fmt: skip
    plain, flipped = (dict(row.columns) for row in rows)
    assert flipped["bit_exact"] is True, flipped["error"]
    assert flipped == plain


def test_an_array_that_had_the_filter_as_it_lies_would_be_seen(monkeypatch: Any) -> None:
    monkeypatch.setattr(executing, "laid_out", lambda problem, data: data)
    row = acc.simulate(
        acc.Conv2d(**LAYER, flip=True), "systolic", "ws", overrides=ARRAY, tiles="rule", check=True
    ).rows[0]
    assert row.columns["bit_exact"] is False and "expected" in str(row.columns["error"])


def test_from_a_file_and_into_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nlayers:\n  - {name: a, M: 2, C: 1, H: 4, W: 4, R: 3, S: 3, flip: true}\n"
    )
    (layer,) = acc.load_workload(path).layers
    assert layer.problem().flip and layer.stated()["flip"] is True
    assert not acc.Conv2d(**LAYER).problem().flip
    path.write_text(path.read_text().replace("flip: true", "flip: 3"))
    with pytest.raises(acc.InputError, match="flip"):
        acc.load_workload(path)
