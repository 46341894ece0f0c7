"""Whole networks through the shell: with the best tiles, by the rule, and ResNet-18 end to end by
the timed event engine, with data.

    python benchmarks/whole_networks.py [--quick | --shell]

Best tiles: seconds and CPU seconds of whole commands, the medians of several runs, compiled files
and kernels there already; ``--shell`` does no more than that.  Their targets are in ``ANSWERS``.

ResNet-50 by the rule: the median of several runs of the command, and of processes that stop
earlier: after importing the packages accelsim needs, after importing what the command needs of
accelsim, and after the work itself, so that each part is a difference.  What the work takes is also
timed inside one process.  ResNet-18: wall time, CPU time and peak memory, under several dataflows.
The targets are 2 s for the first, 100 ms of it in accelsim, and 60 s and 4 GB for the second; a
miss is exit 1.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
# Commands and the seconds in which they are to answer: a layer cold takes tens of milliseconds.
ANSWERS = {
    "run resnet50 --arch systolic --dataflow ws,os,is": 1.5,
    "run resnet50 --arch tpu_v1 --dataflow ws": 1.0,
    "run lenet5 --arch systolic --dataflow ws": 1.2,
    "--help": 0.5,
}
LIBRARIES = "import numpy, pydantic, click, ruamel.yaml, tqdm"
OURS = """
import accelsim.cli.main, accelsim.cli.run_command
from accelsim.results.layer_row import Row
from accelsim.results.result import Result
from accelsim.results.simulate import simulate
from accelsim.workload.network import load_workload
"""
WORK = """
import time
start = time.process_time()
text = str(simulate(load_workload("resnet50"), "systolic", "ws", tiles="rule"))
print(time.process_time() - start)
"""
ACCELSIM = str(Path(sys.executable).with_name("accelsim"))
SHELL = [
    ACCELSIM,
    "run",
    "resnet50",
    "--arch",
    "systolic",
    "--dataflow",
    "ws",
    "--tiles",
    "rule",
]
EVENT = ["resnet18", "--engine", "event", "--end-to-end", "--set", "bits.psum=32"]
ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1"}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def measured(command: list[str], runs: int = RUNS) -> tuple[float, float]:
    """Median wall and CPU seconds of a process."""
    walls, cpus = [], []
    for _ in range(runs):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            env=ENVIRONMENT,
        )
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(walls), statistics.median(cpus)


def answers() -> bool:
    """Whether every command of ``ANSWERS`` answers in time, by its CPU: a busy machine's clock says
    nothing.
    """
    held = True
    for text, target in ANSWERS.items():
        command = [ACCELSIM, *text.split()]
        measured(command, 1)
        wall, cpu = measured(command)
        held &= cpu <= target
        print(f"accelsim {text}: {wall:.2f} s, {cpu:.2f} s of CPU (target: {target} s)")
    return held


def resnet50() -> bool:
    measured(SHELL, 1)  # compiled files are there, and in memory
    stages = [python(""), python(LIBRARIES), python(LIBRARIES + OURS), SHELL]
    (_, empty), (_, libraries), (_, ours), (wall, cpu) = map(measured, stages)
    work = statistics.median(
        float(
            subprocess.run(
                python(LIBRARIES + OURS + WORK),
                capture_output=True,
                text=True,
                check=True,
                env=ENVIRONMENT,
            ).stdout
        )
        for _ in range(RUNS)
    )
    print(f"ResNet-50, {' '.join(SHELL[1:])}: {wall:.2f} s, {cpu:.2f} s of CPU (medians of {RUNS})")
    print(
        f"  Python {empty:.3f}, numpy pydantic click ruamel.yaml tqdm {libraries - empty:.3f}, "
        f"importing accelsim {ours - libraries:.3f}"
    )
    print(
        f"  loading the network, the run and its table: {work:.3f} s of CPU, {work / cpu:.0%} of "
        "the whole (target: below 0.1)"
    )
    return wall < 2.0 and work < 0.1


def resnet18(on: list[str]) -> bool:
    words = [ACCELSIM, "run", *EVENT, "--arch", on[0], "--dataflow", on[1]]
    start = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    print(
        f"ResNet-18 event, {on[0]} {on[1]}: {wall:.1f} s, {cpu:.1f} s of CPU, "
        f"{used.ru_maxrss / 1e6:.2f} GB, exit {code}"
    )
    return code == 0 and wall < 60 and used.ru_maxrss < 4e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    less = parser.add_mutually_exclusive_group()
    less.add_argument("--quick", action="store_true", help="ResNet-18 under one dataflow")
    less.add_argument("--shell", action="store_true", help="the commands with the best tiles only")
    given = parser.parse_args()
    in_time = answers()
    if given.shell:
        return 0 if in_time else 1
    some = [
        ["systolic", "ws"],
        ["systolic", "os"],
        ["eyeriss", "rs"],
        ["eyeriss", "ws"],
        ["eyeriss", "os"],
    ]
    held = [in_time, resnet50(), *map(resnet18, some[:1] if given.quick else some)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
