"""The fixed rule of ``tiling`` for many architectures at once, as arrays: one axis, the
architectures.

They have the same levels, networks and formats and differ in numbers: rows, columns, capacities, banks.  ``tiling.choose``
is the same rule for one architecture, written apart; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.footprint import depends, sliding_words
from accelsim.mapping.mapping import FUSED, Loop, Mapping
from accelsim.mapping.rule import RuleSlot, kept, slots_of
from accelsim.workload.problem import DIMS, RANKS, TENSORS, Problem, Slide

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
UNBOUNDED = np.iinfo(np.int64).max // 4


@dataclass(frozen=True)
class Tilings:
    """Tiles and trips by slot over the architectures; ``fits`` is false where not even tiles of one
    word are legal.
    """

    slots: tuple[RuleSlot, ...]
    tiles: Ints  # (slot, architecture)
    trips: Ints
    fits: Bools
    keep: tuple[frozenset[str], ...]
    fused: dict[str, tuple[str, ...]]

    def mapping(self, at: int, names: Sequence[str]) -> Mapping:
        """The mapping of one architecture, loops of one trip left out; ``names`` are its levels."""
        loops = tuple(
            Loop(dim=s.dim, tile=int(tile), level=names[s.level], axis=s.axis)
            for s, tile, trips in zip(self.slots, self.tiles[:, at], self.trips[:, at], strict=True)
            if trips > 1
        )
        keep = {n: tuple(t for t in TENSORS if t in self.keep[i]) for i, n in enumerate(names)}
        return Mapping(loops=loops, keep=keep, fused=self.fused)


def choose_many(problem: Problem, archs: Sequence[Architecture], dataflow: Dataflow) -> Tilings:
    """The tiles the fixed rule gives on each architecture.  Raises MappingError for what no numbers
    can mend.
    """
    rule = _ManyRules(problem, archs, dataflow)
    for entry in dataflow.sizes:
        dim, _, place = entry.partition(":")
        rule.grow(dim, place)
    return Tilings(
        tuple(rule.slots),
        np.stack(rule.tiles),
        np.stack(rule.trips),
        rule.fits,
        rule.keep,
        rule.fused,
    )


class _ManyRules:
    def __init__(self, problem: Problem, archs: Sequence[Architecture], dataflow: Dataflow) -> None:
        self.problem, self.arch, self.n = problem, archs[0], len(archs)
        self.keep = kept(self.arch, dataflow)
        self.slots = slots_of(self.arch, dataflow, self.keep)
        self.fused = {d: FUSED[d] for d in FUSED if any(s.dim == d for s in self.slots)}
        self.part_of = {p: d for d, parts in self.fused.items() for p in parts}
        self.stages: dict[str, list[int]] = {}
        for d in (*DIMS, *self.fused):
            own = [i for i, s in enumerate(self.slots) if s.dim == d]
            if d in self.part_of:
                own.append(min(i for i, s in enumerate(self.slots) if s.dim == self.part_of[d]))
            if own:
                self.stages[d] = own
        one = np.ones(self.n, np.int64)
        self.ranges = {
            d: [np.full(self.n, problem.size[d]) if d in DIMS else one, *[one] * (len(own) - 1)]
            for d, own in self.stages.items()
        }
        self.axis = {
            a: np.array([getattr(x.array, f"{a}s") for x in archs]) for a in ("row", "col")
        }
        self.room = [
            self._room([list(x.levels.values())[i] for x in archs])
            for i in range(len(self.arch.levels))
        ]
        self.tiles, self.trips = [one] * len(self.slots), [one] * len(self.slots)
        self._words: dict[tuple[Slide, tuple[int, ...]], dict[tuple[int, ...], int]] = {}
        for d in self.stages:
            self._cut(d)
        if any(n > 1 and d not in self.stages for d, n in problem.size.items()):
            self.fits = np.zeros(self.n, bool)  # ``choose`` says why
        else:
            self.fits = self._legal()

    def _room(self, levels: Sequence[Any]) -> tuple[dict[str, Ints], Ints | None, Ints | None]:
        """Bytes of each partition, of the rest, and its banks."""
        first = levels[0]
        own = {t: np.array([x.partitions[t] for x in levels]) for t in first.partitions}
        shared = (
            None if first.capacity_bytes is None else np.array([x.capacity_bytes for x in levels])
        )
        return own, shared, None if first.banks is None else np.array([x.banks for x in levels])

    # -- loops by ranges ---------------------------------------------------------------------------

    def _cut(self, dim: str) -> None:
        ranges, own = self.ranges[dim], self.stages[dim]
        for k, i in enumerate(own):
            if self.slots[i].dim != dim:
                continue
            leaving = ranges[k + 1] if k + 1 < len(ranges) else 1
            self.tiles[i] = np.minimum(leaving, ranges[k])
            self.trips[i] = -(-ranges[k] // self.tiles[i])
        if (whole := self.part_of.get(dim)) is not None:
            start = np.ones(self.n, np.int64)
            for p in self.fused[whole]:
                start = start * self.ranges[p][-1]
            self.ranges[whole][0] = start
            self._cut(whole)

    def _legal(self) -> Bools:
        found = np.ones(self.n, bool)
        for axis, have in self.axis.items():
            need = np.ones(self.n, np.int64)
            for i, s in enumerate(self.slots):
                if s.axis == axis:
                    need = need * self.trips[i]
            found &= need <= have
        for level in range(len(self.room)):
            found &= self._fits(level)
        return found

    def _fits(self, level: int) -> Bools:
        own, shared, banks = self.room[level]
        found = np.ones(self.n, bool)
        if not own and shared is None:
            return found
        together = np.zeros(self.n, np.int64)
        for t in self.keep[level]:
            need = self._bytes(level, t)
            if t in own:
                found &= need <= own[t]
            elif shared is not None:
                together += need if banks is None else -(-need // (shared // banks))
        if shared is not None:
            found &= together <= (shared if banks is None else banks)
        return found

    def _bytes(self, level: int, tensor: str) -> Ints:
        bits: Any = getattr(self.arch.bits, tensor)
        if tensor == self.problem.accumulated:
            bits = np.where(self._final(level), bits, self.arch.bits.psum)
        once = -(-self._tile_words(level, tensor) * bits // 8)
        return np.asarray(
            once * (2 if list(self.arch.levels.values())[level].double_buffered else 1)
        )

    def _final(self, level: int) -> Bools:
        acc, last = self.problem.accumulated, len(self.keep) - 1
        child = next((i for i in range(level + 1, last + 1) if acc in self.keep[i]), last + 1)
        below = child - 1 if child <= last else last if level == last else max(last - 1, 0)
        adds = self.arch.network_below(below)[1].accumulated != "unicast"
        open_ = np.zeros(self.n, bool)
        for s, trips in zip(self.slots, self.trips, strict=True):
            if (
                s.level < child
                and not depends(s.dim, acc, self.fused)
                and not (s.axis != "none" and s.level >= level and adds)
            ):
                open_ |= trips > 1
        return ~open_

    def _tile_words(self, level: int, tensor: str) -> Ints:
        words = np.ones(self.n, np.int64)
        done = set()
        pairs = np.zeros(self.n, bool)
        for name, parts in self.fused.items():
            above = [i for i, s in enumerate(self.slots) if s.dim == name and s.level < level]
            if tensor == "ifmap":
                for i in above:
                    pairs |= self.trips[i] > 1
            elif above and depends(name, tensor, self.fused):
                done |= set(parts)
                chunk: Any = np.ones(self.n, np.int64)
                for p in parts:
                    chunk = chunk * self._extent(p, level)
                for i in above:
                    chunk = np.where(self.trips[i] > 1, np.minimum(chunk, self.tiles[i]), chunk)
                words = words * chunk
        for rank in RANKS[tensor]:
            if rank[0] in done:
                continue
            words = words * (
                self._extent(rank[0], level) if len(rank) == 1 else self._slid(rank, level)
            )
        return np.where(pairs, 1, words)

    def _extent(self, dim: str, level: int) -> Any:
        found: Any = self.problem.size[dim]
        for i in self.stages.get(dim, ()):
            if self.slots[i].dim == dim and self.slots[i].level < level:
                found = np.minimum(found, self.tiles[i])
        return found

    def _slid(self, rank: tuple[str, ...], level: int) -> Ints:
        """Words of a sliding rank's largest tile, worked out once for each way of tiling."""
        stored = self.problem.accumulated != "ifmap" and self.arch.stores_padding(level)
        slide = self.problem.padded_slide(rank) if stored else self.problem.slide(rank)
        own = [
            [
                i
                for i in self.stages.get(d, ())
                if self.slots[i].dim == d and self.slots[i].level < level
            ]
            for d in rank
        ]
        size = [self.problem.size[d] for d in rank]
        if not own[0] and not own[1]:
            return np.full(self.n, sliding_words(slide, size[0], (), size[1], ()))
        rows, which = np.unique(
            np.stack([self.tiles[i] for i in (*own[0], *own[1])], axis=1),
            axis=0,
            return_inverse=True,
        )
        known = self._words.setdefault((slide, (level, *own[0], *own[1])), {})
        found = np.empty(len(rows), np.int64)
        for k, row in enumerate(map(tuple, rows.tolist())):
            if row not in known:
                known[row] = sliding_words(
                    slide, size[0], row[: len(own[0])], size[1], row[len(own[0]) :]
                )
            found[k] = known[row]
        return found[which.ravel()]

    # -- growing -----------------------------------------------------------------------------------

    def grow(self, dim: str, place: str) -> None:
        if place != "buffer":
            names = (dim, *FUSED.get(dim, ()))
            for stage in reversed(
                [i for i, s in enumerate(self.slots) if s.place == place and s.dim in names]
            ):
                if place != "pe":
                    self._feed(self.slots[stage].dim, self.axis[place])
                self._grow(self.slots[stage].dim, stage)
            return
        for level in range(1, len(self.arch.levels) - 1):
            for d in (dim, *reversed(FUSED.get(dim, ()))):
                inward = [i for i in self.stages.get(d, ()) if self.slots[i].level >= level]
                if inward:
                    self._grow(d, inward[0])

    def _feed(self, dim: str, wanted: Ints) -> None:
        for part in reversed(self.fused.get(dim, ())):
            others: Any = np.ones(self.n, np.int64)
            for p in self.fused[dim]:
                if p != part:
                    others = others * self.ranges[p][-1]
            self._grow(part, self.stages[part][-1], -(-wanted // others))

    def _grow(self, dim: str, stage: int, limit: Any = UNBOUNDED) -> None:
        at = self.stages[dim].index(stage)
        if not at:
            return
        ranges = self.ranges[dim]
        before = list(ranges)

        def enter(value: Ints) -> None:
            ranges[1 : at + 1] = [np.maximum(r, value) for r in before[1 : at + 1]]
            self._cut(dim)

        low = before[at]
        high = np.where(self.fits, np.maximum(low, np.minimum(before[0], limit)), low)
        if not (high > low).any():
            return
        enter(high)
        whole = self._legal() | (high <= low)
        top = high
        high = np.where(whole, low, high)
        while (high - low > 1).any():
            middle = np.where(high - low > 1, (low + high) // 2, low)
            enter(middle)
            legal = self._legal()
            up = legal & (high - low > 1)
            high = np.where(~legal & (high - low > 1), middle, high)
            low = np.where(up, middle, low)
        inner = before[at + 1] if at + 1 < len(before) else 1
        enter(np.where(whole, top, np.maximum(before[at], low - low % inner)))
