"""From what crossed each boundary to the contract's columns (DESIGN section 4).

``Moved`` keeps the primitives of one boundary; any other convention is arithmetic on them.  Values may be
ints or arrays over mappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.problem import TENSORS


@dataclass
class Moved:
    """Words over one boundary.  For an operand ``taken`` and ``read``; for the accumulated tensor the rest."""

    taken: Any = 0  # words the children took
    read: Any = 0  # words their parents read for them
    drained: Any = 0  # words the children let go upward
    arrived: Any = 0  # words their parents received
    updated: Any = 0  # of those, words a parent read to add to


Moves = Mapping[Boundary, Moved]


def columns(nest: Nest, moves: Moves) -> dict[str, Any]:
    """Reads and writes of every level and tensor, deliveries and additions of every network, in words."""
    names = nest.arch.level_names
    found: dict[str, Any] = {}
    for name, level in nest.arch.levels.items():
        for tensor in TENSORS:
            if tensor in level.keeps:
                found[f"{name}_{tensor}_reads"] = found[f"{name}_{tensor}_writes"] = 0
    for name in nest.arch.networks:
        for tensor in TENSORS:
            found[f"{name}_{tensor}_deliveries"] = 0
        found[f"{name}_{nest.problem.accumulated}_additions"] = 0

    for b, m in moves.items():
        up = f"{names[b.parent]}_{b.tensor}"
        down = f"{names[b.child]}_{b.tensor}" if b.child < nest.levels else None
        if b.tensor == nest.problem.accumulated:
            found[f"{up}_writes"] += m.arrived
            found[f"{up}_reads"] += m.updated
            if down:
                found[f"{down}_reads"] += m.drained
            if b.network:
                found[f"{b.network}_{b.tensor}_deliveries"] += m.arrived
                found[f"{b.network}_{b.tensor}_additions"] += m.drained - m.arrived
        else:
            found[f"{up}_reads"] += m.read
            if down:
                found[f"{down}_writes"] += m.taken
            if b.network:
                found[f"{b.network}_{b.tensor}_deliveries"] += m.taken
    return found


def energy(nest: Nest, moves: Moves, macs: Any) -> dict[str, Any]:
    """Energy by component in the table's unit, and the total (DESIGN section 6).

    ``charge: reads_and_writes`` charges every access and every word a network delivers or adds.
    ``charge: reads`` is the convention of Chen, Emer, Sze, ISCA 2016, eqs. 3 and 4: an operand is charged
    where it is read, a psum for every read-add-write but for the first and the last of its residency.
    """
    table, acc = nest.arch.energy, nest.problem.accumulated
    everything = table.charge == "reads_and_writes"
    names = nest.arch.level_names
    unit = table.unit
    parts: dict[str, Any] = {f"energy_compute_{unit}": macs * table.mac}
    for name in (*names, *nest.arch.networks):
        parts[f"energy_{name}_{unit}"] = 0.0
    for b, m in moves.items():
        own, inner = names[b.parent], names[b.child] if b.child < nest.levels else None
        if b.tensor == acc:
            charged = m.arrived + m.updated if everything or b.parent == 0 else 2 * m.updated
            below = m.drained if everything else 0
            carried = m.drained - m.arrived + (m.arrived if everything else 0)
        else:
            charged, below, carried = m.read, m.taken if everything else 0, m.taken
        parts[f"energy_{own}_{unit}"] += charged * table.levels[own]
        if inner:
            parts[f"energy_{inner}_{unit}"] += below * table.levels[inner]
        if b.network:
            parts[f"energy_{b.network}_{unit}"] += carried * table.networks[b.network]
    return {f"energy_{unit}": sum(parts.values()), **parts}
