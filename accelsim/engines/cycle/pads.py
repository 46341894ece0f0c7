"""The registers in the PEs of a plain array: which place each word of a PE gets, from step to step.

A word stays in its place for as long as it is kept.  What is new gets a place that is free, so
nothing moves inside a PE; ``Planner`` decides it before a step is clocked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.cycle.addresses import NO_WORD

Ints = npt.NDArray[Any]
# instead of a setting of the loops inside the PEs: none; and of sums that PEs which stood idle let
# go, when no working PE does, the end of the step
NEVER, LATE = -1, -2


class Pads(NamedTuple):
    """The registers of all PEs for one tensor, [PEs, places] each."""

    names: Ints  # NO_WORD: empty
    values: Ints
    fresh: Ints  # of sums: nothing has arrived yet

    def put(self, where: Ints, names: Ints) -> None:
        """Sums begin at zero, where there is one to begin."""
        self.names[where], self.values[where], self.fresh[where] = names[where], 0, 1


class Change(NamedTuple):
    """What a step changes in the PEs' words of a tensor."""

    slot: Ints  # [settings, MACs] where each MAC's word is
    first: Ints  # [PEs, places] the first setting that uses each word
    come: Ints  # [PEs, places] names of words that come, NO_WORD elsewhere
    gone: Ints  # [PEs, places] names of those that are let go


class NameTable(NamedTuple):
    """Where the names of one PE stand, by a hash of the name; room for twice as many and more."""

    name: Ints
    slot: Ints
    stamp: Ints  # whose entry it is, so that nothing has to be cleared


@kernel
def find(table: NameTable, name: int, stamp: int) -> int:
    """The entry of a name, or the one that it would get."""
    at = (name * 0x9E3779B1 + (name >> 15)) & (len(table.stamp) - 1)
    while table.stamp[at] == stamp and table.name[at] != name:
        at = (at + 1) & (len(table.stamp) - 1)
    return at


@kernel
def settle(
    names: Ints, wanted: Ints, lanes: int, active: Ints, table: NameTable, change: Change
) -> int:
    """Active PEs let go what they have no use for and find room for what they want; the others keep
    what they have.  Returns how many words found no room.

    names    [PEs, places]  before, and then after
    wanted   [settings, MACs]  the word of each MAC, ``NO_WORD`` where there is none
    """
    lost = 0
    for pe in range(len(names)):
        if not active[pe]:
            continue
        mine, first, stamp = names[pe], change.first[pe], pe + 1
        for k in range(len(mine)):
            if mine[k] != NO_WORD:
                at = find(table, mine[k], stamp)
                table.name[at], table.slot[at], table.stamp[at] = mine[k], k, stamp
        for setting in range(len(wanted)):
            for mac in range(pe * lanes, pe * lanes + lanes):
                at = find(table, wanted[setting, mac], stamp)
                if table.stamp[at] == stamp:
                    slot = change.slot[setting, mac] = table.slot[at]
                    first[slot] = setting if first[slot] == NEVER else first[slot]
        for k in range(len(mine)):
            if first[k] == NEVER:
                change.gone[pe, k], mine[k] = mine[k], NO_WORD
        lost += find_room(pe, mine, wanted, lanes, table, change)
    return lost


@kernel
def find_room(
    pe: int, mine: Ints, wanted: Ints, lanes: int, table: NameTable, change: Change
) -> int:
    """Words that a PE has not get places that are free."""
    lost = free = 0
    for setting in range(len(wanted)):
        for mac in range(pe * lanes, pe * lanes + lanes):
            name = wanted[setting, mac]
            if name == NO_WORD or change.slot[setting, mac] >= 0:
                continue
            at = find(table, name, pe + 1)
            if table.stamp[at] != pe + 1:
                while free < len(mine) and mine[free] != NO_WORD:
                    free += 1
                if free == len(mine):
                    lost += 1
                    continue
                mine[free] = change.come[pe, free] = name
                change.first[pe, free] = setting
                table.name[at], table.slot[at], table.stamp[at] = name, free, pe + 1
            change.slot[setting, mac] = table.slot[at]
    return lost
