"""Lab 3: three dataflows by hand on a 3 x 3 array, one of your own, and rows that stay.

A matrix product of 3 filters (M) over 3 inputs (K) on some pixels (X), on a systolic array of 3 x 3
PEs beside a memory that is never waited for.  Rows and columns count from 0.  A PE has a register
for a word of each tensor, and multiplies what arrives on the edge at which it latches it.  Words
that stay have a second register, in which the next ones shift in while the present ones are used.

The array under ws, at work: w stays in its PE, i streams right, sums move down.

                 column 0        column 1        column 2
                 filter 0        filter 1        filter 2
               +-----------+   +-----------+   +-----------+
    i[0] ----->|  w[0,0]   |-->|  w[1,0]   |-->|    ...    |     row 0: input 0
               +-----------+   +-----------+   +-----------+
                     | sum           | sum           | sum
               +-----------+   +-----------+   +-----------+
    i[1] . --->|  w[0,1]   |-->|    ...    |-->|    ...    |     row 1: input 1, an edge later
               +-----------+   +-----------+   +-----------+
                     |               |               |
               +-----------+   +-----------+   +-----------+
    i[2] . . ->|    ...    |-->|    ...    |-->|    ...    |     row 2: input 2, two edges later
               +-----------+   +-----------+   +-----------+
                     v               v               v
                 output 0        output 1        output 2

Draw the array of each dataflow on paper and answer 3.1 to 3.7.  Then watch them:

    python check.py lab3 --film

writes lab3_film.html, which plays ws, os and is with your number of pixels, once these questions
have an answer, and lab3_rows.html once 3.11 to 3.13 have one.  With the name of a dataflow file of
yours, which lies beside the answers, it plays that as well.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from grading import Lab, OpenQuestion, Question, run
from trials import FILMS, film, on_three, own_film, write_film

import accelsim as acc

KEY = Path(__file__).resolve().parent / "key"
PIXELS = (5, 7, 4, 8)  # of each variant
ROWS = ((3, 4), (3, 5), (5, 4), (4, 6))  # filter rows and ofmap rows of each variant, in 3.12
BUFFER, NEIGHBOUR = 6, 2  # energy of one access, in MACs


@cache
def _turned() -> acc.Animation:
    """The key's dataflow, played."""
    return film(acc.load_dataflow(KEY / "lab3_turned.yaml"))


def _first_mac() -> int:
    """The first cycle PE (1, 2) multiplies in, under ws."""
    shown = film("ws").films[0]
    return shown.first + int((shown.state[:, 1, 2] & 1).argmax())


def _weight_there() -> list[int]:
    """Filter and input of the weight PE (1, 2) holds, under ws."""
    shown = film("ws").films[0]
    address = int(next(p for p in shown.planes if p.label == "weight").words[-1, 1, 2])
    return [address // 3, address % 3]


@cache
def _ways(pixels: int) -> tuple[object, ...]:
    """Cycles of the key's dataflow, and where its ifmap words and its sums go."""
    ways = {p.label: p.way for p in _turned().films[0].planes}
    row = on_three(acc.load_dataflow(KEY / "lab3_turned.yaml"), pixels)
    return row["cycles"], ways["ifmap"], ways["psum"]


@cache
def _of_is(pixels: int) -> tuple[object, ...]:
    """Cycles of is, and the dataflow of the highest utilization."""
    rows = {flow: on_three(flow, pixels) for flow in ("ws", "os", "is")}
    return rows["is"]["cycles"], max(rows, key=lambda flow: rows[flow]["utilization"])


def ifmap_rows(filter_rows: int, ofmap_rows: int, stride: int = 1) -> list[list[int]]:
    """Which ifmap row the PE in row r and column e needs."""
    return [[stride * e + r for e in range(ofmap_rows)] for r in range(filter_rows)]


def by_hand(n: int) -> list[Question]:
    """The three dataflows on so many pixels."""
    folds, last = -(-n // 3), (n - 1) % 3 + 1
    return [
        Question(
            "3.1",
            "Under ws, which weight does PE (1, 2) hold? As a list [filter, input].",
            "Rows are inputs (K), columns are filters (M).",
            _weight_there,
            lambda: [
                (
                    [1, 2],
                    "rows are K and columns are M: which of the two is the row of a PE, which its "
                    "column?",
                )
            ],
        ),
        Question(
            "3.2",
            "Under ws, at which edge does PE (1, 2) multiply first?",
            "After which edge are the weights of column 0 in, so that PE (0, 0) can multiply at "
            "the next? From there on PE (i, j) is i + j edges behind PE (0, 0).",
            _first_mac,
            lambda: [
                (4, "that is PE (0, 0): the first pixel has 1 row and 2 columns to go"),
                (6, "PE (0, 0) multiplies at edge 4, not 3: the weights take edges 1 to 3"),
                (3, "the weights come first, edges 1 to 3"),
                (5, "that is PE (1, 0): it has two columns to go"),
            ],
        ),
        Question(
            "3.3",
            "How many cycles does ws take, from the first weight to the last result?",
            "First the weights of column 0 (r edges), then a pixel an edge (T), then the skew: the "
            "last PE is r + c - 2 edges behind the first.",
            lambda: on_three("ws", n)["cycles"],
            lambda: [
                (n + 4, "the weights take r = 3 edges before the first pixel"),
                (n, "that is T alone"),
                (n + 3, "the last PE is r + c - 2 edges behind the first"),
                (
                    n + 8,
                    "the last result is latched r + c - 2 edges after the last pixel enters, not "
                    "r + c - 1",
                ),
            ],
        ),
        Question(
            "3.4",
            "And os?",
            "How many folds do the pixels make, and how many rows does the last one use? Folds of "
            "T edges follow each other without a gap, and then the skew of the last, r + c - 2 "
            "with its own r.",
            lambda: on_three("os", n)["cycles"],
            lambda: [
                (
                    3 * folds + 4,
                    f"the last fold uses only {last} of 3 rows: its skew is {last} + 3 - 2",
                ),
                (7 * folds, "a fold need not wait until the one before is through"),
                (7, f"{n} pixels do not fit 3 rows at once"),
                (3 * folds, "and then the skew of the last fold"),
            ],
        ),
        Question(
            "3.5",
            "Under os, how many weight words are read from the SRAM in all?",
            "Each fold streams all weights down the columns, each once.",
            lambda: on_three("os", n)["sram_weight_reads"],
            lambda: [
                (9, f"each of the {folds} folds needs all 9"),
                (9 * n, "a weight goes down its column from PE to PE; it is read once a fold"),
            ],
        ),
        Question(
            "3.6",
            "Under ws, how often do the 9 PEs together take a weight out of a register to multiply "
            "with it? (Shifting in is no multiplication.)",
            "How many MACs are there, and how many weights does each take?",
            lambda: on_three("ws", n)["reg_weight_reads"],
            lambda: [
                (9, f"there are 9 weights, and each meets each of the {n} pixels"),
                (n, "that is one PE"),
            ],
        ),
        Question(
            "3.7",
            "How many cycles does is take, and which of ws, os and is has the highest utilization? "
            "As a list [cycles, name].",
            "Folds of pixels as under os, each with T = 3 filters that stream; the first fold's "
            "words shift in before, as under ws, the others' while the fold before works. All "
            "three dataflows have the same MACs and PEs, so cycles decide.",
            lambda: _of_is(n),
            lambda: [([_of_is(n)[0], "ws"], "the cycles are right: compare them with all others")],
        ),
    ]


def of_your_own(n: int) -> list[Question]:
    """A dataflow file, and what it does."""
    return [
        Question(
            "3.8",
            "Write a dataflow file (start from `accelsim show ws --yaml`): weights stay, but the "
            "filters M lie over the rows and K over the columns. The answer is the file's name; it "
            "lies beside the file of answers, in the folder answers. It is run and checked "
            "against the golden model.",
            right=lambda: "lab3_turned.yaml",
            trial="own_dataflow",
            given={"pixels": n},
            points=6,
            minutes=15,
        ),
        Question(
            "3.9",
            "Your own dataflow, first on paper, then in its film: how many cycles does it take, "
            "which way do ifmap words go, and which way sums? As a list [cycles, way, way]; a way "
            "is right or down.",
            "What lies over the rows is what a row has in common; sums travel along the axis that "
            "K lies over.",
            lambda: _ways(n),
            lambda: [
                (
                    [_ways(n)[0], "right", "down"],
                    "that is ws: which axis does K lie over now, and along which are its products "
                    "added up?",
                )
            ],
        ),
    ]


def of_rows(rows: int, ofmap_rows: int) -> list[Question]:
    """Row-stationary: who holds which row, and what sharing saves."""
    pes, different = rows * ofmap_rows, rows + ofmap_rows - 1
    return [
        Question(
            "3.11",
            "Under row-stationary, a filter of 3 rows and an ofmap of 3 rows, stride 1, on 3 x 3 "
            "PEs. PE (r, e) slides filter row r over an ifmap row and so makes a part of ofmap row "
            "e. Which ifmap row? Fill the grid: a list of three rows (r = 0, 1, 2) of three "
            "entries (e = 0, 1, 2).",
            "Ofmap row 0 lies where the filter lies on ifmap rows 0, 1 and 2: which of them meets "
            "filter row r? For ofmap row e the filter has moved e rows on.",
            lambda: ifmap_rows(3, 3),
            lambda: [
                ([[0, 1, 2]] * 3, "and the filter row? Ofmap row 0 needs three ifmap rows"),
                ([[0] * 3, [1] * 3, [2] * 3], "the filter moves on: ofmap row 1 needs other rows"),
                ([[1, 2, 3], [2, 3, 4], [3, 4, 5]], "rows count from 0"),
            ],
            points=4,
            minutes=10,
        ),
        Question(
            "3.12",
            f"The same for a filter of {rows} rows and an ofmap of {ofmap_rows} rows, on {rows} x "
            f"{ofmap_rows} PEs. How many different filter rows, ifmap rows and ofmap rows are on "
            "the array? As a list of three.",
            "Draw the grid, and mark in it what is equal.",
            lambda: [rows, different, ofmap_rows],
            lambda: [
                ([rows, pes, ofmap_rows], "several PEs have the same ifmap row: mark them"),
                ([pes, pes, pes], "several PEs have the same row: mark them"),
            ],
        ),
        Question(
            "3.13",
            "Take one word of each ifmap row in the grid of 3.12. What does it take in energy to "
            "bring it to all PEs that need it, (a) if each of them reads it from the buffer, (b) "
            "if it is read from the buffer once and every further PE takes a neighbour's step? "
            "Count buffer and steps only. As a list [a, b], in MACs, for all ifmap rows together.",
            "(a) is one access of the buffer for each PE. For (b): one for each different row, and "
            "a step to a neighbour for every other PE.",
            lambda: [BUFFER * pes, BUFFER * different + NEIGHBOUR * (pes - different)],
            lambda: [
                (
                    [BUFFER * pes, BUFFER * different],
                    "(a) is right; handing on costs a step for each further PE",
                ),
                (
                    [BUFFER * pes, BUFFER * different + NEIGHBOUR * pes],
                    "(a) is right; the first PE of a row has it from the buffer",
                ),
            ],
        ),
    ]


def questions(variant: int) -> list[Question]:
    """The questions with a variant's numbers."""
    n = PIXELS[variant]
    return [*by_hand(n), *of_your_own(n), *of_rows(*ROWS[variant])]


def given(variant: int) -> dict[str, str]:
    """What the questions take as given."""
    n = PIXELS[variant]
    return {
        "": f"A matrix product: 3 filters (M) over 3 inputs (K) on {n} pixels (X), on 3 x 3 PEs; "
        "9 weights w[m,k], ifmap words i[k,x], ofmap words o[m,x].",
        "ws": "weights stay: K over rows, M over columns. Pixels stream along the rows, sums go "
        "down. Edge 1 latches the first weight of column 0, at PE (0, 0); at each edge the "
        "column's weights move one row down and the next enters, until all of them are in. Column "
        "j's weights come j edges later than column 0's.",
        "os": "sums stay: X over rows, M over columns. Ifmap words stream along the rows, weights "
        "down the columns, K in time; edge 1 latches the first of both at PE (0, 0), and results "
        "are read in place. Pixels that the rows have no room for are a further fold.",
        "is": "ifmap words stay: K over rows, X over columns. Weights stream along the rows, one "
        "filter after another, sums travel down; ifmap words shift in as the weights of ws do. "
        "Pixels that the columns have no room for are a further fold.",
        "fold": "the words that the array holds at one time, and what streams past them; under os "
        "the sums. The next fold follows without a gap: its words wait in the second registers.",
        "PE (1, 2)": "the PE in row 1 and column 2.",
        "PE (i, j)": "the PE in row i and column j.",
        "edge": "the end of a clock cycle, at which registers latch; edges and cycles have the "
        "same numbers, from 1. Row i is fed i edges after row 0, column j j edges after column 0.",
        "T": "how many words a row is fed in a fold: all pixels under ws, 3 under os and is.",
        "r": "rows that a fold uses; in 3.11 and on, a filter row.",
        "c": "columns that a fold uses.",
        "skew": "how much later the last PE of a fold does what the first did.",
        "utilization": "MACs over PEs times cycles.",
        "row-stationary": "each PE has registers for a filter row, a piece of an ifmap row and a "
        "psum, and slides one row over the other: a convolution in one dimension. As many PEs work "
        "together for an ofmap row as the filter has rows.",
        "e": "an ofmap row, in 3.11 and on.",
        "buffer": "energy of one access, in MACs (ISCA 2016, table IV): a register in the PE 1, a "
        "neighbour PE 2, the buffer 6, DRAM 200; a sum that is added to is read and written.",
    }


OPEN = (
    OpenQuestion(
        "3.10",
        "Play ws and os side by side. Choose one weight word (a button under the array colours by "
        "weights alone; then point at a PE) and follow it under both. Describe its way, how often "
        "each PE it meets uses it, and what that means for wires and registers if the array grows "
        "to 256 x 256.",
        (
            (
                2,
                "under ws the word enters at the top, shifts down to its PE and stays: one use an "
                "edge for all pixels",
            ),
            (
                2,
                "under os it enters at the top of its column and passes every PE of it, one use in "
                "each, and leaves",
            ),
            (
                2,
                "draws a conclusion: wires go to neighbours only in both, a larger array makes no "
                "wire longer; preload and skew grow with the side",
            ),
        ),
        "Under ws weight [m, k] shifts down column m until it lies in row k and stays there while "
        "the pixels go by, one use an edge. Under os it is fed at the top of column m at edge k + "
        "1 + m, is used once in each of the rows below, and leaves at the bottom; it comes again "
        "for the next fold. No wire is longer than to the neighbour, so 256 x 256 PEs clock as "
        "fast; but ws waits 256 edges for its weights and both for 510 of skew, so each fold must "
        "stream many more words than that.",
    ),
    OpenQuestion(
        "3.14",
        "Look at your grid of 3.11, then at its film. In which direction over the PEs are a filter "
        "row's words shared, in which an ifmap row's, and in which do sums go, and why? And why "
        "does that save energy? Say for each kind of word where it would come from without this "
        "(each PE by itself, operands and sums from the buffer) and what the table says of it.",
        (
            (
                1,
                "PE (r, e) makes filter row r's part of ofmap row e, for which it needs ifmap row "
                "e + r (stride 1)",
            ),
            (1, "filter row r is wanted by all PEs of row r, whatever e: it goes along the row"),
            (
                1,
                "e + r is the same along an (anti-)diagonal, so one ifmap row serves all PEs there",
            ),
            (
                1,
                "ofmap row e is the sum over r of a column's parts, so sums are handed on along it",
            ),
            (
                2,
                "energy: a word comes from the buffer (6) or DRAM (200) once for several PEs, and "
                "reaches the others for a step (2); numbers of 3.12 and 3.13 or alike",
            ),
            (
                2,
                "and inside a PE each row is slid from registers (1): a filter word is used for "
                "every ofmap word of the row, a psum stays for the row's taps, so most accesses "
                "are the cheapest",
            ),
        ),
        "Ofmap row e is the sum over r of filter row r slid over ifmap row e + r, and PE (r, e) "
        "has that pair. Filter row r is the same for all e, so it goes along the row of PEs; ifmap "
        "row e + r is the same where r + e is, along a diagonal; the parts of ofmap row e lie in "
        "one column and are added up along it. Without this each PE would read its words from the "
        "buffer at 6, and write and read back each part of a sum there at 12: now 3 filter rows "
        "and 5 ifmap rows serve 9 PEs, each read once, and the other PEs have them for a step of "
        "2; of three parts of a sum only the finished one goes to the buffer. What comes from DRAM "
        "costs 200, so it comes once. Inside the PE filter row, piece of ifmap row and psum lie in "
        "registers, at 1, and are used again for every word of the ofmap row.",
    ),
)

LAB = Lab(
    name="lab3",
    title="Three dataflows by hand, and rows",
    goals=(
        "follow every word of a small systolic array, edge by edge, under three dataflows",
        "predict when a PE multiplies first and when the last result is there, from the skew",
        "write a dataflow of one's own and see it run right",
        "say why row-stationary's words move as they do, and what that saves in energy",
    ),
    minutes=135,
    reading=(
        "H. T. Kung, Why systolic architectures?, IEEE Computer 15(1), 1982",
        "Chen, Emer, Sze, Eyeriss: a spatial architecture, ISCA 2016, table IV",
    ),
    questions=questions,
    open=OPEN,
    given=given,
    numbers=lambda variant: {"pixels": PIXELS[variant], "rows": ROWS[variant]},
    variants=len(PIXELS),
    pages=("skew", "row_stationary"),
)
QUESTIONS = questions(0)


def main() -> int:
    """The lab's command line, and ``--film [FILE.yaml]``, which writes films to watch here."""
    if sys.argv[1:2] == ["--film"]:
        written = [write_film(name) for name in FILMS]
        written += [own_film(name, Path()) for name in sys.argv[2:]]
        print(*(f"wrote {path}" for path in written), sep="\n")
        return 0
    return run(__doc__ or "", LAB)


if __name__ == "__main__":
    sys.exit(main())
