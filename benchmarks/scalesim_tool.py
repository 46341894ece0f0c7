"""SCALE-Sim 3.0.0 in a virtual environment of its own: what it is given, how it is run, what it
reports.

``Layer`` is a row of its topology file; ``Layer.ours()`` is the same layer as accelsim's.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import accelsim as acc

PACKAGES = ("scalesim==3.0.0", "numpy<2.4")  # it does not run with numpy 2.4
FLOWS = ("ws", "os", "is")
HEADER = (
    "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,"
)
# Sections and keys as in its configs/scale.cfg; memory that is never waited for.
CONFIG = """
[general]
run_name = run
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: {flow}
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
# Through its Python class, which can leave the traces out; or as its README says, which cannot:
# ``-s N`` is read and not passed on.
BY_CLASS = (
    "-c",
    "from scalesim.scale_sim import scalesim\n"
    "run = scalesim(save_disk_space=True, verbose=False, config='scale.cfg', topology='net.csv', "
    "layout='layout.csv')\n"
    "run.run_scale(top_path='out')\n",
)
BY_COMMAND_LINE = (
    "-m",
    "scalesim.scale",
    "-c",
    "scale.cfg",
    "-t",
    "net.csv",
    "-l",
    "layout.csv",
    "-p",
    "out",
)


class Layer(NamedTuple):
    name: str
    ifmap_h: int
    ifmap_w: int
    filter_h: int
    filter_w: int
    channels: int
    filters: int
    stride: int

    def ours(self) -> acc.Conv2d:
        """Output sides rounded up, and only as much ifmap as they touch."""
        u = self.stride
        e, f = (
            ceil((self.ifmap_h - self.filter_h + u) / u),
            ceil((self.ifmap_w - self.filter_w + u) / u),
        )
        h, w = (e - 1) * u + self.filter_h, (f - 1) * u + self.filter_w
        return acc.Conv2d(
            M=self.filters, C=self.channels, H=h, W=w, R=self.filter_h, S=self.filter_w, stride=u
        )


# its topologies/conv_nets/alexnet.csv
ALEXNET = (
    Layer("Conv1", 224, 224, 11, 11, 3, 96, 4),
    Layer("Conv2", 27, 27, 5, 5, 96, 256, 1),
    Layer("Conv3", 13, 13, 3, 3, 256, 384, 1),
    Layer("Conv4", 13, 13, 3, 3, 384, 384, 1),
    Layer("Conv5", 13, 13, 3, 3, 384, 256, 1),
)


def add_venv(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get(
        "ACCELSIM_SCALESIM_VENV", str(Path(tempfile.gettempdir()) / "accelsim-scalesim-3.0.0")
    )
    parser.add_argument(
        "--venv",
        type=Path,
        default=Path(default),
        help="where SCALE-Sim is, or is put; also $ACCELSIM_SCALESIM_VENV (default %(default)s)",
    )


def environment(
    where: Path, packages: Sequence[str] = PACKAGES, module: str = "scalesim.scale_sim"
) -> Path:
    """The Python of a virtual environment that has a tool, of which ``module`` is imported; made
    where there is none.
    """
    python = where.absolute() / "bin" / "python"
    if (
        not python.exists()
        or subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode
    ):
        print(f"installing {' '.join(packages)} in {where}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", where], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
        )
    return python


def run(
    python: Path,
    layers: Sequence[Layer],
    flow: str,
    rows: int,
    cols: int,
    how: Sequence[str] = BY_CLASS,
) -> tuple[float, list[dict[str, float]]]:
    """CPU seconds of one process, user and system; and what it reports of every layer, by its own
    column names.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scale.cfg").write_text(CONFIG.format(rows=rows, cols=cols, flow=flow))
        (folder / "net.csv").write_text(
            "\n".join([HEADER, *(",".join(map(str, layer)) + "," for layer in layers), ""])
        )
        (folder / "layout.csv").write_text("Layer name,\n")  # asked for; in this mode not read
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([python, *how], cwd=folder, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"SCALE-Sim failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found: list[dict[str, float]] = [{} for _ in layers]
        for report in ("COMPUTE_REPORT.csv", "DETAILED_ACCESS_REPORT.csv"):
            with (folder / "out" / "run" / report).open(encoding="utf-8") as file:
                for columns, row in zip(
                    found, csv.DictReader(file, skipinitialspace=True), strict=True
                ):
                    columns |= {key: float(value) for key, value in row.items() if key and value}
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, found
