"""Tables whose equal columns are stored once.

A group's factors are the same for many terms (all whose tensor does not depend on its dimensions),
so most columns of a table of terms are copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Packed:
    """A matrix [rows, columns]; ``packed[rows]`` gives rows in full.  ``data`` has each different
    column once, ``index`` which.
    """

    def __init__(self, data: Floats, index: Ints) -> None:
        self.data, self.index = data, index

    @classmethod
    def of(cls, table: Floats) -> Packed:
        """Columns are told apart by value."""
        if not table.shape[1]:
            return cls(table, np.zeros(0, np.int64))
        hashes: dict[bytes, int] = {}
        index = np.array(
            [hashes.setdefault(np.ascontiguousarray(c).tobytes(), i) for i, c in enumerate(table.T)]
        )
        first, back = np.unique(index, return_inverse=True)
        return cls(np.ascontiguousarray(table[:, first]), back.reshape(-1))

    def __getitem__(self, rows: Any) -> Floats:
        return self.data[rows][..., self.index]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.data), len(self.index)

    def folded(self, weights: Floats) -> Floats:
        """Weights of the columns, summed over equal ones."""
        return np.asarray(
            np.bincount(self.index, weights, minlength=self.data.shape[1])[: self.data.shape[1]],
            np.float64,
        )
