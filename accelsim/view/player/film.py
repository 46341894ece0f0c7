"""What the player shows: the registers of every PE edge by edge, and beside them the nest, the
levels and the counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.hardware.architecture import Tensor

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Shapes = Mapping[str, tuple[int, ...]]
Way = Literal["stays", "right", "down"]
Side = Literal["left", "top", "bottom", "right"]
TENSORS: tuple[Tensor, ...] = ("weight", "ifmap", "ofmap")  # in the order in which they are shown

PADDING = -1  # in place of a word's address: a zero that is nowhere stored
NOTHING = -2  # the register is empty
MOST_CELLS = 2_000_000  # PEs times edges that a browser holds easily
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
class Presence:
    """Which words are somewhere, frame by frame: those of frame t that ``words[starts[t]:starts[t +
    1]]`` names come if they were away, and are gone if they were there.
    """

    starts: Ints
    words: Ints

    @classmethod
    def of(cls, changes: Sequence[Ints]) -> Presence:
        """From the words that change in each frame."""
        starts = np.cumsum([0, *map(len, changes)])
        return cls(starts, np.concatenate([np.zeros(0, np.int64), *changes]))

    def at(self, frame: int) -> Ints:
        """The words that are there at a frame, sorted."""
        so_far = self.words[: self.starts[frame + 1]]
        words, times = np.unique(so_far, return_counts=True)
        return np.asarray(words[times % 2 == 1])


@dataclass(frozen=True, eq=False)
class FilmHeld:
    """What a level holds of a tensor, frame by frame, and how many bytes its largest tile has.

    ``words``      how many are in (frame,): operands that were moved in, sums that arrived
    ``low, high``  the box of indices they lie in, first and one after the last, (frame, rank of
                   the tensor); all 0 where there is nothing
    ``there``      which they are; None where every box is full, and so says it, and where more than
                   ``MOST_CELLS`` would have to be named
    """

    level: str
    tensor: str
    words: Ints
    low: Ints
    high: Ints
    tile_words: int
    tile_bytes: int
    capacity_bytes: int | None
    there: Presence | None = None


@dataclass(frozen=True, eq=False)
class FilmKept:
    """Words that wait in the PEs' own memories, the innermost level: each once, however many PEs
    have it.
    """

    level: str
    tensor: str
    there: Presence


@dataclass(frozen=True, eq=False)
class FilmBuses:
    """Words on the array's buses: those of frame t are ``starts[t]`` to ``starts[t + 1]``.

    ``inward`` is 1 for a word that comes and 0 for a sum that goes, ``tensor`` its place in
    ``TENSORS``, ``word`` its address, ``pes`` how many PEs latch it or add to it.
    """

    starts: Ints
    inward: Ints
    tensor: Ints
    word: Ints
    pes: Ints


@dataclass(frozen=True)
class Chapter:
    """A frame where something begins, what it is called, and a sentence about it."""

    frame: int
    name: str
    told: str


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
    buses: FilmBuses
    chapters: tuple[Chapter, ...]
    opens: int  # the frame a reader sees first
    lag: int  # edges from operands to the sum their product is in
    counts: dict[str, Ints]
    totals: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    origins: dict[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # what to add to a word's index, where padding is stored
    extents: dict[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # and the tensor's shape without it
    kept: tuple[FilmKept, ...] = ()
    node: str = ""  # whose run it is, in a network
    kind: str = "layer"  # layer, or the operator's type

    @property
    def margin(self) -> Bools | None:
        """Which addresses of the ifmap are stored padding; None where none is stored."""
        return margin(self.shapes, self.origins, self.extents)

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


def margin(shapes: Shapes, origins: Shapes, extents: Shapes) -> Bools | None:
    """Which addresses of the ifmap are stored padding; None where none is stored."""
    if "ifmap" not in origins:
        return None
    real = np.ones((), bool)
    for size, first, extent in zip(
        shapes["ifmap"], origins["ifmap"], extents["ifmap"], strict=True
    ):
        at = np.arange(size) + first
        real = real[..., None] & ((at >= 0) & (at < extent))
    return np.asarray(~real).ravel()
