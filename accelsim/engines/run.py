"""What a run of a layer gives: one outcome, the same for every engine (docs/design.md, section 1).

Each engine fills in what it knows and leaves the rest None: the analytic engine has no outputs, the
untimed event engine no ``cycles``, the cycle engine clocks the array alone.  ``results`` compares
two outcomes field by field and makes a row of one, without asking who made it.

    engine      outputs   moves   array_cycles   cycles, stalls   folds   timing
    analytic    -         yes     yes            yes              -       -
    event       yes       yes     yes            -                yes     -
    timed       yes       yes     yes            yes              yes     yes
    cycle       yes       yes     yes            -                some    -
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary

if TYPE_CHECKING:
    from accelsim.engines.timeline import Timing

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Folds:
    """The steps of a pass as the array sees them; a *fold* is what one of them streams.

    On an array without systolic lines a step is ``length`` edges of work and nothing more.

    ``length``  [steps]  words streamed: settings of the temporal loops inside the PEs
    ``rows``    [steps]  rows of PEs used
    ``cols``    [steps]  columns of PEs used
    ``held``    [steps]  a number for what the PEs hold; equal in a row: the same words stay
    ``active``           the most PEs that work at once
    ``cycles``           all lengths together
    """

    length: Ints
    rows: Ints
    cols: Ints
    active: int
    cycles: int
    held: Ints


@dataclass(frozen=True)
class Run:
    """The outcome of one nest on one engine.  Cycles are of the core clock.

    ``outputs``         the accumulated tensor, wrapped to psum width, int64 of the problem's shape
    ``moves``           words over each boundary
    ``macs``            MACs done, padding included
    ``compute_cycles``  steps of the loops inside the PEs, all passes together
    ``active_pes``      the most PEs that work on one step
    ``array_cycles``    the edge that latches the last result, memory never waited for
    ``cycles``          the same with memory; None where memory was not timed
    ``stalls``          the difference, by the level or network that was waited for
    ``folds``           of the event engine: its folds, pass by pass
    ``folds_total``     settings of the temporal loops outside the PEs; None where they are not
                        visited one by one
    ``folds_run``       how many of those were carried out: all, but for a sampled run
    ``overflow``        a buffer that was given more than it holds, in a sentence
    ``sampled``         what was multiplied instead of clocked, in a sentence
    ``timing``          of the timed event engine: who was busy for how long, and when
    ``exact``           False where ``cycles`` may differ from those of the timed event engine
    ``bound``           of the analytic engine: cycles that no schedule can beat
    """

    outputs: npt.NDArray[np.int64] | None
    moves: Mapping[Boundary, Moved]
    macs: int
    compute_cycles: int
    active_pes: int
    array_cycles: int
    cycles: int | None = None
    stalls: Mapping[str, int] | None = None
    folds: Sequence[Folds] | None = None
    folds_total: int | None = None
    folds_run: int | None = None
    overflow: str | None = None
    sampled: str | None = None
    timing: Timing | None = None
    exact: bool = True
    bound: int | None = None
