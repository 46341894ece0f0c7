"""A sheet ruled in cells: maps of words are drawn on it, and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from accelsim.view.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, YELLOW, lighter

UNIT = 0.27  # inches a cell
TEXT = 8.0
LINE = "#9a9a9a"
# The house's seven, then three that are as far from them: labs show up to nine rows of an ifmap.
HUES = (
    *(lighter(c, 0.35) for c in (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW)),
    "#a78bfa", "#a4e05a", "#f2728c",
)  # fmt: skip
PLAIN, PALE = "#ffffff", "#ececec"
# Each tensor has hues of its own, as in the player: degrees of Oklch (Ottosson 2020).
FAMILIES = {"weight": (-25, 52), "ifmap": (195, 292), "ofmap": (85, 163)}
STEPS = (0.4354771765, 0.6180339887, 0.15490461)  # the player's, in hue, lightness and chroma


def hue(number: int) -> str:
    """A colour of its own for each of some words: ten, then each lighter."""
    round_, place = divmod(number, len(HUES))
    return lighter(HUES[place], min(0.3 * round_, 0.75))


def word_hue(tensor: str, number: int) -> str:
    """A colour of its own for each word of a tensor, which no word of another has, by the player's
    rule: hue, lightness and chroma are an additive sequence, so that words of near numbers are
    far apart; pale ones have less chroma, which a screen has less of there.
    """
    first, last = FAMILIES[tensor]
    hue, light, strength = ((0.5 + number * step) % 1 for step in STEPS)
    angle, light = radians(first + (last - first) * hue), 0.62 + 0.31 * light
    chroma = (0.065 + 0.1 * strength) * (1.5 - light)
    a, b = chroma * cos(angle), chroma * sin(angle)
    x = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    y = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    z = (light - 0.0894841775 * a - 1.291485548 * b) ** 3
    linear = (
        4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z,
        -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z,
        -0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z,
    )
    cut = (min(1.0, max(0.0, v)) for v in linear)
    shown = (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in cut)
    return "#" + "".join(f"{round(255 * v):02x}" for v in shown)


class Sheet:
    """A figure of ``width`` by ``height`` cells, the origin at the top left."""

    def __init__(self, width: float, height: float, unit: float = UNIT) -> None:
        self.figure = Figure(figsize=(width * unit, height * unit), facecolor="white")
        self.axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.axis("off")

    def cell(self, x: float, y: float, text: object = "", face: str = PLAIN, **look: Any) -> None:
        """One word.  ``look``: edge, width, dashed, size, w, h, ink, hatch."""
        w, h = look.get("w", 1), look.get("h", 1)
        self.axes.add_patch(
            Rectangle(
                (x, y), w, h, facecolor=face, edgecolor=look.get("edge", LINE),
                linewidth=look.get("width", 0.7), hatch=look.get("hatch"),
                linestyle=(0, (2, 2)) if look.get("dashed") else "solid", zorder=2,
            )
        )  # fmt: skip
        if text != "":
            ink, size = look.get("ink", "black"), look.get("size", TEXT)
            self.text(x + w / 2, y + h / 2, text, ha="center", size=size, color=ink)

    def frame(self, x: float, y: float, w: float, h: float, colour: str, width: float = 2) -> None:
        """A window: a border around cells."""
        self.axes.add_patch(
            Rectangle(
                (x, y), w, h, fill=False, edgecolor=colour, linewidth=width, zorder=5,
                joinstyle="round",
            )
        )  # fmt: skip

    def text(self, x: float, y: float, text: object, **more: Any) -> None:
        """Text, from the left unless ``ha`` says so."""
        size, colour = more.pop("size", TEXT), more.pop("color", "black")
        told = {"ha": "left", "va": "center_baseline"} | more
        self.axes.text(x, y, str(text), fontsize=size, color=colour, zorder=6, **told)

    def title(self, x: float, y: float, text: str, note: str = "") -> None:
        """What a part shows, and below it a line in grey."""
        self.text(x, y, text, size=TEXT + 1, weight="bold")
        if note:
            self.text(x, y + 0.95, note, size=TEXT - 0.5, color="#555555")

    def line(self, a: tuple[float, float], b: tuple[float, float], colour: str) -> None:
        """A broad line from a to b, below cells and arrows: what lies at its ends is the same."""
        self.axes.plot(
            [a[0], b[0]], [a[1], b[1]], color=colour, linewidth=5, solid_capstyle="butt", zorder=1
        )

    def arrow(self, a: tuple[float, float], b: tuple[float, float], colour: str = INK) -> None:
        """From a to b."""
        self.axes.add_patch(
            FancyArrowPatch(
                a, b, color=colour, linewidth=1.1, arrowstyle="-|>", mutation_scale=8,
                shrinkA=0, shrinkB=0, zorder=4,
            )
        )  # fmt: skip

    def map(
        self,
        x: float,
        y: float,
        words: Sequence[Sequence[object]],
        faces: Sequence[Sequence[str]] | None = None,
        **look: Any,
    ) -> None:
        """A map of words, row by row; ``faces`` are colours of the same shape."""
        for i, row in enumerate(words):
            for j, word in enumerate(row):
                self.cell(x + j, y + i, word, faces[i][j] if faces else PLAIN, **look)
