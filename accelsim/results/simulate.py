"""One call from names to rows: workload, architecture and dataflow in, a Result out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_NUMBER
from accelsim.base.overrides import plain_value
from accelsim.hardware.architecture import load_architecture
from accelsim.mapping.source import sources
from accelsim.results.layer_row import ENGINES, Engine, How, layer_row
from accelsim.results.result import Result, Row
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Direction, Problem


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
    end_to_end: bool = False,
    fuse_buffers: bool = False,
    data: Any = None,
    weights: Any = None,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Every chosen layer under every dataflow: counts in words, cycles of the core clock, energy.

    ``workload`` is a name, a file, a layer or a list of layers; ``arch`` and ``dataflow`` a name, a
    file or an object, ``dataflow`` also several (a list, or names with commas).  ``mapping``, a
    file or an object, is used instead of the fixed rule; a dataflow is then no more than a name.
    ``overrides`` are dotted keys of the architecture.  ``engine="event"`` moves real words,
    computes outputs and lets SimPy keep the time of memory; ``engine="cycle"`` clocks every
    register of the array.  ``check`` runs the event engine beside analytic and compares outputs
    with the golden model and counts and cycles with analytic.  ``timeline`` (event only) keeps who
    was busy when in ``Result.timeline``; ``sample_folds`` (cycle only) clocks one fold of each
    shape, multiplies and computes no outputs.  A layer that cannot be mapped, or run by the cycle
    engine, is a row with an ``error``.

    ``end_to_end`` runs a network's whole graph: what the array does not do is done by the vector
    unit, a row each, and where an engine computes, each node reads what the nodes before it made
    (docs/networks.md).  ``data`` has the network's images and ``weights`` its weights, .npz files
    or arrays by name; what is not given is drawn at random.  ``fuse_buffers`` (end to end, too)
    leaves ofmaps on the chip for the layers that read them, wherever they fit.

    Raises InputError for names and files that are wrong, ValueError for an unknown engine or an
    option it has not.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    for option, given, home in (
        ("timeline", timeline, "event"),
        ("sample_folds", sample_folds, "cycle"),
    ):
        if given and engine != home:
            raise ValueError(f"{option}: belongs to engine {home}, got engine {engine}")
    end_to_end |= fuse_buffers
    if seed < 0:
        raise InputError("must be at least 0", key="seed", got=str(seed))
    if batch is not None and batch < 1:
        raise InputError("must be at least 1", key="batch", got=str(batch))
    machine = load_architecture(arch, overrides or {})
    changed = {key: plain_value(value) for key, value in (overrides or {}).items()}
    network = load_workload(workload)
    network = network.select(layers) if layers else network
    how = How(engine, check, seed, timeline, sample_folds)
    rows = []
    if end_to_end:
        from accelsim.results.network_run import NetworkRun

        for option, on in (("direction", direction != "forward"), ("layers", bool(layers))):
            if on:
                raise ValueError(
                    f"{option}: does not go with end_to_end, which runs the whole network forward"
                )
        whole = NetworkRun(network, machine, how, changed, batch, (data, weights), fuse_buffers)
        for source in sources(dataflow, mapping):
            rows += whole.rows(source, progress)
        return Result(tuple(rows))
    for option, on in (("data", data is not None), ("weights", weights is not None)):
        if on:
            raise ValueError(f"{option}: belongs to end_to_end")
    for source in sources(dataflow, mapping):
        known: dict[
            Problem, Row
            # layers that are equal have equal rows, where no values are drawn and a rule maps them
        ] = {}
        for layer in network.layers:
            problem = layer.directed(batch, direction)
            if problem.macs > MAX_NUMBER:
                raise InputError(
                    f"{layer.name} may have at most 2^53 MACs", key="batch", got=str(batch)
                )
            row = known.get(problem)
            if row is None:
                row = layer_row(network.name, layer.name, problem, machine, source, how, changed)[0]
                if (
                    engine == "analytic"
                    and not check
                    and source.flow is not None
                    and row.error is None
                ):
                    known[problem] = row
            else:
                row = replace(row, columns=dict(row.columns) | {"layer": layer.name})
            rows.append(row)
            if progress is not None:
                progress(f"{source.dataflow} {layer.name}")
    return Result(tuple(rows))


__all__ = ["ENGINES", "Engine", "simulate"]
