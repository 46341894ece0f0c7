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
from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.workload.problem import DIMS, RANKS, TENSORS

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Where = Mapping[int, int]  # loop (its place in Nest.loops) -> position
Window = tuple[tuple[int, int], tuple[int, int]]  # rows and columns of the ifmap
NO_WORD = -1
NOTHING: Ints = np.zeros(0, np.int64)
PAIR = tuple(d for d in DIMS if d != "M")  # the dimensions of an ifmap's (k, x) pair


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
    padding.
    """
    p = nest.problem
    return nest.projection(tensor, level).window or ((0, p.H), (0, p.W))


def strides(shape: Iterable[int]) -> tuple[int, ...]:
    shape = tuple(shape)
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


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


class Form(NamedTuple):
    """A number that grows evenly with each dimension: ``first`` where all are 0."""

    first: int
    steps: dict[str, int]

    def of(self, point: Mapping[str, Any]) -> Any:
        """What the dimensions of a point add, those that are given."""
        total: Any = np.int64(0)
        for d, step in self.steps.items():
            if d in point:
                total = total + point[d] * step
        return total


def address_form(nest: Nest, tensor: str) -> Form:
    """The address of the word at a point; of the ifmap, also for points on padding outside it."""
    sizes = strides(nest.problem.shape(tensor))
    if tensor != "ifmap":
        return Form(0, {rank[0]: s for rank, s in zip(RANKS[tensor], sizes, strict=True)})
    steps = dict(zip("NGC", sizes[:3], strict=True))
    first = 0
    for form, size in zip(sliding_forms(nest), sizes[3:], strict=True):
        steps |= {d: s * size for d, s in form.steps.items()}
        first += form.first * size
    return Form(first, steps)


def sliding_forms(nest: Nest) -> tuple[Form, Form]:
    """The row and the column of the ifmap at a point."""
    p = nest.problem
    return (
        Form(-p.padding[0], {"E": p.stride[0], "R": p.dilation[0]}),
        Form(-p.padding[2], {"F": p.stride[1], "S": p.dilation[1]}),
    )


def pair_form(nest: Nest) -> Form:
    """The number of the (k, x) pair at a point."""
    return Form(0, dict(zip(PAIR, strides(nest.problem.size[d] for d in PAIR), strict=True)))


class Touched(NamedTuple):
    """What MACs touch of a tensor, [first axis, second axis] of the grid they stand on.

    ``read`` says which of the words the level that feeds the MACs has: all but padding that is
    stored further in.
    """

    names: Ints
    addresses: Ints
    read: Bools


class Macs:
    """The words of MACs on a grid: a loop over PEs or inside them stands at a position that depends
    on one axis of the grid or the other, or on none.
    """

    def __init__(self, nest: Nest, first: Mapping[int, Ints], second: Mapping[int, Ints]) -> None:
        self.nest = nest
        self.positions: dict[int, Ints] = {
            **{
                i: np.zeros((1, 1), np.int64)
                for i, x in enumerate(nest.loops)
                if x.spatial or x.level == nest.levels - 1
            },
            **{i: v[:, None] for i, v in first.items()},
            **{i: v[None, :] for i, v in second.items()},
        }
        self.shape = tuple(
            max((len(v) for v in axis.values()), default=1) for axis in (first, second)
        )
        self.outside = {
            c.name: [i for i in c.loops if i not in self.positions] for c in nest.chains
        }
        self.of = {t: [c for c in nest.chains if c.depends(t)] for t in TENSORS}
        self._known: dict[Any, Any] = {}
        self._last: dict[str, tuple[Any, Touched]] = {}
        sliding = sliding_forms(nest)
        self.forms = {
            t: (
                pair_form(nest) if nest.projection(t, nest.levels).pairs else address_form(nest, t),
                address_form(nest, t),
                *(sliding if t == "ifmap" else (Form(0, {}), Form(0, {}))),
            )
            for t in TENSORS
        }
        self.first = {t: np.array([[x.first] for x in forms]) for t, forms in self.forms.items()}

    def chain(self, chain: Chain, at: Where) -> tuple[dict[str, Ints], Bools]:
        """Coordinates of a chain's dimensions and whether they exist, the loops outside the PEs
        standing at ``at``; both broadcast over the grid.
        """
        key = (chain.name, *[at[i] for i in self.outside[chain.name]])
        if key not in self._known:
            if len(self._known) > 4096:
                self._known.clear()
            index = {i: self.positions[i] if i in self.positions else at[i] for i in chain.loops}
            piece = self.nest.pieces(chain, index)
            self._known[key] = coordinates(chain, piece), np.asarray(piece.exists)
        known: tuple[dict[str, Ints], Bools] = self._known[key]
        return known

    def exist(self, at: Where, tensor: str | None = None) -> Bools:
        """Whether there is a MAC; or only whether there is one in the tensor's own dimensions."""
        there: Any = np.bool_(True)
        for c in self.nest.chains if tensor is None else self.of[tensor]:
            if c.loops:
                there = there & self.chain(c, at)[1]
        return np.broadcast_to(there, self.shape)

    def key(self, tensor: str, at: Where) -> tuple[int, ...]:
        """The positions outside the PEs a tensor's words depend on."""
        return tuple([at[i] for c in self.of[tensor] for i in self.outside[c.name]])

    def touched(
        self,
        tensor: str,
        at: Where,
        feeder: int,
        first: Ints | None = None,
        width: int | None = None,
    ) -> Touched:
        """The words of a tensor, of some places of the first axis and so many of the second (None:
        all); only meaningful where a MAC exists.  ``feeder`` is the level that gives or takes them.
        """
        cut = None if first is None else first.tobytes(), width
        key = (self.key(tensor, at), cut)
        known = self._last.get(tensor)
        if known is not None and known[0] == key:
            return known[1]
        shape = self.shape[0] if first is None else len(first), width or self.shape[1]
        ones, twos = np.zeros((4, shape[0]), np.int64), np.zeros((4, 1, shape[1]), np.int64)
        for c in self.of[tensor]:
            one, two = self._part(tensor, c, at, first, width, cut)
            ones += one
            twos = twos + two
        ones += self.first[tensor]
        names, addresses = np.empty((2, *shape), np.int64)
        touched = Touched(names, addresses, np.empty(shape, np.bool_))
        locate(ones, twos, self._windows(tensor, feeder), *touched)
        self._last[tensor] = key, touched
        return touched

    def _windows(self, tensor: str, feeder: int) -> Ints:
        """Rows and columns that are words at the MAC, and those that the feeder has, [2, 4]."""
        key = (tensor, feeder)
        if key not in self._known:
            levels = (self.nest.levels, feeder)
            whole = tensor != "ifmap"
            self._known[key] = np.array([
                (0, 1, 0, 1) if whole else sum(real_window(self.nest, tensor, level), ())
                for level in levels
            ])  # fmt: skip
        windows: Ints = self._known[key]
        return windows

    def _part(
        self, tensor: str, chain: Chain, at: Where, first: Ints | None, width: int | None, cut: Any
    ) -> tuple[Ints, Ints]:
        """What a chain adds to name, address, row and column: [4, first axis] by the first axis
        alone, [4, 1 or first axis, second axis] by the second or both.
        """
        key = (tensor, chain.name, cut, *[at[i] for i in self.outside[chain.name]])
        if key not in self._known:
            point = {}
            for d, x in self.chain(chain, at)[0].items():
                whole = x.reshape((1, 1)) if x.ndim < 2 else x
                rows = whole if first is None or len(whole) == 1 else whole[first]
                point[d] = rows if rows.shape[1] == 1 else rows[:, :width]
            parts = []
            for alone in (True, False):
                mine = {d: x for d, x in point.items() if (x.shape[1] == 1) == alone}
                sums = [np.atleast_2d(form.of(mine)) for form in self.forms[tensor]]
                shape = np.broadcast_shapes(*(x.shape for x in sums))
                parts.append(np.stack([np.broadcast_to(x, shape) for x in sums]))
            self._known[key] = parts[0][:, :, 0], parts[1]
        known: tuple[Ints, Ints] = self._known[key]
        return known


@kernel
def locate(
    ones: Ints, twos: Ints, windows: Ints, names: Ints, addresses: Ints, read: Bools
) -> None:
    """Fill in names and addresses, ``NO_WORD`` outside the first window; read: inside the second.

    ones     [name address h w, first axis]  what each number gets from the grid's first axis
    twos     [likewise, 1 or first axis, second axis]  and from the second, or from both
    windows  [2, h from, h to, w from, w to]
    """
    for i in range(names.shape[0]):
        line = i if twos.shape[1] > 1 else 0
        for j in range(names.shape[1]):
            h, w = ones[2, i] + twos[2, line, j], ones[3, i] + twos[3, line, j]
            real = windows[0, 0] <= h < windows[0, 1] and windows[0, 2] <= w < windows[0, 3]
            near = windows[1, 0] <= h < windows[1, 1] and windows[1, 2] <= w < windows[1, 3]
            names[i, j] = ones[0, i] + twos[0, line, j] if real else NO_WORD
            addresses[i, j] = ones[1, i] + twos[1, line, j] if real else NO_WORD
            read[i, j] = real and near


def pair_point(nest: Nest, names: Ints) -> tuple[dict[str, Ints], Ints, Ints]:
    """Coordinates of (k, x) pairs, and the ifmap row and column each stands for: outside it where
    the pair is padding.
    """
    at: dict[str, Ints] = {}
    rest = names
    for d in reversed(PAIR):
        at[d], rest = rest % nest.problem.size[d], rest // nest.problem.size[d]
    h, w = (form.first + form.of(at) for form in sliding_forms(nest))
    return at, h, w


def pair_address(nest: Nest, names: Ints) -> Ints:
    """The ifmap address each (k, x) pair stands for."""
    form = address_form(nest, "ifmap")
    return np.asarray(form.first + form.of(pair_point(nest, names)[0]))


def inside(h: Ints, w: Ints, window: Window) -> Bools:
    rows, cols = window
    return np.asarray((h >= rows[0]) & (h < rows[1]) & (w >= cols[0]) & (w < cols[1]))


def no_padding(nest: Nest, addresses: Ints, window: Window) -> Bools:
    """Which ifmap addresses lie in a window of rows and columns."""
    p = nest.problem
    return inside(addresses // p.W % p.H, addresses % p.W, window)


class LevelTiles:
    """Names of the words a level holds of a tensor at a setting of the loops outside it (DESIGN
    section 4.2).
    """

    def __init__(self, nest: Nest, tensor: str, level: int) -> None:
        self.nest, self.tensor, self.level = nest, tensor, level
        self.pairs = nest.projection(tensor, level).pairs
        self.form = pair_form(nest) if self.pairs else address_form(nest, tensor)
        self.loops = {
            c.name: [i for i in c.loops if nest.loops[i].level < level] for c in nest.chains
        }
        self.other = [c for c in nest.chains if not c.depends(tensor) and self.loops[c.name]]
        self.own = [c for c in nest.chains if c.depends(tensor)]
        self._known: dict[Any, Ints] = {}
        self._there: dict[Any, bool] = {}

    def at(self, at: Where) -> Ints | None:
        """The names, sorted; None for an instance that is idle through a dimension the tensor does
        not depend on.
        """
        if not all(self._exists(c, at) for c in self.other):
            return None
        key = tuple(at[i] for c in self.own for i in self.loops[c.name])
        if key not in self._known:
            if len(self._known) > 256:
                self._known.clear()
            there = all(self._exists(c, at) for c in self.own)
            self._known[key] = self._make(at) if there else NOTHING
        return self._known[key]

    def _exists(self, chain: Chain, at: Where) -> bool:
        mine = {i: at[i] for i in self.loops[chain.name]}
        key = (chain.name, *mine.values())
        if key not in self._there:
            self._there[key] = bool(self.nest.pieces(chain, mine).exists)
        return self._there[key]

    def _make(self, at: Where) -> Ints:
        """Every sum of one number of each list: what each dimension, or sliding pair, adds."""
        lists: list[Ints] = []
        points: dict[str, Ints] = {}
        for c in self.own:
            piece = self.nest.pieces(c, {i: at[i] for i in self.loops[c.name]})
            lo, hi = ({p: int(side[p]) for p in c.parts} for side in (piece.lo, piece.hi))
            if piece.chunk is None:
                points |= {p: np.arange(lo[p], hi[p]) for p in c.parts}
                continue
            chunk = np.arange(int(piece.chunk[0]), int(piece.chunk[1]))
            grid = np.unravel_index(chunk, [hi[p] - lo[p] for p in c.parts])
            at_chunk = {p: g + lo[p] for g, p in zip(grid, c.parts, strict=True)}
            lists.append(self.form.of(at_chunk) + np.zeros_like(chunk))
        window = real_window(self.nest, self.tensor, self.level)
        if self.tensor == "ifmap" and not self.pairs:
            sizes = strides(self.nest.problem.shape("ifmap"))[3:]
            for form, size, (low, high) in zip(
                sliding_forms(self.nest), sizes, window, strict=True
            ):
                out, tap = (points.pop(d) * s for d, s in form.steps.items())
                where = (out[:, None] + tap + form.first).ravel()
                where = where if (where[1:] > where[:-1]).all() else np.unique(where)
                lists.append(where[(where >= low) & (where < high)] * size)
        lists += [x * self.form.steps[p] for p, x in points.items() if p in self.form.steps]
        names = np.zeros(1, np.int64)
        for x in sorted(lists, key=lambda x: -int(x.max(initial=0) - x.min(initial=0))):
            names = (names[:, None] + x[None, :]).ravel()
        names = names if (names[1:] > names[:-1]).all() else np.sort(names)
        if not self.pairs:
            return names
        _, h, w = pair_point(self.nest, names)
        return names[inside(h, w, window)]

    def address(self, names: Ints) -> Ints:
        """The address of each name."""
        return pair_address(self.nest, names) if self.pairs else names
