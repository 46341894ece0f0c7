"""``accelsim map``: the best mapping of every layer, and how far it is proved."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.common import BATCH, DIRECTIONS, csv_text, pairs, ready, write

if TYPE_CHECKING:
    from accelsim.explore.map_network import NetworkBest
    from accelsim.mapper.space import TileChoice
    from accelsim.workload.problem import Direction


@click.command("map")
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
    required=True,
    metavar="D",
    help="A dataflow: a name of `accelsim list` or a YAML file; any: everything open.",
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
    "--direction", type=click.Choice(DIRECTIONS), default=DIRECTIONS[0], show_default=True
)
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
    help="Tiles that divide, or any.",
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
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the mappings to a mapping file.",
)
@click.option(
    "--plot",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Draw each layer's space there, PNG and SVG.",
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
def map_(
    workload: str,
    arch: str,
    overrides: tuple[str, ...],
    dataflow: str,
    layers: tuple[str, ...],
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

    Every mapping a dataflow leaves open is evaluated or excluded by an argument that is counted.
    With --limit, or interrupted (exit 130), the best so far is given with the gap that is left.
    """
    from tqdm import tqdm

    from accelsim.explore.map_network import map_network

    ready(output)
    if form is None:
        form = {".csv": "csv", ".json": "json"}.get(
            output.suffix.lower() if output else "", "table"
        )
    with tqdm(bar_format="{desc}", disable=not sys.stderr.isatty(), leave=False) as line:
        found = map_network(
            workload,
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
    records = [_record(name, found, objective) for name in found.layers]
    if form == "table":
        from accelsim.base.text_table import Page
        from accelsim.view.pages.search_page import layer_lines

        write(Page(blocks=layer_lines(found)).text(), output)
    elif form == "json":
        import json

        for r, best in zip(records, found.layers.values(), strict=True):
            r["certificate"] = best.certificate.to_dict()
            r["front"] = [
                {"mapping": str(p.mapping), "energy": p.energy, "cycles": p.cycles}
                for p in best.front
            ]
        write(json.dumps(records, indent=1), output)
    else:
        write(csv_text(records), output)
    for name, why in found.errors.items():
        click.echo(f"{name}: {why}", err=True)
    if save is not None and found.layers:
        from accelsim.base.yaml_writing import to_yaml

        write(to_yaml(found.mapping_file(save.stem)).rstrip(), save)
    if plot is not None and not found.stopped:
        _draw(found, workload, arch, dataflow, batch, direction, pairs(overrides), tiles, plot)
    if found.stopped:
        click.echo("interrupted: the best so far, with its gap", err=True)
        return 130
    return 1 if found.errors else 0


def _record(name: str, found: NetworkBest, objective: str) -> dict[str, Any]:
    best, c = found.layers[name], found.layers[name].certificate
    columns = best.result.rows[0].columns
    energy = next(k for k in columns if k in ("energy_mac", "energy_pj"))
    return {
        "layer": name,
        "objective": objective,
        energy: columns[energy],
        "cycles": columns["cycles"],
        "utilization": columns["utilization"],
        "gap": c.gap,
        "stopped": c.stopped or "",
        "rule": c.rule,
        "space": c.space,
        "evaluated": c.evaluated,
        "timed": c.timed,
        **{f"pruned_{why.replace(' ', '_')}": n for why, n in c.pruned.items()},
        "left": c.left,
        "seconds": round(c.seconds, 3),
        **{f"cycles_{k.replace(' ', '_')}": v for k, v in c.cycles.items()},
        "mapping": str(best.mapping),
    }


def _draw(
    found: NetworkBest,
    workload: str,
    arch: str,
    dataflow: str,
    batch: int | None,
    direction: Direction,
    overrides: dict[str, Any],
    tiles: TileChoice,
    directory: Path,
) -> None:
    from accelsim.explore.cloud import cloud
    from accelsim.mapper.any_dataflow import is_any
    from accelsim.view import plots
    from accelsim.view.space_picture import space
    from accelsim.workload.network import load_workload

    if is_any(dataflow):
        raise click.UsageError("--plot draws the space under a dataflow, not any")
    network = load_workload(workload)
    for name, best in found.layers.items():
        points = cloud(
            network.select([name]),
            arch,
            dataflow,
            tiles=tiles,
            batch=batch,
            direction=direction,
            overrides=overrides,
        )
        columns = best.result.rows[0].columns
        figure = space(
            points,
            chosen=(columns["cycles"], columns[f"energy_{points.unit}"]),
            title=f"{name}: {points.title}",
        )
        try:
            for path in plots.save(figure, directory, f"space_{name}"):
                click.echo(f"drew {path}", err=True)
        except OSError as error:
            raise click.UsageError(
                f"--plot {directory}: cannot be written: {error.strerror}"
            ) from error
