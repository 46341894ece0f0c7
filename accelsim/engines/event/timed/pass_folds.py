"""The array's own time, pass by pass: when the next pass may follow, and when the last result is
latched (DESIGN section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from accelsim.engines.event.machine import edges_after
from accelsim.engines.event.transfers import Folds
from accelsim.mapping.nest import Nest

Fold = tuple[int, int, int]  # words streamed, rows, columns


class TimedArray:
    """Rules of an array.  ``systolic`` is whether it works in folds whose skews overlap; else a
    pass is its MAC steps.
    """

    def __init__(self, nest: Nest) -> None:
        array = self.array = nest.arch.array
        held = nest.keep[nest.levels - 1]
        self.systolic = nest.arch.systolic and bool(held)
        self.sums_held = nest.problem.accumulated in held
        self.after = edges_after(nest)
        self.turned = nest.turned  # sums travel along the rows: rows and columns change roles
        self.sides = (array.cols, array.rows) if self.turned else (array.rows, array.cols)
        self.full = array.partial_folds == "full"

    def length(self, fold: Fold) -> int:
        """Edges from the start of a fold's streaming to the one that latches its last result."""
        t, r, c = fold
        if not self.sums_held:
            return t + self.sides[0] + c - 2
        return t + r + c - 2 + (0 if self.array.outputs == "in_place" else self.sides[0])

    def preload(self, fold: Fold) -> int:
        """Edges to put the held operand into the array."""
        return 0 if self.sums_held else fold[1]

    def gap(self, fold: Fold, following: Fold) -> int:
        """Edges from the start of one fold to that of the next, where folds overlap."""
        (t, r, _), (t_next, r_next, _) = fold, following
        if self.sums_held:
            return {"in_place": t, "accumulators": t + r - 1, "register": max(t, t + r - t_next)}[
                self.array.outputs
            ]
        return max(t, r_next) if self.array.weight_registers == 2 else t + r_next - 1


@dataclass
class PassFolds:
    """The folds of one pass, edges counted from its start.  ``exposed`` is the preload of the first
    fold of a layer.
    """

    rules: TimedArray
    first: Fold | None = None
    last: Fold = (0, 0, 0)
    at: int = 0  # where the last fold starts to stream; without overlap, where the next may
    end: int = 0  # the latest edge that latches a result
    macs: int = 0  # MAC steps

    def add(self, folds: Folds, *, opening: bool) -> None:
        """Append the folds of a pass, or of a part of one; ``opening`` if nothing came before them
        in the layer.
        """
        steps = int(folds.length.sum())
        self.macs += steps
        if not self.rules.systolic:
            self.at += steps
            self.end = self.at + self.rules.after
            return
        for fold, times in _runs(folds, self.rules):
            if not self.rules.array.overlap:
                self.at += times * (self.rules.preload(fold) + self.rules.length(fold))
                self.end = self.at
            else:
                if self.first is not None:
                    self.at += self.rules.gap(self.last, fold)
                elif opening:
                    self.at += self.rules.preload(fold)
                self.at += (times - 1) * self.rules.gap(fold, fold)
                self.end = max(self.end, self.at + self.rules.length(fold))
            self.first = self.first or fold
            self.last = fold

    def gaps(self, following: Fold | None) -> int:
        """Edges until the next pass may start, given its first fold; of the last pass, until a fold
        like its last one might.
        """
        if not self.rules.systolic or not self.rules.array.overlap:
            return self.at
        return self.at + self.rules.gap(self.last, following or self.last)


def _runs(folds: Folds, rules: TimedArray) -> Iterator[tuple[Fold, int]]:
    """Equal folds in a row, and how many they are."""
    same = (np.diff(folds.length) == 0) & (np.diff(folds.rows) == 0) & (np.diff(folds.cols) == 0)
    starts = [0, *(np.flatnonzero(~same) + 1).tolist(), len(folds.length)]
    for a, b in pairwise(starts):
        used = (int(folds.rows[a]), int(folds.cols[a]))
        rows, cols = rules.sides if rules.full else reversed(used) if rules.turned else used
        yield (int(folds.length[a]), rows, cols), b - a
