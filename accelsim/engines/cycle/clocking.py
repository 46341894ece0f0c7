"""The cycle engine: a nest carried out by clocking every register of the array.

``run`` walks the steps of the levels outside the PEs (``levels``), works out which word each PE gets in each of them
(``words``) and clocks the array, of systolic lines (``lines``, ``registers``) or of buses (``buses``).  Nothing here knows
how long a fold takes: ``cycles`` is the number of the edge that latched the last result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle.addresses import NO_WORD
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.levels import Traffic, steps
from accelsim.engines.cycle.lines import Lines, Matrix, Shape
from accelsim.engines.cycle.outcome import CycleOutcome
from accelsim.engines.cycle.recording import record_buses, record_lines
from accelsim.engines.cycle import line_pes as pe
from accelsim.engines.cycle.sampling import StepSampler
from accelsim.engines.cycle.systolic import (
    FoldTask,
    HeldOperandArray,
    HeldOutputsArray,
    Landing,
    make_array,
)
from accelsim.engines.cycle.trace import Trace
from accelsim.engines.moved import Moved
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.arithmetic import wrap

Data = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")


def run(
    nest: Nest, data: Data, *, sample_folds: bool = False, trace: Trace | None = None
) -> CycleOutcome:
    """Carry out a nest on ``data`` (operand arrays by tensor name, ``bias`` of shape (G, M) if the
    layer has one).

    ``trace`` records a window of edges.  ``sample_folds``: one fold of each distinct shape is
    clocked and its counts are multiplied; there are no outputs then (``data`` is not looked at),
    and ``Outcome.sampled`` says so.  Counts and cycles stay exact: the levels outside the PEs are
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
            data = dict(data) | {
                "ifmap": np.pad(
                    data["ifmap"], ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right))
                )
            }
    if nest.arch.systolic:
        return _SampledSystolic(nest).run() if sample_folds else _Systolic(nest, data, trace).run()
    return _SampledPlain(nest).run() if sample_folds else _Plain(nest, data, trace).run()


class Levels:
    """All three tensors in the levels outside the PEs, and what crosses every boundary; without
    data, words without values.
    """

    def __init__(self, nest: Nest, data: Data | None) -> None:
        self.nest, self.acc = nest, nest.problem.accumulated
        self.moves = {b: Moved() for b in nest.boundaries}
        self.traffic: dict[str, Traffic] = {}
        for t in nest.problem.operands:
            self.traffic[t] = Traffic(
                nest, t, self.moves, None if data is None else np.ascontiguousarray(data[t]).ravel()
            )
        start = None
        if data is not None:
            start = np.zeros(nest.problem.shape(self.acc), np.int64)
            if nest.problem.bias and nest.problem.direction == "forward":
                start += data["bias"].astype(np.int64)[None, :, :, None, None]
            start = start.ravel()
        self.sums = self.traffic[self.acc] = Traffic(nest, self.acc, self.moves, start)

    def operands_to(self, at: dict[int, int]) -> None:
        """Move on to a step, operands only."""
        for t in self.nest.problem.operands:
            self.traffic[t].advance(at)

    def result(self) -> npt.NDArray[np.int64] | None:
        """The accumulated tensor after everything has drained."""
        self.sums.finish()
        total = self.sums.stores[self.nest.home(self.acc), 0].values
        if total is None:
            return None
        return wrap(total, self.nest.arch.number("psum")).reshape(self.nest.problem.shape(self.acc))


class _Folded(NamedTuple):
    """A fold before it is fed: where the outer loops stand, its size, what is held."""

    at: dict[int, int]
    shape: Shape
    held: Matrix


class _Systolic:
    """Folds of a nest on systolic lines, every one clocked."""

    def __init__(self, nest: Nest, data: Data | None, trace: Trace | None = None) -> None:
        self.nest, self.lines = nest, Lines(nest)
        self.levels = Levels(nest, data)
        self.trace = trace
        self.array = self._array()
        self.array.ready = self._arrived
        self.waiting: deque[tuple[int, dict[int, int], Matrix | None]] = (
            deque()
        )  # folds whose sums have not all landed
        self.arrived: dict[int, Landing] = {}
        self.compute = self.active = 0
        if trace is not None:
            record_lines(self.array, self.lines, trace, lambda: self._counted(self.array.tally))

    def _array(self) -> HeldOperandArray | HeldOutputsArray:
        array, lines = self.nest.arch.array, self.lines
        longest = lines.sizes[2] if not lines.outputs_held else 0
        narrow = self.trace is None and self.nest.arch.bits.psum <= 32
        places = 4 * (longest + lines.rows + lines.cols) if narrow else None
        return make_array(
            "held_outputs" if lines.outputs_held else "held_operand",
            lines.rows,
            lines.cols,
            overlap=array.overlap,
            weight_registers=array.weight_registers,
            outputs=array.outputs,
            partial_folds=array.partial_folds,
            places=places,
        )

    def run(self) -> CycleOutcome:
        folds, new = 0, True
        for fold, following in _with_next(self._folds()):
            at, shape, held = fold
            leaves = following is None or self._changes(fold, following)
            self.levels.operands_to(at)
            self._issue(at, shape, held, new, leaves)
            new, folds = leaves, folds + 1
            self.compute += shape.t
            self.active = max(self.active, shape.r * shape.c)
        tally, cycles = self._end()
        result = self.levels.result()
        moves = self._counted(tally)
        if self.trace is not None:
            self.trace.close()
            self.trace.end(cycles)
        return CycleOutcome(
            result,
            moves,
            int(tally[pe.MACS]),
            cycles,
            self.compute,
            self.active,
            self._folds_run(folds),
            folds,
            self._sampled(folds),
        )

    def _folds_run(self, folds: int) -> int:
        return folds

    def _sampled(self, folds: int) -> str | None:
        return None

    def _end(self) -> tuple[pe.Ints, int]:
        """All folds are issued: what was counted, and the edge of the last result."""
        self.array.drain()
        assert not self.waiting and not self.arrived
        return self.array.tally, self.array.last_result

    def _folds(self) -> Iterator[_Folded]:
        for at in steps(self.nest):
            shape = self.lines.shape(at)
            yield _Folded(at, shape, self.lines.held_words(at, shape))

    def _changes(self, fold: _Folded, following: _Folded) -> bool:
        """Whether the next fold holds other words; if some PEs keep theirs while others change, the
        lines cannot do it.
        """
        (at, shape, held), (then, size, words) = fold, following
        if (shape.r, shape.c) == (size.r, size.c) and np.array_equal(held.names, words.names):
            moved = any(at[i] != then[i] for i in self.lines.relevant)
            return moved and not (held.names != NO_WORD).any()
        r, c = min(shape.r, size.r), min(shape.c, size.c)
        same = (held.names[:r, :c] == words.names[:r, :c]) & (words.names[:r, :c] != NO_WORD)
        if same.any():
            raise MappingError(
                f"{self.lines.held}: some PEs keep their word from one fold to the next while others change theirs; "
                f"systolic lines shift whole columns"
            )
        return True

    def _task(
        self, at: dict[int, int], shape: Shape, held: Matrix, new: bool, leaves: bool
    ) -> tuple[FoldTask, Matrix | None]:
        """A fold's work for the array, and the names of the sums it gives."""
        lines, traffic = self.lines, self.levels.traffic
        rows, cols = lines.row_words(at, shape), lines.col_words(at, shape)
        stream = rows.stream(traffic[lines.along_rows])
        if lines.outputs_held:
            return FoldTask(
                stream, held.addresses, None, cols.stream(traffic[lines.along_cols]), not leaves
            ), held if leaves else None
        return FoldTask(stream, cols.addresses, held.stream(traffic[lines.held]) if new else None), cols

    def _issue(
        self, at: dict[int, int], shape: Shape, held: Matrix, new: bool, leaves: bool
    ) -> None:
        task, sums = self._task(at, shape, held, new, leaves)
        self.waiting.append((self.array.issued, at, sums))
        if self.trace is not None and self.array.edge <= self.trace.last:
            self.trace.fold(self.array.issued, at, shape.inside)
        self.array.issue(task)

    def _arrived(self, landing: Landing) -> None:
        """Results arrive at the level outside in the order of the folds."""
        self.arrived[landing.number] = landing
        while self.waiting:
            number, at, sums = self.waiting[0]
            if sums is not None and number not in self.arrived:
                return
            self.waiting.popleft()
            done = None if sums is None else self.arrived.pop(number)
            self._land(
                at, sums, None if done is None else done.values[: done.used[0], : done.used[1]]
            )

    def _land(self, at: dict[int, int], sums: Matrix | None, values: Any) -> None:
        b, traffic = self.lines.boundary(self.levels.acc, outside=True), self.levels.sums
        traffic.advance(at)
        if sums is not None:
            there = sums.names != NO_WORD
            words = sums.addresses[there]
            traffic.land(
                b,
                b.parent,
                np.zeros(len(words), np.int64),
                words,
                None if values is None else values[there],
            )

    def _counted(self, tally: pe.Ints) -> dict[Boundary, Moved]:
        """What has moved: the levels' own counts, and the array's tally where the array counts."""
        lines, moves, n = self.lines, dict(self.levels.moves), [int(x) for x in tally]
        acc = self.levels.acc
        rows, outer, inner = (
            lines.boundary(lines.along_rows, outside=True), lines.boundary(acc, outside=True), lines.boundary(lines.held, outside=False),
        )  # fmt: skip
        landed = moves[outer]
        moves[rows] = Moved(taken=n[pe.ROWS_TAKEN], read=n[pe.ROWS_FED])
        if lines.outputs_held:
            cols = lines.boundary(lines.along_cols, outside=True)
            moves[cols] = Moved(taken=n[pe.COLS_TAKEN], read=n[pe.COLS_FED])
            moves[outer] = Moved(drained=n[pe.LEFT], arrived=landed.arrived, updated=landed.updated)
            reads_first = self.nest.arch.first_read == self.nest.arch.level_names[lines.pe]
            updated = n[pe.SUMS_MADE] - (0 if reads_first else n[pe.OPENED])
            moves[inner] = Moved(drained=n[pe.SUMS_MADE], arrived=n[pe.SUMS_MADE], updated=updated)
        else:
            moves[lines.boundary(lines.held, outside=True)] = Moved(
                taken=n[pe.HELD_LATCHED], read=n[pe.HELD_FED]
            )
            moves[inner] = Moved(taken=n[pe.HELD_TAKEN], read=n[pe.HELD_TAKEN])
            moves[outer] = Moved(
                drained=n[pe.SUMS_MADE], arrived=landed.arrived, updated=landed.updated
            )
        return moves


class _SampledSystolic(_Systolic):
    """Folds of a nest on systolic lines, one clocked of each kind; the controller is asked for the
    start of every fold.
    """

    def __init__(self, nest: Nest) -> None:
        super().__init__(nest, None)
        self.known: dict[
            Any, tuple[int, pe.Ints]
        ] = {}  # by kind: edges from the first operand to the last result, counts
        self.times: dict[Any, int] = {}
        self.last_result = 0

    def _issue(
        self, at: dict[int, int], shape: Shape, held: Matrix, new: bool, leaves: bool
    ) -> None:
        task, sums = self._task(at, shape, held, new, leaves)
        kind = self._kind(task, shape, held, new, leaves)
        if kind not in self.known:
            self.known[kind] = self._measure(task, held, new)
        self.times[kind] = self.times.get(kind, 0) + 1
        after = self.last_result + 1 if new and not self.array.overlap else 1
        start = self.array.reserve(task, new=new, after=after)
        self.last_result = max(self.last_result, start.operand + self.known[kind][0])
        self._land(at, sums, None)

    def _kind(
        self, task: FoldTask, shape: Shape, held: Matrix, new: bool, leaves: bool
    ) -> tuple[Any, ...]:
        """All that a fold's way through the array and its counts depend on."""
        words = [(0, 0) if x is None else real_words(x) for x in (task.rows, task.cols, task.held)]
        return (
            shape.r,
            shape.c,
            shape.t,
            new,
            leaves,
            *words,
            *(int(np.count_nonzero(x >= 0)) for x in (held.names, task.sums)),
        )

    def _measure(self, task: FoldTask, held: Matrix, new: bool) -> tuple[int, pe.Ints]:
        array = self._array()
        if not new:
            array.place_held(held.stream(self.levels.traffic[self.lines.held]))
        start = array.issue(task)
        array.drain()
        array.run_to(array.edge + array.rows + array.cols)  # operands that still move are taken
        return array.last_result - start.operand, array.tally

    def _end(self) -> tuple[pe.Ints, int]:
        total = sum((tally * self.times[k] for k, (_, tally) in self.known.items()), np.zeros(18, np.int64))
        return total, self.last_result

    def _folds_run(self, folds: int) -> int:
        return len(self.known)

    def _sampled(self, folds: int) -> str | None:
        return _sentence(len(self.known), folds)


class _Plain:
    """Steps of a nest on a plain array, every one clocked."""

    def __init__(self, nest: Nest, data: Data, trace: Trace | None) -> None:
        self.nest, self.levels = nest, Levels(nest, data)
        self.array = BusArray(nest, self.levels.traffic)
        self.trace = trace
        if trace is not None:
            record_buses(self.array, trace, lambda: self.levels.moves)

    def run(self) -> CycleOutcome:
        array, folds = self.array, 0
        for at, following in _with_next(steps(self.nest)):
            self.levels.operands_to(at)
            step = array.plan(at)
            array.release(step, following)
            if self.trace is not None and array.edge <= self.trace.last:
                self.trace.fold(step.number, at, step.slots)
            array.carry_out(step)
            folds += 1
        array.drain()
        if self.trace is not None:
            self.trace.close()
        result = self.levels.result()
        if self.trace is not None:
            self.trace.end(array.last_result)
        return CycleOutcome(
            result,
            self.levels.moves,
            array.total_macs,
            array.last_result,
            array.compute,
            array.active,
            folds,
            folds,
        )


class _SampledPlain:
    """Steps of a nest on a plain array, one clocked of each kind."""

    def __init__(self, nest: Nest) -> None:
        self.nest, self.levels = nest, Levels(nest, None)
        self.array = BusArray(nest, self.levels.traffic)

    def run(self) -> CycleOutcome:
        levels, array = self.levels, self.array
        sampler = StepSampler(array)
        acc = levels.acc
        edge = last = macs = active = folds = 0
        for at, following in _with_next(steps(self.nest)):
            levels.operands_to(at)
            sample, base = sampler.take(at, following)
            levels.sums.advance(at)
            levels.sums.land(array.outer[acc], array.pe, sample.pe, sample.words + base, None)
            last, edge = max(last, edge + sample.last), edge + sample.slots
            macs, active, folds = macs + sample.macs, max(active, sample.active), folds + 1
        for b, m in sampler.totals().items():
            _add(levels.moves[b], m)
        levels.result()
        run = len(sampler.known)
        return CycleOutcome(
            None, levels.moves, macs, last, edge, active, run, folds, _sentence(run, folds)
        )


def real_words(x):
    there = x.words >= 0
    return int(np.count_nonzero(there)), int(np.count_nonzero(there if x.read is None else there & x.read))


def _add(total: Moved, part: Moved) -> None:
    for name in ("taken", "read", "drained", "arrived", "updated"):
        setattr(total, name, getattr(total, name) + getattr(part, name))


def _sentence(run: int, folds: int) -> str:
    return (
        f"sampled: {run} of {folds} folds clocked, one of each kind, and their counts multiplied; "
        f"counts and cycles are exact, outputs are not computed"
    )


def _with_next(items: Iterator[T]) -> Iterator[tuple[T, T | None]]:
    """Each item with the one after it, None at the end."""
    before: T | None = None
    for item in items:
        if before is not None:
            yield before, item
        before = item
    if before is not None:
        yield before, None
