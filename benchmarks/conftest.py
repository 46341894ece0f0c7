"""Ratios on one core: one BLAS thread, whatever the machine has (set OPENBLAS_NUM_THREADS to
measure with more).
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
