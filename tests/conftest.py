"""Two test processes on two cores: BLAS threads of their own would only wait for each other; and
compiled loops are on disk before the first test runs, so that no test waits for them or sees what
a first run says.
"""

import os
import subprocess
import sys

import pytest

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

EVERY_KERNEL = """
import accelsim as acc
layer = acc.Conv2d(M=2, C=2, H=6, W=6, R=3, S=3, padding=1)
for arch, dataflow in (("eyeriss", "rs"), ("systolic", "ws")):
    for engine in ("analytic", "event", "cycle"):
        acc.simulate(layer, arch, dataflow, engine=engine)
acc.simulate(acc.Gemm(m=40, n=40, k=400), "eyeriss", "is")  # (k, x) pairs that stay
"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile what has changed since the last run: once, before the processes that test begin."""
    if not hasattr(session.config, "workerinput"):
        subprocess.run([sys.executable, "-c", EVERY_KERNEL], check=True, capture_output=True)
