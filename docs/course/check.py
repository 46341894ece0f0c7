"""Checks your answers, without having them:  python check.py lab1

Prints lab 1 and its questions and checks ``answers/lab1.py``, which is yours to fill in.  A wrong
answer is told why.  What you answer in words (``in_words``) is read by your teacher, who also
grades all of it anew.

    python check.py lab2 --try "M:4:dram E:4:dram ..."    tries loops
    python check.py lab3 --film [mine.yaml]               writes films to watch
    python check.py lab3 --quiet                          verdicts only

In a notebook:  from check import check, show; show("lab1"); check("lab1", {"1.1": 55})
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import trials
from comparing import got, plain, variant_of, wrapped
from sealed import checked

HERE = Path(__file__).resolve().parent


def show(lab: str, student: object = "") -> None:
    """Print the questions of a lab, in the variant of a student's number."""
    kept, questions = _kept(lab, str(student))
    print(kept["title"], kept["told"][_variant(kept, str(student))], sep="\n")
    for q in (*questions, *kept["open"]):
        points = f"[{q['points']} points, {q['minutes']} min]"
        print("\n" + wrapped(q["name"], f"{q['text']}  {points}"))
    print(f"\nStudent {student or 'without a number'}: variant {_variant(kept, str(student))}\n")


def check(lab: str, answers: dict[str, Any], student: object = "", place: Path | str = ".") -> int:
    """Print what is right and why the rest is not; how many are right.

    Files that an answer names lie in ``place``.
    """
    _, questions = _kept(lab, str(student))
    right = 0
    for q in questions:
        done, why = _verdict(q, answers.get(q["name"]), Path(place))
        right += done
        print(wrapped(q["name"], "right" if done else why))
    print(f"{right} of {len(questions)} right")
    return right


def _verdict(q: dict[str, Any], answer: Any, place: Path) -> tuple[bool, str]:
    """(right, why not) of one answer."""
    try:
        answer = plain(answer)
    except ValueError as error:
        return False, f"wrong: {error}. {q['hint']}"
    if answer is None:
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


def _file(args: argparse.Namespace) -> int:
    """Check a file of answers."""
    path = args.answers or HERE / "answers" / f"{args.lab}.py"
    try:
        space = runpy.run_path(str(path))
        answers = space["answers"]
        kept, questions = _kept(args.lab, str(space.get("student", "")))
        if unknown := sorted(set(map(str, answers)) - {q["name"] for q in questions}):
            raise ValueError(f"no question {', '.join(unknown)}")
    except Exception as error:
        told = " ".join(str(error).split())
        print(f"{path}: cannot be read: {type(error).__name__}: {told}", file=sys.stderr)
        return 2
    student = space.get("student", "")
    if not args.quiet:
        print(kept["text"])
        show(args.lab, student)
    right = check(args.lab, answers, student, path.parent)
    for q in kept["open"]:
        words = space.get("in_words", {}).get(q["name"])
        print(f"{q['name']}  {'to be read by your teacher' if words else 'no words yet'}")
    return 0 if right == len(questions) else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lab", help="lab1 to lab6")
    parser.add_argument("--answers", type=Path, help="default: answers/LAB.py")
    parser.add_argument("--quiet", action="store_true", help="verdicts only")
    parser.add_argument("--try", dest="loops", metavar="LOOPS", help="lab 2: try loops")
    parser.add_argument("--film", nargs="*", metavar="FILE", help="lab 3: write films to watch")
    args = parser.parse_args()
    try:
        if args.loops is not None:
            print(trials.tried(args.loops))
        elif args.film is not None:
            for path in trials.films(args.film):
                print(f"wrote {path}")
        else:
            return _file(args)
    except ValueError as error:
        print(f"check.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
