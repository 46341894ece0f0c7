"""What the instances of a level take, keep and let go: the PEs through the steps of a pass, and
those of the levels outside, which take one step a pass.  ``movement`` asks for every pass.

1. *Tables.*  A tile is a product of lists, one a rank.  A rank's lists depend on its own
   chains only, so they stand once for each of the chain's own steps and instances:
   ``[own steps x own instances]`` (``_ChainTable``, ``_RankTable``).
2. *Steps.*  ``lockstep.follow`` goes through all steps and PEs, word by word (``_followed``).
3. *Plans.*  What came of it is made index sets, and kept: tables depend on positions only through a
   base address, so the controller follows equal passes once.  A plan is looked up by what the
   tables are, what was held, and by how much bases shifted (``plan``).
4. *What stays* when the pass ends is the state that the next pass starts from.

``Instances`` knows where its level stands, ``PeArray`` also the pass; a ``TileWords`` one tensor
there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from operator import sub
from typing import Any, NamedTuple

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
    pieces_at,
    ranks_of,
    reshaped,
)
from accelsim.engines.event.takes import MacWork
from accelsim.engines.event.transfers import (
    Drain,
    Fill,
    Instance,
    Ints,
    Open,
    Pass,
    PeDrain,
    PeLoad,
    StepWords,
)
from accelsim.engines.event.word_sets import NONE, BlockWords, WordSet, less, runs_of
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece

Flags = npt.NDArray[np.uint8]
Named = tuple[tuple[Instance, WordSet], ...]  # words by cluster


@dataclass(frozen=True)
class _ChainTable:
    """A chain's pieces, ``[own steps x own instances]``, and which there are, ``[own steps, own
    instances]``; ``identity`` is equal where the pieces are equal but for where they begin,
    ``present`` where the same there are; ``spans`` [own clusters] its ranges in a whole pass.
    """

    piece: Piece
    exists: npt.NDArray[np.bool_]
    identity: int
    present: int
    spans: list[Span]


class _OffsetRows(NamedTuple):
    """Lists of word offsets, sorted: ``flat`` [offsets] one list after another, ``sizes`` [rows] of
    each.
    """

    flat: Ints
    sizes: Ints


@dataclass(frozen=True)
class _RankTable:
    """A rank's lists of word offsets.

    ``rows``      [own steps x own instances], less ``base``
    ``base``      the least offset
    ``identity``  equal where rows are
    """

    rows: _OffsetRows
    base: int
    identity: int


@dataclass(frozen=True)
class _TileTables:
    """The lists of all ranks of a tile: by rank its ``rows`` and ``bases``, and the ``base`` of
    words; ``identity`` is equal where rows are.
    """

    rows: list[_OffsetRows]
    bases: tuple[int, ...]
    base: int
    identity: int


@dataclass(frozen=True)
class _PeState:
    """What each PE held when it last took a step.

    ``rows``      by rank, less the bases of the pass they are from
    ``of``        [PEs, ranks]: which row each PE has
    ``identity``  equal where both are
    """

    rows: tuple[_OffsetRows, ...]
    of: Ints
    identity: int


@dataclass(frozen=True)
class _OneWay:
    """Words that come to PEs in a pass, or leave them.

    ``count``  by all PEs;  ``carried`` that parents give or get;  ``words`` by cluster, each once
    ``steps``  how those of parents spread over the steps
    """

    count: int
    carried: int
    words: list[WordSet]
    steps: StepWords


@dataclass(frozen=True)
class _PassPlan:
    """What becomes of one tensor's words in one pass; in another that is equal but for its base the
    same, as far from there.

    ``base``      the address that words are told from
    ``ways``      IN, and of sums OUT_BEFORE the buffers move on and OUT between its steps
    ``resident``  by cluster: words that are there at the end
    ``gone``      by cluster: words that came or were there before, and at the end are not
    ``first``     by cluster: of sums, words less the base, sorted, and the step each first leaves
                  after
    ``state``     what the PEs hold at the end
    """

    base: int
    ways: tuple[_OneWay, _OneWay, _OneWay]
    resident: list[WordSet]
    gone: list[WordSet]
    first: list[tuple[Ints, Ints]]
    state: _PeState


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
def _known(thread: int, key: Any) -> tuple[dict[Any, int], dict[Any, Any]]:
    """Numbers of things, and what was made of a nest, kept for the next layer that is equal.  They
    are filled as an array runs, so each thread has its own.
    """
    return {}, {}


class Instances:
    """The instances of a level, side by side: of ``level`` itself, or PEs in lockstep.

    Loops, as positions in ``nest.loops``: ``outer`` outside a pass, ``steps`` the temporal ones of
    a pass, ``spatial`` over instances; those not outside the level are left out.

    ``own_steps``, ``own_space``  by chain: its loops among ``steps`` and among ``spatial``
    ``step_of``, ``inst_of``      by chain: [steps] and [instances], the number of its own step,
                                  instance
    ``place``                     by loop of ``spatial``: where it stands, [instances]
    ``names``                     of who is told words: instances, or clusters of PEs, inside the
                                  loops ``clusters``;  ``told`` [instances] which is each one's
    ``stepwise``                  whether words are told step by step
    ``firsts``                    whether also the first step each sum leaves after
    ``where``, ``tables``         of the pass at hand: by chain its position and the table there;
                                  ``active`` is equal where all are, ``present`` where all pieces
                                  are that there are
    """

    def __init__(
        self,
        nest: Nest,
        level: int,
        outer: list[int],
        spatial: list[int],
        *,
        steps: tuple[int, ...] = (),
        names: list[int] | None = None,
        stepwise: bool = False,
    ) -> None:
        self.nest, self.level, self.stepwise = nest, level, stepwise
        self.firsts = stepwise and bool(exposed_operands(nest))
        outer, self.spatial = (
            [i for i in loops if nest.loops[i].level < level] for loops in (outer, spatial)
        )
        self.own_steps = {c.name: [i for i in steps if i in c.loops] for c in nest.chains}
        self.own_space = {c.name: [i for i in self.spatial if i in c.loops] for c in nest.chains}
        step_at, self.place = (
            dict(zip(x, grid(nest.loops[i].trips for i in x), strict=True))
            for x in (steps, self.spatial)
        )
        self.step_of = {name: self.number(step_at, own) for name, own in self.own_steps.items()}
        self.inst_of = {name: self.number(self.place, own) for name, own in self.own_space.items()}
        self.clusters = self.spatial if names is None else names
        self.names = self.named(self.clusters)
        self.told = self.number(self.place, self.clusters)
        self.outer_of = [(c, [i for i in outer if i in c.loops]) for c in nest.chains]
        self.moving: list[tuple[Chain, list[int]]] = []
        self.where: dict[str, tuple[int, ...]] = {}
        self.tables: dict[str, _ChainTable] = {}
        self.active = self.present = 0
        key = (nest.problem, nest.window, nest.arch.padding, nest.loops, nest.keep, nest.boundaries)
        more = tuple(nest.mapping.fused.items()), stepwise, self.firsts
        self._ids, self._made = _known(threading.get_ident(), (*key, *more))

    def named(self, loops: list[int]) -> list[Instance]:
        """The instances inside some spatial loops, in the order of their numbers."""
        return list(product(*(range(self.nest.loops[i].trips) for i in loops)))

    def number(self, at: dict[int, Ints], own: list[int]) -> Ints:
        """A mixed-radix number of where some loops of ``at`` stand, in the shape of its arrays."""
        flat = np.zeros(np.shape(next(iter(at.values()), [0])), np.int64)
        for i in own:
            flat = flat * self.nest.loops[i].trips + at[i]
        return flat

    def identity(self, *arrays: npt.NDArray[Any]) -> int:
        """A small number that is equal for equal arrays."""
        return self.number_of(*[x.tobytes() + str(x.shape).encode() for x in arrays])

    def number_of(self, *things: Any) -> int:
        """A small number that is equal for equal things."""
        return self._ids.setdefault(things, len(self._ids))

    def once(self, key: tuple[Any, ...], make: Callable[..., Any], *of: Any) -> Any:
        """What is made ``of`` something, remembered."""
        made = self._made.get((self.level, key))
        if made is None:
            made = self._made[self.level, key] = make(*of)
        return made

    def move_to(self, at: dict[int, int]) -> bool:
        """Look up the tables of the chains whose outer loops moved; whether any did."""
        moved = False
        for chain, outer in self.moving or self.outer_of:
            where = tuple([at[i] for i in outer])
            if self.where.get(chain.name) != where:
                self.where[chain.name] = where
                key, here = ("chain", chain.name, where), dict(zip(outer, where, strict=True))
                self.tables[chain.name] = self.once(key, self._table, chain, here)
                moved = True
        if moved:
            self.active = self.number_of(*[t.identity for t in self.tables.values()])
            self.present = self.number_of(*[t.present for t in self.tables.values()])
            self.moving = [(chain, outer) for chain, outer in self.outer_of if outer]
        return moved

    def _table(self, chain: Chain, at: dict[int, int]) -> _ChainTable:
        """The pieces of a chain at a position of its outer loops."""
        own = [*self.own_steps[chain.name], *self.own_space[chain.name]]
        piece, _ = pieces_at(self.nest, chain, at, own)
        sides = (*piece.lo.values(), *piece.hi.values())
        least = [int(v.min()) for v in piece.lo.values()] * 2
        numbers = [v - b for v, b in zip(sides, least, strict=True)]
        arrays = [np.asarray(x) for x in (*numbers, *(piece.chunk or ()))]
        identity = self.number_of(chain.name, self.identity(*arrays))
        exists = piece.exists.reshape(self.shape(chain))
        spans = self._spans(chain, at)
        return _ChainTable(piece, exists, identity, self.identity(exists), spans)

    def _spans(self, chain: Chain, at: dict[int, int]) -> list[Span]:
        """The ranges of a chain in a pass, of each of its own clusters."""
        own = [i for i in self.clusters if i in chain.loops]
        piece, _ = pieces_at(self.nest, chain, at, own)
        first, last = piece.chunk or (None, None)
        return [
            Span(
                {p: int(v[k]) for p, v in piece.lo.items()},
                {p: int(v[k]) for p, v in piece.hi.items()},
                None if first is None or last is None else (int(first[k]), int(last[k])),
                bool(exists),
            )
            for k, exists in enumerate(piece.exists)
        ]

    def shape(self, chain: Chain) -> tuple[int, int]:
        """Own steps and own instances of a chain."""
        steps, space = (
            prod(self.nest.loops[i].trips for i in own[chain.name])
            for own in (self.own_steps, self.own_space)
        )
        return steps, space


class PeArray(Instances):
    """The PEs and MACs in lockstep.

    ``words``    by boundary to the PEs: what they have of it.  If words are told step by step also
                 that of sums straight from the MACs
    ``work``     what the MACs take
    ``span_of``  by chain: [clusters] which of its spans each cluster has
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
        pe, acc = nest.levels - 1, nest.problem.accumulated
        super().__init__(
            nest, pe, outer, spatial, steps=tuple(steps), names=clusters, stepwise=stepwise
        )
        self.words = [
            TileWords(self, b)
            for b in nest.boundaries
            if b.child == pe or (stepwise and b.tensor == acc and b.parent < pe < b.child)
        ]
        told = stepwise and not nest.arch.systolic
        self.work = MacWork(nest, outer, steps, self.step_of, self.once, stepwise=told)
        at = dict(zip(clusters, grid(nest.loops[i].trips for i in clusters), strict=True))
        own = {c.name: [i for i in clusters if i in c.loops] for c in nest.chains}
        self.span_of = {name: self.number(at, loops).tolist() for name, loops in own.items()}

    def step(self, at: dict[int, int]) -> tuple[PeDrain | None, Pass]:
        """What leaves the PEs before the buffers move on, and the pass itself."""
        self.move_to(at)
        before = during = None
        loads, opened = [], 0
        stay: Named = ()
        direct: Named = ()
        first: dict[Instance, tuple[Ints, Ints]] = {}
        for words in self.words:
            plan, base = words.plan()
            came, early, late = plan.ways
            if plan.first:
                first |= words.first(plan, base)
            if words.direct:
                direct = words.named(came.words, plan, base)
            elif words.sums:
                opened += came.count
                before, during = (words.pe_drain(way, plan, base) for way in (early, late))
                stay = words.named(plan.resident, plan, base)
            else:
                loads.append(words.load(plan, base))
        takes, macs, folds = self.work.of(at, self.active)
        boxes = self._boxes()
        return before, Pass(
            tuple(loads), opened, takes, during, stay, macs, folds, boxes, at, direct, first
        )

    def finish(self) -> PeDrain | None:
        """The last drain."""
        plans = ((words, *words.last()) for words in self.words if words.sums)
        return next(
            (x.pe_drain(plan.ways[OUT_BEFORE], plan, base) for x, plan, base in plans), None
        )

    def _boxes(self) -> tuple[tuple[Instance, dict[str, Span]], ...]:
        """By cluster: the ranges its MACs work through in a pass, by chain."""
        spans = [(name, t.spans, self.span_of[name]) for name, t in self.tables.items()]
        numbers = enumerate(self.names)
        return tuple([(x, {name: of[at[k]] for name, of, at in spans}) for k, x in numbers])


class TileWords:
    """What the instances have of one boundary.

    ``inside``   whether they are PEs
    ``direct``   whether its child is the MAC: sums that PEs make as if they took them and held none
    ``sums``     whether it is another boundary of the accumulated tensor
    ``ranks``    the factors of a PE's tile, which range over ``chains``;  ``known`` tables by where
                 these stand
    ``pairs``    whether words are (k, x) pairs
    ``parents``  [parents]: which instances of the parent there are
    ``of_pe``    [PEs, ranks]: which own instance of each rank a PE has
    ``sharers``  [PEs]: equal where words are shared; where ``direct`` in all of a cluster
    ``parent``   [PEs]: the number of each one's parent
    ``held``     the plan of the pass before, and the bases of that pass
    """

    def __init__(self, array: Instances, b: Boundary) -> None:
        self.array, self.nest, self.b = array, array.nest, b
        acc, size = self.nest.problem.accumulated, self.nest.problem.size
        self.inside, self.direct = b.child >= self.nest.levels - 1, b.child >= self.nest.levels
        self.sums = b.tensor == acc and not self.direct
        ranks = ranks_of(self.nest, b.tensor, b.child)
        cut = [r for r in ranks if r.sliding or prod(size[p] for p in r.rank) > 1]
        # without those that are one coordinate throughout; neighbours in memory follow each other
        self.ranks = sorted(cut or [*ranks[:1]], key=lambda rank: -min(rank.strides))
        self.chains = sorted({c.name for rank in self.ranks for c in rank.chains})
        self.known: dict[tuple[tuple[int, ...], ...], _TileTables] = {}
        self.pairs = self.nest.projection(b.tensor, b.child).pairs
        over = [i for i in array.spatial if self.nest.loops[i].level < b.parent]
        self.parents = array.named(over)
        self.parent = array.number(array.place, [] if self.direct else over)
        self.of_pe = self._rows_of(array.own_space, array.inst_of)
        self.sharers = self._sharers()
        self.held: tuple[_PassPlan, tuple[int, ...]] | None = None

    def _sharers(self) -> Ints:
        array = self.array
        if self.direct:
            return array.told
        return array.number(array.place, grouped(self.nest, self.b, array.spatial))

    def _alike(self, *of: Ints) -> tuple[Ints, Ints]:
        """Instances that share words and are equal in all of ``of`` [instances, any]: the first of
        each such class, those that share side by side, and [instances] which class each is of.
        """
        number = self.sharers
        for column in (x for each in of for x in each.T):
            if (column != column[0]).any():
                number = number * (int(column.max()) + 1) + column
                number = np.unique(number, return_inverse=True)[1]
        _, one, whose = np.unique(number, return_index=True, return_inverse=True)
        return one, whose

    def _order(self, one: Ints, whose: Ints) -> PeOrder:
        """Classes of equal instances, as ``lockstep`` goes through them."""
        first = np.flatnonzero(np.diff(self.sharers[one], prepend=-1, append=-1))
        many, parent, told = np.bincount(whose), self.parent[one], self.array.told[one]
        return PeOrder(parent, told, many, first)

    def _rows_of(self, own: dict[str, list[int]], of: dict[str, Ints]) -> Ints:
        """Which own step of each rank each step has, or which own instance each PE: ``[steps or
        PEs, ranks]``.
        """
        rows = []
        for rank in self.ranks:
            first, *rest = rank.chains
            rows.append(of[first.name])
            for c in rest:
                trips = prod(self.nest.loops[i].trips for i in own[c.name])
                rows[-1] = rows[-1] * trips + of[c.name]
        return np.stack(rows, axis=1)

    # tables

    def _tables(self) -> _TileTables:
        tables, at = [], self.array.where
        for k, rank in enumerate(self.ranks):
            where = [at[c.name] for c in rank.chains]
            key = ("rank", self.b.tensor, self.b.child, k, *where)
            tables.append(self.array.once(key, self._table, rank))
        bases = tuple([t.base for t in tables])
        identity = self.array.number_of(*[t.identity for t in tables])
        return _TileTables([t.rows for t in tables], bases, sum(bases), identity)

    def _table(self, rank: Rank) -> _RankTable:
        """The lists of a rank; of two chains that slide over all pairs of their own steps and
        instances.
        """
        pieces = tuple(self.array.tables[c.name].piece for c in rank.chains)
        if len(pieces) == 2:
            (a, x), (b, y) = (self.array.shape(c) for c in rank.chains)
            pieces = reshaped(pieces[0], (a, 1, x, 1)), reshaped(pieces[1], (1, b, 1, y))
        offsets = rank.offsets(self.nest, pieces)
        real = offsets != NOWHERE
        flat, sizes = offsets[real], real.sum(axis=-1).ravel()
        base = int(flat.min()) if len(flat) else 0
        given = self._given(rank, flat)
        return _RankTable(
            _OffsetRows(flat - base, sizes), base, self.array.identity(flat - base, sizes, given)
        )

    def _given(self, rank: Rank, offsets: Ints) -> Flags:
        """Which offsets the parent has: all but those of padding that only the child stores."""
        if not (self.b.adds_padding and rank.sliding):
            return np.ones(len(offsets), np.uint8)
        assert self.nest.window is not None
        low, high = self.nest.window[rank.rank[0] == "F"]
        at = offsets // rank.strides[0]
        return ((at >= low) & (at < high)).astype(np.uint8)

    # events, from a plan and this pass's base; (k, x) pairs have plans for each base

    def named(self, words: list[WordSet], plan: _PassPlan, base: int) -> Named:
        """Words by who is told them."""
        by = 0 if self.pairs else base - plan.base
        return tuple([(name, x.moved(by)) for name, x in zip(self.array.names, words, strict=True)])

    def first(self, plan: _PassPlan, base: int) -> dict[Instance, tuple[Ints, Ints]]:
        """By cluster: sums that leave, and the step each first leaves after."""
        base = 0 if self.pairs else base
        told = [(words + base, steps) for words, steps in plan.first]
        return dict(zip(self.array.names, told, strict=True))

    def load(self, plan: _PassPlan, base: int) -> PeLoad:
        """Words that enter the PEs."""
        came = plan.ways[IN]
        words, gone = self.named(came.words, plan, base), self.named(plan.gone, plan, base)
        steps = came.steps if self.array.stepwise else None
        return PeLoad(self.b, came.count, came.carried, words, gone, steps)

    def pe_drain(self, way: _OneWay, plan: _PassPlan, base: int) -> PeDrain | None:
        """Sums that leave the PEs; None if there are none."""
        if not way.count:
            return None
        steps = way.steps if self.array.stepwise else None
        return PeDrain(self.b, way.count, way.carried, self.named(way.words, plan, base), steps)

    def drains(self, plan: _PassPlan, base: int) -> Iterator[Drain]:
        """A drain of what instances let go, if that is anything; of operands there is none."""
        out = plan.ways[OUT_BEFORE]
        if self.sums and out.count:
            yield Drain(self.b, _some(self.named(out.words, plan, base)), self._at_parents(out))

    def opens(self, plan: _PassPlan, base: int) -> Iterator[Open]:
        """Sums that start a residency, if any."""
        if plan.ways[IN].count:
            come = _some(self.named(plan.ways[IN].words, plan, base))
            yield Open(self.b.child, self.b.tensor, come)

    def fills(self, plan: _PassPlan, base: int) -> Iterator[Fill]:
        """A fill, if any instance takes or lets go a word."""
        come, gone, _ = plan.ways
        if come.count or gone.count:
            both = (self.named(x.words, plan, base) for x in (come, gone))
            takes = [(i, x, y) for (i, x), (_, y) in zip(*both, strict=True) if x or y]
            yield Fill(self.b, tuple(takes), self._at_parents(come))

    def _at_parents(self, way: _OneWay) -> tuple[tuple[Instance, int], ...]:
        """Words that parents give or get, by instance."""
        each = zip(self.parents, way.steps.parents[:, 0].tolist(), strict=True)
        return tuple([(i, n) for i, n in each if n])

    # what instances keep

    def plan(self) -> tuple[_PassPlan, int]:
        """The plan for the pass at hand, and its base address.

        Absolute positions matter only for (k, x) pairs: then the bases themselves are part of what
        a plan is known by.
        """
        at, state, shifts = self.array.where, -1, ()
        where = tuple([at[name] for name in self.chains])
        tables = self.known.get(where)
        if tables is None:
            tables = self.known[where] = self._tables()
        if self.held is not None:
            before, old = self.held
            state, shifts = before.state.identity, tuple(map(sub, old, tables.bases))
        place = tables.bases if self.pairs else 0
        key = (
            self.b.tensor,
            self.b.child,
            tables.identity,
            self.array.present,
            state,
            shifts,
            place,
        )
        plan = self.array.once(key, self._pass, tables, shifts)
        if not self.direct:
            self.held = plan, tables.bases
        return plan, tables.base

    def _pass(self, tables: _TileTables, shifts: tuple[int, ...]) -> _PassPlan:
        """Follow the pass at hand."""
        steps, works = self._works()
        instances = [prod(self.array.shape(c)[1] for c in r.chains) for r in self.ranks]
        of_step = self._rows_of(self.array.own_steps, self.array.step_of)[steps] * instances
        return self._followed(tables, of_step, self.of_pe, works, shifts)

    def last(self) -> tuple[_PassPlan, int]:
        """In one step more, of no words, every instance lets go its whole tile."""
        assert self.held is not None
        _, bases = self.held
        none = [_OffsetRows(np.zeros(0, np.int64), np.zeros(1, np.int64))] * len(bases)
        works = np.ones((1, len(self.array.told)), np.uint8)
        at = np.zeros((1, len(bases)), np.int64)
        tables = _TileTables(none, bases, sum(bases), -1)
        last = self._followed(tables, at, at, works, (0,) * len(bases))
        return last, last.base

    def _works(self) -> tuple[Ints, Flags]:
        """Which steps of a pass exist, and [steps that exist, PEs] who takes them: a PE idle
        through a dimension the tensor does not depend on skips the step (rule 3).
        """
        array = self.array
        steps = len(next(iter(array.step_of.values())))
        ragged = [c for c in self.nest.chains if not array.tables[c.name].exists.all()]
        if not ragged:
            return np.arange(steps), np.ones((steps, len(self.of_pe)), np.uint8)
        there, works = np.ones(steps, bool), np.ones((steps, len(array.told)), bool)
        for c in ragged:
            exists, step_of = array.tables[c.name].exists, array.step_of[c.name]
            there &= np.asarray(exists.any(axis=1))[step_of]
            if not c.depends(self.b.tensor):
                works &= exists[step_of[:, None], array.inst_of[c.name]]
        return np.flatnonzero(there), works[there].astype(np.uint8)

    def _followed(
        self,
        tables: _TileTables,
        of_step: Ints,
        of_pe: Ints,
        works: Flags,
        shifts: tuple[int, ...],
    ) -> _PassPlan:
        """Follow the PEs through the steps of a pass, and tell what moved.

        Of the rows of ``tables``, by rank, a tile has ``of_step`` [steps, ranks] + ``of_pe`` [PEs
        or 1, ranks]; ``shifts`` by how much the bases of what was held before differ.
        """
        own, bases, base, n = tables.rows, tables.bases, tables.base, works.shape[1]
        state = self.held[0].state if self.held is not None else None
        rows = own
        if state is not None:
            rows = [_shifted(*each) for each in zip(own, state.rows, shifts, strict=True)]
        rows = [_OffsetRows(x.flat, np.append(x.sizes, 0)) for x in rows]
        start = np.cumsum([0, *(len(x.sizes) for x in rows[:-1])])  # rows of all ranks in a row
        empty, shape = start + [len(x.sizes) - 1 for x in rows], (n, len(rows))
        held = empty if state is None else start + [len(x.sizes) for x in own] + state.of
        held = np.broadcast_to(held, shape).copy()
        of_pe = np.broadcast_to(start + of_pe, shape).copy()
        words, given = self._words(rows, bases)
        codes, begin = _numbered(rows, words)
        one, whose = self._alike(of_pe, held, self.array.told[:, None], _kinds(works))
        order, of_pe, held = self._order(one, whose), of_pe[one], held[one]
        works = np.take(works, one, axis=1)  # in one layout, so compiled once
        tiles = WantedTiles(codes, begin, of_step, of_pe, works, held)
        tally = self._tally(words, given, base, len(works) if self.array.stepwise else 1)
        room = _room(begin, start, len(codes), len(one))
        goes = self.sums or not self.inside
        follow(self.b.kind == "neighbour", self.sums, goes, tiles, order, tally, room)
        steps = StepWords(tally.carried[:, 1:], tally.taking[1:].copy())
        early = StepWords(tally.carried[:, :1], tally.taking[:1])
        came, before, late = (
            self._one_way(tally, way, told, words, base)
            for way, told in ((IN, steps), (OUT_BEFORE, early), (OUT, steps))
        )
        first = self._firsts(tally, words, base) if self.array.firsts else []
        after = self._state(rows, (held - start)[whose])
        there: list[WordSet] = []
        gone: list[WordSet] = []
        if self.inside:  # what comes to empty PEs that want what these hold
            want, all_work = np.zeros((1, len(rows)), np.int64), np.ones((1, len(one)), np.uint8)
            at_end = WantedTiles(codes, begin, want, held, all_work, 0 * held + empty)
            tally.flag[...] &= 255 - (1 << IN)
            follow(False, True, True, at_end, order, tally, room)
            there = self._went(tally, IN, words, base)
            gone = [] if self.sums or self.direct else self._gone(came.words, there)
        return _PassPlan(base, (came, before, late), there, gone, first, after)

    def _gone(self, came: list[WordSet], there: list[WordSet]) -> list[WordSet]:
        """By cluster: words that came or were there before, and at the end are not."""
        if self.held is None:
            return [less([x], y) for x, y in zip(came, there, strict=True)]
        plan, bases = self.held
        before = [words for _, words in self.named(plan.resident, plan, sum(bases))]
        return [less([w, x], y) for w, x, y in zip(before, came, there, strict=True)]

    def _words(
        self, rows: list[_OffsetRows], bases: tuple[int, ...]
    ) -> tuple[BlockWords, list[Flags]]:
        """The words of some rows, in blocks, and by rank which blocks the parent has; of (k, x)
        pairs each is by itself, since some are padding.
        """
        values = [np.unique(row.flat) for row in rows]
        firsts, given = [], []
        for rank, row, offsets, base in zip(self.ranks, rows, values, bases, strict=True):
            told = self._given(rank, offsets + base)
            firsts.append(np.ones(len(told), bool) if self.pairs else _apart(row, offsets, told))
            given.append(told[firsts[-1]])
        return BlockWords(values, firsts), given

    def _tally(self, words: BlockWords, given: list[Flags], base: int, n_steps: int) -> PassTally:
        """Nothing has moved yet of the words of a pass."""
        flags = REAL + GIVEN * _product(given)
        if self.pairs:
            pairs = words.listed() + base
            flags[~coordinates(self.nest, pairs, self.b.child)[1]] = 0
            if self.b.adds_padding:
                real = flags != 0
                outside = not_padding(self.nest, address(self.nest, pairs[real]))
                flags[real] = np.where(outside, REAL | GIVEN, REAL)
        clusters, parents = len(self.array.names), len(self.parents)
        told = len(flags) * self.array.firsts
        return PassTally(
            np.zeros(3, np.int64), _product(words.sizes),
            flags[None] if clusters == 1 else np.tile(flags, (clusters, 1)),
            np.zeros(len(flags), np.int64), np.zeros((clusters, told), np.int64),
            np.zeros((parents, 1 + n_steps), np.int64), np.zeros(1 + n_steps, np.int64),
        )  # fmt: skip

    def _one_way(
        self, tally: PassTally, way: int, steps: StepWords, words: BlockWords, base: int
    ) -> _OneWay:
        count, carried = int(tally.words[way]), int(steps.parents.sum())
        went = self._went(tally, way, words, base) if count else [NONE] * len(self.array.names)
        return _OneWay(count, carried, went, steps)

    def _went(self, tally: PassTally, way: int, words: BlockWords, base: int) -> list[WordSet]:
        """By who is told: of ``words`` those that went one way; (k, x) pairs become the ifmap words
        they stand for.
        """
        bit = 1 << way
        if not self.pairs:
            return [words.flagged(base, row, bit) for row in tally.flag]
        pairs = words.listed() + base
        went = (pairs[row & bit != 0] for row in tally.flag)
        return [runs_of(np.unique(address(self.nest, x))) for x in went]

    def _firsts(self, tally: PassTally, words: BlockWords, base: int) -> list[tuple[Ints, Ints]]:
        """By cluster: sums that left, sorted, and after which step each did so first; (k, x) pairs
        as the words they stand for.  Those straight from the MACs leave as they come.
        """
        if not (self.sums or self.direct):
            return []
        told, way, listed = [], OUT if self.sums else IN, words.listed()
        for flags, first in zip(tally.flag, tally.first, strict=True):
            left = words.of_words(flags) & (1 << way) != 0
            some = address(self.nest, listed[left] + base) if self.pairs else listed[left]
            told.append(first_of(some, words.of_words(first)[left] - (way == OUT)))
        return told

    def _state(self, rows: list[_OffsetRows], held: Ints) -> _PeState:
        """What PEs hold at the end of a pass: ``held`` [PEs, ranks] are their rows."""
        kept, of = [], np.zeros_like(held)
        for k, (flat, sizes) in enumerate(rows):
            used, of[:, k] = np.unique(held[:, k], return_inverse=True)
            ends = np.cumsum(sizes)[used]
            lists = [flat[end - n : end] for end, n in zip(ends, sizes[used], strict=True)]
            kept.append(_OffsetRows(np.concatenate(lists), sizes[used]))
        identity = self.array.identity(of, *(x for lists in kept for x in lists))
        return _PeState(tuple(kept), of, identity)


def _kinds(works: Flags) -> Ints:
    """A number for the steps that each PE takes, [PEs, 1]."""
    if works.all():
        return np.zeros((works.shape[1], 1), np.int64)
    return np.unique(works.T, axis=0, return_inverse=True)[1].reshape(-1, 1)


def _shifted(own: _OffsetRows, old: _OffsetRows, shift: int) -> _OffsetRows:
    """Rows of a pass, and those that PEs held before it."""
    flat, sizes = (
        np.concatenate(x) for x in ((own.flat, old.flat + shift), (own.sizes, old.sizes))
    )
    return _OffsetRows(flat, sizes)


def _apart(rows: _OffsetRows, values: Ints, told: Flags) -> npt.NDArray[np.bool_]:
    """Which of the offsets in some rows, ``values``, do not always go with the one before: there is
    a row that has one of both, or what is ``told`` of them differs.
    """
    at = np.searchsorted(values, rows.flat)
    follows = np.diff(at, prepend=-2) == 1
    follows[(np.cumsum(rows.sizes) - rows.sizes)[rows.sizes > 0]] = False
    often, together = (np.bincount(x, minlength=len(values)) for x in (at, at[follows]))
    apart = np.ones(len(values), bool)
    apart[1:] = (together != often)[1:] | (np.diff(often) != 0) | (told[1:] != told[:-1])
    return apart


def _product(of: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """All products of one number from each list, flat, the last list fastest."""
    total = np.ones(1, of[0].dtype)
    for x in of:
        total = np.outer(total, x).ravel()
    return total


def _numbered(rows: list[_OffsetRows], words: BlockWords) -> tuple[Ints, Ints]:
    """Codes of all rows, rank by rank, where each row begins, and where the last one ends."""
    codes, sizes = [], [np.zeros(1, np.int64)]
    for (flat, n), values, first, code in zip(
        rows, words.values, words.first, words.codes, strict=True
    ):
        at = np.searchsorted(values, flat)
        kept = first[at]
        so_far, ends = np.cumsum(np.append(0, kept)), np.cumsum(n)
        codes.append(code[at[kept]])
        sizes.append(so_far[ends] - so_far[ends - n])
    return np.concatenate(codes), np.cumsum(np.concatenate(sizes))


def _room(begin: Ints, start: Ints, codes: int, n: int) -> StepLists:
    """Room for the words of ``n`` PEs in one step."""
    longest = prod(np.maximum.reduceat(np.diff(begin), start).tolist())
    digit, now = np.zeros((2, len(start)), np.int64)
    words, end = np.empty(longest * n, np.int64), np.zeros(n, np.int64)
    return StepLists(words, end, np.zeros(codes, np.bool_), digit, now)


def _some(words: Named) -> Named:
    """Those that have any."""
    return tuple([(i, x) for i, x in words if x])
