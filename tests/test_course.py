"""Every lab with its key, with wrong answers, and with what else a student may write."""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import slow_but

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


@pytest.mark.parametrize("lab", slow_but(["lab1"], ["lab1", "lab3"]))
def test_from_the_command_line(lab: str, tmp_path: Path) -> None:
    shutil.copytree(COURSE / "key", tmp_path / "key")
    done = run(lab, "--answers", str(tmp_path / "key" / f"{lab}.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    n = len(key(lab))
    assert f"{n} of {n} right" in done.stdout and "1  " in done.stdout
    blank = run(lab)
    assert (
        blank.returncode == 1
        and f"0 of {n} right" in blank.stdout
        and blank.stdout.count("not answered") == n
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
    assert [p.name for p in tmp_path.iterdir()] == ["mine.yaml"], "grading leaves no file"
    monkeypatch.chdir(tmp_path)
    trials = importlib.import_module("trials")
    own = trials.own_film("mine.yaml", tmp_path, 4)
    assert own == Path("mine.html") and "turned" in own.read_text()
    for name in trials.FILMS:
        path = trials.write_film(name)
        assert path == Path(name) and path.stat().st_size > 10_000
        path.unlink()
    own.unlink()
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


RIGHT = (55, 0.438, "os", True, [2, 1], {"M": 4, "flow": "ws"}, [154, 0.5])
DRESSES: tuple[Callable[[Any], Any], ...] = (
    lambda x: x,
    np.array,
    lambda x: tuple(x) if isinstance(x, list) else x,
    lambda x: np.array([x])[0] if not isinstance(x, (list, dict)) else x,
    lambda x: pd.Series([x]).iloc[0] if not isinstance(x, (list, dict)) else pd.Series(x),
    lambda x: {k: np.asarray(v) for k, v in x.items()} if isinstance(x, dict) else x,
    lambda x: [np.float64(v) for v in x] if isinstance(x, list) else x,
    lambda x: x.upper() if isinstance(x, str) else x,
    lambda x: {"os": "Output-Stationary"}.get(x, x) if isinstance(x, str) else x,
    lambda x: {"os": "output stationary "}.get(x, x) if isinstance(x, str) else x,
    lambda x: Fraction(x) if type(x) is int else x,
    lambda x: float(x) if type(x) is int else x,
    lambda x: Decimal(str(x)) if type(x) in (int, float) else x,
)


@pytest.mark.parametrize("right", RIGHT, ids=repr)
def test_an_answer_is_right_in_whatever_it_is_dressed(right: Any, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(COURSE))
    grading = importlib.import_module("grading")
    question = grading.Question("1", "?", "a hint", lambda: right)
    for dress in DRESSES:
        answer = dress(right)
        if isinstance(answer, pd.Series) and isinstance(right, dict):
            continue  # its keys are labels, not a dictionary's
        assert grading.verdict(question, answer).why is None, repr(answer)
    for width in (np.int8, np.uint16, np.int32, np.int64):
        whole = grading.Question("1", "?", "a hint", lambda: 55)
        assert grading.verdict(whole, width(55)).why is None
        assert grading.verdict(whole, width(54)).why.startswith("54 is too small")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=3)
    | st.complex_numbers()
    | st.sampled_from(
        [
            np.int64(3),
            np.bool_(True),
            np.float32("nan"),
            np.arange(3),
            np.datetime64("2026-01-01"),
            pd.Timestamp(0),
            pd.DataFrame({"a": [1]}),
            10**400,
            len,
            object(),
            {1, 2},
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(max_size=5) | st.integers() | st.tuples(st.none()), inner, max_size=3
        )
        | st.fixed_dictionaries(dict.fromkeys(("M", "C", "H", "W", "R", "S"), inner))
        | st.fixed_dictionaries(
            dict.fromkeys(
                ("array.rows", "array.cols", "levels.sram.capacity_bytes", "dataflow"), inner
            )
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(answer=ANYTHING)
def test_whatever_a_student_writes_is_answered_with_a_sentence(answer: Any) -> None:
    sys.path.insert(0, str(COURSE))
    try:
        grading = importlib.import_module("grading")
        lab1, lab3 = (importlib.import_module(LABS[lab].stem) for lab in ("lab1", "lab3"))
        lab5 = importlib.import_module(LABS["lab5"].stem)
    finally:
        sys.path.remove(str(COURSE))
    table = pd.DataFrame(
        {"array.rows": [4], "array.cols": [4], "levels.sram.capacity_bytes": [4096]}
    ).assign(dataflow="ws", area_um2=1.0, edp=1.0)
    questions = [grading.Question("1", "?", "see page 3", lambda x=x: x) for x in RIGHT]
    questions += [lab1.QUESTIONS[-1], lab3.QUESTIONS[-1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("trials"), "designs", lambda: table)
        for question in (*questions, lab5.QUESTIONS[2]):
            told = grading.verdict(question, answer)
            assert str(told) and "\n" not in str(told)
            if told.why is not None:
                assert len(told.why) > 8 and len(told.why) < 12_000


def test_what_has_no_end_is_no_answer(monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(COURSE))
    grading = importlib.import_module("grading")
    question = grading.Question("1", "?", "a hint", lambda: [1])
    endless: list[Any] = []
    endless.append(endless)
    for answer in (endless, "x" * 20_000, [0] * 20_000, np.zeros(10**6)):
        assert "at most" in grading.verdict(question, answer).why or "no answer" in (
            grading.verdict(question, answer).why
        )
    assert "got a list" in grading.verdict(grading.Question("1", "?", "", lambda: 3), [3]).why


def test_blank_answers_have_the_questions(monkeypatch: Any) -> None:
    for lab in LABS:
        names = [q.name for q in lab_module(lab, monkeypatch).QUESTIONS]
        blank = runpy.run_path(str(COURSE / "answers" / f"{lab}.py"))["answers"]
        assert list(blank) == names == list(key(lab))
        assert all(importlib.import_module("comparing").blank(x) for x in blank.values())
