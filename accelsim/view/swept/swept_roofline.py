"""The roofline of a sweep: every layer a point, under the arrays' roofs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.view.roofline import Roof
from accelsim.view.style import GREY, TENSORS, TEXT, printed, sweep_style
from accelsim.view.swept.canvas import canvas, legend
from accelsim.view.swept.sweep_frame import MANY, flows, layer_rows, pe_counts, title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def roofline_data(frame: pd.DataFrame, outer: str | None = None) -> pd.DataFrame:
    """A row per layer that has a result: ``macs_per_word`` of the outermost level,
    ``macs_per_cycle``, ``pes`` and what names it.

    Words are reads and writes of all tensors at ``outer``, the first level in the columns if not
    named.
    """
    rows = layer_rows(frame, "roofline")
    rows = rows[rows["cycles"].notna()]
    levels = [
        str(c).removesuffix("_weight_reads")
        for c in rows.columns
        if str(c).endswith("_weight_reads") and rows[c].notna().any()
    ]
    outer = outer or next(iter(levels), None)
    if outer not in levels:
        raise ValueError(f"roofline: the frame has no counts of a level {outer or ''}".rstrip())
    words = sum(
        rows[f"{outer}_{t}_{way}"].fillna(0).astype(float)
        for t in TENSORS
        for way in ("reads", "writes")
    )
    points = rows[[c for c in ("layer", "arch", "set", "dataflow") if c in rows.columns]].copy()
    points["macs_per_word"] = rows["macs"].astype(float) / words
    points["macs_per_cycle"] = rows["macs"].astype(float) / rows["cycles"].astype(float)
    points["pes"] = pe_counts(rows)
    points["outer"] = outer
    return points[np.isfinite(points["macs_per_word"])].reset_index(drop=True)


def roofline(
    frame: pd.DataFrame, words_per_cycle: float | None = None, outer: str | None = None
) -> Figure:
    """Every layer as a point: MACs per cycle against MACs per word of the outermost level, under
    the array's roof.

    ``words_per_cycle``, if given, is the bandwidth of the outermost level and draws the slanted
    roof.
    """
    data = roofline_data(frame, outer)
    with sweep_style():
        figure, axes = canvas(title(frame, "roofline"))
        many = len(data) > 300
        faint: dict[str, Any] = {"s": 8, "alpha": 0.45} if many else {"s": 18, "alpha": 0.85}
        for flow, rows, look in flows(data):
            axes.scatter(
                rows["macs_per_word"],
                rows["macs_per_cycle"],
                linewidth=0,
                label=flow,
                zorder=3,
                rasterized=len(data) > MANY,
                **faint,
                **look,
            )
        low, high = data["macs_per_word"].min() / 1.6, data["macs_per_word"].max() * 1.6
        axes.set(xscale="log", yscale="log", xlim=(low, high))
        sizes = sorted(data["pes"].unique())
        roofs = [Roof(pes, words_per_cycle) for pes in sizes]
        _draw_roofs(axes, roofs, low, high)
        axes.set_ylim(data["macs_per_cycle"].min() / 1.6, sizes[-1] * 1.8)
        outermost = printed(data["outer"].iloc[0])
        axes.set(xlabel=f"MACs per word of {outermost}", ylabel="MACs per cycle")
        legend(axes)
    return figure


def _draw_roofs(axes: Axes, roofs: list[Roof], low: float, high: float) -> None:
    """A level roof an array, the smallest and the largest where there are many; one slanted roof,
    as far as the largest array's goes.
    """
    note: dict[str, Any] = {"textcoords": "offset points", "size": TEXT, "color": GREY}
    for roof in roofs if len(roofs) <= 4 else [roofs[0], roofs[-1]]:
        level = roof.level(low, high)
        axes.plot(*level, color=GREY, linewidth=1.0)
        if level[0][0] < high:
            axes.annotate(f"{roof.peak:.0f} PEs", (high, roof.peak), (-3, 2), ha="right", **note)
    bandwidth = roofs[-1].bandwidth
    if bandwidth is not None:
        axes.plot(*roofs[-1].slant(low, high), color=GREY, linewidth=1.0, linestyle="--")
        axes.annotate(f"{bandwidth:g} words a cycle", (low, low * bandwidth), (4, 6), **note)
