"""The array's own time, from the folds as they were executed (docs/design.md, section 5).

The one place where the event engine knows a fold's length.  ``ArrayRules`` says how long a fold is
and when the next one may start; ``PassFolds`` lays folds one after another.  The untimed engine
lays out a whole layer at once (``array_cycles``), the timed one pass by pass, since between passes
it may have to wait.

    preload   stream T words        results leave
    |--r--|------ gap ------|------------->|        one fold, its length seen from its first word
                            |--r'-|---- gap'            and the next, as early as the rules allow
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from accelsim.engines.event.transfers import Ints
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Nest

Fold = tuple[int, int, int]  # words streamed, rows, columns


class ArrayRules:
    """What section 5 says of one array.  Sums travel down its columns; where they travel along the
    rows (``nest.turned``) rows and columns change roles here, and nowhere else.

    ``systolic``   whether the array works in folds whose skews overlap; else a pass is its steps
    ``sums_held``  whether PEs hold sums (output-stationary), or an operand
    ``sides``      rows and columns of the array
    ``full``       whether the controller clocks the whole array for any fold
    ``after``      edges from the last MAC to its whole sum, on an array without systolic lines
    """

    def __init__(self, nest: Nest) -> None:
        array = self.array = nest.arch.array
        held = nest.keep[nest.levels - 1]
        self.systolic = nest.arch.systolic and bool(held)
        self.sums_held = nest.problem.accumulated in held
        self.after = _edges_after(nest)
        self.turned = nest.turned
        self.sides = (array.cols, array.rows) if self.turned else (array.rows, array.cols)
        self.full = array.partial_folds == "full"

    def fold(self, length: int, rows: int, cols: int) -> Fold:
        """A fold as it is clocked."""
        if self.full:
            return (length, *self.sides)
        return (length, cols, rows) if self.turned else (length, rows, cols)

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
    """Folds one after another, of a pass or of a whole layer; edges are counted from its start.

    ``first``, ``last``  the first fold and the latest
    ``at``               where the latest starts to stream; without overlap, where the next may
    ``end``              the latest edge that latches a result, which need not be the last fold's
    ``macs``             MAC steps
    """

    rules: ArrayRules
    first: Fold | None = None
    last: Fold = (0, 0, 0)
    at: int = 0
    end: int = 0
    macs: int = 0

    def add(self, folds: Folds, *, opening: bool) -> None:
        """Append the folds of a pass, or of a part of one; ``opening`` if nothing came before them
        in the layer, so that their first preload has nothing to hide behind.
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


def array_cycles(nest: Nest, folds: Iterable[Folds], *, merge: bool = True) -> int:
    """Array time of a layer's folds in the order they were executed, memory never waited for.

    Steps in a row that hold the same words are one fold, across passes too: nothing is loaded or
    let go between them.  With ``merge`` off each step is a fold of its own, as passes are timed.
    """
    rules = ArrayRules(nest)
    layer = PassFolds(rules)
    for part in _joined(folds) if merge and rules.systolic else folds:
        layer.add(part, opening=True)
    return layer.end


def _edges_after(nest: Nest) -> int:
    """Edges from the last MAC of an array without systolic lines to its whole sum: its stages and
    the links sums take from PE to PE.
    """
    links = 0
    if nest.arch.network_below(nest.levels - 2)[1].accumulated == "chain":
        over = [
            x
            for x in nest.loops
            if x.spatial and not nest.loop_depends(x, nest.problem.accumulated)
        ]
        links = sum(prod(x.trips for x in over if x.axis == axis) - 1 for axis in ("row", "col"))
    return nest.arch.array.pipeline_stages - 1 + links


def _runs(folds: Folds, rules: ArrayRules) -> Iterator[tuple[Fold, int]]:
    """Equal folds in a row, and how many they are."""
    same = (np.diff(folds.length) == 0) & (np.diff(folds.rows) == 0) & (np.diff(folds.cols) == 0)
    starts = [0, *(np.flatnonzero(~same) + 1).tolist(), len(folds.length)]
    for a, b in pairwise(starts):
        yield rules.fold(int(folds.length[a]), int(folds.rows[a]), int(folds.cols[a])), b - a


def _joined(folds: Iterable[Folds]) -> Iterator[Folds]:
    """The same folds with steps in a row that hold the same words as one, of all their T.  The last
    of each pass waits for the next pass, which may go on with its words.
    """
    last: Ints | None = None  # T, rows, cols and held [4, 1] of the fold that may go on
    for f in folds:
        size = np.stack([f.rows, f.cols, f.held])
        starts = np.flatnonzero(np.append(True, (np.diff(size, axis=1) != 0).any(axis=0)))
        table = np.concatenate([np.add.reduceat(f.length, starts)[None, :], size[:, starts]])
        if last is not None:
            if (last[1:] == table[1:, :1]).all():
                table[0, 0] += last[0, 0]
            else:
                yield _table_folds(last, f)
        last = table[:, -1:]
        if table.shape[1] > 1:
            yield _table_folds(table[:, :-1], f)
    if last is not None:
        yield _table_folds(last, f)


def _table_folds(table: Ints, like: Folds) -> Folds:
    """Folds of a table of T, rows, columns and held ``[4, folds]``."""
    length, rows, cols, held = table
    return Folds(length, rows, cols, like.active, int(length.sum()), held)
