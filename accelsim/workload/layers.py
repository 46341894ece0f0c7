"""Layers: convolution, linear and matrix product, each one Problem (DESIGN section 2)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from accelsim.files import MAX_NUMBER, plain
from accelsim.workload.problem import TENSORS, Problem

MAX_SIZE = 2**31 - 1

Count = Annotated[int, BeforeValidator(plain), Field(gt=0, le=MAX_SIZE)]
Sides = tuple[int, int, int, int]


def _name(value: str) -> str:
    if not value.isprintable() or " " in value or "," in value:
        raise ValueError("must have no spaces or commas")
    return value


Name = Annotated[str, AfterValidator(_name), Field(max_length=100)]


def _ints(value: Any, least: int, lengths: tuple[int, ...], rule: str) -> tuple[int, ...]:
    """A whole number or a list of them as a tuple, or ValueError with the rule."""
    value = plain(value)
    values = value if isinstance(value, list) else [value]
    if len(values) not in (1, *lengths) or value == values[:1]:
        raise ValueError(rule)
    for v in values:
        if isinstance(v, bool) or not isinstance(v, int) or not least <= v <= MAX_SIZE:
            raise ValueError(rule)
    return tuple(values)


def _pair(value: Any) -> tuple[int, int]:
    values = _ints(value, 1, (2,), "must be a whole number of at least 1, or [vertical, horizontal]")
    return values[0], values[-1]


def _padding(value: Any) -> Sides | Literal["same"]:
    if value == "same":
        return "same"
    rule = "must be a whole number of at least 0, [vertical, horizontal], [top, bottom, left, right], valid or same"
    match _ints(0 if isinstance(value, str) and value == "valid" else value, 0, (2, 4), rule):
        case (top, bottom, left, right):
            return top, bottom, left, right
        case (vertical, horizontal):
            return vertical, vertical, horizontal, horizontal
        case (every, *_):
            return every, every, every, every
    raise AssertionError("_ints gives 1, 2 or 4 values")


Pair = Annotated[int | tuple[int, int], BeforeValidator(_pair)]
Padding = Annotated[int | tuple[int, int] | Sides | Literal["same", "valid"], BeforeValidator(_padding)]


class Layer(BaseModel):
    """What all layers have.  Two layers are equal if they are of one type and every size and the name agree."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    name: Name = ""

    @abstractmethod
    def problem(self, batch: int | None = None) -> Problem:
        """The layer as a box of loops, with ``batch`` inputs if given."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for the layer's own batch, padding included and bias not."""
        return self.problem().macs

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

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        for key, declared in type(self).model_fields.items():
            value = getattr(self, key)
            if value != declared.default:
                yield key, value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


class Conv2d(Layer):
    """A convolution (cross-correlation).  ``M`` and ``C`` are per group; ``H`` and ``W`` the unpadded ifmap.

    ``stride`` and ``dilation``: one number, or (vertical, horizontal).  ``padding`` with zeros: one number,
    (vertical, horizontal), (top, bottom, left, right), "valid" (none), or "same": E = ceil(H / stride), an odd
    zero going to the bottom and right.  Raises pydantic's ValidationError, a ValueError, for impossible shapes.
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
    N: Count = 1

    def problem(self, batch: int | None = None) -> Problem:
        (u, v), (d, e), pads = _pair(self.stride), _pair(self.dilation), self._pads()
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
        )

    def _pads(self) -> Sides:
        pads = _padding(self.padding)
        if pads != "same":
            return pads
        (u, v), (d, e) = _pair(self.stride), _pair(self.dilation)
        return *_same(self.H, self.R, u, d), *_same(self.W, self.S, v, e)


def _out(padded: int, taps: int, stride: int, dilation: int) -> int:
    """Outputs along one side; at least 1, so that Problem can say why there should be none."""
    return max((padded - dilation * (taps - 1) - 1) // stride + 1, 1)


def _same(size: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after that give ceil(size / stride) outputs."""
    total = max((-(-size // stride) - 1) * stride + dilation * (taps - 1) + 1 - size, 0)
    return total // 2, total - total // 2


class Linear(Layer):
    """A fully connected layer of ``M`` outputs and C*H*W inputs: the convolution whose filter is the whole ifmap."""

    type: Literal["linear"] = "linear"
    M: Count
    C: Count
    H: Count = 1
    W: Count = 1
    bias: bool = False
    N: Count = 1

    def problem(self, batch: int | None = None) -> Problem:
        n = self.N if batch is None else batch
        return Problem(N=n, G=1, M=self.M, C=self.C, E=1, F=1, R=self.H, S=self.W, H=self.H, W=self.W, bias=self.bias)


class Gemm(Layer):
    """A matrix product, (m x k) times (k x n): ``m`` filters of ``k`` channels on ``n`` pixels, which lie along F.

    A batch is that many products with the same left matrix.
    """

    type: Literal["gemm"] = "gemm"
    m: Count
    k: Count
    n: Count
    bias: bool = False

    def problem(self, batch: int | None = None) -> Problem:
        n = 1 if batch is None else batch
        return Problem(N=n, G=1, M=self.m, C=self.k, E=1, F=self.n, R=1, S=1, H=1, W=self.n, bias=self.bias)


def _type(value: Any) -> Any:
    """A layer's type; one that is not a layer at all is left to Conv2d to refuse."""
    if isinstance(value, dict):
        return value.get("type", "conv2d")
    return getattr(value, "type", "conv2d")


AnyLayer = Annotated[
    Annotated[Conv2d, Tag("conv2d")] | Annotated[Linear, Tag("linear")] | Annotated[Gemm, Tag("gemm")],
    Discriminator(_type),
]
