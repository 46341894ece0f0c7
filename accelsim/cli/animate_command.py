"""``accelsim animate``: a layer on the cycle engine, or a small network, as an HTML file that plays
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import (
    FILE,
    arch_option,
    batch_option,
    direction_option,
    overrides_option,
    pairs,
    params_option,
    ready,
    seed_option,
)
from accelsim.cli.import_command import given_workload

if TYPE_CHECKING:
    from accelsim.view.player.scene import Numbers
    from accelsim.workload.problem import Direction


@click.command()
@click.argument("workload")
@click.option(
    "--layer", metavar="L", help="The layer or operator; without it a small network, node by node."
)
@arch_option
@overrides_option
@click.option(
    "--dataflow",
    metavar="D[,D...]",
    help="Dataflows: names of `accelsim list` or YAML files; up to three stand side by side.",
)
@click.option(
    "--mapping",
    metavar="M",
    help="A mapping file instead of the fixed rule; --dataflow is then only a name.",
)
@params_option
@batch_option
@direction_option
@seed_option
@click.option(
    "--first",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="The first cycle shown.",
)
@click.option(
    "--cycles",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    metavar="N",
    help="How many cycles are shown at most.",
)
@click.option(
    "--numbers",
    type=click.Choice(["small", "full"]),
    default="small",
    show_default=True,
    help="Random data: small whole numbers to check by hand, or the words' full range.",
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE",
    help="WORKLOAD-LAYER-on-ARCH-DATAFLOW.html unless given.",
)
def animate(
    workload: str,
    layer: str | None,
    arch: str,
    overrides: tuple[str, ...],
    dataflow: str | None,
    mapping: str | None,
    params: tuple[str, ...],
    batch: int | None,
    direction: Direction,
    seed: int,
    first: int,
    cycles: int,
    numbers: Numbers,
    output: Path | None,
) -> int:
    """Play a layer on the array, every register of every PE, cycle by cycle; or a small network.

    Writes one HTML file that needs nothing else, and prints what it shows.  WORKLOAD is a name of
    `accelsim list`, a YAML file, or a file that `accelsim import` reads.  Tiles are the fixed
    rule's; `accelsim show --best --yaml` writes those that run finds, and --mapping shows them.
    """
    if dataflow is None and mapping is None:
        raise click.UsageError("Missing option '--dataflow' or '--mapping'.")
    ready(output)
    from accelsim.view.player.animation import animate as make

    animation = make(
        given_workload(workload, params)[0],
        arch,
        dataflow,
        layer=layer,
        mapping=mapping,
        overrides=pairs(overrides),
        batch=batch,
        direction=direction,
        seed=seed,
        first=first,
        cycles=cycles,
        numbers=numbers,
    )
    path = output or Path(animation.file_name)
    try:
        animation.save(path)
    except OSError as error:
        raise click.UsageError(f"-o {path}: cannot be written: {error.strerror}") from error
    click.echo(str(animation))
    click.echo(f"wrote {path}", err=True)
    return 0
