"""Who holds what, who reads it, how often: the boundaries of a nest as a table to check by hand.

``accelsim show --tiles`` prints it after each nest; the numbers are ``view.holdings``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from accelsim.base.text_table import Block, Facts, Page, Sentences, TextTable, spaced
from accelsim.mapping.nest import Nest
from accelsim.view.holdings import Holding, holdings, line_axis

NUMBERS = {"words", "steps", "taken", "read", "drained", "arrived", "updated", "reuse"}
KEY = (
    ("held in", "a level's instances, or MACs, with work at the first step, the fullest"),
    (
        "tile",
        "the largest, words along each dimension; no gaps, padding only where it is stored; "
        "what is not named is 1",
    ),
    ("steps", "settings of the loops outside the holder, all its instances in lockstep"),
    ("taken, read", "words the holders take in; words read to serve them, once for all who share"),
    ("drained, arrived", "sums the holders let go; what arrives after additions on the way"),
    ("updated", "sums that arrived at a word with a sum in it, which is read and added to"),
    ("reuse", "words the MACs take (sums they make) per word read (arrived) here"),
)
_WHO = ("tensor", "held in", "tile", "words")
_HOW = ("over", "kind", "steps")
_OPERANDS = (*_WHO, "read from", *_HOW, "taken", "read", "reuse")
_SUMS = (*_WHO, "sent to", *_HOW, "drained", "arrived", "updated", "reuse")


def tiles(nest: Nest, *, key: bool = True) -> str:
    """The page as text."""
    return tiles_page(nest, key=key).text()


def tiles_page(nest: Nest, *, key: bool = True) -> Page:
    """The operands, the accumulated tensor, what the columns mean (``key``), and what is fused."""
    operands, sums = [], []
    for holding in holdings(nest):
        moved = holding.moved
        if holding.boundary.tensor == nest.problem.accumulated:
            counts = (moved.drained, moved.arrived, moved.updated)
            sums.append(_row(nest, holding, counts))
        else:
            operands.append(_row(nest, holding, (moved.taken, moved.read)))
    fused = sorted({x.dim for x in nest.loops if x.dim in nest.mapping.fused})
    told = tuple(
        f"{name.lower()} runs over {', '.join(p.lower() for p in nest.mapping.fused[name])}"
        for name in fused
    )
    blocks: list[Block] = [_table(_OPERANDS, operands), _table(_SUMS, sums)]
    blocks += [Facts(KEY)] if key else []
    blocks += [Sentences(told, close=True)] if told else []
    return Page(blocks=tuple(blocks))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> TextTable:
    return TextTable.of(head, rows, [i for i, name in enumerate(head) if name in NUMBERS])


def _row(nest: Nest, holding: Holding, counts: Sequence[int]) -> list[str]:
    names = (*nest.arch.level_names, "MAC")
    boundary, axis = holding.boundary, line_axis(holding.boundary)
    return [
        boundary.tensor,
        _several(names[boundary.child], holding.copies),
        holding.tile,
        spaced(holding.words),
        _several(names[boundary.parent], holding.readers),
        boundary.network or "-",
        f"{boundary.kind} along a {axis}" if axis else boundary.kind,
        spaced(holding.steps),
        *map(spaced, counts),
        "-" if isnan(holding.reuse) else spaced(round(float(holding.reuse), 1)),
    ]


def _several(name: str, count: int) -> str:
    return name if count == 1 else f"{name} x {spaced(count)}"
