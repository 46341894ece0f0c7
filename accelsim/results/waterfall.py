"""Where the cycles of a layer went: from the ideal to what it took, in parts that add up.

    ideal         every PE does a MAC in every cycle: macs / PEs, rounded up
    edges         PEs that the mapping never gives work to
    tails         last pieces that are smaller than the others, so that fewer PEs work
    fill_drain    the array fills, preloads, shifts out and drains
    stall_NAME    it waits for the level or network NAME

``parts_of`` reads them off the columns of a row, or of a total.  ``explain`` tells them of a
result, ``accelsim compare`` of two stores.  Nothing is estimated: with ``active`` the most PEs that
work at once, ideal + edges = macs / active rounded up, with tails it is the row's
``compute_cycles``, and the rest are its columns, which add up to ``cycles`` (docs/time.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.base.text_table import spaced

STALL = re.compile(r"stall_(.+)_cycles")


@dataclass(frozen=True)
class CyclePart:
    """One part of ``cycles``: its ``name`` as at the head of this page, and how many."""

    name: str
    cycles: int

    @property
    def waits_for(self) -> str | None:
        """The level or network that is waited for; None of a part that is no waiting."""
        return self.name.removeprefix("stall_") if self.name.startswith("stall_") else None

    @property
    def label(self) -> str:
        """The part in a few words."""
        return f"waiting for {self.waits_for}" if self.waits_for else _LABELS[self.name]


_LABELS = {
    "ideal": "ideal",
    "vector": "vector unit computes",
    "edges": "PEs without work",
    "tails": "short tails",
    "fill_drain": "fill and drain",
}


def parts_of(columns: Mapping[str, Any], pes: int) -> tuple[CyclePart, ...]:
    """The parts of a row on an array of so many PEs, ideal first; each at least 0, together its
    ``cycles``.  A row of the vector unit has no ideal: what it computes is ``vector``.
    """
    macs, compute = int(columns["macs"]), int(columns["compute_cycles"])
    if columns.get("mapping") == "vector unit":
        parts = [CyclePart("vector", compute)]
    else:
        active = int(columns["active_pes"])
        ideal, busy = -(-macs // max(pes, active)), -(-macs // active)
        parts = [
            CyclePart("ideal", ideal),
            CyclePart("edges", busy - ideal),
            CyclePart("tails", compute - busy),
        ]
    parts.append(CyclePart("fill_drain", int(columns["fill_drain_cycles"])))
    for key, value in columns.items():
        named = STALL.fullmatch(str(key))
        if named and value is not None:
            parts.append(CyclePart(f"stall_{named[1]}", int(value)))
    return tuple(parts)


def added(many: Sequence[Sequence[CyclePart]]) -> tuple[CyclePart, ...]:
    """Parts of several rows together, by name, in order of appearance."""
    sums: dict[str, int] = {}
    for part in (part for parts in many for part in parts):
        sums[part.name] = sums.get(part.name, 0) + part.cycles
    order = [n for n in sums if not n.startswith("stall_")]
    order += [n for n in sums if n.startswith("stall_")]
    return tuple(CyclePart(name, sums[name]) for name in order)


def why_faster(a: Sequence[CyclePart], b: Sequence[CyclePart], names: tuple[str, str]) -> str:
    """One sentence: how the second's cycles differ from the first's, part by part, the largest
    difference first.  ``names`` are what the two are called.
    """
    first, second = sum(p.cycles for p in a), sum(p.cycles for p in b)
    if first == second and _by_name(a) == _by_name(b):
        return f"{names[1]} takes the same {spaced(first)} cycles as {names[0]}, in the same parts."
    told = "as many" if first == second else "fewer" if second < first else "more"
    ratio = f"{short_ratio(second / first)} of" if first else "against"
    begin = f"{names[1]} takes {spaced(second)} cycles, {ratio} the {spaced(first)} of {names[0]}"
    before, after = _by_name(a), _by_name(b)
    every = {part.name: part for part in (*a, *b)}
    change = {name: after.get(name, 0) - before.get(name, 0) for name in every}
    largest = sorted((n for n in change if change[n]), key=lambda name: -abs(change[name]))
    parts = [
        f"{spaced(abs(change[n]))} {'more' if change[n] > 0 else 'fewer'} {_spent(every[n])}"
        for n in largest
    ]
    return f"{begin} ({told}): {', '.join(parts)}."


def short_ratio(ratio: float) -> str:
    """Three digits, or as many more as show that it is not 1."""
    shown = (f"{ratio:.{digits}g}" for digits in range(3, 17))
    return next((text for text in shown if text != "1"), "1")


def _by_name(parts: Sequence[CyclePart]) -> dict[str, int]:
    return {part.name: part.cycles for part in parts if part.cycles}


def _spent(part: CyclePart) -> str:
    """A part as it stands behind a number of cycles."""
    if part.waits_for:
        return part.label
    return {
        "ideal": "of work for its PEs",
        "vector": "of the vector unit",
        "edges": "for PEs without work",
        "tails": "for short tails",
        "fill_drain": "to fill and drain",
    }[part.name]
