"""Lab 5: design-space exploration under an area budget.

Which array, which buffer, which dataflow?  Candidates for LeNet-5 on `systolic`: 4, 8, 16 or 32
rows, as many columns, 4, 16, 64 or 256 KiB of SRAM, ws or os: 128 designs, of which the chip's area
allows some.  Its SRAM holds one set of tiles, those of the fixed rule, and its DRAM is fast enough
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

from grading import Lab, OpenQuestion, Question, run
from trials import KEYS, affordable, designs

# um2, of each variant: no two with the same designs within them.
BUDGETS = (400_000, 200_000, 450_000, 250_000)


def _pareto(budget: float) -> int:
    """Designs within the budget that no other within it beats in cycles without being larger, or in
    area without being slower.
    """
    points = {
        (c, a) for c, a in zip(affordable(budget).cycles, affordable(budget).area_um2, strict=True)
    }
    return sum(not any(p != q and p[0] <= q[0] and p[1] <= q[1] for p in points) for q in points)


def _best(budget: float) -> dict[str, object]:
    """The design of the least energy-delay product within the budget."""
    rows = affordable(budget)
    row = rows.loc[rows.edp.idxmin()]
    return {key: int(row[key]) for key in KEYS} | {"dataflow": str(row.dataflow)}


def _compare() -> str:
    rows = designs()[
        (designs()["array.rows"] == 16)
        & (designs()["array.cols"] == 16)
        & (designs().dataflow == "os")
    ].set_index(KEYS[2])
    small, large = rows.cycles[16384], rows.cycles[262144]
    return "same" if small == large else "fewer" if large < small else "more"


def questions(variant: int) -> list[Question]:
    """The questions with a variant's budget."""
    budget = BUDGETS[variant]
    return [
        Question(
            "5.1",
            f"How many of the 128 designs keep within {budget:,} um2?",
            f"Count rows with area_um2 <= {budget}.",
            lambda: len(affordable(budget)),
            lambda: [
                (
                    len(affordable(budget)) // 2,
                    "both dataflows count: they are designs of their own",
                ),
                (len(designs()) - len(affordable(budget)), "those are the ones that do not"),
            ],
        ),
        Question(
            "5.2",
            "How few cycles does the fastest of them take?",
            "The least of cycles among the rows within the budget.",
            lambda: int(affordable(budget).cycles.min()),
            lambda: [
                (int(designs().cycles.min()), "that design is larger than the budget"),
                (int(affordable(budget).cycles.max()), "that is the slowest"),
            ],
        ),
        Question(
            "5.3",
            "Give the design within the budget with the least energy-delay product (energy_pj "
            "times "
            "time_s), as a dictionary of "
            "array.rows, array.cols, levels.sram.capacity_bytes and dataflow.",
            right=lambda: _best(budget),
            trial="design",
            given={"budget": budget},
            points=4,
            minutes=15,
        ),
        Question(
            "5.4",
            "Within the budget, how many different points (cycles, area_um2) are Pareto-optimal?",
            "Sort by area and keep every row that is faster than all before it.",
            lambda: _pareto(budget),
            lambda: [
                (len(affordable(budget)), "most designs are beaten by another in both"),
                (1, "the fastest design is not the smallest: there is a choice"),
            ],
        ),
        Question(
            "5.5",
            "What do you buy for more area here? Of the designs with 16 x 16 PEs under os, does "
            "the "
            "one with 256 KiB take fewer, as many, "
            "or more cycles than that with 16 KiB? Answer fewer, same or more.",
            "What would the array wait for with the small buffer, and does it?",
            _compare,
            lambda: [
                ("fewer", "does any cycle pass in waiting for memory here?"),
                ("more", "the tiles are no smaller"),
            ],
        ),
    ]


def given(variant: int) -> dict[str, str]:
    """What the questions take as given."""
    return {
        "": "128 designs for LeNet-5 on systolic: 4, 8, 16 or 32 rows, as many columns, 4, 16, 64 "
        "or 256 KiB of SRAM, ws or os. The SRAM holds one set of tiles, those of the fixed rule; "
        f"the DRAM is never waited for. Your chip may have {BUDGETS[variant]:,} um2.",
        "area_um2": "area of a design.",
        "cycles": "of one image.",
        "energy_pj": "energy of one image.",
        "time_s": "time of one image in seconds.",
        "array.rows": "rows of PEs.",
        "array.cols": "columns of PEs.",
        "levels.sram.capacity_bytes": "size of the SRAM; 1 KiB is 1024 bytes.",
        "dataflow": "ws or os.",
        "ws": "weights stay in the PEs.",
        "os": "sums stay in the PEs.",
        "Pareto-optimal": "no other design is at least as good in both and better in one.",
    }


LAB = Lab(
    name="lab5",
    title="Design-space exploration",
    goals=(
        "let the model run a grid of designs and read the table it makes",
        "draw a Pareto front and say which designs are on it, and why",
        "choose a design under a budget and defend the choice",
    ),
    minutes=100,
    reading=(
        "Sze, Chen, Yang, Emer, Efficient Processing of Deep Neural Networks, 2020, chapter 6",
        "accelsim sweep --help",
    ),
    questions=questions,
    given=given,
    numbers=lambda variant: {"budget": BUDGETS[variant]},
    pages=("reuse",),
    open=(
        OpenQuestion(
            "5.6",
            "Draw cycles over area of the designs within the budget, with their front (those that "
            "are Pareto-optimal; the notebook has a cell for it). Your chip is for a camera that "
            "needs 30 frames a second at 200 MHz and runs on a battery. Which design do you build, "
            "and which two would another customer build? Mark the three in the picture and argue "
            "with its numbers.",
            (
                (
                    2,
                    "has the picture, and marks or names in it the three designs that it speaks of",
                ),
                (
                    2,
                    "sees that every design meets 30 frames a second by far, so speed beyond that "
                    "buys nothing",
                ),
                (2, "then decides by energy or area and names the design with its numbers"),
                (
                    2,
                    "names other points of the front for other wishes (fastest within the budget, "
                    "smallest)",
                ),
            ),
            "30 frames a second at 200 MHz leave 6.7 million cycles a frame; LeNet-5 takes some "
            "ten thousand on every design within the budget, so speed is no criterion. On a "
            "battery "
            "energy decides, and static energy grows with area and time: the design of 5.3 has the "
            "least energy times delay, the smallest array that comes near its energy is "
            "cheaper. A customer who wants the fastest takes the left end of the front, one who "
            "pays by area its lower end.",
        ),
    ),
    variants=len(BUDGETS),
)
QUESTIONS = questions(0)


if __name__ == "__main__":
    sys.exit(run(__doc__ or "", LAB))
