"""``animate``: one layer under one or more dataflows as a page that plays it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accelsim.base.errors import InputError
from accelsim.base.validation import checked
from accelsim.base.whole_files import whole_file
from accelsim.engines.analytic.array_time import array_time
from accelsim.hardware.architecture import Architecture, ArchitectureLike, load_architecture
from accelsim.mapping.files import DataflowsLike, MappingLike, MappingSource, sources
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.results.execute import laid_out
from accelsim.results.layer_row import override_text
from accelsim.view.player.film import Film
from accelsim.view.player.filming import record
from accelsim.view.player.page import page, summary
from accelsim.workload.arithmetic import random_data
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload, WorkloadLike, load_workload
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
    films: tuple[Film, ...] = field(repr=False)

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
        with whole_file(path) as stream:
            stream.write(self.html.encode())
        return path

    def __str__(self) -> str:
        return "\n\n".join(summary(f) for f in self.films)

    def _repr_html_(self) -> str:
        """A frame of its own that may run its script and nothing else."""
        return (
            f'<iframe title="{html.escape(self.title)}" sandbox="allow-scripts" width="100%" '
            f'height="860" frameborder="0" srcdoc="{html.escape(self.html)}"></iframe>'
        )


@checked
def animate(
    workload: WorkloadLike,
    arch: ArchitectureLike,
    dataflow: DataflowsLike | None = None,
    *,
    layer: str | None = None,
    mapping: MappingLike | None = None,
    overrides: Mapping[str, object] | None = None,
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
    network = _of_one_layer(load_workload(workload), layer)
    _check_window(first, cycles)
    chosen = sources(dataflow, mapping)
    if len(chosen) > MOST_FILMS:
        raise InputError(
            f"at most {MOST_FILMS} dataflows stand side by side",
            key="dataflow",
            got=str(len(chosen)),
        )
    shown = network.layers[0]
    name = network.name if network.name == shown.name else f"{network.name} {shown.name}"
    changed = override_text(overrides or {})
    scene = _Scene(name, shown, machine, changed, batch, direction, seed, first, cycles)
    films = tuple(scene.film(source) for source in chosen)
    return Animation(f"{name} on {machine.name}: {', '.join(s.dataflow for s in chosen)}", films)


def _of_one_layer(network: Workload, layer: str | None) -> Workload:
    """The network with the one layer that is animated.  Raises InputError."""
    if layer is not None:
        network = network.select([layer])
    if len(network.layers) != 1:
        raise InputError(
            "one layer at a time is animated",
            key="layer",
            got=f"none of {', '.join(x.name for x in network.layers)}",
        )
    return network


def _check_window(first: int, cycles: int) -> None:
    for key, value, most in (("first", first, 2**53), ("cycles", cycles, MOST_CYCLES)):
        if not 1 <= value <= most:
            raise InputError(f"must be from 1 to {most}", key=key, got=str(value))


@dataclass(frozen=True)
class _Scene:
    """What all films of an animation have in common: layer, machine, data and window."""

    name: str
    layer: Layer
    arch: Architecture
    overrides: str  # as text, for the facts
    batch: int | None
    direction: Direction
    seed: int
    first: int
    most: int

    def film(self, source: MappingSource) -> Film:
        """The layer under one dataflow or mapping.  Raises InputError where it cannot be run."""
        problem, arch = self.layer.directed(self.batch, self.direction), self.arch
        if problem.macs > MOST_MACS:
            raise InputError(
                f"{self.layer.name} may have at most 2^33 MACs to be animated",
                key="layer",
                got=str(problem.macs),
            )
        title = f"{self.name} on {arch.name}, {source.dataflow}"
        try:
            nest = Nest(problem, arch, source.mapping_of(self.layer.name, problem, arch))
            weight, ifmap, ofmap, psum = (
                arch.number(kind) for kind in ("weight", "ifmap", "ofmap", "psum")
            )
            return record(
                nest,
                laid_out(problem, random_data(problem, weight, ifmap, ofmap, psum, self.seed)),
                title=title,
                facts=self._facts(source, nest),
                cycles=array_time(nest).cycles,
                first=self.first,
                most=self.most,
            )
        except (MappingError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{title}: {error}") from error

    def _facts(self, source: MappingSource, nest: Nest) -> tuple[tuple[str, str], ...]:
        array = self.arch.array
        changed = f" with {self.overrides}" if self.overrides else ""
        return (
            ("layer", self.name),
            ("architecture", f"{self.arch.name}, {array.rows} x {array.cols} PEs{changed}"),
            ("dataflow", source.name),
            *((("direction", self.direction),) if self.direction != "forward" else ()),
            ("loops", str(nest.mapping)),
            ("random data", f"seed {self.seed}"),
        )
