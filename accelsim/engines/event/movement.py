"""What moves, in order: the transfers and passes of a nest (docs/design.md, sections 1 and 4; the
order is told over the package).

``movement(nest)`` yields ``Drain``, ``Open``, ``Fill``, ``PeDrain`` and ``Pass``.  Levels outside
the innermost two are walked step by step, instance by instance: each instance's tile now, less its
own tile of the step before (rule 3).  A ``Pass`` is everything that happens while they stand still;
``pes`` makes it, from tables instead of instance by instance, since there may be thousands of PEs.

The machine, the timed engine and the tests that break movement on purpose read this stream; it can
be read again and again, and knows no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from accelsim.engines.event.pes import PeArray
from accelsim.engines.event.ranks import address, grouped, not_padding
from accelsim.engines.event.tile_boxes import Tile, TileBoxes
from accelsim.engines.event.transfers import (
    Drain,
    Event,
    Fill,
    Instance,
    Open,
    Pass,
    PeDrain,
    PeLoad,
    Take,
)
from accelsim.engines.event.word_sets import Box, WordSet
from accelsim.mapping.nest import Boundary, Chain, Nest

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

    ``spatial``   loops over instances, those of the PEs included; positions in ``nest.loops``
    ``clusters``  those outside the level next to the array: a cluster is what that level feeds
    ``outer``     temporal loops outside a pass
    ``steps``     temporal loops of a pass outside the PEs
    ``array``     the PEs, which tell what a pass does
    ``between``   boundaries whose child lies outside the PEs
    ``tiles``     by boundary: its tiles and their differences
    ``above``     by boundary: the outer loops that move its tile
    ``held``      by boundary and instance: the tile of its latest own step
    """

    def __init__(self, nest: Nest, *, stepwise: bool) -> None:
        self.nest = nest
        self.pe = nest.levels - 1
        loops = nest.loops
        self.spatial = [i for i, x in enumerate(loops) if x.spatial and x.level < self.pe]
        self.clusters = [i for i in self.spatial if loops[i].level < self.pe - 1]
        temporal = [i for i, x in enumerate(loops) if not x.spatial and x.level < self.pe]
        self.outer = [i for i in temporal if loops[i].level < self.pe - 1]
        self.steps = temporal[len(self.outer) :]
        widest = max([nest.footprint.tile_words(self.pe, t) for t in nest.keep[self.pe]] or [1])
        per_step = widest * prod(loops[i].trips for i in self.spatial)
        while (
            self.steps
            and prod(loops[i].trips for i in self.steps) * per_step > ROWS_LIMIT
            and self._whole_outside(self.steps[0])
        ):
            self.outer.append(self.steps.pop(0))
        self.acc = nest.problem.accumulated
        self._exist: dict[Any, bool] = {}
        self.array = PeArray(
            nest, self.outer, self.steps, self.spatial, self.clusters, stepwise=stepwise
        )
        self.between = [b for b in nest.boundaries if b.child < self.pe]
        self.tiles = {b: TileBoxes(nest, b) for b in self.between}
        self.above = {b: [i for i in self.outer if loops[i].level < b.child] for b in self.between}
        self.held: dict[tuple[Boundary, Instance], Tile | None] = {
            (b, i): None for b in self.between for i in self._instances(b.child)
        }

    def _whole_outside(self, i: int) -> bool:
        """Whether what the PEs of a cluster work on at one setting of a loop is one piece: no loop
        over them stands outside it.
        """
        chain = next(c for c in self.nest.chains if i in c.loops)
        return not any(j < i and j in self.spatial and j not in self.clusters for j in chain.loops)

    def _instances(self, level: int) -> list[Instance]:
        """All instances of a level, in nest order."""
        return [
            tuple(x)
            for x in product(
                *(
                    range(self.nest.loops[i].trips)
                    for i in self.spatial
                    if self.nest.loops[i].level < level
                )
            )
        ]

    def events(self) -> Iterator[Event]:
        """All events, step by step of the outer loops; then what is still held drains."""
        previous: dict[int, int] | None = None
        for at in self._outer_steps():
            before, this = self.array.step(at)
            if before is not None:
                yield before
            changes = [self._change(b, at) for b in self.between if self._moved(b, previous, at)]
            for boundary, news in reversed(changes):
                if boundary.tensor == self.acc:
                    yield from self._drain(
                        boundary,
                        {i: self.tiles[boundary].minus(old, new) for i, (old, new) in news.items()},
                    )
            for boundary, news in changes:
                come = {i: self.tiles[boundary].minus(new, old) for i, (old, new) in news.items()}
                if boundary.tensor == self.acc:
                    yield Open(
                        boundary.child,
                        boundary.tensor,
                        self._real(boundary, ((i, w) for i, w in come.items() if len(w))),
                    )
                else:
                    gone = {
                        i: self.tiles[boundary].minus(old, new) for i, (old, new) in news.items()
                    }
                    yield from self._fill(boundary, come, gone, self._reads(boundary, come, news))
            yield this
            previous = at
        last = self.array.finish()
        if last is not None:
            yield last
        for boundary in reversed(self.between):
            if boundary.tensor == self.acc:
                held = {i: t for (b, i), t in self.held.items() if b is boundary}
                yield from self._drain(
                    boundary, {i: self.tiles[boundary].minus(t, None) for i, t in held.items()}
                )

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

    def _moved(
        self, boundary: Boundary, previous: dict[int, int] | None, at: dict[int, int]
    ) -> bool:
        """Whether a loop above a boundary's child has moved; if not, nothing changes there."""
        if previous is None:
            return True
        return any(previous[i] != at[i] for i in self.above[boundary])

    def _change(
        self, boundary: Boundary, at: dict[int, int]
    ) -> tuple[Boundary, dict[Instance, tuple[Tile | None, Tile | None]]]:
        """For every instance that takes the step and whose tile changes: its tile before and now.

        An instance idle through a dimension the tensor does not depend on is left out: its tile
        stands still, and its history too.
        """
        loops, level = self.nest.loops, boundary.child
        spatial = [i for i in self.spatial if loops[i].level < level]
        above = {i: v for i, v in at.items() if loops[i].level < level}
        news: dict[Instance, tuple[Tile | None, Tile | None]] = {}
        for instance in self._instances(level):
            idle, tile = self.tiles[boundary].tile(
                above | dict(zip(spatial, instance, strict=True))
            )
            if idle:
                continue
            old = self.held[boundary, instance]
            self.held[boundary, instance] = tile
            if tile is not old or boundary.kind == "neighbour":
                news[instance] = (old, tile)
        return boundary, news

    def _share(
        self, boundary: Boundary, words: dict[Instance, WordSet]
    ) -> tuple[tuple[Instance, WordSet], ...]:
        """Join what the children of each sharing group move; one entry a group, named by the
        parent's instance.
        """
        spatial = [i for i in self.spatial if self.nest.loops[i].level < boundary.child]
        if not spatial:
            return tuple((i, w) for i, w in words.items() if len(w))
        apart = grouped(self.nest, boundary, spatial)
        parents = [i for i in spatial if self.nest.loops[i].level < boundary.parent]
        groups: dict[tuple[Instance, Instance], list[WordSet]] = {}
        for instance, w in words.items():
            where = dict(zip(spatial, instance, strict=True))
            groups.setdefault(
                (tuple(where[i] for i in apart), tuple(where[i] for i in parents)), []
            ).append(w)
        joined = (
            (parent, self.tiles[boundary].join(lists)) for (_, parent), lists in groups.items()
        )
        return tuple((parent, w) for parent, w in joined if len(w))

    def _drain(self, boundary: Boundary, words: dict[Instance, WordSet]) -> Iterator[Drain]:
        """A drain of what instances let go, if that is anything."""
        words = {i: w for i, w in words.items() if len(w)}
        if words:
            yield Drain(
                boundary,
                self._real(boundary, words.items()),
                self._real(boundary, self._share(boundary, words)),
            )

    def _reads(
        self,
        boundary: Boundary,
        come: dict[Instance, WordSet],
        news: dict[Instance, tuple[Tile | None, Tile | None]],
    ) -> tuple[tuple[Instance, int], ...]:
        """Words each parent instance reads: what its children take, shared; over neighbour links
        what none of them held.
        """
        if boundary.kind != "neighbour":
            return tuple((i, self._given(boundary, w)) for i, w in self._share(boundary, come))
        whole = self.tiles[boundary].minus
        shape = self.nest.problem.shape(boundary.tensor)
        before = dict(self._share(boundary, {i: whole(old, None) for i, (old, _) in news.items()}))
        now = self._share(boundary, {i: whole(new, None) for i, (_, new) in news.items()})
        fresh = (
            (
                i,
                np.setdiff1d(
                    w.flat(shape), before[i].flat(shape) if i in before else np.zeros(0, np.int64)
                ),
            )
            for i, w in now
        )
        return tuple((i, self._given(boundary, WordSet(listed=w))) for i, w in fresh)

    def _given(self, boundary: Boundary, words: WordSet) -> int:
        """How many words the parent gives: all but padding zeros that only the child stores."""
        if not boundary.adds_padding:
            return len(words)
        if len(words.boxes) > 1:
            return sum(self._given(boundary, WordSet((box,))) for box in words.boxes)
        if words.boxes and isinstance(words.boxes[0][0], slice):
            return _clipped(words.boxes[0], (3, 4), self.nest.window)
        flat = words.flat(self.nest.problem.shape(boundary.tensor))
        pairs = self.nest.projection(boundary.tensor, boundary.child).pairs
        return int(
            np.count_nonzero(not_padding(self.nest, address(self.nest, flat) if pairs else flat))
        )

    def _fill(
        self,
        boundary: Boundary,
        come: dict[Instance, WordSet],
        gone: dict[Instance, WordSet],
        reads: tuple[tuple[Instance, int], ...],
    ) -> Iterator[Fill]:
        """A fill, if any instance takes or lets go a word."""
        if any(len(w) for w in (*come.values(), *gone.values())):
            come, gone = (
                dict(self._real(boundary, come.items())),
                dict(self._real(boundary, gone.items())),
            )
            yield Fill(boundary, tuple((i, come[i], gone[i]) for i in come), reads)

    def _real(
        self, boundary: Boundary, words: Iterable[tuple[Instance, WordSet]]
    ) -> tuple[tuple[Instance, WordSet], ...]:
        """(k, x) pairs become the ifmap words they stand for; other words are themselves."""
        if not self.nest.projection(boundary.tensor, boundary.child).pairs:
            return tuple(words)
        return tuple((i, WordSet(listed=address(self.nest, w.flat(())))) for i, w in words)


def _clipped(
    box: Box, axes: tuple[int, int], window: tuple[tuple[int, int], tuple[int, int]] | None
) -> int:
    """Words of a box of slices inside a window on two of its axes."""
    assert window is not None
    ends = dict(zip(axes, window, strict=True))
    spans = (ends.get(axis, (i.start, i.stop)) for axis, i in enumerate(box))
    return prod(
        max(min(i.stop, high) - max(i.start, low), 0)
        for i, (low, high) in zip(box, spans, strict=True)
    )


__all__ = [
    "Drain",
    "Event",
    "Fill",
    "Open",
    "Pass",
    "PeDrain",
    "PeLoad",
    "Take",
    "movement",
]
