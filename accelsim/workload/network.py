"""Workloads: networks as lists of named layers, from YAML files or Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from accelsim import files
from accelsim.files import InputError
from accelsim.workload.layers import AnyLayer, Layer, Name


class Workload(BaseModel):
    """Layers in the order they run.  A layer without a name gets ``layer1``, ``layer2``, ... by its position."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    name: Annotated[Name, Field(min_length=1)]
    description: str = ""
    layers: Annotated[tuple[AnyLayer, ...], Field(strict=False, min_length=1)]

    @field_validator("layers")
    @classmethod
    def _named(cls, layers: tuple[AnyLayer, ...]) -> tuple[AnyLayer, ...]:
        return tuple(x if x.name else x.model_copy(update={"name": f"layer{i}"}) for i, x in enumerate(layers, 1))

    @model_validator(mode="after")
    def _unique(self) -> Workload:
        seen: set[str] = set()
        for i, name in enumerate(self.names):
            if name in seen:
                raise ValueError(f"layers.{i}: every layer needs a name of its own, got {name} twice")
            seen.add(name)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The layers' names."""
        return tuple(layer.name for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers, each for its own batch."""
        return sum(layer.macs for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases of all layers."""
        return sum(layer.parameters for layer in self.layers)

    def select(self, names: Iterable[str]) -> Workload:
        """The layers with these names, in the workload's order.  Raises InputError for a name it does not have."""
        wanted = set(names)
        for name in sorted(wanted - set(self.names)):
            raise InputError(f"{self.name} has no such layer", key="layer", got=name, choices=self.names)
        if not wanted:
            raise InputError("at least one layer must be selected", key="layer")
        return self.model_copy(update={"layers": tuple(x for x in self.layers if x.name in wanted)})


def load_workload(source: str | os.PathLike[str] | Workload | Layer | Sequence[Layer]) -> Workload:
    """A workload from a shipped name, a YAML file, one layer or a list of layers.  Raises InputError if it is none of them."""
    if isinstance(source, Workload):
        return source
    if isinstance(source, (str, os.PathLike)):
        return files.load(files.resolve("workloads", source), Workload, "workloads")
    layers = [source] if isinstance(source, Layer) else source
    if not isinstance(layers, Sequence) or not all(isinstance(x, Layer) for x in layers):
        raise InputError("must be a name, a file, a layer or a list of layers", key="workload", got=type(source).__name__)
    name = (layers[0].name or "layer") if len(layers) == 1 else "layers"
    return files.validate({"name": name, "layers": list(layers)}, Workload, "workloads")
