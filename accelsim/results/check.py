"""Where two answers differ: outputs word by word, counts column by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.workload.problem import Problem

AXES = {
    "weight": ("g", "m", "c", "r", "s"),
    "ifmap": ("n", "g", "c", "h", "w"),
    "ofmap": ("n", "g", "m", "e", "f"),
}
POISON = np.iinfo(np.int64).min


def outputs(
    problem: Problem, golden: npt.NDArray[np.int64], got: npt.NDArray[np.int64]
) -> str | None:
    """The first word that differs and how many do, or None."""
    wrong = np.flatnonzero(golden.ravel() != got.ravel())
    if not len(wrong):
        return None
    tensor = problem.accumulated
    index = np.unravel_index(int(wrong[0]), golden.shape)
    where = ",".join(f"{a}={int(i)}" for a, i in zip(AXES[tensor], index, strict=True))
    value = int(got[index])
    shown = "poison (a word was read where it was not held)" if value == POISON else str(value)
    return f"{tensor}[{where}]: expected {int(golden[index])}, got {shown}; {len(wrong)} of {golden.size} words differ"


def counts(
    analytic: Mapping[str, Any], event: Mapping[str, Any], engine: str = "event"
) -> str | None:
    """The first column whose count differs and how many do, or None."""
    wrong = [k for k in analytic if analytic[k] != event.get(k)]
    if not wrong:
        return None
    k = wrong[0]
    return f"{k}: analytic {analytic[k]}, {engine} {event.get(k)}; {len(wrong)} of {len(analytic)} columns differ"
