"""What an architecture, a dataflow, a workload or a mapping is, as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import BaseModel

from accelsim.explore.study_file import AxisRange, StudyFile
from accelsim.hardware.architecture import Architecture, Level, VectorUnit
from accelsim.hardware.energy import Cost, prices
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import MappingFile
from accelsim.mapping.mapping import FUSED
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.results.layer_row import describe_overrides
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload
from accelsim.workload.problem import TENSORS, Problem

PLACES = {"buffer": "in the buffers", "row": "over rows", "col": "over columns", "pe": "in the PE"}


def describe(
    model: BaseModel, overrides: Mapping[str, Any] | None = None, batch: int | None = None
) -> str:
    """Any kind of file in words and tables; overridden keys stand in the first line."""
    name = str(getattr(model, "name", ""))
    head = [describe_overrides(name, overrides or {}) or name, getattr(model, "description", "")]
    if isinstance(model, Architecture):
        body = architecture(model)
    elif isinstance(model, Dataflow):
        head[0] = head[0].replace(name, f"{name} ({model.short})", 1)
        body = dataflow(model)
    elif isinstance(model, Workload):
        body = workload(model, batch)
    elif isinstance(model, MappingFile):
        body = mapping(model)
    elif isinstance(model, StudyFile):
        body = study(model)
    else:
        raise TypeError(f"nothing to say about {type(model).__name__}")
    return "\n".join([*(line for line in head if line), "", body])


# Architecture -------------------------------------------------------------------------------------


def architecture(arch: Architecture) -> str:
    """The array, words, levels, networks and energy.  Settings that are as always are left out of
    the level table.
    """
    pes = arch.array.rows * arch.array.cols
    words = [
        f"{kind} {n} bits{'' if getattr(arch.signed, kind) else ' unsigned'}"
        for kind, n in arch.bits
    ]
    facts = [
        ("array", f"{arch.array.rows} rows x {arch.array.cols} columns = {_number(pes)} PEs"),
        (
            "clock",
            f"{_number(arch.clock_mhz)} MHz, {_number(pes * arch.clock_mhz / 1000)} GMAC/s at most",
        ),
        ("words", ", ".join(words)),
        ("vector unit", _vector(arch.vector)),
        *((key, _value(value)) for key, value in arch.array if key not in ("rows", "cols")),
        *((key, _value(getattr(arch, key))) for key in _further(arch)),
    ]
    return "\n\n".join(
        [
            _columns(facts),
            _table(
                ["level", "keeps", "capacity", *_settings(arch.levels, Level)],
                [_level(arch, n) for n in arch.level_names],
            ),
            _table(
                ["network", "from", "to", *_network_keys(arch)],
                [_network(arch, n) for n in arch.networks],
            ),
            *_costs(arch),
        ]
    )


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


def _vector(unit: VectorUnit) -> str:
    rates = "".join(f", {kind} {rate:g} a lane and cycle" for kind, rate in unit.rates.items())
    return f"{unit.lanes} lanes, reads {unit.read_words} and writes {unit.write_words} words a cycle{rates}"


def _further(arch: Architecture) -> list[str]:
    """Keys of the architecture that no table shows and that are not as always."""
    keys = [k for k in Architecture.model_fields if k not in _SHOWN]
    return [
        k
        for k in keys
        if getattr(arch, k) != Architecture.model_fields[k].get_default(call_default_factory=True)
    ]


_CAPACITY = ("keeps", "capacity_bytes", "partitions", "banks")


def _settings(parts: Mapping[str, BaseModel], model: type[BaseModel]) -> list[str]:
    """Further keys of levels that at least one of them sets."""
    keys = [k for k in model.model_fields if k not in _CAPACITY]
    return [
        k
        for k in keys
        if any(
            getattr(p, k) != model.model_fields[k].get_default(call_default_factory=True)
            for p in parts.values()
        )
    ]


def _level(arch: Architecture, name: str) -> list[str]:
    level = arch.levels[name]
    capacity = []
    if level.capacity_bytes is not None:
        shared = [t for t in level.keeps if t not in level.partitions]
        for_whom = f" for {' and '.join(shared)}" if level.partitions and shared else ""
        in_banks = (
            f" in {level.banks} banks of {_number(level.capacity_bytes // level.banks)}"
            if level.banks
            else ""
        )
        capacity.append(f"{_bytes(level.capacity_bytes)}{in_banks}{for_whom}")
    capacity += [f"{_bytes(n)} for {t}" for t, n in level.partitions.items()]
    if level.capacity_bytes is None and set(level.partitions) != set(level.keeps):
        capacity.append("no limit" if not level.partitions else "no limit for the rest")
    settings = [_value(getattr(level, k)) for k in _settings(arch.levels, Level)]
    return [name, ", ".join(level.keeps), ", ".join(capacity), *settings]


def _network_keys(arch: Architecture) -> list[str]:
    widths = ["width_bits"] if any(net.width_bits for net in arch.networks.values()) else []
    return ["held", "streamed", "accumulated", *widths]


def _network(arch: Architecture, name: str) -> list[str]:
    net = arch.networks[name]
    below = arch.level_names.index(net.below) + 1
    inner = arch.level_names[below] if below < len(arch.levels) else "MAC"
    return [name, net.below, inner, *(_value(getattr(net, k)) for k in _network_keys(arch))]


def _costs(arch: Architecture) -> list[str]:
    """The energy table's settings, what a word of each width costs at every level and network, and
    what is to be said of it.
    """
    price = prices(arch)
    settings = [
        (key, _value(value))
        for key, value in arch.energy
        if value is not None and not isinstance(value, dict)
    ]
    facts = [
        ("energy", ", ".join(f"{key} {value}" for key, value in settings)),
        ("MAC", f"{price.mac:.4g} {price.unit}"),
    ]
    facts += [("static", f"{price.static_mw:.4g} mW")] if price.static_mw else []
    facts += [("area", f"{sum(price.area_um2.values()):.4g} um2")] if price.area_um2 else []

    def row(name: str, costs: Mapping[str, Cost], area: float | None) -> list[str]:
        words = [(kind, "ofmap" if kind == "psum" else kind) for kind, _ in arch.bits]
        cells = [
            f"{costs[tensor].of(getattr(arch.bits, kind)):.4g}" if tensor in costs else ""
            for kind, tensor in words
        ]
        return [name, *cells, f"{area:.4g}" if area is not None else ""]

    rows = (
        [["MACs", "", "", "", "", f"{price.area_um2['compute']:.4g}"]]
        if "compute" in price.area_um2
        else []
    )
    for name, level in arch.levels.items():
        rows.append(
            row(name, {t: price.levels[name][t] for t in level.keeps}, price.area_um2.get(name))
        )
    for name, route in price.networks.items():
        ways = [
            (way, cost) for way, cost in (("run", route.run), ("hop", route.hop)) if cost != Cost()
        ]
        rows += [row(f"{name}, {way}", dict.fromkeys(TENSORS, cost), None) for way, cost in ways]
    head = [f"{price.unit} a word", *(kind for kind, _ in arch.bits), "um2"]
    notes = (
        [
            f"energy and area, what is not simply published:\n{chr(10).join(f'  {note}' for note in price.notes)}"
        ]
        if price.notes
        else []
    )
    return [_columns(facts), _table(head, rows, right=(1, 2, 3, 4, 5)), *notes]


def _flat(model: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and values, innermost ones."""
    items: Iterable[tuple[Any, Any]] = model if isinstance(model, BaseModel) else model.items()
    for key, value in items:
        if isinstance(value, (BaseModel, dict)) and value:
            yield from _flat(value, f"{path}{key}.")
        elif value is not None and value != {}:
            yield f"{path}{key}", value


# Dataflow -----------------------------------------------------------------------------------------


def dataflow(flow: Dataflow) -> str:
    """Sentences, then the loops that it makes, for any layer and with no sizes yet."""
    passing = [t for t in TENSORS if t not in flow.stays]
    sentences = [
        f"A PE keeps {_all(flow.stays) or 'nothing'}"
        + (f"; through it pass {_all(passing)}." if passing else "."),
    ]
    if flow.bypass:
        sentences.append(f"Between memory and the PEs no buffer keeps {_all(flow.bypass)}.")
    sizes = "; ".join(f"{', '.join(dims)} {PLACES[place]}" for place, dims in _by_place(flow.sizes))
    sentences.append(f"Tiles are made as large as is legal in this order: {sizes}.")
    template = [
        (f"for {_lower(flow.order.outer)}", "in every level outside the buffer next to the array"),
        (f"for {_lower(flow.order.inner)}", "in the buffer next to the array"),
        *((f"parallel-for {_lower(dims)}", PLACES[place]) for place, dims in _by_place(flow.space)),
        *([(f"for {_lower(flow.pe)}", PLACES["pe"])] if flow.pe else []),
        ("ofmap += ifmap * weight", ""),
    ]
    loops = [("  " * i + words, where) for i, (words, where) in enumerate(template)]
    used = {
        *flow.order.outer,
        *flow.order.inner,
        *flow.pe,
        *(d for _, dims in _by_place(flow.space) for d in dims),
    }
    notes = [
        f"{f.lower()} is {_lower(parts)} fused, or in turn where fusing is not legal."
        for f, parts in FUSED.items()
        if f in used
    ]
    return "\n".join([*sentences, "", _columns(loops), *([""] if notes else []), *notes])


def _by_place(entries: Iterable[str]) -> list[tuple[str, list[str]]]:
    """``DIM:PLACE`` entries as runs of dimensions at one place."""
    runs = groupby((entry.split(":") for entry in entries), key=lambda entry: entry[1])
    return [(place, [dim for dim, _ in run]) for place, run in runs]


def _lower(dims: Iterable[str]) -> str:
    return ", ".join(d.lower() for d in dims)


# Workload -----------------------------------------------------------------------------------------


def workload(network: Workload, batch: int | None = None) -> str:
    """A line a layer: what goes in, the filters, what comes out, and how many MACs and parameters;
    a total below.
    """
    problems = [layer.problem(batch) for layer in network.layers]
    rows = [_layer(layer, problem) for layer, problem in zip(network.layers, problems, strict=True)]
    macs, parameters = sum(p.macs for p in problems), network.parameters
    total = ["total", "", "", "", "", "", _number(macs), _number(parameters)]
    head = ["layer", "type", "ifmap", "filters", "", "ofmap", "MACs", "parameters"]
    return _table(
        head,
        [*rows, *([total] if len(rows) > 1 else [])],
        right=(6, 7),
        rule_above_last=len(rows) > 1,
    )


def _layer(layer: Layer, p: Problem) -> list[str]:
    batch = f"{p.N} of " if p.N > 1 else ""
    options = []
    for word, values in (("stride", p.stride), ("padding", p.padding), ("dilation", p.dilation)):
        if set(values) != {0 if word == "padding" else 1}:
            options.append(
                f"{word} {','.join(str(v) for v in (values[:1] if len(set(values)) == 1 else values))}"
            )
    options += [f"{p.G} groups"] if p.G > 1 else []
    options += ["bias"] if p.bias else []
    return [
        layer.name,
        str(getattr(layer, "type", "")),
        f"{batch}{p.G * p.C}x{p.H}x{p.W}",
        f"{p.G * p.M} of {p.C}x{p.R}x{p.S}",
        ", ".join(options),
        f"{batch}{p.G * p.M}x{p.E}x{p.F}",
        _number(p.macs),
        _number(layer.parameters),
    ]


# Mapping ------------------------------------------------------------------------------------------


def mapping(file: MappingFile) -> str:
    """Every mapping of a file as for-loops.  How many trips a loop makes depends on the layer."""
    parts = [(layer, file.mapping(layer)) for layer in file.layers or {}]
    if file.loops is not None:
        others = LoopMapping(loops=file.loops, keep=file.keep or {}, fused=file.fused)
        parts.append(("any other layer" if parts else "any layer", others))
    return "\n\n".join(f"{layer}:\n{_loops(found)}" for layer, found in parts)


def _loops(found: LoopMapping) -> str:
    lines: list[str] = []
    waiting = list(found.keep)

    def keeps(until: str | None) -> None:
        while waiting and (until is None or until in waiting):
            level = waiting.pop(0)
            lines.append(f"{'  ' * depth}{level} keeps {', '.join(found.keep[level]) or 'nothing'}")

    depth = 0
    for loop in found.loops:
        keeps(loop.level)
        word, where = (
            ("for", "") if loop.axis == "none" else ("parallel-for", f" over {loop.axis}s")
        )
        lines.append(
            f"{'  ' * depth}{word} {loop.dim.lower()} in pieces of {loop.tile}{where}  ({loop.level})"
        )
        depth += 1
    keeps(None)
    lines.append(f"{'  ' * depth}one MAC")
    used = {loop.dim for loop in found.loops}
    lines += [
        f"{f.lower()} runs over {_lower(parts)}, {parts[0].lower()} slowest"
        for f, parts in found.fused.items()
        if f in used
    ]
    return "\n".join([*lines, f"loops: {found}"])


# Study --------------------------------------------------------------------------------------------


def study(found: StudyFile) -> str:
    """What is swept, axis by axis, and under which conditions."""
    asked = (
        "workload",
        "layers",
        "arch",
        "dataflows",
        "mapping",
        "mapper",
        "objective",
        *(["tiles"] if found.mapper else []),
        "limit",
    )
    facts = [(key, _value(getattr(found, key))) for key in asked if getattr(found, key)]
    facts += [(key, _axis_values(values)) for key, values in found.grid.items()]
    for group in found.zipped:
        facts += [(f"{key} (zipped)", _axis_values(values)) for key, values in group.items()]
    facts += [("points", f"{len(found.points)} listed")] if found.points is not None else []
    facts += [("condition", text) for text in found.constraints]
    return _columns(
        [
            *facts,
            *(
                (key, _value(getattr(found, key)))
                for key in ("sample", "engine", "direction", "batch", "seed", "store")
            ),
        ]
    )


def _axis_values(values: AxisRange | tuple[Any, ...]) -> str:
    if isinstance(values, tuple):
        return _value(values)
    step = (
        f", each {_value(values.factor)} times the one before"
        if values.factor is not None
        else f", {_value(values.step or 1)} apart"
    )
    return f"{_value(values.first)} to {_value(values.last)}{step}"


# Text ---------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    """With spaces between thousands, and no more digits than needed."""
    return (
        f"{value:,}".replace(",", " ")
        if isinstance(value, int)
        else f"{value:,.10g}".replace(",", " ")
    )


def _bytes(number: int) -> str:
    return f"{_number(number)} byte{'' if number == 1 else 's'}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(v) for v in value) or "none"
    if isinstance(value, (BaseModel, dict)):
        return ", ".join(f"{k} {_value(v)}" for k, v in _flat(value)) or "none"
    return "none" if value is None else str(value)


def _all(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _columns(pairs: Iterable[tuple[str, str]]) -> str:
    return _table([], [list(pair) for pair in pairs])


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    rule_above_last: bool = False,
) -> str:
    """Columns as wide as they need to be, a line below the head; an empty column is left out."""
    every = [list(head)] * bool(head) + [list(r) for r in rows]
    used = [
        i for i in range(max(map(len, every), default=0)) if any(r[i] for r in every[bool(head) :])
    ]
    widths = {i: max(len(r[i]) for r in every) for i in used}
    lines = [
        "  ".join(
            r[i].rjust(widths[i]) if i in right else r[i].ljust(widths[i]) for i in used
        ).rstrip()
        for r in every
    ]
    rule = "  ".join("-" * widths[i] for i in used)
    if head:
        lines.insert(1, rule)
    if rule_above_last:
        lines.insert(-1, rule)
    return "\n".join(lines)
