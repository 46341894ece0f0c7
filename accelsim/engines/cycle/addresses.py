"""Which word is where: what every MAC touches and what every level holds, from ``Nest.pieces``
alone.

A word is a number.  Its *address* is its flat place in the tensor; its *name* is what it is told
apart by: the address, or under a fused loop the number of the ifmap's (k, x) pair (section 3).
``NO_WORD`` is a MAC's operand that is padding and nowhere stored, or an ifmap sum no word takes.

Two readers: the array asks for the words of all its MACs at once (``Macs``, arrays that broadcast
over the positions of loops), the levels outside for the words of a tile (``LevelTiles``, sorted
lists).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.workload.problem import DIMS, RANKS, TENSORS

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Where = Mapping[int, int]  # loop (its place in Nest.loops) -> position
NO_WORD = -1
NOTHING: Ints = np.zeros(0, np.int64)


def digits(nest: Nest, loops: Iterable[int]) -> dict[int, Ints]:
    """Every setting of some loops in nest order: the position of each loop, [settings]."""
    loops = tuple(loops)
    shape = tuple(nest.loops[i].trips for i in loops)
    return dict(
        zip(loops, np.indices(shape, np.int64).reshape(len(shape), prod(shape)), strict=True)
    )


def numbered(nest: Nest, loops: Iterable[int], at: Mapping[int, Ints], n: int) -> Ints:
    """One mixed-radix number of some loops' positions, [n], for each of ``n`` settings."""
    flat = np.zeros(n, np.int64)
    for i in loops:
        flat = flat * nest.loops[i].trips + at[i]
    return flat


def apart(nest: Nest, b: Boundary) -> list[int]:
    """The spatial loops above a boundary's child that tell apart who shares no word (section
    4.4).
    """
    spatial = [i for i, x in enumerate(nest.loops) if x.spatial and x.level < b.child]
    return [
        i for i in spatial if nest.loops[i].level < b.parent or nest.loops[i].axis not in b.merged
    ]


def real_window(nest: Nest, tensor: str, level: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the ifmap that are words at a level: all of them, or those that are no
    padding.
    """
    p = nest.problem
    return nest.projection(tensor, level).window or ((0, p.H), (0, p.W))


def strides(shape: Iterable[int]) -> tuple[int, ...]:
    """How far a step along each axis is in a flat array."""
    shape = tuple(shape)
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def coordinates(chain: Chain, piece: Any) -> dict[str, Ints]:
    """The one point a chain is cut down to, for each position the piece was made at."""
    if piece.chunk is None:
        return {p: np.asarray(piece.lo[p]) for p in chain.parts}
    rest = np.asarray(piece.chunk[0])
    points = {}
    for p in reversed(chain.parts):
        extent = np.maximum(piece.hi[p] - piece.lo[p], 1)
        points[p], rest = piece.lo[p] + rest % extent, rest // extent
    return points


@dataclass(frozen=True)
class Touched:
    """What MACs touch of one tensor; arrays that broadcast together over the MACs' positions.

    ``names``, ``addresses``  ``NO_WORD`` where there is none
    ``given``                 which of the words the level that feeds the MACs has: all but padding
                              that is stored further in
    """

    names: Ints
    addresses: Ints
    given: Bools


class Macs:
    """The words of MACs at given positions of the spatial loops and of those inside the PEs.

    ``positions`` are arrays that broadcast together, by loop; every result broadcasts over the
    same.  Loops that are not in them stand where ``at`` says.  Results are remembered by where the
    loops stand that they depend on.
    """

    def __init__(self, nest: Nest, positions: Mapping[int, Ints]) -> None:
        self.nest, self.positions = nest, dict(positions)
        self._outside = {
            c.name: [i for i in c.loops if i not in self.positions] for c in nest.chains
        }
        self._of = {t: [c for c in nest.chains if c.depends(t)] for t in TENSORS}
        self._looped = [c for c in nest.chains if c.loops]
        self._known: dict[Any, tuple[dict[str, Ints], Bools]] = {}
        self._last: dict[str, tuple[Any, Touched]] = {}

    def chain(self, chain: Chain, at: Where) -> tuple[dict[str, Ints], Bools]:
        """Coordinates of a chain's dimensions and whether they exist, the loops outside the PEs
        standing at ``at``.
        """
        key = (chain.name, *[at[i] for i in self._outside[chain.name]])
        if key not in self._known:
            if len(self._known) > 4096:
                self._known.clear()
            index: dict[int, Any] = {
                i: self.positions[i] if i in self.positions else at[i] for i in chain.loops
            }
            piece = self.nest.pieces(chain, index)
            self._known[key] = coordinates(chain, piece), np.asarray(piece.exists)
        return self._known[key]

    def exist(self, at: Where, tensor: str | None = None) -> Bools:
        """Whether there is a MAC; or only whether there is one in the tensor's own dimensions."""
        there: Any = np.bool_(True)
        for c in self._looped:
            if tensor is None or c in self._of[tensor]:
                there = there & self.chain(c, at)[1]
        return np.asarray(there)

    def key(self, tensor: str, at: Where) -> tuple[int, ...]:
        """The positions outside the PEs a tensor's words depend on."""
        return tuple([at[i] for c in self._of[tensor] for i in self._outside[c.name]])

    def touched(self, tensor: str, at: Where, feeder: int) -> Touched:
        """The words of a tensor, ``feeder`` being the level that gives (or takes) them; only
        meaningful where a MAC exists.
        """
        key = (self.key(tensor, at), feeder)
        known = self._last.get(tensor)
        if known is None or known[0] != key:
            known = self._last[tensor] = key, self._touched(tensor, at, feeder)
        return known[1]

    def _touched(self, tensor: str, at: Where, feeder: int) -> Touched:
        nest, p = self.nest, self.nest.problem
        point: dict[str, Ints] = {}
        for c in self._of[tensor]:
            point |= self.chain(c, at)[0]
        sizes = strides(p.shape(tensor))
        if tensor != "ifmap":
            address = _sum(point[rank[0]] * s for rank, s in zip(RANKS[tensor], sizes, strict=True))
            return Touched(address, address, np.ones(address.shape, bool))
        h = p.stride[0] * point["E"] + p.dilation[0] * point["R"] - p.padding[0]
        w = p.stride[1] * point["F"] + p.dilation[1] * point["S"] - p.padding[2]
        address = (
            _sum(point[d] * s for d, s in zip("NGC", sizes[:3], strict=True))
            + h * sizes[3]
            + w * sizes[4]
        )
        real = _inside(h, w, real_window(nest, tensor, nest.levels))
        given = _inside(h, w, real_window(nest, tensor, feeder)) & real
        name = address
        if nest.projection(tensor, nest.levels).pairs:
            name = _sum(
                point[d] * s for d, s in zip(PAIR, strides(p.size[d] for d in PAIR), strict=True)
            )
        return Touched(np.where(real, name, NO_WORD), np.where(real, address, NO_WORD), given)


PAIR = tuple(d for d in DIMS if d != "M")  # the dimensions of an ifmap's (k, x) pair


def _sum(terms: Iterable[Any]) -> Ints:
    total: Any = np.zeros((), np.int64)
    for x in terms:
        total = total + x
    return np.asarray(total)


def _inside(h: Ints, w: Ints, window: tuple[tuple[int, int], tuple[int, int]]) -> Bools:
    rows, cols = window
    return np.asarray((h >= rows[0]) & (h < rows[1]) & (w >= cols[0]) & (w < cols[1]))


def pair_point(nest: Nest, names: Ints) -> tuple[dict[str, Ints], Ints, Ints]:
    """Coordinates of (k, x) pairs, and the ifmap row and column each stands for: outside it where
    the pair is padding.
    """
    p = nest.problem
    at: dict[str, Ints] = {}
    rest = names
    for d in reversed(PAIR):
        at[d], rest = rest % p.size[d], rest // p.size[d]
    h = p.stride[0] * at["E"] + p.dilation[0] * at["R"] - p.padding[0]
    return at, h, p.stride[1] * at["F"] + p.dilation[1] * at["S"] - p.padding[2]


def pair_address(nest: Nest, names: Ints) -> Ints:
    """The ifmap address each (k, x) pair stands for, in the shape of ``names``."""
    at, h, w = pair_point(nest, names)
    sizes = strides(nest.problem.shape("ifmap"))
    return _sum(x * s for x, s in zip((at["N"], at["G"], at["C"], h, w), sizes, strict=True))


def no_padding(
    nest: Nest, addresses: Ints, window: tuple[tuple[int, int], tuple[int, int]]
) -> Bools:
    """Which ifmap addresses lie in a window of rows and columns."""
    p = nest.problem
    return _inside(addresses // p.W % p.H, addresses % p.W, window)


class LevelTiles:
    """Names of the words a level holds of a tensor at a setting of the loops outside it (rule 2).

    ``tensor``, ``level``  whose tiles they are
    ``pairs``              whether names are those of (k, x) pairs
    ``loops``              by chain: its loops outside the level
    ``own``, ``other``     chains the tensor depends on, and those through which it may be idle
    """

    def __init__(self, nest: Nest, tensor: str, level: int) -> None:
        self.nest, self.tensor, self.level = nest, tensor, level
        self.pairs = nest.projection(tensor, level).pairs
        above = {i for i, x in enumerate(nest.loops) if x.level < level}
        self.loops = {c.name: [i for i in c.loops if i in above] for c in nest.chains}
        self.other = [c for c in nest.chains if not c.depends(tensor) and self.loops[c.name]]
        self.own = [c for c in nest.chains if c.depends(tensor)]
        self._known: dict[Any, Ints] = {}
        self._there: dict[Any, bool] = {}

    def at(self, at: Where) -> Ints | None:
        """The names, sorted, [words]; None for an instance that is idle through a dimension the
        tensor does not depend on.
        """
        if not all(self._exists(c, at) for c in self.other):
            return None
        key = tuple(at[i] for c in self.own for i in self.loops[c.name])
        if key not in self._known:
            if len(self._known) > 256:
                self._known.clear()
            self._known[key] = self._make(at)
        return self._known[key]

    def _exists(self, chain: Chain, at: Where) -> bool:
        """Whether a chain has a piece there."""
        key = (chain.name, *(at[i] for i in self.loops[chain.name]))
        if key not in self._there:
            self._there[key] = bool(
                self.nest.pieces(chain, {i: at[i] for i in self.loops[chain.name]}).exists
            )
        return self._there[key]

    def _make(self, at: Where) -> Ints:
        """A tile is a product: the sums of one offset from each rank."""
        if not all(self._exists(c, at) for c in self.own):
            return NOTHING
        points: dict[str, tuple[Ints, ...]] = {}  # a chain's parts and the points it leaves of them
        lists: list[tuple[tuple[str, ...], tuple[Ints, ...]]] = []
        for c in self.own:
            piece = self.nest.pieces(c, {i: at[i] for i in self.loops[c.name]})
            lo, hi = ({p: int(side[p]) for p in c.parts} for side in (piece.lo, piece.hi))
            if piece.chunk is None:
                lists += [((p,), (np.arange(lo[p], hi[p]),)) for p in c.parts]
            else:
                grid = np.unravel_index(
                    np.arange(int(piece.chunk[0]), int(piece.chunk[1])),
                    [hi[p] - lo[p] for p in c.parts],
                )
                lists.append(
                    (
                        c.parts,
                        tuple(
                            g.astype(np.int64) + lo[p] for g, p in zip(grid, c.parts, strict=True)
                        ),
                    )
                )
        points = {parts[0]: values for parts, values in lists}
        if self.pairs:
            return self._pairs(lists)
        sizes = dict(
            zip(
                (r[0] for r in RANKS[self.tensor]),
                strides(self.nest.problem.shape(self.tensor)),
                strict=True,
            )
        )
        if self.tensor != "ifmap":
            factors = [
                _sum(v * sizes[p] for p, v in zip(parts, values, strict=True))
                for parts, values in lists
            ]
        else:
            factors = [points[d][0] * sizes[d] for d in "NGC"]
            window = real_window(self.nest, self.tensor, self.level)
            for rank, (low, high) in zip((("E", "R"), ("F", "S")), window, strict=True):
                slide = self.nest.problem.slide(rank)
                out, tap = points[rank[0]][0], points[rank[1]][0]
                where = np.unique(slide.stride * out[:, None] + slide.dilation * tap - slide.pad)
                factors.append(where[(where >= low) & (where < high)] * sizes[rank[0]])
        return np.sort(_outer(factors))

    def _pairs(self, lists: list[tuple[tuple[str, ...], tuple[Ints, ...]]]) -> Ints:
        """The same of (k, x) pairs, those that are padding left out."""
        size = self.nest.problem.size
        sizes = dict(zip(PAIR, strides(size[d] for d in PAIR), strict=True))
        names = np.sort(
            _outer(
                [
                    _sum(v * sizes[p] for p, v in zip(parts, values, strict=True))
                    for parts, values in lists
                ]
            )
        )
        _, h, w = pair_point(self.nest, names)
        return names[_inside(h, w, real_window(self.nest, self.tensor, self.level))]

    def address(self, names: Ints) -> Ints:
        """The address of each name."""
        return pair_address(self.nest, names) if self.pairs else names


def _outer(factors: list[Ints]) -> Ints:
    """All sums of one number from each factor."""
    total = np.zeros(1, np.int64)
    for x in factors:
        total = (total[:, None] + x[None, :]).ravel()
    return total
