"""The architecture: storage levels, networks, array, number formats, energy.  Frozen, from YAML or Python."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from accelsim.workload.arithmetic import Number
from accelsim.workload.problem import TENSORS

Tensor = Literal["weight", "ifmap", "ofmap"]
OperandKind = Literal["multicast", "systolic", "unicast", "preload", "neighbour"]
AccumulatedKind = Literal["reduce", "systolic", "unicast"]
Positive = Annotated[int, Field(gt=0)]
Energy = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Frozen(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Level(Frozen):
    """One storage level.  Sizes in bytes; no capacity means unbounded."""

    keeps: Annotated[tuple[Tensor, ...], Field(strict=False, min_length=1)] = TENSORS  # type: ignore[assignment]
    capacity_bytes: Positive | None = None  # shared by the kept tensors that have no partition
    partitions: dict[Tensor, Positive] = {}  # bytes that are one tensor's own
    banks: Positive | None = None  # the shared part is so many equal banks, each wholly one tensor's
    double_buffered: bool = False  # a tile then occupies twice its bytes

    @model_validator(mode="after")
    def _consistent(self) -> Level:
        for t in self.partitions:
            if t not in self.keeps:
                raise ValueError(f"partitions names {t}, which the level does not keep ({', '.join(self.keeps)})")
        if len(set(self.keeps)) != len(self.keeps):
            raise ValueError("keeps names a tensor twice")
        if self.banks is not None:
            if self.capacity_bytes is None:
                raise ValueError("banks need capacity_bytes")
            if self.capacity_bytes % self.banks:
                raise ValueError(f"capacity_bytes {self.capacity_bytes} is not a whole number of {self.banks} banks")
        return self


class Network(Frozen):
    """What carries words between a level and the next one in, by role.

    held: an operand the innermost level keeps; streamed: one that passes to the MAC; accumulated: the sums.
    ``accumulated: reduce`` adds on the way (a tree or a chain over all children of a parent),
    ``systolic`` adds along lines, ``unicast`` does not add.  ``neighbour`` links pass on what another child
    held one step before: only words no child held are read from the parent.
    """

    below: str
    held: OperandKind = "multicast"
    streamed: OperandKind = "multicast"
    accumulated: AccumulatedKind = "reduce"


class Array(Frozen):
    """The PE array and, where its lines are systolic, how folds follow each other (DESIGN section 5)."""

    rows: Positive
    cols: Positive
    overlap: bool = False  # the next fold starts while this one drains
    weight_registers: Literal[1, 2] = 1  # a second one hides the preload behind compute
    outputs: Literal["in_place", "accumulators", "register"] = "in_place"  # how held outputs leave
    partial_folds: Literal["exact", "full"] = "exact"  # full: the controller always clocks the whole array
    fold_filter: bool = True  # a filter taller than its rows may be worked off in several goes

    @model_validator(mode="after")
    def _consistent(self) -> Array:
        if self.weight_registers == 2 and not self.overlap:
            raise ValueError("a second weight register needs overlap: true")
        return self


class Bits(Frozen):
    """Width of each kind of word, in bits."""

    weight: Annotated[int, Field(ge=1, le=16)]
    ifmap: Annotated[int, Field(ge=1, le=16)]
    psum: Annotated[int, Field(ge=2, le=48)]
    ofmap: Annotated[int, Field(ge=1, le=16)]


class Signed(Frozen):
    """Whether each kind of word is two's complement."""

    weight: bool = True
    ifmap: bool = True
    psum: bool = True
    ofmap: bool = True


class EnergyTable(Frozen):
    """Energy per MAC, per word access at each level, and per word delivered or added by each network."""

    unit: Literal["mac", "pj"] = "mac"
    charge: Literal["reads", "reads_and_writes"] = "reads_and_writes"
    mac: Energy
    levels: dict[str, Energy]
    networks: dict[str, Energy]


class Architecture(Frozen):
    """A whole accelerator.  ``levels`` are outermost first; each network names the level it lies below."""

    name: str
    description: str = ""
    clock_mhz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    array: Array
    levels: dict[str, Level]
    networks: dict[str, Network]
    bits: Bits
    signed: Signed = Signed()
    energy: EnergyTable

    @model_validator(mode="after")
    def _consistent(self) -> Architecture:
        names = list(self.levels)
        if len(names) < 2:
            raise ValueError("levels: at least two are needed, the outermost and one inside it")
        outer = self.levels[names[0]]
        if set(outer.keeps) != set(TENSORS) or outer.capacity_bytes is not None or outer.partitions:
            raise ValueError(f"levels.{names[0]}: the outermost level keeps all tensors and has no capacity")
        below = [n.below for n in self.networks.values()]
        for name, net in self.networks.items():
            if net.below not in names:
                raise ValueError(f"networks.{name}.below: no level {net.below!r} (levels: {', '.join(names)})")
        for level in names[:-1]:
            if below.count(level) != 1:
                raise ValueError(f"networks: exactly one must lie below {level}, got {below.count(level)}")
        if below.count(names[-1]) > 1:
            raise ValueError(f"networks: at most one may lie below {names[-1]}")
        for kind, table, have in (("levels", self.energy.levels, names), ("networks", self.energy.networks, list(self.networks))):
            if set(table) != set(have):
                raise ValueError(f"energy.{kind}: must name exactly {', '.join(have)}, got {', '.join(table) or 'nothing'}")
        return self

    @property
    def level_names(self) -> tuple[str, ...]:
        return tuple(self.levels)

    def network_below(self, level: int) -> tuple[str | None, Network]:
        """The network below a level; inside the innermost one without a network, MACs share words freely."""
        name = self.level_names[level]
        for net_name, net in self.networks.items():
            if net.below == name:
                return net_name, net
        return None, Network(below=name)

    @property
    def systolic(self) -> bool:
        """Whether operands travel through the array from PE to PE."""
        return self.network_below(len(self.levels) - 2)[1].streamed == "systolic"

    def number(self, kind: Literal["weight", "ifmap", "psum", "ofmap"]) -> Number:
        """The number format of a kind of word."""
        return Number(getattr(self.bits, kind), getattr(self.signed, kind))
