"""Pages that are made, not written: formats from the schemas, the API from docstrings, the gallery
by running its scripts.

An mkdocs hook.  The project's own pages (docs/*.md) are taken as they are, with links to what is
not on the site turned into plain text.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = (
    "truth",
    "design",
    "counting",
    "time",
    "networks",
    "importing",
    "decisions",
    "timeloop",
    "scalesim",
)
FORMATS = ("architecture", "dataflow", "workload", "mapping", "study")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made."""
    made: dict[str, str | bytes] = {
        f"{name}.md": _page(ROOT / "docs" / f"{name}.md") for name in PAGES
    }
    made["course.md"] = _page(ROOT / "docs" / "course" / "README.md")
    made["formats.md"] = formats()
    made["api.md"] = api()
    with tempfile.TemporaryDirectory() as directory:
        made["gallery.md"] = gallery(Path(directory))
        for path in sorted(Path(directory).iterdir()):
            made[f"gallery/{path.name}"] = path.read_bytes()
    for picture in sorted((ROOT / "docs" / "figures").rglob("*.png")):
        made[picture.relative_to(ROOT / "docs").as_posix()] = picture.read_bytes()
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def _page(path: Path) -> str:
    """A page of the repository; links to pages and pictures of the site stay, others become
    text.
    """

    def link(m: re.Match[str]) -> str:
        target = m[3].partition("#")[0]
        here = (
            target.startswith(("http://", "https://", "figures/"))
            or target == ""
            or Path(target).stem in PAGES
        )
        return m[0] if here else m[2]

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, path.read_text(encoding="utf-8"))


# Formats ------------------------------------------------------------------------------------------


def formats() -> str:
    """Every key of every kind of file, from its schema."""
    parts = [
        "# File formats",
        "Every file is YAML. `accelsim validate FILE` checks one and says in one line what is "
        "wrong and where; the schemas are "
        "in `schemas/` and come from `accelsim schema KIND`, for editors. A key without a default "
        "must be given.",
    ]
    for kind in FORMATS:
        schema = json.loads((ROOT / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
        parts += [f"## {kind}", _cell(schema.get("description", ""))]
        parts.append(_keys(schema))
        for name, part in schema.get("$defs", {}).items():
            if part.get("properties"):
                parts += [f"### {name} ({kind})", _cell(part.get("description", "")), _keys(part)]
    return "\n\n".join(p for p in parts if p)


def _keys(schema: dict[str, Any]) -> str:
    said = any(v.get("description") for v in schema.get("properties", {}).values())
    rows = [
        "| key | value | default |" + (" |" if said else ""),
        "|---|---|---|" + ("---|" if said else ""),
    ]
    required = schema.get("required", [])
    for key, value in schema.get("properties", {}).items():
        default = (
            "must be given"
            if key in required
            else f"`{json.dumps(value['default'])}`"
            if "default" in value
            else ""
        )
        rows.append(
            f"| `{key}` | {_type(value)} | {_cell(default)} |"
            + (f" {_cell(value.get('description', ''))} |" if said else "")
        )
    return "\n".join(rows) if len(rows) > 2 else ""


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "enum" in value:
        return ", ".join(f"`{v}`" for v in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    for many in ("anyOf", "oneOf"):
        if many in value:
            return " or ".join(dict.fromkeys(_type(v) for v in value[many]))
    kind = value.get("type", "anything")
    if kind == "array":
        return f"list of {_type(value.get('items', {}))}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"table of {_type(value['additionalProperties'])}"
    limits = [
        f"{word} {value[key]:g}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
        )
        if key in value
    ]
    names = {
        "integer": "whole number",
        "string": "text",
        "boolean": "true or false",
        "null": "nothing",
        "object": "table",
    }
    return _cell(", ".join([names.get(str(kind), str(kind)), *limits]))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# API ----------------------------------------------------------------------------------------------


def api() -> str:
    """Every name of the package with its signature and docstring."""
    import accelsim as acc

    parts = [
        "# Python API",
        "`import accelsim as acc`; each name loads what it needs when it is first used.",
    ]
    for name in sorted(acc.__all__, key=str.lower):
        found = getattr(acc, name)
        if not callable(found):
            continue
        parts += [f"## {name}", f"```text\n{_signature(name, found)}\n```", _doc(found)]
        if inspect.isclass(found) and not issubclass(found, Exception):
            for member, value in sorted(vars(found).items()):
                function = value.fget if isinstance(value, property) else value
                if not member.startswith("_") and inspect.isfunction(function) and function.__doc__:
                    call = (
                        f"{name}.{member}"
                        if isinstance(value, property)
                        else _signature(f"{name}.{member}", function)
                    )
                    parts += [f"```text\n{call}\n```", _doc(function)]
    return "\n\n".join(parts)


def _signature(name: str, found: Any) -> str:
    try:
        return f"{name}{inspect.signature(found)}".replace("typing.", "")
    except (TypeError, ValueError):
        return name


def _doc(found: Any) -> str:
    return (inspect.getdoc(found) or "").replace("``", "`").replace("<", "&lt;")


# Gallery ------------------------------------------------------------------------------------------


def gallery(directory: Path) -> str:
    """Run every script of docs/site/gallery where its pictures are to be; its docstring is the
    text.
    """
    parts = ["# Gallery", "Each picture was made by the script above it when this site was built."]
    before = Path.cwd()
    try:
        os.chdir(directory)
        for script in sorted((Path(__file__).parent / "gallery").glob("*.py")):
            there = set(directory.iterdir())
            text = script.read_text(encoding="utf-8")
            space = runpy.run_path(str(script))
            title, _, rest = str(space["__doc__"]).strip().partition("\n")
            parts += [
                f"## {title.rstrip('.')}",
                rest.strip(),
                f"```python\n{text.partition(chr(34) * 3 + chr(10))[2].strip()}\n```",
            ]
            for path in sorted(set(directory.iterdir()) - there):
                shown = (
                    f"![{title}](gallery/{path.name})"
                    if path.suffix == ".png"
                    else f"[Open {path.name}](gallery/{path.name})"
                )
                parts.append(shown)
    finally:
        os.chdir(before)
    return "\n\n".join(parts)
