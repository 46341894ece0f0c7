"""Files that are written whole or not at all, and records as CSV: what commands, ``to_csv``,
``to_json`` and ``save`` write with.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from accelsim.base.text_table import csv_lines


def records_csv(records: Sequence[Mapping[str, object]]) -> str:
    """Records as CSV, a column for each key in the order in which the keys first appear."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return csv_lines(names, ([record.get(name) for name in names] for record in records))


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes are the file's once the block has ended well; otherwise ``path`` stays
    as it was.  Raises OSError where it cannot be written.

    The bytes wait under a name of their own in the same directory.  A link stays a link, and the
    file it leads to is written; a file keeps its mode; what is no regular file (a device, a pipe)
    has nothing to keep whole and is written as it comes.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    half = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with half.open("xb") as stream:
            yield stream
        if target.exists():
            half.chmod(stat.S_IMODE(target.stat().st_mode))
        half.replace(target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def write_text(text: str, path: Path) -> None:
    """The text and a line end as the whole of a file.  Raises OSError."""
    with whole_file(path) as stream:
        stream.write(f"{text}\n".encode())
