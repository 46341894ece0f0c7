"""From dataflow to mapping by one fixed rule: one word everywhere, then each tile as large as is
legal.

The dataflow's ``order``, ``space`` and ``pe`` give the loops of every level: the skeleton.  All
tiles start at 1.  Then ``sizes`` is walked once: an entry ``M:col`` makes the range that enters
that loop as large as the array and every level's capacity allow (outer tiles of the same dimension
grow along), ``M:buffer`` the tile of every level between the outermost and the innermost, outermost
first.  A tile short of the whole dimension is rounded down to whole multiples of the tile inside
it.

``RuleFrame`` is that walk; ``choose`` takes it with whole numbers, for one architecture, and says
why a layer has no mapping; ``rule_many.choose_many`` with arrays over many architectures.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.validation import expect
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.footprint import Footprint
from accelsim.mapping.mapping import FUSED, Axis, Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Keep, OpenLoop, Skeleton, depends
from accelsim.workload.problem import DIMS, TENSORS, Problem


def choose(
    problem: Problem, arch: Architecture, dataflow: Dataflow, resident: frozenset[str] = frozenset()
) -> Mapping:
    """The mapping the fixed rule gives.  Raises MappingError naming the constraint that leaves
    none.

    ``resident`` tensors lie whole in the first level inside the outermost that may keep them, and
    never leave it.
    """
    expect("problem", problem, Problem)
    expect("arch", arch, Architecture)
    expect("dataflow", dataflow, Dataflow)
    expect("resident", resident, frozenset)
    rule = ruled(problem, arch, dataflow, resident)
    mapping = rule.skeleton.mapping_with_trips(rule.tiles, rule.trips)
    Nest(problem, arch, mapping)
    return mapping


def ruled(
    problem: Problem, arch: Architecture, dataflow: Dataflow, resident: frozenset[str] = frozenset()
) -> RuleFrame:
    """The rule when it has been walked, for whoever wants its tiles and trips and not a mapping.

    Raises MappingError as ``choose`` does, but for what only a nest can tell.
    """
    rule = _Rule(rule_skeleton(problem, arch, dataflow, resident))
    rule.check(dataflow)
    rule.walk(dataflow)
    return rule


def rule_skeleton(
    problem: Problem, arch: Architecture, dataflow: Dataflow, resident: frozenset[str] = frozenset()
) -> Skeleton:
    """A dataflow's loops at every level, over rows and columns and in the PEs, and what is kept.

    Raises MappingError where the dataflow keeps what the architecture cannot.
    """
    keep = kept(arch, dataflow, resident)
    skeleton = Skeleton(problem, arch, keep, _loops(arch, dataflow, keep)).share()
    if not skeleton.form.same:
        skeleton.form.same = {name: getattr(skeleton, name) for name in OF_RULE}
    return skeleton


def kept(arch: Architecture, dataflow: Dataflow, resident: frozenset[str] = frozenset()) -> Keep:
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
            f"{missing} has no level between {names[0]} and {names[-1]} to lie in whole under "
            f"{dataflow.name}"
        )
    return (frozenset(TENSORS) - resident, *between, frozenset(dataflow.stays))


def refuse_unkept(dataflow: Dataflow, arch: Architecture, key: str) -> None:
    """Raises InputError, about the argument ``key``, for a dataflow that keeps in the PEs what the
    architecture cannot: before a search or a sweep begins.
    """
    try:
        kept(arch, dataflow)
    except MappingError as error:
        raise InputError(str(error), key=key, got=dataflow.short) from None


def _loops(arch: Architecture, dataflow: Dataflow, keep: Keep) -> list[OpenLoop]:
    """The loops, outermost first; a fused name stands for its parts where it would not be legal."""
    last = len(arch.levels) - 1
    loops: list[OpenLoop] = []

    def add(dims: tuple[str, ...], level: int, axis: Axis, fuse: bool) -> None:
        names = dims if fuse else [p for d in dims for p in FUSED.get(d, (d,))]
        loops.extend([OpenLoop(d, level, axis) for d in names])

    for level in range(last):
        fuse = _may_fuse(dataflow, keep, level)
        inner = level == last - 1
        add(dataflow.order.inner if inner else dataflow.order.outer, level, "none", fuse)
        if inner:
            for entry in dataflow.space:
                dim, _, axis = entry.partition(":")
                add((dim,), level, "row" if axis == "row" else "col", fuse)
            add(dataflow.pe, last, "none", fuse)
    return loops


def _may_fuse(dataflow: Dataflow, keep: Keep, level: int) -> bool:
    """Whether loops of a level may be fused: no level inside it then keeps more than a word of the
    ifmap, unless all of it lies there.
    """
    last = len(keep) - 1
    in_pe = any(depends(d, "ifmap", FUSED) for d in dataflow.pe)
    return all(
        "ifmap" not in keep[i]
        or not any("ifmap" in k for k in keep[:i])
        or (i == last and not in_pe)
        for i in range(level + 1, last + 1)
    )


OF_RULE = "chains", "chain_of", "homes", "unfinished"  # what the rule asks a skeleton for


class RuleFrame:
    """The walk of the rule over a skeleton's loops, with numbers or with arrays over architectures.

    A dimension has *stages*: its loops in nest order, and for a part of a fused dimension last the
    entry into that.  ``ranges[dim][k]`` is what enters stage k: into the first of a plain dimension
    all of it, into a fused one what its parts leave.  ``tiles`` and ``trips`` [loops] follow from
    the ranges.  ``least`` is ``min`` or ``np.minimum``.
    """

    def __init__(self, skeleton: Skeleton, least: Callable[..., Any], one: Any) -> None:
        self.skeleton, self.least = skeleton, least
        loops, size = skeleton.loops, skeleton.problem.size
        self.stages: dict[str, list[int]] = {}
        for i, x in enumerate(loops):
            self.stages.setdefault(x.dim, []).append(i)
        self.fused = {d: parts for d, parts in FUSED.items() if d in self.stages}
        self.part_of = {p: d for d, parts in self.fused.items() for p in parts}
        for p, d in self.part_of.items():
            self.stages.setdefault(p, []).append(self.stages[d][0])
        self.ranges: dict[str, list[Any]] = {
            d: [size[d] * one if d in DIMS else one, *[one] * (len(stages) - 1)]
            for d, stages in self.stages.items()
        }
        self.axes = {
            axis: [i for i, x in enumerate(loops) if x.axis == axis] for axis in ("row", "col")
        }
        self.tiles: list[Any] = [one] * len(loops)
        self.trips: list[Any] = [one] * len(loops)
        for d in self.stages:
            self.cut(d)

    def walk(self, dataflow: Dataflow) -> None:
        """Grow tiles in the dataflow's order."""
        for entry in dataflow.sizes:
            dim, _, place = entry.partition(":")
            if place == "buffer":
                self._fill_buffers(dim)
            else:
                self._fill_place(dim, place)

    def _fill_buffers(self, dim: str) -> None:
        for level in range(1, self.skeleton.levels - 1):
            for d in (dim, *reversed(FUSED.get(dim, ()))):
                inward = [
                    i for i in self.stages.get(d, ()) if self.skeleton.loops[i].level >= level
                ]
                if inward:
                    self.grow(d, inward[0])

    def _fill_place(self, dim: str, place: str) -> None:
        """Loops over an axis or in the PE; parts innermost first where a fused dimension is not
        one.
        """
        names = (dim, *FUSED.get(dim, ()))
        last = self.skeleton.levels - 1
        for stage, x in reversed(list(enumerate(self.skeleton.loops))):
            if x.dim in names and (x.level == last if place == "pe" else x.axis == place):
                if place != "pe":
                    self._feed(x.dim, self.have(place))
                self.grow(x.dim, stage)

    def _feed(self, dim: str, wanted: Any) -> None:
        """Grow the parts of a fused dimension, innermost first, just enough to fill an axis."""
        for part in reversed(self.fused.get(dim, ())):
            others = prod([self.ranges[p][-1] for p in self.fused[dim] if p != part])
            self.grow(part, self.stages[part][-1], -(-wanted // others))

    def cut(self, dim: str) -> None:
        """The loops of a dimension by its ranges, and what follows from them of the fused one it is
        part of.
        """
        ranges, stages = self.ranges[dim], self.stages[dim]
        own = len(stages) - (dim in self.part_of)  # the last stage of a part is another's loop
        for k in range(own):
            leaving = ranges[k + 1] if k + 1 < len(ranges) else 1
            i = stages[k]
            tile = self.tiles[i] = self.least(leaving, ranges[k])
            self.trips[i] = -(-ranges[k] // tile)
        if (whole := self.part_of.get(dim)) is not None:
            self.ranges[whole][0] = prod([self.ranges[p][-1] for p in self.fused[whole]])
            self.cut(whole)

    def enter(self, dim: str, at: int, before: list[Any], value: Any) -> None:
        """Let a range enter stage ``at``, and no less any stage outside it."""
        most = self.most
        self.ranges[dim][1 : at + 1] = [most(r, value) for r in before[1 : at + 1]]
        self.cut(dim)

    def rows_needed(self, axis: str) -> Any:
        """Rows or columns that the loops over an axis lie over."""
        return prod([self.trips[i] for i in self.axes[axis]])

    # what numbers and arrays do each in their own way

    @staticmethod
    def most(a: Any, b: Any) -> Any:
        raise NotImplementedError

    def have(self, axis: str) -> Any:
        """Rows or columns there are."""
        raise NotImplementedError

    def grow(self, dim: str, stage: int, limit: Any = None) -> None:
        """Make the range entering a stage the largest legal one, at most ``limit``."""
        raise NotImplementedError


class _Rule(RuleFrame):
    """The rule for one architecture; always a legal mapping, once ``check`` has passed."""

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__(skeleton, min, 1)

    @staticmethod
    def most(a: int, b: int) -> int:
        return a if a > b else b

    def have(self, axis: str) -> int:
        array = self.skeleton.arch.array
        return array.rows if axis == "row" else array.cols

    def check(self, dataflow: Dataflow) -> None:
        """Refuse what no size can mend: a dimension never looped, or one word too many.

        Where all sums lie at a level and only whole ones fit, all that is added up is taken inside
        it to begin with.
        """
        problem = self.skeleton.problem
        for d, n in problem.size.items():
            if n > 1 and d not in self.stages:
                raise MappingError(f"{dataflow.name} loops {d} nowhere, and the layer has {d}={n}")
        why = self._illegal()
        if why and problem.accumulated not in self.skeleton.keep[0] and self._sum_inside():
            return
        if why:
            raise MappingError(
                f"{dataflow.name} does not fit {self.skeleton.arch.name} even with tiles of one "
                f"word: {why}"
            )

    def _sum_inside(self) -> bool:
        """Take all of the dimensions that are added up inside; if that is not legal leave them."""
        acc = self.skeleton.problem.accumulated
        before = {d: list(ranges) for d, ranges in self.ranges.items()}
        for d in DIMS:
            if d in self.stages and not depends(d, acc, FUSED):
                self.ranges[d] = [before[d][0]] * len(before[d])
                self.cut(d)
        if not self._illegal():
            return True
        for d, ranges in before.items():
            self.ranges[d] = ranges
            self.cut(d)
        return False

    def _illegal(self) -> str | None:
        """Why the tiles are not legal, or None."""
        for axis in self.axes:
            need, have = self.rows_needed(axis), self.have(axis)
            if need > have:
                return f"array: {need} {axis}s needed, {self.skeleton.arch.name} has {have}"
        return Footprint(self.skeleton, self.tiles, self.trips).overflow()

    def _room(self, dim: str, at: int) -> int:
        """The largest range at a stage whose trips find room on their axis; the whole where they
        are not alone in changing.  Only to try less: ``_illegal`` decides.
        """
        ranges, stage = self.ranges[dim], self.stages[dim][at]
        x = self.skeleton.loops[stage]
        if not x.spatial or x.dim != dim or dim in self.part_of:
            return int(ranges[0])
        others = [i for i in self.axes[x.axis] if i != stage]
        if any(self.skeleton.loops[i].dim == dim for i in others):
            return int(ranges[0])
        least = ranges[at + 1] if at + 1 < len(ranges) else 1
        return int(least * (self.have(x.axis) // prod([self.trips[i] for i in others])))

    def grow(self, dim: str, stage: int, limit: int | None = None) -> None:
        """By halving: a larger range is never legal where a smaller is not."""
        at = self.stages[dim].index(stage)
        if not at:
            return
        before = list(self.ranges[dim])
        most = self._room(dim, at)

        def legal(value: int) -> bool:
            if value > most:
                return False
            self.enter(dim, at, before, value)
            return self._illegal() is None

        low, high = before[at], before[0]
        high = max(low, min(high, limit or high))
        if high > low and not legal(high):  # what is there already is legal
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if legal(middle) else (low, middle)
            # whole tiles of the loop inside, so that no level gets a sliver of a last piece
            inner = before[at + 1] if at + 1 < len(before) else 1
            self.enter(dim, at, before, max(before[at], low - low % inner))


__all__ = ["RuleFrame", "choose", "kept", "rule_skeleton", "ruled"]
