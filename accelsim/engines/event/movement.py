"""What moves, in order: the transfers and passes of a nest (docs/design.md, sections 1 and 4; the
order is told over the package).

``movement(nest)`` yields ``Drain``, ``Open``, ``Fill``, ``PeDrain`` and ``Pass``.  A ``Pass`` is
everything that happens while the levels outside the innermost two stand still; between two passes
the instances of those levels go on to their tiles of the next one (``pes`` tells both).

The machine, the timed engine and the tests that break movement on purpose read this stream; it can
be read again and again, and knows no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from accelsim.engines.event.pes import Instances, PeArray, TileWords
from accelsim.engines.event.transfers import Drain, Event, Fill, Open, Pass, PeDrain, PeLoad, Take
from accelsim.mapping.nest import Chain, Nest

# Words times steps times instances planned at once.  A larger pass comes in several parts, cut at
# its outermost loops; nothing that is counted depends on where.
ROWS_LIMIT = 8_000_000


def movement(nest: Nest, *, stepwise: bool = False) -> Iterator[Event]:
    """All events of a nest in order; ``stepwise`` tells the words of a pass step by step, for an
    engine that times them.
    """
    return _Walk(nest, stepwise=stepwise).events()


class _Walk:
    """One walk through a nest.

    ``outer``    temporal loops outside a pass
    ``array``    the PEs, which tell what a pass does
    ``levels``   the levels between the outermost one and the PEs
    ``between``  what their instances take and let go, boundary by boundary
    """

    def __init__(self, nest: Nest, *, stepwise: bool) -> None:
        self.nest = nest
        pe, loops = nest.levels - 1, nest.loops
        spatial = [i for i, x in enumerate(loops) if x.spatial and x.level < pe]
        temporal = [i for i, x in enumerate(loops) if not x.spatial and x.level < pe]
        clusters = [i for i in spatial if loops[i].level < pe - 1]
        self.outer = [i for i in temporal if loops[i].level < pe - 1]
        steps = temporal[len(self.outer) :]
        widest = max([nest.footprint.tile_words(pe, t) for t in nest.keep[pe]] or [1])
        per_step = widest * prod(loops[i].trips for i in spatial)
        while (
            steps
            and prod(loops[i].trips for i in steps) * per_step > ROWS_LIMIT
            and self._whole_outside(steps[0], [i for i in spatial if i not in clusters])
        ):
            self.outer.append(steps.pop(0))
        self._exist: dict[Any, bool] = {}
        self.array = PeArray(nest, self.outer, steps, spatial, clusters, stepwise=stepwise)
        inside = [b for b in nest.boundaries if b.child < pe]
        self.levels = {b.child: Instances(nest, b.child, self.outer, spatial) for b in inside}
        self.between = [TileWords(self.levels[b.child], b) for b in inside]

    def _whole_outside(self, i: int, over_pes: list[int]) -> bool:
        """Whether what the PEs of a cluster work on at one setting of a loop is one piece: no loop
        over them stands outside it.
        """
        chain = next(c for c in self.nest.chains if i in c.loops)
        return not any(j < i and j in over_pes for j in chain.loops)

    def events(self) -> Iterator[Event]:
        """All events, step by step of the outer loops; then what is still held drains."""
        for at in self._outer_steps():
            before, this = self.array.step(at)
            if before is not None:
                yield before
            moving = [level for level in self.levels.values() if level.move_to(at)]
            changes = [(x, *x.plan()) for x in self.between if x.array in moving]
            for words, plan, base in reversed(changes):
                yield from words.drains(plan, base)
            for words, plan, base in changes:
                yield from words.opens(plan, base) if words.sums else words.fills(plan, base)
            yield this
        last = self.array.finish()
        if last is not None:
            yield last
        for words in reversed(self.between):
            if words.sums:
                yield from words.drains(*words.last())

    def _outer_steps(self) -> Iterator[dict[int, int]]:
        """Settings of the loops outside the pass that exist for some instance, in nest order."""
        loops = self.nest.loops
        cut = [c for c in self.nest.chains if sum(i in self.outer for i in c.loops) > 1]
        for setting in product(*(range(loops[i].trips) for i in self.outer)):
            at = dict(zip(self.outer, setting, strict=True))
            if all(self._exists(c, at) for c in cut):
                yield at

    def _exists(self, chain: Chain, at: dict[int, int]) -> bool:
        """Whether some instance has work there; if any, the first one has."""
        key = (chain.name, *(at[i] for i in chain.loops if i in at))
        if key not in self._exist:
            index = {i: at.get(i, 0) for i in chain.loops if i in at or self.nest.loops[i].spatial}
            self._exist[key] = bool(self.nest.pieces(chain, index).exists)
        return self._exist[key]


__all__ = ["Drain", "Event", "Fill", "Open", "Pass", "PeDrain", "PeLoad", "Take", "movement"]
