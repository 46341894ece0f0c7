"""Pages that are made, not written, so that each sentence has one source: the project's own pages,
formats from the schemas, the glossary from ARCHITECTURE.md, facts of dataflows from the model,
names of the API from the package, the gallery by running its scripts.

An mkdocs hook (mkdocs.yml).  ``on_files`` adds pages; ``on_page_markdown`` fills in what a written
page leaves open:

    <!-- facts of NAME -->      a dataflow: its file, its loops, what it moves
    <!-- dataflows compared --> all that run one layer on one machine
    <!-- names of ROOM -->      what ``import accelsim`` gives from a room of the package

Pictures of the gallery take most of the time; with ACCELSIM_GALLERY=off in the environment the
gallery has its scripts only.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from docstrings import entries

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted(path.stem for path in (ROOT / "docs").glob("*.md")))
TEACHING = ROOT / "docs" / "teaching"
FORMATS = ("architecture", "dataflow", "workload", "mapping", "study")
UNITS = {  # by how a key ends; of two that fit the first
    "_pj_per_bit_mm": "pJ a bit and mm",
    "_pj_per_bit": "pJ a bit",
    "_mw_per_mm2": "mW a mm²",
    "_bytes": "bytes",
    "_cycles": "cycles",
    "_words": "words a cycle",
    "_mhz": "MHz",
    "_mw": "mW",
    "_um2": "µm²",
    "_bits": "bits",
}
OWN_UNITS = {  # where the ending does not say it
    ("Level", "partitions"): "bytes",
    ("Level", "port_bits"): "bits a cycle of the port",
    ("Network", "width_bits"): "bits a cycle",
    ("Array", "pipeline_stages"): "cycles",
    ("VectorUnit", "lanes"): "operations a cycle",
    ("study", "limit"): "seconds",
}
BITS = ("Bits",)  # every key is a width


def on_files(files: Any, config: Any) -> Any:
    """Add what is made."""
    from mkdocs.structure.files import File

    for name, content in made_pages().items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page leaves open."""
    markdown = re.sub(r"<!-- facts of (\w+) -->", lambda m: dataflow_facts(m[1]), markdown)
    markdown = re.sub(r"<!-- names of (\w+) -->", lambda m: names_of(m[1]), markdown)
    return re.sub(r"<!-- dataflows compared -->", lambda _: dataflows_compared(), markdown)


def made_pages() -> dict[str, str | bytes]:
    """Pages and pictures by their place on the site."""
    made: dict[str, str | bytes] = {
        f"{name}.md": own_page(ROOT / "docs" / f"{name}.md") for name in PAGES
    }
    made["course.md"] = own_page(ROOT / "docs" / "course" / "README.md")
    lessons = sorted(TEACHING.glob("*.md"))
    for path in lessons:
        name = "index" if path.stem == "README" else path.stem
        made[f"teaching/{name}.md"] = own_page(path, tuple(x.stem for x in lessons))
    made["formats.md"] = formats()
    made["glossary.md"] = glossary()
    made |= decks()
    with tempfile.TemporaryDirectory() as directory:
        made["gallery.md"] = gallery(Path(directory))
        for path in sorted(Path(directory).iterdir()):
            made[f"gallery/{path.name}"] = path.read_bytes()
    figures = ROOT / "docs" / "figures"
    for picture in sorted((*figures.rglob("*.png"), *figures.rglob("*.svg"))):
        made[picture.relative_to(ROOT / "docs").as_posix()] = picture.read_bytes()
    return made


# The project's own pages --------------------------------------------------------------------------

FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def own_page(path: Path, near: tuple[str, ...] = ()) -> str:
    """A page of the repository.  Links to what is on the site stay, others become text, and a page
    that is named (`docs/mapper.md`) becomes a link; pages ``near`` lie in the same folder.
    """
    parts = FENCE.split(path.read_text(encoding="utf-8"))
    return "".join(part if part.startswith("```") else _linked(part, near) for part in parts)


def _linked(text: str, near: tuple[str, ...]) -> str:
    up = "../" if near else ""
    elsewhere = ("http://", "https://", f"{up}figures/")

    def link(m: re.Match[str]) -> str:
        target = m[3].partition("#")[0]
        known = near if near and "/" not in target else PAGES
        here = target.startswith(elsewhere) or target == "" or Path(target).stem in known
        return m[0] if here else m[2]

    text = re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)
    names = "|".join(PAGES)
    text = re.sub(r"(?<!\[)`(decks/\w+\.html)`", r"[`\1`](\1)", text) if near else text
    return re.sub(rf"(?<!\[)`docs/({names})\.md`", rf"[`docs/\1.md`]({up}\1.md)", text)


def decks() -> dict[str, bytes]:
    """The slides of the lectures, drawn as docs/teaching/decks.py draws them."""
    sys.path.insert(0, str(TEACHING))
    from decks import LECTURES, deck

    return {
        f"teaching/decks/{name}.html": deck(title, pages).encode()
        for name, (title, pages) in LECTURES.items()
    }


def glossary() -> str:
    """The glossary of ARCHITECTURE.md, a page of its own."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## Glossary")[2].partition("\n## ")[0]
    return f"# Glossary\n{section}"


# Formats ------------------------------------------------------------------------------------------


def formats() -> str:
    """Every key of every kind of file with its unit and default, from its schema."""
    parts = [
        "# File formats",
        "Every file is YAML. `accelsim validate FILE` checks one and says in one line what is "
        "wrong and where; the schemas are "
        "in `schemas/` and come from `accelsim schema KIND`, for editors. A key without a default "
        "must be given.",
    ]
    for kind in FORMATS:
        schema = json.loads((ROOT / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
        parts += [f"## {kind}", *_keys(kind, schema, kind)]
        for name, part in schema.get("$defs", {}).items():
            if part.get("properties"):
                parts += [f"### {name} ({kind})", *_keys(name, part, kind)]
    return "\n\n".join(p for p in parts if p)


def _keys(name: str, schema: dict[str, Any], kind: str) -> list[str]:
    """What a table of a file of this kind is, and a row for each of its keys."""
    prose, told = entries(schema.get("description", ""))
    meanings = _shared(name) | _by_key(told)
    rows = ["| key | value | unit | default | what it is |", "|---|---|---|---|---|"]
    required = schema.get("required", [])
    for key, value in schema.get("properties", {}).items():
        default = (
            "must be given"
            if key in required
            else f"`{json.dumps(value['default'])}`"
            if "default" in value
            else "left out"
        )
        meaning = value.get("description") or meanings.get(key, "")
        cells = (f"`{key}`", _type(value, kind), unit(name, key), default, meaning)
        rows.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return [prose, "\n".join(rows)]


def _by_key(told: list[tuple[str, str]]) -> dict[str, str]:
    return {key.strip(): meaning for names, meaning in told for key in names.split(",")}


def _shared(name: str) -> dict[str, str]:
    """What keys mean that a table has from what all of its kind have: a node's name, a window's
    size.  It stands in the docstrings of the classes that its own is made from.
    """
    meanings: dict[str, str] = {}
    for base in reversed(_models().get(name, object).__mro__[1:]):
        if base.__module__.startswith("accelsim."):
            meanings |= _by_key(entries(base.__doc__ or "")[1])
    return meanings


@lru_cache(maxsize=1)
def _models() -> dict[str, type]:
    """The classes that files are read into, by name."""
    from pydantic import BaseModel

    import accelsim as acc

    acc.load_workload("alexnet")  # so that there are classes of all operators
    models, left = {}, [BaseModel]
    for model in left:
        left += model.__subclasses__()
        models[model.__name__] = model
    return models


def unit(name: str, key: str) -> str:
    """What a key's numbers are counted in; empty where it has none, or no number."""
    if (name, key) in OWN_UNITS:
        return OWN_UNITS[name, key]
    if name in BITS:
        return "bits"
    return next((text for ending, text in UNITS.items() if key.endswith(ending)), "")


def _type(value: dict[str, Any], kind: str) -> str:
    """What a key may be, with a link to the table that another table of the file is."""
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()}-{kind})"
    if "enum" in value:
        return ", ".join(f"`{v}`" for v in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    for many in ("anyOf", "oneOf"):
        if many in value:
            return " or ".join(dict.fromkeys(_type(v, kind) for v in value[many]))
    shape = value.get("type", "anything")
    if shape == "array":
        return f"list of {_type(value.get('items', {}), kind)}"
    if shape == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"table of {_type(value['additionalProperties'], kind)}"
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
    return ", ".join([names.get(str(shape), str(shape)), *limits])


def _cell(text: str) -> str:
    """Text for a cell of a table; backticks in pairs stay code."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


# Dataflows ----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _small() -> Any:
    import accelsim as acc

    return acc.Conv2d(name="small", M=8, C=4, H=12, W=12, R=3, S=3, padding=1)


def dataflow_facts(name: str) -> str:
    """A dataflow as it is: which machines run it, its file, and its loops on a small layer."""
    import accelsim as acc
    from accelsim.mapping.loops_text import show

    path = ROOT / "dataflows" / f"{name}.yaml"
    flow, text = acc.load_dataflow(name), path.read_text(encoding="utf-8")
    says = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    runs = {}
    for path in sorted((ROOT / "architectures").glob("*.yaml")):
        arch = acc.load_architecture(path.stem)
        try:
            loops = acc.choose(_small().problem(), arch, flow)
        except acc.MappingError:
            continue
        runs[path.stem] = acc.Nest(_small().problem(), arch, loops)
    first = "eyeriss" if "eyeriss" in runs else next(iter(runs))
    return "\n\n".join(
        [
            f"`{flow.short}` for short: {flow.description}. {says}",
            f"It runs on {', '.join(f'`{n}`' for n in runs)}.",
            "## The loops",
            f"Eight filters of 3x3x4 on a 12x12 ifmap, padded by one, on `{first}`, by the fixed "
            "rule; outermost first:",
            f"```text\n{show(runs[first])}\n```",
            "## The file",
            f"```yaml\n{''.join(t for t in text.splitlines(True) if not t.startswith('#'))}```",
            "## Run it",
            f"```text\naccelsim run alexnet --layer conv3 --arch {first} --dataflow {flow.short}\n"
            f"accelsim animate lenet5 --layer conv2 --arch {first} --dataflow {flow.short} "
            "-o film.html\n```",
        ]
    )


def dataflows_compared() -> str:
    """AlexNet's third layer on Eyeriss under every shipped dataflow that runs there."""
    import accelsim as acc

    rows = ["| dataflow | cycles | of them waiting | energy (MAC = 1) | DRAM words | GLB words |"]
    rows.append("|---|--:|--:|--:|--:|--:|")
    for path in sorted((ROOT / "dataflows").glob("*.yaml")):
        (row,) = acc.simulate("alexnet", "eyeriss", path.stem, layers=["conv3"]).rows
        told = row.columns
        if told.get("cycles") is None:
            continue
        waiting = sum(v for k, v in told.items() if re.fullmatch(r"stall_\w+_cycles", k) and v)
        words = [
            sum(told[f"{level}_{t}_{w}"] for t in ("weight", "ifmap", "ofmap") for w in _WAYS)
            for level in ("dram", "glb")
        ]
        name = path.stem.replace("_", " ")
        numbers = (told["cycles"], waiting, round(told["energy_mac"]), *words)
        cells = " | ".join(f"{n:,}".replace(",", "\u202f") for n in numbers)
        rows.append(f"| [{name}]({path.stem}.md) | {cells} |")
    return "\n".join(rows)


_WAYS = ("reads", "writes")


# API ----------------------------------------------------------------------------------------------


def names_of(room: str) -> str:
    """What the package gives by name from one of its rooms, for mkdocstrings to show."""
    import accelsim as acc

    parts = []
    for name in acc.__all__:
        found = getattr(acc, name)
        if str(getattr(found, "__module__", "")).startswith(f"accelsim.{room}."):
            parts.append(f"::: {found.__module__}.{name}")
    return "\n\n".join(parts)


# Gallery ------------------------------------------------------------------------------------------

SCRIPTS = Path(__file__).parent / "gallery"


def gallery(directory: Path) -> str:
    """Run every script of docs/site/gallery where its pictures are to be; its docstring is the
    text.
    """
    parts = ["# Gallery", "Each picture was made by the script above it when this site was built."]
    before = Path.cwd()
    try:
        os.chdir(directory)
        for script in sorted(SCRIPTS.glob("*.py"), key=lambda p: int(p.name.partition("_")[0])):
            parts += _shown(script, directory)
    finally:
        os.chdir(before)
    return "\n\n".join(parts)


def _shown(script: Path, directory: Path) -> list[str]:
    """A script's title, text, code, and what it made."""
    there = set(directory.iterdir())
    text = script.read_text(encoding="utf-8")
    _, doc, code = text.split('"""', 2)
    title, _, rest = doc.strip().partition("\n")
    if os.environ.get("ACCELSIM_GALLERY") != "off":
        runpy.run_path(str(script))
    parts = [f"## {title.rstrip('.')}", rest.strip(), f"```python\n{code.strip()}\n```"]
    for path in sorted(set(directory.iterdir()) - there):
        picture = path.suffix in (".png", ".svg")
        link = f"[Open {path.name}](gallery/{path.name})"
        parts.append(f"![{title.rstrip('.')}](gallery/{path.name})" if picture else link)
    return parts
