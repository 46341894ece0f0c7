"""Tables of text as programs save them: rows of cells, whatever stands between the cells.

``scalesim`` reads topologies with it.  A spreadsheet writes commas, semicolons or tabs, UTF-8 with
or without a mark, UTF-16 or the Windows code page, ends of lines of three kinds, and puts cells in
quotes; none of it changes what the cells say.
"""

from __future__ import annotations

import csv
import io
import os
import re

from accelsim.base.errors import InputError
from accelsim.importers.network_builder import read_bytes

SEPARATORS = (",", ";", "\t", "|")
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+")  # 1,024 in a cell of its own
_WHOLE = re.compile(r"[+-]?[0-9]+([.,]0*)?")  # 3, 3.0 and, where commas are decimal, 3,0


def table_rows(file: str | os.PathLike[str], most: int) -> tuple[list[tuple[int, list[str]]], str]:
    """Every row that is not blank with its line, the cells without blanks around them; and what
    is to be said of the file's encoding.  Raises InputError if it is no text of ``most`` bytes.
    """
    text, said = _text(file, most)
    lines = re.sub("\r\n?", "\n", text)
    first = 0
    if stated := re.match(r"sep=(.)\n", lines):  # a hint that spreadsheets write and read
        lines, first = lines[stated.end() :], 1
    separator = stated[1] if stated else _separator(lines)
    try:
        reader = csv.reader(io.StringIO(lines), delimiter=separator)
        rows = [(reader.line_num + first, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"must be CSV: {error}", file=file) from None
    return [(line, cells) for line, cells in rows if any(cells)], said


def _text(file: str | os.PathLike[str], most: int) -> tuple[str, str]:
    raw, said = read_bytes(file, most), ""
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise InputError(
                f"must be {encoding} text, as its first bytes say", file=file
            ) from None
        text = raw.decode("cp1252", "replace")
        line = raw[: error.start].count(b"\n") + 1
        said = f"line {line} is not UTF-8: the file is read as Windows-1252"
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError("must be text, not binary", file=file, line=line, column=1)
    return text, said


def _separator(text: str) -> str:
    """The separator between which most numbers stand; a comma if there are none."""
    some = text.split("\n")[:50]

    def numbers(separator: str) -> int:
        cells = (cell.strip(' \t"') for line in some for cell in line.split(separator))
        return sum(whole_number(cell) is not None for cell in cells)

    return max(SEPARATORS, key=numbers)


def whole_number(cell: str) -> int | None:
    """The whole number a cell says, as a spreadsheet may show it; None if it says none."""
    if not cell.isascii() or len(cell) > 20:
        return None
    if _GROUPED.fullmatch(cell):
        return int(cell.replace(",", ""))
    return int(re.split("[.,]", cell)[0]) if _WHOLE.fullmatch(cell) else None
