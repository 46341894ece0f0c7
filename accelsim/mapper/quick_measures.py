"""The measures of a few combinations of choices, closely: energy, DRAM traffic, and the bounds of
the cycles with those forms that are not worth their time for all.

``quick_search`` asks for what ``joining`` kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import fold_rules, on_lines
from accelsim.engines.analytic.pipeline import overlaps
from accelsim.hardware.architecture import limited
from accelsim.mapper import lower_cycles
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
        return self._measures(self._forms(choices, ()))

    def expected(self, choices: Ints, usage: Floats) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """The same, and about what combinations of this ``usage`` come to: the array works when the
        first words are there, and waits as ``Waits`` says.
        """
        waits = limited(self.weights.arch)
        more = ("array", "between", "inside") if waits else ("array",)
        forms = self._forms(choices, more)
        low = self._measures(forms[:3])
        cycles = np.maximum(low["cycles"], forms[3] + usage @ self.weights.first)
        if waits:
            trips = self.tables.trips_of(choices)
            cycles = Waits(self.weights).of(cycles, trips, usage, *forms[3:])
        energy = low["energy"] + self.weights.static * (cycles - low["cycles"])
        return low, low | {"cycles": cycles, "energy": energy}

    def _forms(self, choices: Ints, more: Sequence[str]) -> Floats:
        """Energy but for leakage, bits over the outermost port, the largest form of the cycles, and
        of ``more`` forms by name [3 + more, combinations].
        """
        terms, forms = self.tables.terms_of(choices), np.zeros((3 + len(more), len(choices)))
        for b, at in self._by_bits(choices):
            weights, own = self.weights.of(b), terms[at].T
            each = weights.forms @ own + weights.constant[:, None]
            forms[:2, at], forms[2, at] = each[:2], each[2:].max(axis=0)
            if len(weights.closer.constant):
                forms[2, at] = np.maximum(forms[2, at], weights.closer.most(own))
            for n, name in enumerate(more, 3):
                forms[n, at] = getattr(weights, name).most(own)
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


class Waits:
    """What the array waits for beside what the forms of the cycles say, about: that depends on how
    often tiles change, and no sum of counts tells it.

    ``sums``  levels between which finished tiles of sums take time on their way, the outer ones
    ``held``  the operands that come to the PEs during passes
    """

    def __init__(self, weights: MachineWeights) -> None:
        nest = self.nest = weights.tables.skeleton.on(weights.arch)
        last, acc = nest.levels - 1, nest.problem.accumulated
        timed = [b for b in nest.boundaries if lower_cycles.takes_time(nest, b)]
        self.sums = [b for b in timed if b.child < last and b.tensor == acc]
        self.held = [b.tensor for b in timed if b.child == last and b.tensor != acc]
        self.outside = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < last]

    def of(
        self, cycles: Floats, trips: Floats, usage: Floats, array: Floats, between: Floats,
        inside: Floats,
    ) -> Floats:  # fmt: skip
        """Cycles [combinations] of mappings that should come to ``cycles`` but for waits; ``trips``
        of all loops [combinations, loops]; the ``array``'s, and those of what moves ``between`` its
        passes and ``inside`` them.

        A tile's sums leave when its last one is there.  Where its level has no second slot, the
        array begins anew after that, and each tile waits for its tail; where it has one, a tile's
        words, work and sums last two rounds at least.
        """
        for b in self.sums:
            rounds = self._rounds(trips, b.child, b.tensor)
            if not overlaps(self.nest, b.child, b.tensor):
                cycles = cycles + (rounds - 1) * self._tail(usage)
            elif (rounds > 2).any():
                two = (between + array + rounds * self._tail(usage)) / 2
                cycles = np.where(rounds > 2, np.maximum(cycles, two), cycles)
        return np.asarray(cycles + self._uncovered(trips, array, inside))

    def _tail(self, usage: Floats) -> Floats:
        """From a tile's last step to its last sum [combinations]."""
        nest = self.nest
        rules = fold_rules(nest)
        r, c = usage[:, :2].T[::-1] if nest.turned else usage[:, :2].T
        if not on_lines(nest):
            return np.full(len(usage), nest.arch.array.pipeline_stages - 1.0)
        return np.asarray(rules.length(0, *rules.used(r, c)), np.float64)

    def _uncovered(self, trips: Floats, array: Floats, inside: Floats) -> Any:
        """Words that come to the PEs during passes are covered by the work of those passes only in
        which they come [combinations].
        """
        if not (self.held and on_lines(self.nest)):
            return 0.0
        last = self.nest.levels - 1
        passes = trips[:, [i for i in self.outside if self.nest.loops[i].level < last - 1]]
        loads = np.max([self._rounds(trips, last, t) for t in self.held], axis=0)
        covering = array * np.minimum(loads / passes.prod(axis=1), 1.0)
        more = np.maximum(inside, covering) + array - covering - np.maximum(inside, array)
        return np.maximum(more, 0.0)  # as sums are rounded

    def _rounds(self, trips: Floats, level: int, tensor: str) -> Floats:
        """How many tiles of a tensor a level takes one after the other [combinations]: settings of
        the loops outside, down to the innermost that cuts it.
        """
        loops = [i for i in self.outside if self.nest.loops[i].level < level]
        rounds, settings = np.ones(len(trips)), np.ones(len(trips))
        for i in loops:
            settings = settings * trips[:, i]
            if self.nest.loop_depends(self.nest.loops[i], tensor):
                rounds = np.where(trips[:, i] > 1, settings, rounds)
        return rounds


__all__ = ["ChoiceMeasures", "Waits"]
