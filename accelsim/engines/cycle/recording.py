"""From the registers of an array to the frames of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from accelsim.engines.cycle.addresses import (
    NO_WORD,
    NOTHING,
    Bools,
    Ints,
    address_of,
    digits,
    numbered,
)
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
    """Which words the PEs of a plain array keep, from edge to edge."""

    def __init__(self, array: BusArray) -> None:
        self.array, self.words = array, dict.fromkeys(array.pads, NOTHING)

    def changes(self) -> dict[str, Ints]:
        """Words that the first PE has taken, or the last has let go, since this was last asked."""
        before, array, self.words = self.words, self.array, {}
        for t, pads in array.pads.items():
            there = pads.names != NO_WORD
            if t == array.acc:  # a sum is there once something has been added to it
                there &= pads.fresh == 0
            self.words[t] = np.unique(address_of(array.nest, t, array.pe, pads.names[there]))
        return {t: np.setxor1d(x, before[t], assume_unique=True) for t, x in self.words.items()}


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
    pads, nobody = _Scratchpads(array), np.zeros(array.positions, bool)

    def plane(values: Any, words: Any, there: Bools) -> tuple[Ints, Ints]:
        frame = np.zeros((2, rows, cols), np.int64)
        frame[1] = BUBBLE
        frame[0, row, col], frame[1, row, col] = values * there, np.where(there, words, BUBBLE)
        return frame[0], frame[1]

    def named(values: Ints, tensor: str, level: int, names: Ints, there: Bools) -> Any:
        words = address_of(nest, tensor, level, np.where(there, names, NO_WORD))
        return plane(values, words, there)

    def see() -> None:
        if not trace.wants(array.edge):
            return
        frames = dict.fromkeys(tensors, plane(0, 0, nobody))
        slots = plane(0, 0, nobody)[1]
        if array.now is not None:
            step, k, operands = array.now
            setting = step.slots[k]
            works = step.exists[setting]
            slots = plane(0, (step.number << 32) + k, works)[1]
            for t, values in zip(nest.problem.operands, operands, strict=True):
                frames[t] = named(values, t, nest.levels, step.words[t].names[setting], works)
        where, names, sums = array.added
        added = np.zeros((3, array.positions), np.int64)
        added[:, where] = sums, names, np.ones_like(names)
        frames[acc] = named(added[0], acc, nest.levels, added[1], added[2] > 0)
        for name, (values, words, there) in array.chains.look().items() if array.chains else ():
            frames[name] = named(values, acc, array.outer[acc].child, words, there)
        active = slots != BUBBLE
        slots = np.where(active, slots, EMPTY)
        trace.frame(array.edge, frames, active, slots, _on_buses(array), pads.changes())

    array.watch = see


def _on_buses(array: BusArray) -> list[Crossing]:
    """Every word on a bus once, with how many take it (or give to it)."""
    crossings, psum = [], array.nest.arch.number("psum")
    for way, tensor, bus, names, values in array.bus:
        level = array.nest.levels if array.outer[tensor].child > array.pe else array.pe
        words = address_of(array.nest, tensor, level, names)
        whole: dict[tuple[int, int], list[int]] = {}
        for k, word, value in zip(bus.tolist(), words.tolist(), values.tolist(), strict=True):
            if word >= 0:
                whole.setdefault((k, word), []).append(value)
        for (k, word), parts in whole.items():
            value = int(wrap(np.array(sum(parts)), psum)) if way == "out" else parts[-1]
            crossings.append(Crossing(array.edge, way, tensor, f"bus {k}", word, value, len(parts)))
    return crossings
