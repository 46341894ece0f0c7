"""Lab 1: counting.

A convolution layer has M filters of C x R x S words that slide over C x H x W words of ifmap and
make M x E x F words of ofmap.  With stride U and `pad` zeros on every side E = floor((H + 2 pad -
R) / U) + 1, and every ofmap word takes C x R x S multiply-accumulates (MACs).  Work these out by
hand; a calculator is enough.
"""

from __future__ import annotations

import sys

from grading import Lab, OpenQuestion, Question, run

import accelsim as acc

FC6 = acc.Linear(M=4096, C=256, H=6, W=6, name="fc6")

# Of each variant: ifmap side, filter side, stride and filters of the first layer; the filter that
# keeps a size; filters of the grouped layer; MACs of a layer of one's own.
SIZES = (
    (227, 11, 4, 96, 5, 256, 9216),
    (231, 11, 4, 64, 7, 192, 18432),
    (195, 11, 4, 80, 9, 320, 4608),
    (211, 7, 3, 72, 11, 128, 13824),
)


NAMES = ("ifmap_side", "filter_side", "stride", "filters", "keeps", "grouped", "macs")

GIVEN = {
    "": "A convolution layer has M filters of C x R x S words that slide over C x H x W words of "
    "ifmap and make M x E x F words of ofmap: E = floor((H + 2 pad - R) / U) + 1 at stride U with "
    "pad zeros on every side, and F likewise. floor leaves out what is after the point.",
    "MACs": "multiply-accumulates: a multiplication and an addition together.",
    "parameters": "weights and biases.",
    "groups": "filters and channels are dealt out to the groups in equal parts; a filter sees the "
    "channels of its own group.",
    "conv1_2": "VGG-16's second convolution.",
    "acc.Conv2d": "M filters, C channels (both of a group), H, W of the ifmap, R, S of the filter, "
    "stride, padding, groups.",
}


def questions(variant: int) -> list[Question]:
    """The questions with a variant's numbers."""
    h, r, u, m, keeps, grouped, own = SIZES[variant]
    first = acc.Conv2d(M=m, C=3, H=h, W=h, R=r, S=r, stride=u, bias=True)
    second = acc.Conv2d(M=grouped // 2, C=48, H=27, W=27, R=5, S=5, padding=2, groups=2)
    e = first.problem().E
    first_name = "AlexNet's conv1" if variant == 0 else "A layer"
    second_name = "AlexNet's conv2" if variant == 0 else "Another layer"
    return [
        Question(
            "1.1",
            f"{first_name} reads {h} x {h} pixels with filters of {r} x {r} at stride {u} and no "
            "padding. How many rows has its ofmap?",
            "Count the places where the filter's first row can lie: floor((H + 2 pad - R) / U) + "
            "1.",
            lambda: e,
            lambda: [
                (e - 1, "the first place counts too: floor((H - R) / U) + 1"),
                (h - r + 1, f"the stride is {u}: not every place is used"),
                (h // u, "the filter must lie inside the ifmap; subtract R before dividing"),
                (h // u + 1, "the filter must lie inside the ifmap; subtract R before dividing"),
            ],
        ),
        Question(
            "1.2",
            f"It has {m} filters over 3 channels. How many MACs does one image take?",
            "Every one of M x E x F ofmap words takes C x R x S MACs.",
            lambda: first.problem().macs,
            lambda: [
                (m * e * e * r * r, "each ofmap word sums over all C = 3 channels"),
                (
                    m * 3 * h * h * r * r,
                    f"MACs follow the ofmap's pixels ({e} x {e}), not the ifmap's",
                ),
                (3 * e * e * r * r, f"each of the {m} filters makes a map of its own"),
                (
                    2 * m * 3 * e * e * r * r,
                    "a multiplication and an addition together are one MAC",
                ),
            ],
        ),
        Question(
            "1.3",
            "How many parameters has it, with one bias a filter?",
            "M filters of C x R x S weights, and M biases.",
            lambda: first.parameters,
            lambda: [
                (m * 3 * r * r, f"each filter has a bias besides: {m} more"),
                (m * 3 * r * r + 1, f"each filter has a bias of its own: {m}, not 1"),
                (m * r * r + m, "a filter spans all 3 channels"),
            ],
        ),
        Question(
            "1.4",
            f"How many zeros on each side keep the size of an ifmap under filters of {keeps} x "
            f"{keeps} at stride 1?",
            "Put E = H into the formula, and solve it for pad.",
            lambda: (keeps - 1) // 2,
            lambda: [
                (keeps - 1, f"{keeps - 1} in all, half of them on each side"),
                (1, "1 is for 3 x 3 filters"),
                (keeps, f"the ofmap would grow by {keeps + 1}"),
            ],
        ),
        Question(
            "1.5",
            f"{second_name} has {grouped} filters of 5 x 5 on 27 x 27 pixels, padded by 2, over "
            f"96 channels "
            "in 2 groups. How many MACs?",
            "A filter sees only the channels of its own group.",
            lambda: second.problem().macs,
            lambda: [
                (
                    2 * second.problem().macs,
                    "in 2 groups a filter sees 48 of the 96 channels, so half of that",
                ),
                (second.problem().macs // 2, f"both groups count: 2 x {grouped // 2} filters"),
                (grouped * 48 * 25 * 23 * 23, "padding by 2 keeps 27 x 27 ofmap pixels"),
            ],
        ),
        Question(
            "1.6",
            "A fully connected layer is a convolution whose filter is as large as its ifmap. "
            "AlexNet's "
            "fc6 reads 256 maps of 6 x 6 and has "
            "4096 outputs. How often is each weight used for one image?",
            "How many places are there for a filter that is as large as its ifmap?",
            lambda: FC6.problem().macs // FC6.parameters,
            lambda: [
                (36, "the filter is 6 x 6 itself: in how many places can it lie?"),
                (4096, "each of the 4096 filters has weights of its own"),
            ],
        ),
        Question(
            "1.7",
            "The batch grows from 1 to 4 images. By what factor do the parameters grow?",
            "Which words are each image's own, and which do all images use?",
            lambda: 1,
            lambda: [(4, "MACs and ifmap words grow by 4; are there new filters?")],
        ),
        Question(
            "1.8",
            f"Give a layer of 8 x 8 ifmap whose ofmap is 4 x 4 and that takes {own} MACs, as a "
            "dictionary of arguments of acc.Conv2d.",
            right=lambda: {
                **{"M": own // 576, "C": 4, "H": 8, "W": 8, "R": 3, "S": 3},
                **{"stride": 2, "padding": 1},
            },
            trial="a_layer",
            given={"macs": own},
            points=4,
            minutes=10,
        ),
    ]


LAB = Lab(
    name="lab1",
    title="Counting",
    goals=(
        "work out the shape of an ofmap from the filter, stride and padding",
        "count the MACs and parameters of a layer, groups and biases included",
        "say how often a weight is used, and what that means for a layer's speed",
    ),
    minutes=75,
    reading=(
        "Sze, Chen, Yang, Emer, Efficient Processing of Deep Neural Networks, 2020, chapter 2",
        "V. Dumoulin, F. Visin, A guide to convolution arithmetic for deep learning, 2016",
    ),
    questions=questions,
    given=lambda variant: GIVEN,
    numbers=lambda variant: dict(zip(NAMES, SIZES[variant], strict=True)),
    pages=("sliding_window", "layer_by_layer"),
    open=(
        OpenQuestion(
            "1.9",
            "VGG-16's first fully connected layer has 103 million parameters, and its conv1_2 has "
            "37 thousand, but conv1_2 takes 18 times as many MACs. Which of the two would you "
            "expect to wait for memory on a chip of 256 MACs a cycle and 4 words from memory a "
            "cycle, and what would you change to help it?",
            (
                (
                    2,
                    "computes MACs for each weight word: 1 for the fully connected layer, E x F = "
                    "50 176 for conv1_2",
                ),
                (
                    2,
                    "compares with the chip's 64 MACs for each word of memory and names the fully "
                    "connected layer",
                ),
                (2, "says that a batch uses each weight again and helps, up to about 64 images"),
            ),
            "A weight of the fully connected layer meets one ifmap word: 1 MAC for each word "
            "fetched, where the chip needs 256 / 4 = 64 to be busy. It waits for memory 63 of 64 "
            "cycles. In conv1_2 a weight meets 224 x 224 pixels, so memory is no matter. A batch "
            "of "
            "64 images uses each weight 64 times; smaller words or fewer of them (pruning) help "
            "in proportion.",
        ),
    ),
    variants=len(SIZES),
)
QUESTIONS = questions(0)

if __name__ == "__main__":
    sys.exit(run(__doc__ or "", LAB))
