"""Figures of a sweep, from its frame: one call each, the data computed first and then drawn.

``energy_latency`` with the Pareto front, ``heat_map`` over two axes, ``energy_by_level``, ``latency_by_layer``,
``roofline``, ``scaling`` with the size of the array.  Each takes the frame of ``sweep`` (a row per layer, or totals where
that is enough), of one workload, and returns a matplotlib ``Figure`` that belongs to no window; ``plots.save`` writes it.
Raises ValueError for a frame that does not have what a figure shows.

Rows without a result are left out, or hatched in the heat map.  Dataflows are told apart by colour (Okabe and Ito's) and by
marker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.explore.pareto import on_front
from accelsim.explore.row_names import energy_column, varied_axes
from accelsim.explore.totals import frame_totals
from accelsim.view import plots
from accelsim.view.plots import house_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
GREY = "#555555"
MOST_BARS = 24
MANY = 1000  # points beyond which they are one picture in an SVG
UNITS = {
    "energy_pj": (("pJ", 1.0), ("nJ", 1e3), ("µJ", 1e6), ("mJ", 1e9), ("J", 1e12)),
    "time_s": (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)),
    "area_um2": (("µm²", 1.0), ("mm²", 1e6)),
}
WORDS = {
    "energy_pj": "Energy",
    "energy_mac": "Energy",
    "time_s": "Latency",
    "cycles": "Latency",
    "area_um2": "Area",
}
PLAIN = {"energy_mac": "MAC energies", "cycles": "cycles"}


# ---------------------------------------------------------------------------------------------- dat


def energy_latency_data(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per architecture and dataflow that has a result: its name, axes, ``latency`` (s),
    ``energy`` and whether on the ``front``.
    """
    totals = _done(frame)
    energy = energy_column(totals)
    found = totals[
        [c for c in ("arch", "set", "dataflow") if c in totals.columns] + varied_axes(totals)
    ].copy()
    found["point"] = _labels(totals)
    found["latency"], found["energy"], found["unit"] = (
        totals["time_s"].astype(float),
        totals[energy].astype(float),
        energy,
    )
    found["front"] = on_front(found, ["latency", "energy"])
    return found.reset_index(drop=True)


def heat_map_data(
    frame: pd.DataFrame, x: str | None = None, y: str | None = None, value: str | None = None
) -> tuple[dict[str, pd.DataFrame], str, str, str]:
    """A table of ``y`` by ``x`` for each dataflow, and the names of x, y and value.

    Where other axes vary too, a cell is the least over them; one without a result is NaN.  The axes
    with the most values are taken if none are named, and the energy.
    """
    totals = frame_totals(_one(frame))
    names = sorted(varied_axes(totals), key=lambda c: -totals[c].nunique())
    x = x or next((n for n in names if n != y), None)
    y = y or next((n for n in names if n != x), None)
    if x is None or y is None:
        raise ValueError("heat_map: the frame has fewer than two axes with several values")
    value = value or energy_column(totals)
    for name in (x, y, value):
        if name not in totals.columns:
            raise ValueError(f"heat_map: the frame has no column {name}")
    tables = {}
    for flow, rows in totals.groupby("dataflow", sort=False):
        table = (
            rows.assign(**{value: rows[value].astype(float)})
            .groupby([y, x], sort=True, dropna=False)[value]
            .min()
            .unstack(x)
        )
        tables[str(flow)] = table
    return tables, x, y, value


def roofline_data(frame: pd.DataFrame, outer: str | None = None) -> pd.DataFrame:
    """A row per layer that has a result: ``macs_per_word`` of the outermost level,
    ``macs_per_cycle``, ``pes`` and what names it.

    Words are reads and writes of all tensors at ``outer``, the first level in the columns if not
    named.
    """
    rows = _one(frame)
    if (rows["layer"] == "total").all():
        raise ValueError("roofline: wants a row per layer, the frame has totals")
    rows = rows[rows["cycles"].notna()]
    levels = [
        str(c).removesuffix("_weight_reads")
        for c in rows.columns
        if str(c).endswith("_weight_reads") and rows[c].notna().any()
    ]
    outer = outer or next(iter(levels), None)
    if outer not in levels:
        raise ValueError(f"roofline: the frame has no counts of a level {outer or ''}".rstrip())
    words = sum(
        rows[f"{outer}_{t}_{way}"].fillna(0).astype(float)
        for t in plots.TENSORS
        for way in ("reads", "writes")
    )
    found = rows[[c for c in ("layer", "arch", "set", "dataflow") if c in rows.columns]].copy()
    found["macs_per_word"] = rows["macs"].astype(float) / words
    found["macs_per_cycle"] = rows["macs"].astype(float) / rows["cycles"].astype(float)
    found["pes"] = _pes(rows)
    found["outer"] = outer
    return found[np.isfinite(found["macs_per_word"])].reset_index(drop=True)


def scaling_data(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per architecture and dataflow: ``pes``, ``cycles``, ``energy``, and whether it is
    ``best``.

    The best are those with fewer cycles than any other of as many PEs or fewer.
    """
    totals = _done(frame)
    energy = energy_column(totals)
    found = totals[[c for c in ("arch", "set", "dataflow") if c in totals.columns]].copy()
    found["pes"], found["cycles"] = _pes(totals), totals["cycles"].astype(float)
    found["energy"], found["unit"] = totals[energy].astype(float), energy
    ordered = found.sort_values(["pes", "cycles"], kind="stable")
    before = ordered.groupby("dataflow")["cycles"].transform(
        lambda c: c.cummin().shift(fill_value=np.inf)
    )
    found["best"] = (ordered["cycles"] < before).reindex(found.index)
    return found.sort_values("pes", kind="stable", ignore_index=True)


# ------------------------------------------------------------------------------------------- figure


def energy_latency(frame: pd.DataFrame) -> Figure:
    """Every architecture and dataflow as a point of energy against latency.

    Those on the Pareto front are joined; its ends and the point of least energy x latency are
    named.
    """
    data = energy_latency_data(frame)
    with _style():
        figure, axes = _canvas(_title(frame, "energy against latency"))
        x, x_label = _scaled(data["latency"], "time_s")
        y, y_label = _scaled(data["energy"], data["unit"].iloc[0])
        for flow, rows, style in _flows(data):
            faint = 0.85 if len(data) < 300 else 0.45
            axes.scatter(
                x[rows.index],
                y[rows.index],
                s=16 if len(data) < 300 else 8,
                alpha=faint,
                linewidth=0,
                label=flow,
                zorder=3,
                rasterized=len(data) > MANY,
                **style,
            )
        best = data[data["front"]].sort_values("latency")
        axes.plot(
            x[best.index],
            y[best.index],
            color="black",
            linewidth=1.0,
            drawstyle="steps-post",
            zorder=4,
            label="Pareto front",
        )
        axes.scatter(
            x[best.index],
            y[best.index],
            s=34,
            facecolor="none",
            edgecolor="black",
            linewidth=0.9,
            zorder=5,
        )
        _spread(axes, "x", x)
        _spread(axes, "y", y)
        _name_points(axes, x[best.index], y[best.index], data["point"][best.index])
        axes.set(xlabel=x_label, ylabel=y_label)
        _legend(axes)
    return figure


def heat_map(
    frame: pd.DataFrame, x: str | None = None, y: str | None = None, value: str | None = None
) -> Figure:
    """A colour for every pair of values of two axes, a panel per dataflow; numbers in the cells if
    there are few.  Hatched: no result.
    """
    tables, x, y, value = heat_map_data(frame, x, y, value)
    names = list(tables)
    with _style():
        from matplotlib.colors import LogNorm, Normalize
        from matplotlib.figure import Figure as Canvas

        flat = np.concatenate([tables[n].to_numpy(float).ravel() for n in names])
        scaled, label = _scaled(_series(flat), value)
        factor = _factor(scaled, flat)
        low, high = np.nanmin(scaled), np.nanmax(scaled)
        norm = LogNorm(low, high) if low > 0 and high / low > 8 else Normalize(low, high)
        columns = len(names) if len(names) <= 3 else math.ceil(math.sqrt(len(names)))
        lines = math.ceil(len(names) / columns)
        wide, tall = tables[names[0]].shape[1], tables[names[0]].shape[0]
        size = min(max(2.0, 0.36 * wide), 7.0 / columns), min(max(1.6, 0.26 * tall), 3.6)
        figure = Canvas(
            figsize=(max(4.2, columns * size[0] + 1.6), lines * size[1] + 1.2),
            dpi=150,
            layout="constrained",
        )
        grid: Any = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        what = WORDS.get(value, value).lower() if value in WORDS else value
        _head(
            figure,
            _title(frame, f"{what}, least over what else varies" if _others(frame, x, y) else what),
        )
        for panel, axes in zip(
            [*names, *[""] * (lines * columns - len(names))], grid.ravel(), strict=True
        ):
            if not panel:
                axes.axis("off")
                continue
            table = tables[panel]
            values = table.to_numpy(float) * factor
            axes.set_facecolor("#DDDDDD")
            axes.patch.set(hatch="////", edgecolor="#999999")
            image = axes.imshow(
                np.ma.masked_invalid(values),
                norm=norm,
                cmap="viridis",
                origin="lower",
                aspect="auto",
                interpolation="nearest",
            )
            _ticks(axes.xaxis, table.columns, 12 if columns == 1 else 8)
            _ticks(axes.yaxis, table.index, 12)
            axes.set_title(panel, fontsize=8)
            if values.size <= 64:
                _numbers(axes, values, norm)
        for place, axes in enumerate(grid.ravel()[: len(names)]):
            if place + columns >= len(names):  # the lowest of its column
                axes.set_xlabel(x)
                axes.tick_params(labelbottom=True)
        for axes in grid[:, 0]:
            axes.set_ylabel(y)
        figure.colorbar(image, ax=grid.ravel().tolist(), label=label, shrink=0.9)
    return figure


def energy_by_level(frame: pd.DataFrame) -> Figure:
    """Stacked energy of each architecture and dataflow, by level and network; the 24 of least
    energy if there are more.
    """
    totals = _done(frame)
    energy = energy_column(totals)
    labels = _labels(totals)
    if totals["set"].nunique() > MOST_BARS:
        least = totals.groupby("set", sort=False)[energy].min().nsmallest(MOST_BARS).index
        keep = totals["set"].isin(least)
        told = f"the {MOST_BARS} of {totals['set'].nunique()} architectures of least energy"
        totals, labels = totals[keep].assign(arch=totals["arch"] + f", {told}"), labels[keep]
    return plots.energy(
        totals.assign(layer=labels).drop(columns=["set", *varied_axes(totals)], errors="ignore")
    )


def latency_by_layer(frame: pd.DataFrame) -> Figure:
    """Stacked cycles of each layer, for each dataflow on the architecture that is fastest under
    it.
    """
    rows = _one(frame)
    if (rows["layer"] == "total").all():
        raise ValueError("latency_by_layer: wants a row per layer, the frame has totals")
    totals = _done(frame)
    best = totals.loc[totals.groupby("dataflow", sort=False)["cycles"].idxmin()]
    keep = rows.merge(best[["arch", "set", "dataflow"]], on=["arch", "set", "dataflow"])
    named = keep.assign(
        dataflow=keep["dataflow"]
        + [f" {label}" if label else "" for label in _labels(keep, within=totals)]
    )
    return plots.latency(named.drop(columns=["set", *varied_axes(rows)], errors="ignore"))


def roofline(
    frame: pd.DataFrame, words_per_cycle: float | None = None, outer: str | None = None
) -> Figure:
    """Every layer as a point: MACs per cycle against MACs per word of the outermost level, under
    the array's roof.

    ``words_per_cycle``, if given, is the bandwidth of the outermost level and draws the slanted
    roof.
    """
    data = roofline_data(frame, outer)
    with _style():
        figure, axes = _canvas(_title(frame, "roofline"))
        for flow, rows, style in _flows(data):
            many = len(data) > 300
            faint: dict[str, Any] = {"s": 8, "alpha": 0.45} if many else {"s": 18, "alpha": 0.85}
            axes.scatter(
                rows["macs_per_word"],
                rows["macs_per_cycle"],
                linewidth=0,
                label=flow,
                zorder=3,
                rasterized=len(data) > MANY,
                **faint,
                **style,
            )
        low, high = data["macs_per_word"].min() / 1.6, data["macs_per_word"].max() * 1.6
        axes.set(xscale="log", yscale="log", xlim=(low, high))
        sizes = sorted(data["pes"].unique())
        for pes in sizes if len(sizes) <= 4 else [sizes[0], sizes[-1]]:
            start = max(low, pes / words_per_cycle) if words_per_cycle else low
            axes.plot([start, high], [pes, pes], color=GREY, linewidth=1.0)
            if start < high:
                axes.annotate(
                    f"{pes:.0f} PEs",
                    (high, pes),
                    (-3, 2),
                    textcoords="offset points",
                    ha="right",
                    size=7,
                    color=GREY,
                )
        if words_per_cycle:
            end = min(high, sizes[-1] / words_per_cycle)
            axes.plot(
                [low, end],
                [low * words_per_cycle, end * words_per_cycle],
                color=GREY,
                linewidth=1.0,
                linestyle="--",
            )
            axes.annotate(
                f"{words_per_cycle:g} words a cycle",
                (low, low * words_per_cycle),
                (4, 6),
                textcoords="offset points",
                size=7,
                color=GREY,
            )
        axes.set_ylim(data["macs_per_cycle"].min() / 1.6, sizes[-1] * 1.8)
        axes.set(
            xlabel=f"MACs per word of {plots._printed(data['outer'].iloc[0])}",
            ylabel="MACs per cycle",
        )
        _legend(axes)
    return figure


def scaling(frame: pd.DataFrame) -> Figure:
    """Cycles and energy against the number of PEs.

    Arrays that are faster than all of their size and smaller ones are joined, the others faint;
    dashed is ideal scaling.
    """
    data = scaling_data(frame)
    if data["pes"].nunique() < 2:
        raise ValueError("scaling: the frame has arrays of one size only")
    with _style():
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(7.2, 3.1), dpi=150, layout="constrained")
        _head(figure, _title(frame, "scaling with the size of the array"))
        left, right = figure.subplots(1, 2)
        energy, energy_label = _scaled(data["energy"], data["unit"].iloc[0])
        cycles, cycles_label = _scaled(data["cycles"], "cycles")
        for flow, rows, style in _flows(data):
            best = rows[rows["best"]].sort_values("pes")
            for axes, values in ((left, cycles), (right, energy)):
                axes.scatter(
                    rows["pes"],
                    values[rows.index],
                    s=7,
                    alpha=0.3,
                    linewidth=0,
                    rasterized=len(data) > MANY,
                    **style,
                )
                few = len(best) <= 30
                joined = (
                    1.1 if few or axes is left else 0.0
                )  # energies of many shapes go up and down
                axes.plot(
                    best["pes"],
                    values[best.index],
                    linewidth=joined,
                    markersize=4 if few else 2.5,
                    label=flow,
                    **style,
                )
        first = data[data["best"]].sort_values(["pes", "cycles"]).iloc[0]
        ends = np.array([data["pes"].min(), data["pes"].max()])
        left.plot(
            ends,
            cycles[first.name] * first["pes"] / ends,
            color=GREY,
            linewidth=1.0,
            linestyle="--",
            label="ideal",
        )
        left.set(xscale="log", xlabel="PEs", ylabel=cycles_label)
        _spread(left, "y", cycles, always=True)
        right.set(xscale="log", xlabel="PEs", ylabel=energy_label, ylim=(0, None))
        for axes in (left, right):
            _sizes(axes, sorted(data["pes"].unique()))
        _legend(left)
    return figure


def every(frame: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Names and figures of all that the frame has the data for, workload by workload."""
    kinds: Sequence[tuple[str, Callable[[pd.DataFrame], Figure]]] = (
        ("energy_latency", energy_latency),
        ("heat_map", heat_map),
        ("energy_by_level", energy_by_level),
        ("latency_by_layer", latency_by_layer),
        ("roofline", roofline),
        ("scaling", scaling),
    )
    networks = list(dict.fromkeys(frame["workload"]))
    for network in networks:
        for name, draw in kinds:
            try:
                figure = draw(frame[frame["workload"] == network])
            except ValueError:
                continue
            yield (name if len(networks) == 1 else f"{network}_{name}"), figure


# ------------------------------------------------------------------------------------------- helper


def _one(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, if it is of one workload, engine, direction and batch."""
    if missing := [
        c for c in ("workload", "layer", "dataflow", "cycles") if c not in frame.columns
    ]:
        raise ValueError(f"the frame has no column {', '.join(missing)}")
    if not len(frame):
        raise ValueError("the frame has no rows to plot")
    for name in ("workload", "engine", "direction", "batch"):
        if (
            name in frame.columns
            and frame[name].nunique() > 1
            and not (name == "batch" and frame["layer"].nunique() > 1)
        ):
            some = ", ".join(str(v) for v in frame[name].unique()[:3])
            raise ValueError(
                f"the frame has several of {name} ({some}): plot the rows of one at a time"
            )
    return frame


def _done(frame: pd.DataFrame) -> pd.DataFrame:
    """Totals of the architectures and dataflows that have a result."""
    totals = frame_totals(_one(frame))
    totals = totals[totals["cycles"].notna()].reset_index(drop=True)
    if not len(totals):
        raise ValueError("the frame has no network all of whose layers have a result")
    return totals


def _pes(rows: pd.DataFrame) -> Any:
    return (
        rows["macs"].astype(float)
        / rows["utilization"].astype(float)
        / rows["cycles"].astype(float)
    ).round()


def _labels(rows: pd.DataFrame, within: pd.DataFrame | None = None) -> Any:
    """What tells an architecture from the others, short: ``32x8``, or ``rows 32, glb 64 KB``."""
    names = varied_axes(rows if within is None else within)
    array = [n for n in ("array.rows", "array.cols") if n in names]
    array = array if len(array) == 2 else []
    texts = []
    for row in rows[names].itertuples(index=False):
        values = dict(zip(names, row, strict=True))
        parts = ["x".join(_short(values[n]) for n in array)] if array else []
        texts.append(
            ", ".join([*parts, *(_setting(n, values[n]) for n in names if n not in array)])
        )
    return _series(np.array(texts, dtype=object), rows.index)


def _setting(key: str, value: Any) -> str:
    """``rows 32``, ``glb 64 KB``, ``overlap True``."""
    steps = key.split(".")
    if steps[-1] != "capacity_bytes" or not isinstance(value, (int, float)) or value != value:
        return f"{steps[-1]} {_short(value)}"
    size, unit = next(((s, u) for s, u in ((2**20, "MB"), (2**10, "KB")) if value >= s), (1, "B"))
    return f"{steps[-2]} {value / size:.4g} {unit}"


def _short(value: Any) -> str:
    return (
        f"{value:g}"
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else str(value)
    )


def _series(values: Any, index: Any = None) -> Any:
    import pandas as pd

    return pd.Series(values, index=index)


def _title(frame: pd.DataFrame, what: str) -> str:
    """What all rows share, then what is shown."""
    names = [
        str(frame[c].iloc[0])
        for c in ("workload", "arch")
        if c in frame.columns and frame[c].nunique() == 1
    ]
    return f"{' on '.join(names)}: {what}" if names else what


def _others(frame: pd.DataFrame, x: str, y: str) -> list[str]:
    return [n for n in varied_axes(frame) if n not in (x, y)]


def _flows(data: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Each dataflow's name, rows, and how it is drawn."""
    for k, (flow, rows) in enumerate(data.groupby("dataflow", sort=False)):
        yield (
            str(flow),
            rows,
            {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]},
        )


def _scaled(values: Any, name: str) -> tuple[Any, str]:
    """Values in a unit that keeps the numbers short, and the axis' label."""
    word = WORDS.get(name, name)
    top = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    if name in UNITS:
        unit, size = next(((u, s) for u, s in reversed(UNITS[name]) if top >= s), UNITS[name][0])
        return values / size, f"{word} ({unit})"
    power = 3 * math.floor(math.log10(top) / 3) if top >= 1e4 else 0
    unit = PLAIN.get(name, "")
    if power:
        unit = rf"$10^{{{power}}}$ {unit}".rstrip()
    return values / 10.0**power, f"{word} ({unit})" if unit else word


def _factor(scaled: Any, values: Any) -> float:
    at = int(np.nanargmax(np.abs(values)))
    return float(scaled[at] / values[at]) if values[at] else 1.0


@contextmanager
def _style() -> Iterator[None]:
    """The house's style with the sizes of text of the other figures."""
    import matplotlib

    sizes: Any = {
        "font.size": 7.5,
        "axes.labelsize": 8,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }
    with house_style(), matplotlib.rc_context(sizes):
        yield


def _head(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")


def _canvas(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(5.6, 3.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    _head(figure, title)
    axes.grid(color="#D9D9D9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _spread(axes: Axes, which: str, values: Any, *, always: bool = False) -> None:
    """A logarithmic axis where values lie far apart, or ``always``, with plain numbers at its
    ticks.
    """
    low, high = float(np.min(values)), float(np.max(values))
    if low <= 0 or (high / low < 8 and not always):
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def _sizes(axes: Axes, sizes: list[float]) -> None:
    """Ticks at sizes of the array, as many as there is room for."""
    from matplotlib.ticker import NullFormatter, NullLocator

    shown: list[float] = []
    room = math.log(sizes[-1] / sizes[0]) / 7
    for size in sizes:
        if not shown or math.log(size / shown[-1]) >= room:
            shown.append(size)
    axes.set_xticks(shown, [f"{s:.0f}" for s in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="#D9D9D9", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _name_points(axes: Axes, x: Any, y: Any, labels: Any) -> None:
    """Both ends of the front and the point of least product, where they have names."""
    from matplotlib.patheffects import withStroke

    if not len(x):
        return
    xs, ys, names = np.asarray(x), np.asarray(y), list(labels)
    wanted = {0: (5, 4), len(xs) - 1: (5, -9)} if len(xs) > 1 else {0: (5, 4)}
    wanted.setdefault(int(np.argmin(xs * ys)), (5, -2))
    for i, (right, up) in wanted.items():
        if names[i]:
            axes.annotate(
                names[i], (xs[i], ys[i]), (right, up), textcoords="offset points", size=7, zorder=6,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )  # fmt: skip


def _ticks(axis: Any, values: Any, most: int) -> None:
    step = math.ceil(len(values) / most)
    places = list(range(0, len(values), step))
    axis.set_ticks(places, [_short(values[i]) for i in places])


def _numbers(axes: Axes, values: Any, norm: Any) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "black" if norm(value) > 0.6 else "white"
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", size=6, color=ink)


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=7, loc="best")
