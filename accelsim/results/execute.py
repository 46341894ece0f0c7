"""Carrying out a nest on real words, by the event or the cycle engine.

The engines see nothing of each other.  The clocked array has no memory of its own; what its passes
wait for is timed here, by the event engine's memory without values, and put into the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt

from accelsim.engines import event
from accelsim.engines.run import Run
from accelsim.hardware.ports import limited
from accelsim.mapping.nest import Nest

Executing = Literal["event", "cycle"]
Data = Mapping[str, npt.NDArray[Any]]


def execute(
    engine: Executing,
    nest: Nest,
    data: Data,
    *,
    timed: bool = True,
    timeline: bool = False,
    sample_folds: bool = False,
) -> Run:
    """Run a nest on ``data``.

    The event engine keeps the time of memory if ``timed``, and with ``timeline`` also tells who was
    busy when; the cycle engine is always given it.  Raises MappingError for what the clocked array
    cannot run.
    """
    if engine == "cycle":
        return _clocked(nest, data, sample_folds)
    if not timed:
        return event.run(nest, data)
    from accelsim.engines.event import timed as memory

    return memory.run(nest, data, timeline=timeline)


def _clocked(nest: Nest, data: Data, sample_folds: bool) -> Run:
    from accelsim.engines import cycle
    from accelsim.engines.event import timed as memory

    run = cycle.run(nest, data, sample_folds=sample_folds)
    stalls = dict.fromkeys((*nest.arch.levels, *nest.arch.networks), 0)
    if limited(nest.arch):
        stalls = memory.simulate(nest).stalls
    return replace(run, cycles=run.array_cycles + sum(stalls.values()), stalls=stalls)
