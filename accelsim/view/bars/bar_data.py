"""What the bars show: a result's frame as tidy data, one row a layer, dataflow and component.

Called by ``bar_blocks`` and, as ``plots.energy_data`` and so on, by users.  The components of a row
add up to its total; what the parts leave over is ``other``.  A row that could not be mapped (no
cycles) or whose check failed (a text in ``error``) has NaN and the reason in ``gap``.  A row whose
layer is ``total`` is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.view.style import OTHER, TENSORS, usual_role

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

Floats = NDArray[np.float64]
By = Literal["level", "tensor"]

UNITS = ("mac", "pj")
IDS = ("workload", "layer", "arch", "set", "dataflow", "engine", "direction", "batch")
_INNERMOST_FIRST = ("compute", "vector", "pe", "network", "buffer", "dram", OTHER)


def energy_data(frame: pd.DataFrame, by: By = "level") -> pd.DataFrame:
    """Energy per layer, dataflow and component: columns of identity, component, role, energy, unit,
    gap.

    The components of a row add up to its ``energy_{unit}``.  ``by="level"`` has compute, networks
    and levels, innermost first; ``by="tensor"`` compute and the tensors.
    """
    if by not in ("level", "tensor"):
        raise ValueError(f"by: must be level or tensor, got {by}")
    frame = _usable(frame)
    unit = _unit(frame)
    columns = _energy_columns(frame, unit)
    total = numbers(frame, f"energy_{unit}")
    if by == "level":
        roles = _roles(frame, [c for c in columns if c not in TENSORS])
    else:
        roles = {c: c for c in ("compute", *TENSORS) if c in columns}
        if not set(TENSORS) & set(roles) and np.isfinite(total).any():
            raise ValueError(
                f"no column energy_{{tensor}}_{unit}: this frame has no energy by tensor"
            )
    parts = {c: numbers(frame, columns[c]) for c in roles}
    if not parts:
        parts, roles = {OTHER: np.zeros(len(frame))}, {OTHER: OTHER}
    _add_the_rest(parts, roles, total, f"energy_{unit}")
    return _long_form(frame, parts, roles, total, "energy", unit)


def latency_data(frame: pd.DataFrame) -> pd.DataFrame:
    """Cycles per layer, dataflow and component: compute, fill_drain, stall_{resource}; they add up
    to ``cycles``.

    Stalls without a resource are ``stall``; cycles without any cause are ``other``.  What the
    vector unit computes beside the array is ``vector``.
    """
    frame = _usable(frame)
    total = numbers(frame, "cycles")
    computing, beside = numbers(frame, "compute_cycles"), _beside(frame)
    parts, roles = {"compute": np.where(beside, 0.0, computing)}, {"compute": "compute"}
    if beside.any():
        parts["vector"], roles["vector"] = np.where(beside, computing, 0.0), "vector"
    parts["fill_drain"], roles["fill_drain"] = numbers(frame, "fill_drain_cycles"), "fill"
    _add_stalls(frame, parts, roles)
    _add_the_rest(parts, roles, total, "cycles")
    return _long_form(frame, parts, roles, total, "cycles")


def _add_stalls(frame: pd.DataFrame, parts: dict[str, Floats], roles: dict[str, str]) -> None:
    """Stalls by the resource that was waited for, and those of which that is not known."""
    columns = {
        m[1]: str(c) for c in frame.columns if (m := re.fullmatch(r"stall_(.+)_cycles", str(c)))
    }
    named = np.zeros(len(frame))
    for resource, role in _roles(frame, list(columns)).items():
        stalls = numbers(frame, columns[resource])
        parts[f"stall_{resource}"], roles[f"stall_{resource}"] = stalls, role
        named = named + np.nan_to_num(stalls)
    unnamed = np.maximum(np.nan_to_num(numbers(frame, "stall_cycles")) - named, 0)
    if unnamed.any():
        parts["stall"], roles["stall"] = unnamed, "stall"


def utilization_data(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of the array's slots per layer, dataflow and component; they add up to 1.

    ``busy`` is ``utilization``; ``waiting`` what filling, draining and stalls cost (up to
    ``mapping_efficiency``); ``unmapped`` the rest: slots the mapping leaves empty, or all of it
    where the efficiency is not known.  The vector unit has no share of the array.
    """
    frame = _usable(frame)
    frame = frame[~_beside(frame)].reset_index(drop=True)
    busy = numbers(frame, "utilization")
    mapped = np.fmin(np.fmax(numbers(frame, "mapping_efficiency"), busy), np.fmax(busy, 1))
    parts = {"busy": busy, "waiting": mapped - busy, "unmapped": np.maximum(1 - mapped, 0)}
    roles = {"busy": "compute", "waiting": "fill", "unmapped": OTHER}
    return _long_form(frame, parts, roles, busy, "share")


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


def numbers(frame: pd.DataFrame, column: str) -> Floats:
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
    have = [u for u in UNITS if np.isfinite(numbers(frame, f"energy_{u}")).any()]
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
    columns = {
        m[1]: str(c) for c in frame.columns if (m := re.fullmatch(rf"energy_(.+)_{unit}", str(c)))
    }
    nested = re.compile(rf"(.+)_({'|'.join(TENSORS)})")
    return {
        name: column
        for name, column in columns.items()
        if not ((m := nested.fullmatch(name)) and m[1] in columns)
    }


def _roles(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, str]:
    """What each component is, innermost first.

    Networks are known by their counts, the rest by name.  Of those no name tells, the outermost is
    taken for the memory, the innermost for the PE's, and what is between for buffers.
    """
    moves = re.compile(rf"(.+)_({'|'.join(TENSORS)})_(deliveries|additions)")
    counted = {m[1] for c in frame.columns if (m := moves.fullmatch(str(c)))}
    roles: dict[str, str] = {}
    for name in names:
        roles[name] = "network" if name in counted else usual_role(name)
    unknown = [n for n in names if not roles[n]]
    for place, name in enumerate(unknown):
        first = place == 0 and "dram" not in roles.values()
        last = place == len(unknown) - 1 and "pe" not in roles.values()
        roles[name] = "dram" if first and len(unknown) > 1 else "pe" if last and place else "buffer"
    return {n: roles[n] for role in _INNERMOST_FIRST for n in reversed(names) if roles[n] == role}


def _add_the_rest(
    parts: dict[str, Floats], roles: dict[str, str], total: Floats, what: str
) -> None:
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


def _long_form(
    frame: pd.DataFrame,
    parts: dict[str, Floats],
    roles: dict[str, str],
    total: Floats,
    value: str,
    unit: str = "",
) -> pd.DataFrame:
    """One row per row of ``frame`` and component; NaN, and a reason in ``gap``, where there is
    nothing to show.
    """
    import pandas as pd

    gaps = np.array(_gaps(frame, total), dtype=object)
    values = np.column_stack([np.nan_to_num(p) for p in parts.values()])  # [rows, components]
    values[gaps != ""] = np.nan
    columns = {c: np.repeat(frame[c].to_numpy(), len(parts)) for c in IDS if c in frame.columns}
    data = pd.DataFrame(columns)
    data["component"] = np.tile(np.array(list(parts), dtype=object), len(frame))
    data["role"] = np.tile(np.array([roles[c] for c in parts], dtype=object), len(frame))
    data[value] = values.ravel()
    if unit:
        data["unit"] = unit
    data["gap"] = np.repeat(gaps, len(parts))
    return data


def _gaps(frame: pd.DataFrame, total: Floats) -> list[str]:
    """Per row why it has no bar, or nothing."""
    gaps = []
    measured = np.isfinite(numbers(frame, "cycles"))
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
