"""The PEs of a pass in lockstep: what enters, stays and leaves, from index lists tabulated over
(step, PE).

``movement`` asks ``PeArray.step`` for every pass.  What a PE takes in a step is its tile now, less
the tile of its own latest step (rule 3), for all steps and PEs of the pass at once:

1. *Tables.*  A PE's tile is a product of lists, one a rank.  A rank's lists depend on its own
   chains only, so they stand once for each of the chain's own steps and instances:
   ``[own steps, own instances, words]``, padded with NOWHERE (``_chain``, ``_rank``).
2. *Changes.*  Which (step, PE) meet which earlier tile.  If every PE takes every step, a change is
   a pair of tiles in a row, and each distinct pair is worked out once with the number of times it
   occurs (``_regular``).  If some PEs skip steps, each has a row of its own (``_ragged``).
3. *Counts.*  Words of a change: real, and not kept in every rank.  Those of one sharing group and
   step that are equal are read once (``_count``), over neighbour links those nobody near held.
4. *What stays* when the pass ends is the state the next pass starts from (``_final``).

Tables and the plans made from them depend on positions only through a base address, so equal passes
share them: a plan is looked up by what the tables are, what was held, and by how much bases
shifted.

Axes on this page:  [steps, PEs, words] for tiles and masks, after spreading over a pass's steps;
[times] one row a distinct change; ``codes`` are words numbered without gaps, for fast counting.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.members import (
    Bools,
    cross,
    distinct,
    encode,
    kept,
    kept_in,
    paste,
    per_group,
    pick,
    shift,
    sorted_set,
    sums,
    values_of,
    weighed,
)
from accelsim.engines.event.multiply import Span
from accelsim.engines.event.ranks import (
    NOWHERE,
    Rank,
    address,
    coordinates,
    grid,
    grouped,
    not_padding,
    ranks_of,
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
from accelsim.engines.event.word_sets import Pattern, WordSet, pattern, product_pattern
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
from accelsim.workload.problem import RANKS

NO_INTS: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True)
class _ChainTable:
    """A chain's pieces, ``[own steps, own instances]``; ``identity`` is equal where the pieces are
    equal but for where they begin.
    """

    piece: Piece
    exists: npt.NDArray[np.bool_]
    identity: int


@dataclass(frozen=True)
class _RankTable:
    """A rank's lists of word offsets.

    ``offsets``   [own steps, own instances, words], sorted, less ``base``, padded with NOWHERE
    ``base``      the least offset
    ``span``      one more than the largest, less ``base``
    ``identity``  equal where offsets are
    """

    offsets: Ints
    base: int
    span: int
    identity: int


@dataclass(frozen=True)
class _PeState:
    """What each PE held when it last took a step.

    ``tiles``     rank by rank [PEs, words], less the bases of the pass they are from
    ``held``      [PEs]: whether it ever took one
    ``identity``  equal where both are
    """

    tiles: tuple[Ints, ...]
    held: npt.NDArray[np.bool_]
    identity: int


@dataclass(frozen=True)
class _Leaving:
    """Accumulated words that leave PEs: ``PeDrain`` before it has a base; ``words`` by cluster."""

    drained: int
    arrived: int
    words: list[Pattern]
    steps: StepWords | None = None
    first: tuple[tuple[Ints, Ints], ...] = ()


@dataclass(frozen=True)
class _PassPlan:
    """Counts and words of one tensor's PE boundary in one pass; words less the base of the pass.

    ``entered``   words the PEs take (or, accumulated, begin)
    ``shared``    words their parents read for that
    ``load``      by cluster: which words entered
    ``resident``  by cluster: which are there at the end
    ``before``    sums that leave before the buffers move on, at the change into the pass
    ``during``    sums that leave between its steps
    ``state``     what the PEs hold at the end
    ``steps``     how what entered spreads over the steps
    """

    entered: int
    shared: int
    load: list[Pattern]
    resident: list[Pattern]
    before: _Leaving
    during: _Leaving
    state: _PeState
    steps: StepWords | None


@dataclass(frozen=True)
class _Counted:
    """What one change moved.

    ``taken``    words that came to PEs
    ``shared``   the same after sharing: words that were read or that arrived
    ``insts``    [words]: the PE each came to
    ``words``    [words]: which they are; each once where there is one cluster
    ``parents``  [times, parent instances], if asked for
    ``child``    [times]: the most of one PE
    ``first``    by cluster: words and the place of the first step they came in
    """

    taken: int
    shared: int
    insts: Ints
    words: Ints
    parents: Ints
    child: Ints
    first: tuple[tuple[Ints, Ints], ...]


@dataclass(frozen=True)
class _Change:
    """Tiles now and before, of several steps at once.

    ``now``, ``before``  rank by rank [rows, instances of the rank or PEs, words]
    ``stay``, ``lost``   likewise: which words of ``now`` are in ``before``, and the other way
    ``spread``           gives each PE its row of a rank's table; None where rows are (step, PE)
    ``inst``             which PE: [1, PEs] or [rows, 1]
    ``step``             which step: [rows, 1]
    ``times``            how often each step occurs, by its number
    ``first``            whether it is the change from what was held when the pass began
    ``occurs``           if asked for: where among the existing steps a step stands, its number
    """

    now: list[Ints]
    before: list[Ints]
    stay: list[Bools]
    lost: list[Bools]
    spread: list[Ints] | None
    inst: Ints
    step: Ints
    times: Ints
    first: bool
    occurs: tuple[Ints, Ints] = (NO_INTS, NO_INTS)

    def reversed(self) -> _Change:
        """The same change seen from the words that go: what left is what the tile before has and
        the tile now has not.
        """
        return replace(self, now=self.before, before=self.now, stay=self.lost, lost=self.stay)

    def wide(self, k: int, table: Any) -> Any:
        """A table of rank k spread over the PEs: [rows, PEs, words]."""
        return table if self.spread is None else table[:, self.spread[k]]

    @property
    def replaces(self) -> bool:
        """Whether no word is kept."""
        return not all(k.any() for k in self.stay)


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
    ``cluster_of``                [PEs]: the number of its cluster; ``cluster_names`` name them
    ``boundaries``                those whose child is the PE
    ``group_of``, ``parent_of``   by boundary: [PEs], who shares words, and whose parent it is
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
        self.cluster_of = self._flat(clusters, inst_at, self.n_instances)
        self.cluster_names: list[Instance] = [
            tuple(x) for x in product(*(range(loops[i].trips) for i in clusters))
        ]
        self.boundaries = [b for b in nest.boundaries if b.child == self.pe]
        self.group_of = {
            b: self._flat(grouped(nest, b, spatial), inst_at, self.n_instances)
            for b in self.boundaries
        }
        parents = {b: [i for i in spatial if loops[i].level < b.parent] for b in self.boundaries}
        self.parent_of = {
            b: self._flat(which, inst_at, self.n_instances) for b, which in parents.items()
        }
        self.stepwise = stepwise
        self.firsts = stepwise and bool(exposed_operands(nest))
        self.ranks = {b: ranks_of(nest, b.tensor, self.pe) for b in self.boundaries}
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
        self.pairs = {b: nest.projection(b.tensor, self.pe).pairs for b in self.boundaries}
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
        table = self._chain_tables.get(key)
        if table is None:
            loops = self.nest.loops
            index: dict[int, Any] = {i: at[i] for i in chain.loops if i in at}
            for own, shape in (
                (self.own_steps[chain.name], (-1, 1)),
                (self.own_space[chain.name], (1, -1)),
            ):
                grids = grid(loops[i].trips for i in own)
                index |= {i: g.reshape(shape) for i, g in zip(own, grids, strict=True)}
            piece = self.nest.pieces(chain, index)
            shape2 = (
                prod(loops[i].trips for i in self.own_steps[chain.name]),
                prod(loops[i].trips for i in self.own_space[chain.name]),
            )
            spread = (
                {p: np.broadcast_to(piece.lo[p], shape2) for p in chain.parts},
                {p: np.broadcast_to(piece.hi[p], shape2) for p in chain.parts},
            )
            chunk = (
                None
                if piece.chunk is None
                else tuple(np.broadcast_to(x, shape2) for x in piece.chunk)
            )
            exists = np.broadcast_to(piece.exists, shape2)
            piece = Piece(spread[0], spread[1], chunk, exists)  # type: ignore[arg-type]
            least = [int(v.min()) for v in piece.lo.values()]
            numbers = [
                v - b
                for v, b in zip((*piece.lo.values(), *piece.hi.values()), least * 2, strict=True)
            ]
            table = _ChainTable(piece, exists, self._identity(chain.name, *numbers, *(chunk or ())))
            self._chain_tables[key] = table
        return table

    def _rank(self, rank: Rank, at: dict[int, int]) -> _RankTable:
        """The lists of a rank; of two chains that slide over all pairs of their own steps and
        instances.
        """
        key = (rank, tuple(at[i] for c in rank.chains for i in c.loops if i in at))
        table = self._rank_tables.get(key)
        if table is None:
            pieces = tuple(self._chain(c, at).piece for c in rank.chains)
            if len(pieces) == 2:
                pieces = (
                    spread_piece(pieces[0], (slice(None), None, slice(None), None)),
                    spread_piece(pieces[1], (None, slice(None), None, slice(None))),
                )
            offsets = rank.offsets(self.nest, pieces)
            if len(pieces) == 2:
                offsets = offsets.reshape(
                    offsets.shape[0] * offsets.shape[1], offsets.shape[2] * offsets.shape[3], -1
                )
            real = offsets != NOWHERE
            base = int(offsets[real].min()) if real.any() else 0
            offsets = np.where(real, offsets - base, NOWHERE)
            span = int(offsets.max()) + 1 if real.any() else 0
            table = _RankTable(offsets, base, span, self._identity(rank.rank, offsets))
            self._rank_tables[key] = table
        return table

    def _rank_step(self, rank: Rank) -> Ints:
        """[steps]: which row of a rank's table each step has."""
        flat = self.step_of[rank.chains[0].name]
        for c in rank.chains[1:]:
            flat = (
                flat * prod(self.nest.loops[i].trips for i in self.own_steps[c.name])
                + self.step_of[c.name]
            )
        return flat

    def _rank_inst(self, rank: Rank) -> Ints:
        """[PEs]: which column of a rank's table each PE has."""
        flat = self.inst_of[rank.chains[0].name]
        for c in rank.chains[1:]:
            flat = (
                flat * prod(self.nest.loops[i].trips for i in self.own_space[c.name])
                + self.inst_of[c.name]
            )
        return flat

    # one pass

    def step(self, at: dict[int, int]) -> tuple[PeDrain | None, Pass]:
        """What leaves the PEs before the buffers move on, and the pass itself."""
        self._move_to(at)
        before = during = None
        loads = []
        opened = 0
        stay: tuple[tuple[Instance, WordSet], ...] = ()
        for b in self.boundaries:
            plan, base = self._planned(b, at)
            if b.tensor == self.nest.problem.accumulated:
                opened += plan.entered
                before, during = (self._pe_drain(b, x, base) for x in (plan.before, plan.during))
                stay = self._named(b, plan.resident, base)
            else:
                words, resident = (self._named(b, x, base) for x in (plan.load, plan.resident))
                loads.append(PeLoad(b, plan.entered, plan.shared, words, resident, plan.steps))
        boxes = tuple((name, self._box(name, at)) for name in self.cluster_names)
        takes, macs, folds = self._work(at)
        return before, Pass(tuple(loads), opened, takes, during, stay, macs, folds, boxes, at)

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
        """The last drain: every PE's whole tile."""
        for b in self.boundaries:
            if b.tensor == self.nest.problem.accumulated and (held := self.states[b]) is not None:
                state, bases = held
                who = np.flatnonzero(state.held)
                who, left = self._members(b, list(state.tiles), who, sum(bases))
                arrived = distinct(self.group_of[b][who], left) if b.merged else len(left)
                steps = None
                if self.stepwise:
                    owner, child = self.parent_of[b], np.bincount(who, minlength=self.n_instances)
                    words = child
                    if b.merged:
                        words = per_group(
                            self.group_of[b][who], left, int(self.group_of[b].max(initial=0)) + 1
                        )
                        owner = np.zeros(len(words), np.int64)
                        owner[self.group_of[b]] = self.parent_of[b]
                    steps = StepWords(
                        self._parents(b, owner, words[None, :]).T,
                        child.max(initial=0, keepdims=True),
                    )
                return self._pe_drain(
                    b,
                    _Leaving(len(left), arrived, self._by_cluster(b, who, left, sum(bases)), steps),
                    sum(bases),
                )
        return None

    def _pe_drain(self, b: Boundary, leaving: _Leaving, base: int) -> PeDrain | None:
        """Sums that leave, at this pass's base; None if there are none."""
        if not leaving.drained:
            return None
        first = tuple(
            [(words if self.pairs[b] else words + base, place) for words, place in leaving.first]
        )
        return PeDrain(
            b,
            leaving.drained,
            leaving.arrived,
            self._named(b, leaving.words, base),
            leaving.steps,
            first,
        )

    def _named(
        self, b: Boundary, words: list[Pattern], base: int
    ) -> tuple[tuple[Instance, WordSet], ...]:
        """Words by cluster, from this pass's base; those of (k, x) pairs are absolute already."""
        shape = self.nest.problem.shape(b.tensor)
        return tuple(
            (name, x.at(0 if self.pairs[b] else base, shape))
            for name, x in zip(self.cluster_names, words, strict=True)
        )

    def _by_cluster(self, b: Boundary, insts: Ints, words: Ints, base: int) -> list[Pattern]:
        """Distinct words by cluster; (k, x) pairs become the ifmap words they stand for."""
        shape = self.nest.problem.shape(b.tensor)
        if self.pairs[b]:
            words, base = address(self.nest, words + base), 0
        if len(self.cluster_names) == 1:
            return [pattern(sorted_set(words), base, shape, self.fixed[b])]
        return [
            pattern(sorted_set(words[self.cluster_of[insts] == k]), base, shape, self.fixed[b])
            for k in range(len(self.cluster_names))
        ]

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
            plan = self._plans[key] = self._make_plan(b, at, tables, state, shifts, sum(bases))
        self.states[b] = (plan.state, bases)
        return plan, sum(bases)

    def _make_plan(
        self,
        b: Boundary,
        at: dict[int, int],
        tables: list[_RankTable],
        state: _PeState | None,
        shifts: tuple[int, ...],
        base: int,
    ) -> _PassPlan:
        """Work out the changes of a pass and what they move; ``state`` is what was held before,
        ``shifts`` by how much its bases differ from this pass's.
        """
        step_ok, active = self._active(b, at)
        steps_of = [self._rank_step(r) for r in self.ranks[b]]
        insts_of = [self._rank_inst(r) for r in self.ranks[b]]
        tile_id = np.zeros(self.n_steps, np.int64)
        for t, of in zip(tables, steps_of, strict=True):
            tile_id = tile_id * len(t.offsets) + of
        before = (
            None
            if state is None
            else [shift(x, by) for x, by in zip(state.tiles, shifts, strict=True)]
        )
        if active is None:
            last = np.full(self.n_instances, np.flatnonzero(step_ok)[-1], np.int64)
            changes = self._regular(
                tables, np.flatnonzero(step_ok), tile_id, steps_of, insts_of, before
            )
        else:
            latest = np.maximum.accumulate(
                np.where(active, np.arange(self.n_steps, dtype=np.int32)[:, None], np.int32(-1)),
                axis=0,
            )
            last = latest[-1]
            changes = self._ragged(
                b, tables, active, latest, tile_id, steps_of, insts_of, before, step_ok
            )
        # where nothing was kept from before and every combination of rank positions occurs, the
        # words are a product
        whole = (
            active is None
            and self._plain(b)
            and changes[0].replaces
            and self._covers(tables, tile_id[step_ok])
        )
        counted = [self._count(b, c, base, listed=not whole) for c in changes]
        taken, shared = sum(c.taken for c in counted), sum(c.shared for c in counted)
        if whole:
            load = [self._product(b, [t.offsets for t in tables], base)]
        else:
            load = self._by_cluster(
                b,
                np.concatenate([c.insts for c in counted]),
                np.concatenate([c.words for c in counted]),
                base,
            )
        n_steps = int(np.count_nonzero(step_ok))
        entering = (
            _spread([*zip(changes, counted, strict=True)], n_steps) if self.stepwise else None
        )
        leaving = [_Leaving(0, 0, []), _Leaving(0, 0, [])]
        if b.tensor == self.nest.problem.accumulated:
            outs = [self._count(b, c.reversed(), base, listed=True) for c in changes]
            for k in (0, 1):
                mine = [(c, o) for o, c in zip(outs, changes, strict=True) if c.first == (k == 0)]
                if mine:
                    insts, words = (
                        np.concatenate([o.insts for _, o in mine]),
                        np.concatenate([o.words for _, o in mine]),
                    )
                    steps = _spread(mine, n_steps if k else 1, early=k) if self.stepwise else None
                    amounts = sum(o.taken for _, o in mine), sum(o.shared for _, o in mine)
                    leaving[k] = _Leaving(
                        *amounts,
                        self._by_cluster(b, insts, words, base),
                        steps,
                        mine[0][1].first if k else (),
                    )
        after, resident = self._final(
            b, tables, state, before, last, (steps_of, insts_of), base, regular=active is None
        )
        return _PassPlan(taken, shared, load, resident, leaving[0], leaving[1], after, entering)

    def _covers(self, tables: list[_RankTable], tile_ids: Ints) -> bool:
        """Whether the steps run through every combination of the ranks' own positions."""
        return len(np.unique(tile_ids)) == prod(
            int((t.offsets != NOWHERE).any(axis=(1, 2)).sum()) for t in tables
        )

    def _regular(
        self,
        tables: list[_RankTable],
        steps: Ints,
        tile_id: Ints,
        steps_of: list[Ints],
        insts_of: list[Ints],
        before: list[Ints] | None,
    ) -> list[_Change]:
        """Every PE takes every step: what changes depends on the tiles of two steps in a row, so
        each pair is worked out once.  The first change is from what was held ``before``.
        """
        every = np.arange(self.n_instances)[None, :]
        start = [
            t.offsets[of[steps[0]]][inst]
            for t, of, inst in zip(tables, steps_of, insts_of, strict=True)
        ]
        zero = np.zeros(1, np.int64)
        changes = [
            _change(
                start,
                before,
                every[0],
                zero.repeat(self.n_instances),
                np.ones(1, np.int64),
                (zero, zero),
                first=True,
            )
        ]
        now, then = tile_id[steps[1:]], tile_id[steps[:-1]]
        moves = np.flatnonzero(now != then)
        if len(moves):
            pair = now[moves] * (int(tile_id.max()) + 1) + then[moves]
            if self.stepwise:
                _, once, number, times = np.unique(
                    pair, return_index=True, return_inverse=True, return_counts=True
                )
            else:
                (_, once, times), number = (
                    np.unique(pair, return_index=True, return_counts=True),
                    NO_INTS,
                )
            at = moves[once]
            cur = [t.offsets[of[steps[at + 1]]] for t, of in zip(tables, steps_of, strict=True)]
            was = [t.offsets[of[steps[at]]] for t, of in zip(tables, steps_of, strict=True)]
            stay, lost = (
                [kept_in(x, y) for x, y in zip(a, z, strict=True)]
                for a, z in ((cur, was), (was, cur))
            )
            occurs = (moves + 1, number)
            changes.append(
                _Change(
                    cur,
                    was,
                    stay,
                    lost,
                    insts_of,
                    every,
                    np.arange(len(at))[:, None],
                    times,
                    False,
                    occurs,
                )
            )
        return changes

    def _ragged(
        self,
        b: Boundary,
        tables: list[_RankTable],
        active: Bools,
        latest: npt.NDArray[np.int32],
        tile_id: Ints,
        steps_of: list[Ints],
        insts_of: list[Ints],
        before: list[Ints] | None,
        step_ok: Bools,
    ) -> list[_Change]:
        """Some PEs skip steps: each compares with the last step it took itself, or with what it
        had.
        """
        earlier = np.vstack([np.full((1, self.n_instances), -1, np.int32), latest[:-1]])
        moves = (earlier < 0) | (tile_id[earlier] != tile_id[:, None])
        rows, insts = np.nonzero(active if b.kind == "neighbour" else active & moves)
        origin = earlier[rows, insts]
        changes = []
        there = np.flatnonzero(step_ok)
        start, occurs = int(there[0]), (np.arange(len(there)), there)
        for chosen, opening in (
            ((rows == start) & (origin < 0), True),
            (~((rows == start) & (origin < 0)), False),
        ):
            r, i, o = rows[chosen], insts[chosen], origin[chosen]
            if not len(r):
                continue
            cur, old = [], []
            for k, (t, of, inst) in enumerate(zip(tables, steps_of, insts_of, strict=True)):
                cur.append(t.offsets[of[r], inst[i]])
                back = t.offsets[of[o], inst[i]]
                old.append(
                    paste(back, o < 0, None if before is None else before[k][i[o < 0]])
                    if (o < 0).any()
                    else back
                )
            changes.append(
                _change(cur, old, i, r, np.ones(self.n_steps, np.int64), occurs, first=opening)
            )
        return changes

    def _count(self, b: Boundary, change: _Change, base: int, *, listed: bool) -> _Counted:
        """Count what a change moves, before and after sharing; ``listed``: say which words, too.

        ``codes`` [moved words] number the words, ``values`` [words] are what they stand for, and
        ``there`` [rows, PEs, words] says which of the tiles' words moved, in the same order.
        """
        shape = (len(change.step), change.inst.shape[1])
        there = self._present(change)
        step, inst = np.broadcast_to(change.step, shape), np.broadcast_to(change.inst, shape)
        if self.pairs[b]:
            words = sums([change.wide(k, x) for k, x in enumerate(change.now)])
            there = there & coordinates(self.nest, np.where(there, words + base, 0), self.pe)[1]
            codes, values = np.unique(words[there], return_inverse=True)[::-1]
        elif listed or b.merged or b.adds_padding:
            tables, values = encode(change.now)
            codes = sums([change.wide(k, x) for k, x in enumerate(tables)])[there]
        else:
            codes, values = inst[:0, 0], inst[:0, 0]
        every = codes, there
        times = change.times[change.step[:, 0]]
        taken = shared = weighed(there, times)
        groups = int(self.group_of[b].max(initial=0)) + 1
        by_group: Ints | None = None
        if b.adds_padding and taken:
            read = self._given(b, values, base)[codes]
            codes = codes[read]
            there = there.copy()
            there[there] = read
            shared = weighed(there, times)
        if b.kind == "neighbour":
            by_group = self._not_nearby(b, change, base)
            shared = int(by_group @ np.repeat(change.times, groups))
        elif b.merged and taken:
            group = np.broadcast_to(
                (step * groups + self.group_of[b][inst])[:, :, None], there.shape
            )[there]
            if self.stepwise:
                by_group = per_group(group, codes, len(change.times) * groups)
                shared = int(by_group @ np.repeat(change.times, groups))
            else:
                shared = distinct(group, codes, np.repeat(change.times, groups))
        parents = child = NO_INTS
        if self.stepwise:
            parents, child = (
                self._by_parent(b, by_group, change, there),
                self._by_child(change, every[1]),
            )
        codes, there = every
        if not listed:
            return _Counted(taken, shared, inst[:0, 0], inst[:0, 0], parents, child, ())
        first: tuple[tuple[Ints, Ints], ...] = ()
        if self.firsts and b.tensor == self.nest.problem.accumulated and not change.first:
            first = self._first_places(
                b,
                change,
                pick(inst, there.shape, there),
                pick(step, there.shape, there),
                codes,
                values,
                base,
            )
        if len(self.cluster_names) == 1:
            seen = np.zeros(len(values), bool)
            seen[codes] = True
            return _Counted(taken, shared, inst[:0, 0], values[seen], parents, child, first)
        return _Counted(
            taken, shared, pick(inst, there.shape, there), values[codes], parents, child, first
        )

    def _by_parent(self, b: Boundary, by_group: Ints | None, change: _Change, there: Bools) -> Ints:
        """Words by step and parent instance, from those by sharing group where words are shared,
        else from those by PE.
        """
        if by_group is None:
            return self._parents(b, self.parent_of[b], _by_pe(change, there, self.n_instances))
        owner = np.zeros(by_group.size // len(change.times), np.int64)
        owner[self.group_of[b]] = self.parent_of[b]
        return self._parents(b, owner, by_group.reshape(len(change.times), -1))

    def _parents(self, b: Boundary, owner: Ints, words: Ints) -> Ints:
        """Words by step and parent instance, of those by step and something that parent owns."""
        total = np.zeros((len(words), int(self.parent_of[b].max(initial=0)) + 1), np.int64)
        if total.shape[1] == 1:
            return np.asarray(words.sum(axis=1, keepdims=True))
        np.add.at(total.T, owner, words.T)
        return total

    def _by_child(self, change: _Change, there: Bools) -> Ints:
        """By step: 1 if any PE takes or lets go a word."""
        some = np.zeros(len(change.times), np.int64)
        some[change.step[there.any(axis=(1, 2)), 0]] = 1
        return some

    def _first_places(
        self,
        b: Boundary,
        change: _Change,
        insts: Ints,
        steps: Ints,
        codes: Ints,
        values: Ints,
        base: int,
    ) -> tuple[tuple[Ints, Ints], ...]:
        """By cluster: the words that moved, sorted, and after which step each did so first; (k, x)
        pairs as the words they stand for.
        """
        never = self.n_steps
        first = np.full(len(change.times), never)
        np.minimum.at(first, change.occurs[1], change.occurs[0] - 1)
        best = np.full((len(self.cluster_names), len(values)), never)
        np.minimum.at(best, (self.cluster_of[insts], codes), first[steps])
        places_of = []
        for row in best:
            seen = row < never
            words = address(self.nest, values[seen] + base) if self.pairs[b] else values[seen]
            order = np.lexsort((row[seen], words))
            words, places = words[order], row[seen][order]
            once = np.append(True, words[1:] != words[:-1])[: len(words)]
            places_of.append((words[once], places[once]))
        return tuple(places_of)

    def _given(self, b: Boundary, words: Ints, base: int) -> Bools:
        """Which words the parent gives: all but padding zeros that only the child stores."""
        return not_padding(
            self.nest, address(self.nest, words + base) if self.pairs[b] else words + base
        )

    def _not_nearby(self, b: Boundary, change: _Change, base: int) -> Ints:
        """By step and group: words the PEs of a group hold that none of them held one step
        before.
        """
        groups = int(self.group_of[b].max(initial=0)) + 1
        group = change.step * groups + self.group_of[b][change.inst]
        keys = []
        for tiles in (change.now, change.before):
            lists = [change.wide(k, x) for k, x in enumerate(tiles)]
            words, real = sums(lists), cross([x != NOWHERE for x in lists])
            if self.pairs[b]:
                real = real & coordinates(self.nest, np.where(real, words + base, 0), self.pe)[1]
            keys.append(
                np.stack([np.broadcast_to(group[:, :, None], words.shape)[real], words[real]])
            )
        if b.adds_padding:
            keys[0] = keys[0][:, self._given(b, keys[0][1], base)]
        new = set(map(tuple, keys[0].T.tolist())) - set(map(tuple, keys[1].T.tolist()))
        return np.bincount(
            np.array([g for g, _ in new], np.int64), minlength=len(change.times) * groups
        )

    def _active(
        self, b: Boundary, at: dict[int, int]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_] | None]:
        """Which steps exist, and which (step, instance) are not idle through a dimension the tensor
        does not depend on; None if all.
        """
        step_ok = np.ones(self.n_steps, bool)
        active: npt.NDArray[np.bool_] | None = None
        for c in self.nest.chains:
            exists = self._chain(c, at).exists
            if exists.all():
                continue
            step_ok &= np.asarray(exists.any(axis=1))[self.step_of[c.name]]
            if not c.depends(b.tensor):
                mine = exists[self.step_of[c.name][:, None], self.inst_of[c.name]]
                active = mine if active is None else np.asarray(active & mine)
        if active is None or bool(np.asarray(active)[step_ok].all()):
            return step_ok, None
        return step_ok, np.asarray(active & step_ok[:, None])

    def _final(
        self,
        b: Boundary,
        tables: list[_RankTable],
        state: _PeState | None,
        before: list[Ints] | None,
        last: npt.NDArray[Any],
        of: tuple[list[Ints], list[Ints]],
        base: int,
        *,
        regular: bool,
    ) -> tuple[_PeState, list[Pattern]]:
        """What every PE holds after its last step of the pass; a PE idle throughout keeps what it
        had.
        """
        idle = last < 0
        tiles = []
        for k, t in enumerate(tables):
            tile = t.offsets[of[0][k][last], of[1][k]]
            if idle.any():
                tile = paste(tile, idle, None if before is None else before[k][idle])
            tiles.append(tile)
        held = ~idle if state is None else ~idle | state.held
        after = _PeState(tuple(tiles), held, self._identity(held, *tiles))
        if regular and self._plain(b):
            return after, [self._product(b, tiles, base)]
        return after, self._by_cluster(
            b, *self._members(b, tiles, np.arange(self.n_instances), base), base
        )

    def _plain(self, b: Boundary) -> bool:
        """Whether all PEs' words together are a product of their ranks."""
        return len(self.cluster_names) == 1 and not self.pairs[b]

    def _product(self, b: Boundary, ranks: Sequence[Ints], base: int) -> Pattern:
        factors = [values_of(x) for x in ranks]
        return product_pattern(factors, base, self.nest.problem.shape(b.tensor), self.fixed[b])

    def _present(self, change: _Change) -> Bools:
        """Which words of the tiles are real and not kept in every rank."""
        real = cross([change.wide(k, x != NOWHERE) for k, x in enumerate(change.now)])
        if change.replaces:
            return real
        return real & ~cross([change.wide(k, x) for k, x in enumerate(change.stay)])

    def _members(self, b: Boundary, tiles: list[Ints], who: Ints, base: int) -> tuple[Ints, Ints]:
        """(PE, word) of every real word of some PEs' tiles."""
        words = sums([t[None, who] for t in tiles])
        real = cross([(t != NOWHERE)[None, who] for t in tiles])
        if self.pairs[b]:
            real = real & coordinates(self.nest, np.where(real, words + base, 0), self.pe)[1]
        return pick(who[None, :], words.shape, real), words[real]


def _by_pe(change: _Change, there: Bools, n: int) -> Ints:
    """Words that moved, [times, PEs]."""
    counted = np.zeros((len(change.times), n), np.int64)
    counted[
        np.broadcast_to(change.step, there.shape[:2]), np.broadcast_to(change.inst, there.shape[:2])
    ] = there.sum(axis=2)
    return counted


def _spread(moved: list[tuple[_Change, _Counted]], n_steps: int, *, early: int = 0) -> StepWords:
    """What changes moved, step by step; what leaves counts for the step before (``early``)."""
    parents, child = (
        np.zeros((moved[0][1].parents.shape[1], n_steps), np.int64),
        np.zeros(n_steps, np.int64),
    )
    for change, counted in moved:
        place, number = change.occurs
        some = place < n_steps + early  # what left when the pass began is told in one step
        parents[:, place[some] - early] += counted.parents[number[some]].T
        child[place[some] - early] = np.maximum(
            child[place[some] - early], counted.child[number[some]]
        )
    return StepWords(parents, child)


def _change(
    now: list[Ints],
    before: list[Ints] | None,
    inst: Ints,
    step: Ints,
    times: Ints,
    occurs: tuple[Ints, Ints],
    *,
    first: bool,
) -> _Change:
    """A change given one row a (step, PE)."""
    old = before if before is not None else [np.full((len(inst), 1), NOWHERE)] * len(now)
    stay = [kept(x, y)[:, None] for x, y in zip(now, old, strict=True)]
    lost = [kept(y, x)[:, None] for x, y in zip(now, old, strict=True)]
    tables = [x[:, None] for x in now], [x[:, None] for x in old], stay, lost, None
    return _Change(*tables, inst[:, None], step[:, None], times, first, occurs)


def spread_piece(piece: Piece, where: tuple[Any, ...]) -> Piece:
    return Piece(
        {p: v[where] for p, v in piece.lo.items()},
        {p: v[where] for p, v in piece.hi.items()},
        None,
        piece.exists[where],
    )
