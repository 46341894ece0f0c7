"""``accelsim run``: a workload on an architecture, a row for each layer and dataflow.

Stdout, or the file of ``-o``, has the rows as a table, CSV or JSON.  Stderr has the rest: a bar
while it runs if that is a terminal, what the mapper could not find or prove, the files that were
drawn, and beside CSV and JSON the failures, which a table has itself.  Exit 1 if a layer failed or
nothing ran, 130 if a search was interrupted.

The command checks its options, calls ``simulate`` and prints; what a keyword or a method of
``Result`` does for each option stands in ``accelsim.results.simulate``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import (
    ANY_PATH,
    DIRECTORY,
    ENGINES,
    FILE,
    answer,
    arch_option,
    batch_option,
    chosen_form,
    direction_option,
    effort_option,
    format_option,
    layers_bar,
    layers_option,
    objective_option,
    output_option,
    overrides_option,
    pairs,
    params_option,
    ready,
    ready_directory,
    say_drawn,
    seed_option,
    tiles_option,
    tiles_refused,
    total_option,
    write,
    writing,
)
from accelsim.cli.import_command import given_workload

if TYPE_CHECKING:
    from accelsim.mapper.effort import Effort
    from accelsim.results.result import Result
    from accelsim.results.simulate import Engine
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
@click.option(
    "--best-of",
    metavar="D,D[,...]",
    help="Of these dataflows each layer's best too, as `best`; --dataflow best: of all shipped.",
)
@click.option(
    "--mapping",
    metavar="M",
    help="A mapping file, nothing is searched for; --dataflow is then only a name.",
)
@tiles_option
@objective_option
@effort_option
@click.option(
    "--mapper",
    metavar="OBJECTIVE",
    help="The mapping with the least energy, cycles, edp or dram, as accelsim map finds it.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds a layer, then the best mapping so far.",
)
@layers_option
@params_option
@batch_option
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    show_default=True,
    help="analytic computes, event moves real words and times memory, cycle clocks every register.",
)
@direction_option
@click.option(
    "--check",
    is_flag=True,
    help="Compute outputs too and compare them with golden, and counts with analytic.",
)
@click.option(
    "--sample-folds",
    is_flag=True,
    help="With --engine cycle: clock one fold of each shape and multiply; no outputs.",
)
@click.option(
    "--end-to-end",
    is_flag=True,
    help="The whole graph in order: what the array does not do on the vector unit, a row each.",
)
@click.option(
    "--fuse-buffers",
    is_flag=True,
    help="End to end, and ofmaps stay on the chip for their readers wherever they fit.",
)
@click.option(
    "--data",
    type=FILE,
    metavar="FILE",
    help="End to end, with an engine that computes: images by the input's name, .npz; "
    "random without.",
)
@click.option(
    "--weights",
    type=FILE,
    metavar="FILE",
    help="End to end, with an engine that computes: weights, .npz, as import writes them; "
    "random without.",
)
@seed_option
@total_option
@format_option
@output_option
@click.option("--plot", type=DIRECTORY, metavar="DIR", help="Draw figures there, PNG and SVG.")
@click.option(
    "--timeline",
    type=ANY_PATH,
    metavar="DIR|FILE.json",
    help="With --engine event: who was busy when, CSV and figures, or one Chrome trace.",
)
def run(
    workload: str,
    arch: str,
    overrides: tuple[str, ...],
    dataflow: str | None,
    best_of: str | None,
    mapping: str | None,
    tiles: Tiles | None,
    objective: str | None,
    effort: Effort | None,
    mapper: str | None,
    limit: float | None,
    layers: tuple[str, ...],
    params: tuple[str, ...],
    batch: int | None,
    engine: Engine,
    direction: Direction,
    check: bool,
    sample_folds: bool,
    end_to_end: bool,
    fuse_buffers: bool,
    data: Path | None,
    weights: Path | None,
    seed: int,
    total: bool,
    form: str | None,
    output: Path | None,
    plot: Path | None,
    timeline: Path | None,
) -> int:
    """Run a workload on an architecture under one or more dataflows, or under a mapping.

    WORKLOAD is a name of `accelsim list`, a YAML file, or a file that `accelsim import` reads
    (.onnx, .prototxt, .csv).  One row per layer and dataflow.
    """
    end_to_end |= fuse_buffers
    choosing = best_of is not None or dataflow == "best"
    computes = check or engine != "analytic"
    searched = "--mapper searches under a --dataflow, without --mapping"
    arrays = "wants --end-to-end, and --engine event or cycle, or --check"
    whole, fused = "does not go with --end-to-end", "does not go with --fuse-buffers"
    for refused, why in (
        (
            dataflow is None and mapping is None and best_of is None,
            "Missing option '--dataflow' or '--mapping'.",
        ),
        (best_of is not None and dataflow is not None, "--best-of does not go with --dataflow"),
        (choosing and mapping is not None, "--best-of does not go with --mapping"),
        (choosing and mapper is not None, "--best-of does not go with --mapper"),
        (choosing and end_to_end, f"--best-of {whole}"),
        (mapper is not None and (mapping is not None or dataflow is None), searched),
        *tiles_refused(tiles, None if choosing else objective, effort, limit, mapping, mapper),
        (
            timeline is not None and engine != "event",
            f"--timeline wants --engine event, got {engine}",
        ),
        (sample_folds and engine != "cycle", f"--sample-folds wants --engine cycle, got {engine}"),
        (sample_folds and check, "--check compares outputs, and --sample-folds computes none"),
        (data is not None and not (end_to_end and computes), f"--data {arrays}"),
        (weights is not None and not (end_to_end and computes), f"--weights {arrays}"),
        (end_to_end and bool(layers), f"--layer {whole}"),
        (end_to_end and direction != "forward", f"--direction {whole}"),
        (end_to_end and sample_folds, f"--sample-folds {whole}"),
        (fuse_buffers and mapper is not None, f"--mapper {fused}"),
        (fuse_buffers and mapping is not None, f"--mapping {fused}"),
    ):
        if refused:
            raise click.UsageError(why)
    ready(output)
    if timeline is not None and timeline.suffix.lower() == ".json":
        ready(timeline, "--timeline")
    else:
        ready_directory(timeline, "--timeline")
    ready_directory(plot)
    form = chosen_form(form, output)
    from accelsim.results.simulate import simulate

    network, own = given_workload(workload, params)
    network = network.select(layers) if layers else network
    graph = network.network if end_to_end else None
    steps = len(network.layers if graph is None else graph.nodes)
    many = None if choosing else steps * len((dataflow or "").split(","))
    with layers_bar(many) as step:
        result = simulate(
            network,
            arch,
            dataflow,
            best_of=best_of,
            mapping=mapping,
            tiles=tiles,
            objective=objective,
            effort=effort,
            mapper=mapper,
            limit=limit,
            engine=engine,
            batch=batch,
            direction=direction,
            overrides=pairs(overrides),
            check=check,
            seed=seed,
            timeline=timeline is not None,
            sample_folds=sample_folds,
            end_to_end=end_to_end,
            fuse_buffers=fuse_buffers,
            data=data,
            weights=weights if weights is not None or not (end_to_end and computes) else own,
            processes=os.cpu_count() or 1,
            progress=step,
        )
    stopped = _say_searched(result)
    write(answer(result, form, total), output)
    if plot is not None:
        _draw(result, plot)
    if timeline is not None:
        with writing(f"--timeline {timeline}"):
            _save_timelines(result, timeline)
    if form != "table":
        for line in (*result.sampled, *result.failures):
            click.echo(line, err=True)
    return 130 if stopped else 1 if result.failures or not result.rows else 0


def _say_searched(result: Result) -> bool:
    """Says which layers the mapper has no mapping for, and where it did not prove that there is
    none better.  Whether a search was interrupted.
    """
    for dataflow, best in result.searches.items():
        for name, why in best.errors.items():
            click.echo(f"{name} {dataflow}: {why}", err=True)
        for name, layer in best.layers.items():
            if layer.certificate.gap:
                click.echo(f"{name} {dataflow}: gap {layer.certificate.gap:.2%}", err=True)
    return any(best.stopped for best in result.searches.values())


def _draw(result: Result, directory: Path) -> None:
    if not any(row.nest is not None for row in result.rows):
        click.echo("nothing to draw: no layer could be mapped", err=True)
        return
    with writing(f"--plot {directory}"):
        say_drawn(result.plot.save(directory))


def _save_timelines(result: Result, path: Path) -> None:
    """One Chrome trace, or a directory of tables and pictures."""
    if path.suffix.lower() != ".json":
        say_drawn(result.plot.save_timelines(path))
    elif any(row.timing is not None for row in result.rows):
        result.to_trace(path)
        click.echo(f"wrote {path}", err=True)
    else:
        click.echo("no timeline to write: no layer could be mapped", err=True)
