"""The problem: one box of eight loops and three tensors with affine projections.

Dimensions are the field's (Sze, Chen, Emer, "Efficient Processing of Deep Neural Networks", ch. 2):
N batch, G groups, M output channels per group, C input channels per group, E,F output height and
width, R,S filter height and width.  H,W are the ifmap's.  ``h = U*e + D*r - pad_top`` and likewise
w.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Literal

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError, got
from accelsim.base.frozen import FrozenDict
from accelsim.base.validation import truth, whole

DIMS = ("N", "G", "M", "C", "E", "F", "R", "S")
SIZES = (*DIMS, "H", "W")
SIDES = {"stride": 2, "dilation": 2, "padding": 4}  # fields of several numbers, and how many
TENSORS = ("weight", "ifmap", "ofmap")
Direction = Literal["forward", "grad_weight", "grad_input"]

# Which tensor each direction accumulates: one iteration space, three readings (docs/design.md,
# section 2).
ACCUMULATED = {"forward": "ofmap", "grad_weight": "weight", "grad_input": "ifmap"}

# The ranks of each tensor, slowest first.  A rank is one dimension, or an (output, filter) pair
# that slides: (E,R) makes H and (F,S) makes W.
RANKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "weight": (("G",), ("M",), ("C",), ("R",), ("S",)),
    "ifmap": (("N",), ("G",), ("C",), ("E", "R"), ("F", "S")),
    "ofmap": (("N",), ("G",), ("M",), ("E",), ("F",)),
}
DEPENDS = {t: frozenset(d for rank in ranks for d in rank) for t, ranks in RANKS.items()}


@dataclass(frozen=True)
class Slide:
    """A sliding rank: coordinate ``stride*out + dilation*filter - pad``, real within ``[0,
    size)``.
    """

    stride: int
    dilation: int
    pad: int
    size: int

    def free(self, out: int, filt: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Outputs [from, to) whose windows of ``filt`` taps meet no padding, and taps that meet
        none at any of ``out`` outputs: all or none of them.
        """
        first = max(-(-self.pad // self.stride), 0)
        last = (self.size + self.pad - self.dilation * (filt - 1) - 1) // self.stride
        reach = self.stride * (out - 1) + self.dilation * (filt - 1) - self.pad
        return (first, last + 1), (0, filt) if self.pad <= 0 and reach < self.size else (1, 0)


@dataclass(frozen=True)
class Problem(Displayed):
    """One layer as the box N*G*M*C*E*F*R*S; sizes in words, M and C per group.

    ``padding`` is (top, bottom, left, right); ``stride`` and ``dilation`` are (vertical,
    horizontal).  With ``flip`` the filter is laid on the ifmap turned by half a turn, as
    mathematics' convolution has it: word (R-1-r, S-1-s) in place of (r, s).  No count depends on
    it; who has values turns them (``golden``, ``results/execute``).

    Raises ValueError for sizes that do not go together, InputError for what is no whole number.
    """

    N: int
    G: int
    M: int
    C: int
    E: int
    F: int
    R: int
    S: int
    H: int
    W: int
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    bias: bool = False
    direction: Direction = "forward"
    flip: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for out, size, filt, u, d, pads in (
            ("E", "H", "R", self.stride[0], self.dilation[0], self.padding[:2]),
            ("F", "W", "S", self.stride[1], self.dilation[1], self.padding[2:]),
        ):
            span = getattr(self, size) + sum(pads) - d * (getattr(self, filt) - 1) - 1
            if span < 0:
                raise ValueError(
                    f"the filter ({filt}={getattr(self, filt)}, dilation {d}) is larger than the"
                    " padded ifmap "
                    f"({size}={getattr(self, size)}, padding {pads[0]}+{pads[1]})"
                )
            if getattr(self, out) != span // u + 1:
                raise ValueError(
                    f"{out} must be floor(({size} + pads - D({filt}-1) - 1)/U) + 1 ="
                    f" {span // u + 1}, got {getattr(self, out)}"
                )

    def _check_types(self) -> None:
        """Whole numbers are Python's: 1, 1.0 and True are equal, and would be one key of what is
        remembered.  numpy's are taken for what they are.
        """
        for name in SIZES:
            value = getattr(self, name)
            if type(value) is not int:
                object.__setattr__(self, name, whole(name, value))
        for name, length in SIDES.items():
            sides = getattr(self, name)
            if type(sides) is not tuple or len(sides) != length:
                raise InputError(f"must be {length} whole numbers", key=name, got=got(sides))
            if any(type(x) is not int for x in sides):
                object.__setattr__(self, name, tuple([whole(name, x) for x in sides]))
            least = 0 if name == "padding" else 1
            if min(getattr(self, name)) < least:
                raise InputError(f"must be at least {least}", key=name, got=str(sides))
        if type(self.bias) is not bool:
            object.__setattr__(self, "bias", truth("bias", self.bias))
        if type(self.flip) is not bool:
            object.__setattr__(self, "flip", truth("flip", self.flip))
        if type(self.direction) is not str or self.direction not in ACCUMULATED:
            raise InputError(
                f"must be one of {', '.join(ACCUMULATED)}",
                key="direction",
                got=got(self.direction),
                choices=ACCUMULATED,
            )

    @cached_property
    def size(self) -> dict[str, int]:
        """Extent of each of the eight dimensions."""
        return FrozenDict({d: getattr(self, d) for d in DIMS})

    @property
    def macs(self) -> int:
        """The standard count N*G*M*C*E*F*R*S, padding included."""
        return prod(getattr(self, d) for d in DIMS)

    @property
    def accumulated(self) -> str:
        """The tensor this direction writes."""
        return ACCUMULATED[self.direction]

    @property
    def operands(self) -> tuple[str, str]:
        """The two tensors this direction reads, in the order of TENSORS."""
        a, b = (t for t in TENSORS if t != self.accumulated)
        return a, b

    @property
    def rows_are_columns(self) -> bool:
        """Whether it is the same layer with rows for columns, and every output has a word of its
        own: a filter of one tap, on a square without padding.
        """
        plain = self.R == self.S == 1 and not any(self.padding)
        return plain and self.E == self.F and self.slide_h == self.slide_w

    @property
    def slide_h(self) -> Slide:
        """The projection of (E, R) onto the ifmap's rows."""
        return Slide(self.stride[0], self.dilation[0], self.padding[0], self.H)

    @property
    def slide_w(self) -> Slide:
        """The projection of (F, S) onto the ifmap's columns."""
        return Slide(self.stride[1], self.dilation[1], self.padding[2], self.W)

    def slide(self, rank: tuple[str, ...]) -> Slide:
        """The projection of a sliding rank, ("E", "R") or ("F", "S")."""
        return self.slide_h if rank[0] == "E" else self.slide_w

    def padded_slide(self, rank: tuple[str, ...]) -> Slide:
        """The same projection onto the ifmap with its padding: every coordinate a window touches is
        there.
        """
        slide, pads = self.slide(rank), self.padding[:2] if rank[0] == "E" else self.padding[2:]
        return Slide(slide.stride, slide.dilation, 0, slide.size + sum(pads))

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Shape in words: weight [G, M, C, R, S], ifmap [N, G, C, H, W], ofmap [N, G, M, E, F]."""
        if tensor == "ifmap":
            return (self.N, self.G, self.C, self.H, self.W)
        return tuple(getattr(self, rank[0]) for rank in RANKS[tensor])

    def words(self, tensor: str) -> int:
        """All words of a tensor, touched or not."""
        return prod(self.shape(tensor))

    def with_batch(self, batch: int) -> Problem:
        """The same layer for another batch size."""
        return replace(self, N=batch)

    def with_direction(self, direction: Direction) -> Problem:
        """The same box with another tensor accumulated."""
        return replace(self, direction=direction)
