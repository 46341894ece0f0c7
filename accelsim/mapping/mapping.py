"""The mapping: loops outermost first, and which level keeps which tensor.  Nothing else is
needed.

It is what a user writes in a file, ``choose`` and the mapper return, and results print.  Here only
its form is checked; whether it goes with a problem and an architecture is ``Nest``'s to say, with a
MappingError.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from accelsim.base.display import Displayed
from accelsim.base.frozen import FixedDict, Frozen, FrozenDict
from accelsim.workload.problem import DIMS, TENSORS

Axis = Literal["none", "row", "col"]
# Parts slowest first: K runs over a filter's weights, X over an ofmap channel's pixels, as the rows
# and columns of the matrix product that a convolution can be written as.
FUSED: dict[str, tuple[str, ...]] = FrozenDict(K=("C", "R", "S"), X=("N", "E", "F"))
MAX_TILE = 2**53  # the largest whole number a file's float reads exactly
MAX_LOOPS = 100
_LOOP = re.compile(r"([A-Za-z]\w*):([0-9]+):(\w+)(?::(row|col|none))?")
_WRITTEN = "a loop is written dim:tile:level[:row|:col]"


class MappingError(ValueError):
    """A mapping that does not fit its problem or its architecture; the message says which rule and
    by how much.
    """


class Loop(Frozen):
    """Cuts the current range of ``dim`` into pieces of ``tile`` that live below ``level``.

    On an axis the pieces lie side by side, one per row or column; else they follow one another.
    Written ``dim:tile:level[:axis]``.
    """

    dim: str
    tile: Annotated[int, Field(gt=0, le=MAX_TILE)]
    level: str
    axis: Axis = "none"

    @classmethod
    def parse(cls, text: str) -> Loop:
        """The loop a text says.  Raises ValueError."""
        m = _LOOP.fullmatch(text.strip())
        if not m:
            raise ValueError(f"{_WRITTEN}, got {text!r}")
        if len(m[2]) > 16 or not 0 < int(m[2]) <= MAX_TILE:
            raise ValueError(f"a tile is at least 1 and at most 2^53, got {text!r}")
        axis: Any = m[4] or "none"
        return cls(dim=m[1], tile=int(m[2]), level=m[3], axis=axis)

    def __str__(self) -> str:
        return f"{self.dim}:{self.tile}:{self.level}" + (
            "" if self.axis == "none" else f":{self.axis}"
        )

    @model_serializer
    def _text(self) -> str:
        return str(self)


def _as_loop(value: Any) -> Any:
    if isinstance(value, str):
        return Loop.parse(value)
    if isinstance(value, (Loop, dict)):
        return value
    raise ValueError(f"{_WRITTEN}, got {value!r}")


def _as_loops(value: Any) -> Any:
    return (
        tuple(value.split())
        if isinstance(value, str)
        else tuple(value)
        if isinstance(value, list)
        else value
    )


def _tensor(value: str) -> str:
    if value not in TENSORS:
        raise ValueError(f"no tensor {value!r} (have {', '.join(TENSORS)}), got {value}")
    return value


# As editors see them: text.
_LOOP_SCHEMA = {"type": "string", "pattern": "^\\s*[A-Za-z]\\w*:[0-9]+:\\w+(:(row|col|none))?\\s*$"}
_LOOPS_SCHEMA = {
    "description": "Outermost first, each dim:tile:level[:row|:col]; a list, or one text with "
    "spaces between.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": _LOOP_SCHEMA, "maxItems": MAX_LOOPS}],
}
_TENSOR_SCHEMA = {"enum": list(TENSORS)}

Loops = Annotated[
    tuple[Annotated[Loop, BeforeValidator(_as_loop)], ...],
    Field(max_length=MAX_LOOPS),
    BeforeValidator(_as_loops),
    WithJsonSchema(_LOOPS_SCHEMA),
]
Kept = Annotated[str, AfterValidator(_tensor), WithJsonSchema(_TENSOR_SCHEMA)]
Keep = FixedDict[str, Annotated[tuple[Kept, ...], Field(strict=False)]]
Fused = FixedDict[str, Annotated[tuple[str, ...], Field(strict=False)]]


def check_names(
    loops: tuple[Loop, ...], keep: dict[str, tuple[str, ...]], fused: dict[str, tuple[str, ...]]
) -> None:
    """What can be told without a layer or an architecture.  Raises ValueError: the key, then the
    rule.
    """
    for name, parts in fused.items():
        if name in DIMS:
            raise ValueError(f"fused.{name}: {name} is a dimension already")
        if (
            not parts
            or len(set(parts)) != len(parts)
            or not any(set(parts) <= set(w) for w in FUSED.values())
        ):
            raise ValueError(
                f"fused.{name}: parts are taken once each from C,R,S or from N,E,F, "
                f"got {','.join(parts)}"
            )
    for i, loop in enumerate(loops):
        if loop.dim not in DIMS and loop.dim not in fused:
            raise ValueError(
                f"loops.{i}: no dimension {loop.dim!r} (have {', '.join((*DIMS, *fused))}), "
                f"got {loop}"
            )
    for level, tensors in keep.items():
        if len(set(tensors)) != len(tensors):
            raise ValueError(f"keep.{level}: a tensor stands twice, got {', '.join(tensors)}")


class Mapping(Displayed, Frozen):
    """Loops outermost first, the tensors each level keeps, and the parts of each fused dimension
    used.
    """

    loops: Loops
    keep: Keep
    fused: Fused = FUSED

    @model_validator(mode="after")
    def _names(self) -> Mapping:
        check_names(self.loops, self.keep, self.fused)
        return self

    def __str__(self) -> str:
        return " ".join(str(x) for x in self.loops)
