"""Sets of words of one tensor: disjoint boxes of coordinates, or a plain list of flat addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Index = slice | Ints
Box = tuple[Index, ...]  # one index per axis of the tensor


class Points(tuple[Any, ...]):
    """A box that is none: one index array per axis, naming points one by one."""


def index_of(coordinates: Ints) -> Index:
    """A slice where sorted coordinates are consecutive."""
    n = len(coordinates)
    if n and int(coordinates[-1]) - int(coordinates[0]) == n - 1:
        return slice(int(coordinates[0]), int(coordinates[0]) + n)
    return coordinates


def length(index: Index) -> int:
    return index.stop - index.start if isinstance(index, slice) else len(index)


def shift(index: Index, by: int) -> Index:
    return slice(index.start + by, index.stop + by) if isinstance(index, slice) else index + by


@dataclass(frozen=True)
class Words:
    """Words of a tensor, each once; ``listed`` is used where they make no few boxes."""

    boxes: tuple[Box, ...] = ()
    listed: Ints | None = None

    @cached_property
    def count(self) -> int:
        return len(self.listed) if self.listed is not None else sum(prod(length(i) for i in box) for box in self.boxes)

    def __len__(self) -> int:
        return self.count

    def flat(self, shape: tuple[int, ...]) -> Ints:
        """Flat addresses in a tensor of ``shape``."""
        if self.listed is not None:
            return self.listed
        return np.concatenate([np.zeros(0, np.int64), *(_flat(box, shape) for box in self.boxes)])

    def places(self, shape: tuple[int, ...]) -> Iterator[Box]:
        """Index tuples that cover the words, each once."""
        if self.listed is not None:
            yield Points(np.unravel_index(self.listed, shape))
        else:
            yield from self.boxes


NONE = Words()


def _flat(box: Box, shape: tuple[int, ...]) -> Ints:
    total = np.zeros(1, np.int64)
    for index, n in zip(box, shape, strict=True):
        at = np.arange(index.start, index.stop) if isinstance(index, slice) else index
        total = (total[:, None] * n + at).ravel()
    return total


@dataclass(frozen=True)
class Pattern:
    """Words relative to a base word, so that equal passes can share them.

    A box holds wherever its base lies on the same coordinates of the ``fixed`` axes; elsewhere the list does.
    """

    box: Box | None
    listed: Ints
    count: int
    fixed: tuple[tuple[int, int], ...] = ()  # (axis, coordinate of the base)

    def at(self, base: int, shape: tuple[int, ...]) -> Words:
        if not self.count:
            return NONE
        if self.box is not None:
            first = np.unravel_index(base, shape)
            if all(int(first[axis]) == at for axis, at in self.fixed):
                return Words((tuple(shift(i, int(b)) for i, b in zip(self.box, first, strict=True)),))
        return Words(listed=self.listed + base)


def pattern(words: Ints, base: int, shape: tuple[int, ...], fixed: Sequence[int] = ()) -> Pattern:
    """Words given less ``base``, as one box where they are one; ``fixed`` axes carry into each other."""
    if not len(words):
        return Pattern(None, words, 0)
    first = np.unravel_index(base, shape)
    axes = []
    left = words + base  # peel axes off, fastest first, as long as the words are a product
    for n in reversed(shape):
        line = _distinct(left[: np.searchsorted(left, left[0] - left[0] % n + n)] % n)
        if len(left) % len(line):
            return Pattern(None, words, len(words))
        rows = left.reshape(-1, len(line))
        start = rows[:, 0] // n
        if not ((rows - start[:, None] * n) == line).all():
            return Pattern(None, words, len(words))
        axes.append(line)
        left = start
    box = tuple(index_of(a - f) for a, f in zip(reversed(axes), first, strict=True))
    return Pattern(box, words, len(words), tuple((axis, int(first[axis])) for axis in fixed))


def _distinct(values: Any) -> Ints:
    low = int(values.min())
    seen = np.zeros(int(values.max()) - low + 1, bool)
    seen[values - low] = True
    return np.flatnonzero(seen) + low


def chunk_boxes(extents: Sequence[int], start: int, stop: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Boxes of positions [start, stop) of a mixed-radix index, slowest extent first: ranges per digit."""
    if start >= stop:
        return
    if len(extents) == 1:
        yield ((start, stop),)
        return
    inner = prod(extents[1:])
    first, last = start // inner, (stop - 1) // inner
    if first == last:
        for rest in chunk_boxes(extents[1:], start - first * inner, stop - first * inner):
            yield ((first, first + 1), *rest)
        return
    if start % inner:
        for rest in chunk_boxes(extents[1:], start % inner, inner):
            yield ((first, first + 1), *rest)
        first += 1
    whole = stop // inner
    if whole > first:
        yield ((first, whole), *((0, n) for n in extents[1:]))
    if stop % inner:
        for rest in chunk_boxes(extents[1:], 0, stop % inner):
            yield ((whole, whole + 1), *rest)
