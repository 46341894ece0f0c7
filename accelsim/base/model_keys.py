"""Which keys and types a pydantic model declares, and what stands below each.

``overrides`` asks which keys may be set, ``validation`` which the user may have meant.  A *spot* is
one type that may stand at a place: a model, ``dict[...]``, ``tuple[...]`` or a plain type.
"""

from __future__ import annotations

from typing import Any, Literal, Union, get_args, get_origin

from accelsim.base.places import Steps


def alternatives(annotation: object) -> list[object]:
    """The spots of a type: its alternatives, without Annotated and Union around them."""
    origin = get_origin(annotation)
    if hasattr(annotation, "__metadata__"):
        return alternatives(get_args(annotation)[0])
    if origin is Union or type(annotation).__name__ == "UnionType":
        return [m for arg in get_args(annotation) for m in alternatives(arg)]
    return [annotation]


def types_below(spot: object, step: str | int) -> list[object]:
    """The spots that a key or an index, ``step``, leads to; none if the type declares no such."""
    if step in (fields := _fields(spot)):
        return alternatives(fields[step].annotation)
    args = get_args(spot)
    if get_origin(spot) is dict:
        return alternatives(args[1])
    if get_origin(spot) in (tuple, list) and isinstance(step, int):
        return [m for arg in args if arg is not Ellipsis for m in alternatives(arg)]
    return []


def types_at(model: object, loc: Steps) -> list[object]:
    """The spots at pydantic's location, from the model down.  A step that names a member of a union
    picks it.
    """
    spots = alternatives(model)
    for step in loc:
        below = [m for spot in spots for m in types_below(spot, step)]
        picked = [s for s in spots if step in get_args(_type_key(s))]
        spots = below or picked or spots
    return spots


def _type_key(spot: object) -> Any:
    declared = getattr(spot, "model_fields", {}).get("type")
    return declared.annotation if declared else None


def declared_keys(spot: object) -> list[str]:
    """The keys a type declares: a model's fields, or the names a mapping may have."""
    if get_origin(spot) is dict:
        key = get_args(spot)[0]
        return list(get_args(key)) if get_origin(key) is Literal else []
    return list(_fields(spot))


def _fields(spot: object) -> dict[Any, Any]:
    """A model's fields by the keys that a file has for them."""
    fields = getattr(spot, "model_fields", {})
    return {field.alias or name: field for name, field in fields.items()}
