"""One node of an ONNX model: its attributes, its inputs, and where to put what it becomes.

The importer makes a ``Call`` for each node and hands it to a converter of ``onnx_operators``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from accelsim.importers.network_builder import NetworkBuilder, finite, is_absent
from accelsim.importers.onnx_constants import MAX_CONSTANT
from accelsim.workload.arithmetic import Array
from accelsim.workload.operators.operator import Shape

if TYPE_CHECKING:
    from accelsim.importers.onnx_quantized import ModelScales


@dataclass(frozen=True)
class Tensor:
    """An activation: its node's name, its shape with the batch left out."""

    name: str
    shape: Shape

    @property
    def rank(self) -> int:
        """The rank, the batch counted."""
        return len(self.shape) + 1


Value = Tensor | Array


class OnnxModel(Protocol):
    """What a node needs of its model: the version of its operators, the batch, all values, and how
    often each is read; ``scales`` gathers what the file says of words.
    """

    builder: NetworkBuilder
    scales: ModelScales
    opset: int
    batch: int
    uses: dict[str, int]

    @property
    def values(self) -> Mapping[str, Value]:
        """Tensors and constants by ONNX name."""
        ...

    def array(self, tensor: Any) -> Array:
        """A TensorProto's words."""
        ...

    def origin(self, name: str) -> str:
        """The array of the file that a constant is a view of, by name."""
        ...


class Attributes:
    """A node's attributes, by name; one of the wrong kind is a ValueError."""

    def __init__(self, node: Any, model: OnnxModel) -> None:
        self.raw = {a.name: a for a in node.attribute}
        self.model = model

    def all(self) -> dict[str, Any]:
        """Every attribute's value."""
        return {name: self._value(name) for name in self.raw}

    def _value(self, name: str) -> Any:
        a = self.raw[name]
        match a.type:
            case 1:
                return float(a.f)
            case 2:
                return int(a.i)
            case 3:
                return a.s.decode("utf-8", "replace")
            case 4:
                return self.model.array(a.t)
            case 6:
                return [float(v) for v in a.floats]
            case 7:
                return [int(v) for v in a.ints]
            case 8:
                return [v.decode("utf-8", "replace") for v in a.strings]
        raise ValueError(f"attribute {name} has a kind that cannot be imported")

    def _of(self, name: str, default: Any, *kinds: type) -> Any:
        if name not in self.raw:
            return default
        value = self._value(name)
        if not isinstance(value, kinds):
            raise ValueError(f"attribute {name} has the wrong type")
        return value

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        return int(self._of(name, default, int))

    def real(self, name: str, default: float) -> float:
        """A finite number."""
        value = float(self._of(name, default, float, int))
        if not np.isfinite(value):
            raise ValueError(f"attribute {name} must be finite")
        return value

    def word(self, name: str, default: str) -> str:
        """Text."""
        return str(self._of(name, default, str))

    def wholes(self, name: str, default: Sequence[int] | None) -> list[int] | None:
        """Whole numbers; the default if there are none."""
        value = self._of(name, default, list)
        return None if value is None else [int(v) for v in value]


@dataclass
class Call:
    """One node to convert: its values, attributes and where to put what it becomes."""

    model: OnnxModel
    node: Any
    values: list[Value]
    attributes: Attributes
    flat: bool = False  # maps of one dimension, which lies along the width

    def tensor(self, at: int = 0) -> Tensor:
        """An input that must be an activation."""
        value = self.values[at]
        if not isinstance(value, Tensor):
            raise ValueError(f"input {at} must be an activation, not weights")
        return value

    def in_words(self, at: int) -> bool:
        """Whether an input is made of integers."""
        return at < len(self.node.input) and self.node.input[at] in self.model.scales.real

    def given(self, at: int) -> bool:
        """Whether an optional input is there."""
        return at < len(self.values) and (at >= len(self.node.input) or self.node.input[at] != "")

    def constant(self, at: int, what: str) -> Array:
        """An input that must be weights or a constant."""
        if not self.given(at):
            raise ValueError(f"{what} must be given")
        value = self.values[at]
        if isinstance(value, Tensor):
            raise ValueError(f"{what} must be a constant, not an activation")
        return value

    def _known(self, at: int, what: str) -> Array:
        array = self.constant(at, what)
        if is_absent(array):
            raise ValueError(f"{what} must be known, and is not in the file")
        return array

    def words(self, at: int, what: str) -> list[int]:
        """A constant of whole numbers."""
        array = self._known(at, what)
        if array.size > 64 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{what} must be a few whole numbers")
        return [int(v) for v in array.ravel()]

    def scalar(self, at: int, what: str) -> float:
        """A constant of one number."""
        array = self._known(at, what)
        if array.size != 1:
            raise ValueError(f"{what} must be one number")
        return float(finite(array).reshape(-1)[0])

    def add(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        weights: Mapping[str, Array] | None = None,
        name: str = "",
        places: Mapping[str, int] | None = None,
        **fields: Any,
    ) -> Tensor:
        """A node, called like the ONNX node's output unless given a name.  ``places`` says which
        input each of the weights is, where it is no other: those may be shared.
        """
        own = name or str(self.node.output[0])
        ready = {k: finite(v) for k, v in (weights or {}).items()}
        origins = {
            key: self.model.origin(self.node.input[at])
            for key, at in (places or {}).items()
            if key in ready
        }
        added = self.model.builder.add(
            kind, own, [t.name for t in inputs], ready, origins, **fields
        )
        return Tensor(added, self.model.builder.shapes[added])

    def axis(self, axis: int, rank: int) -> int:
        """An ONNX axis counted after the batch.  Raises ValueError for the batch itself."""
        at = axis + rank if axis < 0 else axis
        if not 0 <= at < rank:
            raise ValueError(f"there is no axis {axis}")
        if at == 0:
            raise ValueError("what goes along the batch cannot be imported")
        return at - 1

    def as_tensor(self, value: Value, rank: int) -> Tensor:
        """An activation, or a constant as a ``parameter`` node; ``rank`` is that of what it meets,
        the batch counted.
        """
        if isinstance(value, Tensor):
            return value
        array = finite(value)
        if array.ndim == rank:
            if array.shape[0] != 1:
                raise ValueError("a constant with a batch of its own cannot be imported")
            array = array[0]
        if array.ndim > rank or array.size > MAX_CONSTANT:
            raise ValueError(
                "a constant must not have more axes than what it meets, or too many words"
            )
        array = array.reshape(array.shape or (1,))
        at = next((i for i, other in enumerate(self.values) if other is value), None)
        name, places = f"{self.node.output[0]}_constant", None
        if at is not None and at < len(self.node.input):
            source, places = self.node.input[at], {"value": at}
            # A view of an initializer has a name of its own in the file, which it keeps.
            name = name if self.model.origin(source) == source else source
        shape: list[int] = list(array.shape)
        return self.add("parameter", [], {"value": array}, name=name, places=places, shape=shape)
