"""The points of a sweep before they are built: axes over dotted keys, crossed, zipped, listed or
sampled.

A space knows its size and any of its points by number without listing them.  The last axis moves
fastest.  ``plan`` lists or samples the points it wants, the guided search asks for single ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any

from accelsim.base.errors import InputError
from accelsim.base.limits import plain_value
from accelsim.base.text_table import spaced
from accelsim.explore.content import canonical

if TYPE_CHECKING:
    import pandas as pd

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

    @property
    def counts(self) -> bool:
        """Whether it is one key that counts through whole numbers, unlisted."""
        return len(self.columns) == 1 and isinstance(self.columns[0][1], range)

    @property
    def keys(self) -> Iterator[str]:
        """Its dotted keys."""
        return (key for key, _ in self.columns)

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

    @property
    def keys(self) -> Iterator[str]:
        """The dotted keys of all points, as they come."""
        return (key for point in self.points for key in point)

    def at(self, position: int) -> Overrides:
        """The overrides of a point, as YAML would give them.  Raises InputError for a number
        beyond 2^53.
        """
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
        return tuple(dict.fromkeys(key for axis in self.axes for key in axis.keys))

    def point(self, number: int) -> Overrides:
        """The overrides of a point, numbered from 0."""
        positions = []
        for axis in reversed(self.axes):
            number, position = divmod(number, len(axis))
            positions.append(position)
        overrides: Overrides = {}
        for axis, position in zip(self.axes, reversed(positions), strict=True):
            overrides |= axis.at(position)
        return overrides


def space(
    grid: Mapping[str, Iterable[Any]] | None = None,
    zipped: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Iterable[Any]]] | None = None,
    points: Iterable[Mapping[str, Any]] | pd.DataFrame | None = None,
) -> Space:
    """Axes crossed with each other (``grid``) and with keys that move together (``zipped``; a list
    of such), or instead ``points``.

    ``points`` is a list of overrides or a pandas DataFrame, a row a point.  Values may be a
    ``range`` of any length. Raises InputError for an empty or repeated axis, and for values that
    are no list.
    """
    if points is not None:
        return Space((Listed(_points(points)),))
    axes = [Axis("grid", (_column(key, values, "grid"),)) for key, values in (grid or {}).items()]
    groups = [] if not zipped else [zipped] if isinstance(zipped, Mapping) else list(zipped)
    axes += [_zipped(group) for group in groups if group]
    seen: set[str] = set()
    for axis in axes:
        for key in axis.keys:
            if key in seen:
                raise InputError("stands on two axes", key=f"{axis.name}.{key}")
            seen.add(key)
    return Space(tuple(axes))


def _zipped(group: Mapping[str, Iterable[Any]]) -> Axis:
    columns = tuple(_column(key, values, "zipped") for key, values in group.items())
    lengths = {key: len(values) for key, values in columns}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        raise InputError(f"must have as many values for every key ({text})", key="zipped")
    return Axis("zipped", columns)


def refuse_large(count: int, what: str) -> None:
    """Raises InputError for more points than are run."""
    if count > MAX_POINTS:
        shown = spaced(count) if count < 10**30 else f"about 10^{len(str(count)) - 1}"
        makes = f"makes {shown} points (architectures x dataflows x layers)"
        most = f"at most {spaced(MAX_POINTS)} are run"
        raise InputError(f"{makes}, {most}; draw some with sample", key=what)


def check_values(space: Space) -> None:
    """Raises InputError where a value stands twice on an axis or is no value at all.  Walks every
    axis once.
    """
    for axis in space.axes:
        if isinstance(axis, Axis) and not axis.counts:
            _check_axis(axis)


def _check_axis(axis: Axis) -> None:
    seen: set[str] = set()
    for position in range(len(axis)):
        here = axis.at(position)
        text = canonical(list(here.values()))
        if text in seen:
            key = next(iter(here))
            place, got = f"{axis.name}.{key}", json.dumps(here[key])
            raise InputError("stands twice on the axis", key=place, got=got)
        seen.add(text)


def chosen(space: Space, accept: Callable[[Overrides], bool] | None) -> Iterator[int]:
    """The numbers of all points that ``accept`` takes, in order."""
    for number in range(space.size):
        if accept is None or accept(space.point(number)):
            yield number


def sample(
    space: Space, count: int, seed: int, accept: Callable[[Overrides], bool] | None = None
) -> list[int]:
    """``count`` different points drawn evenly by ``seed``, in order of their numbers; all if there
    are no more.

    Nothing is listed: it works for any size.  Under constraints draws are repeated until enough
    points are taken. Raises InputError where they are so rare that it would take very long.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError("must be a whole number of at least 1", key="sample", got=str(count))
    draw = random.Random(f"accelsim sample {seed}")

    def taken(number: int) -> bool:
        return accept is None or accept(space.point(number))

    if space.size <= max(4 * count, 100_000) and space.size <= MAX_POINTS:
        numbers = list(range(space.size))
        draw.shuffle(numbers)
        return sorted(islice(filter(taken, numbers), count))
    drawn: set[int] = set()
    refused = 0
    while len(drawn) < count:
        number = draw.randrange(space.size)
        if number in drawn:
            continue
        if taken(number):
            drawn.add(number)
        elif (refused := refused + 1) > MOST_DRAWS * max(count, 50):
            got = f"found {len(drawn)} of {count} points in {refused} draws"
            raise InputError(f"{got}: the constraints leave too few", key="sample")
    return sorted(drawn)


def _plain(value: Any, key: str) -> Any:
    try:
        return plain_value(value)
    except ValueError as error:
        raise InputError(str(error), key=key, got=str(value)) from None


def _column(key: str, values: Any, above: str) -> tuple[str, Sequence[Any]]:
    """A key and the list of its values; a range stays one."""
    place = f"{above}.{key}"
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError("must be a list of values", key=place, got=str(values))
    listed: Any = values
    if hasattr(listed, "tolist") and hasattr(listed, "__len__"):  # of NumPy or pandas
        refuse_large(len(listed), place)
        listed = listed.tolist()
    elif not isinstance(values, (range, list, tuple)):
        listed = list(islice(iter(values), MAX_POINTS + 1))
    try:
        count = len(listed)
    except OverflowError:  # a range beyond what Python can count
        raise InputError("has too many values", key=place, got=str(values)) from None
    if not count:
        raise InputError("must not be empty", key=place)
    return key, listed


def _points(given: Any) -> Sequence[Mapping[str, Any]]:
    """Overrides of each point, from a list or a DataFrame."""
    if hasattr(given, "to_dict"):
        given = given.to_dict("records")
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        rule = "must be a list of points, each a mapping of dotted keys to values"
        raise InputError(rule, key="points", got=type(given).__name__)
    points = given if isinstance(given, Sequence) else list(islice(given, MAX_POINTS + 1))
    if not points:
        raise InputError("must not be empty", key="points")
    for i, point in enumerate(points):
        if not isinstance(point, Mapping):
            rule = "must be a mapping of dotted keys to values"
            raise InputError(rule, key=f"points.{i}", got=str(point))
    return points
