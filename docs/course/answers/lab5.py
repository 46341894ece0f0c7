"""Your answers to lab 5; None is a question not answered yet."""

student = ""  # your number: it says which variant of the lab is yours

answers = {
    "5.1": None,
    "5.2": None,
    "5.3": None,
    "5.4": None,
    "5.5": None,
}

# These are read by a person; a paragraph each.
in_words = {
    "5.6": None,
}
