"""Sums that hop from PE to PE, one link an edge: down the rows of a column, then along the columns
in its last row.

Every PE has a register of the vertical and one of the horizontal link.  A PE's own part waits in
the PE until the sum from the PE before arrives.  A chain is as long as the mapping makes it; a PE
that has nothing to add passes the sum on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.engines.cycle.addresses import Bools, Ints
from accelsim.engines.cycle.levels import HazardError


@dataclass(frozen=True, eq=False)
class _Launch:
    """Parts of sums that set out at one edge, by chain, row and column; or column sums, by chain
    and column.
    """

    words: Ints  # value and name of each
    there: Bools
    label: Any


@dataclass(frozen=True, eq=False)
class Out:
    """Sums that came out at an edge: the chain each is of, its word, its value, and the label it
    set out with.
    """

    chains: Ints
    names: Ints
    values: Ints
    label: Any


class Chains:
    """All chains of an array.  ``place`` (chain, row, column) of every PE; ``clock`` is called once
    an edge.
    """

    def __init__(self, chain: Ints, row: Ints, col: Ints) -> None:
        self.place = (chain, row, col)
        self.shape = tuple(int(x.max()) + 1 for x in self.place)
        self.depth = self.shape[1] + self.shape[2]
        self.first = np.unique(chain, return_index=True)[1]  # a PE of each
        self.launched: dict[int, _Launch] = {}
        self.down = np.zeros((2, *self.shape), np.int64)  # value, name of the vertical links
        self.down_full = np.zeros(self.shape, bool)
        self.across = np.zeros(
            (2, self.shape[0], self.shape[2]), np.int64
        )  # of the horizontal links, in the last row
        self.across_full = np.zeros((self.shape[0], self.shape[2]), bool)
        self.columns: dict[
            int, _Launch
        ] = {}  # column sums by the edge they were whole at, waiting for the row's

    @property
    def busy(self) -> bool:
        return bool(self.launched)

    def links(self) -> dict[str, tuple[Ints, Ints, Bools]]:
        """Values, names and fullness of every PE's registers: ``down`` and, in the last row,
        ``across``.
        """
        chain, row, col = self.place
        last = row == self.shape[1] - 1
        registers = {
            "down": (self.down[0][self.place], self.down[1][self.place], self.down_full[self.place])
        }
        registers["across"] = (
            self.across[0, chain, col],
            self.across[1, chain, col],
            self.across_full[chain, col] & last,
        )
        return registers

    def launch(self, edge: int, values: Ints, names: Ints, there: Bools, label: Any) -> None:
        """Parts, one a PE, that are complete at this edge."""
        if edge in self.launched:
            raise HazardError(f"edge {edge}: two sums set out on one link")
        words, full = np.zeros((2, *self.shape), np.int64), np.zeros(self.shape, bool)
        words[0][self.place], words[1][self.place], full[self.place] = values, names, there
        self.launched[edge] = _Launch(words, full, label)

    def clock(self, edge: int) -> Out | None:
        """One edge: every sum moves on by one link; returns those that are whole."""
        for old in [e for e in self.launched if e + self.depth <= edge]:
            del self.launched[old]
        self.columns = {e: x for e, x in self.columns.items() if e + self.depth > edge}
        _, rows, cols = self.shape
        down, down_full = np.zeros_like(self.down), np.zeros_like(self.down_full)
        for i in range(rows):
            launch = self.launched.get(edge - i)
            if launch is not None:
                part, there = launch.words[:, :, i], launch.there[:, i]
                if i:
                    part, there = _join(
                        part, there, self.down[:, :, i - 1], self.down_full[:, i - 1], edge
                    )
                down[:, :, i], down_full[:, i] = part, there
        whole = self.launched.get(edge - (rows - 1))
        if whole is not None:
            self.columns[edge] = _Launch(down[:, :, -1], down_full[:, -1], whole.label)
        across, across_full = np.zeros_like(self.across), np.zeros_like(self.across_full)
        for k in range(cols):
            column = self.columns.get(edge - k)
            if column is not None:
                part, there = column.words[:, :, k], column.there[:, k]
                if k:
                    part, there = _join(
                        part, there, self.across[:, :, k - 1], self.across_full[:, k - 1], edge
                    )
                across[:, :, k], across_full[:, k] = part, there
        self.down, self.down_full, self.across, self.across_full = (
            down,
            down_full,
            across,
            across_full,
        )
        (done,) = np.nonzero(across_full[:, -1])
        if not len(done):
            return None
        return Out(
            done, across[1, done, -1], across[0, done, -1], self.columns[edge - (cols - 1)].label
        )


def _join(part: Ints, there: Bools, other: Ints, comes: Bools, edge: int) -> tuple[Ints, Bools]:
    """Add what comes over a link to a PE's own part."""
    if (there & comes & (part[1] != other[1])).any():
        raise HazardError(f"edge {edge}: sums of different words meet on a chain")
    value = np.where(there, part[0], 0) + np.where(comes, other[0], 0)
    return np.stack([value, np.where(there, part[1], other[1])]), there | comes
