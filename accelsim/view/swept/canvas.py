"""What the figures of a sweep look alike in: size, heading, grid, logarithmic axes, legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.view.bars.bar_text import wrapped
from accelsim.view.style import COLUMN, FINE, GREY, GRID, LABEL, TEXT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def canvas(title: str, height: float = 2.7) -> tuple[Figure, Axes]:
    """A figure of one panel under a title, as wide as a column, so many inches high."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(COLUMN, height), dpi=FINE, layout="constrained")
    axes = figure.subplots()
    heading(figure, title)
    plain_grid(axes)
    return figure, axes


def heading(figure: Figure, title: str) -> None:
    """The title, at the left, in as many lines as it needs."""
    lines = wrapped(title, LABEL, figure.get_size_inches()[0] * 72 - 6)
    figure.suptitle("\n".join(lines), fontsize=LABEL, fontweight="bold", x=0.01, ha="left")


def below(figure: Figure, lines: list[str]) -> None:
    """Small print under the picture, of lines that have a text."""
    if text := "\n".join(filter(None, lines)):
        figure.supxlabel(text, fontsize=TEXT, color=GREY, x=0.01, ha="left")


def plain_grid(axes: Axes) -> None:
    """A grid behind the points, and no frame above or at the right."""
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def spread(axes: Axes, which: str, values: Any, *, always: bool = False) -> None:
    """A logarithmic axis where values lie far apart, or ``always``, with plain numbers at its
    ticks; ``which`` is x or y.
    """
    low, high = float(np.min(values)), float(np.max(values))
    if low <= 0 or (high / low < 8 and not always):
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}" if v < 1e5 else f"{v:.0e}"))
    axis.set_minor_formatter(NullFormatter())


def spread_bar(bar: Any, norm: Any) -> None:
    """Plain numbers beside a bar of colours, at 1, 2 and 5 where it is logarithmic."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if isinstance(norm, LogNorm):
        bar.locator = LogLocator(subs=(1, 2, 5))
        bar.minorlocator = NullLocator()
    bar.formatter = FuncFormatter(lambda v, _: f"{v:g}")
    bar.update_ticks()


def legend(axes: Axes) -> None:
    """Above the axes, where it covers nothing."""
    entries = len(axes.get_legend_handles_labels()[1])
    axes.legend(
        frameon=False, fontsize=TEXT, loc="lower left", bbox_to_anchor=(0, 1),
        ncols=min(entries, 4), columnspacing=1.2, handletextpad=0.4, borderaxespad=0.2,
    )  # fmt: skip
