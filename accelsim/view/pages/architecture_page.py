"""The page of an architecture: array and words, levels, networks, and what a word costs in each.

What is as always (an option that no level sets, a column no row has a text in) is left out: a page
shows what tells this machine from another.
"""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.base.text_table import Block, Facts, SideNotes, TextTable
from accelsim.hardware.architecture import Architecture, Level, VectorUnit
from accelsim.hardware.energy import Cost, Prices, prices
from accelsim.view.pages.words import byte_count, differing_keys, in_words, number
from accelsim.workload.problem import TENSORS

NOTES = "energy and area, what is not simply published:"
# Keys that the facts and tables show in a way of their own.
_SHOWN = (
    "name",
    "description",
    "clock_mhz",
    "array",
    "levels",
    "networks",
    "bits",
    "signed",
    "vector",
    "energy",
)
_CAPACITY = ("keeps", "capacity_bytes", "partitions", "banks")


def architecture_blocks(arch: Architecture) -> tuple[Block, ...]:
    """Facts, levels, networks, energy and area."""
    price = prices(arch)
    notes = SideNotes(NOTES, tuple(price.notes))
    return (
        _machine_facts(arch),
        _level_table(arch),
        _network_table(arch),
        _energy_facts(arch, price),
        _cost_table(arch, price),
        *([notes] if notes.items else []),
    )


def _machine_facts(arch: Architecture) -> Facts:
    pes = arch.array.rows * arch.array.cols
    peak = number(pes * arch.clock_mhz / 1000)
    words = [
        f"{kind} {n} bits{'' if getattr(arch.signed, kind) else ' unsigned'}"
        for kind, n in arch.bits
    ]
    further = [key for key in differing_keys(Architecture, [arch]) if key not in _SHOWN]
    return Facts(
        (
            ("array", f"{arch.array.rows} rows x {arch.array.cols} columns = {number(pes)} PEs"),
            ("clock", f"{number(arch.clock_mhz)} MHz, {peak} GMAC/s at most"),
            ("words", ", ".join(words)),
            ("vector unit", _vector(arch.vector)),
            *((key, in_words(value)) for key, value in arch.array if key not in ("rows", "cols")),
            *((key, in_words(getattr(arch, key))) for key in further),
        )
    )


def _vector(unit: VectorUnit) -> str:
    rates = "".join(f", {kind} {rate:g} a lane and cycle" for kind, rate in unit.rates.items())
    moves = f"reads {unit.read_words} and writes {unit.write_words} words a cycle"
    return f"{unit.lanes} lanes, {moves}{rates}"


def _level_table(arch: Architecture) -> TextTable:
    settings = [k for k in differing_keys(Level, arch.levels.values()) if k not in _CAPACITY]
    rows = [
        [
            name,
            ", ".join(level.keeps),
            ", ".join(_capacities(level)),
            *(in_words(getattr(level, key)) for key in settings),
        ]
        for name, level in arch.levels.items()
    ]
    return TextTable.of(["level", "keeps", "capacity", *settings], rows).without_empty_columns()


def _capacities(level: Level) -> list[str]:
    """What the level has room for, all tensors together and those with a share of their own."""
    capacities = []
    if level.capacity_bytes is not None:
        shared = [t for t in level.keeps if t not in level.partitions]
        for_whom = f" for {' and '.join(shared)}" if level.partitions and shared else ""
        in_banks = ""
        if level.banks:
            in_banks = f" in {level.banks} banks of {number(level.capacity_bytes // level.banks)}"
        capacities.append(f"{byte_count(level.capacity_bytes)}{in_banks}{for_whom}")
    capacities += [f"{byte_count(n)} for {t}" for t, n in level.partitions.items()]
    if level.capacity_bytes is None and set(level.partitions) != set(level.keeps):
        capacities.append("no limit" if not level.partitions else "no limit for the rest")
    return capacities


def _network_table(arch: Architecture) -> TextTable:
    widths = ["width_bits"] if any(net.width_bits for net in arch.networks.values()) else []
    keys = ["held", "streamed", "accumulated", *widths]
    inner = dict(zip(arch.level_names, [*arch.level_names[1:], "MAC"], strict=True))
    rows = [
        [name, net.below, inner[net.below], *(in_words(getattr(net, key)) for key in keys)]
        for name, net in arch.networks.items()
    ]
    return TextTable.of(["network", "from", "to", *keys], rows).without_empty_columns()


def _energy_facts(arch: Architecture, price: Prices) -> Facts:
    """The energy table's settings, and what belongs to the whole machine."""
    settings = ", ".join(
        f"{key} {in_words(value)}"
        for key, value in arch.energy
        if value is not None and not isinstance(value, dict)
    )
    pairs = [("energy", settings), ("MAC", f"{price.mac:.4g} {price.unit}")]
    if price.static_mw:
        pairs.append(("static", f"{price.static_mw:.4g} mW"))
    if price.area_um2:
        pairs.append(("area", f"{sum(price.area_um2.values()):.4g} um2"))
    return Facts(tuple(pairs))


def _cost_table(arch: Architecture, price: Prices) -> TextTable:
    """What a word of each width costs at every level and network, and the levels' areas."""
    head = [f"{price.unit} a word", *(kind for kind, _ in arch.bits), "um2"]
    rows = []
    if "compute" in price.area_um2:
        rows.append(["MACs", "", "", "", "", f"{price.area_um2['compute']:.4g}"])
    for name, level in arch.levels.items():
        costs: dict[str, Cost] = {t: price.levels[name][t] for t in level.keeps}
        rows.append(_cost_row(arch, name, costs, price.area_um2.get(name)))
    for name, route in price.networks.items():
        for way, cost in (("run", route.run), ("hop", route.hop)):
            if cost != Cost():
                rows.append(_cost_row(arch, f"{name}, {way}", dict.fromkeys(TENSORS, cost), None))
    return TextTable.of(head, rows, right=range(1, len(head))).without_empty_columns()


def _cost_row(
    arch: Architecture, name: str, costs: Mapping[str, Cost], area: float | None
) -> list[str]:
    """A psum costs what its tensor, the ofmap, costs at the psum's width."""
    words = [(kind, "ofmap" if kind == "psum" else kind) for kind, _ in arch.bits]
    cells = [
        f"{costs[tensor].of(getattr(arch.bits, kind)):.4g}" if tensor in costs else ""
        for kind, tensor in words
    ]
    return [name, *cells, f"{area:.4g}" if area is not None else ""]
