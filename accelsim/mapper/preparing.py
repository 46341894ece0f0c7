"""From a skeleton and lists of tiles to the tables of its cells, without what can never be best.

In each cell the families whose tiles meet in one factor are a group, and all combinations of their
choices are listed.  Left out are those that overflow the array or a level even with the least of
all others, and, where ``dominance`` is asked, those that another is never worse than.  What is left
out is tallied, so that every mapping of the space is accounted for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapper.bound_table import BoundTable, SearchTally, product_of
from accelsim.mapper.cell import Cell, ChoiceGroup
from accelsim.mapper.cell_blocks import blocks, every_block
from accelsim.mapper.deadline import in_time
from accelsim.mapper.dominance import undominated
from accelsim.mapper.packed import Packed
from accelsim.mapper.space import TileRows
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.skeleton import Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
MANY = 8192  # choices compared at once for dominance
Choices = tuple[
    Ints, Floats
]  # of a group: tiles [choices, loops], what they use [choices, columns]


def prepare(
    skeleton: Skeleton,
    listed: Sequence[TileRows],
    measures: Sequence[str],
    tally: SearchTally,
    *,
    dominance: bool = True,
    deadline: float | None = None,
) -> Iterator[BoundTable]:
    """Tables of a skeleton's cells; what is left out on the way is tallied.  Raises TimeoutError
    past the deadline.
    """
    for block in blocks(skeleton, listed):
        whole = prod(len(p) for p in block.picks)
        try:
            cell = Cell(skeleton, block.there, block.final, listed)
        except MappingError:
            tally.capacity += whole
            continue
        table, alone, dominated = group_tables(
            cell, listed, block.picks, measures, dominance, deadline
        )
        tally.capacity += alone
        tally.dominated += dominated
        if table is not None:
            yield table


def least(skeleton: Skeleton, measures: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Lower bounds of the measures in each cell a skeleton can have, whatever its tiles."""
    for block in every_block(skeleton):
        try:
            cell = Cell(skeleton, block.there, block.final, ())
        except MappingError:
            continue
        yield BoundTable(cell, [], measures).least()


def group_tables(
    cell: Cell,
    listed: Sequence[TileRows],
    picks: Sequence[Ints],
    measures: Sequence[str],
    dominance: bool,
    deadline: float | None = None,
) -> tuple[BoundTable | None, int, int]:
    """The table of a cell's choices, None if none fits; how many mappings do not, whatever the
    others are; and of how many another is never worse.

    ``picks`` are the rows of ``listed`` in the cell, by family.  Raises TimeoutError past the
    deadline.
    """
    whole = prod(len(p) for p in picks)
    grouped = cell.grouped()
    choices = [
        _choices(cell, listed, picks, families, at == 0, deadline)
        for at, families in enumerate(grouped)
    ]
    choices = _fitting(cell, choices)
    fitting = prod(len(tiles) for tiles, _ in choices)
    if not fitting:
        return None, whole, 0
    forms = [m for m in measures if m != "cycles"] + (
        cell.forms if "cycles" in measures or cell.static else []
    )
    groups = [
        _group(cell, families, own, forms, at == 0, dominance, deadline)
        for at, (families, own) in enumerate(zip(grouped, choices, strict=True))
    ]
    in_time(deadline)
    table = BoundTable(cell, groups, measures)
    return table, whole - fitting, fitting - table.volume


def _choices(
    cell: Cell,
    listed: Sequence[TileRows],
    picks: Sequence[Ints],
    families: tuple[int, ...],
    lead: bool,
    deadline: float | None,
) -> Choices:
    """All combinations of the families' choices, and what they use."""
    grids = np.meshgrid(*[picks[f] for f in families], indexing="ij")
    tiles, trips = (
        np.hstack([getattr(listed[f], x)[g.ravel()] for f, g in zip(families, grids, strict=True)])
        for x in ("tiles", "trips")
    )
    parts = [np.zeros((0, cell.usage(families, tiles[:1], trips[:1], lead=lead).shape[1]))]
    for at in range(0, len(tiles), 8 * MANY):
        in_time(deadline)
        part = slice(at, at + 8 * MANY)
        parts.append(cell.usage(families, tiles[part], trips[part], lead=lead))
    return tiles, np.concatenate(parts)


def _fitting(cell: Cell, choices: list[Choices]) -> list[Choices]:
    """Without the choices that overflow with the least of all other groups; until none does, for
    what is left out may have been another's least.
    """
    while True:
        least = [u.min(axis=0) if len(u) else np.ones(u.shape[1]) for _, u in choices]
        kept = []
        for at, (tiles, usage) in enumerate(choices):
            others = product_of(
                [np.ones_like(least[0]), *[x for i, x in enumerate(least) if i != at]]
            )
            fits = np.ones(len(tiles), bool)
            for limit in cell.limits:
                fits &= limit.used((usage * others).T) <= limit.most
            kept.append((tiles[fits], usage[fits]))
        if all(len(a[0]) == len(b[0]) for a, b in zip(choices, kept, strict=True)):
            return choices
        choices = kept


def _group(
    cell: Cell,
    families: tuple[int, ...],
    choices: Choices,
    forms: Sequence[str],
    lead: bool,
    dominance: bool,
    deadline: float | None,
) -> ChoiceGroup:
    """A group's tables, MANY choices at a time: in the order they are listed neighbours are alike,
    and cover each other most.
    """
    tiles, usage = choices
    left: list[Ints] = []
    tables: list[tuple[Floats, Floats, Floats]] = []
    closer: list[Floats] = []
    for base in range(0, len(tiles), MANY):
        in_time(deadline)
        part = np.arange(base, min(base + MANY, len(tiles)))
        terms, first, ratio = cell.tables(families, tiles[part], forms, lead=lead)
        best = np.arange(len(part))
        if dominance:
            costs = np.hstack([cell.costs(families, forms, terms, first, ratio), usage[part]])
            best = undominated(costs, lambda: in_time(deadline))
        left.append(part[best])
        tables.append((terms[best], first[best], ratio[best]))
        if cell.closer and any(f.startswith("cycles") for f in forms):
            closer.append(cell.tables(families, tiles[part[best]], cell.closer, lead=lead)[0])
    rows = np.concatenate(left)
    packed = [Packed.of(np.concatenate(x)) for x in zip(*tables, strict=True)]
    group = ChoiceGroup(
        families,
        tiles[rows],
        cell.columns_of(families),
        terms=packed[0],
        first=packed[1],
        ratio=packed[2],
        usage=usage[rows],
    )
    if closer:
        group.closer = Packed.of(np.concatenate(closer))
    return group


__all__ = ["group_tables", "least", "prepare"]
