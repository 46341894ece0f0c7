"""A mapping bound to a problem and an architecture: what the engines read.

A nest is a skeleton and one row of tiles.  Loops of one trip are gone, so each loop makes two or
more, and every rule a mapping must keep has been checked (docs/design.md, sections 3 and 4.1 to
4.2).  ``simulate`` makes one of each layer's mapping and hands it to an engine.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, prod
from typing import Any

import numpy as np

from accelsim.base.display import Displayed
from accelsim.base.validation import expect
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.footprint import Footprint
from accelsim.mapping.mapping import Axis, Loop, Mapping, MappingError
from accelsim.mapping.skeleton import Boundary, Chain, Skeleton, TiledLoop
from accelsim.workload.problem import DIMS, TENSORS, Problem


@dataclass(frozen=True)
class Piece:
    """Ranges ``[lo, hi)`` of a chain's parts at given loop positions; of a fused chain also its
    ``chunk`` [first, end).  All are arrays in the shape of the positions, and so is ``exists``.
    """

    lo: dict[str, np.ndarray]
    hi: dict[str, np.ndarray]
    chunk: tuple[np.ndarray, np.ndarray] | None
    exists: np.ndarray


# Properties that hang on a nest's form alone, told once for all nests of it.
OF_FORM = "chains", "chain_of", "homes", "boundaries", "unfinished", "final", "turned"


class Nest(Displayed, Skeleton):
    """``Nest(problem, arch, mapping)``; raises MappingError naming the rule a mapping breaks."""

    loops: tuple[TiledLoop, ...]

    def __init__(self, problem: Problem, arch: Architecture, mapping: Mapping) -> None:
        expect("problem", problem, Problem)
        expect("arch", arch, Architecture)
        expect("mapping", mapping, Mapping)
        _check_names(arch, mapping)
        keep = tuple([frozenset(mapping.keep.get(n, ())) for n in arch.level_names])
        super().__init__(problem, arch, keep, _bind(problem, arch, mapping), mapping.fused)
        self.mapping = mapping
        self.share()
        self._check_fused()
        self._check_array()
        if overflow := self.footprint.overflow():
            raise MappingError(overflow)
        if "boundaries" not in self.form.same:
            self.form.same = {name: getattr(self, name) for name in OF_FORM}

    def __repr__(self) -> str:
        return f"<Nest on {self.arch.name}: {self.mapping}>"

    @property
    def footprint(self) -> Footprint:
        """Tiles, widths and occupancy of every level, without padding that is not stored."""
        return Footprint(self._unframed or self, *self.row)

    _unframed: Nest | None = None  # of a framed nest: the one it frames

    @cached_property
    def row(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tiles and trips [loops]."""
        return tuple([x.tile for x in self.loops]), tuple([x.trips for x in self.loops])

    def framed(self) -> Nest:
        """The same nest over an ifmap that has its padding as words; ``window`` says which rows and
        columns are real.
        """
        p = self.problem
        top, bottom, left, right = p.padding
        twin = copy.copy(self)
        twin.problem = replace(p, H=p.H + top + bottom, W=p.W + left + right, padding=(0, 0, 0, 0))
        twin.window = ((top, top + p.H), (left, left + p.W))
        twin._unframed = self
        twin._projections, twin._largest = {}, {}
        return twin

    def pieces(self, chain: Chain, index: Map[int, int | np.int64 | np.ndarray]) -> Piece:
        """Ranges at ``index`` (loop -> position array, broadcast); loops not in it are left whole.

        A position past the end of its range gives an empty piece, never a wrapped one.
        """
        lo: dict[str, Any] = {p: np.int64(0) for p in chain.parts}
        hi: dict[str, Any] = {p: np.int64(self.problem.size[p]) for p in chain.parts}
        chunk: list[Any] | None = None
        exists: Any = np.bool_(True)
        for i in chain.loops:
            if i not in index:
                continue
            loop = self.loops[i]
            at = np.asarray(index[i]) * loop.tile
            if loop.dim in lo:
                lo[loop.dim] = lo[loop.dim] + at
                hi[loop.dim] = np.minimum(hi[loop.dim], lo[loop.dim] + loop.tile)
                exists = exists & (lo[loop.dim] < hi[loop.dim])
            else:
                if chunk is None:
                    chunk = [np.int64(0), prod(np.maximum(hi[p] - lo[p], 0) for p in chain.parts)]
                chunk[0] = chunk[0] + at
                chunk[1] = np.minimum(chunk[1], chunk[0] + loop.tile)
                exists = exists & (chunk[0] < chunk[1])
        return Piece(lo, hi, None if chunk is None else (chunk[0], chunk[1]), np.asarray(exists))

    # -- rules -------------------------------------------------------------------------------------

    def _check_fused(self) -> None:
        """Under a fused loop an ifmap's words are (k, x) pairs, of which a level holds one."""
        for i, loop in enumerate(self.loops):
            if loop.dim in DIMS:
                continue
            for level in range(max(loop.level, self.home("ifmap")) + 1, self.levels):
                if "ifmap" in self.keep[level] and any(
                    x.level >= level and self.loop_depends(x, "ifmap") for x in self.loops[i + 1 :]
                ):
                    raise MappingError(
                        f"{loop.dim} is fused outside {self.arch.level_names[level]}, which keeps "
                        "an ifmap tile of more than one word; under a fused loop the ifmap has "
                        "one-word registers only"
                    )

    def _check_array(self) -> None:
        """The spatial loops find room, and a filter's rows are folded only where that is built."""
        array = self.arch.array
        for axis, have in (("row", array.rows), ("col", array.cols)):
            need = prod([x.trips for x in self.loops if x.axis == axis])
            if need > have:
                loops = " ".join(f"{x.dim}({x.trips})" for x in self.loops if x.axis == axis)
                raise MappingError(
                    f"array: {axis} loops {loops} need {need} {axis}s, {self.arch.name} has {have}"
                )
        if array.fold_filter:
            return
        filter_rows = [x for x in self.loops if x.dim == "R"]
        over = [x for x in filter_rows if x.spatial]
        if over and any(not x.spatial and x.level <= over[0].level for x in filter_rows):
            raise MappingError(
                f"array: the filter's R={self.problem.size['R']} rows do not fit "
                f"{prod(x.trips for x in over)} rows of PEs at once, "
                f"and {self.arch.name} does not fold filters (array.fold_filter)"
            )


def _check_names(arch: Architecture, mapping: Mapping) -> None:
    """Levels are the architecture's and in its order, and keep what they may."""
    names = arch.level_names
    last = 0
    for loop in mapping.loops:
        if loop.level not in names:
            raise MappingError(
                f"loop {loop}: no level {loop.level!r} in {arch.name} (levels: {', '.join(names)})"
            )
        if names.index(loop.level) < last:
            raise MappingError(
                f"loop {loop}: stands inside a loop of level {names[last]}; loops go from the "
                "outermost level in"
            )
        last = names.index(loop.level)
    for level, tensors in mapping.keep.items():
        if level not in names:
            raise MappingError(
                f"keep: no level {level!r} in {arch.name} (levels: {', '.join(names)})"
            )
        for t in tensors:
            if t not in arch.levels[level].keeps:
                allowed = ", ".join(arch.levels[level].keeps)
                raise MappingError(
                    f"keep.{level}: {arch.name}'s {level} may keep {allowed}, got {t}"
                )
    for tensor in TENSORS:
        _check_home(arch, mapping, tensor)


def _check_home(arch: Architecture, mapping: Mapping, tensor: str) -> None:
    """A tensor lies whole in the outermost level, or in one that is a single instance."""
    names = arch.level_names
    home = next((i for i, n in enumerate(names) if tensor in mapping.keep.get(n, ())), len(names))
    if home and home >= len(names) - 1:
        raise MappingError(
            f"keep.{names[0]}: keeps {tensor}, unless a level between it and {names[-1]} holds it "
            "whole"
        )
    if home and any(x.axis != "none" and names.index(x.level) < home for x in mapping.loops):
        raise MappingError(
            f"keep.{names[home]}: holds {tensor} whole, so no loop outside it may lie over rows or "
            "columns"
        )


def _bind(problem: Problem, arch: Architecture, mapping: Mapping) -> tuple[TiledLoop, ...]:
    """The loops that make more than one trip, and how many at most.  (``most_trips`` finds the
    same of tiles that are known to be legal.)
    """
    names, fused = arch.level_names, mapping.fused
    current = dict(problem.size)  # what enters the next loop of each dimension
    chunk: dict[str, int] = {}  # and of each fused dimension that has been looped
    loops: list[TiledLoop] = []
    for loop in mapping.loops:
        if loop.dim in DIMS:
            for name in chunk:
                if loop.dim in fused[name] and loop.tile < current[loop.dim]:
                    raise MappingError(
                        f"loop {loop}: {loop.dim} is part of {name}, which is looped outside it; "
                        "parts may be looped only outside"
                    )
            whole = current[loop.dim]
        elif loop.dim in chunk:
            whole = chunk[loop.dim]
        else:
            whole = prod([current[p] for p in fused[loop.dim]])
        trips = ceil(whole / loop.tile)
        if trips == 1:
            continue
        if loop.dim in DIMS:
            current[loop.dim] = loop.tile
        else:
            clash = [n for n in chunk if n != loop.dim and set(fused[n]) & set(fused[loop.dim])]
            if clash:
                raise MappingError(
                    f"loop {loop}: {loop.dim} and {clash[0]} fuse the same dimension"
                )
            chunk[loop.dim] = loop.tile
        loops.append(TiledLoop(loop.dim, names.index(loop.level), loop.axis, loop.tile, trips))
    _check_innermost(problem, current, chunk, fused)
    return tuple(loops)


def _check_innermost(
    problem: Problem,
    current: Map[str, int],
    chunk: Map[str, int],
    fused: Map[str, tuple[str, ...]],
) -> None:
    """Inside all loops stands one MAC."""
    fused_parts = {p for name in chunk for p in fused[name]}
    for dim in DIMS:
        if current[dim] != 1 and dim not in fused_parts:
            raise MappingError(
                f"{dim}: the innermost tile must be 1, one MAC's; got {current[dim]} of "
                f"{problem.size[dim]}"
            )
    for name, tile in chunk.items():
        if tile != 1:
            raise MappingError(f"{name}: the innermost tile must be 1, one MAC's; got {tile}")


__all__ = [
    "Axis",
    "Boundary",
    "Chain",
    "Loop",
    "Mapping",
    "MappingError",
    "Nest",
    "Piece",
    "TiledLoop",
]
