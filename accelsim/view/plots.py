"""Figures of a result frame: where the energy, the cycles and the array's slots went, per layer and
dataflow.

The data stand apart from the drawing.  ``energy_data``, ``latency_data`` and ``utilization_data``
give one tidy row per layer, dataflow and component; ``energy``, ``latency``, ``utilization`` and
``demo`` draw just that and return a matplotlib ``Figure`` that belongs to no window and needs no
display.  ``save`` writes any figure.  How it is done is in ``bars``.

A row that could not be mapped (no cycles) or whose check failed (a text in ``error``) is a labelled
gap in the figure.  A row whose layer is ``total`` is left out.  ``note`` stands small under the
title: of a result, which memories cost no time.  Raises ValueError for a frame that
does not have what a figure shows.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.base.whole_files import whole_file
from accelsim.view.bars.bar_blocks import energy_block, latency_block, utilization_block
from accelsim.view.bars.bar_data import By, energy_data, latency_data, utilization_data
from accelsim.view.bars.bar_drawing import draw_bars
from accelsim.view.style import house_style

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.figure import Figure

__all__ = [
    "By",
    "demo",
    "energy",
    "energy_data",
    "latency",
    "latency_data",
    "save",
    "utilization",
    "utilization_data",
]


def energy(frame: pd.DataFrame, by: By = "level", note: str = "") -> Figure:
    """Stacked bars of energy per layer and dataflow, by storage level and network or by tensor."""
    return draw_bars([energy_block(frame, by)], note)


def latency(frame: pd.DataFrame, note: str = "") -> Figure:
    """Stacked bars of cycles per layer and dataflow: compute, fill and drain, stalls by what was
    waited for.
    """
    return draw_bars([latency_block(frame)], note)


def utilization(frame: pd.DataFrame, note: str = "") -> Figure:
    """Share of the array's slots doing a MAC, and above it the share lost to filling, draining and
    stalls.
    """
    return draw_bars([utilization_block(frame)], note)


def demo(frame: pd.DataFrame, note: str = "") -> Figure:
    """Energy and latency in one figure: side by side when there are few bars, else one above the
    other.
    """
    return draw_bars([energy_block(frame, "level"), latency_block(frame)], note)


def save(figure: Figure, directory: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    """Writes ``name``.png (of the figure's own resolution, 150 dots an inch, 300 where it is as
    wide as a column) and ``name``.svg and returns their paths.  No file is ever half
    written.

    The same figure gives the same bytes: no dates, no random ids.
    """
    if not name or Path(name).name != name:
        raise ValueError(f"name: must be a file name without directory or ending, got {name!r}")
    folder = Path(directory)
    drawn: dict[Path, bytes] = {}
    with house_style():
        for kind, metadata in (("png", {}), ("svg", {"Date": None})):
            target = BytesIO()
            figure.savefig(target, format=kind, dpi=figure.dpi, metadata=metadata)
            drawn[folder / f"{name}.{kind}"] = target.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in drawn.items():
        with whole_file(path) as stream:
            stream.write(content)
    png, svg = drawn
    return png, svg
