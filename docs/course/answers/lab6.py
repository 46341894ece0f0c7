"""Your answers to lab 6; None is a question not answered yet."""

student = ""  # your number: it says which variant of the lab is yours

answers = {
    "6.1": [
        # e = 0, e = 1, e = 2, e = 3
        [None, None, None, None],  # r = 0
        [None, None, None, None],  # r = 1
        [None, None, None, None],  # r = 2
    ],
    "6.2": None,
    "6.3": None,
    "6.4": None,
    "6.5": None,
    "6.6": None,
    "6.7": None,
}

# These are read by a person; a paragraph each.
in_words = {
    "6.8": None,
}
