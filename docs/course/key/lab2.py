"""The teacher's key to lab 2: the variant of the lab's text, and how to come to each answer."""

answers = {
    "2.1": 64,
    "2.2": 36,
    "2.3": 160,
    "2.4": 288,
    "2.5": 448,
    "2.6": 576,
    "2.7": "A",
    "2.8": "M:2:dram K:4:sram K:1:sram:row M:1:sram:col X:1:reg",
}

working = {
    "2.1": "A weight meets all E x F = 64 pixels of its filter's map.",
    "2.2": "C x R x S = 36.",
    "2.3": "4 ofmap rows read ifmap rows -1 to 4, of which 0 to 4 are real: 5 x 8 x 4 = 160.",
    "2.4": "M is the outer loop and changes once: 2 tiles of 144.",
    "2.5": (
        "Rows 0-4, then 5-7 (3 and 4 are there), then 0-2 (3 and 4 are there again), then 5-7: "
        "14 rows of 8 x 4 words."
    ),
    "2.6": (
        "The tiles come in the order M0 M1 M0 M1, and a buffer holds only the last one: 4 x 144."
    ),
    "2.7": "A reads 288 + 448 = 736, B reads 576 + 256 = 832.",
    "2.8": (
        "All pixels of 2 filters at a time: 72 + 256 + 512 = 840 bytes fit, and no tile comes "
        "twice: 288 + 256 words."
    ),
}
