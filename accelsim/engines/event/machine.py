"""The event engine, untimed: carries out ``movement`` in order, on real words.

Each instance of a level holds only what was moved into it (``storage``); everything else is poison
(NaN), and poison spreads to the result.  So a word that is read where it is not held cannot go
unnoticed: the outputs are wrong, and the tests compare every bit.  Counts are the lengths of what
was copied (section 4), never a formula.

Operands are float32 (16 bits at most; at home 8 bits stay 8 bits), sums float64, which is exact
below 2^53; a layer whose sums could pass that is refused at the door.

Inside a pass a word on a bus is one value whoever takes it, every MAC is done by itself
(``multiply``), and what it reads is what the PEs, or the level that feeds them, hold.  PEs of one
cluster (one instance of the level above the array) share an array a tensor, addressed by the word
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.folds import array_cycles
from accelsim.engines.event.movement import (
    Drain,
    Event,
    Fill,
    Open,
    Pass,
    PeDrain,
    movement,
)
from accelsim.engines.event.multiply import MacBoxes, Span, Window
from accelsim.engines.event.ranks import not_padding, pieces_at
from accelsim.engines.event.storage import Buffer, put, whole
from accelsim.engines.event.word_sets import NONE, WordSet
from accelsim.engines.moved import Moved
from accelsim.engines.run import Folds, Run
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.arithmetic import wrap_in_place
from accelsim.workload.problem import Problem

Floats = npt.NDArray[Any]
Instance = tuple[int, ...]
Named = tuple[tuple[Instance, WordSet], ...]


def run(
    nest: Nest, data: Mapping[str, npt.NDArray[Any]], events: Iterable[Event] | None = None
) -> Run:
    """Carry out a nest on ``data`` (operand arrays by tensor name, ``bias`` of shape (G, M) if the
    layer has one); ``events`` are those of ``movement`` unless given.

    The outputs are the accumulated tensor wrapped to psum width.  A word that was read where it was
    not held comes out as poison: the smallest int64, which no accumulator can hold.  Raises
    MappingError where sums could exceed 2^53, beyond which float64 is not exact.
    """
    nest, data = prepared(nest, data)
    machine = _Machine(nest, data)
    for event in events_of(nest) if events is None else events:
        machine.carry_out(event)
    return machine.outcome()


def events_of(nest: Nest, *, stepwise: bool = False) -> Iterator[Event]:
    """What is carried out: the nest's movement, and if asked for how it spreads over the steps of a
    pass.
    """
    return movement(nest, stepwise=True) if stepwise else movement(nest)


def prepared(
    nest: Nest, data: Mapping[str, npt.NDArray[Any]]
) -> tuple[Nest, Mapping[str, npt.NDArray[Any]]]:
    """The nest and data to carry out: with padding zeros as words where a level stores them.
    Raises as ``run`` does.
    """
    _check_exact(nest.problem, data)
    if stores_padding(nest):
        return nest.framed(), dict(data) | {"ifmap": _padded(nest.problem, data["ifmap"])}
    return nest, data


def stores_padding(nest: Nest) -> bool:
    """Whether padding zeros are words somewhere, so that the nest has to be run framed."""
    return nest.arch.padding is not None and nest.problem.accumulated != "ifmap"


def _check_exact(problem: Problem, data: Mapping[str, npt.NDArray[Any]]) -> None:
    p = problem
    touched = p.words(p.accumulated)
    if p.accumulated == "ifmap":  # a stride passes words by: no more get a sum than windows meet
        touched = min(touched, p.N * p.G * p.C * max(p.E, p.R) * max(p.F, p.S))
    terms = p.macs // touched + p.R * p.S
    largest = prod(_largest(data[t]) for t in p.operands)
    bias = _largest(data["bias"]) if p.bias and p.direction == "forward" else 0
    if largest * min(terms * p.R * p.S, p.macs) + bias >= 1 << 53:
        raise MappingError(
            f"sums of up to {p.macs} products of magnitude {largest} may exceed 2^53; "
            "the engine would not be exact"
        )


def _largest(words: npt.NDArray[Any]) -> int:
    return max(abs(int(words.min())), abs(int(words.max())))


def _padded(problem: Problem, ifmap: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The ifmap with its padding zeros as words, for a level that stores them."""
    top, bottom, left, right = problem.padding
    return np.pad(ifmap, ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right)))


def _may_lag(nest: Nest) -> bool:
    """Whether an instance may stand idle with sums in hand while its parent moves on: a ragged
    spatial reduction.
    """
    level = nest.keepers(nest.problem.accumulated)[-1]
    for chain in nest.chains:
        if not chain.depends(nest.problem.accumulated):
            loops = [i for i in chain.loops if nest.loops[i].level < level]
            ragged = not pieces_at(nest, chain, {}, loops)[0].exists.all()
            if ragged and any(nest.loops[i].spatial for i in loops):
                return True
    return False


# -- the machine -----------------------------------------------------------------------------------


class _Machine:
    """One run.  Events go in, one by one and in order; ``outcome`` says what came of them.

    ``empty``       whether no word has a value, so that none is poison either
    ``moves``       words over each boundary so far
    ``macs``, ``compute_cycles``, ``active``   done so far; the most PEs at once
    ``folds``       of each pass, for the array's time
    ``stores``      storage by tensor, level and instance, of the PEs by cluster; made when first
                    asked for
    ``sums_out``    the boundary over which the PEs' sums leave, or the MACs' where PEs keep none
    ``outside``     by boundary of sums: levels that keep them, from its parent outwards
    ``reads_first`` by boundary: whether the parent reads zeros for first arrivals too
    ``sources``     by operand: the level that the MACs read it from, and its window there
    ``boxes``       what the MACs of a pass work through
    ``may_lag``     whether a PE may stand idle with sums in hand while its parent moves on
    ``depth``       [levels + 1]: how many spatial loops lie above a level; an instance inside it
                    names its own by so many leading indices
    """

    empty = False

    def __init__(self, nest: Nest, data: Mapping[str, npt.NDArray[Any]]) -> None:
        self.nest, self.problem = nest, nest.problem
        self.acc = self.problem.accumulated
        self.moves = {b: Moved() for b in nest.boundaries}
        self.macs = self.compute_cycles = self.active = 0
        self.folds: list[Folds] = []
        self.stores: dict[tuple[str, int, Instance], Buffer] = {}
        for t in self.problem.operands:
            narrow = data[t].dtype == np.int8
            words = np.require(data[t], np.int8 if narrow else np.float32, ["C", "W"])
            self._put_home(t, words)
        start = np.zeros(self.problem.shape(self.acc))
        if self.problem.bias and self.problem.direction == "forward":
            start += data["bias"][None, :, :, None, None]
        self._put_home(self.acc, start).open(WordSet(np.array([[0, start.size]])))
        self.pe = nest.levels - 1
        out = self.pe if self.acc in nest.keep[self.pe] else nest.levels
        self.sums_out = next(b for b in nest.boundaries if b.tensor == self.acc and b.child == out)
        self.sources: dict[str, tuple[int, Window | None]] = {}
        for t in self.problem.operands:
            level = nest.keepers(t)[-1]
            self.sources[t] = level, nest.projection(t, level).window if level else None
        spatial = [x for x in nest.loops if x.spatial]
        first_read, names = nest.arch.first_read, nest.arch.level_names
        self.reads_first = {b: names[b.parent] == first_read for b in nest.boundaries}
        keepers = nest.keepers(self.acc)[::-1]
        self.outside = {b: [k for k in keepers if k <= b.parent] for b in nest.boundaries}
        self.boxes = MacBoxes(nest)
        self.may_lag = _may_lag(nest)
        self.depth = [sum(x.level < level for x in spatial) for level in range(nest.levels + 1)]

    def _put_home(self, tensor: str, words: Floats) -> Buffer:
        """The outermost level has all of a tensor."""
        store = Buffer(words.reshape(-1))
        self.stores[tensor, self.nest.home(tensor), ()] = store
        return store

    def outcome(self) -> Run:
        """What the events so far came to; poison in the outputs is the smallest int64."""
        total = self.stores[self.acc, self.nest.home(self.acc), ()].data
        outputs = np.empty(total.shape, np.int64)
        poison = whole(total, outputs)
        wrap_in_place(outputs, self.nest.arch.number("psum"))
        if poison:
            outputs[np.isnan(total)] = np.iinfo(np.int64).min
        steps = sum(len(f.length) for f in self.folds)
        return Run(
            outputs.reshape(self.problem.shape(self.acc)),
            self.moves,
            self.macs,
            self.compute_cycles,
            self.active,
            array_cycles(self.nest, self.folds),
            folds=self.folds,
            folds_total=steps,
            folds_run=steps,
            overflow=self._overflow(),
        )

    def _overflow(self) -> str | None:
        for (tensor, level, _), store in self.stores.items():
            if store.overflow:
                name = self.nest.arch.level_names[level]
                return (
                    f"{name} was given {store.overflow} words of {tensor}, "
                    f"its largest tile has {store.capacity}"
                )
        return None

    def store(self, tensor: str, level: int, instance: Instance) -> Buffer:
        """The storage of an instance of a level; of any instance inside it, its own."""
        key = (tensor, level, instance[: self.depth[level]])
        store = self.stores.get(key)
        if store is None:
            sums = tensor == self.acc
            nothing = 0.0 if self.empty or (sums and level == self.pe) else np.nan
            kind = np.float64 if sums else np.float32
            words = np.full(self.problem.words(tensor), nothing, kind)
            room = None if level == self.pe else self.nest.footprint.tile_words(level, tensor)
            store = self.stores[key] = Buffer(words, room)
        return store

    def carry_out(self, event: Event) -> None:
        """Do what an event says, and count it."""
        if isinstance(event, Pass):
            self._pass(event)
        elif isinstance(event, Fill):
            self._fill(event)
        elif isinstance(event, Drain):
            self._drain(event)
        elif isinstance(event, Open):
            for instance, words in event.children:
                store = self.store(event.tensor, event.level, instance)
                store.hold(words, None)
                store.open(words)
        else:
            self._pe_drain(event)

    # buffers

    def _fill(self, fill: Fill) -> None:
        """Room first, then words: a tile's capacity holds one tile, not the old and the new."""
        b = fill.boundary
        moved = self.moves[b]
        for instance, come, gone in fill.takes:
            self._let_go(b, instance, gone)
            self._take(b, instance, come)
            moved.taken += come.count
        moved.read += sum(n for _, n in fill.reads)

    def _take(self, b: Boundary, instance: Instance, words: WordSet) -> None:
        """Words come from the parent; padding zeros are made where they are stored, not given."""
        if words.count:
            child = self.store(b.tensor, b.child, instance)
            child.hold(words, self.store(b.tensor, b.parent, instance))
            if b.adds_padding and b.parent != self.nest.home(b.tensor):
                child.data[words.flat[~not_padding(self.nest, words.flat)]] = 0.0

    def _let_go(self, b: Boundary, instance: Instance, words: WordSet) -> None:
        if words.count:
            self.store(b.tensor, b.child, instance).release(words)

    def _drain(self, drain: Drain) -> None:
        """Sums are added into the parent word by word; what arrived there for the first time of its
        residency was not read (rule 6).
        """
        b = drain.boundary
        moved = self.moves[b]
        first: dict[Instance, int] = {}
        for instance, words in drain.children:
            child, parent = (
                self.store(b.tensor, b.child, instance),
                instance[: self.depth[b.parent]],
            )
            self._give(b, instance, words, child)
            child.release(words)
            moved.drained += words.count
            first[parent] = first.get(parent, 0) + self._first(b, instance, words)
        for parent, arrived in drain.arrivals:
            moved.arrived += arrived
            moved.updated += arrived - first.get(parent, 0)

    def _first(self, b: Boundary, instance: Instance, words: WordSet) -> int:
        """Arrivals that cost no read: the first of each residency, unless the level reads zeros
        too.
        """
        first = self.store(b.tensor, b.parent, instance).arrive(words)
        return 0 if self.reads_first[b] else first

    def _send_up(self, b: Boundary, instance: Instance, words: WordSet, values: Floats) -> None:
        """Add sums to the parent's; poison there (a PE stood idle while its parent moved on) passes
        them to the next.
        """
        for level in self.outside[b]:
            target = self.store(b.tensor, level, instance)
            if not (target.add(words, values) and self.may_lag):
                break
            lost = np.isnan(target.data[words.flat].reshape(values.shape)) & ~np.isnan(values)
            values = np.where(lost, values, 0.0)

    def _give(self, b: Boundary, instance: Instance, words: WordSet, child: Buffer) -> None:
        """The same of sums in a child's buffer."""
        for level in self.outside[b]:
            if not (child.give(words, self.store(b.tensor, level, instance)) and self.may_lag):
                break

    # passes

    def _pe_drain(self, drain: PeDrain, stay: Named = ()) -> None:
        """Sums leave PEs, but for those that ``stay``: they came back."""
        b = drain.boundary
        moved = self.moves[b]
        moved.drained += drain.drained
        moved.arrived += drain.arrived
        moved.updated += drain.arrived
        kept = dict(stay)
        for cluster, words in drain.words:
            pe = self.store(b.tensor, self.pe, cluster)
            self._leave(b, cluster, words, pe, kept.get(cluster, NONE))
            moved.updated -= self._first(b, cluster, words)

    def _leave(
        self, b: Boundary, cluster: Instance, words: WordSet, pe: Buffer, stay: WordSet
    ) -> None:
        """Sums of one cluster, but for those that stay."""
        values = pe.take(stay)
        self._give(b, cluster, words, pe)
        if self.may_lag:
            put(*words.where, 0.0, pe.data)
        pe.add(stay, values)

    def _pass(self, p: Pass) -> None:
        """Load, work, let go: the array's part, and its counts as the event says them.

        PEs take in at once, for all steps, what the pass needs of an operand and they have not.
        What no PE holds any longer at its end is poison, so that a later pass cannot profit from a
        word it did not load.
        """
        for load in p.loads:
            self.moves[load.boundary].taken += load.taken
            self.moves[load.boundary].read += load.read
            for cluster, words in load.words:
                self._take(load.boundary, cluster, words)
        for k, (cluster, box) in enumerate(p.boxes):
            if all(x.exists for x in box.values()):
                self._compute(p, k, cluster, box)
        for load in p.loads:
            for cluster, words in load.gone:
                self._let_go(load.boundary, cluster, words)
        if p.drain is not None:
            self._pe_drain(p.drain, p.stay)
        for take in p.takes:
            moved = self.moves[take.boundary]
            if take.boundary.tensor != self.acc:
                moved.taken += take.taken
                moved.read += take.shared
                continue
            moved.drained += take.taken
            moved.arrived += take.shared
            moved.updated += take.shared - (0 if self.reads_first[take.boundary] else p.opened)
        self.macs += p.macs
        self.compute_cycles += p.folds.cycles
        self.active = max(self.active, p.folds.active)
        self.folds.append(p.folds)

    def _compute(self, p: Pass, k: int, cluster: Instance, box: dict[str, Span]) -> None:
        """Multiply and add one cluster's share of a pass.

        Sums stand in the PEs until they let them go, or where PEs keep none go to the level above.
        """
        out = self.sums_out
        words, sums = self.boxes.products(box, partial(self._read, cluster))
        if out.child == self.pe:
            self.store(self.acc, self.pe, cluster).add(words, sums)
        else:
            self._send_up(out, cluster, words, sums)
            self.moves[out].updated -= self._first(out, cluster, words)

    def _read(self, cluster: Instance, tensor: str) -> tuple[Floats, Window | None]:
        """An operand's words where the MACs find them: in the PEs, or in the level that feeds
        them.
        """
        level, window = self.sources[tensor]
        store = self.store(tensor, level, cluster)
        if store.data.dtype == np.int8:  # at home: MACs read one kind of number
            store.data = store.data.astype(np.float32)
        return store.data, window
