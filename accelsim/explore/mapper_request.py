"""What a sweep asks of the mapper for each of its points."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from accelsim.base.errors import InputError
from accelsim.hardware.architecture import Architecture
from accelsim.mapper.any_dataflow import ANY, is_any
from accelsim.mapper.objective import Objective
from accelsim.mapper.space import TILES, TileChoice
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import Mapping
from accelsim.results.best_mapping import map_layer
from accelsim.results.tiles import Tiles, TilesRequest
from accelsim.workload.layers import Layer
from accelsim.workload.problem import Direction

AnyTiles = TileChoice | Tiles


@dataclass(frozen=True)
class Request:
    """Tiles of ``tiles`` with the least ``objective``, at most ``limit`` seconds a layer (None:
    until it is proved).
    """

    objective: str
    tiles: TileChoice
    limit: float | None

    @classmethod
    def of(
        cls,
        mapper: str | bool | None,
        objective: str | None,
        tiles: str | None,
        limit: float | None,
        effort: str | None = None,
        own: Tiles = "best",
        *,
        choosing: bool = False,
    ) -> Request | TilesRequest | None:
        """What arguments of a sweep ask for; None if that is the fixed rule.

        ``mapper`` is an objective, or True, which means ``objective``, or edp if that is not given;
        its ``tiles`` are divisors unless given.  Without one ``tiles`` are ``best`` or ``rule``,
        the machine's ``own`` if neither is given, and ``effort`` goes with best; ``choosing`` as in
        ``TilesRequest.of``.  Raises InputError.
        """
        if mapper is None or mapper is False:
            if tiles in TILES:
                raise InputError("goes with a mapper", key="tiles", got=str(tiles))
            for key, value in (("objective", None if choosing else objective), ("limit", limit)):
                if value is not None and tiles == "rule":
                    raise InputError(
                        "goes with a mapper, or with tiles: best", key=key, got=str(value)
                    )
            return TilesRequest.of(tiles, objective, effort, limit, own, choosing=choosing)
        if effort is not None:
            raise InputError("goes with tiles: best, without a mapper", key="effort", got=effort)
        tiles = "divisors" if tiles is None else tiles
        if isinstance(mapper, str) and objective is not None:
            raise InputError(
                f"is given twice, the other is mapper: {mapper}", key="objective", got=objective
            )
        if not isinstance(mapper, (str, bool)):
            raise InputError("must be true or an objective", key="mapper", got=str(mapper))
        key, text = (
            ("mapper", mapper)
            if isinstance(mapper, str)
            else ("objective", "edp" if objective is None else objective)
        )
        try:
            text = Objective.parse(text).text.replace(" ", "")
        except InputError as error:
            raise InputError(error.rule, key=key, got=error.got, choices=error.choices) from None
        if tiles not in TILES:
            raise InputError(
                f"must be one of {', '.join(TILES)}", key="tiles", got=str(tiles), choices=TILES
            )
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < inf
        ):
            raise InputError("must be above 0 seconds", key="limit", got=str(limit))
        return cls(text, tiles, None if limit is None else float(limit))

    @property
    def name(self) -> str:
        """What stands in the column ``mapping``: ``mapper_edp``, with tiles that are not divisors
        and a limit behind it.
        """
        tiles = "" if self.tiles == "divisors" else f"_{self.tiles}"
        return f"mapper_{self.objective}{tiles}" + (
            "" if self.limit is None else f"_{self.limit:g}s"
        )

    @property
    def content(self) -> str:
        """All that determines the answer besides architecture, layer and dataflow."""
        return f"mapper {Objective.parse(self.objective).powers} {self.tiles} {self.limit}"

    def check(self, dataflow: Any) -> None:
        """Raises InputError for a dataflow these tiles do not go with."""
        if is_any(dataflow) and self.tiles != "divisors":
            raise InputError("dataflow any goes with divisors", key="tiles", got=self.tiles)

    def best(
        self,
        layer: Layer,
        arch: Architecture,
        dataflow: Dataflow | None,
        batch: int,
        direction: Direction,
    ) -> tuple[Mapping, dict[str, Any]]:
        """The mapping of a layer, and the ``gap`` it leaves; ``dataflow`` None: any.  Raises
        MappingError, and KeyboardInterrupt where the search was interrupted.
        """
        best = map_layer(
            layer,
            arch,
            ANY if dataflow is None else dataflow,
            objective=self.objective,
            tiles=self.tiles,
            limit=self.limit,
            batch=batch,
            direction=direction,
        )
        if best.certificate.stopped == "interrupted":
            raise KeyboardInterrupt
        return best.mapping, {"gap": best.certificate.gap}
