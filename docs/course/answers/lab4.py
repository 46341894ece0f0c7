"""Your answers to lab 4; None is a question not answered yet."""

student = ""  # your number: it says which variant of the lab is yours

answers = {
    "4.1": None,
    "4.2": None,
    "4.3": None,
    "4.4": None,
    "4.5": None,
    "4.6": None,
    "4.7": None,
    "4.8": None,
}

# These are read by a person; a paragraph each.
in_words = {
    "4.9": None,
}
