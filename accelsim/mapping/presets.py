"""Dataflows by name, file or object."""

from __future__ import annotations

from accelsim import files
from accelsim.mapping.dataflow import Dataflow


def load_dataflow(dataflow: str | Dataflow) -> Dataflow:
    """The dataflow of that name (``row_stationary``, ``row-stationary``, ``rs``) or file.  Raises InputError."""
    if isinstance(dataflow, Dataflow):
        return dataflow
    return files.load(files.resolve("dataflows", dataflow), Dataflow, "dataflow")
