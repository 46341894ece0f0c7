"""Small arrays while they work: which word is in which PE at which edge, and when each multiplies.

All of it is read from the cycle engine's films, the same that ``accelsim animate`` plays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import accelsim as acc
from accelsim.view.player.film import MAC, NOTHING, PADDING

from .sheet import HUES, PALE, PLAIN, Sheet, hue, word_hue

SHORT = {"weight": "w", "ifmap": "i", "ofmap": "o"}


def film(dataflow: str, pixels: int = 5, side: int = 3) -> Any:
    """A film of a product on ``side`` x ``side`` PEs: as many filters over as many inputs, on some
    pixels.
    """
    small = {"array.rows": side, "array.cols": side, "dram": "unlimited"}
    layer = acc.Gemm(m=side, k=side, n=pixels, name="product")
    return acc.animate(layer, "systolic", dataflow, overrides=small).films[0]


def word_name(shown: Any, tensor: str, word: int) -> str:
    """``w21`` for w[2,1]: a word by its index, axes of one word left out."""
    if word in (NOTHING, PADDING):
        return "" if word == NOTHING else "0"
    shape = shown.shapes[tensor]
    index = np.unravel_index(word, shape)
    return SHORT[tensor] + "".join(str(int(i)) for i, n in zip(index, shape, strict=True) if n > 1)


def snapshots(
    flows: Sequence[str], edges: Sequence[int] = (), pixels: int = 5, side: int = 3
) -> Figure:
    """The array under each dataflow after some edges; without ``edges`` after four, from the first
    at which most of its PEs work.

    A word has one colour in all of them, so what stays, streams and adds up is seen.  A word that
    shifts in, to be held, is dashed.
    """
    high = 2.6 * side + 1.4
    step = max(2.6 * side + 0.8, 5.0)
    sheet = Sheet((len(edges) or 4) * step + 6.4, len(flows) * high + 1.2)
    for k, flow in enumerate(flows):
        shown = film(flow, pixels, side)
        y = 1.0 + k * high
        sheet.text(0.6, y + 0.2, flow, size=12, weight="bold")
        for n, plane in enumerate(_registers(shown)):
            told = {"stays": "stays", "right": "goes right", "down": "goes down"}[plane.way]
            sheet.cell(0.6, y + 1.25 + n, "", word_hue(plane.tensor, 0), w=0.7, h=0.7)
            sheet.text(1.6, y + 1.6 + n, f"{plane.label} {told}", size=7)
        for n, edge in enumerate(edges or _at_work(shown)):
            if shown.first <= edge <= shown.last:
                _array(sheet, 6.6 + n * step, y, shown, edge - shown.first)
    return sheet.figure


def _at_work(shown: Any) -> range:
    """Four edges, the second of them the first at which most PEs work."""
    busy = ((shown.state & MAC) > 0).sum(axis=(1, 2))
    first = shown.first + int(busy.argmax()) - 1
    return range(first, first + 4)


def _registers(shown: Any) -> list[Any]:
    """The registers a PE multiplies from and adds to; those a next word waits in are left out."""
    return [plane for plane in shown.planes if not plane.label.startswith("next")][:3]


def _next_word(shown: Any, plane: Any, frame: int, i: int, j: int) -> int:
    """The word that shifts in where a held one is to be, while there is none."""
    for other in shown.planes:
        if other.label == f"next {plane.label}":
            return int(other.words[frame, i, j])
    return NOTHING


def _array(sheet: Sheet, x: float, y: float, shown: Any, frame: int) -> None:
    """One array after one edge: a PE is a box with a line a register."""
    sheet.text(x, y + 0.2, f"edge {shown.first + frame}", size=8)
    for i in range(shown.rows):
        for j in range(shown.cols):
            works = shown.state[frame, i, j] & MAC
            px, py = x + j * 2.6, y + 1 + i * 2.6
            sheet.cell(px, py, "", PLAIN if works else PALE, w=2.4, h=2.4, edge="#777777")
            for n, plane in enumerate(_registers(shown)):
                word = int(plane.words[frame, i, j])
                coming = word == NOTHING
                word = _next_word(shown, plane, frame, i, j) if coming else word
                name = word_name(shown, plane.tensor, word)
                if name:
                    face, line = word_hue(plane.tensor, word), py + 0.12 + n * 0.74
                    sheet.cell(px + 0.15, line, "", face, w=2.1, h=0.68, dashed=coming)
                    sheet.text(px + 1.2, line + 0.35, name, ha="center", size=6.5)


def skew(flows: Sequence[str], pixels: int = 5, side: int = 3) -> Figure:
    """For each dataflow a line a PE over time: when it multiplies.  The steps are the skew."""
    shows = {flow: film(flow, pixels, side) for flow in flows}
    sheet = Sheet(sum(shown.cycles + 8 for shown in shows.values()), side * side + 3.8)
    left = 0.0
    for flow, shown in shows.items():
        works = (shown.state & MAC) > 0
        sheet.title(left + 0.8, 0.9, flow, f"{shown.cycles} cycles")
        for edge in range(shown.cycles):
            at = left + 6.5 + edge
            sheet.text(at, 2.3, edge + 1, ha="center", size=6.5, color="#555555")
        for n in range(shown.rows * shown.cols):
            i, j = divmod(n, shown.cols)
            sheet.text(left + 5.8, 3.3 + n, f"PE ({i}, {j})", ha="right", size=7)
            for edge in range(shown.cycles):
                face = HUES[i + j] if works[edge, i, j] else PLAIN
                sheet.cell(left + 6 + edge, 2.8 + n, "", face)
        left += shown.cycles + 8
    return sheet.figure


def rows_to_fill(filter_rows: int = 3, ofmap_rows: int = 3) -> Figure:
    """The PEs of row-stationary with room for the ifmap row that each needs."""
    sheet = Sheet(ofmap_rows * 4.6 + 7.0, filter_rows * 3.2 + 2.6)
    for e in range(ofmap_rows):
        sheet.text(5.4 + e * 4.6 + 1.9, 1.0, f"ofmap row e = {e}", ha="center", size=7)
    for r in range(filter_rows):
        y = 1.8 + r * 3.2
        sheet.text(0.6, y + 1.2, f"filter row r = {r}", size=7)
        for e in range(ofmap_rows):
            x = 5.4 + e * 4.6
            sheet.cell(x, y, "", PLAIN, w=3.8, h=2.4, edge="#666666")
            sheet.text(x + 0.25, y + 0.7, f"PE ({r}, {e})", size=7.5)
            sheet.cell(x + 0.2, y + 1.2, "ifmap row ?", PALE, w=3.4, size=7.5, dashed=True)
    return sheet.figure


def row_stationary(filter_rows: int = 3, ofmap_rows: int = 3, stride: int = 1) -> Figure:
    """Which filter row and ifmap row each PE holds, and where sums go: ifmap rows lie on
    diagonals, one colour a row.
    """
    sheet = Sheet(ofmap_rows * 4.6 + 9.5, filter_rows * 3.2 + 4.6)
    sheet.title(
        0.8, 0.8, f"{filter_rows} filter rows, {ofmap_rows} ofmap rows, stride {stride}",
        f"PE (r, e) slides filter row r over ifmap row {stride if stride > 1 else ''}e + r",
    )  # fmt: skip
    for r in range(filter_rows):
        for e in range(ofmap_rows):
            x, y = 5.4 + e * 4.6, 3.0 + r * 3.2
            row = stride * e + r
            sheet.cell(x, y, "", PLAIN, w=3.8, h=2.4, edge="#666666")
            sheet.text(x + 0.25, y + 0.7, f"filter row {r}", size=7.5)
            sheet.cell(x + 0.2, y + 1.2, f"ifmap row {row}", hue(row), w=3.4, size=7.5)
            if r:
                sheet.arrow((x + 1.9, y - 0.75), (x + 1.9, y - 0.05))
    for r in range(filter_rows):
        y = 3.0 + r * 3.2 + 1.2
        sheet.text(0.6, y - 0.4, f"filter row {r}", size=7.5)
        sheet.arrow((0.8, y + 0.4), (5.2, y + 0.4))
    for e in range(ofmap_rows):
        x, below = 5.4 + e * 4.6 + 1.9, 3.0 + filter_rows * 3.2 - 0.4
        sheet.text(x, below, f"psums of ofmap row {e}", ha="center", size=7)
    rows = stride * (ofmap_rows - 1) + filter_rows
    told = f"{rows} ifmap rows for {filter_rows * ofmap_rows} PEs"
    sheet.text(5.4, 3.0 + filter_rows * 3.2 + 0.8, told, size=8)
    return sheet.figure


def moved(layer: Any, flows: Sequence[str], arch: str = "systolic") -> Figure:
    """Words each level reads and writes for a layer under dataflows, by tensor, each over the MACs:
    the fewer, the more often a word is used where it is.
    """
    from accelsim.view.style import LOOKS, TENSORS, WIDTH, house_style

    result = acc.simulate(layer, arch, list(flows), tiles="rule")
    rows = [(flow, row.columns) for flow, row in zip(flows, result.rows, strict=True)]
    levels = list(acc.load_architecture(arch).levels)
    with house_style():
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        for axes, level in zip(figure.subplots(1, len(levels)), levels, strict=True):
            floor = np.zeros(len(rows))
            for tensor in TENSORS:
                words = np.array([_words(c, level, tensor) / c["macs"] for _, c in rows])
                look = LOOKS[tensor]
                axes.bar(
                    range(len(rows)), words, bottom=floor, color=look.colour, label=tensor,
                    hatch=look.hatches[0], edgecolor=look.ink, linewidth=0.4,
                )  # fmt: skip
                floor += words
            axes.set_xticks(range(len(rows)), [flow for flow, _ in rows], fontsize=8)
            axes.set_title(f"{level}: words a MAC", fontsize=9, loc="left")
            axes.tick_params(labelsize=7)
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=3,
            fontsize=7,
            frameon=False,
        )
    return figure


def _words(columns: Any, level: str, tensor: str) -> int:
    """Reads and writes of a tensor at a level, updates of sums among them."""
    return sum(
        int(v or 0)
        for k, v in columns.items()
        if k.startswith(f"{level}_{tensor}_") and k.endswith(("_reads", "_writes"))
    )
