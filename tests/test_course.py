"""Every lab with its key, with wrong answers, and with what else a student may write."""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COURSE = Path(__file__).parents[1] / "docs" / "course"
LABS = {p.stem.partition("_")[0]: p for p in sorted(COURSE.glob("lab*_*.py"))}


def run(lab: str, *args: str, cwd: Path = COURSE) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, str(LABS[lab]), *args], cwd=cwd, capture_output=True, text=True, env=env
    )


def lab_module(lab: str, monkeypatch: Any) -> Any:
    monkeypatch.syspath_prepend(str(COURSE))
    return importlib.import_module(LABS[lab].stem)


def key(lab: str) -> dict[str, Any]:
    return dict(runpy.run_path(str(COURSE / "key" / f"{lab}.py"))["answers"])


def test_there_are_six() -> None:
    assert list(LABS) == [f"lab{k}" for k in range(1, 7)]


@pytest.mark.parametrize("lab", LABS)
def test_the_key_is_right_and_wrong_answers_are_told_why(
    lab: str, monkeypatch: Any, tmp_path: Path
) -> None:
    module = lab_module(lab, monkeypatch)
    grading = importlib.import_module("grading")
    shutil.copytree(COURSE / "key", tmp_path / "key")
    answers = key(lab)
    for found in grading.grade(module.QUESTIONS, answers, tmp_path / "key"):
        assert found.why is None, str(found)
    for question in module.QUESTIONS:
        told = [
            grading.verdict(question, wrong, tmp_path) for wrong in _wrong(answers[question.name])
        ]
        for found in told:
            assert found.why and len(found.why) > 15, (question.name, found)
        assert not grading.verdict(question, None).answered
        for wrong, why in question.mistakes():
            assert grading.verdict(question, wrong).why == why, (question.name, wrong)


def _wrong(right: Any) -> list[Any]:
    if isinstance(right, bool):
        return ["yes"]
    if isinstance(right, (int, float)):
        return [right * 2 + 1, right * 0.5, -1, "many", [right]]
    if isinstance(right, list):
        return [
            right[::-1] if right != right[::-1] else [*right, 1],
            [],
            right[0],
            [None, *right[1:]],
        ]
    if isinstance(right, dict):
        return [
            {},
            5,
            right | {next(iter(right)): 3},
            right | {"colour": 1},
            dict.fromkeys(right, "x"),
        ]
    return ["nothing of the kind", 7, {"a": 1}]


@pytest.mark.parametrize("lab", ["lab1", "lab3"])
def test_from_the_command_line(lab: str, tmp_path: Path) -> None:
    shutil.copytree(COURSE / "key", tmp_path / "key")
    done = run(lab, "--answers", str(tmp_path / "key" / f"{lab}.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 right" in done.stdout and "1  " in done.stdout
    blank = run(lab)
    assert (
        blank.returncode == 1
        and "0 of 8 right" in blank.stdout
        and blank.stdout.count("not answered") == 8
    )


def test_answers_that_cannot_be_read_are_a_sentence(tmp_path: Path) -> None:
    for text in ("answers = 3", "answers = {", "1 / 0", "answers = {'9.9': 1}"):
        (tmp_path / "mine.py").write_text(text)
        done = run("lab1", "--answers", str(tmp_path / "mine.py"))
        assert (
            done.returncode == 2
            and "Traceback" not in done.stderr
            and len(done.stderr.splitlines()) == 1
        )


def test_a_dataflow_of_ones_own_is_run_checked_and_animated(
    monkeypatch: Any, tmp_path: Path
) -> None:
    module = lab_module("lab3", monkeypatch)
    question = next(q for q in module.QUESTIONS if q.name == "3.8")
    good = (COURSE / "key" / "lab3_turned.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(good)
    assert question.grade("mine.yaml", tmp_path) is None
    assert "turned" in (tmp_path / "mine.html").read_text()
    for old, new, why in [
        ("space: [K:col, M:row]", "space: [K:row, M:col]", "over rows"),
        ("stays: [weight]", "stays: [wieght]", "weight"),
        ("pe: [X]", "pe: [Z]", "Z"),
        ("sizes: [M:row, K:col, K:buffer", "sizes: [K:buffer", "PEs work at once"),
        ("stays: [weight]", "stays: [ofmap]", ""),
    ]:
        (tmp_path / "mine.yaml").write_text(good.replace(old, new))
        told = question.grade("mine.yaml", tmp_path)
        assert told and why in told, (old, new, told)
    assert "no file" in question.grade("other.yaml", tmp_path)


def test_blank_answers_have_the_questions(monkeypatch: Any) -> None:
    for lab in LABS:
        names = [q.name for q in lab_module(lab, monkeypatch).QUESTIONS]
        blank = runpy.run_path(str(COURSE / "answers" / f"{lab}.py"))["answers"]
        assert list(blank) == names == list(key(lab)) and set(blank.values()) == {None}
