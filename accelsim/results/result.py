"""What a run gives: a row for each layer and dataflow in the contract's columns (docs/design.md),
the totals, and ways to print, write and draw them.

``simulate`` and ``train_step`` make Results; sweeps and the explorer read ``Row.columns``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.base import display
from accelsim.base.adding import sum_in_order
from accelsim.base.errors import InputError
from accelsim.base.whole_files import records_csv, write_text
from accelsim.hardware.ports import never_waited_for, never_waited_sentence
from accelsim.mapping.files import load_dataflow, several
from accelsim.results.layer_row import Row, beyond, describe_overrides, efficiency, json_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from accelsim.hardware.architecture import Architecture
    from accelsim.mapping.dataflow import Dataflow
    from accelsim.mapping.files import DataflowLike, DataflowsLike
    from accelsim.results.explain import Explanation
    from accelsim.results.map_network import NetworkBest
    from accelsim.workload.network import Workload

Value = str | int | float | bool | None  # of a column; numbers may be numpy's
Record = dict[str, Value]

# The columns that name a row; a total keeps those of its first row.
LEAD = (
    *("workload", "params", "layer", "arch", "dataflow", "engine", "direction", "mapping"),
    *("batch", "set"),
)


@dataclass(frozen=True)
class Asked:
    """How a result was asked for, so that the same can be asked of another machine.

    ``workload``   the layers that were chosen
    ``arch``       the machine, its overrides in it
    ``dataflows``  those that were asked for; None under a mapping
    ``options``    keywords of ``simulate`` that say what is computed and under which mapping
    ``run``        ``simulate``
    """

    workload: Workload
    arch: Architecture
    dataflows: DataflowsLike | None
    options: Mapping[str, Any]
    run: Callable[..., Result]

    def flow(self, dataflow: str) -> Dataflow | None:
        """The dataflow that a column calls so; None for a name that is no dataflow's."""
        flows = (_loaded(d) for d in several(self.dataflows))
        return next((f for f in flows if f is not None and f.short == dataflow), None)

    def again(self, arch: Architecture, dataflow: str) -> list[Row]:
        """The rows that a column calls by that dataflow, on another machine and on the analytic
        engine; a layer that a search has no mapping for is a row with the reason.
        """
        flows: DataflowsLike | None = self.dataflows
        if len(several(self.dataflows)) > 1:
            flows = self.flow(dataflow) or dataflow
        result = self.run(self.workload, arch, flows, **self.options)
        rows = [row for row in result.rows if row.columns["dataflow"] == dataflow]
        errors = {k: v for best in result.searches.values() for k, v in best.errors.items()}
        none = {"dataflow": dataflow, "cycles": None}
        return rows + [Row({**none, "layer": k, "error": v}, error=v) for k, v in errors.items()]


def _loaded(dataflow: DataflowLike) -> Dataflow | None:
    """A dataflow; None of a word that stands for several."""
    try:
        return load_dataflow(dataflow)
    except InputError:
        return None


@dataclass(frozen=True)
class Result:
    """``rows`` in the order they were run: printed as a table, written by ``to_csv`` and
    ``to_json``, drawn by ``plot``.

    ``searches``, of a run with a mapper: what was found under each dataflow, by the name it was
    asked for with.  ``asked``, of ``simulate``: how to ask for the same again.
    """

    rows: tuple[Row, ...]
    searches: Mapping[str, NetworkBest] = field(default_factory=dict, repr=False, compare=False)
    asked: Asked | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        named = [
            ", ".join(dict.fromkeys(str(row.columns.get(key)) for row in self.rows))
            for key in ("workload", "arch", "dataflow")
        ]
        return "<Result of {} rows: {} on {}, {}>".format(len(self.rows), *named)

    # -- tables --------------------------------------------------------------------------------

    def records(self, *, total: bool = False) -> list[Record]:
        """The rows as dictionaries with the same keys in the same order, the totals last if they
        are asked for; None where there is no value.
        """
        keys: dict[str, None] = {}
        for row in sorted(self.rows, key=lambda r: -len(r.columns)):
            keys |= dict.fromkeys(row.columns)
        records: list[Record] = [{k: row.columns.get(k) for k in keys} for row in self.rows]
        return records + (self.totals(records) if total else [])

    def totals(self, records: Sequence[Mapping[str, Value]] | None = None) -> list[Record]:
        """One record for each dataflow over its mapped layers, named ``total``; of ``records`` if
        they are at hand.
        """
        records = self.records() if records is None else records
        dataflows = dict.fromkeys(record["dataflow"] for record in records)
        return [_total([r for r in records if r["dataflow"] == flow]) for flow in dataflows]

    def to_frame(self, *, total: bool = False) -> pd.DataFrame:
        """A pandas DataFrame, one row for each layer and dataflow, and the totals if asked for;
        whole numbers of which some are missing are ``Int64``.
        """
        import pandas as pd

        records = self.records(total=total)
        frame = pd.DataFrame(records)
        for name in frame.columns:
            values = [record[name] for record in records]
            if {type(value) for value in values} == {int, type(None)}:
                frame[name] = pd.array(values, dtype="Int64")
        return frame

    def to_csv(self, path: str | Path | None = None, *, total: bool = False) -> str:
        """The records as CSV; also written to ``path`` if that is given.  Raises OSError."""
        return _given(records_csv(self.records(total=total)), path)

    def to_json(self, path: str | Path | None = None, *, total: bool = False) -> str:
        """A JSON list of records; each carries seed, versions and the hashes of architecture and
        mapping.  Also written to ``path`` if that is given.  Raises OSError.
        """
        records = self.records(total=total)
        for record, row in zip(records, self.rows, strict=False):  # totals have no provenance
            record |= row.provenance
        return _given(json.dumps(records, indent=1, default=json_value), path)

    # -- what is to be said of the rows ------------------------------------------------------------

    @property
    def bit_exact(self) -> bool | None:
        """Whether every layer that computed outputs matched the golden model; None if none did."""
        known = [row.columns.get("bit_exact") for row in self.rows]
        known = [exact for exact in known if exact is not None]
        return all(known) if known else None

    @property
    def title(self) -> str:
        """What all rows share of workload, machine with overridden keys, and batch:
        ``alexnet on eyeriss with array.rows=32, batch 4``.
        """
        told = [
            list(dict.fromkeys(row.columns.get(key) for row in self.rows))
            for key in ("workload", "arch", "batch")
        ]
        workloads, archs, batches = ([str(x) for x in names if x is not None] for names in told)
        machines = list(self.overridden) if len(self.overridden) == len(archs) else archs
        named = " on ".join(", ".join(names) for names in (workloads, machines) if names)
        return f"{named}, batch {batches[0]}" if len(batches) == 1 else named

    @property
    def unlimited(self) -> str:
        """Which memories cost no time, in a sentence; empty where there is none, and where machines
        differ in it.
        """
        machines = [row.nest.arch for row in self.rows if row.nest is not None]
        told = {never_waited_sentence(never_waited_for(arch)) for arch in machines}
        return told.pop() if len(told) == 1 else ""

    @property
    def overridden(self) -> tuple[str, ...]:
        """Architectures with overridden keys, as ``eyeriss with array.rows=32``."""
        told = dict.fromkeys(
            describe_overrides(row.columns.get("arch", ""), row.provenance.get("overrides", {}))
            for row in self.rows
        )
        return tuple(text for text in told if text)

    def timeline(self, layer: str | None = None, dataflow: str | None = None) -> pd.DataFrame:
        """Who was busy with what and when: columns resource, what, tensor, start, end (cycles),
        words, step.

        Of the first row that matches, of a run with ``timeline=True``.  Raises ValueError where
        there is none.
        """
        for row in self.rows:
            of_layer = layer in (None, row.columns["layer"])
            of_dataflow = dataflow in (None, row.columns["dataflow"])
            timeline = None if row.timing is None else row.timing.timeline
            if of_layer and of_dataflow and timeline is not None:
                return timeline.to_frame()
        raise ValueError('timeline: no such row has one; run with engine="event", timeline=True')

    def to_trace(self, path: str | Path | None = None) -> str:
        """Every timeline as a Chrome trace (JSON), which Perfetto opens: rows are processes, ports,
        channels and the array are threads, a cycle is a microsecond; written to ``path`` if given.

        Of a run with ``timeline=True``.  Raises ValueError without a timeline, and OSError.
        """
        from accelsim.results.chrome_trace import chrome_trace

        named = [
            (f"{row.columns['layer']} {row.columns['dataflow']}", row.timing)
            for row in self.rows
            if row.timing is not None and row.timing.timeline is not None
        ]
        if not named:
            raise ValueError('to_trace: no timeline; run with engine="event", timeline=True')
        return _given(chrome_trace(named), path)

    @property
    def sampled(self) -> tuple[str, ...]:
        """What was multiplied instead of clocked, one line a layer."""
        return tuple(
            f"{row.columns['layer']} {row.columns['dataflow']}: {row.provenance['sampled']}"
            for row in self.rows
            if "sampled" in row.provenance
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
        return tuple(
            f"{dataflow}: ofmaps that stay on the chip take up to {columns['resident_bytes']} "
            f"bytes, at {columns['layer']}"
            for dataflow, columns in most.items()
        )

    @property
    def energy_notes(self) -> tuple[str, ...]:
        """What is derived, estimated, assumed or extrapolated in energy and area."""
        notes = (note for row in self.rows for note in row.provenance.get("energy_notes", ()))
        return tuple(dict.fromkeys(notes))

    @property
    def failures(self) -> tuple[str, ...]:
        """Why rows failed, one line each: not mappable, outputs differ, counts differ, a total that
        is too large.
        """
        rows = [row.error for row in self.rows if row.error]
        totals = [t for t in self.totals() if t.get("error")]
        return (*rows, *(f"total {t['dataflow']}: {t['error']}" for t in totals))

    def explain(self, *, knobs: bool = True) -> Explanation:
        """Where cycles and energy of every layer went, what binds, and with ``knobs`` what doubling
        or halving each number of the machine would do.

        Prints itself; ``explain().to_json()`` has the numbers, ``explain().save(directory)`` draws
        a picture a layer.  Raises ValueError where no layer could be mapped.
        """
        from accelsim.results.explain import explain

        return explain(self, knobs=knobs)

    # -- how it is seen ----------------------------------------------------------------------------

    @property
    def plot(self) -> Plots:
        """Pictures: ``plot.energy()`` and others give a matplotlib Figure, ``plot.save(directory)``
        writes those that every result has.
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
        frame = self.result.to_frame()
        return display.figure("energy", frame, by=by, note=self.result.unlimited)

    def latency(self) -> Figure:
        """Stacked cycles per layer and dataflow: compute, fill and drain, stalls."""
        frame = self.result.to_frame()
        return display.figure("latency", frame, note=self.result.unlimited)

    def utilization(self) -> Figure:
        """PE utilization per layer and dataflow."""
        frame = self.result.to_frame()
        return display.figure("utilization", frame, note=self.result.unlimited)

    def overview(self) -> Figure:
        """Energy, cycles and utilization in one picture."""
        frame = self.result.to_frame()
        return display.figure("overview", frame, note=self.result.unlimited)

    def roofline(self) -> Figure:
        """Layers under the roofs of the array and of the outermost level's port."""
        return display.figure("roofline", self.result)

    def timeline(self, layer: str | None = None, dataflow: str | None = None) -> Figure:
        """Every resource's and the array's work over time, of one layer (a Gantt picture)."""
        return display.figure("timeline", self.result.timeline(layer, dataflow))

    def save(self, directory: str | Path) -> list[Path]:
        """Write overview, energy by level and by tensor, latency, utilization and roofline to a
        directory that is made if need be, each as PNG and SVG.  The paths that were written.

        Raises OSError, and ValueError where no layer could be mapped: there is nothing to draw.
        """
        if not any(row.nest is not None for row in self.result.rows):
            raise ValueError("nothing to draw: no layer could be mapped")
        written: list[Path] = []
        for name, figure in (
            ("overview", self.overview()),
            ("energy_by_level", self.energy("level")),
            ("energy_by_tensor", self.energy("tensor")),
            ("latency", self.latency()),
            ("utilization", self.utilization()),
            ("roofline", self.roofline()),
        ):
            written += display.save(figure, directory, name)
        return written

    def save_timelines(self, directory: str | Path) -> list[Path]:
        """Write who was busy when, of every row with a timeline, to a directory that is made if
        need be: NAME-timeline.csv, its picture, and one of what levels held (PNG and SVG each).

        NAME is layer and dataflow.  The paths that were written.  Raises OSError.
        """
        folder, written = Path(directory), list[Path]()
        folder.mkdir(parents=True, exist_ok=True)
        for row in self.result.rows:
            if row.timing is None or row.timing.timeline is None:
                continue
            name = f"{row.columns['layer']}-{row.columns['dataflow']}"
            frame = row.timing.timeline.to_frame()
            written.append(folder / f"{name}-timeline.csv")
            write_text(frame.to_csv(index=False).rstrip("\n"), written[-1])
            written += display.save(display.figure("timeline", frame), folder, f"{name}-timeline")
            if row.timing.occupancy is not None:
                held = display.figure("occupancy", row.timing.occupancy.to_frame())
                written += display.save(held, folder, f"{name}-occupancy")
        return written


def _given(text: str, path: str | Path | None) -> str:
    """The text, written to ``path`` first if there is one."""
    if path is not None:
        write_text(text, Path(path))
    return text


# Totals -------------------------------------------------------------------------------------------

# What has no sum: text, and the distance of one tensor from the float network.
NOT_SUMMED = ("error", "operator", "resident", "snr_db", "tiles", "search_stopped", "best_dataflow")


def _total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The record of a dataflow's rows together: sums over those that ran, what the whole chip has
    once (area, most bytes held), and rates worked out anew from the sums.  A sum beyond 2^63 - 1 is
    refused: the record then has ``error`` and no numbers.
    """
    total = dict(rows[0])
    total["layer"] = "total"
    if len({row["direction"] for row in rows}) > 1:
        total["direction"] = None
    done = [row for row in rows if row.get("cycles") is not None]
    for key in total:
        if key not in LEAD:
            total[key] = _together(key, [r[key] for r in done if r.get(key) is not None])
    if not done:
        return total
    if (large := beyond(total)) is not None:
        lead = {key: total[key] for key in LEAD if key in total}
        return dict.fromkeys(total) | lead | {"error": large}
    total |= _rates(done, total["time_s"])
    return total | efficiency(total)


def _together(key: str, values: list[Any]) -> Any:
    """One column of a total, of the values there are."""
    if not values or key in NOT_SUMMED:
        return None
    if key == "bit_exact":
        return all(values)
    if key.startswith("area_") or key in ("resident_bytes", "gap"):
        return max(values)
    return sum_in_order(values)


def _rates(done: Sequence[Mapping[str, Any]], time_s: float | None) -> dict[str, Any]:
    """A total's columns that are no sums, of the rows that ran.  Cycles of the vector unit count
    for utilization, and not for what the mapping makes of the array.
    """
    macs, cycles = sum(row["macs"] for row in done), sum(row["cycles"] for row in done)
    on_array = [row for row in done if row.get("mapping_efficiency") is not None]
    computing = sum(row["compute_cycles"] for row in on_array)
    # No column has the number of PEs; utilization is MACs / (PEs x cycles).
    pes = [r["macs"] / r["utilization"] / r["cycles"] for r in done if r.get("utilization")]
    return {
        "cycles": cycles,
        "macs": macs,
        "utilization": macs / (pes[0] * cycles) if pes and cycles else None,
        "mapping_efficiency": macs / (pes[0] * computing) if pes and computing else None,
        "active_pes": max(row["active_pes"] for row in done),
        "mean_active_pes": macs / computing if computing else None,
        "gmacs_per_s": macs / time_s / 1e9 if time_s else None,
    }
