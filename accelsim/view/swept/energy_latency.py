"""Energy against latency: every architecture and dataflow a point, and the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelsim.explore.pareto import on_front
from accelsim.explore.row_names import energy_column, varied_axes
from accelsim.view.style import TEXT, sweep_style
from accelsim.view.swept.canvas import below, canvas, legend, spread
from accelsim.view.swept.sweep_frame import MANY, finished_totals, flows, labels, title, unlimited
from accelsim.view.swept.units import scaled

LETTERS = "ABC"
BESIDE = (-8, 2), (-6, -7), (3, -8)  # where each stands, in points from its own

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

    Those on the Pareto front are joined; its ends and the point of least energy x latency have
    letters, and below the picture stands which they are.
    """
    data = energy_latency_data(frame)
    named = _named(data)
    with sweep_style():
        figure, axes = canvas(title(frame, "energy against latency"), 2.7 + 0.13 * len(named))
        x, x_label = scaled(data["latency"], "time_s")
        y, y_label = scaled(data["energy"], data["unit"].iloc[0])
        many = len(data) >= 300
        axes.margins(0.12)  # room for the letter of a point in a corner
        for flow, rows, look in flows(data):
            axes.scatter(
                x[rows.index],
                y[rows.index],
                s=5 if many else 11,
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
        # left of the front and below it is nothing; letters of points that touch stand apart
        for letter, place, beside in zip(LETTERS, named, BESIDE, strict=False):
            axes.annotate(
                letter, (x[place], y[place]), beside, textcoords="offset points", size=TEXT,
                weight="bold", ha="center", va="center", zorder=6,
            )  # fmt: skip
        axes.set(xlabel=x_label, ylabel=y_label)
        legend(axes)
        letters = zip(LETTERS, named, strict=False)
        key = [f"{a}  {data['point'][i]}, {data['dataflow'][i]}" for a, i in letters]
        below(figure, [*key, unlimited(frame)])
    return figure


def _named(data: pd.DataFrame) -> list[int]:
    """Places of the points with a letter: both ends of the front and the point of least energy x
    latency, in order of latency; none where no axis tells points apart.
    """
    best = data[data["front"]].sort_values("latency")
    if not len(best) or not any(best["point"]):
        return []
    least = (best["latency"] * best["energy"]).idxmin()
    chosen = {best.index[0], best.index[-1], least}
    return [int(place) for place in best.index if place in chosen]


def _draw_front(axes: Axes, x: Any, y: Any) -> None:
    """A staircase through the points of the front, where it has several, and a ring around each."""
    if len(x) > 1:
        axes.plot(
            x, y, color="black", linewidth=0.9, drawstyle="steps-post", zorder=4,
            label="Pareto front",
        )  # fmt: skip
    axes.scatter(
        x, y, s=24, facecolor="none", edgecolor="black", linewidth=0.8, zorder=5,
        label="Pareto front" if len(x) == 1 else None,
    )  # fmt: skip
