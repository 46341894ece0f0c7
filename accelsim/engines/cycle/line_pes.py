"""The registers of systolic lines, and what each does at an edge.

Two kinds of PE: one holds an operand while sums move down, one holds its sum while both operands
move.  ``systolic`` feeds them fold by fold; a kernel here clocks any number of edges.

Every register has a tag beside its value, so that words are told apart by what they are and not by
when they ought to come.  A tag is a number of three fields: flags in the lowest bits, then a place,
then the residency (which load of held words it belongs to).  The place of a streamed word or a
moving sum is its running number; of a held word it is the rows it has still to go; of a finished
sum it is the row it was made in.  A tag of 0 is an empty register, and its value adds nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel, kernel_with_arrays

Ints = npt.NDArray[Any]

USED_BIT, WORD_BIT, READ_BIT = 1, 2, 3
PRESENT = 1  # there is a word
USED = (
    1 << USED_BIT
)  # of a MAC; not a bubble of an unused row or column that is clocked all the same
WORD = 1 << WORD_BIT  # a word of the tensor; not padding
READ = 1 << READ_BIT  # the level outside reads it; not a zero that begins to be stored here
FIRST, LAST = 16, 32  # of its residency
GO = 64  # of the lowest row's last operand: the column's sums may leave
DONE, LEAVING = LAST, GO  # of a sum that is held: complete; on its way out
FLAGS = 7  # bits
OWN_FLAGS = (1 << FLAGS) - 1
IN_PLACE, ACCUMULATOR, SECOND = range(3)  # ways out of held sums

# Places in the tally, all counted as words are latched.
(MACS, ROWS_FED, COLS_FED, ROWS_TAKEN, COLS_TAKEN, HELD_TAKEN, SUMS_MADE, HELD_FED, HELD_LATCHED,
 OPENED, LEFT, EDGE, LANDED, LAST_RESULT, LEAVE, HAZARD, ROW, COL) = range(18)  # fmt: skip
COUNTS = EDGE  # so many are counts of words and MACs; the rest is the state of the clock
PORT_TAKEN, MISMATCH, TWICE, IN_USE = 1, 2, 3, 4  # what HAZARD says


class Feed(NamedTuple):
    """What the ports of one side are given: blocks of words, line k of a block k edges late."""

    start: Ints  # [blocks] the edge at which a block's first word enters line 0
    steps: Ints  # [blocks]
    lines: Ints  # [blocks]
    offset: Ints  # [blocks] where in the flat arrays a block begins
    values: Ints  # flat, [steps, lines] of each block
    tags: Ints  # likewise


class Results(NamedTuple):
    """Where results are latched: a window, as wide as so many may be under way.

    A place of the window is a residency of sums that are held, [rows, columns], or a running number
    of sums that move, [1, columns].
    """

    values: Ints  # [window, rows, columns]
    edges: Ints  # [window, rows, columns] the edge that latched each; 0: not yet
    landed: Ints  # [window] how many are there


class HeldOperandPes(NamedTuple):
    """Registers of PEs that hold an operand.

    Words that move are kept twice, before and after an edge by turns.  Column 0 of ``moving`` and
    row 0 of ``sums`` are ports; other planes have an empty column 0, so that all are alike.
    """

    moving: Ints  # [2, rows, 1 + columns]
    moving_tag: Ints
    sums: Ints  # [2, 1 + rows, 1 + columns]
    sums_tag: Ints
    held: Ints  # [rows, 1 + columns]
    held_tag: Ints
    shadow: Ints  # [rows, 1 + columns] the second weight register; the held one where there is one
    shadow_tag: Ints
    shift: Ints  # [1 + columns] ports of the weights' shift lines
    shift_tag: Ints


class HeldOutputPes(NamedTuple):
    """Registers of PEs that hold their sum, likewise; row 0 of ``falling`` are ports."""

    moving: Ints  # [2, rows, 1 + columns]
    moving_tag: Ints
    falling: Ints  # [2, 1 + rows, 1 + columns]
    falling_tag: Ints
    sums: Ints  # [rows, 1 + columns]
    sums_tag: Ints
    out: (
        Ints  # [rows, 1 + columns] what sums leave through: a second one, or the accumulator itself
    )
    out_tag: Ints


@kernel
def tag(
    words: Ints, read: Ints, tags: Ints, residency: int, first: int, place: int
) -> None:  # fmt: skip
    """Tags [steps, lines] of words [steps, some lines], of the places from ``first`` on; the lines
    that are left are bubbles.
    """
    for i in range(tags.shape[0]):
        high = (residency * place + ((first + i) & (place - 1))) << FLAGS | PRESENT
        tags[i, :] = high
        for j in range(words.shape[1] if i < words.shape[0] else 0):
            word = (words[i, j] >= 0) << WORD_BIT
            tags[i, j] = high | USED | word | ((read[i, j] & (words[i, j] >= 0)) << READ_BIT)


@kernel
def enter(feed: Feed, edge: int, values: Ints, tags: Ints, tally: Ints, counter: int) -> None:
    """Show every port of a side its word, and count those the level outside reads.

    values, tags  [lines]  the ports, changed in place
    """
    values[:] = 0
    tags[:] = 0
    for block in range(len(feed.start)):
        lines, since = feed.lines[block], edge - feed.start[block]
        for line in range(max(0, since - feed.steps[block] + 1), min(lines, since + 1)):
            if tags[line]:
                tally[HAZARD], tally[ROW] = PORT_TAKEN, line
            at = feed.offset[block] + (since - line) * lines + line
            values[line], tags[line] = feed.values[at], feed.tags[at]
            tally[counter] += (tags[line] >> READ_BIT) & 1


@kernel
def land(
    results: Results, window: int, row: int, column: int, value: int, edge: int, tally: Ints
) -> None:
    """A result is latched."""
    if results.edges[window, row, column] != 0:
        tally[HAZARD], tally[ROW], tally[COL] = TWICE, row, column
    results.values[window, row, column] = value
    results.edges[window, row, column] = edge
    results.landed[window] += 1
    tally[LANDED] += 1
    tally[LAST_RESULT] = edge


# -- an operand held ---------------------------------------------------------------------------


@kernel_with_arrays
def clock_held_operand(
    last: int, goal: int, pes: HeldOperandPes, rows: Feed, sums: Feed, held: Feed, results: Results,
    tally: Ints, place: int, two: bool, wave: int, shifting: int,
) -> None:  # fmt: skip
    """Clock edges up to ``last``, or until ``goal`` results have been latched or words collide.

    At an edge operands move right, sums move down and take a product on the way; then weights
    shift down.  ``place``: how many places a tag tells apart.  ``two``: weights wait in a second
    register and are swapped in by the first operand; ``wave`` and ``shifting`` are the last edges
    at which a first operand or a shifted weight may be on its way.
    """
    height, width = pes.held.shape
    low = (place << FLAGS) - 1
    while tally[EDGE] < last and tally[LANDED] < goal and not tally[HAZARD]:
        tally[EDGE] += 1
        edge = tally[EDGE]
        before, after = (edge - 1) & 1, edge & 1
        enter(rows, edge, pes.moving[before, :, 0], pes.moving_tag[before, :, 0], tally, ROWS_FED)
        enter(sums, edge, pes.sums[before, 0, 1:], pes.sums_tag[before, 0, 1:], tally, LEFT)
        if two and edge <= wave:
            swap(pes, before)
        multiply_down(before, after, pes, tally, low)
        if edge <= shifting:
            enter(held, edge, pes.shift[1:], pes.shift_tag[1:], tally, HELD_FED)
            shift_weights(pes, tally, place)
        for j in range(1, width):
            tag = pes.sums_tag[after, height, j]
            if tag & PRESENT:
                tally[LEFT] += (tag >> WORD_BIT) & 1
                window = (tag >> FLAGS) & (place - 1) & (len(results.landed) - 1)
                land(results, window, 0, j - 1, pes.sums[after, height, j], edge, tally)


@kernel
def swap(pes: HeldOperandPes, before: int) -> None:
    """The first operand of a residency swaps its weight in, wherever there is a sum for it."""
    height, width = pes.held.shape
    for i in range(height):
        for j in range(1, width):
            first = pes.moving_tag[before, i, j - 1] & FIRST
            if first and pes.sums_tag[before, i, j] & PRESENT:
                pes.held[i, j], pes.held_tag[i, j] = pes.shadow[i, j], pes.shadow_tag[i, j]


@kernel_with_arrays
def multiply_down(before: int, after: int, pes: HeldOperandPes, tally: Ints, low: int) -> None:
    """Operands go right; the sum from above takes the product of the words held and passing.

    A sum and an operand must be of one place, and the word held at home and of their residency; a
    sum that meets its own weight must meet an operand.

    A plane is walked as one line, so that the compiler makes each loop wide: the next register is
    the right neighbour, the one a row's length on the one below.  What a row's last register gives
    comes to the next row's port, and is overwritten there.
    """
    height, width = pes.held.shape
    many = height * width - 1
    moving, moved = pes.moving[before].ravel(), pes.moving[after].ravel()[1:]
    m_tag, moved_tag = pes.moving_tag[before].ravel(), pes.moving_tag[after].ravel()[1:]
    above, sums = pes.sums[before].ravel()[1:], pes.sums[after].ravel()[1 + width :]
    s_tag, sums_tag = pes.sums_tag[before].ravel()[1:], pes.sums_tag[after].ravel()[1 + width :]
    held, h_tag = pes.held.ravel()[1:], pes.held_tag.ravel()[1:]
    for k in range(many):
        moved[k] = moving[k]
    for k in range(many):
        moved_tag[k] = m_tag[k]
    for k in range(many):
        sums_tag[k] = s_tag[k]
    for k in range(many):
        sums[k] = above[k] + moving[k] * held[k]
    macs = row_words = held_words = sum_words = wrong = np.int32(0)
    for k in range(many):
        m, h, s = m_tag[k], h_tag[k], s_tag[k]
        other = (m ^ s) >> FLAGS != 0
        own = ((s & ~low) ^ h) >> FLAGS == 0
        wrong = np.int32(wrong | s & PRESENT & (((m & PRESENT) ^ own) | (m & other)))
        works = np.int32(((m & h) >> USED_BIT) & s & PRESENT)
        macs = np.int32(macs + works)
        row_words = np.int32(row_words + (works & (m >> WORD_BIT)))
        held_words = np.int32(held_words + (works & (h >> WORD_BIT)))
        sum_words = np.int32(sum_words + (works & (s >> WORD_BIT)))
    tally[MACS] += macs
    tally[ROWS_TAKEN] += row_words
    tally[HELD_TAKEN] += held_words
    tally[SUMS_MADE] += sum_words
    if wrong:
        tally[HAZARD] = MISMATCH


@kernel
def shift_weights(pes: HeldOperandPes, tally: Ints, place: int) -> None:
    """Weights with rows still to go move a row down; each stops in its own."""
    hops = (place - 1) << FLAGS
    height, width = pes.shadow.shape
    for i in range(height - 1, -1, -1):
        source, tags = (
            (pes.shadow[i - 1], pes.shadow_tag[i - 1]) if i else (pes.shift, pes.shift_tag)
        )
        for j in range(width):
            if tags[j] & hops:
                tag = tags[j] - (1 << FLAGS)
                pes.shadow[i, j], pes.shadow_tag[i, j] = source[j], tag
                if tag & hops == 0:
                    tally[HELD_LATCHED] += (tag >> WORD_BIT) & 1


# -- sums held ---------------------------------------------------------------------------------


@kernel_with_arrays
def clock_held_outputs(
    last: int, goal: int, pes: HeldOutputPes, rows: Feed, cols: Feed, flags: Ints, results: Results,
    tally: Ints, place: int, way_out: int, wave: int,
) -> None:  # fmt: skip
    """Clock edges up to ``last``, or until ``goal`` results have been latched or words collide.

    At an edge finished sums on their way out move down, operands move right and down, and each PE
    that got two adds their product.  ``flags`` [window rows, columns]: of the sums to be made.
    ``wave`` is the last edge at which a residency's first or last operand may be on its way.
    """
    low = (place << FLAGS) - 1
    while tally[EDGE] < last and tally[LANDED] < goal and not tally[HAZARD]:
        tally[EDGE] += 1
        edge = tally[EDGE]
        before, after = (edge - 1) & 1, edge & 1
        enter(rows, edge, pes.moving[before, :, 0], pes.moving_tag[before, :, 0], tally, ROWS_FED)
        enter(
            cols, edge, pes.falling[before, 0, 1:], pes.falling_tag[before, 0, 1:], tally, COLS_FED
        )
        if tally[LEAVE]:
            shift_out(pes, results, tally, place)
        moving_tag, falling_tag = pes.moving_tag[before], pes.falling_tag[before]
        if edge <= wave:
            begin(moving_tag, falling_tag, pes, flags, tally, place)
        multiply_in_place(before, after, pes, tally, low)
        if edge <= wave:
            finish(moving_tag, falling_tag, pes, results, tally, place, way_out)


@kernel
def begin(
    moving_tag: Ints, falling_tag: Ints, pes: HeldOutputPes, flags: Ints, tally: Ints, place: int
) -> None:
    """Accumulators that the first operands of a residency reach start at zero."""
    height, width = pes.sums.shape
    for i in range(height):
        for j in range(1, width):
            m, f = moving_tag[i, j - 1], falling_tag[i, j]
            if not (m & f & PRESENT and m & FIRST):
                continue
            if pes.sums_tag[i, j]:
                tally[HAZARD], tally[ROW], tally[COL] = IN_USE, i, j
            residency, number = (m >> FLAGS) // place, (m >> FLAGS) % place
            word = flags[residency % len(flags), i, j - 1] & WORD
            before = residency * place + (number - 1) % place  # the place of a product before it
            pes.sums[i, j] = 0
            pes.sums_tag[i, j] = before << FLAGS | m & f & USED | word | PRESENT
            tally[OPENED] += word >> WORD_BIT


@kernel_with_arrays
def multiply_in_place(before: int, after: int, pes: HeldOutputPes, tally: Ints, low: int) -> None:
    """Operands go right and down; a PE with two of them adds their product to its own sum.

    Both must be of one place, the sum unfinished, of their residency, and the last product it got
    of the place before: none is lost.  Planes are walked as in ``multiply_down``.
    """
    height, width = pes.sums.shape
    many = height * width - 1
    moving, moved = pes.moving[before].ravel(), pes.moving[after].ravel()[1:]
    m_tag, moved_tag = pes.moving_tag[before].ravel(), pes.moving_tag[after].ravel()[1:]
    falling, fallen = pes.falling[before].ravel()[1:], pes.falling[after].ravel()[1 + width :]
    f_tag, fallen_tag = (
        pes.falling_tag[before].ravel()[1:], pes.falling_tag[after].ravel()[1 + width :]
    )  # fmt: skip
    sums, s_tag = pes.sums.ravel()[1:], pes.sums_tag.ravel()[1:]
    for k in range(many):
        moved[k] = moving[k]
    for k in range(many):
        moved_tag[k] = m_tag[k]
    for k in range(many):
        fallen[k] = falling[k]
    for k in range(many):
        fallen_tag[k] = f_tag[k]
    for k in range(many):
        sums[k] += moving[k] * falling[k]
    macs = row_words = col_words = sum_words = wrong = np.int32(0)
    for k in range(many):
        m, f, s = m_tag[k], f_tag[k], s_tag[k]
        both = m & f & PRESENT
        other = ((m ^ f) >> FLAGS != 0) | ((m ^ s) & ~low != 0)
        skipped = ((m >> FLAGS) - (s >> FLAGS)) & (low >> FLAGS) != 1
        wrong = np.int32(wrong | both & (other | skipped | (s & (PRESENT | DONE) != PRESENT)))
        works = np.int32(both & (m & f) >> USED_BIT)
        macs = np.int32(macs + works)
        row_words = np.int32(row_words + (works & (m >> WORD_BIT)))
        col_words = np.int32(col_words + (works & (f >> WORD_BIT)))
        sum_words = np.int32(sum_words + (works & (s >> WORD_BIT)))
    for k in range(many):
        now = (m_tag[k] & ~OWN_FLAGS) | (s_tag[k] & OWN_FLAGS)
        s_tag[k] = now if m_tag[k] & f_tag[k] & PRESENT else s_tag[k]
    tally[MACS] += macs
    tally[ROWS_TAKEN] += row_words
    tally[COLS_TAKEN] += col_words
    tally[SUMS_MADE] += sum_words
    if wrong:
        tally[HAZARD] = MISMATCH


@kernel
def finish(
    moving_tag: Ints, falling_tag: Ints, pes: HeldOutputPes, results: Results, tally: Ints,
    place: int, way_out: int,
) -> None:  # fmt: skip
    """Sums that got their last product: read in place, or kept until their column shifts down.

    A tag's place is then the row the sum was made in.
    """
    height, width = pes.sums.shape
    for i in range(height):
        for j in range(1, width):
            m = moving_tag[i, j - 1]
            if not (m & LAST and falling_tag[i, j] & PRESENT):
                continue
            residency = (m >> FLAGS) // place
            word = pes.sums_tag[i, j] & WORD
            tag = (residency * place + i) << FLAGS | word | DONE | PRESENT
            if way_out == IN_PLACE:
                tally[LEFT] += word >> WORD_BIT
                window = residency % len(results.landed)
                land(results, window, i, j - 1, pes.sums[i, j], tally[EDGE], tally)
                pes.sums_tag[i, j] = 0
                continue
            if way_out == SECOND:
                if pes.out_tag[i, j]:
                    tally[HAZARD], tally[ROW], tally[COL] = IN_USE, i, j
                pes.out[i, j], pes.sums_tag[i, j] = pes.sums[i, j], 0
            pes.out_tag[i, j] = tag
            if m & GO:
                leave(pes.out_tag[:, j], tag, tally, place)


@kernel
def leave(column: Ints, tag: int, tally: Ints, place: int) -> None:
    """The sums of a residency set out, all of a column at once."""
    for i in range(len(column)):
        same = (column[i] >> FLAGS) // place == (tag >> FLAGS) // place
        if column[i] & (DONE | LEAVING) == DONE and same:
            column[i] |= LEAVING
            tally[LEAVE] += 1


@kernel
def shift_out(pes: HeldOutputPes, results: Results, tally: Ints, place: int) -> None:
    """Sums on their way out go down a row; from the last one to the register beyond the array."""
    height, width = pes.out.shape
    for i in range(height - 1, -1, -1):
        for j in range(1, width):
            tag = pes.out_tag[i, j]
            if not tag & LEAVING:
                continue
            pes.out_tag[i, j] = 0
            if i + 1 < height:
                if pes.out_tag[i + 1, j]:
                    tally[HAZARD], tally[ROW], tally[COL] = IN_USE, i + 1, j
                pes.out[i + 1, j], pes.out_tag[i + 1, j] = pes.out[i, j], tag
                continue
            tally[LEAVE] -= 1
            tally[LEFT] += (tag >> WORD_BIT) & 1
            residency, origin = (tag >> FLAGS) // place, (tag >> FLAGS) % place
            window = residency % len(results.landed)
            land(results, window, origin, j - 1, pes.out[i, j], tally[EDGE], tally)
