"""``accelsim import`` and ``accelsim export``: other tools' networks into a workload file, and out
of one.

``import`` prints the workload as YAML, or writes it to the file of ``-o``; stderr has what was left
out or changed on the way, and the nodes that cannot be imported (exit 2, nothing is written).
``export`` writes a file and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.common import (
    ANY_PATH,
    FILE,
    output_option,
    pairs,
    params_option,
    ready,
    write,
    writing,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from accelsim.importers.network_builder import Imported
    from accelsim.workload.network import Workload

FORMATS = ("onnx", "caffe", "scalesim", "scalesim-config", "timeloop")
_SUFFIXES = {
    ".onnx": "onnx",
    ".prototxt": "caffe",
    ".pbtxt": "caffe",
    ".csv": "scalesim",
    ".tsv": "scalesim",
    ".cfg": "scalesim-config",
    ".yaml": "timeloop",
    ".yml": "timeloop",
}


@click.command("import")
@click.argument("file", type=ANY_PATH)
@click.option(
    "--from", "form", type=click.Choice(FORMATS), help="The format; by the file's ending otherwise."
)
@output_option
@click.option(
    "--weights",
    type=FILE,
    metavar="FILE",
    help="Write the weights too, as .npz (ONNX).",
)
@click.option(
    "--fold", is_flag=True, help="Fold batch normalization into the layers before it (ONNX)."
)
@click.option(
    "--input", "shape", metavar="CxHxW", help="The input's shape where the file has none (Caffe)."
)
@click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=N",
    help="The size of a dimension that the file only names (ONNX): seq=512.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="OP",
    help="Leave nodes of this type out, and say what is not in the result then (ONNX, Caffe).",
)
def import_(
    file: Path,
    form: str | None,
    output: Path | None,
    weights: Path | None,
    fold: bool,
    shape: str | None,
    dims: tuple[str, ...],
    skip: tuple[str, ...],
) -> int:
    """Read FILE, another tool's network, and print it as a workload.

    ONNX (.onnx), Caffe (.prototxt), SCALE-Sim topologies (.csv), Timeloop problems (.yaml).  Nodes
    that cannot be imported are listed by name, and nothing is written.  A SCALE-Sim configuration
    (.cfg) becomes an architecture.
    """
    from accelsim.base.errors import InputError

    kind = form or _SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise InputError(
            "must end in .onnx, .prototxt, .csv or .yaml (or .cfg), or --from must say what it is",
            file=file,
        )
    for given, option, only in (
        (weights, "--weights", ("onnx",)),
        (fold, "--fold", ("onnx",)),
        (dims, "--dim", ("onnx",)),
        (shape, "--input", ("caffe",)),
        (skip, "--skip", ("onnx", "caffe")),
    ):
        if given and kind not in only:
            raise click.UsageError(f"{option} goes with {' and '.join(only)} files")
    if kind == "scalesim-config":
        _machine(file, output)
        return 0
    ready(output)
    ready(weights, "--weights")
    with _unsupported_said():
        imported = _imported(file, kind, fold, _shape(shape) if shape else None, _dims(dims), skip)
    if weights is not None:
        _check_words(imported, file)
    _say(imported.notes)
    _write_model(imported.workload, output)
    if weights is not None:
        _save(imported, weights)
    return 0


def _say(notes: Iterable[str]) -> None:
    from accelsim.base.errors import one_line

    for note in notes:
        click.echo(one_line(note, 300), err=True)


def _write_model(model: BaseModel, output: Path | None) -> None:
    from accelsim.base.yaml_writing import to_yaml

    write(to_yaml(model).rstrip(), output)


def _machine(file: Path, output: Path | None) -> None:
    """The architecture of a SCALE-Sim configuration: our preset with its numbers."""
    from accelsim.hardware.architecture import load_architecture
    from accelsim.importers.scalesim_config import PRESET, import_scalesim_config

    machine = import_scalesim_config(file)
    described = f"imported from {file.name} (SCALE-Sim), the preset {PRESET} otherwise"
    overrides = machine.overrides | {"description": described}
    _say(machine.notes)
    _write_model(load_architecture(PRESET, overrides), output)


@contextmanager
def _unsupported_said() -> Iterator[None]:
    """Within, nodes that cannot be imported are listed, a line each, and end the command (2)."""
    from accelsim.importers.network_builder import UnsupportedError

    try:
        yield
    except UnsupportedError as error:
        click.echo(str(error), err=True)
        _say(f"  {name}: {why}" for name, why in error.nodes)
        raise click.exceptions.Exit(2) from None


def is_imported(name: str) -> bool:
    """Whether a command that is given ``name`` for a workload reads it as another tool's network:
    by its ending, which a file of ours never has.
    """
    kind = _SUFFIXES.get(Path(name).suffix.lower())
    return kind not in (None, "timeloop", "scalesim-config")


def given_workload(
    name: str, params: tuple[str, ...] = ()
) -> tuple[Workload, dict[str, Any] | None]:
    """What a command was given for a workload: a name or file of ours, or another tool's file as
    ``import`` reads it without options (.onnx, .prototxt, .csv), with its weights if it has all of
    them.  ``params`` are texts of ``--param``; those of an ONNX file are its named dimensions.
    """
    from accelsim.workload.network import load_workload

    values = pairs(params, "--param")

    if not is_imported(name):
        return load_workload(name, values), None
    kind = _SUFFIXES[Path(name).suffix.lower()]
    with _unsupported_said():
        imported = _imported(Path(name), kind, dims=values if kind == "onnx" else None)
    _say(imported.notes)
    graph = imported.workload.network
    whole = graph is not None and graph.all_parameters.keys() <= imported.weights.keys()
    workload = load_workload(imported.workload, None if kind == "onnx" else values)
    return workload, imported.weights if whole and imported.weights else None


def _imported(
    file: Path,
    form: str,
    fold: bool = False,
    shape: tuple[int, ...] | None = None,
    dims: dict[str, int] | None = None,
    skip: tuple[str, ...] = (),
) -> Imported:
    """The file read by the importer of its form, one of ``FORMATS``."""
    match form:
        case "onnx":
            from accelsim.importers.onnx_import import import_onnx

            return import_onnx(file, fold, dims, skip)
        case "caffe":
            from accelsim.importers.caffe import import_caffe

            return import_caffe(file, shape, skip)
        case "scalesim":
            from accelsim.importers.scalesim import import_scalesim

            return import_scalesim(file)
        case "timeloop":
            from accelsim.importers.timeloop import import_timeloop

            return import_timeloop(file)
    raise AssertionError(f"no importer of {form}")


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not 1 <= len(parts) <= 5 or not all(
        p.isascii() and p.isdigit() and 1 <= int(p[:10]) < 2**31 and len(p) <= 10 for p in parts
    ):
        raise click.UsageError(f"--input must be like 3x227x227, got {text[:40]}")
    return tuple(int(p) for p in parts)


def _dims(texts: tuple[str, ...]) -> dict[str, int]:
    sizes = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not size.isascii() or not size.isdigit() or not 1 <= int(size[:12]) < 2**31:
            raise click.UsageError(f"--dim wants NAME=N, got {text[:40] or 'nothing'}")
        sizes[name] = int(size[:12])
    return sizes


def _check_words(imported: Imported, file: Path) -> None:
    """Raises InputError if weights are asked for that the file does not have."""
    from accelsim.base.errors import InputError

    graph = imported.workload.network
    assert graph is not None
    gone = [name for name in graph.all_parameters if name not in imported.weights]
    if gone:
        raise InputError(
            f"has no words for {len(gone)} arrays of weights, so --weights has nothing to write",
            file=file,
            got=", ".join(gone[:3]),
        )


def _save(imported: Imported, path: Path) -> None:
    """The weights as .npz."""
    import numpy as np

    from accelsim.base.whole_files import whole_file

    arrays: dict[str, Any] = dict(imported.weights)
    with writing(f"--weights {path}"), whole_file(path) as stream:
        np.savez(stream, **arrays)


@click.command()
@click.argument("workload")
@click.option(
    "-o",
    "--output",
    type=FILE,
    required=True,
    metavar="FILE",
    help="FILE.onnx or FILE.csv.",
)
@params_option
@click.option(
    "--gemm", is_flag=True, help="A SCALE-Sim topology of matrix products, instead of convolutions."
)
@click.option(
    "--weights",
    type=FILE,
    metavar="FILE",
    help="Weights for ONNX, as .npz.",
)
def export(
    workload: str, output: Path, params: tuple[str, ...], gemm: bool, weights: Path | None
) -> int:
    """Write a workload for other tools: an ONNX model (.onnx) or a SCALE-Sim topology (.csv).

    WORKLOAD is a name of `accelsim list`, a YAML file, or a file that `accelsim import` reads.
    """
    suffix = output.suffix.lower()
    if suffix not in (".onnx", ".csv"):
        raise click.UsageError(f"-o must end in .onnx or .csv, got {output.name}")
    if gemm and suffix != ".csv":
        raise click.UsageError("--gemm goes with .csv files")
    if weights is not None and suffix != ".onnx":
        raise click.UsageError("--weights goes with .onnx files")
    network, own = given_workload(workload, params)
    if suffix == ".csv":
        from accelsim.importers.scalesim import export_scalesim

        write(export_scalesim(network, "gemm" if gemm else "conv").rstrip(), output)
        return 0
    from accelsim.base.whole_files import whole_file
    from accelsim.importers.onnx_export import export_onnx
    from accelsim.workload.graph.weights import check_weights, load_arrays, without_scales

    arrays: Any = own
    if weights is not None:
        graph = network.network
        arrays = load_arrays(weights, None if graph is None else partial(check_weights, graph))
    if arrays is not None and len(without_scales(arrays)) < len(arrays):
        click.echo(
            "the model is written in real numbers, without the scales of its words", err=True
        )
    model = export_onnx(network, arrays)
    with writing(f"-o {output}"), whole_file(output) as stream:
        stream.write(model)
    if arrays is None:
        click.echo(
            f"{output.name} has no weights: parameters are inputs of the model; with --weights they"
            " are in it",
            err=True,
        )
    return 0
