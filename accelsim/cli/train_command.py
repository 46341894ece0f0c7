"""``accelsim train``: one training step of a network with its layers on an engine, a row per layer
and direction.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.common import BATCH, ENGINES, csv_text, pairs, ready, write

if TYPE_CHECKING:
    from accelsim.results.simulate import Engine
    from accelsim.workload.loss import Loss

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("network")
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
    help="Override a dotted key of the architecture: bits.psum=32.",
)
@click.option("--dataflow", metavar="D", help="Dataflow: a name of `accelsim list` or a YAML file.")
@click.option(
    "--mapping",
    metavar="M",
    help="A mapping file instead of the fixed rule; it must fit every direction.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="event",
    show_default=True,
    help="analytic computes values by golden.",
)
@click.option(
    "--data",
    type=FILE,
    metavar="FILE",
    help="An .npz with the inputs by name and labels or targets; random without.",
)
@click.option(
    "--weights",
    type=FILE,
    metavar="FILE",
    help="An .npz of weights, as import writes it; random without.",
)
@click.option(
    "--loss",
    type=click.Choice(["cross_entropy", "squared_error"]),
    default="cross_entropy",
    show_default=True,
)
@click.option(
    "--rate",
    type=float,
    default=2.0**-6,
    show_default=True,
    metavar="R",
    help="New weights are old ones less R times the gradient.",
)
@click.option(
    "--bits",
    type=int,
    default=8,
    show_default=True,
    metavar="B",
    help="Width of the step's words, at most the operands'.",
)
@click.option(
    "--batch",
    type=BATCH,
    metavar="N",
    help="Without --data: how many random images, 1 unless given.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="K",
    help="Seed of random data and weights.",
)
@click.option(
    "--save",
    type=FILE,
    metavar="FILE",
    help="Write the weights after the step, .npz: --weights of the next one.",
)
@click.option(
    "--gradients",
    type=FILE,
    metavar="FILE",
    help="Write every gradient, .npz, by node and by parameter.",
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
    "-o", "--output", type=FILE, metavar="FILE", help="Write to a file instead of stdout."
)
def train(
    network: str,
    arch: str,
    overrides: tuple[str, ...],
    dataflow: str | None,
    mapping: str | None,
    engine: Engine,
    data: Path | None,
    weights: Path | None,
    loss: Loss,
    rate: float,
    bits: int,
    batch: int | None,
    seed: int,
    save: Path | None,
    gradients: Path | None,
    total: bool,
    form: str | None,
    output: Path | None,
) -> int:
    """One training step: forward, both gradients of every layer, new weights.

    NETWORK is a name of `accelsim list` or a YAML file with a graph.  Every tensor and gradient is
    compared with the golden step's, every layer's counts with analytic's.
    """
    if dataflow is None and mapping is None:
        raise click.UsageError("Missing option '--dataflow' or '--mapping'.")
    for option, path in (("-o", output), ("--save", save), ("--gradients", gradients)):
        ready(path, option)
    if form is None:
        form = {".csv": "csv", ".json": "json"}.get(
            output.suffix.lower() if output else "", "table"
        )
    from tqdm import tqdm

    from accelsim.mapping.mapping import MappingError
    from accelsim.results.train import train_step
    from accelsim.workload.graph.weights import load_arrays

    images, targets = _data(data)
    with tqdm(unit="layer", disable=not sys.stderr.isatty(), leave=False) as bar:

        def step(name: str) -> None:
            bar.set_description(name)
            bar.update()

        try:
            done = train_step(
                network,
                images,
                targets,
                arch=arch,
                dataflow=dataflow,
                mapping=mapping,
                engine=engine,
                weights=None if weights is None else load_arrays(weights),
                loss=loss,
                rate=rate,
                bits=bits,
                batch=batch,
                seed=seed,
                overrides=pairs(overrides),
                progress=step,
            )
        except MappingError as error:
            click.echo(str(error), err=True)
            return 1
    if form == "table":
        write(str(done.rows), output)
    elif form == "json":
        write(done.rows.to_json(total=total), output)
    else:
        write(csv_text(done.rows.records(total=total)), output)
    for path, arrays in ((save, done.weights), (gradients, done.gradients)):
        if path is not None:
            _save(path, arrays)
    click.echo(done.summary, err=True)
    for failure in done.failures:
        click.echo(failure, err=True)
    return 1 if done.failures else 0


def _data(path: Path | None) -> tuple[Any, Any]:
    """Inputs by name, and ``labels`` or ``targets``, of an .npz file.  Raises InputError if it has
    neither or both.
    """
    if path is None:
        return None, None
    from accelsim.base.errors import InputError
    from accelsim.workload.graph.weights import load_arrays

    arrays = load_arrays(path)
    wanted = [name for name in ("labels", "targets") if name in arrays]
    if len(wanted) != 1:
        raise InputError(
            "must have labels or targets, one of them",
            file=path,
            got=", ".join(arrays) or "nothing",
        )
    targets = arrays.pop(wanted[0])
    return arrays, targets


def _save(path: Path, arrays: Any) -> None:
    """An .npz file, whole or not at all."""
    import numpy as np

    half = path.with_name(path.name + ".part")
    try:
        with half.open("wb") as file:
            np.savez(file, **arrays)
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise click.UsageError(f"{path}: cannot be written: {error.strerror}") from error
