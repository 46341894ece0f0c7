"""From dataflow to mapping by one fixed rule: one word everywhere, then each tile as large as is
legal.

The dataflow's ``order``, ``space`` and ``pe`` give the loops of every level.  All tiles start at 1.
Then ``sizes`` is walked once: an entry ``M:col`` makes the range that enters that loop as large as the
array and every level's capacity allow (outer tiles of the same dimension grow along), ``M:buffer`` the
tile of every level between the outermost and the innermost, outermost first.  A tile short of the whole
dimension is rounded down to whole multiples of the tile inside it.
"""

from __future__ import annotations

from math import ceil, prod
from typing import NamedTuple

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.footprint import Footprint, Trip, depends
from accelsim.mapping.mapping import FUSED, Axis, Loop, Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import DIMS, TENSORS, Problem


class RuleSlot(NamedTuple):
    dim: str
    level: int
    axis: Axis
    place: str  # buffer, row, col or pe


def choose(
    problem: Problem, arch: Architecture, dataflow: Dataflow, resident: frozenset[str] = frozenset()
) -> Mapping:
    """The mapping the fixed rule gives.  Raises MappingError naming the constraint that leaves
    none.

    ``resident`` tensors lie whole in the first level inside the outermost that may keep them, and
    never leave it.
    """
    keep = kept(arch, dataflow, resident)
    rule = _Rule(problem, arch, keep, slots_of(arch, dataflow, keep))
    rule.check(dataflow)
    for entry in dataflow.sizes:
        dim, _, place = entry.partition(":")
        rule.grow(dim, place)
    mapping = rule.mapping()
    Nest(problem, arch, mapping)
    return mapping


def kept(
    arch: Architecture, dataflow: Dataflow, resident: frozenset[str] = frozenset()
) -> tuple[frozenset[str], ...]:
    """What each level keeps, outermost first; ``resident`` tensors not the outermost."""
    names = arch.level_names
    for t in dataflow.stays:
        if t not in arch.levels[names[-1]].keeps:
            can = ", ".join(arch.levels[names[-1]].keeps)
            raise MappingError(
                f"{dataflow.name} keeps {t} in the PE, but {arch.name}'s {names[-1]} may keep {can}"
            )
    between = [frozenset(arch.levels[n].keeps) - set(dataflow.bypass) for n in names[1:-1]]
    for missing in sorted(resident - frozenset().union(*between)):
        raise MappingError(
            f"{missing} has no level between {names[0]} and {names[-1]} to lie in whole under {dataflow.name}"
        )
    return (frozenset(TENSORS) - resident, *between, frozenset(dataflow.stays))


def slots_of(
    arch: Architecture, dataflow: Dataflow, keep: tuple[frozenset[str], ...]
) -> list[RuleSlot]:
    last = len(arch.levels) - 1
    slots: list[RuleSlot] = []
    for level in range(last):
        fuse = all(
            "ifmap" not in keep[i]
            or not any("ifmap" in k for k in keep[:i])  # all of it lies there
            or (i == last and not any(depends(d, "ifmap", FUSED) for d in dataflow.pe))
            for i in range(level + 1, last + 1)
        )
        order = dataflow.order.inner if level == last - 1 else dataflow.order.outer
        slots += [RuleSlot(d, level, "none", "buffer") for d in _expand(order, fuse)]
        if level == last - 1:
            for entry in dataflow.space:
                dim, _, axis = entry.partition(":")
                slots += [RuleSlot(d, level, axis, axis) for d in _expand((dim,), fuse)]  # type: ignore[arg-type]
            slots += [RuleSlot(d, last, "none", "pe") for d in _expand(dataflow.pe, fuse)]
    return slots


def _expand(dims: tuple[str, ...], fuse: bool) -> list[str]:
    return list(dims) if fuse else [p for d in dims for p in FUSED.get(d, (d,))]


class _Rule:
    """Ranges entering every slot, grown one at a time; always a legal mapping."""

    def __init__(
        self,
        problem: Problem,
        arch: Architecture,
        keep: tuple[frozenset[str], ...],
        slots: list[RuleSlot],
    ) -> None:
        self.problem, self.arch, self.keep, self.slots = problem, arch, keep, slots
        # stages of a dimension: its slots in nest order, and for a part the entry into its fused
        # dimension
        self.stages: dict[str, list[int]] = {}
        for i, s in enumerate(slots):
            self.stages.setdefault(s.dim, []).append(i)
        self.fused = {d: parts for d, parts in FUSED.items() if d in self.stages}
        self.part_of = {p: d for d, parts in self.fused.items() for p in parts}
        for p, d in self.part_of.items():
            self.stages.setdefault(p, []).append(self.stages[d][0])
        # the range entering each stage of a dimension: into the first the whole of it, of a fused
        # one as much as its parts leave
        self.ranges = {
            d: [problem.size[d] if d in DIMS else 1, *[1] * (len(own) - 1)]
            for d, own in self.stages.items()
        }
        self.own = {
            d: [(k, i, slots[i]) for k, i in enumerate(own) if slots[i].dim == d]
            for d, own in self.stages.items()
        }
        array = (("row", arch.array.rows), ("col", arch.array.cols))
        self.axes = [
            (axis, have, [i for i, s in enumerate(slots) if s.axis == axis]) for axis, have in array
        ]
        self.loops: list[Trip | None] = [None] * len(
            slots
        )  # of every slot, where it makes more than one trip
        self.footprint = Footprint(problem, arch, keep, (), FUSED)
        for d in self.stages:
            self._cut(d)

    def check(self, dataflow: Dataflow) -> None:
        """Refuse what no size can mend: a dimension never looped, or one word too many.

        Where all sums lie at a level and only whole ones fit, all that is added up is taken inside
        it to begin with.
        """
        for d, n in self.problem.size.items():
            if n > 1 and d not in self.stages:
                raise MappingError(f"{dataflow.name} loops {d} nowhere, and the layer has {d}={n}")
        why = self._illegal()
        if why and self.problem.accumulated not in self.keep[0]:
            before = {d: list(ranges) for d, ranges in self.ranges.items()}
            for d in (
                d
                for d in DIMS
                if d in self.stages and not depends(d, self.problem.accumulated, FUSED)
            ):
                self.ranges[d] = [before[d][0]] * len(before[d])
                self._cut(d)
            if self._illegal():
                for d, ranges in before.items():
                    self.ranges[d] = ranges
                    self._cut(d)
            else:
                why = None
        if why:
            raise MappingError(
                f"{dataflow.name} does not fit {self.arch.name} even with tiles of one word: {why}"
            )

    def _cut(self, dim: str) -> None:
        """The loops of a dimension by its ranges, and what follows from them of the fused one it is
        part of.
        """
        ranges = self.ranges[dim]
        leaving = [*ranges[1:], 1]
        for k, i, slot in self.own[dim]:
            entering = ranges[k]
            tile = min(leaving[k], entering)
            trips = -(-entering // tile)
            self.loops[i] = Trip(dim, tile, slot.level, slot.axis, trips) if trips > 1 else None
        if (whole := self.part_of.get(dim)) is not None:
            self.ranges[whole][0] = prod(self.ranges[p][-1] for p in self.fused[whole])
            self._cut(whole)

    def _illegal(self) -> str | None:
        loops = self.loops
        for axis, have, slots in self.axes:
            need = 1
            for i in slots:
                if (x := loops[i]) is not None:
                    need *= x.trips
            if need > have:
                return f"array: {need} {axis}s needed, {self.arch.name} has {have}"
        return self.footprint.under([x for x in loops if x is not None]).overflow()

    def grow(self, dim: str, place: str) -> None:
        """Largest legal range entering ``dim`` at ``place``; parts innermost first where a fused
        dimension is not one.
        """
        if place != "buffer":
            names = (dim, *FUSED.get(dim, ()))
            for stage in reversed(
                [i for i, s in enumerate(self.slots) if s.place == place and s.dim in names]
            ):
                if place != "pe":
                    self._feed(self.slots[stage].dim, getattr(self.arch.array, f"{place}s"))
                self._grow(self.slots[stage].dim, stage)
            return
        for level in range(1, len(self.arch.levels) - 1):
            for d in (dim, *reversed(FUSED.get(dim, ()))):
                inward = [i for i in self.stages.get(d, ()) if self.slots[i].level >= level]
                if inward:
                    self._grow(d, inward[0])

    def _feed(self, dim: str, wanted: int) -> None:
        """Grow the parts of a fused dimension, innermost first, just enough to fill an axis."""
        for part in reversed(self.fused.get(dim, ())):
            others = prod(self.ranges[p][-1] for p in self.fused[dim] if p != part)
            self._grow(part, self.stages[part][-1], ceil(wanted / others))

    def _room(self, dim: str, at: int) -> int:
        """The largest range at a stage whose trips find room on their axis; the whole where they
        are not alone in changing.
        """
        stage, ranges = self.stages[dim][at], self.ranges[dim]
        slot = self.slots[stage]
        for axis, have, slots in self.axes:
            if slot.axis == axis and slot.dim == dim and dim not in self.part_of:
                others = [i for i in slots if i != stage]
                if not any(self.slots[i].dim == dim for i in others):
                    least = ranges[at + 1] if at + 1 < len(ranges) else 1
                    return least * (
                        have // prod([x.trips for i in others if (x := self.loops[i]) is not None])
                    )
        return ranges[0]

    def _grow(self, dim: str, stage: int, limit: int | None = None) -> None:
        at = self.stages[dim].index(stage)
        if not at:
            return
        ranges = self.ranges[dim]
        before = list(ranges)

        def enter(value: int) -> None:
            ranges[1 : at + 1] = [r if r > value else value for r in before[1 : at + 1]]
            self._cut(dim)

        most = self._room(dim, at)

        def legal(value: int) -> bool:
            if value > most:
                return False
            enter(value)
            return self._illegal() is None

        low, high = before[at], before[0]
        high = max(low, min(high, limit or high))
        if high > low and not legal(high):  # what is there already is legal
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if legal(middle) else (low, middle)
            # whole tiles of the loop inside, so that no level gets a sliver of a last piece
            inner = before[at + 1] if at + 1 < len(before) else 1
            enter(max(before[at], low - low % inner))

    def mapping(self) -> Mapping:
        names = self.arch.level_names
        loops = tuple(
            Loop(dim=x.dim, tile=x.tile, level=names[x.level], axis=x.axis)
            for x in self.loops
            if x is not None
        )
        keep = {n: tuple(t for t in TENSORS if t in self.keep[i]) for i, n in enumerate(names)}
        return Mapping(loops=loops, keep=keep, fused=self.fused)


__all__ = ["choose"]
