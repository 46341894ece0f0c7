"""Where words lie: the outermost level, and buffers of a capacity that hold only what was moved
into them.

Both have the same verbs: ``get``, ``put`` and ``add`` a box, ``each`` box of some words and
``put_all`` of them, ``arrive`` (which sums come for the first time of their residency, and so are
not read); and a buffer also ``hold`` and ``release``.
What is not held is NaN, and so is everything computed from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.word_sets import Box, Ints, WordSet

Floats = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


class Outermost:
    """The outermost level: every word of a tensor has its place.

    ``data``     the words, in the tensor's ``shape``
    ``fresh``    the same shape: which have had no arrival yet; None: all
    ``n_fresh``  how many those are
    """

    def __init__(self, words: npt.NDArray[Any]) -> None:
        self.data, self.shape = words, words.shape
        self.fresh: npt.NDArray[np.bool_] | None = None
        self.n_fresh = words.size

    def _at(self, box: Box) -> Box:
        """Where in the array."""
        return box

    def get(self, box: Box) -> Floats:
        return np.asarray(self.data[self._at(box)])

    def put(self, box: Box, values: Floats | float) -> None:
        self.data[self._at(box)] = values

    def add(self, box: Box, values: Floats) -> None:
        self.data[self._at(box)] += values

    def each(self, words: WordSet) -> Iterator[tuple[Box, Floats]]:
        """Where words are, box by box, and what they are."""
        return ((box, self.get(box)) for box in words.places(self.shape))

    def put_all(self, words: WordSet, value: float) -> None:
        for box in words.places(self.shape):
            self.put(box, value)

    def waiting(self, words: Ints) -> Bools:
        """Which words ``[words]``, by flat address, have had no arrival yet."""
        if self.fresh is None:
            return np.ones(len(words), bool)
        return np.asarray(self.fresh[self._at(np.unravel_index(words, self.shape))])

    def arrive(self, words: WordSet) -> int:
        """Mark words as arrived; how many arrived for the first time in their residency."""
        if not self.n_fresh:
            return 0
        if self.fresh is None:
            self.fresh = np.ones(self.shape, bool)
        first = 0
        for box in words.places(self.shape):
            at = self._at(box)
            first += int(np.count_nonzero(self.fresh[at]))
            self.fresh[at] = False
        self.n_fresh -= first
        return first


class Buffer(Outermost):
    """One instance of a level, for one tensor.

    Its array is as long on each axis as the longest tile and addressed round and round, as a line
    buffer is. It holds at most ``capacity`` words; what is not held is poison (NaN).  Words given
    beyond the capacity take others' places, and ``overflow`` tells.

    ``extents``   the array's, in which ``data`` and ``fresh`` are
    ``origin``    coordinates of the word at the array's first place
    ``used``      words held; ``n_fresh`` of them are fresh
    ``overflow``  the most words it ever held, if that was beyond its capacity; 0 if what moves is
                  right
    """

    fresh: npt.NDArray[np.bool_]

    def __init__(
        self, shape: tuple[int, ...], extents: tuple[int, ...], capacity: int, dtype: Any
    ) -> None:
        super().__init__(np.full(extents, np.nan, dtype))
        self.shape, self.extents, self.capacity = shape, extents, capacity
        self.fresh = np.zeros(extents if dtype == np.float64 else (0,), bool)
        self.origin = (0,) * len(shape)
        self.used = self.n_fresh = self.overflow = 0

    def _at(self, box: Box) -> Box:
        """Where in the array: coordinates from the origin, round and round."""
        if not isinstance(box[0], slice):
            return tuple(
                [(i - o) % n for i, o, n in zip(box, self.origin, self.extents, strict=True)]
            )
        slices = []
        for i, o, n in zip(box, self.origin, self.extents, strict=True):
            start = (i.start - o) % n
            stop = start + i.stop - i.start
            if stop > n:
                return np.ix_(
                    *(
                        np.arange(i.start - o, i.stop - o) % n
                        for i, o, n in zip(box, self.origin, self.extents, strict=True)
                    )
                )
            slices.append(slice(start, stop))
        return tuple(slices)

    def hold(self, words: WordSet, parent: Outermost | None, *, fresh: bool = False) -> None:
        """Take words in: copies of the parent's, or zeros that wait for their first arrival."""
        if not self.used and words.count:  # an empty buffer starts afresh at its first word
            box = words.places(self.shape)[0]
            self.origin = tuple([i.start if isinstance(i, slice) else int(i.min()) for i in box])
        self.used += words.count
        if self.used > self.capacity:
            self.overflow = max(self.overflow, self.used)
        for box in words.places(self.shape):
            at = self._at(box)
            self.data[at] = 0.0 if parent is None else parent.get(box)
            if fresh:
                self.fresh[at] = True
        if fresh:
            self.n_fresh += words.count

    def release(self, words: WordSet) -> None:
        """Let words go: their places are poison from now on."""
        self.used -= words.count
        for box in words.places(self.shape):
            at = self._at(box)
            self.data[at] = np.nan
            if self.n_fresh:
                self.n_fresh -= int(np.count_nonzero(self.fresh[at]))
                self.fresh[at] = False
