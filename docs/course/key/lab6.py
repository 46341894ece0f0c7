"""The teacher's key to lab 6: the variant of the lab's text, and how to come to each answer."""

answers = {
    "6.1": [[0, 2, 4, 6], [1, 3, 5, 7], [2, 4, 6, 8]],
    "6.2": [154, 135, 156, 156, 156],
    "6.3": 1.393,
    "6.4": "spad",
    "6.5": "glb",
    "6.6": "os",
    "6.7": 37.92,
}

working = {
    "6.1": "Ofmap row e under filter row r lies on ifmap row 2 e + r.",
    "6.2": "2 sets of 11 x 7 = 154; 5 x 14 + 5 x 13 = 135; 4 sets of 3 x 13 = 156 each.",
    "6.3": "9.53 against 6.84 MACs of energy a MAC.",
    "6.4": (
        "The scratchpads: each MAC reads and writes there, which is what rs trades DRAM and "
        "buffer for."
    ),
    "6.5": (
        "The buffer: without scratchpads every operand comes from it, at 6 a word; a hop costs 2."
    ),
    "6.6": "os: 75.2 against 76.1 (ws) and 196.4 (rs) MACs a MAC.",
    "6.7": "37.92 ms; the chip took 39.2, 3.3 % more.",
}
