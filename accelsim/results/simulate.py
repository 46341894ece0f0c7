"""One call from names to rows: workload, architecture and dataflow in, a Result out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from accelsim import files
from accelsim.engines import analytic, counts, golden, pipeline
from accelsim.engines.rates import limited
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.energy import prices
from accelsim.hardware.presets import load_architecture
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.source import Source, sources
from accelsim.results import check as compare
from accelsim.results.execute import Executed, Executing, execute
from accelsim.results.result import Result, Row, efficiency, override_text
from accelsim.version import MODEL_VERSION, __version__
from accelsim.workload.arithmetic import random_data
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.problem import Direction, Problem

Engine = Literal["analytic", "event", "cycle"]
ENGINES: tuple[Engine, ...] = ("analytic", "event", "cycle")


def simulate(
    workload: Any,
    arch: Any,
    dataflow: Any = None,
    *,
    mapping: Any = None,
    engine: Engine = "analytic",
    layers: Sequence[str] = (),
    batch: int | None = None,
    direction: Direction = "forward",
    overrides: Mapping[str, Any] | None = None,
    check: bool = False,
    seed: int = 0,
    timeline: bool = False,
    sample_folds: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Every chosen layer under every dataflow: counts in words, cycles of the core clock, energy.

    ``workload`` is a name, a file, a layer or a list of layers; ``arch`` and ``dataflow`` a name, a file or an
    object, ``dataflow`` also several (a list, or names with commas).  ``mapping``, a file or an object, is used
    instead of the fixed rule; a dataflow is then no more than a name.  ``overrides`` are dotted keys of the
    architecture.  ``engine="event"`` moves real words, computes outputs and lets SimPy keep the time of memory;
    ``engine="cycle"`` clocks every register of the array.  ``check`` runs the event engine beside analytic and
    compares outputs with the golden model and counts and cycles with analytic.  ``timeline`` (event only) keeps who
    was busy when in ``Result.timeline``; ``sample_folds`` (cycle only) clocks one fold of each shape, multiplies and
    computes no outputs.  A layer that cannot be mapped, or run by the cycle engine, is a row with an ``error``.
    Raises InputError for names and files that are wrong, ValueError for an unknown engine or an option it has not.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    for option, given, home in (("timeline", timeline, "event"), ("sample_folds", sample_folds, "cycle")):
        if given and engine != home:
            raise ValueError(f"{option}: belongs to engine {home}, got engine {engine}")
    machine = load_architecture(arch, overrides or {})
    changed = {key: files.plain(value) for key, value in (overrides or {}).items()}
    network = _chosen(load_workload(workload), layers)
    how = _How(engine, check, seed, timeline, sample_folds)
    rows = []
    for source in sources(dataflow, mapping):
        for layer in network.layers:
            if batch is not None and batch < 1:
                raise files.InputError("must be at least 1", key="batch", got=str(batch))
            problem = layer.directed(batch, direction)
            if problem.macs > files.MAX_NUMBER:
                raise files.InputError(f"{layer.name} may have at most 2^53 MACs", key="batch", got=str(batch))
            rows.append(_row(network.name, layer.name, problem, machine, source, how, changed))
            if progress is not None:
                progress(f"{source.dataflow} {layer.name}")
    return Result(tuple(rows))


@dataclass(frozen=True)
class _How:
    """What is to be run, and kept."""

    engine: Engine
    check: bool
    seed: int
    timeline: bool
    sample_folds: bool


def _row(workload: str, name: str, problem: Problem, arch: Architecture, source: Source, how: _How, overrides: dict[str, Any]) -> Row:
    lead: dict[str, Any] = {
        "workload": workload,
        "layer": name,
        "arch": arch.name,
        "dataflow": source.dataflow,
        "engine": how.engine,
        "direction": problem.direction,
        "mapping": source.mapping,
        "batch": problem.N,
        "macs": problem.macs,
    }
    try:
        nest = Nest(problem, arch, source.mapping_of(name, problem, arch))
        moves = analytic.run(nest)
        time = pipeline.time(nest, moves)
        run = _executed(nest, how, time) if how.check or how.engine != "analytic" else None
    except MappingError as error:
        why = f"{name} {source.dataflow}: {error}"
        known = _provenance(arch, None, how.seed, overrides)
        return Row(lead | {"bit_exact": None, "error": str(error), "set": override_text(overrides)}, None, why, known)
    shown = counts.columns(nest, moves)
    spent = performance(nest, time.cycles, time.compute, time.stalls, time.active_pes)
    exact, error_text = None, None
    if run is not None:
        exact, error_text = _compared(nest, time, shown, run, how)
        if how.engine != "analytic":
            assert run.cycles is not None and run.stalls is not None
            shown, moves = counts.columns(nest, run.moves), dict(run.moves)
            spent = performance(nest, run.cycles, run.compute, run.stalls, run.active)
    energy = counts.energy(nest, moves, problem.macs, spent["time_s"])
    columns = lead | spent | efficiency(lead | spent | energy) | energy
    columns |= {"bit_exact": exact, "error": error_text, "set": override_text(overrides)} | shown
    known = _provenance(arch, nest, how.seed, overrides) | {"cycles_exact": time.exact, "cycles_bound": time.bound}
    known |= {"sampled": run.sampled} if run is not None and run.sampled else {}
    return Row(columns, nest, f"{name} {source.dataflow}: {error_text}" if error_text else None, known, None if run is None else run.timing)


def _executed(nest: Nest, how: _How, time: pipeline.Time) -> Executed:
    weight, ifmap, ofmap, psum = (nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum"))
    data = {} if how.sample_folds else random_data(nest.problem, weight, ifmap, ofmap, psum, how.seed)
    engine: Executing = "cycle" if how.engine == "cycle" else "event"
    timed = how.engine != "analytic" or (time.exact and limited(nest.arch))
    run = execute(engine, nest, data, timed=timed, timeline=how.timeline, sample_folds=how.sample_folds)
    if run.result is None:
        return run
    golden_sums = golden.accumulate(nest.problem, data, nest.arch.number("psum"))
    return replace(run, wrong=compare.outputs(nest.problem, golden_sums, run.result))


def _compared(nest: Nest, time: pipeline.Time, predicted: Mapping[str, Any], run: Executed, how: _How) -> tuple[bool | None, str | None]:
    """Whether outputs are golden's (None: there are none), and what differs from golden or analytic."""
    measured = counts.columns(nest, run.moves) | {"macs": run.macs, "array cycles": run.array_cycles}
    measured |= {"compute_cycles": run.compute, "active_pes": run.active}
    expected = dict(predicted) | {"macs": nest.problem.macs, "array cycles": time.array}
    expected |= {"compute_cycles": time.compute, "active_pes": time.active_pes}
    if time.exact and run.cycles is not None:
        expected["cycles"], measured["cycles"] = time.cycles, run.cycles
    which = "cycle" if how.engine == "cycle" else "event"
    found = [run.wrong, compare.counts(expected, measured, which), run.overflow]
    return None if run.result is None else run.wrong is None, "; ".join(w for w in found if w) or None


def performance(
    nest: Nest, cycles: Any, compute: Any, stalls: Mapping[str, Any], active: Any, pes: Any = None, clock_mhz: Any = None
) -> dict[str, Any]:
    """Cycles and where they went (docs/time.md), numbers or arrays; a level inside the PEs is never waited for and has no column.

    ``pes`` and ``clock_mhz`` are the architecture's unless given.
    """
    waited = {name: n for name, n in stalls.items() if nest.arch.level_in_pe is None or name != nest.arch.level_names[-1]}
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


def _provenance(arch: Architecture, nest: Nest | None, seed: int, overrides: dict[str, Any]) -> dict[str, Any]:
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


def _chosen(network: Workload, layers: Sequence[str]) -> Workload:
    return network.select(layers) if layers else network
