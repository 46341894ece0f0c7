"""``accelsim results``: what a store holds; filter, export, fronts, sensitivities, and forget."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import ANY_PATH, output_option
from accelsim.cli.frame_tables import brief, chosen_format, frame_format_option, names, put

if TYPE_CHECKING:
    from accelsim.explore.columns import Table
    from accelsim.explore.store import Store


@click.command()
@click.argument("store", type=ANY_PATH)
@click.option(
    "--where",
    metavar="EXPR",
    help="Only rows for which this holds: \"dataflow == 'ws' and array.rows * array.cols <= 256\".",
)
@click.option(
    "--columns",
    metavar="C[,C...]",
    help="Only these columns; `accelsim results STORE --columns help` lists them.",
)
@click.option("--study", metavar="NAME", help="Only rows of this study, in its order.")
@click.option("--total", is_flag=True, help="Sum over the layers of each network.")
@click.option(
    "--pareto",
    metavar="C[,C...]",
    help="Only rows no other beats in all of these columns (smaller is better).",
)
@click.option(
    "--maximize", metavar="C[,C...]", help="Columns of --pareto of which larger is better."
)
@click.option(
    "--sensitivity", metavar="C", help="Instead of the rows, how much each axis moves this column."
)
@click.option(
    "--studies",
    is_flag=True,
    help="Instead of the rows, which studies there are and how far they are.",
)
@click.option("--prune", metavar="EXPR", help="Forget the rows for which this holds.")
@click.option(
    "--prune-old",
    is_flag=True,
    help="Forget the rows of other model versions than this accelsim's.",
)
@frame_format_option
@output_option
def results(
    store: Path,
    where: str | None,
    columns: str | None,
    study: str | None,
    total: bool,
    pareto: str | None,
    maximize: str | None,
    sensitivity: str | None,
    studies: bool,
    prune: str | None,
    prune_old: bool,
    form: str | None,
    output: Path | None,
) -> int:
    """Show what the store STORE holds, or export it.

    In Python: pandas.read_sql("select * from results", sqlite3.connect("STORE")).
    """
    from accelsim.explore.store import Store

    form = chosen_format(form, output)
    if maximize and not pareto:
        raise click.UsageError("--maximize goes with --pareto")
    if (prune or prune_old) and (
        where or columns or study or total or pareto or sensitivity or studies or output
    ):
        raise click.UsageError("--prune and --prune-old forget rows and show none: alone")
    with Store(store, create=False) as opened:
        if prune or prune_old:
            return _prune(opened, prune, prune_old)
        if columns == "help":
            click.echo("\n".join(opened.names))
            return 0
        if studies:
            table = _studies(opened)
            put(table, form, output, tuple(table.columns))
            return 0
        table = _rows(opened, where, study, total, columns, pareto, maximize, sensitivity)
    wanted = tuple(table.columns) if columns or sensitivity else brief(table.columns)
    put(table, form, output, wanted)
    return 0


def _rows(
    store: Store,
    where: str | None,
    study: str | None,
    total: bool,
    columns: str | None,
    pareto: str | None,
    maximize: str | None,
    sensitivity: str | None,
) -> Table:
    from accelsim.base.errors import InputError
    from accelsim.explore.columns import Table
    from accelsim.explore.pareto import on_front
    from accelsim.explore.read import read_table
    from accelsim.explore.sensitivity import sensitivity as moved

    chosen = names(columns)
    table = read_table(
        store, where, None if pareto or sensitivity else chosen, study=study, total=total
    )
    try:
        if pareto:
            table = table.take(
                on_front(table.to_frame(), names(pareto) or [], names(maximize) or [])
            )
        if sensitivity:
            return Table.of(moved(table.to_frame(), sensitivity))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(error)) from None
    for name in chosen or ():
        if name not in table.columns:
            raise InputError("no such column", key="columns", got=name, choices=table.columns)
    return table if chosen is None else table.select(chosen)


def _prune(store: Store, where: str | None, old: bool) -> int:
    from accelsim.base.text_table import spaced
    from accelsim.explore.read import expression
    from accelsim.version import MODEL_VERSION

    forgotten = 0
    if where:
        forgotten += store.prune(expression(where, "prune"))
    if old:
        forgotten += store.prune(expression(f"model_version != {MODEL_VERSION}", "prune-old"))
    click.echo(f"forgot {spaced(forgotten)} rows", err=True)
    return 0


def _studies(store: Store) -> Table:
    from accelsim.explore.columns import Table, column

    rows = store.studies()
    started = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(r["started"])) for r in rows]
    values = {name: [r[name] for r in rows] for name in ("name", "rows", "finished")} | {
        "started": started
    }
    return Table({name: column(v) for name, v in values.items()}, len(rows))
