"""What the MACs of a pass take, make and how long they work.

A MAC is a child without memory (rule 7): it takes one weight and one ifmap word in every step and
makes one arrival, whatever it had the step before.  So there is no history to follow, and counts
are products over chains: every position of a chain's loops in the pass is listed once, those that
exist are counted, and what several MACs share of a step is counted once.

    taken  = prod over factors of (positions)          shared = prod of (different sharers, words)

A factor is a chain, or the two chains of a sliding rank together.  Under a fused loop the ifmap's
(k, x) pairs are one factor of all its chains, counted by how often each tap meets each output.

``PeArray`` asks for every pass; equal ones are worked out once.  Position lists are ``[positions]``
of a chain, and ``[positions of E, positions of R]`` of a sliding pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.held import HeldWords
from accelsim.engines.event.ranks import grouped, pieces_at, window
from accelsim.engines.event.transfers import Ints, Take
from accelsim.engines.event.word_sets import digits
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.workload.problem import RANKS

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Positions:
    """Every position of a chain's loops in a pass that exists, those inside the PEs included.

    ``lo``     its coordinate, by part
    ``index``  the position of each loop
    ``step``   the number of its own step, of which there are ``steps``
    """

    lo: dict[str, Ints]
    index: dict[int, Ints]
    step: Ints
    steps: int


class MacWork:
    """MACs of the passes of a nest.  ``outer`` are the loops outside a pass, ``steps`` the temporal
    ones of a pass outside the PEs; ``once`` remembers, between equal nests too.

    ``stepwise``    also tells step by step what they take from outside the PEs
    ``own_steps``   by chain: the loops of a pass that are its own
    ``step_of``     by chain: [steps], the number of its own step
    ``held``        which words the PEs hold in each step
    ``padded``      outer loops on which it depends how much padding a pass meets
    ``boundaries``  those whose child is the MAC
    """

    def __init__(
        self,
        nest: Nest,
        outer: list[int],
        steps: list[int],
        step_of: dict[str, Ints],
        once: Callable[..., Any],
        *,
        stepwise: bool,
    ) -> None:
        self.nest, self.step_of, self._once, self.stepwise = nest, step_of, once, stepwise
        self.n_steps = prod(nest.loops[i].trips for i in steps)
        self.own_steps = {c.name: [i for i in steps if i in c.loops] for c in nest.chains}
        self.held = HeldWords(nest, outer, steps) if nest.arch.systolic else None
        padded = any(nest.problem.padding) or nest.window is not None
        slides = {i for d in "ERFS" for i in nest.chain_of[d].loops}
        self.padded = [i for i in outer if padded and i in slides]
        self.boundaries = [b for b in nest.boundaries if b.child == nest.levels]

    def of(self, at: dict[int, int], kind: Any) -> tuple[tuple[Take, ...], int, Folds]:
        """What the MACs take of each operand and make of the accumulated tensor, how many they are,
        and the folds they work in.  Passes are of one ``kind`` if their pieces are equal but for
        where they begin.
        """
        key = ("work", kind, *[at[i] for i in self.padded])
        takes, macs, folds = self._once(key, self._work, at, kind)
        return takes, macs, self._in_place(at, folds)

    def _work(self, at: dict[int, int], kind: Any) -> tuple[tuple[Take, ...], int, Folds]:
        """The same, but for how held words are numbered."""
        macs, exist, folds = self._once(("folds", kind), self._folds, at)
        takes = []
        for b in self.boundaries:
            place = [at[i] for i in self.padded] if b.tensor == "ifmap" else ()
            takes.append(self._once(("take", b.tensor, kind, *place), self._take, b, at, exist))
        return tuple(takes), macs, folds

    def _of(self, what: Any, make: Any, chains: tuple[Chain, ...], at: dict[int, int]) -> Any:
        """What is made of some chains at their outer positions, remembered."""
        place = (at[i] for c in chains for i in c.loops if i in at)
        key = (make.__name__, what, *(c.name for c in chains), *place)
        return self._once(key, make, what, chains, at)

    def _in_place(self, at: dict[int, int], folds: Folds) -> Folds:
        """Folds of an equal pass, with what the PEs hold in place of the numbers of its steps."""
        return folds if self.held is None else replace(folds, held=self.held.of(at)[folds.held])

    def _positions(self, chain: Chain, at: dict[int, int]) -> _Positions:
        piece, index = pieces_at(self.nest, chain, at, [i for i in chain.loops if i not in at])
        ok = piece.exists
        lo = {p: v[ok] for p, v in piece.lo.items()}
        if piece.chunk is not None:
            extents = [(piece.hi[p] - piece.lo[p])[ok] for p in chain.parts]
            places = digits(piece.chunk[0][ok], extents)
            lo = {p: lo[p] + place for p, place in zip(chain.parts, places, strict=True)}
        index, own = {i: g[ok] for i, g in index.items()}, self.own_steps[chain.name]
        step = self._number(index, own, len(lo[chain.parts[0]]))
        return _Positions(lo, index, step, prod(self.nest.loops[i].trips for i in own))

    def _number(self, index: dict[int, Ints], loops: list[int], n: int) -> Ints:
        """One number for where some loops stand, at each of ``n`` positions."""
        number = np.zeros(n, np.int64)
        for i in loops:
            number = number * self.nest.loops[i].trips + index[i]
        return number

    # words

    def _take(self, b: Boundary, at: dict[int, int], exist: npt.NDArray[np.bool_]) -> Take:
        """Products over factors: of what is taken, and of what is left after sharing, which stands
        in a table [own steps of each chain] a factor.
        """
        chains = self.nest.chains
        if self.nest.projection(b.tensor, b.child).pairs:
            joint = [tuple(c for c in chains if c.depends(b.tensor))]
        else:
            ranks = (rank for rank in RANKS[b.tensor] if len(rank) == 2)
            joint = [(self.nest.chain_of[e], self.nest.chain_of[r]) for e, r in ranks]
        apart = [c for c in chains if not any(c in factor for factor in joint)]
        make = self._pairs if self.nest.projection(b.tensor, b.child).pairs else self._slid
        factors = [(factor, *self._of(b, make, factor, at)) for factor in joint]
        factors += [((c,), *self._of(b, self._factor, (c,), at)) for c in apart]
        taken = prod(n for _, n, _ in factors)
        shared = prod(int(table.sum()) for *_, table in factors)
        steps = None
        if self.stepwise and b.parent < self.nest.levels - 1:
            steps = np.ones(self.n_steps, np.int64)
            for factor, _, table in factors:
                steps *= table[tuple(self.step_of[c.name] for c in factor)]
            steps = steps[exist]
        return Take(b, taken, shared, steps)

    def _factor(
        self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]
    ) -> tuple[int, Ints]:
        """Words of one chain (or, if the tensor does not depend on it, positions) taken, and after
        sharing, [own steps].
        """
        (chain,) = chains
        x = self._positions(chain, at)
        step = x.step
        if not chain.depends(b.tensor):
            step = step[np.unique(self._sharers(b, x), return_index=True)[1]]
        return len(x.step), np.bincount(step, minlength=x.steps)

    def _sharers(self, b: Boundary, x: _Positions) -> Ints:
        """A number for each position, ``[positions]``: the same where a word is shared."""
        loops = self.nest.loops
        apart = grouped(self.nest, b, [i for i in x.index if loops[i].spatial])
        told = [i for i in x.index if i in apart or not loops[i].spatial]
        return self._number(x.index, told, len(x.step))

    def _slid(self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]) -> tuple[int, Ints]:
        """Words of a sliding pair of chains taken, where the word is real, and after sharing, where
        the parent gives it, [own steps of each].
        """
        x, y = (self._positions(c, at) for c in chains)
        out, filt = (c.parts[0] for c in chains)
        slide = self.nest.problem.slide((out, filt))
        where = slide.stride * x.lo[out][:, None] + slide.dilation * y.lo[filt] - slide.pad
        mine, theirs = (
            window(self.nest, (out, filt), b.tensor, level) or (0, slide.size)
            for level in (b.child, b.parent)
        )
        real = (where >= mine[0]) & (where < mine[1])
        given = real & (where >= theirs[0]) & (where < theirs[1])
        who, others = self._sharers(b, x), self._sharers(b, y)
        who = who[:, None] * (int(others.max()) + 1) + others
        _, once = np.unique((who * slide.size + where)[given], return_index=True)
        step = (x.step[:, None] * y.steps + y.step)[given][once]
        shape = x.steps, y.steps
        return int(real.sum()), np.bincount(step, minlength=prod(shape)).reshape(shape)

    def _pairs(
        self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]
    ) -> tuple[int, Ints]:
        """(k, x) pairs of a pass whose ifmap word is real, and those whose word the parent has,
        [own steps of each chain].
        """
        mine, theirs = (self.nest.projection(b.tensor, x).window for x in (b.child, b.parent))
        taken = self._real_pairs(mine, chains, at)
        return int(taken.sum()), taken if mine == theirs else self._real_pairs(theirs, chains, at)

    def _real_pairs(self, real: Any, chains: tuple[Chain, ...], at: dict[int, int]) -> Ints:
        """Taps of the chains of k met by outputs of those of x, [own steps of each chain]: how
        often each tap and each output occur, over the taps that an output meets on a ``real`` word.
        """
        size, order, sides = self.nest.problem.size, [], []
        for with_taps in (True, False):
            side = np.ones((1, size["R"], size["S"]))
            for k, c in enumerate(chains):
                if c.depends("weight") == with_taps:
                    met = self._of(real, self._met, (c,), at)
                    side = (side[:, None] * met).reshape(-1, *side.shape[1:])
                    order.append(k)
            sides.append(side.reshape(len(side), -1))
        pairs = np.rint(sides[0] @ sides[1].T).astype(np.int64)
        steps = [prod(self.nest.loops[i].trips for i in self.own_steps[c.name]) for c in chains]
        return pairs.reshape([steps[k] for k in order]).transpose(np.argsort(order))

    def _met(self, real: Any, chains: tuple[Chain, ...], at: dict[int, int]) -> Reals:
        """How often a chain has, or its outputs meet on a ``real`` word, each row and column of the
        filter: [own steps, rows or 1, columns or 1].
        """
        (chain,) = chains
        x = self._positions(chain, at)
        sides = [np.ones((len(x.step), 1)), np.ones((len(x.step), 1))]
        for k, (out, filt) in enumerate((("E", "R"), ("F", "S"))):
            slide, taps = self.nest.problem.slide((out, filt)), self.nest.problem.size[filt]
            if filt in chain.parts:
                sides[k] = np.eye(taps)[x.lo[filt]]
            elif out in chain.parts:
                where = slide.stride * x.lo[out][:, None] + slide.dilation * np.arange(taps)
                low, high = real[k] if real else (0, slide.size)
                sides[k] = ((where >= low + slide.pad) & (where < high + slide.pad)).astype(float)
        rows, cols = sides
        if x.steps == 1:
            return np.asarray((rows.T @ cols)[None])
        met = np.empty((x.steps, rows.shape[1], cols.shape[1]))
        for r, row in enumerate(rows.T):
            for s, col in enumerate(cols.T):
                met[:, r, s] = np.bincount(x.step, row * col, x.steps)
        return met

    # time

    def _folds(self, at: dict[int, int]) -> tuple[int, npt.NDArray[np.bool_], Folds]:
        """MACs of a pass, which of its steps exist, and those as the array sees them: each size is
        a product over chains.
        """
        used, macs = np.ones((4, self.n_steps), np.int64), 1
        for c in self.nest.chains:
            n, per = self._of("", self._use, (c,), at)
            macs, used = macs * n, used * per[:, self.step_of[c.name]]
        exist = used[0] > 0
        length, rows, cols, active = used[:, exist]
        number = np.flatnonzero(exist)
        folds = Folds(length, rows, cols, int(active.max()), int(length.sum()), number)
        return macs, exist, folds

    def _use(self, _: str, chains: tuple[Chain, ...], at: dict[int, int]) -> tuple[int, Ints]:
        """Positions of a chain, and of each own step, ``[4, own steps]``: positions inside the PE,
        rows used, columns used, most PEs at once.
        """
        (chain,) = chains
        loops, x = self.nest.loops, self._positions(chain, at)

        def seen(which: list[int]) -> Ints:
            """How often each setting of some loops occurs in each step, [own steps, settings]."""
            number = self._number(x.index, which, len(x.step))
            width = int(number.max(initial=0)) + 1
            counts = np.bincount(x.step * width + number, minlength=x.steps * width)
            return counts.reshape(x.steps, width)

        own = self.own_steps[chain.name]
        inside = seen([i for i in x.index if not loops[i].spatial and i not in own])
        rows, cols = (
            seen([i for i in x.index if loops[i].axis == axis]) for axis in ("row", "col")
        )
        used = [np.count_nonzero(counts, axis=1) for counts in (inside, rows, cols)]
        return len(x.step), np.stack([*used, inside.max(axis=1)])
