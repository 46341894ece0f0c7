"""Grades as files: a line a student, a line a question, a page to read for each question that is
answered in words; and back again, with the points that a teacher has filled in.

``course.py`` calls ``write_grades`` after grading, with the points ``given`` before, and ``total``
when they have been filled in.  GRADES.csv is made of GRADES_questions.csv, which has all there is.
"""

from __future__ import annotations

import csv
import html
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from comparing import number
from grading import OpenQuestion, load_lab
from submissions import PICTURES, Grade, each_once

QUESTIONS = (
    "student", "lab", "variant", "question", "graded_by", "points", "of", "said", "files", "notes",
    "refused",
)  # fmt: skip
JOINT = " | "  # between files of one cell


# A line a student, a line a question --------------------------------------------------------------


def questions_path(path: Path) -> Path:
    """Where the line a question of GRADES.csv stands."""
    return path.with_name(f"{path.stem}_questions.csv")


def write_grades(grades: Sequence[Grade], path: Path) -> Path:
    """Write a line a student and beside it NAME_questions.csv with a line a question; the second
    path.
    """
    write_totals(grades, path)
    details = questions_path(path)
    _csv(details, QUESTIONS, [_row(g) for g in grades])
    return details


def _row(g: Grade) -> list[object]:
    points = "" if g.points is None else g.points
    about = (g.said, JOINT.join(g.files), g.notes, g.refused)
    return [g.student, g.lab, g.variant, g.question, g.by, points, g.of, *about]


def write_totals(grades: Sequence[Grade], path: Path) -> None:
    """Write a line a student: points of how many, those that the model gives of how many, how many
    answers are to be read, points by lab, notes, and what was refused.
    """
    labs = list(dict.fromkeys(g.lab for g in grades))
    rows: list[list[object]] = []
    for student in dict.fromkeys(g.student for g in grades):
        own = [g for g in grades if g.student == student]
        model = [g for g in own if g.by == "model"]
        unread = sum(g.points is None for g in own)
        sums = [_sum([g for g in own if g.lab == lab]) for lab in labs]
        told = [each_once(g.notes for g in own), each_once(g.refused for g in own)]
        of = [sum(g.of for g in each) for each in (own, model)]
        about = ["; ".join(parts) for parts in told]
        rows.append([student, _sum(own), of[0], _sum(model), of[1], unread, *sums, *about])
    head = ["student", "points", "of", "automatic", "automatic_of", "to_read", *labs]
    _csv(path, [*head, "notes", "refused"], rows)


def _sum(grades: Sequence[Grade]) -> float:
    return sum(g.points or 0 for g in grades)


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
    if not isinstance(cell, str):
        return cell
    text = clean(cell)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def clean(text: str) -> str:
    """Text that any file can hold: lines end in one way, and what cannot be shown is a mark."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-8", "replace").decode()
    return "".join(c if c >= " " or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


# Points that a teacher gives ----------------------------------------------------------------------


def read_grades(path: Path) -> list[Grade]:
    """The lines of NAME_questions.csv, as a spreadsheet may have saved them: with semicolons, with
    a decimal comma, in another encoding.

    Raises ValueError, in one line with file and line, for points that are none, OSError for what is
    no file.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    lacking = [name for name in QUESTIONS if name not in (reader.fieldnames or ())]
    if lacking:
        raise ValueError(f"{path}: has no column {', '.join(lacking)}; grade writes them")
    try:
        return [_read(row, f"{path}:{reader.line_num}") for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None


def _read(row: Mapping[str, str | None], where: str) -> Grade:
    cells = {name: (row.get(name) or "").strip() for name in QUESTIONS}
    try:
        variant, of = int(cells["variant"]), int(cells["of"])
    except ValueError:
        got = f"{cells['variant']!r} and {cells['of']!r}"
        raise ValueError(f"{where}: variant and of are whole numbers, got {got}") from None
    whose = (cells["student"], cells["lab"], variant, cells["question"], cells["graded_by"])
    points = _points(cells["points"], of, f"{where}: {cells['student']}, {cells['question']}")
    files = tuple(name for name in cells["files"].split(JOINT) if name)
    return Grade(*whose, points, of, cells["said"], files, cells["notes"], cells["refused"])


def _points(cell: str, of: int, where: str) -> float | None:
    if not cell:
        return None
    try:
        points = float(cell.replace(",", "."))
    except ValueError:
        points = -1.0
    if not 0 <= points <= of:
        raise ValueError(f"{where}: points are a number from 0 to {of}, got {cell!r}")
    return int(points) if points == int(points) else points


def total(details: Path, path: Path) -> list[Grade]:
    """Write GRADES.csv anew from what NAME_questions.csv says by now; its lines."""
    grades = read_grades(details)
    write_totals(grades, path)
    return grades


def given_before(path: Path, students: Sequence[str], labs: Sequence[str]) -> list[Grade]:
    """The lines of NAME_questions.csv beside GRADES.csv for which a teacher has given points, if it
    is there, before grading ``students`` in ``labs`` writes it anew.

    Raises ValueError where the new one would have no line for some of them.
    """
    details = questions_path(path)
    if not details.exists():
        return []
    given = [g for g in read_grades(details) if g.by == "teacher" and g.points is not None]
    new = {(number(student), lab) for student in students for lab in labs}
    lost = [g for g in given if g.points and _place(g)[:2] not in new]
    if lost:
        raise ValueError(
            f"{details}: has points that you gave, of {lost[0].student} in {lost[0].lab} for one, "
            "and would be written anew without them; name another file with -o"
        )
    return given


def _place(g: Grade) -> tuple[str, str, str]:
    """What a line is found by again; a spreadsheet may have taken 3.10 for a number and dropped
    zeros, in front and at the end.
    """
    return number(g.student), g.lab, g.question.rstrip("0")


def with_given(grades: Sequence[Grade], before: Sequence[Grade]) -> list[Grade]:
    """Grades with the points that a teacher has given before for the same words; where the words
    are others now, a note says so.
    """
    given = {_place(g): g for g in before}
    return [_with(g, given.get(_place(g))) for g in grades]


def _with(g: Grade, was: Grade | None) -> Grade:
    if was is None or g.by != "teacher":
        return g
    if _words(g.said) == _words(was.said):
        return replace(g, points=was.points)
    if not was.points:
        return g
    note = f"{g.question} had {was.points} points and has other words now"
    return replace(g, notes="; ".join(n for n in (g.notes, note) if n))


def _words(said: str) -> str:
    return " ".join(clean(said).lstrip("'").split())


# What is to be read -------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.45 sans-serif; max-width: 52em; margin: 2em auto; padding: 0 1em; }}
pre {{ font-size: 15px; white-space: pre-wrap; overflow-wrap: anywhere; }}
article {{ border-top: 1px solid #999; margin-top: 2em; }}
img {{ max-width: 100%; border: 1px solid #ccc; }} small {{ color: #666; }}
</style></head><body><h1>{title}</h1>
<p>{question}</p><ul>{rubric}</ul><details><summary>A full answer</summary><p>{model}</p></details>
{answers}</body></html>
"""


def write_words(grades: Sequence[Grade], submissions: Path, path: Path) -> list[Path]:
    """Write a page for each question that is answered in words, in the folder NAME_words: the
    question, its rubric, and each student's words as they were written, with the pictures that
    these name, shown from where they lie in ``submissions``.
    """
    folder = path.with_name(f"{path.stem}_words")
    folder.mkdir(exist_ok=True)
    written = []
    for lab in dict.fromkeys(g.lab for g in grades):
        for asked in load_lab(lab).open:
            own = [g for g in grades if g.question == asked.name and g.said and g.by == "teacher"]
            there = Path(os.path.relpath(submissions.resolve(), folder.resolve()))
            target = folder / f"{asked.name}.html"
            target.write_text(_page(asked, own, there), encoding="utf-8")
            written.append(target)
    return written


def _page(asked: OpenQuestion, grades: Sequence[Grade], submissions: Path) -> str:
    rubric = "".join(f"<li>{n} points: {html.escape(what)}</li>" for n, what in asked.rubric)
    read = [g for g in grades if g.points is None or g.points]
    rest = ", ".join(f"{g.student} ({g.said})" for g in grades if g not in read)
    answers = "".join(_article(g, submissions) for g in read)
    answers += f"<article><p>Without words: {html.escape(clean(rest))}</p></article>" * bool(rest)
    return PAGE.format(
        title=f"{asked.name}, {asked.points} points",
        question=html.escape(asked.text),
        rubric=rubric,
        model=html.escape(asked.model),
        answers=answers,
    )


def _article(g: Grade, submissions: Path) -> str:
    shown = [_file(name, submissions / g.student / name) for name in g.files]
    points = "to be read" if g.points is None else f"{g.points} points"
    head = f"<h2>{html.escape(clean(g.student))} <small>variant {g.variant}, {points}</small></h2>"
    return f"<article>{head}<pre>{html.escape(clean(g.said))}</pre>{''.join(shown)}</article>"


def _file(name: str, path: Path) -> str:
    """A picture is shown; anything else is named, since opening it may run it."""
    label = html.escape(clean(name))
    if path.suffix.lower() not in PICTURES:
        return f"<p>{label}, in the student's folder</p>"
    where = quote(os.fsencode(path.as_posix()))
    return f'<p><img src="{where}" alt="{label}"><br><small>{label}</small></p>'
