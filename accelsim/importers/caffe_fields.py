"""One layer of a prototxt: its fields, what it reads, and where to put what it becomes.

``caffe`` makes a ``CaffeLayer`` for each layer and hands it to a converter of ``caffe_layers``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.base.errors import InputError
from accelsim.importers.network_builder import NetworkBuilder
from accelsim.importers.text_format import Message
from accelsim.workload.operators.operator import Shape

At = tuple[str | os.PathLike[str], int, int]


def whole_field(value: Any, key: str, at: At, least: int = 0) -> int:
    """A field's whole number.  Raises InputError with the layer's place."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise InputError(
            f"{key} must be a whole number",
            file=at[0],
            line=at[1],
            column=at[2],
            got=str(value)[:40],
        )
    return value


class CaffeFields:
    """A layer's parameters of one group.  What is not asked for is refused, unless it only concerns
    training or how Caffe computes.
    """

    IGNORED = (
        "weight_filler",
        "bias_filler",
        "engine",
        "moving_average_fraction",
        "use_global_stats",
        "filler",
        "force_nd_im2col",
        "in_place",
        "frozen",
    )

    def __init__(self, message: Message, at: At) -> None:
        self.at, self.message, self.asked = at, message, set(self.IGNORED)

    def whole(self, key: str, default: int, least: int = 0) -> int:
        """A whole number."""
        self.asked.add(key)
        values = self.message.all(key)
        return whole_field(values[-1], key, self.at, least) if values else default

    def wholes(self, key: str) -> list[int]:
        """Every whole number of a repeated field, negative ones too."""
        self.asked.add(key)
        return [whole_field(v, key, self.at, -(2**31)) for v in self.message.all(key)]

    def axis(self, key: str, default: int, rank: int) -> int:
        """An axis of a tensor of ``rank`` axes, the batch among them, counted after the batch."""
        axis = self.whole(key, default, -rank)
        axis += rank if axis < 0 else 0
        if axis < 1:
            raise ValueError(f"{key} must not be the batch")
        return axis - 1

    def real(self, key: str, default: float) -> float:
        """A number."""
        self.asked.add(key)
        values = self.message.all(key)
        if not values:
            return default
        if isinstance(values[-1], bool) or not isinstance(values[-1], (int, float)):
            raise InputError(
                f"{key} must be a number",
                file=self.at[0],
                line=self.at[1],
                column=self.at[2],
                got=str(values[-1])[:40],
            )
        return float(values[-1])

    def reals(self, key: str) -> list[float]:
        """Every number of a repeated field."""
        self.asked.add(key)
        values = self.message.all(key)
        return [float(v) if isinstance(v, (int, float)) else 0.0 for v in values]

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        self.asked.add(key)
        values = self.message.all(key)
        if values and not isinstance(values[-1], bool) and values[-1] not in (0, 1):
            raise ValueError(f"{key} must be true or false")
        return bool(values[-1]) if values else default

    def word(self, key: str, default: str) -> str:
        """A word or a text."""
        self.asked.add(key)
        values = self.message.all(key)
        return str(values[-1]) if values else default

    def pair(self, key: str, sides: tuple[str, str], default: int) -> list[int]:
        """[vertical, horizontal] of ``key`` (one or two of it) or of its two sides."""
        self.asked |= {key, *sides}
        both = [whole_field(v, key, self.at) for v in self.message.all(key)] or [default]
        if len(both) > 2:
            raise ValueError(
                f"{key} has {len(both)} numbers, only maps of two dimensions can be imported"
            )
        return [
            self.whole(side, value) for side, value in zip(sides, (both[0], both[-1]), strict=True)
        ]

    def finish(self) -> None:
        """Refuses what was not asked for."""
        if left := [k for k in self.message.names if k not in self.asked]:
            raise ValueError(f"there is no counterpart for {', '.join(left)}")


@dataclass
class CaffeLayer:
    """One layer to convert.  ``xs`` are the tensors it reads, ``tops`` what it makes.

    ``shared`` has the node and the array of every name under which layers share weights, and
    ``halves`` the batch normalizations whose scale and shift may still follow.
    """

    builder: NetworkBuilder
    name: str
    kind: str
    message: Message
    file: str | os.PathLike[str]
    xs: list[str]
    tops: list[str]
    alone: bool  # whether nobody else reads its input: in place, or the only reader
    shared: dict[str, tuple[str, str]]
    halves: set[str]

    def fields(self, group: str) -> CaffeFields:
        """The layer's parameters of a group (``convolution_param``)."""
        at = (self.file, self.message.line, self.message.column)
        return CaffeFields(self.message.message(group), at)

    def shape(self, at: int = 0) -> Shape:
        """The shape of what it reads, the batch left out."""
        return self.builder.shapes[self.xs[at]]

    def add(
        self, kind: str, inputs: Sequence[str] | None = None, part: str = "", **fields: Any
    ) -> str:
        """A node that reads ``inputs``, the layer's own unless given; ``part`` of the layer unless
        it is all of it.
        """
        name = f"{self.name}_{part}" if part else self.name
        return self.builder.add(kind, name, self.xs if inputs is None else inputs, **fields)

    def add_weighted(
        self, kind: str, keys: Sequence[str], part: str = "", first: int = 0, **fields: Any
    ) -> str:
        """The same for a node with arrays of weights, ``keys`` in the order that Caffe stores them,
        the ``first``-th array of the layer on.  What another layer has under the same name is
        shared.
        """
        names = self._param_names()
        share: dict[str, str] = {}
        mine: list[tuple[str, str]] = []
        for at, key in enumerate(keys, first):
            label = names[at] if at < len(names) else ""
            if label and label in self.shared:
                node, theirs = self.shared[label]
                if theirs != key:
                    raise ValueError(f"shares {label}, which is a {theirs}, as its {key}")
                share[key] = node
            elif label:
                mine.append((label, key))
        inputs: list[str] | None = [] if kind == "parameter" else None
        one = set(share.values()) if len(share) == len(keys) else set()
        stated = one.pop() if len(one) == 1 else share or None
        made = self.add(kind, inputs, part, share=stated, **fields)
        self.shared |= {label: (made, key) for label, key in mine}
        return made

    def _param_names(self) -> list[str]:
        """Names of the layer's arrays: of messages, or in the second syntax plain texts."""
        return [
            str((p.all("name") or [""])[-1]) if isinstance(p, Message) else str(p)
            for p in self.message.all("param")
        ]
