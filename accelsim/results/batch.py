"""Analytic points that differ in numbers only, evaluated together: the columns of ``simulate``'s
rows as arrays.

``columns`` takes one layer under one dataflow on many architectures with the same levels, networks
and formats; sweeps (``explore.evaluate``) and ``explain`` call it.  Tiles come from
``choose_many``; mappings with the same loops share one ``ClosedForm``; prices are stacked over the
architectures; where memory can be waited for, points of one mapping share the plan of its passes.
What cannot be evaluated so is left to the caller, point by point.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import moved
from accelsim.engines.analytic.array_time import array_time, array_times
from accelsim.engines.analytic.closed_form import ClosedForm
from accelsim.engines.analytic.pipeline import times, words_moved
from accelsim.engines.analytic.rank_sums import different_rows
from accelsim.hardware.architecture import Architecture, limited
from accelsim.hardware.energy import prices
from accelsim.hardware.ports import LARGEST, late_levels, too_long
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import Mapping as LoopNest
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Boundary, Nest
from accelsim.mapping.rule_many import choose_many
from accelsim.mapping.skeleton import Tiles
from accelsim.results.layer_row import efficiency, performance
from accelsim.workload.problem import Problem

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PointGroup:
    """Points evaluated together: their places among those asked for, and their columns, arrays or
    single values.
    """

    at: Ints
    columns: Mapping[str, Any]
    mapping_hash: list[str]
    loops: list[str]


def columns(
    problem: Problem, archs: Sequence[Architecture], dataflow: Dataflow
) -> tuple[list[PointGroup], Ints]:
    """Groups of points with the same loops, and the places of those left over: not mappable, or not
    exact in float64.
    """
    try:
        chosen = choose_many(problem, archs, dataflow)
    except MappingError:
        return [], np.arange(len(archs))
    left = [np.flatnonzero(~chosen.fits)]
    groups = []
    patterns, which = np.unique(chosen.tiles.trips > 1, axis=0, return_inverse=True)
    for k in range(len(patterns)):
        at = np.flatnonzero((which.ravel() == k) & chosen.fits)
        if not len(at):
            continue
        try:
            groups.append(_group(problem, archs, chosen.tiles, at))
        except (MappingError, OverflowError):
            left.append(at)
    return groups, np.concatenate(left)


def _group(problem: Problem, archs: Sequence[Architecture], chosen: Tiles, at: Ints) -> PointGroup:
    mapping = chosen.mapping(int(at[0]))
    nest = Nest(problem, archs[int(at[0])], mapping)
    loops = np.flatnonzero(chosen.trips[at[0]] > 1)
    tiles, trips = (x[np.ix_(at, loops)].T for x in (chosen.rows, chosen.trips))  # [loops, points]
    model = ClosedForm(nest)
    sums = model.evaluate(model.rows_of(tiles))
    # whole from here on: sums of two counts may pass 2^53, where float64 is not exact
    moves = {
        b: moved.Moved(**{name: _whole(v) for name, v in vars(m).items()})
        for b, m in model.moves(sums).items()
    }
    compute, active = (_whole(sums.of(None, name)) for name in ("compute_cycles", "active_pes"))
    n = len(at)

    here = [archs[int(i)] for i in at]
    numbers = {k: np.array([getattr(a.array, k) for a in here]) for k in ("rows", "cols")}
    clock = np.array([a.clock_mhz for a in here])
    pes = np.array([a.array.rows * a.array.cols for a in here])
    _refuse_long(nest, here, trips, pes, moves)
    stalls: dict[str, Any] = dict.fromkeys((*nest.arch.level_names, *nest.arch.networks), 0)
    if limited(nest.arch):
        cycles, waits = _waiting(problem, here, chosen, at, moves)
        stalls = dict(zip(stalls, waits.T, strict=True))
    else:
        cycles = array_times(nest, tiles, trips, numbers, compute)
    spent = performance(
        nest,
        cycles,
        compute,
        stalls,
        active,
        pes,
        clock,
    )
    price = moved.stacked([prices(a) for a in here])
    energy = moved.energy(nest, moves, problem.macs, spent["time_s"], price)
    table = (
        {"macs": problem.macs}
        | spent
        | efficiency({"macs": problem.macs} | spent | energy)
        | energy
    )
    table |= {"bit_exact": None} | moved.columns(nest, moves)
    wide = {k: v if v is None else np.broadcast_to(v, (n,)) for k, v in table.items()}
    return PointGroup(at, wide, *_texts(nest, mapping, tiles))


def _refuse_long(
    nest: Nest,
    here: Sequence[Architecture],
    trips: Ints,
    pes: npt.NDArray[Any],
    moves: Mapping[Boundary, moved.Moved],
) -> None:
    """Raises OverflowError where the cycles of some point may not fit in 64 bits, or the PEs of an
    array; one by one they are whole numbers of any size, and what is too large is a row that says
    so.
    """
    if pes.dtype != np.int64:
        raise OverflowError("more PEs than fit in 64 bits")
    inside = nest.levels - 1
    folds, steps = np.ones(trips.shape[1]), np.ones(trips.shape[1])
    for x, n in zip(nest.loops, trips, strict=True):
        if not x.spatial:
            steps = steps * n
            folds = folds * (n if x.level < inside else 1)
    around = np.array([a.array.rows + a.array.cols for a in here], np.float64)
    alone = steps + 2 * folds * around
    if alone.max() >= LARGEST:
        raise OverflowError("cycles may not fit in 64 bits")
    if not limited(nest.arch):
        return
    words = np.broadcast_to(sum(words_moved(m) for m in moves.values()), alone.shape)
    for arch, array, crossing in zip(here, alone.tolist(), words.tolist(), strict=True):
        if too_long(arch, int(array), crossing) is not None:
            raise OverflowError("cycles may not fit in 64 bits")


def _waiting(
    problem: Problem,
    here: Sequence[Architecture],
    chosen: Tiles,
    at: Ints,
    moves: Mapping[Boundary, moved.Moved],
) -> tuple[Ints, Ints]:
    """Cycles [points] and stalls [points, levels and networks] where memory can be waited for: the
    points of one mapping on one array are timed together, where the same levels are late.
    """
    arrays = [[a.array.rows, a.array.cols, *late_levels(a)] for a in here]
    table = np.hstack([chosen.rows[at], np.array(arrays, np.int64)])
    alike, which = different_rows(table)
    cycles = np.zeros(len(at), np.int64)
    waits = np.zeros((len(at), len(here[0].levels) + len(here[0].networks)), np.int64)
    for k in range(len(alike)):
        members = np.flatnonzero(which == k)
        archs = [here[int(i)] for i in members]
        nest = Nest(problem, archs[0], chosen.mapping(int(at[members[0]])))
        crossing = {
            b: moved.Moved(**{n: _at(x, int(members[0])) for n, x in vars(m).items()})
            for b, m in moves.items()
        }
        cycles[members], waits[members], _, _ = times(nest, crossing, array_time(nest), archs)
    return cycles, waits


def _at(values: Any, point: int) -> int:
    """A count of one point; ``values`` has one for each, or one for all."""
    each = np.ravel(values)
    return int(each[point if len(each) > 1 else 0])


def _whole(values: Any) -> Any:
    return np.rint(values).astype(np.int64) if isinstance(values, np.ndarray) else values


def _texts(nest: Nest, mapping: LoopNest, tiles: Ints) -> tuple[list[str], list[str]]:
    """Hash and loops of each mapping, as ``simulate`` has them: mappings of a group differ in their
    tiles only.
    """
    first = [str(x) for x in mapping.loops]
    whole = mapping.model_dump_json()
    head, tail = whole.split(json.dumps(first, separators=(",", ":")))
    around = [
        (x.dim, f"{x.level}" + ("" if x.axis == "none" else f":{x.axis}")) for x in mapping.loops
    ]
    hashes, loops = [], []
    for column in tiles.T.tolist():
        texts = [f"{dim}:{tile}:{rest}" for (dim, rest), tile in zip(around, column, strict=True)]
        json_text = '["' + '","'.join(texts) + '"]' if texts else "[]"
        hashes.append(hashlib.sha256(f"{head}{json_text}{tail}".encode()).hexdigest()[:16])
        loops.append(" ".join(texts))
    return hashes, loops
