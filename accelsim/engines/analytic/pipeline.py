"""Closed-form time of array and memory together: the recurrence of docs/time.md over passes, with
equal passes worked through once.  ``run`` is the analytic engine's door, ``time`` its second half.

A *pass* is the array's work while all levels outside the PEs' parent stand still.  In order:

1. what each pass takes of the array: until the next may start (``gap``), until its last result
   (``length``), and what it waits for inside, at the ports and channels to the PEs (``_array``);
2. what the end of each pass sets going between the levels: drains of tiles that are done, fills of
   tiles that now have room, each with its cycles and its slowest resource (``_Line``);
3. passes that are alike in all of this are one class, and a loop over equal blocks of classes is
   gone through once: ``_Line`` remembers (block, state before) -> (state after, time, waits), with
   times counted from the moment the array is free, so that a steady state repeats itself exactly.

The recurrence itself, for pass i of a level with two slots (section 5, "Memory"):

    C_i = max(L_i, free_{i-1}, D_{i-2})      its fills, the array, and the drain that makes it room

Exact where only the outermost boundary is limited and the buffer next to the PEs is the only one
between; elsewhere transfers of different levels may meet in another order than the timed event
engine has them (docs/time.md, "Small print").  No schedule beats ``least``.

Arrays over passes have one axis a temporal loop outside the PEs' parent, ``[passes]`` below; words
come from ``settings`` in that shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import (
    ArrayTime,
    array_time,
    folds,
    lines_time,
    on_lines,
    schedule,
)
from accelsim.engines.analytic.closed_form import moves
from accelsim.engines.analytic.rank_sums import different_rows
from accelsim.engines.analytic.settings import StepSettings
from accelsim.engines.moved import Moved
from accelsim.engines.run import Run
from accelsim.hardware.ports import ACCESSES, WAYS, Resource, channel, latency, limited, port
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.mapping.skeleton import Skeleton

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
MOST_STEPS = 1 << 18


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

    Raises MappingError where there are more than 2^18 passes, or phases inside them, to list.
    """
    alone = array_time(nest)
    names = [*nest.arch.level_names, *nest.arch.networks]
    if not limited(nest.arch):
        return Time(
            alone.cycles,
            alone.compute,
            alone.fill_drain,
            dict.fromkeys(names, 0),
            alone.active_pes,
            True,
            alone.cycles,
        )
    return _Pipeline(nest, alone, moves).time()


def least(nest: Nest, moves: Mapping[Boundary, Moved], array_cycles: Any) -> Any:
    """Cycles no schedule can beat: the array's, or what a port or channel needs for all its bits;
    numbers or arrays over mappings.

    Instances share their level's words evenly at best, and a transfer is never shorter than its
    bits over its width.
    """
    busy: dict[Resource, Any] = {}
    arch, acc = nest.arch, nest.problem.accumulated

    def carry(r: Resource | None, words: Any, level: int, b: Boundary) -> None:
        if r is not None:
            bits = words * nest.footprint.word_bits(level, b.tensor)
            busy[r] = busy.get(r, 0) + bits / prod(
                x.trips for x in nest.loops if x.spatial and x.level < level
            )

    for b, m in moves.items():
        down, up = (
            channel(arch, b.network, b.tensor, "down"),
            channel(arch, b.network, b.tensor, "up"),
        )
        child = (
            port(arch, b.child, "read" if b.tensor == acc else "write")
            if b.child < nest.levels
            else None
        )
        if b.tensor == acc:
            again = m.updated if arch.accumulate == "in_array" else 0
            write, read = port(arch, b.parent, "write"), port(arch, b.parent, "read")
            for r, words in ((up, m.arrived), (down, again), (write, m.arrived), (read, m.updated)):
                carry(r, words, b.parent, b)
            carry(child, m.drained, b.child, b)
        else:
            for r in (down, port(arch, b.parent, "read")):
                carry(r, m.read, b.parent, b)
            carry(child, m.taken, b.child, b)
    cycles = array_cycles
    for r, bits in busy.items():
        cycles = np.maximum(cycles, np.ceil(bits / float(r.rate) - 1e-6))
    return cycles


def overlaps(nest: Skeleton, level: int, tensor: str) -> bool:
    """Whether a level has two slots for a tensor."""
    x = nest.arch.levels[nest.arch.level_names[level]]
    return x.double_buffered or tensor in x.queued


def fetched_ahead(nest: Skeleton, b: Boundary) -> bool:
    """Whether an operand passes by a level that takes it in while the PEs still work: only the last
    network is then waited for.
    """
    between = range(b.parent + 1, min(b.child, nest.levels - 1))
    return any(
        overlaps(nest, i, b.tensor) and b.tensor in nest.arch.levels[nest.arch.level_names[i]].keeps
        for i in between
    )


class _Pipeline:
    """One nest whose memory can be waited for.

    ``passes``      the temporal loops outside the PEs' parent, as settings
    ``outer``       those loops, positions in ``nest.loops``; ``temporal`` are all temporal ones
    ``between``     boundaries whose transfers go on between passes
    ``inside``      boundaries to the PEs and to the MACs, which move during a pass
    ``alone``       the array's time by itself
    ``moves``       what crosses each boundary in all
    ``stalls``      cycles waited, by level and network; filled in as they are found
    ``shared_out``  whether update reads had to be shared out over the steps: then it is no longer
                    known which step they belong to, and the time not exact
    """

    def __init__(self, nest: Nest, alone: ArrayTime, moves: Mapping[Boundary, Moved]) -> None:
        self.nest, self.alone, self.arch, self.moves = nest, alone, nest.arch, moves
        self.pe = nest.levels - 1
        self.acc = nest.problem.accumulated
        self.temporal = [i for i, x in enumerate(nest.loops) if not x.spatial]
        self.outer = [i for i in self.temporal if nest.loops[i].level < self.pe - 1]
        self.passes = self._settings(self.outer)
        self.between = [b for b in nest.boundaries if b.child < self.pe]
        self.inside = [b for b in nest.boundaries if b.child >= self.pe]
        self.stalls = dict.fromkeys([*nest.arch.level_names, *nest.arch.networks], 0)
        self.shared_out = False  # whether update reads had to be shared out over the steps

    def _settings(self, loops: list[int]) -> StepSettings:
        many = prod(self.nest.loops[i].trips for i in loops)
        if many > MOST_STEPS:
            raise MappingError(
                f"there are {many} steps to time, more than the {MOST_STEPS} that are worked out "
                "one by one"
            )
        return StepSettings(self.nest, loops)

    def time(self) -> Time:
        """The schedule, its stalls made to add up, and whether it is exact."""
        gap, length, extra = self._array()
        for name, cycles in extra.items():
            self.stalls[name] += cycles
        end, waits = _Line(self, gap, length).run()
        bound = int(least(self.nest, self.moves, self.alone.cycles))
        end = max(
            end, bound + self._each_alone - self.alone.cycles
        )  # what moves inside passes and between them may meet on one port
        for name, cycles in waits.items():
            self.stalls[name] += cycles
        # the layer's last result need not be its last pass's: what is left over is the last drain,
        # or was waited for in vain
        over = end - self._each_alone - sum(self.stalls.values())
        self.stalls[
            self._last_drain() if over > 0 else max(self.stalls, key=lambda n: self.stalls[n])
        ] += over
        one_level = len({b.child for b in self.between}) <= 1 and all(
            self.instances(b.child) == 1 for b in self.between
        )
        exact = one_level and not self._limited_inside() and not self.shared_out
        end += self.alone.cycles - self._each_alone
        return Time(
            end,
            self.alone.compute,
            self.alone.fill_drain,
            self.stalls,
            self.alone.active_pes,
            exact,
            bound,
        )

    @cached_property
    def _each_alone(self) -> int:
        """The array's time if every setting of its loops were a fold of its own, as passes are
        timed one by one.
        """
        return lines_time(self.nest, merge=False) if on_lines(self.nest) else self.alone.cycles

    def _last_drain(self) -> str:
        """The level that is waited for after the last pass: the one that takes the last sums."""
        b = next((b for b in self.between if b.tensor == self.acc), None)
        return self.arch.level_names[b.parent if b else 0]

    # -- what each resource has to carry -----------------------------------------------------------

    def instances(self, level: int) -> int:
        """How many instances of a level there are."""
        return prod(x.trips for x in self.nest.loops if x.spatial and x.level < level)

    def bits(self, b: Boundary, words: Any, level: int) -> Any:
        """Bits one instance of a level carries of so many words in all."""
        return -(-words // self.instances(level)) * self.nest.footprint.word_bits(
            level if level < self.nest.levels else b.parent, b.tensor
        )

    def share_updated(self, b: Boundary, settings: StepSettings, arrived: Ints) -> Ints:
        """Of the sums that arrive in each setting, how many the parent reads to add to: all but
        first visits.  Shaped as ``arrived``, [settings].

        Which arrivals come again is known where the sum's own tile tells: a setting of a loop the
        tensor does not depend on, past its first.  The total is ``moves``'; what is left over, or
        was too much, is shared out in proportion to the words.
        """
        total = self.moves[b].updated
        if total == int(arrived.sum()) or not total:
            return arrived if total else np.zeros_like(arrived)
        again = np.zeros(settings.shape, bool)
        stays = b.parent == self.nest.home(b.tensor)
        for axis, i in enumerate(settings.outer):
            x = self.nest.loops[i]
            if (stays or x.level >= b.parent) and not self.nest.loop_depends(x, b.tensor):
                shape = [1] * len(settings.shape)
                shape[axis] = x.trips
                again |= (np.arange(x.trips) > 0).reshape(shape)
        reads = np.where(again, arrived, 0)
        self.shared_out |= total != int(reads.sum())
        left, others = total - int(reads.sum()), np.where(again, 0, arrived)
        if left < 0 or (left and not others.any()):
            return np.asarray(np.floor(arrived * (total / arrived.sum()) + 0.5).astype(np.int64))
        if left:
            share = np.concatenate([[0.0], np.cumsum(others.ravel(), dtype=float)]) * (
                left / others.sum()
            )
            reads = reads + np.diff(np.floor(share + 0.5)).astype(np.int64).reshape(reads.shape)
        return np.asarray(reads)

    def down_too(self) -> bool:
        """Whether sums to add to travel down the network."""
        return self.arch.accumulate == "in_array"

    # -- the array's part of each pass -------------------------------------------------------------

    def _array(self) -> tuple[Ints, Ints, dict[str, int]]:
        """Per pass, ``[passes]``: cycles until the next may start, and until its last result; and
        what passes wait for inside, by resource (docs/time.md, "Inside a pass").

        On lines a pass lasts as long as its gaps or as its longest resource.  Elsewhere it is cut
        into phases wherever an exposed operand changes, and each part of a phase waits by itself.
        """
        if on_lines(self.nest):
            gap, length = self._lines()
            loads = self._carried(self.passes, [])
            name, most = _worst(
                [loads["exposed"], loads["ramp"], loads["body"], loads["tail"]], self.passes.shape
            )
            wait = np.where(self.passes.exists, np.maximum(most - gap, 0), 0)
            return gap + wait, length + wait, _charged(name, wait)
        exposed = [
            b
            for b in self.inside
            if b.child == self.pe
            and b.tensor != self.acc
            and not overlaps(self.nest, self.pe, b.tensor)
        ]
        needed = [
            i
            for i in self.temporal
            if self.nest.loops[i].level < self.pe and any(self._cuts(i, b) for b in exposed)
        ]
        listed = [
            i
            for i in self.temporal
            if i in self.outer
            or (needed and i <= needed[-1] and self.nest.loops[i].level < self.pe)
        ]
        if not self._limited_inside():
            steps = self.passes.steps([i for i in self.temporal if i not in self.outer])
            return steps, steps + self.alone.fill_drain, {}
        phases = self._settings(listed)
        steps = np.where(
            phases.exists, phases.steps([i for i in self.temporal if i not in listed]), 0
        )
        loads = self._carried(phases, exposed)
        total = steps
        charged: dict[str, int] = {}
        for part in ("exposed", "ramp", "body", "tail"):
            name, most = _worst([loads[part]], phases.shape)
            wait = np.where(
                phases.exists, np.maximum(most - steps, 0) if part == "body" else most, 0
            )
            total = total + wait
            for n, cycles in _charged(name, wait).items():
                charged[n] = charged.get(n, 0) + cycles
        inner = tuple(range(len(self.outer), len(listed)))
        gap = total.sum(axis=inner) if inner else total
        return (
            gap,
            gap + self.alone.fill_drain,
            charged,
        )  # the last result has stages and chain still to go

    def _cuts(self, i: int, b: Boundary) -> bool:
        """Whether a loop changes the words of a boundary's tensor."""
        return self.nest.loop_depends(self.nest.loops[i], b.tensor)

    def _limited_inside(self) -> bool:
        """Whether anything that moves inside a pass can be waited for."""
        resources = [
            channel(self.arch, b.network, b.tensor, way) for b in self.inside for way in WAYS
        ]
        resources += [
            port(self.arch, level, "read")
            for b in self.inside
            for level in {b.parent, min(b.child, self.pe)}
        ]
        return any(r is not None for r in resources)

    def _lines(self) -> tuple[Ints, Ints]:
        """Gap and length of each pass from its folds, ``[passes]``: the folds are listed and those
        of a pass added up.
        """
        t, r, c = folds(self.nest)
        there = t > 0
        plan = schedule(self.nest, t[there], r[there], c[there])
        many = self.passes.exists.size
        owner = np.repeat(np.arange(many), len(t) // many)[there]
        gap = np.bincount(owner, weights=plan.gap, minlength=many).astype(np.int64)
        gap[owner[0]] += plan.first  # the first preload has nothing to hide behind
        begins = np.concatenate([[0], np.cumsum(gap)[:-1]])
        length = np.zeros(many, np.int64)
        np.maximum.at(length, owner, plan.start - begins[owner] + plan.tail)
        return gap.reshape(self.passes.shape), length.reshape(self.passes.shape)

    def _carried(
        self, settings: StepSettings, exposed: list[Boundary]
    ) -> dict[str, dict[Resource, Ints]]:
        """Cycles every resource inside a pass is busy in each setting, by part: exposed, ramp, body
        and tail (docs/time.md), each resource -> ``[settings]``.

        Rounded up once a part and setting, as the event engine does.
        """
        bits: dict[str, dict[Resource, Any]] = {p: {} for p in ("exposed", "ramp", "body", "tail")}

        def carry(part: str, r: Resource | None, amount: Any) -> None:
            if r is not None:
                bits[part][r] = bits[part].get(r, 0) + amount

        for b in self.inside:
            moved = settings.moves(b)
            down, up = (
                channel(self.arch, b.network, b.tensor, "down"),
                channel(self.arch, b.network, b.tensor, "up"),
            )
            read, write = port(self.arch, b.parent, "read"), port(self.arch, b.parent, "write")
            if b.tensor == self.acc:
                arrived = moved.rest + moved.last
                again = self.bits(b, self.share_updated(b, settings, arrived), b.parent)
                for part, words in (("body", moved.rest), ("tail", moved.last)):
                    carry(part, up, self.bits(b, words, b.parent))
                    carry(part, write, self.bits(b, words, b.parent))
                carry("body", read, again)
                if b.child == self.pe:
                    carry("body", port(self.arch, b.child, "read"), self.bits(b, arrived, b.child))
                if self.down_too():
                    carry("body", down, again)
                continue
            if b.child == self.pe:
                carry("body", port(self.arch, b.child, "write"), self.bits(b, moved.taken, b.child))
            ahead = fetched_ahead(self.nest, b)
            for part, words in (("first", moved.first), ("rest", moved.rest)):
                kept = b.child == self.pe
                to = (
                    "exposed"
                    if b in exposed and part == "first"
                    else "ramp"
                    if part == "first" and kept
                    else "body"
                )
                carry(to, down, self.bits(b, words, b.parent))
                carry("body" if ahead else to, read, self.bits(b, words, b.parent))
        return {
            part: {r: r.cycles(np.asarray(x)) for r, x in table.items()}
            for part, table in bits.items()
        }


def _worst(
    tables: list[dict[Resource, Ints]], shape: tuple[int, ...]
) -> tuple[npt.NDArray[Any], Ints]:
    """The slowest resource in each setting, its cycles added up over the tables: names (objects)
    and cycles, both of ``shape``; the first named wins a tie.
    """
    total: dict[Resource, Any] = {}
    for table in tables:
        for r, cycles in table.items():
            total[r] = total.get(r, 0) + cycles
    if not total:
        return np.full(shape, "", object), np.zeros(shape, np.int64)
    stack = np.stack([np.broadcast_to(x, shape) for x in total.values()])
    names = np.array([r.name for r in total], object)
    return np.asarray(names[stack.argmax(axis=0)], object), np.asarray(stack.max(axis=0))


def _charged(names: npt.NDArray[Any], cycles: Ints) -> dict[str, int]:
    """Cycles by the name they are charged to, of arrays of one shape."""
    return {str(n): int(cycles[names == n].sum()) for n in set(names[cycles > 0].ravel())}


# -- the recurrence --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Op:
    """A transfer that the end of a pass sets going.

    ``at``       its boundary, a place in ``between``
    ``cycles``   how long it holds its resources
    ``slowest``  whom a wait for it is charged to, a place in ``names``
    ``behind``   of a fill, how many fills back its parent's words came; of a drain, 1 if its parent
                 reads to add to
    """

    at: int
    cycles: int
    slowest: int
    behind: int = 0


@dataclass(frozen=True)
class _Class:
    """What equal passes have in common.

    ``gap``     cycles from its start until the array is free
    ``length``  cycles from its start to its last result
    ``fresh``   boundaries whose next fill must be there
    ``opens``   boundaries of sums whose slot must have been drained
    ``ops``     the transfers its end sets going, in the order of requests
    """

    gap: int
    length: int
    fresh: tuple[int, ...]
    opens: tuple[int, ...]
    ops: tuple[_Op, ...]


@dataclass(frozen=True)
class _PipelineState:
    """Times from the moment the array is free; what lies before counts as now, so that states of
    a steady run are equal.

    ``pending``  by boundary: (when, charged to) of fills under way that no pass has used
    ``issued``   by boundary: the last completions of fills, for those further in to wait for
    ``drained``  by boundary: (when, charged to) of the last drains
    ``free``     by resource: from when on it is free
    """

    pending: tuple[tuple[tuple[int, int], ...], ...]
    issued: tuple[tuple[int, ...], ...]
    drained: tuple[tuple[tuple[int, int], ...], ...]
    free: tuple[int, ...]


@dataclass(frozen=True)
class _Stretch:
    """Some passes done.

    ``state``  after them
    ``moved``  how far the moment the array is free has moved
    ``end``    the latest completion of anything, from the moment before them
    ``waits``  (charged to, cycles)
    """

    state: _PipelineState
    moved: int
    end: int
    waits: tuple[tuple[int, int], ...]


class _Line:
    """Passes in order, as classes of equal work; the transfers a pass's end sets going follow it.

    ``between``    the boundaries transfers cross; ``routes`` the resources each holds, without and
                   with update reads; ``slots`` how many tiles of each there is room for
    ``number``     of each pass, in order, -1 where a setting has none, ``[passes]``
    ``classes``    what distinct passes do
    ``before``     fills that wait for no pass, in the order of the passes that need them
    ``blocks``     by loop, innermost first: each distinct block as runs (inner block, times)
    ``top``        the block that is the whole nest
    ``issues``     by boundary: of each step that exists, the pass that sets its fill going (-1:
                   none), whether there is a fill, and its first pass, each ``[steps]``
    """

    def __init__(self, pipeline: _Pipeline, gap: Ints, length: Ints) -> None:
        self.p, self.nest, self.between = pipeline, pipeline.nest, pipeline.between
        self.names = list(pipeline.stalls)
        self.resources: dict[tuple[str, str], int] = {}
        self.routes = [(self._route(b, False), self._route(b, True)) for b in self.between]
        self.slots = [2 if overlaps(self.nest, b.child, b.tensor) else 1 for b in self.between]
        exists = pipeline.passes.exists
        self.number = np.where(exists, np.cumsum(exists).reshape(exists.shape) - 1, -1)
        self.n = int(exists.sum())
        columns = [gap[exists], length[exists]]
        early: list[tuple[int, _Op]] = []  # by the pass that needs them
        self.issues: dict[int, tuple[Ints, Ints, Ints]] = {}
        for k, b in enumerate(self.between):
            columns += self._sums(b) if b.tensor == pipeline.acc else self._operand(k, b, early)
        self.before = [op for _, op in sorted(early, key=lambda x: x[0])]
        table = np.stack(columns, axis=1)
        first, which = different_rows(table)
        self.classes = [self._class(row) for row in table[first].tolist()]
        grid: npt.NDArray[Any] = np.full(exists.shape, -1, np.int64)
        grid[exists] = which
        self.blocks: list[list[list[tuple[int, int]]]] = []
        while grid.ndim:
            flat = grid.reshape(-1, grid.shape[-1])
            first, ids = different_rows(flat)
            self.blocks.append(
                [
                    [(i, len(list(run))) for i, run in groupby(row) if i >= 0]
                    for row in flat[first].tolist()
                ]
            )
            empty: Bools = np.array([not runs for runs in self.blocks[-1]])
            grid = np.where(empty[ids], -1, ids).reshape(grid.shape[:-1])
        self.top = int(grid)
        self._known: dict[tuple[int, int, _PipelineState], _Stretch] = {}

    # -- transfers ---------------------------------------------------------------------------------

    def _route(self, b: Boundary, updates: bool) -> tuple[int, ...]:
        """Indices of the resources a boundary's transfers hold; a drain that ``updates`` reads at
        the parent too.
        """
        arch, acc = self.p.arch, b.tensor == self.p.acc
        at_parent, at_child = ACCESSES if not acc else ACCESSES[::-1]
        way = [
            port(arch, b.parent, at_parent),
            channel(arch, b.network, b.tensor, "up" if acc else "down"),
            port(arch, b.child, at_child),
        ]
        if acc and updates:
            way += [
                port(arch, b.parent, "read"),
                channel(arch, b.network, b.tensor, "down") if self.p.down_too() else None,
            ]
        keys = dict.fromkeys((r.name, r.part) for r in way if r is not None)
        return tuple([self.resources.setdefault(key, len(self.resources)) for key in keys])

    def _steps(self, b: Boundary) -> tuple[StepSettings, Ints, Ints]:
        """Steps of a boundary's child level, and the first and last pass of each that exists, both
        ``[steps]``.
        """
        outer = [i for i in self.p.outer if self.nest.loops[i].level < b.child]
        many = prod(self.nest.loops[i].trips for i in outer)
        number = self.number.reshape(many, -1)
        there = (number >= 0).any(axis=1)
        first = np.where(number >= 0, number, self.n).min(axis=1)[there]
        return StepSettings(self.nest, outer), first, number.max(axis=1)[there]

    def _durations(self, b: Boundary, settings: StepSettings) -> tuple[Ints, Ints, Ints]:
        """Cycles of each existing step's transfer (-1: none), which name is slowest, and whether
        its parent reads to add to; each ``[steps]``.
        """
        arch, moved, p = self.p.arch, settings.moves(b), self.p
        there = settings.exists
        loads: list[tuple[Resource, Any]] = []
        again: Any = np.zeros(settings.shape, np.int64)
        if b.tensor == p.acc:
            words = moved.rest + moved.last
            again = p.bits(b, p.share_updated(b, settings, words), b.parent)
            bits = p.bits(b, words, b.parent)
            outer, inner, net = (
                port(arch, b.parent, "write"),
                port(arch, b.child, "read"),
                channel(arch, b.network, b.tensor, "up"),
            )
            shared = arch.levels[arch.level_names[b.parent]].ports == "shared"
            loads += [(outer, bits + again if shared else np.maximum(bits, again))] if outer else []
            both = p.down_too() and net is not None and net.part == "all"
            loads += (
                [(net, bits + again if both else np.maximum(bits, again) if p.down_too() else bits)]
                if net
                else []
            )
            loads += [(inner, p.bits(b, words, b.child))] if inner else []
        else:
            words = moved.first + moved.rest
            outer, inner, net = (
                port(arch, b.parent, "read"),
                port(arch, b.child, "write"),
                channel(arch, b.network, b.tensor, "down"),
            )
            loads += [(r, p.bits(b, words, b.parent)) for r in (outer, net) if r]
            loads += [(inner, p.bits(b, moved.taken, b.child))] if inner else []
        name, most = _worst([{r: r.cycles(x)} for r, x in loads], settings.shape)
        cycles = np.where(words > 0, most + latency(arch, b.parent), -1)[there]
        index = {n: i for i, n in enumerate(self.names)} | {
            "": self.names.index(arch.level_names[b.parent])
        }
        return (
            cycles,
            np.array([index[n] for n in name[there]], np.int64),
            np.asarray((again > 0)[there], np.int64),
        )

    def _sums(self, b: Boundary) -> list[Ints]:
        """Columns, each ``[passes that exist]``: the drain that follows each pass, and whether a
        pass opens a tile whose slot must be free.
        """
        settings, first, last = self._steps(b)
        cycles, slowest, updates = self._durations(b, settings)
        goes, opens = np.full(self.n, -1, np.int64), np.zeros(self.n, np.int64)
        there = cycles >= 0
        goes[last[there]] = self._code(cycles, slowest, updates)[there]
        opens[first[1:][there[:-1]]] = 1
        return [goes, opens]

    def _operand(self, k: int, b: Boundary, early: list[tuple[int, _Op]]) -> list[Ints]:
        """Columns, each ``[passes that exist]``: up to two fills each pass's end sets going, and
        whether a pass needs a new one.

        A fill waits for the last pass of the step that had its slot, and for the parent's words.
        Where the parent's own fill is set going later, so is this one, and ``behind`` says which of
        the parent's fills brought the words.
        """
        settings, first, last = self._steps(b)
        cycles, slowest, _ = self._durations(b, settings)
        there = cycles >= 0
        s = self.slots[k]
        trigger = np.full(len(first), -1, np.int64)
        trigger[s:] = last[: max(len(last) - s, 0)]
        behind = np.zeros(len(first), np.int64)
        outside = next(
            (j for j, o in enumerate(self.between) if o.tensor == b.tensor and o.child == b.parent),
            None,
        )
        if outside is not None:
            theirs, fills, starts = self.issues[outside]
            mine = (
                np.searchsorted(starts, first, side="right") - 1
            )  # the parent's step around each step
            trigger = np.maximum(trigger, theirs[mine])
            latest = np.searchsorted(theirs, trigger, side="right") - 1
            count = np.concatenate([[0], np.cumsum(fills)])
            behind = np.minimum(count[latest + 1] - count[mine + 1], 2)
        self.issues[k] = (trigger, there.astype(np.int64), first)
        codes = self._code(cycles, slowest, behind)
        goes = np.full((2, self.n), -1, np.int64)
        for at in np.flatnonzero(there & (trigger < 0)):
            early.append((int(first[at]), self._op(k, int(codes[at]))))
        late = np.flatnonzero(there & (trigger >= 0))
        by = trigger[late]  # never falls
        second = np.concatenate([[False], by[1:] == by[:-1]])
        goes[second.astype(np.int64), by] = codes[late]
        fresh = np.zeros(self.n, np.int64)
        fresh[first[there]] = 1
        return [goes[0], goes[1], fresh]

    def _code(self, cycles: Ints, slowest: Ints, behind: Any) -> Ints:
        """A transfer as one number, so that equal passes are found by comparing rows of numbers."""
        return np.asarray((cycles * len(self.names) + slowest) * 3 + behind)

    def _op(self, k: int, code: int) -> _Op:
        """The transfer of a number."""
        rest, behind = divmod(code, 3)
        return _Op(k, *divmod(rest, len(self.names)), behind)

    def _class(self, row: list[int]) -> _Class:
        """From a row of the columns; drains go first, the innermost first, then fills in the nest's
        order.
        """
        gap, length, *rest = row
        at, fresh, opens = iter(rest), [], []
        drains: list[_Op] = []
        fills: list[_Op] = []
        for k, b in enumerate(self.between):
            if b.tensor == self.p.acc:
                code, new = next(at), next(at)
                drains += [self._op(k, code)] if code >= 0 else []
                opens += [k] if new else []
            else:
                codes, new = (next(at), next(at)), next(at)
                fills += [self._op(k, code) for code in codes if code >= 0]
                fresh += [k] if new else []
        fills.sort(
            key=lambda op: self.slots[op.at]
        )  # one slot: the very next step's, earlier in the nest
        return _Class(gap, length, tuple(fresh), tuple(opens), (*reversed(drains), *fills))

    # -- working through ---------------------------------------------------------------------------

    def run(self) -> tuple[int, dict[str, int]]:
        """The last completion, and what passes waited for."""
        none: tuple[tuple[int, ...], ...] = ((),) * len(self.between)
        free = (0,) * len(self.resources)
        start = _PipelineState(none, none, none, free)  # type: ignore[arg-type]
        ends, state = [0], self._carry(start, self.before, 0, [])
        done = (
            self._block(len(self.blocks) - 1, self.top, state)
            if self.blocks
            else self._pass(self.top, state)
        )
        return max(*ends, done.end), {self.names[i]: n for i, n in done.waits}

    def _carry(
        self, state: _PipelineState, ops: Sequence[_Op], now: int, ends: list[int]
    ) -> _PipelineState:
        """Transfers requested at ``now``, one after another where they share a resource; their
        completions are added to ``ends``.
        """
        pending, issued, drained, free = (
            list(state.pending),
            list(state.issued),
            list(state.drained),
            list(state.free),
        )
        came = now  # when the drain inside was complete
        for op in ops:
            b = self.between[op.at]
            route = self.routes[op.at][op.behind and b.tensor == self.p.acc]
            asked = now
            if b.tensor == self.p.acc:
                asked = max(now, came)
            elif b.parent:
                outside = next(
                    (
                        j
                        for j, o in enumerate(self.between)
                        if o.tensor == b.tensor and o.child == b.parent
                    ),
                    None,
                )
                if outside is not None and len(issued[outside]) > op.behind:
                    asked = max(now, issued[outside][-1 - op.behind])
            done = max([asked, *[free[r] for r in route]]) + op.cycles
            for r in route:
                free[r] = done
            if b.tensor == self.p.acc:
                drained[op.at] = (*drained[op.at], (done, op.slowest))[-2:]
                came = done
            else:
                pending[op.at] = (*pending[op.at], (done, op.slowest))
                issued[op.at] = (*issued[op.at], done)[-3:]
            ends.append(done)
        return _PipelineState(tuple(pending), tuple(issued), tuple(drained), tuple(free))

    def _pass(self, which: int, state: _PipelineState) -> _Stretch:
        """One pass: it starts when its fills are there and its tile of sums has room; the wait is
        charged to whatever came last, the outermost of equals.
        """
        c = self.classes[which]
        pending = list(state.pending)
        need: list[tuple[int, int, int]] = []  # (when, outermost first, charged to)
        for k in c.fresh:
            (when, name), *others = pending[k]
            pending[k] = tuple(others)
            need.append((when, -self.between[k].parent, name))
        for k in c.opens:
            if len(state.drained[k]) >= self.slots[k]:
                when, name = state.drained[k][-self.slots[k]]
                need.append((when, -self.between[k].parent, name))
        last = max(need, default=(0, 0, 0))
        start = max(0, last[0])
        end, free = start + c.length, start + c.gap
        ends = [end]
        after = self._carry(
            _PipelineState(tuple(pending), state.issued, state.drained, state.free),
            c.ops,
            end,
            ends,
        )
        waits = ((last[2], start),) if start else ()
        return _Stretch(_from(after, free), free, max(ends), waits)

    def _block(self, depth: int, which: int, state: _PipelineState) -> _Stretch:
        """A block of passes.  Once a repeated inner block leaves the state as it found it, all its
        further repetitions take as long.
        """
        key = (depth, which, state)
        if key in self._known:
            return self._known[key]
        moved, end = 0, 0
        waits: dict[int, int] = {}
        at = state
        for inner, times in self.blocks[depth][which]:
            left = times
            while left:
                done = self._block(depth - 1, inner, at) if depth else self._pass_known(inner, at)
                steady = left if done.state == at else 1
                for name, n in done.waits:
                    waits[name] = waits.get(name, 0) + n * steady
                end = max(end, moved + (steady - 1) * done.moved + done.end)
                moved, left, at = moved + steady * done.moved, left - steady, done.state
        stretch = self._known[key] = _Stretch(at, moved, end, tuple(sorted(waits.items())))
        return stretch

    def _pass_known(self, which: int, state: _PipelineState) -> _Stretch:
        key = (-1, which, state)
        if key not in self._known:
            self._known[key] = self._pass(which, state)
        return self._known[key]


def _from(state: _PipelineState, base: int) -> _PipelineState:
    """The same state seen from ``base``; what lies before it can no longer matter and counts as
    now.
    """

    def pairs(x: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple([(t - base, n) if t > base else (0, 0) for t, n in x])

    return _PipelineState(
        tuple([pairs(x) for x in state.pending]),
        tuple([tuple([max(t - base, 0) for t in x]) for x in state.issued]),
        tuple([pairs(x) for x in state.drained]),
        tuple([max(t - base, 0) for t in state.free]),
    )
