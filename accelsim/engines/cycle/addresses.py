"""Which word is where: what every MAC touches and what every level holds, from ``Nest.pieces``
alone.

A word is a number.  Its *address* is its flat place in the tensor; its *name* is what it is told
apart by: the address, or under a fused loop the number of the ifmap's (k, x) pair (section
3).  ``NO_WORD`` is a MAC's operand that is padding and nowhere stored, or an ifmap sum no word
takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.cycle.line_pes import A_SUM, OPERAND, PADDING
from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.mapping.skeleton import Kept
from accelsim.workload.problem import DIMS, RANKS, TENSORS

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Where = Mapping[int, int]  # loop (its place in Nest.loops) -> position
Window = tuple[tuple[int, int], tuple[int, int]]  # rows and columns of the ifmap
NO_WORD = -1
NOTHING: Ints = np.zeros(0, np.int64)
PAIR = tuple(d for d in DIMS if d != "M")  # the dimensions of an ifmap's (k, x) pair
MOST_KNOWN = 4096  # parts of words that are kept
MOST_WORDS = 1 << 21  # and so many words of MACs
NAME, ADDRESS, ROW, COLUMN = range(4)  # the numbers of a point
KINDS: Any = np.array([PADDING, A_SUM, OPERAND], np.int16)


def digits(nest: Nest, loops: Iterable[int]) -> dict[int, Ints]:
    """Every setting of some loops in nest order: the position of each loop, flat over the
    settings.
    """
    loops = tuple(loops)
    shape = tuple(nest.loops[i].trips for i in loops)
    flat = np.indices(shape, np.int64).reshape(len(shape), prod(shape))
    return dict(zip(loops, flat, strict=True))


def numbered(nest: Nest, loops: Iterable[int], at: Mapping[int, Ints], n: int) -> Ints:
    """One mixed-radix number of some loops' positions, for each of ``n`` settings."""
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


def real_window(nest: Nest, tensor: str, level: int) -> Window:
    """Rows and columns of the ifmap that are words at a level: all of them, or those that are no
    padding.  (Of other tensors the one row and column that all words are taken to be in.)
    """
    p = nest.problem
    whole = ((0, p.H), (0, p.W)) if tensor == "ifmap" else ((0, 1), (0, 1))
    return nest.projection(tensor, level).window or whole


def inside(row: Ints, column: Ints, window: Window) -> Bools:
    """Which points lie in a window."""
    (top, bottom), (left, right) = window
    return np.asarray((row >= top) & (row < bottom) & (column >= left) & (column < right))


class Form(NamedTuple):
    """The numbers of a point, which grow evenly with each dimension: its name, its address, and of
    an ifmap the row and the column it falls on, which may be outside.
    """

    first: Ints  # [4] where all dimensions are 0
    steps: dict[str, Ints]  # by dimension: [4]

    def of(self, point: Mapping[str, Any]) -> Any:
        """What the dimensions of a point add, [4, as they are shaped]; 0 where none matters."""
        parts = [np.multiply.outer(self.steps[d], x) for d, x in point.items() if d in self.steps]
        return sum(parts[1:], parts[0]) if parts else 0


def form(nest: Nest, tensor: str, level: int) -> Form:
    """How the words of a tensor are numbered, by their names at a level."""
    p, first, steps = nest.problem, np.zeros(4, np.int64), dict[str, Ints]()
    shape = p.shape(tensor)
    slides = {
        "E": (p.stride[0], 0), "R": (p.dilation[0], 0), "F": (0, p.stride[1]),
        "S": (0, p.dilation[1]),
    }  # fmt: skip
    for k, rank in enumerate(RANKS[tensor]):
        for d in rank:
            row, column = slides[d] if len(rank) > 1 else (0, 0)
            address = prod(shape[k + 1 :]) * (row + column or 1)
            steps[d] = np.array((address, address, row, column))
    if tensor == "ifmap":
        first[ROW], first[COLUMN] = -p.padding[0], -p.padding[2]
        first[:ROW] = first[ROW] * shape[4] + first[COLUMN]
        if nest.projection(tensor, level).pairs:
            first[NAME] = 0
            for k, d in enumerate(PAIR):
                steps[d][NAME] = prod(p.size[x] for x in PAIR[k + 1 :])
    return Form(first, steps)


def address_of(nest: Nest, tensor: str, level: int, names: Ints) -> Ints:
    """Addresses of words by their names at a level; what is no word stays what it is."""
    if not nest.projection(tensor, level).pairs:
        return names
    point = np.unravel_index(np.maximum(names, 0), [nest.problem.size[d] for d in PAIR])
    numbers = form(nest, tensor, level)
    address = numbers.first[ADDRESS] + numbers.of(dict(zip(PAIR, point, strict=True)))[ADDRESS]
    return np.where(names >= 0, address, names)


def coordinates(chain: Chain, piece: Any) -> dict[str, Ints]:
    """The one point a chain is cut down to, for each position the piece was made at."""
    if piece.chunk is None:
        return {p: np.asarray(piece.lo[p]) for p in chain.parts}
    rest = np.asarray(piece.chunk[0])
    point = {}
    for p in reversed(chain.parts):
        extent = np.maximum(piece.hi[p] - piece.lo[p], 1)
        point[p], rest = piece.lo[p] + rest % extent, rest // extent
    return point


class Touched(NamedTuple):
    """What MACs touch of a tensor, [first axis, second axis] of the grid they stand on.

    ``kinds`` are the bits of a tag: padding, a word, or one that the level that feeds the MACs has,
    as it has all but padding that is stored further in.
    """

    names: Ints
    addresses: Ints
    kinds: Ints

    def cut(self, rows: Any, columns: Any) -> Touched:
        """At some places of both axes."""
        return Touched(*(np.ascontiguousarray(x[rows, columns]) for x in self))


class OnGrid(NamedTuple):
    """Coordinates of a chain's dimensions and whether they exist, both broadcast over a grid."""

    point: dict[str, Ints]
    exists: Bools


class Macs:
    """The words of MACs on a grid: a loop over PEs or inside them stands at a position that depends
    on one axis of the grid or the other, or on none.
    """

    def __init__(self, nest: Nest, first: Mapping[int, Ints], second: Mapping[int, Ints]) -> None:
        self.nest = nest
        self.positions: dict[int, Ints] = {
            i: np.zeros((1, 1), np.int64)
            for i, x in enumerate(nest.loops)
            if x.spatial or x.level == nest.levels - 1
        }
        self.positions |= {i: v[:, None] for i, v in first.items()}
        self.positions |= {i: v[None, :] for i, v in second.items()}
        self.shape = tuple(
            max((len(v) for v in axis.values()), default=1) for axis in (first, second)
        )
        self.outside = {
            c.name: [i for i in c.loops if i not in self.positions] for c in nest.chains
        }
        self.looped = [c for c in nest.chains if c.loops]
        self.along = [
            [
                i
                for c in self.looped
                if not axis.keys().isdisjoint(c.loops)
                for i in self.outside[c.name]
            ]
            for axis in (first, second)
        ]
        self.of = {t: [c for c in self.looped if c.depends(t)] for t in TENSORS}
        self.forms = {t: form(nest, t, nest.levels) for t in TENSORS}
        self._known: Kept[Any] = Kept(MOST_KNOWN)
        self._touched: Kept[Touched] = Kept(max(1, MOST_WORDS // prod(self.shape)))

    def chain(self, chain: Chain, at: Where) -> OnGrid:
        """A chain's dimensions, the loops outside the PEs standing at ``at``."""
        key = (chain.name, *[at[i] for i in self.outside[chain.name]])
        known: OnGrid = self._known.of(key, lambda: self._chain(chain, at))
        return known

    def _chain(self, chain: Chain, at: Where) -> OnGrid:
        index = {i: self.positions[i] if i in self.positions else at[i] for i in chain.loops}
        piece = self.nest.pieces(chain, index)
        point = {p: np.atleast_2d(x) for p, x in coordinates(chain, piece).items()}
        return OnGrid(point, np.atleast_2d(piece.exists))

    def used(self, at: Where, axis: int) -> Ints:
        """Where on an axis of the grid there are MACs, if no chain has loops on both."""

        def find() -> Ints:
            there: Any = np.bool_(True)
            for c in self.looped:
                there = there & self.chain(c, at).exists.any(axis=1 - axis)
            return np.flatnonzero(np.broadcast_to(there, self.shape[axis]))

        used: Ints = self._known.of((axis, *[at[i] for i in self.along[axis]]), find)
        return used

    def exist(self, at: Where, tensor: str | None = None) -> Bools:
        """Whether there is a MAC; or only whether there is one in the tensor's own dimensions."""
        there: Any = np.bool_(True)
        for c in self.looped if tensor is None else self.of[tensor]:
            there = there & self.chain(c, at).exists
        return np.broadcast_to(there, self.shape)

    def key(self, tensor: str, at: Where) -> tuple[int, ...]:
        """The positions outside the PEs a tensor's words depend on."""
        return tuple([at[i] for c in self.of[tensor] for i in self.outside[c.name]])

    def touched(self, tensor: str, at: Where, feeder: int) -> Touched:
        """The words of a tensor; only meaningful where a MAC exists.  ``feeder`` is the level that
        gives or takes them.
        """
        key = (tensor, feeder, *self.key(tensor, at))
        return self._touched.of(key, lambda: self.located(tensor, at, feeder))

    def located(self, tensor: str, at: Where, feeder: int) -> Touched:
        """The same, worked out anew."""
        ones = np.zeros((4, self.shape[0], 1), np.int64) + self.forms[tensor].first[:, None, None]
        twos = np.zeros((4, 1, self.shape[1]), np.int64)
        for c in self.of[tensor]:
            part = self.part(tensor, c, at)
            if part.shape[2] == 1:
                ones += part
            else:
                twos = twos + part
        names = addresses = np.empty(self.shape, np.int64)
        if self.nest.projection(tensor, self.nest.levels).pairs:
            addresses = np.empty_like(names)
        touched = Touched(names, addresses, np.empty(self.shape, np.int16))
        locate(ones[:, :, 0], twos, self._windows(tensor, feeder), KINDS, *touched)
        return touched

    def _windows(self, tensor: str, feeder: int) -> Ints:
        """Rows and columns that are words at the MAC, and those that the feeder has, [2, 4]."""
        levels = self.nest.levels, feeder
        windows: Ints = self._known.of(
            (tensor, feeder), lambda: np.array([real_window(self.nest, tensor, x) for x in levels])
        )
        return windows.reshape(2, 4)

    def part(self, tensor: str, chain: Chain, at: Where) -> Ints:
        """What a chain adds to the numbers, [4, 1 or first axis, 1 or second axis]."""
        key = (tensor, chain.name, *[at[i] for i in self.outside[chain.name]])
        part: Ints = self._known.of(key, lambda: self.forms[tensor].of(self.chain(chain, at).point))
        return part


@kernel
def locate(
    ones: Ints, twos: Ints, windows: Ints, marks: Ints, names: Ints, addresses: Ints, kinds: Ints
) -> None:
    """Fill in names and addresses, ``NO_WORD`` outside the first window, and kinds.

    ones     [4, first axis]  what each number of a point gets from the grid's first axis
    twos     [4, 1 or first axis, second axis]  and from the second, or from both
    windows  [2, (row from, row to, column from, column to)]
    marks    [3]  the kinds: outside both windows, inside the first, inside both
    """
    for i in range(names.shape[0]):
        line = i if twos.shape[1] > 1 else 0
        for j in range(names.shape[1]):
            h, w = ones[ROW, i] + twos[ROW, line, j], ones[COLUMN, i] + twos[COLUMN, line, j]
            real = windows[0, 0] <= h < windows[0, 1] and windows[0, 2] <= w < windows[0, 3]
            near = windows[1, 0] <= h < windows[1, 1] and windows[1, 2] <= w < windows[1, 3]
            names[i, j] = ones[NAME, i] + twos[NAME, line, j] if real else NO_WORD
            addresses[i, j] = ones[ADDRESS, i] + twos[ADDRESS, line, j] if real else NO_WORD
            kinds[i, j] = marks[1 + near if real else 0]


class LevelTiles:
    """Names of the words a level holds of a tensor at a setting of the loops outside it (DESIGN
    section 4.2).
    """

    def __init__(self, nest: Nest, tensor: str, level: int) -> None:
        self.nest, self.tensor, self.level = nest, tensor, level
        self.pairs = nest.projection(tensor, level).pairs
        self.form, self.window = form(nest, tensor, level), real_window(nest, tensor, level)
        self.loops = {
            c.name: [i for i in c.loops if nest.loops[i].level < level] for c in nest.chains
        }
        self.other = [c for c in nest.chains if not c.depends(tensor) and self.loops[c.name]]
        self.own = [c for c in nest.chains if c.depends(tensor)]
        self._known: Kept[Ints] = Kept(256)
        self._pieces: Kept[Any] = Kept(MOST_KNOWN)

    def at(self, at: Where) -> Ints | None:
        """The names, sorted; None for an instance that is idle through a dimension the tensor does
        not depend on.
        """
        if not all(self._piece(c, at).exists for c in self.other):
            return None
        key = tuple(at[i] for c in self.own for i in self.loops[c.name])
        there = all(self._piece(c, at).exists for c in self.own)
        return self._known.of(key, lambda: self._make(at)) if there else NOTHING

    def _piece(self, chain: Chain, at: Where) -> Any:
        mine = {i: at[i] for i in self.loops[chain.name]}
        key = (chain.name, *mine.values())
        return self._pieces.of(key, lambda: self.nest.pieces(chain, mine))

    def _make(self, at: Where) -> Ints:
        """Every sum of one number of each dimension, the slowest last.  What a filter and an
        output dimension tell twice of an ifmap is one word; under a fused loop it is not.
        """
        order = "SFRECMGN"
        adds: dict[str, Any] = {}  # [4, words], by a dimension that it is of
        for c in self.own:
            piece = self._piece(c, at)
            sides = {p: range(int(piece.lo[p]), int(piece.hi[p])) for p in c.parts}
            if piece.chunk is None:
                adds |= {p: self.form.of({p: np.array(x)}) for p, x in sides.items()}
                continue
            flat = np.arange(int(piece.chunk[0]), int(piece.chunk[1]))
            grid = np.unravel_index(flat, [len(x) for x in sides.values()])
            point = {p: x + sides[p].start for p, x in zip(sides, grid, strict=True)}
            adds[min(c.parts, key=order.index)] = self.form.of(point)
        words = self.form.first[:, None]
        for d in (x for x in order[:4] if x in adds):
            words = (adds[d][:, :, None] + words[:, None]).reshape(4, -1)
            if d in "FE" and self.tensor == "ifmap" and not self.pairs:
                place, (low, high) = words[COLUMN - "FE".index(d)], self.window[1 - "FE".index(d)]
                words = words[:, (place >= low) & (place < high)]
                words = words[:, np.unique(words[ADDRESS], return_index=True)[1]]
        names = words[NAME, inside(words[ROW], words[COLUMN], self.window)]
        for d in (x for x in order[4:] if x in adds):
            names = (adds[d][NAME, :, None] + names).ravel()
        return names if (names[1:] > names[:-1]).all() else np.sort(names)
