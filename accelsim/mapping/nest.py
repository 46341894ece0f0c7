"""A mapping bound to a problem and an architecture: what the engines read.

Loops of one trip are gone, dimensions are grouped into independent chains, boundaries are known, and
every rule a mapping must keep has been checked.  (DESIGN sections 3 and 4.1 to 4.2.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import ceil, prod
from typing import Any

import numpy as np

from accelsim.base.display import Displayed
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.footprint import Footprint, Trip, depends, pair_words
from accelsim.mapping.mapping import Axis, Loop, Mapping, MappingError
from accelsim.workload.problem import DEPENDS, DIMS, TENSORS, Problem


@dataclass(frozen=True)
class Chain:
    """The loops over one dimension, or over a fused one and its parts: independent of all other
    chains.
    """

    name: str
    parts: tuple[str, ...]
    fused: bool
    loops: tuple[int, ...]  # positions in Nest.loops, nest order

    def depends(self, tensor: str) -> bool:
        return any(p in DEPENDS[tensor] for p in self.parts)


@dataclass(frozen=True)
class Piece:
    """Ranges ``[lo, hi)`` of a chain's parts at given loop positions; of a fused chain also its
    chunk.
    """

    lo: dict[str, np.ndarray]
    hi: dict[str, np.ndarray]
    chunk: tuple[np.ndarray, np.ndarray] | None
    exists: np.ndarray


@dataclass(frozen=True)
class Boundary:
    """Two consecutive keepers of a tensor; child ``== levels`` is the MAC."""

    tensor: str
    parent: int
    child: int
    network: str | None
    kind: str
    merged: tuple[str, ...]  # axes along which children of one parent share a word

    def __str__(self) -> str:
        return f"{self.tensor} {self.parent}>{self.child}"


class Nest(Displayed):
    """``Nest(problem, arch, mapping)``; raises MappingError naming the rule a mapping breaks."""

    def __init__(self, problem: Problem, arch: Architecture, mapping: Mapping) -> None:
        self.problem, self.arch, self.mapping = problem, arch, mapping
        self.levels = len(arch.levels)
        self._check_names()
        self.keep = tuple(frozenset(mapping.keep.get(n, ())) for n in arch.level_names)
        self.loops, self._chain_loops = self._bind()
        self._check_fused()
        self._check_array()
        if problem_with := self.footprint.overflow():
            raise MappingError(problem_with)
        _ = self.boundaries

    # -- binding -----------------------------------------------------------------------------------

    def _check_names(self) -> None:
        names = self.arch.level_names
        last = 0
        for loop in self.mapping.loops:
            if loop.level not in names:
                raise MappingError(
                    f"loop {loop}: no level {loop.level!r} in {self.arch.name} (levels: {', '.join(names)})"
                )
            if names.index(loop.level) < last:
                raise MappingError(
                    f"loop {loop}: stands inside a loop of level {names[last]}; loops go from the outermost level in"
                )
            last = names.index(loop.level)
        for level, tensors in self.mapping.keep.items():
            if level not in names:
                raise MappingError(
                    f"keep: no level {level!r} in {self.arch.name} (levels: {', '.join(names)})"
                )
            for t in tensors:
                if t not in self.arch.levels[level].keeps:
                    allowed = ", ".join(self.arch.levels[level].keeps)
                    raise MappingError(
                        f"keep.{level}: {self.arch.name}'s {level} may keep {allowed}, got {t}"
                    )
        for tensor in TENSORS:
            home = next(
                (i for i, n in enumerate(names) if tensor in self.mapping.keep.get(n, ())),
                len(names),
            )
            if home and home >= len(names) - 1:
                raise MappingError(
                    f"keep.{names[0]}: keeps {tensor}, unless a level between it and {names[-1]} holds it whole"
                )
            if home and any(
                x.axis != "none" and names.index(x.level) < home for x in self.mapping.loops
            ):
                raise MappingError(
                    f"keep.{names[home]}: holds {tensor} whole, so no loop outside it may lie over rows or columns"
                )

    def _bind(self) -> tuple[tuple[Trip, ...], dict[str, list[int]]]:
        """Drop loops of one trip and find the most trips of the others."""
        names, fused = self.arch.level_names, self.mapping.fused
        current = dict(self.problem.size)
        chunk: dict[str, int] = {}
        loops: list[Trip] = []
        members: dict[str, list[int]] = {}
        for loop in self.mapping.loops:
            if loop.dim in DIMS:
                for name in chunk:
                    if loop.dim in fused[name] and loop.tile < current[loop.dim]:
                        raise MappingError(
                            f"loop {loop}: {loop.dim} is part of {name}, which is looped outside it; parts may be looped only outside"
                        )
                whole = current[loop.dim]
            else:
                whole = (
                    chunk[loop.dim]
                    if loop.dim in chunk
                    else prod([current[p] for p in fused[loop.dim]])
                )
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
            members.setdefault(loop.dim, []).append(len(loops))
            loops.append(Trip(loop.dim, loop.tile, names.index(loop.level), loop.axis, trips))
        fused_parts = {p for name, tile in chunk.items() for p in fused[name]}
        for dim in DIMS:
            if current[dim] != 1 and dim not in fused_parts:
                raise MappingError(
                    f"{dim}: the innermost tile must be 1, one MAC's; got {current[dim]} of {self.problem.size[dim]}"
                )
        for name, tile in chunk.items():
            if tile != 1:
                raise MappingError(f"{name}: the innermost tile must be 1, one MAC's; got {tile}")
        return tuple(loops), members

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """One chain per plain dimension, one per fused dimension in use."""
        used = {loop.dim for loop in self.loops} - set(DIMS)
        fused = {p: name for name in used for p in self.mapping.fused[name]}
        chains = []
        for dim in DIMS:
            if dim not in fused:
                chains.append(Chain(dim, (dim,), False, tuple(self._chain_loops.get(dim, ()))))
        for name in sorted(used):
            parts = self.mapping.fused[name]
            loops = sorted(i for d in (*parts, name) for i in self._chain_loops.get(d, ()))
            chains.append(Chain(name, parts, True, tuple(loops)))
        return tuple(chains)

    @cached_property
    def chain_of(self) -> dict[str, Chain]:
        """The chain that cuts each dimension."""
        return {p: c for c in self.chains for p in c.parts}

    def pieces(self, chain: Chain, index: Map[int, Any]) -> Piece:
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

    # -- stored padding ----------------------------------------------------------------------------

    window: tuple[tuple[int, int], tuple[int, int]] | None = (
        None  # of a framed nest: the real rows and columns of its ifmap
    )

    def stored(self, tensor: str, level: int) -> bool:
        """Whether padding zeros are words of a tensor at a level (``levels`` is the MAC): of an
        operand ifmap only.
        """
        return (
            tensor == "ifmap"
            and self.problem.accumulated != "ifmap"
            and self.arch.stores_padding(level)
        )

    def crosses_padding(self, b: Boundary) -> bool:
        """Whether the children of a boundary hold padding zeros that their parent has not."""
        return self.stored(b.tensor, b.child) and not self.stored(b.tensor, b.parent)

    def framed(self) -> Nest:
        """The same nest over an ifmap that has its padding as words; ``window`` says which rows and
        columns are real.
        """
        p = self.problem
        top, bottom, left, right = p.padding
        twin = copy.copy(self)
        twin.problem = replace(p, H=p.H + top + bottom, W=p.W + left + right, padding=(0, 0, 0, 0))
        twin.window = ((top, top + p.H), (left, left + p.W))
        return twin

    # -- boundaries --------------------------------------------------------------------------------

    def keepers(self, tensor: str) -> list[int]:
        """Levels that keep a tensor, outermost first."""
        return [i for i in range(self.levels) if tensor in self.keep[i]]

    def home(self, tensor: str) -> int:
        """The outermost level that keeps a tensor: all of it, from before the first step until
        after the last.
        """
        return self.keepers(tensor)[0]

    @cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Every boundary, tensor by tensor, outermost first; the last of each tensor is its
        MAC's.
        """
        found = []
        for tensor in TENSORS:
            chain = [*self.keepers(tensor), self.levels]
            found += [self._boundary(tensor, p, c) for p, c in pairwise(chain)]
        return tuple(found)

    def _boundary(self, tensor: str, parent: int, child: int) -> Boundary:
        last = self.levels - 1
        below = child - 1 if child <= last else last if parent == last else max(last - 1, 0)
        name, net = self.arch.network_below(below)
        if tensor == self.problem.accumulated:
            kind: str = net.accumulated
        else:
            kind = net.held if tensor in self.keep[last] else net.streamed
        return Boundary(
            tensor, parent, child, name, kind, self._merged(tensor, parent, child, kind)
        )

    def _merged(self, tensor: str, parent: int, child: int, kind: str) -> tuple[str, ...]:
        if kind in ("multicast", "reduce", "chain", "neighbour"):
            return ("row", "col")
        if kind in ("unicast", "preload"):
            return ()
        across: dict[str, bool] = {}  # axis with loops -> does the tensor depend on them
        for loop in self.loops:
            if loop.spatial and parent <= loop.level < child:
                across[loop.axis] = across.get(loop.axis, False) or self.loop_depends(loop, tensor)
        free = [a for a in ("col", "row") if not across.get(a, False)]
        if not free and tensor != self.problem.accumulated:
            raise MappingError(
                f"{tensor} is streamed over systolic lines but depends on the loops of both rows and columns; it has no line to travel"
            )
        with_loops = [a for a in free if a in across]
        return tuple((with_loops or free)[:1])

    def loop_depends(self, loop: Trip, tensor: str) -> bool:
        return depends(loop.dim, tensor, self.mapping.fused)

    def pairs(self, tensor: str, child: int) -> bool:
        """Whether the tensor's words at a child are (k, x) pairs: an ifmap under a fused loop."""
        return child > self.home(tensor) and pair_words(self.loops, tensor, child)

    @cached_property
    def turned(self) -> bool:
        """Whether sums travel along the rows of a systolic array that holds an operand: rows and
        columns then change roles (DESIGN 5).
        """
        acc, held = self.problem.accumulated, self.keep[self.levels - 1]
        if not self.arch.systolic or acc in held:
            return False
        streamed = [t for t in self.problem.operands if t not in held]

        def free(tensor: str, axis: str) -> bool:
            return not any(x.axis == axis and self.loop_depends(x, tensor) for x in self.loops)

        natural = free(acc, "row") and all(free(t, "col") for t in streamed)
        return not natural and free(acc, "col") and all(free(t, "row") for t in streamed)

    # -- rules -------------------------------------------------------------------------------------

    def _check_fused(self) -> None:
        for i, loop in enumerate(self.loops):
            if loop.dim in DIMS:
                continue
            for level in range(max(loop.level, self.home("ifmap")) + 1, self.levels):
                if "ifmap" in self.keep[level] and any(
                    x.level >= level and self.loop_depends(x, "ifmap") for x in self.loops[i + 1 :]
                ):
                    raise MappingError(
                        f"{loop.dim} is fused outside {self.arch.level_names[level]}, which keeps an ifmap tile of more than one "
                        f"word; under a fused loop the ifmap has one-word registers only"
                    )

    def _check_array(self) -> None:
        array = self.arch.array
        for axis, have in (("row", array.rows), ("col", array.cols)):
            need = prod(x.trips for x in self.loops if x.axis == axis)
            if need > have:
                loops = " ".join(f"{x.dim}({x.trips})" for x in self.loops if x.axis == axis)
                raise MappingError(
                    f"array: {axis} loops {loops} need {need} {axis}s, {self.arch.name} has {have}"
                )

        over_rows = [x for x in self.loops if x.dim == "R" and x.spatial]
        if (
            over_rows
            and not array.fold_filter
            and any(
                x.dim == "R" and not x.spatial and x.level <= over_rows[0].level for x in self.loops
            )
        ):
            raise MappingError(
                f"array: the filter's R={self.problem.size['R']} rows do not fit {prod(x.trips for x in over_rows)} rows of PEs at once, "
                f"and {self.arch.name} does not fold filters (array.fold_filter)"
            )

    @cached_property
    def footprint(self) -> Footprint:
        """Tiles, widths and occupancy of every level."""
        return Footprint(self.problem, self.arch, self.keep, self.loops, self.mapping.fused)


__all__ = ["Axis", "Boundary", "Chain", "Loop", "Mapping", "MappingError", "Nest", "Piece", "Trip"]
