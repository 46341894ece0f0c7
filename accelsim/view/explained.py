"""The picture of a layer explained: cycles as a waterfall, energy beside the least, and what one
number of the machine would do.

``LayerExplained.figure`` and ``accelsim explain --plot`` draw it.  ``explained_data`` has what is
drawn, ``explained`` draws just that: three panels, one under the other, readable in one column of a
paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base.adding import sum_in_order
from accelsim.hardware.ports import never_waited_sentence
from accelsim.results.explain import LayerExplained, printed_unit
from accelsim.results.waterfall import CyclePart
from accelsim.view.bars.bar_text import wrapped
from accelsim.view.style import (
    COLUMN,
    FINE,
    GREY,
    GRID,
    INK,
    LOOKS,
    SMALL,
    TENSORS,
    TEXT,
    lighter,
    printed,
    sweep_style,
    usual_role,
)
from accelsim.view.swept.units import unit_of

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KNOBS = 7  # drawn at most, those that help most
LINE = 0.17  # inches a bar
LITTLE = 0.005  # a knob that changes energy x cycles by less is not drawn


def explained_data(x: LayerExplained) -> dict[str, pd.DataFrame]:
    """What the panels show.

    ``cycles``  a row a part: label, role, start, cycles; the last one is the whole
    ``energy``  a row a component: its energy by tensor, what is no tensor's, and the least
    ``knobs``   a row a knob: label, cycles and energy over the machine as it is
    """
    import pandas as pd

    parts, start, rows = [p for p in x.parts if p.cycles], 0, []
    for part in parts:
        resource = part.name.removeprefix("stall_")
        label = part.label.replace(resource, printed(resource))
        rows.append((label, _role(part), start, part.cycles))
        start += part.cycles
    rows.append(("all cycles", "all", 0, start))
    shares = [
        {"component": s.component, "least": s.least, **{t: s.tensors.get(t, 0.0) for t in TENSORS}}
        | {"other": s.total - sum_in_order(s.tensors.values()), "total": s.total}
        for s in x.energy
        if s.total
    ]
    base = x.machine
    knobs: list[tuple[str, float, float]] = []
    for knob in x.knobs:
        if base is None or knob.cycles is None or knob.energy is None:
            continue
        if len(knobs) == KNOBS or abs(knob.product / (base.product or 1) - 1) < LITTLE:
            continue
        verb = "x2" if knob.after > knob.before else "/2"
        ratios = knob.cycles / (base.cycles or 1), knob.energy / (base.energy or 1)
        knobs.append((f"{_short(knob.key)} {verb}", *ratios))
    return {
        "cycles": pd.DataFrame(rows, columns=["label", "role", "start", "cycles"]),
        "energy": pd.DataFrame(shares),
        "knobs": pd.DataFrame(knobs, columns=["label", "cycles", "energy"]),
    }


def _role(part: CyclePart) -> str:
    """Which of the house's colours a part has."""
    roles = {"ideal": "compute", "vector": "vector", "fill_drain": "fill"}
    if part.waits_for:
        return usual_role(part.waits_for) or "buffer"
    return roles.get(part.name, part.name)


def _short(key: str) -> str:
    """A knob's key without what is said anyway: ``levels.sram.capacity_bytes`` is SRAM capacity."""
    words = key.split(".")
    last = {"capacity_bytes": "capacity", "port_bits": "port", "width_bits": "width"}
    if words[0] == "array":
        return f"array {words[1]}"
    return " ".join([printed(words[1]), *(last.get(w, w) for w in words[2:])])


def explained(x: LayerExplained) -> Figure:
    """Three panels: cycles from the ideal on, energy by component and tensor, knobs."""
    data = explained_data(x)
    shown = [name for name in ("cycles", "energy", "knobs") if len(data[name])]
    sizes = [len(data[name]) + 1.6 for name in shown]
    with sweep_style():
        from matplotlib.figure import Figure as Canvas

        title = wrapped(x.name, TEXT, COLUMN * 72 - 6)
        note = never_waited_sentence(x.unlimited)
        height = LINE * sum(sizes) + 0.36 * len(shown) + 0.13 * len(title) + 0.2
        figure = Canvas(figsize=(COLUMN, height), dpi=FINE, layout="constrained")
        figure.suptitle("\n".join(title), fontsize=TEXT, fontweight="bold", x=0.01, ha="left")
        panels = figure.subplots(len(shown), 1, height_ratios=sizes, squeeze=False)[:, 0]
        draw = {"cycles": _draw_cycles, "energy": _draw_energy, "knobs": _draw_knobs}
        for axes, name in zip(panels, shown, strict=True):
            draw[name](axes, data[name], x)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.tick_params(labelsize=SMALL)
            axes.grid(axis="x", color=GRID, linewidth=0.5)
            axes.set_axisbelow(True)
        if note:
            figure.supxlabel(note, fontsize=SMALL, color=GREY, x=0.01, ha="left")
    return figure


def _colour(role: str) -> str:
    own = {"edges": "#8C8C8C", "tails": lighter("#8C8C8C", 0.45), "all": INK}
    return own.get(role) or LOOKS[role].colour


def _draw_cycles(axes: Axes, rows: pd.DataFrame, x: LayerExplained) -> None:
    """Each part begins where the one above ends."""
    places = np.arange(len(rows))
    axes.barh(
        places, rows["cycles"], 0.72, rows["start"], color=[_colour(r) for r in rows["role"]],
    )  # fmt: skip
    ends = (rows["start"] + rows["cycles"]).to_numpy(float)
    for place in places[:-1]:
        axes.plot([ends[place]] * 2, [place, place + 1], color=GREY, linewidth=0.6)
    for place, (cycles, end) in enumerate(zip(rows["cycles"], ends, strict=True)):
        _beside(axes, place, end, _percent(cycles, x.cycles), x.cycles)
    _names(axes, list(rows["label"]))
    axes.set_xlim(0, x.cycles * 1.16)
    _engineering(axes)
    axes.set_xlabel("cycles", fontsize=TEXT)


def _draw_energy(axes: Axes, rows: pd.DataFrame, x: LayerExplained) -> None:
    """Stacked by tensor; a line in front of each bar is the least."""
    places, base = np.arange(len(rows)), np.zeros(len(rows))
    unit, below = 1.0, f"energy ({printed_unit(x.unit)})"
    if x.unit == "pj":
        unit, below = unit_of(float(rows["total"].max()), "energy_pj")
    for kind in (*TENSORS, "other"):
        values = rows[kind].to_numpy(float) / unit
        if not values.any():
            continue
        role = "compute" if kind == "other" else kind
        label = "no tensor" if kind == "other" else kind
        axes.barh(places, values, 0.72, base, color=LOOKS[role].colour, label=label)
        base = base + values
    least = rows["least"].to_numpy(float) / unit
    axes.vlines(
        least[least > 0], places[least > 0] - 0.45, places[least > 0] + 0.45,
        color="black", linewidth=1.4, label="least",
    )  # fmt: skip
    whole = float(base.max())
    for place, (total, energy) in enumerate(zip(base, rows["total"], strict=True)):
        _beside(axes, place, float(total), _percent(energy, x.spent), whole)
    _names(axes, [printed(name) for name in rows["component"]])
    axes.set_xlim(0, whole * 1.16)
    if x.unit == "mac":
        _engineering(axes)
    axes.set_xlabel(below, fontsize=TEXT)
    axes.legend(  # to the right, since on the left there is room beside the bars' names
        fontsize=SMALL, frameon=False, ncols=5, loc="lower right", bbox_to_anchor=(1, 1),
        borderpad=0, borderaxespad=0.2, handlelength=1.0, columnspacing=0.9, handletextpad=0.4,
    )  # fmt: skip


def _draw_knobs(axes: Axes, rows: pd.DataFrame, x: LayerExplained) -> None:
    """Cycles and energy over those of the machine as it is."""
    places = np.arange(len(rows))
    axes.axvline(1, color=INK, linewidth=0.8)
    for name, colour, marker in (
        ("cycles", _colour("compute"), "o"),
        ("energy", _colour("network"), "D"),
    ):
        axes.plot(rows[name], places, marker, color=colour, markersize=4, label=name)
    _names(axes, list(rows["label"]))
    low, high = rows[["cycles", "energy"]].min().min(), rows[["cycles", "energy"]].max().max()
    axes.set_xlim(max(0, min(low, 0.9) - 0.08), max(high, 1.1) + 0.08)
    axes.set_xlabel("over the machine as it is", fontsize=TEXT)
    axes.legend(
        fontsize=SMALL, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1),
        borderpad=0, borderaxespad=0.2, handlelength=1.0, columnspacing=0.9, handletextpad=0.2,
    )  # fmt: skip


def _names(axes: Axes, names: list[str]) -> None:
    """The first bar on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _beside(axes: Axes, place: int, at: float, text: str, whole: float) -> None:
    axes.text(at + 0.01 * whole, place, text, size=SMALL, va="center", color=INK)


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole
    return "<0.1%" if 0 < share < 0.05 else f"{share:.1f}%"


def _engineering(axes: Axes) -> None:
    """Numbers as 200k and 1.5M."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    formatter: Any = EngFormatter(sep="")
    axes.xaxis.set_major_formatter(formatter)
