"""Where words lie: the outermost level, and buffers of a capacity that hold only what was moved into them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.words import Box, Index, Points, Words

Floats = npt.NDArray[Any]


class Outermost:
    """The outermost level: every word of a tensor has its place.  ``fresh`` words have had no arrival yet."""

    def __init__(self, words: npt.NDArray[Any]) -> None:
        self.data = words
        self.fresh: npt.NDArray[np.bool_] | None = None
        self.n_fresh = words.size

    def get(self, box: Box) -> Floats:
        return np.asarray(self.data[_grid(box)])

    def put(self, box: Box, values: Floats | float) -> None:
        self.data[_grid(box)] = values

    def add(self, box: Box, values: Floats) -> None:
        self.data[_grid(box)] += values

    def arrive(self, words: Words) -> int:
        """Mark words as arrived; how many arrived for the first time in their residency."""
        if not self.n_fresh:
            return 0
        if self.fresh is None:
            self.fresh = np.ones(self.data.shape, bool)
        first = 0
        for box in words.places(self.data.shape):
            at = _grid(box)
            first += int(np.count_nonzero(self.fresh[at]))
            self.fresh[at] = False
        self.n_fresh -= first
        return first


class Buffer:
    """One instance of a level, for one tensor.

    Its array is as long on each axis as the longest tile and addressed round and round, as a line buffer is.
    It holds at most ``capacity`` words; what is not held is poison (NaN).
    """

    def __init__(self, shape: tuple[int, ...], extents: tuple[int, ...], capacity: int, dtype: Any) -> None:
        self.shape, self.extents, self.capacity = shape, extents, capacity
        self.data = np.full(extents, np.nan, dtype)
        self.fresh = np.zeros(extents, bool)
        self.used = self.n_fresh = 0

    def _at(self, box: Box) -> Any:
        round_ = (_round(i, n) for i, n in zip(box, self.extents, strict=True))
        return _grid(Points(round_) if isinstance(box, Points) else tuple(round_))

    def get(self, box: Box) -> Floats:
        return np.asarray(self.data[self._at(box)])

    def add(self, box: Box, values: Floats) -> None:
        self.data[self._at(box)] += values

    def hold(self, words: Words, parent: Outermost | Buffer | None, *, fresh: bool = False) -> None:
        """Take words in: copies of the parent's, or zeros that wait for their first arrival."""
        self.used += words.count
        if self.used > self.capacity:
            raise RuntimeError(f"a buffer of {self.capacity} words was given {self.used}")
        for box in words.places(self.shape):
            at = self._at(box)
            self.data[at] = 0.0 if parent is None else parent.get(box)
            if fresh:
                self.fresh[at] = True
        if fresh:
            self.n_fresh += words.count

    def release(self, words: Words) -> None:
        self.used -= words.count
        for box in words.places(self.shape):
            at = self._at(box)
            self.data[at] = np.nan
            if self.n_fresh:
                self.n_fresh -= int(np.count_nonzero(self.fresh[at]))
                self.fresh[at] = False

    def arrive(self, words: Words) -> int:
        """Mark words as arrived; how many arrived for the first time in their residency."""
        if not self.n_fresh:
            return 0
        first = 0
        for box in words.places(self.shape):
            at = self._at(box)
            first += int(np.count_nonzero(self.fresh[at]))
            self.fresh[at] = False
        self.n_fresh -= first
        return first


def _round(index: Index, n: int) -> Index:
    """An index into an axis that goes round and round."""
    if isinstance(index, slice):
        start, long = index.start % n, index.stop - index.start
        if start + long <= n:
            return slice(start, start + long)
        return np.arange(index.start, index.stop) % n
    return index % n


def _grid(box: Box) -> Any:
    """What numpy takes: slices and lists of points as they are, other indices as the grid they span."""
    if isinstance(box, Points) or all(isinstance(i, slice) for i in box):
        return tuple(box)
    return np.ix_(*(np.arange(i.start, i.stop) if isinstance(i, slice) else i for i in box))
