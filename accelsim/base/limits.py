"""How much a stranger's file may be: read by ``yaml_reading`` for every file, and by who takes
numbers from Python or a command line.

Below these limits every answer, also the answer that a file is wrong, comes within 2 s and 300 MB;
the largest real file is far below them.  Limits of one language or one format stand beside their
reader (``base/expression``, ``importers/text_format``).
"""

from __future__ import annotations

from typing import Any

MAX_BYTES = 500_000
MAX_LINES = 20_000
MAX_LINE = 10_000  # characters
MAX_NODES = 40_000  # keys and values
MAX_DEPTH = 20
# A network of thousands of layers is written as JSON, which is read in a fraction of the time.
MAX_JSON_BYTES = 10_000_000
MAX_JSON_NODES = 400_000
MAX_NUMBER = 2**53  # integers up to here are exact everywhere, JSON and float64 included
MAX_COUNT = 2**63 - 1  # of what is counted: arrays, frames, Parquet and SQLite hold 64 bits


COUNT_RULE = "the largest whole number a column holds is 2^63 - 1"


def too_large(column: str, value: int) -> str:
    """What is said of a count or a total that is refused: the column, what it would have to hold,
    and the rule.
    """
    return f"{column} would be {value}: {COUNT_RULE}"


def exact_number(number: int) -> int:
    """``number``, if every reader takes it for the same.  Raises ValueError beyond 2^53."""
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
