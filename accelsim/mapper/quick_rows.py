"""The tiles that the quick search chooses among, family by family.

``space.rows`` lists a space that is defined without the machine: divisors, even tiles, all.  Its
divisors leave an array half empty where a range has few of them (7 x 7 outputs over 32 rows).  So
the quick search takes every divisor and, of a range that enters loops over the array, those that
fill it: as much as there are rows or columns, and the even share of the fewest trips.  Where a
dimension has nothing inside the array's loops every even tile that fits is taken.

``quick_rows`` is asked once for a layer and the sides of an array, and works on all choices of the
loops so far together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.mapper.space import divisors, fits_array
from accelsim.mapping.skeleton import Chain, OpenLoop, Skeleton, most_trips

Ints = npt.NDArray[np.int64]


def quick_rows(skeleton: Skeleton, family: Chain, more: Ints | None = None) -> tuple[Ints, Ints]:
    """Tiles and trips of a family's choices that the array has room for, both [choices, loops of
    the family], in a fixed order; those of ``more``, of the same shape, come last.
    """
    loops = [skeleton.loops[i] for i in family.loops]
    tiles = _listed(skeleton, family, loops)
    if more is not None:
        both = np.concatenate([tiles, more])
        _, first = np.unique(both, axis=0, return_index=True)
        tiles = both[np.sort(first)]
    trips = np.stack(most_trips(skeleton, family, list(tiles.T), np.minimum), axis=1)
    fits = fits_array(skeleton, loops, trips)
    return tiles[fits], trips[fits]


def _listed(skeleton: Skeleton, family: Chain, loops: Sequence[OpenLoop]) -> Ints:
    """Every choice, loop by loop from the outside in: ``ranges`` has what enters the next loop over
    each dimension, of all choices so far [choices].
    """
    size, name = skeleton.problem.size, family.name
    ranges: dict[str, Ints] = {p: np.array([size[p]], np.int64) for p in family.parts}
    columns: list[Ints] = []
    for at, x in enumerate(loops):
        if x.dim not in ranges:
            ranges[x.dim] = np.asarray(prod([ranges[p] for p in family.parts]))
        entering = ranges[x.dim]
        ends = x.dim == name and not any(y.dim == name for y in loops[at + 1 :])
        if ends:
            columns.append(np.ones_like(entering))
            continue
        room, alone = _run(skeleton, loops, at)
        kinds, which = np.unique(entering, return_inverse=True)
        choices = [np.array(_options(int(k), room, alone), np.int64) for k in kinds]
        many = np.array([len(c) for c in choices])[which]
        back = np.repeat(np.arange(len(entering)), many)
        tile = np.concatenate([choices[k] for k in which])
        columns = [*(c[back] for c in columns), tile]
        ranges = {d: r[back] for d, r in ranges.items()}
        ranges[x.dim] = tile
    return np.stack(columns, axis=1)


def _run(skeleton: Skeleton, loops: Sequence[OpenLoop], at: int) -> tuple[int, bool]:
    """How many PEs the loops over the array just inside a loop may lie over, 0 if there are none;
    and whether nothing of the dimension is inside them.
    """
    array, dim = skeleton.arch.array, loops[at].dim
    inside = [x for x in loops[at + 1 :] if x.dim == dim]
    many = 0
    while many < len(inside) and inside[many].spatial:
        many += 1
    sides = [array.rows if x.axis == "row" else array.cols for x in inside[:many]]
    return (prod(sides) if sides else 0), many == len(inside)


@lru_cache(maxsize=1 << 14)
def _options(entering: int, room: int, alone: bool) -> tuple[int, ...]:
    """Tiles a range is cut to, rising, where loops over ``room`` PEs follow."""
    tiles = set(divisors(entering))
    if room:
        tiles |= {min(entering, room), -(-entering // -(-entering // room))}
        if alone and room <= 256:
            most = min(room, entering)
            tiles |= {t for t in range(1, most + 1) if t == -(-entering // -(-entering // t))}
    return tuple(sorted(tiles))


__all__ = ["quick_rows"]
