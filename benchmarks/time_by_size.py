"""Time and memory of the analytic engine against a layer's size: it adds up classes of equal
pieces, so a layer of 10^15 MACs should take as long as one of 10^5, or be refused at once.

Each layer is new to a process that is warm, on every preset under every dataflow it takes, with
the fixed rule's mapping (a given one is the same less the rule).  Printed are the slowest of each
and the most memory it took; ``time_by_size.png`` and ``.svg`` show all of them.  Linux only.
Run: python benchmarks/time_by_size.py [DIRECTORY]
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import accelsim as acc
from accelsim.base.shipped import shipped_names
from accelsim.view import plots
from accelsim.view.style import series_look, sweep_style
from accelsim.view.swept.canvas import canvas, legend, spread

SMALL = acc.Conv2d(name="small", M=8, C=4, H=12, W=12, R=3, S=3, padding=1)
MOST_MS, MOST_MB = 50.0, 300.0


def layers() -> Iterator[tuple[str, acc.Layer, int]]:
    """Name, layer and batch, in no order of size."""
    for n in (64, 512, 4096, 16384, 65536, 200_000):
        yield f"Gemm {n}^3", acc.Gemm(m=n, k=n, n=n), 1
    yield "Gemm 1x65536x65536", acc.Gemm(m=1, k=65536, n=65536), 1
    yield "Gemm 64x64x2^23", acc.Gemm(m=64, k=64, n=1 << 23), 1
    yield "Gemm 64x2^23x64", acc.Gemm(m=64, k=1 << 23, n=64), 1
    yield "Gemm 2^23x64x64", acc.Gemm(m=1 << 23, k=64, n=64), 1
    for side in (128, 1024, 8192):
        layer = acc.Conv2d(M=8, C=3, H=side, W=side, R=16, S=16, padding=8)
        yield f"16x16 on {side}^2", layer, 1
    yield "C = 2e8", acc.Conv2d(M=1, C=200_000_000, H=1, W=1, R=1, S=1), 1
    for layer in acc.load_workload("lenet5").layers:
        if isinstance(layer, acc.Conv2d | acc.Gemm):
            yield f"LeNet-5 {layer.name} x 1e7", layer, 10_000_000


def megabytes(which: str) -> float:
    """Memory of this process now (``VmRSS``), or the most it has had (``VmHWM``)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{which}:")[1].split()[0]) / 1e3


def measured(layer: acc.Layer, batch: int, arch: object, way: object) -> dict[str, object]:
    """CPU milliseconds of a layer, megabytes it took, and why it was refused."""
    Path("/proc/self/clear_refs").write_text("5")  # the most is now what it has
    before = megabytes("VmRSS")
    start = time.process_time()
    try:
        refused = "; ".join(acc.simulate(layer, arch, way, batch=batch, tiles="rule").failures)
    except (acc.InputError, OverflowError) as e:
        refused = str(e)
    spent = (time.process_time() - start) * 1e3
    return {"ms": spent, "mb": megabytes("VmHWM") - before, "refused": refused}


def table() -> pd.DataFrame:
    """One row a layer, preset and dataflow that goes with it."""
    rows = []
    for name in shipped_names("architectures"):
        arch = acc.load_architecture(name)
        flows = [acc.load_dataflow(flow) for flow in shipped_names("dataflows")]
        taken = [x for x in flows if not measured(SMALL, 1, arch, x)["refused"]]
        for way in taken:
            for layer, one, batch in layers():
                macs = one.problem(batch).macs
                where = {"arch": name, "dataflow": way.name, "layer": layer, "macs": macs}
                rows.append(where | measured(one, batch, arch, way))
    return pd.DataFrame(rows)


def drawn(frame: pd.DataFrame, folder: Path) -> None:
    """Milliseconds against MACs; what was refused is hollow."""
    with sweep_style():
        figure, axes = canvas("one layer, analytic, warm: CPU time against size")
        for place, (arch, rows) in enumerate(frame.groupby("arch")):
            look = series_look(place) | {"linestyle": "", "markersize": 4}
            refused = rows["refused"] != ""
            done = rows[~refused]
            axes.plot(done["macs"], done["ms"], label=str(arch), **look)
            axes.plot(rows[refused]["macs"], rows[refused]["ms"], markerfacecolor="none", **look)
        axes.axhline(MOST_MS, color="black", linewidth=0.6, linestyle="--")
        axes.set(xscale="log", xlabel="MACs (hollow: refused)", ylabel="ms")
        spread(axes, "y", frame["ms"], always=True)
        legend(axes)
    plots.save(figure, folder, "time_by_size")


def main() -> None:
    frame = table()
    for layer, rows in frame.groupby("layer", sort=False):
        worst = rows.loc[rows["ms"].idxmax()]
        print(
            f"{layer:24} {rows['macs'].iloc[0]:8.1e} MACs: at most {worst['ms']:6.1f} ms "
            f"({worst['arch']} {worst['dataflow']}), {rows['mb'].max():4.0f} MB; "
            f"{(rows['refused'] != '').sum()} of {len(rows)} refused"
        )
    over = frame[(frame["ms"] > MOST_MS) | (frame["mb"] > MOST_MB)]
    print(f"{len(over)} of {len(frame)} over {MOST_MS:g} ms or {MOST_MB:g} MB")
    drawn(frame, Path(sys.argv[1] if len(sys.argv) > 1 else ".benchmarks"))


if __name__ == "__main__":
    main()
