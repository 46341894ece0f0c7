"""Closed-form time of the array alone, memory never waited for (docs/design.md, section 5;
docs/time.md, "The array alone").

A fold is one setting of the temporal loops outside the PEs; it streams T words through r rows and c
columns.  How many there are is a product over chains, since chains cut different dimensions:

    T = prod over chains of (positions of its loops inside the PEs)       r, c likewise over an axis

How long the folds take together is ``fold_time``'s: in closed form over the loops wherever a fold's
size depends on ranges only, which is nearly always.  Four cases are left for a list of folds:

- a chain with a temporal loop inside one over rows or columns ("time inside space"), where the
  last piece of the outer loop and that of the inner one are short at different PEs;
- two loops that leave the held words alone, the inner of which may end with fewer rows or columns:
  its last, small fold goes on where the outer loop's next piece is as small from the start;
- loops over which a held ifmap may slide back onto the words it had, where the next setting goes on
  with the fold (``held_words``);
- ``pipeline``, which needs every pass's own gap and length.

Both read section 5 from the same ``FoldRules``.  An array without systolic lines has no folds: it
ends after its MAC steps, the stages of a multiplier and the links of an adding chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.alike_turns import AlikeTurns, Span
from accelsim.engines.analytic.fold_time import FoldLoop, FoldRules, fold_time
from accelsim.engines.analytic.held_words import SLIDING, Dims, pair_words
from accelsim.engines.analytic.pass_lists import join_folds, time_settings
from accelsim.engines.analytic.settings import StepSettings
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Chain, Nest
from accelsim.mapping.skeleton import Kept, OpenLoop, Skeleton, depends

Ints = npt.NDArray[np.int64]
MOST_FOLDS = 1 << 22


@dataclass(frozen=True)
class ArrayTime:
    """Cycles of the array alone.

    ``cycles`` is the edge that latches the last result, ``compute`` the MAC steps, ``fill_drain``
    the rest: skew, preload and shifting.  ``active_pes`` are the most that work at once.
    """

    cycles: int
    compute: int
    active_pes: int

    @property
    def fill_drain(self) -> int:
        return self.cycles - self.compute


def array_time(nest: Nest) -> ArrayTime:
    """Time of all passes with memory never waited for; cycles of the core clock."""
    key = nest.either_way, nest.row[0], sides_told(nest)
    return _times.of(key, lambda: _array_time(nest))


_times: Kept[ArrayTime] = Kept(1 << 12)  # a row asks again for what its search was told


def _array_time(nest: Nest) -> ArrayTime:
    """``array_time``, worked out."""
    compute, active = (_positions(nest, spatial) for spatial in (False, True))
    if not on_lines(nest):
        return ArrayTime(
            compute + nest.arch.array.pipeline_stages - 1 + chain_way(nest, nest.row[1]),
            compute,
            active,
        )
    return ArrayTime(lines_time(nest), compute, active)


def array_times(
    nest: Nest, tiles: Ints, trips: Ints, sides_of: Mapping[str, Ints], compute: Any
) -> Ints:
    """Cycles of the array alone for many mappings with the loops of a nest [mappings]: their tiles
    and trips are ``[loops, mappings]``, ``rows`` and ``cols`` of their arrays and their MAC steps
    ``compute`` numbers or ``[mappings]``.  Raises MappingError where folds would have to be listed,
    which the fixed rule's loops never ask for.
    """
    if not on_lines(nest):
        way = chain_way(nest, list(trips))
        return np.asarray(compute + nest.arch.array.pipeline_stages - 1 + way)
    if wants_list(nest):
        raise MappingError("folds depend on more than ranges")
    rows, cols = (sides_of[k] for k in (("cols", "rows") if nest.turned else ("rows", "cols")))
    return np.asarray(_told_by_ranges(nest, list(tiles), rows, cols))


def lines_time(nest: Nest) -> int:
    """Section 5's time of all folds, in closed form or from a list (the head of this page)."""
    if wants_list(nest):
        t, r, c = folds(nest)
        there = t > 0
        t, r, c = t[there], r[there], c[there]
        starts = fold_starts(r, c, held_words(nest)[there])
        return schedule(nest, np.add.reduceat(t, starts), r[starts], c[starts]).end
    return int(_told_by_ranges(nest, nest.row[0], *sides(nest)))


def _told_by_ranges(nest: Nest, tiles: Sequence[Any], rows: Any, cols: Any) -> Any:
    """The same in closed form, of one nest's tiles, rows and columns or over mappings."""
    frame = FoldFrame.of(nest)
    each = zip(nest.loops, tiles, frame.where, frame.holds, strict=True)
    return fold_time(
        [FoldLoop(x.dim, tile, where, held) for x, tile, where, held in each],
        nest.problem.size,
        nest.mapping.fused,
        nest.arch.array,
        rows,
        cols,
        holds_sums=nest.problem.accumulated in nest.keep[nest.levels - 1],
        turned=nest.turned,
    )


class FoldFrame:
    """Which loops folds hang on, whatever the tiles.

    ``outside``  temporal loops outside the PEs, over which folds follow each other or go on
    ``listed``   the same without the innermost inside a pass over which a fold goes on in one size:
                 their words stream one after the other, so T is told of all together
    ``inside``   temporal loops that are not listed; ``over`` those over rows and over columns
    ``holds``    [loops]  whether a loop cuts a tensor that the PEs hold
    ``slides``   the pairs of dimensions of a held ifmap, if it may slide back over them; ``slid``
                 all of these
    ``counted``  listed loops whose positions tell what the PEs hold
    ``where``    [loops]  as ``FoldLoop`` says it
    ``wants_list``  whether ranges do not tell the folds
    ``chains``   of each that has loops: the sizes of its parts; and of its loops the number, the
                 part (-1 for the fused whole), and whether they are spatial
    """

    def __init__(self, nest: Skeleton) -> None:
        last, loops, every = nest.levels - 1, nest.loops, list(enumerate(nest.loops))
        self.outside = [i for i, x in every if not x.spatial and x.level < last]
        self.holds = [holds(nest, x) for x in nest.loops]
        self.where = [
            x.axis if x.spatial else "outside" if x.level < last else "inside" for x in nest.loops
        ]
        self.listed = self._listed(nest)
        self.inside = [i for i, x in every if not x.spatial and i not in self.listed]
        self.over = [[i for i, x in every if x.axis == axis] for axis in ("row", "col")]
        size = nest.problem.size
        self.chains = [
            (
                tuple([size[p] for p in chain.parts]),
                [(i, _place(chain, nest.loops[i].dim), nest.loops[i].spatial) for i in chain.loops],
            )
            for chain in nest.chains
            if chain.loops
        ]
        self.slides = SLIDING if slides(nest) else []
        self.slid = {d for dims in self.slides for d in dims}
        self.counted = [
            i
            for i in self.listed
            if self.holds[i] and (loops[i].dim not in self.slid or cuts_another(nest, loops[i]))
        ]
        self.wants_list = bool(self.slides) or self._ragged()

    @classmethod
    def of(cls, nest: Skeleton) -> FoldFrame:
        """The frame of a nest's form, made once."""
        return nest.form.once("folds", partial(cls, nest))

    def _listed(self, nest: Skeleton) -> list[int]:
        listed, loops = list(self.outside), nest.loops
        while listed:
            last = listed[-1]
            chain = next(c for c in nest.chains if last in c.loops)
            ragged = any(loops[i].spatial for i in chain.loops)
            if ragged or loops[last].level < nest.levels - 2 or self.holds[last]:
                break
            listed.pop()
        return listed

    def _ragged(self) -> bool:
        """Whether folds are of sizes that ranges do not tell: the first two cases at the head of
        this page.
        """
        beside = [i for i in self.outside if not self.holds[i]][1:]
        for _, loops in self.chains:
            own = [i for i, *_ in loops if i in self.outside]
            space = next((i for i, _, spatial in loops if spatial), None)
            if space is not None and any(i > space or i in beside for i in own):
                return True
        return False


def _place(chain: Chain, dim: str) -> int:
    """Which part of a chain a dimension is, -1 for the fused whole."""
    return chain.parts.index(dim) if dim in chain.parts else -1


def wants_list(nest: Skeleton) -> bool:
    """Whether the folds must be listed: the first three cases at the head of this page."""
    return FoldFrame.of(nest).wants_list


def fold_rules(nest: Skeleton) -> FoldRules:
    """Section 5 of a nest's array, for lists of folds."""
    holds_sums = nest.problem.accumulated in nest.keep[nest.levels - 1]
    return FoldRules(nest.arch.array, *sides(nest), holds_sums)


def holds(nest: Skeleton, loop: OpenLoop) -> bool:
    """Whether a loop cuts a tensor that the PEs hold."""
    return any(nest.loop_depends(loop, t) for t in nest.keep[nest.levels - 1])


def cuts_another(nest: Skeleton, loop: OpenLoop) -> bool:
    """Whether a loop cuts a tensor that the PEs hold beside the ifmap."""
    return any(nest.loop_depends(loop, t) for t in nest.keep[nest.levels - 1] - {"ifmap"})


def slides(nest: Skeleton) -> bool:
    """Whether an ifmap that the PEs hold may slide back onto the same words."""
    last = nest.levels - 1
    if "ifmap" not in nest.keep[last] or nest.projection("ifmap", last).pairs:
        return False
    outside = {x.dim for x in nest.loops if not x.spatial and x.level < last}
    return any(
        outside.issuperset(dims) or (outside.intersection(dims) and _cut_short(nest, dims))
        for dims in SLIDING
    )


def _cut_short(nest: Skeleton, dims: Dims) -> bool:
    """Whether padding may cut short what a PE holds of a sliding pair: several words."""
    stored = nest.projection("ifmap", nest.levels - 1).stored_padding
    return any(nest.problem.padding) and not stored and _inside(nest, dims)


def _inside(nest: Skeleton, dims: Dims) -> bool:
    """Whether a sliding pair has loops inside the PEs."""
    inside = [x.dim for x in nest.loops if x.level >= nest.levels - 1]
    return any(p in dims for d in inside for p in nest.fused.get(d, (d,)))


def surely_changes(nest: Skeleton, i: int) -> bool:
    """Whether the PEs hold other words whenever an outside loop advances and those inside it go
    back to their first, whatever the layer's sizes: a loop over a held ifmap only may not, if it
    goes back in the other dimension of the pair, or padding may cut a PE's words short.
    """
    loop, last = nest.loops[i], nest.levels - 1
    pair = next((dims for dims in SLIDING if loop.dim in dims), None)
    told = nest.projection("ifmap", last).pairs or cuts_another(nest, loop)
    if pair is None or told or not holds(nest, loop):
        return holds(nest, loop)
    back = {x.dim for x in nest.loops[i + 1 :] if not x.spatial and x.level < last} & {*pair}
    return back <= {loop.dim} and not _inside(nest, pair)


def held_words(nest: Nest, runs: Mapping[int, Span] | None = None) -> Ints:
    """A number for what the PEs hold in every fold that ``folds`` lists, ``[folds]``: the positions
    of the outside loops that cut a held tensor, in mixed radix; of a held ifmap that slides the
    words, and where it is padding alone all positions.
    """
    frame = FoldFrame.of(nest)
    outside = frame.listed
    shape = tuple([nest.loops[i].trips for i in outside])
    if runs:
        shape = AlikeTurns(nest, outside, runs).shape

    def numbered(loops: Sequence[int], number: Any) -> Ints:
        """The positions of some loops beside a number."""
        for i in loops:
            axis = outside.index(i)
            along = [-1 if at == axis else 1 for at in range(len(outside))]
            number = number * shape[axis] + np.arange(shape[axis]).reshape(along)
        return np.asarray(number)

    number = numbered(frame.counted, np.zeros((1,) * len(outside), np.int64))
    for dims in frame.slides:
        words, padding = pair_words(nest, dims)
        along = [nest.loops[i].trips if nest.loops[i].dim in dims else 1 for i in outside]
        number = number * (int(words.max()) + 1) + words.reshape(along)
        if padding.any():
            alone = numbered([i for i in outside if frame.holds[i]], int(number.max()) + 1)
            number = np.where(padding.reshape(along), alone, number)
    return np.broadcast_to(number, shape).flatten()


def fold_starts(r: Ints, c: Ints, words: Ints) -> Ints:
    """Of settings with r rows, c columns and held words, each ``[settings]``: where a fold begins.
    Those in a row of one size that hold the same words are one.
    """
    new = np.append(True, (np.diff(words) != 0) | (np.diff(r) != 0) | (np.diff(c) != 0))
    return np.flatnonzero(new)


def sides(nest: Skeleton) -> tuple[int, int]:
    """Rows and columns of a systolic array as section 5 counts them: sums travel down its
    columns.
    """
    array = nest.arch.array
    return (array.cols, array.rows) if nest.turned else (array.rows, array.cols)


def sides_told(nest: Skeleton) -> tuple[int, int]:
    """Rows and columns of the array where the time of its nests hangs on them, else 0: arrays that
    differ in others only take the same time for a mapping.
    """
    return fold_rules(nest).told if on_lines(nest) else (0, 0)


def on_lines(nest: Skeleton) -> bool:
    """Whether section 5's folds are the array's time: operands travel and each PE holds
    something.
    """
    return nest.arch.systolic and bool(nest.keep[nest.levels - 1])


def chain_way(nest: Nest, trips: Sequence[Any]) -> Any:
    """Links from the first PE to the last of the chain that adds up a sum, where there is one:
    along the rows, then the columns.  ``trips`` of the loops are numbers, or ``[mappings]``.
    """
    b = next(
        b
        for b in reversed(nest.boundaries)
        if b.tensor == nest.problem.accumulated and b.parent < nest.levels - 1
    )
    if b.kind != "chain":
        return 0
    sizes: dict[str, Any] = dict.fromkeys(("row", "col"), 1)
    for x, n in zip(nest.loops, trips, strict=True):
        if x.spatial and x.level >= b.parent and not depends(x.dim, b.tensor, nest.mapping.fused):
            sizes[x.axis] = sizes[x.axis] * n
    return sizes["row"] + sizes["col"] - 2


def folds(nest: Nest, runs: Mapping[int, Span] | None = None) -> tuple[Ints, Ints, Ints]:
    """T, r and c of every fold or part of one, in order, each ``[folds]``; T is 0 where there is
    nothing.  Where ``runs`` of alike turns are cut short, of those that are laid out.

    A factor of a fold depends on one chain's position only.  Raises MappingError where there are
    more than 2^22.
    """
    frame = FoldFrame.of(nest)
    many = prod([nest.loops[i].trips for i in frame.outside])
    if many > MOST_FOLDS:
        raise MappingError(
            f"the array would take {many} folds, more than the {MOST_FOLDS} that are timed "
            "against a memory one by one (dram=unlimited is a memory that is never waited for)"
        )
    settings = StepSettings(nest, frame.listed, runs)
    t, r, c = (settings.steps(free).flatten() for free in (frame.inside, *frame.over))
    return t, r, c


def _positions(nest: Nest, spatial: bool) -> int:
    """Positions of the spatial loops, or of the temporal ones, the others at their first."""
    tiles, many = nest.row[0], 1
    for sizes, own in FoldFrame.of(nest).chains:
        many *= _existing(sizes, tuple([(part, tiles[i], on == spatial) for i, part, on in own]))
    return many


@lru_cache(maxsize=1 << 14)
def _existing(sizes: tuple[int, ...], cuts: tuple[tuple[int, int, bool], ...]) -> int:
    """Positions of the counted loops that exist in a box of ``sizes``.

    A cut is (part, tile, counted), the part -1 for the fused whole.  A loop is its full pieces and
    a short last one, each a smaller box for the loops inside; a loop that is not counted stands at
    its first piece, the largest.  Remembered, since sweeps ask for the same boxes again and again.
    """
    if not cuts:
        return 1
    (part, tile, counted), inner = cuts[0], cuts[1:]
    if part < 0:  # from here on the chunk is all there is
        sizes, part = (prod(sizes),), 0
        inner = tuple([(0, t, n) for _, t, n in inner])

    def within(length: int) -> int:
        return _existing((*sizes[:part], length, *sizes[part + 1 :]), inner)

    full, rest = divmod(sizes[part], tile)
    if not counted:
        return within(tile if full else rest)
    return (full * within(tile) if full else 0) + (within(rest) if rest else 0)


@dataclass(frozen=True)
class Schedule:
    """How folds follow each other.

    ``gap``    [folds]  edges from each fold's start to the next one's
    ``tail``   [folds]  edges from its start to the one that latches its last result
    ``first``           edges before the first fold starts
    """

    gap: Ints
    tail: Ints
    first: int

    @property
    def start(self) -> Ints:
        """The edge before each fold's first word, ``[folds]``."""
        return np.asarray(self.first + np.concatenate([[0], np.cumsum(self.gap)[:-1]]))

    @property
    def end(self) -> int:
        """The number of the edge that latches the last result."""
        return int((self.start + self.tail).max())


def schedule(nest: Nest, t: Ints, r: Ints, c: Ints) -> Schedule:
    """When each fold of a list starts and ends: T, r and c ``[folds]`` of folds that exist, in
    order.

    The last gap is the one to an equal fold; nothing follows it, but it is what a pass may hide its
    words behind.
    """
    rules = fold_rules(nest)
    r, c = rules.used(*((c, r) if nest.turned else (r, c)))
    r, c = np.broadcast_to(r, t.shape), np.broadcast_to(c, t.shape)
    tail = rules.length(t, r, c)
    gap = rules.gap(t, r, tail, np.append(t[1:], t[-1:]), np.append(r[1:], r[-1:]))
    return Schedule(gap, tail, int(rules.exposed(r[0])))


def pass_times(nest: Nest, many: int, runs: Mapping[int, Span] | None = None) -> tuple[Ints, Ints]:
    """Edges of each of ``many`` passes on an array with lines, memory never waited for, both
    ``[passes]``: from its start to the next one's; and from its start to its last result, or where
    sums stay in the PEs, to the last use of its words.

    A fold may go on over passes: one that goes on with the held words starts where the words of the
    pass before end.  Where sums leave through a register of their own a short fold stands still
    before its last word until those of the fold before are out, so the next pass may start earlier
    than ``schedule`` has its fold start.

    ``runs`` of alike turns are cut short of loops that cut what the PEs hold: no fold goes on from
    one turn to the next then, and a pass hangs on its folds and on those beside them.
    """
    t, r, c = folds(nest, runs)
    starts, whole = np.empty_like(t), np.empty_like(t)
    count = join_folds(t, r, c, held_words(nest, runs), starts, whole)
    starts, whole = starts[:count], whole[:count]
    plan, rules = schedule(nest, whole, r[starts], c[starts]), fold_rules(nest)
    r, c = r[starts], c[starts]
    r, c = rules.used(*((c, r) if nest.turned else (r, c)))
    register = rules.holds_sums and rules.array.overlap and rules.array.outputs == "register"
    start, of_folds = plan.start, np.empty((count, 4), np.int64)
    free = start + (whole if register else plan.gap)  # when the next fold may begin
    of_folds[:, 0] = begin = np.append(0, free[:-1])
    of_folds[:, 1] = begin if register else start
    if not (rules.holds_sums or rules.array.overlap):
        of_folds[:, 1] += r
    of_folds[:, 2] = (r if rules.holds_sums else rules.rows) + c - 2
    of_folds[:, 3] = start + plan.tail
    gap, end = np.zeros(many, np.int64), np.zeros(many, np.int64)
    time_settings(t, len(t) // many, starts, whole, of_folds, int(free[-1]), gap, end)
    return gap, end
