"""How the loops address one tensor at one level: its ranks, and which of its coordinates are words.

A tensor has ranks.  A *plain* rank is one dimension: the loop's index is the word's coordinate.  A
*sliding* rank is an (output, filter) pair of the ifmap: E and R give its row, F and S its column,
``h = U*e + D*r - pad``.  Two things change what a word is from level to level, and both are told
here and nowhere else:

- stored padding: from the level on that the architecture names, the zeros around an ifmap are words
  like others, so its coordinates count from the corner of the padding (docs/design.md, "Padding");
- (k, x) pairs: under a fused loop a chunk of K = C,R,S and of X = N,E,F is no box of the ifmap, and
  what is held there are pairs of a k and an x, one word each.

``Skeleton.projection(tensor, level)`` makes one and keeps it; engines, footprints and pages ask it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from accelsim.hardware.architecture import Architecture
from accelsim.workload.problem import RANKS, Problem, Slide

# real rows and real columns, each [first, end) in coordinates of the padded ifmap
Window = tuple[tuple[int, int], tuple[int, int]]


class TensorRank(NamedTuple):
    """One rank: its dimension, or the two that slide over it and how they do."""

    dims: tuple[str, ...]
    slide: Slide | None


@dataclass(frozen=True)
class Projection:
    """One tensor at one level; ``level == levels`` is the MAC.

    ``stored_padding`` says that padding zeros are words here, ``pairs`` that words are (k, x)
    pairs.  ``window`` is given where the problem has its padding as words (``Nest.framed``) and
    this level has not: the rows and columns that are words here.
    """

    tensor: str
    level: int
    ranks: tuple[TensorRank, ...]
    stored_padding: bool
    pairs: bool
    window: Window | None

    def slide(self, dims: tuple[str, ...]) -> Slide:
        """The slide of the rank of these two dimensions, ("E", "R") or ("F", "S")."""
        slide = self.ranks[3 if dims[0] == "E" else 4].slide
        assert slide is not None, f"{self.tensor} does not slide over {','.join(dims)}"
        return slide


def project(
    problem: Problem,
    arch: Architecture,
    tensor: str,
    level: int,
    *,
    pairs: bool,
    window: Window | None,
) -> Projection:
    """The projection of a tensor at a level; ``window`` is the real part of a padded problem.

    Padding is stored of an operand only: an ifmap that is accumulated has no word for what falls
    outside it.
    """
    stored = tensor == "ifmap" and problem.accumulated != "ifmap" and arch.stores_padding(level)
    window = None if stored or tensor != "ifmap" else window
    return Projection(tensor, level, _ranks(problem, tensor, stored), stored, pairs, window)


@lru_cache(maxsize=1024)
def _ranks(problem: Problem, tensor: str, padded: bool) -> tuple[TensorRank, ...]:
    slide_of = problem.padded_slide if padded else problem.slide
    return tuple(
        TensorRank(dims, slide_of(dims) if len(dims) == 2 else None) for dims in RANKS[tensor]
    )


__all__ = ["Projection", "TensorRank", "Window", "project"]
