"""Plain arrays, clocked: operands come over buses on the edge they are used, products are added in PEs, trees or chains.

A *step* is a setting of the temporal loops outside the PEs, a *slot* of it one setting of those inside: one edge.  What a
PE keeps comes over the bus in the slot of its first use by any PE that takes it, and all of them latch it then.  A product
is there ``pipeline_stages - 1`` edges after its operands and is added on that edge: to the PE's own sum where the PE keeps
it, else in the network.  A sum a PE lets go leaves on the edge that completes it in the last of the PEs it is added over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np

from accelsim.engines.counts import Moved
from accelsim.engines.cycle.chain import Chains
from accelsim.engines.cycle.levels import HazardError, Traffic
from accelsim.engines.cycle.spads import FAR, Change, Spads, Tile, change, tile_of
from accelsim.engines.cycle.words import NO_WORD, NOTHING, Bools, Ints, Macs, Where, apart, digits, numbered
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import TENSORS

MOST_MACS = 1 << 20


@dataclass(eq=False)
class Step:
    """One step as planned: every MAC's words, and what the PEs keep, take and let go."""

    number: int
    at: Where
    exists: Bools  # (position, setting)
    slots: Ints  # settings at which some MAC works
    words: dict[str, Words]
    keeps: dict[str, Change]
    loads: dict[str, Loads]
    last_use: Ints | None = None  # (PE, word) of the sums: the setting of the last product; -1 none in this step
    leaves: dict[int, tuple[Ints, Ints]] = field(default_factory=dict)  # by setting: (PE, slot) of the sums that go then
    late: tuple[Ints, Ints] | None = None  # sums of PEs that stood idle, which no working PE lets go with them


@dataclass(frozen=True, eq=False)
class Words:
    """Every MAC's word of one tensor, (position, setting): where it stands in its PE's list, or what the bus brings.

    ``names`` are those at the MAC, ``kept`` those in the PE (under a loop fused inside it they differ).  ``read``: which words
    the level outside reads for the MACs (stored padding may begin there).
    """

    names: Ints
    kept: Ints
    slot: Ints | None = None
    values: Ints | None = None
    read: Bools | None = None


@dataclass(frozen=True, eq=False)
class Loads:
    """Operand words that come into PEs, sorted by the setting they come at.

    ``group``: who shares the bus.  ``read``: whether the level outside reads it.  ``donor``: over neighbour links, PE and
    place of one that held it the step before; -1 for a word of the bus.
    """

    when: Ints
    pe: Ints
    slot: Ints
    name: Ints
    value: Ints
    group: Ints
    read: Bools
    donor: tuple[Ints, Ints]


NO_LOADS = Loads(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, np.zeros(0, bool), (NOTHING, NOTHING))


@dataclass(frozen=True, eq=False)
class _Slot:
    """One edge's products on their way through the multipliers."""

    step: Step
    setting: int
    opens: bool  # the first of its step
    ends: bool
    products: Ints


@dataclass(eq=False)
class _Bin:
    """Sums of one step that left the PEs, until all are out: (occasion, PE or MAC, word, value) of each."""

    step: Step
    pending: int = 0  # sums on chains
    ended: bool = False
    sums: list[tuple[int, Ints, Ints, Ints]] = field(default_factory=list)


class BusArray:
    """The PEs of a nest without systolic lines, and the clock.

    ``traffic``: every tensor's levels outside.  A PE is an instance of the innermost level; a *position* one of its MACs.
    """

    def __init__(self, nest: Nest, traffic: dict[str, Traffic]) -> None:
        self.nest, self.traffic, self.pe = nest, traffic, nest.levels - 1
        self.acc = nest.problem.accumulated
        loops = nest.loops
        self.spatial = [i for i, x in enumerate(loops) if x.spatial]
        self.in_pe = [i for i in self.spatial if loops[i].level >= self.pe]
        self.inside = [i for i, x in enumerate(loops) if not x.spatial and x.level == self.pe]
        self.pes = prod(loops[i].trips for i in self.spatial if i not in self.in_pe)
        self.lanes = prod(loops[i].trips for i in self.in_pe)
        self.positions = self.pes * self.lanes
        self.settings = prod(loops[i].trips for i in self.inside)
        if self.positions > MOST_MACS:
            raise MappingError(f"{self.positions} MACs at once are more than the {MOST_MACS} the cycle engine clocks")
        self.where = digits(nest, self.spatial)
        self.pe_of = np.arange(self.positions) // self.lanes
        within = digits(nest, self.inside)
        self.macs = Macs(nest, {i: v[:, None] for i, v in self.where.items()} | {i: v[None, :] for i, v in within.items()})
        self.kept: list[str] = [t for t in TENSORS if t in nest.keep[self.pe]]
        self.outer = {t: next(b for b in nest.boundaries if b.tensor == t and b.parent < self.pe <= b.child) for t in traffic}
        self.inner = {t: next(b for b in nest.boundaries if b.tensor == t and b.child == nest.levels) for t in traffic}
        self.group = {b: self._groups(b) for b in nest.boundaries if b.child >= self.pe}
        self.few = {t: self._few(t, within) for t in self.kept}
        self.spads = {t: Spads(self.pes, nest.footprint.tile_words(self.pe, t), t) for t in self.kept}
        self.state = {t: np.full((self.pes, 0), FAR) for t in self.kept}  # names, as planned so far
        self.deliver: Callable[[Where, Ints, Ints, Ints], None] = self._to_level
        self.watch: Callable[[], None] | None = None  # called after every edge
        self._tiles: dict[str, tuple[object, Tile]] = {}
        self._ahead: tuple[Where, Change] | None = None
        self._active: dict[object, Bools] = {}
        self.stages = nest.arch.array.pipeline_stages
        self.pipe: deque[_Slot | None] = deque()  # the multipliers' stages
        self.bins: deque[_Bin] = deque()
        self.chains = self._chains()
        self.first_of_chain = np.zeros(0, np.int64) if self.chains is None else np.unique(self.chains.place[0], return_index=True)[1]
        self.reads_first = nest.arch.first_read == nest.arch.level_names[self.pe]
        self.now: tuple[Step, int, list[Ints]] | None = None  # what the multipliers take at this edge: the slot, its operands
        self.added: tuple[Ints, Ints, Ints] = (NOTHING, NOTHING, NOTHING)  # positions whose product was added at this edge, words, sums
        self.bus: list[tuple[str, str, Ints, Ints, Ints]] = []  # of this edge: way, tensor, each word's bus, name and value
        self.edge = self.last_result = self.total_macs = self.compute = self.active = self.planned = 0

    def _groups(self, b: Boundary) -> Ints:
        """Who shares a word of a boundary: by PE, or of MACs by position."""
        n = self.positions if b.child > self.pe else self.pes
        at = self.where if b.child > self.pe else {i: v[:: self.lanes] for i, v in self.where.items()}
        return numbered(self.nest, apart(self.nest, b), at, n)

    def _few(self, tensor: str, within: dict[int, Ints]) -> tuple[Ints, Ints]:
        """Inner settings that differ in a tensor's own loops, and which of them each setting is like."""
        alike = np.arange(self.settings)
        for i in self.inside:
            if not self.nest.loop_depends(self.nest.loops[i], tensor):
                alike = alike - within[i] * prod(self.nest.loops[k].trips for k in self.inside if k > i)
        few = np.unique(alike)
        return few, np.searchsorted(few, alike)

    def _chains(self) -> Chains | None:
        """The chains sums hop along, if the network above the PEs has them."""
        b = self.outer[self.acc]
        if b.kind != "chain":
            return None
        if self.lanes > 1:
            raise MappingError(f"a PE has {self.lanes} MACs; the cycle engine's chains join PEs of one MAC each")
        n = self.positions if b.child > self.pe else self.pes
        at = self.where if b.child > self.pe else {i: v[:: self.lanes] for i, v in self.where.items()}
        loops = self.nest.loops
        summed = [i for i in self.spatial if b.parent <= loops[i].level < b.child and not self.nest.loop_depends(loops[i], self.acc)]
        rows, cols = ([i for i in summed if loops[i].axis == axis] for axis in ("row", "col"))
        rest = [i for i in self.spatial if loops[i].level < b.child and i not in summed]
        return Chains(*(numbered(self.nest, which, at, n) for which in (rest, rows, cols)))

    # -- planning a step -------------------------------------------------------------------------------------

    def plan(self, at: Where) -> Step:
        """A step's words and what changes in the PEs; the levels outside must hold its operands."""
        shape = (self.positions, self.settings)
        exists = np.broadcast_to(self.macs.exist(at), shape)
        words: dict[str, Words] = {}
        keeps: dict[str, Change] = {}
        loads: dict[str, Loads] = {}
        last_use = None
        for t in self.traffic:
            touched = self.macs.touched(t, at, self.outer[t].parent)
            names = kept = np.broadcast_to(touched.names, shape)
            slot = values = read = None
            if t != self.acc and t not in self.kept:
                read = exists & (names != NO_WORD) & touched.given
                values = self._fetched(t, np.broadcast_to(touched.addresses, shape), read)
            if t in self.kept:
                kept = names if self.nest.pairs(t, self.pe) else np.broadcast_to(touched.addresses, shape)
                tile = self.tile(t, at)
                slot = tile.slot.reshape(self.positions, -1)[:, self.few[t][1]]
                active = self.takes_step(t, at)
                before = self.state[t]
                ahead = self._ahead if t == self.acc else None
                keeps[t] = ahead[1] if ahead is not None and ahead[0] == at else change(before, tile.names, active)
                self.state[t] = keeps[t].names
                if t == self.acc:
                    last_use = self._last_use(slot, exists & (names != NO_WORD), keeps[t].names.shape[1])
                else:
                    loads[t] = self._loads(t, tile, before, keeps[t], active)
            words[t] = Words(names, kept, slot, values, read)
        step = Step(self.planned, at, exists, np.flatnonzero(exists.any(axis=0)), words, keeps, loads, last_use)
        self.planned += 1
        return step

    def _fetched(self, t: str, addresses: Ints, read: Bools) -> Ints:
        """Values of a streamed operand's words, as the level that feeds the buses holds them."""
        traffic = self.traffic[t]
        values = np.zeros(read.shape, np.int64)
        parents = traffic.instance(self.outer[t].parent, self.pe, self.pe_of)
        for k in np.unique(parents):
            mine = read & (parents == k)[:, None]
            values[mine] = traffic.read(int(k), addresses[mine])
        return values

    def tile(self, t: str, at: Where) -> Tile:
        """Every PE's words of a kept tensor at a step, were it to take the step."""
        key = self.macs.key(t, at)
        known = self._tiles.get(t)
        if known is None or known[0] != key:
            few, touched = self.few[t][0], self.macs.touched(t, at, self.outer[t].parent)
            names = np.broadcast_to(touched.names if self.nest.pairs(t, self.pe) else touched.addresses, (self.positions, self.settings))
            mine = np.where(self.macs.exist(at, t), names, NO_WORD)[:, few].reshape(self.pes, self.lanes, len(few))
            known = self._tiles[t] = key, tile_of(mine, mine != NO_WORD)
        return known[1]

    def takes_step(self, t: str, at: Where) -> Bools:
        """Which PEs are not idle through a dimension the tensor does not depend on."""
        found = np.ones(self.pes, bool)
        for c in self.nest.chains:
            if not c.depends(t):
                mine = [i for i in c.loops if self.nest.loops[i].level < self.pe]
                key = (c.name, *(at[i] for i in mine if i in at))
                if key not in self._active:
                    index = {i: at[i] if i in at else self.where[i][:: self.lanes] for i in mine}
                    self._active[key] = np.broadcast_to(self.nest.pieces(c, index).exists, self.pes)
                found = found & self._active[key]
        return found

    def _last_use(self, slot: Ints, there: Bools, width: int) -> Ints:
        last = np.full((self.pes, width), -1, np.int64)
        position, setting = np.nonzero(there)
        np.maximum.at(last, (self.pe_of[position], slot[position, setting]), setting)
        return last

    def _loads(self, t: str, tile: Tile, before: Ints, keeps: Change, active: Bools) -> Loads:
        """Words that come, each at its first use by any of those who share it."""
        b = self.outer[t]
        pe, slot = np.nonzero(keeps.new)
        if not len(pe):
            return NO_LOADS
        name, group = keeps.names[pe, slot], self.group[b][pe]
        span = int(name.max(initial=0)) + 1
        code, which = np.unique(group * span + name, return_inverse=True)
        first = np.full(len(code), np.iinfo(np.int64).max)
        np.minimum.at(first, which, self.few[t][0][tile.first[pe, slot]])
        address = self.traffic[t].address_at_pe(name)
        read = self.traffic[t].given(b, address)
        value = np.zeros(len(name), np.int64)
        parent = self.traffic[t].instance(b.parent, self.pe, pe)
        for k in np.unique(parent):
            mine = read & (parent == k)
            value[mine] = self.traffic[t].read(int(k), address[mine])
        donor = (np.full(len(name), -1), np.full(len(name), -1))
        if b.kind == "neighbour":
            giver, place = np.nonzero((before != FAR) & active[:, None])
            held = before[giver, place]
            giver, place, held = giver[held < span], place[held < span], held[held < span]
            have, at = np.unique(self.group[b][giver] * span + held, return_index=True)
            if len(have):
                found = np.minimum(np.searchsorted(have, code[which]), len(have) - 1)
                near = have[found] == code[which]
                donor = np.where(near, giver[at[found]], -1), np.where(near, place[at[found]], -1)
                read &= ~near
        order = np.argsort(first[which], kind="stable")
        donor = donor[0][order], donor[1][order]
        return Loads(first[which][order], pe[order], slot[order], name[order], value[order], group[order], read[order], donor)

    def release(self, step: Step, following: Where | None) -> None:
        """Which sums the PEs let go after a step: those the next one does not keep, or all."""
        if self.acc not in self.kept:
            return
        names = step.keeps[self.acc].names
        gone = names != FAR
        if following is not None:
            self._ahead = following, change(names, self.tile(self.acc, following).names, self.takes_step(self.acc, following))
            gone = self._ahead[1].gone
        pe, slot = np.nonzero(gone)
        if not len(pe):
            return
        assert step.last_use is not None
        when = step.last_use[pe, slot]
        name = names[pe, slot]
        together = self.chains.place[0][pe] if self.chains is not None else self.group[self.outer[self.acc]][pe]
        _, which = np.unique(together * (int(name.max(initial=0)) + 1) + name, return_inverse=True)
        latest = np.full(int(which.max(initial=-1)) + 1, -1, np.int64)
        np.maximum.at(latest, which, when)
        when = latest[which]
        for setting in dict.fromkeys(when.tolist()):
            mine = when == setting
            if setting < 0:
                step.late = pe[mine], slot[mine]
            else:
                step.leaves[setting] = pe[mine], slot[mine]

    # -- clocking --------------------------------------------------------------------------------------------

    def carry_out(self, step: Step) -> None:
        """Clock a step, whose ``release`` is known: one edge a slot."""
        self.bins.append(_Bin(step))
        passed = {}
        for t in step.loads:
            giver, place = step.loads[t].donor
            passed[t] = step.loads[t].value
            if (giver >= 0).any():
                passed[t] = np.where(giver >= 0, self.spads[t].values[giver, place], passed[t])
            self.spads[t].move(step.keeps[t])
        come = {t: np.searchsorted(x.when, np.append(step.slots, self.settings)) for t, x in step.loads.items()}
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
        """Words on the bus: read once for all who share it, latched by every PE that takes it."""
        pe, slot = loads.pe[now], loads.slot[now]
        if not len(pe):
            return
        spads, moved = self.spads[t], self._moved(t)
        self._note("in", t, loads.group[now], loads.name[now], passed[now])
        spads.values[pe, slot], spads.there[pe, slot] = passed[now], True
        read = loads.read[now]
        moved.taken += len(pe)
        moved.read += _distinct(loads.group[now][read], loads.name[now][read])

    def _from_pe(self, t: str, step: Step, setting: int, works: Bools) -> Ints:
        """What MACs read in their own PE."""
        words, b = step.words[t], self.inner[t]
        assert words.slot is not None
        names = words.names[:, setting]
        use = works & (names != NO_WORD)
        values = np.zeros(self.positions, np.int64)
        values[use] = self.spads[t].read(self.pe_of[use], words.slot[use, setting], words.kept[use, setting])
        moved = self.traffic[t].moves[b]
        n = int(np.count_nonzero(use))
        moved.taken += n
        moved.read += n if self.lanes == 1 else _distinct(self.group[b][use], names[use])
        return values

    def _from_bus(self, t: str, step: Step, setting: int, works: Bools) -> Ints:
        """What MACs take from the bus: one word for all who share it."""
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

    # -- sums ------------------------------------------------------------------------------------------------

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
        step, acc = slot.step, self.acc
        bin_ = next(x for x in self.bins if x.step is step)
        names, works = step.words[acc].names[:, slot.setting], step.exists[:, slot.setting]
        use = works & (names != NO_WORD)
        self.traffic[acc].moves[self.inner[acc]].drained += int(np.count_nonzero(use))
        self.last_result = self.edge  # a product is latched, be it padding's
        if acc not in self.kept:
            self.added = np.flatnonzero(works), names[works], slot.products[works]
            self._send(bin_, slot.setting, np.flatnonzero(works), names[works], slot.products[works])
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
        spads = self.spads[self.acc]
        spads.move(keeps, lossless=True)
        spads.open(keeps.new)

    def _add_in_pe(self, step: Step, slot: _Slot, use: Bools, names: Ints) -> None:
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
        opened = int(np.count_nonzero(first)) if self.lanes == 1 else _distinct(pe[first], place[first])
        spads.fresh[pe, place] = False
        moved.arrived += arrived
        moved.updated += arrived - (0 if self.reads_first else opened)

    def _let_go(self, bin_: _Bin, pe: Ints, slot: Ints, *, hops: bool = True) -> None:
        spads = self.spads[self.acc]
        names, values = spads.names[pe, slot], spads.values[pe, slot]
        spads.there[pe, slot] = False
        self._moved(self.acc).drained += len(pe)
        self._send(bin_, 0, pe, names, values, hops=hops)

    def _send(self, bin_: _Bin, occasion: int, who: Ints, names: Ints, values: Ints, *, hops: bool = True) -> None:
        """Sums leave PEs (or MACs): at once, added by a tree where the network adds, or hop by hop."""
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
        self._note("out", self.acc, self.group[self.outer[self.acc]][who[words]], names[words], values[words])
        self.last_result = self.edge

    def _land(self, bin_: _Bin) -> None:
        """All sums of a step are out: they count once for those who share, and go to their level."""
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
        self.deliver(bin_.step.at, pe, self.traffic[self.acc].address_at_pe(names[first], b.child), total)

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
        self.chains = self._chains()
        self.edge = self.last_result = self.total_macs = self.compute = self.active = 0


def _distinct(groups: Ints, names: Ints) -> int:
    """How many different (group, word) there are."""
    return len(np.unique(groups * (int(names.max(initial=0)) + 1) + names))
