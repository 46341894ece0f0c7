"""What crossed every boundary, and from there to the contract's columns and to energy
(docs/design.md, sections 4 and 6).

Every engine ends with one ``Moved`` a boundary; nothing else leaves an engine.  Reads and writes of
a level, what a network delivers and adds, Timeloop's convention or a chip's own counter: all of it
is arithmetic on these five numbers, done here and in no engine.

A boundary of an operand, one step (section 4.4), multicast to three children that want a word
twice:

    parent   [ a b ]     read = 2        each word once, however many children take it
               | \\
    children [a][a][b]   taken = 3       what the children write

A boundary of the accumulated tensor (4.5 and 4.6), three children that let two sums go:

    parent   [ s t ]     arrived = 2     sums of one word meet on the way; updated = of those, the
               | //                      ones the parent has a sum of already and reads to add to
    children [s][s][t]   drained = 3     what the children read; drained - arrived are additions

Values may be ints, or arrays over mappings ``[mappings]``: the same lines then serve a million.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.base.adding import sum_in_order
from accelsim.hardware.energy import Cost, Prices, Route, prices
from accelsim.mapping.skeleton import Boundary, Skeleton
from accelsim.workload.problem import TENSORS


@dataclass
class Moved:
    """Words over one boundary, over the whole run and all instances.

    ``taken``    of an operand: words the children took
    ``read``     of an operand: words their parents read for them
    ``drained``  of the accumulated tensor: words the children let go upward
    ``arrived``  of the accumulated tensor: words their parents received
    ``updated``  of those, words a parent read to add to; the others were the first of a residency
    """

    taken: Any = 0
    read: Any = 0
    drained: Any = 0
    arrived: Any = 0
    updated: Any = 0


Moves = Mapping[Boundary, Moved]


def columns(nest: Skeleton, moves: Moves) -> dict[str, Any]:
    """Reads and writes of every level and tensor, deliveries and additions of every network, in
    words, under the contract's names (section 4): ``{level}_{tensor}_reads`` and ``_writes``,
    ``{network}_{tensor}_deliveries`` and ``_additions``.

    A level's writes are fills and arrivals, its reads are service, update reads and drains.  The
    MAC is a child without columns.  What is zero is told too, so that rows of one architecture have
    the same columns.
    """
    names = nest.arch.level_names
    counted: dict[str, Any] = {}
    for name, level in nest.arch.levels.items():
        for tensor in TENSORS:
            if tensor in level.keeps:
                counted[f"{name}_{tensor}_reads"] = counted[f"{name}_{tensor}_writes"] = 0
    for name in nest.arch.networks:
        for tensor in TENSORS:
            counted[f"{name}_{tensor}_deliveries"] = 0
        counted[f"{name}_{nest.problem.accumulated}_additions"] = 0

    for b, m in moves.items():
        up = f"{names[b.parent]}_{b.tensor}"
        down = f"{names[b.child]}_{b.tensor}" if b.child < nest.levels else None
        if b.tensor == nest.problem.accumulated:
            counted[f"{up}_writes"] += m.arrived
            counted[f"{up}_reads"] += m.updated
            if down:
                counted[f"{down}_reads"] += m.drained
            if b.network:
                counted[f"{b.network}_{b.tensor}_deliveries"] += m.arrived + _fetched(nest, m)
                counted[f"{b.network}_{b.tensor}_additions"] += m.drained - m.arrived
        else:
            counted[f"{up}_reads"] += m.read
            if down:
                counted[f"{down}_writes"] += m.taken
            if b.network:
                counted[f"{b.network}_{b.tensor}_deliveries"] += m.taken
    return counted


def _fetched(nest: Skeleton, m: Moved) -> Any:
    """Psums that go down to be added to."""
    return m.updated if nest.arch.accumulate == "in_array" else 0


def energy(
    nest: Skeleton, moves: Moves, macs: Any, time_s: Any, price: Prices | None = None
) -> dict[str, Any]:
    """Total energy, energy by component and by tensor in the table's unit; area in um2 (section 6).

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
    spent = {f"energy_{unit}": sum_in_order(parts.values())} | {
        f"energy_{name}_{unit}": value for name, value in (parts | tensors).items()
    }
    spent["area_um2"] = sum_in_order(price.area_um2.values()) if price.area_um2 else None
    return spent | {f"area_{name}_um2": value for name, value in price.area_um2.items()}


def stacked(many: Sequence[Prices]) -> Prices:
    """Prices of several architectures of one structure as one, its numbers arrays
    [architectures].
    """

    def cost(all_: list[Cost]) -> Cost:
        return Cost(_array([c.word for c in all_]), _array([c.bit for c in all_]))

    first = many[0]
    return Prices(
        first.unit,
        _array([p.mac for p in many]),
        {
            name: {
                t: cost([p.levels[name][t] for p in many])
                for t in TENSORS
                if t in first.levels[name]
            }
            for name in first.levels
        },
        {
            name: Route(
                cost([p.networks[name].run for p in many]),
                cost([p.networks[name].hop for p in many]),
            )
            for name in first.networks
        },
        _array([p.static_mw for p in many]),
        {name: _array([p.area_um2[name] for p in many]) for name in first.area_um2},
    )


def _array(values: list[float]) -> Any:
    return np.array(values) if len(set(values)) > 1 else values[0]
