"""What plain arrays do at an edge, and which place each word of a PE gets.

A word stays in its place in a PE for as long as it is kept.  What is new gets a place that is free,
so nothing moves inside a PE; it is decided before a step is clocked.  At an edge words that a PE
needs for the first time come over the bus and are latched by all takers, every MAC takes its
operands, from its PE or from the bus, and products are added, in the PE or in the network.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.cycle.addresses import NO_WORD, Bools

Ints = npt.NDArray[Any]
NEVER = -1  # instead of a setting of the loops inside the PEs
WHEN, PE, SLOT, NAME, VALUE, GROUP, READ = range(7)  # the numbers of a load; of a leave three
TAKEN, FROM_OUTSIDE, TAKEN_INSIDE, FROM_INSIDE, HAZARD = range(5)
DRAINED, ARRIVED, OPENED, SENT = range(4)


class MacWords(NamedTuple):
    """Every MAC's word of one tensor, [settings, MACs].

    ``names`` are those at the MAC, ``kept`` those in the PE (under a loop fused inside it they
    differ), ``slot`` its place there.  Of an operand no PE keeps, ``values`` are what the bus
    brings, ``read`` which words the level outside reads for it.
    """

    names: Ints
    kept: Ints
    slot: Ints
    values: Ints
    read: Bools


class Pads(NamedTuple):
    """The registers of all PEs for one tensor, [PEs, places] each."""

    names: Ints  # NO_WORD: empty
    values: Ints
    fresh: Ints  # of sums: nothing has arrived yet


class Change(NamedTuple):
    """What a step changes in the PEs' words of a tensor."""

    slot: Ints  # [settings, MACs] where each MAC's word is
    first: Ints  # [PEs, places] the first setting that uses each word
    come: Ints  # [PEs, places] names of words that come, NO_WORD elsewhere
    gone: Ints  # [PEs, places] names of those that are let go


class Pairs(NamedTuple):
    """Pairs of numbers that have come up on this occasion, by a hash, and a number for each; room
    for twice as many and more.
    """

    one: Ints
    two: Ints
    number: Ints
    stamp: Ints  # the occasion an entry is of, so that nothing has to be cleared
    occasion: Ints  # [1]


def pairs_for(many: int) -> Pairs:
    """Room for so many."""
    return Pairs._make((*np.zeros((4, 4 << many.bit_length()), np.int64), np.zeros(1, np.int64)))


@kernel
def find(pairs: Pairs, one: int, two: int) -> int:
    """The entry of a pair, or the one that it would get."""
    at = (one * 0xC2B2AE3D + two * 0x9E3779B1 + (two >> 15)) & (len(pairs.stamp) - 1)
    while pairs.stamp[at] == pairs.occasion[0] and (pairs.one[at] != one or pairs.two[at] != two):
        at = (at + 1) & (len(pairs.stamp) - 1)
    return at


@kernel
def number(pairs: Pairs, one: int, two: int, new: int) -> int:
    """The number of a pair; of one that has not come up yet it is ``new``."""
    at: int = find(pairs, one, two)
    if pairs.stamp[at] != pairs.occasion[0]:
        pairs.one[at], pairs.two[at], pairs.number[at] = one, two, new
        pairs.stamp[at] = pairs.occasion[0]
    return int(pairs.number[at])


@kernel
def count_once(pairs: Pairs, group: int, name: int, counts: Ints, what: int) -> None:
    """Count a word, if those who share it had none of it on this occasion."""
    counts[what] += number(pairs, group, name, counts[what]) == counts[what]


@kernel
def settle(
    names: Ints, wanted: Ints, lanes: int, active: Bools, pairs: Pairs, change: Change
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
        mine, first = names[pe], change.first[pe]
        pairs.occasion[0] += 1
        for k in range(len(mine)):
            if mine[k] != NO_WORD:
                number(pairs, pe, mine[k], k)
        for setting in range(len(wanted)):
            for mac in range(pe * lanes, pe * lanes + lanes):
                at = find(pairs, pe, wanted[setting, mac])
                if pairs.stamp[at] == pairs.occasion[0]:
                    slot = change.slot[setting, mac] = pairs.number[at]
                    first[slot] = setting if first[slot] == NEVER else first[slot]
        for k in range(len(mine)):
            if first[k] == NEVER:
                change.gone[pe, k], mine[k] = mine[k], NO_WORD
        lost += find_room(pe, mine, wanted, lanes, pairs, change)
    return lost


@kernel
def find_room(pe: int, mine: Ints, wanted: Ints, lanes: int, pairs: Pairs, change: Change) -> int:
    """Words that a PE has not get places that are free."""
    lost = free = 0
    for setting in range(len(wanted)):
        for mac in range(pe * lanes, pe * lanes + lanes):
            name = wanted[setting, mac]
            if name == NO_WORD or change.slot[setting, mac] >= 0:
                continue
            while free < len(mine) and mine[free] != NO_WORD:
                free += 1
            slot = number(pairs, pe, name, free)
            if slot == len(mine):
                lost += 1
            elif slot == free:
                mine[slot] = change.come[pe, slot] = name
                change.first[pe, slot] = setting
            change.slot[setting, mac] = slot
    return lost


@kernel
def take(
    settings: Ints, exists: Bools, words: MacWords, kept: bool, lanes: int, group: Ints, pads: Pads,
    loads: Ints, pairs: Pairs, operands: Ints, counts: Ints,
) -> None:  # fmt: skip
    """What MACs take, edge by edge: from their own PE, where ``kept``, what that has not yet coming
    over the bus, read once for all who share it and latched by every PE that takes it; else from
    the bus, one word for all who share it.

    group     [MACs]  who shares a read
    loads     [words, numbers of a load]  from now on, in the order they come
    operands  [edges, MACs]  filled in
    """
    k = 0
    for edge in range(len(settings)):
        setting = settings[edge]
        pairs.occasion[0] += 1
        while k < len(loads) and loads[k, WHEN] <= setting:
            pe, slot, name = loads[k, PE], loads[k, SLOT], loads[k, NAME]
            pads.names[pe, slot], pads.values[pe, slot] = name, loads[k, VALUE]
            counts[TAKEN] += 1
            if loads[k, READ]:
                count_once(pairs, loads[k, GROUP], name, counts, FROM_OUTSIDE)
            k += 1
        pairs.occasion[0] += 1
        for mac in range(exists.shape[1]):
            name = words.names[setting, mac]
            if not exists[setting, mac] or name == NO_WORD:
                continue
            if not kept:
                operands[edge, mac] = words.values[setting, mac]
                counts[TAKEN] += 1
                if words.read[setting, mac]:
                    count_once(pairs, group[mac], name, counts, FROM_OUTSIDE)
                continue
            pe, slot = mac // lanes, words.slot[setting, mac]
            counts[HAZARD] += pads.names[pe, slot] != words.kept[setting, mac]
            operands[edge, mac] = pads.values[pe, slot]
            counts[TAKEN_INSIDE] += 1
            if lanes == 1:
                counts[FROM_INSIDE] += 1
            else:
                count_once(pairs, group[mac], name, counts, FROM_INSIDE)


@kernel
def add_in_pes(
    settings: Ints, exists: Bools, words: MacWords, lanes: int, group: Ints, products: Ints,
    pads: Pads, leaving: Ints, pairs: Pairs, out: Ints, counts: Ints,
) -> None:  # fmt: skip
    """Products are added to the sums PEs keep, edge by edge; what is complete leaves.

    leaving  [sums, (setting, PE, place)]  from now on, in the order they leave
    out      [sums, (PE, word, value, edge)]  what left
    """
    k = 0
    for edge in range(len(settings)):
        setting = settings[edge]
        pairs.occasion[0] += 1
        for mac in range(exists.shape[1]):
            name = words.names[setting, mac]
            if not exists[setting, mac] or name == NO_WORD:
                continue
            pe, slot = mac // lanes, words.slot[setting, mac]
            counts[HAZARD] += pads.names[pe, slot] != words.kept[setting, mac]
            pads.values[pe, slot] += products[edge, mac]
            counts[DRAINED] += 1
            if lanes == 1:
                counts[ARRIVED] += 1
            else:
                count_once(pairs, group[mac], name, counts, ARRIVED)
            counts[OPENED] += pads.fresh[pe, slot]
            pads.fresh[pe, slot] = 0
        while k < len(leaving) and leaving[k, WHEN] == setting:
            pe, slot, sent = leaving[k, PE], leaving[k, SLOT], out[counts[SENT]]
            sent[0], sent[1], sent[2] = pe, pads.names[pe, slot], pads.values[pe, slot]
            sent[3] = edge
            pads.names[pe, slot] = NO_WORD
            counts[SENT] += 1
            k += 1


@kernel
def merge(
    occasion: Ints, group: Ints, names: Ints, values: Ints, groups: int, pairs: Pairs, first: Ints,
    total: Ints,
) -> int:  # fmt: skip
    """Add up the sums of a word that those who share send on one occasion; returns how many are
    left, each with the first of its parts and its value.
    """
    n = 0
    pairs.occasion[0] += 1
    for k in range(len(names)):
        which = number(pairs, occasion[k] * groups + group[k], names[k], n)
        if which == n:
            first[n], total[n] = k, 0
            n += 1
        total[which] += values[k]
    return n
