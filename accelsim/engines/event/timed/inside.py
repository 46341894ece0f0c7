"""What moves inside a pass, between the PEs and the levels that feed them, and how long the pass
lasts for it (docs/time.md, "Inside a pass").

A *flow* is the words of one boundary that take one way in one part of a phase.  A *phase* is a run
of steps that begins where an exposed operand changes; it lasts, one after the other,

    exposed   what PEs cannot take in while they work, before the MACs start
    ramp      the first step's words of the other operands the PEs keep
    body      the longest of the MAC steps and of everything else that moves
    tail      the last step's sums

each part as long as its slowest resource.  A systolic pass is one phase and all of it body: the
array's own time, and everything moves beside everything.  Phases that are over are added up at
once, since a pass may have millions of steps and come in several parts.

Axes: [rows, steps] or [rows, phases] for words, a row an instance (``Inside.rows`` says which rows
are which flow's), [flows, phases] once the busiest instance is taken, [resources, phases] for bits
and cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Literal

import numpy as np

from accelsim.engines.event.pes import exposed_operands
from accelsim.engines.event.timed.resources import Limits
from accelsim.engines.event.transfers import Instance, Ints, Pass, PeDrain, PeLoad
from accelsim.mapping.nest import Boundary, Nest

Part = Literal["exposed", "ramp", "body", "tail"]
What = Literal["word", "update"]


@dataclass(frozen=True)
class Flow:
    """Words of one boundary that take the same way at the same time.

    ``part`` is where in a phase they go: all of an exposed operand first, the ``ramp`` words of its
    first step before the body, the ``tail`` words of its last step after it, the rest in the body.
    So are words straight to or from the MACs, on their way while these work.

    ``what``       words themselves, or reads that sums are added to: none for first arrivals
    ``resources``  on their way;  ``bits`` of a word
    ``instances``  of the parent that are told apart; over ``share`` of them each one's words spread
    """

    boundary: Boundary
    what: What
    part: Part
    resources: tuple[int, ...]
    bits: int
    instances: int
    share: int


@dataclass
class PassRows:
    """Pieces of a timeline: when one port, one channel or the array (-1) is busy with what;
    ``start``, ``end`` and ``words`` are [pieces], cycles from the start of the pass.
    """

    resource: int
    what: str
    tensor: str
    start: Ints
    end: Ints
    words: Ints


@dataclass
class PassWork:
    """How long a pass lasts and why, in cycles.

    ``duration``  until the array is free
    ``charges``   of that, beyond the array's own time, by the resource that was the longest
    ``busy``      cycles each resource works in the pass
    ``rows``      for a timeline, if one was asked for
    """

    duration: int
    charges: dict[int, int] = field(default_factory=dict)
    busy: dict[int, int] = field(default_factory=dict)
    rows: list[PassRows] = field(default_factory=list)


class Inside:
    """The flows inside the passes of a nest that can be waited for, and the machine's shape they
    need.

    ``exposed``    operands the PEs keep and cannot take in while they work
    ``flows``      with some resource to wait for;  ``rows`` of each among all, ``starts`` [flows]
                   the first of them
    ``bits``       [resources, flows]: bits a word of a flow has at a resource
    ``share``      [flows, 1]
    ``part``       by part: [rows, 1], 1 for rows of that part
    ``told``       whether it matters in which step a sum arrives first
    ``resources``  those some flow uses, outermost first
    ``trips``      by level: of the spatial loops outside it
    """

    def __init__(self, nest: Nest, limits: Limits) -> None:
        self.nest, self.limits, self.systolic = nest, limits, nest.arch.systolic
        self.exposed = exposed_operands(nest)
        spatial = [x for x in nest.loops if x.spatial]
        self.trips = {
            level: [x.trips for x in spatial if x.level < level] for level in range(nest.levels)
        }
        inside = [b for b in nest.boundaries if b.parent < nest.levels - 1 <= b.child]
        self.flows = [flow for b in inside for flow in self._flows(b)]
        self.bits = np.zeros((len(limits.resources), len(self.flows)), np.int64)
        for k, flow in enumerate(self.flows):
            for resource in flow.resources:
                self.bits[resource, k] += flow.bits
        self.share = np.array([f.share for f in self.flows], np.int64)[:, None]
        rows = [f.instances for f in self.flows]
        ends = np.cumsum([0, *rows])
        self.rows = [slice(a, b) for a, b in pairwise(ends.tolist())]
        self.starts = ends[:-1]
        self.part = {
            part: np.repeat([int(f.part == part) for f in self.flows], rows)[:, None]
            for part in ("exposed", "ramp", "tail")
        }
        self.told = bool(self.exposed) and any(f.what == "update" for f in self.flows)
        self.resources = sorted({r for f in self.flows for r in f.resources})

    def _flows(self, b: Boundary) -> list[Flow]:
        """The ways of a boundary's words that have a width.  Words straight to and from MACs are
        known of all instances together only.
        """
        bits = self.nest.footprint.word_bits(b.parent, b.tensor)
        instances = prod(self.trips[b.parent])
        told = 1 if b.child == self.nest.levels else instances
        flows = []
        for what, part, way in self._ways(b):
            resources = tuple(x for x in way if x is not None)
            part = "body" if self.systolic else part
            if resources:
                flows.append(Flow(b, what, part, resources, bits, told, instances // told))
        return flows

    def _ways(self, b: Boundary) -> list[tuple[What, Part, list[int | None]]]:
        """What takes which way in which part of a phase, over the parent's port and the network."""
        nest, limits, pe = self.nest, self.limits, self.nest.levels - 1
        read, write = limits.reads(b.parent), limits.writes(b.parent)
        down, up = limits.down(b.network, b.tensor), limits.up(b.network, b.tensor)
        if b.tensor == nest.problem.accumulated:
            back = down if nest.arch.accumulate == "in_array" else None
            last: Part = "tail" if b.child == pe else "body"
            return [("word", last, [up, write]), ("update", "body", [back, read])]
        if b.child > pe:
            return [("word", "body", [down, read])]
        between = nest.arch.level_names[b.parent + 1 : pe]
        ahead = any(b.tensor in nest.arch.levels[name].queued for name in between)
        first: Part = "exposed" if b.tensor in self.exposed else "ramp"
        if ahead:  # the parent's port has given the words already, in the body before
            return [("word", first, [down]), ("word", "body", [read])]
        return [("word", first, [down, read])]

    def by_parent(self, flow: Flow, words: Mapping[Instance, Ints], steps: int) -> Ints:
        """Words of the parent's instances, [steps] each, as a flow has them: [its rows, steps]."""
        rows = np.zeros((flow.instances, steps), np.int64)
        for instance, n in words.items():
            number = 0
            for at, trips in zip(instance, self.trips[flow.boundary.parent], strict=False):
                number = number * trips + at
            rows[number if flow.instances > 1 else 0] += n
        return rows


@dataclass
class _Phases:
    """Phases in a row: words in all (``sums``), in the first and in the last step, each [rows,
    phases], and MAC steps, [phases].
    """

    sums: Ints
    firsts: Ints
    lasts: Ints
    macs: Ints

    def __getitem__(self, which: slice) -> _Phases:
        return _Phases(
            self.sums[:, which], self.firsts[:, which], self.lasts[:, which], self.macs[which]
        )


class PassWords:
    """The words of one pass, which may come in several parts; phases that are over are added up at
    once.

    ``rows_wanted``  whether a timeline is to be told
    ``open``         the last phase, to which more may come
    ``duration``     of the phases added up so far
    ``charges``, ``busy``   the same by resource, [resources]
    """

    def __init__(self, inside: Inside, *, told: bool) -> None:
        self.inside, self.rows_wanted = inside, told
        self.open: _Phases | None = None
        self.duration = 0
        self.charges, self.busy = np.zeros((2, len(inside.limits.resources)), np.int64)
        self.rows: list[PassRows] = []

    def add(self, p: Pass, first: Mapping[Instance, Ints]) -> None:
        """A pass, or a part of it; ``first`` [steps] are the arrivals that read nothing."""
        inside = self.inside
        words = self._words(p, first)
        starts = np.zeros(len(p.folds.length), bool)
        for load in p.loads:
            if load.boundary.tensor in inside.exposed and load.steps is not None:
                starts |= load.steps.child > 0
        goes_on = self.open is not None and not starts[0]
        starts[0] = True
        at = np.flatnonzero(starts)
        new = _Phases(
            np.add.reduceat(words, at, axis=1),
            words[:, at],
            words[:, [*(at[1:] - 1), -1]],
            np.add.reduceat(p.folds.length, at),
        )
        if self.open is not None and goes_on:
            new.sums[:, :1] += self.open.sums
            new.firsts[:, :1] = self.open.firsts
            new.macs[:1] += self.open.macs
        elif self.open is not None:
            self._evaluate(self.open)
        self._evaluate(new[:-1])
        self.open = new[-1:]

    def _words(self, p: Pass, first: Mapping[Instance, Ints]) -> Ints:
        """Words of all flows in a pass, [rows, steps]; what no step is known of stands in the
        first, since then the pass is one phase in any case.
        """
        n = len(p.folds.length)
        told: dict[Boundary, Ints] = {}
        for take in p.takes:
            steps = np.append(take.shared, np.zeros(n - 1, np.int64))
            told[take.boundary] = (steps if take.steps is None else take.steps)[None, :]
        moved: tuple[PeLoad | PeDrain | None, ...] = (*p.loads, p.drain)
        for x in moved:
            if x is None:
                continue
            if x.steps is None:
                raise ValueError(
                    "events: movement(nest, stepwise=True) is wanted where a port or a network of "
                    "the PEs has a width"
                )
            told[x.boundary] = x.steps.parents
        words = np.zeros((self.inside.rows[-1].stop, n), np.int64)
        for flow, rows in zip(self.inside.flows, self.inside.rows, strict=True):
            words[rows] += told.get(flow.boundary, 0)  # a pass not told of one moves nothing of it
            if flow.what == "update":
                words[rows] -= self.inside.by_parent(flow, first, n)
        return words

    def after(self, drain: PeDrain, first: Mapping[Instance, Ints]) -> None:
        """What leaves the PEs after the last step so far."""
        assert self.open is not None
        for flow, rows in zip(self.inside.flows, self.inside.rows, strict=True):
            if drain.steps is None or flow.boundary != drain.boundary:
                continue
            self.open.sums[rows] += drain.steps.parents
            if flow.what == "update":
                self.open.sums[rows] -= self.inside.by_parent(flow, first, 1)
            else:
                self.open.lasts[rows] += drain.steps.parents

    def close(self, gaps: int) -> PassWork:
        """The whole pass, given the array's own time for it."""
        assert self.open is not None
        if self.inside.systolic:
            self.open.macs[:] = gaps
        self._evaluate(self.open)
        charges, busy = (
            {r: int(x[r]) for r in self.inside.resources if x[r]} for x in (self.charges, self.busy)
        )
        return PassWork(self.duration, charges, busy, self.rows)

    def _most(self, words: Ints) -> Ints:
        """Words of each flow, [flows, phases], from those of its rows: the most of any instance."""
        inside = self.inside
        if len(words) > len(inside.flows):
            words = np.maximum.reduceat(words, inside.starts, axis=0)
        return -(-words // inside.share)

    # phases

    def _evaluate(self, phases: _Phases) -> None:
        """Add phases that are whole, part by part."""
        if not len(phases.macs):
            return
        inside, spent = self.inside, []
        split = {
            "exposed": phases.sums * inside.part["exposed"],
            "ramp": phases.firsts * inside.part["ramp"],
            "body": phases.sums,
            "tail": phases.lasts * inside.part["tail"],
        }
        split["body"] = phases.sums - split["exposed"] - split["ramp"] - split["tail"]
        for name, rows in split.items():
            words = self._most(rows)
            cycles = inside.limits.cycles(inside.bits @ words)
            longest, which = cycles.max(axis=0), cycles.argmax(axis=0)  # of equals the outermost
            own = phases.macs if name == "body" else 0 * phases.macs
            np.add.at(self.charges, which, np.maximum(longest - own, 0))
            self.busy += cycles.sum(axis=1)
            spent.append((name, words, own, np.maximum(longest, own)))
        if self.rows_wanted:
            self._tell(spent)
        self.duration += sum(int(lasting.sum()) for *_, lasting in spent)

    def _tell(self, spent: list[tuple[str, Ints, Ints, Ints]]) -> None:
        """Who was busy when in phases, of which each part had (name, words, own time, cycles)."""
        whole = np.sum([lasting for *_, lasting in spent], axis=0)
        at = self.duration + np.cumsum(whole) - whole
        for name, words, own, lasting in spent:
            label = "pass" if self.inside.systolic else name
            for r in self.inside.resources:
                self._tell_resource(r, label, words, at)
            if not self.inside.systolic:
                label = "pass" if name == "body" else name
                self.rows.append(PassRows(-1, label, "", at, at + lasting, own))
            at = at + lasting

    def _tell_resource(self, r: int, what: str, words: Ints, at: Ints) -> None:
        """One tensor after the other, from ``at`` on."""
        inside, bits, begin = self.inside, np.zeros(words.shape[1], np.int64), at
        for flow, row, n in zip(inside.flows, words, inside.bits[r], strict=True):
            if n and row.any():
                bits = bits + n * row
                end = at + inside.limits.resources[r].cycles(bits)
                self.rows.append(PassRows(r, what, flow.boundary.tensor, begin, end, row))
                begin = end
