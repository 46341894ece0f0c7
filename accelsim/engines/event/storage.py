"""Where words lie: an instance of a level has a place for every word of a tensor, and holds only
what was moved into it.

What is not held is NaN, and so is everything computed from it.  Operands go from level to level run
by run (``copy``); sums are added one by one to those already there (``add``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.event.word_sets import Ints, Place, WordSet

Floats = npt.NDArray[Any]
Flags = npt.NDArray[np.uint8]


@kernel
def copy(runs: Ints, parent: Floats, child: Floats) -> None:
    """Words leave the parent's buffer for the child's."""
    for k in range(len(runs)):
        for word in range(runs[k, 0], runs[k, 0] + runs[k, 1]):
            child[word] = parent[word]


@kernel
def put(runs: Ints, value: float, words: Floats) -> None:
    """The same value for every word: zero or poison, or a flag."""
    for k in range(len(runs)):
        for word in range(runs[k, 0], runs[k, 0] + runs[k, 1]):
            words[word] = value


@kernel
def poison(gone: Ints, kept: Ints, words: Floats, room: Floats) -> None:
    """Words that are gone become poison, but for those that are kept; ``room`` is for them."""
    n = 0
    for k in range(len(kept)):
        for word in range(kept[k, 0], kept[k, 0] + kept[k, 1]):
            room[n] = words[word]
            n += 1
    put(gone, np.nan, words)
    n = 0
    for k in range(len(kept)):
        for word in range(kept[k, 0], kept[k, 0] + kept[k, 1]):
            words[word] = room[n]
            n += 1


@kernel
def give(runs: Ints, child: Floats, parent: Floats) -> int:
    """Sums leave the child's buffer, where zeros remain, and are added to the parent's.  What would
    be lost in poison there stays; how many words that are.
    """
    lost = 0
    for k in range(len(runs)):
        for word in range(runs[k, 0], runs[k, 0] + runs[k, 1]):
            value, total = child[word], parent[word] + child[word]
            if total != total and value == value:
                lost += 1
            else:
                child[word] = 0.0
            parent[word] = total
    return lost


@kernel
def take(words: Floats, rows: Ints, columns: Ints, out: Floats) -> None:
    """Sums leave their places, where zeros remain."""
    for i in range(len(rows)):
        for j in range(len(columns)):
            word = rows[i] + columns[j]
            out[i, j], words[word] = words[word], 0.0


@kernel
def add(words: Floats, rows: Ints, columns: Ints, values: Floats) -> None:
    """A partial sum is added to the word that is there."""
    for i in range(len(rows)):
        for j in range(len(columns)):
            words[rows[i] + columns[j]] += values[i, j]


@kernel
def arrive(fresh: Flags, rows: Ints, columns: Ints) -> int:
    """Which words have had no arrival yet is no longer so; how many those were."""
    first = 0
    for i in range(len(rows)):
        for j in range(len(columns)):
            if fresh[rows[i] + columns[j]]:
                first += 1
                fresh[rows[i] + columns[j]] = 0
    return first


class Buffer:
    """One instance of a level, for one tensor.

    ``data``      [words]
    ``fresh``     [words]: of sums, which are held and have had no arrival yet; ``n_fresh`` of them
    ``capacity``  words it has room for; None: all.  ``used`` of them are held
    ``overflow``  the most words it ever held, if that was more; 0 if what moves is right
    """

    def __init__(self, data: Floats, capacity: int | None = None) -> None:
        self.data, self.capacity = data, capacity
        self.fresh: Flags | None = None
        self.n_fresh = self.used = self.overflow = 0

    def take(self, place: Place) -> Floats:
        """The sums that lie there, [rows, columns]; zeros remain."""
        out = np.empty((len(place.rows), len(place.columns)))
        take(self.data, *place, out)
        return out

    def add(self, place: Place, values: Floats) -> None:
        add(self.data, *place, np.ascontiguousarray(values))

    # sums

    def give(self, words: WordSet, parent: Buffer) -> int:
        """Add sums to the parent's; how many were poison there, and are still here."""
        return int(give(words.runs, self.data, parent.data)) if len(words.runs) else 0

    def open(self, words: WordSet) -> None:
        """Words from now on wait for their first arrival."""
        if self.fresh is None:
            self.fresh = np.zeros(len(self.data), np.uint8)
        put(words.runs, 1.0, self.fresh)
        self.n_fresh += words.count

    def arrive(self, words: WordSet | Place) -> int:
        """Mark words as arrived; how many did for the first time of their residency."""
        if not self.n_fresh or self.fresh is None:
            return 0
        first = arrive(self.fresh, *(words.place if isinstance(words, WordSet) else words))
        self.n_fresh -= first
        return int(first)

    # buffers

    def hold(self, words: WordSet, parent: Buffer | None) -> None:
        """Take words in: copies of the parent's, or zeros."""
        self.used += words.count
        if self.capacity is not None and self.used > self.capacity:
            self.overflow = max(self.overflow, self.used)
        if parent is None:
            put(words.runs, 0.0, self.data)
        elif len(words.runs):
            copy(words.runs, parent.data, self.data)

    def release(self, words: WordSet) -> None:
        """Let words go: their places are poison from now on."""
        self.used -= words.count
        put(words.runs, np.nan, self.data)
        if self.n_fresh:
            self.arrive(words)

    def keep_only(self, kept: WordSet, of: Sequence[WordSet]) -> None:
        """Some words are poison from now on, but for those that are kept."""
        gone = np.concatenate([words.runs for words in of])
        poison(gone, kept.runs, self.data, np.empty(kept.count, self.data.dtype))
