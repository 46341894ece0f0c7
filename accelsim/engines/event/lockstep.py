"""The PEs of a pass in lockstep, word by word: what each takes in a step, and what it lets go.

``pes`` calls ``follow`` for each kind of pass.  A PE's tile is a product of *rows*, one a rank, and
a word one number of each row, added up (its *code*; codes number the words of a pass without gaps).
Words that all PEs have together or not at all may go by one code.
In every step, for every PE that takes it:

    in   words of its tile now that the tile of its own latest step had not    (rules 3 and 4)
    out  words of that tile that it has no more, if they are sums              (rule 5)

PEs that share words stand side by side.  A word has a stamp of the step and
the sharers it was last carried for, so whether it is read once more is one comparison, and nothing
is ever cleared.  The rules are those of docs/design.md, section 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]


class WantedTiles(NamedTuple):
    """What PEs want of a tensor in the steps of a pass.

    ``code``        codes of all rows, one row after another, sorted within a row
    ``begin``       [rows + 1]: where a row begins, and the one before ends
    ``of_step``     [steps, ranks], and
    ``of_pe``       [PEs, ranks]: added up, the row of a step and a PE
    ``works``       [steps, PEs]: whether a PE takes a step; else its tile stands still
    ``held``        [PEs, ranks]: rows of the latest tile; changed in place
    """

    code: Ints
    begin: Ints
    of_step: Ints
    of_pe: Ints
    works: Flags
    held: Ints


class PeOrder(NamedTuple):
    """PEs, those that share words side by side.

    ``parent, cluster``  [PEs]: of each
    ``many``             [PEs]: how many there are of its kind, which all do the same
    ``first``            [groups + 1]: where those who share begin, and the ones before end
    """

    parent: Ints
    cluster: Ints
    many: Ints
    first: Ints


class PassTally(NamedTuple):
    """What moved in a pass; sums that leave between two steps count for the first of them.

    ``words``    [IN, OUT_BEFORE, OUT]: that came to PEs, and sums that left them before the first
                 step and later
    ``size``     [codes]: how many words go by one code
    ``flag``     [clusters, codes]: 1 << IN, OUT_BEFORE and OUT of a word that moved so; REAL if
                 there is such a word: of (k, x) pairs some are padding; GIVEN if parents have it:
                 they have no padding that the PEs make
    ``stamp``    [codes]: when a word was last carried, or over neighbour links held by a sharer
    ``first``    [clusters, codes]: the step in which a word first came; of sums, before which one
                 first left; nothing where that is not asked for
    ``carried``  [parents, 1 + steps]: words of each step that parents read, or, of sums, that
                 arrive at them; those that leave before the first step stand in front
    ``taking``   [1 + steps]: 1 if any PE takes a word
    """

    words: Ints
    size: Ints
    flag: Flags
    stamp: Ints
    first: Ints
    carried: Ints
    taking: Ints


class StepLists(NamedTuple):
    """The words that one step changes for a PE, and scratch.

    ``words``  room for them
    ``kept``   [codes of all rows]: whether a number stands in the other tile's row, too
    ``digit``, ``now``  [ranks]: where in its row a word is; the rows of a PE's tile in this step
    """

    words: Ints
    kept: Flags
    digit: Ints
    now: Ints


IN, OUT_BEFORE, OUT = range(3)
REAL, GIVEN = 8, 16
COME, GONE, HELD = range(3)
NO_WORD, SEVERAL = -1, -2


@kernel
def only_word(rows: Ints, tiles: WantedTiles) -> int:
    """The word of a tile that has one: one number of each of its rows, added up."""
    word, least = 0, 1
    for k in range(len(rows)):
        begin, n = tiles.begin[rows[k]], tiles.begin[rows[k] + 1] - tiles.begin[rows[k]]
        if n > 1:
            return SEVERAL
        least = min(least, n)
        word += tiles.code[begin] if n else 0
    return word if least else NO_WORD


@kernel
def list_words(step: int, which: int, pe: int, tiles: WantedTiles, lists: StepLists) -> int:
    """List what a step changes for a PE: words that COME, words that are GONE, or all that it HELD
    before; and how many they are.
    """
    code, begin, kept, digit, now = tiles.code, tiles.begin, lists.kept, lists.digit, lists.now
    held, moved, n, last = tiles.held[pe], which == HELD, 0, len(now) - 1
    for k in range(last + 1):
        now[k] = tiles.of_step[step, k] + tiles.of_pe[pe, k]
        moved = moved or now[k] != held[k]
    if not (moved and tiles.works[step, pe]):
        return 0
    these, those = (now, held) if which == COME else (held, now)
    word, other = only_word(these, tiles), only_word(those, tiles)
    if word != SEVERAL and other != SEVERAL:
        lists.words[0] = word
        return int(word != NO_WORD and (word != other or which == HELD))
    there, common = True, which != HELD  # is there a word; have the tiles any in common
    for k in range(last + 1):
        j, stop, some = begin[those[k]], begin[those[k] + 1], False
        for i in range(begin[these[k]], begin[these[k] + 1]):
            while j < stop and code[j] < code[i]:
                j += 1
            kept[i] = j < stop and code[j] == code[i]
            some = some or kept[i]
        digit[k] = begin[these[k]]
        there, common = there and digit[k] < begin[these[k] + 1], common and some
    while there:  # every sum of one number from each rank, but for those all ranks keep
        word, same = 0, common
        for k in range(last):
            word, same = word + code[digit[k]], same and kept[digit[k]]
        for i in range(begin[these[last]], begin[these[last] + 1]):
            if not (same and kept[i]):
                lists.words[n] = word + code[i]
                n += 1
        k = last - 1
        while k >= 0:  # the next number of the other ranks, the last fastest
            digit[k] += 1
            if digit[k] < begin[these[k] + 1]:
                break
            digit[k] = begin[these[k]]
            k -= 1
        there = k >= 0
    return n


@kernel
def carry(
    step: int, way: int, counted: bool, clock: int, pe: int, words: Ints, pes: PeOrder,
    tally: PassTally,
) -> None:  # fmt: skip
    """Words go to a PE, or from it: mark each, and if it is ``counted`` count it where it is read
    or arrives, once for all that share it: ``clock`` stamps it, if anybody does.
    """
    size, flag, stamp, cluster, real, arrived = (
        tally.size, tally.flag, tally.stamp, pes.cluster[pe], 0, 0,
    )  # fmt: skip
    at = min(step + (way == IN), len(tally.taking) - 1)
    for word in words:
        bits = flag[cluster, word]
        if bits & REAL:
            real += size[word]
            if counted and tally.first.shape[1] and not bits & (1 << way):
                tally.first[cluster, word] = step
            flag[cluster, word] = bits | (1 << way)
            if not clock or stamp[word] != clock:
                arrived += size[word] if bits & GIVEN else 0
            if clock and counted:
                stamp[word] = clock
    tally.words[way] += real * pes.many[pe]
    if way == IN and real:
        tally.taking[at] = 1
    if counted:
        tally.carried[pes.parent[pe], at] += arrived


@kernel
def move(
    step: int, way: int, counted: bool, linked: bool, tiles: WantedTiles, pes: PeOrder,
    tally: PassTally, lists: StepLists,
) -> None:  # fmt: skip
    """What goes one way in a step; PEs that share one after another."""
    which = COME if way == IN else GONE
    for g in range(len(pes.first) - 1):
        first, last = pes.first[g], pes.first[g + 1]
        clock = step * len(pes.first) + g + 1 if linked or last - first > 1 else 0
        if linked and way == IN:  # what a sharer held before is as good as carried
            for pe in range(first, last):
                for word in lists.words[: list_words(step, HELD, pe, tiles, lists)]:
                    tally.stamp[word] = clock
        for pe in range(first, last):
            n = list_words(step, which, pe, tiles, lists)
            if n:
                carry(step, way, counted, clock, pe, lists.words[:n], pes, tally)


@kernel
def follow(
    linked: bool, sums: bool, goes: bool, tiles: WantedTiles, pes: PeOrder, tally: PassTally,
    lists: StepLists,
) -> None:  # fmt: skip
    """All steps of a pass, one tensor.  ``linked``: PEs pass words on over neighbour links;
    ``sums``: the tensor is what is accumulated; ``goes``: what they let go is told.
    """
    for step in range(tiles.works.shape[0]):
        move(step, IN, not sums, linked, tiles, pes, tally, lists)
        if goes:
            move(step, OUT if step else OUT_BEFORE, sums, linked, tiles, pes, tally, lists)
        for pe in range(len(tiles.held)):
            if tiles.works[step, pe]:
                for k in range(len(lists.now)):
                    tiles.held[pe, k] = tiles.of_step[step, k] + tiles.of_pe[pe, k]
