"""A run of one layer on the cycle engine as a ``Film``: the engine's trace, arranged for the
player.

Nothing is worked out anew: values, words and activity are the trace's, counts those of its
counters, columns those of ``engines.moved``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import analytic, moved
from accelsim.engines.cycle.addresses import LevelTiles, digits
from accelsim.engines.cycle.clocking import run
from accelsim.engines.cycle.lines import Lines
from accelsim.engines.cycle.trace import Crossing, Planes, Trace
from accelsim.engines.moved import Moved
from accelsim.mapping.loops_text import show
from accelsim.mapping.nest import Nest
from accelsim.view.player.film import (
    FILL,
    MAC,
    NOTHING,
    OUT,
    Film,
    FilmHeld,
    FilmPlane,
    Ints,
    NestLine,
    Positions,
    Side,
    Way,
)

MOST_CELLS = 2_000_000  # PEs times edges that a browser holds easily
Bools = npt.NDArray[np.bool_]


class _WindowFull(Exception):  # noqa: N818
    """The rest of the run is not wanted."""


class _Window(Trace):
    """A trace that ends the run after its last edge, and counts from the run's first edge on what
    only edges tell.

    ``macs`` and ``results`` (words that left) up to each edge of the window; ``added`` of them:
    products added to a sum that came from the PE above.  ``settings`` by fold: where the outer
    loops stand, and which inner settings its steps are.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.settings: dict[int, tuple[dict[int, int], Ints]] = {}
        self.macs: list[int] = []
        self.results: list[int] = []
        self.added: list[int] = []
        self.gone: list[list[Crossing]] = []
        self._so_far = [0, 0, 0]

    def wants(self, edge: int) -> bool:
        if edge > self.last:
            raise _WindowFull
        return True

    def fold(self, number: int, at: Mapping[int, int], inside: Ints) -> None:
        super().fold(number, at, inside)
        self.settings[number] = dict(at), inside

    def frame(
        self, edge: int, planes: Planes, active: Bools, slots: Ints, crossings: list[Crossing]
    ) -> None:
        sums = planes[self.nest.problem.accumulated][1]
        out = [c for c in crossings if c.way == "out" and c.word >= 0]
        self._so_far[0] += int(np.count_nonzero(active))
        self._so_far[1] += len(out)
        self._so_far[2] += int(np.count_nonzero(active[1:] & (sums[1:] >= 0)))
        if edge < self.first:
            return
        super().frame(edge, planes, active, slots, crossings)
        for series, value in zip((self.macs, self.results, self.added), self._so_far, strict=True):
            series.append(value)
        self.gone.append(out)


def record(
    nest: Nest,
    data: Mapping[str, npt.NDArray[Any]],
    *,
    title: str,
    facts: tuple[tuple[str, str], ...],
    cycles: int,
    first: int = 1,
    most: int = 2000,
) -> Film:
    """Run a layer and keep edges ``first`` to ``first + most - 1``; ``cycles`` is how long the
    array is predicted to take.

    The prediction is what is said of a run that is not followed to its end.  Fewer edges are kept
    of a very large array. Raises MappingError for what the cycle engine does not run, ValueError
    for a window that begins after the run.
    """
    late = ValueError(f"the run has cycles 1 to {cycles}, got a window that begins at {first}")
    if first > cycles:
        raise late
    trace = _Window(
        first,
        first - 1 + max(1, min(most, MOST_CELLS // (nest.arch.array.rows * nest.arch.array.cols))),
    )
    try:
        cycles = run(nest, data, trace=trace).array_cycles
    except _WindowFull:
        trace.close()
    if not len(trace.edges):
        raise late
    return _Arranged(nest, trace).film(title, facts, max(cycles, int(trace.edges[-1])))


class _Arranged:
    """A trace as the parts of a film.  ``nest`` is the layer's; the trace's own may have its
    padding as words.
    """

    def __init__(self, nest: Nest, trace: _Window) -> None:
        self.nest, self.trace = nest, trace
        self.lines = Lines(nest) if nest.arch.systolic else None
        self.acc = nest.problem.accumulated
        array = nest.arch.array
        self.rows, self.cols = (
            max(a, b) for a, b in zip((array.rows, array.cols), trace.active.shape[1:], strict=True)
        )

    def film(self, title: str, facts: tuple[tuple[str, str], ...], cycles: int) -> Film:
        predicted = moved.columns(self.nest, analytic.moves(self.nest))
        columns = self._counts()
        problem, window = self.trace.nest.problem, self.trace.nest.window
        origins: dict[str, tuple[int, ...]] = (
            {} if window is None else {"ifmap": (0, 0, 0, -window[0][0], -window[1][0])}
        )
        return Film(
            title=title,
            facts=facts,
            rows=self.rows,
            cols=self.cols,
            first=int(self.trace.edges[0]),
            cycles=cycles,
            planes=self._planes(),
            state=self._state(),
            nest=_nest_lines(self.nest),
            positions=self._positions(),
            held=self._held(),
            counts={"macs": np.array(self.trace.macs)}
            | {k: v for k, v in columns.items() if predicted.get(k)},
            totals={"macs": self.nest.problem.macs}
            | {k: int(v) for k, v in predicted.items() if v},
            shapes={t: problem.shape(t) for t in ("weight", "ifmap", "ofmap")},
            origins=origins,
        )

    def _whole_array(self, frames: Any, empty: int) -> Ints:
        """Frames of the PEs a nest uses as frames of all PEs, [frames, rows, cols]."""
        whole = np.full((len(frames), self.rows, self.cols), empty, np.int64)
        whole[:, : frames.shape[1], : frames.shape[2]] = frames
        return whole

    def _planes(self) -> tuple[FilmPlane, ...]:
        planes = []
        for name in self._order():
            plane = self.trace.planes[name]
            label, way, enters, leaves = self._kind(name)
            values, words = (
                self._whole_array(plane.values, 0),
                self._whole_array(plane.words, NOTHING),
            )
            planes.append(FilmPlane(label, plane.tensor, way, values, words, enters, leaves))
        return tuple(planes)

    def _order(self) -> list[str]:
        """Held words first, then what passes, then sums."""
        lines = self.lines
        first = [] if lines is None or lines.outputs_held else [lines.held, "shadow"]
        order = [
            *first,
            *(t for t in ("weight", "ifmap", "ofmap") if t not in (*first, self.acc)),
            self.acc,
            "shift",
            "down",
            "across",
        ]
        return [name for name in order if name in self.trace.planes]

    def _kind(self, name: str) -> tuple[str, Way, Side | None, Side | None]:
        """What a plane is called, where its words go, the sides they enter and leave by."""
        label = (
            "psum"
            if name == self.acc
            else {"shift": "leaving", "down": "sum down", "across": "sum across"}.get(name, name)
        )
        lines = self.lines
        if lines is None:
            return label, "stays", None, None
        right: Way = "down" if lines.turned else "right"
        down: Way = "right" if lines.turned else "down"
        left: Side = "top" if lines.turned else "left"
        top: Side = "left" if lines.turned else "top"
        bottom: Side = "right" if lines.turned else "bottom"
        if name == "shadow":
            return f"next {lines.held}", "stays", top, None
        if name == "shift":
            return label, down, None, bottom
        if name == lines.held:
            if not lines.outputs_held:
                return label, "stays", None if "shadow" in self.trace.planes else top, None
            return (
                label,
                "stays",
                None,
                bottom if self.nest.arch.array.outputs == "accumulators" else None,
            )
        if name == lines.along_rows:
            return label, right, left, None
        return (
            label,
            down,
            top if lines.outputs_held else None,
            None if lines.outputs_held else bottom,
        )

    def _state(self) -> Ints:
        """What each PE does, as bits."""
        trace, lines = self.trace, self.lines
        state = np.where(trace.active, MAC, 0)
        sums = trace.planes[self.acc].words
        if lines is not None:
            held = trace.planes["shadow" if "shadow" in trace.planes else lines.held].words
            if (
                lines.outputs_held
            ):  # a sum begins where a PE adds to a word it did not add to the edge before
                begins = trace.active.copy()
                begins[1:] &= (sums[1:] != sums[:-1]) | ~trace.active[:-1]
            else:
                begins = held >= -1
                begins[1:] &= held[1:] != held[:-1]
            begins[0] &= trace.edges[0] == 1
            state |= np.where(begins, FILL, 0)
        for k, gone in enumerate(trace.gone):
            if gone:
                state[k] |= np.where(self._leaves(sums[k], gone), OUT, 0)
        return self._whole_array(state, 0)

    def _leaves(self, sums: Ints, gone: list[Crossing]) -> Bools:
        """The PEs whose results leave at an edge: those that hold the words, or the array's last
        row where results move.
        """
        lines = self.lines
        moves = lines is not None and not (
            lines.outputs_held and self.nest.arch.array.outputs == "in_place"
        )
        if not moves:
            return np.isin(sums, [c.word for c in gone])
        leaving = np.zeros(sums.shape, bool)
        last = leaving[:, -1] if lines is not None and lines.turned else leaving[-1]
        last[[int(c.port.split()[-1]) for c in gone]] = True
        return leaving

    def _positions(self) -> Positions:
        nest, trace = self.nest, self.trace
        work = trace.slots >= 0
        numbers = np.unique(trace.slots[work] >> 32)
        outside = np.zeros((len(numbers), len(nest.loops)), np.int64)
        setting = np.full(trace.slots.shape, -1, np.int64)
        fold = np.full(trace.slots.shape, -1, np.int64)
        for k, number in enumerate(numbers.tolist()):
            at, inside = trace.settings[number]
            for i, position in at.items():
                outside[k, i] = position
            here = work & (trace.slots >> 32 == number)
            fold[here], setting[here] = k, inside[trace.slots[here] & 0xFFFFFFFF]
        pe = nest.levels - 1
        axes = {
            name: [i for i, x in enumerate(nest.loops) if x.axis == name] for name in ("row", "col")
        }
        within = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level == pe]
        return Positions(
            loops=tuple(x.dim.lower() for x in nest.loops),
            trips=tuple(x.trips for x in nest.loops),
            fold=self._whole_array(fold, -1),
            step=self._whole_array(setting, -1),
            outside=outside,
            row=_table(nest, axes["row"], self.rows),
            col=_table(nest, axes["col"], self.cols),
            inside=_table(nest, within, 1),
        )

    def _held(self) -> tuple[FilmHeld, ...]:
        """What the levels outside the PEs hold for the step the array is at."""
        nest, trace = self.trace.nest, self.trace
        folds = (
            (np.where(trace.slots >= 0, trace.slots >> 32, -1))
            .reshape(len(trace.edges), -1)
            .max(axis=1)
        )
        folds = np.maximum.accumulate(folds)
        held = []
        for tensor in ("weight", "ifmap", "ofmap"):
            for level in [k for k in nest.keepers(tensor) if 0 < k < nest.levels - 1]:
                name = nest.arch.level_names[level]
                spec, foot = nest.arch.levels[name], nest.footprint
                sizes = self._sizes(nest, tensor, level)
                words = np.array([sizes(int(f)) if f >= 0 else 0 for f in folds], np.int64)
                capacity = spec.partitions.get(tensor, spec.capacity_bytes)
                held.append(
                    FilmHeld(
                        name,
                        tensor,
                        words,
                        foot.tile_words(level, tensor),
                        foot.tile_bytes(level, tensor),
                        capacity,
                    )
                )
        return tuple(held)

    def _sizes(self, nest: Nest, tensor: str, level: int) -> Callable[[int], int]:
        """Words of the tile a level's first instance holds, by fold."""
        tiles = LevelTiles(nest, tensor, level)
        known: dict[int, int] = {}

        def size(fold: int) -> int:
            if fold not in known:
                at = self.trace.settings[fold][0]
                tile = tiles.at(
                    {i: at.get(i, 0) for i, x in enumerate(nest.loops) if x.level < level}
                )
                known[fold] = 0 if tile is None else len(tile)
            return known[fold]

        return size

    def _counts(self) -> dict[str, Ints]:
        """The contract's columns at every edge.

        Arrivals are counted edge by edge on lines.  Where sums are added on their way, an addition
        counts once the sum it is part of cannot but arrive with it.
        """
        trace, frames = self.trace, len(self.trace.edges)
        counted = trace.counters.to_numpy().reshape(frames, len(trace.boundaries), 5)
        at = {
            b: Moved(*(counted[:, k, i] for i in range(5))) for k, b in enumerate(trace.boundaries)
        }
        outer = next(
            b
            for b in self.nest.boundaries
            if b.tensor == self.acc and b.parent < self.nest.levels - 1 <= b.child
        )
        m = next(at[b] for b in at if str(b) == str(outer))
        if self.lines is not None:
            m.arrived = np.array(trace.results)
            m.drained = m.arrived if self.lines.outputs_held else m.arrived + np.array(trace.added)
        else:
            m.drained = m.arrived + np.minimum.accumulate((m.drained - m.arrived)[::-1])[::-1]
        columns = moved.columns(self.trace.nest, at)
        return {k: np.broadcast_to(np.asarray(v, np.int64), (frames,)) for k, v in columns.items()}


def _table(nest: Nest, loops: list[int], least: int) -> Ints:
    """Positions of some loops for every setting of them, [settings, loops]; at least so many
    settings.
    """
    at = digits(nest, loops)
    size = len(next(iter(at.values()))) if at else 1
    table = np.zeros((max(size, least), len(nest.loops)), np.int64)
    for i, positions in at.items():
        table[:size, i] = positions
    return table


def _nest_lines(nest: Nest) -> tuple[NestLine, ...]:
    """The nest as it is shown elsewhere, every loop with its number."""
    lines, loop = [], 0
    for text in show(nest).splitlines():
        if text.strip().startswith(("for ", "parallel-for ")):
            lines.append(NestLine(text, loop))
            loop += 1
        else:
            lines.append(NestLine(text))
    return tuple(lines)
