"""Your answers to lab 1; None is a question not answered yet."""

student = ""  # your number: it says which variant of the lab is yours

answers = {
    "1.1": None,
    "1.2": None,
    "1.3": None,
    "1.4": None,
    "1.5": None,
    "1.6": None,
    "1.7": None,
    "1.8": None,
}

# These are read by a person; a paragraph each.
in_words = {
    "1.9": None,
}
