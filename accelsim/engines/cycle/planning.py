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

from accelsim.engines.cycle.addresses import (
    NO_WORD,
    NOTHING,
    Bools,
    Ints,
    Macs,
    Touched,
    Where,
    address_of,
    apart,
    digits,
    numbered,
)
from accelsim.engines.cycle.chain import Chains
from accelsim.engines.cycle.levels import HazardError, Traffic
from accelsim.engines.cycle.line_pes import READ
from accelsim.engines.cycle.pads import LATE, NEVER, Change, NameTable, Pads, settle
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import TENSORS

MOST_MACS = 1 << 20
FAR = 1 << 62


class MacWords(NamedTuple):
    """Every MAC's word of one tensor, [settings, MACs].

    ``names`` are those at the MAC, ``kept`` those in the PE (under a loop fused inside it they
    differ), ``slot`` its place there.  Of an operand no PE keeps, ``values`` are what the bus
    brings, ``read`` which words the level outside reads for it.
    """

    names: Ints
    kept: Ints
    slot: Ints
    values: Ints
    read: Bools


class Loads(NamedTuple):
    """Operand words that come into PEs, sorted by the setting they come at.  ``group``: who shares
    the bus.  ``read``: whether the level outside reads it.
    """

    when: Ints
    pe: Ints
    slot: Ints
    name: Ints
    value: Ints
    group: Ints
    read: Bools


@dataclass(eq=False)
class PlainStep:
    """One step as planned: every MAC's words, and what the PEs keep, take and let go."""

    number: int
    at: Where
    exists: Bools  # [settings, MACs]
    slots: Ints  # settings at which some MAC works
    words: dict[str, MacWords]
    changes: dict[str, Change]
    loads: dict[str, Loads]
    leaves: Ints  # [PEs, places] of sums: the setting after which each goes, NEVER, or LATE


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
        tile_words = nest.footprint.tile_words
        shapes = {t: (self.pes, tile_words(self.pe, t)) for t in self.kept}
        # names in the PEs: in their registers, and as planned so far, a step ahead for sums
        self.pads = {
            t: Pads(np.full(x, NO_WORD), *np.zeros((2, *x), np.int64)) for t, x in shapes.items()
        }
        self.state = {t: x.names.copy() for t, x in self.pads.items()}
        self.planned = 0
        self._settled: dict[str, tuple[object, Change]] = {}
        self._ahead: Change | None = None
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

    def plan(self, at: Where, following: Where | None) -> PlainStep:
        """A step's words and what changes in the PEs; the levels outside must hold its operands.

        Sums that the following step does not keep are let go.
        """
        exists = self.macs.exist(at)
        slots = np.flatnonzero(exists.any(axis=1))
        nothing: Ints = np.zeros((self.pes, 0), np.int64)
        step = PlainStep(self.planned, at, exists, slots, {}, {}, {}, nothing)
        self.planned += 1
        for t in self.traffic:
            touched = self.macs.touched(t, at, self.outer[t].parent)
            slot = values = touched.names
            kinds = touched.kinds * exists
            if t in self.kept:
                before = self.state[t].copy() if self.outer[t].kind == "neighbour" else nothing
                change = self._ahead if t == self.acc else None
                change = step.changes[t] = change or self.settle(t, at, self.takes_step(t, at))
                slot = change.slot
                if t != self.acc:
                    step.loads[t] = self._loads(t, change, before, self.takes_step(t, at))
            elif t != self.acc:
                rows = self.traffic[t].row(self.outer[t].parent, self.pe, self.pe_of)
                values = self.traffic[t].read(rows, touched.addresses, kinds).astype(np.int64)
            read = kinds & READ > 0
            step.words[t] = MacWords(touched.names, self._kept(t, touched), slot, values, read)
        if self.acc in self.kept:
            self._release(step, following)
        return step

    def _kept(self, t: str, touched: Touched) -> Ints:
        """What words are called in a PE."""
        pairs = self.nest.projection(t, self.pe).pairs
        return touched.names if pairs else touched.addresses

    def settle(self, t: str, at: Where, active: Bools) -> Change:
        """Active PEs get their words of a step, so far only as planned."""
        key = self.macs.key(t, at), active.tobytes()
        known, change = self._settled.get(t, (None, None))
        shape = self.state[t].shape
        if change is not None and known == key:
            return change._replace(come=np.full(shape, NO_WORD), gone=np.full(shape, NO_WORD))
        kept = self._kept(t, self.macs.touched(t, at, self.outer[t].parent))
        wanted = np.where(self.macs.exist(at, t), kept, NO_WORD)
        change = Change(np.full(wanted.shape, NEVER), *np.full((3, *shape), NEVER))
        table = NameTable(*np.zeros((3, 4 << shape[1].bit_length()), np.int64))
        if lost := settle(self.state[t], wanted, self.lanes, active, table, change):
            raise HazardError(
                f"a PE was given {lost} words of {t} more than the {shape[1]} its largest tile has"
            )
        self._settled[t] = key, change
        return change

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

    def _loads(self, t: str, change: Change, before: Ints, active: Bools) -> Loads:
        """Words that come, each at its first use by any of those who share it.

        ``before``: what PEs held; over neighbour links one that had a word passes it on.
        """
        b, traffic = self.outer[t], self.traffic[t]
        pe, slot = np.nonzero(change.come != NO_WORD)
        name, group = change.come[pe, slot], self.group[b][pe]
        span = int(name.max(initial=0)) + 1
        code, which = np.unique(group * span + name, return_inverse=True)
        when = np.full(len(code), FAR)
        np.minimum.at(when, which, change.first[pe, slot])
        address = address_of(self.nest, t, self.pe, name)
        read = traffic.given(b, address)
        kinds, rows = read * np.int16(READ), traffic.row(b.parent, self.pe, pe)
        value = traffic.read(rows, address, kinds).astype(np.int64)
        if b.kind == "neighbour":
            near, at = np.nonzero((before != NO_WORD) & (before < span) & active[:, None])
            have, one = np.unique(self.group[b][near] * span + before[near, at], return_index=True)
            where = np.minimum(np.searchsorted(have, code), len(have) - 1)
            there = (have[where] == code if len(have) else np.zeros(len(code), bool))[which]
            giver = one[where[which[there]]]
            value[there] = self.pads[t].values[near[giver], at[giver]]
            read &= ~there
        order = np.argsort(when[which], kind="stable")
        columns: Any = (when[which], pe, slot, name, value, group, read)
        return Loads(*(x[order] for x in columns))

    def _release(self, step: PlainStep, following: Where | None) -> None:
        """Which sums the PEs let go after a step: those the next one does not keep, or all.

        Each goes with the last product it gets in any of the PEs it is added over.
        """
        gone, words = self.state[self.acc], step.words[self.acc]
        if following is not None:
            self._ahead = self.settle(self.acc, following, self.takes_step(self.acc, following))
            gone = self._ahead.gone
        last = np.full(gone.shape, NEVER)
        setting, mac = np.nonzero(step.exists & (words.names != NO_WORD))
        last[self.pe_of[mac], words.slot[setting, mac]] = setting  # the last write stays
        pe, slot = np.nonzero(gone != NO_WORD)
        together = self.group[self.outer[self.acc]]
        if self.chains is not None:
            together = self.chains.links.place[0]
        code = together[pe] * (int(gone.max(initial=0)) + 1) + gone[pe, slot]
        _, which = np.unique(code, return_inverse=True)
        latest = np.full(len(code), NEVER)
        np.maximum.at(latest, which, last[pe, slot])
        step.leaves = np.full(gone.shape, NEVER)
        step.leaves[pe, slot] = np.where(latest == NEVER, LATE, latest)[which]


__all__ = ["NOTHING", "Loads", "MacWords", "PlainStep", "Planner"]
