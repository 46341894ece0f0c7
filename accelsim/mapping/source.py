"""Where the mapping of each layer comes from: the fixed rule under a dataflow, or a mapping
file.

``sources`` turns what ``simulate``, a sweep or the command line was given into one source for each
column ``dataflow`` of the results; a row then asks its source for a mapping.  A mapping someone
wrote may be legal and yet take hours: ``check_work`` refuses it before an engine begins.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

from accelsim.base.errors import InputError
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import (
    DataflowLike,
    DataflowsLike,
    MappingFile,
    MappingLike,
    load_dataflow,
    load_mapping,
)
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.workload.problem import Problem

MAX_CUTS = 64  # pieces per index of a dimension; 1 if every tile is a multiple of the next
MAX_PIECES = 2**16  # always allowed
MAX_STEPS = (
    2**24
)  # settings of the loops outside the PEs; the event engine keeps a few words of each


@dataclass(frozen=True)
class MappingSource:
    """``mapping_of(layer, problem, arch)`` gives a mapping or raises MappingError; the rest is how
    it is called.

    ``flow`` is the dataflow whose rule it is; None of a mapping file.
    """

    dataflow: str  # the column of that name: a dataflow's short name, or a mapping's own
    name: str  # in full
    mapping: str  # the column of that name: ``rule``, or the file's stem
    mapping_of: Callable[[str, Problem, Architecture], Mapping]
    flow: Dataflow | None = None


def sources(
    dataflow: DataflowsLike | None = None, mapping: MappingLike | None = None
) -> list[MappingSource]:
    """A source for each dataflow (a name, a file, an object, or several), or the one source that a
    mapping is.

    With a mapping a dataflow is only a name for the column.  Raises InputError for names and files
    that are wrong.
    """
    flows = [load_dataflow(d) for d in several(dataflow)]
    if mapping is None:
        if not flows:
            raise InputError("must be given, unless a mapping is", key="dataflow")
        return [MappingSource(f.short, f.name, "rule", partial(_by_rule, f), f) for f in flows]
    if len(flows) > 1:
        raise InputError(
            "a mapping goes with one dataflow at most",
            key="dataflow",
            got=", ".join(f.short for f in flows),
        )
    file = load_mapping(mapping)
    stem = Path(mapping).stem if isinstance(mapping, (str, os.PathLike)) else file.name
    short, name = (flows[0].short, flows[0].name) if flows else (file.name, file.name)
    return [MappingSource(short, name, stem, partial(_from_file, file))]


def _by_rule(dataflow: Dataflow, layer: str, problem: Problem, arch: Architecture) -> Mapping:
    return choose(problem, arch, dataflow)


def _from_file(file: MappingFile, layer: str, problem: Problem, arch: Architecture) -> Mapping:
    mapping = file.mapping(layer)
    check_work(Nest(problem, arch, mapping))
    return mapping


def check_work(nest: Nest) -> None:
    """Refuse what would take the engines hours or all memory: tiles that cut across one another, or
    very many steps.
    """
    for chain in nest.chains:
        pieces = prod(nest.loops[i].trips for i in chain.loops)
        size = prod(nest.problem.size[p] for p in chain.parts)
        if pieces > max(MAX_CUTS * size, MAX_PIECES):
            raise MappingError(
                f"{chain.name}: its loops cut {size} into up to {pieces} pieces; let each tile be "
                "a multiple of the next"
            )
    steps = prod(x.trips for x in nest.loops if not x.spatial and x.level < nest.levels - 1)
    if steps > MAX_STEPS:
        raise MappingError(
            f"the loops outside the PEs make {steps} steps, at most {MAX_STEPS} can be timed; let "
            "more lie inside a PE or on the array"
        )


def several(dataflow: DataflowsLike | None) -> list[DataflowLike]:
    """The dataflows that are asked for: names with commas, a list, one, or none."""
    if dataflow is None:
        return []
    if isinstance(dataflow, str):
        return [d.strip() for d in dataflow.split(",")]
    return [dataflow] if isinstance(dataflow, (os.PathLike, Dataflow)) else list(dataflow)
