"""The figures of the Eyeriss study, from its tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accelsim.view.plots import save
from accelsim.view.style import house_style

MEASURED, ENGINES = "#555555", {"analytic": "#0072B2", "event": "#E69F00"}
LINK, NETWORKS, COMPUTE = "#D55E00", "#56B4E9", "#0072B2"
NAMES = {
    "processing": "processing latency",
    "total": "total latency",
    "active_pes": "active PEs",
    "glb": "GLB traffic",
    "dram": "DRAM traffic",
}


def draw(
    cells: pd.DataFrame, frames: list[pd.DataFrame], vgg: pd.DataFrame, folder: Path
) -> Iterator[Path]:
    """Every figure as PNG and SVG."""
    with house_style():
        drawn = {
            "alexnet": _bars(cells),
            "alexnet_off": _off(cells),
            "alexnet_cycles": _cycles(frames[0], cells),
            "vgg16": _vgg(vgg),
        }
    for name, figure in drawn.items():
        yield from save(figure, folder, name)


def _bars(cells: pd.DataFrame) -> Figure:
    """Measured beside predicted, a panel a quantity."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes, (name, label) in zip(panels.flat, NAMES.items(), strict=False):
        of = cells[(cells["quantity"] == name) & (cells["layer"] != "total")]
        layers = list(dict.fromkeys(of["layer"]))
        x, width = np.arange(len(layers)), 0.27
        measured = of[of["engine"] == of["engine"].iloc[0]]["measured"]
        axes.bar(x - width, measured, width, color=MEASURED, label="chip, measured")
        for k, (engine, colour) in enumerate(ENGINES.items()):
            mine = of[of["engine"] == engine]["predicted"].fillna(0)
            axes.bar(
                x + k * width,
                mine,
                width,
                color=colour,
                hatch="" if k == 0 else "////",
                edgecolor="white",
                linewidth=0,
                label=engine,
            )
        unit = of["unit"].iloc[0]
        axes.set_title(label + (f" ({unit})" if unit else ""), fontsize=9, loc="left")
        _plain(axes, x, layers)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    panels[1, 2].axis("off")
    panels[1, 2].legend(
        handles,
        labels,
        loc="center left",
        frameon=False,
        fontsize=9,
        title="AlexNet, batch 4",
        title_fontsize=9,
        alignment="left",
    )
    return figure


def _off(cells: pd.DataFrame) -> Figure:
    """How far off each cell is, with what is allowed."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, len(NAMES), sharey=True)
    layers = list(dict.fromkeys(cells["layer"]))
    x = np.arange(len(layers))
    for axes, (name, label) in zip(panels, NAMES.items(), strict=True):
        of = cells[cells["quantity"] == name]
        first = of[of["engine"] == of["engine"].iloc[0]]
        for at, allowed in zip(x, first["allowed"], strict=True):
            if pd.notna(allowed):
                axes.bar(
                    at,
                    200 * max(allowed, 0.001),
                    0.9,
                    bottom=-100 * max(allowed, 0.001),
                    color="#dddddd",
                    zorder=0,
                )
        for k, (engine, colour) in enumerate(ENGINES.items()):
            shift = 0.16 * (2 * k - 1)
            axes.plot(
                x + shift,
                100 * of[of["engine"] == engine]["off"],
                "os"[k],
                color=colour,
                markersize=5,
                label=engine,
                linestyle="none",
            )
        axes.axhline(0, color="black", linewidth=0.7)
        axes.set_title(label, fontsize=9, loc="left")
        _plain(axes, x, layers, 90)
    panels[0].set_ylabel("predicted over measured - 1 (%)")
    panels[0].set_ylim(-17, 17)
    panels[2].bar([0], [0], color="#dddddd", label="allowed")
    panels[2].legend(frameon=False, fontsize=8, loc="lower center")
    return figure


def _cycles(frame: pd.DataFrame, cells: pd.DataFrame) -> Figure:
    """Where the predicted latency goes, beside the measured one."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    x, ms = np.arange(len(frame)), 200e3
    parts: dict[str, Any] = {
        "MACs": (frame["compute_cycles"] / ms, COMPUTE, ""),
        "loading and draining PEs": (
            frame["processing"] - frame["compute_cycles"] / ms,
            NETWORKS,
            "////",
        ),
        "DRAM link": (frame["total"] - frame["processing"], LINK, "...."),
    }
    under = np.zeros(len(frame))
    for label, (value, colour, hatch) in parts.items():
        axes.bar(
            x - 0.2,
            value,
            0.38,
            bottom=under,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=label,
        )
        under = under + value.to_numpy()
    chip = cells[cells["engine"] == cells["engine"].iloc[0]].set_index(["quantity", "layer"])[
        "measured"
    ]
    done = np.array([chip["processing", n] for n in frame["layer"]])
    axes.bar(x + 0.2, done, 0.38, color=MEASURED, label="chip: processing")
    rest = np.array([chip["total", n] for n in frame["layer"]]) - done
    axes.bar(
        x + 0.2,
        rest,
        0.38,
        bottom=done,
        color="#bbbbbb",
        hatch="....",
        edgecolor="white",
        linewidth=0,
        label="chip: DRAM link",
    )
    axes.set_ylabel("ms for 4 images")
    _plain(axes, x, list(frame["layer"]))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _vgg(vgg: pd.DataFrame) -> Figure:
    """VGG-16: the chip's mapping and the alternative."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    chip, other = (vgg[vgg["mapping"] == m] for m in ("chip", "mapper"))
    x = np.arange(len(chip))
    for k, (label, frame, colour) in enumerate(
        (("eyeriss_vgg16", chip, COMPUTE), ("mapper", other, "#009E73"))
    ):
        at = x + 0.4 * k - 0.2
        axes.bar(at, frame["processing"], 0.38, color=colour, label=f"{label}: processing")
        link = frame["total"] - frame["processing"]
        hatch = "...." if k == 0 else "\\\\\\\\"
        axes.bar(
            at,
            link,
            0.38,
            bottom=frame["processing"],
            color=LINK,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=f"{label}: DRAM link",
        )
    axes.set_ylabel("predicted ms for 3 images")
    _plain(axes, x, list(chip["layer"]), 45)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _plain(axes: Axes, x: Any, names: list[str], turn: float = 0) -> None:
    axes.set_xticks(x, names, fontsize=8, rotation=turn, ha="right" if 0 < turn < 90 else "center")
    axes.tick_params(axis="y", labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
