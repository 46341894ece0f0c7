"""An output-stationary systolic array of others, run by the cycle engine: the RTL of
abarajithan11/axis-systolic-array (``rtl/sa/axis_sa.sv``), nine runs, nothing fitted.

``accelsim report axis_systolic_array`` writes axis.csv and axis.md beside this file.

Their array has R x C PEs, sums K words a fold and lets outputs out along the C columns, through a
register of their own.  Ours lets them out along the rows: their rows are our columns.  So the
machine is ``systolic`` with C rows, R columns and ``array.outputs: register``, the mapping ``os``
by the fixed rule, and the layer a product of R filters with C x F pixels over K words.  Their
multiplier and their adder have a register each, ours have none: ``PIPELINE``.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

import accelsim as acc

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parents[1] / "tests" / "reference" / "axis_systolic_array.csv"
PIPELINE = 2  # registers of the multiplier and of the adder in axis_sa.sv
ENGINES = ("analytic", "cycle")


def measured() -> list[dict[str, int]]:
    """The nine runs: R, C, K, F and the cycles of the RTL."""
    lines = REFERENCE.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [{key: int(value) for key, value in row.items()} for row in rows]


def predicted(run: dict[str, int], engine: str) -> int:
    """Cycles of one run by an engine, theirs and the pipeline's together."""
    result = acc.simulate(
        acc.Gemm(m=run["R"], k=run["K"], n=run["C"] * run["F"]),
        "systolic",
        "os",
        tiles="rule",
        engine=engine,
        overrides={
            "array.rows": run["C"],
            "array.cols": run["R"],
            "array.outputs": "register",
            "dram": "unlimited",  # theirs is fed by a test bench
        },
    )
    (row,) = result.records()
    if row["error"]:
        raise ValueError(f"{run}: {row['error']}")
    return int(row["cycles"]) + PIPELINE


def table() -> pd.DataFrame:
    """A row a run: what was measured, and what each engine says."""
    return pd.DataFrame(
        [run | {engine: predicted(run, engine) for engine in ENGINES} for run in measured()]
    )


def markdown(frame: pd.DataFrame) -> str:
    """The table, and how many runs are met to the cycle."""
    met = int((frame[list(ENGINES)].eq(frame["cycles"], axis=0)).all(axis=1).sum())
    lines = [
        "# axis-systolic-array, RTL of others: measured and predicted",
        "",
        "Measured: cycles of `rtl/sa/axis_sa.sv` (abarajithan11/axis-systolic-array) under "
        "Verilator, from the first operand's",
        "entry to the last result's leaving. R x C PEs, K words a fold, F folds. Predicted: "
        "`systolic` with C rows and R columns,",
        f"`array.outputs: register`, `os` by the fixed rule, and {PIPELINE} cycles for the "
        "registers of their multiplier and adder.",
        "",
        "| R | C | K | F | RTL | " + " | ".join(ENGINES) + " | off |",
        "|---" * (6 + len(ENGINES)) + "|",
    ]
    for run in frame.to_dict("records"):
        off = max(abs(run[engine] - run["cycles"]) for engine in ENGINES)
        cells = [str(run[key]) for key in ("R", "C", "K", "F", "cycles", *ENGINES)]
        lines.append("| " + " | ".join([*cells, str(off)]) + " |")
    lines += ["", f"Equal to the cycle: {met} of {len(frame)}."]
    return "\n".join(lines) + "\n"


def main(folder: Path = HERE) -> list[Path]:
    """Rebuild the study's files in a folder; their paths."""
    frame = table()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "axis.csv", folder / "axis.md"]
    frame.to_csv(paths[0], index=False)
    paths[1].write_text(markdown(frame), encoding="utf-8")
    return paths


if __name__ == "__main__":
    for path in main():
        print(path)
