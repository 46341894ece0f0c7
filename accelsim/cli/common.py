"""What several commands share: options with the same words, overrides, the format of the answer,
and writing it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click

ENGINES = ("analytic", "event", "cycle")
BATCH = click.IntRange(1, 2**31 - 1)
DIRECTIONS = ("forward", "grad_input", "grad_weight")
MOST_NAME = 255  # bytes of a name, which file systems take
OTHER_KINDS = (".parquet", ".pq", ".feather", ".xlsx", ".png", ".svg", ".pdf", ".npz", ".sqlite")


class NamedPath(click.Path):
    """A path that a file system can have."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("must name a file, got nothing", param, ctx)
        if any(len(os.fsencode(part)) > MOST_NAME for part in Path(value).parts):
            self.fail(f"has a name of more than {MOST_NAME} bytes", param, ctx)
        return super().convert(value, param, ctx)


FILE = NamedPath(dir_okay=False, path_type=Path)
DIRECTORY = NamedPath(file_okay=False, path_type=Path)
ANY_PATH = NamedPath(path_type=Path)

# Options ------------------------------------------------------------------------------------------

arch_option = click.option(
    "--arch",
    required=True,
    metavar="A",
    help="Architecture: a name of `accelsim list` or a YAML file.",
)
tiles_option = click.option(
    "--tiles",
    type=click.Choice(["best", "rule"]),
    help="The best tiles found (as is), or the fixed rule's, for teaching.",
)
objective_option = click.option(
    "--objective",
    metavar="OBJECTIVE",
    help="Of the best tiles: energy, cycles, edp (as is), dram, or a product of these.",
)
effort_option = click.option(
    "--effort",
    type=click.Choice(["quick", "thorough", "proved"]),
    help="For the best tiles: milliseconds a layer (as is), seconds, or until it is proved.",
)
overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a dotted key of the architecture: array.rows=32.",
)
params_option = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="P=N",
    help="A parameter of the workload's file: seq=1; may be given several times.",
)
layers_option = click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="L",
    help="Only this layer; may be given several times.",
)
batch_option = click.option(
    "--batch", type=BATCH, metavar="N", help="Batch size; the workload's own otherwise."
)
direction_option = click.option(
    "--direction", type=click.Choice(DIRECTIONS), default=DIRECTIONS[0], show_default=True
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="K",
    help="Seed of what is drawn at random.",
)
total_option = click.option(
    "--total", is_flag=True, help="Add the total to csv and json; the table always has it."
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    help="table unless -o names a .csv or .json file.",
)
output_option = click.option(
    "-o", "--output", type=FILE, metavar="FILE", help="Write to a file instead of stdout."
)


def pairs(overrides: tuple[str, ...], option: str = "--set") -> dict[str, Any]:
    """``KEY=VALUE`` texts as keys and values, read as YAML.  Raises InputError."""
    from accelsim.base.errors import InputError
    from accelsim.base.overrides import override_values

    texts = {}
    for entry in overrides:
        key, sign, value = entry.partition("=")
        if not sign or not key:
            raise InputError(f"{option} wants KEY=VALUE", got=entry or "nothing")
        texts[key] = value
    return override_values(texts)


def tiles_refused(
    tiles: str | None,
    objective: str | None,
    effort: str | None,
    limit: float | None,
    mapping: str | None,
    mapper: str | None,
) -> tuple[tuple[bool, str], ...]:
    """What does not go together among these options: whether it was asked for, and why."""
    unsearched = tiles == "rule" or mapping is not None
    return (
        (tiles is not None and mapper is not None, "--tiles does not go with --mapper"),
        (tiles is not None and mapping is not None, "--tiles does not go with --mapping"),
        *(
            (value is not None and (unsearched or mapper is not None), f"{name} wants --tiles best")
            for name, value in (("--objective", objective), ("--effort", effort))
        ),
        (limit is not None and unsearched, "--limit wants --mapper, or --tiles best"),
    )


# The answer ---------------------------------------------------------------------------------------


class Records(Protocol):
    """What can be written in every format: a ``Result``."""

    def to_csv(self, *, total: bool = False) -> str: ...

    def to_json(self, *, total: bool = False) -> str: ...


def chosen_form(form: str | None, output: Path | None) -> str:
    """``--format`` if it was given, else by the ending of ``-o``, else ``table``.  Refuses the
    ending of what would be something else.
    """
    if form is not None:
        return form
    ending = output.suffix.lower() if output is not None else ""
    if ending in OTHER_KINDS:
        raise click.UsageError(
            f"-o {output}: a table, .csv or .json is written here, not {ending} "
            "(with --format, whatever the name)"
        )
    return {".csv": "csv", ".json": "json"}.get(ending, "table")


def answer(result: Records, form: str, total: bool) -> str:
    """The result as text in the format that was asked for."""
    if form == "table":
        return str(result)
    return result.to_json(total=total) if form == "json" else result.to_csv(total=total)


def csv_text(records: list[dict[str, Any]]) -> str:
    """Records as CSV, a header first."""
    from accelsim.base.whole_files import records_csv

    return records_csv(records)


@contextmanager
def layers_bar(total: int | None = None) -> Iterator[Callable[[str], None]]:
    """Within, a bar of layers on a terminal; what is given is called with the name of each that is
    done.  Elsewhere nothing is said, and nothing is imported for it.
    """
    if not sys.stderr.isatty():
        yield lambda name: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="layer", leave=False) as bar:

        def step(name: str) -> None:
            bar.set_description(name)
            bar.update()

        yield step


# Files --------------------------------------------------------------------------------------------


def ready(output: Path | None, option: str = "-o") -> None:
    """Refuses a file whose directory is not there before anything is computed."""
    if output is not None and not output.absolute().parent.is_dir():
        raise click.UsageError(
            f"{option} {output}: cannot be written: no such directory {output.parent}"
        )


def ready_directory(folder: Path | None, option: str = "--plot") -> None:
    """Refuses a directory that cannot be made, since a file stands on the way to it, before
    anything is computed.
    """
    if folder is None:
        return
    for above in (folder, *folder.absolute().parents):
        if above.exists():
            if not above.is_dir():
                raise click.UsageError(f"{option} {folder}: cannot be written: {above} is a file")
            return


@contextmanager
def writing(what: object) -> Iterator[None]:
    """An error of the file system within is bad usage, in one line that begins with ``what``."""
    try:
        yield
    except OSError as error:
        raise click.UsageError(f"{what}: cannot be written: {error.strerror}") from error


def write(text: str, output: Path | None) -> None:
    """To stdout, or to a file that is never half-written."""
    if output is None:
        click.echo(text)
        return
    from accelsim.base.whole_files import write_text

    with writing(f"-o {output}"):
        write_text(text, output)


def say_drawn(paths: Iterable[Path]) -> None:
    """Names the files that were written, on stderr: pictures as drawn, tables as written."""
    for path in paths:
        click.echo(f"{'wrote' if path.suffix == '.csv' else 'drew'} {path}", err=True)
