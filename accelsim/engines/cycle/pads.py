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
NEVER = -1  # no setting of the loops inside the PEs


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


@kernel
def place(names: Ints, name: int, start: int) -> int:
    """Where a name stands, looked for from a place on and around; -1 where it does not."""
    for k in range(len(names)):
        at = start + k if start + k < len(names) else start + k - len(names)
        if names[at] == name:
            return at
    return -1


@kernel
def settle(names: Ints, wanted: Ints, lanes: int, active: Ints, change: Change) -> int:
    """Active PEs let go what they have no use for and find room for what they want; the others keep
    what they have.  Returns how many words found no room.

    names    [PEs, places]  before, and then after
    wanted   [settings, MACs]  the word of each MAC, ``NO_WORD`` where there is none
    """
    lost = 0
    for pe in range(len(names)):
        if not active[pe]:
            continue
        mine, first, at = names[pe], change.first[pe], 0
        for setting in range(len(wanted)):
            for mac in range(pe * lanes, pe * lanes + lanes):
                if wanted[setting, mac] == NO_WORD:
                    continue
                slot = place(mine, wanted[setting, mac], at)
                change.slot[setting, mac] = slot
                if slot >= 0:
                    at = slot + 1 if slot + 1 < len(mine) else 0
                    first[slot] = setting if first[slot] == NEVER else first[slot]
        for k in range(len(mine)):
            if first[k] == NEVER:
                change.gone[pe, k], mine[k] = mine[k], NO_WORD
        lost += find_room(pe, mine, wanted, lanes, change)
    return lost


@kernel
def find_room(pe: int, mine: Ints, wanted: Ints, lanes: int, change: Change) -> int:
    """Words that a PE has not get places that are free."""
    lost = at = 0
    for setting in range(len(wanted)):
        for mac in range(pe * lanes, pe * lanes + lanes):
            name = wanted[setting, mac]
            if name == NO_WORD or change.slot[setting, mac] >= 0:
                continue
            slot = place(mine, name, at)
            if slot < 0:
                slot = place(mine, NO_WORD, at)
                if slot < 0:
                    lost += 1
                    continue
                mine[slot] = change.come[pe, slot] = name
                change.first[pe, slot] = setting
            change.slot[setting, mac] = slot
            at = slot + 1 if slot + 1 < len(mine) else 0
    return lost
