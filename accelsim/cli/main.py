"""The command line.  Results on stdout, progress on stderr; exit 0 done, 1 a check failed or a layer could not
be mapped, 2 bad usage or input, 130 interrupted.  What a command needs is imported when it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from accelsim.version import MODEL_VERSION, __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, message=f"accelsim %(version)s (model version {MODEL_VERSION})")
def cli() -> None:
    """Run convolution layers on a modelled PE array under a chosen dataflow, exact to the word and to the bit."""


def _architecture(command: Any) -> Any:
    command = click.option("--arch", required=True, metavar="A", help="Architecture: a name of `accelsim list` or a YAML file.")(command)
    return click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a dotted key of the architecture, as array.rows=32.")(command)


@cli.command()
@click.argument("workload")
@_architecture
@click.option("--dataflow", required=True, metavar="D[,D...]", help="Dataflows: names of `accelsim list` or YAML files, with commas.")
@click.option("--layer", "layers", multiple=True, metavar="L", help="Only this layer; may be given several times.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Batch size; the workload's own otherwise.")
@click.option("--engine", type=click.Choice(["analytic", "event"]), default="analytic", show_default=True, help="analytic computes counts, event moves real words.")
@click.option("--direction", type=click.Choice(["forward", "grad_input", "grad_weight"]), default="forward", show_default=True)
@click.option("--check", is_flag=True, help="Compute outputs too and compare them with golden, and counts with analytic.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="K", help="Seed of the random data.")
@click.option("--total", is_flag=True, help="Add the total to csv and json; the table always has it.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to a file instead of stdout.")
@click.option("--plot", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Draw energy, latency and utilization there, PNG and SVG.")
def run(workload: str, arch: str, overrides: tuple[str, ...], dataflow: str, layers: tuple[str, ...], batch: int | None, engine: str, direction: str,
        check: bool, seed: int, total: bool, form: str, output: Path | None, plot: Path | None) -> int:  # fmt: skip
    """Run a workload on an architecture under one or more dataflows.

    WORKLOAD is a name of `accelsim list` or a YAML file.  One row per layer and dataflow.
    """
    from tqdm import tqdm

    from accelsim.hardware.presets import load_architecture
    from accelsim.results.simulate import simulate
    from accelsim.workload.network import load_workload

    machine = load_architecture(arch, _pairs(overrides), text=True)
    network = load_workload(workload)
    network = network.select(layers) if layers else network
    work = len(network.layers) * len(dataflow.split(","))
    with tqdm(total=work, unit="layer", disable=not sys.stderr.isatty(), leave=False) as bar:

        def step(name: str) -> None:
            bar.set_description(name)
            bar.update()

        result = simulate(network, machine, dataflow, engine=engine, batch=batch, direction=direction, check=check, seed=seed, progress=step)  # type: ignore[arg-type]
    if form == "table":
        text = str(result)
    elif form == "json":
        text = result.to_json(total=total)
    else:
        text = result.to_frame(total=total).to_csv(index=False).rstrip("\n")
    _write(text, output)
    if plot is not None:
        _draw(result, plot)
    if form != "table":
        for failure in result.failures:
            click.echo(failure, err=True)
    return 1 if result.failures else 0


def _pairs(overrides: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for entry in overrides:
        key, sign, value = entry.partition("=")
        if not sign or not key:
            raise click.UsageError(f"--set wants KEY=VALUE, got {entry!r}")
        found[key] = value
    return found


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text)
        return
    half = output.with_name(output.name + ".part")
    try:
        half.write_text(text + "\n", encoding="utf-8")
        half.replace(output)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise click.UsageError(f"-o {output}: cannot be written: {error.strerror}") from error


def _draw(result: Any, directory: Path) -> None:
    from accelsim.view import plots

    frame = result.to_frame()
    try:
        for name, figure in (
            ("overview", plots.demo(frame)),
            ("energy_by_level", plots.energy(frame, by="level")),
            ("energy_by_tensor", plots.energy(frame, by="tensor")),
            ("latency", plots.latency(frame)),
            ("utilization", plots.utilization(frame)),
        ):
            for path in plots.save(figure, directory, name):
                click.echo(f"drew {path}", err=True)
    except OSError as error:
        raise click.UsageError(f"--plot {directory}: cannot be written: {error.strerror}") from error


@cli.command()
@click.argument("name")
@click.option("--arch", metavar="A", help="Show how the workload's layers are mapped on this architecture.")
@click.option("--dataflow", metavar="D[,D...]", help="Under these dataflows.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a dotted key of the architecture.")
@click.option("--layer", "layers", multiple=True, metavar="L", help="Only this layer; may be given several times.")
@click.option("--batch", type=click.IntRange(1), metavar="N")
@click.option("--direction", type=click.Choice(["forward", "grad_input", "grad_weight"]), default="forward", show_default=True)
def show(name: str, arch: str | None, dataflow: str | None, overrides: tuple[str, ...], layers: tuple[str, ...], batch: int | None, direction: str) -> int:
    """Show a workload, architecture or dataflow; with --arch and --dataflow, the loop nest of every layer.

    Every loop is printed with its level, every level with the tile of each tensor it keeps.
    """
    if (arch is None) != (dataflow is None):
        raise click.UsageError("--arch and --dataflow go together: both for the loop nest, neither to see a file")
    if arch is None:
        if layers or overrides or batch:
            raise click.UsageError("--layer, --set and --batch need --arch and --dataflow")
        _show_file(name)
        return 0
    from accelsim.hardware.presets import load_architecture
    from accelsim.mapping.mapping import MappingError
    from accelsim.mapping.nest import Nest
    from accelsim.mapping.presets import load_dataflow
    from accelsim.mapping.show import show as nest_text
    from accelsim.mapping.tiling import choose
    from accelsim.workload.network import load_workload

    machine = load_architecture(arch, _pairs(overrides), text=True)
    failed = 0
    for flow in [load_dataflow(d.strip()) for d in (dataflow or "").split(",")]:
        network = load_workload(name)
        for layer in (network.select(layers) if layers else network).layers:
            problem = layer.problem(batch).with_direction(direction)  # type: ignore[arg-type]
            click.echo(f"{layer.name} on {machine.name}, {flow.name}")
            try:
                nest = Nest(problem, machine, choose(problem, machine, flow))
            except MappingError as error:
                failed = 1
                click.echo(f"  cannot be mapped: {error}\n")
                continue
            click.echo(f"{nest_text(nest)}\nloops: {nest.mapping}\n")
    return failed


KINDS = ("workloads", "architectures", "dataflows")


def _show_file(name: str) -> None:
    from accelsim import files

    for kind in KINDS:
        try:
            path = files.resolve(kind, name)
        except files.InputError:
            continue
        click.echo(path.read_text(encoding="utf-8").rstrip())
        return
    raise files.InputError("no such workload, architecture, dataflow or file", got=name, choices=[n for kind in KINDS for n in files.names(kind)])


@cli.command("list")
def list_() -> int:
    """List the workloads, architectures and dataflows that are shipped, a line each."""
    from accelsim import files

    for kind in KINDS:
        click.echo(f"{kind}:")
        for name in files.names(kind):
            data = files.read(files.resolve(kind, name), kind).data
            short = f" ({data['short']})" if "short" in data else ""
            click.echo(f"  {name + short:<26} {data.get('description', '')}")
    return 0


def main() -> None:
    """Entry point: one line for bad input, never a traceback unless --debug asks for it."""
    args = sys.argv[1:]
    debug = "--debug" in args
    try:
        code = cli.main([a for a in args if a != "--debug"], prog_name="accelsim", standalone_mode=False)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except Exception as error:
        from accelsim.files import InputError

        if debug:
            raise
        if isinstance(error, InputError):
            click.echo(str(error), err=True)
            code = 2
        else:
            click.echo(f"internal error: {type(error).__name__}: {error} (run again with --debug for the traceback)", err=True)
            code = 1
    sys.exit(code or 0)
