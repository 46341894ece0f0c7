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
    """Loops in time, outermost first.

    ``outer``  in the levels outside the one next to the array; every dimension
    ``inner``  in the level next to the array
    """

    outer: Dims
    inner: Dims


class Dataflow(Displayed, Frozen):
    """Which loops go where: constraints that hold for any layer, size and names of levels.  A
    dimension is one of N G M C E F R S, or K = (C, R, S) and X = (N, E, F), which are one loop
    where that is possible and their parts elsewhere.

    ``name, short``  what it is called where it is asked for
    ``description``  a line about it
    ``stays``        tensors that a PE keeps
    ``bypass``       tensors that pass by the level next to the array
    ``order``        of the loops in time outside the PEs
    ``space``        loops that spread over the array, ``DIM:row`` or ``DIM:col``
    ``pe``           loops in time inside a PE, outermost first
    ``sizes``        in which order the fixed rule makes tiles large: ``DIM:buffer``, ``DIM:row``,
                     ``DIM:col`` or ``DIM:pe``
    """

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
