"""Figures of a sweep, from its frame: one call each, the data computed first and then drawn.

``energy_latency`` with the Pareto front, ``heat_map`` over two axes, ``energy_by_level``,
``latency_by_layer``, ``roofline``, ``scaling`` with the size of the array; ``every`` draws all that
a frame has the data for.  Each takes the frame of ``sweep`` (a row per layer, or totals where that
is enough), of one workload, and returns a matplotlib ``Figure`` that belongs to no window;
``plots.save`` writes it.  Raises ValueError for a frame that does not have what a figure shows.

Rows without a result are left out, or hatched in the heat map.  Dataflows are told apart by colour
and by marker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from accelsim.explore.row_names import energy_column, varied_axes
from accelsim.view import plots
from accelsim.view.swept.array_scaling import scaling, scaling_data
from accelsim.view.swept.energy_latency import energy_latency, energy_latency_data
from accelsim.view.swept.heat_map import heat_map, heat_map_data
from accelsim.view.swept.sweep_frame import finished_totals, labels, layer_rows, unlimited
from accelsim.view.swept.swept_roofline import roofline, roofline_data

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "energy_by_level",
    "energy_latency",
    "energy_latency_data",
    "every",
    "heat_map",
    "heat_map_data",
    "latency_by_layer",
    "roofline",
    "roofline_data",
    "scaling",
    "scaling_data",
]

MOST_BARS = 24


def energy_by_level(frame: pd.DataFrame) -> Figure:
    """Stacked energy of each architecture and dataflow, by level and network; the 24 of least
    energy if there are more.
    """
    totals = finished_totals(frame)
    energy = energy_column(totals)
    names, machines = labels(totals), totals["set"].nunique()
    if machines > MOST_BARS:
        least = totals.groupby("set", sort=False)[energy].min().nsmallest(MOST_BARS).index
        keep = totals["set"].isin(least)
        told = f"the {MOST_BARS} of {machines} architectures of least energy"
        totals, names = totals[keep].assign(arch=totals["arch"] + f", {told}"), names[keep]
    bars = totals.assign(layer=names)
    bars = bars.drop(columns=["set", *varied_axes(totals)], errors="ignore")
    return plots.energy(bars, note=unlimited(frame))


def latency_by_layer(frame: pd.DataFrame) -> Figure:
    """Stacked cycles of each layer, for each dataflow on the architecture that is fastest under
    it.
    """
    rows = layer_rows(frame, "latency_by_layer")
    totals = finished_totals(frame)
    best = totals.loc[totals.groupby("dataflow", sort=False)["cycles"].idxmin()]
    keep = rows.merge(best[["arch", "set", "dataflow"]], on=["arch", "set", "dataflow"])
    machines = [f" {label}" if label else "" for label in labels(keep, within=totals)]
    named = keep.assign(dataflow=keep["dataflow"] + machines)
    named = named.drop(columns=["set", *varied_axes(rows)], errors="ignore")
    return plots.latency(named, note=unlimited(frame))


_KINDS: Sequence[tuple[str, Callable[[pd.DataFrame], Figure]]] = (
    ("energy_latency", energy_latency),
    ("heat_map", heat_map),
    ("energy_by_level", energy_by_level),
    ("latency_by_layer", latency_by_layer),
    ("roofline", roofline),
    ("scaling", scaling),
)


def every(frame: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Names and figures of all that the frame has the data for, workload by workload."""
    networks = list(dict.fromkeys(frame["workload"]))
    for network in networks:
        for name, draw in _KINDS:
            try:
                figure = draw(frame[frame["workload"] == network])
            except ValueError:
                continue
            yield (name if len(networks) == 1 else f"{network}_{name}"), figure
