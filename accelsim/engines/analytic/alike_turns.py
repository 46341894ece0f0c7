"""Turns of long loops that are all alike, laid out only at their begin and end.

``pipeline`` plans the passes of a nest, and a plan may have a million: the innermost loops of a
plane of 224 x 224 outputs.  All but those at its edges do the same.  So of a loop whose turns
``first`` to ``end`` are alike, three are laid out at the begin of that run and two at its end, and
those between are taken to be the third.  Why that is the same plan, kind by kind and in the same
order:

- A pass's own work and words are products of factors (``settings``), and every factor is compared
  over the run before a turn of it is left out; where one differs, all is laid out.
- What a pass sets going is for at most two steps later (two slots), what makes room for it two
  steps with sums before; so after two turns that are alike the third finds what the second found,
  and until two turns before the end it sends what its own next two will need.
- The numbers of kinds are given in the order in which they first occur, which is among those kept.

This holds where a turn of the loop is whole steps of every level between (``long_runs``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapping.nest import Nest
from accelsim.workload.problem import RANKS

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]
BEGIN, END = 3, 2  # turns of a run that are laid out
SLIDES = [rank for rank in RANKS["ifmap"] if len(rank) == 2]
SHORTEST = 16  # turns left out, or it is not worth the trouble


class UnlikeError(Exception):
    """Turns that were taken to be alike are not."""


def long_runs(nest: Nest, loops: Sequence[int]) -> dict[int, Span]:
    """Of some loops, those with many turns that should be alike: the first of these turns and the
    one after the last.  That they are alike has to be seen (``AlikeTurns.short``).
    """
    runs: dict[int, Span] = {}
    sizes = nest.problem.size
    for i in loops:
        x = nest.loops[i]
        if x.trips < SHORTEST or x.dim not in sizes or nest.chain_of[x.dim].loops[0] != i:
            continue
        low, high = 0, sizes[x.dim]
        for dims in SLIDES:
            if x.dim in dims:
                out, filt = (sizes[d] for d in dims)
                free = nest.problem.slide(dims).free(out, filt)[dims.index(x.dim)]
                low, high = max(low, free[0]), min(high, free[1])
        # the turn that comes after a whole one among them, as ``settings`` has it
        run = -(-low // x.tile) + 1, high // x.tile
        if run[1] - run[0] >= BEGIN + END + SHORTEST:
            runs[i] = run
    return runs


class AlikeTurns:
    """The axes of [settings] of some loops, with the runs of alike turns cut short.

    ``shape``  what is laid out;  ``whole`` what it stands for;  ``cut`` by axis its run
    """

    def __init__(self, nest: Nest, loops: Sequence[int], runs: Mapping[int, Span]) -> None:
        self.whole = tuple([nest.loops[i].trips for i in loops])
        self.cut = {axis: runs[i] for axis, i in enumerate(loops) if i in runs}
        self.shape = self.whole
        for axis, run in self.cut.items():
            short = self.whole[axis] - self._left_out(run)
            self.shape = (*self.shape[:axis], short, *self.shape[axis + 1 :])

    @staticmethod
    def _left_out(run: Span) -> int:
        return run[1] - run[0] - BEGIN - END

    def short(self, values: Any) -> Any:
        """Values on the axes of the loops, without what is left out; a loop's axis has length 1,
        all its turns, or all that it advances into.  Raises UnlikeError where they differ.
        """
        for axis, (first, end) in self.cut.items():
            if values.shape[axis] == 1:
                continue
            off = self.whole[axis] - values.shape[axis]
            turns = np.moveaxis(values, axis, 0)
            if (turns[first - off : end - off] != turns[first - off]).any():
                raise UnlikeError
            kept = turns[: first - off + BEGIN], turns[end - off - END :]
            values = np.moveaxis(np.concatenate(kept), 0, axis)
        return values

    def summed(self, values: Ints) -> int:
        """The sum over all settings of values of those laid out, or over phases inside them."""
        for axis in self.cut:
            shape = [1] * values.ndim
            shape[axis] = -1
            values = values * self._times(axis).reshape(shape)
        return int(values.sum())

    def times(self) -> Ints:
        """How many settings each one that is laid out stands for, [laid out]."""
        many = np.ones(self.shape, np.int64)
        for axis in self.cut:
            np.moveaxis(many, axis, -1)[...] *= self._times(axis)
        return many

    def spread(self, values: Ints) -> Ints:
        """Values of all settings, [settings], from those laid out."""
        for axis in self.cut:
            values = np.repeat(values, self._times(axis), axis=axis)
        return values

    def _times(self, axis: int) -> Ints:
        """The same of an axis that is cut short: the third turn of the run is many."""
        times = np.ones(self.shape[axis], np.int64)
        times[self.cut[axis][0] + BEGIN - 1] += self._left_out(self.cut[axis])
        return times


__all__ = ["AlikeTurns", "UnlikeError", "long_runs"]
