"""Fronts against the definition, sensitivities against what was put in."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accelsim as acc
from accelsim.explore.pareto import front


def by_definition(values: np.ndarray) -> list[bool]:
    def beats(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a <= b).all() and (a < b).any())

    real = ~np.isnan(values).any(axis=1)
    return [
        bool(real[i])
        and not any(real[j] and beats(values[j], values[i]) for j in range(len(values)))
        for i in range(len(values))
    ]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(0, 40), st.integers(1, 8), st.randoms(use_true_random=False))
def test_fronts_are_those_of_the_definition(
    columns: int, rows: int, spread: int, random: object
) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    values = rng.integers(0, spread, (rows, columns)).astype(float)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[rng.random(values.shape) < 0.03] = np.inf
    assert front(values).tolist() == by_definition(values)


def test_ties_stay_together_and_gaps_stay_away() -> None:
    frame = pd.DataFrame(
        {"x": [1, 1, 2, 3, None, 2], "y": [3.0, 3.0, 2.0, 2.5, 0.0, np.nan]}, index=list("abcdef")
    )
    assert acc.pareto(frame, ["x", "y"]).index.tolist() == ["a", "b", "c"]
    assert acc.pareto(frame, ["x", "y"], maximize=["y"]).index.tolist() == ["a", "b"]
    assert acc.pareto(frame, ["x", "y"], maximize="x").index.tolist() == ["c", "d"]
    assert acc.pareto(frame, "y").index.tolist() == ["e"]
    assert len(acc.pareto(frame[:0], ["x"])) == 0
    assert len(acc.pareto(pd.DataFrame({"x": [np.nan]}), ["x"])) == 0


@pytest.mark.parametrize(
    ("columns", "maximize", "says"),
    [
        (["z"], [], "no column z"),
        ([], [], "at least one"),
        (["x"], ["y"], "not among"),
        (["name"], [], "holds no numbers"),
    ],
)
def test_bad_columns(columns: list[str], maximize: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        acc.pareto(pd.DataFrame({"x": [1], "y": [2], "name": ["a"]}), columns, maximize)


def test_large_fronts_are_quick() -> None:
    rng = np.random.default_rng(0)
    many = rng.random((159_000, 3))
    start = time.process_time()
    found = front(many)
    assert 50 < found.sum() < 2000
    assert front(many[:, :2]).sum() > 0
    assert time.process_time() - start < 5


def test_sensitivity_finds_what_moves() -> None:
    rows = [
        {
            "layer": layer,
            "dataflow": "ws",
            "array.rows": r,
            "array.cols": c,
            "clock_mhz": 1.0,
            "energy_pj": scale * r**2 * (1 + 0.01 * c),
        }
        for layer, scale in (("a", 1.0), ("b", 1000.0))
        for r in (1, 2, 4)
        for c in (1, 2)
    ]
    found = acc.sensitivity(pd.DataFrame(rows))
    assert found["key"].tolist() == ["array.rows", "array.cols"]
    first, second = found.to_dict("records")
    assert first["share"] > 0.99 and first["share"] + second["share"] == pytest.approx(1)
    assert first["median_ratio"] == pytest.approx(16) and first["largest_ratio"] == pytest.approx(
        16
    )
    assert (first["values"], first["pairs"], first["least_at"], first["most_at"]) == (3, 4, 1, 4)
    assert second["median_ratio"] == pytest.approx(1.02 / 1.01)
    named = acc.sensitivity(pd.DataFrame(rows), "energy_pj", keys=["layer"])
    assert named["key"].tolist() == ["layer"] and named["share"][0] == pytest.approx(1)
    assert named["pairs"][0] == 6 and named["median_ratio"][0] == pytest.approx(1000)
    with pytest.raises(ValueError, match="no column nothing"):
        acc.sensitivity(pd.DataFrame(rows), "nothing")
    with pytest.raises(ValueError, match="no column energy_pj"):
        acc.sensitivity(pd.DataFrame({"array.rows": [1, 2]}))


def test_sensitivity_of_a_sweep_with_gaps() -> None:
    frame = acc.sweep(
        "lenet5",
        "systolic",
        {"array.rows": [4, 0, 16], "array.cols": [4, 16]},
        dataflows="ws,os",
        jobs=1,
        tiles="rule",
    )
    found = acc.sensitivity(frame, "cycles", keys=["array.rows", "array.cols", "dataflow"])
    assert (
        set(found["key"]) == {"array.rows", "array.cols", "dataflow"}
        and found["share"].between(0, 1.01).all()
    )
    assert dict(zip(found["key"], found["values"], strict=True))["array.rows"] == 2
