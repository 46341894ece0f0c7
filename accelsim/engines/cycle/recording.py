"""From the registers of an array to the frames of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from accelsim.engines.cycle.addresses import NO_WORD, Bools, Ints, address_of, digits, numbered
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.line_pes import BUBBLE, USED
from accelsim.engines.cycle.lines import Lines
from accelsim.engines.cycle.systolic import Stream, SystolicArray
from accelsim.engines.cycle.trace import EMPTY, Crossing, RegisterPlace, Trace
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary
from accelsim.workload.arithmetic import wrap

Moves = Callable[[], Mapping[Boundary, Moved]]


SHOWN = 3  # what is added to words, so that an empty register's 0 tells of none


class _LineView:
    """What the registers of a systolic array hold after an edge, [rows, columns].

    Values and tags are read off the registers.  Which word is in a register and which step of which
    fold an operand is of are read off those of two twins, through which words and steps go in the
    place of values.
    """

    def __init__(self, array: SystolicArray) -> None:
        self.array = array
        self.words = array.twin(lambda x, _: x._replace(values=x.words.astype(np.int64) + SHOWN))
        self.steps = array.twin(_steps)
        self.landed = array.sums.landed.copy()

    def _grid(self, plane: Ints) -> Ints:
        """A flat plane without its ports."""
        return plane.reshape(-1, 1 + self.array.cols)[-self.array.rows :, 1:]

    def look(self) -> tuple[dict[str, tuple[Ints, Ints]], Bools, Ints]:
        """Values and words by kind of register, PEs that multiplied, and at what: fold << 32 |
        step.
        """
        p, w = self.array.pes, self.words.pes
        outputs = self.array.outputs_held
        names = ("rows", "cols", "sums", "shift") if outputs else ("rows", "sums", "held", "shadow")
        planes = "moving", "falling", *(("sums", "out") if outputs else ("held", "shadow"))
        both = [[getattr(x, plane) for x in (p, w)] for plane in planes]
        both[:2] = [
            [self.array.shown(both[k][0], k), self.words.shown(both[k][1], k)] for k in (0, 1)
        ]
        both[2:] = [[self._grid(x) for x in plane] for plane in both[2:]]
        tags = [self.array.shown(x, k) for k, x in enumerate((p.moving_tag, p.falling_tag))]
        active = tags[0] & tags[1] & USED > 0
        there = [tags[0] != 0, tags[1] != 0, np.ones_like(active), np.ones_like(active)]
        if outputs:
            there[3] = self._grid(p.out_tag) != 0
            there[2] = (self._grid(p.sums_tag) != 0) | active | (there[3] & (p.out is p.sums))
        shown = {
            name: _named(values, words, here)
            for name, (values, words), here in zip(names, both, there, strict=True)
        }
        return shown, active, self.steps.shown(self.steps.pes.moving, 0) - SHOWN

    def shifted_in(self) -> list[tuple[int, int, int]]:
        """Column, word and value of every held word that enters at this edge."""
        p, w, ports = self.array.pes, self.words.pes, slice(1, 1 + self.array.cols)
        if self.array.outputs_held:
            return []
        words, values = w.shadow[ports] - SHOWN, p.shadow[ports]
        return [*zip(range(self.array.cols), words.tolist(), values.tolist(), strict=True)]

    def left(self) -> list[tuple[int, int, int]]:
        """Column, word and value of every result latched at this edge."""
        sums, names = self.array.sums, self.words.sums
        place = np.flatnonzero(sums.landed != self.landed)
        at = self.landed[place]
        self.landed[place] += 1
        values, words = (x.values[at % len(x.values), place].tolist() for x in (sums, names))
        columns = (place % self.array.cols).tolist()
        return sorted((j, w - SHOWN, x) for j, w, x in zip(columns, words, values, strict=True))


def _named(values: Ints, words: Ints, there: Bools) -> tuple[Ints, Ints]:
    """Values and words of registers, where there is something."""
    names = np.where(there, np.maximum(words - SHOWN, BUBBLE), BUBBLE)
    return np.where(names != BUBBLE, values, 0), names


def _steps(words: Stream, number: int) -> Stream:
    """A fold's number and the step in the place of values."""
    steps = (number << 32) + np.arange(len(words.words)) + SHOWN
    return words._replace(values=np.broadcast_to(steps[:, None], words.words.shape).copy())


def record_lines(array: SystolicArray, lines: Lines, trace: Trace, moves: Moves) -> None:
    """Let a trace watch a systolic array.

    Planes are called by their tensor, and the registers that are only on the way (``shadow``,
    ``shift``) by their own name.
    """
    nest, size, view = lines.nest, lines.nest.arch.array, _LineView(array)
    tensors = {"rows": lines.along_rows, "sums": lines.acc}
    if lines.outputs_held:
        tensors |= {"cols": lines.along_cols}
        tensors |= {"shift": lines.acc} if size.outputs == "register" else {}
    else:
        tensors |= {"held": lines.held} | (
            {"shadow": lines.held} if size.weight_registers == 2 else {}
        )
    label = {k: k if k in ("shadow", "shift") else t for k, t in tensors.items()}
    place = RegisterPlace(size.rows, size.cols, lines.turned)
    trace.open(nest, place, {label[k]: t for k, t in tensors.items()}, moves)
    row, col = ("column", "row") if lines.turned else ("row", "column")
    psum = nest.arch.number("psum")

    def see() -> None:
        edge, left = array.edge, view.left()
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
            ("out", acc, f"{col} {j}", word, int(wrap(np.array(x), psum))) for j, word, x in left
        ]
        crossings = [Crossing(edge, *x, 1) for x in crossed if x[3] >= 0]
        slots = np.where(active, slots, EMPTY)
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
