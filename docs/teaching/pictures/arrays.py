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
WIDEST = 44  # cells: what a notebook shows without making the words too small to read


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
    high, step = 2.6 * side + 1.4, max(2.6 * side + 0.8, 5.0)
    shows = {flow: film(flow, pixels, side) for flow in flows}
    told = {flow: [e for e in edges or _at_work(s) if e <= s.last] for flow, s in shows.items()}
    across = min(int((WIDEST - 6.6) / step), max(map(len, told.values())))
    lines = {flow: -(-len(shown) // across) for flow, shown in told.items()}
    sheet = Sheet(across * step + 6.4, sum(lines.values()) * high + 1.2)
    y = 1.0
    for flow, shown in shows.items():
        sheet.text(0.6, y + 0.2, flow, size=12, weight="bold")
        for n, plane in enumerate(_registers(shown)):
            way = {"stays": "stays", "right": "goes right", "down": "goes down"}[plane.way]
            sheet.cell(0.6, y + 1.25 + n, "", word_hue(plane.tensor, 0), w=0.7, h=0.7)
            sheet.text(1.6, y + 1.6 + n, f"{plane.label} {way}", size=7)
        for n, edge in enumerate(told[flow]):
            down, right = divmod(n, across)
            if edge >= shown.first:
                _array(sheet, 6.6 + right * step, y + down * high, shown, edge - shown.first)
        y += lines[flow] * high
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
    """For each dataflow a line a PE over time: when it multiplies.  The steps are the skew, one
    colour for each i + j.
    """
    shows = {flow: film(flow, pixels, side) for flow in flows}
    places, x, y, high = {}, 0.0, 0.0, side * side + 3.8
    for flow, shown in shows.items():
        if x + shown.cycles + 8 > WIDEST:
            x, y = 0.0, y + high
        places[flow] = x, y
        x += shown.cycles + 8
    wide = max(places[flow][0] + shown.cycles + 8 for flow, shown in shows.items())
    sheet = Sheet(max(wide, 19 + 4.4 * side), y + high + 1.6)
    for flow, shown in shows.items():
        _at_work_over_time(sheet, *places[flow], flow, shown)
    _behind(sheet, y + high - 0.1, 2 * side - 1)
    return sheet.figure


def _at_work_over_time(sheet: Sheet, left: float, top: float, flow: str, shown: Any) -> None:
    """A line a PE, a cell an edge, coloured where the PE multiplies."""
    works = (shown.state & MAC) > 0
    sheet.title(left + 0.8, top + 0.9, flow, f"{shown.cycles} cycles")
    for edge in range(shown.cycles):
        told = {"ha": "center", "size": 6.5, "color": "#555555"}
        sheet.text(left + 6.5 + edge, top + 2.3, edge + 1, **told)
    for n in range(shown.rows * shown.cols):
        i, j = divmod(n, shown.cols)
        sheet.text(left + 5.8, top + 3.3 + n, f"PE ({i}, {j})", ha="right", size=7)
        for edge in range(shown.cycles):
            face = HUES[i + j] if works[edge, i, j] else PLAIN
            sheet.cell(left + 6 + edge, top + 2.8 + n, "", face)


def _behind(sheet: Sheet, top: float, steps: int) -> None:
    """What a colour of the skew's picture means."""
    sheet.text(0.8, top + 0.5, "PE (i, j) multiplies, i + j =", size=7)
    for behind in range(steps):
        x = 9.0 + 2.2 * behind
        sheet.cell(x, top, "", HUES[behind])
        sheet.text(x + 1.25, top + 0.5, behind, size=7)
    sheet.text(9.3 + 2.2 * steps, top + 0.5, "edges after PE (0, 0)", size=7)


def rows_to_fill(filter_rows: int = 3, ofmap_rows: int = 3) -> Figure:
    """The PEs of row-stationary with room for the ifmap row that each needs."""
    sheet = Sheet(PE_LEFT + ofmap_rows * PE_ACROSS, filter_rows * PE_DOWN + 2.6)
    for e in range(ofmap_rows):
        sheet.text(_pe(0, e)[0] + 1.9, 1.0, f"ofmap row e = {e}", ha="center", size=7)
    for r in range(filter_rows):
        sheet.text(0.6, _pe(r, 0, 1.8)[1] + 1.2, f"filter row r = {r}", size=7)
        for e in range(ofmap_rows):
            x, y = _pe(r, e, 1.8)
            sheet.cell(x, y, "", PLAIN, w=3.8, h=2.4, edge="#666666")
            sheet.text(x + 0.25, y + 0.7, f"PE ({r}, {e})", size=7.5)
            sheet.cell(x + 0.2, y + 1.2, "ifmap row ?", PALE, w=3.4, size=7.5, dashed=True)
    return sheet.figure


# In cells of the sheet: left edge of the first PE, and from one PE to the next.
PE_LEFT, PE_ACROSS, PE_DOWN = 5.4, 5.4, 3.2


def _pe(r: int, e: int, top: float = 3.0) -> tuple[float, float]:
    """The upper left corner of PE (r, e)."""
    return PE_LEFT + e * PE_ACROSS, top + r * PE_DOWN


def row_stationary(filter_rows: int = 3, ofmap_rows: int = 3, stride: int = 1) -> Figure:
    """Which filter row and ifmap row each PE holds, and where sums go: ifmap rows lie on
    diagonals, one colour a row, which a line of the colour joins.
    """
    rows = stride * (ofmap_rows - 1) + filter_rows
    sheet = Sheet(PE_LEFT + ofmap_rows * PE_ACROSS, filter_rows * PE_DOWN + 6.0)
    sheet.title(
        0.8, 0.8, f"{filter_rows} filter rows, {ofmap_rows} ofmap rows, stride {stride}",
        f"PE (r, e) slides filter row r over ifmap row {stride if stride > 1 else ''}e + r",
    )  # fmt: skip
    for r in range(filter_rows):
        for e in range(ofmap_rows):
            _row_pe(sheet, r, e, stride * e + r)
            if e + 1 < ofmap_rows and r >= stride:  # the next PE that has this ifmap row
                (x, y), (right, up) = _pe(r, e), _pe(r - stride, e + 1)
                sheet.line((x + 3.6, y + 1.7), (right + 0.2, up + 1.7), hue(stride * e + r))
    for e in range(ofmap_rows):
        x, below = _pe(filter_rows, e)
        sheet.text(x + 1.9, below + 0.6, f"psums of ofmap row {e}", ha="center", size=7)
    below = _pe(filter_rows, 0)[1] + 1.7
    pes = filter_rows * ofmap_rows
    sheet.text(PE_LEFT, below, f"{rows} ifmap rows for {pes} PEs", size=8)
    told = "a line in colour joins the PEs that have one ifmap row"
    sheet.text(PE_LEFT, below + 0.9, told, size=7, color="#555555")
    return sheet.figure


def _row_pe(sheet: Sheet, r: int, e: int, row: int) -> None:
    """One PE with its rows: the filter's comes along the row of PEs, the sum goes on down."""
    x, y = _pe(r, e)
    sheet.cell(x, y, "", PLAIN, w=3.8, h=2.4, edge="#666666")
    sheet.text(x + 0.25, y + 0.7, f"filter row {r}", size=7.5)
    sheet.cell(x + 0.2, y + 1.2, f"ifmap row {row}", hue(row), w=3.4, size=7.5)
    if e == 0:
        sheet.text(0.6, y + 0.1, f"filter row {r}", size=7.5)
    sheet.arrow((0.8 if e == 0 else x - 1.55, y + 0.6), (x - 0.1, y + 0.6))
    sheet.arrow((x + 1.9, y + 2.45), (x + 1.9, y + PE_DOWN - 0.05))


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
