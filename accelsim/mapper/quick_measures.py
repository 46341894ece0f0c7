"""The measures of a few combinations of choices, closely: energy, DRAM traffic, and the bounds of
the cycles with those forms that are not worth their time for all.

``quick_search`` asks for what ``joining`` kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapper.quick_weights import MachineWeights

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class ChoiceMeasures:
    """Counts are sums of products (``quick_tables``): so for combinations [combinations, families]
    of choices.
    """

    def __init__(self, tables: LayerTables, weights: MachineWeights) -> None:
        self.tables, self.weights = tables, weights

    def of(self, choices: Ints) -> dict[str, Floats]:
        """Energy, bits over the outermost port, and bounds of the cycles [combinations]."""
        return self._measures(self._forms(choices)[:3])

    def expected(self, choices: Ints, usage: Floats) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """The same, and about what combinations of this ``usage`` come to: the array works when the
        first words are there.
        """
        *bounds, array = self._forms(choices)
        low = self._measures(bounds)
        cycles = np.maximum(low["cycles"], array + usage @ self.weights.first)
        energy = low["energy"] + self.weights.static * (cycles - low["cycles"])
        return low, low | {"cycles": cycles, "energy": energy}

    def _forms(self, choices: Ints) -> Floats:
        """Energy but for leakage, bits over the outermost port, the largest form of the cycles, and
        of the array's [4, combinations].
        """
        terms, forms = self.tables.terms_of(choices), np.zeros((4, len(choices)))
        for b, at in self._by_bits(choices):
            weights, own = self.weights.of(b), terms[at].T
            each = weights.forms @ own + weights.constant[:, None]
            forms[:2, at], forms[2, at] = each[:2], each[2:].max(axis=0)
            if len(weights.closer):
                more = weights.closer @ own + weights.closer_constant[:, None]
                forms[2, at] = np.maximum(forms[2, at], more.max(axis=0))
            array = weights.array @ own + weights.array_constant[:, None]
            forms[3, at] = array.max(axis=0)
        return forms

    def _by_bits(self, choices: Ints) -> Iterator[tuple[int, Ints]]:
        """Levels at which some combinations leave sums unfinished, and which combinations."""
        bits = np.zeros(len(choices), np.int64)
        for f, unfinished in enumerate(self.tables.unfinished):
            bits |= unfinished[choices[:, f]]
        for b in sorted(set(bits.tolist())):
            yield b, np.flatnonzero(bits == b)

    def fits(self, choices: Ints, usage: Floats) -> Bools:
        """Which combinations, of this ``usage``, keep all limits [combinations]."""
        fits = np.ones(len(choices), bool)
        for b, at in self._by_bits(choices):
            for limit in self.weights.of(b).limits:
                fits[at] &= limit.used(usage[at].T) <= limit.most
        return fits

    def _measures(self, forms: Sequence[Floats] | Floats) -> dict[str, Any]:
        """Energy with leakage, cycles and dram."""
        energy, dram, cycles = forms
        if self.weights.static:
            energy = energy + self.weights.static * cycles
        return {"energy": energy, "cycles": cycles, "dram": dram}

    def usage(self, choices: Ints) -> Floats:
        """Rows, columns and words of the stores [combinations, usage columns]."""
        t = self.tables
        use = np.repeat(t.whole[None, :], len(choices), axis=0)
        for f, own in enumerate(t.usage):
            use *= own[choices[:, f]]
        for tie in t.ties.values():
            use *= tie.use[choices[:, tie.outer], tie.which[choices[:, tie.filter]]]
        return use


__all__ = ["ChoiceMeasures"]
