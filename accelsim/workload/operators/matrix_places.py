"""How the matrices of two tensors meet in a product: which stand side by side as groups, and which
share one of the other tensor.

``array.Product`` lays its factors out by this for one layer, and its gradient lays them back.  A
*place* is a setting of the axes before a tensor's last two: a head, or a head of a group.  Where
several places of one factor meet the same matrix of the other, they are more rows (of the first
factor) or more columns (of the second) of one product, so the matrix they share is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accelsim.workload.arithmetic import Array
from accelsim.workload.operators.operator import Shape


class Places(NamedTuple):
    """The axes before the matrices, each taken apart: ``groups`` of both factors, of each group
    ``rows`` of the first factor and ``columns`` of the second; of each pair of these one is 1.
    """

    groups: Shape
    rows: Shape
    columns: Shape

    @property
    def whole(self) -> Shape:
        """The product's places."""
        return tuple(g * r * c for g, r, c in zip(*self, strict=True))


def meet(first: Shape, second: Shape) -> Places | None:
    """The places of two factors, counted from the last; None if they do not meet.

    Sizes of an axis agree, or one is a multiple of the other: of 32 heads and 8, four in a row
    share one.  1, or an axis that is missing, is shared by all.
    """
    rank = max(len(first), len(second))
    sizes = [
        ((1,) * (rank - len(first)) + first)[i : i + 1]
        + ((1,) * (rank - len(second)) + second)[i : i + 1]
        for i in range(rank)
    ]
    if any(max(pair) % min(pair) for pair in sizes):
        return None
    groups = tuple(min(pair) for pair in sizes)
    rows = tuple(a // g for (a, _), g in zip(sizes, groups, strict=True))
    return Places(groups, rows, tuple(b // g for (_, b), g in zip(sizes, groups, strict=True)))


@dataclass(frozen=True)
class Layout:
    """A tensor's axes taken apart to ``sizes`` and put in another ``order``; the batch is axis
    0.
    """

    sizes: Shape
    order: Shape

    def there(self, x: Array) -> Array:
        """The words of ``x`` in the new order, in a row of axes."""
        return np.ascontiguousarray(x.reshape(self.sizes).transpose(self.order))

    def back(self, x: Array) -> Array:
        """What ``there`` gave, as it was."""
        turned = x.reshape([self.sizes[axis] for axis in self.order])
        return np.ascontiguousarray(turned.transpose(np.argsort(self.order)))


def layouts(
    batch: int, places: Places, first: Shape, second: Shape, turned: tuple[bool, bool]
) -> tuple[Layout, Layout, Layout]:
    """From (batch, *places, matrix) to the axes of the layer, of the two factors and the product.

    ``first`` and ``second``: sizes of the matrices as they are stored; ``turned`` says which are
    read with rows and columns swapped.  The layer's axes: batch and groups, then rows and inner
    of the first, inner and columns of the second, rows and columns of the product.
    """
    rank = len(places.groups)
    groups, shared, last = range(1, 2 * rank, 2), range(2, 2 * rank + 1, 2), 2 * rank + 1

    def factor(own: Shape, matrix: Shape, swapped: bool, rows: bool) -> Layout:
        i, j = (last + 1, last) if swapped else (last, last + 1)
        order = (*groups, *shared, i, j) if rows else (*groups, i, *shared, j)
        return Layout((batch, *_mixed(places.groups, own), *matrix), (0, *order))

    m, n = first[turned[0]], second[not turned[1]]
    return (
        factor(places.rows, first, turned[0], rows=True),
        factor(places.columns, second, turned[1], rows=False),
        Layout(
            (batch, *_mixed(*places), m, n),
            (
                *(0, *range(1, 3 * rank, 3)),
                *(*range(2, 3 * rank, 3), 3 * rank + 1),
                *(*range(3, 3 * rank + 1, 3), 3 * rank + 2),
            ),
        ),
    )


def _mixed(*parts: Sequence[int]) -> Shape:
    """The first of each part, the second of each, and so on."""
    return tuple(size for sizes in zip(*parts, strict=True) for size in sizes)
