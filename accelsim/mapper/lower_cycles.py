"""Cycles as the search sees them: the largest of a few sums of counts, never above the full closed
form (docs/time.md).

A *form* is a constant and weights of columns; ``cycles`` is the largest form.  Where nothing has a
port or a width and the array has no lines, the one form is the array's time and exact.  Elsewhere
each form is time that something is busy:

- the array itself: the MAC steps; on systolic lines the folds of docs/design.md, section 5, summed
  as far as   a sum over folds can say;
- a resource (a level's port, a network's channel): all it carries;
- transfers that nothing overlaps, while the array waits, on top of the array's time: those of one
  resource add up.

Roundings up, latencies, bursts, tails and the skew of the last fold are left out, ramps are in
``closer_forms`` only. Nothing of a fold that holds the words of the one before is counted: the two
are joined.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.array_time import on_lines, sides, surely_changes
from accelsim.engines.analytic.pipeline import fetched_ahead, overlaps
from accelsim.mapping.skeleton import Boundary, Skeleton

Column = tuple[Boundary | None, str]
Weights = dict[Column, float]
Form = tuple[float, Weights]
STEPS: Column = (None, "compute_cycles")
FOLDS: Column = (None, "folds")  # these are made in ``time_columns``: summed over folds
FOLD_ROWS: Column = (None, "fold_rows")
FOLD_COLS: Column = (None, "fold_cols")
ROW_WAY: Column = (None, "row_way")  # rows and columns over which sums are added from PE to PE
COL_WAY: Column = (None, "col_way")


def cycles(columns: Mapping[Column, Any], forms: list[Form]) -> npt.NDArray[np.float64]:
    """Cycles of mappings with these columns."""
    each = [
        np.asarray(
            constant + sum(w * np.asarray(columns[c], np.float64) for c, w in weights.items())
        )
        for constant, weights in forms
    ]
    return np.asarray(np.max(np.stack(np.broadcast_arrays(*each)), axis=0))


def forms(nest: Skeleton) -> list[Form]:
    """The forms of a nest's skeleton."""
    outer, inner, busy, _ = _loads(nest)
    array = array_forms(nest)
    listed = []
    steps = (
        array if on_lines(nest) else [(0.0, {STEPS: 1.0})]
    )  # the last sums may be on their way while the next words come in
    for waits in [{}, *outer.values()]:
        for loads in [{}, *inner.values()]:
            for constant, weights in steps if waits or loads else array:
                listed.append((constant, _plus(weights, waits, loads)))
    for name, side in sorted({r[:2] for loads in (outer, inner, busy) for r in loads}):
        everything = [
            loads.get((name, side, where), {})
            for loads in (outer, inner, busy)
            for where in ("", "inside")
        ]
        listed.append((0.0, _plus(*everything)))
    beside = (
        [{}] if on_lines(nest) and _joins(nest) else [{}, *outer.values()]
    )  # passes of joined folds have less to hide behind
    for r in busy:  # what moves during the passes, beside the steps
        if r[2] == "inside":
            listed += [
                (0.0, _plus(waits, loads, busy[r]))
                for waits in beside
                for loads in [{}, *inner.values()]
            ]
    return _undominated(listed)


def closer_forms(nest: Skeleton) -> list[Form]:
    """More forms, with the ramps of ``ramp_boundaries``: what a phase waits for its first step's
    words.  For few mappings.
    """
    outer, inner, busy, ramps = _loads(nest)
    listed = []
    for ramp in ramps:
        for waits in [{}, *outer.values()]:
            for loads in [{}, *inner.values()]:
                listed.append((0.0, _plus({STEPS: 1.0}, waits, loads, ramps[ramp])))
                listed += [
                    (0.0, _plus(busy[r], waits, loads, ramps[ramp]))
                    for r in busy
                    if r[2] == "inside" and r not in ramps
                ]
    return _undominated(listed)


def between_forms(nest: Skeleton) -> list[Form]:
    """What each resource carries between passes beside the array's work, as levels have room for
    the next tile.
    """
    return [(0.0, load) for r, load in _loads(nest)[2].items() if r[2] != "inside"]


def inside_forms(nest: Skeleton) -> list[Form]:
    """What each resource carries during passes, beside their steps."""
    return [(0.0, load) for r, load in _loads(nest)[2].items() if r[2] == "inside"]


def takes_time(nest: Skeleton, b: Boundary) -> bool:
    """Whether some resource carries what crosses a boundary."""
    arch = nest.arch
    wide = arch.networks[b.network].width_bits if b.network is not None else None
    return bool(arch.levels[arch.level_names[b.parent]].port_bits or wide)


def ramp_boundaries(nest: Skeleton) -> dict[Column, Boundary]:
    """Operands the PEs keep and take in ahead, but for the first step of each phase
    (docs/time.md).
    """
    last = nest.levels - 1
    if nest.arch.systolic or nest.arch.level_in_pe != last:
        return {}
    kept = [b for b in nest.boundaries if b.child == last and b.tensor != nest.problem.accumulated]
    return {(None, f"ramp {b.tensor}"): b for b in kept if overlaps(nest, last, b.tensor)}


def _undominated(listed: list[Form]) -> list[Form]:
    """Without the forms that another is at least as large as, term by term."""
    kept: list[Form] = []
    for i, (c, w) in enumerate(listed):
        better = any(
            (j < i or (d, v) != (c, w))
            and j != i
            and d >= c
            and all(v.get(k, 0.0) >= x for k, x in w.items())
            and all(x >= 0 for x in v.values())
            for j, (d, v) in enumerate(listed)
        )
        if not better:
            kept.append((c, w))
    return kept


def _plus(*weights: Weights) -> Weights:
    total: Weights = defaultdict(float)
    for one in weights:
        for column, w in one.items():
            total[column] += w
    return dict(total)


def array_forms(nest: Skeleton) -> list[Form]:
    """Those of the array alone; see ``engines.analytic.array_time`` for the sums these are parts
    of.
    """
    array, last = nest.arch.array, nest.levels - 1
    if not on_lines(nest):
        way: Weights = {ROW_WAY: 1.0, COL_WAY: 1.0} if adds_in_a_chain(nest) else {}
        return [(array.pipeline_stages - 1 - (2 if way else 0), _plus({STEPS: 1.0}, way))]
    rows, cols = (float(x) for x in sides(nest))
    full = array.partial_folds == "full"
    r, c = (FOLD_COLS, FOLD_ROWS) if nest.turned else (FOLD_ROWS, FOLD_COLS)
    fold_rows: Weights = {FOLDS: rows} if full else {r: 1.0}
    fold_cols: Weights = {FOLDS: cols} if full else {c: 1.0}
    least_r, least_c = (rows, cols) if full else (1.0, 1.0)
    held = nest.problem.accumulated in nest.keep[last]
    shift = 0.0 if array.outputs == "in_place" or not held else rows
    if not array.overlap:
        each = shift - 2 if held else rows - 2
        return [(0.0, _plus({STEPS: 1.0, FOLDS: each}, fold_rows, fold_cols))]
    if held:
        whole = (shift + least_r + least_c - 2, {STEPS: 1.0})
        if array.outputs == "accumulators":
            return [(rows + least_c - 1, _plus({STEPS: 1.0, FOLDS: -1.0}, fold_rows))]
        return [whole, (rows + least_c - 1, fold_rows)] if array.outputs == "register" else [whole]
    end = rows + least_c - 2
    if array.weight_registers == 1:
        return [(end + 1, _plus({STEPS: 1.0, FOLDS: -1.0}, fold_rows))]
    return [(end + least_r, {STEPS: 1.0}), (end + 1, fold_rows)]


def _joins(nest: Skeleton) -> bool:
    """Whether settings of the loops outside the PEs may hold the same words and be one fold."""
    return any(
        not x.spatial and x.level < nest.levels - 1 and not surely_changes(nest, i)
        for i, x in enumerate(nest.loops)
    )


def adds_in_a_chain(nest: Skeleton) -> bool:
    """Whether sums are added from PE to PE, one link a cycle."""
    b = next(
        b
        for b in reversed(nest.boundaries)
        if b.tensor == nest.problem.accumulated and b.parent < nest.levels - 1
    )
    return b.kind == "chain"


Resource = tuple[
    str, str, str
]  # level or network, tensor or direction, "inside" for what moves during passes
Loads = dict[Resource, Weights]


def _loads(nest: Skeleton) -> tuple[Loads, Loads, Loads, Loads]:
    """Cycles of every resource per word of each column: transfers between passes that the array
    waits for, operands a pass waits for before its steps, and all else; of that, once more, what
    phases wait for at their first step.
    """
    arch, acc = nest.arch, nest.problem.accumulated
    last = nest.levels - 1
    outer: Loads = defaultdict(lambda: defaultdict(float))
    inner: Loads = defaultdict(lambda: defaultdict(float))
    busy: Loads = defaultdict(lambda: defaultdict(float))
    ramps: Loads = defaultdict(lambda: defaultdict(float))
    ramp_of = {b: column for column, b in ramp_boundaries(nest).items()}
    for b in nest.boundaries:
        words, above = (
            nest.word_bits,
            next(
                (x for x in nest.boundaries if x.tensor == b.tensor and x.child == b.parent), None
            ),
        )
        bits = words(b.parent, b.tensor)
        inside = b.child >= last
        overlapped = b.child < nest.levels and overlaps(nest, b.child, b.tensor)
        if inside:
            exposed = b.tensor != acc and b.child == last and not overlapped and not arch.systolic
            home = inner if exposed else busy
        else:
            home = busy if overlapped else outer
        where = "inside" if inside else ""
        loads: list[tuple[Resource, Weights]] = []
        level = arch.levels[arch.level_names[b.parent]]
        many = _instances(nest, b.parent)
        if b.tensor == acc:
            arrived: Weights = {(b, "arrived"): 1.0}
            free: Weights = {} if above is None else {(above, "drained"): 1.0}
            updated: Weights = (
                _plus(arrived, {k: -v for k, v in free.items()}) if above is not None else {}
            )
            up: Weights = arrived
            down: Weights = updated if arch.accumulate == "in_array" else {}
            if level.port_bits:
                name, each = arch.level_names[b.parent], port_cycles(nest, b.parent, bits) / many
                if level.ports == "shared":
                    loads.append(((name, "", ""), _times(_plus(arrived, updated), each)))
                else:
                    loads.append(((name, "write", ""), _times(arrived, each)))
        else:
            up, down = {}, {(b, "read"): 1.0}
            if level.port_bits:
                side = "" if level.ports == "shared" else "read"
                loads.append(
                    (
                        (arch.level_names[b.parent], side, ""),
                        _times(down, port_cycles(nest, b.parent, bits) / many),
                    )
                )
        if b.network is not None and (width := arch.networks[b.network].width_bits) is not None:
            for way, sent in (("up", up), ("down", down)):
                one: Any = width
                wide = one if isinstance(width, int) else one.get(b.tensor)
                channel = "" if isinstance(width, int) else f"{b.tensor} {way}"
                if wide and sent:
                    loads.append(((b.network, channel, ""), _times(sent, bits / wide / many)))
        ahead = home is inner and fetched_ahead(nest, b)
        for (name, side, _), load in loads:
            to = busy if ahead and name in arch.levels else home  # fetched while the PEs worked
            for column, w in load.items():
                to[name, side, where if to is busy else ""][column] += w
                if b in ramp_of and (name in arch.networks or not fetched_ahead(nest, b)):
                    ramps[name, side, "inside"][ramp_of[b]] += w
    plain = [{r: dict(x) for r, x in loads.items()} for loads in (outer, inner, busy, ramps)]
    return plain[0], plain[1], plain[2], plain[3]


def _times(weights: Weights, by: float) -> Weights:
    return {column: w * by for column, w in weights.items()}


def _instances(nest: Skeleton, level: int) -> int:
    """Most instances of a level there can be."""
    if any(x.spatial and x.level < level for x in nest.loops):
        return nest.arch.array.rows * nest.arch.array.cols
    return 1


def port_cycles(nest: Skeleton, level: int, bits: int) -> float:
    """Core cycles of a level's port per word."""
    have = nest.arch.levels[nest.arch.level_names[level]]
    assert have.port_bits is not None
    clock = nest.arch.clock_mhz / have.port_clock_mhz if have.port_clock_mhz else 1.0
    return bits / have.port_bits * clock


__all__ = [
    "Column", "Form", "Weights", "array_forms", "between_forms", "closer_forms", "cycles", "forms",
    "inside_forms", "port_cycles", "takes_time",
]  # fmt: skip
