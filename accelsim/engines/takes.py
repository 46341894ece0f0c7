"""What the MACs of a pass take, make and how long they work: products over chains, as MACs have no memory."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.ranks import grid, grouped, window
from accelsim.engines.transfers import Folds, Ints, Take
from accelsim.mapping.nest import Boundary, Chain, Nest, Piece
from accelsim.workload.problem import RANKS


class MacWork:
    """MACs of the passes of a nest.  ``steps`` are the temporal loops of a pass outside the PEs; ``cache`` is kept between equal nests."""

    def __init__(self, nest: Nest, steps: list[int], step_of: dict[str, Ints], n_steps: int, cache: dict[Any, Any]) -> None:
        self.nest, self.step_of, self.n_steps, self._works = nest, step_of, n_steps, cache
        self.own_steps = {c.name: [i for i in steps if i in c.loops] for c in nest.chains}
        self.mac_boundaries = [b for b in nest.boundaries if b.child == nest.levels]

    def of(self, at: dict[int, int]) -> tuple[tuple[Take, ...], int, Folds]:
        """What the MACs take, how many they are, and the folds they work in."""
        return self._takes(at), self._macs(at), self._folds(at)

    def _takes(self, at: dict[int, int]) -> tuple[Take, ...]:
        found = []
        for b in self.mac_boundaries:
            taken = shared = 1
            pairs = self.nest.pairs(b.tensor, b.child)
            factors: list[tuple[Chain, ...]] = [(c,) for c in self.nest.chains if pairs and not c.depends(b.tensor)]
            if pairs:
                chains = tuple(c for c in self.nest.chains if c.depends(b.tensor))
                taken, shared = (self._cached(("pairs", level), chains, at, self._real_pairs) for level in (b.child, b.parent))
            else:
                sliding = [tuple(self.nest.chain_of[d] for d in rank) for rank in RANKS[b.tensor] if len(rank) == 2]
                inside = {c for pair in sliding for c in pair}
                factors = [*sliding, *((c,) for c in self.nest.chains if c not in inside)]
            for chains in factors:
                t, s = self._cached(("take", b), chains, at, self._take)
                taken, shared = taken * t, shared * s
            found.append(Take(b, taken, shared))
        return tuple(found)

    def _cached(self, key: tuple[Any, ...], chains: tuple[Chain, ...], at: dict[int, int], make: Any) -> Any:
        full = (*key, tuple(c.name for c in chains), tuple(at[i] for c in chains for i in c.loops if i in at))
        if full not in self._works:
            self._works[full] = make(*key[1:], chains, at)
        return self._works[full]

    def _all_positions(self, chain: Chain, at: dict[int, int]) -> tuple[Piece, dict[int, Ints]]:
        """Every position of a chain's loops in a pass, those of the MACs included, as flat lists."""
        free = [i for i in chain.loops if i not in at]
        grids = grid(self.nest.loops[i].trips for i in free)
        index = dict(zip(free, grids, strict=True))
        piece = self.nest.pieces(chain, {i: at[i] for i in chain.loops if i in at} | index)
        n = grids.shape[1]
        flat = {p: np.broadcast_to(piece.lo[p], n) for p in chain.parts}
        ok = np.broadcast_to(piece.exists, n)
        return Piece({p: v[ok] for p, v in flat.items()}, {}, None, ok), {i: g[ok] for i, g in index.items()}

    def _take(self, b: Boundary, chains: tuple[Chain, ...], at: dict[int, int]) -> tuple[int, int]:
        """Words (or, of dimensions the tensor does not depend on, positions) taken, and after sharing."""
        found = [self._all_positions(c, at) for c in chains]
        keys = []
        for _, index in found:
            apart = set(grouped(self.nest, b, [i for i in index if self.nest.loops[i].spatial]))
            key = np.zeros(len(next(iter(index.values()))) if index else 1, np.int64)
            for i, v in index.items():
                if i in apart or not self.nest.loops[i].spatial:
                    key = key * self.nest.loops[i].trips + v
            keys.append(key)
        if len(chains) == 1:
            taken = len(keys[0])
            return taken, taken if chains[0].depends(b.tensor) else len(np.unique(keys[0]))
        out, filt = (name.parts[0] for name in chains)
        slide = self.nest.problem.slide((out, filt))
        where = slide.stride * found[0][0].lo[out][:, None] + slide.dilation * found[1][0].lo[filt] - slide.pad
        low, high = window(self.nest, (out, filt), b.tensor, b.child) or (0, slide.size)
        real = (where >= low) & (where < high)
        low, high = window(self.nest, (out, filt), b.tensor, b.parent) or (0, slide.size)
        given = (where >= low) & (where < high)
        who = keys[0][:, None] * (int(keys[1].max()) + 1) + keys[1]
        return int(real.sum()), len(np.unique((who * slide.size + where)[real & given]))

    def _real_pairs(self, level: int, chains: tuple[Chain, ...], at: dict[int, int]) -> int:
        """(k, x) pairs of a pass whose ifmap word is real: by how often each (r, s) and each (e, f) occurs."""
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
                count += np.bincount(first[a], minlength=size[a])[:, None] * np.bincount(second[bb], minlength=size[bb])
            done |= {c.name for c in owners}
            often[a + bb] = count
        for c in chains:
            if c.name not in done:
                times *= len(self._lists(c, at)[c.parts[0]])
        masks = []
        for rank in (("E", "R"), ("F", "S")):
            slide = self.nest.problem.slide(rank)
            where = slide.stride * np.arange(size[rank[0]])[:, None] + slide.dilation * np.arange(size[rank[1]]) - slide.pad
            low, high = window(self.nest, rank, "ifmap", level) or (0, slide.size)
            masks.append(((where >= low) & (where < high)).astype(np.int64))
        return times * int((often["RS"] * (masks[0].T @ often["EF"] @ masks[1])).sum())

    def _lists(self, chain: Chain, at: dict[int, int]) -> dict[str, Ints]:
        """The coordinates of every position of a chain in a pass, each once."""
        free = [i for i in chain.loops if i not in at]
        grids = grid(self.nest.loops[i].trips for i in free)
        piece = self.nest.pieces(chain, {i: at[i] for i in chain.loops if i in at} | dict(zip(free, grids, strict=True)))
        shape = (grids.shape[1],)
        ok = np.broadcast_to(piece.exists, shape)
        lo = {p: np.broadcast_to(piece.lo[p], shape)[ok] for p in chain.parts}
        if piece.chunk is None:
            return lo
        rest = np.broadcast_to(piece.chunk[0], shape)[ok]
        found = {}
        for p in reversed(chain.parts):
            extent = np.broadcast_to(piece.hi[p] - piece.lo[p], shape)[ok]
            found[p], rest = lo[p] + rest % extent, rest // extent
        return found

    def _macs(self, at: dict[int, int]) -> int:
        return prod(
            self._cached(("macs",), (c,), at, lambda cs, a: len(next(iter(self._lists(cs[0], a).values())))) for c in self.nest.chains
        )

    def _folds(self, at: dict[int, int]) -> Folds:
        ok = np.ones(self.n_steps, bool)
        used = np.ones((3, self.n_steps), np.int64)
        active = np.ones(self.n_steps, np.int64)
        for c in self.nest.chains:
            per = self._cached(("use",), (c,), at, self._use)
            of = self.step_of[c.name]
            ok &= per[0][of] > 0
            used *= per[:3, of]
            active *= per[3, of]
        return Folds(used[0][ok], used[1][ok], used[2][ok], int(active[ok].max()), int(used[0][ok].sum()))

    def _use(self, chains: tuple[Chain, ...], at: dict[int, int]) -> Ints:
        """Per own step of a chain: positions inside the PE, rows used, columns used, most PEs at once."""
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
