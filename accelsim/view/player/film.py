"""What the player shows: the registers of every PE edge by edge, and beside them the nest, the
levels and the counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Way = Literal["stays", "right", "down"]
Side = Literal["left", "top", "bottom", "right"]

PADDING = -1  # in place of a word's address: a zero that is nowhere stored
NOTHING = -2  # the register is empty
MAC, FILL, OUT = (
    1,
    2,
    4,
)  # bits of ``Film.state``: multiplies; latched a word that will be held; a result leaves it


@dataclass(frozen=True, eq=False)
class FilmPlane:
    """One register of every PE, frame by frame: values and addresses of the words in it, both
    (frame, row, column).

    ``way`` is where its words go at an edge; ``enters`` the side of the array it is fed from,
    ``leaves`` the side its words leave by.  ``label`` stands before the value: weight, ifmap, psum.
    """

    label: str
    tensor: str
    way: Way
    values: Ints
    words: Ints
    enters: Side | None = None
    leaves: Side | None = None


@dataclass(frozen=True)
class NestLine:
    """A line of the nest as ``accelsim show`` prints it; ``loop`` is its place in
    ``Positions.loops``.
    """

    text: str
    loop: int | None = None


@dataclass(frozen=True, eq=False)
class Positions:
    """Which iteration a PE is at: position of loop k = ``outside[fold][k] + row[i][k] + col[j][k] +
    inside[step][k]``.

    Every loop is counted in one of the four tables, the others have 0 there.  ``fold`` and ``step``
    (frame, row, column) are places in the tables, -1 where the PE works on nothing.
    """

    loops: tuple[str, ...]
    trips: tuple[int, ...]
    fold: Ints
    step: Ints
    outside: Ints
    row: Ints
    col: Ints
    inside: Ints


@dataclass(frozen=True, eq=False)
class FilmHeld:
    """How many words of a tensor a level holds, frame by frame, and how many bytes its largest tile
    has.
    """

    level: str
    tensor: str
    words: Ints
    tile_words: int
    tile_bytes: int
    capacity_bytes: int | None


@dataclass(frozen=True, eq=False)
class Film:
    """One run, or a window of it.

    Frame 0 shows the registers after edge ``first``.  ``cycles`` is the length of the whole run;
    ``whole`` says whether the last frame is its end.  ``counts`` are columns of the contract,
    (frame,) each, counted up to that edge; ``totals`` what they come to at the end.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    rows: int
    cols: int
    first: int
    cycles: int
    planes: tuple[FilmPlane, ...]
    state: Ints
    nest: tuple[NestLine, ...]
    positions: Positions
    held: tuple[FilmHeld, ...]
    counts: dict[str, Ints]
    totals: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    origins: dict[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # what to add to a word's index: padding that is stored

    @property
    def frames(self) -> int:
        """How many edges are shown."""
        return len(self.state)

    @property
    def last(self) -> int:
        """The edge of the last frame."""
        return self.first + self.frames - 1

    @property
    def whole(self) -> bool:
        """Whether the run ends with the last frame."""
        return self.last >= self.cycles
