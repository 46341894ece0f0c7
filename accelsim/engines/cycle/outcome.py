"""What a run of the cycle engine gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary


@dataclass
class CycleOutcome:
    """Outputs, counts and cycles of one layer.

    ``result``: the accumulated tensor wrapped to psum width, shaped as the problem's; None of a
    sampled run. ``moves``: words over each boundary.  ``macs``: MACs done, padding included.
    ``cycles``: the number of the edge that latched the last result, the array alone.
    ``compute_cycles``: steps inside the PEs.  ``active_pes``: the most PEs that work on one step.
    A fold is a setting of the temporal loops outside the PEs; ``folds_run`` of ``folds_total`` were
    clocked.  ``sampled``: what was multiplied, in a sentence; None if every fold was run.
    """

    result: npt.NDArray[np.int64] | None
    moves: dict[Boundary, Moved]
    macs: int
    cycles: int
    compute_cycles: int
    active_pes: int
    folds_run: int
    folds_total: int
    sampled: str | None = None
