"""The row of one layer: counts, time and energy by the engine asked for, and whether its outputs
are golden's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from accelsim.engines import analytic, moved
from accelsim.engines.run import Run
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.energy import prices
from accelsim.hardware.ports import limited
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.source import MappingSource
from accelsim.results import check as compare
from accelsim.results.result import Row, efficiency, override_text
from accelsim.version import MODEL_VERSION, __version__
from accelsim.workload.problem import Problem

if TYPE_CHECKING:
    from accelsim.results.execute import Executing

Array = npt.NDArray[Any]
Engine = Literal["analytic", "event", "cycle"]
ENGINES: tuple[Engine, ...] = ("analytic", "event", "cycle")


@dataclass(frozen=True)
class How:
    """What is to be run, and kept."""

    engine: Engine
    check: bool
    seed: int
    timeline: bool = False
    sample_folds: bool = False


@dataclass(frozen=True)
class Given:
    """A layer's operands by tensor (and bias), and the accumulators it should have; golden's of
    these operands unless given.
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
    overrides: dict[str, Any],
    given: Given | None = None,
) -> tuple[Row, Array | None]:
    """One layer's row, and its accumulators where an engine made them; operands are drawn at random
    unless given.
    """
    lead = leading(workload, name, arch, source, how, problem.direction, problem.N, problem.macs)
    try:
        nest = Nest(problem, arch, source.mapping_of(name, problem, arch))
        closed = analytic.run(nest)
        run, wrong = None, None
        if how.check or how.engine != "analytic":
            run, wrong = _executed(nest, how, closed, given)
    except MappingError as error:
        return refused(lead, arch, source, how, overrides, str(error)), None
    told = closed if run is None or how.engine == "analytic" else run
    shown = moved.columns(nest, told.moves)
    assert told.cycles is not None and told.stalls is not None
    spent = performance(nest, told.cycles, told.compute_cycles, told.stalls, told.active_pes)
    exact, error_text = None, None
    if run is not None:
        exact, error_text = _compared(nest, closed, run, wrong, how)
    energy = moved.energy(nest, told.moves, problem.macs, spent["time_s"])
    columns = lead | spent | efficiency(lead | spent | energy) | energy
    columns |= {"bit_exact": exact, "error": error_text, "set": override_text(overrides)} | shown
    known = provenance(arch, nest, how.seed, overrides) | {
        "cycles_exact": closed.exact,
        "cycles_bound": closed.bound,
    }
    known |= {"sampled": run.sampled} if run is not None and run.sampled else {}
    why = f"{name} {source.dataflow}: {error_text}" if error_text else None
    return Row(
        columns, nest, why, known, None if run is None else run.timing
    ), None if run is None else run.outputs


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
    overrides: dict[str, Any],
    why: str,
) -> Row:
    """The row of a layer that could not be mapped."""
    columns = dict(lead) | {"bit_exact": None, "error": why, "set": override_text(overrides)}
    return Row(
        columns,
        None,
        f"{lead['layer']} {source.dataflow}: {why}",
        provenance(arch, None, how.seed, overrides),
    )


def _executed(nest: Nest, how: How, closed: Run, given: Given | None) -> tuple[Run, str | None]:
    """The layer on real words, and where its outputs differ from golden's."""
    from accelsim.engines import golden
    from accelsim.results.execute import execute
    from accelsim.workload.arithmetic import random_data

    weight, ifmap, ofmap, psum = (nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum"))
    data: Mapping[str, Array] = {} if given is None else given.data
    if given is None and not how.sample_folds:
        data = random_data(nest.problem, weight, ifmap, ofmap, psum, how.seed)
    engine: Executing = "cycle" if how.engine == "cycle" else "event"
    timed = how.engine != "analytic" or (closed.exact and limited(nest.arch))
    run = execute(
        engine, nest, data, timed=timed, timeline=how.timeline, sample_folds=how.sample_folds
    )
    if run.outputs is None:
        return run, None
    wanted = (
        golden.accumulate(nest.problem, data, psum)
        if given is None or given.sums is None
        else given.sums
    )
    return run, compare.outputs(nest.problem, wanted, run.outputs)


def _compared(
    nest: Nest, closed: Run, run: Run, wrong: str | None, how: How
) -> tuple[bool | None, str | None]:
    """Whether outputs are golden's (None: there are none), and what differs from golden or
    analytic.
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
        expected["cycles"], measured["cycles"] = closed.cycles, run.cycles
    which = "cycle" if how.engine == "cycle" else "event"
    differences = [wrong, compare.counts(expected, measured, which), run.overflow]
    return None if run.outputs is None else wrong is None, "; ".join(
        w for w in differences if w
    ) or None


def performance(
    nest: Nest,
    cycles: Any,
    compute: Any,
    stalls: Mapping[str, Any],
    active: Any,
    pes: Any = None,
    clock_mhz: Any = None,
) -> dict[str, Any]:
    """Cycles and where they went (docs/time.md), numbers or arrays; a level inside the PEs is never
    waited for and has no column.

    ``pes`` and ``clock_mhz`` are the architecture's unless given.
    """
    waited = {
        name: n
        for name, n in stalls.items()
        if nest.arch.level_in_pe is None or name != nest.arch.level_names[-1]
    }
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
        "utilization": macs / (pes * cycles),
        "mapping_efficiency": macs / (pes * compute),
        "active_pes": active,
        "mean_active_pes": macs / compute,
        "time_s": time_s,
        "gmacs_per_s": macs / time_s / 1e9,
    }


def provenance(
    arch: Architecture, nest: Nest | None, seed: int, overrides: dict[str, Any]
) -> dict[str, Any]:
    return {
        "seed": seed,
        "overrides": overrides,
        "accelsim_version": __version__,
        "model_version": MODEL_VERSION,
        "arch_hash": _hash(arch.model_dump_json()),
        "mapping_hash": _hash(nest.mapping.model_dump_json()) if nest is not None else None,
        "loops": str(nest.mapping) if nest is not None else None,
        "energy_notes": prices(arch).notes,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
