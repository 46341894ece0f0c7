"""What notebooks show is what the terminal shows: the same words in the same order, styled and
never scripted.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest

import accelsim as acc
from accelsim.base import display
from accelsim.base.shipped import shipped_names
from accelsim.base.text_table import Facts, Page, Sentences, SideNotes, TextTable, csv_lines
from accelsim.explore.study import Study
from accelsim.mapping.files import MappingFile
from accelsim.mapping.loops_text import show
from accelsim.view.describe import describe
from accelsim.workload.profile import profile


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
    shown: list[Any] = [acc.load_architecture(n) for n in shipped_names("architectures")]
    shown += [acc.load_dataflow(n) for n in shipped_names("dataflows")]
    return shown + [acc.load_workload(n) for n in ("lenet5", "alexnet")]


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


@cache
def public_objects() -> list[Any]:
    workload = acc.load_workload("lenet5")
    layer = workload.layers[0]
    best = acc.map_layer(layer, "systolic", "ws", tiles="divisors")
    return [
        *(layer, layer.problem(), workload.network, profile(workload), best),
        acc.map_network("lenet5", "systolic", "ws", layers=["conv1"]),
        Study(name="s", workload="lenet5", arch="systolic", dataflows=("ws",), grid={}),
        acc.simulate("lenet5", "systolic", "ws,os"),
        acc.simulate("lenet5", "systolic", "ws").rows[0],
        acc.train_step("lenet5", arch="systolic", dataflow="ws", engine="analytic"),
    ]


def test_print_and_notebook_say_the_same() -> None:
    for thing in public_objects():
        page = str(thing)
        assert page and "object at 0x" not in page and not page.startswith(type(thing).__name__)
        assert words(thing._repr_html_()) == plain(page), type(thing).__name__
    certificate = public_objects()[4].certificate
    assert words(certificate._repr_html_()) == str(certificate).split()


def test_a_page_is_written_twice_from_one_structure() -> None:
    table = TextTable.of(
        ["name", "", "words"], [["a", "", "1 000"], ["b", "", "5"], ["sum", "", "1 005"]], [2], [2]
    )
    page = Page(
        "title",
        "said of it",
        (
            table.without_empty_columns(),
            Sentences(("close by",), close=True),
            Facts((("one", "1"), ("three", "3"))),
            SideNotes("notes:", ("x < y",)),
        ),
    )
    assert page.text().splitlines() == [
        "title",
        "said of it",
        "",
        "name  words",
        "----  -----",
        "a     1 000",
        "b         5",
        "----  -----",
        "sum   1 005",
        "close by",
        "",
        "one    1",
        "three  3",
        "",
        "notes:",
        "  x < y",
    ]
    assert words(page.html()) == plain(page.text())
    assert page.html().count("<td class=n>") == 3 and "<tr class=total><td>sum" in page.html()
    assert csv_lines(["a", "b"], [[1, None], [2.5, "x,y"]]) == 'a,b\n1,\n2.5,"x,y"'


def test_what_has_no_page_is_refused() -> None:
    with pytest.raises(TypeError, match="nothing to say about int"):
        display.text(3)


def test_at_the_prompt_a_result_is_a_line() -> None:
    """``repr`` of what calls return: short, and no address of an object."""
    for thing in public_objects():
        told = repr(thing)
        assert "object at 0x" not in told, told[:200]
    run = acc.simulate("lenet5", "systolic", "ws,os")
    found = acc.map_network("lenet5", "systolic", "ws", layers=["conv1"])
    for thing in (run, run.rows[0], run.rows[0].nest, found, found.layers["conv1"]):
        assert len(repr(thing)) < 400 and "\n" not in repr(thing)
    assert repr(run) == "<Result of 10 rows: lenet5 on systolic, ws, os>"


CELL = """
import accelsim as acc
from matplotlib.figure import Figure
{before}
acc.simulate("lenet5", "systolic", "ws", layers=["conv1"]).plot.energy()
"""


def shown_by_a_notebook(before: str = "") -> dict[str, object]:
    """What a cell of CELL shows, in a shell of its own."""
    script = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for name in ("image/png",):
    shell.display_formatter.formatters[name].enabled = True
shell.display_formatter.active_types = ["text/plain", "image/png"]
value = shell.run_cell(sys.argv[1]).result
data, _ = shell.display_formatter.format(value)
print(json.dumps({k: str(v)[:40] for k, v in data.items()}))
"""
    told = subprocess.run(
        [sys.executable, "-c", script, CELL.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(json.loads(told.splitlines()[-1]))


def test_a_notebook_shows_a_figure() -> None:
    """Without ``pyplot`` a cell that ends in a figure showed ``<Figure size ...>``: every picture
    of the labs was gone when a student ran its cell.
    """
    pytest.importorskip("IPython")
    assert "PNG" in str(shown_by_a_notebook()["image/png"])
    own = "get_ipython().display_formatter.formatters['image/png'].for_type("
    own += "Figure, lambda f: 'mine')"
    assert shown_by_a_notebook(own)["image/png"] == "mine", "what a notebook was told stands"


def test_outside_of_a_notebook_figures_are_left_alone(monkeypatch: Any) -> None:
    class Shell:
        """A shell without pictures, as at the Python prompt that a tool has made."""

        def get_ipython(self) -> None:
            return None

    monkeypatch.setitem(sys.modules, "IPython", Shell())
    display.show_figures()
    monkeypatch.delitem(sys.modules, "IPython")
    display.show_figures()
