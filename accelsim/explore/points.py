"""A point of a sweep: one layer on one resolved architecture under one recipe, and what a record of it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.mapping_file import MappingFile
from accelsim.mapping.presets import load_dataflow, load_mapping
from accelsim.mapping.source import Source, sources
from accelsim.results.simulate import Engine
from accelsim.workload.layers import Layer
from accelsim.workload.problem import Direction, Problem

OK, UNMAPPABLE, FAILED, ERROR = "ok", "unmappable", "failed check", "error"
STATUSES = (OK, UNMAPPABLE, FAILED, ERROR)


@dataclass(frozen=True)
class Recipe:
    """Where mappings come from: the fixed rule under a dataflow, or a file of mappings."""

    dataflow: Dataflow | None
    file: MappingFile | None
    short: str  # the column ``dataflow``
    mapping: str  # the column ``mapping``

    def content(self, layer: str) -> str:
        """All of the recipe that determines the mapping of a layer, as text."""
        if self.file is not None:
            try:
                return f"{self.file.name} {self.file.mapping(layer).model_dump_json()}"
            except MappingError as error:
                return str(error)
        assert self.dataflow is not None
        return self.dataflow.model_dump_json(exclude={"description"})

    def source(self) -> Source:
        """What gives the mapping of a layer."""
        return sources(self.dataflow, self.file)[0]


def recipes(dataflows: Any = None, mapping: Any = None) -> list[Recipe]:
    """One recipe per dataflow (a name, a file, an object, several, names with commas), or the one a mapping file is.

    Raises InputError for names and files that are wrong, and where there is neither.
    """
    found = sources(dataflows, mapping)
    names = dataflows.split(",") if isinstance(dataflows, str) else dataflows if isinstance(dataflows, (list, tuple)) else [dataflows]
    flows = [load_dataflow(d.strip() if isinstance(d, str) else d) for d in names if d is not None]
    if mapping is not None:
        return [Recipe(flows[0] if flows else None, load_mapping(mapping), found[0].dataflow, found[0].mapping)]
    return [Recipe(flow, None, source.dataflow, source.mapping) for flow, source in zip(flows, found, strict=True)]


@dataclass(frozen=True)
class Point:
    """What determines a result.  ``problem`` is the layer with its batch and direction."""

    arch: Architecture
    layer: Layer
    problem: Problem
    recipe: Recipe
    engine: Engine
    seed: int

    @property
    def direction(self) -> Direction:
        return self.problem.direction
