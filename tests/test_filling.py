"""Tiles for arrays that divisors do not fit: the default's mapping beside a proved one on odd
arrays, and the choices that fill them beside a count of folds.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise, product
from statistics import median
from typing import Any

import numpy as np
import pytest

import accelsim as acc
from accelsim.engines import analytic
from accelsim.hardware.architecture import Architecture
from accelsim.mapper.effort import best_tiles
from accelsim.mapper.filling import filling, spread
from accelsim.mapper.quick_search import layer_tables
from accelsim.mapping.nest import Nest

# ResNet-50 on ``systolic``: layer, rows, columns, KB, dataflow, and the least energy x cycles that
# ``accelsim map --tiles even --objective edp`` proved, in pJ x cycles.  Without tiles that fill the
# array the first four came out 1.20, 1.19, 1.63 and 1.09 times as large.
PROVED = [
    ("conv2_3_reduce", 20, 24, 64, "os", 4.290e13),
    ("conv5_3_reduce", 28, 12, 128, "ws", 7.828e13),
    ("conv4_3_reduce", 28, 24, 64, "is", 5.121e13),
    ("conv4_1_shortcut", 12, 36, 64, "os", 3.524e14),
    ("conv5_2_conv", 100, 28, 512, "os", 1.297e14),
    ("conv4_6_conv", 12, 28, 512, "ws", 4.004e14),
    ("conv5_1_expand", 56, 36, 512, "ws", 3.211e13),
    ("conv3_1_shortcut", 100, 24, 64, "os", 9.416e13),
    ("conv5_3_conv", 56, 28, 512, "ws", 1.408e14),
]


@cache
def resnet() -> dict[str, Any]:
    return {x.name: x for x in acc.load_workload("resnet50").layers}


def systolic(rows: int, cols: int, capacity_bytes: int) -> Architecture:
    return acc.load_architecture(
        "systolic",
        {
            "array.rows": rows,
            "array.cols": cols,
            "levels.sram.capacity_bytes": capacity_bytes,
        },
    )


def quick_value(layer: Any, arch: Architecture, flow: str) -> float:
    """The default's energy x cycles."""
    return best_tiles(layer.problem(), arch, acc.load_dataflow(flow), "edp", "quick").value


@pytest.mark.parametrize(("name", "rows", "cols", "kilobytes", "flow", "proved"), PROVED)
def test_odd_arrays(
    name: str, rows: int, cols: int, kilobytes: int, flow: str, proved: float
) -> None:
    """Within 2 % of what was proved over all even tiles."""
    value = quick_value(resnet()[name], systolic(rows, cols, 1024 * kilobytes), flow)
    assert value <= 1.02 * proved


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rows", "cols", "kilobytes", "flow", "proved"), PROVED[:4])
def test_what_was_proved_is_so(
    name: str, rows: int, cols: int, kilobytes: int, flow: str, proved: float
) -> None:
    arch = systolic(rows, cols, 1024 * kilobytes)
    best = acc.map_layer(resnet()[name], arch, flow, objective="edp", tiles="even")
    assert best.certificate.value == pytest.approx(proved, rel=1e-3)


@pytest.mark.slow
def test_small_layers_on_odd_arrays() -> None:
    """Random layers that fit a buffer or do not, against the best of all even tiles.  Where a
    buffer has room for few tiles a stream's tile may be a third larger than a divisor's is.
    """
    times = []
    for seed in range(60):
        rng = random.Random(seed)
        rows, cols = (rng.choice([5, 7, 10, 12, 14, 20, 24, 28]) for _ in range(2))
        taps, out = rng.choice([1, 1, 3]), rng.choice([7, 8, 13, 14])
        layer = acc.Conv2d(
            M=rng.choice([16, 24, 32, 64]), C=rng.choice([16, 32, 48, 64]),
            H=out + taps - 1, W=out + taps - 1, R=taps, S=taps,
        )  # fmt: skip
        arch = systolic(rows, cols, rng.choice([8192, 16384, 32768]))
        flow = rng.choice(["ws", "os", "is"])
        best = acc.map_layer(layer, arch, flow, objective="edp", tiles="even")
        times.append(quick_value(layer, arch, flow) / best.certificate.value)
    assert median(times) <= 1.005
    assert sorted(times)[53] <= 1.1
    assert max(times) <= 1.5


def test_prime_ranges_are_not_whole_or_one() -> None:
    """13 x 13 outputs whose sums fit a small buffer in halves: 2.9 times as much with divisors."""
    layer = acc.Conv2d(M=24, C=64, H=15, W=15, R=3, S=3)
    assert quick_value(layer, systolic(28, 14, 8192), "ws") <= 2.8e11


@pytest.mark.parametrize("seed", range(40))
def test_filling_counts_folds(seed: int) -> None:
    """``filling`` against folds counted one by one."""
    rng = random.Random(seed)
    sizes = [rng.randint(1, 30) for _ in range(rng.randint(1, 2))]
    sizes += [rng.randint(1, 3)] * (seed % 4 == 0)
    side = rng.randint(1, 24)
    options = [sorted({-(-n // k) for k in range(1, n + 1)}) for n in sizes]
    choices = list(product(*options))

    @cache
    def used(choice: tuple[int, ...]) -> float:
        pieces = [
            [min(t, n - at) for at in range(0, n, t)] for n, t in zip(sizes, choice, strict=True)
        ]
        folds = sum(-(-int(np.prod(piece)) // side) for piece in product(*pieces))
        return float(np.prod(sizes)) / folds

    kept = []
    for choice in choices:
        words = int(np.prod(choice))
        near = [x for x in choices if words <= 2 * int(np.prod(x)) <= 2 * words]
        plain = [x for x in near if all(t in spread(n) for t, n in zip(x, sizes, strict=True))]
        good = used(choice) >= 0.995 * max(map(used, near)) and used(choice) > 1.03 * max(
            map(used, plain), default=0.0
        )
        kept.append(choice in plain or good)
    tiles = [np.array(column) for column in zip(*choices, strict=True)]
    assert filling(sizes, tiles, side)[0].tolist() == kept


@pytest.mark.parametrize("n", [1, 2, 7, 13, 27, 55, 64, 97, 1024, 65537])
def test_spread(n: int) -> None:
    """Divisors, and no two in a row further apart than three times."""
    tiles = spread(n)
    assert {d for d in range(1, n + 1) if n % d == 0} <= set(tiles)
    assert all(high <= 3 * low for low, high in pairwise(tiles))


@pytest.mark.parametrize("flow", ["ws", "os", "is"])
def test_a_twin_is_counted_and_timed_the_same(flow: str) -> None:
    """What is left out of a pointwise layer's choices is there with rows for columns, and takes as
    many words and cycles.
    """
    layer, arch = acc.Conv2d(M=12, C=10, H=12, W=12, R=1, S=1), systolic(7, 5, 65536)
    tables = layer_tables(layer.problem(), arch, acc.load_dataflow(flow))
    nest, (at,) = tables.skeleton, [i for i, f in enumerate(tables.families) if f.name == "X"]
    e, f = (tables.families[at].loops[n] for n in (0, 1))
    assert [nest.loops[i].dim for i in (e, f)] == ["E", "F"]
    seen = 0
    for row in tables.tiles[at]:
        if row[0] < 12 and row[1] == 12:
            tiles = [1 if x.level else layer.problem().size.get(x.dim, 1) for x in nest.loops]
            for i, tile in zip(tables.families[at].loops, row.tolist(), strict=True):
                tiles[i] = tile
            turned = list(tiles)
            turned[e], turned[f] = tiles[f], tiles[e]
            mine, other = (
                Nest(layer.problem(), arch, nest.mapping_with(x)) for x in (tiles, turned)
            )
            runs = [analytic.run(x) for x in (mine, other)]
            assert list(runs[0].moves.values()) == list(runs[1].moves.values())
            assert runs[0].cycles == runs[1].cycles
            seen += 1
    assert seen >= 3
    assert not any(row[1] < 12 and row[0] == 12 for row in tables.tiles[at])
