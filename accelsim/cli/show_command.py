"""``accelsim show``: one file in words and tables, or the loop nest of every layer.

All of it goes to stdout; with ``--yaml`` only a file's text does, so that it can be piped into one.
Exit 1 if a layer cannot be mapped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from accelsim.cli.common import (
    batch_option,
    direction_option,
    layers_option,
    pairs,
    params_option,
)
from accelsim.cli.import_command import given_workload, is_imported

if TYPE_CHECKING:
    from accelsim.workload.problem import Direction


@click.command()
@click.argument("name")
@click.option(
    "--arch", metavar="A", help="Show how the workload's layers are mapped on this architecture."
)
@click.option("--dataflow", metavar="D[,D...]", help="Under these dataflows.")
@click.option("--mapping", metavar="M", help="By this mapping file.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a dotted key of --arch if given, of NAME otherwise.",
)
@layers_option
@params_option
@batch_option
@direction_option
@click.option(
    "--tiles",
    is_flag=True,
    help="After each nest, who holds what, who reads it and how often: a table to check by hand.",
)
@click.option(
    "--best",
    is_flag=True,
    help="The best tiles, as `accelsim run` finds them; without it those of the fixed rule.",
)
@click.option(
    "--yaml",
    is_flag=True,
    help="Print the file itself, or with --arch one layer's mapping as a file, to start one's own.",
)
def show(
    name: str,
    arch: str | None,
    dataflow: str | None,
    mapping: str | None,
    overrides: tuple[str, ...],
    layers: tuple[str, ...],
    params: tuple[str, ...],
    batch: int | None,
    direction: Direction,
    tiles: bool,
    best: bool,
    yaml: bool,
) -> int:
    """Show a workload, architecture, dataflow or mapping; with --arch, the loop nest of every
    layer.

    NAME is a name of `accelsim list`, a YAML file, or a file that `accelsim import` reads.  --arch
    goes with --dataflow or --mapping.  In a loop nest every loop is printed with its level, every
    level with the tile of each tensor it keeps.  Tiles are the fixed rule's, which needs no search;
    --best has those that run finds.
    """
    if (arch is None) != (dataflow is None and mapping is None):
        raise click.UsageError(
            "--arch and --dataflow go together, or --arch and --mapping: both for the loop nest, "
            "neither to see a file"
        )
    if arch is None:
        if layers or batch or tiles or best:
            raise click.UsageError(
                "--layer, --batch, --tiles and --best need --arch and --dataflow"
            )
        _file(name, overrides, params, yaml)
        return 0
    if yaml and tiles:
        raise click.UsageError("--yaml prints a file, --tiles a table: one of them")
    if best and mapping is not None:
        raise click.UsageError("--best searches under a --dataflow, without --mapping")
    return _nests(
        *(name, arch, dataflow, mapping, overrides, layers, params),
        *(batch, direction, tiles, best, yaml),
    )


def _nests(
    name: str,
    arch: str,
    dataflow: str | None,
    mapping: str | None,
    overrides: tuple[str, ...],
    layers: tuple[str, ...],
    params: tuple[str, ...],
    batch: int | None,
    direction: Direction,
    tiles: bool,
    best: bool,
    yaml: bool,
) -> int:
    """Prints every layer's nest under every dataflow; 1 if a layer cannot be mapped."""
    from accelsim.base.yaml_writing import to_yaml
    from accelsim.hardware.architecture import load_architecture
    from accelsim.mapping.files import sources
    from accelsim.mapping.loops_text import show as nest_text
    from accelsim.mapping.mapping import MappingError
    from accelsim.mapping.nest import Nest
    from accelsim.results.layer_row import describe_overrides
    from accelsim.view.pages.tiles_page import tiles as tile_table

    changed = pairs(overrides)
    machine = load_architecture(arch, changed)
    network = given_workload(name, params)[0]
    network = network.select(layers) if layers else network
    if best:
        from accelsim.results.tiles import TilesRequest

        chosen = TilesRequest().sources(dataflow)
    else:
        chosen = sources(dataflow, mapping)
    if yaml and (len(network.layers) != 1 or len(chosen) != 1):
        raise click.UsageError("--yaml prints one mapping: name one --layer and one dataflow")
    if changed and not yaml:
        click.echo(f"{describe_overrides(machine.name, changed)}\n")
    failed = 0
    whose = "" if mapping is not None else ", best tiles" if best else ", the fixed rule's tiles"
    for source in chosen:
        for layer in network.layers:
            problem = layer.directed(batch, direction)
            if not yaml:
                click.echo(f"{layer.name} on {machine.name}, {source.name}{whose}")
            try:
                nest = Nest(problem, machine, source.mapping_of(layer.name, problem, machine))
            except MappingError as error:
                failed = 1
                if yaml:
                    click.echo(f"{layer.name} cannot be mapped: {error}", err=True)
                else:
                    click.echo(f"  cannot be mapped: {error}\n")
                continue
            if yaml:
                click.echo(to_yaml(nest.mapping).rstrip())
                continue
            click.echo(f"{nest_text(nest)}\nloops: {nest.mapping}\n")
            if tiles:
                click.echo(f"{tile_table(nest)}\n")
    return failed


def _file(name: str, overrides: tuple[str, ...], params: tuple[str, ...], yaml: bool) -> None:
    """Prints a file in words, or as it is; another tool's network as ``import`` reads it."""
    from accelsim.base.yaml_reading import read_text
    from accelsim.base.yaml_writing import to_yaml
    from accelsim.cli import file_kinds
    from accelsim.view.describe import describe

    changed = pairs(overrides)
    if is_imported(name):
        if changed:
            raise click.UsageError(f"--set goes with files of ours: import {name} first")
        workload = given_workload(name, params)[0]
        click.echo(to_yaml(workload).rstrip() if yaml else describe(workload))
        return
    kind, source = file_kinds.find(name)
    values = pairs(params, "--param")
    model = file_kinds.load(source, kind, changed, values)
    if yaml:
        click.echo((to_yaml(model) if changed or values else read_text(source.file)).rstrip())
    else:
        click.echo(describe(model, changed))
