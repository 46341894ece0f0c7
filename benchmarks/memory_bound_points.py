"""Layer points a second of a sweep over port widths, in every point of which the array waits.

AlexNet's convolutions on Eyeriss under two dataflows, 1 024 machines that differ in how wide the
ports of DRAM and of the buffer are; analytic, fixed rule, one process.  Prints CPU seconds of the
whole call, from names to a DataFrame, after a first call of a few points has loaded the kernels;
and what ``simulate`` of one layer takes, warm, its files read before.

Run: python benchmarks/memory_bound_points.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core

import time

import accelsim as acc

GRID = {"levels.dram.port_bits": [*range(1, 65)], "levels.glb.port_bits": [*range(16, 272, 16)]}
FLOWS = ["ws", "rs"]
REPEATS = 20


def main() -> None:
    alexnet = acc.load_workload("alexnet")
    layers = [x for x in alexnet.layers if isinstance(x, acc.Conv2d)]
    few = {key: values[:2] for key, values in GRID.items()}
    acc.sweep(layers, "eyeriss", few, dataflows=FLOWS, tiles="rule", jobs=1)
    start = time.process_time()
    frame = acc.sweep(layers, "eyeriss", GRID, dataflows=FLOWS, tiles="rule", jobs=1)
    seconds = time.process_time() - start
    assert (frame["status"] == "ok").all() and (frame["stall_cycles"] > 0).all()
    print(
        f"{len(frame)} points, all of them waiting: {seconds:.2f} CPU s, "
        f"{len(frame) / seconds:,.0f} points a second and core"
    )
    arch, flow = acc.load_architecture("eyeriss"), acc.load_dataflow("ws")
    for layer in layers:
        took = []
        for _ in range(REPEATS):
            start = time.process_time()
            acc.simulate(alexnet, arch, flow, layers=[layer.name], tiles="rule")
            took.append(time.process_time() - start)
        print(f"simulate {layer.name}, eyeriss ws: {1e3 * min(took):.2f} CPU ms")


if __name__ == "__main__":
    main()
