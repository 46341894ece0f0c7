"""One fold of each distinct shape, multiplied: what makes two folds alike, so that the counts stay
exact.

On systolic lines a fold's counts follow from how many of its words are real, and its way through
the array from its rows, columns and steps; when each fold starts is the controller's business,
which is asked for every one of them (``clocking``).

On plain arrays two steps are alike if all their words differ by one distance a tensor, what the
PEs hold from before by the same, and so what they must keep for the step after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.engines.cycle.addresses import (
    ADDRESS,
    NAME,
    NO_WORD,
    NOTHING,
    Bools,
    Ints,
    Where,
)
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Chain

PRIMITIVES = ("taken", "read", "drained", "arrived", "updated")


@dataclass(frozen=True)
class Alike:
    """A tensor's words at a step: equal ``pattern`` means equal but for the distance of ``base``
    (addresses or pairs).
    """

    pattern: Any
    base: int  # of names in the PEs
    address: int


class Patterns:
    """Numbers for what the chains of a nest leave, wherever they stand."""

    def __init__(self, array: BusArray) -> None:
        self.array, self.nest = array, array.nest
        self._numbers: dict[Any, int] = {}
        self._chains: dict[Any, tuple[int, Ints]] = {}
        self._masks: dict[Any, int] = {}
        self._outside = array.macs.outside
        self._sliding = sorted({self.nest.chain_of[d].name for d in "ERFS"})

    def _number(self, thing: Any) -> int:
        return self._numbers.setdefault(thing, len(self._numbers))

    def tensor(self, t: str, at: Where) -> Alike:
        """A tensor's words at a step."""
        numbers, base = [], np.zeros(4, np.int64)
        for c in self.array.macs.of[t]:
            key = (t, c.name, *[at[i] for i in self._outside[c.name]])
            if key not in self._chains:
                self._chains[key] = self._chain(t, c, at)
            number, first = self._chains[key]
            numbers.append(number)
            base = base + first
        if t == "ifmap":
            numbers.append(self._padding(at))
        pairs = self.nest.projection(t, self.array.pe).pairs
        return Alike(tuple(numbers), int(base[NAME if pairs else ADDRESS]), int(base[ADDRESS]))

    def _chain(self, t: str, chain: Chain, at: Where) -> tuple[int, Ints]:
        """The number of what a chain leaves of a tensor's words, and those of its first MAC [4]."""
        part, exists = self.array.macs.part(t, chain, at), self.array.macs.chain(chain, at)[1]
        there = np.broadcast_to(exists, np.broadcast_shapes(part.shape[1:], exists.shape))
        words = np.broadcast_to(part, (4, *there.shape)) * there
        base = words[:, there][:, :1].sum(axis=1)
        apart = (words - base[:, None, None]) * there
        return self._number((chain.name, there.shape, there.tobytes(), apart.tobytes())), base

    def _padding(self, at: Where) -> int:
        """Which ifmap words are real, and which the level outside has; it depends on where windows
        lie.
        """
        key = tuple([at[i] for name in self._sliding for i in self._outside[name]])
        if key not in self._masks:
            touched = self.array.macs.touched("ifmap", at, self.array.outer["ifmap"].parent)
            there = touched.names != NO_WORD
            self._masks[key] = self._number((there.shape, there.tobytes(), touched.read.tobytes()))
        return self._masks[key]


@dataclass(frozen=True, eq=False)
class Sample:
    """One clocked step: what it moved, when its last result came after its first edge, and what
    arrived outside.
    """

    moved: list[tuple[Moved, str, int]]
    slots: int
    last: int
    macs: int
    active: int
    pe: Ints
    words: Ints  # addresses less the step's base


@dataclass(frozen=True, eq=False)
class _Held:
    """PEs that last took a step together: which, where it was, its words."""

    pes: Bools
    at: Where
    words: Alike


class StepSampler:
    """Clocks one of each kind of step on an array of its own, with what earlier steps have left in
    the PEs.
    """

    def __init__(self, array: BusArray) -> None:
        self.array, self.patterns = array, Patterns(array)
        self.known: dict[Any, Sample] = {}
        self.held: dict[str, list[_Held]] = {t: [] for t in array.kept}
        self._delivered = NOTHING, NOTHING

    def take(self, at: Where, following: Where | None) -> tuple[Sample, int]:
        """The sample a step is like, which is counted, and the base of its sums' addresses."""
        array, patterns = self.array, self.patterns
        words = {t: patterns.tensor(t, at) for t in array.traffic}
        key: list[Any] = [following is None, *(x.pattern for x in words.values())]
        news = {t: _Held(array.takes_step(t, at), at, words[t]) for t in array.kept}
        for t, new in news.items():
            held = ((h.pes.tobytes(), h.words.pattern, h.words.base) for h in self.held[t])
            key.append(new.pes.tobytes())
            key.extend((pes, pattern, base - new.words.base) for pes, pattern, base in held)
        if following is not None and array.acc in array.kept:
            then = patterns.tensor(array.acc, following)
            takes = array.takes_step(array.acc, following).tobytes()
            key.append((takes, then.pattern, then.base - words[array.acc].base))
        whole, base = tuple(key), words[array.acc].address
        if whole not in self.known:
            self.known[whole] = self._clock(at, following, base)
        else:
            for moved, what, more in self.known[whole].moved:
                setattr(moved, what, getattr(moved, what) + more)
        for t, new in news.items():
            older = [_Held(h.pes & ~new.pes, h.at, h.words) for h in self.held[t]]
            self.held[t] = [h for h in (*older, new) if h.pes.any()]
        return self.known[whole], base

    def _clock(self, at: Where, following: Where | None, base: int) -> Sample:
        array = BusArray(self.array.nest, self.array.traffic, self.array.macs)
        array.deliver = self._keep
        moves = next(iter(array.traffic.values())).moves
        mine = [m for b, m in moves.items() if b.child >= array.pe]
        before = [(m, what, getattr(m, what)) for m in mine for what in PRIMITIVES]
        for t, held in self.held.items():  # what earlier steps left, sums at zero
            for one in held:
                array.settle(t, one.at, one.pes)
            array.pads[t].names[:] = array.state[t]
        step = array.plan(at, following)
        if array.acc in array.kept:  # the step before has let them go
            gone = step.changes[array.acc].gone != NO_WORD
            array.pads[array.acc].names[gone] = NO_WORD
        array.carry_out(step)
        array.drain()
        moved = [(m, what, getattr(m, what) - was) for m, what, was in before]
        pe, words = self._delivered
        return Sample(
            moved, array.compute, array.last_result, array.macs_done, array.active, pe,
            words - base,
        )  # fmt: skip

    def _keep(self, at: Where, pe: Ints, words: Ints, values: Ints) -> None:
        self._delivered = pe, words
