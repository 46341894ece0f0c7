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
from accelsim.engines.event.word_sets import NONE, Box, WordSet
from accelsim.mapping.nest import Boundary, Chain, Nest

Named = list[tuple[Instance, WordSet]]  # words by instance
News = list[tuple[Instance, Tile | None, Tile | None]]  # by instance: its tile before and now

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
    ``between``   children outside the PEs, by boundary
    """

    def __init__(self, nest: Nest, *, stepwise: bool) -> None:
        self.nest = nest
        pe, loops = nest.levels - 1, nest.loops
        self.spatial = [i for i, x in enumerate(loops) if x.spatial and x.level < pe]
        self.clusters = [i for i in self.spatial if loops[i].level < pe - 1]
        temporal = [i for i, x in enumerate(loops) if not x.spatial and x.level < pe]
        self.outer = [i for i in temporal if loops[i].level < pe - 1]
        self.steps = temporal[len(self.outer) :]
        widest = max([nest.footprint.tile_words(pe, t) for t in nest.keep[pe]] or [1])
        per_step = widest * prod(loops[i].trips for i in self.spatial)
        while (
            self.steps
            and prod(loops[i].trips for i in self.steps) * per_step > ROWS_LIMIT
            and self._whole_outside(self.steps[0])
        ):
            self.outer.append(self.steps.pop(0))
        self._exist: dict[Any, bool] = {}
        self.array = PeArray(
            nest, self.outer, self.steps, self.spatial, self.clusters, stepwise=stepwise
        )
        self.between = [
            _Children(nest, b, self.outer, self.spatial) for b in nest.boundaries if b.child < pe
        ]

    def _whole_outside(self, i: int) -> bool:
        """Whether what the PEs of a cluster work on at one setting of a loop is one piece: no loop
        over them stands outside it.
        """
        chain = next(c for c in self.nest.chains if i in c.loops)
        return not any(j < i and j in self.spatial and j not in self.clusters for j in chain.loops)

    def events(self) -> Iterator[Event]:
        """All events, step by step of the outer loops; then what is still held drains."""
        previous: dict[int, int] | None = None
        for at in self._outer_steps():
            before, this = self.array.step(at)
            if before is not None:
                yield before
            changes = [(x, x.change(at)) for x in self.between if x.moved(previous, at)]
            for children, news in reversed(changes):
                if children.sums:
                    yield from children.drain(news)
            for children, news in changes:
                yield from children.open(news) if children.sums else children.fill(news)
            yield this
            previous = at
        last = self.array.finish()
        if last is not None:
            yield last
        for children in reversed(self.between):
            if children.sums:
                yield from children.drain([(i, tile, None) for i, tile in children.held.items()])

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


class _Children:
    """The instances of a level outside the PEs, and what they take and let go of one tensor.

    ``sums``     whether it is the accumulated tensor
    ``above``    the outer loops that move a tile, and
    ``spatial``  the loops over instances outside the level
    ``apart``    which of an instance's indices tell sharing groups apart
    ``parents``  how many of them name its parent
    ``held``     by instance: the tile of its latest own step
    """

    def __init__(self, nest: Nest, b: Boundary, outer: list[int], spatial: list[int]) -> None:
        self.nest, self.b, self.tiles = nest, b, TileBoxes(nest, b)
        self.sums = b.tensor == nest.problem.accumulated
        loops = nest.loops
        self.above = [i for i in outer if loops[i].level < b.child]
        self.spatial = [i for i in spatial if loops[i].level < b.child]
        apart = grouped(nest, b, self.spatial)
        self.apart = [k for k, i in enumerate(self.spatial) if i in apart]
        self.parents = sum(loops[i].level < b.parent for i in self.spatial)
        instances = product(*(range(loops[i].trips) for i in self.spatial))
        self.held: dict[Instance, Tile | None] = dict.fromkeys(instances)

    def moved(self, previous: dict[int, int] | None, at: dict[int, int]) -> bool:
        """Whether a loop outside the level has moved; if not, nothing changes there."""
        return previous is None or any(previous[i] != at[i] for i in self.above)

    def change(self, at: dict[int, int]) -> News:
        """For every instance that takes the step and whose tile changes: its tile before and now.

        An instance idle through a dimension the tensor does not depend on is left out: its tile
        stands still, and its history too.
        """
        above = {i: at[i] for i in self.above}
        news: News = []
        for instance, old in self.held.items():
            idle, tile = self.tiles.tile(above | dict(zip(self.spatial, instance, strict=True)))
            if idle:
                continue
            self.held[instance] = tile
            if tile is not old or self.b.kind == "neighbour":
                news.append((instance, old, tile))
        return news

    def drain(self, news: News) -> Iterator[Drain]:
        """A drain of what instances let go, if that is anything."""
        gone = _some((i, self.tiles.minus(old, new)) for i, old, new in news)
        if gone:
            yield Drain(self.b, self._real(gone), self._real(self._shared(gone)))

    def open(self, news: News) -> Iterator[Open]:
        """Sums that start a residency."""
        come = _some((i, self.tiles.minus(new, old)) for i, old, new in news)
        yield Open(self.b.child, self.b.tensor, self._real(come))

    def fill(self, news: News) -> Iterator[Fill]:
        """A fill, if any instance takes or lets go a word."""
        come = [(i, self.tiles.minus(new, old)) for i, old, new in news]
        gone = [(i, self.tiles.minus(old, new)) for i, old, new in news]
        if _some(come) or _some(gone):
            takes = zip(self._real(come), self._real(gone), strict=True)
            yield Fill(
                self.b, tuple((i, w, g) for (i, w), (_, g) in takes), self._reads(come, news)
            )

    def _reads(self, come: Named, news: News) -> tuple[tuple[Instance, int], ...]:
        """Words each parent instance reads: what its children take, shared; over neighbour links
        what none of them held.
        """
        if self.b.kind != "neighbour":
            return tuple((i, self._given(w)) for i, w in self._shared(come))
        whole, shape = self.tiles.minus, self.tiles.shape
        before = dict(self._shared([(i, whole(old, None)) for i, old, _ in news]))
        reads = []
        for parent, now in self._shared([(i, whole(new, None)) for i, _, new in news]):
            fresh = np.setdiff1d(now.flat(shape), before.get(parent, NONE).flat(shape))
            reads.append((parent, self._given(WordSet(listed=fresh))))
        return tuple(reads)

    def _shared(self, words: Named) -> Named:
        """Join what the children of each sharing group move; one entry a group, named by the
        parent's instance.
        """
        groups: dict[Instance, list[WordSet]] = {}
        parent: dict[Instance, Instance] = {}
        for instance, w in words:
            group = tuple([instance[k] for k in self.apart])
            groups.setdefault(group, []).append(w)
            parent[group] = instance[: self.parents]
        return _some((parent[group], self.tiles.join(some)) for group, some in groups.items())

    def _given(self, words: WordSet) -> int:
        """How many words the parent gives: all but padding zeros that only the child stores."""
        if not self.b.adds_padding:
            return len(words)
        if words.listed is None:
            return sum(_inside(box, self.nest.window) for box in words.boxes)
        flat = address(self.nest, words.listed) if self.tiles.pairs else words.listed
        return int(np.count_nonzero(not_padding(self.nest, flat)))

    def _real(self, words: Named) -> tuple[tuple[Instance, WordSet], ...]:
        """(k, x) pairs become the ifmap words they stand for; other words are themselves."""
        if not self.tiles.pairs:
            return tuple(words)
        return tuple((i, WordSet(listed=address(self.nest, w.flat(())))) for i, w in words)


def _some(words: Iterable[tuple[Instance, WordSet]]) -> Named:
    """Those that have any."""
    return [(i, w) for i, w in words if len(w)]


def _inside(box: Box, window: tuple[tuple[int, int], tuple[int, int]] | None) -> int:
    """Words of a box of the ifmap inside a window of its rows and columns."""
    assert window is not None
    lines = [np.arange(i.start, i.stop) if isinstance(i, slice) else i for i in box]
    rows, cols = (
        np.count_nonzero((line >= low) & (line < high))
        for line, (low, high) in zip(lines[3:], window, strict=True)
    )
    return int(rows * cols) * prod(line.size for line in lines[:3])


__all__ = ["Drain", "Event", "Fill", "Open", "Pass", "PeDrain", "PeLoad", "Take", "movement"]
