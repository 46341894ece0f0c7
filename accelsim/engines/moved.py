"""From what crossed each boundary to the contract's columns (DESIGN section 4).

``Moved`` keeps the primitives of one boundary; any other convention is arithmetic on them.  Values may be
ints or arrays over mappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.hardware.energy import Prices, prices
from accelsim.mapping.skeleton import Boundary, Skeleton
from accelsim.workload.problem import TENSORS


@dataclass
class Moved:
    """Words over one boundary.  For an operand ``taken`` and ``read``; for the accumulated tensor
    the rest.
    """

    taken: Any = 0  # words the children took
    read: Any = 0  # words their parents read for them
    drained: Any = 0  # words the children let go upward
    arrived: Any = 0  # words their parents received
    updated: Any = 0  # of those, words a parent read to add to


Moves = Mapping[Boundary, Moved]


def columns(nest: Skeleton, moves: Moves) -> dict[str, Any]:
    """Reads and writes of every level and tensor, deliveries and additions of every network, in
    words.
    """
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
                found[f"{b.network}_{b.tensor}_deliveries"] += m.arrived + _fetched(nest, m)
                found[f"{b.network}_{b.tensor}_additions"] += m.drained - m.arrived
        else:
            found[f"{up}_reads"] += m.read
            if down:
                found[f"{down}_writes"] += m.taken
            if b.network:
                found[f"{b.network}_{b.tensor}_deliveries"] += m.taken
    return found


def _fetched(nest: Skeleton, m: Moved) -> Any:
    """Psums that go down to be added to."""
    return m.updated if nest.arch.accumulate == "in_array" else 0


def energy(
    nest: Skeleton, moves: Moves, macs: Any, time_s: Any, price: Prices | None = None
) -> dict[str, Any]:
    """Total energy, energy by component and by tensor in the table's unit; area in um2 (DESIGN
    section 6).

    Components (compute, levels, networks, and static where there is any) add up to the total, and
    so do compute, static and the tensors.  A word costs by its width where it is stored: psums by
    theirs until the last addition. ``charge: reads_and_writes`` charges every access and every word
    a network carries. ``charge: reads`` is the convention of Chen, Emer, Sze, ISCA 2016, eqs. 3 and
    4: an operand is charged where it is read, a psum for every read-add-write but for the first and
    the last of its residency. ``price`` is the architecture's unless given; its numbers, too, may
    be arrays.
    """
    price = prices(nest.arch) if price is None else price
    acc, width = nest.problem.accumulated, nest.word_bits
    everything = nest.arch.energy.charge == "reads_and_writes"
    names, unit = nest.arch.level_names, price.unit
    parts: dict[str, Any] = dict.fromkeys((*names, *nest.arch.networks), 0.0)
    tensors: dict[str, Any] = dict.fromkeys(TENSORS, 0.0)

    def charge(component: str, tensor: str, amount: Any) -> None:
        parts[component] = parts[component] + amount
        tensors[tensor] = tensors[tensor] + amount

    for b, m in moves.items():
        outside = width(b.parent, b.tensor)
        if b.tensor == acc:
            inside = width(b.child, acc) if b.child < nest.levels else nest.arch.bits.psum
            at_parent = (
                m.arrived + m.updated if everything or b.parent == nest.home(acc) else 2 * m.updated
            )
            at_child, runs = m.drained if everything else 0, m.arrived + _fetched(nest, m)
            hops = m.drained + _fetched(nest, m) if everything else m.drained - m.arrived
        else:
            inside = outside
            at_parent, at_child, runs, hops = m.read, m.taken if everything else 0, m.read, m.taken
        charge(
            names[b.parent],
            b.tensor,
            at_parent * price.levels[names[b.parent]][b.tensor].of(outside),
        )
        if b.child < nest.levels:
            charge(
                names[b.child],
                b.tensor,
                at_child * price.levels[names[b.child]][b.tensor].of(inside),
            )
        if b.network:
            route = price.networks[b.network]
            charge(b.network, b.tensor, runs * route.run.of(outside) + hops * route.hop.of(inside))

    parts = {"compute": macs * price.mac} | parts
    if np.any(price.static_mw):
        parts["static"] = price.static_mw * time_s * 1e9  # 1 mW s is 1e9 pJ
    found = {f"energy_{unit}": sum(parts.values())} | {
        f"energy_{name}_{unit}": value for name, value in (parts | tensors).items()
    }
    found["area_um2"] = sum(price.area_um2.values()) if price.area_um2 else None
    return found | {f"area_{name}_um2": value for name, value in price.area_um2.items()}
