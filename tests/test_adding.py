"""Sums of fractions are those of adding one after the other, on every Python, in numbers and arrays
alike: ``sum`` has carried along what rounding loses since 3.12.
"""

from __future__ import annotations

import random

import numpy as np

from accelsim.base.adding import sum_in_order


def test_a_row_and_a_column_have_the_same_sum() -> None:
    draw = random.Random(12)
    for _ in range(500):
        rows = [[draw.random() * 10 ** draw.randint(-8, 8) for _ in range(9)] for _ in range(4)]
        by_hand = []
        for row in rows:
            total = row[0]
            for value in row[1:]:
                total += value
            by_hand.append(total)
        assert [sum_in_order(row) for row in rows] == by_hand
        assert sum_in_order(np.array(rows).T).tolist() == by_hand
    assert sum_in_order([0.1] * 10) == 0.9999999999999999
    assert sum_in_order([]) == 0 and sum_in_order([1 << 60, 1]) == (1 << 60) + 1
