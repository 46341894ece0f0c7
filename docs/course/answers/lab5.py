"""Your answers to lab 5; None is a question not answered yet."""

answers = {
    "5.1": None,
    "5.2": None,
    "5.3": None,
    "5.4": None,
    "5.5": None,
}
