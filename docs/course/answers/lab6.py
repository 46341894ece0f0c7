"""Your answers to lab 6; None is a question not answered yet."""

answers = {
    "6.1": None,
    "6.2": None,
    "6.3": None,
    "6.4": None,
    "6.5": None,
    "6.6": None,
}
