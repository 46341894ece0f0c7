"""Notebooks made from the scripts in ``lessons``: text, code, and what the code printed and drew.

A lesson is Python with cells: ``# %% [markdown]`` begins text, each line a comment, and ``# %%``
begins code.  ``notebook`` makes the file of it (nbformat 4.5, which is JSON) and, with ``run``,
runs
each cell in turn and keeps what it prints, and what its last line shows: a figure as PNG, a table
as
HTML, anything else as text.  ``course.py`` and the tests call it; so no Jupyter is needed to make
or
to test a notebook.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MARK = re.compile(r"^# %%(.*)$", re.M)


@dataclass(frozen=True)
class Cell:
    """``text`` is Markdown or, with ``code``, Python."""

    text: str
    code: bool


def cells(script: str) -> list[Cell]:
    """The cells of a lesson; what stands before the first mark belongs to none."""
    parts = _MARK.split(script)[1:]
    found = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        code = "[markdown]" not in mark
        lines = body.strip("\n").splitlines()
        text = "\n".join(lines if code else [line.removeprefix("#")[1:] for line in lines])
        found.append(Cell(text.strip("\n"), code))
    return found


def ran(cell: Cell, space: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Run a cell of code in ``space``; what a notebook shows below it.

    Raises whatever the cell raises.
    """
    tree = ast.parse(cell.text, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), space)
        shown = None
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), name, "eval"), space)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if shown is not None:
        data = _data(shown)
        outputs.append({"output_type": "display_data", "metadata": {}, "data": data})
    return outputs


def _data(shown: Any) -> dict[str, str]:
    """What is shown, by kind of text or picture."""
    if hasattr(shown, "savefig"):
        picture = io.BytesIO()
        shown.savefig(picture, format="png", dpi=100, bbox_inches="tight")
        return {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": "figure"}
    html = getattr(shown, "_repr_html_", None)
    return ({"text/html": str(html())} if html else {}) | {"text/plain": str(shown)}


def notebook(script: str, run: bool, name: str = "lesson") -> dict[str, Any]:
    """The notebook of a lesson as what its JSON says; with ``run`` its cells have been run."""
    space: dict[str, Any] = {"__name__": "__main__"}
    made = []
    for k, cell in enumerate(cells(script)):
        entry: dict[str, Any] = {
            "id": f"{name}-{k}",
            "cell_type": "code" if cell.code else "markdown",
            "metadata": {},
            "source": cell.text,
        }
        if cell.code:
            outputs = ran(cell, space, f"{name}, cell {k}") if run else []
            entry |= {"execution_count": None, "outputs": outputs}
        made.append(entry)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": made}


def main(script: str, out: str, run: str = "") -> None:
    """Write the notebook of a script; ``--run`` runs its cells."""
    made = notebook(Path(script).read_text(encoding="utf-8"), bool(run), Path(script).stem)
    Path(out).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
