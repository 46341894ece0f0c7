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

SHORT = {"weight": "w", "ifmap": "x", "ofmap": "o"}


def film(dataflow: str, layer: Any = None, arch: str = "systolic", **overrides: Any) -> Any:
    """A film of a small layer; 3 x 3 PEs and a product of 3 x 3 by 3 x 5 unless told otherwise."""
    small = {"array.rows": 3, "array.cols": 3, "dram": "unlimited"} | overrides
    layer = layer or acc.Gemm(m=3, k=3, n=5, name="gemm")
    return acc.animate(layer, arch, dataflow, overrides=small).films[0]


def word_name(shown: Any, tensor: str, word: int) -> str:
    """``w[m,c]``: a word by its index, axes of one word left out."""
    if word in (NOTHING, PADDING):
        return "" if word == NOTHING else "0"
    shape = shown.shapes[tensor]
    index = np.unravel_index(word, shape)
    return SHORT[tensor] + "".join(str(int(i)) for i, n in zip(index, shape, strict=True) if n > 1)


def snapshots(flows: Sequence[str], edges: int = 4) -> Figure:
    """The array under each dataflow at several edges one after another, from the first at which
    all its PEs work: a word has one colour in all of them, so what stays, streams and adds up is
    seen.
    """
    sheet = Sheet(edges * 8.6 + 6.4, len(flows) * 9.2 + 1.2)
    for k, flow in enumerate(flows):
        shown = film(flow)
        busy = ((shown.state & MAC) > 0).sum(axis=(1, 2))
        first = int(busy.argmax())
        y = 1.0 + k * 9.2
        sheet.text(0.6, y + 0.2, flow, size=12, weight="bold")
        for n, plane in enumerate(_registers(shown)):
            told = {"stays": "stays", "right": "goes right", "down": "goes down"}[plane.way]
            sheet.text(0.6, y + 1.6 + n, f"{plane.label} {told}", size=7)
        for step in range(edges):
            frame = first - 1 + step
            if 0 <= frame < shown.frames:
                _array(sheet, 6.6 + step * 8.6, y, shown, frame)
    return sheet.figure


def _registers(shown: Any) -> list[Any]:
    """The registers a PE multiplies from and adds to; those a next word waits in are left out."""
    return [plane for plane in shown.planes if not plane.label.startswith("next")][:3]


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
                name = word_name(shown, plane.tensor, word)
                if name:
                    face = word_hue(plane.tensor, word)
                    sheet.cell(px + 0.15, py + 0.12 + n * 0.74, "", face, w=2.1, h=0.68)
                    sheet.text(px + 1.2, py + 0.47 + n * 0.74, name, ha="center", size=6.5)


def skew(flows: Sequence[str]) -> Figure:
    """For each dataflow a line a PE over time: when it multiplies.  The steps are the skew."""
    shows = {flow: film(flow) for flow in flows}
    sheet = Sheet(sum(shown.cycles + 8 for shown in shows.values()), 12.8)
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
