"""How values stand in a page: numbers with spaces, bytes, lists, and models as keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from accelsim.base.text_table import spaced


def number(value: float) -> str:
    """With spaces between thousands, and no more digits than needed."""
    return spaced(value) if isinstance(value, int) else spaced(value, ".10g")


def byte_count(amount: int) -> str:
    """Bytes as a whole number: ``1 byte``, ``65 536 bytes``."""
    return f"{number(amount)} byte{'' if amount == 1 else 's'}"


def in_words(value: Any) -> str:
    """Any value of a file's key; a model is its keys and values, innermost ones."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(in_words(v) for v in value) or "none"
    if isinstance(value, (BaseModel, dict)):
        return ", ".join(f"{k} {in_words(v)}" for k, v in _innermost(value)) or "none"
    return "none" if value is None else str(value)


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def lower(dims: Iterable[str]) -> str:
    """Dimensions as loops are called: ``m, c``."""
    return ", ".join(dim.lower() for dim in dims)


def differing_keys(model: type[BaseModel], parts: Iterable[BaseModel]) -> list[str]:
    """Keys of a model that at least one of ``parts`` sets to something else than its default."""
    parts = list(parts)
    defaults = {
        key: spec.get_default(call_default_factory=True) for key, spec in model.model_fields.items()
    }
    return [key for key in defaults if any(getattr(p, key) != defaults[key] for p in parts)]


def _innermost(model: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and values of all that is set."""
    items: Iterable[tuple[Any, Any]] = model if isinstance(model, BaseModel) else model.items()
    for key, value in items:
        if isinstance(value, (BaseModel, dict)) and value:
            yield from _innermost(value, f"{path}{key}.")
        elif value is not None and value != {}:
            yield f"{path}{key}", value
