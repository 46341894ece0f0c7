"""The roofs over a layer: one of every port and channel that has a width, beside the array's.

Each resource has a roofline of its own, in bytes that it carries: attainable = bandwidth x MACs per
such byte (S. Williams, A. Waterman, D. Patterson, CACM 52(4), 2009; one roof a level as in
A. Ilic, F. Pratas, L. Sousa, "Cache-aware roofline model", IEEE CAL 13(1), 2014).  What a resource
carries is counted, so no run is above any of them; the lowest is what binds if anything does.
``views.layer_view`` shows them.
"""

from __future__ import annotations

from typing import Any

from accelsim.engines import analytic
from accelsim.engines.analytic.pipeline import carried
from accelsim.hardware.ports import Resource, channel, port
from accelsim.mapping.nest import Nest


def roofs(nest: Nest) -> list[dict[str, Any]]:
    """Of each resource that carries anything, the lowest roof first: its ``name`` and ``part``,
    ``gb_per_s``, ``macs_per_byte`` and ``gmacs_per_s``, the product of both.

    Instances share their level's words evenly, as the closed form's bound has it.
    """
    arch = nest.arch
    loads = carried(
        nest,
        analytic.moves(nest),
        lambda level, access: port(arch, level, access),
        lambda b, way: channel(arch, b.network, b.tensor, way),
    )
    told = [_roof(nest, r, bits) for r, bits in loads.items() if bits]
    return sorted(told, key=lambda roof: float(roof["gmacs_per_s"]))


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
