"""Workloads: networks as graphs or as lists of named layers, from YAML files or Python.

``load_workload`` is the door: every function that asks for a workload passes what it is given
through it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import (
    Field,
    PrivateAttr,
    field_validator,
    model_serializer,
    model_validator,
)

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.frozen import FixedDict, Frozen, FrozenDict
from accelsim.base.validation import argument, load_named, validate
from accelsim.workload.graph.entries import OPERATORS, AnyEntry, GraphBlock, Shapes
from accelsim.workload.graph.graph import Graph
from accelsim.workload.graph.unroll import input_shapes, unroll
from accelsim.workload.layers import LAYER_TYPES, AnyLayer, Count, Layer, Name, batched
from accelsim.workload.operators.operator import as_file

# Operators of graphs that layers have in another form.
_INSTEAD = {
    "depthwise": "in layers it is a conv2d with groups for its channels, C: 1 and M filters for"
    " each",
    "dense": "in layers it is a gemm: m outputs, k inputs, n rows",
}
ParameterValue = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Workload(Displayed, Frozen):
    """A network: a graph, or just its layers in the order they run; ``description`` is a line
    about it.

    ``layers`` of a file are complete in themselves; one without a name gets ``layer1``, ``layer2``,
    ... by its position.  A ``graph`` of nodes has an ``input`` (a shape, or names with shapes),
    from which every other shape follows, and may use ``blocks`` that are written once.  Each node
    reads the one before it unless it says ``inputs``; ``outputs`` are what no node reads unless
    given.  The layers are then those of the graph that run on the array, each of ``batch`` inputs
    (``N`` of a layer that is stated itself) unless who runs them says how many.

    ``parameters`` of a file are whole numbers that ``=...`` values of its graph and input use; who
    loads it may give others (``load_workload``).  In Python they are ``parameter_values``:
    ``parameters`` is how many words training sets.
    """

    name: Annotated[Name, Field(min_length=1)]
    description: str = ""
    layers: Annotated[tuple[AnyLayer, ...], Field(strict=False)] = ()
    batch: Count = 1
    parameter_values: Annotated[FixedDict[Name, ParameterValue], Field(alias="parameters")] = Field(
        default_factory=FrozenDict, json_schema_extra={"default": {}}
    )
    input: Shapes | None = None
    blocks: FixedDict[Name, GraphBlock] = Field(
        default_factory=FrozenDict, json_schema_extra={"default": {}}
    )
    graph: Annotated[tuple[AnyEntry, ...], Field(strict=False)] = ()
    outputs: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    _network: Graph | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _no_operators(cls, data: Any) -> Any:
        """An operator of graphs has another form among layers, which is said."""
        layers = data.get("layers") if isinstance(data, dict) else None
        for i, layer in enumerate(layers if isinstance(layers, (list, tuple)) else ()):
            kind = layer.get("type") if isinstance(layer, dict) else None
            if isinstance(kind, str) and kind in OPERATORS and kind not in LAYER_TYPES:
                instead = _INSTEAD.get(kind, f"layers are {', '.join(LAYER_TYPES)}")
                raise ValueError(f"layers.{i}.type: {kind} is an operator of graphs; {instead}")
        return data

    @field_validator("layers")
    @classmethod
    def _named(cls, layers: tuple[AnyLayer, ...]) -> tuple[AnyLayer, ...]:
        return tuple(
            x if x.name else x.model_copy(update={"name": f"layer{i}"})
            for i, x in enumerate(layers, 1)
        )

    @model_validator(mode="after")
    def _complete(self) -> Workload:
        given = self.model_fields_set
        if "graph" not in given:
            for key in ("batch", "parameter_values", "input", "blocks", "outputs"):
                if key in given:
                    key = "parameters" if key == "parameter_values" else key
                    raise ValueError(f"{key}: goes with graph, which is not given")
            if not self.layers:
                raise ValueError(
                    "layers: must not be empty"
                    if "layers" in given
                    else "layers or graph must be given"
                )
            return self
        if "layers" in given:
            raise ValueError("layers: must not be given beside graph, which has them")
        if self.input is None:
            raise ValueError("graph: needs an input, as input: [3, 224, 224]")
        shapes = self.input if isinstance(self.input, dict) else {"input": self.input}
        values = self.parameter_values
        for key, shape in shapes.items():
            if not values and any(isinstance(n, str) for n in shape):
                raise ValueError(
                    "input: an expression needs parameters of the file or a block, got"
                    f" {key} {list(shape)}"
                )
        shapes = input_shapes(shapes, values)
        network = unroll(self.name, shapes, self.blocks, self.graph, self.outputs, values)
        if not network.layers:
            raise ValueError("graph: must have a node that runs on the array (conv2d, linear, ...)")
        layers = tuple(batched(layer, self.batch) for _, layer in network.layers)
        object.__setattr__(self, "layers", layers)
        self._network = network
        return self

    def __hash__(self) -> int:
        return hash((self.name, self.layers))

    @property
    def network(self) -> Graph | None:
        """The graph, with every shape and in an order that runs; None if only layers were given, or
        some selected.
        """
        return self._network

    @model_serializer(mode="plain")
    def _as_given(self) -> dict[str, Any]:
        """The layers or the graph, whichever was given."""
        data: dict[str, Any] = {"name": self.name, "description": self.description}
        if not self.graph:
            return data | {"layers": [layer.stated() for layer in self.layers]}
        data |= {"batch": self.batch} if self.batch > 1 else {}
        data |= {"parameters": dict(self.parameter_values)} if self.parameter_values else {}
        data["input"] = (
            {k: list(v) for k, v in self.input.items()}
            if isinstance(self.input, dict)
            else list(self.input or ())
        )
        if self.blocks:
            data["blocks"] = {name: as_file(block) for name, block in self.blocks.items()}
        data["graph"] = [as_file(entry) for entry in self.graph]
        return data | ({"outputs": list(self.outputs)} if self.outputs else {})

    @model_validator(mode="after")
    def _unique(self) -> Workload:
        seen: set[str] = set()
        for i, name in enumerate(self.names):
            if name in seen:
                raise ValueError(
                    f"layers.{i}: every layer needs a name of its own, got {name} twice"
                )
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
        """Weights and biases of all layers; what several share is counted once."""
        if self._network is not None:
            graph = self._network
            return sum(graph.parameter_count(node) for node, _ in graph.layers)
        return sum(layer.parameters for layer in self.layers)

    def select(self, names: Iterable[str]) -> Workload:
        """The layers with these names, in the workload's order.  Raises InputError for a name it
        does not have.
        """
        wanted = set(argument("layers", names))
        for name in sorted(wanted - set(self.names)):
            raise InputError(
                f"{self.name} has no such layer", key="layer", got=name, choices=self.names
            )
        if not wanted:
            raise InputError("at least one layer must be selected", key="layer")
        chosen = tuple(x for x in self.layers if x.name in wanted)
        return Workload.model_construct(
            name=self.name,
            description=self.description,
            layers=chosen,
            parameter_values=self.parameter_values,
        )


# What every function that asks for a workload takes.
WorkloadLike: TypeAlias = str | os.PathLike[str] | Workload | Layer | Sequence[Layer]


def load_workload(source: WorkloadLike, params: Mapping[str, int] | None = None) -> Workload:
    """A workload from a shipped name, a YAML file, one layer or a list of layers, with ``params``
    in place of the values that its file gives its parameters.  Raises InputError if it is none of
    them, or for a parameter that it has not.
    """
    if params:
        return _with_parameters(load_workload(source), params)
    if isinstance(source, Workload):
        return source
    if isinstance(source, (str, os.PathLike)):
        return load_named("workloads", source, Workload)
    layers = [source] if isinstance(source, Layer) else source
    if not isinstance(layers, Sequence) or not all(isinstance(x, Layer) for x in layers):
        raise InputError(
            "must be a name, a file, a layer or a list of layers",
            key="workload",
            got=type(source).__name__,
        )
    name = (layers[0].name or "layer") if len(layers) == 1 else "layers"
    return validate({"name": name, "layers": list(layers)}, Workload, "workloads")


def _with_parameters(workload: Workload, params: Mapping[str, int]) -> Workload:
    """The workload once more, its parameters by these values.  Raises InputError."""
    known = workload.parameter_values
    if not isinstance(params, Mapping):
        raise InputError("must be values by name", key="params", got=type(params).__name__)
    for name, value in params.items():
        key = f"param {name}"
        if name not in known:
            rule = f"{workload.name} has no such parameter"
            raise InputError(rule, key="param", got=str(name), choices=list(known))
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError("must be a whole number", key=key, got=str(value))
        if not 0 <= value < 2**31:
            raise InputError("must be 0 to 2^31 - 1", key=key, got=str(value))
    data = workload.model_dump() | {"parameters": {**known, **params}}
    try:
        return validate(data, Workload, "workloads")
    except InputError as error:
        told = ", ".join(f"{name}={value}" for name, value in params.items())
        told = f"({workload.name} with {told})"
        # What is near is told by what was got alone.
        plain = error.got is not None and not error.choices
        rule = error.rule if plain else f"{error.rule} {told}"
        got = f"{error.got} {told}" if plain else error.got
        raise InputError(rule, key=error.key, got=got, choices=error.choices) from None
