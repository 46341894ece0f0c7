"""CPU seconds of first runs, for which nothing is compiled yet: each in an empty cache of its own.

Asked for: at most 20 s for any of them.  ``all kernels`` is what ``tests/conftest.py`` runs to have
every kernel compiled, more than any one command needs; the others are commands of the shell.
Importing Python's packages and the run itself are counted with them; the same again, when all is
compiled, says how much that is.

Run: python benchmarks/first_run.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import EVERY_KERNEL

WANTED = 20
SHELL = "from accelsim.cli.main import main; main()"
RUNS = {
    "analytic, systolic ws": "--arch systolic --dataflow ws",
    "event, systolic ws": "--arch systolic --dataflow ws --engine event",
    "cycle, systolic ws": "--arch systolic --dataflow ws --engine cycle",
    "cycle, eyeriss rs": "--arch eyeriss --dataflow rs --engine cycle",
}


def cpu_seconds(code: str, *arguments: str, cache: str) -> float:
    """User and system time of Python on its own with some code."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "OPENBLAS_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", code, *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    commands = {name: (SHELL, "run", "lenet5", *text.split()) for name, text in RUNS.items()}
    print(f"{'CPU s':<24}{'first':>8}{'again':>8}")
    for name, command in {**commands, "all kernels": (EVERY_KERNEL,)}.items():
        with tempfile.TemporaryDirectory() as cache:
            first, again = (cpu_seconds(*command, cache=cache) for _ in range(2))
        print(f"{name:<24}{first:8.1f}{again:8.1f}{'' if first <= WANTED else '  over'}")


if __name__ == "__main__":
    main()
