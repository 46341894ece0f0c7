"""The closed form of all folds against folds listed one by one, over loops that need not be a nest.

``listed`` is section 5 in its plainest form: every setting of the outside loops is a fold, folds in
a row of one size that hold the same words are one, and each starts when the one before allows it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from test_counts import MACS, differences, drawn_nest

from accelsim.engines.analytic.array_time import lines_time, wants_list
from accelsim.engines.analytic.fold_time import FoldLoop, FoldRules, fold_time
from accelsim.hardware.architecture import Array

Fold = tuple[int, int, int]


def pieces(whole: int, tile: int) -> list[int]:
    return [min(tile, whole - start) for start in range(0, whole, tile)]


def positions(chain: Sequence[FoldLoop], whole: int, where: str) -> int:
    """How many positions the loops at ``where`` have, the others at their first."""
    if not chain:
        return 1
    sizes = pieces(whole, chain[0].tile)
    if chain[0].where != where:
        sizes = sizes[:1]
    return sum(positions(chain[1:], size, where) for size in sizes)


def folds_of(loops: Sequence[FoldLoop], sizes: dict[str, int]) -> list[Fold]:
    """T, r and c of every fold, those that go on with the same words joined."""
    outside = [x for x in loops if x.where == "outside"]
    chains = {d: [x for x in loops if x.dim == d and x.where != "outside"] for d in sizes}
    every: list[tuple[Fold, tuple[int, ...]]] = []

    def visit(at: int, now: dict[str, int], held: tuple[int, ...]) -> None:
        if at < len(outside):
            loop = outside[at]
            for n, size in enumerate(pieces(now[loop.dim], loop.tile)):
                visit(at + 1, now | {loop.dim: size}, (*held, n) if loop.held else held)
            return
        fold = [1, 1, 1]
        for k, where in enumerate(("inside", "row", "col")):
            for dim, chain in chains.items():
                fold[k] *= positions(chain, now[dim], where)
        size = fold[1], fold[2]
        if every and (every[-1][0][1:], every[-1][1]) == (size, held):
            every[-1] = (every[-1][0][0] + fold[0], *size), held
        else:
            every.append(((fold[0], *size), held))

    visit(0, dict(sizes), ())
    return [fold for fold, _ in every]


def listed(loops: Sequence[FoldLoop], sizes: dict[str, int], rules: FoldRules) -> int:
    """The edge that latches the last result."""
    folds = [(t, *rules.used(r, c)) for t, r, c in folds_of(loops, sizes)]
    start, end = rules.exposed(folds[0][1]), 0
    for (t, r, c), following in zip(folds, [*folds[1:], folds[-1]], strict=True):
        length = rules.length(t, r, c)
        end = max(end, start + length)
        start += rules.gap(t, r, length, *following[:2])
    return int(end)


def drawn(rng: random.Random) -> tuple[list[FoldLoop], dict[str, int], FoldRules]:
    """Loops over three dimensions, each cut outside the PEs, then over an axis, then inside."""
    sizes = {d: rng.randint(1, 9) for d in "ABC"}
    order = {"outside": 0, "row": 1, "col": 1, "inside": 2}
    kinds = {
        d: sorted(
            rng.sample(["outside", "outside", "row", "col", "inside"], rng.randint(0, 4)),
            key=order.__getitem__,
        )
        for d in "ABC"
    }
    turns = [d for d in "ABC" for _ in kinds[d]]
    rng.shuffle(turns)
    held = {d: rng.random() < 0.5 for d in "ABC"}
    now, loops = dict(sizes), []
    for d in turns:
        where = kinds[d].pop(0)
        if now[d] > 1:
            now[d] = rng.randint(1, now[d] - 1)
            loops.append(FoldLoop(d, now[d], where, held[d]))
    overlap = rng.random() < 0.8
    array = Array(
        rows=9 * rng.randint(1, 9),
        cols=81,
        overlap=overlap,
        outputs=rng.choice(["in_place", "accumulators", "register"]),
        weight_registers=rng.choice([1, 2]) if overlap else 1,
        partial_folds=rng.choice(["exact", "full"]),
    )
    rules = FoldRules(array, array.rows, array.cols, rng.random() < 0.5, max)
    return loops, sizes, rules


def goes_on(loops: Sequence[FoldLoop]) -> bool:
    """Whether the inner of two loops that leave the held words alone changes a fold's size."""
    alone = [x.dim for x in loops if x.where == "outside" and not x.held]
    return bool({*alone[1:]} & {x.dim for x in loops if x.where in ("row", "col")})


@pytest.mark.parametrize("seed", range(8))
def test_closed_form_is_the_list(seed: int) -> None:
    rng, compared = random.Random(seed), 0
    for _ in range(500):
        loops, sizes, rules = drawn(rng)
        if goes_on(loops):  # these are listed (``wants_list``)
            continue
        compared += 1
        closed = fold_time(
            loops, sizes, {}, rules.array, rules.rows, rules.cols, holds_sums=rules.holds_sums
        )
        assert closed == listed(loops, sizes, rules), (loops, sizes, rules)
    assert compared > 300


def test_a_small_fold_goes_on_with_the_next_piece() -> None:
    # R in pieces of 5 and 2, and under each K in chunks of 9 over the rows: the last six of the
    # first piece leave two rows at work, as do all six of the second, and the sums that the PEs
    # hold stay.  They are one fold of 36 words, not two of 18.
    nest = drawn_nest(16449, MACS)
    assert wants_list(nest)
    assert lines_time(nest) == 5_000_145
    assert not list(differences(nest, 16449))
