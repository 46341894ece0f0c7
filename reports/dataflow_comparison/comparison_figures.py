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
RULES = ("choice", "kept", "cut", "unwired")
ALLOWED = {"energy": 0.10, "dram_words": 0.15}


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
    """Energy and DRAM accesses per MAC as printed, by our rules, and with the four rules between
    the two.
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
                "printed": (
                    [of.loc["ours", d][f"{what}_reference"] for d in ORDER],
                    "#555555",
                    "",
                ),
                "ours": ([of.loc["ours", d][what] for d in ORDER], "#0072B2", ""),
                "ours, and the four rules": (
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


HEAD = """# Six dataflows on AlexNet at equal area

*Printed* are the values of the published equations (ISCA 2016) for CONV on 256 PEs. *Paper's* are
those equations worked out again (`published.py`), here and for every other array and batch: of the
twelve printed cells every digit of energy and DRAM accesses is met. *Ours* are accelsim's counts
with our best tiles. Between the two lie four rules and nothing else; in every layer of every cell
the sum is equal to rounding of doubles:

paper's = ours + choice + kept + cut + unwired

- choice: our counts of the tiles that are best by the equations, less those of our best tiles.
- kept: the equations fetch a buffer tile whole at every step of the loops. Ours keep what it
  shares with the tile before.
- cut: the equations have F / f strips of f columns, a fraction if need be, and ceil(M / p) groups
  of filters. Ours count ceil(F / f) strips, and groups begin anew in every tile of filters.
- unwired: the equations take a weight to its one PE without a hop under WS and NLR. Ours is a hop.

Per MAC; energy in MACs, where a DRAM access is 200. *Off* is ours over the paper's, less one;
in bold beyond 10 % of energy or 15 % of DRAM accesses.
"""


def markdown(
    frame: pd.DataFrame, sums: pd.DataFrame, table: pd.DataFrame, reference: dict[str, Any]
) -> str:
    """The printed cells, then every other cell that is apart, each as a sum that is an equality;
    the order of the dataflows; figure 10.
    """
    printed = sums[(sums["part"] == "CONV") & (sums["pes"] == 256)]
    printed = printed[printed["batch"].isin(table["batch"])]
    values = table[table["rules"] == "ours"].set_index(["batch", "dataflow"])
    lines = [HEAD]
    for what, name in (("energy", "energy"), ("dram_words", "dram")):
        of = values[f"{name}_reference"].to_dict()
        lines += [f"## Printed: {'energy' if name == 'energy' else 'DRAM accesses'}", ""]
        lines += [*_sum_table(printed, what, of), ""]
    apart = sums.drop(printed.index)
    far = apart[[any(abs(_off(r, x)) > y for x, y in ALLOWED.items()) for r in _records(apart)]]
    near = len(apart) - len(far)
    lines += [
        f"## {len(far)} of the other {len(apart)} cells are apart",
        "",
        f"The remaining {near} are within 10 % of energy and 15 % of DRAM accesses.",
    ]
    for what, name in (("energy", "Energy"), ("dram_words", "DRAM accesses")):
        lines += ["", f"### {name}", "", *_sum_table(far, what, {})]
    bars = reference["fig10_rs_256pe_n16_1e9"]
    return "\n".join([*lines, *_order(table), *_figure_10(frame, bars["values"])]) + "\n"


def _records(sums: pd.DataFrame) -> list[dict[str, Any]]:
    return sums.to_dict("records")


def _off(r: dict[str, Any], what: str) -> float:
    """How far ours is from the paper's."""
    return float(r[what] / r[f"{what}_paper"] - 1)


def _sum_table(
    sums: pd.DataFrame, what: str, printed: dict[tuple[int, str], float]
) -> Iterator[str]:
    """A line a cell: ours, the four rules, the paper's, the printed value if there is one."""
    tail, form = ("", ".3f") if what == "energy" else ("_dram", ".6f")
    heads = ["cell", "ours", *RULES, "paper's", *(["printed"] if printed else []), "off"]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for r in _records(sums):
        cell = f"{r['part']}, {r['pes']} PEs, batch {r['batch']}, {r['dataflow']}"
        rules = [f"{r[f'{x}{tail}']:+{form}}" if r[f"{x}{tail}"] else "" for x in RULES]
        figures = [f"{r[what]:{form}}", *rules, f"{r[f'{what}_paper']:{form}}"]
        if printed:
            figures.append(f"{printed[r['batch'], r['dataflow']]:{form}}")
        off = f"{_off(r, what):+.1%}"
        figures.append(f"**{off}**" if abs(_off(r, what)) > ALLOWED[what] else off)
        yield "| " + " | ".join([cell, *figures]) + " |"


def _order(table: pd.DataFrame) -> Iterator[str]:
    """Which dataflow is best, by both."""
    yield from ("", "## Order, the best first", "", "| batch | printed | paper's | ours |")
    yield "|---" * 4 + "|"
    for batch, some in table.groupby("batch"):
        ranks = [some[some["rules"] == "ours"].sort_values("rank_reference")["dataflow"]]
        ranks += [
            some[some["rules"] == x].sort_values("rank")["dataflow"] for x in ("paper's", "ours")
        ]
        yield f"| {batch} | " + " | ".join(" ".join(x) for x in ranks) + " |"


def _figure_10(frame: pd.DataFrame, bars: dict[str, list[float]]) -> Iterator[str]:
    """The bars of DRAM and RF, layer by layer."""
    of = frame.query("dataflow == 'RS' and pes == 256 and batch == 16").set_index("layer")
    yield from (
        "",
        "## Figure 10: row-stationary, 256 PEs, batch 16, energy in 1e9 MACs",
        "",
        "Every bar of the RF is four words a MAC: weight, pixel, a psum read and written.",
        "Equation 4, like ours, does not charge the first psum of a residency. Bars of DRAM are",
        "those of the equations' best tiles, but for four layers that are higher; why is not",
        "printed. (Of conv3, 4 images and 64 filters a tile give 2.02.)",
        "",
        "| layer | DRAM: printed | paper's | ours | RF: printed | 4 a MAC | ours |",
        "|---" * 7 + "|",
    )
    names = {"fc1": "fc6", "fc2": "fc7", "fc3": "fc8"}
    for layer, (_, dram, rf) in bars.items():
        r = of.loc[names.get(layer, layer)]
        theirs = f"{dram:.2f} | {200 * r['dram_words_paper'] / 1e9:.2f} | {r['dram'] / 1e9:.2f}"
        yield f"| {layer} | {theirs} | {rf:.2f} | {4 * r['macs'] / 1e9:.2f} | {r['pe'] / 1e9:.2f} |"


def _patch(colour: str, hatch: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0)


def _plain(axes: Axes) -> None:
    axes.tick_params(axis="y", labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
