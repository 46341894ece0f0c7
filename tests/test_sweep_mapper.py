"""Sweeps whose tiles come from the mapper: every row is that of ``map_layer``, carried out on the
engine asked for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_cli import accelsim
from test_store import evaluated, same
from test_sweep import COMMAND
from test_validate import refused

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.explore import mapper_request as request
from accelsim.explore.store import StoreError
from accelsim.explore.study import Study
from accelsim.explore.study_file import load_study

A = acc.Conv2d(name="a", M=4, C=3, H=7, W=5, R=3, S=3, padding=1)
B = acc.Conv2d(name="b", M=4, C=3, H=5, W=6, R=3, S=2)
LAYERS = [A, B, A.model_copy(update={"name": "again"})]
GRID = {"array.rows": [6, 12], "levels.spad.partitions.weight": [24, 448]}


@pytest.fixture(scope="module")
def plain() -> pd.DataFrame:
    return acc.sweep(LAYERS, "eyeriss", GRID, dataflows=["rs", "os"], mapper="edp", jobs=1)


def test_every_row_is_what_the_mapper_says(plain: pd.DataFrame) -> None:
    assert (
        len(plain) == 24
        and (plain["mapping"] == "mapper_edp").all()
        and (plain["status"] == "ok").all()
    )
    rows = iter(plain.astype(object).where(plain.notna(), None).to_dict("records"))
    for values in pd.MultiIndex.from_product(GRID.values()):
        overrides = dict(zip(GRID, values, strict=True))
        for flow in ("rs", "os"):
            for layer in LAYERS:
                best, row = (
                    acc.map_layer(layer, "eyeriss", flow, objective="edp", overrides=overrides),
                    next(rows),
                )
                wanted = best.result.rows[0]
                assert (row["layer"], row["dataflow"], row["gap"]) == (
                    layer.name,
                    flow,
                    best.certificate.gap,
                )
                assert row["loops"] == str(best.mapping)
                for name, value in wanted.columns.items():
                    if name not in ("workload", "layer", "dataflow", "mapping", "set"):
                        assert row[name] == value or (value is None and row[name] is None), name


@pytest.mark.parametrize(
    "options",
    [
        {"mapper": True, "objective": "energy"},
        {"mapper": "cycles", "tiles": "even", "limit": 60},
        {"mapper": "energy", "engine": "event", "batch": 2},
        {"mapper": "energy", "direction": "grad_weight"},
    ],
)
def test_objective_tiles_engine_direction_and_batch(options: dict[str, Any]) -> None:
    row = acc.sweep(B, "eyeriss", {"array.rows": [6]}, dataflows="rs", jobs=1, **options).iloc[0]
    same_ = {k: v for k, v in options.items() if k in ("tiles", "limit", "batch", "direction")}
    objective = options.get("objective", options["mapper"])
    best = acc.map_layer(
        B, "eyeriss", "rs", objective=objective, overrides={"array.rows": 6}, **same_
    )
    assert row["loops"] == str(best.mapping) and row["gap"] == 0.0
    ours = best.result.rows[0].columns
    assert {n: row[n] for n in ("cycles", "energy_mac", "macs")} == {
        n: ours[n] for n in ("cycles", "energy_mac", "macs")
    }
    assert row["bit_exact"] if options.get("engine") else pd.isna(row["bit_exact"])
    name = f"mapper_{objective}" + ("_even_60s" if "tiles" in options else "")
    assert row["mapping"] == name


def test_the_cycle_engine_carries_out_what_the_mapper_found() -> None:
    row = acc.sweep(
        B,
        "systolic",
        {"array.rows": [4], "array.cols": [4]},
        dataflows="ws",
        mapper="edp",
        engine="cycle",
        jobs=1,
    ).iloc[0]
    assert row["status"] == "ok" and row["bit_exact"] and row["gap"] == 0.0


def test_any_is_a_dataflow_of_the_mapper() -> None:
    small = acc.Conv2d(M=4, C=2, H=1, W=3, R=1, S=1)  # of which the search has an end
    frame = acc.sweep(
        small,
        "eyeriss",
        {"array.rows": [2], "array.cols": [2]},
        dataflows="rs, any",
        mapper="energy",
        limit=600,
        jobs=1,
    )
    assert (
        frame["dataflow"].tolist() == ["rs", "any"]
        and (frame["status"] == "ok").all()
        and frame["gap"].between(0, 1).all()
    )


def test_two_processes_a_store_and_equal_points(
    tmp_path: Path, plain: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s.sqlite"
    options: dict[str, Any] = {"dataflows": ["rs", "os"], "store": store}
    first = evaluated(monkeypatch)
    part = acc.sweep(
        LAYERS, "eyeriss", {k: v[:1] for k, v in GRID.items()}, mapper="edp", jobs=1, **options
    )
    assert (
        first == [1] * 4 and len(part) == 6
    )  # one at a time, and a layer that comes again is not searched again
    assert same(plain, acc.sweep(LAYERS, "eyeriss", GRID, mapper="edp", jobs=2, **options))
    nothing = evaluated(monkeypatch)
    assert same(plain, acc.sweep(LAYERS, "eyeriss", GRID, mapper=True, **options)) and not nothing
    acc.sweep(LAYERS[:1], "eyeriss", mapper="edp", limit=50, jobs=1, **options)
    acc.sweep(LAYERS[:1], "eyeriss", mapper="edp", tiles="even", jobs=1, **options)
    acc.sweep(LAYERS[:1], "eyeriss", mapper="energy", jobs=1, **options)
    assert nothing == [1] * 6  # objective, tiles and limit are of a point's identity
    read = acc.read_store(store, total=True)
    assert read["mapping"].value_counts().to_dict() == {
        "mapper_edp": 8,
        "mapper_edp_50s": 2,
        "mapper_edp_even": 2,
        "mapper_energy": 2,
    }


def test_the_fixed_rules_points_keep_their_identity() -> None:
    """A point of the fixed rule is known by what it was known by before there was a mapper, and
    shares nothing with the mapper's.
    """
    of = {
        m: Study(A, "eyeriss", dataflows="rs", mapper=m).plan().keys()
        for m in (None, False, True, "edp", "energy*cycles", "energy")
    }
    assert of[None] == of[False] and of[True] == of["edp"] == of["energy*cycles"]
    assert len({of[None][0], of["edp"][0], of["energy"][0]}) == 3


def test_what_cannot_be_mapped_is_a_row() -> None:
    grid = {"levels.spad.partitions.weight": [1, 448], "array.rows": [12, -1]}
    frame = acc.sweep([A], "eyeriss", grid, dataflows="rs", mapper="energy", jobs=1)
    assert frame["status"].tolist() == ["unmappable", "error", "ok", "error"]
    with pytest.raises(acc.MappingError) as why:
        acc.map_layer(
            A, "eyeriss", "rs", objective="energy", overrides={"levels.spad.partitions.weight": 1}
        )
    assert frame["error"][0] == str(why.value) and "spad" in frame["error"][0]
    systolic = acc.sweep([A], "systolic", dataflows="any", mapper="energy", jobs=1)
    assert systolic["status"].tolist() == ["error"] and "dataflow any" in systolic["error"][0]


def test_a_totals_gap_is_the_worst() -> None:
    frame = acc.sweep(
        [A, B], "eyeriss", {"array.rows": [12]}, dataflows="rs", mapper="energy", jobs=1
    )
    total = acc.sweep(
        [A, B], "eyeriss", {"array.rows": [12]}, dataflows="rs", mapper="energy", jobs=1, total=True
    )
    assert total["gap"][0] == 0.0 and total["energy_mac"][0] == frame["energy_mac"].sum()
    from accelsim.explore.totals import frame_totals

    assert frame_totals(frame.assign(gap=[0.25, 0.5]))["gap"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"objective": "edp", "tiles": "rule"}, "objective: goes with a mapper"),
        ({"limit": 5, "tiles": "rule"}, "limit: goes with a mapper"),
        ({"tiles": "all"}, "tiles: goes with a mapper"),
        ({"mapper": "edp", "objective": "energy"}, "objective: is given twice"),
        ({"mapper": "speed"}, "mapper: must be energy, cycles"),
        ({"mapper": "front"}, "mapper: must be energy, cycles"),
        ({"mapper": True, "objective": "speed"}, "objective: must be energy, cycles"),
        ({"mapper": 3}, "mapper: must be true or an objective"),
        ({"mapper": "edp", "tiles": "some"}, "tiles: must be one of"),
        ({"mapper": "edp", "limit": 0}, "limit: must be above 0"),
        ({"mapper": "edp", "limit": float("nan")}, "limit: must be above 0"),
        ({"mapper": "edp", "mapping": "eyeriss_alexnet"}, "mapper: searches under dataflows"),
        ({"mapper": "edp", "dataflows": None}, "dataflow: must be given"),
        (
            {"mapper": "edp", "dataflows": "any", "tiles": "all"},
            "tiles: dataflow any goes with divisors",
        ),
        ({"mapper": "edp", "dataflows": "rs,rs"}, "dataflows: stands twice"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as refusal:
        Study(A, "eyeriss", **({"dataflows": "rs"} | options)).plan()
    assert says in str(refusal.value)


STUDY = """\
workload: lenet5
layers: [conv1, conv2]
arch: eyeriss
dataflows: rs
mapper: energy
limit: 30
grid:
  array.rows: [6, 12]
"""


def test_a_study_file_and_its_command(tmp_path: Path) -> None:
    study, out = tmp_path / "study.yaml", tmp_path / "out.csv"
    study.write_text(STUDY)
    assert accelsim("validate", study).code == 0
    shown = accelsim("show", study).out
    assert "mapper" in shown and "energy" in shown and "limit" in shown
    assert accelsim("sweep", study, "--layers", "-o", out, "--jobs", 1).code == 0
    layers = acc.load_workload("lenet5").select(["conv1", "conv2"])
    wanted = []
    for rows in (6, 12):
        for name in ("conv1", "conv2"):
            best = acc.map_layer(
                layers.select([name]),
                "eyeriss",
                "rs",
                objective="energy",
                overrides={"array.rows": rows},
            )
            wanted.append(best.result.rows[0].columns["energy_mac"])
    assert pd.read_csv(out)["energy_mac"].tolist() == wanted
    done = accelsim(
        "sweep",
        study,
        "--mapper",
        "cycles",
        "--tiles",
        "even",
        "--limit",
        20,
        "--format",
        "json",
        "--jobs",
        1,
    )
    assert {r["mapping"] for r in done.rows} == {"mapper_cycles_even_20s"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("mapper: energy", "mapper: speed"), "mapper: must be energy, cycles"),
        (("mapper: energy\n", "tiles: rule\n"), "limit: goes with a mapper"),
        (("limit: 30", "limit: 0"), "limit"),
        (("limit: 30", "tiles: most"), "tiles"),
        (("mapper: energy", "mapper: energy\nobjective: edp"), "objective: is given twice"),
        (("dataflows: rs", "mapping: eyeriss_alexnet"), "mapper: searches under dataflows"),
    ],
)
def test_a_study_that_is_wrong_is_one_line(
    change: tuple[str, str], says: str, tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace(*change))
    line = refused(accelsim("sweep", study))
    assert str(study) in line and says in line


def test_options_that_do_not_go_together_are_one_line(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("mapper: energy\nlimit: 30\n", ""))
    assert "mapper: must be energy" in refused(accelsim("sweep", study, "--mapper", "speed"))
    assert "limit: goes with a mapper" in refused(
        accelsim("sweep", study, "--tiles", "rule", "--limit", 3)
    )


def test_a_guided_search_of_mapped_points(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    options: dict[str, Any] = {"dataflows": "rs", "mapper": "energy", "jobs": 1}
    found = acc.search(
        [A], "eyeriss", {"array.rows": [3, 6, 12]}, objective="cycles", trials=3, **options
    )
    frame = acc.sweep([A], "eyeriss", {"array.rows": [3, 6, 12]}, total=True, **options)
    assert (
        sorted(found["objective"]) == sorted(frame["cycles"])
        and (found["mapping"] == "mapper_energy").all()
    )
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    done = accelsim("sweep", study, "--guided", 1, "--format", "json", "--jobs", 1)
    assert [r["mapping"] for r in done.rows] == ["mapper_energy_30s"]


# Interrupted --------------------------------------------------------------------------------------


def test_an_interrupted_search_is_no_finished_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mapper gives what it has when interrupted; a sweep keeps what was finished before, and
    only that.
    """
    real, store = request.map_layer, tmp_path / "s.sqlite"

    def interrupted(layer: Any, *args: Any, **options: Any) -> Any:
        found = real(layer, *args, **options)
        if layer.name == "b":
            object.__setattr__(found.certificate, "stopped", "interrupted")
        return found

    monkeypatch.setattr(request, "map_layer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        acc.sweep([A, B], "eyeriss", dataflows="rs", mapper="energy", jobs=1, store=store)
    assert acc.read_store(store)["layer"].tolist() == ["a"]
    monkeypatch.undo()
    again = evaluated(monkeypatch)
    assert len(
        acc.sweep([A, B], "eyeriss", dataflows="rs", mapper="energy", jobs=1, store=store)
    ) == 2 and again == [1]


def test_a_run_under_any(tmp_path: Path) -> None:
    """Of a layer so small that the search has an end."""
    file = tmp_path / "small.yaml"
    file.write_text("name: small\nlayers:\n  - {name: a, M: 4, C: 2, H: 1, W: 3, R: 1, S: 1}\n")
    command = ["run", file, "--arch", "eyeriss", "--dataflow", "any,rs", "--mapper", "energy"]
    done = accelsim(*command, "--limit", 600, "--format", "json")
    assert done.code == 0 and [(r["dataflow"], r["mapping"]) for r in done.rows] == [
        ("any", "mapper_energy"),
        ("rs", "mapper_energy"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_through_the_shell(tmp_path: Path, jobs: int) -> None:
    """Exit 130, finished points stored, nothing left running; the same command goes on."""
    study, store = tmp_path / "study.yaml", tmp_path / "s.sqlite"
    study.write_text(
        "workload: alexnet\nlayers: [conv5, conv2]\narch: eyeriss\ndataflows: any\n"
        "mapper: energy\nlimit: 6\nbatch: 1\n"
    )
    command = [
        *COMMAND,
        "sweep",
        str(study),
        "--store",
        str(store),
        "--jobs",
        str(jobs),
        "--layers",
        "--format",
        "csv",
    ]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    started = time.monotonic()
    while time.monotonic() - started < (60 if jobs == 1 else 4) and not _stored(store):
        time.sleep(0.2)
    time.sleep(1)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 130 and "Traceback" not in err and out == "", err
    had = _stored(store)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and _stored(store) == 2, done.stderr
    if had:
        assert f"{had} points were stored already" in done.stderr


def _stored(store: Path) -> int:
    """Points in a store that may just be in the making."""
    with suppress(StoreError):
        return len(acc.read_store(store)) if store.exists() else 0
    return 0


def test_studies_know_their_mapper(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("mapper: energy", "mapper: true\nobjective: cycles"))
    assert [i.recipe.mapping for i in load_study(study).plan().items] == ["mapper_cycles_30s"] * 2
    assert [i.recipe.mapping for i in load_study(study).searched("edp", None, 1).plan().items] == [
        "mapper_edp_1s"
    ] * 2
