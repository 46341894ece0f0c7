"""Who holds what, who reads it, how often: every boundary of a nest as data.

``pages.tiles_page`` prints it, ``tiles_frame`` gives it to Python.

Totals are the analytic engine's.  All else is worked out here from the loops: a tile is largest
where every loop outside it stands at its first piece, an instance or a step exists if its piece is
not empty, and dimensions are independent, so that counts of instances and steps multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, prod
from typing import TYPE_CHECKING

import numpy as np

from accelsim.engines import analytic
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import RANKS

if TYPE_CHECKING:
    import pandas as pd

_PLACE = ("tensor", "parent", "child", "network", "kind", "along")
_SIZES = ("parents", "copies", "tile", "words", "steps")
_COUNTS = ("taken", "read", "drained", "arrived", "updated", "additions")


@dataclass(frozen=True)
class Holding:
    """One boundary: the child that holds a tile, and the parent that serves it.

    ``copies`` and ``readers`` are instances of child and parent with work at the first step.
    ``extents`` is the largest tile in words along h, w and the tensor's other dimensions, a fused
    one counting as one.  ``steps`` are the settings of the temporal loops outside the child that
    some instance takes.  ``reuse`` is how many words the MACs take (or make) per word that the
    parent reads (or receives); NaN where it reads none.
    """

    boundary: Boundary
    copies: int
    readers: int
    extents: dict[str, int]
    steps: int
    moved: Moved
    reuse: float

    @property
    def words(self) -> int:
        """Words of the largest tile."""
        return prod(self.extents.values())

    @property
    def tile(self) -> str:
        """The largest tile in text, extents of 1 left out: ``m 4, c 3``."""
        return ", ".join(f"{name} {n}" for name, n in self.extents.items() if n != 1) or "1"


def holdings(nest: Nest) -> list[Holding]:
    """Every boundary, tensor by tensor, outermost first."""
    moves = analytic.moves(nest)
    at_macs = {b.tensor: moved for b, moved in moves.items() if b.child == nest.levels}
    return [
        Holding(
            boundary=b,
            copies=_count(nest, b.child, spatial=True),
            readers=_count(nest, b.parent, spatial=True),
            extents=_extents(nest, b),
            steps=_count(nest, b.child, spatial=False),
            moved=moved,
            reuse=_reuse(moved, at_macs[b.tensor], b.tensor == nest.problem.accumulated),
        )
        for b, moved in moves.items()
    ]


def _reuse(moved: Moved, at_macs: Moved, accumulated: bool) -> float:
    here = at_macs.drained if accumulated else at_macs.taken
    there = moved.arrived if accumulated else moved.read
    return here / there if there else nan


def tiles_frame(nest: Nest) -> pd.DataFrame:
    """One row per boundary; counts a boundary's tensor does not have are missing.

    ``along`` is the axis a systolic line runs along: its PEs share a word.  ``additions`` are those
    of the network.
    """
    import pandas as pd

    rows = [_record(nest, holding) for holding in holdings(nest)]
    frame = pd.DataFrame(rows, columns=[*_PLACE, *_SIZES, *_COUNTS, "reuse"])
    return frame.astype(dict.fromkeys(_COUNTS, "Int64"))


def _record(nest: Nest, holding: Holding) -> dict[str, object]:
    """A row of ``tiles_frame``."""
    names = (*nest.arch.level_names, "MAC")
    boundary, moved = holding.boundary, holding.moved
    counts: dict[str, object] = {"taken": moved.taken, "read": moved.read}
    if boundary.tensor == nest.problem.accumulated:
        counts = {
            "drained": moved.drained,
            "arrived": moved.arrived,
            "updated": moved.updated,
            "additions": moved.drained - moved.arrived,
        }
    return {
        "tensor": boundary.tensor,
        "parent": names[boundary.parent],
        "child": names[boundary.child],
        "network": boundary.network,
        "kind": boundary.kind,
        "along": line_axis(boundary),
        "parents": holding.readers,
        "copies": holding.copies,
        "tile": holding.tile,
        "words": holding.words,
        "steps": holding.steps,
        **counts,
        "reuse": holding.reuse,
    }


def line_axis(boundary: Boundary) -> str:
    """The axis a systolic line runs along; nothing for other kinds."""
    across: dict[tuple[str, ...], str] = {("row",): "col", ("col",): "row"}
    return across.get(boundary.merged, "") if boundary.kind == "systolic" else ""


def _count(nest: Nest, level: int, *, spatial: bool) -> int:
    """Instances of a level at its first step, or steps of its first instance: no other has more."""
    count = 1
    for chain in nest.chains:
        loops = [i for i in chain.loops if nest.loops[i].level < level]
        free = [i for i in loops if nest.loops[i].spatial == spatial]
        shape = [nest.loops[i].trips for i in free]
        grid = np.indices(shape, np.int64).reshape(len(shape), prod(shape))
        index = dict.fromkeys(loops, np.int64(0)) | dict(zip(free, grid, strict=True))
        count *= int(np.broadcast_to(nest.pieces(chain, index).exists, prod(shape)).sum())
    return count


def _extents(nest: Nest, b: Boundary) -> dict[str, int]:
    """Words of the largest tile along each dimension of the tensor."""
    if nest.projection(b.tensor, b.child).pairs:
        return {}
    extents: dict[str, int] = {}
    for rank in RANKS[b.tensor]:
        chain = nest.chain_of[rank[0]]
        piece = nest.pieces(chain, {i: 0 for i in chain.loops if nest.loops[i].level < b.child})
        if len(rank) == 2:
            extents["h" if rank[0] == "E" else "w"] = _slide(nest, b, rank)
        elif piece.chunk is not None:
            extents[chain.name.lower()] = int(piece.chunk[1] - piece.chunk[0])
        else:
            extents[rank[0].lower()] = int(piece.hi[rank[0]] - piece.lo[rank[0]])
    return extents


def _slide(nest: Nest, b: Boundary, rank: tuple[str, ...]) -> int:
    """Most coordinates stride * output + dilation * tap - pad of one tile, all real: padding counts
    only where it is stored.
    """
    slide = nest.projection(b.tensor, b.child).slide(rank)
    outputs, taps = (_pieces(nest, b.child, dim) for dim in rank)
    most = 0
    for first, stop in outputs:
        for tap, end in taps:
            at = np.unique(
                slide.stride * np.arange(first, stop)[:, None]
                + slide.dilation * np.arange(tap, end)
                - slide.pad
            )
            most = max(most, int(((at >= 0) & (at < slide.size)).sum()))
    return most


def _pieces(nest: Nest, level: int, dim: str) -> set[tuple[int, int]]:
    """All ranges a dimension is cut to outside a level."""
    chain = nest.chain_of[dim]
    loops = [i for i in chain.loops if nest.loops[i].level < level and nest.loops[i].dim == dim]
    grid = np.indices([nest.loops[i].trips for i in loops], np.int64)
    piece = nest.pieces(chain, dict(zip(loops, grid, strict=True)))
    return {
        (int(a), int(z))
        for a, z in zip(np.ravel(piece.lo[dim]), np.ravel(piece.hi[dim]), strict=True)
        if a < z
    }
