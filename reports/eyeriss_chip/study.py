"""The Eyeriss chip, predicted: Chen, Krishna, Emer, Sze, IEEE JSSC 52(1) 2017, table V, layer by
layer, nothing fitted.

``python reports/eyeriss_chip/study.py`` writes alexnet.csv, alexnet.md, vgg16.csv, vgg16.md, the
same beside table VI (``vgg16_measured``) and the figures beside itself.

The chip is the architecture ``eyeriss``, the mappings are ``eyeriss_alexnet`` and
``eyeriss_vgg16``, and nothing is set for a layer.  Counts and cycles are ``simulate``'s, by
analytic and by event.  What is added here:

- Processing latency is ``cycles`` less ``stall_dram_cycles``.
- GLB traffic as the chip's counter has it: ifmap words served, psums that arrive and psums read to
  be added to (zeros too: ``first_read``).
- Feature maps cross the DRAM link run-length coded, all but the first layer's ifmap.  For event the
  bits are those of real values,
  transfer by transfer (``accelsim.engines.analytic.link_coding``): an ifmap with the published
  share of zeros, and the layer's own sums after a ReLU whose bias makes as many zeros as the next
  layer's ifmap has.  Analytic takes the same shares as densities. The wait for the link shrinks by
  the bits saved.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import accelsim as acc
from accelsim.engines import golden
from accelsim.engines.analytic import link_coding
from accelsim.engines.analytic.link_coding import EYERISS
from accelsim.workload.arithmetic import Number, random_operand
from accelsim.workload.coding import Coded
from accelsim.workload.problem import Problem
from accelsim.workload.sparsity import feature_map, macs_gated, rectified

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
REFERENCE = HERE.parents[1] / "tests" / "reference"
WIDE = Number(48)  # sums before they are rectified: wide enough for every layer

CHIP: dict[str, Any] = {
    "first_read": "glb"
}  # the chip's counter takes the zeros that a first pass adds to for reads

TIMED = ("analytic", "event")  # engines whose rows have cycles

# quantity -> (column measured, unit, allowed off per layer, allowed off in all); issue 8
QUANTITIES = {
    "processing": ("processing_latency_ms", "ms", 0.08, 0.03),
    "total": ("total_latency_ms", "ms", 0.12, 0.05),
    "active_pes": ("active_PEs", "", 0.0, None),
    "glb": ("GLB_accesses_MB", "MB", 0.01, 0.01),
    "dram": ("DRAM_accesses_MB", "MB", 0.15, 0.05),
}

ALEXNET = tuple(f"conv{i}" for i in range(1, 6))
VGG16 = tuple(f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1))


@dataclass(frozen=True)
class Zeros:
    """Shares of zeros of each layer's ifmap and ofmap; an ifmap without one is the network's input
    and is not coded.
    """

    ifmap: Mapping[str, float | None]
    ofmap: Mapping[str, float]


def measured(network: str = "alexnet") -> dict[str, dict[str, float]]:
    """The chip's table of a network by layer (conv1 ... or conv1_1 ..., and total), from
    tests/reference.
    """
    file = REFERENCE / f"eyeriss_jssc17_{network}.csv"
    lines = [x for x in file.read_text(encoding="utf-8").splitlines() if not x.startswith("#")]
    return {
        row.pop("layer").lower().replace("-", "_"): {k: float(v) for k, v in row.items()}
        for row in csv.DictReader(lines)
    }


def published_zeros(layers: tuple[str, ...] = ALEXNET, network: str = "alexnet") -> Zeros:
    """A network's: the ofmap of a layer has as many zeros as the next one's ifmap; the last has its
    own ifmap's, no better being known.
    """
    table = measured(network)
    share = {name: table[name]["zeros_in_ifmap_pct"] / 100 for name in layers}
    following = dict(zip(layers, (*layers[1:], layers[-1]), strict=True))
    return Zeros(
        {n: None if n == layers[0] else share[n] for n in layers},
        {n: share[following[n]] for n in layers},
    )


def assumed_zeros(layers: tuple[str, ...], share: float) -> Zeros:
    """One share for every feature map but the network's input."""
    return Zeros(
        {n: None if n == layers[0] else share for n in layers}, dict.fromkeys(layers, share)
    )


def predict(
    workload: str,
    layers: tuple[str, ...],
    mapping: str | None,
    batch: int,
    engine: str,
    zeros: Zeros,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per layer: the study's quantities, and what they are made of.  ``mapping`` None is
    the fixed rule under ``rs``.
    """
    result = acc.simulate(
        workload,
        "eyeriss",
        None if mapping else "rs",
        mapping=mapping,
        engine=engine,
        layers=layers,
        batch=batch,
        overrides=CHIP,
        seed=seed,
    )
    found = []
    for row in result.rows:
        c, nest = row.columns, row.nest
        if nest is None:
            found.append({"layer": c["layer"], "engine": engine, "error": c["error"]})
            continue
        moved = {
            t: c[f"dram_{t}_reads"] + c[f"dram_{t}_writes"] for t in ("weight", "ifmap", "ofmap")
        }
        coded, gated = _link(nest, moved, c["layer"], zeros, engine, seed)
        bits = {t: coded[t].coded_bits if t in coded else moved[t] * 16 for t in moved}
        maps = (moved["ifmap"] + moved["ofmap"]) * 16
        wait = c["stall_dram_cycles"] * (bits["ifmap"] + bits["ofmap"]) / maps
        processing = c["cycles"] - c["stall_dram_cycles"]
        ms = nest.arch.clock_mhz * 1e3
        glb = (
            c["glb_ifmap_reads"]
            + c["glb_ofmap_writes"]
            + c["glb_ofmap_reads"]
            - c["dram_ofmap_writes"]
        )
        if engine not in TIMED:
            processing = wait = float("nan")
        found.append(
            {
                "layer": c["layer"],
                "engine": engine,
                "macs": c["macs"],
                "bit_exact": c["bit_exact"],
                "error": c["error"],
            }
            | {
                "processing": processing / ms,
                "total": (processing + wait) / ms,
                "total_uncoded": c["cycles"] / ms if engine in TIMED else float("nan"),
            }
            | {
                "active_pes": c["active_pes"],
                "glb": glb * 2 / 1e6,
                "dram": sum(bits.values()) / 8e6,
                "dram_uncoded": sum(moved.values()) * 2 / 1e6,
            }
            | {f"dram_{t}": b / 8e6 for t, b in bits.items()}
            | {f"coded_{t}": coded[t].ratio if t in coded else None for t in ("ifmap", "ofmap")}
            | {"gated": gated / c["macs"]}
            | {"compute_cycles": c["compute_cycles"]}
            | {
                k: v
                for k, v in c.items()
                if engine in TIMED
                and (k in ("cycles", "fill_drain_cycles") or k.startswith("stall_"))
            }
            | {
                "note": "; ".join(
                    n for t, x in coded.items() if (n := x.note(f"dram {t}", EYERISS))
                )
            }
        )
    return pd.DataFrame(found)


def _link(
    nest: acc.Nest, moved: Mapping[str, int], layer: str, zeros: Zeros, engine: str, seed: int
) -> tuple[dict[str, Coded], float]:
    """Coded size of the feature maps that are coded, and MACs gated: of real values for event,
    expected for analytic.
    """
    share = zeros.ifmap[layer]
    if engine == "analytic":
        shares = {} if share is None else {"ifmap": share}
        if moved["ofmap"] == nest.problem.words(
            "ofmap"
        ):  # sums that come back to be added to are no feature map
            shares["ofmap"] = zeros.ofmap[layer]
        sizes = {
            t: Coded(moved[t] * 16, round(EYERISS.expected_bits(moved[t], z)), z)
            for t, z in shares.items()
        }
        return sizes, _padding(nest.problem) + (share or 0.0) * (
            nest.problem.macs - _padding(nest.problem)
        )
    data = feature_maps(nest.problem, share, zeros.ofmap[layer], seed)
    names = ("ofmap",) if share is None else ("ifmap", "ofmap")
    found = {t: link_coding.coded(nest, t, data[t]) for t in names}
    padded = nest.projection("ifmap", nest.levels).stored_padding
    gated = macs_gated(nest.problem, data["ifmap"], padded)
    return {t: x for t, x in found.items() if x is not None}, gated


def _padding(problem: Problem) -> int:
    """MACs on padding, which the chip stores and gates."""
    return macs_gated(problem, np.ones(problem.shape("ifmap"), np.int8), True)


def feature_maps(
    problem: Problem, ifmap: float | None, ofmap: float, seed: int
) -> dict[str, np.ndarray]:
    """An ifmap with a share of zeros (None: an image, hardly any) and the ofmap it makes under
    random filters, rectified.
    """
    rng = np.random.default_rng(seed)
    word = Number(16)
    data = {"ifmap": feature_map(problem.shape("ifmap"), word, ifmap or 0.0001, rng, blur=1)}
    data["weight"] = random_operand(problem.shape("weight"), Number(8), rng)
    plain = Problem(
        **{k: getattr(problem, k) for k in problem.__dataclass_fields__} | {"bias": False}
    )
    return data | {"ofmap": rectified(golden.accumulate(plain, data, WIDE), word, ofmap)}


# Tables -------------------------------------------------------------------------------------------


def against(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Every cell: layer, quantity, engine, measured, predicted, how far off, allowed, held."""
    table, found = measured(), []
    for frame in frames:
        sums = frame.select_dtypes("number").sum(skipna=False).to_dict() | {
            "layer": "total",
            "active_pes": _mean_pes(frame),
        }
        for row in [*frame.to_dict("records"), sums]:
            for name, (column, unit, each, whole) in QUANTITIES.items():
                chip, mine = table[row["layer"]][column], row[name]
                allowed = whole if row["layer"] == "total" else each
                off = mine / chip - 1
                found.append(
                    {
                        "layer": row["layer"],
                        "quantity": name,
                        "unit": unit,
                        "engine": frame["engine"][0],
                        "measured": chip,
                        "predicted": mine,
                    }
                    | {
                        "off": off,
                        "allowed": allowed,
                        "held": None
                        if allowed is None or pd.isna(off)
                        else bool(abs(off) <= allowed + 1e-12),
                    }
                )
    return pd.DataFrame(found)


def _mean_pes(frame: pd.DataFrame) -> float:
    """The chip's total is the mean over time: by MAC cycles."""
    return float(
        (frame["active_pes"] * frame["compute_cycles"]).sum() / frame["compute_cycles"].sum()
    )


CAUSES = {
    ("conv3", "glb"): "q=3 r=2 t=2 as measured; the printed q=4 r=1 t=4 would be 69.2 MB",
    (
        "conv5",
        "processing",
    ): "runs conv4's passes, which the chip timed at 8333 cycles there and 7812 here; no model has "
    "both",
    (
        "conv1",
        "total",
    ): "the ofmap before pooling has more zeros than conv2's ifmap, whose share is the published "
    "one",
    (
        "conv1",
        "dram",
    ): "the ofmap before pooling has more zeros than conv2's ifmap, whose share is the published "
    "one",
    (
        "conv3",
        "dram",
    ): "the chip's number has one digit after the point; filters and ifmaps alone are 2.5 MB",
    ("conv4", "dram"): "its ofmap's zeros are conv5's ifmap's; the rest is not known",
}


def markdown(cells: pd.DataFrame, frames: list[pd.DataFrame]) -> str:
    """The table of every cell, engines side by side."""
    engines = list(dict.fromkeys(cells["engine"]))
    lines = ["# AlexNet, batch 4, on the Eyeriss chip: measured and predicted", ""]
    lines += [
        "Measured: JSSC 52(1) 2017, table V. No constant is fitted; `study.py` says what each "
        "number is. Inputs besides the chip and its",
        "mappings: each ifmap's published share of zeros; each ofmap is taken to have the next "
        "layer's ifmap's, conv5's its own ifmap's.",
        "Event: real words, SimPy's time; analytic: closed forms.",
        "",
    ]
    lines += [
        "| layer | quantity | measured | "
        + " | ".join(f"{e} | off" for e in engines)
        + " | allowed | held | likely cause |"
    ]
    lines += ["|---" * (5 + 2 * len(engines) + 1) + "|"]
    for (layer, name), group in cells.groupby(["layer", "quantity"], sort=False):
        unit = group["unit"].iloc[0]
        allowed, held = group["allowed"].iloc[0], group["held"]
        digits = 0 if name == "active_pes" else 1 if name == "glb" else 2
        values = " | ".join(
            "- | -" if pd.isna(r.off) else f"{r.predicted:.{digits}f} | {r.off:+.1%}"
            for r in group.itertuples()
        )
        says = "" if pd.isna(allowed) else "exact" if allowed == 0 else f"{allowed:.0%}"
        lines.append(
            f"| {layer} | {name.replace('_', ' ')}{f' ({unit})' if unit else ''} | "
            f"{group['measured'].iloc[0]:g} | {values} | {says} "
            f"| {'' if held.isna().all() else 'yes' if held.dropna().all() else '**no**'} | "
            f"{CAUSES.get((layer, name), '')} |"
        )
    exact = [str(x) for f in frames for x in f["bit_exact"] if x is not None]
    lines += [
        "",
        f"Outputs bit-exact on the event engine: {exact.count('True')} of {len(exact)} layers.",
    ]
    return "\n".join(lines) + "\n"


def vgg16_table(share: float) -> pd.DataFrame:
    """The chip's mapping, the fixed rule and what the mapper found, by analytic, layer by layer."""
    zeros = assumed_zeros(VGG16, share)
    runs = {
        "chip": predict("vgg16", VGG16, "eyeriss_vgg16", 3, "analytic", zeros),
        "rule": predict("vgg16", VGG16, None, 3, "analytic", zeros),
        "mapper": predict("vgg16", VGG16, str(HERE / "vgg16_mapper.yaml"), 3, "analytic", zeros),
    }
    return pd.concat(
        [frame.assign(mapping=name) for name, frame in runs.items()], ignore_index=True
    )


def vgg16_markdown(frame: pd.DataFrame, share: float, others: Mapping[float, pd.DataFrame]) -> str:
    """Prediction, what the fixed rule would have run, and what other shares of zeros (``others``)
    would make of it.
    """
    heads = ["layer", "processing (ms)", "total (ms)", "active PEs", "GLB (MB)", "DRAM (MB)"]
    heads += ["fixed rule: total (ms)", "faster", "mapper: processing (ms)", "total (ms)", "faster"]
    lines = [
        "# VGG-16, batch 3, on the Eyeriss chip: a prediction",
        "",
        "Mapping `eyeriss_vgg16`; AlexNet's constants, analytic engine. Every feature map but the "
        "first ifmap is taken to have",
        f"{share:.1%} zeros, AlexNet's published mean: an assumption, which moves DRAM traffic and "
        "total latency and nothing else.",
        "Beside it the fixed rule of `accelsim/mapping/rule.py` under `row_stationary`, and what "
        "the mapper would have run: the fewest",
        "cycles found in 15 s a layer (`vgg16_mapper.yaml` says how, and what gap it left).",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    chip, rule, best = (
        frame[frame["mapping"] == m].set_index("layer") for m in ("chip", "rule", "mapper")
    )
    for layer in [*chip.index, "total"]:
        a, b, c = (
            (x.select_dtypes("number").sum() if layer == "total" else x.loc[layer])
            for x in (chip, rule, best)
        )
        pes = _mean_pes(chip) if layer == "total" else a["active_pes"]
        mine = (
            f"{a['processing']:.1f} | {a['total']:.1f} | {pes:.0f} | {a['glb']:.1f} | "
            f"{a['dram']:.1f}"
        )
        beside = (
            f"{b['total']:.1f} | {a['total'] / b['total']:.2f}x | {c['processing']:.1f} | "
            f"{c['total']:.1f}"
        )
        beside += f" | {a['total'] / c['total']:.2f}x"
        lines.append(f"| {layer} | {mine} | {beside} |")
    lines += ["", "| zeros in every feature map | total (ms) | DRAM (MB) |", "|---|---|---|"]
    for other, of in sorted({share: chip, **others}.items()):
        lines.append(f"| {other:.1%} | {of['total'].sum():.1f} | {of['dram'].sum():.1f} |")
    return "\n".join(lines) + "\n"


def vgg16_cells() -> pd.DataFrame:
    """Table VI beside the prediction and beside what published zeros make of it."""
    import vgg16_measured

    before, after = (
        predict("vgg16", VGG16, "eyeriss_vgg16", 3, "analytic", zeros)
        for zeros in (
            assumed_zeros(VGG16, measured()["total"]["zeros_in_ifmap_pct"] / 100),
            published_zeros(VGG16, "vgg16"),
        )
    )
    pes = _mean_pes(before)
    return vgg16_measured.cells(measured("vgg16"), before, after, pes)


def main(folder: Path = HERE) -> list[Path]:
    """Rebuild the study's files in a folder; their paths."""
    import chip_figures as figures
    import vgg16_measured

    zeros = published_zeros()
    frames = [
        predict("alexnet", ALEXNET, "eyeriss_alexnet", 4, engine, zeros)
        for engine in ("analytic", "event")
    ]
    cells = against(frames)
    share = measured()["total"]["zeros_in_ifmap_pct"] / 100
    vgg = vgg16_table(share)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (("alexnet_layers", pd.concat(frames)), ("alexnet", cells), ("vgg16", vgg)):
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.8g")
    (folder / "alexnet.md").write_text(markdown(cells, frames), encoding="utf-8")
    others = {
        z: predict("vgg16", VGG16, "eyeriss_vgg16", 3, "analytic", assumed_zeros(VGG16, z))
        for z in (0.4, 0.75)
    }
    (folder / "vgg16.md").write_text(vgg16_markdown(vgg, share, others), encoding="utf-8")
    written = ("alexnet.csv", "alexnet.md", "alexnet_layers.csv", "vgg16.csv", "vgg16.md")
    beside = vgg16_cells()
    return [
        *(folder / name for name in written),
        *vgg16_measured.write(beside, folder),
        *figures.draw(cells, frames, vgg, folder),
    ]


if __name__ == "__main__":
    for path in main():
        print(path)
