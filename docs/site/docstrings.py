"""Docstrings as the site shows them: lines that begin with a name and its meaning become a table,
a line with text indented below it becomes a heading, and products keep their signs.

    ``rows``  of the array
    ``cols``  beside them, and what does not
              fit into a line

``entries`` takes such lines out of a text; ``build.py`` gives them to the keys of file formats.
As a griffe extension (mkdocs.yml) ``Tables`` does all of it in the API's pages.
"""

from __future__ import annotations

import re
from typing import Any

try:
    from griffe import Extension
except ImportError:  # formats are made without it
    Extension = object

ENTRY = re.compile(r"^\s*(`+)([^`]+)\1\s{2,}(\S.*)$")


def entries(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The prose of a docstring, and (names, meaning) of each line that explains a name."""
    prose: list[str] = []
    told: list[tuple[str, str]] = []
    inside = False
    for line in text.splitlines():
        found = ENTRY.match(line)
        if found:
            told.append((found[2].strip(), found[3].strip()))
            inside = True
        elif inside and line.startswith(" ") and line.strip():
            names, meaning = told[-1]
            told[-1] = names, f"{meaning} {line.strip()}"
        else:
            inside = False
            prose.append(line)
    return "\n".join(prose).strip(), told


def with_tables(text: str) -> str:
    """A docstring with its explained names as a table, where the first of them stood."""
    lines, rows = [], 0
    told = dict(entries(text)[1])
    inside = False
    for line in text.splitlines():
        found = ENTRY.match(line)
        if found:
            if not inside:
                lines += ["", "| | |", "|---|---|"]
            names = ", ".join(f"`{name.strip()}`" for name in found[2].split(","))
            lines.append(f"| {names} | {_cell(told[found[2].strip()])} |")
            inside, rows = True, rows + 1
        elif inside and line.startswith(" ") and line.strip():
            continue
        else:
            inside = False
            lines.append(line)
    return "\n".join(lines) if rows else text


def with_headings(text: str) -> str:
    """A docstring whose lines with text indented below them are headings of that text; left as they
    are, the line would run into the text, and a second paragraph would be code.
    """
    given, lines, inside = ["", *text.splitlines(), ""], [], False
    for before, line, after in zip(given, given[1:], given[2:], strict=False):
        if re.match(r"[^\s|-]", line) and not before.strip() and after.startswith("    "):
            lines += [f"**{line.rstrip(':')}**", ""]
            inside = True
        elif inside and (line.startswith("    ") or not line.strip()):
            lines.append(line[4:])
        else:
            lines.append(line)
            inside = False
    return "\n".join(lines)


def with_products(text: str) -> str:
    """A docstring whose products, as N*G*M, keep their signs: Markdown took two for italics."""
    parts = re.split(r"(`+[^`]*`+|^ {4}.*$)", text, flags=re.M)  # code is left as it is
    parts[::2] = [re.sub(r"(?<=\w)\*(?=\w)", r"\\*", part) for part in parts[::2]]
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


class Tables(Extension):
    """Called by griffe with every object it reads."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the object's docstring."""
        if obj.docstring is not None:
            text = with_headings(with_tables(obj.docstring.value))
            obj.docstring.value = with_products(text)
