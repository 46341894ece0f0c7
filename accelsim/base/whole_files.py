"""Rows as CSV, and files that are written whole or not at all: what commands, ``to_csv``,
``to_json`` and ``save`` write with.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def csv_text(records: Sequence[Mapping[str, object]]) -> str:
    """Records with the same keys as CSV, a header first and no line end last.

    Whole numbers stay whole beside records that have none; what there is no value for is empty.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue().rstrip("\n")


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes are the file's once the block has ended well; otherwise ``path`` stays
    as it was.  Raises OSError where it cannot be written.
    """
    half = path.with_name(path.name + ".part")
    try:
        with half.open("wb") as stream:
            yield stream
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def write_text(text: str, path: Path) -> None:
    """The text and a line end as the whole of a file.  Raises OSError."""
    with whole_file(path) as stream:
        stream.write(f"{text}\n".encode())
