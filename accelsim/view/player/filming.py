"""A run of one layer on the cycle engine as a ``Film``: the engine's trace, arranged for the
player.

Nothing is worked out anew: values, words and activity are the trace's, counts those of its
counters, columns those of ``engines.moved``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import analytic, moved
from accelsim.engines.cycle.addresses import digits
from accelsim.engines.cycle.clocking import run
from accelsim.engines.cycle.lines import Lines
from accelsim.engines.cycle.trace import Crossing, Planes, RegisterPlace, Trace
from accelsim.engines.moved import Moved
from accelsim.mapping.loops_text import show
from accelsim.mapping.nest import Boundary, Nest
from accelsim.view.player.buffers import Buffers
from accelsim.view.player.chapters import chapters, opening
from accelsim.view.player.film import (
    FILL,
    MAC,
    MOST_CELLS,
    NOTHING,
    OUT,
    TENSORS,
    Bools,
    Film,
    FilmBuses,
    FilmKept,
    FilmPlane,
    Ints,
    NestLine,
    Positions,
    Presence,
    Side,
    Way,
    margin,
)


class _WindowFull(Exception):  # noqa: N818
    """The rest of the run is not wanted."""


class _Window(Trace):
    """A trace that ends the run after its last edge, and counts from the run's first edge on what
    only edges tell.

    ``macs`` and ``results`` (words that left) up to each edge of the window; ``added`` of them:
    products added to a sum that came from the PE above.  ``settings`` by fold: where the outer
    loops stand, and which inner settings its steps are.  ``buffers`` are what the levels outside
    the PEs hold; ``waiting``: words of the PEs' scratchpads that changed before the window.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.settings: dict[int, tuple[dict[int, int], Ints]] = {}
        self.macs: list[int] = []
        self.results: list[int] = []
        self.added: list[int] = []
        self.gone: list[list[Crossing]] = []
        self.waiting: dict[str, set[int]] = {}
        self._so_far = [0, 0, 0]

    def open(
        self,
        nest: Nest,
        place: RegisterPlace,
        tensors: Mapping[str, str],
        moves: Callable[[], Mapping[Boundary, Moved]],
    ) -> None:
        super().open(nest, place, tensors, moves)
        self.buffers = Buffers(nest)

    def wants(self, edge: int) -> bool:
        if edge > self.last:
            raise _WindowFull
        return True

    def fold(self, number: int, at: Mapping[int, int], inside: Ints) -> None:
        super().fold(number, at, inside)
        self.settings[number] = dict(at), inside

    def frame(
        self, edge: int, planes: Planes, active: Bools, slots: Ints, crossings: list[Crossing],
        kept: Mapping[str, Ints],
    ) -> None:  # fmt: skip
        for tensor, words in kept.items():
            self.waiting.setdefault(tensor, set()).symmetric_difference_update(words.tolist())
        sums = planes[self.nest.problem.accumulated][1]
        out = [c for c in crossings if c.way == "out" and c.word >= 0]
        self._so_far[0] += int(np.count_nonzero(active))
        self._so_far[1] += len(out)
        self._so_far[2] += int(np.count_nonzero(active[1:] & (sums[1:] >= 0)))
        self.buffers.arrive([c.word for c in out], self.settings)
        if edge < self.first:
            return
        self.buffers.look(self.settings)
        now = {t: np.array(sorted(words), np.int64) for t, words in self.waiting.items()}
        self.waiting.clear()
        super().frame(edge, planes, active, slots, crossings, now)
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
    node: str = "",
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
    film = _Arranged(nest, trace).film(title, facts, max(cycles, int(trace.edges[-1])))
    return replace(film, node=node)


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
        planes, state, positions = self._planes(), self._state(), self._positions()
        word = "pass" if self.lines is None else "fold"
        problem, window = self.trace.nest.problem, self.trace.nest.window
        origins: dict[str, tuple[int, ...]] = (
            {} if window is None else {"ifmap": (0, 0, 0, -window[0][0], -window[1][0])}
        )
        shapes: dict[str, tuple[int, ...]] = {t: problem.shape(t) for t in TENSORS}
        extents = {"ifmap": self.nest.problem.shape("ifmap")} if origins else {}
        return Film(
            title=title,
            facts=facts,
            rows=self.rows,
            cols=self.cols,
            first=int(self.trace.edges[0]),
            cycles=cycles,
            planes=planes,
            state=state,
            nest=_nest_lines(self.nest),
            positions=positions,
            held=self.trace.buffers.films(),
            kept=self._kept(),
            counts={"macs": np.array(self.trace.macs)}
            | {k: v for k, v in columns.items() if predicted.get(k)},
            totals={"macs": self.nest.problem.macs}
            | {k: int(v) for k, v in predicted.items() if v},
            buses=self._buses(),
            chapters=chapters(state, planes, positions.fold, self._numbers(), word),
            opens=opening(state, planes, margin(shapes, origins, extents)),
            lag=0 if self.lines is not None else self.nest.arch.array.pipeline_stages - 1,
            shapes=shapes,
            origins=origins,
            extents=extents,
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
            ways: dict[str, Way] = {"down": "down", "across": "right"}
            return label, ways.get(name, "stays"), None, None
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

    def _numbers(self) -> Ints:
        """The folds that are worked on in the window, as the run counts them."""
        slots = self.trace.slots
        return np.unique(slots[slots >= 0] >> 32)

    def _positions(self) -> Positions:
        nest, trace = self.nest, self.trace
        work, numbers = trace.slots >= 0, self._numbers()
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

    def _buses(self) -> FilmBuses:
        """What is on the buses of a plain array; lines show what enters in their registers."""
        kept = [] if self.lines is not None else self.trace.edges.tolist()
        by_frame = [[c for c in self.trace.crossings(e) if c.word >= 0] for e in kept]
        flat = [c for frame in by_frame for c in frame]
        starts = np.zeros(len(self.trace.edges) + 1, np.int64)
        starts[1 : len(by_frame) + 1] = np.cumsum([len(f) for f in by_frame])
        return FilmBuses(
            starts,
            np.array([c.way == "in" for c in flat], np.int64),
            np.array([TENSORS.index(c.tensor) for c in flat], np.int64),
            np.array([c.word for c in flat], np.int64),
            np.array([c.pes for c in flat], np.int64),
        )

    def _kept(self) -> tuple[FilmKept, ...]:
        """What the PEs' own memories keep, of every tensor that they keep."""
        changes, level = self.trace.changes, self.nest.arch.level_names[self.nest.levels - 1]
        kept = [t for t in TENSORS if any(len(c.get(t, ())) for c in changes)]
        return tuple(FilmKept(level, t, Presence.of([c[t] for c in changes])) for t in kept)

    def _counts(self) -> dict[str, Ints]:
        """The contract's columns at every edge.

        Arrivals are counted edge by edge.  Where sums are added on their way, an addition
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
            added = np.minimum.accumulate((m.drained - m.arrived)[::-1])[::-1]
            m.arrived = self._arrived(np.array(m.arrived))
            m.drained = m.arrived + added
        columns = moved.columns(self.trace.nest, at)
        return {k: np.broadcast_to(np.asarray(v, np.int64), (frames,)) for k, v in columns.items()}

    def _arrived(self, counted: Ints) -> Ints:
        """Sums that have left a plain array, edge by edge: the engine books a pass's together, once
        the last of them is out, so no more are taken than it books next.
        """
        jumps = np.flatnonzero(np.diff(counted)) + 1
        booked = np.full(len(counted), np.iinfo(np.int64).max)
        for start, end in zip((0, *jumps.tolist()), jumps.tolist(), strict=False):
            booked[start:end] = counted[end]
        left = np.minimum(np.array(self.trace.results), booked)
        return np.asarray(np.maximum.accumulate(np.maximum(counted, left)))


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
    """The nest as it is shown elsewhere, every loop with its number; short enough for a line each:
    without bytes, without the level that the line above a loop names, tensors by their letter, and
    no index that is always 0.
    """
    lines, loop = [], 0
    single = "".join(d.lower() for d in "NG" if nest.problem.size[d] == 1)
    for text in show(nest).splitlines():
        short = re.sub(r" words \(\d+ bytes\)|  \(\w+\)$", "", text)
        if "[" in text:
            short = re.sub(r"(weight|ifmap|ofmap)\[", lambda m: m[1][0] + "[", text)
            short = re.sub(f"(?<=[\\[,])[{single}],", "", short) if single else short
        if text.strip().startswith(("for ", "parallel-for ")):
            lines.append(NestLine(short, loop))
            loop += 1
        else:
            lines.append(NestLine(short))
    return tuple(lines)
