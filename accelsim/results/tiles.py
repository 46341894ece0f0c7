"""Whose tiles a layer gets: the fixed rule's, or the best that a search finds.

``simulate`` and sweeps take ``tiles``, ``objective``, ``effort`` and ``limit``; here they are
checked and become sources of mappings (``mapping.files.MappingSource``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from accelsim.base.errors import InputError
from accelsim.hardware.architecture import Architecture
from accelsim.mapper.effort import EFFORTS, BestTiles, Effort, best_tiles
from accelsim.mapper.objective import Objective
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import DataflowsLike, MappingSource, sources
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.workload.problem import Problem

Tiles = Literal["best", "rule"]
TILES: tuple[Tiles, ...] = ("best", "rule")


@dataclass(frozen=True)
class TilesRequest:
    """The tiles with the least ``objective`` that this ``effort`` finds in at most ``limit``
    seconds a layer.
    """

    objective: str = "edp"
    effort: Effort = "quick"
    limit: float | None = None

    @classmethod
    def of(
        cls,
        tiles: str | None,
        objective: str | None,
        effort: str | None,
        limit: float | None,
        own: Tiles = "best",
        *,
        choosing: bool = False,
    ) -> TilesRequest | None:
        """What is asked for; None is the fixed rule.  Without ``tiles`` they are the machine's
        ``own`` (``default_tiles``), unless something is said of a search.  ``choosing`` says that
        the best dataflow is chosen by the objective, whosever the tiles are.  Raises InputError.
        """
        asked = {"objective": None if choosing else objective, "effort": effort, "limit": limit}
        if tiles is None:
            tiles = "best" if any(value is not None for value in asked.values()) else own
        if tiles not in TILES:
            raise InputError(
                f"must be one of {', '.join(TILES)}", key="tiles", got=str(tiles), choices=TILES
            )
        if tiles == "rule":
            for key, value in asked.items():
                if value is not None:
                    raise InputError("goes with tiles: best", key=key, got=str(value))
            return None
        text = "edp" if objective is None else Objective.parse(objective).text.replace(" ", "")
        effort = "quick" if effort is None else effort
        if effort not in EFFORTS:
            raise InputError(
                f"must be one of {', '.join(EFFORTS)}", key="effort", got=effort, choices=EFFORTS
            )
        number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (number and 0 < limit < inf):
            raise InputError("must be above 0 seconds", key="limit", got=str(limit))
        return cls(text, effort, None if limit is None else float(limit))

    @property
    def name(self) -> str:
        """What stands in the column ``mapping``: ``best``, and all that is not as always."""
        parts = [
            "best",
            *([] if self.objective == "edp" else [self.objective]),
            *([] if self.effort == "quick" else [self.effort]),
            *([] if self.limit is None else [f"{self.limit:g}s"]),
        ]
        return "_".join(parts)

    @property
    def content(self) -> str:
        """All that determines the answer besides architecture, layer and dataflow."""
        return f"best {Objective.parse(self.objective).powers} {self.effort} {self.limit}"

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of ``simulate`` that ask for the same."""
        return {
            "tiles": "best",
            "objective": self.objective,
            "effort": self.effort,
            "limit": self.limit,
        }

    def best(self, problem: Problem, arch: Architecture, flow: Dataflow) -> BestTiles:
        """The tiles of a layer.  Raises MappingError."""
        return best_tiles(problem, arch, flow, self.objective, self.effort, self.limit)

    def sources(self, dataflow: DataflowsLike | None) -> list[MappingSource]:
        """A source for each dataflow."""
        listed = []
        for ruled in sources(dataflow):
            assert ruled.flow is not None
            searched = _Searched(self, ruled.flow)
            listed.append(
                MappingSource(
                    ruled.dataflow,
                    ruled.name,
                    self.name,
                    searched.mapping_of,
                    ruled.flow,
                    searched.told,
                )
            )
        return listed


@dataclass(frozen=True)
class _Searched:
    """Searches a dataflow's tiles, those of a layer once."""

    request: TilesRequest
    flow: Dataflow
    known: dict[tuple[Problem, int], tuple[Architecture, BestTiles]] = field(default_factory=dict)

    def _best(self, problem: Problem, arch: Architecture) -> BestTiles:
        key = problem, id(arch)
        if key not in self.known:
            self.known[key] = arch, self.request.best(problem, arch, self.flow)
        return self.known[key][1]

    def mapping_of(self, layer: str, problem: Problem, arch: Architecture) -> LoopMapping:
        return self._best(problem, arch).mapping

    def told(self, problem: Problem, arch: Architecture) -> Mapping[str, Any]:
        """Where the mapping is from, and how far it may be from the best."""
        best = self._best(problem, arch)
        return {"tiles": best.source, "gap": best.gap, "search_stopped": best.stopped}


__all__ = ["TILES", "Tiles", "TilesRequest"]
