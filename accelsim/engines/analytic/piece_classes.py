"""The sums of the closed form by classes of equal pieces; compiled loops (``base/compiled.py``).

``closed_form`` and the mapper ask how many words a chain of loops holds over all its steps and
instances, and how many of them it held one step before (``docs/counting.md``, "Six sums per rank").
Cutting a range of x words into pieces of t leaves x // t whole pieces, one short one, and nothing.
So what a chain does over all positions falls into few classes, however long the range: a class is a
piece and how often it occurs.  Every loop cuts each class again, and equal classes are joined.  The
cost grows with the loops of a chain, not with a row's length, a batch or an image.

A loop is looked at in one of these ways, outermost first:

    STANDS    temporal, outside the loop that advances: every index, the same one a step before
    ADVANCES  temporal: every index but the first; one less a step before
    RESTARTS  temporal, inside the loop that advances: at its first index; at its last a step before
    GROUPS    spatial: every index, instances that share no word
    SHARES    spatial: every index, instances that share words
    FIRST     spatial: the first instance stands for all

Steps are taken in lockstep: where a loop has its last index, and whether a step exists at all, is
told by the first instance, whose piece is the largest.

``chain_sums`` is for a rank of one chain, and for chains a tensor does not depend on;
``arrangements`` and ``slide_sums`` for a rank of two chains that slides.  All are exact whole
numbers below 2^63.  Sums are those of ``rank_sums.Sums``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel, kernel_with_arrays

Ints = npt.NDArray[np.int64]

STANDS, ADVANCES, RESTARTS, GROUPS, SHARES, FIRST = range(6)


# One loop -----------------------------------------------------------------------------------------


@kernel
def trips(extent: int, tile: int) -> int:
    """Pieces a range is cut into."""
    return -(-extent // tile)


@kernel
def piece(extent: int, index: int, tile: int) -> int:
    """Length of one piece of a range; 0 beyond its end."""
    return min(max(extent - index * tile, 0), tile)


@kernel
def indices(mode: int, first_now: int, longest: int, tile: int) -> tuple[int, int]:
    """The indices [from, to) of a loop at which its pieces are looked at.

    ``first_now`` is the first instance's range, ``longest`` the longest range of this one.
    """
    if mode == STANDS:
        return 0, trips(first_now, tile)
    if mode == ADVANCES:
        return 1, trips(first_now, tile)
    if mode == GROUPS or mode == SHARES:  # noqa: SIM109 - tuples of numbers are slow in a kernel
        return 0, trips(longest, tile)
    return 0, 1


@kernel
def index_before(mode: int, index: int, first_before: int, tile: int) -> int:
    """Where the loop stood one step before."""
    if mode == ADVANCES:
        return index - 1
    if mode == RESTARTS:
        return max(trips(first_before, tile) - 1, 0)
    return index


# A chain alone ------------------------------------------------------------------------------------
#
# A class is a row of numbers: four ranges (below), each the extents of the chain's parts and, under
# a fused loop, of the chunk (-1 where there is none); then whether the piece is still the one of
# the step before, and how often the class occurs.

FIRST_NOW, NOW, BEFORE, FIRST_BEFORE = range(4)
HELD, KEPT, LEFT, WORKS = range(4)
MOST_RUNS = 9  # four ranges change twice each


@kernel
def runs(extents: Ints, shifts: Ints, tile: int, start: int, stop: int, begins: Ints) -> int:
    """Runs of indices with equal pieces in all of several ranges; how many there are.

    extents  [ranges]  lengths that are cut; the piece at index i of a range is i - shift
    begins   [runs+1]  where each run begins, and where the last one ends; written here
    """
    count = 1
    begins[0] = start
    for at in range(len(extents)):
        whole = extents[at] // tile + shifts[at]
        for edge in range(whole, whole + 2):  # the short piece, and the first that is not there
            if start < edge < stop:
                place = count
                while begins[place - 1] > edge:
                    begins[place] = begins[place - 1]
                    place -= 1
                if begins[place - 1] == edge:
                    for later in range(place, count):
                        begins[later] = begins[later + 1]
                else:
                    begins[place] = edge
                    count += 1
    begins[count] = stop
    return count


@kernel
def join(classes: Ints, count: int, new: Ints) -> int:
    """Add a class, or only its number to an equal one; how many classes there are then."""
    last = classes.shape[1] - 1
    for at in range(count):
        equal = True
        for column in range(last):
            if classes[at, column] != new[column]:
                equal = False
                break
        if equal:
            classes[at, last] += new[last]
            return count
    for column in range(last + 1):
        classes[count, column] = new[column]
    return count + 1


@kernel
def volume(extents: Ints, parts: int) -> int:
    """Words of a piece: the chunk of a fused dimension, or the box of its parts."""
    words = 1
    for part in range(parts):
        words *= extents[part]
    return words if extents[parts] < 0 or words == 0 else extents[parts]


@kernel_with_arrays
def cut_class(old: Ints, at: int, tile: int, mode: int, classes: Ints, count: int) -> int:
    """Cut one class by one loop into ``classes``, which has ``count`` already; how many then.

    old  [4 (parts + 1) + 2]  the class; ``at`` is the part the loop cuts, or the chunk
    """
    width = (len(old) - 2) // 4
    extents, shifts = np.empty(4, np.int64), np.zeros(4, np.int64)
    for which in range(4):
        if at == width - 1 and old[which * width + at] < 0:
            old[which * width + at] = volume(old[which * width : (which + 1) * width], width - 1)
        extents[which] = old[which * width + at]
    longest = max(extents[NOW], extents[BEFORE])
    start, stop = indices(mode, extents[FIRST_NOW], longest, tile)
    if mode == ADVANCES:
        shifts[BEFORE] = shifts[FIRST_BEFORE] = 1
    begins, new = np.empty(MOST_RUNS + 1, np.int64), np.empty(len(old), np.int64)
    spatial = mode >= GROUPS
    many = runs(extents, shifts, tile, start, stop, begins) if stop > start else 0
    for run in range(many):
        index = begins[run]
        before = index_before(mode, index, extents[FIRST_BEFORE], tile)
        for column in range(len(old)):
            new[column] = old[column]
        new[at] = piece(extents[FIRST_NOW], 0 if spatial else index, tile)
        new[width + at] = piece(extents[NOW], index, tile)
        new[2 * width + at] = piece(extents[BEFORE], before, tile)
        new[3 * width + at] = piece(extents[FIRST_BEFORE], 0 if spatial else before, tile)
        new[4 * width] = old[4 * width] * (index == before)
        new[4 * width + 1] *= begins[run + 1] - index
        count = join(classes, count, new)
    return count


@kernel_with_arrays
def chain_sums(sizes: Ints, parts_cut: Ints, tiles: Ints, modes: Ints) -> Ints:
    """Sums over all positions and instances of a chain's loops, for many choices of tiles.

    sizes      [parts]           of each part of the chain
    parts_cut  [loops]           which part each loop cuts; -1: the fused whole
    tiles      [choices, loops]  of the loops, outermost first
    modes      [loops]           how each is looked at

    [choices, 4]: HELD words now; KEPT of them from the step before; LEFT, words one step before;
    WORKS, positions and instances that hold any.
    """
    parts = len(sizes)
    width = parts + 1
    sums = np.zeros((len(tiles), 4), np.int64)
    for choice in range(len(tiles)):
        classes = np.ones((1, 4 * width + 2), np.int64)
        for which in range(4):
            classes[0, which * width : which * width + parts] = sizes
            classes[0, which * width + parts] = -1
        for loop in range(len(modes)):
            at = parts_cut[loop] if parts_cut[loop] >= 0 else parts
            cut = np.empty((MOST_RUNS * len(classes), 4 * width + 2), np.int64)
            count = 0
            for old in range(len(classes)):
                count = cut_class(classes[old], at, tiles[choice, loop], modes[loop], cut, count)
            classes = cut[:count]
        for at in range(len(classes)):
            one = classes[at]
            often = one[4 * width + 1]
            now = volume(one[width : 2 * width], parts)
            sums[choice, HELD] += often * now
            sums[choice, KEPT] += often * now * one[4 * width]
            sums[choice, LEFT] += often * volume(one[2 * width : 3 * width], parts)
            sums[choice, WORKS] += often * (now > 0)
    return sums


# A rank that slides -------------------------------------------------------------------------------
#
# Words of a sliding rank are coordinates  h = stride e + dilation r - pad  within [0, size), and
# its two chains meet only in which coordinates their pieces touch.  So each chain alone is turned
# into classes of arrangements: what the instances that share words hold, now and one step before.
# What lies within coordinates that no padding reaches is moved to their beginning, so that most
# positions look alike; only those at the clipped edges keep their place.

LOW, HIGH, LOW_BEFORE, HIGH_BEFORE = range(4)
MEMBERS, PROBE, PROBE_BEFORE, OFTEN = range(4)


@kernel
def cut_member(old: Ints, index: int, before: int, tile: int, new: Ints) -> None:
    """The ranges [4] of one instance, cut at an index now and another one before."""
    new[LOW] = min(old[LOW] + index * tile, old[HIGH])
    new[HIGH] = min(new[LOW] + tile, old[HIGH])
    new[LOW_BEFORE] = min(old[LOW_BEFORE] + before * tile, old[HIGH_BEFORE])
    new[HIGH_BEFORE] = min(new[LOW_BEFORE] + tile, old[HIGH_BEFORE])


@kernel
def settle(members: Ints, count: int, free_low: int, free_high: int) -> int:
    """Drop the members that hold nothing; move the rest, where it is free to, to ``free_low``.

    members  [members, 4]  ranges; changed in place.  How many are left.
    """
    left, low, high = 0, np.int64(1) << 60, np.int64(-1)
    for at in range(count):
        empty = True
        for side in range(LOW, 4, 2):
            if members[at, side + 1] > members[at, side]:
                low, high = min(low, members[at, side]), max(high, members[at, side + 1])
                empty = False
            else:
                members[at, side] = members[at, side + 1] = -1
        if not empty:
            for side in range(4):
                members[left, side] = members[at, side]
            left += 1
    if left and free_low <= low and high <= free_high:
        for at in range(left):
            for side in range(LOW, 4, 2):
                if members[at, side + 1] > members[at, side]:
                    members[at, side] -= low - free_low
                    members[at, side + 1] -= low - free_low
    return left


@kernel
def alike(
    members: Ints, head: Ints, index: int, stop: int, mode: int, tile: int, low: int, high: int
) -> int:
    """How many indices from this one on cut all members alike: whole pieces, where they are free.

    members  [members, 4]  ranges that are cut
    head     [4]           of their class
    low, high              coordinates within which a piece may be moved
    """
    shift = 1 if mode == ADVANCES else 0
    run = stop - index
    for at in range(head[MEMBERS]):
        for side in range(2):
            begin, end = members[at, 2 * side], members[at, 2 * side + 1]
            here = index - shift * side
            if begin + here * tile >= end:
                continue  # nothing now, and nothing later
            if begin + here * tile < low:
                return 1
            run = min(run, (min(end, high) - begin) // tile - here)
    if mode == STANDS or mode == ADVANCES:  # noqa: SIM109
        for side in range(2):
            here = index - shift * side
            if here * tile < head[PROBE + side]:
                run = min(run, head[PROBE + side] // tile - here)
    return max(run, 1)


@kernel
def known(ranges: Ints, heads: Ints, count: int, members: Ints, head: Ints) -> int:
    """The class that is equal to a new one, or ``count`` if there is none."""
    for at in range(count):
        equal = True
        for column in range(OFTEN):
            equal = equal and heads[at, column] == head[column]
        if not equal:
            continue
        for member in range(head[MEMBERS]):
            for column in range(4):
                if ranges[at, member, column] != members[member, column]:
                    equal = False
        if equal:
            return at
    return count


@kernel
def share(old: Ints, count: int, tile: int, members: Ints) -> int:
    """Cut each of ``count`` instances [4] side by side into instances that share; how many."""
    many = 0
    for at in range(count):
        longest = max(old[at, HIGH] - old[at, LOW], old[at, HIGH_BEFORE] - old[at, LOW_BEFORE])
        for index in range(trips(longest, tile)):
            cut_member(old[at], index, index, tile, members[many])
            many += 1
    return many


@kernel
def cut_arrangement(
    old: Ints, head: Ints, index: int, mode: int, tile: int, members: Ints, new: Ints
) -> None:
    """Cut a class of arrangements at one index of a loop: members [members, 4] and head [4]."""
    before = index_before(mode, index, head[PROBE_BEFORE], tile)
    if mode == SHARES:
        new[MEMBERS] = share(old, head[MEMBERS], tile, members)
    else:
        new[MEMBERS] = head[MEMBERS]
        for at in range(head[MEMBERS]):
            cut_member(old[at], index, before, tile, members[at])
    spatial = mode >= GROUPS
    new[PROBE] = piece(head[PROBE], 0 if spatial else index, tile)
    new[PROBE_BEFORE] = piece(head[PROBE_BEFORE], 0 if spatial else before, tile)


@kernel_with_arrays
def doubled(old: Ints) -> Ints:
    """The same array with twice the rows."""
    shape = (2 * old.shape[0], *old.shape[1:])
    new = np.empty(shape, np.int64)
    new[: old.shape[0]] = old
    return new


@kernel
def most_members(size: int, tiles: Ints, modes: Ints) -> int:
    """Instances that share, at most."""
    most, longest = 1, size
    for loop in range(len(modes)):
        if modes[loop] == SHARES:
            most *= trips(longest, tiles[loop])
        longest = min(longest, tiles[loop])
    return most


@kernel_with_arrays
def arrangements(size: int, tiles: Ints, modes: Ints, low: int, high: int) -> tuple[Ints, Ints]:
    """Classes of what instances that share hold of one chain, over its positions and groups.

    tiles, modes  [loops]  as in ``chain_sums``
    low, high              coordinates of the chain within which pieces may be moved

    ranges [classes, most instances that share, 4] and heads [classes, 4]: how many members, what
    the first instance holds now and one step before (its length), how often.
    """
    most = most_members(size, tiles, modes)
    ranges, heads = np.zeros((1, most, 4), np.int64), np.empty((1, 4), np.int64)
    ranges[0, 0, HIGH] = ranges[0, 0, HIGH_BEFORE] = size
    heads[0, MEMBERS] = heads[0, OFTEN] = 1
    heads[0, PROBE] = heads[0, PROBE_BEFORE] = size
    members, head = np.empty((most, 4), np.int64), np.empty(4, np.int64)
    for loop in range(len(modes)):
        tile, mode, count = tiles[loop], modes[loop], 0
        new_ranges, new_heads = np.empty((16, most, 4), np.int64), np.empty((16, 4), np.int64)
        for old in range(len(heads)):
            longest = 0
            for at in range(heads[old, MEMBERS]):
                for side in range(LOW, 4, 2):
                    longest = max(longest, ranges[old, at, side + 1] - ranges[old, at, side])
            index, stop = indices(mode, heads[old, PROBE], longest, tile)
            if mode == SHARES:
                stop = 1
            while index < stop:
                cut_arrangement(ranges[old], heads[old], index, mode, tile, members, head)
                run = 1
                if mode != RESTARTS and mode != SHARES:
                    run = alike(ranges[old], heads[old], index, stop, mode, tile, low, high)
                head[MEMBERS] = settle(members, head[MEMBERS], low, high)
                head[OFTEN] = heads[old, OFTEN] * run
                index += run
                if head[MEMBERS] == 0:
                    continue
                at = known(new_ranges, new_heads, count, members, head)
                if at < count:
                    new_heads[at, OFTEN] += head[OFTEN]
                    continue
                if count == len(new_heads):
                    new_ranges, new_heads = doubled(new_ranges), doubled(new_heads)
                new_ranges[count], new_heads[count] = members, head
                count += 1
        ranges, heads = new_ranges[:count], new_heads[:count]
    return ranges, heads


NOW_AT, BEFORE_AT, UNION, UNION_BEFORE, CAME, WENT = range(6)


@kernel
def lay(
    mark: Ints, stamp: int, slide: Ints, e_low: int, e_high: int, r_low: int, r_high: int
) -> None:
    """Stamp the real coordinates that a piece of outputs touches through a piece of taps.

    mark   [size]  the stamp each coordinate had last
    slide  [4]     stride, dilation, padding before, size
    """
    for tap in range(r_low, r_high):
        at = slide[0] * e_low + slide[1] * tap - slide[2]
        for _ in range(e_low, e_high):
            if 0 <= at < slide[3]:
                mark[at] = stamp
            at += slide[0]


@kernel
def window(slide: Ints, e: Ints, r: Ints) -> tuple[int, int]:
    """The coordinates [from, to) within which two instances' pieces [4] lie, now and before."""
    low, high = slide[3], np.int64(0)
    for side in range(LOW, 4, 2):
        if e[side + 1] > e[side] and r[side + 1] > r[side]:
            low = min(low, slide[0] * e[side] + slide[1] * r[side] - slide[2])
            last = slide[0] * (e[side + 1] - 1) + slide[1] * (r[side + 1] - 1) - slide[2]
            high = max(high, last + 1)
    return max(low, 0), min(high, slide[3])


@kernel
def add_instance(
    marks: Ints, pair: int, group: int, slide: Ints, e: Ints, r: Ints, sums: Ints
) -> tuple[int, int]:
    """Add what one instance holds to the sums [7] of S and O, and to the sets of its group.

    A coordinate carries the number of the pair, and of the group, that touched it last: a stamp, so
    nothing is ever cleared.  Where its words lie, as ``window``.
    """
    lay(marks[NOW_AT], pair, slide, e[LOW], e[HIGH], r[LOW], r[HIGH])
    lay(
        marks[BEFORE_AT], pair, slide,
        e[LOW_BEFORE], e[HIGH_BEFORE], r[LOW_BEFORE], r[HIGH_BEFORE],
    )  # fmt: skip
    low, high = window(slide, e, r)
    for at in range(low, high):
        now, before = marks[NOW_AT, at] == pair, marks[BEFORE_AT, at] == pair
        sums[0] += now
        sums[1] += now and before
        if now:
            marks[UNION, at] = group
            if not before:
                marks[CAME, at] = group
        if before:
            marks[UNION_BEFORE, at] = group
            if not now:
                marks[WENT, at] = group
    return low, high


@kernel_with_arrays
def slide_sums(slide: Ints, e: Ints, e_members: Ints, r: Ints, r_members: Ints) -> Ints:
    """S O U K X Y L of every arrangement of outputs with every arrangement of taps.

    slide      [4]                       stride, dilation, padding before, size
    e, r       [arrangements, most, 4]   ranges, as ``arrangements`` gives them
    *_members  [arrangements]            how many of the rows are instances

    [arrangements of e, arrangements of r, 7]
    """
    sums = np.zeros((len(e), len(r), 7), np.int64)
    marks = np.zeros((6, slide[3]), np.int64)
    pair = group = 0
    for a in range(len(e)):
        for b in range(len(r)):
            group += 1
            total = sums[a, b]
            low, high = int(slide[3]), 0
            for i in range(e_members[a]):
                for j in range(r_members[b]):
                    pair += 1
                    near = add_instance(marks, pair, group, slide, e[a, i], r[b, j], total)
                    low, high = min(low, near[0]), max(high, near[1])
            for at in range(low, high):
                union, before = marks[UNION, at] == group, marks[UNION_BEFORE, at] == group
                total[2] += union
                total[3] += union and marks[CAME, at] != group
                total[4] += before
                total[5] += before and marks[WENT, at] != group
                total[6] += union and before
    return sums


@kernel_with_arrays
def met(
    words: Ints,
    e_begins: Ints,
    e_entries: Ints,
    r_begins: Ints,
    r_entries: Ints,
    e_rows: Ints,
    r_rows: Ints,
    largest: bool,
) -> Ints:
    """What arrangements sum when they meet, for choices of an output chain and a filter chain.

    words      [kinds of e, kinds of r, 7]  as ``slide_sums`` gives them
    *_begins   [chains + 1]                 where a chain's entries begin
    *_entries  [entries, 2]                 a kind, and how often the chain has it
    *_rows     [choices]                    the chains chosen

    [choices, 7]: added up over all a choice's arrangements, or only the largest.
    """
    sums = np.zeros((len(e_rows), words.shape[2]), np.int64)
    for choice in range(len(e_rows)):
        for i in range(e_begins[e_rows[choice]], e_begins[e_rows[choice] + 1]):
            for j in range(r_begins[r_rows[choice]], r_begins[r_rows[choice] + 1]):
                often = e_entries[i, 1] * r_entries[j, 1]
                for at in range(words.shape[2]):
                    each = words[e_entries[i, 0], r_entries[j, 0], at]
                    if largest:
                        sums[choice, at] = max(sums[choice, at], each)
                    else:
                        sums[choice, at] += often * each
    return sums
