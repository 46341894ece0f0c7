"""The event engine, timed: SimPy keeps the time of the same events that ``event`` carries out
(docs/time.md).

Values do not depend on timing: events are carried out in their order as they are read, and only
their sizes are timed.  Who waits for what:

    the array   (one process)   takes passes in order; each waits for its fills, for room for its
                                tile of sums, and for the pass before to let go of the array
    a transfer  (a process each) waits for what must come before its request (parents' words, the
                                last pass that used its slot, drains further in), then for every
                                port and channel on its way, outermost first, and holds all of them
    a pass's end (a process each) comes at the edge that latches its last result, and lets go the
                                transfers that wait for it

    engine      the processes, and stalls: read first
    feed        events -> passes and transfers that know what they wait for
    inside      what moves inside a pass, and how long the pass lasts for it
    transfer    what one fill or drain holds, and for how long
    resources   all ports and channels;  channels: one of them as SimPy sees it
    arrivals    which sums arrive first and read nothing
    recorder    what a timeline is told
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from accelsim.engines.event.machine import events_of, prepared, stores_padding
from accelsim.engines.event.movement import Event
from accelsim.engines.event.timed.arrivals import NoValues, Values
from accelsim.engines.event.timed.engine import Engine
from accelsim.engines.event.timed.inside import Inside
from accelsim.engines.event.timed.resources import Limits
from accelsim.engines.run import Run
from accelsim.engines.timeline import Occupancy, Timeline, Timing
from accelsim.mapping.nest import Nest


def run(
    nest: Nest,
    data: Mapping[str, npt.NDArray[Any]],
    events: Iterable[Event] | None = None,
    *,
    timeline: bool = False,
) -> Run:
    """Carry out a nest on ``data`` (as ``event.run``) and time it.

    ``events`` are those of ``movement`` for this nest unless given, ``stepwise`` if
    ``limited_inside(nest)``; ``timeline`` also records who was busy when and what levels held.
    Raises MappingError where sums could exceed 2^53.
    """
    nest, data = prepared(nest, data)
    inside = Inside(nest, Limits(nest))
    machine = Values(nest, data, told=inside.told)
    events = events_of(nest, stepwise=bool(inside.flows)) if events is None else events
    timing = Engine(inside, machine, events, timeline=timeline).timing()
    alone = machine.outcome()
    return replace(alone, cycles=timing.cycles, stalls=timing.stalls, timing=timing)


def simulate(nest: Nest, *, timeline: bool = False) -> Timing:
    """The time of a nest without any values: the same events, transfers and passes."""
    nest = nest.framed() if stores_padding(nest) else nest
    inside = Inside(nest, Limits(nest))
    events = events_of(nest, stepwise=bool(inside.flows))
    return Engine(inside, NoValues(nest, told=inside.told), events, timeline=timeline).timing()


def limited_inside(nest: Nest) -> bool:
    """Whether a port or a network between the PEs and what feeds them has a width, so that steps
    have to be told apart.
    """
    return bool(Inside(nest, Limits(nest)).flows)


__all__ = ["Occupancy", "Timeline", "Timing", "limited_inside", "run", "simulate"]
