"""Stacked bars over layers and dataflows: data, blocks of bars, their plan, and the drawing.

``view.plots`` is the door.  A frame becomes tidy data (``bar_data``), these a table of layer by
series for each component (``bar_blocks``); every text is measured and places are found
(``bar_plan``), and only then is anything drawn (``bar_drawing``).
"""
