"""The roofs over a layer: one of every port and channel that has a width, beside the array's.

Each resource has a roofline of its own, in bytes that it carries: attainable = bandwidth x MACs per
such byte (S. Williams, A. Waterman, D. Patterson, CACM 52(4), 2009; one roof a level as in
A. Ilic, F. Pratas, L. Sousa, "Cache-aware roofline model", IEEE CAL 13(1), 2014).  What a resource
carries is counted, so no run is above any of them; the lowest is what binds if anything does.
``views.layer_view`` shows them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import prod
from typing import Any

from accelsim.engines import analytic
from accelsim.engines.moved import Moved
from accelsim.hardware.ports import Resource, channel, port
from accelsim.mapping.nest import Boundary, Nest

Load = tuple[Resource | None, int, int]  # what carries it, words, the level whose words they are


def roofs(nest: Nest) -> list[dict[str, Any]]:
    """Of each resource that carries anything, the lowest roof first: its ``name`` and ``part``,
    ``gb_per_s``, ``macs_per_byte`` and ``gmacs_per_s``, the product of both.

    Instances share their level's words evenly, as the closed form's bound has it.
    """
    bits: dict[Resource, float] = defaultdict(float)
    for b, m in analytic.moves(nest).items():
        for resource, words, level in _loads(nest, b, m):
            if resource is not None and words:
                each = words * nest.footprint.word_bits(level, b.tensor)
                bits[resource] += each / _instances(nest, level)
    told = [_roof(nest, resource, carried) for resource, carried in bits.items()]
    return sorted(told, key=lambda roof: float(roof["gmacs_per_s"]))


def _loads(nest: Nest, b: Boundary, m: Moved) -> Iterator[Load]:
    """Which resources a boundary's words go over: operands down from the parent's port over the
    network into the child's port, sums up and, to be added to, down.
    """
    arch, inner = nest.arch, b.child < nest.levels
    if b.tensor == nest.problem.accumulated:
        yield port(arch, b.parent, "write"), m.arrived, b.parent
        yield port(arch, b.parent, "read"), m.updated, b.parent
        yield channel(arch, b.network, b.tensor, "up"), m.arrived, b.parent
        if arch.accumulate == "in_array":
            yield channel(arch, b.network, b.tensor, "down"), m.updated, b.parent
        if inner:
            yield port(arch, b.child, "read"), m.drained, b.child
    else:
        yield port(arch, b.parent, "read"), m.read, b.parent
        yield channel(arch, b.network, b.tensor, "down"), m.read, b.parent
        if inner:
            yield port(arch, b.child, "write"), m.taken, b.child


def _instances(nest: Nest, level: int) -> int:
    return prod(loop.trips for loop in nest.loops if loop.spatial and loop.level < level)


def _roof(nest: Nest, resource: Resource, bits: float) -> dict[str, Any]:
    bandwidth = float(resource.rate) * nest.arch.clock_mhz / 8e3
    intensity = nest.problem.macs / (bits / 8)
    return {
        "name": resource.name,
        "part": resource.part,
        "gb_per_s": bandwidth,
        "macs_per_byte": intensity,
        "gmacs_per_s": bandwidth * intensity,
    }
