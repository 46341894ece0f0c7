"""The plan of a sweep: which architectures, which items (workload, recipe, layer), and which points
they make.

``Study.plan`` calls ``plan``, the guided search ``build``.  A row of the sweep is an architecture
and an item, architectures slowest.  Equal architectures and equal items (a layer that comes again)
share a point, which is evaluated once.  Nothing here is evaluated; architectures are validated one
at a time and not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_NUMBER
from accelsim.explore.best_rows import candidates, chooses, goal_of
from accelsim.explore.columns import Column, Ids, column
from accelsim.explore.constraints import Constraints
from accelsim.explore.content import canonical, content_hash
from accelsim.explore.grid import (
    Listed,
    Space,
    check_values,
    chosen,
    refuse_large,
    sample,
    space,
)
from accelsim.explore.machines import KEPT, Machines, keep
from accelsim.explore.points import Item, Recipe, recipes
from accelsim.explore.workload_axes import ItemsOf, cases, is_parameter
from accelsim.mapper.objective import Objective
from accelsim.mapping.rule import refuse_unkept
from accelsim.results.layer_row import override_text
from accelsim.version import MODEL_VERSION
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload, load_workload

if TYPE_CHECKING:
    from accelsim.explore.study import Study


def networks(study: Study, params: Mapping[str, Any] | None = None) -> list[Workload]:
    """The workloads of a study, of each the layers it chooses, with ``params`` as values of their
    parameters.  Raises InputError.
    """
    given: Any = study.workload
    several = isinstance(given, (list, tuple)) and any(not isinstance(x, Layer) for x in given)
    workloads = [load_workload(x, params) for x in (given if several else [given])]
    names = [workload.name for workload in workloads]
    for name in set(names):
        if names.count(name) > 1:
            raise InputError("two workloads have this name", key="workload", got=name)
    return [w.select(study.layers) for w in workloads] if study.layers else workloads


def study_recipes(study: Study, machines: Machines) -> list[Recipe]:
    """Where a study's mappings come from, a recipe per dataflow.  Raises InputError."""
    request = study.mapper_request(machines.default_tiles)
    return recipes(candidates(study, machines), study.mapping, request)


def items(study: Study, workloads: Sequence[Workload], recipes: Sequence[Recipe]) -> list[Item]:
    """Every layer of every network under every recipe, in that order of speed.

    Raises InputError for a recipe that comes twice and for a layer that is too large.
    """
    shorts = [recipe.short for recipe in recipes]
    for short in shorts:
        if shorts.count(short) > 1:
            raise InputError("stands twice", key="dataflows", got=short)
    return [
        _item(study, workload.name, layer, recipe)
        for workload in workloads
        for recipe in recipes
        for layer in workload.layers
    ]


def _item(study: Study, workload: str, layer: Layer, recipe: Recipe) -> Item:
    problem = layer.directed(study.batch, study.direction)
    if problem.macs > MAX_NUMBER:
        rule = f"{layer.name} may have at most 2^53 MACs"
        raise InputError(rule, key="batch", got=str(study.batch))
    recipe_text = recipe.content(layer.name)
    # A filter that is not flipped is not told, so that rows stored before it could be stay known.
    sizes = {key: value for key, value in asdict(problem).items() if key != "flip" or value}
    content = [study.engine, study.seed, sizes, recipe_text, MODEL_VERSION]
    digest = content_hash(canonical(content))
    return Item(workload, layer, problem, recipe, study.engine, study.seed, digest)


@dataclass
class SweepPlan:
    """The rows of a sweep, and the points they share.

    Row (m, i) is of architecture ``numbers[m]`` of the space and of item i of that point's case:
    the layers as the point's parameters of the workload make them (``workload_axes``), of which
    there is one case unless they are axes.  ``items`` has the items of all cases, case after case,
    as many of each.  Rows stand with the architecture slowest.

    Architectures of equal content are one, and so are items: their number among the different
    ones is ``machine_point[m]`` and ``item_point[i]``, and ``machine_point * different items +
    item_point`` is a row's *code*.  Points are the different codes that rows have, in order.
    """

    machines: Machines
    space: Space
    items: list[Item]
    numbers: list[int]  # [architectures] in the space
    names: list[str]  # [architectures]
    digests: list[bytes]  # [architectures] of their content
    errors: dict[int, str]  # why an architecture cannot be built, by its place in the three above
    case: list[int]  # [architectures] of the items
    goal: Objective | None = None  # of the best dataflow of each layer, if that is asked for
    named: bool = True  # whether the study names its dataflows

    @cached_property
    def width(self) -> int:
        """Items of an architecture."""
        return len(self.items) // (max(self.case) + 1)

    @cached_property
    def row_items(self) -> Ids:
        """[architectures, width] The place of each row's item."""
        first = np.array(self.case, dtype=np.int64) * self.width
        return cast(Ids, first[:, None] + np.arange(self.width))

    @cached_property
    def machine_point(self) -> Ids:
        """[architectures] Equal ones by equal numbers, in order of appearance."""
        return _codes(self.digests)

    @cached_property
    def item_point(self) -> Ids:
        """[items] Equal ones by equal numbers, in order of appearance."""
        return _codes([item.digest for item in self.items])

    @cached_property
    def first_machines(self) -> list[int]:
        """For every different architecture where it first stands in ``numbers``."""
        return _firsts(self.machine_point)

    @cached_property
    def first_items(self) -> list[int]:
        """For every different item where it first stands in ``items``."""
        return _firsts(self.item_point)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.numbers) * self.width

    @property
    def points(self) -> int:
        """How many different points they have."""
        return len(self.codes)

    @cached_property
    def _row_codes(self) -> Ids:
        """[rows] The code of each."""
        many = len(self.first_items)
        grid = self.machine_point[:, None] * many + self.item_point[self.row_items]
        return cast(Ids, grid.reshape(-1))

    @cached_property
    def codes(self) -> Ids:
        """[points] The code of each, in order; every one there can be where there is one case."""
        if not any(self.case):
            return np.arange(len(self.first_machines) * len(self.first_items), dtype=np.int64)
        return cast(Ids, np.unique(self._row_codes))

    @cached_property
    def row_points(self) -> Ids:
        """[rows] The point of each."""
        if not any(self.case):
            return self._row_codes
        return cast(Ids, np.searchsorted(self.codes, self._row_codes).astype(np.int64))

    def overrides(self, machine: int) -> dict[str, Any]:
        """The keys an architecture overrides; ``machine`` counts the plan's own."""
        return self.space.point(self.numbers[machine])

    def parts(self, point: int) -> tuple[int, Item]:
        """The architecture of a point, as the plan counts them, and its item."""
        m, i = divmod(int(self.codes[point]), len(self.first_items))
        return self.first_machines[m], self.items[self.first_items[i]]

    def key(self, point: int) -> bytes:
        """What a point is known by in a store: 16 bytes of a hash of all that determines it."""
        machine, item = self.parts(point)
        return content_hash(self.digests[machine] + item.digest)

    def keys(self) -> list[bytes]:
        """The keys of all points."""
        machines = [self.digests[m] for m in self.first_machines]
        items = [self.items[i].digest for i in self.first_items]
        pairs = (divmod(code, len(items)) for code in self.codes.tolist())
        return [content_hash(machines[m] + items[i]) for m, i in pairs]

    @cached_property
    def digest(self) -> str:
        """What the whole plan is known by."""
        whole = hashlib.sha256()
        for digest, number in zip(self.digests, self.numbers, strict=True):
            whole.update(digest + canonical(self.space.point(number)).encode())
        for item in self.items:
            names = [item.workload, item.layer.name, item.recipe.short, item.recipe.mapping]
            whole.update(item.digest + canonical(names).encode())
        return whole.hexdigest()[:32]

    def identity(self) -> dict[str, Column]:
        """The columns [rows] that name each row: workload, layer, arch, the axes, set, dataflow,
        engine, direction, mapping, batch, seed.
        """
        count = len(self.numbers)

        def by_machine(values: Iterable[Any]) -> Column:
            return column(list(values)).take(np.repeat(np.arange(count), self.width))

        def by_item(values: Iterable[Any]) -> Column:
            return column(list(values)).take(self.row_items.reshape(-1))

        points = [self.overrides(m) for m in range(count)]
        axes = {
            key: by_machine(axis_value(p[key]) if key in p else None for p in points)
            for key in self.space.keys
        }
        return {
            "workload": by_item(item.workload for item in self.items),
            "layer": by_item(item.layer.name for item in self.items),
            "arch": by_machine(self.names),
            **axes,
            "set": by_machine(override_text(p) for p in points),
            "dataflow": by_item(item.recipe.short for item in self.items),
            "engine": by_item(item.engine for item in self.items),
            "direction": by_item(item.problem.direction for item in self.items),
            "mapping": by_item(item.recipe.mapping for item in self.items),
            "batch": by_item(item.problem.N for item in self.items),
            "seed": by_item(item.seed for item in self.items),
        }


def axis_value(value: Any) -> Any:
    """A value of an axis as it stands in a table: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _codes(digests: Sequence[bytes]) -> Ids:
    """Equal digests by equal numbers, in order of appearance."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(d, len(seen)) for d in digests], dtype=np.int64)


def _firsts(codes: Ids) -> list[int]:
    return [int(i) for i in np.unique(codes, return_index=True)[1]]


def plan(study: Study) -> SweepPlan:
    """The plan over a study's space, all of it or a sample.

    Raises InputError for names and files that are wrong, for keys no architecture has, for more
    points than are run, and where no point is left.
    """
    machines = Machines.load(study.arch)
    made = study_recipes(study, machines)
    here = space(study.grid, study.zipped, study.points)
    drawn = study.sample
    wanted = here.size if drawn is None else min(here.size, drawn)
    of_params = items_of(study, made)
    refuse_large(wanted * len(of_params({})), "grid" if drawn is None else "sample")
    check_values(here)
    check_keys(machines, here)
    check_dataflows(machines, here, made)
    accept = Constraints(study.constraints, machines, here.keys) if study.constraints else None
    if drawn is None:
        numbers = list(chosen(here, accept))
    else:
        numbers = sample(here, drawn, study.seed, accept)
    if not numbers:
        raise InputError("leave no point", key="constraints")
    goal = goal_of(study) if chooses(study) else None
    named = goal is None or study.best_of is not None
    built = build(machines, here, of_params, numbers)
    return replace(built, goal=goal, named=named)


def items_of(study: Study, recipes: Sequence[Recipe]) -> ItemsOf:
    """The items of a study under some recipes, by the parameters of its workloads; those that were
    asked for before are the same.
    """
    known: dict[str, list[Item]] = {}

    def of(params: Mapping[str, Any]) -> list[Item]:
        text = canonical(params)
        if text not in known:
            known[text] = items(study, networks(study, params), recipes)
        return known[text]

    return of


def build(machines: Machines, space: Space, items_of: ItemsOf, numbers: list[int]) -> SweepPlan:
    """The plan of the points with these numbers.  Raises InputError for what is wrong with the
    parameters of a workload.
    """
    names, digests, errors = [], [], {}
    parts, case = cases(space, numbers, items_of)
    for m, number in enumerate(numbers):
        machine = machines.build(space.point(number))
        if machine.arch is not None and m < KEPT:
            keep(machines.digest, machine.digest, machine.arch)
        names.append(machine.name)
        digests.append(machine.digest)
        if machine.error is not None:
            errors[m] = machine.error
    together = [item for part in parts for item in part]
    return SweepPlan(machines, space, together, numbers, names, digests, errors, case)


def check_keys(machines: Machines, space: Space) -> None:
    """Raises InputError for a key no architecture has, and for one that is no axis."""
    if "default_tiles" in space.keys:
        rule = "is no axis; a study has a key tiles for all of its points"
        raise InputError(rule, key="default_tiles")
    for key in space.keys:
        if "." not in key and key in machines.data.get("levels", ()):
            rule = "is no axis; one that is about a level begins with levels"
            raise InputError(rule, key=key, choices=(f"levels.{key}",))
    known: set[str] = set()
    for axis in space.axes:
        listed = isinstance(axis, Listed)
        for position in range(len(axis) if listed else 1):
            above = f"points.{position}" if isinstance(axis, Listed) else axis.name
            for key, value in axis.at(position).items():
                if key not in known and not is_parameter(key):
                    known.add(key)
                    _check_key(machines, above, key, value)


def check_dataflows(machines: Machines, space: Space, recipes: Sequence[Recipe]) -> None:
    """Raises InputError for a dataflow that keeps in the PEs what no architecture of the space can,
    before anything is evaluated.  Where what levels keep is an axis, points tell by themselves.
    """
    if any(axis_key.split(".")[-1] in ("keeps", "levels") for axis_key in space.keys):
        return
    try:
        base = machines.base
    except InputError:  # some axis makes it whole
        return
    for recipe in recipes:
        if recipe.dataflow is None or recipe.file is not None:
            continue
        refuse_unkept(recipe.dataflow, base, "dataflows")


def _check_key(machines: Machines, above: str, key: str, value: Any) -> None:
    try:
        machines.check_key(key, value)
    except InputError as error:
        place = f"{above}.{key}"
        raise InputError(error.rule, key=place, got=error.got, choices=error.choices) from None
