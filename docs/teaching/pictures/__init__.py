"""Pictures of what the lectures teach, each drawn by a function from what the model computes.

``docs/teaching/make.py`` draws those of the pages and decks; the labs' notebooks draw their own
with the same functions and other numbers.  A function returns a matplotlib figure that belongs to
no window.
"""
