"""How long bits take over a port or a channel (docs/time.md, ports and channels).

Plain arithmetic on the architecture: no nest, no engine.  The analytic engine asks what a transfer
or a pass costs a resource, the timed event engine takes the same resources one holder at a time,
and the vector unit moves its words over them.

    level ==port==> network --channel--> level ==port==> ...

A *port* belongs to a level and is one for reads and writes (``ports: shared``) or one each.  A
*channel* belongs to a network and is one for everything (``width_bits`` a number) or one a tensor
and way (``width_bits`` a table).  What has no width is never waited for and is None here.

``structure`` tells which architectures differ in numbers only.  Sweeps evaluate those together
(``explore.evaluate``), and what the analytic engine has worked out of a nest serves it on all of
them (``engines.analytic.pipeline``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from accelsim.base.limits import COUNT_RULE, MAX_COUNT
from accelsim.hardware.architecture import Architecture, remembered
from accelsim.workload.problem import TENSORS

Access = Literal["read", "write"]
Way = Literal["down", "up"]
ACCESSES: tuple[Access, ...] = ("read", "write")
WAYS: tuple[Way, ...] = ("down", "up")
LARGEST = 1 << 62  # int64 holds every product below it, with room for a rounding
MOST_TRANSFERS = 1 << 26  # a few for each pass that is timed, over every boundary


@dataclass(frozen=True)
class Resource:
    """One port or channel of one instance; two resources that compare equal are the same one.

    ``name``   the level or network it belongs to, which stalls are charged to
    ``part``   which of its ports or channels: ``port``, ``read``, ``write``, ``all``, or a tensor
               and its way (``ofmap up``)
    ``rate``   bits a cycle of the core clock
    ``burst``  bits of a burst; what moves is rounded up to whole ones
    """

    name: str
    part: str
    rate: Fraction
    burst: int = 1

    def cycles(self, bits: Any) -> Any:
        """Core cycles for so many bits, rounded up: an int, or an int64 array of any shape."""
        whole = -(-bits // self.burst) * self.burst
        slower, faster = self.rate.denominator, self.rate.numerator
        if isinstance(whole, np.ndarray) and int(whole.max(initial=0)) * slower >= LARGEST:
            return (-(-whole.astype(object) * slower // faster)).astype(np.int64)
        return -(-whole * slower // faster)


def port(arch: Architecture, level: int, access: Access) -> Resource | None:
    """The port of a level (0 the outermost) for reads or for writes; None if it has no width."""
    name = arch.level_names[level]
    x = arch.levels[name]
    if x.port_bits is None:
        return None
    part = "port" if x.ports == "shared" else access
    clocks = arch.clock_mhz, x.port_clock_mhz
    return _resource(name, part, x.port_bits, *clocks, x.burst_bits or 1)


def latency(arch: Architecture, level: int) -> int:
    """Core cycles that every transfer from or to a level takes beyond its bits, rounded up."""
    x = arch.levels[arch.level_names[level]]
    if not x.latency_cycles:
        return 0
    cycles = x.latency_cycles / _rate(1, arch.clock_mhz, x.port_clock_mhz)
    return -(-cycles.numerator // cycles.denominator)


@remembered
def late_levels(arch: Architecture) -> tuple[bool, ...]:
    """By level, outermost first, whether its transfers take longer than their bits."""
    return tuple([latency(arch, level) > 0 for level in range(len(arch.levels))])


def channel(arch: Architecture, network: str | None, tensor: str, way: Way) -> Resource | None:
    """The channel that takes a tensor down or up a network; None if it has no width, or there is
    no network.
    """
    if network is None:
        return None
    width = arch.networks[network].width_bits
    if isinstance(width, dict):
        widths: Mapping[Any, int] = width
        bits = widths.get(tensor)
        return None if bits is None else _resource(network, f"{tensor} {way}", bits)
    return None if width is None else _resource(network, "all", width)


def never_waited_for(arch: Architecture) -> tuple[str, ...]:
    """Levels outside the PEs that cost no time: without a port's width and without latency."""
    outside = arch.level_names[: arch.level_in_pe]
    levels = ((name, arch.levels[name]) for name in outside)
    return tuple(name for name, x in levels if x.port_bits is None and not x.latency_cycles)


def never_waited_sentence(levels: Sequence[str]) -> str:
    """What is to be said of levels that cost no time, beside any number of cycles; empty for none:
    ``dram and sram have no port: they are never waited for``.
    """
    if not levels:
        return ""
    names = " and ".join(filter(None, [", ".join(levels[:-1]), levels[-1]]))
    one = len(levels) == 1
    have, are = ("has", "it is") if one else ("have", "they are")
    return f"{names} {have} no port: {are} never waited for"


@lru_cache(maxsize=1 << 12)
def _rate(bits: int, clock_mhz: float = 1.0, port_clock_mhz: float | None = None) -> Fraction:
    """Bits a cycle of the core clock of so many a cycle of a port's.  Clocks are read as decimals:
    0.1 is a tenth.
    """
    if port_clock_mhz is None:
        return Fraction(bits)
    return bits * Fraction(str(port_clock_mhz)) / Fraction(str(clock_mhz))


@lru_cache(maxsize=1 << 12)
def _resource(
    name: str,
    part: str,
    bits: int,
    clock_mhz: float = 1.0,
    port_clock_mhz: float | None = None,
    burst: int = 1,
) -> Resource:
    return Resource(name, part, _rate(bits, clock_mhz, port_clock_mhz), burst)


# -- times that 64 bits hold -----------------------------------------------------------------------


def too_long(arch: Architecture, array: int, words: int) -> str | None:
    """Why the time of a layer may not fit, None where it does: an array that alone takes ``array``
    cycles at most, and ``words`` over its boundaries as often as they are counted.

    No run is longer than its array and all that its ports and channels carry, one after the other.
    That is what is looked at, with every word as wide as the widest and over every resource; the
    product of bits and a clock's denominator, which is what the loops work with, is larger still.
    """
    each, more = _needs(arch)
    if array + words * each + min(words, MOST_TRANSFERS) * more < LARGEST:
        return None
    return f"cycles may pass 2^62 on this array and at these ports and clocks: {COUNT_RULE}"


@remembered
def _needs(arch: Architecture) -> tuple[int, int]:
    """Units of time that a word takes at most over all ports and channels of a machine one after
    the other, and what a transfer's burst and latency add: in parts of a cycle, as fine as the
    clocks make them.
    """
    widest = max(arch.bits.weight, arch.bits.ifmap, arch.bits.psum, arch.bits.ofmap)
    each, more = 0, 0
    for r in set(_resources(arch)):
        each += widest * r.rate.denominator + 1
        more += r.burst * r.rate.denominator
        if r.rate.numerator > MAX_COUNT:
            more += LARGEST
    return each, more + sum(latency(arch, level) for level in range(len(arch.levels)))


def _resources(arch: Architecture) -> Iterator[Resource]:
    """Every port and channel that has a width."""
    for level in range(len(arch.levels)):
        for access in ACCESSES:
            if (at := port(arch, level, access)) is not None:
                yield at
    for network in arch.networks:
        for tensor in TENSORS:
            for way in WAYS:
                if (over := channel(arch, network, tensor, way)) is not None:
                    yield over


# -- machines that differ in numbers only ----------------------------------------------------------


@remembered
def rates(arch: Architecture) -> tuple[Any, ...]:
    """All numbers of an architecture that say how fast its memory is: architectures of one
    structure that have the same, and an array of the same sides, take the same time for a mapping.
    """
    levels = [
        (x.port_bits, x.burst_bits, x.port_clock_mhz, x.latency_cycles)
        for x in arch.levels.values()
    ]
    widths = [
        tuple(sorted(w.items())) if isinstance(w := x.width_bits, Mapping) else w
        for x in arch.networks.values()
    ]
    return arch.clock_mhz, *levels, *widths
