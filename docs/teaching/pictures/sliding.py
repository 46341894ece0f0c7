"""The sliding window: stride, padding, dilation, and a stride that does not fit."""

from __future__ import annotations

from matplotlib.figure import Figure

from accelsim import Conv2d
from accelsim.workload.problem import Problem

from .sheet import HUES, PALE, PLAIN, Sheet

LOST = "#f7d4c8"


def windows(cases: dict[str, Conv2d]) -> Figure:
    """Each layer's padded ifmap with its first, second and last window, and its ofmap.

    Cells of padding are dashed, those that no window reads are red.  ``cases``: title to a layer
    of one channel.
    """
    problems = {title: layer.problem() for title, layer in cases.items()}
    widths = [_width(p) for p in problems.values()]
    heights = [p.H + p.padding[0] + p.padding[1] for p in problems.values()]
    sheet = Sheet(sum(widths) + 1.5 * len(widths) + 0.5, max(heights) + 4.6)
    x = 0.8
    for (title, p), width in zip(problems.items(), widths, strict=True):
        _case(sheet, x, title, p)
        x += width + 1.5
    return sheet.figure


def _width(p: Problem) -> float:
    return max(p.W + p.padding[2] + p.padding[3] + 1.2 + p.F, 9.5)


def _case(sheet: Sheet, x: float, title: str, p: Problem) -> None:
    top, bottom, left, right = p.padding
    (u, v), (d, e) = p.stride, p.dilation
    rows, cols = p.H + top + bottom, p.W + left + right
    sheet.title(x, 0.8, title, f"({rows} - {d * (p.R - 1) + 1}) / {u} + 1 = {_side(p, rows)}")
    y = 3.0
    read = {
        (i * u + r, j * v + s)
        for i in range(p.E)
        for j in range(p.F)
        for r in range(d * (p.R - 1) + 1)
        for s in range(e * (p.S - 1) + 1)
    }
    for i in range(rows):
        for j in range(cols):
            real = top <= i < top + p.H and left <= j < left + p.W
            lost = (i, j) not in read
            face = LOST if lost and real else PLAIN if real else PALE
            sheet.cell(x + j, y + i, "" if real else "0", face, dashed=not real, ink="#888888")
    places = ((0, 0), (0, 1), (p.E - 1, p.F - 1))
    for k, (i, j) in enumerate(dict.fromkeys(p_ for p_ in places if p_[1] < p.F)):
        _taps(sheet, x, y, p, (i, j), HUES[k])
    at = x + cols + 0.6
    for i in range(p.E):
        for j in range(p.F):
            mark = [HUES[k] for k, place in enumerate(places) if place == (i, j)]
            sheet.cell(at + j, y + i, "", mark[0] if mark else PLAIN)
    told = f"ofmap {p.E} x {p.F}"
    if len(read) < rows * cols:
        told += ": the red words are read by no window"
    sheet.text(x, y + rows + 0.9, told, size=7.5)


def _side(p: Problem, rows: int) -> str:
    whole, rest = divmod(rows - p.dilation[0] * (p.R - 1) - 1, p.stride[0])
    return f"{whole + 1}" if not rest else f"{whole + rest / p.stride[0] + 1:.3g}: not whole"


def _taps(sheet: Sheet, x: float, y: float, p: Problem, at: tuple[int, int], hue: str) -> None:
    """One window: a frame, and with a dilation a dot in each word that is read."""
    (u, v), (d, e) = p.stride, p.dilation
    i, j = at[0] * u, at[1] * v
    sheet.frame(x + j, y + i, e * (p.S - 1) + 1, d * (p.R - 1) + 1, hue)
    if (d, e) != (1, 1):
        for r in range(p.R):
            for s in range(p.S):
                sheet.text(x + j + s * e + 0.5, y + i + r * d + 0.5, "●", color=hue, ha="center")
