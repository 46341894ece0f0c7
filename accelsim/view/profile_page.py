"""A network's profile as a table, and the courses' picture: operations against parameters, a disc
for each network.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10, sqrt
from typing import TYPE_CHECKING

from accelsim.view.plots import house_style
from accelsim.workload.profile import Profile, ProfileRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

HEAD = (
    "layer",
    "type",
    "inputs",
    "output",
    "parameters",
    "MACs",
    "other ops",
    "activations",
    "ops/byte",
    "1 MAC/cycle",
    "note",
)
_LEFT = (0, 1, 2, 3, 10)


def table(profile: Profile) -> str:
    """A line a layer, a total below; activation memory of the total is the peak."""
    head, rule, lines = _lines(
        HEAD, [*(_cells(row) for row in profile.rows), _cells(profile.total)]
    )
    above = f"{profile.workload}, batch {profile.batch}, words of {profile.bits} bits"
    return "\n".join([above, "", head, rule, *lines[:-1], rule, lines[-1]])


def totals(profiles: Sequence[Profile]) -> str:
    """A line a network."""
    rows = [[p.workload, *_cells(p.total)[1:]] for p in profiles]
    head, rule, lines = _lines(("network", *HEAD[1:]), rows)
    return "\n".join([head, rule, *lines])


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, str, list[str]]:
    """The head, a rule and the rows, columns as wide as they need to be; an empty column is left
    out.
    """
    used = [i for i in range(len(head)) if any(r[i] for r in rows)]
    widths = {i: max(len(head[i]), *(len(r[i]) for r in rows)) for i in used}

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cells[i].ljust(widths[i]) if i in _LEFT else cells[i].rjust(widths[i]) for i in used
        ).rstrip()

    return line(head), "  ".join("-" * widths[i] for i in used), [line(r) for r in rows]


def _cells(row: ProfileRow) -> list[str]:
    return [
        row.layer,
        row.type,
        row.inputs,
        row.output,
        _count(row.parameters),
        _count(row.macs),
        _count(row.operations),
        bytes_text(row.activation_bytes),
        f"{row.intensity:.3g}" if row.intensity else "",
        seconds_text(row.time_s) if row.macs else "",
        row.note,
    ]


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ") if number else ""


def bytes_text(number: float) -> str:
    """Bytes in the unit that leaves at most four digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024 or unit == "GB":
            return f"{number:.4g} {unit}"
        number /= 1024
    raise AssertionError("GB ends the loop")


def seconds_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds >= 120:
        return f"{seconds / 60:.3g} min"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


# The picture --------------------------------------------------------------------------------------

_WIDTH, _HEIGHT = 7.2, 4.8
_FAMILIES = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#555555",
    "#882255",
    "#44AA99",
    "#999933",
)
_SMALLEST, _LARGEST = 4.0, 20.0  # radius in points


def discs(profiles: Sequence[Profile]) -> Figure:
    """MACs against parameters, both logarithmic; a disc's area is the network's peak activation
    memory.

    Networks whose names begin alike have one colour.  Returns a figure that belongs to no window.
    Raises ValueError for no networks, or one without parameters or MACs.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    totals = [p.total for p in profiles]
    if not totals:
        raise ValueError("there are no networks to draw")
    for total in totals:
        if not total.parameters or not total.macs:
            raise ValueError(
                f"{total.workload} has no {'MACs' if total.parameters else 'parameters'} to draw"
            )
    with house_style():
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        for limits, values in (
            (axes.set_xlim, [t.macs for t in totals]),
            (axes.set_ylim, [t.parameters for t in totals]),
        ):
            room = max(0.12 * log10(max(values) / min(values)), 0.25)
            limits(min(values) / 10**room, max(values) * 10**room)
        for axis, label in ((axes.xaxis, "MACs for one input"), (axes.yaxis, "parameters")):
            axis.set_major_locator(
                LogLocator(subs=(1.0, 2.0, 5.0), numticks=30)
                if _short_span(axis, axes)
                else LogLocator(numticks=30)
            )
            axis.set_major_formatter(FuncFormatter(lambda v, _: _si(v)))
            axis.set_minor_formatter(NullFormatter())
            axis.set_label_text(label)
        axes.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        most = max(t.activation_bytes for t in totals)
        families = list(dict.fromkeys(_family(t.workload) for t in totals))
        radii = []
        for total in sorted(totals, key=lambda t: -t.activation_bytes):
            radius = max(_LARGEST * sqrt(total.activation_bytes / most), _SMALLEST)
            colour = _FAMILIES[families.index(_family(total.workload)) % len(_FAMILIES)]
            axes.plot(
                total.macs,
                total.parameters,
                "o",
                markersize=2 * radius,
                color=colour,
                alpha=0.16,
                markeredgewidth=0,
            )
            axes.plot(
                total.macs,
                total.parameters,
                "o",
                markersize=2 * radius,
                fillstyle="none",
                color=colour,
                markeredgewidth=0.7,
            )
            axes.plot(total.macs, total.parameters, "o", markersize=2.5, color=colour)
            radii.append((total, radius, colour))
        _label(figure, axes, radii)
        batch, bits = profiles[0].batch, profiles[0].bits
        what = f"disc: peak activation memory, {_of_batch(batch)}{bits}-bit words (largest {bytes_text(most)})"
        axes.set_title(what, fontsize=8.5, loc="left")
        return figure


def _short_span(axis: object, axes: Axes) -> bool:
    low, high = axes.get_xlim() if axis is axes.xaxis else axes.get_ylim()
    return log10(high / low) < 2.6


def _of_batch(batch: int) -> str:
    return f"batch {batch}, " if batch != 1 else ""


def _family(name: str) -> str:
    """The letters a name begins with: resnet50 and resnet18 are one family."""
    letters = ""
    for c in name:
        if not c.isalpha():
            break
        letters += c
    return letters or name


def _si(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def _label(figure: Figure, axes: Axes, discs: Sequence[tuple[ProfileRow, float, str]]) -> None:
    """Names beside their discs where they cover no other name and as few centres as can be, with a
    line if it is far.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call, unused-ignore]
    renderer, scale = canvas.get_renderer(), figure.dpi / 72  # type: ignore[no-untyped-call, unused-ignore]
    inside = axes.get_window_extent(renderer)
    centres = [axes.transData.transform((t.macs, t.parameters)) for t, _, _ in discs]
    taken: list[tuple[float, float, float, float]] = []
    for (total, radius, colour), (x, y) in sorted(
        zip(discs, centres, strict=True), key=lambda item: (-item[1][1], item[1][0])
    ):
        spot_at = (total.macs, total.parameters)
        note = axes.annotate(
            total.workload,
            spot_at,
            (0, 0),
            textcoords="offset points",
            fontsize=7.5,
            color="#222222",
        )
        box = note.get_window_extent(renderer)
        width, height = box.width, box.height
        best: tuple[float, float, float, tuple[float, float, float, float]] | None = None
        for reach in (radius + gap for gap in (2.0, 6.0, 12.0, 20.0, 30.0, 42.0)):
            for dx, dy in (
                (1, 0),
                (-1, 0),
                (0, 1),
                (0, -1),
                (0.8, 0.7),
                (-0.8, 0.7),
                (0.8, -0.7),
                (-0.8, -0.7),
            ):
                left = x + dx * reach * scale - (width if dx < 0 else width / 2 if dx == 0 else 0)
                low = y + dy * reach * scale - (height if dy < 0 else height / 2 if dy == 0 else 0)
                spot = (left - 2, low - 1, left + width + 2, low + height + 1)
                if (
                    spot[0] < inside.x0
                    or spot[2] > inside.x1 + 40 * scale
                    or spot[1] < inside.y0
                    or spot[3] > inside.y1
                ):
                    continue
                hits = sum(_overlap(spot, other) for other in taken)
                dots = sum(
                    _overlap(spot, (a - 3, b - 3, a + 3, b + 3))
                    for a, b in centres
                    if (a, b) != (x, y)
                )
                cost = 100 * hits + 10 * dots + reach / 10 + (abs(dy) > 0 and abs(dx) > 0) * 0.2
                if best is None or cost < best[0]:
                    best = cost, left, low, spot
        if best is None:
            continue
        _, left, low, spot = best
        taken.append(spot)
        _move(note, (left - x) / scale, (low - y) / scale)
        if (
            max(abs(spot[0] - x), abs(spot[1] - y)) > 0
            and _distance((x, y), spot) > (radius + 4) * scale
        ):
            near = min(max(x, spot[0]), spot[2]), min(max(y, spot[1]), spot[3])
            ends = axes.transData.inverted().transform([(x, y), near])
            axes.plot(ends[:, 0], ends[:, 1], color=colour, linewidth=0.6)


def _move(note: Annotation, dx: float, dy: float) -> None:
    note.xyann = (dx, dy)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _distance(point: tuple[float, float], box: tuple[float, float, float, float]) -> float:
    dx = max(box[0] - point[0], 0, point[0] - box[2])
    dy = max(box[1] - point[1], 0, point[1] - box[3])
    return sqrt(dx * dx + dy * dy)
