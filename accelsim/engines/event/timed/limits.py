"""What can be waited for: the ports of levels and the channels of networks, and how long bits take
over them (docs/time.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from accelsim.engines.event.transfers import Ints
from accelsim.mapping.nest import Nest


@dataclass(frozen=True)
class TimedResource:
    """One port or channel, taken by one transfer at a time.  ``owner`` is the level or network that
    stalls are charged to.
    """

    name: str
    owner: str
    cycles_per_bit: Fraction  # of the core clock
    burst_bits: int = 1

    def cycles(self, bits: Any) -> Any:
        """Core cycles for so many bits, rounded up; an int, or an int64 array of any shape."""
        whole = -(-bits // self.burst_bits) * self.burst_bits
        times, by = self.cycles_per_bit.numerator, self.cycles_per_bit.denominator
        if isinstance(whole, np.ndarray) and int(whole.max(initial=0)) * times >= 1 << 62:
            whole = whole.astype(object)
        found = -(-whole * times // by)
        return found.astype(np.int64) if isinstance(found, np.ndarray) else found


class Limits:
    """All ports and channels of an architecture that have a width, from the outermost in: the order
    they are taken in.

    ``reads``, ``writes`` give the place in ``resources`` of a level's port, ``down``, ``up`` that
    of a tensor's channel of a network, None where there is nothing to wait for.
    """

    def __init__(self, nest: Nest) -> None:
        self.resources: list[TimedResource] = []
        self._ports: dict[tuple[int, str], int] = {}
        self._channels: dict[tuple[str, str, bool], int] = {}
        self._latency: list[int] = []
        arch = nest.arch
        core = _clock(arch.clock_mhz)
        for i, (name, level) in enumerate(arch.levels.items()):
            slower = (
                core / _clock(level.port_clock_mhz)
                if level.port_clock_mhz is not None
                else Fraction(1)
            )
            cycles = slower * level.latency_cycles
            self._latency.append(-(-cycles.numerator // cycles.denominator))
            if level.port_bits is not None:
                rate = slower / level.port_bits
                kinds = ("read", "write")
                for kind in kinds:
                    shared = level.ports == "shared"
                    if kind == "read" or not shared:
                        label = name if shared else f"{name}.{kind}"
                        self.resources.append(
                            TimedResource(label, name, rate, level.burst_bits or 1)
                        )
                    self._ports[i, kind] = len(self.resources) - 1
            network, net = arch.network_below(i)
            if network is not None and net.width_bits is not None:
                self._add_network(network, net.width_bits, nest.problem.accumulated)

    def _add_network(self, name: str, widths: int | dict[Any, int], accumulated: str) -> None:
        if isinstance(widths, int):
            self.resources.append(TimedResource(name, name, Fraction(1, widths)))
            for tensor in ("weight", "ifmap", "ofmap"):
                self._channels[name, tensor, False] = self._channels[name, tensor, True] = (
                    len(self.resources) - 1
                )
            return
        for tensor, bits in widths.items():
            ways = (("down", False), ("up", True)) if tensor == accumulated else (("", False),)
            for way, up in ways:
                self.resources.append(
                    TimedResource(
                        f"{name}.{tensor}" + (f".{way}" if way else ""), name, Fraction(1, bits)
                    )
                )
                self._channels[name, tensor, up] = len(self.resources) - 1

    def reads(self, level: int) -> int | None:
        return self._ports.get((level, "read"))

    def writes(self, level: int) -> int | None:
        return self._ports.get((level, "write"))

    def down(self, network: str | None, tensor: str) -> int | None:
        return self._channels.get((network, tensor, False)) if network else None

    def up(self, network: str | None, tensor: str) -> int | None:
        return self._channels.get((network, tensor, True)) if network else None

    def latency(self, level: int) -> int:
        """Core cycles that every transfer from or to a level takes on top."""
        return self._latency[level]

    def slowest(self, cycles: Sequence[tuple[int, int]]) -> tuple[int | None, int]:
        """Of (resource, cycles), the one that takes longest, the outermost of equals, and its
        cycles; (None, 0) of none.
        """
        best: tuple[int | None, int] = None, 0
        for place, n in sorted(cycles):
            if n > best[1]:
                best = place, n
        return best

    def cycles(self, bits: Ints) -> Ints:
        """Core cycles of (resources, ...) bits."""
        return (
            np.stack([r.cycles(row) for r, row in zip(self.resources, bits, strict=True)])
            if self.resources
            else bits
        )


def _clock(mhz: float) -> Fraction:
    """The clock as written: 0.1 is a tenth."""
    return Fraction(repr(mhz))
