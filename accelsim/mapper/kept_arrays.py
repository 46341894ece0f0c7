"""Arrays that are asked for again and again, by all that they hang on.

A sweep's machines and layers differ in few numbers at a time, so what hangs on one family's choices
alone is wanted by many.  ``shared`` works it out once; what was not asked for longest is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

import numpy as np

V = TypeVar("V")
MOST_NUMBERS = 1 << 24  # of all that are kept, 128 MB


def numbers_in(value: Any) -> int:
    """How many numbers there are in arrays, or in tuples of them."""
    if isinstance(value, np.ndarray):
        return int(value.size)
    return sum(map(numbers_in, value)) if isinstance(value, tuple) else 1


class KeptArrays:
    """Arrays, or tuples of them, of at most so many numbers together, as ``size`` counts them."""

    def __init__(self, most: int, size: Callable[[Any], int] = numbers_in) -> None:
        self.most, self.size, self.numbers, self._lock = most, size, 0, Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], V]) -> V:
        """What is kept of a key, or made now; nobody writes to it."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                value: V = known[0]
                return value
        value = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = value, self.size(value)
                self.numbers += self._kept[key][1]
            while self.numbers > self.most and len(self._kept) > 1:
                self.numbers -= self._kept.popitem(last=False)[1][1]
        return value


shared = KeptArrays(MOST_NUMBERS)

__all__ = ["KeptArrays", "shared"]
