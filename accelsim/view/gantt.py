"""Pictures of a timed run: who was busy with what and when (``gantt``), and what each level held
(``occupancy``).

Both take the frames of ``engines.timed`` and return a matplotlib ``Figure`` that belongs to no window.  What is narrower than a
point of the picture is merged: where several things happen within one, each stands as tall as its share of that time.
Colours are those of ``plots``: by tensor on ports and channels, by activity on the array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.view.plots import house_style

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

POINTS = 1200  # columns that the time axis is told apart in
_WIDTH = 7.2  # inches
_ROLES = {  # role: colour, and what the legend calls it; in the order they are stacked
    "weight": ("#D55E00", "weight"),
    "ifmap": ("#56B4E9", "ifmap"),
    "ofmap": ("#F0E442", "ofmap"),
    "words": ("#BBBBBB", "inside passes"),
    "pass": ("#009E73", "passes"),
    "wait": ("#CC79A7", "passes: words before and after the MACs"),
}
_PRINTED = {"dram": "DRAM", "glb": "GLB", "sram": "SRAM", "noc": "NoC", "ub": "UB"}


def gantt_data(frame: pd.DataFrame, points: int = POINTS) -> pd.DataFrame:
    """The bars of ``gantt``: resource, role, start, end (cycles), bottom and height (of a row, 0 to
    1).

    Rows at least a point wide are bars of their own; of narrower ones there is one bar a point,
    resource and role, as tall as its share of that time, one above the other.  Nothing is lost: the
    bars' areas add up to the cycles of the rows.
    """
    import pandas as pd

    needed = ("resource", "what", "tensor", "start", "end")
    if missing := [c for c in needed if c not in frame.columns]:
        raise ValueError(f"the frame has no column {', '.join(missing)}")
    columns: dict[str, list[Any]] = {
        c: [] for c in ("resource", "role", "start", "end", "bottom", "height")
    }
    last = int(frame["end"].max()) if len(frame) else 0
    step = max(last / points, 1e-9)
    edges = np.linspace(0, max(last, 1), points + 1)
    role = _role(frame)
    for resource in _resources(frame):
        mine = (frame["resource"] == resource).to_numpy()
        bottom = np.zeros(points)
        for name in _ROLES:
            rows = frame[mine & (role == name)].sort_values("start")
            start, end = rows["start"].to_numpy(float), rows["end"].to_numpy(float)
            wide = end - start >= step
            _add(
                columns,
                resource,
                name,
                start[wide],
                end[wide],
                np.zeros(wide.sum()),
                np.ones(wide.sum()),
            )
            share = _covered(start[~wide], end[~wide], edges)
            some = share > 0
            _add(
                columns,
                resource,
                name,
                edges[:-1][some],
                edges[1:][some],
                bottom[some],
                share[some],
            )
            bottom += share
    return pd.DataFrame({k: np.concatenate(v) if v else np.zeros(0) for k, v in columns.items()})


def gantt(frame: pd.DataFrame, title: str = "") -> Figure:
    """One row a resource, the outermost at the top and the array at the bottom, from a timed run's
    ``timeline.to_frame()``.

    Raises ValueError for a frame without its columns, or without rows.
    """
    if not len(frame):
        raise ValueError("the timeline has no rows to draw")
    bars, resources = gantt_data(frame), _resources(frame)
    with house_style():
        from matplotlib.collections import PolyCollection
        from matplotlib.patches import Patch

        rows, last = len(resources), float(frame["end"].max())
        figure, (axes,) = _figure(0.27 * rows, title, str(frame.attrs.get("note", "")))
        place = {name: rows - 1 - k for k, name in enumerate(resources)}
        for name, (colour, _) in _ROLES.items():
            mine = bars[bars["role"] == name]
            if len(mine):
                low = (
                    mine["resource"].map(place).to_numpy(float)
                    + 0.12
                    + 0.76 * mine["bottom"].to_numpy(float)
                )
                high = low + 0.76 * mine["height"].to_numpy(float)
                left, right = mine["start"].to_numpy(float), mine["end"].to_numpy(float)
                corners = np.stack(
                    [
                        np.stack(c, axis=1)
                        for c in ((left, low), (left, high), (right, high), (right, low))
                    ],
                    axis=1,
                )
                lines = np.where(
                    (right - left > 4 * last / POINTS) & (len(frame) <= 400), 0.4, 0
                )  # between neighbours, where they are few
                axes.add_collection(
                    PolyCollection(
                        list(corners), facecolors=colour, edgecolors="white", linewidths=lines
                    )
                )
        for k in range(rows):
            axes.axhline(k, color="#E4E4E4", linewidth=0.5, zorder=0)
        axes.set(xlim=(0, last), ylim=(0, rows), yticks=[k + 0.5 for k in range(rows)])
        axes.set_yticklabels([_printed(name) for name in reversed(resources)], fontsize=7)
        _time_axis(axes, last)
        used = [name for name in _ROLES if (bars["role"] == name).any()]
        _legend(axes, [Patch(facecolor=_ROLES[name][0], label=_ROLES[name][1]) for name in used])
    return figure


def occupancy(frame: pd.DataFrame, title: str = "") -> Figure:
    """Words the fullest instance of each level holds, tensor upon tensor, from a timed run's
    ``occupancy.to_frame()``; one panel a level.

    Where the picture has no room for every change, it shows the mean within a point.
    Raises ValueError for a frame without its columns, or without rows.
    """
    if missing := [c for c in ("level", "tensor", "time", "words") if c not in frame.columns]:
        raise ValueError(f"the frame has no column {', '.join(missing)}")
    if not len(frame):
        raise ValueError("no level between the outermost and the PEs held anything")
    with house_style():
        from matplotlib.patches import Patch

        levels, last = list(dict.fromkeys(frame["level"])), float(frame["time"].max())
        figure, panels = _figure(
            1.1 * len(levels), title, str(frame.attrs.get("note", "")), panels=len(levels)
        )
        edges = np.linspace(0, max(last, 1), POINTS + 1)
        for axes, level in zip(panels, levels, strict=True):
            bottom = np.zeros(POINTS + 1)
            for name in ("weight", "ifmap", "ofmap"):
                rows = frame[(frame["level"] == level) & (frame["tensor"] == name)].sort_values(
                    "time", kind="stable"
                )
                if len(rows):
                    mean = mean_between(
                        rows["time"].to_numpy(float), rows["words"].to_numpy(float), edges
                    )
                    top = bottom + np.append(mean, mean[-1])
                    axes.fill_between(
                        edges, bottom, top, step="post", color=_ROLES[name][0], linewidth=0
                    )
                    bottom = top
            axes.set(xlim=(0, max(last, 1)), ylim=(0, max(1.06 * bottom.max(), 1)))
            axes.set_yticks(_ticks(axes.get_ylim()[1], 4))
            axes.set_ylabel(f"{_printed(str(level))}, words", fontsize=7)
            _time_axis(axes, last)
            axes.yaxis.set_major_formatter(_short)
            axes.tick_params(axis="y", labelsize=7)
            axes.label_outer()
        held = [t for t in ("weight", "ifmap", "ofmap") if (frame["tensor"] == t).any()]
        _legend(panels[0], [Patch(facecolor=_ROLES[t][0], label=t) for t in held])
    return figure


def mean_between(times: Floats, values: Floats, edges: Floats) -> Floats:
    """The mean of a step function between every two edges; it is 0 before its first time and as it
    was last after its last.
    """
    times, values = (
        np.concatenate([[edges[0]], times, [edges[-1]]]),
        np.concatenate([[0.0], values]),
    )
    area = np.concatenate([[0.0], np.cumsum(values * np.diff(times))])
    mean: Floats = np.diff(np.interp(edges, times, area)) / np.diff(edges)
    return mean


# -- parts -----------------------------------------------------------------------------------------


def _role(frame: pd.DataFrame) -> NDArray[np.object_]:
    """What each row is coloured by."""
    role = frame["tensor"].to_numpy(object).copy()
    array = (frame["resource"] == "array").to_numpy()
    moving = frame["what"].isin(("exposed", "ramp", "tail")).to_numpy()
    role[role == ""] = "words"
    role[array] = "pass"
    role[array & moving] = "wait"
    return np.asarray(role)


def _resources(frame: pd.DataFrame) -> list[str]:
    """Resources outermost first, those that did nothing left out."""
    seen = list(dict.fromkeys(frame["resource"]))
    order = [name for name in frame.attrs.get("resources", ()) if name in set(seen)]
    return order + [name for name in seen if name not in set(order)]


def _covered(start: Floats, end: Floats, edges: Floats) -> Floats:
    """The share of the time between every two edges that rows, which do not overlap, cover."""
    if not len(start):
        return np.zeros(len(edges) - 1)
    times = np.stack([start, end], axis=1).ravel()
    done = np.cumsum(end - start)
    covered = np.stack([done - (end - start), done], axis=1).ravel()
    share: Floats = np.diff(np.interp(edges, times, covered)) / np.diff(edges)
    return share


def _add(columns: dict[str, list[Any]], resource: str, role: str, *values: Floats) -> None:
    columns["resource"].append(np.full(len(values[0]), resource, dtype=object))
    columns["role"].append(np.full(len(values[0]), role, dtype=object))
    for name, array in zip(("start", "end", "bottom", "height"), values, strict=True):
        columns[name].append(array)


def _figure(inches: float, title: str, note: str, panels: int = 1) -> tuple[Figure, list[Any]]:
    """A figure with room for so many inches of rows, a legend, a title and a note; and its panels,
    one above the other.
    """
    from matplotlib.figure import Figure as Canvas

    height = inches + 0.85 + 0.2 * bool(title) + 0.18 * bool(note)
    figure = Canvas(figsize=(_WIDTH, height), dpi=150, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")
    if note:
        figure.supxlabel(note, fontsize=6, color="#555555", x=0.01, ha="left")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _time_axis(axes: Axes, last: float) -> None:
    axes.set_xlabel("Cycles", fontsize=8)
    axes.set_xticks(_ticks(last, 8))
    axes.xaxis.set_major_formatter(_short)
    axes.tick_params(axis="x", labelsize=7)


def _ticks(last: float, most: int) -> list[float]:
    """Round numbers from nothing to ``last``."""
    from matplotlib.ticker import MaxNLocator

    return [
        float(t)
        for t in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], integer=True).tick_values(0, last)
        if 0 <= t <= last
    ]


def _short(value: float, _: Any = None) -> str:
    """1500000 is 1.5 M."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _legend(axes: Axes, handles: list[Any]) -> None:
    """Above the first panel, in one line."""
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, borderpad=0,
        ncols=len(handles), fontsize=7, frameon=False, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip


def _printed(name: str) -> str:
    """``noc.ofmap.up`` is NoC ofmap up."""
    first, *rest = name.split(".")
    return " ".join([_PRINTED.get(first, first), *rest])
