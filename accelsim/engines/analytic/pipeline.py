"""Closed-form time of array and memory together: the recurrence of docs/time.md over passes.

``run`` is the analytic engine's door, ``time`` its second half, ``times`` the same for a nest on
many machines at once, as sweeps ask for.  In order:

1. ``pass_plan``   what each pass takes of the array, what it moves meanwhile, and which transfers
                   between the levels its end sets going: in steps and bits, whatever the widths;
                   passes that are alike in all of this are one kind (below, first half)
2. ``pass_clock``  when all of that happens at given widths.  For pass i of a level with two slots
                   (section 5, "Memory"):

    C_i = max(L_i, free_{i-1}, D_{i-2})      its fills, the array, and the drain that makes it room

3. ``times``       stalls and cycles made to add up, and never below what no schedule can beat.

A *pass* is the array's work while all levels outside the PEs' parent stand still.  Of each is told
its phases (``_phases``; docs/time.md, "Inside a pass"), the transfers its end sets going
(``_sums``, ``_operand``), which fills it needs, and whether its tile of sums needs room.

Exact, which is to say the timed event engine's time to the cycle, wherever what can be waited for
is known to the word in every setting; what is not is said in ``_estimated``.  Arrays over passes
have one axis a temporal loop outside the PEs' parent, ``[passes]`` below; words come from
``settings`` in that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from accelsim.base.frozen import FrozenDict
from accelsim.engines.analytic.alike_turns import Span, UnlikeError, long_runs
from accelsim.engines.analytic.array_time import (
    ArrayTime,
    FoldFrame,
    array_time,
    on_lines,
    pass_times,
    sides_told,
    wants_list,
)
from accelsim.engines.analytic.closed_form import moves
from accelsim.engines.analytic.pass_clock import (
    AFTER,
    AHEAD,
    AT,
    BEHIND,
    BITS,
    BODY,
    EXPOSED,
    FULL_WAY,
    HELD,
    JOB,
    KEPT,
    PARTS,
    PLAIN_WAY,
    RAMP,
    SENDS,
    SUMS,
    TAIL,
    WAY,
    WORK,
    Clock,
    PassTable,
    PhaseWork,
    Rates,
    run_passes,
)
from accelsim.engines.analytic.pass_lists import (
    NONE,
    first_and_last,
    lay_fills,
    send_drains,
    send_fills,
    tell_rows,
)
from accelsim.engines.analytic.settings import StepSettings
from accelsim.engines.moved import Moved
from accelsim.engines.run import Run
from accelsim.hardware.architecture import Architecture, limited
from accelsim.hardware.ports import (
    ACCESSES,
    WAYS,
    Access,
    Resource,
    Way,
    channel,
    late_levels,
    latency,
    port,
    rates,
    too_long,
)
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.mapping.skeleton import Kept, Skeleton
from accelsim.workload.problem import TENSORS, Problem, Slide

Ints = npt.NDArray[np.int64]
MOST_STEPS = 1 << 20
MANY_PASSES = 1 << 12  # of which runs of alike ones are worth being looked for
Load = tuple[int, int, Ints]  # part of a phase, resource, bits of each phase
PortAsk = tuple[int, Access]  # level
ChannelAsk = tuple[str, str, Way]  # network, tensor
K = TypeVar("K", bound=Hashable)


def overlaps(nest: Skeleton, level: int, tensor: str) -> bool:
    """Whether a level has two slots for a tensor."""
    x = nest.arch.levels[nest.arch.level_names[level]]
    return x.double_buffered or tensor in x.queued


def fetched_ahead(nest: Skeleton, b: Boundary) -> bool:
    """Whether an operand passes by a level that queues it, and so takes it in while the PEs still
    work: only the last network is then waited for.
    """
    names = nest.arch.level_names[b.parent + 1 : nest.levels - 1]
    return any(b.tensor in nest.arch.levels[name].queued for name in names)


def instances(nest: Nest, trips: Sequence[Any] | None = None) -> list[Any]:
    """How many instances of each level there are, of the MAC's too; with the ``trips`` of other
    nests of these loops, [loops] of numbers or arrays, how many these have.
    """
    each = list(zip(nest.loops, nest.row[1] if trips is None else trips, strict=True))
    return [
        prod([n for x, n in each if x.spatial and x.level < level])
        for level in range(nest.levels + 1)
    ]


def carried(
    nest: Nest,
    moves: Mapping[Boundary, Moved],
    port_of: Callable[[int, Access], K | None],
    channel_of: Callable[[Boundary, Way], K | None],
    trips: Sequence[Any] | None = None,
) -> dict[K, Any]:
    """Bits that each port and channel carries in all, where ``moves`` go over the boundaries:
    operands down from the parent's port over the network into the child's port, sums up and, to be
    added to, down.  By whatever a level's port and a boundary's channel are called; what is None or
    NONE has no width.

    Instances share their level's words evenly at best, and a transfer is never shorter than its
    bits over its width.  ``moves`` may be arrays over nests with the same loops, whose ``trips``
    are given then.
    """
    bits: dict[K, Any] = {}
    many = instances(nest, trips)

    def carry(r: K | None, words: Any, level: int, b: Boundary) -> None:
        if r is not None and r != NONE:
            each = words * nest.footprint.word_bits(level, b.tensor)
            bits[r] = bits.get(r, 0) + each / many[level]

    for b, m in moves.items():
        read, write = (port_of(b.parent, access) for access in ACCESSES)
        inner = b.child < nest.levels
        if b.tensor == nest.problem.accumulated:
            carry(channel_of(b, "up"), m.arrived, b.parent, b)
            carry(write, m.arrived, b.parent, b)
            carry(read, m.updated, b.parent, b)
            if nest.arch.accumulate == "in_array":
                carry(channel_of(b, "down"), m.updated, b.parent, b)
            if inner:
                carry(port_of(b.child, "read"), m.drained, b.child, b)
        else:
            carry(channel_of(b, "down"), m.read, b.parent, b)
            carry(read, m.read, b.parent, b)
            if inner:
                carry(port_of(b.child, "write"), m.taken, b.child, b)
    return bits


@dataclass(frozen=True)
class PassPlan:
    """The passes of one nest whose memory can be waited for, as numbers for ``pass_clock``.

    ``work, plan``  what they do and move
    ``asks``        how each resource is asked of a machine: a port's level and access, or a
                    channel's network, tensor and way
    ``busy``        [resources]  bits each carries in all
    ``levels, names``  how many there are; names are levels, then networks
    ``alone``       cycles of the array by itself
    ``exact``       whether the recurrence is the timed event engine's time to the cycle
    """

    work: PhaseWork
    plan: PassTable
    asks: tuple[PortAsk | ChannelAsk, ...]
    busy: npt.NDArray[np.float64]
    levels: int
    names: int
    alone: int
    exact: bool

    def run(self, archs: Sequence[Architecture]) -> tuple[Ints, Ints, Ints, Ints]:
        """When the last result and the last drain are there, ``[machines]``; what was waited for,
        ``[machines, names]``; and cycles that no schedule can beat, ``[machines]``: the array's, or
        what a port or channel needs for all its bits, and the name of the slowest of these.  On
        machines that have what the nest's has, at other rates.
        """
        fast = _rates_of(self.asks, self.levels, archs)
        k, r, rows = len(self.plan.boundaries), len(self.asks), len(self.plan.loops) + 2
        phases, works = len(self.work.phases), len(self.work.works)

        def zeros(*shape: int) -> Ints:
            return np.zeros(shape, np.int64)

        clock = Clock(
            zeros(rows, HELD + r),
            zeros(rows, KEPT * k + r, JOB),
            zeros(rows, k),
            zeros(rows, k),
            zeros(rows, self.names),
            zeros(rows, 2),
            zeros(phases),
            zeros(works),
            zeros(phases, len(self.work.loads)),
            zeros(works, r),
            zeros(len(self.plan.transfers), 2),
        )
        ends, waits = zeros(len(archs)), zeros(len(archs), self.names)
        run_passes(self.work, self.plan, fast, clock, zeros(r), ends, waits)
        if not r:
            return ends, waits, np.full(len(archs), self.alone), np.zeros_like(ends)
        least = _least(self.busy, fast)
        slowest = self.work.owners[least.argmax(axis=1)]
        return ends, waits, np.maximum(self.alone, least.max(axis=1)), slowest


def _rates_of(
    asks: Sequence[PortAsk | ChannelAsk], levels: int, archs: Sequence[Architecture]
) -> Rates:
    """How fast the resources of machines are."""
    numbers: list[int] = []
    for arch in archs:
        for ask in asks:
            r = port(arch, *ask) if len(ask) == 2 else channel(arch, *ask)
            assert r is not None, "machines of one plan have the same ports and channels"
            numbers += [r.rate.numerator, r.rate.denominator, r.burst]
    table = np.array(numbers, np.int64).reshape(len(archs), len(asks), 3)
    late = [[latency(arch, level) for level in range(levels)] for arch in archs]
    return Rates(table, np.array(late, np.int64))


def _least(busy: npt.NDArray[np.float64], fast: Rates) -> Ints:
    """Cycles that each resource needs for all its bits, [machines, resources]."""
    bits_a_cycle = fast.resources[:, :, 0] / fast.resources[:, :, 1]
    return np.asarray(np.ceil(busy / bits_a_cycle - 1e-6).astype(np.int64))


def pass_plan(nest: Nest, alone: ArrayTime, moves: Mapping[Boundary, Moved]) -> PassPlan:
    """The passes of a nest over whose boundaries ``moves`` go and whose array takes ``alone``.

    Raises MappingError where there are more than 2^20 passes, or phases inside them, to list.
    """
    runs = _runs(nest)
    if runs:
        with suppress(UnlikeError):
            return _PassPlanner(nest, alone, moves, runs).planned()
    return _PassPlanner(nest, alone, moves, {}).planned()


def _runs(nest: Nest) -> dict[int, Span]:
    """Runs of turns that ``alike_turns`` may cut short: none of a plan of few passes, none where an
    operand comes to the PEs' parent over several levels, and on lines none of a loop over whose
    turns a fold may go on.
    """
    frame = PassFrame.of(nest)
    if prod(nest.loops[i].trips for i in frame.outer) < MANY_PASSES:
        return {}
    if any(frame.before(b) != NONE for b in frame.between if b.tensor != frame.acc):
        return {}
    inmost = min([b.child for b in frame.between], default=0)
    loops = [i for i in frame.outer if nest.loops[i].level < inmost]
    if on_lines(nest):
        folds = FoldFrame.of(nest)
        loops = [i for i in loops if folds.holds[i] and nest.loops[i].dim not in folds.slid]
    return long_runs(nest, loops)


class PassFrame:
    """What the plans of all nests of a form have in common on machines that wait for the same:
    boundaries, and the ports and channels on their ways.

    ``outer``       the temporal loops outside the PEs' parent, positions in ``nest.loops``;
                    ``temporal`` are all temporal ones
    ``between``     boundaries whose transfers go on between passes
    ``inside``      boundaries to the PEs and to the MACs, which move during a pass
    ``slots``       of each boundary between: how many tiles its child has room for
    ``resources``   ports and channels that have a width, from the outermost level in, and how each
                    is asked of a machine; ``numbers`` by how they are asked
    ``owners``      [resources]  the place of each one's level or network among ``names``
    ``ways``        by boundary: the resources on the way of what it moves (``_way``)
    ``timed``       boundaries for which anybody ever waits
    ``boundaries``  ``PassTable.boundaries``, and ``order`` its order
    ``down_too``    whether sums to add to travel down the network
    """

    def __init__(self, nest: Nest) -> None:
        self.nest, self.arch = nest, nest.arch
        self.pe, self.acc = nest.levels - 1, nest.problem.accumulated
        self.temporal = [i for i, x in enumerate(nest.loops) if not x.spatial]
        self.outer = [i for i in self.temporal if nest.loops[i].level < self.pe - 1]
        self.between = [b for b in nest.boundaries if b.child < self.pe]
        self.inside = [b for b in nest.boundaries if b.child >= self.pe]
        self.slots = [2 if overlaps(nest, b.child, b.tensor) else 1 for b in self.between]
        self.resources: dict[tuple[str, str], PortAsk | ChannelAsk] = {}
        self.numbers: dict[PortAsk | ChannelAsk, int] = {}
        self.down_too = self.arch.accumulate == "in_array"
        self._meet_resources()
        self.ways = {b: self._way(b) for b in nest.boundaries}
        self.timed = {b for b in nest.boundaries if self._may_wait(b)}
        rows = [
            [b.tensor == self.acc, self.before(b), b.parent, *self.ways[b]] for b in self.between
        ]
        self.boundaries = _table(rows, WAY + FULL_WAY)
        self.order = self._order()
        # once all resources are met
        self.names = [*self.arch.level_names, *self.arch.networks]
        self.owners = _table([self.names.index(name) for name, _ in self.resources], 1)[:, 0]

    @classmethod
    def of(cls, nest: Nest) -> PassFrame:
        """The frame of a nest, made once for its form and for the levels that are late."""
        return nest.form.once(("passes", late_levels(nest.arch)), partial(cls, nest))

    def _meet_resources(self) -> None:
        """All ports and channels, from the outermost level in: the order in which whoever needs
        several takes them, and of equally slow ones the first is charged.
        """
        for level in range(self.nest.levels):
            for access in ACCESSES:
                self.port(level, access)
            network = self.arch.network_below(level)[0]
            if network is None:
                continue
            widths = self.arch.networks[network].width_bits
            for tensor in widths if isinstance(widths, dict) else TENSORS:
                for way in WAYS if tensor == self.acc else WAYS[:1]:
                    r = channel(self.arch, network, tensor, way)
                    self._number(r, (network, tensor, way))

    def port(self, level: int, access: Access) -> int:
        """The number of a port, or NONE if it has no width."""
        key = level, access
        if key not in self.numbers:
            self.numbers[key] = self._number(port(self.arch, level, access), key)
        return self.numbers[key]

    def channel(self, b: Boundary, way: Way) -> int:
        """The number of the channel a boundary's tensor takes, or NONE if it has no width."""
        if b.network is None:
            return NONE
        key = b.network, b.tensor, way
        if key not in self.numbers:
            self.numbers[key] = self._number(channel(self.arch, *key), key)
        return self.numbers[key]

    def _number(self, r: Resource | None, ask: PortAsk | ChannelAsk) -> int:
        if r is None:
            return NONE
        self.resources.setdefault((r.name, r.part), ask)
        return list(self.resources).index((r.name, r.part))

    def _may_wait(self, b: Boundary) -> bool:
        """Whether anybody ever waits for what a boundary moves."""
        late = b in self.between and latency(self.arch, b.parent) > 0
        return late or any(r != NONE for r in self.ways[b])

    def _way(self, b: Boundary) -> list[int]:
        """The resources a boundary's transfers hold, and those of sums that are read back."""
        at_parent, at_child = ACCESSES if b.tensor != self.acc else ACCESSES[::-1]
        way = [
            self.port(b.parent, at_parent),
            self.channel(b, "up" if b.tensor == self.acc else "down"),
            self.port(b.child, at_child) if b.child < self.pe else NONE,
        ]
        if b.tensor != self.acc:
            return [*way, NONE, NONE]
        back = self.channel(b, "down") if self.down_too else NONE
        return [*way, self.port(b.parent, "read"), back]

    def before(self, b: Boundary) -> int:
        """The boundary whose transfers come before another's, NONE if there is none: of an operand
        the one that brings the parent's words, or where that takes no time, the parent's parent's;
        of sums the one that brings them to the child, if it takes time.
        """
        if b.tensor == self.acc:
            inner = [k for k, o in enumerate(self.between) if o.tensor == b.tensor]
            inner = [k for k in inner if self.between[k].parent == b.child]
            return next((k for k in inner if self.between[k] in self.timed), NONE)
        level = b.parent
        for k in reversed(range(len(self.between))):
            o = self.between[k]
            if o.tensor == b.tensor and o.child == level:
                if o in self.timed:
                    return k
                level = o.parent
        return NONE

    def _order(self) -> Ints:
        """In which the end of a pass sets transfers going: drains, the innermost first; then fills,
        the outermost first.
        """

        def key(k: int) -> tuple[bool, int]:
            sums = self.between[k].tensor == self.acc
            return not sums, -k if sums else k

        return np.array(sorted(range(len(self.between)), key=key), np.int64)

    def busy(self, nest: Nest, moves: Mapping[Boundary, Moved]) -> npt.NDArray[np.float64]:
        """``carried`` by every resource in a nest of the form, ``[resources]``."""
        bits = carried(nest, moves, self.port, self.channel)
        return np.array([bits.get(r, 0.0) for r in range(len(self.resources))])

    def busy_of(
        self, nest: Nest, moves: Mapping[Boundary, Moved], trips: Ints
    ) -> npt.NDArray[np.float64]:
        """The same in many nests of ``trips`` [loops, nests]: ``[nests, resources]``."""
        bits = carried(nest, moves, self.port, self.channel, list(trips))
        busy = np.zeros((trips.shape[1], len(self.resources)))
        for r, of in bits.items():
            busy[:, r] = of
        return busy

    def padded_pairs(self, b: Boundary) -> bool:
        """Whether a level holds (k, x) pairs of which some are padding."""
        pairs = self.nest.projection(b.tensor, b.child).pairs and any(self.nest.problem.padding)
        return pairs and b.child < self.nest.levels


class _PassPlanner:
    """One nest on the way to its ``PassPlan``.

    ``frame``       what hangs on its form; of that ``acc``, ``pe``, ``temporal``, ``outer``,
                    ``between``, ``inside`` and ``timed`` as there
    ``passes``      the temporal loops outside the PEs' parent, as settings
    ``alone``       the array's time by itself
    ``runs``        of loops outside, the turns that are laid out as few (``alike_turns``)
    ``moves``       what crosses each boundary in all
    ``number``      ``[passes]``: in order, NONE where a setting has none; ``n`` of them
    ``transfers``   rows of ``PassTable.transfers`` so far
    ``early``       fills that wait for no pass, [fills], by boundary and in order
    ``issues``      by boundary: of each step that exists, the pass that sets its fill going (NONE:
                    no pass), whether there is a fill, and its first pass, ``[steps, 3]``
    ``shared_out``  boundaries whose update reads had to be shared out over the steps: then it is no
                    longer known which step they belong to, and the time not exact
    ``cutting``     exposed boundaries that say where phases begin, whether they are timed or not
    """

    def __init__(
        self,
        nest: Nest,
        alone: ArrayTime,
        moves: Mapping[Boundary, Moved],
        runs: Mapping[int, Span],
    ) -> None:
        self.nest, self.alone, self.arch, self.moves = nest, alone, nest.arch, moves
        frame = self.frame = PassFrame.of(nest)
        self.pe, self.acc = frame.pe, frame.acc
        self.temporal, self.outer = frame.temporal, frame.outer
        self.between, self.inside, self.timed = frame.between, frame.inside, frame.timed
        self._instances: list[int] = instances(nest)
        self._listed: dict[tuple[int, ...], StepSettings] = {}
        self.runs = runs
        self.passes = self._settings(self.outer)
        exists = self.passes.exists
        counted = np.cumsum(exists).reshape(exists.shape)
        self.number = counted - 1 if self.passes.full else np.where(exists, counted - 1, NONE)
        self.n = int(counted[(-1,) * counted.ndim])
        self.transfers = [np.zeros((0, BITS + PLAIN_WAY), np.int64)]
        self.early = [np.zeros(0, np.int64)]
        self.issues: dict[int, Ints] = {}
        self.shared_out: set[Boundary] = set()
        self.cutting: set[Boundary] = set()

    def planned(self) -> PassPlan:
        """The plan."""
        work, plan = self._plan()
        frame = self.frame
        return PassPlan(
            work._replace(owners=frame.owners),
            plan,
            tuple(frame.resources.values()),
            frame.busy(self.nest, self.moves),
            self.nest.levels,
            len(frame.names),
            self.alone.cycles,
            not any(self._estimated(b) for b in self.timed)
            and not any(frame.padded_pairs(b) for b in self.cutting),
        )

    def instances(self, level: int) -> int:
        """How many instances of a level there are."""
        return self._instances[level]

    def bits(self, b: Boundary, words: Any, level: int) -> Any:
        """Bits one instance of a level carries of so many words in all."""
        many, inner = self._instances[level], level < self.nest.levels
        each = self.nest.footprint.word_bits(level if inner else b.parent, b.tensor)
        return (words if many == 1 else -(-words // many)) * each

    def _estimated(self, b: Boundary) -> bool:
        """Whether it is not known to the word what one instance moves in each setting: several
        instances share evenly here, (k, x) pairs on padding that a level holds are spread over the
        settings, and of sums it may not be known which come for the first time.
        """
        at_child = b in self.between and self.frame.ways[b][2] != NONE
        if self.instances(b.child if at_child else b.parent) > 1:
            return True
        return b in self.shared_out or self.frame.padded_pairs(b)

    def share_updated(self, b: Boundary, settings: StepSettings, arrived: Ints) -> Ints:
        """Of the sums that arrive in each setting, how many the parent reads to add to: all but
        first visits.  Shaped as ``arrived``, [settings].

        Which arrivals come again is known where the sum's own tile tells: all of them in a setting
        of a loop the tensor does not depend on, past its first; elsewhere each word but once,
        unless windows slide.  The total is ``moves``'; where that does not come to it, what is left
        over, or was too much, is shared out in proportion to the words.
        """
        total = self.moves[b].updated
        summed = settings.summed
        if total == summed(arrived) or not total:
            return arrived if total else np.zeros_like(arrived)
        again = self._come_again(b, settings)
        if self.acc != "ifmap":
            once = np.where(again | (arrived == 0), 0, self._different_words(b, settings))
            if total == summed(arrived - once) and bool((arrived >= once).all()):
                return arrived - once
        reads = np.where(again, arrived, 0)
        left = total - summed(reads)
        if left and settings.turns:
            raise UnlikeError  # they are shared out over all settings
        if left:
            self.shared_out.add(b)
        others = np.where(again, 0, arrived)
        if left < 0 or (left and not others.any()):
            return np.asarray(np.floor(arrived * (total / arrived.sum()) + 0.5).astype(np.int64))
        if left:
            share = np.concatenate([[0.0], np.cumsum(others.ravel(), dtype=float)]) * (
                left / others.sum()
            )
            reads = reads + np.diff(np.floor(share + 0.5)).astype(np.int64).reshape(reads.shape)
        return np.asarray(reads)

    def _come_again(self, b: Boundary, settings: StepSettings) -> npt.NDArray[np.bool_]:
        """In which settings all sums that arrive were there before, ``[settings]``: past the first
        turn of a loop that the tensor does not depend on, if the parent holds on to its tile
        through all turns of the loop and the child does not.
        """
        loops, stays = self.nest.loops, b.parent == self.nest.home(b.tensor)
        cuts = [
            i
            for i in self.temporal
            if loops[i].trips > 1 and self.nest.loop_depends(loops[i], b.tensor)
        ]

        def held(loop: int, level: int) -> bool:
            """Whether a level's tile stands through all turns of a loop."""
            return not any(i > loop and loops[i].level < level for i in cuts)

        again = np.zeros(settings.shape, bool)
        for axis, i in enumerate(settings.outer):
            passes_by = b.child == self.nest.levels or not held(i, b.child)
            parent_holds = stays or held(i, b.parent)
            if parent_holds and passes_by and not self.nest.loop_depends(loops[i], b.tensor):
                shape = [1] * len(settings.shape)
                shape[axis] = settings.shape[axis]
                again |= (np.arange(settings.shape[axis]) > 0).reshape(shape)
        return again

    def _different_words(self, b: Boundary, settings: StepSettings) -> Ints:
        """Words of a sum that has no sliding rank that a setting works on, ``[settings]``."""
        words: Any = settings.exists.astype(np.int64)
        for chain in self.nest.chains:
            if not chain.depends(b.tensor):
                continue
            piece, spatial, own = settings.pieces(chain)
            if piece.chunk is not None:
                size = piece.chunk[1] - piece.chunk[0]
            else:
                size = prod([piece.hi[p] - piece.lo[p] for p in chain.parts])
            some = np.where(piece.exists, size, 0).sum(axis=spatial)
            words = words * settings.short(
                some.reshape([self.nest.loops[i].trips if i in own else 1 for i in settings.outer])
            )
        return np.asarray(words)

    # -- the plan ----------------------------------------------------------------------------------

    def _settings(self, loops: list[int]) -> StepSettings:
        """The settings of some loops, asked for once."""
        if tuple(loops) in self._listed:
            return self._listed[tuple(loops)]
        many = prod(self.nest.loops[i].trips for i in loops)
        if many > MOST_STEPS:
            raise MappingError(
                f"there are {many} steps to time, more than the {MOST_STEPS} that are worked out "
                "one by one (dram=unlimited is a memory that is never waited for)"
            )
        settings = StepSettings(self.nest, loops, self.runs)
        return self._listed.setdefault(tuple(loops), settings)

    def _plan(self) -> tuple[PhaseWork, PassTable]:
        """All passes, and what makes them alike."""
        exists = self.passes.exists
        there = exists.ravel()
        steps, loads, after = self._phases()  # first, as it may refuse
        each = np.full((self.n, SENDS + 3 * len(self.between)), NONE)
        each[:, SENDS + 2 :: 3] = 0
        for k, b in enumerate(self.between):
            if b in self.timed:  # what takes no time is not waited for and holds nothing up
                (self._sums if b.tensor == self.acc else self._operand)(k, b, each)
        rows = np.stack([steps.ravel(), *(bits.ravel() for _, _, bits in loads)], axis=1)
        phases, of_phase = _different(rows)
        phases_of = of_phase.reshape(len(there), -1)[there]
        works, of_pass = _different(phases_of)
        each[:, WORK], each[:, AFTER] = of_pass, after.ravel()[there]
        kinds, of_kind = _different(each)
        kind = np.full(len(there), NONE)
        kind[there] = of_kind
        turns, trips = self.passes.turns, [self.nest.loops[i].trips for i in self.outer[::-1]]
        alike = np.bincount(of_phase, minlength=len(phases))
        if turns:  # sums of whole numbers below 2^53
            times = np.repeat(turns.times(), len(of_phase) // len(there))
            alike = np.bincount(of_phase, times, len(phases)).astype(np.int64)
        work = PhaseWork(
            np.zeros(0, np.int64),
            _table([(part, r) for part, r, _ in loads], 2),
            np.insert(rows[phases], 1, alike, axis=1),
            phases_of[works],
        )
        plan = PassTable(
            self.frame.boundaries,
            self.frame.order,
            *self._transfers(loads),
            np.concatenate(self.early),
            each[kinds],
            turns.spread(kind.reshape(exists.shape)).ravel() if turns else kind,
            _table([(prod(trips[:at]), trip) for at, trip in enumerate(trips)], 2),
        )
        return work, plan

    def _transfers(self, loads: list[Load]) -> tuple[Ints, Ints, Ints]:
        """All kinds of transfer; the resources each holds, those for which it has bits; and the
        resources that passes and transfers both use.
        """
        boundaries, rows = self.frame.boundaries, np.concatenate(self.transfers)
        of, on_it = boundaries[rows[:, AT]], boundaries[rows[:, AT], WAY:]
        reads_too = (of[:, SUMS] > 0) & (rows[:, BEHIND] > 0)
        some = np.column_stack([rows[:, BITS:] > 0, reads_too, reads_too]) & (on_it != NONE)
        ways = np.full((len(rows), FULL_WAY), NONE)
        for way, here, held in zip(ways, some.tolist(), on_it.tolist(), strict=True):
            own = sorted({r for r, there in zip(held, here, strict=True) if there})
            way[: len(own)] = own
        rows[of[:, SUMS] > 0, BEHIND] = 0  # a drain waits for the latest one further in
        both = {r for _, r, _ in loads} & set(boundaries[:, WAY:].ravel().tolist())
        return rows, ways, np.array(sorted(both), np.int64)

    # -- phases ------------------------------------------------------------------------------------

    def _phases(self) -> tuple[Ints, list[Load], Ints]:
        """MAC steps of every phase, ``[passes, phases inside]``; what it loads, likewise; and by
        pass the cycles from when the array is free to the last result.

        On lines a pass is one phase, which lasts as long as the gaps of its folds or as its longest
        resource.  Elsewhere a phase begins wherever an exposed operand changes, and each of its
        parts waits by itself.
        """
        if on_lines(self.nest):
            gap, length = (
                x.reshape(self.passes.shape)
                for x in pass_times(self.nest, self.passes.exists.size, self.runs)
            )
            together: dict[int, Ints] = {}
            for _, r, bits in self._carried(self.passes, []):
                together[r] = together.get(r, 0) + bits
            return gap, [(BODY, r, together[r]) for r in sorted(together)], length - gap
        # the last result has stages and chain still to go
        after = np.full(self.passes.shape, self.alone.fill_drain)
        if self.timed.isdisjoint(self.inside):
            return self.passes.steps([i for i in self.temporal if i not in self.outer]), [], after
        exposed = [
            b
            for b in self.inside
            if b.child == self.pe
            and b.tensor != self.acc
            and not overlaps(self.nest, self.pe, b.tensor)
        ]
        self.cutting = set(exposed)
        loops = self.nest.loops
        outside = [i for i in self.temporal if loops[i].level < self.pe]
        cuts = [
            i for i in outside if any(self.nest.loop_depends(loops[i], b.tensor) for b in exposed)
        ]
        last = cuts[-1] if cuts else NONE
        listed = [i for i in outside if i in self.outer or i <= last]
        phases = self._settings(listed)
        steps = phases.steps([i for i in self.temporal if i not in listed])
        loads = self._carried(phases, exposed)
        begins = phases.exists & (sum(phases.moves(b).taken for b in exposed) > 0)
        if exposed and (phases.exists & ~begins).any():
            return *self._joined(phases, begins, steps, loads), after
        return np.where(phases.exists, steps, 0), loads, after

    def _joined(
        self, phases: StepSettings, begins: npt.NDArray[np.bool_], steps: Ints, loads: list[Load]
    ) -> tuple[Ints, list[Load]]:
        """Phases as they are where some settings bring no exposed word: those belong to the phase
        before them, which then stands at its first setting.  What would have been the ramp of a
        later one, or the tail of an earlier, goes on beside the MACs.
        """
        shape = prod(self.passes.shape), -1
        exists = phases.exists.reshape(shape)
        begins = begins.reshape(shape) | (np.cumsum(exists, axis=1) == 1) & exists
        place = np.arange(exists.size).reshape(exists.shape)
        phase = np.maximum.accumulate(np.where(begins, place, 0), axis=1)[exists]  # of each setting
        last = np.append(phase[1:] != phase[:-1], True)
        there = np.flatnonzero(exists)
        parts: dict[tuple[int, int], Ints] = {}

        def carry(part: int, r: int, which: Any, amount: Ints) -> None:
            total = parts.setdefault((part, r), np.zeros(exists.size, np.int64))
            np.add.at(total, phase[which], amount[which])

        every = np.ones(len(phase), bool)
        for part, r, bits in loads:
            amount = bits.ravel()[there]
            own = begins[exists] if part == RAMP else last if part == TAIL else every
            carry(part, r, own, amount)
            if part in (RAMP, TAIL):
                carry(BODY, r, ~own, amount)
        macs = np.zeros(exists.size, np.int64)
        np.add.at(macs, phase, steps.ravel()[there])
        joined = [(part, r, parts[part, r].reshape(phases.shape)) for part, r in sorted(parts)]
        return macs.reshape(phases.shape), joined

    def _carried(self, settings: StepSettings, exposed: list[Boundary]) -> list[Load]:
        """The bits every resource inside a pass carries in each setting, by part.  Its cycles are
        rounded up once a part and setting, as the event engine does.
        """
        bits: dict[int, dict[int, Any]] = {part: {} for part in PARTS}

        def carry(part: int, r: int, amount: Any) -> None:
            if r != NONE:
                bits[part][r] = bits[part].get(r, 0) + amount

        for b in self.inside:
            if b not in self.timed:
                continue
            moved = settings.moves(b)
            if b.tensor == self.acc:
                arrived = moved.rest + moved.last
                again = self.bits(b, self.share_updated(b, settings, arrived), b.parent)
                for part, words in ((BODY, moved.rest), (TAIL, moved.last)):
                    carry(part, self.frame.channel(b, "up"), self.bits(b, words, b.parent))
                    carry(part, self.frame.port(b.parent, "write"), self.bits(b, words, b.parent))
                carry(BODY, self.frame.port(b.parent, "read"), again)
                if self.frame.down_too:
                    carry(BODY, self.frame.channel(b, "down"), again)
                continue
            kept = b.child == self.pe
            begin = EXPOSED if b in exposed else RAMP if kept else BODY
            for to, words in ((begin, moved.first), (BODY, moved.rest)):
                amount = self.bits(b, words, b.parent)
                carry(to, self.frame.channel(b, "down"), amount)
                ahead = BODY if fetched_ahead(self.nest, b) else to
                carry(ahead, self.frame.port(b.parent, "read"), amount)
        return [
            (part, r, np.where(settings.exists, amount, 0))
            for part in PARTS
            for r, amount in sorted(bits[part].items(), key=lambda x: x[0])
        ]

    # -- transfers ---------------------------------------------------------------------------------

    def _steps(self, b: Boundary) -> tuple[StepSettings, Ints, Ints]:
        """Steps of a boundary's child level, and the first and last pass of each that exists, both
        ``[steps]``.
        """
        outer = [i for i in self.outer if self.nest.loops[i].level < b.child]
        number = self.number.reshape(prod(self.passes.shape[: len(outer)]), -1)
        ends = np.empty((2, len(number)), np.int64)
        many = first_and_last(number, ends[0], ends[1])
        return self._settings(outer), ends[0, :many], ends[1, :many]

    def _carries(self, b: Boundary, settings: StepSettings) -> tuple[npt.NDArray[np.bool_], Ints]:
        """Of each existing step: whether it moves words; whether its parent reads to add to, and
        the bits of parent, network and child, ``[steps, 4]``.
        """
        there: Any = settings.exists
        moved, again = settings.moves(b), np.zeros(settings.shape, np.int64)
        if b.tensor == self.acc:
            words = taken = moved.rest + moved.last
            again = self.bits(b, self.share_updated(b, settings, words), b.parent)
        else:
            words, taken = moved.first + moved.rest, moved.taken
        outer = net = self.bits(b, words, b.parent)
        if b.tensor == self.acc:
            up, down = (channel(self.arch, b.network, b.tensor, way) for way in ("up", "down"))
            shared = self.arch.levels[self.arch.level_names[b.parent]].ports == "shared"
            outer = outer + again if shared else np.maximum(outer, again)
            if self.frame.down_too:
                net = net + again if up == down else np.maximum(net, again)
        if settings.full:
            there = np.s_[...]
        columns = again > 0, outer, net, self.bits(b, taken, b.child)
        bits = np.empty((words[there].size, len(columns)), np.int64)
        for at, column in enumerate(columns):
            bits[:, at] = column[there].ravel()
        return (words + taken)[there].ravel() > 0, bits

    def _known(self, k: int, behind: Any, ahead: Any, bits: Ints) -> Ints:
        """The numbers of a boundary's transfers."""
        rows = np.empty((len(bits), BITS + PLAIN_WAY), np.int64)
        rows[:, AT], rows[:, BEHIND], rows[:, AHEAD], rows[:, BITS:] = k, behind, ahead, bits
        first, numbers = _different(rows)
        before = sum(len(x) for x in self.transfers)
        self.transfers.append(rows[first])
        return before + numbers

    def _sums(self, k: int, b: Boundary, each: Ints) -> None:
        """The drains of a boundary, into ``each`` pass (``send_drains``)."""
        settings, first, last = self._steps(b)
        there, carried = self._carries(b, settings)
        begins = settings.moves(b).taken[settings.exists] > 0
        known = self._known(k, carried[there, 0], 1, carried[there, 1:])
        back = self.frame.slots[k] - 1
        send_drains(
            there.astype(np.int64),
            begins.astype(np.int64),
            first,
            last,
            known,
            back,
            SENDS + 3 * k,
            each,
        )

    def _operand(self, k: int, b: Boundary, each: Ints) -> None:
        """The fills of a boundary, into ``each`` pass (``lay_fills`` and ``send_fills``)."""
        settings, first, last = self._steps(b)
        there, carried = self._carries(b, settings)
        outside = self.frame.before(b)
        above = np.zeros((0, 3), np.int64) if outside == NONE else self.issues[outside]
        asks, filled = np.empty((len(first), 4), np.int64), np.empty(len(first), np.int64)
        fills = there.astype(np.int64)
        many = lay_fills(fills, first, last, self.frame.slots[k], above, KEPT - 1, filled, asks)
        self.issues[k] = np.stack([filled, fills, first], axis=1)
        asks = asks[:many]
        known = self._known(k, asks[:, 2], asks[:, 3], carried[there, 1:])
        early = np.empty(many, np.int64)
        self.early.append(early[: send_fills(asks, known, SENDS + 3 * k, each, early)])


FEW = 1 << 9  # slots: few rows of many are different


def _different(table: Ints) -> tuple[Ints, Ints]:
    """Where each different row of a table occurs, and which of them each row is."""
    many = len(table)
    first, ids = np.empty(many, np.int64), np.empty(many, np.int64)
    known, wide = NONE, FEW
    while known == NONE:
        known = tell_rows(table, np.full(wide, NONE), first, ids)
        wide *= 16
    return first[:known], ids


def _table(rows: Sequence[Any], columns: int) -> Ints:
    """Rows of numbers as an array, also where there are none."""
    return np.array(rows, np.int64).reshape(len(rows), columns)


# -- the door ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Time:
    """Cycles of the core clock and where they went.

    ``cycles``      the end of the layer
    ``compute``     MAC steps
    ``fill_drain``  skew, preload and shifting of the array
    ``stalls``      what was waited for, by level and network; with the two above it adds up
    ``active_pes``  the most PEs that work at once
    ``exact``       whether the recurrence is the event engine's time to the cycle
    ``bound``       cycles that no schedule can beat
    """

    cycles: int
    compute: int
    fill_drain: int
    stalls: dict[str, int]
    active_pes: int
    exact: bool
    bound: int

    @property
    def array(self) -> int:
        """Cycles of the array alone."""
        return self.compute + self.fill_drain


def run(nest: Nest) -> Run:
    """Counts and time of a nest: all that the analytic engine says of a layer.

    Raises MappingError as ``time`` does.
    """
    crossing = moves(nest)
    spent = time(nest, crossing)
    return Run(
        None,
        crossing,
        nest.problem.macs,
        spent.compute,
        spent.active_pes,
        spent.array,
        spent.cycles,
        spent.stalls,
        exact=spent.exact,
        bound=spent.bound,
    )


def time(nest: Nest, moves: Mapping[Boundary, Moved]) -> Time:
    """Time of a nest of which ``moves`` cross its boundaries (``analytic.moves``).

    Raises MappingError where there are more than 2^20 passes, or phases inside them, to list, and
    where cycles may pass 2^62.
    """
    _refuse_long(nest, moves)
    key = nest.either_way, nest.row[0], sides_told(nest), rates(nest.arch)
    return _times.of(key, lambda: _time(nest, moves))


_times: Kept[Time] = Kept(1 << 12)  # a row asks for what its search was told, a sweep again


def _time(nest: Nest, moves: Mapping[Boundary, Moved]) -> Time:
    """``time``, worked out."""
    alone = array_time(nest)
    cycles, stalls, exact, bound = times(nest, moves, alone, [nest.arch])
    names = [*nest.arch.level_names, *nest.arch.networks]
    return Time(
        int(cycles[0]),
        alone.compute,
        alone.fill_drain,
        FrozenDict(zip(names, stalls[0].tolist(), strict=True)),
        alone.active_pes,
        exact,
        int(bound[0]),
    )


def least_cycles(nest: Nest, moves: Mapping[Boundary, Moved], alone: ArrayTime) -> int:
    """Cycles that no schedule of a nest can beat, as ``Time.bound``, without a schedule.  Raises
    MappingError as ``time`` does.
    """
    _refuse_long(nest, moves)
    if not limited(nest.arch):
        return alone.cycles
    frame = PassFrame.of(nest)
    fast = _rates_of(tuple(frame.resources.values()), nest.levels, [nest.arch])
    return max(alone.cycles, int(_least(frame.busy(nest, moves), fast).max(initial=0)))


def least_cycles_of(
    nest: Nest,
    moves: Mapping[Boundary, Moved],
    alone: Ints,
    tiles: Ints,
    trips: Ints,
    archs: Sequence[Architecture],
) -> Ints:
    """Cycles that many nests, each on its machine, need at least, [nests]: the most of
    ``least_cycles`` and of what comes before the first pass.  They have the loops of one nest and
    ``tiles`` and ``trips`` [loops, nests] of their own; the same levels of their machines are late.
    """
    if not limited(nest.arch):
        return alone
    frame = PassFrame.of(nest)
    fast = _rates_of(tuple(frame.resources.values()), nest.levels, archs)
    busy = _least(frame.busy_of(nest, moves, trips), fast).max(axis=1, initial=0)
    own = zip(archs, tiles.T.tolist(), strict=True)
    fills = np.array([_first_fills(nest, arch, each) for arch, each in own])
    return np.asarray(np.maximum(busy, fills + alone))


def first_fills(nest: Nest) -> int:
    """Cycles before which no pass starts: of the operands' first tiles over the outermost level's
    port, one after the other.  Whatever is late later, the array's own time follows them.
    """
    return _first_fills(nest, nest.arch, nest.row[0])


def _first_fills(nest: Nest, arch: Architecture, tiles: Sequence[int]) -> int:
    """The same of a nest with the loops of another, with its own machine and ``tiles`` [loops]."""
    read, late, cycles = port(arch, 0, "read"), latency(arch, 0), 0
    if read is None:
        return 0
    for b in PassFrame.of(nest).between:
        if b.parent == 0 and b.tensor != nest.problem.accumulated:
            words = _first_words(nest, b, tiles)
            if words:
                bits = words * nest.footprint.word_bits(b.parent, b.tensor)
                cycles += read.cycles(bits) + late
    return cycles


def _first_words(nest: Nest, b: Boundary, tiles: Sequence[int]) -> int:
    """Words a parent reads for an operand's first tile, or fewer: first pieces are whole tiles, and
    padding is read nowhere.  Of chunks of fused dimensions, and of an ifmap inside a frame of
    padding, nothing is said.
    """
    kept, extents = nest.projection(b.tensor, b.child), dict(nest.problem.size)
    if kept.pairs or kept.window is not None:
        return 0
    for x, tile in zip(nest.loops, tiles, strict=True):
        if x.level < b.child and nest.loop_depends(x, b.tensor):
            if x.dim not in extents:
                return 0
            extents[x.dim] = min(extents[x.dim], tile)
    words = 1
    for dims, slide in kept.ranks:
        sizes = [extents[d] for d in dims]
        if slide is None:
            words *= prod(sizes)
        else:
            words *= _first_coordinates(nest.problem.slide(dims), *sizes)
    return words


@lru_cache(maxsize=1 << 12)
def _first_coordinates(slide: Slide, out: int, filt: int) -> int:
    """Real coordinates that the first outputs reach with the first taps."""
    reached = np.zeros((out - 1) * slide.stride + (filt - 1) * slide.dilation + 1, bool)
    for tap in range(filt):
        reached[tap * slide.dilation :: slide.stride][:out] = True
    return int(reached[max(slide.pad, 0) : max(slide.pad + slide.size, 0)].sum())


def _refuse_long(nest: Nest, crossing: Mapping[Boundary, Moved]) -> None:
    """Raises MappingError where the loops that keep time may not hold a nest's."""
    arch = nest.arch
    if surely_short(nest.problem, arch):
        return
    around, waits = 2 * (arch.array.rows + arch.array.cols), limited(arch)
    if on_lines(nest) and (waits or wants_list(nest)):
        temporal = [x for x in nest.loops if not x.spatial]
        folds = prod(x.trips for x in temporal if x.level < nest.levels - 1)
        array = prod(x.trips for x in temporal) + folds * around
    else:
        array = 0
    words = sum(words_moved(m) for m in crossing.values()) if waits else 0
    if (why := too_long(arch, array, words)) is not None:
        raise MappingError(why)


def surely_short(problem: Problem, arch: Architecture) -> bool:
    """Whether the loops that keep time hold any nest of a layer: a word crosses a boundary for some
    MAC, so that most are let pass by their MACs alone.
    """
    macs, around = problem.macs, 2 * (arch.array.rows + arch.array.cols)
    words = macs * A_MAC if limited(arch) else 0
    return too_long(arch, macs * (1 + around), words) is None


def words_moved(m: Moved) -> Any:
    """Every word of a boundary as often as it is counted: a number, or ``[points]``."""
    return m.taken + m.read + m.drained + m.arrived + m.updated


def times(
    nest: Nest, moves: Mapping[Boundary, Moved], alone: ArrayTime, archs: Sequence[Architecture]
) -> tuple[Ints, Ints, bool, Ints]:
    """The same on machines that differ from the nest's in widths, clocks, bursts and latencies
    only, with the same levels late, whose array alone takes ``alone``: cycles ``[machines]``;
    stalls ``[machines, names]``, levels then networks; whether they are the event engine's; and
    what no schedule can beat.
    """
    names = len(nest.arch.level_names) + len(nest.arch.networks)
    if not limited(nest.arch):
        cycles = np.full(len(archs), alone.cycles)
        return cycles, np.zeros((len(archs), names), np.int64), True, cycles
    plan = _plan_of(nest, alone, moves)
    ends, stalls, bound, slowest = plan.run(archs)
    # what moves inside passes and between them may meet on one port: there the bound may be later
    ends = np.maximum(ends, bound)
    # the layer's last result need not be its last pass's: some waits were in vain
    over = ends - alone.cycles - stalls.sum(axis=1)
    each = np.arange(len(archs))
    stalls[each, slowest] += np.maximum(over, 0)
    in_vain = np.maximum(-over, 0)
    while in_vain.any():  # taken back from what was waited for most, then from the next
        most = stalls.argmax(axis=1)
        back = np.minimum(in_vain, stalls[each, most])
        stalls[each, most] -= back
        in_vain -= back
    return ends, stalls, plan.exact, bound


A_MAC = 64  # words over all boundaries for one MAC, each counted as often as ``words_moved`` does

# Plans kept, settings in each, and in all.  A plan serves its nest at all widths, so a layer run
# twice, or a sweep over what leaves its mapping as it is, finds it made.
PLANS, SETTINGS, ALL_SETTINGS = 1 << 10, 1 << 16, 1 << 22
_plans: dict[tuple[Any, ...], PassPlan] = {}
_plans_lock = Lock()
_kept_settings = 0  # of all plans kept


def _plan_of(nest: Nest, alone: ArrayTime, moves: Mapping[Boundary, Moved]) -> PassPlan:
    """The plan of a nest: what it hangs on is all of the nest but the numbers of its architecture,
    which levels are late, and the array's sides where time hangs on them.
    """
    global _kept_settings
    key = nest.form.token, nest.row[0], sides_told(nest), late_levels(nest.arch)
    with _plans_lock:
        plan = _plans.get(key)
        if plan is not None:
            _plans[key] = _plans.pop(key)  # the last used
            return plan
    plan = pass_plan(nest, alone, moves)
    if len(plan.plan.kind) > SETTINGS:
        return plan
    with _plans_lock:
        if key not in _plans:
            _kept_settings += len(plan.plan.kind)
        _plans[key] = plan
        while len(_plans) > PLANS or (_kept_settings > ALL_SETTINGS and len(_plans) > 1):
            _kept_settings -= len(_plans.pop(next(iter(_plans))).plan.kind)
    return plan
