"""The courses' picture: operations against parameters, a disc for each network.

``accelsim profile --plot`` draws it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import log10, sqrt
from typing import TYPE_CHECKING, Any

from accelsim.view.pages.profile_page import bytes_text
from accelsim.view.style import FAMILIES, PALE, WIDTH, house_style
from accelsim.workload.profile import Profile, ProfileRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]  # left, low, right, high in pixels

_SMALLEST, _LARGEST = 4.0, 20.0  # radius in points
_REACHES = (2.0, 6.0, 12.0, 20.0, 30.0, 42.0)  # of a name from its disc's edge, in points
_WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.7), (-0.8, 0.7), (0.8, -0.7), (-0.8, -0.7))


@dataclass(frozen=True)
class Disc:
    """One network in the picture; ``radius`` in points."""

    total: ProfileRow
    radius: float
    colour: str

    @property
    def centre(self) -> tuple[float, float]:
        """MACs and parameters."""
        return self.total.macs, self.total.parameters


def discs(profiles: Sequence[Profile]) -> Figure:
    """MACs against parameters, both logarithmic; a disc's area is the network's peak activation
    memory.

    Networks whose names begin alike have one colour.  Returns a figure that belongs to no window.
    Raises ValueError for no networks, or one without parameters or MACs.
    """
    from matplotlib.figure import Figure

    networks = discs_data(profiles)
    with house_style():
        figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
        axes = figure.add_subplot()
        _logarithmic(axes, [d.total for d in networks])
        axes.grid(True, which="major", color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for disc in networks:
            _draw_disc(axes, disc)
        _name_discs(figure, axes, networks)
        batch, bits = profiles[0].batch, profiles[0].bits
        most = bytes_text(max(d.total.activation_bytes for d in networks))
        what = f"{f'batch {batch}, ' if batch != 1 else ''}{bits}-bit words (largest {most})"
        axes.set_title(f"disc: peak activation memory, {what}", fontsize=8.5, loc="left")
        return figure


def discs_data(profiles: Sequence[Profile]) -> list[Disc]:
    """The discs, largest first, so that small ones stand upon large ones.  Raises ValueError."""
    totals = [p.total for p in profiles]
    if not totals:
        raise ValueError("there are no networks to draw")
    for total in totals:
        if not total.parameters or not total.macs:
            raise ValueError(
                f"{total.workload} has no {'MACs' if total.parameters else 'parameters'} to draw"
            )
    most = max(t.activation_bytes for t in totals)
    families = list(dict.fromkeys(_family(t.workload) for t in totals))
    return [
        Disc(
            total,
            max(_LARGEST * sqrt(total.activation_bytes / most), _SMALLEST),
            FAMILIES[families.index(_family(total.workload)) % len(FAMILIES)],
        )
        for total in sorted(totals, key=lambda t: -t.activation_bytes)
    ]


def _logarithmic(axes: Axes, totals: Sequence[ProfileRow]) -> None:
    """Both axes logarithmic, with room for discs at the edges and short numbers at the ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, limits, values, label in (
        (axes.xaxis, axes.set_xlim, [t.macs for t in totals], "MACs for one input"),
        (axes.yaxis, axes.set_ylim, [t.parameters for t in totals], "parameters"),
    ):
        room = max(0.12 * log10(max(values) / min(values)), 0.25)
        low, high = min(values) / 10**room, max(values) * 10**room
        limits(low, high)
        subs = (1.0, 2.0, 5.0) if log10(high / low) < 2.6 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=30))
        axis.set_major_formatter(FuncFormatter(lambda v, _: _si(v)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_label_text(label)


def _draw_disc(axes: Axes, disc: Disc) -> None:
    """A pale area, its edge, and a point in the middle."""
    size, colour = 2 * disc.radius, disc.colour
    axes.plot(*disc.centre, "o", markersize=size, color=colour, alpha=0.16, markeredgewidth=0)
    axes.plot(
        *disc.centre, "o", markersize=size, fillstyle="none", color=colour, markeredgewidth=0.7
    )
    axes.plot(*disc.centre, "o", markersize=2.5, color=colour)


def _family(name: str) -> str:
    """The letters a name begins with: resnet50 and resnet18 are one family."""
    letters = "".join(takewhile(str.isalpha, name))
    return letters or name


def _si(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def _name_discs(figure: Figure, axes: Axes, networks: Sequence[Disc]) -> None:
    """Names beside their discs where they cover no other name and as few centres as can be, with a
    line if it is far.  The highest discs choose first.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, scale = canvas.get_renderer(), figure.dpi / 72
    inside = axes.get_window_extent(renderer)
    room = (inside.x0, inside.y0, inside.x1 + 40 * scale, inside.y1)
    centres = [tuple(axes.transData.transform(d.centre)) for d in networks]
    taken: list[Box] = []
    order = sorted(zip(networks, centres, strict=True), key=lambda at: (-at[1][1], at[1][0]))
    for disc, (x, y) in order:
        note = axes.annotate(
            disc.total.workload,
            disc.centre,
            (0, 0),
            textcoords="offset points",
            fontsize=7.5,
            color="#222222",
        )
        box = note.get_window_extent(renderer)
        spots = _spots((x, y), (box.width, box.height), disc.radius, scale)
        others = [at for at in centres if at != (x, y)]
        spot = _best_spot([s for s in spots if _within(s[1], room)], taken, others)
        if spot is None:
            continue
        taken.append(spot)
        note.xyann = ((spot[0] + 2 - x) / scale, (spot[1] + 1 - y) / scale)
        if _distance((x, y), spot) > (disc.radius + 4) * scale:
            near = min(max(x, spot[0]), spot[2]), min(max(y, spot[1]), spot[3])
            ends = axes.transData.inverted().transform([(x, y), near])
            axes.plot(ends[:, 0], ends[:, 1], color=disc.colour, linewidth=0.6)


def _spots(
    centre: tuple[float, float], size: tuple[float, float], radius: float, scale: float
) -> Iterator[tuple[float, Box]]:
    """Places for a name of that size around its disc, each with what it costs by itself: near is
    better than far, and beside or above a little better than at a corner.
    """
    (x, y), (width, height) = centre, size
    for reach in (radius + gap for gap in _REACHES):
        for dx, dy in _WAYS:
            left = x + dx * reach * scale - (width if dx < 0 else width / 2 if dx == 0 else 0)
            low = y + dy * reach * scale - (height if dy < 0 else height / 2 if dy == 0 else 0)
            slanted = 0.2 if dx and dy else 0.0
            spot = (left - 2, low - 1, left + width + 2, low + height + 1)
            yield reach / 10 + slanted, spot


def _best_spot(
    spots: Sequence[tuple[float, Box]],
    taken: Sequence[Box],
    centres: Sequence[tuple[float, ...]],
) -> Box | None:
    """The first of the cheapest; a name under it costs most, another disc's centre less."""

    def cost(spot: tuple[float, Box]) -> float:
        hits = sum(_overlap(spot[1], other) for other in taken)
        dots = sum(_overlap(spot[1], (a - 3, b - 3, a + 3, b + 3)) for a, b in centres)
        return 100 * hits + 10 * dots + spot[0]

    best = min(spots, key=cost, default=None)
    return None if best is None else best[1]


def _within(box: Box, room: Box) -> bool:
    return not (box[0] < room[0] or box[2] > room[2] or box[1] < room[1] or box[3] > room[3])


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _distance(point: tuple[float, float], box: Box) -> float:
    dx = max(box[0] - point[0], 0, point[0] - box[2])
    dy = max(box[1] - point[1], 0, point[1] - box[3])
    return sqrt(dx * dx + dy * dy)
