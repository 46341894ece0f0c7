"""How commands on sweeps print and write their tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import write

if TYPE_CHECKING:
    from accelsim.explore.columns import Table

FORMATS = ("table", "csv", "json", "parquet")

frame_format_option = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="table unless -o names a .csv, .json or .parquet file.",
)
SHOWN = 40  # rows of a table on the terminal


def chosen_format(form: str | None, output: Path | None) -> str:
    """What was asked for, or what the file's name says.  Raises UsageError or InputError for what
    could not be written later.
    """
    from accelsim.explore.output import need_parquet

    ending = output.suffix.lower().lstrip(".") if output else ""
    form = form or (ending if ending in FORMATS else "table")
    if form == "parquet":
        if output is None:
            raise click.UsageError("--format parquet wants -o FILE")
        need_parquet(output)
    if output is not None and not output.parent.is_dir():
        raise click.UsageError(f"-o {output}: no such directory")
    return form


def put(
    table: Table,
    form: str,
    output: Path | None,
    shown: tuple[str, ...],
    most: int | None = SHOWN,
) -> None:
    """A table in a format, to a file or stdout; as text only the columns ``shown``, on a terminal
    at most so many rows.
    """
    from accelsim.explore import output as write_as

    if form == "parquet":
        assert output is not None
        write_as.write_parquet(table, output)
    elif form == "csv":
        write(write_as.table_csv(table), output)
    elif form == "json":
        write(write_as.json_text(table), output)
    else:
        names = [
            n
            for n in shown
            if n in table.columns and (table.columns[n].kind != "none" or n in ("cycles", "status"))
        ]
        write(write_as.table_text(table.select(names), None if output else most), output)


def brief(keys: Iterable[str]) -> tuple[str, ...]:
    """The columns a table on the terminal has, of those there are."""
    from accelsim.explore.row_names import axes
    from accelsim.results.layer_row import ENERGIES

    lead = ("front", "workload", "layer", "arch", *axes(keys), "dataflow", "batch", "status")
    return (*lead, "cycles", "utilization", *ENERGIES, "area_um2", "error")


def names(text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [t.strip() for t in text.split(",") if t.strip()]
