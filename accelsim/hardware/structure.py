"""Which architectures differ in numbers only.

Sweeps evaluate those together (``explore.evaluate``), and what the analytic engine has worked out
of a nest serves it on all of them (``engines.analytic.pipeline``).
"""

from __future__ import annotations

import weakref

from accelsim.hardware.architecture import Architecture
from accelsim.hardware.ports import limited

# By identity, while the architecture lives.
_KNOWN: dict[int, tuple[weakref.ref[Architecture], str]] = {}


def structure(arch: Architecture) -> str:
    """All of an architecture but its numbers, as text: sizes of the array, of levels and their
    partitions, widths, bursts, latencies and clocks.  Whether there is a number at all is told, and
    whether anything can be waited for.
    """
    key = id(arch)
    known = _KNOWN.get(key)
    if known is None or known[0]() is not arch:
        known = _KNOWN[key] = weakref.ref(arch, lambda _: _KNOWN.pop(key, None)), _text(arch)
    return known[1]


def _text(arch: Architecture) -> str:
    levels = {
        name: x.model_copy(
            update={
                "capacity_bytes": x.capacity_bytes and 1,
                "priced_bytes": x.priced_bytes and 1,
                "banks": x.banks and 1,
                "partitions": dict.fromkeys(x.partitions, 1),
                "port_bits": x.port_bits and 1,
                "burst_bits": x.burst_bits and 1,
                "port_clock_mhz": x.port_clock_mhz and 1.0,
                "latency_cycles": 0,
            }
        )
        for name, x in arch.levels.items()
    }
    networks = {}
    for name, net in arch.networks.items():
        width = net.width_bits
        one = dict.fromkeys(width, 1) if isinstance(width, dict) else width and 1
        networks[name] = net.model_copy(update={"width_bits": one})
    same = {
        "array": arch.array.model_copy(update={"rows": 1, "cols": 1}),
        "levels": levels,
        "networks": networks,
        "clock_mhz": 1.0,
        "name": "",
    }
    text = arch.model_copy(update=same).model_dump_json(exclude={"description"})
    return f"{limited(arch)} {text}"


__all__ = ["structure"]
