"""Table entries of many chains at once: the factors of the analytic model, vectorised over tiles.

A factor of ``engines.analytic.closed_form`` is worked out for one choice of tiles.  Here the same
numbers are found for arrays of choices.  Chains of one dimension have closed recursions: cutting a
range of ``a`` words into tiles of ``t`` leaves ``a // t`` full pieces and one tail, so a few
(range, count) pairs describe every piece of a chain, however ragged. Sliding ranks are ``slides``;
fused ones go through the engine's own tables, once for every different part of the tiles they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines.analytic.closed_form import Factor
from accelsim.mapper.slides import Cuts, pair_table
from accelsim.mapping.skeleton import Chain, Skeleton
from accelsim.workload.problem import Slide

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Chains = Mapping[str, Ints]  # chain -> tiles [choices, loops of the chain], nest order
BLOCK = 1 << 15


def values(nest: Skeleton, factor: Factor, tiles: Chains) -> Floats:
    """The factor's value for every choice of tiles; shape [choices].

    Which kind of factor it is its ``identity`` says: a sliding rank's has the slide in it, a line's
    (one dimension, or one part of a fused one) is read by ``_line``.  Any other goes through the
    engine's own tables.
    """
    if len(factor.identity) == 8 and isinstance(factor.identity[1], Slide):
        return _slides(nest, factor, tiles)
    chain = next(c for c in nest.chains if c.name == factor.chains[0])
    line = _line(nest, chain, factor.identity) if len(factor.chains) == 1 else None
    if line is None:
        return _one_by_one(factor, tiles)
    part, kinds, which, outside, own = line
    reads = [i for i, k in enumerate(kinds) if k != "-" and nest.loops[chain.loops[i]].dim == part]
    return _blocks(
        nest.problem.size[part],
        tiles[chain.name][:, reads],
        "".join(kinds[i] for i in reads),
        which,
        outside,
        own,
    )


def _slides(nest: Skeleton, factor: Factor, tiles: Chains) -> Floats:
    """A sliding rank: every different output chain with every different filter chain."""
    (e, r), slide, which, e_out, r_out, own, *shapes = factor.identity
    sides, different, rows = [], [], []
    for d, shape, outside in zip((e, r), shapes, (e_out, r_out), strict=True):
        chain = nest.chain_of[d]
        reads = [i for i, k in enumerate(shape) if k != "-" and nest.loops[chain.loops[i]].dim == d]
        sides.append(
            Cuts(
                nest.problem.size[d],
                "".join(shape[i] for i in reads),
                outside,
                own == ("e" if d == e else "r"),
            )
        )
        unique, back = np.unique(tiles[chain.name][:, reads], axis=0, return_inverse=True)
        different.append(unique)
        rows.append(back.reshape(-1))
    return np.asarray(
        pair_table(slide, sides[0], sides[1], which, different[0], different[1])[rows[0], rows[1]]
    )


def _line(
    nest: Skeleton, chain: Chain, identity: tuple[Any, ...]
) -> tuple[str, str, str, int, bool] | None:
    """The dimension, kinds of the chain's loops, what is summed, how many temporal loops stand
    outside, whether the next one advances; None for what is about a fused chain as a whole.
    """
    spatial = [nest.loops[i].spatial for i in chain.loops]
    if identity[0] in ("steps", "width"):
        if chain.fused:
            return None
        if identity[0] == "steps":
            return (
                chain.name,
                "".join("m" if s else "t" for s in spatial),
                "first",
                spatial.count(False),
                False,
            )
        return chain.name, "".join("g" if s else "t" for s in spatial), "first", 0, False
    if len(identity) != 7 or identity[0] != chain.name or (chain.fused and identity[1] is None):
        return None
    _, part, plain, which, outside, own, shape = identity
    of_plain = {"S": "words", "U": "words", "X": "before"}.get(which, "kept")
    what = of_plain if plain else "every" if which in ("S", "O") else "first"
    return part or chain.name, "".join(shape), what, outside, own


def _one_by_one(factor: Factor, tiles: Chains) -> Floats:
    """Through the engine's tables, once for every different part of the tiles the factor reads."""
    many = [tiles[name] for name in factor.chains]
    if factor.identity[0] in ("steps", "width"):
        key = many[0]
    else:
        shapes = factor.identity[-len(many) :]
        key = np.hstack(
            [
                m[:, [i for i, x in enumerate(shape) if x != "-"]]
                for m, shape in zip(many, shapes, strict=True)
            ]
        )
    _, first, back = np.unique(key, axis=0, return_index=True, return_inverse=True)
    each = np.array(
        [
            factor.value({n: tuple(int(x) for x in tiles[n][i]) for n in factor.chains})
            for i in first
        ],
        np.float64,
    )
    return each[back.reshape(-1)]


def _blocks(size: int, tiles: Ints, kinds: str, what: str, outside: int, own: bool) -> Floats:
    """``line_sum`` [choices], some choices at a time to keep its arrays in the cache."""
    sums = np.empty(len(tiles))
    for at in range(0, len(tiles), BLOCK):
        sums[at : at + BLOCK] = line_sum(size, tiles[at : at + BLOCK], kinds, what, outside, own)
    return sums


def line_sum(size: int, tiles: Ints, kinds: str, what: str, outside: int, own: bool) -> Floats:
    """A sum over the positions and instances of one dimension's loops, for many tiles; shape
    [choices].

    ``kinds`` gives each loop as ``t`` (temporal), ``g`` or ``m`` (spatial).  The first ``outside``
    temporal loops stand at every position, the next one, if ``own``, at every position but its
    first, those inside at their first.  Summed are, by ``what``: ``every`` 1 for each position and
    instance that exists, ``first`` the same with one instance for all ``m``, ``words`` the length
    of its piece, ``kept`` the length where the step before left the same piece there, ``before``
    the length of the piece one step before.

    Kept along are pieces as (range of the first instance, range of this one, still the piece of the
    step before, count).
    """
    if what == "kept" and own:
        return np.zeros(len(tiles))
    n = len(tiles)
    probe = np.full((n, 1), size, np.int64)
    mine, count = probe.copy(), np.ones((n, 1), np.int64)
    same = np.ones((n, 1), bool)
    seen = 0
    for kind, column in zip(kinds, tiles.T, strict=True):
        t = column[:, None]
        if kind != "t":
            if kind == "m" and what == "first":
                probe, mine = np.minimum(probe, t), np.minimum(mine, t)
                continue
            full = mine // t
            tail = mine - full * t
            probe = np.minimum(probe, t)
            probe, same = np.hstack([probe, probe]), np.hstack([same, same])
            mine, count = (
                np.hstack([np.minimum(t, mine), tail]),
                np.hstack([count * full, count * (tail > 0)]),
            )
            continue
        free, advances = seen < outside, own and seen == outside
        seen += 1
        if free or (advances and what != "before"):
            full = mine // t
            tail = mine - full * t
            skipped = 1 if advances else 0
            many = np.maximum(full - skipped, 0)
            one = (tail > 0) & (full >= skipped)
            probe = np.hstack([np.minimum(t, probe), np.minimum(t, probe - full * t)])
            mine, same = np.hstack([np.minimum(t, mine), tail]), np.hstack([same, same])
            count = np.hstack([count * many, count * one])
        elif advances:
            full, steps = mine // t, -(-probe // t) - 1
            tail = mine - full * t
            probe = np.minimum(t, probe)
            probe, same = np.hstack([probe, probe]), np.hstack([same, same])
            mine = np.hstack([np.minimum(t, mine), tail])
            count = np.hstack(
                [count * np.minimum(full, steps), count * ((tail > 0) & (full < steps))]
            )
        elif what == "before":
            last = np.maximum(-(-probe // t) - 1, 0)
            probe, mine = probe - last * t, np.clip(mine - last * t, 0, t)
        else:
            same = same & (probe <= t)
            probe, mine = np.minimum(probe, t), np.minimum(mine, t)
    if what in ("every", "first"):
        return np.asarray((count * (mine > 0)).sum(axis=1), np.float64)
    if what == "kept":
        count = count * same
    return np.asarray((count * mine).sum(axis=1), np.float64)
