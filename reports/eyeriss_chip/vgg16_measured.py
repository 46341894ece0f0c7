"""VGG-16 on the Eyeriss chip: the prediction beside table VI, and the GLB's column explained.

``study.main`` calls this.  The prediction is the one of vgg16.csv, made and committed before the
table was in the project; nothing of it is changed.  What is new, and made after the table was seen,
stands in columns of its own: the chip's shares of zeros in place of the assumed one, and what the
GLB's counter takes in.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

# quantity -> column of table VI, unit
BESIDE = {
    "processing": ("processing_latency_ms", "ms"),
    "total": ("total_latency_ms", "ms"),
    "active_pes": ("active_PEs", ""),
    "glb": ("GLB_accesses_MB", "MB"),
    "dram": ("DRAM_accesses_MB", "MB"),
}
OF_ZEROS = ("total", "dram")  # what shares of zeros move; the rest is as it was
MIB = (1 << 20) / 1e6  # megabytes in a mebibyte


def cells(
    table: dict[str, dict[str, float]], before: pd.DataFrame, after: pd.DataFrame, pes: float
) -> pd.DataFrame:
    """Every cell of table VI: measured; predicted before it was seen; with what it says.

    ``before`` and ``after`` are the study's frames under assumed and under published zeros, ``pes``
    the mean of active PEs over time.
    """
    old, new = (_with_total(x, pes) for x in (before, after))
    rows = []
    for layer in old:
        for name, (column, unit) in BESIDE.items():
            chip, mine = table[layer][column], old[layer][name]
            row = {
                "layer": layer,
                "quantity": name,
                "unit": unit,
                "measured": chip,
                "predicted": mine,
                "off": mine / chip - 1,
            }
            seen = new[layer][name] if name in OF_ZEROS else mine
            if name == "glb":
                seen = counted(old[layer])
            rows.append(row | {"afterwards": seen, "off_afterwards": seen / chip - 1})
    return pd.DataFrame(rows)


def counted(layer: dict[str, float]) -> float:
    """What table VI's GLB column counts, in MiB: the model's words and the filters that pass by the
    GLB on their way to the PEs.
    """
    return (layer["glb"] + layer["dram_weight"]) / MIB


def _with_total(frame: pd.DataFrame, pes: float) -> dict[str, dict[str, float]]:
    """Layers and their sum, by name."""
    layers = frame.set_index("layer")
    numbers = layers.select_dtypes("number").sum().to_dict() | {"active_pes": pes}
    return layers.to_dict("index") | {"total": numbers}


def markdown(frame: pd.DataFrame) -> str:
    """The cells as a table, what was predicted before and what was not, and the GLB's column."""
    lines = [
        "# VGG-16, batch 3, on the Eyeriss chip: the prediction beside table VI",
        "",
        "*Predicted*: `vgg16.csv`, made before the table was in the project (57.5 % zeros in",
        "every feature map assumed), unchanged. *Afterwards*: total latency and DRAM traffic under",
        "the zeros that table VI gives, layer by layer (an ofmap has the next one's ifmap's share,",
        "the last its own); the GLB's column as its counter is explained below. Processing latency",
        "and active PEs hang on no such choice. The paper does not print the mapping; it was",
        "reconstructed from active PEs and traffic (`tests/reference/eyeriss_vgg16_mapping.csv`):",
        "GLB traffic and active PEs are no blind prediction, the latencies are.",
        "",
        "| layer | quantity | measured | predicted | off | afterwards | off |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in frame.to_dict("records"):
        unit = f" ({r['unit']})" if r["unit"] else ""
        seen = r["afterwards"] != r["predicted"]
        lines.append(
            f"| {r['layer']} | {r['quantity'].replace('_', ' ')}{unit} | {r['measured']:g} | "
            f"{r['predicted']:.1f} | {r['off']:+.1%} | "
            + (f"{r['afterwards']:.1f} | {r['off_afterwards']:+.2%} |" if seen else "| |")
        )
    return "\n".join(lines + _said(frame)) + "\n"


def _said(frame: pd.DataFrame) -> list[str]:
    """Worst layer and whole network of every quantity, and what follows."""
    layers, whole = (frame[(frame["layer"] == "total") == total] for total in (False, True))

    def worst(name: str, column: str) -> float:
        of = layers[layers["quantity"] == name][column]
        return float(of[of.abs().idxmax()])

    def network(name: str, column: str) -> float:
        return float(whole[whole["quantity"] == name][column].iloc[0])

    lines = ["", "| quantity | worst layer | network | afterwards: worst layer | network |"]
    lines += ["|---" * 5 + "|"]
    for name in BESIDE:
        numbers = [
            f"{take(name, column):+.2%}"
            for column in ("off", "off_afterwards")
            for take in (worst, network)
        ]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(numbers) + " |")
    dram, seen = "dram", "off_afterwards"
    return [
        *lines,
        "",
        f"DRAM: the network's {network(dram, 'off'):+.1%} was right by errors that cancel. One",
        "share of zeros for all layers is too many early (traffic too low), too few late. With the",
        f"chip's own shares the worst layer is {worst(dram, seen):+.1%}, the network "
        f"{network(dram, seen):+.2%}.",
        "",
        "GLB: table V (AlexNet) is met in MB by ifmap and psum words alone. Table VI is met, all",
        f"13 layers within {abs(worst('glb', seen)):.2%}, by the same words and the filters that "
        "are read past",
        "the GLB, in MiB. Neither reading fits the other table; the paper does not say that they",
        "count differently.",
    ]


def write(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Both files, in a folder; their paths."""
    paths = [folder / "vgg16_measured.csv", folder / "vgg16_measured.md"]
    frame.to_csv(paths[0], index=False, float_format="%.8g")
    paths[1].write_text(markdown(frame), encoding="utf-8")
    return paths
