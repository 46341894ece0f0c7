"""The seven sums over a rank (docs/counting.md, "Six sums per rank") with Python sets, one position
and one instance at a time.

Slow and obvious on purpose; it imports nothing of accelsim.  A chain is ``sizes`` of its parts and
``loops`` of (part, tile, kind), outermost first: part -1 cuts the fused whole, kind is ``t``
(temporal), ``g`` (spatial, shares with nobody) or ``m`` (spatial, shares).
"""

from __future__ import annotations

from itertools import product
from math import prod

NAMES = "SOUKXYL"


class SlowChain:
    def __init__(self, sizes, loops):
        self.sizes, self.loops = tuple(sizes), tuple(loops)

    def ranges(self, index, depth=None):
        """The parts' ranges, and the chunk or None, at an index of each loop (of the first
        ``depth``); None where a loop's piece is not there.
        """
        box, chunk = [(0, n) for n in self.sizes], None
        for (part, tile, _), i in list(zip(self.loops, index, strict=False))[:depth]:
            if part < 0 and chunk is None:
                chunk = (0, prod(high - low for low, high in box))
            low, high = chunk if part < 0 else box[part]
            piece = (low + i * tile, min(low + (i + 1) * tile, high))
            if piece[0] >= piece[1]:
                return None
            if part < 0:
                chunk = piece
            else:
                box[part] = piece
        return box, chunk

    def points(self, index):
        """Every point of the parts that a piece has."""
        ranges = self.ranges(index)
        if ranges is None:
            return frozenset()
        box, chunk = ranges
        every = list(product(*(range(low, high) for low, high in box)))
        return frozenset(every if chunk is None else every[chunk[0] : chunk[1]])

    def last(self, index, at):
        """The last index the first instance takes of a loop, given those outside it."""
        first = [i if kind == "t" else 0 for i, (_, _, kind) in zip(index, self.loops, strict=True)]
        i = 0
        while self.ranges([*first[:at], i + 1], at + 1) is not None:
            i += 1
        return i

    def most(self, at):
        """Indices a loop has where its range is largest: at the first of all outside it."""
        return self.last([0] * len(self.loops), at) + 1

    def steps(self, outside, own):
        """(index now, index one step before) of every step; None for spatial loops."""
        temporal = [at for at, loop in enumerate(self.loops) if loop[2] == "t"]
        looked_at = []
        for place, at in enumerate(temporal):
            if place < outside:
                looked_at.append(range(self.most(at)))
            else:
                looked_at.append(range(1, self.most(at)) if own and place == outside else (0,))
        for now in product(*looked_at):
            index = [0] * len(self.loops)
            for at, i in zip(temporal, now, strict=True):
                index[at] = i
            if self.ranges(index) is None:
                continue
            before = list(index)
            if own:
                before[temporal[outside]] -= 1
            for at in temporal[outside + own :]:
                before[at] = self.last(before, at)
            yield index, before

    def held(self, outside, own):
        """For every step and group of instances: pairs of point sets, now and before, by member."""
        spatial = {
            kind: [at for at, loop in enumerate(self.loops) if loop[2] == kind] for kind in "gm"
        }
        for now, before in self.steps(outside, own):
            for group in product(*(range(self.most(at)) for at in spatial["g"])):
                members = []
                for member in product(*(range(self.most(at)) for at in spatial["m"])):
                    pair = []
                    for index in (list(now), list(before)):
                        for at, i in zip(
                            (*spatial["g"], *spatial["m"]), (*group, *member), strict=True
                        ):
                            index[at] = i
                        pair.append(self.points(index))
                    members.append(tuple(pair))
                yield members


def sums_of(groups):
    """S O U K X Y L of sets now and before, [group][member]."""
    total = dict.fromkeys(NAMES, 0)
    for members in groups:
        union = frozenset().union(*(now for now, _ in members))
        union_before = frozenset().union(*(before for _, before in members))
        came = frozenset().union(*(now - before for now, before in members))
        went = frozenset().union(*(before - now for now, before in members))
        total["S"] += sum(len(now) for now, _ in members)
        total["O"] += sum(len(now & before) for now, before in members)
        total["U"] += len(union)
        total["K"] += len(union - came)
        total["X"] += len(union_before)
        total["Y"] += len(union_before - went)
        total["L"] += len(union & union_before)
    return total


def plain_sums(chain, outside, own):
    """Of a rank that is the chain's points."""
    return sums_of(chain.held(outside, own))


def active(chain, outside, own):
    """(step, instance) and (step, group) pairs that have any point."""
    groups = list(chain.held(outside, own))
    instances = sum(bool(now) for members in groups for now, _ in members)
    return instances, sum(any(now for now, _ in members) for members in groups)


def sliding_sums(slide, out, taps, outside, own):
    """Of a rank of coordinates ``stride e + dilation r - pad`` within [0, size); slide is those."""
    stride, dilation, pad, size = slide

    def touched(es, rs):
        every = {stride * e + dilation * r - pad for (e,) in es for (r,) in rs}
        return frozenset(h for h in every if 0 <= h < size)

    groups = []
    filters = list(taps.held(outside[1], own == "r"))
    for e_members in out.held(outside[0], own == "e"):
        for r_members in filters:
            groups.append(
                [
                    (touched(e_now, r_now), touched(e_before, r_before))
                    for e_now, e_before in e_members
                    for r_now, r_before in r_members
                ]
            )
    return sums_of(groups)
