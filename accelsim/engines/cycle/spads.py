"""What the PEs of a plain array keep: one list of words a PE and tensor, and what changes in it
from step to step.

``planning`` makes the lists (``Tile``) and the way from one to the next (``Change``) out of names;
``Spads`` are the registers, which hold values and complain if a MAC wants what is not there.  A
list is sorted by name and padded with FAR, so that PEs with fewer words fit one array [PEs, words].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.engines.cycle.addresses import Bools, Ints
from accelsim.engines.cycle.levels import HazardError

FAR = np.iinfo(np.int64).max  # pads lists of names; sorts behind every word
NOWHERE: Ints = np.zeros((0, 0), np.int64)


@dataclass(frozen=True, eq=False)
class Tile:
    """Every PE's words of one step.

    ``names``  [PEs, words], sorted
    ``first``  [PEs, words]: the first setting of the inner loops that uses each
    ``slot``   [PEs, lanes, settings]: where each MAC's word stands in its PE's list
    """

    names: Ints
    first: Ints
    slot: Ints


def tile_of(names: Ints, there: Bools) -> Tile:
    """The words of MACs [PEs, lanes, settings] as lists; ``there``: which of them are words."""
    pes, lanes, settings = names.shape
    # By setting, then lane: a stable sort then leaves the first use of each word in front.
    order_of_use = np.where(there, names, FAR).transpose(0, 2, 1).reshape(pes, settings * lanes)
    order = np.argsort(order_of_use, axis=1, kind="stable")
    ranked = np.take_along_axis(order_of_use, order, 1)
    new = ranked != FAR
    new[:, 1:] &= ranked[:, 1:] != ranked[:, :-1]
    place = np.cumsum(new, axis=1) - 1
    width = int(place.max(initial=-1)) + 1
    pe, at = np.nonzero(new)
    lists = np.full((pes, width), FAR)
    first = np.zeros((pes, width), np.int64)
    lists[pe, place[pe, at]] = ranked[pe, at]
    first[pe, place[pe, at]] = order[pe, at] // lanes
    slot = np.empty_like(place)
    np.put_along_axis(slot, order, place, 1)
    return Tile(lists, first, slot.reshape(pes, settings, lanes).transpose(0, 2, 1))


@dataclass(frozen=True, eq=False)
class Change:
    """From one list of words a PE to the next.

    ``names``   [PEs, words] now
    ``origin``  [PEs, words]: where each stood before; -1: nowhere
    ``new``     [PEs, words]: words that come
    ``gone``    [PEs, words before]: words that are let go
    ``moved``   whether anything changes at all
    """

    names: Ints
    origin: Ints
    new: Bools
    gone: Bools
    moved: bool = True


def change(before: Ints, tile: Ints, active: Bools) -> Change:
    """Active PEs take their tile, others keep what they have."""
    pes = len(before)
    if before is tile:
        nothing = np.zeros(before.shape, bool)
        return Change(before, NOWHERE, nothing, nothing, False)
    if active.all():
        origin = find(before, tile)
        return Change(
            tile, origin, (tile != FAR) & (origin < 0), (before != FAR) & (find(tile, before) < 0)
        )
    width = max(tile.shape[1] if active.any() else 0, before.shape[1])
    names = np.full((pes, width), FAR)
    names[active, : tile.shape[1]] = tile[active, :width]
    names[~active, : before.shape[1]] = before[~active, :width]
    origin = find(before, names)
    return Change(
        names, origin, (names != FAR) & (origin < 0), (before != FAR) & (find(names, before) < 0)
    )


def find(lists: Ints, names: Ints) -> Ints:
    """Where each PE's names stand in its list, -1 where they do not: [PEs, names]."""
    where = np.full(names.shape, -1, np.int64)
    have, want = lists != FAR, names != FAR
    if not have.any() or not want.any():
        return where
    low = int(min(lists[have].min(), names[want].min()))
    span = int(max(lists[have].max(), names[want].max())) - low + 1
    row = np.arange(len(lists))[:, None] * span - low
    keys, mine = (row + np.where(have, lists, 0))[have], (row + np.where(want, names, 0))[want]
    at = np.minimum(np.searchsorted(keys, mine), len(keys) - 1)
    places = np.broadcast_to(np.arange(lists.shape[1]), lists.shape)[have]
    where[want] = np.where(keys[at] == mine, places[at], -1)
    return where


class Spads:
    """The registers of all PEs for one tensor.

    ``room``    words a PE has place for
    ``what``    the tensor, for messages
    ``names``   [PEs, words]
    ``values``  [PEs, words]
    ``there``   [PEs, words]: whether the word has come yet
    ``fresh``   [PEs, words] of sums: whether nothing was added yet
    """

    def __init__(self, pes: int, room: int, what: str) -> None:
        self.room, self.what = room, what
        self.names: Ints = np.full((pes, 0), FAR)
        self.values: Ints = np.zeros((pes, 0), np.int64)
        self.there: Bools = np.zeros((pes, 0), bool)
        self.fresh: Bools = np.zeros((pes, 0), bool)

    def move(self, to: Change, *, lossless: bool = False) -> None:
        """Let go what is gone (``lossless``: it must have been taken); new words are not there
        until they are written.
        """
        if lossless and (to.gone & self.there).any():
            raise HazardError(f"a PE drops a sum of {self.what} nobody took")
        if not to.moved:
            return
        if to.names.shape[1] > self.room:
            raise HazardError(
                f"a PE was given {to.names.shape[1]} words of {self.what}, its largest tile has "
                f"{self.room}"
            )
        old = to.origin >= 0
        pe = np.nonzero(old)[0]
        values = np.zeros(to.names.shape, np.int64)
        there, fresh = np.zeros(to.names.shape, bool), np.zeros(to.names.shape, bool)
        values[old] = self.values[pe, to.origin[old]]
        there[old], fresh[old] = self.there[pe, to.origin[old]], self.fresh[pe, to.origin[old]]
        self.names, self.values, self.there, self.fresh = to.names, values, there, fresh

    def hold(self, names: Ints) -> None:
        """Words as earlier steps left them, with values of zero."""
        self.names, self.values = names.copy(), np.zeros(names.shape, np.int64)
        self.there, self.fresh = names != FAR, np.zeros(names.shape, bool)

    def open(self, new: Bools) -> None:
        """Sums begin at zero."""
        self.values[new], self.there[new], self.fresh[new] = 0, True, True

    def read(self, pe: Ints, slot: Ints, names: Ints) -> Ints:
        """Values of words MACs use; raises HazardError if a PE does not hold its word."""
        if (self.names[pe, slot] != names).any() or not self.there[pe, slot].all():
            raise HazardError(f"a MAC wants a word of {self.what} its PE does not hold")
        return self.values[pe, slot]
