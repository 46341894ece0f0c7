"""Plain matrices through the systolic array of the cycle engine, to be compared with hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle.controller import Outputs
from accelsim.engines.cycle.line_pes import A_SUM, OPERAND
from accelsim.engines.cycle.systolic import (
    Build,
    FoldTask,
    Kind,
    Landing,
    PartialFolds,
    Stream,
    SystolicArray,
)


def stream_of(values: npt.NDArray[Any]) -> Stream:
    """A plain matrix; its words are called 0, 1, ..."""
    words = np.arange(values.size).reshape(values.shape)
    return Stream(values.astype(np.int64), words, np.full(values.shape, OPERAND, np.int16))


class MatrixResult(NamedTuple):
    """One result: fold, (word, column) or with outputs held (row, column), the edge that latched
    it, its value.
    """

    fold: int
    i: int
    j: int
    edge: int
    value: int


@dataclass(frozen=True, eq=False)
class Fold:
    """Plain matrices of one fold: ``rows`` (T, r), ``held`` (r, c) or None, ``cols`` (T, c) or
    None.

    ``held`` None of a held operand: the words of the fold before stay.  ``stays``, of held outputs:
    the next fold adds on.
    """

    rows: npt.NDArray[Any]
    held: npt.NDArray[Any] | None = None
    cols: npt.NDArray[Any] | None = None
    stays: bool = False


def task_of(kind: Kind, fold: Fold, width: int, opens: bool = True, number: int = 0) -> FoldTask:
    """What the array does of a fold; ``width`` columns of sums, ``opens`` if they are new."""
    steps, rows = fold.rows.shape
    shape = (steps if kind == "held_operand" else rows), width
    sums = Stream(*np.zeros((2, *shape), np.int64), np.full(shape, A_SUM, np.int16))
    if fold.cols is not None:
        cols = stream_of(fold.cols)
        return FoldTask(stream_of(fold.rows), cols, sums, opens, fold.stays, number)
    held = np.zeros((rows, width)) if fold.held is None else fold.held
    opens = fold.held is not None
    return FoldTask(stream_of(fold.rows), sums, stream_of(held), opens, number=number)


def result_of(kind: Kind, landing: Landing) -> npt.NDArray[Any]:
    """Values of a fold's results as a matrix."""
    sums = landing.task.falling if kind == "held_operand" else landing.task.held
    return landing.values.reshape(sums.words.shape)


class Latched:
    """The edges at which each place of an array latches its results, the first first."""

    def __init__(self, array: SystolicArray) -> None:
        self.array, self.landed = array, array.sums.landed.copy()
        self.edges: list[list[int]] = [[] for _ in self.landed]

    def look(self) -> None:
        """What has been latched since the last look is of this edge."""
        for place in np.flatnonzero(self.array.sums.landed != self.landed):
            self.edges[place].append(self.array.edge)
            self.landed[place] += 1
        assert (self.array.sums.landed == self.landed).all()


def run_folds(
    kind: Kind, R: int, C: int, folds: Sequence[Fold], *, overlap: bool = False,
    weight_registers: int = 1, outputs: Outputs = "in_place", partial_folds: PartialFolds = "exact",
) -> list[MatrixResult]:  # fmt: skip
    """Clock plain matrices through an array of R x C; every result with the number of the edge that
    latched it.

    ``held_operand``: sums over the rows of ``held`` times ``rows``; i is the streamed word, the
    edge is the bottom psum register's.  ``held_outputs``: sums over T of ``rows`` times ``cols``;
    (i, j) is the PE, the edge that of its last product (read in place) or of the register beyond
    the array.  Results are sorted by fold, i and j; a fully clocked array also has those of its
    bubbles, which are zero.  Values are int64 and wrap there.  Raises ValueError for matrices that
    do not fit, HazardError if two words collide.
    """
    build = Build(kind, R, C, overlap, weight_registers, outputs, partial_folds)
    array = SystolicArray(build)
    landed: list[Landing] = []
    latched = Latched(array)
    array.ready, array.watch = landed.append, latched.look
    width, opens = 0, True
    for number, fold in enumerate(folds):
        _check(kind, R, C, fold, width)
        wide = fold.cols if fold.held is None else fold.held
        width = width if wide is None else wide.shape[1]
        array.issue(task_of(kind, fold, width, opens, number))
        opens = not fold.stays
    array.drain()
    results = []
    for one in landed:
        edges = [
            latched.edges[place][first + n]
            for n in range(len(one.values))
            for place, first in zip(one.places.tolist(), one.first.tolist(), strict=True)
        ]
        values = np.ndenumerate(result_of(kind, one)) if edges else ()
        for ((i, j), value), edge in zip(values, edges, strict=True):
            results.append(MatrixResult(one.task.number, i, j, edge, int(value)))
    return sorted(results)


def _check(kind: Kind, R: int, C: int, fold: Fold, width: int) -> None:
    """Refuse matrices that do not fit each other or the array."""
    if fold.rows.ndim != 2 or not 0 < fold.rows.shape[1] <= R or not len(fold.rows):
        raise ValueError(f"rows must be (T, r) with 1 <= r <= {R}, got {fold.rows.shape}")
    name, side, lines = (
        ("held", fold.held, fold.rows.shape[1])
        if kind == "held_operand"
        else ("cols", fold.cols, len(fold.rows))
    )
    if side is None:
        if kind == "held_outputs" or not width:
            raise ValueError(f"{name} is missing")
    elif side.ndim != 2 or side.shape[0] != lines or not 0 < side.shape[1] <= C:
        raise ValueError(f"{name} must be ({lines}, c) with 1 <= c <= {C}, got {side.shape}")
