"""How good the quick search's mappings are, and what they cost: ``tiles="best"`` beside the fixed
rule and the exact search.

    python benchmarks/best_mapping.py                      times and the rule alone, all layers
    python benchmarks/best_mapping.py --every 8 --effort thorough     every eighth layer, and what
                                                           more effort finds
    python benchmarks/best_mapping.py --every 8 --effort proved --limit 60

Layers of alexnet, vgg16's convolutions, resnet50, mobilenet_v1 and bert_base_layer on systolic
32x32 and 16x64 with 64 KB and 512 KB under ws, os, is, as they are and with a DRAM port of 128 bits
and a double-buffered SRAM; tpu_v1 under ws, eyeriss under rs, shidiannao under osp.  Equal layers
once.  Prints CSV: edp by the rule and by each effort, the quick search's gap, and CPU ms of the
first call (tables made) and of the next (warm); then a summary on stderr.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from statistics import median
from time import process_time
from typing import Any

from accelsim.hardware.architecture import load_architecture
from accelsim.mapper.effort import best_tiles
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import full_measures, quick_mapping
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Problem

WORKLOADS = ("alexnet", "vgg16", "resnet50", "mobilenet_v1", "bert_base_layer")
PORT = {"levels.dram.port_bits": 128, "levels.sram.double_buffered": True}
GOAL = Objective.parse("edp")


def machines() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Architecture, overrides and dataflow."""
    for rows, cols in ((32, 32), (16, 64)):
        for size in (65536, 524288):
            for port in ({}, PORT):
                for flow in ("ws", "os", "is"):
                    array = {"array.rows": rows, "array.cols": cols}
                    yield "systolic", array | {"levels.sram.capacity_bytes": size} | port, flow
    yield "tpu_v1", {}, "ws"
    yield "eyeriss", {}, "rs"
    yield "shidiannao", {}, "osp"


def layers() -> Iterator[tuple[str, str, Problem]]:
    """Workload, layer and problem; equal problems once a workload."""
    for workload in WORKLOADS:
        seen = set()
        for layer in load_workload(workload).layers:
            problem = layer.directed(None, "forward")
            if problem not in seen and not (workload == "vgg16" and layer.name.startswith("fc")):
                seen.add(problem)
                yield workload, layer.name, problem


def main() -> None:
    """Run the matrix, or a part of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="only every n-th layer")
    parser.add_argument("--effort", choices=("thorough", "proved"), help="beside quick")
    parser.add_argument("--limit", type=float, help="seconds a layer for that")
    parser.add_argument("--arch", help="only this architecture")
    asked = parser.parse_args()
    out = csv.writer(sys.stdout)
    out.writerow(
        ["workload", "layer", "arch", "overrides", "dataflow", "rule", "quick", "more", "gap",
         "first_ms", "warm_ms"]
    )  # fmt: skip
    warm, ratios = [], []
    for name, overrides, flow in machines():
        if asked.arch not in (None, name):
            continue
        arch, dataflow = load_architecture(name, overrides), load_dataflow(flow)
        for workload, layer, problem in list(layers())[:: asked.every]:
            case = problem, arch, dataflow
            start = process_time()
            try:
                quick = quick_mapping(*case, GOAL)
            except MappingError:  # no tiles of this layer fit this machine
                continue
            middle = process_time()
            quick_mapping(*case, GOAL)
            end = process_time()
            more = None
            if asked.effort:
                more = best_tiles(*case, "edp", asked.effort, asked.limit).value
                ratios.append(quick.value / more)
            warm.append((end - middle) * 1e3)
            out.writerow(
                [workload, layer, name, overrides, flow, _rule(*case), quick.value, more,
                 round(quick.gap, 4), round((middle - start) * 1e3, 1), round(warm[-1], 1)]
            )  # fmt: skip
            sys.stdout.flush()
    told = f"warm: median {median(warm):.1f} ms, worst {max(warm):.1f} ms of {len(warm)} layers"
    if ratios:
        told += f"; quick / {asked.effort}: median {median(ratios):.4f}, worst {max(ratios):.4f}"
    print(told, file=sys.stderr)


def _rule(problem: Problem, arch: Any, dataflow: Any) -> float | None:
    """The fixed rule's edp; None where it has no mapping or the engine refuses it."""
    try:
        return float(GOAL.of(full_measures(Nest(problem, arch, choose(problem, arch, dataflow)))))
    except MappingError:
        return None


if __name__ == "__main__":
    main()
