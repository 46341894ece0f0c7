"""What a search proved, and what became of every mapping of the space.

Every mapping is counted once: evaluated, pruned by an argument (docs/mapper.md has the proofs), or
left.  So a certificate can be checked by counting the space, and a gap says how far the chosen
mapping may be from the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accelsim.base.display import Displayed

EQUAL = 1e-9  # relative; what float64 sums of products may be off by, with room


def gap_of(value: float, bound: float) -> float:
    """(value - bound) / value: how far a value may be from the best, 0 where it is proved."""
    return 0.0 if bound >= value * (1 - EQUAL) else (value - bound) / value


@dataclass(frozen=True)
class Certificate(Displayed):
    """``value`` is the objective of the chosen mapping in the analytic engine's energy and cycles;
    no mapping is below ``bound``.

    ``space`` = ``evaluated`` + the mappings ``pruned`` by each argument + ``left`` (not looked at
    when the search stopped). Where the tables give a lower bound of the cycles only, ``timed`` of
    the evaluated were worked out by the closed form too. ``gap`` is (value - bound) / value: 0
    where the best is proved, up to 1e-9 that float64 may be off by.  The cycles it is proved in are
    the closed form's; ``exact`` says whether the winner's are those of the timed event engine, and
    so the end of the one schedule. ``cycles`` gives the winner's by the closed form and, if it was
    asked, by the event engine; ``runners_up``, the winner first, both figures of all that were
    carried out.
    """

    objective: str
    tiles: str
    space: int
    evaluated: int
    timed: int
    pruned: Mapping[str, int]
    value: float
    bound: float
    seconds: float
    stopped: str | None = None  # limit, interrupted; None: ran to its end
    cycles: Mapping[str, int | float] = field(default_factory=dict)
    runners_up: tuple[Mapping[str, Any], ...] = ()
    rule: bool = (
        False  # the chosen mapping is the fixed rule's, and better than any the search found
    )
    exact: bool = True

    @property
    def gap(self) -> float:
        return gap_of(self.value, self.bound)

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
            "timed": self.timed,
            "pruned": dict(self.pruned),
            "left": self.left,
            "value": self.value,
            "bound": self.bound,
            "gap": self.gap,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "rule": self.rule,
            "exact": self.exact,
            "cycles": dict(self.cycles),
            "runners_up": [dict(r) for r in self.runners_up],
        }

    def __str__(self) -> str:
        pruned = ", ".join(f"{n:.3g} by {why}" for why, n in self.pruned.items() if n)
        verdict = (
            "proved"
            if self.proved
            else f"gap {self.gap:.3%}" + (f", stopped by {self.stopped}" if self.stopped else "")
        )
        timed = f", {self.timed:,} of them by the closed form" if self.timed else ""
        rule = "; the fixed rule has the best" if self.rule else ""
        about = "" if self.exact else "; in cycles near the event engine's"
        return (
            f"{self.objective} {self.value:.6g}: {verdict}; space {self.space:.4g}, "
            f"evaluated {self.evaluated:.4g}{timed}, pruned {pruned or 'none'}; "
            f"{self.seconds:.2f} s{rule}{about}"
        )
