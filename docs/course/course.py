"""The teacher's program: builds what is handed out, and grades what comes back.

    python course.py build dist/course              student.zip, teacher.zip and both as folders
    python course.py variants numbers.txt           which variants a class has
    python course.py grade FOLDER -o grades.csv     what was handed in
    python course.py total grades_questions.csv     once you have given points for words

``make course`` is the first.  A student's bundle has no key and no right answer (``sealed.py`` says
what its checks are worth); the teacher's has the key of every variant with its working, points,
times and rubrics, and the slides of the lectures.

FOLDER has a folder for each student, named by the student's number, with ``lab1.py`` and on and
whatever files these name.  Each is copied, and run and graded in processes of their own with limits
(``confined.py`` says what these keep out; ``submissions.py`` does it, ``gradebook.py`` writes it
down).  The grade is worked out by the model, never by the student's checks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from comparing import kind, number, piped, plain
from confined import Limits, kept_out
from gradebook import given_before, total, with_given, write_grades, write_words
from grading import Lab, Question, lab_names, load_lab
from sealed import sealed
from submissions import grade_folder

HERE = Path(__file__).resolve().parent
TEACHING, FIGURES = HERE.parent / "teaching", HERE.parent / "figures" / "teaching"
PICTURES = TEACHING / "pictures"
FOR_STUDENTS = ("check.py", "comparing.py", "sealed.py", "trials.py")
ROOTS = {"student": "accelsim-course", "teacher": "accelsim-course-teacher"}  # in the archives

# Bundles ------------------------------------------------------------------------------------------


def build(
    out: Path,
    labs: Sequence[str] | None = None,
    run: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Path, Path]:
    """Write both bundles; the two archives.  What lies there already is replaced.

    With ``run`` the notebooks have what their cells print and draw, and the teacher's bundle has
    the slides.  ``say`` hears what is being done.
    """
    names = list(labs or lab_names())
    student, teacher = out / "student", out / "teacher"
    for folder in (student, teacher):
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{student}: checks and notebooks of {', '.join(names)}; their cells run for a minute")
    _student(student, names, run)
    say(f"{teacher}: the key of every variant")
    _teacher(teacher, names)
    archive = _zipped(student)
    shutil.copy(archive, teacher)
    if run:
        say(f"{teacher / 'decks'}: slides of the lectures, half a minute")
        subprocess.run(
            [sys.executable, str(TEACHING / "decks.py"), str(teacher / "decks")], check=True
        )
    return archive, _zipped(teacher)


def _student(folder: Path, names: Sequence[str], run: bool) -> None:
    """The student's bundle: nothing in it knows an answer."""
    for part in ("checks", "answers"):
        (folder / part).mkdir(parents=True)
    for name in FOR_STUDENTS:
        shutil.copy(HERE / name, folder)
    shutil.copy(HERE / "student.md", folder / "README.md")
    shutil.copytree(PICTURES, folder / "pictures", ignore=shutil.ignore_patterns("__pycache__"))
    for name in names:
        text = json.dumps(checks(load_lab(name)), indent=1)
        (folder / "checks" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        shutil.copy(HERE / "answers" / f"{name}.py", folder / "answers")
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
    """The teacher's bundle: the whole course, the pages of the lectures, and the key to read."""
    left_out = shutil.ignore_patterns("__pycache__", "*.html", "*.pyc")
    shutil.copytree(HERE, folder / "course", ignore=left_out)
    shutil.copytree(TEACHING, folder / "teaching", ignore=left_out)
    shutil.copytree(FIGURES, folder / "figures" / "teaching")
    labs = [load_lab(name) for name in names]
    for page in {page for lab in labs for page in lab.pages}:  # for after a lab: it answers it
        _page(folder / "pages", page)
    key = "\n\n".join(["# Key", key_table(labs), *map(key_page, labs)])
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


def key_table(labs: Sequence[Lab]) -> str:
    """What each lab takes and gives, as a table."""
    lines = [
        "| lab | minutes | of these for questions | points | variants |",
        "|---|---|---|---|---|",
    ]
    for lab in labs:
        asked = (*lab.questions(0), *lab.open)
        minutes, points = sum(q.minutes for q in asked), sum(q.points for q in asked)
        variants = f"{lab.variants - 1} + the text's" if lab.variants > 1 else "1"
        name = f"{lab.name[3:]} {lab.title}"
        lines.append(f"| {name} | {lab.minutes} | {minutes} | {points} | {variants} |")
    rest = "The other minutes are for reading, and for what the notebook shows and lets one try."
    return "\n".join(lines) + f"\n\n{rest}"


def key_page(lab: Lab) -> str:
    """The key of a lab as Markdown: each question, its answer and its working in every variant,
    points and minutes, and the open questions with their rubrics.
    """
    points = sum(q.points for q in (*lab.questions(0), *lab.open))
    variants = f"{lab.variants - 1} variants and the text's" if lab.variants > 1 else "1 variant"
    parts = [
        f"## Lab {lab.name[3:]}: {lab.title}",
        f"{lab.minutes} minutes, {points} points, {variants}. Goals: {'; '.join(lab.goals)}.",
        f"Reading: {'; '.join(lab.reading)}.",
    ]
    if lab.pages:
        parts += [f"For afterwards, with answers in them: {', '.join(lab.pages)} (pages)."]
    parts += [
        f"{_variant_name(k)[:1].upper()}{_variant_name(k)[1:]}: "
        f"{', '.join(f'{name} {value}' for name, value in lab.numbers(k).items())}."
        for k in _variants_in_order(lab.variants)
        if lab.numbers(k)
    ]
    each = [lab.questions(variant) for variant in range(lab.variants)]
    working = [_working(lab, variant) for variant in range(lab.variants)]
    for asked in zip(*each, strict=True):
        parts.append(_in_every_variant(asked, [how[asked[0].name] for how in working]))
    for open_question in lab.open:
        parts += [
            f"**{open_question.name}** ({open_question.points} points, {open_question.minutes} "
            f"min, read by you) {open_question.text}",
            "\n".join(f"- {n} points: {what}" for n, what in open_question.rubric),
            f"A full answer: {open_question.model}",
        ]
    return "\n\n".join(parts)


def _in_every_variant(asked: Sequence[Question], working: Sequence[str]) -> str:
    """A question of the key: text, answer and working, each once where all variants have the
    same.
    """
    head = f"**{asked[0].name}** ({asked[0].points} points, {asked[0].minutes} min)"
    if len({q.text for q in asked}) == 1:
        head, texts = f"{head} {asked[0].text}", [""] * len(asked)
    else:
        texts = [f"*{q.text}* " for q in asked]
    told = [f"`{_shown(q)}` {t}{how}" for q, t, how in zip(asked, texts, working, strict=True)]
    if len(set(told)) == 1:
        return f"{head}\n\n- {told[0]}"
    lines = [f"- {_variant_name(k)}: {told[k]}" for k in _variants_in_order(len(told))]
    return "\n\n".join([head, "\n".join(lines)])


def _variant_name(variant: int) -> str:
    return f"variant {variant}" if variant else "the text's, which nobody has"


def _variants_in_order(variants: int) -> list[int]:
    """Those that students have, then the text's."""
    return [*range(1, variants), 0]


def _working(lab: Lab, variant: int = 0) -> dict[str, str]:
    """How to come to each answer, with a variant's numbers."""
    key = runpy.run_path(str(HERE / "key" / f"{lab.name}.py"))
    numbers = key["numbers"](variant) if "numbers" in key else {}
    return {name: text.format_map(numbers) for name, text in key["working"].items()}


def _shown(q: Question) -> str:
    assert q.right is not None
    right = q.right()
    return f"{right:.6g}" if isinstance(right, float) else str(right)


def _zipped(folder: Path) -> Path:
    """An archive of a folder, the same bytes for the same files.  The two unpack to folders of
    different names, so that the key never lies among what students have.
    """
    path, root = folder.with_suffix(".zip"), ROOTS[folder.name]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            if "__pycache__" in file.parts:
                continue
            name = f"{root}/{file.relative_to(folder).as_posix()}"
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return path


# The command line ---------------------------------------------------------------------------------


def main() -> int:
    """``build``, ``grade``, ``total`` or ``variants``; what cannot be done is said in one line."""
    args = _parser().parse_args()
    try:
        return int(args.do(args))
    except (OSError, ValueError) as error:
        print(f"course.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="write the student's and the teacher's bundle")
    make.add_argument("out", type=Path, help="a folder; bundles that lie in it are replaced")
    make.set_defaults(do=_build)
    of = commands.add_parser("grade", help="grade a folder of submissions")
    of.add_argument("folder", type=Path, help="has a folder for each student, named by number")
    of.add_argument("-o", "--output", type=Path, default=Path("grades.csv"), help="(grades.csv)")
    of.add_argument("--labs", help="lab1,lab2: only these; without it all six count")
    of.add_argument(
        "--by-file",
        action="store_true",
        help="the number in a file of answers chooses the variant, not the folder's name",
    )
    of.add_argument("--cpu", type=int, default=60, help="seconds of computing a lab (60)")
    of.add_argument("--wall", type=float, default=180.0, help="seconds on the clock a lab (180)")
    of.add_argument("--memory", type=int, default=4096, help="MiB of memory (4096)")
    of.set_defaults(do=_grade)
    add = commands.add_parser("total", help="add up, with the points that you have filled in")
    add.add_argument("questions", type=Path, help="what grade wrote: grades_questions.csv")
    add.add_argument("-o", "--output", type=Path, help="(grades.csv beside it)")
    add.set_defaults(do=_total)
    who = commands.add_parser("variants", help="list which variants a class has")
    who.add_argument("numbers", type=Path, help="a file with a number a line, or first in a line")
    who.set_defaults(do=_variants)
    return parser


def _say(text: str) -> None:
    """Say how far it is; what students wrote moves no cursor."""
    shown = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    print(shown, file=sys.stderr, flush=True)


def _build(args: argparse.Namespace) -> int:
    for path in build(args.out, say=_say):
        print(f"wrote {path}")
    return 0


def _grade(args: argparse.Namespace) -> int:
    if not args.folder.is_dir():
        raise ValueError(f"{args.folder}: is no folder of submissions")
    labs = list(dict.fromkeys(args.labs.split(","))) if args.labs else lab_names()
    if unknown := sorted(set(labs) - set(lab_names())):
        raise ValueError(f"--labs: no {', '.join(unknown)}; there are {', '.join(lab_names())}")
    students = [path.name for path in args.folder.iterdir() if path.is_dir()]
    if not students:
        raise ValueError(
            f"{args.folder}: has no folder of a student; each student's files lie in one"
        )
    if not args.output.resolve().parent.is_dir():
        raise ValueError(f"{args.output}: lies in no folder that there is")
    before = given_before(args.output, students, labs)
    _say(kept_out())
    limits = Limits(args.cpu, args.wall, args.memory * 2**20)
    grades = with_given(grade_folder(args.folder, limits, labs, args.by_file, _say), before)
    details = write_grades(grades, args.output)
    pages = write_words(grades, args.folder, args.output)
    print(f"wrote {args.output}, {details} and, to read, {', '.join(map(str, pages))}")
    return 0


def _total(args: argparse.Namespace) -> int:
    stem = args.questions.stem
    named = stem.removesuffix("_questions") if stem.endswith("_questions") else f"{stem}_total"
    output = args.output or args.questions.with_name(f"{named}.csv")
    if output.resolve() == args.questions.resolve():
        raise ValueError(f"{output}: is what is read; name another file with -o")
    unread = sum(g.points is None for g in total(args.questions, output))
    print(f"wrote {output}; {unread} answers in words have no points yet")
    return 0


def _variants(args: argparse.Namespace) -> int:
    labs = [lab for lab in map(load_lab, lab_names()) if lab.variants > 1]
    print(",".join(["number", *(lab.name for lab in labs)]))
    lines = args.numbers.read_text(encoding="utf-8-sig").splitlines()
    for k, line in enumerate(lines, 1):
        first = re.split(r"[,;\t]", line)[0].strip().strip('"')
        if not line.strip():
            continue
        if not re.search(r"\d", first):
            raise ValueError(f"{args.numbers}:{k}: a line begins with a number, got {first!r}")
        print(",".join([number(first), *(str(lab.variant_of(first)) for lab in labs)]))
    return 0


if __name__ == "__main__":
    sys.exit(piped(main))
