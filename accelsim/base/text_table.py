"""A page: what a thing is, in paragraphs, tables and loops, before anyone chose text or HTML.

Whatever prints itself (an architecture, a result, a profile, ...) is built here once.  ``text``
writes it for a terminal, ``html`` for a notebook, from the same cells in the same order, so the two
cannot differ in a word.  The builders are in ``results.table``, ``explore.output`` and ``view``;
``csv_lines`` is what every comma-separated file is written by.

The blocks of a page stand apart by one blank line.  A block that is ``close`` stands directly under
the one before it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape

GAP = "  "  # between columns
STYLE = (
    "<style>.accelsim table{border-collapse:collapse;margin:.5em 0}"
    ".accelsim td,.accelsim th{padding:.1em .7em;text-align:left;"
    "font-variant-numeric:tabular-nums;vertical-align:top}"
    ".accelsim thead th{border-bottom:1px solid}.accelsim tr.total td{border-top:1px solid}"
    ".accelsim td.n,.accelsim th.n{text-align:right}"
    ".accelsim dl{display:grid;grid-template-columns:max-content auto;gap:.1em 1.4em;margin:.5em 0}"
    ".accelsim dd{margin:0}"
    ".accelsim pre{margin:.5em 0;line-height:1.45}.accelsim p{margin:.3em 0}</style>"
)


@dataclass(frozen=True)
class Sentences:
    """Lines of prose, a paragraph each."""

    lines: tuple[str, ...]
    close: bool = False

    def text(self) -> list[str]:
        """The lines as they are."""
        return list(self.lines)

    def html(self) -> str:
        """A paragraph a line."""
        return "".join(f"<p>{escape(line)}</p>" for line in self.lines)


@dataclass(frozen=True)
class Preformatted:
    """Lines whose spaces mean something, such as a loop nest's indentation."""

    lines: tuple[str, ...]
    close: bool = False

    def text(self) -> list[str]:
        """The lines as they are."""
        return list(self.lines)

    def html(self) -> str:
        """One block that keeps its spaces."""
        return f"<pre>{escape(chr(10).join(self.lines))}</pre>"


@dataclass(frozen=True)
class Facts:
    """Names with what is to be said of each.  As text a column of its own for the names."""

    pairs: tuple[tuple[str, str], ...]
    close: bool = False

    def text(self) -> list[str]:
        """A line a fact."""
        return aligned(self.pairs)

    def html(self) -> str:
        """A list of definitions."""
        items = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(said)}</dd>" for name, said in self.pairs
        )
        return f"<dl>{items}</dl>"


@dataclass(frozen=True)
class SideNotes:
    """A title and items under it that most readers pass over; in a notebook they are folded."""

    title: str
    items: tuple[str, ...]
    close: bool = False

    def text(self) -> list[str]:
        """The title, and the items indented."""
        return [self.title, *(f"  {item}" for item in self.items)]

    def html(self) -> str:
        """A list that opens when it is asked for."""
        items = "".join(f"<li>{escape(item)}</li>" for item in self.items)
        return f"<details><summary>{escape(self.title)}</summary><ul>{items}</ul></details>"


@dataclass(frozen=True)
class TextTable:
    """Cells under a head; every row is as long as the head.

    ``right`` are the places of the columns that end at the right, as numbers do.  ``totals`` are
    the places of rows that sum up those above: a rule stands over each, and a blank line below it
    where more rows follow.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    totals: frozenset[int] = frozenset()
    ruled: bool = True  # a line under the head
    gap: str = GAP
    close: bool = False

    @classmethod
    def of(
        cls,
        head: Sequence[str],
        rows: Iterable[Sequence[str]],
        right: Iterable[int] = (),
        totals: Iterable[int] = (),
    ) -> TextTable:
        """A table of any sequences."""
        body = tuple(tuple(row) for row in rows)
        return cls(tuple(head), body, frozenset(right), frozenset(totals))

    def without_empty_columns(self) -> TextTable:
        """The table without the columns that no row has a text in."""
        used = [i for i in range(len(self.head)) if any(row[i] for row in self.rows)]
        return replace(
            self,
            head=tuple(self.head[i] for i in used),
            rows=tuple(tuple(row[i] for i in used) for row in self.rows),
            right=frozenset(place for place, i in enumerate(used) if i in self.right),
        )

    def text(self) -> list[str]:
        """Lines with columns as wide as they need to be; no line ends in a space."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        rule = self._line(["-" * width for width in widths], widths)
        lines = [self._line(self.head, widths), *([rule] if self.ruled else [])]
        for place, row in enumerate(self.rows):
            if place in self.totals:
                lines.append(rule)
            lines.append(self._line(row, widths))
            if place in self.totals and place + 1 < len(self.rows):
                lines.append("")
        return lines

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        texts = (
            cell.rjust(width) if place in self.right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return self.gap.join(texts).rstrip()

    def html(self) -> str:
        """A table whose number cells have the class ``n`` and whose totals the class ``total``."""
        rows = "".join(
            f"<tr{' class=total' if place in self.totals else ''}>{self._cells(row, 'td')}</tr>"
            for place, row in enumerate(self.rows)
        )
        head = f"<thead><tr>{self._cells(self.head, 'th')}</tr></thead>"
        return f"<table>{head}<tbody>{rows}</tbody></table>"

    def _cells(self, cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if place in self.right else ''}>{escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )


Block = Sentences | Preformatted | Facts | SideNotes | TextTable


@dataclass(frozen=True)
class Page:
    """A title, a sentence under it, and blocks; what is empty is left out."""

    title: str = ""
    description: str = ""
    blocks: tuple[Block, ...] = field(default=())

    def text(self) -> str:
        """The page for a terminal, without a line's end after the last line."""
        lines = [line for line in (self.title, self.description) if line]
        for block in self.blocks:
            if lines and not block.close:
                lines.append("")
            lines += block.text()
        return "\n".join(lines)

    def html(self, *, styled: bool = True) -> str:
        """The page for a notebook, with no script and nothing it loads.

        Without ``styled`` the blocks alone, which look as the place they are put in has it.
        """
        head = f"<p><b>{escape(self.title)}</b></p>" if self.title else ""
        if self.description:
            head += f"<p>{escape(self.description)}</p>"
        inside = "".join(block.html() for block in self.blocks)
        return f'{STYLE}<div class="accelsim">{head}{inside}</div>' if styled else head + inside


def aligned(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """A line a pair, the second texts under one another."""
    pairs = list(pairs)
    width = max((len(first) for first, _ in pairs), default=0)
    return [f"{first.ljust(width)}{GAP}{second}".rstrip() for first, second in pairs]


def spaced(number: float, form: str = "") -> str:
    """A number with spaces between thousands, after a format such as ``.10g``: 1 234 567."""
    return f"{number:,{form}}".replace(",", " ")


def csv_lines(names: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Comma-separated lines under ``names``, without a line's end after the last.

    Whole numbers stay whole beside rows that have none; what there is no value for is empty.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return stream.getvalue().rstrip("\n")
