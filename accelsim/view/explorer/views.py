"""Everything the page shows of one state of its controls, as plain data."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.text_table import csv_lines
from accelsim.mapping.loops_text import show
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.results.explain import explain
from accelsim.results.layer_row import Row, override_text
from accelsim.results.result import Result
from accelsim.results.simulate import simulate
from accelsim.view.explorer.ask import Ask, SweepAsk
from accelsim.view.explorer.occupancy import macs_per_pe
from accelsim.view.explorer.roofs import roofs
from accelsim.view.explorer.share import (
    as_command,
    as_python,
    cloud_command,
    cloud_python,
    explain_command,
    sweep_command,
    sweep_python,
)
from accelsim.view.pages.explanation_page import binding_sentences
from accelsim.view.player.animation import animate
from accelsim.view.roofline import roofline_data
from accelsim.workload.network import Workload
from accelsim.workload.problem import TENSORS

SEARCH_SECONDS = 8.0  # a question has 20
PLAYED = 500
CLOUD_POINTS = 1500


def layer_view(ask: Ask) -> dict[str, Any]:
    """The chosen layer: nest, tiles, counts, energy, latency, roofline, PEs, and how to have the
    same elsewhere.

    A layer that cannot be mapped has an ``error`` instead.  Raises InputError.
    """
    result = _evaluated(ask.model_copy(update={"layer": ask.chosen.name}))
    row = result.rows[0]
    shared = {
        "python": as_python(ask),
        "command": as_command(ask),
        "layer": ask.chosen.name,
    }
    if row.nest is None:
        return {"error": row.columns["error"]} | shared
    return _views(result, row, row.nest) | shared


def network_view(ask: Ask) -> dict[str, Any]:
    """Every layer of the workload: a row each and the total."""
    rows: list[Row] = []
    for layer in ask.layers:
        one = ask.model_copy(update={"layer": layer.name})
        _ = one.chosen
        rows += _evaluated(one).rows
    result = Result(tuple(rows))
    records = result.records(total=True)
    unit = next(
        (u for u in ("pj", "mac") if any(r.get(f"energy_{u}") is not None for r in records)), "pj"
    )
    keys = ("layer", "macs", "cycles", "utilization", f"energy_{unit}", "error")
    return {
        "rows": [{k: _plain(r.get(k)) for k in keys} for r in records],
        "energy_unit": unit,
        "csv": _csv(records),
    }


def explain_view(ask: Ask) -> dict[str, str]:
    """Why the layer takes what it takes, and what doubling or halving each number of the machine
    would do: the ``text`` that `accelsim explain` prints, and the ``command``.  Raises InputError.
    """
    result = _evaluated(ask.model_copy(update={"layer": ask.chosen.name}))
    try:
        told = str(result.explain())
    except ValueError as error:  # the layer has no mapping
        raise InputError(str(error)) from error
    return {"text": told, "command": explain_command(ask)}


def cloud_view(ask: Ask) -> dict[str, Any]:
    """Random legal mappings of the layer, those no other is better than, and the fixed rule's:
    cycles and energy.  Raises InputError.
    """
    from accelsim.explore.cloud import cloud

    workload = _one_layer(ask)
    options: dict[str, Any] = {"batch": ask.batch, "direction": ask.direction}
    try:
        points = cloud(
            workload, ask.machine, ask.flow, points=CLOUD_POINTS, limit=SEARCH_SECONDS, **options
        )
    except MappingError as error:
        raise InputError(str(error)) from error
    shared = {
        "python": cloud_python(ask, CLOUD_POINTS, SEARCH_SECONDS),
        "command": cloud_command(ask),
        "unit": points.unit,
    }
    return {
        "points": points.points.tolist(),
        "front": points.front.tolist(),
        "rule": points.rule,
        "exact": points.exact,
    } | shared


def sweep_view(ask: SweepAsk) -> dict[str, str]:
    """How to have a sweep elsewhere; its points the page asks for one by one, as any other.  Raises
    InputError.
    """
    _ = ask.chosen
    return {"python": sweep_python(ask), "command": sweep_command(ask)}


def _one_layer(ask: Ask) -> Workload:
    return Workload.model_validate({"name": ask.workload or "own", "layers": (ask.chosen,)})


def play(ask: Ask) -> dict[str, str]:
    """The array in motion, its first cycles: ``title`` and the page, ``html``.  Raises
    InputError.
    """
    row = _evaluated(ask.model_copy(update={"layer": ask.chosen.name})).rows[0]
    animation = animate(
        ask.chosen,
        ask.machine,
        ask.flow,
        mapping=None if row.nest is None else row.nest.mapping,
        batch=ask.batch,
        direction=ask.direction,
        cycles=PLAYED,
    )
    return {"title": animation.title, "html": animation.html}


@lru_cache(maxsize=256)
def _known(key: str) -> Result:
    return _run(Ask.model_validate_json(key))


def _evaluated(ask: Ask) -> Result:
    return _known(ask.model_dump_json())


def _run(ask: Ask) -> Result:
    """One layer."""
    options: dict[str, Any] = {"batch": ask.batch, "direction": ask.direction}
    if ask.objective == "rule":
        options["tiles"] = "rule"
    else:
        options["objective"] = ask.objective
    result = simulate(_one_layer(ask), ask.machine, ask.flow, **options)
    changed = {"set": override_text(ask.overrides)}
    rows = (Row(dict(r.columns) | changed, r.nest, r.error, r.provenance) for r in result.rows)
    return Result(tuple(rows), asked=result.asked)


def _views(result: Result, row: Row, nest: Nest) -> dict[str, Any]:
    """All that is shown of a layer that was mapped."""
    columns, names = row.columns, nest.arch.level_names
    unit = "pj" if columns.get("energy_pj") is not None else "mac"
    components = ["compute", *names, *nest.arch.networks, "static"]
    roof = roofline_data(result).iloc[0].to_dict()
    told = explain(result, knobs=False).layers[0]
    text = _csv(result.records())
    return {
        "nest": show(nest),
        "loops": str(nest.mapping),
        "headline": {k: _plain(columns.get(k)) for k in HEADLINE},
        "energy_unit": unit,
        "energy_total": _plain(columns[f"energy_{unit}"]),
        "energy": _named(columns, components, f"energy_{{}}_{unit}"),
        "energy_by_tensor": _named(columns, TENSORS, f"energy_{{}}_{unit}"),
        "latency": {part.label: part.cycles for part in told.parts},
        "binds": binding_sentences(told),
        "tiles": _tiles(nest),
        "counts": _counts(columns, nest),
        "roofline": {k: _plain(v) for k, v in roof.items()},
        "roofs": roofs(nest),
        "pes": _pes(nest),
        "notes": list(result.energy_notes),
        "csv": text,
        "record": next(csv.DictReader(io.StringIO(text))),  # as text: the page cannot round it
    }


def _pes(nest: Nest) -> dict[str, Any] | None:
    """MACs of every PE, row by row; None where they cannot be listed."""
    macs = macs_per_pe(nest)
    if macs is None:
        return None
    return {"rows": macs.shape[0], "cols": macs.shape[1], "macs": macs.ravel().tolist()}


HEADLINE = (
    "macs",
    "cycles",
    "time_s",
    "utilization",
    "mapping_efficiency",
    "active_pes",
    "gmacs_per_s",
    "area_um2",
)


def _named(columns: Mapping[str, Any], names: Any, pattern: str) -> dict[str, Any]:
    return {
        n: _plain(columns[pattern.format(n)])
        for n in names
        if columns.get(pattern.format(n)) is not None
    }


def _tiles(nest: Nest) -> list[dict[str, Any]]:
    """The largest tile of each tensor at each level that keeps it, and what room there is."""
    foot, tiles = nest.footprint, []
    for k, name in enumerate(nest.arch.level_names):
        spec = nest.arch.levels[name]
        own = {str(t): size for t, size in spec.partitions.items()}
        for tensor in (t for t in TENSORS if t in nest.keep[k]):
            tiles.append(
                {
                    "level": name,
                    "tensor": tensor,
                    "words": foot.tile_words(k, tensor),
                    "bytes": foot.tile_bytes(k, tensor),
                    "capacity_bytes": own.get(tensor, spec.capacity_bytes),
                    "shared": tensor not in own,
                }
            )
    return tiles


def _counts(columns: Mapping[str, Any], nest: Nest) -> list[dict[str, Any]]:
    """Reads and writes of levels, deliveries and additions of networks; rows that are all zero are
    left out.
    """
    kinds = dict.fromkeys(nest.arch.level_names, ("reads", "writes"))
    kinds |= dict.fromkeys(nest.arch.networks, ("deliveries", "additions"))
    counts = []
    for name, what in kinds.items():
        for tensor in TENSORS:
            values = {
                w: _plain(columns[f"{name}_{tensor}_{w}"])
                for w in what
                if f"{name}_{tensor}_{w}" in columns
            }
            if any(values.values()):
                counts.append({"where": name, "tensor": tensor} | values)
    return counts


def _csv(records: list[dict[str, Any]]) -> str:
    names = list(records[0])
    return csv_lines(names, ([record.get(name) for name in names] for record in records)) + "\n"


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not a number is nothing."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value
