"""Ports and channels in SimPy: one holder at a time, in the order of requests.

Requests of one cycle are told apart only when everything else of that cycle has happened: the drain
first, then the one earlier in the nest.  Whoever takes several takes them in the order of
``Limits.resources``, so that nobody can wait in a circle; in the same order they are given away at
the end of a cycle.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable
from typing import Any

import simpy

# The cycle of the request, 0 for a drain and 1 for others, the place in the nest.
Key = tuple[int, int, int]
# Priorities from here on come later in a cycle than anything else: SimPy's own are 0 urgent and 1
# normal.
_LAST = 2


class Channel:
    """One port or channel.

    ``place``    its number in ``Limits.resources``
    ``waiting``  requests not granted, the next one to be served first
    ``busy``     whether someone holds it
    ``called``   whether it is to be given away at the end of this cycle
    """

    def __init__(self, env: simpy.Environment, place: int) -> None:
        self.env, self.place = env, place
        self.waiting: list[tuple[Key, simpy.Event]] = []
        self.busy = self.called = False

    def request(self, drain: bool, place: int) -> simpy.Event:
        """An event that happens when the channel is the caller's."""
        granted = self.env.event()
        heapq.heappush(self.waiting, (arrival(int(self.env.now), drain, place), granted))
        self._call()
        return granted

    def release(self) -> None:
        """The holder is done; whoever waits may have it still in this cycle."""
        self.busy = False
        self._call()

    def _call(self) -> None:
        """Have the channel given away at the end of this cycle."""
        if self.busy or self.called or not self.waiting:
            return
        self.called = True
        end = self.env.event()
        end._ok, end._value = True, None
        assert end.callbacks is not None
        end.callbacks.append(self._give)
        self.env.schedule(end, _LAST + self.place)  # type: ignore[arg-type]

    def _give(self, _: Any) -> None:
        """All requests of the cycle are known: the first in order gets it."""
        self.called = False
        if not self.busy and self.waiting:
            self.busy = True
            heapq.heappop(self.waiting)[1].succeed()


def arrival(now: int, drain: bool, place: int) -> Key:
    """The key requests are served by."""
    return now, 0 if drain else 1, place


def wait_for(events: Iterable[simpy.Event]) -> Generator[simpy.Event, Any, None]:
    """Wait until all have happened."""
    for event in events:
        if not event.processed:
            yield event
