"""Carrying out a nest on real words by the event or the cycle engine, in one shape for
``simulate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from accelsim.engines.event import machine as event
from accelsim.engines.moved import Moved
from accelsim.hardware.ports import limited
from accelsim.mapping.nest import Boundary, Nest

if TYPE_CHECKING:
    from accelsim.engines.event.timed import Timing

Executing = Literal["event", "cycle"]
Data = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Executed:
    """Outputs (None of a sampled run), counts and time.  ``cycles`` are None where memory was not
    timed.
    """

    result: npt.NDArray[Any] | None
    moves: Mapping[Boundary, Moved]
    macs: int
    compute: int
    active: int
    array_cycles: int
    cycles: int | None = None
    stalls: Mapping[str, int] | None = None
    overflow: str | None = None
    sampled: str | None = None
    timing: Timing | None = None
    wrong: str | None = None  # where outputs differ from golden's


def execute(
    engine: Executing,
    nest: Nest,
    data: Data,
    *,
    timed: bool = True,
    timeline: bool = False,
    sample_folds: bool = False,
) -> Executed:
    """Run a nest on ``data``.

    The event engine keeps the time of memory if ``timed``.  The cycle engine clocks the array; what
    its passes wait for is timed by the event engine's memory, without values.  Raises MappingError
    for what the clocked array cannot run.
    """
    if engine == "event":
        return _event(nest, data, timed, timeline)
    from accelsim.engines import cycle
    from accelsim.engines.event import timed as memory

    run = cycle.run(nest, data, sample_folds=sample_folds)
    stalls = (
        memory.simulate(nest).stalls
        if limited(nest.arch)
        else dict.fromkeys((*nest.arch.levels, *nest.arch.networks), 0)
    )
    total = run.cycles + sum(stalls.values())
    return Executed(
        run.result,
        run.moves,
        run.macs,
        run.compute_cycles,
        run.active_pes,
        run.cycles,
        total,
        stalls,
        sampled=run.sampled,
    )


def _event(nest: Nest, data: Data, timed: bool, timeline: bool) -> Executed:
    if not timed:
        run = event.run(nest, data)
        return _of(nest, run)
    from accelsim.engines.event import timed as memory

    run, timing = memory.run(nest, data, timeline=timeline)
    return _of(nest, run, timing)


def _of(nest: Nest, run: event.EventOutcome, timing: Timing | None = None) -> Executed:
    array_cycles = event.array_cycles(nest, run.folds)
    stalls = None if timing is None else timing.stalls
    cycles = None if stalls is None else array_cycles + sum(stalls.values())
    return Executed(
        run.result,
        run.moves,
        run.macs,
        run.compute_cycles,
        run.active_pes,
        array_cycles,
        cycles,
        stalls,
        run.overflow,
        None,
        timing,
    )
