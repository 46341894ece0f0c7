"""The events of a nest: what crosses which boundary, word by word.  Nothing here knows a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.multiply import Span
from accelsim.engines.event.word_sets import WordSet
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Boundary

Ints = npt.NDArray[np.int64]
Instance = tuple[int, ...]  # one index per spatial loop outside the level


@dataclass(frozen=True)
class Drain:
    """Accumulated words leave child instances and arrive at their parents, added on the way where
    the network adds.
    """

    boundary: Boundary
    children: tuple[tuple[Instance, WordSet], ...]
    arrivals: tuple[tuple[Instance, WordSet], ...]


@dataclass(frozen=True)
class Open:
    """Accumulated words start a residency, from zero."""

    level: int
    tensor: str
    children: tuple[tuple[Instance, WordSet], ...]


@dataclass(frozen=True)
class Fill:
    """Operand words: what each child instance takes and lets go, and what each parent instance
    reads for it.
    """

    boundary: Boundary
    takes: tuple[tuple[Instance, WordSet, WordSet], ...]
    reads: tuple[tuple[Instance, int], ...]


@dataclass(frozen=True, eq=False)
class StepWords:
    """How the words of a PE boundary spread over the steps of a pass, if that was asked for.

    What leaves the PEs between two steps counts for the first of them.
    """

    parents: Ints  # (parent instances, steps): words each parent instance gives or gets
    # (steps,): the most words that any one PE takes or lets go; without a port of the PEs' level, 1
    # for any
    child: Ints


@dataclass(frozen=True)
class PeDrain:
    """Accumulated words leave PEs: how many were drained, how many arrive, and which they are, by
    cluster.
    """

    boundary: Boundary
    drained: int
    arrived: int
    words: tuple[tuple[Instance, WordSet], ...]
    steps: StepWords | None = None  # one step only for what leaves after the last step of a pass
    first: tuple[
        tuple[Ints, Ints], ...
    ] = ()  # by cluster: each word and the first step it leaves after, words sorted


@dataclass(frozen=True)
class PeLoad:
    """Operand words enter PEs: how many they take, how many parents read, which words, and which
    stay at the end.
    """

    boundary: Boundary
    taken: int
    read: int
    words: tuple[tuple[Instance, WordSet], ...]
    resident: tuple[tuple[Instance, WordSet], ...]
    steps: StepWords | None = None


@dataclass(frozen=True)
class Take:
    """What the MACs of a pass take (or, accumulated, make): by themselves, and after sharing on the
    network.
    """

    boundary: Boundary
    taken: int
    shared: int
    steps: Ints | None = None  # (steps,): ``shared`` step by step, all parents together


@dataclass(frozen=True)
class Pass:
    """All steps of the level next to the array while the levels outside stand still."""

    loads: tuple[PeLoad, ...]
    opened: int  # accumulated words that started a residency in a PE
    takes: tuple[Take, ...]
    drain: PeDrain | None
    stay: tuple[tuple[Instance, WordSet], ...]  # accumulated words still in a PE at the end
    macs: int
    folds: Folds
    boxes: tuple[
        tuple[Instance, dict[str, Span]], ...
    ]  # by cluster: the ranges its MACs work through
    at: Mapping[int, int] = field(default_factory=dict)  # the setting of the loops outside the pass


Event = Drain | Open | Fill | PeDrain | Pass
