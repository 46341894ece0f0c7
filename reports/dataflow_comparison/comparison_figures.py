"""The paper's figures, redrawn from our numbers, and the table against its equations."""

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

# component -> printed name, colour, hatching (Okabe and Ito's colours)
LEVELS = {
    "compute": ("ALU", "#000000", ""),
    "dram": ("DRAM", "#D55E00", ""),
    "buffer": ("buffer", "#E69F00", "////"),
    "array": ("array", "#56B4E9", "...."),
    "pe": ("RF", "#009E73", "\\\\\\\\"),
}
TENSORS = {
    "compute": ("ALU", "#000000", ""),
    "weight": ("weights", "#0072B2", ""),
    "ifmap": ("ifmaps", "#E69F00", "////"),
    "ofmap": ("psums", "#CC79A7", "...."),
}
ORDER = ("RS", "WS", "OSA", "OSB", "OSC", "NLR")
WHY = {
    "OSA": "whole: the paper fetches the buffer's ifmaps anew for every tile of filters and every "
    "halo; these tiles then cost {whole:+.3f}",
    "OSB": "whole: the paper fetches all R rows anew for every row of outputs; these tiles then "
    "cost {whole:+.3f}",
    "OSC": "whole: the paper fetches the whole window anew for every pixel; these tiles then cost "
    "{whole:+.3f}",
    "NLR": "unwired: the paper charges no hop for a weight that goes to one PE; these tiles then "
    "cost {unwired:+.3f}",
}
E_ALLOWED, W_ALLOWED = 0.10, 0.15


def draw(
    frame: pd.DataFrame,
    sums: pd.DataFrame,
    table: pd.DataFrame,
    reference: dict[str, Any],
    folder: Path,
) -> Iterator[Path]:
    """Every figure as PNG and SVG."""
    with house_style():
        drawn = {}
        for part in ("CONV", "FC"):
            of = sums[sums["part"] == part]
            drawn[f"{part.lower()}_by_level"] = _stacked(
                of, LEVELS, f"AlexNet {part}: energy per MAC by level"
            )
            drawn[f"{part.lower()}_by_tensor"] = _stacked(
                of, TENSORS, f"AlexNet {part}: energy per MAC by tensor"
            )
            drawn[f"{part.lower()}_dram"] = _stacked(
                of, {"dram_words": ("", "#D55E00", "")}, f"AlexNet {part}: DRAM accesses per MAC"
            )
        drawn["reference"] = _against(table)
        drawn["rs_layers"] = _layers(frame, reference["fig10_rs_256pe_n16_1e9"])
    for name, figure in drawn.items():
        yield from save(figure, folder, name)


def _stacked(sums: pd.DataFrame, parts: dict[str, tuple[str, str, str]], title: str) -> Figure:
    """A panel per array size; groups of dataflows per batch; a stack of components each."""
    sizes, batches = sorted(sums["pes"].unique()), sorted(sums["batch"].unique())
    figure = Figure(figsize=(3.6 * len(sizes), 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(sizes), sharey=True))
    for axes, size in zip(panels, sizes, strict=True):
        places, names = [], []
        for b, batch in enumerate(batches):
            of = sums[(sums["pes"] == size) & (sums["batch"] == batch)].set_index("dataflow")
            for k, flow in enumerate(ORDER):
                x = b * (len(ORDER) + 1) + k
                places.append(x)
                names.append(flow)
                if flow not in of.index:
                    axes.text(
                        x,
                        0,
                        "does not fit",
                        rotation=90,
                        ha="center",
                        va="bottom",
                        fontsize=7,
                        color="#555555",
                    )
                    continue
                under = 0.0
                for part, (_, colour, hatch) in parts.items():
                    value = float(of.loc[flow, part])
                    axes.bar(
                        x,
                        value,
                        0.8,
                        bottom=under,
                        color=colour,
                        hatch=hatch,
                        edgecolor="white",
                        linewidth=0,
                    )
                    under += value
            axes.text(
                b * (len(ORDER) + 1) + (len(ORDER) - 1) / 2,
                -0.2,
                f"batch {batch}",
                ha="center",
                va="top",
                fontsize=8,
                transform=axes.get_xaxis_transform(),
            )
        axes.set_xticks(places, names, rotation=90, fontsize=7)
        axes.set_title(f"{size} PEs", fontsize=9, loc="left")
        _plain(axes)
    panels[0].set_ylabel(
        "accesses per MAC" if "dram_words" in parts else "energy of a MAC = 1", fontsize=8
    )
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    if len(parts) > 1:
        handles = [_patch(colour, hatch) for _, colour, hatch in parts.values()]
        figure.legend(
            handles,
            [label for label, _, _ in parts.values()],
            loc="outside lower center",
            ncols=len(parts),
            frameon=False,
            fontsize=8,
        )
    return figure


def _against(table: pd.DataFrame) -> Figure:
    """Energy and DRAM accesses per MAC by our rules, by the paper's on our nests, and the paper's
    equations.
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for row, batch in enumerate(sorted(table["batch"].unique())):
        of = table[table["batch"] == batch].set_index(["rules", "dataflow"])
        for col, (what, label) in enumerate(
            (("energy", "energy per MAC"), ("dram", "DRAM accesses per MAC"))
        ):
            axes, x = panels[row, col], np.arange(len(ORDER))
            values = {
                "published equations": (
                    [of.loc["ours", d][f"{what}_reference"] for d in ORDER],
                    "#555555",
                    "",
                ),
                "ours": ([of.loc["ours", d][what] for d in ORDER], "#0072B2", ""),
                "ours, with the paper's rules": (
                    [of.loc["paper's", d][what] for d in ORDER],
                    "#E69F00",
                    "////",
                ),
            }
            for k, (name, (height, colour, hatch)) in enumerate(values.items()):
                axes.bar(
                    x + 0.27 * (k - 1),
                    height,
                    0.27,
                    color=colour,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0,
                    label=name,
                )
            axes.set_xticks(x, ORDER, fontsize=8)
            axes.set_title(f"{label}, batch {batch}", fontsize=9, loc="left")
            _plain(axes)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _layers(frame: pd.DataFrame, reference: dict[str, Any]) -> Figure:
    """Row-stationary layer by layer, 256 PEs, batch 16, with figure 10's bars of the paper beside
    ours.
    """
    of = frame.query("dataflow == 'RS' and pes == 256 and batch == 16").set_index("layer")
    names = {"fc1": "fc6", "fc2": "fc7", "fc3": "fc8"}
    published = {
        names.get(k, k): dict(zip(reference["order"], v, strict=True))
        for k, v in reference["values"].items()
    }
    layers = [n for n in published if n in of.index]
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes, x = figure.subplots(), np.arange(len(layers))
    ours, paper = np.zeros(len(layers)), np.zeros(len(layers))
    for part in ("compute", "dram", "pe", "buffer", "array"):
        name, colour, hatch = LEVELS[part]
        value = of.loc[layers, part].to_numpy(float) / 1e9
        axes.bar(
            x - 0.2,
            value,
            0.36,
            bottom=ours,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=name,
        )
        ours += value
        if name in reference["order"]:
            value = np.array([published[n][name] for n in layers])
            axes.bar(
                x + 0.2,
                value,
                0.36,
                bottom=paper,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0,
                alpha=0.55,
            )
            paper += value
    axes.set_xticks(x, layers, fontsize=8)
    axes.set_ylabel("energy (1e9 MACs)", fontsize=8)
    axes.set_title(
        "Row-stationary, 256 PEs, batch 16: ours (left), figure 10 of the paper (pale; ALU, DRAM "
        "and RF)",
        fontsize=9,
        loc="left",
    )
    axes.legend(frameon=False, fontsize=8)
    _plain(axes)
    return figure


def markdown(table: pd.DataFrame) -> str:
    """Every cell of the comparison; a cell that misses with the rule that causes it, in numbers."""
    lines = [
        "# Six dataflows, AlexNet CONV, 256 PEs of equal area",
        "",
        "Reference: the published equations with their best tiles (ISCA 2016). `ours` are "
        "accelsim's counts with our best tiles;",
        "`paper's` has the two rules of `study.py` on top, with the best tiles under them.",
        "Allowed: 10 % of energy, 15 % of DRAM accesses.",
    ]
    heads = (
        "dataflow",
        "rules",
        "energy per MAC",
        "reference",
        "off",
        "DRAM per MAC",
        "reference",
        "off",
        "rank",
        "reference",
        "held",
    )
    for batch, some in table.groupby("batch"):
        lines += [
            "",
            f"## Batch {batch}",
            "",
            "| " + " | ".join((*heads, "rule that causes it")) + " |",
            "|---" * 12 + "|",
        ]
        for r in some.itertuples():
            held = abs(r.energy_off) <= E_ALLOWED and abs(r.dram_off) <= W_ALLOWED
            why = "" if held else WHY.get(r.dataflow, "").format(whole=r.whole, unwired=r.unwired)
            energy = f"{r.energy:.3f} | {r.energy_reference:.3f} | {r.energy_off:+.1%}"
            dram = f"{r.dram:.6f} | {r.dram_reference:.6f} | {r.dram_off:+.1%}"
            ranks = f"{r.rank} | {r.rank_reference} | {'yes' if held else '**no**'}"
            lines.append(f"| {r.dataflow} | {r.rules} | {energy} | {dram} | {ranks} | {why} |")
    return "\n".join(lines) + "\n"


def _patch(colour: str, hatch: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0)


def _plain(axes: Axes) -> None:
    axes.tick_params(axis="y", labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
