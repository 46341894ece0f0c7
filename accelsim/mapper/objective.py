"""What is made small: energy, cycles, their product, DRAM traffic, or weighted products of these.

Every objective rises with each of its measures, which is all the search asks of it: the objective
of lower bounds is a lower bound.  (The front of energy and cycles is none of these; the search
knows it as no objective.)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.base.expression import ExpressionError, Grammar, tree

MEASURES = ("energy", "cycles", "dram")
NAMED = {"edp": {"energy": 1.0, "cycles": 1.0}}
_GRAMMAR = Grammar(infix=frozenset({"*", "^"}), brackets=False)


@dataclass(frozen=True)
class Objective:
    """The product of measures to their powers; ``text`` is how it was asked for."""

    text: str
    powers: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, text: str) -> Objective:
        """``energy``, ``cycles``, ``dram``, ``edp``, or a product such as ``energy*cycles^2``.
        Raises InputError.
        """
        return _parsed(text) if isinstance(text, str) else cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> Objective:
        try:
            factors = list(_factors(tree(text, _GRAMMAR)))
        except ExpressionError:
            raise _not_an_objective(text) from None
        powers: dict[str, float] = {}
        for name, power in factors:
            measures = NAMED.get(name, {name: 1.0})
            if not set(measures) <= set(MEASURES):
                raise _not_an_objective(text)
            if not 0 < power <= 16:
                raise InputError(
                    "a power must be above 0 and at most 16", key="objective", got=text
                )
            for m, p in measures.items():
                powers[m] = powers.get(m, 0.0) + p * power
        return cls(text, tuple(sorted(powers.items())))

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures it is a product of, in alphabetical order."""
        return tuple(m for m, _ in self.powers)

    def of(self, values: dict[str, Any]) -> Any:
        """The objective of measures (numbers or arrays); of lower bounds a lower bound."""
        total: Any = None
        for measure, power in self.powers:
            value = values[measure] if power == 1 else np.power(values[measure], power)
            total = value if total is None else total * value
        return total


@lru_cache(maxsize=1 << 6)
def _parsed(text: str) -> Objective:
    """An objective that is asked for again and again: once for every point of a sweep."""
    return Objective._parse(text)


def _factors(product: ast.expr) -> Iterator[tuple[str, float]]:
    """The names of a product and their powers, from the left.  Raises ExpressionError for what is
    no product of names to powers that are numbers.
    """
    match product:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from _factors(left)
            yield from _factors(right)
        case ast.BinOp(
            left=ast.Name(id=name), op=ast.Pow(), right=ast.Constant(value=int() | float() as power)
        ):
            yield name, float(power)
        case ast.Name(id=name):
            yield name, 1.0
        case _:
            raise ExpressionError("no product of powers")


def _not_an_objective(text: str) -> InputError:
    return InputError(
        "must be energy, cycles, dram, edp, or a product of these with powers such as"
        " energy*cycles^2",
        key="objective",
        got=text,
        choices=(*MEASURES, *NAMED),
    )
