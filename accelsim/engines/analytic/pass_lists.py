"""Lists of passes on the way to a plan, gone through one by one; compiled loops.

``pipeline`` plans the passes of a nest and ``array_time`` says how long the array takes for each;
both ask here for what is told of a list in order.  A search plans thousands of nests, of some
hundred passes each: a loop tells in microseconds what takes dozens of array operations.

    tell_rows                   which rows of a table are alike
    join_folds, time_settings   folds of settings, and the passes they go over (``array_time``)
    first_and_last              the passes of each step of a level
    lay_fills, send_fills       which pass's end sets each fill of an operand going
    send_drains                 the drain after each pass, and which makes room for it

Arrays are int64 and contiguous; where fewer places are used than there are, a kernel returns how
many.  NONE is no pass.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[np.int64]
NONE = -1
MIX = -7046029254386353131  # odd, its bits well mixed: 2^64 over the golden ratio


@kernel
def tell_rows(table: Ints, slots: Ints, first: Ints, ids: Ints) -> int:
    """Where each different row of a table first occurs, and which of these each row is; how many
    there are, or NONE if that is more than half of the ``slots``.

    slots  a power of two of them, all NONE: where a row's number is looked for
    """
    mask, known = len(slots) - 1, 0
    for i in range(len(table)):
        code = table[i, 0]
        for column in range(1, table.shape[1]):
            code = (code ^ (code >> 29)) * MIX + table[i, column]
        code = (code ^ (code >> 29)) * MIX
        place = (code >> 20) & mask
        while slots[place] >= 0:
            one, column = first[slots[place]], 0
            while column < table.shape[1] and table[one, column] == table[i, column]:
                column += 1
            if column == table.shape[1]:
                break
            place = (place + 1) & mask
        if slots[place] < 0:
            if known > mask // 2:
                return NONE
            slots[place] = known
            first[known] = i
            known += 1
        ids[i] = slots[place]
    return known


@kernel
def join_folds(t: Ints, r: Ints, c: Ints, words: Ints, starts: Ints, whole: Ints) -> int:
    """Folds of settings that stream T words through r rows and c columns past held words: those in
    a row of one size that hold the same are one.

    starts, whole  [settings]  the first setting of each fold, and its T; written here
    """
    many, last = 0, NONE
    for i in range(len(t)):
        if t[i] == 0:
            continue
        if last < 0 or words[i] != words[last] or r[i] != r[last] or c[i] != c[last]:
            starts[many], whole[many] = i, 0
            many += 1
        whole[many - 1] += t[i]
        last = i
    return many


@kernel
def time_settings(
    t: Ints, each: int, starts: Ints, whole: Ints, folds: Ints, free: int, gap: Ints, end: Ints
) -> None:
    """The passes that folds go over, ``each`` settings of them one pass: edges from the start of
    each to the next one's, ``gap``, and to its last result, ``end``; both [passes].

    folds  [folds, 4]  when each may begin; when its first word streams; how long after a word's
                       stream its result is there; when the fold's last result is
    free   when the array is free after the last
    """
    fold, before, now, pass_now = -1, 0, 0, NONE
    for i in range(len(t)):
        if t[i] == 0:
            continue
        if fold + 1 < len(starts) and starts[fold + 1] == i:
            fold, before = fold + 1, 0
        at = folds[fold, 1] + before
        done = at + t[i] + folds[fold, 2]
        if before + t[i] == whole[fold]:
            done = folds[fold, 3]
        if i // each != pass_now:
            begin = folds[fold, 0] if before == 0 else at
            if pass_now >= 0:
                gap[pass_now] = begin - now
            now, pass_now = begin, i // each
            end[pass_now] = done - now
        end[pass_now] = max(end[pass_now], done - now)
        before += t[i]
    if pass_now >= 0:
        gap[pass_now] = free - now


@kernel
def first_and_last(number: Ints, first: Ints, last: Ints) -> int:
    """The first and the last pass of each step that has one.

    number  [steps, settings]  the number of each pass, rising, NONE where there is none
    """
    many = 0
    for step in range(len(number)):
        there = False
        for number_of in number[step]:
            if number_of >= 0:
                if not there:
                    first[many] = number_of
                last[many], there = number_of, True
        many += there
    return many


@kernel
def lay_fills(
    there: Ints, first: Ints, last: Ints, slots: int, above: Ints, most: int, filled: Ints,
    asks: Ints,
) -> int:  # fmt: skip
    """The fills of an operand.  One waits for the last pass of the step that had its slot, and for
    the parent's words: where the parent's own fill is set going later, so is this one.

    there   [steps]  whether a step has a fill;  first, last  [steps]  its passes
    above   [parent's steps, 3]  of each the pass that sets the latest fill going, whether it has
            one, and its first pass
    most    fills back that are told apart
    filled  [steps]  the pass that sets the latest fill going
    asks    [fills, 4]  the pass it is for; the one that sets it going; how many fills back its
            parent's words came; how many passes later those it is for.  Both are written here
    """
    mine, latest, came, sent, brought, many = -1, -1, 0, 0, NONE, 0
    for step in range(len(first)):
        trigger = last[step - slots] if step >= slots else NONE
        behind = 0
        if len(above):
            while mine + 1 < len(above) and above[mine + 1, 2] <= first[step]:
                mine += 1  # the parent's step around this one
                came += above[mine, 1]
            trigger = max(trigger, above[mine, 0])
            while latest + 1 < len(above) and above[latest + 1, 0] <= trigger:
                latest += 1
                sent += above[latest, 1]
            behind = min(sent - came, most)
        if there[step]:
            brought = trigger
            asks[many, 0], asks[many, 1], asks[many, 2] = first[step], trigger, behind
            asks[many, 3] = first[step] - max(trigger, 0)  # before any pass, the first is the next
            many += 1
        filled[step] = brought
    return many


@kernel
def send_fills(asks: Ints, numbers: Ints, at: int, sends: Ints, early: Ints) -> int:
    """Up to two fills that each pass's end sets going, and whether a pass needs a new one; those
    ``early`` that wait for no pass, in order.

    asks     [fills, 4]  as ``lay_fills`` has them;  numbers  [fills]  which transfers they are
    sends    [passes, columns]  two transfers and what it needs, written from column ``at`` on
    """
    many, before = 0, NONE
    for fill in range(len(asks)):
        trigger = asks[fill, 1]
        sends[asks[fill, 0], at + 2] = 1
        if trigger < 0:
            early[many] = numbers[fill]
            many += 1
        else:
            sends[trigger, at + int(trigger == before)] = numbers[fill]
        before = trigger
    return many


@kernel
def send_drains(
    there: Ints, begins: Ints, first: Ints, last: Ints, numbers: Ints, back: int, at: int,
    sends: Ints,
) -> None:  # fmt: skip
    """The drain that follows each pass, and which drain must be over before a pass may open its
    tile: that of so many steps before as there are slots, one and ``back``, where only steps count
    after which sums leave or begin.

    there, begins  [steps]  whether sums leave after a step, whether it begins with some
    first, last    [steps]  its passes;  numbers  [drains]  which transfers they are
    sends          [passes, columns]  as in ``send_fills``
    """
    drains, before, drained = 0, NONE, 0
    for step in range(len(there)):
        if there[step]:
            sends[last[step], at] = numbers[drains]
            drains += 1
        if step + 1 < len(there) and (there[step] or begins[step + 1]):
            if back == 0:
                before, drained = step, drains
            if before >= 0 and there[before]:
                sends[first[step + 1], at + 2] = drains - drained + 1
            before, drained = step, drains


__all__ = [
    "NONE",
    "first_and_last",
    "join_folds",
    "lay_fills",
    "send_drains",
    "send_fills",
    "tell_rows",
    "time_settings",
]
