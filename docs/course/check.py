"""Checks your answers, without having them:  python check.py lab1

Prints lab 1 and its questions and checks ``answers/lab1.py``, which is yours to fill in.  A wrong
answer is told why.  What you answer in words (``in_words``) is read by your teacher, who also
grades all of it anew.

    python check.py lab2 --try "M:4:dram E:4:dram ..."    tries loops; --sram 512: on 512 bytes
    python check.py lab3 --film [mine.yaml]               writes films to watch
    python check.py lab3 --quiet                          verdicts only

In a notebook:  import check; student = check.number("lab1"); check.show("lab1", student);
check.check("lab1", {"1.1": 55}, student)
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import comparing
import trials
from comparing import blank, got, piped, plain, told, variant_of, wrapped
from sealed import checked

HERE = Path(__file__).resolve().parent


# For notebooks ------------------------------------------------------------------------------------


def number(lab: str) -> str:
    """Your number, as ``answers/LAB.py`` has it: it says which variant of the lab is yours.

    Says which, or that there is no number yet.
    """
    path = _answers(lab)
    try:
        student = _student(runpy.run_path(str(path)))
    except Exception as error:
        print(f"answers/{path.name} cannot be read, so your number is not known: {_line(error)}")
        return ""
    print(_whose(lab, student) if student else _no_number(lab))
    return student


def numbers(lab: str, student: object = "") -> dict[str, Any]:
    """What is different in your variant of a lab, by name: its pictures are drawn with it."""
    kept, _ = _kept(lab, str(student))
    return dict(kept["numbers"][_variant(kept, str(student))])


def show(lab: str, student: object = "", only: str = "") -> None:
    """Print the questions of a lab, in the variant of a student's number, and what they take as
    given; ``only`` those named, as "3.1 3.2".
    """
    kept, questions = _kept(lab, str(student))
    asked = [q for q in (*questions, *kept["open"]) if not only or q["name"] in only.split()]
    if not only:
        print(kept["title"])
        if not comparing.number(student):
            print(_no_number(lab))
    given = kept["given"][_variant(kept, str(student))]
    print(told(given, [f"{q['text']} {q.get('hint', '')}" for q in asked]))
    for q in asked:
        points = f"[{q['points']} points, {q['minutes']} min]"
        print("\n" + wrapped(q["name"], f"{q['text']}  {points}"))
    print("" if only else f"\n{_whose(lab, str(student))}\n")


def check(
    lab: str, answers: Mapping[str, Any], student: object = "", place: Path | None = None
) -> int:
    """Print what is right and why the rest is not; how many are right.

    What ``answers`` does not name is left out.  Files that an answer names lie in ``place``, which
    is the folder ``answers``.
    """
    place = place or HERE / "answers"
    _, questions = _kept(lab, str(student))
    asked = [q for q in questions if q["name"] in answers]
    right = 0
    for q in asked:
        done, why = _verdict(q, answers[q["name"]], place)
        right += done
        print(wrapped(q["name"], "right" if done else why))
    print(f"{right} of {len(asked)} right")
    return right


def after(answers: Mapping[str, Any], names: str, then: Callable[[], Any]) -> Any:
    """What ``then`` makes, when the questions that it would answer have an answer of yours, right
    or wrong: predict first, then look.
    """
    if waiting := waits(answers, names):
        print(f"Answer {waiting} first, then run this cell again: it shows what they ask.")
        return None
    return then()


def waits(answers: Mapping[str, Any], names: str) -> str:
    """Those of some questions that have no answer yet."""
    return ", ".join(name for name in names.split() if blank(answers.get(name)))


# One answer ---------------------------------------------------------------------------------------


def _verdict(q: dict[str, Any], answer: Any, place: Path) -> tuple[bool, str]:
    """(right, why not) of one answer."""
    try:
        answer = plain(answer)
    except ValueError as error:
        return False, f"wrong: {error}. {q['hint']}"
    if blank(answer):
        return False, "not answered"
    if q["trial"]:
        why = getattr(trials, q["trial"])(answer, place, **q["given"])
        return why is None, f"wrong: {why}"
    if not isinstance(answer, _TYPES[q["kind"]]) or (
        isinstance(answer, bool) and q["kind"] != "True or False"
    ):
        return False, f"wrong: the answer is {q['kind']}, got {got(answer)}. {q['hint']}"
    right, reason = checked(answer, q["sealed"], q["within"])
    return right, f"wrong: {reason or q['hint']}"


_TYPES: dict[str, Any] = {
    "True or False": bool,
    "a number": (int, float),
    "a word": str,
    "a list": list,
    "a dictionary": dict,
}


def _kept(lab: str, student: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is kept of a lab, and the questions of a student's variant."""
    path = HERE / "checks" / f"{lab}.json"
    if not path.is_file():
        names = ", ".join(p.stem for p in sorted((HERE / "checks").glob("*.json")))
        raise ValueError(f"there is no lab {lab}; there are {names}")
    kept = json.loads(path.read_text(encoding="utf-8"))
    return kept, kept["variants"][_variant(kept, student)]


def _variant(kept: dict[str, Any], student: str) -> int:
    return variant_of(kept["name"], student, len(kept["variants"]))


def _student(space: Mapping[str, Any]) -> str:
    """The number in a file of answers, "" if there is none."""
    student = space.get("student", "")
    return str(student).strip() if comparing.number(student) else ""


def _whose(lab: str, student: str) -> str:
    kept, _ = _kept(lab, student)
    if not kept["variants"][1:]:
        which = "this lab is the same for all"
    else:
        which = f"variant {n}" if (n := _variant(kept, student)) else "the text's variant, nobody's"
    return f"Student {student or 'without a number'}: {which}"


def _no_number(lab: str) -> str:
    kept, _ = _kept(lab, "")
    until = "What you see until then is a variant that nobody has." if kept["variants"][1:] else ""
    return f"You have no number yet: set student in answers/{lab}.py and run this again. {until}"


def _answers(lab: str) -> Path:
    return HERE / "answers" / f"{lab}.py"


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


# The command line ---------------------------------------------------------------------------------


def _read(lab: str, path: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Answers, answers in words, and the number of a file of answers.  Raises ValueError."""
    _, questions = _kept(lab, "")
    try:
        space = runpy.run_path(str(path))
        answers, words = space["answers"], space.get("in_words", {})
        if not isinstance(answers, dict) or not isinstance(words, dict):
            raise ValueError("must set answers = {...}")
        if unknown := sorted(set(map(str, answers)) - {q["name"] for q in questions}):
            raise ValueError(f"no question {', '.join(unknown)}")
    except Exception as error:
        raise ValueError(f"{path}: cannot be read: {_line(error)}") from error
    student = _student(space)
    return dict.fromkeys(q["name"] for q in questions) | answers, words, student


def _file(lab: str, path: Path, quiet: bool) -> int:
    """Check a file of answers."""
    answers, words, student = _read(lab, path)
    kept, questions = _kept(lab, student)
    if not quiet:
        print(kept["text"], end="\n\n")
        show(lab, student)
    elif not student:
        print(_no_number(lab))
    right = check(lab, answers, student, path.parent)
    for q in kept["open"]:
        said = "to be read by your teacher" if words.get(q["name"]) else "no words yet"
        print(f"{q['name']}  {said}")
    return 0 if right == len(questions) else 1


def _films(lab: str, path: Path, names: list[str]) -> int:
    """Write the films whose questions have answers, and those of dataflows beside the answers."""
    answers, _, student = _read(lab, path)
    if not student:
        print(_no_number(lab))
    pixels = numbers(lab, student).get("pixels")
    if pixels is None:
        raise ValueError(f"{lab} has no films; lab3 has")
    films = {
        film: (needs, partial(trials.write_film, film, pixels))
        for film, needs in trials.FILMS.items()
    }
    for name in names:
        own = partial(trials.own_film, name, path.parent, pixels)
        films[f"a film of {name}"] = trials.OWN_ASKED, own
    for film, (needs, write) in films.items():
        waiting = waits(answers, needs)
        print(f"answer {waiting} first, then there is {film}" if waiting else f"wrote {write()}")
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lab", help="lab1 to lab6")
    parser.add_argument("--answers", type=Path, help="default: answers/LAB.py")
    parser.add_argument("--quiet", action="store_true", help="verdicts only")
    parser.add_argument("--try", dest="loops", metavar="LOOPS", help="lab 2: try loops")
    parser.add_argument("--sram", type=int, default=trials.SRAM_BYTES, help="its bytes (1024)")
    parser.add_argument("--film", nargs="*", metavar="FILE", help="lab 3: write films to watch")
    args = parser.parse_args()
    path = args.answers or _answers(args.lab)
    try:
        if args.loops is not None:
            print(trials.tried(args.loops, args.sram))
        elif args.film is not None:
            return _films(args.lab, path, args.film)
        else:
            return _file(args.lab, path, args.quiet)
    except ValueError as error:
        print(f"check.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(piped(main))
