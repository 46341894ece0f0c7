"""What the MACs of a pass take, make and how long they work.

A MAC is a child without memory (rule 7): it takes one weight and one ifmap word in every step and
makes one arrival, whatever it had the step before.  So there is no history to follow, and counts
are products over chains: every position of a chain's loops in the pass is listed once, those that
exist are counted, and what several MACs share of a step is counted once.

    taken  = prod over factors of (positions)          shared = prod of (different sharers, words)

A factor is a chain, or the two chains of a sliding rank together.  Under a fused loop the ifmap's
(k, x) pairs are one factor of all its chains, counted by how often each tap meets each output.

``PeArray`` asks once for every kind of pass.  Position lists are ``[positions]`` of a chain, and
``[positions of E, positions of R]`` of a sliding pair.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.ranks import grid, grouped, pieces_at, window
from accelsim.engines.event.transfers import Ints, Take
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Boundary, Chain, Nest
from accelsim.workload.problem import RANKS


class MacWork:
    """MACs of the passes of a nest.  ``steps`` are the temporal loops of a pass outside the PEs;
    ``cache`` is kept between equal nests.

    ``stepwise``        also tells step by step what they take from outside the PEs
    ``own_steps``       by chain: the loops of a pass that are its own
    ``step_of``         by chain: [steps], the number of its own step
    ``holding``         temporal loops that move a tensor the PEs hold
    ``held_of``         [steps]: a number for the words the PEs hold, as far as the pass's own loops
                        tell; ``in_place`` adds what the outer ones do
    ``mac_boundaries``  those whose child is the MAC
    """

    def __init__(
        self,
        nest: Nest,
        steps: list[int],
        step_of: dict[str, Ints],
        n_steps: int,
        cache: dict[Any, Any],
        *,
        stepwise: bool,
    ) -> None:
        self.nest, self.step_of, self.n_steps, self._works, self.stepwise = (
            nest,
            step_of,
            n_steps,
            cache,
            stepwise,
        )
        self.own_steps = {c.name: [i for i in steps if i in c.loops] for c in nest.chains}
        held = nest.keep[nest.levels - 1]
        self.holding = [
            i
            for i, x in enumerate(nest.loops)
            if not x.spatial and any(nest.loop_depends(x, t) for t in held)
        ]
        self.held_of = np.zeros(n_steps, np.int64)
        for i, index in zip(steps, grid(nest.loops[i].trips for i in steps), strict=True):
            if i in self.holding:
                self.held_of = self.held_of * nest.loops[i].trips + index
        self.mac_boundaries = [b for b in nest.boundaries if b.child == nest.levels]

    def of(self, at: dict[int, int]) -> tuple[tuple[Take, ...], int, Folds]:
        """What the MACs take, how many they are, and the folds they work in."""
        return self._takes(at), self._macs(at), self._folds(at)

    def in_place(self, at: dict[int, int], folds: Folds) -> Folds:
        """Folds of an equal pass, with what the PEs hold numbered for this one."""
        if not self.nest.arch.systolic:
            return folds
        outside = 0
        for i in self.holding:
            if i in at:
                outside = outside * self.nest.loops[i].trips + at[i]
        return replace(folds, held=folds.held + outside * (int(self.held_of.max()) + 1))

    def _takes(self, at: dict[int, int]) -> tuple[Take, ...]:
        """What the MACs take of each operand and make of the accumulated tensor."""
        return tuple(self._take(b, at) for b in self.mac_boundaries)

    def _take(self, b: Boundary, at: dict[int, int]) -> Take:
        """Products over factors: of what is taken, and of what is left after sharing, which stands
        in a table [own steps of each chain] a factor.
        """
        taken = 1
        tables: list[tuple[tuple[Chain, ...], Ints]] = []
        factors: list[tuple[Chain, ...]]
        rest = [c for c in self.nest.chains if not c.depends(b.tensor)]
        if self.nest.projection(b.tensor, b.child).pairs:
            chains = tuple(c for c in self.nest.chains if c not in rest)
            mine, given = (
                self._cached(("pairs", level), chains, at, self._pairs)
                for level in (b.child, b.parent)
            )
            taken, factors = int(mine.sum()), [(c,) for c in rest]
            tables.append((chains, given))
        else:
            factors = [
                tuple(self.nest.chain_of[d] for d in rank)
                for rank in RANKS[b.tensor]
                if len(rank) == 2
            ]
            inside = {c for pair in factors for c in pair}
            factors += [(c,) for c in self.nest.chains if c not in inside]
        for chains in factors:
            n, table = self._cached(("take", b), chains, at, self._factor)
            taken *= n
            tables.append((chains, table))
        shared = prod(int(table.sum()) for _, table in tables)
        steps = None
        if self.stepwise and b.parent < self.nest.levels - 1:
            steps = np.ones(self.n_steps, np.int64)
            for chains, table in tables:
                steps *= table[tuple(self.step_of[c.name] for c in chains)]
            steps = steps[self._exist(at)]
        return Take(b, taken, shared, steps)

    def _cached(
        self, key: tuple[Any, ...], chains: tuple[Chain, ...], at: dict[int, int], make: Any
    ) -> Any:
        """``make`` of some chains at their outer positions, remembered."""
        full = (
            *key,
            tuple(c.name for c in chains),
            tuple(at[i] for c in chains for i in c.loops if i in at),
        )
        if full not in self._works:
            self._works[full] = make(*key[1:], chains, at)
        return self._works[full]

    def _positions(
        self, chain: Chain, at: dict[int, int]
    ) -> tuple[dict[str, Ints], dict[int, Ints]]:
        """Every position of a chain's loops in a pass that exists, those inside the PEs included:
        its coordinate by part, and the position of each loop, all ``[positions]``.
        """
        piece, index = pieces_at(self.nest, chain, at, [i for i in chain.loops if i not in at])
        ok = piece.exists
        lo = {p: v[ok] for p, v in piece.lo.items()}
        if piece.chunk is not None:
            rest = piece.chunk[0][ok]
            for p in reversed(chain.parts):
                extent = (piece.hi[p] - piece.lo[p])[ok]
                lo[p], rest = lo[p] + rest % extent, rest // extent
        return lo, {i: g[ok] for i, g in index.items()}

    def _factor(
        self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]
    ) -> tuple[int, Ints]:
        """Words (or, of dimensions the tensor does not depend on, positions) taken, and after
        sharing, ``[own steps of each chain]``.
        """
        positions = [self._positions(c, at) for c in chains]
        keys = [self._sharers(b, index) for _, index in positions]
        steps, counts = zip(
            *(self._own_step(c, index) for c, (_, index) in zip(chains, positions, strict=True)),
            strict=True,
        )
        if len(chains) == 1:
            own = steps[0]
            if not chains[0].depends(b.tensor):
                own = own[np.unique(keys[0], return_index=True)[1]]
            return len(keys[0]), np.bincount(own, minlength=counts[0])
        real, given, who, where = self._slid(b, chains, tuple(x for x, _ in positions), keys)
        both = real & given
        _, once = np.unique((who + where)[both], return_index=True)
        step = np.broadcast_to(steps[0][:, None] * counts[1] + steps[1], real.shape)[both][once]
        return int(real.sum()), np.bincount(step, minlength=counts[0] * counts[1]).reshape(counts)

    def _sharers(self, b: Boundary, index: dict[int, Ints]) -> Ints:
        """A number for each position, ``[positions]``: the same where a word is shared."""
        apart = set(grouped(self.nest, b, [i for i in index if self.nest.loops[i].spatial]))
        key = np.zeros(len(next(iter(index.values()))) if index else 1, np.int64)
        for i, v in index.items():
            if i in apart or not self.nest.loops[i].spatial:
                key = key * self.nest.loops[i].trips + v
        return key

    def _slid(
        self,
        b: Boundary,
        chains: tuple[Chain, ...],
        lists: tuple[dict[str, Ints], ...],
        keys: list[Ints],
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], Ints, Ints]:
        """Of every position of a sliding pair of chains, each ``[positions of the first, of the
        second]``: is its word real, does the parent give it, who takes it, which is it.
        """
        out, filt = (name.parts[0] for name in chains)
        slide = self.nest.problem.slide((out, filt))
        where = slide.stride * lists[0][out][:, None] + slide.dilation * lists[1][filt] - slide.pad
        low, high = window(self.nest, (out, filt), b.tensor, b.child) or (0, slide.size)
        real = (where >= low) & (where < high)
        low, high = window(self.nest, (out, filt), b.tensor, b.parent) or (0, slide.size)
        given = (where >= low) & (where < high)
        who = keys[0][:, None] * (int(keys[1].max()) + 1) + keys[1]
        return real, given, who * slide.size, where

    def _exist(self, at: dict[int, int]) -> npt.NDArray[np.bool_]:
        """Which steps of a pass exist, ``[steps]``."""
        ok = np.ones(self.n_steps, bool)
        for c in self.nest.chains:
            ok &= self._cached(("use",), (c,), at, self._use)[0][self.step_of[c.name]] > 0
        return ok

    def _own_step(self, chain: Chain, index: dict[int, Ints]) -> tuple[Ints, int]:
        """The own step of each position of a chain, ``[positions]``, and how many there are."""
        flat, n = np.zeros(len(next(iter(index.values()))) if index else 1, np.int64), 1
        for i in self.own_steps[chain.name]:
            flat, n = flat * self.nest.loops[i].trips + index[i], n * self.nest.loops[i].trips
        return flat, n

    def _pairs(self, level: int, chains: tuple[Chain, ...], at: dict[int, int]) -> Ints:
        """(k, x) pairs of a pass whose ifmap word is real, ``[own steps of each chain]``: how often
        each tap and each output occur, summed by ``einsum`` over the taps that an output meets.
        """
        size, axis = self.nest.problem.size, {c.name: k for k, c in enumerate(chains)}
        positions = {c.name: self._positions(c, at) for c in chains}
        steps = {c.name: self._own_step(c, positions[c.name][1]) for c in chains}
        r, s = len(chains), len(chains) + 1  # axes of the filter's rows and columns
        terms: list[Any] = []
        for sliding, dims in ((False, "RS"), (True, "EF")):
            owners = [self.nest.chain_of[d].name for d in dims]
            tables = []  # of each position: which rows, or columns, of the filter it has or meets
            for d, filt, owner in zip(dims, "RS", owners, strict=True):
                meets = self._meets(d, filt, level) if sliding else np.eye(size[filt])
                tables.append(meets[positions[owner][0][d]])
            if owners[0] == owners[1]:
                own, n = steps[owners[0]]
                both = [_by_step(own, n, tables[1] * row[:, None]) for row in tables[0].T]
                terms += [np.stack(both, axis=1), [axis[owners[0]], r, s]]
            else:
                for owner, table, letter in zip(owners, tables, (r, s), strict=True):
                    terms += [_by_step(*steps[owner], table), [axis[owner], letter]]
        others = {self.nest.chain_of[d].name for d in "EFRS"}
        for c in chains:
            if c.name not in others:
                own, n = steps[c.name]
                terms += [np.bincount(own, minlength=n).astype(float), [axis[c.name]]]
        pairs = np.einsum(*terms, list(range(len(chains))), optimize=True)
        return np.asarray(np.rint(pairs).astype(np.int64))

    def _meets(self, out: str, filt: str, level: int) -> npt.NDArray[np.float64]:
        """[outputs, taps]: 1 where a tap of an output lies on a real word."""
        size, slide = self.nest.problem.size, self.nest.problem.slide((out, filt))
        where = slide.stride * np.arange(size[out])[:, None] - slide.pad
        where = where + slide.dilation * np.arange(size[filt])
        low, high = window(self.nest, (out, filt), "ifmap", level) or (0, slide.size)
        return ((where >= low) & (where < high)).astype(float)

    def _macs(self, at: dict[int, int]) -> int:
        """MACs of a pass: the points of its part of the iteration space."""
        return prod(self._cached(("points",), (c,), at, self._points) for c in self.nest.chains)

    def _points(self, chains: tuple[Chain, ...], at: dict[int, int]) -> int:
        lists, _ = self._positions(chains[0], at)
        return len(lists[chains[0].parts[0]])

    def _folds(self, at: dict[int, int]) -> Folds:
        """The steps of a pass as the array sees them: each size is a product over chains."""
        ok = np.ones(self.n_steps, bool)
        used = np.ones((3, self.n_steps), np.int64)
        active = np.ones(self.n_steps, np.int64)
        for c in self.nest.chains:
            per = self._cached(("use",), (c,), at, self._use)
            of = self.step_of[c.name]
            ok &= per[0][of] > 0
            used *= per[:3, of]
            active *= per[3, of]
        return Folds(
            used[0][ok],
            used[1][ok],
            used[2][ok],
            int(active[ok].max()),
            int(used[0][ok].sum()),
            self.held_of[ok],
        )

    def _use(self, chains: tuple[Chain, ...], at: dict[int, int]) -> Ints:
        """Per own step of a chain, ``[4, own steps]``: positions inside the PE, rows used, columns
        used, most PEs at once.
        """
        (chain,) = chains
        loops = self.nest.loops
        steps = self.own_steps[chain.name]
        _, index = self._positions(chain, at)
        n = prod(loops[i].trips for i in steps)
        length = len(next(iter(index.values()))) if index else 1

        def code(which: list[int]) -> Ints:
            flat = np.zeros(length, np.int64)
            for i in which:
                flat = flat * loops[i].trips + index[i]
            return flat

        step = code(steps)
        inside = code([i for i in index if not loops[i].spatial and i not in steps])
        rows, cols = (code([i for i in index if loops[i].axis == axis]) for axis in ("row", "col"))

        def seen(what: Ints) -> npt.NDArray[np.int64]:
            """How often each value occurs in each step."""
            width = int(what.max(initial=0)) + 1
            return np.bincount(step * width + what, minlength=n * width).reshape(n, width)

        used = [np.count_nonzero(seen(what), axis=1) for what in (inside, rows, cols)]
        return np.stack([*used, seen(inside).max(axis=1)])


def _by_step(step: Ints, n: int, table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rows of a table [positions, columns] added up by their step: [n, columns]."""
    return np.stack([np.bincount(step, column, n) for column in table.T], axis=1)
