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
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from accelsim.engines.cycle import bus_pes as pes
from accelsim.engines.cycle.addresses import NO_WORD, NOTHING, Ints, Macs, Where, address_of
from accelsim.engines.cycle.bus_pes import Pads
from accelsim.engines.cycle.chain import Parts
from accelsim.engines.cycle.levels import HazardError, Levels
from accelsim.engines.cycle.planning import PlainStep, Planner
from accelsim.engines.moved import Moves
from accelsim.mapping.nest import Boundary, Nest

NO_LOADS: Ints = np.zeros((0, 7), np.int64)
NO_PADS = Pads(*np.zeros((3, 0, 0), np.int64))


class _InPipeline(NamedTuple):
    """Products of one step on their way through the multipliers."""

    step: PlainStep
    settings: Ints  # [edges] of the loops inside the PEs
    due: int  # the edge that adds the first of them
    values: Ints  # [edges, MACs]


class BusArray(Planner):
    """The PEs of a nest without systolic lines, and their clock.

    ``edge`` is the last edge clocked, ``last_result`` the last that latched a sum.  ``deliver(at,
    pes, words, values)`` gets the sums of every step once all are out, in the order of the steps;
    ``watch()`` is called after every edge.
    """

    def __init__(self, nest: Nest, levels: Levels, macs: Macs | None = None) -> None:
        super().__init__(nest, levels.traffic, macs)
        self.levels = levels
        self.deliver: Callable[[Where, Ints, Ints, Ints], None] = self._to_level
        self.watch: Callable[[], None] | None = None
        self.stages = nest.arch.array.pipeline_stages
        self.pipe: deque[_InPipeline] = deque()  # the multipliers' stages
        self.steps: deque[PlainStep] = deque()  # whose sums are not all out
        self.parts: list[Parts] = [Parts(*np.zeros((4, 0), np.int64))]  # that set out on chains
        self.reads_first = nest.arch.first_read == nest.arch.level_names[self.pe]
        # what the multipliers take at this edge: step, slot, operands
        self.now: tuple[PlainStep, int, list[Ints]] | None = None
        # MACs whose product was added at this edge, their words, the sums
        self.added: tuple[Ints, Ints, Ints] = (NOTHING, NOTHING, NOTHING)
        # of this edge: way, tensor, each word's bus, name and value
        self.bus: list[tuple[str, str, Ints, Ints, Ints]] = []
        self.edge = self.last_result = self.macs_done = self.compute = self.active = 0

    def carry_out(self, step: PlainStep) -> None:
        """Clock a step: one edge a slot."""
        step.first = self.edge + self.stages
        self.steps.append(step)
        for t in step.loads:
            self.pads[t].names[step.changes[t].gone != NO_WORD] = NO_WORD
        busy = np.count_nonzero(step.exists[step.slots], axis=1)
        self.macs_done += int(busy.sum())
        self.active = max(self.active, int(busy.max()))
        # nothing of what is added ever comes back as an operand: edges may be clocked together
        many = len(step.slots) if self.watch is None else 1
        for first in range(0, len(step.slots), many):
            settings = step.slots[first : first + many]
            due = self.edge + self.stages
            self._begin(len(settings))
            self.compute += len(settings)
            one, two = (self._operands(t, step, settings) for t in self.nest.problem.operands)
            self.now = step, first, [one[-1], two[-1]]
            self.pipe.append(_InPipeline(step, settings, due, one * two))
            self._clock()

    def drain(self) -> None:
        """Clock until every sum is out; where somebody watches, until those of padding would be."""
        while self.pipe or self.steps or (self.watch is not None and self.edge < self.last_result):
            self._begin(1)
            if self.watch is None and self.chains is not None:
                self.edge = self.chains.edge + self.chains.length
            self._clock()

    def moves(self) -> Moves:
        """What has moved."""
        return self.levels.moves

    def _begin(self, edges: int) -> None:
        self.edge += edges
        self.bus.clear()
        self.now, self.added = None, (NOTHING, NOTHING, NOTHING)

    def _operands(self, t: str, step: PlainStep, settings: Ints) -> Ints:
        """What the MACs take of a tensor, [edges, MACs]; from their PEs or from the bus."""
        words, kept, counts = step.words[t], t in self.kept, np.zeros(5, np.int64)
        operands = np.zeros((len(settings), self.positions), np.int64)
        outer, inner = self.outer[t], self.inner[t]
        loads = _from(settings[0], step.loads.get(t, NO_LOADS))
        pes.take(
            settings, step.exists, words, kept, self.lanes, self.group[inner],
            self.pads.get(t, NO_PADS), loads, self.pairs, operands, counts,
        )  # fmt: skip
        if counts[pes.HAZARD]:
            raise HazardError(f"edge {self.edge}: a MAC wants a word of {t} its PE does not hold")
        self._count(outer, taken=counts[pes.TAKEN], read=counts[pes.FROM_OUTSIDE])
        self._count(inner, taken=counts[pes.TAKEN_INSIDE], read=counts[pes.FROM_INSIDE])
        if kept:
            come = loads[loads[:, pes.WHEN] == settings[0]].T
            self._note("in", t, come[pes.GROUP], come[pes.NAME], come[pes.VALUE])
        else:
            read, setting = words.read[settings[0]], settings[0]
            names, values = words.names[setting, read], words.values[setting, read]
            self._note("in", t, self.group[outer][read], names, values)
        return operands

    def _count(self, b: Boundary, **more: Any) -> None:
        moved = self.levels.moves[b]
        for what, n in more.items():
            setattr(moved, what, getattr(moved, what) + int(n))

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
        if self.chains is not None:
            self._hop(last)
        while self.steps and self.steps[0].ended and self.steps[0].until <= last:
            self._land(self.steps.popleft())
        if self.watch is not None:
            self.watch()

    def _hop(self, edge: int) -> None:
        """Sums on chains move on, up to an edge; those that are out are latched."""
        assert self.chains is not None
        parts = Parts(*(np.concatenate(x) for x in zip(*self.parts, strict=True)))
        del self.parts[1:]
        out = self.chains.clock(edge, parts)
        set_out = out.edge - self.chains.length
        which = np.searchsorted([x.first for x in self.steps], set_out, side="right") - 1
        for k in np.unique(which).tolist():
            mine = which == k
            who = self.chains.first[out.who[mine]]
            self._leave(self.steps[k], set_out[mine], who, out.name[mine], out.value[mine])

    def _add(self, products: _InPipeline) -> None:
        """Products of consecutive edges are latched, be they padding's."""
        step, settings, due, values = products
        # a slot on padding has no sum to send along a chain, but takes as long to pass there
        way = self.chains.length if self.chains is not None else 0
        self.last_result = max(self.last_result, due + len(settings) - 1 + way)
        words, last = step.words[self.acc], settings[-1] == step.slots[-1]
        if self.acc in self.kept:
            self._add_in_pes(products, last)
        else:
            works = step.exists[settings]
            edge, mac = np.nonzero(works)
            names, values = words.names[settings][works], values[works]
            self._count(self.inner[self.acc], drained=np.count_nonzero(names != NO_WORD))
            self.added = mac, names, values
            self._send(step, due + edge, mac, names, values)
        step.ended = bool(last)

    def _add_in_pes(self, products: _InPipeline, last: bool) -> None:
        (step, settings, due, values), pads = products, self.pads[self.acc]
        words, setting = step.words[self.acc], settings[0]
        if setting == step.slots[0]:
            change = step.changes[self.acc]
            if (pads.names[change.gone != NO_WORD] != NO_WORD).any():
                raise HazardError(f"a PE drops a sum of {self.acc} nobody took")
            new = change.come != NO_WORD  # they begin at zero
            pads.names[new], pads.values[new], pads.fresh[new] = change.come[new], 0, 1
        counts, out = np.zeros(5, np.int64), np.empty((pads.names.size, 4), np.int64)
        inner, outer = self.inner[self.acc], self.outer[self.acc]
        pes.add_in_pes(
            settings, step.exists, words, self.lanes, self.group[inner], values, pads,
            _from(setting, step.leaving), self.pairs, out, counts,
        )  # fmt: skip
        if counts[pes.HAZARD]:
            raise HazardError(f"edge {self.edge}: a product meets a sum of another word")
        arrived, opened = counts[pes.ARRIVED], 0 if self.reads_first else counts[pes.OPENED]
        self._count(inner, drained=counts[pes.DRAINED], arrived=arrived, updated=arrived - opened)
        if self.watch is not None:
            use = np.flatnonzero(step.exists[setting] & (words.names[setting] != NO_WORD))
            sums = pads.values[self.pe_of[use], words.slot[setting, use]]
            self.added = use, words.names[setting, use], sums
        pe, names, sums, edge = out[: counts[pes.SENT]].T
        self._send(step, due + edge, pe, names, sums)
        late = step.leaving[: np.searchsorted(step.leaving[:, pes.WHEN], 0) if last else 0]
        _, pe, slot = late.T
        names, pads.names[pe, slot] = pads.names[pe, slot], NO_WORD
        self._count(outer, drained=counts[pes.SENT] + len(late))
        self._leave(step, pe, pe, names, pads.values[pe, slot])

    def _send(self, step: PlainStep, edge: Ints, who: Ints, names: Ints, values: Ints) -> None:
        """Sums leave PEs (or MACs): at once, added by a tree where the network adds, or hop by
        hop.
        """
        if self.chains is None:
            self._leave(step, edge, who, names, values)
        else:
            self.parts.append(Parts(edge, who, names, values))
            step.until = max(step.until, int(edge.max(initial=0)) + self.chains.length)

    def _leave(self, step: PlainStep, edge: Ints, who: Ints, names: Ints, values: Ints) -> None:
        """Sums are latched by the level outside, those of padding by nobody.  Those of one occasion
        are added on the way: of one edge, or if PEs kept them of the step.
        """
        there = names != NO_WORD
        who, names, values = who[there], names[there], values[there]
        occasion = np.zeros_like(who) if self.acc in self.kept else edge[there]
        step.sums.append((occasion, who, names, values))
        self._note("out", self.acc, self.group[self.outer[self.acc]][who], names, values)

    def _land(self, step: PlainStep) -> None:
        """All sums of a step are out: they count once for those who share, and go to their
        level.
        """
        b, group = self.outer[self.acc], self.group[self.outer[self.acc]]
        occasion, who, names, values = (np.concatenate(x) for x in zip(*step.sums, strict=True))
        first, total = np.empty((2, len(who)), np.int64)
        groups, pairs = int(group.max()) + 1, pes.pairs_for(len(who))
        n = pes.merge(occasion, group[who], names, values, groups, pairs, first, total)
        pe = who[first[:n]] if b.child == self.pe else self.pe_of[who[first[:n]]]
        words = address_of(self.nest, self.acc, b.child, names[first[:n]])
        self.deliver(step.at, pe, words, total[:n])

    def _to_level(self, at: Where, pe: Ints, words: Ints, values: Ints) -> None:
        """A step's sums go to the level outside, which moves on to that step first."""
        traffic = self.traffic[self.acc]
        traffic.advance(at)
        traffic.land(self.outer[self.acc], self.pe, pe, words, values)


def _from(setting: int, rows: Ints) -> Ints:
    """Of rows in the order of their settings those of a setting and later ones."""
    return rows[np.searchsorted(rows[:, pes.WHEN], setting) :]
