"""Tables as text: CSV, JSON, Parquet, and columns for a terminal.

The commands on sweeps write theirs here (``cli/frame_tables.py``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.text_table import Block, Page, Sentences, TextTable, csv_lines, spaced
from accelsim.base.whole_files import whole_file
from accelsim.explore.columns import Column, Table


def table_csv(table: Table) -> str:
    """A header, a line per row; whole numbers stay whole, what there is no value for is empty."""
    return csv_lines(list(table.columns), table.rows())


def json_text(table: Table) -> str:
    """A list of records, one a line."""
    names = list(table.columns)
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in table.rows()]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def need_parquet(path: Path) -> None:
    """Raises InputError if there is no pyarrow."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        rule = "Parquet needs pyarrow: pip install pyarrow"
        raise InputError(rule, file=path) from None


def write_parquet(table: Table, path: Path) -> None:
    """A Parquet file, never half written.  Raises InputError without pyarrow or where it cannot be
    written.
    """
    need_parquet(path)
    import pyarrow as pa
    from pyarrow import parquet

    def array(c: Column) -> Any:
        if c.kind == "none":
            return pa.nulls(len(c))
        return pa.array(c.values, mask=None if c.there is None else ~c.there)

    try:
        with whole_file(path) as stream:
            parquet.write_table(
                pa.table({name: array(c) for name, c in table.columns.items()}), stream
            )
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be written ({why})", file=path) from None


def table_text(table: Table, most: int | None = None) -> str:
    """For a terminal: right-aligned numbers under their names, at most so many rows, and a line on
    those left out.
    """
    shown = table if most is None or len(table) <= most else table.take(slice(most))
    cells = [[_cell(value) for value in column.plain()] for column in shown.columns.values()]
    numbers = [i for i, c in enumerate(shown.columns.values()) if c.kind != "text"]
    blocks: list[Block] = [TextTable.of(list(shown.columns), zip(*cells, strict=True), numbers)]
    if len(shown) < len(table):
        blocks.append(Sentences((f"... {len(table) - len(shown)} more rows",), close=True))
    return Page(blocks=tuple(blocks)).text()


def _cell(value: Any) -> str:
    """A value as it is read, not as it is stored."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return spaced(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
