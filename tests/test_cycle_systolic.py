"""Systolic lines of the cycle engine on plain matrices: values, edges, and that no fold could start
earlier.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from clocked_matrices import Fold, result_of, run_folds, task_of

from accelsim.engines.cycle import HazardError, systolic
from accelsim.engines.cycle.controller import Start
from accelsim.engines.cycle.systolic import (
    Build,
    FoldTask,
    Kind,
    SystolicArray,
)

Size = tuple[int, int, int]  # T, r, c

# Every way folds can follow each other.
OPTIONS: dict[str, tuple[Kind, dict[str, Any]]] = {
    "weights, no overlap": ("held_operand", {"overlap": False}),
    "weights, one register": ("held_operand", {"overlap": True}),
    "weights, two registers": ("held_operand", {"overlap": True, "weight_registers": 2}),
    "outputs in place, no overlap": ("held_outputs", {"overlap": False}),
    "outputs shifted out, no overlap": (
        "held_outputs",
        {"overlap": False, "outputs": "accumulators"},
    ),
    "outputs in place": ("held_outputs", {"overlap": True}),
    "outputs through the accumulators": (
        "held_outputs",
        {"overlap": True, "outputs": "accumulators"},
    ),
    "outputs through registers": ("held_outputs", {"overlap": True, "outputs": "register"}),
}
every_option = pytest.mark.parametrize("option", OPTIONS)


def folds_of(
    kind: Kind, sizes: Sequence[Size], seed: int = 0
) -> tuple[list[Fold], list[np.ndarray]]:
    """Random matrices of these sizes, and what numpy makes of them."""
    rng = np.random.default_rng(seed)
    folds, want = [], []
    for t, r, c in sizes:
        rows = rng.integers(-128, 128, (t, r))
        if kind == "held_operand":
            held = rng.integers(-128, 128, (r, c))
            folds.append(Fold(rows, held=held))
            want.append(rows @ held)
        else:
            cols = rng.integers(-128, 128, (t, c))
            folds.append(Fold(rows, cols=cols))
            want.append(rows.T @ cols)
    return folds, want


def last_edge(option: str, R: int, C: int, sizes: Sequence[Size], **more: Any) -> int:
    """The number of the edge that latches the last result; every result is checked."""
    kind, options = OPTIONS[option]
    folds, want = folds_of(kind, sizes)
    results = run_folds(kind, R, C, folds, **{**options, **more})
    assert more or len(results) == sum(
        x.size for x in want
    )  # a fully clocked array has results of its bubbles, too: zeros
    for x in results:
        used = x.i < want[x.fold].shape[0] and x.j < want[x.fold].shape[1]
        assert x.value == (want[x.fold][x.i, x.j] if used else 0)
    return max(x.edge for x in results)


# DESIGN section 5 by hand: R = C = 3, T = 5; one fold of 2 x 1; two and three full folds.
# The same with T = 2, where the array is higher than the stream is long.
LENGTHS = {
    #                                 T=5: one 2x1, F=1, F=2, F=3   T=2
    "weights, no overlap":             ((9, 12, 24, 36), (6, 9, 18, 27)),
    "weights, one register":           ((9, 12, 19, 26), (6, 9, 13, 17)),
    "weights, two registers":          ((9, 12, 17, 22), (6, 9, 12, 15)),
    "outputs in place, no overlap":    ((6, 9, 18, 27), (3, 6, 12, 18)),
    "outputs shifted out, no overlap": ((9, 12, 24, 36), (6, 9, 18, 27)),
    "outputs in place":                ((6, 9, 14, 19), (3, 6, 8, 10)),
    "outputs through the accumulators": ((9, 12, 19, 26), (6, 9, 13, 17)),
    "outputs through registers":       ((9, 12, 17, 22), (6, 9, 12, 15)),
}  # fmt: skip


@every_option
@pytest.mark.parametrize(("t", "which"), [(5, 0), (2, 1)])
def test_lengths(option, t, which):
    small, *full = LENGTHS[option][which]
    assert last_edge(option, 3, 3, [(t, 2, 1)]) == small
    assert [last_edge(option, 3, 3, [(t, 3, 3)] * n) for n in (1, 2, 3)] == full


@every_option
def test_a_fully_clocked_array(option):
    """It takes as long as full folds do, whatever its folds use."""
    for sizes in ([(2, 1, 2)], [(5, 3, 1), (5, 1, 3), (1, 2, 2)]):
        full = [(t, 3, 4) for t, _, _ in sizes]
        assert last_edge(option, 3, 4, sizes, partial_folds="full") == last_edge(option, 3, 4, full)


# Folds of mixed size: the edge of PE (0, 0)'s first operand, fold by fold, on 3 x 3.
MIXED: Sequence[Size] = ((4, 3, 2), (1, 2, 3), (6, 1, 1), (2, 3, 3))
STARTS = {
    "weights, one register": (
        4,
        9,
        10,
        18,
    ),  # 3 shifts; then T + r - 1 of the next: 4 + 1, 1 + 0, 6 + 2
    "weights, two registers": (4, 8, 9, 15),  # max(T, r of the next): 4, 1, 6
    "outputs in place": (1, 5, 6, 12),  # T: 4, 1, 6
    "outputs through the accumulators": (
        1,
        7,
        9,
        15,
    ),  # T + r - 1, of the rows in use: 4 + 2, 1 + 1, 6 + 0
    # The next result of PE (0, 0) must not be complete before the topmost word has left its shift
    # register: s' + T' >= s + T + r, so 4, 7 - 1 = 6 -> 6; then max(1, 3 - 6) = 1; then max(6, 7 -
    # 2) = 6
    "outputs through registers": (1, 7, 8, 14),
}


@pytest.mark.parametrize("option", STARTS)
def test_mixed_folds(option):
    assert tuple(s.operand for s in starts(option, 3, 3, MIXED)) == STARTS[option]


def test_the_last_fold_need_not_end_last():
    option = "outputs in place"
    kind, options = OPTIONS[option]
    results = run_folds(kind, 4, 4, folds_of(kind, [(6, 4, 4), (1, 1, 1)])[0], **options)
    assert (
        max(x.edge for x in results if x.fold == 0)
        == 12
        > max(x.edge for x in results if x.fold == 1)
        == 7
    )


def tasks_of(kind: Kind, sizes: Sequence[Size]) -> list[FoldTask]:
    return [
        task_of(kind, x, size[2], number=k)
        for k, (x, size) in enumerate(zip(folds_of(kind, sizes)[0], sizes, strict=True))
    ]


def array_of(option: str, R: int, C: int, **more: Any) -> SystolicArray:
    kind, options = OPTIONS[option]
    return SystolicArray(Build(kind, R, C, **{**options, **more}))


def starts(option: str, R: int, C: int, sizes: Sequence[Size]) -> list[Start]:
    array = array_of(option, R, C)
    begun = [array.issue(task) for task in tasks_of(OPTIONS[option][0], sizes)]
    array.drain()
    return begun


def disturbed(
    option: str,
    R: int,
    C: int,
    sizes: Sequence[Size],
    fold: int,
    change: Callable[[Start], Start],
    **more: Any,
) -> bool:
    """Whether another start of one fold is noticed: words collide, or a result is wrong."""
    kind = OPTIONS[option][0]
    array = array_of(option, R, C, **more)
    want = folds_of(kind, sizes)[1]
    right = []

    def check(landing: Any) -> None:
        whole = want[landing.task.number]
        right.append(
            np.array_equal(result_of(kind, landing)[: len(whole), : whole.shape[1]], whole)
        )

    array.ready = check
    try:
        for k, task in enumerate(tasks_of(kind, sizes)):
            if k == fold:
                reserve = array.reserve
                array.reserve = lambda *a, **b: change(reserve(*a, **b))  # noqa: B023
            array.issue(task)
            if k == fold:
                array.reserve = reserve  # type: ignore[method-assign]
        array.drain()
    except HazardError:
        return True
    return not all(right) or len(right) < len(sizes)


OVERLAPPED = [x for x in OPTIONS if "no overlap" not in x]


@pytest.mark.parametrize("full", ["exact", "full"])
@pytest.mark.parametrize("option", OVERLAPPED)
def test_no_fold_can_start_an_edge_earlier(option, full):
    """An earlier first operand collides or corrupts; so does an earlier preload.  The controller's
    own start does not.
    """
    rng = random.Random(option)
    for _ in range(25):
        R, C = rng.randint(1, 5), rng.randint(1, 4)
        sizes = [(rng.randint(1, 7), rng.randint(1, R), rng.randint(1, C)) for _ in range(3)]
        for fold in (1, 2):
            case = f"{R}x{C} {sizes} fold {fold}"
            assert not disturbed(option, R, C, sizes, fold, lambda s: s, partial_folds=full), case
            assert disturbed(
                option,
                R,
                C,
                sizes,
                fold,
                lambda s: replace(s, operand=s.operand - 1),
                partial_folds=full,
            ), case
            if (
                option == "weights, one register"
            ):  # earlier altogether: weights come while operands still want the old ones
                both = lambda s: Start(s.preload - 1, s.operand - 1)  # noqa: E731
                assert disturbed(option, R, C, sizes, fold, both, partial_folds=full), case


def test_the_second_register_is_filled_no_earlier():
    """A shadow register is filled from the edge on that swaps its word in; an edge earlier it would
    lose that word.
    """
    for sizes in ([(4, 3, 2), (4, 3, 3)], [(2, 2, 2), (9, 3, 3)], [(5, 3, 3), (1, 1, 1)]):
        assert not disturbed("weights, two registers", 3, 3, sizes, 1, lambda s: s)
        assert disturbed(
            "weights, two registers", 3, 3, sizes, 1, lambda s: replace(s, preload=s.preload - 1)
        )


def test_folds_that_follow_later_are_fine():
    """Later starts disturb nothing: what fails above is the collision, not the change."""
    for option in OVERLAPPED:
        later = lambda s: Start(s.preload + bool(s.preload), s.operand + 1)  # noqa: E731
        assert not disturbed(option, 3, 3, [(4, 3, 2), (2, 2, 3)], 1, later), option


@every_option
def test_what_the_ports_wait_with_finds_room(option):
    """However long the folds are that come after short ones, and the other way round: every result
    is right, and no edge depends on what came long before.
    """
    sizes = [(2, 2, 3), (11, 3, 2), (50, 3, 3), (1, 1, 1), (7, 1, 1), (160, 3, 3), (9, 3, 3)]
    one, again = last_edge(option, 3, 3, sizes), last_edge(option, 3, 3, sizes * 2)
    assert last_edge(option, 3, 3, sizes * 3) - again == again - one > 0
    last_edge(option, 3, 3, sizes[::-1] * 2)


@every_option
def test_results_are_taken_up_after_any_number_of_edges(option, monkeypatch):
    """However many edges are clocked at once, also fewer than a fold has or than lie between two:
    the same results, at the same edge.
    """
    sizes = [(11, 3, 2), (2, 2, 3), (1, 3, 1), (70, 1, 1), (9, 3, 3), (40, 3, 3), (3, 3, 3)]
    kind = OPTIONS[option][0]
    wants, ends = folds_of(kind, sizes)[1], set()
    for at_once in (1, 4, 32, 1024):
        monkeypatch.setattr(systolic, "AT_ONCE", at_once)
        array, landed = array_of(option, 3, 3), []
        array.ready = landed.append
        for task in tasks_of(kind, sizes):
            array.issue(task)
        array.drain()
        ends.add(array.last_result)
        assert sorted(x.task.number for x in landed) == list(range(len(sizes)))
        assert all(np.array_equal(result_of(kind, x), wants[x.task.number]) for x in landed)
    assert len(ends) == 1


@every_option
@pytest.mark.parametrize("t", [1, 9])
def test_many_residencies(option, t):
    """More than a tag tells apart, and under each other rows that keep what was held before."""
    small = [(t, 1, 2)] * 9
    last_edge(option, 5, 9, [(t, 5, 9), *small, (t, 4, 9), *small, (t, 5, 1), *small])


def test_held_words_that_stay():
    """A fold that brings no weights streams on; one that leaves its outputs is added to: as one
    longer fold would do.
    """
    for option, (kind, options) in OPTIONS.items():
        (whole,), (want,) = folds_of(kind, [(7, 3, 2)])
        parts = [slice(0, 3), slice(3, 4), slice(4, 7)]
        if kind == "held_operand":
            folds = [
                Fold(whole.rows[p], held=whole.held if k == 0 else None)
                for k, p in enumerate(parts)
            ]
        else:
            folds = [
                Fold(whole.rows[p], cols=whole.cols[p], stays=k < 2) for k, p in enumerate(parts)
            ]
        results = run_folds(kind, 3, 3, folds, **options)
        values = np.zeros_like(want)
        for x in results:
            values[x.i + (parts[x.fold].start if kind == "held_operand" else 0), x.j] = x.value
        assert np.array_equal(values, want), option
        assert max(x.edge for x in results) == last_edge(option, 3, 3, [(7, 3, 2)]), option


def test_every_edge_of_a_small_array():
    """3 x 3, three words: where each result is latched, one by one."""
    results = run_folds("held_operand", 3, 3, folds_of("held_operand", [(3, 3, 3)])[0])
    assert {(x.i, x.j): x.edge for x in results} == {
        (t, j): 3 + (t + 1) + 2 + j for t in range(3) for j in range(3)
    }
    results = run_folds("held_outputs", 3, 3, folds_of("held_outputs", [(3, 3, 3)])[0])
    assert {(x.i, x.j): x.edge for x in results} == {
        (i, j): 3 + i + j for i in range(3) for j in range(3)
    }
    results = run_folds(
        "held_outputs", 3, 3, folds_of("held_outputs", [(3, 3, 3)])[0], outputs="register"
    )
    assert {(x.i, x.j): x.edge for x in results} == {
        (i, j): 5 + j + (3 - i) for i in range(3) for j in range(3)
    }


def test_matrices_that_do_not_fit():
    ones = np.ones((4, 3), np.int64)
    for kind, fold, text in (
        ("held_operand", Fold(ones), "held is missing"),
        ("held_operand", Fold(ones, held=np.ones((2, 2))), r"held must be \(3, c\)"),
        ("held_operand", Fold(np.ones((4, 9)), held=np.ones((9, 2))), "rows must be"),
        ("held_outputs", Fold(ones), "cols is missing"),
        ("held_outputs", Fold(ones, cols=np.ones((3, 2))), r"cols must be \(4, c\)"),
        ("held_outputs", Fold(ones, cols=np.ones((4, 7))), "c <= 3"),
    ):
        with pytest.raises(ValueError, match=text):
            run_folds(kind, 3, 3, [fold])  # type: ignore[arg-type]


def test_a_word_that_is_lost_is_noticed():
    """A row's operand vanishing on its way leaves a sum one product short."""
    array = array_of("weights, no overlap", 3, 3)
    (task,) = tasks_of("held_operand", [(4, 3, 3)])
    array.issue(task)
    array.run_to(5)
    array.shown(array.pes.moving_tag, 0)[1, 0] = 0  # the operand in PE (1, 0)
    with pytest.raises(HazardError, match="not added to by all"):
        array.drain()
