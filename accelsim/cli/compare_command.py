"""``accelsim compare``: two stored studies side by side."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.common import output_option
from accelsim.cli.frame_tables import chosen_format, frame_format_option, names, put


@click.command()
@click.argument("first", metavar="STORE[#STUDY]")
@click.argument("second", metavar="STORE[#STUDY]")
@click.option(
    "--columns", metavar="C[,C...]", help="What to compare; cycles, energy and area otherwise."
)
@click.option(
    "--on",
    metavar="C[,C...]",
    help="What names a point in both; layer, arch, dataflow, axes and so on otherwise.",
)
@click.option("--where", metavar="EXPR", help="Only rows for which this holds.")
@click.option("--total", is_flag=True, help="Sum over the layers of each network.")
@click.option("--all", "everything", is_flag=True, help="Also rows that only one of them has.")
@frame_format_option
@output_option
def compare(
    first: str,
    second: str,
    columns: str | None,
    on: str | None,
    where: str | None,
    total: bool,
    everything: bool,
    form: str | None,
    output: Path | None,
) -> int:
    """Compare the results of two stores, or of two studies (STORE#NAME): the second over the first,
    point by point, and why the second is faster or slower.
    """
    from accelsim.explore.columns import Table
    from accelsim.explore.difference import compare as compared
    from accelsim.explore.difference import why
    from accelsim.explore.read import read_store

    form = chosen_format(form, output)
    frames = []
    for given in (first, second):
        path, _, study = given.partition("#")
        frames.append(read_store(path, where, study=study or None, total=total))
    a, b = frames
    asked = names(columns), names(on)
    both = compared(a, b, *asked)
    table = Table.of(compared(a, b, *asked, "outer") if everything else both)
    shown = [
        n
        for n, c in table.columns.items()
        if n.endswith(("_a", "_b", "_ratio")) or len(set(c.plain())) > 1 or form != "table"
    ]
    put(table, form, output, tuple(shown))
    if form == "table" and (told := why(a, b, asked[1], ("the first", "the second"))):
        click.echo(f"\nOver the points in both, {told}", err=output is not None)
    click.echo(
        f"{len(both)} points in both, {len(a) - len(both)} only in {first}, "
        f"{len(b) - len(both)} only in {second}",
        err=True,
    )
    return 0
