"""Which tensors of a network stay on the chip: the ofmap of one layer that is the ifmap of the
next.

A tensor stays if from the node that makes it to the last that reads it everything on the chip fits
in the first level inside the outermost that may keep ifmaps and ofmaps: the tensors that stay and
are still to be read, and what the mapping of the layer that runs needs beside them, and if that
moves fewer bits over the outermost level: a layer beside it gets smaller tiles. Tensors are decided
on in the order they are made.

What only renames words (reshape, dropout) makes no new tensor; what works word by word writes where
it read, if nobody else reads there later; where a layer's sums are too wide to stay, what is made
of them may.  The network's inputs come from the outermost level and its outputs go there, and so
does an activation that a matrix product reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, inf, prod
from typing import Any

from accelsim.hardware.architecture import Architecture, Level
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.footprint import Footprint
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose, kept
from accelsim.mapping.skeleton import Skeleton
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.operators.array import ArrayOperator, Product
from accelsim.workload.problem import Problem


@dataclass(frozen=True)
class ResidencyPlan:
    """``stays``: tensors that never leave the chip.  ``mappings`` of the layers, by node; one that
    none fits has its ``error``.

    ``held_bytes``: by node, what of the level the tensors that stay take while it runs, the node's
    own among them, a layer's ofmap at the width its sums have there.
    """

    level: str | None
    stays: frozenset[str]
    mappings: Mapping[str, LoopMapping]
    errors: Mapping[str, str]
    held_bytes: Mapping[str, int]


Bits = Callable[[Problem, LoopMapping], int]
Choose = Callable[[Problem, Architecture], LoopMapping]


def plan(
    graph: Graph,
    arch: Architecture,
    dataflow: Dataflow,
    bits: Bits,
    batch: int = 1,
    best: Choose | None = None,
) -> ResidencyPlan:
    """What stays on the chip under a dataflow.  ``bits``: what a layer moves over the outermost
    level.  Layers of which a tensor stays are mapped by the fixed rule, the others by ``best`` on a
    machine with the room that is left, where it is given.
    """
    return _Planner(graph, arch, dataflow, bits, batch, best).plan()


def never_stays(arch: Architecture, dataflow: Dataflow) -> str | None:
    """Why no tensor of any network can stay on the chip, or None: the level that would hold it has
    to keep what one layer makes and the next reads.
    """
    names = arch.level_names
    inside = [names[i] for i in range(1, len(names) - 1)]
    first = next((n for n in inside if {"ifmap", "ofmap"} & set(arch.levels[n].keeps)), None)
    if first is None or not {"ifmap", "ofmap"} <= set(arch.levels[first].keeps):
        kept = "; ".join(f"{n} keeps {', '.join(arch.levels[n].keeps)}" for n in inside)
        return f"the first level inside {names[0]} must keep ifmaps and ofmaps both ({kept})"
    past = {"ifmap", "ofmap"} & set(dataflow.bypass)
    if past:
        return f"{dataflow.name} sends {', '.join(sorted(past))} past {first}"
    return None


def roles(problem: Problem) -> tuple[str, str]:
    """The tensor of a problem that a node's input is, and the one its output is."""
    return ("ofmap", "ifmap") if problem.direction == "grad_input" else ("ifmap", "ofmap")


@dataclass
class _Place:
    """Words that lie in one place under several names, from the node that makes them to the last
    that reads them.
    """

    names: list[str]
    words: int
    first: int
    last: int
    free: bool = True  # may stay
    begins: list[int] = field(
        default_factory=list
    )  # places in ``names`` of what is written, not just named again


@dataclass
class _Planner:
    """Decides place by place.  What a layer moves, and its mapping, hang only on its problem, on
    which of its tensors stay and on the bytes that others take: ``moved`` and ``known`` remember
    both.
    """

    graph: Graph
    arch: Architecture
    dataflow: Dataflow
    bits: Bits
    batch: int
    best: Choose | None
    moved: dict[tuple[Problem, frozenset[str], tuple[int, ...]], float] = field(
        default_factory=dict
    )
    known: dict[tuple[Problem, frozenset[str], tuple[int, ...]], LoopMapping | str] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        names = self.arch.level_names
        inside = range(1, len(names) - 1)
        self.home = next(
            (i for i in inside if {"ifmap", "ofmap"} & set(self.arch.levels[names[i]].keeps)), 0
        )
        self.level: Level = self.arch.levels[names[self.home]]
        self.possible = never_stays(self.arch, self.dataflow) is None
        self.at = {node.name: i for i, node in enumerate(self.graph.nodes)}
        self.place = self._places()
        self.problems = {
            n.name: n.op.problem(self.batch, *self.graph.input_shapes(n))
            for n in self.graph.nodes
            if isinstance(n.op, ArrayOperator)
        }

    def _places(self) -> dict[str, _Place]:
        graph, places = self.graph, dict[str, _Place]()
        for at, node in enumerate(graph.nodes):
            words = prod(graph.shapes[node.name]) * self.batch
            source = places.get(node.inputs[0]) if len(node.inputs) == 1 else None
            renames = source is not None and self._renames(node)
            if source is not None and (renames or (source.last == at and self._in_place(node))):
                place = places[node.name] = source
            else:
                place = places[node.name] = _Place([], words, at, at)
            place.begins += [] if renames else [len(place.names)]
            place.names.append(node.name)
            users = graph.users(node.name)
            place.last = max([place.last, *(self.at[u.name] for u in users)])
            place.free &= node.name not in graph.outputs and not any(
                isinstance(u.op, Product) for u in users
            )
        return places

    def _renames(self, node: Node) -> bool:
        return not isinstance(node.op, ArrayOperator) and self.graph.work(node).nothing

    def _in_place(self, node: Node) -> bool:
        """Each word read once and written once where it was; what was there does not leave the
        network.
        """
        work, (shape,) = self.graph.work(node), self.graph.input_shapes(node)
        words = prod(shape)
        once = work.reads - work.parameters == words == work.writes and work.total > 0
        return (
            once
            and self.graph.shapes[node.name] == shape
            and node.inputs[0] not in self.graph.outputs
        )

    def plan(self) -> ResidencyPlan:
        """Try each place in the order they are made; keep it if that fits and moves fewer bits."""
        stays: list[_Place] = []
        places = {id(p): p for p in self.place.values()}.values()
        for place in places if self.possible else ():
            for begin in place.begins if place.free else ():
                nodes = self.graph.nodes[self.at[place.names[begin]] : place.last + 1]
                before = sum(self._outside(node, stays) for node in nodes)
                part = self._part(place, begin)
                stays.append(part)
                fits = len(nodes) > 1 and all(self._fits(node, stays) for node in nodes)
                if fits and sum(self._outside(node, stays) for node in nodes) < before:
                    break
                stays.pop()
                self.place |= dict.fromkeys(part.names, place)
        mappings: dict[str, LoopMapping] = {}
        errors: dict[str, str] = {}
        for node in self.graph.nodes:
            if node.name in self.problems:
                chosen = self._mapping(node, stays)
                if isinstance(chosen, str):
                    errors[node.name] = chosen
                else:
                    mappings[node.name] = chosen
        held = {node.name: self._held(node, stays) for node in self.graph.nodes}
        names = frozenset(name for place in stays for name in place.names)
        return ResidencyPlan(
            self.arch.level_names[self.home] if self.home else None, names, mappings, errors, held
        )

    def _part(self, place: _Place, begin: int) -> _Place:
        """A place from one of its names on, and what its names stand for from now on."""
        if not begin:
            return place
        names = place.names[begin:]
        part = _Place(names, place.words, self.at[names[0]], place.last)
        self.place |= dict.fromkeys(names, part)
        return part

    # -- whether it fits ---------------------------------------------------------------------------

    def _alive(self, node: Node, stays: list[_Place]) -> list[_Place]:
        return [p for p in stays if p.first <= self.at[node.name] <= p.last]

    def _bytes(self, place: _Place) -> int:
        return ceil(place.words * max(self.arch.bits.ifmap, self.arch.bits.ofmap) / 8)

    def _fits(self, node: Node, stays: list[_Place]) -> bool:
        if node.name in self.problems:
            return not isinstance(self._mapping(node, stays), str)
        alive = self._alive(node, stays)
        if (
            "ifmap" in self.level.partitions
        ):  # inputs and what waits in one part, the output in the other
            out = self.place[node.name]
            made = [p for p in alive if p is out and p.first == self.at[node.name]]
            rest = sum(self._bytes(p) for p in alive if p not in made)
            room = self.level.partitions.get("ofmap", rest)
            return rest <= self.level.partitions["ifmap"] and sum(map(self._bytes, made)) <= room
        return self._room([self._bytes(p) for p in alive]) is not None

    def _room(self, taken: list[int]) -> dict[str, Any] | None:
        """What is left of the level beside so many bytes: the keys of it that change; None if they
        do not fit.
        """
        level = self.level
        if "ifmap" in level.partitions:
            left = level.partitions["ifmap"] - sum(taken)
            room: dict[Any, int] = {**level.partitions, "ifmap": left}
            return {"partitions": room} if left > 0 else None
        if level.capacity_bytes is None:
            return {}
        if level.banks:
            one = level.capacity_bytes // level.banks
            banks = level.banks - sum(ceil(n / one) for n in taken)
            return {"banks": banks, "capacity_bytes": banks * one} if banks > 0 else None
        rest = level.capacity_bytes - sum(taken)
        return {"capacity_bytes": rest} if rest > 0 else None

    def _outside(self, node: Node, stays: list[_Place]) -> float:
        """Bits a node moves over the outermost level; without end if it cannot be mapped."""
        if node.name in self.problems:
            key = self._key(node, stays)
            if key not in self.moved:
                chosen = self._mapping(node, stays)
                self.moved[key] = inf if isinstance(chosen, str) else self.bits(key[0], chosen)
            return self.moved[key]
        if self._renames(node):
            return 0
        alive, out = self._alive(node, stays), self.place[node.name]
        away = [
            name
            for name in dict.fromkeys(node.inputs)
            if not any(self.place.get(name) is p for p in alive)
        ]
        words = (
            sum(prod(self.graph.shapes[name]) for name in away) * self.batch * self.arch.bits.ifmap
        )
        return words + (0 if any(out is p for p in alive) else out.words * self.arch.bits.ofmap)

    def _held(self, node: Node, stays: list[_Place]) -> int:
        """Bytes of all that stays while a node runs."""
        held = sum(self._bytes(p) for p in self._alive(node, stays))
        chosen = self._mapping(node, stays) if node.name in self.problems else ""
        if isinstance(chosen, str):
            return held
        problem, resident, _ = self._key(node, stays)
        own = roles(problem)[1]
        if own in resident:  # sums may be wider than what becomes of them
            held += Nest(problem, self.arch, chosen).footprint.tile_bytes(
                self.home, own
            ) - self._bytes(self.place[node.name])
        return held

    def _mapping(self, node: Node, stays: list[_Place]) -> LoopMapping | str:
        """The mapping of a layer beside all that stays, or why there is none."""
        key = self._key(node, stays)
        if key not in self.known:
            self.known[key] = self._choose(*key)
        return self.known[key]

    def _key(
        self, node: Node, stays: list[_Place]
    ) -> tuple[Problem, frozenset[str], tuple[int, ...]]:
        """A layer's problem, which of its tensors stay, and what else does, in bytes."""
        problem, alive = self.problems[node.name], self._alive(node, stays)
        inward, outward = roles(problem)
        own = {inward: self.place.get(node.inputs[0]), outward: self.place[node.name]}
        resident = frozenset(role for role, place in own.items() if any(place is p for p in alive))
        others = [self._bytes(p) for p in alive if not any(place is p for place in own.values())]
        if resident:
            keep = kept(self.arch, self.dataflow, resident)
            whole = Footprint(Skeleton(problem, self.arch, keep, ()), (), ())
            for role in sorted(resident):  # words the layer never touches lie there all the same
                unread = problem.words(role) - whole.tile_words(self.home, role)
                others += [ceil(unread * getattr(self.arch.bits, role) / 8)] if unread > 0 else []
        return problem, resident, tuple(others)

    def _choose(
        self, problem: Problem, resident: frozenset[str], others: tuple[int, ...]
    ) -> LoopMapping | str:
        room = self._room(list(others)) if others else {}
        if room is None:
            return "what stays on the chip leaves no room"
        name = self.arch.level_names[self.home]
        small = self.level.model_copy(update=room) if room else self.level
        arch = (
            self.arch.model_copy(update={"levels": self.arch.levels | {name: small}})
            if room
            else self.arch
        )
        try:
            if self.best is not None and not resident:
                return self.best(problem, arch)
            return choose(problem, arch, self.dataflow, resident)
        except MappingError as error:
            return str(error)


__all__ = ["ResidencyPlan", "plan", "roles"]
