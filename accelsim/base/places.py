"""Where something stands in a file: what both readers of files, of YAML and of JSON, give."""

from __future__ import annotations

from dataclasses import dataclass

Steps = tuple[str | int, ...]  # keys and indices that lead to a value


@dataclass(frozen=True)
class TextPlace:
    """Where a key and its value stand, (line, column) from 1, and the value as written."""

    key: tuple[int, int]
    value: tuple[int, int]
    text: str
