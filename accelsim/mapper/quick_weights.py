"""What one machine makes of a layer's tables: prices, widths and capacities as weights of terms.

``LayerTables`` counts, whatever the machine; here every measure becomes a constant and a weight for
each term: energy (but for leakage), bits over the outermost level's port, and each form of the
cycles (``lower_cycles``), of which the largest counts.  Which width a sum has depends on where it
is final, so there are weights for each combination of levels that sums are unfinished at (``bits``,
as in ``LayerTables.unfinished``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import moved
from accelsim.engines.analytic.closed_form import Evaluated
from accelsim.engines.analytic.pipeline import overlaps
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.energy import prices
from accelsim.mapper import lower_cycles
from accelsim.mapper.cell import Limit, limits_of
from accelsim.mapper.lower_cycles import Form
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapping.skeleton import Skeleton

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """Measures of mappings whose sums are final at the same levels.

    ``forms`` [2 + forms, terms] and ``constant`` [2 + forms]: energy, bits over the outermost port,
    then the cycles' forms; ``closer`` and ``closer_constant`` more of these, for few mappings.
    """

    forms: Floats
    constant: Floats
    closer: Floats
    closer_constant: Floats
    limits: tuple[Limit, ...]


class MachineWeights:
    """The weights of a machine, worked out for one combination of unfinished levels at a time."""

    def __init__(self, tables: LayerTables, arch: Architecture) -> None:
        self.tables, self.arch = tables, arch
        self.static = prices(arch).static_mw * 1e9 / (arch.clock_mhz * 1e6)  # pJ a cycle
        self._known: dict[int, Weights] = {}

    def of(self, bits: int) -> Weights:
        """Those of mappings that leave sums unfinished at these levels."""
        known = self._known.get(bits)
        if known is None:
            known = self._known[bits] = self._weigh(bits)
        return known

    @cached_property
    def first(self) -> Floats:
        """Cycles that come on top of the bounds, about, for each usage column [usage columns]: the
        first tile of every operand and the last of sums are not moved beside the array's work,
        where all others are.  A pass more is one cycle more, so of bounds that are equal those of
        fewer passes come first.
        """
        tables, arch = self.tables, self.arch
        nest, cycles = tables.skeleton, np.zeros(len(tables.whole))
        cycles[-1] = 1.0
        for column, (level, tensor) in enumerate(tables.stores, 2):
            above = [i for i in nest.keepers(tensor) if i < level]
            outside = arch.levels[arch.level_names[above[-1]]] if above else None
            if outside is None or not outside.port_bits or level == arch.level_in_pe:
                continue
            if overlaps(nest, level, tensor):
                clock = arch.clock_mhz / (outside.port_clock_mhz or arch.clock_mhz)
                cycles[column] = getattr(arch.bits, tensor) / outside.port_bits * clock
        return cycles

    def _weigh(self, bits: int) -> Weights:
        tables, whole = self.tables, self.tables.skeleton
        nest = Skeleton(
            whole.problem, self.arch, whole.keep, whole.loops, whole.fused, tables.final(bits)
        )
        columns = {c: i for i, c in enumerate(tables.columns)}
        n = len(tables.model.columns)  # the first of all columns
        unit = tables.model.moves(
            Evaluated(np.vstack([np.zeros(n), np.eye(n)]), tuple(tables.model.columns))
        )
        priced = moved.energy(nest, unit, nest.problem.macs, 0.0)
        energy = np.broadcast_to(priced[f"energy_{self.arch.energy.unit}"], n + 1)
        listed = [energy, np.broadcast_to(np.asarray(outermost_bits(nest, unit), float), n + 1)]
        by_column = np.zeros((2, len(columns)))
        by_column[:, :n] = [v[1:] - v[0] for v in listed]
        cycles, first = _rows(lower_cycles.forms(nest), columns)
        closer, second = _rows(lower_cycles.closer_forms(nest), columns)
        return Weights(
            np.vstack([by_column, cycles]) @ tables.signs.T,
            np.concatenate([[v[0] for v in listed], first]),
            closer @ tables.signs.T,
            second,
            limits_of(nest, tables.stores),
        )


def _rows(forms: list[Form], columns: dict[Any, int]) -> tuple[Floats, Floats]:
    """Weights [forms, columns] and constants [forms]."""
    weights = np.zeros((len(forms), len(columns)))
    for i, (_, of) in enumerate(forms):
        for column, w in of.items():
            weights[i, columns[column]] += w
    return weights, np.array([constant for constant, _ in forms], np.float64)


def outermost_bits(nest: Skeleton, moves: moved.Moves) -> Any:
    """Bits that are read and written at the outermost level; what the objective ``dram`` counts."""
    total: Any = 0
    for b, m in moves.items():
        if b.parent == 0:
            words = m.arrived + m.updated if b.tensor == nest.problem.accumulated else m.read
            total = total + words * nest.word_bits(0, b.tensor)
    return total


__all__ = ["MachineWeights", "Weights", "outermost_bits"]
