"""What the PEs of a pass take, keep and let go; ``movement`` asks ``PeArray.step`` for every pass.

1. *Tables.*  A PE's tile is a product of lists, one a rank.  A rank's lists depend on its own
   chains only, so they stand once for each of the chain's own steps and instances:
   ``[own steps x own instances, words]``, padded with NOWHERE (``_chain``, ``_rank``).
2. *Steps.*  ``lockstep.follow`` goes through all steps and PEs, word by word (``_followed``).
3. *Plans.*  What came of it is made index sets, and kept: tables depend on positions only through a
   base address, so the controller follows equal passes once.  A plan is looked up by what the
   tables are, what was held, and by how much bases shifted (``_planned``).
4. *What stays* when the pass ends is the state that the next pass starts from.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.lockstep import (
    GIVEN,
    IN,
    OUT,
    OUT_BEFORE,
    REAL,
    PassTally,
    PeOrder,
    StepLists,
    WantedTiles,
    follow,
)
from accelsim.engines.event.multiply import Span
from accelsim.engines.event.ranks import (
    NOWHERE,
    Rank,
    address,
    coordinates,
    first_of,
    grid,
    grouped,
    not_padding,
    outer_sum,
    pieces_at,
    ranks_of,
    reshaped,
)
from accelsim.engines.event.takes import MacWork
from accelsim.engines.event.transfers import (
    Instance,
    Ints,
    Pass,
    PeDrain,
    PeLoad,
    StepWords,
    Take,
)
from accelsim.engines.event.word_sets import Pattern, WordSet, product_pattern
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
from accelsim.workload.problem import RANKS

Flags = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _ChainTable:
    """A chain's pieces, ``[own steps x own instances]``, and which there are, ``[own steps, own
    instances]``; ``identity`` is equal where the pieces are equal but for where they begin.
    """

    piece: Piece
    exists: npt.NDArray[np.bool_]
    identity: int


@dataclass(frozen=True)
class _RankTable:
    """A rank's lists of word offsets.

    ``offsets``   [own steps x own instances, words], sorted, less ``base``, padded with NOWHERE
    ``base``      the least offset
    ``identity``  equal where offsets are
    """

    offsets: Ints
    base: int
    identity: int


@dataclass(frozen=True)
class _PeState:
    """What each PE held when it last took a step.

    ``rows``      by rank: lists of word offsets [rows, words], less the bases of the pass they are
                  from
    ``of``        [PEs, ranks]: which row each PE has
    ``identity``  equal where both are
    """

    rows: tuple[Ints, ...]
    of: Ints
    identity: int


@dataclass(frozen=True)
class _Leaving:
    """Accumulated words that leave PEs: ``PeDrain`` before it has a base; ``words`` by cluster."""

    drained: int
    arrived: int
    words: list[Pattern]
    steps: StepWords


@dataclass(frozen=True)
class _PassPlan:
    """Counts and words of one tensor's PE boundary in one pass; words less the base of the pass.

    ``entered``   words the PEs take (or, accumulated, begin)
    ``read``      words their parents read for that
    ``load``      by cluster: which words entered
    ``resident``  by cluster: which are there at the end
    ``leaving``   of sums: those that leave before the buffers move on, at the change into the pass,
                  and those that leave between its steps
    ``first``     by cluster: words of ``leaving``, sorted, and the step each first leaves after
    ``state``     what the PEs hold at the end
    ``steps``     how the words that parents read spread over the steps
    """

    entered: int
    read: int
    load: list[Pattern]
    resident: list[Pattern]
    leaving: tuple[_Leaving, _Leaving]
    first: tuple[tuple[Ints, Ints], ...]
    state: _PeState
    steps: StepWords


def limited_inside(nest: Nest) -> bool:
    """Whether a port or a network between the PEs and what feeds them has a width, so that steps
    have to be told apart.
    """
    pe, levels = nest.levels - 1, list(nest.arch.levels.values())
    inside = [b for b in nest.boundaries if b.parent < pe <= b.child]
    networks = (nest.arch.networks[b.network] for b in inside if b.network)
    return any(levels[b.parent].port_bits is not None for b in inside) or any(
        n.width_bits is not None for n in networks
    )


def exposed_operands(nest: Nest) -> frozenset[str]:
    """Operands the PEs keep and cannot take in while they work (docs/time.md); an array of systolic
    lines has none.
    """
    level = nest.arch.levels[nest.arch.level_names[-1]]
    if nest.arch.systolic or level.double_buffered:
        return frozenset()
    return frozenset(
        t for t in nest.problem.operands if t in nest.keep[-1] and t not in level.queued
    )


@lru_cache(maxsize=4)
def _known(thread: int, key: Any) -> tuple[dict[Any, Any], ...]:
    """Tables and plans of a nest, kept for the next layer that is equal.  They are filled and
    numbered as an array runs, so each thread has its own.
    """
    return {}, {}, {}, {}, {}, {}


class PeArray:
    """The PEs and MACs in lockstep.

    Loops, as positions in ``nest.loops``: ``outer`` outside a pass, ``spatial`` over instances,
    ``clusters`` those of them outside the level next to the array, ``inside`` the PEs.

    ``n_steps``, ``n_instances``  of a pass, whether they exist or not; PEs are numbered over all
                                  instances, cluster by cluster
    ``own_steps``, ``own_space``  by chain: its loops among a pass's steps, and among ``spatial``
    ``step_of``, ``inst_of``      by chain: [steps] and [PEs], the number of its own step, instance
    ``cluster_names``             clusters; a PE's is numbered by the loops ``clusters``
    ``boundaries``                those whose child is the PE; if words are told step by step also
                                  that of sums straight from the MACs (``direct``), which PEs make
                                  as if they took them and held none
    ``order``                     by boundary: PEs, those that share words side by side
    ``one_of``                    of ``direct``: of PEs that make the same sums the first, and
                                  whose they are, [PEs]
    ``ranks``                     by boundary: the factors of its tile
    ``fixed``                     by boundary: axes of a fused dimension: they carry over
    ``pairs``                     by boundary: whether words are (k, x) pairs
    ``stepwise``                  whether words are told step by step
    ``firsts``                    whether also the first step each sum leaves after
    ``where``, ``tables``, ``rank_tables``, ``active``   of the pass at hand: by chain its position,
                                  the tables there, and their identities together
    ``states``                    by boundary: what the PEs held, and that pass's bases
    ``work``                      what the MACs take
    """

    def __init__(
        self,
        nest: Nest,
        outer: list[int],
        steps: list[int],
        spatial: list[int],
        clusters: list[int],
        *,
        stepwise: bool = False,
    ) -> None:
        self.nest, self.outer, self.spatial, self.clusters = nest, outer, spatial, clusters
        self.pe = nest.levels - 1
        loops = nest.loops
        self.inside = [i for i, x in enumerate(loops) if x.level == self.pe]
        self.own_steps = {c.name: [i for i in steps if i in c.loops] for c in nest.chains}
        self.own_space = {c.name: [i for i in spatial if i in c.loops] for c in nest.chains}
        self.n_steps = prod(loops[i].trips for i in steps)
        self.n_instances = prod(loops[i].trips for i in spatial)
        step_at = dict(zip(steps, grid(loops[i].trips for i in steps), strict=True))
        inst_at = dict(zip(spatial, grid(loops[i].trips for i in spatial), strict=True))
        self.step_of = {
            c.name: self._flat(self.own_steps[c.name], step_at, self.n_steps) for c in nest.chains
        }
        self.inst_of = {
            c.name: self._flat(self.own_space[c.name], inst_at, self.n_instances)
            for c in nest.chains
        }
        self.cluster_names: list[Instance] = [
            tuple(x) for x in product(*(range(loops[i].trips) for i in clusters))
        ]
        self.boundaries = [b for b in nest.boundaries if b.child == self.pe]
        self.stepwise, self.direct = stepwise, None
        for b in nest.boundaries if stepwise else ():
            if b.tensor == nest.problem.accumulated and b.parent < self.pe < b.child:
                self.direct = b
                self.boundaries.append(b)
        self.order = {b: self._order(b, inst_at) for b in self.boundaries if b != self.direct}
        self.firsts = stepwise and bool(exposed_operands(nest))
        self.ranks = {b: self._ranks(b) for b in self.boundaries}
        self.of_pe = {
            b: self._rows_of(b, self.own_space, self.inst_of).astype(np.int64)
            for b in self.boundaries
        }
        if self.direct is not None:
            self._merge(self.direct, self._flat(clusters, inst_at, self.n_instances))
        axes = {
            b: {d: i for i, rank in enumerate(RANKS[b.tensor]) for d in rank}
            for b in self.boundaries
        }
        self.fixed = {
            b: tuple(
                axes[b][p] for c in nest.chains if c.fused and c.depends(b.tensor) for p in c.parts
            )
            for b in self.boundaries
        }
        self.pairs = {b: nest.projection(b.tensor, b.child).pairs for b in self.boundaries}
        self.outer_of = [(c, [i for i in outer if i in c.loops]) for c in nest.chains]
        self.where: dict[str, tuple[int, ...]] = {}
        self.tables: dict[str, _ChainTable] = {}
        self.rank_tables: dict[Boundary, list[_RankTable]] = {
            b: [None] * len(self.ranks[b])  # type: ignore[list-item]
            for b in self.boundaries
        }
        self.active: tuple[int, ...] = ()
        self.sliding = sorted({nest.chain_of[d].name for d in "ERFS"})
        self.states: dict[Boundary, tuple[_PeState, tuple[int, ...]] | None] = dict.fromkeys(
            self.boundaries
        )
        fused = tuple(nest.mapping.fused.items())
        told = stepwise, self.firsts
        known = _known(
            threading.get_ident(),
            (
                nest.problem,
                nest.window,
                nest.arch.padding,
                nest.loops,
                nest.keep,
                nest.boundaries,
                fused,
                told,
            ),
        )
        self._ids, self._chain_tables, self._rank_tables, self._plans, self._works, self._boxes = (
            known
        )
        self.work = MacWork(
            nest,
            steps,
            self.step_of,
            self.n_steps,
            self._works,
            stepwise=stepwise and not nest.arch.systolic,
        )

    def _flat(self, own: list[int], at: dict[int, Ints], n: int) -> Ints:
        """One mixed-radix number of some loops' positions, for each of ``n`` settings."""
        flat = np.zeros(n, np.int64)
        for i in own:
            flat = flat * self.nest.loops[i].trips + at[i]
        return flat

    def _ranks(self, b: Boundary) -> list[Rank]:
        """The factors of a tile, without those that are one and the same coordinate throughout."""
        ranks, size = ranks_of(self.nest, b.tensor, b.child), self.nest.problem.size
        cut = [r for r in ranks if r.sliding or prod(size[p] for p in r.rank) > 1]
        return cut or [*ranks[:1]]

    def _order(self, b: Boundary, inst_at: dict[int, Ints]) -> PeOrder:
        """The PEs as ``lockstep`` goes through them for one boundary."""
        apart = grouped(self.nest, b, self.spatial)
        parents = [i for i in self.spatial if self.nest.loops[i].level < b.parent]
        numbers = [
            self._flat(x, inst_at, self.n_instances) for x in (apart, parents, self.clusters)
        ]
        order = np.argsort(numbers[0], kind="stable")
        sharers, parent, cluster = (x[order] for x in numbers)
        first = np.flatnonzero(np.diff(sharers, prepend=-1, append=-1))
        return PeOrder(order, parent, cluster, first)

    def _merge(self, b: Boundary, cluster: Ints) -> None:
        """Of PEs of one ``cluster`` [PEs] that make the same sums one stands for all."""
        alike = np.column_stack([cluster, self.of_pe[b]])
        _, one, whose = np.unique(alike, axis=0, return_index=True, return_inverse=True)
        n, self.of_pe[b] = len(one), self.of_pe[b][one]
        self.order[b] = PeOrder(np.arange(n), np.zeros(n, np.int64), cluster[one], np.arange(n + 1))
        self.alike = np.split(np.argsort(whose, kind="stable"), np.cumsum(np.bincount(whose))[:-1])

    def _identity(self, *things: Any) -> int:
        """A small number that is equal for equal things: arrays by their bytes and shape."""
        return int(
            self._ids.setdefault(
                tuple(
                    x.tobytes() + str(x.shape).encode() if isinstance(x, np.ndarray) else x
                    for x in things
                ),
                len(self._ids),
            )
        )

    # tables

    def _chain(self, chain: Chain, at: dict[int, int]) -> _ChainTable:
        """The pieces of a chain at a position of its outer loops, made when first met."""
        key = (chain.name, tuple(at[i] for i in chain.loops if i in at))
        table: _ChainTable | None = self._chain_tables.get(key)
        if table is None:
            own = [*self.own_steps[chain.name], *self.own_space[chain.name]]
            piece, _ = pieces_at(self.nest, chain, at, own)
            sides = (*piece.lo.values(), *piece.hi.values())
            least = [int(v.min()) for v in piece.lo.values()] * 2
            numbers = [v - b for v, b in zip(sides, least, strict=True)]
            identity = self._identity(chain.name, *numbers, *(piece.chunk or ()))
            exists = piece.exists.reshape(self._shape(chain))
            table = self._chain_tables[key] = _ChainTable(piece, exists, identity)
        return table

    def _shape(self, chain: Chain) -> tuple[int, int]:
        """Own steps and own instances of a chain."""
        steps, space = (
            prod(self.nest.loops[i].trips for i in own[chain.name])
            for own in (self.own_steps, self.own_space)
        )
        return steps, space

    def _rank(self, rank: Rank, at: dict[int, int]) -> _RankTable:
        """The lists of a rank; of two chains that slide over all pairs of their own steps and
        instances.
        """
        key = (rank, tuple(at[i] for c in rank.chains for i in c.loops if i in at))
        table: _RankTable | None = self._rank_tables.get(key)
        if table is None:
            pieces = tuple(self._chain(c, at).piece for c in rank.chains)
            if len(pieces) == 2:
                (a, x), (b, y) = (self._shape(c) for c in rank.chains)
                pieces = reshaped(pieces[0], (a, 1, x, 1)), reshaped(pieces[1], (1, b, 1, y))
            offsets = rank.offsets(self.nest, pieces)
            offsets = offsets.reshape(-1, offsets.shape[-1])
            real = offsets != NOWHERE
            base = int(offsets[real].min()) if real.any() else 0
            offsets = np.where(real, offsets - base, NOWHERE)
            identity = self._identity(rank.rank, offsets)
            table = self._rank_tables[key] = _RankTable(offsets, base, identity)
        return table

    def _rows_of(self, b: Boundary, own: dict[str, list[int]], of: dict[str, Ints]) -> Ints:
        """Which own step of each rank each step has, or which own instance each PE: ``[steps or
        PEs, ranks]``.
        """
        rows = []
        for rank in self.ranks[b]:
            first, *rest = rank.chains
            rows.append(of[first.name])
            for c in rest:
                trips = prod(self.nest.loops[i].trips for i in own[c.name])
                rows[-1] = rows[-1] * trips + of[c.name]
        return np.stack(rows, axis=1)

    # one pass

    def step(self, at: dict[int, int]) -> tuple[PeDrain | None, Pass]:
        """What leaves the PEs before the buffers move on, and the pass itself."""
        self._move_to(at)
        before = during = None
        loads = []
        opened = 0
        stay: tuple[tuple[Instance, WordSet], ...] = ()
        direct: tuple[tuple[Instance, WordSet], ...] = ()
        first: dict[Instance, tuple[Ints, Ints]] = {}
        for b in self.boundaries:
            plan, base = self._planned(b, at)
            for name, (words, steps) in zip(self.cluster_names, plan.first, strict=False):
                first[name] = (words if self.pairs[b] else words + base, steps)
            if b == self.direct:
                direct = self._named(b, plan.load, base)
            elif b.tensor == self.nest.problem.accumulated:
                opened += plan.entered
                before, during = (self._pe_drain(b, x, base) for x in plan.leaving)
                stay = self._named(b, plan.resident, base)
            else:
                come, resident = (self._named(b, x, base) for x in (plan.load, plan.resident))
                told = plan.steps if self.stepwise else None
                loads.append(PeLoad(b, plan.entered, plan.read, come, resident, told))
        boxes = tuple((name, self._box(name, at)) for name in self.cluster_names)
        takes, macs, folds = self._work(at)
        return before, Pass(
            tuple(loads), opened, takes, during, stay, macs, folds, boxes, at, direct, first
        )

    def _move_to(self, at: dict[int, int]) -> None:
        """Look up the tables of the chains whose outer loops moved."""
        moved = set()
        for chain, outer in self.outer_of:
            where = tuple([at[i] for i in outer])
            if self.where.get(chain.name) != where:
                self.where[chain.name] = where
                self.tables[chain.name] = self._chain(chain, at)
                moved.add(chain.name)
        if moved:
            self.active = tuple([t.identity for t in self.tables.values()])
            for b in self.boundaries:
                for i, r in enumerate(self.ranks[b]):
                    if any(c.name in moved for c in r.chains):
                        self.rank_tables[b][i] = self._rank(r, at)

    def _work(self, at: dict[int, int]) -> tuple[tuple[Take, ...], int, Folds]:
        """What the MACs of a pass take and how long it lasts; equal wherever tables are, and
        padding is.
        """
        key = ("work", self.active, *(self.where[name] for name in self.sliding))
        if key not in self._works:
            self._works[key] = self.work.of(at)
        takes, macs, folds = self._works[key]
        return takes, macs, self.work.in_place(at, folds)

    def finish(self) -> PeDrain | None:
        """The last drain: in one step more, of no words, every PE lets go its whole tile."""
        for b in self.boundaries:
            held = self.states[b]
            if b.tensor == self.nest.problem.accumulated and held is not None:
                state, bases = held
                none = [np.full((1, 1), NOWHERE)] * len(bases)
                nowhere = np.zeros((1, len(bases)), np.int64)
                works = np.ones((1, self.n_instances), np.uint8)
                last = self._followed(
                    b, none, nowhere, nowhere, works, state, bases, (0,) * len(bases)
                )
                return self._pe_drain(b, last.leaving[0], sum(bases))
        return None

    def _pe_drain(self, b: Boundary, leaving: _Leaving, base: int) -> PeDrain | None:
        """Sums that leave, at this pass's base; None if there are none."""
        if not leaving.drained:
            return None
        words, steps = self._named(b, leaving.words, base), leaving.steps if self.stepwise else None
        return PeDrain(b, leaving.drained, leaving.arrived, words, steps)

    def _named(
        self, b: Boundary, words: list[Pattern], base: int
    ) -> tuple[tuple[Instance, WordSet], ...]:
        """Words by cluster, from this pass's base; those of (k, x) pairs are absolute already."""
        shape = self.nest.problem.shape(b.tensor)
        return tuple(
            (name, x.at(0 if self.pairs[b] else base, shape))
            for name, x in zip(self.cluster_names, words, strict=True)
        )

    def _patterns(
        self, b: Boundary, tally: PassTally, way: int, values: list[Ints], base: int
    ) -> list[Pattern]:
        """By cluster: the words that went one way; (k, x) pairs become the ifmap words they stand
        for.
        """
        shape, sizes, patterns = self.nest.problem.shape(b.tensor), [len(x) for x in values], []
        for row in (tally.flag & (1 << way)) != 0:
            if self.pairs[b]:
                words = np.unique(address(self.nest, outer_sum(values)[row] + base))
                patterns.append(Pattern(None, (words,), len(words)))
                continue
            there = row.reshape(sizes)
            ranks = [
                x[there.any(axis=tuple(i for i in range(len(sizes)) if i != k))]
                for k, x in enumerate(values)
            ]
            count = int(np.count_nonzero(row))
            if prod(len(x) for x in ranks) == count:
                patterns.append(product_pattern(ranks, base, shape, self.fixed[b]))
            else:
                patterns.append(Pattern(None, (outer_sum(values)[row],), count))
        return patterns

    def _box(self, cluster: Instance, at: dict[int, int]) -> dict[str, Span]:
        """The ranges a cluster's MACs work through in a pass, by chain."""
        index = at | dict(zip(self.clusters, cluster, strict=True)) if cluster else at
        spans = {}
        for c, outer in self.outer_of:
            key = (
                c.name,
                *[index[i] for i in outer],
                *[index[i] for i in self.clusters if i in c.loops],
            )
            if key not in self._boxes:
                piece = self.nest.pieces(c, {i: index[i] for i in c.loops if i in index})
                chunk = None if piece.chunk is None else (int(piece.chunk[0]), int(piece.chunk[1]))
                lo, hi = ({p: int(v) for p, v in side.items()} for side in (piece.lo, piece.hi))
                self._boxes[key] = Span(lo, hi, chunk, bool(piece.exists))
            spans[c.name] = self._boxes[key]
        return spans

    # what PEs keep

    def _planned(self, b: Boundary, at: dict[int, int]) -> tuple[_PassPlan, int]:
        """The plan of a boundary for the pass at hand, and its base address.

        Absolute positions matter only where padding is stored, and for (k, x) pairs: then the bases
        themselves are part of what a plan is known by.
        """
        tables = self.rank_tables[b]
        bases = tuple([t.base for t in tables])
        held = self.states[b]
        state, old = held if held is not None else (None, bases)
        shifts = tuple([o - n for o, n in zip(old, bases, strict=True)])
        key = (
            b.child,
            b.tensor,
            tuple([t.identity for t in tables]),
            self.active,
            state.identity if state else -1,
            shifts,
            bases if self.pairs[b] or b.adds_padding else 0,
        )
        plan = self._plans.get(key)
        if plan is None:
            steps, works = self._works_in(b, at)
            instances = [prod(self._shape(c)[1] for c in r.chains) for r in self.ranks[b]]
            of_step = self._rows_of(b, self.own_steps, self.step_of)[steps] * instances
            lists = [t.offsets for t in tables]
            plan = self._followed(b, lists, of_step, self.of_pe[b], works, state, bases, shifts)
            self._plans[key] = plan
        if b != self.direct:
            self.states[b] = (plan.state, bases)
        return plan, sum(bases)

    def _works_in(self, b: Boundary, at: dict[int, int]) -> tuple[Ints, Flags]:
        """Which steps of a pass exist, and [steps that exist, PEs] who takes them: a PE idle
        through a dimension the tensor does not depend on skips the step (rule 3).
        """
        there, works = np.ones(self.n_steps, bool), np.ones((self.n_steps, self.n_instances), bool)
        for c in self.nest.chains:
            exists = self._chain(c, at).exists
            if exists.all():
                continue
            there &= np.asarray(exists.any(axis=1))[self.step_of[c.name]]
            if not c.depends(b.tensor):
                works &= exists[self.step_of[c.name][:, None], self.inst_of[c.name]]
        if b == self.direct:
            works = np.stack([works[:, pes].any(axis=1) for pes in self.alike], axis=1)
        return np.flatnonzero(there), works[there].astype(np.uint8)

    def _followed(
        self,
        b: Boundary,
        lists: list[Ints],
        of_step: Ints,
        of_pe: Ints,
        works: Flags,
        state: _PeState | None,
        bases: tuple[int, ...],
        shifts: tuple[int, ...],
    ) -> _PassPlan:
        """Follow the PEs through the steps of a pass, and tell what moved.

        ``lists`` are [rows, words] by rank, of which a tile has rows ``of_step`` [steps, ranks] +
        ``of_pe`` [PEs or 1, ranks]; ``state`` is what was held before, ``shifts`` by how much its
        bases differ from this pass's.
        """
        sums = b.tensor == self.nest.problem.accumulated and b != self.direct
        base, order, n = sum(bases), self.order[b], works.shape[1]
        rows = [_stacked(x, k, state, shifts) for k, x in enumerate(lists)]
        start = np.cumsum([0, *(len(x) for x in rows[:-1])])  # rows of all ranks in a row
        empty, shape = start + [len(x) - 1 for x in rows], (n, len(rows))
        held = empty if state is None else start + [len(x) for x in lists] + state.of
        held = np.broadcast_to(held, shape).copy()
        of_pe = np.broadcast_to(start + of_pe, shape).copy()
        codes, begin, values = _numbered(rows)
        tiles = WantedTiles(codes, begin, of_step, of_pe, works, held)
        tally = self._tally(b, values, base, len(works) if self.stepwise else 1)
        room = self._room(rows, len(codes), n)
        follow(b.kind == "neighbour", sums, tiles, order, tally, room)
        steps = StepWords(tally.carried[:, 1:], tally.taking[1:].copy())
        early = StepWords(tally.carried[:, :1], tally.taking[:1])
        came, before, later = (self._patterns(b, tally, x, values, base) for x in range(3))
        told = None if not self.firsts else OUT if sums else IN if b == self.direct else None
        first = () if told is None else self._firsts(b, tally, told, outer_sum(values), base)
        moved = tally.words.tolist()
        leaving = (
            _Leaving(moved[OUT_BEFORE], int(early.parents.sum()), before, early),
            _Leaving(moved[OUT], int(steps.parents.sum()), later, steps),
        )
        after = self._state(rows, held - start)
        # what is there at the end: what comes to empty PEs that want what these hold
        want, one = np.zeros((1, len(rows)), np.int64), np.ones((1, n), np.uint8)
        at_end = WantedTiles(codes, begin, want, held, one, 0 * held + empty)
        tally.flag[...] &= 255 - (1 << IN)
        follow(False, True, at_end, order, tally, room)
        there = self._patterns(b, tally, IN, values, base)
        read = int(steps.parents.sum())
        return _PassPlan(moved[IN], read, came, there, leaving, first, after, steps)

    def _room(self, rows: list[Ints], codes: int, n: int) -> StepLists:
        """Room for the words of ``n`` PEs in one step."""
        longest = prod(int((x != NOWHERE).sum(axis=1).max()) for x in rows)
        digit, now = np.zeros((2, len(rows)), np.int64)
        words, end = np.empty(longest * n, np.int64), np.zeros(n, np.int64)
        return StepLists(words, end, np.zeros(codes, np.bool_), digit, now)

    def _tally(self, b: Boundary, values: list[Ints], base: int, n_steps: int) -> PassTally:
        """Nothing has moved yet of the words of a pass, which are the sums of ``values``, less its
        base.
        """
        flags = np.full(prod(len(x) for x in values), REAL | GIVEN, np.uint8)
        if self.pairs[b]:
            flags[~coordinates(self.nest, outer_sum(values) + base, b.child)[1]] = 0
        if b.adds_padding:
            at = outer_sum(values)[flags != 0] + base
            at = address(self.nest, at) if self.pairs[b] else at
            flags[flags != 0] = np.where(not_padding(self.nest, at), REAL | GIVEN, REAL)
        clusters, parents = len(self.cluster_names), int(self.order[b].parent.max(initial=0)) + 1
        return PassTally(
            np.zeros(3, np.int64), np.repeat(flags[None], clusters, axis=0),
            np.zeros(len(flags), np.int64), np.zeros((clusters, len(flags)), np.int64),
            np.zeros((parents, 1 + n_steps), np.int64), np.zeros(1 + n_steps, np.int64),
        )  # fmt: skip

    def _firsts(
        self, b: Boundary, tally: PassTally, way: int, words: Ints, base: int
    ) -> tuple[tuple[Ints, Ints], ...]:
        """By cluster: the words that left, sorted, and after which step each did so first; (k, x)
        pairs as the words they stand for.
        """
        told = []
        for flags, first in zip(tally.flag, tally.first, strict=True):
            left = flags & (1 << way) != 0
            some = address(self.nest, words[left] + base) if self.pairs[b] else words[left]
            told.append(first_of(some, first[left] - (way == OUT)))
        return tuple(told)

    def _state(self, rows: list[Ints], held: Ints) -> _PeState:
        """What PEs hold at the end of a pass: ``held`` [PEs, ranks] are their rows."""
        kept, of = [], np.zeros_like(held)
        for k, lists in enumerate(rows):
            used, of[:, k] = np.unique(held[:, k], return_inverse=True)
            some = lists[used]
            kept.append(some[:, : max(int((some != NOWHERE).sum(axis=1).max()), 1)])
        return _PeState(tuple(kept), of, self._identity(of, *kept))


def _stacked(lists: Ints, rank: int, state: _PeState | None, shifts: tuple[int, ...]) -> Ints:
    """[rows, words] of a rank: rows of a pass, those that PEs held before it, and an empty one."""
    old = np.zeros((0, 1), np.int64)
    if state is not None:
        old = state.rows[rank]
        old = np.where(old == NOWHERE, NOWHERE, old + shifts[rank])
    rows = np.full((len(lists) + len(old) + 1, max(lists.shape[1], old.shape[1])), NOWHERE)
    rows[: len(lists), : lists.shape[1]] = lists
    rows[len(lists) : -1, : old.shape[1]] = old
    return rows


def _numbered(rows: list[Ints]) -> tuple[Ints, Ints, list[Ints]]:
    """Codes of all rows, rank by rank, where each row begins, and the different offsets of each
    rank.  The sums of one code from each rank number the words without gaps.
    """
    codes: list[Ints] = []
    lengths: list[Ints] = []
    values: list[Ints] = []
    radix = 1
    for offsets in reversed(rows):
        real = offsets != NOWHERE
        different = np.unique(offsets[real])
        codes.insert(0, np.searchsorted(different, offsets[real]) * radix)
        lengths.insert(0, real.sum(axis=1))
        values.insert(0, different)
        radix *= len(different)
    return np.concatenate(codes), np.cumsum([0, *np.concatenate(lengths)]), values
