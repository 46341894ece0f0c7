"""Everything open: loop orders, what lies over rows and columns, what every level keeps.

The space has a temporal loop of every dimension at every level, in any order there, and one of
every dimension over rows and over columns at the level next to the PEs; every level inside the
outermost keeps any of the tensors it may.

Tiles divide, so a tensor's tile stands still only while the innermost loops do not touch it, and
the innermost loop of a level that is there at all is one that at most one tensor does not depend on
(N, E, F: weight; M: ifmap; C, R, S: ofmap). A *class* is the choice of that tensor for a level:
with all it does not depend on innermost it moves least, and to the others the order is all the
same, but for an ifmap, whose windows overlap.  Under a class weight and ofmap are therefore exact;
of an ifmap no less than its distinct words comes in, as often as a round of M surely starts over
(``Relaxed``). Choices of what is kept and of classes are bounded so, the least bound first, and
those not above the best known have their tiles searched exactly under orders that slide the ifmap
along either axis.  What is left between is the gap.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, pairwise, product
from math import factorial, prod
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.errors import InputError
from accelsim.engines.analytic.closed_form import BoundarySums, Factor, words_used
from accelsim.engines.analytic.rank_sums import ChainRows, FormulaSums
from accelsim.hardware.architecture import Architecture
from accelsim.mapper.beginnings import Beginning, beginnings
from accelsim.mapper.bound_table import BoundTable, SearchTally
from accelsim.mapper.cell import Cell, leaves_as_it_came
from accelsim.mapper.lower_cycles import Column
from accelsim.mapper.objective import Objective
from accelsim.mapper.preparing import group_tables, prepare
from accelsim.mapper.search import ROUNDING, Search, State
from accelsim.mapper.space import TileRows, count, rows
from accelsim.mapper.time_columns import Bracket, extra_columns, signed
from accelsim.mapping.mapping import Axis
from accelsim.mapping.skeleton import Keep, OpenLoop, Skeleton
from accelsim.workload.problem import DEPENDS, DIMS, TENSORS, Problem

ANY = "any"  # the dataflow that leaves everything open
SUFFIX = {
    "weight": ("N", "E", "F"),
    "ifmap": ("M",),
    "ofmap": ("C", "R", "S"),
    "": (),
}  # what a class has innermost
ORDERS: dict[
    str, tuple[tuple[str, ...], ...]
] = {  # of each class, outermost first; the ifmap slides along either axis
    "weight": (("G", "M", "C", "R", "S", "N", "E", "F"), ("G", "M", "C", "R", "S", "N", "F", "E")),
    "ifmap": (("G", "N", "C", "R", "S", "F", "E", "M"), ("G", "N", "C", "R", "S", "E", "F", "M")),
    "ofmap": (("G", "N", "M", "F", "E", "C", "R", "S"), ("G", "N", "M", "E", "F", "C", "S", "R")),
    "": (("G", "N", "M", "F", "E", "C", "R", "S"),),
}
PLAIN = ("N", "G", "C")  # an ifmap's dimensions that do not slide
FIRST_S = 5.0  # seconds a dataflow is searched for a mapping to begin with
Classes = tuple[
    str, ...
    # of each level down to the one next to the PEs, outermost first; "": nothing there that a class
    # has innermost
]


def is_any(dataflow: Any) -> bool:
    """Whether a dataflow is the name that leaves everything open."""
    return isinstance(dataflow, str) and dataflow.strip().lower() == ANY


@dataclass(frozen=True)
class Allowed:
    """What a machine allows of all this: choices of what levels keep, and the dimensions that may
    be looped at a level or over an axis there (a string of letters; where nothing is said all may).
    """

    keeps: tuple[Keep, ...] | None = None
    loops: Mapping[tuple[int, Axis], str] = field(default_factory=dict)

    def open_loops(
        self, problem: Problem, level: int, axis: Axis, order: Sequence[str]
    ) -> list[OpenLoop]:
        """The loops there, in that order."""
        may = self.loops.get((level, axis))
        return [
            OpenLoop(d, level, axis)
            for d in order
            if problem.size[d] > 1 and (may is None or d in may)
        ]


ALL = Allowed()


def next_to_pes(arch: Architecture) -> int:
    """The level whose loops lie over the array: the innermost one but for the stores of the PEs,
    several if none shares a tensor.
    """
    names = arch.level_names
    level = len(names) - 2
    if arch.systolic:
        return level
    inside = set(arch.levels[names[-1]].keeps)
    while (
        level > 1
        and len(arch.levels[names[level]].keeps) == 1
        and not inside & set(arch.levels[names[level]].keeps)
    ):
        inside |= set(arch.levels[names[level]].keeps)
        level -= 1
    return level


def skeletons(
    problem: Problem,
    arch: Architecture,
    keep: Keep,
    orders: Sequence[Sequence[str]],
    allowed: Allowed = ALL,
) -> Skeleton:
    """The skeleton of an order for every level."""
    loops = []
    home = next_to_pes(arch)
    for level, order in enumerate(orders):
        loops += allowed.open_loops(problem, level, "none", order)
        if level == home:
            loops += allowed.open_loops(problem, level, "col", DIMS) + allowed.open_loops(
                problem, level, "row", DIMS
            )
    return Skeleton(problem, arch, keep, tuple(loops))


def keeps(arch: Architecture) -> Iterator[Keep]:
    """Every choice of what each level keeps, those that keep most first."""
    options = []
    for name in arch.level_names[1:]:
        have = [t for t in TENSORS if t in arch.levels[name].keeps]
        options.append(
            [
                frozenset(c)
                for c in chain.from_iterable(
                    combinations(have, n) for n in range(len(have), -1, -1)
                )
            ]
        )
    yield from sorted(
        ((frozenset(TENSORS), *combo) for combo in product(*options)),
        key=lambda keep: -sum(map(len, keep)),
    )


def search(
    problem: Problem,
    arch: Architecture,
    goal: Objective | None,
    deadline: float | None,
    progress: Any,
    allowed: Allowed = ALL,
) -> tuple[State, SearchTally, int, list[BoundTable]]:
    """As the search under a dataflow.

    Mappings that no argument excluded are left in the certificate, also where all of their tiles
    were searched under another order.
    """
    if goal is None:
        raise InputError(
            "dataflow any wants an objective that is one number", key="objective", got="front"
        )
    if (
        problem.accumulated == "ifmap"
        or arch.systolic
        or any(n.held == "neighbour" for n in arch.networks.values())
    ):
        raise InputError(
            "dataflow any is for forward and grad_weight on arrays without systolic or neighbour "
            "links",
            key="dataflow",
            got="any",
        )
    return _Orders(problem, arch, goal, deadline, progress, allowed).run()


@dataclass(frozen=True)
class _Node:
    """Mappings not excluded yet: those that keep ``keep``, under the classes if they are chosen
    already.
    """

    keep: Keep
    classes: Classes | None = None


class _Orders:
    """The search over what is kept and over classes, the least bound first.

    It begins with the best under shipped dataflows.  Then every choice of what is kept is bounded
    and put on a heap; the least is opened into its classes, these are bounded in turn, and those
    that may hold something better have their tiles searched under a few orders exactly.  A node
    whose classes were searched so stays with its bound in ``left``: other orders of it were not.
    """

    def __init__(
        self,
        problem: Problem,
        arch: Architecture,
        goal: Objective,
        deadline: float | None,
        progress: Any,
        allowed: Allowed,
    ) -> None:
        self.problem, self.arch, self.goal, self.deadline, self.progress, self.allowed = (
            problem,
            arch,
            goal,
            deadline,
            progress,
            allowed,
        )
        self.home = next_to_pes(arch)
        self.keeps = list(keeps(arch)) if allowed.keeps is None else list(allowed.keeps)
        first = self.skeleton(self.keeps[0], [ORDERS["weight"][0]] * len(arch.levels))
        self.families = first.families
        self.listed = [rows(first, f, "divisors") for f in first.families]
        self.sizes = prod(count(first, f, "divisors") for f in first.families)
        there = [
            sum(s.level == level and not s.spatial for s in first.loops)
            for level in range(len(arch.levels))
        ]
        self.per_order = prod(factorial(n) for n in there)
        self.state, self.evaluated, self.tables = State(), 0, list[BoundTable]()
        self.heap: list[tuple[float, int, _Node]] = []
        self.order = itertools.count()
        self.left: list[
            tuple[float, Keep]
        ] = []  # bounds of what was searched under some of its orders only

    def run(self) -> tuple[State, SearchTally, int, list[BoundTable]]:
        """Until nothing is left that may be better, the deadline, or an interrupt."""
        waiting = list(self.keeps)
        try:
            for beginning in beginnings(self.problem, self.arch, self.goal, self._first_seconds()):
                self._begin(beginning)
            while waiting and not self._late():
                self._push(_Node(waiting[0]), 0.0)
                waiting.pop(0)
            while self.heap and not self._late():
                bound, _, node = self.heap[0]
                if bound >= self.state.value * (1 - ROUNDING):
                    break
                heapq.heappop(self.heap)
                self._open(bound, node)
        except KeyboardInterrupt:
            self.state.stopped = "interrupted"
        return self._outcome(waiting)

    def skeleton(self, keep: Keep, orders: Sequence[Sequence[str]]) -> Skeleton:
        return skeletons(self.problem, self.arch, keep, orders, self.allowed)

    def _first_seconds(self) -> float:
        return (
            FIRST_S
            if self.deadline is None
            else min(FIRST_S, max(0.0, self.deadline - monotonic()) / 20)
        )

    def _begin(self, beginning: Beginning) -> None:
        """Take what a dataflow has for the best known, if it is a mapping of this space."""
        if beginning.keep not in self.keeps:
            return
        skeleton = self.skeleton(beginning.keep, beginning.orders)
        tiles = beginning.tiles(
            dict(self.problem.size), [(s.dim, s.level, s.axis) for s in skeleton.loops]
        )
        if tiles is None:
            return
        only = []
        for f in skeleton.families:
            own = np.array([[tiles[i] for i in f.loops]])
            only.append(
                TileRows(
                    own, -(-np.array([[self.problem.size[f.name], *own[0, :-1]]]) // own), 0, 0
                )
            )
        self._search(skeleton, only, self.deadline)

    def _search(
        self, skeleton: Skeleton, listed: Sequence[TileRows], until: float | None
    ) -> str | None:
        """Search the tiles of one skeleton for something better than what is known.  Why it was
        stopped, if it was.
        """
        tally = SearchTally()
        try:
            ready = list(prepare(skeleton, listed, self.goal.measures, tally, deadline=until))
        except TimeoutError:
            return "limit"
        one = Search(ready, self.goal, tally, deadline=until, starts=4, progress=self.progress)
        one.state.value = self.state.value
        reached = one.run()
        self.evaluated += tally.evaluated
        if reached.best is not None and reached.value < self.state.value:
            self.state.value, self.state.best = reached.value, reached.best
            self.tables[:] = ready
        return reached.stopped

    def _late(self) -> bool:
        """Whether the search is stopped, or past its deadline."""
        if self.deadline is not None and monotonic() > self.deadline:
            self.state.stopped = "limit"
        return self.state.stopped is not None

    def _outcome(self, waiting: list[Keep]) -> tuple[State, SearchTally, int, list[BoundTable]]:
        """The state with what nothing left is below, and how many mappings the bounds closed: all
        of every choice of what is kept of which nothing is left.
        """
        bounds = (
            [(0.0, keep) for keep in waiting]
            + [(b, node.keep) for b, _, node in self.heap]
            + self.left
        )
        open_ = [(b, keep) for b, keep in bounds if b < self.state.value * (1 - ROUNDING)]
        self.state.rest = min((b for b, _ in open_), default=float("inf"))
        if self.state.stopped is None and open_:
            self.state.stopped = "orders not searched"
        whole = len(self.keeps) * self.sizes * self.per_order
        closed = len(self.keeps) - len({keep for _, keep in open_})
        tally = SearchTally(evaluated=self.evaluated)
        tally.bound = max(
            0, closed * self.sizes * self.per_order - (self.evaluated if not open_ else 0)
        )
        return self.state, tally, whole, self.tables

    def _push(self, node: _Node, known: float) -> None:
        """Bound a node, which is not below ``known``, and put it on the heap."""
        bound = known
        try:
            skeleton = self.skeleton(node.keep, [ORDERS["weight"][0]] * len(self.arch.levels))
            ready = list(
                _relaxed(
                    skeleton, self.allowed, self.listed, self.goal, node.classes, self.deadline
                )
            )
            one = Search(ready, self.goal, SearchTally(), deadline=self.deadline, starts=2)
            one.state.value = self.state.value
            reached = one.run() if ready else State(rest=float("inf"))
            bound = max(
                known,
                min(
                    reached.value if reached.best is not None else float("inf"),
                    reached.rest,
                    self.state.value,
                ),
            )
            if not ready:
                bound = float("inf")
        except TimeoutError:
            reached = State(stopped="limit")
        heapq.heappush(self.heap, (bound, next(self.order), node))
        if reached.stopped is not None:
            self.state.stopped = reached.stopped

    def _open(self, bound: float, node: _Node) -> None:
        """Classes of a choice of what is kept, or the orders of classes."""
        if node.classes is not None:
            self._exact(node.keep, node.classes)
            self.left.append((bound, node.keep))
            return
        skeleton = self.skeleton(node.keep, [ORDERS["weight"][0]] * len(self.arch.levels))
        for classes in product(
            *([*_gaining(skeleton, level), ""] for level in range(self.home + 1))
        ):
            self._push(_Node(node.keep, classes), bound)
            if self._late():
                self.left.append((bound, node.keep))
                return

    def _exact(self, keep: Keep, classes: Classes) -> None:
        """Search the tiles under the orders of classes, sharing the best."""
        inside = [ORDERS["weight"][0]] * (len(self.arch.levels) - self.home - 1)
        for orders in product(*(ORDERS[c] for c in classes)):
            self.state.stopped = self._search(
                self.skeleton(keep, [*orders, *inside]), self.listed, self.deadline
            )
            if self.state.stopped:
                return


# -- the bound over all orders ---------------------------------------------------------------------


class Relaxed(Cell):
    """A cell in which every tensor has the order best for it among those of the classes (None:
    among all).

    ``changing`` are levels whose loops change the ifmap's channel, group or batch, ``within`` those
    at which they do so inside the loop of M: a round of M at a level with such a loop inside it
    reads all of the ifmap again.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        allowed: Allowed,
        final: tuple[bool, ...],
        picks: Sequence[TileRows],
        classes: Classes | None,
        changing: frozenset[int],
        within: frozenset[int],
    ) -> None:
        self.allowed, self.classes, self.changing, self.within = allowed, classes, changing, within
        super().__init__(skeleton, tuple(range(len(skeleton.loops))), final, picks)

    def _tabulate(self) -> None:
        for column, brackets in self._all_brackets().items():
            self._set_terms(column, signed(brackets))
            self._set_brackets(column, brackets)
        self._merge()
        linear = self._linear()
        self._weigh({name: (c, self._never_negative(w)) for name, (c, w) in linear.items()})

    def _all_brackets(self) -> dict[Column, list[Bracket]]:
        """Every column as brackets: of a tensor's boundaries those under its own best order."""
        acc = self.skeleton.problem.accumulated
        brackets: dict[Column, list[Bracket]] = {}
        for tensor in TENSORS:
            own = self._order(tensor)
            for b in own.boundaries:
                if b.tensor != tensor:
                    continue
                side = BoundarySums(own, b)
                for name in ("drained", "arrived") if tensor == acc else ("taken", "read"):
                    if tensor == "ifmap" and not side.mac:
                        brackets[b, name] = [(self._distinct(b.child, name == "taken"), None)]
                    else:
                        as_entries = name == "arrived" and leaves_as_it_came(own, side)
                        brackets[b, name] = [*side.brackets("read" if as_entries else name)]
        for column, of_terms in zip(self.model.columns, self.model.matrix.T, strict=True):
            if column[0] is None:
                (at,) = np.flatnonzero(of_terms)
                brackets[column] = [(self.model.terms.factors[at], None)]
        for column, factors in extra_columns(self.part):
            brackets[column] = [(factors, None)]
        return brackets

    def _never_negative(self, weights: dict[Column, float]) -> dict[Column, float]:
        """Sums only get fewer on their way out: drained at a child >= arrived at its parent >=
        drained from there.

        What a column saves is taken off the next one further in, which is no smaller; what MACs
        drain depends on no order.
        """
        moved = dict(weights)
        way: list[Column] = []
        for b in self.part.boundaries:
            if b.tensor == self.skeleton.problem.accumulated:
                way += [(b, "arrived"), (b, "drained")]
        for column, further in pairwise(way):
            if (
                (w := moved.get(column, 0.0)) < 0
                and column[0] is not None
                and column[0].child < self.part.levels
            ):
                moved[column] = 0.0
                moved[further] = moved.get(further, 0.0) + w
        return {c: w for c, w in moved.items() if w}

    def _order(self, tensor: str) -> Skeleton:
        """The nest in which each level's loops the tensor depends on stand outside the others,
        inside them what its class has.
        """
        orders = []
        for level in range(len(self.skeleton.keep)):
            last = (
                SUFFIX[self.classes[level]]
                if self.classes is not None and level < len(self.classes)
                else ()
            )
            orders.append(
                sorted(
                    DIMS,
                    key=lambda d, last=last: (  # type: ignore[misc]
                        d in last,
                        d not in DEPENDS[tensor],
                        DIMS.index(d),
                    ),
                )
            )
        skeleton = skeletons(
            self.skeleton.problem, self.skeleton.arch, self.skeleton.keep, orders, self.allowed
        )
        return skeleton.part(range(len(skeleton.loops)), self.part.final)

    def _distinct(self, child: int, taken: bool) -> list[Factor]:
        """The least of an ifmap that crosses to a child: its distinct words, once for each round of
        M that surely starts over; where they are ``taken``, once more for each piece of M that lies
        side by side with another.
        """
        problem = self.skeleton.problem
        words = words_used(problem, "ifmap")
        m = self.part.chain_of["M"]
        loops = [self.part.loops[i] for i in m.loops]
        counted = tuple(
            (x.spatial and taken and x.level < child)
            or (not x.spatial and x.level < child and self._again(x.level, child))
            for x in loops
        )

        def reads(_: Skeleton, name: tuple[Any, ...], tiles: ChainRows) -> npt.NDArray[np.int64]:
            whole = np.full(len(tiles["M"]), problem.M, np.int64)
            total = np.full(len(tiles["M"]), words, np.int64)
            for take, tile in zip(counted, tiles["M"].T, strict=True):
                if take:
                    total *= -(-whole // tile)
                whole = np.minimum(whole, tile)
            return total

        return [Factor(FormulaSums(("M",), ("way", counted, words), reads, self.part), 0, "way")]

    def _again(self, level: int, child: int) -> bool:
        """Whether a round of M at a level reads the ifmap anew for a child."""
        return level in self.within or any(level < x < child for x in self.changing)


def _relaxed(
    skeleton: Skeleton,
    allowed: Allowed,
    listed: Sequence[TileRows],
    goal: Objective,
    classes: Classes | None,
    deadline: float | None,
) -> Iterator[BoundTable]:
    """Tables of the bound over all orders of classes: a cell for each set of levels whose loops
    change a plain dimension of the ifmap, and for each loop that may be the first there is of those
    a class has innermost.
    """
    levels = len(skeleton.keep)
    bits = skeleton.arch.bits
    narrow = (getattr(bits, skeleton.problem.accumulated) <= bits.psum,) * levels
    for cases in product(*(_cases(skeleton, level, c) for level, c in enumerate(classes or ()))):
        wanted = {(dim, level): there for level, case in enumerate(cases) for dim, there in case}
        within = frozenset(
            level for (dim, level), there in wanted.items() if there and dim in PLAIN
        )
        kinds: list[list[tuple[frozenset[int], npt.NDArray[np.int64]]]] = []
        for family, r in zip(skeleton.families, listed, strict=True):
            loops = [skeleton.loops[i] for i in family.loops]
            ok = np.ones(len(r.tiles), bool)
            for i, s in enumerate(loops):
                if not s.spatial and (s.dim, s.level) in wanted:
                    ok &= (r.trips[:, i] > 1) == wanted[s.dim, s.level]
            own = [
                i
                for i, s in enumerate(loops)
                if not s.spatial and 0 < s.level < levels - 1 and family.name in PLAIN
            ]
            unique, back = np.unique(r.trips[:, own] > 1, axis=0, return_inverse=True)
            back = back.reshape(-1)
            where = [
                frozenset(loops[i].level for i, x in zip(own, u, strict=True) if x) for u in unique
            ]
            index = [np.flatnonzero(ok & (back == n)) for n in range(len(unique))]
            kinds.append([(w, i) for w, i in zip(where, index, strict=True) if len(i)])
        for combo in product(*kinds):
            changing = frozenset().union(*(where for where, _ in combo))
            cell = Relaxed(skeleton, allowed, narrow, listed, classes, changing, within)
            table, _, _ = group_tables(
                cell,
                listed,
                [index for _, index in combo],
                goal.measures,
                dominance=True,
                deadline=deadline,
            )
            if table is not None:
                yield table


def _gaining(skeleton: Skeleton, level: int) -> list[str]:
    """The tensors that are kept further in than a level and may stand still while some of its loops
    go on.
    """
    inside = frozenset().union(*skeleton.keep[level + 1 :])
    dims = {s.dim for s in skeleton.loops if s.level == level and not s.spatial}
    return [t for t in TENSORS if t in inside and dims & set(SUFFIX[t])]


def _cases(skeleton: Skeleton, level: int, name: str) -> list[tuple[tuple[str, bool], ...]]:
    """Which of the loops a class has innermost at a level is the first that is there, and that
    those before it are not.
    """
    dims = [s.dim for s in skeleton.loops if s.level == level and not s.spatial]
    if not name:
        return [
            tuple((d, False) for t in _gaining(skeleton, level) for d in SUFFIX[t] if d in dims)
        ]
    mine = [d for d in SUFFIX[name] if d in dims]
    return [tuple((d, d == mine[at]) for d in mine[: at + 1]) for at in range(len(mine))]


__all__ = ["Allowed", "keeps", "next_to_pes", "search", "skeletons"]
