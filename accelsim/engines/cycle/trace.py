"""What every PE held and did at every edge of a window, to be looked at or replayed; nothing has to
be worked out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.engines.cycle.addresses import NO_WORD, Bools, Ints, coordinates, digits
from accelsim.engines.cycle.line_pes import BUBBLE
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.arithmetic import wrap
from accelsim.workload.problem import DIMS, RANKS

if TYPE_CHECKING:
    import pandas as pd

Planes = Mapping[str, tuple[Ints, Ints]]  # values and words by what the registers hold

MOST_BYTES = 1 << 29  # of a window
EMPTY = -1  # the slot of a PE that rests
PRIMITIVES = ("taken", "read", "drained", "arrived", "updated")


@dataclass(frozen=True, eq=False)
class RegisterPlane:
    """One kind of register of every PE: ``values`` and ``words`` shaped (edges, rows, cols).

    A word is its flat address in ``tensor``, ``NO_WORD`` (-1) a padding zero nowhere stored,
    ``BUBBLE`` (-2) nothing: the value is then 0.  Sums are wrapped to psum width.
    """

    tensor: str
    values: npt.NDArray[Any]
    words: npt.NDArray[Any]

    @property
    def valid(self) -> Bools:
        """Where a register holds something."""
        return np.asarray(self.words != BUBBLE)


@dataclass(frozen=True)
class Crossing:
    """A word at the array's border at one edge: in or out, over which bus, port or link, to or from
    how many PEs.
    """

    edge: int
    way: str  # "in", "out"
    tensor: str
    port: str  # "row 3", "column 0", "bus 1"
    word: int
    value: int
    pes: int


@dataclass(frozen=True)
class RegisterPlace:
    """The array planes are shown on; ``turned``: the engine's planes have its columns for rows."""

    rows: int
    cols: int
    turned: bool = False


class _Frame(NamedTuple):
    """One edge, as it was taken down; ``moved`` [boundaries, primitives] up to it."""

    edge: int
    planes: Planes
    active: Bools
    slots: Ints
    crossings: list[Crossing]
    kept: Mapping[str, Ints]
    moved: Ints


class Trace:
    """Records the edges ``first`` to ``last`` of a run: ``run(nest, data, trace=Trace(1, 200))``.

    ``planes``: by name, what each register held after each edge (``RegisterPlane``).  Names are
    tensors; on systolic lines also ``shadow`` (the second weight register) or ``shift`` (results on
    their way out), on chains ``down`` and ``across``. ``active`` (edges, rows, cols): PEs that
    multiplied.  ``slots``: what they worked on, ``fold << 32 | step``, -1 none. ``edges``: the
    numbers of the edges there are.  ``crossings(edge)``: words at the ports, on buses and on their
    way out. ``kept(edge)``: words in the PEs' scratchpads, ``changes`` which came or went at every
    edge. ``at(edge)`` and ``pe(row, col)`` are tables; ``counters`` are cumulative and end at the
    run's totals.

    Raises ValueError for a window that is empty, or would take more than 512 MB of the array it is
    used on.
    """

    def __init__(self, first: int = 1, last: int = 1000) -> None:
        if not 1 <= first <= last:
            raise ValueError(
                f"a window goes from an edge of at least 1 to a later one, got {first} to {last}"
            )
        self.first, self.last = first, last
        self.planes: dict[str, RegisterPlane] = {}
        self._frames: list[_Frame] = []
        self._folds: dict[int, tuple[dict[int, int], Ints]] = {}

    # -- for the engine ----------------------------------------------------------------------------

    def open(
        self,
        nest: Nest,
        place: RegisterPlace,
        tensors: Mapping[str, str],
        moves: Callable[[], Mapping[Boundary, Moved]],
    ) -> None:
        """Begin: how planes lie, which tensor each shows, how to ask what has moved."""
        self.nest, self.place, self._moves, self._tensors = nest, place, moves, dict(tensors)
        self.boundaries = tuple(nest.boundaries)
        window = self.last - self.first + 1
        need = window * place.rows * place.cols * (16 * len(tensors) + 9)
        if need > MOST_BYTES:
            fits = max(1, MOST_BYTES * window // need)
            raise ValueError(
                f"a trace of {window} edges of {place.rows} x {place.cols} PEs takes {need} bytes; "
                f"at most {fits} edges fit"
            )

    def wants(self, edge: int) -> bool:
        return self.first <= edge <= self.last

    def fold(self, number: int, at: Mapping[int, int], inside: Ints) -> None:
        """Where the loops outside the PEs stand in a fold, and which settings of those inside its
        steps are.
        """
        self._folds[number] = dict(at), inside

    def frame(
        self, edge: int, planes: Planes, active: Bools, slots: Ints, crossings: list[Crossing],
        kept: Mapping[str, Ints],
    ) -> None:  # fmt: skip
        """Take down one edge.  ``kept``: words that have come into the PEs' scratchpads, or are in
        none of them any more, since the edge before.
        """
        frame = _Frame(edge, planes, active, slots, crossings, kept, self._snapshot())
        self._frames.append(frame)

    def close(self, cycles: int = 0) -> None:
        """The run is over.  What drained from the levels after its last edge belongs to that."""
        acc, number = self.nest.problem.accumulated, self.nest.arch.number("psum")
        frames, shape = self._frames, (0, self.place.rows, self.place.cols)
        for name, tensor in self._tensors.items() if frames else ():
            values, words = (self._turn([x.planes[name][k] for x in frames]) for k in (0, 1))
            values = wrap(values, number) if tensor == acc else values
            self.planes[name] = RegisterPlane(tensor, _compact(values), _compact(words))
        self.edges = np.array([x.edge for x in frames], np.int64)
        self.active = self._turn([x.active for x in frames]) if frames else np.zeros(shape, bool)
        self.slots = self._turn([x.slots for x in frames]) if frames else np.zeros(shape, np.int64)
        self.changes = [x.kept for x in frames]
        self.totals = self._snapshot()
        if frames and frames[-1].edge == cycles:
            frames[-1] = frames[-1]._replace(moved=self.totals)
        self._frames = [x._replace(planes={}) for x in frames]
        worked = set((np.unique(self.slots[self.slots != EMPTY]) >> 32).tolist())
        self._folds = {k: v for k, v in self._folds.items() if k in worked}

    def _snapshot(self) -> Ints:
        moves = self._moves()
        return np.array(
            [[getattr(moves[b], k) for k in PRIMITIVES] for b in self.boundaries], np.int64
        )

    def _turn(self, frames: Any) -> Any:
        return np.stack([x.T if self.place.turned else x for x in frames])

    # -- for the reader ----------------------------------------------------------------------------

    def index(self, tensor: str, word: int) -> dict[str, int]:
        """A word's name: its coordinates in its tensor, as W[G,M,C,R,S], I[N,G,C,H,W],
        O[N,G,M,E,F].

        Stored padding has an H or W outside the ifmap.  Raises ValueError for what is no word.
        """
        if word < 0:
            raise ValueError(f"{word} is no word of {tensor}")
        p = self.nest.problem
        at = np.unravel_index(word, p.shape(tensor))
        names = "NGCHW" if tensor == "ifmap" else [rank[0] for rank in RANKS[tensor]]
        coordinate = {d: int(x) for d, x in zip(names, at, strict=True)}
        if tensor == "ifmap" and self.nest.window is not None:
            coordinate["H"] -= self.nest.window[0][0]
            coordinate["W"] -= self.nest.window[1][0]
        return coordinate

    def crossings(self, edge: int) -> list[Crossing]:
        """Words that entered or left the array at an edge."""
        return list(self._frames[self._frame_of(edge)].crossings)

    def kept(self, edge: int) -> dict[str, Ints]:
        """Words in the scratchpads of a plain array's PEs after an edge, by tensor: addresses,
        sorted, each once however many PEs have it.  (Systolic lines keep words in the registers of
        ``planes``.)
        """
        changes = self.changes[: self._frame_of(edge) + 1]
        words = {}
        for t in changes[0]:
            word, times = np.unique(np.concatenate([c[t] for c in changes]), return_counts=True)
            words[t] = word[times % 2 == 1]
        return words

    def iterations(self, edge: int) -> dict[str, Ints]:
        """Where every PE works in the layer at an edge: the eight dimensions' indices, (rows,
        cols); -1 where it rests.
        """
        return self._iterations(self.slots[self._frame_of(edge)], self._places())

    def _iterations(self, slots: Ints, place: Mapping[int, Ints]) -> dict[str, Ints]:
        standing, works = np.maximum(self._standing(slots, place), 0), slots != EMPTY
        indices = {}
        for c in self.nest.chains:
            index: dict[int, Any] = {i: standing[i] for i in c.loops}
            for d, x in coordinates(c, self.nest.pieces(c, index)).items():
                indices[d] = np.where(works, x, -1)
        return {d: indices[d] for d in DIMS}

    def _standing(self, slots: Ints, place: Mapping[int, Ints]) -> Ints:
        """The position of every loop, [loops, as slots are shaped]; -1 where a PE rests.

        ``place``: of every spatial loop its position in each PE.
        """
        positions = np.full((len(self.nest.loops), *slots.shape), -1, np.int64)
        loops, pe = self.nest.loops, self.nest.levels - 1
        inner = [i for i, x in enumerate(loops) if not x.spatial and x.level == pe]
        for slot in np.unique(slots[slots != EMPTY]).tolist():
            here, (outside, inside) = slots == slot, self._folds[slot >> 32]
            k = inside[slot & 0xFFFFFFFF]
            for i, position in outside.items():
                positions[i][here] = position
            for i, within in digits(self.nest, inner).items():
                positions[i][here] = within[k]
            for i, where in place.items():
                positions[i][here] = where[here]
        return positions

    def loops(self, edge: int) -> dict[str, Ints]:
        """The position of every loop of the nest at an edge, by ``dim:tile:level``, (rows, cols);
        -1 where a PE rests.
        """
        names = self.nest.arch.level_names
        texts = [
            f"{x.dim}:{x.tile}:{names[x.level]}" + (f":{x.axis}" if x.spatial else "")
            for x in self.nest.loops
        ]
        standing = self._standing(self.slots[self._frame_of(edge)], self._places())
        return dict(zip(texts, standing, strict=True))

    def at(self, edge: int) -> pd.DataFrame:
        """One row a PE: whether it multiplied, value and word in every register, the indices it
        works on.
        """
        k = self._frame_of(edge)
        rows, cols = np.indices(self.active[k].shape)
        return self._table({"row": rows.ravel(), "col": cols.ravel()}, k, self._places())

    def pe(self, row: int, col: int) -> pd.DataFrame:
        """One row an edge of the window for one PE: the same columns as ``at``."""
        edges = len(self.edges)
        place = {i: np.broadcast_to(x[row, col], edges) for i, x in self._places().items()}
        return self._table({"edge": self.edges}, (slice(None), row, col), place)

    def _table(self, table: dict[str, Any], pick: Any, place: Mapping[int, Ints]) -> pd.DataFrame:
        """Some of the frames, one row each PE and edge."""
        import pandas as pd

        table["active"] = self.active[pick].ravel()
        for name, plane in self.planes.items():
            table[name], table[f"{name}_word"] = (
                plane.values[pick].ravel(),
                plane.words[pick].ravel(),
            )
        indices = self._iterations(self.slots[pick], place)
        return pd.DataFrame(table | {d: x.ravel() for d, x in indices.items()})

    @property
    def counters(self) -> pd.DataFrame:
        """Words over every boundary up to each edge, one row an edge; columns (boundary, what)."""
        import pandas as pd

        columns = pd.MultiIndex.from_product([[str(b) for b in self.boundaries], PRIMITIVES])
        rows = np.array([x.moved for x in self._frames], np.int64).reshape(-1, len(columns))
        return pd.DataFrame(rows, index=pd.Index(self.edges, name="edge"), columns=columns)

    def moved(self, edge: int) -> dict[Boundary, Moved]:
        """The same at one edge, as the engines' counts are given (``engines.counts.columns`` makes
        the contract's columns).
        """
        moved = self._frames[self._frame_of(edge)].moved.tolist()
        return {b: Moved(*row) for b, row in zip(self.boundaries, moved, strict=True)}

    def _frame_of(self, edge: int) -> int:
        k = edge - self.first
        if not 0 <= k < len(self._frames):
            have = f"{self.edges[0]} to {self.edges[-1]}" if self._frames else "none"
            raise ValueError(f"edge {edge} is not in the trace, which has {have}")
        return k

    def _places(self) -> dict[int, Ints]:
        """Of every spatial loop its position at each row and column."""
        nest, shape = self.nest, (self.place.rows, self.place.cols)
        positions: dict[int, Ints] = {}
        for axis, name in enumerate(("row", "col")):
            own = [i for i, x in enumerate(nest.loops) if x.axis == name]
            for i, v in digits(nest, own).items():
                line = np.zeros(shape[axis], np.int64)
                line[: len(v)] = v
                positions[i] = np.broadcast_to(line[:, None] if axis == 0 else line[None, :], shape)
        return positions


def _compact(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The narrowest of int32 and int64 that holds them."""
    small = np.iinfo(np.int32)
    return (
        values.astype(np.int32)
        if not values.size or (values.min() >= small.min and values.max() <= small.max)
        else values
    )


__all__ = ["BUBBLE", "NO_WORD", "Crossing", "Planes", "RegisterPlace", "RegisterPlane", "Trace"]
