"""Study files: what they say is what is swept; whatever is wrong is one line with its place, at
once.
"""

from __future__ import annotations

import inspect
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_cli import Done, accelsim
from test_validate import refused

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.explore.grid import MAX_POINTS, sample, space
from accelsim.explore.study_file import StudyFile, load_study

STUDY = """\
name: arrays
description: how large an array
workload: lenet5
layers: [conv1, fc1]
arch: systolic
dataflows: [ws, os]
grid:
  array.rows: {first: 4, last: 64, factor: 4}
  array.cols: [8, 16]
constraints:
  - rows * cols <= 256
seed: 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def overrides(text: str, file: Path) -> list[dict[str, object]]:
    file.write_text(text)
    plan = load_study(file).plan()
    return [plan.overrides(m) for m in range(len(plan.numbers))]


def test_a_study_is_recognised_shown_and_planned(file: Path) -> None:
    file.write_text(STUDY)
    assert (
        accelsim("validate", file)
        == accelsim("validate", file, "--kind", "study")
        == Done(0, f"{file}: valid study arrays\n", "")
    )
    assert "array.rows  4 to 64, each 4 times the one before" in accelsim("show", file).out
    opened = load_study(file)
    plan = opened.plan()
    assert [tuple(p.values()) for p in overrides(STUDY, file)] == [
        (4, 8),
        (4, 16),
        (16, 8),
        (16, 16),
    ]
    assert [(i.layer.name, i.recipe.short) for i in plan.items] == [
        ("conv1", "ws"),
        ("fc1", "ws"),
        ("conv1", "os"),
        ("fc1", "os"),
    ]
    assert (plan.rows, plan.points, plan.items[0].seed, opened.name) == (16, 16, 3, "arrays")


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        ("{first: 1, last: 3}", [1, 2, 3]),
        ("{first: 8, last: 31, step: 8}", [8, 16, 24]),
        ("{first: 5, last: 5}", [5]),
        ("{first: 3, last: 100, factor: 3}", [3, 9, 27, 81]),
        ("[8, 16]", [8, 16]),
    ],
)
def test_ranges(values: str, meant: list[int], file: Path) -> None:
    found = overrides(
        STUDY.replace("[8, 16]", values).replace("{first: 4, last: 64, factor: 4}", "[2]"), file
    )
    assert [p["array.cols"] for p in found] == meant


def test_ranges_of_fractions(file: Path) -> None:
    grid = "grid: {clock_mhz: {first: 0.5, last: 2.0, step: 0.5}}\n"
    assert [
        p["clock_mhz"]
        for p in overrides(f"workload: lenet5\narch: systolic\ndataflows: ws\n{grid}", file)
    ] == [0.5, 1.0, 1.5, 2.0]


def test_zipped_crossed_and_listed(file: Path) -> None:
    head = "workload: lenet5\narch: systolic\ndataflows: ws, os\n"
    zipped = (
        "zipped:\n  - {array.rows: [4, 8], array.cols: [8, 4]}\n"
        "  - {levels.sram.capacity_bytes: [1000, 2000]}\n"
    )
    found = overrides(f"{head}grid: {{clock_mhz: [1.0, 2.0]}}\n{zipped}", file)
    assert [tuple(p.values()) for p in found] == [
        (c, r, 12 - r, s) for c in (1.0, 2.0) for r in (4, 8) for s in (1000, 2000)
    ]
    listed = "points:\n  - {array.rows: 4}\n  - {array.cols: 5, array.overlap: true}\n"
    assert overrides(head + listed, file) == [
        {"array.rows": 4},
        {"array.cols": 5, "array.overlap": True},
    ]
    assert overrides(head, file) == [{}]


def test_files_are_named_from_the_studys_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    for kind, name in (("systolic", "mine.yaml"), ("lenet5", "net.yaml"), ("ws", "flow.yaml")):
        (folder / name).write_text(accelsim("show", kind, "--yaml").out)
    study = folder / "study.yaml"
    study.write_text(
        "workload: net.yaml\narch: ./mine.yaml\ndataflows: [flow.yaml, os]\n"
        "layers: [fc3]\nstore: runs.sqlite\n"
    )
    monkeypatch.chdir(tmp_path)
    assert accelsim("sweep", study, "--jobs", 1).code == 0
    assert (folder / "runs.sqlite").is_file()
    accelsim("sweep", study, "--jobs", 1, "--store", "here.sqlite")
    assert (tmp_path / "here.sqlite").is_file()


def test_samples_are_drawn_evenly_and_again() -> None:
    found = space({"a": range(1000), "b": range(1000), "c": range(10**9)})
    first = sample(found, 50, seed=1)
    assert first == sample(found, 50, seed=1) != sample(found, 50, seed=2)
    assert len(set(first)) == 50 and first == sorted(first) and max(first) < 10**15
    few = space({"a": range(10), "b": range(10)})
    assert sample(few, 1000, 0) == list(range(100))
    some = sample(few, 10, 0, accept=lambda p: p["a"] == 3)
    assert some == list(range(30, 40))
    odd = sample(found, 20, 0, accept=lambda p: p["c"] % 2 == 1)
    assert len(odd) == 20 and all(found.point(n)["c"] % 2 for n in odd)
    with pytest.raises(InputError, match="the constraints leave too few"):
        sample(found, 3, 0, accept=lambda p: False)
    counts = [
        sum(n // 10 == k for seed in range(200) for n in sample(few, 10, seed)) for k in range(10)
    ]
    assert max(counts) - min(counts) < 130, "every part of the space is drawn alike"


def test_a_sampled_study(file: Path) -> None:
    text = STUDY.replace("{first: 4, last: 64, factor: 4}", "{first: 1, last: 1000000}").replace(
        "[8, 16]", "{first: 1, last: 1000000}"
    )
    found = overrides(text.replace("rows * cols <= 256", "rows <= 2 * cols") + "sample: 25\n", file)
    assert len(found) == 25 and all(p["array.rows"] <= 2 * p["array.cols"] for p in found)
    again = overrides(text.replace("rows * cols <= 256", "rows <= 2 * cols") + "sample: 25\n", file)
    assert found == again


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("grid:", "gird:", "study.yaml:7:1: gird: no such key, got gird; nearest: grid"),
        (
            "arch: systolic",
            "arch: systolc",
            r"study.yaml:5:7: arch.*: must be a shipped name or a .yaml file, "
            r"got systolc; nearest: systolic",
        ),
        (
            "array.rows:",
            "array.rws:",
            r"study.yaml:8:14: grid.array.rws: no such key, got rws; nearest: rows",
        ),
        (
            "array.rows:",
            "levels.sram.size:",
            r"study.yaml:8:21: grid.levels.sram.size: no such key, got size",
        ),
        ("[8, 16]", "[]", r"study.yaml:9:15: grid.array.cols"),
        ("[8, 16]", "8", r"study.yaml:9:15: grid.array.cols"),
        ("[8, 16]", "[8, 8]", r"study.yaml:9:15: grid.array.cols: stands twice on the axis, got 8"),
        (
            "factor: 4",
            "factor: 1",
            r"study.yaml:8:\d+: grid.array.rows.*factor: must be greater than 1",
        ),
        ("factor: 4", "factor: 2, step: 1", r"study.yaml:8:\d+: grid.array.rows.*not both"),
        ("last: 64", "last: 1", r"study.yaml:8:\d+: grid.array.rows.*must be at least first"),
        (
            "rows * cols <= 256",
            "rows * clos <= 256",
            r"study.yaml:11:5: constraints.0: no such key of the architecture, "
            r"got clos; nearest: cols",
        ),
        (
            "rows * cols <= 256",
            "rows * cols <=",
            r"study.yaml:11:5: constraints.0: a number, a name or a bracket must stand",
        ),
        ("rows * cols <= 256", "rows > 1000", r"study.yaml:\d+:\d+: constraints: leave no point"),
        (
            "rows * cols <= 256",
            "array.overlap + 'x' > 1",
            r"study.yaml:11:5: constraints.0: \+ wants numbers",
        ),
        (
            "[conv1, fc1]",
            "[conv1, fc9]",
            r"study.yaml:4:9: layer: lenet5 has no such layer, got fc9; nearest: fc",
        ),
        (
            "dataflows: [ws, os]",
            "dataflows: [ws, ws]",
            r"study.yaml:6:12: dataflows: stands twice, got ws",
        ),
        ("dataflows: [ws, os]", "direction: forward", "dataflows must be given, or a mapping"),
        ("seed: 3", "seed: -1", r"study.yaml:12:7: seed: must be at least 0, got -1"),
        ("seed: 3", "batch: 0", r"study.yaml:12:8: batch: must be at least 1, got 0"),
        ("seed: 3", "engine: magic", r"study.yaml:12:9: engine: must be "),
        ("seed: 3", "sample: 0", r"study.yaml:12:9: sample: must be at least 1, got 0"),
        ("seed: 3", "points: [{array.rows: 1}]", r"points.*: goes without grid and zipped"),
        (
            "seed: 3",
            "zipped: [{clock_mhz: [1.0, 2.0], array.overlap: [true]}]",
            r"zipped: must have as many values",
        ),
        ("seed: 3", "zipped: [{array.cols: [1, 2]}]", r"zipped.array.cols: stands on two axes"),
        ("seed: 3", "jobs: 3", r"study.yaml:12:1: jobs: no such key, got jobs"),
    ],
)
def test_refused(old: str, new: str, says: str, file: Path) -> None:
    import re

    text = STUDY.replace(old, new, 1)
    assert text != STUDY
    file.write_text(text)
    line = refused_sweep(file)
    assert re.search(says, line), line


def refused_sweep(file: Path) -> str:
    return refused(accelsim("sweep", file, "--jobs", 1, "--format", "csv"))


HUGE = "{first: 1, last: 1000000}"
HOSTILE = {
    "two axes of a million": f"grid: {{array.rows: {HUGE}, array.cols: {HUGE}}}",
    "twelve axes": "grid:\n" + "".join(f"  levels.sram.x{i}: {HUGE}\n" for i in range(12)),
    "a range beyond counting": "grid: {array.rows: {first: 1, last: 9007199254740992}}",
    "a range of tiny steps": "grid: {clock_mhz: {first: 0.1, last: 1000000.0, step: 1.0e-300}}",
    "a factor of nearly one": (
        "grid: {clock_mhz: {first: 1.0, last: 1.0e+300, factor: 1.0000000000000002}}"
    ),
    "a huge sample": f"grid: {{array.rows: {HUGE}, array.cols: {HUGE}}}\nsample: 1000000000000",
    "a sample of nothing": (
        f"grid: {{array.rows: {HUGE}, array.cols: {HUGE}}}\nsample: 9\nconstraints: [rows < 0]"
    ),
    "many values": f"grid: {{array.rows: [{', '.join(['1'] * 3000)}]}}",
    "anchors": "grid: {array.rows: &a [1], array.cols: *a}",
    "nested anchors": "a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\ngrid: {array.rows: *c}",
    "deep": f"grid: {{array.rows: {'[' * 400}{']' * 400}}}",
    "attributes": 'constraints: ["rows.__class__.__bases__"]',
    "calls": "constraints: [\"__import__('os').system('true')\"]",
    "private": 'constraints: ["array.__class__ == 1"]',
    "methods": 'constraints: ["array.model_dump.x == 1"]',
    "powers": 'constraints: ["9**9**9**9 > rows"]',
    "brackets": f'constraints: ["{"(" * 900}"]',
    "many constraints": f"constraints: [{', '.join(['rows < -1'] * 3000)}]",
    "a key of many steps": f"grid: {{{'array.' * 900}rows: [1]}}",
    "a long key": f"grid: {{{'a' * 9000}: [1]}}",
    "huge numbers": "grid: {array.rows: [99999999999999999999999]}",
    "not a number": "grid: {clock_mhz: {first: .nan, last: 2.0}}",
    "odd values": "grid: {array.rows: [{a: {b: 1}}, 3]}\nconstraints: [array.rows < 4]",
}
HEAD = "workload: lenet5\narch: systolic\ndataflows: ws\n"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_studies_are_refused_at_once(text: str, file: Path) -> None:
    file.write_text(HEAD + text + "\n")
    start = time.process_time()
    line = refused_sweep(file)
    assert time.process_time() - start < 4 and len(line) < 700, line


def test_hostile_studies_in_little_memory(tmp_path: Path) -> None:
    paths = []
    for i, text in enumerate(HOSTILE.values()):
        paths.append(tmp_path / f"{i}.yaml")
        paths[-1].write_text(HEAD + text + "\n")
    script = (
        "import sys\nfrom accelsim.explore.study_file import load_study\n"
        "from accelsim.base.errors import InputError\n"
        "for p in sys.argv[1:]:\n"
        "    try:\n        load_study(p).plan()\n"
        "    except InputError:\n        print('refused')\n"
    )
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1_200_000_000, 1_200_000_000))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=limit,
    )
    assert done.stdout.split() == ["refused"] * len(HOSTILE), done.stderr


def test_the_largest_grid_is_counted_not_built() -> None:
    found = space({f"k{i}": range(10**6) for i in range(10)})
    assert found.size == 10**60 and found.point(10**60 - 1)["k9"] == 10**6 - 1
    assert found.point(12345678)["k8"] == 12 and MAX_POINTS < found.size
    with pytest.raises(InputError, match="has too many values"):
        space({"a": range(10**30)})


# One description for Python, files and the shell --------------------------------------------------


def test_keywords_a_page_and_the_command_ask_for_the_same(file: Path, tmp_path: Path) -> None:
    page = load_study_of(STUDY, file)
    study = acc.Study(
        "lenet5",
        "systolic",
        {"array.rows": [4, 16, 64], "array.cols": [8, 16]},
        layers=["conv1", "fc1"],
        dataflows=["ws", "os"],
        constraints=["rows * cols <= 256"],
        seed=3,
        name="arrays",
    )
    assert page.plan().digest == study.plan().digest
    frame = study.run(jobs=1)
    pd.testing.assert_frame_equal(page.run(jobs=1), frame)
    out = tmp_path / "out.csv"
    assert accelsim("sweep", file, "--jobs", 1, "-o", out).code == 0
    assert pd.read_csv(out)["cycles"].tolist() == frame["cycles"].tolist()
    assert repr(study).startswith("Study(workload='lenet5', arch='systolic', grid={")
    assert "engine" not in repr(study) and "seed=3" in repr(study)


def load_study_of(text: str, file: Path) -> acc.Study:
    file.write_text(text)
    return load_study(file)


def test_names_and_defaults_are_the_studys() -> None:
    """What ``sweep``, ``search`` and a study file call their settings, and what these are if not
    given, is what ``Study`` says.
    """
    own = {name: p.default for name, p in inspect.signature(acc.Study).parameters.items()}
    carrying_out = {"jobs", "pool", "on_error", "progress", "trials"}
    for call, other in ((acc.sweep, set()), (acc.search, {"objective", "name"})):
        for name, parameter in inspect.signature(call).parameters.items():
            if name not in carrying_out | other:
                assert parameter.default == own[name], (call, name)
    written_otherwise = {"grid", "zipped", "name"}  # empty in a file, not None
    for name, field in StudyFile.model_fields.items():
        assert name in own
        if not field.is_required() and name not in written_otherwise:
            assert field.get_default(call_default_factory=True) == own[name], name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "magic"}, "engine: must be one of analytic, event, cycle, got magic"),
        ({"direction": "back"}, "direction: must be one of"),
        ({"batch": 0}, "batch: must be a whole number of at least 1, got 0"),
        ({"seed": True}, "seed: must be a whole number of at least 0, got True"),
        ({"tiles": "even"}, "tiles: goes with a mapper, got even"),
        ({"grid": {"array.rows": [1]}, "points": [{}]}, "points: goes without grid and zipped"),
    ],
)
def test_no_study_is_built_of_what_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as refusal:
        acc.Study("lenet5", "systolic", dataflows="ws", **options)
    assert says in str(refusal.value)
