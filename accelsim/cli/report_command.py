"""``accelsim report``: rebuild a study's tables and figures.

Prints the path of every file it wrote.  A study is a directory under ``reports`` whose ``study.py``
has a function ``main``; one that predicts measured rows has ``rows`` too, which does so for the
rows of any file with its columns and gives a table as text.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import click

from accelsim.cli.common import ANY_PATH, FILE, ready, write

REPORTS = Path(__file__).resolve().parents[2] / "reports"


@click.command()
@click.argument("study")
@click.option("--rows", type=FILE, metavar="FILE", help="Predict the rows of this CSV instead.")
@click.option(
    "-o",
    "--output",
    type=ANY_PATH,
    metavar="PATH",
    help="Write to that directory, not beside the study; with --rows, to that file.",
)
def report(study: str, rows: Path | None, output: Path | None) -> int:
    """Rebuild the tables and figures of a study under reports/ (in a clone of the repository)."""
    from accelsim.base.errors import InputError

    studies = {path.parent.name: path for path in sorted(REPORTS.glob("*/study.py"))}
    if not studies:
        raise InputError(
            "studies come with a clone of the repository, not with an installed package",
            key="study",
            got=study,
        )
    name = study.strip().lower().replace("-", "_")
    if name not in studies:
        raise InputError("no such study", key="study", got=study or "nothing", choices=studies)
    if output and output.exists() and output.is_dir() == bool(rows):
        kind = "a file" if rows else "a directory"
        raise InputError(f"must be {kind}", key="--output", got=str(output))
    module = _loaded(name, studies[name])
    if rows:
        if not hasattr(module, "rows"):
            raise InputError("this study predicts no rows of a file", key="--rows", got=name)
        ready(output)
        write(module.rows(rows), output)
        return 0
    for path in module.main(output) if output else module.main():
        click.echo(path)
    return 0


def _loaded(name: str, path: Path) -> ModuleType:
    """A study's script as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"accelsim_study_{name}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
