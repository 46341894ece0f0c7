"""A network drawn in blocks, one a layer or operator, coloured by kind, and beside each block its
parameters, MACs and activations.

``accelsim profile --blocks`` prints it for a terminal and, with ``--plot``, draws it; the teaching
pages and the labs draw it too.  One colour means one kind in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import log10
from typing import TYPE_CHECKING

from accelsim.view.pages.profile_page import bytes_text
from accelsim.view.style import (
    BLUE,
    GREEN,
    GREY,
    GRID,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    house_style,
    lighter,
)
from accelsim.workload.profile import Profile, ProfileRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Every family of operators: its colour in a picture, and its background of 256 in a terminal.
BLOCKS = {
    "convolution": (BLUE, 25),
    "matrix product": (VERMILION, 166),
    "pooling": (GREEN, 29),
    "normalization": (PURPLE, 132),
    "activation": (ORANGE, 136),
    "combination": (SKY, 31),
}
_CONVOLUTIONS = ("conv2d", "depthwise", "conv_transpose")
_BLOCK = 16  # letters of a block in a terminal
_BAR = 10  # letters of a bar


def family(kind: str) -> str:
    """The family of an operator's or layer's type; a type that is not known combines tensors."""
    return _families().get(kind, "combination")


@cache
def _families() -> dict[str, str]:
    """Type to family: operators of one module are one family, but those of the array are two."""
    from accelsim.workload.graph.entries import OPERATORS

    names = {"pooling": "pooling", "normalization": "normalization", "activation": "activation"}
    known = {}
    for kind, model in OPERATORS.items():
        module = model.__module__.rpartition(".")[2]
        known[kind] = names.get(module, "matrix product" if module == "array" else "combination")
    known |= dict.fromkeys(_CONVOLUTIONS, "convolution")
    return known | {"gemm": "matrix product"}


# In a terminal ------------------------------------------------------------------------------------


def blocks_text(profile: Profile) -> str:
    """A line a layer: its block, shape and counts with bars, each logarithmic up to the largest.

    Colours are ANSI's, which whoever prints to no terminal takes out; each block names its kind.
    """
    rows = profile.rows
    most = [max((_counts(r)[k] for r in rows), default=0) for k in range(3)]
    head = ("", "layer", "output", "parameters", "MACs", "activations")
    widths = [_BLOCK, max(5, *(len(r.layer) for r in rows)), max(6, *(len(r.output) for r in rows))]
    lines = [_line(head, [*widths, 20, 20, 20])]
    for row in rows:
        counts = [_count_and_bar(n, m) for n, m in zip(_counts(row), most, strict=True)]
        cells = ("", row.layer, row.output, *counts)
        plain = _line(cells, [*widths, 20, 20, 20])
        lines.append(_block(row.type) + plain[_BLOCK:])
    used = dict.fromkeys(family(row.type) for row in rows)
    legend = "  ".join(_paint(f" {name} ", BLOCKS[name][1]) for name in used)
    title = f"{profile.workload}: bars are logarithmic, activations in words of {profile.bits} bits"
    return "\n".join([title, "", *lines, "", legend])


def _counts(row: ProfileRow) -> tuple[float, float, float]:
    return row.parameters, row.macs, row.activation_bytes


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip().ljust(_BLOCK)


def _block(kind: str) -> str:
    shown = kind if len(kind) <= _BLOCK - 2 else kind[: _BLOCK - 3] + "."
    return _paint(shown.center(_BLOCK), BLOCKS[family(kind)][1])


def _paint(text: str, colour: int) -> str:
    return f"\x1b[48;5;{colour}m\x1b[97m{text}\x1b[0m"


def _count_and_bar(count: float, most: float) -> str:
    if not count:
        return ""
    units = (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))
    unit, size = next((u, s) for u, s in units if count >= s or s == 1.0)
    shown = f"{count / size:.3g}{unit}"
    return f"{shown:>6} {'█' * _share(count, most, _BAR)}"


def _share(count: float, most: float, length: int) -> int:
    """How long a logarithmic bar is: six decades from nothing to the largest."""
    return max(1, round(length * (1 + log10(count / most) / 6)))


# In a picture -------------------------------------------------------------------------------------


def blocks(profile: Profile) -> Figure:
    """Blocks from left to right, as high as the output's side and as wide as each other; below each
    its parameters, MACs and activation bytes, logarithmic.

    Returns a figure that belongs to no window.  Raises ValueError for a network without layers.
    """
    from matplotlib.figure import Figure

    if not profile.rows:
        raise ValueError(f"{profile.workload} has no layers to draw")
    count = len(profile.rows)
    with house_style():
        figure = Figure(figsize=(max(WIDTH, 0.17 * count + 1), 5.4), layout="constrained")
        chain, *panels = figure.subplots(4, 1, sharex=True, height_ratios=(2.2, 1, 1, 1))
        _chain(chain, profile)
        for k, label in enumerate(("parameters", "MACs", "activation B")):
            _bars(panels[k], profile, label, k)
        panels[-1].set_xticks(
            range(count), [r.layer for r in profile.rows], rotation=90, fontsize=6.5
        )
        panels[-1].set_xlim(-0.7, count - 0.3)
        chain.set_title(
            f"{profile.workload}: {profile.total.parameters:,} parameters, "
            f"{profile.total.macs:,} MACs, {bytes_text(profile.total.activation_bytes)} of "
            "activations at most",
            fontsize=9,
            loc="left",
        )
    return figure


def _chain(axes: Axes, profile: Profile) -> None:
    """The blocks, an arrow from each to the next, and a legend of the kinds that are there."""
    from matplotlib.patches import Patch, Rectangle

    sides = [_side(row) for row in profile.rows]
    tallest = max(sides)
    for k, (row, side) in enumerate(zip(profile.rows, sides, strict=True)):
        height = 0.25 + 0.75 * side / tallest
        colour = BLOCKS[family(row.type)][0]
        box = Rectangle((k - 0.38, -height / 2), 0.76, height, facecolor=lighter(colour, 0.25))
        box.set_edgecolor(colour)
        axes.add_patch(box)
        if k:
            axes.plot((k - 0.62, k - 0.38), (0, 0), color=GREY, linewidth=0.8)
        axes.text(k, 0, row.output, rotation=90, ha="center", va="center", fontsize=5.5)
    axes.set_ylim(-0.62, 0.62)
    axes.axis("off")
    used = dict.fromkeys(family(row.type) for row in profile.rows)
    axes.legend(
        handles=[Patch(facecolor=lighter(BLOCKS[f][0], 0.25), label=f) for f in used],
        loc="upper right", ncols=len(used), fontsize=6.5, frameon=False, handlelength=1,
    )  # fmt: skip


def _side(row: ProfileRow) -> float:
    """The height of an output's maps; 1 for what has none."""
    sizes = row.output.split("x")
    return float(sizes[-1]) ** 0.5 if len(sizes) == 3 else 1.0


def _bars(axes: Axes, profile: Profile, label: str, k: int) -> None:
    for at, row in enumerate(profile.rows):
        if count := _counts(row)[k]:
            colour = lighter(BLOCKS[family(row.type)][0], 0.25)
            axes.bar(at, count, color=colour, width=0.76)
    axes.set_yscale("log")
    if counts := [n for row in profile.rows if (n := _counts(row)[k])]:
        axes.set_ylim(min(counts) / 3, max(counts) * 2)
    axes.set_ylabel(label, fontsize=7)
    axes.tick_params(labelsize=6.5)
    axes.grid(True, axis="y", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
