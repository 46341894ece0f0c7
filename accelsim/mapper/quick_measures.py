"""The measures of a few combinations of choices, closely: energy, DRAM traffic, and the bounds of
the cycles with those forms that are not worth their time for all.

``quick_search`` asks for what ``joining`` kept.
"""

from __future__ import annotations

from collections.abc import Iterator
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
        terms, forms = self._terms(choices), np.zeros((3, len(choices)))
        for b, at in self._by_bits(choices):
            weights = self.weights.of(b)
            each = weights.forms @ terms[at].T + weights.constant[:, None]
            forms[:2, at], forms[2, at] = each[:2], each[2:].max(axis=0)
            if len(weights.closer):
                more = weights.closer @ terms[at].T + weights.closer_constant[:, None]
                forms[2, at] = np.maximum(forms[2, at], more.max(axis=0))
        return self._measures(forms)

    def expected(self, choices: Ints, low: dict[str, Floats], usage: Floats) -> dict[str, Floats]:
        """About what combinations of this ``usage`` come to whose bounds are ``low``: the array
        works when the first words are there.
        """
        terms, array = self._terms(choices), np.zeros(len(choices))
        for b, at in self._by_bits(choices):
            weights = self.weights.of(b)
            each = weights.array @ terms[at].T + weights.array_constant[:, None]
            array[at] = each.max(axis=0)
        cycles = np.maximum(low["cycles"], array + usage @ self.weights.first)
        energy = low["energy"] + self.weights.static * (cycles - low["cycles"])
        return low | {"cycles": cycles, "energy": energy}

    def _terms(self, choices: Ints) -> Floats:
        """The terms of some combinations [combinations, terms]."""
        t = self.tables
        terms = np.repeat(t.constant[None, :], len(choices), axis=0)
        for f, own in enumerate(t.own):
            terms *= own[choices[:, f]]
        for tie in t.ties.values():
            terms *= tie.terms[choices[:, tie.outer], tie.which[choices[:, tie.filter]]]
        return terms

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

    def _measures(self, forms: Floats) -> dict[str, Any]:
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
