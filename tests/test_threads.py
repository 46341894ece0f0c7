"""Any thread may call anything at any time: 8 threads of different work, switched as often as
Python can, give what a fresh process gives that does one thing after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from quick import slow_but

HERE = Path(__file__).parent
THREADS = 8


def fresh(*arguments: str) -> subprocess.Popen[str]:
    """This file as a program, in a process that has worked out nothing yet."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "thread_jobs.py"), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> list[str]:
    """What its jobs gave, in the order of their numbers."""
    out, error = process.communicate()
    assert process.returncode == 0, error
    return json.loads(out)


def differing(seed: int, jobs: int) -> list[str]:
    """The jobs that gave something else in threads, and what."""
    both = [fresh(str(seed), str(jobs), str(threads)) for threads in (THREADS, 1)]
    threaded, plain = (outcome(process) for process in both)
    assert len(plain) == len(threaded) >= jobs
    return [
        f"{i}: {a}\n!= {b}" for i, (a, b) in enumerate(zip(threaded, plain, strict=True)) if a != b
    ]


@pytest.mark.parametrize(
    ("seed", "jobs"),
    slow_but([(1, 24)], [(1, 24), (1, 60), *((seed, 600) for seed in range(2, 6))]),
)
def test_different_work_in_threads(seed: int, jobs: int) -> None:
    assert not differing(seed, jobs)


SWEEP = """
import sys
from concurrent.futures import ThreadPoolExecutor
import accelsim as acc
sys.setswitchinterval(1e-6)
layers = [
    acc.Conv2d(name="a", M=4, C=3, H=8, W=8, R=3, S=3, padding=1),
    acc.Conv2d(name="b", M=6, C=4, H=7, W=7, R=3, S=3, stride=2),
]
rows, cols, *pools = map(int, sys.argv[1:])
grid = {"array.rows": range(2, rows), "array.cols": range(2, cols)}
for pool in pools:
    crew = {"pool": ThreadPoolExecutor(pool)} if pool > 1 else {"jobs": 1}
    print(acc.sweep(layers, "eyeriss", grid, dataflows=["ws", "os", "rs"], **crew).to_json())
"""


@pytest.mark.parametrize("below", slow_but([((4, 4),)], [((4, 4),), ((7, 6),)]))
def test_a_sweep_in_threads(below: tuple[int, int]) -> None:
    """And what the same process says afterwards in one thread."""

    def rows(*pools: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", SWEEP, *map(str, (*below, *pools))],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return done.stdout.splitlines()

    (plain,) = rows(1)
    assert plain.count('"ok"') == 6 * (below[0] - 2) * (below[1] - 2)
    assert set(rows(8, 8, 1)) == {plain}
