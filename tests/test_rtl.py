"""The clocked array and the SystemVerilog one: the same outputs on the same edges.

The RTL was written from DESIGN section 5's words by someone who had not read the cycle engine
(``tests/rtl``).
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from clocked_matrices import Fold as Clocked
from clocked_matrices import run_folds
from quick import slow_but
from rtl.driver import Case, Fold, available, run_many

MISSING = available()
pytestmark = pytest.mark.skipif(
    MISSING is not None and not os.environ.get("CI"), reason=MISSING or ""
)
KINDS = {"ws": "held_operand", "os": "held_outputs"}


def matrix(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-128, 128, shape)


def case(seed: int, most: int) -> Case:
    """Random folds, partial ones too, on a random array with random options."""
    rng, values = random.Random(seed), np.random.default_rng(seed)
    kind = rng.choice(["ws", "os"])
    rows, cols = rng.randint(1, most), rng.randint(1, most)
    overlap, full = rng.random() < 0.7, rng.random() < 0.25
    folds = []
    for _ in range(rng.randint(1, 4)):
        t, r, c = rng.randint(1, 14), rng.randint(1, rows), rng.randint(1, cols)
        if kind == "ws":
            folds.append(Fold(held=matrix(values, r, c), rows=matrix(values, t, r)))
        else:
            folds.append(Fold(held=None, rows=matrix(values, t, r), cols=matrix(values, t, c)))
    registers = 2 if kind == "ws" and overlap and rng.random() < 0.5 else 1
    outputs = rng.choice(["in_place", "accumulators", "register"]) if kind == "os" else "in_place"
    return Case(kind, rows, cols, folds, overlap, registers, outputs, "full" if full else "exact")


def differences(seed: int, one: Case, hardware: list) -> list[str]:
    """Where values or edges differ; of a fully clocked array the bubbles' results are left out."""
    kind, (size_r, size_c) = one.kind, (one.R, one.C)
    folds = [Clocked(held=f.held, rows=f.rows, cols=f.cols) for f in one.folds]
    ours = run_folds(
        KINDS[kind], size_r, size_c, folds, overlap=one.overlap, outputs=one.outputs,
        weight_registers=one.weight_registers, partial_folds=one.partial_folds,
    )  # fmt: skip
    used = [
        (
            (f.rows.shape[0] if kind == "ws" else f.rows.shape[1]),
            (f.held if kind == "ws" else f.cols).shape[1],
        )
        for f in one.folds
    ]
    theirs = {
        (x.fold, x.i, x.j): (x.edge, x.value)
        for x in hardware
        if x.i < used[x.fold][0] and x.j < used[x.fold][1]
    }
    mine = {
        (x.fold, x.i, x.j): (x.edge, x.value)
        for x in ours
        if x.i < used[x.fold][0] and x.j < used[x.fold][1]
    }
    assert len(mine) == sum(a * b for a, b in used)
    return [
        f"seed {seed} {k}: clocked {mine.get(k)}, RTL {theirs.get(k)}"
        for k in sorted(mine | theirs)
        if mine.get(k) != theirs.get(k)
    ]


@pytest.mark.parametrize(
    ("first", "many", "most"),
    slow_but(
        [(0, 30, 5), (2000, 12, 16)], [(0, 30, 5), (0, 160, 5), (1000, 150, 8), (2000, 12, 16)]
    ),
)
def test_same_outputs_on_the_same_edges(first, many, most):
    cases = [case(seed, most) for seed in range(first, first + many)]
    seen = set()
    for seed, (one, hardware) in enumerate(zip(cases, run_many(cases), strict=True), first):
        assert not differences(seed, one, hardware)[:3]
        seen.add((one.kind, one.overlap, one.weight_registers, one.outputs, one.partial_folds))
    assert len(seen) >= (6 if many < 50 else 14)


def test_a_flipped_bit_or_a_late_edge_is_seen():
    one = case(3, 4)
    (hardware,) = run_many([one])
    assert not differences(3, one, hardware)
    for change in ({"value": hardware[0].value + 1}, {"edge": hardware[0].edge + 1}):
        wrong = [type(hardware[0])(**{**vars(hardware[0]), **change}), *hardware[1:]]
        assert differences(3, one, wrong)
