"""What moves inside a pass, between the PEs and the levels that feed them, and how long the pass
lasts for it (docs/time.md, "Inside a pass").

A *flow* is the words of one boundary that take one way in one part of a phase.  A *phase* is a run
of steps that begins where an exposed operand changes; it lasts, one after the other,

    exposed   what PEs cannot take in while they work, before the MACs start
    ramp      the first step's words of the other operands the PEs keep
    body      the longest of the MAC steps and of everything else that moves
    tail      the last step's sums

each part as long as its slowest resource.  A systolic pass is one phase in which all moves beside
all.  Phases that are over are added up at once, since a pass may have millions of steps and come in
several parts.

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
from accelsim.engines.event.transfers import Instance, Ints, Pass, PeDrain
from accelsim.mapping.nest import Boundary, Nest

Part = Literal["exposed", "ramp", "body", "tail"]
PARTS: tuple[Part, ...] = ("exposed", "ramp", "body", "tail")


@dataclass(frozen=True)
class Flow:
    """Words of one boundary that take the same way at the same time.

    ``part`` is where in a phase they go: all of an exposed operand first, the ``ramp`` words of its
    first step before the body, the ``tail`` words of its last step after it, the rest in the body.
    So are words straight to or from the MACs, on their way while these work.

    ``what``       operands to PEs, operands straight to MACs, sums, or update reads for them
    ``bits``       (resource, bits of a word there)
    ``instances``  of the parent
    """

    boundary: Boundary
    what: Literal["load", "direct", "up", "update"]
    part: Part
    bits: tuple[tuple[int, int], ...]
    instances: int = 1


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
    ``stretch``   of that, beyond the array's own time
    ``charges``   the stretch, by the resource that was the longest
    ``busy``      cycles each resource works in the pass
    ``rows``      for a timeline, if one was asked for
    """

    duration: int
    stretch: int
    charges: dict[int, int]
    busy: dict[int, int]
    rows: list[PassRows] = field(default_factory=list)


class Inside:
    """The flows inside the passes of a nest that can be waited for, and the machine's shape they
    need.

    ``systolic``   whether everything moves beside everything
    ``exposed``    operands the PEs keep and cannot take in while they work
    ``flows``      with some resource to wait for
    ``bits``       [resources, flows]: bits a word of a flow has at a resource
    ``share``      [flows, 1]: words known of all instances together are spread over so many
    ``rows``       by flow: its rows among all; ``starts`` [flows] the first of them
    ``part``       by part: [rows], whether a row is of that part
    ``told``       whether it matters in which step a sum arrives first
    ``resources``  those some flow uses, outermost first
    ``trips``      by level: of the spatial loops outside it
    """

    def __init__(self, nest: Nest, limits: Limits) -> None:
        self.nest, self.limits = nest, limits
        self.systolic = nest.arch.systolic
        self.exposed = exposed_operands(nest)
        self.flows = [f for f in self._flows() if f.bits]
        self.bits = np.zeros((len(limits.resources), len(self.flows)), np.int64)
        for k, flow in enumerate(self.flows):
            for resource, n in flow.bits:
                self.bits[resource, k] += n
        # Words straight to and from MACs are known of all instances together only.
        together = [f.boundary.child == nest.levels for f in self.flows]
        self.share = np.array(
            [f.instances if t else 1 for f, t in zip(self.flows, together, strict=True)], np.int64
        )[:, None]
        rows = [1 if t else f.instances for f, t in zip(self.flows, together, strict=True)]
        ends = np.cumsum([0, *rows])
        self.rows = [slice(a, b) for a, b in pairwise(ends.tolist())]
        self.starts = ends[:-1]
        self.part = {
            p: np.repeat([f.part == p for f in self.flows], rows).astype(bool) for p in PARTS
        }
        self.told = bool(self.exposed) and any(f.what == "update" for f in self.flows)
        self.resources = sorted({r for f in self.flows for r, _ in f.bits})
        spatial = [x for x in nest.loops if x.spatial]
        self.trips = {
            level: [x.trips for x in spatial if x.level < level] for level in range(nest.levels)
        }

    def _flows(self) -> list[Flow]:
        """Every way words take inside a pass: of each boundary to the PEs or the MACs, over the
        parent's port and the network.
        """
        nest, limits, pe = self.nest, self.limits, self.nest.levels - 1
        width = nest.footprint.word_bits
        flows = []
        for b in nest.boundaries:
            if not b.parent < pe <= b.child:
                continue
            outside = width(b.parent, b.tensor)
            read, write = limits.reads(b.parent), limits.writes(b.parent)
            instances = prod(x.trips for x in nest.loops if x.spatial and x.level < b.parent)
            if b.tensor == nest.problem.accumulated:
                up = _ways((limits.up(b.network, b.tensor), outside), (write, outside))
                down = (
                    limits.down(b.network, b.tensor) if nest.arch.accumulate == "in_array" else None
                )
                flows.append(Flow(b, "up", "tail" if b.child == pe else "body", up, instances))
                flows.append(
                    Flow(
                        b,
                        "update",
                        "body",
                        _ways((down, outside), (read, outside)),
                        instances,
                    )
                )
                continue
            net = (limits.down(b.network, b.tensor), outside)
            if b.child > pe:
                flows.append(Flow(b, "direct", "body", _ways(net, (read, outside)), instances))
                continue
            part: Part = "exposed" if b.tensor in self.exposed else "ramp"
            ahead = any(
                b.tensor in nest.arch.levels[name].queued
                for name in nest.arch.level_names[b.parent + 1 : pe]
            )
            flows.append(
                Flow(
                    b,
                    "load",
                    part,
                    _ways(net, (None if ahead else read, outside)),
                    instances,
                )
            )
            flows.append(
                Flow(b, "load", "body", _ways((read if ahead else None, outside)), instances)
            )
        return flows

    def parent(self, level: int, instance: Instance) -> int:
        """The number of an instance of a level."""
        number = 0
        for at, n in zip(instance, self.trips[level], strict=False):
            number = number * n + at
        return number


def _ways(*ways: tuple[int | None, int]) -> tuple[tuple[int, int], ...]:
    """(resource, bits) of those that have a width."""
    return tuple((resource, bits) for resource, bits in ways if resource is not None)


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
    ``duration``, ``stretch``   of the phases added up so far
    ``charges``, ``busy``       the same by resource, [resources]
    """

    def __init__(self, inside: Inside, *, told: bool) -> None:
        self.inside, self.rows_wanted = inside, told
        self.open: _Phases | None = None
        resources = len(inside.limits.resources)
        self.duration = self.stretch = 0
        self.charges, self.busy = np.zeros(resources, np.int64), np.zeros(resources, np.int64)
        self.rows: list[PassRows] = []

    def add(self, p: Pass, first: Mapping[Instance, int], by_step: Mapping[Instance, Ints]) -> None:
        """A pass, or a part of it; ``first`` and ``by_step`` are the arrivals that read nothing."""
        inside = self.inside
        words = np.concatenate([self._words(f, p, first, by_step) for f in inside.flows])
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

    def after(self, drain: PeDrain, first: Mapping[Instance, int]) -> None:
        """What leaves the PEs after the last step so far."""
        assert self.open is not None
        sums, lasts = self.open.sums, self.open.lasts
        for k, flow in enumerate(self.inside.flows):
            if drain.steps is not None and flow.boundary == drain.boundary:
                rows = self.inside.rows[k]
                if flow.what == "up":
                    sums[rows] += drain.steps.parents
                    lasts[rows] += drain.steps.parents
                elif flow.what == "update":
                    sums[rows] += drain.steps.parents - self._by_parent(flow, first)

    def close(self, gaps: int) -> PassWork:
        """The whole pass, given the array's own time for it."""
        assert self.open is not None
        if self.inside.systolic:
            return self._together(self.open.sums, gaps)
        self._evaluate(self.open)
        charges = {r: int(self.charges[r]) for r in self.inside.resources if self.charges[r]}
        busy = {r: int(self.busy[r]) for r in self.inside.resources if self.busy[r]}
        return PassWork(self.duration, self.stretch, charges, busy, self.rows)

    def _together(self, sums: Ints, gaps: int) -> PassWork:
        """A systolic pass: everything moves beside everything else."""
        inside = self.inside
        words = self._most(sums)
        busy = inside.limits.cycles(inside.bits @ words)[:, 0]
        place, cycles = inside.limits.slowest([(r, int(busy[r])) for r in inside.resources])
        stretch = max(cycles - gaps, 0)
        if self.rows_wanted:
            self._rows_of("pass", words, np.zeros(1, np.int64))
        charges = {place: stretch} if stretch and place is not None else {}
        return PassWork(
            gaps + stretch,
            stretch,
            charges,
            {r: int(busy[r]) for r in inside.resources if busy[r]},
            self.rows,
        )

    def _most(self, words: Ints) -> Ints:
        """Words of each flow, [flows, phases], from those of its rows: the most of any instance."""
        inside = self.inside
        if len(words) > len(inside.flows):
            words = np.maximum.reduceat(words, inside.starts, axis=0)
        return -(-words // inside.share)

    # words

    def _words(
        self, flow: Flow, p: Pass, first: Mapping[Instance, int], by_step: Mapping[Instance, Ints]
    ) -> Ints:
        """Words of a flow in a pass, [its rows, steps]; the steps do not matter where a pass is one
        phase in any case.
        """
        n = len(p.folds.length)
        if flow.what == "load":
            loads = [x for x in p.loads if x.boundary == flow.boundary]
            if not loads:  # a pass that is not told of one loads nothing
                return np.zeros((flow.instances, n), np.int64)
            steps = loads[0].steps
        elif flow.boundary.child == self.inside.nest.levels - 1:
            steps = p.drain.steps if p.drain is not None else None
            if steps is None:
                return np.zeros((flow.instances, n), np.int64)
        else:
            return self._direct(flow, p, first, by_step)[None, :]
        if steps is None:
            raise ValueError(
                "events: movement(nest, stepwise=True) is wanted where a port or a network of "
                "the PEs has a width"
            )
        if flow.what != "update":
            return steps.parents
        fewer = steps.parents.copy()
        if not self.inside.told:
            fewer[:, :1] -= self._by_parent(flow, first)
        for instance, times in by_step.items():
            fewer[self.inside.parent(flow.boundary.parent, instance)] -= times
        return fewer

    def _direct(
        self, flow: Flow, p: Pass, first: Mapping[Instance, int], by_step: Mapping[Instance, Ints]
    ) -> Ints:
        """Words straight to or from the MACs, [steps], all parent instances together."""
        take = next(x for x in p.takes if x.boundary == flow.boundary)
        n = len(p.folds.length)
        if flow.what == "update" and not (self.inside.told and take.steps is not None):
            return _at_once(take.shared - sum(first.values()), n)
        if take.steps is None:
            return _at_once(take.shared, n)
        if flow.what != "update":
            return take.steps
        return np.asarray(take.steps - sum(by_step.values()))

    def _by_parent(self, flow: Flow, first: Mapping[Instance, int]) -> Ints:
        """``first`` as a column, [instances, 1]."""
        column = np.zeros((flow.instances, 1), np.int64)
        for instance, n in first.items():
            column[self.inside.parent(flow.boundary.parent, instance)] += n
        return column

    # phases

    def _evaluate(self, phases: _Phases) -> None:
        """Add phases that are whole."""
        sums, macs = phases.sums, phases.macs
        if not len(macs):
            return
        inside, part = self.inside, self.inside.part
        zero = np.zeros_like(sums)
        ramp, tail, exposed = zero.copy(), zero.copy(), zero.copy()
        exposed[part["exposed"]] = sums[part["exposed"]]
        ramp[part["ramp"]] = phases.firsts[part["ramp"]]
        tail[part["tail"]] = phases.lasts[part["tail"]]
        spent = []
        for name, words in zip(
            PARTS, (exposed, ramp, sums - exposed - ramp - tail, tail), strict=True
        ):
            words = self._most(words)
            cycles = inside.limits.cycles(inside.bits @ words)
            longest, which = cycles.max(axis=0), cycles.argmax(axis=0)  # of equals the outermost
            own = macs if name == "body" else np.zeros_like(macs)
            over = np.maximum(longest - own, 0)
            np.add.at(self.charges, which, over)
            self.busy += cycles.sum(axis=1)
            spent.append((name, words, longest, over, np.maximum(longest, own)))
        if self.rows_wanted:
            whole = np.sum([lasting for *_, lasting in spent], axis=0)
            at = self.duration + np.cumsum(whole) - whole
            for name, words, _, _, lasting in spent:
                self._rows_of(name, words, at)
                self.rows.append(
                    PassRows(
                        -1,
                        "pass" if name == "body" else name,
                        "",
                        at,
                        at + lasting,
                        macs if name == "body" else 0 * macs,
                    )
                )
                at = at + lasting
        self.duration += sum(int(lasting.sum()) for *_, lasting in spent)
        self.stretch += sum(int(over.sum()) for _, _, _, over, _ in spent)

    def _rows_of(self, what: str, words: Ints, at: Ints) -> None:
        """Who is on each resource when, one tensor after the other, from ``at`` on."""
        inside = self.inside
        for r in inside.resources:
            bits = np.zeros(words.shape[1], np.int64)
            begin = at
            for k, flow in enumerate(inside.flows):
                if inside.bits[r, k] and words[k].any():
                    bits = bits + inside.bits[r, k] * words[k]
                    end = at + inside.limits.resources[r].cycles(bits)
                    self.rows.append(PassRows(r, what, flow.boundary.tensor, begin, end, words[k]))
                    begin = end


def _at_once(words: int, n: int) -> Ints:
    """Words of no known step as those of the first, [steps]."""
    steps = np.zeros(n, np.int64)
    steps[0] = words
    return steps
