"""Parameters of workloads as axes of sweeps, studies and searches: every row is what ``simulate``
says with those parameters.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.explore.study import Study

TOKENS = """\
name: tokens
parameters: {seq: 4, past: 0}
input: {x: [=seq, 8], cache: [=past, 8], query: [3, 8]}
graph:
  - {name: k, type: dense, M: 8, inputs: x}
  - {name: keys, type: concat, axis: 0, inputs: [cache, k]}
  - {name: scores, type: matmul, inputs: [query, keys], transpose_b: true}
  - {name: same, type: dense, M: 5, inputs: query}
"""
OPTIONS = {"jobs": 1, "tiles": "rule"}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    (tmp_path / "tokens.yaml").write_text(TOKENS)
    return tmp_path / "tokens.yaml"


def alone(file: Path, row: dict[str, object]) -> dict[str, object]:
    """The row of ``simulate`` for a row of a sweep."""
    params = {
        key: int(str(row[f"params.{key}"])) for key in ("seq", "past") if f"params.{key}" in row
    }
    overrides = {"array.rows": int(str(row.get("array.rows", 16)))}
    result = acc.simulate(
        file, "systolic", str(row["dataflow"]), layers=[str(row["layer"])], params=params,
        overrides=overrides, tiles="rule",
    )  # fmt: skip
    return result.records()[0]


def test_parameters_cross_with_keys_of_the_machine(tokens: Path) -> None:
    grid = {"params.seq": [1, 4, 9], "array.rows": [4, 8]}
    study = Study(tokens, "systolic", grid, dataflows=["ws", "os"], tiles="rule")
    plan = study.plan()
    # Of the layers, one does not depend on the parameter: its points are shared.
    assert (plan.rows, plan.points) == (6 * 2 * 3, 2 * 2 * (3 + 3 + 1))
    frame = study.run(jobs=1)
    assert len(frame) == plan.rows and set(frame["status"]) == {"ok"}
    for row in frame.to_dict("records"):
        want = alone(tokens, row)
        for key in ("macs", "cycles", "energy_pj", "dram_ifmap_reads"):
            assert row[key] == want[key], (row["layer"], row["params.seq"], key)
    totals = acc.sweep(tokens, "systolic", grid, dataflows=["ws", "os"], total=True, **OPTIONS)
    assert len(totals) == 12 and totals["macs"].sum() == frame["macs"].sum()


def test_parameters_move_together_and_are_stored(tokens: Path, tmp_path: Path) -> None:
    """A prompt and a token after it; the store has the axes, and nothing is done again."""
    zipped = {"params.seq": [4, 1], "params.past": [0, 4]}
    store = tmp_path / "runs.sqlite"
    options = {**OPTIONS, "zipped": zipped, "dataflows": "ws", "store": store}
    frame = acc.sweep(tokens, "systolic", **options)
    assert frame["set"].tolist() == [
        *["params.seq=4, params.past=0"] * 3, *["params.seq=1, params.past=4"] * 3,
    ]  # fmt: skip
    assert all(row["cycles"] == alone(tokens, row)["cycles"] for row in frame.to_dict("records"))
    again = acc.sweep(tokens, "systolic", **options)
    assert again["cycles"].tolist() == frame["cycles"].tolist()
    stored = acc.read_store(store)
    assert stored["params.seq"].tolist() == frame["params.seq"].tolist()
    assert len(stored["key"].unique()) == 5  # one layer is the same in both


def test_points_constraints_and_the_best_dataflow(tokens: Path) -> None:
    points = [{"params.seq": s, "array.rows": r} for s in (2, 6) for r in (4, 8)]
    frame = acc.sweep(
        tokens, "systolic", points=points, best_of=["ws", "os"], total=True,
        constraints=["params.seq * array.rows <= 24"], **OPTIONS,
    )  # fmt: skip
    assert frame["params.seq"].tolist() == [2] * 3 + [2] * 3 + [6] * 3
    assert frame["dataflow"].tolist() == ["ws", "os", "best"] * 3
    for start in range(0, 9, 3):
        edp = (frame["energy_pj"] * frame["cycles"])[start : start + 3].tolist()
        assert edp[2] <= min(edp[:2]) * (1 + 1e-12)


def test_a_machine_that_cannot_be_built_is_an_error_row(tokens: Path) -> None:
    grid = {"params.seq": [1, 4], "array.rows": [8, 0]}
    frame = acc.sweep(tokens, "systolic", grid, dataflows="ws", **OPTIONS)
    bad = frame["array.rows"] == 0
    assert set(frame.loc[bad, "status"]) == {"error"} and bad.sum() == len(frame) // 2
    assert set(frame.loc[~bad, "status"]) == {"ok"}


@pytest.mark.parametrize(
    ("grid", "why"),
    [
        ({"params.sq": [1]}, "grid.params.sq: tokens has no such parameter, got sq; nearest: seq"),
        ({"params.seq": [1, "a"]}, "grid.params.seq: must be a whole number, got a"),
        ({"params.seq": [1, -1]}, "grid.params.seq: must be 0 to 2^31 - 1, got -1"),
        ({"params.seq": [0]}, "with params.seq=0"),
    ],
)
def test_wrong_parameters_are_refused(
    tokens: Path, grid: dict[str, list[object]], why: str
) -> None:
    with pytest.raises(InputError) as caught:
        acc.sweep(tokens, "systolic", grid, dataflows="ws", **OPTIONS)
    assert why in str(caught.value)


def test_a_study_file_has_them_with_its_line(tokens: Path, tmp_path: Path) -> None:
    page = "workload: tokens.yaml\narch: systolic\ndataflows: ws\ntiles: rule\n"
    page += "grid:\n  params.{}: [1, 2]\n"
    (tmp_path / "study.yaml").write_text(page.format("seq"))
    frame = acc.load_study(tmp_path / "study.yaml").run(jobs=1)
    assert frame["params.seq"].tolist() == [1] * 3 + [2] * 3
    (tmp_path / "study.yaml").write_text(page.format("sep"))
    with pytest.raises(InputError, match=r"study.yaml:6:.*no such parameter"):
        acc.load_study(tmp_path / "study.yaml").run(jobs=1)


def test_a_guided_search_moves_them(tokens: Path) -> None:
    pytest.importorskip("optuna")
    grid = {"params.seq": [1, 2, 8], "array.rows": [4, 8]}
    frame = acc.search(
        tokens, "systolic", grid, dataflows="ws", objective="cycles", trials=6, **OPTIONS
    )
    assert len(frame) == 6 and len(frame[["params.seq", "array.rows"]].drop_duplicates()) == 6
    assert frame["cycles"].idxmin() in frame.index[frame["params.seq"] == 1]


def test_rows_say_the_parameters(tokens: Path) -> None:
    result = acc.simulate(tokens, "systolic", "ws", params={"seq": 2}, tiles="rule")
    assert [row["params"] for row in result.records()] == ["seq=2, past=0"] * 3
    assert result.records(total=True)[-1]["params"] == "seq=2, past=0"
    chosen = acc.simulate(tokens, "systolic", "ws", layers=["k"], tiles="rule").records()
    assert chosen[0]["params"] == "seq=4, past=0"
    assert "params" not in acc.simulate("lenet5", "systolic", "ws", tiles="rule").records()[0]
    best = acc.map_network(tokens, "systolic", "ws", layers=["k"], params={"seq": 2})
    assert best.result.rows[0].columns["macs"] == 2 * 8 * 8
