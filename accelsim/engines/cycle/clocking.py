"""The cycle engine: a nest carried out by clocking every register of the array.

``run`` walks the steps of the levels outside the PEs (``levels``), works out which word each PE
gets in each of them (``addresses``) and clocks the array, of systolic lines (``lines``,
``systolic``) or of buses (``planning``, ``buses``).  Nothing here knows how long a fold takes:
``cycles`` is the number of the edge that latched the last result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle import line_pes as pe
from accelsim.engines.cycle.addresses import Where
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.levels import Levels, steps
from accelsim.engines.cycle.lines import Lines
from accelsim.engines.cycle.recording import record_buses, record_lines
from accelsim.engines.cycle.sampling import StepSampler
from accelsim.engines.cycle.systolic import Build, FoldTask, Kind, Landing, Stream, SystolicArray
from accelsim.engines.cycle.trace import Trace
from accelsim.engines.moved import Moved, Moves
from accelsim.engines.run import Run
from accelsim.mapping.nest import Nest

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
    levels, folds = Levels(nest, data), 0
    array = _array(nest, levels, sample_folds, trace)
    for at, following in _with_next(steps(nest)):
        levels.operands_to(at)
        fold = array.plan(at, following)
        if trace is not None and array.edge <= trace.last:
            trace.fold(fold.number, at, fold.slots)
        array.carry_out(fold)
        folds += 1
    array.drain()
    outputs: Any = levels.sums.finish()
    cycles = array.last_result
    if trace is not None:
        trace.close(cycles)
    how: dict[str, Any] = {"folds_total": folds, "folds_run": folds}
    if sample_folds:
        outputs, how["folds_run"] = None, len(array.known)
        how["sampled"] = (
            f"sampled: {len(array.known)} of {folds} folds clocked, one of each kind, "
            f"and their counts multiplied; "
            f"counts and cycles are exact, outputs are not computed"
        )
    return Run(outputs, array.moves(), array.macs_done, array.compute, array.active, cycles, **how)


def _array(nest: Nest, levels: Levels, sample: bool, trace: Trace | None) -> Any:
    """What carries out the folds of a nest: ``plan`` says what is to be done in one, ``carry_out``
    does it, and in the end there is what was counted.
    """
    if nest.arch.systolic:
        if sample:
            return _SampledFolds(nest, levels)
        folds = _Folds(nest, levels, traced=trace is not None)
        if trace is not None:
            record_lines(folds.array, folds, trace, folds.moves)
        return folds
    array = BusArray(nest, levels)
    if sample:
        return StepSampler(array)
    if trace is not None:
        record_buses(array, trace, array.moves)
    return array


class _Folds(Lines):
    """Folds of a nest on systolic lines, every one clocked."""

    def __init__(self, nest: Nest, levels: Levels, traced: bool = False) -> None:
        super().__init__(nest)
        self.levels = levels
        every = [levels.traffic[t].values.dtype for t in nest.problem.operands]
        narrow = nest.arch.bits.psum <= 32 and every == [np.int16] * len(every) and not traced
        kind: Kind = "held_outputs" if self.outputs_held else "held_operand"
        options = "overlap", "weight_registers", "outputs", "partial_folds"
        self.build = Build(
            kind,
            self.rows,
            self.cols,
            narrow=narrow,
            **{x: getattr(nest.arch.array, x) for x in options},
        )
        self.array = SystolicArray(self.build)
        self.array.ready = self._arrived
        self.compute = self.active = self.number = 0
        self.opens, self.next = True, cast(FoldTask | None, None)

    def plan(self, at: Where, following: Where | None) -> FoldTask:
        """A fold's work for the array."""
        fold = self.next or self.fold(at)
        self.next = None if following is None else self.fold(following)
        opens, self.opens = self.opens, self.next is None or self.changes(fold, self.next)
        self.number += 1
        self.compute += len(fold.slots)
        self.active = max(self.active, fold.names.size)
        return fold._replace(
            rows=self._read(self.along_rows, fold.rows),
            falling=self._read(self.along_cols, fold.falling),
            held=self._read(self.held, fold.held),
            opens=opens,
            stays=self.outputs_held and not self.opens,
            number=self.number - 1,
        )

    def _read(self, tensor: str, words: Stream) -> Stream:
        """Words with the values the level outside holds; sums begin at zero."""
        traffic = self.levels.traffic[tensor]
        if tensor == self.acc:
            zeros = np.zeros(words.words.shape, self.array.sums.values.dtype)
            return words._replace(values=zeros)
        row = traffic.first_row[traffic.innermost]
        return words._replace(values=traffic.read(row, words.words, words.kinds))

    def carry_out(self, task: FoldTask) -> None:
        """Clock the array until it can take a further fold."""
        self.array.issue(task)

    def drain(self) -> None:
        """Clock until every result is there."""
        self.array.drain()

    def _arrived(self, landing: Landing) -> None:
        """Results arrive at the level outside."""
        task, sums = landing.task, self.levels.sums
        words = (task.held if self.outputs_held else task.falling).words
        sums.advance(task.at)
        if not task.stays:
            b = self.outer[self.acc]
            sums.land(b, b.parent, 0, words.ravel(), landing.values.ravel())

    @property
    def edge(self) -> int:
        return self.array.edge

    @property
    def last_result(self) -> int:
        return self.array.last_result

    @property
    def tally(self) -> pe.Ints:
        """What was counted."""
        return self.array.tally

    @property
    def macs_done(self) -> int:
        return int(self.tally[pe.MACS])

    def moves(self) -> Moves:
        """What has moved: the levels' own counts, and the array's tally where the array counts."""
        moves, n = dict(self.levels.moves), self.tally.tolist()
        rows, cols, held = (self.outer[t] for t in (self.along_rows, self.along_cols, self.held))
        made, landed = n[pe.SUMS_MADE], moves[self.outer[self.acc]]
        moves[rows] = Moved(taken=n[pe.ROWS_TAKEN], read=n[pe.ROWS_FED])
        if self.outputs_held:
            moves[cols] = Moved(taken=n[pe.OTHER_TAKEN], read=n[pe.OTHER_FED])
            moves[held] = replace(landed, drained=n[pe.LEFT])
            zeros = self.nest.arch.first_read == self.nest.arch.level_names[self.pe]
            opened = 0 if zeros else n[pe.OPENED]
            moves[self.inner] = Moved(drained=made, arrived=made, updated=made - opened)
        else:
            moves[held] = Moved(taken=n[pe.HELD_LATCHED], read=n[pe.OTHER_FED])
            moves[self.inner] = Moved(taken=n[pe.OTHER_TAKEN], read=n[pe.OTHER_TAKEN])
            moves[cols] = replace(landed, drained=made)
        return moves


class _SampledFolds(_Folds):
    """Folds of a nest on systolic lines, one clocked of each kind; the controller is asked for the
    start of every fold.

    A fold's way through the array and its counts depend on its size, on how many of its words are
    real, and on what it finds and leaves.
    """

    last_result = 0
    tally = np.zeros(1)

    def __init__(self, nest: Nest, levels: Levels) -> None:
        super().__init__(nest, levels)
        # by kind: edges from the first operand to the last result, counts
        self.known: dict[Any, tuple[int, pe.Ints]] = {}
        self.last_result, self.tally = 0, np.zeros_like(self.array.tally)

    def carry_out(self, task: FoldTask) -> None:
        kinds = [x.kinds for x in (task.rows, task.falling, task.held)]
        real = [np.count_nonzero(x & bit) for x in kinds for bit in (pe.WORD, pe.READ)]
        kind = (*task.size, task.opens, task.stays, *real)
        if kind not in self.known:
            self.known[kind] = self._clocked(task)
        after = self.last_result + 1 if task.opens and not self.build.overlap else 1
        start = self.array.reserve(task, after)
        edges, tally = self.known[kind]
        self.last_result = max(self.last_result, start.operand + edges)
        self.tally += tally
        words = (task.held if self.outputs_held else task.falling).words
        self._arrived(Landing(task, np.zeros_like(words)))

    def _clocked(self, task: FoldTask) -> tuple[int, pe.Ints]:
        """Edges and counts of a fold by itself; what it goes on with is left by another one."""
        array = SystolicArray(self.build)
        before = task._replace(opens=True, stays=self.outputs_held)
        for one in [task] if task.opens else [before, task]:
            counted, start = array.tally.copy(), array.issue(one)
            array.drain()
            array.run_to(array.ports[0].end + array.cols)  # operands that still move are taken
        return array.last_result - start.operand, array.tally - counted

    def drain(self) -> None:
        """Nothing is under way."""


def _with_next(items: Iterator[T]) -> Iterator[tuple[T, T | None]]:
    """Each item with the one after it, None at the end."""
    before: T | None = None
    for item in items:
        if before is not None:
            yield before, item
        before = item
    if before is not None:
        yield before, None
