"""From dataflow to mapping by one fixed rule: one word everywhere, then each tile as large as is legal.

The dataflow's ``order``, ``space`` and ``pe`` give the loops of every level.  All tiles start at 1.
Then ``sizes`` is walked once: an entry ``M:col`` makes the range that enters that loop as large as the
array and every level's capacity allow (outer tiles of the same dimension grow along), ``M:buffer`` the
tile of every level between the outermost and the innermost, outermost first.  A tile short of the whole
dimension is rounded down to whole multiples of the tile inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.footprint import Footprint, Trip, depends
from accelsim.mapping.mapping import FUSED, Axis, Loop, Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import DIMS, TENSORS, Problem


@dataclass(frozen=True)
class _Slot:
    dim: str
    level: int
    axis: Axis
    place: str  # buffer, row, col or pe


def choose(problem: Problem, arch: Architecture, dataflow: Dataflow) -> Mapping:
    """The mapping the fixed rule gives.  Raises MappingError naming the constraint that leaves none."""
    keep = _keep(arch, dataflow)
    rule = _Rule(problem, arch, keep, _slots(arch, dataflow, keep))
    rule.check(dataflow)
    for entry in dataflow.sizes:
        dim, _, place = entry.partition(":")
        rule.grow(dim, place)
    mapping = rule.mapping()
    Nest(problem, arch, mapping)
    return mapping


def _keep(arch: Architecture, dataflow: Dataflow) -> tuple[frozenset[str], ...]:
    names = arch.level_names
    for t in dataflow.stays:
        if t not in arch.levels[names[-1]].keeps:
            can = ", ".join(arch.levels[names[-1]].keeps)
            raise MappingError(f"{dataflow.name} keeps {t} in the PE, but {arch.name}'s {names[-1]} may keep {can}")
    between = [frozenset(arch.levels[n].keeps) - set(dataflow.bypass) for n in names[1:-1]]
    return (frozenset(TENSORS), *between, frozenset(dataflow.stays))


def _slots(arch: Architecture, dataflow: Dataflow, keep: tuple[frozenset[str], ...]) -> list[_Slot]:
    last = len(arch.levels) - 1
    slots: list[_Slot] = []
    for level in range(last):
        fuse = all(
            "ifmap" not in keep[i] or (i == last and not any(depends(d, "ifmap", FUSED) for d in dataflow.pe))
            for i in range(level + 1, last + 1)
        )
        order = dataflow.order.inner if level == last - 1 else dataflow.order.outer
        slots += [_Slot(d, level, "none", "buffer") for d in _expand(order, fuse)]
        if level == last - 1:
            for entry in dataflow.space:
                dim, _, axis = entry.partition(":")
                slots += [_Slot(d, level, axis, axis) for d in _expand((dim,), fuse)]  # type: ignore[arg-type]
            slots += [_Slot(d, last, "none", "pe") for d in _expand(dataflow.pe, fuse)]
    return slots


def _expand(dims: tuple[str, ...], fuse: bool) -> list[str]:
    return list(dims) if fuse else [p for d in dims for p in FUSED.get(d, (d,))]


class _Rule:
    """Ranges entering every slot, grown one at a time; always a legal mapping."""

    def __init__(self, problem: Problem, arch: Architecture, keep: tuple[frozenset[str], ...], slots: list[_Slot]) -> None:
        self.problem, self.arch, self.keep, self.slots = problem, arch, keep, slots
        self.fused = {d: FUSED[d] for d in FUSED if any(s.dim == d for s in slots)}
        part_of = {p: d for d, parts in self.fused.items() for p in parts}
        # stages of a dimension: its slots in nest order, and for a part the entry into its fused dimension
        self.stages: dict[str, list[int]] = {}
        for d in (*DIMS, *self.fused):
            own = [i for i, s in enumerate(slots) if s.dim == d]
            if d in part_of:
                own.append(min(i for i, s in enumerate(slots) if s.dim == part_of[d]))
            if own:
                self.stages[d] = own
        # the range entering each stage but the first, which is the whole dimension
        self.ranges: dict[tuple[str, int], int] = {(d, i): 1 for d, own in self.stages.items() for i in own[1:]}

    def check(self, dataflow: Dataflow) -> None:
        """Refuse what no size can mend: a dimension never looped, or one word too many."""
        for d, n in self.problem.size.items():
            if n > 1 and d not in self.stages:
                raise MappingError(f"{dataflow.name} loops {d} nowhere, and the layer has {d}={n}")
        if why := self._illegal():
            raise MappingError(f"{dataflow.name} does not fit {self.arch.name} even with tiles of one word: {why}")

    def _entering(self, dim: str, stage: int) -> int:
        own = self.stages[dim]
        if stage != own[0]:
            return self.ranges[dim, stage]
        if dim in DIMS:
            return self.problem.size[dim]
        return prod(self._entering(p, self.stages[p][-1]) for p in self.fused[dim])

    def _leaving(self, dim: str, stage: int) -> int:
        own = self.stages[dim]
        following = own[own.index(stage) + 1 :]
        return min(self._entering(dim, following[0]), self._entering(dim, stage)) if following else 1

    def _loops(self) -> list[Trip]:
        loops = []
        for i, slot in enumerate(self.slots):
            tile = self._leaving(slot.dim, i)
            trips = ceil(self._entering(slot.dim, i) / tile)
            if trips > 1:
                loops.append(Trip(slot.dim, tile, slot.level, slot.axis, trips))
        return loops

    def _illegal(self) -> str | None:
        loops = self._loops()
        for axis, have in (("row", self.arch.array.rows), ("col", self.arch.array.cols)):
            need = prod(x.trips for x in loops if x.axis == axis)
            if need > have:
                return f"array: {need} {axis}s needed, {self.arch.name} has {have}"
        return Footprint(self.problem, self.arch, self.keep, loops, FUSED).overflow()

    def grow(self, dim: str, place: str) -> None:
        """Largest legal range entering ``dim`` at ``place``; parts innermost first where a fused dimension is not one."""
        if place != "buffer":
            names = (dim, *FUSED.get(dim, ()))
            for stage in reversed([i for i, s in enumerate(self.slots) if s.place == place and s.dim in names]):
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
            stage = self.stages[part][-1]
            others = prod(self._entering(p, self.stages[p][-1]) for p in self.fused[dim] if p != part)
            self._grow(part, stage, ceil(wanted / others))

    def _grow(self, dim: str, stage: int, limit: int | None = None) -> None:
        own = self.stages[dim]
        if stage == own[0]:
            return
        before = dict(self.ranges)
        outward = own[1 : own.index(stage) + 1]

        def legal(value: int) -> bool:
            self.ranges = before | {(dim, i): max(before[dim, i], value) for i in outward}
            return self._illegal() is None

        low, high = self.ranges[dim, stage], self._entering(dim, own[0])
        high = max(low, min(high, limit or high))
        if not legal(high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if legal(middle) else (low, middle)
            legal(self._whole(dim, stage, low, before))

    def _whole(self, dim: str, stage: int, value: int, before: dict[tuple[str, int], int]) -> int:
        """Round down to whole tiles of the loop inside, so that no level gets a sliver of a last piece."""
        own = self.stages[dim]
        inner = [before[dim, i] for i in own[own.index(stage) + 1 :]]
        return max(before[dim, stage], value - value % inner[0] if inner else value)

    def mapping(self) -> Mapping:
        names = self.arch.level_names
        loops = tuple(Loop(dim=x.dim, tile=x.tile, level=names[x.level], axis=x.axis) for x in self._loops())
        keep = {n: tuple(t for t in TENSORS if t in self.keep[i]) for i, n in enumerate(names)}
        return Mapping(loops=loops, keep=keep, fused=self.fused)


__all__ = ["choose"]
