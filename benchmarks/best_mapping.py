"""How good the quick search's mappings are, and what they cost: ``tiles="best"`` beside the fixed
rule and the exact search.

    python benchmarks/best_mapping.py --effort thorough --limit 60 > best_mapping.csv
                                                  the whole table; hours on one core
    python benchmarks/best_mapping.py             times and the rule alone
    python benchmarks/best_mapping.py --every 9 --effort thorough --limit 60      a sample
    python benchmarks/best_mapping.py --sizes     the layers of time_by_size.py on every preset

Every distinct layer of alexnet, vgg16's convolutions, resnet50, mobilenet_v1 and bert_base_layer on
systolic 32x32 and 16x64 with 64 KB and 512 KB of double-buffered SRAM and a DRAM port of 128 bits
under ws, os and is; tpu_v1 under ws, eyeriss under rs and ws, shidiannao under osp.

Prints CSV: edp of the rule, of quick and of what more effort finds (``best``: the least of all
three); quick's and the rule's over that; the gap quick tells; and CPU ms of the first search of a
layer (tables made) and of the next (warm).  Then a summary on stderr.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from statistics import median
from time import process_time
from typing import Any

from accelsim.base.shipped import shipped_names
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapper.effort import best_tiles
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import full_measures, quick_mapping
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Problem

WORKLOADS = ("alexnet", "vgg16", "resnet50", "mobilenet_v1", "bert_base_layer")
PORT = {"levels.dram.port_bits": 128, "levels.sram.double_buffered": True}
GOAL = Objective.parse("edp")
Case = tuple[Problem, Architecture, Dataflow]
COLUMNS = [
    "workload", "layer", "arch", "overrides", "dataflow", "rule", "quick", "best",
    "quick_over_best", "rule_over_best", "gap", "first_ms", "warm_ms",
]  # fmt: skip


def machines() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Architecture, overrides and dataflow."""
    for rows, cols in ((32, 32), (16, 64)):
        for size in (65536, 524288):
            for flow in ("ws", "os", "is"):
                array = {"array.rows": rows, "array.cols": cols}
                yield "systolic", array | {"levels.sram.capacity_bytes": size} | PORT, flow
    yield "tpu_v1", {}, "ws"
    yield "eyeriss", {}, "rs"
    yield "eyeriss", {}, "ws"
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


def sizes() -> Iterator[tuple[tuple[Any, ...], Case]]:
    """The sizes of ``time_by_size.py`` on every preset, under its first dataflow that goes."""
    from time_by_size import layers as sized

    ways = {"eyeriss": "rs", "shidiannao": "osp"}
    for name in shipped_names("architectures"):
        for flow in ("ws", "os", "is") if name in ("systolic", "scalesim") else ("ws",):
            flow = ways.get(name, flow)
            for overrides in ({}, PORT) if name == "systolic" else ({},):
                where = load_architecture(name, overrides), load_dataflow(flow)
                for layer, one, batch in sized():
                    yield ("", layer, name, overrides, flow), (one.problem(batch), *where)


def matrix(every: int, only: str | None) -> Iterator[tuple[tuple[Any, ...], Case]]:
    """What each row is called, and its case; of every n-th layer."""
    for name, overrides, flow in machines():
        if only in (None, name):
            where = load_architecture(name, overrides), load_dataflow(flow)
            for workload, layer, problem in list(layers())[::every]:
                yield (workload, layer, name, overrides, flow), (problem, *where)


def main() -> None:
    """Run the matrix, or a part of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="only every n-th layer")
    parser.add_argument("--effort", choices=("thorough", "proved"), help="beside quick")
    parser.add_argument("--limit", type=float, help="seconds a layer for that")
    parser.add_argument("--arch", help="only this architecture")
    parser.add_argument("--sizes", action="store_true", help="other layers, of all sizes")
    asked = parser.parse_args()
    out = csv.writer(sys.stdout)
    out.writerow(COLUMNS)
    rows = []
    for named, case in sizes() if asked.sizes else matrix(asked.every, asked.arch):
        try:
            row = measured(case, asked.effort, asked.limit)
        except MappingError:  # no tiles of this layer fit this machine
            continue
        rows.append(row)
        out.writerow([*named, *row])
        sys.stdout.flush()
    print(summary(rows, asked.effort), file=sys.stderr)


def measured(case: Case, effort: Any, limit: float | None) -> list[Any]:
    """The row of one layer, from ``rule`` on."""
    start = process_time()
    quick = quick_mapping(*case, GOAL)
    middle = process_time()
    quick_mapping(*case, GOAL)
    end = process_time()
    known = [x for x in (rule_edp(case), quick.value) if x is not None]
    if effort:
        known.append(best_tiles(*case, "edp", effort, limit).value)
    best = min(known)
    rule = known[0] if len(known) > 1 + bool(effort) else None
    return [
        rule, quick.value, best, quick.value / best, rule and rule / best, round(quick.gap, 4),
        round((middle - start) * 1e3, 1), round((end - middle) * 1e3, 1),
    ]  # fmt: skip


def rule_edp(case: Case) -> float | None:
    """The fixed rule's edp; None where it has no mapping or the engine refuses it."""
    problem, arch, flow = case
    try:
        return float(GOAL.of(full_measures(Nest(problem, arch, choose(problem, arch, flow)))))
    except MappingError:
        return None


def summary(rows: list[list[Any]], effort: str | None) -> str:
    """Median and worst of what counts."""

    def told(name: str, values: list[float], form: str) -> str:
        return f"{name}: median {format(median(values), form)}, worst {format(max(values), form)}"

    each = dict(zip(COLUMNS[5:], zip(*rows, strict=True), strict=True))
    lines = [
        f"{len(rows)} layers",
        told("warm ms", each["warm_ms"], ".1f"),
        told("first ms", each["first_ms"], ".1f"),
        told("rule over best", [x for x in each["rule_over_best"] if x], ".3f"),
    ]
    if effort:
        lines.append(told(f"quick over best ({effort})", each["quick_over_best"], ".4f"))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
