"""``map_layer``: the best mapping of one layer as a row of results, and how it was proved.

The search itself is ``mapper.layer_search.best_mapping``; here names and files become a problem, an
architecture and a dataflow, and the chosen mapping becomes a row like any other's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.validation import checked
from accelsim.hardware.architecture import Architecture, ArchitectureLike, load_architecture
from accelsim.mapper.any_dataflow import is_any
from accelsim.mapper.certificate import Certificate
from accelsim.mapper.layer_search import FRONT, FrontPoint, Progress, best_mapping
from accelsim.mapper.objective import Objective
from accelsim.mapper.search import RUNNERS_UP
from accelsim.mapper.space import TILES, TileChoice
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import DataflowLike, MappingFile, load_dataflow, sources
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.mapping.mapping import MappingError
from accelsim.results.layer_row import Engine, How, Row, check_macs, layer_row
from accelsim.results.result import Result
from accelsim.workload.network import WorkloadLike, load_workload
from accelsim.workload.problem import Direction, Problem


@dataclass(frozen=True)
class Best(Displayed):
    """The chosen ``mapping``, its row of results, the proof, and for ``objective="front"`` all of
    the front, cycles rising.
    """

    mapping: LoopMapping
    result: Result
    certificate: Certificate
    front: tuple[FrontPoint, ...] = ()

    def __repr__(self) -> str:
        return f"<Best {self.mapping}: {self.certificate}>"


@checked
def map_layer(
    layer: WorkloadLike,
    arch: ArchitectureLike,
    dataflow: DataflowLike,
    *,
    objective: str = "edp",
    tiles: TileChoice = "divisors",
    limit: float | None = None,
    batch: int | None = None,
    direction: Direction = "forward",
    overrides: Mapping[str, object] | None = None,
    check: bool = False,
    progress: Progress | None = None,
) -> Best:
    """The mapping of a layer with the least objective among all its dataflow leaves open, and the
    proof.

    ``layer`` is a layer, or a workload of one; ``dataflow`` a name, a file or an object, or
    ``any``: all loop orders, choices of what lies over rows and columns, and of what each level
    keeps.  ``objective`` is ``energy``, ``cycles``, ``edp``, ``dram`` (bits over the outermost
    level's port), a product such as ``energy*cycles^2``, or ``front`` for all mappings no other is
    better than in both energy and cycles (the chosen one is then that of least energy x cycles).
    ``tiles`` are ``divisors`` of the range they cut, ``even`` (the least for so many pieces), or
    ``all`` whole numbers.  ``limit`` in seconds, or an interrupt, ends the search early: the best
    so far with what is proved of the rest.  Where the fixed rule's mapping is better than all that
    was found, as its tiles need not divide, it is the one given (``certificate.rule``).  ``check``
    also carries the winner and its runners-up out on the event engine.

    Raises InputError for names and files that are wrong, MappingError naming the constraint where
    no mapping is legal.
    """
    network = load_workload(layer)
    if len(network.layers) != 1:
        raise InputError(
            "map_layer takes one layer; map_network takes several",
            key="layer",
            got=f"{len(network.layers)} layers",
        )
    machine = load_architecture(arch, overrides or {})
    _check_options(tiles, limit)
    problem = network.layers[0].directed(batch, direction)
    check_macs(network.layers[0].name, problem, batch)
    if objective != FRONT:
        Objective.parse(objective)
    start = monotonic()
    flow = _flow(dataflow, tiles)
    chosen = best_mapping(
        problem,
        machine,
        flow,
        objective=objective,
        tiles=tiles,
        limit=limit,
        progress=progress,
    )
    of = _Rows(network.name, network.layers[0].name, problem, machine, flow)
    result = of.result(chosen.mapping)
    certificate = chosen.certificate
    if check:
        others = chosen.near[: RUNNERS_UP - 1]
        runners = (of.carried_out(chosen.mapping, result), *map(of.carried_out, others))
        measured: Any = runners[0]["event_cycles"]
        cycles = {**certificate.cycles, "event engine": measured}
        certificate = replace(certificate, cycles=cycles, runners_up=runners)
    certificate = replace(certificate, seconds=monotonic() - start)
    return Best(chosen.mapping, result, certificate, chosen.front)


def _check_options(tiles: str, limit: float | None) -> None:
    if tiles not in TILES:
        raise InputError(
            f"must be one of {', '.join(TILES)}", key="tiles", got=str(tiles), choices=TILES
        )
    if limit is not None and not limit > 0:
        raise InputError("must be above 0 seconds", key="limit", got=str(limit))


def _flow(dataflow: DataflowLike, tiles: str) -> Dataflow | None:
    """The dataflow, or None for ``any``."""
    if not is_any(dataflow):
        return load_dataflow(dataflow)
    if tiles != "divisors":
        raise InputError("dataflow any goes with divisors", key="tiles", got=tiles)
    return None


def mapped_row(
    workload: str,
    layer: str,
    problem: Problem,
    arch: Architecture,
    flow: Dataflow | None,
    mapping: LoopMapping,
    engine: Engine = "analytic",
) -> Row:
    """The row of a layer under a mapping that the mapper chose; without a dataflow (``any``) it is
    called after the mapper.
    """
    file = MappingFile(name="mapper", loops=mapping.loops, keep=mapping.keep, fused=mapping.fused)
    (source,) = sources(flow, file)
    return layer_row(workload, layer, problem, arch, source, How(engine, False, 0), {})[0]


@dataclass(frozen=True)
class _Rows:
    """One layer under mappings of its own."""

    workload: str
    layer: str
    problem: Problem
    arch: Architecture
    flow: Dataflow | None

    def result(self, mapping: LoopMapping, engine: Engine = "analytic") -> Result:
        """The result of a mapping.  Raises MappingError where it has none."""
        where = self.workload, self.layer, self.problem, self.arch, self.flow
        row = mapped_row(*where, mapping, engine)
        if row.columns.get("cycles") is None:
            raise MappingError(str(row.columns.get("error")))
        return Result((row,))

    def carried_out(self, m: LoopMapping, result: Result | None = None) -> dict[str, Any]:
        """A mapping's figures by the analytic engine (``result``, if it is known) and the event
        engine.
        """
        unit = f"energy_{self.arch.energy.unit}"
        ours = (self.result(m) if result is None else result).rows[0]
        event = self.result(m, "event").rows[0].columns
        return {
            "mapping": str(ours.nest.mapping) if ours.nest else "",
            "cycles": ours.columns["cycles"],
            "event_cycles": event["cycles"],
            unit: ours.columns[unit],
            f"event_{unit}": event[unit],
            "bit_exact": event["bit_exact"],
        }


__all__ = ["Best", "map_layer", "mapped_row"]
