"""The mapping: loops outermost first, and which level keeps which tensor.  Nothing else is needed."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer, model_validator

from accelsim.workload.problem import DIMS, TENSORS

Axis = Literal["none", "row", "col"]
FUSED: dict[str, tuple[str, ...]] = {"K": ("C", "R", "S"), "X": ("N", "E", "F")}
_LOOP = re.compile(r"([A-Za-z]\w*):(\d+):(\w+)(?::(row|col|none))?")


class MappingError(ValueError):
    """A mapping that does not fit its problem or its architecture; the message says which rule and by how much."""


class Loop(BaseModel):
    """Cuts the current range of ``dim`` into pieces of ``tile`` that live below ``level``.

    On an axis the pieces lie side by side, one per row or column; else they follow one another.
    Written ``dim:tile:level[:axis]``.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    dim: str
    tile: Annotated[int, Field(gt=0)]
    level: str
    axis: Axis = "none"

    @classmethod
    def parse(cls, text: str) -> Loop:
        m = _LOOP.fullmatch(text.strip())
        if not m:
            raise ValueError(f"a loop is written dim:tile:level[:row|:col], got {text!r}")
        return cls(dim=m[1], tile=int(m[2]), level=m[3], axis=m[4] or "none")  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.dim}:{self.tile}:{self.level}" + ("" if self.axis == "none" else f":{self.axis}")

    @model_serializer
    def _text(self) -> str:
        return str(self)


def _as_loop(value: Any) -> Any:
    return Loop.parse(value) if isinstance(value, str) else value


def _as_loops(value: Any) -> Any:
    return tuple(value.split()) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class Mapping(BaseModel):
    """Loops outermost first, the tensors each level keeps, and the parts of each fused dimension used."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    loops: Annotated[tuple[Annotated[Loop, BeforeValidator(_as_loop)], ...], BeforeValidator(_as_loops)]
    keep: dict[str, Annotated[tuple[str, ...], Field(strict=False)]]
    fused: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = FUSED

    @model_validator(mode="after")
    def _names(self) -> Mapping:
        for name, parts in self.fused.items():
            if name in DIMS:
                raise ValueError(f"fused.{name}: {name} is a dimension already")
            if not parts or len(set(parts)) != len(parts) or not any(set(parts) <= set(w) for w in FUSED.values()):
                raise ValueError(f"fused.{name}: parts are taken once each from C,R,S or from N,E,F, got {','.join(parts)}")
        for loop in self.loops:
            if loop.dim not in DIMS and loop.dim not in self.fused:
                raise ValueError(f"loop {loop}: no dimension {loop.dim!r} (have {', '.join((*DIMS, *self.fused))})")
        for level, tensors in self.keep.items():
            for t in tensors:
                if t not in TENSORS:
                    raise ValueError(f"keep.{level}: no tensor {t!r} (have {', '.join(TENSORS)})")
        return self

    def __str__(self) -> str:
        return " ".join(str(x) for x in self.loops)
