"""What a plain array is to do in a step: which MAC takes which word, what comes into each PE and
when, which sums go.

A *step* is a setting of the temporal loops outside the PEs, a *setting* one of those inside.  A PE
is an instance of the innermost level; it may have several MACs, and arrays of MACs are flat over
PEs, then a PE's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from accelsim.engines.cycle import bus_pes as pes
from accelsim.engines.cycle.addresses import (
    NO_WORD,
    Bools,
    Ints,
    Macs,
    Where,
    address_of,
    apart,
    digits,
    numbered,
)
from accelsim.engines.cycle.bus_pes import NEVER, Change, MacWords, Pads
from accelsim.engines.cycle.chain import Chains
from accelsim.engines.cycle.levels import HazardError, Traffic
from accelsim.engines.cycle.line_pes import READ
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import TENSORS

MOST_MACS = 1 << 20
FAR = 1 << 62


@dataclass(eq=False)
class PlainStep:
    """One step: every MAC's words, what the PEs take (``loads``: numbers of words in the order they
    come, by tensor) and let go; and what has become of its sums.
    """

    number: int
    at: Where
    exists: Bools  # [settings, MACs]
    slots: Ints  # settings at which some MAC works
    words: dict[str, MacWords] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    loads: dict[str, Ints] = field(default_factory=dict)
    # [sums, (setting, PE, place)] after which setting the sums of PEs go; first those that go at
    # the end of the step (NEVER), as PEs that stood idle let them go, and no working PE does
    leaving: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    first: int = 0  # the edge that adds its first product
    until: int = 0  # the edge at which all that set out on chains are out
    ended: bool = False
    # those that left: occasion, PE or MAC, word, value of each
    sums: list[tuple[Ints, Ints, Ints, Ints]] = field(default_factory=list)


class Planner:
    """The PEs of a nest without systolic lines, and what each step asks of them.  ``traffic``:
    every tensor's levels outside; ``macs``: of another planner of the nest.
    """

    def __init__(self, nest: Nest, traffic: dict[str, Traffic], macs: Macs | None = None) -> None:
        self.nest, self.traffic, self.pe = nest, traffic, nest.levels - 1
        self.acc = nest.problem.accumulated
        loops = nest.loops
        self.spatial = [i for i, x in enumerate(loops) if x.spatial]
        inside = [i for i, x in enumerate(loops) if not x.spatial and x.level == self.pe]
        self.positions = prod(loops[i].trips for i in self.spatial)
        self.lanes = prod(loops[i].trips for i in self.spatial if loops[i].level >= self.pe)
        self.pes = self.positions // self.lanes
        if self.positions > MOST_MACS:
            raise MappingError(
                f"{self.positions} MACs at once are more than the {MOST_MACS} "
                f"the cycle engine clocks"
            )
        self.where = digits(nest, self.spatial)
        self.pe_of = np.arange(self.positions) // self.lanes
        self.macs = macs or Macs(nest, digits(nest, inside), self.where)
        self.kept: list[str] = [t for t in TENSORS if t in nest.keep[self.pe]]
        of = {t: [b for b in nest.boundaries if b.tensor == t] for t in traffic}
        self.inner = {t: bs[-1] for t, bs in of.items()}
        self.outer = {
            t: next(b for b in bs if b.parent < self.pe <= b.child) for t, bs in of.items()
        }
        # who shares a word of a boundary: by PE, or of MACs by position
        self.group = {
            b: self._apart(b, apart(nest, b)) for b in nest.boundaries if b.child >= self.pe
        }
        self.chains = self._chains()
        tile_words = nest.footprint.tile_words
        shapes = {t: (self.pes, tile_words(self.pe, t)) for t in self.kept}
        # names in the PEs: in their registers, and as planned so far, a step ahead for sums
        self.pads = {
            t: Pads(np.full(x, NO_WORD), *np.zeros((2, *x), np.int64)) for t, x in shapes.items()
        }
        self.state = {t: x.names.copy() for t, x in self.pads.items()}
        self.pairs = pes.pairs_for(max(self.positions, *(x[1] for x in shapes.values()), 1))
        self.planned = 0
        self._ahead: Change | None = None
        self._settled: dict[str, tuple[Any, Any]] = dict.fromkeys(self.kept, (None, None))

    def _apart(self, b: Boundary, loops: list[int]) -> Ints:
        """The number of some loops' positions at every child of a boundary, PE or MAC."""
        n = self.positions if b.child > self.pe else self.pes
        return numbered(self.nest, loops, {i: v[:: len(v) // n] for i, v in self.where.items()}, n)

    def _chains(self) -> Chains | None:
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
        return Chains(*(self._apart(b, which) for which in (rest, rows, cols)))

    def plan(self, at: Where, following: Where | None) -> PlainStep:
        """A step's words and what changes in the PEs; the levels outside must hold its operands.

        Sums that the following step does not keep are let go.
        """
        exists = self.macs.exist(at)
        step = PlainStep(self.planned, at, exists, np.flatnonzero(exists.any(axis=1)))
        self.planned += 1
        for t, traffic in self.traffic.items():
            touched = self.macs.touched(t, at, self.outer[t].parent)
            slot = values = touched.names
            kinds = touched.kinds * exists
            if t in self.kept:
                before = self.state[t].copy()
                change = self._ahead if t == self.acc else None
                change = step.changes[t] = change or self.settle(t, at)
                slot = change.slot
                if t != self.acc:
                    step.loads[t] = self._loads(t, at, change, before)
            elif t != self.acc:
                rows = traffic.row(self.outer[t].parent, self.pe, self.pe_of)
                values = traffic.read(rows, touched.addresses, kinds).astype(np.int64)
            kept = self._kept(t, at)
            step.words[t] = MacWords(touched.names, kept, slot, values, kinds & READ > 0)
        if self.acc in self.kept:
            step.leaving = self._leaving(step, following)
        return step

    def _kept(self, t: str, at: Where) -> Ints:
        """What MACs' words are called in a PE."""
        touched = self.macs.touched(t, at, self.outer[t].parent)
        return touched.names if self.nest.projection(t, self.pe).pairs else touched.addresses

    def settle(self, t: str, at: Where, active: Bools | None = None) -> Change:
        """Active PEs (those that take the step) get their words of it, so far only as planned."""
        active = self.takes_step(t, at) if active is None else active
        key, (known, change) = (self.macs.key(t, at), active.tobytes()), self._settled[t]
        if known == key:
            nothing = np.full_like(self.state[t], NO_WORD)
            return Change(change.slot, change.first, nothing, nothing)
        wanted = np.where(self.macs.exist(at, t), self._kept(t, at), NO_WORD)
        shape = self.state[t].shape
        change = Change(np.full(wanted.shape, NEVER), *np.full((3, *shape), NEVER))
        if lost := pes.settle(self.state[t], wanted, self.lanes, active, self.pairs, change):
            raise HazardError(
                f"a PE was given {lost} words of {t} more than the {shape[1]} its largest tile has"
            )
        self._settled[t] = key, change
        return change

    def takes_step(self, t: str, at: Where) -> Bools:
        """Which PEs are not idle through a dimension the tensor does not depend on: the first MAC
        of one has work there, if any has.
        """
        active: Any = np.bool_(True)
        for c in self.macs.looped:
            if not c.depends(t):
                active = active & self.macs.chain(c, at).exists[0, :: self.lanes]
        return np.broadcast_to(active, self.pes)

    def _loads(self, t: str, at: Where, change: Change, before: Ints) -> Ints:
        """Words that come, each at its first use by any of those who share it.

        ``before``: what PEs held; over neighbour links one that had a word passes it on.
        """
        b, traffic = self.outer[t], self.traffic[t]
        pe, slot = np.nonzero(change.come != NO_WORD)
        name, group = change.come[pe, slot], self.group[b][pe]
        span = max(int(x.max(initial=0)) for x in (name, before)) + 1
        code, which = np.unique(group * span + name, return_inverse=True)
        when = np.full(len(code), FAR)
        np.minimum.at(when, which, change.first[pe, slot])
        address = address_of(self.nest, t, self.pe, name)
        read = traffic.given(b, address)
        kinds, rows = read * np.int16(READ), traffic.row(b.parent, self.pe, pe)
        value = traffic.read(rows, address, kinds).astype(np.int64)
        if b.kind == "neighbour":
            near = np.nonzero((before != NO_WORD) & self.takes_step(t, at)[:, None])
            codes = (self.group[b][near[0]] * span + before[near]).tolist()
            have = dict(zip(codes, self.pads[t].values[near].tolist(), strict=True))
            for k, one in enumerate(code[which].tolist()):
                if one in have:
                    value[k], read[k] = have[one], False
        loads = np.stack([when[which], pe, slot, name, value, group, read], axis=1)
        return loads[np.argsort(loads[:, pes.WHEN], kind="stable")]

    def _leaving(self, step: PlainStep, following: Where | None) -> Ints:
        """Which sums the PEs let go after a step: those the next one does not keep, or all.

        Each goes with the last product it gets in any of the PEs it is added over.
        """
        gone, words = self.state[self.acc], step.words[self.acc]
        if following is not None:
            self._ahead = self.settle(self.acc, following)
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
        leaving = np.stack([latest[which], pe, slot], axis=1)
        return leaving[np.argsort(leaving[:, pes.WHEN], kind="stable")]


__all__ = ["PlainStep", "Planner"]
