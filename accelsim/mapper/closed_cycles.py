"""The cycles that count: those of the analytic engine (docs/time.md), one mapping at a time."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.engines.analytic import closed_form as analytic
from accelsim.engines.analytic import pipeline
from accelsim.engines.analytic.array_time import array_time
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.ports import limited
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Skeleton
from accelsim.mapping.source import check_work


def forms_are_exact(arch: Architecture) -> bool:
    """Whether the one form of ``cycles.forms`` is the closed form: nothing is waited for, and the
    array has no lines.
    """
    return not limited(arch) and not arch.systolic


def closed_cycles(skeleton: Skeleton, tiles: Sequence[int]) -> float:
    """Cycles of a legal mapping by the closed form; inf where it has more steps than the engines
    time.
    """
    nest = Nest(skeleton.problem, skeleton.arch, skeleton.mapping_with(tiles))
    try:
        check_work(nest)
        if not limited(skeleton.arch):
            return float(array_time(nest).cycles)
        return float(pipeline.time(nest, analytic.run(nest)).cycles)
    except MappingError:
        return float("inf")


__all__ = ["closed_cycles", "forms_are_exact"]
