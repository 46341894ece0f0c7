"""A point of a sweep: an item (one layer under one recipe) on one resolved architecture, and what
its record may say of how it went.

``plan`` makes items, workers make points of them, ``evaluate`` makes records of points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelsim.base.errors import InputError
from accelsim.explore.mapper_request import Request
from accelsim.hardware.architecture import Architecture
from accelsim.mapper.any_dataflow import ANY, is_any
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import MappingFile, load_dataflow, load_mapping, several, sources
from accelsim.mapping.mapping import MappingError
from accelsim.results.simulate import Engine
from accelsim.results.tiles import TilesRequest
from accelsim.workload.layers import Layer
from accelsim.workload.problem import Problem

OK, UNMAPPABLE, FAILED, ERROR = "ok", "unmappable", "failed check", "error"
STATUSES = (OK, UNMAPPABLE, FAILED, ERROR)


@dataclass(frozen=True)
class Recipe:
    """Where mappings come from: the fixed rule or the mapper under a dataflow, or a file of
    mappings.

    Under the mapper no dataflow is any.
    """

    dataflow: Dataflow | None
    file: MappingFile | None
    short: str  # the column ``dataflow``
    mapping: str  # the column ``mapping``
    mapper: Request | TilesRequest | None = None

    def content(self, layer: str) -> str:
        """All of the recipe that determines the mapping of a layer, as text."""
        if self.file is not None:
            try:
                return f"{self.file.name} {self.file.mapping(layer).model_dump_json()}"
            except MappingError as error:
                return str(error)
        flow = (
            ANY if self.dataflow is None else self.dataflow.model_dump_json(exclude={"description"})
        )
        return flow if self.mapper is None else f"{self.mapper.content} {flow}"


def recipes(
    dataflows: Any = None, mapping: Any = None, mapper: Request | TilesRequest | None = None
) -> list[Recipe]:
    """One recipe per dataflow (a name, a file, an object, several, names with commas), or the one a
    mapping file is.

    With the mapper a dataflow may be ``any``.  Raises InputError for names and files that are
    wrong, and where there is neither.
    """
    if mapper is not None:
        return _searched(dataflows, mapping, mapper)
    named = sources(dataflows, mapping)
    flows = [load_dataflow(d) for d in several(dataflows)]
    if mapping is not None:
        source = named[0]
        flow = flows[0] if flows else None
        return [Recipe(flow, load_mapping(mapping), source.dataflow, source.mapping)]
    return [
        Recipe(flow, None, source.dataflow, source.mapping)
        for flow, source in zip(flows, named, strict=True)
    ]


def _searched(dataflows: Any, mapping: Any, mapper: Request | TilesRequest) -> list[Recipe]:
    best = isinstance(mapper, TilesRequest)
    if mapping is not None:
        raise InputError(
            "searches under dataflows, without a mapping",
            key="tiles" if best else "mapper",
            got="best" if best else mapper.objective,
        )
    flows = several(dataflows)
    if not flows:
        raise InputError(
            "must be given: the mapper searches under a dataflow, or any", key="dataflow"
        )
    for flow in flows:
        if isinstance(mapper, Request):
            mapper.check(flow)
        elif is_any(flow):
            raise InputError("dataflow any goes with a mapper", key="tiles", got="best")
    loaded = [None if is_any(flow) else load_dataflow(flow) for flow in flows]
    return [
        Recipe(flow, None, ANY if flow is None else flow.short, mapper.name, mapper)
        for flow in loaded
    ]


@dataclass(frozen=True)
class Item:
    """One layer of one workload under one recipe: all that determines a result besides the
    architecture.
    """

    workload: str
    layer: Layer
    problem: Problem  # the layer with its batch and direction
    recipe: Recipe
    engine: Engine
    seed: int
    digest: bytes  # of all these but the names


@dataclass(frozen=True)
class SweepPoint:
    """What determines a result."""

    arch: Architecture
    item: Item
