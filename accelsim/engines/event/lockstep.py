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
    """The words that one step changes, and scratch.

    ``words``  those of all PEs, one PE after another
    ``end``    [PEs]: where a PE's words end
    ``kept``   [codes of all rows]: whether a number stands in the other tile's row, too
    ``digit``, ``now``  [ranks]: where in its row a word is; the rows of a PE's tile in this step
    """

    words: Ints
    end: Ints
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
def list_words(
    step: int, which: int, tiles: WantedTiles, first: int, last: int, lists: StepLists
) -> None:
    """List what a step changes for each PE from the ``first`` to before the ``last``: words that
    COME, words that are GONE, or all that it HELD before.
    """
    code, begin, kept, digit, now = tiles.code, tiles.begin, lists.kept, lists.digit, lists.now
    n, inner = 0, len(now) - 1
    for pe in range(first, last):
        held, moved = tiles.held[pe], which == HELD
        for k in range(inner + 1):
            now[k] = tiles.of_step[step, k] + tiles.of_pe[pe, k]
            moved = moved or now[k] != held[k]
        lists.end[pe] = n
        if not (moved and tiles.works[step, pe]):
            continue
        these, those = (now, held) if which == COME else (held, now)
        word, other = only_word(these, tiles), only_word(those, tiles)
        if word != SEVERAL and other != SEVERAL:
            if word != NO_WORD and (word != other or which == HELD):
                lists.words[n] = word
                n += 1
            lists.end[pe] = n
            continue
        there, common = True, which != HELD  # is there a word; have the tiles any in common
        for k in range(inner + 1):
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
            for k in range(inner):
                word, same = word + code[digit[k]], same and kept[digit[k]]
            for i in range(begin[these[inner]], begin[these[inner] + 1]):
                if not (same and kept[i]):
                    lists.words[n] = word + code[i]
                    n += 1
            k = inner - 1
            while k >= 0:  # the next number of the other ranks, the last fastest
                digit[k] += 1
                if digit[k] < begin[these[k] + 1]:
                    break
                digit[k] = begin[these[k]]
                k -= 1
            there = k >= 0
        lists.end[pe] = n


@kernel
def carry(
    step: int, way: int, counted: bool, linked: bool, pes: PeOrder, tally: PassTally,
    lists: StepLists, groups: tuple[int, int],
) -> None:  # fmt: skip
    """The words listed of some ``groups`` that share go to PEs, or from them: mark each, and if it
    is ``counted`` count it where it is read or arrives, once for all that share it.
    """
    size, flag, stamp, n, g = tally.size, tally.flag, tally.stamp, 0, groups[0]
    at = min(step + (way == IN), len(tally.taking) - 1)
    for pe in range(pes.first[g], pes.first[groups[1]]):
        if pe == pes.first[g + 1]:
            g += 1
        clock = step * len(pes.first) + g + 1
        shared = linked or pes.first[g + 1] - pes.first[g] > 1
        cluster, real, arrived = pes.cluster[pe], 0, 0
        for word in lists.words[n : lists.end[pe]]:
            bits = flag[cluster, word]
            if bits & REAL:
                real += size[word]
                if counted and tally.first.shape[1] and not bits & (1 << way):
                    tally.first[cluster, word] = step
                flag[cluster, word] = bits | (1 << way)
                if not shared or stamp[word] != clock:
                    arrived += size[word] if bits & GIVEN else 0
                if shared and counted:
                    stamp[word] = clock
        tally.words[way] += real * pes.many[pe]
        if way == IN and real:
            tally.taking[at] = 1
        if counted:
            tally.carried[pes.parent[pe], at] += arrived
        n = lists.end[pe]


@kernel
def follow(
    linked: bool, sums: bool, goes: bool, tiles: WantedTiles, pes: PeOrder, tally: PassTally,
    lists: StepLists,
) -> None:  # fmt: skip
    """All steps of a pass, one tensor.  ``linked``: PEs pass words on over neighbour links;
    ``sums``: the tensor is what is accumulated; ``goes``: what they let go is told.
    """
    many, everyone = len(pes.first) - 1, len(tiles.held)
    for step in range(tiles.works.shape[0]):
        # what a sharer held before is as good as carried: one group after another, since others
        # may hold the same words
        for g in range(many if linked else 0):
            first, last = pes.first[g], pes.first[g + 1]
            list_words(step, HELD, tiles, first, last, lists)
            for word in lists.words[: lists.end[last - 1]]:
                tally.stamp[word] = step * len(pes.first) + g + 1
            list_words(step, COME, tiles, first, last, lists)
            carry(step, IN, not sums, linked, pes, tally, lists, (g, g + 1))
        if not linked:
            list_words(step, COME, tiles, 0, everyone, lists)
            carry(step, IN, not sums, linked, pes, tally, lists, (0, many))
        if goes:
            list_words(step, GONE, tiles, 0, everyone, lists)
            carry(step, OUT if step else OUT_BEFORE, sums, linked, pes, tally, lists, (0, many))
        for pe in range(everyone):
            if tiles.works[step, pe]:
                for k in range(len(lists.now)):
                    tiles.held[pe, k] = tiles.of_step[step, k] + tiles.of_pe[pe, k]
