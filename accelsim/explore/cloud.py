"""A sample of a space, its front and the fixed rule's point: what the figure of a space shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapper.closed_cycles import forms_are_exact, measured
from accelsim.mapper.layer_search import rule_nest, search_tiles, spread
from accelsim.mapper.space import TileChoice, under
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.skeleton import Skeleton
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Direction, Problem

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cloud:
    """``points`` and ``front`` are [n, 2] of cycles and energy, the front by rising cycles;
    ``rule`` is the fixed rule's.  The front is empty where the search had no time for it.

    Unless ``exact``, the points' cycles are the search's, from below; those of the front and the
    rule are the closed form's.
    """

    points: Floats
    front: Floats
    rule: tuple[float, float] | None
    unit: str
    title: str
    exact: bool = True


def cloud(
    layer: Any,
    arch: Any,
    dataflow: Any,
    *,
    tiles: TileChoice = "divisors",
    points: int = 20_000,
    limit: float = 60.0,
    batch: int | None = None,
    direction: Direction = "forward",
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Cloud:
    """At most ``points`` random legal mappings of the space of a layer under a dataflow, and its
    exact front.

    Raises InputError as ``map_layer`` does, MappingError if the space is empty.
    """
    network = load_workload(layer)
    if len(network.layers) != 1:
        raise InputError("one layer has a space", key="layer", got=f"{len(network.layers)} layers")
    machine, flow = load_architecture(arch, overrides or {}), load_dataflow(dataflow)
    problem = network.layers[0].directed(batch, direction)
    skeleton = under(problem, machine, flow)
    drawn = _sampled(skeleton, tiles, points, np.random.default_rng(seed))
    return Cloud(
        drawn,
        _front(skeleton, tiles, limit),
        _rule_point(problem, machine, flow),
        machine.energy.unit,
        f"{flow.short} on {machine.name}, tiles {tiles}",
        forms_are_exact(machine),
    )


def _front(skeleton: Skeleton, tiles: TileChoice, limit: float) -> Floats:
    """Cycles and energy of the mappings that no other is better than [n, 2]: what was found of them
    in ``limit`` seconds, which is none where the search's tables are not made by then.
    """
    try:
        state = search_tiles(skeleton, tiles, None, monotonic() + limit, None, None)[0]
    except TimeoutError:
        return np.zeros((0, 2))
    return np.array([[f.values["cycles"], f.values["energy"]] for f in state.front]).reshape(-1, 2)


def _sampled(
    skeleton: Skeleton, tiles: TileChoice, points: int, rng: np.random.Generator
) -> Floats:
    """Cycles and energy of random legal mappings [at most points, 2]; each table of the space gives
    its share, drawn with some to spare for those that are not legal.
    """
    _, every, _ = spread(skeleton, tiles, ("energy", "cycles"), dominance=False)
    samples = []
    total = sum(t.volume for t in every)
    for table in every:
        n = max(1, round(4 * points * table.volume / total))
        samples.append(table.sample([rng.integers(len(g.tiles), size=n) for g in table.groups]))
    sampled = np.concatenate(samples) if samples else np.zeros((0, 2))
    return np.asarray(sampled[rng.permutation(len(sampled))[:points]])


def _rule_point(problem: Problem, arch: Architecture, flow: Dataflow) -> tuple[float, float] | None:
    """Cycles and energy of the fixed rule's mapping, or None where it has none."""
    nest = rule_nest(problem, arch, flow)
    if nest is None:
        return None
    try:
        measures = measured(nest)
    except MappingError:
        return None
    return float(measures["cycles"]), float(measures["energy"])
