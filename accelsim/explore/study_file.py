"""The study file: the page a study stands on, what it may say, and the study it describes.

``accelsim sweep`` and ``acc.load_study`` read it; ``accelsim validate``, ``show`` and ``schema``
know its form, ``StudyFile``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import floor, log
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.expression import parse
from accelsim.base.frozen import Frozen
from accelsim.base.shipped import SUFFIXES
from accelsim.base.validation import checked, validate
from accelsim.base.yaml_reading import YamlSource, read_yaml
from accelsim.explore.mapper_request import AnyTiles
from accelsim.explore.study import Study, placed, together
from accelsim.mapper.effort import Effort
from accelsim.results.simulate import Engine
from accelsim.workload.layers import Name
from accelsim.workload.problem import Direction

MAX_VALUES = 100_000  # of a range that is listed

Number = Annotated[int, Field()] | Annotated[float, Field(allow_inf_nan=False)]


class AxisRange(Frozen):
    """Values of an axis, one after the other.

    ``first, last``  both included
    ``step``         from value to value; 1 if not given
    ``factor``       in place of a step: each value is so many times the one before
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
        powers = [self.first]
        while powers[-1] * self.factor <= self.last * (1 + 1e-12) and len(powers) <= MAX_VALUES:
            powers.append(powers[-1] * self.factor)
        return powers


def _readable(text: str) -> str:
    parse(text)  # an ExpressionError is a ValueError
    return text


Condition = Annotated[str, AfterValidator(_readable)]
ValueList = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Values = Annotated[
    Annotated[AxisRange, Tag("range")] | Annotated[ValueList, Tag("list")],
    Discriminator(lambda value: "range" if isinstance(value, (dict, AxisRange)) else "list"),
]
FileAxes = dict[str, Values]
Texts = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class StudyFile(Displayed, Frozen):
    """A sweep: every layer of the workload, under every dataflow, on every architecture of the
    space.

    Files are named relative to the study's own folder.

    ``name``         of the sweep; what a store lists it by
    ``description``  a line about it
    ``workload``     a name, a file, or several of them
    ``layers``       those to run, by name; all if not given
    ``arch``         a name or a file: the architecture that the axes change
    ``dataflows``    names or files; ``best``: the best of all for each layer
    ``best_of``      in place of ``dataflows``: each layer's best of these has rows of its own
    ``mapping``      a name or a file, in place of tiles that are chosen
    ``mapper``       an objective, or true with ``objective``: the mapper chooses the tiles
    ``objective``    of the tiles: edp if not given
    ``tiles``        the best found, or the fixed rule's
    ``effort``       of the search for tiles: quick, thorough or proved
    ``limit``        of the search for a layer's tiles
    ``grid``         axes, each a dotted key of the architecture, or ``params.NAME`` for a parameter
                     of the workload, with its values, crossed with each other
    ``zipped``       groups of axes that move together
    ``points``       lists of keys with a value each, in place of axes
    ``sample``       so many of the points, drawn by ``seed``
    ``constraints``  conditions on keys and columns that keep a point
    ``engine``       which one runs the layers
    ``direction``    forward, or a gradient
    ``batch``        in place of the workload's own
    ``seed``         of the sample and of random data
    ``total``        a row is a whole network
    ``store``        an SQLite file: points in it are not run again
    """

    name: Name = ""
    description: str = ""
    workload: str | Texts
    layers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    arch: str
    dataflows: str | Texts | None = None
    best_of: str | Texts | None = None
    mapping: str | None = None
    mapper: bool | str | None = None
    objective: str | None = None
    tiles: AnyTiles | None = Study.tiles
    effort: Effort | None = None
    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    grid: FileAxes = Field(default_factory=dict)
    zipped: Annotated[tuple[FileAxes, ...], Field(strict=False)] = ()
    points: Annotated[tuple[dict[str, Any], ...], Field(strict=False, min_length=1)] | None = None
    sample: Annotated[int, Field(ge=1)] | None = None
    constraints: Annotated[tuple[Condition, ...], Field(strict=False)] = ()
    engine: Engine = Study.engine
    direction: Direction = Study.direction
    batch: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    seed: Annotated[int, Field(ge=0)] = Study.seed
    total: bool = Study.total
    store: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> StudyFile:
        if self.dataflows is None and self.mapping is None and self.best_of is None:
            raise ValueError("dataflows must be given, or a mapping")
        together(self)
        return self

    def study(self, source: YamlSource) -> Study:
        """The study it describes, files by their paths, called after its file if it has no name."""
        folder = Path(source.file).parent
        keys = {key: getattr(self, key) for key in self.model_fields_set}
        return Study(
            **keys
            | {
                "workload": _several(self.workload, folder),
                "arch": _located(self.arch, folder),
                "dataflows": _several(self.dataflows, folder),
                "best_of": _several(self.best_of, folder),
                "mapping": None if self.mapping is None else _located(self.mapping, folder),
                "grid": _listed(self.grid),
                "zipped": [_listed(group) for group in self.zipped],
                "store": None if self.store is None else folder / self.store,
                "name": self.name or Path(source.file).stem,
                "source": source,
            }
        )


@checked
def load_study(path: str | os.PathLike[str]) -> Study:
    """The study of a file, checked by itself; what it names is looked up by ``Study.plan``.

    Raises InputError with file, line and column.
    """
    source = read_yaml(path, "study")
    described = validate(source.data, StudyFile, "study", source)
    try:
        return described.study(source)
    except InputError as error:
        raise placed(error, source) from None


def _listed(axes: FileAxes) -> dict[str, Sequence[Any]]:
    """The values of each axis, ranges worked out."""
    return {
        key: values.values() if isinstance(values, AxisRange) else values
        for key, values in axes.items()
    }


def _several(given: str | tuple[str, ...] | None, folder: Path) -> list[str] | None:
    """Names and files, given as a list or with commas between them."""
    if given is None:
        return None
    texts = given.split(",") if isinstance(given, str) else given
    return [_located(text.strip(), folder) for text in texts]


def _located(text: str, folder: Path) -> str:
    """A file by its path from here, if it is one; a shipped name as it is."""
    is_path = text.endswith(SUFFIXES) or "/" in text or os.sep in text
    return str(folder / text) if is_path else text
