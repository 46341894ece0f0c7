"""Lab 3: three dataflows by hand on a 3 x 3 array, then on the model, then one of your own.

A matrix product: 3 filters (M) over 3 inputs (K) on 5 pixels (X), so 45 MACs, on a systolic array
of 3 x 3 PEs with one register each, beside a memory that is never waited for.  Rows and columns
count from 0.  Edge 1 latches the first word at PE (0, 0); row i is fed i edges after row 0, column
j j edges after column 0; a PE multiplies what arrives and latches on the same edge.

    ws  weights stay: K over rows, M over columns; pixels stream along the rows, sums travel down.
    Weights shift in from
        the top first, a row an edge.
    os  sums stay: X over rows, M over columns; ifmap along the rows, weights down the columns, K in
    time.  5 pixels on 3
        rows are two folds, of 3 and of 2 pixels, and the second follows without a gap; results are
        read in place.
    is  ifmap words stay: K over rows, X over columns.

Draw it first, as below.  Then watch it: python lab3_dataflows.py --film (students: check.py lab3
--film) writes lab3_film.html, which plays all three, and with the name of your own file a film of
that.  On the array, at edge 4 of ws (w held; x streams right; sums move down):

                 column 0        column 1        column 2
                 filter 0        filter 1        filter 2
               +-----------+   +-----------+   +-----------+
    x[0] ----->|  w[0,0]   |-->|  w[1,0]   |-->|  w[2,0]   |     row 0: input 0
               +-----------+   +-----------+   +-----------+
                     | sum           | sum           | sum
               +-----------+   +-----------+   +-----------+
    x[1] . --->|  w[0,1]   |-->|  w[1,1]   |-->|  w[2,1]   |     row 1: input 1, an edge later
               +-----------+   +-----------+   +-----------+
                     |               |               |
               +-----------+   +-----------+   +-----------+
    x[2] . . ->|  w[0,2]   |-->|  w[1,2]   |-->|  w[2,2]   |     row 2: input 2, two edges later
               +-----------+   +-----------+   +-----------+
                     v               v               v
                 output 0        output 1        output 2
"""

from __future__ import annotations

import sys

from grading import Lab, OpenQuestion, Question, run
from trials import film, films, on_three

PIXELS = (5, 7, 4, 8)  # of each variant


def _first_mac() -> int:
    """The first cycle PE (1, 2) multiplies in, under ws."""
    shown = film("ws").films[0]
    return shown.first + int((shown.state[:, 1, 2] & 1).argmax())


def _weight_there() -> list[int]:
    """Filter and input of the weight PE (1, 2) holds, under ws."""
    shown = film("ws").films[0]
    address = int(next(p for p in shown.planes if p.label == "weight").words[-1, 1, 2])
    return [address // 3, address % 3]


def questions(variant: int) -> list[Question]:
    """The questions with a variant's number of pixels."""
    n = PIXELS[variant]
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
                    "rows are K and columns are M: PE (1, 2) holds the weight of filter 2 for "
                    "input 1",
                )
            ],
        ),
        Question(
            "3.2",
            "Under ws, at which edge does PE (1, 2) multiply first?",
            "Three edges bring the weights of column 0; then the first pixel needs i + j edges "
            "more to "
            "PE (i, j).",
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
            "How many cycles does ws take, with the weights shifted in at first?",
            "Preload r, then T pixels, then the skew of r + c - 2 edges.",
            lambda: on_three("ws", n)["cycles"],
            lambda: [
                (n + 4, "the weights take r = 3 edges before the first pixel"),
                (n, "that is T alone"),
                (n + 3, "that is preload and T; the last PE is r + c - 2 = 4 edges later"),
                (
                    n + 8,
                    "the last result is latched r + c - 2 edges after the last pixel enters, not "
                    "r + c "
                    "- 1",
                ),
            ],
        ),
        Question(
            "3.4",
            "And os?",
            f"{folds} folds of T = 3 follow each other without a gap; the last fold has {last} "
            f"rows and "
            "3 columns.",
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
            "Under os, how many weight words are read from the SRAM?",
            "Each fold streams all weights down the columns, once a column.",
            lambda: on_three("os", n)["sram_weight_reads"],
            lambda: [
                (9, f"each of the {folds} folds needs all 9"),
                (9 * n, "a weight goes down its column from PE to PE; it is read once a fold"),
            ],
        ),
        Question(
            "3.6",
            "Under ws, how often is the weight register of a PE read in all 9 PEs together?",
            "Once a MAC.",
            lambda: on_three("ws", n)["reg_weight_reads"],
            lambda: [(9, f"9 words, each read once for each of the {n} pixels")],
        ),
        Question(
            "3.7",
            "Which of ws, os and is has the highest utilization here (MACs over PEs times cycles)?",
            "Cycles decide: all have the same MACs and 9 PEs.",
            lambda: max(("ws", "os", "is"), key=lambda d: on_three(d, n)["utilization"]),
            lambda: [
                ("ws", "ws pays for shifting the weights in, os has nothing to shift in"),
                ("is", "is has several folds and shifts ifmap words in"),
            ],
        ),
        Question(
            "3.8",
            "Write a dataflow file (start from `accelsim show ws --yaml`): weights stay, but the "
            "filters M lie over the rows and K over the "
            "columns, so that sums travel along the rows. The answer is the file's name; it is "
            "run and "
            "checked against the golden model; with --film it is played as well.",
            right=lambda: "lab3_turned.yaml",
            trial="own_dataflow",
            given={"pixels": n},
            points=6,
            minutes=30,
        ),
    ]


LAB = Lab(
    name="lab3",
    title="Three dataflows by hand",
    goals=(
        "follow every word of a small systolic array, edge by edge, under three dataflows",
        "predict when a PE multiplies first and when the last result is there, from the skew",
        "write a dataflow of one's own and see it run right",
    ),
    minutes=120,
    reading=(
        "H. T. Kung, Why systolic architectures?, IEEE Computer 15(1), 1982",
        "docs/teaching/skew.md, docs/time.md",
    ),
    questions=questions,
    open=(
        OpenQuestion(
            "3.9",
            "Play ws and os side by side with --film. Choose one weight word and follow it under "
            "both. Describe its way, how often each PE it meets uses it, and what that means for "
            "wires and registers if the array grows to 256 x 256.",
            (
                (
                    2,
                    "under ws the word enters at the top, shifts down to its PE and stays: one "
                    "use an edge for all pixels",
                ),
                (
                    2,
                    "under os it enters at the top of its column and passes every PE of it, one "
                    "use "
                    "in each, and leaves",
                ),
                (
                    2,
                    "draws a conclusion: wires go to neighbours only in both, a larger array makes "
                    "no wire longer; preload and skew grow with the side",
                ),
            ),
            "Under ws weight [m, k] shifts down column m until it lies in row k and stays there "
            "while the pixels go by, one use an edge. Under os it is fed at the top of column m at "
            "edge k + 1 + m, is used once in each of the rows below, and leaves at the bottom; it "
            "comes "
            "again for the next fold. No wire is longer than to the neighbour, so 256 x 256 "
            "PEs clock as fast; but ws waits 256 edges for its weights and both for 510 of skew, "
            "so each fold must stream many more words than that.",
        ),
    ),
    variants=len(PIXELS),
    told=lambda variant: (
        ""
        if variant == 0
        else f"In your variant there are {PIXELS[variant]} pixels (X) in place of 5."
    ),
)
QUESTIONS = questions(0)


def main() -> int:
    """The lab's command line, and ``--film [FILE.yaml]``, which writes films to watch here."""
    if sys.argv[1:2] == ["--film"]:
        for path in films(sys.argv[2:]):
            print(f"wrote {path}")
        return 0
    return run(__doc__ or "", LAB)


if __name__ == "__main__":
    sys.exit(main())
