"""The study's picture: predicted over measured cycles, a point a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from accelsim.view.plots import save
from accelsim.view.style import GREY, MARKERS, SERIES, house_style

TITLES = {"auto": "Gemmini's own tiling", "mapping": "given mapping"}


def draw(frame: pd.DataFrame, folder: Path) -> Iterator[Path]:
    """The figure as PNG and SVG."""
    with house_style():
        figure = _scatter(frame)
    yield from save(figure, folder, "gemmini")


def _scatter(frame: pd.DataFrame) -> Figure:
    """Measured cycles across, predicted over measured up, by kind of layer."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    kinds = sorted(frame["kind"].unique())
    for axes, (tiling, title) in zip(panels, TITLES.items(), strict=True):
        axes.axhspan(0.8, 1.2, color="#eeeeee", zorder=0)
        axes.axhline(1, color=GREY, linewidth=0.8)
        for k, kind in enumerate(kinds):
            of = frame[frame["kind"] == kind]
            axes.plot(
                of[f"rtl_cycles_{tiling}"],
                of[f"predicted_{tiling}"] / of[f"rtl_cycles_{tiling}"],
                MARKERS[k % len(MARKERS)],
                color=SERIES[k % len(SERIES)],
                markersize=4,
                markerfacecolor="none",
                linestyle="none",
                label=kind,
            )
        axes.set_xscale("log")
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("cycles of the RTL")
    panels[0].set_ylabel("predicted / measured")
    panels[0].set_ylim(0, 2)
    panels[1].legend(frameon=False, fontsize=7, loc="upper right", ncols=2)
    return figure
