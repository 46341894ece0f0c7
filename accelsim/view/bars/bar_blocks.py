"""Blocks of bars: one quantity over all layers and series, as tables ready to be drawn.

Called by ``plots``.  A series is what stands side by side for one layer: a dataflow, with the
architecture, engine, direction or batch beside it where these differ too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelsim.view.bars.bar_data import (
    IDS,
    By,
    Floats,
    energy_data,
    latency_data,
    numbers,
    utilization_data,
)
from accelsim.view.bars.bar_text import abbreviated, shortened
from accelsim.view.style import INK, LOOKS, lighter, printed

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

_COMPONENTS = {
    "fill_drain": "fill and drain",
    "stall": "stall",
    "vector": "vector unit",
    "busy": "busy (utilization)",
    "waiting": "waiting (busy + waiting = mapping efficiency)",
}
# How what a series may differ in is told, in a series' name and in the title.
_TAGS = {
    "arch": "{}",
    "set": "{}",
    "dataflow": "{}",
    "engine": "{}",
    "direction": "{}",
    "batch": "batch {}",
}
_SHARED = {"dataflow": "{}", "batch": "batch {}", "engine": "{} engine"}


LONGEST = 60  # characters of a series' name
SEEN = 0.002  # of the tallest bar, below which a part is thinner than a hair


@dataclass(frozen=True)
class BarPart:
    """One colour of the stacks.  ``values`` [layers, series] are NaN where there is a gap."""

    label: str
    colour: str
    ink: str
    hatch: str
    values: Floats


@dataclass
class BarBlock:
    """One quantity over all layers and series (dataflows), ready to be drawn.

    ``gaps`` [layers, series] say why there is no bar; an empty text where there is one.  Ticks are
    printed over ``scale`` with ``suffix``; ``top`` is the tallest stack, later the axis' end.
    """

    title: str
    layers: list[str]
    series: list[str]
    parts: list[BarPart]
    gaps: NDArray[np.object_]
    label: str
    scale: float = 1.0
    suffix: str = ""
    top: float = 0.0
    ticks: list[float] = field(default_factory=list)

    @property
    def told(self) -> list[BarPart]:
        """The parts that a legend names: those that some bar shows."""
        least = SEEN * self.top
        return [part for part in self.parts if np.nanmax(part.values, initial=0) >= least]

    def tick_label(self, value: float) -> str:
        """A tick's number, all with as many decimals as the finest needs."""
        decimals = max(
            (len(f"{t / self.scale:.6g}".partition(".")[2]) for t in self.ticks), default=0
        )
        return f"{value / self.scale:.{decimals}f} {self.suffix}".rstrip() if value else "0"


def energy_block(frame: pd.DataFrame, by: By) -> BarBlock:
    """Energy in a unit that keeps the numbers short."""
    data = energy_data(frame, by)
    block = _block(data, "energy", "")
    power = max(0, 3 * math.floor(math.log10(block.top) / 3 + 1e-12)) if block.top > 0 else 0
    if data["unit"].iloc[0] == "pj":
        power = min(power, 12)
        unit = {0: "pJ", 3: "nJ", 6: "µJ", 9: "mJ", 12: "J"}[power]
    else:
        unit = rf"$10^{{{power}}}$ MAC energies" if power else "MAC energies"
    block.label, block.scale = f"Energy ({unit})", 10.0**power
    return block


def latency_block(frame: pd.DataFrame) -> BarBlock:
    """Cycles; the axis says so where no column tells of stalls."""
    data = latency_data(frame)
    stalls = any(
        np.isfinite(numbers(frame, str(c))).any()
        for c in frame.columns
        if re.fullmatch(r"stall_(.+_)?cycles", str(c))
    )
    block = _block(data, "cycles", "Cycles" if stalls else "Cycles (stalls not known)")
    power = min(15, 3 * math.floor(math.log10(block.top) / 3 + 1e-12)) if block.top >= 1e4 else 0
    block.scale = 10.0**power
    block.suffix = {0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}[power]
    return block


def utilization_block(frame: pd.DataFrame) -> BarBlock:
    """Shares of the array's slots in percent; what is not mapped is left white."""
    data = utilization_data(frame)
    block = _block(data[data["component"] != "unmapped"], "share", "Share of PE slots")
    block.top, block.scale, block.suffix = 1.0, 0.01, "%"
    return block


def _block(data: pd.DataFrame, value: str, label: str) -> BarBlock:
    """From tidy data to tables of layer by series, one per component that is ever more than
    nothing.  Raises ValueError where two rows would be one bar.
    """
    first = data[data["component"] == data["component"].iloc[0]]
    layers, series, title = _names(first)
    _refuse_doubles(layers, series)
    rows, columns = _codes(layers), _codes(series)
    at = (np.array([rows[x] for x in layers]), np.array([columns[x] for x in series]))
    gaps = np.full((len(rows), len(columns)), "no data", dtype=object)
    gaps[at] = first["gap"].to_numpy()
    parts: list[BarPart] = []
    used: dict[str, int] = {}
    for component, role in data[["component", "role"]].drop_duplicates().itertuples(index=False):
        table = np.full(gaps.shape, np.nan)
        table[at] = data.loc[data["component"] == component, value].to_numpy(float)
        if np.nan_to_num(table).any():
            used[role] = used.get(role, -1) + 1
            parts.append(_part(component, role, used[role], table))
    tops = sum((np.nan_to_num(p.values) for p in parts), np.zeros(gaps.shape))
    names = [s if len(s) <= 26 else shortened(abbreviated(s), LONGEST) for s in columns]
    return BarBlock(title, list(rows), names, parts, gaps, label, top=float(tops.max()))


def _refuse_doubles(layers: list[str], series: list[str]) -> None:
    seen: set[tuple[str, str]] = set()
    for place in zip(layers, series, strict=True):
        if place in seen:
            raise ValueError(
                f"more than one row for layer {place[0]} and {place[1]}: plot one run at a time"
            )
        seen.add(place)


def _part(component: str, role: str, nth: int, values: Floats) -> BarPart:
    """The ``nth`` component of its role, lighter the later it comes."""
    look = LOOKS[role]
    colour = lighter(look.colour, 1 - 0.6**nth)
    ink, hatch = look.ink if nth == 0 else INK, look.hatches[min(nth, 1)]
    return BarPart(_label(component), colour, ink, hatch, values)


def _label(component: str) -> str:
    if component.startswith("stall_"):
        return f"stall: {_label(component.removeprefix('stall_'))}"
    return _COMPONENTS.get(component) or printed(component)


def _names(rows: pd.DataFrame) -> tuple[list[str], list[str], str]:
    """Per row its layer's and its series' name, and a title with all that is the same in every
    row.
    """
    texts = {column: _column_texts(rows, column) for column in IDS}
    varied = _varied(texts, len(rows))
    layers = texts["layer"]
    if varied["workload"]:
        layers = [f"{w}/{x}" for w, x in zip(texts["workload"], layers, strict=True)]
    shown = [c for c in _TAGS if varied[c] or c == "dataflow"]
    series = [
        ", ".join(_TAGS[c].format(texts[c][i]) for c in shown if texts[c][i])
        for i in range(len(rows))
    ]
    same = {c: next((t for t in texts[c] if t), "") if not varied[c] else "" for c in IDS}
    return layers, series, _title(same)


def _column_texts(rows: pd.DataFrame, column: str) -> list[str]:
    """A column as texts; empty where it, or a row of it, has nothing."""
    if column not in rows.columns:
        return [""] * len(rows)
    return ["" if v != v or v is None else str(v) for v in rows[column]]


def _varied(texts: dict[str, list[str]], count: int) -> dict[str, bool]:
    """Which columns have several values.  A direction is told only where one layer has several."""
    varied = {c: len({t for t in texts[c] if t}) > 1 for c in IDS}
    places = [c for c in IDS if c != "direction"]
    distinct = {tuple(texts[c][i] for c in places) for i in range(count)}
    varied["direction"] &= len(distinct) < count
    return varied


def _title(same: dict[str, str]) -> str:
    machine = " with ".join(filter(None, (same["arch"], same["set"])))
    rest = [form.format(same[c]) for c, form in _SHARED.items() if same[c]]
    rest += [same["direction"]] if same["direction"] not in ("", "forward") else []
    return ", ".join(filter(None, (" on ".join(filter(None, (same["workload"], machine))), *rest)))


def _codes(names: Iterable[str]) -> dict[str, int]:
    """Names to numbers in order of appearance."""
    return {name: i for i, name in enumerate(dict.fromkeys(names))}
