"""The PEs of systolic lines: what their registers hold, and what each does at an edge.

Two kinds of PE: one holds an operand while sums move down (``multiply_down``), one holds its sum
while both operands move (``multiply_in_place``).  ``systolic`` feeds them fold by fold; a kernel
here clocks any number of edges.

The rule of the clock: at an edge every register takes what it or its neighbour had before the edge,
and nothing else.  So what moves is kept twice, before and after an edge by turns.

A plane is one kind of register of all PEs, a flat array of rows of ``width`` = 1 + columns places,
so that the compiler makes a loop over all PEs wide: from place k the right neighbour is k + 1, the
one below k + width.  Place 0 of a row of ``moving`` is its port.  Planes that move down have one
row more, of ports, at the top.  What the last PE of a row gives comes to the next row's port, where
the next word that enters overwrites it.

Every register has a tag of 16 bits beside its value, so that words are told apart by what they are
and not by when they ought to come: flags, which load of held words it belongs to (its residency,
modulo 8), and the running number of what streams (modulo 128).  Two that meet must agree.  A tag of
0 is an empty register, and its value is 0 and adds nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel

Ints = npt.NDArray[Any]

PRESENT = 1  # there is a word
USED = 2  # of a MAC; not a bubble of an unused line that is clocked all the same
WORD = 4  # a word of the tensor; not padding
FIRST, LAST = 8, 16  # of its residency
GO = 32  # of the lowest row's last operand: the column's sums may leave
RESIDENCY = 7 << 6
NUMBER = -1 << 9  # the bits from here on: they wrap as the tag does
ONE = 1 << 9
HOPS = 16  # of a held word on its way: the rows it has still to go, from this bit on
BUBBLE = -2  # the word of a register that holds nothing, or nothing of a MAC's
CHUNK = 1024  # so many PEs are clocked at a time: their registers fit the nearest cache

# Places in the tally.  OTHER is the operand that does not move along the rows.  NEWS are
# the results latched since the caller last looked.
(MACS, ROWS_TAKEN, OTHER_TAKEN, SUMS_MADE, ROWS_FED, OTHER_FED, HELD_LATCHED, OPENED, LEFT,
 EDGE, LANDED, NEWS, LAST_RESULT, SHIFTING, HAZARD, ROW) = range(16)  # fmt: skip
MISMATCH, UNEXPECTED, IN_USE = 1, 2, 3  # what HAZARD says
IN_PLACE, ACCUMULATOR, SECOND = range(3)  # ways out of held sums

# What a result is called: ``(fold << 32 | place in the matrix of its sums) << 1 | is it a word``.
FOLD_BITS, PLACE = 33, (1 << 32) - 1


class Feed(NamedTuple):
    """What the ports of one side are given: a ring by edge, [edges, lines], empty again once it has
    entered.
    """

    values: Ints
    tags: Ints  # 32 bits, see HOPS
    names: Ints  # what each is called, for ports whose registers keep it; else no lines
    read: Ints  # [edges] how many the level outside reads for it


class Latched(NamedTuple):
    """The latest results, in the order of their latching, [room] each."""

    edge: Ints
    name: Ints
    value: Ints


class HeldOperandPes(NamedTuple):
    """Registers of PEs that hold an operand.  The names of the sums in a column are kept in a ring:
    in the order they enter they come out.
    """

    moving: Ints  # [2, rows x width]
    moving_tag: Ints
    sums: Ints  # [2, (1 + rows) x width]
    sums_tag: Ints
    held: Ints  # [rows x width]
    held_tag: Ints
    held_word: Ints
    shadow: Ints  # [(1 + rows) x width] weights shifting in: the second register of a PE, if any
    shadow_tag: Ints
    shadow_word: Ints
    names: Ints  # [depth, width] the n-th at n modulo depth
    entered: Ints  # [width] how many sums have
    left: Ints  # [width]


class HeldOutputPes(NamedTuple):
    """Registers of PEs that hold their sum."""

    moving: Ints  # [2, rows x width]
    moving_tag: Ints
    falling: Ints  # [2, (1 + rows) x width]
    falling_tag: Ints
    sums: Ints  # [rows x width]
    sums_tag: Ints
    out: Ints  # [rows x width] what sums leave through: a second one, or the accumulator itself
    out_tag: Ints
    out_name: Ints
    begun: Ints  # [rows x width] how many sums each PE has begun
    names: Ints  # [depth, rows x width] the name of the n-th at n modulo depth


@kernel
def put(
    feed: Feed, start: int, values: Ints, words: Ints, read: Ints, name: int, tag: int, grow: int,
    first: int, last: int,
) -> int:  # fmt: skip
    """Put a fold's words [steps, lines] before the ports, line k of it k edges late; 1 if a port is
    taken.

    The first step has ``tag``, each further one ``grow`` more; ``first`` and ``last`` are flags of
    those steps.  Sums get names from ``name`` on; where it is negative, a word is its own name.
    """
    steps, lines = words.shape
    for t in range(steps):
        mine = (tag + t * grow) & 0x7FFFFFFF
        mine |= first if t == 0 else 0
        mine |= last if t == steps - 1 else 0
        for line in range(lines):
            at = (start + t + line) & (len(feed.read) - 1)
            if feed.tags[at, line]:
                return 1
            word = words[t, line]
            kind = (USED if word != BUBBLE else 0) | (WORD if word >= 0 else 0)
            kind |= GO if t == steps - 1 and line == lines - 1 and last else 0
            feed.values[at, line], feed.tags[at, line] = values[t, line], mine | kind | PRESENT
            if feed.names.shape[1]:
                own = name + 2 * (t * lines + line) + (word >= 0)
                feed.names[at, line] = word if name < 0 else own
            feed.read[at] += read[t, line]
    return 0


@kernel
def enter(
    feed: Feed, edge: int, values: Ints, tags: Ints, first: int, stride: int, tally: Ints, fed: int
) -> None:
    """Show the ports their words; those the level outside reads are counted at ``fed``.

    values, tags   a plane; its ports are ``first``, ``first + stride``, ...
    """
    at = edge & (len(feed.read) - 1)
    for line in range(feed.tags.shape[1]):
        values[first + line * stride] = feed.values[at, line]
        tags[first + line * stride] = np.int16(feed.tags[at, line])
        feed.values[at, line] = 0
        feed.tags[at, line] = 0
    tally[fed] += feed.read[at]
    feed.read[at] = 0


@kernel
def flags(tags: Ints) -> Any:
    """All flags that any tag has."""
    every = np.int16(0)
    for k in range(len(tags)):
        every = np.int16(every | tags[k])
    return every


@kernel
def latch(latched: Latched, name: int, value: int, tally: Ints) -> None:
    """A result is there."""
    n = tally[NEWS]
    latched.edge[n], latched.name[n], latched.value[n] = tally[EDGE], name, value
    tally[NEWS] += 1
    tally[LANDED] += 1
    tally[LAST_RESULT] = tally[EDGE]


@kernel
def count(moving_tag: Ints, other_tag: Ints, sums_tag: Ints, tally: Ints) -> None:
    """MACs that work, where both operands and the sum are there and of a MAC; and how many of each
    are words.  (In 16 bits, which the compiler makes widest: PEs are at most CHUNK.)
    """
    macs = rows = others = sums = np.int16(0)
    for k in range(len(moving_tag)):
        works = np.int16(moving_tag[k] & other_tag[k] & sums_tag[k] & USED)
        macs = np.int16(macs + works)
        rows = np.int16(rows + (works & (moving_tag[k] >> 1)))
        others = np.int16(others + (works & (other_tag[k] >> 1)))
        sums = np.int16(sums + (works & (sums_tag[k] >> 1)))
    tally[MACS] += macs // USED
    tally[ROWS_TAKEN] += rows // USED
    tally[OTHER_TAKEN] += others // USED
    tally[SUMS_MADE] += sums // USED


@kernel
def deliver(latched: Latched, many: int, fold: int, values: Ints) -> int:
    """Of so many results those of a fold go where they belong; returns how many they are."""
    n = 0
    for k in range(many):
        if latched.name[k] >> FOLD_BITS == fold:
            values[latched.name[k] >> 1 & PLACE] = latched.value[k]
            n += 1
    return n


# -- an operand held ---------------------------------------------------------------------------


@kernel
def clock_held_operand(
    last: int, goal: int, pes: HeldOperandPes, rows: Feed, sums: Feed, held: Feed, latched: Latched,
    tally: Ints, two: bool,
) -> None:  # fmt: skip
    """Clock edges up to ``last``, or until ``goal`` results have been latched, there is no room for
    more, or words collide.

    At an edge operands move right, sums move down and take a product on the way; then weights
    shift down.  ``two``: weights wait in a second register and are swapped in by the first operand.
    tally[SHIFTING] is the last edge at which a shifted weight may be on its way.
    """
    width, many, most = 1 + sums.tags.shape[1], len(pes.held) - 1, len(latched.edge)
    while tally[EDGE] < last and tally[LANDED] < goal and not tally[HAZARD]:
        if tally[NEWS] + width > most:
            break
        tally[EDGE] += 1
        edge = tally[EDGE]
        old, new = (edge - 1) & 1, edge & 1
        moving, moving_tag = pes.moving[old], pes.moving_tag[old]
        above, above_tag = pes.sums[old], pes.sums_tag[old]
        moved, moved_tag = pes.moving[new][1:], pes.moving_tag[new][1:]
        made, made_tag = pes.sums[new][1 + width :], pes.sums_tag[new][1 + width :]
        enter(rows, edge, moving, moving_tag, 0, width, tally, ROWS_FED)
        begin_sums(pes, sums, edge, above_tag)
        if flags(above_tag) & FIRST:
            open_fold(pes, moving_tag, above_tag, two)
        for a in range(0, many, CHUNK):
            z = min(a + CHUNK, many)
            multiply_down(
                moving[a:z], moving_tag[a:z], above[1 + a : 1 + z], above_tag[1 + a : 1 + z],
                pes.held[1 + a : 1 + z], pes.held_tag[1 + a : 1 + z], moved[a:z], moved_tag[a:z],
                made[a:z], made_tag[a:z], tally,
            )  # fmt: skip
        if edge <= tally[SHIFTING]:
            shift_weights(pes, held, width, two, tally)
        come_out(pes, pes.sums[new], pes.sums_tag[new], width, latched, tally)


@kernel
def multiply_down(
    moving: Ints, moving_tag: Ints, above: Ints, above_tag: Ints, held: Ints, held_tag: Ints,
    moved: Ints, moved_tag: Ints, sums: Ints, sums_tag: Ints, tally: Ints,
) -> None:  # fmt: skip
    """The edge of a PE that holds an operand; all arrays are by PE.

    The moving operand goes right.  The sum from above takes the product and goes down.  A sum that
    meets the weight of its residency must meet an operand, and that of its own number; one that
    passes a PE with no weight for it must meet none.
    """
    for k in range(len(moved)):
        moved[k] = moving[k]
    for k in range(len(moved)):
        sums[k] = above[k] + moving[k] * held[k]
    for k in range(len(moved)):
        moved_tag[k] = moving_tag[k]
    for k in range(len(moved)):
        sums_tag[k] = above_tag[k]
    wrong = np.int16(0)
    for k in range(len(moved)):
        m, h, s = moving_tag[k], held_tag[k], above_tag[k]
        own = np.int16(((s ^ h) & RESIDENCY) == 0) & h
        other = np.int16(((m ^ s) & (NUMBER | RESIDENCY)) != 0)
        wrong = np.int16(wrong | (s & PRESENT & ((m ^ own) | (m & other))))
    if wrong:
        tally[HAZARD] = MISMATCH
    count(moving_tag, held_tag, above_tag, tally)


@kernel
def begin_sums(pes: HeldOperandPes, sums: Feed, edge: int, above_tag: Ints) -> None:
    """Sums enter at the top of their columns, at zero."""
    at = edge & (len(sums.read) - 1)
    for j in range(1, len(pes.entered)):
        tag = sums.tags[at, j - 1]
        above_tag[j] = np.int16(tag)
        if tag:
            pes.names[pes.entered[j] & (len(pes.names) - 1), j] = sums.names[at, j - 1]
            pes.entered[j] += 1
            sums.tags[at, j - 1] = 0


@kernel
def come_out(
    pes: HeldOperandPes, sums: Ints, sums_tag: Ints, width: int, latched: Latched, tally: Ints
) -> None:
    """Sums below the last row are results."""
    bottom, n = len(pes.held), tally[NEWS]
    for j in range(1, width):
        if not sums_tag[bottom + j]:
            continue
        if pes.left[j] == pes.entered[j]:
            tally[HAZARD], tally[ROW] = UNEXPECTED, j
        name = pes.names[pes.left[j] & (len(pes.names) - 1), j]
        latched.edge[n], latched.name[n], latched.value[n] = tally[EDGE], name, sums[bottom + j]
        pes.left[j] += 1
        n += 1
    if n > tally[NEWS]:
        tally[LAST_RESULT] = tally[EDGE]
    tally[LANDED] += n - tally[NEWS]
    tally[NEWS] = n


@kernel
def open_fold(pes: HeldOperandPes, moving_tag: Ints, above_tag: Ints, two: bool) -> None:
    """The first sum of a residency: with an operand it finds its weight, or swaps it in from the
    second register; in rows that are not used, what is held is from now on nobody's.
    """
    for k in range(1, len(pes.held)):
        if not above_tag[k] & FIRST:
            continue
        if not moving_tag[k - 1]:
            pes.held_tag[k] = 0
        elif two:
            own = k + len(pes.shadow) - len(pes.held)
            home = pes.shadow_tag[own] >> HOPS == 0
            pes.held[k], pes.held_word[k] = pes.shadow[own], pes.shadow_word[own]
            pes.held_tag[k] = np.int16(pes.shadow_tag[own]) if home else np.int16(0)


@kernel
def shift_weights(pes: HeldOperandPes, held: Feed, width: int, two: bool, tally: Ints) -> None:
    """Weights with rows still to go move a row down, from the ports on; each stops in its own.

    Rows are walked from the lowest up, so that each takes what the one above it had.
    """
    at = tally[EDGE] & (len(held.read) - 1)
    tally[OTHER_FED] += held.read[at]
    held.read[at] = 0
    for line in range(width - 1):
        pes.shadow_tag[1 + line] = held.tags[at, line]
        pes.shadow[1 + line] = held.values[at, line]
        pes.shadow_word[1 + line] = held.names[at, line]
        held.tags[at, line] = 0
    for k in range(len(pes.held) - 1, 0, -1):
        tag = pes.shadow_tag[k]
        if tag >> HOPS == 0:
            continue
        tag -= 1 << HOPS
        home = tag >> HOPS == 0
        value, word = pes.shadow[k], pes.shadow_word[k]
        below = k + width
        pes.shadow[below], pes.shadow_word[below], pes.shadow_tag[below] = value, word, tag
        tally[HELD_LATCHED] += home and tag & WORD != 0
        if not two:
            pes.held[k], pes.held_word[k] = value, word
            pes.held_tag[k] = np.int16(tag) if home else np.int16(0)


# -- sums held ---------------------------------------------------------------------------------


@kernel
def clock_held_outputs(
    last: int, goal: int, pes: HeldOutputPes, rows: Feed, cols: Feed, latched: Latched,
    tally: Ints, way_out: int,
) -> None:  # fmt: skip
    """Clock edges up to ``last``, or until ``goal`` results have been latched, there is no room for
    more, or words collide.

    At an edge finished sums on their way out move down, operands move right and down, and each PE
    that got two adds their product.  tally[SHIFTING] is the number of sums on their way out.
    """
    width, many, most = 1 + cols.tags.shape[1], len(pes.sums) - 1, len(latched.edge)
    while tally[EDGE] < last and tally[LANDED] < goal and not tally[HAZARD]:
        if tally[NEWS] + many > most:
            break
        tally[EDGE] += 1
        edge = tally[EDGE]
        old, new = (edge - 1) & 1, edge & 1
        moving, moving_tag = pes.moving[old], pes.moving_tag[old]
        falling, falling_tag = pes.falling[old], pes.falling_tag[old]
        moved, moved_tag = pes.moving[new][1:], pes.moving_tag[new][1:]
        fallen, fallen_tag = pes.falling[new][1 + width :], pes.falling_tag[new][1 + width :]
        enter(rows, edge, moving, moving_tag, 0, width, tally, ROWS_FED)
        enter(cols, edge, falling, falling_tag, 1, 1, tally, OTHER_FED)
        if tally[SHIFTING]:
            shift_out(pes, latched, width, tally)
        moment = flags(moving_tag)
        if moment & FIRST:
            begin(pes, moving_tag, falling_tag, way_out, tally)
        for a in range(0, many, CHUNK):
            z = min(a + CHUNK, many)
            multiply_in_place(
                moving[a:z], moving_tag[a:z], falling[1 + a : 1 + z], falling_tag[1 + a : 1 + z],
                pes.sums[1 + a : 1 + z], pes.sums_tag[1 + a : 1 + z], moved[a:z], moved_tag[a:z],
                fallen[a:z], fallen_tag[a:z], tally,
            )  # fmt: skip
        if moment & LAST:
            finish(pes, moving_tag, falling_tag, latched, width, way_out, tally)


@kernel
def multiply_in_place(
    moving: Ints, moving_tag: Ints, falling: Ints, falling_tag: Ints, sums: Ints, sums_tag: Ints,
    moved: Ints, moved_tag: Ints, fallen: Ints, fallen_tag: Ints, tally: Ints,
) -> None:  # fmt: skip
    """The edge of a PE that holds its sum; all arrays are by PE.

    One operand goes right, one goes down, and where both are there their product is added.  They
    must be of one number and residency, and those the sum waits for: none is lost.
    """
    for k in range(len(moved)):
        moved[k] = moving[k]
    for k in range(len(moved)):
        fallen[k] = falling[k]
    for k in range(len(moved)):
        moved_tag[k] = moving_tag[k]
    for k in range(len(moved)):
        fallen_tag[k] = falling_tag[k]
    for k in range(len(moved)):
        sums[k] += moving[k] * falling[k]
    count(moving_tag, falling_tag, sums_tag, tally)
    wrong = np.int16(0)
    for k in range(len(moved)):
        m, f, s = moving_tag[k], falling_tag[k], sums_tag[k]
        both = np.int16(m & f & PRESENT)
        differ = np.int16(((m ^ f) | (m ^ s)) & (NUMBER | RESIDENCY) & -both)
        wrong = np.int16(wrong | differ | (both & ~s))
        sums_tag[k] = np.int16(s + both * ONE)  # the next number
    if wrong:
        tally[HAZARD] = MISMATCH


@kernel
def begin(
    pes: HeldOutputPes, moving_tag: Ints, falling_tag: Ints, way_out: int, tally: Ints
) -> None:
    """Accumulators that the first operands of a residency reach start at zero."""
    for k in range(1, len(pes.sums)):
        m = moving_tag[k - 1]
        if not (m & FIRST and falling_tag[k]):
            continue
        if pes.sums_tag[k] or (way_out == ACCUMULATOR and pes.out_tag[k]):
            tally[HAZARD], tally[ROW] = IN_USE, k
        word = pes.names[pes.begun[k] & (len(pes.names) - 1), k] & 1
        pes.begun[k] += 1
        pes.sums[k] = 0
        used = m & falling_tag[k] & USED
        pes.sums_tag[k] = (m & (NUMBER | RESIDENCY)) | used | (WORD if word else 0) | PRESENT
        tally[OPENED] += word


@kernel
def finish(
    pes: HeldOutputPes, moving_tag: Ints, falling_tag: Ints, latched: Latched, width: int,
    way_out: int, tally: Ints,
) -> None:  # fmt: skip
    """Sums that got their last product: read in place, or kept until their column shifts down.

    With the last sum of a column's lowest row all of it sets out.
    """
    for k in range(1, len(pes.sums)):
        m = moving_tag[k - 1]
        if not (m & LAST and falling_tag[k]):
            continue
        name = pes.names[(pes.begun[k] - 1) & (len(pes.names) - 1), k]
        pes.sums_tag[k] = 0
        if way_out == IN_PLACE:
            tally[LEFT] += name & 1
            latch(latched, name, pes.sums[k], tally)
            continue
        if pes.out_tag[k]:
            tally[HAZARD], tally[ROW] = IN_USE, k
        pes.out[k], pes.out_name[k], pes.out_tag[k] = pes.sums[k], name, LAST
        if m & GO:
            for above in range(k % width, k + 1, width):
                tally[SHIFTING] += pes.out_tag[above] == LAST
                pes.out_tag[above] |= GO if pes.out_tag[above] == LAST else 0


@kernel
def shift_out(pes: HeldOutputPes, latched: Latched, width: int, tally: Ints) -> None:
    """Sums on their way out go down a row; from the last one to the register beyond the array."""
    bottom = len(pes.out) - width
    for k in range(len(pes.out) - 1, 0, -1):
        if not pes.out_tag[k] & GO:
            continue
        if k >= bottom:
            tally[SHIFTING] -= 1
            tally[LEFT] += pes.out_name[k] & 1
            latch(latched, pes.out_name[k], pes.out[k], tally)
        else:
            if pes.out_tag[k + width]:
                tally[HAZARD], tally[ROW] = IN_USE, k + width
            pes.out[k + width], pes.out_name[k + width] = pes.out[k], pes.out_name[k]
            pes.out_tag[k + width] = pes.out_tag[k]
        pes.out_tag[k] = 0
