"""Plain matrices through a systolic array, and the two kinds of array by name.

For comparison with hardware: every result comes with the number of the edge that latched it.  The
tests feed the same matrices to the SystemVerilog array and compare value and edge, with no nest, no
levels and no counts in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle.controller import Outputs
from accelsim.engines.cycle.held_operand import HeldOperandArray
from accelsim.engines.cycle.held_outputs import HeldOutputsArray
from accelsim.engines.cycle.registers import (
    FIRST,
    GEN,
    HOPS,
    LAST,
    MARK,
    NAME,
    SLOT,
    STATE,
    VALUE,
    FoldTask,
    Landing,
    Stream,
    SystolicArray,
)

__all__ = [
    "FIRST",
    "GEN",
    "HOPS",
    "LAST",
    "MARK",
    "NAME",
    "SLOT",
    "STATE",
    "VALUE",
    "Fold",
    "FoldTask",
    "HeldOperandArray",
    "HeldOutputsArray",
    "Landing",
    "MatrixResult",
    "Stream",
    "SystolicArray",
    "make_array",
    "run_folds",
]  # fmt: skip

Kind = Literal["held_operand", "held_outputs"]
PartialFolds = Literal["exact", "full"]


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


def run_folds(
    kind: Kind,
    R: int,
    C: int,
    folds: Sequence[Fold],
    *,
    overlap: bool = False,
    weight_registers: int = 1,
    outputs: Outputs = "in_place",
    partial_folds: PartialFolds = "exact",
) -> list[MatrixResult]:
    """Clock plain matrices through an array of R x C; every result with the number of the edge that
    latched it.

    ``held_operand``: sums over the rows of ``held`` times ``rows``; i is the streamed word, the
    edge is the bottom psum register's.  ``held_outputs``: sums over T of ``rows`` times ``cols``;
    (i, j) is the PE, the edge that of its last product (read in place) or of the register beyond
    the array.  Results are sorted by fold, i and j; a fully clocked array also has those of its
    bubbles, which are zero.  Values are int64 and wrap there.  Raises ValueError for matrices that
    do not fit, HazardError if two words collide.
    """
    array = make_array(
        kind,
        R,
        C,
        overlap=overlap,
        weight_registers=weight_registers,
        outputs=outputs,
        partial_folds=partial_folds,
    )
    results: list[MatrixResult] = []

    def take(landing: Landing) -> None:
        for i, j in np.ndindex(landing.values.shape):
            results.append(
                MatrixResult(
                    landing.number, i, j, int(landing.edges[i, j]), int(landing.values[i, j])
                )
            )

    array.ready = take
    width = 0
    for fold in folds:
        _check(kind, R, C, fold, width)
        rows, held, cols = (
            None if x is None else Stream.of(x) for x in (fold.rows, fold.held, fold.cols)
        )
        assert rows is not None
        width = (
            held.values.shape[1]
            if held is not None
            else cols.values.shape[1]
            if cols is not None
            else width
        )
        sums = (
            np.zeros((len(fold.rows), width), np.int64)
            if kind == "held_operand"
            else np.zeros((rows.values.shape[1], width), np.int64)
        )
        array.issue(FoldTask(rows, sums, held, cols, fold.stays))
    array.drain()
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


def make_array(
    kind: Kind,
    R: int,
    C: int,
    *,
    overlap: bool,
    weight_registers: int,
    outputs: Outputs,
    partial_folds: PartialFolds,
) -> HeldOperandArray | HeldOutputsArray:
    """An array of R x C PEs with the options of ``array`` in an architecture."""
    full = partial_folds == "full"
    if kind == "held_operand":
        return HeldOperandArray(R, C, overlap=overlap, weight_registers=weight_registers, full=full)
    return HeldOutputsArray(R, C, overlap=overlap, outputs=outputs, full=full)
