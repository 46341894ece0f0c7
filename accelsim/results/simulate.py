"""One call from names to rows: workload, architecture and dataflow in, a Result out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from accelsim import files
from accelsim.engines import analytic, counts, event, golden, pipeline
from accelsim.hardware.architecture import Architecture
from accelsim.hardware.energy import prices
from accelsim.hardware.presets import load_architecture
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.source import Source, sources
from accelsim.results import check as compare
from accelsim.results.result import Result, Row, efficiency, override_text
from accelsim.version import MODEL_VERSION, __version__
from accelsim.workload.arithmetic import random_data
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.problem import Direction, Problem

Engine = Literal["analytic", "event"]
ENGINES: tuple[Engine, ...] = ("analytic", "event")


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
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Every chosen layer under every dataflow: counts in words, cycles of the core clock, energy.

    ``workload`` is a name, a file, a layer or a list of layers; ``arch`` and ``dataflow`` a name, a file or an
    object, ``dataflow`` also several (a list, or names with commas).  ``mapping``, a file or an object, is used
    instead of the fixed rule; a dataflow is then no more than a name.  ``overrides`` are dotted keys of the
    architecture.  ``engine="event"`` moves real words and computes outputs; ``check`` does so beside any
    engine and compares outputs with the golden model and counts with analytic.  A layer that cannot be
    mapped is a row with an ``error``.  Raises InputError for names and files that are wrong, ValueError for
    an unknown engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    machine = load_architecture(arch, overrides or {})
    changed = {key: files.plain(value) for key, value in (overrides or {}).items()}
    network = _chosen(load_workload(workload), layers)
    rows = []
    for source in sources(dataflow, mapping):
        for layer in network.layers:
            if batch is not None and batch < 1:
                raise files.InputError("must be at least 1", key="batch", got=str(batch))
            problem = layer.problem(batch).with_direction(direction)
            if problem.macs > files.MAX_NUMBER:
                raise files.InputError(f"{layer.name} may have at most 2^53 MACs", key="batch", got=str(batch))
            rows.append(_row(network.name, layer.name, problem, machine, source, engine, check, seed, changed))
            if progress is not None:
                progress(f"{source.dataflow} {layer.name}")
    return Result(tuple(rows))


def _row(
    workload: str,
    name: str,
    problem: Problem,
    arch: Architecture,
    source: Source,
    engine: Engine,
    check: bool,
    seed: int,
    overrides: dict[str, Any],
) -> Row:
    lead: dict[str, Any] = {
        "workload": workload,
        "layer": name,
        "arch": arch.name,
        "dataflow": source.dataflow,
        "engine": engine,
        "direction": problem.direction,
        "mapping": source.mapping,
        "batch": problem.N,
        "macs": problem.macs,
    }
    try:
        nest = Nest(problem, arch, source.mapping_of(name, problem, arch))
        moves = analytic.run(nest)
        time = pipeline.time(nest, moves)
    except MappingError as error:
        why = f"{name} {source.dataflow}: {error}"
        return Row(
            lead | {"bit_exact": None, "error": str(error), "set": override_text(overrides)},
            None,
            why,
            _provenance(arch, None, seed, overrides),
        )
    predicted = counts.columns(nest, moves)
    exact, error_text, shown = None, None, predicted
    if check or engine == "event":
        weight, ifmap, ofmap, psum = (arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum"))
        data = random_data(problem, weight, ifmap, ofmap, psum, seed)
        run = event.run(nest, data)
        measured = counts.columns(nest, run.moves)
        wrong = [
            compare.outputs(problem, golden.accumulate(problem, data, arch.number("psum")), run.result),
            compare.counts(
                predicted | {"macs": problem.macs, "cycles": time.array, "compute_cycles": time.compute, "active_pes": time.active_pes},
                measured
                | {"macs": run.macs, "cycles": event.array_cycles(nest, run.folds)}
                | {"compute_cycles": run.compute_cycles, "active_pes": run.active_pes},
            ),
            run.overflow,
        ]
        exact = wrong[0] is None
        error_text = "; ".join(w for w in wrong if w) or None
        if engine == "event":
            shown, moves = measured, run.moves
    spent = performance(nest, time.cycles, time.compute, time.stalls, time.active_pes)
    energy = counts.energy(nest, moves, problem.macs, spent["time_s"])
    columns = lead | spent | efficiency(lead | spent | energy) | energy
    columns |= {"bit_exact": exact, "error": error_text, "set": override_text(overrides)} | shown
    return Row(columns, nest, f"{name} {source.dataflow}: {error_text}" if error_text else None, _provenance(arch, nest, seed, overrides))


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
