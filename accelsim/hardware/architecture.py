"""The architecture: what a chip is, before any layer is mapped onto it.  Frozen, from YAML or
Python (docs/design.md, section 3).

    Architecture
      levels      storage, outermost first: dram, glb, spad      (``Level``)
      networks    what carries words below each level             (``Network``)
      array       rows x cols PEs, and how their folds follow     (``Array``)
      bits, signed                                                number formats of words
      vector      what works beside the array                     (``VectorUnit``)
      energy      which table prices an access                    (``hardware.energy``)

A level is known by its place, 0 the outermost; one beyond the last is the MAC, a child without
memory.  Everything here is checked when it is made, so whoever is handed an ``Architecture`` need
not check it again.  Keys of the files are the attributes' names, and so are overrides and sweeps
(``levels.glb.capacity_bytes``).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.frozen import FixedDict, Frozen, FrozenDict
from accelsim.base.overrides import apply_overrides
from accelsim.base.validation import checked, load_named, validate
from accelsim.workload.arithmetic import Number
from accelsim.workload.problem import TENSORS

T = TypeVar("T")
Tensor = Literal["weight", "ifmap", "ofmap"]
OperandKind = Literal["multicast", "systolic", "unicast", "preload", "neighbour"]
AccumulatedKind = Literal["reduce", "chain", "systolic", "unicast"]
Positive = Annotated[int, Field(gt=0)]
Kept = Annotated[tuple[Tensor, ...], Field(strict=False, min_length=1)]
Energy = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Unit = Literal["mac", "pj"]
Charge = Literal["reads", "reads_and_writes"]
Operation = Literal["add", "multiply", "compare", "divide", "exp", "sqrt", "power"]
# What makes an access to a level take time, and the word for a level without it.
TIMED = ("port_bits", "port_clock_mhz", "burst_bits", "latency_cycles")
UNLIMITED = "unlimited"
# Components of energy that are neither level nor network: no level may have such a name.
COMPONENTS = ("compute", "static", "vector", *TENSORS)


class Level(Frozen):
    """One storage level; of each instance, where there are several.

    ``keeps``            tensors it may keep
    ``capacity_bytes``   shared by the kept tensors that have no partition; none: unbounded
    ``partitions``       bytes that are one tensor's own
    ``banks``            the shared part is so many equal banks, each wholly one tensor's
    ``double_buffered``  the next tiles come in while these are used: a tile has two slots
    ``queued``           the same for these tensors, by FIFOs beside the level
    ``port_bits``        a cycle of its port's clock, into or out of it; none: never waited for
    ``port_clock_mhz``   none: the core clock
    ``ports``            reads and writes over one port, or each over its own
    ``latency_cycles``   of every transfer from or to the level, in cycles of its port's clock
    ``burst_bits``       a transfer is made of whole bursts
    ``priced_bytes``     size for energy and area of a level without capacity; bounds no tile
    """

    keeps: Kept = TENSORS  # type: ignore[assignment]
    capacity_bytes: Positive | None = None
    partitions: FixedDict[Tensor, Positive] = FrozenDict()
    banks: Positive | None = None
    double_buffered: bool = False
    queued: Annotated[tuple[Tensor, ...], Field(strict=False)] = ()
    port_bits: Positive | None = None
    port_clock_mhz: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    ports: Literal["shared", "separate"] = "shared"
    latency_cycles: Annotated[int, Field(ge=0)] = 0
    burst_bits: Positive | None = None
    priced_bytes: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Level:
        for t in self.partitions:
            if t not in self.keeps:
                raise ValueError(
                    f"partitions names {t}, which the level does not keep ({', '.join(self.keeps)})"
                )
        if len(set(self.keeps)) != len(self.keeps):
            raise ValueError("keeps names a tensor twice")
        for t in self.queued:
            if t not in self.keeps:
                raise ValueError(
                    f"queued names {t}, which the level does not keep ({', '.join(self.keeps)})"
                )
        if self.port_bits is None:
            for key in ("port_clock_mhz", "burst_bits"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} needs port_bits")
        if self.priced_bytes is not None and self.capacity_bytes is not None:
            raise ValueError("priced_bytes is for a level without capacity_bytes")
        if self.banks is not None:
            if self.capacity_bytes is None:
                raise ValueError("banks need capacity_bytes")
            if self.capacity_bytes % self.banks:
                raise ValueError(
                    f"capacity_bytes {self.capacity_bytes} is not a whole number of "
                    f"{self.banks} banks"
                )
        return self


class Network(Frozen):
    """What carries words between a level and the next one in, by role.

    ``accumulated: reduce`` adds on the way over all children of a parent within the cycle (a tree),
    ``chain`` from PE to PE, one link a cycle, ``systolic`` adds along lines, ``unicast`` does not
    add.  ``neighbour`` links pass on what another child held one step before: only words no child
    held are read from the parent.

    ``below``        the level it lies below
    ``held``         how an operand goes that the innermost level keeps
    ``streamed``     how one goes that passes to the MAC
    ``accumulated``  how sums go
    ``width_bits``   bits a cycle of the core clock, of one channel for all tensors or by tensor of
                     a channel each, psums up and down then apart; none: never waited for
    """

    below: str
    held: OperandKind = "multicast"
    streamed: OperandKind = "multicast"
    accumulated: AccumulatedKind = "reduce"
    width_bits: Positive | FixedDict[Tensor, Positive] | None = None


class Padding(Frozen):
    """Where zeros of the padding are words.

    ``stored_from``  from this level inward: they fill, occupy and are read there, never above it
    """

    stored_from: str


class Array(Frozen):
    """The PE array and, where its lines are systolic, how folds follow each other (section 5).

    ``rows, cols``        PEs
    ``overlap``           the next fold starts while this one drains
    ``weight_registers``  a second one hides the preload behind compute (TPU)
    ``outputs``           how held outputs leave: read in place, shifted out through the
                          accumulators, or through a register of their own
    ``partial_folds``     ``full``: the controller always clocks the whole array
    ``pipeline_stages``   edges from an operand's arrival to its product; arrays without systolic
                          lines only
    ``fold_filter``       a filter taller than its rows may be worked off in several goes
    """

    rows: Positive
    cols: Positive
    overlap: bool = False
    weight_registers: Literal[1, 2] = 1
    outputs: Literal["in_place", "accumulators", "register"] = "in_place"
    partial_folds: Literal["exact", "full"] = "exact"
    pipeline_stages: Positive = 1
    fold_filter: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Array:
        if self.weight_registers == 2 and not self.overlap:
            raise ValueError("a second weight register needs overlap: true")
        return self


class VectorUnit(Frozen):
    """What stands beside the array for all that is no convolution or matrix product.

    ``lanes``        each an operation a cycle
    ``at``           the level that each tensor is read from or written to: ifmaps, weights (an
                     operator's own arrays) and ofmaps.  One that is not named is at the innermost
                     level outside the PEs that may keep ifmaps and ofmaps, or the next one out
                     that may keep it
    ``rates``        of the kinds of operation that are slower (0.25: four cycles each) or faster
    ``read_words``   that its port reads a cycle
    ``write_words``  that its port writes a cycle
    """

    lanes: Positive = 16
    at: FixedDict[Tensor, str] = FrozenDict()
    rates: FixedDict[Operation, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = FrozenDict()
    read_words: Positive = 16
    write_words: Positive = 16


class Bits(Frozen):
    """Width of each kind of word.

    ``weight, ifmap``  operands, 1 to 16 bits
    ``psum``           sums before their last addition, 2 to 48 bits
    ``ofmap``          results, 1 to 16 bits
    """

    weight: Annotated[int, Field(ge=1, le=16)]
    ifmap: Annotated[int, Field(ge=1, le=16)]
    psum: Annotated[int, Field(ge=2, le=48)]
    ofmap: Annotated[int, Field(ge=1, le=16)]


class Signed(Frozen):
    """Whether each kind of word is two's complement.

    ``weight, ifmap, psum, ofmap``  false: whole numbers from 0
    """

    weight: bool = True
    ifmap: bool = True
    psum: bool = True
    ofmap: bool = True


class EyerissEnergy(Frozen):
    """Costs relative to one MAC, by the role of each level; the same for any size
    (``hardware/energy.py``).

    ``table``   which costs
    ``charge``  every access, or as Chen, Emer, Sze, ISCA 2016: operands where they are read, and
                the read and write of a psum that is added to
    """

    table: Literal["eyeriss"]
    charge: Charge = "reads_and_writes"

    @property
    def unit(self) -> Unit:
        return "mac"


class Horowitz45Energy(Frozen):
    """Picojoules at 45 nm from capacities, widths and distances (``hardware/energy.py``); a number
    given here replaces the table's.

    ``table``               which costs
    ``charge``              every access, or as of the table ``eyeriss``
    ``dram_pj_per_bit``     of a bit that the outermost level gives or takes
    ``wire_pj_per_bit_mm``  of a bit on its way over a network
    ``static_mw_per_mm2``   leakage of the chip's area
    """

    table: Literal["horowitz45"]
    charge: Charge = "reads_and_writes"
    dram_pj_per_bit: Energy | None = None
    wire_pj_per_bit_mm: Energy | None = None
    static_mw_per_mm2: Energy | None = None

    @property
    def unit(self) -> Unit:
        return "pj"


class OwnEnergy(Frozen):
    """The user's own numbers.

    ``table``      own, and so are numbers without a table
    ``unit``       of all of them: MACs, or picojoules
    ``charge``     every access, or as of the table ``eyeriss``
    ``mac``        of a multiplication with its addition
    ``levels``     by name: of a word read or written there
    ``networks``   by name: of a word delivered or added there
    ``vector``     of an operation of each kind; a kind left out costs a MAC
    ``static_mw``  of the whole chip; wants picojoules
    ``area_um2``   by component: ``compute``, ``vector`` and level names
    """

    table: Literal["own"] = "own"
    unit: Unit = "mac"
    charge: Charge = "reads_and_writes"
    mac: Energy
    levels: FixedDict[str, Energy]
    networks: FixedDict[str, Energy]
    vector: FixedDict[Operation, Energy] = FrozenDict()
    static_mw: Energy = 0.0
    area_um2: FixedDict[str, Energy] = FrozenDict()


ENERGY_TABLES: dict[str, type[Frozen]] = {
    "eyeriss": EyerissEnergy,
    "horowitz45": Horowitz45Energy,
    "own": OwnEnergy,
}


def _with_table(value: Any) -> Any:
    """Numbers without a ``table`` are the user's own; a key of another table is named as such."""
    if not isinstance(value, dict):
        return value
    table = value.get("table", "own")
    if not isinstance(table, str) or table not in ENERGY_TABLES:
        raise ValueError(f"table: must be one of {', '.join(ENERGY_TABLES)}, got {table}")
    for key in value:
        homes = [name for name, model in ENERGY_TABLES.items() if key in model.model_fields]
        if homes and table not in homes:
            raise ValueError(
                f"{key}: belongs to table {' or '.join(homes)}, but the table is {table}"
            )
    return {"table": table} | value


EnergyTable = Annotated[
    EyerissEnergy | Horowitz45Energy | OwnEnergy,
    Field(discriminator="table"),
    BeforeValidator(_with_table),
]


class Architecture(Displayed, Frozen):
    """A whole accelerator.  ``levels`` are outermost first; each network names the level it lies
    below.

    ``name``           what it is called where it is asked for
    ``description``    a line about it
    ``clock_mhz``      the core clock: all cycles are its
    ``array``          the PEs
    ``levels``         by name, outermost first
    ``networks``       by name: what carries words from level to level
    ``bits, signed``   of each kind of word
    ``vector``         what stands beside the array
    ``energy``         a table of costs, or one's own
    ``padding``        from which level inward zeros of the padding are words; none: nowhere
    ``accumulate``     ``in_array``: psums go down the network and are added in the PE (Eyeriss),
                       else they are added at the level they arrive at
    ``first_read``     a level that reads the zero its first arrival is added to, as that chip's GLB
    ``default_tiles``  of layers that nobody chose tiles for: the best found, or the fixed rule's,
                       where that is how this machine's own tool works
    """

    name: str
    description: str = ""
    clock_mhz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    array: Array
    levels: FixedDict[str, Level]
    networks: FixedDict[str, Network]
    bits: Bits
    signed: Signed = Signed()
    padding: Padding | None = None
    accumulate: Literal["at_level", "in_array"] = "at_level"
    first_read: str | None = None
    default_tiles: Literal["best", "rule"] = "best"
    vector: VectorUnit = VectorUnit()
    energy: EnergyTable

    @model_validator(mode="after")
    def _consistent(self) -> Architecture:
        names = list(self.levels)
        if len(names) < 2:
            raise ValueError("levels: at least two are needed, the outermost and one inside it")
        outer = self.levels[names[0]]
        if set(outer.keeps) != set(TENSORS) or outer.capacity_bytes is not None or outer.partitions:
            raise ValueError(
                f"levels.{names[0]}: the outermost level keeps all tensors and has no capacity"
            )
        below = [n.below for n in self.networks.values()]
        for name, net in self.networks.items():
            if net.below not in names:
                raise ValueError(
                    f"networks.{name}.below: no level {net.below!r} (levels: {', '.join(names)})"
                )
        if self.padding is not None and self.padding.stored_from not in names[1:]:
            inside = ", ".join(names[1:])
            raise ValueError(
                f"padding.stored_from: must be a level inside the outermost ({inside}), "
                f"got {self.padding.stored_from}"
            )
        for name, net in self.networks.items():
            if net.streamed == "systolic" and net.accumulated == "chain":
                raise ValueError(
                    f"networks.{name}: chain is for arrays without systolic lines "
                    "(have systolic, reduce, unicast)"
                )
        if self.systolic and self.array.pipeline_stages > 1:
            raise ValueError(
                "array.pipeline_stages: systolic PEs have one stage, "
                f"got {self.array.pipeline_stages}"
            )
        if self.first_read is not None and self.first_read not in names:
            raise ValueError(
                f"first_read: no level {self.first_read!r} (levels: {', '.join(names)})"
            )
        for level in names[:-1]:
            if below.count(level) != 1:
                raise ValueError(
                    f"networks: exactly one must lie below {level}, got {below.count(level)}"
                )
        if below.count(names[-1]) > 1:
            raise ValueError(f"networks: at most one may lie below {names[-1]}")
        inside = f"lies in the PEs, which do one MAC a cycle; limit {names[-2]} or what is below it"
        innermost = self.levels[names[-1]]
        if innermost.port_bits is not None or innermost.latency_cycles:
            key = "port_bits" if innermost.port_bits is not None else "latency_cycles"
            raise ValueError(f"levels.{names[-1]}.{key}: {names[-1]} {inside}")
        for name, net in self.networks.items():
            if net.below == names[-1] and net.width_bits is not None:
                raise ValueError(f"networks.{name}.width_bits: {name} {inside}")
        for name in (*names, *self.networks):
            if name in COMPONENTS or (name in names and name in self.networks):
                kind = "levels" if name in names else "networks"
                raise ValueError(
                    f"{kind}.{name}: the name is taken, it would stand twice in the columns"
                )
        self._check_vector(names)
        if isinstance(self.energy, OwnEnergy):
            self._check_own(self.energy, names)
        return self

    def _check_vector(self, names: list[str]) -> None:
        outside = names if self.level_in_pe is None else names[: self.level_in_pe]
        for tensor, level in self.vector.at.items():
            keepers = [name for name in outside if tensor in self.levels[name].keeps]
            if level not in keepers:
                raise ValueError(
                    f"vector.at.{tensor}: must be a level outside the PEs that keeps {tensor} "
                    f"({', '.join(keepers)}), got {level}"
                )

    def _check_own(self, energy: OwnEnergy, names: list[str]) -> None:
        for kind, table, have in (
            ("levels", energy.levels, names),
            ("networks", energy.networks, list(self.networks)),
        ):
            if set(table) != set(have):
                raise ValueError(
                    f"energy.{kind}: must name exactly {', '.join(have)}, "
                    f"got {', '.join(table) or 'nothing'}"
                )
        for name in energy.area_um2:
            if name not in ("compute", "vector", *names):
                raise ValueError(
                    f"energy.area_um2.{name}: no such component "
                    f"(have compute, vector, {', '.join(names)})"
                )
        if energy.static_mw and energy.unit != "pj":
            raise ValueError("energy.static_mw: static power wants unit: pj")

    @classmethod
    def in_words(cls, data: dict[str, object], key: str, value: object) -> dict[str, object] | None:
        """The data with a level made ``unlimited``, as in ``dram=unlimited`` or
        ``levels.dram=unlimited``: it is never waited for.  None where the key is no level's.
        Raises InputError for another word.
        """
        levels, name = data.get("levels"), key.removeprefix("levels.")
        level = levels.get(name) if isinstance(levels, dict) else None
        if not isinstance(levels, dict) or not isinstance(level, dict):
            return None
        if value != UNLIMITED:
            if key != name and isinstance(value, dict):
                return None
            rule = f"a level is {UNLIMITED}, or set key by key (levels.{name}.port_bits)"
            raise InputError(rule, key=key, got=str(value), choices=(UNLIMITED,))
        rest = {k: v for k, v in level.items() if k not in TIMED}
        return {**data, "levels": {**levels, name: rest}}

    @property
    def level_names(self) -> tuple[str, ...]:
        return tuple(self.levels)

    def network_below(self, level: int) -> tuple[str | None, Network]:
        """The network below a level; inside the innermost one without a network, MACs share words
        freely.
        """
        name = self.level_names[level]
        for net_name, net in self.networks.items():
            if net.below == name:
                return net_name, net
        return None, Network.model_validate({"below": name})

    @property
    def level_in_pe(self) -> int | None:
        """The level every PE has one of: the innermost, unless a network lies below it; None if the
        PEs have none.
        """
        last = len(self.levels) - 1
        return last if self.network_below(last)[0] is None else None

    def stores_padding(self, level: int) -> bool:
        """Whether zeros of the padding are words at a level; ``len(levels)`` is the MAC."""
        return self.padding is not None and level >= self.level_names.index(
            self.padding.stored_from
        )

    @property
    def systolic(self) -> bool:
        """Whether operands travel through the array from PE to PE."""
        return self.network_below(len(self.levels) - 2)[1].streamed == "systolic"

    def number(self, kind: Literal["weight", "ifmap", "psum", "ofmap"]) -> Number:
        """The number format of a kind of word."""
        return Number(getattr(self.bits, kind), getattr(self.signed, kind))


def remembered(work: Callable[[Architecture], T]) -> Callable[[Architecture], T]:
    """``work``, done once for each architecture and kept while that lives.  It is known by
    identity: its hash would cost more than what is remembered.
    """
    known: dict[int, tuple[weakref.ref[Architecture], T]] = {}

    @wraps(work)
    def of(arch: Architecture) -> T:
        key = id(arch)
        kept = known.get(key)
        if kept is None or kept[0]() is not arch:
            kept = known[key] = weakref.ref(arch, lambda _: known.pop(key, None)), work(arch)
        return kept[1]

    return of


def limited(arch: Architecture) -> bool:
    """Whether any level or network can make the array wait."""
    levels = any(x.port_bits or x.latency_cycles for x in arch.levels.values())
    return levels or any(x.width_bits for x in arch.networks.values())


@remembered
def structure(arch: Architecture) -> str:
    """All of an architecture but its numbers, as text: sizes of the array, of levels and their
    partitions, widths, bursts, latencies and clocks.  Whether there is a number at all is told, and
    whether anything can be waited for.
    """
    levels = {
        name: x.model_copy(
            update={
                "capacity_bytes": x.capacity_bytes and 1,
                "priced_bytes": x.priced_bytes and 1,
                "banks": x.banks and 1,
                "partitions": dict.fromkeys(x.partitions, 1),
                "port_bits": x.port_bits and 1,
                "burst_bits": x.burst_bits and 1,
                "port_clock_mhz": x.port_clock_mhz and 1.0,
                "latency_cycles": 0,
            }
        )
        for name, x in arch.levels.items()
    }
    networks = {}
    for name, net in arch.networks.items():
        width = net.width_bits
        one = dict.fromkeys(width, 1) if isinstance(width, dict) else width and 1
        networks[name] = net.model_copy(update={"width_bits": one})
    same = {
        "array": arch.array.model_copy(update={"rows": 1, "cols": 1}),
        "levels": levels,
        "networks": networks,
        "clock_mhz": 1.0,
        "name": "",
    }
    text = arch.model_copy(update=same).model_dump_json(exclude={"description"})
    return f"{limited(arch)} {text}"


# What every function that asks for an architecture takes.
ArchitectureLike: TypeAlias = str | os.PathLike[str] | Architecture


@checked
def load_architecture(
    arch: ArchitectureLike, overrides: Mapping[str, object] | None = None, *, text: bool = False
) -> Architecture:
    """The architecture of that name or file, keys overridden (``array.rows``,
    ``levels.glb.capacity_bytes``).

    ``text`` says that override values are text from the command line.  Raises InputError.
    """
    if isinstance(arch, Architecture):
        if not overrides:
            return arch
        data = apply_overrides(
            arch.model_dump(mode="json", exclude_none=True), overrides, Architecture, from_text=text
        )
        return validate(data, Architecture, "architecture", overridden=tuple(overrides))
    return load_named("architectures", arch, Architecture, overrides, text)
