"""CSV as commands write it: whole numbers whole, nothing where there is no value, and lines that end
in a line feed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def csv_text(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows of values under their names, None where there is none; no line end after the last."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return stream.getvalue().rstrip("\n")
