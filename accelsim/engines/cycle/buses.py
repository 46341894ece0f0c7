"""Plain arrays, clocked: operands come over buses on the edge they are used, products are added in
PEs, trees or chains.

Every setting of the loops inside the PEs takes one edge.  What a PE keeps comes over the bus at its
first use by any PE that takes it, and all of them latch it then.  A product is there
``pipeline_stages - 1`` edges after its operands and is added on that edge: to the PE's own sum
where the PE keeps it, else in the network.  A sum a PE lets go leaves on the edge that completes it
in the last of the PEs it is added over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from accelsim.base.compiled import kernel
from accelsim.engines.cycle.addresses import NO_WORD, NOTHING, Bools, Ints, Where, address_of
from accelsim.engines.cycle.chain import Parts
from accelsim.engines.cycle.levels import HazardError, Traffic
from accelsim.engines.cycle.pads import LATE, Pads
from accelsim.engines.cycle.planning import Loads, MacWords, PlainStep, Planner
from accelsim.mapping.nest import Nest


@dataclass(eq=False)
class _Bin:
    """Sums of one step that left the PEs, until all are out: (occasion, PE or MAC, word, value) of
    each.
    """

    step: PlainStep
    first: int  # the edge that adds its first product
    until: int = 0  # the edge at which all that set out on chains are out
    ended: bool = False
    sums: list[tuple[Ints, Ints, Ints, Ints]] = field(default_factory=list)


class _Slots(NamedTuple):
    """Products of one step on their way through the multipliers."""

    bin: _Bin
    settings: Ints  # [edges] of the loops inside the PEs
    due: int  # the edge that adds the first of them
    products: Ints  # [edges, MACs]


class Seen(NamedTuple):
    """Which words a bus has carried at an edge: a stamp a word, so nothing is ever cleared."""

    group: Ints  # [places] who shares the bus
    name: Ints  # [places] and which word it is, hashed
    stamp: Ints  # [places] the edge it was carried at


@kernel
def carried(seen: Seen, group: int, name: int, stamp: int) -> int:
    """1 if a bus carries a word for the first time at this edge, 0 if it has it already."""
    place = (group * 0x9E3779B1 + name * 0x85EBCA77 + (name >> 15)) & (len(seen.stamp) - 1)
    while seen.stamp[place] == stamp:
        if seen.group[place] == group and seen.name[place] == name:
            return 0
        place = (place + 1) & (len(seen.stamp) - 1)
    seen.group[place], seen.name[place], seen.stamp[place] = group, name, stamp
    return 1


TAKEN, READ, TAKEN_INSIDE, READ_INSIDE = range(4)
DRAINED, ARRIVED, OPENED, SENT, HAZARD = range(5)


@kernel
def bring(
    setting: int, next_load: int, loads: Loads, pads: Pads, seen: Seen, stamp: int, counts: Ints
) -> int:
    """Words on the bus at a setting: read once for all who share it, latched by every PE that takes
    it.  Returns the load that comes next.
    """
    while next_load < len(loads.when) and loads.when[next_load] <= setting:
        pe, slot, name = loads.pe[next_load], loads.slot[next_load], loads.name[next_load]
        pads.names[pe, slot], pads.values[pe, slot] = name, loads.value[next_load]
        counts[TAKEN] += 1
        if loads.read[next_load]:
            counts[READ] += carried(seen, loads.group[next_load], name, stamp)
        next_load += 1
    return next_load


@kernel
def take(
    settings: Ints, stamp: int, exists: Bools, words: MacWords, kept: bool, lanes: int, group: Ints,
    pads: Pads, loads: Loads, seen: Seen, operands: Ints, counts: Ints,
) -> None:  # fmt: skip
    """What MACs take, edge by edge: from their own PE, where ``kept``, what that has not yet coming
    over the bus; else from the bus, one word for all who share it.

    group     [MACs]  who shares a read
    operands  [edges, MACs]  filled in
    """
    next_load = 0
    while next_load < len(loads.when) and loads.when[next_load] < settings[0]:
        next_load += 1
    for edge in range(len(settings)):
        setting = settings[edge]
        next_load = bring(setting, next_load, loads, pads, seen, stamp, counts)
        stamp += 1
        for mac in range(exists.shape[1]):
            name = words.names[setting, mac]
            if not exists[setting, mac] or name == NO_WORD:
                continue
            if not kept:
                operands[edge, mac] = words.values[setting, mac]
                counts[TAKEN] += 1
                if words.read[setting, mac]:
                    counts[READ] += carried(seen, group[mac], name, stamp)
                continue
            pe, slot = mac // lanes, words.slot[setting, mac]
            if pads.names[pe, slot] != words.kept[setting, mac]:
                counts[HAZARD] += 1
            operands[edge, mac] = pads.values[pe, slot]
            counts[TAKEN_INSIDE] += 1
            counts[READ_INSIDE] += 1 if lanes == 1 else carried(seen, group[mac], name, stamp)
        stamp += 1


@kernel
def add_in_pes(
    settings: Ints, stamp: int, exists: Bools, words: MacWords, lanes: int, group: Ints,
    products: Ints, pads: Pads, leaves: Ints, seen: Seen, out: Ints, counts: Ints,
) -> None:  # fmt: skip
    """Products are added to the sums PEs keep, edge by edge; what is complete leaves.

    out [sums, (PE, word, value, edge)]: what left, in order.
    """
    for edge in range(len(settings)):
        setting = settings[edge]
        for mac in range(exists.shape[1]):
            name = words.names[setting, mac]
            if not exists[setting, mac] or name == NO_WORD:
                continue
            pe, slot = mac // lanes, words.slot[setting, mac]
            if pads.names[pe, slot] != words.kept[setting, mac]:
                counts[HAZARD] += 1
            pads.values[pe, slot] += products[edge, mac]
            counts[DRAINED] += 1
            counts[ARRIVED] += 1 if lanes == 1 else carried(seen, group[mac], name, stamp)
            counts[OPENED] += pads.fresh[pe, slot]
            pads.fresh[pe, slot] = 0
        stamp += 1
        for pe in range(len(leaves)):
            for slot in range(leaves.shape[1]):
                if leaves[pe, slot] == setting:
                    sent = out[counts[SENT]]
                    sent[0], sent[1] = pe, pads.names[pe, slot]
                    sent[2], sent[3] = pads.values[pe, slot], edge
                    pads.names[pe, slot] = NO_WORD
                    counts[SENT] += 1


class BusArray(Planner):
    """The PEs of a nest without systolic lines, and their clock.

    ``edge`` is the last edge clocked, ``last_result`` the last that latched a sum.  ``deliver(at,
    pes, words, values)`` gets the sums of every step once all are out, in the order of the steps;
    ``watch()`` is called after every edge.
    """

    def __init__(self, nest: Nest, traffic: dict[str, Traffic]) -> None:
        super().__init__(nest, traffic)
        self.deliver: Callable[[Where, Ints, Ints, Ints], None] = self._to_level
        self.watch: Callable[[], None] | None = None
        self.stages = nest.arch.array.pipeline_stages
        self.pipe: deque[_Slots] = deque()  # the multipliers' stages
        self.bins: deque[_Bin] = deque()
        self.parts: list[Parts] = []  # sums that set out on chains
        self.no_parts = Parts(*np.zeros((4, 0), np.int64))
        nothing: Any = [*[NOTHING] * 6, NOTHING > 0]
        self.no_loads = Loads(*nothing)
        self.no_pads = Pads(*np.zeros((3, 0, 0), np.int64))
        self.reads_first = nest.arch.first_read == nest.arch.level_names[self.pe]
        size = 4 << self.positions.bit_length()
        self.seen = Seen(*np.zeros((3, size), np.int64))
        self.stamp = 0
        # what the multipliers take at this edge: step, slot, operands
        self.now: tuple[PlainStep, int, list[Ints]] | None = None
        # MACs whose product was added at this edge, their words, the sums
        self.added: tuple[Ints, Ints, Ints] = (NOTHING, NOTHING, NOTHING)
        # of this edge: way, tensor, each word's bus, name and value
        self.bus: list[tuple[str, str, Ints, Ints, Ints]] = []
        self.edge = self.last_result = self.total_macs = self.compute = self.active = 0

    def restart(self, taken: Mapping[str, Sequence[tuple[Where, Bools]]]) -> None:
        """Stand still with what PEs took at these steps (sums at zero), before the first edge."""
        self._settled.clear()
        for t, steps in taken.items():
            self.state[t][:] = NO_WORD
            for at, pes in steps:
                self.settle(t, at, pes)
            self.pads[t].names[:] = self.state[t]
            self.pads[t].values[:] = self.pads[t].fresh[:] = 0
        self._ahead = self.now = None
        self.pipe.clear()
        self.bins.clear()
        self.chains = self.new_chains()
        self.edge = self.last_result = self.total_macs = self.compute = self.active = 0

    def carry_out(self, step: PlainStep) -> None:
        """Clock a step: one edge a slot."""
        sums = _Bin(step, self.edge + self.stages)
        self.bins.append(sums)
        for t in step.loads:
            self.pads[t].names[step.changes[t].gone != NO_WORD] = NO_WORD
        busy = np.count_nonzero(step.exists[step.slots], axis=1)
        self.total_macs += int(busy.sum())
        self.active = max(self.active, int(busy.max()))
        # nothing of what is added ever comes back as an operand: edges may be clocked together
        many = len(step.slots) if self.watch is None else 1
        for first in range(0, len(step.slots), many):
            self._begin_edge()
            settings = step.slots[first : first + many]
            self.edge += len(settings) - 1
            self.compute += len(settings)
            operands = [self._operands(t, step, settings) for t in self.nest.problem.operands]
            self.now = step, first, [x[-1] for x in operands]
            due = self.edge - len(settings) + self.stages
            self.pipe.append(_Slots(sums, settings, due, operands[0] * operands[1]))
            self._clock()

    def drain(self) -> None:
        """Clock until every sum is out."""
        while self.pipe or self.bins:
            self._begin_edge()
            if self.watch is None and self.chains is not None:
                self.edge = self.chains.edge + self.chains.length
            self.now = None
            self._clock()

    def _begin_edge(self) -> None:
        self.edge += 1
        self.bus.clear()
        self.added = (NOTHING, NOTHING, NOTHING)

    def _next_stamp(self, edges: int) -> int:
        self.stamp += 2 * edges + 1
        return self.stamp - 2 * edges

    def _operands(self, t: str, step: PlainStep, settings: Ints) -> Ints:
        """What the MACs take of a tensor, [edges, MACs]; from their PEs or from the bus."""
        words, counts = step.words[t], np.zeros(5, np.int64)
        operands = np.zeros((len(settings), self.positions), np.int64)
        stamp, outer, inner = self._next_stamp(len(settings)), self.outer[t], self.inner[t]
        kept, loads = t in self.kept, step.loads.get(t, self.no_loads)
        take(
            settings, stamp, step.exists, words, kept, self.lanes, self.group[inner],
            self.pads.get(t, self.no_pads), loads, self.seen, operands, counts,
        )  # fmt: skip
        if counts[HAZARD]:
            raise HazardError(f"edge {self.edge}: a MAC wants a word of {t} its PE does not hold")
        for b, took, gave in ((outer, TAKEN, READ), (inner, TAKEN_INSIDE, READ_INSIDE)):
            self.traffic[t].moves[b].taken += int(counts[took])
            self.traffic[t].moves[b].read += int(counts[gave])
        if self.watch is not None:
            setting = settings[0]
            if kept:
                come = loads.when == setting
                self._note("in", t, loads.group[come], loads.name[come], loads.value[come])
            else:
                read = words.read[setting]
                group, names = self.group[outer], words.names[setting]
                self._note("in", t, group[read], names[read], words.values[setting, read])
        return operands

    def _note(self, way: str, t: str, bus: Ints, names: Ints, values: Ints) -> None:
        if self.watch is not None and len(bus):
            self.bus.append((way, t, bus, names, values))

    # -- sums --------------------------------------------------------------------------------------

    def _clock(self) -> None:
        """The rest of an edge: products that are through the pipeline are added, sums hop on.

        Nothing that is added comes back as an operand.  So, where nobody watches every edge, what
        happens to the products of some edges may be clocked as soon as they are made.
        """
        last = self.edge
        while self.pipe and (self.watch is None or self.pipe[0].due == self.edge):
            last = self.pipe[0].due + len(self.pipe[0].settings) - 1
            self._add(self.pipe.popleft())
        self._hop(last)
        while self.bins and self.bins[0].ended and self.bins[0].until <= last:
            self._land(self.bins.popleft())
        if self.watch is not None:
            self.watch()

    def _hop(self, edge: int) -> None:
        """Sums on chains move on, up to an edge; those that are out are latched."""
        if self.chains is None:
            return
        parts = Parts(*(np.concatenate(x) for x in zip(*self.parts, self.no_parts, strict=True)))
        self.parts.clear()
        out = self.chains.clock(edge, parts)
        set_out = out.edge - self.chains.length
        which = np.searchsorted([x.first for x in self.bins], set_out, side="right") - 1
        for k in np.unique(which).tolist():
            one, mine = self.bins[k], which == k
            who = self.chains.first[out.who[mine]]
            occasion = set_out[mine] if self.acc not in self.kept else np.zeros_like(who)
            self._leave(one, occasion, who, out.name[mine], out.value[mine])

    def _add(self, slots: _Slots) -> None:
        """Products of consecutive edges are latched, be they padding's."""
        bin_, settings, acc = slots.bin, slots.settings, self.acc
        step, last = bin_.step, slots.due + len(settings) - 1
        # a slot on padding has no sum to send along a chain, but takes as long to pass there
        way = self.chains.length if self.chains is not None else 0
        self.last_result = max(self.last_result, last + way)
        words = step.words[acc]
        if acc in self.kept:
            self._add_in_pes(bin_, slots)
        else:
            works = step.exists[settings]
            occasion, mac = np.nonzero(works)
            names = words.names[settings][works]
            products = slots.products[works]
            self.traffic[acc].moves[self.inner[acc]].drained += int(
                np.count_nonzero(names != NO_WORD)
            )
            self.added = mac, names, products
            self._send(bin_, slots.due + occasion, mac, names, products)
        bin_.ended = settings[-1] == step.slots[-1]

    def _add_in_pes(self, bin_: _Bin, slots: _Slots) -> None:
        step, settings, pads = bin_.step, slots.settings, self.pads[self.acc]
        words = step.words[self.acc]
        if settings[0] == step.slots[0]:
            change = step.changes[self.acc]
            if (pads.names[change.gone != NO_WORD] != NO_WORD).any():
                raise HazardError(f"a PE drops a sum of {self.acc} nobody took")
            pads.put(change.come != NO_WORD, change.come)
        counts, out = np.zeros(6, np.int64), np.empty((pads.names.size, 4), np.int64)
        inner = self.inner[self.acc]
        add_in_pes(
            settings, self._next_stamp(len(settings)), step.exists, words, self.lanes,
            self.group[inner], slots.products, pads, step.leaves, self.seen, out, counts,
        )  # fmt: skip
        if counts[HAZARD]:
            raise HazardError(f"edge {self.edge}: a product meets a sum of another word")
        moved = self.traffic[self.acc].moves[inner]
        moved.drained += int(counts[DRAINED])
        moved.arrived += int(counts[ARRIVED])
        moved.updated += int(counts[ARRIVED]) - (0 if self.reads_first else int(counts[OPENED]))
        if self.watch is not None:
            use = np.flatnonzero(step.exists[settings[0]] & (words.names[settings[0]] != NO_WORD))
            pe, slot = self.pe_of[use], words.slot[settings[0], use]
            self.added = use, words.names[settings[0], use], pads.values[pe, slot]
        outside = self.traffic[self.acc].moves[self.outer[self.acc]]
        pe, names, values, edge = out[: counts[SENT]].T
        outside.drained += len(pe)
        self._send(bin_, slots.due + edge, pe, names, values)
        pe, slot = np.nonzero(step.leaves == LATE)
        if settings[-1] == step.slots[-1] and len(pe):
            names, once = pads.names[pe, slot], np.zeros_like(pe)
            pads.names[pe, slot] = NO_WORD
            outside.drained += len(pe)
            self._leave(bin_, once, pe, names, pads.values[pe, slot])

    def _send(self, bin_: _Bin, edge: Ints, who: Ints, names: Ints, values: Ints) -> None:
        """Sums leave PEs (or MACs): at once, added by a tree where the network adds, or hop by
        hop.
        """
        if self.chains is not None:
            self.parts.append(Parts(edge, who, names, values))
            bin_.until = max(bin_.until, int(edge.max(initial=0)) + self.chains.length)
            return
        kept = self.acc in self.kept
        self._leave(bin_, np.zeros_like(who) if kept else edge, who, names, values)

    def _leave(self, bin_: _Bin, occasion: Ints, who: Ints, names: Ints, values: Ints) -> None:
        """Sums are latched by the level outside, those of padding by nobody.  Those of one occasion
        are added on the way.
        """
        words = names != NO_WORD
        bin_.sums.append((occasion[words], who[words], names[words], values[words]))
        group = self.group[self.outer[self.acc]]
        self._note("out", self.acc, group[who[words]], names[words], values[words])

    def _land(self, bin_: _Bin) -> None:
        """All sums of a step are out: they count once for those who share, and go to their
        level.
        """
        b = self.outer[self.acc]
        if not any(len(who) for _, who, _, _ in bin_.sums):
            self.deliver(bin_.step.at, NOTHING, NOTHING, NOTHING)
            return
        occasion, who, names, values = (np.concatenate(x) for x in zip(*bin_.sums, strict=True))
        first, total = np.empty((2, len(who)), np.int64)
        size = 4 << len(who).bit_length()
        room = Seen(*np.zeros((3, size), np.int64))
        n = merged(occasion, self.group[b][who], names, values, room, first, total)
        first, total = first[:n], total[:n]
        pe = who[first] if b.child == self.pe else self.pe_of[who[first]]
        words = address_of(self.nest, self.acc, b.child, names[first])
        self.deliver(bin_.step.at, pe, words, total)

    def _to_level(self, at: Where, pe: Ints, words: Ints, values: Ints) -> None:
        """A step's sums go to the level outside, which moves on to that step first."""
        traffic = self.traffic[self.acc]
        traffic.advance(at)
        traffic.land(self.outer[self.acc], self.pe, pe, words, values)


@kernel
def merged(
    occasion: Ints, group: Ints, names: Ints, values: Ints, room: Seen, first: Ints, total: Ints
) -> int:
    """Add up the sums of a word that those who share send on one occasion; returns how many are
    left, each with the first of its parts and its value.
    """
    n = 0
    for k in range(len(names)):
        place = (occasion[k] * 0x9E3779B1 + group[k] * 0xC2B2AE3D + names[k] * 0x85EBCA77) & (
            len(room.stamp) - 1
        )
        while room.stamp[place]:
            other = first[room.stamp[place] - 1]
            if (
                names[other] == names[k]
                and group[other] == group[k]
                and occasion[other] == occasion[k]
            ):
                break
            place = (place + 1) & (len(room.stamp) - 1)
        if not room.stamp[place]:
            first[n], total[n] = k, 0
            n += 1
            room.stamp[place] = n
        total[room.stamp[place] - 1] += values[k]
    return n
