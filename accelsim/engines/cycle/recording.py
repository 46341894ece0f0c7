"""From the registers of an array to the frames of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from accelsim.engines.cycle.addresses import NO_WORD, Bools, Ints, address_of, digits, numbered
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.line_pes import (
    AWAY,
    BUBBLE,
    HOPS,
    LOAD,
    ROWS,
    USED,
    HeldOperandPes,
)
from accelsim.engines.cycle.lines import Lines
from accelsim.engines.cycle.systolic import HeldOperandArray, HeldOutputsArray, by_step
from accelsim.engines.cycle.trace import EMPTY, Crossing, RegisterPlace, Trace
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary
from accelsim.workload.arithmetic import wrap

Moves = Callable[[], Mapping[Boundary, Moved]]


class _LineView:
    """What the registers of a systolic array hold after an edge.

    Values are read off the registers, and which of them hold anything off their tags.  Which word a
    moving register holds is told by the fold that is passing: at its edge e PE (i, j) is at step
    e - i - j of it.
    """

    def __init__(self, array: HeldOperandArray | HeldOutputsArray) -> None:
        self.array = array
        self.place = np.indices((array.rows, array.cols))

    def grid(self, plane: Ints) -> Ints:
        """A flat plane as [rows, columns], without its ports."""
        return plane.reshape(-1, 1 + self.array.cols)[-self.array.rows :, 1:]

    def look(self) -> tuple[dict[str, tuple[Ints, Ints]], Bools, Ints]:
        """Values and words by kind of register, PEs that multiplied, and at what: fold << 32 |
        step.
        """
        array, p = self.array, self.array.pes
        held = isinstance(p, HeldOperandPes)
        side, side_tag = (
            (p.sums, p.sums_tag) if isinstance(p, HeldOperandPes) else (p.falling, p.falling_tag)
        )
        tags = array.shown(p.moving_tag, 0), array.shown(side_tag, 1)
        active = tags[0] & tags[1] & USED > 0
        words, slots = np.full((2, *active.shape), BUBBLE), np.full(active.shape, EMPTY)
        for number, start, task in array.flight:
            step = array.edge - self.place.sum(axis=0) - start.operand
            passing = (step >= 0) & (step < task.steps)
            slots[active & passing] = (number << 32) + step[active & passing]
            other = task.sums if task.cols is None else task.cols
            for side_of, moving in enumerate((task.rows.words, other.words)):
                line = self.place[side_of]
                mine = passing & (tags[side_of] != 0) & (line < moving.shape[1])
                words[side_of][mine] = by_step(moving)[step[mine], line[mine]]
        planes = array.shown(p.moving, 0), array.shown(side, 1)
        values = [np.where(tag != 0, x, 0) for x, tag in zip(planes, tags, strict=True)]
        shown = {"rows": (values[0], words[0]), "sums" if held else "cols": (values[1], words[1])}
        return shown | self._holding(active), active, slots

    def _holding(self, active: Bools) -> dict[str, tuple[Ints, Ints]]:
        """Registers that hold."""
        array, p, (row, _) = self.array, self.array.pes, self.place
        if isinstance(array, HeldOperandArray) and isinstance(p, HeldOperandPes):
            tag = self.grid(p.shadow_tag)
            waits = _named(array.held_words, tag >> LOAD, row + ((tag & AWAY) >> HOPS))
            held = _named(array.held_words, self.grid(p.held_load), row) if array.two else waits
            kinds = {"held": (self.grid(p.held), held), "shadow": (self.grid(p.shadow), waits)}
        else:
            assert not isinstance(p, HeldOperandPes)
            adding = (self.grid(p.sums_tag) != 0) | active
            names, out = self.grid(p.name), self.grid(p.out_name)
            leaves, names = self.grid(p.out_tag) != 0, np.where(adding, names, out)
            there = adding | (leaves & (p.out is p.sums))
            sums, shift = (_named(array.words, x >> 32, x & ROWS) for x in (names, out))
            kinds = {
                "sums": (self.grid(p.sums), np.where(there, sums, BUBBLE)),
                "shift": (self.grid(p.out), np.where(leaves, shift, BUBBLE)),
            }
        return {k: (np.where(words != BUBBLE, x, 0), words) for k, (x, words) in kinds.items()}

    def shifted_in(self) -> list[tuple[int, int, int]]:
        """Column, word and value of every held word that enters at this edge."""
        entering = []
        for _, start, task in self.array.flight:
            r, c = (0, 0) if task.held is None else task.held.words.shape
            first = start.preload + (self.array.rows if self.array.full else r) - r
            for j in range(c):
                row, held = r - 1 - (self.array.edge - first - j), task.held
                if held is not None and 0 <= row < r:
                    entering.append((j, int(held.words[row, j]), int(held.values[row, j])))
        return entering

    def left(self) -> list[tuple[int, int, int]]:
        """Column, word and value of every result latched at this edge."""
        latest, words = self.array.latest, self.array.words
        return sorted((j, int(words[n][i, j]), value) for n, i, j, value in latest)


def _named(words: Mapping[int, Ints], which: Ints, row: Ints) -> Ints:
    """Words of registers [rows, columns]: of which matrix, and in what row of it."""
    known = np.full(which.shape, BUBBLE)
    for k, matrix in words.items():
        inside = (row < matrix.shape[0]) & (np.arange(which.shape[1]) < matrix.shape[1])
        i, j = np.nonzero((which == k) & inside)
        known[i, j] = matrix[row[i, j], j]
    return known


def record_lines(
    array: HeldOperandArray | HeldOutputsArray, lines: Lines, trace: Trace, moves: Moves
) -> None:
    """Let a trace watch a systolic array.

    Planes are called by their tensor, and the registers that are only on the way (``shadow``,
    ``shift``) by their own name.
    """
    nest, size, view = lines.nest, lines.nest.arch.array, _LineView(array)
    tensors = {"rows": lines.along_rows, "sums": lines.acc}
    if isinstance(array, HeldOutputsArray):
        tensors |= {"cols": lines.along_cols}
        tensors |= {"shift": lines.acc} if array.outputs == "register" else {}
    else:
        tensors |= {"held": lines.held} | ({"shadow": lines.held} if array.two else {})
    label = {k: k if k in ("shadow", "shift") else t for k, t in tensors.items()}
    place = RegisterPlace(size.rows, size.cols, lines.turned)
    trace.open(nest, place, {label[k]: t for k, t in tensors.items()}, moves)
    row, col = ("column", "row") if lines.turned else ("row", "column")
    psum = nest.arch.number("psum")

    def see() -> None:
        edge = array.edge
        if not trace.wants(edge):
            return
        planes, active, slots = view.look()
        sides = [(tensors["rows"], row, [x[:, 0].tolist() for x in planes["rows"]])]
        if "cols" in planes:
            sides.append((tensors["cols"], col, [x[0].tolist() for x in planes["cols"]]))
        crossed: list[tuple[str, str, str, int, int]] = [
            ("in", tensor, f"{side} {k}", word, value)
            for tensor, side, (values, words) in sides
            for k, (word, value) in enumerate(zip(words, values, strict=True))
        ]
        held, acc = lines.held, lines.acc
        crossed += [("in", held, f"{col} {j}", word, x) for j, word, x in view.shifted_in()]
        crossed += [
            ("out", acc, f"{col} {j}", word, int(wrap(np.array(x), psum)))
            for j, word, x in view.left()
        ]
        crossings = [Crossing(edge, *x, 1) for x in crossed if x[3] >= 0]
        trace.frame(edge, {label[k]: planes[k] for k in tensors}, active, slots, crossings, {})

    array.watch = see


class _Scratchpads:
    """Which words the PEs of a plain array keep, from edge to edge: of every word the number of
    places that have it, of which only those places are counted anew that have changed.
    """

    def __init__(self, array: BusArray) -> None:
        self.array, problem = array, array.nest.problem
        self.names = {t: np.full_like(x.names, NO_WORD) for t, x in array.pads.items()}
        self.places = {t: np.zeros(prod(problem.shape(t)), np.int64) for t in array.pads}

    def changes(self) -> dict[str, Ints]:
        """Words that the first PE has taken, or the last has let go, since this was last asked."""
        return {t: self._changes(t) for t in self.names}

    def _changes(self, t: str) -> Ints:
        pads, places = self.array.pads[t], self.places[t]
        # a sum is there once something has been added to it
        names = (
            np.where(pads.fresh == 1, NO_WORD, pads.names) if t == self.array.acc else pads.names
        )
        other = names != self.names[t]
        gone, come = (
            address_of(self.array.nest, t, self.array.pe, x[other]) for x in (self.names[t], names)
        )
        self.names[t][other] = names[other]
        gone, come = gone[gone != NO_WORD], come[come != NO_WORD]
        words = np.unique(np.concatenate([gone, come]))
        before = places[words] > 0
        np.subtract.at(places, gone, 1)
        np.add.at(places, come, 1)
        return np.asarray(words[(places[words] > 0) != before])


def record_buses(array: BusArray, trace: Trace, moves: Moves) -> None:
    """Let a trace watch a plain array."""
    nest, acc = array.nest, array.acc
    axes = [[i for i in array.spatial if nest.loops[i].axis == axis] for axis in ("row", "col")]
    row, col = (numbered(nest, loops, array.where, array.positions) for loops in axes)
    rows, cols = (
        max((len(next(iter(digits(nest, x).values()))) for x in [loops] if x), default=1)
        for loops in axes
    )
    tensors = {t: t for t in array.traffic}
    if array.chains is not None:
        tensors |= {"down": acc, "across": acc}
    trace.open(nest, RegisterPlace(rows, cols), tensors, moves)
    level = array.outer[acc].child

    nothing, pads = np.zeros(array.positions, np.int64), _Scratchpads(array)

    def plane(values: Ints, words: Ints, there: Bools) -> tuple[Ints, Ints]:
        frame = np.zeros((2, rows, cols), np.int64)
        frame[1] = BUBBLE
        frame[0, row, col], frame[1, row, col] = values * there, np.where(there, words, BUBBLE)
        return frame[0], frame[1]

    def see() -> None:
        if not trace.wants(array.edge):
            return
        frames, works, slots = (
            dict.fromkeys(tensors, plane(nothing, nothing, nothing > 0)),
            nothing > 0,
            nothing,
        )
        if array.now is not None:
            step, k, operands = array.now
            works = step.exists[step.slots[k]]
            slots = nothing + (step.number << 32) + k
            for t, values in zip(nest.problem.operands, operands, strict=True):
                words = address_of(nest, t, nest.levels, step.words[t].names[step.slots[k]])
                frames[t] = plane(values, words, works)
        where, names, sums = array.added
        added = np.stack([nothing] * 3)
        added[:, where] = sums, address_of(nest, acc, nest.levels, names), np.ones_like(names)
        frames[acc] = plane(added[0], added[1], added[2] > 0)
        for name, (values, names, there) in array.chains.look().items() if array.chains else ():
            frames[name] = plane(values, address_of(nest, acc, level, names), there)
        number = plane(nothing, slots, works)[1]
        active = number != BUBBLE
        slots = np.where(active, number, EMPTY)
        crossings = _on_buses(array)
        trace.frame(array.edge, frames, active, slots, crossings, pads.changes())

    array.watch = see


def _on_buses(array: BusArray) -> list[Crossing]:
    """Every word on a bus once, with how many take it (or give to it)."""
    crossings = []
    for way, tensor, bus, names, values in array.bus:
        b = array.outer[tensor]
        level = array.nest.levels if b.child > array.pe else array.pe
        words = address_of(array.nest, tensor, level, names)
        whole: dict[tuple[int, int], list[int]] = {}
        for k, word, value in zip(bus.tolist(), words.tolist(), values.tolist(), strict=True):
            if word >= 0:
                entry = whole.setdefault((k, word), [0, 0])
                entry[0] = entry[0] + value if way == "out" else value
                entry[1] += 1
        for (k, word), (value, pes) in whole.items():
            shown = (
                int(wrap(np.array(value), array.nest.arch.number("psum")))
                if way == "out"
                else value
            )
            crossings.append(Crossing(array.edge, way, tensor, f"bus {k}", word, shown, pes))
    return crossings
