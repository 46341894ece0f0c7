"""im2col: a convolution as the product of two matrices."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from accelsim.view.style import GREEN, VERMILION, lighter

from .sheet import Sheet, hue


def matrix(side: int = 4, taps: int = 2, filters: int = 2) -> Figure:
    """An ifmap of ``side`` x ``side`` words under filters of ``taps`` x ``taps``: each window
    becomes a column.  A word has one colour wherever it stands: most stand in several columns.
    """
    out = side - taps + 1
    words = np.arange(side * side).reshape(side, side)
    view = np.lib.stride_tricks.sliding_window_view(words, (taps, taps))
    columns = view.reshape(out * out, taps * taps).T
    sheet = Sheet(side + out * out + taps * taps + 9.5, max(side, taps * taps + filters) + 5.5)
    sheet.title(0.8, 0.8, f"ifmap, {side} x {side}", f"the window has {taps} x {taps} words")
    _words(sheet, 0.8, 2.8, words)
    sheet.frame(0.8, 2.8, taps, taps, "black", 1.6)
    x = side + 4.6 + taps * taps
    sheet.title(
        x, 0.8, f"ifmap as a matrix, {taps * taps} x {out * out}: a column a window",
        f"{columns.size} places for {words.size} words",
    )  # fmt: skip
    _words(sheet, x, 2.8, columns)
    sheet.frame(x, 2.8, 1, taps * taps, "black", 1.6)
    y = 2.8 + taps * taps + 1.4
    weight, ofmap = lighter(VERMILION, 0.6), lighter(GREEN, 0.6)
    left = x - taps * taps - 0.6
    sheet.text(left - 0.4, y + filters / 2, f"{filters} filters, a row each", ha="right", size=8)
    for m in range(filters):
        for k in range(taps * taps):
            name = f"{'ab'[m] if filters <= 2 else m}{k}"
            sheet.cell(left + k, y + m, name, weight, size=6.5)
        for k in range(out * out):
            sheet.cell(x + k, y + m, "", ofmap)
    sheet.text(x, y + filters + 0.7, f"ofmap: {filters} maps of {out} x {out}, a row each", size=8)
    return sheet.figure


def _words(sheet: Sheet, x: float, y: float, words: np.ndarray) -> None:
    for i, row in enumerate(words):
        for j, word in enumerate(row):
            sheet.cell(x + j, y + i, word, hue(int(word)), size=7)
