"""What notebooks show is what the terminal shows: the same words in the same order, styled and
never scripted.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

import accelsim as acc
from accelsim.base.shipped import shipped_names
from accelsim.mapping.files import MappingFile
from accelsim.mapping.loops_text import show
from accelsim.view.describe import describe


class Reader(HTMLParser):
    """The text of a page, and that its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.stack: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.stack.append(tag)
        self.tags.add(tag)
        assert not [k for k, _ in attrs if k.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack[-1:] != ["style"]:
            self.texts.append(data)


def words(page: str) -> list[str]:
    reader = Reader()
    reader.feed(page)
    assert not reader.stack and "script" not in reader.tags and "src" not in page
    return " ".join(reader.texts).split()


def plain(text: str) -> list[str]:
    return re.sub(r"^-+(  -+)*$", "", text, flags=re.M).split()


def models() -> list[Any]:
    found: list[Any] = [acc.load_architecture(n) for n in shipped_names("architectures")]
    found += [acc.load_dataflow(n) for n in shipped_names("dataflows")]
    return found + [acc.load_workload(n) for n in ("lenet5", "alexnet")]


@pytest.mark.parametrize("model", models(), ids=lambda m: m.name)
def test_models(model: Any) -> None:
    if not hasattr(model, "_repr_html_"):
        pytest.fail(f"{type(model).__name__} has no _repr_html_")
    assert words(model._repr_html_()) == plain(describe(model))


def test_mappings_and_nests() -> None:
    for flow in ("ws", "rs"):
        arch = acc.load_architecture("eyeriss")
        problem = acc.load_workload("alexnet").layers[1].problem()
        mapping = acc.choose(problem, arch, acc.load_dataflow(flow))
        file = MappingFile(
            name="mapping", loops=mapping.loops, keep=mapping.keep, fused=mapping.fused
        )
        assert words(mapping._repr_html_()) == plain(describe(file))
        nest = acc.Nest(problem, arch, mapping)
        assert words(nest._repr_html_()) == show(nest).split()


def test_results() -> None:
    result = acc.simulate("lenet5", "eyeriss", "ws,rs", check=True, overrides={"array.rows": 6})
    assert sorted(words(result._repr_html_())) == sorted(w for w in plain(str(result)))
    failed = acc.simulate(
        "lenet5", "eyeriss", "rs", overrides={"array.rows": 2, "array.fold_filter": False}
    )
    assert sorted(words(failed._repr_html_())) == sorted(plain(str(failed)))


def test_tables_are_tables_and_names_are_text() -> None:
    page = acc.load_architecture("eyeriss")._repr_html_()
    assert page.count("<table>") == page.count("<thead>") >= 2 and "<th>keeps</th>" in page
    named = acc.load_architecture("systolic").model_copy(update={"description": "<b>x</b> & y"})
    assert "<b>x" not in named._repr_html_() and "&lt;b&gt;x" in named._repr_html_()
