"""``animate``: one layer under one or more dataflows as a page that plays it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.base.errors import InputError
from accelsim.engines.analytic.array_time import array_time
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.source import MappingSource, sources
from accelsim.results.result import override_text
from accelsim.view.player.film import Film
from accelsim.view.player.filming import record
from accelsim.view.player.page import page, summary
from accelsim.workload.arithmetic import random_data
from accelsim.workload.layers import Layer
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Direction

MOST_FILMS = 4
MOST_CYCLES = 20_000
MOST_MACS = 2**33


@dataclass(frozen=True, eq=False)
class Animation:
    """Films of one layer, side by side: ``save(path)`` writes one HTML file, a notebook shows it,
    ``str`` sums it up.
    """

    title: str
    films: tuple[Film, ...]

    @property
    def html(self) -> str:
        """The whole page: no address outside it, nothing it loads."""
        return page(self.films, self.title)

    @property
    def file_name(self) -> str:
        """A name for the file, from the title."""
        return re.sub(r"[^\w.]+", "-", self.title).strip("-") + ".html"

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all."""
        path = Path(path)
        half = path.with_name(path.name + ".part")
        try:
            half.write_text(self.html, encoding="utf-8")
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
        return path

    def __str__(self) -> str:
        return "\n\n".join(summary(f) for f in self.films)

    def _repr_html_(self) -> str:
        """A frame of its own that may run its script and nothing else."""
        return (
            f'<iframe title="{html.escape(self.title)}" sandbox="allow-scripts" width="100%" '
            f'height="860" frameborder="0" srcdoc="{html.escape(self.html)}"></iframe>'
        )


def animate(
    workload: Any,
    arch: Any,
    dataflow: Any = None,
    *,
    layer: str | None = None,
    mapping: Any = None,
    overrides: Mapping[str, Any] | None = None,
    batch: int | None = None,
    direction: Direction = "forward",
    seed: int = 0,
    first: int = 1,
    cycles: int = 2000,
) -> Animation:
    """Run a layer on the cycle engine and keep what every PE held, as a page that plays it.

    ``workload``, ``arch``, ``dataflow``, ``mapping``, ``overrides``, ``batch``, ``direction`` and
    ``seed`` as for ``simulate``; several dataflows stand side by side.  ``layer`` is needed where
    the workload has more than one.  Long runs are shown from cycle ``first`` on, ``cycles`` of them
    at most, fewer of a very large array.  Raises InputError for what is wrong in names, files or
    numbers, and for a layer that cannot be mapped or has no way through the engine.
    """
    machine = load_architecture(arch, overrides or {})
    network = load_workload(workload)
    if layer is not None:
        network = network.select([layer])
    if len(network.layers) != 1:
        raise InputError(
            "one layer at a time is animated",
            key="layer",
            got=f"none of {', '.join(x.name for x in network.layers)}",
        )
    for key, value, most in (("first", first, 2**53), ("cycles", cycles, MOST_CYCLES)):
        if not 1 <= value <= most:
            raise InputError(f"must be from 1 to {most}", key=key, got=str(value))
    chosen = sources(dataflow, mapping)
    if len(chosen) > MOST_FILMS:
        raise InputError(
            f"at most {MOST_FILMS} dataflows stand side by side",
            key="dataflow",
            got=str(len(chosen)),
        )
    name = (
        f"{network.name} {network.layers[0].name}"
        if network.name != network.layers[0].name
        else network.name
    )
    changed = override_text(overrides or {})
    films = tuple(
        _film(name, network.layers[0], machine, s, changed, batch, direction, seed, first, cycles)
        for s in chosen
    )
    return Animation(f"{name} on {machine.name}: {', '.join(s.dataflow for s in chosen)}", films)


def _film(
    name: str,
    layer: Layer,
    arch: Architecture,
    source: MappingSource,
    overrides: str,
    batch: int | None,
    direction: Direction,
    seed: int,
    first: int,
    most: int,
) -> Film:
    problem = layer.directed(batch, direction)
    if problem.macs > MOST_MACS:
        raise InputError(
            f"{layer.name} may have at most 2^33 MACs to be animated",
            key="layer",
            got=str(problem.macs),
        )
    title = f"{name} on {arch.name}, {source.dataflow}"
    try:
        nest = Nest(problem, arch, source.mapping_of(layer.name, problem, arch))
        facts = (
            ("layer", name),
            (
                "architecture",
                f"{arch.name}, {arch.array.rows} x {arch.array.cols} PEs"
                + (f" with {overrides}" if overrides else ""),
            ),
            ("dataflow", source.name),
            *((("direction", direction),) if direction != "forward" else ()),
            ("loops", str(nest.mapping)),
            ("random data", f"seed {seed}"),
        )
        weight, ifmap, ofmap, psum = (arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum"))
        data = random_data(problem, weight, ifmap, ofmap, psum, seed)
        return record(
            nest,
            data,
            title=title,
            facts=facts,
            cycles=array_time(nest).cycles,
            first=first,
            most=most,
        )
    except (MappingError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{title}: {error}") from error
