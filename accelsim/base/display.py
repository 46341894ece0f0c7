"""The way up: how a class of a lower room shows itself, though it may not import ``view``.

Imports point down, so that a problem or a nest can be read, tested and changed without knowing how
anything looks.  Yet ``print(arch)``, a notebook's cell and ``result.plot.energy()`` begin at a
class of a lower room and end in a page or a picture, which are the highest room but one.  Someone
has to go up.  It is done here and nowhere else: one module, one import, made when something is
shown and not when the package is loaded.  A second way up would be an arrow that no reader sees and
no check finds.

``Displayed`` is the base of public classes below ``view``; ``view.describe`` has their pages,
``view.figures`` the pictures by name.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Displayed:
    """``print`` and a notebook show the page that ``view`` has of the class."""

    def __str__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return html(self)


def text(thing: object) -> str:
    """A page for a terminal.  Raises TypeError for what has no page."""
    return str(_view("describe").page(thing).text())


def html(thing: object) -> str:
    """The same page for a notebook.  Raises TypeError for what has no page."""
    return str(_view("describe").page(thing).html())


def figure(name: str, data: object, **options: Any) -> Figure:
    """The picture of that name, one of ``view.figures.FIGURES``, drawn of ``data``.

    Raises ValueError where the data do not have what it shows.
    """
    drawn: Figure = _view("figures").FIGURES[name](data, **options)
    return drawn


def show_figures() -> None:
    """Let a notebook's cell that ends in a figure show it.

    IPython does so by itself only once ``matplotlib.pyplot`` is loaded, which nothing here needs:
    without this a cell that ends in ``result.plot.energy()`` shows ``<Figure size ...>``.  What the
    notebook has already been told to do with figures stands; outside of one nothing happens.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    formats = getattr(getattr(shell, "display_formatter", None), "formatters", {})
    for_png = formats.get("image/png")
    if for_png is None:
        return
    try:
        for_png.lookup_by_type("matplotlib.figure.Figure")
    except KeyError:
        for_png.for_type_by_name("matplotlib.figure", "Figure", _png)


def _png(figure: Figure) -> bytes:
    """The picture without the margin around it."""
    written = BytesIO()
    figure.savefig(written, format="png", dpi=100, bbox_inches="tight")
    return written.getvalue()


def save(figure: Figure, directory: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    """Write a picture as NAME.png and NAME.svg; the two paths.  Raises OSError."""
    written: tuple[Path, Path] = _view("plots").save(figure, directory, name)
    return written


def _view(module: str) -> ModuleType:
    return import_module(f"accelsim.view.{module}")
