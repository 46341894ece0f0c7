"""``accelsim train``: one training step of a network with its layers on an engine, a row for each
layer and direction.

Stdout, or the file of ``-o``, has the rows.  Stderr has a bar while it runs if that is a terminal,
then the loss and how much is bit-exact, and what failed; ``--save`` and ``--gradients`` write
arrays.  Exit 1 if a layer cannot be mapped or something is not golden's.

What a keyword or method does for each option stands in ``accelsim.results.train``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import (
    BATCH,
    ENGINES,
    FILE,
    answer,
    arch_option,
    chosen_form,
    format_option,
    layers_bar,
    output_option,
    overrides_option,
    pairs,
    params_option,
    ready,
    seed_option,
    total_option,
    write,
    writing,
)
from accelsim.cli.import_command import given_workload

if TYPE_CHECKING:
    from accelsim.results.simulate import Engine
    from accelsim.workload.loss import Loss


@click.command()
@click.argument("network")
@arch_option
@overrides_option
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
    help="An .npz of weights, as import writes it; the model's own or random without.",
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
@params_option
@click.option(
    "--batch",
    type=BATCH,
    metavar="N",
    help="Without --data: how many random images, 1 unless given.",
)
@seed_option
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
@total_option
@format_option
@output_option
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
    params: tuple[str, ...],
    batch: int | None,
    seed: int,
    save: Path | None,
    gradients: Path | None,
    total: bool,
    form: str | None,
    output: Path | None,
) -> int:
    """One training step: forward, both gradients of every layer, new weights.

    NETWORK is a name of `accelsim list`, a YAML file with a graph, or a file that `accelsim import`
    reads.  Every tensor and gradient is compared with the golden step's, every layer's counts with
    analytic's.  Tiles are the fixed rule's, as with `accelsim run --tiles rule`, or --mapping's.
    """
    if dataflow is None and mapping is None:
        raise click.UsageError("Missing option '--dataflow' or '--mapping'.")
    for option, path in (("-o", output), ("--save", save), ("--gradients", gradients)):
        ready(path, option)
    form = chosen_form(form, output)
    from accelsim.mapping.mapping import MappingError
    from accelsim.results.train import train_step

    workload, own = given_workload(network, params)
    with layers_bar() as step:
        try:
            done = train_step(
                workload,
                data,
                arch=arch,
                dataflow=dataflow,
                mapping=mapping,
                engine=engine,
                weights=own if weights is None else weights,
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
    write(answer(done.rows, form, total), output)
    for option, path, save_to in (
        ("--save", save, done.save_weights),
        ("--gradients", gradients, done.save_gradients),
    ):
        if path is not None:
            with writing(f"{option} {path}"):
                save_to(path)
    click.echo(done.summary, err=True)
    for failure in done.failures:
        click.echo(failure, err=True)
    return 1 if done.failures else 0
