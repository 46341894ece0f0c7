"""Draws blocks of bars by their plan: title, then per block a legend over its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from accelsim.view.bars.bar_blocks import BarBlock
from accelsim.view.bars.bar_plan import (
    APART,
    BETWEEN,
    HANDLE,
    HANDLE_GAP,
    PAD,
    BarPlan,
    BlockPlan,
    SheetPlan,
    is_grouped,
    sheet_plan,
)
from accelsim.view.bars.bar_text import fitting
from accelsim.view.style import DPI, GREY, GRID, LABEL, SMALL, TEXT, TITLE, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_bars(blocks: list[BarBlock], note: str = "") -> Figure:
    """A figure of blocks over the same layers and series, ``note`` small under its title.  It
    belongs to no window.
    """
    with house_style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        for block in blocks:
            block.ticks, block.top = _ticks(block)
        plan = sheet_plan(blocks, note)
        width, height = plan.width, plan.height
        figure = Figure(figsize=(width / 72, height / 72), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        if plan.title_lines:
            figure.text(
                PAD / width, 1 - PAD / height, "\n".join(plan.title_lines),
                size=TITLE, weight="bold", va="top", linespacing=1.25, parse_math=False,
            )  # fmt: skip
        if plan.note_lines:
            below = PAD + len(plan.title_lines) * TITLE * 1.3
            figure.text(
                PAD / width, 1 - below / height, "\n".join(plan.note_lines), size=SMALL,
                color=GREY, va="top", linespacing=1.25, parse_math=False,
            )  # fmt: skip
        for block, place, (x, y) in zip(blocks, plan.blocks, plan.corners(), strict=True):
            _draw_block(figure, plan, block, place, x, y)
        return figure


def _draw_block(
    figure: Figure, plan: SheetPlan, block: BarBlock, place: BlockPlan, x: float, y: float
) -> None:
    """One block whose left upper corner is at ``x``, ``y``."""
    width, height, bars = plan.width, plan.height, plan.bars
    for panel in range(plan.panels):
        base = y - place.head - plan.high + (plan.panels - 1 - panel) * (plan.tall + plan.apart)
        corner = ((x + place.left) / width, base / height)
        axes = figure.add_axes((*corner, plan.inner / width, plan.tall / height))
        _fill(axes, block, bars, None if bars.grouped else panel, plan.inner)
        _axis(axes, block)
        if panel == plan.panels - 1:
            _name_bars(axes, bars)
        if plan.panels > 1 and plan.above:
            axes.annotate(
                fitting(plan.strips[panel], TEXT, plan.inner), (0, 1), (0, 2),
                xycoords="axes fraction", textcoords="offset points", size=TEXT, ha="left",
                va="bottom", parse_math=False,
            )  # fmt: skip
        elif plan.panels > 1:
            axes.annotate(
                fitting(plan.strips[panel], TEXT, plan.tall + APART - 4),
                (1, 0.5), (6, 0), xycoords="axes fraction", textcoords="offset points",
                size=TEXT, rotation=plan.strip_turn, ha="left", va="center", parse_math=False,
            )  # fmt: skip
    middle = (y - place.head - plan.high / 2) / height
    figure.text(
        (x + PAD) / width, middle, block.label, size=LABEL, rotation=90, va="center", ha="left"
    )
    names = TEXT * 1.3 * plan.above
    corner = ((x + place.left) / width, (y - place.head + PAD + 1 + names) / height)
    _legend(figure, block, place.columns, corner)


def _fill(axes: Axes, block: BarBlock, plan: BarPlan, panel: int | None, inner: float) -> None:
    """The bars of one axes, and a word where there is none."""
    shown = range(len(block.series)) if panel is None else [panel]
    spots = [(g, s) for g in range(len(block.layers)) for s in shown]
    at = np.array([plan.bar(g, s) for g, s in spots])
    pick = tuple(np.array(spots).T)
    real = np.array([not block.gaps[spot] for spot in spots])
    slack = (inner / plan.slot - plan.slots) / 2  # few bars in a wide figure stay in the middle
    axes.set_xlim(-slack, plan.slots + slack)
    axes.set_ylim(0, block.top)
    thick = min(0.86 if plan.grouped else 0.78, 26 / plan.slot)
    base = np.zeros(len(spots))
    for part in block.parts:
        values = part.values[pick]
        axes.bar(
            at[real], values[real], thick, base[real], label=part.label,
            color=part.colour, hatch=part.hatch, edgecolor=part.ink, linewidth=0, zorder=2,
        )  # fmt: skip
        base = base + np.nan_to_num(values)
    fits = plan.slot >= SMALL * 1.15
    for spot, place in zip(spots, at, strict=True):
        if reason := str(block.gaps[spot]):
            axes.annotate(
                reason if fits else "x", (place, 0), (0, 3), textcoords="offset points",
                rotation=90 if fits else 0, size=SMALL, color=GREY, ha="center", va="bottom",
                annotation_clip=False, zorder=3, parse_math=False,
            )  # fmt: skip


def _axis(axes: Axes, block: BarBlock) -> None:
    """Ticks, grid and frame."""
    axes.set_facecolor("white")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    axes.set_yticks(block.ticks, [block.tick_label(t) for t in block.ticks])
    axes.tick_params(axis="y", labelsize=TEXT, length=2.5, width=0.6, pad=2)
    axes.set_xticks([])


def _name_bars(axes: Axes, plan: BarPlan) -> None:
    """Under the lowest axes the layers, and where bars are grouped the series above them."""

    def name(text: str, place: float, down: float, size: float, upright: bool, colour: str) -> None:
        axes.annotate(
            text, (place, 0), (0, -down), xycoords=("data", "axes fraction"),
            textcoords="offset points", size=size, color=colour, rotation=90 if upright else 0,
            ha="center", va="top", annotation_clip=False, parse_math=False,
        )  # fmt: skip

    down = 3.0 + (plan.series_height + 2.0 if plan.grouped else 0.0)
    for g, layer in enumerate(plan.layers):
        if plan.grouped:
            for s, series in enumerate(plan.series):
                name(series, plan.bar(g, s), 3.0, SMALL, plan.series_upright, GREY)
        if g % plan.every == 0:
            name(layer, plan.middle(g), down, plan.layer_size, plan.upright, "black")


def _legend(figure: Figure, block: BarBlock, columns: int, corner: tuple[float, float]) -> None:
    """The block's parts, the legend's left lower corner at ``corner`` of the figure."""
    from matplotlib.legend import Legend
    from matplotlib.patches import Patch

    if not block.told:
        return
    handles = [
        Patch(facecolor=p.colour, hatch=p.hatch, edgecolor=p.ink, linewidth=0, label=p.label)
        for p in block.told
    ]
    legend = Legend(
        figure, handles, [p.label for p in block.told], loc="lower left",
        bbox_to_anchor=corner, bbox_transform=figure.transFigure, ncols=columns, fontsize=TEXT,
        frameon=False, borderpad=0, borderaxespad=0, handlelength=HANDLE,
        handletextpad=HANDLE_GAP, columnspacing=BETWEEN, labelspacing=0.35,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.add_artist(legend)


def _ticks(block: BarBlock) -> tuple[list[float], float]:
    """Round numbers from nothing to a little above the tallest bar, and where the axis ends."""
    from matplotlib.ticker import MaxNLocator

    many = len(block.series) > 1 and not is_grouped(block)
    top = block.top or 1.0
    limit = top if block.suffix == "%" else top * 1.06
    places = MaxNLocator(4 if many else 6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, top)
    ticks = [float(t) for t in places if 0 <= t <= limit * (1 + 1e-9)]
    return (ticks if block.parts else [0.0]), limit
