"""``animate``: a layer, an operator or a whole small network as a page that plays it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from accelsim.base.errors import InputError
from accelsim.base.validation import checked
from accelsim.base.whole_files import whole_file
from accelsim.hardware.architecture import ArchitectureLike, load_architecture
from accelsim.mapping.files import DataflowsLike, MappingLike, sources
from accelsim.results.layer_row import override_text
from accelsim.view.player.film import Film
from accelsim.view.player.page import page, summary
from accelsim.view.player.scene import MOST_MACS, Numbers, Scene, Sources
from accelsim.workload.network import Workload, WorkloadLike, load_workload
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.problem import Direction

MOST_FILMS = 3
MOST_CYCLES = 20_000


@dataclass(frozen=True, eq=False)
class Animation:
    """Films of one layer side by side, or of a network's nodes: ``save(path)`` writes one HTML
    file, a notebook shows it, ``str`` sums it up.
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
    params: Mapping[str, int] | None = None,
    batch: int | None = None,
    direction: Direction = "forward",
    seed: int = 0,
    first: int = 1,
    cycles: int = 2000,
    numbers: Numbers = "small",
) -> Animation:
    """Run a layer on the cycle engine and keep what every PE held, as a page that plays it.

    An operator that is no convolution or matrix product is shown on the vector unit; without
    ``layer`` a small network is shown node by node, each for at most 500 cycles.

    ``workload``, ``arch``, ``dataflow``, ``mapping``, ``overrides``, ``params``, ``batch``,
    ``direction`` and ``seed`` as for ``simulate``; without ``mapping`` tiles are the fixed rule's,
    not the best.  Up to three dataflows stand side by side.  Long runs are shown from cycle
    ``first`` on, ``cycles`` of them at most, fewer of a very large array.  ``numbers``: ``small``
    draws whole numbers that a product can be checked with by hand, ``full`` the whole range of the
    architecture's words.  Raises InputError for what is wrong in names, files or numbers, and for a
    layer that cannot be mapped or has no way through the engine.
    """
    machine = load_architecture(arch, overrides or {})
    network = load_workload(workload, params)
    _check_window(first, cycles)
    if numbers not in get_args(Numbers):
        raise InputError(
            "must be small or full", key="numbers", got=numbers, choices=get_args(Numbers)
        )
    chosen = tuple(sources(dataflow, mapping))
    if len(chosen) > MOST_FILMS:
        raise InputError(
            f"at most {MOST_FILMS} dataflows stand side by side",
            key="dataflow",
            got=str(len(chosen)),
        )
    changed = override_text(overrides or {})
    scene = Scene(machine, changed, batch, direction, seed, first, cycles, numbers)
    films = tuple(_films(scene, network, layer, chosen))
    whole = network.name
    if len({film.node for film in films}) == 1 and films[0].node != network.name:
        whole = f"{network.name} {films[0].node}"
    flows = ", ".join(s.dataflow for s in chosen if any(f.kind == "layer" for f in films))
    return Animation(f"{whole} on {machine.name}: {flows or 'vector unit'}", films)


def _films(scene: Scene, network: Workload, layer: str | None, chosen: Sources) -> list[Film]:
    """Of one layer or operator, or of all nodes of a network.  Raises InputError."""
    graph, name = network.network, network.name
    if layer is not None and graph is not None:
        if layer not in graph.by_name:
            raise InputError(
                f"{name} has no such node", key="layer", got=layer, choices=tuple(graph.by_name)
            )
        node = graph.by_name[layer]
        if not isinstance(node.op, ArrayOperator):
            if graph.work(node).nothing:
                raise InputError("does no work that could be shown", key="layer", got=layer)
            return [scene.operator(f"{name} {layer}", graph, node)]
    if layer is None and graph is not None and len(graph.nodes) > 1:
        return scene.network(name, graph, chosen)
    if layer is not None:
        network = network.select([layer])
    if len(network.layers) != 1:
        raise InputError(
            "of a list of layers one is animated",
            key="layer",
            got=f"none of {', '.join(x.name for x in network.layers)}",
        )
    shown = network.layers[0]
    problem = shown.directed(scene.batch, scene.direction)
    if problem.macs > MOST_MACS:
        raise InputError(
            f"{shown.name} may have at most 2^33 MACs to be animated",
            key="layer",
            got=str(problem.macs),
        )
    whole = name if name == shown.name else f"{name} {shown.name}"
    return [scene.layer(whole, shown.name, problem, source) for source in chosen]


def _check_window(first: int, cycles: int) -> None:
    for key, value, most in (("first", first, 2**53), ("cycles", cycles, MOST_CYCLES)):
        if not 1 <= value <= most:
            raise InputError(f"must be from 1 to {most}", key=key, got=str(value))
