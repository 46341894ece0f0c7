"""What one ``Fill`` or ``Drain`` takes: the ports and channels on its way, how long it holds them,
and which is the slowest (docs/time.md, "Ports and channels").

    fill    P's port reads       network down      c's port writes
    drain   c's port reads       network up        P's port writes, and reads to add to; where sums
                                 and down again    are added in the array they come down again

bits being the most that any one instance has to carry.  It holds all of them for as long as the
slowest takes, and for P's fixed latency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from accelsim.engines.event.timed.resources import Limits
from accelsim.engines.event.transfers import Drain, Fill, Instance, Ints
from accelsim.mapping.nest import Boundary, Nest


@dataclass(frozen=True)
class Transfer:
    """One transfer.

    ``resources``        places of what it holds, outermost first
    ``cycles``           for so long
    ``owner``, ``place`` of its slowest: whom waiting for it is charged to (-1: P, for its latency)
    ``words``            the most one instance moves
    """

    what: Literal["fill", "drain"]
    boundary: Boundary
    resources: tuple[int, ...]
    cycles: int
    owner: str
    place: int
    words: int


class Routes:
    """Turns the events between levels into transfers.

    ``spatial``      [levels]: how many leading indices of an instance name the instance of each
                     level around it
    ``adds_inside``  whether sums to add to come down the network
    """

    def __init__(self, nest: Nest, limits: Limits) -> None:
        self.nest, self.limits = nest, limits
        self.names = nest.arch.level_names
        self.adds_inside = nest.arch.accumulate == "in_array"
        self.spatial = [
            sum(x.spatial and x.level < level for x in nest.loops) for level in range(nest.levels)
        ]

    def takes_time(self, b: Boundary) -> bool:
        """Whether a transfer over a boundary between levels can take any."""
        return bool(self.may_use(b)) or self.limits.latency(b.parent) > 0

    def may_use(self, b: Boundary) -> set[int]:
        """The resources that transfers over a boundary between levels may hold."""
        limits = self.limits
        if b.tensor == self.nest.problem.accumulated:
            places = [
                limits.reads(b.parent),
                limits.writes(b.parent),
                limits.up(b.network, b.tensor),
                limits.down(b.network, b.tensor) if self.adds_inside else None,
                limits.reads(b.child),
            ]
        else:
            places = [
                limits.reads(b.parent),
                limits.down(b.network, b.tensor),
                limits.writes(b.child),
            ]
        return {x for x in places if x is not None}

    def fill(self, fill: Fill) -> Transfer | None:
        """What a fill takes; None if nothing."""
        b = fill.boundary
        read, taken = (
            self._most(b.parent, fill.reads),
            max((w.count for _, w, _ in fill.takes), default=0),
        )
        outside, inside = (
            self.nest.footprint.word_bits(level, b.tensor) for level in (b.parent, b.child)
        )
        way = [
            (self.limits.reads(b.parent), read * outside),
            (self.limits.down(b.network, b.tensor), read * outside),
            (self.limits.writes(b.child), taken * inside),
        ]
        return self._transfer("fill", b, way, read, max(read, taken))

    def drain(self, drain: Drain, first: Mapping[Instance, Ints]) -> Transfer | None:
        """What a drain takes, ``first`` [1] being the arrivals at each parent instance that read
        nothing; None if nothing.
        """
        b = drain.boundary
        unread = {parent: int(n[0]) for parent, n in first.items()}
        amounts: dict[Instance, int] = {}
        for instance, words in drain.arrivals:
            key = instance[: self.spatial[b.parent]]
            amounts[key] = amounts.get(key, 0) + words.count
        arrived = max(amounts.values(), default=0)
        updated = max((n - unread.get(key, 0) for key, n in amounts.items()), default=0)
        both = max((2 * n - unread.get(key, 0) for key, n in amounts.items()), default=0)
        drained = max((w.count for _, w in drain.children), default=0)
        outside, inside = (
            self.nest.footprint.word_bits(level, b.tensor) for level in (b.parent, b.child)
        )
        limits, way = self.limits, [(self.limits.reads(b.child), drained * inside)]
        down = limits.down(b.network, b.tensor) if self.adds_inside else None
        for back, there in (
            (limits.reads(b.parent), limits.writes(b.parent)),
            (down, limits.up(b.network, b.tensor)),
        ):
            if back == there:  # one port, or one channel, for both ways
                way.append((there, both * outside))
            else:
                way += [(there, arrived * outside), (back, updated * outside)]
        return self._transfer("drain", b, way, arrived, max(arrived, drained))

    def _most(self, level: int, amounts: Iterable[tuple[Instance, int]]) -> int:
        """The most words of any instance of a level."""
        total: dict[Instance, int] = {}
        for instance, n in amounts:
            key = instance[: self.spatial[level]]
            total[key] = total.get(key, 0) + n
        return max(total.values(), default=0)

    def _transfer(
        self,
        what: Literal["fill", "drain"],
        b: Boundary,
        way: list[tuple[int | None, int]],
        outside: int,
        words: int,
    ) -> Transfer | None:
        held = sorted(
            (place, self.limits.resources[place].cycles(bits))
            for place, bits in way
            if place is not None and bits
        )
        place, cycles = self.limits.slowest(held)
        cycles += self.limits.latency(b.parent) if outside else 0
        if not cycles:
            return None
        owner = self.names[b.parent] if place is None else self.limits.resources[place].name
        return Transfer(
            what, b, tuple(r for r, _ in held), cycles, owner, -1 if place is None else place, words
        )
