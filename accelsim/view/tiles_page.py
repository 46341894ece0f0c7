"""Who holds what, who reads it, how often: one row per boundary of a nest, small enough to check by
hand.

Totals are the analytic engine's.  All else is worked out here from the loops: a tile is largest where every loop
outside it stands at its first piece, an instance or a step exists if its piece is not empty, and dimensions are
independent, so that counts of instances and steps multiply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, nan, prod
from typing import TYPE_CHECKING

import numpy as np

from accelsim.engines.analytic import closed_form as analytic
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import RANKS

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = {"words", "steps", "taken", "read", "drained", "arrived", "updated", "reuse"}
KEY = (
    ("held in", "a level's instances, or MACs, with work at the first step, the fullest"),
    (
        "tile",
        "the largest, words along each dimension; no gaps, padding only where it is stored; what is not named is 1",
    ),
    ("steps", "settings of the loops outside the holder, all its instances in lockstep"),
    ("taken, read", "words the holders take in; words read to serve them, once for all who share"),
    ("drained, arrived", "sums the holders let go; what arrives after additions on the way"),
    ("updated", "sums that arrived at a word with a sum in it, which is read and added to"),
    ("reuse", "words the MACs take (sums they make) per word read (arrived) here"),
)


@dataclass(frozen=True)
class Holding:
    """One boundary: the child that holds a tile, and the parent that serves it."""

    boundary: Boundary
    copies: int  # child instances with work at the first step
    readers: int  # parent instances, likewise
    extents: dict[
        str, int
    ]  # largest tile along h, w and the tensor's other dimensions; a fused one counts as one
    steps: int  # settings of the temporal loops outside the child that some instance takes
    moved: Moved
    reuse: float  # words the MACs take (or make) per word the parent reads (or receives)

    @property
    def words(self) -> int:
        """Words of the largest tile."""
        return prod(self.extents.values())

    @property
    def tile(self) -> str:
        return ", ".join(f"{name} {n}" for name, n in self.extents.items() if n != 1) or "1"


def holdings(nest: Nest) -> list[Holding]:
    """Every boundary, tensor by tensor, outermost first."""
    moves = analytic.run(nest)
    found = []
    for b, moved in moves.items():
        mac = next(m for x, m in moves.items() if x.tensor == b.tensor and x.child == nest.levels)
        here, there = (
            (mac.drained, moved.arrived)
            if b.tensor == nest.problem.accumulated
            else (mac.taken, moved.read)
        )
        copies, readers = (_count(nest, level, spatial=True) for level in (b.child, b.parent))
        steps = _count(nest, b.child, spatial=False)
        found.append(
            Holding(
                b, copies, readers, _extents(nest, b), steps, moved, here / there if there else nan
            )
        )
    return found


def tiles_frame(nest: Nest) -> pd.DataFrame:
    """One row per boundary; counts a boundary's tensor does not have are missing.

    ``along`` is the axis a systolic line runs along: its PEs share a word.  ``additions`` are those
    of the network.
    """
    import pandas as pd

    names = (*nest.arch.level_names, "MAC")
    rows = []
    for x in holdings(nest):
        b, m = x.boundary, x.moved
        one: dict[str, object] = {
            "tensor": b.tensor,
            "parent": names[b.parent],
            "child": names[b.child],
            "network": b.network,
        }
        one |= {
            "kind": b.kind,
            "along": _line(b),
            "parents": x.readers,
            "copies": x.copies,
            "tile": x.tile,
            "words": x.words,
        }
        one |= {"steps": x.steps}
        if b.tensor == nest.problem.accumulated:
            one |= {
                "drained": m.drained,
                "arrived": m.arrived,
                "updated": m.updated,
                "additions": m.drained - m.arrived,
            }
        else:
            one |= {"taken": m.taken, "read": m.read}
        rows.append(one | {"reuse": x.reuse})
    head = [
        "tensor",
        "parent",
        "child",
        "network",
        "kind",
        "along",
        "parents",
        "copies",
        "tile",
        "words",
        "steps",
    ]
    counts = ["taken", "read", "drained", "arrived", "updated", "additions"]
    frame = pd.DataFrame(rows, columns=[*head, *counts, "reuse"])
    return frame.astype(dict.fromkeys(counts, "Int64"))


def tiles(nest: Nest, *, key: bool = True) -> str:
    """The table as text: the operands, the accumulated tensor, and (``key``) what the columns
    mean.
    """
    names = (*nest.arch.level_names, "MAC")
    operands, sums = [], []
    for x in holdings(nest):
        b, m = x.boundary, x.moved
        who = [
            b.tensor,
            _several(names[b.child], x.copies),
            x.tile,
            _number(x.words),
            _several(names[b.parent], x.readers),
        ]
        how = [
            b.network or "-",
            f"{b.kind} along a {_line(b)}" if _line(b) else b.kind,
            _number(x.steps),
        ]
        if b.tensor == nest.problem.accumulated:
            sums.append(
                [*who, *how, *map(_number, (m.drained, m.arrived, m.updated)), _ratio(x.reuse)]
            )
        else:
            operands.append([*who, *how, *map(_number, (m.taken, m.read)), _ratio(x.reuse)])
    head, how = ["tensor", "held in", "tile", "words"], ["over", "kind", "steps"]
    fused = sorted({x.dim for x in nest.loops if x.dim in nest.mapping.fused})
    return "\n".join(
        [
            *_table([*head, "read from", *how, "taken", "read", "reuse"], operands),
            "",
            *_table([*head, "sent to", *how, "drained", "arrived", "updated", "reuse"], sums),
            *(["", *_columns(KEY)] if key else []),
            *(
                f"{f.lower()} runs over {', '.join(p.lower() for p in nest.mapping.fused[f])}"
                for f in fused
            ),
        ]
    )


# -- arithmetic ------------------------------------------------------------------------------------


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
    found: dict[str, int] = {}
    for rank in RANKS[b.tensor]:
        chain = nest.chain_of[rank[0]]
        piece = nest.pieces(chain, {i: 0 for i in chain.loops if nest.loops[i].level < b.child})
        if len(rank) == 2:
            found["h" if rank[0] == "E" else "w"] = _slide(nest, b, rank)
        elif piece.chunk is not None:
            found[chain.name.lower()] = int(piece.chunk[1] - piece.chunk[0])
        else:
            found[rank[0].lower()] = int(piece.hi[rank[0]] - piece.lo[rank[0]])
    return found


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


# -- text ------------------------------------------------------------------------------------------


def _line(b: Boundary) -> str:
    """The axis a systolic line runs along; nothing for other kinds."""
    across: dict[tuple[str, ...], str] = {("row",): "col", ("col",): "row"}
    return across.get(b.merged, "") if b.kind == "systolic" else ""


def _number(value: float) -> str:
    return f"{value:,}".replace(",", " ")


def _ratio(value: float) -> str:
    return "-" if isnan(value) else _number(round(float(value), 1))


def _several(name: str, count: int) -> str:
    return name if count == 1 else f"{name} x {_number(count)}"


def _columns(pairs: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(a) for a, _ in pairs)
    return [f"{a.ljust(width)}  {b}" for a, b in pairs]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be, numbers to the right, a line below the head."""
    every = [head, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]
    right = {i for i, name in enumerate(head) if name in NUMBERS}
    lines = [
        "  ".join(
            c.rjust(w) if i in right else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in every
    ]
    return [line.rstrip() for line in (lines[0], "  ".join("-" * w for w in widths), *lines[1:])]
