"""Machines that carry out the events and tell which arrivals were the first of their residency, for
those read nothing (section 4, rule 6).

How many update reads a drain costs is known only when it is carried out, since it depends on what
has arrived before; so the timed engine has its own machine listen.  ``Values`` is the event
engine's, on real words; ``NoValues`` keeps only which words have had an arrival, for a time without
outputs (``simulate``, and the cycle engine's memory).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.event import machine
from accelsim.engines.event.movement import Event, Pass
from accelsim.engines.event.multiply import Span
from accelsim.engines.event.transfers import Instance, Ints
from accelsim.engines.event.word_sets import WordSet
from accelsim.mapping.nest import Boundary, Nest

Data = Mapping[str, npt.NDArray[Any]]


class Values(machine._Machine):
    """The event engine's machine, listening.

    ``first``  after each event: first arrivals by parent instance, each [steps of the pass], or [1]
               of what is no pass; all in the first step unless ``told`` says that it matters
    """

    def __init__(self, nest: Nest, data: Data, *, told: bool) -> None:
        super().__init__(nest, data)
        self.told = told
        self.first: dict[Instance, Ints] = {}
        self._now: Pass | None = None

    def carry_out(self, event: Event) -> None:
        self.first = {}
        self._now = event if isinstance(event, Pass) else None
        super().carry_out(event)

    def _first(self, b: Boundary, instance: Instance, words: WordSet) -> int:
        now, key = self._now, instance[: self.depth[b.parent]]
        steps = np.zeros(1 if now is None else len(now.folds.length), np.int64)
        store = self.store(b.tensor, b.parent, instance)
        if now is not None and self.told and store.n_fresh and not self.reads_first[b]:
            assert store.fresh is not None
            waiting = words.flat[store.fresh[words.flat] > 0]
            known, places = now.first[instance]
            at = places[np.searchsorted(known, waiting)]
            steps += np.bincount(at, minlength=len(steps))
        first = super()._first(b, instance, words)
        if now is None or not self.told:
            steps[0] = first
        self.first[key] = self.first.get(key, 0) + steps
        return first


class NoValues(Values):
    """The same events without values: counts, and which words have had an arrival."""

    empty = True

    def __init__(self, nest: Nest, *, told: bool) -> None:
        nothing: Data = {t: np.zeros(nest.problem.shape(t), np.int8) for t in nest.problem.operands}
        bias = {"bias": np.zeros((nest.problem.G, nest.problem.M))} if nest.problem.bias else {}
        super().__init__(nest, {**nothing, **bias}, told=told)

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    _take = _let_go = _give = _send_up = _leave = _nothing

    def _compute(self, p: Pass, k: int, cluster: Instance, box: dict[str, Span]) -> None:
        if p.direct:
            made = next(take.boundary for take in p.takes if take.boundary.tensor == self.acc)
            self._first(made, cluster, p.direct[k][1])
