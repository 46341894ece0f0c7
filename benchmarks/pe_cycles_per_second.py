"""PE-cycles a second of the cycle engine, outputs and counts included, by the array's size.

A convolution of VGG's kind on square systolic arrays under ``ws`` and ``os``, and ``rs`` on
Eyeriss' buses.  ``kernel`` is what of it the compiled clock takes, the rest is which words go where
and what the levels hold.  The best of some runs, in CPU time; a first run, which compiles, is told
apart.  Asked for: 300 million at 16x16, 1 000 million at 32x32 and above.

Run: python benchmarks/pe_cycles_per_second.py [--sides 16,32,128] [--runs 3]
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable
from typing import Any

import accelsim as acc
from accelsim.engines import cycle
from accelsim.engines.cycle import line_pes
from accelsim.workload.arithmetic import random_data

SMALL = acc.Conv2d(M=128, C=64, H=30, W=30, R=3, S=3)  # below 64x64
LARGE = acc.Conv2d(M=256, C=256, H=16, W=16, R=3, S=3)
EYERISS = acc.Conv2d(M=32, C=16, H=16, W=16, R=3, S=3)
CLOCKS = ("clock_held_operand", "clock_held_outputs")


class Stopwatch:
    """CPU seconds spent in the functions it was put around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.process_time()
            result = function(*arguments)
            self.seconds += time.process_time() - start
            return result

        return timed


def measure(arch: str, flow: str, layer: acc.Conv2d, sides: dict[str, int], runs: int) -> None:
    """Print one line."""
    machine = acc.load_architecture(arch, {f"array.{k}": v for k, v in sides.items()})
    problem = layer.problem()
    nest = acc.Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow(flow)))
    numbers = [machine.number(k) for k in ("weight", "ifmap", "ofmap", "psum")]
    data = random_data(problem, *numbers, 0)  # type: ignore[arg-type]
    watch, plain = Stopwatch(), {name: getattr(line_pes, name) for name in CLOCKS}
    for name, function in plain.items():
        setattr(line_pes, name, watch.around(function))
    spent = []
    for _ in range(runs + 1):
        watch.seconds, start = 0.0, time.process_time()
        done = cycle.run(nest, data)
        spent.append((time.process_time() - start, watch.seconds))
    for name, function in plain.items():
        setattr(line_pes, name, function)
    best, clock = min(spent[1:])
    cells = done.array_cycles * machine.array.rows * machine.array.cols
    speed = f"{cells / best / 1e6:8.0f}" + (f"{cells / clock / 1e6:9.0f}" if clock else f"{'-':>9}")
    size = f"{machine.array.rows}x{machine.array.cols}"
    print(f"{arch:10}{flow:4}{size:>8}{done.folds_total:7}{spent[0][0]:9.2f}{best:8.3f}{speed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sides", default="16,32,128", help="with commas between")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{'':22}{'':7}{'CPU s':>17}{'million a second':>17}")
    print(f"{'':14}{'array':>8}{'folds':>7}{'first':>9}{'best':>8}{'all':>8}{'kernel':>9}")
    for side in map(int, options.sides.split(",")):
        for flow in ("ws", "os"):
            layer = SMALL if side < 64 else LARGE
            measure("scalesim", flow, layer, {"rows": side, "cols": side}, options.runs)
    measure("eyeriss", "rs", EYERISS, {"rows": 12, "cols": 14}, options.runs)


if __name__ == "__main__":
    main()
