"""Figures of a result frame: where the energy, the cycles and the array's slots went, per layer and
dataflow.

The data stand apart from the drawing.  ``energy_data``, ``latency_data`` and ``utilization_data`` give one tidy
row per layer, dataflow and component; ``energy``, ``latency``, ``utilization`` and ``demo`` draw just that and
return a matplotlib ``Figure`` that belongs to no window and needs no display.  ``save`` writes it.

A row that could not be mapped (no cycles) or whose check failed (a text in ``error``) has NaN in the data and the
reason in ``gap``, and is a labelled gap in the figure.  A row whose layer is ``total`` is left out.

Few bars stand side by side, grouped by layer; many stand in one panel per dataflow with shared axes.
Colours are Okabe and Ito's, fixed per role, and every role has its own hatching, so that the figures can be
told apart in grey too.
"""

from __future__ import annotations

import math
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
By = Literal["level", "tensor"]

TENSORS = ("weight", "ifmap", "ofmap")
UNITS = ("mac", "pj")
IDS = ("workload", "layer", "arch", "set", "dataflow", "engine", "direction", "batch")
OTHER = "other"

# ---------------------------------------------------------------------------------------------- dat


def energy_data(frame: pd.DataFrame, by: By = "level") -> pd.DataFrame:
    """Energy per layer, dataflow and component: columns of identity, component, role, energy, unit,
    gap.

    The components of a row add up to its ``energy_{unit}``; what the parts leave over is ``other``.
    ``by="level"`` has compute, networks and levels, innermost first; ``by="tensor"`` compute and
    the tensors.
    """
    if by not in ("level", "tensor"):
        raise ValueError(f"by: must be level or tensor, got {by}")
    frame = _usable(frame)
    unit = _unit(frame)
    columns = _energy_columns(frame, unit)
    total = _numbers(frame, f"energy_{unit}")
    if by == "level":
        roles = _roles(frame, [c for c in columns if c not in TENSORS])
    else:
        roles = {c: c for c in ("compute", *TENSORS) if c in columns}
        if not set(TENSORS) & set(roles) and np.isfinite(total).any():
            raise ValueError(
                f"no column energy_{{tensor}}_{unit}: this frame has no energy by tensor"
            )
    parts = {c: _numbers(frame, columns[c]) for c in roles}
    if not parts:
        parts, roles = {OTHER: np.zeros(len(frame))}, {OTHER: OTHER}
    _close(parts, roles, total, f"energy_{unit}")
    return _tidy(frame, parts, roles, total, "energy", {"unit": unit})


def latency_data(frame: pd.DataFrame) -> pd.DataFrame:
    """Cycles per layer, dataflow and component: compute, fill_drain, stall_{resource}; they add up
    to ``cycles``.

    Stalls without a resource are ``stall``; cycles without any cause are ``other``.
    """
    frame = _usable(frame)
    total = _numbers(frame, "cycles")
    found = {
        m[1]: str(c) for c in frame.columns if (m := re.fullmatch(r"stall_(.+)_cycles", str(c)))
    }
    resources = _roles(frame, list(found))
    roles = {"compute": "compute", "fill_drain": "fill"} | {
        f"stall_{r}": role for r, role in resources.items()
    }
    computing, beside = _numbers(frame, "compute_cycles"), _beside(frame)
    parts = {"compute": np.where(beside, 0.0, computing)}
    if beside.any():
        parts["vector"], roles["vector"] = np.where(beside, computing, 0.0), "vector"
    parts["fill_drain"] = _numbers(frame, "fill_drain_cycles")
    parts |= {f"stall_{r}": _numbers(frame, found[r]) for r in resources}
    named = sum((np.nan_to_num(parts[f"stall_{r}"]) for r in resources), np.zeros(len(frame)))
    if (rest := np.maximum(np.nan_to_num(_numbers(frame, "stall_cycles")) - named, 0)).any():
        parts["stall"], roles["stall"] = rest, "stall"
    _close(parts, roles, total, "cycles")
    return _tidy(frame, parts, roles, total, "cycles", {})


def utilization_data(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of the array's slots per layer, dataflow and component; they add up to 1.

    ``busy`` is ``utilization``; ``waiting`` what filling, draining and stalls cost (up to
    ``mapping_efficiency``); ``unmapped`` the rest: slots the mapping leaves empty, or all of it
    where the efficiency is not known.
    """
    frame = _usable(frame)
    frame = frame[~_beside(frame)].reset_index(
        drop=True
    )  # the vector unit has no share of the array
    busy = _numbers(frame, "utilization")
    mapped = np.fmin(np.fmax(_numbers(frame, "mapping_efficiency"), busy), np.fmax(busy, 1))
    parts = {"busy": busy, "waiting": mapped - busy, "unmapped": np.maximum(1 - mapped, 0)}
    return _tidy(
        frame, parts, {"busy": "compute", "waiting": "fill", "unmapped": OTHER}, busy, "share", {}
    )


def _beside(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows are the vector unit's."""
    return np.array([text == "vector unit" for text in _texts(frame, "mapping")], bool)


def _usable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without totals, checked to have what every figure needs."""
    if missing := [c for c in ("layer", "dataflow") if c not in frame.columns]:
        raise ValueError(f"the frame has no column {', '.join(missing)}")
    frame = frame[frame["layer"].astype(str).str.lower() != "total"].reset_index(drop=True)
    if not len(frame):
        raise ValueError("the frame has no rows to plot")
    if "cycles" not in frame.columns and not all(_texts(frame, "error")):
        raise ValueError("the frame has no column cycles")
    return frame


def _texts(frame: pd.DataFrame, column: str) -> list[str]:
    """A column's texts, empty where it has none."""
    return [
        v.strip() if isinstance(v, str) else ""
        for v in (frame[column] if column in frame.columns else [""] * len(frame))
    ]


def _numbers(frame: pd.DataFrame, column: str) -> Floats:
    """A column as floats, NaN where it has none."""
    import pandas as pd

    if column not in frame.columns:
        return np.full(len(frame), np.nan)
    return np.asarray(
        pd.to_numeric(frame[column], errors="coerce")
        .astype("Float64")
        .to_numpy(float, na_value=np.nan)
    )


def _unit(frame: pd.DataFrame) -> str:
    """The one unit of energy in the frame."""
    have = [u for u in UNITS if np.isfinite(_numbers(frame, f"energy_{u}")).any()]
    have = (
        have
        or [u for u in UNITS if f"energy_{u}" in frame.columns]
        or ["mac"] * all(_texts(frame, "error"))
    )
    if not have:
        raise ValueError("the frame has no column energy_mac or energy_pj")
    if len(have) > 1:
        raise ValueError(
            "the frame has energy in two units, mac and pj: plot the rows of one at a time"
        )
    return have[0]


def _energy_columns(frame: pd.DataFrame, unit: str) -> dict[str, str]:
    """Component or tensor to column; a component's share of one tensor (``dram_weight``) is left
    out.
    """
    found = {
        m[1]: str(c) for c in frame.columns if (m := re.fullmatch(rf"energy_(.+)_{unit}", str(c)))
    }
    nested = re.compile(rf"(.+)_({'|'.join(TENSORS)})")
    return {
        name: column
        for name, column in found.items()
        if not ((m := nested.fullmatch(name)) and m[1] in found)
    }


def _roles(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, str]:
    """What each component is, innermost first.  Networks are known by their counts, the rest by
    name, then by place.
    """
    columns = [str(c) for c in frame.columns]
    counted = {
        m[1]
        for c in columns
        if (m := re.fullmatch(rf"(.+)_({'|'.join(TENSORS)})_(deliveries|additions)", c))
    }
    known = {
        "compute": r"compute|macs?|alu",
        "vector": r"vector.*",
        "network": r"(noc|link|links|bus|lines|net|network|mesh|interconnect)(_.*)?",
        "pe": r"(spad|reg|rf|register|pe|scratchpad|latch).*",
        "dram": r"(dram|hbm|ddr|lpddr|off_?chip|main_?memory).*",
        "buffer": r"(glb|sram|ub|acc|gbuf|buf|.*buffer|l[123]$|.?buf).*",
        OTHER: r"static|leakage|idle|other",
    }
    roles: dict[str, str] = {}
    for name in names:
        role = next((r for r, pattern in known.items() if re.fullmatch(pattern, name.lower())), "")
        roles[name] = "network" if name in counted else role
    unknown = [n for n in names if not roles[n]]
    for place, name in enumerate(unknown):
        first, last = (
            place == 0 and "dram" not in roles.values(),
            place == len(unknown) - 1 and "pe" not in roles.values(),
        )
        roles[name] = "dram" if first and len(unknown) > 1 else "pe" if last and place else "buffer"
    order = ["compute", "vector", "pe", "network", "buffer", "dram", OTHER]
    return {name: roles[name] for role in order for name in reversed(names) if roles[name] == role}


def _close(parts: dict[str, Floats], roles: dict[str, str], total: Floats, what: str) -> None:
    """Adds what the parts leave of the total as ``other``; parts above the total are an error."""
    rest = np.nan_to_num(
        total - sum((np.nan_to_num(p) for p in parts.values()), np.zeros(len(total)))
    )
    slack = 1e-6 * np.abs(np.nan_to_num(total)) + 1e-9
    if (rest < -slack).any():
        raise ValueError(f"{what}: the parts ({', '.join(parts)}) are more than the total")
    if (rest > slack).any():
        parts[OTHER] = parts.get(OTHER, np.zeros(len(total))) + np.where(rest > slack, rest, 0)
        roles[OTHER] = OTHER


def _tidy(
    frame: pd.DataFrame,
    parts: dict[str, Floats],
    roles: dict[str, str],
    total: Floats,
    value: str,
    more: dict[str, str],
) -> pd.DataFrame:
    """One row per row of ``frame`` and component; NaN, and a reason in ``gap``, where there is
    nothing to show.
    """
    import pandas as pd

    gaps = np.array(_gaps(frame, total), dtype=object)
    values = np.column_stack([np.nan_to_num(p) for p in parts.values()])
    values[gaps != ""] = np.nan
    tidy = pd.DataFrame(
        {c: np.repeat(frame[c].to_numpy(), len(parts)) for c in IDS if c in frame.columns}
    )
    tidy["component"] = np.tile(np.array(list(parts), dtype=object), len(frame))
    tidy["role"] = np.tile(np.array([roles[c] for c in parts], dtype=object), len(frame))
    tidy[value] = values.ravel()
    for name, constant in more.items():
        tidy[name] = constant
    tidy["gap"] = np.repeat(gaps, len(parts))
    return tidy


def _gaps(frame: pd.DataFrame, total: Floats) -> list[str]:
    """Per row why it has no bar, or nothing."""
    gaps = []
    measured = np.isfinite(_numbers(frame, "cycles"))
    for there, timed, status, error in zip(
        np.isfinite(total), measured, _texts(frame, "status"), _texts(frame, "error"), strict=True
    ):
        reason = "" if timed and there else "no data" if timed else "not mapped"
        if error and timed:
            reason = "check failed"
        if reason and status.lower() not in ("", "ok", "done") and len(status) <= 12:
            reason = status
        gaps.append(reason)
    return gaps


# ------------------------------------------------------------------------------------------- figure


def energy(frame: pd.DataFrame, by: By = "level") -> Figure:
    """Stacked bars of energy per layer and dataflow, by storage level and network or by tensor."""
    return _draw([_energy_block(frame, by)])


def latency(frame: pd.DataFrame) -> Figure:
    """Stacked bars of cycles per layer and dataflow: compute, fill and drain, stalls by what was
    waited for.
    """
    return _draw([_latency_block(frame)])


def utilization(frame: pd.DataFrame) -> Figure:
    """Share of the array's slots doing a MAC, and above it the share lost to filling, draining and
    stalls.
    """
    data = utilization_data(frame)
    block = _block(data[data["component"] != "unmapped"], "share", "Share of PE slots")
    block.top, block.scale, block.suffix = 1.0, 0.01, "%"
    return _draw([block])


def demo(frame: pd.DataFrame) -> Figure:
    """Energy and latency in one figure: side by side when there are few bars, else one above the
    other.
    """
    return _draw([_energy_block(frame, "level"), _latency_block(frame)])


def save(figure: Figure, directory: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    """Writes ``name``.png (150 dpi) and ``name``.svg and returns their paths.  No file is ever half
    written.

    The same figure gives the same bytes: no dates, no random ids.
    """
    if not name or Path(name).name != name:
        raise ValueError(f"name: must be a file name without directory or ending, got {name!r}")
    folder = Path(directory)
    drawn: dict[Path, bytes] = {}
    with house_style():
        for kind, metadata in (("png", {}), ("svg", {"Date": None})):
            target = BytesIO()
            figure.savefig(target, format=kind, dpi=150, metadata=metadata)
            drawn[folder / f"{name}.{kind}"] = target.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in drawn.items():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            draft.write_bytes(content)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    png, svg = drawn
    return png, svg


# ------------------------------------------------------------------------------------------- conten

_SHORT = {
    "weight_stationary": "ws",
    "output_stationary": "os",
    "input_stationary": "is",
    "row_stationary": "rs",
    "no_local_reuse": "nlr",
}
_PRINTED = {"dram": "DRAM", "glb": "GLB", "sram": "SRAM", "noc": "NoC", "ub": "UB"}
_COMPONENTS = {
    "fill_drain": "fill and drain",
    "stall": "stall",
    "vector": "vector unit",
    "busy": "busy (utilization)",
    "waiting": "waiting (busy + waiting = mapping efficiency)",
}
# role: colour, ink of the hatching, hatching of its first and of its further components
_CHOICES = {
    "compute": ("#009E73", "white", ("", "o")),
    "vector": ("#444444", "#DDDDDD", ("", "....")),
    "pe": ("#56B4E9", "#173a52", ("....", "oo")),
    "network": ("#D55E00", "#4a1f00", ("xxxx", "++++")),
    "buffer": ("#E69F00", "#4d3500", ("////", "\\\\\\\\\\")),
    "dram": ("#0072B2", "#9CCBEA", ("\\\\\\\\", "||||")),
    "fill": ("#F0E442", "#555010", ("----", "||||")),
    "stall": ("#CC79A7", "#3d1f30", ("++++", "xxxx")),
    "weight": ("#D55E00", "white", ("////", "")),
    "ifmap": ("#56B4E9", "#173a52", ("....", "")),
    "ofmap": ("#F0E442", "#555010", ("xxxx", "")),
    OTHER: ("#BBBBBB", "#555555", ("", "....")),
}


@dataclass(frozen=True)
class _BarPart:
    """One colour of the stacks."""

    label: str
    colour: str
    ink: str
    hatch: str
    values: Floats  # layer, series; NaN where there is a gap


@dataclass
class _BarBlock:
    """One quantity over all layers and series (dataflows), ready to be drawn."""

    title: str
    layers: list[str]
    series: list[str]
    parts: list[_BarPart]
    gaps: NDArray[np.object_]  # layer, series; empty text where there is a bar
    label: str
    scale: float = 1.0
    suffix: str = ""
    top: float = 0.0
    ticks: list[float] = field(default_factory=list)

    def tick_label(self, value: float) -> str:
        decimals = max(
            (len(f"{t / self.scale:.6g}".partition(".")[2]) for t in self.ticks), default=0
        )
        return f"{value / self.scale:.{decimals}f} {self.suffix}".rstrip() if value else "0"


def _energy_block(frame: pd.DataFrame, by: By) -> _BarBlock:
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


def _latency_block(frame: pd.DataFrame) -> _BarBlock:
    data = latency_data(frame)
    stalls = any(
        np.isfinite(_numbers(frame, str(c))).any()
        for c in frame.columns
        if re.fullmatch(r"stall_(.+_)?cycles", str(c))
    )
    block = _block(data, "cycles", "Cycles" if stalls else "Cycles (stalls not known)")
    power = min(15, 3 * math.floor(math.log10(block.top) / 3 + 1e-12)) if block.top >= 1e4 else 0
    block.scale, block.suffix = (
        10.0**power,
        {0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}[power],
    )
    return block


def _block(data: pd.DataFrame, value: str, label: str) -> _BarBlock:
    """From tidy data to tables of layer by series, one per component that is ever more than
    nothing.
    """
    first = data[data["component"] == data["component"].iloc[0]]
    layers, series, title = _names(first)
    rows, columns = _codes(layers), _codes(series)
    at = (np.array([rows[x] for x in layers]), np.array([columns[x] for x in series]))
    seen: set[tuple[str, str]] = set()
    for place in zip(layers, series, strict=True):
        if place in seen:
            raise ValueError(
                f"more than one row for layer {place[0]} and {place[1]}: plot one run at a time"
            )
        seen.add(place)
    gaps = np.full((len(rows), len(columns)), "no data", dtype=object)
    gaps[at] = first["gap"].to_numpy()
    parts: list[_BarPart] = []
    used: dict[str, int] = {}
    for component, role in data[["component", "role"]].drop_duplicates().itertuples(index=False):
        table = np.full(gaps.shape, np.nan)
        table[at] = data.loc[data["component"] == component, value].to_numpy(float)
        if np.nan_to_num(table).any():
            colour, ink, hatches = _CHOICES[role]
            nth = used[role] = used.get(role, -1) + 1
            colour = _lighter(colour, 1 - 0.6**nth)
            parts.append(
                _BarPart(
                    _printed(component),
                    colour,
                    ink if nth == 0 else "#333333",
                    hatches[min(nth, 1)],
                    table,
                )
            )
    tops = sum((np.nan_to_num(p.values) for p in parts), np.zeros(gaps.shape))
    return _BarBlock(
        title,
        list(rows),
        [s if len(s) <= 26 else _shortened(_abbreviated(s), 26) for s in columns],
        parts,
        gaps,
        label,
        top=float(tops.max()),
    )


def _names(rows: pd.DataFrame) -> tuple[list[str], list[str], str]:
    """Per row its layer's and its series' name, and a title with all that is the same in every
    row.
    """

    def values(column: str) -> list[str]:
        return (
            ["" if v != v or v is None else str(v) for v in rows[column]]
            if column in rows.columns
            else [""] * len(rows)
        )

    texts = {c: values(c) for c in IDS}
    varied = {c: len({t for t in texts[c] if t}) > 1 for c in IDS}
    places = [c for c in IDS if c != "direction"]  # a direction is told where one layer has several
    varied["direction"] &= len(
        {tuple(texts[c][i] for c in places) for i in range(len(rows))}
    ) < len(rows)
    layers = [
        f"{w}/{x}" if varied["workload"] else x
        for w, x in zip(texts["workload"], texts["layer"], strict=True)
    ]
    tags = {
        "arch": "{}",
        "set": "{}",
        "dataflow": "{}",
        "engine": "{}",
        "direction": "{}",
        "batch": "batch {}",
    }
    show = [c for c in tags if varied[c] or c == "dataflow"]
    series = [
        ", ".join(tags[c].format(texts[c][i]) for c in show if texts[c][i])
        for i in range(len(rows))
    ]
    same = {c: next((t for t in texts[c] if t), "") if not varied[c] else "" for c in IDS}
    machine = " with ".join(filter(None, (same["arch"], same["set"])))
    title = " on ".join(filter(None, (same["workload"], machine)))
    rest = [
        form.format(same[c])
        for c, form in (("dataflow", "{}"), ("batch", "batch {}"), ("engine", "{} engine"))
        if same[c]
    ]
    rest += [same["direction"]] if same["direction"] not in ("", "forward") else []
    return layers, series, ", ".join(filter(None, (title, *rest)))


def _codes(names: Iterable[str]) -> dict[str, int]:
    """Names to numbers in order of appearance."""
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


def _printed(component: str) -> str:
    if component.startswith("stall_"):
        return f"stall: {_printed(component.removeprefix('stall_'))}"
    return _COMPONENTS.get(component) or _PRINTED.get(component, component)


def _abbreviated(series: str) -> str:
    """The series' name with the usual two or three letters for a dataflow."""
    for name, letters in _SHORT.items():
        series = re.sub(rf"\b{name.replace('_', '[-_]')}\b", letters, series)
    return series


def _shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters, the middle left out: layers differ at both ends."""
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-half:]}"


def _lighter(colour: str, share: float) -> str:
    return "#" + "".join(f"{round(v + (255 - v) * share):02X}" for v in bytes.fromhex(colour[1:]))


# -------------------------------------------------------------------------------------------- layou
# All lengths are in points.  Every text is measured before anything is placed, so nothing can
# overlap.

_PAGE = 7.2 * 72  # aimed at; more only if the bars need it
_TITLE, _LABEL, _TEXT, _SMALL = 9.0, 8.0, 7.0, 6.5  # font sizes
_SLOT = 16.0  # a bar with its share of the space around it, when there is room
_TIGHT = 8.4  # the same when there is not: an upright line of text
_WIDEST = 12 * 72
_GROUPED = 56  # slots up to which bars are grouped by layer instead of one panel per dataflow
_SPACE = 0.9  # between groups, in slots
_PAD = 5.0
_GREY = "#555555"


@dataclass(frozen=True)
class _FigurePlan:
    """What all blocks of a figure share: where bars stand and how they are named."""

    grouped: bool
    slots: float
    slot: float
    layers: list[str]
    series: list[str]  # as under a bar or beside a panel
    every: int  # of the layer names, one in so many is shown
    upright: bool  # layer names
    series_upright: bool
    series_height: float
    layers_height: float

    @property
    def width(self) -> float:
        return self.slots * self.slot

    @property
    def below(self) -> float:
        """Height of the names under an axis."""
        return self.layers_height + (self.series_height + 2.0 if self.series_height else 0.0) + 5.0

    def bar(self, layer: int, series: int) -> float:
        """The middle of a bar, in slots."""
        return (
            layer * (len(self.series) + _SPACE) + _SPACE / 2 + series + 0.5
            if self.grouped
            else layer + 0.5
        )

    def middle(self, layer: int) -> float:
        return (
            (self.bar(layer, 0) + self.bar(layer, len(self.series) - 1)) / 2
            if self.grouped
            else layer + 0.5
        )


def _plan(block: _BarBlock, least: float) -> _FigurePlan:
    count = len(block.series)
    wide = len(block.layers) * (count + _SPACE)
    grouped = count > 1 and wide <= _GROUPED
    slots = wide if grouped else float(len(block.layers))
    layers = [_shortened(name, 26) for name in block.layers]
    names = [_abbreviated(s) for s in block.series] if grouped else block.series
    across, tall = max(_size(s, _SMALL)[0] for s in names), max(_size(s, _SMALL)[1] for s in names)
    longest = max(_size(name, _TEXT)[0] for name in layers) + 4.5
    wanted = (
        max(_SLOT, longest / (count + _SPACE), across + 2.0)
        if grouped
        else max(1.5 * _SLOT, longest)
    )
    level = (
        across + 1.2 if (across + 1.2) * slots < 1.1 * _PAGE else 0.0
    )  # a little wider, that they stay level
    slot = max(
        min(wanted, 40.0, (_PAGE - 50) / slots),
        min(_TIGHT, _WIDEST / slots),
        least / slots,
        level if grouped else 0.0,
    )
    pitch = slot * (count + _SPACE) if grouped else slot
    size = _TEXT if grouped or len(layers) < 25 else _SMALL
    wides, high = (
        max(_size(name, size)[0] for name in layers),
        max(_size(name, size)[1] for name in layers),
    )
    upright = wides > pitch - 4.0
    every = math.ceil((high + 0.4) / pitch) if upright else 1
    lean = across > slot - 1.0
    return _FigurePlan(
        grouped=grouped,
        slots=slots,
        slot=slot,
        layers=layers,
        series=names,
        every=every,
        upright=upright,
        series_upright=lean,
        series_height=(across if lean else tall) if grouped else 0.0,
        layers_height=wides if upright else high,
    )


def _draw(blocks: list[_BarBlock]) -> Figure:
    """The one drawing routine: title, then per block a legend over its axes; side by side if that
    fits a page.
    """
    with house_style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        for block in blocks:
            block.ticks, block.top = _ticks(block)
        plan = _plan(blocks[0], 170.0)
        panels = 1 if plan.grouped else len(plan.series)
        title = blocks[0].title
        lefts = [_left(block) for block in blocks]
        strip = _TEXT * 1.3 + 8 if panels > 1 else 0.0
        right = strip + 8.0
        beside = (
            len(blocks) > 1
            and panels == 1
            and sum(lefts) + len(blocks) * (plan.width + right) <= 1.1 * _PAGE
        )
        if not beside:
            lefts = [max(lefts)] * len(blocks)
        inner = plan.width
        if not beside and plan.width < _PAGE / 2:  # room for the title and a sensible legend
            inner = max(inner, min(_PAGE - lefts[0] - right, _size(title, _TITLE)[0] + 8))
        width = sum(lefts) + len(blocks) * (inner + right) if beside else lefts[0] + inner + right
        alone = len(blocks) == 1
        tall = {1: 185.0 if alone else 150.0, 2: 92.0, 3: 80.0}.get(panels, 70.0 if alone else 56.0)
        apart = 9.0
        high = panels * tall + (panels - 1) * apart
        strips = (
            plan.series
            if all(_size(s, _TEXT)[0] <= tall for s in plan.series)
            else [_abbreviated(s) for s in plan.series]
        )
        turned = 0 if max(_size(s, _TEXT)[0] for s in strips) <= strip - 4 else 270
        room = (inner if beside else width - lefts[0]) - 4
        keys = [_arranged([p.label for p in block.parts], room) for block in blocks]
        heads = [
            rows * (_TEXT * 1.2) + (rows - 1) * 2.5 + _PAD + 2 if rows else 0.0 for _, rows in keys
        ]
        if beside:
            heads = [max(heads)] * len(blocks)
        title_lines = _wrapped(title, _TITLE, width - 2 * _PAD)
        header = _PAD + len(title_lines) * _TITLE * 1.3 + 3 if title else _PAD
        stacked = [head + high + plan.below + _PAD for head in heads]
        height = header + (stacked[0] if beside else sum(stacked) + (len(blocks) - 1) * 3)
        figure = Figure(figsize=(width / 72, height / 72), dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        if title:
            figure.text(
                _PAD / width, 1 - _PAD / height, "\n".join(title_lines),
                size=_TITLE, weight="bold", va="top", linespacing=1.25, parse_math=False,
            )  # fmt: skip
        x, y = 0.0, height - header
        for block, left, head, (columns, _) in zip(blocks, lefts, heads, keys, strict=True):
            for panel in range(panels):
                base = y - head - high + (panels - 1 - panel) * (tall + apart)
                axes = figure.add_axes(
                    ((x + left) / width, base / height, inner / width, tall / height)
                )
                _fill(axes, block, plan, None if plan.grouped else panel, inner)
                _axis(axes, block, plan, panel == panels - 1)
                if panels > 1:
                    name = _fitting(strips[panel], _TEXT, tall + apart - 4)
                    axes.annotate(
                        name, (1, 0.5), (6, 0), xycoords="axes fraction", textcoords="offset points",
                        size=_TEXT, rotation=turned, ha="left", va="center", parse_math=False,
                    )  # fmt: skip
            middle = (y - head - high / 2) / height
            figure.text(
                (x + _PAD) / width,
                middle,
                block.label,
                size=_LABEL,
                rotation=90,
                va="center",
                ha="left",
            )
            _legend(figure, block, columns, (x + left) / width, (y - head + _PAD + 1) / height)
            if beside:
                x += left + inner + right
            else:
                y -= head + high + plan.below + _PAD + 3
        return figure


def _fill(axes: Axes, block: _BarBlock, plan: _FigurePlan, panel: int | None, inner: float) -> None:
    """The bars of one axes, and a word where there is none."""
    shown = range(len(block.series)) if panel is None else [panel]
    spots = [(g, s) for g in range(len(block.layers)) for s in shown]
    at = np.array([plan.bar(g, s) for g, s in spots])
    pick = tuple(np.array(spots).T)
    real = np.array([not block.gaps[spot] for spot in spots])
    slack = (inner / plan.slot - plan.slots) / 2  # few bars in a wide figure stay in the middle
    axes.set_xlim(-slack, plan.slots + slack)
    axes.set_ylim(0, block.top)
    thick = min(0.86 if plan.grouped else 0.78, 26 / plan.slot)
    base = np.zeros(len(spots))
    for part in block.parts:
        values = part.values[pick]
        axes.bar(
            at[real], values[real], thick, base[real],
            label=part.label, color=part.colour, hatch=part.hatch, edgecolor=part.ink, linewidth=0, zorder=2,
        )  # fmt: skip
        base = base + np.nan_to_num(values)
    fits = plan.slot >= _SMALL * 1.15
    for spot, place in zip(spots, at, strict=True):
        if reason := str(block.gaps[spot]):
            axes.annotate(
                reason if fits else "x", (place, 0), (0, 3), textcoords="offset points", rotation=90 if fits else 0,
                size=_SMALL, color=_GREY, ha="center", va="bottom", annotation_clip=False, zorder=3, parse_math=False,
            )  # fmt: skip


def _axis(axes: Axes, block: _BarBlock, plan: _FigurePlan, named: bool) -> None:
    """Ticks, grid and frame; the lowest axes name layers and, where bars are grouped, dataflows."""
    axes.set_facecolor("white")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#D9D9D9", linewidth=0.5)
    axes.set_yticks(block.ticks, [block.tick_label(t) for t in block.ticks])
    axes.tick_params(axis="y", labelsize=_TEXT, length=2.5, width=0.6, pad=2)
    axes.set_xticks([])
    if not named:
        return
    size = _TEXT if plan.grouped or len(plan.layers) < 25 else _SMALL

    def name(text: str, place: float, down: float, size: float, upright: bool, colour: str) -> None:
        axes.annotate(
            text, (place, 0), (0, -down), xycoords=("data", "axes fraction"), textcoords="offset points", size=size, color=colour,
            rotation=90 if upright else 0, ha="center", va="top", annotation_clip=False, parse_math=False,
        )  # fmt: skip

    for g, layer in enumerate(plan.layers):
        if plan.grouped:
            for s, series in enumerate(plan.series):
                name(series, plan.bar(g, s), 3.0, _SMALL, plan.series_upright, _GREY)
        if g % plan.every == 0:
            name(
                layer,
                plan.middle(g),
                3.0 + (plan.series_height + 2.0 if plan.grouped else 0.0),
                size,
                plan.upright,
                "black",
            )


def _legend(figure: Figure, block: _BarBlock, columns: int, x: float, y: float) -> None:
    from matplotlib.legend import Legend
    from matplotlib.patches import Patch

    if not block.parts:
        return
    handles = [
        Patch(facecolor=p.colour, hatch=p.hatch, edgecolor=p.ink, linewidth=0, label=p.label)
        for p in block.parts
    ]
    legend = Legend(
        figure, handles, [p.label for p in block.parts],
        loc="lower left", bbox_to_anchor=(x, y), bbox_transform=figure.transFigure, ncols=columns, fontsize=_TEXT, frameon=False,
        borderpad=0, borderaxespad=0, handlelength=_HANDLE, handletextpad=_GAP, columnspacing=_BETWEEN, labelspacing=0.35,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.add_artist(legend)


_HANDLE, _GAP, _BETWEEN = 2.2, 0.5, 1.4  # of a legend entry, in font sizes


def _arranged(labels: list[str], room: float) -> tuple[int, int]:
    """Columns and rows of a legend no wider than ``room``."""
    if not labels:
        return 1, 0
    widths = [_size(label, _TEXT)[0] + (_HANDLE + _GAP) * _TEXT for label in labels]
    for rows in range(1, len(labels) + 1):
        columns = math.ceil(len(labels) / rows)
        full, longer = divmod(len(labels), columns)
        heights = [full + (c < longer) for c in range(columns)]
        wide = (
            sum(max(widths[a:b]) for a, b in pairwise(accumulate(heights, initial=0)))
            + (columns - 1) * _BETWEEN * _TEXT
        )
        if wide <= room:
            return columns, rows
    return 1, len(labels)


def _left(block: _BarBlock) -> float:
    """Room for the axis' label and numbers."""
    numbers = max(_size(block.tick_label(t), _TEXT)[0] for t in block.ticks)
    return _PAD + _size(block.label, _LABEL, math=True)[1] * 1.1 + 5 + numbers + 5


def _ticks(block: _BarBlock) -> tuple[list[float], float]:
    """Round numbers from nothing to a little above the tallest bar, and where the axis ends."""
    from matplotlib.ticker import MaxNLocator

    fixed = block.suffix == "%"
    many = len(block.series) > 1 and len(block.layers) * (len(block.series) + _SPACE) > _GROUPED
    top = block.top or 1.0
    limit = top if fixed else top * 1.06
    ticks = [
        float(t)
        for t in MaxNLocator(4 if many else 6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, top)
        if 0 <= t <= limit * (1 + 1e-9)
    ]
    return (ticks if block.parts else [0.0]), limit


def _wrapped(text: str, size: float, room: float) -> list[str]:
    """Lines no wider than ``room``, broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        if lines and _size(f"{lines[-1]} {word}", size * 1.08)[0] <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(_fitting(word, size * 1.08, room))
    return lines


def _fitting(text: str, size: float, room: float) -> str:
    limit = len(text)
    while limit > 3 and _size(_shortened(text, limit), size)[0] > room:
        limit -= 1
    return _shortened(text, limit)


def _size(text: str, size: float, *, math: bool = False) -> tuple[float, float]:
    """Width and height of a text in points, with what hinting adds on a coarse grid."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, height, _ = TextToPath().get_text_width_height_descent(
        text, FontProperties(size=size), ismath=math
    )
    return float(width) * 1.08, float(max(height, size * 0.95)) * 1.06


def house_style() -> AbstractContextManager[None]:
    """Matplotlib's own defaults while drawing and saving, whatever the user's are, and an SVG that
    repeats.
    """
    import matplotlib

    ours_to_set = re.compile(
        "(axes|figure|font|grid|hatch|legend|lines|mathtext|patch|path|savefig|svg|text|[xy]axis|[xy]tick)[.]"
    )
    defaults: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if ours_to_set.match(k)}
    ours = {
        "font.sans-serif": ["DejaVu Sans"],
        "svg.hashsalt": "accelsim",
        "svg.fonttype": "path",
        "hatch.linewidth": 0.5,
    }
    return matplotlib.rc_context(defaults | ours)
