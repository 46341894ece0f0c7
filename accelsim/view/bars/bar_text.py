"""Texts of the bars: how large they are, before anything is drawn, and how they are made shorter.

All lengths are in points.
"""

from __future__ import annotations

import re

_SHORT = {
    "weight_stationary": "ws",
    "output_stationary": "os",
    "input_stationary": "is",
    "row_stationary": "rs",
    "no_local_reuse": "nlr",
}


def text_size(text: str, size: float, *, math: bool = False) -> tuple[float, float]:
    """Width and height of a text, with what hinting adds on a coarse grid."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, height, _ = TextToPath().get_text_width_height_descent(
        text, FontProperties(size=size), ismath=math
    )
    return float(width) * 1.08, float(max(height, size * 0.95)) * 1.06


def widest(texts: list[str], size: float) -> float:
    """Width of the widest text."""
    return max(text_size(text, size)[0] for text in texts)


def tallest(texts: list[str], size: float) -> float:
    """Height of the tallest text."""
    return max(text_size(text, size)[1] for text in texts)


def abbreviated(series: str) -> str:
    """The series' name with the usual two or three letters for a dataflow."""
    for name, letters in _SHORT.items():
        series = re.sub(rf"\b{name.replace('_', '[-_]')}\b", letters, series)
    return series


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters, the middle left out: layers differ at both ends."""
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-half:]}"


def fitting(text: str, size: float, room: float) -> str:
    """The text, shortened until it is no wider than ``room``."""
    limit = len(text)
    while limit > 3 and text_size(shortened(text, limit), size)[0] > room:
        limit -= 1
    return shortened(text, limit)


def wrapped(text: str, size: float, room: float) -> list[str]:
    """Lines no wider than ``room``, broken at spaces; measured as if bold."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_size(f"{lines[-1]} {word}", size * 1.08)[0] <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(fitting(word, size * 1.08, room))
    return lines
