"""Files: where the shipped YAML lies, and how a file or an override becomes a validated model or one clear line.

The bottom of the import chain: nothing of accelsim is imported here, and pydantic and ruamel only when
they are used, so that ``accelsim --help`` stays quick.

The YAML is plainer than YAML 1.2: one mapping of names to values, no anchors, aliases, tags or directives,
and no scalar that another YAML reader would take for something else (``yes``, ``010``, ``1_000``, ``1:30``).
"""

from __future__ import annotations

import copy
import difflib
import io
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, cast, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    Model = TypeVar("Model", bound=BaseModel)

SINGULAR = {"workloads": "workload", "dataflows": "dataflow", "architectures": "architecture", "mappings": "mapping"}
SUFFIXES = (".yaml", ".yml")

# Limits that keep every answer under 2 s and 300 MB; the largest real file is far below them.
MAX_BYTES = 500_000
MAX_LINES = 20_000
MAX_LINE = 10_000
MAX_NODES = 40_000
MAX_DEPTH = 20
MAX_LISTED = 16  # choices in a message
MAX_NUMBER = 2**53  # integers up to here are exact everywhere, JSON and float64 included

Steps = tuple[str | int, ...]


class InputError(ValueError):
    """Bad input, as one line: ``FILE:LINE:COL: key: rule, got X; nearest: Y``.  Unknown parts are left out.

    ``got`` is text as the user wrote it.  ``choices`` are the valid names; the line gives the nearest ones, or all
    if few and none is near.  ``line`` and ``column`` count from 1.
    """

    def __init__(
        self,
        rule: str,
        *,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
        column: int | None = None,
        key: str | None = None,
        got: str | None = None,
        choices: Iterable[str] = (),
    ) -> None:
        self.rule, self.file, self.line, self.column, self.key, self.got = rule, file, line, column, key, got
        every = tuple(choices)
        self.nearest = nearest(got, every) if got is not None else ()
        place = ":".join(str(part) for part in (file, line, column) if part is not None)
        text = ": ".join(one_line(part, limit) for part, limit in ((place, 5000), (key, 100), (rule, 300)) if part)
        if got is not None:
            text += f", got {one_line(got, 60)}"
        if self.nearest:
            text += f"; nearest: {one_line(', '.join(self.nearest), 200)}"
        elif 0 < len(every) <= MAX_LISTED:
            text += f"; choices: {one_line(', '.join(every), 200)}"
        super().__init__(text)


def nearest(word: str, choices: Iterable[str]) -> tuple[str, ...]:
    """At most three of ``choices`` that ``word`` may have meant, the nearest first; case, ``-`` and ``_`` do not count."""
    folded = {_fold(choice): choice for choice in choices}
    return tuple(folded[match] for match in difflib.get_close_matches(_fold(word[:80]), folded, n=3, cutoff=0.55))


def _fold(word: str) -> str:
    return word.strip().lower().replace("-", "_")


def one_line(text: str, limit: int = 5000) -> str:
    """Text without anything that would break a line or upset a terminal, cut to ``limit`` characters."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


# Where files lie -------------------------------------------------------------------------------------------------


def data_dirs(kind: str) -> Path:
    """The folder of the shipped files of ``kind`` (workloads, dataflows, architectures, mappings); it need not exist.

    Inside the package in an installed wheel; beside it in a checkout, which is also what an editable install reads.
    """
    package = Path(__file__).resolve().parent
    inside = package / kind
    return inside if (package / "workloads").is_dir() else package.parent / kind


def names(kind: str) -> list[str]:
    """The shipped names of ``kind``, sorted."""
    return sorted(path.stem for path in data_dirs(kind).glob("*.yaml"))


def resolve(kind: str, name_or_path: str | os.PathLike[str]) -> Path:
    """The file meant by a path (it has a separator or ends in .yaml or .yml) or by a shipped name.

    Hyphens, underscores and case do not matter in a name, and a dataflow also goes by its ``short`` name.
    Raises InputError if there is none.
    """
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, os.PathLike) or text.endswith(SUFFIXES) or "/" in text or os.sep in text:
        return _existing(Path(text), names(kind))
    known = _shipped(kind, data_dirs(kind))
    if _fold(text) in known:
        return known[_fold(text)]
    raise InputError("must be a shipped name or a .yaml file", key=SINGULAR.get(kind, kind), got=text or "nothing", choices=names(kind))


@cache
def _shipped(kind: str, folder: Path) -> dict[str, Path]:
    known: dict[str, Path] = {}
    for path in sorted(folder.glob("*.yaml")):
        known[_fold(path.stem)] = path
        short = re.search(r"^short: *(\S+) *$", path.read_text(encoding="utf-8"), re.MULTILINE) if kind == "dataflows" else None
        if short:
            known.setdefault(_fold(short[1]), path)
    return known


def _existing(path: Path, shipped: Sequence[str] = ()) -> Path:
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError("no such file", file=path, choices=nearest(path.name, [*_siblings(path), *shipped])) from None
    except (OSError, ValueError) as e:
        raise InputError(_reason(e), file=path) from None
    return path


def _siblings(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir() if p.suffix in SUFFIXES][:1000]
    except (OSError, ValueError):
        return []


def _reason(error: Exception) -> str:
    return f"cannot be read ({(getattr(error, 'strerror', None) or str(error)).lower()})"


# Reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a key and its value stand, (line, column) from 1, and the value as written."""

    key: tuple[int, int]
    value: tuple[int, int]
    text: str


@dataclass(frozen=True)
class Source:
    """A file's plain data, and the place of every key in it."""

    file: str
    data: dict[str, Any]
    places: dict[Steps, Place] = field(repr=False)


def load(
    path: str | os.PathLike[str],
    model: type[Model],
    kind: str,
    overrides: Mapping[str, object] | None = None,
    from_text: bool = False,
) -> Model:
    """Read a YAML file into ``model``; ``kind`` is named in messages, ``overrides`` as in ``apply_overrides``.

    Raises InputError for whatever is wrong with the file, its contents or the overrides.
    """
    source = read(path, kind)
    data = apply_overrides(source.data, overrides, model, from_text) if overrides else source.data
    return validate(data, model, kind, source, tuple(overrides or ()))


def read(path: str | os.PathLike[str], kind: str = "") -> Source:
    """Plain data of a YAML file of at most 500 KB, with positions.  Raises InputError if it is not that."""
    file, text = os.fspath(path), read_text(path)
    reader = _Reader(text, file)
    data = reader.document()
    if not isinstance(data, dict):
        what = SINGULAR.get(kind, kind) or "YAML"
        got = "nothing" if data is None else _shown(data)
        raise InputError(f"{_a(what)} file must be a mapping of keys to values", file=file, line=1, column=1, got=got)
    return Source(file, data, reader.places)


def _a(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def read_text(path: str | os.PathLike[str]) -> str:
    """A file's text, if it is UTF-8 of at most 500 KB without tabs.  Raises InputError."""
    file = os.fspath(path)
    raw = _read_bytes(Path(path), file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line, column = _position(raw[: e.start].decode("utf-8", "replace"))
        raise InputError("must be UTF-8 text", file=file, line=line, column=column, got=f"byte {raw[e.start]:#04x}") from None
    for bad, rule in (("\0", "must be text, not binary"), ("\t", "tabs are not allowed, indent with spaces")):
        if bad in text:
            line, column = _position(text[: text.index(bad)])
            raise InputError(rule, file=file, line=line, column=column)
    _check_lines(text.split("\n"), file)
    return text


def _check_lines(lines: list[str], file: str) -> None:
    if len(lines) > MAX_LINES:
        raise InputError(f"must have at most {MAX_LINES} lines", file=file, line=MAX_LINES + 1, got=str(len(lines)))
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise InputError(f"a line must have at most {MAX_LINE} characters", file=file, line=number, got=str(len(line)))


def _read_bytes(path: Path, file: str) -> bytes:
    _existing(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError("must be a file", file=file, got="a directory" if stat.S_ISDIR(mode) else "something else")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as e:
        raise InputError(_reason(e), file=file) from None
    if len(raw) > MAX_BYTES:
        raise InputError(f"must be at most {MAX_BYTES} bytes", file=file, got="more")
    return raw


def _position(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class _Reader:
    """Builds plain data from ruamel's events, which cannot recurse, alias or construct anything by themselves."""

    def __init__(self, text: str, file: str | None = None, key: str | None = None) -> None:
        self.text, self.file, self.key = text, file, key
        self.places: dict[Steps, Place] = {}
        self.nodes = 0
        self.events = self._events()

    def document(self) -> Any:
        """The value of the only document; None if the text is empty."""
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

    def _node(self, event: _Event, path: Steps, key_at: tuple[int, int] | None = None) -> Any:
        self._check(event, path)
        here = key_at if key_at and not event.shown else event.at  # ruamel places an empty value where it stopped looking
        self.places[path] = Place(key_at or here, here, event.shown)
        if event.name == "MappingStartEvent":
            return self._mapping(path)
        if event.name == "SequenceStartEvent":
            return self._sequence(path)
        return self._value(event, path)

    def _mapping(self, path: Steps) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while (event := next(self.events)).name != "MappingEndEvent":
            key = self._key(event, path)
            if key in out:
                first = self.places[*path, key].key[0]
                raise self._error(f"is given twice, first on line {first}", event.at, (*path, key))
            out[key] = None
            out[key] = self._node(next(self.events), (*path, key), event.at)
        return out

    def _sequence(self, path: Steps) -> list[Any]:
        out: list[Any] = []
        while (event := next(self.events)).name != "SequenceEndEvent":
            out.append(self._node(event, (*path, len(out))))
        return out

    def _key(self, event: _Event, path: Steps) -> str:
        self._check(event, path)
        key = self._value(event, path) if event.name == "ScalarEvent" else None
        if not isinstance(key, str) or key in ("", "<<"):
            raise self._error("a key must be a name", event.at, path, event.shown or "nothing")
        return key

    def _check(self, event: _Event, path: Steps) -> None:
        self.nodes += 1
        if event.name == "AliasEvent" or event.event.anchor is not None:
            raise self._error("anchors (&) and aliases (*) are not allowed, write the value out", event.at, path)
        if event.event.tag is not None:
            raise self._error("tags (!) are not allowed", event.at, path)
        if len(path) > MAX_DEPTH:
            raise self._error(f"must not be nested more than {MAX_DEPTH} deep", event.at)
        if self.nodes > MAX_NODES:
            raise self._error(f"must have at most {MAX_NODES} keys and values", event.at)

    def _value(self, event: _Event, path: Steps) -> Any:
        try:
            event.event.value.encode("utf-8")
            return scalar(event.event.value) if event.plain else event.event.value
        except UnicodeEncodeError:
            raise self._error("must be text without lone surrogates", event.at, path) from None
        except ValueError as e:
            raise self._error(str(e), event.at, path, event.shown) from None

    def _error(self, rule: str, at: tuple[int, int], path: Steps = (), got: str | None = None) -> InputError:
        key = ".".join(part for part in (self.key, *map(str, path)) if part) or None
        if self.file is None:
            return InputError(rule, key=key, got=got)
        return InputError(rule, file=self.file, line=at[0], column=at[1], key=key, got=got)

    def _events(self) -> Iterator[_Event]:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError
        from ruamel.yaml.reader import ReaderError

        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                if type(event).__name__ != "StreamStartEvent":
                    yield _Event(event)
        except InputError:
            raise
        except MarkedYAMLError as e:
            mark = e.problem_mark or e.context_mark
            at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise self._error(f"is not YAML: {e.problem or e.context}", at) from None
        except ReaderError as e:
            raise self._error(f"character {ord(self.text[e.position]):#06x} is not allowed", _position(self.text[: e.position])) from None
        except Exception as e:  # a few malformed escapes make ruamel fail with a bare Python error
            raise self._error(f"is not YAML: {e}", (1, 1)) from None


class _Event:
    """A ruamel event with its name, its place (line, column) from 1, and its text as the user wrote it."""

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
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# What readers of other YAML versions take for a boolean or a number of another value.
_OLD_BOOL = re.compile(r"yes|no|on|off", re.IGNORECASE)
_OLD_NUMBER = re.compile(
    r"[-+]?(0[0-9_]+(\.[0-9]*)?|0[box][0-9a-f_]+|[0-9][0-9_]*_[0-9_.]*|[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?)", re.IGNORECASE
)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)


def scalar(text: str) -> bool | int | float | str | None:
    """The value of an unquoted YAML scalar.  Raises ValueError with the rule if it is ambiguous, not finite or too large."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _OLD_BOOL.fullmatch(text):
        raise ValueError("must be true or false, or in quotes if it is a word")
    if _OLD_NUMBER.fullmatch(text):
        raise ValueError("must be a decimal number without leading zeros, underscores or colons, or in quotes if it is a word")
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("must be a finite number")
    if _INT.fullmatch(text):
        return _exact(int(text) if len(text) < 20 else MAX_NUMBER + 1)
    if _FLOAT.fullmatch(text):
        if not math.isfinite(number := float(text)):
            raise ValueError("must be a finite number")
        return number
    return text


def _exact(number: int) -> int:
    if abs(number) > MAX_NUMBER:
        raise ValueError("must be a number of at most 2^53")
    return number


# Validating ------------------------------------------------------------------------------------------------------


def validate(
    data: dict[str, Any], model: type[Model], kind: str = "", source: Source | None = None, overridden: Sequence[str] = ()
) -> Model:
    """``data`` as a ``model``.  Raises InputError for the first thing wrong, with its place if ``source`` has it.

    ``overridden`` are the dotted keys that did not come from the file; errors there carry no line.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise _first_error(e, data, model, kind, source, overridden) from None


_RULES = {
    "missing": "must be given",
    "extra_forbidden": "no such key",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be {expected_tags}",
}
# Rules whose text speaks of a whole mapping and says itself what was got.
_WHOLE = ("value_error", "assertion_error")


def _first_error(
    error: ValidationError, data: dict[str, Any], model: type[Any], kind: str, source: Source | None, overridden: Sequence[str]
) -> InputError:
    found = min((_Found(e, data) for e in error.errors(include_url=False)), key=lambda f: f.rank(source))
    key = ".".join(_key_steps(data, found.path))
    place = _place(found.path, source)
    if any(key == o or key.startswith(o + ".") for o in overridden):
        place = None
    line, column = (None, None) if place is None else (place.key if found.about_key else place.value)
    rule, got, choices = found.rule(), found.got(place), found.choices(model)
    if below := [o for o in overridden if found.whole and o.startswith(f"{key}." if key else "")]:
        rule += f" (overridden: {', '.join(below)})"
    if not key and got is None and not found.whole:
        key = SINGULAR.get(kind, kind)
    return InputError(rule, file=source.file if source else None, line=line, column=column, key=key, got=got, choices=choices)


class _Found:
    """One of pydantic's errors, related to the data it is about."""

    def __init__(self, error: Any, data: Any) -> None:
        self.error, self.type, self.input = error, str(error["type"]), error["input"]
        self.context = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in error.get("ctx", {}).items()}
        self.loc = tuple(error["loc"])
        self.whole = self.type in _WHOLE and (isinstance(self.input, dict) or not self.loc)
        self.text = error["msg"].split(", ", 1)[-1] if self.type in _WHOLE else ""
        self.path = _data_steps(data, self.loc)
        if self.type == "missing":
            self.path = (*self.path, self.loc[-1])
        if self.type == "union_tag_invalid":
            self.path = (*self.path, "type")
        if self.whole:
            self._follow(data)
        self.about_key = self.type in ("missing", "extra_forbidden") or self.whole or self.loc[-1:] == ("[key]",)

    def _follow(self, data: Any) -> None:
        """A model's own message may begin with the dotted key it is about: go there as far as the data do."""
        head, colon, rest = self.text.partition(": ")
        for step in self.path:
            data = (_entry(data, step) or (None,))[0]
        if colon and (steps := _dotted(data, head)):
            self.path, self.text = (*self.path, *steps), rest

    def rank(self, source: Source | None) -> tuple[int, tuple[int, int]]:
        """A misspelt key comes before what it leaves missing, a bad entry before the list it leaves short; else as in the file."""
        place = _place(self.path, source)
        order = {"extra_forbidden": 0, "missing": 2, "too_short": 3}.get(self.type, 1)
        return order, place.key if place else (0, 0)

    def rule(self) -> str:
        if self.type in _WHOLE:
            return self.text
        if self.type == "too_short" and self.context["min_length"] == 1:
            return "must not be empty"
        template = _RULES.get(self.type)
        rule = template.format(**self.context) if template else self.error["msg"][:1].lower() + self.error["msg"][1:]
        if self.type == "string_type" and isinstance(self.input, (int, float)):
            rule += " (in quotes)"
        if self.type in ("int_type", "float_type") and isinstance(self.input, str) and _FLOAT.fullmatch(self.input):
            rule += " without quotes"
        return rule

    def got(self, place: Place | None) -> str | None:
        if self.type == "missing" or self.whole or "got " in self.text:
            return None
        if self.about_key:
            return str(self.path[-1])
        if self.type == "union_tag_invalid":
            return str(self.context["tag"])
        return _shown(self.input) if place is None or isinstance(self.input, (list, tuple)) else place.text or "nothing"

    def choices(self, model: type[Any]) -> list[str]:
        if self.type == "extra_forbidden":
            return [key for spot in _spots(model, self.loc[:-1]) for key in _keys(spot)]
        return re.findall(r"'([^']*)'", str(self.context.get("expected", self.context.get("expected_tags", ""))))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_shown(v) for v in value[:20])}]"
    return {True: "true", False: "false", None: "nothing"}[value] if value is None or isinstance(value, bool) else repr(value)


def _data_steps(data: Any, loc: Steps) -> Steps:
    """The part of pydantic's location that is in the data; it also names union members, which are not."""
    path: Steps = ()
    for step in loc:
        if (below := _entry(data, step)) is not None:
            data, path = below[0], (*path, step)
    return path


def _dotted(data: Any, text: str) -> Steps | None:
    """The keys and indices that a dotted key names, as far as the data go; keys may have dots.  None if it names none."""
    if isinstance(data, dict):
        keys: Iterable[str | int] = data
    elif isinstance(data, (list, tuple)):
        keys = range(len(data))
    else:
        return ()
    for key in keys:
        if text == str(key):
            return (key,)
        if text.startswith(f"{key}.") and (below := _dotted(data[key], text[len(str(key)) + 1 :])) is not None:
            return (key, *below)
    return None


def _entry(data: Any, step: str | int) -> tuple[Any] | None:
    """What stands at a key or index, in a tuple of one; None if there is no such thing."""
    if isinstance(data, dict):
        return (data[step],) if step in data else None
    inside = isinstance(data, (list, tuple)) and isinstance(step, int) and step < len(data)
    return (data[step],) if inside else None


def _key_steps(data: Any, path: Steps) -> Iterator[str]:
    """The path in words: an entry of a list goes by its name if it has one."""
    for step in path:
        data = (_entry(data, step) or (None,))[0]
        name = data.get("name") if isinstance(step, int) and isinstance(data, dict) else None
        yield name if isinstance(name, str) and name else str(step)


def _place(path: Steps, source: Source | None) -> Place | None:
    if source is None:
        return None
    while path not in source.places:
        path = path[:-1]
    return source.places[path]


# A model's keys --------------------------------------------------------------------------------------------------


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a type, without Annotated and Union around them."""
    origin = get_origin(annotation)
    if hasattr(annotation, "__metadata__"):
        return _members(get_args(annotation)[0])
    if origin is Union or type(annotation).__name__ == "UnionType":
        return [m for arg in get_args(annotation) for m in _members(arg)]
    return [annotation]


def _below(spot: Any, step: str | int) -> list[Any]:
    """The types of what ``step`` leads to from a type."""
    if step in (fields := getattr(spot, "model_fields", {})):
        return _members(fields[step].annotation)
    args = get_args(spot)
    if get_origin(spot) is dict:
        return _members(args[1])
    if get_origin(spot) in (tuple, list) and isinstance(step, int):
        return [m for arg in args if arg is not Ellipsis for m in _members(arg)]
    return []


def _spots(model: Any, loc: Steps) -> list[Any]:
    """The types at pydantic's location.  A step that names a member of a union picks it."""
    spots = _members(model)
    for step in loc:
        below = [m for spot in spots for m in _below(spot, step)]
        picked = [s for s in spots if step in get_args(_type_key(s))]
        spots = below or picked or spots
    return spots


def _type_key(spot: Any) -> Any:
    declared = getattr(spot, "model_fields", {}).get("type")
    return declared.annotation if declared else None


def _keys(spot: Any) -> list[str]:
    """The keys a type declares: a model's fields, or the names a mapping may have."""
    if get_origin(spot) is dict:
        key = get_args(spot)[0]
        return list(get_args(key)) if get_origin(key) is Literal else []
    return list(getattr(spot, "model_fields", {}))


# Overrides -------------------------------------------------------------------------------------------------------


def apply_overrides(
    data: dict[str, Any], overrides: Mapping[str, object], model: type[Any] | None = None, from_text: bool = False
) -> dict[str, Any]:
    """A copy of ``data`` with dotted keys set, as in ``{"array.rows": 32}``; an entry of a list goes by number or name.

    A key must be in the data or declared by ``model``.  ``from_text`` says that values are text from a command line,
    read as YAML (``32``, ``true``, ``[weight, ifmap]``).  Raises InputError for an unknown key or an unreadable value.
    """
    out = copy.deepcopy(data)
    for key, value in overrides.items():
        ready = _Reader(value, key=key).document() if from_text and isinstance(value, str) else _checked(key, value)
        _set(out, key, ready, model)
    return out


def override_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of overrides given as text on a command line.  Raises InputError for one that cannot be read."""
    return {key: _Reader(text, key=key).document() for key, text in texts.items()}


def _checked(key: str, value: object) -> Any:
    try:
        return plain(value)
    except ValueError as e:
        raise InputError(str(e), key=key, got=str(value)) from None


def plain(value: object) -> Any:
    """A value as YAML would give it: numpy scalars become Python's, tuples lists.  Raises ValueError beyond 2^53."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return _exact(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _set(data: Any, key: str, value: Any, model: type[Any] | None) -> None:
    spots = _members(model)
    *parents, last = key.split(".")
    for step in parents:
        at = _step(data, step, key, spots)
        spots = [m for spot in spots for m in _below(spot, at)]
        data = data.setdefault(at, {}) if isinstance(data, dict) else data[at]
    data[_step(data, last, key, spots)] = value


def _step(here: Any, step: str, key: str, spots: list[Any]) -> str | int:
    """The dictionary key or list index that a step of a dotted key means."""
    if isinstance(here, list):
        return _index(here, step, key)
    if not isinstance(here, dict):
        raise InputError("there are no keys below a single value", key=key, got=step)
    declared = dict.fromkeys([*here, *(k for spot in spots for k in _keys(spot))])
    if step not in declared:
        raise InputError("no such key", key=key, got=step or "nothing", choices=declared)
    return step


def _index(entries: list[Any], step: str, key: str) -> int:
    named = {e["name"]: i for i, e in enumerate(entries) if isinstance(e, dict) and isinstance(e.get("name"), str)}
    if step in named:
        return named[step]
    if step.isascii() and step.isdigit() and int(step[:9]) < len(entries):
        return int(step[:9])
    raise InputError(f"no such entry in a list of {len(entries)}", key=key, got=step or "nothing", choices=named)


# Writing ---------------------------------------------------------------------------------------------------------


def dump(model: BaseModel) -> str:
    """A model as YAML text that ``load`` reads back; keys without a value are left out."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = cast(Any, None)  # innermost lists and mappings on one line
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_quoted(model.model_dump(mode="json")), stream)
    return stream.getvalue()


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {_quoted(k): _quoted(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_quoted(v) for v in value]
    return _quoted_text(value) if isinstance(value, str) else value


def _quoted_text(text: str) -> str:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    try:
        safe = isinstance(scalar(text), str) and text.isprintable()
    except ValueError:
        safe = False
    return text if safe else DoubleQuotedScalarString(text)
