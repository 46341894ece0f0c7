"""Where two answers differ: outputs word by word, counts column by column; as a line for the row's
``error``.  ``layer_row`` asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.workload.problem import Problem

# The axes of each tensor in memory, outermost first.
AXES = {
    "weight": ("g", "m", "c", "r", "s"),
    "ifmap": ("n", "g", "c", "h", "w"),
    "ofmap": ("n", "g", "m", "e", "f"),
}
# What the event engine gives for a word that is read where it is not held.
POISON = np.iinfo(np.int64).min


def outputs(
    problem: Problem, golden: npt.NDArray[np.int64], got: npt.NDArray[np.int64]
) -> str | None:
    """The first word that differs and how many do, or None.  Both arrays are the tensor that the
    problem accumulates, with the axes above.
    """
    wrong = np.flatnonzero(golden.ravel() != got.ravel())
    if not len(wrong):
        return None
    tensor = problem.accumulated
    index = np.unravel_index(int(wrong[0]), golden.shape)
    where = ",".join(f"{a}={int(i)}" for a, i in zip(AXES[tensor], index, strict=True))
    value = int(got[index])
    shown = "poison (a word was read where it was not held)" if value == POISON else str(value)
    return (
        f"{tensor}[{where}]: expected {int(golden[index])}, got {shown}; "
        f"{len(wrong)} of {golden.size} words differ"
    )


def counts(
    analytic: Mapping[str, Any], other: Mapping[str, Any], engine: str = "event"
) -> str | None:
    """The first column whose count is another in ``engine`` and how many are, or None."""
    wrong = [column for column in analytic if analytic[column] != other.get(column)]
    if not wrong:
        return None
    first = wrong[0]
    return (
        f"{first}: analytic {analytic[first]}, {engine} {other.get(first)}; "
        f"{len(wrong)} of {len(analytic)} columns differ"
    )
