"""Limits that keep every answer to a file under 2 s and 300 MB; the largest real file is far below
them.
"""

from __future__ import annotations

from typing import Any

# Limits that keep every answer under 2 s and 300 MB; the largest real file is far below them.
MAX_BYTES = 500_000
MAX_LINES = 20_000
MAX_LINE = 10_000
MAX_NODES = 40_000
MAX_DEPTH = 20
MAX_NUMBER = 2**53  # integers up to here are exact everywhere, JSON and float64 included


def exact_number(number: int) -> int:
    if abs(number) > MAX_NUMBER:
        raise ValueError("must be a number of at most 2^53")
    return number


def plain_value(value: object) -> Any:
    """A value as YAML would give it: numpy scalars become Python's, tuples lists.  Raises
    ValueError beyond 2^53.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain_value(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain_value(v) for k, v in value.items()}
    return exact_number(value) if isinstance(value, int) and not isinstance(value, bool) else value
