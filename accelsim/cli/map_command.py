"""``accelsim map``: the best mapping of every layer, and how far it is proved.

Stdout, or the file of ``-o``, has a line for each layer and below the table the mappings; CSV and
JSON have more of the proof.  Stderr has the search's state while it runs if that is a terminal, the
layers that have no mapping, and the pictures that were drawn.  Exit 1 if a layer has none, 130 if
the search was interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.common import (
    DIRECTORY,
    FILE,
    arch_option,
    batch_option,
    chosen_form,
    direction_option,
    format_option,
    layers_option,
    output_option,
    overrides_option,
    pairs,
    params_option,
    ready,
    ready_directory,
    say_drawn,
    write,
    writing,
)
from accelsim.cli.import_command import given_workload

if TYPE_CHECKING:
    from accelsim.mapper.space import TileChoice
    from accelsim.results.map_network import NetworkBest
    from accelsim.workload.network import Workload
    from accelsim.workload.problem import Direction


@click.command("map")
@click.argument("workload")
@arch_option
@overrides_option
@click.option(
    "--dataflow",
    required=True,
    metavar="D",
    help="A dataflow: a name of `accelsim list` or a YAML file; any: everything open.",
)
@layers_option
@params_option
@batch_option
@direction_option
@click.option(
    "--objective",
    default="edp",
    show_default=True,
    metavar="O",
    help="energy, cycles, edp, dram, energy*cycles^2, or front.",
)
@click.option(
    "--tiles",
    type=click.Choice(["divisors", "even", "all"]),
    default="divisors",
    show_default=True,
    help="Tiles that divide, or any; what is proved is proved of these.",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds a layer, then the best so far.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="P",
    help="Layers searched at a time; one a core otherwise.",
)
@click.option(
    "--check", is_flag=True, help="Also carry winners and runners-up out on the event engine."
)
@click.option("--save", type=FILE, metavar="FILE", help="Write the mappings to a mapping file.")
@click.option(
    "--plot",
    type=DIRECTORY,
    metavar="DIR",
    help="Draw each layer's space there, PNG and SVG.",
)
@format_option
@output_option
def map_(
    workload: str,
    arch: str,
    overrides: tuple[str, ...],
    dataflow: str,
    layers: tuple[str, ...],
    params: tuple[str, ...],
    batch: int | None,
    direction: Direction,
    objective: str,
    tiles: TileChoice,
    limit: float | None,
    processes: int | None,
    check: bool,
    save: Path | None,
    plot: Path | None,
    form: str | None,
    output: Path | None,
) -> int:
    """Find the mapping with the least OBJECTIVE for every layer, and prove it.

    Every mapping a dataflow leaves open with tiles of --tiles is evaluated or excluded by an
    argument that is counted.  Tiles that need not divide, which run tries some of, may be better
    than the best that divide: --tiles even has them.  With --limit, or interrupted (exit 130), the
    best so far is given with the gap that is left.
    """
    from tqdm import tqdm

    from accelsim.results.map_network import map_network

    for option, path in (("-o", output), ("--save", save)):
        ready(path, option)
    ready_directory(plot)
    form = chosen_form(form, output)
    network = given_workload(workload, params)[0]
    with tqdm(bar_format="{desc}", disable=not sys.stderr.isatty(), leave=False) as line:
        best = map_network(
            network,
            arch,
            dataflow,
            layers=layers,
            batch=batch,
            direction=direction,
            overrides=pairs(overrides),
            objective=objective,
            tiles=tiles,
            limit=limit,
            check=check,
            processes=processes or os.cpu_count() or 1,
            progress=line.set_description_str,
        )
    if form == "table":
        from accelsim.base.text_table import Page
        from accelsim.view.pages.search_page import layer_lines

        write(Page(blocks=layer_lines(best)).text(), output)
    else:
        write(best.to_json() if form == "json" else best.to_csv(), output)
    for name, why in best.errors.items():
        click.echo(f"{name}: {why}", err=True)
    if save is not None and best.layers:
        with writing(f"--save {save}"):
            best.save_mappings(save)
    if plot is not None and not best.stopped:
        _draw(best, network, arch, dataflow, batch, direction, pairs(overrides), tiles, plot)
    if best.stopped:
        click.echo("interrupted: the best so far, with its gap", err=True)
        return 130
    return 1 if best.errors else 0


def _draw(
    best: NetworkBest,
    network: Workload,
    arch: str,
    dataflow: str,
    batch: int | None,
    direction: Direction,
    overrides: dict[str, Any],
    tiles: TileChoice,
    directory: Path,
) -> None:
    """Each layer's space, evaluated anew, with the chosen mapping in it."""
    from accelsim.explore.cloud import cloud
    from accelsim.mapper.any_dataflow import is_any
    from accelsim.view import plots
    from accelsim.view.space_picture import space

    if is_any(dataflow):
        raise click.UsageError("--plot draws the space under a dataflow, not any")
    for name, layer in best.layers.items():
        points = cloud(
            network.select([name]),
            arch,
            dataflow,
            tiles=tiles,
            batch=batch,
            direction=direction,
            overrides=overrides,
        )
        columns = layer.result.rows[0].columns
        figure = space(
            points,
            chosen=(columns["cycles"], columns[f"energy_{points.unit}"]),
            title=f"{name}: {points.title}",
        )
        with writing(f"--plot {directory}"):
            say_drawn(plots.save(figure, directory, f"space_{name}"))
