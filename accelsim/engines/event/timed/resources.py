"""Everything that can be waited for, in one list: the ports of levels and the channels of networks
that have a width (docs/time.md).

The list runs from the outermost level in.  That order is a rule of its own: whoever needs several
resources takes them in this order, and of two that are equally slow the first one is charged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.engines.event.transfers import Ints
from accelsim.hardware.ports import ACCESSES, Access, Resource, Way, channel, latency, port
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import TENSORS


class Limits:
    """All resources of an architecture, each known by its *place* in the list.

    ``resources``  in the order they are taken in
    ``labels``     what a timeline calls them: ``dram``, ``dram.read``, ``noc``, ``noc.ofmap.up``

    ``reads`` and ``writes`` give the place of a level's port, ``down`` and ``up`` that of a
    tensor's channel of a network; None where there is nothing to wait for.
    """

    def __init__(self, nest: Nest) -> None:
        self.resources: list[Resource] = []
        self.labels: list[str] = []
        self._ports: dict[tuple[int, Access], int] = {}
        self._channels: dict[tuple[str, str, Way], int] = {}
        arch = nest.arch
        self._latency = [latency(arch, level) for level in range(nest.levels)]
        for level, name in enumerate(arch.level_names):
            for access in ACCESSES:
                if resource := port(arch, level, access):
                    label = name if resource.part == "port" else f"{name}.{access}"
                    self._ports[level, access] = self._place(resource, label)
            network = arch.network_below(level)[0]
            if network is not None:
                self._add_channels(nest, network)

    def _add_channels(self, nest: Nest, network: str) -> None:
        """Of a tensor with a channel of its own only the sums go up as well as down."""
        widths, sums = nest.arch.networks[network].width_bits, nest.problem.accumulated
        for tensor in widths if isinstance(widths, dict) else TENSORS:
            ways: tuple[Way, ...] = ("down", "up") if tensor == sums else ("down",)
            for way in ways:
                if resource := channel(nest.arch, network, tensor, way):
                    label = network if resource.part == "all" else f"{network}.{tensor}"
                    label += f".{way}" if resource.part != "all" and tensor == sums else ""
                    self._channels[network, tensor, way] = self._place(resource, label)

    def _place(self, resource: Resource, label: str) -> int:
        """The place of a resource; two that are equal are one."""
        if resource not in self.resources:
            self.resources.append(resource)
            self.labels.append(label)
        return self.resources.index(resource)

    def reads(self, level: int) -> int | None:
        return self._ports.get((level, "read"))

    def writes(self, level: int) -> int | None:
        return self._ports.get((level, "write"))

    def down(self, network: str | None, tensor: str) -> int | None:
        return self._channels.get((network, tensor, "down")) if network else None

    def up(self, network: str | None, tensor: str) -> int | None:
        return self._channels.get((network, tensor, "up")) if network else None

    def latency(self, level: int) -> int:
        """Core cycles that every transfer from or to a level takes on top."""
        return self._latency[level]

    def slowest(self, cycles: Sequence[tuple[int, int]]) -> tuple[int | None, int]:
        """Of (place, cycles) the one that takes longest, the outermost of equals; (None, 0) of
        none.
        """
        best: tuple[int | None, int] = None, 0
        for place, n in sorted(cycles):
            if n > best[1]:
                best = place, n
        return best

    def cycles(self, bits: Ints) -> Ints:
        """Core cycles of bits ``[resources, ...]``, in the same shape."""
        return (
            np.stack([r.cycles(row) for r, row in zip(self.resources, bits, strict=True)])
            if self.resources
            else bits
        )
