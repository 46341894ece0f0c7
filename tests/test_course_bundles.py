"""What is handed out, and how what comes back is graded: a student's bundle carries no answer, and
a submission does no harm.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

COURSE = Path(__file__).parents[1] / "docs" / "course"
ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def _course_on_the_path(monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(COURSE))


def load(name: str) -> Any:
    return importlib.import_module(name)


# Checks that do not carry the answer --------------------------------------------------------------

NUMBERS = st.integers(-(10**12), 10**12) | st.floats(1e-6, 1e9)
VALUES = NUMBERS | st.booleans() | st.sampled_from(["os", "Output-stationary", "glb"])
ANSWERS = VALUES | st.lists(VALUES, max_size=4) | st.dictionaries(st.text(), VALUES, max_size=3)


@settings(max_examples=150, deadline=None)
@given(right=ANSWERS, other=ANSWERS, within=st.sampled_from([0.0, 0.005, 0.01]), off=st.data())
def test_a_seal_says_what_the_teacher_says(right: Any, other: Any, within: float, off: Any) -> None:
    sealing, comparing = load("sealed"), load("comparing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "ROUNDS", 1)
        tried = [right, other]
        if type(right) not in (int, float):
            within = 0.0  # only a number may be off
        if isinstance(right, float) and within:
            part = off.draw(st.floats(-1, 1))
            tried += [right * (1 + within * part), right * (1 + 1.6 * within), right * 2]
        reasons = [(other, "a reason")] if not comparing.same(other, right, within) else []
        kept = sealing.sealed(right, reasons, within, "salt")
        for answer in tried:
            done, why = sealing.checked(answer, kept, within)
            if repr(answer) == repr(right) or (within and comparing.same(answer, right, within)):
                assert done, (answer, right, within)
            elif not comparing.same(answer, right, 1.55 * within + 1e-11):
                assert not done, (answer, right, within)
            if not done and reasons and comparing.same(answer, other, 0.0):
                assert why == "a reason"


def made(tmp_path: Path, labs: list[str]) -> Path:
    load("course").build(tmp_path / "made", labs, run=False)
    return tmp_path / "made"


def test_a_students_bundle_has_no_answer_and_checks_as_the_teacher_does(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(load("sealed"), "ROUNDS", 2)
    folder = made(tmp_path, ["lab1"])
    lab = load("grading").load_lab("lab1")
    names = zipfile.ZipFile(folder / "student.zip").namelist()
    assert "accelsim-course/checks/lab1.json" in names and len(names) == len(set(names))
    for word in ("key", "grading.py", "lab1_counting.py", "course.py", "KEY", "confined", "pages"):
        assert not [n for n in names if word in n.removeprefix("accelsim-course/")], word
    files = [p for p in (folder / "student").rglob("*") if p.is_file() and p.suffix != ".png"]
    text = "".join(p.read_text() for p in files)
    check = load("check")
    monkeypatch.setattr(check, "HERE", folder / "student")
    monkeypatch.setattr(check, "variant_of", lambda lab, student, variants: int(student or 0))
    for variant in range(lab.variants):
        questions = lab.questions(variant)
        for q in questions[1:3] + questions[4:5]:
            assert str(q.right()) not in text, f"{q.name} is told"
        answers = {q.name: q.right() for q in questions}
        assert check.check("lab1", answers, variant) == len(questions)
        for q in questions:
            for wrong, why in q.mistakes():
                capsys.readouterr()
                check.check("lab1", {q.name: wrong}, variant)
                told = " ".join(capsys.readouterr().out.split())
                assert why in told and why not in text, (q.name, wrong)
    capsys.readouterr()
    check.check("lab1", {"1.1": [55], "1.4": True})
    told = capsys.readouterr().out
    assert "is a number, got a list" in told and "is a number, got True or False" in told


def test_the_teachers_bundle_has_the_key_of_every_variant(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(load("sealed"), "ROUNDS", 2)
    folder = made(tmp_path, ["lab1"])
    key = (folder / "teacher" / "KEY.md").read_text()
    shown = ("3 variants and the text's", "variant 3: `69`", "2 points, 5 min", "211 x 211")
    for part in (*shown, "| 1 Counting | 75 | 60 | 24 | 3 + the text's |"):
        assert part in key, part
    assert "A full answer:" in key and "floor((227 - 11) / 4)" in key
    assert "\nThe text's, which nobody has: " in key and "\nVariant 1: " in key
    assert "ariant 0" not in key, "nobody has it, and the table calls it the text's"
    names = zipfile.ZipFile(folder / "teacher.zip").namelist()
    for part in ("student.zip", "KEY.md", "course/course.py", "course/key/lab6.py"):
        assert f"accelsim-course-teacher/{part}" in names, part
    assert "accelsim-course-teacher/teaching/decks.py" in names, "slides can be made again"
    assert "accelsim-course-teacher/pages/sliding_window.md" in names, "to hand out after the lab"
    again = (folder / "student.zip").read_bytes()
    load("course").build(folder, ["lab1"], run=False)
    assert (folder / "student.zip").read_bytes() == again, "the same files, the same bytes"


@pytest.mark.parametrize("lab", ["lab1", "lab2", "lab3", "lab4", "lab5", "lab6"])
def test_every_lab_says_what_it_is_for_and_asks_something_in_words(lab: str) -> None:
    found = load("grading").load_lab(lab)
    assert len(found.goals) >= 3 and found.minutes >= 60 and len(found.reading) >= 2
    assert found.open and all(len(q.rubric) >= 3 and len(q.model) > 200 for q in found.open)
    assert len({q.name for q in (*found.questions(0), *found.open)}) == len(
        [*found.questions(0), *found.open]
    )
    working = load("course")._working(found)
    assert list(working) == [q.name for q in found.questions(0)]
    asked = sum(q.minutes for q in (*found.questions(0), *found.open))
    assert asked <= found.minutes
    for student in ("1", "2", "31415926"):
        variant = found.variant_of(student)
        assert found.variants == 1 or 0 < variant < found.variants
        assert found.variant_of(student) == variant and found.variant_of("") == 0


@pytest.mark.slow
@pytest.mark.parametrize("lab", ["lab1", "lab2", "lab3", "lab4", "lab5", "lab6"])
def test_every_variant_of_every_lab_has_an_answer_and_mistakes_that_differ(
    lab: str, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "lab3_turned.yaml").write_text((COURSE / "key" / "lab3_turned.yaml").read_text())
    monkeypatch.setattr(load("sealed"), "ROUNDS", 2)
    grading = load("grading")
    found = grading.load_lab(lab)
    for variant in range(found.variants):
        for q in found.questions(variant):
            told = grading.verdict(q, q.right(), tmp_path)
            assert told.why is None, (variant, str(told))
            for wrong, why in q.mistakes():
                assert grading.verdict(q, wrong, tmp_path).why == why, (variant, q.name, wrong)
    made(tmp_path, [lab])


# Notebooks ----------------------------------------------------------------------------------------


def test_a_lesson_becomes_cells_that_run() -> None:
    script = "\n".join(
        [
            '"""not in the notebook"""',
            "# %% [markdown]",
            "# # Title",
            "#",
            "#     indented",
            "# %%",
            "n = 2",
            "print(n)",
            "n + 1",
        ]
    )
    made = load("notebooks").notebook(script, True, "t")
    text, code = made["cells"]
    assert text["source"] == "# Title\n\n    indented" and text["cell_type"] == "markdown"
    assert [o["output_type"] for o in code["outputs"]] == ["stream", "display_data"]
    assert code["outputs"][0]["text"] == "2\n"
    assert code["outputs"][1]["data"] == {"text/plain": "3"}
    assert json.loads(json.dumps(made))["nbformat"] == 4


@pytest.mark.parametrize(
    "script", sorted((COURSE / "lessons").glob("lab*.py")), ids=lambda p: p.stem
)
def test_every_lesson_has_goals_time_reading_pictures_and_its_questions(script: Path) -> None:
    text = script.read_text()
    found = load("notebooks").cells(text)
    for part in ("**Goals.**", "**Time**", "**Reading**"):
        assert part in found[0].text, part
    lab = script.stem.partition("_")[0]
    assert f'check.show("{lab}"' in text and f'check.check("{lab}"' in text
    minutes = load("grading").load_lab(lab).minutes
    assert f"**Time** {minutes} minutes" in found[0].text.replace("\n", " ")
    assert len([c for c in found if c.code]) >= 4
    assert any(name in text for name in ("pictures import", "plot.energy", "Figure(")), (
        "something to look at"
    )


@pytest.mark.slow
@pytest.mark.parametrize("lab", ["lab1", "lab2", "lab3", "lab4", "lab5", "lab6"])
def test_every_notebook_runs_and_has_its_pictures(
    lab: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(load("sealed"), "ROUNDS", 2)
    load("course").build(tmp_path, [lab])
    (path,) = (tmp_path / "student").glob("*.ipynb")
    made = json.loads(path.read_text())
    outputs = [o for c in made["cells"] for o in c.get("outputs", ())]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert "0 of " in "".join(o.get("text", "") for o in outputs), "the questions are unanswered"
    try:
        import nbformat
    except ImportError:
        return
    nbformat.validate(nbformat.from_dict(made))


# Submissions --------------------------------------------------------------------------------------

HOSTILE = '''
import ctypes, os
told = []
def attempt(name, action):
    try:
        action()
        told.append("DONE " + name)
    except BaseException as error:
        told.append(type(error).__name__)
attempt("passwd", lambda: open("/etc/passwd").read())
attempt("key", lambda: open({key!r}).read())
attempt("other", lambda: open({other!r}).read())
attempt("write", lambda: open({outside!r}, "w"))
attempt("list", lambda: os.listdir({course!r}))
attempt("program", lambda: os.system("touch " + {outside!r}))
attempt("fork", lambda: os.fork())
attempt("end", lambda: os.kill(os.getppid(), 9))
attempt("memory", lambda: bytearray(64 * 2**30))
if {landlock}:
    libc = ctypes.CDLL(None)
    told.append(libc.open({key!r}.encode(), 0) >= 0)
    told.append(libc.open({outside!r}.encode(), 0o101, 0o600) >= 0)
with open("mine.txt", "w") as file:
    file.write("its own folder is its own")
student = "hostile"
answers = {{"1.1": None}}
in_words = {{"1.9": str(told)}}
'''  # fmt: skip


@pytest.fixture
def submissions(tmp_path: Path) -> Iterator[Path]:
    """Four students' folders: right, wrong, endless, reading files."""
    folder = tmp_path / "submissions"
    lab = load("grading").load_lab("lab1")
    confined = load("confined")
    for name in ("right", "wrong", "endless", "hostile"):
        (folder / name).mkdir(parents=True)
    answers = {q.name: q.right() for q in lab.questions(lab.variant_of("right"))}
    (folder / "right" / "lab1.py").write_text(
        f"import numpy\nstudent = 'right'\nanswers = {answers!r}\n"
        "answers['1.1'] = numpy.int64(answers['1.1'])\n"
        "in_words = {'1.9': 'It waits for memory.'}\n"
    )
    (folder / "wrong" / "lab1.py").write_text(
        "student = 'wrong'\nanswers = {'1.1': [1], '1.4': -3}\nin_words = {'1.9': '=1+1'}\n"
    )
    (folder / "endless" / "lab1.py").write_text(
        "try:\n    open('/etc/passwd')\nexcept OSError:\n    pass\nwhile True: pass\n"
    )
    (folder / "hostile" / "lab1.py").write_text(
        HOSTILE.format(
            key=str(COURSE / "key" / "lab1.py"),
            other=str(folder / "right" / "lab1.py"),
            outside=str(tmp_path / "outside"),
            course=str(COURSE),
            landlock=confined.landlock_version() > 0,
        )
    )
    yield folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are Linux's")
def test_right_wrong_and_hostile_submissions_are_graded(submissions: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(COURSE / "course.py"), "grade", str(submissions)]
    command += ["-o", str(tmp_path / "grades.csv"), "--labs", "lab1", "--cpu", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    rows = {r["student"]: r for r in csv.DictReader((tmp_path / "grades.csv").open())}
    assert {name: (int(r["points"]), int(r["to_read"])) for name, r in rows.items()} == {
        "right": (18, 1),
        "wrong": (0, 1),
        "endless": (0, 0),
        "hostile": (0, 1),
    }
    said = {
        (r["student"], r["question"]): r["said"]
        for r in csv.DictReader((tmp_path / "grades_questions.csv").open())
    }
    assert said["right", "1.1"] == "right"
    assert "is a number, got a list" in said["wrong", "1.1"]
    assert said["wrong", "1.9"] == "'=1+1", "no formula for a spreadsheet"
    assert said["endless", "1.1"] == "stopped after 2 seconds of computing"
    assert said["endless", "1.9"] == "not read: stopped after 2 seconds of computing"
    refused = {name: row["refused"].split("; ") for name, row in rows.items()}
    assert refused["right"] == refused["wrong"] == [""]
    assert refused["endless"] == ["open /etc/passwd"], "from a program that never ended"
    for tried in ("open /etc/passwd", "os.fork", "os.kill", f"os.listdir {COURSE}"):
        assert tried in refused["hostile"], tried
    assert "4 of 4  wrong: lab1 0 of 18 and 1 to read" in done.stderr, "how far it is"
    assert "Held by the kernel" in done.stderr and "enough" in done.stderr
    assert "DONE" not in said["hostile", "1.9"] and "True" not in said["hostile", "1.9"]
    assert said["hostile", "1.9"].count("PermissionError") >= 8
    assert "MemoryError" in said["hostile", "1.9"]
    assert not (tmp_path / "outside").exists()
    assert not (submissions / "hostile" / "mine.txt").exists(), "a copy was run"


def test_what_cannot_be_graded_is_a_sentence(tmp_path: Path) -> None:
    course, limits = load("course"), load("confined").Limits(wall_s=60.0)
    for name, text in {
        "raises": "1 / 0",
        "leaves": "import os; os._exit(0)",
        "forges": "import os; os.write(3, b'{\"answers\": 3}'); answers = {}",
        "many": "answers = {str(k): 'x' * 9000 for k in range(500)}",
        "none": "",
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        if text:
            (folder / "lab1.py").write_text(text)
    (tmp_path / "none" / "lab1.py").symlink_to(COURSE / "key" / "lab1.py")
    grades = course.grade_folder(tmp_path, limits, ["lab1"])
    first = {g.student: g.said for g in grades if g.question == "1.1"}
    assert first["raises"] == "ZeroDivisionError: division by zero"
    assert first["leaves"] == "it ended before it had answered"
    assert first["many"] == "it answered more than can be read"
    assert first["none"] == "nothing was handed in", "a link out of the folder is not followed"
    assert {g.points for g in grades} == {0}


def test_what_the_shell_is_told_of_wrong_folders_and_labs(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    for words, said in (
        (["grade", str(tmp_path / "nowhere")], "is no folder of submissions"),
        (["grade", str(tmp_path), "--labs", "lab9"], "no lab9; there are lab1, lab2"),
    ):
        monkeypatch.setattr(sys, "argv", ["course.py", *words])
        assert load("course").main() == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(load("sealed"), "ROUNDS", 1)
    made_of = json.loads(json.dumps(load("course").checks(load("grading").load_lab("lab1"))))
    assert made_of["title"] == "Lab 1: Counting" and len(made_of["variants"]) == 4
