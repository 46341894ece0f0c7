"""The best mapping of every layer of a network: what ``accelsim map`` and ``acc.map_network`` give,
and ``simulate`` with a mapper.

Layers that are equal are searched once; with ``processes`` several are searched at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.one_thread import one_thread
from accelsim.base.validation import checked
from accelsim.base.whole_files import records_csv, write_text
from accelsim.base.yaml_writing import to_yaml
from accelsim.hardware.architecture import Architecture, ArchitectureLike, load_architecture
from accelsim.mapper.any_dataflow import ANY, is_any
from accelsim.mapper.space import TileChoice
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import DataflowLike, LayerMapping, MappingFile, load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.results.best_mapping import Best, map_layer, mapped_row
from accelsim.results.result import Result
from accelsim.workload.network import Workload, WorkloadLike, load_workload
from accelsim.workload.problem import Direction, Problem

Progress = Callable[[str], None]


@dataclass(frozen=True)
class NetworkBest(Displayed):
    """``layers`` by name; a layer that has no legal mapping is in ``errors`` instead, with the
    reason.

    ``result`` has the chosen mappings' rows, of the analytic engine.  ``stopped``: interrupted.
    """

    layers: Mapping[str, Best]
    errors: Mapping[str, str]
    result: Result
    stopped: bool = False

    def __repr__(self) -> str:
        none = f", {len(self.errors)} without a mapping" if self.errors else ""
        return f"<NetworkBest of {len(self.layers)} layers{none}>"

    def mapping_file(self, name: str = "mapper", description: str = "") -> MappingFile:
        """The chosen mappings as one file's content, a layer each.  Raises MappingError if there
        are none.
        """
        if not self.layers:
            raise MappingError("no layer was mapped")
        layers = {
            layer: LayerMapping(
                loops=best.mapping.loops,
                keep=best.mapping.keep,
                fused=best.mapping.fused or None,
            )
            for layer, best in self.layers.items()
        }
        return MappingFile(name=name, description=description, layers=layers)

    def save_mappings(self, path: str | Path) -> Path:
        """Write ``mapping_file``, named after the file, as YAML.  Raises OSError, and MappingError
        if there are no mappings.
        """
        path = Path(path)
        write_text(to_yaml(self.mapping_file(path.stem)).rstrip(), path)
        return path

    def records(self) -> list[dict[str, Any]]:
        """A record for each layer: what its mapping costs, how far it is proved to be the best, and
        the mapping as text.
        """
        return [_record(layer, best) for layer, best in self.layers.items()]

    def to_csv(self, path: str | Path | None = None) -> str:
        """The records as CSV; also written to ``path`` if that is given.  Raises OSError."""
        return _given(records_csv(self.records()), path)

    def to_json(self, path: str | Path | None = None) -> str:
        """The records as a JSON list, each with its ``certificate`` and its ``front``; also written
        to ``path`` if that is given.  Raises OSError.
        """
        proved = [
            record
            | {
                "certificate": best.certificate.to_dict(),
                "front": [
                    {"mapping": str(p.mapping), "energy": p.energy, "cycles": p.cycles}
                    for p in best.front
                ],
            }
            for record, best in zip(self.records(), self.layers.values(), strict=True)
        ]
        return _given(json.dumps(proved, indent=1), path)


@checked
def map_network(
    workload: WorkloadLike,
    arch: ArchitectureLike,
    dataflow: DataflowLike,
    *,
    layers: Sequence[str] = (),
    batch: int | None = None,
    direction: Direction = "forward",
    params: Mapping[str, int] | None = None,
    overrides: Mapping[str, object] | None = None,
    objective: str = "edp",
    tiles: TileChoice = "divisors",
    limit: float | None = None,
    check: bool = False,
    processes: int = 1,
    progress: Progress | None = None,
) -> NetworkBest:
    """``map_layer`` for every chosen layer; ``objective``, ``tiles``, ``limit`` (seconds a layer)
    and ``check`` are its own; ``params`` stand in place of the workload's parameters' values.

    ``processes`` layers are searched at a time; above 1 a script needs the usual ``if __name__ ==
    "__main__":``.  ``progress`` is called with a line of text: how far a search is, and how it
    ended.  Interrupted, the layers searched so far and the best that running searches have are
    returned, ``stopped`` true.

    Raises InputError as ``map_layer`` does.
    """
    network = load_workload(workload, params)
    network = network.select(layers) if layers else network
    machine = load_architecture(arch, overrides or {})
    flow: str | Dataflow = ANY if is_any(dataflow) else load_dataflow(dataflow)
    if processes < 1:
        raise InputError("must be at least 1", key="processes", got=str(processes))
    options = {
        "objective": objective,
        "tiles": tiles,
        "limit": limit,
        "check": check,
        "batch": batch,
        "direction": direction,
    }
    equal: dict[Problem, list[str]] = {}
    for layer in network.layers:
        equal.setdefault(layer.directed(batch, direction), []).append(layer.name)
    groups = list(equal.values())
    search = _Search(network, machine, flow, options, processes, progress)
    outcomes, stopped = search.all(groups)
    chosen = {
        layer.name: best
        for layer in network.layers
        if isinstance(best := outcomes.get(layer.name), Best)
    }
    errors = {name: why for name, why in outcomes.items() if isinstance(why, str)}
    rows = [
        mapped_row(
            network.name,
            layer.name,
            layer.directed(batch, direction),
            machine,
            None if isinstance(flow, str) else flow,
            chosen[layer.name].mapping,
        )
        for layer in network.layers
        if layer.name in chosen
    ]
    return NetworkBest(chosen, errors, Result(tuple(rows)), stopped)


@dataclass(frozen=True)
class _Search:
    """``map_layer`` of several layers with the same ``options``, one after the other or in
    processes.
    """

    network: Workload
    arch: Architecture
    flow: str | Dataflow
    options: Mapping[str, Any]
    processes: int
    progress: Progress | None

    def all(self, groups: Sequence[Sequence[str]]) -> tuple[dict[str, Best | str], bool]:
        """By layer, its Best or why it has none, and whether the search was interrupted; the layers
        of a group are equal.
        """
        outcomes: dict[str, Best | str] = {}
        try:
            for names, outcome in self._each(groups):
                outcomes |= dict.fromkeys(names, outcome)
                if self.progress is not None:
                    said = outcome if isinstance(outcome, str) else outcome.certificate
                    self.progress(f"{', '.join(names)}: {said}")
                if self.processes == 1 and _interrupted(outcome):
                    break
        except KeyboardInterrupt:
            return outcomes, True
        return outcomes, any(_interrupted(outcome) for outcome in outcomes.values())

    def _each(self, groups: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], Best | str]]:
        """Each group with its outcome, as they end."""
        processes = min(self.processes, len(groups))
        if processes <= 1:
            for names in groups:
                layer, told = self.network.select(names[:1]), _named(self.progress, names[0])
                yield names, _solve(layer, self.arch, self.flow, self.options, told)
            return
        with one_thread(), ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            waiting: dict[Future[Best | str], Sequence[str]] = {}
            for names in groups:
                job = self.network.select(names[:1]), self.arch, self.flow, self.options, None
                waiting[pool.submit(_solve, *job)] = names
            try:
                for done, names in waiting.items():
                    yield names, done.result()
            except KeyboardInterrupt:
                for future in waiting:
                    future.cancel()
                # The running searches were interrupted too and return what they have.
                for future, names in waiting.items():
                    if not future.cancelled() and future.exception() is None:
                        yield names, future.result()
                raise


def _interrupted(outcome: Best | str) -> bool:
    return isinstance(outcome, Best) and outcome.certificate.stopped == "interrupted"


def _solve(
    layer: Workload,
    arch: Architecture,
    flow: str | Dataflow,
    options: Mapping[str, Any],
    progress: Progress | None,
) -> Best | str:
    """One job, in a process of its own or in this one."""
    try:
        return map_layer(layer, arch, flow, progress=progress, **options)
    except MappingError as error:
        return str(error)


def _named(progress: Progress | None, name: str) -> Progress | None:
    return None if progress is None else lambda text: progress(f"{name}: {text}")


def _record(layer: str, best: Best) -> dict[str, Any]:
    columns, proof = best.result.rows[0].columns, best.certificate
    energy = next(key for key in columns if key in ("energy_mac", "energy_pj"))
    return {
        "layer": layer,
        "objective": proof.objective,
        energy: columns[energy],
        "cycles": columns["cycles"],
        "utilization": columns["utilization"],
        "gap": proof.gap,
        "stopped": proof.stopped or "",
        "rule": proof.rule,
        "space": proof.space,
        "evaluated": proof.evaluated,
        "timed": proof.timed,
        **{f"pruned_{why.replace(' ', '_')}": n for why, n in proof.pruned.items()},
        "left": proof.left,
        "seconds": round(proof.seconds, 3),
        **{f"cycles_{way.replace(' ', '_')}": n for way, n in proof.cycles.items()},
        "mapping": str(best.mapping),
    }


def _given(text: str, path: str | Path | None) -> str:
    """The text, written to ``path`` first if there is one."""
    if path is not None:
        write_text(text, Path(path))
    return text
