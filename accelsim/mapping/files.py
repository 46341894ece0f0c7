"""Dataflows and mappings from files, by name or path; and where the mapping of each layer comes
from: the fixed rule under a dataflow, or a mapping file.

A mapping file gives one mapping for every layer of a network, or one each: ``MappingFile`` is its
content, checked key by key as it is read.  ``load_dataflow`` and ``load_mapping`` take whatever a
user gives: a shipped name, a path, an object.  ``sources`` turns what ``simulate``, a sweep or the
command line was given into one source for each column ``dataflow`` of the results; a row then asks
its source for a mapping.  A mapping someone wrote may be legal and yet take hours: ``check_work``
refuses it before an engine begins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ConfigDict, model_validator

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError, got, nearest
from accelsim.base.frozen import Frozen, SomeFixedDict
from accelsim.base.validation import load_named
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import FUSED, Fused, Keep, Loops, Mapping, MappingError, check_names
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.workload.layers import Name
from accelsim.workload.problem import Problem

MAX_CUTS = 64  # pieces per index of a dimension; 1 if every tile is a multiple of the next
MAX_PIECES = 2**16  # always allowed
MAX_STEPS = (
    2**24
)  # settings of the loops outside the PEs; the event engine keeps a few words of each


class LayerMapping(Frozen):
    """The mapping of one layer.

    ``loops``        outermost first, each ``DIM:tile:level``, on an axis ``DIM:tile:level:row`` or
                     ``:col``
    ``keep, fused``  as of the file, which are taken if not given
    """

    loops: Loops
    keep: Keep | None = None
    fused: Fused | None = None


class MappingFile(Displayed, Frozen):
    """Mappings on file.

    ``name``         what it is called where it is asked for
    ``description``  a line about it
    ``loops``        of layers that have none of their own, outermost first, each
                     ``DIM:tile:level``, on an axis ``DIM:tile:level:row`` or ``:col``
    ``keep``         which tensors each level keeps
    ``fused``        the parts of fused dimensions (K = [C, R, S] and X = [N, E, F] if not given)
    ``layers``       by name: mappings of their own
    """

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["loops", "keep"]}, {"required": ["layers"]}]},
    )
    name: Name = ""
    description: str = ""
    loops: Loops | None = None
    keep: Keep | None = None
    fused: Fused = FUSED
    layers: SomeFixedDict[str, LayerMapping] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> MappingFile:
        if self.loops is None and self.layers is None:
            raise ValueError("loops must be given, or layers with loops for each")
        if self.keep is None and self.loops is not None:
            raise ValueError("keep must be given: which tensors each level keeps")
        check_names(self.loops or (), self.keep or {}, self.fused)
        for layer, own in (self.layers or {}).items():
            if own.keep is None and self.keep is None:
                raise ValueError(f"layers.{layer}: keep must be given, here or for the whole file")
            try:
                check_names(
                    own.loops, own.keep or {}, self.fused if own.fused is None else own.fused
                )
            except ValueError as error:
                raise ValueError(f"layers.{layer}.{error}") from None
        return self

    def mapping(self, layer: str) -> Mapping:
        """The mapping of the layer of that name.  Raises MappingError if there is none."""
        own = (self.layers or {}).get(layer)
        if own is not None:
            keep, fused = (
                own.keep or self.keep or {},
                self.fused if own.fused is None else own.fused,
            )
            return Mapping(loops=own.loops, keep=keep, fused=fused)
        if self.loops is not None:
            return Mapping(loops=self.loops, keep=self.keep or {}, fused=self.fused)
        near = nearest(layer, self.layers or {})
        raise MappingError(
            f"{self.name} has no mapping for {layer}"
            + (f"; nearest: {', '.join(near)}" if near else "")
        )


# What every function that asks for a dataflow, for several, or for a mapping takes.
DataflowLike: TypeAlias = str | os.PathLike[str] | Dataflow
DataflowsLike: TypeAlias = DataflowLike | Sequence[DataflowLike]
MappingLike: TypeAlias = str | os.PathLike[str] | Mapping | MappingFile


def load_dataflow(dataflow: DataflowLike) -> Dataflow:
    """The dataflow of that name (``row_stationary``, ``row-stationary``, ``rs``) or file.  Raises
    InputError.
    """
    if isinstance(dataflow, Dataflow):
        return dataflow
    return load_named("dataflows", dataflow, Dataflow)


def load_mapping(mapping: MappingLike) -> MappingFile:
    """The mappings of that file or name; one without a ``name`` is named after its file.  Raises
    InputError.
    """
    if isinstance(mapping, MappingFile):
        return mapping if mapping.name else mapping.model_copy(update={"name": "mapping"})
    if isinstance(mapping, Mapping):
        return MappingFile(
            name="mapping", loops=mapping.loops, keep=mapping.keep, fused=mapping.fused
        )
    file = load_named("mappings", mapping, MappingFile)
    return file if file.name else file.model_copy(update={"name": Path(mapping).stem})


# Where a layer's mapping comes from ---------------------------------------------------------------


@dataclass(frozen=True)
class MappingSource:
    """``mapping_of(layer, problem, arch)`` gives a mapping or raises MappingError; the rest is how
    it is called.

    ``flow`` is the dataflow whose tiles it has, by its rule or by a search; None of a mapping file.
    ``told`` of a search says how it went: columns ``tiles``, ``gap`` and ``search_stopped``.
    """

    dataflow: str  # the column of that name: a dataflow's short name, or a mapping's own
    name: str  # in full
    mapping: str  # the column of that name: ``rule``, or the file's stem
    mapping_of: Callable[[str, Problem, Architecture], Mapping]
    flow: Dataflow | None = None
    told: Callable[[Problem, Architecture], Map[str, Any]] | None = None


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
    if isinstance(dataflow, (os.PathLike, Dataflow)):
        return [dataflow]
    if isinstance(dataflow, (bytes, dict)) or not isinstance(dataflow, Iterable):
        rule = "must be a name, a file, a dataflow or a list of them"
        raise InputError(rule, key="dataflow", got=got(dataflow))
    return list(dataflow)
