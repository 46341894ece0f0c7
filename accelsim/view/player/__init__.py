"""The player: a trace of the cycle engine as one HTML file that replays it and computes nothing of
its own.

``film`` says what is shown, ``filming`` takes it down while the engine runs, ``pack`` makes it
small, ``page`` makes the HTML around it (with ``player.html``, ``player.css`` and ``player.js``),
``animation`` has the call that does all of it.
"""
