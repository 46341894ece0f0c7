"""The teacher's key to lab 3: the variant of the lab's text, and how to come to each answer."""

answers = {
    "3.1": [2, 1],
    "3.2": 7,
    "3.3": 12,
    "3.4": 9,
    "3.5": 18,
    "3.6": 45,
    "3.7": [12, "os"],
    "3.8": "lab3_turned.yaml",
    "3.9": [12, "down", "right"],
    "3.11": [[0, 1, 2], [1, 2, 3], [2, 3, 4]],
    "3.12": [3, 6, 4],
    "3.13": [72, 48],
}

working = {
    "3.1": "Columns are filters and rows are inputs: PE (1, 2) has filter 2, input 1.",
    "3.2": "Weights at edges 1 to 3, PE (0, 0) multiplies at 4, PE (1, 2) 1 + 2 edges later.",
    "3.3": "Preload 3, then T = 5 pixels, then the skew 3 + 3 - 2 = 4.",
    "3.4": "Two folds of T = 3, then the skew of the last: 2 + 3 - 2 = 3.",
    "3.5": "2 folds of 9 weights each.",
    "3.6": "Once a MAC: 3 x 3 x 5.",
    "3.7": (
        "Preload 3, two folds of T = 3, then the skew of the last, 3 + 2 - 2 = 3: as many as ws, "
        "whatever the pixels. os: 9 cycles against 12 and 12 for the same 45 MACs."
    ),
    "3.8": (
        "In key/lab3_turned.yaml space is [K:col, M:row] and sizes begin with M:row, K:col; all "
        "else is ws."
    ),
    "3.9": (
        "As many as ws, its mirror image. K lies over the columns, so a column shares its ifmap "
        "words, which go down; a row's products are one filter's, so sums go right."
    ),
    "3.11": "Ofmap row e under filter row r lies on ifmap row e + r.",
    "3.12": "3 filter rows, 3 + 4 - 1 ifmap rows, 4 ofmap rows.",
    "3.13": "(a) 6 x 12 PEs. (b) 6 x 6 rows from the buffer, and 2 for each of the 6 other PEs.",
}
