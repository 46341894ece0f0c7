"""What a MAC, an access, a word on a wire and a second of leakage cost, and what area they take.

``prices(arch)`` works these out from the table that ``Architecture.energy`` chooses;
``moved.energy`` multiplies them with the counts.

``eyeriss``     relative costs of Chen, Emer, Sze, ISCA 2016, in MACs: constants by the role of a
                level or network
``horowitz45``  picojoules at 45 nm:
    MAC         mult(sqrt(weight bits x ifmap bits)) + add(psum bits); every addition, wherever it
                happens, is paid here
    access      access(capacity in bytes) x bits / 64; DRAM by the bit
    network     wire x bits x mm: a ``run`` for every word a parent sends or receives, a ``hop`` for
                every word a child takes or passes on (see ``_distances``)
    area        MACs and on-chip storage, um2; the storage points are of 65 nm and shrunk to 45 nm
    static      mW per mm2 x area
``own``         the numbers in the architecture, per word of any width

The numbers lie in ``tables/*.csv``, each with its unit, its source and a status: published, derived
(arithmetic on published numbers, ``how`` says which) or estimate.  Where several points are given,
what lies between or beyond them is found on straight lines through neighbouring points in log-log
coordinates.  Whatever is not simply published is said in ``Prices.notes``.
"""

from __future__ import annotations

import csv
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import exp, log, sqrt
from pathlib import Path

from accelsim.base.adding import sum_in_order
from accelsim.hardware.architecture import (
    Architecture,
    EyerissEnergy,
    Horowitz45Energy,
    OwnEnergy,
    remembered,
)
from accelsim.workload.problem import TENSORS

TABLES = Path(__file__).resolve().parent / "tables"


# Numbers and their sources ------------------------------------------------------------------------


@dataclass(frozen=True)
class PricedNumber:
    """A row of a table: a value, at a size if it is one point of several.

    ``quantity``      what it is the number of
    ``at, at_unit``   the size, and what that is measured in
    ``value, unit``   the number itself
    ``status``        published, derived or estimate
    ``how, source``   the arithmetic behind a derived number, and where it is published
    """

    quantity: str
    at: float | None
    at_unit: str
    value: float
    unit: str
    status: str
    how: str
    source: str


@dataclass(frozen=True)
class Curve:
    """A quantity over a size, through its points."""

    points: tuple[PricedNumber, ...]

    def at(self, x: float) -> float:
        """The value at a size: a point exactly, else on the line through the two nearest,
        log-log.
        """
        a, b = self._around(x)
        for point in (a, b):
            if point.at == x:
                return point.value
        slope = log(b.value / a.value) / log(_at(b) / _at(a))
        return a.value * exp(slope * log(x / _at(a)))

    def doubt(self, x: float, *, between: bool = True) -> str | None:
        """Why the value is not simply published, or None.  ``between`` says that values between
        published points pass.
        """
        first, last = self.points[0], self.points[-1]
        a, b = self._around(x)
        here = f"{first.quantity} at {_size(x)} {first.at_unit}"
        if not _at(first) <= x <= _at(last):
            return f"{here}: extrapolated, known from {_size(_at(first))} to {_size(_at(last))}"
        used = [p for p in (a, b) if p.at == x] or [a, b]
        unsure = [p for p in used if p.status != "published"]
        if unsure:
            status = " and ".join(dict.fromkeys(p.status for p in unsure))
            return f"{here}: {status}" + (
                "" if len(used) == 1 else f", on the line from {_size(_at(a))} to {_size(_at(b))}"
            )
        return (
            None
            if between or len(used) == 1
            else f"{here}: interpolated between {_size(_at(a))} and {_size(_at(b))}"
        )

    def _around(self, x: float) -> tuple[PricedNumber, PricedNumber]:
        i = bisect(self.points, x, 1, len(self.points) - 1, key=_at)
        return self.points[i - 1], self.points[i]


def _size(x: float) -> str:
    return f"{round(x, 2):.12g}"


def _at(point: PricedNumber) -> float:
    assert point.at is not None
    return point.at


@cache
def numbers(table: str) -> tuple[PricedNumber, ...]:
    """The rows of ``tables/{table}.csv`` in order."""
    with (TABLES / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_number(**row) for row in csv.DictReader(file))


def _number(*, at: str, value: str, **words: str) -> PricedNumber:
    return PricedNumber(at=float(at) if at else None, value=float(value), **words)


@cache
def curve(table: str, quantity: str) -> Curve:
    """The points of a quantity, by size."""
    return Curve(tuple(sorted((n for n in numbers(table) if n.quantity == quantity), key=_at)))


@cache
def constant(table: str, quantity: str) -> PricedNumber:
    """The one number of a quantity."""
    (number,) = (n for n in numbers(table) if n.quantity == quantity)
    return number


# Prices -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Energy of one word: so much whatever its width, and so much for every bit of it."""

    word: float = 0.0
    bit: float = 0.0

    def of(self, bits: int) -> float:
        """The energy of a word of that width."""
        return self.word + self.bit * bits


@dataclass(frozen=True)
class Route:
    """What a network charges: ``run`` for a word that leaves or reaches the parent, ``hop`` for one
    a child takes or passes on.
    """

    run: Cost = Cost()
    hop: Cost = Cost()


@dataclass(frozen=True)
class Prices:
    """What everything on a chip costs.

    ``unit``       of all energies: ``mac`` or ``pj``
    ``mac``        one multiply and add
    ``levels``     a word read or written, by level and tensor
    ``networks``   a word carried, by network
    ``static_mw``  the chip's leakage
    ``area_um2``   by component; empty if it is not known
    ``notes``      what is derived, estimated, extrapolated or assumed, a sentence each
    """

    unit: str
    mac: float
    levels: Mapping[str, Mapping[str, Cost]]
    networks: Mapping[str, Route]
    static_mw: float = 0.0
    area_um2: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@remembered
def prices(arch: Architecture) -> Prices:
    """What an architecture's energy table makes of it; worked out once for each object."""
    if isinstance(arch.energy, EyerissEnergy):
        return _eyeriss(arch)
    if isinstance(arch.energy, Horowitz45Energy):
        return _horowitz45(arch, arch.energy)
    return _own(arch, arch.energy)


def _own(arch: Architecture, own: OwnEnergy) -> Prices:
    levels = {name: dict.fromkeys(TENSORS, Cost(word=own.levels[name])) for name in arch.levels}
    networks = {name: Route(hop=Cost(word=own.networks[name])) for name in arch.networks}
    area = {name: value for name, value in own.area_um2.items() if name != "vector"}
    return Prices(own.unit, own.mac, levels, networks, own.static_mw, area)


def _eyeriss(arch: Architecture) -> Prices:
    """Outermost DRAM, in the PE a register file, between them buffers; the network to the PEs costs
    a hop, others nothing.

    Area is that of 65 nm: storage as published and a 16-bit MAC in every PE.
    """

    def cost(quantity: str) -> Cost:
        return Cost(word=constant("eyeriss", quantity).value)

    roles = ["dram", *["buffer"] * (len(arch.levels) - 1)]
    if arch.level_in_pe is not None:
        roles[arch.level_in_pe] = "rf"
    levels = {
        name: dict.fromkeys(TENSORS, cost(role))
        for name, role in zip(arch.levels, roles, strict=True)
    }
    to_pes = arch.level_names[_last_shared(arch)]
    networks = {
        name: Route(hop=cost("hop") if net.below == to_pes else Cost())
        for name, net in arch.networks.items()
    }

    notes = _Notes()
    area = _areas(arch, notes.constant("eyeriss", "mac_um2"), _memories(arch, notes), notes)
    return Prices("mac", constant("eyeriss", "mac").value, levels, networks, 0.0, area, notes.all)


def _horowitz45(arch: Architecture, table: Horowitz45Energy) -> Prices:
    notes = _Notes()
    bits = arch.bits
    mult_bits = sqrt(bits.weight * bits.ifmap)

    def compute(kind: str) -> float:
        mult = notes.point("compute", "horowitz45", f"mult_{kind}", mult_bits, between=False)
        return mult + notes.point("compute", "horowitz45", f"add_{kind}", bits.psum, between=False)

    mac_pj, mac_um2 = compute("pj"), compute("um2")
    outermost = arch.level_names[0]
    dram = (
        notes.constant("horowitz45", "dram_pj") / 64
        if table.dram_pj_per_bit is None
        else table.dram_pj_per_bit
    )
    levels = {outermost: dict.fromkeys(TENSORS, Cost(bit=dram))}
    memories = _memories(arch, notes)
    for name, stores in memories.items():
        costs = {
            tensors: Cost(bit=notes.point(name, "horowitz45", "access_pj", size) / 64)
            for tensors, size in stores.items()
        }
        levels[name] = {t: cost for tensors, cost in costs.items() for t in tensors}

    shrink = notes.constant("horowitz45", "shrink")
    area = _areas(arch, mac_um2, memories, notes, shrink)
    wire = (
        notes.constant("horowitz45", "wire_pj")
        if table.wire_pj_per_bit_mm is None
        else table.wire_pj_per_bit_mm
    )
    networks = {
        name: Route(Cost(bit=wire * run), Cost(bit=wire * hop))
        for name, (run, hop) in _distances(arch, area).items()
    }
    leakage = (
        notes.constant("horowitz45", "static_mw")
        if table.static_mw_per_mm2 is None
        else table.static_mw_per_mm2
    )
    return Prices(
        "pj", mac_pj, levels, networks, leakage * sum_in_order(area.values()) / 1e6, area, notes.all
    )


# Sizes and distances ------------------------------------------------------------------------------


def _last_shared(arch: Architecture) -> int:
    """The innermost level that is not in the PEs: the network below it goes to them."""
    return len(arch.levels) - (1 if arch.level_in_pe is None else 2)


Memories = Mapping[tuple[str, ...], int]  # bytes by the tensors in it


def _memories(arch: Architecture, notes: _Notes) -> dict[str, Memories]:
    """The memories of every level on the chip: one per partition and one shared, all its banks
    together.
    """
    of_level: dict[str, Memories] = {}
    for i, name in enumerate(arch.level_names[1:], 1):
        level = arch.levels[name]
        memories: dict[tuple[str, ...], int] = {(t,): size for t, size in level.partitions.items()}
        shared = tuple(t for t in level.keeps if t not in level.partitions)
        size = level.capacity_bytes or level.priced_bytes
        if shared and size is None:
            size = int(
                constant(
                    "horowitz45",
                    "unbounded_pe_bytes" if i == arch.level_in_pe else "unbounded_bytes",
                ).value
            )
            notes.add(
                f"{name}: no capacity, assumed to cost as much as {size} bytes "
                f"(levels.{name}.priced_bytes)"
            )
        if size is not None:
            memories[shared] = size
        of_level[name] = memories
    return of_level


def _areas(
    arch: Architecture,
    mac_um2: float,
    memories: Mapping[str, Memories],
    notes: _Notes,
    shrink: float = 1.0,
) -> dict[str, float]:
    """Area in um2 of all MACs and of every level on the chip; control, wires and pads are not in
    it.
    """
    pes = arch.array.rows * arch.array.cols
    area = {"compute": mac_um2 * pes}
    for i, (name, stores) in enumerate(memories.items(), 1):
        one = sum_in_order(
            size * notes.point(name, "eyeriss", "um2_per_byte", size) for size in stores.values()
        )
        area[name] = one * shrink * (pes if i == arch.level_in_pe else 1)
    return area


def _distances(arch: Architecture, area: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Millimetres of run and hop of every network, for square blocks side by side.

    A PE is a square of its MAC's and its own store's area, with sides of ``pitch``.  A run leaves
    the middle of the parent (half its side; DRAM is at the chip's edge) and goes to the middle of a
    buffer, or to the PEs: on average half of the array's height and half of its width, (rows +
    cols) / 2 pitches; on systolic lines, which words enter at the edge, half of that edge, on
    average over both edges (rows + cols) / 4 pitches.  From there every PE is a hop of one pitch.
    """
    names, array = arch.level_names, arch.array
    own = area["compute"] + (area[names[arch.level_in_pe]] if arch.level_in_pe is not None else 0.0)
    pitch = _side(own / (array.rows * array.cols))
    distances = {}
    for name, net in arch.networks.items():
        parent = names.index(net.below)
        start = _side(area[net.below]) / 2 if parent else 0.0
        if parent == _last_shared(arch):
            lines = 4 if net.streamed == "systolic" else 2
            distances[name] = start + (array.rows + array.cols) / lines * pitch, pitch
        else:
            distances[name] = start + _side(area[names[parent + 1]]) / 2, 0.0
    return distances


def _side(um2: float) -> float:
    """The side in mm of a square of that area."""
    return sqrt(um2) / 1e3


class _Notes:
    """Looks numbers up and keeps what has to be said of them, once each."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}

    def add(self, text: str) -> None:
        self._said[text] = None

    def point(
        self, component: str, table: str, quantity: str, x: float, *, between: bool = True
    ) -> float:
        """A value on a curve, noted for the component if it is not published."""
        points = curve(table, quantity)
        if doubt := points.doubt(x, between=between):
            self.add(f"{component}: {doubt}")
        return points.at(x)

    def constant(self, table: str, quantity: str) -> float:
        """A constant, noted if it is not published."""
        number = constant(table, quantity)
        if number.status != "published":
            self.add(f"{quantity} {number.value:g} {number.unit}: {number.status}, {number.how}")
        return number.value

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(self._said)
