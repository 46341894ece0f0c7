"""Sets of words of one tensor: disjoint boxes of coordinates, or a plain list of flat addresses.

What events carry.  A box is what NumPy indexes with, so copying the words of a tile is one slice a
box; a list serves where words make no few boxes.  Passes that differ only in where they lie share
them (``moved``).
"""

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
# What numpy takes, one index per axis: slices, or index arrays that broadcast together.
Box = tuple[Any, ...]


def index_of(coordinates: Ints) -> Index:
    """A slice where sorted coordinates are consecutive."""
    n = len(coordinates)
    if n and int(coordinates[-1]) - int(coordinates[0]) == n - 1:
        return slice(int(coordinates[0]), int(coordinates[0]) + n)
    return coordinates


def box_of(indices: Sequence[Index]) -> Box:
    """The box that one index per axis spans: all slices, or else a grid of index arrays."""
    if all(isinstance(i, slice) for i in indices):
        return tuple(indices)
    return np.ix_(*(np.arange(i.start, i.stop) if isinstance(i, slice) else i for i in indices))


def box_size(box: Box) -> int:
    """Words in a box."""
    if isinstance(box[0], slice):
        return prod([i.stop - i.start for i in box])
    return prod(np.broadcast_shapes(*(i.shape for i in box)))


def shifted(box: Box, by: Sequence[int]) -> Box:
    """A box moved along each axis."""
    if isinstance(box[0], slice):
        return tuple([slice(i.start + b, i.stop + b) for i, b in zip(box, by, strict=True)])
    return tuple([i + b for i, b in zip(box, by, strict=True)])


@dataclass(frozen=True)
class WordSet:
    """Words of a tensor, each once: ``boxes``, or, where they make no few boxes, ``listed``
    [words], flat addresses.
    """

    boxes: tuple[Box, ...] = ()
    listed: Ints | None = None

    @cached_property
    def count(self) -> int:
        return (
            len(self.listed)
            if self.listed is not None
            else sum([box_size(box) for box in self.boxes])
        )

    def __len__(self) -> int:
        return self.count

    def flat(self, shape: tuple[int, ...]) -> Ints:
        """Flat addresses in a tensor of ``shape``, ``[words]``; sorted within a box only."""
        if self.listed is not None:
            return self.listed
        return np.concatenate([np.zeros(0, np.int64), *(_flat(box, shape) for box in self.boxes)])

    def places(self, shape: tuple[int, ...]) -> Sequence[Box]:
        """Boxes that cover the words, each once."""
        return self.boxes if self.listed is None else (np.unravel_index(self.listed, shape),)


NONE = WordSet()


def _flat(box: Box, shape: tuple[int, ...]) -> Ints:
    grid = np.ix_(*(np.arange(i.start, i.stop) for i in box)) if isinstance(box[0], slice) else box
    total = np.zeros((), np.int64)
    for at, n in zip(grid, shape, strict=True):
        total = total * n + at
    return total.ravel()


def moved(
    words: WordSet, old: int, new: int, shape: tuple[int, ...], fixed: Sequence[int]
) -> WordSet:
    """Words as far from address ``new`` of a tensor of ``shape`` as they are from ``old``.

    A box stays one where both lie on the same coordinates of the ``fixed`` axes, those that carry
    into each other; elsewhere its words are listed.
    """
    if new == old or not words.count:
        return words
    if words.listed is None:
        by = [to - at for at, to in zip(digits(old, shape), digits(new, shape), strict=True)]
        if not any(by[axis] for axis in fixed):
            return WordSet(tuple([shifted(box, by) for box in words.boxes]))
    return WordSet(listed=words.flat(shape) + (new - old))


def digits(number: Any, sizes: Sequence[Any]) -> list[Any]:
    """Of mixed-radix numbers each digit, the first the slowest; ``sizes`` may be arrays too."""
    digit = []
    for n in reversed(sizes):
        digit.append(number % n)
        number = number // n
    return digit[::-1]


def product_set(factors: Sequence[Ints], base: int, shape: tuple[int, ...]) -> WordSet:
    """All sums of one offset from each factor and ``base``, an address; each factor's offsets lie
    on axes of their own, and are not none.
    """
    first = digits(base, shape)
    axes = [np.array([at]) for at in first]
    for f in factors:
        lines = [_distinct(np.asarray(a)) for a in np.unravel_index(f + base, shape)]
        along = [i for i, x in enumerate(lines) if len(x) > 1 or x[0] != first[i]]
        if prod(len(lines[i]) for i in along) != len(f):
            return WordSet(listed=outer_sum(factors) + base)
        for i in along:
            axes[i] = lines[i]
    return WordSet((box_of([index_of(x) for x in axes]),))


def outer_sum(lists: Sequence[Ints]) -> Ints:
    """All sums of one number from each list, flat, the last list fastest."""
    total = np.zeros(1, np.int64)
    for x in lists:
        total = (total[:, None] + x[None, :]).ravel()
    return total


def _distinct(values: Any) -> Ints:
    low = int(values.min())
    seen = np.zeros(int(values.max()) - low + 1, bool)
    seen[values - low] = True
    return np.flatnonzero(seen) + low


def chunk_boxes(
    extents: Sequence[int], start: int, stop: int
) -> Iterator[tuple[tuple[int, int], ...]]:
    """Boxes of positions [start, stop) of a mixed-radix index, slowest extent first: ranges per
    digit.
    """
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
