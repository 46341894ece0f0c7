"""The events of a nest: what crosses which boundary, word by word.  Nothing here knows a value.

``movement`` makes them, the machine carries them out, the timed engine gives them a time.  An
*instance* is named by one index a spatial loop outside its level; a *cluster* is an instance of the
level next to the array, with all the PEs it feeds.

    events      index sets, by instance: ``Drain``, ``Open``, ``Fill`` between levels
                by cluster: ``PeDrain`` and ``Pass`` with its loads, takes and boxes
    [steps]     a pass's steps: the settings of its own loops outside the PEs that exist, in order
"""

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
    """Accumulated words leave child instances (``children``); so many arrive at each parent
    instance (``arrivals``), added on the way where the network adds.
    """

    boundary: Boundary
    children: tuple[tuple[Instance, WordSet], ...]
    arrivals: tuple[tuple[Instance, int], ...]


@dataclass(frozen=True)
class Open:
    """Accumulated words start a residency, from zero."""

    level: int
    tensor: str
    children: tuple[tuple[Instance, WordSet], ...]


@dataclass(frozen=True)
class Fill:
    """Operand words: what each child instance takes and lets go (``takes``), and how many words
    each parent instance reads for it (``reads``), equal words of one step once.
    """

    boundary: Boundary
    takes: tuple[tuple[Instance, WordSet, WordSet], ...]
    reads: tuple[tuple[Instance, int], ...]


@dataclass(frozen=True, eq=False)
class StepWords:
    """How the words of a PE boundary spread over the steps of a pass, if that was asked for.

    What leaves the PEs between two steps counts for the first of them.

    ``parents``  [parent instances, steps]  words each parent instance gives or gets
    ``child``    [steps]  1 if any PE takes or lets go a word
    """

    parents: Ints
    child: Ints


@dataclass(frozen=True)
class PeDrain:
    """Accumulated words leave PEs.

    ``drained``, ``arrived``  words the PEs let go, and words their parents received
    ``words``                 which they are, by cluster, each once
    ``steps``                 when; one step only for what leaves after the last step of a pass
    """

    boundary: Boundary
    drained: int
    arrived: int
    words: tuple[tuple[Instance, WordSet], ...]
    steps: StepWords | None = None


@dataclass(frozen=True)
class PeLoad:
    """Operand words enter PEs.

    ``taken``, ``read``  words the PEs take in, and words their parents read for them
    ``words``            which they are, by cluster, each once
    ``gone``             which some PE took or held before, and none does at the end of the pass
    ``steps``            when
    """

    boundary: Boundary
    taken: int
    read: int
    words: tuple[tuple[Instance, WordSet], ...]
    gone: tuple[tuple[Instance, WordSet], ...]
    steps: StepWords | None = None


@dataclass(frozen=True)
class Take:
    """What the MACs of a pass take (or, accumulated, make): by themselves, and after sharing on the
    network; ``steps`` [steps] is ``shared`` step by step, all parents together.
    """

    boundary: Boundary
    taken: int
    shared: int
    steps: Ints | None = None


@dataclass(frozen=True)
class Pass:
    """All steps of the level next to the array while the levels outside stand still.

    ``loads``   what enters PEs, by operand they keep
    ``opened``  accumulated words that started a residency in a PE
    ``takes``   what the MACs take and make, by tensor
    ``drain``   sums that leave PEs between its steps
    ``stay``    by cluster: accumulated words still in a PE at the end
    ``macs``    done
    ``folds``   its steps as the array sees them
    ``boxes``   by cluster: the ranges its MACs work through
    ``at``      the setting of the loops outside the pass
    ``direct``  by cluster: sums straight from the MACs to a level outside the PEs, each once, if
                steps were asked for
    ``first``   by cluster: sums that leave PEs or MACs, sorted, and the step each first leaves
                after, if that was asked for and matters
    """

    loads: tuple[PeLoad, ...]
    opened: int
    takes: tuple[Take, ...]
    drain: PeDrain | None
    stay: tuple[tuple[Instance, WordSet], ...]
    macs: int
    folds: Folds
    boxes: tuple[tuple[Instance, dict[str, Span]], ...]
    at: Mapping[int, int] = field(default_factory=dict)
    direct: tuple[tuple[Instance, WordSet], ...] = ()
    first: Mapping[Instance, tuple[Ints, Ints]] = field(default_factory=dict)


Event = Drain | Open | Fill | PeDrain | Pass
