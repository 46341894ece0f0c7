"""A film of what is no convolution: an operator on the vector unit beside the array, a lane an
operation, kind after kind, as ``engines.analytic.vector_unit`` counts them.

The model counts operations and does not order them.  The order shown is one that keeps to the
counts: as many outputs at a time as there are lanes, each output's words one after the other.
``scene`` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.text_table import spaced
from accelsim.engines.analytic import vector_unit
from accelsim.hardware.architecture import Architecture
from accelsim.view.player.film import (
    MAC,
    MOST_CELLS,
    NOTHING,
    PADDING,
    Chapter,
    Film,
    FilmBuses,
    FilmPlane,
    Ints,
    NestLine,
    Positions,
)
from accelsim.workload.operators.activation import Softmax
from accelsim.workload.operators.operator import Operator, Work, axes_of, kind
from accelsim.workload.operators.pooling import Pool

WIDEST = 16  # lanes in a row of the picture


@dataclass(frozen=True, eq=False)
class Operated:
    """An operator with the words it reads and makes, each (batch, *shape), and its work for one
    input.  Of several inputs the first is shown.
    """

    op: Operator
    xs: tuple[npt.NDArray[Any], ...]
    out: npt.NDArray[Any]
    work: Work


def vector_film(
    arch: Architecture,
    done: Operated,
    *,
    title: str,
    facts: tuple[tuple[str, str], ...],
    node: str,
    most: int,
) -> Film:
    """The operator's cycles, the first ``most`` of them: every lane's input word and output word.

    Cycles in which the unit waits for memory come last, as the model adds them.
    """
    batch = len(done.out)
    ran = vector_unit.run(
        arch, done.work, [(x.size, False) for x in done.xs], (done.out.size, False), batch
    )
    lanes = _Lanes(arch, done, batch)
    frames = max(1, min(most, ran.cycles, MOST_CELLS // arch.vector.lanes))
    words, state, counted = lanes.frames(frames)
    planes = tuple(
        FilmPlane(tensor, tensor, "stays", _values(data, at), at)
        for tensor, data, at in (("ifmap", done.xs[0], words[0]), ("ofmap", done.out, words[1]))
        if (at != NOTHING).any() or tensor == "ofmap"
    )
    totals = vector_unit.columns(arch, ran)
    idle, none = np.full(state.shape, -1, np.int64), np.zeros((0, 0), np.int64)
    empty = np.zeros(0, np.int64)
    return Film(
        title=title,
        facts=facts,
        rows=state.shape[1],
        cols=state.shape[2],
        first=1,
        cycles=ran.cycles,
        planes=planes,
        state=state,
        nest=_lines(arch, ran),
        positions=Positions((), (), idle, idle, none, none, none, none),
        held=(),
        buses=FilmBuses(np.zeros(frames + 1, np.int64), empty, empty, empty, empty),
        chapters=lanes.chapters(frames, ran.cost.computing),
        opens=0,
        lag=0,
        counts={"vector_operations": counted},
        totals={k: v for k, v in totals.items() if v},
        shapes={
            "weight": (1, 1, 1, 1, 1),
            "ifmap": _five(done.xs[0].shape),
            "ofmap": _five(done.out.shape),
        },
        node=node,
        kind=kind(done.op),
    )


def _five(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A tensor's shape (batch, ...) as [N, G, channels, height, width]."""
    batch, *rest = shape
    if len(rest) == 3:
        return (batch, 1, *rest)
    if len(rest) == 1:
        return (batch, 1, rest[0], 1, 1)
    return (batch, 1, 1, prod(rest[:-1]), rest[-1] if rest else 1)


def _values(data: npt.NDArray[Any], words: Ints) -> Ints:
    flat = np.asarray(data).ravel().astype(np.int64)
    return np.where(words >= 0, flat[np.maximum(words, 0)], 0)


class _Lanes:
    """Which operation each lane does in every cycle."""

    def __init__(self, arch: Architecture, done: Operated, batch: int) -> None:
        self.unit, self.done = arch.vector, done
        rates: Mapping[Any, float] = self.unit.rates
        work = {k: n * batch for k, n in done.work.operations.items() if n}
        self.kinds = [(k, n, self.unit.lanes * rates.get(k, 1)) for k, n in work.items()]
        self.shape = -(-self.unit.lanes // WIDEST), min(WIDEST, self.unit.lanes)

    def frames(self, many: int) -> tuple[Ints, Ints, Ints]:
        """Input and output words [2, frames, rows, cols], state, and operations done so far."""
        rows, cols = self.shape
        words = np.full((2, many, rows * cols), NOTHING, np.int64)
        state, counted = np.zeros((many, rows * cols), np.int64), np.zeros(many, np.int64)
        t = before = 0
        for what, n, rate in self.kinds:
            touched = self._touched(what, n)
            cycle = 0
            while t < many and floor(cycle * rate) < n:
                start, end = floor(cycle * rate), min(n, floor((cycle + 1) * rate))
                busy = min(self.unit.lanes, max(1, end - start))
                state[t, :busy] = MAC
                if touched is not None:
                    words[:, t, :busy] = touched[:, start : start + busy]
                counted[t] = before + end
                t, cycle = t + 1, cycle + 1
            before += n
        counted[t:] = before
        return words.reshape(2, many, rows, cols), state.reshape(many, rows, cols), counted

    def chapters(self, many: int, computing: int) -> tuple[Chapter, ...]:
        """One for each kind of operation, and one for waiting."""
        marks, t = [], 0
        for what, n, rate in self.kinds:
            marks.append(Chapter(t, what, f"{spaced(n)} operations: {what}."))
            t += ceil(n / rate)
        marks.append(Chapter(t, "waits", "The operations are done; memory is waited for."))
        return tuple(m for m in marks if m.frame < many and (m.name != "waits" or t <= computing))

    def _touched(self, what: str, n: int) -> Ints | None:
        """Addresses of input and output word of a kind's operations in their order, [2, n]; None
        where the counts do not tell.
        """
        if isinstance(self.done.op, Pool):
            return self._in_windows(self.done.op, n)
        size, out = self.done.xs[0].size, self.done.out.size
        if size != out:
            return None
        every = np.arange(size)
        if n % size == 0:
            return np.stack([np.tile(every, n // size)] * 2)
        if isinstance(self.done.op, Softmax):
            return self._along_an_axis(self.done.op, every, n)
        return None

    def _in_windows(self, op: Pool, n: int) -> Ints | None:
        """Every word of a window after the other; all words, all but the first, or none."""
        x, out = self.done.xs[0], self.done.out
        at = op.view(np.arange(x.size).reshape(x.shape), PADDING).reshape(out.size, -1)
        at = at.astype(np.int64)
        taps = np.cumsum(at >= 0, axis=1) - 1  # the how-manieth word of its window each is
        outputs = np.broadcast_to(np.arange(out.size)[:, None], at.shape)
        words = at >= 0
        for kept in (words & (taps > 0), words):
            if int(kept.sum()) == n:
                which, where = at[kept], outputs[kept]
                order = np.lexsort((where, taps[kept], where // self.unit.lanes))
                return np.stack([which[order], where[order]])
        if n == out.size:
            return np.stack([np.full(n, NOTHING), np.arange(n)])
        return None

    def _along_an_axis(self, op: Softmax, every: Ints, n: int) -> Ints | None:
        """The compares and additions of a softmax: all words but the first of each line."""
        shape = self.done.out.shape
        axis = axes_of([op.axis], len(shape) - 1)[0] + 1
        later = np.delete(every.reshape(shape), 0, axis=axis).ravel()
        both = np.concatenate([every, later])
        order = {len(later): later, len(both): both}.get(n)
        return None if order is None else np.stack([order, order])


def _lines(arch: Architecture, ran: vector_unit.VectorRun) -> tuple[NestLine, ...]:
    """What the unit does, in place of a loop nest."""
    unit, cost = arch.vector, ran.cost
    lines = [f"{unit.lanes} lanes, an operation each a cycle unless it is slow"]
    lines += [f"  {spaced(n)} operations: {what}" for what, n in cost.operations.items()]
    lines += [
        f"reads {spaced(cost.reads)} words, {unit.read_words} a cycle",
        f"writes {spaced(cost.writes)} words, {unit.write_words} a cycle",
        f"{spaced(cost.computing)} cycles of operations, {spaced(ran.cycles)} in all",
    ]
    lines += [f"  {spaced(n)} cycles wait for {name}" for name, n in ran.stalls.items()]
    return tuple(NestLine(line) for line in lines)
