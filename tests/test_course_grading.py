"""What becomes of what students hand in: an honest submission is graded, in whatever dress; what is
not used, missing or odd is said; points for words find their way back.
"""

from __future__ import annotations

import csv
import importlib
import json
import random
import re
import sys
import zipfile
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

COURSE = Path(__file__).parents[1] / "docs" / "course"
NUMBER = "20265678"


@pytest.fixture(autouse=True)
def _course_on_the_path(monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(COURSE))


def load(name: str) -> Any:
    return importlib.import_module(name)


@pytest.fixture
def here(monkeypatch: Any) -> None:
    """Files of answers are run in this process, which takes no second each."""
    confined = load("confined")

    def run(task: dict[str, Any], folder: Path, limits: Any) -> dict[str, Any]:
        try:
            told = confined.TASKS[task["do"]]({**task, "folder": str(folder)})
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        return dict(json.loads(json.dumps(told))) | {"refused": ""}

    monkeypatch.setattr(load("submissions"), "in_own_process", run)


def answers_file(student: object, words: object = "It waits.", whose: str = NUMBER) -> str:
    """Lab 1, right in the variant of a number."""
    lab = load("grading").load_lab("lab1")
    right = {q.name: q.right() for q in lab.questions(lab.variant_of(whose))}
    return f"student = {student!r}\nanswers = {right!r}\nin_words = {{'1.9': {words!r}}}\n"


def graded(folder: Path, by_file: bool = False) -> tuple[list[Any], str]:
    """Grades of lab 1, and what is said meanwhile."""
    said: list[str] = []
    limits = load("confined").Limits()
    grades = load("submissions").grade_folder(folder, limits, ["lab1"], by_file, said.append)
    return grades, "\n".join(said)


def points(grades: list[Any]) -> tuple[float, int]:
    """(points of the model, answers to be read)."""
    model = sum(g.points for g in grades if g.by == "model")
    return model, sum(g.points is None for g in grades)


# An honest class ----------------------------------------------------------------------------------

NUMBERS = (20265678, NUMBER, f" {NUMBER} ", f"0{NUMBER}", f"s{NUMBER}", "2026-5678", "2026 5678")
FOLDERS = (NUMBER, f"0{NUMBER}", f"s{NUMBER}", "2026-5678", f"Smith_Anna_12345_{NUMBER}_file")
PLACES = (
    "lab1.py", "Lab1.py", "LAB1.PY", "answers/lab1.py", "accelsim-course/answers/lab1.py",
)  # fmt: skip
WORDS = (
    "It waits.", ["It waits.", "For memory."], ("a",), "It waits.\n0 1 2\n1 2 3\n", "w " * 5300,
    "a very long " * 200_000, 64, "\ud800 \x00", "=1+1", Path("sketch.png"),
)  # fmt: skip


def test_an_honest_submission_is_graded_in_whatever_dress(here: None, tmp_path: Path) -> None:
    draw = random.Random(5)
    for k in range(40):
        folder, place = tmp_path / str(k), PLACES[k % len(PLACES)]
        student, words = draw.choice(NUMBERS), WORDS[k % len(WORDS)]
        file = folder / draw.choice(FOLDERS) / place
        file.parent.mkdir(parents=True)
        text = answers_file(student, words)
        file.write_text(f"from pathlib import *\n{text}", errors="surrogatepass")
        grades, said = graded(folder)
        assert points(grades) == (18, 1), (student, str(file), str(words)[:30], said)
        assert not any(g.notes for g in grades if words != WORDS[-1]), (said, student, file)
        (read,) = [g for g in grades if g.points is None]
        assert len(read.said) < 10_100
        if isinstance(words, str) and len(words) < 100:
            assert read.said == words.strip()
        if len(str(words)) > 10_000:
            assert "too long: cut here" in read.said.splitlines()[-1]
        load("gradebook").write_grades(grades, tmp_path / "grades.csv")
        load("gradebook").write_words(grades, folder, tmp_path / "grades.csv")


@pytest.mark.parametrize(
    ("folder", "student", "whose", "worth", "note"),
    [
        (
            NUMBER,
            "",
            "",
            4,
            "the file has no number: graded in variant 1, while in its own, 0, it has",
        ),
        (NUMBER, None, "", 4, "the file has no number"),
        (NUMBER, "20261234", "20261234", 4, f"the file says 20261234, the folder {NUMBER}"),
        ("smith", NUMBER, NUMBER, 18, f"the folder has no number, the file says {NUMBER}"),
        ("smith", "Smith", "smith", 18, ""),
    ],
)
def test_a_number_that_is_missing_or_anothers_is_said(
    here: None, tmp_path: Path, folder: str, student: object, whose: str, worth: int, note: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "lab1.py").write_text(answers_file(student, whose=whose))
    grades, said = graded(tmp_path)
    assert points(grades)[0] == worth
    assert all(note in g.notes for g in grades) and note in said
    assert worth == 18 or "18 of 18" in said, "what it is worth in its own variant"
    assert bool(note) == ("the f" in said)
    by_file, _ = graded(tmp_path, by_file=True)
    assert points(by_file)[0] == (18 if student else worth)


def test_what_is_not_used_is_said(here: None, tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("1001", "1002", "1003"))
    for folder in (one / "answers", two, three / "pictures"):
        folder.mkdir(parents=True)
    (one / "answers" / "lab1.py").write_text(answers_file("1001", "see a.png and lost.jpg"))
    for name in ("a.png", "b.png", "lab1.py~", "lab1_counting.ipynb", "Lab2.py"):
        (one / "answers" / name).write_text("x")
    (two / "lab1.py").symlink_to(one / "answers" / "lab1.py")
    (two / "notes.txt").write_text("x")
    (three / "lab1.py").write_text("1 / 0")
    for name in ("check.py", ".DS_Store", "pictures/arrays.py"):
        (three / name).write_text("x")
    (tmp_path / "loose.py").write_text("x")
    (tmp_path / "linked").symlink_to(one)
    (tmp_path / "s1001").mkdir()
    grades, said = graded(tmp_path)
    notes = {g.student: g.notes for g in grades}
    for part in ("not used: answers/b.png, answers/lab1.py~, answers/lab1_counting.ipynb",
                 "1.9 names lost.jpg, which was not handed in"):  # fmt: skip
        assert part in notes["1001"] and part in said, notes["1001"]
    assert "a.png" not in notes["1001"] and "Lab2.py" not in notes["1001"]
    assert notes["1002"] == "there is no lab1.py; not used: notes.txt; links, not followed: lab1.py"
    assert notes["1003"] == "" and notes["s1001"] == "there is no lab1.py"
    words = {g.student: g for g in grades if g.by == "teacher"}
    assert words["1003"].said == "not read: ZeroDivisionError: division by zero"
    assert words["1001"].files == ("answers/a.png",)
    for line in ("loose.py: not used, it is in no student's folder", "1001, s1001: folders of one",
                 "linked: not used, it is a link"):  # fmt: skip
        assert line in said, said


FORGED = r"""
import json, os, sys
whole = {"answers": {}, "in_words": {"1.9": "a" * 500_000, "1.8": 5}, "student": "\x1b[31m" * 99}
for end in map(int, sys.argv[1:]):
    os.write(end, b"\x1b[2J forged\n" if end == int(sys.argv[2]) else json.dumps(whole).encode())
os._exit(0)
"""


def test_no_student_pays_for_compiling(tmp_path: Path, monkeypatch: Any) -> None:
    """The first submission of a class was stopped under ``--cpu 10`` while our own code compiled:
    what a lab's checks compile is compiled before, once a lab, with limits of its own.
    """
    submissions, limits = load("submissions"), load("confined").Limits(cpu_s=3)
    asked: list[tuple[str, str, int]] = []

    def noted(task: dict[str, Any], folder: Path, limits: Any) -> dict[str, Any]:
        asked.append((task["do"], task.get("lab", ""), limits.cpu_s))
        return {"answers": {}, "in_words": {}, "student": ""} if task["do"] == "answers" else {}

    monkeypatch.setattr(submissions, "in_own_process", noted)
    submissions._compile_for.cache_clear()
    for name in ("1", "2"):
        for lab in ("lab1", "lab2"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{lab}.py").write_text("answers = {}")
    submissions.grade_folder(tmp_path, limits, ["lab1", "lab2"])
    submissions._compile_for.cache_clear()
    for lab in ("lab1", "lab2"):
        kinds = [(do, cpu_s) for do, of, cpu_s in asked if of == lab]
        assert [do for do, _ in kinds].count("compiles") == 1 and kinds[0][0] == "compiles", lab
        assert kinds[0][1] >= 600 and len(kinds) > 2 and {cpu_s for _, cpu_s in kinds[1:]} == {3}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are Linux's")
def test_a_right_file_is_right_whoever_is_first(tmp_path: Path) -> None:
    """With loops compiled for nobody yet, and less time than that takes."""
    submissions = load("submissions")
    lab = load("grading").load_lab("lab2")
    answers = {q.name: q.right() for q in lab.questions(0)}
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "lab2.py").write_text(f"student = '1'\nanswers = {answers!r}\n")
    submissions._compiled.cache_clear()
    submissions._compile_for.cache_clear()
    grades = submissions.grade_folder(tmp_path, load("confined").Limits(cpu_s=8), ["lab2"])
    assert all(g.said == "right" for g in grades if g.by == "model"), [g.said for g in grades]


def test_a_forged_answer_is_no_more_than_text(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "lab1.py").write_text(FORGED)
    limits = load("confined").Limits()
    grades = load("submissions").grade_folder(tmp_path, limits, ["lab1"], say=load("course")._say)
    assert "\x1b" not in capsys.readouterr().err
    assert grades[0].refused == "?[2J forged; it closed the record of what was refused"
    assert len(grades[-1].said) < 10_300 and points(grades) == (0, 1)
    details = load("gradebook").write_grades(grades, tmp_path / "grades.csv")
    assert "\x1b" not in details.read_text() and load("gradebook").read_grades(details)


@pytest.mark.parametrize(
    ("landlock", "network", "held", "enough"),
    [
        (7, True, "files outside the submission, the network, signals", "is enough"),
        (5, False, "files outside the submission, TCP. By", "is enough"),
        (0, True, "(no Landlock): the network. By", "NOT enough"),
        (0, False, "(no Landlock): nothing. By", "NOT enough"),
    ],
)
def test_what_holds_here_is_said_and_whether_it_is_enough(
    monkeypatch: Any, landlock: int, network: bool, held: str, enough: str
) -> None:
    confined = load("confined")
    monkeypatch.setattr(confined, "landlock_version", lambda: landlock)
    monkeypatch.setattr(confined, "_network_can_be_taken", lambda: network)
    said = confined.kept_out()
    assert held in said and enough in said and "starting programs" in said


def test_a_page_to_read_keeps_lines_shows_pictures_and_runs_nothing(
    here: None, tmp_path: Path
) -> None:
    folder = tmp_path / "in" / "1001 <b>"
    (folder / "a").mkdir(parents=True)
    words = "<script>alert(1)</script>\n0 1 2\n1 2 3\nsee 'a/my pic.png', page.html"
    (folder / "lab1.py").write_text(answers_file("1001", words))
    (folder / "a" / "my pic.png").write_text("x")
    (folder / "page.html").write_text("<script>")
    grades, _ = graded(tmp_path / "in")
    (path,) = load("gradebook").write_words(grades, tmp_path / "in", tmp_path / "g.csv")
    page = path.read_text()
    assert "<script" not in page and "1001 <b>" not in page.replace("&lt;", "")
    assert "\n0 1 2\n1 2 3\n" in page and "A full answer" in page and "2 points:" in page
    (source,) = re.findall(r'<img src="([^"]+)"', page)
    assert source == "../in/1001%20%3Cb%3E/a/my%20pic.png"
    assert "page.html, in the student's folder" in page
    load("gradebook").write_grades(grades, tmp_path / "g.csv")
    rows = list(csv.DictReader((tmp_path / "g_questions.csv").open(newline="")))
    assert rows[-1]["said"] == words and rows[-1]["files"] == "a/my pic.png | page.html"


# Points for words ---------------------------------------------------------------------------------


def a_class(tmp_path: Path) -> tuple[Path, list[Any]]:
    folder = tmp_path / "in"
    for name, words in (("0123", "One, two; three."), ("456", "Größe\nand more"), ("789", None)):
        (folder / name).mkdir(parents=True)
        (folder / name / "lab1.py").write_text(answers_file(name, words, whose=name))
    return folder, graded(folder)[0]


def fill(path: Path, given: dict[str, str], delimiter: str = ",", encoding: str = "utf-8") -> None:
    """Fill in points for words, as a spreadsheet does."""
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    for row in rows:
        if row["graded_by"] == "teacher" and row["student"] in given:
            row["points"] = given[row["student"]]
        row["student"] = row["student"].lstrip("0")
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def totals(path: Path) -> list[tuple[str, ...]]:
    names = ("student", "points", "of", "automatic", "automatic_of", "to_read", "lab1")
    return [tuple(row[name] for name in names) for row in csv.DictReader(path.open())]


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "cp1252")])
def test_points_for_words_are_added_and_kept(
    here: None, tmp_path: Path, delimiter: str, encoding: str
) -> None:
    book, path = load("gradebook"), tmp_path / "grades.csv"
    folder, grades = a_class(tmp_path)
    details = book.write_grades(grades, path)
    assert totals(path) == [
        ("0123", "18", "24", "18", "18", "1", "18"),
        ("456", "18", "24", "18", "18", "1", "18"),
        ("789", "18", "24", "18", "18", "0", "18"),
    ]
    fill(details, {"0123": "4,5", "456": "6"}, delimiter, encoding)
    book.total(details, path)
    assert totals(path) == [
        ("123", "22.5", "24", "18", "18", "0", "22.5"),
        ("456", "24", "24", "18", "18", "0", "24"),
        ("789", "18", "24", "18", "18", "0", "18"),
    ]
    before = book.given_before(path, ["0123", "456", "789"], ["lab1"])
    again = book.with_given(graded(folder)[0], before)
    assert [g.points for g in again if g.by == "teacher"] == [4.5, 6, 0]
    (folder / "456" / "lab1.py").write_text(answers_file("456", "other words", whose="456"))
    changed = book.with_given(graded(folder)[0], before)
    (now,) = [g for g in changed if g.by == "teacher" and g.student == "456"]
    assert now.points is None and "1.9 had 6 points and has other words now" in now.notes
    with pytest.raises(ValueError, match="has points that you gave, of 456 in lab1"):
        book.given_before(path, ["0123"], ["lab1"])


@pytest.mark.parametrize("wrong", ["7", "-1", "x", "nan", "inf", "1/2"])
def test_points_that_are_none_are_said_with_their_line(
    here: None, tmp_path: Path, monkeypatch: Any, capsys: Any, wrong: str
) -> None:
    details = load("gradebook").write_grades(a_class(tmp_path)[1], tmp_path / "grades.csv")
    whole = (tmp_path / "grades.csv").read_text()
    fill(details, {"456": wrong})
    words = ["total", str(details), "-o", str(tmp_path / "grades.csv")]
    monkeypatch.setattr(sys, "argv", ["course.py", *words])
    assert load("course").main() == 2
    said = capsys.readouterr().err
    assert f"_questions.csv:20: 456, 1.9: points are a number from 0 to 6, got '{wrong}'" in said
    assert len(said.splitlines()) == 1 and (tmp_path / "grades.csv").read_text() == whole
    monkeypatch.setattr(sys, "argv", ["course.py", "total", str(details), "-o", str(details)])
    assert load("course").main() == 2 and "is what is read" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["course.py", *words])
    details.write_text("a,b\n1,2\n")
    assert load("course").main() == 2
    assert "has no column student" in capsys.readouterr().err


# What a class has ---------------------------------------------------------------------------------


def test_a_class_lists_its_variants(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    numbers, course = tmp_path / "numbers.txt", load("course")
    numbers.write_text(f'{NUMBER}\n\n"020261234",Anna\ns2026-5678;Ben;3\n')
    monkeypatch.setattr(sys, "argv", ["course.py", "variants", str(numbers)])
    assert course.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["number,lab1,lab3,lab5", f"{NUMBER},1,1,3"] and lines[1] == lines[3]
    for line in lines[1:]:
        number, *variants = line.split(",")
        labs = [course.load_lab(name) for name in ("lab1", "lab3", "lab5")]
        assert [str(lab.variant_of(number)) for lab in labs] == variants
    numbers.write_text("number\n1\n")
    assert course.main() == 2
    assert "numbers.txt:1: a line begins with a number, got 'number'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["course.py", "variants", str(tmp_path / "none")])
    assert course.main() == 2 and len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", ["lab1", "lab3", "lab5"])
def test_no_two_variants_have_the_same_answers(name: str) -> None:
    lab, course = load("grading").load_lab(name), load("course")
    answers = [[repr(q.right()) for q in lab.questions(v)] for v in range(lab.variants)]
    working = [course._working(lab, v) for v in range(lab.variants)]
    assert lab.variants >= 3
    for one, other in combinations(range(lab.variants), 2):
        differ = sum(a != b for a, b in zip(answers[one], answers[other], strict=True))
        assert differ >= 3, (one, other, answers)
        assert working[one] != working[other], "the working has the variant's numbers"
    assert not re.search(r"[{}]", " ".join(t for how in working for t in how.values()))


# What is handed out -------------------------------------------------------------------------------


def test_what_the_students_page_names_is_in_the_archive(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(load("sealed"), "ROUNDS", 1)
    course = load("course")
    names = course.build(tmp_path, ["lab1"], run=False)[0]
    inside = {n.removeprefix("accelsim-course/") for n in zipfile.ZipFile(names).namelist()}
    page = (tmp_path / "student" / "README.md").read_text()
    files = set(re.findall(r"`((?:\w+/)?\w+\.(?:py|ipynb|md))`", page))
    files |= set(re.findall(r"python (\w+\.py)", page))
    labs = {f"{path.stem}.ipynb" for path in (COURSE / "lessons").glob("lab*.py")}
    assert len(files) >= 10 and labs < files
    assert not files - inside - labs, files - inside
    for folder in re.findall(r"`(\w+)/`", page):
        assert any(name.startswith(f"{folder}/") for name in inside), folder
    for word in ("teacher.md", "course.py", "make course", "key/"):
        assert word not in page, word
    told = " ".join(page.split())
    for part in ("jupyterlab", "1234 bytes", "in_words", "name it in the text", "`student`"):
        assert part in told, part


def test_the_teachers_page_names_what_there_is() -> None:
    page = (COURSE / "teacher.md").read_text()
    parser = load("course")._parser()
    for words in re.findall(r"python docs/course/course\.py ([^\n]+)", page):
        parser.parse_args(words.split())
    for option in re.findall(r"`(--[\w-]+)", page):
        assert (
            option
            in parser.format_help()
            + "".join(
                p.format_help() for p in parser._subparsers._group_actions[0].choices.values()
            )
            + (COURSE / "grading.py").read_text()
        ), option
    for path in re.findall(r"`(docs/[\w/]+(?:\.\w+|/))`", page):
        assert (COURSE.parents[1] / path).exists(), path
    assert "jupyterlab" in page and "public" in page and "decks" in page


def test_what_grade_cannot_do_is_said_before_it_takes_long(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "in" / "1").mkdir(parents=True)
    for folder, out, said in (
        ("empty", "g.csv", "has no folder of a student"),
        ("in", "none/g.csv", "lies in no folder"),
        ("none", "g.csv", "is no folder of submissions"),
    ):
        words = ["grade", str(tmp_path / folder), "-o", str(tmp_path / out)]
        monkeypatch.setattr(sys, "argv", ["course.py", *words])
        assert load("course").main() == 2
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1


def test_what_libraries_try_by_themselves_is_refused_and_not_told(tmp_path: Path) -> None:
    told: list[str] = []
    guard = load("confined")._Guard(["/usr"], [str(tmp_path)], told.append)
    for event, arguments in (
        ("open", ("/usr/x/__pycache__/a.pyc", "w", 1)),
        ("os.mkdir", ("/usr/x/__pycache__", 0o777)),
        ("os.listdir", (str(COURSE),)),
        ("subprocess.Popen", ("fc-list", [], None, None)),
    ):
        with pytest.raises(PermissionError):
            guard(event, arguments)
    assert not told
    for event, arguments, said in (
        ("open", ("/home/__pycache__/../key", "r", 0), "open /home/__pycache__/../key"),
        ("os.remove", ("/usr/x",), "os.remove /usr/x"),
        ("os.listdir", ("/root",), "os.listdir /root"),
        ("subprocess.Popen", ("sh", [], None, None), "subprocess.Popen sh"),
        ("socket.connect", (object(), ("1.1.1.1", 80)), "socket.connect"),
    ):
        with pytest.raises(PermissionError):
            guard(event, arguments)
        assert told.pop() == said
