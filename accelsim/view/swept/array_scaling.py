"""Cycles and energy against the number of PEs, beside ideal scaling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.explore.row_names import energy_column
from accelsim.view.style import DPI, GREY, WIDTH, sweep_style
from accelsim.view.swept.canvas import below, heading, legend, plain_grid, spread
from accelsim.view.swept.sweep_frame import (
    MANY,
    finished_totals,
    flows,
    pe_counts,
    title,
    unlimited,
)
from accelsim.view.swept.units import scaled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def scaling_data(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per architecture and dataflow: ``pes``, ``cycles``, ``energy``, and whether it is
    ``best``.

    The best are those with fewer cycles than any other of as many PEs or fewer.
    """
    totals = finished_totals(frame)
    energy = energy_column(totals)
    points = totals[[c for c in ("arch", "set", "dataflow") if c in totals.columns]].copy()
    points["pes"], points["cycles"] = pe_counts(totals), totals["cycles"].astype(float)
    points["energy"], points["unit"] = totals[energy].astype(float), energy
    ordered = points.sort_values(["pes", "cycles"], kind="stable")
    before = ordered.groupby("dataflow")["cycles"].transform(
        lambda c: c.cummin().shift(fill_value=np.inf)
    )
    points["best"] = (ordered["cycles"] < before).reindex(points.index)
    return points.sort_values("pes", kind="stable", ignore_index=True)


def scaling(frame: pd.DataFrame) -> Figure:
    """Cycles and energy against the number of PEs.

    Arrays that are faster than all of their size and smaller ones are joined, the others faint;
    dashed is ideal scaling.
    """
    data = scaling_data(frame)
    if data["pes"].nunique() < 2:
        raise ValueError("scaling: the frame has arrays of one size only")
    with sweep_style():
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(WIDTH, 3.1), dpi=DPI, layout="constrained")
        heading(figure, title(frame, "scaling with the size of the array"))
        left, right = figure.subplots(1, 2)
        energy, energy_label = scaled(data["energy"], data["unit"].iloc[0])
        cycles, cycles_label = scaled(data["cycles"], "cycles")
        _draw_arrays(left, data, cycles, joined=True)
        _draw_arrays(right, data, energy, joined=False)
        _draw_ideal(left, data, cycles)
        left.set(xscale="log", xlabel="PEs", ylabel=cycles_label)
        spread(left, "y", cycles, always=True)
        right.set(xscale="log", xlabel="PEs", ylabel=energy_label)
        if energy.max() > 8 * energy.min() > 0:
            spread(right, "y", energy)
        else:
            right.set_ylim(0, None)
        for axes in (left, right):
            _sizes(axes, sorted(data["pes"].unique()))
        legend(left)
        below(figure, [unlimited(frame)])
    return figure


def _draw_arrays(axes: Axes, data: pd.DataFrame, values: Any, *, joined: bool) -> None:
    """All arrays faint, the best of each size in full.

    Where there are many and they are not ``joined``, no line is drawn: energies of arrays of many
    shapes go up and down.
    """
    for flow, rows, look in flows(data):
        best = rows[rows["best"]].sort_values("pes")
        few = len(best) <= 30
        axes.scatter(
            rows["pes"],
            values[rows.index],
            s=7,
            alpha=0.3,
            linewidth=0,
            rasterized=len(data) > MANY,
            **look,
        )
        axes.plot(
            best["pes"],
            values[best.index],
            linewidth=1.1 if few or joined else 0.0,
            markersize=4 if few else 2.5,
            label=flow,
            **look,
        )


def _draw_ideal(axes: Axes, data: pd.DataFrame, cycles: Any) -> None:
    """Cycles of the best of the smallest arrays, divided as the array grows."""
    first = data[data["best"]].sort_values(["pes", "cycles"]).iloc[0]
    ends = np.array([data["pes"].min(), data["pes"].max()])
    ideal = cycles[first.name] * first["pes"] / ends
    axes.plot(ends, ideal, color=GREY, linewidth=1.0, linestyle="--", label="ideal")


def _sizes(axes: Axes, sizes: list[float]) -> None:
    """Ticks at sizes of the array, as many as there is room for."""
    from matplotlib.ticker import NullFormatter, NullLocator

    shown: list[float] = []
    room = math.log(sizes[-1] / sizes[0]) / 7
    for size in sizes:
        if not shown or math.log(size / shown[-1]) >= room:
            shown.append(size)
    axes.set_xticks(shown, [f"{s:.0f}" for s in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    plain_grid(axes)
