"""What is made small: energy, cycles, their product, DRAM traffic, or weighted products of these.

Every objective rises with each of its measures, which is all the search asks of it: the objective
of lower bounds is a lower bound.  (The front of energy and cycles is none of these; the search
knows it as no objective.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.base.errors import InputError

MEASURES = ("energy", "cycles", "dram")
NAMED = {"edp": {"energy": 1.0, "cycles": 1.0}}


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
        powers: dict[str, float] = {}
        for factor in text.replace(" ", "").split("*"):
            written = re.fullmatch(r"([a-z]+)(?:\^([0-9.]+))?", factor)
            measures = NAMED.get(written[1], {written[1]: 1.0}) if written else {}
            if written is None or not set(measures) <= set(MEASURES):
                raise InputError(
                    "must be energy, cycles, dram, edp, or a product of these with powers such as "
                    "energy*cycles^2",
                    key="objective",
                    got=text,
                    choices=(*MEASURES, *NAMED),
                )
            try:
                power = float(written[2] or 1)
            except ValueError:
                power = 0.0
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
