"""Dataflows and mappings from files, by name or path; and what a mapping file says.

A mapping file gives one mapping for every layer of a network, or one each: ``MappingFile`` is its
content, checked key by key as it is read.  ``load_dataflow`` and ``load_mapping`` take whatever a
user gives (a shipped name, a path, an object) and are called by ``source``, the command line and
sweeps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from accelsim.base.display import Displayed
from accelsim.base.errors import nearest
from accelsim.base.shipped import resolve_file
from accelsim.base.validation import load_model
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import FUSED, Fused, Keep, Loops, Mapping, MappingError, check_names
from accelsim.workload.layers import Name


class LayerMapping(BaseModel):
    """The loops of one layer, outermost first; ``keep`` and ``fused`` are the file's own if not
    given.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    loops: Loops
    keep: Keep | None = None
    fused: Fused | None = None


class MappingFile(Displayed, BaseModel):
    """Mappings on file.  A layer named under ``layers`` has its own; any other has the file's
    ``loops``, if it gives any.

    ``keep`` says which tensors each level keeps, ``fused`` the parts of fused dimensions (K = [C,
    R, S] and X = [N, E, F] if not given).
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        json_schema_extra={"anyOf": [{"required": ["loops", "keep"]}, {"required": ["layers"]}]},
    )
    name: Name = ""
    description: str = ""
    loops: Loops | None = None
    keep: Keep | None = None
    fused: Fused = FUSED
    layers: Annotated[dict[str, LayerMapping], Field(min_length=1)] | None = None

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
    return load_model(resolve_file("dataflows", dataflow), Dataflow, "dataflow")


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
    path = resolve_file("mappings", mapping)
    file = load_model(path, MappingFile, "mapping")
    return file if file.name else file.model_copy(update={"name": Path(path).stem})
