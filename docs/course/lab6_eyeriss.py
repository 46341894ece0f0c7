"""Lab 6: Eyeriss.

The chip has 12 x 14 PEs with scratchpads, 108 KB of global buffer and runs row-stationary: each PE
slides a filter row over an ifmap row (lab 3).  `accelsim run alexnet --arch eyeriss --mapping
eyeriss_alexnet --batch 4 --layer conv1 ...` runs AlexNet's convolutions as the chip ran them (JSSC
2017, tables II and III); `--dataflow rs,ws,os --tiles rule` the same chip under other dataflows
with tiles of the fixed rule.  Energy is in MACs.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from grading import Lab, OpenQuestion, Question, run

import accelsim as acc

CONV = tuple(f"conv{k}" for k in range(1, 6))
FC = ("fc6", "fc7", "fc8")


@cache
def _rows(dataflow: str, layers: tuple[str, ...]) -> Any:
    return acc.simulate(
        "alexnet", "eyeriss", dataflow, layers=layers, batch=4, tiles="rule"
    ).to_frame()


@cache
def _chip() -> Any:
    return acc.simulate(
        "alexnet", "eyeriss", mapping="eyeriss_alexnet", layers=CONV, batch=4
    ).to_frame()


def per_mac(dataflow: str, layers: tuple[str, ...]) -> float:
    """Energy in MACs for each MAC."""
    rows = _rows(dataflow, layers)
    return float(rows.energy_mac.sum() / rows.macs.sum())


STRIDE = 2  # of the grid in 6.1
GRID = [[STRIDE * e + r for e in range(4)] for r in range(3)]

QUESTIONS = [
    Question(
        "6.1",
        f"A filter of 3 rows at stride {STRIDE}, 4 ofmap rows, on 3 x 4 PEs. Which ifmap row does "
        "PE (r, e) need? Fill the grid: a list of three rows (r = 0, 1, 2) of four entries (e = 0, "
        "1, 2, 3).",
        f"For the next ofmap row the filter moves {STRIDE} ifmap rows on.",
        lambda: GRID,
        lambda: [
            (
                [[e + r for e in range(4)] for r in range(3)],
                f"that is stride 1: the filter moves {STRIDE} rows on from an ofmap row to the "
                "next",
            ),
            (
                [[e + STRIDE * r for e in range(4)] for r in range(3)],
                "the stride is the filter's, from ofmap row to ofmap row, not from tap to tap",
            ),
        ],
        points=2,
        minutes=8,
    ),
    Question(
        "6.2",
        "How many of the 168 PEs work in each of conv1 to conv5, under the chip's own mappings? A "
        "list of five. (Conv2: a set is 5 filter rows by 27 ofmap rows, cut in two segments for "
        "the 14 columns, and they lie on top of each other.)",
        "How many rows and columns does a set of each layer have, and how many sets (or segments) "
        "does the table say lie on the array at once?",
        lambda: _chip().active_pes.tolist(),
        lambda: [
            ([168] * 5, "sets do not fill the array: 11 rows of 12, 13 columns of 14"),
            ([154, 140, 156, 156, 156], "conv2's second segment has 13 columns only: 27 = 14 + 13"),
            ([154, 135, 39, 39, 39], "in conv3 to conv5 four sets lie on the array at once"),
        ],
    ),
    Question(
        "6.3",
        "How many times as much energy do conv1 to conv5 (batch 4) take under ws as under rs, both "
        "with tiles of the fixed rule?",
        "energy_mac of the total lines over the five layers.",
        lambda: per_mac("ws", CONV) / per_mac("rs", CONV),
        lambda: [
            (per_mac("rs", CONV) / per_mac("ws", CONV), "the other way round"),
            (per_mac("os", CONV) / per_mac("rs", CONV), "that is os"),
        ],
        within=0.005,
    ),
    Question(
        "6.4",
        "Which level takes the most energy under rs in conv3: dram, glb or spad?",
        "Compare energy_dram_mac, energy_glb_mac and energy_spad_mac.",
        lambda: max(
            ("dram", "glb", "spad"),
            key=lambda k: _rows("rs", ("conv3",))[f"energy_{k}_mac"].iloc[0],
        ),
        lambda: [
            ("dram", "rs is made to use words again: few come from there"),
            ("glb", "few words go through the buffer under rs"),
        ],
    ),
    Question(
        "6.5",
        "And under nlr (no local reuse), which of dram, glb or noc?",
        "Without scratchpads, where does an operand come from at each MAC?",
        lambda: max(
            ("dram", "glb", "noc"),
            key=lambda k: _rows("nlr", ("conv3",))[f"energy_{k}_mac"].iloc[0],
        ),
        lambda: [
            ("dram", "the buffer still keeps words from being fetched again"),
            ("noc", "the network is close, but what does a hop cost, and what an access?"),
        ],
    ),
    Question(
        "6.6",
        "Which dataflow of rs, ws and os takes the least energy on the fully connected layers?",
        "There is one pixel, so filter rows are not slid. Run all three.",
        lambda: min(("rs", "ws", "os"), key=lambda d: per_mac(d, FC)),
        lambda: [
            ("rs", "rs wins where filters slide; here they do not"),
            ("ws", "close, but another is a little less"),
        ],
    ),
    Question(
        "6.7",
        "The chip took 39.2 ms to process conv2 (batch 4) at 200 MHz. How many milliseconds does "
        "the model predict for the array alone, "
        "without waiting for DRAM: cycles less stall_dram_cycles, under the chip's mapping?",
        "Milliseconds = cycles / 200 000.",
        lambda: _processing("conv2"),
        lambda: [(_processing("conv2", waiting=True), "that is with waiting for DRAM")],
        within=0.005,
    ),
]


def _processing(layer: str, waiting: bool = False) -> float:
    row = _chip()[_chip().layer == layer].iloc[0]
    return float((row.cycles - (0 if waiting else row.stall_dram_cycles)) / 200e3)


GIVEN = {
    "": "Eyeriss has 12 x 14 PEs with scratchpads and 108 KB of global buffer and runs "
    "row-stationary: PE (r, e) of a set slides filter row r over the ifmap row that ofmap row e "
    "needs. Layers are AlexNet's, batch 4.",
    "set": "the PEs that make ofmap rows together: as many rows as the filter has, a column for "
    "each ofmap row. Rows and columns of a set, and sets at once: conv1 11 x 7, two; conv2 5 x 27, "
    "one, in two segments; conv3, conv4 and conv5 3 x 13, four.",
    "segments": "parts of a set that has more columns than the array.",
    "rs": "row-stationary.",
    "ws": "weights stay in the PEs.",
    "os": "sums stay in the PEs.",
    "nlr": "no local reuse: PEs without scratchpads.",
    "fixed rule": "--tiles rule: the same tiles in every run, not the best for each.",
    "energy_mac": "energy in MACs: DRAM 200 a word, buffer 6, PE to PE 2, scratchpad 1 (ISCA 2016, "
    "table IV); energy_dram_mac, energy_glb_mac, energy_spad_mac, energy_noc_mac are its parts.",
    "energy_dram_mac": "what accesses of the DRAM take.",
    "energy_glb_mac": "what accesses of the buffer take.",
    "energy_spad_mac": "what accesses of the scratchpads take.",
    "dram": "the memory outside.",
    "glb": "the global buffer.",
    "spad": "the scratchpads in the PEs.",
    "noc": "the network from the buffer to the PEs and between them.",
    "stall_dram_cycles": "cycles in which the array waits for DRAM.",
    "fully connected layers": "fc6, fc7 and fc8, at batch 4.",
}

LAB = Lab(
    name="lab6",
    title="Eyeriss",
    goals=(
        "lay a convolution's rows on the array as the chip does and count the PEs at work",
        "say what a stride costs row-stationary, in ifmap rows and in energy",
        "compare the model's time with the chip's measured one",
    ),
    minutes=110,
    reading=(
        "Chen, Krishna, Emer, Sze, Eyeriss, IEEE JSSC 52(1), 2017",
        "Chen, Emer, Sze, Eyeriss: a spatial architecture, ISCA 2016",
    ),
    questions=lambda variant: QUESTIONS,
    given=lambda variant: GIVEN,
    pages=("row_stationary",),
    open=(
        OpenQuestion(
            "6.8",
            "Lab 3 asked why an ifmap row slides along a diagonal. Now compare a set of conv1 (11 "
            "filter rows, 7 ofmap rows, stride 4) with one of conv3 (3 filter rows, 13 ofmap rows, "
            "stride 1). How many different ifmap rows does each need, and how many PEs share one, "
            "on average? Draw where equal rows lie under stride 4, and say what sharing is worth "
            "in energy in both.",
            (
                (
                    2,
                    "PE (r, e) needs ifmap row U e + r: 4 x 6 + 11 = 35 rows for 77 PEs, 12 + 3 = "
                    "15 rows for 39 PEs",
                ),
                (1, "2.2 PEs share a row in conv1, 2.6 in conv3"),
                (
                    2,
                    "the picture: one column on, a row lies 4 PEs higher, a steeper diagonal; a "
                    "row has at most 3 PEs although the filter has 11",
                ),
                (
                    2,
                    "energy: each further PE that shares spares 6 - 2 = 4 MACs a word; 42 of 77 in "
                    "conv1, 24 of 39 in conv3, or alike",
                ),
            ),
            "Ofmap row e is the sum over r of filter row r slid over ifmap row e U + r, so a set "
            "of R x E PEs needs (E - 1) U + R rows: 35 for conv1's 77 PEs, 15 for conv3's 39. A "
            "row is shared where U e + r is equal: at stride 4 it lies four PEs higher in the next "
            "column, so that of 11 filter rows at most 3 meet it; 2.2 PEs on average, against 2.6 "
            "of at most 3 in conv3. Each PE that has its word from a neighbour (2) or a shared bus "
            "in place of the buffer (6) spares 4 MACs: 42 times a word of each row in conv1, 24 "
            "times in conv3. Large filters would share more, were it not for the stride.",
        ),
    ),
)


if __name__ == "__main__":
    sys.exit(run(__doc__ or "", LAB))
