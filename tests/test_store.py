"""The store: what goes in comes out, whatever goes wrong with the file is one line and nothing is
lost.
"""

from __future__ import annotations

import csv
import io
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import slow_but
from test_cli import accelsim
from test_validate import refused

import accelsim as acc
from accelsim.base.expression import parse
from accelsim.explore import store_file as stores
from accelsim.explore.columns import pack
from accelsim.explore.execution import carry_out
from accelsim.explore.store import Store, StoreError
from accelsim.explore.study import Study
from accelsim.version import MODEL_VERSION

GRID = {"array.rows": [8, 16], "array.cols": [8, 0, 16]}
ONLY = {"dataflows": "ws,os", "jobs": 1}


def filled(path: Path) -> pd.DataFrame:
    return acc.sweep("lenet5", "systolic", GRID, store=path, name="first", **ONLY)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    path = tmp_path_factory.mktemp("store") / "made.sqlite"
    return path, filled(path)


@pytest.fixture
def path(tmp_path: Path, made: tuple[Path, pd.DataFrame]) -> Path:
    """A store of its own for every test."""
    shutil.copy(made[0], tmp_path / "runs.sqlite")
    return tmp_path / "runs.sqlite"


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two frames have the same columns and row for row the same values, whatever stands for
    none.
    """
    first, second = (f.astype(object).where(f.notna(), None).to_numpy().tolist() for f in (a, b))
    return list(a.columns) == list(b.columns) and first == second


def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many points each task had that is evaluated from now on."""
    from accelsim.explore import evaluate

    found: list[int] = []
    real = evaluate.evaluate
    monkeypatch.setattr(
        evaluate, "evaluate", lambda ids, points: found.append(len(points)) or real(ids, points)
    )
    return found


# In and out ---------------------------------------------------------------------------------------


def test_the_documented_line_reads_it(made: tuple[Path, pd.DataFrame]) -> None:
    path, frame = made
    found = pd.read_sql("select * from results", sqlite3.connect(path))
    assert list(frame.columns) == [c for c in found.columns if c in frame.columns]
    assert set(found.columns) - set(frame.columns) == {
        "model_version",
        "accelsim_version",
        "arch_hash",
        "key",
        "finished",
    }
    assert same(found[list(frame.columns)], frame)
    assert (found["model_version"] == MODEL_VERSION).all() and found["arch_hash"].str.len().eq(
        16
    ).all()


def test_hashes_are_those_of_run(made: tuple[Path, pd.DataFrame]) -> None:
    row = acc.read_store(
        made[0], "layer == 'conv2' and dataflow == 'os' and array.rows == 16 and array.cols == 8"
    ).iloc[0]
    result = acc.simulate(
        "lenet5", "systolic", "os", layers=["conv2"], overrides={"array.rows": 16, "array.cols": 8}
    ).rows[0]
    assert (row["arch_hash"], row["mapping_hash"]) == (
        result.provenance["arch_hash"],
        result.provenance["mapping_hash"],
    )
    for name, value in result.columns.items():
        assert (value is None and pd.isna(row[name])) or row[name] == value, name


def test_a_second_sweep_takes_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = acc.read_store(path)
    tasks = evaluated(monkeypatch)
    again = filled(path)
    assert tasks == []
    more = acc.sweep(
        "lenet5", "systolic", {"array.rows": [8, 16, 32], "array.cols": [8]}, store=path, **ONLY
    )
    assert sum(tasks) == 10 and len(more) == 30
    assert same(more[more["array.rows"] < 32], again[again["array.cols"] == 8])
    whole = acc.read_store(path)
    assert (
        len(whole) == len(first) + 10 and not whole.duplicated(["layer", "dataflow", "set"]).any()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"batch": 2},
        {"direction": "grad_weight"},
        {"engine": "event"},
        {"dataflows": "is"},
        {"grid": {"clock_mhz": [500.0]}},
    ],
    ids=lambda c: next(iter(c)),
)
def test_whatever_determines_a_result_makes_another_point(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = acc.Gemm(m=4, k=4, n=4, name="g")
    base = {
        "workload": layer,
        "arch": "systolic",
        "grid": {"array.rows": [8]},
        "dataflows": "ws",
        "jobs": 1,
    }
    acc.sweep(**base, store=tmp_path / "s.sqlite")
    tasks = evaluated(monkeypatch)
    acc.sweep(**base, store=tmp_path / "s.sqlite", name="other")
    assert tasks == []
    acc.sweep(**base | change, store=tmp_path / "s.sqlite")
    assert sum(tasks) == 1
    assert len(acc.read_store(tmp_path / "s.sqlite")) == 2


def test_another_model_version_makes_other_points(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = acc.read_store(path)
    for module in ("plan", "store", "worker", "runner"):
        monkeypatch.setattr(f"accelsim.explore.{module}.MODEL_VERSION", MODEL_VERSION + 1)
    tasks = evaluated(monkeypatch)
    filled(path)
    assert sum(tasks) == 40
    assert acc.read_store(path)["model_version"].value_counts().to_dict() == {
        MODEL_VERSION: len(before),
        MODEL_VERSION + 1: len(before),
    }
    done = accelsim("results", path, "--prune-old")
    assert done.code == 0 and done.err == f"forgot {len(before)} rows\n"
    assert (acc.read_store(path)["model_version"] == MODEL_VERSION).all()


def test_equal_layers_are_stored_once(tmp_path: Path) -> None:
    same = [acc.Gemm(m=8, k=8, n=8, name=n) for n in ("a", "b", "c")]
    frame = acc.sweep(same, "systolic", dataflows="ws", store=tmp_path / "s.sqlite", jobs=1)
    db = sqlite3.connect(tmp_path / "s.sqlite")
    assert db.execute("select count(*) from points").fetchone() == (1,)
    assert (
        frame["layer"].tolist()
        == acc.read_store(tmp_path / "s.sqlite")["layer"].tolist()
        == ["a", "b", "c"]
    )
    assert frame["cycles"].nunique() == 1


def test_values_come_back_as_they_went(tmp_path: Path) -> None:
    layer = acc.Gemm(m=4, k=4, n=4)
    plan = Study(layer, "systolic", {"array.rows": [1, 2, 3]}, dataflows="ws").plan()
    records = [
        {
            "status": "ok",
            "error": None,
            "whole": 2**60,
            "real": 5.0,
            "text": "ü 'x\"",
            "flag": True,
            "gap": None,
            "Gap": 1,
            "mix": 1,
        },
        {
            "status": "ok",
            "error": None,
            "whole": -3,
            "real": float("inf"),
            "text": "",
            "flag": False,
            "gap": None,
            "Gap": 2,
            "mix": 0.5,
        },
        {"status": "unmappable", "error": "no\nroom", "whole": None, "real": float("nan")},
    ]
    with Store(tmp_path / "s.sqlite") as store:
        store.begin(plan, "x")
        store.add(pack([0, 1, 2], records), plan.key)
        table = store.table(
            ["status", "error", "whole", "real", "text", "flag", "gap", "Gap", "mix"]
        )
        found = store.fetch(store.stored(plan.keys()))
    assert list(table.rows()) == [
        ("ok", None, 2**60, 5.0, "ü 'x\"", True, None, 1, 1.0),
        ("ok", None, -3, float("inf"), "", False, None, 2, 0.5),
        ("unmappable", "no\nroom", None, None, None, None, None, None, None),
    ]
    assert [type(v) for v in next(iter(table.rows()))[2:6]] == [int, float, str, bool]
    assert sorted(b.names for b in found) == sorted([tuple(records[0])[2:], tuple(records[2])[2:]])


def test_arrays_of_one_store_may_have_other_levels(path: Path) -> None:
    acc.sweep("lenet5", "eyeriss", {"array.rows": [12]}, dataflows="rs", store=path, jobs=1)
    whole = acc.read_store(path)
    assert (
        whole.loc[whole["arch"] == "eyeriss", "energy_mac"].notna().all()
        and whole.loc[whole["arch"] == "systolic", "energy_mac"].isna().all()
    )
    assert whole.loc[whole["arch"] == "eyeriss", "array.cols"].isna().all()


# Several writers ----------------------------------------------------------------------------------


def test_threads_and_their_connections_write_together(tmp_path: Path) -> None:
    target, errors = tmp_path / "s.sqlite", []

    def one(number: int) -> None:
        try:
            grid = {"array.rows": [4, 8, 16 + number], "array.cols": [4, 8]}
            acc.sweep(
                "lenet5", "systolic", grid, dataflows="ws", store=target, jobs=1, name=f"s{number}"
            )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with Store(target) as store:
        assert [(s["rows"], s["finished"]) for s in store.studies()] == [(30, 30)] * 4
    assert len(acc.read_store(target)) == 5 * 2 * (2 + 4)


@pytest.mark.parametrize("attempts", slow_but([2], [2, 6]))
def test_a_store_that_grows_beside_a_reader_is_not_damaged(tmp_path: Path, attempts: int) -> None:
    """Checksums, columns and the view are of one state of the file: whoever opens it while others
    add columns sees no damage (3 of 25 such stores were called damaged)."""
    keys = ["capacity_bytes", "latency_cycles", "port_bits", "burst_bits"]
    for attempt in range(attempts):
        target, errors = tmp_path / f"{attempt}.sqlite", []

        def one(number: int, target: Path = target, errors: list[Any] = errors) -> None:
            axis = {f"levels.sram.{keys[number]}": [512], "array.rows": [4, 5 + number]}
            axis |= {"levels.sram.port_bits": [64]} if number else {}
            options = ONLY | {"store": target, "name": f"s{number}", "tiles": "rule"}
            try:
                acc.sweep("lenet5", "systolic", axis, **options)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(len(keys))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors


def test_processes_write_together(tmp_path: Path) -> None:
    script = (
        "import sys, accelsim as acc; "
        "acc.sweep('lenet5', 'systolic', {'array.rows': range(4, 12)}, dataflows='ws,os', "
        "store=sys.argv[1], jobs=1, tiles='rule')"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s.sqlite")])
        for _ in range(2)
    ]
    assert [p.wait(60) for p in running] == [0, 0]
    rows = {"array.rows": range(4, 12)}
    alone = acc.sweep("lenet5", "systolic", rows, dataflows="ws,os", jobs=1, tiles="rule")
    together = acc.read_store(tmp_path / "s.sqlite", columns=list(alone.columns))
    assert same(together, alone)


# What goes wrong ----------------------------------------------------------------------------------


def sweep_again(path: Path) -> pd.DataFrame:
    return acc.sweep(
        "lenet5", "systolic", {"array.rows": [4, 5, 6], "array.cols": [8]}, store=path, **ONLY
    )


def test_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LOCK_S", 0.2)
    before = acc.read_store(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    with pytest.raises(
        StoreError,
        match=r"runs.sqlite: is locked by another process, waited 0.2 s; what was stored is kept",
    ):
        sweep_again(path)
    holder.execute("rollback")
    assert same(acc.read_store(path), before)
    assert len(sweep_again(path)) == 30


def test_locked_while_it_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock comes after some points are stored: those stay, and the same call goes on."""
    monkeypatch.setattr(stores, "LOCK_S", 0.2)
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    added, real = [], Store.add

    def add(self: Store, blocks: Any, key: Any) -> None:
        if len(added) == 2:
            holder.execute("begin exclusive")
        real(self, blocks, key)
        added.append(sum(len(b) for b in blocks))

    monkeypatch.setattr(Store, "add", add)
    with pytest.raises(StoreError, match="is locked"):
        sweep_again(path)
    monkeypatch.setattr(Store, "add", real)
    holder.execute("rollback")
    with Store(path) as store:
        assert store.studies()[-1]["finished"] == sum(added)
    tasks = evaluated(monkeypatch)
    assert len(sweep_again(path)) == 30 and sum(tasks) == 30 - sum(added)


def test_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Store._prepare

    def small(self: Store, create: bool) -> None:
        real(self, create)
        pages = self.db.execute("pragma page_count").fetchone()[0]
        self.db.execute(f"pragma max_page_count = {pages + 4}")

    monkeypatch.setattr(Store, "_prepare", small)
    before = acc.read_store(path)
    with pytest.raises(
        StoreError, match=r"cannot be written: the disk is full; what was stored is kept"
    ):
        acc.sweep("alexnet", "systolic", {"array.rows": range(4, 40)}, store=path, **ONLY)
    monkeypatch.setattr(Store, "_prepare", real)
    after = acc.read_store(path)
    assert same(after[after["workload"] == "lenet5"], before)
    whole = acc.sweep("alexnet", "systolic", {"array.rows": [4, 5]}, store=path, **ONLY)
    assert same(whole, acc.sweep("alexnet", "systolic", {"array.rows": [4, 5]}, **ONLY))


def test_file_size_limit(tmp_path: Path) -> None:
    """The operating system refuses to let the file grow: exit 2, one line, and what was stored is
    there.
    """
    study = tmp_path / "s.yaml"
    study.write_text(STUDY.replace("[8, 16]", "{first: 4, last: 200}"))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))  # noqa: E731
    command = [
        sys.executable,
        "-c",
        "from accelsim.cli.main import main; main()",
        "sweep",
        str(study),
        "--jobs",
        "1",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, preexec_fn=limit, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr, (
        done.stderr
    )
    last = done.stderr.splitlines()[-1]
    assert (
        last.endswith(
            "cannot be written or read: the disk is full or failing; what was stored is kept"
        )
        or "disk is full" in last
    )
    stored = acc.read_store(tmp_path / "s.sqlite")
    assert 0 < len(stored) < 1970
    study.write_text(STUDY.replace("[8, 16]", "{first: 4, last: 20}"))
    assert accelsim("sweep", study, "--jobs", 1).code == 0


STUDY = """\
workload: lenet5
arch: systolic
dataflows: [ws, os]
tiles: rule
grid:
  array.rows: [8, 16]
store: s.sqlite
"""


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_version(path: Path, version: int) -> None:
    db = sqlite3.connect(path)
    db.execute(f"pragma user_version = {version}")
    db.commit()
    db.close()
    content = path.read_bytes()
    says = refused(accelsim("results", path))
    assert (
        says == f"{path}: is a store of version {version}, this accelsim writes version 2: "
        "use another file; it was left as it is"
    )
    with pytest.raises(StoreError, match="is a store of version"):
        sweep_again(path)
    assert path.read_bytes() == content


def test_something_else(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    db = sqlite3.connect(other)
    db.execute("create table mine(x)")
    db.commit()
    db.close()
    text, folder, empty = tmp_path / "text.sqlite", tmp_path / "folder", tmp_path / "empty.sqlite"
    text.write_text("hello, this is text\n" * 10)
    folder.mkdir()
    empty.touch()
    for file, says in (
        (other, "is an SQLite file of something else, no accelsim store; it was left as it is"),
        (text, "is no accelsim store, nor any SQLite file; it was left as it is"),
        (folder, "must be a file, got a directory"),
    ):
        content = None if file.is_dir() else file.read_bytes()
        assert refused(accelsim("results", file)) == f"{file}: {says}"
        with pytest.raises(StoreError, match=says[:20]):
            sweep_again(file)
        assert content is None or file.read_bytes() == content
    assert refused(accelsim("results", empty)) == f"{empty}: is empty, no accelsim store"
    assert (
        refused(accelsim("results", tmp_path / "none.sqlite"))
        == f"{tmp_path}/none.sqlite: no such store"
    )
    with pytest.raises(StoreError, match="no such directory"):
        sweep_again(tmp_path / "no" / "such.sqlite")
    assert len(sweep_again(empty)) == 30


def test_damaged(made: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    """Bytes changed, cut off or zeroed anywhere: a sentence or the right answer, never a traceback,
    and never written to.
    """
    whole, frame = made
    content = whole.read_bytes()
    rng = np.random.default_rng(3)
    refusals = 0
    for case in range(24):
        broken = bytearray(content)
        at = int(rng.integers(100, len(content) - 5000))
        if case % 3 == 0:
            broken[at : at + 4096] = rng.bytes(4096)
        elif case % 3 == 1:
            broken[at : at + 4096] = bytes(4096)
        else:
            del broken[at:]
        target = tmp_path / f"{case}.sqlite"
        target.write_bytes(broken)
        try:
            found = acc.read_store(target, columns=list(frame.columns))
            assert len(found) <= len(frame) + 1
        except StoreError as error:
            refusals += 1
            assert "\n" not in str(error) and (
                "damaged" in str(error) or "cannot be" in str(error)
            ), error
            with pytest.raises(StoreError):
                sweep_again(target)
            assert target.read_bytes() == bytes(broken)
    assert refusals >= 15


@pytest.mark.parametrize(
    ("seed", "stores"), [(1, 60), pytest.param(2, 600, marks=pytest.mark.slow)]
)
def test_flipped_bytes(
    made: tuple[Path, pd.DataFrame], tmp_path: Path, seed: int, stores: int
) -> None:
    """One to eight bytes changed anywhere: one line, or the very rows; read, and gone on with."""
    content = made[0].read_bytes()
    right_store = tmp_path / "right.sqlite"
    right_store.write_bytes(content)
    read, swept = acc.read_store(right_store), sweep_again(right_store)
    used = np.flatnonzero(np.frombuffer(content, np.uint8))
    rng = np.random.default_rng(seed)
    target, refused = tmp_path / "flipped.sqlite", 0
    for case in range(stores):
        broken = bytearray(content)
        for at in rng.choice(used if case % 4 else len(content), rng.integers(1, 9)):
            broken[at] ^= int(rng.integers(1, 256))
        for again, right in ((acc.read_store, read), (sweep_again, swept)):
            target.write_bytes(broken)
            for beside in ("-wal", "-shm"):
                target.with_name(target.name + beside).unlink(missing_ok=True)
            try:
                pd.testing.assert_frame_equal(again(target), right)
            except StoreError as error:
                assert len(str(error).splitlines()) == 1
                refused += 1
    assert refused > stores


def test_what_a_store_says_of_itself_is_checked(
    made: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    """Edited by another program: rows, and what they are named by."""
    changes = (
        "update points set cycles = 7 where id = 3",
        "update columns set place = 'elsewhere' where id = 1",
        "update layouts set names = '[1' where id = 1",
        "update machines set arch = 'other' where id = 1",
        "update items set workload = 'other' where id = 1",
        "update rows set key = x'00' where id = 1",
        "delete from machines where id = 1",
        "update studies set definition = '{'",
    )
    for i, change in enumerate(changes):
        target = tmp_path / f"{i}.sqlite"
        target.write_bytes(made[0].read_bytes())
        with closing(sqlite3.connect(target)) as db, db:
            db.execute(change)
        with pytest.raises(StoreError, match=r"is damaged \(.*\); it was left as it is"):
            acc.read_store(target)
        assert refused(accelsim("results", target)).count("\n") == 0


def test_read_only(path: Path) -> None:
    if os.geteuid() == 0:
        db = Store(path)
        db.db.execute("pragma query_only = on")
        with pytest.raises(StoreError, match="is read-only"):
            db.prune(parse("true"))
        return
    path.chmod(0o444)
    with pytest.raises(StoreError, match=r"read-only|cannot be"):
        sweep_again(path)


def test_a_store_killed_while_it_was_made(tmp_path: Path) -> None:
    """An SQLite file with nothing in it yet, as a process leaves it that dies before the first
    commit.
    """
    target = tmp_path / "s.sqlite"
    db = sqlite3.connect(target, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.close()
    assert len(sweep_again(target)) == 30


# results ------------------------------------------------------------------------------------------


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_results_filters_and_exports(path: Path, tmp_path: Path) -> None:
    whole = lines(accelsim("results", path, "--format", "csv").out)
    assert len(whole) == 60 and {"array.rows", "cycles", "arch_hash"} <= set(whole[0])
    where = "dataflow == 'ws' and array.rows * array.cols == 128 and status == 'ok'"
    some = accelsim(
        "results",
        path,
        "--where",
        where,
        "--columns",
        "layer,cycles,set",
        "-o",
        tmp_path / "some.csv",
    )
    assert some.code == 0 and some.out == ""
    rows = lines((tmp_path / "some.csv").read_text())
    assert len(rows) == 10 and list(rows[0]) == ["layer", "cycles", "set"]
    assert all(r["cycles"].isdigit() for r in rows), "counts stay whole beside rows that have none"
    wanted = [
        {k: r[k] for k in ("layer", "cycles", "set")}
        for r in whole
        if r["dataflow"] == "ws" and r["array.rows"] != r["array.cols"]
    ]
    assert rows == [r for r in wanted if "array.cols=0" not in r["set"]]
    table = accelsim("results", path)
    assert table.code == 0 and "... 20 more rows" in table.out
    assert accelsim("results", path, "--columns", "help").out.split()[:3] == [
        "workload",
        "layer",
        "arch",
    ]
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = accelsim("results", path, "-o", tmp_path / "all.parquet")
    assert parquet.code == 0
    read = pd.read_parquet(tmp_path / "all.parquet")
    assert len(read) == 60 and read["cycles"].sum() == sum(
        int(r["cycles"]) for r in whole if r["cycles"]
    )


def test_parquet_without_pyarrow_is_a_sentence(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    says = refused(accelsim("results", path, "-o", tmp_path / "x.parquet"))
    assert says == f"{tmp_path}/x.parquet: Parquet needs pyarrow: pip install pyarrow"
    assert list(tmp_path.glob("x.*")) == []


def test_results_totals_fronts_and_sensitivities(path: Path) -> None:
    totals = lines(accelsim("results", path, "--total", "--format", "csv").out)
    assert len(totals) == 12 and {r["layer"] for r in totals} == {"total"}
    assert sum(r["cycles"] == "" for r in totals) == 4, "no total where a layer has no result"
    best = lines(
        accelsim(
            "results", path, "--total", "--pareto", "energy_pj,cycles,area_um2", "--format", "csv"
        ).out
    )
    frame = pd.DataFrame(totals)
    for name in ("energy_pj", "cycles", "area_um2"):
        frame[name] = pd.to_numeric(frame[name])
    assert [r["set"] for r in best] == acc.pareto(frame, ["energy_pj", "cycles", "area_um2"])[
        "set"
    ].tolist()
    moved = lines(accelsim("results", path, "--sensitivity", "cycles", "--format", "csv").out)
    assert {r["key"] for r in moved} == {"array.rows", "array.cols"}
    few = lines(
        accelsim(
            "results",
            path,
            "--total",
            "--where",
            "cycles < 10000",
            "--columns",
            "cycles",
            "--format",
            "csv",
        ).out
    )
    assert few and all(int(r["cycles"]) < 10000 for r in few)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--where", "cycels > 1"], "has no such column, got cycels; nearest: cycles"),
        (["--where", "cycles >"], "where: a number, a name or a bracket must stand"),
        (["--where", "layer + 1 > 2"], "where: + wants numbers"),
        (["--columns", "cycels"], "has no such column, got cycels; nearest: cycles"),
        (["--study", "frist"], "has no such study, got frist; nearest: first"),
        (["--pareto", "cycels"], "the frame has no column cycels; nearest: cycles"),
        (["--maximize", "cycles"], "--maximize goes with --pareto"),
        (["--format", "parquet"], "--format parquet wants -o FILE"),
        (["--prune", "true", "--where", "true"], "--prune and --prune-old forget rows"),
        (["--sensitivity", "nothing"], "the frame has no column nothing"),
        (["--sensitivity", "energy"], "the frame has no column energy; nearest: energy_pj"),
    ],
)
def test_results_refuses(path: Path, args: list[str], says: str) -> None:
    assert says in refused(accelsim("results", path, *args))


def test_prune(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = path.stat().st_size
    done = accelsim("results", path, "--prune", "status == 'error' or dataflow == 'os'")
    assert done.code == 0 and done.err == "forgot 40 rows\n"
    left = acc.read_store(path)
    assert len(left) == 20 and set(left["dataflow"]) == {"ws"} and set(left["status"]) == {"ok"}
    assert path.stat().st_size < size
    tasks = evaluated(monkeypatch)
    assert len(filled(path)) == 60 and sum(tasks) == 20
    assert accelsim("results", path, "--prune", "layer").code == 2


def test_studies(path: Path) -> None:
    carry_out(
        Study("lenet5", "systolic", {"array.rows": [8]}, dataflows="os").plan(),
        store=path,
        jobs=1,
        name="second",
    )
    told = lines(accelsim("results", path, "--studies", "--format", "csv").out)
    assert [(r["name"], r["rows"], r["finished"]) for r in told] == [
        ("first", "60", "60"),
        ("second", "5", "5"),
    ]
    assert len(lines(accelsim("results", path, "--study", "second", "--format", "csv").out)) == 5


# compare ------------------------------------------------------------------------------------------


def test_compare(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    acc.sweep(
        "lenet5",
        "systolic",
        {"array.rows": [16, 8, 4], "array.cols": [8]},
        dataflows="ws",
        store=other,
        jobs=1,
    )
    done = accelsim("compare", path, other, "--columns", "cycles", "--format", "csv")
    rows = lines(done.out)
    assert (
        done.code == 0 and done.err == f"10 points in both, 50 only in {path}, 5 only in {other}\n"
    )
    assert [r["cycles_ratio"] for r in rows] == ["1.0"] * 10 and {
        "layer",
        "dataflow",
        "array.rows",
        "cycles_a",
        "cycles_b",
    } <= set(rows[0])
    flows = accelsim(
        "compare", path, path, "--where", "dataflow == 'ws'", "--columns", "energy_pj", "--total"
    )
    assert flows.code == 0 and "energy_pj_ratio" in flows.out
    assert (
        len(
            lines(
                accelsim(
                    "compare", path, other, "--all", "--columns", "cycles", "--format", "csv"
                ).out
            )
        )
        == 65
    )
    first, second = (
        acc.read_store(path, "dataflow == 'ws'", total=True),
        acc.read_store(path, "dataflow == 'os'", total=True),
    )
    ratio = acc.compare(first, second, ["cycles"], on=["array.rows", "array.cols"])
    assert len(ratio) == 6 and ratio["cycles_ratio"].notna().sum() == 4


def test_compare_refuses(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    acc.sweep(
        "alexnet",
        "systolic",
        {"array.rows": [8], "array.cols": [8]},
        dataflows="ws",
        store=other,
        jobs=1,
    )
    assert "no point in common (nothing equal in workload)" in refused(
        accelsim("compare", path, other)
    )
    assert "several rows of one point" in refused(
        accelsim("compare", path, other, "--on", "dataflow")
    )
    assert "the first has no such column, got cycels" in refused(
        accelsim("compare", path, other, "--columns", "cycels")
    )
    assert "no such study" in refused(accelsim("compare", f"{path}#none", other))
