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
}

# These are read by a person; a paragraph each.
in_words = {
    "3.9": None,
}
