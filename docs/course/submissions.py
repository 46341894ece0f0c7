"""Finds what each student handed in, has it run and graded, and says what was not used.

``course.py grade`` calls ``grade_folder``; ``gradebook.py`` writes what it gives.  A folder of
submissions has a folder for each student.  A lab's file of answers may lie in it or in a folder of
it (``answers/lab1.py``, as the bundle has it); the one that lies highest counts.  Nothing that was
handed in is passed over in silence: a lab that is not there, a file that nothing names, a link and
a number that is missing or another's are notes, and refused attempts are told.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from comparing import number
from confined import MOST_LETTERS, Limits, in_own_process
from grading import Lab, OpenQuestion, lab_names, load_lab

HERE = Path(__file__).resolve().parent
MOST_BYTES, MOST_FILES = 20 * 2**20, 200  # of a submission
MOST_NAMED = 8  # files that a note names
MOST_OF_NUMBER, MOST_OF_WORDS = 100, MOST_LETTERS + 200  # letters
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")
# Of the bundle itself, handed in along with the answers.
BUNDLE = ("check.py", "comparing.py", "sealed.py", "trials.py", "README.md")
BUNDLE_FOLDERS = ("checks", "pictures", "pages", "figures")


@dataclass(frozen=True)
class Grade:
    """One question of one student, whose folder is ``student``.

    ``points`` are None for words that a person has yet to read (``by`` is "teacher", else "model").
    ``said`` is the verdict, or the words; ``files`` are those that the words name, as they lie in
    the folder.  ``notes`` and ``refused`` are about the lab's file, or all that was handed in.
    """

    student: str
    lab: str
    variant: int
    question: str
    by: str
    points: float | None
    of: int
    said: str
    files: tuple[str, ...] = ()
    notes: str = ""
    refused: str = ""


def grade_folder(
    folder: Path,
    limits: Limits,
    labs: Sequence[str] | None = None,
    by_file: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Grade]:
    """The grades of every student's folder, student by student; ``say`` hears what becomes of each.

    A folder's number chooses the variants; ``by_file`` is for folders with names of another kind:
    then the number in the file of answers does.
    """
    students = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            students.append(path)
        elif not _own(PurePosixPath(path.name)):
            what = "a link, not followed" if path.is_symlink() else "in no student's folder"
            say(f"{path.name}: not used, it is {what}")
    for numbered, paths in _by_number(students).items():
        if len(paths) > 1:
            say(f"{', '.join(paths)}: folders of one number, {numbered}")
    grades = []
    for k, path in enumerate(students, 1):
        own = grade_one(path, limits, labs or lab_names(), by_file)
        say(f"{k} of {len(students)}  {summary(path.name, own)}")
        grades += own
    return grades


def _by_number(students: Sequence[Path]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for path in students:
        named.setdefault(number(path.name), []).append(path.name)
    return named


def summary(student: str, grades: Sequence[Grade]) -> str:
    """A student's points, and below them whatever a teacher should know."""
    lines = []
    for lab in dict.fromkeys(g.lab for g in grades):
        own = [g for g in grades if g.lab == lab and g.by == "model"]
        unread = sum(g.points is None for g in grades if g.lab == lab)
        lines.append(f"{lab} {sum(g.points or 0 for g in own)} of {sum(g.of for g in own)}")
        lines[-1] += f" and {unread} to read" if unread else ""
    told = [f"    {note}" for note in each_once(g.notes for g in grades)]
    tried = [f"    refused: {what}" for what in each_once(g.refused for g in grades)]
    return "\n".join([f"{student}: {', '.join(lines)}", *told, *tried])


def each_once(told: Iterable[str]) -> list[str]:
    """The parts of some notes: what is said of several labs is said once."""
    return list(dict.fromkeys(part for each in told for part in each.split("; ") if part))


# What was handed in -------------------------------------------------------------------------------


@dataclass(frozen=True)
class HandedIn:
    """A copy of what one student handed in: ``files`` as they lie in ``place``, those of ``labs``
    by lab, and ``links``, which are not followed.  ``problem`` is why nothing of it is used.
    """

    student: str
    place: Path
    files: tuple[PurePosixPath, ...]
    labs: dict[str, PurePosixPath]
    links: tuple[str, ...]
    problem: str

    def notes(self, used: set[str], asked: Sequence[str]) -> str:
        """What is there and was not used, in a sentence or none."""
        own = {*map(str, self.labs.values()), *used}
        left = [str(file) for file in self.files if str(file) not in own and not _own(file)]
        told = []
        if not self.problem and not any(lab in self.labs for lab in asked):
            told.append(f"there is no {', '.join(f'{lab}.py' for lab in asked)}")
        if left:
            told.append(f"not used: {_named(left)}")
        if self.links:
            told.append(f"links, not followed: {_named(self.links)}")
        return "; ".join(told)


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join([*names[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])])


def _own(file: PurePosixPath) -> bool:
    """Whether a file is the bundle's or a machine's, not a student's."""
    machines = any(part.startswith((".", "__")) for part in file.parts)
    return machines or file.name in BUNDLE or any(part in BUNDLE_FOLDERS for part in file.parts)


def handed_in(folder: Path, copy: Path) -> HandedIn:
    """Copy a submission, without what links point to."""
    inside = sorted(folder.rglob("*"))
    links = [p for p in inside if p.is_symlink()]
    files = [p for p in inside if p.is_file() and not any(q in links for q in (p, *p.parents))]
    problem = _copied(folder, files, copy)
    files = [] if problem else files
    named = tuple(PurePosixPath(p.relative_to(folder).as_posix()) for p in files)
    linked = tuple(p.relative_to(folder).as_posix() for p in links)
    return HandedIn(folder.name, copy, named, _labs(named), linked, problem)


def _copied(folder: Path, files: Sequence[Path], copy: Path) -> str:
    """Copy the files of a folder; why that cannot be done, or nothing."""
    copy.mkdir()
    if len(files) > MOST_FILES or sum(p.stat().st_size for p in files) > MOST_BYTES:
        return f"more than {MOST_FILES} files or {MOST_BYTES} bytes were handed in"
    for path in files:
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            return f"{path.relative_to(folder)} cannot be read: {error.strerror}"
    return ""


def _labs(files: Sequence[PurePosixPath]) -> dict[str, PurePosixPath]:
    """The file of each lab: the one that lies highest, in whatever letters its name is written."""
    labs: dict[str, PurePosixPath] = {}
    for file in sorted(files, key=lambda p: (len(p.parts), p.name != p.name.lower(), str(p))):
        hidden = any(part.startswith((".", "__")) for part in file.parts)
        if re.fullmatch(r"lab\d+\.py", file.name.lower()) and not hidden:
            labs.setdefault(file.stem.lower(), file)
    return labs


def named_in(text: str, files: Sequence[PurePosixPath], place: PurePosixPath) -> list[str]:
    """Which of ``files`` a text names, by their way from the folder ``place`` or by their name."""
    named = []
    for file in files:
        near = str(file.relative_to(place)) if file.is_relative_to(place) else str(file)
        names = {name for name in (near, file.name) if name in text}
        either = "|".join(map(re.escape, names))
        if names and re.search(rf"(?<![\w/.-])(?:{either})(?![\w/-])", text):
            named.append(str(file))
    return named


# Whose it is --------------------------------------------------------------------------------------


def whose(folder: str, filed: str, by_file: bool) -> tuple[str, str]:
    """(the number that chooses the variant, what is odd about it) of a folder's name and the number
    in a file of answers.

    The folder's number counts; a folder that is named otherwise has a name only, and then the
    file's counts.  Of several numbers in a folder's name the file may have any.
    """
    own = number(folder)
    groups = {own, *(number(digits) for digits in re.findall(r"\d+", folder))}
    if filed in groups:
        return filed, ""
    if not filed:
        return own, "the file has no number"
    if by_file:
        return filed, ""
    if not re.search(r"\d", folder):
        return filed, f"the folder has no number, the file says {filed}"
    return own, f"the file says {filed}, the folder {own}"


# One student --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """What a lab's file of answers set when it was run, or ``why`` there is nothing."""

    file: PurePosixPath
    student: str = ""
    answers: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    why: str = ""


def grade_one(
    folder: Path, limits: Limits, labs: Sequence[str], by_file: bool = False
) -> list[Grade]:
    """The grades of one student, lab by lab; a lab without a file of answers has no points."""
    with tempfile.TemporaryDirectory() as scratch:
        handed = handed_in(folder, Path(scratch) / "submission")
        used: set[str] = set()
        grades: list[Grade] = []
        for name in labs:
            ran = _ran(name, handed, limits)
            used |= _named_by(ran, handed)
            grades += _of_lab(load_lab(name), ran, handed, limits, by_file)
    left = handed.notes(used, labs)
    return [replace(g, notes="; ".join(note for note in (g.notes, left) if note)) for g in grades]


def _ran(lab: str, handed: HandedIn, limits: Limits) -> Ran:
    """Run a lab's file of answers, which is the student's program."""
    file = handed.labs.get(lab)
    if handed.problem or file is None:
        return Ran(PurePosixPath(), why=handed.problem or "nothing was handed in")
    told = _run("answers", {"file": str(handed.place / file)}, handed.place, limits)
    set_there = [told.get(name) for name in ("answers", "in_words")]
    answers, words = ({} if not isinstance(each, dict) else each for each in set_there)
    refused, why = (str(told.get(name, "")) for name in ("refused", "error"))
    # The process was the student's to write in: what it says of itself is checked again.
    student = number(str(told.get("student", ""))[:MOST_OF_NUMBER])
    words = {name: text[:MOST_OF_WORDS] for name, text in words.items() if isinstance(text, str)}
    return Ran(file, student, answers, words, refused, why)


def _named_by(ran: Ran, handed: HandedIn) -> set[str]:
    """The files that answers name."""
    given = [each.get("value") for each in ran.answers.values() if isinstance(each, dict)]
    texts = [text for text in (*given, *ran.words.values()) if isinstance(text, str)]
    return {name for text in texts for name in named_in(text, handed.files, ran.file.parent)}


def _of_lab(lab: Lab, ran: Ran, handed: HandedIn, limits: Limits, by_file: bool) -> Iterator[Grade]:
    """A grade for each question of a lab; without a file that ran, no points for any."""
    student, odd = whose(handed.student, ran.student, by_file)
    variant = lab.variant_of(student)
    verdicts, why = _verdicts(lab, variant, ran, handed, limits)
    notes = [_odd(lab, variant, odd, ran, handed, limits)] if odd and not ran.why else []
    grades = []
    for q in lab.questions(variant):
        right, said = verdicts.get(q.name, (False, why))
        by, points = "model", q.points * right
        grades.append(Grade(handed.student, lab.name, variant, q.name, by, points, q.points, said))
    for o in lab.open:
        grades.append(_open(o, Grade(handed.student, lab.name, variant, *_UNREAD), ran, handed))
        lost = _lost(grades[-1].said, handed)
        notes += [f"{o.name} names {name}, which was not handed in" for name in lost]
    told = "; ".join(f"{lab.name}: {note}" for note in notes if note)
    yield from (replace(g, notes=told, refused=ran.refused) for g in grades)


_UNREAD: tuple[Any, ...] = ("", "teacher", 0, 0, "no words")


def _open(asked: OpenQuestion, grade: Grade, ran: Ran, handed: HandedIn) -> Grade:
    """What was answered in words, to be read; without words no points, but why."""
    grade = replace(grade, question=asked.name, of=asked.points)
    said = ran.words.get(asked.name)
    if not said:
        return replace(grade, said=f"not read: {ran.why}") if ran.why else grade
    files = tuple(named_in(said, handed.files, ran.file.parent))
    return replace(grade, points=None, said=said, files=files)


def _lost(said: str, handed: HandedIn) -> list[str]:
    """Pictures that words name and that are not there."""
    endings = "|".join(re.escape(ending) for ending in PICTURES)
    there = {file.name for file in handed.files}
    named = re.findall(rf"(?<![\w.-])[\w.-]{{1,80}}(?:{endings})(?!\w)", said, re.IGNORECASE)
    return [name for name in dict.fromkeys(named) if name not in there]


def _verdicts(
    lab: Lab, variant: int, ran: Ran, handed: HandedIn, limits: Limits
) -> tuple[dict[str, tuple[bool, str]], str]:
    """(right, what is said) of each question in a variant; or why there is none."""
    if ran.why:
        return {}, ran.why
    _compile_for(lab.name)
    task = {"lab": lab.name, "variant": variant, "answers": ran.answers}
    task["place"] = str(ran.file.parent)
    graded = _run("grades", task, handed.place, limits)
    verdicts = {}
    for name, answered, wrong in graded.get("verdicts", ()):
        verdicts[name] = (wrong is None, wrong or "right" if answered else "not answered")
    return verdicts, str(graded.get("error", ""))


def _odd(lab: Lab, variant: int, odd: str, ran: Ran, handed: HandedIn, limits: Limits) -> str:
    """What is odd about a file's number, and what it is worth in the variant that it is for."""
    own = lab.variant_of(ran.student)
    if own == variant:
        return odd if ran.student else ""
    verdicts, _ = _verdicts(lab, own, ran, handed, limits)
    questions = lab.questions(own)
    points = sum(q.points for q in questions if verdicts.get(q.name, (False, ""))[0])
    of = sum(q.points for q in questions)
    return f"{odd}: graded in variant {variant}, while in its own, {own}, it has {points} of {of}"


@cache
def _compiled() -> tempfile.TemporaryDirectory[str]:
    """Where loops lie compiled while this program runs."""
    return tempfile.TemporaryDirectory(prefix="accelsim-course-")


@cache
def _compile_for(lab: str) -> None:
    """Check a lab's right answers once, so that what our own code compiles for it is compiled, and
    no student's limits have to do for it: the first in a folder had no points under ``--cpu 10``.
    """
    with tempfile.TemporaryDirectory() as folder:
        _run("compiles", {"lab": lab}, Path(folder), Limits(cpu_s=900, wall_s=3600.0))


def _run(do: str, task: dict[str, Any], folder: Path, limits: Limits) -> dict[str, Any]:
    """Do a task in a process of its own; our own code's compiled loops are kept from one to the
    next, out of the students' reach.
    """
    if do != "answers":
        task = task | {"cache": _compiled().name}
    path = [p for p in sys.path if p and Path(p).resolve() != HERE]
    return in_own_process({"do": do, "path": path, **task}, folder, limits)
