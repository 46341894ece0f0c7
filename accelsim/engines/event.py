"""The event engine, untimed: carries out ``movement`` in order, on real words.

Each buffer instance is an array of its capacity that holds only what was moved into it; everything else is
poison (NaN), and poison spreads to the result.  Counts are the lengths of what was copied.  Inside a pass
the PEs are vectorised: a word on a bus is one value whoever takes it, MACs are a matrix product, and what
they read is what the PEs, or the level that feeds them, hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.counts import Moved
from accelsim.engines.movement import Drain, Event, Fill, Folds, Ints, Open, Pass, PeDrain, PeLoad, movement
from accelsim.engines.multiply import Box, Get
from accelsim.mapping.nest import Boundary, Nest, Piece
from accelsim.workload.arithmetic import wrap
from accelsim.workload.problem import Problem

Floats = npt.NDArray[Any]
Instance = tuple[int, ...]


@dataclass
class Outcome:
    """What a run gives: the accumulated tensor, what crossed each boundary, and the array's time."""

    result: npt.NDArray[np.int64]
    moves: dict[Boundary, Moved]
    macs: int
    compute_cycles: int
    active_pes: int
    folds: list[Folds] = field(default_factory=list)


def run(nest: Nest, data: Mapping[str, npt.NDArray[Any]], events: Iterable[Event] | None = None) -> Outcome:
    """Carry out a nest on ``data`` (operand arrays by tensor name, ``bias`` of shape (G, M) if the layer has one).

    Returns the accumulated tensor wrapped to psum width.  A word that was read where it was not held comes
    out as poison: the smallest int64, which no accumulator can hold.  Raises ValueError where sums could
    exceed 2^53, beyond which float64 is not exact.
    """
    _check_exact(nest.problem, data)
    machine = _Machine(nest, data)
    for event in movement(nest) if events is None else events:
        machine.carry_out(event)
    return machine.outcome()


def _check_exact(problem: Problem, data: Mapping[str, npt.NDArray[Any]]) -> None:
    terms = problem.macs // max(1, problem.words(problem.accumulated)) + problem.R * problem.S
    largest = prod(max(abs(int(data[t].min())), abs(int(data[t].max()))) for t in problem.operands)
    if largest * terms * problem.R * problem.S >= 1 << 53 and largest * problem.macs >= 1 << 53:
        raise ValueError(f"sums of up to {problem.macs} products of magnitude {largest} may exceed 2^53; the engine would not be exact")


def array_cycles(nest: Nest, folds: Iterable[Folds]) -> int:
    """Array time of the folds as they were executed, one after another (DESIGN section 5); equal runs at a stride."""
    if not nest.arch.systolic or not nest.keep[nest.levels - 1]:
        return sum(int(f.length.sum()) for f in folds)
    array, os = nest.arch.array, nest.problem.accumulated in nest.keep[nest.levels - 1]
    start, end, before = 0, 0, None
    for t, r, c, times in _runs(folds):
        if array.partial_folds == "full":
            r, c = array.rows, array.cols
        if os:
            length = t + r + c - 2 + (0 if array.outputs == "in_place" else array.rows)
            gap = {"in_place": t, "accumulators": t + array.rows - 1, "register": max(t, array.rows)}[array.outputs]
            preload = 0
        else:
            length = t + array.rows + c - 2
            gap = max(t, r) if array.weight_registers == 2 else t + r - 1
            preload = r
        if not array.overlap:
            end += times * (preload + length)
            continue
        if before is None:
            start = preload
        elif os:
            start += before[1]
        else:
            start += max(before[0], r) if array.weight_registers == 2 else before[0] + r - 1
        start += (times - 1) * gap
        end = max(end, start + length)
        before = (t, gap)
    return end


def _runs(folds: Iterable[Folds]) -> Iterator[tuple[int, int, int, int]]:
    """(T, r, c, times) of equal folds in a row."""
    for f in folds:
        table = np.stack([f.length, f.rows, f.cols])
        starts = np.flatnonzero(np.append(True, (np.diff(table, axis=1) != 0).any(axis=0)))
        for at, stop in zip(starts, [*starts[1:], table.shape[1]], strict=True):
            yield int(table[0, at]), int(table[1, at]), int(table[2, at]), int(stop - at)


# -- storage ------------------------------------------------------------------------------------------------


class _Outermost:
    """The outermost level: every word has its place."""

    def __init__(self, words: npt.NDArray[Any]) -> None:
        self.data = words.reshape(-1)
        self.fresh = np.ones(0, bool)
        self.shape = words.shape

    def get(self, words: Ints) -> Floats:
        return self.data[words]

    def box(self, where: tuple[slice, ...]) -> Floats:
        return self.data.reshape(self.shape)[where]

    def add(self, words: Ints, values: Floats) -> None:
        self.data[words] += values

    def arrive(self, words: Ints) -> int:
        """Mark words as arrived; how many arrived for the first time."""
        if not len(self.fresh):
            self.fresh = np.ones(self.data.size, bool)
        first = int(np.count_nonzero(self.fresh[words]))
        self.fresh[words] = False
        return first


class _Buffer:
    """One instance of a level, for one tensor: ``size`` slots, a place for each word held, poison elsewhere."""

    def __init__(self, shape: tuple[int, ...], size: int, dtype: Any) -> None:
        self.shape = shape
        self.place = np.full(prod(shape), size, np.int32)  # slot of each word; ``size`` is the poisoned slot
        self.data = np.full(size + 1, np.nan, dtype)
        self.fresh = np.zeros(size + 1, bool)
        self.free: deque[Ints] = deque()
        self.size, self.used, self.n_fresh = size, 0, 0
        self._reset()

    def _reset(self) -> None:
        self.free = deque([np.arange(self.size, dtype=np.int32)])

    def release(self, words: Ints) -> None:
        slots = self.place[words]
        slots = slots[slots < self.size]
        self.place[words] = self.size
        self.data[slots] = np.nan
        self.used -= len(slots)
        if self.n_fresh:
            self.n_fresh -= int(np.count_nonzero(self.fresh[slots]))
            self.fresh[slots] = False
        if self.used:
            self.free.append(slots)
        else:
            self._reset()

    def hold(self, words: Ints, values: Floats | float) -> None:
        slots = self._take(len(words))
        self.place[words] = slots
        self.data[slots] = values
        self.used += len(slots)

    def open(self, words: Ints) -> None:
        self.hold(words, 0.0)
        self.fresh[self.place[words]] = True
        self.n_fresh += len(words)

    def _take(self, n: int) -> Ints:
        taken = []
        while n:
            if not self.free:
                raise RuntimeError(f"a buffer of {self.size} words overflows")
            slots = self.free.popleft()
            if len(slots) > n:
                self.free.appendleft(slots[n:])
                slots = slots[:n]
            taken.append(slots)
            n -= len(slots)
        return np.concatenate(taken) if taken else np.zeros(0, np.int32)

    def get(self, words: Ints) -> Floats:
        return self.data[self.place[words]]

    def box(self, where: tuple[slice, ...]) -> Floats:
        return self.data[self.place.reshape(self.shape)[where]]

    def holds(self, words: Ints) -> npt.NDArray[np.bool_]:
        return self.place[words] < self.size

    def add(self, words: Ints, values: Floats) -> None:
        slots = self.place[words]
        first = int(slots[0]) if len(slots) else 0
        if len(slots) and int(slots[-1]) - first == len(slots) - 1 and bool((np.diff(slots) == 1).all()):
            self.data[first : first + len(slots)] += values
        else:
            self.data[slots] += values

    def arrive(self, words: Ints) -> int:
        if not self.n_fresh:
            return 0
        slots = self.place[words]
        first = int(np.count_nonzero(self.fresh[slots]))
        self.fresh[slots] = False
        self.n_fresh -= first
        return first


Store = _Outermost | _Buffer


# -- the machine --------------------------------------------------------------------------------------------


class _Machine:
    def __init__(self, nest: Nest, data: Mapping[str, npt.NDArray[Any]]) -> None:
        self.nest, self.problem = nest, nest.problem
        self.acc = self.problem.accumulated
        self.moves = {b: Moved() for b in nest.boundaries}
        self.macs = self.compute_cycles = self.active = 0
        self.folds: list[Folds] = []
        self.stores: dict[tuple[str, int, Instance], Store] = {}
        for t in self.problem.operands:
            self.stores[t, 0, ()] = _Outermost(np.ascontiguousarray(data[t]))
        start = np.zeros(self.problem.shape(self.acc))
        if self.problem.bias and self.problem.direction == "forward":
            start += data["bias"][None, :, :, None, None]
        self.stores[self.acc, 0, ()] = _Outermost(start)
        self.pe = nest.levels - 1
        self.pes: dict[tuple[str, Instance], Floats] = {}  # what PEs hold, by cluster, word for word
        self.pe_words: dict[tuple[str, Instance], Ints] = {}
        self.operand = np.float32 if max(nest.arch.bits.weight, nest.arch.bits.ifmap, nest.arch.bits.ofmap) <= 16 else np.float64
        spatial = [x for x in nest.loops if x.spatial]
        self.depth = [sum(x.level < level for x in spatial) for level in range(nest.levels + 1)]

    def outcome(self) -> Outcome:
        total = self.stores[self.acc, 0, ()].data
        poison = np.isnan(total)
        result = wrap(np.where(poison, 0.0, total), self.nest.arch.number("psum"))
        result[poison] = np.iinfo(np.int64).min
        shaped = result.reshape(self.problem.shape(self.acc))
        return Outcome(shaped, self.moves, self.macs, self.compute_cycles, self.active, self.folds)

    def store(self, tensor: str, level: int, instance: Instance) -> Store:
        """The storage of an instance of a level; of any instance inside it, its own."""
        key = (tensor, level, instance[: self.depth[level]])
        found = self.stores.get(key)
        if found is None:
            dtype = np.float64 if tensor == self.acc else self.operand
            size = self.nest.footprint.tile_words(level, tensor)
            found = self.stores[key] = _Buffer(self.problem.shape(tensor), size, dtype)
        return found

    def carry_out(self, event: Event) -> None:
        if isinstance(event, Pass):
            self._pass(event)
        elif isinstance(event, Fill):
            self._fill(event)
        elif isinstance(event, Drain):
            self._drain(event)
        elif isinstance(event, Open):
            for instance, words in event.children:
                buffer = self.store(event.tensor, event.level, instance)
                assert isinstance(buffer, _Buffer)
                buffer.open(words)
        else:
            self._pe_drain(event)

    # buffers

    def _fill(self, fill: Fill) -> None:
        b = fill.boundary
        moved = self.moves[b]
        for instance, come, gone in fill.takes:
            child = self.store(b.tensor, b.child, instance)
            assert isinstance(child, _Buffer)
            child.release(gone)
            child.hold(come, self.store(b.tensor, b.parent, instance).get(come))
            moved.taken += len(come)
        moved.read += sum(len(words) for _, words in fill.reads)

    def _drain(self, drain: Drain) -> None:
        b = drain.boundary
        moved = self.moves[b]
        for instance, words in drain.children:
            child = self.store(b.tensor, b.child, instance)
            assert isinstance(child, _Buffer)
            self._send_up(b, instance, words, child.get(words))
            child.release(words)
            moved.drained += len(words)
        for parent, words in drain.arrivals:
            self._arrive(b, parent, words)

    def _send_up(self, b: Boundary, instance: Instance, words: Ints, values: Floats) -> None:
        """Add to the parent; a word it no longer holds (its PE stood idle meanwhile) goes on to the next that does."""
        for level in reversed([k for k in self.nest.keepers(b.tensor) if k <= b.parent]):
            target = self.store(b.tensor, level, instance)
            if isinstance(target, _Outermost):
                target.add(words, values)
                return
            here = target.holds(words)
            if here.all():
                target.add(words, values)
                return
            target.add(words[here], values[here])
            words, values = words[~here], values[~here]

    def _arrive(self, b: Boundary, parent: Instance, words: Ints) -> None:
        """Count arrivals at a parent and the reads they cost: all but the first of each residency."""
        moved = self.moves[b]
        moved.arrived += len(words)
        once = np.unique(words) if self.nest.pairs(b.tensor, b.child) else words  # two pairs may be one word
        moved.updated += len(words) - self.store(b.tensor, b.parent, parent).arrive(once)

    # passes

    def _pe_drain(self, drain: PeDrain) -> None:
        b = drain.boundary
        self.moves[b].drained += drain.drained
        for cluster, words in drain.words:
            pe = self._pe_store(b.tensor, cluster)
            self._send_up(b, cluster, words, pe[words])
            pe[words] = 0.0
        first = 0
        for cluster, words in drain.words:
            first += self.store(b.tensor, b.parent, cluster).arrive(words)
        self.moves[b].arrived += drain.arrived
        self.moves[b].updated += drain.arrived - first

    def _pe_store(self, tensor: str, cluster: Instance) -> Floats:
        key = (tensor, cluster)
        if key not in self.pes:
            words = self.problem.words(tensor)
            self.pes[key] = np.zeros(words) if tensor == self.acc else np.full(words, np.nan, self.operand)
            self.pe_words[key] = np.zeros(0, np.int64)
        return self.pes[key]

    def _load(self, load: PeLoad) -> None:
        b = load.boundary
        self.moves[b].taken += load.taken
        self.moves[b].read += load.read
        for cluster, words in load.words:
            if len(words):
                self._pe_store(b.tensor, cluster)[words] = self.store(b.tensor, b.parent, cluster).get(words)

    def _evict(self, load: PeLoad) -> None:
        """Poison what no PE holds any longer."""
        tensor = load.boundary.tensor
        for (cluster, words), (_, resident) in zip(load.words, load.resident, strict=True):
            key = (tensor, cluster)
            pe = self._pe_store(tensor, cluster)
            if len(words) or len(resident) != len(self.pe_words[key]):
                values = pe[resident]
                pe[self.pe_words[key]] = np.nan
                pe[words] = np.nan
                pe[resident] = values
                self.pe_words[key] = resident

    def _pass(self, p: Pass) -> None:
        for load in p.loads:
            self._load(load)
        for cluster, box in p.boxes:
            if all(bool(x.exists) for x in box.values()):
                self._compute(p, cluster, box)
        for load in p.loads:
            self._evict(load)
        if p.drain is not None:
            self._pe_drain(p.drain)
        for take in p.takes:
            moved = self.moves[take.boundary]
            if take.boundary.tensor != self.acc:
                moved.taken += take.taken
                moved.read += take.shared
                continue
            moved.drained += take.taken
            moved.arrived += take.shared
            moved.updated += take.shared - p.opened
        self.macs += p.macs
        self.compute_cycles += int(p.folds.length.sum())
        self.active = max(self.active, p.folds.active)
        self.folds.append(p.folds)

    def _compute(self, p: Pass, cluster: Instance, box: dict[str, Piece]) -> None:
        """Multiply and add one cluster's share of a pass; the sums stay in the PEs, or arrive above them."""
        level = self.nest.keepers(self.acc)[-1]
        boundary = next(b for b in self.nest.boundaries if b.tensor == self.acc and b.child == self.nest.levels)
        for words, values in Box(self.nest, box).products(self._reader(cluster)):
            words, values = words.ravel(), values.ravel()
            if level == self.pe:
                self._pe_store(self.acc, cluster)[words] += values
            else:
                self._send_up(boundary, cluster, words, values)
                self.moves[boundary].updated -= self.store(self.acc, level, cluster).arrive(words)

    def _reader(self, cluster: Instance) -> Get:
        """Reads an operand's words where the MACs find them: in the PEs, or in the level that feeds them."""

        def get(tensor: str, where: tuple[slice, ...]) -> Floats:
            level = self.nest.keepers(tensor)[-1]
            if level == self.pe:
                return self._pe_store(tensor, cluster).reshape(self.problem.shape(tensor))[where]
            return self.store(tensor, level, cluster).box(where)

        return get
