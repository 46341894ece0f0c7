"""Records, for a run that was asked for a timeline, what every transfer and pass does to what the
levels hold.

The feed asks for the changes an event makes; the clock tells them when they happen: what comes in
counts from the start of its transfer, what it takes the place of leaves with the pass before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from accelsim.engines.event.transfers import Drain, Fill, Open
from accelsim.engines.timeline import LevelHeld, Occupancy, Timeline


class Recorder:
    """A timeline and an occupancy in the making.

    ``lanes``  taken by transfers under way that are all latency: they hold no resource, and several
               of one level may go at once
    """

    def __init__(self, resources: Sequence[str], levels: Sequence[str]) -> None:
        self.timeline, self.occupancy = Timeline(resources), Occupancy(levels)
        self.lanes: set[str] = set()

    def take_lane(self, level: str) -> str:
        """A name in the timeline that no other such transfer has now."""
        names = (f"{level} latency" + f" {n}" * (n > 1) for n in count(1))
        lane = next(name for name in names if name not in self.lanes)
        self.lanes.add(lane)
        return lane


def held_changes(event: Fill | Drain | Open) -> tuple[list[LevelHeld], list[LevelHeld]]:
    """What comes into a level with an event, and what leaves it or is taken the place of."""
    if isinstance(event, Open):
        come = {instance: words.count for instance, words in event.children}
        return [LevelHeld(event.level, event.tensor, come)], []
    b = event.boundary
    if isinstance(event, Drain):
        gone = {instance: -words.count for instance, words in event.children}
        return [], [LevelHeld(b.child, b.tensor, gone)]
    come = {instance: words.count for instance, words, _ in event.takes}
    gone = {instance: -words.count for instance, _, words in event.takes}
    return [LevelHeld(b.child, b.tensor, come)], [LevelHeld(b.child, b.tensor, gone)]
