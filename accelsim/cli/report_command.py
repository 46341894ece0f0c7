"""``accelsim report``: rebuild a study's tables and figures.

Prints the path of every file it wrote.  A study is a directory under ``reports`` whose ``study.py``
has a function ``main``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import click

from accelsim.cli.common import DIRECTORY

REPORTS = Path(__file__).resolve().parents[2] / "reports"


@click.command()
@click.argument("study")
@click.option(
    "-o",
    "--output",
    type=DIRECTORY,
    metavar="DIR",
    help="Write there, not beside the study.",
)
def report(study: str, output: Path | None) -> int:
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
    main = _loaded(name, studies[name]).main
    for path in main(output) if output else main():
        click.echo(path)
    return 0


def _loaded(name: str, path: Path) -> ModuleType:
    """A study's script as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"accelsim_study_{name}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
