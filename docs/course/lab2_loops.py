"""Lab 2: loop nests and reuse.

A layer of 8 filters over 4 channels, 3 x 3, on 8 x 8 pixels padded by 1 (so 8 x 8 again), on a
systolic array of 4 x 4 PEs with an SRAM of 1024 bytes, room for one set of tiles.  Weights and
ifmap words have 8 bits, psums 32.  A loop is written dim:tile:level; it cuts its dimension into
pieces of `tile` that live below `level`.  Inside, both mappings are
    K:4:sram K:1:sram:row M:1:sram:col X:1:reg
(K is C, R, S fused, X is N, E, F); they differ in the order of the two loops at dram:
    A   M:4:dram E:4:dram ...        for each half of the filters, for each half of the ofmap rows
    B   E:4:dram M:4:dram ...        the other way round
Print one with `accelsim show` or `print(show(nest))`.  A buffer holds the tile of the step before,
nothing older.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grading import Question, run

import accelsim as acc

LAYER = acc.Conv2d(M=8, C=4, H=8, W=8, R=3, S=3, padding=1, name="small")
ARRAY = {
    "array.rows": 4,
    "array.cols": 4,
    "levels.sram.capacity_bytes": 1024,
    "levels.sram.double_buffered": False,
}
KEEP = {
    "dram": ("weight", "ifmap", "ofmap"),
    "sram": ("weight", "ifmap", "ofmap"),
    "reg": ("weight",),
}
INNER = "K:4:sram K:1:sram:row M:1:sram:col X:1:reg"


def columns(loops: str) -> dict[str, Any]:
    """The counts of a mapping; raises ValueError for one that is not legal."""
    (row,) = acc.simulate(
        LAYER, "systolic", mapping=acc.Mapping(loops=loops, keep=KEEP), overrides=ARRAY
    ).rows
    if row.nest is None:
        raise ValueError(row.columns["error"])
    return dict(row.columns)


def dram(loops: str) -> int:
    """Words read from DRAM."""
    return sum(
        v for k, v in columns(loops).items() if k.startswith("dram_") and k.endswith("_reads")
    )


LEAST = 8 * 4 * 9 + 4 * 8 * 8  # every weight and every ifmap word once
A, B = (f"{outer} {INNER}" for outer in ("M:4:dram E:4:dram", "E:4:dram M:4:dram"))


def _small_traffic(answer: Any, place: Path) -> str | None:
    if not isinstance(answer, str):
        return "the answer is the loops as one text, like 'M:4:dram E:4:dram K:4:sram ...'"
    try:
        got = dram(answer)
    except ValueError as error:
        return f"the mapping is not legal: {' '.join(str(error).split())[:240]}"
    if got > LEAST:
        return (
            f"it reads {got} words from DRAM, {got - LEAST} of them again; which tensor comes "
            "twice, and which loop makes it so?"
        )
    return None


QUESTIONS = [
    Question(
        "2.1",
        "How many MACs use one weight word?",
        "A weight meets every pixel of its filter's ofmap.",
        lambda: LAYER.problem().macs // (8 * 4 * 9),
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
        "Now M is the inner loop: the weight tile changes at each of the four steps.",
        lambda: columns(B)["dram_weight_reads"],
        lambda: [(288, "the filters come twice: a buffer is no cache, it holds one tile")],
    ),
    Question(
        "2.7",
        "Which of the two reads less from DRAM in all, A or B?",
        "Add weights and ifmap.",
        lambda: "a" if dram(A) < dram(B) else "b",
        lambda: [("b", "B saves 192 ifmap words and pays with 288 weight words")],
    ),
    Question(
        "2.8",
        "Find loops that fit the 1024 bytes and read no word from DRAM twice (below the buffer as "
        "you like, but with weights in reg).",
        grade=_small_traffic,
    ),
]

if __name__ == "__main__":
    sys.exit(run(__doc__ or "", QUESTIONS, "lab2"))
