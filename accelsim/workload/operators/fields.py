"""Fields of operators as a file states them; ``=...`` is an expression of a block's parameters,
gone once the graph is built.

Each is an annotated type with a reader that raises ValueError with the rule, and the JSON schema of
what the file may have there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from accelsim.base.limits import plain_value as plain
from accelsim.workload.graph.block_arithmetic import is_expression
from accelsim.workload.layers import MAX_SIZE, Sides, padding_sides, pair

_Text = Annotated[str, Field(pattern="^=")]
_Whole = Annotated[int, Field(ge=1, le=MAX_SIZE)]
_Least = Annotated[int, Field(ge=0, le=MAX_SIZE)]


def _whole(value: Any, least: int) -> Any:
    value = plain(value)
    if is_expression(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    if not least <= value <= MAX_SIZE:
        raise ValueError(f"must be {least} to 2^31 - 1")
    return value


def _one(value: Any) -> Any:
    return _whole(value, 1)


def _zero(value: Any) -> Any:
    return _whole(value, 0)


def _maybe(value: Any) -> Any:
    return None if value is None else _whole(value, 1)


def _integer(value: Any) -> Any:
    return _whole(value, -MAX_SIZE)


def _pair(value: Any) -> tuple[Any, Any]:
    return pair(value, passes=is_expression)


def _least_pair(value: Any) -> tuple[Any, Any]:
    return pair(value, least=0, passes=is_expression)


def _maybe_pair(value: Any) -> tuple[Any, Any] | None:
    return None if value is None else _pair(value)


def _padding(value: Any) -> tuple[Any, Any, Any, Any] | Literal["same"]:
    return padding_sides(value, passes=is_expression)


MAX_RANK = 6


def _shape(value: Any) -> tuple[Any, ...]:
    rule = f"must be a list of 1 to {MAX_RANK} sizes of at least 1, the batch left out"
    values = plain(value)
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_RANK:
        raise ValueError(rule)
    for v in values:
        if not is_expression(v) and (
            isinstance(v, bool) or not isinstance(v, int) or not 1 <= v <= MAX_SIZE
        ):
            raise ValueError(rule)
    return tuple(values)


def _new_shape(value: Any) -> tuple[Any, ...]:
    values = plain(value)
    if isinstance(values, list) and values.count(-1) == 1:
        at = values.index(-1)
        rest = _shape([1 if i == at else v for i, v in enumerate(values)])
        return (*rest[:at], -1, *rest[at + 1 :])
    return _shape(value)


def _axes(value: Any) -> tuple[int, ...]:
    values = plain(value)
    values = values if isinstance(values, list) else [values]
    if not 1 <= len(values) <= MAX_RANK or any(
        isinstance(v, bool) or not isinstance(v, int) or abs(v) > MAX_RANK for v in values
    ):
        raise ValueError(
            "must be the number of an axis, 0 the first after the batch, -1 the last, or a list of"
            " such numbers"
        )
    return tuple(values)


def _axis(value: Any) -> int:
    axes = _axes(value)
    if len(axes) != 1 or isinstance(plain(value), list):
        raise ValueError("must be the number of an axis, 0 the first after the batch, -1 the last")
    return axes[0]


Size = Annotated[int, PlainValidator(_one, json_schema_input_type=_Whole | _Text)]
Real = Annotated[float, Field(strict=False, allow_inf_nan=False)]
OptionalSize = Annotated[
    int | None, PlainValidator(_maybe, json_schema_input_type=_Whole | _Text | None)
]
Least = Annotated[int, PlainValidator(_zero, json_schema_input_type=_Least | _Text)]
Integer = Annotated[int, PlainValidator(_integer, json_schema_input_type=int | _Text)]
_W = _Whole | _Text
Pair = Annotated[tuple[int, int], PlainValidator(_pair, json_schema_input_type=_W | tuple[_W, _W])]
OptionalPair = Annotated[
    tuple[int, int] | None,
    PlainValidator(_maybe_pair, json_schema_input_type=_W | tuple[_W, _W] | None),
]
_P = _Least | _Text
LeastPair = Annotated[
    tuple[int, int], PlainValidator(_least_pair, json_schema_input_type=_P | tuple[_P, _P])
]
Padding = Annotated[
    Sides | Literal["same"],
    PlainValidator(
        _padding,
        json_schema_input_type=_P
        | tuple[_P, _P]
        | tuple[_P, _P, _P, _P]
        | Literal["same", "valid"],
    ),
]
TensorShape = Annotated[
    tuple[int, ...], PlainValidator(_shape, json_schema_input_type=list[_Whole | _Text])
]
NewShape = Annotated[
    tuple[int, ...],
    PlainValidator(_new_shape, json_schema_input_type=list[_Whole | _Text | Literal[-1]]),
]
Axis = Annotated[int, PlainValidator(_axis, json_schema_input_type=int)]
Axes = Annotated[tuple[int, ...], PlainValidator(_axes, json_schema_input_type=int | list[int])]
