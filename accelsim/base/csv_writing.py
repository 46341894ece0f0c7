"""CSV, as every command and page writes it: whole numbers whole, nothing where there is no value,
lines that end in a line feed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence


def csv_text(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows of values under their names, None where there is none; no line end after the last."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return stream.getvalue().rstrip("\n")


def records_csv(records: Sequence[Mapping[str, object]]) -> str:
    """The same of records; the columns are the first one's, and a later one may lack some."""
    names = list(records[0]) if records else []
    return csv_text(names, ([record.get(name) for name in names] for record in records))
