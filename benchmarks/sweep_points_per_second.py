"""A sweep of 159 000 points: 1 000 arrays x ResNet-50's 53 convolutions x 3 dataflows, analytic,
fixed rule, stored.

Prints wall and CPU seconds, memory and points a second, and beside them the CPU seconds SCALE-Sim
3.0.0 takes for one of the points (``--scalesim``; it gets an environment of its own).  Points of
equal layers are evaluated once and are rows each.  ``--tiles best`` searches the best tiles of
every point instead, on the preset with its memory; ``--every 5`` takes a 25th of the arrays.
``--designs`` is another sweep with the best tiles: 34 arrays x 24 sizes of a double-buffered SRAM
with a DRAM port of 128 bits a cycle, ResNet-50 whole under the three dataflows; 3 minutes are
wanted.

Run: python benchmarks/sweep_points_per_second.py [--jobs N] [--scalesim] [--tiles best --every 5]
     python benchmarks/sweep_points_per_second.py --designs [--every 5] [--jobs N]
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import resource
import tempfile
import time
from math import prod
from pathlib import Path

from scalesim_tool import Layer, add_venv, environment, run

import accelsim as acc

SIZES = [*range(4, 129, 4), 136, 144, 152, 160, 168, 176, 184, 192]  # 40 x 25 arrays
GRID = {"array.rows": SIZES, "array.cols": SIZES[:25]}
KILOBYTES = [32 + 16 * i for i in range(16)] + [320, 384, 448, 512, 640, 768, 896, 1024]
DESIGNS = {
    "array.rows": [8 * i for i in range(1, 18)],
    "array.cols": [16, 32],
    "levels.sram.capacity_bytes": [1024 * k for k in KILOBYTES],
}
FLOWS = ["ws", "os", "is"]
FREE = {"dram": "unlimited"}  # of the rule's points: the array alone, as ever
POINT = Layer("res3a_branch2b", 30, 30, 3, 3, 128, 128, 1)  # of ResNet-50, padded sides


def used() -> float:
    """CPU seconds of this process and those that ended before it."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in both)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scalesim", action="store_true")
    parser.add_argument("--tiles", choices=["rule", "best"], default="rule")
    parser.add_argument("--designs", action="store_true", help="arrays and buffers, best tiles")
    parser.add_argument("--every", type=int, default=1, help="each so-manieth size of an array")
    add_venv(parser)
    args = parser.parse_args()
    best = args.designs or args.tiles == "best"
    layers = acc.load_workload("resnet50").layers
    if not args.designs:
        layers = [x for x in layers if isinstance(x, acc.Conv2d)]
        assert len(layers) == 53, len(layers)
    grid = DESIGNS if args.designs else GRID
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs.sqlite"
        before, start = used(), time.perf_counter()
        frame = acc.sweep(
            layers,
            acc.load_architecture("systolic", None if best else FREE),
            {key: values[:: args.every] for key, values in grid.items()},
            dataflows=FLOWS,
            tiles="best" if best else "rule",
            store=store,
            jobs=args.jobs,
        )
        wall, cpu = time.perf_counter() - start, used() - before
        size = store.stat().st_size / 1e6
    points = prod(len(values[:: args.every]) for values in grid.values())
    assert len(frame) == points * len(layers) * len(FLOWS)
    assert (frame["status"] == "ok").all()
    peak = (
        max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        / 1e6
    )
    print(
        f"{len(frame)} points: {wall:.1f} s, {cpu:.1f} CPU s, {peak:.2f} GB in the largest "
        f"process, store {size:.0f} MB"
    )
    print(
        f"{len(frame) / wall:,.0f} points a second; {1e3 * cpu / len(frame):.3f} CPU ms a point; "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    if args.scalesim:
        seconds, _ = run(environment(args.venv), [POINT], "ws", 32, 32)
        print(
            f"SCALE-Sim 3.0.0, one of them ({POINT.name}, ws, 32x32): {seconds:.1f} CPU s, "
            f"{seconds / cpu * len(frame):,.0f} times ours"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
