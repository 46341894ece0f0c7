"""A YAML file as plain data that knows where every key and value stands.

The YAML is plainer than YAML 1.2: one mapping of names to values, no anchors, aliases, tags or
directives, and no scalar that another YAML reader would take for something else (``yes``, ``010``,
``1_000``, ``1:30``).

``read_yaml`` is called by ``validation.load_model`` and by who needs the places themselves;
``YamlReader`` also reads single values of a command line.  ruamel is imported when a file is read,
so that ``accelsim --help`` stays quick.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.json_reading import begins_like_json, read_json
from accelsim.base.limits import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_JSON_BYTES,
    MAX_LINE,
    MAX_LINES,
    MAX_NODES,
    MAX_NUMBER,
    exact_number,
)
from accelsim.base.places import Steps, TextPlace
from accelsim.base.shipped import SINGULAR, existing, reason


@dataclass(frozen=True)
class YamlSource:
    """A file's plain data, and the place of every key in it."""

    file: str
    data: dict[str, Any]
    places: Mapping[Steps, TextPlace] = field(repr=False)


def read_yaml(path: str | os.PathLike[str], kind: str = "") -> YamlSource:
    """Plain data of a YAML file of at most 500 KB, or of JSON of at most 10 MB, with positions.
    Raises InputError if it is neither.
    """
    file, text = os.fspath(path), read_text(path)
    data, places = _document(text, file)
    if not isinstance(data, dict):
        what = SINGULAR.get(kind, kind) or "YAML"
        got = "nothing" if data is None else in_words(data)
        raise InputError(
            f"{_a(what)} file must be a mapping of keys to values",
            file=file,
            line=1,
            column=1,
            got=got,
        )
    return YamlSource(file, data, places)


def _document(text: str, file: str) -> tuple[Any, Mapping[Steps, TextPlace]]:
    if begins_like_json(text):
        try:
            return read_json(text, file)
        except json.JSONDecodeError as error:
            if len(text) > MAX_BYTES:
                raise InputError(
                    f"is not JSON ({error.msg.lower()}), as above {MAX_BYTES} bytes it must be",
                    file=file,
                    line=error.lineno,
                    column=error.colno,
                ) from None
        _check_text(text, file)
    reader = YamlReader(text, file)
    return reader.document(), reader.places


def _a(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def read_text(path: str | os.PathLike[str]) -> str:
    """A file's text, if it is UTF-8 of at most 500 KB without tabs, or up to 10 MB that begin like
    JSON.  Raises InputError.
    """
    file = os.fspath(path)
    raw = _read_bytes(Path(path), file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line, column = _position(raw[: e.start].decode("utf-8", "replace"))
        raise InputError(
            "must be UTF-8 text",
            file=file,
            line=line,
            column=column,
            got=f"byte {raw[e.start]:#04x}",
        ) from None
    if not begins_like_json(text):
        _check_text(text, file)
    return text


def _check_text(text: str, file: str) -> None:
    for bad, rule in (
        ("\0", "must be text, not binary"),
        ("\t", "tabs are not allowed, indent with spaces"),
    ):
        if bad in text:
            line, column = _position(text[: text.index(bad)])
            raise InputError(rule, file=file, line=line, column=column)
    _check_lines(text.split("\n"), file)


def _check_lines(lines: list[str], file: str) -> None:
    if len(lines) > MAX_LINES:
        raise InputError(
            f"must have at most {MAX_LINES} lines",
            file=file,
            line=MAX_LINES + 1,
            got=str(len(lines)),
        )
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise InputError(
                f"a line must have at most {MAX_LINE} characters",
                file=file,
                line=number,
                got=str(len(line)),
            )


def _read_bytes(path: Path, file: str) -> bytes:
    existing(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(
                "must be a file",
                file=file,
                got="a directory" if stat.S_ISDIR(mode) else "something else",
            )
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
            most = MAX_BYTES
            if len(raw) > MAX_BYTES and raw.startswith(b'{"'):
                most = MAX_JSON_BYTES
                raw += stream.read(most + 1 - len(raw))
    except OSError as e:
        raise InputError(reason(e), file=file) from None
    if len(raw) > most:
        raise InputError(f"must be at most {most} bytes", file=file, got="more")
    return raw


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class YamlReader:
    """Builds plain data from ruamel's events, which cannot recurse, alias or construct anything by
    themselves.

    ``places`` has every key's and value's place once ``document`` was called.  ``file`` and ``key``
    are named in errors; without a file they carry no line.
    """

    def __init__(self, text: str, file: str | None = None, key: str | None = None) -> None:
        self.text, self.file, self.key = text, file, key
        self.places: dict[Steps, TextPlace] = {}
        self.nodes = 0
        self.events = self._events()

    def document(self) -> Any:
        """The value of the only document; None if the text is empty.  Raises InputError."""
        first = next(self.events)
        if first.name == "StreamEndEvent":
            return None
        if first.event.version or first.event.tags:
            raise self._error("directives (%) are not allowed", first.at)
        value = self._node(next(self.events), ())
        next(self.events)  # the document's end
        after = next(self.events)
        if after.name != "StreamEndEvent":
            raise self._error("only one document is allowed", after.at)
        return value

    def _node(self, event: _YamlEvent, path: Steps, key_at: tuple[int, int] | None = None) -> Any:
        self._check(event, path)
        here = (
            key_at if key_at and not event.shown else event.at
        )  # ruamel places an empty value where it stopped looking
        self.places[path] = TextPlace(key_at or here, here, event.shown)
        if event.name == "MappingStartEvent":
            return self._mapping(path)
        if event.name == "SequenceStartEvent":
            return self._sequence(path)
        return self._value(event, path)

    def _mapping(self, path: Steps) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while (event := next(self.events)).name != "MappingEndEvent":
            key = self._key(event, path)
            if key in mapping:
                first = self.places[*path, key].key[0]
                raise self._error(f"is given twice, first on line {first}", event.at, (*path, key))
            mapping[key] = None
            mapping[key] = self._node(next(self.events), (*path, key), event.at)
        return mapping

    def _sequence(self, path: Steps) -> list[Any]:
        entries: list[Any] = []
        while (event := next(self.events)).name != "SequenceEndEvent":
            entries.append(self._node(event, (*path, len(entries))))
        return entries

    def _key(self, event: _YamlEvent, path: Steps) -> str:
        self._check(event, path)
        key = self._value(event, path) if event.name == "ScalarEvent" else None
        if not isinstance(key, str) or key in ("", "<<"):
            raise self._error("a key must be a name", event.at, path, event.shown or "nothing")
        return key

    def _check(self, event: _YamlEvent, path: Steps) -> None:
        self.nodes += 1
        if event.name == "AliasEvent" or event.event.anchor is not None:
            raise self._error(
                "anchors (&) and aliases (*) are not allowed, write the value out", event.at, path
            )
        if event.event.tag is not None:
            raise self._error("tags (!) are not allowed", event.at, path)
        if len(path) > MAX_DEPTH:
            raise self._error(f"must not be nested more than {MAX_DEPTH} deep", event.at)
        if self.nodes > MAX_NODES:
            raise self._error(f"must have at most {MAX_NODES} keys and values", event.at)

    def _value(self, event: _YamlEvent, path: Steps) -> Any:
        try:
            event.event.value.encode("utf-8")
            return yaml_scalar(event.event.value) if event.plain else event.event.value
        except UnicodeEncodeError:
            raise self._error("must be text without lone surrogates", event.at, path) from None
        except ValueError as e:
            raise self._error(str(e), event.at, path, event.shown) from None

    def _error(
        self, rule: str, at: tuple[int, int], path: Steps = (), got: str | None = None
    ) -> InputError:
        key = ".".join(part for part in (self.key, *map(str, path)) if part) or None
        if self.file is None:
            return InputError(rule, key=key, got=got)
        return InputError(rule, file=self.file, line=at[0], column=at[1], key=key, got=got)

    def _events(self) -> Iterator[_YamlEvent]:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError
        from ruamel.yaml.reader import ReaderError

        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                if type(event).__name__ != "StreamStartEvent":
                    yield _YamlEvent(event)
        except InputError:
            raise
        except MarkedYAMLError as e:
            mark = e.problem_mark or e.context_mark
            at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise self._error(f"is not YAML: {e.problem or e.context}", at) from None
        except ReaderError as e:
            raise self._error(
                f"character {ord(self.text[e.position]):#06x} is not allowed",
                _position(self.text[: e.position]),
            ) from None
        except Exception as e:  # a few malformed escapes make ruamel fail with a bare Python error
            raise self._error(f"is not YAML: {e}", (1, 1)) from None


class _YamlEvent:
    """A ruamel event with its name, its place (line, column) from 1, and its text as the user wrote
    it.
    """

    def __init__(self, event: Any) -> None:
        self.event = event
        self.name = type(event).__name__
        self.at = (event.start_mark.line + 1, event.start_mark.column + 1)

    @property
    def plain(self) -> bool:
        return self.event.style in (None, "")

    @property
    def shown(self) -> str:
        if self.name == "ScalarEvent":
            return str(self.event.value) if self.plain else f'"{self.event.value}"'
        return {"MappingStartEvent": "a mapping", "SequenceStartEvent": "a list"}.get(self.name, "")


_NULL = ("", "~", "null", "Null", "NULL")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# What readers of other YAML versions take for a boolean or a number of another value.
_OLD_BOOL = re.compile(r"yes|no|on|off", re.IGNORECASE)
_OLD_NUMBER = re.compile(
    r"[-+]?(0[0-9_]+(\.[0-9]*)?|0[box][0-9a-f_]+|[0-9][0-9_]*_[0-9_.]*|"
    r"[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?)",
    re.IGNORECASE,
)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)


def yaml_scalar(text: str) -> bool | int | float | str | None:
    """The value of an unquoted YAML scalar.  Raises ValueError with the rule if it is ambiguous,
    not finite or too large.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _OLD_BOOL.fullmatch(text):
        raise ValueError("must be true or false, or in quotes if it is a word")
    if _OLD_NUMBER.fullmatch(text):
        raise ValueError(
            "must be a decimal number without leading zeros, underscores or colons, or in quotes if"
            " it is a word"
        )
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("must be a finite number")
    if _INT.fullmatch(text):
        return exact_number(int(text) if len(text) < 20 else MAX_NUMBER + 1)
    if FLOAT.fullmatch(text):
        if not math.isfinite(number := float(text)):
            raise ValueError("must be a finite number")
        return number
    return text


def in_words(value: object) -> str:
    """A value as a message shows it, in YAML's words."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(in_words(v) for v in value[:20])}]"
    return (
        {True: "true", False: "false", None: "nothing"}[value]
        if value is None or isinstance(value, bool)
        else repr(value)
    )
