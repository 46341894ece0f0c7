"""What a search proved, and what became of every mapping of the space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Certificate:
    """``value`` is the objective of the best mapping as the search measures it, ``bound`` no mapping of the space is below.

    ``space`` = ``evaluated`` + the mappings ``pruned`` by each argument + ``left`` (not looked at when the search stopped).
    ``gap`` is (value - bound) / value: 0 where the best is proved, up to 1e-9 that float64 may be off by.
    ``cycles`` gives the winner's cycles as the search bounds them, by the closed form and, if it was asked, by the event
    engine; ``exact_cycles`` says whether the first two are the same by construction.  Where they are not, ``gap`` is about
    the search's cycles, ``closed_gap`` about ``closed_value``, the objective with the closed form's: how far from the best
    the chosen mapping can be at most.
    """

    objective: str
    tiles: str
    space: int
    evaluated: int
    pruned: Mapping[str, int]
    value: float
    bound: float
    seconds: float
    stopped: str | None = None  # limit, interrupted; None: ran to its end
    exact_cycles: bool = True
    cycles: Mapping[str, int | float] = field(default_factory=dict)
    closed_value: float | None = None
    runners_up: tuple[Mapping[str, Any], ...] = ()

    @property
    def gap(self) -> float:
        return max(0.0, (self.value - self.bound) / self.value) if self.bound < self.value * (1 - 1e-9) else 0.0

    @property
    def closed_gap(self) -> float:
        """(closed_value - bound) / closed_value; the same as ``gap`` where the search's cycles are exact."""
        if self.closed_value is None or self.exact_cycles:
            return self.gap
        return max(0.0, 1 - self.bound / self.closed_value) if self.bound < self.closed_value * (1 - 1e-9) else 0.0

    @property
    def left(self) -> int:
        return self.space - self.evaluated - sum(self.pruned.values())

    @property
    def proved(self) -> bool:
        return self.gap == 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the names above."""
        return {
            "objective": self.objective,
            "tiles": self.tiles,
            "space": self.space,
            "evaluated": self.evaluated,
            "pruned": dict(self.pruned),
            "left": self.left,
            "value": self.value,
            "bound": self.bound,
            "gap": self.gap,
            "closed_value": self.closed_value,
            "closed_gap": self.closed_gap,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "exact_cycles": self.exact_cycles,
            "cycles": dict(self.cycles),
            "runners_up": [dict(r) for r in self.runners_up],
        }

    def __str__(self) -> str:
        pruned = ", ".join(f"{n:.3g} by {why}" for why, n in self.pruned.items() if n)
        verdict = "proved" if self.proved else f"gap {self.gap:.3%}" + (f", stopped by {self.stopped}" if self.stopped else "")
        if self.closed_gap > self.gap:
            verdict += f", at most {self.closed_gap:.2%} by the closed form's cycles"
        return (
            f"{self.objective} {self.value:.6g}: {verdict}; space {self.space:.4g}, evaluated {self.evaluated:.4g}, "
            f"pruned {pruned or 'none'}; {self.seconds:.2f} s"
        )
