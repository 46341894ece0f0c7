"""TPU v1: a long sequence of products Bx256 by 256x256 takes max(B, 256) cycles each in the steady
state (Jouppi et al., ISCA 2017).
"""

from __future__ import annotations

import pytest

import accelsim as acc


def cycles(products: int, rows: int) -> int:
    """Cycles of so many products of ``rows`` x 256 by 256 x 256, as one layer of 256 filters
    each.
    """
    (record,) = acc.simulate(
        acc.Gemm(m=256 * products, k=256, n=rows), "tpu_v1", "ws", overrides={"dram": "unlimited"}
    ).records()
    return int(record["cycles"])


@pytest.mark.parametrize("rows", [1, 7, 100, 255, 256, 257, 512, 1000, 2048])
def test_each_product_takes_the_longer_of_its_rows_and_the_preload(rows):
    long = [cycles(n, rows) for n in (40, 41, 60)]
    assert long[1] - long[0] == max(rows, 256)
    assert long[2] - long[0] == 20 * max(rows, 256)
    # and the first one has its preload, and the way through the array, to itself
    assert cycles(1, rows) == rows + 3 * 256 - 2
