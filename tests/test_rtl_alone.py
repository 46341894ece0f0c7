"""The arrays in rtl/ by themselves: every value against a NumPy product, every edge against the
design's formulas.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from quick import slow_but
from rtl import driver
from rtl.driver import Case, Fold, Result

SHIFTED = ("accumulators", "register")
# Every array: kind, weight registers, how results leave.
ARRAYS = [
    ("ws", 1, "in_place"),
    ("ws", 2, "in_place"),
    *(("os", 1, outputs) for outputs in driver.OUTPUTS),
]


@pytest.fixture(autouse=True, scope="module")
def simulator() -> None:
    """Without a simulator these tests are skipped, but not where they must run."""
    missing = driver.available()
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def drawn(
    rng: np.random.Generator,
    kind: str,
    T: int,
    r: int,
    c: int,
    low: int = -32768,
    high: int = 32767,
) -> Fold:
    """A fold with random operands, the extremes of 16 bits among them."""

    def operands(*shape: int) -> np.ndarray:
        values = rng.integers(low, high, shape, endpoint=True)
        return np.where(rng.random(shape) < 0.1, low, values)

    return (
        Fold(operands(r, c), operands(T, r))
        if kind == "ws"
        else Fold(None, operands(T, r), operands(T, c))
    )


def random_case(rng: np.random.Generator, sizes: Sequence[int]) -> Case:
    """A random array and one to four folds of mixed size."""
    kind, registers, outputs = ARRAYS[rng.integers(len(ARRAYS))]
    R, C = (int(n) for n in rng.choice(sizes, 2))
    shapes = [
        (rng.integers(1, 21), rng.integers(1, R + 1), rng.integers(1, C + 1))
        for _ in range(rng.integers(1, 5))
    ]
    if rng.random() < 0.3:  # short streams: the array waits for weights or for results to leave
        shapes = [(rng.integers(1, 4), r, c) for _, r, c in shapes]
    folds = [drawn(rng, kind, *map(int, shape)) for shape in shapes]
    full = "full" if rng.random() < 0.2 else "exact"
    return Case(kind, R, C, folds, bool(rng.random() < 0.8), registers, outputs, full)


def wrapped(product: np.ndarray) -> np.ndarray:
    """A sum in a 32-bit accumulator."""
    return product.astype(np.int64).astype(np.int32)


def values(case: Case) -> dict[tuple[int, int, int], int]:
    """The value of every result, zero for the padding of `partial_folds: full`."""
    result = {}
    for f, fold in enumerate(case.folds):
        T, r, c = case.clocked(fold)
        product = wrapped(
            fold.rows @ fold.held if fold.held is not None else fold.rows.T @ fold.cols
        )
        height = T if case.kind == "ws" else r
        padded = np.pad(
            product, [(0, to - has) for to, has in zip((height, c), product.shape, strict=True)]
        )
        result.update({(f, i, j): int(padded[i, j]) for i, j in np.ndindex(padded.shape)})
    return result


def starts(case: Case) -> list[int]:
    """The edge that latches each fold's first streamed word at PE(0, 0), by the rules for folds of
    mixed size.
    """
    shapes = [case.clocked(fold) for fold in case.folds]
    s = shapes[0][1] + 1 if case.kind == "ws" else 1
    found = [s]
    for (T, r, c), (T_next, r_next, _) in itertools.pairwise(shapes):
        if not case.overlap:
            s += T + tail(case, r, c) + (r_next if case.kind == "ws" else 0)
        elif case.kind == "ws":
            s += max(T, r_next) if case.weight_registers == 2 else T + r_next - 1
        elif case.outputs == "in_place":
            s += T
        elif case.outputs == "accumulators":
            s += T + r - 1
        # the register: last words are at least r apart, the mirror of the first words of two weight
        # registers
        else:
            s += max(T, T + r - T_next)
        found.append(s)
    return found


def tail(case: Case, r: int, c: int) -> int:
    """The edges of a fold after the one that latches its last streamed word at PE(0, 0)."""
    if case.kind == "ws":
        return case.R + c - 2
    return r + c - 2 if case.outputs == "in_place" else r + case.R + c - 2


def edges(case: Case) -> dict[tuple[int, int, int], int]:
    """The edge of every result."""
    result = {}
    for f, (s, fold) in enumerate(zip(starts(case), case.folds, strict=True)):
        T, r, c = case.clocked(fold)
        for i, j in np.ndindex(T if case.kind == "ws" else r, c):
            if case.kind == "ws":
                result[f, i, j] = s + i + case.R - 1 + j
            elif case.outputs == "in_place":
                result[f, i, j] = s + T - 1 + i + j
            else:  # the lowest row leaves first, once it has finished
                result[f, i, j] = s + T + r - 1 + j + case.R - 1 - i
    return result


def length(case: Case) -> int:
    """The closed formula for F folds of the whole array."""
    F, (T, R, C) = len(case.folds), case.clocked(case.folds[0])
    assert (R, C) == (case.R, case.C) and len({case.clocked(fold) for fold in case.folds}) == 1
    in_place = case.kind == "os" and case.outputs == "in_place"
    if not case.overlap:
        return F * (T + R + C - 2 if in_place else T + 2 * R + C - 2)
    if in_place:
        return F * T + R + C - 2
    if case.weight_registers == 2 if case.kind == "ws" else case.outputs == "register":
        return (F - 1) * max(T, R) + T + 2 * R + C - 2
    return F * (T + R - 1) + R + C - 1


def check(case: Case, results: list[Result]) -> None:
    """Every value, every edge, and the length."""
    assert {(x.fold, x.i, x.j): x.value for x in results} == values(case)
    assert {(x.fold, x.i, x.j): x.edge for x in results} == edges(case)


def checked(cases: Sequence[Case]) -> Iterator[tuple[Case, int]]:
    """Run and check the cases; each with its length."""
    for case, results in zip(cases, driver.run_many(cases), strict=True):
        check(case, results)
        yield case, max(x.edge for x in results)


def test_one_fold():
    """One fold on r <= R rows and c <= C columns."""
    rng = np.random.default_rng(1)
    shapes = [(T, r, c) for T in (1, 2, 5) for r in (1, 2, 4) for c in (1, 3)]
    cases = [
        Case(kind, 4, 3, [drawn(rng, kind, *shape)], True, registers, outputs)
        for shape in shapes
        for kind, registers, outputs in ARRAYS
    ]
    for case, last in checked(cases):
        T, r, c = case.folds[0].shape
        if case.kind == "ws":
            assert last == r + T + case.R + c - 2
        else:
            assert last == (T + r + c - 2 if case.outputs == "in_place" else T + r + case.R + c - 2)


@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 6), (6, 1), (2, 2), (3, 8), (8, 3), (8, 8)],
    ids=lambda size: "{}x{}".format(*size),
)
@pytest.mark.parametrize(("kind", "registers", "outputs"), ARRAYS)
def test_full_folds(kind, registers, outputs, size):
    """F folds of the whole array, overlapped and not, with fewer words than rows and with more."""
    rng = np.random.default_rng(2)
    R, C = size
    cases = [
        Case(kind, R, C, [drawn(rng, kind, T, R, C)] * F, overlap, registers, outputs)
        for T in (1, 2, R, R + 1, 20)
        for F in (1, 2, 4)
        for overlap in (False, True)
    ]
    for case, last in checked(cases):
        assert last == length(case), (
            case.R,
            case.C,
            case.folds[0].shape,
            len(case.folds),
            case.overlap,
        )


@pytest.mark.parametrize("many", slow_but([60], [60, 300]))
def test_mixed_folds(many):
    """Random sequences of folds of mixed size on arrays up to 8 x 8."""
    rng = np.random.default_rng(3)
    for _ in checked([random_case(rng, range(1, 9)) for _ in range(many)]):
        pass


@pytest.mark.slow
def test_large_arrays():
    """A few 16 x 16, full and mixed."""
    rng = np.random.default_rng(4)
    for case, last in checked(
        [
            Case(array[0], 16, 16, [drawn(rng, array[0], T, 16, 16)] * 3, True, *array[1:])
            for T in (3, 20)
            for array in ARRAYS
        ]
    ):
        assert last == length(case)
    for _ in checked([random_case(rng, (16,)) for _ in range(8)]):
        pass


def test_full_controller():
    """`partial_folds: full` takes as long as folds of the whole array."""
    rng = np.random.default_rng(5)
    cases = [
        Case(
            kind,
            5,
            4,
            [drawn(rng, kind, T, r, c) for r, c in ((5, 4), (1, 2), (3, 1))],
            overlap,
            registers,
            outputs,
            "full",
        )
        for T in (2, 9)
        for overlap in (False, True)
        for kind, registers, outputs in ARRAYS
    ]
    for case, last in checked(cases):
        assert last == length(case)


def test_last_fold_ends_first():
    """The layer ends at the latest end of any fold: here the first, which is wide."""
    rng = np.random.default_rng(6)
    folds = [drawn(rng, "os", 3, 8, 8), drawn(rng, "os", 1, 1, 1)]
    ((_, last),) = checked([Case("os", 8, 8, folds, True)])
    assert last == 3 + 8 + 8 - 2


def test_accumulators_wrap():
    """Sums beyond 32 bits."""
    extreme = np.full((9, 3), -32768)
    folds = {"ws": Fold(extreme, np.full((2, 9), -32768)), "os": Fold(None, extreme, extreme)}
    for case, _ in checked([Case(kind, 9, 3, [fold], True) for kind, fold in folds.items()]):
        assert set(values(case).values()) == {9 * 2**30 % 2**32}


# A controller one edge too eager, and the array on which that must show.
EAGER = {
    "one weight register": (
        "ws",
        1,
        "in_place",
        {": last;": ": streams && word == stream_words - 2;"},
    ),
    "two weight registers": (
        "ws",
        2,
        "in_place",
        {
            "ready <= load_end ||": "ready <= (loading && loaded == height - 2) ||",
            "empty <= 1'b0;": "empty <= load_end && freed;",
        },
    ),
    "accumulators": (
        "os",
        1,
        "accumulators",
        {"clear = !waiting || send;": "clear = !waiting || send || |lowest_last;"},
    ),
    "register": (
        "os",
        1,
        "register",
        {"clear = !waiting || send;": "clear = !waiting || send || |lowest_last;"},
    ),
}


@pytest.mark.parametrize("eager", EAGER)
def test_no_earlier(tmp_path, monkeypatch, eager):
    """The folds follow each other as early as the array permits: one edge earlier and results are
    wrong or lost.
    """
    kind, registers, outputs, edits = EAGER[eager]
    rng = np.random.default_rng(7)
    case = Case(kind, 4, 3, [drawn(rng, kind, 2, 4, 3) for _ in range(3)], True, registers, outputs)
    assert list(checked([case]))

    shutil.copytree(driver.HERE, tmp_path, dirs_exist_ok=True)
    control = tmp_path / f"control_{kind}.sv"
    for old, new in edits.items():
        assert control.read_text().count(old) == 1
        control.write_text(control.read_text().replace(old, new))
    monkeypatch.setattr(driver, "HERE", tmp_path)
    try:
        results = driver.run_many([case])[0]
    except RuntimeError as error:
        assert "two results in one register" in str(error)
    else:
        assert min(x.edge for x in results if x.fold == 1) < min(
            at for (f, _, _), at in edges(case).items() if f == 1
        )
        assert {(x.fold, x.i, x.j): x.value for x in results} != values(case)


def test_bad_folds():
    """Folds the array cannot hold are refused before anything runs."""
    rng = np.random.default_rng(8)
    good = Case("ws", 2, 2, [drawn(rng, "ws", 3, 2, 2)], True)
    for folds in (
        [],
        [drawn(rng, "os", 3, 2, 2)],
        [drawn(rng, "ws", 3, 3, 2)],
        [drawn(rng, "ws", 3, 2, 2, high=32768, low=32768)],
    ):
        with pytest.raises(ValueError):
            replace(good, folds=folds)
