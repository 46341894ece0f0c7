"""``accelsim explain``: where cycles and energy went, what binds, and what would help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import (
    DIRECTORY,
    arch_option,
    batch_option,
    chosen_form,
    direction_option,
    effort_option,
    layers_option,
    objective_option,
    output_option,
    overrides_option,
    pairs,
    params_option,
    ready,
    say_drawn,
    tiles_option,
    tiles_refused,
    write,
    writing,
)
from accelsim.cli.import_command import given_workload

if TYPE_CHECKING:
    from accelsim.mapper.effort import Effort
    from accelsim.results.tiles import Tiles
    from accelsim.workload.problem import Direction


@click.command()
@click.argument("workload")
@arch_option
@overrides_option
@click.option(
    "--dataflow",
    metavar="D[,D...]",
    help="Dataflows: names of `accelsim list` or YAML files, with commas.",
)
@click.option("--mapping", metavar="M", help="A mapping file, nothing is searched for.")
@click.option(
    "--mapper",
    metavar="OBJECTIVE",
    help="The best mapping, as run finds it; each machine of the knobs is searched anew.",
)
@tiles_option
@objective_option
@effort_option
@layers_option
@params_option
@batch_option
@direction_option
@click.option(
    "--knobs/--no-knobs",
    default=True,
    show_default=True,
    help="What doubling or halving each number of the machine would do.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    help="table unless -o names a .json file.",
)
@output_option
@click.option("--plot", type=DIRECTORY, metavar="DIR", help="Draw a picture a layer, PNG and SVG.")
def explain(
    workload: str,
    arch: str,
    overrides: tuple[str, ...],
    dataflow: str | None,
    mapping: str | None,
    mapper: str | None,
    tiles: Tiles | None,
    objective: str | None,
    effort: Effort | None,
    layers: tuple[str, ...],
    params: tuple[str, ...],
    batch: int | None,
    direction: Direction,
    knobs: bool,
    form: str | None,
    output: Path | None,
    plot: Path | None,
) -> int:
    """Say why WORKLOAD takes what it takes: cycles from the ideal on, energy beside the least, what
    binds, and which number of the machine would help.

    With several dataflows the last lines say why each is better or worse than the first.
    """
    if dataflow is None and mapping is None:
        raise click.UsageError("Missing option '--dataflow' or '--mapping'.")
    if mapper is not None and (mapping is not None or dataflow is None):
        raise click.UsageError("--mapper searches under a --dataflow, without --mapping")
    form = chosen_form(form, output)
    for wrong, why in (
        *tiles_refused(tiles, objective, effort, None, mapping, mapper),
        (form == "csv", f"-o {output}: a table or .json is written here, not .csv"),
    ):
        if wrong:
            raise click.UsageError(why)
    ready(output)
    from accelsim.results.simulate import simulate

    result = simulate(
        given_workload(workload, params)[0],
        arch,
        dataflow,
        mapping=mapping,
        mapper=mapper,
        tiles=tiles,
        objective=objective,
        effort=effort,
        layers=layers,
        batch=batch,
        direction=direction,
        overrides=pairs(overrides),
    )
    for line in result.failures:
        click.echo(line, err=True)
    if all(row.columns.get("cycles") is None for row in result.rows):
        click.echo("nothing to explain: no layer could be mapped", err=True)
        return 1
    told = result.explain(knobs=knobs)
    write(told.to_json() if form == "json" else str(told), output)
    if plot is not None:
        with writing(f"--plot {plot}"):
            say_drawn(told.save(plot))
    return 1 if result.failures else 0
