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

Draw it first.  Then watch it: accelsim animate (see the end of this file) writes a page that plays
all three.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grading import Question, run

import accelsim as acc

GEMM = acc.Gemm(m=3, k=3, n=5, name="gemm")
ARRAY = {"array.rows": 3, "array.cols": 3, "dram": "unlimited"}


def columns(dataflow: Any) -> dict[str, Any]:
    """The model's row, its outputs checked against the golden model."""
    return dict(
        acc.simulate(GEMM, "systolic", dataflow, tiles="rule", overrides=ARRAY, check=True)
        .rows[0]
        .columns
    )


def _of_film(dataflow: str) -> Any:
    return acc.animate(GEMM, "systolic", dataflow, overrides=ARRAY).films[0]


def _first_mac() -> int:
    """The first cycle PE (1, 2) multiplies in, under ws."""
    film = _of_film("ws")
    return film.first + int((film.state[:, 1, 2] & 1).argmax())


def _weight_there() -> list[int]:
    """Filter and input of the weight PE (1, 2) holds, under ws."""
    film = _of_film("ws")
    address = int(next(p for p in film.planes if p.label == "weight").words[-1, 1, 2])
    return [address // 3, address % 3]


def _own_dataflow(answer: Any, place: Path) -> str | None:
    """A turned weight-stationary dataflow: read, run, checked and animated."""
    if not isinstance(answer, str):
        return "the answer is the name of your dataflow file, beside the file of answers"
    if "/" in answer or not answer.isprintable():
        return "the answer is the name of a file that lies beside the file of answers, not a path"
    path = place / answer
    if not path.is_file():
        return f"there is no file {path}"
    try:
        flow = acc.load_dataflow(path)
        row = (
            acc.simulate(GEMM, "systolic", flow, tiles="rule", overrides=ARRAY, check=True)
            .rows[0]
            .columns
        )
    except acc.InputError as error:
        return str(error)
    if row["error"]:
        return f"it does not run: {row['error']}"
    if flow.stays != ("weight",):
        return (
            f"weights are to stay in the PEs; your file lets {', '.join(flow.stays) or 'nothing'} "
            "stay"
        )
    axes = dict(entry.split(":") for entry in flow.space)
    if axes != {"M": "row", "K": "col"}:
        return (
            "M is to lie over rows and K over columns; yours has "
            f"{', '.join(flow.space) or 'nothing'} in space"
        )
    if not row["bit_exact"]:
        return "its outputs differ from the golden model"
    if row["active_pes"] < 9:
        return (
            f"only {row['active_pes']} of 9 PEs work at once; let sizes begin with M:row and "
            "K:col, which fills the array first"
        )
    acc.animate(GEMM, "systolic", flow, overrides=ARRAY).save(path.with_suffix(".html"))
    return None


QUESTIONS = [
    Question(
        "3.1",
        "Under ws, which weight does PE (1, 2) hold? As a list [filter, input].",
        "Rows are inputs (K), columns are filters (M).",
        _weight_there,
        lambda: [
            (
                [1, 2],
                "rows are K and columns are M: PE (1, 2) holds the weight of filter 2 for input 1",
            )
        ],
    ),
    Question(
        "3.2",
        "Under ws, at which edge does PE (1, 2) multiply first?",
        "Three edges bring the weights of column 0; then the first pixel needs i + j edges more to "
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
        lambda: columns("ws")["cycles"],
        lambda: [
            (9, "the weights take r = 3 edges before the first pixel"),
            (5, "that is T alone"),
            (8, "that is preload and T; the last PE is r + c - 2 = 4 edges later"),
            (
                13,
                "the last result is latched r + c - 2 edges after the last pixel enters, not r + c "
                "- 1",
            ),
        ],
    ),
    Question(
        "3.4",
        "And os?",
        "Two folds of T = 3 follow each other without a gap; the last fold has 2 rows and 3 "
        "columns.",
        lambda: columns("os")["cycles"],
        lambda: [
            (10, "the second fold uses only 2 rows: its skew is 2 + 3 - 2"),
            (14, "the second fold need not wait until the first is through"),
            (7, "5 pixels do not fit 3 rows at once"),
            (6, "and then the skew of the last fold"),
        ],
    ),
    Question(
        "3.5",
        "Under os, how many weight words are read from the SRAM?",
        "Each fold streams all weights down the columns, once a column.",
        lambda: columns("os")["sram_weight_reads"],
        lambda: [
            (9, "each of the two folds needs all 9"),
            (45, "a weight goes down its column from PE to PE; it is read once a fold"),
        ],
    ),
    Question(
        "3.6",
        "Under ws, how often is the weight register of a PE read in all 9 PEs together?",
        "Once a MAC.",
        lambda: columns("ws")["reg_weight_reads"],
        lambda: [(9, "9 words, each read once for each of the 5 pixels")],
    ),
    Question(
        "3.7",
        "Which of ws, os and is has the highest utilization here (MACs over PEs times cycles)?",
        "Cycles decide: all have 45 MACs and 9 PEs.",
        lambda: max(("ws", "os", "is"), key=lambda d: columns(d)["utilization"]),
        lambda: [
            ("ws", "ws pays for shifting the weights in, os has nothing to shift in"),
            ("is", "is has two folds and shifts ifmap words in"),
        ],
    ),
    Question(
        "3.8",
        "Write a dataflow file (start from `accelsim show ws --yaml`): weights stay, but the "
        "filters M lie over the rows and K over the "
        "columns, so that sums travel along the rows. The answer is the file's name; it is run, "
        "checked against the golden model, and "
        "played: open the .html beside it.",
        grade=_own_dataflow,
    ),
]

if __name__ == "__main__":
    sys.exit(run(__doc__ or "", QUESTIONS, "lab3"))
