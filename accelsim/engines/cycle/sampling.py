"""One fold of each distinct shape, multiplied: what makes two folds alike, so that the counts stay
exact.

On systolic lines a fold's counts follow from how many of its words are real, and its way through
the array from its rows, columns and steps; when each fold starts is the controller's business,
which is asked for every one of them (``clocking``).

On plain arrays two steps are alike if all their words differ by one distance a tensor, what the
PEs hold from before by the same, and so what they must keep for the step after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.engines.cycle.addresses import (
    ADDRESS,
    NAME,
    NO_WORD,
    Bools,
    Ints,
    Where,
    form,
)
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary, Chain

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
        self._chains: dict[Any, tuple[int, dict[str, int]]] = {}
        self._masks: dict[Any, int] = {}
        self._outside = array.macs.outside
        self._sliding = sorted({self.nest.chain_of[d].name for d in "ERFS"})
        self._forms = {t: form(self.nest, t, array.pe) for t in array.traffic}

    def _number(self, thing: Any) -> int:
        return self._numbers.setdefault(thing, len(self._numbers))

    def chain(self, chain: Chain, at: Where) -> tuple[int, dict[str, int]]:
        """The number of a chain's pattern, and the least coordinate of each of its dimensions."""
        key = (chain.name, *[at[i] for i in self._outside[chain.name]])
        if key not in self._chains:
            point, exists = self.array.macs.chain(chain, at)
            base: dict[str, int] = {}
            parts = []
            for p, v in point.items():
                wide = np.broadcast_to(v, np.broadcast_shapes(v.shape, exists.shape))
                there = np.broadcast_to(exists, wide.shape)
                base[p] = int(wide[there].min()) if there.any() else 0
                parts.append(np.where(there, wide - base[p], 0).tobytes())
            self._chains[key] = (
                self._number((chain.name, exists.shape, exists.tobytes(), *parts)),
                base,
            )
        return self._chains[key]

    def step(self, at: Where) -> tuple[int, ...]:
        """The patterns of all chains and of the ifmap's padding."""
        return (*[self.chain(c, at)[0] for c in self.nest.chains if c.loops], self._padding(at))

    def tensor(self, t: str, at: Where) -> Alike:
        """A tensor's words at a step."""
        numbers: list[int] = []
        base: dict[str, int] = {}
        for c in self.nest.chains:
            if c.depends(t):
                number, least = self.chain(c, at)
                numbers.append(number)
                base |= least
        if t == "ifmap":
            numbers.append(self._padding(at))
        word = self._forms[t].of(base) if base else np.zeros(4, np.int64)
        return Alike(tuple(numbers), int(word[NAME]), int(word[ADDRESS]))

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

    moved: dict[Boundary, Moved]
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
        self.array.deliver = self._keep
        self.known: dict[Any, Sample] = {}
        self.times: dict[Any, int] = {}
        self.held: dict[str, list[_Held]] = {t: [] for t in array.kept}
        self._delivered: tuple[Ints, Ints] | None = None

    def take(self, at: Where, following: Where | None) -> tuple[Sample, int]:
        """The sample a step is like, and the base of its sums' addresses."""
        array, patterns = self.array, self.patterns
        acc = array.acc
        key: list[Any] = [patterns.step(at)]
        news = {}
        for t in array.kept:
            now, takes = patterns.tensor(t, at), array.takes_step(t, at)
            before = [
                (h.pes.tobytes(), h.words.pattern, h.words.base - now.base) for h in self.held[t]
            ]
            key.append((takes.tobytes(), now.pattern, tuple(before)))
            news[t] = _Held(takes, at, now)
            if t == acc and following is not None:
                then = patterns.tensor(t, following)
                key.append(
                    (array.takes_step(t, following).tobytes(), then.pattern, then.base - now.base)
                )
        key.append(following is None)
        whole = tuple(key)
        base = patterns.tensor(acc, at).address
        if whole not in self.known:
            self.known[whole] = self._clock(at, following, base)
            self.times[whole] = 0
        self.times[whole] += 1
        for t, new in news.items():
            older = [_Held(h.pes & ~new.pes, h.at, h.words) for h in self.held[t]]
            self.held[t] = [h for h in (*older, new) if h.pes.any()]
        return self.known[whole], base

    def _clock(self, at: Where, following: Where | None, base: int) -> Sample:
        array = self.array
        moves = next(iter(array.traffic.values())).moves
        mine = {b: m for b, m in moves.items() if b.child >= array.pe}
        before = {b: [getattr(m, x) for x in PRIMITIVES] for b, m in mine.items()}
        array.restart({t: [(h.at, h.pes) for h in held] for t, held in self.held.items()})
        step = array.plan(at, following)
        if array.acc in array.kept:  # the step before has let them go
            gone = step.changes[array.acc].gone != NO_WORD
            array.pads[array.acc].names[gone] = NO_WORD
        array.carry_out(step)
        array.drain()
        moved = {}
        for b, m in mine.items():
            moved[b] = Moved(
                *(getattr(m, x) - was for x, was in zip(PRIMITIVES, before[b], strict=True))
            )
            for x, was in zip(PRIMITIVES, before[b], strict=True):
                setattr(m, x, was)
        assert self._delivered is not None
        pe, words = self._delivered
        return Sample(
            moved,
            array.compute,
            array.last_result,
            array.total_macs,
            array.active,
            pe,
            words - base,
        )

    def _keep(self, at: Where, pe: Ints, words: Ints, values: Ints) -> None:
        self._delivered = pe, words

    def totals(self) -> Mapping[Boundary, Moved]:
        """What all steps moved over the boundaries of PEs and MACs."""
        moves: dict[Boundary, Moved] = {}
        for key, sample in self.known.items():
            for b, m in sample.moved.items():
                total = moves.setdefault(b, Moved())
                for x in PRIMITIVES:
                    setattr(total, x, getattr(total, x) + self.times[key] * getattr(m, x))
        return moves
