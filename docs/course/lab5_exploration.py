"""Lab 5: design-space exploration under an area budget.

Which array, which buffer, which dataflow?  Candidates for LeNet-5 on `systolic`: 4, 8, 16 or 32
rows, as many columns, 4, 16, 64 or 256 KiB of SRAM, ws or os: 128 designs.  The chip may have 400
000 um2.  Its SRAM holds one set of tiles, those of the fixed rule, and its DRAM is fast enough
never to be waited for.  Let the model run all of them:

    import accelsim as acc
    chip = acc.load_architecture(
        "systolic", {"levels.sram.double_buffered": False, "dram": "unlimited"}
    )
    frame = acc.sweep(
        "lenet5",
        chip,
        grid={
            "array.rows": [4, 8, 16, 32],
            "array.cols": [4, 8, 16, 32],
            "levels.sram.capacity_bytes": [4096, 16384, 65536, 262144],
        },
        dataflows="ws,os",
        tiles="rule",
        total=True,
    )

and look at area_um2, cycles, energy_pj and time_s of each row.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

from grading import Question, kind, run, word

import accelsim as acc

BUDGET = 400_000.0
SIZES = [4, 8, 16, 32]
CAPACITIES = [4096, 16384, 65536, 262144]
PLAIN = {"levels.sram.double_buffered": False, "dram": "unlimited"}
KEYS = ("array.rows", "array.cols", "levels.sram.capacity_bytes")


@cache
def frame() -> Any:
    """All 128 designs, with their energy-delay product."""
    found = acc.sweep(
        "lenet5",
        acc.load_architecture("systolic", PLAIN),
        dict(zip(KEYS, (SIZES, SIZES, CAPACITIES), strict=True)),
        dataflows="ws,os",
        tiles="rule",
        total=True,
        jobs=1,
    )
    return found.assign(edp=found.energy_pj * found.time_s)


def affordable() -> Any:
    """Those within the budget."""
    return frame()[frame().area_um2 <= BUDGET]


def _pareto() -> int:
    """Designs within the budget that no other within it beats in cycles without being larger, or in
    area without being slower.
    """
    points = {(c, a) for c, a in zip(affordable().cycles, affordable().area_um2, strict=True)}
    return sum(not any(p != q and p[0] <= q[0] and p[1] <= q[1] for p in points) for q in points)


def _design(answer: Any, place: Path) -> str | None:
    wanted = {*KEYS, "dataflow"}
    if not isinstance(answer, dict) or set(answer) != wanted:
        return f"the answer is a dictionary with the keys {', '.join(sorted(wanted))}"
    rows = frame()
    for key in (*KEYS, "dataflow"):
        value = answer[key]
        if isinstance(value, (list, dict)):
            return f"{key} is {'a word' if key == 'dataflow' else 'a number'}, got {kind(value)}"
        rows = rows[rows[key] == (word(value) if isinstance(value, str) else value)]
        if not len(rows):
            return f"{key} = {answer[key]!r} is none of the candidates"
    row, best = rows.iloc[0], affordable().edp.min()
    if row.area_um2 > BUDGET:
        return f"it takes {row.area_um2:.0f} um2, {row.area_um2 - BUDGET:.0f} more than there are"
    if row.edp > best * (1 + 1e-9):
        return (
            f"its energy-delay product is {100 * (row.edp / best - 1):.1f} % above that of the "
            "best design that fits"
        )
    return None


QUESTIONS = [
    Question(
        "5.1",
        "How many of the 128 designs keep within 400 000 um2?",
        "Count rows with area_um2 <= 400000.",
        lambda: len(affordable()),
        lambda: [
            (len(affordable()) // 2, "both dataflows count: they are designs of their own"),
            (len(frame()) - len(affordable()), "those are the ones that do not"),
        ],
    ),
    Question(
        "5.2",
        "How few cycles does the fastest of them take?",
        "The least of cycles among the rows within the budget.",
        lambda: int(affordable().cycles.min()),
        lambda: [
            (int(frame().cycles.min()), "that design is larger than the budget"),
            (int(affordable().cycles.max()), "that is the slowest"),
        ],
    ),
    Question(
        "5.3",
        "Give the design within the budget with the least energy-delay product (energy_pj times "
        "time_s), as a dictionary of "
        "array.rows, array.cols, levels.sram.capacity_bytes and dataflow.",
        grade=_design,
    ),
    Question(
        "5.4",
        "Within the budget, how many different points (cycles, area_um2) are Pareto-optimal: no "
        "other is at least as good in both?",
        "Sort by area and keep every row that is faster than all before it.",
        _pareto,
        lambda: [
            (len(affordable()), "most designs are beaten by another in both"),
            (1, "the fastest design is not the smallest: there is a choice"),
        ],
    ),
    Question(
        "5.5",
        "What do you buy for more area here? Of the designs with 16 x 16 PEs under os, does the "
        "one with 256 KiB take fewer, as many, "
        "or more cycles than that with 16 KiB? Answer fewer, same or more.",
        "Nothing in `systolic` waits for memory, and LeNet-5's tiles fit.",
        lambda: _compare(),
        lambda: [
            ("fewer", "no cycle is spent on waiting for memory, so nothing gets faster"),
            ("more", "the tiles are the same or larger"),
        ],
    ),
]


def _compare() -> str:
    rows = frame()[
        (frame()["array.rows"] == 16) & (frame()["array.cols"] == 16) & (frame().dataflow == "os")
    ].set_index(KEYS[2])
    small, large = rows.cycles[16384], rows.cycles[262144]
    return "same" if small == large else "fewer" if large < small else "more"


if __name__ == "__main__":
    sys.exit(run(__doc__ or "", QUESTIONS, "lab5"))
