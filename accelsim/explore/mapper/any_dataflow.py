"""Everything open: loop orders, what lies over rows and columns, what every level keeps.

The space has a temporal loop of every dimension at every level, in any order there, and one of every dimension over rows
and over columns at the level next to the PEs; every level inside the outermost keeps any of the tensors it may.

Two searches close it from both sides.  From below, each tensor has the loop order that is best for it alone (``Relaxed``):
no order moves less of a tensor than the loops it depends on outside and the others inside, level by level; of an ifmap,
whose windows overlap, not less than its distinct words, as often as a loop it does not depend on makes it start over.
From above, tiles are searched exactly under orders that are each best for one tensor at each level.  What lies between
the two is the gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, pairwise, product
from math import factorial, prod
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic import Factor, Side
from accelsim.engines.tables import coordinate_readers
from accelsim.explore.mapper.cell import Cell, Column, extra_columns, leaves_as_it_came, same_factors
from accelsim.explore.mapper.objective import Objective
from accelsim.explore.mapper.search import Search, State, Table, Tally, group_tables, prepare
from accelsim.explore.mapper.space import Rows, Skeleton, Slot, count, rows
from accelsim.files import InputError
from accelsim.hardware.architecture import Architecture
from accelsim.workload.problem import DEPENDS, DIMS, TENSORS, Problem

ORDERS: dict[str, tuple[tuple[str, ...], ...]] = {  # outermost first; each best for a tensor, sliding dimensions in both ways
    "weight": (("G", "M", "C", "R", "S", "N", "E", "F"), ("G", "M", "C", "R", "S", "N", "F", "E")),
    "ifmap": (("G", "N", "C", "R", "S", "F", "E", "M"), ("G", "N", "C", "R", "S", "E", "F", "M")),
    "ofmap": (("G", "N", "M", "F", "E", "C", "R", "S"),),
}
PLAIN = ("N", "G", "C")  # an ifmap's dimensions that do not slide


def next_to_pes(arch: Architecture) -> int:
    """The level whose loops lie over the array: the innermost one but for the stores of the PEs, several if none shares a tensor."""
    names = arch.level_names
    level = len(names) - 2
    if arch.systolic:
        return level
    inside = set(arch.levels[names[-1]].keeps)
    while level > 1 and len(arch.levels[names[level]].keeps) == 1 and not inside & set(arch.levels[names[level]].keeps):
        inside |= set(arch.levels[names[level]].keeps)
        level -= 1
    return level


def skeletons(problem: Problem, arch: Architecture, keep: tuple[frozenset[str], ...], orders: Sequence[Sequence[str]]) -> Skeleton:
    """The skeleton of an order for every level."""
    slots = []
    home = next_to_pes(arch)
    for level, order in enumerate(orders):
        slots += [Slot(d, level) for d in order if problem.size[d] > 1]
        if level == home:
            slots += [Slot(d, level, axis) for axis in ("col", "row") for d in DIMS if problem.size[d] > 1]
    return Skeleton(problem, arch, keep, tuple(slots))


def keeps(arch: Architecture) -> Iterator[tuple[frozenset[str], ...]]:
    """Every choice of what each level keeps."""
    options = []
    for name in arch.level_names[1:]:
        have = [t for t in TENSORS if t in arch.levels[name].keeps]
        options.append([frozenset(c) for c in chain.from_iterable(combinations(have, n) for n in range(len(have), -1, -1))])
    for combo in product(*options):
        yield (frozenset(TENSORS), *combo)


def search(
    problem: Problem,
    arch: Architecture,
    goal: Objective | None,
    deadline: float | None,
    progress: Any,
    kept: Sequence[tuple[frozenset[str], ...]] | None = None,
) -> tuple[State, Tally, int, list[Table]]:
    """As the search under a dataflow; ``kept`` are the only choices of what levels keep, if given.

    Mappings that no argument excluded are left in the certificate, also where all of their tiles were searched under
    another order.
    """
    if goal is None:
        raise InputError("dataflow any wants an objective that is one number", key="objective", got="front")
    if problem.accumulated == "ifmap" or arch.systolic or any(n.held == "neighbour" for n in arch.networks.values()):
        raise InputError(
            "dataflow any is for forward and grad_weight on arrays without systolic or neighbour links", key="dataflow", got="any"
        )
    start = monotonic()
    long = [d for d in DIMS if problem.size[d] > 1]
    levels = len(arch.levels)
    per_order = factorial(len(long)) ** levels
    total, whole = Tally(), 0
    bounds: list[tuple[float, int, tuple[frozenset[str], ...], int]] = []
    state = State()
    base = [ORDERS["weight"][0]] * levels
    listed: list[Rows] | None = None
    sizes = 0
    share = None if deadline is None else (deadline - start) / 2
    choices = sorted(keeps(arch) if kept is None else kept, key=lambda k: -sum(len(x) for x in k))
    tables: list[Table] = []
    try:
        for at, keep in enumerate(choices):
            skeleton = skeletons(problem, arch, keep, base)
            if listed is None:
                listed = [rows(skeleton, f, "divisors") for f in skeleton.families]
                sizes = prod(count(skeleton, f, "divisors") for f in skeleton.families)
            whole += sizes * per_order
            tally = Tally()
            until = None if share is None else start + share * (at + 1) / len(choices)
            try:
                ready = list(_relaxed(skeleton, listed, goal, tally, until))
            except TimeoutError:
                bounds.append((0.0, at, keep, sizes))
                continue
            low = Search(ready, goal, tally, deadline=until, starts=2, progress=None).run() if ready else State(rest=float("inf"))
            if low.stopped == "interrupted":
                raise KeyboardInterrupt
            bounds.append((min(low.value, low.rest), at, keep, sizes))
        bounds.sort()
        for n, (bound, _, keep, _) in enumerate(bounds):
            if bound >= state.value * (1 - 1e-9):
                break
            _exact_orders(problem, arch, keep, listed or [], goal, deadline, progress, state, total, tables, bounds[n][0])
            if state.stopped:
                break
    except KeyboardInterrupt:
        state.stopped = "interrupted"
    closed = [b for b in bounds if b[0] >= state.value * (1 - 1e-9)]
    open_ = [b for b in bounds if b[0] < state.value * (1 - 1e-9)]
    state.rest = min((b[0] for b in open_), default=float("inf")) if len(bounds) == len(choices) else 0.0
    if state.stopped is None and open_:
        state.stopped = "orders not searched"
    outcome = Tally(evaluated=total.evaluated, bound=sum(b[3] for b in closed) * per_order)
    if not open_ and len(bounds) == len(choices):
        outcome.bound = whole - outcome.evaluated
    return state, outcome, whole, tables


def _exact_orders(
    problem: Problem, arch: Architecture, keep: tuple[frozenset[str], ...], listed: Sequence[Rows], goal: Objective, deadline: float | None,
    progress: Any, state: State, total: Tally, tables: list[Table], bound: float,
) -> None:  # fmt: skip
    """Search the tiles under each of the orders, sharing the best."""
    every = [o for orders in ORDERS.values() for o in orders]
    home = next_to_pes(arch)
    inside = [ORDERS["weight"][0]] * (len(arch.levels) - home - 1)
    for orders in product(*[every] * (home + 1)):
        if state.value * (1 - 1e-9) <= bound:
            return
        if deadline is not None and monotonic() > deadline:
            state.stopped = "limit"
            return
        skeleton = skeletons(problem, arch, keep, [*orders, *inside])
        tally = Tally()
        ready = list(prepare(skeleton, listed, goal.measures, tally))
        one = Search(ready, goal, tally, deadline=deadline, starts=4, progress=progress)
        one.state.value = state.value
        found = one.run()
        total.evaluated += tally.evaluated
        if found.best is not None and found.value < state.value:
            state.value, state.best = found.value, found.best
            tables[:] = ready
        if found.stopped:
            state.stopped = found.stopped
            if found.stopped == "interrupted":
                raise KeyboardInterrupt
            return


# -- the bound over all orders -----------------------------------------------------------------------------------


class Relaxed(Cell):
    """A cell in which every tensor has the order best for it; ``starts_over`` are levels at which each further round of a
    loop the ifmap does not depend on reads it all again, as the loops further in change its channel, group or batch."""

    def __init__(self, skeleton: Skeleton, final: tuple[bool, ...], picks: Sequence[Rows], starts_over: frozenset[int]) -> None:
        self.starts_over = starts_over
        super().__init__(skeleton, tuple(range(len(skeleton.slots))), final, picks)

    def _terms(self) -> None:
        nest, acc = self.nest, self.skeleton.problem.accumulated
        brackets: dict[Column, list[tuple[list[Factor], list[Factor] | None]]] = {}
        for tensor in TENSORS:
            own = self._order(tensor)
            for b in own.boundaries:
                if b.tensor != tensor:
                    continue
                side = Side(own, b)
                for name in ("drained", "arrived") if tensor == acc else ("taken", "read"):
                    if tensor == "ifmap" and not side.mac:
                        brackets[b, name] = [(self._distinct(b.child, name == "taken"), None)]
                    else:
                        as_entries = name == "arrived" and leaves_as_it_came(own, side)
                        brackets[b, name] = side.brackets("read" if as_entries else name)
        for column, of_terms in zip(self.model.columns, self.model.matrix.T, strict=True):
            if column[0] is None:
                (at,) = np.flatnonzero(of_terms)
                brackets[column] = [(list(self.model.factors[at]), None)]
        for column, factors in extra_columns(nest):
            brackets[column] = [(list(factors), None)]
        self.terms, self.brackets, known = [], [], {}
        self.in_terms: dict[Column, dict[int, float]] = {}
        self.in_brackets: dict[Column, list[int]] = {}
        seen: dict[Any, int] = {}

        def term_of(factors: list[Factor]) -> int:
            key = same_factors(factors)
            if key not in seen:
                seen[key] = len(self.terms)
                self.terms.append(tuple(factors))
            return seen[key]

        for column, listed in brackets.items():
            signs: dict[int, float] = {}
            for first, second in listed:
                signs[term_of(first)] = signs.get(term_of(first), 0.0) + 1.0
                if second is not None:
                    signs[term_of(second)] = signs.get(term_of(second), 0.0) - 1.0
                key = (same_factors(first), None if second is None else same_factors(second))
                if key not in known:
                    known[key] = len(self.brackets)
                    self.brackets.append((tuple(first), None if second is None else tuple(second)))
                self.in_brackets.setdefault(column, []).append(known[key])
            self.in_terms[column] = signs
        linear = self._linear()
        for name, (constant, weights) in linear.items():
            linear[name] = constant, self._never_negative(weights)
        self.weights = {name: weights for name, (_, weights) in linear.items()}
        self.constants = {name: constant for name, (constant, _) in linear.items()}
        self.by_term, self.by_bracket = {}, {}
        for name, (_, weights) in linear.items():
            t, p = np.zeros(len(self.terms)), np.zeros(len(self.brackets))
            for column, w in weights.items():
                for term, sign in self.in_terms[column].items():
                    t[term] += w * sign
                for piece in self.in_brackets[column]:
                    p[piece] += w
            self.by_term[name], self.by_bracket[name] = t, p

    def _never_negative(self, weights: dict[Column, float]) -> dict[Column, float]:
        """Sums only get fewer on their way out: drained at a child >= arrived at its parent >= drained from there.

        What a column saves is taken off the next one further in, which is no smaller; what MACs drain depends on no order.
        """
        found = dict(weights)
        way: list[Column] = []
        for b in self.nest.boundaries:
            if b.tensor == self.skeleton.problem.accumulated:
                way += [(b, "arrived"), (b, "drained")]
        for column, further in pairwise(way):
            if (w := found.get(column, 0.0)) < 0 and column[0] is not None and column[0].child < self.nest.levels:
                found[column] = 0.0
                found[further] = found.get(further, 0.0) + w
        return {c: w for c, w in found.items() if w}

    def _order(self, tensor: str) -> Any:
        """The nest in which each level's loops the tensor depends on stand outside the others."""
        order = sorted(DIMS, key=lambda d: (d not in DEPENDS[tensor], DIMS.index(d)))
        skeleton = skeletons(self.skeleton.problem, self.skeleton.arch, self.skeleton.keep, [order] * len(self.skeleton.keep))
        nest = skeleton.nest(range(len(skeleton.slots)))
        nest.__dict__["footprint"] = self.nest.footprint
        return nest

    def _distinct(self, child: int, taken: bool) -> list[Factor]:
        problem = self.skeleton.problem
        words = prod(problem.size[d] for d in PLAIN)
        for rank in (("E", "R"), ("F", "S")):
            readers = coordinate_readers(problem.slide(rank), problem.size[rank[0]], problem.size[rank[1]])
            words *= int((readers >= 0).any(axis=1).sum())
        m = self.nest.chain_of["M"]
        loops = [self.nest.loops[i] for i in m.loops]
        counted = tuple(
            (x.spatial and taken and x.level < child) or (not x.spatial and x.level < child and self._again(x.level, child)) for x in loops
        )

        def trips(tiles: dict[str, tuple[int, ...]]) -> int:
            whole, found = problem.M, words
            for take, tile in zip(counted, tiles["M"], strict=True):
                found *= -(-whole // tile) if take else 1
                whole = min(whole, tile)
            return found

        return [Factor(("M",), ("fold", "M", "way", counted, words), trips)]

    def _again(self, level: int, child: int) -> bool:
        return any(level < x < child for x in self.starts_over)


def _relaxed(skeleton: Skeleton, listed: Sequence[Rows], goal: Objective, tally: Tally, deadline: float | None) -> Iterator[Table]:
    """Tables of the bound over all orders, a cell for each set of levels whose loops change a plain dimension of the ifmap."""
    levels = len(skeleton.keep)
    kinds: list[list[tuple[frozenset[int], npt.NDArray[np.int64]]]] = []
    for family, r in zip(skeleton.families, listed, strict=True):
        slots = [skeleton.slots[i] for i in family.slots]
        own = [i for i, s in enumerate(slots) if not s.spatial and 0 < s.level < levels - 1 and family.name in PLAIN]
        there = r.trips[:, own] > 1
        unique, back = np.unique(there, axis=0, return_inverse=True)
        back = back.reshape(-1)
        kinds.append(
            [(frozenset(slots[i].level for i, x in zip(own, u, strict=True) if x), np.flatnonzero(back == n)) for n, u in enumerate(unique)]
        )
    bits = skeleton.arch.bits
    narrow = (getattr(bits, skeleton.problem.accumulated) <= bits.psum,) * levels
    for combo in product(*kinds):
        again = frozenset().union(*(levels_ for levels_, _ in combo))
        cell = Relaxed(skeleton, narrow, listed, again)
        picks = [index for _, index in combo]
        table, alone, dominated = group_tables(cell, listed, picks, goal.measures, dominance=True, deadline=deadline)
        tally.capacity += alone
        tally.dominated += dominated
        if table is not None:
            yield table


__all__ = ["keeps", "next_to_pes", "search", "skeletons"]
