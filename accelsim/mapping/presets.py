"""Dataflows and mappings by name, file or object."""

from __future__ import annotations

import os
from pathlib import Path

from accelsim import files
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.mapping_file import MappingFile


def load_dataflow(dataflow: str | os.PathLike[str] | Dataflow) -> Dataflow:
    """The dataflow of that name (``row_stationary``, ``row-stationary``, ``rs``) or file.  Raises InputError."""
    if isinstance(dataflow, Dataflow):
        return dataflow
    return files.load(files.resolve("dataflows", dataflow), Dataflow, "dataflow")


def load_mapping(mapping: str | os.PathLike[str] | Mapping | MappingFile) -> MappingFile:
    """The mappings of that file or name; one without a ``name`` is named after its file.  Raises InputError."""
    if isinstance(mapping, MappingFile):
        return mapping if mapping.name else mapping.model_copy(update={"name": "mapping"})
    if isinstance(mapping, Mapping):
        return MappingFile(name="mapping", loops=mapping.loops, keep=mapping.keep, fused=mapping.fused)
    path = files.resolve("mappings", mapping)
    found = files.load(path, MappingFile, "mapping")
    return found if found.name else found.model_copy(update={"name": Path(path).stem})
