"""Why a design takes what it takes: a layer's cycles from the ideal on, its energy beside the least
it can be, what binds, and which number of the machine would help.

``Result.explain()`` and ``accelsim explain`` call ``explain``; ``view.explained`` draws a layer.
Three sources, none of them new: the columns of the rows (``waterfall``), what crossed each boundary
priced tensor by tensor (``engines.moved.energy``), and the same layers on machines with one number
doubled or halved (``knobs``).

The least energy is that of the MACs and of every word that is used, once over the port of the
level that holds its tensor whole: no mapping and no buffer takes less.  Levels further in have no
least of their own, since a mapping may pass them by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.base import display
from accelsim.base.adding import sum_in_order
from accelsim.base.display import Displayed
from accelsim.base.whole_files import write_text
from accelsim.engines import analytic, moved
from accelsim.engines.analytic.closed_form import words_used
from accelsim.hardware.energy import prices
from accelsim.hardware.ports import never_waited_for
from accelsim.mapping.nest import Nest
from accelsim.results import knobs as turning
from accelsim.results import waterfall
from accelsim.results.knobs import Knob
from accelsim.results.layer_row import ENERGIES, Row, json_value
from accelsim.results.waterfall import CyclePart
from accelsim.workload.problem import TENSORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from accelsim.results.result import Result

IDENTITY = ("workload", "layer", "arch", "dataflow", "direction", "mapping", "batch", "set")


@dataclass(frozen=True)
class EnergyShare:
    """Energy of one component: compute, a level, a network, static, vector.

    ``tensors``  what of it is each tensor's; none of compute and static
    ``total``    of the component
    ``least``    what of it no mapping can do without; ``least_tensors`` is that by tensor
    """

    component: str
    tensors: Mapping[str, float]
    total: float
    least: float = 0.0
    least_tensors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerExplained(Displayed):
    """One layer under one dataflow, or with the layer ``total`` all of them together.

    ``identity``    what names the row, by column
    ``pes``         of the array
    ``used``        rows and columns that the mapping gives work to; None of a total
    ``parts``       of the cycles, together exactly ``cycles``
    ``energy``      by component, in ``unit`` (``pj`` or ``mac``)
    ``knobs``       one number of the machine doubled or halved, least energy x cycles first
    ``machine``     the same layer on the machine as it is, which knobs are compared with
    ``unlimited``   levels that cost no time
    """

    identity: Mapping[str, Any]
    pes: int
    used: tuple[int, int] | None
    parts: tuple[CyclePart, ...]
    energy: tuple[EnergyShare, ...]
    unit: str
    knobs: tuple[Knob, ...] = ()
    machine: Knob | None = None
    unlimited: tuple[str, ...] = ()

    @property
    def cycles(self) -> int:
        """All parts together."""
        return sum(part.cycles for part in self.parts)

    @property
    def spent(self) -> float:
        """Energy of all components together."""
        return sum_in_order(share.total for share in self.energy)

    @property
    def least(self) -> float:
        """The least energy that any mapping takes."""
        return sum_in_order(share.least for share in self.energy)

    @property
    def name(self) -> str:
        """Workload, layer, machine with its overrides, dataflow, batch."""
        x = self.identity
        layer = f"{x['workload']}/{x['layer']}" if x["workload"] != x["layer"] else x["layer"]
        machine = f"{x['arch']} with {x['set']}" if x["set"] else x["arch"]
        batch = f", batch {x['batch']}" if x["batch"] is not None else ""
        return f"{layer} on {machine}, {x['dataflow']}{batch}"

    @property
    def binds(self) -> CyclePart:
        """The part that takes the most cycles, of all but the ideal unless that is most of them."""
        most = max(self.parts, key=lambda part: part.cycles)
        rest = [part for part in self.parts if part.name not in ("ideal", "vector")]
        if most.name in ("ideal", "vector") and 2 * most.cycles < self.cycles and rest:
            return max(rest, key=lambda part: part.cycles)
        return most

    def record(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {
            **self.identity,
            "cycles": self.cycles,
            "parts": {part.name: part.cycles for part in self.parts},
            "binds": self.binds.name,
            f"energy_{self.unit}": self.spent,
            f"least_energy_{self.unit}": self.least,
            "energy": [
                {"component": s.component, "total": s.total, "least": s.least, **s.tensors}
                | {f"least_{tensor}": energy for tensor, energy in s.least_tensors.items()}
                for s in self.energy
            ],
            "knobs": [
                {"key": k.key, "before": k.before, "after": k.after, "cycles": k.cycles}
                | {f"energy_{self.unit}": k.energy, "error": k.why}
                for k in self.knobs
            ],
            "never_waited_for": list(self.unlimited),
        }

    def figure(self) -> Figure:
        """The picture: cycles as a waterfall, energy beside the least, and the knobs."""
        return display.figure("explain", self)


@dataclass(frozen=True)
class Explanation(Displayed):
    """A result explained: ``layers`` in the order of its rows, and a ``total`` for each dataflow
    that has several.
    """

    layers: tuple[LayerExplained, ...]
    totals: tuple[LayerExplained, ...]

    def __repr__(self) -> str:
        return f"<Explanation of {len(self.layers)} layers>"

    @property
    def whole(self) -> tuple[LayerExplained, ...]:
        """What speaks for each dataflow: its total, or its only layer."""
        told = {x.identity["dataflow"]: x for x in self.layers}
        return tuple((told | {x.identity["dataflow"]: x for x in self.totals}).values())

    def comparisons(self) -> tuple[str, ...]:
        """Why each dataflow after the first is faster or slower than that, two sentences each."""
        first, *others = self.whole
        return tuple(line for other in others for line in _against(first, other))

    def against(self, other: Explanation) -> tuple[str, ...]:
        """Why the other one is faster or slower than this: a sentence for each dataflow, in order,
        by the same parts, and one on energy.
        """
        return tuple(
            line for a, b in zip(self.whole, other.whole, strict=False) for line in _against(a, b)
        )

    def records(self) -> list[dict[str, Any]]:
        """A record a layer, then the totals."""
        return [x.record() for x in (*self.layers, *self.totals)]

    def to_json(self, path: str | Path | None = None) -> str:
        """The records as a JSON list; also written to ``path`` if that is given.  Raises
        OSError.
        """
        text = json.dumps(self.records(), indent=1, default=json_value)
        if path is not None:
            write_text(text, Path(path))
        return text

    def save(self, directory: str | Path) -> list[Path]:
        """A picture of every layer and total, NAME.png and NAME.svg in a directory that is made if
        need be.  The paths.  Raises OSError.
        """
        written: list[Path] = []
        for x in (*self.layers, *self.totals):
            name = f"explain-{x.identity['layer']}-{x.identity['dataflow']}".replace("/", "_")
            written += display.save(x.figure(), directory, name)
        return written


def explain(result: Result, *, knobs: bool = True) -> Explanation:
    """Every row that ran, explained; with ``knobs`` also what each number of the machine would do,
    where the result says how it was asked for (``simulate``).

    Raises ValueError where no layer could be mapped.
    """
    rows = [row for row in result.rows if row.columns.get("cycles") is not None]
    archs = [row.nest.arch for row in rows if row.nest is not None]
    if not archs:
        raise ValueError("nothing to explain: no layer could be mapped")
    layers: list[LayerExplained] = []
    totals: list[LayerExplained] = []
    for flow in dict.fromkeys(row.columns["dataflow"] for row in rows):
        own = [row for row in rows if row.columns["dataflow"] == flow]
        arch = next((row.nest.arch for row in own if row.nest is not None), archs[0])
        pes = arch.array.rows * arch.array.cols
        told = [_layer(row, pes) for row in own]
        if knobs and result.asked is not None and not result.asked.options.get("end_to_end"):
            ruled = all(row.columns["mapping"] == "rule" for row in own)
            by_layer = turning.turned(result.asked, flow, by_rule=ruled)
            told = [_with_knobs(x, by_layer[x.identity["layer"]]) for x in told]
        told = [replace(x, unlimited=never_waited_for(arch)) for x in told]
        layers += told
        if len(told) > 1:
            totals.append(_total(told))
    return Explanation(tuple(layers), tuple(totals))


def _layer(row: Row, pes: int) -> LayerExplained:
    columns = row.columns
    unit = next(name for name in ENERGIES if name in columns).removeprefix("energy_")
    used = None
    if row.nest is not None:
        sides = dict.fromkeys(("row", "col"), 1)
        for loop in row.nest.loops:
            if loop.axis in sides:
                sides[loop.axis] *= loop.trips
        used = sides["row"], sides["col"]
    return LayerExplained(
        {key: columns.get(key) for key in IDENTITY},
        pes,
        used,
        waterfall.parts_of(columns, pes),
        _energy(row, unit),
        unit,
    )


def _energy(row: Row, unit: str) -> tuple[EnergyShare, ...]:
    """Components of a row's energy: tensor by tensor, what is moved of that tensor alone."""
    columns, nest = row.columns, row.nest
    shares: dict[str, EnergyShare] = {}
    names = [c.removeprefix("energy_").removesuffix(f"_{unit}") for c in columns if _is_share(c)]
    by_tensor = {} if nest is None else _by_tensor(nest, unit)
    least = {} if nest is None else _least(nest)
    for name in names:
        if name in TENSORS:
            continue
        total = float(columns[f"energy_{name}_{unit}"])
        own = least.get(name, {})
        floor = sum_in_order(own.values()) if own else total if name == "compute" else 0.0
        shares[name] = EnergyShare(name, by_tensor.get(name, {}), total, floor, own)
    return tuple(shares.values())


def _is_share(column: str) -> bool:
    return column.startswith("energy_") and column.count("_") >= 2


def _by_tensor(nest: Nest, unit: str) -> dict[str, dict[str, float]]:
    """Energy of each level and network by tensor: the closed form's words, those of one tensor at a
    time, priced as a row's are.
    """
    crossing = analytic.moves(nest)
    told: dict[str, dict[str, float]] = {
        n: {} for n in (*nest.arch.level_names, *nest.arch.networks)
    }
    for tensor in TENSORS:
        own = {b: m for b, m in crossing.items() if b.tensor == tensor}
        spent = moved.energy(nest, own, 0, 0.0)
        for name, by in told.items():
            by[tensor] = float(spent[f"energy_{name}_{unit}"])
    return told


def _least(nest: Nest) -> dict[str, dict[str, float]]:
    """The energy of every word that is used, once over the port of its tensor's home, by level and
    tensor.
    """
    price = prices(nest.arch)
    told: dict[str, dict[str, float]] = {}
    for tensor in TENSORS:
        home = nest.home(tensor)
        name = nest.arch.level_names[home]
        each = price.levels[name][tensor].of(nest.footprint.word_bits(home, tensor))
        told.setdefault(name, {})[tensor] = words_used(nest.problem, tensor) * each
    return told


def _with_knobs(x: LayerExplained, turned: Sequence[Knob]) -> LayerExplained:
    machine, *rest = turned
    return replace(x, knobs=tuple(sorted(rest, key=lambda k: k.product)), machine=machine)


def _total(layers: Sequence[LayerExplained]) -> LayerExplained:
    """All layers of one dataflow together."""
    first = layers[0]
    shares: dict[str, EnergyShare] = {}
    for share in (share for x in layers for share in x.energy):
        known = shares.get(share.component)
        shares[share.component] = share if known is None else _share_sum(known, share)
    whole = replace(
        first,
        identity={**first.identity, "layer": "total"},
        used=None,
        parts=waterfall.added([x.parts for x in layers]),
        energy=tuple(shares.values()),
        knobs=(),
        machine=None,
    )
    if any(x.machine is None for x in layers):
        return whole
    keys = [k.key for k in sorted(first.knobs, key=lambda k: (k.key, k.after))]
    tables = [[x.machine, *sorted(x.knobs, key=lambda k: (k.key, k.after))] for x in layers]
    assert len(keys) + 1 == len(tables[0])
    return _with_knobs(whole, turning.added([[k for k in t if k is not None] for t in tables]))


def _share_sum(a: EnergyShare, b: EnergyShare) -> EnergyShare:
    def both(one: Mapping[str, float], two: Mapping[str, float]) -> dict[str, float]:
        return {t: one.get(t, 0.0) + two.get(t, 0.0) for t in TENSORS if t in one or t in two}

    return EnergyShare(
        a.component,
        both(a.tensors, b.tensors),
        a.total + b.total,
        a.least + b.least,
        both(a.least_tensors, b.least_tensors),
    )


def _against(a: LayerExplained, b: LayerExplained) -> tuple[str, str]:
    """Why the second is faster or slower, and takes more energy or less."""
    told = [x.identity["dataflow"] for x in (a, b)]
    keys = [k for k in ("workload", "layer", "arch", "set") if a.identity[k] != b.identity[k]]
    if keys or told[0] == told[1]:
        told = [x.name for x in (a, b)]
    return waterfall.why_faster(a.parts, b.parts, (told[0], told[1])), _why_energy(a, b)


def _why_energy(a: LayerExplained, b: LayerExplained) -> str:
    """How the second's energy differs from the first's, by component."""
    if a.unit != b.unit:
        return f"Their energies are in different units ({a.unit} and {b.unit})."
    parts = {s.component: s.total for s in a.energy}
    after = {s.component: s.total for s in b.energy}
    change = {n: after.get(n, 0.0) - parts.get(n, 0.0) for n in {**parts, **after}}
    largest = sorted((n for n in change if change[n]), key=lambda n: -abs(change[n]))[:4]
    ratio = f"{waterfall.short_ratio(b.spent / a.spent)} of its energy" if a.spent else "energy"
    told = ", ".join(f"{change[n]:+.3g} in {n}" for n in largest) or "the same in every component"
    return f"It takes {ratio} ({b.spent:.4g} and {a.spent:.4g} {printed_unit(a.unit)}): {told}."


def printed_unit(unit: str) -> str:
    """``pj`` and ``mac`` as they are read."""
    return {"pj": "pJ", "mac": "MAC energies"}[unit]
