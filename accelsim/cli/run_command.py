"""``accelsim run``: a workload on an architecture, a row per layer and dataflow."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.common import BATCH, DIRECTIONS, ENGINES, csv_text, pairs, ready, write

if TYPE_CHECKING:
    from accelsim.explore.map_network import NetworkBest
    from accelsim.results.simulate import Engine
    from accelsim.workload.problem import Direction


@click.command()
@click.argument("workload")
@click.option(
    "--arch",
    required=True,
    metavar="A",
    help="Architecture: a name of `accelsim list` or a YAML file.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a dotted key of the architecture: array.rows=32.",
)
@click.option(
    "--dataflow",
    metavar="D[,D...]",
    help="Dataflows: names of `accelsim list` or YAML files, with commas.",
)
@click.option(
    "--mapping",
    metavar="M",
    help="A mapping file instead of the fixed rule; --dataflow is then only a name.",
)
@click.option(
    "--mapper",
    metavar="OBJECTIVE",
    help="The mapping with the least energy, cycles, edp or dram, as accelsim map finds it.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="With --mapper: seconds a layer, then the best so far.",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="L",
    help="Only this layer; may be given several times.",
)
@click.option("--batch", type=BATCH, metavar="N", help="Batch size; the workload's own otherwise.")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    show_default=True,
    help="analytic computes, event moves real words and times memory, cycle clocks every register.",
)
@click.option(
    "--direction", type=click.Choice(DIRECTIONS), default=DIRECTIONS[0], show_default=True
)
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
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="End to end, with an engine that computes: images by the input's name, .npz; random without.",
)
@click.option(
    "--weights",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="End to end, with an engine that computes: weights, .npz, as import writes them; random without.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="K",
    help="Seed of the random data.",
)
@click.option(
    "--total", is_flag=True, help="Add the total to csv and json; the table always has it."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    help="table unless -o names a .csv or .json file.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to a file instead of stdout.",
)
@click.option(
    "--plot",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Draw figures there, PNG and SVG.",
)
@click.option(
    "--timeline",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="With --engine event: who was busy when, CSV and figures.",
)
def run(
    workload: str,
    arch: str,
    overrides: tuple[str, ...],
    dataflow: str | None,
    mapping: str | None,
    mapper: str | None,
    limit: float | None,
    layers: tuple[str, ...],
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

    WORKLOAD is a name of `accelsim list` or a YAML file.  One row per layer and dataflow.
    """
    if dataflow is None and mapping is None:
        raise click.UsageError("Missing option '--dataflow' or '--mapping'.")
    if mapper is not None and (mapping is not None or dataflow is None):
        raise click.UsageError("--mapper searches under a --dataflow, without --mapping")
    if limit is not None and mapper is None:
        raise click.UsageError("--limit wants --mapper")
    for option, given, home in (
        ("--timeline", timeline, "event"),
        ("--sample-folds", sample_folds, "cycle"),
    ):
        if given and engine != home:
            raise click.UsageError(f"{option} wants --engine {home}, got {engine}")
    if sample_folds and check:
        raise click.UsageError("--check compares outputs, and --sample-folds computes none")
    ready(output)
    end_to_end |= fuse_buffers
    for option, file in (("--data", data), ("--weights", weights)):
        if file is not None and not (end_to_end and (check or engine != "analytic")):
            raise click.UsageError(
                f"{option} wants --end-to-end, and --engine event or cycle, or --check"
            )
    alone = {
        "--layer": bool(layers),
        "--direction": direction != "forward",
        "--sample-folds": sample_folds,
    }
    alone |= {
        "--mapper": mapper is not None and fuse_buffers,
        "--mapping": mapping is not None and fuse_buffers,
    }
    for option, on in alone.items():
        if end_to_end and on:
            raise click.UsageError(
                f"{option} does not go with {'--fuse-buffers' if option.startswith('--ma') else '--end-to-end'}"
            )
    if form is None:
        form = {".csv": "csv", ".json": "json"}.get(
            output.suffix.lower() if output else "", "table"
        )
    from tqdm import tqdm

    from accelsim.results.result import Result, Row
    from accelsim.results.simulate import simulate
    from accelsim.workload.network import load_workload

    network = load_workload(workload)
    network = network.select(layers) if layers else network
    flows = (dataflow or "").split(",")
    stopped = False
    steps = (
        len(network.network.nodes)
        if end_to_end and network.network is not None
        else len(network.layers)
    )
    with tqdm(
        total=steps * len(flows), unit="layer", disable=not sys.stderr.isatty(), leave=False
    ) as bar:

        def step(name: str) -> None:
            bar.set_description(name)
            bar.update()

        def simulated(flow: str | None, loops: Any) -> Result:
            return simulate(
                network,
                arch,
                flow,
                mapping=loops,
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
                weights=weights,
                progress=step,
            )

        if mapper is None:
            result = simulated(dataflow, mapping)
        else:
            from accelsim.mapper.any_dataflow import ANY, is_any

            rows: list[Row] = []
            for flow in flows:
                found = _mapped(network, arch, flow, overrides, batch, direction, mapper, limit)
                if found.layers:
                    name = None if is_any(flow) else flow
                    more = simulated(name, found.mapping_file(f"mapper_{mapper}")).rows
                    rows += (
                        more
                        if name
                        else [replace(r, columns={**r.columns, "dataflow": ANY}) for r in more]
                    )
                stopped |= found.stopped
            result = Result(tuple(rows))
    if form == "table":
        text = str(result)
    elif form == "json":
        text = result.to_json(total=total)
    else:
        text = csv_text(result.records(total=total))
    write(text, output)
    if plot is not None and any(row.nest is not None for row in result.rows):
        _draw(result, plot)
    elif plot is not None:
        click.echo("nothing to draw: no layer could be mapped", err=True)
    if timeline is not None:
        _timelines(result, timeline)
    if form != "table":
        for line in result.sampled:
            click.echo(line, err=True)
        for failure in result.failures:
            click.echo(failure, err=True)
    return 130 if stopped else 1 if result.failures or not result.rows else 0


def _mapped(
    network: Any,
    arch: str,
    flow: str,
    overrides: tuple[str, ...],
    batch: int | None,
    direction: Direction,
    objective: str,
    limit: float | None,
) -> NetworkBest:
    """The best mapping of every layer; what could not be mapped, and what was not proved, is said
    on stderr.
    """
    import os

    from accelsim.explore.map_network import map_network

    found = map_network(
        network,
        arch,
        flow,
        batch=batch,
        direction=direction,
        overrides=pairs(overrides),
        processes=os.cpu_count() or 1,
        objective=objective,
        limit=limit,
    )
    for name, why in found.errors.items():
        click.echo(f"{name} {flow}: {why}", err=True)
    for name, best in found.layers.items():
        if best.certificate.gap:
            click.echo(f"{name} {flow}: gap {best.certificate.gap:.2%}", err=True)
    return found


def _draw(result: Any, directory: Path) -> None:
    from accelsim.view import plots
    from accelsim.view.roofline import roofline

    frame = result.to_frame()
    try:
        for name, figure in (
            ("overview", plots.demo(frame)),
            ("energy_by_level", plots.energy(frame, by="level")),
            ("energy_by_tensor", plots.energy(frame, by="tensor")),
            ("latency", plots.latency(frame)),
            ("utilization", plots.utilization(frame)),
            ("roofline", roofline(result)),
        ):
            for path in plots.save(figure, directory, name):
                click.echo(f"drew {path}", err=True)
    except OSError as error:
        raise click.UsageError(
            f"--plot {directory}: cannot be written: {error.strerror}"
        ) from error


def _timelines(result: Any, directory: Path) -> None:
    """A CSV, a Gantt picture and one of what levels held, for every row that was timed."""
    from accelsim.view import plots
    from accelsim.view.gantt import gantt, occupancy

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for row in result.rows:
            if row.timing is None:
                continue
            name = f"{row.columns['layer']}-{row.columns['dataflow']}"
            frame = row.timing.timeline.to_frame()
            write(frame.to_csv(index=False).rstrip("\n"), directory / f"{name}-timeline.csv")
            click.echo(f"wrote {directory / f'{name}-timeline.csv'}", err=True)
            for what, figure in (
                ("timeline", gantt(frame)),
                ("occupancy", occupancy(row.timing.occupancy.to_frame())),
            ):
                for path in plots.save(figure, directory, f"{name}-{what}"):
                    click.echo(f"drew {path}", err=True)
    except OSError as error:
        raise click.UsageError(
            f"--timeline {directory}: cannot be written: {error.strerror}"
        ) from error
