"""The roofline of a sweep: every layer a point, under the arrays' roofs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base.text_table import spaced
from accelsim.hardware.ports import port
from accelsim.view.roofline import Roof
from accelsim.view.style import GREY, TENSORS, TEXT, printed, sweep_style
from accelsim.view.swept.canvas import below, canvas, spread
from accelsim.view.swept.sweep_frame import flows, layer_rows, machines, pe_counts, title, unlimited

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST = 300  # points up to which all are drawn alike


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

    ``words_per_cycle`` is the bandwidth of the outermost level, in words of its widest operand,
    which draws the slanted roof; unless given it is that of the machines' port, where the frame or
    a shipped architecture tells one width for all.  Of many points the fastest of each layer and
    dataflow stand out.
    """
    data = roofline_data(frame, outer)
    if words_per_cycle is None:
        words_per_cycle = port_words(frame, str(data["outer"].iloc[0]))
    with sweep_style():
        figure, axes = canvas(title(frame, "roofline"))
        shown, notes = data, [unlimited(frame)]
        if len(data) > MOST:
            _draw_all(axes, data)
            keys = ["dataflow", "layer"] if "layer" in data.columns else ["dataflow"]
            shown = data.loc[data.groupby(keys, sort=False)["macs_per_cycle"].idxmax()]
            notes.append(f"grey: all {spaced(len(data))} points; in colour each layer's fastest")
        for flow, rows, look in flows(shown):
            axes.scatter(
                rows["macs_per_word"], rows["macs_per_cycle"], s=11, alpha=0.85, linewidth=0,
                label=flow, zorder=3, **look,
            )  # fmt: skip
        low, high = data["macs_per_word"].min() / 1.6, data["macs_per_word"].max() * 1.6
        axes.set(xscale="log", yscale="log", xlim=(low, high))
        sizes = sorted(data["pes"].unique())
        roofs = [Roof(pes, words_per_cycle) for pes in sizes]
        _draw_roofs(axes, roofs, low, high)
        top = max(sizes[0], roofs[-1].attainable(high), data["macs_per_cycle"].max()) * 1.8
        axes.set_ylim(data["macs_per_cycle"].min() / 1.6, top)
        spread(axes, "x", [low, high], always=True)
        spread(axes, "y", axes.get_ylim(), always=True)
        outermost = printed(data["outer"].iloc[0])
        axes.set(xlabel=f"MACs per word of {outermost}", ylabel="MACs per cycle")
        axes.legend(frameon=False, fontsize=TEXT, loc="lower right")
        below(figure, notes)
    return figure


def _draw_all(axes: Axes, data: pd.DataFrame) -> None:
    """Many points, faint and one picture in an SVG."""
    axes.scatter(
        data["macs_per_word"], data["macs_per_cycle"], s=2, color=GREY, alpha=0.12, linewidth=0,
        zorder=2, rasterized=True,
    )  # fmt: skip


def port_words(frame: pd.DataFrame, outer: str) -> float | None:
    """Words a cycle over the outermost level's port, if it is the same on all machines of a frame;
    None if it is not, or not known: the machine is none that is shipped.
    """
    keys = ("port_bits", "port_clock_mhz", "clock_mhz", "weight", "ifmap")
    widths = set()
    for arch in machines(frame, keys) or ():
        at = port(arch, arch.level_names.index(outer), "read") if outer in arch.levels else None
        bits = max(arch.bits.weight, arch.bits.ifmap)
        widths.add(None if at is None else float(at.rate / bits))
    return widths.pop() if len(widths) == 1 else None


def _draw_roofs(axes: Axes, roofs: list[Roof], low: float, high: float) -> None:
    """A level roof an array, the smallest and the largest where there are many; one slanted roof,
    as far as the largest array's goes.
    """
    note: dict[str, Any] = {"textcoords": "offset points", "size": TEXT, "color": GREY}
    for roof in roofs if len(roofs) <= 4 else [roofs[0], roofs[-1]]:
        level = roof.level(low, high)
        if level[0][0] >= high:
            continue  # the port's roof is the lower one over all of the picture
        axes.plot(*level, color=GREY, linewidth=0.9)
        axes.annotate(f"{roof.peak:.0f} PEs", (high, roof.peak), (-3, 2), ha="right", **note)
    bandwidth = roofs[-1].bandwidth
    if bandwidth is not None:
        axes.plot(*roofs[-1].slant(low, high), color=GREY, linewidth=0.9, linestyle="--")
        ends, heights = roofs[-1].slant(low, high)
        middle = float(np.sqrt(ends[0] * ends[1])), float(np.sqrt(heights[0] * heights[1]))
        axes.annotate(f"{bandwidth:g} words a cycle", middle, (-5, 2), ha="right", **note)
