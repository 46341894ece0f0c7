"""The plan of a sweep: which architectures, which items (workload, recipe, layer), and which points
they make.

A row of the sweep is an architecture and an item, architectures slowest.  Equal architectures and equal items (a layer
that comes again) share a point, which is evaluated once.  Nothing here is evaluated; architectures are validated one at a
time and not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_NUMBER
from accelsim.explore.columns import Column, Ids, column
from accelsim.explore.constraints import Constraints
from accelsim.explore.grid import (
    Listed,
    Space,
    canonical,
    check_values,
    chosen,
    refuse_large,
    sample,
)
from accelsim.explore.machines import Machines
from accelsim.explore.points import Recipe
from accelsim.results.layer_row import override_text
from accelsim.results.simulate import ENGINES, Engine
from accelsim.version import MODEL_VERSION
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.problem import ACCUMULATED, Direction, Problem


@dataclass(frozen=True)
class PlanSettings:
    """What is the same for all points."""

    engine: Engine = "analytic"
    direction: Direction = "forward"
    batch: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raises InputError for what no point can have."""
        for key, value, have in (
            ("engine", self.engine, ENGINES),
            ("direction", self.direction, tuple(ACCUMULATED)),
        ):
            if value not in have:
                raise InputError(
                    f"must be one of {', '.join(have)}", key=key, got=str(value), choices=have
                )
        for key, number, least in (("batch", self.batch, 1), ("seed", self.seed, 0)):
            if number is not None and (
                isinstance(number, bool)
                or not isinstance(number, int)
                or not least <= number <= MAX_NUMBER
            ):
                raise InputError(
                    f"must be a whole number of at least {least}", key=key, got=str(number)
                )


@dataclass(frozen=True)
class Item:
    """One layer of one workload under one recipe.  ``digest`` is of all that determines a result
    besides the architecture.
    """

    workload: str
    layer: Layer
    problem: Problem
    recipe: Recipe
    digest: bytes


def workloads(given: Any) -> list[Workload]:
    """Workloads of a name, a file, a layer, a list of layers, or a list of names, files and
    workloads.  Raises InputError.
    """
    if isinstance(given, (list, tuple)) and given and not all(isinstance(x, Layer) for x in given):
        found = [load_workload(x) for x in given]
        for name in {w.name for w in found}:
            if [w.name for w in found].count(name) > 1:
                raise InputError("two workloads have this name", key="workload", got=name)
        return found
    return [load_workload(given)]


def items(
    networks: Sequence[Workload], recipes: Sequence[Recipe], settings: PlanSettings
) -> list[Item]:
    """Every layer of every network under every recipe, in that order of speed.  Raises InputError
    for a layer that is too large.
    """
    settings.check()
    found = []
    shorts = [r.short for r in recipes]
    for short in shorts:
        if shorts.count(short) > 1:
            raise InputError("stands twice", key="dataflows", got=short)
    for network in networks:
        for recipe in recipes:
            for layer in network.layers:
                problem = layer.directed(settings.batch, settings.direction)
                if problem.macs > MAX_NUMBER:
                    raise InputError(
                        f"{layer.name} may have at most 2^53 MACs",
                        key="batch",
                        got=str(settings.batch),
                    )
                content = [
                    settings.engine,
                    settings.seed,
                    asdict(problem),
                    recipe.content(layer.name),
                    MODEL_VERSION,
                ]
                digest = hashlib.sha256(canonical(content).encode()).digest()[:16]
                found.append(Item(network.name, layer, problem, recipe, digest))
    return found


@dataclass
class SweepPlan:
    """Architectures by their number in the space, items, and how the rows they make share points.

    ``machine_point[m]`` and ``item_point[i]`` number different architectures and items; row (m, i)
    has point ``machine_point[m] * n_items + item_point[i]`` with ``n_items`` different items.
    """

    machines: Machines
    space: Space
    items: list[Item]
    settings: PlanSettings
    numbers: list[int]
    names: list[str]
    digests: list[bytes]
    errors: dict[int, str]

    @cached_property
    def machine_point(self) -> Ids:
        return _codes(self.digests)

    @cached_property
    def item_point(self) -> Ids:
        return _codes([item.digest for item in self.items])

    @cached_property
    def first_machines(self) -> list[int]:
        """For every different architecture its first number in ``numbers``."""
        return _firsts(self.machine_point)

    @cached_property
    def first_items(self) -> list[int]:
        return _firsts(self.item_point)

    @property
    def rows(self) -> int:
        return len(self.numbers) * len(self.items)

    @property
    def points(self) -> int:
        """Different points."""
        return len(self.first_machines) * len(self.first_items)

    @cached_property
    def row_points(self) -> Ids:
        """The point of every row."""
        grid = self.machine_point[:, None] * len(self.first_items) + self.item_point[None, :]
        return cast(Ids, grid.reshape(-1))

    def overrides(self, machine: int) -> dict[str, Any]:
        """The keys an architecture overrides; ``machine`` counts the plan's own."""
        return self.space.point(self.numbers[machine])

    def key(self, point: int) -> bytes:
        """What a point is known by in a store: 16 bytes of a hash of all that determines it."""
        m, i = divmod(point, len(self.first_items))
        return hashlib.sha256(
            self.digests[self.first_machines[m]] + self.items[self.first_items[i]].digest
        ).digest()[:16]

    def keys(self) -> list[bytes]:
        """The keys of all points."""
        machines = [self.digests[m] for m in self.first_machines]
        parts = [self.items[i].digest for i in self.first_items]
        return [hashlib.sha256(m + i).digest()[:16] for m in machines for i in parts]

    @cached_property
    def digest(self) -> str:
        """What the whole plan is known by."""
        whole = hashlib.sha256()
        for digest, number in zip(self.digests, self.numbers, strict=True):
            whole.update(digest + canonical(self.space.point(number)).encode())
        for item in self.items:
            whole.update(
                item.digest
                + canonical(
                    [item.workload, item.layer.name, item.recipe.short, item.recipe.mapping]
                ).encode()
            )
        return whole.hexdigest()[:32]

    def identity(self) -> dict[str, Column]:
        """What names each row: workload, layer, arch, the axes, set, dataflow, engine, direction,
        mapping, batch, seed.
        """
        count, width = len(self.numbers), len(self.items)

        def by_machine(values: Iterable[Any]) -> Column:
            return _repeat(list(values), width, slow=True)

        def by_item(values: Iterable[Any]) -> Column:
            return _repeat(list(values), count, slow=False)

        points = [self.overrides(m) for m in range(count)]
        found = {
            "workload": by_item(item.workload for item in self.items),
            "layer": by_item(item.layer.name for item in self.items),
            "arch": by_machine(self.names),
        }
        for key in self.space.keys:
            found[key] = by_machine(axis_value(p[key]) if key in p else None for p in points)
        return found | {
            "set": by_machine(override_text(p) for p in points),
            "dataflow": by_item(item.recipe.short for item in self.items),
            "engine": by_item(self.settings.engine for _ in self.items),
            "direction": by_item(item.problem.direction for item in self.items),
            "mapping": by_item(item.recipe.mapping for item in self.items),
            "batch": by_item(item.problem.N for item in self.items),
            "seed": by_item(self.settings.seed for _ in self.items),
        }


def axis_value(value: Any) -> Any:
    """A value of an axis as it stands in a table: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _repeat(values: list[Any], times: int, *, slow: bool) -> Column:
    found = column(values)
    index = np.arange(len(values))
    return found.take(np.repeat(index, times) if slow else np.tile(index, times))


def _codes(digests: Sequence[bytes]) -> Ids:
    """Equal digests by equal numbers, in order of appearance."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(d, len(seen)) for d in digests], dtype=np.int64)


def _firsts(codes: Ids) -> list[int]:
    return [int(i) for i in np.unique(codes, return_index=True)[1]]


def plan(
    arch: Any,
    found: Space,
    parts: list[Item],
    settings: PlanSettings,
    *,
    draw: int | None = None,
    constraints: Sequence[str] = (),
) -> SweepPlan:
    """The plan over a space, all of it or ``draw`` points.

    Raises InputError for keys no architecture has, for more points than are run, and where no point
    is left.
    """
    wanted = found.size if draw is None else min(found.size, draw)
    refuse_large(wanted * len(parts), "grid" if draw is None else "sample")
    check_values(found)
    machines = Machines.load(arch)
    check_keys(machines, found)
    accept = Constraints(constraints, machines, found.keys) if constraints else None
    numbers = (
        list(chosen(found, accept)) if draw is None else sample(found, draw, settings.seed, accept)
    )
    if not numbers:
        raise InputError("leave no point", key="constraints")
    return build(machines, found, parts, settings, numbers)


def build(
    machines: Machines, found: Space, parts: list[Item], settings: PlanSettings, numbers: list[int]
) -> SweepPlan:
    """The plan of the points with these numbers."""
    names, digests, errors = [], [], {}
    for m, number in enumerate(numbers):
        machine = machines.build(found.point(number))
        names.append(machine.name)
        digests.append(machine.digest)
        if machine.error is not None:
            errors[m] = machine.error
    return SweepPlan(machines, found, parts, settings, numbers, names, digests, errors)


def check_keys(machines: Machines, found: Space) -> None:
    """Raises InputError for a key no architecture has."""
    known: set[str] = set()
    for axis in found.axes:
        listed = isinstance(axis, Listed)
        for position in range(len(axis) if listed else 1):
            for key, value in axis.at(position).items():
                if key in known:
                    continue
                known.add(key)
                try:
                    machines.check_key(key, value)
                except InputError as error:
                    place = (
                        f"points.{position}.{key}"
                        if isinstance(axis, Listed)
                        else f"{axis.name}.{key}"
                    )
                    raise InputError(
                        error.rule, key=place, got=error.got, choices=error.nearest
                    ) from None
