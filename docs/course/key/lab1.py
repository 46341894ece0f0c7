"""The teacher's key to lab 1: the variant of the lab's text, and how to come to each answer."""

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
    "1.1": "floor((227 - 11) / 4) + 1 = 54 + 1 = 55.",
    "1.2": "96 x 55 x 55 ofmap words, each of 3 x 11 x 11 MACs.",
    "1.3": "96 filters of 363 weights, and 96 biases.",
    "1.4": "E = H means 2 pad = R - 1, so pad = (R - 1) / 2.",
    "1.5": (
        "256 x 27 x 27 ofmap words, each of 48 x 5 x 5 MACs: a filter sees its own group's "
        "channels."
    ),
    "1.6": "E = F = 1, so a weight meets one ifmap word: there is no reuse but over a batch.",
    "1.7": "The images share the filters: parameters stay as they are.",
    "1.8": (
        "16 ofmap pixels leave M x C x R x S = 576 (or its variant). 3 x 3 filters at stride 2 "
        "with padding 1 make 4 x 4 of 8 x 8; then M x C = 64. Any other filter that gives 4 x 4 "
        "is as good."
    ),
}
