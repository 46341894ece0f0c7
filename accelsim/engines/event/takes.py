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

from accelsim.engines.event.ranks import grid, grouped, window
from accelsim.engines.event.transfers import Ints, Take
from accelsim.engines.run import Folds
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
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
        takes = []
        ok = self._exist(at) if self.stepwise else None
        for b in self.mac_boundaries:
            taken = shared = 1
            pairs = self.nest.projection(b.tensor, b.child).pairs
            factors: list[tuple[Chain, ...]] = [
                (c,) for c in self.nest.chains if pairs and not c.depends(b.tensor)
            ]
            if pairs:
                chains = tuple(c for c in self.nest.chains if c.depends(b.tensor))
                taken, shared = (
                    self._cached(("pairs", level), chains, at, self._real_pairs)
                    for level in (b.child, b.parent)
                )
            else:
                sliding = [
                    tuple(self.nest.chain_of[d] for d in rank)
                    for rank in RANKS[b.tensor]
                    if len(rank) == 2
                ]
                inside = {c for pair in sliding for c in pair}
                factors = [*sliding, *((c,) for c in self.nest.chains if c not in inside)]
            for chains in factors:
                t, s = self._cached(("take", b), chains, at, self._take)
                taken, shared = taken * t, shared * s
            steps = (
                self._shared_steps(b, factors, at)[ok]
                if ok is not None and b.parent < self.nest.levels - 1
                else None
            )
            takes.append(Take(b, taken, shared, steps))
        return tuple(takes)

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

    def _all_positions(self, chain: Chain, at: dict[int, int]) -> tuple[Piece, dict[int, Ints]]:
        """Every position of a chain's loops in a pass that exists, those inside the PEs included:
        the pieces, and the position of each loop, all ``[positions]``.
        """
        free = [i for i in chain.loops if i not in at]
        grids = grid(self.nest.loops[i].trips for i in free)
        index = dict(zip(free, grids, strict=True))
        piece = self.nest.pieces(chain, {i: at[i] for i in chain.loops if i in at} | index)
        n = grids.shape[1]
        flat = {p: np.broadcast_to(piece.lo[p], n) for p in chain.parts}
        ok = np.broadcast_to(piece.exists, n)
        return Piece({p: v[ok] for p, v in flat.items()}, {}, None, ok), {
            i: g[ok] for i, g in index.items()
        }

    def _take(self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]) -> tuple[int, int]:
        """Words (or, of dimensions the tensor does not depend on, positions) taken, and after
        sharing.
        """
        positions = [self._all_positions(c, at) for c in chains]
        keys = [self._sharers(b, index) for _, index in positions]
        if len(chains) == 1:
            taken = len(keys[0])
            return taken, taken if chains[0].depends(b.tensor) else len(np.unique(keys[0]))
        real, given, who, where = self._slid(b, chains, (positions[0][0], positions[1][0]), keys)
        return int(real.sum()), len(np.unique((who + where)[real & given]))

    def _sharers(self, b: Boundary, index: dict[int, Ints]) -> Ints:
        """A number for each position, ``[positions]``: the same where a word is shared."""
        apart = set(grouped(self.nest, b, [i for i in index if self.nest.loops[i].spatial]))
        key = np.zeros(len(next(iter(index.values()))) if index else 1, np.int64)
        for i, v in index.items():
            if i in apart or not self.nest.loops[i].spatial:
                key = key * self.nest.loops[i].trips + v
        return key

    def _slid(
        self, b: Boundary, chains: tuple[Chain, ...], pieces: tuple[Piece, Piece], keys: list[Ints]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], Ints, Ints]:
        """Of every position of a sliding pair of chains, each ``[positions of the first, of the
        second]``: is its word real, does the parent give it, who takes it, which is it.
        """
        out, filt = (name.parts[0] for name in chains)
        slide = self.nest.problem.slide((out, filt))
        where = (
            slide.stride * pieces[0].lo[out][:, None]
            + slide.dilation * pieces[1].lo[filt]
            - slide.pad
        )
        low, high = window(self.nest, (out, filt), b.tensor, b.child) or (0, slide.size)
        real = (where >= low) & (where < high)
        low, high = window(self.nest, (out, filt), b.tensor, b.parent) or (0, slide.size)
        given = (where >= low) & (where < high)
        who = keys[0][:, None] * (int(keys[1].max()) + 1) + keys[1]
        return real, given, who * slide.size, where

    # step by step

    def _exist(self, at: dict[int, int]) -> npt.NDArray[np.bool_]:
        """Which steps of a pass exist, ``[steps]``."""
        ok = np.ones(self.n_steps, bool)
        for c in self.nest.chains:
            ok &= self._cached(("use",), (c,), at, self._use)[0][self.step_of[c.name]] > 0
        return ok

    def _shared_steps(
        self, b: Boundary, factors: list[tuple[Chain, ...]], at: dict[int, int]
    ) -> Ints:
        """What is taken after sharing in each step of a pass, ``[steps]``, whether it exists or
        not; ``factors`` as in ``_takes``.
        """
        total = np.ones(self.n_steps, np.int64)
        if self.nest.projection(b.tensor, b.child).pairs:
            chains = tuple(c for c in self.nest.chains if c.depends(b.tensor))
            table = self._cached(("pairs by step", b.parent), chains, at, self._pairs_by_step)
            total *= table[tuple(self.step_of[c.name] for c in chains)]
        for chains in factors:
            table = self._cached(("take by step", b), chains, at, self._take_by_step)
            total *= table[tuple(self.step_of[c.name] for c in chains)]
        return total

    def _own_step(self, chain: Chain, index: dict[int, Ints]) -> tuple[Ints, int]:
        """The own step of each position of a chain, ``[positions]``, and how many there are."""
        flat, n = np.zeros(len(next(iter(index.values()))) if index else 1, np.int64), 1
        for i in self.own_steps[chain.name]:
            flat, n = flat * self.nest.loops[i].trips + index[i], n * self.nest.loops[i].trips
        return flat, n

    def _take_by_step(self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]) -> Ints:
        """``_take`` after sharing, ``[own steps of each chain]``."""
        positions = [self._all_positions(c, at) for c in chains]
        keys = [self._sharers(b, index) for _, index in positions]
        steps, counts = zip(
            *(self._own_step(c, index) for c, (_, index) in zip(chains, positions, strict=True)),
            strict=True,
        )
        if len(chains) == 1:
            once = (
                slice(None)
                if chains[0].depends(b.tensor)
                else np.unique(keys[0], return_index=True)[1]
            )
            return np.bincount(steps[0][once], minlength=counts[0])
        real, given, who, where = self._slid(b, chains, (positions[0][0], positions[1][0]), keys)
        _, once = np.unique((who + where)[real & given], return_index=True)
        step = np.broadcast_to(steps[0][:, None] * counts[1] + steps[1], real.shape)[real & given][
            once
        ]
        return np.bincount(step, minlength=counts[0] * counts[1]).reshape(counts)

    def _pairs_by_step(self, level: int, chains: tuple[Chain, ...], at: dict[int, int]) -> Ints:
        """``_real_pairs``, ``[own steps of each chain]``: the same bilinear form, summed by
        ``einsum`` over taps and outputs, with an axis a chain left open.
        """
        size = self.nest.problem.size
        axis = {c.name: k for k, c in enumerate(chains)}
        lists = {
            c.name: (self._lists(c, at), *self._own_step(c, self._all_positions(c, at)[1]))
            for c in chains
        }
        r, s = len(chains), len(chains) + 1  # axes of the filter's rows and columns
        terms: list[Any] = []
        for (a, bb), sliding in ((("R", "S"), False), (("E", "F"), True)):
            # for each position of R and S, or of the E and F that slide over them: which r, which s
            # it has
            tables = []
            for d, filt in ((a, "R"), (bb, "S")):
                table = np.eye(size[filt])
                if sliding:
                    slide = self.nest.problem.slide((d, filt))
                    where = (
                        slide.stride * np.arange(size[d])[:, None]
                        + slide.dilation * np.arange(size[filt])
                        - slide.pad
                    )
                    low, high = window(self.nest, (d, filt), "ifmap", level) or (0, slide.size)
                    table = ((where >= low) & (where < high)).astype(float)
                at_d, step, n = lists[self.nest.chain_of[d].name]
                tables.append((self.nest.chain_of[d].name, table[at_d[d]], step, n))
            (one, rows, step, n), (two, cols, step2, n2) = tables
            if one == two:
                both = np.zeros((n, size["R"], size["S"]))
                np.add.at(both, step, rows[:, :, None] * cols[:, None, :])
                terms += [both, [axis[one], r, s]]
            else:
                for name, table, k, count, letter in (
                    (one, rows, step, n, r),
                    (two, cols, step2, n2, s),
                ):
                    total = np.zeros((count, table.shape[1]))
                    np.add.at(total, k, table)
                    terms += [total, [axis[name], letter]]
        sliding_chains = {self.nest.chain_of[d].name for d in "EFRS"}
        for c in chains:
            if c.name not in sliding_chains:
                _, step, n = lists[c.name]
                terms += [np.bincount(step, minlength=n).astype(float), [axis[c.name]]]
        pairs = np.einsum(*terms, list(range(len(chains))), optimize=True)
        return np.asarray(np.rint(pairs).astype(np.int64))

    def _real_pairs(self, level: int, chains: tuple[Chain, ...], at: dict[int, int]) -> int:
        """(k, x) pairs of a pass whose ifmap word is real: by how often each (r, s) and each (e, f)
        occurs.
        """
        size = self.nest.problem.size
        often = {"RS": np.ones((1, 1), np.int64), "EF": np.ones((1, 1), np.int64)}
        times = 1
        done: set[str] = set()
        for a, bb in (("R", "S"), ("E", "F")):
            count = np.zeros((size[a], size[bb]), np.int64)
            owners = [self.nest.chain_of[a], self.nest.chain_of[bb]]
            if owners[0] is owners[1]:
                piece = self._lists(owners[0], at)
                np.add.at(count, (piece[a], piece[bb]), 1)
            else:
                first, second = self._lists(owners[0], at), self._lists(owners[1], at)
                count += np.bincount(first[a], minlength=size[a])[:, None] * np.bincount(
                    second[bb], minlength=size[bb]
                )
            done |= {c.name for c in owners}
            often[a + bb] = count
        for c in chains:
            if c.name not in done:
                times *= len(self._lists(c, at)[c.parts[0]])
        masks = []
        for rank in (("E", "R"), ("F", "S")):
            slide = self.nest.problem.slide(rank)
            where = (
                slide.stride * np.arange(size[rank[0]])[:, None]
                + slide.dilation * np.arange(size[rank[1]])
                - slide.pad
            )
            low, high = window(self.nest, rank, "ifmap", level) or (0, slide.size)
            masks.append(((where >= low) & (where < high)).astype(np.int64))
        return times * int((often["RS"] * (masks[0].T @ often["EF"] @ masks[1])).sum())

    def _lists(self, chain: Chain, at: dict[int, int]) -> dict[str, Ints]:
        """The coordinates of every position of a chain in a pass, ``[positions]`` by part."""
        free = [i for i in chain.loops if i not in at]
        grids = grid(self.nest.loops[i].trips for i in free)
        piece = self.nest.pieces(
            chain, {i: at[i] for i in chain.loops if i in at} | dict(zip(free, grids, strict=True))
        )
        shape = (grids.shape[1],)
        ok = np.broadcast_to(piece.exists, shape)
        lo = {p: np.broadcast_to(piece.lo[p], shape)[ok] for p in chain.parts}
        if piece.chunk is None:
            return lo
        rest = np.broadcast_to(piece.chunk[0], shape)[ok]
        coordinates = {}
        for p in reversed(chain.parts):
            extent = np.broadcast_to(piece.hi[p] - piece.lo[p], shape)[ok]
            coordinates[p], rest = lo[p] + rest % extent, rest // extent
        return coordinates

    def _macs(self, at: dict[int, int]) -> int:
        """MACs of a pass: the points of its part of the iteration space."""
        return prod(
            self._cached(
                ("macs",), (c,), at, lambda cs, a: len(next(iter(self._lists(cs[0], a).values())))
            )
            for c in self.nest.chains
        )

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
        _, index = self._all_positions(chain, at)
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
