"""CPU seconds of SCALE-Sim 3.0.0 and of accelsim on the same layers, in one run, and whether their
cycles agree.

AlexNet's five convolutions as SCALE-Sim ships them on 128x128 PEs, and Conv3 on 32x32.  Columns:

class          SCALE-Sim through its Python class, traces off: user and system time of the process
command line   the same through ``python -m scalesim.scale``, as its README says; it cannot but
               write its traces
analytic       from loaded architecture, dataflow and layers: the choice of mapping, all counts,
               cycles and energy; the first call of the case (of the first case: with every cache
               empty), and the median of 20 more
simulate       ``acc.simulate``, median of 20 calls: that, and the rows with their hashes
event          ``event.run`` with random data, once; its outputs are compared with the golden
               model afterwards
cycle          ``cycle.run`` likewise: every register clocked with real values
times faster   SCALE-Sim's seconds by ours (the median of analytic)

SCALE-Sim's total_cycles numbers the last cycle from 0, so it is ours less one (docs/scalesim.md).
The exit status is 1 where cycles differ or an output is wrong.  One BLAS thread on both sides.

Run: python benchmarks/scalesim_speed.py [--flows ws,os,is] [--class-only] [--venv DIR]
SCALE-Sim gets a virtual environment of its own, made at the first run.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalesim_tool import ALEXNET, BY_COMMAND_LINE, FLOWS, Layer, add_venv, environment, run

import accelsim as acc
from accelsim.engines import analytic, cycle, event, golden
from accelsim.engines.analytic import pipeline
from accelsim.engines.moved import columns, energy
from accelsim.results import check
from accelsim.results.simulate import simulate
from accelsim.workload.arithmetic import random_data

CALLS = 20
ANALYTIC, EVENT, CYCLE = 10_000, 20, 10  # times faster, asked for


@dataclass(frozen=True)
class Case:
    """Layers under a dataflow on a square array."""

    name: str
    flow: str
    side: int
    layers: tuple[Layer, ...]


def evaluated(layer: acc.Conv2d, arch: acc.Architecture, flow: acc.Dataflow) -> int:
    """What ``acc.simulate`` works out for a row; the cycles."""
    problem = layer.problem()
    nest = acc.Nest(problem, arch, acc.choose(problem, arch, flow))
    moves = analytic.moves(nest)
    spent = pipeline.time(nest, {b: m.updated for b, m in moves.items()})
    columns(nest, moves)
    energy(nest, moves, problem.macs, spent.cycles / (arch.clock_mhz * 1e6))
    return spent.cycles


def seconds(work: Callable[[], Any]) -> list[float]:
    """CPU time of a first call and of ``CALLS`` more."""
    spent = []
    for _ in range(CALLS + 1):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return spent


def executed(
    case: Case, arch: acc.Architecture, flow: acc.Dataflow, engine: str
) -> tuple[float, list[int], list[str]]:
    """CPU seconds of carrying out every word and MAC, or of clocking every register; the cycles of
    every layer, and what is wrong with its outputs.
    """
    spent = 0.0
    cycles: list[int] = []
    wrong: list[str] = []
    for layer in case.layers:
        problem = layer.ours().problem()
        psum = arch.number("psum")
        data = random_data(
            problem, *(arch.number(k) for k in ("weight", "ifmap", "ofmap")), psum, 0
        )  # type: ignore[arg-type]
        start = time.process_time()
        nest = acc.Nest(problem, arch, acc.choose(problem, arch, flow))
        done: Any = event.run(nest, data) if engine == "event" else cycle.run(nest, data)
        spent += time.process_time() - start
        folds = event.array_cycles(nest, done.folds) if engine == "event" else done.array_cycles
        cycles.append(folds)
        why = check.outputs(problem, golden.accumulate(problem, data, psum), done.outputs)
        if why or done.overflow:
            wrong.append(f"{layer.name}, {engine}: {why or done.overflow}")
    return spent, cycles, wrong


def compare(case: Case, python: Path, *, class_only: bool) -> bool:
    """One line of the table.  Returns whether cycles agree and outputs are right."""
    arch = acc.load_architecture("scalesim", {"array.rows": case.side, "array.cols": case.side})
    flow = acc.load_dataflow(case.flow)
    layers = [layer.ours() for layer in case.layers]
    first, *rest = seconds(lambda: [evaluated(layer, arch, flow) for layer in layers])
    median, rows = (
        statistics.median(rest),
        statistics.median(seconds(lambda: simulate(layers, arch, flow))[1:]),
    )
    ours = [evaluated(layer, arch, flow) for layer in layers]
    moved, folds, wrong = executed(case, arch, flow, "event")
    first_layer = Case(case.name, case.flow, case.side, case.layers[:1])
    executed(first_layer, arch, flow, "cycle")  # compiles
    clocked, edges, more = executed(case, arch, flow, "cycle")
    wrong += more

    theirs, report = run(python, case.layers, case.flow, case.side, case.side)
    reports, by_command, faster = [report], "-", "-"
    if not class_only:
        traced, report = run(python, case.layers, case.flow, case.side, case.side, BY_COMMAND_LINE)
        reports, by_command, faster = [*reports, report], f"{traced:.1f}", f"{traced / median:.0f}"
    reported = [[int(row["Total Cycles"]) + 1 for row in report] for report in reports]
    agree = ours == folds == edges and all(cycles == ours for cycles in reported)
    print(
        f"{case.name:20} {theirs:9.1f} {by_command:>12} {first * 1e3:8.2f} {median * 1e3:8.2f} "
        f"{rows * 1e3:8.2f} "
        f"{theirs / median:9.0f} {faster:>12} {moved:8.2f} {theirs / moved:8.0f} "
        f"{clocked:8.2f} {theirs / clocked:8.1f}  "
        f"{'equal' if agree else 'DIFFER'}",
        flush=True,
    )
    if not agree:
        print(f"  SCALE-Sim + 1 {reported}, analytic {ours}, event {folds}, cycle {edges}")
    for why in wrong:
        print(f"  {why}")
    return agree and not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--flows", default="ws", help="of ws, os and is, with commas between (default ws)"
    )
    parser.add_argument(
        "--class-only", action="store_true", help="leave out SCALE-Sim's command line"
    )
    add_venv(parser)
    options = parser.parse_args()
    flows = options.flows.split(",")
    if not set(flows) <= set(FLOWS):
        parser.error(f"--flows: of {', '.join(FLOWS)}, got {options.flows}")
    python = environment(options.venv)

    print(
        f"{'':20} {'SCALE-Sim, CPU s':^22} {'analytic, CPU ms':^17} {'simulate':>8} "
        f"{'times faster':^22} {'event':>8} {'times':>8} {'cycle':>8} {'times':>8}"
    )
    print(
        f"{'case':20} {'class':>9} {'command line':>12} {'first':>8} {'median':>8} {'CPU ms':>8} "
        f"{'class':>9} {'command line':>12} "
        f"{'CPU s':>8} {'faster':>8} {'CPU s':>8} {'faster':>8}  cycles"
    )
    good = True
    for flow in flows:
        for case in (
            Case(f"{flow} 128x128 AlexNet", flow, 128, ALEXNET),
            Case(f"{flow} 32x32 Conv3", flow, 32, ALEXNET[2:3]),
        ):
            good &= compare(case, python, class_only=options.class_only)
    print(
        f"asked for: analytic {ANALYTIC}, event {EVENT}, cycle {CYCLE} times; load average "
        f"{os.getloadavg()[0]:.2f}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
