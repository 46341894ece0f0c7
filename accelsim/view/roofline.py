"""The roofline of a result: how much work each layer gets out of a byte, and what the array and the
outermost port then allow.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model for multicore architectures", CACM 52(4)
2009: attainable = min(peak, bandwidth x intensity).  Here peak is rows x cols MACs a cycle, bandwidth the outermost level's
port, and intensity MACs per byte that crosses it, as counted.  ``roofline_data`` computes, ``roofline`` draws just that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.view.plots import house_style
from accelsim.workload.problem import TENSORS

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.figure import Figure

    from accelsim.results.result import Result

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # Okabe and Ito's
MARKERS = "osD^vPX"


def roofline_data(result: Result) -> pd.DataFrame:
    """One row per mapped layer and dataflow.

    ``macs_per_byte`` are MACs per byte read from and written to the outermost level;
    ``gmacs_per_s`` is what was reached, ``peak_gmacs_per_s`` the array's, ``bandwidth_gb_per_s``
    the port's (NaN: no port, never waited for), ``attainable_gmacs_per_s`` the lower of the two
    roofs, and ``bound`` says which: compute or memory.
    """
    import pandas as pd

    found = []
    for row in result.rows:
        if row.nest is None or row.columns.get("cycles") is None:
            continue
        nest, arch = row.nest, row.nest.arch
        name, level = arch.level_names[0], arch.levels[arch.level_names[0]]
        bits = sum(
            (row.columns[f"{name}_{t}_reads"] + row.columns[f"{name}_{t}_writes"])
            * nest.footprint.word_bits(0, t)
            for t in TENSORS
        )
        peak = arch.array.rows * arch.array.cols * arch.clock_mhz / 1e3
        bandwidth = (
            np.nan
            if level.port_bits is None
            else level.port_bits * (level.port_clock_mhz or arch.clock_mhz) / 8e3
        )
        intensity = row.columns["macs"] / (bits / 8)
        slope = np.inf if level.port_bits is None else bandwidth * intensity
        found.append(
            {k: row.columns.get(k) for k in ("workload", "layer", "arch", "dataflow")}
            | {
                "macs_per_byte": intensity,
                "gmacs_per_s": row.columns["gmacs_per_s"],
                "peak_gmacs_per_s": peak,
                "bandwidth_gb_per_s": bandwidth,
                "attainable_gmacs_per_s": min(peak, slope),
                "bound": "memory" if slope < peak else "compute",
            }
        )
    return pd.DataFrame(found)


def roofline(result: Result) -> Figure:
    """Layers as points under the roofs, one colour and marker a dataflow.  Raises ValueError where
    no layer was mapped.
    """
    data = roofline_data(result)
    if not len(data):
        raise ValueError("roofline: no layer was mapped")
    with house_style():
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        low, high = data["macs_per_byte"].min() / 3, data["macs_per_byte"].max() * 3
        roofs = data.drop_duplicates(["arch", "peak_gmacs_per_s", "bandwidth_gb_per_s"])
        for _, roof in roofs.iterrows():
            _roof(axes, roof, low, high, data["gmacs_per_s"].min() / 2)
        for k, (flow, rows) in enumerate(data.groupby("dataflow", sort=False)):
            colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
            axes.scatter(
                rows["macs_per_byte"],
                rows["gmacs_per_s"],
                s=28,
                label=flow,
                zorder=3,
                color=colour,
                marker=marker,
            )
        best = data.loc[data.groupby("layer", sort=False)["gmacs_per_s"].idxmax()]
        floor = data["gmacs_per_s"].min() / 2
        if len(best) <= 12:
            span = np.log([high / low, data["peak_gmacs_per_s"].max() * 2 / floor])
            for names, x, y in _clusters(best, span):
                _note(axes, names, x, y, -12 if "," in names else 4)
        axes.set(
            xscale="log",
            yscale="log",
            xlim=(low, high),
            xlabel="MACs per byte of the outermost level",
            ylabel="10$^9$ MACs a second",
        )
        axes.set_ylim(floor, data["peak_gmacs_per_s"].max() * 2)
        axes.legend(loc="lower right", frameon=False)
    return figure


def _clusters(best: pd.DataFrame, span: Any) -> list[tuple[str, float, float]]:
    """Names of layers and where to write them; layers that all but coincide are named together."""
    found: list[tuple[list[str], float, float]] = []
    for name, x, y in zip(best["layer"], best["macs_per_byte"], best["gmacs_per_s"], strict=True):
        near = next(
            (
                c
                for c in found
                if np.all(np.abs(np.log([x / c[1], y / c[2]])) < span * (0.08, 0.05))
            ),
            None,
        )
        if near is None:
            found.append(([name], x, y))
        else:
            near[0].append(name)
    return [(", ".join(names), x, y) for names, x, y in found]


def _roof(axes: Any, roof: Any, low: float, high: float, floor: float) -> None:
    peak, bandwidth = roof["peak_gmacs_per_s"], roof["bandwidth_gb_per_s"]
    axes.axhline(peak, color="#555555", linewidth=1.2)
    _note(axes, f"{roof['arch']}: {peak:.4g} at its peak", low, peak, 3)
    if np.isnan(bandwidth):
        return
    ridge = peak / bandwidth
    axes.plot(
        [low, min(ridge, high)],
        [bandwidth * low, bandwidth * min(ridge, high)],
        color="#555555",
        linewidth=1.2,
        linestyle="--",
    )
    middle = float(np.sqrt(max(low, floor / bandwidth) * min(ridge, high)))
    _note(axes, f"{bandwidth:.4g} GB/s", middle, bandwidth * middle, -12)


def _note(axes: Any, text: str, x: float, y: float, up: int) -> None:
    axes.annotate(
        text, (x, y), xytext=(4, up), textcoords="offset points", fontsize=7, color="#333333"
    )
