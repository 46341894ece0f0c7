"""What several commands share: overrides, and writing a file whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

ENGINES = ("analytic", "event", "cycle")
BATCH = click.IntRange(1, 2**31 - 1)
DIRECTIONS = ("forward", "grad_input", "grad_weight")


def pairs(overrides: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as keys and values, read as YAML.  Raises InputError."""
    from accelsim.base.errors import InputError
    from accelsim.base.overrides import override_values

    found = {}
    for entry in overrides:
        key, sign, value = entry.partition("=")
        if not sign or not key:
            raise InputError("--set wants KEY=VALUE", got=entry or "nothing")
        found[key] = value
    return override_values(found)


def ready(output: Path | None, option: str = "-o") -> None:
    """Refuses a file whose directory is not there before anything is computed."""
    if output is not None and not output.absolute().parent.is_dir():
        raise click.UsageError(
            f"{option} {output}: cannot be written: no such directory {output.parent}"
        )


def csv_text(records: list[dict[str, Any]]) -> str:
    """Records as CSV; a column a key, in the order in which the keys first appear."""
    from accelsim.base.text_table import csv_lines

    names = list(dict.fromkeys(name for record in records for name in record))
    return csv_lines(names, ([record.get(name) for name in names] for record in records))


def write(text: str, output: Path | None) -> None:
    """To stdout, or to a file that is never half-written."""
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
