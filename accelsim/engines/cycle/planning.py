"""What a plain array is to do in a step: which MAC takes which word, what comes into each PE and
when, which sums go.

A *step* is a setting of the temporal loops outside the PEs, a *setting* one of those inside.  A PE
is an instance of the innermost level, a *position* one of its MACs.  Planning looks at words only,
``buses`` then clocks what was planned; what is held where was decided here, and is checked there.

Axes: [positions, settings] for what MACs take, [PEs, words] for what PEs keep (each PE's list in
the order of names, padded with FAR), [words] for words that move.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from accelsim.engines.cycle.addresses import (
    NO_WORD,
    NOTHING,
    Bools,
    Ints,
    Macs,
    Where,
    apart,
    digits,
    numbered,
)
from accelsim.engines.cycle.chain import Chains
from accelsim.engines.cycle.levels import Traffic
from accelsim.engines.cycle.spads import FAR, Change, Tile, change, tile_of
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import TENSORS

MOST_MACS = 1 << 20


@dataclass(eq=False)
class PlainStep:
    """One step as planned: every MAC's words, and what the PEs keep, take and let go.

    ``number``    in order
    ``at``        where the loops outside the PEs stand
    ``exists``    [positions, settings]: which MACs there are
    ``slots``     [edges]: settings at which some MAC works
    ``words``     by tensor: what every MAC takes or adds to
    ``keeps``     by kept tensor: what changes in the PEs' lists
    ``loads``     by kept operand: what comes in, and when
    ``last_use``  [PEs, words] of the sums: the setting of the last product; -1 none in this step
    ``leaves``    by setting: PE and slot of the sums that go then
    ``late``      the same of PEs that stood idle, which no working PE lets go with them
    """

    number: int
    at: Where
    exists: Bools
    slots: Ints
    words: dict[str, PeWords]
    keeps: dict[str, Change]
    loads: dict[str, Loads]
    last_use: Ints | None = None
    leaves: dict[int, tuple[Ints, Ints]] = field(default_factory=dict)
    late: tuple[Ints, Ints] | None = None


@dataclass(frozen=True, eq=False)
class PeWords:
    """Every MAC's word of one tensor, each array [positions, settings].

    ``names``   at the MAC
    ``kept``    in the PE; under a loop fused inside it they differ
    ``slot``    of a kept tensor: where the word stands in its PE's list
    ``values``  of others: what the bus brings
    ``read``    which of these the level outside reads; padding may be stored further in
    """

    names: Ints
    kept: Ints
    slot: Ints | None = None
    values: Ints | None = None
    read: Bools | None = None


@dataclass(frozen=True, eq=False)
class Loads:
    """Operand words that come into PEs, sorted by the setting they come at; arrays are [words].

    ``when``   the setting of its first use by any PE that shares it
    ``pe``, ``slot``   where it goes;  ``name``, ``value``   what it is
    ``group``  who shares the bus
    ``read``   whether the level outside reads it
    ``donor``  over neighbour links, PE and place of one that held it the step before; -1 for a word
               of the bus
    """

    when: Ints
    pe: Ints
    slot: Ints
    name: Ints
    value: Ints
    group: Ints
    read: Bools
    donor: tuple[Ints, Ints]


NO_LOADS = Loads(
    NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, np.zeros(0, bool), (NOTHING, NOTHING)
)


class Planner:
    """The PEs of a nest without systolic lines, and what each step asks of them.

    ``traffic``      by tensor: the levels outside
    ``acc``          the accumulated tensor
    ``spatial``, ``inside``   loops over PEs and MACs, and temporal ones inside the PEs
    ``pes``, ``lanes``, ``positions``, ``settings``   how many there are; lanes are MACs of one PE
    ``where``        by spatial loop: its position, [positions]
    ``pe_of``        [positions]: the PE of each MAC
    ``macs``         the words MACs touch
    ``kept``         tensors the PEs keep
    ``outer``, ``inner``   by tensor: its boundary from outside, and the one to the MAC
    ``group``        by boundary: who shares a word, [PEs] or [positions]
    ``few``          by kept tensor: settings that differ in its own loops, and which each is like
    ``chains``       links that sums hop along, if there are any
    ``state``        by kept tensor: names in the PEs as planned so far, [PEs, words]
    ``planned``      steps so far
    """

    def __init__(self, nest: Nest, traffic: dict[str, Traffic]) -> None:
        self.nest, self.traffic, self.pe = nest, traffic, nest.levels - 1
        self.acc = nest.problem.accumulated
        loops = nest.loops
        self.spatial = [i for i, x in enumerate(loops) if x.spatial]
        in_pe = [i for i in self.spatial if loops[i].level >= self.pe]
        self.inside = [i for i, x in enumerate(loops) if not x.spatial and x.level == self.pe]
        self.pes = prod(loops[i].trips for i in self.spatial if i not in in_pe)
        self.lanes = prod(loops[i].trips for i in in_pe)
        self.positions = self.pes * self.lanes
        self.settings = prod(loops[i].trips for i in self.inside)
        if self.positions > MOST_MACS:
            raise MappingError(
                f"{self.positions} MACs at once are more than the {MOST_MACS} the cycle engine "
                "clocks"
            )
        self.where = digits(nest, self.spatial)
        self.pe_of = np.arange(self.positions) // self.lanes
        within = digits(nest, self.inside)
        self.macs = Macs(
            nest,
            {i: v[:, None] for i, v in self.where.items()}
            | {i: v[None, :] for i, v in within.items()},
        )
        self.kept: list[str] = [t for t in TENSORS if t in nest.keep[self.pe]]
        self.outer = {
            t: next(b for b in nest.boundaries if b.tensor == t and b.parent < self.pe <= b.child)
            for t in traffic
        }
        self.inner = {
            t: next(b for b in nest.boundaries if b.tensor == t and b.child == nest.levels)
            for t in traffic
        }
        self.group = {b: self._groups(b) for b in nest.boundaries if b.child >= self.pe}
        self.few = {t: self._few(t, within) for t in self.kept}
        self.chains = self.new_chains()
        self.state = {t: np.full((self.pes, 0), FAR) for t in self.kept}
        self.planned = 0
        self._tiles: dict[str, tuple[object, Tile]] = {}
        self._ahead: tuple[Where, Change] | None = None
        self._active: dict[object, Bools] = {}

    def _at(self, b: Boundary) -> tuple[dict[int, Ints], int]:
        """Positions of the spatial loops for each child of a boundary, PEs or MACs, and how many
        there are.
        """
        if b.child > self.pe:
            return self.where, self.positions
        return {i: v[:: self.lanes] for i, v in self.where.items()}, self.pes

    def _groups(self, b: Boundary) -> Ints:
        """Who shares a word of a boundary: by PE, or of MACs by position."""
        at, n = self._at(b)
        return numbered(self.nest, apart(self.nest, b), at, n)

    def _few(self, tensor: str, within: dict[int, Ints]) -> tuple[Ints, Ints]:
        """Inner settings that differ in a tensor's own loops, and which of them each setting is
        like.
        """
        alike = np.arange(self.settings)
        for i in self.inside:
            if not self.nest.loop_depends(self.nest.loops[i], tensor):
                alike = alike - within[i] * prod(
                    self.nest.loops[k].trips for k in self.inside if k > i
                )
        few = np.unique(alike)
        return few, np.searchsorted(few, alike)

    def new_chains(self) -> Chains | None:
        """The chains sums hop along, if the network above the PEs has them."""
        b = self.outer[self.acc]
        if b.kind != "chain":
            return None
        if self.lanes > 1:
            raise MappingError(
                f"a PE has {self.lanes} MACs; the cycle engine's chains join PEs of one MAC each"
            )
        at, n = self._at(b)
        loops = self.nest.loops
        summed = [
            i
            for i in self.spatial
            if b.parent <= loops[i].level < b.child
            and not self.nest.loop_depends(loops[i], self.acc)
        ]
        rows, cols = ([i for i in summed if loops[i].axis == axis] for axis in ("row", "col"))
        rest = [i for i in self.spatial if loops[i].level < b.child and i not in summed]
        return Chains(*(numbered(self.nest, which, at, n) for which in (rest, rows, cols)))

    def plan(self, at: Where) -> PlainStep:
        """A step's words and what changes in the PEs; the levels outside must hold its operands."""
        shape = (self.positions, self.settings)
        exists = np.broadcast_to(self.macs.exist(at), shape)
        words: dict[str, PeWords] = {}
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
                kept = (
                    names
                    if self.nest.projection(t, self.pe).pairs
                    else np.broadcast_to(touched.addresses, shape)
                )
                tile = self.tile(t, at)
                slot = tile.slot.reshape(self.positions, -1)[:, self.few[t][1]]
                active = self.takes_step(t, at)
                before = self.state[t]
                ahead = self._ahead if t == self.acc else None
                keeps[t] = (
                    ahead[1]
                    if ahead is not None and ahead[0] == at
                    else change(before, tile.names, active)
                )
                self.state[t] = keeps[t].names
                if t == self.acc:
                    last_use = self._last_use(
                        slot, exists & (names != NO_WORD), keeps[t].names.shape[1]
                    )
                else:
                    loads[t] = self._loads(t, tile, before, keeps[t], active)
            words[t] = PeWords(names, kept, slot, values, read)
        step = PlainStep(
            self.planned,
            at,
            exists,
            np.flatnonzero(exists.any(axis=0)),
            words,
            keeps,
            loads,
            last_use,
        )
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
            names = np.broadcast_to(
                touched.names if self.nest.projection(t, self.pe).pairs else touched.addresses,
                (self.positions, self.settings),
            )
            mine = np.where(self.macs.exist(at, t), names, NO_WORD)[:, few].reshape(
                self.pes, self.lanes, len(few)
            )
            known = self._tiles[t] = key, tile_of(mine, mine != NO_WORD)
        return known[1]

    def takes_step(self, t: str, at: Where) -> Bools:
        """Which PEs are not idle through a dimension the tensor does not depend on, [PEs]."""
        taking = np.ones(self.pes, bool)
        for c in self.nest.chains:
            if not c.depends(t):
                mine = [i for i in c.loops if self.nest.loops[i].level < self.pe]
                key = (c.name, *(at[i] for i in mine if i in at))
                if key not in self._active:
                    index = {i: at[i] if i in at else self.where[i][:: self.lanes] for i in mine}
                    self._active[key] = np.broadcast_to(self.nest.pieces(c, index).exists, self.pes)
                taking = taking & self._active[key]
        return taking

    def _last_use(self, slot: Ints, there: Bools, width: int) -> Ints:
        """The setting of each sum's last product, [PEs, words]; -1 where it gets none."""
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
                nearest = np.minimum(np.searchsorted(have, code[which]), len(have) - 1)
                near, source = have[nearest] == code[which], at[nearest]
                donor = np.where(near, giver[source], -1), np.where(near, place[source], -1)
                read &= ~near
        order = np.argsort(first[which], kind="stable")
        donor = donor[0][order], donor[1][order]
        return Loads(
            first[which][order],
            pe[order],
            slot[order],
            name[order],
            value[order],
            group[order],
            read[order],
            donor,
        )

    def release(self, step: PlainStep, following: Where | None) -> None:
        """Which sums the PEs let go after a step: those the next one does not keep, or all.

        Sums that are added to each other on the way leave together, on the edge that completes the
        last of them.
        """
        if self.acc not in self.kept:
            return
        names = step.keeps[self.acc].names
        gone = names != FAR
        if following is not None:
            self._ahead = (
                following,
                change(
                    names,
                    self.tile(self.acc, following).names,
                    self.takes_step(self.acc, following),
                ),
            )
            gone = self._ahead[1].gone
        pe, slot = np.nonzero(gone)
        if not len(pe):
            return
        assert step.last_use is not None
        when = step.last_use[pe, slot]
        name = names[pe, slot]
        together = (
            self.chains.place[0][pe]
            if self.chains is not None
            else self.group[self.outer[self.acc]][pe]
        )
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
