"""Lab 1: counting.

A convolution layer has M filters of C x R x S words that slide over C x H x W words of ifmap and
make M x E x F words of ofmap.  With stride U and `pad` zeros on every side E = floor((H + 2 pad -
R) / U) + 1, and every ofmap word takes C x R x S multiply-accumulates (MACs).  Work these out by
hand; a calculator is enough.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grading import Question, run

import accelsim as acc

ALEX1 = acc.Conv2d(M=96, C=3, H=227, W=227, R=11, S=11, stride=4, bias=True, name="conv1")
ALEX2 = acc.Conv2d(M=128, C=48, H=27, W=27, R=5, S=5, padding=2, groups=2, bias=True, name="conv2")
FC6 = acc.Linear(M=4096, C=256, H=6, W=6, name="fc6")


def _a_layer(answer: Any, place: Path) -> str | None:
    """Any layer will do that has the ofmap and the MACs."""
    if not isinstance(answer, dict):
        return (
            "the answer is a dictionary of Conv2d's arguments, like {'M': 4, 'C': 1, 'H': 8, 'W': "
            "8, 'R': 3, 'S': 3}"
        )
    try:
        problem = acc.Conv2d(**answer).problem()
    except (TypeError, ValueError) as error:
        return f"this is no layer: {' '.join(str(error).split())[:200]}"
    if (problem.H, problem.W) != (8, 8):
        return f"the ifmap is {problem.H} x {problem.W}, not 8 x 8"
    if (problem.E, problem.F) != (4, 4):
        return (
            f"the ofmap is {problem.E} x {problem.F}, not 4 x 4: with stride U, E = floor((H + 2 "
            "pad - R) / U) + 1"
        )
    if problem.macs != 9216:
        return f"it has {problem.macs} MACs, not 9216 = 16 pixels x 576: M x C x R x S must be 576"
    return None


QUESTIONS = [
    Question(
        "1.1",
        "AlexNet's conv1 reads 227 x 227 pixels with filters of 11 x 11 at stride 4 and no "
        "padding. How many rows has its ofmap?",
        "Count the places where the filter's first row can lie: floor((H + 2 pad - R) / U) + 1.",
        lambda: ALEX1.problem().E,
        lambda: [
            (54, "the first place counts too: floor((H - R) / U) + 1"),
            (217, "the stride is 4: only every fourth place is used"),
            (56, "the filter must lie inside the ifmap; subtract R before dividing"),
            (57, "the filter must lie inside the ifmap; subtract R before dividing"),
        ],
    ),
    Question(
        "1.2",
        "It has 96 filters over 3 channels. How many MACs does one image take?",
        "Every one of M x E x F ofmap words takes C x R x S MACs.",
        lambda: ALEX1.problem().macs,
        lambda: [
            (96 * 55 * 55 * 121, "each ofmap word sums over all C = 3 channels"),
            (96 * 3 * 227 * 227 * 121, "MACs follow the ofmap's pixels (55 x 55), not the ifmap's"),
            (3 * 55 * 55 * 121, "each of the 96 filters makes a map of its own"),
            (2 * 96 * 3 * 55 * 55 * 121, "a multiplication and an addition together are one MAC"),
        ],
    ),
    Question(
        "1.3",
        "How many parameters has it, with one bias a filter?",
        "M filters of C x R x S weights, and M biases.",
        lambda: ALEX1.parameters,
        lambda: [
            (96 * 3 * 121, "each filter has a bias besides: 96 more"),
            (96 * 3 * 121 + 1, "each filter has a bias of its own: 96, not 1"),
            (96 * 121 + 96, "a filter spans all 3 channels"),
        ],
    ),
    Question(
        "1.4",
        "How many zeros on each side keep the size of an ifmap under a 5 x 5 filter of stride 1?",
        "E = H means 2 pad - R + 1 = 0.",
        lambda: 2,
        lambda: [
            (4, "4 in all, half of them on each side"),
            (1, "1 is for 3 x 3 filters"),
            (5, "the ofmap would grow by 6"),
        ],
    ),
    Question(
        "1.5",
        "AlexNet's conv2 has 256 filters of 5 x 5 on 27 x 27 pixels, padded by 2, over 96 channels "
        "in 2 groups. How many MACs?",
        "A filter sees only the channels of its own group: 48.",
        lambda: ALEX2.problem().macs,
        lambda: [
            (
                2 * ALEX2.problem().macs,
                "in 2 groups a filter sees 48 of the 96 channels, so half of that",
            ),
            (ALEX2.problem().macs // 2, "both groups count: 2 x 128 filters"),
            (256 * 48 * 25 * 23 * 23, "padding by 2 keeps 27 x 27 ofmap pixels"),
        ],
    ),
    Question(
        "1.6",
        "A fully connected layer is a convolution whose filter is as large as its ifmap. AlexNet's "
        "fc6 reads 256 maps of 6 x 6 and has "
        "4096 outputs. How often is each weight used for one image?",
        "E = F = 1: every filter lies in one place only.",
        lambda: FC6.problem().macs // FC6.parameters,
        lambda: [
            (36, "the filter is 6 x 6 itself, it has one place to lie"),
            (4096, "each of the 4096 filters has weights of its own"),
        ],
    ),
    Question(
        "1.7",
        "The batch grows from 1 to 4 images. By what factor do the parameters grow?",
        "The same filters are used for every image.",
        lambda: 1,
        lambda: [(4, "MACs and ifmap words grow by 4; the images share the filters")],
    ),
    Question(
        "1.8",
        "Give a layer of 8 x 8 ifmap whose ofmap is 4 x 4 and that takes 9216 MACs, as a "
        "dictionary of arguments of acc.Conv2d.",
        grade=_a_layer,
    ),
]

if __name__ == "__main__":
    sys.exit(run(__doc__ or "", QUESTIONS, "lab1"))
