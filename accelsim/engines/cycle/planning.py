"""What a plain array is to do in a step: which MAC takes which word, what comes into each PE and
when, which sums go.

A *step* is a setting of the temporal loops outside the PEs, a *setting* one of those inside.  A PE
is an instance of the innermost level; it may have several MACs, and arrays of MACs are flat over
PEs, then a PE's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
from accelsim.engines.cycle.pads import FAR, Change, Tile, change, tile_of
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import TENSORS

MOST_MACS = 1 << 20
NEVER = -1


class MacWords(NamedTuple):
    """Every MAC's word of one tensor, [settings, MACs].

    ``names`` are those at the MAC, ``kept`` those in the PE (under a loop fused inside it they
    differ), ``slot`` where it stands in its PE's list.  Of a tensor no PE keeps, ``values`` are
    what the bus brings, ``read`` which words the level outside reads for it.
    """

    names: Ints
    kept: Ints
    slot: Ints
    values: npt.NDArray[Any]
    read: Bools


class Loads(NamedTuple):
    """Operand words that come into PEs, sorted by the setting they come at.

    ``group``: who shares the bus.  ``read``: whether the level outside reads it.  ``giver`` and
    ``place``: over neighbour links, PE and place of one that held it the step before; giver -1 for
    a word of the bus.
    """

    when: Ints
    pe: Ints
    slot: Ints
    name: Ints
    value: npt.NDArray[Any]
    group: Ints
    read: Bools
    giver: Ints
    place: Ints


@dataclass(eq=False)
class PlainStep:
    """One step as planned: every MAC's words, and what the PEs keep, take and let go."""

    number: int
    at: Where
    exists: Bools  # [settings, MACs]
    slots: Ints  # settings at which some MAC works
    words: dict[str, MacWords]
    keeps: dict[str, Change]
    loads: dict[str, Loads]
    leaves: Ints  # [PEs, words] of the sums: the setting after which each goes; NEVER: it stays
    late: Bools  # [PEs, words] sums of PEs that stood idle, which no working PE lets go with them


class Planner:
    """The PEs of a nest without systolic lines, and what each step asks of them.  ``traffic``:
    every tensor's levels outside.
    """

    def __init__(self, nest: Nest, traffic: dict[str, Traffic]) -> None:
        self.nest, self.traffic, self.pe = nest, traffic, nest.levels - 1
        self.acc = nest.problem.accumulated
        loops = nest.loops
        self.spatial = [i for i, x in enumerate(loops) if x.spatial]
        self.inside = [i for i, x in enumerate(loops) if not x.spatial and x.level == self.pe]
        self.positions = prod(loops[i].trips for i in self.spatial)
        self.lanes = prod(loops[i].trips for i in self.spatial if loops[i].level >= self.pe)
        self.pes = self.positions // self.lanes
        self.settings = prod(loops[i].trips for i in self.inside)
        if self.positions > MOST_MACS:
            raise MappingError(
                f"{self.positions} MACs at once are more than the {MOST_MACS} "
                f"the cycle engine clocks"
            )
        self.where = digits(nest, self.spatial)
        self.pe_of = np.arange(self.positions) // self.lanes
        self.macs = Macs(nest, digits(nest, self.inside), self.where)
        self.kept: list[str] = [t for t in TENSORS if t in nest.keep[self.pe]]
        of = {t: [b for b in nest.boundaries if b.tensor == t] for t in traffic}
        self.inner = {t: bs[-1] for t, bs in of.items()}
        self.outer = {
            t: next(b for b in bs if b.parent < self.pe <= b.child) for t, bs in of.items()
        }
        self.group = {b: self._groups(b) for b in nest.boundaries if b.child >= self.pe}
        self.chains = self.new_chains()
        # names in the PEs, as planned so far
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
        return numbered(self.nest, apart(self.nest, b), *self._at(b))

    def new_chains(self) -> Chains | None:
        """The chains sums hop along, if the network above the PEs has them."""
        b, loops = self.outer[self.acc], self.nest.loops
        if b.kind != "chain":
            return None
        if self.lanes > 1:
            raise MappingError(
                f"a PE has {self.lanes} MACs; the cycle engine's chains join PEs of one MAC each"
            )
        own = [i for i in self.spatial if loops[i].level < b.child]
        summed = [
            i for i in own
            if loops[i].level >= b.parent and not self.nest.loop_depends(loops[i], self.acc)
        ]  # fmt: skip
        rows, cols = ([i for i in summed if loops[i].axis == axis] for axis in ("row", "col"))
        rest = [i for i in own if i not in summed]
        return Chains(*(numbered(self.nest, which, *self._at(b)) for which in (rest, rows, cols)))

    def plan(self, at: Where) -> PlainStep:
        """A step's words and what changes in the PEs; the levels outside must hold its operands."""
        exists = self.macs.exist(at)
        slots = np.flatnonzero(exists.any(axis=1))
        nothing: Ints = np.zeros((self.pes, 0), np.int64)
        step = PlainStep(self.planned, at, exists, slots, {}, {}, {}, nothing, nothing > 0)
        for t in self.traffic:
            touched = self.macs.touched(t, at, self.outer[t].parent)
            kept = touched.names if self.nest.projection(t, self.pe).pairs else touched.addresses
            slot: Ints = touched.names
            values: npt.NDArray[Any] = touched.names
            read = exists & touched.read
            if t in self.kept:
                slot = self.tile(t, at).slot
                self._keep(step, t)
            elif t != self.acc:
                traffic = self.traffic[t]
                rows = traffic.row(self.outer[t].parent, self.pe, self.pe_of)
                values = traffic.read(rows, touched.addresses, read)
            step.words[t] = MacWords(touched.names, kept, slot, values, read)
        self.planned += 1
        return step

    def _keep(self, step: PlainStep, t: str) -> None:
        """What a step changes in the PEs' words of a tensor."""
        ahead = self._ahead if t == self.acc else None
        before, active = self.state[t], self.takes_step(t, step.at)
        known = ahead is not None and ahead[0] == step.at
        keeps = ahead[1] if known and ahead else change(before, self.tile(t, step.at).names, active)
        step.keeps[t], self.state[t] = keeps, keeps.names
        if t != self.acc:
            step.loads[t] = self._loads(t, self.tile(t, step.at), before, keeps, active)

    def tile(self, t: str, at: Where) -> Tile:
        """Every PE's words of a kept tensor at a step, were it to take the step."""
        key = self.macs.key(t, at)
        known = self._tiles.get(t)
        if known is None or known[0] != key:
            touched = self.macs.touched(t, at, self.outer[t].parent)
            names = touched.names if self.nest.projection(t, self.pe).pairs else touched.addresses
            wanted = np.where(self.macs.exist(at, t), names, NO_WORD)
            known = self._tiles[t] = key, tile_of(wanted, self.lanes)
        return known[1]

    def takes_step(self, t: str, at: Where) -> Bools:
        """Which PEs are not idle through a dimension the tensor does not depend on."""
        active = np.ones(self.pes, bool)
        for c in self.nest.chains:
            if not c.depends(t):
                mine = [i for i in c.loops if self.nest.loops[i].level < self.pe]
                key = (c.name, *(at[i] for i in mine if i in at))
                if key not in self._active:
                    index = {i: at[i] if i in at else self.where[i][:: self.lanes] for i in mine}
                    exists = self.nest.pieces(c, index).exists
                    self._active[key] = np.broadcast_to(exists, self.pes)
                active = active & self._active[key]
        return active

    def _loads(self, t: str, tile: Tile, before: Ints, keeps: Change, active: Bools) -> Loads:
        """Words that come, each at its first use by any of those who share it."""
        b, traffic = self.outer[t], self.traffic[t]
        pe, slot = np.nonzero(keeps.new)
        name, group = keeps.names[pe, slot], self.group[b][pe]
        span = int(name.max(initial=0)) + 1
        code, which = np.unique(group * span + name, return_inverse=True)
        first = np.full(len(code), FAR)
        np.minimum.at(first, which, tile.first[pe, slot])
        address = traffic.address_at_pe(name)
        read = traffic.given(b, address)
        value = traffic.read(traffic.row(b.parent, self.pe, pe), address, read)
        giver, place = np.full((2, len(name)), -1)
        if b.kind == "neighbour":
            near, at = np.nonzero((before != FAR) & (before < span) & active[:, None])
            have, one = np.unique(self.group[b][near] * span + before[near, at], return_index=True)
            where = np.minimum(np.searchsorted(have, code), len(have) - 1)
            there = (have[where] == code if len(have) else np.zeros(len(code), bool))[which]
            giver[there], place[there] = (x[one[where[which[there]]]] for x in (near, at))
            read &= ~there
        order = np.argsort(first[which], kind="stable")
        columns: Any = (first[which], pe, slot, name, value, group, read, giver, place)
        return Loads(*(x[order] for x in columns))

    def release(self, step: PlainStep, following: Where | None) -> None:
        """Which sums the PEs let go after a step: those the next one does not keep, or all.

        Each goes with the last product it gets in any of the PEs it is added over.
        """
        if self.acc not in self.kept:
            return
        names, words = step.keeps[self.acc].names, step.words[self.acc]
        gone = names != FAR
        if following is not None:
            tile, active = self.tile(self.acc, following), self.takes_step(self.acc, following)
            self._ahead = following, change(names, tile.names, active)
            gone = self._ahead[1].gone
        last = np.full(names.shape, NEVER)
        setting, mac = np.nonzero(step.exists & (words.names != NO_WORD))
        last[self.pe_of[mac], words.slot[setting, mac]] = setting  # the last write stays
        pe, slot = np.nonzero(gone)
        name = names[pe, slot]
        together = self.group[self.outer[self.acc]]
        if self.chains is not None:
            together = self.chains.links.place[0]
        code = together[pe] * (int(name.max(initial=0)) + 1) + name
        _, which = np.unique(code, return_inverse=True)
        latest = np.full(len(code), NEVER)
        np.maximum.at(latest, which, last[pe, slot])
        step.leaves, step.late = np.full(names.shape, NEVER), np.zeros(names.shape, bool)
        step.leaves[pe, slot] = latest[which]
        step.late[pe, slot] = latest[which] == NEVER


__all__ = ["NOTHING", "Loads", "MacWords", "PlainStep", "Planner"]
