"""One fold of each distinct shape, multiplied: what makes two folds alike, so that the counts stay
exact.

On systolic lines a fold's counts follow from how many of its words are real, and its way through
the array from its rows, columns and steps; when each fold starts is the controller's business,
which is asked for every one of them (``clocking``).

On plain arrays two steps are alike if all their words differ by one distance a tensor, what the
PEs hold from before by the same, and so what they must keep for the step after.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from accelsim.engines.cycle.addresses import ADDRESS, MOST_KNOWN, NAME, NO_WORD, Bools, Ints, Where
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Chain
from accelsim.mapping.skeleton import Kept

PRIMITIVES = ("taken", "read", "drained", "arrived", "updated")


class Alike(NamedTuple):
    """A tensor's words at a step: equal ``pattern`` means equal but for the distance of ``base``
    (addresses or pairs).
    """

    pattern: Any
    base: int  # of names in the PEs
    address: int


class Patterns:
    """Numbers for what the chains of a nest leave, wherever they stand."""

    def __init__(self, array: BusArray) -> None:
        self.array, self.macs = array, array.macs
        self._numbers: dict[Any, int] = {}
        self._known: Kept[Any] = Kept(MOST_KNOWN)
        sliding = {array.nest.chain_of[d].name for d in "ERFS"}
        self._sliding = [i for name in sorted(sliding) for i in self.macs.outside[name]]

    def _number(self, *thing: Any) -> int:
        return self._numbers.setdefault(thing, len(self._numbers))

    def tensor(self, t: str, at: Where) -> Alike:
        """A tensor's words at a step."""
        numbers, base = [], np.zeros(4, np.int64)
        for c in self.macs.of[t]:
            key = (t, c.name, *[at[i] for i in self.macs.outside[c.name]])
            number, first = self._known.of(key, partial(self._chain, t, c, at))
            numbers.append(number)
            base = base + first
        if t == "ifmap":
            key = tuple([at[i] for i in self._sliding])
            numbers.append(self._known.of(key, partial(self._padding, at)))
        pairs = self.array.nest.projection(t, self.array.pe).pairs
        return Alike(tuple(numbers), int(base[NAME if pairs else ADDRESS]), int(base[ADDRESS]))

    def _chain(self, t: str, chain: Chain, at: Where) -> tuple[int, Ints]:
        """The number of what a chain leaves of a tensor's words, and those of its first MAC [4]."""
        part, exists = self.macs.part(t, chain, at), self.macs.chain(chain, at).exists
        there = np.broadcast_to(exists, np.broadcast_shapes(part.shape[1:], exists.shape))
        words = np.broadcast_to(part, (4, *there.shape)) * there
        base = words[:, there][:, :1].sum(axis=1)
        apart = (words - base[:, None, None]) * there
        return self._number(chain.name, there.shape, there.tobytes(), apart.tobytes()), base

    def _padding(self, at: Where) -> int:
        """Which ifmap words are real, and which the level outside has: as windows lie."""
        touched = self.macs.touched("ifmap", at, self.array.outer["ifmap"].parent)
        return self._number((touched.names != NO_WORD).tobytes(), touched.kinds.tobytes())


class Sample(NamedTuple):
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


class _Held(NamedTuple):
    """PEs that last took a step together: which, where it was, its words."""

    pes: Bools
    at: Where
    words: Alike


class StepSampler:
    """Clocks one of each kind of step on an array of its own, with what earlier steps have left in
    the PEs; carries out the others as counts.  ``array`` is never clocked.
    """

    def __init__(self, array: BusArray) -> None:
        self.array, self.patterns, self.moves = array, Patterns(array), array.moves
        self.known: dict[Any, Sample] = {}
        self.held: dict[str, list[_Held]] = {t: [] for t in array.kept}
        self.compute = self.last_result = self.macs_done = self.active = 0

    def plan(self, at: Where, following: Where | None) -> tuple[Where, Where | None]:
        """Only a step that is clocked is planned."""
        return at, following

    def carry_out(self, step: tuple[Where, Where | None]) -> None:
        """Count what a step does that one of its kind was seen to do."""
        (at, following), array, patterns = step, self.array, self.patterns
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
            older = [h._replace(pes=h.pes & ~new.pes) for h in self.held[t]]
            self.held[t] = [h for h in (*older, new) if h.pes.any()]
        self._count(at, self.known[whole], base)

    def _count(self, at: Where, sample: Sample, base: int) -> None:
        sums = sample.words + base
        self.array.deliver(at, sample.pe, sums, np.zeros_like(sums))
        self.last_result = max(self.last_result, self.compute + sample.last)
        self.compute += sample.slots
        self.macs_done += sample.macs
        self.active = max(self.active, sample.active)

    def drain(self) -> None:
        """Nothing is under way."""

    def _clock(self, at: Where, following: Where | None, base: int) -> Sample:
        array = BusArray(self.array.nest, self.array.levels, self.array.macs)
        out: list[Ints] = []
        array.deliver = lambda _, *sums: out.extend(sums)
        mine = [m for b, m in array.moves().items() if b.child >= array.pe]
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
        counts = array.compute, array.last_result, array.macs_done, array.active
        return Sample(moved, *counts, out[0], out[1] - base)
