"""Layers: convolution, linear and matrix product, each one Problem (docs/design.md, section 2).

A layer is what a user states, in a file's ``layers`` or in Python; a ``Problem`` is what engines
run.  ``AnyLayer`` is any of them, told apart by ``type``.  The readers of sizes, pairs and padding
at the top are also those of a graph's operators (``operators/fields``), which besides let a block's
expressions pass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from accelsim.base.display import Displayed
from accelsim.base.frozen import Frozen
from accelsim.base.limits import MAX_NUMBER
from accelsim.base.limits import plain_value as plain
from accelsim.workload.problem import TENSORS, Direction, Problem

MAX_SIZE = 2**31 - 1

Count = Annotated[int, BeforeValidator(plain), Field(gt=0, le=MAX_SIZE)]
Sides = tuple[int, int, int, int]


def _name(value: str) -> str:
    if not value.isprintable() or " " in value or "," in value:
        raise ValueError("must have no spaces or commas")
    return value


Name = Annotated[str, AfterValidator(_name), Field(max_length=100)]


def _nothing_else(value: object) -> bool:
    return False


def whole_numbers(
    value: object,
    least: int,
    lengths: tuple[int, ...],
    rule: str,
    passes: Callable[[object], bool] = _nothing_else,
) -> tuple[Any, ...]:
    """A whole number, or a list of one of ``lengths``, as a tuple.

    Each must be ``least`` to ``MAX_SIZE``, or a value that ``passes`` (a block's expression).
    Raises ValueError with the rule.
    """
    value = plain(value)
    values = value if isinstance(value, list) else [value]
    if len(values) not in (1, *lengths) or value == values[:1]:
        raise ValueError(rule)
    for v in values:
        if not passes(v) and (
            isinstance(v, bool) or not isinstance(v, int) or not least <= v <= MAX_SIZE
        ):
            raise ValueError(rule)
    return tuple(values)


def pair(
    value: object, *, least: int = 1, passes: Callable[[object], bool] = _nothing_else
) -> tuple[Any, Any]:
    """(vertical, horizontal), given as one number or as both.  Raises ValueError."""
    rule = f"must be a whole number of at least {least}, or [vertical, horizontal]"
    values = whole_numbers(value, least, (2,), rule, passes)
    return values[0], values[-1]


def padding_sides(
    value: object, *, passes: Callable[[object], bool] = _nothing_else
) -> tuple[Any, Any, Any, Any] | Literal["same"]:
    """(top, bottom, left, right), given as one number, two, four or a word; "same" stays, since it
    takes a size to know what it is.  Raises ValueError.
    """
    if isinstance(value, str) and value in ("same", "valid"):
        return "same" if value == "same" else (0, 0, 0, 0)
    rule = (
        "must be a whole number of at least 0, [vertical, horizontal], [top, bottom, left, right],"
        " valid or same"
    )
    match whole_numbers(value, 0, (2, 4), rule, passes):
        case (top, bottom, left, right):
            return top, bottom, left, right
        case (vertical, horizontal):
            return vertical, vertical, horizontal, horizontal
        case (every, *_):
            return every, every, every, every
    raise AssertionError("there are 1, 2 or 4 values")


def _least_pair(value: object) -> tuple[int, int]:
    return pair(value, least=0)


LeastPair = Annotated[int | tuple[int, int], BeforeValidator(_least_pair)]
Pair = Annotated[int | tuple[int, int], BeforeValidator(pair)]
Padding = Annotated[
    int | tuple[int, int] | Sides | Literal["same", "valid"], BeforeValidator(padding_sides)
]


def _both(checked: int | tuple[int, int]) -> tuple[int, int]:
    """A field that was checked when the layer was made: it is (vertical, horizontal) by now."""
    return cast(tuple[int, int], checked)


def _sides(checked: int | tuple[int, int] | Sides | str) -> Sides:
    """Padding that was checked when the layer was made: (top, bottom, left, right) by now."""
    return cast(Sides, checked)


class Layer(Displayed, Frozen):
    """What all layers have.  Two layers are equal if they are of one type and every size and the
    name agree.

    ``name``                       what it is called; ``layer1``, ``layer2``, ... by its position if
                                   not given
    ``type``                       which kind of layer it is
    ``N``                          inputs at once
    ``M, C``                       channels out and in, per group
    ``H, W``                       height and width of what comes in
    ``R, S``                       height and width of a filter
    ``stride, padding, dilation``  of its window, as of ``Conv2d``
    ``groups``                     channels in so many sets, each with filters of its own
    ``bias``                       a number for each output channel is added to its sums
    """

    name: Name = ""

    @abstractmethod
    def problem(self, batch: int | None = None) -> Problem:
        """The layer as a box of loops, with ``batch`` inputs if given."""

    def directed(self, batch: int | None = None, direction: Direction = "forward") -> Problem:
        """The layer's loops in a direction of the network's: a transposed convolution runs forward
        as a gradient.  Raises InputError for what is no direction.
        """
        return self.problem(batch).with_direction(direction)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for the layer's own batch, padding included and bias not."""
        return self.problem().macs

    @property
    def unread(self) -> tuple[int, int]:
        """Rows and columns at the end that no window reads, because the stride does not fit;
        padding among them.
        """
        p = self.problem()
        (u, v), (d, e), (top, bottom, left, right) = p.stride, p.dilation, p.padding
        return (p.H + top + bottom - d * (p.R - 1) - 1) % u, (
            p.W + left + right - e * (p.S - 1) - 1
        ) % v

    @property
    def parameters(self) -> int:
        """Weights, and one bias for each output channel if the layer has any."""
        p = self.problem()
        return p.words("weight") + (p.G * p.M if p.bias else 0)

    @model_validator(mode="after")
    def _possible(self) -> Layer:
        p = self.problem()
        for what, n in (("MACs", p.macs), *((f"{t} words", p.words(t)) for t in TENSORS)):
            if n > MAX_NUMBER:
                raise ValueError(f"a layer may have at most 2^53 {what}, got {n}")
        return self

    def stated(self) -> dict[str, Any]:
        """The layer as a file states it: its name, its type unless it is a convolution, and what is
        not the default.
        """
        told = {"name": self.name, "type": getattr(self, "type", "conv2d")}
        if told["type"] == "conv2d":
            del told["type"]
        others = ((k, list(v) if isinstance(v, tuple) else v) for k, v in self.__repr_args__())
        return told | dict(others)

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        for key, declared in type(self).model_fields.items():
            value = getattr(self, key)
            if value != declared.default:
                yield key, value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


class Conv2d(Layer):
    """A convolution (cross-correlation).  ``M`` and ``C`` are per group; ``H`` and ``W`` the
    unpadded ifmap.  With ``flip`` the filter is turned by half a turn: convolution as mathematics
    has it, with the same counts.

    ``stride`` and ``dilation``: one number, or (vertical, horizontal).  ``padding`` with zeros: one
    number, (vertical, horizontal), (top, bottom, left, right), "valid" (none), or "same": E =
    ceil(H / stride), an odd zero going to the bottom and right.  Raises InputError for
    impossible shapes.
    """

    type: Literal["conv2d"] = "conv2d"
    M: Count
    C: Count
    H: Count
    W: Count
    R: Count
    S: Count
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: Count = 1
    bias: bool = False
    flip: bool = False
    N: Count = 1

    def problem(self, batch: int | None = None) -> Problem:
        (u, v), (d, e), pads = _both(self.stride), _both(self.dilation), self._pads()
        return Problem(
            N=self.N if batch is None else batch,
            G=self.groups,
            M=self.M,
            C=self.C,
            E=_out(self.H + pads[0] + pads[1], self.R, u, d),
            F=_out(self.W + pads[2] + pads[3], self.S, v, e),
            R=self.R,
            S=self.S,
            H=self.H,
            W=self.W,
            stride=(u, v),
            dilation=(d, e),
            padding=pads,
            bias=self.bias,
            flip=self.flip,
        )

    def _pads(self) -> Sides:
        if self.padding != "same":
            return _sides(self.padding)
        (u, v), (d, e) = _both(self.stride), _both(self.dilation)
        return *same_padding(self.H, self.R, u, d), *same_padding(self.W, self.S, v, e)


def _out(padded: int, taps: int, stride: int, dilation: int) -> int:
    """Outputs along one side; at least 1, so that Problem can say why there should be none."""
    return max((padded - dilation * (taps - 1) - 1) // stride + 1, 1)


def same_padding(size: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    """Places before and after that give ceil(size / stride) windows, the odd one after."""
    total = max((-(-size // stride) - 1) * stride + dilation * (taps - 1) + 1 - size, 0)
    return total // 2, total - total // 2


class Linear(Layer):
    """A fully connected layer of ``M`` outputs and C*H*W inputs: the convolution whose filter is
    the whole ifmap.
    """

    type: Literal["linear"] = "linear"
    M: Count
    C: Count
    H: Count = 1
    W: Count = 1
    bias: bool = False
    N: Count = 1

    def problem(self, batch: int | None = None) -> Problem:
        n = self.N if batch is None else batch
        return Problem(
            N=n,
            G=1,
            M=self.M,
            C=self.C,
            E=1,
            F=1,
            R=self.H,
            S=self.W,
            H=self.H,
            W=self.W,
            bias=self.bias,
        )


class Gemm(Layer):
    """A matrix product, (m x k) times (k x n): ``m`` filters of ``k`` channels on ``n`` pixels,
    which lie along F.

    A batch, ``N``, is that many products with the same left matrix.
    """

    type: Literal["gemm"] = "gemm"
    m: Count
    k: Count
    n: Count
    bias: bool = False
    N: Count = 1

    def problem(self, batch: int | None = None) -> Problem:
        n = self.N if batch is None else batch
        return Problem(
            N=n, G=1, M=self.m, C=self.k, E=1, F=self.n, R=1, S=1, H=1, W=self.n, bias=self.bias
        )


class MatMul(Layer):
    """``products`` matrix products, (``m`` x ``k``) times (``k`` x ``n``), none of whose factors
    are weights: attention's.

    The left matrix lies where weights lie.  Each product is a group, and a batch, ``N``, has that
    many times as many groups.
    """

    type: Literal["matmul"] = "matmul"
    m: Count
    k: Count
    n: Count
    products: Count = 1
    N: Count = 1

    def problem(self, batch: int | None = None) -> Problem:
        groups = self.products * (self.N if batch is None else batch)
        return Problem(N=1, G=groups, M=self.m, C=self.k, E=1, F=self.n, R=1, S=1, H=1, W=self.n)

    @property
    def parameters(self) -> int:
        """None: both factors are activations."""
        return 0


class ConvTranspose2d(Layer):
    """A transposed convolution: ``C`` channels of H x W in, ``M`` out, both per group; the input
    gradient of a convolution.

    Stride, padding and dilation are those of that convolution; the output side is (H - 1) stride -
    pads + dilation (R - 1) + 1 + ``extra``.  The problem is that convolution's, so its M is this
    layer's C and the ifmap is what comes out; the direction is ``grad_input``.
    """

    type: Literal["conv_transpose"] = "conv_transpose"
    M: Count
    C: Count
    H: Count
    W: Count
    R: Count
    S: Count
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    extra: LeastPair = (0, 0)
    groups: Count = 1
    bias: bool = False
    N: Count = 1

    def problem(self, batch: int | None = None) -> Problem:
        if self.padding == "same":
            raise ValueError("padding: of a transposed convolution must be numbers")
        (u, v), (d, e), pads = _both(self.stride), _both(self.dilation), _sides(self.padding)
        more = _both(self.extra)
        if more[0] >= u or more[1] >= v:
            raise ValueError(f"extra: must be smaller than the stride, got {more[0]}, {more[1]}")
        return Problem(
            N=self.N if batch is None else batch,
            G=self.groups,
            M=self.C,
            C=self.M,
            E=self.H,
            F=self.W,
            R=self.R,
            S=self.S,
            H=(self.H - 1) * u - pads[0] - pads[1] + d * (self.R - 1) + 1 + more[0],
            W=(self.W - 1) * v - pads[2] - pads[3] + e * (self.S - 1) + 1 + more[1],
            stride=(u, v),
            dilation=(d, e),
            padding=pads,
            direction="grad_input",
        )

    def directed(self, batch: int | None = None, direction: Direction = "forward") -> Problem:
        """As ``Layer.directed``: forward is the convolution's input gradient, and its forward this
        layer's input gradient.
        """
        swapped: dict[Direction, Direction] = {
            "forward": "grad_input",
            "grad_input": "forward",
            "grad_weight": "grad_weight",
        }
        return self.problem(batch).with_direction(swapped.get(direction, direction))

    @property
    def parameters(self) -> int:
        p = self.problem()
        return p.words("weight") + (p.G * p.C if self.bias else 0)


def batched(layer: Layer, batch: int) -> Layer:
    """The layer for ``batch`` inputs.  Raises ValueError if it has too many MACs then."""
    if batch == 1:
        return layer
    fields = {key: getattr(layer, key) for key in layer.model_fields_set}
    try:
        return type(layer).model_validate(fields | {"N": batch})
    except ValidationError as error:
        first = str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
        raise ValueError(f"batch: {layer.name}: {first}") from None


def _type(value: Any) -> Any:
    """A layer's type; one that is not a layer at all is left to Conv2d to refuse."""
    if isinstance(value, dict):
        return value.get("type", "conv2d")
    return getattr(value, "type", "conv2d")


LAYER_TYPES = ("conv2d", "linear", "gemm", "matmul", "conv_transpose")
AnyLayer = Annotated[
    Annotated[Conv2d, Tag("conv2d")]
    | Annotated[Linear, Tag("linear")]
    | Annotated[Gemm, Tag("gemm")]
    | Annotated[MatMul, Tag("matmul")]
    | Annotated[ConvTranspose2d, Tag("conv_transpose")],
    Discriminator(_type),
]
