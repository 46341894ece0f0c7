"""A heat map over two axes of a sweep, a panel a dataflow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.explore.row_names import energy_column, varied_axes
from accelsim.explore.totals import frame_totals
from accelsim.view.style import COLUMN, FINE, LABEL, TEXT, WIDTH, sweep_style
from accelsim.view.swept.canvas import heading, spread_bar
from accelsim.view.swept.sweep_frame import one_run, series, short, title
from accelsim.view.swept.units import WORDS, scaled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NUMBERS = 64  # cells up to which each has its number


def heat_map_data(
    frame: pd.DataFrame, x: str | None = None, y: str | None = None, value: str | None = None
) -> tuple[dict[str, pd.DataFrame], str, str, str]:
    """A table of ``y`` by ``x`` for each dataflow, and the names of x, y and value.

    Where other axes vary too, a cell is the least over them; one without a result is NaN.  The axes
    with the most values are taken if none are named, and the energy.
    """
    totals = frame_totals(one_run(frame))
    names = sorted(varied_axes(totals), key=lambda c: -totals[c].nunique())
    x = x or next((n for n in names if n != y), None)
    y = y or next((n for n in names if n != x), None)
    if x is None or y is None:
        raise ValueError("heat_map: the frame has fewer than two axes with several values")
    value = value or energy_column(totals)
    for name in (x, y, value):
        if name not in totals.columns:
            raise ValueError(f"heat_map: the frame has no column {name}")
    tables = {}
    for flow, rows in totals.groupby("dataflow", sort=False):
        cells = rows.assign(**{value: rows[value].astype(float)})
        least = cells.groupby([y, x], sort=True, dropna=False)[value].min()
        tables[str(flow)] = least.unstack(x)
    return tables, x, y, value


def heat_map(
    frame: pd.DataFrame, x: str | None = None, y: str | None = None, value: str | None = None
) -> Figure:
    """A colour for every pair of values of two axes, a panel per dataflow; numbers in the cells if
    there are few.  Hatched: no result.  Where a few cells are far worse than the others, colours
    end below them, and the bar says how many there are and what the worst is.
    """
    tables, x, y, value = heat_map_data(frame, x, y, value)
    with sweep_style():
        factor, label, norm, beyond = _colour_scale(tables, value)
        figure, grid = _panels(len(tables), next(iter(tables.values())))
        columns = grid.shape[1]
        heading(figure, title(frame, _what(frame, x, y, value)))
        for axes in grid.ravel()[len(tables) :]:
            axes.axis("off")
        for axes, (flow, table) in zip(grid.ravel(), tables.items(), strict=False):
            image = _draw_table(axes, table, factor, norm)
            _ticks(axes.xaxis, table.columns, 12 if columns == 1 else 8)
            _ticks(axes.yaxis, table.index, 12)
            axes.set_title(flow, fontsize=LABEL)
        for place, axes in enumerate(grid.ravel()[: len(tables)]):
            if place + columns >= len(tables):  # the lowest of its column
                axes.set_xlabel(x)
                axes.tick_params(labelbottom=True)
        for axes in grid[:, 0]:
            axes.set_ylabel(y)
        bar = figure.colorbar(
            image, ax=grid.ravel().tolist(), shrink=0.9, extend="max" if beyond else "neither"
        )
        bar.set_label(f"{label}\n{beyond}" if beyond else label, fontsize=TEXT)
        spread_bar(bar, norm)
    return figure


def _what(frame: pd.DataFrame, x: str, y: str, value: str) -> str:
    """The value's name, and whether a cell stands for several points."""
    what = WORDS[value].lower() if value in WORDS else value
    others = [name for name in varied_axes(frame) if name not in (x, y)]
    return f"{what}, least over what else varies" if others else what


def _colour_scale(tables: dict[str, pd.DataFrame], value: str) -> tuple[float, str, Any, str]:
    """What values are multiplied with, the bar's label, colours over all panels alike, and what is
    said of cells beyond them.
    """
    from matplotlib.colors import LogNorm, Normalize

    values = np.concatenate([table.to_numpy(float).ravel() for table in tables.values()])
    shown, label = scaled(series(values), value)
    low, worst = float(np.nanmin(shown)), float(np.nanmax(shown))
    high, many = sound_top(shown[np.isfinite(shown)])
    beyond = f"({many} cell{'s' if many > 1 else ''} beyond, up to {worst:.3g})" if many else ""
    norm = LogNorm(low, high) if low > 0 and high / low > 8 else Normalize(low, high)
    largest = int(np.nanargmax(np.abs(values)))
    factor = float(shown[largest] / values[largest]) if values[largest] else 1.0
    return factor, label, norm, beyond


def sound_top(values: Any) -> tuple[float, int]:
    """Where colours end, and how many values are beyond: the largest value, unless no more than a
    tenth of all stand above four times the median, and one of them above eight times.
    """
    sizes = np.asarray(values, float)
    worst, limit = float(sizes.max()), 4 * float(np.median(sizes))
    far = sizes > limit
    if worst <= 2 * limit or limit <= 0 or 10 * int(far.sum()) > len(sizes):
        return worst, 0
    return float(sizes[~far].max()), int(far.sum())


def _panels(count: int, table: pd.DataFrame) -> tuple[Figure, Any]:
    """A figure with room for as many tables of this size, and its axes [lines, columns]."""
    from matplotlib.figure import Figure as Canvas

    columns = count if count <= 3 else math.ceil(math.sqrt(count))
    lines = math.ceil(count / columns)
    tall, wide = table.shape
    size = min(max(1.9, 0.36 * wide), 6.0 / columns), min(max(1.4, 0.26 * tall), 3.6)
    figure = Canvas(
        figsize=(max(COLUMN, min(columns * size[0] + 1.4, WIDTH)), lines * size[1] + 1.0),
        dpi=FINE,
        layout="constrained",
    )
    return figure, figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)


def _draw_table(axes: Axes, table: pd.DataFrame, factor: float, norm: Any) -> Any:
    values = table.to_numpy(float) * factor
    axes.set_facecolor("#DDDDDD")
    axes.patch.set(hatch="////", edgecolor="#999999")
    image = axes.imshow(
        np.ma.masked_invalid(values),
        norm=norm,
        cmap="viridis",
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    if values.size <= _MOST_NUMBERS:
        _numbers(axes, values, norm)
    return image


def _ticks(axis: Any, values: Any, most: int) -> None:
    step = math.ceil(len(values) / most)
    places = list(range(0, len(values), step))
    axis.set_ticks(places, [short(values[i]) for i in places])


def _numbers(axes: Axes, values: Any, norm: Any) -> None:
    """Every cell's number, dark upon light and light upon dark."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "black" if norm(value) > 0.6 else "white"
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", size=6, color=ink)
