"""The points of a sweep before they are built: axes over dotted keys, crossed, zipped, listed or
sampled.

A space knows its size and any of its points by number without listing them.  The last axis moves fastest.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.limits import plain_value

MAX_POINTS = 10_000_000  # of a sweep: architectures x dataflows x layers
MOST_DRAWS = 200  # draws per point wanted before a sample under constraints is given up

Overrides = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """Keys that move together: one value of each at every position."""

    name: str  # as in messages: grid.array.rows
    columns: tuple[tuple[str, Sequence[Any]], ...]

    def __len__(self) -> int:
        return len(self.columns[0][1])

    def at(self, position: int) -> Overrides:
        """The values at a position, as YAML would give them.  Raises InputError for a number beyond
        2^53.
        """
        return {key: _plain(values[position], f"{self.name}.{key}") for key, values in self.columns}


@dataclass(frozen=True)
class Listed:
    """Points given one by one; they need not have the same keys."""

    points: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.points)

    def at(self, position: int) -> Overrides:
        return {
            str(k): _plain(v, f"points.{position}.{k}") for k, v in self.points[position].items()
        }


@dataclass(frozen=True)
class Space:
    """The product of axes; without any, the one point that overrides nothing."""

    axes: tuple[Axis | Listed, ...]

    @property
    def size(self) -> int:
        """How many points there are, however many."""
        return prod(len(axis) for axis in self.axes)

    @property
    def keys(self) -> tuple[str, ...]:
        """All dotted keys, in the order they are given."""
        found: dict[str, None] = {}
        for axis in self.axes:
            found |= (
                dict.fromkeys(k for p in axis.points for k in p)
                if isinstance(axis, Listed)
                else {k: None for k, _ in axis.columns}
            )
        return tuple(found)

    def point(self, number: int) -> Overrides:
        """The overrides of a point, numbered from 0."""
        positions = []
        for axis in reversed(self.axes):
            number, position = divmod(number, len(axis))
            positions.append(position)
        found: Overrides = {}
        for axis, position in zip(self.axes, reversed(positions), strict=True):
            found |= axis.at(position)
        return found


def space(
    grid: Mapping[str, Any] | None = None,
    zipped: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    points: Any = None,
) -> Space:
    """Axes crossed with each other (``grid``) and with keys that move together (``zipped``; a list
    of such), or ``points``.

    ``points`` is a list of overrides or a pandas DataFrame, a row a point.  Values may be a
    ``range`` of any length. Raises InputError for an empty or repeated axis, and for values that
    are no list.
    """
    if points is not None:
        if grid or zipped:
            raise InputError("goes without grid and zipped", key="points")
        return Space((Listed(_listed(points)),))
    axes = [
        Axis("grid", ((key, _values(values, f"grid.{key}")),))
        for key, values in (grid or {}).items()
    ]
    groups = [] if not zipped else [zipped] if isinstance(zipped, Mapping) else list(zipped)
    for group in groups:
        columns = tuple((key, _values(values, f"zipped.{key}")) for key, values in group.items())
        lengths = {key: len(values) for key, values in columns}
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"{key} has {n}" for key, n in lengths.items())
            raise InputError(f"must have as many values for every key ({text})", key="zipped")
        if columns:
            axes.append(Axis("zipped", columns))
    seen: set[str] = set()
    for axis in axes:
        for key, _ in axis.columns:
            if key in seen:
                raise InputError("stands on two axes", key=f"{axis.name}.{key}")
            seen.add(key)
    return Space(tuple(axes))


def refuse_large(count: int, what: str) -> None:
    """Raises InputError for more points than are run."""
    if count > MAX_POINTS:
        shown = (
            f"{count:,}".replace(",", " ") if count < 10**30 else f"about 10^{len(str(count)) - 1}"
        )
        most = f"{MAX_POINTS:,}".replace(",", " ")
        rule = f"makes {shown} points (architectures x dataflows x layers), at most {most} are run; draw some with sample"
        raise InputError(rule, key=what)


def check_values(found: Space) -> None:
    """Raises InputError where a value stands twice on an axis or is no value at all.  Walks every
    axis once.
    """
    for axis in found.axes:
        if isinstance(axis, Listed) or (
            len(axis.columns) == 1 and isinstance(axis.columns[0][1], range)
        ):
            continue
        seen: set[str] = set()
        for position in range(len(axis)):
            here = axis.at(position)
            text = canonical(list(here.values()))
            if text in seen:
                key = next(iter(here))
                raise InputError(
                    "stands twice on the axis", key=f"{axis.name}.{key}", got=json.dumps(here[key])
                )
            seen.add(text)


def chosen(found: Space, accept: Callable[[Overrides], bool] | None) -> Iterator[int]:
    """The numbers of all points that ``accept`` takes, in order."""
    for number in range(found.size):
        if accept is None or accept(found.point(number)):
            yield number


def sample(
    found: Space, count: int, seed: int, accept: Callable[[Overrides], bool] | None = None
) -> list[int]:
    """``count`` different points drawn evenly by ``seed``, in order of their numbers; all if there
    are no more.

    Nothing is listed: it works for any size.  Under constraints draws are repeated until enough
    points are taken. Raises InputError where they are so rare that it would take very long.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError("must be a whole number of at least 1", key="sample", got=str(count))
    draw = random.Random(f"accelsim sample {seed}")
    if found.size <= max(4 * count, 100_000) and found.size <= MAX_POINTS:
        numbers = list(range(found.size))
        draw.shuffle(numbers)
        return sorted(
            islice((n for n in numbers if accept is None or accept(found.point(n))), count)
        )
    taken: set[int] = set()
    refused = 0
    while len(taken) < count:
        number = draw.randrange(found.size)
        if number in taken:
            continue
        if accept is None or accept(found.point(number)):
            taken.add(number)
        elif (refused := refused + 1) > MOST_DRAWS * max(count, 50):
            raise InputError(
                f"found {len(taken)} of {count} points in {refused} draws: the constraints leave too few",
                key="sample",
            )
    return sorted(taken)


def canonical(value: Any) -> str:
    """A value as text that is equal for equal values: sorted JSON without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _plain(value: Any, key: str) -> Any:
    try:
        return plain_value(value)
    except ValueError as error:
        raise InputError(str(error), key=key, got=str(value)) from None


def _values(values: Any, key: str) -> Sequence[Any]:
    listed: Any = values
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError("must be a list of values", key=key, got=str(values))
    if hasattr(listed, "tolist") and hasattr(listed, "__len__"):  # of NumPy or pandas
        refuse_large(len(listed), key)
        listed = listed.tolist()
    elif not isinstance(values, (range, list, tuple)):
        listed = list(islice(iter(values), MAX_POINTS + 1))
    try:
        count = len(listed)
    except OverflowError:  # a range beyond what Python can count
        raise InputError("has too many values", key=key, got=str(values)) from None
    if not count:
        raise InputError("must not be empty", key=key)
    found: Sequence[Any] = listed
    return found


def _listed(points: Any) -> Sequence[Mapping[str, Any]]:
    if hasattr(points, "to_dict"):
        points = points.to_dict("records")
    if isinstance(points, (str, bytes, Mapping)) or not isinstance(points, Iterable):
        raise InputError(
            "must be a list of points, each a mapping of dotted keys to values",
            key="points",
            got=type(points).__name__,
        )
    found = points if isinstance(points, Sequence) else list(islice(points, MAX_POINTS + 1))
    if not found:
        raise InputError("must not be empty", key="points")
    for i, point in enumerate(found):
        if not isinstance(point, Mapping):
            raise InputError(
                "must be a mapping of dotted keys to values", key=f"points.{i}", got=str(point)
            )
    return found
