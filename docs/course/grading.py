"""What every lab is made of, and how its answers are graded against the model.

A lab's module has a ``LAB``: goals, times, reading, questions for each variant, and open questions
with a rubric.  ``python lab1_counting.py`` prints it and grades ``answers/lab1.py``, or the file
given with ``--answers``.  That file sets ``answers = {"1.1": 55, ...}`` and, for the questions that
are answered in words, ``in_words = {"1.9": "..."}``; None is a question not answered yet.  Exit
code 0 means that every answer is right; words are for people to read.

This module and the labs have the right answers: they are the teacher's.  What students get is made
of them by ``course.py``, with ``check.py`` in place of this module.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import trials
from comparing import (
    blank,
    got,
    kind,
    number,
    piped,
    plain,
    same,
    told,
    variant_of,
    wrapped,
)

HERE = Path(__file__).resolve().parent
Mistakes = Callable[[], Sequence[tuple[Any, str]]]


@dataclass(frozen=True)
class Question:
    """``right`` works out the answer; ``mistakes`` are answers that are wrong for a known reason;
    ``hint`` is for all others.

    ``within`` is how far a number may be off, as a part of it.  A question with many right answers
    has a ``trial`` besides, a function of ``trials`` that runs the answer, and what it is ``given``
    too; ``right`` is then one of them, for the key.  ``minutes`` is what it takes on paper.
    """

    name: str
    text: str
    hint: str = ""
    right: Callable[[], Any] | None = None
    mistakes: Mistakes = field(default=lambda: ())
    within: float = 0.0
    trial: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    points: int = 2
    minutes: int = 5

    def grade(self, answer: Any, place: Path) -> str | None:
        """What the trial finds wrong with a plain answer, or None; files lie in ``place``."""
        why: str | None = getattr(trials, self.trial)(answer, place, **self.given)
        return why


@dataclass(frozen=True)
class OpenQuestion:
    """A question that is answered in words and read by a person.

    ``rubric``: points, and what they are given for; ``model`` is an answer with all of them.
    """

    name: str
    text: str
    rubric: tuple[tuple[int, str], ...]
    model: str
    minutes: int = 15

    @property
    def points(self) -> int:
        """All that the rubric gives."""
        return sum(points for points, _ in self.rubric)


@dataclass(frozen=True)
class Lab:
    """A lab: ``name`` is that of its answers' file, ``questions`` gives those of a variant.

    ``given`` is what a variant's questions take as given: names that they use with their meaning,
    and under no name what holds for all.  It is shown before them, in a notebook as in a shell.
    ``numbers`` are what a variant's pictures and films are made with.  ``reading`` is for before
    the lab, ``pages`` (of ``docs/teaching``) for after it: they show what the lab asks.
    """

    name: str
    title: str
    goals: tuple[str, ...]
    minutes: int
    reading: tuple[str, ...]
    questions: Callable[[int], list[Question]]
    open: tuple[OpenQuestion, ...]
    given: Callable[[int], Mapping[str, str]]
    numbers: Callable[[int], Mapping[str, Any]] = lambda variant: {}
    variants: int = 1
    pages: tuple[str, ...] = ()

    def variant_of(self, student: str) -> int:
        """Which variant a student of that number has."""
        return variant_of(self.name, student, self.variants)


@dataclass(frozen=True)
class Verdict:
    """``why`` is None for a right answer."""

    question: Question
    answered: bool
    why: str | None

    def __str__(self) -> str:
        said = (
            "right"
            if self.why is None
            else "not answered"
            if not self.answered
            else f"wrong: {self.why}"
        )
        return f"{self.question.name}  {said}"


def verdict(question: Question, answer: Any, place: Path = HERE) -> Verdict:
    """Grade one answer; anything a student may write is answered with a sentence."""
    try:
        answer = plain(answer)
    except ValueError as error:
        return Verdict(question, True, f"{error}. {question.hint}".strip())
    if blank(answer):
        return Verdict(question, False, "not answered")
    if question.trial:
        return Verdict(question, True, question.grade(answer, place))
    assert question.right is not None
    right = plain(question.right())
    if same(answer, right, question.within):
        return Verdict(question, True, None)
    if kind(answer) != kind(right):
        why = f"the answer is {kind(right)}, got {got(answer)}. {question.hint}"
        return Verdict(question, True, why.strip())
    for value, why in question.mistakes():
        if same(answer, plain(value), question.within):
            return Verdict(question, True, why)
    return Verdict(question, True, f"{_compared(answer, right)}{question.hint}")


def _compared(answer: Any, right: Any) -> str:
    if kind(right) == "a number" and right:
        return f"{answer} is too {'large' if answer > right else 'small'}. "
    if isinstance(right, list):
        if len(answer) != len(right):
            return f"{len(right)} entries are wanted, got {len(answer)}. "
        wrong = [k for k, (a, b) in enumerate(zip(answer, right, strict=True)) if a != b]
        return f"entry {wrong[0] + 1} is wrong. " if wrong else ""
    return ""


def grade(
    questions: Sequence[Question], answers: Mapping[str, Any], place: Path = HERE
) -> list[Verdict]:
    """A verdict for every question."""
    return [verdict(q, answers.get(q.name), place) for q in questions]


@cache
def load_lab(name: str) -> Lab:
    """The lab of that name, ``lab1``."""
    (path,) = HERE.glob(f"{name}_*.py")
    lab: Lab = import_module(path.stem).LAB
    return lab


def lab_names() -> list[str]:
    """``lab1`` and on."""
    return [path.stem.partition("_")[0] for path in sorted(HERE.glob("lab*_*.py"))]


def read_answers(path: Path, lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file of answers sets: answers, and answers in words.  The file is run.

    Raises ValueError, in words, for a file that cannot be run or answers what was not asked.
    """
    try:
        space = runpy.run_path(str(path))
    except Exception as error:
        raise ValueError(f"cannot be read: {type(error).__name__}: {error}") from error
    answers, words = space.get("answers"), space.get("in_words", {})
    if not isinstance(answers, dict) or not isinstance(words, dict):
        raise ValueError("must set answers = {...}")
    names = {q.name for q in lab.questions(0)} | {q.name for q in lab.open}
    if unknown := sorted({*map(str, answers), *map(str, words)} - names):
        raise ValueError(f"no question {', '.join(unknown)}")
    return answers, words


def run(text: str, lab: Lab) -> int:
    """The command line of a lab; its exit code."""
    return piped(lambda: _run(text, lab))


def _run(text: str, lab: Lab) -> int:
    parser = argparse.ArgumentParser(description=text.strip().splitlines()[0])
    parser.add_argument(
        "--answers",
        type=Path,
        default=HERE / "answers" / f"{lab.name}.py",
        help="default: %(default)s",
    )
    parser.add_argument("--quiet", action="store_true", help="verdicts only")
    parser.add_argument("--student", default="", help="a student's number: grade that variant")
    args = parser.parse_args()
    try:
        answers, words = read_answers(args.answers, lab)
    except ValueError as error:
        print(f"{args.answers}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    variant = lab.variant_of(args.student)
    questions = lab.questions(variant)
    if not args.quiet:
        asked = (*questions, *lab.open)
        texts = [q.text for q in asked] + [q.hint for q in questions]
        print(text.strip(), "", told(lab.given(variant), texts), sep="\n")
        for q in asked:
            print("\n" + wrapped(q.name, q.text))
        print()
    verdicts = grade(questions, answers, args.answers.parent)
    for v in verdicts:
        name, _, said = str(v).partition("  ")
        print(wrapped(name, said))
    for q in lab.open:
        print(f"{q.name}  {'to be read' if words.get(q.name) else 'no words yet'}")
    done = sum(v.why is None for v in verdicts)
    print(f"student {number(args.student) or 'without a number'}: variant {variant}")
    print(f"{done} of {len(verdicts)} right")
    return 0 if done == len(verdicts) else 1
