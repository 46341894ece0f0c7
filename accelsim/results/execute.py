"""Carrying out a nest on real words, by the event or the cycle engine.

The engines see nothing of each other.  The clocked array has no memory of its own; what its passes
wait for is timed here, by the event engine's memory without values, and put into the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.engines import event
from accelsim.engines.run import Run
from accelsim.hardware.architecture import limited
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Problem

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
    """Run a nest on ``data``; of a flipped filter the array has it turned, and outputs are turned
    back.

    The event engine keeps the time of memory if ``timed``, and with ``timeline`` also tells who was
    busy when; the cycle engine is always given it.  Raises MappingError for what the clocked array
    cannot run.
    """
    laid = laid_out(nest.problem, data)
    if engine == "cycle":
        run = _clocked(nest, laid, sample_folds)
    elif not timed:
        run = event.run(nest, laid)
    else:
        from accelsim.engines.event import timed as memory

        run = memory.run(nest, laid, timeline=timeline)
    if nest.problem.flip and nest.problem.accumulated == "weight" and run.outputs is not None:
        return replace(run, outputs=_turned(run.outputs))
    return run


def laid_out(problem: Problem, data: Data) -> Data:
    """The operands as the array reads them: tap (r, s) of the nest is word (r, s) of the weights,
    so a flipped filter is turned by half a turn.
    """
    if not problem.flip or "weight" not in data:
        return data
    return {**data, "weight": _turned(data["weight"])}


def _turned(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(weight[..., ::-1, ::-1])


def _clocked(nest: Nest, data: Data, sample_folds: bool) -> Run:
    from accelsim.engines import cycle
    from accelsim.engines.event import timed as memory

    run = cycle.run(nest, data, sample_folds=sample_folds)
    stalls = dict.fromkeys((*nest.arch.levels, *nest.arch.networks), 0)
    if limited(nest.arch):
        stalls = memory.simulate(nest).stalls
    return replace(run, cycles=run.array_cycles + sum(stalls.values()), stalls=stalls)
