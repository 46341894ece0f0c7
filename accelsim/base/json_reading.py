"""JSON, which is YAML too, in files that are too large for the YAML reader: what ``yaml_writing``
writes of a network of thousands of layers.

``yaml_reading.read_yaml`` calls ``read_json`` for a file that begins like one of these.  The same
things are refused as in YAML (a key given twice, numbers beyond 2^53, names that are none), and
places are known: they are looked up when something is wrong, and not before.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_DEPTH, MAX_JSON_NODES, MAX_NUMBER, exact_number
from accelsim.base.places import Steps, TextPlace

_BLANK = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"[^,\]}\s]+")


def begins_like_json(text: str) -> bool:
    """Whether a text begins as ``yaml_writing`` writes JSON: a mapping with a quoted key."""
    return text.startswith('{"')


def read_json(text: str, file: str) -> tuple[Any, Mapping[Steps, TextPlace]]:
    """The value, and the place of every key in it.  Raises InputError for what is not allowed,
    ValueError (json's) for what is not JSON.
    """

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            twice = next(key for key in made if sum(k == key for k, _ in pairs) > 1)
            raise InputError("is given twice", file=file, key=twice)
        for key in made:
            if key in ("", "<<"):
                raise InputError("a key must be a name", file=file, got=key or "nothing")
        return made

    try:
        data = json.loads(
            text,
            object_pairs_hook=mapping,
            parse_int=lambda s: exact_number(int(s) if len(s) < 20 else MAX_NUMBER + 1),
            parse_float=_finite,
            parse_constant=_finite,
        )
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise InputError(f"must not be nested more than {MAX_DEPTH} deep", file=file) from None
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error), file=file) from None
    _check(data, file)
    return data, JsonPlaces(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _check(data: Any, file: str) -> None:
    """Refuses too much, too deep, and text that is none."""
    level, depth, count = [data], 0, 0
    while level:
        count += len(level)
        if count > MAX_JSON_NODES:
            rule = f"must have at most {MAX_JSON_NODES} keys and values"
            raise InputError(rule, file=file)
        if depth > MAX_DEPTH:
            raise InputError(f"must not be nested more than {MAX_DEPTH} deep", file=file)
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value, *value.values()]
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str) and not value.isascii():
                try:
                    value.encode("utf-8")
                except UnicodeEncodeError:
                    rule = "must be text without lone surrogates"
                    raise InputError(rule, file=file) from None
        level, depth = inner, depth + 1


class JsonPlaces(Mapping[Steps, TextPlace]):
    """Where keys and values stand in a JSON text, which is gone through for the first that is asked
    for.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __getitem__(self, path: Steps) -> TextPlace:
        key, value, end = self._offsets[path]
        text = self.text[value:end]
        return TextPlace(self._line(key), self._line(value), text)

    def __iter__(self) -> Iterator[Steps]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def _line(self, at: int) -> tuple[int, int]:
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)

    @cached_property
    def _offsets(self) -> dict[Steps, tuple[int, int, int]]:
        """Where each key and its value begin, and the value ends if it is a single one."""
        offsets: dict[Steps, tuple[int, int, int]] = {}
        self._value(offsets, (), 0, 0)
        return offsets

    def _blank(self, at: int) -> int:
        match = _BLANK.match(self.text, at)
        assert match is not None  # it matches nothing, too
        return match.end()

    def _value(
        self, offsets: dict[Steps, tuple[int, int, int]], path: Steps, key: int, at: int
    ) -> int:
        """Notes the value that begins after ``at`` and all in it; where it ends."""
        at = self._blank(at)
        if self.text[at] == '"':
            end = int(scanstring(self.text, at + 1)[1])
            offsets[path] = (key, at, end)
            return end
        if self.text[at] not in "{[":
            scalar = _SCALAR.match(self.text, at)
            assert scalar is not None  # the text has been read as JSON
            offsets[path] = (key, at, scalar.end())
            return scalar.end()
        offsets[path] = (key, at, at)
        named, at, number = self.text[at] == "{", self._blank(at + 1), 0
        while self.text[at] not in "}]":
            begin, step = at, number
            if named:
                name, at = scanstring(self.text, at + 1)
                at = self._blank(at) + 1
            at = self._blank(self._value(offsets, (*path, name if named else step), begin, at))
            at, number = self._blank(at + 1) if self.text[at] == "," else at, number + 1
        return at + 1
