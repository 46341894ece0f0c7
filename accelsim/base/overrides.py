"""Dotted keys that change a file's data before it is validated: ``--set array.rows=32``, sweeps,
``overrides=``; and how a row, a page or a file tells which were changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.model_keys import alternatives, declared_keys, types_below
from accelsim.base.yaml_reading import YamlReader, exact_number


def apply_overrides(
    data: dict[str, Any],
    overrides: Mapping[str, object],
    model: type[Any] | None = None,
    from_text: bool = False,
) -> dict[str, Any]:
    """A copy of ``data`` with dotted keys set, as in ``{"array.rows": 32}``; an entry of a list
    goes by number or name.

    A key must be in the data or declared by ``model``.  ``from_text`` says that values are text
    from a command line, read as YAML (``32``, ``true``, ``[weight, ifmap]``).  Raises InputError
    for an unknown key or an unreadable value.
    """
    out = copy.deepcopy(data)
    for key, value in overrides.items():
        ready = (
            YamlReader(value, key=key).document()
            if from_text and isinstance(value, str)
            else _checked(key, value)
        )
        _set(out, key, ready, model)
    return out


def override_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of overrides given as text on a command line.  Raises InputError for one that
    cannot be read.
    """
    return {key: YamlReader(text, key=key).document() for key, text in texts.items()}


def override_text(overrides: Mapping[str, object]) -> str:
    """``KEY=VALUE, ...``, values as ``--set`` takes them; the column ``set`` of a row."""
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, default=json_value)}"
        for key, value in overrides.items()
    )


def describe_overrides(name: str, overrides: Mapping[str, object]) -> str:
    """``NAME with KEY=VALUE, ...``; empty if nothing is overridden."""
    return f"{name} with {override_text(overrides)}" if overrides else ""


def json_value(value: Any) -> Any:
    """What ``json`` asks for a value it does not know: numpy scalars as numbers, the rest as
    text.
    """
    return value.item() if hasattr(value, "item") else str(value)


def _checked(key: str, value: object) -> Any:
    try:
        return plain_value(value)
    except ValueError as e:
        raise InputError(str(e), key=key, got=str(value)) from None


def plain_value(value: object) -> Any:
    """A value as YAML would give it: numpy scalars become Python's, tuples lists.  Raises
    ValueError beyond 2^53.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain_value(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain_value(v) for k, v in value.items()}
    return exact_number(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _set(data: Any, key: str, value: Any, model: type[Any] | None) -> None:
    spots = alternatives(model)
    *parents, last = key.split(".")
    for step in parents:
        at = _step(data, step, key, spots)
        spots = [m for spot in spots for m in types_below(spot, at)]
        data = data.setdefault(at, {}) if isinstance(data, dict) else data[at]
    data[_step(data, last, key, spots)] = value


def _step(here: Any, step: str, key: str, spots: list[Any]) -> str | int:
    """The dictionary key or list index that a step of a dotted key means."""
    if isinstance(here, list):
        return _index(here, step, key)
    if not isinstance(here, dict):
        raise InputError("there are no keys below a single value", key=key, got=step)
    declared = dict.fromkeys([*here, *(k for spot in spots for k in declared_keys(spot))])
    if step not in declared:
        raise InputError("no such key", key=key, got=step or "nothing", choices=declared)
    return step


def _index(entries: list[Any], step: str, key: str) -> int:
    named = {
        e["name"]: i
        for i, e in enumerate(entries)
        if isinstance(e, dict) and isinstance(e.get("name"), str)
    }
    if step in named:
        return named[step]
    if step.isascii() and step.isdigit() and int(step[:9]) < len(entries):
        return int(step[:9])
    raise InputError(
        f"no such entry in a list of {len(entries)}", key=key, got=step or "nothing", choices=named
    )
