"""The PEs of systolic lines: what their registers hold, and what each does at an edge.

Two kinds of PE: one holds an operand while sums move down, one holds its sum while both operands
move.  ``systolic`` feeds them fold by fold; a kernel here clocks any number of edges.

The rule of the clock: at an edge every register takes what it or its neighbour had before the edge,
and nothing else.  A plane is one kind of register of all PEs, a flat array of rows of ``width`` =
1 + columns places, so that the compiler makes a loop over all PEs wide.  From place k the right
neighbour is k + 1 and the one below k + width.  So all registers of a plane that moves take what
their neighbours had if the place where the plane begins in a longer array goes 1 or ``width`` back:

    edge 3     . . [a b c d]            place k is what comes into PE k at the edge
    edge 4     . [x a b c d]  ->  . [x a b c] d       x entered at the port

Place 0 of a row of ``moving`` is its port.  What the last PE of a row gives comes to the next row's
port, where what enters overwrites it.  Of planes that move down the first row is the ports.

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
READ = 32  # of an operand that the level outside reads
PADDING = PRESENT | USED
A_SUM = PADDING | WORD
OPERAND = A_SUM | READ
GO = 32  # of a sum on its way out
RESIDENCY = 7 << 6
STEP = 9
NUMBER = -1 << STEP  # the bits from here on: they wrap as the tag does
ONE = 1 << STEP
ROW = 16  # of words that are shifted, from this bit on: rows still to go in, or the row come from
AWAY = -1 << ROW
BUBBLE = -2  # the word of a register that holds nothing, or nothing of a MAC's
CHUNK = 4096  # so many PEs are clocked at a time: their registers fit the nearest cache

# Latches in the tally.  OTHER is the operand that does not move along the rows.
(MACS, ROWS_TAKEN, OTHER_TAKEN, SUMS_MADE, ROWS_FED, OTHER_FED, HELD_LATCHED, OPENED, LEFT,
 EDGE, LANDED, LAST_RESULT, SHIFTING, HAZARD, PLACE) = range(15)  # fmt: skip
MISMATCH, UNEXPECTED, IN_USE = 1, 2, 3  # what HAZARD says
IN_PLACE, ACCUMULATORS, REGISTER = range(3)  # ways out of held sums
# Numbers of a fold: the edges of its first shifted word (0: none comes) and of its first operand,
# its size, and whether its words are the first, and the last, of their residency.
PRELOAD, START, STEPS, ROWS, COLS, OPENS, CLOSES = range(7)


class UnderWay(NamedTuple):
    """The folds that are under way: they tell what PEs do on a diagonal."""

    numbers: Ints  # [ring, numbers of a fold] the n-th at n modulo its length
    span: Ints  # [2] the oldest, and the next to come


class Side(NamedTuple):
    """What one side of the array is given, a ring by edge that is empty again once it has
    entered.
    """

    values: Ints  # [edges, lines]
    tags: Ints  # [edges, lines]


class Latches(NamedTuple):
    """The sums of every place that latches results, a column or with held sums a PE: the n-th of
    a place at n modulo the ring, what it begins with until its result is there.
    """

    values: Ints  # [ring, places]
    kinds: Ints  # [ring, places] of held sums
    begun: Ints  # [places] how many
    landed: Ints  # [places]
    given: Ints  # [places]


class HeldOperandPes(NamedTuple):
    """Registers of PEs that hold an operand."""

    moving: Ints  # [longer than rows x width]
    moving_tag: Ints
    falling: Ints  # [longer than rows x width] sums
    falling_tag: Ints
    begin: Ints  # where ``moving`` and ``falling`` begin
    held: Ints  # [rows x width]
    held_tag: Ints
    shadow: Ints  # [(1 + rows) x width] weights shifting in: the second register of a PE, if any
    shadow_tag: Ints  # 64 bits


class HeldOutputPes(NamedTuple):
    """Registers of PEs that hold their sum."""

    moving: Ints  # [longer than rows x width]
    moving_tag: Ints
    falling: Ints  # [longer than rows x width]
    falling_tag: Ints
    begin: Ints  # where ``moving`` and ``falling`` begin
    sums: Ints  # [rows x width]
    sums_tag: Ints
    out: Ints  # [rows x width] what sums leave through: a second one, or the accumulator itself
    out_tag: Ints  # 64 bits


@kernel
def put(side: Side, start: int, values: Ints, kinds: Ints, marks: Ints) -> None:
    """Lay words [steps, lines] before the ports, the first for edge ``start``: line k is k edges
    late.  Tags are their kinds and the ``marks`` of their step.
    """
    for step in range(kinds.shape[0]):
        for line in range(kinds.shape[1]):
            at = (start + step + line) & (len(side.tags) - 1)
            side.values[at, line] = values[step, line]
            side.tags[at, line] = kinds[step, line] | marks[step]


@kernel
def land(sums: Latches, place: int, value: int, tally: Ints) -> None:
    """A result is latched, the next one of its place."""
    n = sums.landed[place]
    if n == sums.given[place]:
        tally[HAZARD] = UNEXPECTED
    sums.values[n & (len(sums.values) - 1), place] = value
    sums.landed[place] = n + 1
    tally[LANDED] += 1
    tally[LAST_RESULT] = tally[EDGE]


@kernel
def pick(sums: Latches, places: Ints, first: Ints, values: Ints) -> None:
    """Results [sums, places], of each place from its ``first`` on."""
    for n in range(values.shape[0]):
        for k in range(len(places)):
            values[n, k] = sums.values[(first[k] + n) & (len(sums.values) - 1), places[k]]


@kernel
def slide(plane: Ints, tags: Ints, begin: int, by: int, many: int) -> int:
    """Every register of a plane takes what the one ``by`` places before had: where it begins now.

    At the front of its array the plane is copied to the end.
    """
    if begin < by:
        end = len(plane) - many
        for k in range(many - 1, -1, -1):
            plane[end + k], tags[end + k] = plane[begin + k], tags[begin + k]
        begin = end
    return begin - by


@kernel
def enter(side: Side, edge: int, values: Ints, tags: Ints, tally: Ints, fed: int) -> None:
    """Show the ports [lines] their words; those the level outside reads are counted at ``fed``."""
    at, read = edge & (len(side.tags) - 1), 0
    given, given_tags = side.values[at], side.tags[at]
    for line in range(len(given)):
        values[line] = given[line]
        given[line] = 0
    for line in range(len(given)):
        tags[line] = given_tags[line]
        read += given_tags[line] & READ
        given_tags[line] = 0
    tally[fed] += read // READ


@kernel
def multiply(moving: Ints, other: Ints, sums: Ints) -> None:
    """Every PE multiplies and adds; all arrays are by PE."""
    kind = sums.dtype.type
    for k in range(len(sums)):
        sums[k] += kind(moving[k]) * kind(other[k])


@kernel
def count(
    moving_tag: Ints, other_tag: Ints, sums_tag: Ints, macs: Any, words: Any, tally: Ints
) -> None:
    """Count ``macs`` that worked (times ``USED``), and how many of each of the three were words:
    all, if those whose three were are as many (``words``, times ``WORD``).  (In 16 bits, which the
    compiler makes widest: PEs are at most CHUNK.)
    """
    odd = words // WORD < macs // USED
    rows = others = sums = np.int16(0 if odd else macs)
    for k in range(len(moving_tag) if odd else 0):
        works = np.int16(moving_tag[k] & other_tag[k] & sums_tag[k] & USED)
        rows = np.int16(rows + (works & (moving_tag[k] >> 1)))
        others = np.int16(others + (works & (other_tag[k] >> 1)))
        sums = np.int16(sums + (works & (sums_tag[k] >> 1)))
    tally[MACS] += macs // USED
    tally[ROWS_TAKEN] += rows // USED
    tally[OTHER_TAKEN] += others // USED
    tally[SUMS_MADE] += sums // USED


# -- an operand held ---------------------------------------------------------------------------


@kernel
def clock_held_operand(
    last: int, goal: int, pes: HeldOperandPes, rows: Side, falling: Side, held: Side,
    folds: UnderWay, sums: Latches, tally: Ints, registers: int, multiplies: bool,
) -> None:  # fmt: skip
    """Clock edges up to ``last``, or until ``goal`` results have been latched, or words collide.

    At an edge operands move right, sums move down and take a product on the way; then weights
    shift down, of two ``registers`` to the second, and are swapped in by the first operand.
    tally[SHIFTING] is the last edge at which a shifted weight may be on its way.
    """
    width, many, two = 1 + falling.tags.shape[1], len(pes.held), registers == 2
    while tally[EDGE] < last and tally[LANDED] < goal and not tally[HAZARD]:
        tally[EDGE] += 1
        edge = tally[EDGE]
        m = pes.begin[0] = slide(pes.moving, pes.moving_tag, pes.begin[0], 1, many)
        s = pes.begin[1] = slide(pes.falling, pes.falling_tag, pes.begin[1], width, many)
        moving, moving_tag = pes.moving[m : m + many - 1], pes.moving_tag[m : m + many - 1]
        total, total_tag = pes.falling[s + 1 : s + many], pes.falling_tag[s + 1 : s + many]
        enter(rows, edge, moving[::width], moving_tag[::width], tally, ROWS_FED)
        enter(falling, edge, total, total_tag, tally, OTHER_FED)
        pes.falling_tag[s] = 0
        open_fold(pes, folds, moving_tag, total_tag, width, two, tally)
        for a in range(0, many - 1, CHUNK):
            z = min(a + CHUNK, many - 1)
            if multiplies:
                multiply(moving[a:z], pes.held[1 + a : 1 + z], total[a:z])
            meet_weights(moving_tag[a:z], pes.held_tag[1 + a : 1 + z], total_tag[a:z], tally)
        if edge <= tally[SHIFTING]:
            shift_weights(pes, held, folds, width, two, tally)
        for column in range(width - 1):
            if total_tag[many - width + column]:
                land(sums, column, total[many - width + column], tally)


@kernel
def meet_weights(moving_tag: Ints, held_tag: Ints, sums_tag: Ints, tally: Ints) -> None:
    """A sum that meets the weight of its residency must meet an operand, and that of its own
    number; one that passes a PE with no weight for it must meet none.  All arrays are by PE.
    """
    wrong = macs = words = np.int16(0)
    for k in range(len(moving_tag)):
        m, h, s = moving_tag[k], held_tag[k], sums_tag[k]
        all_three = np.int16(m & h & s)
        macs, words = np.int16(macs + (all_three & USED)), np.int16(words + (all_three & WORD))
        own = ((s ^ h) & (RESIDENCY | PRESENT)) == 0
        other = np.int16((m ^ s) & (NUMBER | RESIDENCY | PRESENT)) if own else np.int16(m & PRESENT)
        wrong = np.int16(wrong | (other & -(s & PRESENT)))
    if wrong:
        tally[HAZARD] = MISMATCH
    count(moving_tag, held_tag, sums_tag, macs, words, tally)


@kernel
def open_fold(
    pes: HeldOperandPes, folds: UnderWay, moving_tag: Ints, sums_tag: Ints, width: int, two: bool,
    tally: Ints,
) -> None:  # fmt: skip
    """The first sums of a residency, which stand on a diagonal: with an operand one finds its
    weight, or swaps it in from the second register; in rows that are not used, what is held is from
    now on nobody's.
    """
    for n in range(folds.span[0], folds.span[1]):
        fold = folds.numbers[n & (len(folds.numbers) - 1)]
        now = tally[EDGE] - fold[START]
        if not fold[OPENS]:
            continue
        for row in range(max(0, now - fold[COLS] + 1), min(now + 1, len(pes.held) // width)):
            k = 1 + row * width + now - row
            if not sums_tag[k - 1] & FIRST:
                tally[HAZARD] = MISMATCH
            if not moving_tag[k - 1]:
                pes.held_tag[k] = 0
            elif two:
                tag = pes.shadow_tag[k + width]
                pes.held[k], pes.held_tag[k] = pes.shadow[k + width], 0 if tag & AWAY else tag


@kernel
def shift_weights(
    pes: HeldOperandPes, held: Side, folds: UnderWay, width: int, two: bool, tally: Ints
) -> None:
    """Weights with rows still to go move a row down, from the ports on; each stops in its own.

    Rows are walked from the lowest up, so that each takes what the one above it had.
    """
    edge, shadow, shadow_tag = tally[EDGE], pes.shadow, pes.shadow_tag
    enter(held, edge, shadow[1:], shadow_tag[1:], tally, OTHER_FED)
    for n in range(folds.span[0], folds.span[1]):
        fold = folds.numbers[n & (len(folds.numbers) - 1)]
        now = edge - fold[PRELOAD] if fold[PRELOAD] else -1
        first = max(0, now - fold[ROWS] + 1)  # the first column into which a word comes
        for row in range(now - first, -1, -1):
            a, z = row * width + 1 + first, row * width + 1 + min(now - row + 1, fold[COLS])
            latched = still = 0
            for k in range(a, z):
                tag = shadow_tag[k] - (1 << ROW)
                shadow[k + width], shadow_tag[k + width] = shadow[k], tag
                latched += tag & (AWAY | WORD) == WORD
                still += shadow_tag[k] & AWAY == 0
            tally[HELD_LATCHED] += latched
            if still:
                tally[HAZARD] = MISMATCH
            for k in range(a, z if not two else a):  # one register, which has what passes by
                tag = shadow_tag[k + width]
                pes.held[k], pes.held_tag[k] = shadow[k + width], 0 if tag & AWAY else tag


# -- sums held ---------------------------------------------------------------------------------


@kernel
def clock_held_outputs(
    last: int, goal: int, pes: HeldOutputPes, rows: Side, cols: Side, _: Side, folds: UnderWay,
    sums: Latches, tally: Ints, way_out: int, multiplies: bool,
) -> None:  # fmt: skip
    """Clock edges up to ``last``, or until ``goal`` results have been latched, or words collide.

    At an edge finished sums on their way out move down, operands move right and down, and each PE
    that got two adds their product.  tally[SHIFTING] is the number of sums on their way out.
    """
    width, many = 1 + cols.tags.shape[1], len(pes.sums)
    while tally[EDGE] < last and tally[LANDED] < goal and not tally[HAZARD]:
        tally[EDGE] += 1
        edge = tally[EDGE]
        m = pes.begin[0] = slide(pes.moving, pes.moving_tag, pes.begin[0], 1, many)
        f = pes.begin[1] = slide(pes.falling, pes.falling_tag, pes.begin[1], width, many)
        moving, moving_tag = pes.moving[m : m + many - 1], pes.moving_tag[m : m + many - 1]
        falling, falling_tag = pes.falling[f + 1 : f + many], pes.falling_tag[f + 1 : f + many]
        total, total_tag = pes.sums[1:], pes.sums_tag[1:]
        enter(rows, edge, moving[::width], moving_tag[::width], tally, ROWS_FED)
        enter(cols, edge, falling, falling_tag, tally, OTHER_FED)
        pes.falling_tag[f] = 0
        if tally[SHIFTING]:
            shift_out(pes, sums, width, tally)
        begin(pes, folds, sums, moving_tag, falling_tag, width, way_out, tally)
        for a in range(0, many - 1, CHUNK):
            z = min(a + CHUNK, many - 1)
            if multiplies:
                multiply(moving[a:z], falling[a:z], total[a:z])
            meet_operands(moving_tag[a:z], falling_tag[a:z], total_tag[a:z], tally)
        finish(pes, folds, sums, moving_tag, falling_tag, width, way_out, tally)


@kernel
def meet_operands(moving_tag: Ints, falling_tag: Ints, sums_tag: Ints, tally: Ints) -> None:
    """Two operands that meet must be of one number and residency, and those the sum waits for: none
    is lost.  All arrays are by PE.
    """
    wrong = macs = words = np.int16(0)
    for k in range(len(moving_tag)):
        m, f, s = moving_tag[k], falling_tag[k], sums_tag[k]
        all_three = np.int16(m & f & s)
        macs, words = np.int16(macs + (all_three & USED)), np.int16(words + (all_three & WORD))
        both = np.int16(m & f & PRESENT)
        differ = np.int16(((m ^ f) | (m ^ s)) & (NUMBER | RESIDENCY) & -both)
        wrong = np.int16(wrong | differ | (both & ~s))
        sums_tag[k] = np.int16(s + both * ONE)  # the next number
    if wrong:
        tally[HAZARD] = MISMATCH
    count(moving_tag, falling_tag, sums_tag, macs, words, tally)


@kernel
def begin(
    pes: HeldOutputPes, folds: UnderWay, sums: Latches, moving_tag: Ints, falling_tag: Ints,
    width: int, way_out: int, tally: Ints,
) -> None:  # fmt: skip
    """Sums that the first operands of a residency reach, on a diagonal, begin."""
    for n in range(folds.span[0], folds.span[1]):
        fold = folds.numbers[n & (len(folds.numbers) - 1)]
        now = tally[EDGE] - fold[START]
        if not fold[OPENS]:
            continue
        for row in range(max(0, now - fold[COLS] + 1), min(now + 1, fold[ROWS])):
            k, place = 1 + row * width + now - row, row * (width - 2) + now
            m, f = moving_tag[k - 1], falling_tag[k - 1]
            if not (m & FIRST and f):
                tally[HAZARD] = MISMATCH
            if pes.sums_tag[k] or (way_out == ACCUMULATORS and pes.out_tag[k]):
                tally[HAZARD], tally[PLACE] = IN_USE, k
            at = sums.begun[place] & (len(sums.values) - 1)
            word = sums.kinds[at, place] & WORD
            sums.begun[place] += 1
            pes.sums[k] = sums.values[at, place]
            pes.sums_tag[k] = (m & (NUMBER | RESIDENCY)) | (m & f & USED) | word | PRESENT
            tally[OPENED] += word != 0


@kernel
def finish(
    pes: HeldOutputPes, folds: UnderWay, sums: Latches, moving_tag: Ints, falling_tag: Ints,
    width: int, way_out: int, tally: Ints,
) -> None:  # fmt: skip
    """Sums that got their last product, on a diagonal: read in place, or kept until their column
    shifts down.  With the sum of its lowest row in use all of a column sets out.
    """
    for n in range(folds.span[0], folds.span[1]):
        fold = folds.numbers[n & (len(folds.numbers) - 1)]
        now = tally[EDGE] - fold[START] - (fold[STEPS] - 1)
        if not fold[CLOSES]:
            continue
        for row in range(max(0, now - fold[COLS] + 1), min(now + 1, fold[ROWS])):
            k = 1 + row * width + now - row
            if not (moving_tag[k - 1] & LAST and falling_tag[k - 1]):
                tally[HAZARD] = MISMATCH
            word = pes.sums_tag[k] & WORD
            pes.sums_tag[k] = 0
            if way_out == IN_PLACE:
                tally[LEFT] += word != 0
                land(sums, row * (width - 2) + now, pes.sums[k], tally)
                continue
            if pes.out_tag[k]:
                tally[HAZARD], tally[PLACE] = IN_USE, k
            pes.out[k], pes.out_tag[k] = pes.sums[k], LAST | row << ROW
            pes.out_tag[k] |= word
            if row == fold[ROWS] - 1:
                for above in range(k % width, k + 1, width):
                    waits = pes.out_tag[above] & (LAST | GO) == LAST
                    tally[SHIFTING] += waits
                    pes.out_tag[above] |= GO * waits


@kernel
def shift_out(pes: HeldOutputPes, sums: Latches, width: int, tally: Ints) -> None:
    """Sums on their way out go down a row; from the last one to the register beyond the array."""
    bottom = len(pes.out) - width
    for k in range(len(pes.out) - 1, 0, -1):
        tag = pes.out_tag[k]
        if not tag & GO:
            continue
        if k >= bottom:
            tally[SHIFTING] -= 1
            tally[LEFT] += tag & WORD != 0
            land(sums, (tag >> ROW) * (width - 1) + k - bottom - 1, pes.out[k], tally)
        else:
            if pes.out_tag[k + width]:
                tally[HAZARD], tally[PLACE] = IN_USE, k + width
            pes.out[k + width], pes.out_tag[k + width] = pes.out[k], tag
        pes.out_tag[k] = 0
