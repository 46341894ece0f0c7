"""Which columns of a sweep's frame name a row, and which hold its results.

Totals, comparisons, sensitivities and figures go by these, so that each knows the same rows for the
same point.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import or_nearest
from accelsim.explore.workload_axes import PLACE
from accelsim.hardware.architecture import Architecture
from accelsim.results.layer_row import ENERGIES

if TYPE_CHECKING:
    import pandas as pd

# Columns that name a point, besides the axes.
IDENTITY = (
    "workload",
    "layer",
    "arch",
    "dataflow",
    "engine",
    "direction",
    "mapping",
    "batch",
    "seed",
)


def axes(columns: Iterable[Any]) -> tuple[str, ...]:
    """Those that are dotted keys of an architecture, or parameters of the workload: the axes of a
    space.
    """
    places, names = {*Architecture.model_fields, PLACE}, map(str, columns)
    return tuple(name for name in names if name.split(".")[0] in places and name != PLACE)


def varied_axes(frame: pd.DataFrame) -> list[str]:
    """The axes of a frame with more than one value."""
    own = [name for name in axes(frame.columns) if name != "name"]
    return [name for name in own if frame[name].nunique(dropna=False) > 1]


def energy_column(frame: pd.DataFrame) -> str:
    """The column of the total energy, in its unit.  Raises ValueError if there is none, or one in
    each of two units.
    """
    there = [name for name in ENERGIES if name in frame.columns and frame[name].notna().any()]
    if len(there) == 1:
        return there[0]
    if there:
        raise ValueError("the frame has energy in two units, energy_mac and energy_pj: name one")
    raise ValueError("the frame has no column energy_pj or energy_mac with values")


def check_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Raises ValueError for the first name that is no column of a frame."""
    for name in names:
        if name not in frame.columns:
            nearest = or_nearest(name, map(str, frame.columns))
            raise ValueError(f"the frame has no column {name}{nearest}")


def numbers(column: pd.Series, *, strict: bool) -> npt.NDArray[np.float64]:
    """A column as [rows] of floats, NaN where there is no value.

    What is no number counts as no value, or if ``strict`` raises ValueError or TypeError.
    """
    import pandas as pd

    values = pd.to_numeric(column, errors="raise" if strict else "coerce")
    floats: npt.NDArray[np.float64] = values.astype("Float64").to_numpy(float, na_value=np.nan)
    return floats
