"""The dataflow: constraints a student can write on a page.  No layer, no size, no level name.

``order`` gives the loops around the array outermost first, in the buffer next to it (``inner``) and
in every level outside that (``outer``); ``space`` the loops that spread over rows and columns;
``pe`` the loops inside a PE; ``stays`` the tensors a PE keeps.  A fused name (K, X) stands for its
parts where fusing would not be legal.  ``sizes`` is the order in which the fixed rule makes tiles
large.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.base.display import Displayed
from accelsim.base.frozen import Frozen
from accelsim.hardware.architecture import Tensor
from accelsim.mapping.mapping import FUSED
from accelsim.workload.problem import DIMS

Dim = Literal["N", "G", "M", "C", "E", "F", "R", "S", "K", "X"]
Dims = Annotated[tuple[Dim, ...], Field(strict=False)]
PLACES = ("buffer", "row", "col", "pe")


class Order(Frozen):
    """Temporal loops outermost first: ``inner`` in the level next to the array, ``outer`` in those
    outside it.
    """

    outer: Dims
    inner: Dims


class Dataflow(Displayed, Frozen):
    """Which loops go where; see the module's text."""

    name: str
    short: str
    description: str = ""
    stays: Annotated[tuple[Tensor, ...], Field(strict=False)]
    bypass: Annotated[tuple[Tensor, ...], Field(strict=False)] = ()
    order: Order
    space: Annotated[tuple[str, ...], Field(strict=False)] = ()
    pe: Dims = ()
    sizes: Annotated[tuple[str, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _consistent(self) -> Dataflow:
        for entry, places in [(s, ("row", "col")) for s in self.space] + [
            (s, PLACES) for s in self.sizes
        ]:
            dim, _, place = entry.partition(":")
            if dim not in (*DIMS, *FUSED) or place not in places:
                raise ValueError(
                    f"{entry!r}: written DIM:PLACE with DIM of {', '.join((*DIMS, *FUSED))} "
                    f"and PLACE of {', '.join(places)}"
                )
        for where, dims in (("outer", self.order.outer), ("inner", self.order.inner)):
            flat = [p for d in dims for p in FUSED.get(d, (d,))]
            if len(set(flat)) != len(flat):
                raise ValueError(
                    f"order.{where}: a dimension stands twice, alone or inside a fused one"
                )
        listed = {p for d in self.order.outer for p in FUSED.get(d, (d,))}
        if missing := [d for d in DIMS if d not in listed]:
            raise ValueError(
                f"order.outer: every dimension must be listed, missing {', '.join(missing)}"
            )
        return self
