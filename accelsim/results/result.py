"""What a run gives: one row per layer and dataflow in the contract's columns, totals, and how to
see them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from accelsim.base import display
from accelsim.mapping.nest import Nest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from accelsim.engines.event.timed import Timing

LEAD = ("workload", "layer", "arch", "dataflow", "engine", "direction", "mapping", "batch", "set")
RATIOS = (
    "utilization",
    "mapping_efficiency",
    "active_pes",
    "mean_active_pes",
    "time_s",
    "gmacs_per_s",
)


@dataclass(frozen=True)
class Row:
    """One layer under one dataflow.  ``nest`` is None where the layer could not be mapped;
    ``error`` then says why.
    """

    columns: Mapping[str, Any]
    nest: Nest | None = None
    error: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    timing: Timing | None = (
        # of the event engine, timed: stalls, and timeline and occupancy if they were asked for
        None
    )


@dataclass(frozen=True)
class Result:
    """Rows in order; ``to_frame()``, ``plot``, ``bit_exact``, ``failures``."""

    rows: tuple[Row, ...]

    def records(self, *, total: bool = False) -> list[dict[str, Any]]:
        """The rows as dictionaries with the same keys in the same order; None where there is no
        value.
        """
        keys: dict[str, None] = {}
        for row in sorted(self.rows, key=lambda r: -len(r.columns)):
            keys |= dict.fromkeys(row.columns)
        rows = [{k: row.columns.get(k) for k in keys} for row in self.rows]
        return rows + (self.totals(rows) if total else [])

    def totals(self, records: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        """One record per dataflow over its mapped layers, named ``total``."""
        found = []
        records = self.records() if records is None else records
        for flow in dict.fromkeys(r["dataflow"] for r in records):
            found.append(_total([r for r in records if r["dataflow"] == flow]))
        return found

    def to_frame(self, *, total: bool = False) -> pd.DataFrame:
        """A pandas DataFrame, one row per layer and dataflow."""
        import pandas as pd

        return pd.DataFrame(self.records(total=total))

    def to_json(self, *, total: bool = False) -> str:
        """A JSON list of records; each carries seed, versions and the hashes of architecture and
        mapping.
        """
        records = self.records(total=total)
        extra = [row.provenance for row in self.rows]
        merged = [r | dict(extra[i] if i < len(extra) else {}) for i, r in enumerate(records)]
        return json.dumps(merged, indent=1, default=_plain)

    @property
    def bit_exact(self) -> bool | None:
        """Whether every layer that computed outputs matched the golden model; None if none did."""
        known = [
            row.columns.get("bit_exact")
            for row in self.rows
            if row.columns.get("bit_exact") is not None
        ]
        return all(known) if known else None

    @property
    def overridden(self) -> tuple[str, ...]:
        """Architectures with overridden keys, as ``eyeriss with array.rows=32``."""
        found = {
            describe_overrides(
                row.columns.get("arch", ""), row.provenance.get("overrides", {})
            ): None
            for row in self.rows
        }
        return tuple(text for text in found if text)

    def timeline(self, layer: str | None = None, dataflow: str | None = None) -> pd.DataFrame:
        """Who was busy with what and when: columns resource, what, tensor, start, end (cycles),
        words, step.

        Of the first row that matches, of a run with ``timeline=True``.  Raises ValueError where
        there is none.
        """
        for row in self.rows:
            matches = layer in (None, row.columns["layer"]) and dataflow in (
                None,
                row.columns["dataflow"],
            )
            if matches and row.timing is not None and row.timing.timeline is not None:
                return row.timing.timeline.to_frame()
        raise ValueError('timeline: no such row has one; run with engine="event", timeline=True')

    @property
    def sampled(self) -> tuple[str, ...]:
        """What was multiplied instead of clocked, one line a layer."""
        told = [
            (row.columns, row.provenance["sampled"])
            for row in self.rows
            if "sampled" in row.provenance
        ]
        return tuple(
            f"{columns['layer']} {columns['dataflow']}: {sentence}" for columns, sentence in told
        )

    @property
    def on_chip(self) -> tuple[str, ...]:
        """Of networks with fused buffers, what the tensors that stay on the chip take at most, one
        line a dataflow.
        """
        most: dict[str, Mapping[str, Any]] = {}
        for columns in (row.columns for row in self.rows if row.columns.get("resident_bytes")):
            known = most.get(columns["dataflow"])
            if known is None or columns["resident_bytes"] > known["resident_bytes"]:
                most[columns["dataflow"]] = columns
        said = "{}: ofmaps that stay on the chip take up to {} bytes, at {}"
        return tuple(said.format(flow, c["resident_bytes"], c["layer"]) for flow, c in most.items())

    @property
    def energy_notes(self) -> tuple[str, ...]:
        """What is derived, estimated, assumed or extrapolated in energy and area."""
        return tuple(
            dict.fromkeys(
                note for row in self.rows for note in row.provenance.get("energy_notes", ())
            )
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """Why rows failed, one line each: not mappable, outputs differ, counts differ."""
        return tuple(row.error for row in self.rows if row.error)

    @property
    def plot(self) -> Plots:
        """``plot.energy()``, ``plot.latency()``, ``plot.utilization()``: each a matplotlib
        Figure.
        """
        return Plots(self)

    def __str__(self) -> str:
        from accelsim.results.table import result_page

        return result_page(self).text()

    def _repr_html_(self) -> str:
        from accelsim.results.table import result_page

        return result_page(self).html(styled=False)


@dataclass(frozen=True)
class Plots:
    """Pictures of a result, each drawn when it is asked for."""

    result: Result

    def energy(self, by: str = "level") -> Figure:
        """Stacked energy per layer and dataflow, by ``level`` or by ``tensor``."""
        return display.figure("energy", self.result.to_frame(), by=by)

    def latency(self) -> Figure:
        """Stacked cycles per layer and dataflow: compute, fill and drain, stalls."""
        return display.figure("latency", self.result.to_frame())

    def utilization(self) -> Figure:
        """PE utilization per layer and dataflow."""
        return display.figure("utilization", self.result.to_frame())

    def timeline(self, layer: str | None = None, dataflow: str | None = None) -> Figure:
        """Every resource's and the array's work over time, of one layer (a Gantt picture)."""
        return display.figure("timeline", self.result.timeline(layer, dataflow))

    def roofline(self) -> Figure:
        """Layers under the roofs of the array and of the outermost level's port."""
        return display.figure("roofline", self.result)


def override_text(overrides: Mapping[str, Any]) -> str:
    """``KEY=VALUE, ...``, values as ``--set`` takes them."""
    return ", ".join(
        f"{k}={v if isinstance(v, str) else json.dumps(v, default=_plain)}"
        for k, v in overrides.items()
    )


def describe_overrides(name: str, overrides: Mapping[str, Any]) -> str:
    """``NAME with KEY=VALUE, ...``, values as ``--set`` takes them; empty if nothing is
    overridden.
    """
    return f"{name} with {override_text(overrides)}" if overrides else ""


def _total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = dict(rows[0])
    total["layer"] = "total"
    total["direction"] = total["direction"] if len({r["direction"] for r in rows}) == 1 else None
    done = [r for r in rows if r.get("cycles") is not None]
    for key in total:
        if key in LEAD or key in ("layer", "mapping"):
            continue
        values = [r[key] for r in done if r.get(key) is not None]
        if key == "bit_exact":
            total[key] = all(values) if values else None
        elif key.startswith("area_") or key == "resident_bytes":
            total[key] = max(values) if values else None
        elif key in ("error", "operator", "resident", "snr_db"):
            total[key] = None
        else:
            total[key] = sum(values) if values else None
    if not done:
        return total
    cycles, macs = total["cycles"], total["macs"] = (
        sum(r["cycles"] for r in done),
        sum(r["macs"] for r in done),
    )
    pes = [r["macs"] / r["utilization"] / r["cycles"] for r in done if r.get("utilization")]
    total["utilization"] = macs / (pes[0] * cycles) if pes and cycles else None
    computing = sum(
        r["compute_cycles"] for r in done if r.get("mapping_efficiency") is not None
    )  # on the array
    total["mapping_efficiency"] = macs / (pes[0] * computing) if pes and computing else None
    total["active_pes"] = max(r["active_pes"] for r in done)
    total["mean_active_pes"] = macs / computing if computing else None
    total["gmacs_per_s"] = macs / total["time_s"] / 1e9 if total["time_s"] else None
    return total | efficiency(total)


def efficiency(record: Mapping[str, Any]) -> dict[str, Any]:
    """Mean power in mW and 1e9 MACs per second and watt, where the energy is in pJ."""
    energy, time_s = record.get("energy_pj"), record.get("time_s")
    if energy is None:
        return {}
    if isinstance(energy, np.ndarray):
        return {"power_mw": energy / time_s / 1e9, "gmacs_per_w": record["macs"] / energy * 1e3}
    return {
        "power_mw": energy / time_s / 1e9 if time_s else None,
        "gmacs_per_w": record["macs"] / energy * 1e3 if energy else None,
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
