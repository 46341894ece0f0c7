"""What the PEs of systolic lines hold, step by step, as numbers: equal where the words are.

Positions of the loops that cut a held tensor tell its words apart, but for an ifmap's: over E and R
(or F and S) it slides, and two positions may be the same words.  There the words of every PE are
compared, ``ranks`` says which they are; where they are padding alone, positions tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.engines.event.ranks import NOWHERE, Rank, grid, pieces_at, ranks_of, reshaped
from accelsim.engines.event.transfers import Ints
from accelsim.mapping.nest import Nest, Piece


class HeldWords:
    """Of the loops ``outer`` outside a pass and its temporal ones outside the PEs, ``steps``.

    ``counted``  loops whose positions tell what is held; ``every`` also those that slide only
    ``slid``     of each sliding rank: its loops, and by their positions a number for the words,
                 0 for none, ``[trips, ...]``
    """

    def __init__(self, nest: Nest, outer: Sequence[int], steps: Sequence[int]) -> None:
        last = nest.levels - 1
        held = nest.keep[last]
        index = grid(nest.loops[i].trips for i in steps)
        self.trips = [x.trips for x in nest.loops]
        self.index = dict(zip(steps, index, strict=True))
        self.n_steps = index.shape[1]
        self.every = [
            i for i in (*outer, *steps) if any(nest.loop_depends(nest.loops[i], t) for t in held)
        ]
        self.slid = []
        for rank in ranks_of(nest, "ifmap", last) if "ifmap" in held else ():
            if rank.sliding:
                loops = [i for i in self.every if nest.loops[i].dim in rank.rank]
                self.slid.append((loops, _words(nest, rank, loops)))
        slid = {i for loops, _ in self.slid for i in loops}
        others = held - {"ifmap"}
        self.counted = [
            i
            for i in self.every
            if i not in slid or any(nest.loop_depends(nest.loops[i], t) for t in others)
        ]

    def of(self, at: dict[int, int]) -> Ints:
        """What the PEs hold in each step of a pass, ``[steps]``."""
        number, alone = self._number(self.counted, at), self._number(self.every, at)
        padding = np.zeros(self.n_steps, bool)
        for loops, words in self.slid:
            here = np.broadcast_to(words[tuple(self._where(i, at) for i in loops)], self.n_steps)
            number = number * (int(words.max()) + 1) + here
            padding |= here == 0
        return np.where(padding, -1 - alone, number)

    def _where(self, loop: int, at: dict[int, int]) -> Ints:
        """Where a loop stands in each step: a number, or ``[steps]``."""
        return self.index[loop] if loop in self.index else np.asarray(at[loop])

    def _number(self, loops: Sequence[int], at: dict[int, int]) -> Ints:
        """One number for where some loops stand in each step, ``[steps]``."""
        number = np.zeros(self.n_steps, np.int64)
        for i in loops:
            number = number * self.trips[i] + self._where(i, at)
        return number


def _words(nest: Nest, rank: Rank, loops: Sequence[int]) -> Ints:
    """A number for the words of a sliding rank that all PEs hold together, 0 for none, at every
    position of its ``loops``, in their order, ``[trips, ...]``.
    """
    pieces: list[Piece] = []
    for side, (dim, chain) in enumerate(zip(rank.rank, rank.chains, strict=True)):
        own = [i for i in chain.loops if nest.loops[i].dim == dim]
        own = [i for i in own if nest.loops[i].level < nest.levels - 1]
        over = [i for i in own if nest.loops[i].spatial]
        piece, _ = pieces_at(nest, chain, {}, [*(i for i in loops if i in own), *over])
        places = int(np.prod([nest.loops[i].trips for i in over]))
        shape = len(piece.lo[dim]) // places, places
        axes = (shape[0], 1, shape[1], 1) if side == 0 else (1, shape[0], 1, shape[1])
        pieces.append(reshaped(piece, axes))
    held = rank.offsets(nest, tuple(pieces))  # [of E, of R, PEs of E, PEs of R, words]
    held = held.reshape(held.shape[0] * held.shape[1], -1)
    both = np.vstack([np.full_like(held[:1], NOWHERE), held])  # the least of all: 0
    number = np.unique(both, axis=0, return_inverse=True)[1].ravel()[1:]
    ordered = sorted(loops, key=lambda i: nest.loops[i].dim != rank.rank[0])
    by_loop = number.reshape([nest.loops[i].trips for i in ordered])
    return by_loop.transpose([ordered.index(i) for i in loops])


__all__ = ["HeldWords"]
