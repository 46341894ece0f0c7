"""Counts, cycles and totals are whole numbers, exact to 2^63 - 1: where a row or a total would pass
that, and what is said then.

Arrays, frames, Parquet and SQLite hold 64 bits, and so do the loops that keep time.  What does not
fit is refused where it arises, so that whoever writes a number need not look at it again.
``layer_row`` and sweeps' ``batch`` ask for a layer, ``Result`` and ``explore.totals`` for a total.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import prod
from typing import Any

from accelsim.base.limits import MAX_COUNT
from accelsim.engines.analytic import moves
from accelsim.engines.analytic.array_time import on_lines, wants_list
from accelsim.engines.moved import Moved
from accelsim.hardware.architecture import Architecture, remembered
from accelsim.hardware.ports import (
    ACCESSES,
    LARGEST,
    WAYS,
    Resource,
    channel,
    latency,
    limited,
    port,
)
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import TENSORS

MOST_TRANSFERS = 1 << 26  # a few for each pass that is timed, over every boundary
A_MAC = 64  # words over all boundaries for one MAC, each counted as often as ``words_moved`` does
RULE = "the largest whole number a column holds is 2^63 - 1"


def beyond(columns: Mapping[str, Any]) -> str | None:
    """What is to be said of the first column whose whole number does not fit; None if all do."""
    for name, value in columns.items():
        if isinstance(value, int) and abs(value) > MAX_COUNT:
            return too_large(name, value)
    return None


def too_large(column: str, value: int) -> str:
    """One sentence: the column, what it would have to hold, the rule."""
    return f"{column} would be {value}: {RULE}"


def words_moved(m: Moved) -> Any:
    """Every word of a boundary as often as it is counted: a number, or ``[points]``."""
    return m.taken + m.read + m.drained + m.arrived + m.updated


def refuse_long(nest: Nest) -> None:
    """Raises MappingError where the loops that keep time may not hold a nest's.

    A word crosses a boundary for some MAC, so that most nests are let pass by their MACs alone.
    """
    arch, macs = nest.arch, nest.problem.macs
    around = 2 * (arch.array.rows + arch.array.cols)
    waits = limited(arch)
    if too_long(arch, macs * (1 + around), macs * A_MAC if waits else 0) is None:
        return
    if on_lines(nest) and (waits or wants_list(nest)):
        temporal = [x for x in nest.loops if not x.spatial]
        folds = prod(x.trips for x in temporal if x.level < nest.levels - 1)
        array = prod(x.trips for x in temporal) + folds * around
    else:
        array = 0
    words = sum(words_moved(m) for m in moves(nest).values()) if waits else 0
    if (why := too_long(arch, array, words)) is not None:
        raise MappingError(why)


def too_long(arch: Architecture, array: int, words: int) -> str | None:
    """Why the time of a layer may not fit, None where it does: an array that alone takes ``array``
    cycles at most, and ``words`` over its boundaries (``words_moved``).

    No run is longer than its array and all that its ports and channels carry, one after the other.
    That is what is looked at, with every word as wide as the widest and over every resource; the
    product of bits and a clock's denominator, which is what the loops work with, is larger still.
    """
    each, more = _needs(arch)
    if array + words * each + min(words, MOST_TRANSFERS) * more < LARGEST:
        return None
    return f"cycles may pass 2^62 on this array and at these ports and clocks: {RULE}"


@remembered
def _needs(arch: Architecture) -> tuple[int, int]:
    """Units of time that a word takes at most over all ports and channels of a machine one after
    the other, and what a transfer's burst and latency add: in parts of a cycle, as fine as the
    clocks make them.
    """
    widest = max(arch.bits.weight, arch.bits.ifmap, arch.bits.psum, arch.bits.ofmap)
    each, more = 0, 0
    for r in set(_resources(arch)):
        slow = max(Fraction(r.rate.denominator), 1 / r.rate)
        each += -(-widest * slow.numerator // slow.denominator) + 1
        more += -(-r.burst * slow.numerator // slow.denominator)
        if r.rate.numerator > MAX_COUNT:
            more += LARGEST
    return each, more + sum(latency(arch, level) for level in range(len(arch.levels)))


def _resources(arch: Architecture) -> Iterator[Resource]:
    """Every port and channel that has a width."""
    for level in range(len(arch.levels)):
        for access in ACCESSES:
            if (at := port(arch, level, access)) is not None:
                yield at
    for network in arch.networks:
        for tensor in TENSORS:
            for way in WAYS:
                if (over := channel(arch, network, tensor, way)) is not None:
                    yield over
