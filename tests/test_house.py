"""The house rules of ARCHITECTURE.md, held by the build: which way imports point, one name for one
thing, prose.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "accelsim"
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
ROOMS = (  # from bottom to top; what stands in one entry does not see its neighbours
    ("base",),
    ("workload",),
    ("importers",),
    ("hardware",),
    ("mapping",),
    ("engines",),
    ("mapper",),
    ("results",),
    ("explore",),
    ("view",),
    ("cli",),
)
WAY_UP = "accelsim/base/display.py"  # the only module that may load a room above its own
FRONT_DOOR = "accelsim/__init__.py"  # loads what a user names, when it is named
LEAST_PROSE = {"engines": 0.18, "mapping": 0.18, "hardware": 0.18}
LONGEST_LINE = 100


def room_of(path: str) -> str | None:
    """The room a file of the package stands in; None for the few at its top."""
    parts = Path(path).parts
    return parts[1] if len(parts) > 2 else None


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """All of a source's tree, from the outside in; for every rule once."""
    return tuple(ast.walk(ast.parse(source)))


def height(room: str) -> int:
    return next(at for at, rooms in enumerate(ROOMS) if room in rooms)


def strings(source: str) -> Iterator[ast.Constant]:
    """Every string that is a value, docstrings left out."""
    prose = {
        id(node.body[0].value)
        for node in nodes(source)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes(source):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node


def ways_up(path: str, source: str) -> list[str]:
    """What a file reaches above its own room, by an import anywhere or by a module's name in a
    string.
    """
    room = room_of(path)
    if room is None or path == WAY_UP:
        return []
    named: list[str] = []
    for node in nodes(source):
        if isinstance(node, ast.ImportFrom):
            named += [f"{node.module or ''}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            named += [name.name for name in node.names]
    named += [node.value for node in strings(source) if " " not in node.value]
    reached = []
    for name in named:
        first, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        known = any(target in rooms for rooms in ROOMS)
        if first == "accelsim" and known and height(target) > height(room):
            reached.append(name)
    return reached


def loads_by_name(source: str) -> list[str]:
    """Calls that import what a string names: ``import_module``, ``__import__`` and their like."""
    return [
        ast.unparse(node)
        for node in nodes(source)
        if isinstance(node, (ast.Name, ast.Attribute))
        and (node.id if isinstance(node, ast.Name) else node.attr)
        in ("import_module", "__import__", "run_module", "resolve_name", "find_spec")
    ]


def test_every_room_is_known() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == {room for entry in ROOMS for room in entry}


def test_imports_point_down() -> None:
    """import-linter reads the contracts of pyproject.toml; functions' own imports count."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_no_string_reaches_up() -> None:
    assert {p: up for p, s in SOURCES.items() if (up := ways_up(p, s))} == {}


def test_only_two_modules_import_by_name() -> None:
    using = {path for path, source in SOURCES.items() if loads_by_name(source)}
    assert using <= {WAY_UP, FRONT_DOOR}


@pytest.mark.parametrize(
    "line",
    [
        "from accelsim.view.plots import energy",
        "def f():\n    from accelsim.view import plots",
        "def f():\n    return load('accelsim.view.plots')",
        "import accelsim.results.simulate",
    ],
)
def test_the_check_can_fail(line: str) -> None:
    assert ways_up("accelsim/mapping/nest.py", line)
    assert not ways_up("accelsim/cli/main.py", line)


def test_no_class_name_twice() -> None:
    homes = defaultdict(list)
    for path, source in SOURCES.items():
        for node in nodes(source):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_file_name_twice() -> None:
    homes = defaultdict(list)
    for path in SOURCES:
        if not path.endswith("__init__.py"):
            homes[Path(path).name].append(path)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_nothing_is_called_found() -> None:
    """A name says what was found."""
    assigned = defaultdict(int)
    for path, source in SOURCES.items():
        for node in nodes(source):
            if (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Store)
                and node.id == "found"
            ):
                assigned[path] += 1
    assert not assigned


def test_lines_fit() -> None:
    """ruff holds this too (E501), but lets a line pass that ends in a long word."""
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    files += [*(ROOT / "reports").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    long = {
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().split("\n"), 1)
        if len(line) > LONGEST_LINE
    }
    assert long == set()


def prose_share(room: str) -> float:
    """Lines of docstrings and comments over all lines of a room."""
    prose = every = 0
    for path, source in SOURCES.items():
        if room_of(path) != room:
            continue
        lines: set[int] = set()
        for node in nodes(source):
            documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            if documented and ast.get_docstring(node, clean=False) is not None:
                text = node.body[0]
                lines |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            alone = not token.line[: token.start[1]].strip()
            if token.type == tokenize.COMMENT and alone:
                lines.add(token.start[0])
        prose += len(lines)
        every += source.count("\n")
    return prose / every


@pytest.mark.parametrize("room", LEAST_PROSE)
def test_prose(room: str) -> None:
    assert prose_share(room) >= LEAST_PROSE[room]
