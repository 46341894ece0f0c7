"""Choices of a group in a tree of clusters, each with the least and the most of every table entry
in it.

The tighter a cluster's least and most lie together, the closer its bound is to what its mappings
reach.  So a node is cut along the entry in which it is widest, entries counted by what they cost
near the best mapping known.  Built once a group, when the first good mapping is there; ``search``
walks several trees at a time, and ``BoundTable.bounds`` reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.mapper.cell import ChoiceGroup
from accelsim.mapper.packed import Packed

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# how much a factor of e in what a choice occupies counts, beside the share of the objective a
# bracket has
USAGE = 0.2


@dataclass(frozen=True)
class Clusters:
    """Node 0 is the whole group.  Choices are reordered: node i holds rows ``start[i] :
    stop[i]``.
    """

    order: Ints
    start: Ints
    stop: Ints
    left: Ints  # children; -1 where there are none
    right: Ints
    least: Packed  # of first [nodes, brackets]
    most: Packed
    ratio_least: Packed
    ratio_most: Packed
    whole_least: Packed  # of every column's product over all positions [nodes, columns]
    kept_most: Packed  # of what is kept, as parts of that [nodes, kept terms]
    used_least: Floats  # [nodes, usage]
    used_most: Floats
    work_least: Floats  # of steps x rows x columns [nodes]
    spread: Floats  # how much the entries of a node differ, weighted by what they cost

    @property
    def size(self) -> Ints:
        return self.stop - self.start


def build(
    group: ChoiceGroup, cost: Floats, leaf: int, tick: Callable[[], None] = lambda: None
) -> Clusters:
    """A tree in which each node is cut in half along the entry that matters most; ``tick`` is
    called now and then, and may raise.

    ``cost`` is what each bracket contributes near the best mapping known, as a share of the whole.
    """
    n = len(group.tiles)
    first, ratio = group.first, group.ratio
    # logarithms, for products are bounded: what counts is by which factor entries differ
    features = np.hstack(
        [
            np.where(first.data > 0, np.log(np.maximum(first.data, 1e-300)), -1.0)
            * first.folded(cost),
            ratio.data * ratio.folded(cost) * 2.0,
            np.log(np.maximum(group.usage, 1.0)) * USAGE,
        ]
    )
    order = np.arange(n)
    start, stop, left, right = [0], [n], [-1], [-1]
    spreads: list[float] = []
    at = 0
    while at < len(start):
        if at % 1024 == 0:
            tick()
        a, b = start[at], stop[at]
        part = features[order[a:b]]
        low, high = part.min(axis=0), part.max(axis=0)
        width = high - low
        spreads.append(float(width.sum()))
        best = int(width.argmax())
        if b - a > leaf and width[best] > 0:
            column = part[:, best]
            goes_left = column <= (low[best] + high[best]) / 2
            order[a:b] = np.concatenate([order[a:b][goes_left], order[a:b][~goes_left]])
            middle = a + int(goes_left.sum())
            left[at], right[at] = len(start), len(start) + 1
            start += [a, middle]
            stop += [middle, b]
            left += [-1, -1]
            right += [-1, -1]
        at += 1

    def ends(table: Floats) -> tuple[Floats, Floats]:
        """Least and most [nodes, columns] of a table's rows in every node, from the leaves up."""
        table = table[order]
        low, high = np.empty((len(start), table.shape[1])), np.empty((len(start), table.shape[1]))
        for i in range(len(start) - 1, -1, -1):
            if left[i] < 0:
                part = table[start[i] : stop[i]]
                low[i], high[i] = part.min(axis=0), part.max(axis=0)
            else:
                low[i] = np.minimum(low[left[i]], low[right[i]])
                high[i] = np.maximum(high[left[i]], high[right[i]])
        return low, high

    assert group.whole is not None and group.kept is not None
    least, most = (Packed(x, first.index) for x in ends(first.data))
    ratio_least, ratio_most = (Packed(x, ratio.index) for x in ends(ratio.data))
    used_least, used_most = ends(group.usage)
    work_least = np.zeros(len(start)) if group.work is None else ends(group.work[:, None])[0][:, 0]
    whole_least = Packed(ends(group.whole.data)[0], group.whole.index)
    kept_most = Packed(ends(group.kept.data)[1], group.kept.index)
    return Clusters(
        order,
        np.array(start),
        np.array(stop),
        np.array(left),
        np.array(right),
        least,
        most,
        ratio_least,
        ratio_most,
        whole_least,
        kept_most,
        used_least,
        used_most,
        work_least,
        np.array(spreads),
    )
