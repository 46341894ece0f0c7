"""What every lab shares: questions that are worked out by the model, answers from a file, and why
an answer is wrong.

A lab is run as ``python lab1_counting.py``: it prints its questions and grades ``answers/lab1.py``,
or the file given with ``--answers``.  That file sets ``answers = {"1.1": 55, ...}``; None is a
question not answered yet.  Exit code 0 means that everything is right.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Mistakes = Callable[[], Sequence[tuple[Any, str]]]


@dataclass(frozen=True)
class Question:
    """``right`` works out the answer; ``mistakes`` are answers that are wrong for a known reason;
    ``hint`` is for all others.

    ``within`` is how far a number may be off, as a part of it.  An open question has ``grade``
    instead: given the answer and the place of the answers' file it says what is wrong with it, or
    None.
    """

    name: str
    text: str
    hint: str = ""
    right: Callable[[], Any] | None = None
    mistakes: Mistakes = field(default=lambda: ())
    within: float = 0.0
    grade: Callable[[Any, Path], str | None] | None = None


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
    if answer is None:
        return Verdict(question, False, "not answered")
    if question.grade is not None:
        return Verdict(question, True, question.grade(answer, place))
    assert question.right is not None
    right = question.right()
    if _same(answer, right, question.within):
        return Verdict(question, True, None)
    if type(answer) is not type(right) and not (_number(answer) and _number(right)):
        return Verdict(
            question,
            True,
            f"the answer is {_kind(right)}, got {_kind(answer)}. {question.hint}".strip(),
        )
    for value, why in question.mistakes():
        if _same(answer, value, question.within):
            return Verdict(question, True, why)
    return Verdict(question, True, f"{_compared(answer, right)}{question.hint}")


def grade(
    questions: Sequence[Question], answers: Mapping[str, Any], place: Path = HERE
) -> list[Verdict]:
    """A verdict for every question."""
    return [verdict(q, answers.get(q.name), place) for q in questions]


def run(text: str, questions: Sequence[Question], lab: str) -> int:
    """The command line of a lab."""
    parser = argparse.ArgumentParser(description=text.strip().splitlines()[0])
    parser.add_argument(
        "--answers", type=Path, default=HERE / "answers" / f"{lab}.py", help="default: %(default)s"
    )
    parser.add_argument("--quiet", action="store_true", help="verdicts only")
    args = parser.parse_args()
    try:
        answers = runpy.run_path(str(args.answers)).get("answers")
    except Exception as error:
        print(f"{args.answers}: cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if not isinstance(answers, dict):
        print(f"{args.answers}: must set answers = {{...}}", file=sys.stderr)
        return 2
    if unknown := sorted(set(map(str, answers)) - {q.name for q in questions}):
        print(f"{args.answers}: no question {', '.join(unknown)}", file=sys.stderr)
        return 2
    if not args.quiet:
        print(text.strip())
        for q in questions:
            print(
                "\n"
                + textwrap.fill(
                    f"{q.name}  {q.text}", 100, subsequent_indent=" " * (len(q.name) + 2)
                )
            )
        print()
    verdicts = grade(questions, answers, args.answers.parent)
    for v in verdicts:
        print(textwrap.fill(str(v), 100, subsequent_indent=" " * (len(v.question.name) + 2)))
    done = sum(v.why is None for v in verdicts)
    print(f"{done} of {len(verdicts)} right")
    return 0 if done == len(verdicts) else 1


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    if _number(value):
        return f"a number ({value})" if isinstance(value, float) else "a whole number"
    return {str: "a word", bool: "True or False", list: "a list", dict: "a dictionary"}.get(
        type(value), type(value).__name__
    )


def _same(answer: Any, right: Any, within: float) -> bool:
    if _number(answer) and _number(right):
        return abs(answer - right) <= within * abs(right) + 1e-12
    if isinstance(answer, str) and isinstance(right, str):
        return answer.strip().lower().replace("-", "_") == right
    return type(answer) is type(right) and answer == right


def _compared(answer: Any, right: Any) -> str:
    if _number(answer) and _number(right) and right:
        return f"{answer} is too {'large' if answer > right else 'small'}. "
    if isinstance(answer, list) and isinstance(right, list):
        if len(answer) != len(right):
            return f"{len(right)} entries are wanted, got {len(answer)}. "
        first = next(
            (k for k, (a, b) in enumerate(zip(answer, right, strict=True)) if a != b), None
        )
        return "" if first is None else f"entry {first + 1} is wrong. "
    return ""
