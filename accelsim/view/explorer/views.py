"""Everything the page shows of one state of its controls, as plain data."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from accelsim.base.errors import InputError
from accelsim.mapping.loops_text import show
from accelsim.mapping.mapping import Mapping as Loops
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.results.result import Result, Row, override_text
from accelsim.results.simulate import simulate
from accelsim.view.explorer.ask import Ask
from accelsim.view.explorer.occupancy import macs_per_pe
from accelsim.view.explorer.share import as_command, as_python, cloud_command, cloud_python
from accelsim.view.player.animation import Animation, animate
from accelsim.view.roofline import roofline_data
from accelsim.workload.network import Workload
from accelsim.workload.problem import TENSORS

SEARCH_SECONDS = 2.0
PLAYED = 500
CLOUD_POINTS = 1500


def layer_view(ask: Ask) -> dict[str, Any]:
    """The chosen layer: nest, tiles, counts, energy, latency, roofline, PEs, and how to have the
    same elsewhere.

    A layer that cannot be mapped has an ``error`` instead.  Raises InputError.
    """
    result, found = _evaluated(ask.model_copy(update={"layer": ask.chosen.name}))
    row = result.rows[0]
    shared = {
        "python": as_python(ask, found),
        "command": as_command(ask, found),
        "layer": ask.chosen.name,
    }
    if row.nest is None:
        return {"error": row.columns["error"]} | shared
    return _views(result, row, row.nest) | shared


def network_view(ask: Ask) -> dict[str, Any]:
    """Every layer of the workload by the fixed rule: a row each and the total."""
    rows: list[Row] = []
    for layer in ask.layers:
        one = ask.model_copy(update={"layer": layer.name, "objective": "rule"})
        _ = one.chosen
        rows += _evaluated(one)[0].rows
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


def cloud_view(ask: Ask) -> dict[str, Any]:
    """Random legal mappings of the layer, those no other is better than, and the fixed rule's:
    cycles and energy.  Raises InputError.
    """
    from accelsim.explore.cloud import cloud

    workload = _one_layer(ask)
    options: dict[str, Any] = {"batch": ask.batch, "direction": ask.direction}
    try:
        found = cloud(
            workload, ask.machine, ask.flow, points=CLOUD_POINTS, limit=SEARCH_SECONDS, **options
        )
    except MappingError as error:
        raise InputError(str(error)) from error
    shared = {
        "python": cloud_python(ask, CLOUD_POINTS, SEARCH_SECONDS),
        "command": cloud_command(ask),
        "unit": found.unit,
    }
    return {
        "points": found.points.tolist(),
        "front": found.front.tolist(),
        "rule": found.rule,
        "exact": found.exact,
    } | shared


def _one_layer(ask: Ask) -> Workload:
    return Workload.model_validate({"name": ask.workload or "own", "layers": (ask.chosen,)})


def play(ask: Ask) -> Animation:
    """The array in motion, its first cycles.  Raises InputError."""
    mapping = _evaluated(ask.model_copy(update={"layer": ask.chosen.name}))[1]
    return animate(
        ask.chosen,
        ask.machine,
        ask.flow,
        mapping=mapping,
        batch=ask.batch,
        direction=ask.direction,
        cycles=PLAYED,
    )


@lru_cache(maxsize=256)
def _known(key: str) -> tuple[Result, Loops | None]:
    return _run(Ask.model_validate_json(key))


def _evaluated(ask: Ask) -> tuple[Result, Loops | None]:
    return _known(ask.model_dump_json())


def _run(ask: Ask) -> tuple[Result, Loops | None]:
    """One layer; with an objective other than the rule the mapping found for it, too."""
    workload = _one_layer(ask)
    options: dict[str, Any] = {"batch": ask.batch, "direction": ask.direction}
    mapping = None
    if ask.objective != "rule":
        from accelsim.results.best_mapping import map_layer

        try:
            best = map_layer(
                workload,
                ask.machine,
                ask.flow,
                objective=ask.objective,
                limit=SEARCH_SECONDS,
                **options,
            )
        except MappingError as error:
            raise InputError(str(error)) from error
        mapping = options["mapping"] = best.mapping
    result = simulate(workload, ask.machine, ask.flow, **options)
    changed = {"set": override_text(ask.overrides)}
    return Result(
        tuple(Row(dict(r.columns) | changed, r.nest, r.error, r.provenance) for r in result.rows)
    ), mapping


def _views(result: Result, row: Row, nest: Nest) -> dict[str, Any]:
    columns, names = row.columns, nest.arch.level_names
    unit = "pj" if columns.get("energy_pj") is not None else "mac"
    components = ["compute", *names, *nest.arch.networks, "static"]
    roof = roofline_data(result).iloc[0].to_dict()
    macs = macs_per_pe(nest)
    return {
        "nest": show(nest),
        "loops": str(nest.mapping),
        "headline": {k: _plain(columns.get(k)) for k in HEADLINE},
        "energy_unit": unit,
        "energy_total": _plain(columns[f"energy_{unit}"]),
        "energy": _named(columns, components, f"energy_{{}}_{unit}"),
        "energy_by_tensor": _named(columns, TENSORS, f"energy_{{}}_{unit}"),
        "latency": {
            "compute": _plain(columns["compute_cycles"]),
            "fill and drain": _plain(columns["fill_drain_cycles"]),
        }
        | {
            f"waiting for {k}": v
            for k, v in _named(columns, [*names, *nest.arch.networks], "stall_{}_cycles").items()
        },
        "tiles": _tiles(nest),
        "counts": _counts(columns, nest),
        "roofline": {k: _plain(v) for k, v in roof.items()},
        "pes": None
        if macs is None
        else {"rows": macs.shape[0], "cols": macs.shape[1], "macs": macs.ravel().tolist()},
        "notes": list(result.energy_notes),
        "csv": _csv(result.records()),
    }


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
    foot, found = nest.footprint, []
    for k, name in enumerate(nest.arch.level_names):
        spec = nest.arch.levels[name]
        for tensor in (t for t in TENSORS if t in nest.keep[k]):
            own = {str(t): size for t, size in spec.partitions.items()}
            capacity = own.get(tensor, spec.capacity_bytes)
            one = {
                "level": name,
                "tensor": tensor,
                "words": foot.tile_words(k, tensor),
                "bytes": foot.tile_bytes(k, tensor),
            }
            found.append(one | {"capacity_bytes": capacity, "shared": tensor not in own})
    return found


def _counts(columns: Mapping[str, Any], nest: Nest) -> list[dict[str, Any]]:
    """Reads and writes of levels, deliveries and additions of networks; rows that are all zero are
    left out.
    """
    found = []
    kinds = [(n, ("reads", "writes")) for n in nest.arch.level_names] + [
        (n, ("deliveries", "additions")) for n in nest.arch.networks
    ]
    for name, what in kinds:
        for tensor in TENSORS:
            values = {
                w: _plain(columns[f"{name}_{tensor}_{w}"])
                for w in what
                if f"{name}_{tensor}_{w}" in columns
            }
            if any(values.values()):
                found.append({"where": name, "tensor": tensor} | values)
    return found


def _csv(records: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not a number is nothing."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value
