"""Your answers to lab 3; None is a question not answered yet."""

student = ""  # your number: it says which variant of the lab is yours

answers = {
    "3.1": None,
    "3.2": None,
    "3.3": None,
    "3.4": None,
    "3.5": None,
    "3.6": None,
    "3.7": None,
    "3.8": None,
    "3.9": None,
    "3.11": [
        # e = 0, e = 1, e = 2
        [None, None, None],  # r = 0
        [None, None, None],  # r = 1
        [None, None, None],  # r = 2
    ],
    "3.12": None,
    "3.13": None,
}

# These are read by a person; a paragraph each.
in_words = {
    "3.10": None,
    "3.14": None,
}
