"""``accelsim profile``: a network layer by layer, before any accelerator, and several networks in
one picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import (
    DIRECTORY,
    batch_option,
    csv_text,
    format_option,
    output_option,
    params_option,
    write,
)
from accelsim.cli.import_command import given_workload

if TYPE_CHECKING:
    from accelsim.workload.profile import Profile

CLOCK = 2200.0


@click.command()
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@params_option
@batch_option
@click.option(
    "--bits",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    metavar="B",
    help="Bits of a word.",
)
@click.option(
    "--clock",
    type=float,
    default=CLOCK,
    show_default=True,
    metavar="MHZ",
    help="Of a core that does one MAC a cycle.",
)
@click.option("--layers", "layers_only", is_flag=True, help="Only what runs on the array.")
@click.option("--total", is_flag=True, help="Only a total for each network, in every format.")
@click.option(
    "--blocks",
    is_flag=True,
    help="In coloured blocks, one a layer by its kind; with --plot, drawn as NETWORK_blocks too.",
)
@format_option
@output_option
@click.option(
    "--plot",
    type=DIRECTORY,
    metavar="DIR",
    help="Draw networks.png and .svg there.",
)
def profile(
    networks: tuple[str, ...],
    params: tuple[str, ...],
    batch: int | None,
    bits: int,
    clock: float,
    layers_only: bool,
    total: bool,
    blocks: bool,
    form: str | None,
    output: Path | None,
    plot: Path | None,
) -> int:
    """Profile networks: shapes, parameters, MACs, other operations, activation memory, arithmetic
    intensity.

    NETWORK is a name of `accelsim list`, a YAML file, or a file that `accelsim import` reads.  One
    row per layer or operator; csv and
    json end in no total unless --total asks for it alone.
    """
    if blocks and (total or form not in (None, "table")):
        raise click.UsageError(
            "--blocks is a table of layers: it goes without --total and --format"
        )
    from accelsim.view.pages.profile_page import table
    from accelsim.workload.profile import profile as measure

    profiles = [
        measure(given_workload(name, params)[0], batch, bits, clock, layers_only)
        for name in networks
    ]
    if form is None:
        form = {".csv": "csv", ".json": "json"}.get(
            output.suffix.lower() if output else "", "table"
        )
    rows = [row.columns() for p in profiles for row in ([p.total] if total else p.rows)]
    if form == "json":
        import json

        text = json.dumps(rows, indent=2)
    elif form == "csv":
        text = csv_text(rows)
    elif total:
        from accelsim.view.pages.profile_page import totals

        text = totals(profiles)
    elif blocks:
        from accelsim.view.network_blocks import blocks_text

        shown = "\n\n".join(blocks_text(p) for p in profiles)
        text = click.unstyle(shown) if output else shown
    else:
        text = "\n\n".join(table(p) for p in profiles)
    write(text, output)
    if plot is not None:
        _draw(profiles, plot, blocks)
    return 0


def _draw(profiles: list[Profile], directory: Path, with_blocks: bool) -> None:
    from accelsim.view import plots
    from accelsim.view.network_blocks import blocks
    from accelsim.view.network_discs import discs

    try:
        drawn = [(discs(profiles), "networks")]
        drawn += [(blocks(p), f"{p.workload}_blocks") for p in profiles if with_blocks]
        for figure, name in drawn:
            for path in plots.save(figure, directory, name):
                click.echo(f"drew {path}", err=True)
    except ValueError as error:
        raise click.UsageError(f"--plot: {error}") from error
    except OSError as error:
        raise click.UsageError(
            f"--plot {directory}: cannot be written: {error.strerror}"
        ) from error
