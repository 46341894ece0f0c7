"""What one machine makes of a layer's tables: prices, widths and capacities as weights of terms.

``LayerTables`` counts, whatever the machine; here every measure becomes a constant and a weight for
each term: energy (but for leakage), bits over the outermost level's port, and each form of the
cycles (``lower_cycles``), of which the largest counts.  Which width a sum has depends on where it
is final, so there are weights for each combination of levels that sums are unfinished at (``bits``,
as in ``LayerTables.unfinished``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines import moved
from accelsim.engines.analytic.pipeline import MOST_STEPS, overlaps
from accelsim.hardware.architecture import Architecture, limited, remembered
from accelsim.hardware.energy import prices
from accelsim.hardware.ports import rates
from accelsim.mapper import lower_cycles
from accelsim.mapper.cell import Limit, limits_of
from accelsim.mapper.layer_counts import LayerCounts
from accelsim.mapper.lower_cycles import Form
from accelsim.mapper.quick_tables import PASSES, STEPS, LayerTables
from accelsim.mapping.files import MAX_STEPS
from accelsim.mapping.skeleton import Kept, Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
ROUNDED = 1e-9  # relative; what float64 sums may be off by, with room
OF_TIME = (  # the cycles' forms, and those below that few mappings are asked for
    lower_cycles.forms,
    lower_cycles.closer_forms,
    lower_cycles.array_forms,
    lower_cycles.between_forms,
    lower_cycles.inside_forms,
)


class Forms(NamedTuple):
    """``weights`` [forms, terms] and ``constant`` [forms]."""

    weights: Floats
    constant: Floats

    def most(self, terms: Floats) -> Any:
        """The largest form of combinations with these ``terms`` [terms, combinations], at least
        0."""
        each = self.weights @ terms + self.constant[:, None]
        return each.max(axis=0, initial=0.0)


class Together(NamedTuple):
    """Weights of all patterns of unfinished levels as one.

    ``used``      the terms that some form weighs
    ``forms``     [patterns, used, forms], ``constant`` [patterns, forms]
    ``least``     [patterns, used, forms], ``lowest`` [patterns, forms]: weights and constants at
                  least, whatever more is left unfinished
    """

    used: Ints
    forms: Floats
    constant: Floats
    least: Floats
    lowest: Floats


_forms: Kept[tuple[Forms, ...]] = Kept(1 << 10)  # of structures, for other layers


@remembered
def _on_machine(_: Architecture) -> Kept[Any]:
    """What a machine makes of layers of a kind, whatever their sizes."""
    return Kept(1 << 6)


@dataclass(frozen=True)
class Weights:
    """Measures of mappings whose sums are final at the same levels.

    ``forms`` [2 + forms, terms] and ``constant`` [2 + forms]: energy, bits over the outermost port,
    then the cycles' forms; ``closer`` more of these; those of the array alone, of what moves
    ``between`` passes and ``inside`` them (``lower_cycles``)
    """

    forms: Floats
    constant: Floats
    closer: Forms
    array: Forms
    between: Forms
    inside: Forms
    limits: tuple[Limit, ...]


class _ManyWidths(Skeleton):
    """Skeletons that differ in where sums are final, as one: its sums' widths are [nests, 1]."""

    def __init__(self, layer: LayerCounts, patterns: Sequence[int]) -> None:
        self.nests = [layer.nest(bits) for bits in patterns]
        first = self.nests[0]
        super().__init__(first.problem, first.arch, first.keep, first.loops, first.fused)

    def word_bits(self, level: int, tensor: str) -> Any:
        """As a skeleton's, of each."""
        if tensor != self.problem.accumulated:
            return self.nests[0].word_bits(level, tensor)
        return np.array([[nest.word_bits(level, tensor)] for nest in self.nests])


class MachineWeights:
    """The weights of a machine, worked out for one combination of unfinished levels at a time."""

    def __init__(self, tables: LayerTables, arch: Architecture) -> None:
        self.tables, self.arch = tables, arch
        self._static_mw = prices(arch).static_mw
        self.static = self._static_mw * 1e9 / (arch.clock_mhz * 1e6)  # pJ a cycle
        self._known: dict[int, Weights] = {}
        self._limits: dict[int, tuple[Limit, ...]] = {}

    def of(self, bits: int) -> Weights:
        """Those of mappings that leave sums unfinished at these levels."""
        known = self._known.get(bits)
        if known is None:
            known = self._known[bits] = self._weigh(bits)
        return known

    def limits_of(self, bits: int) -> tuple[Limit, ...]:
        """The limits of such mappings, for whoever asks what may fit before anything is weighed."""
        known = self._limits.get(bits)
        if known is None:
            own = self.tables.layer.nest(bits).on(self.arch, self.tables.layer.final(bits))
            known = (*limits_of(own, self.tables.stores), *self._timeable())
            self._limits[bits] = known
        return known

    @cached_property
    def first(self) -> Floats:
        """Cycles that come on top of the bounds, about, for each usage column [usage columns]: the
        first tile of every operand and the last of sums are not moved beside the array's work,
        where all others are.  A pass more is one cycle more where memory is waited for, so of
        bounds that are equal those of fewer passes come first.
        """
        tables, arch = self.tables, self.arch
        nest, cycles = tables.skeleton, np.zeros(len(tables.whole))
        cycles[PASSES] = float(limited(arch))
        for column, (level, tensor) in enumerate(tables.stores, 2):
            above = [i for i in nest.keepers(tensor) if i < level]
            outside = arch.levels[arch.level_names[above[-1]]] if above else None
            if outside is None or not outside.port_bits or level == nest.levels - 1:
                continue
            if overlaps(nest, level, tensor):
                clock = arch.clock_mhz / (outside.port_clock_mhz or arch.clock_mhz)
                cycles[column] = getattr(arch.bits, tensor) / outside.port_bits * clock
        return cycles

    def _weigh(self, bits: int) -> Weights:
        """Of energy and traffic what this machine's prices make; the forms are the same on all
        machines whose memory is as fast.
        """
        still = self._still.get(bits)
        if still is None:
            still = self._spent([bits], self.tables.layer.still)[bits]
        forms = self._of_kind(("weights", bits), partial(self._priced, bits))
        cycles, closer, array, between, inside = self._forms(bits)
        return Weights(
            forms,
            np.concatenate([still[:, 0], cycles.constant]),
            closer,
            array,
            between,
            inside,
            self.limits_of(bits),
        )

    def _of_kind(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What is the same for all layers of a kind on this machine."""
        return _on_machine(self.arch).of((self.tables.layer.kind, *key), make)

    def _priced(self, bits: int) -> Floats:
        """``Weights.forms``."""
        layer = self.tables.layer
        each = self._spent([bits], layer.unit, 0)[bits]
        moving = each @ layer.signs[:, : len(layer.moving)].T
        return np.vstack([moving, self._forms(bits)[0].weights])

    def together(self) -> Together:
        """The weights of all patterns as one."""
        each = {bits: self.of(bits) for bits in self.tables.patterns}
        used, forms, least = self._of_kind(("together", *each), partial(_as_one, each))
        constant = np.zeros((len(forms), forms.shape[2]))
        lowest = np.full(constant.shape, np.inf)
        for bits, own in each.items():
            constant[bits] = own.constant
            for fewer in _within(bits):
                np.minimum(lowest[fewer], own.constant, out=lowest[fewer])
        return Together(used, forms, constant, least, lowest)

    @cached_property
    def _still(self) -> dict[int, Floats]:
        """``_spent`` where nothing is counted, in all mappings that there are."""
        return self._spent(self.tables.patterns, self.tables.layer.still)

    def _spent(
        self, patterns: Sequence[int], moves: moved.Moves, macs: int | None = None
    ) -> dict[int, Floats]:
        """Energy but for leakage, of the layer's MACs unless told, and bits over the outermost
        port, of these ``moves`` [moves], by the levels that sums are unfinished at, where they are
        of different widths: [2, moves].
        """
        layer = self.tables.layer
        nest = _ManyWidths(layer, patterns)
        macs = nest.problem.macs if macs is None else macs
        spent = moved.energy(nest, moves, macs, 0.0, prices(self.arch))
        each = spent[f"energy_{self.arch.energy.unit}"], outermost_bits(nest, moves)
        shape = len(patterns), len(layer.moving) if moves is layer.unit else 1
        every = np.stack([np.broadcast_to(np.asarray(x, float), shape) for x in each], axis=1)
        return dict(zip(patterns, every, strict=True))

    def _timeable(self) -> Iterator[Limit]:
        """Limits on passes and steps, where some mapping has more than the engines time."""
        for column, most in ((PASSES, MOST_STEPS), (STEPS, MAX_STEPS)):
            worst = self.tables.most_steps[column]
            if worst > most and (column == STEPS or limited(self.arch)):
                at = len(self.tables.whole) + column
                yield Limit("steps", ((at, 1, 1, 1),), most)

    def _forms(self, bits: int) -> tuple[Forms, ...]:
        """``OF_TIME``: alike for all layers of a structure, whatever their sizes."""
        layer, array = self.tables.layer, self.arch.array

        def make() -> tuple[Forms, ...]:
            nest = layer.nest(bits).on(self.arch, layer.final(bits))
            columns, made = {c: i for i, c in enumerate(layer.columns)}, list[Forms]()
            for forms in OF_TIME:
                weights, constant = _rows(forms(nest), columns)
                made.append(Forms(weights @ layer.signs.T, constant))
            return tuple(made)

        return _forms.of((layer.kind, bits, self._rates, array.rows, array.cols), make)

    @cached_property
    def _rates(self) -> tuple[Any, ...]:
        return rates(self.arch)

    def least(self, pes: float, alone: int = 0) -> dict[str, float]:
        """Measures that no mapping is below that has work for so many PEs at most, and whose array
        ``alone`` takes so many cycles: every word crosses each boundary once, and every MAC has its
        operands.
        """
        cycles = max(int(-(-self.tables.skeleton.problem.macs // max(pes, 1))), alone)
        leaked = self._static_mw * (cycles / (self.arch.clock_mhz * 1e6)) * 1e9
        return {
            "energy": self._at_once + leaked if self._static_mw else self._at_once,
            "cycles": cycles,
            "dram": self._once_out,
        }

    @cached_property
    def port_cycles(self) -> float:
        """Cycles of the outermost level's port for every word once, where one carries all of them:
        one of the cycles' forms is never below.  0 where counts are not exact, or sums may be
        narrower than these.
        """
        arch = self.arch
        outermost, bits = arch.levels[arch.level_names[0]], arch.bits
        shared = outermost.port_bits and outermost.ports == "shared"
        wide = bits.psum >= getattr(bits, self.tables.skeleton.problem.accumulated)
        if not (shared and wide and self.tables.exact):
            return 0.0
        each = lower_cycles.port_cycles(self.tables.skeleton.on(arch), 0, 1)
        return float(self._once_out * each) * (1 - ROUNDED)

    @cached_property
    def _at_once(self) -> float:
        """Energy but for leakage where every word crosses each boundary once."""
        nest, price = self.tables.layer.nest(0), prices(self.arch)
        spent = moved.energy(nest, self.tables.once, nest.problem.macs, 0.0, price)
        return float(spent[f"energy_{self.arch.energy.unit}"])

    @cached_property
    def _once_out(self) -> Any:
        """Bits over the outermost port then."""
        return outermost_bits(self.tables.layer.nest(0), self.tables.once)


def _as_one(each: dict[int, Weights]) -> tuple[Ints, Floats, Floats]:
    """``Together.used``, ``forms`` and ``least`` of some patterns' weights."""
    used = np.flatnonzero(np.any([own.forms.any(axis=0) for own in each.values()], axis=0))
    shape = max(each) + 1, len(used), len(each[max(each)].forms)
    forms, least = np.zeros(shape), np.full(shape, np.inf)
    for bits, own in each.items():
        forms[bits] = own.forms[:, used].T
        for fewer in _within(bits):
            np.minimum(least[fewer], forms[bits], out=least[fewer])
    return used, forms, least


def _within(bits: int) -> list[int]:
    """Every pattern that leaves no other level unfinished than this one."""
    return [fewer for fewer in range(bits + 1) if fewer & bits == fewer]


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


__all__ = ["Forms", "MachineWeights", "Weights", "outermost_bits"]
