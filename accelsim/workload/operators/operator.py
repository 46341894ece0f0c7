"""What every operator of a graph has: a shape rule, parameters, a golden model, an integer form and
its work.

An operator works on arrays with the batch first; a *shape* leaves the batch out: (channels, height,
width) for maps, (tokens, features) for sequences, any rank in general.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer

from accelsim.base.frozen import FixedDict, FrozenDict
from accelsim.workload.arithmetic import Array
from accelsim.workload.layers import Name
from accelsim.workload.scaling import Scales

Shape = tuple[int, ...]
Weights = Mapping[str, Array]


def one_or_more(value: object) -> object:
    """One name stands for a list of one."""
    return (
        (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
    )


EVERY = "all"


def _shared(value: object) -> object:
    """One name stands for all arrays of that node."""
    return {EVERY: value} if isinstance(value, str) else value


@dataclass(frozen=True)
class Work:
    """What an operator does outside the array, for one input: operations by kind, words read and
    written.

    Kinds: add (subtractions too), multiply, divide, compare, exp, sqrt, power.  A window or a pass
    reads its operands from the buffer each time: a word in four windows is read four times.  Of the
    reads, ``parameters`` are those of the operator's own arrays, once each.
    """

    operations: Mapping[str, int] = field(default_factory=dict)
    reads: int = 0
    writes: int = 0
    parameters: int = 0

    @property
    def total(self) -> int:
        """Operations of every kind."""
        return sum(self.operations.values())

    @property
    def nothing(self) -> bool:
        """Whether there is none: words are only renamed, or the array works."""
        return not (self.total or self.reads or self.writes)


class Operator(BaseModel):
    """A node: what it does and, by name, what it reads.

    ``name``    what other nodes call it
    ``type``    which operator it is
    ``inputs``  nodes whose tensors it reads; the node before it if not given
    ``share``   a node whose arrays of weights are this one's, too: all of them, or each by its name
                (``share: {weight: conv1}``)
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", defer_build=True
    )  # few of them are in one network
    name: Name = ""
    inputs: Annotated[
        tuple[Name, ...], BeforeValidator(one_or_more, json_schema_input_type=Name | list[Name])
    ] = ()

    share: Annotated[
        FixedDict[str, Name],
        BeforeValidator(_shared, json_schema_input_type=Name | dict[str, Name]),
        Field(json_schema_extra={"default": {}}),
    ] = FrozenDict()

    arity: ClassVar[tuple[int, int]] = (1, 1)  # how few and how many tensors it reads
    keeps_scale: ClassVar[bool] = (
        False  # the integer form's words are some of the input's words, or means of them
    )

    @model_serializer(mode="plain")
    def _as_file(self) -> dict[str, Any]:
        return as_file(self)

    @abstractmethod
    def infer(self, *shapes: Shape) -> Shape:
        """The shape it makes of its inputs' shapes.  Raises ValueError with the rule if it
        cannot.
        """

    def parameters(self, *shapes: Shape) -> dict[str, Shape]:
        """Shapes of the arrays it needs besides its inputs, by their name in it, as frameworks lay
        them out.
        """
        return {}

    @abstractmethod
    def work(self, *shapes: Shape) -> Work:
        """Operations and accesses on the vector unit, for one input."""

    @abstractmethod
    def run(self, xs: Sequence[Array], weights: Weights) -> Array:
        """The golden model, (batch, *infer(shapes)) in float64.  ``xs``: arrays (batch, *shape);
        ``weights``: by name, in the shapes of ``parameters``.
        """

    def words(self, xs: Sequence[Array], weights: Weights, scales: Scales) -> Array:
        """The integer form: words of the inputs in, words of the output out, int64, shapes as in
        ``run``.

        Unless an operator has a form of its own (its docstring says so), the words are scaled to
        float64, run and rounded back, half to even: what a vector unit with a floating-point
        datapath does.
        """
        exact = [x * s for x, s in zip(xs, scales.inputs, strict=True)]
        return scales.round(self.run(exact, weights))

    def require(self, shapes: Sequence[Shape], rank: int, what: str) -> None:
        """Raises ValueError unless every shape has ``rank`` axes."""
        for shape in shapes:
            if len(shape) != rank:
                raise ValueError(f"{kind(self)} needs {what}, got {text(shape)}")


def kind(op: Operator) -> str:
    """The operator's type as a file names it."""
    return str(getattr(op, "type", type(op).__name__))


def text(shape: Shape) -> str:
    """A shape as 3x227x227."""
    return "x".join(str(n) for n in shape)


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from 0 after the batch.  Raises ValueError for one the shape does not have, or
    twice the same.
    """
    positive = tuple(a + rank if a < 0 else a for a in axes)
    for axis, given in zip(positive, axes, strict=True):
        if not 0 <= axis < rank:
            raise ValueError(
                f"there are {rank} axes besides the batch, 0 to {rank - 1}, got {given}"
            )
    if len(set(positive)) != len(positive):
        raise ValueError("every axis may be named once")
    return tuple(sorted(positive))


def as_float(x: Array) -> NDArray[np.float64]:
    """An array as float64."""
    return np.asarray(x, dtype=np.float64)


def as_file(entry: BaseModel) -> dict[str, Any]:
    """An operator, block or use of one as a file states it: the name, the type, then what was given
    and is not the default.
    """
    stated: dict[str, Any] = {}
    for key in ("name", "type", *type(entry).model_fields):
        field = type(entry).model_fields.get(key)
        if field is None or key in stated or key not in entry.model_fields_set:
            continue
        value = getattr(entry, key)
        if key == "type" or value != field.default:
            single = (
                key in ("stride", "padding", "dilation")
                and isinstance(value, tuple)
                and len(set(value)) == 1
            )
            value = value[EVERY] if key == "share" and [*value] == [EVERY] else value
            stated[field.alias or key] = _shortest(value[0] if single else value)
    return stated


def _shortest(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return as_file(value)
    if isinstance(value, dict):
        return {k: _shortest(v) for k, v in value.items()}
    if not isinstance(value, (tuple, list)):
        return value
    return [_shortest(v) for v in value]
