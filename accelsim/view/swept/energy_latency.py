"""Energy against latency: every architecture and dataflow a point, and the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.explore.pareto import on_front
from accelsim.explore.row_names import energy_column, varied_axes
from accelsim.view.style import TEXT, sweep_style
from accelsim.view.swept.canvas import canvas, legend, spread
from accelsim.view.swept.sweep_frame import MANY, finished_totals, flows, labels, title
from accelsim.view.swept.units import scaled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def energy_latency_data(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per architecture and dataflow that has a result: its name (``point``), axes,
    ``latency`` (s), ``energy``, its ``unit`` (a column's name) and whether on the ``front``.
    """
    totals = finished_totals(frame)
    energy = energy_column(totals)
    identity = [c for c in ("arch", "set", "dataflow") if c in totals.columns]
    points = totals[identity + varied_axes(totals)].copy()
    points["point"] = labels(totals)
    points["latency"] = totals["time_s"].astype(float)
    points["energy"], points["unit"] = totals[energy].astype(float), energy
    points["front"] = on_front(points, ["latency", "energy"])
    return points.reset_index(drop=True)


def energy_latency(frame: pd.DataFrame) -> Figure:
    """Every architecture and dataflow as a point of energy against latency.

    Those on the Pareto front are joined; its ends and the point of least energy x latency are
    named.
    """
    data = energy_latency_data(frame)
    with sweep_style():
        figure, axes = canvas(title(frame, "energy against latency"))
        x, x_label = scaled(data["latency"], "time_s")
        y, y_label = scaled(data["energy"], data["unit"].iloc[0])
        many = len(data) >= 300
        for flow, rows, look in flows(data):
            axes.scatter(
                x[rows.index],
                y[rows.index],
                s=8 if many else 16,
                alpha=0.45 if many else 0.85,
                linewidth=0,
                label=flow,
                zorder=3,
                rasterized=len(data) > MANY,
                **look,
            )
        best = data[data["front"]].sort_values("latency")
        _draw_front(axes, x[best.index], y[best.index])
        spread(axes, "x", x)
        spread(axes, "y", y)
        _name_points(axes, x[best.index], y[best.index], data["point"][best.index])
        axes.set(xlabel=x_label, ylabel=y_label)
        legend(axes)
    return figure


def _draw_front(axes: Axes, x: Any, y: Any) -> None:
    """A staircase through the points of the front, and a ring around each."""
    axes.plot(
        x, y, color="black", linewidth=1.0, drawstyle="steps-post", zorder=4, label="Pareto front"
    )
    axes.scatter(x, y, s=34, facecolor="none", edgecolor="black", linewidth=0.9, zorder=5)


def _name_points(axes: Axes, x: Any, y: Any, names: Any) -> None:
    """Both ends of the front and the point of least product, where they have names."""
    from matplotlib.patheffects import withStroke

    if not len(x):
        return
    xs, ys, texts = np.asarray(x), np.asarray(y), list(names)
    offsets = {0: (5, 4), len(xs) - 1: (5, -9)} if len(xs) > 1 else {0: (5, 4)}
    offsets.setdefault(int(np.argmin(xs * ys)), (5, -2))
    for i, offset in offsets.items():
        if texts[i]:
            axes.annotate(
                texts[i], (xs[i], ys[i]), offset, textcoords="offset points", size=TEXT, zorder=6,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )  # fmt: skip
