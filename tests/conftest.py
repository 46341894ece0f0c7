"""Two test processes on two cores: BLAS threads of their own would only wait for each other; and
compiled loops are on disk before the first test runs, so that no test waits for them or sees what
a first run says.
"""

import gc
import os
import subprocess
import sys

import pytest

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# A test process holds millions of objects that stay; to go through them after every 700 new ones
# took an eighth of its time.
gc.set_threshold(20_000)

EVERY_KERNEL = """
import accelsim as acc
layer = acc.Conv2d(M=2, C=2, H=6, W=6, R=3, S=3, padding=1)
machines = {"eyeriss": ("rs", "nlr"), "systolic": ("ws", "os"), "shidiannao": ("osp",)}
for arch, dataflows in machines.items():
    for engine in ("analytic", "event", "cycle"):
        acc.simulate(layer, arch, dataflows, engine=engine, tiles="rule")
        acc.simulate(layer, arch, dataflows, engine=engine, overrides={"dram": "unlimited"})
small = {"levels.glb.capacity_bytes": 300}  # tiles that overlap
acc.simulate(layer, "eyeriss", "rs", engine="cycle", overrides=small)
acc.simulate(acc.Gemm(m=40, n=40, k=400), "eyeriss", "is", tiles="rule")  # (k, x) pairs that stay
acc.simulate(acc.Conv2d(M=96, C=96, H=13, W=13, R=3, S=3), "eyeriss", "rs")
"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile what has changed since the last run: once, before the processes that test begin."""
    if not hasattr(session.config, "workerinput"):
        subprocess.run([sys.executable, "-c", EVERY_KERNEL], check=True, capture_output=True)
