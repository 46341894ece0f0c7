"""The levels outside the PEs: what they hold of one tensor, and what moves between them step by
step (section 4).

A *step* is a setting of the temporal loops outside the PEs.  Operands and sums are walked apart, as
operands must be there when a step's first word is fed and sums of a step may land after the next
one has begun; so each tensor has a ``Traffic`` of its own, which is moved on when it is its turn.

Word by word: tiles are lists of names made from ``Nest.pieces`` (``addresses``), a store is a flag
and a value a word of the tensor, counts are lengths.  Taking a word that is not held raises
HazardError.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle.addresses import (
    NOTHING,
    Bools,
    Ints,
    LevelTiles,
    Where,
    apart,
    digits,
    no_padding,
    numbered,
    pair_address,
)
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary, Nest

Values = npt.NDArray[Any]


class HazardError(RuntimeError):
    """A word was needed where it was not, or two wanted one place: the engine's own fault, never
    the user's.
    """


class LevelStore:
    """One instance of a level, for one tensor; arrays are by address, [words of the tensor].

    ``values``  None: words without values
    ``held``    which words it has
    ``fresh``   of sums: for which of them nothing arrived yet
    """

    def __init__(self, size: int, values: Values | None, *, sums: bool, full: bool = False) -> None:
        self.values = values
        self.held: Bools = np.full(size, full)
        self.fresh: Bools = np.full(size if sums else 0, full)


class Traffic:
    """One tensor's words in every level outside the PEs.

    ``start``: the tensor's flat values at the outermost level, or None to move words without
    values.  What crosses boundaries is counted in ``moves``.

    ``boundaries``  between levels outside the PEs, outermost first; ``links`` what they need
    ``keepers``     levels that keep the tensor, its home first; ``innermost`` is the last
    ``size``        words of the tensor
    ``instances``   by level: how many there are, numbered over the spatial loops outside it
    ``stores``      by level and instance
    ``sums``        whether it is the accumulated tensor
    """

    def __init__(
        self, nest: Nest, tensor: str, moves: dict[Boundary, Moved], start: Values | None
    ) -> None:
        self.nest, self.tensor, self.moves = nest, tensor, moves
        self.pe = nest.levels - 1
        self.sums = tensor == nest.problem.accumulated
        self.boundaries = [b for b in nest.boundaries if b.tensor == tensor and b.child < self.pe]
        self.keepers = [nest.home(tensor), *(b.child for b in self.boundaries)]
        self.innermost = self.keepers[-1]
        self.size = prod(nest.problem.shape(tensor))
        self.temporal = [i for i, x in enumerate(nest.loops) if not x.spatial]
        spatial = [i for i, x in enumerate(nest.loops) if x.spatial]
        self.instances = {
            level: prod(nest.loops[i].trips for i in spatial if nest.loops[i].level < level)
            for level in range(nest.levels)
        }
        self.stores: dict[tuple[int, int], LevelStore] = {
            (self.keepers[0], 0): LevelStore(self.size, start, sums=self.sums, full=True)
        }
        self.links = [_Link(nest, b) for b in self.boundaries]
        for link in self.links:
            for k in range(self.instances[link.b.child]):
                values = None if start is None else np.zeros(self.size, start.dtype)
                self.stores[link.b.child, k] = LevelStore(self.size, values, sums=self.sums)

    def instance(self, level: int, inside: int, of: Any) -> Any:
        """The instance of a level around instance ``of`` (a number or an array) of the level
        ``inside``.
        """
        return of // (self.instances[inside] // self.instances[level])

    # -- moving on ---------------------------------------------------------------------------------

    def advance(self, at: Where) -> None:
        """Move on to a step: sums drain innermost first, then what is new comes in, outermost
        first.
        """
        changes = [(link, link.change(at)) for link in self.links if link.moved(at)]
        if self.sums:
            for link, news in reversed(changes):
                self._drain(link, {k: _minus(old, new) for k, (old, new) in news.items()})
            for link, news in changes:
                for k, (old, new) in news.items():
                    self._open(link, k, _minus(new, old))
        else:
            for link, news in changes:
                self._fill(link, news)

    def finish(self) -> None:
        """Drain every sum that is left."""
        for link in reversed(self.links):
            self._drain(link, link.held)

    def _fill(self, link: _Link, news: dict[int, tuple[Ints, Ints]]) -> None:
        """Operand tiles change: ``news`` is each instance's tile before and now (rule 4)."""
        b, m = link.b, self.moves[link.b]
        come = {k: _minus(new, old) for k, (old, new) in news.items()}
        m.taken += sum(len(w) for w in come.values())
        if b.kind == "neighbour":
            before, now = (link.shared({k: pair[i] for k, pair in news.items()}) for i in (0, 1))
            reads = [_minus(w, before.get(g, NOTHING)) for g, w in now.items()]
        else:
            reads = list(link.shared(come).values())
        m.read += sum(link.given(w) for w in reads)
        for k, (old, new) in news.items():
            child = self.stores[b.child, k]
            child.held[link.tiles.address(_minus(old, new))] = False
            self._copy(
                link,
                child,
                link.tiles.address(come[k]),
                self.stores[b.parent, self.instance(b.parent, b.child, k)],
            )
            self._check_size(b, child)

    def _copy(self, link: _Link, child: LevelStore, words: Ints, parent: LevelStore) -> None:
        """Words come from the parent, which must hold them."""
        made = link.made(words)  # padding zeros are made where they are stored
        if not parent.held[words[~made]].all():
            raise HazardError(f"{link.b}: a word was taken that the level above does not hold")
        child.held[words] = True
        if child.values is not None and parent.values is not None:
            child.values[words] = parent.values[words]
            child.values[words[made]] = 0

    def _open(self, link: _Link, k: int, names: Ints) -> None:
        """Sums begin a residency in instance k, at zero (rule 6)."""
        child, words = self.stores[link.b.child, k], link.tiles.address(names)
        child.held[words] = child.fresh[words] = True
        if child.values is not None:
            child.values[words] = 0
        self._check_size(link.b, child)

    def _drain(self, link: _Link, out: dict[int, Ints]) -> None:
        """Sums leave instances: those that share add on the way, and count once (rule 5)."""
        b, m = link.b, self.moves[link.b]
        m.drained += sum(len(w) for w in out.values())
        for group, names in link.shared(out).items():
            parent = self.instance(b.parent, b.child, int(link.first[group]))
            words = np.unique(link.tiles.address(names))
            m.arrived += len(names)
            m.updated += len(names) - self._first(b, self.stores[b.parent, parent], words)
        for k, names in out.items():
            child, words = self.stores[b.child, k], link.tiles.address(names)
            values = None if child.values is None else child.values[words]
            self._add(b.parent, self.instance(b.parent, b.child, k), b.parent, words, values)
            child.held[words] = child.fresh[words] = False

    def _check_size(self, b: Boundary, child: LevelStore) -> None:
        """Nothing holds more than its largest tile."""
        room = self.nest.footprint.tile_words(b.child, b.tensor)
        if int(np.count_nonzero(child.held)) > room:
            name = self.nest.arch.level_names[b.child]
            raise HazardError(
                f"{name} was given more than the {room} words of {b.tensor} its largest tile has"
            )

    # -- sums --------------------------------------------------------------------------------------

    def _first(self, b: Boundary, parent: LevelStore, words: Ints) -> int:
        """Arrivals that read nothing: each residency's first, unless the level reads zeros too
        (section 4.6).
        """
        first = words[parent.fresh[words]]
        parent.fresh[first] = False
        return (
            0 if self.nest.arch.first_read == self.nest.arch.level_names[b.parent] else len(first)
        )

    def _add(
        self, level: int, instance: int, inside: int, words: Ints, values: Values | None
    ) -> None:
        """Add to the innermost of the levels from ``level`` out that still hold the word (a PE may
        have stood idle meanwhile).
        """
        for keeper in reversed([k for k in self.keepers if k <= level]):
            store = self.stores[keeper, self.instance(keeper, inside, instance)]
            there = store.held[words]
            if values is not None and store.values is not None:
                np.add.at(store.values, words[there], values[there])
            if there.all():
                return
            words, values = words[~there], None if values is None else values[~there]

    def land(
        self, b: Boundary, inside: int, instances: Ints, words: Ints, values: Values | None
    ) -> None:
        """Sums of one step that left the PEs arrive: one entry an arrival, by instance of level
        ``inside`` they come from.
        """
        m = self.moves[b]
        parents = self.instance(b.parent, inside, instances)
        m.arrived += len(words)
        for k in np.unique(parents):
            mine = parents == k
            here = words[mine]
            m.updated += len(here) - self._first(b, self.stores[b.parent, int(k)], np.unique(here))
            self._add(b.parent, int(k), b.parent, here, None if values is None else values[mine])

    # -- at the PEs --------------------------------------------------------------------------------

    def address_at_pe(self, names: Ints, level: int | None = None) -> Ints:
        """Addresses of words by their names at the PEs' level (or another)."""
        return (
            pair_address(self.nest, names)
            if self.nest.projection(self.tensor, self.pe if level is None else level).pairs
            else names
        )

    def given(self, b: Boundary, words: Ints) -> Bools:
        """Which addresses a boundary's parent has: all but padding that is stored further in."""
        if not b.adds_padding or self.nest.window is None:
            return np.ones(len(words), bool)
        return no_padding(self.nest, words, self.nest.window)

    # -- operands ----------------------------------------------------------------------------------

    def read(self, instance: int, words: Ints) -> Values:
        """The values of words the innermost level outside the PEs holds; raises HazardError for any
        it does not.
        """
        store = self.stores[self.innermost, instance]
        if not store.held[words].all():
            raise HazardError(f"a word of {self.tensor} was read where it is not held")
        return (
            np.zeros(words.shape, np.int64)
            if store.values is None
            else store.values[words].astype(np.int64)
        )


class _Link:
    """One boundary between two levels outside the PEs: what each child instance holds, and who
    shares.

    ``b``      the boundary; ``tiles`` the child's
    ``where``  by instance: positions of the spatial loops
    ``group``  [instances]: who shares words; ``first`` an instance of each group
    ``above``  temporal loops that move the child's tile; ``at`` where they stood last
    ``held``   by instance: names of its latest own tile, sorted
    ``crosses``, ``window``   whether padding is stored below and not above, and what is no padding
    """

    def __init__(self, nest: Nest, b: Boundary) -> None:
        self.nest, self.b = nest, b
        self.tiles = LevelTiles(nest, b.tensor, b.child)
        spatial = [i for i, x in enumerate(nest.loops) if x.spatial and x.level < b.child]
        at = digits(nest, spatial)
        n = prod(nest.loops[i].trips for i in spatial)
        self.where = [{i: int(at[i][k]) for i in spatial} for k in range(n)]
        self.group = numbered(nest, apart(nest, b), at, n)
        self.first = {
            int(g): int(np.flatnonzero(self.group == g)[0]) for g in np.unique(self.group)
        }
        self.above = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < b.child]
        self.held: dict[int, Ints] = dict.fromkeys(range(n), NOTHING)
        self.at: tuple[int, ...] | None = None
        self.crosses = b.adds_padding
        self.window = nest.window

    def moved(self, at: Where) -> bool:
        """Whether the tile's loops have moved since the last step."""
        now = tuple(at[i] for i in self.above)
        before, self.at = self.at, now
        return now != before

    def change(self, at: Where) -> dict[int, tuple[Ints, Ints]]:
        """What each instance that takes the step held and holds; others stand still (section
        4.3).
        """
        news = {}
        for k, where in enumerate(self.where):
            tile = self.tiles.at({i: at[i] for i in self.above} | where)
            if tile is not None:
                news[k] = (self.held[k], tile)
                self.held[k] = tile
        return news

    def shared(self, words: dict[int, Ints]) -> dict[int, Ints]:
        """The union over those who share, by group."""
        groups: dict[int, list[Ints]] = {}
        for k, w in words.items():
            groups.setdefault(int(self.group[k]), []).append(w)
        return {
            g: lists[0] if len(lists) == 1 else np.unique(np.concatenate(lists))
            for g, lists in groups.items()
        }

    def made(self, words: Ints) -> Bools:
        """Which addresses are padding that the child makes itself."""
        if (
            not self.crosses
            or self.window is None
            or self.b.parent == self.nest.home(self.b.tensor)
        ):
            return np.zeros(len(words), bool)
        return ~no_padding(self.nest, words, self.window)

    def given(self, names: Ints) -> int:
        """How many of the words the parent reads: all but padding it has not."""
        if not self.crosses or self.window is None:
            return len(names)
        return int(np.count_nonzero(no_padding(self.nest, self.tiles.address(names), self.window)))


def _minus(words: Ints, other: Ints) -> Ints:
    """Words of one list that the other has not, both each word once."""
    if words is other or not len(words):
        return NOTHING
    return np.setdiff1d(words, other, assume_unique=True) if len(other) else words


def steps(nest: Nest) -> Iterator[dict[int, int]]:
    """Settings of the temporal loops outside the PEs at which some PE has work, in nest order."""
    loops = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < nest.levels - 1]
    known: dict[Any, bool] = {}
    inside = {c.name: {i: 0 for i in c.loops if i not in loops} for c in nest.chains}
    own = {c.name: [i for i in c.loops if i in loops] for c in nest.chains}

    def exists(at: dict[int, int]) -> bool:
        """If any instance has work in a dimension, the first one has."""
        for c in nest.chains:
            if len(own[c.name]) < 2:  # a single loop's trips all exist
                continue
            key = (c.name, *(at[i] for i in own[c.name]))
            if key not in known:
                known[key] = bool(
                    nest.pieces(c, inside[c.name] | {i: at[i] for i in own[c.name]}).exists
                )
            if not known[key]:
                return False
        return True

    for setting in np.ndindex(*(nest.loops[i].trips for i in loops)):
        at = dict(zip(loops, setting, strict=True))
        if exists(at):
            yield at
