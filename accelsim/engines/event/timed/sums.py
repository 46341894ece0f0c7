"""Sums that go straight from the MACs to a level outside the PEs: which words a pass makes, and in
which step each comes first.

Where the PEs keep no sums nothing drains, so no event says which words arrive; yet a first arrival
reads nothing, and in which step it comes decides how long a phase lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from accelsim.engines.event.ranks import (
    NOWHERE,
    Rank,
    address,
    coordinates,
    first_of,
    grid,
    outer_sum,
    pieces_at,
    ranks_of,
    reshaped,
)
from accelsim.engines.event.tile_boxes import TileBoxes
from accelsim.engines.event.transfers import Instance, Ints
from accelsim.engines.event.word_sets import NONE, WordSet
from accelsim.mapping.nest import Boundary, Nest


class DirectSums:
    """Of the accumulated tensor's innermost boundary outside the PEs, if its child is the MAC.

    ``boundary``  that boundary; None if PEs keep sums
    ``clusters``  loops over instances outside the level next to the array
    ``spatial``   loops over all instances outside the MACs' level
    ``temporal``  temporal loops outside the PEs
    """

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        acc, pe = nest.problem.accumulated, nest.levels - 1
        level = nest.keepers(acc)[-1]
        direct = [b for b in nest.boundaries if b.tensor == acc and b.parent == level < pe]
        self.boundary: Boundary | None = direct[0] if direct else None
        self.clusters = [i for i, x in enumerate(nest.loops) if x.spatial and x.level < pe - 1]
        self.spatial = [i for i, x in enumerate(nest.loops) if x.spatial and x.level < pe]
        self.temporal = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < pe]
        self._tiles = TileBoxes(nest, direct[0]) if direct else None

    def words(self, at: Mapping[int, int], cluster: Instance) -> WordSet:
        """What a cluster's MACs add to in a pass, each word once."""
        if self.boundary is None or self._tiles is None:
            return NONE
        here = {**at, **dict(zip(self.clusters, cluster, strict=True))}
        _, tile = self._tiles.tile(here)
        words = self._tiles.minus(tile, None)
        if self.nest.projection(self.boundary.tensor, self.boundary.child).pairs:
            return WordSet(listed=np.unique(address(self.nest, words.flat(()))))
        return words

    def places(self, at: Mapping[int, int], cluster: Instance) -> tuple[Ints, Ints]:
        """The same words as flat addresses, sorted, ``[words]``, and for each the place of its
        first step among those that exist, ``[words]``.
        """
        assert self.boundary is not None
        tensor, mac = self.boundary.tensor, self.boundary.child
        steps = [i for i in self.temporal if i not in at]
        trips = [self.nest.loops[i].trips for i in steps]
        strides = {i: prod(trips[k + 1 :]) for k, i in enumerate(steps)}
        here = {**at, **dict(zip(self.clusters, cluster, strict=True))}
        factors = [
            self._first_codes(rank, here, strides) for rank in ranks_of(self.nest, tensor, mac)
        ]
        words, codes = outer_sum([w for w, _ in factors]), outer_sum([c for _, c in factors])
        if self.nest.projection(tensor, mac).pairs:
            real = coordinates(self.nest, words, mac)[1]
            words, codes = address(self.nest, words[real]), codes[real]
        place = np.cumsum(self._exist(at, steps)) - 1
        return first_of(words, place[codes])

    def _first_codes(
        self, rank: Rank, here: Mapping[int, int], strides: dict[int, int]
    ) -> tuple[Ints, Ints]:
        """The offsets of one rank, and the least that its own loops add to the number of a step
        that has them, both ``[offsets]``; a word's first step is the sum over its ranks.
        """
        pieces, codes = [], []
        for c in rank.chains:
            own = [i for i in c.loops if i in strides or (i in self.spatial and i not in here)]
            piece, at = pieces_at(self.nest, c, here, own)
            pieces.append(piece)
            codes.append(
                sum((strides.get(i, 0) * g for i, g in at.items()), 0 * piece.exists.astype(int))
            )
        code = codes[0]
        if len(pieces) == 2:
            code = codes[0][:, None] + codes[1]
            pieces = [reshaped(pieces[0], (-1, 1)), reshaped(pieces[1], (1, -1))]
        offsets = rank.offsets(self.nest, tuple(pieces))
        code = np.broadcast_to(code[..., None], offsets.shape)
        real = offsets != NOWHERE
        return first_of(offsets[real], code[real])

    def _exist(self, at: Mapping[int, int], steps: list[int]) -> Ints:
        """Which steps of a pass some instance has, ``[steps]`` of 0 and 1; if any has a step, the
        first one has.
        """
        settings = dict(zip(steps, grid(self.nest.loops[i].trips for i in steps), strict=True))
        first = {**at, **dict.fromkeys(self.spatial, 0), **settings}
        ok = np.ones(prod(self.nest.loops[i].trips for i in steps), bool)
        for c in self.nest.chains:
            ok &= self.nest.pieces(c, {i: first[i] for i in c.loops if i in first}).exists
        return ok.astype(np.int64)
