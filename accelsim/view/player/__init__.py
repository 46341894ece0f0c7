"""The player: a trace of the cycle engine as one HTML file that replays it and computes nothing of
its own.

``animation`` has the call that does all of it; ``scene`` prepares layers, operators and whole
networks with their data (``small_numbers``); ``filming`` takes a layer down while the engine runs,
with ``buffers`` and ``chapters``, ``vector_film`` what an operator does beside the array; ``film``
says what a film holds, ``pack`` makes it small, ``page`` makes the HTML around it: ``player.html``,
``player.css`` and, in one script, ``film.js`` (reading), ``colours.js``, ``array.js``, ``maps.js``,
``timeline.js``, ``panels.js`` and ``player.js``.
"""
