"""SCALE-Sim 3.0.0 itself against the preset ``scalesim`` on random small layers and arrays, square
or not.

Every number of its report that has one of ours beside it, under the corrections of
docs/scalesim.md; tests/test_scalesim.py does the same for the 40 rows kept in tests/reference.  The
exit status is 1 where one differs.

Run: python benchmarks/scalesim_rows.py [--cases N] [--seed K] [--venv DIR]
"""

from __future__ import annotations

import argparse
import random
import sys
from math import ceil, isclose
from pathlib import Path

from scalesim_tool import FLOWS, Layer, add_venv, environment, run

import accelsim as acc

LAYERS = 5  # in each run of the tool


def random_layer(rng: random.Random, name: str) -> Layer:
    r, s = rng.randint(1, 4), rng.randint(1, 4)
    return Layer(
        name,
        r + rng.randint(0, 12),
        s + rng.randint(0, 12),
        r,
        s,
        rng.randint(1, 12),
        rng.randint(1, 40),
        rng.randint(1, 3),
    )


def differences(
    layer: Layer, flow: str, rows: int, cols: int, theirs: dict[str, float]
) -> list[str]:
    """The columns that are not what ours and the correction make of them."""
    problem = layer.ours().problem()
    (ours,) = acc.simulate(
        layer.ours(), "scalesim", flow, overrides={"array.rows": rows, "array.cols": cols}
    ).records()
    length = {"K": problem.C * problem.R * problem.S, "X": problem.E * problem.F, "M": problem.M}
    down, along = {"ws": "KM", "os": "XM", "is": "KX"}[flow]
    folds = ceil(length[down] / rows) * ceil(length[along] / cols)
    busy = 100 * ours["utilization"] * ours["cycles"]
    expected = {
        "Total Cycles": ours["cycles"] - 1,
        "Stall Cycles": 0,
        "Overall Util %": busy / (ours["cycles"] - 1) if ours["cycles"] > 1 else None,
        "Mapping Efficiency %": 100 * ours["mapping_efficiency"],
        "Compute Util %": busy / (ours["cycles"] + (0 if flow == "os" else folds * (cols - 1))),
        "SRAM IFMAP Reads": ours["sram_ifmap_reads"],
        "SRAM Filter Reads": ours["sram_weight_reads"],
        "SRAM OFMAP Writes": ours["sram_ofmap_writes"]
        + (folds * (rows + cols) if flow == "os" else 0),
    }
    return [
        f"{key}: {theirs[key]:.15g}, expected {n}"
        for key, n in expected.items()
        if n is not None and not isclose(theirs[key], n, rel_tol=1e-12)
    ]


def compare(python: Path, rng: random.Random, cases: int) -> int:
    """Prints what differs in so many runs of the tool, the flows in turn; returns how many do."""
    wrong = 0
    for case in range(cases):
        flow, rows, cols = FLOWS[case % 3], rng.randint(2, 16), rng.randint(2, 16)
        layers = [random_layer(rng, f"L{i}") for i in range(LAYERS)]
        for layer, theirs in zip(layers, run(python, layers, flow, rows, cols)[1], strict=True):
            for why in differences(layer, flow, rows, cols, theirs):
                wrong += 1
                print(f"{flow} {rows}x{cols} {layer}: {why}")
    print(f"SCALE-Sim, {cases * LAYERS} layers, 8 numbers each: {wrong} differ")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--cases",
        type=int,
        default=60,
        help=f"runs of the tool, {LAYERS} layers each (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    add_venv(parser)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    return 1 if compare(environment(options.venv), rng, options.cases) else 0


if __name__ == "__main__":
    sys.exit(main())
