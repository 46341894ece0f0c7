"""The documentation site: built with warnings as errors, nothing from outside, and every code block
runs.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from quick import slow_but
from test_cli import accelsim

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "site"))
import build
from docstrings import entries, with_headings, with_products, with_tables

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
    "NO_MKDOCS_2_WARNING": "1",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("apart", slow_but([False], [False, True]))
@pytest.mark.parametrize(
    "page", sorted(SITE.rglob("*.md")), ids=lambda p: p.relative_to(SITE).as_posix()
)
def test_every_code_block_runs(page: Path, apart: bool, tmp_path: Path, monkeypatch: Any) -> None:
    """Python blocks of a page one after another, shell blocks each, YAML blocks as files; ``text``
    is not run.  What is one command of ours is a process only where it stands ``apart``.
    """
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    space: dict[str, Any] = {"__name__": "__main__"}
    for k, (kind, code) in enumerate(blocks(page)):
        assert kind in ("python", "sh", "yaml", "text"), (
            f"{page.name}: a block of no kind: {code[:60]}"
        )
        if kind == "python":
            exec(compile(code, f"{page.name} block {k + 1}", "exec"), space)
        elif kind == "sh" and not apart and re.fullmatch(r"accelsim [^\n|;&>$]*\n", code):
            here = accelsim(*shlex.split(code)[1:])
            assert here.code == 0, f"{page.name}: {code}\n{here.err}"
        elif kind == "sh":
            done = subprocess.run(
                ["bash", "-ec", code], capture_output=True, text=True, env=ENVIRONMENT
            )
            assert done.returncode == 0, f"{page.name}: {code}\n{done.stderr}"
        elif kind == "yaml":
            (tmp_path / f"block{k}.yaml").write_text(code)
            here = accelsim("validate", f"block{k}.yaml")
            assert here.code == 0, f"{page.name}: {code}\n{here.err}"


# -- what is made ----------------------------------------------------------------------------------


def test_every_key_of_every_file_has_a_row() -> None:
    """With its default or that it must be given, and a unit where its name ends in one."""
    text = build.formats()
    sections = dict(re.findall(r"^##+ (.*?)\n(.*?)(?=^##|\Z)", text, re.S | re.M))
    for kind in build.FORMATS:
        schema = json.loads((ROOT / "schemas" / f"{kind}.json").read_text())
        tables = {kind: schema} | {
            f"{name} ({kind})": part
            for name, part in schema.get("$defs", {}).items()
            if part.get("properties")
        }
        for title, table in tables.items():
            for key, value in table["properties"].items():
                row = next(x for x in sections[title].splitlines() if x.startswith(f"| `{key}` |"))
                cells = [x.strip() for x in re.split(r"(?<!\\)\|", row)[1:-1]]
                assert len(cells) == 5, row
                given = key in table.get("required", [])
                assert given == (cells[3] == "must be given"), row
                assert given or "default" not in value or cells[3].startswith("`"), row
                assert not key.endswith(("_bytes", "_bits", "_mhz", "_cycles")) or cells[2], row
                assert cells[4] or _is_told(key, value, sections[title]), (title, row)
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    titles = {re.sub(r"[()]", "", name).replace(" ", "-").lower() for name in sections}
    assert links and links <= titles


def _is_told(key: str, value: dict[str, Any], section: str) -> bool:
    """Whether the text above a table has a key, or all that it may be."""
    prose = "\n".join(x for x in section.splitlines() if not x.startswith("|"))
    named = re.search(rf"`{key}\b|`[^`\n]*\b{key}\b[^`\n]*`", prose) is not None
    return named or all(str(v) in prose for v in value.get("enum", [key + " is not told"]))


def test_docstrings_have_their_names_in_tables() -> None:
    text = "A level.\n\n``keeps``  tensors\n``port``   bits, or\n         none\n\nRaises."
    prose, told = entries(text)
    assert told == [("keeps", "tensors"), ("port", "bits, or none")]
    assert prose.split() == ["A", "level.", "Raises."]
    assert "| `port` | bits, or none |\n\nRaises." in with_tables(text)
    assert with_tables("no ``names`` here") == "no ``names`` here"


def test_prose_of_docstrings_stays_prose() -> None:
    """What stands indented under a line is no code: of every public name and method."""
    import accelsim as acc

    text = "All.\n\nWhat runs\n    ``a`` is\n    one.\n\n    And another.\n\nRaises."
    wanted = "All.\n\n**What runs**\n\n``a`` is\none.\n\nAnd another.\n\nRaises."
    assert with_headings(text) == wanted
    assert with_headings("No.\n\n- a list\n    of one") == "No.\n\n- a list\n    of one"
    for name in acc.__all__:
        thing = getattr(acc, name)
        own = (
            [thing, *(m for m in vars(thing).values() if inspect.isfunction(m))]
            if inspect.isclass(thing)
            else [thing]
        )
        for one in own if callable(thing) else ():
            shown = with_headings(with_tables(inspect.getdoc(one) or ""))
            assert not re.search(r"^\s*$\n^ {4,}\S", shown, re.M), (name, one)


def test_products_of_docstrings_keep_their_signs() -> None:
    """``N*G*M`` was shown as NGM with the G slanted."""
    import accelsim as acc

    text = "N*G*M, ``a*b*c``, *slanted*\n\n    2*3*4"
    assert with_products(text) == "N\\*G\\*M, ``a*b*c``, *slanted*\n\n    2*3*4"
    markdown = pytest.importorskip("markdown").markdown  # mkdocs' own
    shown = markdown(with_products(inspect.getdoc(acc.Problem) or ""))
    assert "N*G*M*C*E*F*R*S" in shown


def test_every_page_of_the_api_has_an_example() -> None:
    for page in SITE.glob("api/*.md"):
        assert any(kind == "python" for kind, _ in blocks(page)) or page.stem == "importers"


def test_every_dataflow_has_a_page() -> None:
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "dataflows").glob("*.yaml"):
        page = SITE / "dataflows" / f"{path.stem}.md"
        assert f"<!-- facts of {path.stem} -->" in page.read_text(encoding="utf-8")
        assert f"dataflows/{path.stem}.md" in listed
    assert "parallel-for" in build.dataflow_facts("row_stationary")


def test_pages_of_the_project_are_whole() -> None:
    """Each stands in the navigation; counting has its thirteen figures; pages that are named are
    linked; the glossary is ARCHITECTURE.md's.
    """
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name in build.PAGES:
        assert f" {name}.md" in listed, name
    figures = re.findall(r"!\[[^\]]+\]\((figures/\S+)\)", build.own_page(ROOT / "docs/counting.md"))
    assert len(figures) == 13 and all((ROOT / "docs" / f).exists() for f in figures)
    assert "[`docs/scalesim.md`](scalesim.md)" in build.own_page(ROOT / "docs" / "truth.md")
    assert "| residency |" in build.glossary() and "## The rooms" not in build.glossary()


def test_every_public_name_is_on_a_page_of_its_topic() -> None:
    import accelsim as acc

    topics = [re.findall(r"<!-- names of (\w+) -->", p.read_text()) for p in SITE.glob("api/*.md")]
    told = "\n".join(build.names_of(topic) for (topic,) in topics)
    for name in acc.__all__:
        if callable(getattr(acc, name)):
            assert re.search(rf"^::: accelsim\.\S+\.{name}$", told, re.M), name


def test_gallery_has_at_least_twelve() -> None:
    scripts = list(build.SCRIPTS.glob("*.py"))
    assert len(scripts) >= 12
    assert all(re.match(r'"""\S[^\n]*[.:?]\S?\n\n', p.read_text()) for p in scripts)


# -- the site --------------------------------------------------------------------------------------


def built(place: Path, **environment: str) -> Path:
    """The site with warnings as errors."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    command = [
        sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet",
        "--site-dir", str(place / "site"), "-f", str(ROOT / "mkdocs.yml"),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT | environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return place / "site"


@pytest.mark.slow
def test_site_builds_without_a_warning_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    site = built(tmp_path)
    pages = {p.relative_to(site).as_posix(): p.read_text() for p in site.rglob("*.html")}
    assert {"index.html", "formats.html", "gallery.html", "counting.html"} <= set(pages)
    for name, text in pages.items():
        tags = re.findall(r"<(?!a\b|meta\b)\w+[^>]*>", text)
        asked = [
            a
            for tag in tags
            for a in re.findall(r'(?:src|href|poster|data)="([^"#]+)', tag)
            if not a.startswith("data:")
        ]
        outside = [a for a in asked if a.startswith(("http", "//"))]
        assert not outside, (name, outside)
        missing = [a for a in asked if not (site / name).parent.joinpath(a).exists()]
        assert not missing or name.startswith(("404", "gallery/")), (name, missing)
    assert not [*site.rglob("*.py"), *site.rglob("*.pyc")], "what makes the site is no page of it"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\([\"']?(?:https?:)?//", sheet.read_text()), sheet.name
    for kind in build.FORMATS:
        assert f'<h2 id="{kind}">' in pages["formats.html"]
    assert len(re.findall(r'src="figures/counting_\w+\.svg"', pages["counting.html"])) == 13
    assert "simulate" in pages["api/results.html"]
    pictures = re.findall(r'src="(gallery/[^"]+)"', pages["gallery.html"])
    assert len(pictures) >= 12 and (site / "gallery" / "energy.png").stat().st_size > 5000
