"""From the registers of an array to the frames of a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from accelsim.engines.cycle.addresses import Ints, digits, numbered, pair_address
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.lines import Lines
from accelsim.engines.cycle.systolic import (
    BUBBLE,
    EMPTY,
    HeldOperandArray,
    HeldOutputsArray,
)
from accelsim.engines.cycle.trace import Crossing, RegisterPlace, Trace
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.arithmetic import wrap

Moves = Callable[[], Mapping[Boundary, Moved]]


def _addresses(nest: Nest, tensor: str, names: Ints, level: int) -> Ints:
    """Addresses of words by their names at a level; padding and nothing stay what they are."""
    return (
        np.where(names >= 0, pair_address(nest, np.maximum(names, 0)), names)
        if nest.projection(tensor, level).pairs
        else names
    )


def record_lines(
    array: HeldOperandArray | HeldOutputsArray, lines: Lines, trace: Trace, moves: Moves
) -> None:
    """Let a trace watch a systolic array."""
    nest, size = lines.nest, lines.nest.arch.array
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
        planes, crossings = array.planes(), []
        for key, (values, words) in array.ports().items():
            side = row if key == "rows" else col
            for k in np.flatnonzero(words >= 0).tolist():
                word, value = int(words[k]), int(values[k])
                crossings.append(Crossing(edge, "in", tensors[key], f"{side} {k}", word, value, 1))
        for lane, word, value in array.out:
            if word >= 0:
                out = int(wrap(np.array(value), psum))
                crossings.append(Crossing(edge, "out", lines.acc, f"{col} {lane}", word, out, 1))
        trace.frame(edge, {label[k]: planes[k] for k in tensors}, *array.frame(), crossings)

    array.watch = see


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

    def plane(values: Ints, names: Ints) -> tuple[Ints, Ints]:
        frame = np.zeros((2, rows, cols), np.int64)
        frame[1] = BUBBLE
        frame[0, row, col], frame[1, row, col] = values, names
        return frame[0], frame[1]

    def see() -> None:
        if not trace.wants(array.edge):
            return
        n = array.positions
        frames: dict[str, tuple[Ints, Ints]] = {}
        works, slots = np.zeros(n, bool), np.full(n, EMPTY, np.int64)
        if array.now is not None:
            step, k, _ = array.now
            works = step.exists[step.slots[k]]
            slots = np.where(works, (step.number << 32) + k, EMPTY)
        for number, t in enumerate(nest.problem.operands):
            values, names = np.zeros(n, np.int64), np.full(n, BUBBLE, np.int64)
            if array.now is not None:
                step, k, operands = array.now
                values = np.where(works, operands[number], 0)
                names = np.where(
                    works,
                    _addresses(nest, t, step.words[t].names[step.slots[k]], nest.levels),
                    BUBBLE,
                )
            frames[t] = plane(values, names)
        where, words, sums = array.added
        values, names = np.zeros(n, np.int64), np.full(n, BUBBLE, np.int64)
        values[where], names[where] = sums, _addresses(nest, acc, words, nest.levels)
        frames[acc] = plane(values, names)
        if array.chains is not None:
            for name, (values, names, there) in array.chains.links().items():
                words = _addresses(nest, acc, names, level)
                frames[name] = plane(np.where(there, values, 0), np.where(there, words, BUBBLE))
        trace.frame(
            array.edge,
            frames,
            plane(works, slots)[0] > 0,
            _slots(plane(slots, slots)[1]),
            _on_buses(array),
        )

    array.watch = see


def _slots(plane: Ints) -> Ints:
    return np.where(plane == BUBBLE, EMPTY, plane)


def _on_buses(array: BusArray) -> list[Crossing]:
    """Every word on a bus once, with how many take it (or give to it)."""
    crossings = []
    for way, tensor, bus, names, values in array.bus:
        b = array.outer[tensor]
        level = array.nest.levels if b.child > array.pe else array.pe
        words = _addresses(array.nest, tensor, names, level)
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
