"""What a feature map takes on the outermost link when every transfer is run-length coded, from its
real values (``EYERISS`` is that chip's code, JSSC'17).

The report on the Eyeriss chip asks for it; the counts of section 4 never do, since what depends on
values stands in columns of its own.  It is here, and not with the code's arithmetic in
``workload.coding``, because it needs the nest: code words do not cross from one transfer to the
next, so the tiles decide how many bits there are.  It is analytic and not the event engine's,
because it finds the tiles from the loops' ranges and carries nothing.

A transfer is what one fill takes or one drain lets go (section 4, rules 4 and 5); its words make
one stream in the order of the tensor's axes, a whole number of code words long.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapping.nest import Nest
from accelsim.workload.coding import Coded, RunLength
from accelsim.workload.problem import DIMS, RANKS
from accelsim.workload.sparsity import zero_share

Ints = npt.NDArray[np.int64]
Tile = tuple[Ints, ...]  # coordinates along each axis of the tensor; their product is the tile
FEATURE_MAPS = ("ifmap", "ofmap")
EYERISS = RunLength()


def coded(
    nest: Nest, tensor: str, values: npt.NDArray[Any], code: RunLength = EYERISS
) -> Coded | None:
    """Bits of a feature map over the outermost link, raw and coded, over the whole run.

    Equal transfers (the same coordinates again) are coded once.

    ``values`` of shape ``nest.problem.shape(tensor)``: what lies in the outermost level, an ofmap
    as the next layer reads it. None where nothing is coded: what stays on the chip, sums that
    arrive more than once, and words that go past all buffers into the PEs, one by one. Raises
    ValueError for a tensor that is no feature map, or values of another shape.
    """
    problem = nest.problem
    if tensor not in FEATURE_MAPS:
        raise ValueError(f"feature maps are coded ({', '.join(FEATURE_MAPS)}), got {tensor}")
    if values.shape != problem.shape(tensor):
        raise ValueError(f"{tensor} must have shape {problem.shape(tensor)}, got {values.shape}")
    boundary = next(b for b in nest.boundaries if b.tensor == tensor)
    loops = [x for x in nest.loops if x.level < boundary.child]
    if (
        boundary.parent
        or boundary.child == nest.levels
        or any(x.spatial or x.dim not in DIMS for x in loops)
    ):
        return None
    words = bits = 0
    known: dict[bytes, tuple[int, int]] = {}
    for parts in transfers(nest, tensor, boundary.child):
        key = b"|".join(axis.tobytes() for part in parts for axis in part)
        if key not in known:
            stream = _stream(values, parts)
            known[key] = stream.size, code.bits(stream)
        words, bits = words + known[key][0], bits + known[key][1]
    if tensor == problem.accumulated and words > values.size:
        return None
    width = getattr(nest.arch.bits, tensor)
    return Coded(words * width, bits, zero_share(values))


def transfers(nest: Nest, tensor: str, child: int) -> Iterator[list[Tile]]:
    """The words of every transfer over the outermost boundary, in order, as disjoint boxes; fills,
    or drains of the accumulated tensor.

    For temporal loops over plain dimensions above ``child``.
    """
    previous: Tile | None = None
    drains = tensor == nest.problem.accumulated
    for tile in _tiles(nest, tensor, child):
        if drains and previous is not None:
            yield from ([p] if (p := _minus(previous, tile)) else [])
        elif not drains:
            yield from ([p] if (p := _minus(tile, previous)) else [])
        previous = tile
    if drains and previous is not None:
        yield [previous]


def _stream(values: npt.NDArray[Any], parts: list[Tile]) -> npt.NDArray[Any]:
    """The values of disjoint boxes in the order of the tensor's axes: one box as an array of the
    tensor's axes, several as ``[words]``.
    """
    if len(parts) == 1:
        return np.asarray(values[np.ix_(*parts[0])])
    flat = [np.ravel_multi_index(np.ix_(*part), values.shape).reshape(-1) for part in parts]
    return np.asarray(values.reshape(-1)[np.sort(np.concatenate(flat))])


def _tiles(nest: Nest, tensor: str, child: int) -> Iterator[Tile]:
    """The child's tile of each step; a step that leaves it as it was is left out."""
    outer = [i for i, x in enumerate(nest.loops) if x.level < child]
    memo: dict[tuple[Any, ...], dict[str, tuple[int, int]] | None] = {}
    axes: dict[tuple[Any, ...], Ints] = {}
    last: tuple[Any, ...] | None = None
    for setting in product(*(range(nest.loops[i].trips) for i in outer)):
        at = dict(zip(outer, setting, strict=True))
        ranges: dict[str, tuple[int, int]] = {}
        for chain in nest.chains:
            key = (chain.name, *(at[i] for i in chain.loops if i in at))
            if key not in memo:
                piece = nest.pieces(chain, {i: at[i] for i in chain.loops if i in at})
                memo[key] = (
                    {p: (int(piece.lo[p]), int(piece.hi[p])) for p in chain.parts}
                    if bool(piece.exists)
                    else None
                )
            if (held := memo[key]) is None:
                break
            ranges |= held
        else:
            keys = tuple((rank, tuple(ranges[d] for d in rank)) for rank in RANKS[tensor])
            if keys != last:
                last = keys
                for k in keys:
                    if k not in axes:
                        axes[k] = _axis(nest, *k)
                yield tuple(axes[k] for k in keys)


def _axis(nest: Nest, rank: tuple[str, ...], ranges: tuple[tuple[int, int], ...]) -> Ints:
    """Coordinates a rank's ranges touch, sorted ``[coordinates]``, real ones only: gaps of a stride
    are left out, as section 4 leaves them out of a tile.
    """
    if len(rank) == 1:
        return np.arange(*ranges[0])
    slide = nest.problem.slide(rank)
    out, tap = (np.arange(*r) for r in ranges)
    touched = np.unique(slide.stride * out[:, None] + slide.dilation * tap - slide.pad)
    return touched[(touched >= 0) & (touched < slide.size)]


def _minus(tile: Tile, other: Tile | None) -> list[Tile]:
    """A tile's words that are not in another, as disjoint boxes: along each axis in turn what is
    new there, then what is common.
    """
    if other is None:
        return [tile] if all(len(a) for a in tile) else []
    boxes, common = [], list(tile)
    for i, (mine, theirs) in enumerate(zip(tile, other, strict=True)):
        new = np.setdiff1d(mine, theirs, assume_unique=True)
        if len(new):
            boxes.append((*common[:i], new, *tile[i + 1 :]))
        common[i] = np.intersect1d(mine, theirs, assume_unique=True)
    return [box for box in boxes if all(len(a) for a in box)]
