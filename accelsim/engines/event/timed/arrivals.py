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
from accelsim.engines.event.timed.sums import DirectSums
from accelsim.engines.event.transfers import Instance, Ints
from accelsim.engines.event.word_sets import WordSet
from accelsim.mapping.nest import Boundary, Nest

Data = Mapping[str, npt.NDArray[Any]]


class Values(machine._Machine):
    """The event engine's machine, listening.

    ``first``    after each event: first arrivals by parent instance
    ``by_step``  those of a pass step by step, by parent instance [steps that exist]; made only
                 where ``told`` says that it matters
    """

    def __init__(self, nest: Nest, data: Data, *, told: bool) -> None:
        super().__init__(nest, data)
        self.told = told
        self.first: dict[Instance, int] = {}
        self.by_step: dict[Instance, Ints] = {}
        self._now: Pass | None = None
        self._direct = DirectSums(nest)

    def carry_out(self, event: Event) -> None:
        self.first, self.by_step = {}, {}
        self._now = event if isinstance(event, Pass) and self.told else None
        super().carry_out(event)

    def _first(self, b: Boundary, instance: Instance, words: WordSet) -> int:
        key = instance[: self.depth[b.parent]]
        store = self.store(b.tensor, b.parent, instance)
        if self._now is not None and store.n_fresh and not self._reads_first(b):
            flat = words.flat(self.problem.shape(b.tensor))
            steps = np.bincount(
                self._steps(self._now, instance, flat)[store.waiting(flat)],
                minlength=len(self._now.folds.length),
            )
            self.by_step[key] = self.by_step.get(key, 0) + steps
        first = super()._first(b, instance, words)
        self.first[key] = self.first.get(key, 0) + first
        return first

    def _steps(self, now: Pass, cluster: Instance, words: Ints) -> Ints:
        """After which step of a pass each word arrives first."""
        if now.drain is None:
            known, places = self._direct.places(now.at, cluster)
        else:
            known, places = next(
                f
                for f, (c, _) in zip(now.drain.first, now.drain.words, strict=True)
                if c == cluster
            )
        return places[np.searchsorted(known, words)]


class NoValues(Values):
    """The same events without values: counts, and which words have had an arrival."""

    def __init__(self, nest: Nest, *, told: bool) -> None:
        nothing: Data = {
            t: np.broadcast_to(np.float32(0), nest.problem.shape(t)) for t in nest.problem.operands
        }
        bias = {"bias": np.zeros((nest.problem.G, nest.problem.M))} if nest.problem.bias else {}
        super().__init__(nest, {**nothing, **bias}, told=told)

    def _nothing(self, *_: Any, **__: Any) -> None:
        pass

    _take = _load = _evict = _send_up = _add_kept = _nothing

    def _compute(self, p: Pass, k: int, cluster: Instance, box: dict[str, Span]) -> None:
        b = self._direct.boundary
        if b is not None:
            self.moves[b].updated -= self._first(b, cluster, self._direct.words(p.at, cluster))
