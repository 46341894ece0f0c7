"""The array's own time, from the folds as they were executed (docs/design.md, section 5).

The one place where the event engine knows a fold's length.  ``ArrayRules`` says how long a fold is
and what lies between it and the next one; ``PassFolds`` lays the folds of one pass one after
another, going on with the fold that the pass before left open (``OpenFold``).  The untimed engine
takes a whole layer for one pass (``array_cycles``), the timed one goes pass by pass, since between
passes it may have to wait.

    preload   stream T words         between   results leave
    |---r---|-----------------------|---------|----------->|      a fold, and as soon as the rules
                                    |---r'---|------------        allow the next one's words stream

Steps in a row that hold the same words are one fold, over passes too: nothing is loaded or let go
between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from accelsim.engines.event.transfers import Ints
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Nest


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

    def clocked(self, rows: Any, cols: Any) -> tuple[Any, Any]:
        """Rows and columns of folds as they are clocked, sums travelling down the columns: r and c
        below.  Whole numbers, or arrays ``[folds]``.
        """
        if self.full:
            return 0 * rows + self.sides[0], 0 * cols + self.sides[1]
        return (cols, rows) if self.turned else (rows, cols)

    def result(self, r: Any, c: Any, *, whole: Any) -> Any:
        """Edges from a streamed word to the one that latches the last result it has a part in.

        ``whole``: the word is its fold's last.  Sums that PEs hold then leave; before that, the
        word is only used by the last PE.
        """
        if not self.sums_held:
            return self.sides[0] + c - 2
        return r + c - 2 + whole * (self.array.outputs != "in_place") * self.sides[0]

    def preload(self, r: Any) -> Any:
        """Edges to put the held operand into r rows."""
        return 0 * r if self.sums_held else r

    def stands(self, t: Any, before: Any) -> Any:
        """Edges that a fold of T words stands still before its last one: where sums leave through
        a register of their own, those of the fold before, ``before`` rows of them, leave first.
        """
        shifted = self.array.overlap and self.sums_held and self.array.outputs == "register"
        return np.maximum(before - t, 0) if shifted else 0 * t

    def between(self, t: Any, r: Any, c: Any, next_r: Any) -> Any:
        """Edges from the last streamed word of a fold of T words to the moment when the next fold
        may begin with its first word, or without overlap with its preload.
        """
        if not self.array.overlap:
            return self.result(r, c, whole=True)
        if self.sums_held:
            return r - 1 if self.array.outputs == "accumulators" else 0 * t
        return np.maximum(next_r - t, 0) if self.array.weight_registers == 2 else next_r - 1 + 0 * t


@dataclass(frozen=True)
class OpenFold:
    """The latest fold, with which the next pass may go on.

    ``t``           words streamed so far
    ``rows, cols``  of PEs it uses
    ``held``        a number for what the PEs hold
    ``before``      rows clocked of the fold before it, 0 if there is none
    """

    t: int
    rows: int
    cols: int
    held: int
    before: int

    def goes_on(self, rows: int, cols: int, held: int) -> bool:
        """Whether a fold of so many rows and columns is this one."""
        return (self.rows, self.cols, self.held) == (rows, cols, held)


class PassFolds:
    """Folds one after another, of a pass or of a whole layer; edges are counted from its start.

    ``open``   the latest fold; before ``add`` that of the pass before, None in a layer's first pass
    ``first``  rows, columns and held words of the first fold; None before ``add``
    ``at``     where the latest word has streamed
    ``end``    the latest edge that latches a result, or on which the last PE uses a word
    ``macs``   MAC steps
    ``told``   if it was asked for: from when to when folds stream, and words, [folds] each
    """

    def __init__(
        self, rules: ArrayRules, before: PassFolds | None = None, *, telling: bool = False
    ) -> None:
        self.rules = rules
        self.told: list[tuple[Ints, Ints, Ints]] | None = [] if telling else None
        self.open: OpenFold | None = before.open if before is not None else None
        self.first: tuple[int, int, int] | None = None
        self.at = self.end = self.macs = 0

    def add(self, folds: Folds) -> None:
        """Append the folds of a pass, or of a part of one."""
        self.macs += int(folds.length.sum())
        if not self.rules.systolic:
            self.at = self.macs
            self.end = self.at + self.rules.after
            return
        streamed, rows, cols, held = _joined(folds)
        first, rules, fold = (int(rows[0]), int(cols[0]), int(held[0])), self.rules, self.open
        if self.first is not None:  # an earlier part of this pass
            self.close(first)
        self.first = self.first or first
        r, c = rules.clocked(rows, cols)
        t, before, lead = streamed.copy(), np.append(0, r[:-1]), rules.preload(r)
        if rules.array.overlap:  # hidden behind the fold before, if there is one
            lead = lead * (np.arange(len(r)) == 0) * (fold is None)
        if fold is not None:
            before[0] = rules.clocked(fold.rows, fold.cols)[0]
            if fold.goes_on(*first):
                t[0], before[0], lead = t[0] + fold.t, fold.before, lead * (np.arange(len(r)) > 0)
        whole = np.arange(len(t)) < len(t) - 1
        edges = lead + streamed + whole * rules.stands(t, before)
        edges[1:] += rules.between(t[:-1], r[:-1], c[:-1], r[1:])
        words = self.at + np.cumsum(edges)
        if self.told is not None:
            self.told.append((words - streamed, words, streamed))
        self.end = max(self.end, int((words + rules.result(r, c, whole=whole)).max()))
        self.at = int(words[-1])
        last = (int(x[-1]) for x in (t, rows, cols, held, before))
        self.open = OpenFold(*last)

    def close(self, following: tuple[int, int, int] | None) -> int:
        """Edges until the next pass may start, whose first fold is ``following``; of the last pass,
        until a fold like its last one might.
        """
        fold, rules = self.open, self.rules
        if not rules.systolic or fold is None:
            return self.at
        if following is not None and fold.goes_on(*following):
            return self.at
        r, c = rules.clocked(fold.rows, fold.cols)
        next_r = r if following is None else rules.clocked(*following[:2])[0]
        self.at += int(rules.stands(fold.t, fold.before))
        self.end = max(self.end, self.at + int(rules.result(r, c, whole=True)))
        self.at += int(rules.between(fold.t, r, c, next_r))
        return self.at


def array_cycles(nest: Nest, folds: Iterable[Folds]) -> int:
    """Array time of a layer's folds in the order they were executed, memory never waited for."""
    layer = PassFolds(ArrayRules(nest))
    for part in folds:
        layer.add(part)
    layer.close(None)
    return layer.end


def _edges_after(nest: Nest) -> int:
    """Edges from the last MAC of an array without systolic lines to its whole sum: its stages and
    the links sums take from PE to PE.
    """
    links = 0
    if nest.arch.network_below(nest.levels - 2)[1].accumulated == "chain":
        acc = nest.problem.accumulated
        outside = nest.keepers(acc)[-1 if acc not in nest.keep[nest.levels - 1] else -2]
        over = [  # loops further out make sums of their own, which do not meet here
            x
            for x in nest.loops
            if x.spatial and x.level >= outside and not nest.loop_depends(x, acc)
        ]
        links = sum(prod(x.trips for x in over if x.axis == axis) - 1 for axis in ("row", "col"))
    return nest.arch.array.pipeline_stages - 1 + links


def _joined(folds: Folds) -> tuple[Ints, Ints, Ints, Ints]:
    """Length, rows, columns and held words of a pass's steps, ``[folds]`` each; steps in a row
    that hold the same words are one, of all their T.
    """
    size = np.stack([folds.rows, folds.cols, folds.held])
    starts = np.flatnonzero(np.append(True, (np.diff(size, axis=1) != 0).any(axis=0)))
    rows, cols, held = size[:, starts]
    return np.add.reduceat(folds.length, starts), rows, cols, held
