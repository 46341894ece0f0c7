"""Sets of words of one tensor, as runs of flat addresses: what events carry.

A word has one address everywhere, in its tensor; levels differ only in which words they hold
(``storage``).  So a tile that lies elsewhere is the same runs, shifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
_ZERO = np.zeros(1, np.int64)


@dataclass(frozen=True, eq=False)
class WordSet:
    """Words of a tensor, each once.

    ``runs``  [runs, 2]: where words in a row begin, and how many they are
    """

    runs: Ints

    @cached_property
    def count(self) -> int:
        return int(self.runs[:, 1].sum())

    def __len__(self) -> int:
        return self.count

    @cached_property
    def flat(self) -> Ints:
        """Addresses, [words]."""
        begin, n = self.runs.T
        return np.repeat(begin - np.cumsum(n) + n, n) + np.arange(self.count)

    @property
    def place(self) -> Place:
        """Where they lie, in one row."""
        return Place(_ZERO, self.flat)

    def moved(self, by: int) -> WordSet:
        """Words so far further on."""
        return WordSet(self.runs + np.array([by, 0])) if by and len(self.runs) else self


@kernel
def find_runs(words: Ints, flags: Flags, bit: int, runs: Ints) -> int:
    """Runs among the words that have a flag, and how many there are."""
    n, after = 0, -1
    for k in range(len(words)):
        if flags[k] & bit:
            if n and words[k] == after:
                runs[n - 1, 1] += 1
            else:
                runs[n, 0], runs[n, 1] = words[k], 1
                n += 1
            after = words[k] + 1
    return n


def flagged(words: Ints, flags: Flags, bit: int) -> WordSet:
    """Those of some words, each named once, that have a flag."""
    runs = np.empty((len(words), 2), np.int64)
    return WordSet(runs[: find_runs(words, flags, bit, runs)].copy())


NONE = WordSet(np.zeros((0, 2), np.int64))


class Place(NamedTuple):
    """Where words lie: the address of each, [rows, columns], is one of ``rows`` and one of
    ``columns`` added up.
    """

    rows: Ints
    columns: Ints

    @property
    def flat(self) -> Ints:
        """Addresses, row by row."""
        return (self.rows[:, None] + self.columns).ravel()


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
