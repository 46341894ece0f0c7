"""What the levels outside the PEs hold while a run is filmed: ``filming`` tells it what happens.

Operands of a tile are in as soon as the engine has issued the fold they are for; of a tile of sums
those are in that have arrived since it was begun.  Both are what the counters count, so the two
panels of the page agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from accelsim.engines.cycle.addresses import LevelTiles, Where, address_of
from accelsim.hardware.architecture import Tensor
from accelsim.mapping.nest import Nest
from accelsim.view.player.film import MOST_CELLS, TENSORS, FilmHeld, Ints, Presence

Settings = dict[int, tuple[dict[int, int], Ints]]  # where the outer loops stand, by fold


class Buffers:
    """The first instance of every level between the outermost and the PEs, edge by edge."""

    def __init__(self, nest: Nest) -> None:
        self.nest, acc = nest, nest.problem.accumulated
        kept = {t: [k for k in nest.keepers(t) if 0 < k < nest.levels - 1] for t in TENSORS}
        self.operands = [_Operands(nest, t, k) for t in TENSORS if t != acc for k in kept[t]]
        self.sums = [  # innermost first
            _Sums(nest, t, k) for t in TENSORS if t == acc for k in reversed(kept[t])
        ]

    def arrive(self, words: Sequence[int], settings: Settings) -> None:
        """Sums leave the array for the level outside; a level whose tile is over hands it on."""
        arriving = np.array(words, np.int64)
        for level in self.sums:
            arriving = level.land(arriving, settings)

    def look(self, settings: Settings) -> None:
        """Take down an edge."""
        for level in self.operands:
            level.look(settings)
        for sums in self.sums:
            sums.look()

    def films(self) -> tuple[FilmHeld, ...]:
        """All levels as they were seen."""
        every = sorted((*self.operands, *self.sums), key=lambda x: TENSORS.index(x.tensor))
        return tuple(x.film() for x in every)


class _Seen:
    """A tensor at a level, and what was seen of it: words, first and last index + 1."""

    def __init__(self, nest: Nest, tensor: Tensor, level: int) -> None:
        self.nest, self.tensor, self.level = nest, tensor, level
        self.tiles = LevelTiles(nest, tensor, level)
        self.outer = [i for i, x in enumerate(nest.loops) if x.level < level]
        self.shape = nest.problem.shape(tensor)
        self.looked: list[tuple[int, Ints, Ints]] = []

    def tile(self, settings: Settings, fold: int) -> Ints:
        """Addresses of the tile that a fold works on."""
        at: Where = {i: settings[fold][0].get(i, 0) for i in self.outer}
        names = self.tiles.at(at)
        if names is None:
            return np.zeros(0, np.int64)
        return address_of(self.nest, self.tensor, self.level, names)

    def box_of(self, words: Ints) -> tuple[Ints, Ints]:
        """The least box of indices around some words."""
        if not len(words):
            return np.zeros(len(self.shape), np.int64), np.zeros(len(self.shape), np.int64)
        at = np.stack(np.unravel_index(words, self.shape))
        return at.min(axis=1), at.max(axis=1) + 1

    def changes(self) -> Iterator[Ints]:
        """Words that come or go at each look."""
        raise NotImplementedError

    def film(self) -> FilmHeld:
        name = self.nest.arch.level_names[self.level]
        spec, foot = self.nest.arch.levels[name], self.nest.footprint
        counts, low, high = zip(*self.looked, strict=True)
        words, least, most = np.array(counts, np.int64), np.stack(low), np.stack(high)
        full = np.array_equal(words, np.prod(most - least, axis=1))
        return FilmHeld(
            name,
            self.tensor,
            words,
            least,
            most,
            foot.tile_words(self.level, self.tensor),
            foot.tile_bytes(self.level, self.tensor),
            spec.partitions.get(self.tensor, spec.capacity_bytes),
            None if full else self._there(),
        )

    def _there(self) -> Presence | None:
        changes, named = [], 0
        for words in self.changes():
            changes.append(words)
            named += len(words)
            if named > MOST_CELLS:
                return None
        return Presence.of(changes)


class _Operands(_Seen):
    """An operand's tile: all of it is there from the moment its fold is issued."""

    def __init__(self, nest: Nest, tensor: Tensor, level: int) -> None:
        super().__init__(nest, tensor, level)
        self.known: dict[tuple[int, ...], tuple[int, Ints, Ints]] = {}
        self.key: tuple[int, ...] | None = None
        self.news: dict[int, Ints] = {}  # by look: the tile that is there from then on

    def look(self, settings: Settings) -> None:
        """Take down what is there since the last fold was issued."""
        if not settings:
            self.looked.append((0, *self.box_of(np.zeros(0, np.int64))))
            return
        fold = next(reversed(settings))
        key = tuple(settings[fold][0].get(i, 0) for i in self.outer)
        if key != self.key:
            words = self.news[len(self.looked)] = self.tile(settings, fold)
            self.key = key
            if key not in self.known:
                self.known[key] = len(words), *self.box_of(words)
        self.looked.append(self.known[key])

    def changes(self) -> Iterator[Ints]:
        """Words of one tile that are not in the other, where a tile follows another."""
        before = np.zeros(0, np.int64)
        for k in range(len(self.looked)):
            after = self.news.get(k, before)
            yield np.setxor1d(before, after)
            before = after


class _Sums(_Seen):
    """A tile of sums: those that have arrived since it was begun."""

    def __init__(self, nest: Nest, tensor: Tensor, level: int) -> None:
        super().__init__(nest, tensor, level)
        self.fold = 0
        self.there: set[int] = set()
        self.turned: set[int] = set()  # since the last look
        self.news: list[Ints] = []
        self.box = self.box_of(np.zeros(0, np.int64))

    def land(self, words: Ints, settings: Settings) -> Ints:
        """Words arrive.  What is in the tile before theirs, if they begin another, goes outward."""
        if not len(words):
            return words
        fold = self._fold_of(words, settings)
        gone = np.zeros(0, np.int64)
        if fold is not None and fold != self.fold:
            if not np.array_equal(self.tile(settings, fold), self.tile(settings, self.fold)):
                gone = np.array(sorted(self.there), np.int64)
                self.turned ^= self.there
                self.there.clear()
                self.box = self.box_of(gone[:0])
            self.fold = fold
        mine = words[np.isin(words, self.tile(settings, self.fold))]
        new = np.array([w for w in mine.tolist() if w not in self.there], np.int64)
        if len(new):
            low, high = self.box_of(new)
            if self.there:
                low, high = np.minimum(low, self.box[0]), np.maximum(high, self.box[1])
            self.box = low, high
            self.there.update(new.tolist())
            self.turned ^= set(new.tolist())
        return gone

    def look(self) -> None:
        """Take down what has arrived."""
        self.looked.append((len(self.there), *self.box))
        self.news.append(np.array(sorted(self.turned), np.int64))
        self.turned.clear()

    def changes(self) -> Iterator[Ints]:
        yield from self.news

    def _fold_of(self, words: Ints, settings: Settings) -> int | None:
        """The first fold from the present one on whose tile has some of the words."""
        last: Ints | None = None
        for fold in range(self.fold, next(reversed(settings), -1) + 1):
            tile = self.tile(settings, fold)
            if tile is not last and np.isin(words, tile).any():
                return fold
            last = tile
        return None
