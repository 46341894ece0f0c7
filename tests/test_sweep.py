"""Sweeps: every row is what ``simulate`` says, whoever works, however often it is killed on the
way.
"""

from __future__ import annotations

import csv
import gc
import io
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import slow_but
from test_cli import accelsim
from test_store import same
from test_validate import refused

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.base.expression import parse
from accelsim.explore import evaluate, pools, runner, worker
from accelsim.explore.answers import answers
from accelsim.explore.columns import Gathered, column, pack
from accelsim.explore.execution import carry_out
from accelsim.explore.study import Study

GRID = {"array.rows": [8, 16, 24], "array.cols": [8, 16]}
COMMAND = [sys.executable, "-c", "from accelsim.cli.main import main; main()"]

# Read by every Python that starts with this folder on its path, workers too: a slow evaluator that
# writes down what it is given.
SITE = """\
import os, signal, sys, time
if any(name in " ".join(sys.orig_argv) for name in ("accelsim", "spawn_main", "dask")):
    from accelsim.explore import evaluate

    real, log = evaluate.evaluate, os.environ.get("SWEEP_LOG")
    slow = float(os.environ.get("SWEEP_SLOW", 0))

    def watched(ids, points):
        for p in points:
            array, item = p.arch.array, p.item
            if log:
                with open(log, "a") as file:
                    names = f"{item.layer.name} {item.recipe.short}"
                    file.write(f"{array.rows} {array.cols} {names}\\n")
            if os.environ.get("SWEEP_DIES") == f"{array.rows} {item.layer.name}":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(slow)
        return real(ids, points)

    evaluate.evaluate = watched
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Processes started from here on use the evaluator above; the file it writes to."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("SWEEP_LOG", str(tmp_path / "log"))
    (tmp_path / "log").touch()
    return tmp_path / "log"


@pytest.fixture(scope="module")
def plain() -> pd.DataFrame:
    return acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"], jobs=1)


# Rows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "grid", "options"),
    [
        (
            "systolic",
            {"array.rows": [5, 16], "levels.sram.capacity_bytes": [4096, 65536]},
            {"dataflows": "ws,os,is"},
        ),
        ("eyeriss", {"array.rows": [6, 12]}, {"dataflows": "rs,nlr", "batch": 2}),
        (
            "scalesim",
            {"array.rows": [8], "clock_mhz": [500.0, 700.0]},
            {"dataflows": "os", "direction": "grad_weight"},
        ),
        ("shidiannao", {"array.rows": [4, 8]}, {"dataflows": "os", "engine": "event"}),
    ],
)
def test_every_row_is_that_of_simulate(
    arch: str, grid: dict[str, Any], options: dict[str, Any]
) -> None:
    frame = acc.sweep("lenet5", arch, grid, jobs=1, **options)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    flows = options.pop("dataflows").split(",")
    expected = []
    for values in pd.MultiIndex.from_product(grid.values()):
        overrides = dict(zip(grid, values, strict=True))
        for flow in flows:
            expected += [
                (overrides, r)
                for r in acc.simulate("lenet5", arch, flow, overrides=overrides, **options).rows
            ]
    assert len(rows) == len(expected)
    for row, (overrides, wanted) in zip(rows, expected, strict=True):
        assert {k: row[k] for k in overrides} == overrides
        for name, value in wanted.columns.items():
            assert row[name] == value or (value is None and row[name] is None), (
                name,
                row[name],
                value,
            )
        assert (
            row["status"] == "ok"
            and row["mapping_hash"] == wanted.provenance["mapping_hash"]
            and row["loops"] == wanted.provenance["loops"]
        )


def test_columns_and_their_order(plain: pd.DataFrame) -> None:
    lead = [
        "workload",
        "layer",
        "arch",
        "array.rows",
        "array.cols",
        "set",
        "dataflow",
        "engine",
        "direction",
        "mapping",
        "batch",
        "seed",
    ]
    assert list(plain.columns)[:16] == [*lead, "status", "error", "macs", "cycles"]
    assert len(plain) == 60 and plain["array.rows"].tolist() == [
        r for r in (8, 16, 24) for _ in range(20)
    ]
    assert plain["cycles"].dtype == np.int64 and plain["energy_pj"].dtype == np.float64


def test_a_point_that_cannot_be_mapped_or_built_is_a_row() -> None:
    capacity = {"levels.sram.capacity_bytes": [2, 65536], "array.rows": [8, -1]}
    frame = acc.sweep("lenet5", "systolic", capacity, dataflows="ws", jobs=1)
    assert (
        frame["status"].tolist() == ["unmappable"] * 5 + ["error"] * 5 + ["ok"] * 5 + ["error"] * 5
    )
    said = (
        acc.simulate(
            "lenet5", "systolic", "ws", overrides={"levels.sram.capacity_bytes": 2, "array.rows": 8}
        )
        .rows[0]
        .columns["error"]
    )
    assert (
        frame["error"][0] == said
        and frame["error"][5] == "array.rows: must be greater than 0, got -1"
    )
    assert frame["macs"][0] == 117600 and frame["cycles"].isna().sum() == 15
    both = acc.sweep("lenet5", "systolic", capacity, dataflows="ws", jobs=1, total=True)
    assert both["status"].tolist() == ["unmappable", "error", "ok", "error"] and both[
        "cycles"
    ].notna().tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert both["error"][0].startswith("conv1: ") and both["error"][0].endswith(
        "(and 4 more layers)"
    )


def test_a_crash_is_a_row_and_the_sweep_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def together(problem: Any, *rest: Any) -> Any:
        if problem.M == 16:
            raise ZeroDivisionError("together")
        return columns(problem, *rest)

    def alone(layer: Any, arch: Any, *rest: Any, **options: Any) -> Any:
        if layer.name == "conv2" and arch.array.rows == 16:
            raise ArithmeticError("of\nitself")
        return simulate(layer, arch, *rest, **options)

    columns, simulate = evaluate.batch.columns, evaluate.simulate
    monkeypatch.setattr(evaluate.batch, "columns", together)
    monkeypatch.setattr(evaluate, "simulate", alone)
    frame = acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"], jobs=1)
    wrong = frame[frame["status"] != "ok"]
    assert (
        len(wrong) == 4
        and set(wrong["error"]) == {"ArithmeticError: of itself"}
        and set(wrong["status"]) == {"error"}
    )
    assert (
        set(wrong["layer"]) == {"conv2"} and set(wrong["array.rows"]) == {16} and len(frame) == 60
    )
    with pytest.raises(acc.SweepError, match=r"conv2 ws .*: ArithmeticError: of itself"):
        acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"], jobs=1, on_error="raise")


def test_a_failed_check_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelsim.engines import golden

    real = golden.accumulate
    monkeypatch.setattr(
        golden, "accumulate", lambda problem, *rest: real(problem, *rest) + (problem.M == 16)
    )
    frame = acc.sweep("lenet5", "systolic", dataflows="ws", engine="event", jobs=1)
    assert frame["status"].tolist() == ["ok", "failed check", "ok", "ok", "ok"] and frame[
        "bit_exact"
    ].tolist() == [
        True,
        False,
        True,
        True,
        True,
    ]
    with pytest.raises(acc.SweepError, match="conv2 ws"):
        acc.sweep("lenet5", "systolic", dataflows="ws", engine="event", jobs=1, on_error="raise")


def test_totals_are_those_of_run(plain: pd.DataFrame) -> None:
    totals = acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"], jobs=1, total=True)
    assert len(totals) == 12 and set(totals["layer"]) == {"total"}
    row = totals[
        (totals["array.rows"] == 16) & (totals["array.cols"] == 8) & (totals["dataflow"] == "os")
    ].iloc[0]
    (wanted,) = acc.simulate(
        "lenet5", "systolic", "os", overrides={"array.rows": 16, "array.cols": 8}
    ).totals()
    for name, value in wanted.items():
        if name in row.index and name not in ("error", "layer", "mapping") and value is not None:
            assert (
                row[name] == pytest.approx(value)
                if isinstance(value, float)
                else row[name] == value
            ), name


def test_workloads_layers_and_points(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [acc.Conv2d(M=4, C=3, H=8, W=8, R=3, S=3, name="a"), acc.Gemm(m=8, k=8, n=8, name="b")]
    assert acc.sweep(pair, "systolic", dataflows="ws", jobs=1)["layer"].tolist() == ["a", "b"]
    two = acc.sweep(
        ["lenet5", acc.load_workload(pair)], "systolic", dataflows="ws", jobs=1, total=True
    )
    assert two["workload"].tolist() == ["lenet5", "layers"]
    frame = pd.DataFrame({"array.rows": [4, 8], "array.cols": [8, 4]})
    listed = acc.sweep(pair[1], "systolic", points=frame, dataflows="ws", jobs=1)
    again = acc.sweep(pair[1], "systolic", points=frame.to_dict("records"), dataflows="ws", jobs=1)
    zipped = acc.sweep(
        pair[1],
        acc.load_architecture("systolic"),
        zipped=frame.to_dict("list"),
        dataflows=acc.load_dataflow("ws"),
        jobs=1,
    )
    assert same(listed, again) and same(listed, zipped) and listed["array.cols"].tolist() == [8, 4]
    numpy = acc.sweep(
        pair[1], "systolic", {"array.rows": np.arange(4, 9, 4)}, dataflows="ws", jobs=1
    )
    assert numpy["array.rows"].tolist() == [4, 8]
    mapped = acc.sweep(
        pair[1],
        "systolic",
        {"array.rows": [4, 16]},
        mapping=acc.choose(
            pair[1].problem(), acc.load_architecture("systolic"), acc.load_dataflow("ws")
        ),
        jobs=1,
    )
    assert mapped["status"].tolist() == ["unmappable", "ok"] and set(mapped["mapping"]) == {
        "mapping"
    }


def test_constraints_on_the_resolved_architecture() -> None:
    def left(*texts: str, grid: dict[str, Any] = GRID) -> list[str]:
        return acc.sweep(
            acc.Gemm(m=4, k=4, n=4), "systolic", grid, constraints=texts, dataflows="ws", jobs=1
        )["set"].tolist()

    assert left("pes <= 128") == [
        "array.rows=8, array.cols=8",
        "array.rows=8, array.cols=16",
        "array.rows=16, array.cols=8",
    ]
    assert len(left("rows * cols <= 128", "rows == 8")) == 2
    assert len(left("levels.sram.capacity_bytes > 1000 and array.overlap")) == 6
    area = [
        acc.simulate("lenet5", "systolic", "ws", overrides={"array.rows": r, "array.cols": 8})
        .rows[0]
        .columns["area_um2"]
        for r in (8, 16, 24)
    ]
    budget = (area[0] + area[1]) / 2
    assert left(f"area_um2 <= {budget}", grid={"array.rows": [8, 16, 24], "array.cols": [8]}) == [
        "array.rows=8, array.cols=8"
    ]
    assert (
        left(
            "levels.sram.banks == 2",
            grid={
                "levels.sram": [
                    {"capacity_bytes": 64, "banks": 2},
                    {"capacity_bytes": 64, "banks": 4},
                ]
            },
        )
        != []
    )
    with pytest.raises(InputError, match="constraints: leave no point"):
        left("rows > 99")
    with pytest.raises(
        InputError,
        match=r"constraints.1: no such key of the architecture, got array.rws; nearest: array.rows",
    ):
        left("rows > 1", "array.rws > 1")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dataflows": None}, "dataflow: must be given"),
        ({"grid": {"array.rws": [1]}}, r"grid.array.rws: no such key, got rws; nearest: rows"),
        ({"grid": {"array.rows": "8,16"}}, r"grid.array.rows: must be a list of values"),
        ({"grid": {"array.rows": []}}, r"grid.array.rows: must not be empty"),
        ({"grid": {"array.rows": [8, 8]}}, r"stands twice on the axis, got 8"),
        (
            {"grid": {"array.rows": range(10**7), "array.cols": range(10**7)}},
            r"makes 500 000 000 000 000 points .* at most 10 000 000 are run",
        ),
        (
            {"grid": None, "points": [{"array.rows": 1}, {"array.rws": 1}]},
            r"points.1.array.rws: no such key",
        ),
        ({"points": [{"array.rows": 1}]}, "points: goes without grid and zipped"),
        ({"grid": None, "points": {"array.rows": 1}}, "points: must be a list of points"),
        ({"engine": "magic"}, "engine: must be one of analytic"),
        ({"direction": "up"}, "direction: must be one of forward"),
        ({"batch": 0}, "batch: must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed: must be a whole number of at least 0, got -1"),
        ({"jobs": 0}, "jobs: must be a whole number of at least 1, got 0"),
        ({"sample": 0}, "sample: must be a whole number of at least 1, got 0"),
        ({"on_error": "ignore"}, "on_error: must be record or raise, got ignore"),
        (
            {"pool": "four", "jobs": None},
            "pool: must be a concurrent.futures executor or a Dask client, got str",
        ),
    ],
)
def test_bad_calls(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        acc.sweep("lenet5", "systolic", **{"grid": GRID, "dataflows": "ws", "jobs": 1} | options)


def test_progress_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    acc.sweep(
        "lenet5",
        "systolic",
        GRID,
        dataflows="ws",
        jobs=1,
        progress=lambda done, of: told.append((done, of)),
    )
    assert (
        told[0] == (0, 30)
        and told[-1] == (30, 30)
        and [d for d, _ in told] == sorted(d for d, _ in told)
    )
    monkeypatch.setattr("accelsim.explore.progress.EVERY_S", 0.0)
    acc.sweep("lenet5", "systolic", GRID, dataflows="ws", jobs=1, progress=True)
    assert re.search(
        r"^\d+ of 30 points, [\d.e+]+ points/s, [\d.]+ s left$",
        capsys.readouterr().err,
        re.MULTILINE,
    )


# Columns ------------------------------------------------------------------------------------------


def test_columns_join_whatever_order_they_come_in() -> None:
    records = [
        {"status": "ok", "a": 1, "b": 1.5},
        {"status": "ok", "a": None, "c": "x"},
        {"status": "error", "error": "why"},
        {"status": "ok", "a": 2**60, "b": None, "d": np.float32(2)},
    ]
    order = np.array([3, 0, 0, 1, 2])
    tables = []
    for places in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        gathered = Gathered(4)
        for block in pack(places, [records[p] for p in places]):
            gathered.add(block)
        tables.append(gathered.table(order))
    for table in tables:
        assert list(table.columns) == ["status", "error", "a", "b", "d", "c"]
        assert list(table.rows()) == list(tables[0].rows())
    assert [c.kind for c in tables[0].columns.values()] == [
        "text",
        "text",
        "int",
        "float",
        "float",
        "text",
    ]
    assert (
        column([1, None]).floats().tolist()[0] == 1
        and column([]).kind == "none"
        and column([True, None]).plain() == [True, None]
    )


# Whoever works ------------------------------------------------------------------------------------


def test_jobs_and_pools_give_the_same_table(plain: pd.DataFrame, tmp_path: Path) -> None:
    assert same(
        plain,
        acc.sweep(
            "lenet5", "systolic", GRID, dataflows=["ws", "os"], jobs=2, store=tmp_path / "a.sqlite"
        ),
    )
    with ThreadPoolExecutor(3) as pool:
        assert same(
            plain,
            acc.sweep(
                "lenet5",
                "systolic",
                GRID,
                dataflows=["ws", "os"],
                pool=pool,
                store=tmp_path / "b.sqlite",
            ),
        )
        assert pool.submit(int).result() == 0, "a pool of the user's is left open"


def test_a_users_pool_of_processes(plain: pd.DataFrame) -> None:
    with ProcessPoolExecutor(1, mp_context=pools._Context()) as pool:
        assert same(plain, acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"], pool=pool))


def test_a_script_without_a_guard_may_use_processes(tmp_path: Path) -> None:
    script = tmp_path / "five_lines.py"
    script.write_text(
        "import accelsim as acc\nprint('once')\n"
        "frame = acc.sweep('lenet5', 'systolic', {'array.rows': [8, 16]}, dataflows='ws', jobs=2)\n"
        "print(len(frame))\n"
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n10\n", "")


def test_processes_join_where_much_is_left(
    monkeypatch: pytest.MonkeyPatch, plain: pd.DataFrame
) -> None:
    """Without ``jobs`` this process begins alone; here, with nothing being worth waiting for,
    others join at once.
    """
    started: list[int] = []

    class Noted(pools.Processes):
        def __init__(self, size: int) -> None:
            started.append(size)
            super().__init__(size)

    monkeypatch.setattr(runner, "Processes", Noted)
    monkeypatch.setattr(runner, "cores", lambda: 2)
    assert (
        same(plain, acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"])) and started == []
    )
    monkeypatch.setattr(runner, "ALONE_S", 0.0)
    monkeypatch.setattr(runner, "WORTH_S", 0.0)
    assert same(
        plain, acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"])
    ) and started == [2]


def test_a_task_hardly_looks_for_garbage_and_leaves_that_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    during, before, work = [], gc.get_threshold(), worker.evaluation.evaluate

    def evaluate(*task: Any) -> Any:
        during.append(gc.get_threshold()[0])
        return work(*task)

    monkeypatch.setattr(worker.evaluation, "evaluate", evaluate)
    try:
        for wanted, seen in ((700, worker.SELDOM), (0, 0), (10**6, 10**6)):
            gc.set_threshold(wanted, *before[1:])
            during.clear()
            acc.sweep("lenet5", "systolic", {"array.rows": [8]}, dataflows="ws", jobs=1)
            assert set(during) == {seen}
            assert gc.get_threshold() == (wanted, *before[1:])
    finally:
        gc.set_threshold(*before)


def test_a_worker_that_dies_costs_one_point(
    site: Path, plain: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_DIES", "16 fc1")
    frame = acc.sweep(
        "lenet5",
        "systolic",
        GRID | {"array.cols": [16]},
        dataflows="ws",
        jobs=2,
        store=tmp_path / "s.sqlite",
    )
    dead = (frame["array.rows"] == 16) & (frame["layer"] == "fc1")
    assert frame.loc[dead, "status"].tolist() == ["error"] and len(frame) == 15
    assert frame.loc[dead, "error"].tolist() == [
        "the worker process died (killed, crashed or out of memory)"
    ]
    alive = plain[(plain["array.cols"] == 16) & (plain["dataflow"] == "ws")]
    assert same(frame[~dead], alive[~((alive["array.rows"] == 16) & (alive["layer"] == "fc1"))])
    monkeypatch.delenv("SWEEP_DIES")
    assert accelsim("results", tmp_path / "s.sqlite", "--prune", "status == 'error'").code == 0
    assert same(
        plain,
        acc.sweep(
            "lenet5", "systolic", GRID, dataflows=["ws", "os"], jobs=1, store=tmp_path / "s.sqlite"
        ),
    )


def test_workers_that_never_start_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'spawn_main' in ' '.join(sys.orig_argv): os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(
        pools.WorkerError, match="worker processes cannot be started here; jobs=1 works without"
    ):
        acc.sweep("lenet5", "systolic", GRID, dataflows="ws", jobs=2)


def test_a_worker_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelsim.explore.worker.MODEL_VERSION", 99)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(pools.WorkerError, match="a worker has model version 99, this process"),
    ):
        acc.sweep("lenet5", "systolic", GRID, dataflows="ws", pool=pool)


# Killed -------------------------------------------------------------------------------------------

STUDY = """\
workload: lenet5
arch: systolic
dataflows: [ws, os]
grid:
  array.rows: {first: 4, last: 24}
  array.cols: [8, 16]
store: runs.sqlite
"""
RULED = STUDY + "tiles: rule\n"  # rows that are there at once
AXES = '"array.rows", "array.cols", layer, dataflow'


def finished(store: Path) -> set[str]:
    """What a store says is finished, as the evaluator writes it down."""
    with suppress(sqlite3.OperationalError):
        return {
            " ".join(map(str, row))
            for row in sqlite3.connect(store).execute(f"select {AXES} from results")
        }
    return set()


def killed_and_resumed(folder: Path, log: Path, moments: int, jobs: int, text: str) -> None:
    """Kills a sweep at random moments and lets it go on: what was finished stays and is not
    evaluated again.
    """
    study, store, out = folder / "study.yaml", folder / "runs.sqlite", folder / "out.csv"
    study.write_text(text)
    command = [*COMMAND, "sweep", str(study), "--jobs", str(jobs), "--layers", "-o", str(out)]
    draw = random.Random(f"moments {moments} {jobs}")
    for moment in range(moments):
        had = finished(store)
        log.write_text("")
        running = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"SWEEP_SLOW": "0.01"},
        )
        until = time.monotonic() + 30
        while not log.stat().st_size and time.monotonic() < until and draw.random() > 0.005:
            time.sleep(0.01)  # mostly until it is at work
        time.sleep(draw.random() * 5.0 / moments)
        while moment == moments - 1 and not finished(store) and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert had <= finished(store)
        time.sleep(0.1)  # its workers notice
        assert not had & set(log.read_text().splitlines()), "a finished point was evaluated again"
    had = finished(store)
    log.write_text("")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | {"SWEEP_SLOW": "0"}
    )
    assert done.returncode == 0, done.stderr
    assert had and f"{len(had)} points were stored already" in done.stderr
    assert sorted(had | set(log.read_text().splitlines())) == sorted(
        [*had, *log.read_text().splitlines()]
    )
    undisturbed, other = folder / "undisturbed.csv", folder / "other.sqlite"
    assert (
        accelsim("sweep", study, "--jobs", 1, "--layers", "--store", other, "-o", undisturbed).code
        == 0
    )
    assert out.read_text() == undisturbed.read_text()
    assert len(undisturbed.read_text().splitlines()) == 421
    dump = f"select * from results order by {AXES}"
    first, second = (
        pd.read_sql(dump, sqlite3.connect(p)).drop(columns="finished") for p in (store, other)
    )
    assert same(first, second[list(first.columns)])


@pytest.mark.parametrize("kills", slow_but([1], [1, 2]))
def test_killed_with_workers(site: Path, tmp_path: Path, kills: int) -> None:
    killed_and_resumed(tmp_path, site, kills, 2, RULED)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_thirty_moments(site: Path, tmp_path: Path, jobs: int) -> None:
    killed_and_resumed(tmp_path, site, 30, jobs, STUDY)


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted(
    site: Path, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C: exit 130, a line on how to go on, all that was finished in the store, no worker left
    behind.
    """
    monkeypatch.setenv("SWEEP_SLOW", "0.02")
    study, store = tmp_path / "study.yaml", tmp_path / "runs.sqlite"
    study.write_text(RULED)
    command = [*COMMAND, "sweep", str(study), "--jobs", str(jobs)]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 30
    while len(finished(store)) < 20 and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 130 and out == "" and "Traceback" not in err
    told = re.search(
        r"^(\d+) of 420 points are in (\S+); the same command goes on from there$",
        err,
        re.MULTILINE,
    )
    assert told and told[2] == str(store) and int(told[1]) == len(finished(store)) >= 20
    assert err.splitlines()[-1] == "interrupted"
    with pytest.raises(ProcessLookupError):
        for _ in range(50):
            os.killpg(running.pid, 0)
            time.sleep(0.05)


# Dask ---------------------------------------------------------------------------------------------


def test_dask_in_this_process(plain: pd.DataFrame, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    threads: dict[str, Any] = {
        "n_workers": 1,
        "threads_per_worker": 2,
        "processes": False,
        "dashboard_address": ":0",
    }
    with (
        distributed.LocalCluster(**threads) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        assert same(
            plain,
            acc.sweep(
                "lenet5",
                "systolic",
                GRID,
                dataflows=["ws", "os"],
                pool=client,
                store=tmp_path / "s.sqlite",
            ),
        )
        with client.get_executor() as pool:
            assert same(
                plain, acc.sweep("lenet5", "systolic", GRID, dataflows=["ws", "os"], pool=pool)
            )


def test_no_scheduler_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.setitem(sys.modules, "distributed", None)
    says = refused(accelsim("sweep", tmp_path / "study.yaml", "--scheduler", "tcp://127.0.0.1:9"))
    assert says == "scheduler: a scheduler needs Dask: pip install dask distributed"


SCHEDULERS: list[subprocess.Popen[bytes]] = []


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and four worker processes, started as the README says."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dask = [sys.executable, "-m", "dask"]
    address = f"tcp://127.0.0.1:{port}"
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": tmp_path,
        "env": os.environ | {"SWEEP_SLOW": "0.01"},
    }
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], **quiet
    )
    SCHEDULERS[:] = [scheduler]
    worker = [
        *dask,
        "worker",
        address,
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--local-directory",
        str(tmp_path),
    ]
    workers = [subprocess.Popen(worker, **quiet) for _ in range(4)]
    try:
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_dask_workers_are_killed(
    site: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    """One of four workers is killed while it works: its points are done again, the table is the
    same.
    """
    address, workers = cluster
    study, store = tmp_path / "study.yaml", tmp_path / "runs.sqlite"
    study.write_text(STUDY)
    out = tmp_path / "out.csv"
    command = [*COMMAND, "sweep", str(study), "--scheduler", address, "--layers", "-o", str(out)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(finished(store)) < 40 and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert running.poll() is None
    workers[0].kill()
    _, err = running.communicate(timeout=600)
    assert running.returncode == 0, err
    undisturbed = tmp_path / "undisturbed.csv"
    assert (
        accelsim(
            "sweep",
            study,
            "--jobs",
            1,
            "--layers",
            "--store",
            tmp_path / "other.sqlite",
            "-o",
            undisturbed,
        ).code
        == 0
    )
    assert out.read_text() == undisturbed.read_text()


@pytest.mark.slow
def test_a_scheduler_that_is_lost_is_a_sentence(
    site: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    address, _ = cluster
    study, store = tmp_path / "study.yaml", tmp_path / "runs.sqlite"
    study.write_text(STUDY.replace("last: 24", "last: 240"))
    running = subprocess.Popen(
        [*COMMAND, "sweep", str(study), "--scheduler", address], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while len(finished(store)) < 40 and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    (scheduler,) = SCHEDULERS
    scheduler.kill()
    _, err = running.communicate(timeout=600)
    assert running.returncode == 2 and "Traceback" not in err
    assert (
        err.splitlines()[-1].startswith("the connection to the workers was lost")
        and len(finished(store)) >= 40
    )


# The command --------------------------------------------------------------------------------------


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_command(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("{first: 4, last: 24}", "[4, 8]"))
    table = accelsim("sweep", study, "--jobs", 1)
    head, _, *best = table.out.splitlines()
    assert table.code == 0 and head.split()[0] == "best" and 1 <= len(best) <= 8
    for what in ("energy", "cycles", "edp", "area"):
        assert sum(what in line for line in best) == 1
    assert "the best of 8 rows; --rows N or -o FILE has them" in table.err
    rows_of = accelsim("sweep", study, "--jobs", 1, "--rows", 3).out.splitlines()
    assert len(rows_of) == 6 and rows_of[-1] == "... 5 more rows"
    assert "*" in accelsim("sweep", study, "--jobs", 1, "--rows", 8).out
    assert (
        "study: 4 architectures x 10 layers and dataflows = 40 rows, 40 different points"
        in table.err
        and "40 evaluated in" in table.err
    )
    layers = accelsim("sweep", study, "--jobs", 1, "--layers", "--format", "csv")
    assert (
        len(rows(layers.out)) == 40 and "40 points were stored already, 0 evaluated" in layers.err
    )
    assert len(rows(accelsim("sweep", study, "--jobs", 1, "--total", "--format", "csv").out)) == 8
    json = accelsim("sweep", study, "--jobs", 1, "-o", tmp_path / "out.json")
    assert json.code == 0 and len(pd.read_json(tmp_path / "out.json")) == 40
    study.write_text(STUDY.replace("{first: 4, last: 24}", "[4, 0]"))
    wrong = accelsim("sweep", study, "--jobs", 1)
    assert (
        wrong.code == 1
        and "20 rows error, the first: conv1 ws array.rows=0, array.cols=8: "
        "array.rows: must be greater than 0"
        in wrong.err
    )
    assert accelsim("sweep", study, "--jobs", 1, "--on-error", "raise").code == 2


def test_the_command_draws(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("{first: 4, last: 24}", "[4, 8]"))
    done = accelsim("sweep", study, "--jobs", 1, "--plot", tmp_path / "figures")
    assert done.code == 0
    assert {p.stem for p in (tmp_path / "figures").glob("*.png")} == {
        "energy_latency", "heat_map", "energy_by_level", "latency_by_layer", "roofline", "scaling",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--objective", "edp", "--tiles", "rule"], "--objective goes with --guided"),
        (["--scheduler", "tcp://x:1", "--jobs", "2"], "--jobs is for processes of this machine"),
        (["--format", "parquet"], "--format parquet wants -o FILE"),
        (["--jobs", "0"], "Invalid value for '--jobs'"),
    ],
)
def test_the_command_refuses(args: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    assert says in refused(accelsim("sweep", tmp_path / "study.yaml", *args))


# Guided -------------------------------------------------------------------------------------------

SPACE = {"array.rows": range(4, 65, 4), "array.cols": range(4, 65, 4)}


def test_guided_search_finds_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    options: dict[str, Any] = {
        "dataflows": "ws,os",
        "objective": "edp",
        "trials": 24,
        "constraints": ["pes <= 512"],
        "jobs": 1,
        "tiles": "rule",
    }
    found = acc.search("lenet5", "systolic", SPACE, store=tmp_path / "s.sqlite", **options)
    assert (
        len(found) == 24
        and found["trial"].tolist() == list(range(24))
        and not found.duplicated(["set", "dataflow"]).any()
    )
    assert (found["array.rows"] * found["array.cols"] <= 512).all() and found[
        "objective"
    ].notna().all()
    assert (found["objective"] - found["energy_pj"] * found["time_s"]).abs().max() < 1e-9 * found[
        "objective"
    ].max()
    everything = acc.sweep(
        "lenet5",
        "systolic",
        SPACE,
        dataflows="ws,os",
        constraints=["pes <= 512"],
        sample=40,
        jobs=1,
        total=True,
        tiles="rule",
    )
    assert found["objective"].min() <= (everything["energy_pj"] * everything["time_s"]).quantile(
        0.25
    )
    tasks: list[int] = []
    real = evaluate.evaluate
    monkeypatch.setattr(
        evaluate, "evaluate", lambda ids, points: tasks.append(len(points)) or real(ids, points)
    )
    again = acc.search("lenet5", "systolic", SPACE, store=tmp_path / "s.sqlite", **options)
    assert tasks == [] and same(found, again)
    more = acc.search(
        "lenet5", "systolic", SPACE, store=tmp_path / "s.sqlite", **options | {"trials": 28}
    )
    assert sum(tasks) == 20 and same(more[:24], found)
    with acc_store(tmp_path / "s.sqlite") as store:
        assert [(s["name"], s["rows"], s["finished"]) for s in store.studies()] == [
            ("search", 140, 140)
        ]


def acc_store(path: Path) -> Any:
    from accelsim.explore.store import Store

    return Store(path)


def test_guided_search_of_a_small_space_ends(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    found = acc.search(
        "lenet5",
        "systolic",
        {"array.rows": [4, 8, 0]},
        dataflows="ws",
        objective="cycles",
        trials=50,
        jobs=1,
    )
    assert sorted(found["array.rows"]) == [0, 4, 8] and found["objective"].isna().sum() == 1
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    done = accelsim(
        "sweep",
        study,
        "--guided",
        5,
        "--objective",
        "energy * latency ** 2",
        "--jobs",
        1,
        "--format",
        "csv",
    )
    assert done.code == 0 and len(rows(done.out)) == 5
    for objective, says in (
        ("energi", "objective: a total has no such column, got energi"),
        ("1 +", "objective: a number"),
        ("dataflow + 1", "wants numbers"),
    ):
        assert says in refused(
            accelsim("sweep", study, "--guided", 5, "--objective", objective, "--jobs", 1)
        )
    with pytest.raises(InputError, match="constraints: leave no point"):
        acc.search(
            "lenet5", "systolic", SPACE, dataflows="ws", constraints=["rows < 0"], trials=3, jobs=1
        )


def test_guided_without_optuna_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.setitem(sys.modules, "optuna", None)
    says = refused(accelsim("sweep", tmp_path / "study.yaml", "--guided", 3, "--jobs", 1))
    assert says == "guided search needs Optuna: pip install optuna"


def test_what_is_exported() -> None:
    for name in (
        "sweep",
        "search",
        "pareto",
        "sensitivity",
        "compare",
        "read_store",
        "StoreError",
        "SweepError",
    ):
        assert name in acc.__all__ and getattr(acc, name)
    assert parse("1").value({}) == 1 and carry_out and Study


# The answer ---------------------------------------------------------------------------------------


def test_the_answer_is_the_best_of_all_rows() -> None:
    """Random totals, the best and the front looked for one by one."""
    rng = random.Random(7)
    for _ in range(60):
        records = []
        for name in ("a", "b"):
            for _ in range(rng.randint(1, 12)):
                energy, cycles = rng.randint(1, 9) / 2, rng.randint(1, 9)
                record = {"status": "ok", "workload": name, "cycles": cycles, "energy_pj": energy}
                records.append(
                    record | {"time_s": cycles / 4, "area_um2": float(rng.randint(1, 5))}
                )
        for record in rng.sample(records, 2):
            record |= dict.fromkeys(("cycles", "energy_pj", "time_s"))
        (block,) = pack(range(len(records)), records)
        gathered = Gathered(len(records))
        gathered.add(block)
        told = answers(gathered.table(np.arange(len(records)))).to_frame()
        for name in ("a", "b"):
            own = [r for r in records if r["workload"] == name and r["cycles"] is not None]
            mine = told[told["workload"] == name]
            for what, key in (
                ("energy", lambda r: r["energy_pj"]),
                ("cycles", lambda r: r["cycles"]),
                ("edp", lambda r: r["energy_pj"] * r["time_s"]),
                ("area", lambda r: r["area_um2"]),
            ):
                best = mine[mine["best"].str.contains(what)]
                values = {key(r) for r in own}
                if len(own) == 1 or len(values) > 1:
                    assert [key(row) for _, row in best.iterrows()] == [min(values)], what
                else:
                    assert not len(best)
            front = {
                (r["energy_pj"], r["cycles"])
                for r in own
                if not any(
                    o["energy_pj"] <= r["energy_pj"] and o["cycles"] <= r["cycles"] and o != r
                    and (o["energy_pj"], o["cycles"]) != (r["energy_pj"], r["cycles"])
                    for o in own
                )
            }  # fmt: skip
            assert front <= set(zip(mine["energy_pj"], mine["cycles"], strict=True))
            assert mine["cycles"].tolist() == sorted(mine["cycles"])


def test_a_dataflow_no_machine_can_run_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is evaluated or searched."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was evaluated")

    monkeypatch.setattr(evaluate, "simulate", never)
    monkeypatch.setattr(evaluate.batch, "columns", never)
    monkeypatch.setattr("accelsim.results.map_network.map_network", never)
    says = r"output_stationary keeps ofmap in the PE, but tpu_v1's reg may keep weight"
    for mapper in (None, "edp"):
        with pytest.raises(acc.InputError, match=f"dataflows: {says}"):
            acc.sweep(
                "lenet5", "tpu_v1", {"array.rows": [8, 16]}, dataflows=["ws", "os"], mapper=mapper
            )
    with pytest.raises(acc.InputError, match=f"dataflow: {says}"):
        acc.simulate("lenet5", "tpu_v1", "ws,os", mapper="edp")
