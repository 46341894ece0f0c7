"""The vector unit beside the array: cycles and words for what is neither multiplied nor accumulated on it.

The unit has ``lanes``; a lane does ``rates[kind]`` operations of a kind a cycle, one unless given.  Kinds follow each
other, they do not overlap; reading and writing do, through ports of ``read_words`` and ``write_words`` a cycle, so that an
operator takes the longest of the three.  Operations and accesses are those of ``Operator.work``, times the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from accelsim.workload.graph.graph import Graph
from accelsim.workload.operators.base import Work

KINDS = ("add", "multiply", "compare", "divide", "exp", "sqrt", "power")


@dataclass(frozen=True)
class VectorUnit:
    """``lanes`` operations a cycle; ``rates`` of the kinds that are slower (0.25: four cycles) or faster; words a cycle of each port.

    Raises ValueError for a number that is not positive or a kind there is not.
    """

    lanes: int = 16
    rates: Mapping[str, float] = field(default_factory=dict)
    read_words: int = 16
    write_words: int = 16

    def __post_init__(self) -> None:
        for name in ("lanes", "read_words", "write_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for kind, rate in self.rates.items():
            if kind not in KINDS:
                raise ValueError(f"rates: must be of {', '.join(KINDS)}, got {kind}")
            if not rate > 0:
                raise ValueError(f"rates.{kind} must be positive, got {rate}")


@dataclass(frozen=True)
class VectorCost:
    """What an operator costs on the unit, for a batch: operations by kind, words, cycles and what bounds them."""

    operations: Mapping[str, int]
    reads: int
    writes: int
    cycles: int
    bound: str


def cost(work: Work, unit: VectorUnit, batch: int = 1) -> VectorCost:
    """``work`` for ``batch`` inputs on ``unit``; ``bound`` is ``operations``, ``reads`` or ``writes``, or nothing for no work."""
    operations = {kind: n * batch for kind, n in work.operations.items() if n}
    reads, writes = work.reads * batch, work.writes * batch
    cycles = {
        "operations": sum(ceil(n / (unit.lanes * unit.rates.get(kind, 1))) for kind, n in operations.items()),
        "reads": -(-reads // unit.read_words),
        "writes": -(-writes // unit.write_words),
    }
    longest = max(cycles.values())
    return VectorCost(operations, reads, writes, longest, next(k for k, v in cycles.items() if v == longest) if longest else "")


def costs(graph: Graph, unit: VectorUnit, batch: int = 1) -> dict[str, VectorCost]:
    """The cost of every node that has something to do here, by name, in order."""
    found = {node.name: cost(graph.work(node), unit, batch) for node in graph.nodes}
    return {name: c for name, c in found.items() if c.operations or c.reads or c.writes}


def energy(cost: VectorCost, operation: Mapping[str, float], access: float) -> float:
    """Energy of a cost: ``operation`` of each kind (any unit; kinds left out cost what ``add`` does), ``access`` of a word."""
    return (
        sum(n * operation.get(kind, operation.get("add", 0.0)) for kind, n in cost.operations.items()) + (cost.reads + cost.writes) * access
    )
