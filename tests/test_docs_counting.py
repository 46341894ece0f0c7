"""docs/counting.md: its code prints what stands under it, its numbers are among what it prints, its
names exist.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "counting.md"
FIGURES = PAGE.parent / "figures"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLE = {
    0,
    1,
    2,
    3,
    7,
    9,
    21,
}  # small counts, and the example itself: 7 outputs, 3 taps, 9 ifmap words, 21 MACs


class Section(NamedTuple):
    title: str
    text: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        return FENCE.findall(self.text)

    @property
    def prose(self) -> str:
        """Without blocks, names of code, and numbers of sections and rules; on one line."""
        text = FENCE.sub("", self.text)
        text = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)
        return re.sub(r"[Ss]ections? \d+( (and|to) \d+)?|[Rr]ule \d+|\s+", " ", text)


def sections() -> list[Section]:
    parts = re.split(r"^(##+ .*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [
        Section("the example", parts[0]),
        *(Section(a, b) for a, b in zip(parts[1::2], parts[2::2], strict=True)),
    ]


def runs() -> Iterator[tuple[Section, str, str]]:
    """Every block of code in order, in one namespace: its section, what it prints, and what stands
    under it.
    """
    names: dict[str, Any] = {}
    for section in sections():
        blocks = section.blocks
        for k, (kind, code) in enumerate(blocks):
            if kind != "python":
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, f"{PAGE.name}, {section.title}", "exec"), names)
            under = blocks[k + 1][1] if k + 1 < len(blocks) and blocks[k + 1][0] == "text" else ""
            yield (
                section,
                "\n".join(line.rstrip() for line in printed.getvalue().splitlines()),
                under.rstrip("\n"),
            )


def test_the_code_prints_what_stands_under_it():
    found = list(runs())
    assert len(found) > 15
    for section, printed, under in found:
        assert printed == under, section.title


@pytest.mark.parametrize("section", sections(), ids=lambda s: s.title.strip("# "))
def test_every_number_is_computed(section):
    """In the text: what the section's code says or prints, or a sum of such numbers, which must be
    right.
    """
    known = EXAMPLE | {
        int(n)
        for kind, text in section.blocks
        if kind
        for n in re.findall(r"(?<![\w.])\d+", text.replace("..", " "))
    }
    prose = section.prose
    for left, right in re.findall(r"(\d+(?:\s[-+*]\s\d+)+)\s=\s(\d+)", prose):
        assert eval(left) == int(right), f"{left} = {right}"
        known |= {int(right)}
    unknown = [n for n in re.findall(r"(?<![\w.^])\d+(?!\w)", prose) if int(n) not in known]
    assert not unknown


def test_every_name_exists():
    """``file.py: a, B.c``: the file has the function a and the method c of the class B."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"`([\w/]+\.py): ([^`]+)`", text)
    assert len(found) > 25
    for path, names in found:
        defined = set(_definitions(ast.parse((ROOT / path).read_text(encoding="utf-8"))))
        missing = {name.strip() for name in names.replace("\n", " ").split(",")} - defined
        assert not missing, f"{path} has no {', '.join(missing)}"
    for path in re.findall(r"`((?:accelsim|tests|docs)/[\w/]+\.\w+)`", text):
        assert (ROOT / path).is_file(), path


def _definitions(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (
                f"{node.name}.{x.name}" for x in node.body if isinstance(x, ast.FunctionDef)
            )


def make_counting() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_counting", FIGURES / "make_counting.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_are_those_drawn():
    """Drawing compares every picture's numbers with the counts; the files say what is drawn now."""
    drawer = make_counting()
    shown = re.findall(
        r"!\[[^]]+\]\(figures/counting_(\w+)\.svg\)", PAGE.read_text(encoding="utf-8")
    )
    assert (
        sorted(shown)
        == sorted(drawer.FIGURES)
        == sorted(p.stem.removeprefix("counting_") for p in FIGURES.glob("counting_*.svg"))
    )
    for name in shown:
        figure = drawer.draw(name)
        drawn = sorted(
            text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()
        )
        svg = (FIGURES / f"counting_{name}.svg").read_text(encoding="utf-8")
        assert sorted(re.findall(r"<!-- (.*?) -->", svg)) == drawn, (
            f"{name}: run docs/figures/make_counting.py"
        )
        assert (FIGURES / f"counting_{name}.png").is_file()
