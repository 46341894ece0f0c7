"""The teacher's key to lab 2, with the working."""

answers = {
    "2.1": 64,  # E x F
    "2.2": 36,  # C x R x S
    "2.3": 160,  # ifmap rows -1 to 4, of which 0 to 4 are real: 5 x 8 x 4
    "2.4": 288,  # M changes once: 2 x 144
    # rows 0-4, then 5-7 (3-4 are there), then 0-2 (3-4 are there again), then 5-7: 14 rows x 8 x 4
    "2.5": 448,
    "2.6": 576,  # M0 M1 M0 M1: 4 x 144
    "2.7": "A",  # 288 + 448 = 736 against 576 + 256 = 832
    # all pixels of 2 filters: 72 + 256 + 512 bytes; 288 + 256 words
    "2.8": "M:2:dram K:4:sram K:1:sram:row M:1:sram:col X:1:reg",
}
