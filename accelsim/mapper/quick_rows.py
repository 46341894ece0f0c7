"""The tiles that the quick search chooses among, family by family.

``space.rows`` lists a space that is defined without the machine: divisors, even tiles, all.  Its
divisors leave an array half empty where a range has few of them (7 x 7 outputs over 32 rows).  So
the quick search takes every divisor, even tiles where these are far apart, and, of a range that
enters loops over the array, those that fill it: as much as there are rows or columns, and the even
share of the fewest trips.  Where a dimension has nothing inside the array's loops every even tile
that fits is taken.  Loops further out leave whole folds of it (``filling``).

``quick_rows`` is asked once for a layer and the sides of an array, and works on all choices of the
loops so far together.  A network's layers differ in few numbers at a time: those of which a family
has the same sizes get the same ``FamilyChoices``, as do arrays that have the same room for it, and
what is worked out of these alone is worked out once (``quick_tables``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.rank_sums import different_rows
from accelsim.mapper.filling import Filled, spread, twins, whole_folds
from accelsim.mapper.kept_arrays import shared
from accelsim.mapper.space import divisors, fits_array
from accelsim.mapping.skeleton import Chain, OpenLoop, Skeleton, most_trips

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class DifferentRows(NamedTuple):
    """Different rows of tiles [different rows, loops], the choices that have them first, and which
    of them each choice has [choices].
    """

    tiles: Ints
    first: Ints
    rows: Ints


@dataclass(eq=False)
class FamilyChoices:
    """The choices of a family of some loops over dimensions of some sizes, which is all they say.

    ``tiles, trips``  both [choices, loops of the family], in a fixed order; nobody writes to them
    """

    tiles: Ints
    trips: Ints

    def __post_init__(self) -> None:
        self.tiles.flags.writeable = self.trips.flags.writeable = False

    def different(self, reads: tuple[int, ...]) -> DifferentRows:
        """The different tiles that some of the loops have."""

        def rows() -> DifferentRows:
            first, which = different_rows(self.tiles[:, reads])
            return DifferentRows(np.ascontiguousarray(self.tiles[first][:, reads]), first, which)

        return shared.of((self, reads), rows)


def quick_rows(skeleton: Skeleton, family: Chain, more: Ints | None = None) -> FamilyChoices:
    """A family's choices that the array has room for; those of ``more`` [choices, loops of the
    family] come last.
    """
    loops, array = [skeleton.loops[i] for i in family.loops], skeleton.arch.array
    sizes = tuple([skeleton.problem.size[p] for p in family.parts])
    of = family.name, family.parts, sizes, tuple(loops), skeleton.problem.rows_are_columns
    over = {x.axis for x in loops}
    room = array.rows if "row" in over else 0, array.cols if "col" in over else 0

    def listed() -> tuple[FamilyChoices, Ints, Ints]:
        tiles, trips = _fitting(skeleton, family, loops, more)
        same = of, tiles.tobytes()  # another array may have the same room
        return shared.of(same, lambda: (FamilyChoices(tiles, trips), tiles, trips))

    if more is not None:
        return listed()[0]
    return shared.of((of, room, array.fold_filter), listed)[0]


def _fitting(
    skeleton: Skeleton, family: Chain, loops: Sequence[OpenLoop], more: Ints | None
) -> tuple[Ints, Ints]:
    """Tiles and trips of all choices there is room for."""
    tiles = _listed(skeleton, family, loops)
    if more is not None:
        both = np.concatenate([tiles, more])
        _, first = np.unique(both, axis=0, return_index=True)
        tiles = both[np.sort(first)]
    trips = np.stack(most_trips(skeleton, family, list(tiles.T), np.minimum), axis=1)
    good = fits_array(skeleton, loops, trips) & ~twins(skeleton, loops, trips)
    return tiles[good], trips[good]


def _listed(skeleton: Skeleton, family: Chain, loops: Sequence[OpenLoop]) -> Ints:
    """Every choice, loop by loop from the outside in: ``ranges`` has what enters the next loop over
    each dimension, of all choices so far [choices].
    """
    size, name = skeleton.problem.size, family.name
    ranges: dict[str, Ints] = {p: np.array([size[p]], np.int64) for p in family.parts}
    columns: list[Ints] = []
    filled, plain = Filled(skeleton, family, loops), np.ones(1, bool)
    for at, x in enumerate(loops):
        if x.dim not in ranges:
            ranges[x.dim] = np.asarray(prod([ranges[p] for p in family.parts]))
        entering = ranges[x.dim]
        ends = x.dim == name and not any(y.dim == name for y in loops[at + 1 :])
        if ends:
            columns.append(np.ones_like(entering))
            continue
        kinds, which = np.unique(2 * entering + plain, return_inverse=True)
        each = [(int(k) // 2, bool(k % 2)) for k in kinds]
        if at in filled.outer:
            tiles = [filled.options(x.dim, n) for n, _ in each]
        elif (run := _run(skeleton, loops, at))[0] or x.dim in "RS":
            tiles = [_options(n, *run) if own else whole_folds(n, run[0]) for n, own in each]
        else:
            tiles = [spread(n) for n, _ in each]
        choices = [np.array(x, np.int64) for x in tiles]
        many = np.array([len(c) for c in choices])[which]
        back = np.repeat(np.arange(len(entering)), many)
        tile = np.concatenate([choices[k] for k in which])
        columns, plain = [*(c[back] for c in columns), tile], plain[back]
        ranges = {d: r[back] for d, r in ranges.items()}
        ranges[x.dim] = tile
        if filled.outer and at == filled.outer[-1]:
            good, plain = filled.good(loops, columns)
            columns, plain = [c[good] for c in columns], plain[good]
            ranges = {d: r[good] for d, r in ranges.items()}
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
        tiles |= {*whole_folds(entering, room)}
        if alone and room <= 256:
            most = min(room, entering)
            tiles |= {t for t in range(1, most + 1) if t == -(-entering // -(-entering // t))}
    return tuple(sorted(tiles))


__all__ = ["DifferentRows", "FamilyChoices", "quick_rows"]
