"""The cycle engine: a nest carried out by clocking every register of the array.

``run`` walks the steps of the levels outside the PEs (``levels``), works out which word each PE
gets in each of them (``addresses``) and clocks the array, of systolic lines (``lines``,
``systolic``) or of buses (``planning``, ``buses``).  Nothing here knows how long a fold takes:
``cycles`` is the number of the edge that latched the last result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle import line_pes as pe
from accelsim.engines.cycle.addresses import Where
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.levels import Traffic, steps
from accelsim.engines.cycle.lines import FoldWork, Lines, stream
from accelsim.engines.cycle.recording import record_buses, record_lines
from accelsim.engines.cycle.sampling import StepSampler
from accelsim.engines.cycle.systolic import Build, FoldTask, Landing, SystolicArray
from accelsim.engines.cycle.trace import Trace
from accelsim.engines.moved import Moved, Moves
from accelsim.engines.run import Run
from accelsim.mapping.nest import Boundary, Nest

Data = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")


def run(nest: Nest, data: Data, *, sample_folds: bool = False, trace: Trace | None = None) -> Run:
    """Carry out a nest on ``data`` (operand arrays by tensor name, ``bias`` of shape (G, M) if the
    layer has one).

    ``trace`` records a window of edges.  ``sample_folds``: one fold of each distinct shape is
    clocked and its counts are multiplied; there are no outputs then (``data`` is not looked at),
    and ``sampled`` says so.  Counts and cycles stay exact: the levels outside the PEs are
    walked word by word all the same, and the start of every fold is asked of the same controller;
    what is multiplied is what a fold of the shape was seen to do.

    Raises MappingError for a nest the clocked array cannot run, ValueError for a trace of a sampled
    run, HazardError if words collide, which would be the engine's own fault.
    """
    if sample_folds and trace is not None:
        raise ValueError("a trace needs every fold to be run; leave sample_folds out")
    if nest.arch.padding is not None and nest.problem.accumulated != "ifmap":
        top, bottom, left, right = nest.problem.padding
        nest = nest.framed()
        if not sample_folds:
            frame = ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right))
            data = dict(data) | {"ifmap": np.pad(data["ifmap"], frame)}
    if sample_folds:
        data = {t: np.zeros(nest.problem.shape(t), np.int8) for t in nest.problem.operands}
        data["bias"] = np.zeros((nest.problem.G, nest.problem.M), np.int8)
        return (
            _SampledSystolic(nest, data).run() if nest.arch.systolic else _sampled_plain(nest, data)
        )
    return _Systolic(nest, data, trace).run() if nest.arch.systolic else _plain(nest, data, trace)


class Levels:
    """All three tensors in the levels outside the PEs, and what crosses every boundary."""

    def __init__(self, nest: Nest, data: Data) -> None:
        self.nest, self.acc = nest, nest.problem.accumulated
        self.moves = {b: Moved() for b in nest.boundaries}
        start = {t: np.ascontiguousarray(data[t]).ravel() for t in nest.problem.operands}
        sums = np.zeros(nest.problem.shape(self.acc), np.int64)
        if nest.problem.bias and nest.problem.direction == "forward":
            sums += data["bias"].astype(np.int64)[None, :, :, None, None]
        start[self.acc] = sums.ravel()
        self.traffic = {t: Traffic(nest, t, self.moves, x) for t, x in start.items()}
        self.sums = self.traffic[self.acc]

    def operands_to(self, at: Where) -> None:
        """Move on to a step, operands only."""
        for t in self.nest.problem.operands:
            self.traffic[t].advance(at)


class _Systolic:
    """Folds of a nest on systolic lines, every one clocked."""

    def __init__(self, nest: Nest, data: Data, trace: Trace | None = None) -> None:
        self.nest, self.lines, self.trace = nest, Lines(nest), trace
        self.levels = Levels(nest, data)
        every = [self.levels.traffic[t].values.dtype for t in nest.problem.operands]
        self.narrow = nest.arch.bits.psum <= 32 and every == [np.int16] * len(every)
        self.array = self._array(trace is None and self.narrow)
        self.array.ready = self._arrived
        # folds whose sums have not all landed: where the outer loops stand, whether sums stay
        self.waiting: deque[tuple[Where, bool]] = deque()
        if trace is not None:
            record_lines(self.array, self.lines, trace, lambda: self._counted(self.array.tally))

    def _array(self, narrow: bool) -> SystolicArray:
        array, lines = self.nest.arch.array, self.lines
        return SystolicArray(
            Build(
                "held_outputs" if lines.outputs_held else "held_operand", lines.rows, lines.cols,
                array.overlap, array.weight_registers, array.outputs, array.partial_folds, narrow,
            )
        )  # fmt: skip

    def run(self) -> Run:
        folds, compute, active, new = 0, 0, 0, True
        for fold, following in _with_next(self.lines.fold(at) for at in steps(self.nest)):
            changes = following is None or self.lines.changes(fold, following)
            self.levels.operands_to(fold.at)
            stays = self.lines.outputs_held and not changes
            self._issue(fold, self._task(fold, new, stays))
            new, folds = changes, folds + 1
            compute += len(fold.inside)
            active = max(active, fold.r * fold.c)
        tally, cycles, clocked = self._end()
        result = self.levels.sums.finish()
        moves, macs = self._counted(tally), int(tally[pe.MACS])
        if self.trace is not None:
            self.trace.close(cycles)
        return _outcome(result, moves, macs, compute, active, cycles, folds, clocked)

    def _end(self) -> tuple[pe.Ints, int, int | None]:
        """All folds are issued: what was counted, the edge of the last result, and of a sampled run
        how many were clocked.
        """
        self.array.drain()
        assert not self.waiting
        return self.array.tally, self.array.last_result, None

    def _task(self, fold: FoldWork, opens: bool, stays: bool) -> FoldTask:
        """A fold's work for the array."""
        lines = self.lines
        rows, falling = (lines.streamed(t, fold) for t in (lines.along_rows, lines.along_cols))
        streams = (rows, lines.along_rows), (falling, lines.along_cols), (fold.holds, lines.held)
        rows, falling, held = (stream(x, self.levels.traffic[t]) for x, t in streams)
        return FoldTask(rows, falling, held, opens, stays)

    def _issue(self, fold: FoldWork, task: FoldTask) -> None:
        self.waiting.append((fold.at, task.stays))
        if self.trace is not None and self.array.edge <= self.trace.last:
            self.trace.fold(self.array.issued, fold.at, fold.inside)
        self.array.issue(task)

    def _arrived(self, landing: Landing) -> None:
        """Results arrive at the level outside."""
        at, stays = self.waiting.popleft()
        self._land(at, landing.words[:0] if stays else landing.words, landing.values)

    def _land(self, at: Where, sums: Any, values: Any) -> None:
        b, traffic = self.lines.outer[self.levels.acc], self.levels.sums
        traffic.advance(at)
        traffic.land(b, b.parent, 0, sums.ravel(), values.ravel())

    def _counted(self, tally: pe.Ints) -> dict[Boundary, Moved]:
        """What has moved: the levels' own counts, and the array's tally where the array counts."""
        lines, moves, n = self.lines, dict(self.levels.moves), [int(x) for x in tally]
        rows, cols, held = (
            lines.outer[t] for t in (lines.along_rows, lines.along_cols, lines.held)
        )
        inner = lines.inner
        made = n[pe.SUMS_MADE]
        moves[rows] = Moved(taken=n[pe.ROWS_TAKEN], read=n[pe.ROWS_FED])
        if lines.outputs_held:
            landed = moves[held]
            moves[cols] = Moved(taken=n[pe.OTHER_TAKEN], read=n[pe.OTHER_FED])
            moves[held] = Moved(drained=n[pe.LEFT], arrived=landed.arrived, updated=landed.updated)
            zeros = self.nest.arch.first_read == self.nest.arch.level_names[lines.pe]
            opened = 0 if zeros else n[pe.OPENED]
            moves[inner] = Moved(drained=made, arrived=made, updated=made - opened)
        else:
            landed = moves[cols]
            moves[held] = Moved(taken=n[pe.HELD_LATCHED], read=n[pe.OTHER_FED])
            moves[inner] = Moved(taken=n[pe.OTHER_TAKEN], read=n[pe.OTHER_TAKEN])
            moves[cols] = Moved(drained=made, arrived=landed.arrived, updated=landed.updated)
        return moves


class _SampledSystolic(_Systolic):
    """Folds of a nest on systolic lines, one clocked of each kind; the controller is asked for the
    start of every fold.
    """

    def __init__(self, nest: Nest, data: Data) -> None:
        super().__init__(nest, data)
        # by kind: edges from the first operand to the last result, counts, how many there are
        self.known: dict[Any, tuple[int, pe.Ints]] = {}
        self.times: dict[Any, int] = {}
        self.last_result = 0

    def _issue(self, fold: FoldWork, task: FoldTask) -> None:
        """A fold's way through the array and its counts depend on its size, on how many of its
        words are real, and on what it finds and leaves.
        """
        kinds = [x.kinds for x in (task.rows, task.falling, task.held)]
        real = [np.count_nonzero(x & bit) for x in kinds for bit in (pe.WORD, pe.READ)]
        kind = (*task.size, task.opens, task.stays, *real)
        if kind not in self.known:
            self.known[kind] = self._clocked(task)
        self.times[kind] = self.times.get(kind, 0) + 1
        after = self.last_result + 1 if task.opens and not self.array.build.overlap else 1
        start = self.array.reserve(task, after)
        self.last_result = max(self.last_result, start.operand + self.known[kind][0])
        words = (task.held if self.lines.outputs_held else task.falling).words
        words = words[:0] if task.stays else words
        self._land(fold.at, words, np.zeros_like(words))

    def _clocked(self, task: FoldTask) -> tuple[int, pe.Ints]:
        """Edges and counts of a fold by itself; what it goes on with is left by another one."""
        array = self._array(self.narrow)
        before = replace(task, opens=True, stays=self.lines.outputs_held)
        for one in [task] if task.opens else [before, task]:
            counted, start = array.tally.copy(), array.issue(one)
            array.drain()
            array.run_to(array.ports[0].end + array.cols)  # operands that still move are taken
        return array.last_result - start.operand, array.tally - counted

    def _end(self) -> tuple[pe.Ints, int, int | None]:
        total = sum(tally * self.times[kind] for kind, (_, tally) in self.known.items())
        return np.asarray(total), self.last_result, len(self.known)


def _plain(nest: Nest, data: Data, trace: Trace | None) -> Run:
    """Steps of a nest on a plain array, every one clocked."""
    levels, folds = Levels(nest, data), 0
    array = BusArray(nest, levels.traffic)
    if trace is not None:
        record_buses(array, trace, lambda: levels.moves)
    for at, following in _with_next(steps(nest)):
        levels.operands_to(at)
        step = array.plan(at, following)
        if trace is not None and array.edge <= trace.last:
            trace.fold(step.number, at, step.slots)
        array.carry_out(step)
        folds += 1
    array.drain()
    result, last = levels.sums.finish(), array.last_result
    if trace is not None:
        trace.close(last)
    macs, active = array.macs_done, array.active
    return _outcome(result, levels.moves, macs, array.compute, active, last, folds)


def _sampled_plain(nest: Nest, data: Data) -> Run:
    """Steps of a nest on a plain array, one clocked of each kind."""
    levels = Levels(nest, data)
    array = BusArray(nest, levels.traffic)
    sampler = StepSampler(array)
    edge = last = macs = active = folds = 0
    for at, following in _with_next(steps(nest)):
        levels.operands_to(at)
        sample, base = sampler.take(at, following)
        levels.sums.advance(at)
        words = sample.words + base
        levels.sums.land(array.outer[levels.acc], array.pe, sample.pe, words, np.zeros_like(words))
        last, edge = max(last, edge + sample.last), edge + sample.slots
        macs, active, folds = macs + sample.macs, max(active, sample.active), folds + 1
    levels.sums.finish()
    return _outcome(None, levels.moves, macs, edge, active, last, folds, len(sampler.known))


def _outcome(
    result: Any, moves: Moves, macs: int, compute: int, active: int, cycles: int, folds: int,
    clocked: int | None = None,
) -> Run:  # fmt: skip
    """What is said of a run; of a sampled one, of how many folds were ``clocked``."""
    if clocked is None:
        return Run(result, moves, macs, compute, active, cycles, folds_total=folds, folds_run=folds)
    sampled = (
        f"sampled: {clocked} of {folds} folds clocked, one of each kind, "
        f"and their counts multiplied; "
        f"counts and cycles are exact, outputs are not computed"
    )
    return Run(
        None, moves, macs, compute, active, cycles, folds_total=folds, folds_run=clocked,
        sampled=sampled,
    )  # fmt: skip


def _with_next(items: Iterator[T]) -> Iterator[tuple[T, T | None]]:
    """Each item with the one after it, None at the end."""
    before: T | None = None
    for item in items:
        if before is not None:
            yield before, item
        before = item
    if before is not None:
        yield before, None
