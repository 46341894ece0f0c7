"""The command line: formats, files, options, exit codes, and what it says to bad input."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from quick import slow_but

from accelsim.base.shipped import shipped_names
from accelsim.cli.main import main
from accelsim.results import simulate as simulation
from accelsim.workload import arithmetic

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "from accelsim.cli.main import main; main()"]
QUICK = ("run", "lenet5", "--arch", "eyeriss", "--dataflow", "ws")


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return json.loads(self.out)


def accelsim(*args: object) -> Done:
    """The real entry point, in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv = mock.patch.object(sys, "argv", ["accelsim", *map(str, args)])
    with (
        argv,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def run_json(*args: object) -> list[dict[str, Any]]:
    done = accelsim(*args, "--format", "json")
    assert done.code == 0, done.err
    return done.rows


def shell(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **{"timeout": 600, **options},
    )


# -- run -------------------------------------------------------------------------------------------


def test_a_row_per_layer_and_dataflow():
    rows = run_json("run", "lenet5", "--arch", "eyeriss", "--dataflow", "ws,os,rs")
    assert [(r["dataflow"], r["layer"]) for r in rows] == [
        (d, n) for d in ("ws", "os", "rs") for n in ("conv1", "conv2", "fc1", "fc2", "fc3")
    ]
    assert [r["macs"] for r in rows] == [117600, 240000, 48000, 10080, 840] * 3


def test_columns_of_the_contract():
    lead = [
        "workload",
        "layer",
        "arch",
        "dataflow",
        "engine",
        "direction",
        "mapping",
        "batch",
        "macs",
    ]
    time = ["cycles", "compute_cycles", "fill_drain_cycles", "stall_cycles", "time_s"]
    more = [
        "utilization",
        "mapping_efficiency",
        "active_pes",
        "mean_active_pes",
        "energy_mac",
        "bit_exact",
    ]
    (row,) = run_json(*QUICK, "--layer", "conv1")
    assert list(row)[: len(lead)] == lead
    assert {*time, *more} <= set(row)
    assert (row["workload"], row["arch"], row["engine"], row["direction"], row["batch"]) == (
        "lenet5",
        "eyeriss",
        "analytic",
        "forward",
        1,
    )
    assert row["cycles"] == row["compute_cycles"] + row["fill_drain_cycles"] + row["stall_cycles"]
    assert (
        row["stall_cycles"]
        == sum(row[f"stall_{name}_cycles"] for name in ("dram", "glb", "link", "noc"))
        > 0
    )
    assert row["bit_exact"] is None and row["error"] is None
    for tensor in ("weight", "ifmap", "ofmap"):
        assert {
            f"{level}_{tensor}_{way}"
            for level in ("dram", "glb", "spad")
            for way in ("reads", "writes")
        } <= set(row)
        assert f"noc_{tensor}_deliveries" in row
    assert "noc_ofmap_additions" in row
    assert {"seed", "accelsim_version", "model_version", "arch_hash", "mapping_hash"} <= set(row)


def test_formats_say_the_same():
    table, text, data = (
        accelsim(*QUICK, "--check", "--format", form) for form in ("table", "csv", "json")
    )
    assert (
        table.code == text.code == data.code == 0
        and not table.err
        and not text.err
        and not data.err
    )
    rows, lines = data.rows, list(csv.DictReader(io.StringIO(text.out)))
    assert len(rows) == len(lines) == 5
    for row, line in zip(rows, lines, strict=True):
        assert list(line) == list(row)[: len(line)]
        for key, value in line.items():
            assert value == ("" if row[key] is None else str(row[key])), key
    for row in rows:
        shown = next(x for x in table.out.splitlines() if x.split()[:2] == ["ws", row["layer"]])
        assert (
            f"{row['macs']:,}".replace(",", " ") in shown
            and f"{row['cycles']:,}".replace(",", " ") in shown
        )
        assert shown.split()[-1] == "yes"
    total = next(x for x in table.out.splitlines() if x.split()[:2] == ["ws", "total"])
    assert "416 520" in total


def test_counts_stay_whole_numbers_beside_a_row_that_cannot_be_mapped():
    done = accelsim(
        "run",
        "lenet5",
        "--arch",
        "tpu_v1",
        "--dataflow",
        "ws,os",
        "--layer",
        "fc3",
        "--set",
        "dram=unlimited",
        "--format",
        "csv",
    )
    good, bad = csv.DictReader(io.StringIO(done.out))
    assert done.code == 1
    assert good["cycles"] == "349" and good["dram_weight_reads"] == "840"
    assert bad["cycles"] == "" and bad["dram_weight_reads"] == ""


def test_total():
    both = ("run", "lenet5", "--arch", "eyeriss", "--dataflow", "ws,rs", "--format")
    for form, read in (
        ("json", json.loads),
        ("csv", lambda text: list(csv.DictReader(io.StringIO(text)))),
    ):
        short, long = read(accelsim(*both, form).out), read(accelsim(*both, form, "--total").out)
        assert long[:10] == short and [(r["dataflow"], r["layer"]) for r in long[10:]] == [
            ("ws", "total"),
            ("rs", "total"),
        ]
    *rows, total = run_json(*QUICK, "--check", "--total")
    for key in (
        "macs",
        "cycles",
        "compute_cycles",
        "fill_drain_cycles",
        "dram_weight_reads",
        "glb_ifmap_writes",
        "noc_ofmap_additions",
    ):
        assert total[key] == sum(r[key] for r in rows), key
    assert total["energy_mac"] == pytest.approx(sum(r["energy_mac"] for r in rows))
    assert total["utilization"] == pytest.approx(total["macs"] / (168 * total["cycles"]))
    assert total["bit_exact"] is True


def test_output_file(tmp_path):
    for form in ("table", "csv", "json"):
        path = tmp_path / f"result.{form}"
        path.write_text("old")
        done = accelsim(*QUICK, "--format", form, "-o", path)
        assert done == Done(0, "", "")
        assert path.read_text() == accelsim(*QUICK, "--format", form).out
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "result.csv",
        "result.json",
        "result.table",
    ]


def test_output_file_of_a_run_with_a_bad_row(tmp_path):
    path = tmp_path / "rows.json"
    done = accelsim(
        "run", "lenet5", "--arch", "tpu_v1", "--dataflow", "ws,os", "--format", "json", "-o", path
    )
    assert done.code == 1 and done.out == ""
    assert [r["error"] is None for r in json.loads(path.read_text())] == [True] * 5 + [False] * 5


def test_output_file_that_cannot_be_written(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in (tmp_path / "no" / "such", kept):
        done = accelsim(*QUICK, "-o", path)
        assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == [kept]


def test_overrides_reach_the_architecture():
    (plain,), (small,) = (
        run_json(*QUICK, "--tiles", "rule", "--layer", "conv2", *s)
        for s in ((), ("--set", "array.rows=3", "--set", "array.cols=4"))
    )
    assert plain["active_pes"] == 168 and small["active_pes"] == 12
    assert small["utilization"] == pytest.approx(small["macs"] / (12 * small["cycles"]))
    assert plain["arch_hash"] != small["arch_hash"]
    (slow,) = run_json(*QUICK, "--tiles", "rule", "--layer", "conv2", "--set", "clock_mhz=100.0")
    assert (
        slow["compute_cycles"] == plain["compute_cycles"]
        and slow["stall_noc_cycles"] == plain["stall_noc_cycles"]
    )
    # the link keeps its own clock, so a slower core waits fewer of its cycles for it
    assert slow["stall_dram_cycles"] == pytest.approx(plain["stall_dram_cycles"] / 2, rel=0.01)


def test_layers_are_chosen_in_the_workloads_order():
    rows = run_json(*QUICK, "--layer", "fc2", "--layer", "conv1")
    assert [r["layer"] for r in rows] == ["conv1", "fc2"]


def test_batch_covers_everything():
    one, three = run_json(*QUICK), run_json(*QUICK, "--batch", "3", "--check")
    for a, b in zip(one, three, strict=True):
        assert (
            (a["batch"], b["batch"]) == (1, 3)
            and b["macs"] == 3 * a["macs"]
            and b["bit_exact"] is True
        )


def test_seed_chooses_the_data(monkeypatch):
    drawn = []
    original = arithmetic.random_data
    monkeypatch.setattr(
        arithmetic, "random_data", lambda *args: drawn.append(original(*args)) or drawn[-1]
    )
    rows = [run_json(*QUICK, "--layer", "fc3", "--check", "--seed", k)[0] for k in (7, 7, 8)]
    assert [r["seed"] for r in rows] == [7, 7, 8] and all(r["bit_exact"] for r in rows)
    assert (drawn[0]["weight"] == drawn[1]["weight"]).all() and (
        drawn[0]["weight"] != drawn[2]["weight"]
    ).any()
    same = [{k: v for k, v in r.items() if k != "seed"} for r in rows]
    assert same[0] == same[1] == same[2]


RATES = {"cycles", "stall_cycles", "utilization", "time_s", "gmacs_per_s"}


@pytest.mark.parametrize(
    ("direction", "flows"),
    slow_but(
        [("forward", "ws,rs"), ("grad_weight", "os"), ("grad_input", "nlr")],
        [
            *(("forward", "ws,rs"), ("grad_weight", "os"), ("grad_input", "nlr")),
            *((x, "ws,os,rs,nlr") for x in ("forward", "grad_weight", "grad_input")),
        ],
    ),
)
def test_event_gives_the_columns_of_analytic(direction, flows):
    args = ("run", "lenet5", "--arch", "eyeriss", "--dataflow", flows, "--direction", direction)
    for a, e in zip(run_json(*args), run_json(*args, "--engine", "event"), strict=True):
        assert (a.pop("engine"), e.pop("engine")) == ("analytic", "event")
        assert (a.pop("bit_exact"), e.pop("bit_exact")) == (None, True)
        assert a.pop("cycles_exact") in (True, False) and e.pop("cycles_exact") in (True, False)
        differ = {
            k for k in a if a[k] != e[k]
        }  # on a chip with widths everywhere analytic's waits are an estimate
        assert (
            differ <= {k for k in a if k.startswith("stall_")} | RATES
            and a["direction"] == direction
        )
        assert a["cycles"] == pytest.approx(e["cycles"], rel=0.01)


def test_mapper_instead_of_the_rule():
    args = ("run", "lenet5", "--layer", "conv1", "--arch", "eyeriss", "--dataflow", "rs")
    (rule,), (best,) = run_json(*args), run_json(*args, "--mapper", "energy", "--check")
    assert (
        best["mapping"] == "mapper_energy"
        and best["bit_exact"]
        and best["energy_mac"] <= rule["energy_mac"]
    )
    for wrong in (
        ("--limit", "3", "--tiles", "rule"),
        ("--mapper", "edp", "--mapping", "eyeriss_alexnet"),
        ("--mapper", "beauty"),
    ):
        done = accelsim(*args, *wrong)
        assert done.code == 2 and done.out == "" and done.err.strip()


def test_engines_and_their_options(tmp_path):
    args = ("run", "lenet5", "--layer", "conv1", "--arch", "systolic", "--dataflow", "ws")
    (a,), (c,), (s,) = (
        run_json(*args, *more)
        for more in ((), ("--engine", "cycle"), ("--engine", "cycle", "--sample-folds"))
    )
    assert c["bit_exact"] and s["bit_exact"] is None and "sampled" in s
    assert (
        a["cycles"] == c["cycles"] == s["cycles"]
        and a["sram_ifmap_reads"] == c["sram_ifmap_reads"] == s["sram_ifmap_reads"]
    )
    timed = ("--arch", "eyeriss", "--dataflow", "rs", "--engine", "event", "--timeline", tmp_path)
    done = accelsim("run", "lenet5", "--layer", "conv1", *timed)
    assert (
        done.code == 0
        and {p.suffix for p in tmp_path.iterdir()} == {".csv", ".png", ".svg"}
        and len(list(tmp_path.iterdir())) == 5
    )
    trace = tmp_path / "out.json"
    done = accelsim("run", "lenet5", "--layer", "conv1", *timed[:-1], trace)
    assert done.code == 0 and f"wrote {trace}" in done.err
    assert json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    done = accelsim("run", "lenet5", "--layer", "conv1", *timed[:-1], tmp_path / "no" / "out.json")
    assert done.code == 2 and "--timeline" in done.err and "no such directory" in done.err
    for wrong in (
        ("--sample-folds",),
        ("--timeline", tmp_path),
        ("--engine", "cycle", "--sample-folds", "--check"),
    ):
        assert accelsim(*args, *wrong).code == 2


def test_plot(tmp_path):
    done = accelsim(*QUICK, "--layer", "fc3", "--plot", tmp_path / "figures")
    assert done.code == 0
    names = {p.name for p in (tmp_path / "figures").iterdir()}
    assert {"energy_by_level.png", "energy_by_level.svg", "latency.png", "latency.svg"} <= names
    assert all(f"{n}" in done.err for n in names)


# -- show, list, help ------------------------------------------------------------------------------


def test_list_names_everything_shipped():
    done = accelsim("list")
    assert done.code == 0 and not done.err
    for kind in ("workloads", "architectures", "dataflows"):
        assert f"{kind}:" in done.out
        for name in shipped_names(kind):
            assert re.search(rf"^  {name}\b", done.out, re.MULTILINE), name


@pytest.mark.parametrize(
    "name", ["lenet5", "eyeriss", "weight_stationary", "ws", "weight-stationary"]
)
def test_show_a_file(name):
    done = accelsim("show", name)
    assert (
        done.code == 0
        and {"ws": "weight_stationary"}.get(name, name.replace("-", "_")) in done.out
        and not done.err
    )


def test_show_a_nest():
    done = accelsim(
        "show",
        "lenet5",
        "--arch",
        "eyeriss",
        "--dataflow",
        "ws,rs",
        "--layer",
        "conv2",
        "--layer",
        "fc1",
    )
    assert done.code == 0 and not done.err
    for level in ("dram", "glb", "spad"):
        assert re.search(rf"^ *{level} keeps ", done.out, re.MULTILINE)
    assert (
        "parallel-for" in done.out
        and " over rows  (glb)" in done.out
        and " over cols  (glb)" in done.out
    )
    assert done.out.count("\nloops: ") == 4
    assert "ofmap[n,g,m,e,f] += ifmap[n,g,c,e+r,f+s] * weight[g,m,c,r,s]" in done.out
    (row,) = run_json(*QUICK, "--tiles", "rule", "--layer", "conv2")
    assert f"loops: {row['loops']}" in done.out
    (row,) = run_json(*QUICK, "--layer", "conv2")
    found = accelsim("show", *QUICK[1:], "--best", "--layer", "conv2")
    assert f"loops: {row['loops']}" in found.out and ", best tiles\n" in found.out


def test_show_a_layer_that_cannot_be_mapped():
    done = accelsim("show", "lenet5", "--arch", "tpu_v1", "--dataflow", "os,ws", "--layer", "fc3")
    assert done.code == 1
    assert (
        "cannot be mapped: output_stationary keeps ofmap in the PE, "
        "but tpu_v1's reg may keep weight" in done.out
    )
    assert "loops: K:1:acc:row M:1:acc:col" in done.out


def test_version():
    assert re.fullmatch(r"accelsim \S+ \(model version \d+\)\n", accelsim("--version").out)


def test_the_package_is_the_program():
    done = subprocess.run(
        [sys.executable, "-m", "accelsim", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, accelsim("--version").out)


def test_help_is_quick():
    """By the processor's time, since others may be at work beside this test."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    best = 9.0
    for _ in range(5):
        start = spent()
        done = shell("--help")
        best = min(best, spent() - start)
        assert done.returncode == 0 and "run" in done.stdout
    assert best < 0.5, f"accelsim --help took {best:.2f} s"


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_layer_that_cannot_be_mapped_is_exit_1_and_the_others_are_given():
    done = accelsim(
        "run", "lenet5", "--arch", "tpu_v1", "--dataflow", "os,ws", "--check", "--format", "json"
    )
    assert done.code == 1
    assert [(r["dataflow"], r["bit_exact"], r["cycles"] is None) for r in done.rows] == [
        ("os", None, True)
    ] * 5 + [("ws", True, False)] * 5
    why = "output_stationary keeps ofmap in the PE, but tpu_v1's reg may keep weight"
    assert {r["error"] for r in done.rows[:5]} == {why}
    assert done.err.splitlines() == [
        f"{n} os: {why}" for n in ("conv1", "conv2", "fc1", "fc2", "fc3")
    ]
    table = accelsim("run", "lenet5", "--arch", "tpu_v1", "--dataflow", "os,ws", "--check")
    assert table.code == 1 and table.out.count(why) == 5


RULE = "must be a shipped name or a .yaml file"
BAD_NAMES = {
    (
        "run",
        "lenet",
        "--arch",
        "eyeriss",
        "--dataflow",
        "ws",
    ): f"workload: {RULE}, got lenet; nearest: lenet5",
    (
        "run",
        "lenet5",
        "--arch",
        "eyeris",
        "--dataflow",
        "ws",
    ): f"architecture: {RULE}, got eyeris; nearest: eyeriss",
    (
        "run",
        "lenet5",
        "--arch",
        "eyeriss",
        "--dataflow",
        "weight_stationery",
    ): "got weight_stationery; nearest: weight_stationary",
    ("run", "lenet5", "--arch", "eyeriss", "--dataflow", "ws,"): f"dataflow: {RULE}, got nothing",
    (
        "run",
        "nowhere/net.yaml",
        "--arch",
        "eyeriss",
        "--dataflow",
        "ws",
    ): "nowhere/net.yaml: no such file",
    (*QUICK, "--layer", "conv9"): "layer: lenet5 has no such layer, got conv9; nearest: conv",
    (*QUICK, "--set", "array.row=3"): "array.row: no such key, got row; nearest: rows",
    (*QUICK, "--set", "array.rows=many"): "array.rows: must be a whole number, got 'many'",
    (*QUICK, "--set", "array.rows=0"): "array.rows: must be",
    (
        "show",
        "lenet",
    ): "no such workload, architecture, dataflow, mapping or file, got lenet; nearest: lenet5",
    ("show", "lenet5", "--arch", "eyeris", "--dataflow", "ws"): "nearest: eyeriss",
}


@pytest.mark.parametrize("args", BAD_NAMES, ids=lambda a: " ".join(a[-2:]))
def test_bad_names_get_one_line(args):
    done = accelsim(*args)
    assert done.code == 2 and done.out == ""
    assert done.err.count("\n") == 1 and done.err.endswith("\n") and BAD_NAMES[args] in done.err


BAD_USAGE = {
    ("run",): "Missing argument 'WORKLOAD'",
    ("run", "lenet5", "--arch", "eyeriss"): "Missing option '--dataflow'",
    (*QUICK, "--batch", "0"): "Invalid value for '--batch': 0",
    (*QUICK, "--seed", "-1"): "Invalid value for '--seed': -1",
    (*QUICK, "--format", "xml"): "'xml' is not one of 'table', 'csv', 'json'",
    (*QUICK, "--engine", "guess"): "Invalid value for '--engine'",
    (*QUICK, "--set", "array"): "--set wants KEY=VALUE, got 'array'",
    (*QUICK, "--frobnicate"): "--frobnicate",
    ("runn",): "No such command 'runn'",
    ("show", "lenet5", "--arch", "eyeriss"): "--arch and --dataflow go together",
    ("show", "lenet5", "--layer", "conv1"): "need --arch and --dataflow",
}


@pytest.mark.parametrize("args", BAD_USAGE, ids=lambda a: " ".join(a[-2:]))
def test_bad_usage_is_exit_2(args):
    done = accelsim(*args)
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    assert BAD_USAGE[args].replace("'", "") in done.err.splitlines()[-1].replace("'", "")


def test_an_error_of_ours_is_one_line_and_debug_shows_it(monkeypatch):
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(simulation, "simulate", broken)
    done = accelsim(*QUICK)
    assert (
        done.code == 1
        and done.out == ""
        and done.err.count("\n") == 1
        and "RuntimeError: a wheel came off" in done.err
    )
    with (
        mock.patch.object(sys, "argv", ["accelsim", *QUICK, "--debug"]),
        pytest.raises(RuntimeError, match="a wheel came off"),
    ):
        main()


def test_interrupted():
    # a shell's background job ignores SIGINT and hands that down; the test must not depend on it,
    # nor on how busy the machine is: after two seconds of its own work it is interrupted
    heed = (
        "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), signal.SIGINT)); "
        "signal.setitimer(signal.ITIMER_PROF, 2.0); "
    )
    run = [
        *COMMAND[:-1],
        heed + COMMAND[-1],
        "run",
        "vgg16",
        "--arch",
        "eyeriss",
        "--dataflow",
        "ws",
        "--check",
    ]
    with subprocess.Popen(
        run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == "" and err.split() == ["interrupted"]


LONG = ("run", "resnet50", "--arch", "scalesim", "--dataflow", "ws,os", "--format", "json")


@pytest.mark.parametrize(
    "args",
    [pytest.param(QUICK, marks=pytest.mark.slow), LONG, ("list",)],
    ids=["table", "json", "list"],
)
def test_a_closed_pipe_is_no_failure_of_ours(args):
    # The reader takes one line and goes, as `| head -1` does; the json is longer than a pipe holds.
    with subprocess.Popen(
        [*COMMAND, *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) in (0, 1)


def test_a_pipe_closed_from_the_start():
    with subprocess.Popen(
        [*COMMAND, *QUICK], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
