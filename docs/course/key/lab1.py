"""The teacher's key to lab 1, with the working."""

answers = {
    "1.1": 55,  # floor((227 - 11) / 4) + 1 = 54 + 1
    "1.2": 105_415_200,  # 96 x 55 x 55 ofmap words x 3 x 11 x 11
    "1.3": 34_944,  # 96 x 363 weights + 96 biases
    "1.4": 2,  # (R - 1) / 2
    "1.5": 223_948_800,  # 256 x 27 x 27 ofmap words x 48 x 5 x 5
    "1.6": 1,  # E = F = 1, so a weight meets one ifmap word: no reuse but over a batch
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
    },  # 16 pixels x 16 x 36; 4 x 144 = 576
}
