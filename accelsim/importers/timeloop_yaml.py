"""YAML as Timeloop's front end takes it: anchors and aliases, merge keys, tags, and other files put
in by ``{{include_text('FILE')}}``.

``timeloop`` reads a problem with it.  ``<<`` puts a mapping's keys in where they are not given,
``<<<`` does so in the mappings inside, too.  What an alias stands for counts as often as it is
used, so that a small file cannot become a large one.  A scalar that other YAML readers would take
for something else (``yes``, ``010``) stays text: these files have much that is not for us.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_BYTES, MAX_DEPTH, MAX_LINES, MAX_NODES
from accelsim.base.places import Steps, TextPlace
from accelsim.base.yaml_reading import YamlReader
from accelsim.importers.network_builder import read_text

MAX_INCLUDED = 20  # files, one in another
_INCLUDE = re.compile(r"""\s*\{\{-?\s*include_text\(\s*(["'])(.+?)\1\s*\)\s*-?\}\}\s*""")
_TEMPLATE = re.compile(r"\{[{%#]")
MERGES = ("<<", "<<<")


@dataclass
class TimeloopText:
    """A file with what it includes, and where each line is from."""

    lines: list[str] = field(default_factory=list)
    origins: list[tuple[str, int]] = field(default_factory=list)
    size: int = 0

    @classmethod
    def of(cls, file: str | os.PathLike[str]) -> TimeloopText:
        """The text of a file.  Raises InputError with the file and line that is wrong."""
        text = cls()
        text._read(Path(file), ())
        return text

    def _read(self, file: Path, inside: tuple[Path, ...]) -> None:
        text = read_text(file, MAX_BYTES)
        self.size += len(text)
        for number, line in enumerate(text.split("\n"), 1):
            if include := _INCLUDE.fullmatch(line):
                named = Path(include[2])
                inner = (file.parent / named).resolve()
                why = ""
                if named.is_absolute() or named.suffix.lower() not in (".yaml", ".yml"):
                    why = "must be a YAML file, named from the folder of this one"
                elif inner in inside or len(inside) >= MAX_INCLUDED:
                    why = "must not include itself"
                elif self.size > MAX_BYTES:
                    why = f"must have at most {MAX_BYTES} bytes together"
                elif not inner.is_file():
                    why = "there is no such file to include"
                if why:
                    raise InputError(why, file=file, line=number, column=1, got=include[2][:80])
                self._read(file.parent / named, (*inside, inner))
                continue
            if _TEMPLATE.search(line.split("#")[0]) and not line.lstrip().startswith("#"):
                raise InputError(
                    "of templates only {{include_text('FILE')}}, on a line of its own, can be read",
                    file=file,
                    line=number,
                    column=1,
                    got=line.strip()[:60],
                )
            self.lines.append(line)
            self.origins.append((os.fspath(file), number))
            if len(self.lines) > MAX_LINES:
                raise InputError(f"must have at most {MAX_LINES} lines together", file=file)

    def origin(self, line: int) -> tuple[str, int]:
        """The file and line that a line of the whole text is from."""
        return self.origins[min(max(line, 1), len(self.origins)) - 1]


class TimeloopReader(YamlReader):
    """The reader of ``TimeloopText``; ``places`` count the lines of the whole text."""

    def __init__(self, text: TimeloopText) -> None:
        super().__init__("\n".join(text.lines), text.origins[0][0])
        self.whole = text
        self.anchored: dict[str, tuple[Any, int]] = {}

    def _node(self, event: Any, path: Steps, key_at: tuple[int, int] | None = None) -> Any:
        if event.name == "AliasEvent":
            self._check(event, path)
            name = str(event.event.anchor)
            if name not in self.anchored:
                raise self._error("there is no such anchor (&)", event.at, path, name[:40])
            value, size = self.anchored[name]
            self._count(size, event.at)
            self.places[path] = TextPlace(key_at or event.at, event.at, f"*{name}")
            return value
        before = self.nodes
        value = super()._node(event, path, key_at)
        if (anchor := getattr(event.event, "anchor", None)) is not None:
            self.anchored[str(anchor)] = (value, self.nodes - before)
        return value

    def _mapping(self, path: Steps) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[tuple[str, Any]] = []
        while (event := next(self.events)).name != "MappingEndEvent":
            key = self._key(event, path)
            if key in own:
                raise self._error("is given twice", event.at, (*path, key))
            value = self._node(next(self.events), (*path, key), event.at)
            if key not in MERGES:
                own[key] = value
                continue
            sources = value if isinstance(value, list) else [value]
            if not all(isinstance(source, dict) for source in sources):
                raise self._error("must be mappings to put in here", event.at, (*path, key))
            merged += [(key, source) for source in sources]
        for key, source in merged:  # the first has precedence
            own = put_in(source, own, deep=key == "<<<")
        return own

    def _key(self, event: Any, path: Steps) -> str:
        self._check(event, path)
        key = event.event.value if event.name == "ScalarEvent" else None
        if not isinstance(key, str) or not key:
            raise self._error("a key must be a name", event.at, path, event.shown or "nothing")
        return key

    def _check(self, event: Any, path: Steps) -> None:
        self._count(1, event.at)
        if len(path) > MAX_DEPTH:
            raise self._error(f"must not be nested more than {MAX_DEPTH} deep", event.at)

    def _count(self, more: int, at: tuple[int, int]) -> None:
        self.nodes += more
        if self.nodes > MAX_NODES:
            raise self._error(f"must have at most {MAX_NODES} keys and values", at)

    def _value(self, event: Any, path: Steps) -> Any:
        try:
            return super()._value(event, path)
        except InputError:
            return str(event.event.value)

    def _error(
        self, rule: str, at: tuple[int, int], path: Steps = (), got: str | None = None
    ) -> InputError:
        file, line = self.whole.origin(at[0])
        key = ".".join(map(str, path)) or None
        return InputError(rule, file=file, line=line, column=at[1], key=key, got=got)


def put_in(source: Mapping[str, Any], own: Mapping[str, Any], deep: bool) -> dict[str, Any]:
    """``own`` with the keys of ``source`` that it has not; ``deep``: in the mappings that both
    have, too.
    """
    whole = dict(source) | dict(own)
    if deep:
        for key in source.keys() & own.keys():
            if isinstance(source[key], Mapping) and isinstance(own[key], Mapping):
                whole[key] = put_in(source[key], own[key], deep)
    return whole
