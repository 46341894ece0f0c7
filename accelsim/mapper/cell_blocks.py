"""The cells of a skeleton: which choices of each family share one model.

Loops over the array of systolic lines, and fused loops, change what is counted by being there at
all; and sums are final at a level, and narrower, where no loop outside leaves them unfinished.  The
choices of a family fall into kinds by both; a cell is one kind of every family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from accelsim.mapper.space import TileRows
from accelsim.mapping.mapping import FUSED
from accelsim.mapping.skeleton import Chain, OpenLoop, Skeleton

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TileBlock:
    """A cell's share of a skeleton: which rows of each family are in it."""

    there: tuple[int, ...]
    final: tuple[bool, ...]
    picks: tuple[Ints, ...]


def every_block(skeleton: Skeleton) -> list[TileBlock]:
    """The cells of a skeleton whatever its tiles: every loop may have one trip or more.  Rows are
    of no use.
    """
    trips = [
        np.array(list(product((1, 2), repeat=len(f.loops))), np.int64).reshape(-1, len(f.loops))
        for f in skeleton.families
    ]
    return blocks(skeleton, [TileRows(t, t, 0, 0) for t in trips])


def blocks(skeleton: Skeleton, listed: Sequence[TileRows]) -> list[TileBlock]:
    """The cells of a skeleton that have a mapping, by what the families' loops of one trip
    leave.
    """
    signatures = [
        _signatures(skeleton, f, r) for f, r in zip(skeleton.families, listed, strict=True)
    ]
    cells = []
    for combo in product(*signatures):
        there = tuple(
            sorted(set(range(len(skeleton.loops))) - {s for absent, _, _ in combo for s in absent})
        )
        final = tuple(all(flags[i] for _, flags, _ in combo) for i in range(len(skeleton.keep)))
        cells.append(TileBlock(there, final, tuple(index for _, _, index in combo)))
    return cells


def _signatures(
    skeleton: Skeleton, family: Chain, listed: TileRows
) -> list[tuple[frozenset[int], tuple[bool, ...], Ints]]:
    """For each kind of a family's choices: the loops that are not there, being of one trip
    (positions in the skeleton); by level whether the family lets sums be final; its rows [choices].

    A kind is a number: one bit for each of these flags.
    """
    arch = skeleton.arch
    loops = [skeleton.loops[i] for i in family.loops]
    lines = any(
        n.streamed == "systolic" or n.held == "systolic" or n.accumulated == "systolic"
        for n in arch.networks.values()
    )
    absent = _absent(loops, listed.trips, lines)
    final = [np.ones(len(listed.trips), bool) for _ in skeleton.keep]
    if arch.bits.psum != getattr(arch.bits, skeleton.problem.accumulated):
        for level, unfinished in enumerate(skeleton.unfinished):
            for i, loop in enumerate(family.loops):
                if loop in unfinished:
                    final[level] &= listed.trips[:, i] == 1
    code = np.zeros(len(listed.trips), np.int64)
    for flag in (*absent, *final):
        code = code * 2 + flag
    n, bits = len(loops), len(absent) + len(final)
    kinds = []
    for c in np.flatnonzero(np.bincount(code)):
        u = [bool(c >> i & 1) for i in reversed(range(bits))]
        kinds.append(
            (
                frozenset(family.loops[i] for i in range(n) if u[i]),
                tuple(u[n:]),
                np.flatnonzero(code == c),
            )
        )
    return kinds


def _absent(loops: Sequence[OpenLoop], trips: Ints, lines: bool) -> list[Bools]:
    """For each loop, of which choices [choices] it is left out.

    A loop of one trip changes no count, so it may stay as one; but over the array of systolic lines
    it would tell where a word travels, and a fused one that words are pairs, unless another fused
    loop says so too.
    """
    absent = []
    fused = [i for i, x in enumerate(loops) if x.dim in FUSED]
    for i, x in enumerate(loops):
        alone = trips[:, i] == 1
        if x.spatial and lines:
            absent.append(alone)
        elif i in fused:
            absent.append((trips[:, fused] == 1).all(axis=1))
        else:
            absent.append(np.zeros(len(alone), bool))
    return absent


__all__ = ["TileBlock", "blocks", "every_block"]
