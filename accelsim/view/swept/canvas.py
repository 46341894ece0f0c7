"""What the figures of a sweep look alike in: size, heading, grid, logarithmic axes, legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.view.style import DPI, GRID, TEXT, TITLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def canvas(title: str) -> tuple[Figure, Axes]:
    """A figure of one panel under a title."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(5.6, 3.8), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    heading(figure, title)
    plain_grid(axes)
    return figure, axes


def heading(figure: Figure, title: str) -> None:
    """The title, at the left."""
    figure.suptitle(title, fontsize=TITLE, fontweight="bold", x=0.01, ha="left")


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
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes) -> None:
    """Where it covers the least."""
    axes.legend(frameon=False, fontsize=TEXT, loc="best")
