"""The study file: a sweep on a page, and how it becomes a plan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, log
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.expression import parse
from accelsim.base.shipped import SUFFIXES
from accelsim.base.validation import validate
from accelsim.base.yaml_reading import YamlSource, read_yaml
from accelsim.explore.mapper_request import Request
from accelsim.explore.plan import SweepPlan
from accelsim.explore.sweep import prepare
from accelsim.hardware.architecture import Frozen
from accelsim.mapper.space import TileChoice
from accelsim.results.simulate import Engine
from accelsim.workload.layers import Name
from accelsim.workload.problem import Direction

MAX_VALUES = 100_000  # of a range that is listed
KEYS = {
    "architecture": "arch",
    "dataflow": "dataflows",
    "layer": "layers",
}  # of a study, by what messages elsewhere call them

Number = Annotated[int, Field()] | Annotated[float, Field(allow_inf_nan=False)]


class AxisRange(Frozen):
    """Values from ``first`` to ``last``, both included, ``step`` apart (1 if not given) or each
    ``factor`` times the one before.
    """

    first: Number
    last: Number
    step: Number | None = None
    factor: Number | None = None

    @model_validator(mode="after")
    def _consistent(self) -> AxisRange:
        if self.step is not None and self.factor is not None:
            raise ValueError("step or factor is given, not both")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step: must be greater than 0, got {self.step}")
        if self.factor is not None and self.factor <= 1:
            raise ValueError(f"factor: must be greater than 1, got {self.factor}")
        if self.factor is not None and self.first <= 0:
            raise ValueError(f"first: must be greater than 0 with a factor, got {self.first}")
        if self.last < self.first:
            raise ValueError(f"last: must be at least first, got {self.last}")
        if not self._whole and self._steps > MAX_VALUES:
            raise ValueError(f"makes more than {MAX_VALUES} values")
        return self

    @property
    def _whole(self) -> bool:
        """Whether the values are whole numbers a whole step apart, which need not be listed."""
        return self.factor is None and all(
            isinstance(v, int)
            for v in (self.first, self.last, 1 if self.step is None else self.step)
        )

    @property
    def _steps(self) -> float:
        """How often a step or a factor goes into the range."""
        if self.factor is not None:
            return log(self.last / self.first) / log(self.factor)
        return (self.last - self.first) / (1 if self.step is None else self.step)

    def values(self) -> Sequence[int | float]:
        """The values; whole numbers are not listed."""
        step = 1 if self.step is None else self.step
        if self._whole:
            return range(int(self.first), int(self.last) + 1, int(step))
        if self.factor is None:
            return [self.first + i * step for i in range(floor(self._steps + 1e-9) + 1)]
        found = [self.first]
        while found[-1] * self.factor <= self.last * (1 + 1e-12) and len(found) <= MAX_VALUES:
            found.append(found[-1] * self.factor)
        return found


def _readable(text: str) -> str:
    parse(text)  # an ExpressionError is a ValueError
    return text


Condition = Annotated[str, AfterValidator(_readable)]
Listed = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Values = Annotated[
    Annotated[AxisRange, Tag("range")] | Annotated[Listed, Tag("list")],
    Discriminator(lambda value: "range" if isinstance(value, (dict, AxisRange)) else "list"),
]
Axes = dict[str, Values]
Texts = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class Study(Displayed, Frozen):
    """A sweep: every layer of the workload, under every dataflow, on every architecture of the
    space.

    ``grid`` has axes, each a dotted key of the architecture and its values, crossed with each
    other; keys of a ``zipped`` group move together; ``points`` lists overrides instead.
    ``constraints`` are conditions that keep an architecture. The mapper's objective is given as
    mapper, or as objective beside mapper: true; limit is in seconds a layer. Files are named
    relative to the study's own folder.
    """

    name: Name = ""
    description: str = ""
    workload: str | Texts
    layers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    arch: str
    dataflows: str | Texts | None = None
    mapping: str | None = None
    mapper: bool | str | None = None
    objective: str | None = None
    tiles: TileChoice = "divisors"
    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    grid: Axes = Field(default_factory=dict)
    zipped: Annotated[tuple[Axes, ...], Field(strict=False)] = ()
    points: Annotated[tuple[dict[str, Any], ...], Field(strict=False, min_length=1)] | None = None
    sample: Annotated[int, Field(ge=1)] | None = None
    constraints: Annotated[tuple[Condition, ...], Field(strict=False)] = ()
    engine: Engine = "analytic"
    direction: Direction = "forward"
    batch: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    total: bool = False
    store: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if self.dataflows is None and self.mapping is None:
            raise ValueError("dataflows must be given, or a mapping")
        Request.of(self.mapper, self.objective, self.tiles, self.limit)
        if self.points is not None and (self.grid or self.zipped):
            raise ValueError("points: goes without grid and zipped")
        return self


@dataclass(frozen=True)
class Opened:
    """A study with the file it comes from."""

    study: Study
    source: YamlSource

    @property
    def name(self) -> str:
        """Its name, the file's if it has none."""
        return self.study.name or Path(self.source.file).stem

    @property
    def store(self) -> Path | None:
        """The store it names."""
        return None if self.study.store is None else self._folder / self.study.store

    @property
    def _folder(self) -> Path:
        return Path(self.source.file).parent

    def searched(self, mapper: str | None, tiles: str | None, limit: float | None) -> Opened:
        """The study with the mapper's objective, tiles or limit in place of its own.  Raises
        InputError.
        """
        told = {"mapper": mapper, "tiles": tiles, "limit": limit}
        changed = {k: v for k, v in told.items() if v is not None} | (
            {"objective": None} if mapper is not None else {}
        )
        study = self.study.model_copy(update=changed)
        Request.of(study.mapper, study.objective, study.tiles, study.limit)
        return replace(self, study=study)

    def options(self) -> dict[str, Any]:
        """Arguments for ``sweep.prepare`` and ``search.search``, files by their paths."""
        s = self.study

        searched = Request.of(s.mapper, s.objective, s.tiles, s.limit)

        def located(text: str) -> str:
            path = text.endswith(SUFFIXES) or "/" in text or os.sep in text
            return str(self._folder / text) if path else text

        def several(given: str | tuple[str, ...] | None) -> list[str] | None:
            return (
                None
                if given is None
                else [
                    located(t.strip())
                    for t in (given.split(",") if isinstance(given, str) else given)
                ]
            )

        return {
            "workload": several(s.workload),
            "arch": located(s.arch),
            "grid": {key: _values(v) for key, v in s.grid.items()},
            "zipped": [{key: _values(v) for key, v in group.items()} for group in s.zipped],
            "points": None if s.points is None else list(s.points),
            "constraints": s.constraints,
            "dataflows": several(s.dataflows),
            "mapping": None if s.mapping is None else located(s.mapping),
            "mapper": None if searched is None else searched.objective,
            "tiles": s.tiles,
            "limit": s.limit,
            "layers": s.layers,
            "engine": s.engine,
            "direction": s.direction,
            "batch": s.batch,
            "seed": s.seed,
        }

    def plan(self) -> SweepPlan:
        """What it asks for.  Raises InputError with the place in the file."""
        try:
            return prepare(**self.options(), sample=self.study.sample)
        except InputError as error:
            raise self.placed(error) from None

    def placed(self, error: InputError) -> InputError:
        """The error with its place, if it is about a key of this file."""
        if error.file is not None or not error.key:
            return error
        steps = _steps(self.source.data, KEYS.get(error.key, error.key))
        while steps and steps not in self.source.places:
            steps = steps[:-1]
        if not steps:
            return error
        line, column = self.source.places[steps].value
        return InputError(
            error.rule,
            file=self.source.file,
            line=line,
            column=column,
            key=error.key,
            got=error.got,
            choices=error.nearest,
        )


def load_study(path: str | os.PathLike[str]) -> Opened:
    """A study file, read and checked by itself.  Raises InputError with file, line and column."""
    source = read_yaml(path, "study")
    return Opened(validate(source.data, Study, "study", source), source)


def _values(given: AxisRange | tuple[Any, ...]) -> Sequence[Any]:
    return given.values() if isinstance(given, AxisRange) else given


def _steps(data: Any, key: str) -> tuple[str | int, ...]:
    """The keys and indices that a dotted key names, as far as the data go; a key may have dots."""
    entries = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for name, value in entries:
        if key == str(name):
            return (name,)
        if key.startswith(f"{name}."):
            return (name, *_steps(value, key[len(str(name)) + 1 :]))
    return ()
