"""The vector unit beside the array: cycles, words and energy of what is neither multiplied nor
accumulated on it.

It stands among the analytic engine because it is one: what an operator takes is arithmetic on how
much work it is, and there is no nest, no tile and no order for another engine to carry out.  The
words themselves are the golden network's, whichever engine runs the layers around them.

The unit has ``lanes``; a lane does ``rates[kind]`` operations of a kind a cycle, one unless given.
Kinds follow each other, they do not overlap; reading and writing do, through ports of
``read_words`` and ``write_words`` a cycle, and so does what comes from further out and goes there:

    cycles = max(sum over kinds of ceil(n / (lanes x rate)), reads / port, writes / port,
                 bits / rate of every port and channel crossed)
             + the fixed latency of each home that words come from or go to

It stands at the innermost level outside the PEs that may keep ifmaps and ofmaps, or where
``vector.at`` puts each tensor: beside memories that lie side by side, ifmaps are read from one and
ofmaps written to another.  What it reads is an ifmap there, what it writes an ofmap, its own arrays
are weights.  A tensor whose home is further
out crosses every level in between once: words are used while they pass, windows from the lines that
are there.  A tensor that stays on the chip crosses none outside its home.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

from accelsim.base.adding import sum_in_order
from accelsim.hardware.architecture import Architecture, VectorUnit
from accelsim.hardware.energy import prices
from accelsim.hardware.ports import Resource, Way, channel, latency, port
from accelsim.hardware.vector_energy import vector_prices
from accelsim.workload.operators.operator import Work
from accelsim.workload.problem import TENSORS

Words = tuple[int, bool]  # how many, and whether they stay on the chip


@dataclass(frozen=True)
class VectorCost:
    """What an operator costs on the unit, for a batch.

    ``operations``  by kind
    ``reads``       words, its own arrays once and the rest for every input
    ``writes``      words
    ``cycles``      the longest of computing, reading and writing
    ``computing``   of the cycles, those the operations alone need
    ``bound``       which of the three it is
    """

    operations: Mapping[str, int]
    reads: int
    writes: int
    cycles: int
    computing: int
    bound: str


def cost(work: Work, unit: VectorUnit, batch: int = 1) -> VectorCost:
    """``work`` for ``batch`` inputs on ``unit``; ``bound`` is ``operations``, ``reads`` or
    ``writes``, or nothing for no work.
    """
    operations = {kind: n * batch for kind, n in work.operations.items() if n}
    reads, writes = (work.reads - work.parameters) * batch + work.parameters, work.writes * batch
    rates: Mapping[Any, float] = unit.rates
    cycles = {
        "operations": sum(
            ceil(n / (unit.lanes * rates.get(kind, 1))) for kind, n in operations.items()
        ),
        "reads": -(-reads // unit.read_words),
        "writes": -(-writes // unit.write_words),
    }
    longest = max(cycles.values())
    bound = next(k for k, v in cycles.items() if v == longest) if longest else ""
    return VectorCost(operations, reads, writes, longest, cycles["operations"], bound)


@dataclass(frozen=True)
class VectorRun:
    """An operator on the unit of an architecture: its cost, and the words it moves.

    ``cost``           on the unit alone
    ``reads, writes``  words by (level, tensor)
    ``deliveries``     words by (network, tensor)
    ``cycles``         with memory
    ``stalls``         cycles by what was waited for, ``vector`` for the unit's own ports
    """

    cost: VectorCost
    reads: Mapping[tuple[str, str], int]
    writes: Mapping[tuple[str, str], int]
    deliveries: Mapping[tuple[str, str], int]
    cycles: int
    stalls: Mapping[str, int]


def beside(arch: Architecture) -> int:
    """The level the unit stands at: the innermost outside the PEs that may keep ifmaps and
    ofmaps.
    """
    outside = range(len(arch.levels) if arch.level_in_pe is None else arch.level_in_pe)
    return max(
        i for i in outside if {"ifmap", "ofmap"} <= set(arch.levels[arch.level_names[i]].keeps)
    )


def run(
    arch: Architecture, work: Work, inputs: Sequence[Words], output: Words, batch: int = 1
) -> VectorRun:
    """An operator whose ``inputs`` and ``output`` have so many words in all, for ``batch`` inputs;
    with each goes whether it stays on the chip.

    All resources work side by side, so only the slowest is waited for, and is charged alone.
    """
    total = cost(work, arch.vector, batch)
    moved = _VectorWords(arch)
    own, shared = work.parameters, total.reads - work.parameters
    for words, stays in inputs:
        moved.down("ifmap", words, stays)
    moved.down("weight", own, False)
    moved.add(moved.reads, moved.last("ifmap"), "ifmap", shared)
    moved.add(moved.reads, moved.last("weight"), "weight", own)
    moved.add(moved.writes, moved.last("ofmap"), "ofmap", total.writes)
    moved.up("ofmap", output[0] if total.writes else 0, output[1])
    waits = {"vector": total.cycles - total.computing}
    for r, bits in moved.bits.items():
        waits[r.name] = max(waits.get(r.name, 0), int(r.cycles(bits)) - total.computing)
    name = max(waits, key=lambda n: waits[n])
    stalls = {name: waits[name]} if waits[name] > 0 else {}
    for level, late in moved.late.items():
        stalls[level] = stalls.get(level, 0) + late
    return VectorRun(
        total,
        moved.reads,
        moved.writes,
        moved.deliveries,
        total.computing + sum(stalls.values()),
        stalls,
    )


class _VectorWords:
    """Words by place, and the bits every port and channel carries.

    ``at``          by tensor, the innermost level that the unit may read it from or write it to
    ``reads``, ``writes``, ``deliveries``   as in ``VectorRun``
    ``bits``        carried by each resource
    ``late``        fixed cycles by level, of the tensors whose way begins or ends there
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch, names = arch, arch.level_names
        named = {t: names.index(level) for t, level in arch.vector.at.items()}
        self.at = {t: named[t] if t in named else beside(arch) for t in TENSORS}
        self.reads: dict[tuple[str, str], int] = {}
        self.writes: dict[tuple[str, str], int] = {}
        self.deliveries: dict[tuple[str, str], int] = {}
        self.bits: dict[Resource, int] = {}
        self.late: dict[str, int] = {}

    def keepers(self, tensor: str, stays: bool = False) -> list[int]:
        """Levels a tensor goes through, outermost first; one that stays is only where its home is
        and further in.
        """
        names = self.arch.level_names
        levels = [
            i for i in range(self.at[tensor] + 1) if tensor in self.arch.levels[names[i]].keeps
        ]
        return levels[1:] if stays and len(levels) > 1 else levels

    def last(self, tensor: str) -> int:
        """The level next to the unit that keeps a tensor."""
        return self.keepers(tensor)[-1]

    def add(self, to: dict[tuple[str, str], int], level: int, tensor: str, words: int) -> None:
        """Words read or written (``to`` says which) at a level."""
        if words:
            key = self.arch.level_names[level], tensor
            to[key] = to.get(key, 0) + words
            self._carry(
                port(self.arch, level, "read" if to is self.reads else "write"), tensor, words
            )

    def down(self, tensor: str, words: int, stays: bool) -> None:
        """A tensor comes from its home to the unit's level."""
        self._cross(tensor, words, stays, "down")

    def up(self, tensor: str, words: int, stays: bool) -> None:
        """A tensor goes from the unit's level to its home."""
        self._cross(tensor, words, stays, "up")

    def _cross(self, tensor: str, words: int, stays: bool, way: Way) -> None:
        chain = self.keepers(tensor, stays)
        if not words or len(chain) < 2:
            return
        for parent, child in pairwise(chain):
            self.add(self.reads if way == "down" else self.writes, parent, tensor, words)
            self.add(self.writes if way == "down" else self.reads, child, tensor, words)
            name, _ = self.arch.network_below(child - 1)
            if name is not None:
                self.deliveries[name, tensor] = self.deliveries.get((name, tensor), 0) + words
                self._carry(
                    channel(self.arch, name, tensor, way),
                    tensor,
                    words,
                )
        name = self.arch.level_names[chain[0]]
        if late := latency(self.arch, chain[0]):
            self.late[name] = self.late.get(name, 0) + late

    def _carry(self, r: Resource | None, tensor: str, words: int) -> None:
        if r is not None:
            self.bits[r] = self.bits.get(r, 0) + words * getattr(self.arch.bits, tensor)


def columns(arch: Architecture, ran: VectorRun) -> dict[str, int]:
    """The counts under the contract's names, zeros too, and the unit's own: ``vector_operations``,
    ``_reads``, ``_writes``.
    """
    counted: dict[str, int] = {}
    for name, level in arch.levels.items():
        for tensor in (t for t in TENSORS if t in level.keeps):
            counted[f"{name}_{tensor}_reads"] = ran.reads.get((name, tensor), 0)
            counted[f"{name}_{tensor}_writes"] = ran.writes.get((name, tensor), 0)
    for name in arch.networks:
        counted |= {
            f"{name}_{tensor}_deliveries": ran.deliveries.get((name, tensor), 0)
            for tensor in TENSORS
        }
        counted[f"{name}_ofmap_additions"] = 0
    own = {
        "operations": sum(ran.cost.operations.values()),
        "reads": ran.cost.reads,
        "writes": ran.cost.writes,
    }
    return counted | {f"vector_{key}": n for key, n in own.items()}


def energy(arch: Architecture, ran: VectorRun, time_s: float) -> dict[str, Any]:
    """Energy by component and by tensor, and area, as ``moved.energy`` gives them of a layer; the
    unit is ``vector``.

    The chip leaks while the unit works, and the unit with it.  ``charge: reads`` charges operands
    where they are read and what is written once, where it leaves the unit.
    """
    price, unit = prices(arch), vector_prices(arch)
    everything = arch.energy.charge == "reads_and_writes"
    parts: dict[str, float] = dict.fromkeys(("compute", *arch.level_names, *arch.networks), 0.0)
    tensors = dict.fromkeys(TENSORS, 0.0)

    def charge(component: str, tensor: str, amount: float) -> None:
        parts[component] += amount
        tensors[tensor] += amount

    for table, reading in ((ran.reads, True), (ran.writes, False)):
        for (level, tensor), words in table.items():
            if everything or reading == (tensor != "ofmap"):
                charge(
                    level,
                    tensor,
                    words * price.levels[level][tensor].of(getattr(arch.bits, tensor)),
                )
    for (network, tensor), words in ran.deliveries.items():
        route, bits = price.networks[network], getattr(arch.bits, tensor)
        charge(network, tensor, words * (route.run.of(bits) + route.hop.of(bits)))
    parts["vector"] = sum_in_order(
        n * unit.operation[kind] for kind, n in ran.cost.operations.items()
    )
    if price.static_mw:
        parts["static"] = (price.static_mw + unit.static_mw) * time_s * 1e9  # 1 mW s is 1e9 pJ
    total: dict[str, Any] = {f"energy_{price.unit}": sum_in_order(parts.values())}
    total |= {f"energy_{n}_{price.unit}": v for n, v in (parts | tensors).items()}
    area = dict(price.area_um2) | ({"vector": unit.area_um2} if unit.area_um2 is not None else {})
    total["area_um2"] = sum_in_order(area.values()) if price.area_um2 else None
    return total | {f"area_{name}_um2": value for name, value in area.items()}
