"""Dotted keys that change a file's data before it is validated: ``--set array.rows=32``, a sweep's
axes, ``overrides=``.

``validation.load_model`` applies them to a file, ``explore/machines`` to the base of a sweep.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.limits import plain_value
from accelsim.base.model_keys import alternatives, declared_keys, types_below
from accelsim.base.yaml_reading import YamlReader


def apply_overrides(
    data: dict[str, Any],
    overrides: Mapping[str, object],
    model: type[Any] | None = None,
    from_text: bool = False,
) -> dict[str, Any]:
    """``data`` with dotted keys set, as in ``{"array.rows": 32}``; a list's entry goes by number
    or name.  What is not on the way to a key is shared with ``data``, which stays as it is.

    A key must be in the data or declared by ``model``, or one that the model understands in
    another way: its class method ``in_words(data, key, value)`` gives the changed data, or None.
    ``from_text`` says that values are text
    from a command line, read as YAML (``32``, ``true``, ``[weight, ifmap]``).  Raises InputError
    for an unknown key or an unreadable value.
    """
    changed = dict(data)
    for key, value in overrides.items():
        ready = (
            YamlReader(value, key=key).document()
            if from_text and isinstance(value, str)
            else _checked(key, value)
        )
        in_words = getattr(model, "in_words", None)
        said = None if in_words is None else in_words(changed, key, ready)
        if said is None:
            _set(changed, key, ready, model)
        else:
            changed = said
    return changed


def override_values(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of overrides given as text on a command line.  Raises InputError for one that
    cannot be read.
    """
    return {key: YamlReader(text, key=key).document() for key, text in texts.items()}


def _checked(key: str, value: object) -> Any:
    try:
        return plain_value(value)
    except ValueError as e:
        raise InputError(str(e), key=key, got=str(value)) from None


def _set(data: Any, key: str, value: Any, model: type[Any] | None) -> None:
    spots = alternatives(model)
    *parents, last = key.split(".")
    for step in parents:
        at = _step(data, step, key, spots)
        spots = [m for spot in spots for m in types_below(spot, at)]
        below = data.get(at, {}) if isinstance(data, dict) else data[at]
        data[at] = copy.copy(below)
        data = data[at]
    data[_step(data, last, key, spots)] = value


def _step(here: Any, step: str, key: str, spots: list[object]) -> str | int:
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
