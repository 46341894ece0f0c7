"""What single combinations of choices take at the least where passes wait for their tiles: closer
than the forms of ``lower_cycles``, for the few that are to be timed in full.

``quick_search`` times its best few one after the other, a few milliseconds each; most turn out to
be slower than the first, and that can be told of them before.  A level with one slot for a tensor
fetches or lets go a tile only while the array stands still.  So on systolic lines whose PEs hold an
operand:

    cycles >= transfers + array + (tiles - 1) x after

``transfers``  all that such levels take from the outermost level's port, or give to it
``array``      what the array takes from its first preload to the last pass's last result; or all
               that passes themselves move over that port, and what comes after it
``after``      from when the array is free to a pass's last result.  The next pass would start
               within it, but a tile that waits for the pass's end comes after it
``tiles``      of the tensor that has most of them: all its words over the most that one tile has

Each transfer lies between the end of one pass and the start of the next (docs/time.md, "Steps,
slots and the pipeline"), before the first or after the last; they are one after the other as they
use one port.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import FoldFrame, fold_loops, on_lines, sides
from accelsim.engines.analytic.closed_form import words_used
from accelsim.engines.analytic.fold_time import fold_time
from accelsim.engines.analytic.pipeline import overlaps, surely_short
from accelsim.hardware.ports import Access, latency, port
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapping.files import MAX_CUTS
from accelsim.mapping.skeleton import Boundary, Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class _Fed(NamedTuple):
    """A tensor that a level has one slot for, fed by the outermost level's port: the places of its
    words, and of its tile's, in ``LayerTables.moving`` and in usage.
    """

    boundary: Boundary
    words: int
    tile: int


class WaitedPasses:
    """The least cycles of combinations of choices for one machine's tables.

    ``nest``  the tables' skeleton on the machine
    """

    def __init__(self, tables: LayerTables, nest: Skeleton) -> None:
        self.tables, self.nest = tables, nest

    @cached_property
    def applies(self) -> bool:
        """Whether the head of this page is about this machine and layer, and no combination that
        is not long is refused by the engine.
        """
        nest = self.nest
        return (
            self.tables.exact
            and on_lines(nest)
            and nest.arch.array.overlap
            and nest.problem.accumulated == "ofmap"
            and "ofmap" not in nest.keep[nest.levels - 1]
            and port(nest.arch, 0, "read") is not None
            and not any(x.spatial and x.level < nest.levels - 2 for x in nest.loops)
            and surely_short(nest.problem, nest.arch)
        )

    def cycles(self, choices: Ints, usage: Floats, bits: int) -> int:
        """Cycles that a combination [families] of this ``usage`` [usage columns], which leaves sums
        unfinished as ``bits`` say, is not below; 0 where nothing is known.
        """
        tables = self.tables
        tiles, trips = tables.tile_row(choices), tables.trip_row(choices)
        if any(
            prod([trips[i] for i in family.loops])
            > MAX_CUTS * prod([self.nest.problem.size[p] for p in family.parts])
            for family in tables.families
        ):
            return 0
        array = self._array(tiles, trips, usage)
        if array is None:
            return 0
        (end, after), words = array, tables.words_of(choices)
        moved, tiles_waited = self._transfers(words, usage, bits)
        inside = self._inside(words)
        return moved + max(end, inside + after) + (tiles_waited - 1) * after

    # -- the array ---------------------------------------------------------------------------------

    def _array(
        self, tiles: Sequence[int], trips: Sequence[int], usage: Floats
    ) -> tuple[int, int] | None:
        """The last pass's last result, and the least ``after``; None where folds must be listed to
        know.
        """
        nest, array = self.nest, self.nest.arch.array
        there = [i for i, n in enumerate(trips) if n > 1]
        if self._frame.ragged(there):
            return None
        every = fold_loops(nest, tiles)
        rows, cols = sides(nest)
        alone = fold_time(
            [every[i] for i in there], nest.problem.size, nest.fused, array, rows, cols,
            holds_sums=False, turned=nest.turned,
        )  # fmt: skip
        most_r, most_c = (int(usage[1]), int(usage[0])) if nest.turned else map(int, usage[:2])
        least_c = self._least(there, tiles, "row" if nest.turned else "col")
        if array.partial_folds == "full":
            most_r, most_c, least_c = rows, cols, cols
        least_t = self._least(there, tiles, "inside")
        hidden = most_r - 1 if array.weight_registers == 1 else max(0, most_r - least_t)
        # an earlier fold of more columns may end later
        return alone - max(0, most_c - least_c - least_t), max(0, rows + least_c - 2 - hidden)

    @cached_property
    def _frame(self) -> FoldFrame:
        return FoldFrame.of(self.nest)

    def _least(self, there: Sequence[int], tiles: Sequence[int], where: str) -> int:
        """The least steps of a fold that has any (``inside``), or its least rows or columns."""
        size, many = self.nest.problem.size, 1
        for family in self.tables.families:
            own = [i for i in family.loops if i in there]
            if own:
                many *= self._pieces(own, tiles, {p: size[p] for p in family.parts}, where)
        return many

    def _pieces(
        self, own: Sequence[int], tiles: Sequence[int], now: dict[str, int], where: str
    ) -> int:
        """Of a chain's loops ``own`` over ranges of sizes ``now``: positions of those at ``where``,
        the loops over which folds follow each other where that is least, others at their first.
        """
        if not own:
            return 1
        at, inner = own[0], own[1:]
        x = self.nest.loops[at]
        whole = now[x.dim] if x.dim in now else prod(now.values())
        full = min(tiles[at], whole)
        rest = whole - (-(-whole // full) - 1) * full
        here = self._frame.where[at]
        first = self._pieces(inner, tiles, {**now, x.dim: full}, where)
        if here not in ("outside", where):
            return first
        last = first if rest == full else self._pieces(inner, tiles, {**now, x.dim: rest}, where)
        if here == "outside":
            return min(first, last)
        return (-(-whole // full) - 1) * first + last

    # -- the port ----------------------------------------------------------------------------------

    @cached_property
    def _fed(self) -> list[_Fed]:
        """What waits for the outermost level's port between passes."""
        nest, at, fed = self.nest, self._places, []
        for b in nest.boundaries:
            outermost = b.parent == 0 and b.child < nest.levels - 1
            if outermost and not overlaps(nest, b.child, b.tensor):
                words = at[b, "arrived" if b.tensor == "ofmap" else "read"]
                fed.append(_Fed(b, words, 2 + self.tables.stores.index((b.child, b.tensor))))
        return fed

    @cached_property
    def _places(self) -> dict[tuple[Boundary | None, str], int]:
        return {column: i for i, column in enumerate(self.tables.moving)}

    def _transfers(self, words: Ints, usage: Floats, bits: int) -> tuple[int, int]:
        """Cycles of all that waits for the outermost level's port between passes; and the tiles of
        the tensor that has most.
        """
        arch, most = self.nest.arch, 1
        outermost = arch.levels[arch.level_names[0]]
        shared, late = outermost.ports == "shared", latency(arch, 0)
        cycles: dict[Access, int] = {"read": 0, "write": 0}
        for b, at, column in self._fed:
            moved = int(words[at])
            if not moved:
                continue
            # what a tile of pairs holds is not told
            paired = self.nest.largest_tile(b.child, b.tensor).pairs
            many = 1 if paired else -(-moved // int(usage[column]))
            way: Access = "write" if b.tensor == "ofmap" else "read"
            own = port(arch, 0, way)
            assert own is not None
            back = self._read_back(moved) if way == "write" and shared else 0
            each = self._word_bits(b.tensor, bits)
            cycles[way] += int(own.cycles((moved + back) * each)) + many * late
            most = max(most, many)
        return (sum if shared else max)(cycles.values()), most

    def _read_back(self, arrived: int) -> int:
        """Of so many sums that arrive at the outermost level, those it reads to add to."""
        arch = self.nest.arch
        if arch.first_read == arch.level_names[0]:
            return arrived
        return max(0, arrived - words_used(self.nest.problem, "ofmap"))

    def _inside(self, words: Ints) -> int:
        """Cycles of the operands that passes themselves take from the outermost level's port."""
        nest, total = self.nest, 0
        read = port(nest.arch, 0, "read")
        assert read is not None
        for b in nest.boundaries:
            if b.parent == 0 and b.child >= nest.levels - 1 and b.tensor != "ofmap":
                total += int(words[self._places[b, "read"]]) * nest.word_bits(0, b.tensor)
        return int(read.cycles(total))

    def _word_bits(self, tensor: str, bits: int) -> int:
        """The width of a word at the outermost level."""
        own = self.nest.arch.bits
        return own.psum if tensor == "ofmap" and bits & 1 else int(getattr(own, tensor))


__all__ = ["WaitedPasses"]
