"""Sets of words of one tensor, as runs of flat addresses: what events carry.

A word has one address everywhere, in its tensor; levels differ only in which words they hold
(``storage``).  So a tile that lies elsewhere is the same runs, shifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
_ZERO = np.zeros(1, np.int64)


class WordSet:
    """Words of a tensor, each once: the same runs from every row on.

    ``runs``   [runs, 2]: where words in a row begin, and how many they are
    ``by``     how much further on all of them lie
    ``rows``   [rows]: and how much further on those of each row
    ``count``  how many words there are
    """

    __slots__ = ("by", "count", "rows", "runs")

    def __init__(
        self, runs: Ints, by: int = 0, rows: Ints = _ZERO, count: int | None = None
    ) -> None:
        self.runs, self.by, self.rows = runs, by, rows
        self.count = len(rows) * int(runs[:, 1].sum()) if count is None else count

    def __len__(self) -> int:
        return self.count

    @property
    def where(self) -> tuple[int, Ints, Ints]:
        """For kernels: ``by``, ``rows`` and ``runs``."""
        return self.by, self.rows, self.runs

    @property
    def flat(self) -> Ints:
        """Addresses, row by row: [words]."""
        begin, n = self.runs.T
        line = np.repeat(begin - np.cumsum(n) + n, n) + np.arange(n.sum())
        words: Ints = (self.by + self.rows[:, None] + line).ravel()
        return words

    def moved(self, by: int) -> WordSet:
        """Words so far further on."""
        return WordSet(self.runs, self.by + by, self.rows, self.count) if by else self


def runs_of(words: Ints) -> WordSet:
    """Words by address, sorted, each named once."""
    begin = np.flatnonzero(np.diff(words, prepend=-2) != 1)
    return WordSet(np.stack([words[begin], np.diff(begin, append=len(words))], axis=1))


NONE = WordSet(np.zeros((0, 2), np.int64))


@kernel
def mark(by: int, runs: Ints, value: int, marks: Flags) -> None:
    """The same mark for every word."""
    for begin, n in runs:
        here = marks[by + begin :]
        for i in range(n):
            here[i] = value


@kernel
def marked_runs(marks: Flags, runs: Ints) -> int:
    """Runs of marks, and how many there are."""
    n, before = 0, 0
    for word in range(len(marks)):
        if marks[word]:
            if not before:
                runs[n, 0], runs[n, 1] = word, 0
                n += 1
            runs[n - 1, 1] += 1
        before = marks[word]
    return n


def less(some: Sequence[WordSet], others: WordSet) -> WordSet:
    """Words of some sets that are not among others."""
    sets = [words for words in (*some, others) if words.count]
    if not any(words.count for words in some):
        return NONE
    first = min(int(words.runs[:, 0].min()) + words.by for words in sets)
    last = max(int(words.runs.sum(axis=1).max()) + words.by for words in sets)
    marks, runs = np.zeros(last - first, np.uint8), np.empty(((last - first) // 2 + 1, 2), np.int64)
    for words in some:
        mark(words.by - first, words.runs, 1, marks)
    mark(others.by - first, others.runs, 0, marks)
    return WordSet(runs[: marked_runs(marks, runs)].copy(), first)


@kernel
def find_runs(
    rows: Ints, columns: Ints, lengths: Ints, row_code: Ints, column_code: Ints, flags: Flags,
    bit: int, runs: Ints,
) -> int:  # fmt: skip
    """Runs among the words that have a flag, and how many there are: of every row and column so
    many from there on, which have one flag.
    """
    n, after = 0, -1
    for i in range(len(rows)):
        for j in range(len(columns)):
            if flags[row_code[i] + column_code[j]] & bit:
                word = rows[i] + columns[j]
                if n and word == after:
                    runs[n - 1, 1] += lengths[j]
                else:
                    runs[n, 0], runs[n, 1] = word, lengths[j]
                    n += 1
                after = word + lengths[j]
    return n


def digits(number: Any, sizes: Sequence[Any]) -> list[Any]:
    """Of mixed-radix numbers each digit, the first the slowest; ``sizes`` may be arrays too."""
    digit = []
    for n in reversed(sizes):
        digit.append(number % n)
        number = number // n
    return digit[::-1]


def outer_sum(lists: Sequence[Ints]) -> Ints:
    """All sums of one number from each list, flat, the last list fastest."""
    total = np.zeros(1, np.int64)
    for x in lists:
        total = (total[:, None] + x[None, :]).ravel()
    return total


class BlockWords:
    """All sums of one offset from each of some ranks.  Offsets of a rank that always go together
    are one *block*, so a code, which is one block of each rank, may stand for a whole tensor.

    ``values``  by rank: its offsets, sorted
    ``first``   by rank: [offsets] which of them begin a block
    ``sizes``   by rank: [blocks] how many offsets each has
    ``codes``   by rank: [offsets] what its block adds to a code; codes have no gaps
    """

    def __init__(self, values: list[Ints], first: list[npt.NDArray[np.bool_]]) -> None:
        self.values, self.first = values, first
        number = [np.cumsum(x) - 1 for x in first]
        self.sizes = [np.bincount(x) for x in number]
        blocks = [len(x) for x in self.sizes]
        self.codes = [x * prod(blocks[k + 1 :]) for k, x in enumerate(number)]

    def listed(self) -> Ints:
        """Every word, the last rank fastest."""
        return outer_sum(self.values)

    def of_words(self, of_codes: Ints) -> Ints:
        """What is said of codes, said of every word."""
        return of_codes[outer_sum(self.codes)]

    def flagged(self, base: int, flags: Flags, bit: int) -> WordSet:
        """Words, ``base`` further on, of the codes that have a flag."""
        rank, columns, lengths, codes = self._line
        rows, row_codes = (outer_sum(x[:rank]) for x in (self.values, self.codes))
        runs = np.empty((len(rows) * len(columns), 2), np.int64)
        n = find_runs(rows + base, columns, lengths, row_codes, codes, flags, bit, runs)
        return WordSet(runs[:n].copy())

    @cached_property
    def _line(self) -> tuple[int, Ints, Ints, Ints]:
        """Words in a row, as far as blocks are: from which rank on, where they begin, how many
        they are, and their code.
        """
        begin, n = 0, 1
        for rank in reversed(range(len(self.values))):
            values, first = self.values[rank], self.first[rank]
            inside = ~first[1:]
            if (np.diff(values)[inside] != n).any():
                return rank, values + begin, np.full(len(values), n), self.codes[rank]
            if rank == 0 or len(self.sizes[rank]) != 1:
                break
            begin, n = begin + int(values[0]), n * len(values)
        return rank, values[first] + begin, self.sizes[rank] * n, self.codes[rank][first]
