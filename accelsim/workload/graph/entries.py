"""What a network file's graph is made of: operators, blocks written once, and places where a block
is used.

``OPERATORS`` is the list of what a node may be: a file's ``type`` names one, importers look theirs
up here, and a new operator is known when its class stands in ``MODELS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    model_serializer,
)

from accelsim.base.errors import or_nearest
from accelsim.base.frozen import FixedDict, FrozenDict, SomeFixedDict
from accelsim.base.limits import plain_value as plain
from accelsim.workload.layers import Name
from accelsim.workload.operators.activation import (
    Activation,
    Affine,
    Clip,
    Dropout,
    Elu,
    LeakyRelu,
    Power,
    Softmax,
)
from accelsim.workload.operators.array import (
    Conv,
    ConvTranspose,
    Dense,
    Depthwise,
    FullyConnected,
    Product,
)
from accelsim.workload.operators.combine import (
    Add,
    Concat,
    Embedding,
    Flatten,
    Mean,
    MergeHeads,
    Multiply,
    Pad,
    Parameter,
    Reshape,
    Slice,
    SplitHeads,
    Transpose,
    Upsample,
)
from accelsim.workload.operators.fields import TensorShape
from accelsim.workload.operators.normalization import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    LocalContrast,
    LocalResponse,
)
from accelsim.workload.operators.operator import Operator, as_file, one_or_more
from accelsim.workload.operators.pooling import (
    AveragePool,
    CentreWeightedPool,
    GlobalPool,
    L2Pool,
    LpPool,
    MaxPool,
    StochasticPool,
)

MAX_REPEAT = 1000


def _repeat(value: Any) -> tuple[int, int]:
    rule = f"must be how many times, or [first, last] number, of at most {MAX_REPEAT}"
    value = plain(value)
    pair = value if isinstance(value, list) else [1, value]
    if (
        len(pair) != 2
        or any(
            isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= MAX_REPEAT for v in pair
        )
        or pair[0] > pair[1]
    ):
        raise ValueError(rule)
    return pair[0], pair[1]


class Use(BaseModel):
    """A ``block`` put in here, once or ``repeat`` times in a row, reading ``inputs`` (the node
    before it if not given), ``with`` values for its parameters.

    Its nodes are called by its ``name``, a number if repeated, and their own, with underscores
    between.  Without a name they are nodes of this place.  ``repeat: [2, 4]`` numbers them 2, 3, 4.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    block: Name
    name: Name = ""
    inputs: Annotated[
        tuple[Name, ...], BeforeValidator(one_or_more, json_schema_input_type=Name | list[Name])
    ] = ()
    repeat: Annotated[
        tuple[int, int] | None,
        PlainValidator(
            _repeat, json_schema_input_type=Annotated[int, Field(ge=1)] | tuple[int, int]
        ),
    ] = None
    values: Annotated[FixedDict[Name, Any], Field(alias="with")] = FrozenDict()

    @model_serializer(mode="plain")
    def _as_file(self) -> dict[str, Any]:
        return as_file(self)


MODELS: tuple[type[Operator], ...] = (
    *(Conv, Depthwise, FullyConnected, Dense, Product, ConvTranspose),
    *(MaxPool, AveragePool, L2Pool, LpPool, CentreWeightedPool, StochasticPool, GlobalPool),
    *(Activation, LeakyRelu, Elu, Clip, Power, Affine, Dropout, Softmax),
    *(LocalResponse, LocalContrast, BatchNorm, LayerNorm, GroupNorm),
    *(
        Add,
        Multiply,
        Concat,
        Embedding,
        Mean,
        Reshape,
        Flatten,
        SplitHeads,
        MergeHeads,
        Transpose,
        Slice,
        Pad,
        Upsample,
        Parameter,
    ),
)
OPERATORS: dict[str, type[Operator]] = {
    name: model for model in MODELS for name in get_args(model.model_fields["type"].annotation)
}


def _entry(value: Any) -> Any:
    """An operator or the use of a block; only the model of that type is built.  Raises ValueError
    that begins with the key it is about.
    """
    if isinstance(value, (Operator, Use)):
        return value
    if not isinstance(value, dict):
        return Conv.model_validate(value)
    if "block" in value:
        model: type[BaseModel] = Use
    else:
        kind = value.get("type", "conv2d")
        if not isinstance(kind, str) or kind not in OPERATORS:
            raise ValueError(
                f"type: no such operator, got {str(kind)[:50]}{or_nearest(str(kind), OPERATORS)}"
            )
        model = OPERATORS[kind]
    keys = [field.alias or key for key, field in model.model_fields.items()]
    for key in value:
        if key not in keys:
            close = or_nearest(str(key), keys) or f"; there are {', '.join(keys)}"
            raise ValueError(f"{key}: no such key, got {key}{close}")
    return model.model_validate(value)


class _EntrySchema:
    """The JSON schema of an entry, any of the models; made when asked for."""

    @staticmethod
    def __get_pydantic_json_schema__(_: Any, handler: Any) -> Any:
        union: Any = Union[(*MODELS, Use)]
        return handler(TypeAdapter(union).core_schema)


if TYPE_CHECKING:
    AnyEntry = Operator | Use
else:
    AnyEntry = Annotated[Any, PlainValidator(_entry), _EntrySchema]


class GraphBlock(BaseModel):
    """``nodes`` written once.  ``parameters`` are names that ``=...`` values in them use; every
    use gives each a value.

    Inside, ``input`` is what the block reads (``input2``, ``input3``, ... if it reads several
    tensors); its last node is what it gives.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    parameters: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    nodes: Annotated[tuple[AnyEntry, ...], Field(strict=False, min_length=1)]

    @model_serializer(mode="plain")
    def _as_file(self) -> dict[str, Any]:
        return as_file(self)


Shapes = TensorShape | SomeFixedDict[Name, TensorShape]
