"""The teacher's key to lab 3, with the working."""

answers = {
    "3.1": [2, 1],  # column 2 is filter 2, row 1 is input 1
    "3.2": 7,  # weights at edges 1 to 3, PE (0, 0) at 4, then 1 + 2 edges on
    "3.3": 12,  # 3 + 5 + (3 + 3 - 2)
    "3.4": 9,  # 3 + 3 + (2 + 3 - 2)
    "3.5": 18,  # 2 folds x 9
    "3.6": 45,  # one a MAC
    "3.7": "os",  # 9 cycles against 12 and 12
    "3.8": "lab3_turned.yaml",
}
