"""Lab 2: loop nests and reuse.

A loop is written dim:tile:level; it cuts its dimension into pieces of `tile` that live below
`level`, outermost loop first.  dram and sram hold tiles of all three tensors, reg the weight that a
PE multiplies with.  Try loops of your own:

    python check.py lab2 --try "M:4:dram E:4:dram ..."

prints the nest, the tile that each level keeps, and the words that are read; a mapping that does
not fit is told why.  With --sram 512 the SRAM has 512 bytes: for 2.9, once you have argued.
"""

from __future__ import annotations

import sys
from typing import Any

from grading import Lab, OpenQuestion, Question, run
from trials import SMALL, dram_reads, loops_and_sram, small_row, tried

# With half the SRAM nothing reads fewer words from DRAM: 2.9's full answer.
HALVED = "E:4:dram F:1:dram"
INNER = "K:4:sram K:1:sram:row M:1:sram:col X:1:reg"
A, B = (f"{outer} {INNER}" for outer in ("M:4:dram E:4:dram", "E:4:dram M:4:dram"))


def columns(loops: str) -> dict[str, Any]:
    """The counts of a mapping."""
    return dict(small_row(loops).columns)


QUESTIONS = [
    Question(
        "2.1",
        "How many MACs use one weight word (a product with a zero of the padding is one too)?",
        "With which words of its filter's ofmap does a weight have to do?",
        lambda: SMALL.problem().macs // (8 * 4 * 9),
        lambda: [(9, "9 is the filter's size"), (8, "that is one row of the ofmap")],
    ),
    Question(
        "2.2",
        "How many products are added up in one ofmap word?",
        "One for each weight of its filter.",
        lambda: 4 * 9,
        lambda: [
            (9, "the sum runs over the 4 channels too"),
            (8 * 36, "the other filters have ofmap words of their own"),
        ],
    ),
    Question(
        "2.3",
        "Under A a tile has 4 ofmap rows. How many ifmap words (zeros of the padding are none) "
        "does its first tile hold?",
        "4 ofmap rows at stride 1 read 4 + 3 - 1 ifmap rows, and the first of those is padding.",
        lambda: 5 * 8 * 4,
        lambda: [
            (4 * 8 * 4, "ofmap rows read their neighbours too: the halo"),
            (6 * 8 * 4, "the first of the 6 rows is padding, which is nowhere stored"),
            (6 * 10 * 4, "padding is nowhere stored"),
            (40, "all 4 channels are in the tile"),
        ],
    ),
    Question(
        "2.4",
        "Under A, how many weight words are read from DRAM?",
        "The weight tile depends on M only, and M is the outer loop.",
        lambda: columns(A)["dram_weight_reads"],
        lambda: [
            (576, "while the rows go by the filters stand still: they are read once"),
            (144, "there are two halves of the filters"),
        ],
    ),
    Question(
        "2.5",
        "And ifmap words? Mind that the second tile shares rows with the first.",
        "Write down the rows of each of the four steps, then those that the step before did not "
        "have.",
        lambda: columns(A)["dram_ifmap_reads"],
        lambda: [
            (
                256,
                "when the second half of the filters begins, the first rows are no longer in the "
                "buffer",
            ),
            (
                512,
                "the two rows that both tiles share are not read again when the tile moves on (nor "
                "when it moves back)",
            ),
            (640, "the two rows that both tiles share are not read again"),
            (
                320,
                "rows shared by both tiles stay; and the second half of the filters needs the "
                "first tile again",
            ),
        ],
    ),
    Question(
        "2.6",
        "Under B, how many weight words are read from DRAM?",
        "Now M is the inner loop: which weight tile does each of the four steps need?",
        lambda: columns(B)["dram_weight_reads"],
        lambda: [(288, "the filters come twice: a buffer is no cache, it holds one tile")],
    ),
    Question(
        "2.7",
        "Which of the two reads less from DRAM in all, A or B?",
        "Add weights and ifmap.",
        lambda: "a" if dram_reads(A) < dram_reads(B) else "b",
        lambda: [("b", "B reads fewer ifmap words: how many, and how many more weights?")],
    ),
    Question(
        "2.8",
        "Find loops that fit the 1024 bytes and read no word from DRAM twice (below the buffer as "
        "you like, but with weights in reg).",
        right=lambda: f"M:2:dram {INNER}",
        trial="small_traffic",
        points=4,
        minutes=20,
    ),
]

GIVEN = {
    "": "A layer of 8 filters (M) over 4 channels (C), 3 x 3 (R, S), on 8 x 8 pixels padded by 1, "
    "so 8 x 8 ofmap words (E, F) again, batch N of 1; on 4 x 4 PEs with an SRAM of 1024 bytes that "
    "has room for one set of tiles. Weights and ifmap words have 8 bits, psums 32. Padding is "
    "nowhere stored. A buffer holds the tiles of the step before, nothing older: words that the "
    "next step needs too stay, all others are read anew.",
    "A": f"the loops M:4:dram E:4:dram {INNER}: for each half of the filters, for each half of the "
    "ofmap rows.",
    "B": f"the loops E:4:dram M:4:dram {INNER}: for each half of the ofmap rows, for each half of "
    "the filters.",
    "loops": "a text of dim:tile:level, outermost first. N, M, C, E, F, R and S may be cut, and K "
    "(C, R, S as one) and X (N, E, F as one); at dram or sram, each as often as you like, to "
    "smaller and smaller tiles. At :sram:row and :sram:col a piece lies on each row or column of "
    "PEs, so there are at most 4.",
    "DRAM": "the memory outside; every word is there at first, and every word comes from there.",
    "SRAM": "the buffer on the chip, of 1024 bytes.",
    "tile": "the part of a tensor that a level holds at one time.",
    "step": "one turn of the loops at dram.",
}

LAB = Lab(
    name="lab2",
    title="Loop nests and reuse",
    goals=(
        "read a loop nest: which loop lies at which level, which tile a level holds",
        "count by hand how often a tile is fetched, sliding windows included",
        "choose an order of loops and a tile size that fetch nothing twice",
    ),
    minutes=110,
    reading=(
        "Sze, Chen, Yang, Emer, Efficient Processing of Deep Neural Networks, 2020, chapter 5",
        "Lam, Rothberg, Wolf, The cache performance and optimizations of blocked algorithms, "
        "ASPLOS 1991",
    ),
    questions=lambda variant: QUESTIONS,
    given=lambda variant: GIVEN,
    pages=("reuse",),
    open=(
        OpenQuestion(
            "2.9",
            "Take your loops of 2.8 and halve the SRAM to 512 bytes. Here a loop at dram cuts the "
            "tiles of all three tensors at once, and the SRAM has one tile of each, nothing else. "
            "Argue without running anything: can any order of loops still read every word once? "
            "What has to be read again, at least, and which tensor would you choose for that?",
            (
                (2, "adds up a tile's bytes: weights, ifmap, and psums of 4 bytes"),
                (
                    2,
                    "sees what has to stay with each loop outermost: with M the whole ifmap, with "
                    "E all weights, with C all psums; and that none of these fits. As good: says "
                    "that a buffer which keeps one tensor whole while loops cut the others would "
                    "fit, and how: the ifmap kept, M outermost, with psums of a row, 256 + 36 + "
                    "32; or all weights kept, E outermost, with psums of one filter, 288 + 96 + 32",
                ),
                (
                    2,
                    "names a tensor that then comes again, and what it costs in words (with such a "
                    "buffer, that none does: 544 words in all)",
                ),
            ),
            "No word comes twice only if the outermost loop leaves the other tensors in the SRAM. "
            "With M outermost that is the whole ifmap, 256 bytes, and psums of all 64 pixels, 256 "
            "bytes for one filter, and 36 of weights: 548. With E outermost it is all weights, 288 "
            "bytes, 3 rows of ifmap, 96, and psums of one row of 8 filters, 256: 640. With C "
            "outermost all psums stay: 2048. None fits 512, so something comes again. Cheapest is "
            f"to keep all weights and to cut E in halves and, inside, F to columns ({HALVED}): 288 "
            "+ 60 + 128 = 476 bytes fit, and the two ifmap rows that both halves need come twice: "
            "64 words again, 608 in all. Beside the weights there is room for the psums of 5 "
            "pixels at most, and of tiles so small none shares fewer ifmap words. To let another "
            "tensor come again costs more: the ifmap a second time for each half of the filters "
            "(M:4 E:1), 256 words; the weights for each half of the ofmap rows (E:4 M:1), 288; the "
            "psums of half the channels (C:2 E:1), 512. "
            "Hardware need not cut all tensors by "
            "the same loops: a chip that keeps the whole ifmap and runs filter by filter, row by "
            "row, needs 256 + 36 + 32 bytes and reads every word once. To argue so is right, too.",
        ),
    ),
)


def main() -> int:
    """The lab's command line, and ``--try LOOPS``."""
    if sys.argv[1:2] == ["--try"]:
        try:
            print(tried(*loops_and_sram(sys.argv[2:])))
        except ValueError as error:
            print(f"--try: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        return 0
    return run(__doc__ or "", LAB)


if __name__ == "__main__":
    sys.exit(main())
