"""What an operation of the vector unit costs, and the area of its lanes, from the table an
architecture chooses.

The unit works on words of psum width.  With ``a`` an addition, ``m`` a multiplication and ``l`` a
look-up in a table of 1 KB:

    add, compare   a
    multiply       m
    divide         bits x a      digit by digit: a subtraction for each bit of the quotient
    sqrt           bits / 2 x a  the same for a root, which has half as many bits
    exp            l + m + a     a straight line between two entries of a table
    power          2 exp + m     exp(y log x)

``horowitz45`` has a and m by width and l by size; in ``eyeriss`` an operation costs what a MAC does
(1) and a look-up what the register file does; with the user's ``own`` numbers a kind that is not
given costs a MAC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from accelsim.base.adding import sum_in_order
from accelsim.hardware.architecture import Architecture, EyerissEnergy, Horowitz45Energy, Operation
from accelsim.hardware.energy import constant, curve, prices

KINDS: tuple[Operation, ...] = get_args(Operation)
TABLE_BYTES = 1024


@dataclass(frozen=True)
class VectorPrices:
    """What the vector unit costs.

    ``operation``  energy of one of each kind, in the table's unit
    ``area_um2``   of all lanes; None if it is not known
    ``static_mw``  of their leakage
    ``notes``      what is derived or assumed, a sentence each
    """

    operation: Mapping[str, float]
    area_um2: float | None
    static_mw: float
    notes: tuple[str, ...]


def vector_prices(arch: Architecture) -> VectorPrices:
    """Prices of the architecture's vector unit; ``notes`` say what is derived or assumed."""
    table, bits = arch.energy, arch.bits.psum
    if isinstance(table, EyerissEnergy):
        one = constant("eyeriss", "mac").value
        area = arch.vector.lanes * constant("eyeriss", "mac_um2").value
        said = (
            "vector: an addition, a multiplication or a comparison taken to cost a MAC, "
            "a look-up the register file"
        )
        return VectorPrices(
            _kinds(one, one, constant("eyeriss", "rf").value, bits),
            area,
            0.0,
            (said, _derived(bits)),
        )
    if isinstance(table, Horowitz45Energy):
        add, multiply = (curve("horowitz45", f"{kind}_pj").at(bits) for kind in ("add", "mult"))
        look_up = curve("horowitz45", "access_pj").at(TABLE_BYTES) * bits / 64
        area = arch.vector.lanes * sum_in_order(
            curve("horowitz45", f"{kind}_um2").at(bits) for kind in ("add", "mult")
        )
        chip = prices(arch)
        # mW for each um2, as for the rest of the chip
        leakage = chip.static_mw / sum_in_order(chip.area_um2.values())
        return VectorPrices(
            _kinds(add, multiply, look_up, bits), area, leakage * area, (_derived(bits),)
        )
    return VectorPrices(
        {kind: table.vector.get(kind, table.mac) for kind in KINDS},
        table.area_um2.get("vector"),
        0.0,
        (),
    )


def _kinds(add: float, multiply: float, look_up: float, bits: int) -> dict[str, float]:
    exp = look_up + multiply + add
    kinds = {
        "add": add,
        "multiply": multiply,
        "compare": add,
        "divide": bits * add,
        "exp": exp,
        "sqrt": bits / 2 * add,
    }
    return kinds | {"power": 2 * exp + multiply}


def _derived(bits: int) -> str:
    return (
        f"vector: operations of {bits} bits; divide, sqrt, exp and power derived from additions, "
        "multiplications and look-ups"
    )
