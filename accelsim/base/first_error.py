"""Of all that pydantic finds wrong with plain data one thing, as one clear line.

``validation`` asks for it where a model does not take its data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from accelsim.base.errors import InputError
from accelsim.base.model_keys import declared_keys, types_at
from accelsim.base.places import Steps, TextPlace
from accelsim.base.shipped import SINGULAR
from accelsim.base.yaml_reading import FLOAT, YamlSource, in_words

if TYPE_CHECKING:
    from pydantic import ValidationError

# What pydantic finds wrong, by its name of the error, in our words.
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


def first_error(
    error: ValidationError,
    data: dict[str, Any],
    model: type[Any],
    kind: str,
    source: YamlSource | None,
    overridden: Sequence[str],
) -> InputError:
    """Of all that pydantic finds wrong with ``data`` the first in the file, a misspelt key before
    what it leaves missing; with its place if ``source`` has it.
    """
    first = min(
        (_PydanticError(e, data) for e in error.errors(include_url=False)),
        key=lambda f: f.rank(source),
    )
    key = ".".join(_key_steps(data, first.path))
    place = _place(first.path, source)
    if any(key == o or key.startswith(o + ".") for o in overridden):
        place = None
    line, column = (
        (None, None) if place is None else (place.key if first.about_key else place.value)
    )
    rule, got, choices = first.rule(), first.got(place), first.choices(model)
    if below := [o for o in overridden if first.whole and o.startswith(f"{key}." if key else "")]:
        rule += f" (overridden: {', '.join(below)})"
    if not key and got is None and not first.whole:
        key = SINGULAR.get(kind, kind)
    return InputError(
        rule,
        file=source.file if source else None,
        line=line,
        column=column,
        key=key,
        got=got,
        choices=choices,
    )


class _PydanticError:
    """One of pydantic's errors, related to the data it is about.

    ``loc`` is pydantic's location, ``path`` the part of it that leads through the data.  ``whole``
    says that the error is of a mapping as a whole and has a sentence of its own (``text``),
    ``about_key`` that it is of a key and not of a value.
    """

    def __init__(self, error: Any, data: Any) -> None:
        self.error, self.type, self.input = error, str(error["type"]), error["input"]
        self.context = {
            k: int(v) if isinstance(v, float) and v.is_integer() else v
            for k, v in error.get("ctx", {}).items()
        }
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
        self.about_key = (
            self.type in ("missing", "extra_forbidden") or self.whole or self.loc[-1:] == ("[key]",)
        )

    def _follow(self, data: Any) -> None:
        """A model's own message may begin with the dotted key it is about: go there as far as the
        data do.
        """
        head, colon, rest = self.text.partition(": ")
        for step in self.path:
            data = (_entry(data, step) or (None,))[0]
        if colon and (steps := _dotted(data, head)):
            self.path, self.text = (*self.path, *steps), rest

    def rank(self, source: YamlSource | None) -> tuple[int, tuple[int, int]]:
        """A misspelt key comes before what it leaves missing, a bad entry before the list it leaves
        short; else as in the file.
        """
        place = _place(self.path, source)
        order = {"extra_forbidden": 0, "missing": 2, "too_short": 3}.get(self.type, 1)
        return order, place.key if place else (0, 0)

    def rule(self) -> str:
        if self.type in _WHOLE:
            return self.text
        if self.type == "too_short" and self.context["min_length"] == 1:
            return "must not be empty"
        template = _RULES.get(self.type)
        rule = (
            template.format(**self.context)
            if template
            else self.error["msg"][:1].lower() + self.error["msg"][1:]
        )
        if self.type == "string_type" and isinstance(self.input, (int, float)):
            rule += " (in quotes)"
        if (
            self.type in ("int_type", "float_type")
            and isinstance(self.input, str)
            and FLOAT.fullmatch(self.input)
        ):
            rule += " without quotes"
        return rule

    def got(self, place: TextPlace | None) -> str | None:
        if self.type == "missing" or self.whole or "got " in self.text:
            return None
        if self.about_key:
            return str(self.path[-1])
        if self.type == "union_tag_invalid":
            return str(self.context["tag"])
        return (
            in_words(self.input)
            if place is None or isinstance(self.input, (list, tuple))
            else place.text or "nothing"
        )

    def choices(self, model: type[Any]) -> list[str]:
        if self.type == "extra_forbidden":
            return [key for spot in types_at(model, self.loc[:-1]) for key in declared_keys(spot)]
        return re.findall(
            r"'([^']*)'", str(self.context.get("expected", self.context.get("expected_tags", "")))
        )


def _data_steps(data: Any, loc: Steps) -> Steps:
    """The part of pydantic's location that is in the data; it also names union members, which are
    not.
    """
    path: Steps = ()
    for step in loc:
        if (below := _entry(data, step)) is not None:
            data, path = below[0], (*path, step)
    return path


def _dotted(data: Any, text: str) -> Steps | None:
    """The keys and indices that a dotted key names, as far as the data go; keys may have dots.
    None if it names none.
    """
    if isinstance(data, dict):
        keys: Iterable[str | int] = data
    elif isinstance(data, (list, tuple)):
        keys = range(len(data))
    else:
        return ()
    for key in keys:
        if text == str(key):
            return (key,)
        if (
            text.startswith(f"{key}.")
            and (below := _dotted(data[key], text[len(str(key)) + 1 :])) is not None
        ):
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


def _place(path: Steps, source: YamlSource | None) -> TextPlace | None:
    if source is None:
        return None
    while path not in source.places:
        path = path[:-1]
    return source.places[path]
