"""The teacher's key to lab 1: the variant of the lab's text, and how to come to each answer, with
the ``numbers`` of a variant filled in.
"""

from typing import Any

answers = {
    "1.1": 55,
    "1.2": 105_415_200,
    "1.3": 34_944,
    "1.4": 2,
    "1.5": 223_948_800,
    "1.6": 1,
    "1.7": 1,
    "1.8": {
        "M": 16,
        "C": 4,
        "H": 8,
        "W": 8,
        "R": 3,
        "S": 3,
        "stride": 2,
        "padding": 1,
    },
}

working = {
    "1.1": "floor(({h} - {r}) / {u}) + 1 = {steps} + 1 = {e}.",
    "1.2": "{m} x {e} x {e} ofmap words, each of 3 x {r} x {r} MACs.",
    "1.3": "{m} filters of {weights} weights, and {m} biases.",
    "1.4": "E = H means 2 pad = R - 1, so pad = ({keeps} - 1) / 2 = {pad}.",
    "1.5": (
        "{grouped} x 27 x 27 ofmap words, each of 48 x 5 x 5 MACs: a filter sees its own group's "
        "channels."
    ),
    "1.6": "E = F = 1, so a weight meets one ifmap word: there is no reuse but over a batch.",
    "1.7": "The images share the filters: parameters stay as they are.",
    "1.8": (
        "16 ofmap pixels leave M x C x R x S = {each}. 3 x 3 filters at stride 2 with padding 1 "
        "make 4 x 4 of 8 x 8; then M x C = {pairs}. Any other filter that gives 4 x 4 is as good."
    ),
}


def numbers(variant: int) -> dict[str, Any]:
    """What the working of a variant is told with."""
    from lab1_counting import SIZES

    h, r, u, m, keeps, grouped, own = SIZES[variant]
    steps = (h - r) // u
    made = {"steps": steps, "e": steps + 1, "weights": 3 * r * r, "pad": (keeps - 1) // 2}
    made |= {"each": own // 16, "pairs": own // 16 // 9}
    return made | {"h": h, "r": r, "u": u, "m": m, "keeps": keeps, "grouped": grouped}
