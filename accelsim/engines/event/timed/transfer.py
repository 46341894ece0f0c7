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

Way = list[tuple[int | None, int]]  # (place of a resource, bits over it)


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
        self.names, self.acc = nest.arch.level_names, nest.problem.accumulated
        self.adds_inside = nest.arch.accumulate == "in_array"
        self.spatial = [
            sum(x.spatial and x.level < level for x in nest.loops) for level in range(nest.levels)
        ]

    def takes_time(self, b: Boundary) -> bool:
        """Whether a transfer over a boundary between levels can take any."""
        return bool(self.may_use(b)) or self.limits.latency(b.parent) > 0

    def may_use(self, b: Boundary) -> set[int]:
        """The resources that transfers over a boundary between levels may hold."""
        way = self._up(b, 1, 1, 1, 1) if b.tensor == self.acc else self._down(b, 1, 1)
        return {place for place, _ in way if place is not None}

    def fill(self, fill: Fill) -> Transfer | None:
        """What a fill takes; None if nothing."""
        b = fill.boundary
        read = max(self._by(b.parent, fill.reads).values(), default=0)
        taken = max((w.count for _, w, _ in fill.takes), default=0)
        return self._transfer("fill", b, self._down(b, read, taken), read, max(read, taken))

    def drain(self, drain: Drain, first: Mapping[Instance, Ints]) -> Transfer | None:
        """What a drain takes, ``first`` [1] being the arrivals at each parent instance that read
        nothing; None if nothing.
        """
        b = drain.boundary
        amounts = self._by(b.parent, drain.arrivals)
        reads = {key: n - int(sum(first.get(key, ()))) for key, n in amounts.items()}
        arrived, updated = max(amounts.values(), default=0), max(reads.values(), default=0)
        both = max((n + reads[key] for key, n in amounts.items()), default=0)
        drained = max((w.count for _, w in drain.children), default=0)
        way = self._up(b, drained, arrived, updated, both)
        return self._transfer("drain", b, way, arrived, max(arrived, drained))

    def _by(self, level: int, amounts: Iterable[tuple[Instance, int]]) -> dict[Instance, int]:
        """Words by instance of a level, from those of instances inside it."""
        total: dict[Instance, int] = {}
        for instance, n in amounts:
            key = instance[: self.spatial[level]]
            total[key] = total.get(key, 0) + n
        return total

    def _down(self, b: Boundary, read: int, taken: int) -> Way:
        """What operands hold: (place, bits) of the words that the parent reads and the child
        takes.
        """
        limits, (outside, inside) = self.limits, self._bits(b)
        network = limits.down(b.network, b.tensor)
        way = [(limits.reads(b.parent), read * outside), (network, read * outside)]
        return [*way, (limits.writes(b.child), taken * inside)]

    def _up(self, b: Boundary, drained: int, arrived: int, updated: int, both: int) -> Way:
        """What sums hold: of words that the child lets go, that arrive at the parent, that are
        read there to be added to, and both of these over one port, or one channel.
        """
        limits, (outside, inside) = self.limits, self._bits(b)
        down = limits.down(b.network, b.tensor) if self.adds_inside else None
        way = [(limits.reads(b.child), drained * inside)]
        for back, there in (
            (limits.reads(b.parent), limits.writes(b.parent)),
            (down, limits.up(b.network, b.tensor)),
        ):
            if back == there:
                way.append((there, both * outside))
            else:
                way += [(there, arrived * outside), (back, updated * outside)]
        return way

    def _bits(self, b: Boundary) -> tuple[int, int]:
        """Of a word at the parent, and at the child."""
        width = self.nest.footprint.word_bits
        return width(b.parent, b.tensor), width(b.child, b.tensor)

    def _transfer(
        self, what: Literal["fill", "drain"], b: Boundary, way: Way, outside: int, words: int
    ) -> Transfer | None:
        each = ((place, bits) for place, bits in way if place is not None and bits)
        held = sorted((place, self.limits.resources[place].cycles(bits)) for place, bits in each)
        place, cycles = self.limits.slowest(held)
        cycles += self.limits.latency(b.parent) if outside else 0
        if not cycles:
            return None
        owner = self.names[b.parent] if place is None else self.limits.resources[place].name
        resources, slowest = tuple(r for r, _ in held), -1 if place is None else place
        return Transfer(what, b, resources, cycles, owner, slowest, words)
