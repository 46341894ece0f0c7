"""What every lab shares: questions that are worked out by the model, answers from a file, and why
an answer is wrong.

A lab is run as ``python lab1_counting.py``: it prints its questions and grades ``answers/lab1.py``,
or the file given with ``--answers``.  That file sets ``answers = {"1.1": 55, ...}``; None is a
question not answered yet.  Exit code 0 means that everything is right.
"""

from __future__ import annotations

import argparse
import math
import numbers
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
    try:
        answer = plain(answer)
    except ValueError as error:
        return Verdict(question, True, f"{error}. {question.hint}".strip())
    if answer is None:
        return Verdict(question, False, "not answered")
    if question.grade is not None:
        return Verdict(question, True, question.grade(answer, place))
    assert question.right is not None
    right = plain(question.right())
    if same(answer, right, question.within):
        return Verdict(question, True, None)
    if kind(answer) != kind(right):
        told = f"the answer is {kind(right)}, got {_got(answer)}. {question.hint}"
        return Verdict(question, True, told.strip())
    for value, why in question.mistakes():
        if same(answer, plain(value), question.within):
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


# What an answer is --------------------------------------------------------------------------------

MOST = 10_000  # entries of an answer, and letters of a word
DEEPEST = 10  # lists within lists


def plain(answer: Any, depth: int = 0) -> Any:
    """An answer as plain Python: None, True or False, a number, text, a list or a dictionary.

    What numpy and pandas return is the number or list it stands for, and so is a tuple or a
    fraction; a list of one number stays a list.  Raises ValueError, in words, for what is no
    answer: a function, something nested without end, a number that is not one.
    """
    if depth > DEEPEST:
        raise ValueError(f"an answer has at most {DEEPEST} lists within lists")
    if answer is None or isinstance(answer, (bool, str)):
        return _short(answer) if isinstance(answer, str) else answer
    if isinstance(answer, numbers.Number):
        return _plain_number(answer)
    if isinstance(answer, Mapping):
        return {_key(k): plain(v, depth + 1) for k, v in _few(answer.items())}
    if isinstance(answer, (list, tuple)):
        return [plain(v, depth + 1) for v in _few(answer)]
    if type(answer).__module__.partition(".")[0] in ("numpy", "pandas"):
        inside = getattr(answer, "tolist", None) or getattr(answer, "item", None)
        if inside is not None and getattr(answer, "size", 1) <= MOST:
            value = inside()
            if type(value) is not type(answer):
                return plain(value, depth + 1)
    raise ValueError(f"{_article(type(answer).__name__)} is no answer")


def _plain_number(answer: Any) -> Any:
    """A whole number as int, any other as float; numpy's are of their own types."""
    if isinstance(answer, numbers.Integral):
        if abs(int(answer)) >= 10**300:
            raise ValueError("a number of more than 300 digits is no answer")
        return int(answer)
    try:
        value = float(answer)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{_article(type(answer).__name__)} is no answer") from None
    if not math.isfinite(value):
        raise ValueError(f"{value} is no answer")
    return value


def _key(key: Any) -> str:
    """The key of a dictionary's entry as text."""
    if isinstance(key, (str, numbers.Number)):
        return str(plain(key))
    raise ValueError(f"the keys of a dictionary are words, got {_article(type(key).__name__)}")


def _few(entries: Any) -> list[Any]:
    listed = list(entries)
    if len(listed) > MOST:
        raise ValueError(f"an answer has at most {MOST} entries, got {len(listed)}")
    return listed


def _short(text: str) -> str:
    if len(text) > MOST:
        raise ValueError(f"an answer has at most {MOST} letters, got {len(text)}")
    return text


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


KINDS = {
    bool: "True or False",
    int: "a number",
    float: "a number",
    str: "a word",
    list: "a list",
    dict: "a dictionary",
}


def kind(value: Any) -> str:
    """What a plain answer is, in words."""
    return KINDS[type(value)]


def _got(value: Any) -> str:
    return f"{kind(value)} ({value})" if isinstance(value, (int, float)) else kind(value)


# One dataflow, under all the names it goes by.
ALIASES = {
    "weight_stationary": "ws",
    "output_stationary": "os",
    "input_stationary": "is",
    "row_stationary": "rs",
    "no_local_reuse": "nlr",
}


def word(text: str) -> str:
    """A word as it is compared: small letters, one joint, the short name of a dataflow."""
    joined = "_".join(text.strip().lower().replace("-", " ").replace("_", " ").split())
    return ALIASES.get(joined, joined)


def same(answer: Any, right: Any, within: float) -> bool:
    """Whether two plain answers agree; numbers, in lists too, as near as ``within`` says."""
    if isinstance(answer, bool) or isinstance(right, bool):
        return isinstance(answer, bool) and answer is right
    if isinstance(answer, (int, float)) and isinstance(right, (int, float)):
        try:
            return bool(abs(answer - right) <= within * abs(right) + 1e-12)
        except OverflowError:  # a whole number that no float can hold
            return answer == right
    if isinstance(answer, str) and isinstance(right, str):
        return word(answer) == word(right)
    if isinstance(answer, list) and isinstance(right, list):
        pairs = zip(answer, right, strict=False)
        return len(answer) == len(right) and all(same(a, b, within) for a, b in pairs)
    if isinstance(answer, dict) and isinstance(right, dict):
        return set(answer) == set(right) and all(same(answer[k], right[k], within) for k in right)
    return answer is right


def _compared(answer: Any, right: Any) -> str:
    if kind(right) == "a number" and right:
        return f"{answer} is too {'large' if answer > right else 'small'}. "
    if isinstance(right, list):
        if len(answer) != len(right):
            return f"{len(right)} entries are wanted, got {len(answer)}. "
        wrong = [k for k, (a, b) in enumerate(zip(answer, right, strict=True)) if a != b]
        return f"entry {wrong[0] + 1} is wrong. " if wrong else ""
    return ""
