"""The teacher's program: builds what is handed out, and grades what comes back.

    python course.py build dist/course          student.zip, teacher.zip and both as folders
    python course.py grade FOLDER -o grades.csv

``make course`` is the first.  A student's bundle has no key and no right answer (``sealed.py`` says
what its checks are worth); the teacher's has the key of every variant with its working, points,
times and rubrics.

FOLDER has a folder for each student, named by the student's number, with ``lab1.py`` and on and
whatever files these name.  Each is copied, and run and graded in processes of their own with limits
(``confined.py`` says what these keep out).  The grade is worked out by the model, never by the
student's checks.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from comparing import kind, piped, plain
from confined import Limits, in_own_process, kept_out
from grading import Lab, Question, lab_names, load_lab
from sealed import sealed

HERE = Path(__file__).resolve().parent
TEACHING, FIGURES = HERE.parent / "teaching", HERE.parent / "figures" / "teaching"
PICTURES = TEACHING / "pictures"
FOR_STUDENTS = ("check.py", "comparing.py", "sealed.py", "trials.py")
MOST_BYTES, MOST_FILES = 20 * 2**20, 200  # of a submission

# Bundles ------------------------------------------------------------------------------------------


def build(out: Path, labs: Sequence[str] | None = None, run: bool = True) -> tuple[Path, Path]:
    """Write both bundles; the two archives.  What lies there already is replaced.

    With ``run`` the notebooks have what their cells print and draw.
    """
    names = list(labs or lab_names())
    student, teacher = out / "student", out / "teacher"
    for folder in (student, teacher):
        shutil.rmtree(folder, ignore_errors=True)
    _student(student, names, run)
    _teacher(teacher, names)
    archive = _zipped(student)
    shutil.copy(archive, teacher)
    return archive, _zipped(teacher)


def _student(folder: Path, names: Sequence[str], run: bool) -> None:
    """The student's bundle: nothing in it knows an answer."""
    for part in ("checks", "answers"):
        (folder / part).mkdir(parents=True)
    for name in FOR_STUDENTS:
        shutil.copy(HERE / name, folder)
    shutil.copy(HERE / "README.md", folder)
    shutil.copytree(PICTURES, folder / "pictures", ignore=shutil.ignore_patterns("__pycache__"))
    for name in names:
        text = json.dumps(checks(load_lab(name)), indent=1)
        (folder / "checks" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        shutil.copy(HERE / "answers" / f"{name}.py", folder / "answers")
        for page in load_lab(name).pages:
            _page(folder / "pages", page)
    for name in names:
        _notebook(folder, name, run)


def _page(folder: Path, name: str) -> None:
    """A page of ``docs/teaching`` with its pictures beside it; links to other pages are their
    words.
    """
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    text = (TEACHING / f"{name}.md").read_text(encoding="utf-8")
    for picture in re.findall(r"\.\./figures/teaching/(\w+\.png)", text):
        shutil.copy(FIGURES / picture, folder / "figures")
    text = text.replace("../figures/teaching/", "figures/")
    text = re.sub(r"(?<!!)\[([^]]*)\]\(\w+\.md\)", r"\1", text)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _notebook(folder: Path, name: str, run: bool) -> None:
    """The lab's notebook; with ``run`` its cells are run, beside the files it is given with.

    Raises RuntimeError with the last of what it said if a cell fails.
    """
    (script,) = (HERE / "lessons").glob(f"{name}_*.py")
    path = (folder / f"{script.stem}.ipynb").resolve()
    places = [str(folder.resolve()), *(p for p in sys.path if p and Path(p).resolve() != HERE)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "MPLBACKEND": "agg"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(folder / "answers", Path(scratch) / "answers")
        command = [sys.executable, "-P", str(HERE / "notebooks.py"), str(script), str(path)]
        command += ["--run"] * run
        done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{script.name}: {done.stderr[-2000:]}")


def _teacher(folder: Path, names: Sequence[str]) -> None:
    """The teacher's bundle: the whole course, and the key to read."""
    left_out = shutil.ignore_patterns("__pycache__", "*.html", "*.pyc")
    shutil.copytree(HERE, folder / "course", ignore=left_out)
    shutil.copytree(TEACHING, folder / "teaching", ignore=left_out)
    shutil.copytree(FIGURES, folder / "figures" / "teaching")
    key = "\n\n".join(["# Key", *(key_page(load_lab(name)) for name in names)])
    (folder / "KEY.md").write_text(key + "\n", encoding="utf-8")


def checks(lab: Lab) -> dict[str, Any]:
    """What a student's copy has of a lab: text, questions, and checks without the answers."""
    return {
        "name": lab.name,
        "title": f"Lab {lab.name[3:]}: {lab.title}",
        "text": _background(lab),
        "goals": lab.goals,
        "minutes": lab.minutes,
        "reading": lab.reading,
        "given": [dict(lab.given(variant)) for variant in range(lab.variants)],
        "numbers": [dict(lab.numbers(variant)) for variant in range(lab.variants)],
        "variants": [
            [_check(lab, variant, q) for q in lab.questions(variant)]
            for variant in range(lab.variants)
        ],
        "open": [
            {"name": q.name, "text": q.text, "points": q.points, "minutes": q.minutes}
            for q in lab.open
        ],
    }


def _background(lab: Lab) -> str:
    """The lab's text."""
    (path,) = HERE.glob(f"{lab.name}_*.py")
    text = sys.modules[path.stem].__doc__ or ""
    return text.strip()


def _check(lab: Lab, variant: int, q: Question) -> dict[str, Any]:
    """One question with its check."""
    kept: dict[str, Any] = {
        "name": q.name,
        "text": q.text,
        "hint": q.hint,
        "points": q.points,
        "minutes": q.minutes,
        "within": q.within,
        "trial": q.trial,
        "given": dict(q.given),
    }
    if not q.trial:
        assert q.right is not None
        right = plain(q.right())
        salt = hashlib.sha256(f"{lab.name} {variant} {q.name} {q.text}".encode()).hexdigest()[:16]
        mistakes = [(plain(value), why) for value, why in q.mistakes()]
        kept |= {"kind": kind(right), "sealed": sealed(right, mistakes, q.within, salt)}
    return kept


def key_page(lab: Lab) -> str:
    """The key of a lab as Markdown: each answer in every variant, its working, points and minutes,
    and the open questions with their rubrics.
    """
    working = _working(lab)
    points = sum(q.points for q in (*lab.questions(0), *lab.open))
    parts = [
        f"## Lab {lab.name[3:]}: {lab.title}",
        f"{lab.minutes} minutes, {points} points, {lab.variants} variant"
        f"{'s' * (lab.variants > 1)}. Goals: {'; '.join(lab.goals)}.",
        f"Reading: {'; '.join(lab.reading)}.",
    ]
    if lab.pages:
        parts += [f"For afterwards, with answers in them: {', '.join(lab.pages)} (pages)."]
    parts += [
        f"Variant {k}: {', '.join(f'{name} {value}' for name, value in lab.numbers(k).items())}."
        for k in range(lab.variants)
        if lab.numbers(k)
    ]
    each = [lab.questions(variant) for variant in range(lab.variants)]
    for asked in zip(*each, strict=True):
        q = asked[0]
        parts += [f"**{q.name}** ({q.points} points, {q.minutes} min) {q.text}"]
        answers = [_shown(x) for x in asked]
        told = answers[:1] if len(set(answers)) == 1 else answers
        names = [""] if len(told) == 1 else [f"variant {k}: " for k in range(len(told))]
        parts += ["\n".join(f"- {n}`{a}`" for n, a in zip(names, told, strict=True))]
        parts += [working[q.name]]
    for open_question in lab.open:
        parts += [
            f"**{open_question.name}** ({open_question.points} points, {open_question.minutes} "
            f"min, read by you) {open_question.text}",
            "\n".join(f"- {n} points: {what}" for n, what in open_question.rubric),
            f"A full answer: {open_question.model}",
        ]
    return "\n\n".join(parts)


def _working(lab: Lab) -> dict[str, str]:
    import runpy

    return dict(runpy.run_path(str(HERE / "key" / f"{lab.name}.py"))["working"])


def _shown(q: Question) -> str:
    assert q.right is not None
    right = q.right()
    return f"{right:.6g}" if isinstance(right, float) else str(right)


def _zipped(folder: Path) -> Path:
    """An archive of a folder, the same bytes for the same files."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            if "__pycache__" in file.parts:
                continue
            name = f"accelsim-course/{file.relative_to(folder).as_posix()}"
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return path


# Grades -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grade:
    """One question of one student: ``points`` are None for words, which a person reads."""

    student: str
    lab: str
    variant: int
    question: str
    points: int | None
    of: int
    said: str


def grade_folder(folder: Path, limits: Limits, labs: Sequence[str] | None = None) -> list[Grade]:
    """The grades of every student's folder, student by student."""
    students = sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())
    return [g for path in students for g in grade_one(path, limits, labs or lab_names())]


def grade_one(folder: Path, limits: Limits, labs: Sequence[str]) -> Iterator[Grade]:
    """The grades of one student, lab by lab; a lab without a file of answers has no points."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "submission"
        refused = _copied(folder, copy)
        for name in labs:
            lab = load_lab(name)
            path = copy / f"{name}.py"
            why = refused or ("" if path.is_file() else "nothing was handed in")
            yield from _of_lab(lab, folder.name, path, limits, why)


def _copied(folder: Path, copy: Path) -> str:
    """Copy a submission, without links out of it; what is wrong with it, or nothing."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    if len(files) > MOST_FILES or sum(p.stat().st_size for p in files) > MOST_BYTES:
        return f"more than {MOST_FILES} files or {MOST_BYTES} bytes were handed in"
    copy.mkdir()
    for path in files:
        if not any(parent.is_symlink() for parent in path.parents if parent != folder):
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return ""


def _of_lab(lab: Lab, student: str, path: Path, limits: Limits, why: str) -> Iterator[Grade]:
    """A grade for each question of a lab; with ``why``, no points for any."""
    variant = lab.variant_of(student)
    questions = lab.questions(variant)
    told: dict[str, Any] = {}
    if not why:
        told = _run("answers", {"file": str(path)}, path.parent, limits)
        why = str(told.get("error", ""))
    words = told.get("in_words", {})
    verdicts: dict[str, tuple[bool, str]] = {}
    if not why:
        task = {"lab": lab.name, "variant": variant, "answers": told.get("answers", {})}
        graded = _run("grades", task, path.parent, limits)
        why = str(graded.get("error", ""))
        for name, answered, wrong in graded.get("verdicts", ()):
            verdicts[name] = (wrong is None, wrong or "right" if answered else "not answered")
    for q in questions:
        right, said = verdicts.get(q.name, (False, why))
        yield Grade(student, lab.name, variant, q.name, q.points * right, q.points, said)
    for o in lab.open:
        said = _words(words, o.name)
        points = None if said else 0
        yield Grade(student, lab.name, variant, o.name, points, o.points, said or "no words")


def _words(words: Any, name: str) -> str:
    """What was answered in words."""
    given = words.get(name) if isinstance(words, dict) else None
    value = given.get("value") if isinstance(given, dict) else None
    return " ".join(value.split()) if isinstance(value, str) else ""


@cache
def _compiled() -> tempfile.TemporaryDirectory[str]:
    """Where loops lie compiled while this program runs."""
    return tempfile.TemporaryDirectory(prefix="accelsim-course-")


def _run(do: str, task: dict[str, Any], folder: Path, limits: Limits) -> dict[str, Any]:
    """Do a task in a process of its own; our own code's compiled loops are kept from one to the
    next, out of the students' reach.
    """
    if do == "grades":
        task = task | {"cache": _compiled().name}
    path = [p for p in sys.path if p and Path(p).resolve() != HERE]
    return in_own_process({"do": do, "path": path, **task}, folder, limits)


def write_grades(grades: Sequence[Grade], path: Path) -> Path:
    """Write a line a student, with points by lab, and beside it NAME_questions.csv with a line a
    question; the second path.

    Points of questions that are answered in words are not in; how many are to be read is.
    """
    labs = list(dict.fromkeys(g.lab for g in grades))
    rows: list[list[object]] = []
    for student in dict.fromkeys(g.student for g in grades):
        own = [g for g in grades if g.student == student]
        sums = [sum(g.points or 0 for g in own if g.lab == lab) for lab in labs]
        unread = sum(g.points is None for g in own)
        rows.append([student, sum(sums), sum(g.of for g in own), unread, *sums])
    _csv(path, ["student", "points", "of", "to_read", *labs], rows)
    details = path.with_name(f"{path.stem}_questions.csv")
    head = ["student", "lab", "variant", "question", "points", "of", "said"]
    each = [
        [
            g.student,
            g.lab,
            g.variant,
            g.question,
            "" if g.points is None else g.points,
            g.of,
            g.said,
        ]
        for g in grades
    ]
    _csv(details, head, each)
    return details


def _csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Written whole or not at all; a student's text is never a spreadsheet's formula."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for row in rows:
            writer.writerow([_harmless(cell) for cell in row])
    os.replace(beside, path)


def _harmless(cell: object) -> object:
    formula = isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{cell}" if formula else cell


# The command line ---------------------------------------------------------------------------------


def main() -> int:
    """``build`` or ``grade``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="write the student's and the teacher's bundle")
    make.add_argument("out", type=Path)
    of = commands.add_parser("grade", help="grade a folder of submissions")
    of.add_argument("folder", type=Path)
    of.add_argument("-o", "--output", type=Path, default=Path("grades.csv"))
    of.add_argument("--labs", help="lab1,lab2: only these")
    of.add_argument("--cpu", type=int, default=60, help="seconds of computing a lab (60)")
    of.add_argument("--wall", type=float, default=180.0, help="seconds on the clock a lab (180)")
    of.add_argument("--memory", type=int, default=4096, help="MiB of memory (4096)")
    args = parser.parse_args()
    if args.command == "build":
        for path in build(args.out):
            print(f"wrote {path}")
        return 0
    if not args.folder.is_dir():
        print(f"{args.folder}: is no folder of submissions", file=sys.stderr)
        return 2
    labs = args.labs.split(",") if args.labs else lab_names()
    if unknown := sorted(set(labs) - set(lab_names())):
        print(
            f"--labs: no {', '.join(unknown)}; there are {', '.join(lab_names())}", file=sys.stderr
        )
        return 2
    print(kept_out(), file=sys.stderr)
    limits = Limits(args.cpu, args.wall, args.memory * 2**20)
    details = write_grades(grade_folder(args.folder, limits, labs), args.output)
    print(f"wrote {args.output} and {details}")
    return 0


if __name__ == "__main__":
    sys.exit(piped(main))
