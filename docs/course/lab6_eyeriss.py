"""Lab 6: Eyeriss.

The chip has 12 x 14 PEs with scratchpads, 108 KB of global buffer and runs row-stationary: each PE
slides a filter row over an ifmap row.  `accelsim run alexnet --arch eyeriss --mapping
eyeriss_alexnet --batch 4 --layer conv1 ...` runs AlexNet's convolutions as the chip ran them (JSSC
2017, tables II and III); `--dataflow rs,ws,os --tiles rule` the same chip under other dataflows
with tiles of the fixed rule.  Energy is in MACs: DRAM 200, buffer 6, PE to PE 2, scratchpad 1 (ISCA
2016)."""

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


QUESTIONS = [
    Question(
        "6.1",
        "How many of the 168 PEs work in each of conv1 to conv5, under the chip's own mappings? A "
        "list of five. (Conv2: a set is 5 filter "
        "rows by 27 ofmap rows, cut in two segments for the 14 columns, and they lie on top of "
        "each other.)",
        "Conv1: two sets of 11 x 7. Conv2: 5 x 14 above 5 x 13. Conv3 to conv5: four sets of 3 x "
        "13.",
        lambda: _chip().active_pes.tolist(),
        lambda: [
            ([168] * 5, "sets do not fill the array: 11 rows of 12, 13 columns of 14"),
            ([154, 140, 156, 156, 156], "conv2's second segment has 13 columns only: 27 = 14 + 13"),
            ([154, 135, 39, 39, 39], "in conv3 to conv5 four sets of 3 x 13 lie side by side"),
        ],
    ),
    Question(
        "6.2",
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
        "6.3",
        "Which level takes the most energy under rs in conv3: dram, glb or spad?",
        "Compare energy_dram_mac, energy_glb_mac and energy_spad_mac.",
        lambda: max(
            ("dram", "glb", "spad"),
            key=lambda k: _rows("rs", ("conv3",))[f"energy_{k}_mac"].iloc[0],
        ),
        lambda: [
            ("dram", "rs is made to use words again in the PE: DRAM is second"),
            ("glb", "few words go through the buffer under rs"),
        ],
    ),
    Question(
        "6.4",
        "And under nlr (no local reuse), which of dram, glb or noc?",
        "Without scratchpads every operand comes from the buffer.",
        lambda: max(
            ("dram", "glb", "noc"),
            key=lambda k: _rows("nlr", ("conv3",))[f"energy_{k}_mac"].iloc[0],
        ),
        lambda: [
            ("dram", "the buffer still keeps words from being fetched again"),
            ("noc", "the network is close, but an access of the buffer costs 6 and a hop 2"),
        ],
    ),
    Question(
        "6.5",
        "Which dataflow of rs, ws and os takes the least energy on the fully connected layers?",
        "There is one pixel: filter rows are not slid, and the fixed rule's tiles for rs fetch "
        "ifmaps again.",
        lambda: min(("rs", "ws", "os"), key=lambda d: per_mac(d, FC)),
        lambda: [
            ("rs", "rs wins where filters slide; here they do not"),
            ("ws", "close, but os is a little less"),
        ],
    ),
    Question(
        "6.6",
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


LAB = Lab(
    name="lab6",
    title="Eyeriss",
    goals=(
        "lay a convolution's rows on the array as the chip does and count the PEs at work",
        "say in words why weights run along rows, ifmap rows along diagonals, sums down columns",
        "compare the model's time with the chip's measured one",
    ),
    minutes=110,
    reading=(
        "Chen, Krishna, Emer, Sze, Eyeriss, IEEE JSSC 52(1), 2017",
        "Chen, Emer, Sze, Eyeriss: a spatial architecture, ISCA 2016",
        "docs/teaching/row_stationary.md",
    ),
    questions=lambda variant: QUESTIONS,
    open=(
        OpenQuestion(
            "6.7",
            "In your own words: why does an ifmap row slide along a diagonal of the array? Draw 3 "
            "x "
            "3 PEs for a filter of 3 rows and an ofmap of 3 rows, write into each PE which filter "
            "row and which ifmap row it holds, and say what changes with stride 2.",
            (
                (
                    2,
                    "the PE in row r and column e makes row r's part of ofmap row e: it needs "
                    "filter row r and ifmap row e + r",
                ),
                (
                    2,
                    "e + r is the same along an anti-diagonal, so one ifmap row serves all of its "
                    "PEs; filter rows lie along rows, sums are added up in columns",
                ),
                (2, "the picture is right: ifmap rows 0 1 2 / 1 2 3 / 2 3 4"),
                (
                    2,
                    "with stride 2 the row is 2 e + r: the diagonal is steeper, fewer PEs share a "
                    "row",
                ),
            ),
            "Ofmap row e is the sum over r of filter row r slid over ifmap row e U + r. Give PE "
            "(r, "
            "e) that pair: filter row r is the same along a row of PEs, the sum over r is down a "
            "column, and ifmap row e + r is the same where r + e is: along an anti-diagonal. Rows "
            "0 1 2 / 1 2 3 / 2 3 4: five ifmap rows for nine PEs. With stride 2 PE (r, e) needs "
            "row "
            "2 e + r: 0 2 4 / 1 3 5 / 2 4 6, seven rows, and a row is shared by two PEs at most.",
        ),
    ),
)


if __name__ == "__main__":
    sys.exit(run(__doc__ or "", LAB))
