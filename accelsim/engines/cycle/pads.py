"""What the PEs of a plain array keep: one sorted list of words a PE and tensor, and what changes in
it from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.base.compiled import kernel
from accelsim.engines.cycle.addresses import NO_WORD, Bools, Ints
from accelsim.engines.cycle.levels import HazardError

FAR = np.iinfo(np.int64).max  # fills up lists of names; sorts behind every word


@dataclass(frozen=True, eq=False)
class Tile:
    """Every PE's words of one step: ``names`` [PEs, words] sorted, ``first`` [PEs, words] the first
    setting of the inner loops that uses each, ``slot`` [settings, MACs] where each MAC's word
    stands in its PE's list.
    """

    names: Ints
    first: Ints
    slot: Ints


def tile_of(wanted: Ints, lanes: int) -> Tile:
    """``wanted`` [settings, MACs]: the word of each MAC, ``NO_WORD`` where there is none."""
    settings, macs = wanted.shape
    pes, most = macs // lanes, settings * lanes
    names, first = np.full((pes, most), FAR), np.zeros((pes, most), np.int64)
    slot = np.zeros(wanted.shape, np.int64)
    width = collect(wanted, lanes, names, first, slot)
    return Tile(names[:, :width].copy(), first[:, :width].copy(), slot)


@kernel
def place(names: Ints, name: int, size: int) -> int:
    """Where a word stands in a sorted list of so many, or would."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if names[middle] < name:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def collect(wanted: Ints, lanes: int, names: Ints, first: Ints, slot: Ints) -> int:
    """Sort every PE's words into its list, setting by setting; the length of the longest."""
    width = 0
    for pe in range(len(names)):
        size = 0
        for setting in range(len(wanted)):
            for mac in range(pe * lanes, pe * lanes + lanes):
                name = wanted[setting, mac]
                at = place(names[pe], name, size)
                if name == NO_WORD or (at < size and names[pe, at] == name):
                    continue
                for k in range(size, at, -1):
                    names[pe, k], first[pe, k] = names[pe, k - 1], first[pe, k - 1]
                names[pe, at], first[pe, at] = name, setting
                size += 1
        for setting in range(len(wanted)):
            for mac in range(pe * lanes, pe * lanes + lanes):
                slot[setting, mac] = place(names[pe], wanted[setting, mac], size)
        width = max(width, size)
    return width


@dataclass(frozen=True, eq=False)
class Change:
    """From one list of words a PE to the next: ``names`` [PEs, words] now, and where each stood
    before (``origin``; -1: nowhere); ``gone`` [PEs, words before] marks what is let go.
    """

    names: Ints
    origin: Ints
    gone: Bools

    @property
    def new(self) -> Bools:
        """Words that come."""
        return np.asarray((self.names != FAR) & (self.origin < 0))


def change(before: Ints, tile: Ints, active: Bools) -> Change:
    """Active PEs take their tile, others keep what they have."""
    width = max(tile.shape[1] if active.any() else 0, before.shape[1] if not active.all() else 0)
    names, origin = np.full((len(before), width), FAR), np.full((len(before), width), -1)
    gone = np.zeros(before.shape, np.bool_)
    compare(before, tile, active, names, origin, gone)
    return Change(names, origin, gone)


@kernel
def compare(
    before: Ints, tile: Ints, active: Bools, names: Ints, origin: Ints, gone: Bools
) -> None:
    """Walk both lists of every PE side by side."""
    for pe in range(len(before)):
        now = tile if active[pe] else before
        old = 0
        for k in range(min(now.shape[1], names.shape[1])):
            name = now[pe, k]
            if name == FAR:
                break
            names[pe, k] = name
            while old < before.shape[1] and before[pe, old] < name:
                gone[pe, old] = True
                old += 1
            if old < before.shape[1] and before[pe, old] == name:
                origin[pe, k] = old
                old += 1
        while old < before.shape[1] and before[pe, old] != FAR:
            gone[pe, old] = True
            old += 1


class Pads:
    """The registers of all PEs for one tensor, each [PEs, words]: names, values, whether a word has
    come yet, and for sums whether none has arrived yet.
    """

    def __init__(self, pes: int, room: int, what: str) -> None:
        self.room, self.what = room, what
        self.hold(np.full((pes, 0), FAR))

    def hold(self, names: Ints) -> None:
        """Words as earlier steps left them, with values of zero."""
        self.names, self.values = names.copy(), np.zeros(names.shape, np.int64)
        self.there, self.fresh = names != FAR, np.zeros(names.shape, bool)

    def move(self, to: Change) -> None:
        """Let go what is gone; new words are not there until they are written."""
        if to.names.shape[1] > self.room:
            raise HazardError(
                f"a PE was given {to.names.shape[1]} words of {self.what}, "
                f"its largest tile has {self.room}"
            )
        old, pe = to.origin >= 0, np.nonzero(to.origin >= 0)[0]
        before = self.values, self.there, self.fresh
        self.names = to.names
        self.values, self.there, self.fresh = (np.zeros(to.names.shape, x.dtype) for x in before)
        for now, was in zip((self.values, self.there, self.fresh), before, strict=True):
            now[old] = was[pe, to.origin[old]]

    def open(self, to: Change) -> None:
        """Sums that go must have been taken; new ones begin at zero."""
        if (to.gone & self.there).any():
            raise HazardError(f"a PE drops a sum of {self.what} nobody took")
        self.move(to)
        self.there[to.new] = self.fresh[to.new] = True
