"""The page of a dataflow: sentences, then the loops that it makes, for any layer, without sizes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from accelsim.base.text_table import Block, Preformatted, Sentences, aligned
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import FUSED
from accelsim.view.pages.words import listed, lower
from accelsim.workload.problem import TENSORS

PLACES = {"buffer": "in the buffers", "row": "over rows", "col": "over columns", "pe": "in the PE"}


def dataflow_blocks(flow: Dataflow) -> tuple[Block, ...]:
    """What stays, in which order tiles grow, the template of the loops, and what is fused."""
    fused = _fused(flow)
    return (
        Sentences(tuple(_sentences(flow))),
        Preformatted(tuple(_template(flow))),
        *([Sentences(fused)] if fused else []),
    )


def _sentences(flow: Dataflow) -> list[str]:
    passing = [t for t in TENSORS if t not in flow.stays]
    through = f"; through it pass {listed(passing)}." if passing else "."
    sizes = "; ".join(f"{', '.join(dims)} {PLACES[place]}" for place, dims in _by_place(flow.sizes))
    bypassing = f"Between memory and the PEs no buffer keeps {listed(flow.bypass)}."
    return [
        f"A PE keeps {listed(flow.stays) or 'nothing'}{through}",
        *([bypassing] if flow.bypass else []),
        f"Tiles are made as large as is legal in this order: {sizes}.",
    ]


def _template(flow: Dataflow) -> list[str]:
    """A line a loop, outermost first, and where it is."""
    outer, inner = lower(flow.order.outer), lower(flow.order.inner)
    loops = [
        (f"for {outer}", "in every level outside the buffer next to the array"),
        (f"for {inner}", "in the buffer next to the array"),
        *((f"parallel-for {lower(dims)}", PLACES[at]) for at, dims in _by_place(flow.space)),
        *([(f"for {lower(flow.pe)}", PLACES["pe"])] if flow.pe else []),
        ("ofmap += ifmap * weight", ""),
    ]
    return aligned(("  " * depth + words, where) for depth, (words, where) in enumerate(loops))


def _fused(flow: Dataflow) -> tuple[str, ...]:
    """A sentence for each fused dimension that some loop runs over."""
    spatial = [dim for _, dims in _by_place(flow.space) for dim in dims]
    used = {*flow.order.outer, *flow.order.inner, *flow.pe, *spatial}
    return tuple(
        f"{name.lower()} is {lower(parts)} fused, or in turn where fusing is not legal."
        for name, parts in FUSED.items()
        if name in used
    )


def _by_place(entries: Iterable[str]) -> list[tuple[str, list[str]]]:
    """``DIM:PLACE`` entries as runs of dimensions at one place."""
    runs = groupby((entry.split(":") for entry in entries), key=lambda entry: entry[1])
    return [(place, [dim for dim, _ in run]) for place, run in runs]
