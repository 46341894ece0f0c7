"""Values of an axis in a unit that keeps its numbers short, and the axis' label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_UNITS = {
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
_PLAIN = {"energy_mac": "MAC energies", "cycles": "cycles"}


def unit_of(top: float, name: str) -> tuple[float, str]:
    """A unit for values of up to ``top`` of a column that has units, and a label that tells it."""
    units = _UNITS[name]
    unit, size = next(((u, s) for u, s in reversed(units) if top >= s), units[0])
    return size, f"{WORDS[name]} ({unit})"


def scaled(values: Any, name: str) -> tuple[Any, str]:
    """Values of the column ``name`` divided by a unit, and a label that tells it."""
    word = WORDS.get(name, name)
    top = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    if name in _UNITS:
        size, label = unit_of(top, name)
        return values / size, label
    power = 3 * math.floor(math.log10(top) / 3) if top >= 1e4 else 0
    unit = _PLAIN.get(name, "")
    if power:
        unit = rf"$10^{{{power}}}$ {unit}".rstrip()
    return values / 10.0**power, f"{word} ({unit})" if unit else word
