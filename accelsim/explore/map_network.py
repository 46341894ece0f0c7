"""The best mapping of every layer of a network; equal layers are searched once, several at a time
in processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from accelsim.base.errors import InputError
from accelsim.explore.pools import one_thread
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapper.any_dataflow import ANY, is_any
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import LayerMapping, MappingFile, load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.results.best_mapping import Best, map_layer
from accelsim.results.result import Result, Row
from accelsim.results.simulate import simulate
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.problem import Direction

Progress = Callable[[str], None]


@dataclass(frozen=True)
class NetworkBest:
    """``layers`` by name; a layer that has no legal mapping is in ``errors`` instead.  ``stopped``:
    interrupted.
    """

    layers: Mapping[str, Best]
    errors: Mapping[str, str]
    result: Result
    stopped: bool = False

    def mapping_file(self, name: str = "mapper", description: str = "") -> MappingFile:
        """The chosen mappings as one file's content, a layer each.  Raises MappingError if there
        are none.
        """
        if not self.layers:
            raise MappingError("no layer was mapped")
        layers = {
            n: LayerMapping(
                loops=b.mapping.loops, keep=b.mapping.keep, fused=b.mapping.fused or None
            )
            for n, b in self.layers.items()
        }
        return MappingFile(name=name, description=description, layers=layers)


def map_network(
    workload: Any,
    arch: Any,
    dataflow: Any,
    *,
    layers: Sequence[str] = (),
    batch: int | None = None,
    direction: Direction = "forward",
    overrides: Mapping[str, Any] | None = None,
    processes: int = 1,
    progress: Progress | None = None,
    **options: Any,
) -> NetworkBest:
    """``map_layer`` for every chosen layer; ``options`` are its own, ``limit`` is a layer's.

    With ``processes`` above 1 a script needs the usual ``if __name__ == "__main__":``.
    Interrupted, the layers searched so far and what the running ones had found are returned,
    ``stopped`` true.  Raises InputError as ``map_layer`` does.
    """
    network = load_workload(workload)
    network = network.select(layers) if layers else network
    machine = load_architecture(arch, overrides or {})
    flow: str | Dataflow = ANY if is_any(dataflow) else load_dataflow(dataflow)
    if processes < 1:
        raise InputError("must be at least 1", key="processes", got=str(processes))
    groups: dict[Any, list[str]] = {}
    for x in network.layers:
        groups.setdefault(x.directed(batch, direction), []).append(x.name)
    mapped: dict[str, Best] = {}
    errors: dict[str, str] = {}
    stopped = False
    jobs = {names[0]: network.select([names[0]]) for names in groups.values()}
    options = options | {"batch": batch, "direction": direction}

    def note(first: str, best: Best | str) -> None:
        names = next(names for names in groups.values() if names[0] == first)
        for n in names:
            if isinstance(best, str):
                errors[n] = best
            else:
                mapped[n] = best
        if progress is not None:
            progress(f"{', '.join(names)}: {best if isinstance(best, str) else best.certificate}")

    try:
        for first, outcome in _outcomes(
            jobs, machine, flow, options, min(processes, len(jobs)), progress
        ):
            note(first, outcome)
            stopped |= isinstance(outcome, Best) and outcome.certificate.stopped == "interrupted"
            if stopped and processes == 1:
                break
    except KeyboardInterrupt:
        stopped = True
    ordered = {x.name: mapped[x.name] for x in network.layers if x.name in mapped}
    chosen = None if flow == ANY else flow
    rows: list[Row] = []
    for name, best in ordered.items():
        rows += _row(network.select([name]), machine, chosen, best, batch, direction)
    return NetworkBest(ordered, errors, Result(tuple(rows)), stopped)


def _row(
    layer: Workload,
    arch: Architecture,
    flow: Any,
    best: Best,
    batch: int | None,
    direction: Direction,
) -> Sequence[Row]:
    """A layer's row under its own name: equal layers share a search, not a name."""
    m = best.mapping
    mapping = MappingFile(name="mapper", loops=m.loops, keep=m.keep, fused=m.fused)
    return simulate(layer, arch, flow, mapping=mapping, batch=batch, direction=direction).rows


def _outcomes(
    jobs: Mapping[str, Any],
    machine: Any,
    flow: Any,
    options: Mapping[str, Any],
    processes: int,
    progress: Progress | None,
) -> Iterator[tuple[str, Best | str]]:
    """Each job's Best, or why it has none, as they end."""
    if processes <= 1:
        for first, layer in jobs.items():
            yield first, _solve(layer, machine, flow, dict(options), _named(progress, first))
        return
    with one_thread(), ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting: dict[Future[Best | str], str] = {
            pool.submit(_solve, layer, machine, flow, dict(options), None): n
            for n, layer in jobs.items()
        }
        try:
            for done, first in waiting.items():
                yield first, done.result()
        except KeyboardInterrupt:
            for future in waiting:
                future.cancel()
            for (
                future,
                first,
            ) in waiting.items():  # running ones were interrupted too and return what they have
                if not future.cancelled() and future.exception() is None:
                    yield first, future.result()
            raise


def _solve(
    layer: Any, machine: Any, flow: Any, options: dict[str, Any], progress: Progress | None
) -> Best | str:
    try:
        return map_layer(layer, machine, flow, progress=progress, **options)
    except MappingError as error:
        return str(error)


def _named(progress: Progress | None, name: str) -> Progress | None:
    return None if progress is None else lambda text: progress(f"{name}: {text}")
