"""Pictures of a timed run: who was busy with what and when (``gantt``), and what each level held
(``occupancy``).

Both take the frames of a run's timing and return a matplotlib ``Figure`` that belongs to no window.
What is narrower than a point of the picture is merged: where several things happen within one, each
stands as tall as its share of that time.  Colours are those of all pictures: by tensor on ports and
channels, by activity on the array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.view.style import (
    DPI,
    GREY,
    LABEL,
    LOOKS,
    OTHER,
    PALE,
    TENSORS,
    TEXT,
    TITLE,
    WIDTH,
    house_style,
    printed,
)

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

POINTS = 1200  # columns that the time axis is told apart in
# What each role is called in the legend, in the order they are stacked.
_CALLED = {
    "weight": "weight",
    "ifmap": "ifmap",
    "ofmap": "ofmap",
    "words": "inside passes",
    "pass": "passes",
    "wait": "passes: words before and after the MACs",
}
_COLOURS = {tensor: LOOKS[tensor].colour for tensor in TENSORS} | {
    "words": LOOKS[OTHER].colour,
    "pass": LOOKS["compute"].colour,
    "wait": LOOKS["stall"].colour,
}


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
    bars = _Bars()
    last = int(frame["end"].max()) if len(frame) else 0
    step = max(last / points, 1e-9)
    edges = np.linspace(0, max(last, 1), points + 1)
    role = _role(frame)
    for resource in _resources(frame):
        mine = (frame["resource"] == resource).to_numpy()
        bottom = np.zeros(points)
        for name in _CALLED:
            rows = frame[mine & (role == name)].sort_values("start")
            start, end = rows["start"].to_numpy(float), rows["end"].to_numpy(float)
            wide = end - start >= step
            bars.add(resource, name, start[wide], end[wide])
            share = _covered(start[~wide], end[~wide], edges)
            some = share > 0
            bars.add(resource, name, edges[:-1][some], edges[1:][some], bottom[some], share[some])
            bottom += share
    return pd.DataFrame(bars.columns())


class _Bars:
    """Bars as they are found; a bar is as tall as its row unless told otherwise."""

    def __init__(self) -> None:
        self._names = ("resource", "role", "start", "end", "bottom", "height")
        self._groups: list[tuple[NDArray[Any], ...]] = []

    def add(
        self,
        resource: str,
        role: str,
        start: Floats,
        end: Floats,
        bottom: Floats | None = None,
        height: Floats | None = None,
    ) -> None:
        """Bars [bars] of one resource and role."""
        count = len(start)
        self._groups.append(
            (
                np.full(count, resource, dtype=object),
                np.full(count, role, dtype=object),
                start,
                end,
                np.zeros(count) if bottom is None else bottom,
                np.ones(count) if height is None else height,
            )
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """All bars, column by column."""
        if not self._groups:
            return {name: np.zeros(0) for name in self._names}
        joined = (np.concatenate(values) for values in zip(*self._groups, strict=True))
        return dict(zip(self._names, joined, strict=True))


def gantt(frame: pd.DataFrame, title: str = "") -> Figure:
    """One row a resource, the outermost at the top and the array at the bottom, from a timed run's
    ``timeline.to_frame()``.

    Raises ValueError for a frame without its columns, or without rows.
    """
    if not len(frame):
        raise ValueError("the timeline has no rows to draw")
    bars, resources = gantt_data(frame), _resources(frame)
    with house_style():
        from matplotlib.patches import Patch

        rows, last = len(resources), float(frame["end"].max())
        figure, (axes,) = _figure(0.27 * rows, title, str(frame.attrs.get("note", "")))
        place = {name: rows - 1 - k for k, name in enumerate(resources)}
        used = [name for name in _CALLED if (bars["role"] == name).any()]
        for name in used:
            _draw_bars(axes, bars[bars["role"] == name], name, place, last, len(frame) <= 400)
        for k in range(rows):
            axes.axhline(k, color=PALE, linewidth=0.5, zorder=0)
        axes.set(xlim=(0, last), ylim=(0, rows), yticks=[k + 0.5 for k in range(rows)])
        axes.set_yticklabels([printed(name) for name in reversed(resources)], fontsize=TEXT)
        _time_axis(axes, last)
        _legend(axes, [Patch(facecolor=_COLOURS[name], label=_CALLED[name]) for name in used])
    return figure


def _draw_bars(
    axes: Axes, bars: pd.DataFrame, role: str, place: dict[str, int], last: float, few: bool
) -> None:
    """All bars of one role; where there are ``few``, wide neighbours have a line between them."""
    from matplotlib.collections import PolyCollection

    row = bars["resource"].map(place).to_numpy(float)
    low = row + 0.12 + 0.76 * bars["bottom"].to_numpy(float)
    high = low + 0.76 * bars["height"].to_numpy(float)
    left, right = bars["start"].to_numpy(float), bars["end"].to_numpy(float)
    around = ((left, low), (left, high), (right, high), (right, low))
    corners = np.stack([np.stack(corner, axis=1) for corner in around], axis=1)  # [bars, 4, 2]
    lines = np.where((right - left > 4 * last / POINTS) & few, 0.4, 0)
    axes.add_collection(
        PolyCollection(
            list(corners), facecolors=_COLOURS[role], edgecolors="white", linewidths=lines
        )
    )


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
        for axes, level in zip(panels, levels, strict=True):
            top = _stack(axes, frame[frame["level"] == level], max(last, 1))
            axes.set(xlim=(0, max(last, 1)), ylim=(0, max(1.06 * top, 1)))
            axes.set_yticks(_ticks(axes.get_ylim()[1], 4))
            axes.set_ylabel(f"{printed(str(level))}, words", fontsize=TEXT)
            _time_axis(axes, last)
            axes.yaxis.set_major_formatter(_short)
            axes.tick_params(axis="y", labelsize=TEXT)
            axes.label_outer()
        held = [t for t in TENSORS if (frame["tensor"] == t).any()]
        _legend(panels[0], [Patch(facecolor=_COLOURS[t], label=t) for t in held])
    return figure


def _stack(axes: Axes, rows: pd.DataFrame, last: float) -> float:
    """What one level holds, tensor upon tensor; gives the most it holds, in words."""
    edges = np.linspace(0, last, POINTS + 1)
    bottom = np.zeros(POINTS + 1)
    for tensor in TENSORS:
        own = rows[rows["tensor"] == tensor].sort_values("time", kind="stable")
        if not len(own):
            continue
        times, words = own["time"].to_numpy(float), own["words"].to_numpy(float)
        mean = mean_between(times, words, edges)
        top = bottom + np.append(mean, mean[-1])
        axes.fill_between(edges, bottom, top, step="post", color=_COLOURS[tensor], linewidth=0)
        bottom = top
    return float(bottom.max())


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


def _role(frame: pd.DataFrame) -> NDArray[np.object_]:
    """What each row is coloured by."""
    role = frame["tensor"].to_numpy(object).copy()
    array = (frame["resource"] == "array").to_numpy()
    moving = frame["what"].isin(("exposed", "ramp", "tail", "leave", "between")).to_numpy()
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


def _figure(inches: float, title: str, note: str, panels: int = 1) -> tuple[Figure, list[Any]]:
    """A figure with room for so many inches of rows, a legend, a title and a note; and its panels,
    one above the other.
    """
    from matplotlib.figure import Figure as Canvas

    height = inches + 0.85 + 0.2 * bool(title) + 0.18 * bool(note)
    figure = Canvas(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=TITLE, fontweight="bold", x=0.01, ha="left")
    if note:
        figure.supxlabel(note, fontsize=6, color=GREY, x=0.01, ha="left")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _time_axis(axes: Axes, last: float) -> None:
    axes.set_xlabel("Cycles", fontsize=LABEL)
    axes.set_xticks(_ticks(last, 8))
    axes.xaxis.set_major_formatter(_short)
    axes.tick_params(axis="x", labelsize=TEXT)


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
        ncols=len(handles), fontsize=TEXT, frameon=False, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
