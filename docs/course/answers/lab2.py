"""Your answers to lab 2; None is a question not answered yet."""

student = ""  # your number: it says which variant of the lab is yours

answers = {
    "2.1": None,
    "2.2": None,
    "2.3": None,
    "2.4": None,
    "2.5": None,
    "2.6": None,
    "2.7": None,
    "2.8": None,
}

# These are read by a person; a paragraph each.
in_words = {
    "2.9": None,
}
