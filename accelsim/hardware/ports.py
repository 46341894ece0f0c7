"""How long bits take over the ports and channels on a boundary's way (docs/time.md).  Plain
arithmetic on the architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.nest import Boundary


@dataclass(frozen=True)
class Resource:
    """A port or a channel; ``name`` is the level's or network's, ``rate`` bits per cycle of the
    core clock.
    """

    name: str
    part: str
    rate: Fraction
    burst: int = 1

    def cycles(self, bits: Any) -> Any:
        """Cycles for so many bits (int or int array), whole bursts, rounded up."""
        whole = -(-bits // self.burst) * self.burst
        return -(-whole * self.rate.denominator // self.rate.numerator)


def limited(arch: Architecture) -> bool:
    """Whether any level or network can make the array wait."""
    levels = any(x.port_bits or x.latency_cycles for x in arch.levels.values())
    return levels or any(x.width_bits for x in arch.networks.values())


def port(arch: Architecture, level: int, way: str) -> Resource | None:
    """The port of a level for reads or writes (``way``)."""
    name = arch.level_names[level]
    x = arch.levels[name]
    if x.port_bits is None:
        return None
    clock = Fraction(str(x.port_clock_mhz or arch.clock_mhz)) / Fraction(str(arch.clock_mhz))
    return Resource(
        name, "port" if x.ports == "shared" else way, x.port_bits * clock, x.burst_bits or 1
    )


def latency(arch: Architecture, level: int) -> int:
    """Fixed cycles of a transfer from or to a level, of the core clock."""
    x = arch.levels[arch.level_names[level]]
    slow = Fraction(str(arch.clock_mhz)) / Fraction(str(x.port_clock_mhz or arch.clock_mhz))
    return -(-x.latency_cycles * slow.numerator // slow.denominator)


def channel(arch: Architecture, b: Boundary, way: str) -> Resource | None:
    """The channel of the network a boundary crosses, ``down`` or ``up``; one for all tensors, or
    one a tensor and way.
    """
    if b.network is None:
        return None
    width = arch.networks[b.network].width_bits
    if isinstance(width, dict):
        return (
            Resource(b.network, f"{b.tensor} {way}", Fraction(width[b.tensor]))
            if b.tensor in width
            else None
        )
    return None if width is None else Resource(b.network, "all", Fraction(width))
