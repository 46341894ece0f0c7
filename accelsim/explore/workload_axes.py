"""Axes that are parameters of the workload: keys ``params.NAME`` of a space, beside the dotted keys
of the architecture.

``plan`` takes the two apart: a point of the space is a *machine* (what is left of its overrides)
and a *case* (its parameters), and every case has layers of its own.  Anything else about a space,
``grid``, ``zipped``, ``points``, samples, constraints and the guided search, knows no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelsim.base.errors import InputError
from accelsim.explore.content import canonical

if TYPE_CHECKING:
    from accelsim.explore.grid import Space
    from accelsim.explore.points import Item

PLACE = "params"
PREFIX = f"{PLACE}."

ItemsOf = Callable[[Mapping[str, Any]], "list[Item]"]  # by the parameters that a point gives


def is_parameter(key: str) -> bool:
    """Whether an axis is a parameter of the workload."""
    return key.startswith(PREFIX)


def of_machine(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What a point overrides of the architecture."""
    return {key: value for key, value in overrides.items() if not is_parameter(key)}


def of_workload(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A point's parameters of the workload, by their names there."""
    return {k.removeprefix(PREFIX): v for k, v in overrides.items() if is_parameter(k)}


def cases(
    space: Space, numbers: Sequence[int], items_of: ItemsOf
) -> tuple[list[list[Item]], list[int]]:
    """The items of every different case of these points, and the case of each point.

    Raises InputError, about the axis, for a parameter that the workload has not or a value it
    cannot have.
    """
    if not any(map(is_parameter, space.keys)):
        return [items_of({})], [0] * len(numbers)
    items: list[list[Item]] = []
    known: dict[str, int] = {}
    case = []
    for number in numbers:
        params = of_workload(space.point(number))
        text = canonical(params)
        if text not in known:
            known[text] = len(items)
            try:
                items.append(items_of(params))
            except InputError as error:
                raise _placed(space, error, params) from None
        case.append(known[text])
    return items, case


def _placed(space: Space, error: InputError, params: Mapping[str, Any]) -> InputError:
    """The error about one of these parameters, with its axis as its key."""
    key = error.key or ""
    name = (error.got or "") if key == "param" else key.removeprefix("param ")
    if name not in params:
        told = ", ".join(f"{PREFIX}{k}={v}" for k, v in params.items())
        return InputError(f"{error.rule} (with {told})", key=error.key, got=error.got)
    axis = next(axis for axis in space.axes if f"{PREFIX}{name}" in axis.keys)
    got = name if key == "param" else str(params[name])
    place = f"{getattr(axis, 'name', 'points')}.{PREFIX}{name}"
    return InputError(error.rule, key=place, got=got, choices=error.choices)
