"""Limits that keep every answer to a file under 2 s and 300 MB; the largest real file is far below
them.
"""

from __future__ import annotations

MAX_BYTES = 500_000
MAX_LINES = 20_000
MAX_LINE = 10_000
MAX_NODES = 40_000
MAX_DEPTH = 20
MAX_NUMBER = 2**53  # integers up to here are exact everywhere, JSON and float64 included
