"""The frame of a sweep as its figures need it: of one run, its totals, and names for its points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.explore.row_names import axes, varied_axes
from accelsim.explore.totals import frame_totals
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.hardware.ports import never_waited_for, never_waited_sentence
from accelsim.view.style import series_look

if TYPE_CHECKING:
    import pandas as pd

MANY = 1000  # points beyond which they are one picture in an SVG


def one_run(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, if it is of one workload, engine, direction and batch.  Raises ValueError.

    Layers may have batches of their own.
    """
    needed = ("workload", "layer", "dataflow", "cycles")
    if missing := [c for c in needed if c not in frame.columns]:
        raise ValueError(f"the frame has no column {', '.join(missing)}")
    if not len(frame):
        raise ValueError("the frame has no rows to plot")
    for name in ("workload", "engine", "direction", "batch"):
        if name not in frame.columns or frame[name].nunique() <= 1:
            continue
        if name == "batch" and frame["layer"].nunique() > 1:
            continue
        some = ", ".join(str(v) for v in frame[name].unique()[:3])
        raise ValueError(
            f"the frame has several of {name} ({some}): plot the rows of one at a time"
        )
    return frame


def layer_rows(frame: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The frame of one run, if it has rows of layers.  Raises ValueError naming the ``figure``."""
    rows = one_run(frame)
    if (rows["layer"] == "total").all():
        raise ValueError(f"{figure}: wants a row per layer, the frame has totals")
    return rows


def finished_totals(frame: pd.DataFrame) -> pd.DataFrame:
    """Totals of the architectures and dataflows that have a result.  Raises ValueError for none."""
    totals = frame_totals(one_run(frame))
    totals = totals[totals["cycles"].notna()].reset_index(drop=True)
    if not len(totals):
        raise ValueError("the frame has no network all of whose layers have a result")
    return totals


def pe_counts(rows: pd.DataFrame) -> pd.Series[float]:
    """PEs of each row's array, from MACs, utilization and cycles."""
    macs, cycles = rows["macs"].astype(float), rows["cycles"].astype(float)
    counts: pd.Series[float] = (macs / rows["utilization"].astype(float) / cycles).round()
    return counts


def labels(rows: pd.DataFrame, within: pd.DataFrame | None = None) -> pd.Series[str]:
    """What tells an architecture from the others, short: ``32x8``, or ``rows 32, glb 64 KB``.

    The others are those of ``within``, the rows' own if it is not given.
    """
    names = varied_axes(rows if within is None else within)
    array = [n for n in ("array.rows", "array.cols") if n in names]
    array = array if len(array) == 2 else []
    texts = []
    for row in rows[names].itertuples(index=False):
        values = dict(zip(names, row, strict=True))
        parts = ["x".join(short(values[n]) for n in array)] if array else []
        parts += [_setting(n, values[n]) for n in names if n not in array]
        texts.append(", ".join(parts))
    return series(np.array(texts, dtype=object), rows.index)


def _setting(key: str, value: Any) -> str:
    """``rows 32``, ``glb 64 KB``, ``overlap True``."""
    steps = key.split(".")
    if steps[-1] != "capacity_bytes" or not isinstance(value, (int, float)) or value != value:
        return f"{steps[-1]} {short(value)}"
    size, unit = next(((s, u) for s, u in ((2**20, "MB"), (2**10, "KB")) if value >= s), (1, "B"))
    return f"{steps[-2]} {value / size:.4g} {unit}"


def short(value: Any) -> str:
    """A value of an axis as a tick has it."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:g}" if number else str(value)


def series(values: Any, index: Any = None) -> pd.Series[Any]:
    """A pandas Series; pandas is loaded when the first is made."""
    import pandas as pd

    return pd.Series(values, index=index)


def title(frame: pd.DataFrame, what: str) -> str:
    """What all rows share of workload, machine and batch, then what is shown."""
    names = [
        str(frame[c].iloc[0])
        for c in ("workload", "arch")
        if c in frame.columns and frame[c].nunique() == 1
    ]
    batch = "batch" in frame.columns and frame["batch"].nunique() == 1 and names
    of = " on ".join(names) + (f", batch {frame['batch'].iloc[0]}" if batch else "")
    return f"{of}: {what}" if of else what


def machines(frame: pd.DataFrame, keys: Sequence[str]) -> list[Architecture] | None:
    """The different machines of a frame as far as axes go whose names end in one of ``keys``, or
    that are whole levels; None where one is not shipped, so that its file is not known here.
    """
    steps = {name: name.split(".") for name in axes(frame.columns)}
    names = [n for n, x in steps.items() if x[-1] in keys or (x[0] == "levels" and len(x) == 2)]
    names += ["arch"] if "arch" in frame.columns else []
    told = []
    for record in frame[names].drop_duplicates().to_dict("records"):
        own = {n: v for n, v in record.items() if n != "arch" and not _missing(v)}
        try:
            told.append(load_architecture(str(record.get("arch", "")), own, text=True))
        except InputError:
            return None
    return told


def unlimited(frame: pd.DataFrame) -> str:
    """Which memories of the machines cost no time, in a sentence; empty for none, and where
    machines differ in it or are not known.
    """
    told = machines(frame, ("port_bits", "latency_cycles"))
    said = {never_waited_sentence(never_waited_for(arch)) for arch in told or ()}
    return said.pop() if len(said) == 1 else ""


def _missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def flows(data: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Each dataflow's name, rows, and how it is drawn."""
    for place, (flow, rows) in enumerate(data.groupby("dataflow", sort=False)):
        yield str(flow), rows, series_look(place)
