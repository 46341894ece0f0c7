"""The exact search: best first over clusters of choices, bounded from below, blocks evaluated as
matrix products.

The life of a search: from a few random choices it descends to a first good mapping.  Then a heap of
nodes is worked off, the least bound first.  A *node* is one cluster of choices for each group.  One
whose bound is not below the best known is pruned, as is one whose least usage overflows a level or
the array; the others are cut in two, or, once small, evaluated as a block (``bound_table``).

Where these measures are no more than lower bounds (``cycles``), a mapping that is below the best
known waits on a heap of its own until nothing left has a lower bound; then its cycles are worked
out in full (``closed``), and only that value can be the best.  When both heaps are empty the best
is proved; stopped before, ``State.rest`` is what nothing left is below.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapper.bound_table import BoundTable, Candidate, SearchTally, one_of, product_of
from accelsim.mapper.cell import Limit
from accelsim.mapper.clusters import Clusters, build
from accelsim.mapper.deadline import in_time
from accelsim.mapper.objective import Objective
from accelsim.mapping.skeleton import Skeleton

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CHUNK = 2048  # nodes bounded at once
CLUSTER = 4  # choices that are not told apart further
RUNNERS_UP = 16
TIED = 1e-7  # relative; no less than float32 rounds up by
ROUNDING = 1e-9  # relative; what float64 sums of signed products may be off by, with room


@dataclass
class State:
    """What is known so far; ``rest`` is a lower bound of every mapping not yet looked at (inf: none
    left).

    ``least`` is the least lower bound of any mapping looked at; ``timed`` the best that the closed
    form was asked for, best first; ``untimed`` the one with the least lower bound that has more
    steps than the closed form takes.
    """

    best: Candidate | None = None
    value: float = float("inf")
    rest: float = 0.0
    least: float = float("inf")
    front: list[Candidate] = field(default_factory=list)
    timed: list[tuple[float, Candidate]] = field(default_factory=list)
    untimed: tuple[float, Candidate] | None = None
    stopped: str | None = None


Progress = Callable[[State, SearchTally], None]
Closed = Callable[[Skeleton, Sequence[int]], float]


@dataclass
class _Waiting:
    """Mappings of a block whose cycles are still to be worked out, the least lower bound first."""

    at: int
    rows: list[Ints]  # of each group
    keys: (
        Floats  # a little below the lower bounds: what float64 tells apart by chance alone is equal
    )
    ties: Floats  # of equal ones that in which least moves comes first
    measures: dict[str, Floats]
    next: int = 0


class Search:
    """Searches tables of one skeleton for the least of an objective, or for the front of energy and
    cycles (``objective`` None).

    ``closed`` gives a mapping's cycles where those of the tables are lower bounds; more than
    ``patience`` seconds of it end the search.  So do more than ``most`` mappings evaluated, or
    timed: effort that is the same on any machine.
    """

    def __init__(
        self,
        tables: list[BoundTable],
        objective: Objective | None,
        tally: SearchTally,
        *,
        deadline: float | None = None,
        closed: Closed | None = None,
        patience: float | None = None,
        most: tuple[int, int] | None = None,
        progress: Progress | None = None,
        starts: int = 8,
        seed: int = 0,
    ) -> None:
        self.tables, self.objective, self.tally = tables, objective, tally
        self.deadline, self.closed, self.progress, self.starts = deadline, closed, progress, starts
        self.patience, self.spent, self.most = patience, 0.0, most
        self.state = State()
        self.rng = np.random.default_rng(seed)
        self.heap: list[tuple[float, int, int, Ints, Floats]] = []
        self.waiting: list[tuple[float, float, int, _Waiting]] = []
        self.seen: set[tuple[int, ...]] = (
            set()
        )  # tiles of mappings whose cycles have been worked out
        self.trees: list[list[Clusters]] = []
        self.working = 0.0  # bound of what has left the heap and is being worked on
        self.order = itertools.count()
        self.hull = np.zeros((2, 0))  # the front: cycles rising, energy falling

    def run(self) -> State:
        """Until nothing is left, the deadline, or an interrupt; the state is then what was
        reached.
        """
        try:
            self._run()
        except KeyboardInterrupt:
            self.state.stopped = "interrupted"
        except TimeoutError:
            self.state.stopped = "limit"
        self.state.rest = self._rest()
        if self.state.stopped:
            self.state.rest = max(
                self.state.rest,
                min((float(self._key(t.least())) for t in self.tables), default=0.0),
            )
        self.tally.evaluated -= sum(len(w.keys) - w.next for *_, w in self.waiting)
        return self.state

    def _rest(self) -> float:
        """What nothing left is below: the least bound of all that has not been looked at."""
        left = [x[0][0] for x in (self.heap, self.waiting) if x]
        if self.state.untimed is not None:
            left.append(self.state.untimed[0])
        return min([self.working, *left])

    def start_from(self, known: State) -> None:
        """Mappings known already: nothing worse is looked for."""
        self.state.best, self.state.value, self.state.timed = known.best, known.value, known.timed

    def _run(self) -> None:
        """The life of a search; see the module's text."""
        known = self.state.best is not None
        for at in range(len(self.tables)):
            self._descend(at, self.deadline if known else None)
        for table in self.tables:
            cost = self._cost(table)
            self.trees.append(
                [build(g, cost, CLUSTER, lambda: in_time(self.deadline)) for g in table.groups]
            )
        for at, trees in enumerate(self.trees):
            self._push(at, np.zeros((1, len(trees)), np.int64))
        self.working = float("inf")
        while self.heap or self.waiting:
            if self.deadline is not None and monotonic() > self.deadline:
                self.state.stopped = "limit"
                return
            if self.patience is not None and self.spent > self.patience:
                self.state.stopped = f"{self.patience:.0f} s of closed forms"
                return
            if self.most is not None and (
                self.tally.evaluated > self.most[0] or self.tally.timed > self.most[1]
            ):
                self.state.stopped = "effort"
                return
            if self.waiting and (not self.heap or self.waiting[0][0] <= self.heap[0][0]):
                self._time()
            else:
                self.working, _, at, nodes, lower = heapq.heappop(self.heap)
                self._expand(at, nodes, lower)
            self.working = float("inf")
            if self.progress is not None:
                self.state.rest = self._rest()
                self.progress(self.state, self.tally)

    # -- nodes -------------------------------------------------------------------------------------

    def _sizes(self, at: int, nodes: Ints) -> Floats:
        """Mappings of each node [nodes] of a table's trees; ``nodes`` [nodes, groups]."""
        sizes = [t.size[nodes[:, g]].astype(np.float64) for g, t in enumerate(self.trees[at])]
        return np.asarray(np.prod(sizes, axis=0))

    def _push(self, at: int, nodes: Ints) -> None:
        """Bound nodes, prune, and put the rest on the heap in chunks of like bounds."""
        for base in range(0, len(nodes), 4 * CHUNK):
            part = nodes[base : base + 4 * CHUNK]
            measures, fits = self.tables[at].bounds(self.trees[at], part)
            sizes = self._sizes(at, part)
            self.tally.capacity += int(sizes[~fits].sum())
            hopeless = fits & self._hopeless(measures)
            self.tally.bound += int(sizes[hopeless].sum())
            lower = self._key(measures)
            live = np.flatnonzero(fits & ~hopeless)
            live = live[np.argsort(lower[live], kind="stable")]
            for chunk in np.split(live, range(CHUNK, len(live), CHUNK)):
                if len(chunk):
                    bounds = np.stack([measures[m][chunk] for m in self._axes])
                    heapq.heappush(
                        self.heap,
                        (float(lower[chunk[0]]), next(self.order), at, part[chunk], bounds),
                    )

    @property
    def _axes(self) -> tuple[str, ...]:
        return ("energy", "cycles") if self.objective is None else self.objective.measures

    def _key(self, measures: dict[str, Any]) -> Floats:
        """What is searched in order of, in the shape of the measures."""
        of = (
            measures["energy"] * measures["cycles"]
            if self.objective is None
            else self.objective.of(measures)
        )
        return np.asarray(of, np.float64)

    def _hopeless(self, measures: dict[str, Any]) -> npt.NDArray[np.bool_]:
        """Whether nothing better than what is known can be at these measures."""
        if self.objective is not None:
            return np.asarray(self._key(measures) >= self.state.value * (1 - ROUNDING))
        cycles, energy = self.hull
        if not len(cycles):
            return np.zeros(np.shape(measures["energy"]), bool)
        index = np.searchsorted(cycles, measures["cycles"] * (1 + ROUNDING), side="right") - 1
        return np.asarray(
            (index >= 0) & (energy[np.maximum(index, 0)] * (1 - ROUNDING) <= measures["energy"])
        )

    def _expand(self, at: int, nodes: Ints, lower: Floats) -> None:
        """Evaluate the small ones of some nodes [nodes, groups], and cut the others in two where
        their entries differ most.  ``lower`` [measures, nodes] are their bounds.
        """
        trees = self.trees[at]
        hopeless = self._hopeless(dict(zip(self._axes, lower, strict=True)))
        sizes = self._sizes(at, nodes)
        self.tally.bound += int(sizes[hopeless].sum())
        nodes, sizes, lower = nodes[~hopeless], sizes[~hopeless], lower[:, ~hopeless]
        if not len(nodes):
            return
        spread = np.stack(
            [
                np.where(t.left[nodes[:, g]] >= 0, t.spread[nodes[:, g]] + 1e-12, -1.0)
                for g, t in enumerate(trees)
            ]
        )
        final = (sizes <= self.tables[at].leaf) | (spread.max(axis=0) < 0)
        for i in np.flatnonzero(final):
            if self._hopeless({m: lower[k, i] for k, m in enumerate(self._axes)}):
                self.tally.bound += int(sizes[i])
            else:
                self._leaf(at, nodes[i])
        nodes, spread = nodes[~final], spread[:, ~final]
        if not len(nodes):
            return
        cut = spread.argmax(axis=0)
        children = np.concatenate([nodes, nodes])
        for g, t in enumerate(trees):
            rows = np.flatnonzero(cut == g)
            children[rows, g] = t.left[nodes[rows, g]]
            children[rows + len(nodes), g] = t.right[nodes[rows, g]]
        self._push(at, children)

    # -- blocks ------------------------------------------------------------------------------------

    def _leaf(self, at: int, node: Ints) -> None:
        """Evaluate a node [groups]; limits that none of its mappings can break are not asked."""
        trees = self.trees[at]
        picks = [t.order[t.start[i] : t.stop[i]] for t, i in zip(trees, node, strict=True)]
        most = np.prod([t.used_most[i] for t, i in zip(trees, node, strict=True)], axis=0)
        limits = [x for x in self.tables[at].limits if float(np.ravel(x.used(most))[0]) > x.most]
        self._evaluate(at, picks, limits)

    def _evaluate(self, at: int, picks: list[Ints], limits: Sequence[Limit]) -> None:
        """All combinations of these choices; those that are better than what is known and keep the
        limits become the best, or the front, or wait for their cycles.
        """
        table = self.tables[at]
        measures, shape = table.block(picks)
        self.tally.evaluated += prod(shape)
        if self.objective is None:
            if self._hopeless({m: np.asarray(v.min()) for m, v in measures.items()}):
                return
            better = ~self._hopeless(measures)
        else:
            value = self._key(measures)
            if value.min() >= self.state.value:
                return
            better = value < self.state.value
        flat = np.flatnonzero(better)
        if limits and len(flat):
            flat = flat[table.legal(picks, limits, flat)]
        if not len(flat):
            return
        chosen = {m: v.reshape(-1)[flat] for m, v in measures.items()}
        if self.closed is not None:
            self._wait(at, picks, shape, flat, chosen)
        elif self.objective is None:
            self._to_front(at, picks, shape, flat, chosen)
        else:
            self._to_best(at, picks, shape, flat, chosen)

    def _candidate(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: int,
        values: dict[str, float],
    ) -> Candidate:
        table = self.tables[at]
        return Candidate(values, table.cell.skeleton, table.tiles(table.rows(picks, flat, shape)))

    def _to_best(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: Ints,
        measures: dict[str, Floats],
    ) -> None:
        value = self._key(measures)
        first = int(value.argmin())
        if value[first] < self.state.value:
            self.state.value = float(value[first])
            self.state.best = self._candidate(
                at, picks, shape, int(flat[first]), one_of(measures, first)
            )

    def _to_front(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: Ints,
        measures: dict[str, Floats],
    ) -> None:
        for i in np.lexsort((measures["energy"], measures["cycles"])):
            values = one_of(measures, i)
            if not self._hopeless(values):
                self._add_to_front(self._candidate(at, picks, shape, int(flat[i]), values))

    def _add_to_front(self, candidate: Candidate) -> None:
        energy, cycles = candidate.values["energy"], candidate.values["cycles"]
        kept = [
            f
            for f in self.state.front
            if not (f.values["energy"] >= energy and f.values["cycles"] >= cycles)
        ]
        self.state.front = sorted([*kept, candidate], key=lambda f: f.values["cycles"])
        self.hull = np.array(
            [
                [f.values["cycles"] for f in self.state.front],
                [f.values["energy"] for f in self.state.front],
            ]
        )

    # -- cycles in full ----------------------------------------------------------------------------

    def _wait(
        self,
        at: int,
        picks: list[Ints],
        shape: tuple[int, ...],
        flat: Ints,
        measures: dict[str, Floats],
    ) -> None:
        """Mappings of a block that may still be the best."""
        table = self.tables[at]
        rows = table.rows(picks, flat, shape)
        self.state.least = min(self.state.least, float(self._key(measures).min()))
        measures = {m: v for m, v in table.closer(rows).items() if m in measures}
        keys = (self._key(measures) * (1 - TIED)).astype(np.float32).astype(np.float64)
        ties = table.forms_of(rows).sum(axis=0)
        by = np.lexsort((ties, keys))
        entry = _Waiting(
            at, [r[by] for r in rows], keys[by], ties[by], {m: v[by] for m, v in measures.items()}
        )
        heapq.heappush(
            self.waiting, (float(entry.keys[0]), float(entry.ties[0]), next(self.order), entry)
        )

    def _time(self) -> None:
        """The waiting mapping with the least lower bound."""
        w = self.waiting[0][-1]
        i, lower = w.next, one_of(w.measures, w.next)
        if not self._hopeless(lower):
            table = self.tables[w.at]
            self._try(lower, table, table.tiles([rows[i] for rows in w.rows]))
        w.next += 1
        if self.objective is not None and w.keys[i] >= self.state.value * (1 - ROUNDING):
            w.next = len(w.keys)  # those behind it are no better
        if w.next < len(w.keys):
            heapq.heapreplace(
                self.waiting, (float(w.keys[w.next]), float(w.ties[w.next]), next(self.order), w)
            )
        else:
            heapq.heappop(self.waiting)

    def _try(self, lower: dict[str, float], table: BoundTable, tiles: tuple[int, ...]) -> None:
        """A mapping by the closed form: it may be the best."""
        assert self.closed is not None
        if tiles in self.seen:
            return
        start = monotonic()
        cycles = self.closed(table.cell.skeleton, tiles)
        self.spent += monotonic() - start
        self.seen.add(tiles)
        self.tally.timed += 1
        if cycles == float("inf"):
            low = float(self._key(lower))
            if self.state.untimed is None or low < self.state.untimed[0]:
                self.state.untimed = low, Candidate(lower, table.cell.skeleton, tiles)
            return
        values = lower | {"cycles": cycles}
        if "energy" in lower:
            values["energy"] += table.cell.static * (cycles - lower["cycles"])
        candidate, value = Candidate(values, table.cell.skeleton, tiles), float(self._key(values))
        if self.objective is None:
            if not self._hopeless(values):
                self._add_to_front(candidate)
            return
        self.state.timed = sorted([*self.state.timed, (value, candidate)], key=lambda x: x[0])[
            :RUNNERS_UP
        ]
        if value < self.state.value:
            self.state.value, self.state.best = value, candidate

    # -- good mappings to begin with ---------------------------------------------------------------

    def _descend(self, at: int, deadline: float | None) -> None:
        """From a few starts, the best choice of one group after another, the others fixed, until
        none improves.
        """
        table = self.tables[at]
        groups = table.groups
        for start in range(self.starts):
            if start == 0:
                now = [int(g.usage.prod(axis=1).argmin()) for g in groups]
            else:
                now = [int(self.rng.integers(len(g.tiles))) for g in groups]
            last = float("inf")
            last_tried: Candidate | None = None
            while True:
                for g in self.rng.permutation(len(groups)):
                    in_time(deadline)
                    picks = [np.array([i]) for i in now]
                    picks[g] = np.arange(len(groups[g].tiles))
                    measures, shape = table.block(picks)
                    self.tally.tried += prod(shape)
                    flat = np.arange(prod(shape))
                    legal = table.legal(picks, table.limits, flat)
                    each = {m: v.reshape(-1) for m, v in measures.items()}
                    value = np.where(legal, self._key(each), np.inf)
                    best = int(value.argmin())
                    if not legal[best]:
                        continue
                    now[g] = best
                    if self.closed is not None:
                        last_tried = self._candidate(at, picks, shape, best, one_of(each, best))
                    elif self.objective is None:
                        better = np.flatnonzero(legal & ~self._hopeless(each))
                        self._to_front(
                            at, picks, shape, better, {m: v[better] for m, v in each.items()}
                        )
                    elif value[best] < self.state.value:
                        self.state.value = float(value[best])
                        self.state.best = self._candidate(
                            at, picks, shape, best, one_of(each, best)
                        )
                if not value[best] < last * (1 - ROUNDING):
                    break
                last = float(value[best])
            if last_tried is not None and not self._hopeless(last_tried.values):
                self._try(last_tried.values, table, last_tried.tiles)

    def _cost(self, table: BoundTable) -> Floats:
        """What each bracket contributes at the best mapping known, as a share of each measure's
        whole; averaged.
        """
        total = np.zeros(table.by_bracket.shape[1])
        rows = [g.first[len(g.first) // 2] for g in table.groups]
        best = self.state.best or (
            self.state.front[len(self.state.front) // 2] if self.state.front else None
        )
        if best is not None and best.skeleton is table.cell.skeleton:
            for i, g in enumerate(table.groups):
                match = np.flatnonzero(
                    (g.tiles == np.array([best.tiles[s] for s in g.loops])).all(axis=1)
                )
                if len(match):
                    rows[i] = g.first[match[0]]
        size = product_of(rows)
        for form in range(len(table.by_bracket)):
            share = np.abs(table.by_bracket[form]) * size
            whole = share.sum()
            total += share / whole if whole else 0.0
        return np.asarray(np.sqrt(total / len(table.by_bracket)) + 1e-4)


__all__ = ["ROUNDING", "RUNNERS_UP", "Search", "State"]
