"""The fixed rule for many architectures at once: whole numbers become arrays [architectures].

They have the same levels, networks and formats and differ in numbers: rows, columns, capacities,
banks.  Sweeps ask (``results.batch``).  The walk is ``rule.RuleFrame``'s; its own are how the
largest range is sought (all searches in step) and what is legal (a mask, and no reason why).  An
array of one architecture is several times slower than ``choose``, so both stay; tests hold them
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.hardware.architecture import Architecture, Level
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.footprint import copies, sliding_words
from accelsim.mapping.rule import RuleFrame, rule_skeleton, ruled
from accelsim.mapping.skeleton import Skeleton, SlidingRank, Tiles
from accelsim.workload.problem import Problem

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RuleTiles:
    """``tiles``, one row an architecture; ``fits`` [architectures] is false where not even tiles of
    one word are legal.
    """

    tiles: Tiles
    fits: Bools


def choose_many(problem: Problem, archs: Sequence[Architecture], dataflow: Dataflow) -> RuleTiles:
    """The tiles the fixed rule gives on each architecture; those with the same room are one to it.
    Raises MappingError for what no numbers can mend, and where the only room there is is too small.
    """
    rooms: dict[Any, int] = {}
    which = [rooms.setdefault(_numbers(arch), len(rooms)) for arch in archs]
    distinct = [archs[which.index(n)] for n in range(len(rooms))]
    if len(distinct) == 1:
        one = ruled(problem, archs[0], dataflow)
        skeleton, fits = one.skeleton, np.ones(len(archs), bool)
        rows, trips = np.array([one.tiles]), np.array([one.trips])
    else:
        rule = _ManyRules(rule_skeleton(problem, archs[0], dataflow), distinct)
        rule.walk(dataflow)
        skeleton, fits = rule.skeleton, rule.fits[which]
        rows, trips = np.stack(rule.tiles, axis=1), np.stack(rule.trips, axis=1)
    return RuleTiles(Tiles(skeleton, rows[which], trips[which]), fits)


def _numbers(arch: Architecture) -> tuple[Any, ...]:
    """All that the rule reads of an architecture and another of its kind may have otherwise: PEs,
    and bytes and banks of levels.  Widths of ports, clocks and prices are nothing to it.
    """
    levels = [
        (x.capacity_bytes, x.banks, tuple(x.partitions.items())) for x in arch.levels.values()
    ]
    return arch.array.rows, arch.array.cols, *levels


@dataclass(frozen=True)
class _Room:
    """What a bounded level has on each architecture [architectures]: bytes of each partition, bytes
    of the rest, banks of the rest.
    """

    partitions: dict[str, Ints]
    shared: Ints | None
    banks: Ints | None

    @classmethod
    def of(cls, levels: Sequence[Level]) -> _Room:
        first = levels[0]
        partitions: dict[str, Ints] = {
            t: np.array([x.partitions[t] for x in levels]) for t in first.partitions
        }
        shared, banks = None, None
        if first.capacity_bytes is not None:
            shared = np.array([x.capacity_bytes for x in levels])
        if first.banks is not None:
            banks = np.array([x.banks for x in levels])
        return cls(partitions, shared, banks)


class _ManyRules(RuleFrame):
    """The rule with arrays; where nothing fits, the tiles stay at one word."""

    def __init__(self, skeleton: Skeleton, archs: Sequence[Architecture]) -> None:
        self.n = len(archs)
        self.array = {
            "row": np.array([x.array.rows for x in archs]),
            "col": np.array([x.array.cols for x in archs]),
        }
        self.room = {
            name: _Room.of([x.levels[name] for x in archs]) for _, name, *_ in skeleton.bounded
        }
        super().__init__(skeleton, np.minimum, np.ones(self.n, np.int64))
        if any(n > 1 and d not in self.stages for d, n in skeleton.problem.size.items()):
            self.fits = np.zeros(self.n, bool)  # ``choose`` says why
        else:
            self.fits = self._legal()

    @staticmethod
    def most(a: Ints, b: Ints) -> Ints:
        return np.maximum(a, b)

    def have(self, axis: str) -> Ints:
        return self.array[axis]

    # -- what is legal -----------------------------------------------------------------------------

    def _legal(self) -> Bools:
        """Which architectures can hold the tiles [architectures]."""
        legal = np.ones(self.n, bool)
        for axis in self.axes:
            legal &= self.rows_needed(axis) <= self.have(axis)
        for at, name, level, kept in self.skeleton.bounded:
            legal &= self._fits(at, level, kept, self.room[name])
        return legal

    def _fits(self, at: int, level: Level, kept: list[str], room: _Room) -> Bools:
        """Where the tiles a level keeps fit it [architectures]: those with a partition each theirs,
        the others together the rest, in whole banks if it has such.
        """
        fits = np.ones(self.n, bool)
        together = np.zeros(self.n, np.int64)
        for t in kept:
            need = self._bytes(at, t, level)
            if t in room.partitions:
                fits &= need <= room.partitions[t]
            elif room.shared is not None and room.banks is not None:
                together += -(-need // (room.shared // room.banks))
            elif room.shared is not None:
                together += need
        if room.shared is not None:
            fits &= together <= (room.shared if room.banks is None else room.banks)
        return fits

    def _bytes(self, at: int, tensor: str, level: Level) -> Ints:
        """Bytes of a tensor's largest tile at a level [architectures]."""
        skeleton = self.skeleton
        bits: Any = getattr(skeleton.arch.bits, tensor)
        if tensor == skeleton.problem.accumulated:
            open_ = self._some_run(skeleton.unfinished[at])
            bits = np.where(open_, skeleton.arch.bits.psum, bits)
        once = -(-self._tile_words(at, tensor) * bits // 8)
        return np.asarray(once * copies(skeleton, at, tensor, level))

    def _some_run(self, loops: Sequence[int]) -> Bools:
        """Where any of these loops makes more than one trip [architectures]."""
        some = np.zeros(self.n, bool)
        for i in loops:
            some |= self.trips[i] > 1
        return some

    def _tile_words(self, level: int, tensor: str) -> Ints:
        """``Footprint.tile_words`` [architectures]."""
        largest = self.skeleton.largest_tile(level, tensor)
        words = np.full(self.n, largest.whole)
        for i in largest.innermost:
            words = words * self.tiles[i]
        for rank in largest.sliding:
            words = words * self._slid(rank)
        return np.where(self._some_run(largest.pairs), 1, words) if largest.pairs else words

    def _slid(self, rank: SlidingRank) -> Ints:
        """Words of a sliding rank's longest piece, worked out once for each way of cutting."""
        (out, filt), (e, r) = rank.sizes, rank.cuts
        loops = [*e, *r]
        if not loops:
            return np.full(self.n, sliding_words(rank.slide, out, (), filt, ()))
        rows, which = np.unique(
            np.stack([self.tiles[i] for i in loops], axis=1), axis=0, return_inverse=True
        )
        words = [
            sliding_words(rank.slide, out, row[: len(e)], filt, row[len(e) :])
            for row in map(tuple, rows.tolist())
        ]
        return np.array(words, np.int64)[which.ravel()]

    # -- growing -----------------------------------------------------------------------------------

    def grow(self, dim: str, stage: int, limit: Ints | None = None) -> None:
        """As ``_Rule.grow``, all searches in step: those that are done stand still until the last
        is.
        """
        at = self.stages[dim].index(stage)
        if not at:
            return
        before = list(self.ranges[dim])
        low = before[at]
        high = before[0] if limit is None else np.minimum(before[0], limit)
        high = np.where(self.fits, np.maximum(low, high), low)
        if not (high > low).any():
            return
        self.enter(dim, at, before, high)
        whole = self._legal() | (high <= low)
        top = high
        high = np.where(whole, low, high)
        while (high - low > 1).any():
            middle = np.where(high - low > 1, (low + high) // 2, low)
            self.enter(dim, at, before, middle)
            legal = self._legal()
            up = legal & (high - low > 1)
            high = np.where(~legal & (high - low > 1), middle, high)
            low = np.where(up, middle, low)
        # whole tiles of the loop inside, so that no level gets a sliver of a last piece
        inner = before[at + 1] if at + 1 < len(before) else 1
        last = np.where(whole, top, np.maximum(before[at], low - low % inner))
        self.enter(dim, at, before, last)


__all__ = ["RuleTiles", "choose_many"]
