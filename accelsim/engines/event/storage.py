"""Where words lie: an instance of a level has a place for every word of a tensor, and holds only
what was moved into it.

What is not held is NaN, and so is everything computed from it.  Operands go from level to level run
by run (``copy``); sums are added one by one to those already there (``give``, ``add``).  Kernels
are told words as a ``WordSet`` has them: ``by``, ``rows`` and ``runs``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.event.word_sets import Ints, WordSet

Floats = npt.NDArray[Any]
Flags = npt.NDArray[np.uint8]


@kernel
def copy(by: int, rows: Ints, runs: Ints, parent: Floats, child: Floats) -> None:
    """Words leave the parent's buffer for the child's."""
    for row in rows:
        for begin, n in runs:
            there, here = parent[by + row + begin :], child[by + row + begin :]
            for i in range(n):
                here[i] = there[i]


@kernel
def put(by: int, rows: Ints, runs: Ints, value: float, words: Floats) -> None:
    """The same value for every word: zero or poison, or a flag."""
    for row in rows:
        for begin, n in runs:
            here = words[by + row + begin :]
            for i in range(n):
                here[i] = value


@kernel
def give(by: int, rows: Ints, runs: Ints, child: Floats, parent: Floats) -> int:
    """Sums leave the child's buffer, where zeros remain, and are added to the parent's.  What would
    be lost in poison there stays; how many words that are.
    """
    lost = 0
    for row in rows:
        for begin, n in runs:
            sums, totals = child[by + row + begin :], parent[by + row + begin :]
            for i in range(n):
                value, total = sums[i], totals[i] + sums[i]
                missed = total != total and value == value
                lost += missed
                sums[i] = value if missed else 0.0
                totals[i] = total
    return lost


@kernel
def take(by: int, rows: Ints, runs: Ints, words: Floats, out: Floats) -> None:
    """Sums leave their places, where zeros remain, for ``out`` [rows, words of a row]."""
    for k in range(len(rows)):
        column = 0
        for begin, n in runs:
            here, there = words[by + rows[k] + begin :], out[k, column:]
            for i in range(n):
                there[i] = here[i]
                here[i] = 0.0
            column += n


@kernel
def add(by: int, rows: Ints, runs: Ints, words: Floats, values: Floats) -> int:
    """A partial sum is added to the word that is there; how many are lost in poison there."""
    lost = 0
    for k in range(len(rows)):
        column = 0
        for begin, n in runs:
            totals, sums = words[by + rows[k] + begin :], values[k, column:]
            for i in range(n):
                totals[i] += sums[i]
                lost += totals[i] != totals[i] and sums[i] == sums[i]
            column += n
    return lost


@kernel
def arrive(by: int, rows: Ints, runs: Ints, fresh: Flags) -> int:
    """Which words have had no arrival yet is no longer so; how many those were."""
    first = 0
    for row in rows:
        for begin, n in runs:
            here = fresh[by + row + begin :]
            for i in range(n):
                first += int(here[i])
                here[i] = 0
    return first


@kernel
def whole(sums: Floats, words: Ints) -> int:
    """Sums as whole numbers; how many of them are poison."""
    lost = 0
    for i in range(len(sums)):
        there = sums[i] == sums[i]
        words[i] = int(sums[i]) if there else 0
        lost += not there
    return lost


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

    # sums

    def take(self, words: WordSet) -> Floats:
        """Sums, [rows, words of a row]; zeros remain."""
        out = np.empty((len(words.rows), words.count // len(words.rows)))
        take(*words.where, self.data, out)
        return out

    def add(self, words: WordSet, values: Floats) -> int:
        """Add sums [rows, words of a row]; how many were lost in poison here."""
        return int(add(*words.where, self.data, values))

    def give(self, words: WordSet, parent: Buffer) -> int:
        """Add sums to the parent's; how many were poison there, and are still here."""
        return int(give(*words.where, self.data, parent.data))

    def open(self, words: WordSet) -> None:
        """Words from now on wait for their first arrival."""
        if self.fresh is None:
            self.fresh = np.zeros(len(self.data), np.uint8)
        put(*words.where, 1.0, self.fresh)
        self.n_fresh += words.count

    def arrive(self, words: WordSet) -> int:
        """Mark words as arrived; how many did for the first time of their residency."""
        if not self.n_fresh or self.fresh is None:
            return 0
        first = int(arrive(*words.where, self.fresh))
        self.n_fresh -= first
        return first

    # buffers

    def hold(self, words: WordSet, parent: Buffer | None) -> None:
        """Take words in: copies of the parent's, or zeros."""
        self.used += words.count
        if self.capacity is not None and self.used > self.capacity:
            self.overflow = max(self.overflow, self.used)
        if parent is None:
            put(*words.where, 0.0, self.data)
        else:
            copy(*words.where, parent.data, self.data)

    def release(self, words: WordSet) -> None:
        """Let words go: their places are poison from now on."""
        self.used -= words.count
        put(*words.where, np.nan, self.data)
        if self.n_fresh:
            self.arrive(words)
