"""The roofline of a result: how much work each layer gets out of a byte, and what the array and the
outermost port then allow.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", CACM 52(4), 2009: attainable = min(peak, bandwidth x intensity).  Here
peak is rows x cols MACs a cycle, bandwidth the outermost level's port, and intensity MACs per byte
that crosses it, as counted.  ``roofline_data`` computes, ``roofline`` draws just that.  ``Roof`` is
the geometry of any roofline, the sweeps' too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from accelsim.results.result import Result
from accelsim.view.style import GREY, INK, SMALL, TEXT, series_look, sweep_style
from accelsim.view.swept.canvas import below, canvas, spread
from accelsim.workload.problem import TENSORS

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

    from accelsim.hardware.architecture import Architecture
    from accelsim.mapping.nest import Nest
    from accelsim.results.layer_row import Row

Line = tuple[list[float], list[float]]  # two abscissas and their ordinates
# Where a note may stand, in points from what it is about, and which of its ends: the first that
# covers least is taken.
Beside = tuple[float, float, Literal["left", "center", "right"]]
BESIDE: tuple[Beside, ...] = (
    (4, -10, "left"), (-4, -10, "right"), (0, -12, "center"), (-4, 4, "right"), (4, 4, "left"),
    (7, -3, "left"), (-7, -3, "right"), (4, -18, "left"), (-4, -18, "right"), (0, 5, "center"),
    (16, -12, "center"), (-16, -12, "center"), (0, -20, "center"), (0, -28, "center"),
)  # fmt: skip


@dataclass(frozen=True)
class Roof:
    """``peak`` work per time, and ``bandwidth``: words or bytes per time, None where it has no
    limit.

    Abscissas are work per word or byte (the intensity), ordinates work per time.
    """

    peak: float
    bandwidth: float | None = None

    @property
    def ridge(self) -> float:
        """The least intensity at which the peak can be reached."""
        return self.peak / self.bandwidth if self.bandwidth else 0.0

    def attainable(self, intensity: float) -> float:
        """The lower of the two roofs."""
        return min(self.peak, self._slope(intensity))

    def bound(self, intensity: float) -> str:
        """Which roof is the lower one: ``memory`` or ``compute``."""
        return "memory" if self._slope(intensity) < self.peak else "compute"

    def _slope(self, intensity: float) -> float:
        return np.inf if self.bandwidth is None else self.bandwidth * intensity

    def level(self, low: float, high: float) -> Line:
        """The level roof between two intensities, from the ridge on."""
        return [max(low, self.ridge), high], [self.peak, self.peak]

    def slant(self, low: float, high: float) -> Line:
        """The slanted roof from ``low`` to the ridge, or to ``high`` where that comes before.

        There must be a bandwidth.
        """
        assert self.bandwidth is not None
        ends = [low, min(self.ridge, high)]
        return ends, [self.bandwidth * end for end in ends]


def roofline_data(result: Result) -> pd.DataFrame:
    """One row per mapped layer and dataflow.

    ``macs_per_byte`` are MACs per byte read from and written to the outermost level;
    ``gmacs_per_s`` is what was reached, ``peak_gmacs_per_s`` the array's, ``bandwidth_gb_per_s``
    the port's (NaN: no port, never waited for), ``attainable_gmacs_per_s`` the lower of the two
    roofs, and ``bound`` says which: compute or memory.
    """
    import pandas as pd

    return pd.DataFrame(
        [
            _record(row, row.nest)
            for row in result.rows
            if row.nest is not None and row.columns.get("cycles") is not None
        ]
    )


def _record(row: Row, nest: Nest) -> dict[str, Any]:
    name = nest.arch.level_names[0]
    bits = sum(
        (row.columns[f"{name}_{t}_reads"] + row.columns[f"{name}_{t}_writes"])
        * nest.footprint.word_bits(0, t)
        for t in TENSORS
    )
    intensity = row.columns["macs"] / (bits / 8)
    roof = roof_of(nest.arch)
    return {k: row.columns.get(k) for k in ("workload", "layer", "arch", "dataflow")} | {
        "macs_per_byte": intensity,
        "gmacs_per_s": row.columns["gmacs_per_s"],
        "peak_gmacs_per_s": roof.peak,
        "bandwidth_gb_per_s": np.nan if roof.bandwidth is None else roof.bandwidth,
        "attainable_gmacs_per_s": roof.attainable(intensity),
        "bound": roof.bound(intensity),
    }


def roof_of(arch: Architecture) -> Roof:
    """A machine's roof in 1e9 MACs and 1e9 bytes a second."""
    level = arch.levels[arch.level_names[0]]
    peak = arch.array.rows * arch.array.cols * arch.clock_mhz / 1e3
    if level.port_bits is None:
        return Roof(peak)
    return Roof(peak, level.port_bits * (level.port_clock_mhz or arch.clock_mhz) / 8e3)


def roofline(result: Result) -> Figure:
    """Layers as points under the roofs, one colour and marker a dataflow.  Raises ValueError where
    no layer was mapped.
    """
    data = roofline_data(result)
    if not len(data):
        raise ValueError("roofline: no layer was mapped")
    with sweep_style():
        figure, axes = canvas(f"{result.title}: roofline", 2.9)
        low, high = data["macs_per_byte"].min() / 3, data["macs_per_byte"].max() * 3
        floor, top = data["gmacs_per_s"].min() / 2, data["peak_gmacs_per_s"].max() * 2
        roofs = data.drop_duplicates(["arch", "peak_gmacs_per_s", "bandwidth_gb_per_s"])
        slopes = [_draw_roof(axes, roof, low, high, floor) for _, roof in roofs.iterrows()]
        for place, (flow, rows) in enumerate(data.groupby("dataflow", sort=False)):
            points = rows["macs_per_byte"], rows["gmacs_per_s"]
            axes.scatter(*points, s=14, linewidth=0, label=flow, zorder=3, **series_look(place))
        best = data.loc[data.groupby("layer", sort=False)["gmacs_per_s"].idxmax()]
        clusters = _clusters(best, np.log([high / low, top / floor])) if len(best) <= 12 else []
        named = [_note(axes, names, x, y) for names, x, y in clusters]
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(floor, top))
        spread(axes, "x", [low, high], always=True)
        spread(axes, "y", [floor, top], always=True)
        axes.set(xlabel="MACs per byte of the outermost level", ylabel="10$^9$ MACs a second")
        axes.legend(loc="lower right", frameon=False, fontsize=TEXT)
        below(figure, [result.unlimited])
        points = data[["macs_per_byte", "gmacs_per_s"]].to_numpy(float)
        _place(figure, axes, [*named, *filter(None, slopes)], points)
    return figure


def _clusters(best: pd.DataFrame, span: Any) -> list[tuple[str, float, float]]:
    """Names of layers and where to write them; layers that all but coincide are named together.

    ``span`` is what the axes show, (x, y), in natural logarithms.
    """
    clusters: list[tuple[list[str], float, float]] = []
    for name, x, y in zip(best["layer"], best["macs_per_byte"], best["gmacs_per_s"], strict=True):
        for names, near_x, near_y in clusters:
            if np.all(np.abs(np.log([x / near_x, y / near_y])) < span * (0.16, 0.08)):
                names.append(name)
                break
        else:
            clusters.append(([name], x, y))
    return [(_together(names), x, y) for names, x, y in clusters]


def _together(names: list[str]) -> str:
    """Up to three names, of more the first and the last."""
    return ", ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]} ({len(names)})"


def _draw_roof(
    axes: Axes, machine: Any, low: float, high: float, floor: float
) -> Annotation | None:
    """The roofs of one machine, a row of ``roofline_data``; the slant's note, in its middle."""
    bandwidth = machine["bandwidth_gb_per_s"]
    roof = Roof(machine["peak_gmacs_per_s"], None if np.isnan(bandwidth) else bandwidth)
    axes.axhline(roof.peak, color=GREY, linewidth=0.9)
    _note(axes, f"{machine['arch']}: {roof.peak:.4g} at its peak", low, roof.peak, (4, 3))
    if roof.bandwidth is None:
        return None
    axes.plot(*roof.slant(low, high), color=GREY, linewidth=0.9, linestyle="--")
    middle = float(np.sqrt(max(low, floor / bandwidth) * min(roof.ridge, high)))
    return _note(axes, f"{bandwidth:.4g} GB/s", middle, bandwidth * middle)


def _note(
    axes: Axes, text: str, x: float, y: float, beside: tuple[float, float] = BESIDE[0][:2]
) -> Annotation:
    return axes.annotate(
        text, (x, y), xytext=beside, textcoords="offset points", fontsize=SMALL, color=INK
    )


def _place(figure: Figure, axes: Axes, notes: Sequence[Annotation], points: Any) -> None:
    """Put each note where it covers no other, nor the legend, and least of points and lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn: Any = FigureCanvasAgg(figure)
    drawn.draw()
    renderer = drawn.get_renderer()
    others: list[Any] = [axes.get_legend(), *(t for t in axes.texts if t not in notes)]
    taken, room = [x.get_window_extent(renderer) for x in others], axes.get_window_extent()
    slants = [line for line in axes.lines if line.get_linestyle() == "--"]
    lines = [_along(axes.transData.transform(line.get_xydata())) for line in slants]
    marks = np.vstack([axes.transData.transform(points), *lines])

    def covered(note: Annotation, beside: Beside) -> tuple[float, Any]:
        note.xyann = beside[:2]
        note.set_horizontalalignment(beside[2])
        box = note.get_window_extent(renderer)
        wide = box.padded(figure.dpi / 72)
        outside = not (room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0)
        hidden = sum(wide.overlaps(other) for other in taken)
        inside = ((wide.min < marks) & (marks < wide.max)).all(axis=1)
        return 1000.0 * (outside + hidden) + inside.sum(), box

    for note in notes:
        best = min(BESIDE, key=lambda beside: covered(note, beside)[0])
        taken.append(covered(note, best)[1])


def _along(ends: Any) -> Any:
    """Many places on a straight line."""
    return np.linspace(ends[0], ends[-1], 200)
