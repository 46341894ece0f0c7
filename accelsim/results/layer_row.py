"""The row of one layer: counts, time and energy by the engine that is asked for, and whether its
outputs are golden's.

``layer_row`` is the path of a layer in one function: mapping, nest, analytic counts and cycles, an
engine on real words if one is asked for, energy, columns.  ``simulate``, whole networks and
training steps call it once for each layer; sweeps take ``performance`` for many points at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.frozen import FrozenDict
from accelsim.base.limits import MAX_COUNT, MAX_NUMBER, too_large
from accelsim.engines import analytic, moved
from accelsim.engines.run import Run
from accelsim.hardware.architecture import Architecture, limited, remembered
from accelsim.hardware.energy import prices
from accelsim.mapping.files import MappingSource
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.results import check as compare
from accelsim.version import MODEL_VERSION, __version__
from accelsim.workload.problem import Problem

if TYPE_CHECKING:
    from accelsim.engines.timeline import Timing
    from accelsim.results.execute import Executing

Array = npt.NDArray[Any]
Engine = Literal["analytic", "event", "cycle"]
ENGINES: tuple[Engine, ...] = ("analytic", "event", "cycle")
ENERGIES = ("energy_pj", "energy_mac")  # the total energy, in one of two units


@dataclass(frozen=True)
class Row(Displayed):
    """One layer under one dataflow.

    ``columns``     what is shown and written, by name: words, cycles, energy in the architecture's
                    unit; None where there is no value
    ``nest``        the mapping that ran; None where the layer could not be mapped, and of a node on
                    the vector unit
    ``error``       layer, dataflow and why the row failed: not mapped, outputs or counts differ
    ``provenance``  seed, versions, hashes, loops and notes: what JSON says beside the columns
    ``timing``      of the event engine: stalls, and timeline and occupancy if they were asked for
    """

    columns: Mapping[str, Any]
    nest: Nest | None = None
    error: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    timing: Timing | None = None

    def __post_init__(self) -> None:
        for name in ("columns", "provenance"):
            if type(getattr(self, name)) is not FrozenDict:
                object.__setattr__(self, name, FrozenDict(getattr(self, name)))

    def __repr__(self) -> str:
        of = [str(self.columns.get(key)) for key in ("workload", "layer", "arch", "dataflow")]
        cycles = self.columns.get("cycles")
        return f"<Row of {' '.join(of)}: {self.error or f'{cycles} cycles'}>"


@dataclass(frozen=True)
class How:
    """How layers are run, the same for every layer of a call: the keywords of ``simulate``."""

    engine: Engine
    check: bool
    seed: int
    timeline: bool = False
    sample_folds: bool = False


@dataclass(frozen=True)
class Given:
    """A layer's operands where they are not drawn at random.

    ``data``  operands and bias by name, in words: weight [G, M, C, R, S], ifmap [N, G, C, H, W],
              and what the problem's direction reads in their place
    ``sums``  the accumulators the layer should have; golden's of these operands unless given
    """

    data: Mapping[str, Array]
    sums: Array | None = None


def layer_row(
    workload: str,
    name: str,
    problem: Problem,
    arch: Architecture,
    source: MappingSource,
    how: How,
    overrides: Mapping[str, object],
    given: Given | None = None,
) -> tuple[Row, Array | None]:
    """One layer's row, and its accumulators, axes as in ``check.AXES``, where an engine made
    them.

    ``overrides`` are those that ``arch`` has already, for the row to tell.  A layer that cannot be
    mapped or run is a row with the reason; nothing is raised for it.
    """
    lead = leading(workload, name, arch, source, how, problem.direction, problem.N, problem.macs)
    try:
        nest = Nest(problem, arch, source.mapping_of(name, problem, arch))
        closed = _closed(nest)
        run, wrong = None, None
        if how.check or how.engine != "analytic":
            run, wrong = _executed(nest, how, closed, given)
    except MappingError as error:
        return refused(lead, arch, source, how, overrides, str(error)), None
    told = closed if run is None or how.engine == "analytic" else run
    words = moved.columns(nest, told.moves)
    assert told.cycles is not None and told.stalls is not None
    spent = performance(nest, told.cycles, told.compute_cycles, told.stalls, told.active_pes)
    exact, differs = (None, None) if run is None else _compared(nest, closed, run, wrong, how)
    energy = moved.energy(nest, told.moves, problem.macs, spent["time_s"])
    columns = lead | spent | efficiency(lead | spent | energy) | energy
    columns |= {"bit_exact": exact, "error": differs, "set": override_text(overrides)} | words
    if source.told is not None:
        columns |= source.told(problem, arch)
    if (large := beyond(columns)) is not None:
        return refused(lead, arch, source, how, overrides, large), None
    known = provenance(arch, nest, how.seed, overrides)
    known |= {"cycles_exact": closed.exact, "cycles_bound": closed.bound}
    why = f"{name} {source.dataflow}: {differs}" if differs else None
    if run is None:
        return Row(columns, nest, why, known), None
    known |= {"sampled": run.sampled} if run.sampled else {}
    return Row(columns, nest, why, known, run.timing), run.outputs


def beyond(columns: Mapping[str, Any]) -> str | None:
    """What is to be said of the first column whose whole number does not fit; None if all do."""
    for name, value in columns.items():
        if isinstance(value, int) and abs(value) > MAX_COUNT:
            return too_large(name, value)
    return None


def _closed(nest: Nest) -> Run:
    """The analytic engine's outcome.  Raises MappingError, also where its whole numbers would not
    fit.
    """
    try:
        return analytic.run(nest)
    except OverflowError as error:
        raise MappingError(str(error)) from None


def check_macs(layer: str, problem: Problem, batch: int | None) -> None:
    """Raises InputError beyond 2^53 MACs, where counts would no longer be exact."""
    if problem.macs > MAX_NUMBER:
        raise InputError(f"{layer} may have at most 2^53 MACs", key="batch", got=str(batch))


def leading(
    workload: str,
    name: str,
    arch: Architecture,
    source: MappingSource,
    how: How,
    direction: str,
    batch: int,
    macs: int,
) -> dict[str, Any]:
    """The columns every row begins with."""
    return {
        "workload": workload,
        "layer": name,
        "arch": arch.name,
        "dataflow": source.dataflow,
        "engine": how.engine,
        "direction": direction,
        "mapping": source.mapping,
        "batch": batch,
        "macs": macs,
    }


def refused(
    lead: Mapping[str, Any],
    arch: Architecture,
    source: MappingSource,
    how: How,
    overrides: Mapping[str, object],
    why: str,
) -> Row:
    """The row of a layer that could not be mapped, or run by the engine."""
    columns = {**lead, "bit_exact": None, "error": why, "set": override_text(overrides)}
    return Row(
        columns,
        error=f"{lead['layer']} {source.dataflow}: {why}",
        provenance=provenance(arch, None, how.seed, overrides),
    )


def _executed(nest: Nest, how: How, closed: Run, given: Given | None) -> tuple[Run, str | None]:
    """The layer on an engine that multiplies, and where its outputs are not golden's: the event
    engine where analytic's row is only to be checked.
    """
    from accelsim.engines import golden
    from accelsim.results.execute import execute
    from accelsim.workload.arithmetic import random_data

    weight, ifmap, ofmap, psum = (nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum"))
    data: Mapping[str, Array] = {} if given is None else given.data
    if given is None and not how.sample_folds:
        data = random_data(nest.problem, weight, ifmap, ofmap, psum, how.seed)
    engine: Executing = "cycle" if how.engine == "cycle" else "event"
    # Beside analytic, memory is timed only where the two must agree: where analytic is exact.
    timed = how.engine != "analytic" or (closed.exact and limited(nest.arch))
    run = execute(
        engine, nest, data, timed=timed, timeline=how.timeline, sample_folds=how.sample_folds
    )
    if run.outputs is None:
        return run, None
    expected = (
        golden.accumulate(nest.problem, data, psum)
        if given is None or given.sums is None
        else given.sums
    )
    return run, compare.outputs(nest.problem, expected, run.outputs)


def _compared(
    nest: Nest, closed: Run, run: Run, wrong: str | None, how: How
) -> tuple[bool | None, str | None]:
    """Whether outputs are golden's (None: there are none), and what differs from golden or from
    the analytic engine's outcome, ``closed``.
    """
    expected, measured = (
        moved.columns(nest, x.moves)
        | {
            "macs": x.macs,
            "array cycles": x.array_cycles,
            "compute_cycles": x.compute_cycles,
            "active_pes": x.active_pes,
        }
        for x in (closed, run)
    )
    if closed.exact and run.cycles is not None:
        for told, x in (expected, closed), (measured, run):
            waits = {f"stall_{name}_cycles": n for name, n in (x.stalls or {}).items()}
            told |= {"cycles": x.cycles} | waits
    engine = "cycle" if how.engine == "cycle" else "event"
    differences = (wrong, compare.counts(expected, measured, engine), run.overflow)
    differs = "; ".join(text for text in differences if text) or None
    return None if run.outputs is None else wrong is None, differs


def performance(
    nest: Nest,
    cycles: Any,
    compute: Any,
    stalls: Mapping[str, Any],
    active: Any,
    pes: Any = None,
    clock_mhz: Any = None,
) -> dict[str, Any]:
    """Cycles and where they went (docs/time.md); a level inside the PEs is never waited for and has
    no column.

    Each is a number, or an array [points] of points that differ in numbers only.  ``cycles``,
    ``compute`` and ``stalls`` (by level and network) are cycles of the core clock, ``active`` the
    PEs that have work.  ``pes`` and ``clock_mhz`` are the architecture's unless given.
    """
    in_pe = None if nest.arch.level_in_pe is None else nest.arch.level_names[-1]
    waited = {name: n for name, n in stalls.items() if name != in_pe}
    if pes is None:
        pes, clock_mhz = nest.arch.array.rows * nest.arch.array.cols, nest.arch.clock_mhz
    time_s = cycles / (clock_mhz * 1e6)
    macs = nest.problem.macs
    return {
        "cycles": cycles,
        "compute_cycles": compute,
        "fill_drain_cycles": cycles - compute - sum(waited.values()),
        "stall_cycles": sum(waited.values()),
        **{f"stall_{name}_cycles": n for name, n in waited.items()},
        "utilization": _share(macs, pes, cycles),
        "mapping_efficiency": _share(macs, pes, compute),
        "active_pes": active,
        "mean_active_pes": macs / compute,
        "time_s": time_s,
        "gmacs_per_s": macs / time_s / 1e9,
    }


def _share(macs: int, pes: Any, cycles: Any) -> Any:
    """MACs over PEs x cycles, numbers or arrays [points]; a product that does not fit in 53 bits is
    not made in an array, where it would wrap or be rounded twice.
    """
    if not isinstance(pes, np.ndarray) and not isinstance(cycles, np.ndarray):
        return macs / (pes * cycles)
    if np.max(pes) * float(np.max(cycles)) < MAX_NUMBER:
        return macs / (pes * cycles)
    pairs = zip(*(x.tolist() for x in np.broadcast_arrays(pes, cycles)), strict=True)
    return np.array([macs / (p * c) for p, c in pairs])


def efficiency(record: Mapping[str, Any]) -> dict[str, Any]:
    """The columns ``power_mw``, mean power in mW, and ``gmacs_per_w``, 1e9 MACs per second and
    watt, of a record's ``energy_pj``, ``time_s`` and ``macs``; none where the energy is not in pJ.

    The record's values are numbers, or arrays [points] of points that all take time and energy.
    """
    energy, time_s = record.get("energy_pj"), record.get("time_s")
    if energy is None:
        return {}
    if isinstance(energy, np.ndarray):
        return {"power_mw": energy / time_s / 1e9, "gmacs_per_w": record["macs"] / energy * 1e3}
    return {
        "power_mw": energy / time_s / 1e9 if time_s else None,
        "gmacs_per_w": record["macs"] / energy * 1e3 if energy else None,
    }


def provenance(
    arch: Architecture, nest: Nest | None, seed: int, overrides: Mapping[str, object]
) -> dict[str, Any]:
    """What a row can be made again from, and what is to be said about its numbers."""
    return {
        "seed": seed,
        "overrides": overrides,
        "accelsim_version": __version__,
        "model_version": MODEL_VERSION,
        "arch_hash": _arch_hash(arch),
        "mapping_hash": None if nest is None else _hash(nest.mapping.model_dump_json()),
        "loops": None if nest is None else str(nest.mapping),
        "energy_notes": prices(arch).notes,
    }


@remembered
def _arch_hash(arch: Architecture) -> str:
    return _hash(arch.model_dump_json())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def override_text(overrides: Mapping[str, object]) -> str:
    """``KEY=VALUE, ...``, values as ``--set`` takes them; the column ``set``."""
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, default=json_value)}"
        for key, value in overrides.items()
    )


def describe_overrides(name: str, overrides: Mapping[str, object]) -> str:
    """``NAME with KEY=VALUE, ...``; empty if nothing is overridden."""
    return f"{name} with {override_text(overrides)}" if overrides else ""


def json_value(value: Any) -> Any:
    """What ``json`` asks for a value it does not know: numpy scalars as numbers, the rest as
    text.
    """
    return value.item() if hasattr(value, "item") else str(value)
