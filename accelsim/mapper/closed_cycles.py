"""The measures that count: those of the analytic engine (docs/time.md), one mapping at a time.

The search asks for the cycles of the few mappings that its bounds leave open; the winner, and the
fixed rule's mapping beside it, are measured whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.engines import analytic, moved
from accelsim.engines.analytic.array_time import array_time
from accelsim.hardware.architecture import Architecture, limited
from accelsim.mapping.files import check_work
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Skeleton


def forms_are_exact(arch: Architecture) -> bool:
    """Whether the one form of ``lower_cycles.forms`` is the closed form: nothing is waited for, and
    the array has no lines.
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
        return float(analytic.time(nest, analytic.moves(nest)).cycles)
    except MappingError:
        return float("inf")


def measured(nest: Nest) -> dict[str, float]:
    """Energy in the table's unit and cycles, as a row of ``simulate`` has them, and whether the
    cycles are the timed event engine's (``exact``).  Raises MappingError where the engine refuses
    the nest.
    """
    check_work(nest)
    moves = analytic.moves(nest)
    spent = analytic.time(nest, moves)
    energy = priced(nest, moves, spent.cycles)
    return {"energy": energy, "cycles": spent.cycles, "exact": spent.exact}


def priced(nest: Skeleton, moves: moved.Moves, cycles: int) -> float:
    """Energy in the table's unit of what moves in so many cycles."""
    time_s = cycles / (nest.arch.clock_mhz * 1e6)
    shares = moved.energy(nest, moves, nest.problem.macs, time_s)
    return float(shares[f"energy_{nest.arch.energy.unit}"])


__all__ = ["closed_cycles", "forms_are_exact", "measured", "priced"]
