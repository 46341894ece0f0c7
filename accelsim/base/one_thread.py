"""One BLAS thread a process, for whoever starts several: the mapper on a network, and sweeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_VARIABLE = "OPENBLAS_NUM_THREADS"
_lock = Lock()
_inside = 0  # threads that are within and found nothing set: the last one out takes it away


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes started within get one BLAS thread each: what is multiplied is small, and the
    processes are the threads.
    """
    global _inside
    with _lock:
        ours = _inside > 0 or not os.environ.get(_VARIABLE)
        _inside += ours
        if ours:
            os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        with _lock:
            _inside -= ours
            if ours and not _inside:
                os.environ.pop(_VARIABLE, None)
