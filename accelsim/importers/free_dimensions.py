"""Dimensions that a file only names, as parameters of the workload: ``--dim seq=512`` is then the
value that one begins with.

An importer works with numbers, since shapes are computed from shapes all over a model.  So nothing
is made symbolic: the model is read again with another value for each name, and a number that moves
is the sum of what it moved by, which a last reading with all values changed must confirm.  Models
in which something else than whole numbers moves keep their numbers, and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.importers.network_builder import Imported, UnsupportedError, made
from accelsim.workload.network import Workload, load_workload

Again = Callable[[Mapping[str, int]], Imported]
Keys = tuple[str | int, ...]


class FixedError(Exception):
    """Why a model keeps its numbers."""


def with_parameters(imported: Imported, dims: Mapping[str, int], again: Again) -> Imported:
    """The workload with a parameter for each of ``dims`` that is not the batch; ``again`` reads the
    model with other values.
    """
    base = imported.workload.model_dump(mode="json")
    sized: set[str] = set()  # weights whose shape moves
    try:
        slopes = {}
        for name in dims:
            other = again({**dims, name: 2 * dims[name]})
            if own := _slopes(base, name, dims[name], other.workload):
                slopes[name] = own
                sized |= _sized(imported, other, name)
        if not slopes:
            return imported
        data = _expressed(base, slopes, dims)
        workload = made(data | {"parameters": {name: dims[name] for name in slopes}}, "")
        _confirm(workload, slopes, dims, again)
    except (FixedError, InputError) as why:
        told = why.args[0] if isinstance(why, FixedError) else str(why)
        note = f"dimensions stay as given ({', '.join(dims)}): {told}"
        return Imported(imported.workload, imported.weights, (*imported.notes, note))
    notes = imported.notes
    if sized:
        shown = ", ".join(sorted(sized)[:3]) + (", ..." if len(sized) > 3 else "")
        notes += (f"the words of {len(sized)} arrays ({shown}) are those of the given dimensions",)
    return Imported(workload, imported.weights, notes)


def _sized(imported: Imported, other: Imported, name: str) -> set[str]:
    """The weights that have another shape where a dimension has another value.  Raises FixedError
    where other words stand in the same shape.
    """
    if imported.weights.keys() != other.weights.keys():
        raise FixedError(f"other arrays of weights with another {name}")
    moved = {
        key for key, array in imported.weights.items() if array.shape != other.weights[key].shape
    }
    for key, array in imported.weights.items():
        if key not in moved and not np.array_equal(array, other.weights[key], equal_nan=True):
            raise FixedError(f"the words of {key} are others with another {name}")
    return moved


def _slopes(base: Any, name: str, step: int, twice: Workload) -> dict[Keys, tuple[int, int]]:
    """Of every number that moves with a dimension its value and by how much a step moves it, by a
    reading at ``twice`` the ``step`` that the dimension is; none if the dimension is the batch.
    """
    other = twice.model_dump(mode="json")
    if base.get("batch") != other.get("batch"):
        return {}
    if not name.isidentifier() or iskeyword(name):
        raise FixedError(f"{name} cannot be the name of a parameter")
    slopes = {}
    for path, a, b in _moved((), base, other):
        slope, rest = divmod(b - a, step)
        if rest:
            raise FixedError(f"{'.'.join(map(str, path))} is no multiple of {name}")
        slopes[path] = a, slope
    return slopes


def _moved(path: Keys, a: Any, b: Any) -> list[tuple[Keys, int, int]]:
    """The whole numbers in which two workloads differ."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [x for key in a for x in _moved((*path, key), a[key], b[key])]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [
            x for i, pair in enumerate(zip(a, b, strict=True)) for x in _moved((*path, i), *pair)
        ]
    if a == b:
        return []
    if type(a) is int and type(b) is int:
        return [(path, a, b)]
    raise FixedError(f"{'.'.join(map(str, path))} changes with them otherwise than by a number")


def _expressed(
    base: Any, slopes: Mapping[str, Mapping[Keys, tuple[int, int]]], dims: Mapping[str, int]
) -> dict[str, Any]:
    """The workload's data with ``=...`` in place of every number that moves."""
    moves: dict[Keys, dict[str, int]] = {}
    values: dict[Keys, int] = {}
    for name, own in slopes.items():
        for path, (value, slope) in own.items():
            moves.setdefault(path, {})[name] = slope
            values[path] = value
    data: dict[str, Any] = base
    for path, own_slopes in moves.items():
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        rest = values[path] - sum(slope * dims[name] for name, slope in own_slopes.items())
        place[path[-1]] = _text(own_slopes, rest)
    return data


def _text(slopes: Mapping[str, int], rest: int) -> str:
    """``=a*name+...+rest``, what is added before what is taken away."""
    terms = [(n, name if abs(n) == 1 else f"{abs(n)}*{name}") for name, n in slopes.items()]
    terms += [(rest, str(abs(rest)))] if rest else []
    plus = [text for n, text in terms if n > 0]
    minus = [text for n, text in terms if n < 0]
    return "=" + "-".join(["+".join(plus) or "0", *minus])


def _confirm(
    workload: Workload,
    slopes: Mapping[str, Mapping[Keys, tuple[int, int]]],
    dims: Mapping[str, int],
    again: Again,
) -> None:
    """Raises FixedError unless the workload is the model once more where all values are others."""
    values = {name: dims[name] + 3 + at for at, name in enumerate(slopes)}
    try:
        want = again({**dims, **values}).workload.network
    except UnsupportedError as error:
        raise FixedError(str(error)) from None
    ours = load_workload(workload, values).network
    assert want is not None and ours is not None
    if ours.shapes != want.shapes or [x for _, x in ours.layers] != [x for _, x in want.layers]:
        raise FixedError("with other values the model is not what this one makes of them")
