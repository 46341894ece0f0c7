"""From the registers of an array to the frames of a trace.

The arrays know nothing of traces: after every edge they call ``watch``, and what is hung in there
reads their registers.  Names become flat addresses here, and on turned arrays rows become columns
again, so that a trace shows the architecture's array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from accelsim.engines.cycle.addresses import digits, numbered, pair_address
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.held_operand import HeldOperandArray
from accelsim.engines.cycle.held_outputs import HeldOutputsArray
from accelsim.engines.cycle.lines import Lines
from accelsim.engines.cycle.registers import BUBBLE, EMPTY, NAME, VALUE, Ints, Planes
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
    """Let a trace watch a systolic array: its planes, and the words at its ports.

    Planes are called by their tensor, and the registers that are only on the way (``shadow``,
    ``shift``) by their own name.
    """
    nest, size = lines.nest, lines.nest.arch.array
    tensors = {"rows": lines.along_rows, "sums": lines.acc}
    tensors |= (
        {"cols": lines.along_cols, "shift": lines.acc}
        if lines.outputs_held
        else {"held": lines.held, "shadow": lines.held}
    )
    label = {k: t if k in ("rows", "cols", "held", "sums") else k for k, t in tensors.items()}
    extra = (
        {"shift": array.outputs == "register"}
        if isinstance(array, HeldOutputsArray)
        else {"shadow": array.two}
    )
    shown = [k for k in tensors if extra.get(k, True)]
    trace.open(
        nest,
        RegisterPlace(size.rows, size.cols, lines.turned),
        {label[k]: tensors[k] for k in shown},
        moves,
    )
    row, col = ("column", "row") if lines.turned else ("row", "column")

    def see() -> None:
        if not trace.wants(array.edge):
            return
        planes = array.planes()
        frames = {
            label[k]: (planes[k][0], _addresses(nest, tensors[k], planes[k][1], nest.levels))
            for k in shown
        }
        crossings = []
        ports = [(row, "rows", array.moving[:, :, 0])]
        if isinstance(array, HeldOutputsArray):
            ports.append((col, "cols", array.falling[:, 0]))
        else:
            ports.append((col, "held", array.held_feed.at(array.edge)))
        for side, key, port in ports:
            names = _addresses(nest, tensors[key], port[NAME], nest.levels)
            for k in np.flatnonzero(names >= 0).tolist():
                crossings.append(
                    Crossing(
                        array.edge,
                        "in",
                        tensors[key],
                        f"{side} {k}",
                        int(names[k]),
                        int(port[VALUE, k]),
                        1,
                    )
                )
        for lanes, names, values in array.out:
            names = _addresses(nest, lines.acc, names, nest.levels)
            for k, name, value in zip(
                lanes.tolist(),
                names.tolist(),
                wrap(values, nest.arch.number("psum")).tolist(),
                strict=True,
            ):
                if name >= 0:
                    crossings.append(
                        Crossing(array.edge, "out", lines.acc, f"{col} {k}", name, value, 1)
                    )
        trace.frame(array.edge, frames, array.active, array.slots, crossings)

    array.watch = see


def record_buses(array: BusArray, trace: Trace, moves: Moves) -> None:
    """Let a trace watch a plain array: what every MAC takes and adds to at an edge, sums on chains,
    and the words on the buses.
    """
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
        """Values and names of positions laid out as [rows, cols]."""
        laid = np.zeros((2, rows, cols), np.int64)
        laid[1] = BUBBLE
        laid[0, row, col], laid[1, row, col] = values, names
        return laid[0], laid[1]

    def see() -> None:
        if not trace.wants(array.edge):
            return
        n = array.positions
        frames: Planes = {}
        works, slots = np.zeros(n, bool), np.full(n, EMPTY, np.int64)
        if array.now is not None:
            step, k, _ = array.now
            works = step.exists[:, step.slots[k]]
            slots = np.where(works, (step.number << 32) + k, EMPTY)
        for number, t in enumerate(nest.problem.operands):
            values, names = np.zeros(n, np.int64), np.full(n, BUBBLE, np.int64)
            if array.now is not None:
                step, k, operands = array.now
                values = np.where(works, operands[number], 0)
                names = np.where(
                    works,
                    _addresses(nest, t, step.words[t].names[:, step.slots[k]], nest.levels),
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
    """Slots laid out over the array, with EMPTY where no MAC is."""
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
