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
from dataclasses import dataclass, field

import numpy as np

from accelsim.engines.cycle.addresses import NO_WORD, NOTHING, Bools, Ints, Where
from accelsim.engines.cycle.levels import HazardError, Traffic
from accelsim.engines.cycle.planning import Loads, PlainStep, Planner
from accelsim.engines.cycle.spads import Change, Spads
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Nest


@dataclass(frozen=True, eq=False)
class _Slot:
    """One edge's products on their way through the multipliers: ``products`` [positions] of one
    setting of a step, which it ``opens`` or ``ends``.
    """

    step: PlainStep
    setting: int
    opens: bool
    ends: bool
    products: Ints


@dataclass(eq=False)
class _Bin:
    """Sums of one step that left the PEs, until all are out.

    ``pending``  sums still on chains
    ``ended``    whether the step's last product has been added
    ``sums``     occasion, and [sums] each: PE or MAC, word, value
    """

    step: PlainStep
    pending: int = 0
    ended: bool = False
    sums: list[tuple[int, Ints, Ints, Ints]] = field(default_factory=list)


class BusArray(Planner):
    """The PEs of a nest without systolic lines, and their clock.

    ``edge`` is the last edge clocked, ``last_result`` the last that latched a sum.  ``deliver(at,
    pes, words, values)`` gets the sums of every step once all are out, in the order of the steps;
    ``watch()`` is called after every edge.

    ``spads``     by kept tensor: the PEs' registers
    ``stages``    of the multipliers; ``pipe`` the slots in them, None an empty one
    ``bins``      sums of steps that are not all out, in order
    ``now``       what the multipliers take at this edge: step, slot, operands [positions]
    ``added``     at this edge: positions whose product was added, words, sums, [additions] each
    ``bus``       of this edge, if it is watched: way, tensor, and [words] of bus, name and value
    ``total_macs``, ``compute``, ``active``   done so far; the most MACs at once
    """

    def __init__(self, nest: Nest, traffic: dict[str, Traffic]) -> None:
        super().__init__(nest, traffic)
        self.spads = {
            t: Spads(self.pes, nest.footprint.tile_words(self.pe, t), t) for t in self.kept
        }
        self.deliver: Callable[[Where, Ints, Ints, Ints], None] = self._to_level
        self.watch: Callable[[], None] | None = None
        self.stages = nest.arch.array.pipeline_stages
        self.pipe: deque[_Slot | None] = deque()
        self.bins: deque[_Bin] = deque()
        self.first_of_chain = (
            NOTHING
            if self.chains is None
            else np.unique(self.chains.place[0], return_index=True)[1]
        )
        self.reads_first = nest.arch.first_read == nest.arch.level_names[self.pe]
        self.now: tuple[PlainStep, int, list[Ints]] | None = None
        self.added: tuple[Ints, Ints, Ints] = (NOTHING, NOTHING, NOTHING)
        self.bus: list[tuple[str, str, Ints, Ints, Ints]] = []
        self.edge = self.last_result = self.total_macs = self.compute = self.active = 0

    def carry_out(self, step: PlainStep) -> None:
        """Clock a step, whose ``release`` is known: one edge a slot."""
        self.bins.append(_Bin(step))
        passed = {}
        for t in step.loads:
            giver, place = step.loads[t].donor
            passed[t] = step.loads[t].value
            if (giver >= 0).any():
                passed[t] = np.where(giver >= 0, self.spads[t].values[giver, place], passed[t])
            self.spads[t].move(step.keeps[t])
        come = {
            t: np.searchsorted(x.when, np.append(step.slots, self.settings))
            for t, x in step.loads.items()
        }
        for k, setting in enumerate(step.slots.tolist()):
            self._begin_edge()
            works = step.exists[:, setting]
            count = int(np.count_nonzero(works))
            self.total_macs += count
            self.compute += 1
            self.active = max(self.active, count)
            operands = []
            for t in self.nest.problem.operands:
                if t in self.kept:
                    self._bring(t, step.loads[t], passed[t], slice(come[t][k], come[t][k + 1]))
                    operands.append(self._from_pe(t, step, setting, works))
                else:
                    operands.append(self._from_bus(t, step, setting, works))
            self.now = step, k, operands
            products = np.where(works, operands[0] * operands[1], 0)
            self.pipe.append(_Slot(step, setting, k == 0, k == len(step.slots) - 1, products))
            self._clock()

    def drain(self) -> None:
        """Clock until every sum is out."""
        while any(self.pipe) or any(x.pending for x in self.bins):
            self._begin_edge()
            self.now = None
            self.pipe.append(None)
            self._clock()

    def _begin_edge(self) -> None:
        self.edge += 1
        self.bus.clear()
        self.added = (NOTHING, NOTHING, NOTHING)

    def _bring(self, t: str, loads: Loads, passed: Ints, now: slice) -> None:
        """Words on the bus: read once for all who share them, latched by every PE that takes
        them.
        """
        pe, slot = loads.pe[now], loads.slot[now]
        if not len(pe):
            return
        spads, moved = self.spads[t], self._moved(t)
        self._note("in", t, loads.group[now], loads.name[now], passed[now])
        spads.values[pe, slot], spads.there[pe, slot] = passed[now], True
        read = loads.read[now]
        moved.taken += len(pe)
        moved.read += _distinct(loads.group[now][read], loads.name[now][read])

    def _from_pe(self, t: str, step: PlainStep, setting: int, works: Bools) -> Ints:
        """What MACs read in their own PE, [positions]."""
        words, b = step.words[t], self.inner[t]
        assert words.slot is not None
        names = words.names[:, setting]
        use = works & (names != NO_WORD)
        values = np.zeros(self.positions, np.int64)
        values[use] = self.spads[t].read(
            self.pe_of[use], words.slot[use, setting], words.kept[use, setting]
        )
        moved = self.traffic[t].moves[b]
        n = int(np.count_nonzero(use))
        moved.taken += n
        moved.read += n if self.lanes == 1 else _distinct(self.group[b][use], names[use])
        return values

    def _from_bus(self, t: str, step: PlainStep, setting: int, works: Bools) -> Ints:
        """What MACs take from the bus, [positions]: one word for all who share it."""
        words, b = step.words[t], self.inner[t]
        assert words.values is not None and words.read is not None
        names, read = words.names[:, setting], words.read[:, setting]
        moved = self._moved(t)
        moved.taken += int(np.count_nonzero(works & (names != NO_WORD)))
        moved.read += _distinct(self.group[b][read], names[read])
        self._note("in", t, self.group[b][read], names[read], words.values[read, setting])
        return words.values[:, setting]

    def _note(self, way: str, t: str, bus: Ints, names: Ints, values: Ints) -> None:
        if self.watch is not None:
            self.bus.append((way, t, bus, names, values))

    def _moved(self, t: str) -> Moved:
        return self.traffic[t].moves[self.outer[t]]

    # -- sums --------------------------------------------------------------------------------------

    def _clock(self) -> None:
        """The rest of an edge: the product that is through the pipeline is added, sums hop on."""
        through = self.pipe.popleft() if len(self.pipe) == self.stages else None
        if through is not None:
            self._add(through)
        if self.chains is not None and self.chains.busy:
            out = self.chains.clock(self.edge)
            if out is not None:
                bin_, occasion = out.label
                self._leave(bin_, occasion, self.first_of_chain[out.chains], out.names, out.values)
                bin_.pending -= len(out.names)
        while self.bins and self.bins[0].ended and not self.bins[0].pending:
            self._land(self.bins.popleft())
        if self.watch is not None:
            self.watch()

    def _add(self, slot: _Slot) -> None:
        """Products of one setting are added where their sums are: in PEs that keep them, else in
        the network.
        """
        step, acc = slot.step, self.acc
        bin_ = next(x for x in self.bins if x.step is step)
        names, works = step.words[acc].names[:, slot.setting], step.exists[:, slot.setting]
        use = works & (names != NO_WORD)
        self.traffic[acc].moves[self.inner[acc]].drained += int(np.count_nonzero(use))
        self.last_result = self.edge  # a product is latched, be it padding's
        if acc not in self.kept:
            self.added = np.flatnonzero(works), names[works], slot.products[works]
            self._send(
                bin_, slot.setting, np.flatnonzero(works), names[works], slot.products[works]
            )
        else:
            if slot.opens:
                self._open(step.keeps[acc])
            self._add_in_pe(step, slot, use, names)
            if slot.setting in step.leaves:
                self._let_go(bin_, *step.leaves[slot.setting])
            if slot.ends and step.late is not None:
                self._let_go(bin_, *step.late, hops=False)
        bin_.ended = slot.ends

    def _open(self, keeps: Change) -> None:
        """Sums of a step begin, once the step before has let go its own: none may be lost."""
        spads = self.spads[self.acc]
        spads.move(keeps, lossless=True)
        spads.open(keeps.new)

    def _add_in_pe(self, step: PlainStep, slot: _Slot, use: Bools, names: Ints) -> None:
        spads, b = self.spads[self.acc], self.inner[self.acc]
        places = step.words[self.acc].slot
        assert places is not None
        pe, place = self.pe_of[use], places[use, slot.setting]
        if (spads.names[pe, place] != step.words[self.acc].kept[use, slot.setting]).any():
            raise HazardError(f"edge {self.edge}: a product meets a sum of another word")
        np.add.at(spads.values, (pe, place), slot.products[use])
        self.added = np.flatnonzero(use), names[use], spads.values[pe, place]
        moved = self.traffic[self.acc].moves[b]
        arrived = len(pe) if self.lanes == 1 else _distinct(self.group[b][use], names[use])
        first = spads.fresh[pe, place]
        opened = (
            int(np.count_nonzero(first)) if self.lanes == 1 else _distinct(pe[first], place[first])
        )
        spads.fresh[pe, place] = False
        moved.arrived += arrived
        moved.updated += arrived - (0 if self.reads_first else opened)

    def _let_go(self, bin_: _Bin, pe: Ints, slot: Ints, *, hops: bool = True) -> None:
        """PEs send sums they keep no longer."""
        spads = self.spads[self.acc]
        names, values = spads.names[pe, slot], spads.values[pe, slot]
        spads.there[pe, slot] = False
        self._moved(self.acc).drained += len(pe)
        self._send(bin_, 0, pe, names, values, hops=hops)

    def _send(
        self, bin_: _Bin, occasion: int, who: Ints, names: Ints, values: Ints, *, hops: bool = True
    ) -> None:
        """Sums leave PEs (or MACs): at once, added by a tree where the network adds, or hop by
        hop.
        """
        if not len(who):
            return
        if self.chains is None or not hops:
            self._leave(bin_, occasion, who, names, values)
            return
        if len(np.unique(who)) != len(who):
            raise HazardError(f"edge {self.edge}: a PE sends two sums over one link")
        n = len(self.chains.place[0])
        v, w, there = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, bool)
        v[who], w[who], there[who] = values, names, True
        self.chains.launch(self.edge, v, w, there, (bin_, occasion))
        bin_.pending += len(np.unique(self.chains.place[0][who]))

    def _leave(self, bin_: _Bin, occasion: int, who: Ints, names: Ints, values: Ints) -> None:
        """Sums are latched by the level outside, those of padding by nobody."""
        words = names != NO_WORD
        bin_.sums.append((occasion, who[words], names[words], values[words]))
        self._note(
            "out",
            self.acc,
            self.group[self.outer[self.acc]][who[words]],
            names[words],
            values[words],
        )
        self.last_result = self.edge

    def _land(self, bin_: _Bin) -> None:
        """All sums of a step are out: they count once for those who share, and go to their
        level.
        """
        b, nothing = self.outer[self.acc], not any(len(who) for _, who, _, _ in bin_.sums)
        if nothing:
            self.deliver(bin_.step.at, NOTHING, NOTHING, NOTHING)
            return
        occasion = np.concatenate([np.full(len(who), o) for o, who, _, _ in bin_.sums])
        who, names, values = (np.concatenate([x[k] for x in bin_.sums]) for k in (1, 2, 3))
        few, name = np.unique(names, return_inverse=True)
        groups = self.group[b]
        code = (occasion * (int(groups.max()) + 1) + groups[who]) * len(few) + name
        code, first, which = np.unique(code, return_index=True, return_inverse=True)
        total = np.zeros(len(code), np.int64)
        np.add.at(total, which, values)
        pe = who[first] if b.child == self.pe else self.pe_of[who[first]]
        self.deliver(
            bin_.step.at, pe, self.traffic[self.acc].address_at_pe(names[first], b.child), total
        )

    def _to_level(self, at: Where, pe: Ints, words: Ints, values: Ints) -> None:
        """A step's sums go to the level outside, which moves on to that step first."""
        traffic = self.traffic[self.acc]
        traffic.advance(at)
        traffic.land(self.outer[self.acc], self.pe, pe, words, values)

    def restart(self, state: dict[str, Ints]) -> None:
        """Stand still with these words in the PEs (sums at zero), before the first edge."""
        self.state = {t: x.copy() for t, x in state.items()}
        for t, names in state.items():
            self.spads[t].hold(names)
        self._ahead = self.now = None
        self.pipe.clear()
        self.bins.clear()
        self.chains = self.new_chains()
        self.edge = self.last_result = self.total_macs = self.compute = self.active = 0


def _distinct(groups: Ints, names: Ints) -> int:
    """How many different (group, word) there are."""
    return len(np.unique(groups * (int(names.max(initial=0)) + 1) + names))
