"""A study: which layers are evaluated on which architectures under which dataflows, and how.

One ``Study`` describes a sweep or a guided search, whoever asks for it.  ``sweep`` and ``search``
(``explore/sweep.py``) build it from keywords, ``load_study`` (``explore/study_file.py``) from a
page, and ``accelsim sweep`` from that page and its options.  Names, defaults and what does not go
together stand here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from accelsim.base.display import Displayed
from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_NUMBER
from accelsim.base.validation import argument, check_fields
from accelsim.explore.best_rows import chooses
from accelsim.explore.execution import OnError, carry_out
from accelsim.explore.guided_search import guided
from accelsim.explore.mapper_request import AnyTiles, Request
from accelsim.explore.plan import SweepPlan, plan
from accelsim.mapper.effort import Effort
from accelsim.results.simulate import ENGINES, Engine
from accelsim.results.tiles import TILES as WHOSE
from accelsim.results.tiles import Tiles, TilesRequest
from accelsim.workload.problem import ACCUMULATED, Direction

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import pandas as pd

    from accelsim.base.yaml_reading import YamlSource
    from accelsim.explore.columns import Table
    from accelsim.explore.pools import DaskClient
    from accelsim.explore.progress import Watched
    from accelsim.explore.runner import Runner
    from accelsim.explore.study_file import StudyFile
    from accelsim.hardware.architecture import Architecture
    from accelsim.mapping.dataflow import Dataflow
    from accelsim.mapping.files import MappingFile
    from accelsim.mapping.mapping import Mapping as LoopNest
    from accelsim.workload.layers import Layer
    from accelsim.workload.network import Workload

    # A shipped name or a file.
    Named: TypeAlias = str | os.PathLike[str]
    Network: TypeAlias = Named | Workload | Layer
    Networks: TypeAlias = Network | Sequence[Layer] | Sequence[Network]
    Flows: TypeAlias = Named | Dataflow | Sequence[Named | Dataflow]
    # Dotted keys of the architecture, and the values of each.
    Axes: TypeAlias = Mapping[str, Iterable[object]]
    # Overrides, an architecture each.
    Points: TypeAlias = Iterable[Mapping[str, object]] | pd.DataFrame

# What messages elsewhere call the keys of a study.
KEYS = {"architecture": "arch", "dataflow": "dataflows", "layer": "layers"}


@dataclass(frozen=True, eq=False, repr=False)
class Study(Displayed):
    """Every layer of the workload, under every dataflow, on every architecture of a space.

    ``sweep`` says what each keyword means.  ``layers`` chooses layers by name.  ``name`` and
    ``description`` are for people; a store lists its studies by name.  ``source`` is the file it
    was read from, so that what is wrong is said with its line.

    Raises InputError where it is built for what no study can be: a number out of its range, keys
    that do not go together.  Names, files and keys of architectures are looked up by ``plan``.
    """

    workload: Networks
    arch: Named | Architecture
    grid: Axes | None = None
    _: KW_ONLY
    points: Points | None = None
    zipped: Axes | Sequence[Axes] | None = None
    sample: int | None = None
    constraints: Sequence[str] = ()
    dataflows: Flows | None = None
    best_of: Flows | None = None
    mapping: Named | LoopNest | MappingFile | None = None
    mapper: str | bool | None = None
    objective: str | None = None  # of the mapper, or of tiles best
    tiles: AnyTiles | None = None  # best or rule; of the mapper: divisors, even or all
    effort: Effort | None = None  # of tiles best
    limit: float | None = None  # seconds a layer
    layers: Sequence[str] = ()
    engine: Engine = "analytic"
    direction: Direction = "forward"
    batch: int | None = None
    seed: int = 0
    total: bool = False
    store: Named | None = None
    name: str = "sweep"
    description: str = ""
    source: YamlSource | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("direction", self.direction, tuple(ACCUMULATED))
        _check_number("batch", self.batch, 1)
        _check_number("seed", self.seed, 0)
        together(self)

    def __repr__(self) -> str:
        """The call that makes it: all that is not as always."""
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name != "source"]
        told = [f"{name}={value!r}" for name, value in given if value is not _DEFAULTS.get(name)]
        return f"Study({', '.join(told)})"

    def mapper_request(self, own: Tiles) -> Request | TilesRequest | None:
        """What is searched for; None: tiles are those of the fixed rule, or of a mapping file.
        ``own`` is the machine's, which goes where the study says nothing.
        """
        return _request(self, "rule" if self.mapping is not None else own)

    def searched(
        self,
        mapper: str | None,
        tiles: AnyTiles | None,
        limit: float | None,
        objective: str | None = None,
        effort: Effort | None = None,
    ) -> Study:
        """The study with what is given in place of its own mapper, tiles, limit, objective and
        effort.  Raises InputError where they do not go with the rest.
        """
        options: dict[str, Any] = {
            "mapper": mapper,
            "tiles": tiles,
            "limit": limit,
            "objective": objective,
            "effort": effort,
        }
        options = {name: value for name, value in options.items() if value is not None}
        if mapper is not None:
            options["objective"] = None
            if self.tiles in WHOSE and tiles is None:
                options |= {"tiles": None, "effort": None}
        elif tiles in WHOSE:
            options = {"mapper": None, "objective": None, "effort": None, "limit": None} | options
        return replace(self, **options)

    def plan(self) -> SweepPlan:
        """Its architectures, layers and rows; nothing is evaluated yet.

        Raises InputError for names, files, keys and expressions that are wrong, with the place in
        the file it was read from.
        """
        with self._placed():
            return plan(self)

    def run(
        self,
        *,
        jobs: int | None = None,
        pool: Executor | DaskClient | None = None,
        on_error: OnError = "record",
        progress: Watched = None,
    ) -> pd.DataFrame:
        """Its rows, one per architecture, layer and dataflow, or per network with ``total``.

        Arguments, columns and errors are those of ``sweep``.
        """
        swept = carry_out(
            self.plan(),
            store=self.store,
            jobs=argument("jobs", jobs, True),
            pool=pool,
            on_error=argument("on_error", on_error),
            name=self.name,
            progress=progress,
        )
        return (swept.totals() if self.total else swept.table()).to_frame()

    def search(
        self,
        objective: str = "edp",
        trials: int = 100,
        *,
        jobs: int | None = None,
        pool: Executor | DaskClient | None = None,
        runner: Runner | None = None,
        progress: Watched = None,
    ) -> Table:
        """``trials`` of its points, chosen to make ``objective`` small; as ``search`` gives them,
        but as a table.

        Arguments and errors are those of ``search``; ``runner`` works instead of ``jobs`` and
        ``pool``.  The study's own ``objective`` is the mapper's.
        """
        trials, objective = argument("trials", trials), argument("objective", objective)
        jobs = argument("jobs", jobs, True)
        with self._placed():
            if chooses(self):
                raise InputError("goes with sweep, not with search", key="best_of")
            return guided(
                self, objective, trials, jobs=jobs, pool=pool, runner=runner, progress=progress
            )

    @contextmanager
    def _placed(self) -> Iterator[None]:
        """Errors about a key of the file it was read from get their place in it."""
        try:
            yield
        except InputError as error:
            raise placed(error, self.source) from None


_DEFAULTS = {f.name: f.default for f in fields(Study)}


def _request(study: Study | StudyFile, own: Tiles) -> Request | TilesRequest | None:
    return Request.of(
        study.mapper,
        study.objective,
        study.tiles,
        study.limit,
        study.effort,
        own,
        choosing=chooses(study),
    )


def together(study: Study | StudyFile) -> None:
    """Raises InputError for keys of a study, or of a study file, that do not go together."""
    _request(study, "best")
    if chooses(study):
        best = "best" if study.best_of is None else "best_of"
        for key, given in (("mapping", study.mapping), ("mapper", study.mapper)):
            if given not in (None, False):
                raise InputError("does not go with the best dataflow", key=key, got=best)
        if study.best_of is not None and study.dataflows is not None:
            raise InputError("goes without dataflows", key="best_of")
    if study.points is not None and (study.grid or study.zipped):
        raise InputError("goes without grid and zipped", key="points")


def placed(error: InputError, source: YamlSource | None) -> InputError:
    """The error with its line and column, if it is about a key of this file and has none yet."""
    if source is None or error.file is not None or not error.key:
        return error
    steps = _steps(source.data, KEYS.get(error.key, error.key))
    while steps and steps not in source.places:
        steps = steps[:-1]
    if not steps:
        return error
    line, column = source.places[steps].value
    return InputError(
        error.rule,
        file=source.file,
        line=line,
        column=column,
        key=error.key,
        got=error.got,
        choices=error.choices,
    )


def _steps(data: Any, key: str) -> tuple[str | int, ...]:
    """The keys and indices that a dotted key names, as far as the data go; a key may have dots."""
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        entries = data.items()
    elif isinstance(data, list):
        entries = enumerate(data)
    for name, value in entries:
        if key == str(name):
            return (name,)
        if key.startswith(f"{name}."):
            return (name, *_steps(value, key[len(str(name)) + 1 :]))
    return ()


def _check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(
            f"must be one of {', '.join(choices)}", key=key, got=str(value), choices=choices
        )


def _check_number(key: str, number: int | None, least: int) -> None:
    if number is None:
        return
    if not least <= number <= MAX_NUMBER:
        raise InputError(f"must be a whole number of at least {least}", key=key, got=str(number))
